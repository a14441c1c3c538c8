//! Postgres sources in a run: the driver's folder, then its tree as the packing reads it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use backplan_compiler::graph::StepId;
use backplan_compiler::kinds::Kind;
use backplan_compiler::model::{
    ArchiveId, Compare, Files, FilesPath, Level, Postgres, SourceId, StoreId, Worded,
};

use super::coordinator::{Failure, FailureKind};
use super::facts::SourceFact;
use super::journal::Record;
use super::levels::{self, Grounds, Levels};
use super::output::SourceOutput;
use super::worker::{Worker, no_secret};
use crate::artefact::{Feed, View};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::Manifest;
use crate::control::Control;
use crate::postgres::basebackup::{self, Begun, DATA, MANIFEST};
use crate::postgres::stream::Told;
use crate::postgres::{Base, DriverError, Job, driver};
use crate::recall::shelf::Shelf;
use crate::scan::{self, ScanError, Trees};

impl Worker {
    pub(crate) fn dump_postgres(
        &self,
        step: &StepId,
        id: SourceId,
        postgres: &Postgres,
        may_stream: bool,
        control: &Control,
    ) -> Result<SourceOutput, Failure> {
        let folder = self.folder_of(step, id, postgres)?;
        let (driver, tell, levels) = (driver(postgres.driver), self.tell(step), self.levels());
        let name = &self.request.model.source(id).name;
        let base = self.base_of(&levels, id);
        let manifest = |to: &Path| match base {
            Some((_, grounds)) => match grounds.view() {
                Some(view) => write_manifest(view, name, to, control),
                None => Err("it is encrypted, and a run holds no key to it".to_owned()),
            },
            None => Err("there is no base".to_owned()),
        };
        let mut job = self.job(id, postgres, &folder, control, &tell)?;
        job.base = base.map(|(run, grounds)| Base { run, labels: &grounds.labels, manifest: &manifest });
        let is_settled = |label: &str| self.is_settled(id, label);
        job.is_settled = Some(&is_settled);
        job.may_stream = may_stream;
        let backup = driver.back_up(&job).map_err(|error| self.driver_failure(id, &error))?;
        backup.notes.iter().for_each(|note| self.note(note.clone()));
        for warning in &backup.warnings {
            self.warn(step, format!("source `{name}`: {warning}"));
        }
        let is_whole = self.request.model.source(id).may_follow() && !backup.is_based;
        if is_whole {
            self.give_up_base_of(name);
        }
        let mut labels = backup.labels;
        labels.insert("driver".to_owned(), postgres.driver.word().to_owned());
        if backup.is_streamed {
            return Ok(SourceOutput { labels, is_whole, ..SourceFact::Streamed(Told::default()).into() });
        }
        Ok(SourceOutput { labels, is_whole, ..self.take_folder(step, id, folder, control)? })
    }

    /// Takes what a tool left in a folder for what is packed of a source.
    pub(super) fn take_folder(
        &self,
        step: &StepId,
        id: SourceId,
        folder: PathBuf,
        control: &Control,
    ) -> Result<SourceOutput, Failure> {
        let source = self.request.model.source(id);
        let trees = self.trees_of(id, folder);
        let summary = scan::scan(&trees, &self.files.tree(source), control).map_err(|error| match error {
            ScanError::Stopped(_) => Failure::stopped(),
            error => Failure::lasting(error),
        })?;
        // A cluster without one of its files is none.
        if let Some(first) = summary.warnings.kept().first().filter(|_| source.is_copied()) {
            let name = &source.name;
            return Err(Failure::passing(format!("source `{name}`: its copy is not whole: {first}")));
        }
        for warning in summary.warnings.kept() {
            self.warn(step, warning.to_string());
        }
        Ok(SourceFact::Scanned(summary).into())
    }

    /// What the next backup of a source may rest on: the one run that every archive of it rests on.
    fn base_of<'l>(&self, levels: &'l Levels, id: SourceId) -> Option<(RunId, &'l Grounds)> {
        let source = self.request.model.source(id);
        let holders = self.graph.artefact_names.keys();
        let mut holders = holders.filter(|archive| self.request.model.archive(**archive).from.contains(&id));
        let first = *holders.next().filter(|_| source.may_follow())?;
        let run = levels.base(first, &source.name)?;
        let is_same = holders.all(|archive| levels.base(*archive, &source.name) == Some(run));
        Some((run, levels.grounds(first, &source.name).filter(|_| is_same)?))
    }

    /// Whether a source may come while it is packed: once, and when nothing waits for it to have been read.
    pub(crate) fn may_stream(&self, id: SourceId) -> bool {
        let model = &self.request.model;
        let mut holders =
            self.graph.artefact_names.keys().filter(|it| model.archive(**it).from.contains(&id));
        let is_one = matches!((holders.next(), holders.next()), (Some(one), None) if !model.archive(*one).self_contained);
        is_one
            && model.separate(id).is_none()
            && !model.windows.iter().any(|window| window.around.contains(&id))
            && !model.sources.iter().any(|source| source.after.contains(&id))
    }

    /// What a pack gets of a cluster: what comes from the server, where it comes while it is packed; `None`: what was copied.
    pub(crate) fn streamed(
        &self,
        step: &StepId,
        id: SourceId,
        postgres: &Postgres,
        control: &Control,
    ) -> Result<Option<Box<dyn Feed>>, Failure> {
        let told = match self.facts().sources.get(&id) {
            Some(SourceFact::Streamed(told)) => Told::clone(told),
            _ => return Ok(None),
        };
        // Of an attempt before.
        told.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let tell = self.tell(step);
        let job = self.job(id, postgres, Path::new("/"), control, &tell)?;
        let begun = basebackup::stream(&job, &told).map_err(|error| self.driver_failure(id, &error))?;
        let why = match begun {
            Begun::Streamed(streamed) => return Ok(Some(streamed)),
            Begun::Refused(why) => why,
        };
        let name = &self.request.model.source(id).name;
        let why = format!("is copied before it is packed: the server has no replication slot for it: {why}");
        self.note(format!("source `{name}` {why}"));
        let copied = self.dump_postgres(step, id, postgres, false, control);
        let copied = copied.map_err(|failure| match failure.kind {
            FailureKind::Stopped => failure,
            // It may not be the copy that has to be mended.
            kind => Failure { message: format!("{}\n  it {why}", failure.message), kind },
        })?;
        // Also for another attempt of the packing, which then has it.
        self.facts().take_source(&self.request.model, id, copied);
        Ok(None)
    }

    /// What the labels of clusters say, once they are packed.
    pub(super) fn streamed_are_told(
        &self,
        archive: ArchiveId,
    ) -> BTreeMap<SourceId, BTreeMap<String, String>> {
        let facts = self.facts();
        let sources = self.request.model.archive(archive).from.iter();
        let streamed = sources.filter_map(|id| match facts.sources.get(id)? {
            SourceFact::Streamed(told) => {
                Some((*id, told.lock().unwrap_or_else(PoisonError::into_inner).clone()))
            }
            _ => None,
        });
        streamed.collect()
    }

    /// Whether each store that a source goes to has the run whose tool's backup has this label, whole as far as its index tells:
    /// what the repository held by then can be had from there.
    fn is_settled(&self, id: SourceId, label: &str) -> bool {
        let model = &self.request.model;
        let name = &model.source(id).name;
        let holders: Vec<_> = model.archives.iter().filter(|archive| archive.from.contains(&id)).collect();
        let has = |manifest: &&Manifest| {
            let told = manifest.sources.iter().find(|told| told.name == *name);
            told.is_some_and(|told| told.labels.get("label").is_some_and(|own| own == label))
        };
        let is_whole_in = |archive: &str, store: StoreId| {
            let Ok(shelf) = Shelf::declared(model.store(store), &model.name) else { return false };
            let runs = shelf.catalog.runs().filter(has);
            let mut held = runs.filter_map(|run| Some((run, levels::record(run, archive)?)));
            held.any(|(run, record)| {
                let is_there = record.contents.iter().any(|content| content.source == *name);
                is_there && shelf.look_at_all(run, record, &|other| other == name).is_ok()
            })
        };
        !holders.is_empty()
            && holders.iter().all(|archive| archive.to.iter().all(|store| is_whole_in(&archive.name, *store)))
    }

    /// Where the driver builds: its repository, or a folder of this run that is removed with it.
    fn folder_of(&self, step: &StepId, id: SourceId, postgres: &Postgres) -> Result<PathBuf, Failure> {
        if let Some(repository) = postgres.repository() {
            return Ok(repository.to_path_buf());
        }
        let (above, folder) = (self.files.staged(), self.files.copy(&self.request.model.source(id).name));
        let paths = vec![folder.clone(), basebackup::beside(&folder)];
        self.intend(&Record::Writing { step: step.0.clone(), paths })?;
        self.make_staged()?;
        if postgres.run_as.is_some() {
            // The tool's account passes through; what else is in here stays as closed as it is made.
            let open = fs::Permissions::from_mode(0o711);
            fs::set_permissions(above, open)
                .map_err(|cause| Failure::of(&cause, format!("`{}`: {cause}", above.display())))?;
        }
        Ok(folder)
    }

    fn trees_of(&self, id: SourceId, folder: PathBuf) -> Trees {
        let source = self.request.model.source(id);
        let path = FilesPath { place: source.place, absolute: folder, inside: PathBuf::new() };
        let files = Files {
            paths: vec![path],
            exclude: Vec::new(),
            exclude_caches: false,
            one_file_system: false,
            max_file_size: None,
            compare: Compare::Mtime,
            root: None,
        };
        Trees { source: source.name.clone(), files, optional: false, strict: true, mounts: Vec::new() }
    }

    /// Deletes from the repository of a source's tool what was before this run's full.
    pub(super) fn expire(&self, step: &StepId, id: SourceId, control: &Control) -> Result<(), Failure> {
        let Some(postgres) = self.request.model.source(id).postgres() else { return Ok(()) };
        let Some(repository) = postgres.repository() else { return Ok(()) };
        let Some(labels) = self.facts().labels.get(&id).cloned() else { return Ok(()) };
        let (driver, tell) = (driver(postgres.driver), self.tell(step));
        let job = self.job(id, postgres, repository, control, &tell)?;
        driver.expire(&job, &labels).map_err(|error| self.driver_failure(id, &error))
    }

    pub(super) fn job<'a>(
        &'a self,
        id: SourceId,
        postgres: &'a Postgres,
        folder: &'a std::path::Path,
        control: &'a Control,
        tell: &'a crate::programs::process::Tell,
    ) -> Result<Job<'a>, Failure> {
        let source = self.request.model.source(id);
        // A cluster that is said to be meant is held against none.
        let is_meant = self.request.new_clusters.contains(&source.name);
        let known = self.levels().clusters.get(&id).filter(|_| !is_meant).cloned();
        let secrets = self.secrets.under(control);
        let password = postgres.password.as_ref().map(|secret| secrets.fetch(secret)).transpose();
        let password = password.map_err(|error| no_secret(&format!("source `{}`", source.name), &error))?;
        Ok(Job {
            source: &source.name,
            postgres,
            password,
            level: self.level_of(id),
            has_cycle: self.request.model.has_cycle(),
            base: None,
            is_settled: None,
            may_stream: false,
            folder,
            known,
            separate: None,
            timeout: source.timeout.map(Duration::from_secs),
            control,
            tell,
        })
    }

    /// The highest level that any archive of the run wants of a source.
    fn level_of(&self, id: SourceId) -> Level {
        let (levels, name) = (self.levels(), &self.request.model.source(id).name);
        let holders = self.graph.artefact_names.keys();
        let holders = holders.filter(|archive| self.request.model.archive(**archive).from.contains(&id));
        holders.map(|archive| levels.level(*archive, name)).max().unwrap_or(Level::Full)
    }

    pub(super) fn driver_failure(&self, id: SourceId, error: &DriverError) -> Failure {
        if error.is_stopped() {
            return Failure::stopped();
        }
        let name = &self.request.model.source(id).name;
        let text = format!("source `{name}`: {error}");
        if error.is_passing() { Failure::passing(text) } else { Failure::lasting(text) }
    }
}

/// Writes the tool's own manifest of a base backup into a new file.
fn write_manifest(view: &View, source: &str, to: &Path, control: &Control) -> Result<(), String> {
    // Beside tablespaces, the data directory has a folder of its own.
    let places = [format!("{source}/{DATA}/{MANIFEST}"), format!("{source}/{MANIFEST}")];
    let found = places.iter().find_map(|path| view.find(path.as_bytes()).transpose());
    let live = found.transpose().map_err(|error| error.to_string())?;
    let live = live.ok_or_else(|| format!("it has no `{MANIFEST}`"))?;
    let file = File::options().write(true).create_new(true).mode(0o600).open(to);
    let mut file = file.map_err(|cause| format!("`{}`: {cause}", to.display()))?;
    view.cat(&live, &mut file, control).map(drop).map_err(|error| error.to_string())
}
