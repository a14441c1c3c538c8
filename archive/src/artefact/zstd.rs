//! Zstandard frames (RFC 8878), one at a time and whole.

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound, find_frame_compressed_size, get_frame_content_size};

use super::gzip::{ALIGNMENT, BadMember};

/// Every frame that decodes to something begins with this.
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A skippable frame with what is Backplan's own: a length `u16`, so many bytes, and zeros.
const OWN: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// A skippable frame of zeros that pads a member.
const PADDING: [u8; 4] = [0x5f, 0x2a, 0x4d, 0x18];
/// A skippable frame's magic and length.
const SKIPPABLE: usize = 8;
/// A frame that decodes to nothing: other programs know a file by its first four bytes.
const NOTHING: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];
/// A raw block's largest length.
const RAW_MAX: usize = 128 << 10;

/// Makes frames at one level.
pub struct Writer {
    main: Option<Compressor<'static>>,
    scratch: Vec<u8>,
}

impl Writer {
    /// For level 0 (stored) to 19.
    pub fn new(level: u8) -> Writer {
        let compressor = |level: u8| {
            let mut compressor = Compressor::new(i32::from(level)).ok()?;
            compressor.set_parameter(CParameter::ChecksumFlag(true)).ok()?;
            Some(compressor)
        };
        Writer { main: Some(level).filter(|level| *level > 0).and_then(compressor), scratch: Vec::new() }
    }

    /// Appends a frame that decodes to `data`. What does not compress is stored.
    pub fn write(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.scratch.clear();
        self.scratch.reserve(compress_bound(data.len()));
        let compressed =
            self.main.as_mut().and_then(|main| main.compress_to_buffer(data, &mut self.scratch).ok());
        match compressed {
            Some(length) => out.extend_from_slice(&self.scratch[..length]),
            None => stored(data, out),
        }
    }
}

/// Appends a frame that stores `data`: its length depends on `data.len()` alone.
pub fn stored(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    // One segment, its size in four bytes.
    out.push(0xa0);
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    let mut rest = data;
    loop {
        let (now, later) = rest.split_at(rest.len().min(RAW_MAX));
        let head = (now.len() as u32) << 3 | u32::from(later.is_empty());
        out.extend_from_slice(&head.to_le_bytes()[..3]);
        out.extend_from_slice(now);
        if later.is_empty() {
            break;
        }
        rest = later;
    }
}

fn skippable(magic: [u8; 4], length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&magic);
    out.extend_from_slice(&(length as u32).to_le_bytes());
}

/// Appends what decodes to nothing and carries `own`, after an empty frame if it is the file's first.
pub fn carrying(own: &[u8], is_first: bool, out: &mut Vec<u8>) {
    if is_first {
        out.extend_from_slice(&NOTHING);
    }
    let zeros = if is_first { 0 } else { 16 };
    skippable(OWN, 2 + own.len() + zeros, out);
    out.extend_from_slice(&(own.len() as u16).to_le_bytes());
    out.extend_from_slice(own);
    out.resize(out.len() + zeros, 0);
}

/// What such a frame carries; `None` if it is none.
pub fn own(member: &[u8]) -> Option<&[u8]> {
    let frame = member.strip_prefix(&NOTHING).unwrap_or(member).strip_prefix(&OWN)?;
    let length = usize::from(u16::from_le_bytes([*frame.get(4)?, *frame.get(5)?]));
    frame.get(6..6 + length)
}

/// Makes a member's length a multiple of [`ALIGNMENT`], by a frame of zeros behind it, in the place of one that was there.
pub fn pad(member: &mut Vec<u8>) {
    let Ok(bare) = find_frame_compressed_size(member) else { return };
    if member.len().is_multiple_of(ALIGNMENT) {
        return;
    }
    member.truncate(bare);
    fill(member.len(), member);
}

/// Appends a frame of zeros, so long that what follows `offset` bytes and it is aligned.
pub fn fill(offset: usize, out: &mut Vec<u8>) {
    let zeros = (offset + SKIPPABLE).next_multiple_of(ALIGNMENT) - offset - SKIPPABLE;
    skippable(PADDING, zeros, out);
    out.resize(out.len() + zeros, 0);
}

/// Whether a member is one of this kind.
pub fn is_one(member: &[u8]) -> bool {
    member.starts_with(&MAGIC) || member.starts_with(&OWN) || member.starts_with(&PADDING)
}

/// Decodes one member, which `member` holds exactly, into `out`, replacing what is there.
///
/// # Errors
/// See [`BadMember`].
pub fn decode(
    decoder: &mut Option<Decompressor<'static>>,
    member: &[u8],
    most: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadMember> {
    let size = get_frame_content_size(member).ok().flatten().ok_or(BadMember::Data)?;
    let size = usize::try_from(size).ok().filter(|size| *size <= most).ok_or(BadMember::TooLarge)?;
    if decoder.is_none() {
        *decoder = Decompressor::new().ok();
    }
    let decoder = decoder.as_mut().ok_or(BadMember::Data)?;
    out.resize(size, 0);
    match decoder.decompress_to_buffer(member, &mut out[..]) {
        Ok(decoded) if decoded == size => Ok(()),
        _ => Err(BadMember::Data),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decoded(member: &[u8]) -> Result<Vec<u8>, BadMember> {
        let mut out = vec![9];
        decode(&mut None, member, 1 << 20, &mut out).map(|()| out)
    }

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_not() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|at| (at % 251).to_le_bytes()).collect();
        for data in [&text[..], &text[..1], &[]] {
            for level in [0, 1, 3, 19] {
                let mut member = Vec::new();
                Writer::new(level).write(data, &mut member);
                assert_eq!(decoded(&member).unwrap(), data);
                let mut padded = member.clone();
                pad(&mut padded);
                assert!(padded.len().is_multiple_of(ALIGNMENT) && padded.starts_with(&member));
                assert_eq!(decoded(&padded).unwrap(), data);
                // Padded before, to something else.
                let mut other = member.clone();
                fill(other.len() + 3, &mut other);
                pad(&mut other);
                assert_eq!(other, padded);
            }
        }
        let mut member = Vec::new();
        Writer::new(3).write(&text, &mut member);
        for at in 0..member.len() {
            let mut bad = member.clone();
            bad[at] ^= 0x10;
            assert!(decoded(&bad).is_err() || decoded(&bad).unwrap() == text, "byte {at}");
        }
        assert!(decoded(&member[..member.len() - 1]).is_err());
        assert!(matches!(decode(&mut None, &member, 1000, &mut Vec::new()), Err(BadMember::TooLarge)));
    }

    #[test]
    fn what_decodes_to_nothing_carries_what_is_backplan_s_own() {
        for is_first in [true, false] {
            let mut member = Vec::new();
            carrying(b"own words", is_first, &mut member);
            assert_eq!(own(&member).unwrap(), b"own words");
            assert_eq!(decoded(&member).unwrap(), b"");
        }
        assert_eq!(own(b"\x50\x2a\x4d\x18\x02\0\0\0\x09\0"), None);
        assert_eq!(own(&NOTHING), None);
    }
}
