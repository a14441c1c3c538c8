//! A run that is carried out: each step is planned from what is known by then, and its plan carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backplan_compiler::graph::{Action, Step, StepId, Undo};
use backplan_compiler::model::{Absent, StoreId};

use super::context::Context;
use super::coordinator::{Execution, Failure, Performed, Work};
use super::event::{Observer, Outcome};
use super::facts::Facts;
use super::held::Held;
use super::levels::Levels;
use super::output::Output;
use super::records::Records;
use super::report::{Report, Verdict};
use super::resume;
use super::session::Session;
use super::steps::{Scene, StepPlan, handed_on, planned};
use crate::catalog::host::HostLock;
use crate::control::Control;
use crate::past::journal::Record;
use crate::programs::process::Tell;
use crate::programs::secrets::Secrets;

/// A run that is carried out.
pub(crate) struct RealRun {
    pub context: Context,
    pub held: Held,
    pub records: Records,
}

impl RealRun {
    /// A prepared run, under the lock on its plan.
    pub fn new((context, lock): (Context, HostLock), observer: Arc<dyn Observer>) -> RealRun {
        let held = Held::new(context.model(), lock);
        RealRun { context, held, records: Records::new(observer) }
    }

    /// The report of the run; its journal is ended, and the next run let in.
    pub fn finish(&self, execution: &Execution) -> Report {
        let mut report = self.records.report(&self.context, execution);
        match self.records.end(&self.context, &report) {
            Ok(()) => self.held.end(),
            Err(error) => {
                report.warnings.push(format!("{error}; the next run will look for what this one left"));
                if report.verdict == Verdict::Done {
                    report.verdict = Verdict::Warnings;
                }
            }
        }
        report
    }

    fn take(&self, step: &Step, control: &Control) -> Result<Performed, Failure> {
        let doing = Doing { context: &self.context, held: &self.held, records: &self.records, step, control };
        if self.context.is_resumed {
            resume::take_up(&doing)?;
        }
        let left_out = self.records.change(|facts| facts.leave_out(self.context.model(), step));
        for (archive, source, why) in left_out {
            doing.note(format!("archive `{archive}` is made without source `{source}`: {why}"));
        }
        let facts = doing.facts();
        let plan = planned(step, doing.scene(&facts), control)?;
        if let Some(intent) = intent(step, plan.as_ref(), &self.context) {
            doing.note_down(&intent)?;
        }
        plan.carry_out(&doing)
    }
}

/// What must be in the journal before a step is carried out, by how the graph has it taken back. What it writes into a store
/// is noted there, and a lock goes with whoever holds it.
fn intent(step: &Step, plan: &dyn StepPlan, context: &Context) -> Option<Record> {
    match step.undo {
        // Scratch files, which go with the run.
        Undo::DeleteFiles if matches!(step.action, Action::Scan(_)) => None,
        Undo::DeleteFiles => Some(Record::Writing {
            step: step.id.0.clone(),
            paths: vec![context.files.staged().to_path_buf()],
        }),
        Undo::LeaveWindow => {
            let Action::Enter(window) = step.action else { return None };
            let window = context.model().windows[window].name.clone();
            Some(Record::Entering { window, leave: plan.leave() })
        }
        Undo::None | Undo::Release | Undo::DeleteObjects => None,
    }
}

impl Work for RealRun {
    fn perform(&self, step: &Step, control: &Control) -> Result<Performed, Failure> {
        let _within = tracing::info_span!("run", id = %self.context.imprint.run).entered();
        let began = Instant::now();
        tracing::info!("{} begins", step.id);
        let shown = |message: String| self.context.secrets.redact(&message);
        let taken = handed_on(step, self.take(step, control));
        let how = if matches!(taken, Ok(Performed::InPart(..)) | Err(_)) { "fails" } else { "ends" };
        tracing::debug!("{} {how} after {:.1?}", step.id, began.elapsed());
        match taken {
            Ok(Performed::Dropped(reason)) => Ok(Performed::Dropped(shown(reason))),
            Ok(Performed::Idle(reason)) => Ok(Performed::Idle(shown(reason))),
            Ok(Performed::InPart(output, failure)) => {
                Ok(Performed::InPart(output, Failure { message: shown(failure.message), ..failure }))
            }
            Err(failure) => Err(Failure { message: shown(failure.message), ..failure }),
            done => done,
        }
    }

    fn time_of(&self, window: usize) -> Option<(String, u64)> {
        let window = &self.context.model().windows[window];
        Some((window.name.clone(), window.timeout?))
    }

    fn ended(&self, step: &Step, outcome: &Outcome, output: Output, took: Option<Duration>) {
        let told = output.told();
        self.records.change(|facts| facts.take(self.context.model(), step, outcome, output));
        let (how, reason) = outcome.told();
        let record = Record::Step {
            step: step.id.0.clone(),
            outcome: how,
            took_ms: took.and_then(|took| u64::try_from(took.as_millis()).ok()),
            reason: reason.map(str::to_owned),
            output: told,
        };
        // Only a record of what happened: nothing must be undone that is not journalled by its own intent.
        let _ = self.records.write(&self.context, &record);
    }

    fn is_behind(&self, store: StoreId) -> bool {
        let facts = self.records.facts();
        facts.is_behind(&self.context.levels(&facts), store)
    }

    fn lets_go(&self, step: &Step, why: &str) -> bool {
        match step.action {
            Action::Publish(_, store) | Action::Commit(store) => {
                self.records.lets_go(&self.context, &step.id, store, why)
            }
            // Another repository of the source has its backup, or will.
            Action::DumpApart(source, store) => {
                let others = self.context.model().separate(source).map(|own| &own.to);
                let facts = self.records.facts();
                let is_there = |other: &&StoreId| {
                    **other != store && self.held.has(**other) && !facts.away.contains(*other)
                };
                others.is_some_and(|others| others.iter().any(|other| is_there(&other)))
                    && self.records.lets_go(&self.context, &step.id, store, why)
            }
            Action::LockStore(store) => {
                let absent = self.context.model().store(store).absent;
                if absent == Absent::Warn {
                    let text = format!("{why}; the run goes on without it");
                    self.records.warn_once(&self.context, &step.id, text);
                }
                absent != Absent::Fail
            }
            _ => false,
        }
    }

    fn has_gone(&self, store: StoreId) -> bool {
        self.records.facts().has_gone(store)
    }

    fn is_partly_done(&self, step: &StepId) -> bool {
        self.records.facts().is_partly_done(step)
    }

    fn goes_on_without(&self, step: &Step) -> bool {
        self.records.facts().goes_on_without(self.context.model(), step)
    }

    fn settled(&self, standing: &Execution) {
        *self.records.standing() = standing.clone();
    }
}

/// A step that is being carried out: the run that it belongs to, and the hands that it has.
#[derive(Clone, Copy)]
pub(crate) struct Doing<'a> {
    pub context: &'a Context,
    pub held: &'a Held,
    pub records: &'a Records,
    pub step: &'a Step,
    pub control: &'a Control,
}

impl<'a> Doing<'a> {
    /// What the steps before it came to.
    pub fn facts(&self) -> Arc<Facts> {
        self.records.facts()
    }

    /// What the archives rest on.
    pub fn levels(&self) -> Arc<Levels> {
        self.context.levels(&self.facts())
    }

    /// What a step is planned from.
    pub fn scene<'s>(&'s self, facts: &'s Facts) -> Scene<'s> {
        Scene { context: self.context, facts, stores: self.held }
    }

    /// Secrets, until it is told to stop.
    pub fn secrets(&self) -> Secrets {
        self.context.secrets.under(self.control)
    }

    /// The run's dealings with a store.
    pub fn session(&self, id: StoreId) -> &'a Session {
        &self.held.sessions[&id]
    }

    /// What a person should read.
    pub fn warn(&self, text: impl Into<String>) {
        self.records.warn(self.context, &self.step.id, text);
    }

    /// The same, once a run.
    pub fn warn_once(&self, text: impl Into<String>) {
        self.records.warn_once(self.context, &self.step.id, text);
    }

    /// Whether the run goes on without a store that went away, by what the plan says of it; then it is told.
    pub fn lets_go(&self, store: StoreId, why: &str) -> bool {
        self.records.lets_go(self.context, &self.step.id, store, why)
    }

    /// Something worth knowing.
    pub fn note(&self, text: impl AsRef<str>) {
        self.records.note(self.context, text.as_ref());
    }

    /// Takes the lines of its programs.
    pub fn tell(&self) -> Tell {
        self.records.tell(self.context, &self.step.id)
    }

    /// Writes into the journal. Of an intent: its effect must not happen where this fails.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_down(&self, record: &Record) -> Result<(), Failure> {
        self.records.write(self.context, record).map_err(Failure::lasting)
    }
}
