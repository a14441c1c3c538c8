//! How a command ended, and the one place that turns that into an exit status.

use std::fmt;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::console::Console;
use crate::render::human;

/// How a command ended; the table of exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Done; nothing to report.
    Done,
    /// Failed. For a check: errors were found.
    Failed,
    /// Wrong usage, or a plan that does not compile.
    Usage,
    /// A comparison found changes; the same number, as `diff` has it.
    Changes,
    /// Done, with warnings that a person should read.
    Warnings,
    /// Another run holds the lock.
    Locked,
    /// `wal fetch`: whether there is more of the log cannot be told; to Postgres, over 125 is "recover no further".
    Unfit,
    /// Stopped by SIGINT, cleaned up.
    Interrupted,
    /// Stopped by SIGTERM, cleaned up.
    Terminated,
}

impl Status {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Status::Done => 0,
            Status::Failed => 1,
            Status::Usage | Status::Changes => 2,
            Status::Warnings => 3,
            Status::Locked => 4,
            Status::Unfit => 126,
            Status::Interrupted => 130,
            Status::Terminated => 143,
        }
    }
}

/// Why a command could not do its work: what happened, to what, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status that the program ends with.
    pub status: Status,
    /// Place and cause: lower case, names in backticks.
    pub message: String,
    /// The mend.
    pub help: Option<String>,
}

impl Failure {
    /// A failure with [`Status::Failed`].
    pub fn new(message: impl Into<String>) -> Self {
        Failure { status: Status::Failed, message: message.into(), help: None }
    }

    /// A failure with [`Status::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { status: Status::Usage, ..Failure::new(message) }
    }

    /// With a mend.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints what clap has to say: help and version are answers, the rest is wrong usage.
pub fn of_arguments(error: &clap::Error) -> ExitCode {
    // A closed pipe is the reader's affair.
    let _ = error.print();
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    ExitCode::from(if asked { Status::Done } else { Status::Usage }.code())
}

/// Prints a failure, flushes the answer, and gives the exit status. An answer that could not be written is a failure,
/// unless its reader simply went away.
pub fn conclude(outcome: Result<Status, Failure>, console: &mut Console) -> ExitCode {
    let status = match outcome {
        Ok(status) => status,
        Err(failure) => {
            let text = human::failure(&failure, console.errors());
            console.complain(&text);
            failure.status
        }
    };
    let status = match console.finish() {
        Ok(()) => status,
        Err(error) => {
            let failure = Failure::new(format!("the answer could not be written: {error}"));
            let text = human::failure(&failure, console.errors());
            console.complain(&text);
            status.max(Status::Failed)
        }
    };
    ExitCode::from(status.code())
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn statuses_are_the_documented_ones() {
        let all = [
            Status::Done,
            Status::Failed,
            Status::Usage,
            Status::Warnings,
            Status::Locked,
            Status::Unfit,
            Status::Interrupted,
            Status::Terminated,
        ];
        assert_eq!(all.map(Status::code), [0, 1, 2, 3, 4, 126, 130, 143]);
    }
}
