//! Archives, and what stays out of them.

use std::collections::BTreeSet;

use super::super::Resolver;
use super::super::block::{Block, sorted};
use super::super::declare::Declared;
use super::source_ids;
use crate::codes;
use crate::finding::Finding;
use crate::model::{Archive, Compress, Separate, SourceId, StoreId, Wal};
use crate::sources::Place;

/// The highest level of gzip.
const GZIP_MOST: u8 = 9;

impl<'a> Resolver<'a> {
    /// An archive; `apart` are the sources declared `separate`.
    pub(super) fn archive(
        &mut self,
        declared: Declared<'a>,
        block: &mut Block<'a>,
        apart: &BTreeSet<usize>,
    ) -> Option<Archive> {
        let everything = 0..self.names.of("source").len();
        let mut from = block.refs_or_all("from", everything.filter(|index| !apart.contains(index)));
        let index = self.names.index("archive", declared.name());
        for (source, place) in block.refs("exclude").unwrap_or_default() {
            let Some(from) = &mut from else { continue };
            let before = from.len();
            from.retain(|kept| *kept != source);
            if let (true, Some(index)) = (before == from.len(), index) {
                self.facts.excluded.push((index, source, place));
            }
        }
        let recipients = block.strings("encrypt");
        if recipients.as_ref().is_some_and(Vec::is_empty) {
            self.no_recipient(block.place("encrypt"), "archive", declared.name());
        }
        let compress = block.choice("compress").unwrap_or_default();
        let level = self.compression(block, compress);
        Some(Archive {
            name: declared.name().to_owned(),
            place: block.head,
            from: source_ids(from?),
            to: stores(block)?,
            file_name: block.text("name"),
            compress,
            level,
            encrypt: unique(recipients.unwrap_or_default()),
            self_contained: block.bool("self_contained").unwrap_or(false),
            large_files: block.choice("large_files").unwrap_or_default(),
            share_blocks: block.bool("share_blocks").unwrap_or(false),
        })
    }

    /// How hard an archive is compressed. Each way has levels of its own.
    fn compression(&mut self, block: &mut Block<'a>, compress: Compress) -> u8 {
        let place = block.place("level");
        let usual = if compress == Compress::Zstd { 3 } else { 6 };
        let level = block.int("level").unwrap_or(usual);
        if compress == Compress::Gzip && level > GZIP_MOST {
            let message = format!("gzip has the levels 0 to {GZIP_MOST}, not {level}");
            let help = format!("write `level = {GZIP_MOST}`, or `compress = zstd`, which has 0 to 19");
            self.findings.push(Finding::new(&codes::BAD_VALUE, place, message).help(help));
        }
        level.min(if compress == Compress::Gzip { GZIP_MOST } else { level })
    }

    pub(super) fn separate(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Separate> {
        let keep = self.inner(block, "keep", Self::keep);
        let schedule = self.inner(block, "schedule", Self::schedule_block);
        Some(Separate {
            source: self.named_source(declared)?,
            place: block.head,
            to: stores(block)?,
            passphrase: block.secret("passphrase"),
            keep,
            schedule,
        })
    }

    pub(super) fn wal(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Wal> {
        let source = self.named_source(declared);
        let recipients = block.strings("encrypt");
        if recipients.as_ref().is_some_and(Vec::is_empty) {
            self.no_recipient(block.place("encrypt"), "wal", declared.name());
        }
        Some(Wal {
            source: source?,
            place: block.head,
            to: stores(block)?,
            keep: block.amount("keep"),
            encrypt: unique(recipients.unwrap_or_default()),
            ack_any: block.keyword("ack") == Some("any"),
        })
    }

    /// The source that a `separate` or `wal` is named after.
    fn named_source(&mut self, declared: Declared<'a>) -> Option<SourceId> {
        let name = declared.decl.name.as_ref()?;
        let place = Place { file: declared.file, span: name.span };
        self.reference(&name.node, "source", place).map(SourceId)
    }

    fn no_recipient(&mut self, place: Place, kind: &str, name: &str) {
        let message = format!("{kind} `{name}` is encrypted for nobody: no one could open it");
        self.findings.push(
            Finding::new(&codes::NO_RECIPIENT, place, message)
                .help("name a public key, `encrypt = [\"age1…\"]`, or leave `encrypt` out"),
        );
    }
}

fn stores(block: &mut Block<'_>) -> Option<Vec<StoreId>> {
    Some(sorted(block.refs("to")?).into_iter().map(StoreId).collect())
}

fn unique(recipients: Vec<(String, Place)>) -> Vec<String> {
    let unique: BTreeSet<String> = recipients.into_iter().map(|(recipient, _)| recipient).collect();
    unique.into_iter().collect()
}
