//! Opening what is to be packed, and finding out what it is now.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, StatxFlags, flistxattr, seek, statx};
use rustix::io::{Errno, ReadWriteFlags};

use super::Planned;
use super::shifts::Found;
use crate::artefact::PIECE;
use crate::artefact::moved::Move;
use crate::artefact::pax::{ACL_ACCESS, ACL_DEFAULT};
use crate::artefact::tarhead::{self, ATTRIBUTES_MAX, padding};
use crate::scan::{ScanRoot, WarningKind};
use backplan_host::openat::Near;

/// A sparse file with more data ranges than this is read as a whole: its map would be larger than what it saves.
const RANGES_MAX: usize = 100_000;
/// Below this, holes are not worth a map.
const SPARSE_MIN: u64 = 64 << 10;

/// The trees of one source, open.
#[derive(Debug)]
pub struct Roots(Vec<Root>);

#[derive(Debug)]
struct Root {
    /// Why not, where it cannot be opened: its entries are told of one by one.
    above: Result<OwnedFd, Errno>,
    near: Near,
    name: Vec<u8>,
    inside: usize,
    absolute: PathBuf,
}

impl Roots {
    /// Opens the folders that the trees are in.
    pub fn open(roots: &[ScanRoot]) -> Roots {
        let open = |root: &ScanRoot| {
            let above = root.absolute.parent().unwrap_or(Path::new("/"));
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let name = root.absolute.file_name().map(|name| name.as_bytes().to_vec());
            Root {
                above: rustix::fs::openat(CWD, above, flags, Mode::empty()),
                near: Near::default(),
                name: name.unwrap_or_default(),
                inside: root.inside.len(),
                absolute: root.absolute.clone(),
            }
        };
        Roots(roots.iter().map(open).collect())
    }

    /// The path on this host of an entry, for messages.
    pub fn host_path(&self, root: Option<usize>, inside: &[u8]) -> PathBuf {
        match root.and_then(|root| self.0.get(root)) {
            Some(root) => {
                let below = inside.get(root.inside..).unwrap_or_default();
                let below = below.strip_prefix(b"/").unwrap_or(below);
                if below.is_empty() {
                    root.absolute.clone()
                } else {
                    root.absolute.join(OsStr::from_bytes(below))
                }
            }
            None => PathBuf::from(OsStr::from_bytes(inside)),
        }
    }

    /// The file system that a folder is on now.
    ///
    /// # Errors
    /// When it is there no more, or this account may not come there.
    pub fn file_system(&self, root: Option<usize>, inside: &[u8]) -> Result<(u32, u32), Errno> {
        let folder = self.open_entry(root, inside, OFlags::PATH | OFlags::DIRECTORY)?;
        let seen = statx(&folder, c"", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)?;
        Ok((seen.stx_dev_major, seen.stx_dev_minor))
    }

    fn open_entry(&self, root: Option<usize>, inside: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let root = root.and_then(|root| self.0.get(root)).ok_or(Errno::NOENT)?;
        let above = root.above.as_ref().map_err(|cause| *cause)?;
        let below = inside.get(root.inside..).ok_or(Errno::NOENT)?;
        let mut path = root.name.clone();
        // A tree without a name inside has its entries directly below it: nothing parts their paths from it.
        if !below.is_empty() && !below.starts_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(below);
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        let path = if path.is_empty() { b"." } else { path };
        // Who only asks about it does not touch its time, and may not say so (EINVAL).
        let quiet = if flags.contains(OFlags::PATH) { flags } else { flags | OFlags::NOATIME };
        match root.near.open(above, path, quiet, Mode::empty()) {
            Err(Errno::PERM) => root.near.open(above, path, flags, Mode::empty()),
            other => other,
        }
    }
}

/// A range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where it starts.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// A regular file, open, as it was at that moment.
#[derive(Debug)]
pub struct Opened {
    file: OwnedFd,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Change of contents.
    pub mtime: (i64, u32),
    /// Change of anything.
    pub ctime: (i64, u32),
    /// Bytes, holes counted.
    pub size: u64,
    blocks: u64,
    /// Extended attributes, and whether some are left out.
    pub attributes: Attributes,
    map: Option<SparseMap>,
    /// What the map maps, where it is no more to be read from the file itself.
    spool: Option<File>,
    /// What is in the file and at another place in the one before.
    pub moves: Vec<Move>,
}

#[derive(Debug)]
struct SparseMap {
    text: Vec<u8>,
    ranges: Vec<Range>,
    /// Where each range starts in the payload.
    starts: Vec<u64>,
    payload: u64,
}

/// Extended attributes of an entry.
#[derive(Debug, Default)]
pub struct Attributes {
    /// Name and value, sorted by name.
    pub list: Vec<(Vec<u8>, Vec<u8>)>,
    /// Why some are left out.
    pub trouble: Option<String>,
}

/// Why an entry is left out.
#[derive(Debug)]
pub struct LeftOut {
    /// The kind of warning.
    pub kind: WarningKind,
    /// The system's words.
    pub cause: Option<Errno>,
}

impl From<Errno> for LeftOut {
    fn from(cause: Errno) -> LeftOut {
        match cause {
            Errno::NOENT | Errno::NOTDIR => LeftOut { kind: WarningKind::Vanished, cause: None },
            // A symbolic link is where a file or a folder was.
            Errno::LOOP => LeftOut { kind: WarningKind::Changed, cause: None },
            _ => LeftOut { kind: WarningKind::Unreadable, cause: Some(cause) },
        }
    }
}

/// What reading a piece came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// All was there.
    Whole,
    /// The file had become shorter; the rest is zeros.
    Short,
    /// The system failed; the rest is zeros.
    Failed(Errno),
}

impl Opened {
    /// Opens a regular file.
    ///
    /// # Errors
    /// [`LeftOut`].
    pub fn open(roots: &Roots, entry: &Planned) -> Result<Opened, LeftOut> {
        Opened::open_name(roots, entry, &entry.seen.path)
    }

    /// Opens a regular file by another of its names.
    ///
    /// # Errors
    /// [`LeftOut`].
    pub fn open_name(roots: &Roots, entry: &Planned, inside: &[u8]) -> Result<Opened, LeftOut> {
        // NONBLOCK: a pipe that took the file's place must not hang the backup.
        let file = roots.open_entry(entry.seen.root, inside, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let seen = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        if FileType::from_raw_mode(seen.stx_mode.into()) != FileType::RegularFile {
            return Err(LeftOut { kind: WarningKind::Changed, cause: None });
        }
        let attributes = read_attributes(&file);
        Ok(Opened {
            file,
            mode: u32::from(seen.stx_mode) & 0o7777,
            uid: seen.stx_uid,
            gid: seen.stx_gid,
            mtime: (seen.stx_mtime.tv_sec, seen.stx_mtime.tv_nsec),
            ctime: (seen.stx_ctime.tv_sec, seen.stx_ctime.tv_nsec),
            size: seen.stx_size,
            blocks: seen.stx_blocks,
            attributes,
            map: None,
            spool: None,
            moves: Vec::new(),
        })
    }

    /// Whether it seems to have holes that are worth a map.
    pub fn may_be_sparse(size: u64, blocks: u64) -> bool {
        size >= SPARSE_MIN && blocks.saturating_mul(512) < size
    }

    /// Looks for holes; from then on the payload is the map and the data between them.
    pub fn find_holes(&mut self) {
        if !Opened::may_be_sparse(self.size, self.blocks) {
            return;
        }
        if let Some(ranges) = data_ranges(&self.file, self.size) {
            self.map = SparseMap::new(ranges, self.size);
        }
    }

    /// Whether the payload starts with a map.
    pub fn is_sparse(&self) -> bool {
        self.map.is_some()
    }

    /// From now on the payload is a map of what changed, and these bytes. Whether that saves anything.
    pub fn reduce_to(&mut self, found: Found) -> bool {
        self.map = SparseMap::new(found.ranges, self.size);
        if self.map.is_some() {
            (self.spool, self.moves) = (Some(found.spool), found.moves);
        }
        self.map.is_some()
    }

    /// Whether the payload is what changed.
    pub fn is_patch(&self) -> bool {
        self.spool.is_some()
    }

    /// Bytes of the payload.
    pub fn payload(&self) -> u64 {
        self.map.as_ref().map_or(self.size, |map| map.payload)
    }

    /// Appends `len` bytes of the payload from `offset`.
    pub fn read_payload(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Reading {
        let start = out.len();
        out.resize(start + len, 0);
        let into = &mut out[start..];
        let Some(map) = &self.map else { return read_at(&self.file, offset, into) };
        let mut at = offset;
        let end = offset + len as u64;
        let text = map.text.len() as u64;
        if at < text {
            let part = &map.text[at as usize..end.min(text) as usize];
            into[..part.len()].copy_from_slice(part);
            at += part.len() as u64;
        }
        let mut worst = Reading::Whole;
        let mut range = map.starts.partition_point(|start| *start <= at).saturating_sub(1);
        while at < end && range < map.ranges.len() {
            let skip = at - map.starts[range];
            let now = (map.ranges[range].len - skip).min(end - at);
            let from = (at - offset) as usize;
            let part = &mut into[from..from + now as usize];
            let read = match &self.spool {
                Some(spool) => read_at(spool, at - text, part),
                None => read_at(&self.file, map.ranges[range].offset + skip, part),
            };
            match read {
                Reading::Whole => {}
                other => worst = other,
            }
            at += now;
            range += 1;
        }
        worst
    }

    /// Appends the whole payload of a small file, and tells whether the file is longer by now.
    pub fn read_small(&self, out: &mut Vec<u8>) -> (Reading, bool) {
        let len = self.payload() as usize;
        if self.map.is_some() {
            return (self.read_payload(0, len, out), self.has_grown());
        }
        // Room for one byte more than there should be: a read that stops before it has seen the end, without a further
        // call. The room is not cleared first.
        let start = out.len();
        out.reserve(len + 1);
        let mut reading = Reading::Whole;
        while out.len() - start < len.max(1) {
            let offset = (out.len() - start) as u64;
            match rustix::io::pread(&self.file, spare_capacity(out), offset) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(cause) => {
                    reading = Reading::Failed(cause);
                    break;
                }
            }
        }
        let done = out.len() - start;
        if done < len && reading == Reading::Whole {
            reading = Reading::Short;
        }
        out.resize(start + len, 0);
        (reading, done > len)
    }

    /// Whether reading from there need not wait for a disk; of what a file system cannot tell that, it is taken to be so.
    pub fn is_cached(&self, offset: u64) -> bool {
        let mut byte = [0];
        let into = &mut [std::io::IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(&self.file, into, offset, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
    }

    /// Whether it is longer than it was when it was opened.
    pub fn has_grown(&self) -> bool {
        statx(&self.file, c"", AtFlags::EMPTY_PATH, StatxFlags::SIZE)
            .is_ok_and(|seen| seen.stx_size > self.size)
    }
}

fn read_at(file: &impl AsFd, offset: u64, into: &mut [u8]) -> Reading {
    let mut done = 0;
    while done < into.len() {
        match rustix::io::pread(file, &mut into[done..], offset + done as u64) {
            Ok(0) => return Reading::Short,
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            Err(cause) => {
                into[done..].fill(0);
                return Reading::Failed(cause);
            }
        }
    }
    Reading::Whole
}

/// The ranges that hold data, in whole blocks of an archive, as GNU tar reads them; `None` where there are no holes, too many,
/// or the file system cannot tell.
fn data_ranges(file: &OwnedFd, size: u64) -> Option<Vec<Range>> {
    const BLOCK: u64 = tarhead::BLOCK as u64;
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match seek(file, SeekFrom::Data(at)) {
            Ok(offset) => offset,
            Err(Errno::NXIO) => break,
            Err(_) => return None,
        };
        if offset >= size {
            break;
        }
        let end = seek(file, SeekFrom::Hole(offset)).ok()?.checked_next_multiple_of(BLOCK)?.min(size);
        let offset = offset / BLOCK * BLOCK;
        ranges.push(Range { offset, len: end - offset });
        if ranges.len() > RANGES_MAX {
            return None;
        }
        at = end;
    }
    let data: u64 = ranges.iter().map(|range| range.len).sum();
    (data < size).then_some(ranges)
}

impl SparseMap {
    /// The map in the form of GNU tar 1.0; `None` where it saves nothing.
    fn new(ranges: Vec<Range>, size: u64) -> Option<SparseMap> {
        let mut listed: Vec<(u64, u64)> = ranges.iter().map(|range| (range.offset, range.len)).collect();
        if ranges.last().is_none_or(|last| last.offset + last.len < size) {
            listed.push((size, 0));
        }
        let mut text = format!("{}\n", listed.len()).into_bytes();
        for (offset, len) in listed {
            text.extend_from_slice(format!("{offset}\n{len}\n").as_bytes());
        }
        text.resize(text.len() + padding(text.len() as u64), 0);
        let mut payload = text.len() as u64;
        let mut starts = Vec::with_capacity(ranges.len());
        for range in &ranges {
            starts.push(payload);
            payload += range.len;
        }
        (payload < size).then_some(SparseMap { text, ranges, starts, payload })
    }
}

/// Reads the extended attributes of an entry that is no regular file. What cannot be opened has none.
pub fn attributes_of(roots: &Roots, entry: &Planned) -> Attributes {
    if entry.seen.root.is_none() {
        return Attributes::default();
    }
    match roots.open_entry(entry.seen.root, &entry.seen.path, OFlags::PATH) {
        Ok(file) => read_attributes_by_path(&file),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Attributes::default(),
        Err(cause) => Attributes { list: Vec::new(), trouble: Some(cause.to_string()) },
    }
}

fn read_attributes(file: &OwnedFd) -> Attributes {
    collect(|buffer| flistxattr(file, buffer), |name, buffer| rustix::fs::fgetxattr(file, name, buffer))
}

/// A handle that cannot be read from is reached through `/proc`, which leads to the file itself, even to a link.
fn read_attributes_by_path(file: &impl AsFd) -> Attributes {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    collect(
        |buffer| rustix::fs::listxattr(path.as_str(), buffer),
        |name, buffer| rustix::fs::getxattr(path.as_str(), name, buffer),
    )
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> Attributes {
    let mut small = [0; 256];
    let mut names = Vec::new();
    match list(&mut small) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NOENT | Errno::NOSYS) => return Attributes::default(),
        Ok(length) => names.extend_from_slice(&small[..length]),
        Err(Errno::RANGE) => {
            names.resize(PIECE / 8, 0);
            match list(&mut names) {
                Ok(length) => names.truncate(length),
                Err(cause) => return Attributes { list: Vec::new(), trouble: Some(cause.to_string()) },
            }
        }
        Err(cause) => return Attributes { list: Vec::new(), trouble: Some(cause.to_string()) },
    }
    let mut found = Attributes::default();
    let mut total = 0;
    let mut value = vec![0; 64 << 10];
    for name in names.split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        match get(name, &mut value) {
            Ok(length) if total + length + name.len() <= ATTRIBUTES_MAX => {
                total += length + name.len() + 32;
                found.list.push((name.to_vec(), value[..length].to_vec()));
            }
            Ok(_) => found.trouble = Some("more than 1 MiB of them".to_string()),
            Err(Errno::NODATA) => {}
            Err(cause) => found.trouble = Some(cause.to_string()),
        }
    }
    found.list.sort();
    found
}

/// Which attributes say something about the file: not those that file systems make up.
fn is_kept(name: &[u8]) -> bool {
    [&b"user."[..], b"security.", b"trusted."].iter().any(|space| name.starts_with(space))
        || name == ACL_ACCESS
        || name == ACL_DEFAULT
}
