//! Entries of trees: their kinds, and paths in their order. What walks a tree and what packs one speak of the same.

use std::cmp::Ordering;

/// Kinds of entries, with their numbers in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = 1,
    /// A folder.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A further name of a file that is in the same artefact.
    HardLink = 4,
    /// A named pipe.
    Fifo = 5,
    /// A character device.
    CharDevice = 6,
    /// A block device.
    BlockDevice = 7,
}

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::File,
            2 => Kind::Directory,
            3 => Kind::Symlink,
            4 => Kind::HardLink,
            5 => Kind::Fifo,
            6 => Kind::CharDevice,
            7 => Kind::BlockDevice,
            _ => return None,
        })
    }
}

/// Whether `path` is one: components joined by single slashes, none of them empty, `.` or `..`, no NUL.
pub fn is_path(path: &[u8]) -> bool {
    !path.contains(&0)
        && path.split(|byte| *byte == b'/').all(|part| !part.is_empty() && part != b"." && part != b"..")
}

/// The order of paths: component by component, so that a folder is followed by all that is below it.
pub fn path_order(a: &[u8], b: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.iter().map(key).cmp(b.iter().map(key))
}

/// Whether `path` is `folder` or below it; everything is below the empty path.
pub fn is_at_or_below(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => rest.is_empty() || folder.is_empty() || rest[0] == b'/',
        None => false,
    }
}
