//! One source in a run: what its [`Reader`](crate::source::Reader) is given, and the hands that it has in the run.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use backplan_compiler::model::{ArchiveId, Command, Compare, Files, FilesPath, Pattern, Source, SourceId};
use backplan_compiler::value::{Hidden, Secret};

use super::context::{no_secret, program_failure};
use super::coordinator::Failure;
use super::facts::SourceFact;
use super::output::{Output, SourceOutput};
use super::real::Doing;
use super::steps::dump::{Footing, footing};
use crate::artefact::{BaseScan, Content};
use crate::catalog::labels::Labels;
use crate::control::Control;
use crate::programs::process::{ProcessError, Program, Tell};
use crate::scan::{self, ScanError, Trees};

/// A source that a step reads.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The step.
    pub doing: &'a Doing<'a>,
    /// The source.
    pub id: SourceId,
}

impl<'a> Reading<'a> {
    /// The source as it was declared.
    pub fn source(&self) -> &'a Source {
        self.doing.context.model().source(self.id)
    }

    /// Whether to stop.
    pub fn control(&self) -> &'a Control {
        self.doing.control
    }

    /// A private folder of this run for what is copied of the source; it is removed with the run, whatever becomes of that.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        let doing = self.doing;
        let folder = doing.context.files.copy(&self.source().name);
        doing.held.make_staged(doing.context)?;
        doing.held.make_within(&folder)?;
        Ok(folder)
    }

    /// Says of a source without a step of its own that it is read.
    pub fn is_read(&self) {
        let model = self.doing.context.model();
        self.doing.records.change(|facts| facts.take_source(model, self.id, SourceFact::Read.into()));
    }

    /// Sees that its database, at this path, lies on the file system that it lay on before, where that was one of its own. Not so: it is
    /// optional, and left out.
    ///
    /// # Errors
    /// When what it lay on is not mounted any more.
    pub fn lost_with_its_disk(&self, path: &Path) -> Result<Option<Output>, Failure> {
        Ok(self.lies_on(footing(self.doing.context, self.id, path)?))
    }

    /// Keeps what its database lies on; what becomes of it where that is gone.
    pub fn lies_on(&self, footing: Footing) -> Option<Output> {
        match footing {
            Footing::On(mounted) => {
                self.doing.records.change(|facts| facts.footings.insert(self.id, mounted));
                None
            }
            Footing::Gone(why) => {
                self.warn(format!("source `{}`: {why}; it is left out", self.source().name));
                Some(SourceFact::Absent(why).into())
            }
        }
    }

    /// The path and bytes of its copy, where one was made.
    pub fn copied(&self) -> Option<PathBuf> {
        match self.doing.facts().sources.get(&self.id) {
            Some(SourceFact::Dumped(path, _)) => Some(path.clone()),
            _ => None,
        }
    }

    /// Takes the folder for what is packed of the source, with what the manifest says of it.
    ///
    /// # Errors
    /// When it cannot be read whole.
    pub fn filled(&self, folder: PathBuf, labels: Labels) -> Result<Output, Failure> {
        Ok(SourceOutput { labels, ..self.taken(folder)? }.into())
    }

    /// The same of a source of which something could not be had: `lost` says what, and `failure` how the step fails by that.
    ///
    /// # Errors
    /// When the folder cannot be read whole.
    pub fn filled_in_part(
        &self,
        folder: PathBuf,
        labels: Labels,
        lost: Vec<String>,
        failure: Failure,
    ) -> Result<Output, Failure> {
        Ok(SourceOutput { labels, ..self.taken_in_part(folder, lost, failure)? }.into())
    }

    /// As [`Reading::taken`], of what is there in part.
    ///
    /// # Errors
    /// When the folder cannot be read whole.
    pub fn taken_in_part(
        &self,
        folder: PathBuf,
        lost: Vec<String>,
        failure: Failure,
    ) -> Result<SourceOutput, Failure> {
        let mut taken = self.taken(folder)?;
        if let SourceFact::Scanned(summary) = &mut taken.fact {
            summary.lost.extend(lost);
        }
        Ok(SourceOutput { in_part: Some(failure), ..taken })
    }

    /// Takes what a tool left in a folder for what is packed of the source.
    ///
    /// # Errors
    /// When it cannot be read whole.
    pub fn taken(&self, folder: PathBuf) -> Result<SourceOutput, Failure> {
        let source = self.source();
        let (trees, out) = (left_in(source, folder), self.doing.context.files.tree(source));
        let summary = scan::scan(&trees, &out, self.control()).map_err(|error| match error {
            ScanError::Stopped(_) => Failure::stopped(),
            error => Failure::lasting(error),
        })?;
        // A cluster without one of its files is none.
        if let Some(first) = summary.warnings.kept().first().filter(|_| source.is_copied()) {
            let name = &source.name;
            return Err(Failure::passing(format!("source `{name}`: its copy is not whole: {first}")));
        }
        for warning in summary.warnings.kept() {
            self.warn(warning.to_string());
        }
        Ok(SourceFact::Scanned(summary).into())
    }

    /// A secret that the source names.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn secret(&self, secret: Option<&Secret>) -> Result<Option<Hidden>, Failure> {
        let secrets = self.doing.secrets();
        let fetched = secret.map(|secret| secrets.fetch(secret)).transpose();
        fetched.map_err(|error| no_secret(&format!("source `{}`", self.source().name), &error))
    }

    /// How long a program may take.
    pub fn timeout(&self) -> Option<Duration> {
        self.source().timeout.map(Duration::from_secs)
    }

    /// What a person should read.
    pub fn warn(&self, text: impl Into<String>) {
        self.doing.warn(text);
    }

    /// Where the lines of its programs go.
    pub fn tell(&self) -> Tell {
        self.doing.tell()
    }

    /// When the run began.
    pub fn started(&self) -> SystemTime {
        SystemTime::from(self.doing.context.imprint.started)
    }

    /// Its program, with what it is given.
    ///
    /// # Errors
    /// When a text cannot be filled in, or a secret not be had.
    pub fn program(&self, command: &Command) -> Result<Program, Failure> {
        self.doing.context.source_program(self.id, command, self.control())
    }

    /// A program's failure.
    pub fn failure(&self, error: &ProcessError) -> Failure {
        program_failure(error)
    }

    /// What its scan saw, to be compared with what the archive rests on.
    pub fn scanned(&self, archive: ArchiveId, compare: Compare) -> Content {
        let base = self.doing.levels().scan(archive, &self.source().name).cloned();
        let base = base.map(|kept| BaseScan { scan: kept.scan, doubts: kept.doubts, compare });
        Content::Scan { scan: self.doing.context.files.tree(self.source()), base }
    }
}

/// The tree that a tool left in a folder.
fn left_in(source: &Source, folder: PathBuf) -> Trees {
    let path = FilesPath { place: source.place, absolute: folder, inside: PathBuf::new() };
    let under_way = source.kind.facts().under_way;
    let exclude = under_way.map(|text| Pattern { place: source.place, text: text.to_owned() });
    let files = Files {
        paths: vec![path],
        exclude: exclude.into_iter().collect(),
        exclude_caches: false,
        one_file_system: false,
        max_file_size: None,
        compare: Compare::Mtime,
        root: None,
    };
    Trees { source: source.name.clone(), files, optional: false, strict: true, mounts: Vec::new() }
}
