//! A folder and all below it, by descriptors: no path is followed twice, no symbolic link, and no mount is entered.
//!
//! What was a folder when it was looked at may be a link when it is opened, so that each is opened in the folder above it,
//! never through a link, and held. Nothing is deleted before all of it was looked through: what is mounted anywhere inside is
//! told of while everything is still there.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;

use super::mounts::{Seen, mount_of, seen};
use super::trust::{self, Distrust};
use crate::control::{Control, Stopped};

/// Folders that are held open at once on the way down; those above are found again from below, and compared.
const HELD: usize = 64;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why a folder was not looked through, or not emptied.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something is mounted inside. Nothing was deleted, unless it was mounted just now.
    #[error("something is mounted at `{}`: unmount it, or leave that folder alone", .0.display())]
    Mount(PathBuf),
    /// Somebody moved or exchanged a folder under the feet of this.
    #[error("`{}` was moved or exchanged meanwhile", .0.display())]
    Exchanged(PathBuf),
    /// Others could exchange it.
    #[error("`{}` is left alone: {cause}; {}", path.display(), cause.mend())]
    Distrust {
        /// What.
        path: PathBuf,
        /// How.
        #[source]
        cause: Distrust,
    },
    /// The system's own words.
    #[error("`{}`: {cause}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// It was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<FolderError> for io::Error {
    fn from(error: FolderError) -> io::Error {
        match error {
            FolderError::Io { cause, .. } => cause,
            other => io::Error::other(other),
        }
    }
}

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    shown: PathBuf,
    mount: u64,
}

/// What a walk meets. A folder is met twice: before what is in it, and behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Anything but a folder.
    File,
    /// A folder, before what is in it.
    Into,
    /// A folder, behind all that is in it.
    OutOf,
}

/// Told of everything that a walk meets: what it is, the folder that it is in, and the names that lead to it.
type Visit<'v> = dyn FnMut(Met, BorrowedFd<'_>, &[OsString]) -> Result<(), FolderError> + 'v;

impl Folder {
    /// Opens a folder; `path` may lead through links, but its last name is none.
    ///
    /// # Errors
    /// When there is no such folder, or this account may not look into it.
    pub fn open(path: &Path) -> io::Result<Folder> {
        Folder::of(openat(CWD, path, FOLDER, Mode::empty())?, path)
    }

    /// One that was opened by somebody else; `shown` is for messages.
    ///
    /// # Errors
    /// When the system does not tell what it is mounted on.
    pub fn of(fd: OwnedFd, shown: &Path) -> io::Result<Folder> {
        let mount = mount_of(&fd)?;
        Ok(Folder { fd, shown: shown.to_path_buf(), mount })
    }

    /// The folder itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The names directly in it, sorted.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn names(&self) -> Result<Vec<OsString>, FolderError> {
        let mut names = names(self.fd.as_fd()).map_err(at(&self.shown))?;
        names.sort();
        Ok(names)
    }

    /// Looks through all of it.
    ///
    /// # Errors
    /// [`FolderError::Mount`] where something is mounted inside, and whatever `visit` says.
    pub fn look(&self, control: &Control, visit: &mut Visit<'_>) -> Result<(), FolderError> {
        self.walk(&|_| true, control, visit)
    }

    /// Deletes everything in it of which `goes` says so by its name directly in the folder. The folder stays. Says how many of
    /// these there were. All of it is looked through first.
    ///
    /// # Errors
    /// [`FolderError::Mount`] where something is mounted inside: then nothing was deleted.
    pub fn empty(&self, goes: &dyn Fn(&OsStr) -> bool, control: &Control) -> Result<usize, FolderError> {
        self.walk(goes, control, &mut |_, _, _| Ok(()))?;
        let mut count = 0;
        self.walk(goes, control, &mut |met, above, names| {
            count += usize::from(names.len() == 1 && met != Met::Into);
            self.delete(met, above, names)
        })?;
        Ok(count)
    }

    fn delete(&self, met: Met, above: BorrowedFd<'_>, names: &[OsString]) -> Result<(), FolderError> {
        let flags = match met {
            Met::Into => return Ok(()),
            Met::File => AtFlags::empty(),
            Met::OutOf => AtFlags::REMOVEDIR,
        };
        let name = names.last().map_or(OsStr::new(""), OsString::as_os_str);
        match unlinkat(above, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(at(&self.below(names))(error.into())),
        }
    }

    fn below(&self, names: &[OsString]) -> PathBuf {
        names.iter().fold(self.shown.clone(), |path, name| path.join(name))
    }

    fn walk(
        &self,
        goes: &dyn Fn(&OsStr) -> bool,
        control: &Control,
        visit: &mut Visit<'_>,
    ) -> Result<(), FolderError> {
        let own = self.fd.try_clone().map_err(at(&self.shown))?;
        let mut top = Level::of(own).map_err(at(&self.shown))?;
        top.waiting.retain(|name| goes(name));
        let mut walk = Walk { folder: self, levels: vec![top], names: Vec::new() };
        while let Some(level) = walk.levels.last_mut() {
            control.check()?;
            match level.waiting.pop() {
                Some(name) => walk.meet(name, visit)?,
                None => walk.leave(visit)?,
            }
        }
        Ok(())
    }
}

/// A folder on the way down.
struct Level {
    /// `None`: too many are open; it is found again from the one below.
    fd: Option<OwnedFd>,
    /// Device and inode, to know it again.
    id: (u64, u64),
    waiting: Vec<OsString>,
}

impl Level {
    fn of(fd: OwnedFd) -> io::Result<Level> {
        let (id, waiting) = (id(&fd)?, names(fd.as_fd())?);
        Ok(Level { fd: Some(fd), id, waiting })
    }
}

struct Walk<'a> {
    folder: &'a Folder,
    levels: Vec<Level>,
    names: Vec<OsString>,
}

impl Walk<'_> {
    fn path(&self) -> PathBuf {
        self.folder.below(&self.names)
    }

    fn current(&self) -> Result<BorrowedFd<'_>, FolderError> {
        let fd = self.levels.last().and_then(|level| level.fd.as_ref());
        fd.map(AsFd::as_fd).ok_or_else(|| FolderError::Exchanged(self.path()))
    }

    fn meet(&mut self, name: OsString, visit: &mut Visit<'_>) -> Result<(), FolderError> {
        self.names.push(name);
        let name = self.names.last().map_or(OsStr::new(""), OsString::as_os_str);
        let seen = match seen(self.current()?, name) {
            Ok(seen) => seen,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.names.pop();
                return Ok(());
            }
            Err(cause) => return Err(at(&self.path())(cause)),
        };
        self.is_here(&seen)?;
        if seen.kind != FileType::Directory {
            visit(Met::File, self.current()?, &self.names)?;
            self.names.pop();
            return Ok(());
        }
        let below = openat(self.current()?, name, FOLDER, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP | Errno::NOENT => FolderError::Exchanged(self.path()),
            error => at(&self.path())(error.into()),
        })?;
        // What was mounted since is seen by the descriptor.
        if mount_of(&below).map_err(|cause| at(&self.path())(cause))? != self.folder.mount {
            return Err(FolderError::Mount(self.path()));
        }
        visit(Met::Into, self.current()?, &self.names)?;
        let level = Level::of(below).map_err(|cause| at(&self.path())(cause))?;
        self.levels.push(level);
        let deep = self.levels.len();
        if deep > HELD + 1 {
            self.levels[deep - 1 - HELD].fd = None;
        }
        Ok(())
    }

    fn is_here(&self, seen: &Seen) -> Result<(), FolderError> {
        match seen.mount {
            Some(mount) if mount != self.folder.mount => Err(FolderError::Mount(self.path())),
            _ => Ok(()),
        }
    }

    /// Back to the folder above; nowhere from the top.
    fn leave(&mut self, visit: &mut Visit<'_>) -> Result<(), FolderError> {
        let Some(done) = self.levels.pop() else { return Ok(()) };
        match self.levels.last() {
            Some(above) if above.fd.is_none() => {
                let found = self.found_again(&done, above.id)?;
                if let Some(above) = self.levels.last_mut() {
                    above.fd = Some(found);
                }
            }
            Some(_) => {}
            None => return Ok(()),
        }
        drop(done);
        visit(Met::OutOf, self.current()?, &self.names)?;
        self.names.pop();
        Ok(())
    }

    /// The folder above, by way of the one below. One that was moved meanwhile leads elsewhere.
    fn found_again(&self, below: &Level, known: (u64, u64)) -> Result<OwnedFd, FolderError> {
        let moved = || FolderError::Exchanged(self.path());
        let failed = |cause| at(&self.path())(cause);
        let below = below.fd.as_ref().ok_or_else(moved)?;
        let found = openat(below, "..", FOLDER, Mode::empty()).map_err(|error| failed(error.into()))?;
        match id(&found).map_err(failed)? == known {
            true => Ok(found),
            false => Err(moved()),
        }
    }
}

/// Removes a file, or a folder with all that is in it; one that is not there is a success. Follows no link at the end of
/// `path`; whether the folder above is the right one is for the caller to know.
///
/// # Errors
/// [`FolderError::Mount`] where something is mounted there or inside: then nothing was deleted.
pub fn remove(path: &Path) -> Result<(), FolderError> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(at(path)(io::ErrorKind::InvalidInput.into()));
    };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(CWD, above, open, Mode::empty()) {
        Ok(fd) => remove_in(fd.as_fd(), name, path),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(at(above)(error.into())),
    }
}

/// As [`remove`], in a folder that is held open; `shown` is for messages.
///
/// # Errors
/// As [`remove`].
pub fn remove_in(above: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<(), FolderError> {
    let found = match seen(above, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(at(shown))?,
    };
    if found.mount.is_some_and(|mount| mount_of(above).is_ok_and(|own| own != mount)) {
        return Err(FolderError::Mount(shown.to_path_buf()));
    }
    let flags = match found.kind {
        FileType::Directory => {
            let fd = openat(above, name, FOLDER, Mode::empty());
            let folder =
                fd.map_err(io::Error::from).and_then(|fd| Folder::of(fd, shown)).map_err(at(shown))?;
            folder.empty(&|_| true, &Control::default())?;
            AtFlags::REMOVEDIR
        }
        _ => AtFlags::empty(),
    };
    match unlinkat(above, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(at(shown)(error.into())),
    }
}

/// As [`remove`], by a way that no other account can exchange.
///
/// # Errors
/// As [`remove`], and where others could exchange it.
pub fn remove_safely(path: &Path) -> Result<(), FolderError> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(at(path)(io::ErrorKind::InvalidInput.into()));
    };
    match trust::open_folder(above) {
        Ok(fd) => remove_in(fd.as_fd(), name, path),
        Err(cause) if cause.is_missing() => Ok(()),
        Err(cause) => Err(FolderError::Distrust { path: path.to_path_buf(), cause }),
    }
}

fn names(folder: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Device and inode.
pub fn id(fd: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn at(path: &Path) -> impl Fn(io::Error) -> FolderError + use<> {
    let path = path.to_path_buf();
    move |cause| FolderError::Io { path: path.clone(), cause }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{RenameFlags, renameat_with};

    use super::*;

    #[test]
    fn all_goes_but_what_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        fs::write(inside.join("a/b/c"), "x").unwrap();
        symlink(&outside, inside.join("a/link")).unwrap();
        symlink(&outside, dir.path().join("door")).unwrap();
        assert_eq!(Folder::open(&inside).unwrap().empty(&|_| true, &Control::default()).unwrap(), 1);
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
        remove(&inside).unwrap();
        remove(&inside).unwrap();
        assert!(!inside.exists());
        assert!(Folder::open(&dir.path().join("door")).is_err());
        remove(&dir.path().join("door")).unwrap();
        assert!(outside.join("kept").exists() && !dir.path().join("door").exists());
    }

    /// Deeper than a path may be long, and than there are descriptors.
    #[test]
    fn a_tree_that_is_deeper_than_descriptors_go_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = openat(CWD, dir.path(), FOLDER, Mode::empty()).unwrap();
        let mut fd = top.try_clone().unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&fd, "deep", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&fd, "beside", Mode::RWXU).unwrap();
            fd = openat(&fd, "deep", FOLDER, Mode::empty()).unwrap();
        }
        let folder = Folder::of(top, dir.path()).unwrap();
        let mut met = 0;
        folder
            .look(&Control::default(), &mut |_, _, _| {
                met += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(met, 4 * 3000);
        assert_eq!(folder.empty(&|_| true, &Control::default()).unwrap(), 2);
        assert!(folder.names().unwrap().is_empty());
    }

    /// Another account exchanges folders for links in what it was let write, as fast as it can.
    #[test]
    fn a_race_inside_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (top, victim) = (dir.path().join("top"), dir.path().join("victim"));
        fs::create_dir_all(victim.join("x")).unwrap();
        let files = |below: &Path| (0..20).for_each(|n| fs::write(below.join(n.to_string()), "").unwrap());
        files(&victim.join("x"));
        fs::create_dir(&top).unwrap();
        let (over, started) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (folder, link) = (top.join("a/x"), top.join("a/link"));
                while !over.load(Ordering::Relaxed) {
                    let _ = renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE);
                    started.store(true, Ordering::Relaxed);
                }
            });
            while !started.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let (mut emptied, mut told) = (0, 0);
            for _ in 0..500 {
                remove(&top.join("a")).or_else(|_| remove(&top.join("a"))).unwrap_or_default();
                let _ = fs::create_dir_all(top.join("a/x"));
                if top.join("a/x").symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                    files(&top.join("a/x"));
                }
                let _ = symlink(victim.join("x"), top.join("a/link"));
                match Folder::open(&top).unwrap().empty(&|_| true, &Control::default()) {
                    Ok(_) => emptied += 1,
                    Err(_) => told += 1,
                }
                assert_eq!(fs::read_dir(victim.join("x")).unwrap().count(), 20, "{emptied} {told}");
            }
            over.store(true, Ordering::Relaxed);
            assert!(emptied > 0);
        });
    }

    #[test]
    fn what_is_to_stay_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("goes/in")).unwrap();
        fs::create_dir_all(dir.path().join("stays/goes")).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.empty(&|name| name == "goes", &Control::default()).unwrap(), 1);
        assert!(dir.path().join("stays/goes").exists() && !dir.path().join("goes").exists());
    }
}
