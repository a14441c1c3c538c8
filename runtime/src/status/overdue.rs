//! Runs that should have been made and were not.

use std::collections::BTreeMap;

use backplan_compiler::due;
use backplan_compiler::model::{Level, Model, Schedule, SourceId, When};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::Serialize;

use super::next_due;
use crate::backups::shelf::Shelves;
use crate::catalog::ids::RunId;
use crate::catalog::manifest::{Manifest, SourceRecord, SourceStatus};
use crate::past::history::UnderWay;

/// Seconds that a run may be late, at the most, before it is overdue.
const GRACE: i64 = 3600;
/// Hours around a change of clocks in which what starts runs by the clock on the wall is not at the schedule's moments.
const AROUND: i64 = 26;

/// A run that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overdue {
    /// When it was due.
    pub since: Timestamp,
    /// Its level, where the schedule has times for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The sources that it would have been of; empty: all that the schedule is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// What the plan's schedule has asked for in vain: for each source, and each level that has times of its own, a run that was asked for
/// the source, of that level or a higher one, since the last moment. The longest ago is told.
pub(super) fn overdue(
    model: &Model,
    shelves: &Shelves,
    under_way: Option<&UnderWay>,
    now: Timestamp,
) -> Option<Overdue> {
    let schedule = model.schedule.as_ref()?;
    let mut runs: BTreeMap<RunId, &Manifest> = BTreeMap::new();
    for shelf in &shelves.shelves {
        runs.extend(shelf.catalog.runs().map(|run| (run.run, run)));
    }
    let by_level = schedule.levels().into_iter().map(|(level, when)| (Some(level), when));
    let wanted: Vec<(Option<Level>, &When)> = match schedule.all_levels() {
        Some(when) => vec![(None, when)],
        None => by_level.collect(),
    };
    let meant: Vec<&str> = (0..model.sources.len())
        .map(SourceId)
        .filter(|id| model.own_schedule(*id).is_none())
        .map(|id| model.source(id).name.as_str())
        .collect();
    let mut missing: BTreeMap<(Timestamp, Option<Level>), Vec<String>> = BTreeMap::new();
    for source in &meant {
        for (level, when) in &wanted {
            let of_it: Vec<&Manifest> = runs.values().copied().filter(|run| asked_for(run, source)).collect();
            let newest = of_it.iter().rev().find(|run| level.is_none_or(|level| reaches(run, source, level)));
            // One that was never made is told of with the sources.
            let Some(newest) = newest.or(of_it.first()) else { continue };
            let covers = under_way.filter(|way| way.only.is_empty() || way.only.contains(*source));
            if let Some(since) = missed(schedule, when, newest.started, covers, now) {
                missing.entry((since, *level)).or_default().push((*source).to_owned());
            }
        }
    }
    let ((since, level), sources) = missing.into_iter().next()?;
    let sources = if sources.len() == meant.len() { Vec::new() } else { sources };
    Some(Overdue { since, level, sources })
}

/// Since when a run of a schedule of one kind of run is missing.
pub(super) fn since(
    schedule: &Schedule,
    newest: Timestamp,
    under_way: Option<&UnderWay>,
    now: Timestamp,
) -> Option<Timestamp> {
    let whens = schedule.all_levels().into_iter().chain(schedule.levels().into_iter().map(|(_, when)| when));
    whens.filter_map(|when| missed(schedule, when, newest, under_way, now)).min()
}

/// Whether a run was to be of a source: not one of others (`--only`).
fn asked_for(run: &Manifest, source: &str) -> bool {
    record(run, source).is_some_and(|record| {
        record.status != SourceStatus::Skipped
            || record.reason.as_deref().is_none_or(|reason| reason != SourceRecord::NOT_READ)
    })
}

fn record<'a>(run: &'a Manifest, source: &str) -> Option<&'a SourceRecord> {
    run.sources.iter().find(|record| record.name == *source)
}

/// Whether a run took a source at this level or a higher one; where it failed or was not there, whether it took the others so.
fn reaches(run: &Manifest, source: &str, level: Level) -> bool {
    let contents = run.archives.iter().flat_map(|archive| &archive.contents);
    let levels = contents.map(|content| (content.source.as_str(), content.level));
    let apart = run.repositories.iter().map(|apart| (apart.source.as_str(), apart.level));
    let all: Vec<(&str, Level)> = levels.chain(apart).collect();
    let own = all.iter().filter(|(name, _)| *name == source).map(|(_, level)| *level).min();
    own.or(all.iter().map(|(_, level)| *level).min()).is_none_or(|lowest| lowest >= level)
}

/// The first moment behind a run, if it is longer ago than the jitter, and an hour or half the time to the schedule's next moment,
/// whichever is shorter; and if no run is under way that began for it.
fn missed(
    schedule: &Schedule,
    when: &When,
    newest: Timestamp,
    under_way: Option<&UnderWay>,
    now: Timestamp,
) -> Option<Timestamp> {
    let zone = due::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let from = newest.to_zoned(zone).checked_add(1.second()).ok()?;
    let mut moments = due::moments(when, &from).map(|at| at.timestamp());
    let first = moments.find(|at| !is_shifted(schedule, newest, *at))?;
    let late = |moment: Timestamp| {
        let second = next_due(schedule, moment)?;
        let half = (second.as_second() - moment.as_second()) / 2;
        let jitter = i64::try_from(schedule.jitter.unwrap_or(0)).unwrap_or(i64::MAX);
        moment.checked_add(SignedDuration::from_secs(half.min(GRACE).saturating_add(jitter))).ok()
    };
    let is_made = |way: &UnderWay| {
        // One that never ends is told of at the next moment.
        let until = next_due(schedule, way.began).and_then(late);
        first <= way.began && is_for(schedule, when, way.began) && until.is_none_or(|until| now <= until)
    };
    (late(first)? < now && !under_way.is_some_and(is_made)).then_some(first)
}

/// Whether a run that began then was started for the moments of `when`: of several levels, for those that came due last.
fn is_for(schedule: &Schedule, when: &When, began: Timestamp) -> bool {
    let zone = due::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let own = due::latest(when, &began.to_zoned(zone)).map(|at| at.timestamp());
    own.is_some() && own == due::last(schedule, began)
}

/// Whether a run is the one of this moment, started before it by a clock on the wall that was changed meanwhile.
fn is_shifted(schedule: &Schedule, run: Timestamp, moment: Timestamp) -> bool {
    let Some(zone) = due::zone(&schedule.zone) else { return false };
    let offset = |hours: i64| {
        let at = moment.checked_add(SignedDuration::from_hours(hours)).ok()?;
        Some(zone.to_offset(at).seconds())
    };
    let (Some(before), Some(after)) = (offset(-AROUND), offset(AROUND)) else { return false };
    let shift = i64::from((after - before).abs());
    shift > 0 && moment.as_second() - run.as_second() <= shift
}
