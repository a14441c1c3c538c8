//! Writing into an archive as somebody else than its owner: what root writes there must be the server's account's from the
//! first moment on, or that can neither read it nor write beside it. Everything is done by descriptors: the owner of a folder
//! may exchange what is in it at any time.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fchown, fstat, fsync, linkat, mkdirat, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

use crate::machine::random_bytes;
use crate::openat;
use crate::text::hex;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// An archive's folder, and whom it belongs to.
pub struct Place {
    folder: OwnedFd,
    owner: Option<(Uid, Gid)>,
}

impl Place {
    /// Opens an archive's folder.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(path: &Path) -> io::Result<Place> {
        let folder = OwnedFd::from(File::open(path)?);
        let seen = fstat(&folder)?;
        let is_given = geteuid().is_root() && seen.st_uid != 0;
        let owner = is_given.then(|| (Uid::from_raw(seen.st_uid), Gid::from_raw(seen.st_gid)));
        Ok(Place { folder, owner })
    }

    /// A folder in it, made where it is missing, with those above.
    fn below(&self, path: &str) -> io::Result<OwnedFd> {
        if path.is_empty() {
            return self.folder.try_clone();
        }
        match openat::open(&self.folder, path.as_bytes(), FOLDER, Mode::empty()) {
            Err(Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = self.below(above)?;
        // Under a name that nobody looks for, until it has its owner.
        let new = format!(".new-{}", hex(&random_bytes::<8>()));
        mkdirat(&above, &new, Mode::RWXU)?;
        let made = openat::open(&above, new.as_bytes(), FOLDER, Mode::empty())?;
        let named = self.give(&made).and_then(|()| Ok(renameat(&above, &new, &above, name)?));
        if named.is_err() {
            let _ = unlinkat(&above, &new, AtFlags::REMOVEDIR);
        }
        fsync(&above)?;
        // Another may have been quicker, and there may be something in his.
        Ok(openat::open(&above, name.as_bytes(), FOLDER, Mode::empty())?)
    }

    fn give(&self, made: impl AsFd) -> io::Result<()> {
        match self.owner {
            // Whatever it was exchanged for.
            Some(_) if fstat(&made)?.st_uid != 0 => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            Some((user, group)) => Ok(fchown(&made, Some(user), Some(group))?),
            None => Ok(()),
        }
    }

    /// Writes a file whole and durably, by `fill`; whether it did. One that is there is left alone, or replaced.
    ///
    /// # Errors
    /// When it is not known to be there; what was begun is gone.
    pub fn put(
        &self,
        path: &str,
        is_replaced: bool,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<bool> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (folder, aside) = (self.below(folder)?, self.below("tmp")?);
        let new = format!("{name}-{}-{}", std::process::id(), hex(&random_bytes::<8>()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file =
            File::from(openat::open(&aside, new.as_bytes(), flags, Mode::RUSR | Mode::WUSR | Mode::RGRP)?);
        let done = fill(&mut file)
            .and_then(|()| self.give(&file))
            .and_then(|()| file.sync_all())
            .and_then(|()| settle((&aside, &new), (&folder, name), is_replaced));
        if !matches!(done, Ok(true)) {
            let _ = unlinkat(&aside, &new, AtFlags::empty());
        }
        done
    }
}

/// Where nothing but a new file can be had without replacing one: an empty one takes the name, and the whole one its place.
fn take_name((aside, new): (&OwnedFd, &str), (folder, name): (&OwnedFd, &str)) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    drop(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    let renamed = renameat(aside, new, folder, name);
    if renamed.is_err() {
        let _ = unlinkat(folder, name, AtFlags::empty());
    }
    renamed
}

/// Gives a file its name, durably; `false` where that is taken.
fn settle(from: (&OwnedFd, &str), to: (&OwnedFd, &str), is_replaced: bool) -> io::Result<bool> {
    let ((aside, new), (folder, name)) = (from, to);
    let named = match is_replaced {
        true => renameat(aside, new, folder, name),
        false => match renameat_with(aside, new, folder, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                match linkat(aside, new, folder, name, AtFlags::empty()) {
                    Err(Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => take_name(from, to),
                    linked => linked.and_then(|()| unlinkat(aside, new, AtFlags::empty())),
                }
            }
            named => named,
        },
    };
    fsync(folder)?;
    match named {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, chown, symlink};

    use super::*;

    #[test]
    fn what_is_written_belongs_to_the_archive_s_owner_and_goes_nowhere_else() {
        let scratch = tempfile::tempdir().unwrap();
        let (own, other) = (scratch.path().join("own"), scratch.path().join("other"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&other).unwrap();
        let account = if geteuid().is_root() { 12_345 } else { geteuid().as_raw() };
        chown(&own, Some(account), None).unwrap();
        let place = Place::open(&own).unwrap();
        let put = |path: &str, is_replaced, text: &str| {
            place.put(path, is_replaced, |file| file.write_all(text.as_bytes()))
        };
        assert!(put("a/b/file", false, "first").unwrap());
        assert!(!put("a/b/file", false, "second").unwrap());
        assert_eq!(fs::read_to_string(own.join("a/b/file")).unwrap(), "first");
        assert!(put("a/b/file", true, "third").unwrap());
        assert_eq!(fs::read_to_string(own.join("a/b/file")).unwrap(), "third");
        for path in ["a", "a/b", "a/b/file", "tmp"] {
            assert_eq!(fs::metadata(own.join(path)).unwrap().uid(), account, "{path}");
        }
        // Its owner leads it elsewhere.
        symlink(&other, own.join("link")).unwrap();
        assert!(put("link/file", false, "text").is_err());
        assert!(place.put("a/b/more", false, |_| Err(io::Error::other("no"))).is_err());
        fs::remove_dir(own.join("tmp")).unwrap();
        symlink(&other, own.join("tmp")).unwrap();
        assert!(put("a/b/more", false, "text").is_err());
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
        assert_eq!(fs::read_dir(own.join("a/b")).unwrap().count(), 1);
    }
}
