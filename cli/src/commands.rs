//! The commands: each resolves its arguments, asks for the work, and renders the answer.

pub mod check;
pub mod cluster;
pub mod compile;
pub mod completions;
pub mod diff;
pub mod diff_run;
pub mod explain;
pub mod fleet;
pub mod fmt;
pub mod graph;
pub mod identities;
pub mod init;
pub mod job;
pub mod keep;
pub mod list;
pub mod ls;
pub mod lsp;
pub mod moment;
pub mod notify;
pub mod plan;
pub mod prune;
pub mod rehearse;
pub mod report;
pub mod restore;
pub mod run;
pub mod schedule;
pub mod shelves;
pub mod status;
mod step;
pub mod stop;
pub mod sync;
#[cfg(feature = "otlp")]
mod trace;
pub mod verify;
pub mod wal;
pub mod why;

use crate::args::{Args, Command};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// Runs the command that was asked for.
///
/// # Errors
/// When it could not do its work; what it did say is in the console.
pub fn execute(args: &Args, console: &mut Console) -> Result<Status, Failure> {
    match &args.command {
        Command::Check(check) => check::execute(check, &args.global, console),
        Command::Fmt(fmt) => fmt::execute(fmt, console),
        Command::Explain(explain) => explain::execute(explain, console),
        Command::Compile(compile) => compile::execute(compile, &args.global, console),
        Command::Diff(diff) => diff::execute(diff, &args.global, console),
        Command::Init(init) => init::execute(init, &args.global, console),
        Command::Why(why) => why::execute(why, &args.global, console),
        Command::Graph(graph) => graph::execute(graph, &args.global, console),
        Command::Keep(keep) => keep::execute(keep, &args.global, console),
        Command::List(list) => list::execute(list, &args.global, console),
        Command::Ls(list) => ls::list(list, &args.global, console),
        Command::Cat(cat) => ls::print(cat, &args.global, console),
        Command::DiffRun(diff) => diff_run::execute(diff, &args.global, console),
        Command::Restore(restore) => restore::execute(restore, &args.global, console),
        Command::Verify(verify) => verify::execute(verify, &args.global, console),
        Command::Status(status) => status::execute(status, &args.global, console),
        Command::Report(report) => report::execute(report, &args.global, console),
        Command::Prune(prune) => prune::execute(prune, &args.global, console),
        Command::Sync(sync) => sync::execute(sync, &args.global, console),
        Command::Notify(notify) => notify::execute(notify, &args.global, console),
        Command::Schedule(schedule) => schedule::execute(schedule, &args.global, console),
        Command::Run(run) => run::execute(run, &args.global, console),
        Command::Step(step) => step::execute(step, &args.global, console),
        Command::Wal(wal) => wal::execute(wal, &args.global, console),
        Command::Lsp(_) => lsp::execute(&args.global),
        Command::Completions(completions) => completions::execute(completions, console),
    }
}
