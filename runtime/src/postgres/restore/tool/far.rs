//! What the tool is asked for, held to the folders of the restore: the log of its repository among it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::cluster::ClusterError;
use super::super::outside;
use super::file;
use crate::confine::Bounds;
use crate::control::Control;
use crate::postgres::wal::cluster::ClusterId;
use crate::postgres::wal::name::{Segment, WalName};
use crate::postgres::wal::records::Records;
use crate::programs::process::{self, ProcessError, Program, Tell};

/// A segment that is looked into before it is replayed, in the data directory.
const AHEAD: &str = ".backplan-segment";

/// The log in the repository, by the tool.
pub struct Far<'a> {
    /// What every call begins with.
    pub base: Vec<String>,
    /// The data directory: a segment lies there while it is looked into.
    pub below: &'a Path,
    pub bounds: Arc<Bounds>,
}

/// Runs the tool within bounds, its lock in them too.
pub fn held(
    argv: Vec<String>,
    bounds: &Arc<Bounds>,
    control: &Control,
    tell: &Tell,
) -> Result<(), ClusterError> {
    within(argv, bounds, control, tell).map_err(failed)
}

fn within(
    argv: Vec<String>,
    bounds: &Arc<Bounds>,
    control: &Control,
    tell: &Tell,
) -> Result<(), ProcessError> {
    let lock = bounds.scratch().join("lock").display().to_string();
    let env = vec![("LC_ALL".to_owned(), "C".to_owned()), ("PGBACKREST_LOCK_PATH".to_owned(), lock)];
    let bounds = Some(Arc::clone(bounds));
    let program = Program { env, folder: Some("/".into()), bounds, ..Program::new(argv) };
    process::run(&program, control, tell).map(drop)
}

fn failed(error: ProcessError) -> ClusterError {
    match error {
        ProcessError::Stopped(stopped) => ClusterError::Stopped(stopped),
        error => ClusterError::Tool(error.to_string()),
    }
}

/// Whether `archive-get` says by this that it has no such file: one that is listed may be of an earlier version of the server.
fn has_none(error: &ProcessError) -> bool {
    matches!(error, ProcessError::Status { status, .. } if status.code() == Some(1))
}

/// The segment that a file of the repository's archive holds: `SEGMENT-SUM`, with what it is compressed by behind. What is still being
/// written is none.
fn segment_of(name: &str) -> Option<Segment> {
    let (name, sum) = name.split_once('-')?;
    let is_whole = sum.get(..40)?.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_ended = matches!(&sum[40..], "" | ".gz" | ".bz2" | ".lz4" | ".zst");
    match name.parse() {
        Ok(WalName::Segment(segment)) if is_whole && is_ended => Some(segment),
        _ => None,
    }
}

pub fn silently() -> Tell {
    Arc::new(|_| {})
}

impl Far<'_> {
    fn run(&self, words: &[&str], tell: &Tell, control: &Control) -> Result<(), ProcessError> {
        let mut argv = self.base.clone();
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        within(argv, &self.bounds, control, tell)
    }
}

impl outside::Far for Far<'_> {
    fn segments(&self, _: &ClusterId, control: &Control) -> Result<Vec<Segment>, ClusterError> {
        let found: Arc<Mutex<Vec<Segment>>> = Arc::default();
        let ear = Arc::clone(&found);
        let tell: Tell = Arc::new(move |line: &str| {
            // ID/FOLDER/FILE
            if let Some(segment) = line.rsplit('/').next().and_then(segment_of) {
                ear.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
            }
        });
        let stanza = self.base.iter().find_map(|word| word.strip_prefix("--stanza=")).unwrap_or_default();
        let base: Vec<String> =
            self.base.iter().filter(|word| !word.starts_with("--pg1-path=")).cloned().collect();
        let lister = Far { base, below: self.below, bounds: Arc::clone(&self.bounds) };
        lister
            .run(&["--recurse", "repo-ls", &format!("archive/{stanza}")], &tell, control)
            .map_err(failed)?;
        Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn read(
        &self,
        _: &ClusterId,
        segment: Segment,
        all: &mut Records,
        control: &Control,
    ) -> Result<(), ClusterError> {
        let path = std::path::absolute(self.below.join(AHEAD)).map_err(file(self.below))?;
        let silent = silently();
        let words = ["archive-get", &segment.to_string(), &path.display().to_string()];
        let read = match self.run(&words, &silent, control) {
            Ok(()) => outside::read_file(&path, &mut |bytes| all.take(segment, bytes)).map_err(file(&path)),
            Err(error) if has_none(&error) => Ok(()),
            Err(error @ ProcessError::Stopped(_)) => Err(failed(error)),
            Err(error) => Err(outside::unusable(segment, error)),
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(&path)(error)),
            _ => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::segment_of;

    #[test]
    fn a_segment_is_what_is_whole_in_the_archive() {
        let name = "000000010000000000000005-5f3b0c9d2e1a4f6b8c7d9e0f1a2b3c4d5e6f7a8b";
        for end in ["", ".gz", ".zst"] {
            assert!(segment_of(&format!("{name}{end}")).is_some(), "{end}");
        }
        for end in [".gz.pgbackrest.tmp", ".tmp", "0"] {
            assert!(segment_of(&format!("{name}{end}")).is_none(), "{end}");
        }
        let others =
            ["", "00000002.history", "000000010000000000000005", "000000010000000000000005.00000028.backup"];
        assert!(others.iter().all(|other| segment_of(other).is_none()));
    }
}
