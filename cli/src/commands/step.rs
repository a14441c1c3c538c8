//! `plan step`

use std::sync::Arc;

use backplan_compiler::graph::StepId;
use backplan_runtime::catalog::ids::RunId;
use backplan_runtime::run::alone::{self, StepEnd};
use backplan_runtime::run::event::Observer;
use backplan_runtime::run::request::Request;

use super::plan::ready;
use super::run::{listening, refused, request, status};
use crate::args::{Format, Global, PlanFile, StepArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::progress;
use crate::render::{json, run as rendered};

/// Does one step of a run.
///
/// # Errors
/// Where it cannot be done now.
pub fn execute(args: &StepArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let plan = PlanFile { file: Some(args.file.clone()) };
    let ready = ready(&plan, global, console)?.told(console);
    let request = request(&args.asked, global, ready)?;
    let run = args
        .run
        .as_ref()
        .map(|run| run.parse::<RunId>().map_err(|error| Failure::usage(format!("`--run {run}`: {error}"))));
    let ended = done(args, request, run.transpose()?, global, console)?;
    match args.format {
        Format::Human => console.answer(&rendered::step(&ended, console.answers())),
        Format::Json => console.answer(&json::document(&ended)),
    }
    Ok(status(ended.verdict))
}

fn done(
    args: &StepArgs,
    request: Request,
    run: Option<RunId>,
    global: &Global,
    console: &Console,
) -> Result<StepEnd, Failure> {
    let observer: Arc<dyn Observer> = Arc::from(progress::observer(console.errors(), global.quiet));
    let id = StepId(args.step.clone());
    listening(async |signals| alone::step(request, run, &id, observer, signals).await.map_err(refused))
}
