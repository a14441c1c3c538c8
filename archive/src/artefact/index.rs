//! Entries, members and the table as blocks.

use super::columns::{BadBlock, Block, BlockKind, BlockWriter};
use super::{Entry, Flags, Kind};

/// Entries in a block.
pub const ENTRIES_PER_BLOCK: usize = 1000;
/// Members in a block.
pub const MEMBERS_PER_BLOCK: usize = 4096;
/// No block has more rows, whatever it says.
const ROWS_MAX: usize = 1 << 16;
/// Nor has a table.
const TABLE_ROWS_MAX: usize = 1 << 22;

mod column {
    pub const SHARED: u16 = 1;
    pub const SUFFIX_LEN: u16 = 2;
    pub const SUFFIX: u16 = 3;
    pub const KIND: u16 = 4;
    pub const MODE: u16 = 5;
    pub const UID: u16 = 6;
    pub const GID: u16 = 7;
    pub const MTIME: u16 = 8;
    pub const NANOS: u16 = 9;
    pub const SIZE: u16 = 10;
    pub const PAYLOAD: u16 = 11;
    pub const PLACE: u16 = 12;
    pub const SPAN: u16 = 13;
    pub const MEMBER: u16 = 14;
    pub const START: u16 = 15;
    pub const HASH: u16 = 16;
    pub const FLAGS: u16 = 17;
    pub const LINK_LEN: u16 = 18;
    pub const LINK: u16 = 19;
    pub const MAJOR: u16 = 20;
    pub const MINOR: u16 = 21;
    /// To be known: whoever does not know it would take what changed of a file for the file.
    pub const WHOLE: u16 = 0x8000 | 22;
}

/// Entries, in path order, as a block.
pub fn write_entries(entries: &[Entry]) -> Vec<u8> {
    let mut block = BlockWriter::new(BlockKind::Entries, entries.len());
    let mut last: &[u8] = &[];
    let mut shared = Vec::with_capacity(entries.len());
    let mut suffixes = Vec::new();
    for entry in entries {
        let same = entry.path.iter().zip(last).take_while(|(a, b)| a == b).count();
        suffixes.extend_from_slice(&entry.path[same..]);
        shared.push(same);
        last = &entry.path;
    }
    let each = || entries.iter();
    let lengths = each().zip(&shared).map(|(entry, shared)| (entry.path.len() - shared) as u32);
    block.fixed(column::SHARED, shared.iter().map(|shared| (*shared as u32).to_le_bytes()));
    block.fixed(column::SUFFIX_LEN, lengths.map(u32::to_le_bytes));
    block.bytes(column::SUFFIX, suffixes);
    block.fixed(column::KIND, each().map(|entry| [entry.kind as u8]));
    block.fixed(column::MODE, each().map(|entry| (entry.mode as u16).to_le_bytes()));
    block.fixed(column::UID, each().map(|entry| entry.uid.to_le_bytes()));
    block.fixed(column::GID, each().map(|entry| entry.gid.to_le_bytes()));
    block.fixed(column::MTIME, each().map(|entry| entry.mtime.to_le_bytes()));
    block.fixed(column::NANOS, each().map(|entry| entry.nanos.to_le_bytes()));
    block.fixed(column::SIZE, each().map(|entry| entry.size.to_le_bytes()));
    block.fixed(column::PAYLOAD, each().map(|entry| entry.payload.wrapping_sub(entry.size).to_le_bytes()));
    block.fixed(column::PLACE, each().map(|entry| entry.place.to_le_bytes()));
    block.fixed(column::SPAN, each().map(|entry| entry.span.to_le_bytes()));
    block.fixed(column::MEMBER, each().map(|entry| (entry.member as u32).to_le_bytes()));
    block.fixed(column::START, each().map(|entry| entry.start.to_le_bytes()));
    block.fixed(column::HASH, each().map(|entry| entry.hash));
    block.fixed(column::FLAGS, each().map(|entry| entry.flags.0.to_le_bytes()));
    block.fixed(column::LINK_LEN, each().map(|entry| (entry.link.len() as u32).to_le_bytes()));
    block.bytes(column::LINK, each().flat_map(|entry| entry.link.iter().copied()).collect());
    block.fixed(column::MAJOR, each().map(|entry| entry.device.0.to_le_bytes()));
    block.fixed(column::MINOR, each().map(|entry| entry.device.1.to_le_bytes()));
    block.fixed(column::WHOLE, each().map(|entry| entry.whole));
    block.finish()
}

/// The entries of a block, in path order.
///
/// # Errors
/// When the block is damaged: also when paths are not sorted, or not paths.
pub fn read_entries(bytes: Vec<u8>) -> Result<Vec<Entry>, BadBlock> {
    let block = Block::parse(bytes, BlockKind::Entries, &[column::WHOLE])?;
    if block.count > ROWS_MAX {
        return Err(BadBlock::Damaged);
    }
    let shared = block.fixed::<4>(column::SHARED)?;
    let suffixes = block.texts(column::SUFFIX_LEN, column::SUFFIX)?;
    let links = block.texts(column::LINK_LEN, column::LINK)?;
    let (kind, mode) = (block.fixed::<1>(column::KIND)?, block.fixed::<2>(column::MODE)?);
    let (uid, gid) = (block.fixed::<4>(column::UID)?, block.fixed::<4>(column::GID)?);
    let (mtime, nanos) = (block.fixed::<8>(column::MTIME)?, block.fixed::<4>(column::NANOS)?);
    let (size, payload) = (block.fixed::<8>(column::SIZE)?, block.fixed::<8>(column::PAYLOAD)?);
    let (place, span) = (block.fixed::<8>(column::PLACE)?, block.fixed::<8>(column::SPAN)?);
    let (member, start) = (block.fixed::<4>(column::MEMBER)?, block.fixed::<4>(column::START)?);
    let (hash, flags) = (block.fixed::<32>(column::HASH)?, block.fixed::<4>(column::FLAGS)?);
    let whole = block.fixed::<32>(column::WHOLE)?;
    let (major, minor) = (block.fixed::<4>(column::MAJOR)?, block.fixed::<4>(column::MINOR)?);
    let mut entries: Vec<Entry> = Vec::with_capacity(block.count);
    for row in 0..block.count {
        let last = entries.last().map_or(&[][..], |entry| &entry.path);
        let same = u32::from_le_bytes(shared.get(row)) as usize;
        let mut path = Vec::with_capacity(same.min(last.len()) + suffixes[row].len());
        path.extend_from_slice(last.get(..same).ok_or(BadBlock::Damaged)?);
        path.extend_from_slice(suffixes[row]);
        let size = u64::from_le_bytes(size.get(row));
        entries.push(Entry {
            path,
            kind: Kind::from_number(kind.get(row)[0]).ok_or(BadBlock::Damaged)?,
            mode: u32::from(u16::from_le_bytes(mode.get(row))),
            uid: u32::from_le_bytes(uid.get(row)),
            gid: u32::from_le_bytes(gid.get(row)),
            mtime: i64::from_le_bytes(mtime.get(row)),
            nanos: u32::from_le_bytes(nanos.get(row)),
            size,
            payload: size.wrapping_add(u64::from_le_bytes(payload.get(row))),
            place: u64::from_le_bytes(place.get(row)),
            span: u64::from_le_bytes(span.get(row)),
            member: u64::from(u32::from_le_bytes(member.get(row))),
            start: u32::from_le_bytes(start.get(row)),
            hash: hash.get(row),
            whole: whole.get(row),
            flags: Flags(u32::from_le_bytes(flags.get(row))),
            link: links[row].to_vec(),
            device: (u32::from_le_bytes(major.get(row)), u32::from_le_bytes(minor.get(row))),
        });
    }
    Ok(entries)
}

/// A member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Where it starts.
    pub offset: u64,
    /// Its bytes.
    pub len: u32,
    /// What it decodes to, in bytes.
    pub decoded: u32,
    /// BLAKE3 of its bytes as they are in the file.
    pub hash: [u8; 32],
}

/// Members, in file order, as a block.
pub fn write_members(members: &[Member]) -> Vec<u8> {
    let mut block = BlockWriter::new(BlockKind::Members, members.len());
    block.fixed(1, members.iter().map(|member| member.offset.to_le_bytes()));
    block.fixed(2, members.iter().map(|member| member.len.to_le_bytes()));
    block.fixed(3, members.iter().map(|member| member.decoded.to_le_bytes()));
    block.fixed(4, members.iter().map(|member| member.hash));
    block.finish()
}

/// The members of a block.
///
/// # Errors
/// When the block is damaged.
pub fn read_members(bytes: Vec<u8>) -> Result<Vec<Member>, BadBlock> {
    let block = Block::parse(bytes, BlockKind::Members, &[])?;
    if block.count > ROWS_MAX {
        return Err(BadBlock::Damaged);
    }
    let (offset, len) = (block.fixed::<8>(1)?, block.fixed::<4>(2)?);
    let (decoded, hash) = (block.fixed::<4>(3)?, block.fixed::<32>(4)?);
    let member = |row| Member {
        offset: u64::from_le_bytes(offset.get(row)),
        len: u32::from_le_bytes(len.get(row)),
        decoded: u32::from_le_bytes(decoded.get(row)),
        hash: hash.get(row),
    };
    Ok((0..block.count).map(member).collect())
}

/// Where a block is, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlace {
    /// [`BlockKind`] as a number; an unknown one is passed over.
    pub kind: u8,
    /// Where its member starts.
    pub offset: u64,
    /// Its member's bytes.
    pub len: u32,
    /// What it decodes to, in bytes.
    pub decoded: u32,
    /// BLAKE3 of its member's bytes as they are in the file: checked before anything is decoded.
    pub hash: [u8; 32],
    /// Rows.
    pub count: u32,
    /// Number of its first row, counted over all blocks of its kind.
    pub first: u64,
    /// Its first entry's path; empty for members.
    pub path: Vec<u8>,
}

/// The table: the list of the other blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The run's id.
    pub run: String,
    /// Offset of the member with the index's own tar header: the end of all that the member blocks list.
    pub data_end: u64,
    /// The blocks, in file order: entries, then members.
    pub blocks: Vec<BlockPlace>,
}

/// The table as a block.
pub fn write_table(table: &Table) -> Vec<u8> {
    let mut block = BlockWriter::new(BlockKind::Table, table.blocks.len());
    let each = || table.blocks.iter();
    block.fixed(1, each().map(|place| [place.kind]));
    block.fixed(2, each().map(|place| place.offset.to_le_bytes()));
    block.fixed(3, each().map(|place| place.len.to_le_bytes()));
    block.fixed(4, each().map(|place| place.decoded.to_le_bytes()));
    block.fixed(5, each().map(|place| place.hash));
    block.fixed(6, each().map(|place| place.count.to_le_bytes()));
    block.fixed(7, each().map(|place| place.first.to_le_bytes()));
    block.fixed(8, each().map(|place| (place.path.len() as u32).to_le_bytes()));
    block.bytes(9, each().flat_map(|place| place.path.iter().copied()).collect());
    block.bytes(16, table.run.as_bytes().to_vec());
    block.bytes(17, table.data_end.to_le_bytes().to_vec());
    block.finish()
}

/// The table of a block.
///
/// # Errors
/// When the block is damaged.
pub fn read_table(bytes: Vec<u8>) -> Result<Table, BadBlock> {
    let block = Block::parse(bytes, BlockKind::Table, &[])?;
    if block.count > TABLE_ROWS_MAX {
        return Err(BadBlock::Damaged);
    }
    let (kind, offset, len) = (block.fixed::<1>(1)?, block.fixed::<8>(2)?, block.fixed::<4>(3)?);
    let (decoded, hash) = (block.fixed::<4>(4)?, block.fixed::<32>(5)?);
    let (count, first) = (block.fixed::<4>(6)?, block.fixed::<8>(7)?);
    let paths = block.texts(8, 9)?;
    let place = |row: usize| BlockPlace {
        kind: kind.get(row)[0],
        offset: u64::from_le_bytes(offset.get(row)),
        len: u32::from_le_bytes(len.get(row)),
        decoded: u32::from_le_bytes(decoded.get(row)),
        hash: hash.get(row),
        count: u32::from_le_bytes(count.get(row)),
        first: u64::from_le_bytes(first.get(row)),
        path: paths[row].to_vec(),
    };
    let run = String::from_utf8(block.bytes(16).to_vec()).map_err(|_| BadBlock::Damaged)?;
    let data_end = block.bytes(17).try_into().map_err(|_| BadBlock::Damaged)?;
    Ok(Table { run, data_end: u64::from_le_bytes(data_end), blocks: (0..block.count).map(place).collect() })
}
