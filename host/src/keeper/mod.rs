//! Programs that live no longer than this process does, even where it is killed.
//!
//! The system ends no child with its parent, and what it can be told to send at a parent's death goes to one process, by the
//! thread that started it, and is forgotten where the account changes. So another process, the keeper, is told of every
//! program's group before the program begins, and when it is over. It reads this from a pipe; where that ends, this
//! process is gone, and the keeper ends the groups that are left, as this one would have: what left its group was meant to go on.

mod bind;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::aide;

/// The name of the keeper. None that a person kills by the name of the program.
pub const NAME: &str = "keeper";
/// How long a group may take to end after its signal, before SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(20);
/// Bytes of what is told at once: a group, and the signal that it is to be ended with, or nothing when it is over.
const WORD: usize = 8;

static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

struct Keeper {
    process: Child,
    line: PipeWriter,
    /// Open here as well: writing to a keeper that is gone is no reason to be ended by a signal.
    _other_end: PipeReader,
    /// What it has been told of.
    groups: BTreeMap<i32, i32>,
}

/// Starts a program as the leader of a process group that ends with this process, by a signal, then by SIGKILL. Once it is over
/// it is to be [`released`](release).
///
/// # Errors
/// When it, or its keeper, cannot be started.
pub fn spawn(command: &mut Command, signal: Signal) -> io::Result<Child> {
    command.process_group(0);
    if !aide::is_offered() {
        return command.spawn();
    }
    let mut place = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    let keeper = alive(&mut place)?;
    bind::to(command, keeper.line.try_clone()?, signal);
    let child = command.spawn()?;
    keeper.groups.insert(Pid::from_child(&child).as_raw_pid(), signal.as_raw());
    Ok(child)
}

/// A group is over, or what is left of it may go on.
pub fn release(group: Pid) {
    let mut place = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    let group = group.as_raw_pid();
    if let Some(keeper) = place.as_mut()
        && keeper.groups.remove(&group).is_some()
    {
        // A keeper that is gone is replaced by one that is told of what is left.
        let _ = keeper.line.write_all(&word(group, 0));
    }
}

/// The keeper, started where there is none, or none any more.
fn alive(place: &mut Option<Keeper>) -> io::Result<&mut Keeper> {
    let has_ended = |keeper: &mut Keeper| !matches!(keeper.process.try_wait(), Ok(None));
    if place.as_mut().is_none_or(has_ended) {
        let groups = place.take().map(|keeper| keeper.groups).unwrap_or_default();
        let (reader, mut line) = io::pipe()?;
        let mut command = aide::command(NAME)?;
        command.env_clear().current_dir("/").process_group(0);
        command.stdin(reader.try_clone()?).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn()?;
        for (group, signal) in &groups {
            line.write_all(&word(*group, *signal))?;
        }
        *place = Some(Keeper { process, line, _other_end: reader, groups });
    }
    place.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn word(group: i32, signal: i32) -> [u8; WORD] {
    let mut word = [0; WORD];
    word[..4].copy_from_slice(&group.to_ne_bytes());
    word[4..].copy_from_slice(&signal.to_ne_bytes());
    word
}

/// A group that the keeper was told of.
#[derive(Debug, Clone, Copy)]
struct Group {
    id: Pid,
    signal: Signal,
    /// When its leader began, by the system's own count: a number that is used again is another's.
    began: Option<u64>,
}

/// Listens until the other process is gone, then ends what is left of its programs.
pub fn serve() -> ExitCode {
    let (mut groups, mut heard) = (BTreeMap::new(), [0; WORD]);
    let mut line = io::stdin().lock();
    while line.read_exact(&mut heard).is_ok() {
        let [group, signal] = [0, 4].map(|at| {
            let part = [heard[at], heard[at + 1], heard[at + 2], heard[at + 3]];
            i32::from_ne_bytes(part)
        });
        let Some(id) = Pid::from_raw(group) else { continue };
        match Signal::from_named_raw(signal) {
            Some(signal) => drop(groups.insert(group, Group { id, signal, began: began(id) })),
            None => drop(groups.remove(&group)),
        }
    }
    end(groups.into_values().filter(Group::is_it).collect());
    ExitCode::SUCCESS
}

impl Group {
    fn is_it(&self) -> bool {
        let now = began(self.id);
        now.is_none() || now == self.began
    }
}

fn end(mut groups: Vec<Group>) {
    for group in &groups {
        // One that is gone already is what is wanted.
        let _ = kill_process_group(group.id, group.signal);
    }
    let until = Instant::now() + GRACE;
    while !groups.is_empty() && Instant::now() < until {
        std::thread::sleep(TICK);
        groups.retain(|group| test_kill_process_group(group.id).is_ok());
    }
    for group in groups {
        let _ = kill_process_group(group.id, Signal::KILL);
    }
}

/// When a process began.
fn began(process: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_when_it_began() {
        let own = rustix::process::getpid();
        assert!(began(own).is_some_and(|count| count > 0));
        assert_eq!(began(own), began(own));
        let first = Pid::from_raw(1).and_then(began);
        assert_ne!(first, began(own));
    }
}
