//! The dry run: the steps of the very graph that a run would take, each with what it would find, write and delete.
//!
//! Nothing here can write: stores are opened for reading only, no lock is taken, and no state folder is made.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use backplan_compiler::graph::{Action, Step, When};
use backplan_compiler::lower::{level_word, repository};
use backplan_compiler::model::{ArchiveId, Level, Model, SourceId, SourceKind, StoreId};
use serde::Serialize;

use super::journal;
use super::mark::mark;
use super::prepare::{PrepareError, Prepared, prepare_forecast};
use super::prune;
use super::report::StepReport;
use super::request::Request;
use super::session;
use super::staging::Staging;
use super::state::Folders;
use super::wal;
use super::worker::trees;
use crate::catalog::identity::{Claim, IdentityError, Standing, inspect};
use crate::catalog::ids::RunId;
use crate::catalog::lock::{self, Holder};
use crate::catalog::manifest::HostRef;
use crate::catalog::owner::Owner;
use crate::catalog::recover::RecoveryPlan;
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::scan;
use crate::store::dir::DirStore;
use crate::store::{ReadStore, StoreError, StoreErrorKind};

/// What a run would do now.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// The plan's name.
    pub plan: String,
    /// The id the run would have, but for its last part, which is chance.
    pub run: String,
    /// Every step, each behind what it needs.
    pub steps: Vec<StepForecast>,
    /// Every artefact.
    pub archives: Vec<ArchiveForecast>,
    /// What a person should read.
    pub warnings: Vec<String>,
    /// What would make the run fail.
    pub errors: Vec<String>,
}

/// A step that would run.
#[derive(Debug, Clone, Serialize)]
pub struct StepForecast {
    /// The step and its effects.
    #[serde(flatten)]
    pub step: StepReport,
    /// What it would find, in words.
    pub found: Vec<String>,
    /// Exactly what it would delete now.
    pub would_delete: Vec<String>,
}

/// An artefact that would be made.
#[derive(Debug, Clone, Serialize)]
pub struct ArchiveForecast {
    /// The archive's name.
    pub archive: String,
    /// Its file name in the stores.
    pub artefact: String,
    /// The stores it would go to.
    pub stores: Vec<String>,
    /// Entries that would be read, of sources that can be counted beforehand.
    pub entries: u64,
    /// Bytes that would be read, of sources that can be measured beforehand.
    pub bytes: u64,
    /// Sources whose size nobody knows before they are read.
    pub unmeasured: Vec<String>,
}

/// Describes the run that would happen now.
///
/// # Errors
/// What would keep a run from beginning.
pub fn forecast(request: Request, control: &Control) -> Result<Forecast, PrepareError> {
    let prepared = prepare_forecast(request)?;
    let mut looking = Looking {
        prepared: &prepared,
        control,
        measured: BTreeMap::new(),
        warnings: prepared.levels.warnings(&prepared.request.model).collect(),
        errors: Vec::new(),
        alive: BTreeSet::new(),
        folders: BTreeSet::new(),
        usable: 0,
    };
    let steps: Vec<StepForecast> =
        prepared.graph.in_order().into_iter().map(|step| looking.step(step)).collect();
    if looking.usable == 0 {
        looking.errors.push("no store can be used: there is nowhere to put a backup".to_owned());
    }
    let archives =
        prepared.graph.artefact_names.iter().map(|(id, name)| looking.archive(*id, name)).collect();
    let Looking { warnings, errors, .. } = looking;
    let id = prepared.run.to_string();
    let run = id.rsplit_once('-').map_or(id.clone(), |(known, _)| format!("{known}-??????"));
    let hide = |text: String| text.replace(&id, &run);
    let steps = steps
        .into_iter()
        .map(|mut step| {
            let all = [&mut step.step.reads, &mut step.step.writes, &mut step.step.deletes];
            for text in all.into_iter().flatten() {
                *text = hide(std::mem::take(text));
            }
            step
        })
        .collect();
    Ok(Forecast { plan: prepared.request.model.name.clone(), run, steps, archives, warnings, errors })
}

struct Looking<'a> {
    prepared: &'a Prepared,
    control: &'a Control,
    /// Entries and bytes of sources that were measured.
    measured: BTreeMap<SourceId, (u64, u64)>,
    warnings: Vec<String>,
    errors: Vec<String>,
    /// Runs that hold a store now: what they have begun, nobody takes back.
    alive: BTreeSet<String>,
    /// Folders of stores, by device and inode.
    folders: BTreeSet<(u64, u64)>,
    /// Stores that could take a backup.
    usable: usize,
}

impl Looking<'_> {
    fn model(&self) -> &Model {
        &self.prepared.request.model
    }

    fn step(&mut self, step: &Step) -> StepForecast {
        let mut shown = StepForecast {
            step: StepReport::of(step, "would_run"),
            found: Vec::new(),
            would_delete: Vec::new(),
        };
        match &step.action {
            Action::LockHost => self.lock_host(),
            Action::LockStore(store) => self.store(*store, &mut shown),
            Action::Recover => self.recover(&mut shown),
            Action::ClearStaging(When::Before) => self.staging(&mut shown),
            Action::Scan(source) => self.scan(*source, &mut shown),
            Action::Dump(source) => self.dump(*source, &mut shown),
            Action::Pack(archive) => self.pack(*archive, &mut shown),
            Action::Prune(store) => self.prune(*store, &mut shown),
            Action::Expire(source) => self.expire(*source, &mut shown),
            Action::OpenWal(at, store) => self.open_wal(*at, *store, &mut shown),
            Action::ExpireWal(at, store) => self.expire_wal(*at, *store, &mut shown),
            Action::Enter(at) => {
                shown.found.extend(self.model().windows[*at].enter.as_deref().map(command_line))
            }
            Action::Leave(at) => {
                shown.found.extend(self.model().windows[*at].leave.as_deref().map(command_line))
            }
            _ => {}
        }
        shown
    }

    fn lock_host(&mut self) {
        let request = &self.prepared.request;
        let looked = request.model.staging.as_ref().map(|staging| Staging::look(staging, request));
        if let Some(Err(error)) = looked {
            self.errors.push(error.to_string());
        }
    }

    fn store(&mut self, id: StoreId, shown: &mut StepForecast) {
        let prepared = self.prepared;
        let declared = prepared.request.model.store(id);
        let Some(folder) = session::folder(declared) else { return };
        let known = prepared.plan.known(&declared.name, &session::location(declared));
        if let Ok(meta) = std::fs::metadata(folder)
            && !self.folders.insert((meta.dev(), meta.ino()))
        {
            self.errors.push(format!(
                "store `{}`: its folder `{}` is another store's of this plan too; give it one of its own",
                declared.name,
                folder.display()
            ));
        }
        match look_at_store(prepared, &declared.name, folder, known) {
            Ok((found, errors)) => {
                let opened = DirStore::open(&declared.name, folder).ok();
                self.alive.extend(opened.and_then(|store| holder_of(prepared, &store)));
                self.usable += 1;
                shown.found.push(found);
                self.errors.extend(errors);
            }
            Err(error) => {
                shown.found.push(error.to_string());
                self.errors.push(error.to_string());
            }
        }
    }

    fn recover(&mut self, shown: &mut StepForecast) {
        let prepared = self.prepared;
        let folders = Folders::new(prepared.plan.folder());
        match journal::dead(&folders.journals()) {
            Ok(dead) => {
                for left in dead.into_iter().filter(|left| !self.alive.contains(&left.run)) {
                    shown.found.push(format!("run {} died", left.run));
                    let windows =
                        left.windows.iter().map(|(window, _)| format!("window `{window}` would be left"));
                    shown.found.extend(windows);
                    let there = left.paths.iter().filter(|path| path.symlink_metadata().is_ok());
                    shown.would_delete.extend(there.map(|path| path.display().to_string()));
                }
            }
            Err(error) => self.errors.push(format!("journals of earlier runs: {error}")),
        }
        for declared in &prepared.request.model.stores {
            let Some(folder) = session::folder(declared) else { continue };
            let Ok(store) = DirStore::open(&declared.name, folder) else { continue };
            let alive = holder_of(prepared, &store).and_then(|run| run.parse().ok());
            match RecoveryPlan::make(&store, &prepared.layout, alive.as_ref(), &mark) {
                Ok(plan) => {
                    let plan = if declared.append_only { plan.append_only() } else { plan };
                    let left = plan.left.iter().map(|left| format!("store `{}`: {left}", declared.name));
                    self.warnings.extend(left);
                    for step in plan.steps {
                        let names = step.deletes.iter().map(|name| format!("{}:{name}", declared.name));
                        shown.would_delete.extend(names);
                        shown.found.push(format!("store `{}`: {}", declared.name, step.reason));
                    }
                }
                Err(error) => self.errors.push(error.to_string()),
            }
        }
    }

    fn staging(&mut self, shown: &mut StepForecast) {
        let request = &self.prepared.request;
        let Some(declared) = &request.model.staging else { return };
        let opened = Staging::of(declared, request);
        // What keeps it from being cleared is told where the locks are taken.
        if let Ok(contents) = opened.and_then(|staging| staging.contents()) {
            shown.would_delete.extend(contents.iter().map(|path| path.display().to_string()));
        }
    }

    fn scan(&mut self, id: SourceId, shown: &mut StepForecast) {
        let Some(trees) = trees(&self.prepared.request, id) else { return };
        match scan::measure(&trees, self.control) {
            Ok(summary) => {
                shown.found.push(format!("{} entries, {} bytes", summary.entries, summary.bytes));
                self.measured.insert(id, (summary.entries, summary.bytes));
                self.warnings.extend(summary.warnings.kept().iter().map(ToString::to_string));
            }
            Err(error) => self.errors.push(error.to_string()),
        }
    }

    fn dump(&mut self, id: SourceId, shown: &mut StepForecast) {
        let source = self.prepared.request.model.source(id);
        let path = match &source.kind {
            SourceKind::Sqlite { path } => path,
            SourceKind::Postgres(postgres) => {
                // Its tool would have to be asked, and asking is an action already.
                let by = format!("{:?}", postgres.driver).to_lowercase();
                shown.found.push(format!("a backup by {by}; its size is known when it is made"));
                return;
            }
            SourceKind::Files(_) | SourceKind::Command(_) => return,
        };
        match std::fs::metadata(path) {
            Ok(meta) => {
                shown.found.push(format!("about {} bytes", meta.len()));
                self.measured.insert(id, (1, meta.len()));
            }
            Err(_) if source.optional => {
                self.warnings
                    .push(format!("the SQLite file `{}` is not there; it would be left out", path.display()));
            }
            Err(error) => self.errors.push(format!("the SQLite file `{}`: {error}", path.display())),
        }
    }

    fn pack(&mut self, id: ArchiveId, shown: &mut StepForecast) {
        let Some(name) = self.prepared.graph.artefact_names.get(&id) else { return };
        let (entries, bytes, _) = self.size_of(id);
        let next = self.prepared.levels.of.get(&id);
        if let Some(next) = next.filter(|next| next.level != Level::Full) {
            let bases: BTreeSet<RunId> = next.bases.values().flatten().map(|base| base.run).collect();
            let bases: Vec<String> = bases.iter().map(ToString::to_string).collect();
            let level = level_word(next.level);
            shown.found.push(format!(
                "{level}, by what changed since run {}: {}",
                bases.join(", "),
                next.why
            ));
        }
        let follow = |id: &&SourceId| self.model().source(**id).may_follow();
        for source in self.model().archive(id).from.iter().filter(follow) {
            let name = &self.model().source(*source).name;
            if let Some(run) = self.prepared.levels.base(id, name) {
                shown.found.push(format!(
                    "source `{name}` rests on run {run} if its server is of PostgreSQL 17 or newer and summarizes its \
                     log; else all of it is taken"
                ));
            }
        }
        shown.found.push(format!("{entries} entries, {bytes} bytes before compression, as `{name}`"));
        let prepared = self.prepared;
        for store in &prepared.request.model.archive(id).to {
            let declared = prepared.request.model.store(*store);
            if session::folder(declared).is_some_and(|folder| folder.join(name).symlink_metadata().is_ok()) {
                let text = format!(
                    "store `{}`: `{name}` is there already, and nothing is ever overwritten: the archive needs another name",
                    declared.name
                );
                self.errors.push(text);
            }
        }
    }

    fn prune(&mut self, id: StoreId, shown: &mut StepForecast) {
        let measured = |source: SourceId| self.measured.get(&source).copied();
        match prune::foresee(self.prepared, id, &measured) {
            Ok((plan, names)) => {
                let going = plan.order().len();
                shown.found.push(format!("{} runs stay, {going} go", plan.runs.len() - going));
                shown.would_delete.extend(names);
                let store = &self.model().store(id).name;
                let refused =
                    plan.refused.iter().map(|why| format!("store `{store}`: nothing would be pruned: {why}"));
                let warned = plan.warnings.iter().map(|text| format!("store `{store}`: {text}"));
                let told: Vec<String> = refused.chain(warned).collect();
                self.warnings.extend(told);
            }
            Err(error) => self.warnings.push(error),
        }
    }

    /// Backups in a repository of its own go with their runs. What a packed one gives up is known once its full is made.
    fn expire(&mut self, source: SourceId, shown: &mut StepForecast) {
        let model = self.model();
        let Some(separate) = model.separate(source) else { return };
        let name = &model.source(source).name;
        let label = separate.to.first().map_or("", |store| model.store(*store).name.as_str());
        let below = repository(&model.name, name);
        let measured = |source: SourceId| self.measured.get(&source).copied();
        let (mut gone, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for id in model.told_in(separate) {
            let declared = model.store(id);
            let opened = session::folder(declared).and_then(|path| DirStore::open(&declared.name, path).ok());
            let catalog = opened.and_then(|store| Catalog::load(&store, &self.prepared.layout).ok());
            let foreseen = prune::foresee(self.prepared, id, &measured).ok();
            // Nothing is expired where one of them does not tell.
            let (Some(catalog), Some((plan, _))) = (catalog, foreseen) else { return };
            for run in catalog.runs() {
                let records = run.repositories.iter().filter(|record| record.source == *name);
                let labels = records.map(|record| record.label.clone());
                if plan.order().contains(&run.run) { gone.extend(labels) } else { kept.extend(labels) }
            }
        }
        let going = gone.difference(&kept);
        shown.would_delete.extend(going.map(|backup| format!("{label}:{below}: backup {backup}")));
    }

    fn open_wal(&mut self, at: usize, store: StoreId, shown: &mut StepForecast) {
        let (found, error) = wal::look(self.model(), &self.prepared.graph, at, store);
        shown.found.extend(found);
        self.errors.extend(error);
    }

    fn expire_wal(&mut self, at: usize, store: StoreId, shown: &mut StepForecast) {
        let measured = |source: SourceId| self.measured.get(&source).copied();
        let mut going = BTreeSet::new();
        for id in (0..self.model().stores.len()).map(StoreId) {
            if let Ok((plan, _)) = prune::foresee(self.prepared, id, &measured) {
                going.extend(plan.order().iter().map(|run| (id, *run)));
            }
        }
        let kept = |store, run| !going.contains(&(store, run));
        match wal::foresee(self.model(), &self.prepared.layout, at, store, &kept, self.prepared.started) {
            Ok(names) => shown.would_delete.extend(names),
            Err(error) => self.warnings.push(format!("nothing of the log would be deleted: {error}")),
        }
    }

    fn size_of(&self, id: ArchiveId) -> (u64, u64, Vec<String>) {
        let only = &self.prepared.request.only;
        let mut total = (0, 0, Vec::new());
        for source in &self.model().archive(id).from {
            let name = &self.model().source(*source).name;
            match self.measured.get(source) {
                Some((entries, bytes)) => {
                    total.0 += entries;
                    total.1 += bytes;
                }
                None if only.is_empty() || only.contains(name) => total.2.push(name.clone()),
                None => {}
            }
        }
        total
    }

    fn archive(&self, id: ArchiveId, name: &str) -> ArchiveForecast {
        let archive = self.model().archive(id);
        let (entries, bytes, unmeasured) = self.size_of(id);
        ArchiveForecast {
            archive: archive.name.clone(),
            artefact: name.to_owned(),
            stores: archive.to.iter().map(|store| self.model().store(*store).name.clone()).collect(),
            entries,
            bytes,
            unmeasured,
        }
    }
}

/// What a run would find of a store, and what would make it fail there.
fn look_at_store(
    prepared: &Prepared,
    name: &str,
    folder: &Path,
    known: Option<crate::catalog::ids::Uuid>,
) -> Result<(String, Vec<String>), IdentityError> {
    let store = match DirStore::open(name, folder) {
        Ok(store) => store,
        Err(error) if error.kind == StoreErrorKind::Unreachable && !folder.exists() => {
            if known.is_some() && !prepared.request.adopt {
                let (store, folder) = (name.to_owned(), folder.display().to_string());
                return Err(IdentityError::FolderMissing { store, folder });
            }
            let parent = folder.parent().is_some_and(Path::is_dir);
            let errors = if parent { Vec::new() } else { vec![error.to_string()] };
            return Ok((format!("the folder `{}` would be made", folder.display()), errors));
        }
        Err(error) => return Err(error.into()),
    };
    let host = HostRef { machine: prepared.host.machine(), name: super::prepare::host_name() };
    let owner = Owner::this_process(host.machine, &host.name, &prepared.run);
    let claim = Claim {
        file: &prepared.request.model.file,
        machine: host,
        id: prepared.plan.id().unwrap_or_else(crate::catalog::ids::Uuid::random),
        known,
        adopt: prepared.request.adopt,
    };
    let found = match inspect(&store, &prepared.layout, &claim)? {
        Standing::New => "nothing of this plan yet: this would be its first run here".to_owned(),
        Standing::Ours(_) => format!("earlier runs: {}", runs_in(&store, prepared)?),
        Standing::Adopted(format) => format!("would be taken over from `{}`", format.machine.name),
    };
    let holder = lock::holder(&store, &prepared.layout, &owner)?;
    let busy = holder.map(|holder| format!("store `{name}` is in use by {holder}"));
    Ok((found, busy.into_iter().collect()))
}

/// The run that holds a store, if one does.
fn holder_of(prepared: &Prepared, store: &dyn ReadStore) -> Option<String> {
    let owner = Owner::this_process(prepared.host.machine(), &super::prepare::host_name(), &prepared.run);
    match lock::holder(store, &prepared.layout, &owner) {
        Ok(Some(Holder::Known(owner))) => Some(owner.run),
        _ => None,
    }
}

fn runs_in(store: &dyn ReadStore, prepared: &Prepared) -> Result<usize, StoreError> {
    let objects = store.list(Some(&prepared.layout.manifests()))?;
    Ok(objects.iter().filter(|object| prepared.layout.run_of_manifest(&object.name).is_some()).count())
}

fn command_line(argv: &[backplan_compiler::value::Text]) -> String {
    let words: Vec<String> = argv.iter().map(ToString::to_string).collect();
    format!("runs: {}", words.join(" "))
}
