//! The end of an artefact: index, end-of-archive blocks, closing member.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::PackError;
use super::listing::Listing;
use super::scratch::{Slot, unnamed};
use super::write::Writer;
use crate::artefact::columns::BlockKind;
use crate::artefact::framing::{Closing, closing};
use crate::artefact::gzip::{MemberWriter, stored_member};
use crate::artefact::index::{
    BlockPlace, ENTRIES_PER_BLOCK, MEMBERS_PER_BLOCK, Table, write_entries, write_members, write_table,
};
use crate::artefact::tarhead::{BLOCK, Head, Owners, padding};
use crate::artefact::{Entry, INDEX_PATH, IndexPlace, Kind, Root, tarhead};
use crate::scan::Scanned;

/// Index blocks are compressed at this level whatever the artefact's: they are small.
const LEVEL: u8 = 6;

/// A block of entries with longer texts than this ends early: blocks are members, and have a largest size.
const TEXT_PER_BLOCK: usize = 1 << 20;

/// Blocks on their way, compressed, in a temporary file: the index's length must be known before it is written.
struct Blocks {
    file: BufWriter<File>,
    written: u64,
    decoded: u64,
    members: MemberWriter,
    places: Vec<BlockPlace>,
    buffer: Vec<u8>,
}

impl Blocks {
    fn create(folder: &Path) -> io::Result<Blocks> {
        Ok(Blocks {
            file: BufWriter::new(unnamed(folder)?),
            written: 0,
            decoded: 0,
            members: MemberWriter::new(LEVEL),
            places: Vec::new(),
            buffer: Vec::new(),
        })
    }

    fn push(&mut self, kind: BlockKind, block: &[u8], count: usize, path: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        self.members.write(block, &mut self.buffer);
        self.file.write_all(&self.buffer)?;
        let earlier = self.places.last().filter(|last| last.kind == kind as u8);
        self.places.push(BlockPlace {
            kind: kind as u8,
            offset: self.written,
            len: self.buffer.len() as u32,
            decoded: block.len() as u32,
            hash: *blake3::hash(&self.buffer).as_bytes(),
            count: count as u32,
            first: earlier.map_or(0, |last| last.first + u64::from(last.count)),
            path: path.to_vec(),
        });
        self.written += self.buffer.len() as u64;
        self.decoded += block.len() as u64;
        Ok(())
    }
}

/// What became of the end.
pub struct End {
    /// The digest.
    pub root: Root,
    /// Where the index is.
    pub index: IndexPlace,
    /// Bytes of the artefact.
    pub size: u64,
    /// SHA-256 of it.
    pub sha256: Option<[u8; 32]>,
}

/// Writes everything behind the last member.
///
/// # Errors
/// When sink, scratch or a scan fails.
pub fn finish(
    writer: Writer<'_>,
    listings: &[Listing],
    links: &HashMap<u64, Arc<[u8]>>,
    run: &str,
    scratch: &Path,
) -> Result<End, PackError> {
    let failed = |cause| PackError::Scratch { path: scratch.to_path_buf(), cause };
    let Writer { mut output, slots, members, .. } = writer;
    let mut blocks = Blocks::create(scratch).map_err(failed)?;
    let mut slots = slots.read().map_err(failed)?;
    let mut rows = Vec::with_capacity(ENTRIES_PER_BLOCK);
    let mut text = 0;
    for listing in listings {
        let of_source = |cause| PackError::Input { source_name: listing.source.clone(), cause };
        for seen in listing.entries().map_err(of_source)? {
            let seen = seen.map_err(of_source)?;
            let Some(slot) = slots.next().transpose().map_err(failed)?.flatten() else { continue };
            let row = entry(listing, seen, &slot, links);
            text += row.path.len() + row.link.len();
            rows.push(row);
            if rows.len() == ENTRIES_PER_BLOCK || text > TEXT_PER_BLOCK {
                text = 0;
                push_entries(&mut blocks, &mut rows).map_err(failed)?;
            }
        }
    }
    push_entries(&mut blocks, &mut rows).map_err(failed)?;
    let mut rows = Vec::with_capacity(MEMBERS_PER_BLOCK);
    for member in members.read().map_err(failed)? {
        rows.push(member.map_err(failed)?);
        if rows.len() == MEMBERS_PER_BLOCK {
            blocks.push(BlockKind::Members, &write_members(&rows), rows.len(), b"").map_err(failed)?;
            rows.clear();
        }
    }
    if !rows.is_empty() {
        blocks.push(BlockKind::Members, &write_members(&rows), rows.len(), b"").map_err(failed)?;
    }
    drop(rows);
    end(&mut output, blocks, run, failed).map(|(root, index, size)| End {
        root,
        index,
        size,
        sha256: output.sha256(),
    })
}

fn push_entries(blocks: &mut Blocks, rows: &mut Vec<Entry>) -> io::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let path = first.path.clone();
    blocks.push(BlockKind::Entries, &write_entries(rows), rows.len(), &path)?;
    rows.clear();
    Ok(())
}

fn entry(listing: &Listing, seen: Scanned, slot: &Slot, links: &HashMap<u64, Arc<[u8]>>) -> Entry {
    let link = match slot.kind {
        Kind::HardLink => links.get(&slot.number).map_or_else(Vec::new, |link| link.to_vec()),
        Kind::Symlink => seen.link,
        _ => Vec::new(),
    };
    Entry {
        path: listing.path_of(&seen.path),
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
        flags: slot.flags,
        link,
        device: seen.device,
    }
}

/// The tar header of the index: the same bytes for the same length.
pub fn index_header(length: u64) -> Vec<u8> {
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
    };
    let (mut header, mut member) = (Vec::new(), Vec::new());
    tarhead::write(&head, Owners::default(), false, &mut header);
    stored_member(&header, None, &mut member);
    member
}

/// What follows the index: padding of its length, and the end-of-archive blocks.
pub fn end_of_archive(length: u64) -> Vec<u8> {
    let mut member = Vec::new();
    stored_member(&vec![0; padding(length) + 2 * BLOCK], None, &mut member);
    member
}

fn end(
    output: &mut super::write::Output<'_>,
    blocks: Blocks,
    run: &str,
    failed: impl Fn(io::Error) -> PackError,
) -> Result<(Root, IndexPlace, u64), PackError> {
    let Blocks { file, written, decoded, mut members, mut places, .. } = blocks;
    let data_end = output.offset;
    let offset = data_end + index_header(0).len() as u64;
    places.iter_mut().for_each(|place| place.offset += offset);
    let table = write_table(&Table { run: run.to_string(), data_end, blocks: places });
    let mut member = Vec::new();
    members.write(&table, &mut member);
    let length = decoded + table.len() as u64;
    output.write(&index_header(length))?;
    let mut file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.seek(SeekFrom::Start(0)).map_err(&failed)?;
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
    output.write(&end_of_archive(length))?;
    output.write(&closing(&Closing {
        table: index.table,
        table_len: index.table_len,
        table_decoded: table.len() as u32,
        root,
    }))?;
    Ok((root, index, output.offset))
}
