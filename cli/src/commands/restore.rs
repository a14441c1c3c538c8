//! `plan restore`

use backplan_runtime::control::Control;
use backplan_runtime::recall::restore::{Destination, Wish, plan};

use super::shelves::{choice, failure, open};
use super::stop::until_signal;
use crate::args::{Format, Global, RestoreArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{backups, json};

/// Puts files of a backup back, or shows what that would do.
///
/// # Errors
/// When it cannot begin, or cannot go on.
pub fn execute(args: &RestoreArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let shelves = open(&args.place.plan, &args.place.store, global, console)?;
    let only = match args.sources.as_slice() {
        [source] => Some(source.as_str()),
        _ => None,
    };
    let choice = choice(&args.run, args.at.as_deref())?;
    let (shelf, manifest) = shelves.choose(&choice, only).map_err(|error| failure(&error))?;
    let wish = Wish {
        sources: args.sources.clone(),
        paths: args.paths.clone(),
        to: args.to.clone().map_or(Destination::InPlace, Destination::Folder),
        overwrite: args.overwrite,
    };
    let restore = plan(shelf, manifest, &wish).map_err(|error| failure(&error))?;
    let control = Control::default();
    let (outcome, signal) = if args.dry_run {
        (restore.preview(), None)
    } else {
        until_signal(&control, || restore.carry_out(&control))?
    };
    if let Some(signal) = signal {
        let from = manifest.run;
        console.complain(&format!(
            "stopped: files that were complete stay, nothing half-written is left (run {from})\n"
        ));
        return Ok(signal);
    }
    let outcome = outcome.map_err(|error| failure(&error))?;
    match args.format {
        Format::Human => console.answer(&backups::restored(&outcome, args.dry_run, console.answers())),
        Format::Json => console.answer(&json::document(&outcome)),
    }
    let unmatched = outcome.entries == 0 && !args.paths.is_empty();
    if unmatched {
        return Err(Failure::new(format!("nothing in run {} matches `--path`", manifest.run))
            .help("`plan ls` shows the paths; each begins with its source's name"));
    }
    Ok(if outcome.problem_count == 0 { Status::Done } else { Status::Failed })
}
