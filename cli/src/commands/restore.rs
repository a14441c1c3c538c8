//! `plan restore`

use backplan_runtime::backups::restore::{Destination, RestoreWish, plan};
use backplan_runtime::backups::shelf::{ShelvedRun, Shelves};
use backplan_runtime::backups::unfinished::Unfinished;
use backplan_runtime::catalog::ids::RunId;
use backplan_runtime::control::Control;
use backplan_runtime::extract::Existing;
use backplan_runtime::machine::host_name;
use backplan_runtime::moment::shown;
use backplan_runtime::past::state;
use backplan_runtime::run::facts::places;
use backplan_runtime::text::printable;

use super::cluster;
use super::plan::ready;
use super::shelves::{choice, failure, open};
use super::stop::until_signal;
use crate::args::{Format, Global, RestoreArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{backups, json};

/// What is said to who asks for a time and not for a cluster.
const REPOSITORY: &str = "what is laid down is the tool's repository as it was then, and no cluster: for a cluster as of \
                          that time add `--start`, or `--target-action promote`";

/// Puts files of a backup back, or shows what that would do.
///
/// # Errors
/// When it cannot begin, or cannot go on.
pub fn execute(args: &RestoreArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let args = &resumed(args)?;
    let shelves = open(&args.place.plan, &args.place.store, global, console)?;
    let only = match args.sources.as_slice() {
        [source] => Some(source.as_str()),
        _ => None,
    };
    if let Some(status) = of_database(args, &shelves, global, console)? {
        return Ok(status);
    }
    if args.resume && args.at.is_some() {
        return Err(Failure::usage("`--resume` goes on with the run that was begun: leave `--at`"));
    }
    let choice = choice(&args.run, args.at.as_deref())?;
    let held = shelves.held(&choice, only).map_err(|error| failure(&error))?;
    let manifest = held.manifest;
    not_anothers(args, &shelves, manifest.run)?;
    let lacking = lacking(args, &shelves, &held);
    let doubts = shelves.doubts(&choice, manifest.run);
    for text in lacking.iter().chain(&doubts) {
        console.remark("warning", text);
    }
    let wish = wish(args, global, console)?;
    let restore = plan(&held, &wish).map_err(|error| failure(&error))?;
    // Nothing is written before everybody knows what will not be.
    for text in &restore.left {
        console.remark("warning", text);
    }
    chosen(manifest.run, &shelves, console);
    let control = Control::default();
    let (outcome, signal) = if args.dry_run {
        (restore.preview(), None)
    } else {
        until_signal(&control, || restore.carry_out(&control))?
    };
    if let Some(signal) = signal {
        stopped(manifest.run, args, console);
        return Ok(signal);
    }
    let mut outcome = outcome.map_err(|error| cut_short(failure(&error), args))?;
    for text in &outcome.warnings {
        console.remark("warning", text);
    }
    outcome.not_restored.splice(0..0, lacking);
    outcome.warnings.extend(doubts);
    match args.format {
        Format::Human => console.answer(&backups::restored(&outcome, args.dry_run, console.answers())),
        Format::Json => console.answer(&json::document(&outcome)),
    }
    let is_all = outcome.not_restored.is_empty() && outcome.warnings.is_empty();
    Ok(match (outcome.problem_count, is_all) {
        (1.., _) => Status::Failed,
        (0, false) => Status::Warnings,
        (0, true) => Status::Done,
    })
}

fn wish(args: &RestoreArgs, global: &Global, console: &mut Console) -> Result<RestoreWish, Failure> {
    Ok(RestoreWish {
        sources: args.sources.clone(),
        paths: args.paths.clone(),
        to: destination(args, global, console)?,
        existing: match (args.overwrite, args.resume) {
            (true, _) => Existing::Replace,
            (false, true) => Existing::Resume,
            (false, false) => Existing::Keep,
        },
        is_marked: true,
    })
}

/// A restore that the driver of the backup has a way of its own for; `None`: its files are put back as any others.
fn of_database(
    args: &RestoreArgs,
    shelves: &Shelves,
    global: &Global,
    console: &mut Console,
) -> Result<Option<Status>, Failure> {
    let Some(made) = cluster::made_by(args, shelves)? else { return Ok(None) };
    if let Some(driver) = cluster::driver_of(args, &made) {
        return cluster::execute(args, driver, shelves, global, console).map(Some);
    }
    cluster::refuse_recovery(args, &made.word)?;
    if made.facts().is_some_and(|facts| facts.has_repository) && args.at.is_some() {
        console.remark("note", REPOSITORY);
    }
    Ok(None)
}

/// What of the run, or of what is asked for, cannot come back.
fn lacking(args: &RestoreArgs, shelves: &Shelves, held: &ShelvedRun<'_>) -> Vec<String> {
    // Whoever names sources knows which; who does not must know what is not among them.
    let mut lacking = if args.sources.is_empty() { shelves.lacking(held) } else { Vec::new() };
    if args.paths.is_empty() {
        lacking.extend(shelves.in_part(held, &args.sources));
        lacking.extend(shelves.empty(held, &args.sources));
    }
    if args.paths.is_empty() && args.to.is_some() {
        lacking.extend(held.differences(&args.sources));
    }
    lacking
}

fn stopped(run: RunId, args: &RestoreArgs, console: &mut Console) {
    let next = if args.to.is_some() { "`--resume` goes on with it" } else { "restore again" };
    console.complain(&format!(
        "stopped: files that were complete stay, nothing half-written is left (run {run}); {next}\n"
    ));
}

/// What is said of a restore that came to an early end, where it can be gone on with.
pub(super) fn resumable(args: &RestoreArgs) -> Option<&'static str> {
    let mark = Unfinished::read(args.to.as_ref()?);
    matches!(mark, Ok(Some(_))).then_some("what is there stays, and `--resume` goes on with it")
}

/// A failure in the middle of a restore.
pub(super) fn cut_short(failure: Failure, args: &RestoreArgs) -> Failure {
    // The mark there is another's.
    if failure.status == Status::Locked {
        return failure;
    }
    let helps: Vec<&str> = failure.help.as_deref().into_iter().chain(resumable(args)).collect();
    let help = Some(helps.join("; ")).filter(|help| !help.is_empty());
    Failure { help, ..failure }
}

/// What was asked for; by who resumes, what was asked for then.
fn resumed(args: &RestoreArgs) -> Result<RestoreArgs, Failure> {
    let Some(folder) = args.to.as_ref().filter(|_| args.resume) else { return Ok(args.clone()) };
    let shown = folder.display();
    let failed = |text: String, help: &'static str| Failure::new(text).help(help);
    match Unfinished::read(folder) {
        Ok(Some(mark)) => Ok(RestoreArgs {
            run: mark.run.to_string(),
            sources: mark.sources.clone(),
            paths: mark.paths(),
            ..args.clone()
        }),
        Ok(None) => Err(failed(
            format!("`{shown}` is not what a restore left that did not end"),
            "leave `--resume`, for a new folder, or say `--overwrite`; what is there of a cluster that a tool put back, or that is \
             made of several backups, has to be removed",
        )),
        Err(cause) => Err(failed(
            format!("cannot resume a restore into `{shown}`: {cause}"),
            "restore into a new folder, or say `--overwrite`",
        )),
    }
}

/// Where files go: in place, where the plan has them, if there is one.
fn destination(args: &RestoreArgs, global: &Global, console: &mut Console) -> Result<Destination, Failure> {
    if let Some(folder) = &args.to {
        return Ok(Destination::Folder(folder.clone()));
    }
    let places = match super::shelves::is_alone(&args.place.plan, &args.place.store) {
        true => Vec::new(),
        false => places(&ready(&args.place.plan, global, console)?.model),
    };
    Ok(Destination::InPlace { places, as_recorded: args.as_recorded })
}

/// Refuses to put another machine's files in the place of this one's, unless it is said that this one takes its place.
fn not_anothers(args: &RestoreArgs, shelves: &Shelves, run: RunId) -> Result<(), Failure> {
    let other = shelves.anothers(run, state::root().ok().as_deref());
    let Some(other) = other.filter(|_| args.in_place && !args.adopt) else { return Ok(()) };
    let (host, own) = (printable(other.name.as_bytes()), host_name());
    let text =
        format!("run {run} is of machine `{host}`, and this is `{own}`: nothing of it is put in place here");
    Err(Failure::new(text).help(format!(
        "restore it with `--to DIR`; if this machine takes the place of `{host}`, or was called that, say `--adopt`; `plan list` \
         shows which machine each run is of"
    )))
}

/// Says which run it is, by its time and where it is another machine's by that, before anything is written.
pub fn chosen(run: RunId, shelves: &Shelves, console: &mut Console) {
    let other = shelves.anothers(run, state::root().ok().as_deref());
    let of = other.map(|host| format!(", of machine `{}`", printable(host.name.as_bytes())));
    let of = of.unwrap_or_default();
    console.say(&format!("from run {run}, which began at {}{of}\n", shown(run.started())));
}
