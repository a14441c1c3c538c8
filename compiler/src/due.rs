//! The moments at which runs are due, and the names that time gives to artefacts.

use std::ops::RangeInclusive;
use std::str::FromStr;

use croner::Cron;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ToSpan, Zoned};

use crate::model::{Due, Level, Model, Schedule, SourceId, When};

mod ticks;

pub use ticks::{Tick, ticks};

/// Seconds of a day without a change of clocks.
const DAY: u64 = 86_400;

/// The zone with this name, from the database that is part of the program.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// Every zone's name.
pub fn zone_names() -> Vec<String> {
    TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
}

/// A fixed Friday at midnight, for questions that do not depend on the day.
pub fn some_day(zone: &TimeZone) -> Option<Zoned> {
    jiff::civil::date(2027, 1, 1).to_zoned(zone.clone()).ok()
}

/// Why `format` is not a strftime format; `None` if it is one.
pub fn format_error(format: &str) -> Option<String> {
    let day = some_day(&TimeZone::UTC)?;
    jiff::fmt::strtime::format(format, &day).err().map(|error| error.to_string())
}

/// `at` in this format; empty where the format cannot be used.
pub fn format(format: &str, at: &Zoned) -> String {
    jiff::fmt::strtime::format(format, at).unwrap_or_default()
}

/// Why these moments can never be; `None` if they can.
pub fn when_error(when: &When) -> Option<String> {
    match when {
        When::Every(0) => Some("`every` needs a duration above zero".into()),
        When::Every(seconds) if *seconds > DAY => {
            Some("`every` counts from midnight and cannot be longer than a day".into())
        }
        When::Every(_) => None,
        When::Cron(text) => match Cron::from_str(text) {
            Err(error) => {
                Some(format!("`{text}` is not a cron expression: {}", lower_first(&error.to_string())))
            }
            Ok(cron) => {
                let day = some_day(&TimeZone::UTC)?;
                let never = cron.find_next_occurrence(&day, true).is_err();
                never.then(|| format!("`{text}` is never due"))
            }
        },
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The moments from `from` on, itself included.
pub fn moments(when: &When, from: &Zoned) -> Box<dyn Iterator<Item = Zoned>> {
    match when {
        When::Every(seconds) => Box::new(every(*seconds, from)),
        When::Cron(text) => match Cron::from_str(text) {
            Ok(cron) => Box::new(cron.iter_from(from.clone(), croner::Direction::Forward)),
            Err(_) => Box::new(std::iter::empty()),
        },
    }
}

/// The last moment at or before `at`.
pub fn latest(when: &When, at: &Zoned) -> Option<Zoned> {
    match when {
        When::Every(seconds) => {
            let midnight = at.start_of_day().ok()?;
            let step = i64::try_from((*seconds).clamp(1, DAY)).ok()?;
            let passed = midnight.duration_until(at).as_secs() / step;
            midnight.checked_add(SignedDuration::from_secs(passed * step)).ok()
        }
        When::Cron(text) => Cron::from_str(text).ok()?.find_previous_occurrence(at, true).ok(),
    }
}

/// Moments counted from each midnight.
fn every(seconds: u64, from: &Zoned) -> impl Iterator<Item = Zoned> + use<> {
    let from = from.clone();
    let step = i64::try_from(seconds.clamp(1, DAY)).unwrap_or(1);
    // A day whose midnight is skipped begins at one: the next begins at midnight again.
    let next = |day: &Zoned| day.checked_add(1.day()).ok()?.start_of_day().ok();
    let midnights = std::iter::successors(from.start_of_day().ok(), next);
    midnights
        .flat_map(move |midnight| {
            let end = next(&midnight).unwrap_or_else(|| midnight.clone());
            (0..)
                .map_while(move |index: i64| {
                    midnight.checked_add(SignedDuration::from_secs(step.checked_mul(index)?)).ok()
                })
                .take_while(move |moment| *moment < end)
        })
        .filter(move |moment| *moment >= from)
}

/// The last moment of a schedule at or before `now`, whatever its level.
pub fn last(schedule: &Schedule, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let now = now.to_zoned(zone(&schedule.zone)?);
    let moments: Vec<Zoned> = match &schedule.due {
        Due::Run(when) => latest(when, &now).into_iter().collect(),
        Due::Levels { .. } => {
            schedule.levels().into_iter().filter_map(|(_, when)| latest(when, &now)).collect()
        }
    };
    moments.iter().map(Zoned::timestamp).max()
}

/// Whether a source that has a schedule of its own is due, whose last backup began at `newest`. Where what was missed is not made
/// up for, only what came due no earlier than the plan's own last run.
pub fn is_due(
    model: &Model,
    source: SourceId,
    newest: Option<jiff::Timestamp>,
    now: jiff::Timestamp,
) -> bool {
    let Some(own) = model.own_schedule(source) else { return true };
    let Some(moment) = last(own, now) else { return false };
    let with_the_plan = model.schedule.as_ref().and_then(|schedule| last(schedule, now));
    let is_made_up = own.catch_up || with_the_plan.is_none_or(|plans| moment >= plans);
    newest.is_none_or(|newest| newest < moment && is_made_up)
}

/// Whether the plan's own run at this very moment takes a source along that has a schedule of its own.
pub fn goes_along(model: &Model, source: SourceId, now: jiff::Timestamp) -> bool {
    let moment = |schedule: Option<&Schedule>| schedule.and_then(|schedule| last(schedule, now));
    let own = moment(model.own_schedule(source));
    own.is_some() && own == moment(model.schedule.as_ref())
}

/// The higher level that a schedule has at the very moment at which this one was due last; `None`: there is none.
pub fn displaced(schedule: &Schedule, level: Level, now: jiff::Timestamp) -> Option<Level> {
    let now = now.to_zoned(zone(&schedule.zone)?);
    let levels = schedule.levels();
    let moment = |wanted: Level| {
        let (_, when) = levels.iter().find(|(level, _)| *level == wanted)?;
        latest(when, &now)
    };
    let own = moment(level)?;
    let higher = levels.iter().map(|(other, _)| *other).filter(|other| *other > level);
    higher.filter(|other| moment(*other).is_some_and(|at| at == own)).max()
}

/// The runs of a schedule in `span`, at most `count`, each with its level where the schedule gives one. Where two levels
/// are due at one instant, the higher is run.
pub fn runs(schedule: &Schedule, span: RangeInclusive<Zoned>, count: usize) -> Vec<(Zoned, Option<Level>)> {
    let due_in = |when: &When| {
        let until = span.end().clone();
        moments(when, span.start()).take_while(move |at| *at <= until).take(count)
    };
    let (full, differential, incremental) = match &schedule.due {
        Due::Run(when) => return due_in(when).map(|at| (at, None)).collect(),
        Due::Levels { full, differential, incremental } => (full, differential, incremental),
    };
    let levels =
        [(Level::Full, full), (Level::Differential, differential), (Level::Incremental, incremental)];
    let mut runs: Vec<(Zoned, Option<Level>)> = levels
        .into_iter()
        .filter_map(|(level, when)| Some((level, when.as_ref()?)))
        .flat_map(|(level, when)| due_in(when).map(move |at| (at, Some(level))))
        .collect();
    runs.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    runs.dedup_by(|later, earlier| later.0 == earlier.0);
    runs.truncate(count);
    runs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{latest, moments, some_day, when_error, zone};
    use crate::model::When;

    fn shown(when: &When, count: usize) -> Vec<String> {
        let from = some_day(&zone("Europe/Berlin").unwrap()).unwrap();
        moments(when, &from).take(count).map(|at| at.strftime("%m-%d %H:%M:%S").to_string()).collect()
    }

    #[test]
    fn every_starts_afresh_at_midnight() {
        let moments = shown(&When::Every(7 * 3600), 5);
        assert_eq!(
            moments,
            ["01-01 00:00:00", "01-01 07:00:00", "01-01 14:00:00", "01-01 21:00:00", "01-02 00:00:00"]
        );
    }

    #[test]
    fn the_last_moment_is_the_one_that_the_next_ones_follow() {
        let from = some_day(&zone("Europe/Berlin").unwrap()).unwrap();
        for when in [When::Every(7 * 3600), When::Cron("30 2 * * *".into()), When::Cron("0 3 * * 7".into())] {
            for moment in moments(&when, &from).take(20) {
                let shown = format!("{when:?} {moment}");
                assert_eq!(latest(&when, &moment), Some(moment.clone()), "{shown}");
                let later = &moment + jiff::SignedDuration::from_mins(20);
                assert_eq!(latest(&when, &later), Some(moment), "{shown}");
            }
        }
    }

    #[test]
    fn cron_is_local_time() {
        assert_eq!(shown(&When::Cron("30 2 * * *".into()), 2), ["01-01 02:30:00", "01-02 02:30:00"]);
    }

    #[test]
    fn impossible_moments_are_told() {
        assert!(when_error(&When::Cron("0 0 31 2 *".into())).is_some());
        assert!(when_error(&When::Cron("61 0 * * *".into())).is_some());
        assert!(when_error(&When::Every(0)).is_some());
        assert!(when_error(&When::Every(DAY_AND_MORE)).is_some());
        assert!(when_error(&When::Cron("0 4 29 2 *".into())).is_none());
    }

    const DAY_AND_MORE: u64 = super::DAY + 1;
}
