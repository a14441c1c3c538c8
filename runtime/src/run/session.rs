//! A run's dealings with one store: opened and claimed under a lease, one transaction, released at the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::coordinator::Failure;
use crate::catalog::commit::Transaction;
use crate::catalog::lock::Lease;
use crate::store::Store;
use crate::store::limit::Limit;

/// What a run holds of a store.
#[derive(Default)]
pub struct Session(Mutex<Held>);

/// The parts.
#[derive(Default)]
pub struct Held {
    /// The store, once it is open.
    pub store: Option<Arc<dyn Store>>,
    /// The lease on it.
    pub lease: Option<Arc<Lease>>,
    /// What is being written.
    pub transaction: Option<Arc<Transaction>>,
    /// What is sent to it; `None`: no limit of its own.
    pub limit: Option<Arc<Limit>>,
    /// The manifest is there.
    pub committed: bool,
}

impl Held {
    /// The store and the lease on it, where both are held.
    pub fn opened(&self) -> Option<(Arc<dyn Store>, Arc<Lease>)> {
        Some((self.store.clone()?, self.lease.clone()?))
    }
}

impl Session {
    /// What is held now.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store and the lease on it.
    ///
    /// # Errors
    /// When the run goes on without the store.
    pub fn opened(&self) -> Result<(Arc<dyn Store>, Arc<Lease>), Failure> {
        self.held().opened().ok_or_else(|| Failure::lasting("its store has dropped out"))
    }
}
