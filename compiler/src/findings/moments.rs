//! When runs are due: at the ends of months, late by chance, against the promises.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Check, clocks};
use crate::codes;
use crate::due;
use crate::finding::Finding;
use crate::lower::level_word;
use crate::model::{Due, Objective, PostgresDriver, Schedule, SourceId, SourceKind, When};
use crate::simulate::{Gap, Horizon, Simulation};

impl Check<'_> {
    pub(super) fn moments(&mut self, simulation: &Simulation<'_>) {
        let own = self.model.separates.iter().filter_map(|separate| separate.schedule.as_ref());
        for schedule in self.model.schedule.iter().chain(own) {
            self.findings.extend(clocks::clock_change(schedule));
            self.findings.extend(short_months(schedule));
            self.findings.extend(jitter_overlaps(schedule));
        }
        for objective in &self.model.objectives {
            if let Some(rpo) = objective.rpo {
                self.rpo(objective, rpo, simulation);
            }
            self.rto(objective);
        }
    }

    fn rpo(&mut self, objective: &Objective, rpo: u64, simulation: &Simulation<'_>) {
        // By whether clocks alone are to blame, and how long: sources that share both are told of at once.
        let mut missed: BTreeMap<(bool, u64), (Gap, Vec<SourceId>)> = BTreeMap::new();
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
            let is_missed = |seconds: u64| seconds.saturating_add(schedule.jitter.unwrap_or(0)) > rpo;
            if is_missed(gap.seconds()) {
                let key = (!is_missed(steady), gap.seconds());
                missed.entry(key).or_insert((gap, Vec::new())).1.push(*source);
            }
        }
        for ((is_by_clock, _), (gap, sources)) in missed {
            let Some(schedule) = self.schedule_of(sources[0]) else { continue };
            let finding = rpo_missed(objective, rpo, schedule, gap, is_by_clock, &self.named(&sources));
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

    /// How long a source takes to come back is known from rehearsals alone.
    fn rto(&mut self, objective: &Objective) {
        if objective.rto.is_none() {
            return;
        }
        let is_rehearsed =
            |source: &SourceId| self.model.verifies.iter().any(|verify| verify.restore == *source);
        let rest: Vec<SourceId> =
            objective.of.iter().filter(|source| !is_rehearsed(source)).copied().collect();
        if !rest.is_empty() {
            let message = format!("an `rto` is promised, but no rehearsal restores {}", self.named(&rest));
            self.findings.push(
                Finding::new(&codes::RTO_UNREHEARSED, objective.place, message).help(
                    "add `verify { every = 7d, restore = … }`: only a rehearsal shows how long it takes",
                ),
            );
        }
    }

    fn schedule_of(&self, source: SourceId) -> Option<&Schedule> {
        let own = self.model.separate(source).and_then(|separate| separate.schedule.as_ref());
        own.or(self.model.schedule.as_ref())
    }

    /// Whether a source's changes leave the machine between runs, in a log.
    fn has_log(&self, source: SourceId) -> bool {
        let tool_pushes = match &self.model.source(source).kind {
            SourceKind::Postgres(postgres) => {
                matches!(postgres.driver, PostgresDriver::Pgbackrest | PostgresDriver::Probackup)
            }
            _ => false,
        };
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

/// More time passes between two runs than was promised, or does so only in the night in which clocks are moved back.
fn rpo_missed(
    objective: &Objective,
    rpo: u64,
    schedule: &Schedule,
    gap: Gap,
    is_by_clock: bool,
    sources: &str,
) -> Finding {
    let zone = due::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let show = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %:z").to_string();
    let more = match schedule.jitter {
        Some(jitter @ 1..) => format!(", and up to {} more by `jitter`", span(jitter)),
        _ => String::new(),
    };
    let (promised, passing) = (span(rpo), span(gap.seconds()));
    let (code, message, help) = match is_by_clock {
        true => (
            &codes::RPO_CLOCK_CHANGE,
            format!(
                "an `rpo` of {promised} is promised, but {passing} pass between two runs of {sources}{more} when clocks are moved back"
            ),
            "take `zone = \"UTC\"`, or promise an hour more",
        ),
        false => (
            &codes::RPO_MISSED,
            format!(
                "an `rpo` of {promised} is promised, but {passing} pass between two runs of {sources}{more}"
            ),
            "run more often, or promise less",
        ),
    };
    let none = format!("from {} to {} there is none", show(gap.from), show(gap.until));
    Finding::new(code, objective.place, message).with(schedule.place, none).help(help)
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

fn short_month(schedule: &Schedule, when: &When, what: &str) -> Option<Finding> {
    let [_, _, day, month, weekday] = fields(when)?;
    let number: u32 = day.parse().ok()?;
    if number < 29 || month != "*" || weekday != "*" {
        return None;
    }
    let horizon = Horizon::years(4, 100);
    let one = Schedule { due: Due::Run(when.clone()), ..schedule.clone() };
    let ticks = due::ticks(&one, horizon.from, horizon.until, horizon.runs);
    let pair = ticks.windows(2).rev().max_by_key(|pair| pair[1].at - pair[0].at)?;
    let zone = due::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let show = |at: i64| {
        let at = Timestamp::from_second(at).map(|at| at.to_zoned(zone.clone()));
        at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    };
    let message = format!(
        "not every month has a day {number}: no {what} from {} to {}",
        show(pair[0].at),
        show(pair[1].at)
    );
    Some(
        Finding::new(&codes::SHORT_MONTHS, schedule.place, message)
            .help("take a day up to 28, or the last of each month as a cron string: `\"0 4 L * *\"`"),
    )
}

fn jitter_overlaps(schedule: &Schedule) -> Option<Finding> {
    let jitter = schedule.jitter.filter(|jitter| *jitter > 0)?;
    let horizon = Horizon::years(1, 2000);
    let ticks = due::ticks(schedule, horizon.from, horizon.until, horizon.runs);
    let shortest = ticks.windows(2).filter_map(|pair| u64::try_from(pair[1].at - pair[0].at).ok()).min()?;
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
