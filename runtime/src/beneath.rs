//! Opening paths beneath a folder, never through a symbolic link, whatever their length.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// What one system call takes, with room to spare.
const PATH_MAX: usize = 4000;

/// Set once the kernel (before 5.6) or a filter turned out not to know `openat2`.
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens `path` (components joined by single slashes, no `..`) beneath `folder`. No component may be a symbolic link,
/// except that the last one may be opened itself with `O_PATH | O_NOFOLLOW`.
///
/// # Errors
/// The system's; `ELOOP` where a symbolic link is in the way.
pub fn open(folder: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let mut above: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > PATH_MAX {
        let cut = rest[..PATH_MAX].iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let next = match &above {
            Some(above) => open_short(above, &rest[..cut], through, Mode::empty())?,
            None => open_short(&folder, &rest[..cut], through, Mode::empty())?,
        };
        above = Some(next);
        rest = &rest[cut + 1..];
    }
    match &above {
        Some(above) => open_short(above, rest, flags, mode),
        None => open_short(&folder, rest, flags, mode),
    }
}

fn open_short(folder: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        // With NO_SYMLINKS the kernel refuses even to name a last symbolic link: BENEATH and NOFOLLOW name it.
        let resolve = if flags.contains(OFlags::PATH) && !flags.contains(OFlags::DIRECTORY) {
            return open_last(folder, path, flags);
        } else {
            resolve
        };
        match openat2(&folder, OsStr::from_bytes(path), flags, mode, resolve) {
            Err(Errno::NOSYS) => WITHOUT_OPENAT2.store(true, Ordering::Relaxed),
            // Raced with a rename somewhere in the tree: the kernel could not tell; once more, step by step.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    open_stepwise(folder, path, flags, mode)
}

/// Opens the folder of `path` confined, and in it the last name, whatever it is.
fn open_last(folder: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let (above, name) = split(path);
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if above.is_empty() {
        return openat(folder, OsStr::from_bytes(name), flags, Mode::empty());
    }
    let above = open_short(folder, above, through, Mode::empty())?;
    openat(above, OsStr::from_bytes(name), flags, Mode::empty())
}

fn open_stepwise(folder: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let (above, name) = split(path);
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut current: Option<OwnedFd> = None;
    for part in above.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        if part == b".." {
            return Err(Errno::XDEV);
        }
        let part = OsStr::from_bytes(part);
        let next = match &current {
            Some(current) => openat(current, part, through, Mode::empty())?,
            None => openat(&folder, part, through, Mode::empty())?,
        };
        current = Some(next);
    }
    if name == b".." {
        return Err(Errno::XDEV);
    }
    match &current {
        Some(current) => openat(current, OsStr::from_bytes(name), flags, mode),
        None => openat(&folder, OsStr::from_bytes(name), flags, mode),
    }
}

/// A path's folder (empty: the root) and last name.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}
