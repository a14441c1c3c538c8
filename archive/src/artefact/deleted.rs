//! The paths that a difference takes away from what it rests on: the tar entry `.backplan/deleted`.

use backplan_host::tree::{is_at_or_below, is_path, path_order};

/// Where the list is in the tar.
pub(crate) const DELETED_PATH: &[u8] = b".backplan/deleted";
/// No list is longer, in bytes.
pub(crate) const DELETED_MAX: u64 = 1 << 30;

/// Paths that go, each with all that is below it, sorted; none is below another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleted {
    bytes: Vec<u8>,
    /// Where each path ends: behind it is its NUL.
    ends: Vec<u32>,
}

/// A list that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the list of deleted paths {0}")]
pub struct BadDeleted(&'static str);

impl Deleted {
    /// The list of these paths, in any order; what is below another is left out.
    ///
    /// # Errors
    /// When one of them is no path of an artefact, or they are too many.
    pub fn new(mut paths: Vec<Vec<u8>>) -> Result<Deleted, BadDeleted> {
        paths.sort_unstable_by(|a, b| path_order(a, b));
        let mut list = Deleted::default();
        for path in &paths {
            list.push(path)?;
        }
        Ok(list)
    }

    /// Reads a list.
    ///
    /// # Errors
    /// When it is not sorted, is cut, or holds what is no path.
    pub fn parse(bytes: &[u8]) -> Result<Deleted, BadDeleted> {
        let mut list = Deleted::default();
        let Some(bytes) = bytes.strip_suffix(&[0]) else {
            return if bytes.is_empty() { Ok(list) } else { Err(BadDeleted("is cut")) };
        };
        let mut last: Option<&[u8]> = None;
        for path in bytes.split(|byte| *byte == 0) {
            if last.is_some_and(|last| path_order(last, path).is_ge()) {
                return Err(BadDeleted("is not sorted"));
            }
            list.push(path)?;
            last = Some(path);
        }
        Ok(list)
    }

    fn push(&mut self, path: &[u8]) -> Result<(), BadDeleted> {
        if !is_path(path) || is_own(path) {
            return Err(BadDeleted("holds what is no path"));
        }
        if self.last().is_some_and(|last| is_at_or_below(path, last)) {
            return Ok(());
        }
        if (self.bytes.len() + path.len()) as u64 >= DELETED_MAX {
            return Err(BadDeleted("is too long"));
        }
        self.bytes.extend_from_slice(path);
        self.ends.push(self.bytes.len() as u32);
        self.bytes.push(0);
        Ok(())
    }

    fn last(&self) -> Option<&[u8]> {
        self.len().checked_sub(1).map(|last| self.get(last))
    }

    fn get(&self, number: usize) -> &[u8] {
        let from = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize + 1);
        &self.bytes[from..self.ends[number] as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The paths, each with a NUL behind it: the contents of the tar's entry.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The paths, in order.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|number| self.get(number))
    }

    /// Whether `path`, or a folder above it, goes.
    pub fn covers(&self, path: &[u8]) -> bool {
        // As none is below another, the last one at or before the path is the only one that can be above it.
        let mut range = 0..self.len();
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            if path_order(self.get(middle), path).is_le() {
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        self.last_covers(range.start, path)
    }

    /// As [`Deleted::covers`], for paths that are asked in order: `passed` paths of the list are known to come first.
    pub(crate) fn covers_next(&self, passed: &mut usize, path: &[u8]) -> bool {
        while *passed < self.len() && path_order(self.get(*passed), path).is_le() {
            *passed += 1;
        }
        self.last_covers(*passed, path)
    }

    fn last_covers(&self, passed: usize, path: &[u8]) -> bool {
        passed.checked_sub(1).is_some_and(|last| is_at_or_below(path, self.get(last)))
    }
}

/// Whether a path is the artefact's own and no source's: index, deletions.
pub(crate) fn is_own(path: &[u8]) -> bool {
    is_at_or_below(path, b".backplan")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{BadDeleted, Deleted};

    fn list(paths: &[&str]) -> Result<Deleted, BadDeleted> {
        Deleted::new(paths.iter().map(|path| path.as_bytes().to_vec()).collect())
    }

    #[test]
    fn a_list_is_sorted_by_components_and_has_topmost_paths_only() {
        let list = list(&["s/a.b", "s/a", "s/a/b", "s/a-b", "s/a/b/c", "s/a"]).unwrap();
        assert_eq!(list.as_bytes(), b"s/a\0s/a-b\0s/a.b\0");
        assert_eq!(Deleted::parse(list.as_bytes()).unwrap(), list);
        assert_eq!(list.paths().count(), 3);
    }

    #[test]
    fn what_is_below_a_deleted_path_is_deleted() {
        let list = list(&["s/a", "s/b/c", "s/z\n"]).unwrap();
        for path in ["s/a", "s/a/x", "s/a/x/y", "s/b/c", "s/b/c/d", "s/z\n"] {
            assert!(list.covers(path.as_bytes()), "{path}");
            assert!(list.covers_next(&mut 0, path.as_bytes()), "{path}");
        }
        for path in ["s", "s/a.b", "s/a0", "s/b", "s/b/cc", "s/b/d", "s/zz", "", "t"] {
            assert!(!list.covers(path.as_bytes()), "{path}");
            assert!(!list.covers_next(&mut 0, path.as_bytes()), "{path}");
        }
        assert!(!Deleted::default().covers(b"s"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(Deleted::parse(b""), Ok(Deleted::default()));
        for bad in
            ["s/a", "\0", "s/b\0s/a\0", "s/a\0s/a\0", "s/../x\0", "/s\0", ".backplan/index\0", "s//a\0"]
        {
            assert!(Deleted::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(list(&["../x"]).is_err());
    }
}
