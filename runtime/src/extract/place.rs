//! Making files beneath a target, and nowhere else.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat,
    chownat, linkat, mkdirat, mknodat, openat, renameat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{Existing, ExtractError, Extraction, Target};
use crate::artefact::{Entry, Kind, View};
use crate::beneath;

/// Extended attributes: name, value.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// A folder on this host that entries go beneath.
pub struct Place {
    base: OwnedFd,
    /// For a target that stands for one file: its name here.
    file_name: Option<Vec<u8>>,
    /// Digests of paths of folders that were made here.
    made: Mutex<HashSet<[u8; 16]>>,
    existing: Existing,
    owners: bool,
    temporary: AtomicU64,
}

/// A folder beneath a place, open, and its path.
#[derive(Default)]
pub struct Recent(Option<(usize, Vec<u8>, Arc<OwnedFd>)>);

/// A name that something new is made under.
pub struct New {
    folder: Arc<OwnedFd>,
    /// What it is made as.
    working: Vec<u8>,
    /// What it is to be called, where that differs.
    last: Option<Vec<u8>>,
}

impl Place {
    /// Opens a target, and makes it where it is not there.
    ///
    /// # Errors
    /// [`ExtractError::Target`].
    pub fn open(view: &View, target: &Target, extraction: &Extraction) -> Result<Place, ExtractError> {
        let is_file = !target.prefix.is_empty()
            && view.find(&target.prefix)?.is_some_and(|live| live.entry.kind != Kind::Directory);
        let failed = |cause: std::io::Error| ExtractError::Target { path: target.to.clone(), cause };
        let (folder, file_name) = if is_file {
            let name = target.to.file_name().map(|name| name.as_bytes().to_vec());
            (target.to.parent().unwrap_or(Path::new("/")), name)
        } else {
            (target.to.as_path(), None)
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = openat(CWD, folder, flags, Mode::empty()).map_err(|cause| failed(cause.into()))?;
        Ok(Place {
            base,
            file_name,
            made: Mutex::default(),
            existing: extraction.existing,
            owners: extraction.owners.unwrap_or_else(|| rustix::process::geteuid().is_root()),
            temporary: AtomicU64::new(0),
        })
    }

    /// The path here of an entry that is `below` the target's prefix.
    pub fn path<'p>(&'p self, below: &'p [u8]) -> &'p [u8] {
        match &self.file_name {
            Some(name) if below.is_empty() => name,
            _ => below,
        }
    }

    /// Makes all that was put here durable.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> Result<(), Errno> {
        rustix::fs::syncfs(&self.base)
    }

    fn is_made(&self, path: &[u8]) -> bool {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(&short_digest(path))
    }

    /// The folder at `path`, made with those above it where it is not there.
    fn folder(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if path.is_empty() {
            return openat(&self.base, ".", flags, Mode::empty());
        }
        match beneath::open(&self.base, path, flags, Mode::empty()) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let (above, name) = beneath::split(path);
        let above = self.folder(above, OFlags::PATH)?;
        match mkdirat(&above, OsStr::from_bytes(name), Mode::RWXU) {
            Ok(()) => {
                self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(short_digest(path));
            }
            Err(Errno::EXIST) => {}
            Err(cause) => return Err(cause),
        }
        openat(&above, OsStr::from_bytes(name), flags | OFlags::NOFOLLOW, Mode::empty())
    }

    /// The folder that `path` is in; the one asked for before is remembered.
    fn parent<'p>(
        &self,
        number: usize,
        path: &'p [u8],
        recent: &mut Recent,
    ) -> Result<(Arc<OwnedFd>, &'p [u8]), Errno> {
        let (above, name) = beneath::split(path);
        if let Some((place, folder, open)) = &recent.0
            && *place == number
            && folder == above
        {
            return Ok((Arc::clone(open), name));
        }
        let open = Arc::new(self.folder(above, OFlags::PATH)?);
        recent.0 = Some((number, above.to_vec(), Arc::clone(&open)));
        Ok((open, name))
    }

    /// Makes something at `path` by `make`; where something is already, under another name that replaces it later.
    fn make<T>(
        &self,
        number: usize,
        path: &[u8],
        recent: &mut Recent,
        make: impl Fn(&OwnedFd, &OsStr) -> Result<T, Errno>,
    ) -> Result<(New, T), Errno> {
        let (folder, name) = self.parent(number, path, recent)?;
        match make(&folder, OsStr::from_bytes(name)) {
            Err(Errno::EXIST) if self.existing == Existing::Replace => {}
            other => {
                return other.map(|made| (New { folder, working: name.to_vec(), last: None }, made));
            }
        }
        loop {
            let count = self.temporary.fetch_add(1, Ordering::Relaxed);
            let working = format!(".backplan-restore-{}-{number}-{count}", std::process::id()).into_bytes();
            match make(&folder, OsStr::from_bytes(&working)) {
                Err(Errno::EXIST) => {}
                other => return other.map(|made| (New { folder, working, last: Some(name.to_vec()) }, made)),
            }
        }
    }

    /// A new, empty file, open for writing.
    ///
    /// # Errors
    /// The system's; `EEXIST` where something is there and stays.
    pub fn file(&self, number: usize, path: &[u8], recent: &mut Recent) -> Result<(New, OwnedFd), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.make(number, path, recent, |folder, name| openat(folder, name, flags, Mode::RUSR | Mode::WUSR))
    }

    /// A link, pipe or device.
    ///
    /// # Errors
    /// As [`Place::file`]'s.
    pub fn special(
        &self,
        number: usize,
        path: &[u8],
        entry: &Entry,
        recent: &mut Recent,
    ) -> Result<New, Errno> {
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let node = |kind: FileType| {
            move |folder: &OwnedFd, name: &OsStr| mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device)
        };
        let made = match entry.kind {
            Kind::Symlink => self.make(number, path, recent, |folder, name| {
                symlinkat(OsStr::from_bytes(&entry.link), folder, name)
            }),
            Kind::Fifo => self.make(number, path, recent, node(FileType::Fifo)),
            Kind::CharDevice => self.make(number, path, recent, node(FileType::CharacterDevice)),
            Kind::BlockDevice => self.make(number, path, recent, node(FileType::BlockDevice)),
            Kind::File | Kind::Directory | Kind::HardLink => return Err(Errno::INVAL),
        };
        made.map(|(new, ())| new)
    }

    /// Another name for the file at `target` in this place.
    ///
    /// # Errors
    /// As [`Place::file`]'s.
    pub fn hard_link(
        &self,
        number: usize,
        path: &[u8],
        target: &[u8],
        recent: &mut Recent,
    ) -> Result<New, Errno> {
        let (above, name) = beneath::split(target);
        let above = self.folder(above, OFlags::PATH)?;
        let link = |folder: &OwnedFd, new: &OsStr| {
            linkat(&above, OsStr::from_bytes(name), folder, new, AtFlags::empty())
        };
        self.make(number, path, recent, link).map(|(new, ())| new)
    }

    /// Sets owner, mode, attributes and times of an open file.
    pub fn dress(&self, file: &OwnedFd, entry: &Entry, attributes: &Attributes) -> Vec<String> {
        let mut troubles = Vec::new();
        let mut note = |what: &str, result: Result<(), Errno>| {
            if let Err(cause) = result {
                troubles.push(format!("its {what} cannot be set: {cause}"));
            }
        };
        if self.owners {
            note("owner", owner(entry).and_then(|(user, group)| rustix::fs::fchown(file, user, group)));
        }
        note("mode", rustix::fs::fchmod(file, self.mode(entry)));
        for (name, value) in attributes {
            let set = rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty());
            note(&format!("attribute `{}`", name.escape_ascii()), set);
        }
        note("time", rustix::fs::futimens(file, &times(entry)));
        troubles
    }

    /// Sets owner, mode, attributes and times of what cannot be opened: links, pipes, devices.
    pub fn dress_special(&self, new: &New, entry: &Entry, attributes: &Attributes) -> Vec<String> {
        let mut troubles = Vec::new();
        let mut note = |what: &str, result: Result<(), Errno>| {
            if let Err(cause) = result {
                troubles.push(format!("its {what} cannot be set: {cause}"));
            }
        };
        let (folder, name) = (&*new.folder, OsStr::from_bytes(&new.working));
        if self.owners {
            let set = |(user, group)| chownat(folder, name, user, group, AtFlags::SYMLINK_NOFOLLOW);
            note("owner", owner(entry).and_then(set));
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if entry.kind != Kind::Symlink || !attributes.is_empty() {
            match openat(folder, name, flags, Mode::empty()) {
                Ok(handle) => {
                    // A handle that cannot be read from is reached through `/proc`: it leads to this very file.
                    let path = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
                    if entry.kind != Kind::Symlink {
                        note("mode", chmodat(CWD, path.as_str(), self.mode(entry), AtFlags::empty()));
                    }
                    for (name, value) in attributes {
                        let set =
                            rustix::fs::setxattr(path.as_str(), name.as_slice(), value, XattrFlags::empty());
                        note(&format!("attribute `{}`", name.escape_ascii()), set);
                    }
                }
                Err(cause) => note("mode", Err(cause)),
            }
        }
        note("time", utimensat(folder, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW));
        troubles
    }

    /// Makes a folder if it is not there, and sets its owner, mode, attributes and times; not those of one that was there,
    /// unless it is to be replaced.
    ///
    /// # Errors
    /// The system's.
    pub fn directory(
        &self,
        path: &[u8],
        entry: &Entry,
        attributes: &Attributes,
    ) -> Result<Vec<String>, Errno> {
        let folder = self.folder(path, OFlags::RDONLY)?;
        let is_ours = self.is_made(path);
        let replaces =
            self.existing == Existing::Replace && !entry.flags.has(crate::artefact::Flags::IMPLIED);
        let is_own_root = path.is_empty() && !entry.flags.has(crate::artefact::Flags::IMPLIED);
        if is_ours || replaces || is_own_root {
            Ok(self.dress(&folder, entry, attributes))
        } else {
            Ok(Vec::new())
        }
    }

    fn mode(&self, entry: &Entry) -> Mode {
        // Without its owner, a setuid file would run as somebody it was never meant to.
        let bits = if self.owners || entry.kind == Kind::Directory { 0o7777 } else { 0o1777 };
        Mode::from_raw_mode(entry.mode & bits)
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
