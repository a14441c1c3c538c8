//! The one loop that owns a run's state: which steps wait, run, ended and how.
//!
//! Steps are performed on blocking threads and report over a channel; nothing else changes the state. What a failure
//! means for the steps behind it is decided here, by what each action is for: commits go on with what is whole, windows are
//! left and locks released whatever happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backplan_compiler::graph::{Action, Step, StepGraph, StepId, When};
use backplan_compiler::model::{Retry, StoreId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::event::{Event, Observer, Outcome};
use super::output::Output;
use crate::control::Control;
use crate::lasting;
use crate::programs::secrets;
use crate::store;
use crate::threads;

/// Performs steps.
pub trait Work: Send + Sync + 'static {
    /// Performs one step. Blocks. Looks at `control`; returns soon after it says stop.
    ///
    /// # Errors
    /// [`Failure`]; then the step may have begun to take effect.
    fn perform(&self, step: &Step, control: &Control) -> Result<Performed, Failure>;

    /// A window's name and its timeout in seconds, by its place in the model.
    fn time_of(&self, window: usize) -> Option<(String, u64)>;

    /// Told of every step that ended, before the steps behind it start, with what it hands to them; how long it took, where it
    /// was run.
    fn ended(&self, _step: &Step, _outcome: &Outcome, _output: Output, _took: Option<Duration>) {}

    /// Whether a step that failed did what those behind it need all the same.
    fn is_partly_done(&self, _step: &StepId) -> bool {
        false
    }

    /// Whether a store that is there has taken nothing of the run, as it lacks what that rests on.
    fn is_behind(&self, _store: StoreId) -> bool {
        false
    }

    /// Whether a step makes sense though some that it waits for were not done.
    fn goes_on_without(&self, _step: &Step) -> bool {
        false
    }

    /// Whether the run goes on without the store of a step whose last attempt found it away; then that is told.
    fn lets_go(&self, _step: &Step, _why: &str) -> bool {
        false
    }

    /// Whether a store went away before anything of the run came into it.
    fn has_gone(&self, _store: StoreId) -> bool {
        false
    }

    /// Told once how the run stands when only the end is left: what notifications and unlocking depend on.
    fn settled(&self, _standing: &Execution) {}
}

/// How a step ended of which there is something to tell.
#[derive(Debug, Clone)]
pub enum Performed {
    /// As it should, with what it hands to the steps behind it.
    Done(Output),
    /// It failed, and what it has may serve all the same.
    InPart(Output, Failure),
    /// Its store is absent, and the plan says to go on without it.
    Dropped(String),
    /// There was nothing to do, and nothing waits for it.
    Idle(String),
}

/// How a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What to tell: place, cause and mend.
    pub message: String,
    /// What to do about it.
    pub kind: FailureKind,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Another attempt may help.
    Passing,
    /// Its store is away. Another attempt may find it there.
    Away,
    /// It may have been done, which cannot be told; another attempt may find out.
    Uncertain,
    /// Another attempt would fail as well.
    Final,
    /// Nothing of the run makes sense any more.
    Fatal,
    /// Another run holds the lock.
    Busy,
    /// It was asked to stop.
    Stopped,
}

impl Failure {
    /// A failure that another attempt may mend.
    pub fn passing(error: impl ToString) -> Failure {
        Failure { message: error.to_string(), kind: FailureKind::Passing }
    }

    /// A failure of a store that is away.
    pub fn away(error: impl ToString) -> Failure {
        Failure { message: error.to_string(), kind: FailureKind::Away }
    }

    /// A failure of what may have been done all the same.
    pub fn uncertain(error: impl ToString) -> Failure {
        Failure { message: error.to_string(), kind: FailureKind::Uncertain }
    }

    /// An error, told in these words: one that another attempt may mend, unless what is behind it stays.
    pub fn of(error: &(dyn std::error::Error + 'static), text: impl ToString) -> Failure {
        if lasting::is_behind(error) { Failure::lasting(text) } else { Failure::passing(text) }
    }

    /// A failure that no attempt will mend.
    pub fn lasting(error: impl ToString) -> Failure {
        Failure { message: error.to_string(), kind: FailureKind::Final }
    }

    /// A failure that ends the run.
    pub fn fatal(error: impl ToString) -> Failure {
        Failure { message: error.to_string(), kind: FailureKind::Fatal }
    }

    /// The work was asked to stop.
    pub fn stopped() -> Failure {
        Failure { message: "stopped".to_owned(), kind: FailureKind::Stopped }
    }
}

/// A signal that ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: status 130.
    Interrupt,
    /// SIGTERM or SIGHUP: status 143.
    Terminate,
}

/// How a step ended and what it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// All attempts together.
    pub took: Duration,
    /// Attempts made; 0: it was not run.
    pub attempts: u32,
}

/// How the steps of a run ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Execution {
    /// Every step that ended.
    pub steps: BTreeMap<StepId, Ended>,
    /// The signal that stopped it.
    #[serde(skip)]
    pub signal: Option<StopSignal>,
    /// Another run holds a lock.
    #[serde(skip)]
    pub busy: bool,
    /// A step said that nothing of the run makes sense any more.
    pub fatal: bool,
    /// Steps whose last attempt failed, and may have done its work.
    #[serde(default)]
    pub uncertain: BTreeSet<StepId>,
    /// The run's own timeout ended it.
    #[serde(skip)]
    pub timed_out: bool,
}

impl Execution {
    /// Whether this step was done.
    pub fn is_done(&self, id: &StepId) -> bool {
        self.steps.get(id).is_some_and(|ended| ended.outcome == Outcome::Done)
    }
}

/// What bounds an execution.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Steps at once, at least 1.
    pub jobs: usize,
    /// For the whole run.
    pub timeout: Option<Duration>,
}

/// Runs every step of `graph`. A signal that arrives on `signals` stops it in order: what runs is told to stop, windows
/// are left, the staging is cleared, locks are released.
pub async fn execute(
    graph: Arc<StepGraph>,
    work: Arc<dyn Work>,
    bounds: Bounds,
    observer: Arc<dyn Observer>,
    signals: mpsc::Receiver<StopSignal>,
) -> Execution {
    let waiting = graph.iter().map(|step| step.id.clone()).collect();
    let part = Part { waiting, standing: Execution::default(), windows: BTreeMap::new() };
    execute_part(graph, work, bounds, observer, signals, part).await
}

/// A part of a run's steps, where others have ended already.
#[derive(Debug)]
pub struct Part {
    /// The steps. What they need has ended, or is among them.
    pub waiting: BTreeSet<StepId>,
    /// How others ended.
    pub standing: Execution,
    /// Windows that are open and have a timeout: the name, and until when.
    pub windows: BTreeMap<usize, (String, Instant)>,
}

/// Runs these steps of `graph` and no others, as [`execute`] does.
pub async fn execute_part(
    graph: Arc<StepGraph>,
    work: Arc<dyn Work>,
    bounds: Bounds,
    observer: Arc<dyn Observer>,
    mut signals: mpsc::Receiver<StopSignal>,
    part: Part,
) -> Execution {
    let (report, mut reports) = mpsc::channel(64);
    let mut run = Coordinator {
        deadline: bounds.timeout.map(|timeout| Instant::now() + timeout),
        waiting: part.waiting,
        running: BTreeMap::new(),
        sleeping: BTreeMap::new(),
        windows: part.windows,
        expired: BTreeMap::new(),
        execution: part.standing,
        settled: false,
        graph,
        work,
        jobs: bounds.jobs.max(1),
        observer,
        report,
    };
    if !run.execution.steps.is_empty() {
        // Of a run that has begun, nothing must begin whose time is over by now.
        run.woken();
    }
    loop {
        run.advance();
        if run.is_over() {
            return run.execution;
        }
        let wake = run.next_wake().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        // Cancelling any of these loses nothing: a channel keeps what was sent, and the time is looked up anew.
        tokio::select! {
            Some(done) = reports.recv() => run.reported(done),
            Some(signal) = signals.recv() => run.signalled(signal),
            () = tokio::time::sleep_until(wake.into()) => run.woken(),
        }
    }
}

/// What a worker thread says when it is through.
struct Report {
    id: StepId,
    result: Result<Performed, Failure>,
}

fn perform(work: &dyn Work, step: &Step, control: &Control) -> Result<Performed, Failure> {
    let performed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.perform(step, control)));
    performed.unwrap_or_else(|_| {
        Err(Failure::lasting("a defect in this program; the message above says where: please report it"))
    })
}

struct Running {
    control: Control,
    begun: Instant,
    attempt: u32,
    attempt_deadline: Option<Instant>,
    /// Why it was told to stop.
    stopped_for: Option<String>,
}

/// A step between two attempts.
struct Asleep {
    until: Instant,
    /// The attempts made.
    attempts: u32,
    /// When the first began.
    begun: Instant,
    /// What the last left.
    output: Output,
}

struct Coordinator {
    graph: Arc<StepGraph>,
    work: Arc<dyn Work>,
    jobs: usize,
    observer: Arc<dyn Observer>,
    report: mpsc::Sender<Report>,
    waiting: BTreeSet<StepId>,
    running: BTreeMap<StepId, Running>,
    /// Steps between two attempts.
    sleeping: BTreeMap<StepId, Asleep>,
    /// Open windows with a timeout: the name, and until when.
    windows: BTreeMap<usize, (String, Instant)>,
    /// Steps that must not start any more because their window's time is over.
    expired: BTreeMap<StepId, String>,
    deadline: Option<Instant>,
    execution: Execution,
    settled: bool,
}

/// What becomes of a step whose needs have all ended.
enum Verdict {
    Run,
    Not(String),
    /// Its time was over before it began, and that is said by it.
    Late(String),
    /// It waits for what is at work to end.
    Wait,
}

/// What is said of the first step that the run's own time ends, or that it keeps from beginning.
const TIME_OVER: &str = "the run's time (`limits.timeout`) was over";

impl Coordinator {
    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.sleeping.is_empty()
    }

    fn stopping(&self) -> Option<String> {
        match (self.execution.signal, self.execution.timed_out) {
            (Some(_), _) => Some("the run was stopped".to_owned()),
            (None, true) => Some("the run's time was over".to_owned()),
            (None, false) => None,
        }
    }

    /// Starts and ends whatever can be, until nothing more changes without a report.
    fn advance(&mut self) {
        loop {
            let graph = Arc::clone(&self.graph);
            let ended = &self.execution.steps;
            let mut ready: Vec<&Step> = self
                .waiting
                .iter()
                .filter_map(|id| graph.get(id))
                .filter(|step| step.needs.iter().all(|need| ended.contains_key(need)))
                .collect();
            // A window is left before anything else starts: the world waits for it.
            ready.sort_by_key(|step| !matches!(step.action, Action::Leave(_)));
            let mut changed = false;
            for step in ready {
                match self.verdict(step) {
                    Verdict::Not(reason) => {
                        self.waiting.remove(&step.id);
                        self.end(step, Outcome::NotRun(reason), Output::Nothing, Duration::ZERO, 0);
                        changed = true;
                    }
                    Verdict::Run if self.has_place(&step.action) => {
                        self.waiting.remove(&step.id);
                        self.start(step, 1, Instant::now());
                        // It has ended already where the system gives no thread.
                        changed |= self.execution.steps.contains_key(&step.id);
                    }
                    Verdict::Late(reason) => {
                        self.waiting.remove(&step.id);
                        self.end(step, Outcome::Failed(reason), Output::Nothing, Duration::ZERO, 0);
                        changed = true;
                    }
                    Verdict::Run | Verdict::Wait => {}
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn verdict(&mut self, step: &Step) -> Verdict {
        if let Some(reason) = self.stopping().filter(|_| !is_closing(&step.action)) {
            let is_late = self.execution.signal.is_none();
            return if is_late { self.late(step, TIME_OVER, reason) } else { Verdict::Not(reason) };
        }
        if let Some(reason) = self.expired.get(&step.id) {
            return self.late(step, reason, reason.clone());
        }
        match &step.action {
            Action::Unlock if !self.settled => {
                self.settled = true;
                self.work.settled(&self.execution);
                self.unless_lockless()
            }
            Action::Unlock => self.unless_lockless(),
            Action::ClearStaging(When::After) => self.clear_verdict(),
            Action::Notify(_, When::After) if self.execution.busy => {
                Verdict::Not("another run holds the lock".to_owned())
            }
            Action::Notify(_, When::After) => Verdict::Run,
            Action::Leave(_) => {
                let entered = |id: &StepId| {
                    matches!(self.graph.get(id).map(|step| &step.action), Some(Action::Enter(_)))
                        && self.execution.steps.get(id).is_some_and(|ended| ended.attempts > 0)
                };
                if step.needs.iter().any(entered) {
                    Verdict::Run
                } else {
                    Verdict::Not("it was not entered".to_owned())
                }
            }
            Action::Commit(store) if self.work.is_behind(*store) => {
                Verdict::Not("it lacks what this run rests on".to_owned())
            }
            Action::Commit(store) if self.work.has_gone(*store) => {
                Verdict::Not("its store went away".to_owned())
            }
            Action::Commit(_) => self.commit_verdict(step),
            Action::Rehearse(_) => self.rehearse_verdict(step),
            Action::Sync(store) => self.sync_verdict(*store),
            Action::Recover => self.recover_verdict(),
            _ => match self.first_trouble(step) {
                Some(reason) if !self.work.goes_on_without(step) => Verdict::Not(reason),
                _ => Verdict::Run,
            },
        }
    }

    /// What becomes of a step whose time is over before it begins. One step fails of that, so that the run says why it came to no more:
    /// one that was at work then, else the first that comes too late. What other nights left to be brought may wait for the next.
    fn late(&self, step: &Step, why: &str, otherwise: String) -> Verdict {
        if self.running.values().any(|running| running.stopped_for.as_deref() == Some(why)) {
            return Verdict::Wait;
        }
        let tells = |outcome: &Outcome| matches!(outcome, Outcome::Failed(reason) if reason == why);
        let is_told = self.execution.steps.values().any(|ended| tells(&ended.outcome));
        match is_told || matches!(step.action, Action::Sync(_)) {
            true => Verdict::Not(otherwise),
            false => Verdict::Late(why.to_owned()),
        }
    }

    /// A commit goes on with what is whole: one artefact, or one backup in a repository, in its store is enough.
    fn commit_verdict(&self, step: &Step) -> Verdict {
        let brings = |id: &&StepId| {
            let action = self.graph.get(id).map(|step| &step.action);
            matches!(action, Some(Action::Pack(_) | Action::Publish(..) | Action::DumpApart(..)))
        };
        let locked = step.needs.iter().filter(|id| !brings(id)).all(|id| self.execution.is_done(id));
        let brought = step.needs.iter().filter(brings).any(|id| self.execution.is_done(id));
        match self.first_trouble(step) {
            Some(reason) if !locked || !brought => Verdict::Not(reason),
            _ => Verdict::Run,
        }
    }

    /// A rehearsal needs a backup, in one store; trouble behind the commits is none of its.
    fn rehearse_verdict(&self, step: &Step) -> Verdict {
        let is_commit =
            |id: &&StepId| matches!(self.graph.get(id).map(|step| &step.action), Some(Action::Commit(_)));
        match step.needs.iter().filter(is_commit).any(|id| self.execution.is_done(id)) {
            true => Verdict::Run,
            false => Verdict::Not("nothing was committed".to_owned()),
        }
    }

    /// A store is brought what it lacks where it has the backup of this run, or lacks what that rests on.
    fn sync_verdict(&self, store: StoreId) -> Verdict {
        let is_done = |action| self.graph.doing(&action).is_some_and(|step| self.execution.is_done(&step.id));
        match is_done(Action::Commit(store))
            || is_done(Action::LockStore(store)) && self.work.is_behind(store)
        {
            true => Verdict::Run,
            false => Verdict::Not("its commit was not done".to_owned()),
        }
    }

    /// A staging that could not be cleared beforehand, or may not be, was not used.
    fn clear_verdict(&self) -> Verdict {
        let before = self.graph.doing(&Action::ClearStaging(When::Before));
        match before {
            Some(before) if !self.execution.is_done(&before.id) => {
                Verdict::Not("the staging was not used".to_owned())
            }
            _ => self.unless_lockless(),
        }
    }

    /// Whatever became of the stores, a window that a dead run left open is left; but not while another run lives.
    fn recover_verdict(&self) -> Verdict {
        if self.execution.busy {
            return Verdict::Not("another run holds the lock".to_owned());
        }
        self.unless_lockless()
    }

    fn unless_lockless(&self) -> Verdict {
        let lock = self.graph.doing(&Action::LockHost);
        if lock.is_some_and(|lock| self.execution.is_done(&lock.id)) {
            Verdict::Run
        } else {
            Verdict::Not("nothing was locked".to_owned())
        }
    }

    /// Why a step that needs all its needs is not run. A store that dropped out keeps only its own steps from running.
    fn first_trouble(&self, step: &Step) -> Option<String> {
        let tolerant = matches!(step.action, Action::LockStore(_));
        step.needs.iter().find_map(|need| match &self.execution.steps.get(need)?.outcome {
            Outcome::Done => None,
            _ if self.is_one_of_several(step, need) => None,
            Outcome::Dropped(_) if tolerant => None,
            Outcome::Dropped(_) => Some(format!("`{need}` dropped out")),
            // One store's trouble is no reason to back up to none.
            Outcome::Failed(_) if tolerant && self.is_one_stores(need) => None,
            Outcome::Failed(_) if self.work.is_partly_done(need) => None,
            Outcome::Failed(_) => Some(format!("`{need}` failed")),
            Outcome::NotRun(_) => Some(format!("`{need}` was not run")),
        })
    }

    /// A backup in one of a source's repositories, or what is given up there: the next is dealt with all the same, and a source of
    /// which another backup was made has been read.
    fn is_one_of_several(&self, step: &Step, need: &StepId) -> bool {
        let read = |id: &StepId| match self.graph.get(id).map(|step| &step.action) {
            Some(Action::DumpApart(source, _) | Action::ExpireApart(source, _)) => Some(*source),
            _ => None,
        };
        let Some(source) = read(need) else { return false };
        matches!(step.action, Action::DumpApart(own, _) | Action::ExpireApart(own, _) if own == source)
            || step.needs.iter().any(|id| read(id) == Some(source) && self.execution.is_done(id))
    }

    fn is_one_stores(&self, id: &StepId) -> bool {
        let locks = matches!(self.graph.get(id).map(|step| &step.action), Some(Action::LockStore(_)));
        locks && !self.execution.busy && !self.execution.fatal
    }

    fn start(&mut self, step: &Step, attempt: u32, begun: Instant) {
        let control = Control::default();
        if attempt == 1 {
            self.observer.event(Event::Started { step: step.id.clone(), control: control.clone() });
        }
        let attempt_deadline = step
            .timeout
            .filter(|_| !matches!(step.action, Action::Enter(_)))
            .map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let running =
            Running { control: control.clone(), begun, attempt, attempt_deadline, stopped_for: None };
        self.running.insert(step.id.clone(), running);
        if let Action::Enter(window) = step.action
            && let Some((name, seconds)) = self.work.time_of(window)
        {
            self.windows.insert(window, (name, Instant::now() + Duration::from_secs(seconds)));
        }
        let (work, report, own) = (Arc::clone(&self.work), self.report.clone(), step.clone());
        let started = std::thread::Builder::new().name("step".to_owned()).spawn(move || {
            let result = perform(work.as_ref(), &own, &control);
            // The coordinator outlives every step: it waits for all reports.
            let _ = report.blocking_send(Report { id: own.id, result });
        });
        let Err(refused) = started else { return };
        // What is open must be closed, though nothing else goes on meanwhile.
        let result = match is_closing(&step.action) {
            true => perform(self.work.as_ref(), step, &Control::default()),
            false => Err(Failure::passing(threads::refused(refused))),
        };
        self.reported(Report { id: step.id.clone(), result });
    }

    /// Whether one more step of this kind may be done now. Who waits for somebody's server to take a message keeps no place from work.
    fn has_place(&self, action: &Action) -> bool {
        let is_message =
            |id: &StepId| self.graph.get(id).is_some_and(|step| matches!(step.action, Action::Notify(..)));
        let working = self.running.keys().filter(|id| !is_message(id)).count();
        working < self.jobs || is_closing(action) || matches!(action, Action::Notify(..))
    }

    fn reported(&mut self, report: Report) {
        let Some(running) = self.running.remove(&report.id) else { return };
        let graph = Arc::clone(&self.graph);
        let Some(step) = graph.get(&report.id) else { return };
        let took = running.begun.elapsed();
        self.execution.uncertain.remove(&step.id);
        let (output, failure) = match report.result {
            Ok(Performed::Done(output)) => {
                return self.end(step, Outcome::Done, output, took, running.attempt);
            }
            Ok(Performed::Dropped(reason)) => {
                return self.end(step, Outcome::Dropped(reason), Output::Nothing, took, running.attempt);
            }
            Ok(Performed::Idle(reason)) => {
                return self.end(step, Outcome::NotRun(reason), Output::Nothing, took, running.attempt);
            }
            Ok(Performed::InPart(output, failure)) => (output, failure),
            Err(failure) => (Output::Nothing, failure),
        };
        self.execution.busy |= failure.kind == FailureKind::Busy;
        self.execution.fatal |= failure.kind == FailureKind::Fatal;
        if failure.kind == FailureKind::Uncertain {
            self.execution.uncertain.insert(step.id.clone());
        }
        let message = match (&running.stopped_for, failure.kind) {
            (Some(reason), FailureKind::Stopped) => reason.clone(),
            _ => failure.message,
        };
        let own_timeout = running.attempt_deadline.is_some_and(|at| Instant::now() >= at);
        let passing =
            matches!(failure.kind, FailureKind::Passing | FailureKind::Away | FailureKind::Uncertain)
                || (failure.kind == FailureKind::Stopped && own_timeout);
        let again = step.retry.as_ref().filter(|retry| {
            passing
                && running.attempt < retry.attempts
                && self.stopping().is_none()
                && !self.expired.contains_key(&step.id)
        });
        match again {
            Some(retry) => {
                let wait = backoff(retry, running.attempt);
                let event =
                    Event::Retrying { step: step.id.clone(), attempt: running.attempt, wait, error: message };
                self.observer.event(event);
                // A password may be another by then.
                secrets::forget();
                let (until, attempts, begun) = (Instant::now() + wait, running.attempt, running.begun);
                self.sleeping.insert(step.id.clone(), Asleep { until, attempts, begun, output });
            }
            None if failure.kind == FailureKind::Away && self.work.lets_go(step, &message) => {
                self.end(step, Outcome::Dropped(message), output, took, running.attempt);
            }
            None => {
                // A store that must be there: the run ends before its first step.
                self.execution.fatal |=
                    failure.kind == FailureKind::Away && matches!(step.action, Action::LockStore(_));
                self.end(step, Outcome::Failed(message), output, took, running.attempt);
            }
        }
    }

    fn end(&mut self, step: &Step, outcome: Outcome, output: Output, took: Duration, attempts: u32) {
        self.work.ended(step, &outcome, output, (attempts > 0).then_some(took));
        if let Action::Leave(window) = &step.action {
            self.windows.remove(window);
        }
        self.observer.event(Event::Finished { step: step.id.clone(), outcome: outcome.clone(), took });
        self.execution.steps.insert(step.id.clone(), Ended { outcome, took, attempts });
    }

    fn signalled(&mut self, signal: StopSignal) {
        if self.execution.signal.is_none() {
            self.execution.signal = Some(signal);
            self.stop_all("the run was stopped");
        }
    }

    fn stop_all(&mut self, reason: &str) {
        // Whoever waits for a server does not look at its control: from here on only what closes is asked, and not for long.
        store::leave();
        let graph = Arc::clone(&self.graph);
        for (id, running) in &mut self.running {
            if graph.get(id).is_none_or(|step| !is_closing(&step.action)) {
                running.stopped_for = Some(reason.to_owned());
                running.control.stop();
            }
        }
        let asleep: Vec<StepId> = self.sleeping.keys().cloned().collect();
        for id in asleep {
            self.give_up(&id, reason);
        }
    }

    /// Ends a step that sleeps between two attempts.
    fn give_up(&mut self, id: &StepId, reason: &str) {
        let graph = Arc::clone(&self.graph);
        if let (Some(asleep), Some(step)) = (self.sleeping.remove(id), graph.get(id)) {
            let (outcome, took) = (Outcome::Failed(reason.to_owned()), asleep.begun.elapsed());
            self.end(step, outcome, asleep.output, took, asleep.attempts);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let attempts = self.running.values().filter_map(|running| running.attempt_deadline);
        let stopped = self.running.values().filter(|running| running.stopped_for.is_none()).count();
        attempts
            .filter(|_| stopped > 0)
            .chain(self.sleeping.values().map(|asleep| asleep.until))
            .chain(self.windows.values().map(|(_, at)| *at))
            .chain(self.deadline.filter(|_| self.stopping().is_none()))
            .min()
            .map(|at| at.max(Instant::now() + Duration::from_millis(1)))
    }

    fn woken(&mut self) {
        let now = Instant::now();
        if self.stopping().is_none() && self.deadline.is_some_and(|at| now >= at) {
            self.execution.timed_out = true;
            self.stop_all(TIME_OVER);
        }
        for running in self.running.values_mut() {
            if running.stopped_for.is_none() && running.attempt_deadline.is_some_and(|at| now >= at) {
                running.stopped_for = Some("it took longer than its `timeout`".to_owned());
                running.control.stop();
            }
        }
        let over = self.windows.extract_if(.., |_, (_, at)| now >= *at);
        for (window, (name, _)) in over.collect::<Vec<_>>() {
            self.expire(window, &name);
        }
        let due: Vec<StepId> = self
            .sleeping
            .iter()
            .filter(|(_, asleep)| now >= asleep.until)
            .map(|(id, _)| id.clone())
            .collect();
        let graph = Arc::clone(&self.graph);
        for id in due {
            if let (Some(asleep), Some(step)) = (self.sleeping.remove(&id), graph.get(&id)) {
                self.start(step, asleep.attempts + 1, asleep.begun);
            }
        }
    }

    /// The time of a window is over: nothing more is read inside it.
    fn expire(&mut self, window: usize, name: &str) {
        let reason = format!("the `timeout` of window `{name}` was over");
        let graph = Arc::clone(&self.graph);
        let leave = graph.doing(&Action::Leave(window));
        let mut inside: Vec<StepId> = leave.into_iter().flat_map(|step| step.needs.clone()).collect();
        // What the readers wait for inside the window stops with them.
        let mut at = 0;
        while at < inside.len() {
            let needs = graph.get(&inside[at]).map(|step| step.needs.clone()).unwrap_or_default();
            let further = needs.into_iter().filter(|id| {
                let reads = matches!(
                    graph.get(id).map(|step| &step.action),
                    Some(Action::Scan(_) | Action::Dump(_) | Action::DumpApart(..) | Action::Pack(_))
                );
                reads && !inside.contains(id)
            });
            let further: Vec<StepId> = further.collect();
            inside.extend(further);
            at += 1;
        }
        for id in inside {
            if let Some(running) = self.running.get_mut(&id) {
                running.stopped_for = Some(reason.clone());
                running.control.stop();
            }
            self.give_up(&id, &reason);
            if !self.execution.steps.contains_key(&id) {
                self.expired.insert(id, reason.clone());
            }
        }
    }
}

/// What is done even while a run is being stopped.
fn is_closing(action: &Action) -> bool {
    matches!(
        action,
        Action::Leave(_)
            | Action::ClearStaging(When::After)
            | Action::Unlock
            | Action::Notify(_, When::After)
    )
}

/// The wait behind attempt number `attempt`: doubled each time, and anything between half of it and all of it, so that
/// many hosts that failed together do not come back together.
pub(super) fn backoff(retry: &Retry, attempt: u32) -> Duration {
    let doubled = retry.backoff_first.saturating_mul(1_u64 << attempt.saturating_sub(1).min(32));
    let most = Duration::from_secs(doubled.min(retry.backoff_most)).as_millis() as u64;
    let mut random = [0; 8];
    // Without randomness the wait is the longest: still a right one.
    let share = match getrandom::fill(&mut random) {
        Ok(()) => u64::from_le_bytes(random) % (most / 2 + 1),
        Err(_) => 0,
    };
    Duration::from_millis(most - share)
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
