//! The store that is a folder.
//!
//! Everything appears by a rename: written under a temporary name, synced, renamed without replacing, and the folder
//! synced. What is under `.backplan` is readable by its owner alone (0600), artefacts also by the group (0640), less the
//! process's mask.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::fs::{FileSystem, HostFolder, Kind, OpenFile, not_a_file};
use super::sftp::Refusal;
use super::{
    Capabilities, Creation, Entry, HOME, Name, Object, ReadStore, Store, StoreError, StoreErrorKind, Upload,
};
use crate::control::Control;
use crate::machine::random_bytes;
use crate::text::hex;

/// A store in a real folder.
pub type DirStore = FolderStore<HostFolder>;

const PRIVATE: u32 = 0o600;
const ARTEFACT: u32 = 0o640;
/// Before the chance in names of the store's own making.
const OWN_PREFIX: &str = ".new-";
const OWN_RANDOM: usize = 8;
/// Bytes copied between two looks at the control.
const COPY_CHUNK: u64 = 16 << 20;
/// How often something is tried again because its folder was removed meanwhile, being empty.
const ATTEMPTS: usize = 8;

/// A store in a folder of a file system, real or simulated. Clones share it.
#[derive(Debug)]
pub struct FolderStore<F> {
    inner: Arc<Inner<F>>,
}

impl<F> Clone for FolderStore<F> {
    fn clone(&self) -> Self {
        FolderStore { inner: Arc::clone(&self.inner) }
    }
}

#[derive(Debug)]
struct Inner<F> {
    fs: F,
    label: String,
    root: PathBuf,
    /// Folders that are known to survive a power cut, with all above them.
    durable: Mutex<BTreeSet<String>>,
}

impl DirStore {
    /// Opens a store's folder.
    ///
    /// # Errors
    /// [`StoreErrorKind::Absent`] when the folder is not there.
    pub fn open(label: &str, path: &Path) -> Result<DirStore, StoreError> {
        let fs = HostFolder::open(path).map_err(|cause| opening(label, path, cause))?;
        Ok(FolderStore::over(label, path, fs))
    }

    /// Opens a store's folder and makes it first if need be; the folder above it must be there. Others may pass through
    /// it and see nothing: an archive of a log inside is another account's. Whether it may be made is
    /// for the identity to decide: a missing folder can mean that a disk is not mounted.
    ///
    /// # Errors
    /// [`StoreErrorKind::Absent`] when the folder above is not there.
    pub fn create(label: &str, path: &Path) -> Result<DirStore, StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        match std::fs::DirBuilder::new().mode(0o751).create(path) {
            Ok(()) => {
                let parent =
                    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let synced = File::open(parent).and_then(|folder| folder.sync_all());
                synced.map_err(|cause| opening(label, path, cause))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(opening(label, path, cause)),
        }
        DirStore::open(label, path)
    }
}

pub(super) fn opening(label: &str, path: &Path, cause: io::Error) -> StoreError {
    let kind = match kind_of(&cause) {
        StoreErrorKind::NotFound => StoreErrorKind::Absent,
        kind => kind,
    };
    StoreError { store: label.to_owned(), doing: format!("open `{}`", path.display()), kind, cause }
}

fn kind_of(error: &io::Error) -> StoreErrorKind {
    use io::ErrorKind as K;
    match error.kind() {
        _ if error.get_ref().is_some_and(|inner| inner.is::<Refusal>()) => StoreErrorKind::Handshake,
        K::NotFound => StoreErrorKind::NotFound,
        // The system's own has a number: this is of what was found.
        K::InvalidInput if error.raw_os_error().is_none() => StoreErrorKind::Foreign,
        K::StorageFull | K::QuotaExceeded => StoreErrorKind::Full,
        K::FileTooLarge => StoreErrorKind::TooLarge,
        K::AlreadyExists => StoreErrorKind::Exists,
        K::PermissionDenied | K::ReadOnlyFilesystem => StoreErrorKind::Denied,
        K::StaleNetworkFileHandle
        | K::NotConnected
        | K::HostUnreachable
        | K::TimedOut
        | K::NetworkUnreachable => StoreErrorKind::Unreachable,
        _ => match Errno::from_io_error(error) {
            Some(Errno::NODEV | Errno::NXIO | Errno::HOSTDOWN) => StoreErrorKind::Unreachable,
            Some(Errno::IO) => StoreErrorKind::Disk,
            _ => StoreErrorKind::Other,
        },
    }
}

impl<F: FileSystem> FolderStore<F> {
    /// A store over this file system; `root` is only for messages.
    pub fn over(label: &str, root: &Path, fs: F) -> FolderStore<F> {
        let (label, root) = (label.to_owned(), root.to_path_buf());
        FolderStore { inner: Arc::new(Inner { fs, label, root, durable: Mutex::default() }) }
    }

    /// The file system below.
    pub fn file_system(&self) -> &F {
        &self.inner.fs
    }
}

/// The folder a path is in; the root's is the root.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A name of the store's own making, beside `path`.
fn own_name(path: &str) -> String {
    let chance = hex(&random_bytes::<OWN_RANDOM>());
    match folder_of(path) {
        "" => format!("{OWN_PREFIX}{chance}"),
        folder => format!("{folder}/{OWN_PREFIX}{chance}"),
    }
}

fn is_own_name(last: &str) -> bool {
    last.strip_prefix(OWN_PREFIX).is_some_and(|chance| {
        chance.len() == 2 * OWN_RANDOM && chance.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn mode_of(name: &Name) -> u32 {
    let ours = name.as_str().strip_prefix(HOME).is_some_and(|rest| rest.starts_with('/'));
    if ours { PRIVATE } else { ARTEFACT }
}

impl<F: FileSystem> Inner<F> {
    fn error(&self, verb: &str, name: &str, cause: io::Error) -> StoreError {
        let doing = format!("{verb} `{name}` in `{}`", self.root.display());
        StoreError { store: self.label.clone(), doing, kind: kind_of(&cause), cause }
    }

    /// As [`Inner::error`], where a missing object would be no answer: then it is the folder that is gone.
    fn write_error(&self, verb: &str, name: &str, cause: io::Error) -> StoreError {
        let mut error = self.error(verb, name, cause);
        if error.kind == StoreErrorKind::NotFound {
            error.kind = StoreErrorKind::Unreachable;
        }
        error
    }

    fn durable(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees that a folder is there and stays there. One that was found may be another's whose entry is not synced yet.
    fn ensure_folder(&self, folder: &str) -> io::Result<()> {
        if folder.is_empty() || self.durable().contains(folder) {
            return Ok(());
        }
        self.ensure_folder(folder_of(folder))?;
        match self.fs.make_folder(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => self.fs.sync_folder(folder_of(folder))?,
        }
        self.durable().insert(folder.to_owned());
        Ok(())
    }

    /// Does something inside a folder, which is made if need be. Folders that become empty are removed, perhaps just now.
    fn inside<T>(&self, folder: &str, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut attempt = 1;
        loop {
            match self.ensure_folder(folder).and_then(|()| work()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    self.forget(folder);
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// A folder went away, perhaps with some above it: all on the way to it are looked at again.
    fn forget(&self, folder: &str) {
        self.durable().retain(|known| !folder.starts_with(known.as_str()));
    }

    /// Removes a folder that has become empty. Nothing depends on it.
    fn tidy(&self, folder: &str) {
        if !folder.is_empty() {
            self.durable().remove(folder);
            let _ = self.fs.remove_folder(folder);
        }
    }

    /// Gives a synced file its name, durably, if that is free; else removes the file.
    fn settle(&self, temporary: &str, name: &str) -> io::Result<Creation> {
        let renamed = match self.fs.rename_new(temporary, name) {
            Err(error) if cannot(&error) => match self.fs.link(temporary, name) {
                Err(error) if has_no_links(&error) => self.take_name(temporary, name),
                linked => linked.and_then(|()| self.fs.unlink(temporary)),
            },
            result => result,
        };
        let creation = match renamed {
            Ok(()) => Creation::Created,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs.unlink(temporary)?;
                Creation::Exists
            }
            Err(error) => return Err(error),
        };
        // Also where it exists: whoever reads it back and relies on it may be who made it and was not told.
        self.fs.sync_folder(folder_of(name))?;
        Ok(creation)
    }

    /// The same where nothing but a new file can be had without replacing one, as on FAT: an empty one takes the name, and the
    /// whole one its place. A cut between the two leaves the empty one, which is no object that anybody could take for whole.
    fn take_name(&self, temporary: &str, name: &str) -> io::Result<()> {
        drop(self.fs.create_file(name, PRIVATE)?);
        let renamed = self.fs.rename_over(temporary, name);
        if renamed.is_err() {
            let _ = self.fs.unlink(name);
        }
        renamed
    }

    /// Writes a synced file of the store's own making.
    fn write_own(&self, own: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.fs.create_file(own, mode)?;
        file.write_at(0, bytes)?;
        file.sync()
    }

    /// Writes an object through a file of the store's own making, which `place` then puts where it belongs.
    fn put<T>(&self, name: &Name, bytes: &[u8], place: impl Fn(&str) -> io::Result<T>) -> io::Result<T> {
        let path = name.as_str();
        self.inside(folder_of(path), || {
            let own = own_name(path);
            let done = self.write_own(&own, mode_of(name), bytes).and_then(|()| place(&own));
            if done.is_err() {
                let _ = self.fs.unlink(&own);
            }
            done
        })
    }

    /// An empty file in place of what an earlier attempt of the same run left there.
    fn create_temporary(&self, path: &str) -> io::Result<F::File> {
        self.inside(folder_of(path), || match self.fs.create_file(path, PRIVATE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs.unlink(path)?;
                self.fs.create_file(path, PRIVATE)
            }
            result => result,
        })
    }

    /// Removes folders without anything in them: a writer that died had made them for what it was about to write. Those
    /// further down stay: one of an object's name is somebody else's.
    fn remove_empty(&self, folder: &str) -> io::Result<()> {
        let entries = match self.fs.entries(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for (last, _) in entries.into_iter().filter(|(_, kind)| matches!(kind, Kind::Folder)) {
            // One that holds something stays.
            self.tidy(&format!("{folder}/{last}"));
        }
        Ok(())
    }

    /// Visits what stands below a folder and is none: with its size, if it is a file.
    fn walk(&self, folder: &str, visit: &mut dyn FnMut(String, Option<u64>)) -> io::Result<()> {
        let (mut folders, mut most) = (vec![folder.to_owned()], self.fs.most_folders());
        while let Some(folder) = folders.pop() {
            let listed = self.fs.each(&folder, &mut |last, kind| {
                let path = if folder.is_empty() { last } else { format!("{folder}/{last}") };
                match kind {
                    Kind::File(size) => visit(path, Some(size)),
                    Kind::Folder => folders.push(path),
                    Kind::Other => visit(path, None),
                }
            });
            match listed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                listed => listed?,
            }
            most = most.checked_sub(1).filter(|_| folders.len() <= most).ok_or_else(endless)?;
        }
        Ok(())
    }
}

/// A server that tells of more than anybody has.
pub(super) fn endless() -> io::Error {
    io::Error::other("the server's listing has no end: ask whoever runs it, or take another server")
}

/// Whether a file system does not know how to rename without replacing.
fn cannot(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Whether a file system has no second names for a file.
fn has_no_links(error: &io::Error) -> bool {
    cannot(error) || Errno::from_io_error(error) == Some(Errno::PERM)
}

impl<F: FileSystem> FolderStore<F> {
    /// What stands directly in a folder; the empty one is the root.
    fn entries_in(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let found = match self.inner.fs.entries(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found.map_err(|cause| self.inner.error("list", folder, cause))?,
        };
        let before = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let named = found.into_iter().filter(|(last, _)| !is_own_name(last));
        let named = named.filter_map(|(last, kind)| {
            Some(Entry { name: Name::new(format!("{before}{last}")).ok()?, kind })
        });
        let mut entries: Vec<Entry> = named.collect();
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }
}

impl<F: FileSystem> ReadStore for FolderStore<F> {
    fn label(&self) -> &str {
        &self.inner.label
    }

    fn read(&self, name: &Name) -> Result<Vec<u8>, StoreError> {
        self.read_range(name, 0, usize::MAX)
    }

    fn read_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let read = self.inner.fs.read(name.as_str(), offset, len);
        read.map_err(|cause| self.inner.error("read", name.as_str(), cause))
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        match self.inner.fs.stat(name.as_str()) {
            Ok(None) => Ok(None),
            Ok(Some(Kind::File(size))) => Ok(Some(size)),
            Ok(Some(_)) => Err(self.inner.error("look at", name.as_str(), not_a_file())),
            Err(cause) => Err(self.inner.error("look at", name.as_str(), cause)),
        }
    }

    fn each(&self, folder: Option<&Name>, take: &mut dyn FnMut(Object)) -> Result<(), StoreError> {
        let folder = folder.map_or("", Name::as_str);
        let walked = self.inner.walk(folder, &mut |path, size| {
            if let Ok(name) = Name::new(path)
                && let Some(size) = size
                && !is_own_name(name.last())
            {
                take(Object { name, size });
            }
        });
        walked.map_err(|cause| self.inner.error("list", folder, cause))
    }

    fn entries(&self, folder: &Name) -> Result<Vec<Entry>, StoreError> {
        self.entries_in(folder.as_str())
    }

    fn root(&self) -> Result<Vec<Entry>, StoreError> {
        self.entries_in("")
    }

    fn may_write(&self) -> Result<(), StoreError> {
        self.inner.fs.may_write().map_err(|cause| self.inner.error("write into", ".", cause))
    }

    fn strange(&self, folder: Option<&Name>) -> Result<Vec<Name>, StoreError> {
        let folder = folder.map_or("", Name::as_str);
        let mut found = Vec::new();
        let walked = self.inner.walk(folder, &mut |path, size| {
            found.extend(Name::new(path).ok().filter(|_| size.is_none()));
        });
        walked.map_err(|cause| self.inner.error("list", folder, cause))?;
        found.sort();
        Ok(found)
    }
}

impl<F: FileSystem> Store for FolderStore<F> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            atomic_create: true,
            delete: true,
            fills_up: true,
            durable: self.inner.fs.is_durable(),
        }
    }

    fn in_place(&self) -> Result<(), StoreError> {
        self.inner.fs.in_place(&self.inner.root).map_err(|moved| StoreError {
            store: self.inner.label.clone(),
            doing: "find its folder again".to_owned(),
            kind: StoreErrorKind::Moved,
            cause: io::Error::other(moved),
        })
    }

    fn create(&self, name: &Name, bytes: &[u8]) -> Result<Creation, StoreError> {
        let created = self.inner.put(name, bytes, |own| self.inner.settle(own, name.as_str()));
        created.map_err(|cause| self.inner.write_error("create", name.as_str(), cause))
    }

    fn replace(&self, name: &Name, bytes: &[u8]) -> Result<(), StoreError> {
        let fs = &self.inner.fs;
        let replaced = self.inner.put(name, bytes, |own| {
            fs.rename_over(own, name.as_str())?;
            fs.sync_folder(folder_of(name.as_str()))
        });
        replaced.map_err(|cause| self.inner.write_error("write", name.as_str(), cause))
    }

    fn upload(
        &self,
        name: &Name,
        temporary: &Name,
        // No room is taken before the bytes come: what is said may be too much.
        _about: Option<u64>,
    ) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(self.start(name, temporary)?))
    }

    fn put_file(
        &self,
        file: &Path,
        temporary: &Name,
        name: &Name,
        control: &Control,
    ) -> Result<Creation, StoreError> {
        let verb = format!("bring `{}` as", file.display());
        let failed = |cause| self.inner.write_error(&verb, name.as_str(), cause);
        // Read before anything is written: a missing file here must not pass for a missing store.
        let mut host = File::open(file).map_err(|cause| self.inner.error(&verb, name.as_str(), cause))?;
        let size = host.metadata().map_err(failed)?.len();
        if self.link_file(file, temporary, mode_of(name)).is_ok() {
            let linked = FolderUpload {
                inner: Arc::clone(&self.inner),
                name: name.clone(),
                temporary: temporary.clone(),
                file: None,
                len: size,
            };
            control.advance(0, size);
            return Box::new(linked).finish();
        }
        let mut upload = self.start(name, temporary)?;
        upload.copy(&mut host, size, control, &verb)?;
        Box::new(upload).finish()
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        let folder = folder_of(name.as_str());
        let fs = &self.inner.fs;
        let absent =
            |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
        // Synced also where it is gone already: the attempt that removed it may not have come so far.
        let gone =
            fs.unlink(name.as_str()).or_else(absent).and_then(|()| fs.sync_folder(folder).or_else(absent));
        gone.map_err(|cause| self.inner.error("delete", name.as_str(), cause))?;
        self.inner.tidy(folder);
        Ok(())
    }

    fn sweep(&self, folder: &Name) -> Result<u64, StoreError> {
        let failed = |cause| self.inner.error("sweep", folder.as_str(), cause);
        let mut own = Vec::new();
        let walked = self.inner.walk(folder.as_str(), &mut |path, size| {
            if size.is_some() && is_own_name(path.rsplit('/').next().unwrap_or(&path)) {
                own.push(path);
            }
        });
        walked.map_err(failed)?;
        let mut count = 0;
        for path in own {
            match self.inner.fs.unlink(&path) {
                Ok(()) => count += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        self.inner.remove_empty(folder.as_str()).map_err(failed)?;
        Ok(count)
    }
}

impl<F: FileSystem> FolderStore<F> {
    fn start(&self, name: &Name, temporary: &Name) -> Result<FolderUpload<F>, StoreError> {
        let file = self.inner.create_temporary(temporary.as_str());
        let file = file.map_err(|cause| self.inner.write_error("write", temporary.as_str(), cause))?;
        Ok(FolderUpload {
            inner: Arc::clone(&self.inner),
            name: name.clone(),
            temporary: temporary.clone(),
            file: Some(file),
            len: 0,
        })
    }

    fn link_file(&self, file: &Path, temporary: &Name, mode: u32) -> io::Result<()> {
        let path = temporary.as_str();
        self.inner.inside(folder_of(path), || match self.inner.fs.link_host(file, path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.inner.fs.unlink(path)?;
                self.inner.fs.link_host(file, path, mode)
            }
            result => result,
        })
    }
}

/// A file on its way into the folder.
#[derive(Debug)]
struct FolderUpload<F: FileSystem> {
    inner: Arc<Inner<F>>,
    name: Name,
    temporary: Name,
    /// `None`: it was linked here, and is durable already.
    file: Option<F::File>,
    len: u64,
}

impl<F: FileSystem> FolderUpload<F> {
    fn failed(&self, cause: io::Error) -> StoreError {
        self.inner.write_error("write", self.temporary.as_str(), cause)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let written = match &mut self.file {
            Some(file) => file.write_at(offset, bytes),
            None => Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        written.map_err(|cause| self.failed(cause))
    }

    fn copy(&mut self, host: &mut File, size: u64, control: &Control, verb: &str) -> Result<(), StoreError> {
        while self.len < size {
            control.check().map_err(|stopped| StoreError {
                kind: StoreErrorKind::Stopped,
                ..self.inner.error(verb, self.temporary.as_str(), io::Error::other(stopped))
            })?;
            let chunk = COPY_CHUNK.min(size - self.len);
            let copied = match &mut self.file {
                Some(file) => file.append_from(host, chunk),
                None => Err(io::Error::from(io::ErrorKind::Unsupported)),
            };
            match copied.map_err(|cause| self.inner.write_error(verb, self.temporary.as_str(), cause))? {
                0 => {
                    let cause =
                        io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter meanwhile");
                    return Err(self.inner.error(verb, self.temporary.as_str(), cause));
                }
                count => {
                    self.len += count;
                    control.advance(0, count);
                }
            }
        }
        Ok(())
    }
}

impl<F: FileSystem> Upload for FolderUpload<F> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_at(self.len, bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len) {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "a patch beyond what was written");
            return Err(self.failed(cause));
        }
        self.write_at(offset, bytes)
    }

    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), StoreError> {
        let copied = match &mut self.file {
            Some(file) => file.copy_at(self.len, from, offset, len),
            None => Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        copied.map_err(|cause| self.failed(cause))?;
        self.len += len;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Creation, StoreError> {
        let name = self.name.clone();
        if let Some(mut file) = self.file.take() {
            let synced = file.set_mode(mode_of(&name)).and_then(|()| file.sync());
            synced.map_err(|cause| self.failed(cause))?;
        }
        let inner = &self.inner;
        let folder = folder_of(name.as_str());
        // No second try: after the first the file may have its name already.
        let settled =
            inner.ensure_folder(folder).and_then(|()| inner.settle(self.temporary.as_str(), name.as_str()));
        settled.map_err(|cause| inner.write_error("create", name.as_str(), cause))
        // What is left under the temporary name goes with `self`.
    }
}

impl<F: FileSystem> Drop for FolderUpload<F> {
    fn drop(&mut self) {
        // After `finish` there is nothing of that name any more; recovery removes what cannot be removed here.
        let _ = self.inner.fs.unlink(self.temporary.as_str());
        self.inner.tidy(folder_of(self.temporary.as_str()));
    }
}
