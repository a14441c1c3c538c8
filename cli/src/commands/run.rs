//! `plan run`

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use backplan_compiler::due;
use backplan_compiler::lower::level_word;
use backplan_compiler::model::Level;
use backplan_compiler::sources::{Place, SourceSet};
use backplan_compiler::value::EnvValue;
use backplan_runtime::load;
use backplan_runtime::past::state;
use backplan_runtime::run::coordinator::StopSignal;
use backplan_runtime::run::dry::forecast;
use backplan_runtime::run::event::Observer;
use backplan_runtime::run::prepare::PrepareError;
use backplan_runtime::run::report::{Report, Verdict};
use backplan_runtime::run::request::{Clock, Request};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::fleet;
use super::plan::{Ready, ready};
use super::stop::signals_aside;
use crate::args::{Asked, Format, Global, RunArgs, WantedLevel};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::progress;
use crate::render::{json, run as rendered};

/// Fixes the time that a run believes it to be, so that a test can hold two runs against each other.
const CLOCK: &str = "BACKPLAN_NOW";

/// Runs a plan, or shows what a run would do.
///
/// # Errors
/// Where the run could not begin.
pub fn execute(args: &RunArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let ended = match args.plans.is_several() {
        true if args.as_job => {
            Err(Failure::usage("a job is a run of one plan").help("give each plan a job of its own"))
        }
        true => fleet::run(args, global, console),
        false if args.as_job => super::job::execute(args, global, console),
        false => one(args, global, console),
    };
    let Some(path) = &args.metrics else { return ended };
    // Numbers are worth the most where a run failed, and change nothing of what it came to.
    let written = super::status::write_numbers(&args.plans, path, global);
    match (written, ended) {
        (Ok(()), ended) => ended,
        (Err(failure), ended) => {
            let help = failure.help.map(|help| format!("; {help}")).unwrap_or_default();
            console.remark("warning", &format!("{}{help}", failure.message));
            Ok(match ended? {
                Status::Done => Status::Warnings,
                ended => ended,
            })
        }
    }
}

fn one(args: &RunArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    match begun(args, global, console)? {
        Begun::Displaced(words) => {
            console.say(&format!("{words}\n"));
            Ok(Status::Done)
        }
        Begun::Request(request) if args.dry_run => show(args, *request, console),
        Begun::Request(request) => {
            let report = made(global, *request, console)?;
            tell(args, global, &report, console);
            Ok(status(report.verdict))
        }
    }
}

/// A run that may begin, or why there is none to make.
pub(super) enum Begun {
    /// All that it needs.
    Request(Box<Request>),
    /// A higher level is due at the same moment, in words.
    Displaced(String),
}

/// Reads the plan, and whether a run is to be made of it.
///
/// # Errors
/// Where the plan does not compile.
pub(super) fn begun(args: &RunArgs, global: &Global, console: &mut Console) -> Result<Begun, Failure> {
    let ready = ready(&args.plans.alone(), global, console)?.told(console);
    let request = request(&args.asked, global, ready)?;
    match displaced(&request).filter(|_| args.scheduled) {
        Some(by) => Ok(Begun::Displaced(format!("nothing is made: {by} is due at the same moment"))),
        None => Ok(Begun::Request(Box::new(request))),
    }
}

/// What else is due at the moment that a timer started this for, and makes it needless.
fn displaced(request: &Request) -> Option<String> {
    let (model, now) = (&request.model, request.clock.now());
    let alone = match request.only.iter().collect::<Vec<_>>().as_slice() {
        [name] => model.separates.iter().map(|own| own.source).find(|own| model.source(*own).name == **name),
        _ => None,
    };
    let own = alone.and_then(|source| model.own_schedule(source));
    let higher = request.level.and_then(|level| due::displaced(own.or(model.schedule.as_ref())?, level, now));
    let higher = higher.map(|higher| format!("a {}", level_word(higher)));
    let along = alone.filter(|source| due::goes_along(model, *source, now));
    higher.or_else(|| along.map(|_| "the plan's own run, which takes the source along,".to_owned()))
}

/// A run of a plan that compiles.
///
/// # Errors
/// Where there is no place for its state.
pub(super) fn request(args: &Asked, global: &Global, ready: Ready) -> Result<Request, Failure> {
    let state = state::root().map_err(|error| {
        Failure::new(error.to_string()).help("set HOME or XDG_STATE_HOME for the account that runs the plan")
    })?;
    Ok(Request {
        files: redacted(&ready.sources, &ready.inline_secrets),
        parameters: global
            .params
            .iter()
            .map(|binding| (binding.name.clone(), shown(&binding.value, &binding.name, &ready)))
            .collect(),
        model: ready.model,
        laid: ready.laid,
        level: match args.level {
            WantedLevel::Auto => None,
            WantedLevel::Full => Some(Level::Full),
            WantedLevel::Differential => Some(Level::Differential),
            WantedLevel::Incremental => Some(Level::Incremental),
        },
        only: args.only.iter().cloned().collect(),
        new_clusters: args.new_cluster.iter().cloned().collect(),
        unmounted: mount_points(&args.unmounted)?,
        adopt: args.adopt,
        state,
        home: env::home_dir(),
        clock: clock()?,
    })
}

/// As absolute paths.
fn mount_points(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let current = env::current_dir()
        .map_err(|error| Failure::new(format!("the current folder cannot be told: {error}")))?;
    Ok(given.iter().map(|path| load::normalize(&current.join(path))).collect())
}

/// The value of a parameter as a manifest may hold it. One that became a part of a secret is a secret too.
fn shown(value: &str, name: &str, ready: &Ready) -> String {
    let in_secret =
        |(_, set): &(String, EnvValue)| matches!(set, EnvValue::Secret(secret) if secret.holds(value));
    let in_secret = ready.model.environments().flatten().any(in_secret);
    if ready.secret_params.contains(name) || in_secret { "(secret)".to_owned() } else { value.to_owned() }
}

/// The texts of a plan without the secrets written into them.
fn redacted(sources: &SourceSet, secrets: &[Place]) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for (id, file) in sources.iter() {
        let mut text = file.text.clone();
        let mut spans: Vec<_> =
            secrets.iter().filter(|place| place.file == id).map(|place| place.span).collect();
        spans.sort();
        spans.dedup();
        for span in spans.into_iter().rev() {
            if text.get(span.start..span.end).is_some() {
                text.replace_range(span.start..span.end, "\"(secret)\"");
            }
        }
        files.push((file.path.clone(), text));
    }
    files
}

pub(super) fn clock() -> Result<Clock, Failure> {
    match env::var(CLOCK) {
        Err(_) => Ok(Clock::System),
        Ok(text) => match text.parse::<Timestamp>() {
            Ok(at) => Ok(Clock::Fixed(at)),
            Err(_) => Err(Failure::usage(format!("`{CLOCK}` is `{text}`, which is not a time"))
                .help("unset it: it is for tests; a time looks like `2026-11-20T02:30:00Z`")),
        },
    }
}

fn show(args: &RunArgs, request: Request, console: &mut Console) -> Result<Status, Failure> {
    let forecast = forecast(request).map_err(refused)?;
    match args.format {
        Format::Human => console.answer(&rendered::forecast(&forecast, console.answers())),
        Format::Json => console.answer(&json::document(&forecast)),
    }
    Ok(status(forecast.verdict))
}

/// Makes a run.
///
/// # Errors
/// Where it may not begin.
pub(super) fn made(global: &Global, request: Request, console: &mut Console) -> Result<Report, Failure> {
    let observer: Arc<dyn Observer> = Arc::from(progress::observer(console.errors(), global.quiet));
    #[cfg(feature = "otlp")]
    return super::trace::traced(request, observer, console, watched);
    #[cfg(not(feature = "otlp"))]
    watched(request, observer)
}

/// Makes a run while somebody watches.
fn watched(request: Request, observer: Arc<dyn Observer>) -> Result<Report, Failure> {
    listening(async |signals| backplan_runtime::run::run(request, observer, signals).await.map_err(refused))
}

/// Does something that signals stop.
pub(super) fn listening<T>(
    work: impl AsyncFnOnce(mpsc::Receiver<StopSignal>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let aside = signals_aside();
    runtime.block_on(async {
        // Without a thread of their own they are heard once the stores have been looked at.
        let signals = aside
            .or_else(|_| signals())
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        work(signals).await
    })
}

/// Shows what a run came to.
pub(super) fn tell(args: &RunArgs, global: &Global, report: &Report, console: &mut Console) {
    match args.format {
        // Who says quiet hears of what went wrong.
        Format::Human if global.quiet && report.verdict == Verdict::Done => {}
        Format::Human => console.answer(&rendered::report(report, console.answers())),
        Format::Json => console.answer(&json::document(report)),
    }
}

/// The status that tells of a run's end; that a dry run ends with too.
pub(super) fn status(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Done => Status::Done,
        Verdict::Warnings => Status::Warnings,
        Verdict::Failed => Status::Failed,
        Verdict::Busy => Status::Locked,
        Verdict::Interrupted => Status::Interrupted,
        Verdict::Terminated => Status::Terminated,
    }
}

/// SIGINT, SIGTERM and SIGHUP, as far as they are not ignored (`nohup`). A second one is as good as the first: what is being
/// closed is closed.
pub(super) fn signals() -> std::io::Result<mpsc::Receiver<StopSignal>> {
    let (send, receive) = mpsc::channel(4);
    let kinds = [
        (SignalKind::interrupt(), StopSignal::Interrupt),
        (SignalKind::terminate(), StopSignal::Terminate),
        (SignalKind::hangup(), StopSignal::Terminate),
    ];
    for (kind, meaning) in kinds.into_iter().filter(|(kind, _)| !is_ignored(kind.as_raw_value())) {
        let (mut stream, send) = (signal(kind)?, send.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if send.send(meaning).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receive)
}

/// Whether whoever started this program wants it not to hear of a signal.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal - 1) & 1 == 1
}

/// Why a run may not begin, and with which status.
pub(super) fn refused(error: PrepareError) -> Failure {
    let status = match &error {
        PrepareError::Busy(_) => Status::Locked,
        PrepareError::State(_)
        | PrepareError::Read(_)
        | PrepareError::Over(_)
        | PrepareError::Conflict { .. }
        | PrepareError::Places { .. } => Status::Failed,
        _ => Status::Usage,
    };
    let help = match &error {
        PrepareError::Keys { .. } => Some("write them again, as the programs that made them print them"),
        PrepareError::Busy(_) => Some("wait for it to end; a run that died holds no lock"),
        PrepareError::State(error) => error.mend(),
        PrepareError::Nothing(_) => Some("declare an `archive`"),
        _ => None,
    };
    Failure { status, message: error.to_string(), help: help.map(str::to_owned) }
}
