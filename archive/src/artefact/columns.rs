//! Blocks of columns, little-endian: what the index is made of.

/// A block starts with this.
pub const MAGIC: [u8; 4] = *b"BPIX";
const HEADER: usize = 16;
const DIRECTORY: usize = 8;
/// A reader that does not know a column with this bit refuses the block; others it skips.
const MUST_KNOW: u16 = 0x8000;

/// Kinds of blocks, with their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockKind {
    /// Entries.
    Entries = 1,
    /// Members.
    Members = 2,
    /// The list of the others.
    Table = 3,
}

/// Builds a block.
pub struct BlockWriter {
    kind: BlockKind,
    count: u32,
    columns: Vec<(u16, Vec<u8>)>,
}

impl BlockWriter {
    /// For `count` rows.
    pub fn new(kind: BlockKind, count: usize) -> BlockWriter {
        BlockWriter { kind, count: count as u32, columns: Vec::new() }
    }

    /// A column of fixed width: left out where all is zero, one value where all are the same.
    pub fn fixed<const W: usize>(&mut self, id: u16, values: impl Iterator<Item = [u8; W]>) {
        let bytes: Vec<[u8; W]> = values.collect();
        let Some(first) = bytes.first() else { return };
        if bytes.iter().any(|value| value != first) {
            self.columns.push((id, bytes.concat()));
        } else if *first != [0; W] {
            self.columns.push((id, first.to_vec()));
        }
    }

    /// A column of bytes, left out where it is empty.
    pub fn bytes(&mut self, id: u16, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.columns.push((id, bytes));
        }
    }

    /// The block.
    pub fn finish(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&super::VERSION.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, 0]);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&(self.columns.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        for (id, bytes) in &self.columns {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        }
        for (_, bytes) in &self.columns {
            out.extend_from_slice(bytes);
        }
        out
    }
}

/// A block that was read.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    /// Rows.
    pub count: usize,
    columns: Vec<(u16, std::ops::Range<usize>)>,
}

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// It is no block, or one of another kind.
    #[error("an index block is not what it should be")]
    Kind,
    /// Made by a newer program.
    #[error("the artefact has format {0}, and this program knows {known}; use a newer one", known = super::VERSION)]
    Newer(u16),
    /// It holds something that must be understood and is not.
    #[error("the index needs something that this program does not know (column {0}); use a newer one")]
    Unknown(u16),
    /// Its lengths or values make no sense.
    #[error("an index block is damaged")]
    Damaged,
}

impl Block {
    /// Reads a block of `kind` that may have the columns `known`.
    ///
    /// # Errors
    /// See [`BadBlock`].
    pub fn parse(bytes: Vec<u8>, kind: BlockKind, known: &[u16]) -> Result<Block, BadBlock> {
        let two = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let four = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes.len() < HEADER || bytes[..4] != MAGIC {
            return Err(BadBlock::Kind);
        }
        if two(4) != super::VERSION {
            return Err(BadBlock::Newer(two(4)));
        }
        if bytes[6] != kind as u8 {
            return Err(BadBlock::Kind);
        }
        let (count, columns) = (four(8) as usize, usize::from(two(12)));
        let mut at = HEADER + columns * DIRECTORY;
        if at > bytes.len() {
            return Err(BadBlock::Damaged);
        }
        let mut found = Vec::with_capacity(columns);
        for column in 0..columns {
            let entry = HEADER + column * DIRECTORY;
            let (id, length) = (two(entry), four(entry + 4) as usize);
            if id & MUST_KNOW != 0 && !known.contains(&id) {
                return Err(BadBlock::Unknown(id));
            }
            if length > bytes.len() - at {
                return Err(BadBlock::Damaged);
            }
            found.push((id, at..at + length));
            at += length;
        }
        Ok(Block { bytes, count, columns: found })
    }

    /// A column's bytes; none where it is left out.
    pub fn bytes(&self, id: u16) -> &[u8] {
        let range = self.columns.iter().find(|(found, _)| *found == id).map(|(_, range)| range.clone());
        range.map_or(&[], |range| &self.bytes[range])
    }

    /// A column of fixed width.
    ///
    /// # Errors
    /// [`BadBlock::Damaged`] where its length does not fit.
    pub fn fixed<const W: usize>(&self, id: u16) -> Result<Fixed<'_, W>, BadBlock> {
        let bytes = self.bytes(id);
        let (values, rest) = bytes.as_chunks::<W>();
        let fits = values.is_empty() || values.len() == 1 || values.len() == self.count;
        if rest.is_empty() && fits { Ok(Fixed(values)) } else { Err(BadBlock::Damaged) }
    }

    /// A column of texts: lengths in one column, bytes in another.
    ///
    /// # Errors
    /// [`BadBlock::Damaged`] where the lengths do not add up to the bytes.
    pub fn texts(&self, lengths: u16, bytes: u16) -> Result<Vec<&[u8]>, BadBlock> {
        let lengths = self.fixed::<4>(lengths)?;
        let mut rest = self.bytes(bytes);
        // A block says how many rows it has; a hostile one must not make this allocate more than it has bytes.
        let mut texts = Vec::with_capacity(self.count.min(self.bytes.len()));
        for row in 0..self.count {
            let length = u32::from_le_bytes(lengths.get(row)) as usize;
            let (text, later) = rest.split_at_checked(length).ok_or(BadBlock::Damaged)?;
            texts.push(text);
            rest = later;
        }
        if rest.is_empty() { Ok(texts) } else { Err(BadBlock::Damaged) }
    }
}

/// A column of fixed width.
#[derive(Debug, Clone, Copy)]
pub struct Fixed<'a, const W: usize>(&'a [[u8; W]]);

impl<const W: usize> Fixed<'_, W> {
    /// The value of a row.
    pub fn get(&self, row: usize) -> [u8; W] {
        match self.0 {
            [] => [0; W],
            [all] => *all,
            values => values[row],
        }
    }
}
