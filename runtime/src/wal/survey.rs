//! What an archive of the log holds: stretches without a hole, how far a base backup leads, and what is no longer needed.
//! Pure but for [`Survey::of`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::WalError;
use super::archive::Archive;
use super::cluster::ClusterId;
use super::name::{Segment, WalName};
use crate::postgres::recovery::Lsn;

/// The length of segments where nothing tells.
pub const USUAL_BYTES: u64 = 16 << 20;

/// Where a timeline left another: the other, and the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The timeline it came from.
    pub parent: u32,
    /// Where.
    pub at: Lsn,
}

/// The log of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Bytes of a segment.
    pub bytes: u64,
    /// Whole segments.
    pub segments: BTreeSet<Segment>,
    /// The way to each timeline that has a history, oldest first.
    pub histories: BTreeMap<u32, Vec<Fork>>,
    /// Bytes that all of it takes.
    pub size: u64,
}

/// How far the log leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The last segment that can be replayed; `None`: none but those of the base itself.
    pub last: Option<Segment>,
    /// The first one that is missing before others.
    pub hole: Option<Segment>,
}

impl Survey {
    /// Reads what an archive has of a cluster.
    ///
    /// # Errors
    /// When it cannot be listed, or a history not be read.
    pub fn of(archive: &Archive, cluster: &ClusterId) -> Result<Survey, WalError> {
        let files = archive.list(cluster)?;
        let mut survey = Survey {
            bytes: USUAL_BYTES,
            segments: BTreeSet::new(),
            histories: BTreeMap::new(),
            size: files.values().sum(),
        };
        for (name, size) in &files {
            match name {
                WalName::Segment(segment) => {
                    survey.segments.insert(*segment);
                }
                WalName::History(timeline) => {
                    let (text, _) = archive.text(cluster, *name, *size)?;
                    survey.histories.insert(*timeline, forks(&text));
                }
                WalName::Partial(_) | WalName::Backup(..) => {}
            }
        }
        if let Some(newest) = survey.segments.iter().next_back().copied().map(WalName::Segment)
            && let Some(size) = files.get(&newest)
        {
            survey.bytes = archive.closing(cluster, newest, *size)?.length;
        }
        Ok(survey)
    }

    /// Adds what another archive of the same cluster has. Sizes are not added up where both have a file.
    pub fn add(&mut self, other: Survey) {
        self.segments.extend(other.segments);
        self.histories.extend(other.histories);
        self.size = self.size.max(other.size);
    }

    /// How far recovery leads from a base backup that was whole at `stop` on `timeline`, to the newest timeline, or to the
    /// one that is `wanted`.
    pub fn reach(&self, timeline: u32, stop: Lsn, wanted: Option<u32>) -> Reach {
        let newest = || self.histories.keys().rev().find(|to| **to > timeline && self.leads(timeline, **to));
        let target = wanted.or_else(|| newest().copied()).unwrap_or(timeline);
        let mut reach = Reach { last: None, hole: None };
        let mut at = Segment::of(timeline, stop, self.bytes);
        for fork in self.way(timeline, target) {
            // The segment of the fork is whole on the new timeline only.
            let until = Segment::of(at.timeline, fork.1, self.bytes);
            while at < until {
                if !self.step(&mut at, &mut reach, target) {
                    return reach;
                }
            }
            at = Segment::of(fork.0, fork.1, self.bytes);
        }
        while self.step(&mut at, &mut reach, target) {}
        reach
    }

    /// Takes one segment, if it is there.
    fn step(&self, at: &mut Segment, reach: &mut Reach, target: u32) -> bool {
        if self.segments.contains(at) {
            reach.last = Some(*at);
            *at = at.next(self.bytes);
            return true;
        }
        let is_later = |other: &&Segment| other.place() > at.place();
        let of_timeline =
            |timeline: u32| self.segments.iter().filter(move |other| other.timeline == timeline);
        if of_timeline(at.timeline).any(|other| is_later(&other))
            || (target != at.timeline && of_timeline(target).next().is_some())
        {
            reach.hole = Some(*at);
        }
        false
    }

    /// Whether a timeline comes from another.
    fn leads(&self, from: u32, to: u32) -> bool {
        from == to
            || self.histories.get(&to).is_some_and(|forks| forks.iter().any(|fork| fork.parent == from))
    }

    /// The timelines that are entered on the way, each with the place where it is.
    fn way(&self, from: u32, to: u32) -> Vec<(u32, Lsn)> {
        let Some(forks) = self.histories.get(&to) else { return Vec::new() };
        let from = forks.iter().position(|fork| fork.parent == from).unwrap_or(forks.len());
        let entered = forks.iter().skip(1).map(|fork| fork.parent).chain([to]);
        forks.iter().zip(entered).skip(from).map(|(fork, entered)| (entered, fork.at)).collect()
    }

    /// What no base backup from `oldest` on needs, oldest first: segments that end before it begins, on whatever timeline.
    /// Histories are small and stay.
    pub fn unneeded(&self, oldest: Segment) -> Vec<Segment> {
        let mut found: Vec<Segment> =
            self.segments.iter().copied().filter(|segment| segment.place() < oldest.place()).collect();
        found.sort_by_key(|segment| (segment.place(), segment.timeline));
        found
    }
}

/// The lines of a history: timeline, place, reason; comments begin with `#`.
pub(super) fn forks(text: &str) -> Vec<Fork> {
    let fork = |line: &str| {
        let mut words = line.split_whitespace();
        Some(Fork { parent: words.next()?.parse().ok()?, at: words.next()?.parse().ok()? })
    };
    text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(fork).collect()
}

/// A base backup, as far as the log is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// When it was whole.
    pub ended: Timestamp,
    /// The first segment that it needs.
    pub segment: Segment,
}

/// The first segment that stays, so that every moment of the last `keep` seconds before the newest base backup can be
/// recovered: where the newest backup that is at least so much older began, or the oldest, if none is. `None` without one.
pub fn oldest_needed(starts: &[Start], keep: u64) -> Option<Segment> {
    let newest = starts.iter().map(|start| start.ended).max()?;
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let edge = newest.as_second().saturating_sub(keep);
    let old = starts.iter().filter(|start| start.ended.as_second() <= edge).max_by_key(|start| start.ended);
    let base = old.or_else(|| starts.iter().min_by_key(|start| start.ended))?;
    // A younger backup may have begun before it on another timeline.
    let younger = starts.iter().filter(|start| start.ended >= base.ended);
    younger.map(|start| start.segment).min_by_key(|segment| segment.place())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const BYTES: u64 = USUAL_BYTES;

    fn segment(timeline: u32, number: u64) -> Segment {
        Segment::of(timeline, Lsn(number * BYTES), BYTES)
    }

    fn survey(segments: impl IntoIterator<Item = (u32, u64)>, histories: &[(u32, &str)]) -> Survey {
        Survey {
            bytes: BYTES,
            segments: segments.into_iter().map(|(timeline, number)| segment(timeline, number)).collect(),
            histories: histories.iter().map(|(timeline, text)| (*timeline, forks(text))).collect(),
            size: 0,
        }
    }

    fn lsn(number: u64) -> Lsn {
        Lsn(number * BYTES + 40)
    }

    #[test]
    fn a_hole_ends_what_can_be_reached() {
        let log = survey([1, 2, 3, 5, 6].map(|number| (1, number)), &[]);
        let reach = log.reach(1, lsn(2), None);
        assert_eq!((reach.last, reach.hole), (Some(segment(1, 3)), Some(segment(1, 4))));
        assert_eq!(log.reach(1, lsn(5), None), Reach { last: Some(segment(1, 6)), hole: None });
        // The base has all that there is.
        assert_eq!(log.reach(1, lsn(7), None), Reach { last: None, hole: None });
    }

    #[test]
    fn recovery_goes_over_to_the_newest_timeline_that_comes_from_the_base_s() {
        // Promoted in segment 4, and again in 6; timeline 9 comes from elsewhere.
        let second = format!("1\t{}\tno recovery target specified\n", lsn(4));
        let third = format!("# kept\n{second}2\t{}\tbefore 2026\n", lsn(6));
        let own: Vec<(u32, u64)> =
            [(1, 2), (1, 3), (1, 4), (1, 5), (2, 4), (2, 5), (2, 6), (3, 6), (3, 7), (9, 8)].to_vec();
        let log = survey(own.clone(), &[(2, &second), (3, &third), (9, "8\t0/9000000\tx\n")]);
        assert_eq!(log.reach(1, lsn(2), None), Reach { last: Some(segment(3, 7)), hole: None });
        assert_eq!(log.reach(1, lsn(2), Some(1)).last, Some(segment(1, 5)));
        assert_eq!(log.reach(1, lsn(2), Some(2)).last, Some(segment(2, 6)));
        assert_eq!(log.reach(2, lsn(5), None).last, Some(segment(3, 7)));
        // The first segment of a timeline is missing.
        let without = survey(own.into_iter().filter(|found| *found != (3, 6)), &[(2, &second), (3, &third)]);
        let reach = without.reach(1, lsn(2), None);
        assert_eq!((reach.last, reach.hole), (Some(segment(2, 5)), Some(segment(3, 6))));
    }

    fn starts() -> impl Strategy<Value = Vec<Start>> {
        // Backups follow one another in time and in the log.
        prop::collection::vec((1_i64..200_000, 0_u64..6), 1..12).prop_map(|steps| {
            let (mut time, mut number) = (1_700_000_000, 1);
            let start = |(later, further): (i64, u64)| {
                time += later;
                number += further;
                Start { ended: Timestamp::from_second(time).unwrap(), segment: segment(1, number) }
            };
            steps.into_iter().map(start).collect()
        })
    }

    proptest! {
        /// Whatever goes, each moment of the promised time that ever could be recovered still can be.
        #[test]
        fn what_goes_is_needed_for_no_promised_moment(
            starts in starts(),
            keep in 0_u64..900_000,
            moment in 0.0..1.0,
        ) {
            let oldest = oldest_needed(&starts, keep).unwrap();
            let (first, newest) = (starts[0].ended, starts.last().unwrap().ended);
            let edge = (newest.as_second() - keep as i64).max(first.as_second());
            let moment = edge + ((newest.as_second() - edge) as f64 * moment) as i64;
            // The newest backup that ended before the moment begins at a segment that stays.
            let base = starts.iter().rev().find(|start| start.ended.as_second() <= moment).unwrap();
            prop_assert!(base.segment.place() >= oldest.place());
            let log = survey((0..80).map(|number| (1, number)), &[]);
            let gone = log.unneeded(oldest);
            prop_assert!(gone.iter().all(|gone| gone.place() < base.segment.place()));
            // The oldest go first, and none is left behind.
            prop_assert!(gone.is_sorted_by_key(|gone| gone.place()));
            prop_assert_eq!(gone.len() as u64, oldest.begin(BYTES).0 / BYTES);
        }

        /// To promise more never deletes more.
        #[test]
        fn a_longer_promise_keeps_more(starts in starts(), keep in 0_u64..900_000, more in 0_u64..900_000) {
            let (short, long) = (oldest_needed(&starts, keep), oldest_needed(&starts, keep + more));
            prop_assert!(long.unwrap().place() <= short.unwrap().place());
        }
    }

    #[test]
    fn without_a_backup_nothing_is_said() {
        assert_eq!(oldest_needed(&[], 5), None);
    }
}
