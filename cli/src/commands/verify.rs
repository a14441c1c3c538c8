//! `plan verify`

use std::collections::{BTreeMap, BTreeSet};

use backplan_runtime::artefact::Depth;
use backplan_runtime::backups::check::{Checked, check, tell_of_damaged_bases};
use backplan_runtime::backups::shelf::{Shelf, Shelves};
use backplan_runtime::catalog::ids::RunId;
use backplan_runtime::catalog::manifest::Manifest;
use backplan_runtime::catalog::runs::Choice;
use backplan_runtime::control::{Control, Stopped};
use backplan_runtime::machine::host_name;
use backplan_runtime::past::state;
use backplan_runtime::postgres::restore::log::check::{CheckedLog, Extent, check as check_log};
use backplan_runtime::postgres::restore::log::{self};
use backplan_runtime::postgres::restore::repositories::{self, Access, CheckedRepository};
use backplan_runtime::postgres::wal::expiry::Base;
use backplan_runtime::scratch::{self, Places};

use super::fleet;
use super::plan::ready;
use super::rehearse;
use super::shelves::{choice, failure, open, say_strays};
use super::stop::until_signal;
use crate::args::{Format, Global, VerifyArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{backups, json};

/// Compares backups with their hashes.
///
/// # Errors
/// When no store, or no such run, can be read.
pub fn execute(args: &VerifyArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    if args.place.plans.is_several() {
        return fleet::verify(args, global, console);
    }
    let mut shelves = open(&args.place.plan(), &args.place.store, global, console)?;
    if args.rehearse {
        return rehearse::execute(args, shelves, global, console);
    }
    shelves.look_for_strays(false);
    say_strays(&shelves, console);
    // Who names a run has it, whatever else is gone; that none is there at all is told before that ends the command.
    let gone = (args.all || args.run == "latest").then(|| shelves.gone()).flatten();
    let amiss: Vec<String> = shelves.unclaimed().into_iter().chain(gone).collect();
    amiss.iter().for_each(|text| console.remark("warning", text));
    let wanted = wanted(&shelves, args)?;
    let runs: BTreeSet<RunId> = wanted.iter().map(|(_, manifest)| manifest.run).collect();
    let mut strange: Vec<String> = runs.into_iter().filter_map(|run| shelves.stranger(run)).collect();
    strange.dedup();
    strange.iter().for_each(|text| console.remark("warning", text));
    strange.extend(amiss);
    let depth = match (args.quick, args.deep) {
        (true, _) => None,
        (false, true) => Some(Depth::Entries),
        (false, false) => Some(Depth::Hashes),
    };
    let control = Control::default();
    let (checked, signal) = until_signal(&control, || {
        let all = with_bases(&wanted);
        let each = all.iter().map(|(shelf, manifest)| check(shelf, manifest, depth, &control));
        let mut checked = each.collect::<Result<Vec<Checked>, Stopped>>()?;
        tell_of_damaged_bases(&mut checked, &all);
        Ok::<_, Stopped>(checked)
    })?;
    let (Ok(checked), None) = (checked, signal) else { return Ok(signal.unwrap_or(Status::Interrupted)) };
    let (logs, signal) = until_signal(&control, || logs(args, &shelves, &wanted, &control))?;
    let (Ok(logs), None) = (logs, signal) else { return Ok(signal.unwrap_or(Status::Interrupted)) };
    let access = access(args, &shelves, global, console)?;
    let wanted = if args.quick { Vec::new() } else { wanted };
    let looked = || repositories(args, &shelves, &wanted, &access, &control);
    let (repositories, signal) = until_signal(&control, looked)?;
    let (Ok(repositories), None) = (repositories, signal) else {
        return Ok(signal.unwrap_or(Status::Interrupted));
    };
    let answer = Answer { shelves: &shelves, checked, logs, repositories, strange };
    answer.show(args.format, console);
    Ok(answer.status())
}

/// What all that was looked at came to.
struct Answer<'a> {
    shelves: &'a Shelves,
    checked: Vec<Checked>,
    logs: Vec<CheckedLog>,
    repositories: Vec<CheckedRepository>,
    /// What a person should know of stores, of runs that this machine may not have made, and of those that it has made and no store has.
    strange: Vec<String>,
}

impl Answer<'_> {
    fn show(&self, format: Format, console: &mut Console) {
        let Answer { shelves, checked, logs, repositories, strange } = self;
        match format {
            Format::Human => {
                console.answer(&backups::checked(checked, console.answers()));
                console.answer(&backups::checked_logs(logs, console.answers()));
                console.answer(&backups::checked_repositories(repositories, console.answers()));
            }
            Format::Json => {
                let unread = shelves.warnings();
                let answer = serde_json::json!({
                    "format": 1, "runs": checked, "logs": logs, "repositories": repositories, "unreadable": unread,
                    "unnamed": shelves.strays, "strange": strange
                });
                console.answer(&json::document(&answer));
            }
        }
    }

    fn status(&self) -> Status {
        let Answer { shelves, checked, logs, repositories, strange } = self;
        let whole = checked.iter().all(Checked::is_whole)
            && logs.iter().all(|log| log.damage.is_empty())
            && repositories.iter().all(CheckedRepository::is_whole)
            && shelves.warnings().is_empty();
        // Who gives a key wants it to open them.
        let is_shut = |one: &Checked| one.artefacts.iter().any(|artefact| artefact.unopened.is_some());
        let has_keys = shelves.shelves.iter().any(|shelf| !shelf.keys.is_empty());
        match whole {
            false => Status::Failed,
            true if !shelves.strays.is_empty() || !strange.is_empty() => Status::Warnings,
            true if has_keys && (checked.iter().any(is_shut) || logs.iter().any(|log| log.unopened > 0)) => {
                Status::Warnings
            }
            true => Status::Done,
        }
    }
}

/// What opens the repositories of pgBackRest. A check that was killed has left its scratch folder: it goes.
fn access(
    args: &VerifyArgs,
    shelves: &Shelves,
    global: &Global,
    console: &mut Console,
) -> Result<Access, Failure> {
    let state = state::root().map_err(|error| Failure::new(error.to_string()))?;
    let places = Places { place: args.scratch.clone().unwrap_or_else(scratch::usual_place), state };
    if args.deep {
        for text in scratch::clear_dead(&places.state).map_err(|error| Failure::new(error.to_string()))? {
            console.remark("note", &text);
        }
    }
    Ok(match (&args.place.store.store, &args.place.plan().file) {
        (Some(_), None) => Access::plain(places),
        _ => {
            let model = ready(&args.place.plan(), global, console)?.model;
            Access::of_plan(&model, shelves, &host_name(), places)
        }
    })
}

/// Checks the repositories of pgBackRest: those that backups of these runs are in, and, deep, those in their artefacts.
fn repositories(
    args: &VerifyArgs,
    shelves: &Shelves,
    wanted: &[(&Shelf, &Manifest)],
    access: &Access,
    control: &Control,
) -> Result<Vec<CheckedRepository>, Stopped> {
    let mut found = repositories::kept(wanted, access, control)?;
    if args.deep {
        found.extend(repositories::packed(shelves, wanted, access, control)?);
    }
    Ok(found)
}

/// Checks the archived logs in these stores: what recovery from the chosen run needs, or all of it.
fn logs(
    args: &VerifyArgs,
    shelves: &Shelves,
    wanted: &[(&Shelf, &Manifest)],
    control: &Control,
) -> Result<Vec<CheckedLog>, Stopped> {
    let extent = Extent { is_all: args.all, is_read: !args.quick };
    let mut checked = Vec::new();
    for shelf in &shelves.shelves {
        for archive in log::archives_in(shelf) {
            let (source, archive) = match archive {
                Ok(found) => found,
                Err(log) => {
                    checked.push(log);
                    continue;
                }
            };
            let runs: BTreeMap<RunId, &Manifest> =
                wanted.iter().map(|(_, manifest)| (manifest.run, *manifest)).collect();
            let bases: Vec<Base> = runs.values().filter_map(|manifest| Base::of(manifest, &source)).collect();
            if args.all || !bases.is_empty() {
                checked.push(check_log(&archive, &source, &bases, extent, control)?);
            }
        }
    }
    Ok(checked)
}

/// The runs to check, and behind them the earlier ones that their artefacts rest on: no run is whole whose base is damaged.
/// Where nothing changed a run has its base's artefact, which is read once.
fn with_bases<'a>(wanted: &[(&'a Shelf, &'a Manifest)]) -> Vec<(&'a Shelf, &'a Manifest)> {
    let mut all = wanted.to_vec();
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    let artefacts = |shelf: &'a Shelf, run: &'a Manifest| {
        run.archives.iter().map(move |archive| (shelf.store.label(), archive.artefact.as_str()))
    };
    for (shelf, manifest) in wanted {
        seen.extend(artefacts(shelf, manifest));
    }
    for (shelf, manifest) in wanted {
        let contents = manifest.archives.iter().flat_map(|archive| &archive.contents);
        let bases: BTreeSet<&RunId> = contents.flat_map(|content| &content.rests_on).collect();
        // One that is missing is told of with the run itself.
        for base in bases.into_iter().rev().filter_map(|run| shelf.catalog.get(run)) {
            let is_new = artefacts(shelf, base).any(|artefact| !seen.contains(&artefact));
            seen.extend(artefacts(shelf, base));
            all.extend(is_new.then_some((*shelf, base)));
        }
    }
    all
}

/// The runs to check, each in every store that holds it.
fn wanted<'a>(shelves: &'a Shelves, args: &VerifyArgs) -> Result<Vec<(&'a Shelf, &'a Manifest)>, Failure> {
    let all =
        shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs().map(move |manifest| (shelf, manifest)));
    if args.all {
        return Ok(all.collect());
    }
    let choice: Choice = choice(&args.run, None)?;
    let (_, chosen) = shelves.choose(&choice, None).map_err(|error| failure(&error))?;
    Ok(all.filter(|(_, manifest)| manifest.run == chosen.run).collect())
}
