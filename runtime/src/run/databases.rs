//! Postgres sources in a run: the driver's folder, then its tree as the packing reads it.

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use backplan_compiler::kinds::Kind;
use backplan_compiler::model::{ArchiveId, Level, Model, Postgres, Source, SourceId, StoreId, Worded};

use super::context::no_secret;
use super::coordinator::{Failure, FailureKind};
use super::facts::SourceFact;
use super::levels::{Grounds, Levels};
use super::output::SourceOutput;
use super::reading::Reading;
use super::real::Doing;
use crate::artefact::{Feed, View};
use crate::backups::resting::record;
use crate::backups::shelf::Shelf;
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::catalog::manifest::Manifest;
use crate::control::Control;
use crate::postgres::basebackup::{self, Begun, DATA, MANIFEST};
use crate::postgres::stream::Told;
use crate::postgres::{Base, DriverError, Job, driver};
use crate::programs::process::Tell;

/// A cluster that a step deals with.
#[derive(Clone, Copy)]
pub(crate) struct Cluster<'a> {
    doing: &'a Doing<'a>,
    id: SourceId,
    source: &'a Source,
    postgres: &'a Postgres,
}

impl<'a> Cluster<'a> {
    /// That of a source.
    pub fn of(doing: &'a Doing<'a>, id: SourceId, postgres: &'a Postgres) -> Cluster<'a> {
        Cluster { doing, id, source: doing.context.model().source(id), postgres }
    }

    fn model(&self) -> &'a Model {
        self.doing.context.model()
    }

    /// Has its tool make a backup, or begin to.
    ///
    /// # Errors
    /// When none was made.
    pub fn dump(&self, may_stream: bool) -> Result<SourceOutput, Failure> {
        let folder = self.folder()?;
        let Cluster { doing, postgres, .. } = *self;
        let (driver, tell, levels, control) =
            (driver(postgres.driver), doing.tell(), doing.levels(), doing.control);
        let name = &self.source.name;
        let base = self.base(&levels);
        let manifest = |to: &Path| match base {
            Some((_, grounds)) => match grounds.view() {
                Some(view) => write_manifest(view, name, to, control),
                None => Err("it is encrypted, and a run holds no key to it".to_owned()),
            },
            None => Err("there is no base".to_owned()),
        };
        let mut job = self.job(&folder, &tell)?;
        job.base = base.map(|(run, grounds)| Base { run, labels: &grounds.labels, manifest: &manifest });
        let is_settled = |label: &str| self.is_settled(label);
        job.is_settled = Some(&is_settled);
        job.may_stream = may_stream;
        let backup = driver.back_up(&job).map_err(|error| self.failure(&error))?;
        backup.notes.iter().for_each(|note| doing.note(note));
        for warning in &backup.warnings {
            doing.warn(format!("source `{name}`: {warning}"));
        }
        let is_whole = self.source.may_follow() && !backup.is_based;
        let mut labels = backup.labels;
        labels.driver = Some(postgres.driver.word().to_owned());
        if backup.is_streamed {
            return Ok(SourceOutput { labels, is_whole, ..SourceFact::Streamed(Told::default()).into() });
        }
        let reading = Reading { doing, id: self.id };
        let taken = match in_part(name, &backup.lost, backup.may_pass) {
            None => reading.taken(folder)?,
            Some(failure) if self.source.strict => return Err(failure),
            Some(failure) => reading.taken_in_part(folder, backup.lost, failure)?,
        };
        Ok(SourceOutput { labels, is_whole, ..taken })
    }

    /// What the next backup of a source may rest on: the one run that every archive of it rests on.
    fn base<'l>(&self, levels: &'l Levels) -> Option<(RunId, &'l Grounds)> {
        let source = self.source;
        let mut holders = self.holders();
        let first = *holders.next().filter(|_| source.may_follow())?;
        let run = levels.base(first, &source.name)?;
        let is_same = holders.all(|archive| levels.base(*archive, &source.name) == Some(run));
        Some((run, levels.grounds(first, &source.name).filter(|_| is_same)?))
    }

    /// Whether a source may come while it is packed: once, and when nothing waits for it to have been read.
    pub fn may_stream(&self) -> bool {
        let (model, id) = (self.model(), self.id);
        let mut holders = self.holders();
        let is_one = matches!((holders.next(), holders.next()), (Some(one), None) if !model.archive(*one).self_contained);
        is_one
            && model.separate(id).is_none()
            && !model.windows.iter().any(|window| window.around.contains(&id))
            && !model.sources.iter().any(|source| source.after.contains(&id))
    }

    /// The archives of the run that it goes into.
    fn holders(&self) -> impl Iterator<Item = &'a ArchiveId> + use<'a> {
        let Cluster { doing, id, .. } = *self;
        let archives = doing.context.graph.artefact_names.keys();
        archives.filter(move |archive| doing.context.model().archive(**archive).from.contains(&id))
    }

    /// What a pack gets of it: what comes from the server, where it comes while it is packed; `None`: what was copied.
    ///
    /// # Errors
    /// When neither can be had.
    pub fn streamed(&self) -> Result<Option<Box<dyn Feed>>, Failure> {
        let doing = self.doing;
        let told = match doing.facts().sources.get(&self.id) {
            Some(SourceFact::Streamed(told)) => Told::clone(told),
            _ => return Ok(None),
        };
        // Of an attempt before.
        *told.lock().unwrap_or_else(PoisonError::into_inner) = Labels::default();
        let tell = doing.tell();
        let job = self.job(Path::new("/"), &tell)?;
        let begun = basebackup::stream(&job, &told).map_err(|error| self.failure(&error))?;
        let why = match begun {
            Begun::Streamed(streamed) => return Ok(Some(streamed)),
            Begun::Refused(why) => why,
        };
        let name = &self.source.name;
        let why = format!("is copied before it is packed: the server has no replication slot for it: {why}");
        doing.note(format!("source `{name}` {why}"));
        let copied = self.dump(false);
        let copied = copied.map_err(|failure| match failure.kind {
            FailureKind::Stopped => failure,
            // It may not be the copy that has to be mended.
            kind => Failure { message: format!("{}\n  it {why}", failure.message), kind },
        })?;
        // Also for another attempt of the packing, which then has it.
        doing.records.change(|facts| facts.take_source(self.model(), self.id, copied));
        Ok(None)
    }

    /// Whether each store that a source goes to has the run whose tool's backup has this label, whole as far as its index tells:
    /// what the repository held by then can be had from there.
    fn is_settled(&self, label: &str) -> bool {
        let (model, id, name) = (self.model(), self.id, &self.source.name);
        let holders: Vec<_> = model.archives.iter().filter(|archive| archive.from.contains(&id)).collect();
        let has = |manifest: &&Manifest| {
            let told = manifest.source(name);
            told.is_some_and(|told| told.labels().label.as_deref() == Some(label))
        };
        let is_whole_in = |archive: &str, store: StoreId| {
            let Ok(shelf) = Shelf::declared(model.store(store), &model.name) else { return false };
            let runs = shelf.catalog.runs().filter(has);
            let mut held = runs.filter_map(|run| Some((run, record(run, archive)?)));
            held.any(|(run, record)| {
                let is_there = record.contents.iter().any(|content| content.source == *name);
                is_there && shelf.look_at_all(run, record, &|other| other == name).is_ok()
            })
        };
        !holders.is_empty()
            && holders.iter().all(|archive| archive.to.iter().all(|store| is_whole_in(&archive.name, *store)))
    }

    /// Where the driver builds: its repository, or a folder of this run that is removed with it.
    fn folder(&self) -> Result<PathBuf, Failure> {
        let Cluster { doing, postgres, .. } = *self;
        if let Some(repository) = postgres.repository() {
            return Ok(repository.to_path_buf());
        }
        let files = &doing.context.files;
        let (above, folder) = (files.staged(), files.copy(&self.source.name));
        doing.held.make_staged(doing.context)?;
        if postgres.run_as.is_some() {
            // The tool's account passes through; what else is in here stays as closed as it is made.
            let open = fs::Permissions::from_mode(0o711);
            fs::set_permissions(above, open)
                .map_err(|cause| Failure::of(&cause, format!("`{}`: {cause}", above.display())))?;
        }
        Ok(folder)
    }

    /// Deletes from the repository of its tool what was before this run's full.
    ///
    /// # Errors
    /// The tool's.
    pub fn expire(&self) -> Result<(), Failure> {
        let Some(repository) = self.postgres.repository() else { return Ok(()) };
        let Some(labels) = self.doing.facts().labels.get(&self.id).cloned() else { return Ok(()) };
        let tell = self.doing.tell();
        let job = self.job(repository, &tell)?;
        let told = driver(self.postgres.driver).expire(&job, &labels);
        let told = told.map_err(|error| self.failure(&error))?;
        told.iter().for_each(|warning| self.doing.warn(format!("source `{}`: {warning}", self.source.name)));
        Ok(())
    }

    /// What its driver is given.
    ///
    /// # Errors
    /// When a secret cannot be had.
    pub fn job<'j>(&self, folder: &'j Path, tell: &'j Tell) -> Result<Job<'j>, Failure>
    where
        'a: 'j,
    {
        let Cluster { doing, id, source, postgres } = *self;
        // A cluster that is said to be meant is held against none.
        let is_meant = doing.context.request.new_clusters.contains(&source.name);
        let known = doing.levels().clusters.get(&id).filter(|_| !is_meant).cloned();
        let secrets = doing.secrets();
        let password = postgres.password.as_ref().map(|secret| secrets.fetch(secret)).transpose();
        let password = password.map_err(|error| no_secret(&format!("source `{}`", source.name), &error))?;
        Ok(Job {
            source: &source.name,
            postgres,
            password,
            level: self.level(),
            has_cycle: self.model().has_cycle(),
            base: None,
            is_settled: None,
            may_stream: false,
            folder,
            known,
            separate: None,
            timeout: source.timeout.map(Duration::from_secs),
            control: doing.control,
            tell,
        })
    }

    /// The highest level that any archive of the run wants of it.
    fn level(&self) -> Level {
        let levels = self.doing.levels();
        let wanted = self.holders().map(|archive| levels.level(*archive, &self.source.name));
        wanted.max().unwrap_or(Level::Full)
    }

    /// A failure of its driver.
    pub fn failure(&self, error: &DriverError) -> Failure {
        if error.is_stopped() {
            return Failure::stopped();
        }
        let text = format!("source `{}`: {error}", self.source.name);
        if error.is_passing() { Failure::passing(text) } else { Failure::lasting(text) }
    }
}

/// How a step fails by databases that are not in a dump.
fn in_part(source: &str, lost: &[String], may_pass: bool) -> Option<Failure> {
    let message = format!("source `{source}`: {}", lost.join("\n  "));
    let kind = if may_pass { FailureKind::Passing } else { FailureKind::Final };
    (!lost.is_empty()).then_some(Failure { message, kind })
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
