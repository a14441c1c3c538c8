//! Clearing a staging folder: its contents, never the folder, and never anything that a plan lives on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{SourceKind, Staging as Declared};

use super::request::Request;
use super::session;
use crate::catalog::ids::RunId;
use crate::control::{Control, Stopped};

/// Why a staging was not cleared. Nothing was deleted, but for [`StagingError::Io`].
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// It is not there.
    #[error("the staging folder `{0}` is not there; make it, or mount what it is on")]
    Missing(PathBuf),
    /// It is no folder.
    #[error("the staging `{0}` is not a folder; give the plan one")]
    NotFolder(PathBuf),
    /// Clearing it would eat data.
    #[error("refusing to clear the staging `{staging}`: {why}; give the plan a staging of its own")]
    Refused {
        /// The staging.
        staging: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system's own words.
    #[error("cannot clear the staging: `{path}`: {cause}")]
    Io {
        /// Where.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A staging that may be cleared: resolved, and checked against everything that must survive.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    device: u64,
}

impl Staging {
    /// Checks that clearing `path` harms nothing of `precious` (sources, stores, plan files, keys).
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn open(path: &Path, precious: &[PathBuf], home: Option<&Path>) -> Result<Staging, StagingError> {
        let io_error = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => StagingError::Missing(path.to_path_buf()),
            _ => StagingError::Io { path: path.to_path_buf(), cause },
        };
        let resolved = fs::canonicalize(path).map_err(io_error)?;
        let meta = fs::metadata(&resolved).map_err(io_error)?;
        if !meta.is_dir() {
            return Err(StagingError::NotFolder(path.to_path_buf()));
        }
        let refuse = |why: String| Err(StagingError::Refused { staging: path.to_path_buf(), why });
        let Some(parent) = resolved.parent() else { return refuse("it is the root of all files".to_owned()) };
        if home.and_then(|home| fs::canonicalize(home).ok()).is_some_and(|home| home.starts_with(&resolved)) {
            return refuse("it is, or holds, a home folder".to_owned());
        }
        if fs::metadata(parent).map_err(io_error)?.dev() != meta.dev() {
            return refuse("it is the root of a mounted file system".to_owned());
        }
        for thing in precious {
            let there = fs::canonicalize(thing).unwrap_or_else(|_| thing.clone());
            if there.starts_with(&resolved) {
                return refuse(format!("`{}` is inside it", thing.display()));
            }
        }
        let staging = Staging { path: resolved, device: meta.dev() };
        staging.refuse_foreign(path)?;
        Ok(staging)
    }

    /// The staging that a request declares, checked against all that its plan lives on.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn of(declared: &Declared, request: &Request) -> Result<Staging, StagingError> {
        let staging = Staging::open(&declared.path, &precious(request), request.home.as_deref())?;
        staging.refuse_inside(&declared.path, &lived_in(request))?;
        Ok(staging)
    }

    /// Sees, before anything is begun, that the staging can be used. One that is never cleared need only be there.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn look(declared: &Declared, request: &Request) -> Result<(), StagingError> {
        let path = &declared.path;
        if declared.clear_before || declared.clear_after {
            return Staging::of(declared, request).map(drop);
        }
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(()),
            Ok(_) => Err(StagingError::NotFolder(path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StagingError::Missing(path.clone())),
            Err(cause) => Err(StagingError::Io { path: path.clone(), cause }),
        }
    }

    /// A staging that only symlinks bring into a tree is in there by mistake. One that the plan itself puts there, `check`
    /// has seen.
    fn refuse_inside(&self, shown: &Path, trees: &[PathBuf]) -> Result<(), StagingError> {
        for tree in trees.iter().filter(|tree| !shown.starts_with(tree)) {
            if fs::canonicalize(tree).is_ok_and(|there| self.path.starts_with(there)) {
                let why = format!("symlinks bring it into `{}`", tree.display());
                return Err(StagingError::Refused { staging: shown.to_path_buf(), why });
            }
        }
        Ok(())
    }

    /// A cluster or a home in it was put there by somebody, not by a run.
    fn refuse_foreign(&self, shown: &Path) -> Result<(), StagingError> {
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(at(&folder))? {
                let entry = entry.map_err(at(&folder))?;
                let meta = entry.metadata().map_err(at(&entry.path()))?;
                if entry.file_name() == "PG_VERSION" {
                    let why = format!("there is a Postgres cluster in it (`{}`)", entry.path().display());
                    return Err(StagingError::Refused { staging: shown.to_path_buf(), why });
                }
                // What a run builds is its own, a copy of a cluster too: in a folder that is named after the run.
                let name = entry.file_name();
                let is_run = || name.to_str().is_some_and(|name| name.parse::<RunId>().is_ok());
                if meta.is_dir() && meta.dev() == self.device && !(folder == self.path && is_run()) {
                    folders.push(entry.path());
                }
            }
        }
        Ok(())
    }

    /// What clearing would delete: the entries directly in it.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn contents(&self) -> Result<Vec<PathBuf>, StagingError> {
        let mut entries: Vec<PathBuf> = fs::read_dir(&self.path)
            .map_err(at(&self.path))?
            .map(|entry| entry.map(|entry| entry.path()).map_err(at(&self.path)))
            .collect::<Result<_, _>>()?;
        entries.sort();
        Ok(entries)
    }

    /// Deletes everything in it, following no symlink and crossing no mount. The folder stays. Gives the number of
    /// entries deleted directly in it.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn clear(&self, control: &Control) -> Result<usize, StagingError> {
        let entries = self.contents()?;
        for entry in &entries {
            self.remove(entry, control)?;
        }
        Ok(entries.len())
    }

    fn remove(&self, path: &Path, control: &Control) -> Result<(), StagingError> {
        control.check()?;
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(StagingError::Io { path: path.to_path_buf(), cause }),
        };
        if !meta.is_dir() {
            return fs::remove_file(path).map_err(at(path));
        }
        if meta.dev() != self.device {
            let why = format!("another file system is mounted at `{}`", path.display());
            return Err(StagingError::Refused { staging: self.path.clone(), why });
        }
        for entry in fs::read_dir(path).map_err(at(path))? {
            self.remove(&entry.map_err(at(path))?.path(), control)?;
        }
        fs::remove_dir(path).map_err(at(path))
    }
}

/// What clearing a staging must not touch.
fn precious(request: &Request) -> Vec<PathBuf> {
    let model = &request.model;
    let mut paths = model.files.clone();
    paths.extend(model.secret_files.iter().cloned());
    paths.push(request.state.clone());
    paths.extend(model.stores.iter().filter_map(session::folder).map(Path::to_path_buf));
    for source in &model.sources {
        match &source.kind {
            SourceKind::Files(files) => paths.extend(files.paths.iter().map(|path| path.absolute.clone())),
            SourceKind::Sqlite { path } => paths.push(path.clone()),
            SourceKind::Postgres(postgres) => paths.extend(postgres.data_dir.iter().cloned()),
            SourceKind::Command(_) => {}
        }
    }
    paths
}

/// Trees that a staging is in only if the plan says so: sources and stores.
fn lived_in(request: &Request) -> Vec<PathBuf> {
    let model = &request.model;
    let mut trees: Vec<PathBuf> =
        model.stores.iter().filter_map(session::folder).map(Path::to_path_buf).collect();
    for source in &model.sources {
        if let SourceKind::Files(files) = &source.kind {
            trees.extend(files.paths.iter().map(|path| path.absolute.clone()));
        }
    }
    trees
}

fn at(path: &Path) -> impl Fn(io::Error) -> StagingError + use<> {
    let path = path.to_path_buf();
    move |cause| StagingError::Io { path: path.clone(), cause }
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
        assert_eq!(staging.clear(&Control::default()).unwrap(), 1);
        assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
    }

    #[test]
    fn a_symlink_in_it_is_deleted_and_not_followed() {
        let dir = scratch();
        fs::create_dir(dir.path().join("precious")).unwrap();
        fs::write(dir.path().join("precious/data"), "x").unwrap();
        symlink(dir.path().join("precious"), dir.path().join("staging/link")).unwrap();
        let staging = Staging::open(&dir.path().join("staging"), &[], None).unwrap();
        staging.clear(&Control::default()).unwrap();
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
