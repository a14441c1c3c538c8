//! What changed of a tree, seen on the one walk that measures it.

use std::io;

use backplan_compiler::model::ArchiveId;

use crate::run::cache::Kept;
use crate::scan::{Beside, Difference, ScanReader, Scanned};

/// Earlier scans beside a walk: one for each archive.
pub(super) struct Besides<'a>(Vec<(ArchiveId, io::Result<Beside<'a>>)>);

impl<'a> Besides<'a> {
    /// Those that can be read.
    pub(super) fn of(kept: &'a [(ArchiveId, Kept)]) -> Besides<'a> {
        let open = |kept: &'a Kept| Beside::of(ScanReader::open(&kept.scan)?, &kept.doubts);
        Besides(kept.iter().map(|(archive, kept)| (*archive, open(kept))).collect())
    }

    /// The next entry of the walk.
    pub(super) fn see(&mut self, entry: &Scanned) {
        for (_, beside) in &mut self.0 {
            if let Ok(open) = beside
                && let Err(error) = open.see(entry)
            {
                *beside = Err(error);
            }
        }
    }

    /// What was found; of a scan that cannot be read nothing is known.
    pub(super) fn end(self) -> Vec<(ArchiveId, Difference)> {
        let ended = |(archive, beside): (ArchiveId, io::Result<Beside<'_>>)| {
            Some((archive, beside.and_then(Beside::end).ok()?))
        };
        self.0.into_iter().filter_map(ended).collect()
    }
}
