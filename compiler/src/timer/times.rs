//! Moments as sets of minutes, hours and days: what `every` and cron's five fields have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use jiff::Zoned;

use super::Inexpressible;
use crate::model::When;

/// Seconds of a day without a change of clocks.
const DAY: u64 = 86_400;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Moments: each of these seconds of each of these minutes of each of these hours, on each of these days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Times {
    pub seconds: BTreeSet<u8>,
    pub minutes: BTreeSet<u8>,
    pub hours: BTreeSet<u8>,
    /// Days of the month; `None`: any.
    pub days: Option<BTreeSet<u8>>,
    /// Months; `None`: any.
    pub months: Option<BTreeSet<u8>>,
    /// Days of the week, Sunday is 0; `None`: any.
    pub weekdays: Option<BTreeSet<u8>>,
}

impl Times {
    /// Whether the clock on the wall shows one of these at this moment.
    pub(super) fn has(&self, at: &Zoned) -> bool {
        let number = |value: i8| u8::try_from(value).unwrap_or_default();
        let among = |set: &Option<BTreeSet<u8>>, value| set.as_ref().is_none_or(|set| set.contains(&value));
        self.seconds.contains(&number(at.second()))
            && self.minutes.contains(&number(at.minute()))
            && self.hours.contains(&number(at.hour()))
            && among(&self.days, number(at.day()))
            && among(&self.months, number(at.month()))
            && among(&self.weekdays, number(at.weekday().to_sunday_zero_offset()))
    }
}

/// The moments, together those of `when`.
///
/// # Errors
/// For letters of cron expressions that only some programs know.
pub(super) fn times(when: &When) -> Result<Vec<Times>, Inexpressible> {
    match when {
        When::Every(seconds) => Ok(every(*seconds)),
        When::Cron(text) => fields(text),
    }
}

/// Counted from midnight, by the clock on the wall: in groups of one second and minute.
fn every(step: u64) -> Vec<Times> {
    let mut groups: BTreeMap<(u8, u8), BTreeSet<u8>> = BTreeMap::new();
    let part = |value: u64| u8::try_from(value).unwrap_or_default();
    for at in (0..DAY).step_by(usize::try_from(step.max(1)).unwrap_or(usize::MAX)) {
        groups.entry((part(at % 60), part(at / 60 % 60))).or_default().insert(part(at / 3600));
    }
    // Minutes with the same hours are one group again: `every 30m` is one line, not two.
    let mut joined: BTreeMap<(u8, BTreeSet<u8>), BTreeSet<u8>> = BTreeMap::new();
    for ((second, minute), hours) in groups {
        joined.entry((second, hours)).or_default().insert(minute);
    }
    let any = |(second, hours), minutes| Times {
        seconds: BTreeSet::from([second]),
        minutes,
        hours,
        days: None,
        months: None,
        weekdays: None,
    };
    joined.into_iter().map(|(key, minutes)| any(key, minutes)).collect()
}

fn fields(text: &str) -> Result<Vec<Times>, Inexpressible> {
    let unknown = |what: &str| {
        Inexpressible::new(
            format!("`{text}`: {what}"),
            "write it in five fields of numbers, names, `*`, `,`, `-` and `/`, such as \"30 2 * * sun\"",
        )
    };
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (seconds, words) = match words.as_slice() {
        [_, _, _, _, _] => (BTreeSet::from([0]), words.as_slice()),
        [seconds, rest @ ..] if rest.len() == 5 => {
            (field(seconds, 0..=59, &[]).ok_or_else(|| unknown("its seconds are not understood"))?, rest)
        }
        _ => return Err(unknown("it has not five fields")),
    };
    let [minute, hour, day, month, weekday] = words else { return Err(unknown("it has not five fields")) };
    let read = |word: &str, range, names: &[&str]| {
        field(word, range, names)
            .ok_or_else(|| unknown(&format!("`{word}` is not understood by others than this program")))
    };
    let some = |word: &str, set: BTreeSet<u8>| (word != "*" && word != "?").then_some(set);
    let months = some(month, read(month, 1..=12, &MONTHS)?);
    let days = some(day, read(day, 1..=31, &[])?);
    let weekdays = some(weekday, read(weekday, 0..=7, &DAYS)?.into_iter().map(|day| day % 7).collect());
    let one = Times {
        seconds,
        minutes: read(minute, 0..=59, &[])?,
        hours: read(hour, 0..=23, &[])?,
        days,
        months,
        weekdays,
    };
    // Where both kinds of days are said, a day of either kind is meant.
    Ok(match (&one.days, &one.weekdays) {
        (Some(_), Some(_)) if day.starts_with('*') || weekday.starts_with('*') => {
            return Err(unknown("programs disagree on what a step of days means beside days of the week"));
        }
        (Some(_), Some(_)) => vec![Times { weekdays: None, ..one.clone() }, Times { days: None, ..one }],
        _ => vec![one],
    })
}

/// The numbers that a field means; `None` where it is not understood.
fn field(text: &str, range: RangeInclusive<u8>, names: &[&str]) -> Option<BTreeSet<u8>> {
    let number = |word: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(word));
        let first = if names.len() == 12 { 1 } else { 0 };
        let value = match named {
            Some(at) => u8::try_from(at).ok()? + first,
            None => word.parse().ok()?,
        };
        range.contains(&value).then_some(value)
    };
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, step.parse::<u8>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match span.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None if span == "*" || (span == "?" && step == 1) => (*range.start(), *range.end()),
            // A step counts on to the end.
            None if part.contains('/') => (number(span)?, *range.end()),
            None => (number(span)?, number(span)?),
        };
        if from > to {
            return None;
        }
        all.extend((from..=to).step_by(step.into()));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn cron(text: &str) -> Result<Vec<Times>, Inexpressible> {
        times(&When::Cron(text.to_owned()))
    }

    #[test]
    fn days_of_either_kind_are_two_groups() {
        let both = cron("30 2 1,15 * sun").unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].days, Some(BTreeSet::from([1, 15])));
        assert_eq!(both[1].weekdays, Some(BTreeSet::from([0])));
        assert_eq!(cron("0 0 * * 7").unwrap(), cron("0 0 * * SUN").unwrap());
        assert_eq!(cron("5/20 8-10 * feb-apr *").unwrap()[0].minutes, BTreeSet::from([5, 25, 45]));
    }

    #[test]
    fn what_others_do_not_know_is_refused() {
        for text in [
            "0 0 L * *",
            "0 0 15W * *",
            "0 0 * * 5#2",
            "0 0 */2 * mon",
            "0 0 1-5 * */2",
            "61 * * * *",
            "* * * *",
        ] {
            assert!(cron(text).is_err(), "{text}");
        }
    }

    #[test]
    fn steps_from_midnight_are_few_groups() {
        assert_eq!(times(&When::Every(1800)).unwrap().len(), 1);
        let odd = times(&When::Every(5400)).unwrap();
        assert_eq!(odd.iter().map(|group| group.hours.len() * group.minutes.len()).sum::<usize>(), 16);
        assert_eq!(odd.len(), 2);
    }
}
