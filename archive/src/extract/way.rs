//! From folder to folder beneath a place: however deep a tree is, each step costs a step.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Folders of one way that are kept open: every thread has some, and a process may have few.
pub const KEPT: usize = 16;

/// The way to the folder that was asked for last: the innermost folders of it, open.
#[derive(Default)]
pub struct Way {
    place: usize,
    path: Vec<u8>,
    /// Length of the folder's path, and the folder; the innermost is the last.
    open: VecDeque<(usize, Arc<OwnedFd>)>,
}

impl Way {
    /// Goes back to where the way to `path` in a place leaves the last one. The innermost folder that is open there, and how
    /// much of the path that is; `None`: the place's own.
    pub fn back(&mut self, place: usize, path: &[u8]) -> Option<(usize, Arc<OwnedFd>)> {
        let common = if place == self.place { common(&self.path, path) } else { 0 };
        while self.open.back().is_some_and(|(length, _)| *length > common) {
            self.open.pop_back();
        }
        (self.place, self.path) = (place, path.to_vec());
        if common == 0 {
            self.open.clear();
        }
        self.open.back().cloned()
    }

    /// Goes on to the folder whose path has this length.
    pub fn enter(&mut self, length: usize, folder: Arc<OwnedFd>) {
        if self.open.len() == KEPT {
            self.open.pop_front();
        }
        self.open.push_back((length, folder));
    }
}

/// The length of the longest folder that both paths are at or below.
fn common(a: &[u8], b: &[u8]) -> usize {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let ends = |path: &[u8]| path.len() == same || path[same] == b'/';
    if ends(a) && ends(b) { same } else { a[..same].iter().rposition(|byte| *byte == b'/').unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn two_paths_share_whole_components() {
        for (a, b, expected) in [
            ("", "a", 0),
            ("a", "a", 1),
            ("a/b", "a/c", 1),
            ("a/b", "a/bc", 1),
            ("a", "ab", 0),
            ("a/b/c", "a/b", 3),
            ("a/b", "a/b/c", 3),
        ] {
            assert_eq!(common(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
}
