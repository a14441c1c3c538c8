//! `plan report`

use std::collections::BTreeMap;
use std::path::Path;

use backplan_compiler::lower::{level_word, zone};
use backplan_compiler::model::Model;
use backplan_runtime::backups::shelf::Shelves;
use backplan_runtime::catalog::ids::RunId;
use backplan_runtime::catalog::manifest::{Manifest, SourceStatus};
use backplan_runtime::load::display;
use backplan_runtime::machine::host_name;
use backplan_runtime::metrics;
use backplan_runtime::past::state;
use backplan_runtime::run::prune::{StoresRequest, preview};
use backplan_runtime::run::timeline;
use backplan_runtime::status::last::{Made, outcome};
use jiff::Timestamp;

use super::fleet::{each, files_of, jobs, worst};
use super::plan::silently;
use super::run::clock;
use super::status::look;
use crate::args::{Global, ReportArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::report::timeline::RUNS;
use crate::render::report::{Account, Drawn, Kept, Run, Shelf, page};

/// Writes a page on how plans stand.
///
/// # Errors
/// For wrong usage, and when the page cannot be written; how the plans stand is in the page and in the status.
pub fn execute(args: &ReportArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let found = files_of(&args.plans)?;
    let (now, count) = (clock()?.now(), jobs(args.jobs));
    let seen = look(&found.files, count, global, now);
    let told = each(&found.files, count, |file| history(file, global, now));
    let accounts: Vec<Account> = seen
        .into_iter()
        .zip(told)
        .map(|(seen, past)| Account {
            file: display(&seen.file),
            status: seen.status(),
            plan: seen.plan,
            standing: seen.standing.map_err(|failure| failure.message),
            told: seen.told,
            past,
        })
        .collect();
    let text = page(&accounts, &Drawn { now, host: host_name() });
    match &args.output {
        None => console.answer(&text),
        Some(path) => {
            put(path, &text)?;
            // Whoever started this reads no file that it names.
            for (account, why) in accounts.iter().filter_map(|one| Some((one, one.standing.as_ref().err()?)))
            {
                console.remark("error", &format!("{}: {why}", account.file));
            }
        }
    }
    let status = worst(accounts.iter().map(|account| account.status.code()));
    Ok(found.told(status, console))
}

/// Writes an answer beside the file and gives it its name when it is whole.
///
/// # Errors
/// When it is not in place; what stood there is as it was.
pub fn put(path: &Path, text: &str) -> Result<(), Failure> {
    metrics::write(path, text).map_err(|error| {
        Failure::new(format!("`{}` could not be written: {error}", display(path))).help(
            "what stood there is as it was; its folder must be there, have room, and let this account write",
        )
    })
}

/// What the stores have of a plan's past; nothing where they cannot be read, which how it stands says.
fn history(file: &Path, global: &Global, now: Timestamp) -> crate::render::report::Past {
    let mut past = crate::render::report::Past::default();
    let Ok(model) = silently(file, global) else { return past };
    past.zone = zone(&model);
    // Where they cannot be read, how the plan stands says so.
    let timelines =
        state::root().ok().and_then(|root| timeline::last(&root, &model.name, &model.file, RUNS).ok());
    past.timelines = timelines.unwrap_or_default();
    let Ok(shelves) = Shelves::of_plan(&model, None) else { return past };
    past.runs = runs(&shelves);
    past.shelves = shelves
        .shelves
        .iter()
        .map(|shelf| Shelf {
            store: shelf.store.label().to_owned(),
            days: shelf.catalog.runs().map(|run| (run.started, run.level)).collect(),
            kept: Vec::new(),
            refused: Vec::new(),
        })
        .collect();
    kept(&mut past.shelves, model, now);
    past
}

/// Every run that a store has, oldest first.
fn runs(shelves: &Shelves) -> Vec<Run> {
    let mut runs: BTreeMap<RunId, Run> = BTreeMap::new();
    for shelf in &shelves.shelves {
        for manifest in shelf.catalog.runs() {
            let run = runs.entry(manifest.run).or_insert_with(|| run(manifest));
            run.stores.push(shelf.store.label().to_owned());
        }
    }
    runs.into_values().collect()
}

fn run(manifest: &Manifest) -> Run {
    let failed = manifest.sources.iter().filter(|source| source.status == SourceStatus::Failed);
    let in_part = manifest.sources.iter().filter(|source| source.missing > 0);
    Run {
        run: manifest.run.to_string(),
        started: manifest.started,
        level: level_word(manifest.level),
        outcome: outcome(manifest),
        made: Made::of(manifest),
        failed: failed.map(|source| source.name.to_string()).collect(),
        in_part: in_part.map(|source| source.name.to_string()).collect(),
        rests_on: manifest.rests_on().iter().map(ToString::to_string).collect(),
        stores: Vec::new(),
    }
}

/// Why each run stays, as a prune of this moment would say it.
fn kept(shelves: &mut [Shelf], model: Model, now: Timestamp) {
    let Ok(state) = state::root() else { return };
    let request = StoresRequest { model, store: None, state, now, is_supposed: false, accept: Vec::new() };
    let Ok(pruned) = preview(&request) else { return };
    for store in pruned {
        let Some(shelf) = shelves.iter_mut().find(|shelf| shelf.store == store.store) else { continue };
        let Some(plan) = store.plan else { continue };
        shelf.refused = plan.refused.iter().map(ToString::to_string).collect();
        shelf.kept = plan
            .runs
            .into_iter()
            .map(|run| Kept {
                started: run.started,
                level: level_word(run.level),
                size: run.size,
                stays: run.stays,
                reasons: run.reasons,
            })
            .collect();
    }
}
