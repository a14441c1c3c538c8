//! Entries that are to share a member.

use super::job::Item;
use crate::artefact::Kind;
use crate::artefact::gzip::FAST;

/// Below this, the header is too much of an entry to be stored beside contents that are compressed already; and at levels
/// at which time is worth more.
const PACKED_MIN: u64 = 16 << 10;
const PACKED_MIN_FAST: u64 = 6 << 10;

/// Names of files whose contents are compressed already, as a rule.
const PACKED: [&[u8]; 30] = [
    b"7z", b"apk", b"avif", b"br", b"bz2", b"crate", b"docx", b"gif", b"gz", b"heic", b"jar", b"jpeg",
    b"jpg", b"lz4", b"m4a", b"mkv", b"mp3", b"mp4", b"ods", b"odt", b"ogg", b"png", b"tgz", b"webm", b"webp",
    b"whl", b"woff2", b"xlsx", b"xz", b"zst",
];

/// Entries that are to share a member.
#[derive(Default)]
pub struct Batch {
    /// In the order of the artefact.
    pub items: Vec<Item>,
    /// How many bytes of tar they will be.
    pub bytes: usize,
}

/// Whether an entry goes with others whose contents are compressed already: between files that can be compressed, each of
/// them would be tried, which takes longer than compressing the others. Names of one file stay in one order, so they and
/// what they are names of do not.
pub fn looks_packed(item: &Item, level: u8) -> bool {
    let (Item::Entry(entry) | Item::Opened(entry, _) | Item::Fed(entry, _)) = item;
    let seen = &entry.seen;
    let least = if level > FAST { PACKED_MIN } else { PACKED_MIN_FAST };
    if seen.kind != Kind::File || seen.size < least || entry.has_links || entry.link.is_some() {
        return false;
    }
    let ending = entry.path.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    ending.len() <= 5 && PACKED.binary_search(&ending.to_ascii_lowercase().as_slice()).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::artefact::pack::job::Planned;
    use crate::scan::Scanned;

    fn file(path: &str, size: u64) -> Planned {
        let seen = Scanned { size, ..Scanned::default() };
        Planned { path: path.as_bytes().to_vec(), ..Planned::of(seen) }
    }

    #[test]
    fn goes_by_name_size_and_kind() {
        assert!(PACKED.is_sorted());
        let is = |entry: Planned| looks_packed(&Item::Entry(entry), 6);
        assert!(is(file("s/a.gz", 20_000)) && is(file("s/a.JPEG", 20_000)));
        for (path, size) in
            [("s/a.gz", 2000), ("s/a.txt", 20_000), ("s/gz", 20_000), ("s/b.gz/notes", 20_000)]
        {
            assert!(!is(file(path, size)), "{path}");
        }
        assert!(!is(Planned { has_links: true, ..file("s/a.gz", 20_000) }));
        assert!(!is(Planned { link: Some(Arc::from(&b"s/b.gz"[..])), ..file("s/a.gz", 20_000) }));
        assert!(looks_packed(&Item::Entry(file("s/a.gz", 8000)), 1) && !is(file("s/a.gz", 8000)));
        let folder = Scanned { kind: Kind::Directory, size: 20_000, ..Scanned::default() };
        assert!(!is(Planned { path: b"s/a.gz".to_vec(), ..Planned::of(folder) }));
    }
}
