//! An archived file of the log: a gzip file that ends by saying what it must decode to.
//!
//! Members of 1 MiB, decoded; then a member of nothing with the compressed lengths of those before it, then one of nothing
//! with format, decoded length, BLAKE3 of the decoded bytes, the moment of archiving, and the first one's length. `gzip -d`
//! reads it like any other.

use std::io::{self, Read};
use std::num::NonZero;
use std::thread;

use jiff::Timestamp;
use libdeflater::Decompressor;

use crate::artefact::gzip::{self, MemberWriter, stored_member};
use crate::store::{Name, ReadStore, StoreError};

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

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` for each of `items`, on all cores, in pieces that follow one another.
fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> Vec<R> + Sync) -> Vec<R> {
    let each = items.len().div_ceil(cores()).max(1);
    if items.len() <= each {
        return work(items);
    }
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.chunks(each).map(|items| scope.spawn(move || work(items))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

/// Compresses what `from` gives, and hands it on a few pieces at a time.
///
/// # Errors
/// Reading's, and those of `take`.
pub fn write<E: From<ObjectError>>(
    from: &mut dyn Read,
    archived: Timestamp,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let (mut hash, mut length, mut table) = (blake3::Hasher::new(), 0_u64, Vec::new());
    loop {
        let mut pieces = Vec::new();
        while pieces.len() < 8 * cores() {
            let mut piece = Vec::with_capacity(PIECE);
            from.take(PIECE as u64).read_to_end(&mut piece).map_err(ObjectError::In)?;
            if piece.is_empty() {
                break;
            }
            pieces.push(piece);
        }
        if pieces.is_empty() {
            break;
        }
        for piece in &pieces {
            hash.update(piece);
            length += piece.len() as u64;
        }
        let members = on_all_cores(&pieces, |pieces| {
            let mut writer = MemberWriter::new(LEVEL);
            let member = |piece: &Vec<u8>| {
                let mut member = Vec::new();
                writer.write(piece, &mut member);
                member
            };
            pieces.iter().map(member).collect()
        });
        for member in members {
            table.extend_from_slice(&(member.len() as u32).to_le_bytes());
            take(&member)?;
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
pub fn closing(store: &dyn ReadStore, name: &Name, size: u64) -> Result<Closing, ObjectError> {
    const TORN: ObjectError = ObjectError::Damaged("its end is missing");
    let offset = size.checked_sub(CLOSING as u64).ok_or(TORN)?;
    let bytes = store.read_range(name, offset, CLOSING)?;
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
    store: &dyn ReadStore,
    name: &Name,
    size: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Closing, ObjectError> {
    let closing = closing(store, name, size)?;
    let lengths = table(store, name, size, &closing)?;
    let (mut hash, mut length, mut offset) = (blake3::Hasher::new(), 0_u64, 0_u64);
    for lengths in lengths.chunks(8 * cores()) {
        let bytes = store.read_range(name, offset, lengths.iter().sum())?;
        offset += bytes.len() as u64;
        let mut rest = bytes.as_slice();
        let mut members = Vec::with_capacity(lengths.len());
        for &length in lengths {
            let (member, after) =
                rest.split_at_checked(length).ok_or(ObjectError::Damaged("it is cut short"))?;
            members.push(member);
            rest = after;
        }
        for piece in on_all_cores(&members, decode) {
            let piece = piece.ok_or(ObjectError::Damaged("a part of it does not decode"))?;
            hash.update(&piece);
            length += piece.len() as u64;
            take(&piece).map_err(ObjectError::Out)?;
        }
    }
    if length != closing.length || *hash.finalize().as_bytes() != closing.hash {
        return Err(ObjectError::Damaged("it decodes to something else than was archived"));
    }
    Ok(closing)
}

/// The compressed lengths of the members that hold something.
fn table(
    store: &dyn ReadStore,
    name: &Name,
    size: u64,
    closing: &Closing,
) -> Result<Vec<usize>, ObjectError> {
    const BAD: ObjectError = ObjectError::Damaged("its table is");
    if closing.table > TABLE_MAX || !closing.table.is_multiple_of(4) {
        return Err(BAD);
    }
    let bytes = closing.table + NOTHING;
    let start = size.checked_sub((CLOSING + bytes) as u64).ok_or(BAD)?;
    let member = store.read_range(name, start, bytes)?;
    let (_, own) = gzip::parse_header(&member).map_err(|_| BAD)?;
    let table =
        own.and_then(|own| member.get(own)).filter(|table| table.len() == closing.table).ok_or(BAD)?;
    let word = |word: &[u8]| word.iter().rev().fold(0_usize, |all, byte| all << 8 | usize::from(*byte));
    let lengths: Vec<usize> = table.chunks_exact(4).map(word).collect();
    if lengths.iter().map(|length| *length as u64).sum::<u64>() == start { Ok(lengths) } else { Err(BAD) }
}

fn decode(members: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    let mut decoder = Decompressor::new();
    let decoded = |member: &&[u8]| {
        let mut piece = Vec::new();
        gzip::decode(&mut decoder, member, PIECE, &mut piece).ok().map(|()| piece)
    };
    members.iter().map(decoded).collect()
}
