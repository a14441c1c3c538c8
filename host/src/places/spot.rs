//! Where something really is, under whatever name it was given.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::mounts::Mounts;

/// A place of this machine. What is not there is where it would be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Its path through no link.
    pub real: PathBuf,
    /// Its path in its file system, beneath the file system's number.
    pub in_file_system: Option<PathBuf>,
    /// Device and inode of it, where it is there, and of every folder above.
    chain: Vec<(u64, u64)>,
    is_there: bool,
}

impl Spot {
    /// The place that a path leads to; every link is followed.
    pub fn of(path: &Path, mounts: &Mounts) -> Spot {
        Spot::at(real(path), mounts)
    }

    /// The place of a name itself: if that is a link, the link.
    pub fn of_itself(path: &Path, mounts: &Mounts) -> Spot {
        match (path.parent(), path.file_name()) {
            (Some(above), Some(name)) => Spot::at(real(above).join(name), mounts),
            _ => Spot::of(path, mounts),
        }
    }

    fn at(real: PathBuf, mounts: &Mounts) -> Spot {
        let ids = |path: &Path| fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        Spot {
            in_file_system: mounts.in_file_system(&real),
            is_there: real.symlink_metadata().is_ok(),
            chain: real.ancestors().filter_map(ids).collect(),
            real,
        }
    }

    /// Whether it is this folder or lies in it, by any of their names.
    pub fn is_in(&self, folder: &Spot) -> bool {
        let below = |inner: &Option<PathBuf>, outer: &Option<PathBuf>| match (inner, outer) {
            (Some(inner), Some(outer)) => inner.starts_with(outer),
            _ => false,
        };
        self.real.starts_with(&folder.real)
            || below(&self.in_file_system, &folder.in_file_system)
            || folder.is_there && folder.chain.first().is_some_and(|own| self.chain.contains(own))
    }
}

/// A path without its links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let mut missing: Vec<OsString> = Vec::new();
    for above in path.ancestors() {
        if let Ok(there) = fs::canonicalize(above) {
            return missing.into_iter().rev().fold(there, |path, name| path.join(name));
        }
        missing.extend(above.file_name().map(ToOwned::to_owned));
    }
    path.to_path_buf()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_place_is_found_by_its_links_and_where_it_is_still_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = Mounts::now();
        fs::create_dir_all(dir.path().join("data/site")).unwrap();
        symlink("data/site", dir.path().join("link")).unwrap();
        let of = |path: &str| Spot::of(&dir.path().join(path), &mounts);
        assert!(of("link/store/new").is_in(&of("data")));
        assert!(of("link").is_in(&of("data/site")) && of("data/site").is_in(&of("link")));
        assert!(!of("data").is_in(&of("link")) && !of("data2").is_in(&of("data")));
        assert!(!Spot::of_itself(&dir.path().join("link"), &mounts).is_in(&of("data")));
        // Neither is there: they are one only by name.
        assert!(of("new/a").is_in(&of("new")) && !of("new/a").is_in(&of("other")));
    }
}
