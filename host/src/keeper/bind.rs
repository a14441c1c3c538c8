//! Telling the keeper of a program from within the program's own process, before it is one.
//!
//! Told from outside, the keeper would learn of it too late where this process is killed right after it started the
//! program. Here the process itself holds the pipe until it has told: the keeper hears of it first, and of the end after.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Signal;

use super::word;

#[allow(unsafe_code)]
pub(super) fn to(command: &mut Command, line: PipeWriter, signal: Signal) {
    let tell = move || {
        let own = rustix::process::getpid().as_raw_pid();
        match rustix::io::write(&line, &word(own, signal.as_raw())) {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::from(error)),
        }
    };
    // SAFETY: between `fork` and `exec` of a process with threads nothing may be done that takes a lock or memory. This makes
    // two calls of the system, by number and without the C library, and an error of a number alone; the word is shorter
    // than what a pipe takes at once.
    unsafe { command.pre_exec(tell) };
}
