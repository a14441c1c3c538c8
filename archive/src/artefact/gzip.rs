//! Gzip members (RFC 1952), one at a time and whole.

use libdeflater::{CompressionLvl, Compressor, Crc, Decompressor};

use super::quick::Quick;

/// No member holds more when it is decoded; what claims to is damaged or hostile.
pub const MEMBER_MAX: usize = 4 << 20;
/// A stored deflate block's largest length.
const STORED_MAX: usize = 0xffff;
/// Up to this level time is what counts, above it size.
pub const FAST: u8 = 3;
/// Above it a thorough search is what was asked for, whatever it costs.
const BALANCED: u8 = 6;
/// Where samples shrink to no less than this percentage, one level lower costs 0.5 % of size and saves a sixth of the
/// time; in what shrinks better a level lower costs 2 % (measured on libraries, programs and texts).
const HARD: usize = 40;
/// Members shorter than this are compressed without trying.
const PROBE_MIN: usize = 128 << 10;
/// Bytes of each sample that is tried out.
const SAMPLE: usize = 2 << 10;
/// Members are made with this subfield id for what is Backplan's own.
pub const SUBFIELD: [u8; 2] = *b"BP";
/// The subfield of zeros that pads a member.
const PADDING: [u8; 2] = *b"PA";
/// Padded members start and end at multiples of this: blocks of file systems that can share them.
pub const ALIGNMENT: usize = 4096;

const EXTRA: u8 = 4;
const TRAILER: usize = 8;
const HEADER: usize = 10;

/// What the contents of a member are likely to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likely {
    /// Whatever: stored only where samples of it save less than 1 %, at fast levels a tenth.
    Plain,
    /// Files that are compressed already, with their headers: stored where samples save less than 6 %, at fast levels 11 %.
    Packed,
    /// One file, or the first piece of one, behind a header of so many bytes: as [`Likely::Plain`], by samples of the file alone. A header
    /// shrinks to nothing, and would have half a MiB behind it compressed in vain.
    OneFile(usize),
}

/// What compresses.
enum Main {
    /// Nothing: members are stored.
    Stored,
    Quick(Box<Quick>),
    Library(Compressor),
}

impl Main {
    /// Up to [`FAST`] one step quicker than the library's own levels, which at its lowest finds as much as `pigz -2`.
    fn at(level: u8) -> Main {
        match level {
            0 => Main::Stored,
            1 => Main::Quick(Box::default()),
            2..=FAST => Main::Library(library(level - 1)),
            _ => Main::Library(library(level.min(9))),
        }
    }
}

fn library(level: u8) -> Compressor {
    Compressor::new(CompressionLvl::new(i32::from(level)).unwrap_or_default())
}

/// Makes members at one level.
pub struct MemberWriter {
    main: Main,
    /// One level lower, for what shrinks little.
    lighter: Option<Compressor>,
    probe: Compressor,
    /// How many samples are tried out, and the percentage of their size above which a member is stored.
    samples: usize,
    worth: usize,
    is_fast: bool,
    sample: Vec<u8>,
    scratch: Vec<u8>,
}

impl MemberWriter {
    /// For level 0 (stored) to 9.
    pub fn new(level: u8) -> MemberWriter {
        let main = Main::at(level);
        let lighter = (FAST + 1..=BALANCED).contains(&level).then(|| library(level - 1));
        let probe = library(1);
        // Measured on real trees: below a tenth of savings, fast levels spend a tenth of their time for 1 % of size.
        let is_fast = level <= FAST;
        let (samples, worth) = if is_fast { (4, 90) } else { (8, 99) };
        MemberWriter {
            main,
            lighter,
            probe,
            samples,
            worth,
            is_fast,
            sample: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Appends a member that decodes to `data`. What does not compress is stored.
    pub fn write(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.write_likely(data, Likely::Plain, out);
    }

    /// As [`MemberWriter::write`], with what is known of `data`.
    pub fn write_likely(&mut self, data: &[u8], likely: Likely, out: &mut Vec<u8>) {
        let header = if let Likely::OneFile(header) = likely { header } else { 0 };
        let shrinks_to = self.samples_shrink_to(data.get(header..).unwrap_or(data));
        if shrinks_to <= self.worth(likely) && self.try_compress(data, shrinks_to >= HARD, out) {
            return;
        }
        stored_member(data, None, out);
    }

    /// The percentage to which samples of a member must shrink for it to be compressed at all.
    fn worth(&self, likely: Likely) -> usize {
        match likely {
            Likely::Plain | Likely::OneFile(_) => self.worth,
            Likely::Packed => self.worth.min(if self.is_fast { 89 } else { 94 }),
        }
    }

    fn try_compress(&mut self, data: &[u8], is_hard: bool, out: &mut Vec<u8>) -> bool {
        let lighter = self.lighter.as_mut().filter(|_| is_hard);
        let library = match (lighter, &mut self.main) {
            (Some(lighter), _) => lighter,
            (None, Main::Library(library)) => library,
            (None, Main::Quick(quick)) => {
                let start = out.len();
                header(None, out);
                quick.compress(data, out);
                trailer(data, out);
                return Self::keep_if_shorter(data, start, out);
            }
            (None, Main::Stored) => return false,
        };
        let bound = library.deflate_compress_bound(data.len());
        // Kept at its largest: filling it with zeros anew would cost as much as copying what was compressed.
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        match library.deflate_compress(data, &mut self.scratch) {
            Ok(length) if length < stored_len(data) => {
                header(None, out);
                out.extend_from_slice(&self.scratch[..length]);
                trailer(data, out);
                true
            }
            _ => false,
        }
    }

    /// Takes a member off again that is as long as a stored one.
    fn keep_if_shorter(data: &[u8], start: usize, out: &mut Vec<u8>) -> bool {
        let is_shorter = out.len() - start < HEADER + stored_len(data) + TRAILER;
        if !is_shorter {
            out.truncate(start);
        }
        is_shorter
    }

    /// The percentage of their size, rounded up, to which samples shrink when they are quickly compressed; 0 where it
    /// is not worth knowing.
    fn samples_shrink_to(&mut self, data: &[u8]) -> usize {
        if matches!(self.main, Main::Stored) || data.len() < PROBE_MIN {
            return 0;
        }
        // Spread, as a member may hold files of both kinds.
        let step = data.len() / self.samples;
        self.sample.clear();
        for sample in 0..self.samples {
            self.sample.extend_from_slice(&data[sample * step..][..SAMPLE]);
        }
        let bound = self.probe.deflate_compress_bound(self.sample.len());
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        let compressed = self.probe.deflate_compress(&self.sample, &mut self.scratch);
        compressed.map_or(100, |length| (length * 100).div_ceil(self.sample.len()))
    }
}

/// Bytes of the stored blocks of `data`.
fn stored_len(data: &[u8]) -> usize {
    data.len() + 5 * (data.len() / STORED_MAX + 1)
}

fn header(extra: Option<&[u8]>, out: &mut Vec<u8>) {
    let flags = if extra.is_some() { EXTRA } else { 0 };
    out.extend_from_slice(&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255]);
    if let Some(extra) = extra {
        out.extend_from_slice(&(extra.len() as u16 + 4).to_le_bytes());
        out.extend_from_slice(&SUBFIELD);
        out.extend_from_slice(&(extra.len() as u16).to_le_bytes());
        out.extend_from_slice(extra);
    }
}

fn trailer(data: &[u8], out: &mut Vec<u8>) {
    let mut crc = Crc::new();
    crc.update(data);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
}

/// Appends a member that stores `data`: its length depends on `data.len()` alone.
pub fn stored_member(data: &[u8], extra: Option<&[u8]>, out: &mut Vec<u8>) {
    header(extra, out);
    let mut rest = data;
    loop {
        let (now, later) = rest.split_at(rest.len().min(STORED_MAX));
        out.push(u8::from(later.is_empty()));
        out.extend_from_slice(&(now.len() as u16).to_le_bytes());
        out.extend_from_slice(&(!(now.len() as u16)).to_le_bytes());
        out.extend_from_slice(now);
        if later.is_empty() {
            break;
        }
        rest = later;
    }
    trailer(data, out);
}

/// Appends a member that decodes to nothing and carries `extra`.
pub fn empty_member(extra: &[u8], out: &mut Vec<u8>) {
    header(Some(extra), out);
    out.extend_from_slice(&[3, 0]);
    trailer(&[], out);
}

/// Makes a member's length a multiple of [`ALIGNMENT`], by a subfield of zeros in its header. A subfield that only padded
/// it before is replaced; what cannot be padded stays as it is.
pub fn pad_member(member: &mut Vec<u8>) {
    let Ok((body, own)) = parse_header(member) else { return };
    if own.is_some() || member.len().is_multiple_of(ALIGNMENT) {
        return;
    }
    let bare = member.len() - (body - HEADER);
    let mut pad = bare.next_multiple_of(ALIGNMENT) - bare;
    if pad > 0 && pad < 6 {
        pad += ALIGNMENT;
    }
    let extra = if pad > 0 { padding_field(pad) } else { Vec::new() };
    member[3] = if pad > 0 { EXTRA } else { 0 };
    member.splice(HEADER..body, extra);
}

/// The extra field, its length included, that takes so many bytes: at least six.
fn padding_field(bytes: usize) -> Vec<u8> {
    let mut field = (bytes as u16 - 2).to_le_bytes().to_vec();
    field.extend_from_slice(&PADDING);
    field.extend_from_slice(&(bytes as u16 - 6).to_le_bytes());
    field.resize(bytes, 0);
    field
}

/// A member that decodes to nothing, so long that what follows `offset` bytes and it is aligned.
pub fn filler(offset: u64) -> Vec<u8> {
    let mut member = Vec::new();
    header(None, &mut member);
    member.extend_from_slice(&[3, 0]);
    trailer(&[], &mut member);
    // Padded as if it began at a multiple, less what stands before it.
    let before = (offset % ALIGNMENT as u64) as usize;
    let bare = before + member.len();
    let mut pad = bare.next_multiple_of(ALIGNMENT) - bare;
    if pad < 6 {
        pad += ALIGNMENT;
    }
    member[3] = EXTRA;
    member.splice(HEADER..HEADER, padding_field(pad));
    member
}

/// What is wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMember {
    /// Its header is none.
    #[error("no gzip header")]
    Header,
    /// It claims to be larger than a member can be.
    #[error("a member larger than the format allows")]
    TooLarge,
    /// Its compressed bytes make no sense, or it does not decode to what its trailer says.
    #[error("its compressed bytes are damaged")]
    Data,
}

/// Length of a member's header, and the place of Backplan's own subfield in it.
///
/// # Errors
/// [`BadMember::Header`].
pub fn parse_header(member: &[u8]) -> Result<(usize, Option<std::ops::Range<usize>>), BadMember> {
    let flags = *member.get(3).ok_or(BadMember::Header)?;
    if member[..3] != [0x1f, 0x8b, 8] || flags & !EXTRA != 0 || member.len() < HEADER {
        return Err(BadMember::Header);
    }
    if flags & EXTRA == 0 {
        return Ok((HEADER, None));
    }
    let two = |at: usize| member.get(at..at + 2).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]])));
    let end = HEADER + 2 + two(HEADER).ok_or(BadMember::Header)?;
    let (mut at, mut own) = (HEADER + 2, None);
    while at + 4 <= end {
        let length = two(at + 2).ok_or(BadMember::Header)?;
        if at + 4 + length > end || end > member.len() {
            return Err(BadMember::Header);
        }
        if member[at..at + 2] == SUBFIELD {
            own = Some(at + 4..at + 4 + length);
        }
        at += 4 + length;
    }
    if at == end { Ok((end, own)) } else { Err(BadMember::Header) }
}

/// Decodes one member, which `member` holds exactly, into `out`, replacing what is there. What claims to be longer than
/// `most` is not decoded.
///
/// # Errors
/// See [`BadMember`].
pub fn decode(
    decoder: &mut Decompressor,
    member: &[u8],
    most: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadMember> {
    let (body, _) = parse_header(member)?;
    let end = member.len().checked_sub(TRAILER).filter(|end| *end >= body).ok_or(BadMember::Data)?;
    let word = |at: usize| u32::from_le_bytes([member[at], member[at + 1], member[at + 2], member[at + 3]]);
    let length = word(end + 4) as usize;
    // Deflate makes at most 1,032 bytes of one: a small damaged member must not ask for megabytes.
    if length as u64 > (end - body) as u64 * 1032 {
        return Err(BadMember::Data);
    }
    if length > most {
        return Err(BadMember::TooLarge);
    }
    out.resize(length, 0);
    let decoded = decoder.deflate_decompress(&member[body..end], out).map_err(|_| BadMember::Data)?;
    let mut crc = Crc::new();
    crc.update(out);
    if decoded == length && crc.sum() == word(end) { Ok(()) } else { Err(BadMember::Data) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Bytes of a few values in no order: with 4 of them they shrink to a quarter, with 32 to less than two thirds.
    fn noise(values: u8) -> Vec<u8> {
        let mut state = 1_u64;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u8 % values
        };
        (0..PROBE_MIN).map(step).collect()
    }

    /// The length of the member that one level of the library makes.
    fn length_at(level: i32, data: &[u8]) -> usize {
        let mut compressor = Compressor::new(CompressionLvl::new(level).unwrap());
        let mut out = vec![0; compressor.deflate_compress_bound(data.len())];
        HEADER + compressor.deflate_compress(data, &mut out).unwrap() + TRAILER
    }

    #[test]
    fn what_shrinks_little_is_searched_one_level_less_where_time_counts() {
        for (values, asked, used) in
            [(4, 6, 6), (32, 6, 5), (32, 4, 3), (32, 7, 7), (32, 9, 9), (32, 3, 2), (32, 2, 1)]
        {
            let data = noise(values);
            let mut member = Vec::new();
            MemberWriter::new(asked).write(&data, &mut member);
            assert_eq!(member.len(), length_at(used, &data), "{values} values, level {asked}");
            let mut decoded = Vec::new();
            decode(&mut Decompressor::new(), &member, MEMBER_MAX, &mut decoded).unwrap();
            assert_eq!(decoded, data);
        }
    }

    #[test]
    fn every_level_decodes() {
        for (level, data) in
            (0..=9).flat_map(|level| [noise(4), noise(200), Vec::new()].map(|data| (level, data)))
        {
            let mut member = Vec::new();
            MemberWriter::new(level).write(&data, &mut member);
            let mut decoded = Vec::new();
            decode(&mut Decompressor::new(), &member, MEMBER_MAX, &mut decoded).unwrap();
            assert_eq!(decoded, data, "level {level}");
        }
    }

    #[test]
    fn the_header_of_one_file_has_nothing_compressed_that_does_not_shrink() {
        let written = |level, data: &[u8], likely| {
            let mut member = Vec::new();
            MemberWriter::new(level).write_likely(data, likely, &mut member);
            member
        };
        for level in [1, 6] {
            let header = 1536;
            let [hard, easy] = [255, 4].map(|values| [vec![0; header], noise(values)].concat());
            let mut stored = Vec::new();
            stored_member(&hard, None, &mut stored);
            assert!(written(level, &hard, Likely::OneFile(header)) == stored, "level {level}");
            let plain = written(level, &easy, Likely::Plain);
            assert!(written(level, &easy, Likely::OneFile(header)) == plain, "level {level}");
        }
    }

    #[test]
    fn what_does_not_shrink_is_stored() {
        for (level, length) in [(6, PROBE_MIN), (1, PROBE_MIN), (1, 1000), (1, 0)] {
            let mut member = Vec::new();
            let data = &noise(255)[..length];
            MemberWriter::new(level).write(data, &mut member);
            let mut stored = Vec::new();
            stored_member(data, None, &mut stored);
            assert!(member == stored || length == 0, "level {level}, {length} bytes");
        }
    }
}
