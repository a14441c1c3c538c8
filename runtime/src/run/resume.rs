//! Taking up a run that an earlier process has begun, for one step of it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use backplan_compiler::graph::{Action, Step};

use super::coordinator::{Execution, Failure, FailureKind};
use super::facts::Facts;
use super::journal::Journal;
use super::worker::Worker;
use crate::catalog::host::{HostLock, HostLockError};
use crate::catalog::ids::{Nonce, Uuid};
use crate::catalog::lock::Lease;
use crate::control::Control;
use crate::store;

impl Worker {
    /// The same, for a run that is known by these.
    #[must_use]
    pub(super) fn known_as(mut self, nonce: Nonce, plan: Uuid) -> Worker {
        (self.imprint.nonce, self.imprint.plan) = (nonce, plan);
        self
    }

    /// The worker of a run that an earlier process has begun, as it stands by now.
    ///
    /// # Errors
    /// When its journal cannot be gone on with.
    pub(super) fn resumed(mut self, facts: Facts, standing: &Execution) -> io::Result<Worker> {
        self.is_resumed = true;
        let _ = self.journal.set(Journal::resume(&self.journal_path())?);
        for source in &facts.whole {
            self.give_up_base_of(source);
        }
        *self.facts() = facts;
        self.hopeless.store(standing.fatal, Ordering::SeqCst);
        for (store, session) in &self.sessions {
            let commit = self.graph.doing(&Action::Commit(*store));
            session.held().committed = commit.is_some_and(|step| standing.is_done(&step.id));
        }
        *self.standing() = standing.clone();
        Ok(self)
    }

    /// Where the journal is.
    pub(super) fn journal_path(&self) -> PathBuf {
        self.folders.journal(&self.imprint.run.to_string())
    }

    /// Takes up what earlier processes of the run have held: what a step needs that is done alone.
    ///
    /// # Errors
    /// When another run has it, or it is not there any more.
    pub(super) fn take_up(&self, step: &Step, control: &Control) -> Result<(), Failure> {
        if !self.is_resumed {
            return Ok(());
        }
        if self.anchors().is_empty() {
            self.anchor("the local state", self.host.folder())?;
            if let Some(declared) = &self.request.model.staging {
                let lock = HostLock::staging(&self.host, &declared.path, &self.note);
                let lock = lock.map_err(|error| match error {
                    busy @ HostLockError::Busy { .. } => {
                        Failure { message: busy.to_string(), kind: FailureKind::Busy }
                    }
                    error => Failure::lasting(error),
                })?;
                *self.staging_lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
                self.anchor("the staging", &declared.path)?;
            }
        }
        match &step.action {
            // It only looks, and must not keep anybody out.
            Action::Notify(..) => self.open_stores(control),
            action if needs_stores(action) => self.take_up_stores(step, control)?,
            _ => {}
        }
        Ok(())
    }

    /// Opens the stores that the run has used, without a lock. What keeps one from being read is told where it is needed.
    fn open_stores(&self, control: &Control) {
        let standing = self.standing().clone();
        for (id, session) in &self.sessions {
            let declared = self.request.model.store(*id);
            let lock = self.graph.doing(&Action::LockStore(*id));
            if lock.is_some_and(|lock| standing.is_done(&lock.id)) {
                session.held().store = store::open(declared, &self.secrets.under(control)).ok();
            }
        }
    }

    /// Locks the stores again that the run goes to.
    fn take_up_stores(&self, step: &Step, control: &Control) -> Result<(), Failure> {
        let standing = self.standing().clone();
        for (id, session) in &self.sessions {
            let lock = self.graph.doing(&Action::LockStore(*id));
            let is_ours = lock.is_some_and(|lock| standing.is_done(&lock.id));
            let is_given_up = self.facts().given_up.contains(id);
            if !is_ours || is_given_up || session.held().store.is_some() {
                continue;
            }
            match self.lock_store(&step.id, *id, control) {
                Ok(_) => {}
                Err(failure) if matches!(failure.kind, FailureKind::Busy | FailureKind::Stopped) => {
                    return Err(failure);
                }
                // The step goes on as where a store drops out, and says so where it needs that one.
                Err(failure) => self.warn(&step.id, failure.message),
            }
            let is_open = {
                let held = session.held();
                held.store.is_some() && !held.committed
            };
            // What is not committed by then is taken back.
            if is_open && step.action == Action::Unlock {
                self.transaction_begun(*id)?;
            }
        }
        Ok(())
    }

    /// Gives back the stores, and takes nothing back: other processes go on.
    pub(super) fn let_go(&self) {
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

/// Whether a step does something with stores, or asks whether they are the right ones.
fn needs_stores(action: &Action) -> bool {
    !matches!(
        action,
        Action::LockHost
            | Action::LockStore(_)
            | Action::ClearStaging(_)
            | Action::Enter(_)
            | Action::Leave(_)
            | Action::Scan(_)
            | Action::Rehearse(_)
    )
}
