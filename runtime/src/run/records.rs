//! What is kept of a run while it goes on: what its steps came to, its journal, and what whoever watches it is told.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use backplan_compiler::graph::{Action, StepId};
use backplan_compiler::model::{Absent, StoreId};

use super::context::Context;
use super::coordinator::{Execution, Failure};
use super::event::{Event, Observer};
use super::facts::Facts;
use super::report::{Report, Verdict, report};
use crate::catalog::host::StateError;
use crate::catalog::manifest::HostRef;
use crate::catalog::owner::Owner;
use crate::past::history;
use crate::past::journal::{self, How, Journal, Record};
use crate::places::private::make_private;
use crate::programs::process::Tell;

/// Journals of runs that are over and are kept for a person to read.
const JOURNALS: usize = 30;

/// Warnings of a run that its journal keeps.
const WARNINGS: usize = 50;

/// The records of a run. Every message passes here: to the screen, the journal, the manifests and the report.
pub(crate) struct Records {
    facts: Mutex<Arc<Facts>>,
    journal: OnceLock<Journal>,
    standing: Mutex<Execution>,
    observer: Arc<dyn Observer>,
}

impl Records {
    /// Of a run that begins.
    pub fn new(observer: Arc<dyn Observer>) -> Records {
        Records { facts: Mutex::default(), journal: OnceLock::new(), standing: Mutex::default(), observer }
    }

    /// Goes on with those of an earlier process of the run.
    ///
    /// # Errors
    /// When its journal cannot be gone on with.
    pub fn resume(&self, context: &Context, facts: Facts, standing: &Execution) -> io::Result<()> {
        let path = context.folders.journal(&context.imprint.run.to_string());
        let _ = self.journal.set(Journal::resume(&path)?);
        self.change(|kept| *kept = facts);
        *self.standing() = standing.clone();
        Ok(())
    }

    /// What the steps came to so far.
    pub fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps more of it.
    pub fn change<T>(&self, work: impl FnOnce(&mut Facts) -> T) -> T {
        work(Arc::make_mut(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// How the run stood when only its end was left.
    pub fn standing(&self) -> MutexGuard<'_, Execution> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the journal, and with it the run: one that nobody knows of did not happen.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self, context: &Context) -> Result<(), Failure> {
        let journals = context.folders.journals();
        let failed = |error: StateError| Failure::fatal(error.with_mend());
        // What a look says beforehand, in the same words.
        context.plan().see_usable().map_err(failed)?;
        make_private(&journals).map_err(Failure::fatal)?;
        make_private(context.files.work()).map_err(Failure::fatal)?;
        let run = context.imprint.run.to_string();
        let HostRef { machine, name } = &context.imprint.host;
        let owner = Some(Owner::this_process(*machine, name, &context.imprint.run));
        let only = context.request.only.clone();
        let begin = Record::Begin { run: run.clone(), pid: std::process::id(), only, owner };
        let now = context.request.clock.now();
        let journal = Journal::begin(&journals, &run, &begin, now);
        let journal = journal.map_err(|cause| StateError::Io { doing: "write into", path: journals, cause });
        let _ = self.journal.set(journal.map_err(failed)?);
        history::begun(&context.plan()).map_err(Failure::fatal)
    }

    /// Adds to the journal.
    ///
    /// # Errors
    /// When it cannot be written durably: then what the record announces must not happen.
    pub fn write(&self, context: &Context, record: &Record) -> io::Result<()> {
        match self.journal.get() {
            Some(journal) => journal.write(context.request.clock.now(), record),
            None => Ok(()),
        }
    }

    /// What a person should read.
    pub fn warn(&self, context: &Context, step: &StepId, text: impl Into<String>) {
        let text = context.secrets.redact(&text.into());
        self.change(|facts| facts.warnings.push(text.clone()));
        self.observer.event(Event::Warning { step: step.clone(), text });
    }

    /// Whether the run goes on without a store that went away while it was on, by what the plan says of one that is absent; then it
    /// is told, once of each store.
    pub fn lets_go(&self, context: &Context, step: &StepId, store: StoreId, why: &str) -> bool {
        let declared = context.model().store(store);
        if declared.absent == Absent::Fail {
            return false;
        }
        let is_new = self.change(|facts| facts.away.insert(store));
        if is_new && declared.absent == Absent::Warn {
            let name = &declared.name;
            self.warn(context, step, format!("store `{name}` went away: {why}; the run goes on without it"));
        }
        true
    }

    /// The same, unless it was told already, by a step of another store too.
    pub fn warn_once(&self, context: &Context, step: &StepId, text: impl Into<String>) {
        let text = context.secrets.redact(&text.into());
        let is_new = |facts: &mut Facts| {
            let is_new = !facts.warnings.contains(&text);
            facts.warnings.extend(is_new.then(|| text.clone()));
            is_new
        };
        if self.change(is_new) {
            self.observer.event(Event::Warning { step: step.clone(), text });
        }
    }

    /// Something worth knowing.
    pub fn note(&self, context: &Context, text: &str) {
        self.observer.event(Event::Note { text: context.secrets.redact(text) });
    }

    /// Takes the lines of a program that a step runs.
    pub fn tell(&self, context: &Context, step: &StepId) -> Tell {
        let (observer, secrets, step) = (Arc::clone(&self.observer), context.secrets.clone(), step.clone());
        Arc::new(move |line| observer.event(Event::Output { step: step.clone(), line: secrets.redact(line) }))
    }

    /// What the run came to.
    pub fn report(&self, context: &Context, execution: &Execution) -> Report {
        let run = context.imprint.run.to_string();
        report(context.model(), &run, &context.graph, execution, &self.facts())
    }

    /// Ends the journal with what the run came to.
    ///
    /// # Errors
    /// When it cannot be written durably: then the next run takes this one for dead.
    pub fn end(&self, context: &Context, report: &Report) -> io::Result<()> {
        if self.journal.get().is_none() {
            remember_refused(context, report);
            return Ok(());
        }
        let left_out = report.left_out.iter().filter(|left| !left.is_told());
        let left_out = left_out.map(|left| {
            format!("archive `{}` without source `{}`: {}", left.archive, left.source, left.reason)
        });
        let warnings = left_out.chain(report.warnings.iter().cloned()).take(WARNINGS);
        let warnings = warnings.map(|text| context.secrets.redact(&text)).collect();
        let (status, whole) = (report.verdict.status(), report.whole);
        self.write(context, &Record::End { status, whole, warnings })?;
        journal::tidy(&context.folders.journals(), JOURNALS)
    }
}

/// Keeps for `plan status` that the run came to nothing before it had a journal; not where another one goes on.
fn remember_refused(context: &Context, report: &Report) {
    let failed =
        report.steps.iter().filter(|step| step.action == Action::LockHost && step.outcome == How::Failed);
    let reason = failed.filter_map(|step| step.reason.as_deref()).next();
    if let Some(reason) = reason.filter(|_| report.verdict == Verdict::Failed) {
        // The run has failed as it is, and where this cannot be kept there is nowhere else.
        let reason = context.secrets.redact(reason);
        let _ = history::refused(&context.plan(), context.request.clock.now(), &reason);
    }
}
