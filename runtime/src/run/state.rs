//! Backplan's own folder on this host. Nothing in it is needed to restore.
//!
//! ```text
//! machine                    this machine's id, made once
//! PLAN-HASH/                 one folder a plan file; HASH is of the file's path
//!   lock                     held while the plan runs
//!   journal/RUN.jsonl        what a run was about to do, and what it did
//!   work/RUN/                scans and copies of a run; removed with it
//!   stores/…                 which stores the plan has used
//! staging-HASH.lock          held while a run uses that staging
//! ```

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

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

/// The state of one plan on this host.
#[derive(Debug, Clone)]
pub struct PlanState {
    root: PathBuf,
    folder: PathBuf,
}

impl PlanState {
    /// The state below `root` of the plan called `name` in `file`. Touches nothing.
    pub fn new(root: &Path, name: &str, file: &Path) -> PlanState {
        let folder = root.join(format!("{name}-{}", short_hash(file)));
        PlanState { root: root.to_path_buf(), folder }
    }

    /// Makes the folders, for this account only.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn create(&self) -> io::Result<()> {
        for folder in [self.journals(), self.folder.join("work")] {
            make_private(&folder)?;
        }
        Ok(())
    }

    /// Backplan's folder, shared by all plans.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// This plan's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where journals are.
    pub fn journals(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// The scratch folder of a run.
    pub fn work(&self, run: &str) -> PathBuf {
        self.folder.join("work").join(run)
    }

    /// The scratch folders of all runs.
    pub fn all_work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// The lock file of a staging folder.
    pub fn staging_lock(&self, staging: &Path) -> PathBuf {
        self.root.join(format!("staging-{}.lock", short_hash(staging)))
    }

    /// The lock file of the plan.
    pub fn plan_lock(&self) -> PathBuf {
        self.folder.join("lock")
    }
}

/// Makes a folder and its parents, readable by this account only.
///
/// # Errors
/// The system's, with the path.
pub fn make_private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|cause| io::Error::new(cause.kind(), format!("cannot make `{}`: {cause}", folder.display())))
}

fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    blake3::hash(path.as_os_str().as_bytes()).to_hex()[..10].to_owned()
}
