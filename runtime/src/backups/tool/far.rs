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
use crate::programs::process::{self, Program, Tell};
use crate::wal::cluster::ClusterId;
use crate::wal::name::{Segment, WalName};

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
    let lock = bounds.scratch().join("lock").display().to_string();
    let env = vec![("LC_ALL".to_owned(), "C".to_owned()), ("PGBACKREST_LOCK_PATH".to_owned(), lock)];
    let bounds = Some(Arc::clone(bounds));
    let program = Program { env, folder: Some("/".into()), bounds, ..Program::new(argv) };
    process::run(&program, control, tell).map(drop).map_err(|error| match error {
        process::ProcessError::Stopped(stopped) => ClusterError::Stopped(stopped),
        error => ClusterError::Tool(error.to_string()),
    })
}

pub fn silently() -> Tell {
    Arc::new(|_| {})
}

impl Far<'_> {
    fn run(&self, words: &[&str], tell: &Tell, control: &Control) -> Result<(), ClusterError> {
        let mut argv = self.base.clone();
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        held(argv, &self.bounds, control, tell)
    }
}

impl outside::Far for Far<'_> {
    fn segments(&self, _: &ClusterId, control: &Control) -> Result<Vec<Segment>, ClusterError> {
        let found: Arc<Mutex<Vec<Segment>>> = Arc::default();
        let ear = Arc::clone(&found);
        let tell: Tell = Arc::new(move |line: &str| {
            // ID/FOLDER/SEGMENT-SUM.gz
            let name = line.rsplit('/').next().and_then(|name| name.get(..24));
            if let Some(Ok(WalName::Segment(segment))) = name.map(str::parse) {
                ear.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
            }
        });
        let stanza = self.base.iter().find_map(|word| word.strip_prefix("--stanza=")).unwrap_or_default();
        let base: Vec<String> =
            self.base.iter().filter(|word| !word.starts_with("--pg1-path=")).cloned().collect();
        let lister = Far { base, below: self.below, bounds: Arc::clone(&self.bounds) };
        lister.run(&["--recurse", "repo-ls", &format!("archive/{stanza}")], &tell, control)?;
        Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn read(
        &self,
        _: &ClusterId,
        segment: Segment,
        take: &mut dyn FnMut(&[u8]),
        control: &Control,
    ) -> Result<(), ClusterError> {
        let path = std::path::absolute(self.below.join(AHEAD)).map_err(file(self.below))?;
        let silent = silently();
        let words = ["archive-get", &segment.to_string(), &path.display().to_string()];
        let read = match self.run(&words, &silent, control) {
            Ok(()) => outside::read_file(&path, take).map_err(file(&path)),
            Err(ClusterError::Tool(why)) => Err(ClusterError::Tool(format!(
                "segment {segment} of its log is there and cannot be read; an earlier target (`--at`) needs none from there on: {why}"
            ))),
            Err(error) => Err(error),
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(&path)(error)),
            _ => read,
        }
    }
}
