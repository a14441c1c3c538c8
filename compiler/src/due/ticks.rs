//! Moments by the hundred thousand: the same as [`super::runs`], computed in whole days of seconds where no clock changes.

use std::str::FromStr;

use croner::{Cron, Direction};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::model::{Due, Level, Schedule, When};

/// Seconds of a day on which no clock changes.
const DAY: i64 = 86_400;

/// A moment at which a run is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick {
    /// Seconds since 1970.
    pub at: i64,
    /// Seconds that the schedule's zone is ahead of UTC then.
    pub offset: i32,
    /// The level, where the schedule gives one.
    pub level: Option<Level>,
}

/// The runs of a schedule from `from` on until `until`, both included, at most `most`. Where two levels are due at one
/// instant, the higher is run.
pub fn ticks(schedule: &Schedule, from: Timestamp, until: Timestamp, most: usize) -> Vec<Tick> {
    let zone = super::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let days = Days::new(zone, from, until);
    let level_of = |when: &When, level| days.ticks(when, level, most);
    match &schedule.due {
        Due::Run(when) => level_of(when, None),
        Due::Levels { .. } => {
            let mut all: Vec<Tick> = (schedule.levels().into_iter())
                .flat_map(|(level, when)| level_of(when, Some(level)))
                .collect();
            all.sort_unstable_by(|a, b| a.at.cmp(&b.at).then(b.level.cmp(&a.level)));
            all.dedup_by_key(|tick| tick.at);
            all.truncate(most);
            all
        }
    }
}

/// The days of a span in a zone.
struct Days {
    zone: TimeZone,
    from: i64,
    until: i64,
    /// When clocks change in it.
    changes: Vec<i64>,
}

impl Days {
    fn new(zone: TimeZone, from: Timestamp, until: Timestamp) -> Days {
        let before = from.checked_sub(48.hours()).unwrap_or(from);
        let after = until.as_second().saturating_add(2 * DAY);
        let changes = (zone.following(before))
            .map(|change| change.timestamp().as_second())
            .take_while(|at| *at <= after)
            .collect();
        // A moment may have no fraction: the first is not before `from`.
        let from = from.as_second() + i64::from(from.subsec_nanosecond() > 0);
        Days { zone, from, until: until.as_second(), changes }
    }

    fn ticks(&self, when: &When, level: Option<Level>, most: usize) -> Vec<Tick> {
        let mut ticks = Vec::new();
        let Some(first) = self.local(self.from).map(|at| at.date()) else { return ticks };
        match when {
            When::Every(seconds) => {
                let step = i64::try_from((*seconds).clamp(1, super::DAY)).unwrap_or(1);
                self.each_day(first, |day| {
                    self.put(&mut ticks, day, (day.start..day.end).step_by(step_size(step)), level);
                    (ticks.len() < most).then(|| day.date.tomorrow().ok()).flatten()
                });
            }
            When::Cron(text) => {
                if let Ok(cron) = Cron::from_str(text) {
                    self.cron(&cron, text, first, level, most, &mut ticks);
                }
            }
        }
        ticks.truncate(most);
        ticks
    }

    fn cron(
        &self,
        cron: &Cron,
        text: &str,
        first: Date,
        level: Option<Level>,
        most: usize,
        ticks: &mut Vec<Tick>,
    ) {
        let daily = is_daily(text);
        // The times of a day do not depend on the day.
        let mut times: Option<Vec<i64>> = None;
        self.each_day(first, |day| {
            // From just before it, where clocks change: what would be at a midnight that is skipped is at the day's first
            // moment, and asked from there on it would be over.
            let before = self.local(if day.is_plain { day.start } else { day.start - 1 })?;
            let next = || cron.find_next_occurrence(&before, day.is_plain).ok();
            let due_on = if daily && times.is_some() && day.is_plain { day.date } else { next()?.date() };
            if due_on > day.date {
                return Some(due_on);
            }
            match &times {
                Some(times) if day.is_plain => {
                    self.put(ticks, day, times.iter().map(|time| day.start + time), level);
                }
                _ => {
                    let moments =
                        cron.iter_from(before, Direction::Forward).map(|at| at.timestamp().as_second());
                    let moments = moments.skip_while(|at| *at < day.start);
                    let moments: Vec<i64> = moments.take_while(|at| *at < day.end).collect();
                    self.put(ticks, day, moments.iter().copied(), level);
                    if day.is_plain {
                        times = Some(moments.iter().map(|at| at - day.start).collect());
                    }
                }
            }
            (ticks.len() < most).then(|| day.date.tomorrow().ok()).flatten()
        });
    }

    fn put(&self, ticks: &mut Vec<Tick>, day: Day, moments: impl Iterator<Item = i64>, level: Option<Level>) {
        for at in moments.filter(|at| (self.from..=self.until).contains(at)) {
            let offset = if day.is_plain { day.offset } else { self.offset(at) };
            ticks.push(Tick { at, offset, level });
        }
    }

    /// Visits days from `first` on; `visit` answers which is next.
    fn each_day(&self, first: Date, mut visit: impl FnMut(Day) -> Option<Date>) {
        let mut known: Option<Day> = None;
        let mut date = Some(first);
        while let Some(wanted) = date {
            let day = match known {
                Some(day) if day.is_plain && day.date.tomorrow().ok() == Some(wanted) => {
                    self.day(wanted, Some((day.end, day.offset)))
                }
                _ => self.day(wanted, None),
            };
            let Some(day) = day.filter(|day| day.start <= self.until) else { return };
            known = Some(day);
            date = visit(day);
        }
    }

    /// A day that begins at `start`, if that is known.
    fn day(&self, date: Date, start: Option<(i64, i32)>) -> Option<Day> {
        let start_of = |date: Date| {
            let midnight = date.to_zoned(self.zone.clone()).ok()?.start_of_day().ok()?;
            Some((midnight.timestamp().as_second(), midnight.offset().seconds()))
        };
        let (start, offset) = match start {
            Some(known) => known,
            None => start_of(date)?,
        };
        let next = self.changes.partition_point(|change| *change < start);
        // A change at the day's first moment is behind it, but the day before then had another length.
        let is_plain = self.changes.get(next).is_none_or(|change| *change > start + DAY);
        let end = if is_plain { start + DAY } else { start_of(date.tomorrow().ok()?)?.0 };
        Some(Day { date, start, end, offset, is_plain })
    }

    fn local(&self, at: i64) -> Option<Zoned> {
        Some(Timestamp::from_second(at).ok()?.to_zoned(self.zone.clone()))
    }

    fn offset(&self, at: i64) -> i32 {
        Timestamp::from_second(at).map_or(0, |at| self.zone.to_offset(at).seconds())
    }
}

/// A day in the schedule's zone.
#[derive(Debug, Clone, Copy)]
struct Day {
    date: Date,
    /// Its first second, since 1970.
    start: i64,
    /// The next day's first second.
    end: i64,
    /// The zone's offset at its start.
    offset: i32,
    /// No clock changes in it.
    is_plain: bool,
}

fn step_size(step: i64) -> usize {
    usize::try_from(step).unwrap_or(usize::MAX)
}

/// Whether a cron expression says nothing of the date.
fn is_daily(text: &str) -> bool {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let date = match fields.len() {
        5 => &fields[2..],
        6 => &fields[3..],
        _ => return false,
    };
    date.iter().all(|field| *field == "*")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::tz::TimeZone;
    use jiff::{Timestamp, ToSpan};
    use proptest::prelude::*;

    use super::ticks;
    use crate::due::{runs, zone};
    use crate::model::{Due, Level, Schedule, When};
    use crate::sources::{FileId, Place};

    fn schedule(due: Due, zone: &str) -> Schedule {
        let place = Place { file: FileId(0), span: backplan_grammar::Span::new(0, 0) };
        Schedule { place, due, zone: zone.into(), jitter: None, catch_up: true }
    }

    fn when() -> impl Strategy<Value = When> {
        let crons = [
            "30 2 * * *",
            "0 * * * *",
            "*/30 * * * *",
            "15 1,2,3 * * *",
            "0 4 1 * *",
            "30 2 31 * *",
            "0 3 * * 7",
            "0 0 29 2 *",
            "59 23 * * 1-5",
            "0 0 * * *",
            "*/20 2 * 3,10 *",
            "30 */6 * * * *",
        ];
        prop_oneof![
            prop::sample::select(crons.to_vec()).prop_map(|text| When::Cron(text.into())),
            prop::sample::select(&[1800_u64, 3600, 900, 25_200, 86_400, 5000][..]).prop_map(When::Every),
        ]
    }

    fn due() -> impl Strategy<Value = Due> {
        let levels = (when(), when(), when()).prop_map(|(a, b, c)| Due::Levels {
            full: Some(a),
            differential: Some(b),
            incremental: Some(c),
        });
        prop_oneof![3 => when().prop_map(Due::Run), 1 => levels]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn they_are_the_moments_of_the_schedule(
            due in due(),
            name in prop::sample::select(&["UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe"][..]),
            day in 0_i64..700,
            seconds in 0_i64..86_400,
        ) {
            let schedule = schedule(due, name);
            let from = Timestamp::from_second(1_798_761_600 + day * 86_400 + seconds).unwrap();
            let until = from + (60 * 24).hours();
            let zoned = |at: Timestamp| at.to_zoned(zone(name).unwrap());
            let expected: Vec<(i64, i32, Option<Level>)> = runs(&schedule, zoned(from)..=zoned(until), 100_000)
                .into_iter()
                .map(|(at, level)| (at.timestamp().as_second(), at.offset().seconds(), level))
                .collect();
            let found: Vec<(i64, i32, Option<Level>)> =
                ticks(&schedule, from, until, 100_000).iter().map(|tick| (tick.at, tick.offset, tick.level)).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn no_more_are_made_than_wanted() {
        let schedule = schedule(Due::Run(When::Every(1)), "UTC");
        let from = crate::due::some_day(&TimeZone::UTC).unwrap().timestamp();
        assert_eq!(ticks(&schedule, from, Timestamp::MAX, 1000).len(), 1000);
    }
}
