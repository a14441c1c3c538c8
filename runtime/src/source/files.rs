//! Trees of files.

use std::path::Path;
use std::time::Instant;

use backplan_compiler::model::{ArchiveId, Files};

use super::{Reader, root};
use crate::artefact::Content;
use crate::backups::rehearsed::CheckVerdict;
use crate::catalog::details::Root;
use crate::rehearse::{Play, RehearsalWish, RehearseError, Stage, Way, files};
use crate::run::coordinator::Failure;
use crate::run::reading::Reading;

/// Backups that are nothing but files: trees, and what a program printed.
pub(super) struct Trees;

impl Way for Trees {
    fn word(&self) -> &'static str {
        "files"
    }

    fn prepared(&self, _: &RehearsalWish<'_>) -> Result<Play, RehearseError> {
        Ok(Box::new(|stage| files::play(stage, no_database)))
    }
}

fn no_database(stage: &mut Stage<'_>, _: &Path) -> Result<(), RehearseError> {
    for _ in 0..stage.wish.queries.len() {
        let why = "a query needs a database: only Postgres and SQLite sources have one".to_owned();
        stage.note("query", Instant::now(), CheckVerdict::Failed, Some(why));
    }
    Ok(())
}

impl Reader for Files {
    fn roots(&self, source: &str) -> Vec<Root> {
        self.paths.iter().map(|path| root(source, &path.inside, &path.absolute)).collect()
    }

    fn content(&self, reading: &Reading<'_>, archive: ArchiveId) -> Result<Option<Content>, Failure> {
        Ok(Some(reading.scanned(archive, self.compare)))
    }
}
