//! Who holds a lease, told precisely enough that a dead holder on this machine is known to be dead.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

use super::ids::{RunId, Uuid};
use super::notes::Notes;

/// A process, on a boot, of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's id.
    pub machine: Uuid,
    /// The machine's name.
    pub host: String,
    /// The kernel's id of this boot.
    pub boot: String,
    /// The namespace in which the process id means something.
    pub pid_namespace: String,
    /// The process.
    pub pid: u32,
    /// When the process started, in ticks since boot: ids are reused.
    pub pid_start: u64,
    /// What holds the lease: a run, or a command such as `prune`.
    pub run: String,
    /// Since when, by that host's clock: for messages, never compared.
    pub since: jiff::Timestamp,
    /// Where this host notes the leases that it has taken; `None`: it does not.
    #[serde(skip)]
    pub notes: Option<Notes>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` on host `{}`, process {}, since {}", self.run, self.host, self.pid, self.since)
    }
}

/// What can be said of a holder from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Alive,
    /// It is gone, for certain.
    Dead,
    /// It is elsewhere: only its heartbeat tells.
    Unknown,
}

impl Owner {
    /// This process, for a run.
    pub fn this_process(machine: Uuid, host: &str, run: &RunId) -> Owner {
        Owner::of_command(machine, host, &run.to_string())
    }

    /// This process, for a command that is not a run.
    pub fn of_command(machine: Uuid, host: &str, command: &str) -> Owner {
        let pid = std::process::id();
        Owner {
            machine,
            host: host.to_owned(),
            boot: boot(),
            pid_namespace: pid_namespace(),
            pid,
            pid_start: process(pid).map_or(0, |process| process.start),
            run: command.to_owned(),
            since: jiff::Timestamp::now(),
            notes: None,
        }
    }

    /// The same, on a host that notes the leases that it takes.
    pub fn noting(self, notes: Notes) -> Owner {
        Owner { notes: Some(notes), ..self }
    }

    /// Whether another holder lives, as seen from this process. Another boot proves nothing: a copy of this machine has its
    /// id too, and a boot of its own.
    pub fn life_of(&self, other: &Owner) -> Life {
        if self.machine != other.machine || self.boot != other.boot || other.boot.is_empty() {
            return Life::Unknown;
        }
        if self.pid_namespace != other.pid_namespace || other.pid_namespace.is_empty() {
            return Life::Unknown;
        }
        match process(other.pid) {
            Some(process) if process.start == other.pid_start && !process.gone => Life::Alive,
            _ => Life::Dead,
        }
    }

    /// Whether the process of a holder that lives here is seen to run this program, of whatever version.
    pub fn is_this_program(&self) -> bool {
        let own = program("self");
        own.is_some() && own == program(&self.pid.to_string())
    }

    /// The same of a holder that this host's own state folder tells of: it began here, and ended with its boot.
    pub fn life_here(&self, other: &Owner) -> Life {
        let is_past = self.machine == other.machine && !other.boot.is_empty() && !self.boot.is_empty();
        if is_past && self.boot != other.boot { Life::Dead } else { self.life_of(other) }
    }
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn pid_namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().into_owned()
}

/// The file name of the program that a process runs; of one that was replaced on the disk, as it was.
fn program(pid: &str) -> Option<OsString> {
    const GONE: &[u8] = b" (deleted)";
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.file_name()?.as_bytes();
    Some(OsStr::from_bytes(name.strip_suffix(GONE).unwrap_or(name)).to_owned())
}

struct Process {
    start: u64,
    /// It has ended, and its parent has not asked yet.
    gone: bool,
}

fn process(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also parentheses: fields are counted behind the last one.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // proc_pid_stat(5): `state` is field 3, `starttime` field 22.
    let (state, start) = (fields.first()?, fields.get(19)?);
    Some(Process { start: start.parse().ok()?, gone: matches!(*state, "Z" | "X" | "x") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::{Life, Owner, process};
    use crate::catalog::ids::Uuid;

    fn me() -> Owner {
        Owner::of_command(Uuid::from_bytes([1; 16]), "here", "test")
    }

    #[test]
    fn this_process_lives() {
        assert_eq!(me().life_of(&me()), Life::Alive);
    }

    #[test]
    fn a_reused_process_id_is_another_process() {
        let other = Owner { pid_start: me().pid_start + 1, ..me() };
        assert_eq!(me().life_of(&other), Life::Dead);
    }

    #[test]
    fn a_boot_before_this_one_is_over_here_alone_and_another_machine_is_unknown() {
        let before = Owner { boot: "before".to_owned(), ..me() };
        assert_eq!((me().life_of(&before), me().life_here(&before)), (Life::Unknown, Life::Dead));
        assert_eq!(me().life_of(&Owner { machine: Uuid::from_bytes([2; 16]), ..me() }), Life::Unknown);
        assert_eq!(me().life_of(&Owner { pid_namespace: "pid:[1]".to_owned(), ..me() }), Life::Unknown);
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = Command::new("true").spawn().unwrap();
        let start = process(child.id()).map(|process| process.start);
        let zombie = Owner { pid: child.id(), pid_start: start.unwrap_or_default(), ..me() };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while me().life_of(&zombie) != Life::Dead {
            assert!(std::time::Instant::now() < deadline, "the child never ended");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // It was still there as a zombie when it was taken for dead.
        assert!(process(child.id()).is_some_and(|process| process.gone));
        child.wait().unwrap();
    }
}
