//! How far apart runs are, and what a schedule leaves to restore from once it has run for long.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan, Zoned};

use crate::due;
use crate::model::{Cycle, Level, Model, Schedule, Store};
use crate::retention::{Part, Policy, Run, retain};

/// Runs that are looked at, at the most: of a schedule by the half hour, two months.
const MOST_RUNS: usize = 3000;
/// Days that are looked at.
const DAYS: i64 = 800;

/// The longest time between two runs of a schedule, in seconds; `None`: there is no schedule, or it is due once.
pub fn gap(schedule: Option<&Schedule>) -> Option<u64> {
    let moments = moments(schedule?)?;
    let seconds = |at: &Zoned| at.timestamp().as_second();
    let gaps = moments.windows(2).map(|pair| seconds(&pair[1].0) - seconds(&pair[0].0));
    gaps.max().and_then(|gap| u64::try_from(gap).ok())
}

fn moments(schedule: &Schedule) -> Option<Vec<(Zoned, Option<Level>)>> {
    let from = due::some_day(&due::zone(&schedule.zone)?)?;
    let until = from.checked_add(DAYS.days()).ok()?;
    Some(due::runs(schedule, from..=until, MOST_RUNS))
}

/// What there is to restore from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// How many runs.
    pub runs: usize,
    /// How far back the oldest is, in seconds.
    pub reach: i64,
}

/// What `keep` leaves in a store after the schedule has run for long; `None`: there is no schedule, or all stays.
pub fn reserve(model: &Model, store: &Store) -> Option<Reserve> {
    let moments = moments(model.schedule.as_ref()?)?;
    let newest = moments.last()?.0.timestamp();
    let policy = Policy::of(model, store, newest);
    policy.keep.filter(|_| !policy.append_only)?;
    let runs = history(model, &moments);
    let decision = retain(&runs, &BTreeSet::new(), &policy);
    let kept: Vec<Timestamp> =
        decision.kept().filter_map(|id| runs.get(*id).map(|run| run.started)).collect();
    let reach = newest.as_second() - kept.first()?.as_second();
    Some(Reserve { runs: kept.len(), reach })
}

/// The runs at these moments, by the plan's cycle where the schedule gives no levels.
fn history(model: &Model, moments: &[(Zoned, Option<Level>)]) -> Vec<Run<usize>> {
    let mut runs: Vec<Run<usize>> = Vec::with_capacity(moments.len());
    let (mut full, mut place) = (0, 0);
    for (id, (at, level)) in moments.iter().enumerate() {
        let level = if id == 0 {
            Level::Full
        } else {
            level.unwrap_or_else(|| by_cycle(model.cycle.as_ref(), place))
        };
        let bases: BTreeSet<usize> = match level {
            Level::Full => BTreeSet::new(),
            Level::Differential => BTreeSet::from([full]),
            Level::Incremental => {
                let before = &runs[id - 1].parts[0].rests_on;
                before.iter().copied().chain([id - 1]).collect()
            }
        };
        place = if level == Level::Full { 0 } else { place + 1 };
        full = if level == Level::Full { id } else { full };
        let part = Part { archive: String::new(), source: String::new(), level, place, rests_on: bases };
        runs.push(Run { id, started: at.timestamp(), level, parts: vec![part], size: 0 });
    }
    runs
}

/// The level of the run behind one at this place of its cycle.
fn by_cycle(cycle: Option<&Cycle>, place: u32) -> Level {
    match cycle {
        Some(cycle) if place < cycle.incrementals => cycle.follow,
        _ => Level::Full,
    }
}
