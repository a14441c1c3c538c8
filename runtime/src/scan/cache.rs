//! Scans of earlier runs, kept on this machine so that a later run can tell what changed.
//!
//! ```text
//! ARCHIVE/RUN/bound.yaml      which artefact it is of: run, root; per source the digests of its files
//! ARCHIVE/RUN/SOURCE.scan     what the walk saw        ARCHIVE/RUN/SOURCE.doubts    what the artefact does not hold so
//! ```
//!
//! An entry is made under another name and renamed, so it is there whole or not at all. It is never needed to restore:
//! what is lost makes the next run pack everything. For this account only (0700, 0600), as names of files may be private.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Doubts, ScanReader};
use crate::artefact::Root;

/// The version of this folder's form: another one is not used.
const FORMAT: u32 = 1;
const BOUND: &str = "bound.yaml";
/// Names that are being made start with this; no run's id does.
const UNDER_WAY: &str = ".new-";

/// The cache: a folder of this account's.
#[derive(Debug, Clone)]
pub struct ScanCache {
    folder: PathBuf,
}

/// What is kept of a source.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Its name.
    pub source: &'a str,
    /// Its scan file; it is copied.
    pub scan: &'a Path,
    /// What the artefact does not hold as that scan saw it.
    pub doubts: &'a Doubts,
}

/// What was kept of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Its name.
    pub source: String,
    /// Its scan file, in the cache: to be read before [`ScanCache::keep`] removes it.
    pub scan: PathBuf,
    /// What the artefact does not hold as that scan saw it.
    pub doubts: Doubts,
    /// Digest of the declaration it was walked with. Another one is no hindrance: what is excluded by now is deleted, what
    /// is included by now is new.
    pub options: [u8; 32],
}

/// Why what was kept cannot be used: the next run packs everything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Nothing is kept of that run.
    #[error("no scan of run `{run}` is kept on this machine")]
    Missing {
        /// The run.
        run: String,
    },
    /// What is kept is of another artefact.
    #[error("the scan kept of run `{run}` belongs to another artefact: to {found}, not {expected}")]
    Other {
        /// The run.
        run: String,
        /// The root digest, or the run, that it is bound to.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// It is damaged, or of another version.
    #[error("the scan kept of run `{run}` cannot be used: `{path}`: {cause}")]
    Corrupt {
        /// The run.
        run: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The folder cannot be read or written.
    #[error("the cache of scans, `{path}`: {cause}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Bound {
    format: u32,
    run: String,
    root: String,
    sources: BTreeMap<String, BoundSource>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BoundSource {
    options: String,
    scan: String,
    doubts: String,
}

impl ScanCache {
    /// In this folder, which is made with the first entry.
    pub fn new(folder: PathBuf) -> ScanCache {
        ScanCache { folder }
    }

    fn archive(&self, archive: &str) -> PathBuf {
        self.folder.join(archive)
    }

    /// Keeps the scans that an artefact was packed from, in place of what is kept of that archive and run.
    ///
    /// # Errors
    /// [`CacheError::Io`], or [`CacheError::Corrupt`] where a scan is none. What was kept before is as it was.
    pub fn store(
        &self,
        archive: &str,
        run: &str,
        root: Root,
        sources: &[Stored<'_>],
    ) -> Result<(), CacheError> {
        let above = self.archive(archive);
        let fresh = above.join(format!("{UNDER_WAY}{run}"));
        make_private(&above).map_err(|cause| io_error(&above, cause))?;
        remove(&fresh).map_err(|cause| io_error(&fresh, cause))?;
        make_private(&fresh).map_err(|cause| io_error(&fresh, cause))?;
        let stored = self.fill(&fresh, run, root, sources).and_then(|()| {
            let place = above.join(run);
            let moved = remove(&place).and_then(|()| fs::rename(&fresh, &place)).and_then(|()| sync(&above));
            moved.map_err(|cause| io_error(&place, cause))
        });
        if stored.is_err() {
            // Best effort: the next one of this run clears it.
            let _ = remove(&fresh);
        }
        stored
    }

    fn fill(&self, folder: &Path, run: &str, root: Root, sources: &[Stored<'_>]) -> Result<(), CacheError> {
        let mut bound =
            Bound { format: FORMAT, run: run.to_string(), root: root.to_string(), sources: BTreeMap::new() };
        for stored in sources {
            let scan = folder.join(format!("{}.scan", stored.source));
            let doubts = folder.join(format!("{}.doubts", stored.source));
            copy_private(stored.scan, &scan).map_err(|cause| io_error(stored.scan, cause))?;
            let bytes = stored.doubts.to_bytes();
            write_private(&doubts, &bytes).map_err(|cause| io_error(&doubts, cause))?;
            let of_source = BoundSource {
                options: hex(&options_of(run, &scan, stored.source)?),
                scan: digest(&scan).map_err(|cause| io_error(&scan, cause))?,
                doubts: blake3::hash(&bytes).to_hex().to_string(),
            };
            bound.sources.insert(stored.source.to_string(), of_source);
        }
        let path = folder.join(BOUND);
        let text = yaml_serde::to_string(&bound).map_err(|cause| io_error(&path, io::Error::other(cause)))?;
        write_private(&path, text.as_bytes())
            .and_then(|()| sync(folder))
            .map_err(|cause| io_error(&path, cause))
    }

    /// What is kept of the artefact with this root that a run made of an archive, by source name.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn load(&self, archive: &str, run: &str, root: Root) -> Result<Vec<Cached>, CacheError> {
        let folder = self.archive(archive).join(run);
        let path = folder.join(BOUND);
        let text = fs::read(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => CacheError::Missing { run: run.to_string() },
            _ => io_error(&path, cause),
        })?;
        let corrupt = |path: &Path, cause: String| CacheError::Corrupt {
            run: run.to_string(),
            path: path.to_path_buf(),
            cause,
        };
        let bound: Bound =
            yaml_serde::from_slice(&text).map_err(|cause| corrupt(&path, cause.to_string()))?;
        if bound.format != FORMAT {
            return Err(corrupt(&path, format!("it has format {}", bound.format)));
        }
        let pairs = [(&bound.run, run.to_string()), (&bound.root, root.to_string())];
        if let Some((found, expected)) = pairs.into_iter().find(|(found, expected)| *found != expected) {
            return Err(CacheError::Other { run: run.to_string(), found: found.clone(), expected });
        }
        let mut cached = Vec::with_capacity(bound.sources.len());
        for (source, of_source) in bound.sources {
            let scan = folder.join(format!("{source}.scan"));
            let doubts = folder.join(format!("{source}.doubts"));
            for (path, wanted) in [(&scan, &of_source.scan), (&doubts, &of_source.doubts)] {
                let found = digest(path).map_err(|cause| corrupt(path, cause.to_string()))?;
                if found != *wanted {
                    return Err(corrupt(path, "it does not have its digest".to_string()));
                }
            }
            let options = options_of(run, &scan, &source)?;
            let read = Doubts::read(&doubts).map_err(|cause| corrupt(&doubts, cause.to_string()))?;
            cached.push(Cached { source, scan, doubts: read, options });
        }
        Ok(cached)
    }

    /// Removes what is kept of an archive's other runs.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn keep(&self, archive: &str, runs: &[&str]) -> Result<(), CacheError> {
        let above = self.archive(archive);
        let entries = match fs::read_dir(&above) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|cause| io_error(&above, cause))?,
        };
        for entry in entries {
            let entry = entry.map_err(|cause| io_error(&above, cause))?;
            if !entry.file_name().to_str().is_some_and(|name| runs.contains(&name)) {
                remove(&entry.path()).map_err(|cause| io_error(&entry.path(), cause))?;
            }
        }
        Ok(())
    }
}

fn io_error(path: &Path, cause: io::Error) -> CacheError {
    CacheError::Io { path: path.to_path_buf(), cause }
}

fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Removes a folder and what is in it; one that is not there is no trouble.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = create_private(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of the declaration that a scan is of, if it is a scan of that source.
fn options_of(run: &str, scan: &Path, source: &str) -> Result<[u8; 32], CacheError> {
    let corrupt =
        |cause: String| CacheError::Corrupt { run: run.to_string(), path: scan.to_path_buf(), cause };
    let header = ScanReader::peek(scan).map_err(|cause| corrupt(cause.to_string()))?;
    if header.source != source {
        return Err(corrupt(format!("it is of source `{}`", header.source)));
    }
    Ok(header.options)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use super::{CacheError, ScanCache, Stored};
    use crate::artefact::Root;
    use crate::scan::{Doubts, ScanHeader, ScanWriter, Trailer};

    const RUN: &str = "00000001-20261120T023000Z-abcdef";
    const ROOT: Root = Root([7; 32]);

    fn scan(folder: &Path, source: &str) -> PathBuf {
        let path = folder.join(format!("of {source}"));
        let header = ScanHeader {
            source: source.to_string(),
            options: [source.len() as u8; 32],
            started: (5, 6),
            roots: Vec::new(),
        };
        ScanWriter::create(&path, &header).unwrap().finish(&Trailer::default()).unwrap();
        path
    }

    fn filled(folder: &Path) -> ScanCache {
        let cache = ScanCache::new(folder.join("cache"));
        let (site, more) = (scan(folder, "site"), scan(folder, "more"));
        let doubts: Doubts = [3, 500].into_iter().collect();
        let none = Doubts::default();
        let stored = [
            Stored { source: "site", scan: &site, doubts: &doubts },
            Stored { source: "more", scan: &more, doubts: &none },
        ];
        cache.store("main", RUN, ROOT, &stored).unwrap();
        cache
    }

    #[test]
    fn what_was_kept_comes_back_and_is_private() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = filled(scratch.path());
        let loaded = cache.load("main", RUN, ROOT).unwrap();
        let names: Vec<&str> = loaded.iter().map(|cached| cached.source.as_str()).collect();
        assert_eq!(names, ["more", "site"]);
        assert_eq!(loaded[1].doubts.numbers().collect::<Vec<_>>(), [3, 500]);
        assert_eq!(loaded[1].options, [4; 32]);
        assert_eq!(fs::read(&loaded[1].scan).unwrap(), fs::read(scratch.path().join("of site")).unwrap());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&loaded[1].scan), mode(loaded[1].scan.parent().unwrap())), (0o600, 0o700));
        // Storing again replaces.
        filled(scratch.path());
        assert_eq!(cache.load("main", RUN, ROOT).unwrap(), loaded);
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = filled(scratch.path());
        let place = scratch.path().join("cache/main").join(RUN);
        let load = || cache.load("main", RUN, ROOT).unwrap_err();
        assert!(matches!(cache.load("main", "other", ROOT), Err(CacheError::Missing { .. })));
        assert!(matches!(cache.load("other", RUN, ROOT), Err(CacheError::Missing { .. })));
        assert!(matches!(cache.load("main", RUN, Root([8; 32])), Err(CacheError::Other { .. })));
        fs::rename(&place, scratch.path().join("cache/main/moved")).unwrap();
        assert!(matches!(cache.load("main", "moved", ROOT), Err(CacheError::Other { .. })));
        filled(scratch.path());
        for name in ["site.scan", "more.doubts"] {
            let path = place.join(name);
            let good = fs::read(&path).unwrap();
            for bad in [&good[..good.len() - 1], b"", &[&good[..9], b"?", &good[10..]].concat()] {
                fs::write(&path, bad).unwrap();
                assert!(matches!(load(), CacheError::Corrupt { .. }), "{name}");
            }
            fs::remove_file(&path).unwrap();
            assert!(matches!(load(), CacheError::Corrupt { .. }), "{name}");
            fs::write(&path, good).unwrap();
        }
        cache.load("main", RUN, ROOT).unwrap();
        for bad in ["", "format: 2\nrun: x\nroot: y\nsources: {}\n", "a list", "- 1"] {
            fs::write(place.join("bound.yaml"), bad).unwrap();
            assert!(matches!(load(), CacheError::Corrupt { .. }), "{bad}");
        }
    }

    #[test]
    fn only_the_runs_that_are_asked_for_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = filled(scratch.path());
        let site = scan(scratch.path(), "site");
        let stored = [Stored { source: "site", scan: &site, doubts: &Doubts::default() }];
        for run in ["second", "third"] {
            cache.store("main", run, ROOT, &stored).unwrap();
        }
        cache.store("other", "second", ROOT, &stored).unwrap();
        fs::create_dir(scratch.path().join("cache/main/.new-dead")).unwrap();
        cache.keep("main", &["third", RUN]).unwrap();
        let mut left: Vec<_> = fs::read_dir(scratch.path().join("cache/main"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [RUN, "third"]);
        cache.load("other", "second", ROOT).unwrap();
        cache.keep("nothing", &[]).unwrap();
        // A scan of another source is none of this one's.
        let wrong = [Stored { source: "more", scan: &site, doubts: &Doubts::default() }];
        assert!(matches!(cache.store("main", "fourth", ROOT, &wrong), Err(CacheError::Corrupt { .. })));
        assert!(!scratch.path().join("cache/main/.new-fourth").exists());
    }
}
