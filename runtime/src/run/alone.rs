//! One step of a run in a process of its own: what an engine drives that has an order of its own.
//!
//! What passes from one step to the next is in the stores, in the staging, and in this host's state: the journal, the scratch
//! files of the run, and its record.
//!
//! ```text
//! alone/RUN.json    how the run was meant when it began, how its steps ended, and what they handed on; 0600
//! ```
//!
//! Each process takes the locks that its step needs and gives them back: between two steps nobody holds any. Whoever begins a run
//! of the plan meanwhile takes this one for dead, and takes back what it has begun; that is in the journal, and no further step is
//! done. A step that was killed is not in the record, and may be done again, as a step that is tried again in a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backplan_compiler::graph::{Action, Occasion, Step, StepGraph, StepId};
use backplan_compiler::model::{Level, SourceId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::awaited::soon;
use super::coordinator::{Bounds, Execution, Part, StopSignal, Work, execute_part};
use super::event::{Event, Observer, Outcome};
use super::facts::Facts;
use super::prepare::{PrepareError, Prepared, admit, prepare_again, prepare_run, remember_refused};
use super::real::RealRun;
use super::report::{Report, Verdict, is_late_action};
use super::request::Request;
use crate::catalog::details::RawPath;
use crate::catalog::host::{HostLock, HostLockError, HostState, Note};
use crate::catalog::ids::{Nonce, RunId, Uuid};
use crate::past::journal;
use crate::past::state::Folders;
use crate::places::private::make_private;

/// What became of a step.
#[derive(Debug, Clone, Serialize)]
pub struct StepEnd {
    /// The run.
    pub run: String,
    /// The step.
    pub step: String,
    /// How it ended: as a run that consisted of it.
    pub verdict: Verdict,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a person should read.
    pub warnings: Vec<String>,
    /// The steps that nothing keeps from being done next.
    pub next: Vec<String>,
    /// What the run came to, where this was its last step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// How a run was meant when it began.
#[derive(Serialize, Deserialize)]
struct Meant {
    run: RunId,
    nonce: Nonce,
    plan: Uuid,
    started: Timestamp,
    /// Of the plan's texts and parameters: another plan's steps are no steps of this run.
    digest: String,
    level: Option<Level>,
    only: BTreeSet<String>,
    new_clusters: BTreeSet<String>,
    unmounted: Vec<RawPath>,
    adopt: bool,
    host: Option<String>,
    reads: Vec<(RawPath, String)>,
    highest: Option<Level>,
    not_due: BTreeSet<SourceId>,
    rehearse: Option<BTreeSet<SourceId>>,
}

/// The record of a run between two steps.
#[derive(Serialize, Deserialize)]
struct Kept {
    meant: Meant,
    execution: Execution,
    facts: Facts,
}

/// Does one step of a run: the first, which begins it, or one of the run that was begun.
///
/// # Errors
/// When the step cannot be done now: then nothing was changed.
pub async fn step(
    request: Request,
    run: Option<RunId>,
    id: &StepId,
    observer: Arc<dyn Observer>,
    signals: mpsc::Receiver<StopSignal>,
) -> Result<StepEnd, PrepareError> {
    let (limits, clock) = (request.model.limits.clone(), request.clock);
    if let Some(nice) = limits.nice {
        // A step that may not be nicer does as much.
        let _ = rustix::process::nice(nice);
    }
    let (whole, meant, standing) = match run {
        None => begin(request, &observer)?,
        Some(run) => go_on(request, run, id, &observer)?,
    };
    let (graph, whole) = (Arc::clone(&whole.context.graph), Arc::new(whole));
    let step = chosen(&graph, &standing, id, run.is_none())?;
    let before = whole.records.facts().warnings.len();
    let execution = if standing.steps.contains_key(id) {
        standing
    } else {
        let timeout = limits.timeout.map(Duration::from_secs);
        let since = Duration::try_from(clock.now().duration_since(meant.started)).unwrap_or_default();
        let bounds = Bounds { jobs: 1, timeout: timeout.map(|timeout| timeout.saturating_sub(since)) };
        let windows = if run.is_some() { open_windows(&whole, &graph, &standing)? } else { BTreeMap::new() };
        let work = Arc::clone(&whole) as Arc<dyn Work>;
        let part = Part { waiting: BTreeSet::from([id.clone()]), standing, windows };
        execute_part(Arc::clone(&graph), work, bounds, observer, signals, part).await
    };
    whole.held.let_go();
    end(&whole, &graph, step, meant, execution, before)
}

/// The step that is meant, where it can be done now, or has been.
fn chosen<'g>(
    graph: &'g StepGraph,
    standing: &Execution,
    id: &StepId,
    begins: bool,
) -> Result<&'g Step, PrepareError> {
    let Some(step) = graph.get(id) else {
        let text = format!("the run has no step `{id}`; `plan compile` shows the steps of a plan");
        return Err(PrepareError::Plan(text));
    };
    if begins != (step.action == Action::LockHost) {
        let text = match begins {
            true => format!("a run begins with its first step, and `{id}` is a later one: name the run"),
            false => format!("`{id}` begins a run: leave `--run` out"),
        };
        return Err(PrepareError::Plan(text));
    }
    match step.needs.iter().find(|need| !standing.steps.contains_key(need)) {
        Some(need) => Err(PrepareError::Over(format!("step `{id}` waits for `{need}`, which has not ended"))),
        None => Ok(step),
    }
}

fn begin(
    request: Request,
    observer: &Arc<dyn Observer>,
) -> Result<(RealRun, Meant, Execution), PrepareError> {
    let (asked, digest) = (request.clone(), digest(&request));
    let (context, lock) = loop {
        match prepare_run(request.clone(), true).inspect_err(|error| remember_refused(&asked, error))? {
            Prepared::Ready(context, lock) => break (*context, lock),
            Prepared::Soon(wait) => {
                observer.event(Event::Note { text: soon(wait) });
                std::thread::sleep(wait);
            }
        }
    };
    for text in &context.told {
        observer.event(Event::Note { text: text.clone() });
    }
    let (asked, occasion, imprint) = (&context.request, &context.occasion, &context.imprint);
    let meant = Meant {
        run: imprint.run,
        nonce: imprint.nonce,
        plan: imprint.plan,
        started: imprint.started,
        digest,
        level: asked.level,
        only: asked.only.clone(),
        new_clusters: asked.new_clusters.clone(),
        unmounted: asked.unmounted.iter().map(|path| RawPath::from(path.as_path())).collect(),
        adopt: asked.adopt,
        host: occasion.host.clone(),
        reads: occasion
            .reads
            .iter()
            .map(|(path, text)| (RawPath::from(path.as_path()), text.clone()))
            .collect(),
        highest: occasion.level,
        not_due: occasion.not_due.clone(),
        rehearse: occasion.rehearse.clone(),
    };
    Ok((RealRun::new((context, lock), Arc::clone(observer)), meant, Execution::default()))
}

fn go_on(
    request: Request,
    run: RunId,
    id: &StepId,
    observer: &Arc<dyn Observer>,
) -> Result<(RealRun, Meant, Execution), PrepareError> {
    admit(&request)?;
    let host = HostState::open(&request.state)?;
    let model = &request.model;
    let (since, pid) = (request.clock.now(), std::process::id());
    let note = Note { plan: model.name.clone(), run: run.to_string(), pid, since };
    let lock = HostLock::plan(&host, &model.file, &note).map_err(|error| match error {
        busy @ HostLockError::Busy { .. } => PrepareError::Busy(busy.to_string()),
        HostLockError::State(error) => error.into(),
    })?;
    let folders = Folders::new(host.plan(&model.name, &model.file)?.folder());
    let Kept { meant, execution, facts } = read(&folders, &run)?;
    if digest(&request) != meant.digest {
        let text = format!("the plan, or a parameter, is another than when run {run} began: begin a new one");
        return Err(PrepareError::Over(text));
    }
    let request = Request {
        level: meant.level,
        only: meant.only.clone(),
        new_clusters: meant.new_clusters.clone(),
        unmounted: meant.unmounted.iter().map(|path| path.0.clone()).collect(),
        adopt: meant.adopt,
        ..request
    };
    let occasion = Occasion {
        run: Some(run.to_string()),
        now: Some(meant.started),
        host: meant.host.clone(),
        reads: meant.reads.iter().map(|(path, text)| (path.0.clone(), text.clone())).collect(),
        level: meant.highest,
        only: meant.only.clone(),
        not_due: meant.not_due.clone(),
        rehearse: meant.rehearse.clone(),
    };
    let mut context = prepare_again(request, host, (run, meant.started), occasion, id)?;
    (context.imprint.nonce, context.imprint.plan) = (meant.nonce, meant.plan);
    let whole = RealRun::new((context, lock), Arc::clone(observer));
    let whole = whole.resumed(facts, &execution).map_err(trouble)?;
    Ok((whole, meant, execution))
}

/// The windows that are open by now and have a timeout, and until when.
fn open_windows(
    whole: &RealRun,
    graph: &StepGraph,
    standing: &Execution,
) -> Result<BTreeMap<usize, (String, Instant)>, PrepareError> {
    let context = &whole.context;
    let journal = context.folders.journal(&context.imprint.run.to_string());
    let entered = journal::entered(&journal).map_err(trouble)?;
    let mut open = BTreeMap::new();
    for step in graph.iter() {
        let Action::Leave(at) = step.action else { continue };
        let Some((name, seconds)) = whole.time_of(at).filter(|_| !standing.steps.contains_key(&step.id))
        else {
            continue;
        };
        if let Some(since) = entered.get(&name) {
            let passed =
                Duration::try_from(context.request.clock.now().duration_since(*since)).unwrap_or_default();
            open.insert(at, (name, Instant::now() + Duration::from_secs(seconds).saturating_sub(passed)));
        }
    }
    Ok(open)
}

/// Keeps what the step came to, and says it.
fn end(
    whole: &RealRun,
    graph: &StepGraph,
    step: &Step,
    meant: Meant,
    mut execution: Execution,
    before: usize,
) -> Result<StepEnd, PrepareError> {
    let (run, signal, busy) = (meant.run, execution.signal, execution.busy);
    let (outcome, reason) = match execution.steps.get(&step.id).map(|ended| &ended.outcome) {
        Some(outcome) => (outcome.clone(), outcome.told().1.map(str::to_owned)),
        None => (Outcome::NotRun("stopped".to_owned()), None),
    };
    let warnings = whole.records.facts().warnings.get(before..).unwrap_or_default().to_vec();
    let verdict = match (&outcome, signal) {
        (_, Some(StopSignal::Interrupt)) => Verdict::Interrupted,
        (_, Some(StopSignal::Terminate)) => Verdict::Terminated,
        _ if busy => Verdict::Busy,
        (Outcome::Failed(_), None) if !is_late_action(&step.action) => Verdict::Failed,
        (Outcome::Failed(_), None) => Verdict::Warnings,
        _ if !warnings.is_empty() => Verdict::Warnings,
        _ => Verdict::Done,
    };
    // What was stopped, or kept from being begun, may be done again.
    let is_over = signal.is_none() && !busy;
    if !is_over {
        execution.steps.remove(&step.id);
    }
    let is_last = graph.iter().all(|step| execution.steps.contains_key(&step.id));
    let next = graph.iter().filter(|next| {
        !execution.steps.contains_key(&next.id)
            && next.needs.iter().all(|need| execution.steps.contains_key(need))
    });
    let next = next.map(|step| step.id.0.clone()).collect();
    let path = path(&whole.context.folders.alone(), &run);
    let report = if is_last {
        let report = whole.finish(&execution);
        fs::remove_file(&path).or_else(ignore_missing).map_err(trouble)?;
        Some(report)
    } else {
        if is_over {
            let facts = Facts::clone(&whole.records.facts());
            keep(&path, &Kept { meant, execution, facts }).map_err(trouble)?;
        }
        None
    };
    Ok(StepEnd { run: run.to_string(), step: step.id.0.clone(), verdict, reason, warnings, next, report })
}

fn digest(request: &Request) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (path, text) in &request.files {
        add(path.as_os_str().as_encoded_bytes());
        add(text.as_bytes());
    }
    for (name, value) in &request.parameters {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn path(folder: &Path, run: &RunId) -> PathBuf {
    folder.join(format!("{run}.json"))
}

fn trouble(error: io::Error) -> PrepareError {
    PrepareError::Over(format!("the record of the run: {error}"))
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The record of a run that can go on.
fn read(folders: &Folders, run: &RunId) -> Result<Kept, PrepareError> {
    let over = |why: &str| PrepareError::Over(format!("run {run}: {why}"));
    let bytes = match fs::read(path(&folders.alone(), run)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(over("there is none that was begun by `plan step` on this host, or it is over"));
        }
        Err(error) => return Err(trouble(error)),
    };
    match journal::is_open(&folders.journal(&run.to_string())) {
        Ok(true) => {}
        Ok(false) => {
            return Err(over("it is over, or another run has taken back what it had begun: begin a new one"));
        }
        Err(error) => return Err(trouble(error)),
    }
    serde_json::from_slice(&bytes).map_err(|error| over(&format!("its record is damaged: {error}")))
}

/// Writes the record; it is the old one or the new one, whatever happens.
fn keep(path: &Path, kept: &Kept) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_private(folder)?;
    let bytes = serde_json::to_vec(kept)?;
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Deletes the records of other runs: from here on none of their steps is done any more.
///
/// # Errors
/// When what is kept of one cannot be removed.
pub(super) fn forget_others(folder: &Path, own: &RunId) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        // What else lies there is somebody's: the folder may be a link.
        let run = path.file_stem().and_then(|name| name.to_str()?.parse::<RunId>().ok());
        let is_record = path.extension().is_some_and(|ending| ending == "json" || ending == "tmp");
        if is_record && run.is_some_and(|run| run != *own) {
            fs::remove_file(path).or_else(ignore_missing)?;
        }
    }
    Ok(())
}
