//! Finds what changed of a large file where its grains are not what they were: what the file before it held elsewhere has only
//! moved. Whatever is put in or taken out in the middle moves all that follows.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::grains::Record;
use super::open::Range;
use crate::artefact::moved::{self, Move};
use crate::artefact::treehash;

/// Odd, and its powers differ in all bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bytes that are found nowhere and wait to be written, at most.
const WAITING_MAX: usize = 1 << 20;
/// Grains of the same sum that are looked at.
const ALIKE_MAX: usize = 4;

/// The sum of a window: its bytes as digits to the base [`FACTOR`], modulo 2^64.
fn window_sum(bytes: &[u8]) -> u64 {
    const SQUARE: u64 = FACTOR.wrapping_mul(FACTOR);
    const CUBE: u64 = SQUARE.wrapping_mul(FACTOR);
    const FOURTH: u64 = CUBE.wrapping_mul(FACTOR);
    let (fours, rest) = bytes.as_chunks::<4>();
    let times = |byte: u8, factor: u64| u64::from(byte).wrapping_mul(factor);
    let mut sum = 0_u64;
    // Four at a time: their products do not wait for one another.
    for [a, b, c, d] in fours {
        let four = times(*a, CUBE).wrapping_add(times(*b, SQUARE)).wrapping_add(times(*c, FACTOR));
        sum = sum.wrapping_mul(FOURTH).wrapping_add(four).wrapping_add(u64::from(*d));
    }
    rest.iter().fold(sum, |sum, byte| sum.wrapping_mul(FACTOR).wrapping_add(u64::from(*byte)))
}

/// What is kept of a sum: the half that depends on every bit.
fn kept(sum: u64) -> u32 {
    (sum >> 32) as u32
}

/// The sum of a grain that is kept with its digest, to find it by wherever it is.
pub fn sum(grain: &[u8]) -> u32 {
    kept(window_sum(grain))
}

/// Where the file before had which grain.
struct Places<'r> {
    record: &'r Record,
    grain: usize,
    /// Sum and number of each, sorted.
    by_sum: Vec<(u32, u32)>,
    /// A bit for the first bits of each sum: most of what is asked for is not there.
    filter: Vec<u64>,
    /// How many bits of a sum are not its first.
    less: u32,
    /// What a byte counts that leaves a window.
    leaving: u64,
}

impl<'r> Places<'r> {
    fn new(record: &'r Record, grain: usize) -> Places<'r> {
        let mut by_sum: Vec<(u32, u32)> =
            (0..).zip(&record.grains).map(|(at, known)| (known.sum, at)).collect();
        by_sum.sort_unstable();
        let bits = (record.grains.len() * 16).next_power_of_two().ilog2().clamp(10, 30);
        let less = u32::BITS - bits;
        let mut filter = vec![0; 1 << (bits - 6)];
        for (sum, _) in &by_sum {
            let bit = sum >> less;
            filter[(bit >> 6) as usize] |= 1 << (bit & 63);
        }
        let leaving = (0..grain).fold(1_u64, |power, _| power.wrapping_mul(FACTOR));
        Places { record, grain, by_sum, filter, less, leaving }
    }

    /// The sum of the window one byte on.
    fn next(&self, sum: u64, leaves: u8, comes: u8) -> u64 {
        let moved = sum.wrapping_mul(FACTOR).wrapping_add(u64::from(comes));
        moved.wrapping_sub(u64::from(leaves).wrapping_mul(self.leaving))
    }

    /// The number of the grain whose bytes these are; `likely` where several are.
    fn find(&self, sum: u64, window: &[u8], likely: Option<u32>) -> Option<u32> {
        let sum = kept(sum);
        let bit = sum >> self.less;
        if self.filter[(bit >> 6) as usize] & (1 << (bit & 63)) == 0 {
            return None;
        }
        let first = self.by_sum.partition_point(|(known, _)| *known < sum);
        let alike = self.by_sum[first..].iter().take_while(|(known, _)| *known == sum).map(|(_, at)| *at);
        let likely = likely.filter(|at| self.record.grains.get(*at as usize).is_some_and(|g| g.sum == sum));
        likely.into_iter().chain(alike.take(ALIKE_MAX)).find(|at| self.is(*at, window))
    }

    fn is(&self, number: u32, window: &[u8]) -> bool {
        self.record.length_of(number.into(), self.grain as u64) == self.grain as u64
            && self.record.grains[number as usize].digest
                == treehash::grain(number.into(), self.grain, window)
    }
}

/// Ranges of what is new begin and end at multiples of it, but for the end of the file: GNU tar pads each to a block of an
/// archive, others read them without a gap, and so both read the same.
const BLOCK: usize = 512;

/// What is found out about a file, grain by grain.
pub struct Finding<'r> {
    places: Places<'r>,
    spool: BufWriter<File>,
    ranges: Vec<Range>,
    moves: Vec<Move>,
    /// Bytes in the spool.
    pub new: u64,
    /// What is not found yet, where it starts, and the window that is next to be looked for.
    waiting: Vec<u8>,
    start: u64,
    at: usize,
    likely: Option<u32>,
    /// The last bytes before `start`, where they were found: those behind the last border of a block.
    tail: Vec<u8>,
}

/// What was found.
pub struct Found {
    /// What is new.
    pub ranges: Vec<Range>,
    /// Its bytes, one range after the other.
    pub spool: File,
    /// What moved.
    pub moves: Vec<Move>,
}

impl<'r> Finding<'r> {
    /// Begins. `spool` takes what is new.
    pub fn new(before: &'r Record, grain: usize, spool: File) -> Finding<'r> {
        Finding {
            places: Places::new(before, grain),
            spool: BufWriter::new(spool),
            ranges: Vec::new(),
            moves: Vec::new(),
            new: 0,
            waiting: Vec::new(),
            start: 0,
            at: 0,
            likely: None,
            tail: Vec::new(),
        }
    }

    /// The next grain is what it was.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn same(&mut self) -> io::Result<()> {
        self.search(true)?;
        self.give(self.waiting.len())
    }

    /// The next grain, at `offset`, is not what it was.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn other(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.waiting.is_empty() {
            (self.start, self.at) = (offset, 0);
        }
        self.waiting.extend_from_slice(bytes);
        self.search(false)?;
        if self.at > WAITING_MAX { self.give(self.at) } else { Ok(()) }
    }

    /// Ends.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn end(mut self) -> io::Result<Found> {
        self.same()?;
        let spool = self.spool.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Found { ranges: self.ranges, spool, moves: self.moves })
    }

    /// Looks for all windows behind which something waits, and with `is_last` for the one that ends with it.
    fn search(&mut self, is_last: bool) -> io::Result<()> {
        let grain = self.places.grain;
        let needed = if is_last { grain } else { grain + 1 };
        let mut known = None;
        while self.waiting.len() >= self.at + needed && self.moves.len() < moved::MOST {
            let window = &self.waiting[self.at..self.at + grain];
            let sum = known.unwrap_or_else(|| window_sum(window));
            if let Some(number) = self.places.find(sum, window, self.likely) {
                self.found(number)?;
                known = None;
                continue;
            }
            let comes = self.waiting.get(self.at + grain);
            known = comes.map(|comes| self.places.next(sum, window[0], *comes));
            self.at += 1;
        }
        Ok(())
    }

    /// The window is a grain of the file before.
    fn found(&mut self, number: u32) -> io::Result<()> {
        let grain = self.places.grain;
        let padding = self.padding();
        self.give(self.at + padding)?;
        let (offset, len) = (self.start, (grain - padding) as u64);
        let from = u64::from(number) * grain as u64 + padding as u64;
        let last = self.moves.last_mut();
        match last.filter(|last| last.offset + last.len == offset && last.from + last.len == from) {
            Some(last) => last.len += len,
            // What is where it was needs no word.
            None if offset == from => {}
            None => self.moves.push(Move { offset, len, from }),
        }
        self.start += len;
        let behind = grain - padding - behind_border(self.start);
        self.tail.clear();
        self.tail.extend(self.waiting.drain(..grain - padding).skip(behind));
        self.likely = number.checked_add(1);
        Ok(())
    }

    /// How many bytes of the window belong to what is new before it, so that this ends with a block.
    fn padding(&self) -> usize {
        let end = self.start + self.at as u64;
        let is_behind_new =
            self.at > 0 || self.ranges.last().is_some_and(|last| last.offset + last.len == end);
        if is_behind_new { (BLOCK - behind_border(end)) % BLOCK } else { 0 }
    }

    /// The first bytes of what waits are new.
    fn give(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let end = self.start + count as u64;
        match self.ranges.last_mut().filter(|last| last.offset + last.len == self.start) {
            Some(last) => {
                last.len += count as u64;
                self.new += count as u64;
            }
            None => {
                let offset = self.begin_at_border()?;
                self.ranges.push(Range { offset, len: end - offset });
                self.new += end - offset;
            }
        }
        self.spool.write_all(&self.waiting[..count])?;
        self.waiting.drain(..count);
        self.start = end;
        self.at = self.at.saturating_sub(count);
        Ok(())
    }

    /// Where a range begins whose first new byte is the next: what was found before it is written with it, back to the border
    /// of a block.
    fn begin_at_border(&mut self) -> io::Result<u64> {
        let behind = behind_border(self.start) as u64;
        self.spool.write_all(&self.tail[self.tail.len() - behind as usize..])?;
        if let Some(last) = self.moves.last_mut().filter(|last| last.offset + last.len == self.start) {
            last.len -= behind;
        }
        Ok(self.start - behind)
    }
}

/// Bytes from the last border of a block to a place.
fn behind_border(place: u64) -> usize {
    (place % BLOCK as u64) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::FileExt;

    use super::super::grains::{Grain, Record};
    use super::super::scratch::unnamed;
    use super::{Finding, Found, sum, treehash, window_sum};

    const GRAIN: usize = 1024;

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound
        }

        fn bytes(&mut self, len: usize) -> Vec<u8> {
            (0..len).map(|_| self.below(256) as u8).collect()
        }
    }

    fn record(bytes: &[u8]) -> Record {
        let of =
            |(at, grain): (u64, &[u8])| Grain { digest: treehash::grain(at, GRAIN, grain), sum: sum(grain) };
        Record { size: bytes.len() as u64, grains: (0..).zip(bytes.chunks(GRAIN)).map(of).collect() }
    }

    fn find(before: &Record, after: &[u8]) -> Found {
        let folder = tempfile::tempdir().unwrap();
        let mut finding = Finding::new(before, GRAIN, unnamed(folder.path()).unwrap());
        for (at, bytes) in after.chunks(GRAIN).enumerate() {
            let digest = treehash::grain(at as u64, GRAIN, bytes);
            if before.grains.get(at).is_some_and(|before| before.digest == digest) {
                finding.same().unwrap();
            } else {
                finding.other((at * GRAIN) as u64, bytes).unwrap();
            }
        }
        finding.end().unwrap()
    }

    fn put_together(before: &[u8], found: &Found, size: usize) -> Vec<u8> {
        let mut made = before.to_vec();
        made.resize(size, 0);
        for moved in &found.moves {
            let (to, from, len) = (moved.offset as usize, moved.from as usize, moved.len as usize);
            made[to..to + len].copy_from_slice(&before[from..from + len]);
        }
        let mut place = 0;
        for range in &found.ranges {
            let into = &mut made[range.offset as usize..][..range.len as usize];
            found.spool.read_exact_at(into, place).unwrap();
            place += range.len;
        }
        made
    }

    #[test]
    fn a_window_that_moves_on_has_the_sum_of_its_bytes() {
        let bytes = Random(3).bytes(4 * GRAIN + 7);
        let known = record(&bytes);
        let places = super::Places::new(&known, GRAIN);
        let mut rolled = window_sum(&bytes[..GRAIN]);
        for at in 0..bytes.len() - GRAIN {
            assert_eq!(rolled, window_sum(&bytes[at..at + GRAIN]));
            rolled = places.next(rolled, bytes[at], bytes[at + GRAIN]);
        }
    }

    /// Puts in, takes out, overwrites, doubles and exchanges, in files with stretches of zeros too.
    #[test]
    fn what_moved_and_what_is_new_make_the_file() {
        let mut random = Random(11);
        for turn in 0..200 {
            let len = 1 + random.below(40 * GRAIN);
            let mut before = random.bytes(len);
            if turn % 4 == 0 {
                let from = random.below(len);
                before[from..].fill(0);
            }
            let mut after = before.clone();
            let mut new = 0;
            for _ in 0..random.below(4) {
                let (at, count) = (random.below(after.len() + 1), random.below(2 * GRAIN));
                let end = (at + count).min(after.len());
                match random.below(4) {
                    0 => drop(after.splice(at..at, random.bytes(count))),
                    1 => drop(after.drain(at..end)),
                    2 => after[at..end].fill(7),
                    _ => {
                        let twice = after[at..end].to_vec();
                        after.extend(twice);
                    }
                }
                new += count;
            }
            let found = find(&record(&before), &after);
            assert!(put_together(&before, &found, after.len()) == after, "turn {turn}");
            let at_border =
                |place: u64| place.is_multiple_of(super::BLOCK as u64) || place == after.len() as u64;
            for range in &found.ranges {
                assert!(range.offset.is_multiple_of(super::BLOCK as u64), "turn {turn}: {range:?}");
                assert!(at_border(range.offset + range.len), "turn {turn}: {range:?}");
            }
            let held: u64 = found.ranges.iter().map(|range| range.len).sum();
            // What is new, and a grain before and behind each change and at the end.
            assert!(held <= (new + 10 * GRAIN) as u64, "turn {turn}: {held} of {}, {new} new", after.len());
        }
    }
}
