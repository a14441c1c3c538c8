//! Temporary files without a name: what is known of each entry and member until the index can be written.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::artefact::index::Member;
use crate::artefact::{Flags, Kind};

/// A temporary file that vanishes with its handle.
///
/// # Errors
/// When the folder cannot be written.
pub fn unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => return Ok(File::from(file)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOSYS) => {}
        Err(cause) => return Err(cause.into()),
    }
    // Some file systems cannot make a file without a name.
    for attempt in 0_u32..100 {
        let path = folder.join(format!(".backplan-{}-{attempt}", std::process::id()));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(File::from(file));
            }
            Err(Errno::EXIST) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What packing learned of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub number: u64,
    /// Its source, by number.
    pub source: u16,
    /// What it is in the artefact.
    pub kind: Kind,
    /// As in [`crate::artefact::Entry`].
    pub mode: u32,
    /// As there.
    pub uid: u32,
    /// As there.
    pub gid: u32,
    /// As there, with nanoseconds.
    pub mtime: (i64, u32),
    /// As there.
    pub size: u64,
    /// As there.
    pub payload: u64,
    /// As there.
    pub place: u64,
    /// As there.
    pub span: u64,
    /// As there.
    pub member: u64,
    /// As there.
    pub start: u32,
    /// As there.
    pub hash: [u8; 32],
    /// As there.
    pub flags: Flags,
}

const SLOT: usize = 112;

impl Slot {
    fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        for four in [self.mode, self.uid, self.gid, self.mtime.1, self.start, self.flags.0] {
            out.extend_from_slice(&four.to_le_bytes());
        }
        out.extend_from_slice(&self.mtime.0.to_le_bytes());
        for eight in [self.size, self.payload, self.place, self.span, self.member] {
            out.extend_from_slice(&eight.to_le_bytes());
        }
        out.extend_from_slice(&self.hash);
        out.resize(start + SLOT, 0);
    }

    fn get(number: u64, bytes: &[u8; SLOT]) -> Option<Slot> {
        let kind = Kind::from_number(bytes[0])?;
        let four = |at: usize| {
            let at = 4 + 4 * at;
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let eight = |at: usize| u64::from(four(6 + 2 * at)) | u64::from(four(7 + 2 * at)) << 32;
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[76..108]);
        Some(Slot {
            number,
            source: 0,
            kind,
            mode: four(0),
            uid: four(1),
            gid: four(2),
            mtime: (eight(0) as i64, four(3)),
            size: eight(1),
            payload: eight(2),
            place: eight(3),
            span: eight(4),
            member: eight(5),
            start: four(4),
            hash,
            flags: Flags(four(5)),
        })
    }
}

/// Slots by entry number, in a file.
pub struct Slots {
    file: File,
    buffer: Vec<u8>,
}

impl Slots {
    /// For `entries` of them.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(folder: &Path, entries: u64) -> io::Result<Slots> {
        let file = unnamed(folder)?;
        file.set_len(entries * SLOT as u64)?;
        Ok(Slots { file, buffer: Vec::new() })
    }

    /// Keeps slots; runs of neighbours with one write.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&mut self, slots: &[Slot]) -> io::Result<()> {
        for run in slots.chunk_by(|a, b| a.number + 1 == b.number) {
            self.buffer.clear();
            run.iter().for_each(|slot| slot.put(&mut self.buffer));
            self.file.write_all_at(&self.buffer, run[0].number * SLOT as u64)?;
        }
        Ok(())
    }

    /// A second way in, for slots out of their order.
    ///
    /// # Errors
    /// When there is none.
    pub fn at_random(&self) -> io::Result<AtRandom> {
        Ok(AtRandom(self.file.try_clone()?))
    }

    /// All slots in order; `None` for an entry that was left out.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(mut self) -> io::Result<impl Iterator<Item = io::Result<Option<Slot>>>> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut from = BufReader::with_capacity(SLOT * 512, self.file);
        Ok((0..).map(move |number| {
            let mut bytes = [0; SLOT];
            from.read_exact(&mut bytes)?;
            Ok(Slot::get(number, &bytes))
        }))
    }
}

/// Slots in any order.
pub struct AtRandom(File);

impl AtRandom {
    /// The slot with this number, if it was kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, number: u64) -> io::Result<Option<Slot>> {
        let mut bytes = [0; SLOT];
        self.0.read_exact_at(&mut bytes, number * SLOT as u64)?;
        Ok(Slot::get(number, &bytes))
    }
}

/// Members, in order, in a file.
pub struct Members {
    file: BufWriter<File>,
}

const MEMBER: usize = 48;

impl Members {
    /// Of a new artefact.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(folder: &Path) -> io::Result<Members> {
        Ok(Members { file: BufWriter::with_capacity(1 << 14, unnamed(folder)?) })
    }

    /// Keeps the next one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, member: &Member) -> io::Result<()> {
        self.file.write_all(&member.offset.to_le_bytes())?;
        self.file.write_all(&member.len.to_le_bytes())?;
        self.file.write_all(&member.decoded.to_le_bytes())?;
        self.file.write_all(&member.hash)
    }

    /// Replaces the digest of one that was patched.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rehash(&mut self, number: u64, hash: &[u8; 32]) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().write_all_at(hash, number * MEMBER as u64 + 16)
    }

    /// All of them, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(self) -> io::Result<impl Iterator<Item = io::Result<Member>>> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let count = file.stream_position()? / MEMBER as u64;
        file.seek(SeekFrom::Start(0))?;
        let mut from = BufReader::new(file);
        Ok((0..count).map(move |_| {
            let mut bytes = [0; MEMBER];
            from.read_exact(&mut bytes)?;
            let four =
                |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            let mut hash = [0; 32];
            hash.copy_from_slice(&bytes[16..]);
            let offset = u64::from(four(0)) | u64::from(four(4)) << 32;
            Ok(Member { offset, len: four(8), decoded: four(12), hash })
        }))
    }
}
