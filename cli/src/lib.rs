//! The program `plan`: arguments, rendering, exit statuses. What it says is rendered here and nowhere else.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | arguments as typed, and the help texts |
//! | [`commands`] | one module a command: arguments resolved, work asked for, answer rendered |
//! | [`console`] | where answers and messages go: colour, width, pipes that close |
//! | [`exit`] | what went wrong, and the one place that decides exit statuses |
//! | [`progress`] | steps of a run as bars on a terminal or lines in a log |
//! | [`render`] | findings and failures for people and for programs |

pub mod args;
pub mod commands;
pub mod console;
pub mod exit;
pub mod progress;
pub mod render;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::console::Console;

/// Parses the arguments, runs the command, says how it ended.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return exit::of_arguments(&error),
    };
    let mut console = Console::new(&args.global);
    console::start_log(&args.global);
    let outcome = commands::execute(&args, &mut console);
    exit::conclude(outcome, &mut console)
}
