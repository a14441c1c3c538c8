//! What each step is going to do, as a value that is made first. A run carries it out; a dry run shows the very same.
//!
//! | module | holds |
//! |---|---|
//! | [`host`] | the locks of this host, and giving back what a run holds |
//! | [`lock`] | taking a store into use, and what one that cannot be used means for the run |
//! | [`recover`] | what dead runs left, here and in the stores |
//! | [`clear`] | what is deleted from a staging, and whether a staging is the plan's own |
//! | [`window`] | the programs that open and close a window |
//! | [`scan`], [`dump`], [`apart`] | reading a source |
//! | [`pack`] | which sources an archive is made of, what it rests on, and where it is built |
//! | `packing` | carrying that out |
//! | [`deliver`] | what is brought into a store, and what its manifest is going to promise |
//! | [`prune`], [`expire`] | what retention gives up |
//! | [`catch_up`] | what a store lacks, and others have |
//! | [`wal`] | archives of logs: there, and rid of what is no longer needed |
//! | [`rehearse`], [`notify`] | behind the commits, or beside them |

pub(super) mod apart;
pub(super) mod catch_up;
pub(super) mod clear;
pub(super) mod deliver;
pub(super) mod dump;
pub(super) mod expire;
pub(super) mod host;
pub(super) mod lock;
pub(super) mod notify;
pub(super) mod pack;
mod packing;
pub(super) mod prune;
pub(super) mod recover;
pub(super) mod rehearse;
pub(super) mod scan;
pub(super) mod wal;
pub(super) mod window;

use std::sync::Arc;

use backplan_compiler::count::plural;
use backplan_compiler::graph::{Action, Occasion, Step};
use backplan_compiler::lower::{fill, zone};
use backplan_compiler::model::{Model, StoreId};
use backplan_compiler::value::Text;
use serde::Serialize;

use super::context::Context;
use super::coordinator::{Failure, FailureKind, Performed};
use super::dry::Ahead;
use super::facts::Facts;
use super::levels::Levels;
use super::output::Output;
use super::real::Doing;
use super::session::DROPPED_OUT;
use crate::catalog::prune::Current;
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::past::journal::{Leave, Record};
use crate::store::{Store, StoreError};

/// What a step is going to do. Making it only looks.
pub(crate) trait StepPlan {
    /// How the window that it opens is closed again.
    fn leave(&self) -> Option<Leave> {
        None
    }

    /// What a dry run shows of it, and what it would come to. What only doing tells is said to be unknown. Looks, and no more.
    fn foreseen(self: Box<Self>, _ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        (Sight::default(), Ok(Performed::Done(Output::Nothing)))
    }

    /// Does it.
    ///
    /// # Errors
    /// [`Failure`]; then it may have begun to take effect.
    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure>;
}

/// What a step is going to do: the one place that tells actions apart. Blocks, and looks at `control`.
///
/// # Errors
/// What keeps it from being done.
pub(super) fn planned<'a>(
    step: &'a Step,
    scene: Scene<'a>,
    control: &Control,
) -> Result<Box<dyn StepPlan + 'a>, Failure> {
    let context = scene.context;
    Ok(match step.action {
        Action::LockHost => Box::new(host::HostPlan::make(scene)),
        Action::LockStore(store) => Box::new(lock::LockPlan::make(scene, store, control)?),
        Action::Recover => Box::new(recover::RecoverPlan::make(scene)?),
        Action::ClearStaging(when) => Box::new(clear::ClearStep::make(scene, when)),
        Action::Enter(window) => Box::new(window::EnterStep::make(context, window)?),
        Action::Leave(window) => Box::new(window::LeaveStep::make(context, window)),
        Action::Scan(source) => Box::new(scan::ScanPlan::make(scene, source)),
        Action::Dump(source) => Box::new(dump::DumpPlan::make(scene, source)?),
        Action::DumpApart(source, store) => Box::new(apart::DumpApart::make(scene, source, store)?),
        Action::Pack(archive) => Box::new(pack::PackPlan::make(scene, archive)?),
        Action::Publish(archive, store) => Box::new(deliver::PublishPlan::make(scene, archive, store)),
        Action::Commit(store) => Box::new(deliver::CommitPlan::make(scene, store)?),
        Action::Prune(store) => Box::new(prune::PruneStep::make(scene, store)?),
        Action::Sync(store) => Box::new(catch_up::SyncPlan::make(scene, store)?),
        Action::Expire(source) => Box::new(expire::ExpirePlan(source)),
        Action::ExpireApart(source, store) => Box::new(apart::ExpireApart::make(scene, source, store)),
        Action::OpenWal(at, store) => Box::new(wal::OpenPlan::make(scene, (at, store), control)?),
        Action::ExpireWal(at, store) => Box::new(wal::ExpirePlan::make(scene, (at, store), control)?),
        Action::Rehearse(source) => Box::new(rehearse::RehearsePlan(source)),
        Action::Unlock => Box::new(host::UnlockPlan),
        Action::Notify(notify, when) => Box::new(notify::NotifyPlan { notify, when }),
    })
}

/// What a step hands on beside what it says itself: that nothing of the run makes sense without a store.
pub(super) fn handed_on(step: &Step, taken: Result<Performed, Failure>) -> Result<Performed, Failure> {
    match taken {
        Err(failure) if failure.kind == FailureKind::Fatal && matches!(step.action, Action::LockStore(_)) => {
            Ok(Performed::InPart(Output::Hopeless, failure))
        }
        taken => taken,
    }
}

/// A step that was done, and hands nothing on.
pub(super) fn done() -> Result<Performed, Failure> {
    Ok(Performed::Done(Output::Nothing))
}

/// What a step would see.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sight {
    /// What it would find, in words.
    pub found: Vec<String>,
    /// Exactly what it would delete now.
    pub would_delete: Vec<String>,
    /// What a person should read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Sight {
    /// Of a step that finds this.
    pub fn found(found: impl Into<String>) -> Sight {
        Sight { found: vec![found.into()], ..Sight::default() }
    }

    /// The same, with something that a person should read.
    #[must_use]
    pub fn warned(mut self, text: impl Into<String>) -> Sight {
        self.warnings.push(text.into());
        self
    }

    /// The same, unless it was told already, by this step or by one before.
    #[must_use]
    pub(crate) fn warned_once(self, scene: Scene<'_>, text: &str) -> Sight {
        let is_told = |told: &[String]| told.iter().any(|other| other == text);
        if is_told(&self.warnings) || is_told(&scene.facts.warnings) { self } else { self.warned(text) }
    }
}

/// What a step has of a store.
#[derive(Clone)]
pub(crate) enum Access {
    /// It is open: to a run under its lease, to a dry run for reading.
    Open(Arc<dyn Store>),
    /// In a dry run: it is not there, and would be made.
    ToBeMade,
    /// The run goes on without it.
    None,
}

impl From<Option<Arc<dyn Store>>> for Access {
    fn from(store: Option<Arc<dyn Store>>) -> Access {
        store.map_or(Access::None, Access::Open)
    }
}

/// The stores as a run has them, or a dry run: all that the two differ in for a plan.
pub(crate) trait Stores {
    /// What it has of one.
    fn access(&self, id: StoreId) -> Access;
}

/// A run as far as it has come: what the next step is planned from.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// The run.
    pub context: &'a Context,
    /// What the steps before it came to, or would.
    pub facts: &'a Facts,
    /// Its stores.
    pub stores: &'a dyn Stores,
}

impl<'a> Scene<'a> {
    /// The plan.
    pub fn model(&self) -> &'a Model {
        self.context.model()
    }

    /// What the archives rest on.
    pub fn levels(&self) -> Arc<Levels> {
        self.context.levels(self.facts)
    }

    /// Whether the run has a store, or would make it.
    pub fn has(&self, id: StoreId) -> bool {
        !matches!(self.stores.access(id), Access::None)
    }

    /// A store; `None`: it would be made.
    ///
    /// # Errors
    /// When the run goes on without it.
    pub fn store(&self, id: StoreId) -> Result<Option<Arc<dyn Store>>, Failure> {
        match self.stores.access(id) {
            Access::Open(store) => Ok(Some(store)),
            Access::ToBeMade => Ok(None),
            Access::None => Err(Failure::lasting(DROPPED_OUT)),
        }
    }

    /// The runs that are in a store, but for those that were pruned, or would be.
    ///
    /// Read anew by each step that asks, though the run was prepared from what the store held: that was before it had the lease, and
    /// what is deleted, or brought from store to store, goes by what is there under it. A dry run asks as the run would.
    ///
    /// # Errors
    /// When it cannot tell.
    pub fn catalog(&self, id: StoreId, store: Option<&dyn Store>) -> Result<Catalog, StoreError> {
        let mut catalog = match store {
            Some(store) => Catalog::load(store, &self.context.layout)?,
            None => Catalog::default(),
        };
        self.facts.pruned.get(&id).into_iter().flatten().for_each(|run| catalog.remove(run));
        Ok(catalog)
    }

    /// This run, as a store has it by now, or would.
    pub fn current(&self, id: StoreId, catalog: &Catalog) -> Option<Current> {
        let made = catalog.get(&self.context.imprint.run).map(Current::of);
        made.or_else(|| self.facts.ahead.coming.get(&id).cloned())
    }
}

/// `3 entries, 2 bytes`
pub(super) fn measured(entries: u64, bytes: u64) -> String {
    format!("{}, {}", plural(entries, "entry"), plural(bytes, "byte"))
}

/// Texts of the plan with the parts of the run filled in.
///
/// # Errors
/// When one cannot be.
pub(super) fn fill_all(texts: &[Text], model: &Model, occasion: &Occasion) -> Result<Vec<String>, Failure> {
    texts.iter().map(|text| fill_one(text, model, occasion)).collect()
}

/// One of them.
///
/// # Errors
/// When it cannot be.
pub(super) fn fill_one(text: &Text, model: &Model, occasion: &Occasion) -> Result<String, Failure> {
    fill(text, occasion, &zone(model))
        .map_err(|error| Failure::lasting(format!("cannot fill in `{text}`: {error:?}")))
}
