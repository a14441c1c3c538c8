//! Large files by grains: what is known of each, so that the next difference holds only the grains that changed.
//!
//! A grain is a subtree of BLAKE3, so that the digests of a file's grains also make the digest of the whole. The records are this
//! machine's own, kept with the scan that the artefact was packed from, and believed as little or as much: lost, the file
//! is packed whole. Records, one after the other behind the magic: length of the path `u32`, path, size `u64`, number of
//! grains `u32`, for each its digest (32 bytes) and its sum `u32`; little-endian.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::job::Planned;
use super::open::{Opened, Reading};
use super::scratch::unnamed;
use super::shifts::{self, Finding, Found};
use crate::artefact::treehash::{self, Joiner};
use crate::artefact::{Entry, Flags, Kind, PIECE};
use backplan_host::control::Control;

const MAGIC: &[u8; 6] = b"BPGR2\n";
/// Grains of files that are not very large.
const SMALL: usize = 64 << 10;
/// Files above this have larger grains, so that what is known of one fits into memory: 64 MiB for each TiB.
const SMALL_MAX: u64 = 4 << 30;
/// Paths are not longer; a record that says so is damaged.
const PATH_MAX: usize = 64 << 10;

/// Where the records are.
#[derive(Debug, Clone)]
pub struct Grains {
    /// A folder that `SOURCE.grains` is written to, for each source that can be read again.
    pub folder: PathBuf,
    /// By source: the records of what the base holds.
    pub earlier: BTreeMap<String, PathBuf>,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Bytes.
    pub size: u64,
    /// Its grains.
    pub grains: Vec<Grain>,
}

/// What is known of a grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grain {
    /// As a subtree at its place.
    pub digest: [u8; 32],
    /// What it is looked for by at other places.
    pub sum: u32,
}

impl Grain {
    /// Bytes in a record.
    const LEN: usize = 36;

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.digest)?;
        out.write_all(&self.sum.to_le_bytes())
    }

    fn read(bytes: &[u8; Grain::LEN]) -> Option<Grain> {
        let (digest, sum) = bytes.split_first_chunk::<32>()?;
        Some(Grain { digest: *digest, sum: u32::from_le_bytes(sum.try_into().ok()?) })
    }
}

/// Bytes of a grain of a file of this size.
pub fn grain_of(size: u64) -> usize {
    if size > SMALL_MAX { PIECE } else { SMALL }
}

/// The grains in a piece of a file.
pub fn of_piece(index: u64, bytes: &[u8], size: u64) -> Vec<Grain> {
    let grain = grain_of(size);
    let first = index * (PIECE / grain) as u64;
    let of = |(at, bytes)| Grain { digest: treehash::grain(at, grain, bytes), sum: shifts::sum(bytes) };
    (first..).zip(bytes.chunks(grain)).map(of).collect()
}

/// The name of the file in which what is known of a source's large files is kept.
pub fn file_name(source: &str) -> String {
    format!("{source}.grains")
}

/// One source's records: those of the base, and those that are made.
pub struct Source {
    known: Option<Known>,
    made: Mutex<BufWriter<File>>,
}

impl Source {
    /// Opens the base's, and begins new ones.
    ///
    /// # Errors
    /// When the new ones cannot be written. What cannot be read of the old ones is not known.
    pub fn start(grains: &Grains, source: &str) -> io::Result<Source> {
        let known = grains.earlier.get(source).and_then(|path| Known::open(path).ok());
        let mut made = BufWriter::new(File::create(grains.folder.join(file_name(source)))?);
        made.write_all(MAGIC)?;
        Ok(Source { known, made: Mutex::new(made) })
    }

    /// Whether anything is known of the base.
    pub fn has_base(&self) -> bool {
        self.known.is_some()
    }

    /// Keeps a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, path: &[u8], record: &Record) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.write_all(&(path.len() as u32).to_le_bytes())?;
        made.write_all(path)?;
        made.write_all(&record.size.to_le_bytes())?;
        made.write_all(&(record.grains.len() as u32).to_le_bytes())?;
        record.grains.iter().try_for_each(|grain| grain.write(&mut *made))
    }

    /// Keeps the base's record of a file that is still what the base holds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn carry(&self, path: &[u8]) -> io::Result<()> {
        let record = self.known.as_ref().and_then(|known| known.get(path));
        record.map_or(Ok(()), |record| self.keep(path, &record))
    }

    /// Ends the records.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(&self) -> io::Result<()> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }

    /// What changed of a file since the base: `None` where that is not known, is more than half of it, or the file does not
    /// hold still. It is read once; what changed is kept, for it must be what the digest was made of.
    ///
    /// # Errors
    /// When `scratch` cannot be written.
    pub fn changed(
        &self,
        entry: &Planned,
        opened: &Opened,
        scratch: &Path,
        control: &Control,
    ) -> io::Result<Option<Changed>> {
        let known = self.known.as_ref().and_then(|known| known.get(&entry.path));
        let Some(known) = known.filter(|known| grain_of(known.size) == grain_of(opened.size)) else {
            return Ok(None);
        };
        let grain = grain_of(opened.size);
        let mut finding = Finding::new(&known, grain, unnamed(scratch)?);
        let (mut grains, mut joiner) = (Vec::new(), Joiner::default());
        let mut bytes = Vec::with_capacity(grain);
        for (at, offset) in (0_u64..).zip((0..opened.size).step_by(grain)) {
            let length = (opened.size - offset).min(grain as u64);
            bytes.clear();
            let is_whole = opened.read_payload(offset, length as usize, &mut bytes) == Reading::Whole;
            if !is_whole || control.check().is_err() {
                return Ok(None);
            }
            let digest = treehash::grain(at, grain, &bytes);
            let before = known.grains.get(at as usize);
            let is_as_long = known.length_of(at, grain as u64) == length;
            let now = match before.filter(|before| is_as_long && before.digest == digest) {
                Some(same) => {
                    finding.same()?;
                    *same
                }
                None => {
                    finding.other(offset, &bytes)?;
                    Grain { digest, sum: shifts::sum(&bytes) }
                }
            };
            if finding.new > opened.size / 2 {
                return Ok(None);
            }
            joiner.push(now.digest);
            grains.push(now);
        }
        let found = finding.end()?;
        let Some(whole) = joiner.finish() else { return Ok(None) };
        let record = Record { size: opened.size, grains };
        Ok(Some(Changed { found, record, base: known, whole }))
    }
}

/// What changed of a file.
pub struct Changed {
    /// What is new, and what moved.
    pub found: Found,
    /// What is known of the file now.
    pub record: Record,
    /// What was known of it.
    base: Record,
    /// Digest of all of it.
    pub whole: [u8; 32],
}

impl Changed {
    /// Whether an entry of the base is the file that the changes are to.
    pub fn is_to(&self, entry: &Entry) -> bool {
        let mut joiner = Joiner::default();
        self.base.grains.iter().for_each(|grain| joiner.push(grain.digest));
        let digest = if entry.flags.has(Flags::PATCH) { entry.whole } else { entry.hash };
        entry.kind == Kind::File && entry.size == self.base.size && joiner.finish() == Some(digest)
    }
}

impl Record {
    /// Bytes of a grain.
    pub fn length_of(&self, at: u64, grain: u64) -> u64 {
        self.size.saturating_sub(at * grain).min(grain)
    }
}

/// Records that were kept, by path.
struct Known {
    file: File,
    /// Where the size of each is.
    places: HashMap<Vec<u8>, u64>,
}

impl Known {
    fn open(path: &Path) -> io::Result<Known> {
        let mut from = BufReader::new(File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (mut places, mut at) = (HashMap::new(), MAGIC.len() as u64);
        while let Some(length) = four(&mut from)? {
            let mut path = vec![0; length as usize];
            if path.len() > PATH_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            from.read_exact(&mut path)?;
            at += 4 + path.len() as u64;
            let mut head = [0; 12];
            from.read_exact(&mut head)?;
            let count = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
            let grains = u64::from(count) * Grain::LEN as u64;
            from.seek_relative(i64::try_from(grains).map_err(io::Error::other)?)?;
            places.insert(path, at);
            at += 12 + grains;
        }
        Ok(Known { file: from.into_inner(), places })
    }

    fn get(&self, path: &[u8]) -> Option<Record> {
        let place = *self.places.get(path)?;
        let mut head = [0; 12];
        self.file.read_exact_at(&mut head, place).ok()?;
        let (size, count) = head.split_at(8);
        let size = u64::from_le_bytes(size.try_into().ok()?);
        let count = u64::from(u32::from_le_bytes(count.try_into().ok()?));
        if count != size.div_ceil(grain_of(size) as u64) {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(count).ok()? * Grain::LEN];
        self.file.read_exact_at(&mut bytes, place + 12).ok()?;
        let grains: Option<Vec<Grain>> = bytes.as_chunks().0.iter().map(Grain::read).collect();
        Some(Record { size, grains: grains? })
    }
}

/// The next four bytes as a number; `None` at the end.
fn four(from: &mut BufReader<File>) -> io::Result<Option<u32>> {
    let mut bytes = [0; 4];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u32::from_le_bytes(bytes))),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            let end = from.stream_position()?;
            if end == from.seek(SeekFrom::End(0))? { Ok(None) } else { Err(cause) }
        }
        Err(cause) => Err(cause),
    }
}
