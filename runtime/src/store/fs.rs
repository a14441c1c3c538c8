//! The primitive operations that the folder store is made of: on a real folder, and (in `simulated.rs`, for tests) on one
//! whose power can be cut between any two of them. What is proven of the simulation is the folder store's own code.

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{
    Advice, AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, StatVfsMountFlags, fadvise,
};
use rustix::io::Errno;

use crate::places::anchor::{self, Moved};

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// Something that a store neither makes nor follows: a symlink, a device.
    Other,
}

/// A folder and all below it. Paths are relative, joined by `/`; the root is the empty path. No symlink is followed.
pub trait FileSystem: Send + Sync + fmt::Debug + 'static {
    /// A file being written.
    type File: OpenFile;

    /// Whether what is synced survives a power cut, as far as can be known.
    fn is_durable(&self) -> bool {
        true
    }

    /// Whether anything can be written here, as far as that can be told without leaving something behind.
    ///
    /// # Errors
    /// Why nothing can be written.
    fn may_write(&self) -> io::Result<()> {
        Ok(())
    }

    /// Up to `len` bytes from `offset`; fewer only at the end.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    fn read(&self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// What stands there; `None`: nothing.
    ///
    /// # Errors
    /// When that cannot be told: of a server also when it does not answer.
    fn stat(&self, path: &str) -> io::Result<Option<Kind>>;

    /// Hands on the entries of a folder whose names are UTF-8, in no order, as they come.
    ///
    /// # Errors
    /// When it is not there, or cannot be listed to its end.
    fn each(&self, folder: &str, take: &mut dyn FnMut(String, Kind)) -> io::Result<()>;

    /// The same, all together.
    ///
    /// # Errors
    /// As [`FileSystem::each`].
    fn entries(&self, folder: &str) -> io::Result<Vec<(String, Kind)>> {
        let mut entries = Vec::new();
        self.each(folder, &mut |name, kind| entries.push((name, kind)))?;
        Ok(entries)
    }

    /// Folders of a listing at the most: a server could have them without end.
    fn most_folders(&self) -> usize {
        usize::MAX
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// The system's; `AlreadyExists`.
    fn make_folder(&self, path: &str) -> io::Result<()>;

    /// Makes an empty file.
    ///
    /// # Errors
    /// The system's; `AlreadyExists`.
    fn create_file(&self, path: &str, mode: u32) -> io::Result<Self::File>;

    /// Makes a durable file of this host appear here too, without copying.
    ///
    /// # Errors
    /// The system's; any of them means that it has to be copied.
    fn link_host(&self, file: &Path, path: &str, mode: u32) -> io::Result<()>;

    /// A second name for a file.
    ///
    /// # Errors
    /// The system's; `AlreadyExists`.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Renames, never onto something.
    ///
    /// # Errors
    /// The system's; `AlreadyExists`; `EINVAL` where the file system cannot do this.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Renames, in place of what was there.
    ///
    /// # Errors
    /// When it cannot be renamed; what had the name stays then.
    fn rename_over(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When it is not there, or may not be removed.
    fn unlink(&self, path: &str) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// When something is in it, or it may not be removed.
    fn remove_folder(&self, path: &str) -> io::Result<()>;

    /// Makes a folder's entries durable.
    ///
    /// # Errors
    /// When they may not be durable.
    fn sync_folder(&self, path: &str) -> io::Result<()>;

    /// Sees that `root`, the path that it was opened by, still leads to it.
    ///
    /// # Errors
    /// Where it is, if not there.
    fn in_place(&self, root: &Path) -> Result<(), Moved>;
}

/// Bytes read at once where a range cannot be copied by the kernel, and copied at once where it can.
const RANGE_CHUNK: usize = 1 << 18;
const RANGE_MAX: usize = 1 << 30;

/// A file being written.
pub trait OpenFile: Send + fmt::Debug {
    /// Writes at a place.
    ///
    /// # Errors
    /// When not all of it could be written: no room, above all.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Appends up to `len` bytes of a host's file, from where that stands; says how many, 0 at its end.
    ///
    /// # Errors
    /// When the one cannot be read or the other not written.
    fn append_from(&mut self, host: &mut File, len: u64) -> io::Result<u64>;

    /// Writes `len` bytes of a host's file, from `from_offset`, at a place; shares them where the file system can.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::UnexpectedEof`] where that file is shorter.
    fn copy_at(&mut self, offset: u64, from: &File, from_offset: u64, len: u64) -> io::Result<()> {
        let mut bytes = vec![0; RANGE_CHUNK];
        let mut done = 0;
        while done < len {
            let now = (len - done).min(RANGE_CHUNK as u64) as usize;
            from.read_exact_at(&mut bytes[..now], from_offset + done)?;
            self.write_at(offset + done, &bytes[..now])?;
            done += now as u64;
        }
        Ok(())
    }

    /// Sets the permissions, less the process's mask.
    ///
    /// # Errors
    /// When the file system has no such rights to give.
    fn set_mode(&mut self, mode: u32) -> io::Result<()>;

    /// Makes contents and size durable.
    ///
    /// # Errors
    /// The system's. What was written is then lost, and must be written anew.
    fn sync(&mut self) -> io::Result<()>;
}

/// A real folder, held open: what is mounted over its path later does not matter.
#[derive(Debug)]
pub struct HostFolder {
    root: OwnedFd,
}

/// A folder that is the root, or was opened below it.
enum Folder<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Folder::Root(fd) => *fd,
            Folder::Below(fd) => fd.as_fd(),
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl HostFolder {
    /// Opens a folder; its own path may lead through symlinks.
    ///
    /// # Errors
    /// When there is no such folder, or this account may not look into it.
    pub fn open(path: &Path) -> io::Result<HostFolder> {
        Ok(HostFolder { root: rustix::fs::openat(CWD, path, FOLDER, Mode::empty())? })
    }

    /// Opens a folder below the root, component by component, so that no symlink leads out.
    fn folder(&self, path: &str) -> io::Result<Folder<'_>> {
        let mut folder = Folder::Root(self.root.as_fd());
        for component in path.split('/').filter(|component| !component.is_empty()) {
            let next = match rustix::fs::openat(&folder, component, FOLDER | OFlags::NOFOLLOW, Mode::empty())
            {
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(not_a_folder(component)),
                next => next?,
            };
            folder = Folder::Below(next);
        }
        Ok(folder)
    }

    fn parent<'p>(&self, path: &'p str) -> io::Result<(Folder<'_>, &'p str)> {
        match path.rsplit_once('/') {
            Some((folder, last)) => Ok((self.folder(folder)?, last)),
            None => Ok((Folder::Root(self.root.as_fd()), path)),
        }
    }
}

impl FileSystem for HostFolder {
    type File = HostFile;

    /// Looks at the mount alone: who looks may be another account than the one that runs.
    fn may_write(&self) -> io::Result<()> {
        let mount = rustix::fs::fstatvfs(&self.root)?;
        match mount.f_flag.contains(StatVfsMountFlags::RDONLY) {
            true => Err(Errno::ROFS.into()),
            false => Ok(()),
        }
    }

    fn read(&self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let (folder, last) = self.parent(path)?;
        // NONBLOCK: a FIFO put there by somebody must not hang us.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&folder, last, flags, Mode::empty()) {
            // A symlink; a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(not_a_file()),
            file => File::from(file?),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(not_a_file());
        }
        let there = meta.len().saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(there).unwrap_or(usize::MAX).min(len)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn stat(&self, path: &str) -> io::Result<Option<Kind>> {
        let found = self.parent(path).and_then(|(folder, last)| kind(folder.as_fd(), last));
        match found {
            Ok(kind) => Ok(Some(kind)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn each(&self, folder: &str, take: &mut dyn FnMut(String, Kind)) -> io::Result<()> {
        let folder = self.folder(folder)?;
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            // What is not UTF-8 was not named by us.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            match kind(folder.as_fd(), name) {
                Ok(kind) => take(name.to_owned(), kind),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        let (folder, last) = self.parent(path)?;
        Ok(rustix::fs::mkdirat(&folder, last, Mode::from_raw_mode(0o700))?)
    }

    fn create_file(&self, path: &str, mode: u32) -> io::Result<HostFile> {
        let (folder, last) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&folder, last, flags, Mode::from_raw_mode(mode))?;
        Ok(HostFile { file: File::from(file), on_its_way: 0 })
    }

    fn link_host(&self, file: &Path, path: &str, mode: u32) -> io::Result<()> {
        let (folder, last) = self.parent(path)?;
        let opened = File::from(rustix::fs::openat(
            CWD,
            file,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )?);
        let meta = opened.metadata()?;
        let device = rustix::fs::fstat(&folder)?.st_dev;
        let own = meta.uid() == rustix::process::geteuid().as_raw();
        // A second link would make two stores' copies one: damage to either would be damage to both.
        if !meta.is_file() || meta.dev() != device || !own || meta.nlink() != 1 {
            return Err(io::Error::from(rustix::io::Errno::XDEV));
        }
        opened.set_permissions(std::fs::Permissions::from_mode(mode & !mask()))?;
        opened.sync_all()?;
        rustix::fs::linkat(CWD, file, &folder, last, AtFlags::empty())?;
        let linked = rustix::fs::statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW)?;
        if linked.st_ino != meta.ino() {
            rustix::fs::unlinkat(&folder, last, AtFlags::empty())?;
            return Err(io::Error::from(rustix::io::Errno::XDEV));
        }
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let ((old, from), (new, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(rustix::fs::linkat(&old, from, &new, to, AtFlags::empty())?)
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let ((old, from), (new, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(rustix::fs::renameat_with(&old, from, &new, to, RenameFlags::NOREPLACE)?)
    }

    fn rename_over(&self, from: &str, to: &str) -> io::Result<()> {
        let ((old, from), (new, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(rustix::fs::renameat(&old, from, &new, to)?)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let (folder, last) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(&folder, last, AtFlags::empty())?)
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        let (folder, last) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(&folder, last, AtFlags::REMOVEDIR)?)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.folder(path)?)?)
    }

    fn in_place(&self, root: &Path) -> Result<(), Moved> {
        anchor::in_place(&self.root, root)
    }
}

fn kind(folder: BorrowedFd<'_>, name: &str) -> io::Result<Kind> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File(u64::try_from(stat.st_size).unwrap_or(0)),
        FileType::Directory => Kind::Folder,
        _ => Kind::Other,
    })
}

pub(super) fn not_a_folder(name: &str) -> io::Error {
    let text = format!("`{name}` is a file or a link where a folder should be: move it away");
    io::Error::new(io::ErrorKind::NotADirectory, text)
}

pub(super) fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is something of that name that is not a regular file")
}

/// The process's mask. Asking `umask` would change it for a moment, under the feet of other threads.
pub(super) fn mask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o077)
}

/// Copies a range from one file into another; the kernel shares its blocks where the file system can and both offsets
/// allow it.
///
/// # Errors
/// The system's; [`io::ErrorKind::UnexpectedEof`] where the first is shorter.
pub(crate) fn copy_range(
    from: &File,
    mut offset: u64,
    to: &File,
    mut to_offset: u64,
    len: u64,
) -> io::Result<()> {
    let mut left = len;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(RANGE_MAX);
        match rustix::fs::copy_file_range(from, Some(&mut offset), to, Some(&mut to_offset), now) {
            // Some file systems say so instead of refusing.
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => break,
            Ok(copied) => left -= copied as u64,
            Err(Errno::INTR) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    let mut bytes = vec![0; RANGE_CHUNK.min(usize::try_from(left).unwrap_or(RANGE_CHUNK))];
    while left > 0 {
        let now = left.min(RANGE_CHUNK as u64) as usize;
        from.read_exact_at(&mut bytes[..now], offset)?;
        to.write_all_at(&bytes[..now], to_offset)?;
        (offset, to_offset, left) = (offset + now as u64, to_offset + now as u64, left - now as u64);
    }
    Ok(())
}

/// Bytes after which the system is asked to begin bringing them to the disk.
const PUSH: u64 = 8 << 20;

/// A real file.
#[derive(Debug)]
pub struct HostFile {
    file: File,
    /// Up to where the system was asked to bring it to the disk.
    on_its_way: u64,
}

impl HostFile {
    /// Has the disk write while more is made: else nearly all of a file is still to be written when it is synced, and nothing
    /// else is done meanwhile. That its pages may then be forgotten harms nobody: what is written here is not read soon.
    fn push(&mut self, end: u64) {
        let Some(len) = end.checked_sub(self.on_its_way).filter(|len| *len >= PUSH) else { return };
        let _ = fadvise(&self.file, self.on_its_way, NonZeroU64::new(len), Advice::DontNeed);
        self.on_its_way = end;
    }
}

impl OpenFile for HostFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.push(offset + bytes.len() as u64);
        Ok(())
    }

    fn append_from(&mut self, host: &mut File, len: u64) -> io::Result<u64> {
        // The standard library's copy asks the kernel to do it, which shares blocks where the file system can.
        io::copy(&mut io::Read::take(host, len), &mut self.file)
    }

    fn copy_at(&mut self, offset: u64, from: &File, from_offset: u64, len: u64) -> io::Result<()> {
        copy_range(from, from_offset, &self.file, offset, len)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        match rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode & !mask())) {
            // It is ours: only a file system without permissions refuses, such as FAT, whose mount says who may read.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            set => Ok(set?),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}
