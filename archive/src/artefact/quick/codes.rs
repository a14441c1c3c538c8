//! What stands at the head of a block: the codes that were made for it, and how they are written.

use super::bits::Bits;
use super::huffman;

/// Symbols of literals and lengths.
pub const LITLENS: usize = 286;
/// Symbols of distances.
pub const DISTANCES: usize = 30;
/// Four literals and what is left of a byte fit into a word.
const LITLEN_LONGEST: usize = 14;
const DISTANCE_LONGEST: usize = 15;
const PRECODES: usize = 19;
const PRECODE_LONGEST: usize = 7;
/// The order in which the lengths of the codes for lengths are written.
const PRECODE_ORDER: [usize; PRECODES] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// By a match's length less 3: its symbol, further bits and their value.
pub const LENGTHS: [(u16, u8, u8); 256] = lengths();
/// By a distance less one up to 255, then by its upper bits: its symbol.
const DISTANCE_SYMBOLS: [u8; 512] = distance_symbols();

const fn lengths() -> [(u16, u8, u8); 256] {
    let mut table = [(0, 0, 0); 256];
    let (mut symbol, mut length) = (257, 0);
    while symbol < 285 {
        let more = length_bits(symbol as usize);
        let mut value = 0;
        while value < 1 << more {
            table[length] = (symbol, more as u8, value as u8);
            value += 1;
            length += 1;
        }
        symbol += 1;
    }
    table[255] = (285, 0, 0);
    table
}

/// How many further bits a distance's symbol has.
pub const fn distance_bits(symbol: usize) -> u32 {
    if symbol < 4 { 0 } else { symbol as u32 / 2 - 1 }
}

/// The smallest distance, less one, of a symbol.
pub const fn distance_base(symbol: usize) -> usize {
    if symbol < 4 { symbol } else { (2 + symbol % 2) << distance_bits(symbol) }
}

const fn distance_symbols() -> [u8; 512] {
    let mut table = [0; 512];
    let mut symbol = 0;
    while symbol < DISTANCES {
        let mut at = distance_base(symbol);
        let end = at + (1 << distance_bits(symbol));
        while at < end {
            if at < 256 {
                table[at] = symbol as u8;
                at += 1;
            } else {
                table[256 + (at >> 7)] = symbol as u8;
                at += 128;
            }
        }
        symbol += 1;
    }
    table
}

/// The symbol of a distance of 1 to 32,768.
#[inline(always)]
pub fn distance_symbol(distance: usize) -> usize {
    let less = distance - 1;
    usize::from(DISTANCE_SYMBOLS[if less < 256 { less } else { 256 + (less >> 7) }])
}

/// The codes of a block: the lengths of them, which say all.
pub struct Codes {
    litlens: [u8; LITLENS],
    distances: [u8; DISTANCES],
    litlens_used: usize,
    distances_used: usize,
    /// The lengths as they are written: symbols, and the value of their further bits.
    runs: Vec<(u8, u8)>,
    precodes: [u8; PRECODES],
    precodes_used: usize,
    bits: u64,
}

impl Codes {
    /// For symbols that occur so often.
    pub fn of(litlens: &[u32; LITLENS], distances: &[u32; DISTANCES]) -> Codes {
        let mut codes = Codes {
            litlens: [0; LITLENS],
            distances: [0; DISTANCES],
            litlens_used: 0,
            distances_used: 0,
            runs: Vec::with_capacity(LITLENS + DISTANCES),
            precodes: [0; PRECODES],
            precodes_used: 0,
            bits: 0,
        };
        huffman::lengths(&two_at_least(*litlens), LITLEN_LONGEST, &mut codes.litlens);
        huffman::lengths(&two_at_least(*distances), DISTANCE_LONGEST, &mut codes.distances);
        let used = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
        codes.litlens_used = used(&codes.litlens).max(257);
        codes.distances_used = used(&codes.distances);
        let (litlens_used, distances_used) = (codes.litlens_used, codes.distances_used);
        let lengths = [&codes.litlens[..litlens_used], &codes.distances[..distances_used]].concat();
        runs(&lengths, &mut codes.runs);
        let mut counts = [0; PRECODES];
        codes.runs.iter().for_each(|(symbol, _)| counts[usize::from(*symbol)] += 1);
        huffman::lengths(&two_at_least(counts), PRECODE_LONGEST, &mut codes.precodes);
        let last = PRECODE_ORDER.iter().rposition(|symbol| codes.precodes[*symbol] > 0);
        codes.precodes_used = last.map_or(4, |last| (last + 1).max(4));
        codes.bits = codes.head_bits() + codes.body_bits(litlens, distances);
        codes
    }

    /// How many bits head and body of the block take.
    pub fn bits(&self) -> u64 {
        self.bits
    }

    fn head_bits(&self) -> u64 {
        let of_run = |(symbol, _): &(u8, u8)| {
            u64::from(self.precodes[usize::from(*symbol)]) + u64::from(run_bits(*symbol))
        };
        14 + 3 * self.precodes_used as u64 + self.runs.iter().map(of_run).sum::<u64>()
    }

    fn body_bits(&self, litlens: &[u32; LITLENS], distances: &[u32; DISTANCES]) -> u64 {
        let bits = |count: u32, length: u8, more: u32| u64::from(count) * u64::from(u32::from(length) + more);
        let litlens = litlens.iter().zip(self.litlens).enumerate();
        let distances = distances.iter().zip(self.distances).enumerate();
        litlens.map(|(symbol, (count, length))| bits(*count, length, length_bits(symbol))).sum::<u64>()
            + distances
                .map(|(symbol, (count, length))| bits(*count, length, distance_bits(symbol)))
                .sum::<u64>()
    }

    /// Writes the head.
    pub fn write(&self, out: &mut Bits<'_>) {
        out.add(self.litlens_used as u64 - 257, 5);
        out.add(self.distances_used as u64 - 1, 5);
        out.add(self.precodes_used as u64 - 4, 4);
        out.flush();
        for symbol in &PRECODE_ORDER[..self.precodes_used] {
            out.add(u64::from(self.precodes[*symbol]), 3);
            out.flush();
        }
        let words: [u32; PRECODES] = words(&self.precodes);
        for (symbol, more) in &self.runs {
            out.add_word(words[usize::from(*symbol)]);
            out.add(u64::from(*more), run_bits(*symbol));
            out.flush();
        }
    }

    /// The codes of literals and lengths, as [`Bits::add_word`] takes them.
    pub fn litlen_words(&self) -> [u32; LITLENS] {
        words(&self.litlens)
    }

    /// Those of distances.
    pub fn distance_words(&self) -> [u32; DISTANCES] {
        words(&self.distances)
    }
}

fn words<const SYMBOLS: usize>(lengths: &[u8; SYMBOLS]) -> [u32; SYMBOLS] {
    let mut codes = [0; SYMBOLS];
    huffman::codes(lengths, &mut codes);
    std::array::from_fn(|symbol| u32::from(codes[symbol]) | u32::from(lengths[symbol]) << 24)
}

/// Not every decoder takes a code of a single symbol, or of none.
fn two_at_least<const SYMBOLS: usize>(mut counts: [u32; SYMBOLS]) -> [u32; SYMBOLS] {
    let used = counts.iter().filter(|count| **count > 0).count();
    counts
        .iter_mut()
        .filter(|count| **count == 0)
        .take(2_usize.saturating_sub(used))
        .for_each(|count| *count = 1);
    counts
}

/// How many further bits a symbol of lengths has.
const fn length_bits(symbol: usize) -> u32 {
    if symbol < 265 || symbol >= 285 { 0 } else { (symbol as u32 - 261) / 4 }
}

fn run_bits(symbol: u8) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

/// Lengths as they are written: 16 repeats the last 3 to 6 times, 17 and 18 are 3 to 10 and 11 to 138 zeros.
fn runs(lengths: &[u8], runs: &mut Vec<(u8, u8)>) {
    for same in lengths.chunk_by(|a, b| a == b) {
        let (length, mut left) = (same[0], same.len());
        if length > 0 {
            runs.push((length, 0));
            left -= 1;
        }
        while left >= 3 {
            let (symbol, least, most) = match (length, left) {
                (0, 11..) => (18, 11, 138),
                (0, _) => (17, 3, 10),
                _ => (16, 3, 6),
            };
            let now = left.min(most);
            runs.push((symbol, (now - least) as u8));
            left -= now;
        }
        runs.extend((0..left).map(|_| (length, 0)));
    }
}
