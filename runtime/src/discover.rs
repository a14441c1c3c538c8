//! What is worth a backup below some folders, found by looking: SQLite databases, Postgres clusters, and folders that only
//! cost room. Reads names, and the first bytes of files; follows no link, and ends in time.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What every SQLite database begins with.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
/// Folders that a program makes anew, and what they are.
const USELESS: &[(&str, &str)] = &[
    ("node_modules", "packages"),
    ("__pycache__", "compiled"),
    (".cache", "cache"),
    (".venv", "packages"),
    (".tox", "packages"),
    (".gradle", "cache"),
    (".terraform", "cache"),
];
/// Entries that are looked at, at the most.
const MOST: usize = 2_000_000;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// SQLite databases.
    pub databases: Vec<PathBuf>,
    /// Data directories of Postgres clusters.
    pub clusters: Vec<PathBuf>,
    /// Names of folders that only cost room, each once.
    pub useless: Vec<&'static str>,
    /// Whether the time was over before everything had been looked at.
    pub cut_short: bool,
}

/// Looks below these folders until then.
pub fn discover(folders: &[PathBuf], until: Instant) -> Found {
    let mut found = Found::default();
    let mut open: VecDeque<PathBuf> = folders.iter().cloned().collect();
    let mut seen = 0;
    while let Some(folder) = open.pop_front() {
        if seen > MOST || Instant::now() > until {
            found.cut_short = true;
            break;
        }
        // What may not be read is not found: the check of the plan and its first run say so.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        if is_cluster(&folder) {
            found.clusters.push(folder);
            continue;
        }
        for entry in entries.flatten() {
            seen += 1;
            look(&entry, &mut found, &mut open);
        }
    }
    found.databases.sort();
    found.clusters.sort();
    found.useless.sort_unstable();
    found
}

fn look(entry: &fs::DirEntry, found: &mut Found, open: &mut VecDeque<PathBuf>) {
    let Ok(kind) = entry.file_type() else { return };
    if kind.is_dir() {
        let name = entry.file_name();
        match USELESS.iter().find(|(useless, _)| name == *useless) {
            Some((useless, _)) if !found.useless.contains(useless) => found.useless.push(useless),
            Some(_) => {}
            None => open.push_back(entry.path()),
        }
    } else if kind.is_file() && is_sqlite(entry) {
        found.databases.push(entry.path());
    }
}

/// Whether a folder is the data directory of a cluster.
pub fn is_cluster(folder: &Path) -> bool {
    folder.join("PG_VERSION").is_file() && folder.join("global/pg_control").is_file()
}

fn is_sqlite(entry: &fs::DirEntry) -> bool {
    // A database is made of whole pages, of 512 bytes at least: most files need not be opened.
    let is_paged = entry.metadata().is_ok_and(|meta| meta.len() >= 512 && meta.len() % 512 == 0);
    let mut start = [0; SQLITE.len()];
    is_paged
        && File::open(entry.path()).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *SQLITE
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::time::{Duration, Instant};

    use super::discover;

    #[test]
    fn finds_by_looking_and_not_by_names() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join(path);
        for folder in ["pg/global", "a/node_modules/x", "a/b"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let mut page = b"SQLite format 3\0".to_vec();
        page.resize(1024, 0);
        for path in ["a/b/data", "a/node_modules/x/in.db"] {
            fs::write(at(path), &page).unwrap();
        }
        fs::write(at("a/fake.db"), vec![0; 1024]).unwrap();
        fs::write(at("pg/PG_VERSION"), "15\n").unwrap();
        fs::write(at("pg/global/pg_control"), "").unwrap();
        std::os::unix::fs::symlink(at("a"), at("a/b/loop")).unwrap();
        let found = discover(&[scratch.path().to_path_buf()], Instant::now() + Duration::from_secs(60));
        assert_eq!(found.databases, [at("a/b/data")]);
        assert_eq!(found.clusters, [at("pg")]);
        assert_eq!(found.useless, ["node_modules"]);
        assert!(!found.cut_short);
        assert!(discover(&[scratch.path().to_path_buf()], Instant::now() - Duration::from_secs(1)).cut_short);
    }
}
