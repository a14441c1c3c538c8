//! `plan compile`

use backplan_compiler::graph::{Occasion, StepGraph};
use backplan_compiler::lower::lower;
use backplan_compiler::render::to_yaml;

use super::plan::{Ready, ready};
use crate::args::{CompileArgs, Global, PlanFile};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// Prints the steps as YAML.
///
/// # Errors
/// [`Status::Usage`] where the plan does not compile.
pub fn execute(args: &CompileArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let (ready, graph) = steps(&args.plan, global, console)?;
    console.answer(&to_yaml(&graph, &ready.model));
    Ok(Status::Done)
}

/// The steps of a full run, with what only a run knows left open.
///
/// # Errors
/// [`Status::Usage`] where the plan does not compile.
pub fn steps(plan: &PlanFile, global: &Global, console: &mut Console) -> Result<(Ready, StepGraph), Failure> {
    let ready = ready(plan, global, console)?.told(console);
    let graph = lower(&ready.model, &Occasion::default()).map_err(|error| {
        Failure::usage(format!("`{}` has no order of steps: {error:?}", ready.model.name))
    })?;
    Ok((ready, graph))
}
