//! Trees of files.

use backplan_compiler::model::{ArchiveId, Files};

use super::{Reader, root};
use crate::artefact::Content;
use crate::catalog::details::Root;
use crate::run::coordinator::Failure;
use crate::run::reading::Reading;

impl Reader for Files {
    fn roots(&self, source: &str) -> Vec<Root> {
        self.paths.iter().map(|path| root(source, &path.inside, &path.absolute)).collect()
    }

    fn content(&self, reading: &Reading<'_>, archive: ArchiveId) -> Result<Option<Content>, Failure> {
        Ok(Some(reading.scanned(archive, self.compare)))
    }
}
