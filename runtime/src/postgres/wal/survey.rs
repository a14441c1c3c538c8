//! What an archive of the log holds: stretches without a hole, how far a base backup leads, and what is no longer needed.
//! Pure but for [`Survey::of`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::WalError;
use super::archive::Archive;
use super::cluster::ClusterId;
use super::lsn::Lsn;
use super::name::{Segment, WalName};

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
    /// What is before it was deleted as nobody was promised it.
    pub kept_from: Option<Segment>,
}

/// Where recovery goes on behind a base backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// The timeline that it was made on.
    pub timeline: u32,
    /// Where it was whole.
    pub stop: Lsn,
    /// Whether it has the log up to there itself.
    pub has_own: bool,
}

/// A segment that is not there, before others that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It was lost, or never came.
    Hole(Segment),
    /// It was deleted as nobody was promised it.
    GivenUp(Segment),
}

/// How far the log leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The last segment that can be replayed; `None`: none but those of the base itself.
    pub last: Option<Segment>,
    /// What keeps recovery from going on.
    pub missing: Option<Missing>,
    /// The timeline that recovery follows.
    pub timeline: u32,
    /// Whether there is a way to it: it is the base's own, or left that, or one before it, where the base was whole already.
    pub is_way: bool,
    /// The last segments on the way, oldest first.
    pub recent: VecDeque<Segment>,
}

/// A timeline that goes on beside one that left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// The first segment of the one that left.
    pub first: Segment,
    /// Its last.
    pub end: Segment,
    /// The last of the other, behind the place where they part.
    pub last: Segment,
}

/// Segments that are kept of a way.
pub const RECENT: usize = 64;

impl Survey {
    /// An empty one.
    pub fn new(bytes: u64) -> Survey {
        Survey { bytes, segments: BTreeSet::new(), histories: BTreeMap::new(), size: 0, kept_from: None }
    }

    /// Reads what an archive has of a cluster.
    ///
    /// # Errors
    /// When it cannot be listed, or anything of it not be read.
    pub fn of(archive: &Archive, cluster: &ClusterId) -> Result<Survey, WalError> {
        let (survey, troubles) = Survey::of_what_can_be_read(archive, cluster)?;
        troubles.into_iter().next().map_or(Ok(survey), Err)
    }

    /// Reads what can be read of what an archive has of a cluster, and says what cannot be: enough to recover by, and not to
    /// delete by.
    ///
    /// # Errors
    /// When it cannot be listed, or its newest segment not be read.
    pub fn of_what_can_be_read(
        archive: &Archive,
        cluster: &ClusterId,
    ) -> Result<(Survey, Vec<WalError>), WalError> {
        let files = archive.list(cluster)?;
        let mut survey = Survey::new(USUAL_BYTES);
        let mut troubles = Vec::new();
        survey.size = files.values().map(|held| held.size).sum();
        survey.kept_from = archive.kept_from(cluster).unwrap_or_else(|error| {
            troubles.push(error);
            None
        });
        for (name, held) in &files {
            match name {
                WalName::Segment(segment) => {
                    survey.segments.insert(*segment);
                }
                WalName::History(timeline) => match archive.forks(cluster, *name, *held) {
                    Ok((forks, _)) => drop(survey.histories.insert(*timeline, forks)),
                    Err(error) => troubles.push(error),
                },
                WalName::Partial(_) | WalName::Backup(..) => {}
            }
        }
        if let Some(newest) = survey.segments.iter().next_back().copied().map(WalName::Segment)
            && let Some(held) = files.get(&newest)
        {
            survey.bytes = archive.closing(cluster, newest, *held)?.length;
        }
        Ok((survey, troubles))
    }

    /// Adds what another archive of the same cluster has. Sizes are not added up where both have a file.
    pub fn add(&mut self, other: &Survey) {
        self.segments.extend(&other.segments);
        self.histories.extend(other.histories.clone());
        self.size = self.size.max(other.size);
        let kept = [self.kept_from, other.kept_from];
        self.kept_from = kept.into_iter().flatten().max_by_key(|segment| segment.place());
    }

    /// How far recovery leads from a base backup, to the newest timeline that comes from its own, or to the one that is
    /// `wanted`.
    pub fn reach(&self, begin: Begin, wanted: Option<u32>) -> Reach {
        let Begin { timeline, stop, has_own } = begin;
        let newest = || self.histories.keys().rev().find(|to| **to > timeline && self.leads(begin, **to));
        let target = wanted.or_else(|| newest().copied()).unwrap_or(timeline);
        let is_way = self.leads(begin, target);
        let mut reach =
            Reach { last: None, missing: None, timeline: target, is_way, recent: VecDeque::new() };
        if !is_way {
            return reach;
        }
        // The place is the end of what is needed: at a border, of the segment before it.
        let mut at = Segment::of(timeline, Lsn(stop.0.saturating_sub(1)), self.bytes);
        if has_own && !self.segments.contains(&at) {
            at = at.next(self.bytes);
        }
        for fork in self.way(timeline, target) {
            // The segment of the fork is whole on the new timeline only.
            let until = Segment::of(at.timeline, fork.1, self.bytes);
            while at < until {
                if !self.step(&mut at, &mut reach) {
                    return reach;
                }
            }
            at = Segment::of(fork.0, fork.1, self.bytes);
        }
        while self.step(&mut at, &mut reach) {}
        reach
    }

    /// Takes one segment, if it is there.
    fn step(&self, at: &mut Segment, reach: &mut Reach) -> bool {
        if self.segments.contains(at) {
            reach.last = Some(*at);
            if reach.recent.len() == RECENT {
                reach.recent.pop_front();
            }
            reach.recent.push_back(*at);
            *at = at.next(self.bytes);
            return true;
        }
        let of_timeline =
            |timeline: u32| self.segments.iter().filter(move |other| other.timeline == timeline);
        let is_missed = of_timeline(at.timeline).any(|other| other.place() > at.place())
            || (reach.timeline != at.timeline && of_timeline(reach.timeline).next().is_some());
        let is_given_up = self.kept_from.is_some_and(|kept| at.place() < kept.place());
        reach.missing = is_missed.then_some(match is_given_up {
            true => Missing::GivenUp(*at),
            false => Missing::Hole(*at),
        });
        false
    }

    /// Timelines that have segments and no history: recovery never goes over to them.
    pub fn without_history(&self) -> Vec<u32> {
        let timelines: BTreeSet<u32> = self.segments.iter().map(|segment| segment.timeline).collect();
        timelines
            .into_iter()
            .filter(|timeline| *timeline > 1 && !self.histories.contains_key(timeline))
            .collect()
    }

    /// Timelines beside the ones that left them: both, the first segment of the one that left, and the last of the other
    /// where that goes on behind the place.
    pub fn beside(&self) -> Vec<Beside> {
        let of_timeline =
            |timeline: u32| self.segments.iter().filter(move |other| other.timeline == timeline);
        let each = self.histories.iter().filter_map(|(timeline, forks)| {
            let Fork { parent, at } = *forks.last()?;
            let first = of_timeline(*timeline).min_by_key(|segment| segment.place())?;
            let end = of_timeline(*timeline).max_by_key(|segment| segment.place())?;
            let last = of_timeline(parent).max_by_key(|segment| segment.place())?;
            let is_behind = last.place() >= Segment::of(parent, at, self.bytes).place();
            is_behind.then_some(Beside { first: *first, end: *end, last: *last })
        });
        each.collect()
    }

    /// The last segment of each timeline.
    pub fn ends(&self) -> BTreeMap<u32, Segment> {
        self.segments.iter().map(|segment| (segment.timeline, *segment)).collect()
    }

    /// Segments that another has and this one not, but for those that it gave up.
    pub fn lacks<'s>(&'s self, all: &'s Survey) -> impl Iterator<Item = &'s Segment> {
        let is_kept = |segment: &&Segment| all.kept_from.is_none_or(|kept| segment.place() >= kept.place());
        all.segments.iter().filter(is_kept).filter(|segment| !self.segments.contains(segment))
    }

    /// Whether a base backup leads to a timeline: one that left its own before it was whole does not have it in its past, and
    /// Postgres refuses to go over to it.
    pub fn leads(&self, begin: Begin, to: u32) -> bool {
        let is_behind = |fork: &Fork| fork.parent == begin.timeline && fork.at >= begin.stop;
        begin.timeline == to || self.histories.get(&to).is_some_and(|forks| forks.iter().any(is_behind))
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

/// How long a segment is: places in bytes and in segments tell.
pub fn segment_bytes(places: impl IntoIterator<Item = (Segment, Lsn)>) -> u64 {
    /// In powers of two: what everybody has, then what else there may be.
    const LENGTHS: [u32; 11] = [24, 20, 21, 22, 23, 25, 26, 27, 28, 29, 30];
    let places: Vec<(Segment, Lsn)> = places.into_iter().collect();
    let agree = |bytes: &u64| places.iter().all(|(at, lsn)| Segment::of(at.timeline, *lsn, *bytes) == *at);
    LENGTHS.iter().map(|power| 1 << power).find(agree).unwrap_or(USUAL_BYTES)
}

/// The lines of a history: timeline, place, reason; comments begin with `#`.
pub fn forks(text: &str) -> Vec<Fork> {
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
    /// Whether it leads to the timeline of the newest one.
    pub is_way: bool,
}

/// The first segment that stays, so that every moment of the last `keep` seconds before the newest base backup can be
/// recovered: where the newest backup that is at least so much older, and leads to where the newest is, began, or the oldest,
/// if none is. `None` without one.
pub fn oldest_needed(starts: &[Start], keep: u64) -> Option<Segment> {
    let newest = starts.iter().map(|start| start.ended).max()?;
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let edge = newest.as_second().saturating_sub(keep);
    let is_old = |start: &&Start| start.is_way && start.ended.as_second() <= edge;
    let old = starts.iter().filter(is_old).max_by_key(|start| start.ended);
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
            kept_from: None,
            bytes: BYTES,
            segments: segments.into_iter().map(|(timeline, number)| segment(timeline, number)).collect(),
            histories: histories.iter().map(|(timeline, text)| (*timeline, forks(text))).collect(),
            size: 0,
        }
    }

    fn from(timeline: u32, number: u64) -> Begin {
        Begin { timeline, stop: Lsn(number * BYTES + 40), has_own: true }
    }

    fn lsn(number: u64) -> Lsn {
        Lsn(number * BYTES + 40)
    }

    fn ends(reach: &Reach) -> (Option<Segment>, Option<Missing>) {
        (reach.last, reach.missing)
    }

    #[test]
    fn a_hole_ends_what_can_be_reached() {
        let log = survey([1, 2, 3, 5, 6].map(|number| (1, number)), &[]);
        let hole = Some(Missing::Hole(segment(1, 4)));
        assert_eq!(ends(&log.reach(from(1, 2), None)), (Some(segment(1, 3)), hole));
        assert_eq!(ends(&log.reach(from(1, 5), None)), (Some(segment(1, 6)), None));
        // The base has all that there is.
        assert_eq!(ends(&log.reach(from(1, 7), None)), (None, None));
        // What it has itself need not be archived; without, it must be. At a border the segment before it is the last.
        assert_eq!(ends(&log.reach(from(1, 4), None)), (Some(segment(1, 6)), None));
        let without = Begin { has_own: false, ..from(1, 4) };
        assert_eq!(ends(&log.reach(without, None)), (None, hole));
        let border = Begin { stop: Lsn(4 * BYTES), ..from(1, 4) };
        assert_eq!(ends(&log.reach(border, None)), (Some(segment(1, 3)), hole));
    }

    #[test]
    fn what_was_given_up_is_no_hole() {
        let mut log = survey([5, 6, 8].map(|number| (1, number)), &[]);
        log.kept_from = Some(segment(1, 5));
        assert_eq!(ends(&log.reach(from(1, 2), None)), (None, Some(Missing::GivenUp(segment(1, 3)))));
        assert_eq!(
            ends(&log.reach(from(1, 5), None)),
            (Some(segment(1, 6)), Some(Missing::Hole(segment(1, 7))))
        );
        let other = survey([2, 5, 6, 7, 8].map(|number| (1, number)), &[]);
        log.add(&other);
        assert_eq!(other.lacks(&log).count(), 0);
        let few = survey([6].map(|number| (1, number)), &[]);
        assert_eq!(few.lacks(&log).copied().collect::<Vec<_>>(), [5, 7, 8].map(|number| segment(1, number)));
    }

    #[test]
    fn timelines_that_cannot_be_followed_or_grow_beside_one_another_are_seen() {
        let second = format!("1\t{}\tx\n", lsn(4));
        let log = survey([(1, 3), (1, 4), (1, 5), (2, 4), (3, 9)], &[(2, &second)]);
        assert_eq!(log.without_history(), [3]);
        assert_eq!(log.beside(), [Beside { first: segment(2, 4), end: segment(2, 4), last: segment(1, 5) }]);
        let log = survey([(1, 3), (2, 4)], &[(2, &second)]);
        assert_eq!((log.without_history(), log.beside()), (Vec::new(), Vec::new()));
    }

    #[test]
    fn recovery_goes_over_to_the_newest_timeline_that_comes_from_the_base_s() {
        // Promoted in segment 4, and again in 6; timeline 9 comes from elsewhere.
        let second = format!("1\t{}\tno recovery target specified\n", lsn(4));
        let third = format!("# kept\n{second}2\t{}\tbefore 2026\n", lsn(6));
        let own: Vec<(u32, u64)> =
            [(1, 2), (1, 3), (1, 4), (1, 5), (2, 4), (2, 5), (2, 6), (3, 6), (3, 7), (9, 8)].to_vec();
        let log = survey(own.clone(), &[(2, &second), (3, &third), (9, "8\t0/9000000\tx\n")]);
        assert_eq!(ends(&log.reach(from(1, 2), None)), (Some(segment(3, 7)), None));
        assert_eq!(log.reach(from(1, 2), None).timeline, 3);
        assert_eq!(log.reach(from(1, 2), Some(1)).last, Some(segment(1, 5)));
        assert_eq!(log.reach(from(1, 2), Some(2)).last, Some(segment(2, 6)));
        assert_eq!(log.reach(from(2, 5), None).last, Some(segment(3, 7)));
        // The first segment of a timeline is missing.
        let without = survey(own.into_iter().filter(|found| *found != (3, 6)), &[(2, &second), (3, &third)]);
        let hole = Some(Missing::Hole(segment(3, 6)));
        assert_eq!(ends(&without.reach(from(1, 2), None)), (Some(segment(2, 5)), hole));
    }

    #[test]
    fn a_backup_that_was_whole_behind_the_fork_stays_on_its_own_timeline() {
        // Backed up once more in segment 5, then recovered to a moment in 3 and promoted.
        let second = format!("1\t{}\tbefore 2026\n", lsn(3));
        let own = [(1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (2, 3), (2, 4), (2, 5), (2, 6)];
        let log = survey(own, &[(2, &second)]);
        for (at, timeline) in [(2, 2), (3, 2), (4, 1), (5, 1)] {
            let reach = log.reach(from(1, at), None);
            assert_eq!(
                (reach.timeline, ends(&reach)),
                (timeline, (Some(segment(timeline, 6)), None)),
                "{at}"
            );
        }
        let reach = log.reach(from(1, 5), Some(2));
        assert_eq!((reach.is_way, ends(&reach)), (false, (None, None)));
        assert!(!log.reach(from(1, 2), Some(7)).is_way, "without a history nothing leads there");
    }

    #[test]
    fn the_log_that_leads_to_the_newest_backup_stays_where_a_later_one_is_of_a_past_that_was_left() {
        let start = |ended, number, is_way| Start {
            ended: Timestamp::from_second(ended).unwrap(),
            segment: segment(1, number),
            is_way,
        };
        let starts = [start(100, 1, true), start(200, 3, false), start(300, 9, true)];
        assert_eq!(oldest_needed(&starts, 50), Some(segment(1, 1)));
        assert_eq!(oldest_needed(&starts, 0), Some(segment(1, 9)));
    }

    fn starts() -> impl Strategy<Value = Vec<Start>> {
        // Backups follow one another in time and in the log.
        prop::collection::vec((1_i64..200_000, 0_u64..6), 1..12).prop_map(|steps| {
            let (mut time, mut number) = (1_700_000_000, 1);
            let start = |(later, further): (i64, u64)| {
                time += later;
                number += further;
                Start {
                    ended: Timestamp::from_second(time).unwrap(),
                    segment: segment(1, number),
                    is_way: true,
                }
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
