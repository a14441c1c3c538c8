//! Rehearsals: is what they ask possible, do they come as often as they are wanted, do they show what was promised.

use jiff::Timestamp;

use super::Check;
use super::moments::{span, written};
use crate::codes;
use crate::finding::Finding;
use crate::model::{Objective, SourceId, Verify};
use crate::simulate::{Gap, Simulation};

/// A rehearsal may be made by a run that is early by this part of `every`, and is missing once it is late by as much.
const SLACK: u64 = 10;
/// Seconds by which it may be early or late at the most.
const MOST_SLACK: u64 = 86_400;

impl Check<'_> {
    pub(super) fn rehearsals(&mut self, simulation: &Simulation<'_>) {
        let model = self.model;
        for verify in &model.verifies {
            self.queries_have_a_database(verify);
            self.rehearsals_come(verify, simulation);
        }
        for objective in &model.objectives {
            self.rto(objective);
        }
    }

    /// A query of what is no database can never be answered: each rehearsal would fail.
    fn queries_have_a_database(&mut self, verify: &Verify) {
        let source = self.model.source(verify.restore);
        let Some(what) = source.kind.facts().no_database else { return };
        if verify.query.is_none() {
            return;
        }
        let message = format!(
            "this rehearsal asks a `query` of source `{}`, which is {what} and no database",
            source.name
        );
        self.find(
            Finding::new(&codes::QUERY_OF_NO_DATABASE, verify.place, message)
                .with(source.place, "the source")
                .help("write a `command` that looks at the folder in `BACKPLAN_RESTORED`, or take the `query` out"),
        );
    }

    /// A run makes the rehearsals that are due, and no other time does.
    fn rehearsals_come(&mut self, verify: &Verify, simulation: &Simulation<'_>) {
        let Some(every) = verify.every else { return };
        let starts = simulation.all_starts();
        let Some(gap) = longest_pause(&starts, every) else { return };
        let jitter = self.model.schedule.as_ref().and_then(|schedule| schedule.jitter).unwrap_or(0);
        let pause = gap.seconds().saturating_add(jitter);
        if pause <= every.saturating_add(slack(every)) {
            return;
        }
        let name = &self.model.source(verify.restore).name;
        let message = format!(
            "a rehearsal of `{name}` is wanted every {}, but runs make it, and {} pass between two that do",
            span(every),
            span(pause)
        );
        let none = format!("from {} to {} there is none", self.day(gap.from), self.day(gap.until));
        let finding = Finding::new(&codes::REHEARSAL_LATE, verify.place, message);
        let finding = match &self.model.schedule {
            Some(schedule) => finding.with(schedule.place, none),
            None => finding,
        };
        self.find(finding.help(format!("write `every = {}`, or run more often", written(pause))));
    }

    /// How long a source takes to come back is known from rehearsals alone.
    fn rto(&mut self, objective: &Objective) {
        if objective.rto.is_none() {
            return;
        }
        let of = |source: SourceId| self.model.verifies.iter().filter(move |verify| verify.restore == source);
        let comes = |source: &SourceId| of(*source).any(|verify| verify.every.is_some());
        let rest: Vec<SourceId> = objective.of.iter().filter(|source| !comes(source)).copied().collect();
        if rest.is_empty() {
            return;
        }
        let finding = |message: String| Finding::new(&codes::RTO_UNREHEARSED, objective.place, message);
        let (idle, none): (Vec<SourceId>, Vec<SourceId>) =
            rest.into_iter().partition(|source| of(*source).next().is_some());
        if let Some(verify) = idle.first().and_then(|source| of(*source).next()) {
            let message = format!(
                "an `rto` is promised, but no run rehearses {}: its `verify` says no `every`",
                self.named(&idle)
            );
            let finding = finding(message).with(verify.place, "on demand alone");
            self.find(finding.help("add `every = 7d` to it: only a rehearsal shows how long it takes"));
        }
        if !none.is_empty() {
            let message = format!("an `rto` is promised, but no rehearsal restores {}", self.named(&none));
            self.find(
                finding(message).help(
                    "add `verify { every = 7d, restore = … }`: only a rehearsal shows how long it takes",
                ),
            );
        }
    }
}

fn slack(every: u64) -> u64 {
    (every / SLACK).min(MOST_SLACK)
}

/// The longest time between two rehearsals that runs at these moments make. `None`: there are no two.
fn longest_pause(starts: &[i64], every: u64) -> Option<Gap> {
    let least = i64::try_from(every - slack(every)).unwrap_or(i64::MAX);
    let mut last = *starts.first()?;
    let mut longest: Option<(i64, i64)> = None;
    for at in starts.iter().copied().filter(|at| *at > starts[0]) {
        if at - last >= least {
            if longest.is_none_or(|(from, until)| at - last > until - from) {
                longest = Some((last, at));
            }
            last = at;
        }
    }
    let moment = |at: i64| Timestamp::from_second(at).ok();
    longest.and_then(|(from, until)| Some(Gap { from: moment(from)?, until: moment(until)? }))
}

#[cfg(test)]
mod tests {
    use super::longest_pause;

    #[test]
    fn rehearsals_are_made_by_the_runs_that_there_are() {
        const DAY: i64 = 86_400;
        let daily: Vec<i64> = (0..100).map(|day| day * DAY).collect();
        let pause =
            |every: i64| longest_pause(&daily, every.unsigned_abs()).map(|gap| gap.seconds().cast_signed());
        assert_eq!(pause(DAY), Some(DAY));
        assert_eq!(pause(7 * DAY), Some(7 * DAY));
        // A run that is an hour early is near enough; one that is twelve is not.
        assert_eq!(pause(DAY + 3600), Some(DAY));
        assert_eq!(pause(DAY + 43_200), Some(2 * DAY));
        assert_eq!(pause(3600), Some(DAY));
        assert_eq!(pause(1000 * DAY), None);
        assert_eq!(longest_pause(&[], 1), None);
    }
}
