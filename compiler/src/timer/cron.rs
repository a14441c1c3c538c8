//! Lines of a crontab.

use std::collections::BTreeSet;
use std::fmt::Write;

use jiff::{Timestamp, ToSpan};

use super::times::{Times, times};
use super::{Inexpressible, Starter, starts, strays, variables};
use crate::due;
use crate::model::{Model, Schedule};

/// Where programs of drivers are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How far ahead two clocks are compared: changes of clocks repeat within a year.
const DAYS: i64 = 800;
/// Moments that are compared at the most.
const MOMENTS: usize = 20_000;

/// Whether this schedule means the same moments by the clock of `zone`, the machine's. cron knows no other.
pub fn same_clock(schedule: &Schedule, zone: &str, now: Timestamp) -> bool {
    if schedule.zone == zone {
        return true;
    }
    let Ok(until) = now.checked_add((DAYS * 24).hours()) else { return false };
    let here = Schedule { zone: zone.to_owned(), ..schedule.clone() };
    let moments = |schedule: &Schedule| -> Vec<(i64, Option<crate::model::Level>)> {
        due::ticks(schedule, now, until, MOMENTS).iter().map(|tick| (tick.at, tick.level)).collect()
    };
    due::zone(zone).is_some() && moments(schedule) == moments(&here)
}

/// The lines that start a plan's runs, for `account` where it is the system's table. `zone` is the machine's.
///
/// # Errors
/// Where the plan has no schedule, or one that cron cannot follow on this machine.
pub fn crontab(
    model: &Model,
    starter: &Starter,
    account: Option<&str>,
    zone: &str,
    now: Timestamp,
) -> Result<String, Inexpressible> {
    let starts = starts(model)?;
    if let Some(name) = variables(model)?.first() {
        return Err(Inexpressible::new(
            format!(
                "plan `{}` takes a secret from the variable `{name}`, which cron does not set",
                model.name
            ),
            "let the plan take it from a file, as `file(\"/etc/backplan/…\")`, or use `--for systemd`, which reads variables from one",
        ));
    }
    if let Some(other) = starts.iter().find(|start| !same_clock(start.schedule, zone, now)) {
        return Err(Inexpressible::new(
            format!(
                "the schedule of plan `{}` goes by the clock of {}, cron by the machine's, which is that of {zone}",
                model.name, other.schedule.zone
            ),
            format!("write `zone = \"{zone}\"` into the schedule, or use `--for systemd`, which knows zones"),
        ));
    }
    let mut text = String::new();
    let mut line = |text_of: &str| {
        let _ = writeln!(text, "{text_of}");
    };
    // In an account's own table a setting holds for the lines behind it too, which are not ours: there it is part of the command.
    let of_system = account.is_some();
    if of_system {
        line("SHELL=/bin/sh");
        line(&format!("PATH={PATH}"));
    }
    if starts.iter().any(|start| start.schedule.jitter.is_some()) {
        line("# cron starts at the minute: the schedule's jitter is not followed.");
    }
    if starts.iter().any(|start| start.schedule.catch_up) {
        line("# cron makes up for nothing that the machine slept through: `plan status` tells of it.");
    }
    for start in starts {
        let words: Vec<String> = starter.words(&start).iter().map(|word| quoted(word)).collect();
        // In a crontab a percent sign is a line break.
        let own = if of_system { String::new() } else { format!("/usr/bin/env PATH={PATH} ") };
        let command = format!("{own}{}", words.join(" ")).replace('%', "\\%");
        let account = account.map(|account| format!("{account} ")).unwrap_or_default();
        let moments = times(start.when)?;
        if let Some(note) = strays(start.schedule, start.when, &moments, now) {
            line(&note);
        }
        for times in moments {
            line(&format!("{} {account}{command}", fields(&times)?));
        }
    }
    Ok(text)
}

fn fields(times: &Times) -> Result<String, Inexpressible> {
    if times.seconds != BTreeSet::from([0]) {
        return Err(Inexpressible::new(
            "cron starts at full minutes, and the schedule has seconds",
            "take the seconds out of the schedule, or use `--for systemd`",
        ));
    }
    let some = |set: &Option<BTreeSet<u8>>| set.as_ref().map_or("*".to_owned(), |set| list(set, 0));
    Ok(format!(
        "{} {} {} {} {}",
        list(&times.minutes, 60),
        list(&times.hours, 24),
        some(&times.days),
        some(&times.months),
        some(&times.weekdays)
    ))
}

/// The fields of moments, for those that have an expression each: days of both kinds are one, as they have it too.
pub(super) fn expressions(all: &[Times]) -> Result<Vec<String>, Inexpressible> {
    if let [days, weekdays] = all
        && days.weekdays.is_none()
        && weekdays.days.is_none()
        && (Times { weekdays: weekdays.weekdays.clone(), ..days.clone() })
            == (Times { days: days.days.clone(), ..weekdays.clone() })
    {
        return Ok(vec![fields(&Times { weekdays: weekdays.weekdays.clone(), ..days.clone() })?]);
    }
    all.iter().map(fields).collect()
}

fn list(set: &BTreeSet<u8>, all: usize) -> String {
    if set.len() == all {
        return "*".to_owned();
    }
    set.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-=+:,@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
