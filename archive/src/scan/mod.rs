//! Walking the trees of a `files` source.
//!
//! A walk is sorted (children by their bytes), holds one folder's names and the hard-link groups in memory and nothing
//! else, and follows no symbolic link. [`scan`] writes what it sees into a scan file, which packing reads, and which a
//! later run can compare its own walk with; [`measure`] is the same walk, writing nothing.

mod compare;
mod doubts;
mod ledger;
pub mod link;
mod mounted;
mod record;
mod roots;
mod scouts;
mod walk;
#[cfg(test)]
mod walk_tests;
mod warning;
pub(crate) use walk::is_of_process;
pub mod why;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use backplan_compiler::model::Files;

use serde::{Deserialize, Serialize};

use backplan_host::control::{Control, Stopped};
use backplan_host::names::raw_with_words;
pub(crate) use compare::is_recent;
pub use compare::{Beside, Change, Comparison, Counts, Difference, Gone, compare};
pub use doubts::Doubts;
pub use mounted::Mounted;
pub use record::{LinkGroup, ScanHeader, ScanReader, ScanRoot, ScanWriter, Scanned, Trailer, Unseen};
pub use warning::{KEPT, Warning, WarningKind, Warnings};

/// What to do where the system refuses to open anything more.
pub(crate) const LIMITS: &str =
    "this process may open too few files, or memory is short: raise its limits (`ulimit -n`, `LimitNOFILE`)";

/// What to walk.
#[derive(Debug, Clone)]
pub struct Trees {
    /// The source's name.
    pub source: String,
    /// Its declaration.
    pub files: Files,
    /// A missing entry of `paths` is a warning instead of an error.
    pub optional: bool,
    /// One entry of `paths` that is missing or cannot be read is an error, though others are there.
    pub strict: bool,
    /// The file systems that earlier runs read it from.
    pub mounts: Vec<Mounted>,
}

/// What a walk found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Entries of every kind.
    pub entries: u64,
    /// Entries that are no folders.
    pub leaves: u64,
    /// Regular files, each hard-link group once.
    pub files: u64,
    /// Bytes to be read: sizes of regular files without their holes, each hard-link group once.
    pub bytes: u64,
    /// What was left out or looks wrong.
    pub warnings: Warnings,
    /// Entries of `paths` that are missing or cannot be read, though others are there, and what was on file systems that are not
    /// mounted, in words.
    pub lost: Vec<String>,
    /// Where each of them is, those of optional sources too, and which it is of several file systems that were there.
    #[serde(with = "raw_with_words")]
    pub lost_at: Vec<(PathBuf, String)>,
    /// What was on file systems that are not mounted, where and in words.
    #[serde(with = "raw_with_words")]
    pub unmounted: Vec<(PathBuf, String)>,
    /// The file systems that it was read from, and those that are missing.
    pub mounts: Vec<Mounted>,
}

/// Why a walk could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// An entry of `paths` is not there.
    #[error("source `{source_name}`: `{path}` is not there; correct `paths`, or say `optional = true`")]
    Missing {
        /// The source.
        source_name: String,
        /// The entry.
        path: PathBuf,
    },
    /// An entry of `paths` is a symbolic link to nothing.
    #[error(
        "source `{source_name}`: `{path}` is a symbolic link to `{target}`, which is not there; correct `paths`, or say `optional = true`"
    )]
    Dangling {
        /// The source.
        source_name: String,
        /// The entry.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// An entry of `paths`, or a folder above it, cannot be looked at.
    #[error(
        "source `{source_name}`: `{path}` cannot be read: {cause}; let the account that runs this read it"
    )]
    Unreadable {
        /// The source.
        source_name: String,
        /// The entry.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// What it was on is not mounted.
    #[error("source `{source_name}`: {text}")]
    NotMounted {
        /// The source.
        source_name: String,
        /// What, and what to do.
        text: String,
    },
    /// This process could not open something, whatever that is.
    #[error("source `{source_name}`: `{path}` cannot be opened: {cause}; {LIMITS}")]
    Lacking {
        /// The source.
        source_name: String,
        /// What it was about to open.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// Two entries of `paths` would have the same name inside the artefact.
    #[error(
        "source `{source_name}`: `{first}` and `{second}` would both be recorded as `{inside}`; put one of them into a source of its own"
    )]
    Collision {
        /// The source.
        source_name: String,
        /// One entry.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The name they share.
        inside: PathBuf,
    },
    /// The scan file could not be written.
    #[error("cannot write the scan `{path}`: {cause}")]
    Write {
        /// The scan file.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// The scan file is not one, is damaged, or of a newer version.
    #[error("the scan `{path}` cannot be used: {cause}")]
    Read {
        /// The scan file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Walks and writes the scan file `out` (mode 0600), replacing one that is there.
///
/// # Errors
/// See [`ScanError`]; what cannot be read below an entry of `paths` is a warning.
pub fn scan(trees: &Trees, out: &Path, control: &Control) -> Result<Summary, ScanError> {
    let top = roots::tree(trees)?;
    let started = now();
    let write = |cause| ScanError::Write { path: out.to_path_buf(), cause };
    let roots = trees.files.paths.iter().map(|entry| ScanRoot {
        absolute: entry.absolute.clone(),
        inside: entry.inside.as_os_str().as_bytes().to_vec(),
    });
    let header =
        ScanHeader { source: trees.source.clone(), options: digest(trees), started, roots: roots.collect() };
    let mut file = ScanWriter::create(out, &header).map_err(write)?;
    let mut visit = |entry: &Scanned| file.entry(entry).map_err(write);
    let (summary, trailer) = walk::Walk::new(trees, control, &mut visit).run(&top, started)?;
    file.finish(&trailer).map_err(write)?;
    Ok(summary)
}

/// Walks and writes nothing: what [`scan`] would find.
///
/// # Errors
/// As [`scan`]'s.
pub fn measure(trees: &Trees, control: &Control) -> Result<Summary, ScanError> {
    look(trees, &mut |_| {}, control)
}

/// As [`measure`]; `see` is shown every entry.
///
/// # Errors
/// As [`scan`]'s.
pub fn look(trees: &Trees, see: &mut dyn FnMut(&Scanned), control: &Control) -> Result<Summary, ScanError> {
    let top = roots::tree(trees)?;
    let mut visit = |entry: &Scanned| {
        see(entry);
        Ok(())
    };
    let (summary, _) = walk::Walk::new(trees, control, &mut visit).run(&top, now())?;
    Ok(summary)
}

/// What a walk would say of file systems that are not mounted, though earlier runs read the source from them.
///
/// # Errors
/// As [`scan`]'s.
pub fn unmounted(trees: &Trees, control: &Control) -> Result<Vec<(PathBuf, String)>, ScanError> {
    if ledger::all_mounted(trees) {
        return Ok(Vec::new());
    }
    let trees = Trees { strict: false, ..trees.clone() };
    Ok(measure(&trees, control)?.unmounted)
}

fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

/// What decides which entries a walk sees.
fn digest(trees: &Trees) -> [u8; 32] {
    let files = &trees.files;
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    };
    add(&(files.paths.len() as u64).to_le_bytes());
    for path in &files.paths {
        add(path.absolute.as_os_str().as_bytes());
        add(path.inside.as_os_str().as_bytes());
    }
    for pattern in &files.exclude {
        add(pattern.text.as_bytes());
    }
    add(&[u8::from(files.exclude_caches), u8::from(files.one_file_system)]);
    add(&files.max_file_size.unwrap_or(u64::MAX).to_le_bytes());
    add(files.root.as_deref().unwrap_or(Path::new("")).as_os_str().as_bytes());
    *hasher.finalize().as_bytes()
}
