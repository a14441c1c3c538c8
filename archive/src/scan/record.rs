//! The scan file: what a walk saw, in path order, written and read as a stream.
//!
//! ```text
//! magic "BPSCAN", version u16
//! source name, options digest (32 bytes), start of the walk (seconds i64, nanoseconds u32), roots (absolute path each)
//! records: 1, then the fields of an entry, its path as (bytes shared with the one before, further bytes)
//! 0, then hard-link groups: number of the first name's record, then number and path of each further one
//! totals: entries, files, bytes
//! BLAKE3 of all before it (32 bytes)
//! ```
//!
//! Numbers are little-endian base-128 (7 bits a byte, the lowest first), signed ones zigzag, unless a width is given.
//! The file is private to its machine: another version of it is simply not used.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use backplan_host::tree::Kind;

const MAGIC: &[u8; 8] = b"BPSCAN\x01\x00";
/// No path or link target is longer; a longer one means damage.
const LONGEST: u64 = 1 << 24;

/// An entry that a walk saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Path inside the source; empty for the source's own folder.
    pub path: Vec<u8>,
    /// What it is; a hard link's further names are files here.
    pub kind: Kind,
    /// A folder that is there only because something below it is.
    pub implied: bool,
    /// A folder that is made up.
    pub synthetic: bool,
    /// A further name of a file that came before.
    pub further_name: bool,
    /// Which of the roots it is below; `None` for implied and made-up folders.
    pub root: Option<usize>,
    /// Permission bits with setuid, setgid, sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Change of contents: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Change of anything: seconds and nanoseconds.
    pub ctime: (i64, u32),
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes on disk.
    pub blocks: u64,
    /// Inode number.
    pub inode: u64,
    /// The file system it is on: major, minor.
    pub file_system: (u32, u32),
    /// Names it has.
    pub names: u32,
    /// Numbers of a device.
    pub device: (u32, u32),
    /// Target of a symbolic link.
    pub link: Vec<u8>,
}

impl Default for Scanned {
    /// An empty file without a name.
    fn default() -> Scanned {
        Scanned {
            path: Vec::new(),
            kind: Kind::File,
            implied: false,
            synthetic: false,
            further_name: false,
            root: None,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
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
}

impl Scanned {
    /// Bytes there are to be read of it: of a regular file, its size without holes.
    pub fn bytes_to_read(&self) -> u64 {
        match self.kind {
            Kind::File => self.size.min(self.blocks.saturating_mul(512).max(self.size.min(4096))),
            _ => 0,
        }
    }
}

/// The start of a scan file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanHeader {
    /// The source's name.
    pub source: String,
    /// Digest of the declaration it was made with: another digest is another question.
    pub options: [u8; 32],
    /// When the walk began: seconds and nanoseconds.
    pub started: (i64, u32),
    /// Where the trees were read, absolute.
    pub roots: Vec<ScanRoot>,
}

/// A tree that was walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRoot {
    /// Where it was read.
    pub absolute: PathBuf,
    /// Its path inside the source.
    pub inside: Vec<u8>,
}

/// The names of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkGroup {
    /// Number of the record with the first name, counted from 0.
    pub first: u64,
    /// Number and path of each further name.
    pub further: Vec<(u64, Vec<u8>)>,
}

/// The end of a scan file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trailer {
    /// Files with more than one name in this scan, by first name.
    pub groups: Vec<LinkGroup>,
    /// Entries of every kind.
    pub entries: u64,
    /// Regular files, each group once.
    pub files: u64,
    /// Bytes to be read.
    pub bytes: u64,
    /// What was not looked at, in path order: nothing is said of it, or of what is below it, but that it may be there.
    pub unseen: Vec<Unseen>,
}

/// A path inside the source that was not looked at, or below which nothing was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The path.
    pub path: Vec<u8>,
    /// Another file system is mounted there, and those are left out by the declaration: no trouble.
    pub mounted: bool,
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a scan file.
pub struct ScanWriter {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    last: Vec<u8>,
    record: Vec<u8>,
}

impl ScanWriter {
    /// Creates or replaces the file, readable by its owner only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, header: &ScanHeader) -> io::Result<ScanWriter> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
        let mut writer = ScanWriter {
            file: BufWriter::with_capacity(1 << 16, File::from(fd)),
            hasher: blake3::Hasher::new(),
            last: Vec::new(),
            record: Vec::new(),
        };
        let mut out = MAGIC.to_vec();
        put_bytes(&mut out, header.source.as_bytes());
        out.extend_from_slice(&header.options);
        out.extend_from_slice(&header.started.0.to_le_bytes());
        out.extend_from_slice(&header.started.1.to_le_bytes());
        put(&mut out, header.roots.len() as u64);
        for root in &header.roots {
            put_bytes(&mut out, std::os::unix::ffi::OsStrExt::as_bytes(root.absolute.as_os_str()));
            put_bytes(&mut out, &root.inside);
        }
        writer.emit(&out)?;
        Ok(writer)
    }

    fn emit(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    /// Appends an entry. Entries come in path order.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn entry(&mut self, entry: &Scanned) -> io::Result<()> {
        let shared = entry.path.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        let mut out = std::mem::take(&mut self.record);
        out.clear();
        out.push(1);
        put(&mut out, shared as u64);
        put_bytes(&mut out, &entry.path[shared..]);
        out.push(entry.kind as u8);
        let bits = [entry.implied, entry.synthetic, entry.further_name];
        out.push(bits.iter().enumerate().fold(0, |all, (bit, set)| all | (u8::from(*set) << bit)));
        put(&mut out, entry.root.map_or(0, |root| root as u64 + 1));
        put_signed(&mut out, entry.mtime.0);
        put_signed(&mut out, entry.ctime.0);
        let pairs = [entry.file_system, entry.device].map(|(a, b)| u64::from(a) << 32 | u64::from(b));
        for number in [
            u64::from(entry.mode),
            u64::from(entry.uid),
            u64::from(entry.gid),
            u64::from(entry.mtime.1),
            u64::from(entry.ctime.1),
            entry.size,
            entry.blocks,
            entry.inode,
            u64::from(entry.names),
            pairs[0],
            pairs[1],
        ] {
            put(&mut out, number);
        }
        put_bytes(&mut out, &entry.link);
        self.emit(&out)?;
        self.record = out;
        self.last.truncate(shared);
        self.last.extend_from_slice(&entry.path[shared..]);
        Ok(())
    }

    /// Writes the end and flushes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, trailer: &Trailer) -> io::Result<()> {
        let mut out = vec![0];
        put(&mut out, trailer.groups.len() as u64);
        for group in &trailer.groups {
            put(&mut out, group.first);
            put(&mut out, group.further.len() as u64);
            for (number, path) in &group.further {
                put(&mut out, *number);
                put_bytes(&mut out, path);
            }
        }
        for number in [trailer.entries, trailer.files, trailer.bytes] {
            put(&mut out, number);
        }
        // Programs that do not know of this stop before it.
        put(&mut out, trailer.unseen.len() as u64);
        for unseen in &trailer.unseen {
            out.push(u8::from(unseen.mounted));
            put_bytes(&mut out, &unseen.path);
        }
        let length = out.len() as u64;
        self.emit(&out)?;
        self.emit(&length.to_le_bytes())?;
        let digest = *self.hasher.finalize().as_bytes();
        self.file.write_all(&digest)?;
        self.file.flush()
    }
}

/// Reads a scan file.
pub struct ScanReader {
    file: BufReader<File>,
    header: ScanHeader,
    trailer: Trailer,
    last: Vec<u8>,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn get(from: &mut impl BufRead) -> io::Result<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged("a number is too long"))
}

fn get_signed(from: &mut impl BufRead) -> io::Result<i64> {
    let number = get(from)?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

fn get_u32(from: &mut impl BufRead) -> io::Result<u32> {
    u32::try_from(get(from)?).map_err(|_| damaged("a number is too large"))
}

fn get_bytes(from: &mut impl BufRead, out: &mut Vec<u8>) -> io::Result<()> {
    let length = get(from)?;
    if length > LONGEST {
        return Err(damaged("a text is too long"));
    }
    let read = from.take(length).read_to_end(out)?;
    if read as u64 == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn get_pair(from: &mut impl BufRead) -> io::Result<(u32, u32)> {
    let both = get(from)?;
    Ok(((both >> 32) as u32, both as u32))
}

impl ScanReader {
    /// Opens a scan file, checks its digest, and reads its header and its trailer.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or of another version.
    pub fn open(path: &Path) -> io::Result<ScanReader> {
        let mut file = File::open(path)?;
        check_digest(&mut file)?;
        let trailer = read_trailer(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let header = read_header(&mut file)?;
        Ok(ScanReader { file, header, trailer, last: Vec::new() })
    }

    /// What stands at a scan's start, without looking at the rest.
    ///
    /// # Errors
    /// When it cannot be read, or is of another version.
    pub fn peek(path: &Path) -> io::Result<ScanHeader> {
        read_header(&mut BufReader::new(File::open(path)?))
    }

    /// What stands at its start.
    pub fn header(&self) -> &ScanHeader {
        &self.header
    }

    /// What stands at its end.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn next_entry(&mut self) -> io::Result<Option<Scanned>> {
        let mut entry = Scanned::default();
        Ok(self.read_entry(&mut entry)?.then_some(entry))
    }

    /// Reads the next entry into `entry`; false at the end.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn read_entry(&mut self, entry: &mut Scanned) -> io::Result<bool> {
        let from = &mut self.file;
        let mut tag = [0];
        from.read_exact(&mut tag)?;
        if tag[0] == 0 {
            return Ok(false);
        }
        let shared = usize::try_from(get(from)?).unwrap_or(usize::MAX);
        if shared > self.last.len() {
            return Err(damaged("a path shares more than there is"));
        }
        self.last.truncate(shared);
        get_bytes(from, &mut self.last)?;
        let mut head = [0; 2];
        from.read_exact(&mut head)?;
        entry.kind = Kind::from_number(head[0]).ok_or_else(|| damaged("an entry is of no known kind"))?;
        entry.root = get(from)?.checked_sub(1).map(|root| root as usize);
        if entry.root.is_some_and(|root| root >= self.header.roots.len()) {
            return Err(damaged("an entry is below no root"));
        }
        entry.path.clear();
        entry.path.extend_from_slice(&self.last);
        entry.implied = head[1] & 1 != 0;
        entry.synthetic = head[1] & 2 != 0;
        entry.further_name = head[1] & 4 != 0;
        let seconds = (get_signed(from)?, get_signed(from)?);
        (entry.mode, entry.uid, entry.gid) = (get_u32(from)?, get_u32(from)?, get_u32(from)?);
        entry.mtime = (seconds.0, get_u32(from)?);
        entry.ctime = (seconds.1, get_u32(from)?);
        (entry.size, entry.blocks, entry.inode) = (get(from)?, get(from)?, get(from)?);
        entry.names = get_u32(from)?;
        entry.file_system = get_pair(from)?;
        entry.device = get_pair(from)?;
        entry.link.clear();
        get_bytes(from, &mut entry.link)?;
        Ok(true)
    }
}

fn check_digest(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len().checked_sub(32).ok_or_else(|| damaged("too short"))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader((&mut *file).take(length))?;
    let mut digest = [0; 32];
    file.read_exact(&mut digest)?;
    if *hasher.finalize().as_bytes() == digest { Ok(()) } else { Err(damaged("its digest does not match")) }
}

fn read_header(from: &mut impl BufRead) -> io::Result<ScanHeader> {
    let mut magic = [0; 8];
    from.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(damaged("not a scan of this version"));
    }
    let mut source = Vec::new();
    get_bytes(from, &mut source)?;
    let source = String::from_utf8(source).map_err(|_| damaged("the source's name is no text"))?;
    let (mut options, mut seconds, mut nanos) = ([0; 32], [0; 8], [0; 4]);
    from.read_exact(&mut options)?;
    from.read_exact(&mut seconds)?;
    from.read_exact(&mut nanos)?;
    let started = (i64::from_le_bytes(seconds), u32::from_le_bytes(nanos));
    let mut roots = Vec::new();
    for _ in 0..get(from)? {
        let (mut absolute, mut inside) = (Vec::new(), Vec::new());
        get_bytes(from, &mut absolute)?;
        get_bytes(from, &mut inside)?;
        let absolute =
            PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(absolute));
        roots.push(ScanRoot { absolute, inside });
    }
    Ok(ScanHeader { source, options, started, roots })
}

fn read_trailer(file: &mut File) -> io::Result<Trailer> {
    let end = file.seek(SeekFrom::End(-40))?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let start = end.checked_sub(length).ok_or_else(|| damaged("its end is misplaced"))?;
    file.seek(SeekFrom::Start(start))?;
    let mut from = BufReader::new(file).take(length);
    let mut tag = [0];
    from.read_exact(&mut tag)?;
    let mut groups = Vec::new();
    for _ in 0..get(&mut from)? {
        let first = get(&mut from)?;
        let mut further = Vec::new();
        for _ in 0..get(&mut from)? {
            let (number, mut path) = (get(&mut from)?, Vec::new());
            get_bytes(&mut from, &mut path)?;
            further.push((number, path));
        }
        groups.push(LinkGroup { first, further });
    }
    let (entries, files, bytes) = (get(&mut from)?, get(&mut from)?, get(&mut from)?);
    let unseen = read_unseen(&mut from)?;
    Ok(Trailer { groups, entries, files, bytes, unseen })
}

/// A scan of an older program ends before this.
fn read_unseen(from: &mut impl BufRead) -> io::Result<Vec<Unseen>> {
    let mut unseen = Vec::new();
    if from.fill_buf()?.is_empty() {
        return Ok(unseen);
    }
    for _ in 0..get(from)? {
        let (mut mounted, mut path) = ([0], Vec::new());
        from.read_exact(&mut mounted)?;
        get_bytes(from, &mut path)?;
        unseen.push(Unseen { path, mounted: mounted[0] != 0 });
    }
    Ok(unseen)
}
