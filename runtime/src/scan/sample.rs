//! A sample of the names in a place: how many of them are there later can be told from it, and not only how many others.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Names in a sample: the share of those that are there again is told to some four per cent.
const SIZE: usize = 64;
/// Of eight names, so many are to be there again.
const SHARE: (usize, usize) = (7, 8);

/// Digests of names, the smallest: a choice that does not depend on which are there later. As a text of 16 hexadecimal
/// digits each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sample(BTreeSet<u64>);

impl Sample {
    /// Takes a name into account.
    pub fn add(&mut self, name: &[u8]) {
        let digest = digest(name);
        if self.0.len() < SIZE {
            self.0.insert(digest);
        } else if self.0.last().is_some_and(|largest| digest < *largest) && self.0.insert(digest) {
            self.0.pop_last();
        }
    }

    /// Whether there are no names in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which names of a sample have come by again.
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

    /// A name comes by.
    pub fn see(&mut self, name: &[u8]) {
        if self.wanted.is_empty() {
            return;
        }
        let digest = digest(name);
        if self.wanted.0.contains(&digest) {
            self.found.insert(digest);
        }
    }

    /// Whether as good as all have. Of a sample without names nothing can be told.
    pub fn is_most(&self) -> bool {
        !self.wanted.is_empty() && self.found.len() * SHARE.1 >= self.wanted.0.len() * SHARE.0
    }
}

/// FNV-1a of 64 bits, mixed so that the smallest are a fair choice. Nothing rests on it against who means harm.
fn digest(name: &[u8]) -> u64 {
    let fnv = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
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
            return Err("a sample of names that is none");
        }
        let digest = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let digests: Option<BTreeSet<u64>> = digits.chunks(16).map(digest).collect();
        digests.map(Sample).ok_or("a sample of names that is none")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(numbers: impl Iterator<Item = u32>) -> impl Iterator<Item = Vec<u8>> {
        numbers.map(|number| format!("some/folder/file-{number}").into_bytes())
    }

    fn is_most(then: std::ops::Range<u32>, now: impl Iterator<Item = u32>) -> bool {
        let mut sample = Sample::default();
        names(then).for_each(|name| sample.add(&name));
        let mut again = Again::of(&Sample::try_from(String::from(sample)).unwrap());
        names(now).for_each(|name| again.see(&name));
        again.is_most()
    }

    #[test]
    fn names_that_are_there_again_are_told_from_others() {
        for count in [1, 2, 10, 63, 64, 65, 1000, 100_000] {
            assert!(is_most(0..count, 0..count), "{count}");
            assert!(is_most(0..count, (0..2 * count).rev()), "{count}");
            assert!(!is_most(0..count, count..3 * count), "{count}");
            assert!(!is_most(0..count, 0..count / 2), "{count}");
        }
        assert!(is_most(0..10_000, 300..10_300));
        assert!(!is_most(0..10_000, 3000..20_000));
        assert!(!is_most(0..0, 0..100));
    }

    #[test]
    fn a_sample_is_a_text_of_its_digests() {
        for bad in ["0", "zzzzzzzzzzzzzzzz", &"0".repeat(16 * 65)] {
            assert!(Sample::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Sample::try_from(String::new()).unwrap().is_empty());
    }
}
