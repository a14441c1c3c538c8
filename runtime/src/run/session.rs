//! A run's dealings with one store: opened and claimed under a lease, one transaction, released at the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backplan_compiler::model::{ArchiveId, StoreId};

use super::context::Context;
use super::coordinator::Failure;
use super::mark::mark;
use super::steps::deliver::commit_failure;
use crate::catalog::commit::Transaction;
use crate::catalog::lock::Lease;
use crate::catalog::recover::Intent;
use crate::store::limit::Limit;
use crate::store::{Name, Store};

/// What a run holds of a store.
#[derive(Default)]
pub struct Session(Mutex<HeldStore>);

/// The parts.
#[derive(Default)]
pub struct HeldStore {
    /// The store, once it is open.
    pub store: Option<Arc<dyn Store>>,
    /// The lease on it.
    pub lease: Option<Arc<Lease>>,
    /// What is being written.
    pub transaction: Option<Arc<Transaction>>,
    /// What is sent to it; `None`: no limit of its own.
    pub limit: Option<Arc<Limit>>,
}

impl HeldStore {
    /// The store and the lease on it, where both are held.
    pub fn opened(&self) -> Option<(Arc<dyn Store>, Arc<Lease>)> {
        Some((self.store.clone()?, self.lease.clone()?))
    }
}

impl Session {
    /// What is held now.
    pub fn held(&self) -> MutexGuard<'_, HeldStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store and the lease on it.
    ///
    /// # Errors
    /// When the run goes on without the store.
    pub fn opened(&self) -> Result<(Arc<dyn Store>, Arc<Lease>), Failure> {
        self.held().opened().ok_or_else(|| Failure::lasting(DROPPED_OUT))
    }

    /// What limits the bytes that are sent to it.
    pub(crate) fn limits(&self, context: &Context) -> Vec<Arc<Limit>> {
        let own = self.held().limit.clone();
        own.into_iter().chain(context.limit.clone()).collect()
    }

    /// The transaction with the store, begun with the first artefact; `None`: the store has dropped out.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub(crate) fn transaction(
        &self,
        context: &Context,
        id: StoreId,
    ) -> Result<Option<Arc<Transaction>>, Failure> {
        let mut held = self.held();
        if let Some(transaction) = &held.transaction {
            return Ok(Some(Arc::clone(transaction)));
        }
        let Some((store, lease)) = held.opened() else { return Ok(None) };
        if let Some(begun) = begun(context, id, &store, &lease)? {
            held.transaction = Some(Arc::clone(&begun));
            return Ok(Some(begun));
        }
        let intent = intent(context, id);
        let begun = Transaction::begin(store, context.layout.clone(), lease, Arc::new(mark), intent);
        let transaction = Arc::new(begun.map_err(|error| commit_failure(&error))?);
        held.transaction = Some(Arc::clone(&transaction));
        Ok(Some(transaction))
    }

    /// Takes up the transaction with the store, where one was begun.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn take_up_transaction(&self, context: &Context, id: StoreId) -> Result<(), Failure> {
        let Some((store, lease)) = self.held().opened() else { return Ok(()) };
        let begun = begun(context, id, &store, &lease)?;
        self.held().transaction = begun;
        Ok(())
    }

    /// Gives the store back; what went wrong, and what was made there of the room that it keeps.
    pub fn release(&self, is_committed: bool) -> (Vec<String>, Vec<Name>) {
        let (transaction, lease, store) = {
            let mut held = self.held();
            (held.transaction.take(), held.lease.take(), held.store.clone())
        };
        let (mut trouble, mut made) = (Vec::new(), Vec::new());
        // Moved before the commit, it has failed that.
        if let Some(Err(moved)) = store.filter(|_| is_committed).map(|store| store.in_place()) {
            trouble.push(format!("the backup is whole, but not where the plan has its store: {moved}"));
        }
        if let Some(transaction) = transaction.filter(|_| !is_committed)
            && let Err(error) = transaction.undo()
        {
            trouble.push(format!("taking back what was not committed: {error}; the next run will"));
        }
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            if is_committed {
                made = lease.keep_room();
            }
            if let Err(error) = lease.release() {
                trouble.push(format!("releasing a lock: {error}; the next run takes it over"));
            }
        }
        (trouble, made)
    }
}

/// What is said where a step needs a store that the run goes on without.
pub(super) const DROPPED_OUT: &str = "its store has dropped out";

/// What the run is about to write into a store.
fn intent(context: &Context, id: StoreId) -> Intent {
    let goes_there = |archive: &ArchiveId| context.model().archive(*archive).to.contains(&id);
    let names = context.graph.artefact_names.iter().filter(|(archive, _)| goes_there(archive));
    Intent::new(context.imprint.run, context.imprint.nonce, names.map(|(_, name)| name.clone()))
}

/// The transaction that an earlier process of the run has begun.
fn begun(
    context: &Context,
    id: StoreId,
    store: &Arc<dyn Store>,
    lease: &Arc<Lease>,
) -> Result<Option<Arc<Transaction>>, Failure> {
    if !context.is_resumed {
        return Ok(None);
    }
    let (store, layout, lease) = (Arc::clone(store), context.layout.clone(), Arc::clone(lease));
    let begun = Transaction::resume(store, layout, lease, Arc::new(mark), intent(context, id));
    begun.map(|begun| begun.map(Arc::new)).map_err(|error| commit_failure(&error))
}
