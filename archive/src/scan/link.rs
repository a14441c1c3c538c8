//! Entries of `paths` that are symbolic links: the link is recorded, and what it leads to is not, which is rarely what was
//! meant.

use std::fs;
use std::path::{Path, PathBuf};

use backplan_compiler::model::Files;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// This, and no other entry of `paths` takes it in.
    To(PathBuf),
    /// Nothing.
    Dangling,
}

/// What is to be said of an entry of `paths`; `None`: it is no link, or to something that is taken in by itself.
pub fn look(files: &Files, path: &Path) -> Option<Link> {
    if !path.symlink_metadata().is_ok_and(|seen| seen.is_symlink()) {
        return None;
    }
    match resolved(files, path) {
        Ok(target) => {
            let is_taken = files.paths.iter().any(|entry| {
                fs::canonicalize(&entry.absolute).is_ok_and(|there| target.starts_with(&there))
                    && entry.absolute.symlink_metadata().is_ok_and(|seen| !seen.is_symlink())
            });
            (!is_taken).then_some(Link::To(target))
        }
        Err(cause) if leads_nowhere(&cause) => Some(Link::Dangling),
        // Who may not look further has the link all the same.
        Err(_) => None,
    }
}

fn leads_nowhere(cause: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(cause), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

/// Below a `root` links lead where they would if that were the host's own.
fn resolved(files: &Files, path: &Path) -> std::io::Result<PathBuf> {
    let Some((root, below)) =
        files.root.as_ref().and_then(|root| Some((root, path.strip_prefix(root).ok()?)))
    else {
        return fs::canonicalize(path);
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let top = openat2(CWD, root, flags | OFlags::DIRECTORY, Mode::empty(), ResolveFlags::empty())?;
    let there = openat2(&top, below, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&there)))
}
