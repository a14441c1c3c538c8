//! The end of an artefact: index, end-of-archive blocks, closing member.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::iter::Peekable;

use super::blocks::{Block, Blocks, LEVEL};
use super::fate::Fate;
use super::feed::Came;
use super::keep::{Keep, Runs};
use super::listing::Listing;
use super::plan::{Links, Wholes};
use super::scratch::{Members, Slot};
use super::work::TROUBLE;
use super::write::Writer;
use super::{Material, PackError, Tally};
use crate::artefact::columns::BlockKind;
use crate::artefact::framing::{Closing, closing};
use crate::artefact::gzip::Likely;
use crate::artefact::index::{
    ENTRIES_PER_BLOCK, MEMBERS_PER_BLOCK, Member, Table, write_entries, write_members, write_table,
};
use crate::artefact::member::{self, Codec};
use crate::artefact::tarhead::{BLOCK, Head, Owners, padding};
use crate::artefact::{Entry, Flags, INDEX_PATH, IndexPlace, Kind, ReadError, Root, tarhead};
use crate::scan::{Doubts, Scanned};
use backplan_host::tree::path_order;

/// A block of entries with longer texts than this ends early: blocks are members, and have a largest size.
const TEXT_PER_BLOCK: usize = 1 << 20;

/// What became of the end.
pub struct End {
    /// The digest.
    pub root: Root,
    /// Where the index is.
    pub index: IndexPlace,
    /// Bytes of the artefact, encrypted where it is.
    pub size: u64,
    /// SHA-256 of them.
    pub sha256: Option<[u8; 32]>,
}

/// What the index says of a source, and what it does not.
#[derive(Debug, Default)]
pub struct Indexed {
    /// Entries.
    pub entries: u64,
    /// What was to be in it.
    pub seen: Tally,
    /// What is in it, or in what it rests on.
    pub arrived: Tally,
    /// Entries that are not as the scan saw them.
    pub doubts: Doubts,
}

impl Indexed {
    /// Counts an entry that was packed, and gives its row.
    fn packed(
        &mut self,
        listing: &Listing,
        (number, seen): (u64, Scanned),
        slot: &Slot,
        (links, wholes): (&Links, &Wholes),
    ) -> Entry {
        self.arrived.add(slot.kind, arrived(&seen, slot));
        if listing.is_scan() && is_doubtful(&seen, slot) {
            self.doubts.add(number);
        }
        let whole = wholes.get(&slot.number).copied().unwrap_or_default();
        Entry { whole, ..entry(listing, seen, slot, links) }
    }

    /// Counts one that nobody listed before it came.
    fn came(&mut self, slot: &Slot) {
        self.seen.add(slot.kind, slot.payload);
        self.arrived.add(slot.kind, slot.payload);
        self.entries += 1;
    }
}

/// Writes everything behind the last member.
///
/// # Errors
/// When sink, scratch, a scan or the base fails.
pub fn finish(
    writer: Writer<'_>,
    material: &Material<'_>,
    (links, wholes): (&Links, &Wholes),
    came: &mut HashMap<usize, Came>,
) -> Result<(End, Vec<Indexed>), PackError> {
    let scratch = material.options.scratch.as_path();
    let failed = |cause| PackError::Scratch { path: scratch.to_path_buf(), cause };
    let Writer { mut output, slots, members, mut runs, .. } = writer;
    runs.sort();
    let mut blocks = Blocks::create(scratch, material.options.codec).map_err(failed)?;
    let mut rows = Rows { blocks: &mut blocks, rows: Vec::with_capacity(ENTRIES_PER_BLOCK), text: 0 };
    let at_random = slots.at_random().map_err(failed)?;
    let mut slots = slots.read().map_err(failed)?;
    let mut kept = Kept::new(material.keep, &runs);
    let mut indexed = Vec::with_capacity(material.listings.len());
    for (source, (listing, fates)) in material.listings.iter().zip(material.fates).enumerate() {
        let of_source = |cause| PackError::Input { source_name: listing.source.clone(), cause };
        let mut found = Indexed::default();
        for (number, seen) in (0..).zip(listing.entries().map_err(of_source)?) {
            let seen = seen.map_err(of_source)?;
            let bytes = if seen.further_name { 0 } else { seen.bytes_to_read() };
            let kind = if seen.further_name { Kind::HardLink } else { seen.kind };
            found.seen.add(kind, bytes);
            let row = match slots.next().transpose().map_err(failed)?.flatten() {
                Some(slot) => Some(found.packed(listing, (number, seen), &slot, (links, wholes))),
                None if fates.of(number) == Fate::Skip => {
                    found.arrived.add(kind, bytes);
                    kept.find(&listing.path_of(&seen.path))?
                }
                None => {
                    if listing.is_scan() {
                        found.doubts.add(number);
                    }
                    None
                }
            };
            if let Some(row) = row {
                found.entries += 1;
                rows.push(row).map_err(failed)?;
            }
        }
        for (path, number) in came.get_mut(&source).map_or(Ok(&[][..]), Came::sorted).map_err(of_source)? {
            let slot = at_random.get(*number).map_err(failed)?;
            let slot =
                slot.ok_or_else(|| failed(io::Error::other("an entry that was packed is not known of")))?;
            found.came(&slot);
            rows.push(recorded(path.clone(), &slot)).map_err(failed)?;
        }
        indexed.push(found);
    }
    rows.flush().map_err(failed)?;
    push_members(&mut blocks, members).map_err(failed)?;
    let (root, index) = end(&mut output, blocks, (material.options.codec, &material.options.run), failed)?;
    let (size, sha256) = output.finish()?;
    Ok((End { root, index, size, sha256 }, indexed))
}

/// Entries on their way into blocks.
struct Rows<'a> {
    blocks: &'a mut Blocks,
    rows: Vec<Entry>,
    text: usize,
}

impl Rows<'_> {
    fn push(&mut self, row: Entry) -> io::Result<()> {
        self.text += row.path.len() + row.link.len();
        self.rows.push(row);
        if self.rows.len() == ENTRIES_PER_BLOCK || self.text > TEXT_PER_BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.text = 0;
        push_entries(self.blocks, &mut self.rows)
    }
}

fn push_members(blocks: &mut Blocks, members: Members) -> io::Result<()> {
    let mut rows = Vec::with_capacity(MEMBERS_PER_BLOCK);
    for member in members.read()? {
        rows.push(member?);
        if rows.len() == MEMBERS_PER_BLOCK {
            blocks.push(members_block(&rows))?;
            rows.clear();
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    blocks.push(members_block(&rows))
}

fn members_block(rows: &[Member]) -> Block {
    let (kind, count) = (BlockKind::Members, rows.len());
    Block { kind, bytes: write_members(rows), count, path: Vec::new() }
}

type BaseRows<'a> = Peekable<Box<dyn Iterator<Item = Result<Entry, ReadError>> + 'a>>;

/// Entries of the base whose members were copied.
struct Kept<'a> {
    rows: Option<BaseRows<'a>>,
    runs: &'a Runs,
}

impl<'a> Kept<'a> {
    fn new(keep: Option<&'a Keep>, runs: &'a Runs) -> Kept<'a> {
        let rows = |keep: &'a Keep| {
            let rows: Box<dyn Iterator<Item = _>> = Box::new(keep.base.artefact.entries());
            rows.peekable()
        };
        Kept { rows: keep.map(rows), runs }
    }

    /// The entry at a path, with the place it has now; paths are asked for in order. `None`: nothing is copied at all.
    fn find(&mut self, path: &[u8]) -> Result<Option<Entry>, PackError> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let before = |row: &Result<Entry, ReadError>| {
            row.as_ref().is_ok_and(|row| path_order(&row.path, path).is_lt())
        };
        while rows.next_if(before).is_some() {}
        let row = rows.next().transpose().map_err(PackError::Base)?.filter(|row| row.path == path);
        let gone = || {
            let what = format!("what it says of `{}` changed while it was read", path.escape_ascii());
            PackError::Base(ReadError::damaged(0, what))
        };
        row.and_then(|row| self.runs.translate(row)).map(Some).ok_or_else(gone)
    }
}

/// Bytes that came of an entry: none where the system failed to read them.
fn arrived(seen: &Scanned, slot: &Slot) -> u64 {
    let is_spoilt = slot.flags.has(Flags::DAMAGED);
    match slot.kind {
        Kind::File if !is_spoilt && slot.size == seen.size => seen.bytes_to_read(),
        Kind::File if !is_spoilt && slot.flags.has(Flags::PATCH) => slot.size,
        Kind::File if !is_spoilt => slot.payload,
        _ => 0,
    }
}

/// Whether an entry was not packed as the scan saw it.
fn is_doubtful(seen: &Scanned, slot: &Slot) -> bool {
    let spoilt = [Flags::GREW, Flags::SHRANK, Flags::DAMAGED, TROUBLE];
    spoilt.iter().any(|flag| slot.flags.has(*flag))
        || (slot.mode, slot.uid, slot.gid, slot.mtime) != (seen.mode, seen.uid, seen.gid, seen.mtime)
        || (slot.kind == Kind::File && slot.size != seen.size)
}

fn push_entries(blocks: &mut Blocks, rows: &mut Vec<Entry>) -> io::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let (path, count) = (first.path.clone(), rows.len());
    blocks.push(Block { kind: BlockKind::Entries, bytes: write_entries(rows), count, path })?;
    rows.clear();
    Ok(())
}

fn entry(listing: &Listing, seen: Scanned, slot: &Slot, links: &Links) -> Entry {
    let link = match slot.kind {
        Kind::HardLink => links.get(&slot.number).map_or_else(Vec::new, |link| link.to_vec()),
        Kind::Symlink => seen.link,
        _ => Vec::new(),
    };
    Entry { link, device: seen.device, ..recorded(listing.path_of(&seen.path), slot) }
}

/// An entry as it was packed, of a kind that has neither target nor device.
fn recorded(path: Vec<u8>, slot: &Slot) -> Entry {
    Entry {
        path,
        kind: slot.kind,
        mode: slot.mode,
        uid: slot.uid,
        gid: slot.gid,
        mtime: slot.mtime.0,
        nanos: slot.mtime.1,
        size: slot.size,
        payload: slot.payload,
        place: slot.place,
        span: slot.span,
        member: slot.member,
        start: slot.start,
        hash: slot.hash,
        whole: [0; 32],
        flags: Flags(slot.flags.0 & !TROUBLE.0),
        link: Vec::new(),
        device: (0, 0),
    }
}

/// The tar header of the index: the same bytes for the same length.
pub fn index_header(codec: Codec, length: u64) -> Vec<u8> {
    let head = Head {
        path: INDEX_PATH.to_vec(),
        kind: Kind::File,
        mode: 0o600,
        uid: 0,
        gid: 0,
        mtime: 0,
        payload: length,
        sparse: None,
        link: Vec::new(),
        device: (0, 0),
        attributes: Vec::new(),
        moved: Vec::new(),
    };
    let (mut header, mut member) = (Vec::new(), Vec::new());
    tarhead::write(&head, Owners::default(), false, &mut header);
    codec.stored(&header, &mut member);
    member
}

/// What follows the index: padding of its length, and the end-of-archive blocks.
pub fn end_of_archive(codec: Codec, length: u64) -> Vec<u8> {
    let mut member = Vec::new();
    codec.stored(&vec![0; padding(length) + 2 * BLOCK], &mut member);
    member
}

fn end(
    output: &mut super::output::Output<'_>,
    blocks: Blocks,
    (codec, run): (Codec, &str),
    failed: impl Fn(io::Error) -> PackError,
) -> Result<(Root, IndexPlace), PackError> {
    let (file, written, mut places, decoded) = blocks.finish().map_err(&failed)?;
    let mut members = member::Writer::new(codec, LEVEL);
    let data_end = output.offset;
    let offset = data_end + index_header(codec, 0).len() as u64;
    places.iter_mut().for_each(|place| place.offset += offset);
    let table = write_table(&Table { run: run.to_string(), data_end, blocks: places });
    let mut member = Vec::new();
    members.write(&table, Likely::Plain, &mut member);
    let length = decoded + table.len() as u64;
    output.write(&index_header(codec, length))?;
    let mut from = BufReader::new(file.take(written));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer).map_err(&failed)?;
        if read == 0 {
            break;
        }
        output.write(&buffer[..read])?;
    }
    let index = IndexPlace { offset, table: output.offset, table_len: member.len() as u32 };
    let root = Root(*blake3::hash(&member).as_bytes());
    output.write(&member)?;
    output.write(&end_of_archive(codec, length))?;
    output.write(&closing(
        codec,
        &Closing { table: index.table, table_len: index.table_len, table_decoded: table.len() as u32, root },
    ))?;
    Ok((root, index))
}
