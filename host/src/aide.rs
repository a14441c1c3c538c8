//! Processes of our own: this program, started once more under another name, for one small thing each.
//!
//! A process that is to change its own surroundings must have no other threads, and one that is to outlive this one must be
//! another. The name is the first word of the command line, where a person does not come to it by accident.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program that answers to those names.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says which program answers, where this one does not.
pub fn offer(program: &Path) {
    // Said twice, it is the first that counts.
    let _ = PROGRAM.set(program.to_path_buf());
}

/// Whether there is one.
pub fn is_offered() -> bool {
    PROGRAM.get().is_some()
}

/// The program, to be started under a name.
///
/// # Errors
/// Where no program was offered.
pub fn command(name: &str) -> io::Result<Command> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no program of Backplan's own is at hand");
    let mut command = Command::new::<&OsStr>(PROGRAM.get().ok_or_else(missing)?.as_ref());
    command.arg0(name);
    Ok(command)
}
