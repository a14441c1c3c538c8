//! Whether a run could use a store that can be read, as far as looking tells. Who says that all is well must not leave that to the
//! next run.

use std::path::Path;

use backplan_compiler::model::{Model, Store as Declared};

use super::host::{HostState, PlanState, StateError};
use super::identity::{self, Claim, IdentityError};
use super::layout::Layout;
use super::lock;
use super::manifest::HostRef;
use super::sequence::{highest_in, most_believed};
use crate::machine::host_name;
use crate::store::{ReadStore, StoreError};

/// Whether what a run writes before its manifest can be written, as far as looking tells.
///
/// # Errors
/// What is in the way.
pub fn takes_a_run(store: &dyn ReadStore, layout: &Layout) -> Result<(), StoreError> {
    for folder in [layout.temporaries(), layout.all_sums()] {
        store.entries(&folder)?;
    }
    store.may_write()
}

/// Which other machine a run in a store is of; `None`: it is this one's, or the store is. A machine that has the name of the one that
/// made it is that one, and has lost its state.
pub fn anothers(
    state: Option<&Path>,
    store: &dyn ReadStore,
    layout: &Layout,
    made_by: &HostRef,
) -> Option<HostRef> {
    let own = state.and_then(|state| HostState::look(state).ok()).map(|host| host.machine());
    let is_own = |machine: &HostRef| Some(machine.machine) == own;
    let has_taken_over = || {
        // One that is gone or damaged says nothing of who has.
        let format = identity::read_format(store, layout).ok().flatten();
        format.is_some_and(|format| is_own(&format.machine))
    };
    (!is_own(made_by) && !is_this(&made_by.name) && !has_taken_over()).then(|| made_by.clone())
}

/// Whether a machine of this name is this one, whatever id it had.
fn is_this(name: &str) -> bool {
    name == host_name()
}

/// Who asks.
#[derive(Debug)]
pub struct Asker {
    host: HostState,
    plan: PlanState,
    /// Whether the plan's runs are this machine's: another one may look at its stores, and take none over.
    runs_here: bool,
    /// Whether somebody has said that what is another's is this plan's now.
    adopt: bool,
}

impl Asker {
    /// This machine, as its state knows the plan. Reads only.
    ///
    /// # Errors
    /// When the state is there and cannot be read.
    pub fn of(model: &Model, state: &Path) -> Result<Asker, StateError> {
        let host = HostState::look(state)?;
        let plan = host.plan(&model.name, &model.file)?;
        let runs_here = plan.id().is_some();
        Ok(Asker { host, plan, runs_here, adopt: false })
    }

    /// A run of this machine that begins.
    pub fn running(host: &HostState, plan: &PlanState, adopt: bool) -> Asker {
        Asker { host: host.clone(), plan: plan.clone(), runs_here: true, adopt }
    }

    /// Why no run of this machine could begin, as far as looking tells: each would fail before it could keep that it has.
    pub fn barred(&self) -> Option<StateError> {
        self.host.see_usable().and_then(|()| self.plan.see_usable()).err().filter(|_| self.runs_here)
    }

    /// The same, but what another machine's runs own is in this one's way: it is to run the plan.
    #[must_use]
    pub fn to_run(self) -> Asker {
        Asker { runs_here: true, ..self }
    }

    fn claim<'m>(&self, model: &'m Model, declared: &Declared) -> Claim<'m> {
        Claim {
            file: &model.file,
            machine: HostRef { machine: self.host.machine(), name: host_name() },
            id: self.plan.id().unwrap_or_else(super::ids::Uuid::random),
            known: self.plan.known(&declared.name, &declared.location()),
            adopt: self.adopt,
        }
    }

    /// Why a run would find that the store is not its own.
    pub fn refusal(
        &self,
        model: &Model,
        declared: &Declared,
        store: &dyn ReadStore,
    ) -> Option<IdentityError> {
        let layout = Layout::new(&model.name).ok()?;
        identity::inspect(store, &layout, &self.claim(model, declared)).err()
    }

    /// Whether it is another machine's runs that use the store, and this one but looks. One that may write there, and has the name
    /// of the one that runs the plan, is that one, and has lost its state.
    fn is_anothers(&self, error: &IdentityError, store: &dyn ReadStore) -> bool {
        match error {
            IdentityError::OtherMachine { host, .. } => {
                let has_forgotten = is_this(host) && store.may_write().is_ok();
                !self.runs_here && !has_forgotten
            }
            _ => false,
        }
    }

    /// Why a run could not use the store, or not at once.
    pub fn unfit(&self, model: &Model, declared: &Declared, store: &dyn ReadStore) -> Vec<String> {
        let Ok(layout) = Layout::new(&model.name) else { return Vec::new() };
        let mut found = Vec::new();
        let looked = identity::inspect(store, &layout, &self.claim(model, declared));
        let refused = looked.err().filter(|error| !self.is_anothers(error, store));
        found.extend(refused.map(|error| error.to_string()));
        let highest = highest_in(store, &layout, most_believed(self.plan.sequence(), false), None);
        found.extend(highest.err().map(|error| error.to_string()));
        found.extend(lock::trouble(store, &layout));
        if found.is_empty() {
            found.extend(takes_a_run(store, &layout).err().map(|error| error.to_string()));
        }
        // One cause, such as a folder that cannot be listed, is told once.
        found.dedup();
        found
    }
}
