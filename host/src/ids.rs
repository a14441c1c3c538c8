//! Ids that are made once and never guessed: runs, plans, machines, nonces.

use crate::machine::random_bytes;
use crate::text::{hex, unhex};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Crockford's base32: no `i`, `l`, `o`, `u`, so that nothing is misread when it is typed.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Highest sequence an id can hold: eight digits.
pub const MAX_SEQUENCE: u32 = 99_999_999;
const RANDOM: usize = 6;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct BadId {
    /// The text.
    pub text: String,
    /// What it should have been.
    pub wanted: &'static str,
}

/// A run: `00000042-20261120T023000Z-k7f3qa`, its sequence, its start in UTC, and chance.
///
/// Ordered by sequence. Time and chance only tell runs apart that two machines gave one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    sequence: u32,
    started: Timestamp,
    random: [u8; RANDOM],
}

impl RunId {
    /// Bytes of its text.
    pub const LENGTH: usize = 8 + 1 + 16 + 1 + RANDOM;

    /// The id of a run that starts now. Fractions of a second are dropped.
    ///
    /// # Errors
    /// When the sequence has more than eight digits, or the year not four.
    pub fn new(sequence: u32, started: Timestamp) -> Result<RunId, BadId> {
        RunId::with_random(sequence, started, random_bytes())
    }

    /// The id with this much chance (the low five bits of each byte): for tests that print it.
    ///
    /// # Errors
    /// As [`RunId::new`].
    pub fn with_random(sequence: u32, started: Timestamp, random: [u8; RANDOM]) -> Result<RunId, BadId> {
        let bad =
            || BadId { text: format!("{sequence}, {started}"), wanted: "a sequence and start of a run" };
        let year = started.to_zoned(TimeZone::UTC).year();
        if sequence > MAX_SEQUENCE || !(0..=9999).contains(&year) {
            return Err(bad());
        }
        let started = Timestamp::from_second(started.as_second()).map_err(|_| bad())?;
        let random = random.map(|byte| ALPHABET[usize::from(byte & 31)]);
        Ok(RunId { sequence, started, random })
    }

    /// Its place in the order of runs.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Its start, in whole seconds.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The part made by chance: enough to name a run by hand.
    pub fn short(&self) -> &str {
        // Only characters of the alphabet get in.
        std::str::from_utf8(&self.random).unwrap_or_default()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.started.strftime("%Y%m%dT%H%M%SZ");
        f.pad(&format!("{:08}-{time}-{}", self.sequence, self.short()))
    }
}

impl FromStr for RunId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<RunId, BadId> {
        parse_run(text).ok_or_else(|| BadId { text: text.to_owned(), wanted: "the id of a run" })
    }
}

fn parse_run(text: &str) -> Option<RunId> {
    let mut parts = text.split('-');
    let (sequence, time, random) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || sequence.len() != 8 || !digits(sequence) || time.len() != 16 {
        return None;
    }
    let random: [u8; RANDOM] = random.as_bytes().try_into().ok()?;
    if !random.iter().all(|byte| ALPHABET.contains(byte)) {
        return None;
    }
    let started = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok()?;
    let started = started.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let run = RunId { sequence: sequence.parse().ok()?, started, random };
    // Whatever the time's parser is lenient about must not give two spellings of one id.
    (run.to_string() == text).then_some(run)
}

/// A random UUID (version 4), of a plan's place in a store or of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// A new one.
    pub fn random() -> Uuid {
        let mut bytes: [u8; 16] = random_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }

    /// The one with these bytes: for tests that print it.
    pub fn from_bytes(bytes: [u8; 16]) -> Uuid {
        Uuid(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = hex(&self.0);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        f.pad(&parts.join("-"))
    }
}

impl FromStr for Uuid {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Uuid, BadId> {
        let bad = || BadId { text: text.to_owned(), wanted: "a UUID" };
        let bytes = unhex(&text.replace('-', "")).ok_or_else(bad)?;
        let uuid = Uuid(bytes.try_into().map_err(|_| bad())?);
        if uuid.to_string() == text { Ok(uuid) } else { Err(bad()) }
    }
}

/// Chance that tells one attempt from another under the same run id: 128 bits as hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// A new one.
    pub fn random() -> Nonce {
        Nonce(random_bytes())
    }

    /// The one with these bytes: for tests that print it.
    pub fn from_bytes(bytes: [u8; 16]) -> Nonce {
        Nonce(bytes)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl FromStr for Nonce {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Nonce, BadId> {
        let bad = || BadId { text: text.to_owned(), wanted: "a nonce" };
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Nonce).ok_or_else(bad)
    }
}

macro_rules! through_text {
    ($($id:ty),*) => {$(
        impl TryFrom<String> for $id {
            type Error = BadId;

            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.to_string()
            }
        }
    )*};
}

through_text!(RunId, Uuid, Nonce);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Nonce, RunId, Uuid};

    fn at(text: &str) -> jiff::Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_run_id_reads_back_as_it_was_written() {
        let run = RunId::with_random(42, at("2026-11-20T02:30:00.7Z"), [19, 7, 15, 3, 23, 10]).unwrap();
        assert_eq!(run.to_string(), "00000042-20261120T023000Z-k7f3qa");
        assert_eq!(run.to_string().parse(), Ok(run));
        assert_eq!(run.short(), "k7f3qa");
        assert_eq!(run.started(), at("2026-11-20T02:30:00Z"));
    }

    #[test]
    fn what_is_not_a_run_id_is_refused() {
        for text in [
            "",
            "42",
            "0000042-20261120T023000Z-k7f3qa",
            "00000042-20261120T023000Z-k7f3q",
            "00000042-20261120T023000Z-k7f3ql",
            "00000042-20261120T023000Z-k7f3qa-1",
            "00000042-20261320T023000Z-k7f3qa",
            "00000042-20261120T023060Z-k7f3qa",
            "00000042-20261120T0230 0Z-k7f3qa",
            "+0000042-20261120T023000Z-k7f3qa",
            "00000042-20261120T023000Z-K7F3QA",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
        assert!(RunId::new(100_000_000, at("2026-11-20T02:30:00Z")).is_err());
    }

    #[test]
    fn runs_are_ordered_by_sequence_whatever_the_clock_said() {
        let early = RunId::new(7, at("2030-01-01T00:00:00Z")).unwrap();
        let late = RunId::new(8, at("2020-01-01T00:00:00Z")).unwrap();
        assert!(early < late);
    }

    #[test]
    fn uuids_and_nonces_read_back() {
        let uuid = Uuid::random();
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
        let nonce = Nonce::random();
        assert_eq!(nonce.to_string().parse(), Ok(nonce));
        assert!("0a1b".parse::<Nonce>().is_err());
        assert!("zz".parse::<Uuid>().is_err());
        assert!("é1".parse::<Uuid>().is_err());
    }
}
