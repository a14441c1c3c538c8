//! Whether other accounts may put something else in the place of a file or folder that this process is about to delete in,
//! write in, or obey.
//!
//! A path is walked from the root, component by component, each opened in the one before and held. On the way every folder must
//! be one in which nobody but root and this account can exchange the next name: it belongs to one of them and others may not
//! write to it, or it is sticky (as `/tmp`) and the name in it belongs to one of them. So must be every link that is followed.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::account;

/// Links that are followed, as the kernel has it.
const LINKS: usize = 40;
/// Where access lists are kept.
const LIST: &str = "system.posix_acl_access";

/// Why something is not to be relied on.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// Others may put something else in its place.
    #[error("{who}, and could put something else in the place of what is in it", who = Who(path, by))]
    Exchangeable {
        /// The folder whose entries others may exchange.
        path: PathBuf,
        /// Who may.
        by: Others,
    },
    /// A file that others may write to.
    #[error("{who}", who = Who(path, by))]
    Writable {
        /// The file.
        path: PathBuf,
        /// Who may.
        by: Others,
    },
    /// A link that another account made.
    #[error("`{}` is a link that belongs to {owner}, who may have it lead elsewhere", path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Its owner.
        owner: String,
    },
    /// It could not be looked at.
    #[error("`{}`: {cause}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
}

impl Distrust {
    /// What to do about it; empty where the system's words say it.
    pub fn mend(&self) -> String {
        match self {
            Distrust::Exchangeable { path, by } | Distrust::Writable { path, by } => match by {
                Others::Owner(_) => format!("`chown {} {}`", account::own_name(), path.display()),
                Others::Everybody => format!("`chmod o-w {}`", path.display()),
                Others::Group(_) => format!("`chmod g-w {}`", path.display()),
                Others::List => format!("`setfacl -b {}`", path.display()),
            },
            Distrust::Link { path, .. } => {
                format!("`chown -h {} {}`", account::own_name(), path.display())
            }
            Distrust::Io { .. } => String::new(),
        }
    }

    fn cause(&self) -> Option<&io::Error> {
        match self {
            Distrust::Io { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Whether the thing is not there.
    pub fn is_missing(&self) -> bool {
        self.cause().is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
    }
}

impl From<Distrust> for io::Error {
    fn from(distrust: Distrust) -> io::Error {
        match distrust {
            Distrust::Io { cause, .. } => cause,
            other => io::Error::new(io::ErrorKind::PermissionDenied, format!("{other}; {}", other.mend())),
        }
    }
}

/// Accounts that are neither root nor this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Others {
    /// Its owner, by name.
    Owner(String),
    /// All.
    Everybody,
    /// The members of this group.
    Group(String),
    /// Accounts or groups that an access list names.
    List,
}

struct Who<'a>(&'a Path, &'a Others);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.display();
        match self.1 {
            Others::Owner(name) => write!(f, "`{path}` belongs to {name}, who may change it"),
            Others::Everybody => write!(f, "everybody may write to `{path}`"),
            Others::Group(name) => write!(f, "group {name} may write to `{path}`"),
            Others::List => write!(f, "an access list lets others write to `{path}`"),
        }
    }
}

/// Opens a folder in which nobody but root and this account can exchange anything, by a way on which nobody else can either.
///
/// # Errors
/// See [`Distrust`].
pub fn open_folder(path: &Path) -> Result<OwnedFd, Distrust> {
    let way = Way::to(path)?;
    way.is_a_folder()?;
    way.is_closed(None)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&way.at, ".", flags, Mode::empty()).map_err(|error| io_at(path)(error.into()))
}

/// Sees that nobody but root and this account can change what a file holds, nor put another in its place.
///
/// # Errors
/// See [`Distrust`].
pub fn see_file(path: &Path) -> Result<(), Distrust> {
    let way = Way::to(path)?;
    let stat = way.stat()?;
    match others(&way.at, &stat) {
        Some(by) => Err(Distrust::Writable { path: way.shown, by }),
        None => Ok(()),
    }
}

/// A way through the folders of this machine.
struct Way {
    at: OwnedFd,
    shown: PathBuf,
    /// What is still before it, the next first.
    ahead: VecDeque<OsString>,
    links: usize,
}

impl Way {
    fn to(path: &Path) -> Result<Way, Distrust> {
        let path = std::path::absolute(path).map_err(io_at(path))?;
        let mut way = Way { at: root()?, shown: PathBuf::from("/"), ahead: VecDeque::new(), links: 0 };
        way.put_ahead(&path);
        while let Some(name) = way.ahead.pop_front() {
            way.step(&name)?;
        }
        Ok(way)
    }

    /// From the root, if `path` is absolute.
    fn put_ahead(&mut self, path: &Path) {
        for part in path.components().rev() {
            match part {
                Component::Normal(name) => self.ahead.push_front(name.to_owned()),
                Component::ParentDir => self.ahead.push_front("..".into()),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
    }

    fn stat(&self) -> Result<Stat, Distrust> {
        fstat(&self.at).map_err(|error| io_at(&self.shown)(error.into()))
    }

    fn is_a_folder(&self) -> Result<(), Distrust> {
        match FileType::from_raw_mode(self.stat()?.st_mode) {
            FileType::Directory => Ok(()),
            _ => Err(io_at(&self.shown)(Errno::NOTDIR.into())),
        }
    }

    /// Nobody else can exchange what is in this folder: anything, or the entry that is there and its owner's.
    fn is_closed(&self, entry: Option<(&Path, u32)>) -> Result<(), Distrust> {
        let stat = self.stat()?;
        let Some(by) = others(&self.at, &stat) else { return Ok(()) };
        let exchangeable = |path: &Path, by| Err(Distrust::Exchangeable { path: path.to_path_buf(), by });
        // Of a sticky folder only its owner may exchange what is another's: it is the entry's owner that is in the way.
        let is_sticky = Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX);
        match entry {
            _ if !is_sticky || !is_trusted(stat.st_uid) => exchangeable(&self.shown, by),
            Some((path, owner)) if !is_trusted(owner) => {
                exchangeable(path, Others::Owner(account::called(owner)))
            }
            _ => Ok(()),
        }
    }

    fn step(&mut self, name: &OsStr) -> Result<(), Distrust> {
        if name == ".." {
            self.shown.pop();
            return self.enter(name, None);
        }
        let shown = self.shown.join(name);
        let found = statat(&self.at, name, AtFlags::SYMLINK_NOFOLLOW);
        let found = found.map_err(|error| io_at(&shown)(error.into()))?;
        let is_link = FileType::from_raw_mode(found.st_mode) == FileType::Symlink;
        if is_link && !is_trusted(found.st_uid) {
            return Err(Distrust::Link { path: shown, owner: account::called(found.st_uid) });
        }
        self.is_closed(Some((&shown, found.st_uid)))?;
        if !is_link {
            self.shown = shown;
            return self.enter(name, Some((found.st_dev, found.st_ino)));
        }
        self.links += 1;
        if self.links > LINKS {
            return Err(io_at(&shown)(Errno::LOOP.into()));
        }
        let target = readlinkat(&self.at, name, Vec::new()).map_err(|error| io_at(&shown)(error.into()))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            self.at = root()?;
            self.shown = PathBuf::from("/");
        }
        self.put_ahead(&target);
        Ok(())
    }

    fn enter(&mut self, name: &OsStr, known: Option<(u64, u64)>) -> Result<(), Distrust> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next =
            openat(&self.at, name, flags, Mode::empty()).map_err(|error| io_at(&self.shown)(error.into()))?;
        let stat = fstat(&next).map_err(|error| io_at(&self.shown)(error.into()))?;
        if known.is_some_and(|known| known != (stat.st_dev, stat.st_ino)) {
            let cause = io::Error::other("it was exchanged while it was looked at");
            return Err(io_at(&self.shown)(cause));
        }
        self.at = next;
        Ok(())
    }
}

fn root() -> Result<OwnedFd, Distrust> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, "/", flags, Mode::empty()).map_err(|error| io_at(Path::new("/"))(error.into()))
}

fn is_trusted(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

/// Who else may write to it.
fn others(fd: impl AsFd, stat: &Stat) -> Option<Others> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    if !is_trusted(stat.st_uid) {
        return Some(Others::Owner(account::called(stat.st_uid)));
    }
    if mode.contains(Mode::WOTH) {
        return Some(Others::Everybody);
    }
    if !mode.contains(Mode::WGRP) {
        return None;
    }
    // With an access list the group's bits are all that it may give, and the group's own are in the list.
    match list(fd) {
        Some(list) => gives(&list, stat.st_gid).then_some(Others::List),
        None if has_others(stat.st_gid) => Some(Others::Group(account::group_called(stat.st_gid))),
        None => None,
    }
}

/// Whether a group has members that are neither root nor this account. One that is in no file of this machine, but is this
/// process's own, was given to it by who started it: that of a volume of a container.
fn has_others(group: u32) -> bool {
    let is_ours = |member: Option<u32>| member.is_some_and(is_trusted);
    match account::members(group) {
        Some(members) => !members.into_iter().all(is_ours),
        None => group != 0 && !account::is_in(group),
    }
}

fn list(fd: impl AsFd) -> Option<Vec<u8>> {
    // By way of /proc, as what was opened only to be looked at gives none.
    xattr::get_deref(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()), LIST).ok().flatten()
}

/// Whether an access list lets others write. acl(5) as the kernel keeps it: a version of four bytes, then for each entry a tag
/// and permissions of two bytes each, and an id of four.
fn gives(list: &[u8], group: u32) -> bool {
    const USER: u16 = 0x02;
    const OWNING_GROUP: u16 = 0x04;
    const GROUP: u16 = 0x08;
    const WRITE: u16 = 2;
    list.get(4..).unwrap_or_default().chunks_exact(8).any(|entry| {
        let two = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let is_others = match two(0) {
            USER => !is_trusted(id),
            GROUP => has_others(id),
            OWNING_GROUP => has_others(group),
            _ => false,
        };
        is_others && two(2) & WRITE != 0
    })
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> Distrust + use<> {
    let path = path.to_path_buf();
    move |cause| Distrust::Io { path: path.clone(), cause }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_below_one_that_all_may_write_to_is_not_relied_on() {
        let dir = tempfile::tempdir().unwrap();
        let (above, folder) = (dir.path().join("above"), dir.path().join("above/folder"));
        fs::create_dir_all(&folder).unwrap();
        open_folder(&folder).unwrap();
        mode(&above, 0o777);
        let error = open_folder(&folder).unwrap_err();
        assert!(matches!(&error, Distrust::Exchangeable { by: Others::Everybody, .. }), "{error}");
        assert!(error.mend().starts_with("`chmod o-w "), "{}", error.mend());
        // As `/tmp` is.
        mode(&above, 0o1777);
        open_folder(&folder).unwrap();
        // Then whoever owns the entry is in the way, and the folder above must stay as it is.
        std::os::unix::fs::chown(&folder, Some(65534), None).unwrap();
        let error = open_folder(&folder).unwrap_err();
        assert!(
            matches!(&error, Distrust::Exchangeable { by: Others::Owner(_), path } if *path == folder),
            "{error}"
        );
        assert!(
            error.mend().starts_with("`chown ") && error.mend().contains("above/folder"),
            "{}",
            error.mend()
        );
        std::os::unix::fs::chown(&folder, Some(geteuid().as_raw()), None).unwrap();
        mode(&folder, 0o777);
        assert!(open_folder(&folder).is_err());
        mode(&folder, 0o1777);
        open_folder(&folder).unwrap();
    }

    #[test]
    fn links_are_followed_where_nobody_else_can_lead_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        symlink("../a/./b", dir.path().join("a/link")).unwrap();
        symlink(dir.path().join("a/link"), dir.path().join("door")).unwrap();
        let there = open_folder(&dir.path().join("door")).unwrap();
        let found = fstat(&there).unwrap();
        assert_eq!(found.st_ino, fs::metadata(dir.path().join("a/b")).unwrap().ino());
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(open_folder(&dir.path().join("loop")).is_err());
        assert!(open_folder(&dir.path().join("none")).unwrap_err().is_missing());
    }

    #[test]
    fn what_belongs_to_another_account_is_told() {
        // Only root can give something away.
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (folder, link, file) =
            (dir.path().join("folder"), dir.path().join("link"), dir.path().join("file"));
        fs::create_dir(&folder).unwrap();
        symlink("folder", &link).unwrap();
        fs::write(&file, "").unwrap();
        see_file(&file).unwrap();
        lchown(&link, Some(65534), None).unwrap();
        assert!(matches!(open_folder(&link), Err(Distrust::Link { .. })));
        lchown(&folder, Some(65534), None).unwrap();
        let error = open_folder(&folder).unwrap_err();
        assert!(matches!(&error, Distrust::Exchangeable { by: Others::Owner(_), .. }), "{error}");
        lchown(&file, Some(65534), None).unwrap();
        assert!(matches!(see_file(&file), Err(Distrust::Writable { .. })));
        lchown(&file, Some(0), None).unwrap();
        mode(&file, 0o666);
        assert!(matches!(see_file(&file), Err(Distrust::Writable { by: Others::Everybody, .. })));
    }

    #[test]
    fn an_access_list_counts_for_whom_it_names() {
        let entry = |tag: u16, perm: u16, id: u32| {
            [tag.to_le_bytes().to_vec(), perm.to_le_bytes().to_vec(), id.to_le_bytes().to_vec()].concat()
        };
        let list = |entries: &[Vec<u8>]| [vec![2, 0, 0, 0], entries.concat()].concat();
        assert!(gives(&list(&[entry(0x02, 7, 54321)]), 0));
        assert!(!gives(&list(&[entry(0x02, 5, 54321)]), 0));
        assert!(!gives(&list(&[entry(0x01, 7, u32::MAX), entry(0x02, 7, 0)]), 0));
        assert!(gives(&list(&[entry(0x04, 7, u32::MAX)]), 54321));
    }
}
