//! What makes an entry believable: a tar header that says what the index says.

use super::patched::path_in_tar;
use super::tarhead::Head;
use super::{Entry, Flags, Kind};

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
