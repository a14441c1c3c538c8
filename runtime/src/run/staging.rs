//! Clearing a staging folder: its contents, never the folder, and never anything that a plan lives on.
//!
//! A staging is opened once, by a way that no other account can exchange, and held: what was checked is what is cleared, whatever
//! is put in its place meanwhile.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use backplan_compiler::model::{Model, Staging as Declared};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};

use crate::catalog::ids::RunId;
use crate::control::{Control, Stopped};
use crate::places::folder::{Folder, FolderError, Met, id};
use crate::places::mounts::{Mounts, mount_of};
use crate::places::spot::Spot;
use crate::places::trust::{self, Distrust};
use crate::text::printable;

/// What to do about files that were in a staging before its first run.
pub const MOVE_AWAY: &str =
    "move it elsewhere, or delete it; from the next run on the folder is the plan's own, and cleared";
/// Names that a message lists.
const LISTED: usize = 3;

/// Why a staging was not cleared. Nothing was deleted, but for [`StagingError::Folder`].
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// It is not there.
    #[error("the staging folder `{}` is not there; make it, or mount what it is on", .0.display())]
    Missing(PathBuf),
    /// It is no folder.
    #[error("the staging `{}` is not a folder; give the plan one", .0.display())]
    NotFolder(PathBuf),
    /// Clearing it would eat data.
    #[error("refusing to clear the staging `{}`: {why}; give the plan a staging of its own", staging.display())]
    Refused {
        /// The staging.
        staging: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Other accounts could exchange it, or what is built in it.
    #[error("refusing to use the staging `{}`: {cause}; {}, or give the plan a staging elsewhere", staging.display(), cause.mend())]
    Exchangeable {
        /// The staging.
        staging: PathBuf,
        /// How.
        cause: Distrust,
    },
    /// The system's own words.
    #[error("cannot look at the staging: {0}")]
    Look(#[source] Distrust),
    /// What is in it could not be looked at or deleted.
    #[error("cannot clear the staging `{}`: {cause}", staging.display())]
    Folder {
        /// The staging.
        staging: PathBuf,
        /// What went wrong.
        #[source]
        cause: FolderError,
    },
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What a staging lies among.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The plan.
    pub model: &'a Model,
    /// Backplan's folder on this host.
    pub state: &'a Path,
    /// The home of the account that runs.
    pub home: Option<&'a Path>,
}

/// A staging that may be cleared: held, and checked against everything that must survive.
#[derive(Debug)]
pub struct Staging {
    folder: Folder,
    /// As the plan calls it.
    shown: PathBuf,
    /// Where it is.
    path: PathBuf,
}

impl Staging {
    /// Checks that clearing `path` harms nothing of `precious` (sources, stores, plan files, keys).
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn open(path: &Path, precious: &[PathBuf], home: Option<&Path>) -> Result<Staging, StagingError> {
        let staging = Staging::hold(path)?;
        let refuse = |why: String| Err(StagingError::Refused { staging: path.to_path_buf(), why });
        let Some(above) = staging.above()? else { return refuse("it is the root of all files".to_owned()) };
        let (mounts, own) = (Mounts::now(), staging.spot());
        if home.is_some_and(|home| Spot::of(home, &mounts).is_in(&own)) {
            return refuse("it is, or holds, a home folder".to_owned());
        }
        if staging.is_mounted_in(&above)? {
            let why =
                "it is the root of a mounted file system, or of a folder that is mounted under another name";
            return refuse(format!("{why} (make a folder in it, and name that)"));
        }
        if let Some(thing) = precious.iter().find(|thing| Spot::of(thing, &mounts).is_in(&own)) {
            return refuse(format!("`{}` is inside it", thing.display()));
        }
        staging.refuse_foreign()?;
        Ok(staging)
    }

    /// The staging that a plan declares, checked against all that the plan lives on.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn of(declared: &Declared, around: Surroundings<'_>) -> Result<Staging, StagingError> {
        let staging = Staging::open(&declared.path, &precious(around), around.home)?;
        staging.refuse_inside(&lived_in(around.model))?;
        Ok(staging)
    }

    /// Sees, before anything is begun, that the staging can be used; gives it if it is ever cleared.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn look(declared: &Declared, around: Surroundings<'_>) -> Result<Option<Staging>, StagingError> {
        match declared.clear_before || declared.clear_after {
            true => Staging::of(declared, around).map(Some),
            false => Staging::hold(&declared.path).map(|_| None),
        }
    }

    /// As the plan calls it.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Opens it, by a way that nobody else can exchange.
    fn hold(shown: &Path) -> Result<Staging, StagingError> {
        let fd = trust::open_folder(shown).map_err(|cause| {
            let staging = shown.to_path_buf();
            match &cause {
                _ if cause.is_missing() => StagingError::Missing(staging),
                Distrust::Io { cause: found, .. } if found.kind() == io::ErrorKind::NotADirectory => {
                    StagingError::NotFolder(staging)
                }
                Distrust::Io { .. } => StagingError::Look(cause),
                _ => StagingError::Exchangeable { staging, cause },
            }
        })?;
        let looked = |cause| StagingError::Look(Distrust::Io { path: shown.to_path_buf(), cause });
        // As the kernel has it: through no link, wherever it is by now.
        let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(looked)?;
        let folder = Folder::of(fd, shown).map_err(looked)?;
        Ok(Staging { folder, shown: shown.to_path_buf(), path })
    }

    fn looked(&self) -> impl Fn(io::Error) -> StagingError + use<> {
        let path = self.shown.clone();
        move |cause| StagingError::Look(Distrust::Io { path: path.clone(), cause })
    }

    fn failed(&self) -> impl Fn(FolderError) -> StagingError + use<> {
        let staging = self.shown.clone();
        move |cause| match cause {
            FolderError::Stopped(stopped) => StagingError::Stopped(stopped),
            FolderError::Mount(path) => {
                let why = format!(
                    "another file system is mounted at `{}`, or a folder of this one",
                    path.display()
                );
                StagingError::Refused { staging: staging.clone(), why }
            }
            cause => StagingError::Folder { staging: staging.clone(), cause },
        }
    }

    /// The folder above it; `None`: there is none.
    fn above(&self) -> Result<Option<Folder>, StagingError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = openat(self.folder.fd(), "..", flags, Mode::empty()).map_err(io::Error::from);
        let above = above.and_then(|fd| Folder::of(fd, &self.shown)).map_err(self.looked())?;
        let is_root =
            id(above.fd()).and_then(|above| Ok(above == id(self.folder.fd())?)).map_err(self.looked())?;
        Ok(Some(above).filter(|_| !is_root || self.path != Path::new("/")))
    }

    fn is_mounted_in(&self, above: &Folder) -> Result<bool, StagingError> {
        let own = mount_of(self.folder.fd()).map_err(self.looked())?;
        Ok(own != mount_of(above.fd()).map_err(self.looked())?)
    }

    fn spot(&self) -> Spot {
        Spot::of(&self.path, &Mounts::now())
    }

    /// A staging that only links and mounts bring into a tree is in there by mistake. One that the plan itself puts there,
    /// `check` has seen.
    fn refuse_inside(&self, trees: &[PathBuf]) -> Result<(), StagingError> {
        let (mounts, own) = (Mounts::now(), self.spot());
        for tree in trees.iter().filter(|tree| !self.shown.starts_with(tree)) {
            if own.is_in(&Spot::of(tree, &mounts)) {
                let why = format!("symlinks bring it into `{}`", tree.display());
                return Err(StagingError::Refused { staging: self.shown.clone(), why });
            }
        }
        Ok(())
    }

    /// A cluster, or the staging of another plan that is at work, was put in it by somebody, not by a run. What a run builds is
    /// its own, a copy of a cluster too: in a folder directly in the staging that is named after the run.
    fn refuse_foreign(&self) -> Result<(), StagingError> {
        let mut found = None;
        let looked = self.folder.look(&Control::default(), &mut |met, _, names| {
            let is_own = names.first().is_some_and(|name| is_run(name));
            let name = names.last().map_or(OsStr::new(""), OsString::as_os_str);
            let what = match met {
                _ if is_own || found.is_some() => None,
                Met::File if name == "PG_VERSION" => Some("a Postgres cluster"),
                Met::Into if is_run(name) => Some("the staging of another plan"),
                _ => None,
            };
            found = found.take().or_else(|| what.map(|what| (what, names.iter().collect::<PathBuf>())));
            Ok(())
        });
        looked.map_err(self.failed())?;
        match found {
            Some((what, path)) => {
                let why = format!("there is {what} in it (`{}`)", self.shown.join(path).display());
                Err(StagingError::Refused { staging: self.shown.clone(), why })
            }
            None => Ok(()),
        }
    }

    /// What tells this folder from another that is later put under its name: where it is, and its inode.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn identity(&self) -> Result<(PathBuf, u64), StagingError> {
        let (_, inode) = id(self.folder.fd()).map_err(self.looked())?;
        Ok((self.path.clone(), inode))
    }

    /// What is in it that no run put there; of interest before the first run that uses it. Folders with nothing in them, and empty
    /// files, by which empty folders are kept, are nobody's loss.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn strangers(&self) -> Result<Vec<OsString>, StagingError> {
        let mut found = BTreeSet::new();
        let looked = self.folder.look(&Control::default(), &mut |met, above, names| {
            if let (Met::File, [first, ..]) = (met, names)
                && !is_run(first)
                && !is_empty(above, names.last().unwrap_or(first))
            {
                found.insert(first.clone());
            }
            Ok(())
        });
        looked.map_err(self.failed())?;
        Ok(found.into_iter().collect())
    }

    /// What clearing deletes: the names of the entries directly in it. Where it `is_new` to the plan, only what runs have left.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn contents(&self, is_new: bool) -> Result<BTreeSet<OsString>, StagingError> {
        let names = self.folder.names().map_err(self.failed())?;
        Ok(names.into_iter().filter(|name| !is_new || is_run(name)).collect())
    }

    /// Deletes these entries directly in it, with all that is below them, following no link and entering no mount. The folder
    /// stays. Gives the number of those that were there.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn delete(&self, names: &BTreeSet<OsString>, control: &Control) -> Result<usize, StagingError> {
        self.folder.empty(&|name| names.contains(name), control).map_err(self.failed())
    }
}

/// Whether it is a file, and has nothing in it.
fn is_empty(above: BorrowedFd<'_>, name: &OsStr) -> bool {
    statat(above, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0)
}

fn is_run(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.parse::<RunId>().is_ok())
}

/// What is said of files that were in a staging before its first run.
pub fn told_of_strangers(staging: &Path, strangers: &[OsString]) -> String {
    let listed: Vec<String> = strangers
        .iter()
        .take(LISTED)
        .map(|name| format!("`{}`", printable(name.as_encoded_bytes())))
        .collect();
    let more = strangers.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "the staging `{}` holds {}{more}, which no run of this plan put there",
        staging.display(),
        listed.join(", ")
    )
}

/// What clearing a staging must not touch.
fn precious(around: Surroundings<'_>) -> Vec<PathBuf> {
    let model = around.model;
    let mut paths = model.files.clone();
    paths.extend(model.secret_files.iter().cloned());
    paths.push(around.state.to_path_buf());
    paths.extend(model.stores.iter().filter_map(|store| store.folder()).map(Path::to_path_buf));
    let named = model.sources.iter().flat_map(|source| source.kind.own().paths());
    paths.extend(named.map(|(_, _, path)| path.to_path_buf()));
    paths
}

/// Trees that a staging is in only if the plan says so: sources and stores.
fn lived_in(model: &Model) -> Vec<PathBuf> {
    let mut trees: Vec<PathBuf> =
        model.stores.iter().filter_map(|store| store.folder()).map(Path::to_path_buf).collect();
    let files = model.sources.iter().filter_map(|source| source.files());
    trees.extend(files.flat_map(|files| &files.paths).map(|path| path.absolute.clone()));
    trees
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    fn scratch() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("staging/deep/deeper")).unwrap();
        fs::write(dir.path().join("staging/deep/deeper/file"), "x").unwrap();
        dir
    }

    fn refused(result: Result<Staging, StagingError>) -> String {
        match result.unwrap_err() {
            StagingError::Refused { why, .. } => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_contents_go_and_the_folder_stays() {
        let dir = scratch();
        let staging = Staging::open(&dir.path().join("staging"), &[], None).unwrap();
        let names = staging.contents(false).unwrap();
        // What comes once it was looked what is there is nothing that was shown.
        fs::write(dir.path().join("staging/later"), "x").unwrap();
        assert_eq!(staging.delete(&names, &Control::default()).unwrap(), 1);
        assert_eq!(fs::read(dir.path().join("staging/later")).unwrap(), b"x");
        staging.delete(&staging.contents(false).unwrap(), &Control::default()).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
    }

    #[test]
    fn a_symlink_in_it_is_deleted_and_not_followed() {
        let dir = scratch();
        fs::create_dir(dir.path().join("precious")).unwrap();
        fs::write(dir.path().join("precious/data"), "x").unwrap();
        symlink(dir.path().join("precious"), dir.path().join("staging/link")).unwrap();
        let staging = Staging::open(&dir.path().join("staging"), &[], None).unwrap();
        staging.delete(&staging.contents(false).unwrap(), &Control::default()).unwrap();
        assert!(dir.path().join("precious/data").exists());
    }

    #[test]
    fn what_must_survive_is_not_cleared() {
        let dir = scratch();
        let at = dir.path().join("staging");
        symlink(&at, dir.path().join("other-name")).unwrap();
        let store = dir.path().join("other-name/deep");
        assert!(refused(Staging::open(&at, &[store], None)).contains("is inside it"));
        assert!(refused(Staging::open(&at, &[], Some(&at.join("deep")))).contains("home"));
        assert!(refused(Staging::open(Path::new("/"), &[], None)).contains("root of all files"));
        assert!(refused(Staging::open(Path::new("/proc"), &[], None)).contains("mounted"));
        fs::write(at.join("deep/PG_VERSION"), "15").unwrap();
        assert!(refused(Staging::open(&at, &[], None)).contains("Postgres cluster"));
        assert!(at.join("deep/deeper/file").exists());
        assert!(matches!(Staging::open(&dir.path().join("none"), &[], None), Err(StagingError::Missing(_))));
    }
}
