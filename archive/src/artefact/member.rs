//! Members, whichever of the two compressions an artefact has: gzip's members or zstd's frames. All members of one artefact are of
//! one kind, so that it is a file of that kind to other programs.

use libdeflater::Decompressor;

use super::gzip::{self, BadMember, Likely, MemberWriter};
use super::zstd;

/// How an artefact is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// `.tar.gz`.
    #[default]
    Gzip,
    /// `.tar.zst`.
    Zstd,
}

impl Codec {
    /// Of an artefact, by any of its members.
    pub fn of(member: &[u8]) -> Codec {
        if zstd::is_one(member) { Codec::Zstd } else { Codec::Gzip }
    }

    /// Appends a member that stores `data`: its length depends on `data.len()` alone.
    pub fn stored(self, data: &[u8], out: &mut Vec<u8>) {
        match self {
            Codec::Gzip => gzip::stored_member(data, None, out),
            Codec::Zstd => zstd::stored(data, out),
        }
    }

    /// Appends what decodes to nothing and carries `own`.
    pub fn carrying(self, own: &[u8], is_first: bool, out: &mut Vec<u8>) {
        match self {
            Codec::Gzip => gzip::empty_member(own, out),
            Codec::Zstd => zstd::carrying(own, is_first, out),
        }
    }

    /// A member that decodes to nothing, so long that what follows `offset` bytes and it is aligned.
    pub fn filler(self, offset: u64) -> Vec<u8> {
        match self {
            Codec::Gzip => gzip::filler(offset),
            Codec::Zstd => {
                let mut member = Vec::new();
                zstd::fill((offset % gzip::ALIGNMENT as u64) as usize, &mut member);
                member
            }
        }
    }
}

/// What a member carries that is Backplan's own.
pub fn own(member: &[u8]) -> Option<&[u8]> {
    match Codec::of(member) {
        Codec::Gzip => gzip::parse_header(member).ok()?.1.map(|own| &member[own]),
        Codec::Zstd => zstd::own(member),
    }
}

/// Makes a member's length a multiple of [`gzip::ALIGNMENT`].
pub fn pad(member: &mut Vec<u8>) {
    match Codec::of(member) {
        Codec::Gzip => gzip::pad_member(member),
        Codec::Zstd => zstd::pad(member),
    }
}

/// Makes members at one level.
pub enum Writer {
    /// Of gzip.
    Gzip(Box<MemberWriter>),
    /// Of zstd.
    Zstd(zstd::Writer),
}

impl Writer {
    /// For level 0 (stored) to 9, or 19 with zstd.
    pub fn new(codec: Codec, level: u8) -> Writer {
        match codec {
            Codec::Gzip => Writer::Gzip(Box::new(MemberWriter::new(level))),
            Codec::Zstd => Writer::Zstd(zstd::Writer::new(level)),
        }
    }

    /// Appends a member that decodes to `data`, with what is known of it.
    pub fn write(&mut self, data: &[u8], likely: Likely, out: &mut Vec<u8>) {
        match self {
            Writer::Gzip(writer) => writer.write_likely(data, likely, out),
            Writer::Zstd(writer) => writer.write(data, out),
        }
    }
}

/// Decodes members.
pub struct Decoder {
    gzip: Decompressor,
    zstd: Option<::zstd::bulk::Decompressor<'static>>,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { gzip: Decompressor::new(), zstd: None }
    }
}

impl Decoder {
    /// Decodes one member, which `member` holds exactly, into `out`, replacing what is there. What claims to be longer than
    /// `most` is not decoded.
    ///
    /// # Errors
    /// See [`BadMember`].
    pub fn decode(&mut self, member: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), BadMember> {
        match Codec::of(member) {
            Codec::Gzip => gzip::decode(&mut self.gzip, member, most, out),
            Codec::Zstd => zstd::decode(&mut self.zstd, member, most, out),
        }
    }
}
