//! `plan verify --rehearse`

use std::collections::BTreeSet;
use std::sync::Arc;

use backplan_compiler::graph::Occasion;
use backplan_compiler::model::{Model, SourceId};
use backplan_runtime::backups::rehearsed::{self, Rehearsal};
use backplan_runtime::backups::shelf::Shelves;
use backplan_runtime::catalog::ids::RunId;
use backplan_runtime::catalog::runs::Choice;
use backplan_runtime::control::Control;
use backplan_runtime::machine::host_name;
use backplan_runtime::past::state;
use backplan_runtime::programs::process::Tell;
use backplan_runtime::programs::secrets::Secrets;
use backplan_runtime::rehearse::wish;
use backplan_runtime::rehearse::{RehearsalWish, RehearseError, rehearse};
use backplan_runtime::run::prepare;
use backplan_runtime::scratch::{self, Places};
use backplan_runtime::source;

use super::identities;
use super::plan::ready;
use super::run::clock;
use super::shelves;
use super::stop::until_signal;
use crate::args::{Format, Global, VerifyArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{json, rehearsal as rendered};

/// Restores sources into a scratch folder and looks at them.
///
/// # Errors
/// When one could not be rehearsed at all.
pub fn execute(
    args: &VerifyArgs,
    shelves: Shelves,
    global: &Global,
    console: &mut Console,
) -> Result<Status, Failure> {
    let state = state::root().map_err(|error| Failure::new(error.to_string()))?;
    let places = Places { place: args.scratch.clone().unwrap_or_else(scratch::usual_place), state };
    let model = match (&args.place.store.store, &args.place.plan().file) {
        (Some(_), None) => None,
        _ => Some(ready(&args.place.plan(), global, console)?.model),
    };
    for text in scratch::clear_dead(&places.state).map_err(|error| failure(&error.into()))? {
        console.remark("note", &text);
    }
    let has_keys = shelves.shelves.iter().any(|shelf| !shelf.keys.is_empty());
    let shelves = match &model {
        // What is given at the command goes before what the plan says.
        Some(model) if !has_keys => {
            let is_asked = |id: &SourceId| {
                args.sources.is_empty() || args.sources.iter().any(|name| *name == model.source(*id).name)
            };
            let sources: Vec<SourceId> = (0..model.sources.len()).map(SourceId).filter(is_asked).collect();
            let mut keys = wish::keys(model, &sources, &Secrets::default()).map_err(Failure::new)?;
            if keys.is_empty() {
                // Where the log alone is encrypted, no manifest says so.
                let is_log_sealed = || model.wals.iter().any(|wal| !wal.encrypt.is_empty());
                keys = identities::keys(&args.place.store.identities, is_log_sealed)?;
            }
            shelves.with_keys(&Arc::new(keys))
        }
        _ => shelves,
    };
    let shelves = &shelves;
    let wishes = match &model {
        Some(model) => of_plan(model, shelves, args, &places)?,
        None => of_store(shelves, args, &places),
    };
    if wishes.is_empty() {
        shelves.choose(&Choice::Latest, None).map_err(|error| shelves::failure(&error))?;
        return Err(Failure::new("there is no source to rehearse").help("`plan list` shows the backups"));
    }
    play(args, shelves, wishes, model.as_ref(), console)
}

fn play(
    args: &VerifyArgs,
    shelves: &Shelves,
    wishes: Vec<RehearsalWish<'_>>,
    model: Option<&Model>,
    console: &mut Console,
) -> Result<Status, Failure> {
    let now = clock()?.now();
    let control = Control::default();
    let silent: Tell = Arc::new(|_| {});
    let mut done: Vec<Rehearsal> = Vec::new();
    let (outcome, signal) = until_signal(&control, || {
        for mut wish in wishes {
            wish.run = (args.run != "latest").then(|| args.run.clone());
            done.push(rehearse(shelves, wish, source::way, now, &control, &silent)?);
        }
        Ok(())
    })?;
    let asked = shelves::choice(&args.run, None)?;
    let runs: BTreeSet<RunId> = done.iter().map(|record| record.run).collect();
    let doubts: BTreeSet<String> = runs.into_iter().flat_map(|run| shelves.doubts(&asked, run)).collect();
    doubts.iter().for_each(|text| console.remark("warning", text));
    for record in &done {
        for trouble in model.map(|model| rehearsed::keep(model, record)).unwrap_or_default() {
            console.remark("warning", &format!("the rehearsal could not be recorded: {trouble}"));
        }
    }
    match args.format {
        Format::Human => console.answer(&rendered::rehearsals(&done, console.answers())),
        Format::Json => {
            console.answer(&json::document(&serde_json::json!({ "format": 1, "rehearsals": done })));
        }
    }
    if let Some(signal) = signal {
        console.complain("stopped: nothing of the rehearsal is left\n");
        return Ok(signal);
    }
    outcome.map_err(|error: RehearseError| failure(&error))?;
    Ok(match () {
        () if done.iter().any(|record| !record.passed) => Status::Failed,
        () if !doubts.is_empty() => Status::Warnings,
        () if done.iter().any(|record| record.is_in_time() == Some(false)) => Status::Warnings,
        () => Status::Done,
    })
}

/// The sources asked for, else those of the `verify` blocks, else all that some run holds.
fn of_plan<'a>(
    model: &'a Model,
    shelves: &Shelves,
    args: &VerifyArgs,
    places: &Places,
) -> Result<Vec<RehearsalWish<'a>>, Failure> {
    let all = || (0..model.sources.len()).map(SourceId);
    let name = |id: SourceId| model.source(id).name.as_str();
    if let Some(unknown) = args.sources.iter().find(|source| !all().any(|id| name(id) == **source)) {
        let known: Vec<String> = all().map(|id| format!("`{}`", name(id))).collect();
        return Err(Failure::usage(format!("plan `{}` has no source `{unknown}`", model.name))
            .help(format!("its sources are {}", known.join(", "))));
    }
    let asked = |id: SourceId| args.sources.iter().any(|source| source == name(id));
    let verified = |id: SourceId| model.verifies.iter().any(|verify| verify.restore == id);
    let wanted: Vec<SourceId> = match (args.sources.is_empty(), model.verifies.is_empty()) {
        (false, _) => all().filter(|id| asked(*id)).collect(),
        (true, false) => all().filter(|id| verified(*id)).collect(),
        (true, true) => all().filter(|id| shelves.has(name(*id))).collect(),
    };
    let occasion = Occasion {
        now: Some(clock()?.now()),
        host: Some(host_name()),
        reads: prepare::reads(model).map_err(super::run::refused)?,
        ..Occasion::default()
    };
    let each = wanted
        .into_iter()
        .map(|id| RehearsalWish::of_plan(model, id, &occasion, places, &Secrets::default()));
    each.collect::<Result<_, _>>()
        .map_err(|error| Failure::new(format!("a `command` of `verify`: {error:?}")))
}

fn of_store(shelves: &Shelves, args: &VerifyArgs, places: &Places) -> Vec<RehearsalWish<'static>> {
    let sources = match args.sources.is_empty() {
        true => shelves.sources().into_iter().map(str::to_owned).collect(),
        false => args.sources.clone(),
    };
    let root = args.place.store.store.as_ref();
    let roots = root.map(|root| (root.display().to_string(), root.clone()));
    let each = sources.iter().map(|source| RehearsalWish {
        roots: roots.clone().into_iter().collect(),
        ..RehearsalWish::plain(source, places)
    });
    each.collect()
}

fn failure(error: &RehearseError) -> Failure {
    match error {
        RehearseError::Backups(error) => shelves::failure(error),
        _ => Failure::new(error.to_string()),
    }
}
