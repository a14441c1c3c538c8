//! `plan graph`

use backplan_compiler::render::{to_dot, to_mermaid};

use super::compile::steps;
use crate::args::{Global, GraphArgs, Picture};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// Prints the drawing.
///
/// # Errors
/// [`Status::Usage`] where the plan does not compile.
pub fn execute(args: &GraphArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let (ready, graph) = steps(&args.plan, global, console)?;
    let drawing = match args.format {
        Picture::Dot => to_dot(&graph, &ready.model),
        Picture::Mermaid => to_mermaid(&graph, &ready.model),
    };
    console.answer(&drawing);
    Ok(if ready.has_warnings { Status::Warnings } else { Status::Done })
}
