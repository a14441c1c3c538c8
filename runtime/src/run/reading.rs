//! One source in a run: what its [`Reader`](crate::source::Reader) is given, and the hands that it has in the run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use backplan_compiler::graph::StepId;
use backplan_compiler::model::{ArchiveId, Command, Compare, Source, SourceId};

use backplan_compiler::value::{Hidden, Secret};

use super::coordinator::Failure;
use super::facts::SourceFact;
use super::footing;
use super::journal::Record;
use super::output::{Output, SourceOutput};
use super::state::make_private;
use super::worker::{Worker, no_secret};
use crate::artefact::{BaseScan, Content};
use crate::control::Control;
use crate::programs::process::{ProcessError, Program, Tell};

/// A source that a step reads.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) worker: &'a Worker,
    /// The step.
    pub step: &'a StepId,
    /// The source.
    pub id: SourceId,
    /// Whether to stop.
    pub control: &'a Control,
}

impl Reading<'_> {
    /// The source as it was declared.
    pub fn source(&self) -> &Source {
        self.worker.request.model.source(self.id)
    }

    /// A private folder of this run for what is copied of the source; it is removed with the run, whatever becomes of that.
    ///
    /// # Errors
    /// When it cannot be made, or not be noted beforehand.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.worker.files.copy(&self.source().name);
        self.worker.intend(&Record::Writing { step: self.step.0.clone(), paths: vec![folder.clone()] })?;
        self.worker.make_staged()?;
        make_private(&folder).map_err(|cause| Failure::of(&cause, &cause))?;
        Ok(folder)
    }

    /// Says of a source without a step of its own that it is read.
    pub fn is_read(&self) {
        let model = &self.worker.request.model;
        self.worker.facts().take_source(model, self.id, SourceFact::Read.into());
    }

    /// Sees that its database, at this path, lies on the file system that it lay on before, where that was one of its own. Not so: it is
    /// optional, and left out.
    ///
    /// # Errors
    /// When what it lay on is not mounted any more.
    pub fn lost_with_its_disk(&self, path: &Path) -> Result<Option<Output>, Failure> {
        let (worker, source) = (self.worker, self.source());
        let expected = worker.mounts.get(&self.id).map(Vec::as_slice).unwrap_or_default();
        match footing::see(&worker.request.model, self.id, expected, path) {
            Ok(now) => {
                worker.facts().footings.insert(self.id, now);
                Ok(None)
            }
            Err(why) if source.optional => {
                self.warn(format!("source `{}`: {why}; it is left out", source.name));
                Ok(Some(SourceFact::Absent(why).into()))
            }
            Err(why) => Err(Failure::passing(format!("source `{}`: {why}", source.name))),
        }
    }

    /// The path and bytes of its copy, where one was made.
    pub fn copied(&self) -> Option<PathBuf> {
        match self.worker.facts().sources.get(&self.id) {
            Some(SourceFact::Dumped(path, _)) => Some(path.clone()),
            _ => None,
        }
    }

    /// Takes the folder for what is packed of the source, with what the manifest says of it.
    ///
    /// # Errors
    /// When it cannot be read whole.
    pub fn filled(&self, folder: PathBuf, labels: BTreeMap<String, String>) -> Result<Output, Failure> {
        let scanned = self.worker.take_folder(self.step, self.id, folder, self.control)?;
        Ok(SourceOutput { labels, ..scanned }.into())
    }

    /// A secret that the source names.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn secret(&self, secret: Option<&Secret>) -> Result<Option<Hidden>, Failure> {
        let secrets = self.worker.secrets.under(self.control);
        let fetched = secret.map(|secret| secrets.fetch(secret)).transpose();
        fetched.map_err(|error| no_secret(&format!("source `{}`", self.source().name), &error))
    }

    /// How long a program may take.
    pub fn timeout(&self) -> Option<Duration> {
        self.source().timeout.map(Duration::from_secs)
    }

    /// What a person should read.
    pub fn warn(&self, text: impl Into<String>) {
        self.worker.warn(self.step, text);
    }

    /// Where the lines of its programs go.
    pub fn tell(&self) -> Tell {
        self.worker.tell(self.step)
    }

    /// When the run began.
    pub fn started(&self) -> SystemTime {
        SystemTime::from(self.worker.imprint.started)
    }

    /// Its program, with what it is given.
    ///
    /// # Errors
    /// When a text cannot be filled in, or a secret not be had.
    pub fn program(&self, command: &Command) -> Result<Program, Failure> {
        self.worker.source_program(self.id, command, self.control)
    }

    /// A program's failure.
    pub fn failure(&self, error: &ProcessError) -> Failure {
        self.worker.program_failure(error)
    }

    /// What its scan saw, to be compared with what the archive rests on.
    pub fn scanned(&self, archive: ArchiveId, compare: Compare) -> Content {
        let base = self.worker.levels().scan(archive, &self.source().name).cloned();
        let base = base.map(|kept| BaseScan { scan: kept.scan, doubts: kept.doubts, compare });
        Content::Scan { scan: self.worker.files.tree(self.source()), base }
    }
}
