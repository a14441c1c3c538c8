//! `plan completions`

use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// Prints the script.
///
/// # Errors
/// None.
pub fn execute(args: &CompletionsArgs, console: &mut Console) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "plan", &mut script);
    console.answer_bytes(&script);
    Ok(Status::Done)
}
