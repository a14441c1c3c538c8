//! What is worth a backup below some folders, found by looking: SQLite databases, Postgres clusters, folders that only cost
//! room, and those that cost most of it. Reads names, and the first bytes of files; follows no link, and ends in time.

pub mod servers;

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
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
/// Bytes from which on a folder may be large.
const LARGE: u64 = 100 << 20;
/// Large folders that are told of, at the most.
const MOST_LARGE: usize = 3;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// SQLite databases.
    pub databases: Vec<PathBuf>,
    /// Data directories of Postgres clusters.
    pub clusters: Vec<PathBuf>,
    /// Names of folders that only cost room, each once.
    pub useless: Vec<&'static str>,
    /// Folders that hold a quarter of everything or more, the largest first, none inside another.
    pub large: Vec<Large>,
    /// Bytes of everything that was looked at, as the disk has them.
    pub size: u64,
    /// Whether the time was over before everything had been looked at.
    pub cut_short: bool,
}

/// A folder that costs much room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Large {
    /// The folder.
    pub path: PathBuf,
    /// Bytes in it, as the disk has them.
    pub size: u64,
}

/// A folder that was looked into.
struct Folder {
    path: PathBuf,
    /// The folder above it, by its place among them; a place of its own: it was named.
    above: usize,
    size: u64,
}

/// Looks below these paths until then.
pub fn discover(paths: &[PathBuf], until: Instant) -> Found {
    let mut found = Found::default();
    let mut folders: Vec<Folder> = Vec::new();
    // What another path holds is come to from there.
    let is_inner = |path: &PathBuf| paths.iter().any(|other| other != path && path.starts_with(other));
    let outer: BTreeSet<&PathBuf> = paths.iter().filter(|path| !is_inner(path)).collect();
    let mut open: VecDeque<(PathBuf, Option<usize>)> =
        outer.into_iter().map(|path| (path.clone(), None)).collect();
    let mut seen = 0;
    while let Some((path, above)) = open.pop_front() {
        if seen > MOST || Instant::now() > until {
            found.cut_short = true;
            break;
        }
        if above.is_none() && is_database(&path) {
            found.databases.push(path);
            continue;
        }
        // What may not be read is not found: the check of the plan and its first run say so.
        let Ok(entries) = fs::read_dir(&path) else { continue };
        if is_cluster(&path) {
            found.clusters.push(path);
            continue;
        }
        let at = folders.len();
        folders.push(Folder { path, above: above.unwrap_or(at), size: 0 });
        for entry in entries.flatten() {
            seen += 1;
            folders[at].size += look(&entry, at, &mut found, &mut open);
        }
    }
    found.databases.sort();
    found.clusters.sort();
    found.useless.sort_unstable();
    large(folders, &mut found);
    found
}

/// Looks at an entry; answers with what it takes of the disk by itself.
fn look(
    entry: &fs::DirEntry,
    folder: usize,
    found: &mut Found,
    open: &mut VecDeque<(PathBuf, Option<usize>)>,
) -> u64 {
    let Ok(meta) = entry.metadata() else { return 0 };
    if meta.is_dir() {
        let name = entry.file_name();
        match USELESS.iter().find(|(useless, _)| name == *useless) {
            Some((useless, _)) if !found.useless.contains(useless) => found.useless.push(useless),
            Some(_) => {}
            None => open.push_back((entry.path(), Some(folder))),
        }
        return 0;
    }
    if meta.is_file() && is_sqlite(&entry.path(), &meta) {
        found.databases.push(entry.path());
    }
    meta.blocks().saturating_mul(512)
}

/// Finds the folders that hold much of everything, as deep below as they still do.
fn large(mut folders: Vec<Folder>, found: &mut Found) {
    // A folder was found behind the one above it.
    for at in (0..folders.len()).rev() {
        let Folder { above, size, .. } = folders[at];
        if above != at {
            folders[above].size += size;
        }
    }
    let named = folders.iter().enumerate().filter(|(at, folder)| folder.above == *at);
    found.size = named.map(|(_, folder)| folder.size).sum();
    let least = LARGE.max(found.size / 4);
    // What is below decides: it is come to first.
    let mut holds: BTreeSet<usize> = BTreeSet::new();
    for (at, folder) in folders.iter().enumerate().rev() {
        let is_named = folder.above == at;
        if is_named || folder.size < least {
            continue;
        }
        if !holds.contains(&at) {
            found.large.push(Large { path: folder.path.clone(), size: folder.size });
        }
        holds.insert(folder.above);
    }
    found.large.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    found.large.truncate(MOST_LARGE);
}

/// Whether a folder is the data directory of a cluster.
pub fn is_cluster(folder: &Path) -> bool {
    folder.join("PG_VERSION").is_file() && folder.join("global/pg_control").is_file()
}

/// Whether a path is a SQLite database.
fn is_database(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && is_sqlite(path, &meta))
}

fn is_sqlite(path: &Path, meta: &Metadata) -> bool {
    // A database is made of whole pages, of 512 bytes at least: most files need not be opened.
    let is_paged = meta.len() >= 512 && meta.len().is_multiple_of(512);
    let mut start = [0; SQLITE.len()];
    is_paged
        && crate::regular::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *SQLITE
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::{Folder, Found, discover, large};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

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
        let found = discover(&[scratch.path().to_path_buf()], soon());
        assert_eq!(found.databases, [at("a/b/data")]);
        assert_eq!(found.clusters, [at("pg")]);
        assert_eq!(found.useless, ["node_modules"]);
        assert!(!found.cut_short && found.large.is_empty());
        assert!(discover(&[scratch.path().to_path_buf()], Instant::now() - Duration::from_secs(1)).cut_short);
        // What is named may be a database itself, or a cluster.
        let found =
            discover(&[at("a/b/data"), at("pg"), at("a/b"), at("a"), at("a/fake.db"), at("a")], soon());
        assert_eq!((found.databases, found.clusters), (vec![at("a/b/data")], vec![at("pg")]));
    }

    #[test]
    fn what_costs_most_is_named_where_it_lies() {
        let gib = 1 << 30;
        let folder = |path: &str, above: usize, size: u64| Folder { path: PathBuf::from(path), above, size };
        let folders = vec![
            folder("/srv", 0, gib),
            folder("/srv/a", 0, 0),
            folder("/srv/b", 0, gib / 2),
            folder("/srv/a/media", 1, 5 * gib),
            folder("/srv/b/old", 2, 2 * gib),
            folder("/srv/b/new", 2, 3 * gib),
            folder("/srv/b/small", 2, gib / 2),
        ];
        let mut found = Found::default();
        large(folders, &mut found);
        assert_eq!(found.size, 12 * gib);
        let named: Vec<(&str, u64)> =
            found.large.iter().map(|large| (large.path.to_str().unwrap(), large.size / gib)).collect();
        assert_eq!(named, [("/srv/a/media", 5), ("/srv/b/new", 3)]);
    }
}
