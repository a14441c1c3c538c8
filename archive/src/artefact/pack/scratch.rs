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
    fn put(&self, out: &mut [u8]) {
        out.fill(0);
        out[0] = self.kind as u8;
        let fours = [self.mode, self.uid, self.gid, self.mtime.1, self.start, self.flags.0];
        let eights = [self.mtime.0 as u64, self.size, self.payload, self.place, self.span, self.member];
        for (at, four) in fours.iter().enumerate() {
            out[4 + 4 * at..][..4].copy_from_slice(&four.to_le_bytes());
        }
        for (at, eight) in eights.iter().enumerate() {
            out[28 + 8 * at..][..8].copy_from_slice(&eight.to_le_bytes());
        }
        out[76..108].copy_from_slice(&self.hash);
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

/// Slots that are written to their file together.
const SLOTS_PER_PAGE: u64 = 512;
/// Pages in memory. Entries come nearly in the order of their numbers, folders and files that are compressed already apart.
const PAGES: usize = 8;

/// Slots by entry number, in a file.
pub struct Slots {
    file: File,
    /// Those in use, the one used last at the end.
    pages: Vec<Page>,
}

/// Neighbouring slots, in memory.
struct Page {
    number: u64,
    bytes: Vec<u8>,
}

impl Page {
    const LEN: usize = SLOTS_PER_PAGE as usize * SLOT;

    fn place(&self) -> u64 {
        self.number * Page::LEN as u64
    }

    /// As the file has it; zeros beyond its end.
    fn read(&mut self, file: &File) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.resize(Page::LEN, 0);
        let (place, mut done) = (self.place(), 0);
        while done < Page::LEN {
            match file.read_at(&mut self.bytes[done..], place + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Slots {
    /// For `entries` of them.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(folder: &Path, entries: u64) -> io::Result<Slots> {
        let file = unnamed(folder)?;
        file.set_len(entries * SLOT as u64)?;
        Ok(Slots { file, pages: Vec::with_capacity(PAGES) })
    }

    /// Keeps slots.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&mut self, slots: &[Slot]) -> io::Result<()> {
        for slot in slots {
            let page = self.page(slot.number / SLOTS_PER_PAGE)?;
            let at = (slot.number % SLOTS_PER_PAGE) as usize * SLOT;
            slot.put(&mut page.bytes[at..at + SLOT]);
        }
        Ok(())
    }

    /// The page with this number; another may have to make room for it.
    fn page(&mut self, number: u64) -> io::Result<&mut Page> {
        match self.pages.iter().position(|page| page.number == number) {
            Some(at) => self.pages[at..].rotate_left(1),
            None => {
                let mut page = if self.pages.len() < PAGES {
                    Page { number, bytes: Vec::new() }
                } else {
                    let oldest = self.pages.remove(0);
                    self.file.write_all_at(&oldest.bytes, oldest.place())?;
                    Page { number, ..oldest }
                };
                page.read(&self.file)?;
                self.pages.push(page);
            }
        }
        self.pages.last_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn flush(&self) -> io::Result<()> {
        self.pages.iter().try_for_each(|page| self.file.write_all_at(&page.bytes, page.place()))
    }

    /// A second way in, for slots out of their order.
    ///
    /// # Errors
    /// When there is none.
    pub fn at_random(&self) -> io::Result<AtRandom> {
        self.flush()?;
        Ok(AtRandom(self.file.try_clone()?))
    }

    /// All slots in order; `None` for an entry that was left out.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(mut self) -> io::Result<impl Iterator<Item = io::Result<Option<Slot>>>> {
        self.flush()?;
        self.file.seek(SeekFrom::Start(0))?;
        let mut from = BufReader::with_capacity(Page::LEN, self.file);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn slots_come_back_in_whatever_order_they_were_put() {
        let dir = tempfile::tempdir().unwrap();
        let count = 12 * SLOTS_PER_PAGE + 7;
        let slot = |number: u64| Slot {
            number,
            source: 0,
            kind: Kind::File,
            mode: number as u32,
            uid: 1,
            gid: 2,
            mtime: (-3, 4),
            size: number * 5,
            payload: 6,
            place: 7,
            span: 8,
            member: 9,
            start: 10,
            hash: [number as u8; 32],
            flags: Flags(11),
        };
        let mut slots = Slots::create(dir.path(), count).unwrap();
        // One in three first, as folders and what is compressed already are left for later; one is never put, and some were not
        // known of before.
        for rest in [0, 2, 1] {
            let numbers = (0..count + 20).filter(|number| number % 3 == rest && *number != 5);
            slots.put(&numbers.map(slot).collect::<Vec<_>>()).unwrap();
        }
        let at_random = slots.at_random().unwrap();
        for number in [count + 19, 0, count - 1] {
            assert_eq!(at_random.get(number).unwrap(), Some(slot(number)));
        }
        let found: Vec<_> = slots.read().unwrap().take(count as usize).map(Result::unwrap).collect();
        for (number, found) in (0..).zip(found) {
            assert_eq!(found, (number != 5).then(|| slot(number)), "{number}");
        }
    }
}
