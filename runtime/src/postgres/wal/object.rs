//! An archived file of the log: a gzip file that ends by saying what it must decode to.
//!
//! Members of 1 MiB, decoded; then a member of nothing with the compressed lengths of those before it, then one of nothing
//! with format, decoded length, BLAKE3 of the decoded bytes, the moment of archiving, and the first one's length. `gzip -d`
//! reads it like any other.

use std::io::{self, Read};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;
use libdeflater::Decompressor;

use super::cluster::NoSegment;
use crate::artefact::ReadAt;
use crate::artefact::gzip::{self, MemberWriter, stored_member};
use crate::store::StoreError;
use crate::threads::on_several;

/// Decoded bytes of a member.
const PIECE: usize = 1 << 20;
/// Segments wait for nobody but the server: twice as fast as level 6, and a twentieth larger.
const LEVEL: u8 = 3;
const FORMAT: u8 = 1;
/// Format, decoded length, archived (microseconds), table's bytes, BLAKE3.
const SAYS: usize = 1 + 8 + 8 + 4 + 32;
/// Bytes of a member of nothing, without what its subfield holds.
const NOTHING: usize = 10 + 2 + 4 + 5 + 8;
const CLOSING: usize = NOTHING + SAYS;
/// Bytes of the table at the most, so that it fits into a subfield: files of 16 GiB.
const TABLE_MAX: usize = 65_000;

/// What an object says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Bytes of the file.
    pub length: u64,
    /// When it was archived, by the clock of the machine that did so.
    pub archived: Timestamp,
    table: usize,
    hash: [u8; 32],
}

/// Why an object cannot be given back.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is not as it was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is none of a log, or another one.
    #[error("it is damaged: {0}")]
    NoSegment(#[from] NoSegment),
    /// Its encryption is not as it was written.
    #[error("it is damaged: {0}")]
    Seal(String),
    /// It is encrypted.
    #[error(
        "it is encrypted, and none of the keys that were given opens it: name the file of one with `--identity` or in \
         BACKPLAN_IDENTITY"
    )]
    NoKey,
    /// It was written by a newer version of this program.
    #[error("it has format {0}, which this version does not know")]
    Newer(u8),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Where the decoded bytes go.
    #[error("it cannot be written out: {0}")]
    Out(#[source] io::Error),
    /// Where the bytes to archive come from.
    #[error("it cannot be read: {0}")]
    In(#[source] io::Error),
}

/// A file that is in memory.
#[derive(Debug)]
pub(super) struct Memory(pub Vec<u8>);

impl ReadAt for Memory {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0[start..self.0.len().min(start.saturating_add(len))].to_vec())
    }
}

/// What an error of reading an object means: the store's own, if it is one.
pub(super) fn of_read(error: io::Error) -> ObjectError {
    match error.downcast::<StoreError>() {
        Ok(error) => ObjectError::Store(error),
        Err(error) => ObjectError::Seal(error.to_string()),
    }
}

impl Closing {
    /// One of these values.
    pub(super) fn of(length: u64, archived: Timestamp, hash: blake3::Hash) -> Closing {
        Closing { length, archived, table: 0, hash: *hash.as_bytes() }
    }

    /// The digest of the file.
    pub(super) fn hash(&self) -> blake3::Hash {
        blake3::Hash::from_bytes(self.hash)
    }

    /// Whether two are of files of the same content.
    pub fn is_same(&self, other: &Closing) -> bool {
        (self.length, self.hash) == (other.length, other.hash)
    }
}

/// Whether a file has the content that an object says it is of.
///
/// # Errors
/// Reading's.
pub fn is_of(closing: &Closing, file: &std::path::Path) -> io::Result<bool> {
    let mut hash = blake3::Hasher::new();
    let mut from = crate::regular::open(file)?;
    let length = io::copy(&mut from, &mut hash)?;
    Ok((length, hash.finalize()) == (closing.length, closing.hash()))
}

/// Threads that compress at the most, and the bytes that each takes at a time: a usual segment keeps four busy once. On a
/// busy machine it is waiting for one another that costs most, so smaller shares are slower.
const LANES_MAX: usize = 4;
const SHARE: usize = 4 * PIECE;

/// Does `work` in every lane at once.
fn all_at_once<L: Send>(lanes: &mut [L], work: impl Fn(&mut L) + Sync) {
    let count = lanes.len();
    let lanes = Mutex::new(lanes.iter_mut());
    let next = || lanes.lock().unwrap_or_else(PoisonError::into_inner).next();
    on_several(count, || {
        while let Some(lane) = next() {
            work(lane);
        }
    });
}

/// A thread's share on its way into an object. It keeps its buffers: fresh memory for each share costs more than the work.
struct Packing {
    share: Vec<u8>,
    members: Vec<u8>,
    lengths: Vec<usize>,
    writer: MemberWriter,
}

impl Packing {
    fn new() -> Packing {
        let (share, members, lengths) = (Vec::new(), Vec::new(), Vec::new());
        Packing { share, members, lengths, writer: MemberWriter::new(LEVEL) }
    }

    fn compress(&mut self) {
        self.members.clear();
        self.lengths.clear();
        for piece in self.share.chunks(PIECE) {
            let before = self.members.len();
            self.writer.write(piece, &mut self.members);
            self.lengths.push(self.members.len() - before);
        }
    }
}

/// Compresses what `from` gives, and hands it on a few pieces at a time.
///
/// # Errors
/// Reading's, and those of `take`.
pub fn write<E: From<ObjectError>>(
    from: &mut dyn Read,
    archived: Timestamp,
    take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    write_on(cores.min(LANES_MAX), from, archived, take)
}

/// The same on so many threads: where several files are on their way, each has one.
///
/// # Errors
/// As [`write()`].
pub fn write_on<E: From<ObjectError>>(
    threads: usize,
    from: &mut dyn Read,
    archived: Timestamp,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let (mut hash, mut length, mut table) = (blake3::Hasher::new(), 0_u64, Vec::new());
    let mut lanes: Vec<Packing> = (0..threads.max(1)).map(|_| Packing::new()).collect();
    loop {
        let mut filled = 0;
        for lane in &mut lanes {
            lane.share.clear();
            from.take(SHARE as u64).read_to_end(&mut lane.share).map_err(ObjectError::In)?;
            if lane.share.is_empty() {
                break;
            }
            filled += 1;
        }
        if filled == 0 {
            break;
        }
        all_at_once(&mut lanes[..filled], Packing::compress);
        for lane in &lanes[..filled] {
            hash.update(&lane.share);
            length += lane.share.len() as u64;
            for length in &lane.lengths {
                table.extend_from_slice(&(*length as u32).to_le_bytes());
            }
            take(&lane.members)?;
        }
    }
    if table.len() > TABLE_MAX {
        let cause = io::Error::new(io::ErrorKind::FileTooLarge, "it is no file of the write-ahead log");
        return Err(ObjectError::In(cause).into());
    }
    take(&end(length, archived, &table, hash.finalize().as_bytes()))?;
    Ok(length)
}

fn end(length: u64, archived: Timestamp, table: &[u8], hash: &[u8; 32]) -> Vec<u8> {
    let mut out = Vec::new();
    stored_member(&[], Some(table), &mut out);
    let mut says = vec![FORMAT];
    says.extend_from_slice(&length.to_le_bytes());
    says.extend_from_slice(&archived.as_microsecond().to_le_bytes());
    says.extend_from_slice(&(table.len() as u32).to_le_bytes());
    says.extend_from_slice(hash);
    stored_member(&[], Some(&says), &mut out);
    out
}

/// What an object says of itself; reads its last bytes only.
///
/// # Errors
/// When it says nothing that can be understood.
pub fn closing(file: &dyn ReadAt) -> Result<Closing, ObjectError> {
    const TORN: ObjectError = ObjectError::Damaged("its end is missing");
    let offset = file.size().map_err(of_read)?.checked_sub(CLOSING as u64).ok_or(TORN)?;
    let bytes = file.read_at(offset, CLOSING).map_err(of_read)?;
    let (body, own) = gzip::parse_header(&bytes).map_err(|_| TORN)?;
    let says = own.and_then(|own| bytes.get(own)).ok_or(TORN)?;
    match says.first() {
        Some(&FORMAT) if says.len() == SAYS && body + 13 == bytes.len() => {}
        Some(&format) if format > FORMAT => return Err(ObjectError::Newer(format)),
        _ => return Err(TORN),
    }
    let word =
        |at: usize| says[at..at + 8].iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let table = says[17..21].iter().rev().fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
    let mut hash = [0; 32];
    hash.copy_from_slice(&says[21..]);
    let archived = Timestamp::from_microsecond(word(9) as i64).map_err(|_| TORN)?;
    Ok(Closing { length: word(1), archived, table, hash })
}

/// Decodes an object, checks it, and hands on what it holds a few pieces at a time.
///
/// # Errors
/// When it is not what was archived; then what was handed on is to be thrown away.
pub fn read(
    file: &dyn ReadAt,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Closing, ObjectError> {
    let closing = closing(file)?;
    let lengths = table(file, &closing)?;
    let (mut hash, mut length, mut offset) = (blake3::Hasher::new(), 0_u64, 0_u64);
    // On one thread: a segment decodes in less time than it takes to wait for another.
    let (mut decoder, mut piece) = (Decompressor::new(), Vec::new());
    for member in lengths {
        let bytes = file.read_at(offset, member).map_err(of_read)?;
        offset += member as u64;
        gzip::decode(&mut decoder, &bytes, PIECE, &mut piece)
            .map_err(|_| ObjectError::Damaged("a part of it does not decode"))?;
        hash.update(&piece);
        length += piece.len() as u64;
        take(&piece).map_err(ObjectError::Out)?;
    }
    if length != closing.length || *hash.finalize().as_bytes() != closing.hash {
        return Err(ObjectError::Damaged("it decodes to something else than was archived"));
    }
    Ok(closing)
}

/// The compressed lengths of the members that hold something.
fn table(file: &dyn ReadAt, closing: &Closing) -> Result<Vec<usize>, ObjectError> {
    const BAD: ObjectError = ObjectError::Damaged("its table is");
    if closing.table > TABLE_MAX || !closing.table.is_multiple_of(4) {
        return Err(BAD);
    }
    let bytes = closing.table + NOTHING;
    let start = file.size().map_err(of_read)?.checked_sub((CLOSING + bytes) as u64).ok_or(BAD)?;
    let member = file.read_at(start, bytes).map_err(of_read)?;
    let (_, own) = gzip::parse_header(&member).map_err(|_| BAD)?;
    let table =
        own.and_then(|own| member.get(own)).filter(|table| table.len() == closing.table).ok_or(BAD)?;
    let word = |word: &[u8]| word.iter().rev().fold(0_usize, |all, byte| all << 8 | usize::from(*byte));
    let lengths: Vec<usize> = table.chunks_exact(4).map(word).collect();
    if lengths.iter().map(|length| *length as u64).sum::<u64>() == start { Ok(lengths) } else { Err(BAD) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Pages that compress and pages that do not, as in a segment.
    fn content(length: usize) -> Vec<u8> {
        let mut chance = 1_u64;
        let mut byte = |at: usize| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if (at / 8192).is_multiple_of(3) { (chance >> 56) as u8 } else { (at / 64) as u8 }
        };
        (0..length).map(&mut byte).collect()
    }

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut object = Vec::new();
        let archived = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        let take = |bytes: &[u8]| {
            object.extend_from_slice(bytes);
            Ok::<(), ObjectError>(())
        };
        assert_eq!(write(&mut &*content, archived, take).unwrap(), content.len() as u64);
        object
    }

    /// What an object gives back.
    fn unpacked(object: &[u8]) -> Result<Vec<u8>, ObjectError> {
        let mut out = Vec::new();
        let closing = read(&Memory(object.to_vec()), |bytes| {
            out.extend_from_slice(bytes);
            Ok(())
        })?;
        assert_eq!(closing.length, out.len() as u64);
        Ok(out)
    }

    #[test]
    fn what_was_packed_comes_back_and_gzip_reads_it_too() {
        for length in [0, 1, 41, PIECE - 1, PIECE, PIECE + 1, SHARE, SHARE + 3, LANES_MAX * SHARE + 1] {
            let content = content(length);
            let object = packed(&content);
            assert!(unpacked(&object).unwrap() == content, "{length}");
            let mut by_gzip = Vec::new();
            flate2::read::MultiGzDecoder::new(&*object).read_to_end(&mut by_gzip).unwrap();
            assert!(by_gzip == content, "{length}");
        }
    }

    #[test]
    fn a_damaged_end_gives_back_the_content_or_nothing() {
        let content = content(2 * PIECE);
        let object = packed(&content);
        for at in object.len() - CLOSING - NOTHING - 8..object.len() {
            let mut damaged = object.clone();
            damaged[at] ^= 0x10;
            // The moment and gzip's own trailer of nothing are told by no checksum: the content is whole all the same.
            if let Ok(back) = unpacked(&damaged) {
                assert!(back == content, "byte {at}");
            }
        }
        assert!(matches!(unpacked(&object[..40]), Err(ObjectError::Damaged(_))));
        assert!(matches!(unpacked(&[]), Err(ObjectError::Damaged(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn damage_is_never_handed_on_as_whole(
            length in 0..PIECE + PIECE / 2, at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>(),
        ) {
            let content = content(length);
            let mut object = packed(&content);
            let at = at.index(object.len() - CLOSING);
            if cut {
                object.truncate(at);
            } else {
                object[at] ^= 1 << bit;
            }
            if let Ok(back) = unpacked(&object) {
                prop_assert!(back == content);
            }
        }
    }
}
