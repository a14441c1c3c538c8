//! Pruning: as the last step of a run, shown by a dry run, and by itself.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::model::{ArchiveId, Level, Model, Source, SourceId, StoreId};
use backplan_compiler::retention::{Lack, Part, Policy, Run};
use jiff::Timestamp;
use serde::Serialize;

use super::accept;
use super::facts::SourceFact;
use super::history;
use super::mark::mark;
use super::prepare::PrepareError;
use crate::catalog::host::{HostLock, HostLockError, HostState, Note, PlanState};
use crate::catalog::identity::{Claim, Standing, inspect};
use crate::catalog::ids::{RunId, Uuid};
use crate::catalog::layout::Layout;
use crate::catalog::lock::{Lease, LeaseTimes, LockError};
use crate::catalog::made::{Made, Mark};
use crate::catalog::manifest::{HostRef, SourceRecord, SourceStatus};
use crate::catalog::names::PlanName;
use crate::catalog::notes::Notes;
use crate::catalog::owner::Owner;
use crate::catalog::prune::{Accepted, Current, Ground, Occasion, PrunePlan};
use crate::catalog::recover::RecoveryPlan;
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::machine::host_name;
use crate::programs::secrets::Secrets;
use crate::store::{self, ReadStore, Store, StoreError};

/// Keeps which backups in repositories kept apart a prune is about to give up, before nothing in the store tells of them any more. Says
/// of which that could not be: they stay.
pub(super) fn keep_gone(folder: &Path, store: &str, plan: &PrunePlan, catalog: &Catalog) -> Vec<String> {
    let going = plan.order().iter().filter_map(|run| catalog.get(run));
    let going = going.filter(|manifest| !manifest.repositories.is_empty());
    going.filter_map(|manifest| Made::keep_gone(folder, manifest.run, store).err()).collect()
}

/// The prune of a store as it is now, and the runs that are in it.
///
/// # Errors
/// When the store cannot tell what is there.
fn planned<'o>(
    store: &dyn ReadStore,
    layout: &Layout,
    occasion: impl FnOnce(&Catalog) -> Occasion<'o>,
) -> Result<(PrunePlan, Catalog), StoreError> {
    let mut catalog = Catalog::load(store, layout)?;
    catalog.look_for_artefacts(store, layout)?;
    Ok((PrunePlan::make(&catalog, &occasion(&catalog)), catalog))
}

/// What a prune of a store is made from at `now`.
pub(super) fn occasion(
    model: &Model,
    id: StoreId,
    now: Timestamp,
    current: Option<Current>,
    (remembered, accepted): Remembered,
) -> Occasion<'_> {
    let policy = Policy::of(model, model.store(id), now);
    let schedule = model.schedules().next().map(|(_, schedule)| schedule);
    Occasion { policy, schedule, current, remembered, accepted }
}

/// What this host remembers: its newest run, and by source the run up to which what that lost was said to be right so.
pub(super) type Remembered = (Option<RunId>, Accepted);

/// That, of a plan.
pub(super) fn remembered(plan: &PlanState) -> Remembered {
    (history::newest(plan, None), plan.accepted().clone())
}

/// How large a source is, as far as that shows before it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Measure {
    /// Its entries.
    pub entries: u64,
    /// Those that are no folders, of a tree.
    pub leaves: Option<u64>,
    /// Bytes of contents.
    pub bytes: u64,
    /// Entries of its `paths` that are missing or cannot be read.
    pub missing: u64,
    /// An id for each of them.
    pub lost: Vec<String>,
    /// Entries below that cannot be read.
    pub unread: u64,
}

impl Measure {
    /// How large a source is by what is known of it so far; `None`: nobody knows before it is read.
    pub fn of(model: &Model, id: SourceId, fact: Option<&SourceFact>) -> Option<Measure> {
        match fact? {
            SourceFact::Scanned(summary) => Some(Measure {
                entries: summary.entries,
                leaves: Some(summary.leaves),
                bytes: summary.bytes,
                missing: summary.lost.len() as u64,
                lost: mounts::ids(&model.name, &model.source(id).name, summary),
                unread: summary.warnings.unread(),
            }),
            SourceFact::Expected(Some(bytes)) => {
                Some(Measure { entries: 1, bytes: *bytes, ..Measure::default() })
            }
            _ => None,
        }
    }

    /// What the manifest would say of a source.
    fn record(self, source: &Source) -> SourceRecord {
        let Measure { entries, leaves, bytes, missing, lost, unread } = self;
        SourceRecord {
            name: PlanName::known(&source.name),
            kind: source.kind.facts().word.to_owned(),
            status: SourceStatus::Ok,
            reason: None,
            entries,
            bytes,
            leaves,
            missing,
            lost,
            unread,
            labels: None,
        }
    }

    fn lacks(&self) -> Lack {
        match (self.missing, self.unread) {
            (1.., _) => Lack::Paths,
            (0, 1..) => Lack::Entries,
            (0, 0) => Lack::Nothing,
        }
    }
}

/// The run to come, as a store will have it, by what is known of its sources and which archives come there.
pub(super) fn coming(scene: Scene<'_>, id: StoreId) -> Current {
    let (context, model, facts, levels) = (scene.context, scene.model(), scene.facts, scene.levels());
    let measured = |source: SourceId| Measure::of(model, source, facts.sources.get(&source));
    let is_wanted = |source: &&SourceId| {
        let only = &context.request.only;
        only.is_empty() || only.contains(&model.source(**source).name)
    };
    let archives = context.graph.artefact_names.keys().map(|at: &ArchiveId| (*at, model.archive(*at)));
    let parts = archives.filter(|(at, _)| facts.reached.contains(&(*at, id))).flat_map(|(at, archive)| {
        let here = archive.from.iter().filter(is_wanted);
        let here = here.filter(move |source| !facts.left_out.contains_key(&(at, **source)));
        here.map(|source| {
            let name = &model.source(*source).name;
            let measure = measured(*source).unwrap_or_default();
            Part {
                archive: archive.name.clone(),
                source: name.clone(),
                level: levels.level(at, name),
                place: levels.place(at, name),
                rests_on: match archive.self_contained {
                    true => BTreeSet::new(),
                    false => levels.rests_on(at, name).into_iter().collect(),
                },
                lacks: measure.lacks(),
                lost: measure.lost.into_iter().collect(),
            }
        })
        .collect::<Vec<_>>()
    });
    let apart = model.separates.iter().filter(|separate| separate.to.contains(&id));
    let apart = apart.filter_map(|separate| {
        let next = levels.separate.get(&(separate.source, id))?;
        let source = model.source(separate.source).name.clone();
        let base = next.next.bases.get(&source).and_then(Option::as_ref).map(|base| base.run);
        let chain = next.known.values().find(|(run, _)| Some(*run) == base).map(|(_, chain)| chain);
        Some(Part {
            archive: separate.chain(&source).name,
            source,
            level: next.next.level,
            place: next.next.before(),
            rests_on: chain.into_iter().flatten().copied().collect(),
            lacks: Lack::Nothing,
            lost: BTreeSet::new(),
        })
    });
    let run = Run {
        id: context.imprint.run,
        started: context.imprint.started,
        level: context.occasion.level.unwrap_or(Level::Full),
        parts: parts.chain(apart).collect(),
        size: 0,
    };
    let sources = (0..model.sources.len()).map(SourceId);
    let sources = sources.filter_map(|source| Some(measured(source)?.record(model.source(source))));
    Current { run, sources: sources.collect() }
}

/// What is asked of a prune by itself.
#[derive(Debug, Clone)]
pub struct Request {
    /// The plan.
    pub model: Model,
    /// This store alone, by name; `None`: all of the plan.
    pub store: Option<String>,
    /// Backplan's folder on this host.
    pub state: PathBuf,
    /// What the time is.
    pub now: Timestamp,
    /// It is not the clock that says so, but somebody who asks what would be then.
    pub is_supposed: bool,
    /// Sources of which somebody says that what they lost is right so.
    pub accept: Vec<String>,
}

/// What became of a store, or would.
#[derive(Debug, Clone, Serialize)]
pub struct StorePrune {
    /// The store.
    pub store: String,
    /// What stays and why, and what goes; `None`: see `error`.
    #[serde(flatten)]
    pub plan: Option<PrunePlan>,
    /// The objects that go, in order: all of them for a preview, those that are gone for a prune.
    pub deletes: Vec<String>,
    /// What was left although a run named it.
    pub left: Vec<String>,
    /// Why the store could not be pruned, or not to the end.
    pub error: Option<String>,
    /// Another run holds its lock.
    pub busy: bool,
}

impl StorePrune {
    fn of(store: &str) -> StorePrune {
        let store = store.to_owned();
        StorePrune { store, plan: None, deletes: Vec::new(), left: Vec::new(), error: None, busy: false }
    }
}

/// What a prune would do now. Writes nothing and takes no lock.
///
/// # Errors
/// When the state of this host cannot be read.
pub fn preview(request: &Request) -> Result<Vec<StorePrune>, PrepareError> {
    let mut site = Site::new(request, HostState::foresee(&request.state)?)?;
    let accepted = accept::accepted(&site)?;
    site.plan.suppose_accepted(accepted.sources);
    Ok(site.each(|id, store, shown| {
        let planned = planned(store.as_ref(), &site.layout, |_| site.occasion(id));
        let (mut plan, mut catalog) = planned.map_err(text)?;
        if request.is_supposed {
            plan.suppose_clock();
        }
        let names = plan.preview(store.as_ref(), &site.layout, &mut catalog, &mark).map_err(text)?;
        shown.deletes = names.iter().map(ToString::to_string).collect();
        shown.plan = Some(plan);
        Ok(())
    }))
}

/// Prunes, store by store, under the locks a run takes. What a dead run left in a store is undone first.
///
/// # Errors
/// [`PrepareError::Busy`] when a run of the plan goes on here; then nothing was touched.
pub fn carry_out(request: &Request, control: &Control) -> Result<Vec<StorePrune>, PrepareError> {
    let (host, _lock) = locked(request, "a prune")?;
    let mut site = Site::new(request, host)?;
    let accepted = accept::accepted(&site)?;
    accepted.keep(&mut site.plan)?;
    Ok(site.each(|id, store, shown| site.prune(id, store, shown, control)))
}

/// This host's state, and its lock on the plan for what somebody does beside runs.
///
/// # Errors
/// [`PrepareError::Busy`] when a run of the plan goes on here.
pub(super) fn locked(request: &Request, what: &str) -> Result<(HostState, HostLock), PrepareError> {
    let host = HostState::open(&request.state)?;
    let note = Note {
        plan: request.model.name.clone(),
        run: what.to_owned(),
        pid: std::process::id(),
        since: request.now,
    };
    match HostLock::plan(&host, &request.model.file, &note) {
        Ok(lock) => Ok((host, lock)),
        Err(busy @ HostLockError::Busy { .. }) => Err(PrepareError::Busy(busy.to_string())),
        Err(HostLockError::State(error)) => Err(error.into()),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// A plan on this host.
pub(super) struct Site<'a> {
    pub request: &'a Request,
    pub host: HostRef,
    /// Where the leases are noted that are taken here.
    pub leases: Notes,
    pub plan: PlanState,
    pub layout: Layout,
}

impl<'a> Site<'a> {
    pub fn new(request: &'a Request, host: HostState) -> Result<Site<'a>, PrepareError> {
        let plan = host.plan(&request.model.name, &request.model.file)?;
        let layout =
            Layout::new(&request.model.name).map_err(|error| PrepareError::Plan(error.to_string()))?;
        let leases = host.leases();
        let host = HostRef { machine: host.machine(), name: host_name() };
        Ok(Site { request, host, leases, plan, layout })
    }

    /// The stores that are meant.
    pub fn meant(&self) -> impl Iterator<Item = StoreId> + use<'a> {
        let request = self.request;
        let is_meant = |name: &str| request.store.as_ref().is_none_or(|store| store == name);
        request.model.each_store().filter(move |(_, store)| is_meant(&store.name)).map(|(id, _)| id)
    }

    /// Whether this host remembers backups in a store.
    pub fn is_known(&self, id: StoreId) -> bool {
        let declared = self.request.model.store(id);
        self.plan.known(&declared.name, &declared.location()).is_some()
    }

    /// Does something with every store that is meant; what keeps it from one is told of that one.
    fn each(
        &self,
        work: impl Fn(StoreId, Arc<dyn Store>, &mut StorePrune) -> Result<(), String>,
    ) -> Vec<StorePrune> {
        self.meant()
            .map(|id| {
                let mut shown = StorePrune::of(&self.request.model.store(id).name);
                let done = self.open(id).and_then(|store| work(id, store, &mut shown));
                shown.error = done.err();
                shown
            })
            .collect()
    }

    pub fn occasion(&self, id: StoreId) -> Occasion<'_> {
        occasion(&self.request.model, id, self.request.now, None, remembered(&self.plan))
    }

    pub fn open(&self, id: StoreId) -> Result<Arc<dyn Store>, String> {
        let model = &self.request.model;
        let declared = model.store(id);
        let store = store::open(declared, &Secrets::default()).map_err(text)?;
        let claim = Claim {
            file: &model.file,
            machine: self.host.clone(),
            id: self.plan.id().unwrap_or_else(Uuid::random),
            known: self.plan.known(&declared.name, &declared.location()),
            adopt: false,
        };
        match inspect(store.as_ref(), &self.layout, &claim).map_err(text)? {
            Standing::New => {
                Err(format!("store `{}` holds no backups of plan `{}`", declared.name, model.name))
            }
            Standing::Ours(_) | Standing::Adopted(_) => Ok(store),
        }
    }

    fn prune(
        &self,
        id: StoreId,
        store: Arc<dyn Store>,
        shown: &mut StorePrune,
        control: &Control,
    ) -> Result<(), String> {
        let owner = Owner::of_command(self.host.machine, &self.host.name, "plan prune");
        let owner = owner.noting(self.leases.clone());
        let times = LeaseTimes::default();
        let waits = RefCell::default();
        let tell = |text| Vec::push(&mut waits.borrow_mut(), text);
        let taken = Lease::acquire(Arc::clone(&store), &self.layout, owner, times, control, &tell);
        shown.left.extend(waits.into_inner());
        let lease = match taken {
            Ok(lease) => lease,
            Err(error) => {
                shown.busy = matches!(error, LockError::Busy { .. });
                return Err(error.to_string());
            }
        };
        let recovery = RecoveryPlan::make(store.as_ref(), &self.layout, None, &mark).map_err(text)?;
        let recovered = recovery.execute(store.as_ref(), &self.layout, &lease).map_err(text)?;
        shown.left.extend(recovered.left.iter().map(ToString::to_string));
        let planned = planned(store.as_ref(), &self.layout, |_| self.occasion(id));
        let (plan, mut catalog) = planned.map_err(text)?;
        let on = Ground { store: store.as_ref(), layout: &self.layout, lease: &lease, mark: &mark };
        shown.left.extend(keep_gone(self.plan.folder(), store.label(), &plan, &catalog));
        let made = Made::load(self.plan.folder()).unwrap_or_default();
        let done = plan.execute(on, &mut catalog, control, &mut |run: &RunId, deleted| {
            // One that was lost and put back is deleted by right.
            let kept = made.has_lost(run).then(|| Made::mark(self.plan.folder(), *run, Mark::Here));
            shown.left.extend(kept.and_then(Result::err));
            shown.deletes.extend(deleted.deleted.iter().map(ToString::to_string));
            shown.left.extend(deleted.left.iter().map(ToString::to_string));
        });
        shown.plan = Some(plan);
        done.map_err(|error| format!("{error}; the next prune goes on"))?;
        lease.keep_room();
        lease.release().map_err(text)
    }
}
