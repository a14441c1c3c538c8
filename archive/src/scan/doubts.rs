//! What an artefact does not hold as its scan saw it: to be taken for changed by the next run, whatever that one sees.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

const MAGIC: &[u8; 8] = b"BPDOUBT\x01";
const DIGEST: usize = 32;
/// No scan has more entries: a larger number means damage.
const LARGEST: u64 = 1 << 36;

/// Entries of one scan, by number: left out, cut, padded, damaged, or changed between the walk and the reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubts {
    words: Vec<u64>,
    count: u64,
}

impl Doubts {
    /// Adds the entry with this number, counted from 0 in the scan.
    pub fn add(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit == 0 {
            self.words[word] |= bit;
            self.count += 1;
        }
    }

    /// Whether the entry is in doubt.
    pub fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|word| self.words.get(word));
        word.is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The numbers, rising.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let words = (0..).zip(&self.words).filter(|(_, word)| **word != 0);
        words.flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| at * 64 + bit)
        })
    }

    /// As a file has them: magic, the numbers as eight bytes each, little-endian, and BLAKE3 of all that.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        self.numbers().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        let digest = blake3::hash(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }

    /// Reads what [`Doubts::to_bytes`] made.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] where it is damaged.
    pub fn parse(bytes: &[u8]) -> io::Result<Doubts> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the list of doubts is damaged");
        let (body, digest) =
            bytes.len().checked_sub(DIGEST).map(|at| bytes.split_at(at)).ok_or_else(damaged)?;
        if blake3::hash(body).as_bytes() != digest {
            return Err(damaged());
        }
        let (numbers, rest) = body.strip_prefix(MAGIC).ok_or_else(damaged)?.as_chunks::<8>();
        let mut doubts = Doubts::default();
        for number in numbers {
            let number = u64::from_le_bytes(*number);
            if number > LARGEST {
                return Err(damaged());
            }
            doubts.add(number);
        }
        if rest.is_empty() { Ok(doubts) } else { Err(damaged()) }
    }

    /// Writes them to a file (mode 0600), replacing one that is there.
    ///
    /// # Errors
    /// When the file cannot be written; an earlier run's is gone then.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
        File::from(file).write_all(&self.to_bytes())
    }

    /// Reads them from a file.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::InvalidData`] where it is damaged.
    pub fn read(path: &Path) -> io::Result<Doubts> {
        Doubts::parse(&std::fs::read(path)?)
    }
}

impl FromIterator<u64> for Doubts {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Doubts {
        let mut doubts = Doubts::default();
        numbers.into_iter().for_each(|number| doubts.add(number));
        doubts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Doubts;

    #[test]
    fn doubts_come_back_and_damage_shows() {
        for numbers in [vec![], vec![0], vec![63, 64, 65, 1_000_000]] {
            let doubts: Doubts = numbers.iter().copied().collect();
            assert_eq!(doubts.len(), numbers.len() as u64);
            assert_eq!(doubts.numbers().collect::<Vec<_>>(), numbers);
            let bytes = doubts.to_bytes();
            assert_eq!(Doubts::parse(&bytes).unwrap().numbers().collect::<Vec<_>>(), numbers);
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert!(Doubts::parse(&damaged).is_err());
                assert!(Doubts::parse(&bytes[..at]).is_err());
            }
        }
        assert!(!Doubts::default().has(u64::MAX));
    }
}
