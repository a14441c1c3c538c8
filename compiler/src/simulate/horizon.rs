//! Which part of the future is played: longer than any rule of the plan reaches.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::due;
use crate::model::{Cycle, Due, Keep, Level, Model, Schedule};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Runs that a proof plays at the most: some years of one every five minutes.
const MOST_PROVEN: usize = 240_000;

/// Runs that a calendar is drawn from at the most, before its first day and behind its last: what memory allows.
const MOST_DRAWN: u64 = 3_000_000;

/// Which part of the future is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The schedule begins to be followed here, with empty stores.
    pub from: Timestamp,
    /// Nothing is played after it.
    pub until: Timestamp,
    /// So many runs of a schedule at the most.
    pub runs: usize,
}

impl Horizon {
    /// So many years from a fixed day on, for questions that do not depend on the day: leap years are in it from two on.
    pub fn years(years: i16, runs: usize) -> Horizon {
        let from = due::some_day(&TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |day| day.timestamp());
        let until = from.to_zoned(TimeZone::UTC).checked_add(years.years());
        Horizon { from, until: until.map_or(Timestamp::MAX, |until| until.timestamp()), runs }
    }

    /// The horizon that proofs about this plan need: ten years, or less where runs are frequent, but longer than any of
    /// its rules reaches.
    pub fn of(model: &Model) -> Horizon {
        let reach = Reach::of(model);
        let frequent = model.schedule.is_some() && reach.mean < DAY / 4;
        let years = if frequent { reach.years().clamp(2, 30) } else { reach.years().clamp(9, 60) };
        Horizon::years(years, MOST_PROVEN)
    }

    /// The horizon around some days: the schedule has been followed for longer than any rule reaches, and goes on until
    /// all that is there by then is gone, where it ever goes.
    pub fn around(model: &Model, first: Timestamp, last: Timestamp) -> Horizon {
        let reach = Reach::of(model);
        let most = MOST_DRAWN * reach.mean / (366 * DAY);
        let years = reach.years().clamp(2, i16::try_from(most).unwrap_or(200).clamp(2, 200));
        let utc = |at: Timestamp| at.to_zoned(TimeZone::UTC);
        // From a new year on, so that two days of a year are of one future.
        let begin =
            utc(first).checked_sub(years.years()).and_then(|from| from.first_of_year()?.start_of_day());
        let from = begin.map_or(Timestamp::MIN, |from| from.timestamp());
        let until = utc(last).checked_add(years.years()).map_or(Timestamp::MAX, |until| until.timestamp());
        Horizon { from, until, runs: usize::MAX }
    }
}

/// How far the rules of a plan reach, in seconds.
struct Reach {
    seconds: u64,
    /// The mean time between two runs of the most frequent schedule.
    mean: u64,
}

impl Reach {
    fn of(model: &Model) -> Reach {
        let own = model.separates.iter().filter_map(|separate| separate.schedule.as_ref());
        let paces: Vec<Pace> = model
            .schedule
            .iter()
            .chain(own)
            .map(|schedule| Pace::of(schedule, model.cycle.as_ref()))
            .collect();
        let slowest = Pace {
            mean: paces.iter().map(|pace| pace.mean).min().unwrap_or(DAY).max(1),
            run: paces.iter().map(|pace| pace.run).max().unwrap_or(DAY),
            full: paces.iter().map(|pace| pace.full).max().unwrap_or(DAY),
        };
        let keeps = (model.keep.iter())
            .chain(model.stores.iter().filter_map(|store| store.keep.as_ref()))
            .chain(model.separates.iter().filter_map(|separate| separate.keep.as_ref()))
            .map(|keep| slowest.reach(keep));
        let held = model.stores.iter().filter_map(|store| store.immutable);
        // The base of a log is at the most twice as old as the log is long.
        let logs = model.wals.iter().filter_map(|wal| Some(2 * model.wal_keep(wal)?));
        let most = keeps.chain(held).chain(logs).max().unwrap_or(0);
        // Whoever is kept keeps the chain it rests on.
        Reach { seconds: most.saturating_add(slowest.full), mean: slowest.mean }
    }

    /// In years, and more.
    fn years(&self) -> i16 {
        i16::try_from(self.seconds.div_ceil(365 * DAY)).unwrap_or(i16::MAX).saturating_add(2)
    }
}

/// How runs of a schedule follow one another, in seconds.
struct Pace {
    /// From one run to the next, on average.
    mean: u64,
    /// The same at the longest.
    run: u64,
    /// From one full to the next, at the longest.
    full: u64,
}

impl Pace {
    fn of(schedule: &Schedule, cycle: Option<&Cycle>) -> Pace {
        let (mean, run) = between(schedule);
        let fulls = schedule.levels().into_iter().find(|(level, _)| *level == Level::Full);
        let full = match fulls {
            Some((_, when)) => between(&Schedule { due: Due::Run(when.clone()), ..schedule.clone() }).1,
            None => run.saturating_mul(1 + cycle.map_or(0, |cycle| u64::from(cycle.incrementals))),
        };
        Pace { mean, run, full }
    }

    /// How far the rules of a `keep` reach: a period that has no run is not counted.
    fn reach(&self, keep: &Keep) -> u64 {
        let counted = [
            (keep.last, self.run),
            (keep.cycles, self.full),
            (keep.full, self.full),
            (keep.differential, self.full),
            (keep.hourly, self.run.max(3600)),
            (keep.daily, self.run.max(DAY)),
            (keep.weekly, self.run.max(7 * DAY)),
            (keep.monthly, self.run.max(31 * DAY)),
            (keep.yearly, self.run.max(366 * DAY)),
        ];
        let by_count = counted.map(|(count, each)| u64::from(count.unwrap_or(0)).saturating_mul(each));
        let by_time = [keep.within.unwrap_or(0), keep.wal.unwrap_or(0).saturating_mul(2)];
        by_count.into_iter().chain(by_time).max().unwrap_or(0)
    }
}

/// The time between two runs of a schedule in seconds, on average and at the longest.
fn between(schedule: &Schedule) -> (u64, u64) {
    const SAMPLE: usize = 800;
    let some = Horizon::years(9, SAMPLE);
    let ticks = due::ticks(schedule, some.from, some.until, SAMPLE);
    let apart = |one: &due::Tick, two: &due::Tick| u64::try_from(two.at - one.at).unwrap_or(0);
    let longest = ticks.windows(2).map(|pair| apart(&pair[0], &pair[1])).max();
    match (longest, &ticks[..]) {
        (Some(longest), [first, .., last]) => (apart(first, last) / (ticks.len() as u64 - 1), longest),
        // Once in so many years, or in more.
        _ => (9 * 366 * DAY, 9 * 366 * DAY),
    }
}
