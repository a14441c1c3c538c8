//! Private keys that open encrypted backups: those that are named, and the passphrases that they are under.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use backplan_runtime::backups::shelf::Shelves;
use backplan_runtime::cipher::{Ask, Keyring, Passphrase};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::args::Identities;
use crate::exit::Failure;

/// Names the file of a private key where no option does.
const VARIABLE: &str = "BACKPLAN_IDENTITY";

/// Gives stores the keys that are named. The one of the environment is only read where something in them is encrypted, so that
/// nobody is asked for a passphrase in vain.
///
/// # Errors
/// When a file has no key that can be used.
pub fn with_keys(shelves: Shelves, named: &Identities) -> Result<Shelves, Failure> {
    let is_sealed = || {
        let mut runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
        // The details of a run are sealed where any of its archives is, also in stores that hold none of these.
        runs.any(|run| !run.recipients().is_empty() || run.warnings.is_some())
    };
    let keys = keys(named, is_sealed)?;
    Ok(shelves.with_keys(&Arc::new(keys)))
}

/// The keys that are named; where none is and one is needed, that of the environment.
///
/// # Errors
/// When a file has no key that can be used.
pub fn keys(named: &Identities, is_needed: impl FnOnce() -> bool) -> Result<Keyring, Failure> {
    let mut keys = Keyring::default();
    for file in files(named, is_needed) {
        keys.add_file(&file, &Terminal).map_err(|error| Failure::new(error.to_string()))?;
    }
    Ok(keys)
}

/// The files of these keys.
pub fn files(named: &Identities, is_needed: impl FnOnce() -> bool) -> Vec<PathBuf> {
    let mut files = named.identity.clone();
    if files.is_empty() && is_needed() {
        let variable = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
        files.extend(variable.map(PathBuf::from));
    }
    files
}

/// Whoever sits at the terminal of this process, whatever its input and output are.
struct Terminal;

impl Ask for Terminal {
    fn passphrase(&self, question: &str) -> Option<Passphrase> {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let silent = Silent::start(&terminal)?;
        (&terminal).write_all(question.as_bytes()).ok()?;
        let line = read_line(&terminal);
        drop(silent);
        let _ = (&terminal).write_all(b"\n");
        line.map(Passphrase::from)
    }
}

/// A terminal that shows nothing of what is typed, for as long as this lives.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn start(terminal: &'a File) -> Option<Silent<'a>> {
        let before = tcgetattr(terminal).ok()?;
        let mut silent = before.clone();
        // Also byte by byte, and without signals: a Ctrl-C ends the question, and then the terminal is as it was.
        silent.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &silent).ok()?;
        Some(Silent { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// What is typed before the line ends; `None`: it was given up.
fn read_line(mut terminal: &File) -> Option<String> {
    let mut typed = Vec::with_capacity(MOST);
    let mut byte = [0];
    loop {
        match (terminal.read(&mut byte), byte[0]) {
            (Ok(1), b'\n' | b'\r') => break,
            (Ok(1), 0x03 | 0x04) | (Ok(0) | Err(_), _) => return None,
            (Ok(_), 0x08 | 0x7f) => while typed.pop().is_some_and(|last: u8| last & 0xc0 == 0x80) {},
            (Ok(_), 0x15) => typed.clear(),
            (Ok(_), byte) if typed.len() < MOST => typed.push(byte),
            (Ok(_), _) => {}
        }
    }
    String::from_utf8(typed).ok()
}

/// Bytes of a passphrase at the most.
const MOST: usize = 1024;
