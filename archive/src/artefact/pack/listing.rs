//! What a source holds, entry by entry, whatever the source is.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use super::{Content, Input};
use crate::artefact::Kind;
use crate::scan::{LinkGroup, ScanReader, ScanRoot, Scanned};

/// A source's entries can be gone through more than once.
pub struct Listing {
    /// The source's name.
    pub source: String,
    /// Number of its first entry, counted over all sources.
    pub first: u64,
    /// How many entries it has.
    pub entries: u64,
    /// Files and bytes to be read, as far as known.
    pub expected: (u64, u64),
    /// Where its trees are.
    pub roots: Vec<ScanRoot>,
    /// Files with several names.
    pub groups: Vec<LinkGroup>,
    /// When it was looked at.
    pub started: (i64, u32),
    from: From,
}

enum From {
    Scan(std::path::PathBuf),
    Here(Vec<Scanned>),
}

/// Entries of a listing, one after the other.
pub enum Entries<'a> {
    /// Out of a scan file.
    Scan(Box<ScanReader>),
    /// Out of memory.
    Here(std::slice::Iter<'a, Scanned>),
}

impl Iterator for Entries<'_> {
    type Item = io::Result<Scanned>;

    fn next(&mut self) -> Option<io::Result<Scanned>> {
        match self {
            Entries::Scan(reader) => reader.next_entry().transpose(),
            Entries::Here(entries) => entries.next().cloned().map(Ok),
        }
    }
}

impl Listing {
    /// Looks at an input.
    ///
    /// # Errors
    /// When the scan cannot be used, or the file is not there.
    pub fn of(input: &Input, first: u64) -> io::Result<Listing> {
        match &input.content {
            Content::Scan { scan: path, .. } => Listing::of_scan(&input.source, path, first),
            Content::File { path, name } => Listing::of_file(&input.source, path, name, first),
            Content::Stream { name, mtime, mode, .. } => {
                let since = mtime.duration_since(UNIX_EPOCH).unwrap_or_default();
                let time = (i64::try_from(since.as_secs()).unwrap_or_default(), since.subsec_nanos());
                let mut file = made_up(name.as_bytes(), Kind::File, time);
                file.mode = mode & 0o7777;
                Ok(Listing::here(&input.source, vec![file], time, first))
            }
            // What will be in it, nobody knows.
            Content::Feed(_) => Ok(Listing {
                source: input.source.clone(),
                first,
                entries: 0,
                expected: (0, 0),
                roots: Vec::new(),
                groups: Vec::new(),
                started: (0, 0),
                from: From::Here(Vec::new()),
            }),
        }
    }

    fn of_scan(source: &str, path: &Path, first: u64) -> io::Result<Listing> {
        let reader = ScanReader::open(path)?;
        if reader.header().source != source {
            let whose = &reader.header().source;
            return Err(io::Error::other(format!("the scan `{}` is of source `{whose}`", path.display())));
        }
        let trailer = reader.trailer();
        Ok(Listing {
            source: source.to_string(),
            first,
            entries: trailer.entries,
            expected: (trailer.entries, trailer.bytes),
            roots: reader.header().roots.clone(),
            groups: trailer.groups.clone(),
            started: reader.header().started,
            from: From::Scan(path.to_path_buf()),
        })
    }

    fn of_file(source: &str, path: &Path, name: &str, first: u64) -> io::Result<Listing> {
        let failed =
            |cause: io::Error| io::Error::new(cause.kind(), format!("`{}`: {cause}", path.display()));
        let seen = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
        let seen = seen.map_err(|cause| failed(cause.into()))?;
        if FileType::from_raw_mode(seen.stx_mode.into()) != FileType::RegularFile {
            return Err(io::Error::other(format!("`{}` is no regular file", path.display())));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = (seen.stx_mtime.tv_sec, seen.stx_mtime.tv_nsec);
        let mut file = made_up(name.as_bytes(), Kind::File, time);
        file.root = Some(0);
        file.mode = u32::from(seen.stx_mode) & 0o7777;
        (file.uid, file.gid) = (seen.stx_uid, seen.stx_gid);
        file.size = seen.stx_size;
        file.blocks = seen.stx_blocks;
        let mut listing = Listing::here(source, vec![file], time, first);
        listing.started = (i64::try_from(now.as_secs()).unwrap_or_default(), now.subsec_nanos());
        listing.expected = (2, seen.stx_size);
        listing.roots =
            vec![ScanRoot { absolute: std::path::absolute(path)?, inside: name.as_bytes().to_vec() }];
        Ok(listing)
    }

    fn here(source: &str, mut inside: Vec<Scanned>, time: (i64, u32), first: u64) -> Listing {
        let mut entries = vec![made_up(b"", Kind::Directory, (time.0, 0))];
        entries.append(&mut inside);
        Listing {
            source: source.to_string(),
            first,
            entries: entries.len() as u64,
            expected: (entries.len() as u64, 0),
            roots: Vec::new(),
            groups: Vec::new(),
            started: time,
            from: From::Here(entries),
        }
    }

    /// The entries, from the first.
    ///
    /// # Errors
    /// When the scan cannot be read any more.
    pub fn entries(&self) -> io::Result<Entries<'_>> {
        Ok(match &self.from {
            From::Scan(path) => Entries::Scan(Box::new(ScanReader::open(path)?)),
            From::Here(entries) => Entries::Here(entries.iter()),
        })
    }

    /// Whether it is a scan's.
    pub fn is_scan(&self) -> bool {
        matches!(self.from, From::Scan(_))
    }

    /// An entry's path in the artefact.
    pub fn path_of(&self, inside: &[u8]) -> Vec<u8> {
        let mut path = self.source.as_bytes().to_vec();
        if !inside.is_empty() {
            path.push(b'/');
            path.extend_from_slice(inside);
        }
        path
    }

    /// An entry's path on this host, for messages.
    pub fn host_path(&self, roots: &super::open::Roots, entry: &Scanned) -> std::path::PathBuf {
        if entry.root.is_some() {
            return roots.host_path(entry.root, &entry.path);
        }
        Path::new(&self.source).join(std::ffi::OsStr::from_bytes(&entry.path))
    }
}

fn made_up(path: &[u8], kind: Kind, mtime: (i64, u32)) -> Scanned {
    let is_folder = kind == Kind::Directory;
    Scanned {
        path: path.to_vec(),
        kind,
        implied: is_folder,
        synthetic: is_folder,
        further_name: false,
        root: None,
        mode: if is_folder { 0o755 } else { 0o600 },
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime,
        ctime: (0, 0),
        size: 0,
        blocks: 0,
        inode: 0,
        file_system: (0, 0),
        names: 1,
        device: (0, 0),
        link: Vec::new(),
    }
}
