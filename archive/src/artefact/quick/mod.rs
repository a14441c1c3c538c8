//! Deflate (RFC 1951) where time is what counts: at each place one look at where its first bytes were last, and codes made for each
//! block. Half as fast again as the library's lowest level, and about as small as what `pigz -1` makes.

mod bits;
mod codes;
mod huffman;

use bits::{Begun, Bits};
use codes::{Codes, DISTANCES, LENGTHS, LITLENS, distance_base, distance_bits, distance_symbol};

/// How far back a match may lie.
const WINDOW: usize = 32 << 10;
/// Shorter matches save nothing where they lie far back, and cost a step each.
const SHORTEST: usize = 5;
const LONGEST: usize = 258;
/// The table of places fits into a processor's nearest cache.
const HASH_BITS: u32 = 14;
/// Bytes that share codes.
const BLOCK: usize = 128 << 10;
/// After so many places without a match, as a power of two, one more is passed over at each step: what does not compress is not
/// looked at for long.
const PATIENCE: u32 = 6;
/// Bytes before the place where a match was found that may belong to it.
const BACK: usize = 16;
/// Literals that are copied without a look at how many there are.
const AT_ONCE: usize = 32;
/// The symbol that ends a block.
const END: usize = 256;
const STORED_MOST: usize = 0xffff;

/// Literals, and the match behind them; the last of a block may have none (length 0).
#[derive(Clone, Copy)]
struct Step {
    literals: u32,
    length: u16,
    distance: u16,
}

/// A compressor, with the memory that it takes.
pub struct Quick {
    /// The last place, in its low bits, where bytes of this hash began.
    places: Box<[u16; 1 << HASH_BITS]>,
    steps: Vec<Step>,
    /// The literals of a block, one behind the other, and how many there are.
    literals: Vec<u8>,
    literal_count: usize,
    /// How often there are matches of each length, less 3.
    lengths: [u32; 256],
    distances: [u32; DISTANCES],
}

impl Default for Quick {
    fn default() -> Quick {
        Quick {
            places: Box::new([0; 1 << HASH_BITS]),
            steps: Vec::new(),
            literals: vec![0; BLOCK + AT_ONCE],
            literal_count: 0,
            lengths: [0; 256],
            distances: [0; DISTANCES],
        }
    }
}

impl Quick {
    /// Appends `data`, compressed: the same bytes whatever was compressed before.
    pub fn compress(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.places.fill(0);
        let mut begun = Begun::default();
        let mut start = 0;
        loop {
            let end = (start + BLOCK).min(data.len());
            self.find(&data[..end], start);
            begun = self.block(&data[start..end], end == data.len(), begun, out);
            start = end;
            if start == data.len() {
                break;
            }
        }
        if begun.count > 0 {
            out.push(begun.bits);
        }
    }

    /// Finds the steps of a block, from `start` to the end of `data`; what lies before it may be repeated.
    fn find(&mut self, data: &[u8], start: usize) {
        self.steps.clear();
        self.distances.fill(0);
        self.lengths.fill(0);
        self.literal_count = 0;
        let end = data.len();
        let last = end.saturating_sub(8);
        let (mut at, mut done, mut misses) = (start.max(1), start, 0_u32);
        while at < last {
            let here = eight(data, at);
            let place = &mut self.places[hash(here)];
            // Always one that there can be, so that only the bytes decide: of a place that is further back its low bits are left, and
            // an empty one is the start.
            let distance = usize::from((at as u16).wrapping_sub(*place).wrapping_sub(1)) % WINDOW + 1;
            *place = at as u16;
            if (eight(data, at - distance) ^ here) << (64 - 8 * SHORTEST) != 0 {
                misses += 1;
                at += 1 + (misses >> PATIENCE) as usize;
                continue;
            }
            let earlier = at - distance;
            let most = (at - done).min(earlier).min(BACK);
            let back = same_before(&data[at - most..at], &data[earlier - most..earlier]);
            let most = (end - at).min(LONGEST - back);
            let length = back + same(&data[at..at + most], &data[earlier..]);
            self.step(data, (done, at - back), length, distance);
            at += length - back;
            (done, misses) = (at, 0);
            if at < last {
                self.places[hash(eight(data, at - 2))] = (at - 2) as u16;
            }
        }
        if done < end {
            self.gather(data, done, end);
            self.steps.push(Step { literals: (end - done) as u32, length: 0, distance: 0 });
        }
    }

    #[inline(always)]
    fn step(&mut self, data: &[u8], (start, end): (usize, usize), length: usize, distance: usize) {
        self.gather(data, start, end);
        self.lengths[length - 3] += 1;
        self.distances[distance_symbol(distance)] += 1;
        let literals = (end - start) as u32;
        self.steps.push(Step { literals, length: length as u16, distance: distance as u16 });
    }

    #[inline(always)]
    fn gather(&mut self, data: &[u8], start: usize, end: usize) {
        let count = end - start;
        let to = &mut self.literals[self.literal_count..];
        match (data[start..].first_chunk::<AT_ONCE>(), to.first_chunk_mut::<AT_ONCE>()) {
            (Some(from), Some(to)) if count <= AT_ONCE => *to = *from,
            _ => to[..count].copy_from_slice(&data[start..end]),
        }
        self.literal_count += count;
    }

    /// How often each symbol of literals and lengths occurs.
    fn litlens(&self) -> [u32; LITLENS] {
        // Four tables: a count that was just written is not waited for.
        let mut counts = [[0_u32; 256]; 4];
        let (fours, rest) = self.literals[..self.literal_count].as_chunks::<4>();
        for four in fours {
            counts.iter_mut().zip(four).for_each(|(counts, literal)| counts[usize::from(*literal)] += 1);
        }
        rest.iter().for_each(|literal| counts[0][usize::from(*literal)] += 1);
        let mut litlens = [0; LITLENS];
        for (literal, count) in litlens.iter_mut().take(256).enumerate() {
            *count = counts.iter().map(|counts| counts[literal]).sum();
        }
        litlens[END] = 1;
        for (count, (symbol, _, _)) in self.lengths.iter().zip(LENGTHS) {
            litlens[usize::from(symbol)] += count;
        }
        litlens
    }

    /// Writes a block of these bytes, in whichever form is shorter.
    fn block(&mut self, data: &[u8], is_last: bool, begun: Begun, out: &mut Vec<u8>) -> Begun {
        let codes = Codes::of(&self.litlens(), &self.distances);
        let bits = 3 + codes.bits();
        if (bits / 8) as usize >= data.len() + 5 * (data.len() / STORED_MOST + 1) {
            return store(data, is_last, begun, out);
        }
        let mut out = Bits::new(out, begun, (bits / 8) as usize);
        out.add(u64::from(is_last) | 2 << 1, 3);
        codes.write(&mut out);
        self.write(&codes, &mut out);
        out.end()
    }

    fn write(&self, codes: &Codes, out: &mut Bits<'_>) {
        let (litlens, distances) = (codes.litlen_words(), codes.distance_words());
        let matches: [u32; 256] = std::array::from_fn(|at| {
            let (symbol, more, value) = LENGTHS[at];
            let word = litlens[usize::from(symbol)];
            (word + (u32::from(more) << 24)) | u32::from(value) << (word >> 24)
        });
        let mut at = 0;
        for step in &self.steps {
            let mut left = step.literals as usize;
            while left >= 4 {
                let four = self.literals[at..].first_chunk::<4>().into_iter().flatten();
                four.for_each(|literal| out.add_word(litlens[usize::from(*literal)]));
                out.flush();
                at += 4;
                left -= 4;
            }
            // Without a branch for each, which nothing could foretell.
            let three = self.literals[at..].first_chunk::<3>().into_iter().flatten();
            for (number, literal) in three.enumerate() {
                out.add_word(if number < left { litlens[usize::from(*literal)] } else { 0 });
            }
            at += left;
            out.flush();
            if step.length > 0 {
                let distance = usize::from(step.distance);
                let symbol = distance_symbol(distance);
                out.add_word(matches[usize::from(step.length) - 3]);
                out.add_word(distances[symbol]);
                out.add((distance - 1 - distance_base(symbol)) as u64, distance_bits(symbol));
                out.flush();
            }
        }
        out.add_word(litlens[END]);
        out.flush();
    }
}

#[inline(always)]
fn eight(data: &[u8], at: usize) -> u64 {
    data[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// Of the first bytes of eight.
#[inline(always)]
fn hash(eight: u64) -> usize {
    let first = eight << (64 - 8 * SHORTEST);
    (first.wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - HASH_BITS)) as usize
}

/// How many of the first bytes are the same.
#[inline(always)]
fn same(one: &[u8], other: &[u8]) -> usize {
    let ((ones, end), (others, _)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    for (at, (one, other)) in ones.iter().zip(others).enumerate() {
        let differs = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if differs != 0 {
            return 8 * at + (differs.trailing_zeros() / 8) as usize;
        }
    }
    let start = one.len() - end.len();
    start + end.iter().zip(&other[start..]).take_while(|(one, other)| one == other).count()
}

/// How many of the last bytes are the same.
#[inline(always)]
fn same_before(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
}

/// Writes bytes as they are.
fn store(data: &[u8], is_last: bool, begun: Begun, out: &mut Vec<u8>) -> Begun {
    let mut begun = begun;
    let mut rest = data;
    loop {
        let (now, later) = rest.split_at(rest.len().min(STORED_MOST));
        let mut bits = Bits::new(out, begun, 1);
        bits.add(u64::from(is_last && later.is_empty()), 3);
        begun = bits.end();
        if begun.count > 0 {
            out.push(begun.bits);
            begun = Begun::default();
        }
        out.extend_from_slice(&(now.len() as u16).to_le_bytes());
        out.extend_from_slice(&(!(now.len() as u16)).to_le_bytes());
        out.extend_from_slice(now);
        if later.is_empty() {
            return begun;
        }
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read;

    use libdeflater::Decompressor;
    use proptest::prelude::*;

    use super::*;

    /// Compresses with a compressor that was used before, and sees that two decoders get the data back.
    fn there_and_back(quick: &mut Quick, data: &[u8]) -> usize {
        let mut compressed = Vec::new();
        quick.compress(data, &mut compressed);
        let mut anew = Vec::new();
        Quick::default().compress(data, &mut anew);
        assert!(compressed == anew, "what was compressed before shows");
        let mut decoded = vec![0; data.len() + 1];
        let length = Decompressor::new().deflate_decompress(&compressed, &mut decoded).unwrap();
        assert!(decoded[..length] == *data, "{} bytes", data.len());
        let mut again = Vec::new();
        flate2::read::DeflateDecoder::new(&compressed[..]).read_to_end(&mut again).unwrap();
        assert!(again == data);
        compressed.len()
    }

    fn noise(length: usize, mut state: u64) -> Vec<u8> {
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u8
        };
        (0..length).map(step).collect()
    }

    #[test]
    fn all_that_is_short() {
        let mut quick = Quick::default();
        for length in 0..300 {
            there_and_back(&mut quick, &vec![b'a'; length]);
            there_and_back(&mut quick, &noise(length, 1));
        }
    }

    #[test]
    fn runs_noise_and_what_lies_a_window_back() {
        let mut quick = Quick::default();
        let size = 3 * BLOCK + 17;
        assert!(there_and_back(&mut quick, &vec![0; size]) < size / 200);
        let stored = there_and_back(&mut quick, &noise(size, 2));
        assert!(stored <= size + 5 * (size / STORED_MOST + 4), "{stored}");
        for back in [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1] {
            let mut data = noise(back, 3);
            data.extend_from_within(..);
            data.extend_from_within(..);
            let length = there_and_back(&mut quick, &data);
            assert_eq!(length < data.len() / 2, back <= WINDOW, "{back} bytes back: {length}");
        }
    }

    #[test]
    fn counts_that_ask_for_codes_that_are_too_long() {
        // Each value as often as the two before it together: the tree of the best codes is as deep as it can be.
        let mut data = Vec::new();
        let (mut count, mut next) = (1, 1);
        for value in 0..26_u8 {
            data.extend(std::iter::repeat_n(value, count));
            (count, next) = (next, count + next);
        }
        // In no order, so that there are literals.
        let chance = noise(8 * data.len(), 4);
        for at in (1..data.len()).rev() {
            let eight = u64::from_le_bytes(*chance[8 * at..].first_chunk().unwrap());
            data.swap(at, (eight % (at as u64 + 1)) as usize);
        }
        there_and_back(&mut Quick::default(), &data);
    }

    proptest! {
        #[test]
        fn whatever_it_is(
            parts in prop::collection::vec((0_usize..5000, 1_u8..=255, 0_usize..40_000), 0..40),
        ) {
            let mut data: Vec<u8> = Vec::new();
            for (number, (length, values, back)) in parts.into_iter().enumerate() {
                // New bytes of a few values, or some from before.
                if number % 2 == 0 {
                    data.extend(noise(length, number as u64).iter().map(|byte| byte % values));
                } else {
                    let start = data.len().saturating_sub(back);
                    data.extend_from_within(start..(start + length).min(data.len()));
                }
            }
            there_and_back(&mut Quick::default(), &data);
        }
    }
}
