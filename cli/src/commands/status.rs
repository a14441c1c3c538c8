//! `plan status`

use backplan_runtime::recall::shelf::Shelves;
use backplan_runtime::recall::status::{Verdict, status};

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
    let shelves = Shelves::of_plan(&model, None).map_err(|error| failure(&error))?;
    let standing = status(&model, &shelves, clock()?.now());
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
