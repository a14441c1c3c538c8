//! `plan status`

use backplan_compiler::model::Model;
use backplan_runtime::recall::repositories::Access;
use backplan_runtime::recall::shelf::Shelves;
use backplan_runtime::recall::status::{Verdict, status};
use backplan_runtime::rehearse::scratch;
use backplan_runtime::rehearse::wish::Places;
use backplan_runtime::run::history::{self, PastRun};
use backplan_runtime::run::{prepare, state};

use super::plan::ready;
use super::run::clock;
use super::shelves::failure;
use crate::args::{Format, Global, StatusArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{json, keeping};

/// Shows how a plan stands.
///
/// # Errors
/// When no store can be read.
pub fn execute(args: &StatusArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let model = ready(&args.plan, global, console)?.model;
    let now = clock()?.now();
    let unclean = unclean(&model, console)?;
    let mut shelves = Shelves::of_plan(&model, None).map_err(|error| {
        // Where no store can be read, how the last run went may say why.
        console.complain(&keeping::unclean(&unclean, now, console.errors()));
        failure(&error)
    })?;
    shelves.look_for_artefacts();
    let state = state::root().map_err(|error| Failure::new(error.to_string()))?;
    let places = Places { place: scratch::usual_place(), state };
    let access = Access::of_plan(&model, &prepare::host_name(), places);
    let standing = status(&model, &shelves, unclean, &access, now);
    match args.format {
        Format::Human => console.answer(&keeping::status(&standing, console.answers())),
        Format::Json => console.answer(&json::document(&standing)),
    }
    Ok(match standing.verdict {
        Verdict::Fine => Status::Done,
        Verdict::Attention => Status::Warnings,
        Verdict::NoBackup => Status::Failed,
    })
}

/// The runs on this machine that did not end well; a machine that never ran the plan knows of none.
fn unclean(model: &Model, console: &mut Console) -> Result<Vec<PastRun>, Failure> {
    let state = state::root().map_err(|error| Failure::new(error.to_string()))?;
    history::unclean(&state, &model.name, &model.file).or_else(|error| {
        console.remark("warning", &format!("how the last runs on this machine went is not known: {error}"));
        Ok(Vec::new())
    })
}
