//! What the files of a run are called on this host: said here, and nowhere else.

use std::path::{Path, PathBuf};

use backplan_compiler::lower::{scan_name, staged};
use backplan_compiler::model::{Model, Source};

use crate::past::state::Folders;

/// The files of a run.
#[derive(Debug, Clone)]
pub struct RunFiles {
    work: PathBuf,
    staged: PathBuf,
}

impl RunFiles {
    /// Those of a run of this plan. Touches nothing.
    pub fn of(model: &Model, folders: &Folders, run: &str) -> RunFiles {
        let work = folders.work(run);
        let staged = staged(model, run).unwrap_or_else(|| work.clone());
        RunFiles { work, staged }
    }

    /// Its scratch files.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Where copies and artefacts are built: in the staging, or where there is none among the scratch files.
    pub fn staged(&self) -> &Path {
        &self.staged
    }

    /// An artefact in the staging.
    pub fn artefact(&self, name: &str) -> PathBuf {
        self.staged.join(name)
    }

    /// What is copied of a source.
    pub fn copy(&self, source: &str) -> PathBuf {
        self.staged.join(source)
    }

    /// The scan of a tree, or of what a driver left. Of what is not whole each time it is kept for the next run to compare with;
    /// the others are of folders that are new each time.
    pub fn tree(&self, source: &Source) -> PathBuf {
        match source.is_whole_each_time() {
            true => self.work.join(format!("{}.tree", source.name)),
            false => self.scan(&source.name),
        }
    }

    /// The scan of a source that is kept.
    pub fn scan(&self, source: &str) -> PathBuf {
        self.work.join(scan_name(source))
    }

    /// What is learned of an archive's large files.
    pub fn grains(&self, archive: &str) -> PathBuf {
        self.work.join(format!("{archive}.grains"))
    }

    /// What is learned of those of one of its sources.
    pub fn grains_of(&self, archive: &str, source: &str) -> PathBuf {
        self.grains(archive).join(crate::artefact::grains_name(source))
    }
}
