//! The names of files of the write-ahead log, and what is told by them. Pure.
//!
//! Source: PostgreSQL's `access/xlog_internal.h`.

use std::fmt;
use std::str::FromStr;

use super::lsn::Lsn;
use crate::store::Name;

/// What is behind an archived file's own name.
const SUFFIX: &str = ".gz";
/// Behind that, where it is encrypted.
const SEALED: &str = ".age";
const HISTORY: &str = ".history";
const BACKUP: &str = ".backup";
const PARTIAL: &str = ".partial";

/// A place in the log: 24 hexadecimal digits of timeline, log and segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// The timeline, from 1.
    pub timeline: u32,
    /// Segments of its length that are before it, on any timeline.
    log: u32,
    part: u32,
}

impl Segment {
    /// The folder that it stands in.
    pub fn folder(self) -> String {
        format!("{:08X}{:08X}", self.timeline, self.log)
    }

    /// Where it begins, where segments have this many bytes.
    pub fn begin(self, bytes: u64) -> Lsn {
        Lsn((u64::from(self.log) << 32) + u64::from(self.part) * bytes)
    }

    /// Where it ends.
    pub fn end(self, bytes: u64) -> Lsn {
        Lsn(self.begin(bytes).0.saturating_add(bytes))
    }

    /// The one that an LSN is in.
    pub fn of(timeline: u32, lsn: Lsn, bytes: u64) -> Segment {
        Segment { timeline, log: (lsn.0 >> 32) as u32, part: ((lsn.0 & 0xFFFF_FFFF) / bytes.max(1)) as u32 }
    }

    /// The next one on its timeline, where segments have this many bytes.
    pub fn next(self, bytes: u64) -> Segment {
        Segment::of(self.timeline, self.end(bytes), bytes)
    }

    /// Its place without its timeline.
    pub fn place(self) -> (u32, u32) {
        (self.log, self.part)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.log, self.part)
    }
}

/// The name of a file that Postgres archives or asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalName {
    /// A whole segment.
    Segment(Segment),
    /// The last segment of a timeline that ended: `….partial`.
    Partial(Segment),
    /// Where the timelines before this one ended.
    History(u32),
    /// What a base backup told of itself: the segment, and the place in it.
    Backup(Segment, u32),
}

/// A text that names no file of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a file of the write-ahead log")]
pub struct BadWalName(pub String);

impl WalName {
    /// The timeline that it is of.
    pub fn timeline(self) -> u32 {
        match self {
            WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => {
                segment.timeline
            }
            WalName::History(timeline) => timeline,
        }
    }

    /// Its object, encrypted or not, below the folder of its cluster; segments stand apart by timeline and log, 256 to a folder at the most
    /// where they have 16 MiB.
    pub fn object(self, is_sealed: bool) -> Name {
        let folder = match self {
            WalName::Segment(segment) | WalName::Partial(segment) => {
                format!("{}/", segment.folder())
            }
            WalName::History(_) | WalName::Backup(..) => String::new(),
        };
        let sealed = if is_sealed { SEALED } else { "" };
        Name::known(format!("{folder}{self}{SUFFIX}{sealed}"))
    }

    /// The file that an object holds, and whether it is encrypted.
    pub fn of_object(name: &Name) -> Option<(WalName, bool)> {
        let (packed, is_sealed) = match name.last().strip_suffix(SEALED) {
            Some(packed) => (packed, true),
            None => (name.last(), false),
        };
        let found: WalName = packed.strip_suffix(SUFFIX)?.parse().ok()?;
        let (own, here) = (found.object(is_sealed), name.as_str());
        let is_own = here == own.as_str() || here.ends_with(&format!("/{own}"));
        is_own.then_some((found, is_sealed))
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalName::Segment(segment) => write!(f, "{segment}"),
            WalName::Partial(segment) => write!(f, "{segment}{PARTIAL}"),
            WalName::History(timeline) => write!(f, "{timeline:08X}{HISTORY}"),
            WalName::Backup(segment, offset) => write!(f, "{segment}.{offset:08X}{BACKUP}"),
        }
    }
}

impl FromStr for WalName {
    type Err = BadWalName;

    fn from_str(text: &str) -> Result<WalName, BadWalName> {
        parse(text).filter(|name| name.to_string() == text).ok_or_else(|| BadWalName(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<WalName> {
    if let Some(timeline) = text.strip_suffix(HISTORY) {
        return Some(WalName::History(hex(timeline)?));
    }
    if let Some(backup) = text.strip_suffix(BACKUP) {
        let (name, offset) = backup.split_once('.')?;
        return Some(WalName::Backup(segment(name)?, hex(offset)?));
    }
    if let Some(partial) = text.strip_suffix(PARTIAL) {
        return Some(WalName::Partial(segment(partial)?));
    }
    Some(WalName::Segment(segment(text)?))
}

fn segment(text: &str) -> Option<Segment> {
    let part = |at: usize| hex(text.get(at..at + 8)?);
    (text.len() == 24).then_some(())?;
    let found = Segment { timeline: part(0)?, log: part(8)?, part: part(16)? };
    (found.timeline > 0).then_some(found)
}

fn hex(text: &str) -> Option<u32> {
    (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Lsn, Segment, WalName};

    const MIB16: u64 = 16 << 20;

    #[test]
    fn names_are_read_as_postgres_writes_them() {
        for (text, object) in [
            ("0000000100000002000000FF", "0000000100000002/0000000100000002000000FF.gz"),
            ("0000000100000002000000FF.partial", "0000000100000002/0000000100000002000000FF.partial.gz"),
            ("0000000A.history", "0000000A.history.gz"),
            ("000000010000000000000004.00000028.backup", "000000010000000000000004.00000028.backup.gz"),
        ] {
            let name: WalName = text.parse().unwrap();
            assert_eq!((name.to_string().as_str(), name.object(false).as_str()), (text, object));
            assert_eq!(WalName::of_object(&name.object(false)), Some((name, false)));
            assert_eq!(WalName::of_object(&name.object(true)), Some((name, true)));
        }
        for wrong in [
            "",
            "../etc/passwd",
            "0000000100000002000000ff",
            "000000010000000200000",
            "000000000000000200000001",
            "00000001.history.gz",
            "+0000001.history",
            "000000010000000000000004.backup",
        ] {
            assert!(wrong.parse::<WalName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_next_segment_follows_over_the_end_of_a_log() {
        let last: WalName = "0000000300000002000000FF".parse().unwrap();
        let WalName::Segment(last) = last else { panic!() };
        assert_eq!(last.next(MIB16).to_string(), "000000030000000300000000");
        assert_eq!(last.end(MIB16), Lsn(0x3_0000_0000));
        assert_eq!(Segment::of(3, Lsn(0x2_FF00_0028), MIB16), last);
        let of_64 = Segment::of(1, Lsn(0x1_FC00_0000), 64 << 20);
        assert_eq!(of_64.to_string(), "00000001000000010000003F");
        assert_eq!(of_64.next(64 << 20).to_string(), "000000010000000200000000");
    }
}
