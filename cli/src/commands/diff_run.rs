//! `plan diff-run`

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use backplan_runtime::backups::compare::{Side, compare};
use backplan_runtime::backups::paths::Paths;
use backplan_runtime::backups::shelf::{ShelvedRun, Shelves};
use backplan_runtime::control::Control;
use backplan_runtime::extract::Pick;

use super::ls::source_in;
use super::shelves::{choice, failure, open};
use crate::args::{DiffRunArgs, Format, Global, PlanFile};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::changes::{ChangeRow, Tally, change_line, summary};

/// Shows what changed between two backups.
///
/// # Errors
/// When one of them, or what it rests on, cannot be read.
pub fn execute(args: &DiffRunArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let plan = PlanFile { file: args.place.file.clone() };
    let shelves = open(&plan, &args.place.store, global, console)?;
    let (before, after) = (run(&shelves, &args.before)?, run(&shelves, &args.after)?);
    let runs = (before.manifest.run.to_string(), after.manifest.run.to_string());
    let wanted = wanted(&args.paths, [&before, &after]);
    let (old, new) = (side(&before, wanted.as_ref())?, side(&after, wanted.as_ref())?);
    let only = args
        .paths
        .iter()
        .map(|asked| picks((&before, &old), (&after, &new), asked))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let control = Control::default();
    let mut tally = Tally::default();
    if args.format == Format::Json {
        console.answer(&format!(
            "{{\"format\":1,\"before\":\"{}\",\"after\":\"{}\",\"changes\":[",
            runs.0, runs.1
        ));
    }
    for change in compare(&old, &new, &control) {
        let change = change.map_err(|error| failure(&error))?;
        let entry = change.entry();
        if !only.is_empty() && !only.iter().any(|pick| pick.covers(&entry.path, entry.kind)) {
            continue;
        }
        match args.format {
            Format::Human => console.answer(&change_line(&change, console.answers())),
            Format::Json => {
                let row = serde_json::to_string(&ChangeRow::new(&change)).unwrap_or_default();
                console.answer(if tally.is_empty() { "\n" } else { ",\n" });
                console.answer(&row);
            }
        }
        tally.count(&change);
        if console.is_deaf() {
            return Ok(Status::Changes);
        }
    }
    match args.format {
        Format::Human => console.answer(&summary(tally, &runs.0, &runs.1)),
        Format::Json => {
            let Tally { added, removed, changed } = tally;
            console.answer(&format!("\n],\"added\":{added},\"removed\":{removed},\"changed\":{changed}}}\n"));
        }
    }
    Ok(if tally.is_empty() { Status::Done } else { Status::Changes })
}

fn run<'a>(shelves: &'a Shelves, run: &str) -> Result<ShelvedRun<'a>, Failure> {
    shelves.held(&choice(run, None)?, None).map_err(|error| failure(&error))
}

/// The sources that paths begin with, where all do: no others need be opened. `None`: any may be meant.
fn wanted(paths: &[OsString], runs: [&ShelvedRun<'_>; 2]) -> Option<BTreeSet<String>> {
    let is_held = |source: &String| runs.iter().any(|held| held.sources().contains(source.as_str()));
    let named = paths.iter().map(|path| source_in(path).filter(is_held));
    named.collect::<Option<BTreeSet<String>>>().filter(|named| !named.is_empty())
}

fn side<'a>(held: &ShelvedRun<'a>, wanted: Option<&BTreeSet<String>>) -> Result<Side<'a>, Failure> {
    let is_wanted = |source: &str| wanted.is_none_or(|wanted| wanted.contains(source));
    held.chains(&is_wanted).map(Side::new).map_err(|error| failure(&error))
}

/// What is meant by a path in either run.
fn picks(
    (before, old): (&ShelvedRun<'_>, &Side<'_>),
    (after, new): (&ShelvedRun<'_>, &Side<'_>),
    asked: &OsStr,
) -> Result<Vec<Pick>, Failure> {
    let (earlier, later) = (Paths::of(before, &[]), Paths::of(after, &[]));
    let found = |paths: &Paths, side: &Side<'_>| paths.found(&side.chains(), asked);
    let (was, is) = (found(&earlier, old), found(&later, new));
    let picks = [was.map_err(|error| failure(&error))?, is.map_err(|error| failure(&error))?];
    let picks: Vec<Pick> = picks.into_iter().flatten().flatten().collect();
    match picks.is_empty() {
        false => Ok(picks),
        true => Err(failure(&later.absent(&new.chains(), asked).unwrap_or_else(|error| error))),
    }
}
