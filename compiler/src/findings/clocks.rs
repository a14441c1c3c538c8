//! Runs on days on which clocks change.
//!
//! Cron moves a run with one fixed time out of an hour that does not exist, and makes it once in one that comes twice. What
//! has lists, steps or ranges is left out there, and made twice. So each change is looked at by what the schedule really does.

use crate::count::plural;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::moments::{fields, whens};
use crate::codes;
use crate::due;
use crate::finding::Finding;
use crate::model::{Due, Schedule, When};

/// So many changes of clocks are looked at: years of them.
const CHANGES: usize = 16;

/// Times of one change that are named one by one.
const NAMED: usize = 3;

/// Times that do not exist, or come twice, on a day on which clocks change and runs are due.
pub(super) fn clock_change(schedule: &Schedule) -> Option<Finding> {
    let zone = due::zone(&schedule.zone)?;
    let start = due::some_day(&zone)?.timestamp();
    let mut before = zone.to_offset(start);
    // The first of each kind says it.
    let mut words: [Option<String>; 4] = Default::default();
    for following in zone.following(start).take(CHANGES) {
        let (at, offset) = (following.timestamp(), following.offset());
        let (old, new) = (before.to_datetime(at), offset.to_datetime(at));
        let change = Change { at, first: old.min(new), end: old.max(new), is_forward: new > old };
        before = offset;
        for when in whens(schedule) {
            if let Some((effect, text)) = change.told(schedule, when, &zone) {
                words[effect as usize].get_or_insert(text);
            }
        }
    }
    // Where every run is made, and once, somebody may be surprised, and nobody is harmed.
    let is_harmless = words[Effect::Skipped as usize].is_none() && words[Effect::Repeated as usize].is_none();
    let words: Vec<String> = words.into_iter().flatten().collect();
    let message = format!("clocks change in `{}`: {}", schedule.zone, words.join(", and "));
    (!words.is_empty()).then(|| {
        let finding = Finding::new(&codes::CLOCK_CHANGE, schedule.place, message)
            .help("take a time that no change touches, such as 04:30, or `zone = \"UTC\"`");
        if is_harmless { finding.only_a_note() } else { finding }
    })
}

/// What a change does to runs.
#[derive(Debug, Clone, Copy)]
enum Effect {
    Moved,
    Skipped,
    Once,
    Repeated,
}

/// A change of clocks, and the local times that it takes away or repeats: from `first` on, before `end`.
struct Change {
    at: Timestamp,
    first: DateTime,
    end: DateTime,
    is_forward: bool,
}

impl Change {
    /// What happens to these runs, in words; `None` where nothing does that anybody would notice.
    fn told(&self, schedule: &Schedule, when: &When, zone: &TimeZone) -> Option<(Effect, String)> {
        // Other moments than those of cron are counted from midnight, not read from the clock.
        matches!(when, When::Cron(_)).then_some(())?;
        let times = self.touched(when);
        let (first, last) = (*times.first()?, *times.last()?);
        let real = Real { schedule: Schedule { due: Due::Run(when.clone()), ..schedule.clone() }, zone };
        let length = self.length();
        let day = self.first.date();
        let named = named(&times);
        let is_hourly = fields(when).is_some_and(|[_, hour, ..]| hour == "*");
        let goes_on = || is_hourly || self.is_steady(when, first, last).unwrap_or(false);
        if self.is_forward {
            let does_not_exist = if times.len() == 1 { "does not exist" } else { "do not exist" };
            if real.is_due(self.at, self.at) && !is_due_at(when, self.end) {
                let run = self.at.to_zoned(zone.clone()).strftime("%H:%M");
                return Some((
                    Effect::Moved,
                    format!("{named} {does_not_exist} on {day}, when the run is at {run}"),
                ));
            }
            let skipped = if times.len() == 1 { "the run is skipped" } else { "those runs are skipped" };
            let rest = if real.has_run_on(day)? { "" } else { ": that day has none" };
            let text = format!("{named} {does_not_exist} on {day}, when {skipped}{rest}");
            return (!goes_on()).then_some((Effect::Skipped, text));
        }
        let come = if times.len() == 1 { "comes" } else { "come" };
        let again = self.at.checked_add(length).ok()?;
        if !real.is_due(self.at, again.checked_sub(SignedDuration::from_secs(1)).ok()?) {
            return Some((
                Effect::Once,
                format!("{named} {come} twice on {day}, when the run is at the first"),
            ));
        }
        let text = format!("{named} {come} twice on {day}, when runs are at both");
        (!goes_on()).then_some((Effect::Repeated, text))
    }

    fn length(&self) -> SignedDuration {
        self.end.duration_since(self.first)
    }

    /// The touched times at which runs would be due, if clocks did not change.
    fn touched(&self, when: &When) -> Vec<DateTime> {
        let Ok(from) = self.first.to_zoned(TimeZone::UTC) else { return Vec::new() };
        due::moments(when, &from).map(|at| at.datetime()).take_while(|time| *time < self.end).collect()
    }

    /// Whether runs follow one another across the change as on any other day, as those of each hour do.
    fn is_steady(&self, when: &When, first: DateTime, last: DateTime) -> Option<bool> {
        let second = SignedDuration::from_secs(1);
        let earlier = first.to_zoned(TimeZone::UTC).ok()?.checked_sub(second).ok()?;
        let prior = due::latest(when, &earlier)?.datetime();
        let later = last.to_zoned(TimeZone::UTC).ok()?.checked_add(second).ok()?;
        let next = due::moments(when, &later).next()?.datetime();
        let usual = [first.duration_since(prior), next.duration_since(last)];
        Some(match self.is_forward {
            true => {
                let pause = next.duration_since(prior) - self.length();
                usual.iter().all(|usual| pause <= *usual)
            }
            false => {
                let pause = first.duration_since(last) + self.length();
                usual.iter().all(|usual| pause >= *usual)
            }
        })
    }
}

/// When runs really are.
struct Real<'a> {
    schedule: Schedule,
    zone: &'a TimeZone,
}

impl Real<'_> {
    /// Whether a run is due from one moment until another, both included.
    fn is_due(&self, from: Timestamp, until: Timestamp) -> bool {
        !due::ticks(&self.schedule, from, until, 1).is_empty()
    }

    fn has_run_on(&self, day: Date) -> Option<bool> {
        let start = |day: Date| Some(day.to_zoned(self.zone.clone()).ok()?.start_of_day().ok()?.timestamp());
        let end = start(day.tomorrow().ok()?)?.checked_sub(SignedDuration::from_secs(1)).ok()?;
        Some(self.is_due(start(day)?, end))
    }
}

/// Whether a run is due at a local time, if clocks did not change.
fn is_due_at(when: &When, time: DateTime) -> bool {
    let Ok(at) = time.to_zoned(TimeZone::UTC) else { return false };
    due::moments(when, &at).next().is_some_and(|first| first == at)
}

/// `02:00, 02:30`; of many, how many and between which.
fn named(times: &[DateTime]) -> String {
    let show =
        |time: &DateTime| time.strftime(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string();
    match times {
        [first, .., last] if times.len() > NAMED => {
            format!("{} from {} to {}", plural(times.len(), "time"), show(first), show(last))
        }
        _ => times.iter().map(show).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use jiff::ToSpan;
    use proptest::prelude::*;

    use super::clock_change;
    use crate::due::{self, Tick};
    use crate::model::{Due, Schedule, When};
    use crate::sources::{FileId, Place};

    fn schedule(due: Due, zone: &str) -> Schedule {
        let place = Place { file: FileId(0), span: backplan_grammar::Span::new(0, 0) };
        Schedule { place, due, zone: zone.into(), jitter: None, catch_up: true }
    }

    fn cron(text: &str) -> When {
        When::Cron(text.into())
    }

    fn told(text: &str, zone: &str) -> String {
        let found = clock_change(&schedule(Due::Run(cron(text)), zone));
        found.map_or(String::new(), |found| found.message)
    }

    #[test]
    fn one_fixed_time_is_moved_and_made_once() {
        assert_eq!(
            told("30 2 * * *", "Europe/Berlin"),
            "clocks change in `Europe/Berlin`: 02:30 does not exist on 2027-03-28, when the run is at 03:00, and 02:30 comes \
             twice on 2027-10-31, when the run is at the first"
        );
        assert_eq!(
            told("30 0 * * *", "America/Havana"),
            "clocks change in `America/Havana`: 00:30 does not exist on 2027-03-14, when the run is at 01:00, and 00:30 comes \
             twice on 2027-11-07, when the run is at the first"
        );
    }

    #[test]
    fn lists_and_steps_are_skipped_and_repeated() {
        let berlin =
            |text: &str| told(text, "Europe/Berlin").replace("clocks change in `Europe/Berlin`: ", "");
        assert_eq!(
            berlin("30 1,2 * * *"),
            "02:30 does not exist on 2027-03-28, when the run is skipped, and 02:30 comes twice on 2027-10-31, when runs are at \
             both"
        );
        let both = "02:00, 02:30 do not exist on 2027-03-28, when those runs are skipped: that day has none, and 02:00, 02:30 \
                    come twice on 2027-10-31, when runs are at both";
        assert_eq!(berlin("0,30 2 * * *"), both);
        assert_eq!(berlin("*/30 2 * * *"), both);
        assert_eq!(
            berlin("*/5 2 * * *"),
            "12 times from 02:00 to 02:55 do not exist on 2027-03-28, when those runs are skipped: that day has none, and 12 \
             times from 02:00 to 02:55 come twice on 2027-10-31, when runs are at both"
        );
        assert_eq!(
            berlin("0 */2 * * *"),
            "02:00 does not exist on 2027-03-28, when the run is skipped, and 02:00 comes twice on 2027-10-31, when runs are at \
             both"
        );
        assert_eq!(berlin("30 2-3 * * *"), berlin("30 1,2 * * *"));
        assert_eq!(
            told("15 1,2,3 * * *", "Australia/Lord_Howe"),
            "clocks change in `Australia/Lord_Howe`: 02:15 does not exist on 2027-10-03, when the run is skipped"
        );
        let levels = Due::Levels {
            full: Some(cron("30 2 * * 7")),
            differential: None,
            incremental: Some(cron("15,45 2 * * *")),
        };
        let found = clock_change(&schedule(levels, "Europe/Berlin")).unwrap().message;
        assert_eq!(found.matches(", and ").count(), 3, "{found}");
        assert!(found.contains("02:30 does not exist on 2027-03-28, when the run is at 03:00"), "{found}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_not_told_makes_no_difference(
            minute in prop::sample::select(&["0", "15", "0,30", "*/20", "*", "5-8"][..]),
            hour in prop::sample::select(&["2", "1,2", "2,3", "*/2", "0-5", "1-3", "0,12", "1", "0,23", "4"][..]),
            name in prop::sample::select(
                &["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Europe/Dublin", "Asia/Tokyo"][..]
            ),
        ) {
            let there = schedule(Due::Run(cron(&format!("{minute} {hour} * * *"))), name);
            prop_assume!(clock_change(&there).is_none());
            let from = due::some_day(&due::zone(name).unwrap()).unwrap().timestamp();
            let pauses = |schedule: &Schedule| -> BTreeSet<(i64, i64)> {
                let ticks = due::ticks(schedule, from, from + (24 * 730).hours(), usize::MAX);
                let moved = |pair: &[Tick]| i64::from(pair[1].offset - pair[0].offset);
                ticks.windows(2).map(|pair| (pair[1].at - pair[0].at, pair[1].at - pair[0].at + moved(pair))).collect()
            };
            let usual = pauses(&Schedule { zone: "UTC".into(), ..there.clone() });
            let is_usual = |pause| usual.contains(&(pause, pause));
            for (passed, shown) in pauses(&there) {
                prop_assert!(is_usual(passed) || is_usual(shown), "{passed} s, by the clock {shown} s, in {usual:?}");
            }
        }
    }

    #[test]
    fn short_forms_are_times_too() {
        assert_eq!(told("@daily", "America/Havana"), told("0 0 * * *", "America/Havana"));
        assert_eq!(told("@hourly", "Europe/Berlin"), "");
    }

    #[test]
    fn what_goes_on_as_ever_is_no_finding() {
        for text in [
            "0 * * * *",
            "*/30 * * * *",
            "0,10 * * * *",
            "*/45 * * * *",
            "*/15 0-6 * * *",
            "30 4 * * *",
            "0 3 * * *",
        ] {
            assert_eq!(told(text, "Europe/Berlin"), "", "{text}");
        }
        assert_eq!(told("30 2 * * *", "UTC"), "");
        assert_eq!(told("0 * * * *", "Australia/Lord_Howe"), "");
        assert!(clock_change(&schedule(Due::Run(When::Every(1800)), "Europe/Berlin")).is_none());
    }
}
