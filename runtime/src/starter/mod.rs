//! Those that start programs on this machine: systemd, and cron through its `crontab`.

pub mod crontab;
pub mod systemd;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Why a program that was asked did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StarterError {
    /// It cannot be started.
    #[error("`{program}` cannot be started: {cause}")]
    NotThere {
        /// Which.
        program: &'static str,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// It ended with an error.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// Program and arguments.
        command: String,
        /// What it said.
        said: String,
    },
    /// The crontab holds something that nobody but its owner can put right.
    #[error("{0}")]
    Crontab(String),
}

/// A folder of this account's own, where a variable says it or below its home.
///
/// # Errors
/// Where neither is set to an absolute path.
fn own(variable: &str, below_home: &str) -> io::Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set(variable).or_else(|| Some(set("HOME")?.join(below_home))).ok_or_else(|| {
        io::Error::other(format!("neither {variable} nor HOME says where this account's settings are"))
    })
}

fn asked(program: &'static str, args: &[&str], input: &[u8]) -> Result<Output, StarterError> {
    let not_there = |cause| StarterError::NotThere { program, cause };
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").env("SYSTEMD_PAGER", "");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(not_there)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who reads nothing of it says why as it ends.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output().map_err(not_there)
}

fn done(program: &'static str, args: &[&str], input: &[u8]) -> Result<Output, StarterError> {
    let output = asked(program, args, input)?;
    if output.status.success() {
        return Ok(output);
    }
    let command = [&[program], args].concat().join(" ");
    Err(StarterError::Failed { command, said: said(&output) })
}

/// What a program said when it failed, in one line.
fn said(output: &Output) -> String {
    let text = crate::text::printable(&output.stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { output.status.to_string() } else { lines.join("; ") }
}
