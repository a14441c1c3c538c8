//! Levels: do those come that have times of their own, and how long are the chains that they make.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Check;
use super::moments::span;
use crate::codes;
use crate::due;
use crate::finding::Finding;
use crate::lower::level_word;
use crate::model::{Due, Level, Model, Schedule, When};
use crate::simulate::{Horizon, Simulation};
use crate::sources::Place;

/// A chain that goes on for longer is endless: the longest year, in seconds.
const LONG: i64 = 366 * 86_400;

impl Check<'_> {
    pub(super) fn levels_come(&mut self, simulation: &Simulation<'_>) {
        for schedule in schedules(self.model) {
            for (level, when) in schedule.levels() {
                if let Some(higher) = always_outranked(schedule, level, when) {
                    let (level, higher) = (level_word(level), level_word(higher));
                    let message = format!(
                        "no {level} ever comes: each is due at the moment of a {higher}, which is run in its place"
                    );
                    self.findings.push(
                        Finding::new(&codes::LEVEL_NEVER_COMES, schedule.place, message)
                            .help(format!("give `{level}` times of its own, or delete it")),
                    );
                }
            }
        }
        self.endless_chains(simulation);
    }

    /// Runs that rest on one another for years: one that is lost takes all behind it, and none can be deleted.
    fn endless_chains(&mut self, simulation: &Simulation<'_>) {
        let model = self.model;
        let mut told: BTreeSet<Place> = BTreeSet::new();
        // A schedule without a full is told of by `promises`.
        let has_full = |schedule: &Schedule| schedule.levels().iter().any(|(level, _)| *level == Level::Full);
        let is_told = schedules(model).any(|schedule| schedule.is_by_levels() && !has_full(schedule));
        for chain in simulation.longest_chains() {
            if chain.until - chain.from <= LONG || chain.by_levels && is_told {
                continue;
            }
            let (Ok(from), Ok(until)) =
                (Timestamp::from_second(chain.from), Timestamp::from_second(chain.until))
            else {
                continue;
            };
            let by_cycle = model.cycle.as_ref().filter(|_| !chain.by_levels);
            let schedule = model.schedule.as_ref();
            let place = by_cycle.map(|cycle| cycle.place).or(schedule.map(|schedule| schedule.place));
            let Some(place) = place.filter(|place| told.insert(*place)) else { continue };
            let message = format!(
                "runs rest on one another for {}: that of {} needs every one of the {} since {}",
                span(u64::try_from(chain.until - chain.from).unwrap_or(0)),
                self.day(until),
                chain.links,
                self.day(from)
            );
            let help = match by_cycle {
                Some(_) => {
                    "write `base = full`, so that each rests on the full alone, or begin cycles more often"
                }
                None => "add `differential = weekly on sun at 03:00`, say, or have fulls more often",
            };
            self.findings.push(Finding::new(&codes::ENDLESS_CHAIN, place, message).help(help));
        }
    }
}

/// Every schedule of a plan.
pub(super) fn schedules(model: &Model) -> impl Iterator<Item = &Schedule> {
    model.schedule.iter().chain(model.separates.iter().filter_map(|separate| separate.schedule.as_ref()))
}

/// The level that is due whenever `level` is, and is run in its place.
pub(super) fn always_outranked(schedule: &Schedule, level: Level, when: &When) -> Option<Level> {
    /// Moments of the level that are looked at, and those of higher ones in the same time.
    const MOST: (usize, usize) = (400, 20_000);
    let horizon = Horizon::years(9, MOST.0);
    let ticks = |when: &When, until: Timestamp, most: usize| -> Vec<i64> {
        let one = Schedule { due: Due::Run(when.clone()), ..schedule.clone() };
        due::ticks(&one, horizon.from, until, most).into_iter().map(|tick| tick.at).collect()
    };
    let higher: Vec<(Level, &When)> =
        schedule.levels().into_iter().filter(|(other, _)| *other > level).collect();
    if higher.is_empty() {
        return None;
    }
    let own = ticks(when, horizon.until, MOST.0);
    let until = Timestamp::from_second(*own.last()?).ok()?;
    let mut outranked: BTreeSet<i64> = BTreeSet::new();
    let mut first = None;
    for (level, when) in higher {
        let moments = ticks(when, until, MOST.1);
        first = first.or_else(|| moments.contains(&own[0]).then_some(level));
        outranked.extend(moments);
    }
    first.filter(|_| own.iter().all(|at| outranked.contains(at)))
}
