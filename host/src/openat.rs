//! Opening paths beneath a folder, never through a symbolic link, whatever their length; and the folder itself, through
//! no link of another account.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat};
use rustix::io::Errno;

/// What one system call takes, with room to spare.
const PATH_MAX: usize = 4000;

/// How far above an entry of a deep tree the folder is that further ones are opened from.
const NEAR: usize = 512;

/// Links that one path leads through at the most, as the kernel has it.
const LINKS: usize = 40;

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

/// Opens paths beneath one folder, those of deep trees from a folder on the way: entries come in the order of their paths,
/// and to go all the way to each of them costs the square of the depth.
#[derive(Debug, Default)]
pub struct Near(Mutex<Option<(Vec<u8>, Arc<OwnedFd>)>>);

impl Near {
    /// As [`open`].
    ///
    /// # Errors
    /// As [`open`]'s.
    pub fn open(&self, folder: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let Some(end) = path.len().checked_sub(NEAR) else { return open(folder, path, flags, mode) };
        let Some(cut) = path[..end].iter().rposition(|byte| *byte == b'/') else {
            return open(folder, path, flags, mode);
        };
        let held = self.held(path);
        if let Some((above, held)) = &held
            && path.len() - above <= 2 * NEAR
        {
            match open(held, &path[above + 1..], flags, mode) {
                // It may be gone, with another in its place.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                other => return other,
            }
        }
        let through = OFlags::PATH | OFlags::DIRECTORY;
        let further = held.filter(|(above, _)| *above < cut);
        let further =
            further.and_then(|(above, held)| open(held, &path[above + 1..cut], through, Mode::empty()).ok());
        let above = match further {
            Some(above) => above,
            None => open(folder, &path[..cut], through, Mode::empty())?,
        };
        let above = Arc::new(above);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((path[..cut].to_vec(), Arc::clone(&above)));
        open(above, &path[cut + 1..], flags, mode)
    }

    /// The folder that is held, and the length of its path, where `path` is below it.
    fn held(&self, path: &[u8]) -> Option<(usize, Arc<OwnedFd>)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (above, folder) = held.as_ref()?;
        let is_below = path.starts_with(above) && path.get(above.len()) == Some(&b'/');
        is_below.then(|| (above.len(), Arc::clone(folder)))
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

/// Opens the folder that somebody named, made with those above it where it is not there. Links on the way are followed if
/// they are root's or this account's: one of another account would lead to where that one wants.
///
/// # Errors
/// The system's; with the place of a link that is not followed.
pub fn folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = |path: &str| openat(CWD, path, flags, Mode::empty());
    let mut open = top(if path.is_absolute() { "/" } else { "." })?;
    let mut ahead: VecDeque<OsString> = parts(path).collect();
    let (mut links, mut shown) = (0, PathBuf::from(if path.is_absolute() { "/" } else { "" }));
    while let Some(name) = ahead.pop_front() {
        let next = step(&open, &name)?;
        let seen = fstat(&next)?;
        match FileType::from_raw_mode(seen.st_mode) {
            FileType::Directory => {
                shown.push(&name);
                open = next;
            }
            FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP.into());
                }
                if seen.st_uid != 0 && seen.st_uid != rustix::process::geteuid().as_raw() {
                    let place = shown.join(&name);
                    return Err(io::Error::other(format!(
                        "`{}` is a symbolic link of another account, which is not followed: name the folder it leads to",
                        place.display()
                    )));
                }
                let target = OsString::from_vec(readlinkat(&next, "", Vec::new())?.into_bytes());
                let target = PathBuf::from(target);
                if target.is_absolute() {
                    (open, shown) = (top("/")?, PathBuf::from("/"));
                }
                parts(&target).rev().for_each(|part| ahead.push_front(part));
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Ok(openat(&open, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    let named = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(named).map(|part| part.as_os_str().to_os_string())
}

/// What stands under a name, itself; a new folder where nothing does.
fn step(above: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(above, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    match mkdirat(above, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
        Ok(()) | Err(Errno::EXIST) => openat(above, name, flags, Mode::empty()),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    use rustix::io::{Errno, read, write};

    use super::{NEAR, Near};

    const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

    /// A folder in a folder and so on, each with a file `z` that says how deep it is.
    fn deep(top: &Path, depth: usize) {
        let mut folder = openat(CWD, top, FOLDER, Mode::empty()).unwrap();
        for level in 0..depth {
            mkdirat(&folder, "d", Mode::from_raw_mode(0o755)).unwrap();
            folder = openat(&folder, "d", FOLDER, Mode::empty()).unwrap();
            let file =
                openat(&folder, "z", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap();
            write(&file, level.to_string().as_bytes()).unwrap();
        }
    }

    fn at(level: usize) -> Vec<u8> {
        format!("{}z", "d/".repeat(level + 1)).into_bytes()
    }

    fn content(near: &Near, top: &Path, level: usize) -> Result<String, Errno> {
        let top = openat(CWD, top, FOLDER, Mode::empty())?;
        let file = near.open(top, &at(level), OFlags::RDONLY, Mode::empty())?;
        let mut bytes = [0; 16];
        let length = read(&file, &mut bytes[..])?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    #[test]
    fn deep_files_are_the_same_from_near_as_from_afar() {
        let (scratch, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let depth = NEAR + 200;
        deep(scratch.path(), depth);
        let near = Near::default();
        for level in (0..depth).chain((0..depth).rev()).chain([depth - 1, 0, depth / 2]) {
            assert_eq!(content(&near, scratch.path(), level), Ok(level.to_string()));
        }
        let held = near.0.lock().unwrap().as_ref().map(|(above, _)| above.len());
        assert!(held.is_some_and(|above| above > NEAR / 2), "{held:?}");
        assert_eq!(content(&near, scratch.path(), depth), Err(Errno::NOENT));
        // What is gone from there, with another in its place, is that other one; a link is followed nowhere.
        content(&near, scratch.path(), depth - 1).unwrap();
        std::fs::rename(scratch.path().join("d"), other.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(other.path().join("moved"), scratch.path().join("d")).unwrap();
        assert_eq!(content(&Near::default(), scratch.path(), depth - 1), Err(Errno::LOOP));
    }
}
