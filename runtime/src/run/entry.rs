//! How a store is taken into use by whoever is going to write to it: opened, looked at whose it is, leased, claimed, and cleared of what
//! dead runs left. A run does so in several steps, a prune and a sync all at once; what each of them is, is said here alone.

use std::path::PathBuf;
use std::sync::Arc;

use backplan_compiler::model::Store as Declared;

use super::mark::mark;
use crate::catalog::identity::{self, Claim, Format, IdentityError, Opened, Standing};
use crate::catalog::ids::RunId;
use crate::catalog::layout::Layout;
use crate::catalog::lock::{Lease, LeaseTimes, LockError};
use crate::catalog::made::Made;
use crate::catalog::owner::Owner;
use crate::catalog::recover::{Mark, Memory, RecoveryPlan};
use crate::control::Control;
use crate::programs::secrets::Secrets;
use crate::store::{Store, StoreError};

/// Who takes a store into use.
pub(super) struct Entry<'a> {
    /// The store.
    pub declared: &'a Declared,
    /// The plan's names in it.
    pub layout: &'a Layout,
    /// Whose it should be.
    pub claim: Claim<'a>,
    /// Whose name is in the lease.
    pub owner: Owner,
    /// The run that does it, which is none of the dead; `None`: somebody beside runs.
    pub run: Option<&'a RunId>,
    /// The plan's folder in this host's state.
    pub folder: PathBuf,
}

impl Entry<'_> {
    /// Opens the store. Writes nothing.
    ///
    /// # Errors
    /// When it cannot be opened, or is gone from where it was.
    pub fn open(&self, secrets: &Secrets) -> Result<Opened, IdentityError> {
        identity::open(self.declared, secrets, self.claim.known, self.claim.adopt)
    }

    /// Says whose it is. Reads only.
    ///
    /// # Errors
    /// When it is another's.
    pub fn look(&self, opened: &Opened) -> Result<Standing, IdentityError> {
        match opened.store() {
            Ok(store) => identity::inspect(store.as_ref(), self.layout, &self.claim),
            Err(_) => Ok(Standing::New),
        }
    }

    /// Makes it, where it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn made(&self, opened: Opened, secrets: &Secrets) -> Result<Arc<dyn Store>, StoreError> {
        opened.made(self.declared, secrets)
    }

    /// Takes the lease on it. `tell` hears what that waits for.
    ///
    /// # Errors
    /// When somebody else has it, or it cannot be had.
    pub fn lease(
        &self,
        store: &Arc<dyn Store>,
        control: &Control,
        tell: &dyn Fn(String),
    ) -> Result<Lease, LockError> {
        let (owner, times) = (self.owner.clone(), LeaseTimes::default());
        Lease::acquire(Arc::clone(store), self.layout, owner, times, control, tell)
    }

    /// Makes it the plan's, under the lease. What it gives is to be remembered by this host.
    ///
    /// # Errors
    /// When it is another's by now.
    pub fn claimed(&self, store: &dyn Store) -> Result<Format, IdentityError> {
        identity::claim(store, self.layout, &self.claim)
    }

    /// What dead runs left in it, and is to be taken back.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn left(&self, store: &dyn Store) -> Result<RecoveryPlan, StoreError> {
        let made = Made::load(&self.folder).unwrap_or_default();
        let known = (&mark as &Mark, &made.in_store(store.label()) as &dyn Memory);
        RecoveryPlan::make(store, self.layout, self.run, known)
    }
}
