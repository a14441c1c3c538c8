//! When runs are due: at the ends of months, late by chance, against the promises.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::Excluded;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::levels::schedules;
use super::{Check, clocks};
use crate::codes;
use crate::due;
use crate::finding::Finding;
use crate::lower::level_word;
use crate::model::{Due, Objective, Schedule, SourceId, When};
use crate::simulate::{Gap, Horizon, Simulation};

impl Check<'_> {
    pub(super) fn moments(&mut self, simulation: &Simulation<'_>) {
        for schedule in schedules(self.model) {
            self.findings.extend(clocks::clock_change(schedule));
            self.findings.extend(short_months(schedule));
            self.findings.extend(jitter_overlaps(schedule));
        }
        self.timeout_overlaps();
        for objective in &self.model.objectives {
            if let Some(rpo) = objective.rpo {
                self.rpo(objective, rpo, simulation);
            }
        }
    }

    fn rpo(&mut self, objective: &Objective, rpo: u64, simulation: &Simulation<'_>) {
        // By how it is missed, and how long: sources that share both are told of at once.
        let mut missed: BTreeMap<(Miss, u64), (Gap, Vec<SourceId>)> = BTreeMap::new();
        let mut unscheduled: Vec<SourceId> = Vec::new();
        for source in objective.of.iter().filter(|source| !self.has_log(**source)) {
            let Some(schedule) = self.schedule_of(*source) else {
                unscheduled.push(*source);
                continue;
            };
            let (Some(gap), Some(steady)) = (simulation.worst_gap(*source), simulation.steady_gap(*source))
            else {
                continue;
            };
            let late = |seconds: u64| seconds.saturating_add(schedule.jitter.unwrap_or(0)).cmp(&rpo);
            let miss = match (late(steady), late(gap.seconds())) {
                (Ordering::Greater, _) => Miss::Always,
                (Ordering::Equal, _) => Miss::UntilCommitted,
                (Ordering::Less, Ordering::Less) => continue,
                (Ordering::Less, _) => Miss::ByClock,
            };
            missed.entry((miss, gap.seconds())).or_insert((gap, Vec::new())).1.push(*source);
        }
        for ((miss, _), (gap, sources)) in missed {
            let Some(schedule) = self.schedule_of(sources[0]) else { continue };
            let finding = rpo_missed(objective, rpo, schedule, gap, miss, &self.named(&sources));
            self.findings.push(finding);
        }
        if !unscheduled.is_empty() {
            let message = format!(
                "an `rpo` of {} is promised, but nothing says when {} is backed up",
                span(rpo),
                self.named(&unscheduled)
            );
            self.findings.push(
                Finding::new(&codes::RPO_UNSCHEDULED, objective.place, message)
                    .help("add `schedule { run = daily at 02:30 }`, say"),
            );
        }
    }

    /// A run that takes as long as it may is in the way of the next.
    fn timeout_overlaps(&mut self) {
        let Some((timeout, schedule)) = self.model.limits.timeout.zip(self.model.schedule.as_ref()) else {
            return;
        };
        let Some(shortest) = shortest_gap(schedule).filter(|shortest| timeout > *shortest) else { return };
        let place = self.facts.place("limits", "", "timeout").unwrap_or(schedule.place);
        let message = format!(
            "a run may take up to {}, but {} later another is due: it would find the first under way, and not be made",
            span(timeout),
            span(shortest)
        );
        self.find(
            Finding::new(&codes::TIMEOUT_OVERLAPS, place, message)
                .with(schedule.place, "the runs")
                .help(format!("write `timeout = {}`, or less", written(shortest))),
        );
    }

    fn schedule_of(&self, source: SourceId) -> Option<&Schedule> {
        let own = self.model.separate(source).and_then(|separate| separate.schedule.as_ref());
        own.or(self.model.schedule.as_ref())
    }

    /// Whether a source's changes leave the machine between runs, in a log.
    fn has_log(&self, source: SourceId) -> bool {
        let apart = self.model.source(source).kind.facts().apart;
        let tool_pushes = apart.is_some_and(|apart| apart.wants_log);
        self.model.wals.iter().any(|wal| wal.source == source)
            || tool_pushes && self.model.separate(source).is_some()
    }

    /// Sources by name, the first three of them.
    pub(super) fn named(&self, sources: &[SourceId]) -> String {
        let names: Vec<String> =
            sources.iter().take(3).map(|source| format!("`{}`", self.model.source(*source).name)).collect();
        match sources.len() {
            0..=3 => names.join(", "),
            more => format!("{} and {} more", names.join(", "), more - 3),
        }
    }
}

/// Seconds in words: the two largest units that are in it.
pub(super) fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut words: Vec<String> = Vec::new();
    for (unit, length) in units {
        // A day and an hour are more plainly 25h.
        if unit == "d" && rest < 2 * length {
            continue;
        }
        if rest >= length {
            words.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    words.truncate(2);
    if words.is_empty() { "0s".into() } else { words.join(" ") }
}

pub(super) fn whens(schedule: &Schedule) -> Vec<&When> {
    match &schedule.due {
        Due::Run(when) => vec![when],
        Due::Levels { .. } => schedule.levels().into_iter().map(|(_, when)| when).collect(),
    }
}

/// The fields of a cron expression from the minute on.
pub(super) fn fields(when: &When) -> Option<[&str; 5]> {
    let When::Cron(text) = when else { return None };
    let all: Vec<&str> = text.split_ascii_whitespace().collect();
    all.last_chunk::<5>().copied().filter(|_| all.len() <= 6)
}

/// How an `rpo` is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Miss {
    /// More time passes between two runs.
    Always,
    /// Just as much passes: until the second is committed, which takes a while, it is more.
    UntilCommitted,
    /// Only in the night in which clocks are moved back.
    ByClock,
}

fn rpo_missed(
    objective: &Objective,
    rpo: u64,
    schedule: &Schedule,
    gap: Gap,
    miss: Miss,
    sources: &str,
) -> Finding {
    let zone = due::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let show = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %:z").to_string();
    let more = match schedule.jitter {
        Some(jitter @ 1..) => format!(", and up to {} more by `jitter`", span(jitter)),
        _ => String::new(),
    };
    let (promised, passing) = (span(rpo), span(gap.seconds()));
    let pass =
        format!("an `rpo` of {promised} is promised, and {passing} pass between two runs of {sources}{more}");
    let enough = gap.seconds().saturating_add(schedule.jitter.unwrap_or(0));
    let (code, message, help) = match miss {
        Miss::Always => (&codes::RPO_MISSED, pass, "run more often, or promise less".to_owned()),
        Miss::UntilCommitted => (
            &codes::RPO_TIGHT,
            format!("{pass}: until the second is committed, more is lost"),
            format!(
                "write `rpo = {}`, which leaves a run its time, or run more often",
                written(enough + duration_of(enough))
            ),
        ),
        Miss::ByClock => (
            &codes::RPO_CLOCK_CHANGE,
            format!("{pass} when clocks are moved back"),
            "take `zone = \"UTC\"`, or promise more".to_owned(),
        ),
    };
    let none = format!("from {} to {} there is none", show(gap.from), show(gap.until));
    Finding::new(code, objective.place, message).with(schedule.place, none).help(help)
}

/// What to leave a run that comes so often, in seconds: a twelfth of the time, in whole minutes.
fn duration_of(between: u64) -> u64 {
    (between / 12).clamp(60, 6 * 3600).next_multiple_of(60)
}

/// Seconds as the language writes them, in the largest unit without a remainder.
pub(super) fn written(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60)];
    // Two days are more plainly that than 48h, and one is 24h.
    let fits = |(_, length): &(&str, u64)| seconds.is_multiple_of(*length) && seconds >= 2 * length;
    units
        .into_iter()
        .find(fits)
        .map_or(format!("{seconds}s"), |(unit, length)| format!("{}{unit}", seconds / length))
}

/// Days of the month that some months do not have.
fn short_months(schedule: &Schedule) -> Vec<Finding> {
    match &schedule.due {
        Due::Run(when) => short_month(schedule, when, "run").into_iter().collect(),
        // Runs of other levels may be due all the same.
        Due::Levels { .. } => (schedule.levels().into_iter())
            .filter_map(|(level, when)| short_month(schedule, when, level_word(level)))
            .collect(),
    }
}

/// A month in which a run is meant and none is, as its day is not there: the longest time that comes of it.
fn short_month(schedule: &Schedule, when: &When, what: &str) -> Option<Finding> {
    let [minute, hour, day, month, weekday] = fields(when)?;
    let numbers =
        day.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    // With a day of the week there are other days.
    if weekday != "*" || numbers.max().is_none_or(|most| most < 29) {
        return None;
    }
    let zone = due::zone(&schedule.zone)?;
    let ticks = |when: When| -> Vec<Zoned> {
        let horizon = Horizon::years(9, 4000);
        let one = Schedule { due: Due::Run(when), ..schedule.clone() };
        let ticks = due::ticks(&one, horizon.from, horizon.until, horizon.runs);
        let moments = ticks.iter().filter_map(|tick| Timestamp::from_second(tick.at).ok());
        moments.map(|at| at.to_zoned(zone.clone())).collect()
    };
    let month_of = |at: &Zoned| (at.year(), at.month());
    let own = ticks(when.clone());
    let meant: BTreeSet<(i16, i8)> =
        ticks(When::Cron(format!("{minute} {hour} 1 {month} *"))).iter().map(month_of).collect();
    let misses = |pair: &&[Zoned]| {
        let between = (Excluded(month_of(&pair[0])), Excluded(month_of(&pair[1])));
        month_of(&pair[0]) < month_of(&pair[1]) && meant.range(between).next().is_some()
    };
    let length = |pair: &&[Zoned]| pair[0].duration_until(&pair[1]);
    let pair = own.windows(2).filter(misses).rev().max_by_key(length)?;
    let show = |at: &Zoned| at.strftime("%Y-%m-%d").to_string();
    let days = if day.bytes().all(|byte| byte.is_ascii_digit()) { "a day" } else { "one of the days" };
    let message =
        format!("not every month has {days} {day}: no {what} from {} to {}", show(&pair[0]), show(&pair[1]));
    Some(Finding::new(&codes::SHORT_MONTHS, schedule.place, message).help(format!(
        "take a day up to 28, or the last of each month as a cron string: `\"{minute} {hour} L {month} *\"`"
    )))
}

/// The shortest time between two runs of a schedule, in seconds.
fn shortest_gap(schedule: &Schedule) -> Option<u64> {
    let horizon = Horizon::years(1, 2000);
    let ticks = due::ticks(schedule, horizon.from, horizon.until, horizon.runs);
    ticks.windows(2).filter_map(|pair| u64::try_from(pair[1].at - pair[0].at).ok()).min()
}

fn jitter_overlaps(schedule: &Schedule) -> Option<Finding> {
    let jitter = schedule.jitter.filter(|jitter| *jitter > 0)?;
    let shortest = shortest_gap(schedule)?;
    let message = format!(
        "a delay of up to {} is no shorter than the time between two runs, {}: one may be due before the last has begun",
        span(jitter),
        span(shortest)
    );
    (jitter >= shortest).then(|| {
        Finding::new(&codes::JITTER_OVERLAPS, schedule.place, message).help("take a shorter `jitter`")
    })
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_short_words() {
        let spans = [0, 90, 5400, 86_400, 90_000, 172_800, 176_400, 5_356_800].map(span);
        assert_eq!(spans, ["0s", "1m 30s", "1h 30m", "24h", "25h", "2d", "2d 1h", "62d"]);
    }
}
