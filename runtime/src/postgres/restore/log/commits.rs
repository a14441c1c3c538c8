//! The last commit in a log: behind it there is nothing that recovery to a moment could end at, and Postgres refuses such a
//! moment once all is restored.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::postgres::recovery::Point;
use crate::postgres::wal::lsn::Lsn;
use crate::postgres::wal::name::Segment;
use crate::postgres::wal::records::{Commit, Records, Until};

/// Segments that are looked into, from the last one back: an idle server archives some without a commit.
const LOOKED_INTO: usize = 8;

/// What is known of the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Its last commit.
    Commit(Commit),
    /// There is none in it since the backup.
    Nothing,
    /// It cannot be told.
    Unknown,
}

/// The end of the log that is replayed last, given by its segments, oldest first.
pub fn tail(recent: &VecDeque<Segment>, read: impl Fn(Segment) -> Option<Vec<u8>>) -> Tail {
    let mut behind: Option<(Segment, Vec<u8>)> = None;
    for segment in recent.iter().rev().take(LOOKED_INTO) {
        let Some(bytes) = read(*segment).filter(|bytes| is_of(*segment, bytes)) else { return Tail::Unknown };
        let here = (*segment, bytes);
        // A record may begin in one segment and end in the next.
        let mut records = Records::new(Until::default());
        for (segment, bytes) in [Some(&here), behind.as_ref()].into_iter().flatten() {
            if records.begin(*segment) {
                records.take(*segment, bytes);
            }
        }
        if let Some(found) = records.last() {
            return Tail::Commit(found);
        }
        behind = Some(here);
    }
    if recent.len() <= LOOKED_INTO { Tail::Nothing } else { Tail::Unknown }
}

/// Whether these are a segment's bytes: its first page says where it is.
fn is_of(segment: Segment, bytes: &[u8]) -> bool {
    let place = bytes.get(8..16).and_then(|place| place.try_into().ok()).map(u64::from_ne_bytes);
    place == Some(segment.begin(bytes.len() as u64).0)
}

impl Tail {
    /// When the last commit was.
    pub fn moment(self) -> Option<Timestamp> {
        match self {
            Tail::Commit(commit) => Timestamp::from_microsecond(commit.time).ok(),
            Tail::Nothing | Tail::Unknown => None,
        }
    }

    /// The target that Postgres can find, where a moment is wanted behind the last commit: that commit, or the end of a backup
    /// that has it already. `None`: the moment itself.
    pub fn instead(self, point: &Point, stop: Option<Lsn>) -> Option<Point> {
        let is_behind = |last: Commit| match point {
            Point::Time(time) => time.as_microsecond() >= last.time,
            Point::Before(time) => time.as_microsecond() > last.time,
            Point::Latest | Point::Immediate | Point::Lsn(_) | Point::Name(_) | Point::Xid(_) => false,
        };
        match self {
            Tail::Commit(last) if is_behind(last) && stop.is_none_or(|stop| stop <= last.at) => {
                Some(Point::Lsn(last.at))
            }
            Tail::Commit(last) if is_behind(last) => Some(Point::Immediate),
            Tail::Nothing if point.is_moment() => Some(Point::Immediate),
            Tail::Commit(_) | Tail::Nothing | Tail::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_moment_behind_the_last_commit_is_that_commit() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let at = time("2026-11-20T10:00:00.5Z");
        let last = Tail::Commit(Commit { time: at.as_microsecond(), at: Lsn(500) });
        let commit = Some(Point::Lsn(Lsn(500)));
        for (point, wanted) in [
            (Point::Time(time("2026-11-20T10:00:00.499999Z")), None),
            // With the last commit itself there is nothing behind it to stop at.
            (Point::Time(at), commit.clone()),
            (Point::Time(time("2026-11-20T11:00:00Z")), commit.clone()),
            (Point::Before(at), None),
            (Point::Before(time("2026-11-20T10:00:00.500001Z")), commit),
            (Point::Latest, None),
            (Point::Lsn(Lsn(900)), None),
        ] {
            assert_eq!(last.instead(&point, Some(Lsn(400))), wanted, "{point}");
        }
        let later = Point::Time(time("2026-11-20T11:00:00Z"));
        assert_eq!(last.instead(&later, Some(Lsn(501))), Some(Point::Immediate));
        assert_eq!(Tail::Nothing.instead(&later, None), Some(Point::Immediate));
        assert_eq!(Tail::Unknown.instead(&later, None), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_a_log_without_commits() {
        let segments: VecDeque<Segment> = (0..9).map(|at| Segment::of(1, Lsn(at << 20), 1 << 20)).collect();
        let empty = |segment: Segment| {
            let mut bytes = vec![0; 1 << 20];
            bytes[8..16].copy_from_slice(&segment.begin(1 << 20).0.to_ne_bytes());
            Some(bytes)
        };
        assert_eq!(tail(&segments, |_| None), Tail::Unknown);
        assert_eq!(tail(&segments, |_| Some(vec![7; 1 << 20])), Tail::Unknown);
        assert_eq!(tail(&segments, empty), Tail::Unknown, "one more than is looked into");
        assert_eq!(tail(&segments.iter().skip(1).copied().collect(), empty), Tail::Nothing);
    }
}
