//! What a run holds: the locks of this host, the folders that it works in, and each store. All of it is taken by steps, and given
//! back by the last, or with the process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backplan_compiler::model::{Model, StoreId};

use super::context::Context;
use super::coordinator::{Failure, FailureKind};
use super::session::Session;
use super::steps::{Access, Stores};
use crate::catalog::host::{HostLock, HostLockError};
use crate::catalog::lock::Lease;
use crate::places::anchor::Anchor;
use crate::places::private::make_private_within;

/// What a run holds.
pub(crate) struct Held {
    here: Mutex<Here>,
    /// Its dealings with each store.
    pub sessions: BTreeMap<StoreId, Session>,
}

/// What it holds on this host.
#[derive(Default)]
struct Here {
    /// From before the stores were looked at until the run is over.
    plan: Option<HostLock>,
    staging: Option<HostLock>,
    /// The staging and this program's own folder, as they were when the run began.
    anchors: Vec<(&'static str, Anchor)>,
}

impl Held {
    /// The plan's lock, and nothing of the stores yet.
    pub fn new(model: &Model, plan: HostLock) -> Held {
        let sessions = model.each_store().map(|(id, _)| (id, Session::default())).collect();
        Held { here: Mutex::new(Here { plan: Some(plan), ..Here::default() }), sessions }
    }

    fn here(&self) -> MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next run of the plan in.
    pub fn end(&self) {
        self.here().plan = None;
    }

    /// Holds the lock on the staging from now on.
    pub fn keep_staging(&self, lock: HostLock) {
        self.here().staging = Some(lock);
    }

    /// Lets other plans use the staging.
    pub fn leave_staging(&self) {
        self.here().staging = None;
    }

    /// From now on it is known where a folder of the run is.
    ///
    /// # Errors
    /// When it cannot be held.
    pub fn anchor(&self, what: &'static str, path: &Path) -> Result<(), Failure> {
        let anchor = Anchor::hold(path)
            .map_err(|cause| Failure::fatal(format!("{what} `{}`: {cause}", path.display())))?;
        self.here().anchors.push((what, anchor));
        Ok(())
    }

    /// What was moved away of the folders that the run works in.
    pub fn moved(&self) -> Vec<String> {
        let here = self.here();
        let moved = here.anchors.iter().filter_map(|(what, anchor)| Some((what, anchor.check().err()?)));
        moved.map(|(what, moved)| format!("{what}: {moved}")).collect()
    }

    /// Sees that none of them was.
    ///
    /// # Errors
    /// Which was.
    pub fn see_unmoved(&self) -> Result<(), Failure> {
        self.moved().into_iter().next().map_or(Ok(()), |moved| Err(Failure::lasting(moved)))
    }

    /// The folder of a run in the staging, which is there. One that was moved away is not made anew.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_staged(&self, context: &Context) -> Result<(), Failure> {
        self.see_unmoved()?;
        self.make_within(context.files.staged())
    }

    /// A folder in one of the run that is there. Where that was moved away this very moment, it is told so.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_within(&self, folder: &Path) -> Result<(), Failure> {
        make_private_within(folder).or_else(|cause| {
            self.see_unmoved()?;
            Err(Failure::of(&cause, &cause))
        })
    }

    /// Takes up what an earlier process of the run held on this host, where this one does not yet.
    ///
    /// # Errors
    /// When another run has it, or it is not there any more.
    pub fn take_up_host(&self, context: &Context) -> Result<(), Failure> {
        if !self.here().anchors.is_empty() {
            return Ok(());
        }
        self.anchor("the local state", context.host.folder())?;
        let Some(declared) = &context.model().staging else { return Ok(()) };
        let lock = HostLock::staging(&context.host, &declared.path, &context.note());
        self.keep_staging(lock.map_err(|error| match error {
            busy @ HostLockError::Busy { .. } => {
                Failure { message: busy.to_string(), kind: FailureKind::Busy }
            }
            error => Failure::lasting(error),
        })?);
        self.anchor("the staging", &declared.path)
    }

    /// Whether a store is in use.
    pub fn has(&self, id: StoreId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.held().store.is_some())
    }

    /// Gives back the stores, and takes nothing back: other processes go on.
    pub fn let_go(&self) {
        for session in self.sessions.values() {
            let (transaction, lease) = {
                let mut held = session.held();
                held.store = None;
                (held.transaction.take(), held.lease.take())
            };
            drop(transaction);
            // The next process sees that this one has ended.
            let _ = lease.and_then(Arc::into_inner).map(Lease::release);
        }
    }
}

impl Stores for Held {
    fn access(&self, id: StoreId) -> Access {
        self.sessions.get(&id).and_then(|session| session.held().store.clone()).into()
    }
}
