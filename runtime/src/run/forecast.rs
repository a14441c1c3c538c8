//! The dry run: the steps of the very graph that a run would take, each with what it would find, write and delete.
//!
//! The coordinator that decides in a run what a failure means for the steps behind it decides it here too: it is given work that
//! looks where a run would act. Nothing here can write: stores are opened for reading only, no lock is taken, and no state
//! folder is made.

mod differences;
mod standing;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backplan_compiler::count::plural;
use backplan_compiler::graph::{Action, Step, StepId, When};
use backplan_compiler::lower::repository;
use backplan_compiler::model::{ArchiveId, Compare, Model, SourceId, StoreId};
use tokio::sync::mpsc;

use super::cache::Kept;
use super::catch_up::{self, Coming};
use super::coordinator::{Bounds, Execution, Failure, FailureKind, Performed, Work, execute};
use super::event::{How, Outcome, Unobserved};
use super::facts::{Facts, SourceFact};
use super::files::RunFiles;
use super::footing;
use super::journal;
use super::mark::mark;
use super::output::{ArchiveOutput, Output};
use super::parts;
use super::prepare::{PrepareError, Prepared, prepare_forecast};
use super::prune::{self, Measure};
use super::report::{Report, StepReport, failures, report};
use super::request::Request;
use super::staging::{MOVE_AWAY, Staging, told_of_strangers};
use super::state::Folders;
use super::steps::clear::{ClearPlan, Tenancy};
use super::steps::deliver::{CommitPlan, PublishPlan, nowhere};
use super::steps::lock::{Dropped, absent};
use super::steps::pack::{Destination, Estimate, PackPlan};
use super::steps::window::WindowPlan;
use super::steps::{Scene, Sight, measured};
use super::wal;
use super::worker::trees;
use crate::catalog::identity::IdentityError;
use crate::catalog::ids::RunId;
use crate::catalog::layout::artefact_name;
use crate::catalog::prune::{Current, PrunePlan};
use crate::catalog::recover::RecoveryPlan;
use crate::catalog::reserve;
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::programs::secrets::Secrets;
use crate::scan::{self, Difference, ScanError, Scanned, Trees};
use crate::source::{Foreseen, reader};
use crate::store::{self, StoreErrorKind};
use differences::Besides;
use standing::{Looked, look_at_store};
use told::staying;
pub use told::{ArchiveForecast, Forecast, StepForecast};

/// Describes the run that would happen now.
///
/// # Errors
/// What would keep a run from beginning.
pub fn forecast(request: Request) -> Result<Forecast, PrepareError> {
    let prepared = prepare_forecast(request)?;
    let graph = Arc::clone(&prepared.graph);
    let look = Arc::new(Look(Mutex::new(Looking::new(prepared))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| PrepareError::Read(format!("cannot start: {error}")))?;
    let (work, bounds) = (Arc::clone(&look) as Arc<dyn Work>, Bounds { jobs: 1, timeout: None });
    // Nobody sends: a dry run has nothing to close, and a signal ends it as it ends any program.
    let (_send, signals) = mpsc::channel(1);
    let execution = runtime.block_on(execute(graph, work, bounds, Arc::new(Unobserved), signals));
    Ok(look.looking().told(&execution))
}

/// Stands where a run's worker would.
struct Look(Mutex<Looking>);

impl Look {
    fn looking(&self) -> MutexGuard<'_, Looking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work for Look {
    fn perform(&self, step: &Step, control: &Control) -> Result<Performed, Failure> {
        self.looking().step(step, control)
    }

    fn time_of(&self, _: usize) -> Option<(String, u64)> {
        None
    }

    fn ended(&self, step: &Step, outcome: &Outcome, output: Output, _: Option<Duration>) {
        self.looking().ended(step, outcome, output);
    }

    fn is_behind(&self, store: StoreId) -> bool {
        self.looking().is_behind(store)
    }

    fn is_partly_done(&self, step: &StepId) -> bool {
        self.looking().facts.is_partly_done(step)
    }

    fn goes_on_without(&self, step: &Step) -> bool {
        let looking = self.looking();
        looking.facts.goes_on_without(looking.model(), step)
    }
}

struct Looking {
    files: RunFiles,
    /// Its graph loses the names of artefacts that would not be made, so that a prune does not count on them.
    prepared: Prepared,
    seen: BTreeMap<StepId, Sight>,
    /// The archives that would be packed, and how much would be in them.
    packed: BTreeMap<ArchiveId, (PackPlan, Estimate)>,
    /// What changed of trees since what an archive would rest on.
    differences: BTreeMap<(ArchiveId, SourceId), Difference>,
    /// What the steps would come to, as the run itself keeps it.
    facts: Facts,
    /// Folders of stores, by device and inode.
    folders: BTreeSet<(u64, u64)>,
    /// Stores that could take a backup.
    usable: BTreeSet<StoreId>,
    /// A store without which the run makes no sense cannot be used.
    hopeless: bool,
    committed: BTreeSet<StoreId>,
    /// Stores that would be pruned.
    pruned: BTreeSet<StoreId>,
}

impl Looking {
    fn new(prepared: Prepared) -> Looking {
        let mut warnings = super::prepare::doubts(&prepared.request.laid);
        warnings.extend(prepared.gone.clone());
        warnings.extend(prepared.levels.warnings(&prepared.request.model));
        Looking {
            facts: Facts { warnings, ..Facts::default() },
            files: RunFiles::of(
                &prepared.request.model,
                &Folders::new(prepared.plan.folder()),
                &prepared.run.to_string(),
            ),
            prepared,
            seen: BTreeMap::new(),
            packed: BTreeMap::new(),
            differences: BTreeMap::new(),
            folders: BTreeSet::new(),
            usable: BTreeSet::new(),
            hopeless: false,
            committed: BTreeSet::new(),
            pruned: BTreeSet::new(),
        }
    }

    fn model(&self) -> &Model {
        &self.prepared.request.model
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.facts.warnings.push(text.into());
    }

    fn step(&mut self, step: &Step, control: &Control) -> Result<Performed, Failure> {
        let mut shown = Sight::default();
        let result = match &step.action {
            Action::LockStore(store) => self.store(*store, &mut shown),
            Action::Scan(source) => self.scan(*source, control, &mut shown),
            Action::Dump(source) => self.dump(*source, &mut shown).map(Performed::Done),
            Action::DumpApart(source, _) => {
                self.dump(*source, &mut shown).map(|output| Performed::Done(output.kept_apart(None)))
            }
            Action::Pack(archive) => {
                self.leave_out(step, *archive, &mut shown);
                self.pack(*archive, &mut shown).map(|packed| Performed::Done(packed.into()))
            }
            Action::Publish(archive, store) => {
                match self.prepared.levels.untakable(self.model(), *archive, *store) {
                    Some(why) => {
                        self.facts.warnings.push(why.clone());
                        Ok(Performed::Dropped(why))
                    }
                    None => self.publish(*archive, *store).map(|()| Performed::Done(Output::Nothing)),
                }
            }
            Action::Sync(store) => Ok(Performed::Done(self.catch_up(*store, &mut shown))),
            Action::Unlock => Ok(Performed::Done(Output::Wrote(self.room()))),
            action => self.action(action, &mut shown).map(|()| Performed::Done(Output::Nothing)),
        };
        let is_fatal = matches!(&result, Err(failure) if failure.kind == FailureKind::Fatal);
        self.hopeless |= is_fatal && matches!(step.action, Action::LockStore(_));
        self.seen.insert(step.id.clone(), shown);
        result
    }

    fn action(&mut self, action: &Action, shown: &mut Sight) -> Result<(), Failure> {
        match action {
            Action::LockHost => {
                shown.found.extend(self.prepared.told.iter().cloned());
                return self.lock_host();
            }
            Action::Recover => return self.recover(shown),
            Action::ClearStaging(When::Before) => self.staging(shown),
            Action::Publish(..) => {}
            Action::Commit(store) => return self.commit(*store),
            Action::Prune(store) => self.prune(*store, shown),
            Action::ExpireApart(source, store) => self.expire(*source, *store, shown),
            Action::OpenWal(at, store) => return self.open_wal(*at, *store, shown),
            Action::ExpireWal(at, store) => self.expire_wal(*at, *store, shown),
            Action::Enter(at) => {
                let (model, occasion) = (self.model(), &self.prepared.occasion);
                *shown = WindowPlan::enter(&model.windows[*at], model, occasion)?.sight();
            }
            Action::Leave(at) => {
                let (model, occasion) = (self.model(), &self.prepared.occasion);
                *shown = WindowPlan::leave(&model.windows[*at], model, occasion)?.sight();
            }
            _ => {}
        }
        Ok(())
    }

    /// The sources that the archive would be made without.
    fn leave_out(&mut self, step: &Step, archive: ArchiveId, shown: &mut Sight) {
        let model = self.prepared.request.model.clone();
        for (source, why) in self.facts.leave_out(&model, step, archive) {
            shown.found.push(format!("without source `{source}`: {why}"));
        }
    }

    fn ended(&mut self, step: &Step, outcome: &Outcome, output: Output) {
        self.facts.take(&self.prepared.request.model, step, outcome, output);
        if let (Action::Pack(archive), false) = (&step.action, *outcome == Outcome::Done) {
            Arc::make_mut(&mut self.prepared.graph).artefact_names.remove(archive);
        }
    }

    fn lock_host(&mut self) -> Result<(), Failure> {
        let request = &self.prepared.request;
        let Some(declared) = &request.model.staging else { return Ok(()) };
        let looked = Staging::look(declared, request.around()).map_err(Failure::fatal)?;
        let Some(staging) = looked else { return Ok(()) };
        let tenancy = Tenancy::of(&staging, &self.prepared.plan).map_err(Failure::fatal)?;
        if let Tenancy::Strange(strangers) = tenancy {
            let told = told_of_strangers(&declared.path, &strangers);
            self.warn(format!("{told}: nothing of it would be deleted; {MOVE_AWAY}"));
        }
        Ok(())
    }

    fn store(&mut self, id: StoreId, shown: &mut Sight) -> Result<Performed, Failure> {
        let prepared = &self.prepared;
        let declared = prepared.request.model.store(id);
        let known = prepared.plan.known(&declared.name, &declared.location());
        let looked = look_at_store(prepared, declared, known);
        let Looked { found, busy, wrote } = match looked {
            Ok(looked) => looked,
            Err(error) => return self.absent(id, &error),
        };
        if let Some(folder) = declared.folder()
            && let Ok(meta) = std::fs::metadata(folder)
            && !self.folders.insert((meta.dev(), meta.ino()))
        {
            return Err(Failure::lasting(format!(
                "store `{}`: its folder `{}` is another store's of this plan too; give it one of its own",
                declared.name,
                folder.display()
            )));
        }
        shown.found.push(found);
        if let Some(message) = busy {
            return Err(Failure { message, kind: FailureKind::Busy });
        }
        self.usable.insert(id);
        Ok(Performed::Done(Output::Wrote(wrote)))
    }

    /// What a store that cannot be used would mean for the run.
    fn absent(&mut self, id: StoreId, error: &IdentityError) -> Result<Performed, Failure> {
        let Dropped { reason, is_told } = absent(self.model().store(id), error)?;
        if is_told {
            self.warn(format!("{reason}; the run would go on without it"));
        }
        Ok(Performed::Dropped(reason))
    }

    fn recover(&mut self, shown: &mut Sight) -> Result<(), Failure> {
        let folders = Folders::new(self.prepared.plan.folder());
        let dead = journal::dead(&folders.journals());
        for left in dead.map_err(|error| Failure::fatal(format!("journals of earlier runs: {error}")))? {
            shown.found.push(format!("run {} died", left.run));
            let windows = left.windows.iter().map(|(window, _)| format!("window `{window}` would be left"));
            shown.found.extend(windows);
            let there = left.paths.iter().filter(|path| path.symlink_metadata().is_ok());
            shown.would_delete.extend(there.map(|path| path.display().to_string()));
        }
        if self.hopeless {
            return Err(Failure::lasting("a store that the run cannot do without fails, as told above"));
        }
        for id in self.usable.clone() {
            if let Err(error) = self.recover_store(id, shown) {
                self.warn(format!("what a dead run left could not be taken back: {error}"));
                self.usable.remove(&id);
            }
        }
        match self.usable.is_empty() {
            true => Err(Failure::fatal("no store can be used: there is nowhere to put a backup")),
            false => Ok(()),
        }
    }

    fn recover_store(&mut self, id: StoreId, shown: &mut Sight) -> Result<(), String> {
        let declared = self.prepared.request.model.store(id);
        let store = match store::open(declared, &Secrets::default()) {
            Err(error) if error.kind == StoreErrorKind::Absent => return Ok(()),
            store => store.map_err(|error| error.to_string())?,
        };
        let plan = RecoveryPlan::make(store.as_ref(), &self.prepared.layout, None, &mark);
        let plan = plan.map_err(|error| error.to_string())?;
        let plan = plan.permitted_by(store.as_ref());
        let left = plan.left.iter().map(|left| format!("store `{}`: {left}", declared.name));
        self.facts.warnings.extend(left);
        for step in plan.steps {
            shown.would_delete.extend(step.deletes.iter().map(|name| format!("{}:{name}", declared.name)));
            shown.found.push(format!("store `{}`: {}", declared.name, step.reason));
        }
        Ok(())
    }

    fn staging(&mut self, shown: &mut Sight) {
        let request = &self.prepared.request;
        let Some(declared) = &request.model.staging else { return };
        // It would be taken into use where the locks are taken.
        let is_own = |staging: &Staging| {
            let tenancy = Tenancy::of(staging, &self.prepared.plan)?;
            Ok(!matches!(tenancy, Tenancy::Strange(_)))
        };
        // What keeps it from being cleared is told there as well.
        if let Ok(plan) = ClearPlan::make(declared, request.around(), is_own) {
            *shown = plan.sight();
        }
    }

    /// The earlier scans that the archives of a tree would be made against.
    fn kept(&self, id: SourceId, trees: &Trees) -> Vec<(ArchiveId, Kept)> {
        let archives = (0..self.model().archives.len()).map(ArchiveId);
        let archives = archives.filter(|archive| self.model().archive(*archive).from.contains(&id));
        // Where contents decide, a look tells nothing.
        let archives = archives.filter(|_| trees.files.compare == Compare::Mtime);
        let kept =
            archives.filter_map(|at| Some((at, self.prepared.levels.scan(at, &trees.source)?.clone())));
        kept.collect()
    }

    fn scan(&mut self, id: SourceId, control: &Control, shown: &mut Sight) -> Result<Performed, Failure> {
        let Some(trees) = trees(self.model(), &self.prepared.mounts, id) else {
            return Ok(Performed::Done(Output::Nothing));
        };
        let kept = self.kept(id, &trees);
        let mut besides = Besides::of(&kept);
        let mut see = |entry: &Scanned| besides.see(entry);
        let summary = scan::look(&trees, &mut see, control).map_err(|error| match error {
            ScanError::Stopped(_) => Failure::stopped(),
            error => Failure::lasting(error),
        })?;
        self.differences.extend(besides.end().into_iter().map(|(archive, found)| ((archive, id), found)));
        shown.found.push(measured(summary.entries, summary.bytes));
        self.facts.warnings.extend(summary.warnings.kept().iter().map(ToString::to_string));
        Ok(match parts::scanned(summary) {
            // Looking again would show the same.
            Performed::InPart(output, failure) => {
                Performed::InPart(output, Failure::lasting(failure.message))
            }
            performed => performed,
        })
    }

    fn dump(&mut self, id: SourceId, shown: &mut Sight) -> Result<Output, Failure> {
        let source = self.prepared.request.model.source(id);
        let expected = self.prepared.mounts.get(&id).map(Vec::as_slice).unwrap_or_default();
        if let Some(path) = reader(&source.kind).lies_at()
            && let Err(why) = footing::see(self.model(), id, expected, path)
        {
            let text = format!("source `{}`: {why}", source.name);
            if !source.optional {
                return Err(Failure::passing(text));
            }
            self.facts.warnings.push(format!("{text}; it would be left out"));
            return Ok(SourceFact::Absent(why).into());
        }
        let fact = match reader(&source.kind).foresee(source).map_err(Failure::lasting)? {
            Foreseen::Nothing => return Ok(Output::Nothing),
            Foreseen::File(bytes) => {
                shown.found.push(format!("about {}", plural(bytes, "byte")));
                SourceFact::Expected(Some(bytes))
            }
            Foreseen::Made(what) => {
                shown.found.push(format!("{what}; its size is known when it is made"));
                SourceFact::Expected(None)
            }
            Foreseen::Absent(why) => {
                self.facts.warnings.push(why.clone());
                SourceFact::Absent(why)
            }
        };
        Ok(fact.into())
    }

    fn pack(&mut self, id: ArchiveId, shown: &mut Sight) -> Result<ArchiveOutput, Failure> {
        let is_open = |store| self.usable.contains(&store);
        let plan = PackPlan::make(self.scene(), &self.prepared.levels, &self.files, id, is_open)?;
        let estimate = plan.estimate(self.scene(), &self.differences);
        shown.found.extend(plan.sight(self.scene(), &estimate).found);
        let delivered = match (&plan.unless_changed, &plan.to) {
            (Some(record), _) if estimate.is_same => {
                let takes = |at: &StoreId| self.usable.contains(at) && plan.is_taken_by(*at);
                let reached = self.model().archive(id).to.iter().copied().filter(takes).collect();
                Ok(ArchiveOutput { unchanged: Some(record.clone()), reached, ..ArchiveOutput::default() })
            }
            (_, Destination::Staging(_)) => Ok(ArchiveOutput::default()),
            (_, Destination::Stores(stores)) => {
                let untaken: Vec<String> = plan.untaken.values().cloned().collect();
                self.facts.warnings.extend(untaken);
                self.deliver(id, &plan.name, stores)
            }
        };
        self.packed.insert(id, (plan, estimate));
        delivered
    }

    fn measure(&self, source: SourceId) -> Option<Measure> {
        Measure::of(self.model(), source, self.facts.sources.get(&source))
    }

    fn scene(&self) -> Scene<'_> {
        let (model, only) = (self.model(), &self.prepared.request.only);
        Scene { model, only, graph: &self.prepared.graph, facts: &self.facts }
    }

    /// Brings an artefact from its packing straight into the stores that take it; one is enough.
    fn deliver(&self, id: ArchiveId, name: &str, stores: &[StoreId]) -> Result<ArchiveOutput, Failure> {
        let (mut lost, mut reached) = (Vec::new(), Vec::new());
        for store in stores.iter().copied() {
            match self.in_the_way(store, name) {
                Some(text) => lost.push((store, text)),
                None => reached.push(store),
            }
        }
        if !reached.is_empty() {
            return Ok(ArchiveOutput { reached, lost, ..ArchiveOutput::default() });
        }
        if lost.is_empty() {
            return Err(nowhere(self.scene(), id));
        }
        let reasons: Vec<String> = lost.into_iter().map(|(_, text)| text).collect();
        Err(Failure::lasting(reasons.join("; ")))
    }

    fn publish(&mut self, id: ArchiveId, store: StoreId) -> Result<(), Failure> {
        if !self.usable.contains(&store) {
            return Err(Failure::lasting("its store has dropped out"));
        }
        if let PublishPlan::Artefact(name) = PublishPlan::make(self.scene(), id)
            && let Some(text) = self.in_the_way(store, &name)
        {
            return Err(Failure::lasting(text));
        }
        Ok(())
    }

    /// What keeps a store from taking an artefact of this name.
    fn in_the_way(&self, store: StoreId, name: &str) -> Option<String> {
        let declared = self.model().store(store);
        // What is there and no object has the name as well; a store that does not say has failed before.
        let size = store::open(declared, &Secrets::default()).ok()?.size(&artefact_name(name).ok()?);
        let is_taken = size.map_or_else(|error| error.kind == StoreErrorKind::Foreign, |size| size.is_some());
        is_taken.then(|| {
            format!(
                "store `{}`: `{name}` is there already, and nothing is ever overwritten: give the archive another name; only what no run of \
                 `plan list` has may be moved away",
                declared.name
            )
        })
    }

    /// What would be made in stores of the room that they keep, once the backup is there.
    fn room(&self) -> Vec<String> {
        let of = |id: &StoreId| {
            let (declared, layout) = (self.model().store(*id), &self.prepared.layout);
            let names = match store::open(declared, &Secrets::default()) {
                Ok(store) => reserve::missing(store.as_ref(), layout),
                Err(_) => reserve::all(layout),
            };
            names.into_iter().map(|name| format!("{}:{name}", declared.name)).collect::<Vec<_>>()
        };
        self.committed.iter().flat_map(of).collect()
    }

    fn commit(&mut self, store: StoreId) -> Result<(), Failure> {
        if !self.usable.contains(&store) {
            return Err(Failure::lasting("its store has dropped out"));
        }
        let nothing = || Failure::lasting("nothing would reach the store: there is nothing to commit");
        CommitPlan::make(self.scene(), store).ok_or_else(nothing)?;
        self.committed.insert(store);
        Ok(())
    }

    fn prune(&mut self, id: StoreId, shown: &mut Sight) {
        self.pruned.insert(id);
        match self.foresee(id) {
            Ok((plan, names)) => {
                let going = plan.order().len();
                shown.found.push(staying(plan.runs.len() - going, going));
                shown.would_delete.extend(names);
                let store = &self.model().store(id).name;
                if plan.refused.is_empty() {
                    shown.found.extend(plan.held.iter().map(ToString::to_string));
                }
                let refused =
                    plan.refused.iter().map(|why| format!("store `{store}`: nothing would be pruned: {why}"));
                let warned = plan.warnings.iter().map(|text| format!("store `{store}`: {text}"));
                let told: Vec<String> = refused.chain(warned).collect();
                self.facts.warnings.extend(told);
            }
            Err(error) => self.warn(error),
        }
    }

    /// The prune of a store, behind the run to come.
    fn foresee(&self, id: StoreId) -> Result<(PrunePlan, Vec<String>), String> {
        prune::foresee(&self.prepared, id, self.coming(id))
    }

    /// The run to come, as a store will have it.
    fn coming(&self, id: StoreId) -> Current {
        let measured = |source: SourceId| self.measure(source);
        let comes = |archive: ArchiveId, source: SourceId| {
            self.facts.reached.contains(&(archive, id))
                && !self.facts.left_out.contains_key(&(archive, source))
        };
        prune::coming(&self.prepared, id, &measured, &comes)
    }

    /// The runs that the prunes before this would delete.
    fn going(&self) -> BTreeSet<(StoreId, RunId)> {
        let foreseen = self.pruned.iter().filter_map(|id| Some((*id, self.foresee(*id).ok()?.0)));
        foreseen
            .flat_map(|(id, plan)| plan.order().iter().map(|run| (id, *run)).collect::<Vec<_>>())
            .collect()
    }

    fn is_behind(&self, store: StoreId) -> bool {
        self.prepared.levels.is_behind(store) && !self.facts.reached.iter().any(|(_, at)| *at == store)
    }

    fn catch_up(&mut self, id: StoreId, shown: &mut Sight) -> Output {
        let is_behind = self.is_behind(id);
        let foreseen = catch_up::foreseen(&self.prepared, id, self.coming(id), &self.going(), is_behind);
        let Some(Coming { words, objects, warnings }) = foreseen else { return Output::Nothing };
        shown.found.extend(words);
        self.facts.warnings.extend(warnings);
        Output::Wrote(objects)
    }

    /// Backups in a repository of its own go with their runs. What a packed one gives up is known once its full is made.
    fn expire(&mut self, source: SourceId, id: StoreId, shown: &mut Sight) {
        let model = self.model();
        let (name, declared) = (&model.source(source).name, model.store(id));
        let below = repository(&model.name, name);
        let opened = store::open(declared, &Secrets::default()).ok();
        let catalog = opened.and_then(|store| Catalog::load(store.as_ref(), &self.prepared.layout).ok());
        // Nothing is expired where it does not tell.
        let (Some(catalog), Ok((plan, _))) = (catalog, self.foresee(id)) else { return };
        let (mut gone, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for run in catalog.runs() {
            let records = run.repositories.iter().filter(|record| record.source == *name);
            let labels = records.map(|record| record.label.clone());
            if plan.order().contains(&run.run) { gone.extend(labels) } else { kept.extend(labels) }
        }
        let going = gone.difference(&kept);
        let label = &declared.name;
        shown.would_delete.extend(going.map(|backup| format!("{label}:{below}: backup {backup}")));
    }

    fn open_wal(&mut self, at: usize, store: StoreId, shown: &mut Sight) -> Result<(), Failure> {
        let (found, error) = wal::look(self.model(), &self.prepared.graph, at, store);
        shown.found.extend(found);
        error.map_or(Ok(()), |error| Err(Failure::lasting(error)))
    }

    fn expire_wal(&mut self, at: usize, store: StoreId, shown: &mut Sight) {
        let going = self.going();
        let kept = |store, run| !going.contains(&(store, run));
        match wal::foresee(self.model(), &self.prepared.layout, at, store, &kept, self.prepared.started) {
            Ok(names) => shown.would_delete.extend(names),
            Err(error) => self.warn(format!("nothing of the log would be deleted: {error}")),
        }
    }

    /// What all of it comes to, as the report of the run would tell it.
    fn told(&mut self, execution: &Execution) -> Forecast {
        let prepared = &self.prepared;
        let (id, model) = (prepared.run.to_string(), &prepared.request.model);
        let report = report(model, &id, &prepared.graph, execution, &self.facts);
        let mut errors: Vec<String> = Vec::new();
        for step in report.steps.iter().filter(|step| failures(&report).contains_key(step.step.as_str())) {
            errors.extend(step.reason.clone());
        }
        // A store that takes no artefact while others do fails no step.
        let lost = self.facts.lost.values().filter(|why| !errors.contains(why));
        errors.extend(lost.cloned().collect::<Vec<_>>());
        let archives = self.prepared.graph.artefact_names.iter();
        let archives = archives.map(|(id, name)| self.archive(*id, name));
        let archives = archives.filter(|archive| !archive.stores.is_empty()).collect();
        let run = id.rsplit_once('-').map_or(id.clone(), |(known, _)| format!("{known}-??????"));
        let Report { plan, verdict, steps, warnings, .. } = report;
        let steps = steps.into_iter().map(|step| self.shown(step, &id, &run)).collect();
        Forecast { plan, run, verdict, steps, archives, warnings, errors }
    }

    /// A step as it is shown, without the part of the run's id that is chance.
    fn shown(&mut self, mut step: StepReport, id: &str, run: &str) -> StepForecast {
        let sight = self.seen.remove(&StepId(step.step.clone())).unwrap_or_default();
        for text in [&mut step.reads, &mut step.writes, &mut step.deletes].into_iter().flatten() {
            *text = text.replace(id, run);
        }
        let outcome = if step.outcome == How::Done { How::WouldRun } else { step.outcome };
        StepForecast { step: StepReport { outcome, took_ms: 0, attempts: 0, ..step }, sight }
    }

    fn archive(&self, id: ArchiveId, name: &str) -> ArchiveForecast {
        let archive = self.model().archive(id);
        let estimate = self.packed.get(&id).map(|(_, estimate)| estimate.clone()).unwrap_or_default();
        let Estimate { entries, bytes, unmeasured, .. } = estimate;
        let unmeasured = unmeasured.iter().map(|source| self.model().source(*source).name.clone());
        let unchanged = self.facts.unchanged.get(&id);
        let comes =
            |store: &&StoreId| self.committed.contains(store) && self.facts.reached.contains(&(id, **store));
        let stores = archive.to.iter().filter(comes);
        ArchiveForecast {
            archive: archive.name.clone(),
            artefact: unchanged.map_or_else(|| name.to_owned(), |record| record.artefact.to_string()),
            unchanged_since: unchanged.map(|record| record.holder.to_string()),
            stores: stores.map(|store| self.model().store(*store).name.clone()).collect(),
            entries,
            bytes,
            unmeasured: unmeasured.collect(),
        }
    }
}
