//! A folder that is held while the path that it was opened by may come to lead elsewhere: what is written by descriptor goes on
//! into the folder, wherever that is by then, and whoever looks under the path later finds nothing of it.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat, stat};

use super::folder::id;

/// A folder, and the path that led to it.
#[derive(Debug)]
pub struct Anchor {
    folder: OwnedFd,
    path: PathBuf,
}

/// A folder that its path leads to no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Moved {
    /// The path.
    pub path: PathBuf,
    /// What became of the folder.
    pub fate: Fate,
}

/// What became of a folder that its path leads to no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is somewhere else.
    Elsewhere(PathBuf),
    /// It is where it was, beneath something else.
    Covered,
    /// What it is on was unmounted, while it was still in use.
    Unmounted,
    /// It is nowhere.
    Deleted,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fate {
            Fate::Elsewhere(now) => write!(
                f,
                "`{path}` was moved away meanwhile: what was written is in `{}` now; move it back, or name its new place",
                now.display()
            ),
            Fate::Covered => write!(
                f,
                "something was mounted over `{path}` meanwhile, and what was written is beneath it; unmount that"
            ),
            Fate::Unmounted => write!(
                f,
                "what `{path}` is on was unmounted meanwhile, and what was written is there; mount it again"
            ),
            Fate::Deleted => {
                write!(f, "`{path}` was deleted meanwhile, with all that was written there")
            }
        }
    }
}

impl Anchor {
    /// Holds the folder that a path leads to now.
    ///
    /// # Errors
    /// When there is no such folder, or this account may not come there.
    pub fn hold(path: &Path) -> io::Result<Anchor> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Anchor { folder: openat(CWD, path, flags, Mode::empty())?, path: path.to_path_buf() })
    }

    /// Sees that the path still leads to the folder.
    ///
    /// # Errors
    /// [`Moved`].
    pub fn check(&self) -> Result<(), Moved> {
        in_place(&self.folder, &self.path)
    }
}

/// Sees that a path leads to a folder that was opened by it.
///
/// # Errors
/// [`Moved`]. Where the path cannot be followed now (a server that does not answer, a folder above it that was closed) nothing
/// is known, and nothing said.
pub fn in_place(folder: impl AsFd, path: &Path) -> Result<(), Moved> {
    let Ok(own) = id(&folder) else { return Ok(()) };
    match stat(path) {
        Ok(found) if (found.st_dev, found.st_ino) == own => return Ok(()),
        Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
        Err(_) => return Ok(()),
    }
    Err(Moved { path: path.to_path_buf(), fate: fate(folder, own) })
}

fn fate(folder: impl AsFd, own: (u64, u64)) -> Fate {
    if fstat(&folder).is_ok_and(|found| found.st_nlink == 0) {
        return Fate::Deleted;
    }
    if super::mounts::is_detached(&folder) {
        return Fate::Unmounted;
    }
    // As the kernel has it; beneath a mount that path leads to what covers it.
    let Ok(now) = fs::read_link(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd())) else {
        return Fate::Covered;
    };
    let leads = stat(&now).is_ok_and(|found| (found.st_dev, found.st_ino) == own);
    if leads { Fate::Elsewhere(now) } else { Fate::Covered }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_that_is_moved_covered_or_deleted_is_told_of() {
        let scratch = tempfile::tempdir().unwrap();
        let (path, other) = (scratch.path().join("a"), scratch.path().join("b"));
        fs::create_dir(&path).unwrap();
        let anchor = Anchor::hold(&path).unwrap();
        assert_eq!(anchor.check(), Ok(()));
        fs::rename(&path, &other).unwrap();
        let moved = Moved { path: path.clone(), fate: Fate::Elsewhere(other.clone()) };
        assert_eq!(anchor.check(), Err(moved.clone()));
        // Another folder in its place is not it.
        fs::create_dir(&path).unwrap();
        assert_eq!(anchor.check(), Err(moved));
        // A link that leads to it is.
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert_eq!(anchor.check(), Ok(()));
        fs::remove_dir(&other).unwrap();
        assert_eq!(anchor.check(), Err(Moved { path, fate: Fate::Deleted }));
    }

    #[test]
    fn a_folder_on_what_was_unmounted_in_use_is_told_of() {
        let scratch = tempfile::tempdir().unwrap();
        let (path, at) = (scratch.path().join("disk/store"), scratch.path().join("disk"));
        fs::create_dir(&at).unwrap();
        let run = |words: &[&str]| std::process::Command::new(words[0]).args(&words[1..]).arg(&at).status();
        if !run(&["mount", "-t", "tmpfs", "tmpfs"]).is_ok_and(|status| status.success()) {
            eprintln!("nothing can be mounted here");
            return;
        }
        fs::create_dir(&path).unwrap();
        let (anchor, root) = (Anchor::hold(&path).unwrap(), Anchor::hold(&at).unwrap());
        assert!(run(&["umount", "--lazy"]).unwrap().success());
        assert_eq!(anchor.check(), Err(Moved { path, fate: Fate::Unmounted }));
        assert_eq!(root.check(), Err(Moved { path: at, fate: Fate::Unmounted }));
    }
}
