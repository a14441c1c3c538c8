//! A sample of the files in a place, by name, size and time: how many of them are there later can be told from it, and not only
//! how many others, or what has the same names.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::record::Scanned;

/// Files in a sample: the share of those that are there again is told to some four per cent.
const SIZE: usize = 64;
/// Of eight, so many are to be there again.
const SHARE: (usize, usize) = (7, 8);

/// Digests, the smallest: a choice that does not depend on which are there later. As a text of 16 hexadecimal digits each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sample(BTreeSet<u64>);

impl Sample {
    /// Takes a file into account.
    pub fn add(&mut self, file: &Scanned) {
        let digest = digest(file);
        if self.0.len() < SIZE {
            self.0.insert(digest);
        } else if self.0.last().is_some_and(|largest| digest < *largest) && self.0.insert(digest) {
            self.0.pop_last();
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which files of a sample have come by again.
#[derive(Debug, Default)]
pub struct Again {
    wanted: Sample,
    found: BTreeSet<u64>,
}

impl Again {
    /// Nothing has yet.
    pub fn of(wanted: &Sample) -> Again {
        Again { wanted: wanted.clone(), found: BTreeSet::new() }
    }

    /// A file comes by.
    pub fn see(&mut self, file: &Scanned) {
        if self.wanted.is_empty() {
            return;
        }
        let digest = digest(file);
        if self.wanted.0.contains(&digest) {
            self.found.insert(digest);
        }
    }

    /// Whether as good as all have. Of an empty sample nothing can be told.
    pub fn is_most(&self) -> bool {
        !self.wanted.is_empty() && self.found.len() * SHARE.1 >= self.wanted.0.len() * SHARE.0
    }
}

/// FNV-1a of 64 bits, mixed so that the smallest are a fair choice. Nothing rests on it against who means harm. Times are in
/// seconds: a copy may be on a file system that knows no more.
fn digest(file: &Scanned) -> u64 {
    let (size, time) = (file.size.to_le_bytes(), file.mtime.0.to_le_bytes());
    let fnv = file.path.iter().chain(&size).chain(&time).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}

impl From<Sample> for String {
    fn from(sample: Sample) -> String {
        sample.0.iter().map(|digest| format!("{digest:016x}")).collect()
    }
}

impl TryFrom<String> for Sample {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Sample, &'static str> {
        let digits = text.as_bytes();
        if digits.len() > SIZE * 16 || !digits.len().is_multiple_of(16) {
            return Err("a sample of files that is none");
        }
        let digest = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let digests: Option<BTreeSet<u64>> = digits.chunks(16).map(digest).collect();
        digests.map(Sample).ok_or("a sample of files that is none")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn files(numbers: impl Iterator<Item = u32>, mtime: i64) -> impl Iterator<Item = Scanned> {
        let named = |number| format!("some/folder/file-{number}").into_bytes();
        numbers.map(move |number| Scanned {
            path: named(number),
            size: 7,
            mtime: (mtime, 0),
            ..Scanned::default()
        })
    }

    fn is_most_at(then: std::ops::Range<u32>, now: impl Iterator<Item = u32>, mtime: i64) -> bool {
        let mut sample = Sample::default();
        files(then, 1).for_each(|file| sample.add(&file));
        let mut again = Again::of(&Sample::try_from(String::from(sample)).unwrap());
        files(now, mtime).for_each(|file| again.see(&file));
        again.is_most()
    }

    fn is_most(then: std::ops::Range<u32>, now: impl Iterator<Item = u32>) -> bool {
        is_most_at(then, now, 1)
    }

    #[test]
    fn files_that_are_there_again_are_told_from_others() {
        for count in [1, 2, 10, 63, 64, 65, 1000, 100_000] {
            assert!(is_most(0..count, 0..count), "{count}");
            assert!(is_most(0..count, (0..2 * count).rev()), "{count}");
            assert!(!is_most(0..count, count..3 * count), "{count}");
            assert!(!is_most(0..count, 0..count / 2), "{count}");
        }
        assert!(is_most(0..10_000, 300..10_300));
        assert!(!is_most(0..10_000, 3000..20_000));
        assert!(!is_most(0..0, 0..100));
        // Older ones of the same names.
        assert!(!is_most_at(0..1000, 0..1000, 0));
    }

    #[test]
    fn a_sample_is_a_text_of_its_digests() {
        for bad in ["0", "zzzzzzzzzzzzzzzz", &"0".repeat(16 * 65)] {
            assert!(Sample::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Sample::try_from(String::new()).unwrap().is_empty());
    }
}
