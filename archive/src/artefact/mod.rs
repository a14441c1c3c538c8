//! Artefacts: a valid tar in a valid gzip file that can be read from the middle. The format is specified, byte for byte,
//! in `docs/artefact.md`.

pub(crate) mod agree;
mod cat;
mod columns;
pub(crate) mod deleted;
mod entry;
pub(crate) mod framing;
pub mod gzip;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod member;
pub(crate) mod moved;
mod pack;
pub(crate) mod patched;
mod pax;
mod quick;
mod reader;
pub(crate) mod sparse;
pub(crate) mod tarhead;
pub(crate) mod treehash;
mod verify;
mod view;
mod zstd;

use std::fmt;

pub use backplan_host::middle::ReadAt;
pub use backplan_host::tree::Kind;
pub use deleted::{BadDeleted, Deleted};
pub use entry::{Entry, Flags};
pub use member::Codec;
pub use pack::{
    BaseIndex, BaseScan, Changes, Content, CopyBase, Fed, Feed, Grains, Input, PackError, PackOptions,
    Packed, PackedSource, Shape, Sink, SinkError, SourceChanges, Tally, grains_name, pack, pack_changes,
    plan_changes,
};
#[cfg(test)]
pub(crate) use pack::{end_of_archive, index_header};
pub use reader::{Artefact, Expected, IDENTIFY_LEN, ReadError, identify};
pub use verify::{Damage, Depth, VerifyReport, verify};
pub use view::{Layer, LayerError, Live, Spot, View};

/// The run that an artefact's first bytes name, encrypted or not; `None` where they are not an artefact's, or of a newer format.
pub fn run_of(head: &[u8]) -> Option<String> {
    match framing::read_opening(head) {
        framing::Framed::Found(run) => Some(run),
        framing::Framed::Newer(_) => None,
        framing::Framed::Foreign => crate::cipher::mark(head).map(str::to_owned),
    }
}

/// The format's version.
pub const VERSION: u16 = 1;

/// Where the index is in the tar.
const INDEX_PATH: &[u8] = b".backplan/index";

/// Bytes of payload in a member of a large file; a power of two, so that pieces are subtrees of BLAKE3.
pub(crate) const PIECE: usize = 512 << 10;

/// The digest that stands for a whole artefact: BLAKE3 over the table of its index, as stored, which holds the digests of the index
/// blocks, which hold those of every member and of every entry's contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Root(pub [u8; 32]);

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

impl std::str::FromStr for Root {
    type Err = NotARoot;

    fn from_str(text: &str) -> Result<Root, NotARoot> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return Err(NotARoot);
        }
        let mut root = [0; 32];
        for (at, pair) in bytes.chunks_exact(2).enumerate() {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(NotARoot) };
            root[at] = (high * 16 + low) as u8;
        }
        Ok(Root(root))
    }
}

/// A text that is no root digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a root digest has 64 hexadecimal digits")]
pub struct NotARoot;

/// Where the index's table is in an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPlace {
    /// Offset of the first index block: reading from here to the end reads the whole index.
    pub offset: u64,
    /// Offset of the table, the last block.
    pub table: u64,
    /// Compressed bytes of the table.
    pub table_len: u32,
}
