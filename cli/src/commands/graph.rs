//! `plan graph`

use std::path::Path;

use backplan_compiler::graph::{Occasion, StepGraph};
use backplan_compiler::lower::lower;
use backplan_compiler::model::Model;
use backplan_compiler::picture::{Drawn, html, picture, picture_of_change, svg};
use backplan_compiler::render::{to_dot, to_dot_of_change, to_mermaid, to_mermaid_of_change};
use backplan_runtime::load;

use super::compile::steps;
use super::diff::beside;
use super::diff::sides::{compiled, params};
use super::plan::{chosen, current_folder, inputs};
use crate::args::{Global, GraphArgs, Picture};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// Prints the drawing.
///
/// # Errors
/// [`Status::Usage`] where a plan does not compile.
pub fn execute(args: &GraphArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let (ready, graph) = steps(&args.plan, global, console)?;
    let drawing = match &args.diff {
        None => drawn(args.format, &graph, &ready.model),
        Some(old) => {
            let file = chosen(&args.plan, &current_folder()?)?;
            let (old, before) = earlier(old, &file, global, console)?;
            changed(args.format, (&before, &old), (&graph, &ready.model))
        }
    };
    console.answer(&drawing);
    Ok(Status::Done)
}

/// The plan that the drawn one is held against.
fn earlier(
    old: &Path,
    new: &Path,
    global: &Global,
    console: &mut Console,
) -> Result<(Model, StepGraph), Failure> {
    let usage = |failure: Failure| Failure { status: Status::Usage, ..failure };
    let before = beside(old, new, &current_folder()?)?;
    let given = inputs(global)?;
    // A parameter that the old plan lacks is one of the new plan's, which has been compiled with it.
    let known = params(&[&before], &given).unwrap_or_else(|_| given.clone());
    let side = compiled(before, &known, load::display(old), console).map_err(usage)?;
    let graph = lower(&side.model, &Occasion::default())
        .map_err(|error| Failure::usage(format!("`{}` has no order of steps: {error:?}", side.shown)))?;
    Ok((side.model, graph))
}

fn drawn(format: Picture, graph: &StepGraph, model: &Model) -> String {
    match format {
        Picture::Dot => to_dot(graph, model),
        Picture::Mermaid => to_mermaid(graph, model),
        Picture::Svg => svg(&picture(Drawn { graph, model })),
        Picture::Html => html(&picture(Drawn { graph, model })),
    }
}

fn changed(format: Picture, old: (&StepGraph, &Model), new: (&StepGraph, &Model)) -> String {
    let both = || {
        let drawn = |(graph, model)| Drawn { graph, model };
        picture_of_change(drawn(old), drawn(new))
    };
    match format {
        Picture::Dot => to_dot_of_change(old, new),
        Picture::Mermaid => to_mermaid_of_change(old, new),
        Picture::Svg => svg(&both()),
        Picture::Html => html(&both()),
    }
}
