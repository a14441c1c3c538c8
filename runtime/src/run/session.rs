//! A run's dealings with one store: opened and claimed under a lease, one transaction, released at the end.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backplan_compiler::model::{Store as Declared, StoreKind};

use crate::catalog::commit::Transaction;
use crate::catalog::lock::Lease;
use crate::store::Store;
use crate::store::append_only::AppendOnly;

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
    /// The manifest is there.
    pub committed: bool,
}

impl Session {
    /// What is held now.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store as this host may use it.
pub fn guarded(declared: &Declared, store: Arc<dyn Store>) -> Arc<dyn Store> {
    if declared.append_only { Arc::new(AppendOnly(store)) } else { store }
}

/// The folder of a folder store.
pub fn folder(store: &Declared) -> Option<&Path> {
    match &store.kind {
        StoreKind::Dir { path } => Some(path),
        _ => None,
    }
}
