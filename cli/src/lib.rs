//! The program `plan`: arguments, rendering, exit statuses. What it says is rendered here and nowhere else.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | arguments as typed, and the help texts |
//! | [`commands`] | one module a command: arguments resolved, work asked for, answer rendered |
//! | [`console`] | where answers and messages go: colour, width, pipes that close |
//! | [`exit`] | what went wrong, and the one place that decides exit statuses |
//! | `journal` | weights of lines, where the journal of systemd reads them |
//! | [`progress`] | steps of a run as bars on a terminal or lines in a log |
//! | [`render`] | findings and failures for people and for programs |

pub mod args;
pub mod commands;
pub mod console;
pub mod exit;
mod journal;
pub mod progress;
pub mod render;

use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::args::Args;
use crate::console::Console;
use crate::exit::Failure;

/// Files that a command opens before it does anything.
const DESCRIPTORS: usize = 12;

/// Seconds from 1970 to the year 9000: near the year 10000 there are no times to count with.
const YEAR_9000: u64 = 221_845_392_000;

/// Parses the arguments, runs the command, says how it ended.
pub fn main() -> ExitCode {
    if let Some(served) = backplan_runtime::aide::serve() {
        return served;
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return exit::of_arguments(&error),
    };
    let mut console = Console::new(&args.global);
    console::start_log(&args.global);
    let outcome = can_work().and_then(|()| commands::execute(&args, &mut console));
    exit::conclude(outcome, &mut console)
}

/// What every command needs of the system.
fn can_work() -> Result<(), Failure> {
    // What listens for signals has no way to say that it cannot.
    let files: io::Result<Vec<File>> = (0..DESCRIPTORS).map(|_| File::open("/dev/null")).collect();
    files.map(drop).map_err(|error| {
        Failure::new(format!("cannot start: {error}")).help("let it open more files at once (`ulimit -n`)")
    })?;
    commands::stop::outlive_large_files();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if seconds < YEAR_9000 {
        return Ok(());
    }
    Err(Failure::new("by this machine's clock it is later than the year 9000").help("set the clock right"))
}
