//! What dead runs left, on this host and in the stores.

use std::collections::BTreeSet;
use std::io;

use backplan_compiler::model::StoreId;

use super::window::leave_late;
use super::{Ahead, Doing, Failure, FailureKind, Output, Performed, Record, Scene, Sight, StepPlan, done};
use crate::catalog::recover::{Reason, RecoverError, RecoveryPlan};
use crate::past::journal::{self, Left};
use crate::places::folder;
use crate::run::alone;
use crate::run::prepare::doubts;
use crate::scratch;

/// What is taken back of dead runs. What of it is in the stores is looked at once the windows are left: whatever is wrong there, the
/// world must not stay held.
pub(crate) struct RecoverPlan {
    /// What a person should know of the plan, and of what it rests on.
    warnings: Vec<String>,
    /// The runs that left something on this host.
    dead: Vec<Left>,
    /// A store failed that the run cannot do without.
    is_hopeless: bool,
}

impl RecoverPlan {
    /// Looks at the journals.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn make(scene: Scene<'_>) -> Result<RecoverPlan, Failure> {
        let context = scene.context;
        let mut dead = journal::dead(&context.folders.journals())
            .map_err(|error| Failure::fatal(format!("journals of earlier runs: {error}")))?;
        let own = context.imprint.run.to_string();
        dead.retain(|left| left.run != own);
        let mut warnings = doubts(&context.request.laid);
        warnings.extend(context.watch.runs.told.iter().cloned());
        warnings.extend(scene.levels().warnings(scene.model()));
        Ok(RecoverPlan { warnings, dead, is_hopeless: scene.facts.is_hopeless })
    }
}

fn nowhere() -> Failure {
    Failure::fatal("no store can be used: there is nowhere to put a backup")
}

impl StepPlan for RecoverPlan {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let mut sight = Sight { warnings: self.warnings, ..Sight::default() };
        for left in &self.dead {
            sight.found.push(match ahead.scene.context.folders.goes_on_alone(&left.run) {
                true => {
                    format!("run {} is between two steps of `plan step`, and would go no further", left.run)
                }
                false => format!("run {} died", left.run),
            });
            let windows = left.windows.iter().map(|(window, _)| format!("window `{window}` would be left"));
            sight.found.extend(windows);
            let there = left.paths.iter().filter(|path| path.symlink_metadata().is_ok());
            sight.would_delete.extend(there.map(|path| path.display().to_string()));
        }
        if self.is_hopeless {
            let text = "a store that the run cannot do without fails, as told above";
            return (sight, Err(Failure::lasting(text)));
        }
        let scene = ahead.scene;
        for (id, declared) in scene.model().each_store() {
            let Ok(Some(store)) = scene.store(id) else { continue };
            match scene.context.entry(id, scene.context.known(id)).left(store.as_ref()) {
                Ok(plan) => see(&mut sight, &declared.name, plan.permitted_by(store.as_ref())),
                Err(error) => {
                    sight.warnings.push(format!("what a dead run left could not be taken back: {error}"));
                    ahead.stores.give_up(id);
                }
            }
        }
        let has_any = scene.model().each_store().any(|(id, _)| scene.has(id));
        (sight, if has_any { done() } else { Err(nowhere()) })
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let context = doing.context;
        self.warnings.iter().for_each(|text| doing.warn(text));
        let unkept = context.watch.runs.keep(context.plan().folder(), context.imprint.run);
        unkept.into_iter().for_each(|why| doing.warn(why));
        // Before anything is taken back: what was begun by steps of their own must not go on.
        alone::forget_others(&context.folders.alone(), &context.imprint.run).map_err(Failure::fatal)?;
        for left in &self.dead {
            take_back(doing, left)?;
        }
        remove_stale_work(doing).map_err(Failure::fatal)?;
        clear_rehearsals(doing);
        if self.is_hopeless {
            return Err(Failure::lasting("a store that the run cannot do without failed, as told above"));
        }
        let mut given_up = BTreeSet::new();
        for id in doing.held.sessions.keys() {
            if let Err(error) = recover_store(doing, *id) {
                // One store's trouble is no reason to back up to none; its commit fails, unless it is no more than away.
                let is_let_go = error.is_away() && doing.lets_go(*id, &error.to_string());
                if !is_let_go {
                    doing.warn(format!("what a dead run left could not be taken back: {error}"));
                }
                let session = doing.session(*id);
                let (trouble, _) = session.release(false);
                trouble.into_iter().for_each(|text| doing.warn(text));
                session.held().store = None;
                given_up.insert(*id);
            }
        }
        if !doing.held.sessions.values().any(|session| session.held().lease.is_some()) {
            return Err(nowhere());
        }
        Ok(Performed::Done(Output::GivenUp(given_up)))
    }
}

fn see(sight: &mut Sight, store: &str, plan: RecoveryPlan) {
    sight.warnings.extend(plan.left.iter().map(|left| format!("store `{store}`: {left}")));
    for step in plan.steps {
        sight.would_delete.extend(step.deletes.iter().map(|name| format!("{store}:{name}")));
        sight.found.push(format!("store `{store}`: {}", step.reason));
    }
}

fn recover_store(doing: &Doing<'_>, id: StoreId) -> Result<(), RecoverError> {
    let Some((store, lease)) = doing.session(id).held().opened() else { return Ok(()) };
    let plan = doing.context.entry(id, doing.context.known(id)).left(store.as_ref())?;
    let done = plan.execute(store.as_ref(), &doing.context.layout, &lease)?;
    // Every run finds the lease of the one before: nothing that anybody wants to read.
    for (reason, name) in done.deleted.iter().filter(|(reason, _)| *reason != Reason::OldLease) {
        doing.note(format!("store `{}`: removed `{name}`: {reason}", store.label()));
    }
    for left in &done.left {
        doing.warn(format!("store `{}`: {left}; look at it, and remove it by hand", store.label()));
    }
    Ok(())
}

/// Takes back what a dead run left on this host. A window that cannot be left stays on its journal, for the next run to try
/// again, and does not keep this one from making a backup.
fn take_back(doing: &Doing<'_>, left: &Left) -> Result<(), Failure> {
    let mut open = false;
    for (window, leave) in &left.windows {
        doing.note(format!("leaving window `{window}` for run {}", left.run));
        let Some(leave) = leave else { continue };
        match leave_late(doing, window, leave) {
            Ok(()) => {}
            Err(failure) if failure.kind == FailureKind::Stopped => return Err(failure),
            Err(Failure { message: error, .. }) => {
                open = true;
                doing.warn(format!(
                    "window `{window}` may be open since run {}, and leaving it failed: {error}; each run tries again: \
                     mend `leave` of the window, or leave it by hand and delete `{}`",
                    left.run,
                    left.journal.display()
                ));
            }
        }
    }
    for path in &left.paths {
        if let Err(error) = folder::remove_safely(path) {
            open = true;
            doing.warn(format!("what run {} left on this machine stays: {error}", left.run));
        }
    }
    if !open {
        let record = Record::Recovered { by: doing.context.imprint.run.to_string() };
        let now = doing.context.request.clock.now();
        journal::add_to(&left.journal, now, &record).map_err(Failure::fatal)?;
    }
    Ok(())
}

fn remove_stale_work(doing: &Doing<'_>) -> io::Result<()> {
    let stale = doing.context.folders.stale_work(&doing.context.imprint.run)?;
    stale.iter().try_for_each(|folder| Ok(folder::remove(folder)?))
}

/// Clears away what rehearsals left that were killed.
fn clear_rehearsals(doing: &Doing<'_>) {
    match scratch::clear_dead(&doing.context.request.state) {
        Ok(told) => told.into_iter().for_each(|text| doing.note(text)),
        Err(error) => doing.warn(format!("what a killed rehearsal left is still there: {error}")),
    }
}
