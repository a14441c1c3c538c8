//! Making files beneath a target, and nowhere else.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
    chmodat, chownat, linkat, mkdirat, mknodat, openat, renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::way::{KEPT, Way};
use super::{Existing, ExtractError, Extraction, Target};
use crate::artefact::{Entry, Flags, Kind};
use backplan_host::openat;
use backplan_host::places::anchor::{self, Moved};

/// Extended attributes: name, value.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// A folder that others are opened from.
const THROUGH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const NO_FOLDER: &str = "something that is no folder is in the way";
const FOLDER: &str =
    "a folder is in the way, and none is ever emptied: move it away, and restore this once more";

/// A folder on this host that entries go beneath.
pub struct Place {
    base: OwnedFd,
    /// The path beneath it that stands for the target's prefix.
    below: Vec<u8>,
    /// Whether the base was empty before.
    is_fresh: bool,
    /// Digests of paths of folders that were made here.
    made: Mutex<HashSet<[u8; 16]>>,
    /// Folders that were made writable for what is laid into them, by path.
    loosened: Mutex<BTreeMap<Vec<u8>, Loosened>>,
    existing: Existing,
    owners: Owners,
    temporary: AtomicU64,
}

/// A folder that this account may write to only for as long as something is laid into it: which it is, and the mode that it had.
struct Loosened {
    device: u64,
    inode: u64,
    mode: Mode,
}

/// What is done about owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owners {
    /// They are set.
    Set,
    /// They are set as far as this account may; where it may not, that is told once for all.
    Tried,
    /// They are left.
    Left,
}

/// A name that something new is made under.
pub struct New {
    folder: Arc<OwnedFd>,
    /// What it is made as.
    working: Vec<u8>,
    /// What it is to be called, where that differs.
    last: Option<Vec<u8>>,
}

/// What became of an entry that is there.
#[derive(Debug, Default)]
pub struct Dressed {
    /// What could not be set.
    pub troubles: Vec<String>,
    /// Whose it should be and is not, as this account may give nothing away.
    pub foreign: Option<(u32, u32)>,
}

impl Dressed {
    fn note(&mut self, what: &str, result: Result<(), Errno>) {
        if let Err(cause) = result {
            self.troubles.push(format!("its {what} cannot be set: {cause}"));
        }
    }
}

/// Why something cannot be made.
#[derive(Debug)]
pub enum Obstacle {
    /// Something is there that stays, unless it is to be replaced.
    Exists(&'static str),
    /// Something is there that is never replaced.
    InTheWay(&'static str),
    /// The system refuses.
    System(Errno),
}

impl From<Errno> for Obstacle {
    fn from(cause: Errno) -> Obstacle {
        Obstacle::System(cause)
    }
}

impl Place {
    /// Opens a target, and makes it where it is not there.
    ///
    /// # Errors
    /// [`ExtractError::Target`].
    pub fn open(target: &Target, extraction: &Extraction) -> Result<Place, ExtractError> {
        let failed = |cause: std::io::Error| ExtractError::Target { path: target.path(), cause };
        let base = openat::folder(&target.base).map_err(failed)?;
        let is_fresh = is_empty(&base).map_err(|cause| failed(cause.into()))?;
        let owners = match extraction.owners {
            Some(true) => Owners::Set,
            Some(false) => Owners::Left,
            None if rustix::process::geteuid().is_root() => Owners::Set,
            None => Owners::Tried,
        };
        Ok(Place {
            base,
            below: target.below.clone(),
            is_fresh,
            made: Mutex::default(),
            loosened: Mutex::default(),
            existing: extraction.existing,
            owners,
            temporary: AtomicU64::new(0),
        })
    }

    /// The path here of an entry that is `below` the target's prefix.
    pub fn path(&self, below: &[u8]) -> Vec<u8> {
        let slash: &[u8] = if self.below.is_empty() || below.is_empty() { b"" } else { b"/" };
        [&self.below, slash, below].concat()
    }

    /// Sees that its path still leads here.
    ///
    /// # Errors
    /// [`Moved`].
    pub fn in_place(&self, path: &Path) -> Result<(), Moved> {
        anchor::in_place(&self.base, path)
    }

    /// Makes all that was put here durable.
    ///
    /// # Errors
    /// When the file system could not write all of it: then nothing says which files are whole.
    pub fn sync(&self) -> Result<(), Errno> {
        rustix::fs::syncfs(&self.base)
    }

    fn is_made(&self, path: &[u8]) -> bool {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(&short_digest(path))
    }

    /// Does something in the folder at `path`. One of this account's own that lets it do nothing is made writable for it: the mode
    /// that it is to have is set when all is there.
    fn within<T>(
        &self,
        folder: &OwnedFd,
        path: &[u8],
        act: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match act() {
            Err(Errno::ACCESS) if self.loosen(folder, path) => act(),
            other => other,
        }
    }

    /// Whether a folder can be written to now that could not.
    fn loosen(&self, folder: &OwnedFd, path: &[u8]) -> bool {
        let mut loosened = self.loosened.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(seen) = rustix::fs::fstat(folder) else { return false };
        let mode = Mode::from_raw_mode(seen.st_mode & 0o7777);
        if mode.contains(Mode::RWXU) {
            // Another thread was there first.
            return loosened.contains_key(path);
        }
        if seen.st_uid != rustix::process::geteuid().as_raw() || set_mode(folder, mode | Mode::RWXU).is_err()
        {
            return false;
        }
        let found = Loosened { device: seen.st_dev, inode: seen.st_ino, mode };
        loosened.entry(path.to_vec()).or_insert(found);
        true
    }

    /// Gives folders that were made writable, and that have not got a mode of the backup's, the one that they had; the innermost
    /// first. The paths of those where that failed, and why.
    pub fn tighten(&self) -> Vec<(Vec<u8>, Errno)> {
        let loosened = std::mem::take(&mut *self.loosened.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failed = Vec::new();
        for (path, known) in loosened.into_iter().rev() {
            let inside = if path.is_empty() { b".".as_slice() } else { &path };
            let set = openat::open(&self.base, inside, THROUGH, Mode::empty()).and_then(|folder| {
                let seen = rustix::fs::fstat(&folder)?;
                // Somebody has put another one in its place: that has its own.
                match (seen.st_dev, seen.st_ino) == (known.device, known.inode) {
                    true => set_mode(&folder, known.mode),
                    false => Ok(()),
                }
            });
            failed.extend(set.err().filter(|cause| *cause != Errno::NOENT).map(|cause| (path, cause)));
        }
        failed
    }

    /// The folder at `path`, made with those above it where it is not there.
    fn folder(&self, number: usize, path: &[u8], way: &mut Way) -> Result<Arc<OwnedFd>, Obstacle> {
        let (mut at, mut folder) = match way.back(number, path) {
            Some(found) => found,
            None => (0, Arc::new(openat(&self.base, ".", THROUGH, Mode::empty())?)),
        };
        if let Some(far) = far(path, at) {
            let start = if at == 0 { 0 } else { at + 1 };
            match openat::open(&folder, &path[start..far], THROUGH, Mode::empty()) {
                Ok(opened) => {
                    (at, folder) = (far, Arc::new(opened));
                    way.enter(far, Arc::clone(&folder));
                }
                // Step by step, what is not there is made, and what is in the way has a name.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        while at < path.len() {
            let start = if at == 0 { 0 } else { at + 1 };
            let end = path[start..].iter().position(|byte| *byte == b'/').map_or(path.len(), |at| start + at);
            let next = self.step((&folder, &path[..at]), OsStr::from_bytes(&path[start..end]), &path[..end]);
            folder = Arc::new(next?);
            way.enter(end, Arc::clone(&folder));
            at = end;
        }
        Ok(folder)
    }

    /// The folder of this name in one that has a path of its own; it has this path in all.
    fn step(
        &self,
        (above, outer): (&OwnedFd, &[u8]),
        name: &OsStr,
        path: &[u8],
    ) -> Result<OwnedFd, Obstacle> {
        let enter = || openat(above, name, THROUGH | OFlags::NOFOLLOW, Mode::empty());
        match self.within(above, outer, enter) {
            Err(Errno::NOENT) => {}
            Err(cause @ (Errno::NOTDIR | Errno::LOOP)) => {
                let seen = statat(above, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let is_link = FileType::from_raw_mode(seen.st_mode) == FileType::Symlink;
                if self.existing == Existing::Keep {
                    let what = if is_link { "a symbolic link is in the way" } else { NO_FOLDER };
                    return Err(Obstacle::Exists(what));
                }
                // Never a folder: only a link, and not what it leads to, or a file.
                let removed = self.within(above, outer, || unlinkat(above, name, AtFlags::empty()));
                removed.map_err(|_| cause)?;
            }
            other => return Ok(other?),
        }
        match self.within(above, outer, || mkdirat(above, name, Mode::RWXU)) {
            Ok(()) => {
                self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(short_digest(path));
            }
            Err(Errno::EXIST) => {}
            Err(cause) => return Err(cause.into()),
        }
        Ok(enter()?)
    }

    /// Makes something at `path` by `make`; where something is already, under another name that replaces it later.
    fn make<T>(
        &self,
        number: usize,
        path: &[u8],
        way: &mut Way,
        make: impl Fn(&OwnedFd, &OsStr) -> Result<T, Errno>,
    ) -> Result<(New, T), Obstacle> {
        let (above, name) = openat::split(path);
        let folder = self.folder(number, above, way)?;
        let name = OsStr::from_bytes(name);
        let mut made = self.within(&folder, above, || make(&folder, name));
        if made.as_ref().is_err_and(|cause| *cause == Errno::EXIST) {
            self.may_replace((&folder, above), name)?;
            if self.existing == Existing::Resume {
                // A half of it, or another one: killed once more, nothing stays that nobody knows the name of.
                match self.within(&folder, above, || unlinkat(&folder, name, AtFlags::empty())) {
                    Ok(()) | Err(Errno::NOENT) => made = make(&folder, name),
                    Err(cause) => return Err(cause.into()),
                }
            }
        }
        let name = name.as_bytes();
        match made {
            Err(Errno::EXIST) => {}
            other => {
                return Ok(other.map(|made| (New { folder, working: name.to_vec(), last: None }, made))?);
            }
        }
        loop {
            let count = self.temporary.fetch_add(1, Ordering::Relaxed);
            let working = format!(".backplan-restore-{}-{number}-{count}", std::process::id()).into_bytes();
            match self.within(&folder, above, || make(&folder, OsStr::from_bytes(&working))) {
                Err(Errno::EXIST) => {}
                other => {
                    return Ok(other.map(|made| (New { folder, working, last: Some(name.to_vec()) }, made))?);
                }
            }
        }
    }

    /// A file that is there as an entry says: each byte, size, time, owner and mode, and nothing beside; as it would have been
    /// made. `None`: it is to be made again.
    pub fn holds(&self, path: &[u8], entry: &Entry) -> Option<Dressed> {
        // Of a file with holes or in part the digest is not of what lies on the disk; attributes are in the artefact alone.
        let is_other = [Flags::SPARSE, Flags::PATCH, Flags::DAMAGED, Flags::SHRANK, Flags::XATTRS];
        if self.existing != Existing::Resume || is_other.iter().any(|flag| entry.flags.has(*flag)) {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(openat::open(&self.base, path, flags, Mode::empty()).ok()?);
        let seen = file.metadata().ok()?;
        let time = (seen.mtime(), seen.mtime_nsec());
        let is_it = seen.is_file() && seen.len() == entry.size && time == (entry.mtime, entry.nanos.into());
        let mut dressed = Dressed::default();
        let has_owner = (seen.uid(), seen.gid()) == (entry.uid, entry.gid);
        let set = || if has_owner { Ok(()) } else { Err(Errno::PERM) };
        let mode = self.give(entry, &mut dressed, |_, _| set());
        let is_dressed = dressed.troubles.is_empty() && seen.mode() & 0o7777 == mode.bits() && is_bare(&file);
        // A name that the backup does not have may be anybody's.
        let is_alone = seen.nlink() == 1 || entry.flags.has(Flags::LINKED);
        if !is_it || !is_dressed || !is_alone {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(file)
            .is_ok_and(|read| *read.finalize().as_bytes() == entry.hash)
            .then_some(dressed)
    }

    /// Whether what stands under a name may be replaced by what is no folder. An empty folder makes way.
    fn may_replace(&self, (folder, path): (&OwnedFd, &[u8]), name: &OsStr) -> Result<(), Obstacle> {
        let is_folder = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => false,
            seen => FileType::from_raw_mode(seen?.st_mode) == FileType::Directory,
        };
        match (self.existing, is_folder) {
            (Existing::Keep, false) => Err(Obstacle::Exists("something is there already")),
            (Existing::Replace | Existing::Resume, false) => Ok(()),
            (Existing::Keep, true) => Err(Obstacle::InTheWay(FOLDER)),
            (Existing::Replace | Existing::Resume, true) => {
                let removed = self.within(folder, path, || unlinkat(folder, name, AtFlags::REMOVEDIR));
                removed.map_err(|_| Obstacle::InTheWay(FOLDER))
            }
        }
    }

    /// A new, empty file, open for writing.
    ///
    /// # Errors
    /// See [`Obstacle`].
    pub fn file(&self, number: usize, path: &[u8], way: &mut Way) -> Result<(New, OwnedFd), Obstacle> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.make(number, path, way, |folder, name| openat(folder, name, flags, Mode::RUSR | Mode::WUSR))
    }

    /// A link, pipe or device.
    ///
    /// # Errors
    /// As [`Place::file`]'s.
    pub fn special(&self, number: usize, path: &[u8], entry: &Entry, way: &mut Way) -> Result<New, Obstacle> {
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let node = |kind: FileType| {
            move |folder: &OwnedFd, name: &OsStr| mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device)
        };
        let made = match entry.kind {
            Kind::Symlink => self.make(number, path, way, |folder, name| {
                symlinkat(OsStr::from_bytes(&entry.link), folder, name)
            }),
            Kind::Fifo => self.make(number, path, way, node(FileType::Fifo)),
            Kind::CharDevice => self.make(number, path, way, node(FileType::CharacterDevice)),
            Kind::BlockDevice => self.make(number, path, way, node(FileType::BlockDevice)),
            Kind::File | Kind::Directory | Kind::HardLink => return Err(Errno::INVAL.into()),
        };
        made.map(|(new, ())| new)
    }

    /// Another name for a file that was put back: in a place, which has a number, at a path.
    ///
    /// # Errors
    /// As [`Place::file`]'s.
    pub fn hard_link(
        &self,
        number: usize,
        path: &[u8],
        way: &mut Way,
        (other, place, target): (usize, &Place, Vec<u8>),
        there: &mut Way,
    ) -> Result<New, Obstacle> {
        let (above, name) = openat::split(&target);
        let above = place.folder(other, above, there)?;
        let link = |folder: &OwnedFd, new: &OsStr| {
            linkat(&above, OsStr::from_bytes(name), folder, new, AtFlags::empty())
        };
        self.make(number, path, way, link).map(|(new, ())| new)
    }

    /// Sets owner, mode, attributes and times of an open file.
    pub fn dress(&self, file: &OwnedFd, entry: &Entry, attributes: &Attributes) -> Dressed {
        let mut dressed = Dressed::default();
        let mode = self.give(entry, &mut dressed, |user, group| rustix::fs::fchown(file, user, group));
        dressed.note("mode", rustix::fs::fchmod(file, mode));
        for (name, value) in attributes {
            let set = rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty());
            dressed.note(&format!("attribute `{}`", name.escape_ascii()), set);
        }
        dressed.note("time", rustix::fs::futimens(file, &times(entry)));
        dressed
    }

    /// Sets owner, mode, attributes and times of what cannot be opened: links, pipes, devices.
    ///
    /// # Errors
    /// The system's; also where what stands there is not what was made.
    pub fn dress_special(&self, new: &New, entry: &Entry, attributes: &Attributes) -> Result<Dressed, Errno> {
        let mut dressed = Dressed::default();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&*new.folder, OsStr::from_bytes(&new.working), flags, Mode::empty())?;
        // Whoever may write to the folder may have put another name of somebody's file there.
        let seen = rustix::fs::fstat(&made)?;
        if seen.st_nlink != 1 || FileType::from_raw_mode(seen.st_mode) != file_type(entry.kind) {
            return Err(Errno::STALE);
        }
        let here = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        let mode = self.give(entry, &mut dressed, |user, group| chownat(&made, "", user, group, here));
        // A handle that cannot be read from is reached through `/proc`: it leads to this very file.
        let path = format!("/proc/self/fd/{}", made.as_fd().as_raw_fd());
        if entry.kind != Kind::Symlink {
            dressed.note("mode", chmodat(CWD, path.as_str(), mode, AtFlags::empty()));
        }
        for (name, value) in attributes {
            let set = rustix::fs::setxattr(path.as_str(), name.as_slice(), value, XattrFlags::empty());
            dressed.note(&format!("attribute `{}`", name.escape_ascii()), set);
        }
        let timed = utimensat(
            &*new.folder,
            OsStr::from_bytes(&new.working),
            &times(entry),
            AtFlags::SYMLINK_NOFOLLOW,
        );
        dressed.note("time", timed);
        Ok(dressed)
    }

    /// Makes a folder if it is not there, and sets its owner, mode, attributes and times; not those of one that was there,
    /// unless it is to be replaced.
    ///
    /// # Errors
    /// See [`Obstacle`].
    pub fn directory(
        &self,
        number: usize,
        path: &[u8],
        entry: &Entry,
        attributes: &Attributes,
        way: &mut Way,
    ) -> Result<Dressed, Obstacle> {
        let folder = self.folder(number, path, way)?;
        let is_own = match self.existing {
            // Made by the restore that was cut short.
            Existing::Resume => true,
            Existing::Replace => !entry.flags.has(Flags::IMPLIED),
            Existing::Keep => !entry.flags.has(Flags::IMPLIED) && path.is_empty() && self.is_fresh,
        };
        if !self.is_made(path) && !is_own {
            return Ok(Dressed::default());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = self.within(&folder, path, || openat(&*folder, ".", flags, Mode::empty()))?;
        let dressed = self.dress(&open, entry, attributes);
        self.loosened.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        Ok(dressed)
    }

    /// Gives an entry to whom it belongs, by `set`; the mode that it may have then.
    fn give(
        &self,
        entry: &Entry,
        dressed: &mut Dressed,
        set: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> Mode {
        let given = match self.owners {
            Owners::Left => Err(Errno::PERM),
            Owners::Set | Owners::Tried => owner(entry).and_then(|(user, group)| set(user, group)),
        };
        match (self.owners, given) {
            (Owners::Set, given) => dressed.note("owner", given),
            (Owners::Tried, Err(_)) => dressed.foreign = Some((entry.uid, entry.gid)),
            _ => {}
        }
        // Without its owner, a setuid file would run as somebody it was never meant to.
        let is_whole = given.is_ok() || entry.kind == Kind::Directory;
        Mode::from_raw_mode(entry.mode & if is_whole { 0o7777 } else { 0o1777 })
    }
}

impl New {
    /// Gives it its name.
    ///
    /// # Errors
    /// The system's; it is gone then.
    pub fn keep(self) -> Result<(), Errno> {
        let Some(last) = &self.last else { return Ok(()) };
        let renamed =
            renameat(&*self.folder, OsStr::from_bytes(&self.working), &*self.folder, OsStr::from_bytes(last));
        match renamed {
            // Two names of one file: a rename between them does nothing, and leaves both.
            Ok(()) => {
                let _ = unlinkat(&*self.folder, OsStr::from_bytes(&self.working), AtFlags::empty());
                Ok(())
            }
            Err(cause) => {
                self.discard();
                Err(cause)
            }
        }
    }

    /// Removes it.
    pub fn discard(self) {
        // Best effort: there is nobody left to tell but the report, which names the entry anyway.
        let _ = unlinkat(&*self.folder, OsStr::from_bytes(&self.working), AtFlags::empty());
    }
}

/// Sets the mode of a folder of which only a handle is there: `/proc` leads to this very one.
fn set_mode(folder: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    let path = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
    chmodat(CWD, path.as_str(), mode, AtFlags::empty())
}

/// How much of a path to jump over at once, where more is ahead from `at` than is kept open.
fn far(path: &[u8], at: usize) -> Option<usize> {
    let ahead = &path[at..];
    let mut slashes =
        ahead.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(place, _)| at + place);
    slashes.nth(KEPT - 1).filter(|far| *far > at)
}

/// Whether a file has no attributes but those that the system itself gives to each.
fn is_bare(file: &File) -> bool {
    let mut names = [0; 4096];
    let read = rustix::fs::flistxattr(file, names.as_mut_slice());
    let is_given = |name: &[u8]| name.is_empty() || name == b"security.selinux";
    match read {
        Ok(length) => names[..length].split(|byte| *byte == 0).all(is_given),
        Err(cause) => cause == Errno::NOTSUP,
    }
}

fn is_empty(folder: &OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File | Kind::HardLink => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::CharDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

fn short_digest(path: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(path).as_bytes()[..16]);
    short
}

/// The largest number means "leave as it is" to the system: nobody's id.
fn owner(entry: &Entry) -> Result<(Option<Uid>, Option<Gid>), Errno> {
    if entry.uid == u32::MAX || entry.gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    Ok((Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))))
}

fn times(entry: &Entry) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: entry.mtime, tv_nsec: entry.nanos.min(999_999_999).into() },
    }
}
