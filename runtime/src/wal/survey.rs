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
                    let mut text = Vec::new();
                    archive.read(cluster, *name, *size, |bytes| {
                        text.extend_from_slice(bytes);
                        Ok(())
                    })?;
                    survey.histories.insert(*timeline, forks(&String::from_utf8_lossy(&text)));
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
fn forks(text: &str) -> Vec<Fork> {
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
