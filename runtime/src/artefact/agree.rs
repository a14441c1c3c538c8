//! What makes an entry believable: a path that stays inside, and a tar header that says what the index says.

use std::cmp::Ordering;

use super::patched::path_in_tar;
use super::tarhead::Head;
use super::{Entry, Flags, Kind};

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

/// What the index and the tar header say differently; `None` where they agree.
pub fn difference(entry: &Entry, head: &Head) -> Option<&'static str> {
    let is_sparse = entry.flags.has(Flags::SPARSE);
    let checks = [
        (path_in_tar(&entry.path, entry.flags.has(Flags::PATCH)) == head.path, "path"),
        (is_sparse || !entry.flags.has(Flags::PATCH), "kind"),
        (entry.kind == head.kind, "kind"),
        (entry.mode == head.mode, "mode"),
        (entry.uid == head.uid && entry.gid == head.gid, "owner"),
        (entry.mtime == head.mtime, "time"),
        (entry.payload == head.payload, "length"),
        (head.sparse == is_sparse.then_some(entry.size), "size"),
        (is_sparse || entry.size == entry.payload, "size"),
        (entry.link == head.link, "link"),
        (entry.device == head.device, "device numbers"),
        (entry.kind == Kind::File || (entry.size == 0 && head.payload == 0), "length"),
        (entry.flags.has(Flags::MOVED) != head.moved.is_empty(), "moves"),
        (entry.flags.has(Flags::PATCH) || head.moved.is_empty(), "moves"),
        (entry.flags.has(Flags::XATTRS) || head.attributes.is_empty(), "attributes"),
    ];
    checks.iter().find(|(same, _)| !same).map(|(_, what)| *what)
}
