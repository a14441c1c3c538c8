//! Taking up a run that an earlier process has begun, for one step of it.

use std::io;

use backplan_compiler::graph::Action;

use super::coordinator::{Execution, Failure, FailureKind};
use super::facts::Facts;
use super::real::{Doing, RealRun};
use super::steps::StepPlan;
use super::steps::lock::LockPlan;
use crate::store;

impl RealRun {
    /// A run that an earlier process has begun, as it stands by now.
    ///
    /// # Errors
    /// When its journal cannot be gone on with.
    pub(super) fn resumed(mut self, facts: Facts, standing: &Execution) -> io::Result<RealRun> {
        self.context.is_resumed = true;
        self.records.resume(&self.context, facts, standing)?;
        Ok(self)
    }
}

/// Takes up what earlier processes of the run have held: what a step needs that is done alone.
///
/// # Errors
/// When another run has it, or it is not there any more.
pub(super) fn take_up(doing: &Doing<'_>) -> Result<(), Failure> {
    doing.held.take_up_host(doing.context)?;
    match &doing.step.action {
        // It only looks, and must not keep anybody out.
        Action::Notify(..) => open_stores(doing),
        action if needs_stores(action) => take_up_stores(doing)?,
        _ => {}
    }
    Ok(())
}

/// Opens the stores that the run has used, without a lock. What keeps one from being read is told where it is needed.
fn open_stores(doing: &Doing<'_>) {
    let (graph, standing) = (&doing.context.graph, doing.records.standing().clone());
    for (id, session) in &doing.held.sessions {
        let declared = doing.context.model().store(*id);
        let lock = graph.doing(&Action::LockStore(*id));
        if lock.is_some_and(|lock| standing.is_done(&lock.id)) {
            session.held().store = store::open(declared, &doing.secrets()).ok();
        }
    }
}

/// Locks the stores again that the run goes to.
fn take_up_stores(doing: &Doing<'_>) -> Result<(), Failure> {
    let (context, standing) = (doing.context, doing.records.standing().clone());
    let facts = doing.facts();
    for (id, session) in &doing.held.sessions {
        let lock = context.graph.doing(&Action::LockStore(*id));
        let is_ours = lock.is_some_and(|lock| standing.is_done(&lock.id));
        if !is_ours || facts.given_up.contains(id) || session.held().store.is_some() {
            continue;
        }
        let locked = LockPlan::make(doing.scene(&facts), *id, doing.control);
        match locked.and_then(|plan| Box::new(plan).carry_out(doing)) {
            Ok(_) => {}
            Err(failure) if matches!(failure.kind, FailureKind::Busy | FailureKind::Stopped) => {
                return Err(failure);
            }
            // The step goes on as where a store drops out, and says so where it needs that one. The first has told why.
            Err(failure) => doing.warn_once(failure.message),
        }
        let is_open = session.held().store.is_some() && !facts.committed.contains(id);
        // What is not committed by then is taken back.
        if is_open && doing.step.action == Action::Unlock {
            session.take_up_transaction(context, *id)?;
        }
    }
    Ok(())
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
