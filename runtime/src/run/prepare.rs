//! From a request to a graph of steps: everything that must be known before the first step, read without changing
//! anything but, for a real run, taking this host's lock on the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backplan_compiler::Laid;
use backplan_compiler::finding::Severity;
use backplan_compiler::graph::{Action, Occasion, StepId};
use backplan_compiler::lower::{LowerError, fill, lower, needed_reads, zone};
use backplan_compiler::model::{Model, SourceId, Store as Declared, StoreId};
use backplan_compiler::value::Text;
use jiff::Timestamp;

use super::context::Context;
use super::facts::Imprint;
use super::files::RunFiles;
use super::levels::{Levels, Stores, levels, not_due};
use super::mounts;
use super::request::{Clock, Request, unusable_keys};
use super::staging::Staging;
use super::watch::{Runs, Watch};
use crate::backups::BackupsError;
use crate::backups::shelf::Shelf;
use crate::catalog::fitness::Asker;
use crate::catalog::host::{HostLock, HostLockError, HostState, Note, PlanState, StateError};
use crate::catalog::identity::{IdentityError, may_be_made};
use crate::catalog::ids::{Nonce, RunId, Uuid};
use crate::catalog::layout::{Layout, artefact_name};
use crate::catalog::made::Made;
use crate::catalog::manifest::HostRef;
use crate::catalog::mounted::Expected;
pub use crate::catalog::sequence::{highest_in, most_believed};
use crate::machine::host_name;
use crate::past::cache::Cache;
use crate::past::history;
use crate::past::state::Folders;
use crate::places::world;
use crate::postgres::pgbackrest::settings;
use crate::programs::secrets::Secrets;
use crate::store::limit::Limit;
use crate::store::{self, StoreErrorKind};

/// Bytes of a first line that `read` takes at the most.
const LINE: u64 = 4096;

/// Why a run may not begin. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Nothing can be encrypted for a key of the plan.
    #[error("plan `{plan}` has keys that nothing can be encrypted for:\n  {}", reasons.join("\n  "))]
    Keys {
        /// The plan.
        plan: String,
        /// Which.
        reasons: Vec<String>,
    },
    /// A tool's own settings say otherwise than the plan.
    #[error("what the plan and the settings of its tools say does not go together:\n  {}", reasons.join("\n  "))]
    Conflict {
        /// In what.
        reasons: Vec<String>,
    },
    /// What the plan names leads to places that would eat one another.
    #[error("paths of the plan lead to places that do not go together:\n  {}", reasons.join("\n  "))]
    Places {
        /// Which, and what to do.
        reasons: Vec<String>,
    },
    /// Nothing would be backed up.
    #[error("plan `{0}` has no archive: nothing would be backed up")]
    Nothing(String),
    /// `--only` names no source.
    #[error("there is no source `{name}`; the plan has {}", known.join(", "))]
    UnknownSource {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// `--new-cluster` names no Postgres source.
    #[error("there is no Postgres source `{0}`, whose cluster could be new")]
    NoCluster(String),
    /// `--unmounted` names nothing that is known.
    #[error("no source is known to have been on a file system that was mounted at `{}`", .0.display())]
    NotMissed(PathBuf),
    /// `--accept` names a source that lost nothing.
    #[error(
        "source `{source_name}` has lost nothing that is told of: `plan status` tells of what has{}",
        unread.iter().map(|why| format!("; not looked at: {why}")).collect::<String>()
    )]
    NotLost {
        /// The source.
        source_name: String,
        /// Why stores could not be looked at.
        unread: Vec<String>,
    },
    /// `--accept` names a run that nothing is told of.
    #[error(
        "run `{run}` is none of which anything is to be accepted: `plan status` tells of those that are lost, or that this machine did not make{}",
        unread.iter().map(|why| format!("; not looked at: {why}")).collect::<String>()
    )]
    NotTold {
        /// The run.
        run: String,
        /// Why stores could not be looked at.
        unread: Vec<String>,
    },
    /// The plan means what cannot be.
    #[error("{0}")]
    Plan(String),
    /// Something that the plan reads could not be read.
    #[error("{0}")]
    Read(String),
    /// There is no such run, or nothing of it can be done any more.
    #[error("{0}")]
    Over(String),
    /// Another run of the plan goes on.
    #[error("{0}")]
    Busy(String),
    /// Local state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A run that is prepared, or is to be a little later.
pub(crate) enum Prepared {
    /// It may begin, under the lock on its plan.
    Ready(Box<Context>, HostLock),
    /// An artefact would have the name that one of a run just made has; in so long it would not.
    Soon(Duration),
}

/// Prepares a run that will happen: with the plan's lock. One that is not `patient` begins though its artefacts may have the names of
/// others.
///
/// # Errors
/// See [`PrepareError`].
pub(crate) fn prepare_run(request: Request, patient: bool) -> Result<Prepared, PrepareError> {
    admit(&request)?;
    let host = HostState::open(&request.state)?;
    let started = request.clock.now();
    let note = |run: &RunId| Note {
        plan: request.model.name.clone(),
        run: run.to_string(),
        pid: std::process::id(),
        since: started,
    };
    let guess = run_id(host.plan(&request.model.name, &request.model.file)?.sequence(), started)?;
    let lock = match HostLock::plan(&host, &request.model.file, &note(&guess)) {
        Ok(lock) => lock,
        Err(busy @ HostLockError::Busy { .. }) => return Err(PrepareError::Busy(busy.to_string())),
        Err(HostLockError::State(error)) => return Err(error.into()),
    };
    // One that failed before it came to a store is known here alone.
    let here = history::newest(&host.plan(&request.model.name, &request.model.file)?, None);
    let stored = last_start(&request.model);
    if let (Clock::System, Some(last), true) = (request.clock, stored, patient)
        && let Some(next) = other_minute(&request.model, last, request.clock.now())
    {
        let wait = next.duration_since(request.clock.now());
        return Ok(Prepared::Soon(Duration::try_from(wait).unwrap_or_default()));
    }
    let last = stored.max(here.map(|run| run.started()));
    let started = other_second(request.clock, started, last);
    Ok(Prepared::Ready(Box::new(prepare(request, host, started)?), lock))
}

/// The next minute, where a run that begins now would give an artefact the time that it has in one of a run which began `last`, and
/// one that begins then would not; `None`: it may begin now, or no minute helps.
fn other_minute(model: &Model, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let next = Timestamp::from_second((now.as_second().div_euclid(60) + 1) * 60).ok()?;
    let zone = zone(model);
    let filled = |text: &Text, at: Timestamp| {
        fill(text, &Occasion { now: Some(at), ..Occasion::default() }, &zone).ok()
    };
    let mut names = model.archives.iter().filter_map(|archive| archive.file_name.as_ref());
    let is_taken = |text: &Text| {
        let then = filled(text, last);
        filled(text, now) == then && filled(text, next) != then
    };
    names.any(is_taken).then_some(next)
}

/// When the last run began that a reachable store knows of.
fn last_start(model: &Model) -> Option<Timestamp> {
    let layout = Layout::new(&model.name).ok()?;
    let in_store = |declared| {
        let opened = store::open(declared, &Secrets::default()).ok()?;
        let named = |folder| opened.entries(&folder).unwrap_or_default();
        let manifests = named(layout.manifests()).into_iter();
        let runs = manifests.filter_map(|entry| layout.run_of_manifest(&entry.name));
        runs.max_by_key(RunId::started).map(|run| run.started())
    };
    model.stores.iter().filter_map(in_store).max()
}

/// Now, or the next second where a run began in this one: names of artefacts tell runs apart by their seconds.
fn other_second(clock: Clock, now: Timestamp, last: Option<Timestamp>) -> Timestamp {
    let mut now = now;
    while matches!(clock, Clock::System) && last.is_some_and(|last| last.as_second() == now.as_second()) {
        let rest = 1_000_000_000 - i64::from(now.subsec_nanosecond());
        std::thread::sleep(Duration::from_nanos(u64::try_from(rest).unwrap_or(0)));
        now = clock.now();
    }
    now
}

/// Keeps for `plan status` that a run could not begin. Not where another one goes on, or where the plan or the command line
/// asks for what cannot be: that is said to whoever wrote it.
pub(super) fn remember_refused(request: &Request, error: &PrepareError) {
    if matches!(
        error,
        PrepareError::Busy(_)
            | PrepareError::UnknownSource { .. }
            | PrepareError::NoCluster(_)
            | PrepareError::NotMissed(_)
            | PrepareError::NotLost { .. }
            | PrepareError::NotTold { .. }
            | PrepareError::Keys { .. }
    ) {
        return;
    }
    let plan =
        HostState::open(&request.state).and_then(|host| host.plan(&request.model.name, &request.model.file));
    if let Ok(plan) = plan {
        // The run has failed as it is, and where this cannot be kept there is nowhere else.
        let _ = history::refused(&plan, request.clock.now(), &error.to_string());
    }
}

/// Prepares a run that is only to be shown: nothing is written, nothing locked.
///
/// # Errors
/// See [`PrepareError`].
pub(crate) fn prepare_forecast(request: Request) -> Result<Context, PrepareError> {
    admit(&request)?;
    let host = HostState::foresee(&request.state)?;
    host.plan(&request.model.name, &request.model.file)?.see_usable()?;
    let now = request.clock.now();
    let last = last_start(&request.model);
    let minute = last.and_then(|last| other_minute(&request.model, last, now));
    let started = match (request.clock, last) {
        // The run itself would wait for it, and so for the next second.
        (Clock::System, _) if let Some(minute) = minute => minute,
        (Clock::System, Some(last)) if last.as_second() == now.as_second() => {
            now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(now)
        }
        _ => now,
    };
    prepare(request, host, started)
}

pub(super) fn admit(request: &Request) -> Result<(), PrepareError> {
    let plan = || request.model.name.clone();
    let reasons = unusable_keys(&request.model);
    if !reasons.is_empty() {
        return Err(PrepareError::Keys { plan: plan(), reasons });
    }
    if request.model.archives.is_empty() && request.model.separates.is_empty() {
        return Err(PrepareError::Nothing(plan()));
    }
    let is_cluster = |name: &&String| {
        let mut sources = request.model.sources.iter();
        sources.any(|source| source.name == **name && source.postgres().is_some())
    };
    if let Some(name) = request.new_clusters.iter().find(|name| !is_cluster(name)) {
        return Err(PrepareError::NoCluster(name.clone()));
    }
    let is_wanted = |name: &str| request.only.is_empty() || request.only.contains(name);
    let conflicts = settings::conflicts(&request.model, &is_wanted, &host_name());
    if !conflicts.is_empty() {
        return Err(PrepareError::Conflict {
            reasons: conflicts.into_iter().map(|(_, text)| text).collect(),
        });
    }
    let (mut wrong, _) = places(&request.laid);
    if !wrong.is_empty() {
        let staging = request.model.staging.as_ref();
        let refused = staging.and_then(|staging| Staging::look(staging, request.around()).err());
        wrong.extend(refused.map(|error| error.to_string()));
        return Err(PrepareError::Places { reasons: wrong });
    }
    Ok(())
}

/// What links and mounts make of the paths of a plan and keeps it from running, as a run would say it.
pub fn misplaced(laid: &Laid) -> Vec<String> {
    places(laid).0
}

/// What links and mounts make of the paths of a plan: what keeps it from running, and what is worth knowing.
fn places(laid: &Laid) -> (Vec<String>, Vec<String>) {
    let (mut wrong, mut told) = (Vec::new(), Vec::new());
    for finding in world::findings(laid) {
        let help = finding.help.map(|help| format!("; {help}")).unwrap_or_default();
        let list = if finding.severity == Severity::Error { &mut wrong } else { &mut told };
        list.push(format!("{}{help}", finding.message));
    }
    (wrong, told)
}

/// What a person should know of a plan that others may change, where root runs it.
pub(super) fn doubts(laid: &Laid) -> Vec<String> {
    let obeyed = world::obeyed(laid).into_iter();
    let told = obeyed.map(|(path, _, distrust)| {
        format!("root does what `{}` says: {distrust}; {}", path.display(), distrust.mend())
    });
    told.collect()
}

fn prepare(request: Request, host: HostState, started: Timestamp) -> Result<Context, PrepareError> {
    let model = &request.model;
    let plan = host.plan(&model.name, &model.file)?;
    let layout = layout_of(model)?;
    let run = run_id(highest_sequence(&request, &layout, plan.sequence()), started)?;
    let stores = stores(&request, &host, &plan);
    let not_due = not_due(model, &request.only, &stores, started);
    let reads = read_all(&needed_reads(model))?;
    let rehearse = Some(super::steps::rehearse::due(model, stores.shelves.values(), started));
    let occasion = |levels: &Levels| Occasion {
        run: Some(run.to_string()),
        now: Some(started),
        host: Some(host_name()),
        reads,
        level: Some(levels.highest()),
        only: request.only.clone(),
        not_due: not_due.clone(),
        rehearse,
    };
    let found = found(&request, &plan, &stores, &not_due, started)?;
    let occasion = occasion(&found.levels);
    assemble(request, host, plan, (run, started), found, occasion)
}

/// Prepares to go on with a run that an earlier process has begun, as it was meant then: the stores hold what they held, but
/// for what the run itself has brought.
///
/// # Errors
/// See [`PrepareError`].
pub(super) fn prepare_again(
    request: Request,
    host: HostState,
    begun: (RunId, Timestamp),
    occasion: Occasion,
    id: &StepId,
) -> Result<Context, PrepareError> {
    let plan = host.plan(&request.model.name, &request.model.file)?;
    let graph = lower(&request.model, &occasion).map_err(|error| refused(&request.model, error))?;
    let action = graph.get(id).map(|step| &step.action);
    // A store is taken over where it is locked. One that is another's behind that became so meanwhile.
    let takes_over = matches!(action, Some(Action::LockHost | Action::LockStore(_)));
    let adopted = request.adopt;
    let request = Request { adopt: request.adopt && takes_over, ..request };
    let model = &request.model;
    // Opening and closing windows, and the staging, wait for no store.
    let mut stores = match action {
        Some(Action::Enter(_) | Action::Leave(_) | Action::ClearStaging(_)) => Stores::default(),
        _ => stores(&request, &host, &plan),
    };
    // Before its own run is taken away, by the step that tells of it.
    let runs = match action {
        Some(Action::Recover) => Runs::of(model, &plan, &stores, adopted),
        _ => Runs::default(),
    };
    stores.shelves.values_mut().for_each(|shelf| shelf.catalog.remove(&begun.0));
    let found = found(&request, &plan, &stores, &occasion.not_due, begun.1)?;
    // A store that is away is waited for by the step that needs it.
    let found = Found { watch: Watch { runs, ..found.watch }, away: BTreeMap::new(), ..found };
    assemble(request, host, plan, begun, found, occasion)
}

fn layout_of(model: &Model) -> Result<Layout, PrepareError> {
    Layout::new(&model.name).map_err(|error| PrepareError::Plan(error.to_string()))
}

/// What the stores, and this host's memory, make of a run.
struct Found {
    levels: Levels,
    mounts: Expected,
    watch: Watch,
    away: BTreeMap<StoreId, String>,
}

fn found(
    request: &Request,
    plan: &PlanState,
    stores: &Stores,
    not_due: &BTreeSet<SourceId>,
    started: Timestamp,
) -> Result<Found, PrepareError> {
    let levels = levels(request, stores, &Cache::new(plan.folder()), not_due, started);
    let catalogs = stores.shelves.values().map(|shelf| &shelf.catalog);
    let known = |given_up: &[PathBuf]| mounts::expected(&request.model, Some(plan), &catalogs, given_up);
    let mounts = known(&request.unmounted)?;
    let before = if request.unmounted.is_empty() { mounts.clone() } else { known(&[])? };
    let watch = Watch::of(&request.model, plan, stores, request.adopt, started).giving_up(
        &request.model,
        &before,
        &mounts,
    );
    Ok(Found { levels, mounts, watch, away: stores.away.clone() })
}

fn assemble(
    request: Request,
    host: HostState,
    plan: PlanState,
    (run, started): (RunId, Timestamp),
    Found { levels, mounts, watch, away }: Found,
    occasion: Occasion,
) -> Result<Context, PrepareError> {
    let model = &request.model;
    let layout = layout_of(model)?;
    let graph = lower(model, &occasion).map_err(|error| refused(model, error))?;
    let mut seen = BTreeSet::new();
    for name in graph.artefact_names.values() {
        artefact_name(name).map_err(|error| PrepareError::Plan(error.to_string()))?;
        if !seen.insert(name) {
            let text =
                format!("two archives of this run would both be written to `{name}`; give them other names");
            return Err(PrepareError::Plan(text));
        }
    }
    let (_, mut told) = places(&request.laid);
    told.extend(occasion.not_due.iter().map(|source| waits(model, *source)));
    let folders = Folders::new(plan.folder());
    Ok(Context {
        begun: Instant::now(),
        imprint: Imprint {
            run,
            nonce: Nonce::random(),
            plan: plan.id().unwrap_or_else(Uuid::random),
            host: HostRef { machine: host.machine(), name: host_name() },
            started,
            finished: started,
        },
        files: RunFiles::of(model, &folders, &run.to_string()),
        limit: model.limits.bandwidth.map(Limit::new).map(Arc::new),
        levels: Arc::new(levels),
        plan: Mutex::new(plan),
        graph: Arc::new(graph),
        secrets: Secrets::default(),
        is_resumed: false,
        away,
        folders,
        told,
        watch,
        mounts,
        occasion,
        host,
        layout,
        request,
    })
}

/// What is told of a source that a run leaves to a later one.
fn waits(model: &Model, source: SourceId) -> String {
    let name = &model.source(source).name;
    format!(
        "source `{name}` is not due by its own schedule; `plan run --only {name}` backs it up all the same"
    )
}

/// The stores that this run can use, with the runs that they hold, and those that are new. What keeps it from another is told where
/// that is locked.
fn stores(request: &Request, host: &HostState, plan: &PlanState) -> Stores {
    let model = &request.model;
    // Where it cannot be read, the run says so when it commits.
    let made = Made::load(plan.folder()).unwrap_or_default();
    let mut stores = Stores { made, ..Stores::default() };
    let asker = Asker::running(host, plan, request.adopt);
    for (id, store) in model.each_store() {
        let known = plan.known(&store.name, &store.location());
        match Shelf::declared(store, &model.name) {
            Ok(shelf) => match asker.refusal(model, store, shelf.store.as_ref()) {
                None => drop(stores.shelves.insert(id, shelf)),
                // A mount point in which there is nothing yet looks like this.
                Some(error @ IdentityError::WrongDisk { .. }) => {
                    stores.away.insert(id, error.to_string());
                }
                Some(_) => {}
            },
            Err(error) => {
                stores.away.extend(why_away(store, error, known, request.adopt).map(|why| (id, why)));
                // One that this host has used is away; another will be made.
                if known.is_none() || request.adopt {
                    stores.new.insert(id);
                }
            }
        }
    }
    stores
}

/// What is said of a store that is not there, or does not answer; `None`: it will be made, or is there and has another trouble.
fn why_away(declared: &Declared, error: BackupsError, known: Option<Uuid>, adopt: bool) -> Option<String> {
    match error {
        BackupsError::Store(error) if error.kind == StoreErrorKind::Absent => {
            may_be_made(declared, known, adopt).err().map(|error| error.to_string())
        }
        BackupsError::Store(error) => error.kind.is_away().then(|| error.to_string()),
        _ => None,
    }
}

fn refused(model: &Model, error: LowerError) -> PrepareError {
    match error {
        LowerError::UnknownSource(name) => {
            let known = model.sources.iter().map(|source| format!("`{}`", source.name)).collect();
            PrepareError::UnknownSource { name, known }
        }
        LowerError::Unfilled(text) => PrepareError::Plan(format!("cannot fill in {text}")),
        LowerError::Loop(steps) => {
            let steps: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
            let text = format!("these steps wait for one another, because of `after`: {}", steps.join(", "));
            PrepareError::Plan(text)
        }
    }
}

fn run_id(last: u32, started: Timestamp) -> Result<RunId, PrepareError> {
    RunId::new(last.saturating_add(1), started).map_err(|error| PrepareError::Plan(error.to_string()))
}

/// The highest sequence that any reachable store, or this host, has seen.
fn highest_sequence(request: &Request, layout: &Layout, remembered: u32) -> u32 {
    let mut highest = remembered;
    let most = most_believed(remembered, request.adopt);
    for declared in &request.model.stores {
        // What keeps a store from being read is for its own step to say: the others are no worse for it. Should it be
        // readable by then, its step looks at the sequence again.
        let Ok(opened) = store::open(declared, &Secrets::default()) else { continue };
        highest = highest.max(highest_in(opened.as_ref(), layout, most, None).unwrap_or(0));
    }
    highest
}

/// First lines of the files that a plan's texts read.
///
/// # Errors
/// [`PrepareError::Read`].
pub fn reads(model: &Model) -> Result<BTreeMap<PathBuf, String>, PrepareError> {
    read_all(&needed_reads(model))
}

fn read_all(paths: &BTreeSet<PathBuf>) -> Result<BTreeMap<PathBuf, String>, PrepareError> {
    paths.iter().map(|path| Ok((path.clone(), first_line(path)?))).collect()
}

/// The first line of a file, without its end and the blanks around it.
fn first_line(path: &Path) -> Result<String, PrepareError> {
    let failed = |cause: String| {
        let text = format!(
            "`read(\"{}\")`: {cause}; the plan takes a name from this file's first line",
            path.display()
        );
        PrepareError::Read(text)
    };
    let file = crate::regular::open(path).map_err(|cause| failed(cause.to_string()))?;
    let mut line = String::new();
    BufReader::new(file.take(LINE)).read_line(&mut line).map_err(|cause| failed(cause.to_string()))?;
    let line = line.trim();
    if line.is_empty() { Err(failed("its first line is empty".to_owned())) } else { Ok(line.to_owned()) }
}
