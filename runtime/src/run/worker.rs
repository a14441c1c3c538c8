//! Performs the steps of a run: what each action of the graph does to the world.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use backplan_compiler::graph::{Action, Occasion, Step, StepGraph, StepId, When};
use backplan_compiler::model::{ArchiveId, Command, Model, SourceId, StoreId, Window};
use backplan_compiler::value::{Env, Text};

use super::alone;
use super::cache::Cache;
use super::coordinator::{Execution, Failure, FailureKind, Performed, Work};
use super::event::{Event, How, Observer, Outcome};
use super::facts::{Facts, Imprint};
use super::files::RunFiles;
use super::history;
use super::journal::{self, Journal, Leave, Record};
use super::levels::Levels;
use super::mark::mark;
use super::mounts::Expected;
use super::output::Output;
use super::parts;
use super::prepare::Prepared;
use super::reading::Reading;
use super::report::{Report, Verdict, report};
use super::request::Request;
use super::session::Session;
use super::staging::{MOVE_AWAY, Staging, StagingError, told_of_strangers};
use super::state::{Folders, make_private};
use super::steps::clear::{ClearPlan, Tenancy};
use super::steps::window::{self, WindowPlan};
use super::steps::{Scene, fill_all, fill_one};
use crate::catalog::host::{HostLock, HostLockError, HostState, Note, PlanState};
use crate::catalog::ids::{Nonce, Uuid};
use crate::catalog::layout::Layout;
use crate::catalog::manifest::HostRef;
use crate::catalog::owner::Owner;
use crate::catalog::recover::{Reason, RecoverError, RecoveryPlan};
use crate::control::Control;
use crate::places::anchor::Anchor;
use crate::places::folder;
use crate::postgres::basebackup::PRIOR;
use crate::programs::environment;
use crate::programs::process::{self, ProcessError, Program, Tell};
use crate::programs::secrets::{SecretError, Secrets};
use crate::scan::{self, ScanError, Trees};
use crate::source::reader;
use crate::store::Name;
use crate::store::limit::Limit;

/// Journals of runs that are over and are kept for a person to read.
const JOURNALS: usize = 30;

/// Warnings of a run that its journal keeps.
const WARNINGS: usize = 50;

/// How long leaving a window may take where its plan does not give the window longer: a program that hangs must not keep the
/// run, and every run after it, from ending.
const LEAVE_LIMIT: Duration = Duration::from_secs(600);

/// How long leaving a window with this `timeout` may take.
fn leave_limit(timeout: Option<u64>) -> Duration {
    LEAVE_LIMIT.max(Duration::from_secs(timeout.unwrap_or_default()))
}

/// Performs the steps of one run.
pub struct Worker {
    pub(super) request: Request,
    pub(super) graph: Arc<StepGraph>,
    pub(super) occasion: Occasion,
    /// Replaced where a base turns out to be of no use.
    levels: Mutex<Arc<Levels>>,
    pub(super) imprint: Imprint,
    pub(super) layout: Layout,
    /// An earlier process has begun the run.
    pub(super) is_resumed: bool,
    /// The file systems that sources are expected to be on.
    pub(super) mounts: Expected,
    /// What the stores have no more of what this machine committed.
    gone: Option<String>,
    pub(super) host: HostState,
    plan: Mutex<PlanState>,
    pub(super) folders: Folders,
    pub(super) files: RunFiles,
    pub(super) note: Note,
    pub(super) staging_lock: Mutex<Option<HostLock>>,
    /// The staging and this program's own folder, as they were when the run began.
    anchors: Mutex<Vec<(&'static str, Anchor)>>,
    /// Held from before the stores were looked at until the run is over.
    plan_lock: Mutex<Option<HostLock>>,
    pub(super) journal: OnceLock<Journal>,
    pub(super) secrets: Secrets,
    observer: Arc<dyn Observer>,
    pub(super) sessions: BTreeMap<StoreId, Session>,
    /// What is sent to all stores together.
    pub(super) limit: Option<Arc<Limit>>,
    facts: Mutex<Facts>,
    /// A store said that nothing of the run makes sense without it.
    pub(super) hopeless: AtomicBool,
    standing: Mutex<Execution>,
}

impl Work for Worker {
    fn perform(&self, step: &Step, control: &Control) -> Result<Performed, Failure> {
        let _within = tracing::info_span!("run", id = %self.imprint.run).entered();
        let began = std::time::Instant::now();
        tracing::info!("{} begins", step.id);
        // Here every message passes: to the screen, the journal, the manifests and the report.
        let shown = |message: String| self.secrets.redact(&message);
        let taken = self.take(step, control);
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
        let window = &self.request.model.windows[window];
        Some((window.name.clone(), window.timeout?))
    }

    fn ended(&self, step: &Step, outcome: &Outcome, output: Output, took: Option<Duration>) {
        let told = output.told();
        self.facts().take(&self.request.model, step, outcome, output);
        let (how, reason) = outcome.told();
        let record = Record::Step {
            step: step.id.0.clone(),
            outcome: how,
            took_ms: took.and_then(|took| u64::try_from(took.as_millis()).ok()),
            reason: reason.map(str::to_owned),
            output: told,
        };
        // Only a record of what happened: nothing must be undone that is not journalled by its own intent.
        let _ = self.write_journal(&record);
    }

    fn is_behind(&self, store: StoreId) -> bool {
        // What earlier processes have brought there shows in the facts alone.
        let has_brought = match self.is_resumed {
            true => self.facts().reached.iter().any(|(_, to)| *to == store),
            false => self.sessions[&store].held().transaction.is_some(),
        };
        self.levels().is_behind(store) && !has_brought
    }

    fn is_partly_done(&self, step: &StepId) -> bool {
        self.facts().is_partly_done(step)
    }

    fn goes_on_without(&self, step: &Step) -> bool {
        self.facts().goes_on_without(&self.request.model, step)
    }

    fn settled(&self, standing: &Execution) {
        *self.standing() = standing.clone();
    }
}

impl Worker {
    fn take(&self, step: &Step, control: &Control) -> Result<Performed, Failure> {
        match &step.action {
            Action::LockHost => self.lock_host(&step.id),
            Action::LockStore(store) => {
                let locked = self.lock_store(&step.id, *store, control);
                if matches!(&locked, Err(failure) if failure.kind == FailureKind::Fatal) {
                    self.hopeless.store(true, Ordering::SeqCst);
                }
                return locked;
            }
            Action::Recover => self.recover(&step.id, control),
            Action::ClearStaging(when) => self.clear_staging(*when, control),
            Action::Enter(window) => self.enter(&step.id, *window, control),
            Action::Leave(window) => self.leave(&step.id, *window, control),
            Action::Scan(source) => return self.scan(&step.id, *source, control),
            Action::Dump(source) => {
                let reading = self.reading(&step.id, *source, control);
                return reader(&reading.source().kind).dump(&reading).map(Performed::Done);
            }
            Action::Pack(archive) => {
                return self.pack(&step.id, *archive, control).map(|made| Performed::Done(made.into()));
            }
            Action::DumpApart(source, store) => {
                return self.dump_apart(&step.id, *source, *store, control).map(Performed::Done);
            }
            Action::Publish(archive, store) => {
                if let Some(why) = self.levels().untakable(&self.request.model, *archive, *store) {
                    self.warn(&step.id, why.clone());
                    return Ok(Performed::Dropped(why));
                }
                self.publish(*archive, *store, control)
            }
            Action::Commit(store) => self.commit(&step.id, *store),
            Action::Expire(source) => self.expire(&step.id, *source, control),
            Action::ExpireApart(source, store) => self.expire_apart(&step.id, *source, *store, control),
            Action::OpenWal(at, store) => self.open_wal(&step.id, *at, *store, control),
            Action::ExpireWal(at, store) => self.expire_wal(&step.id, *at, *store, control),
            Action::Prune(store) => self.prune(&step.id, *store, control),
            Action::Sync(store) => {
                return self.catch_up(&step.id, *store, control).map(Performed::Done);
            }
            Action::Rehearse(source) => self.rehearse(&step.id, *source, control),
            Action::Unlock => return Ok(Performed::Done(Output::Wrote(self.unlock(&step.id)))),
            Action::Notify(notify, when) => return self.notify(&step.id, *notify, *when, control),
        }
        .map(|()| Performed::Done(Output::Nothing))
    }

    /// The worker of a prepared run.
    pub fn new(prepared: Prepared, observer: Arc<dyn Observer>) -> Worker {
        let Prepared {
            request,
            graph,
            occasion,
            run,
            started,
            levels,
            host,
            plan,
            layout,
            note,
            lock,
            mounts,
            gone,
            ..
        } = prepared;
        let machine = HostRef { machine: host.machine(), name: super::prepare::host_name() };
        let id = plan.id().unwrap_or_else(Uuid::random);
        let nonce = Nonce::random();
        let imprint = Imprint { run, nonce, plan: id, host: machine, started, finished: started };
        let sessions = (0..request.model.stores.len()).map(|at| (StoreId(at), Session::default())).collect();
        let folders = Folders::new(plan.folder());
        Worker {
            levels: Mutex::new(Arc::new(levels)),
            files: RunFiles::of(&request.model, &folders, &run.to_string()),
            folders,
            plan: Mutex::new(plan),
            staging_lock: Mutex::default(),
            anchors: Mutex::default(),
            plan_lock: Mutex::new(lock),
            journal: OnceLock::new(),
            secrets: Secrets::default(),
            limit: request.model.limits.bandwidth.map(Limit::new).map(Arc::new),
            facts: Mutex::default(),
            hopeless: AtomicBool::new(false),
            is_resumed: false,
            standing: Mutex::default(),
            mounts,
            gone,
            request,
            graph,
            occasion,
            imprint,
            layout,
            host,
            note,
            observer,
            sessions,
        }
    }

    pub(super) fn plan(&self) -> MutexGuard<'_, PlanState> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the steps came to so far.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The report of the run; its journal is ended, and the next run let in.
    pub fn finish(&self, run: &str, graph: &StepGraph, execution: &Execution) -> Report {
        let mut report = report(&self.request.model, run, graph, execution, &self.facts());
        if let Err(error) = self.close(&report) {
            report.warnings.push(format!("{error}; the next run will look for what this one left"));
            if report.verdict == Verdict::Done {
                report.verdict = Verdict::Warnings;
            }
        }
        report
    }

    fn close(&self, report: &Report) -> io::Result<()> {
        if self.journal.get().is_none() {
            self.remember_refused(report);
        } else {
            let left_out = report.left_out.iter().filter(|left| !left.is_told());
            let left_out = left_out.map(|left| {
                format!("archive `{}` without source `{}`: {}", left.archive, left.source, left.reason)
            });
            let warnings = left_out.chain(report.warnings.iter().cloned()).take(WARNINGS);
            let warnings = warnings.map(|text| self.secrets.redact(&text)).collect();
            let (status, whole) = (report.verdict.status(), report.whole);
            self.write_journal(&Record::End { status, whole, warnings })?;
            journal::tidy(&self.folders.journals(), JOURNALS)?;
        }
        *self.plan_lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Keeps for `plan status` that the run came to nothing before it had a journal; not where another one goes on.
    fn remember_refused(&self, report: &Report) {
        let failed =
            report.steps.iter().filter(|step| step.action == Action::LockHost && step.outcome == How::Failed);
        let reason = failed.filter_map(|step| step.reason.as_deref()).next();
        if let Some(reason) = reason.filter(|_| report.verdict == Verdict::Failed) {
            // The run has failed as it is, and where this cannot be kept there is nowhere else.
            let reason = self.secrets.redact(reason);
            let _ = history::refused(&self.plan(), self.request.clock.now(), &reason);
        }
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Execution> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn warn(&self, step: &StepId, text: impl Into<String>) {
        let text = self.secrets.redact(&text.into());
        self.facts().warnings.push(text.clone());
        self.observer.event(Event::Warning { step: step.clone(), text });
    }

    /// Tells something worth knowing.
    pub(super) fn note(&self, text: String) {
        self.observer.event(Event::Note { text: self.secrets.redact(&text) });
    }

    /// Takes the lines of a program that a step runs.
    pub(super) fn tell(&self, step: &StepId) -> Tell {
        let (observer, secrets, step) = (Arc::clone(&self.observer), self.secrets.clone(), step.clone());
        Arc::new(move |line| observer.event(Event::Output { step: step.clone(), line: secrets.redact(line) }))
    }

    fn write_journal(&self, record: &Record) -> io::Result<()> {
        match self.journal.get() {
            Some(journal) => journal.write(self.request.clock.now(), record),
            None => Ok(()),
        }
    }

    /// Writes an intent: its effect must not happen where this fails.
    pub(super) fn intend(&self, record: &Record) -> Result<(), Failure> {
        self.write_journal(record).map_err(Failure::lasting)
    }

    pub(super) fn levels(&self) -> Arc<Levels> {
        Arc::clone(&self.levels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on the archive rests on nothing, but for sources whose tool rested a backup on an earlier one.
    pub(super) fn give_up_base(&self, archive: ArchiveId) {
        let facts = self.facts();
        let based = facts.labels.iter().filter(|(_, labels)| labels.contains_key(PRIOR));
        let based = based.map(|(id, _)| self.request.model.source(*id));
        let based = based.filter(|source| source.may_follow()).map(|source| source.name.as_str()).collect();
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        *levels = Arc::new(levels.without_base(archive, &based));
    }

    /// From here on the source rests on nothing, in any archive.
    pub(super) fn give_up_base_of(&self, source: &str) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        *levels = Arc::new(levels.without_base_of(source));
    }

    pub(super) fn cache(&self) -> Cache {
        Cache::new(self.plan().folder())
    }

    /// What the next step is planned from.
    pub(super) fn scene<'a>(&'a self, facts: &'a Facts) -> Scene<'a> {
        Scene { model: &self.request.model, only: &self.request.only, graph: &self.graph, facts }
    }

    pub(super) fn anchors(&self) -> MutexGuard<'_, Vec<(&'static str, Anchor)>> {
        self.anchors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is known where a folder of the run is.
    pub(super) fn anchor(&self, what: &'static str, path: &Path) -> Result<(), Failure> {
        let anchor = Anchor::hold(path)
            .map_err(|cause| Failure::fatal(format!("{what} `{}`: {cause}", path.display())))?;
        self.anchors().push((what, anchor));
        Ok(())
    }

    /// What was moved away of the folders that the run works in.
    fn moved(&self) -> Vec<String> {
        let anchors = self.anchors();
        let moved = anchors.iter().filter_map(|(what, anchor)| Some((what, anchor.check().err()?)));
        moved.map(|(what, moved)| format!("{what}: {moved}")).collect()
    }

    /// Sees that none of them was.
    pub(super) fn see_unmoved(&self) -> Result<(), Failure> {
        self.moved().into_iter().next().map_or(Ok(()), |moved| Err(Failure::lasting(moved)))
    }

    /// The folder of this run in the staging, which is there. One that was moved away is not made anew.
    pub(super) fn make_staged(&self) -> Result<(), Failure> {
        self.see_unmoved()?;
        make_private(self.files.staged()).map_err(|cause| Failure::of(&cause, &cause))
    }

    fn lock_host(&self, step: &StepId) -> Result<(), Failure> {
        let declared = self.request.model.staging.as_ref();
        let lock = declared.map(|staging| HostLock::staging(&self.host, &staging.path, &self.note));
        if let Some(Err(busy @ HostLockError::Busy { .. })) = &lock {
            return Err(Failure { message: busy.to_string(), kind: FailureKind::Busy });
        }
        self.anchor("the local state", self.host.folder())?;
        // Before anything else may fail: a run that nobody knows of did not happen.
        self.begin_journal()?;
        let (Some(declared), Some(lock)) = (declared, lock) else { return Ok(()) };
        let looked = Staging::look(declared, self.request.around()).map_err(Failure::fatal)?;
        let lock = lock.map_err(Failure::fatal)?;
        *self.staging_lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        if let Some(staging) = looked {
            self.take_staging(step, &staging)?;
        }
        self.anchor("the staging", &declared.path)
    }

    fn begin_journal(&self) -> Result<(), Failure> {
        make_private(&self.folders.journals()).map_err(Failure::fatal)?;
        make_private(self.files.work()).map_err(Failure::fatal)?;
        let run = self.imprint.run.to_string();
        let HostRef { machine, name } = &self.imprint.host;
        let owner = Some(Owner::this_process(*machine, name, &self.imprint.run));
        let begin = Record::Begin {
            run: run.clone(),
            pid: std::process::id(),
            only: self.request.only.clone(),
            owner,
        };
        let journal = Journal::begin(&self.folders.journals(), &run, &begin, self.request.clock.now());
        let _ = self.journal.set(journal.map_err(Failure::fatal)?);
        history::begun(&self.plan()).map_err(Failure::fatal)
    }

    fn recover(&self, step: &StepId, control: &Control) -> Result<(), Failure> {
        for text in super::prepare::doubts(&self.request.laid) {
            self.warn(step, text);
        }
        for warning in self.gone.iter().cloned().chain(self.levels().warnings(&self.request.model)) {
            self.warn(step, warning);
        }
        // Before anything is taken back: what was begun by steps of their own must not go on.
        alone::forget_others(&self.folders.alone(), &self.imprint.run).map_err(Failure::fatal)?;
        // Windows first: whatever is wrong with the stores, the world must not stay held.
        let dead = journal::dead(&self.folders.journals()).map_err(Failure::fatal)?;
        let own = self.imprint.run.to_string();
        for left in dead.iter().filter(|left| left.run != own) {
            self.take_back(step, left, control)?;
        }
        self.remove_stale_work(&own).map_err(Failure::fatal)?;
        self.clear_rehearsals(step);
        if self.hopeless.load(Ordering::SeqCst) {
            return Err(Failure::lasting("a store that the run cannot do without failed, as told above"));
        }
        for (id, session) in &self.sessions {
            if let Err(error) = self.recover_store(step, session) {
                // One store's trouble is no reason to back up to none; its commit fails.
                self.warn(step, format!("what a dead run left could not be taken back: {error}"));
                let (trouble, _) = self.release(session);
                trouble.into_iter().for_each(|text| self.warn(step, text));
                session.held().store = None;
                self.facts().given_up.insert(*id);
            }
        }
        if !self.sessions.values().any(|session| session.held().lease.is_some()) {
            return Err(Failure::fatal("no store can be used: there is nowhere to put a backup"));
        }
        Ok(())
    }

    fn recover_store(&self, step: &StepId, session: &Session) -> Result<(), RecoverError> {
        let Some((store, lease)) = session.held().opened() else { return Ok(()) };
        let plan = RecoveryPlan::make(store.as_ref(), &self.layout, Some(&self.imprint.run), &mark)?;
        let done = plan.execute(store.as_ref(), &self.layout, &lease)?;
        // Every run finds the lease of the one before: nothing that anybody wants to read.
        for (reason, name) in done.deleted.iter().filter(|(reason, _)| *reason != Reason::OldLease) {
            let text = format!("store `{}`: removed `{name}`: {reason}", store.label());
            self.observer.event(Event::Note { text });
        }
        for left in &done.left {
            self.warn(step, format!("store `{}`: {left}; look at it, and remove it by hand", store.label()));
        }
        Ok(())
    }

    /// Takes back what a dead run left on this host. A window that cannot be left stays on its journal, for the next run
    /// to try again, and does not keep this one from making a backup.
    fn take_back(&self, step: &StepId, left: &journal::Left, control: &Control) -> Result<(), Failure> {
        let mut open = false;
        for (window, leave) in &left.windows {
            self.observer
                .event(Event::Note { text: format!("leaving window `{window}` for run {}", left.run) });
            let Some(leave) = leave else { continue };
            match self.leave_late(step, window, leave, control) {
                Ok(()) => {}
                Err(failure) if failure.kind == FailureKind::Stopped => return Err(failure),
                Err(Failure { message: error, .. }) => {
                    open = true;
                    let text = format!(
                        "window `{window}` may be open since run {}, and leaving it failed: {error}; each run tries again: \
                         mend `leave` of the window, or leave it by hand and delete `{}`",
                        left.run,
                        left.journal.display()
                    );
                    self.warn(step, text);
                }
            }
        }
        for path in &left.paths {
            if let Err(error) = folder::remove_safely(path) {
                open = true;
                self.warn(step, format!("what run {} left on this machine stays: {error}", left.run));
            }
        }
        if !open {
            let record = Record::Recovered { by: self.imprint.run.to_string() };
            journal::add_to(&left.journal, self.request.clock.now(), &record).map_err(Failure::fatal)?;
        }
        Ok(())
    }

    /// Leaves a window that an earlier run left open: as that run meant to, and where that fails as the plan has it by now.
    fn leave_late(
        &self,
        step: &StepId,
        window: &str,
        leave: &Leave,
        control: &Control,
    ) -> Result<(), Failure> {
        let declared = self.request.model.windows.iter().find(|declared| declared.name == *window);
        // Not from the journal: that holds no secrets.
        let env = declared.map_or(Ok(Vec::new()), |declared| self.given_to_window(declared, control))?;
        let act = |leave: &Leave| {
            let (argv, run_as, env) = (leave.argv.clone(), leave.run_as.clone(), env.clone());
            let program = Program { argv, env, run_as, timeout: Some(LEAVE_LIMIT), ..Program::default() };
            process::act_surely(&program, control, &self.tell(step))
                .map_err(|error| self.program_failure(&error))
        };
        let Err(failure) = act(leave) else { return Ok(()) };
        let mended = declared.and_then(|declared| {
            let mended = window::leave(declared, &self.request.model, &self.occasion).ok()??;
            Some(mended).filter(|mended| mended != leave)
        });
        match mended.filter(|_| failure.kind != FailureKind::Stopped) {
            Some(mended) => act(&mended),
            None => Err(failure),
        }
    }

    fn remove_stale_work(&self, own: &str) -> io::Result<()> {
        for entry in fs::read_dir(self.folders.all_work())? {
            let entry = entry?;
            if entry.file_name() != own {
                folder::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn clear_staging(&self, when: When, control: &Control) -> Result<(), Failure> {
        let Some(declared) = &self.request.model.staging else { return Ok(()) };
        let failed = |error: StagingError| match (error, when) {
            (StagingError::Stopped(_), _) => Failure::stopped(),
            (error, When::Before) => Failure::fatal(error),
            (error, When::After) => Failure::lasting(error),
        };
        let is_own = |staging: &Staging| {
            let (path, inode) = staging.identity()?;
            Ok(self.plan().has_staging(&path, inode))
        };
        let plan = ClearPlan::make(declared, self.request.around(), is_own).map_err(failed)?;
        plan.carry_out(control).map_err(failed)
    }

    /// Before its first run a staging may be full of what somebody needs: that is told of, and stays until it is gone.
    fn take_staging(&self, step: &StepId, staging: &Staging) -> Result<(), Failure> {
        let tenancy = Tenancy::of(staging, &self.plan()).map_err(Failure::fatal)?;
        match tenancy {
            Tenancy::Own => {}
            Tenancy::Taken(path, inode) => {
                self.plan().remember_staging(&path, inode).map_err(Failure::fatal)?;
            }
            Tenancy::Strange(strangers) => {
                let told = told_of_strangers(staging.shown(), &strangers);
                self.warn(step, format!("{told}: nothing of it is deleted; {MOVE_AWAY}"));
            }
        }
        Ok(())
    }

    fn enter(&self, step: &StepId, window: usize, control: &Control) -> Result<(), Failure> {
        let model = &self.request.model;
        let plan = WindowPlan::enter(&model.windows[window], model, &self.occasion)?;
        self.intend(&plan.intent())?;
        let Some(program) = self.of_window(&plan, None, control)? else { return Ok(()) };
        process::act(&program, control, &self.tell(step)).map_err(|error| self.program_failure(&error))
    }

    fn leave(&self, step: &StepId, window: usize, control: &Control) -> Result<(), Failure> {
        let (model, window) = (&self.request.model, &self.request.model.windows[window]);
        let left = WindowPlan::leave(window, model, &self.occasion).and_then(|plan| {
            let limit = Some(leave_limit(window.timeout));
            let Some(program) = self.of_window(&plan, limit, control)? else { return Ok(()) };
            // The world waits for it: a shortage that passes must not keep it waiting until the next run.
            process::act_surely(&program, control, &self.tell(step))
                .map_err(|error| self.program_failure(&error))
        });
        left.map_err(|failure| Failure {
            message: format!(
                "{}; the window may still be open: leave it by hand, or the next run tries again",
                failure.message
            ),
            ..failure
        })?;
        self.intend(&Record::Left { window: window.name.clone() })
    }

    /// The program that opens or closes a window, with what it is given.
    fn of_window(
        &self,
        plan: &WindowPlan<'_>,
        timeout: Option<Duration>,
        control: &Control,
    ) -> Result<Option<Program>, Failure> {
        let Some(argv) = plan.program.clone() else { return Ok(None) };
        let (env, run_as) = (self.given_to_window(plan.window, control)?, plan.window.run_as.clone());
        Ok(Some(Program { argv, env, run_as, timeout, ..Program::default() }))
    }

    fn given_to_window(&self, window: &Window, control: &Control) -> Result<Vec<(String, String)>, Failure> {
        let secrets = self.secrets.under(control).within(Some(leave_limit(window.timeout)));
        self.given(&format!("window `{}`", window.name), &window.env, &secrets)
    }

    /// What a program of the plan is given: texts filled in, secrets fetched.
    fn given(&self, of: &str, env: &Env, secrets: &Secrets) -> Result<Vec<(String, String)>, Failure> {
        let fill = |text: &Text| self.fill(text);
        environment::given(env, secrets, fill, |error| no_secret(of, &error))
    }

    pub(super) fn program_failure(&self, error: &ProcessError) -> Failure {
        match error {
            ProcessError::Stopped(_) => Failure::stopped(),
            ProcessError::Start { .. } => Failure::lasting(error),
            _ => Failure::of(error, error),
        }
    }

    fn fill(&self, text: &Text) -> Result<String, Failure> {
        fill_one(text, &self.request.model, &self.occasion)
    }

    /// The program of a `command` source, its secrets fetched.
    pub(super) fn source_program(
        &self,
        id: SourceId,
        command: &Command,
        control: &Control,
    ) -> Result<Program, Failure> {
        let of = format!("source `{}`", self.request.model.source(id).name);
        let timeout = self.request.model.source(id).timeout.map(Duration::from_secs);
        let secrets = self.secrets.under(control).within(timeout);
        let env = self.given(&of, &command.env, &secrets)?;
        Ok(Program {
            argv: fill_all(&command.run, &self.request.model, &self.occasion)?,
            env,
            run_as: command.run_as.clone(),
            timeout,
            ..Program::default()
        })
    }

    pub(super) fn reading<'a>(&'a self, step: &'a StepId, id: SourceId, control: &'a Control) -> Reading<'a> {
        Reading { worker: self, step, id, control }
    }

    fn scan(&self, step: &StepId, id: SourceId, control: &Control) -> Result<Performed, Failure> {
        let Some(trees) = trees(&self.request.model, &self.mounts, id) else {
            return Ok(Performed::Done(Output::Nothing));
        };
        let out = self.files.tree(self.request.model.source(id));
        let summary = scan::scan(&trees, &out, control).map_err(|error| match error {
            ScanError::Stopped(_) => Failure::stopped(),
            ScanError::Unreadable { .. }
            | ScanError::Missing { .. }
            | ScanError::Dangling { .. }
            | ScanError::NotMounted { .. }
            | ScanError::Lacking { .. } => Failure::passing(error),
            error => Failure::lasting(error),
        })?;
        for warning in summary.warnings.kept() {
            self.warn(step, warning.to_string());
        }
        Ok(parts::scanned(summary))
    }

    /// Undoes what was not committed, removes scratch files, releases the stores. Gives what it has made there of room that
    /// they keep.
    fn unlock(&self, step: &StepId) -> Vec<String> {
        let (mut trouble, mut made) = (self.forget_scans(), Vec::new());
        for (id, session) in &self.sessions {
            let (troubles, room) = self.release(session);
            trouble.extend(troubles);
            let store = &self.request.model.store(*id).name;
            made.extend(room.iter().map(|name| format!("{store}:{name}")));
        }
        let staging = self.request.model.staging.as_ref();
        let kept = staging.is_none_or(|staging| staging.clear_before || staging.clear_after);
        let folders = [Some(self.files.work()), (!kept).then(|| self.files.staged())];
        for folder in folders.into_iter().flatten() {
            if let Err(error) = folder::remove_safely(folder) {
                trouble.push(error.to_string());
            }
        }
        trouble.extend(self.moved());
        *self.staging_lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for text in &trouble {
            self.warn(step, text.clone());
        }
        made
    }

    /// Gives a store back; what went wrong, and what was made there of the room that it keeps.
    fn release(&self, session: &Session) -> (Vec<String>, Vec<Name>) {
        let (transaction, lease, committed, store) = {
            let mut held = session.held();
            (held.transaction.take(), held.lease.take(), held.committed, held.store.clone())
        };
        let (mut trouble, mut made) = (Vec::new(), Vec::new());
        // Moved before the commit, it has failed that.
        if let Some(Err(moved)) = store.filter(|_| committed).map(|store| store.in_place()) {
            trouble.push(format!("the backup is whole, but not where the plan has its store: {moved}"));
        }
        if let Some(transaction) = transaction.filter(|_| !committed)
            && let Err(error) = transaction.undo()
        {
            trouble.push(format!("taking back what was not committed: {error}; the next run will"));
        }
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            if committed {
                made = lease.keep_room();
            }
            if let Err(error) = lease.release() {
                trouble.push(format!("releasing a lock: {error}; the next run takes it over"));
            }
        }
        (trouble, made)
    }
}

/// A secret that could not be had.
pub(super) fn no_secret(of: &str, error: &SecretError) -> Failure {
    if error.is_stopped() { Failure::stopped() } else { Failure::lasting(format!("{of}: {error}")) }
}

/// What the walk of a `files` source is told.
pub(crate) fn trees(model: &Model, mounts: &Expected, id: SourceId) -> Option<Trees> {
    let source = model.source(id);
    let files = source.files()?.clone();
    let (optional, strict) = (source.optional, source.strict);
    let mounts = mounts.get(&id).cloned().unwrap_or_default();
    Some(Trees { source: source.name.clone(), files, optional, strict, mounts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_left_in_ten_minutes_or_in_the_time_it_may_be_open() {
        assert_eq!(leave_limit(None), Duration::from_secs(600));
        assert_eq!(leave_limit(Some(5)), Duration::from_secs(600));
        assert_eq!(leave_limit(Some(3600)), Duration::from_secs(3600));
    }
}
