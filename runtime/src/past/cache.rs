//! The scans of earlier runs, kept on this machine: what the next run learns from what changed. Never needed to restore;
//! lost, the next run of its archive is a full.
//!
//! ```text
//! cache/ARCHIVE/RUN/bound.yaml     the run, the artefact's root, and the digest of each scan
//! cache/ARCHIVE/RUN/SOURCE.scan    what the walk saw
//! cache/ARCHIVE/RUN/SOURCE.doubts  what of it the artefact does not hold as the walk saw it
//! cache/ARCHIVE/RUN/SOURCE.grains  digests of the parts of its large files, where differences hold only what changed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::{UNFINISHED, called_as_runs};
use crate::catalog::ids::RunId;
use crate::places::folder;
use crate::places::private::make_private;
use crate::scan::Doubts;

const BOUND: &str = "bound.yaml";

/// What the scans of a run belong to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bound {
    run: RunId,
    /// Root digest of the artefact that was packed from them, hex.
    root: String,
    /// BLAKE3 of each source's scan, hex.
    scans: BTreeMap<String, String>,
    /// BLAKE3 of what is known of each source's large files, hex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    grains: BTreeMap<String, String>,
}

/// What is kept of a source.
pub struct Scanned {
    /// Its name.
    pub source: String,
    /// The scan file, and what of it the artefact does not hold; `None` for what is no tree.
    pub scan: Option<(PathBuf, Doubts)>,
    /// What is known of its large files.
    pub grains: Option<PathBuf>,
}

/// Why a scan cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LostScan {
    /// It is not there.
    Missing,
    /// It belongs to another artefact.
    Foreign,
    /// It is damaged or cannot be read.
    Damaged(String),
}

impl fmt::Display for LostScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LostScan::Missing => f.write_str("this machine has no record of what its files were like"),
            LostScan::Foreign => {
                f.write_str("this machine's record of its files belongs to another artefact")
            }
            LostScan::Damaged(cause) => write!(f, "this machine's record of its files is damaged: {cause}"),
        }
    }
}

/// A scan that can be used.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The scan file.
    pub scan: PathBuf,
    /// What of it the artefact does not hold.
    pub doubts: Doubts,
}

/// The scans of a plan's earlier runs.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in the plan's folder. Touches nothing.
    pub fn new(folder: &Path) -> Cache {
        Cache { folder: folder.join("cache") }
    }

    /// Keeps the scans that an artefact was packed from. They appear all together or not at all.
    ///
    /// # Errors
    /// The system's: then the next run is a full.
    pub fn store(&self, archive: &str, run: RunId, root: &str, sources: &[Scanned]) -> io::Result<()> {
        let folder = self.folder.join(archive);
        let temporary = folder.join(format!("{run}{UNFINISHED}"));
        folder::remove(&temporary)?;
        make_private(&temporary)?;
        let mut bound = Bound { run, root: root.to_owned(), scans: BTreeMap::new(), grains: BTreeMap::new() };
        for Scanned { source, scan, grains } in sources {
            if let Some((scan, doubts)) = scan {
                let to = temporary.join(format!("{source}.scan"));
                take(scan, &to)?;
                doubts.write(&temporary.join(format!("{source}.doubts")))?;
                bound.scans.insert(source.clone(), digest(&to)?);
            }
            if let Some(grains) = grains {
                let to = temporary.join(format!("{source}.grains"));
                take(grains, &to)?;
                bound.grains.insert(source.clone(), digest(&to)?);
            }
        }
        let text = yaml_serde::to_string(&bound).map_err(io::Error::other)?;
        File::create(temporary.join(BOUND))?.write_all(text.as_bytes())?;
        let to = folder.join(run.to_string());
        folder::remove(&to)?;
        fs::rename(&temporary, &to)
    }

    /// The scan that a source's part of an artefact was packed from.
    ///
    /// # Errors
    /// Why there is none that can be trusted.
    pub fn load(&self, archive: &str, run: RunId, root: &str, source: &str) -> Result<Kept, LostScan> {
        let (folder, bound) = self.bound(archive, run, root)?;
        let recorded = bound.scans.get(source).ok_or(LostScan::Missing)?;
        let scan = folder.join(format!("{source}.scan"));
        let damaged = |error: io::Error| LostScan::Damaged(error.to_string());
        if digest(&scan).map_err(damaged)? != *recorded {
            return Err(LostScan::Damaged(format!("`{}` does not have its digest", scan.display())));
        }
        let doubts = Doubts::read(&folder.join(format!("{source}.doubts"))).map_err(damaged)?;
        Ok(Kept { scan, doubts })
    }

    /// Whether there is one, as far as can be told without reading it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn has(&self, archive: &str, run: RunId, root: &str, source: &str) -> Result<(), LostScan> {
        let (folder, bound) = self.bound(archive, run, root)?;
        let is_there = bound.scans.contains_key(source) && folder.join(format!("{source}.scan")).is_file();
        if is_there { Ok(()) } else { Err(LostScan::Missing) }
    }

    /// What is known of a source's large files as an artefact has them; `None` where that cannot be trusted.
    pub fn grains(&self, archive: &str, run: RunId, root: &str, source: &str) -> Option<PathBuf> {
        let (folder, bound) = self.bound(archive, run, root).ok()?;
        let recorded = bound.grains.get(source)?;
        let grains = folder.join(format!("{source}.grains"));
        digest(&grains).is_ok_and(|digest| digest == *recorded).then_some(grains)
    }

    /// What a run kept of an archive.
    fn bound(&self, archive: &str, run: RunId, root: &str) -> Result<(PathBuf, Bound), LostScan> {
        let folder = self.folder.join(archive).join(run.to_string());
        let text = match fs::read_to_string(folder.join(BOUND)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LostScan::Missing),
            Err(error) => return Err(LostScan::Damaged(error.to_string())),
        };
        let bound: Bound =
            crate::yaml::from_str(&text).map_err(|error| LostScan::Damaged(error.to_string()))?;
        if bound.run != run || bound.root != root {
            return Err(LostScan::Foreign);
        }
        Ok((folder, bound))
    }

    /// Deletes the scans of an archive's other runs, and nothing else that may lie there: the folder may be a link to a larger disk.
    ///
    /// # Errors
    /// The system's: what stays is looked at again by the next run.
    pub fn keep_only(&self, archive: &str, runs: &BTreeSet<RunId>) -> io::Result<()> {
        for (run, path) in called_as_runs(&self.folder.join(archive))? {
            if !runs.contains(&run) || path.to_string_lossy().ends_with(UNFINISHED) {
                folder::remove(&path)?;
            }
        }
        Ok(())
    }

    /// Deletes the scans of all other archives: the plan no longer has them, or calls them by other names.
    ///
    /// # Errors
    /// The system's: what stays is looked at again by the next run.
    pub fn keep_archives(&self, archives: &BTreeSet<String>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let (entry, none) = (entry?, BTreeSet::new());
            match entry.file_name().to_str() {
                Some(name) if !archives.contains(name) && entry.file_type()?.is_dir() => {
                    self.keep_only(name, &none)?;
                    // In which something else lies, that stays.
                    let _ = fs::remove_dir(entry.path());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// A scratch file of this run, on the same file system as a rule.
fn take(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| copy(from, to))
}

/// Without its permissions, which not every file system has.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut fs::File::open(from)?, &mut fs::File::create(to)?).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(sequence: u32) -> RunId {
        RunId::new(sequence, "2026-11-20T02:30:00Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_scan_is_believed_only_where_run_root_and_digest_agree() {
        let scratch = tempfile::tempdir().unwrap();
        let (cache, scan) = (Cache::new(scratch.path()), scratch.path().join("s"));
        fs::write(&scan, "what the walk saw").unwrap();
        let grains = scratch.path().join("g");
        fs::write(&grains, "what is known").unwrap();
        let doubts = Doubts::from_iter([3, 70]);
        let sources =
            [Scanned { source: "site".to_owned(), scan: Some((scan, doubts)), grains: Some(grains) }];
        let (first, second) = (run(1), run(2));
        cache.store("main", first, "r1", &sources).unwrap();
        let kept = cache.load("main", first, "r1", "site").unwrap();
        assert!(kept.doubts.has(70) && !kept.doubts.has(4));
        let grains = cache.grains("main", first, "r1", "site").unwrap();
        fs::write(grains, "something else").unwrap();
        assert_eq!(cache.grains("main", first, "r1", "site"), None);
        assert_eq!(cache.load("main", first, "r2", "site").unwrap_err(), LostScan::Foreign);
        assert_eq!(cache.load("main", second, "r1", "site").unwrap_err(), LostScan::Missing);
        assert_eq!(cache.load("main", first, "r1", "other").unwrap_err(), LostScan::Missing);
        fs::write(&kept.scan, "something else").unwrap();
        assert!(matches!(cache.load("main", first, "r1", "site"), Err(LostScan::Damaged(_))));
        let (foreign, half) = (scratch.path().join("cache/main/mine"), format!("cache/main/{second}.tmp"));
        fs::create_dir(&foreign).unwrap();
        fs::create_dir(scratch.path().join(&half)).unwrap();
        cache.keep_only("main", &BTreeSet::from([second])).unwrap();
        assert_eq!(cache.load("main", first, "r1", "site").unwrap_err(), LostScan::Missing);
        assert!(foreign.is_dir() && !scratch.path().join(&half).exists());
        // Of an archive that is none any more its scans go, and what somebody else put there stays.
        cache.store("main", first, "r1", &[]).unwrap();
        cache.store("gone", first, "r1", &[]).unwrap();
        cache.keep_archives(&BTreeSet::new()).unwrap();
        let left = |archive: &str| scratch.path().join("cache").join(archive);
        assert!(foreign.is_dir() && !left("main").join(first.to_string()).exists() && !left("gone").exists());
    }

    #[test]
    fn archives_that_are_no_longer_there_leave_no_scans() {
        let scratch = tempfile::tempdir().unwrap();
        let (cache, scan) = (Cache::new(scratch.path()), scratch.path().join("s"));
        let first = run(1);
        cache.keep_archives(&BTreeSet::new()).unwrap();
        fs::write(&scan, "what the walk saw").unwrap();
        let sources =
            [Scanned { source: "site".to_owned(), scan: Some((scan, Doubts::default())), grains: None }];
        for archive in ["main", "renamed"] {
            cache.store(archive, first, "r1", &sources).unwrap();
        }
        cache.keep_archives(&BTreeSet::from(["main".to_owned()])).unwrap();
        assert!(cache.load("main", first, "r1", "site").is_ok());
        assert_eq!(cache.load("renamed", first, "r1", "site").unwrap_err(), LostScan::Missing);
    }
}
