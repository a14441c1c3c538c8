//! The first and the last member of an artefact: both decode to nothing and carry what identifies it.

use super::member::{Codec, own};
use super::{Root, VERSION};

const MAGIC: &[u8; 8] = b"BACKPLAN";
const OPENING: u16 = 1;
const CLOSING: u16 = 2;
/// Bytes of the closing member, of either kind.
pub const CLOSING_LEN: usize = 10 + 2 + 4 + 60 + 2 + 8;
/// The opening member is never longer.
pub const OPENING_MAX: usize = 10 + 2 + 4 + 12 + 64 + 2 + 8;

/// What the closing member says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Offset of the table's member.
    pub table: u64,
    /// Its compressed bytes.
    pub table_len: u32,
    /// What it decodes to, in bytes.
    pub table_decoded: u32,
    /// BLAKE3 of the table's member as it is in the file.
    pub root: Root,
}

/// What was found where an opening or closing member should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed<T> {
    /// What should be there.
    Found(T),
    /// Of a format that this program does not know.
    Newer(u16),
    /// Something else.
    Foreign,
}

fn start(kind: u16) -> Vec<u8> {
    let mut extra = MAGIC.to_vec();
    extra.extend_from_slice(&VERSION.to_le_bytes());
    extra.extend_from_slice(&kind.to_le_bytes());
    extra
}

/// The opening member, with the run's id.
pub fn opening(codec: Codec, run: &str) -> Vec<u8> {
    let mut extra = start(OPENING);
    extra.extend_from_slice(run.as_bytes());
    let mut member = Vec::new();
    codec.carrying(&extra, true, &mut member);
    member
}

/// The closing member.
pub fn closing(codec: Codec, closing: &Closing) -> Vec<u8> {
    let mut extra = start(CLOSING);
    extra.extend_from_slice(&closing.table.to_le_bytes());
    extra.extend_from_slice(&closing.table_len.to_le_bytes());
    extra.extend_from_slice(&closing.table_decoded.to_le_bytes());
    extra.extend_from_slice(&closing.root.0);
    let mut member = Vec::new();
    codec.carrying(&extra, false, &mut member);
    member
}

fn body(member: &[u8], kind: u16) -> Framed<&[u8]> {
    let Some(own) = own(member) else { return Framed::Foreign };
    let Some((magic, rest)) = own.split_at_checked(MAGIC.len()) else { return Framed::Foreign };
    let Some(([v0, v1, k0, k1], rest)) = rest.split_first_chunk::<4>() else { return Framed::Foreign };
    let version = u16::from_le_bytes([*v0, *v1]);
    if magic != MAGIC {
        Framed::Foreign
    } else if version != VERSION {
        Framed::Newer(version)
    } else if u16::from_le_bytes([*k0, *k1]) != kind {
        Framed::Foreign
    } else {
        Framed::Found(rest)
    }
}

/// The run's id, from an artefact's first bytes.
pub fn read_opening(bytes: &[u8]) -> Framed<String> {
    match body(bytes, OPENING) {
        Framed::Found(run) => match std::str::from_utf8(run) {
            Ok(run) => Framed::Found(run.to_string()),
            Err(_) => Framed::Foreign,
        },
        Framed::Newer(version) => Framed::Newer(version),
        Framed::Foreign => Framed::Foreign,
    }
}

/// What the closing member says, from exactly its bytes.
pub fn read_closing(bytes: &[u8]) -> Framed<Closing> {
    let body = match body(bytes, CLOSING) {
        Framed::Found(body) => body,
        Framed::Newer(version) => return Framed::Newer(version),
        Framed::Foreign => return Framed::Foreign,
    };
    let Ok(body) = <&[u8; 48]>::try_from(body) else { return Framed::Foreign };
    let mut root = [0; 32];
    root.copy_from_slice(&body[16..]);
    let four = |at: usize| u32::from_le_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    Framed::Found(Closing {
        table: u64::from(four(0)) | u64::from(four(4)) << 32,
        table_len: four(8),
        table_decoded: four(12),
        root: Root(root),
    })
}
