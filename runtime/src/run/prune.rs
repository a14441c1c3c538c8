//! Pruning: as the last step of a run, shown by a dry run, and by itself.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::model::{Model, StoreId};
use backplan_compiler::retention::Policy;
use jiff::Timestamp;
use serde::Serialize;

use super::accept;
use super::entry::Entry;
use super::mark::mark;
use super::prepare::PrepareError;
use super::{spared, sync};
use crate::catalog::host::{HostLock, HostLockError, HostState, Note, PlanState};
use crate::catalog::identity::{Claim, Standing, inspect};
use crate::catalog::ids::{RunId, Uuid};
use crate::catalog::layout::Layout;
use crate::catalog::lock::{Lease, LockError};
use crate::catalog::made::{Made, Mark};
use crate::catalog::manifest::HostRef;
use crate::catalog::notes::Notes;
use crate::catalog::owner::Owner;
use crate::catalog::prune::{Accepted, Current, Ground, Occasion, PrunePlan};
use crate::catalog::recover::{self as catalog, Memory};
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::machine::host_name;
use crate::past::history;
use crate::programs::secrets::Secrets;
use crate::store::{self, ReadStore, Store};

/// The prune of a store: made by looking, and then shown or carried out, as a step of a run and by itself.
pub(super) struct Pruning {
    pub plan: PrunePlan,
    /// The runs that are in it.
    catalog: Catalog,
}

/// What a prune came to.
#[derive(Default)]
pub(super) struct Pruned {
    /// The objects that are gone.
    pub deleted: Vec<String>,
    /// Those that stay, though a run named them, in words.
    pub left: Vec<String>,
    /// What this host was to remember of it, and could not.
    pub unkept: Vec<String>,
}

impl Pruning {
    /// Looks at the store whose runs these are; `None`: it would be made. `spared` says which of the runs that a plan gives up stay all
    /// the same.
    ///
    /// # Errors
    /// When it cannot tell what is there.
    pub fn make<'o>(
        store: Option<&dyn ReadStore>,
        layout: &Layout,
        mut catalog: Catalog,
        occasion: impl FnOnce(&mut Catalog) -> Occasion<'o>,
        spared: impl FnOnce(&Catalog, &Occasion<'o>, &PrunePlan) -> Result<BTreeSet<RunId>, String>,
    ) -> Result<Pruning, String> {
        if let Some(store) = store {
            catalog.look_for_artefacts(store, layout).map_err(text)?;
        }
        let occasion = occasion(&mut catalog);
        let plan = PrunePlan::make(&catalog, &occasion);
        let spared = spared(&catalog, &occasion, &plan)?;
        let plan = match spared.is_empty() {
            true => plan,
            false => PrunePlan::sparing(&catalog, &occasion, &spared),
        };
        Ok(Pruning { plan, catalog })
    }

    /// The objects that would go, in order, and what would be left alone, in words.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn preview(
        &mut self,
        store: &dyn Store,
        layout: &Layout,
        folder: &Path,
    ) -> Result<(Vec<String>, Vec<String>), String> {
        let made = Made::load(folder).unwrap_or_default();
        let known = (&mark as &catalog::Mark, &made.in_store(store.label()) as &dyn Memory);
        let foreseen = self.plan.preview(store, layout, &mut self.catalog, known).map_err(text)?;
        let left = foreseen.left.iter().map(ToString::to_string).collect();
        Ok((foreseen.deleted.iter().map(ToString::to_string).collect(), left))
    }

    /// Deletes what goes. `told` hears of each run; this host remembers in its `folder` what nothing in the store tells any more.
    ///
    /// # Errors
    /// Why it did not come to its end.
    pub fn carry_out(
        &mut self,
        (store, layout, lease): (&dyn Store, &Layout, &Lease),
        folder: &Path,
        (pruned, told): (&mut Pruned, &mut dyn FnMut(&RunId)),
        control: &Control,
    ) -> Result<(), String> {
        // Who finds a deletion that was cut must know whose it is: whoever may put something into the store can write the same. And a
        // backup in a repository of its own of which nothing is known would stay.
        for run in self.plan.order() {
            Made::keep_gone(folder, *run, store.label())?;
        }
        let made = Made::load(folder).unwrap_or_default();
        let on = Ground { store, layout, lease, mark: &mark, memory: &made.in_store(store.label()) };
        let done = self.plan.execute(on, &mut self.catalog, control, &mut |run, deleted| {
            // One that was lost and put back is deleted by right.
            let kept = made.has_lost(run).then(|| Made::mark(folder, *run, Mark::Here));
            pruned.unkept.extend(kept.and_then(Result::err));
            pruned.deleted.extend(deleted.deleted.iter().map(ToString::to_string));
            pruned.left.extend(deleted.left.iter().map(ToString::to_string));
            told(run);
        });
        done.map_err(|error| format!("{error}; the next prune goes on"))
    }
}

/// What a prune of a store is made from at `now`.
pub(super) fn occasion(
    model: &Model,
    id: StoreId,
    now: Timestamp,
    current: Option<Current>,
    (remembered, accepted, strange): Remembered,
) -> Occasion<'_> {
    let policy = Policy::of(model, model.store(id), now);
    let schedule = model.schedules().next().map(|(_, schedule)| schedule);
    Occasion { policy, schedule, current, remembered, accepted, strange }
}

/// What this host remembers: its newest run, by source the run up to which what that lost was said to be right so, and which runs of
/// a store are not its own.
pub(super) type Remembered = (Option<RunId>, Accepted, Vec<RunId>);

/// The runs of a store that this host has not made as they are there, and that nobody has said to be right.
pub(super) fn strange(
    folder: &Path,
    (catalog, store): (&Catalog, &str),
    accepted: &[(RunId, String)],
) -> Vec<RunId> {
    let made = Made::load(folder).unwrap_or_default();
    let is_accepted =
        |run: &RunId, digest: &str| accepted.iter().any(|(own, right)| own == run && right == digest);
    let strange = made.strange(catalog, store).into_iter();
    strange.filter(|(run, digest)| !is_accepted(run, digest)).map(|(run, _)| run).collect()
}

/// What is asked of a prune, or of bringing stores together, by itself.
#[derive(Debug, Clone)]
pub struct StoresRequest {
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
pub fn preview(request: &StoresRequest) -> Result<Vec<StorePrune>, PrepareError> {
    let mut site = Site::new(request, HostState::foresee(&request.state)?)?;
    let accepted = accept::accepted(&site)?;
    site.plan.suppose_accepted(accepted.sources);
    site.strangers = accepted.strange;
    Ok(site.each(|id, store, shown| {
        let mut pruning = site.pruning(id, store.as_ref())?;
        if request.is_supposed {
            pruning.plan.suppose_clock();
        }
        (shown.deletes, shown.left) = pruning.preview(store.as_ref(), &site.layout, site.plan.folder())?;
        shown.plan = Some(pruning.plan);
        Ok(())
    }))
}

/// Prunes, store by store, under the locks a run takes. What a dead run left in a store is undone first.
///
/// # Errors
/// [`PrepareError::Busy`] when a run of the plan goes on here; then nothing was touched.
pub fn carry_out(request: &StoresRequest, control: &Control) -> Result<Vec<StorePrune>, PrepareError> {
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
pub(super) fn locked(request: &StoresRequest, what: &str) -> Result<(HostState, HostLock), PrepareError> {
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
    pub request: &'a StoresRequest,
    pub host: HostRef,
    /// Where the leases are noted that are taken here.
    pub leases: Notes,
    pub plan: PlanState,
    pub layout: Layout,
    /// Runs that this host has not made, and that somebody would say to be right, each with the digest of its manifest.
    strangers: Vec<(RunId, String)>,
}

impl<'a> Site<'a> {
    pub fn new(request: &'a StoresRequest, host: HostState) -> Result<Site<'a>, PrepareError> {
        let plan = host.plan(&request.model.name, &request.model.file)?;
        let layout =
            Layout::new(&request.model.name).map_err(|error| PrepareError::Plan(error.to_string()))?;
        let leases = host.leases();
        let host = HostRef { machine: host.machine(), name: host_name() };
        Ok(Site { request, host, leases, plan, layout, strangers: Vec::new() })
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

    /// What a prune of a store with these runs is made from.
    pub fn occasion(&self, id: StoreId, catalog: &Catalog) -> Occasion<'_> {
        let store = self.request.model.store(id).name.as_str();
        let strange = strange(self.plan.folder(), (catalog, store), &self.strangers);
        let remembered = (history::newest(&self.plan, None), self.plan.accepted().clone(), strange);
        occasion(&self.request.model, id, self.request.now, None, remembered)
    }

    pub fn open(&self, id: StoreId) -> Result<Arc<dyn Store>, String> {
        let model = &self.request.model;
        let declared = model.store(id);
        let store = store::open(declared, &Secrets::default()).map_err(text)?;
        match inspect(store.as_ref(), &self.layout, &self.claim(id)).map_err(text)? {
            Standing::New => {
                Err(format!("store `{}` holds no backups of plan `{}`", declared.name, model.name))
            }
            Standing::Ours(_) | Standing::Adopted(_) => Ok(store),
        }
    }

    /// Whose a store should be.
    pub fn claim(&self, id: StoreId) -> Claim<'_> {
        let declared = self.request.model.store(id);
        Claim {
            file: &self.request.model.file,
            machine: self.host.clone(),
            id: self.plan.id().unwrap_or_else(Uuid::random),
            known: self.plan.known(&declared.name, &declared.location()),
            adopt: false,
        }
    }

    fn pruning(&self, id: StoreId, store: &dyn Store) -> Result<Pruning, String> {
        let catalog = Catalog::load(store, &self.layout).map_err(text)?;
        let spared = |own: &Catalog, occasion: &Occasion<'_>, plan: &PrunePlan| {
            let pruned = spared::Pruned { model: &self.request.model, id, own, occasion };
            if !pruned.may_come_back(plan) {
                return Ok(BTreeSet::new());
            }
            // One that cannot be read brings nothing back.
            let others = sync::givers(self).0.into_iter().filter(|giver| giver.id != id);
            let others = others.map(|giver| {
                let occasion = self.occasion(giver.id, &giver.catalog);
                giver.pruned(&occasion)
            });
            pruned.brought_back(plan, others.collect(), (&self.layout, self.plan.folder()))
        };
        Pruning::make(Some(store), &self.layout, catalog, |catalog| self.occasion(id, catalog), spared)
    }

    /// How a command takes a store into use.
    pub fn entry(&self, id: StoreId, command: &str) -> Entry<'_> {
        let owner = Owner::of_command(self.host.machine, &self.host.name, command);
        Entry {
            declared: self.request.model.store(id),
            layout: &self.layout,
            claim: self.claim(id),
            owner: owner.noting(self.leases.clone()),
            run: None,
            folder: self.plan.folder().to_path_buf(),
        }
    }

    /// Takes a store's lease. `told` hears what that waits for; `is_busy` whether somebody else has it.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn lease(
        &self,
        entry: &Entry<'_>,
        store: &Arc<dyn Store>,
        (told, is_busy): (&mut Vec<String>, &mut bool),
        control: &Control,
    ) -> Result<Lease, String> {
        let waits = RefCell::new(told);
        let lease = entry.lease(store, control, &|text| waits.borrow_mut().push(text));
        *is_busy = matches!(lease, Err(LockError::Busy { .. }));
        lease.map_err(text)
    }

    /// Undoes what a dead run left in a store; what of it stays, in words.
    ///
    /// # Errors
    /// When that cannot be told, or cannot go on.
    pub fn recover(
        &self,
        entry: &Entry<'_>,
        store: &dyn Store,
        lease: &Lease,
    ) -> Result<Vec<String>, String> {
        let recovered = entry.left(store).map_err(text)?.execute(store, &self.layout, lease);
        Ok(recovered.map_err(text)?.left.iter().map(ToString::to_string).collect())
    }

    fn prune(
        &self,
        id: StoreId,
        store: Arc<dyn Store>,
        shown: &mut StorePrune,
        control: &Control,
    ) -> Result<(), String> {
        let entry = self.entry(id, "plan prune");
        let lease = self.lease(&entry, &store, (&mut shown.left, &mut shown.busy), control)?;
        shown.left.extend(self.recover(&entry, store.as_ref(), &lease)?);
        let mut pruning = self.pruning(id, store.as_ref())?;
        let (ground, mut pruned) = ((store.as_ref(), &self.layout, &lease), Pruned::default());
        let done = pruning.carry_out(ground, self.plan.folder(), (&mut pruned, &mut |_| ()), control);
        shown.left.extend(pruned.unkept.into_iter().chain(pruned.left));
        shown.deletes = pruned.deleted;
        shown.plan = Some(pruning.plan);
        done?;
        lease.keep_room();
        lease.release().map_err(text)
    }
}
