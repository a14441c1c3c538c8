//! Backplan's own folder on this host. Nothing in it is needed to restore.
//!
//! Besides what [`crate::catalog::host`] remembers there, a plan's folder holds
//!
//! ```text
//! journal/RUN.jsonl        what a run was about to do, and what it did
//! work/RUN/                scans and copies of a run; removed with it
//! alone/RUN.json           a run whose steps are done by processes of their own: how it stands between two of them
//! ```

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::catalog::host::{JOURNALS, WORK};
use crate::catalog::ids::RunId;

/// Behind the name of what is not whole yet.
pub const UNFINISHED: &str = ".tmp";

/// Where Backplan keeps its own state: `$XDG_STATE_HOME/backplan`; else `/var/lib/backplan` for root; else
/// `~/.local/state/backplan`.
///
/// # Errors
/// Where none of them can be told.
pub fn root() -> io::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("XDG_STATE_HOME").filter(|path| path.is_absolute()) {
        return Ok(path.join("backplan"));
    }
    if geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/backplan"));
    }
    set("HOME").filter(|home| home.is_absolute()).map(|home| home.join(".local/state/backplan")).ok_or_else(
        || io::Error::other("neither XDG_STATE_HOME nor HOME says where the state of runs is kept"),
    )
}

/// The folders of one plan on this host.
#[derive(Debug, Clone)]
pub struct Folders {
    folder: PathBuf,
}

impl Folders {
    /// The folders in the plan's own. Touches nothing.
    pub fn new(folder: &Path) -> Folders {
        Folders { folder: folder.to_path_buf() }
    }

    /// Where journals are.
    pub fn journals(&self) -> PathBuf {
        self.folder.join(JOURNALS)
    }

    /// The journal of a run.
    pub fn journal(&self, run: &str) -> PathBuf {
        self.journals().join(format!("{run}.jsonl"))
    }

    /// Where it is kept how runs stand whose steps are done by processes of their own.
    pub fn alone(&self) -> PathBuf {
        self.folder.join("alone")
    }

    /// Whether it is kept how a run stands: steps of it can go on.
    pub fn goes_on_alone(&self, run: &str) -> bool {
        self.alone().join(format!("{run}.json")).is_file()
    }

    /// The scratch folders of all runs.
    pub fn all_work(&self) -> PathBuf {
        self.folder.join(WORK)
    }

    /// The scratch folders of other runs that began here. What else lies there is somebody's: the folder may be a link to a larger
    /// disk, or have one mounted over it.
    ///
    /// # Errors
    /// When it cannot be told what there is.
    pub fn stale_work(&self, own: &RunId) -> io::Result<Vec<PathBuf>> {
        let called = called_as_runs(&self.all_work())?.into_iter();
        let stale = called.filter(|(run, _)| run != own && self.journal(&run.to_string()).is_file());
        Ok(stale.map(|(_, path)| path).collect())
    }

    /// The scratch folder of a run.
    pub fn work(&self, run: &str) -> PathBuf {
        self.all_work().join(run)
    }
}

/// What of a folder is called as a run is, or as what becomes one (`RUN.tmp`); nothing where there is no folder.
///
/// # Errors
/// When it cannot be listed.
pub fn called_as_runs(folder: &Path) -> io::Result<Vec<(RunId, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let called = name.to_str().map(|name| name.strip_suffix(UNFINISHED).unwrap_or(name));
        if let Some(run) = called.and_then(|name| name.parse().ok()) {
            found.push((run, entry.path()));
        }
    }
    Ok(found)
}
