//! The mark of a restore that has not ended: which one it is, in the folder that it restores into. It goes with the last file,
//! so a folder that has it does not have everything, and `restore --resume` knows what to go on with.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, fchmod, flock, fstat, fsync, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::BackupsError;
use super::restore::RestoreWish;
use crate::catalog::details::RawPath;
use crate::catalog::ids::RunId;
use crate::openat;

/// Its name in the folder.
pub const NAME: &str = ".backplan-restore-unfinished";
/// What it is called before it is whole.
pub const UNFINISHED: &str = ".backplan-restore-unfinished.new";
/// Bytes of it at the most.
const LARGEST: u64 = 1 << 20;

/// What a restore that has not ended restores. The mark's text is this as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// The sources that were asked for; none: all.
    pub sources: Vec<String>,
    /// The paths; none: all.
    paths: Vec<RawPath>,
}

impl Unfinished {
    /// What is wished for of a run.
    pub fn of(run: RunId, wish: &RestoreWish) -> Unfinished {
        let paths = wish.paths.iter().map(|path| RawPath(PathBuf::from(path))).collect();
        Unfinished { run, sources: wish.sources.clone(), paths }
    }

    /// What the mark of a folder says; `None` where it has none.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::InvalidData`] where the mark is none.
    pub fn read(folder: &Path) -> io::Result<Option<Unfinished>> {
        let path = folder.join(NAME);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mark = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(mark) => File::from(mark),
            Err(Errno::NOENT) => return Ok(None),
            Err(cause) => return Err(cause.into()),
        };
        // It says which run comes back, and what of it: not for another account to choose.
        let owner = mark.metadata()?.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            let text = format!("`{NAME}` there belongs to another account");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let mut text = Vec::new();
        mark.take(LARGEST).read_to_end(&mut text)?;
        serde_json::from_slice(&text).map(Some).map_err(|cause| {
            io::Error::new(io::ErrorKind::InvalidData, format!("`{NAME}` is no mark of a restore: {cause}"))
        })
    }

    /// The paths that were asked for.
    pub fn paths(&self) -> Vec<OsString> {
        self.paths.iter().map(|path| AsRef::<OsStr>::as_ref(path).to_owned()).collect()
    }

    /// Leaves the mark in a folder, durable before anything that it is about, in place of any other but that of a restore which is
    /// at work: the folder is held until the mark is lifted, or this process ends.
    ///
    /// # Errors
    /// [`BackupsError::AtWork`]; else the system's, as [`BackupsError::Target`].
    pub(super) fn leave(&self, folder: &Path) -> Result<Mark, BackupsError> {
        self.leave_in(hold(folder)?, folder)
    }

    /// The same in a folder that is held.
    pub(crate) fn leave_in(&self, mark: Mark, folder: &Path) -> Result<Mark, BackupsError> {
        self.write(mark).map_err(|cause| BackupsError::Target { path: folder.to_path_buf(), cause })
    }

    fn write(&self, mut mark: Mark) -> io::Result<Mark> {
        // Whole, or not at all: half a mark is none.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        mark.held.writable(|folder| {
            match unlinkat(folder, UNFINISHED, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(cause) => return Err(cause.into()),
            }
            let mut file = File::from(openat(folder, UNFINISHED, flags, Mode::RUSR | Mode::WUSR)?);
            let written = file.write_all(&text).and_then(|()| file.sync_all());
            let named = written.and_then(|()| Ok(renameat(folder, UNFINISHED, folder, NAME)?));
            named.and_then(|()| mark.sync()).inspect_err(|_| {
                let _ = unlinkat(folder, UNFINISHED, AtFlags::empty());
            })
        })?;
        mark.is_left = true;
        Ok(mark)
    }
}

/// A folder that no other restore may take as long as this is there.
struct Held {
    folder: OwnedFd,
    /// The folder too, open for more than its names: the lock and its sync are this one's.
    lock: OwnedFd,
}

impl Held {
    /// Takes it; `None`: another has it. Where the file system knows no locks it is everybody's.
    fn take(folder: OwnedFd) -> io::Result<Option<Held>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = openat(&folder, ".", flags, Mode::empty())?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            _ => Ok(Some(Held { folder, lock })),
        }
    }

    /// Does something in it. One of this account's own that may not be written to, as the backup has it, may be for so long.
    fn writable<T>(&self, act: impl FnOnce(&OwnedFd) -> io::Result<T>) -> io::Result<T> {
        let seen = fstat(&self.lock)?;
        let mode = Mode::from_raw_mode(seen.st_mode & 0o7777);
        let own = rustix::process::geteuid();
        let is_closed = !mode.contains(Mode::WUSR | Mode::XUSR) && seen.st_uid == own.as_raw();
        if !is_closed || own.is_root() {
            return act(&self.folder);
        }
        fchmod(&self.lock, mode | Mode::WUSR | Mode::XUSR)?;
        let done = act(&self.folder);
        fchmod(&self.lock, mode)?;
        done
    }
}

/// The folder of a restore that has not ended: no other may work there.
pub(crate) struct Mark {
    held: Held,
    /// There is a mark, so that it can be gone on with.
    is_left: bool,
}

impl Mark {
    /// Takes the mark away, where there is one: all is there.
    ///
    /// # Errors
    /// When the mark cannot be removed durably.
    pub(crate) fn lift(self) -> io::Result<()> {
        if self.is_left {
            self.held.writable(|folder| Ok(unlinkat(folder, NAME, AtFlags::empty())?))?;
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.held.lock)?)
    }
}

/// Holds a folder that is there against all other restores, and leaves no mark: what is cut short begins anew.
///
/// # Errors
/// [`BackupsError::AtWork`]; else the system's, as [`BackupsError::Target`].
pub(crate) fn hold(folder: &Path) -> Result<Mark, BackupsError> {
    let held = openat::folder(folder).and_then(Held::take);
    let held = held.map_err(|cause| BackupsError::Target { path: folder.to_path_buf(), cause })?;
    let held = held.ok_or_else(|| BackupsError::AtWork(folder.to_path_buf()))?;
    Ok(Mark { held, is_left: false })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_restore_works_in_a_folder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let run = "00000001-20261120T023000Z-k7f3qa".parse().unwrap();
        let restore = Unfinished { run, sources: Vec::new(), paths: Vec::new() };
        let first = restore.leave(folder.path()).unwrap();
        for second in [restore.leave(folder.path()), hold(folder.path())] {
            assert!(matches!(second.err().unwrap(), BackupsError::AtWork(_)));
        }
        assert_eq!(Unfinished::read(folder.path()).unwrap(), Some(restore.clone()));
        // One that dies leaves its mark, and nobody works there.
        drop(first);
        hold(folder.path()).unwrap().lift().unwrap();
        assert_eq!(Unfinished::read(folder.path()).unwrap(), Some(restore.clone()));
        restore.leave(folder.path()).unwrap().lift().unwrap();
        assert_eq!(Unfinished::read(folder.path()).unwrap(), None);
    }
}
