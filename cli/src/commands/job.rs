//! `plan run --as-job`: a run as clusters start them. Whoever looks at a job sees its state and one line; the state is the
//! backup's: there, or not there.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use backplan_compiler::count::plural;
use backplan_runtime::run::report::{Report, Verdict, failures};

use super::run::{Begun, begun, made, signals, status, tell};
use crate::args::{Global, RunArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::progress::bytes;
use crate::render::human;
use crate::render::text::harmless;

/// Where Kubernetes reads what a container has to say.
const MESSAGE: &str = "/dev/termination-log";
/// Kubernetes reads no more.
const LONGEST: usize = 4000;
/// Between two looks at a lock that another run holds.
const PAUSE: Duration = Duration::from_secs(15);

/// Makes a run, waiting its turn.
///
/// # Errors
/// None of its own: what went wrong is the last line.
pub fn execute(args: &RunArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    // A pod's log is of both outputs, each read by itself: only what goes one way keeps its order, and the last line last.
    let _ = rustix::stdio::dup2_stderr(std::io::stdout());
    let (status, line) = match attempts(args, global, console) {
        Ok(end) => end,
        Err(failure) => {
            let text = human::failure(&failure, console.errors());
            console.complain(&text);
            let what = if failure.status == Status::Usage { "refused" } else { "failed" };
            (failure.status, format!("{what}: {}", failure.message))
        }
    };
    let line = harmless(&line).replace('\n', " ");
    console.answer(&format!("{line}\n"));
    leave(&line);
    Ok(status)
}

fn attempts(args: &RunArgs, global: &Global, console: &mut Console) -> Result<(Status, String), Failure> {
    let mut is_told = false;
    loop {
        let request = match begun(args, global, console)? {
            Begun::Displaced(words) => return Ok((Status::Done, words)),
            Begun::Request(request) => request,
        };
        let busy = match made(global, *request, console) {
            Ok(report) if report.verdict == Verdict::Busy => "another run is at work".to_owned(),
            Ok(report) => {
                tell(args, global, &report, console);
                return Ok(ended(&report));
            }
            Err(failure) if failure.status == Status::Locked => failure.message,
            Err(failure) => return Err(failure),
        };
        if !is_told {
            console.say(&format!("waiting: {busy}\n"));
            is_told = true;
        }
        if let Some(status) = stopped_within(PAUSE)? {
            return Ok((status, format!("stopped while it waited: {busy}")));
        }
    }
}

/// Waits; how it was stopped meanwhile. The first process of a container hears of signals only if it listens.
fn stopped_within(pause: Duration) -> Result<Option<Status>, Failure> {
    let cannot = |error: std::io::Error| Failure::new(format!("cannot wait: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    runtime.block_on(async {
        let mut signals = signals().map_err(cannot)?;
        let heard = tokio::time::timeout(pause, signals.recv()).await;
        Ok(heard.ok().flatten().map(|_| Status::Terminated))
    })
}

/// The job's status, and what is said of it.
fn ended(report: &Report) -> (Status, String) {
    let run = format!("run {} of plan {}", report.run, report.plan);
    let made = report.archives.iter().filter_map(|archive| archive.size).sum::<u64>();
    let stored = format!("{} in {}", bytes(made), report.committed.join(", "));
    let first = |all: &[String]| all.first().cloned().unwrap_or_default();
    match report.verdict {
        Verdict::Done => (Status::Done, format!("done: {run}, {stored}")),
        Verdict::Warnings => {
            let count = plural(report.warnings.len(), "warning");
            (Status::Done, format!("done with {count}: {run}, {stored}: {}", first(&report.warnings)))
        }
        // Repeated, it would make one more backup of the night, and mend nothing of what failed.
        Verdict::Failed if report.is_there => {
            let text = format!("made, and failed beside: {run}, {stored}: {}", first(&why(report)));
            (Status::Warnings, text)
        }
        verdict => (status(verdict), format!("failed: {run}: {}", first(&why(report)))),
    }
}

/// Steps that failed; where none did, what the backup lacks is among the warnings.
fn why(report: &Report) -> Vec<String> {
    let failed: Vec<String> =
        failures(report).into_iter().map(|(step, reason)| format!("{step}: {reason}")).collect();
    if failed.is_empty() { report.warnings.clone() } else { failed }
}

fn leave(line: &str) {
    let is_there = std::fs::metadata(MESSAGE).is_ok_and(|found| found.is_file());
    // Who does not get it has it in the log.
    if is_there && let Ok(mut file) = OpenOptions::new().write(true).open(MESSAGE) {
        let end = (0..=line.len().min(LONGEST)).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        let _ = file.write_all(&line.as_bytes()[..end]);
    }
}
