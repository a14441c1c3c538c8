//! Scouts run ahead of a walk whose disk is cold. A walk is one thread, and asks a disk one question at a time; several are
//! answered in the time of one. Scouts look at what the walk will look at, so that the system has it in memory when the walk
//! comes, and keep nothing of it: what a walk sees, and in which order, does not depend on them.
//!
//! They enter no file system but that of the folder they were shown, and nothing that is excluded.

use std::ffi::OsStr;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use backplan_compiler::pattern::Patterns;
use rustix::fs::{AtFlags, FileType};

use super::walk::{Names, open_folder, stat};

/// How many look at once: more than most disks answer faster for.
const SCOUTS: usize = 8;
/// Entries that scouts may be ahead of the walk: what they found must still be in memory when it comes.
const AHEAD: u64 = 50_000;
/// Names that are looked at in one go.
const PIECE: usize = 64;
/// Folders that are open at once: the walk needs what a process may open more than its scouts do.
const OPEN: usize = 48;
/// Folders that a walk is in and that are shown, from the innermost on.
pub(super) const SHOWN: usize = 16;
/// Entries between two looks at how often the walk had to wait.
const STRETCH: u64 = 512;
/// So many waits in a stretch are those of a disk.
const WAITS: u64 = 8;

/// Finds out whether a walk has to wait for its disk.
#[derive(Debug, Default)]
pub(super) struct Pace {
    entries: u64,
    waits: Option<u64>,
}

/// A part of a walk that is behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// Entries that it was.
    pub(super) entries: u64,
    /// Whether it was a disk that they were waited for.
    pub(super) is_slow: bool,
}

impl Pace {
    /// The walk comes to another entry; once in a while: how it went.
    pub(super) fn stretch(&mut self) -> Option<Stretch> {
        self.entries += 1;
        if !self.entries.is_multiple_of(STRETCH) {
            return None;
        }
        let before = std::mem::replace(&mut self.waits, waits());
        let waited = self.waits.zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
        Some(Stretch { entries: STRETCH, is_slow: waited >= WAITS })
    }
}

/// How often this thread gave its processor back to wait for something, as `proc_pid_status(5)` has it.
fn waits() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

/// A folder and the names in it that scouts have not looked at yet.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) opened: OwnedFd,
    pub(super) names: Names,
    /// Its path below the entry of `paths` that it is of; empty: it is that entry.
    pub(super) path: Vec<u8>,
    /// Its file system, the only one that is looked at.
    pub(super) device: (u32, u32),
}

/// One that is counted as long as it is open.
#[derive(Debug)]
struct Counted {
    folder: Folder,
    _one: Arc<()>,
}

/// What a scout does next.
#[derive(Debug)]
enum Job {
    /// Look at these names of a folder.
    Look(Arc<Counted>, std::ops::Range<usize>),
    /// Read the folder of this name.
    Enter(Arc<Counted>, usize),
}

#[derive(Debug, Default)]
struct State {
    /// The next is the last: what the walk comes to first.
    jobs: Vec<Job>,
    busy: usize,
    /// Held by each folder that is open.
    open: Arc<()>,
    /// Entries that were looked at, and that the walk has come to.
    looked: u64,
    walked: u64,
    is_over: bool,
}

#[derive(Debug)]
struct Shared {
    excluded: Arc<Patterns>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Scouts under way; they end with this.
#[derive(Debug)]
pub(super) struct Scouts {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Scouts {
    /// Sends them into folders, of which the walk will come to the last one's names first.
    pub(super) fn send(excluded: Arc<Patterns>, folders: Vec<Folder>) -> Scouts {
        let mut state = State::default();
        for folder in folders {
            state.show(folder);
        }
        let shared = Arc::new(Shared { excluded, state: Mutex::new(state), changed: Condvar::new() });
        let start = |_| {
            let shared = Arc::clone(&shared);
            // Where the system gives no thread, the walk is as quick as it is.
            Builder::new().spawn(move || shared.work()).ok()
        };
        Scouts { threads: (0..SCOUTS).map_while(start).collect(), shared }
    }

    /// The walk has come to so many entries more.
    pub(super) fn passed(&self, entries: u64) {
        self.shared.lock().walked += entries;
        self.shared.changed.notify_all();
    }

    #[cfg(test)]
    fn finished(mut self) -> u64 {
        self.threads.drain(..).for_each(|thread| thread.join().unwrap_or_default());
        self.shared.lock().looked
    }
}

impl Drop for Scouts {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A scout that panicked found nothing that the walk does not find.
            drop(thread.join());
        }
    }
}

impl State {
    fn show(&mut self, folder: Folder) {
        let count = folder.names.len();
        let folder = Arc::new(Counted { folder, _one: Arc::clone(&self.open) });
        let starts = (0..count).step_by(PIECE).rev();
        let piece = |start: usize| start..count.min(start + PIECE);
        self.jobs.extend(starts.map(|start| Job::Look(Arc::clone(&folder), piece(start))));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folders that are open.
    fn open(&self) -> usize {
        Arc::strong_count(&self.lock().open) - 1
    }

    fn work(&self) {
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 15];
        while let Some(job) = self.next() {
            let mut found = Vec::new();
            let mut looked = 0;
            let mut entered = None;
            match job {
                Job::Look(folder, range) => {
                    looked = range.len() as u64;
                    let inner = range.filter(|name| self.is_folder(&folder.folder, *name));
                    found.extend(inner.map(|name| Job::Enter(Arc::clone(&folder), name)));
                }
                // Where many are open the walk finds the rest by itself.
                Job::Enter(..) if self.open() > OPEN => {}
                Job::Enter(folder, name) => entered = folder.folder.enter(name, &mut buffer),
            }
            let mut state = self.lock();
            state.looked += looked;
            state.jobs.extend(found.into_iter().rev());
            entered.into_iter().for_each(|folder| state.show(folder));
            state.busy -= 1;
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The next thing to do; waits where the walk is far behind, and while others may still find something.
    fn next(&self) -> Option<Job> {
        let waits = |state: &mut State| {
            let is_ahead = state.looked > state.walked.saturating_add(AHEAD);
            let is_done = state.jobs.is_empty() && state.busy == 0;
            !state.is_over && !is_done && (is_ahead || state.jobs.is_empty())
        };
        let mut state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        let job = if state.is_over { None } else { state.jobs.pop() }?;
        state.busy += 1;
        Some(job)
    }

    /// Looks at an entry: whether it is a folder that the walk will enter.
    fn is_folder(&self, folder: &Folder, name: usize) -> bool {
        let name = folder.names.get(name).unwrap_or_default();
        let Ok(seen) = stat(&folder.opened, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) else {
            return false;
        };
        let is_near = (seen.stx_dev_major, seen.stx_dev_minor) == folder.device;
        let is_folder = FileType::from_raw_mode(seen.stx_mode.into()) == FileType::Directory;
        is_folder && is_near && !self.excluded.verdict(&folder.below(name), true).is_left_out()
    }
}

impl Folder {
    /// The path of something in it.
    fn below(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Reads a folder in it. Whatever is wrong with that is the walk's to say.
    fn enter(&self, name: usize, buffer: &mut [MaybeUninit<u8>]) -> Option<Folder> {
        let name = self.names.get(name)?;
        let opened = open_folder(&self.opened, OsStr::from_bytes(name)).ok()?;
        let seen = stat(&opened, OsStr::new(""), AtFlags::EMPTY_PATH).ok()?;
        if (seen.stx_dev_major, seen.stx_dev_minor) != self.device {
            return None;
        }
        let mut names = Names::default();
        // What cannot be read to its end is the walk's to say.
        names.read(&opened, buffer).ok()?;
        names.sort();
        let path = self.below(name);
        Some(Folder { opened, names, path, device: self.device })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::sync::Arc;

    use backplan_compiler::pattern::Patterns;

    use super::{Folder, Scouts};
    use crate::scan::walk::{Names, identity, open_folder, stat};
    use rustix::fs::{AtFlags, CWD};

    /// What all of `folder` is for scouts.
    fn shown(folder: &std::path::Path) -> Folder {
        let opened = open_folder(CWD, folder.as_os_str()).unwrap();
        let seen = stat(&opened, std::ffi::OsStr::new(""), AtFlags::EMPTY_PATH).unwrap();
        let mut names = Names::default();
        names.read(&opened, &mut vec![std::mem::MaybeUninit::uninit(); 1 << 15]).unwrap();
        names.sort();
        Folder { opened, names, path: Vec::new(), device: identity(&seen).0 }
    }

    #[test]
    fn scouts_look_at_all_but_what_is_excluded_and_follow_no_link() {
        let world = tempfile::tempdir().unwrap();
        let inside = |path: &str| world.path().join(path);
        for at in 0..300 {
            fs::create_dir_all(inside(&format!("kept/{at}/cache"))).unwrap();
            fs::write(inside(&format!("kept/{at}/cache/one")), "").unwrap();
            fs::write(inside(&format!("kept/{at}/two")), "").unwrap();
        }
        std::os::unix::fs::symlink(inside("kept"), inside("link")).unwrap();
        let count = |patterns: &[&str]| {
            let excluded = Arc::new(Patterns::new(patterns.iter().copied()));
            Scouts::send(excluded, vec![shown(world.path())]).finished()
        };
        // `kept` and `link`, 300 folders, two entries in each, and one in each `cache`.
        assert_eq!(count(&[]), 2 + 300 + 600 + 300);
        assert_eq!(count(&["cache/"]), 2 + 300 + 600);
        assert_eq!(count(&["/kept/1*"]), 2 + 300 + 189 * 3);
        assert_eq!(count(&["kept"]), 2);
    }
}
