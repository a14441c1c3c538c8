//! How several plans stand: the worst first, a line each; and what should have run and did not.

use std::fmt::Write;

use backplan_compiler::count::plural;
use backplan_compiler::lower::level_word;
use backplan_runtime::load::display;
use backplan_runtime::moment::shown;
use backplan_runtime::status::{Status as Standing, Verdict, span};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::fleet::{called, one_line, sorted, weight};
use super::paint::Paint;
use super::text::harmless;
use crate::commands::status::Seen;
use crate::console::Style;
use crate::exit::Status;

/// Something that should have been done and was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Due {
    /// `run`, or `rehearsal`.
    pub what: &'static str,
    /// Of a rehearsal: of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it should have been; null where it never was.
    pub since: Option<Timestamp>,
}

/// What should have been done of a plan and was not.
pub fn due(standing: &Standing) -> Vec<Due> {
    let is_scheduled = standing.next_due.is_some();
    let run = match standing.verdict {
        Verdict::NoBackup => (is_scheduled && standing.under_way.is_none()).then_some(None),
        _ => standing.overdue_since.map(Some),
    };
    let run = run.map(|since| Due { what: "run", source: None, since });
    let late = standing.rehearsals.iter().filter(|rehearsal| rehearsal.overdue);
    let late = late.map(|rehearsal| {
        let every = rehearsal.every.and_then(|every| i64::try_from(every).ok());
        let since =
            rehearsal.last.as_ref().zip(every).and_then(|(last, every)| {
                last.started.checked_add(jiff::SignedDuration::from_secs(every)).ok()
            });
        Due { what: "rehearsal", source: Some(rehearsal.source.clone()), since }
    });
    run.into_iter().chain(late).collect()
}

/// For people.
pub fn human(seen: &[Seen], only_due: bool, now: Timestamp, style: Style) -> String {
    let paint = Paint::new(style);
    let mut rows: Vec<&Seen> = seen.iter().collect();
    sorted(&mut rows, |one| (one.status().code(), one.plan.clone()));
    if only_due {
        rows.retain(|one| one.standing.as_ref().map_or(true, |standing| !due(standing).is_empty()));
    }
    let plans: Vec<_> = rows.iter().map(|one| (one.plan.as_str(), one.file.as_path())).collect();
    let names = called(&plans);
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(40);
    let mut out = String::new();
    for (one, name) in rows.iter().zip(&names) {
        let said = match (&one.standing, only_due) {
            (Err(failure), _) => format!("{}: {}", display(&one.file), failure.message),
            (Ok(standing), true) => due_line(standing, now),
            (Ok(standing), false) => line(standing, now),
        };
        let (word, name) = (state(one), harmless(name));
        let _ =
            writeln!(out, "{}  {name:<width$}  {}", painted(one, word, paint), harmless(&one_line(&said)));
    }
    let _ = match only_due {
        true => writeln!(
            out,
            "{} of {}: something should have run and did not, or cannot be told",
            rows.len(),
            plural(seen.len(), "plan")
        ),
        false => writeln!(out, "{}", totals(seen)),
    };
    out
}

fn state(one: &Seen) -> &'static str {
    match (&one.standing, one.status()) {
        (Err(_), Status::Usage) => "unusable",
        (Err(_), _) => "UNKNOWN",
        (Ok(_), Status::Done) => "well",
        (Ok(_), Status::Warnings) => "look",
        (Ok(_), _) => "NO BACKUP",
    }
}

fn painted(one: &Seen, word: &str, paint: Paint) -> String {
    let word = format!("{word:<9}");
    match weight(one.status().code()) {
        0 => paint.green(&word),
        1 | 2 => paint.yellow(&word),
        _ => paint.red(&word),
    }
}

fn totals(seen: &[Seen]) -> String {
    let words = ["well", "look", "NO BACKUP", "UNKNOWN", "unusable"];
    let count = |word: &str| seen.iter().filter(|one| state(one) == word).count();
    let counts = words.map(|word| (word, count(word)));
    let counts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    format!("{}: {}", plural(seen.len(), "plan"), counts.join(", "))
}

/// How old the oldest of the newest backups is, and the first of what is wrong.
fn line(standing: &Standing, now: Timestamp) -> String {
    let oldest = standing.sources.iter().map(|source| source.age).max_by_key(|age| age.unwrap_or(i64::MAX));
    let age = match oldest.flatten() {
        Some(age) => format!("{:>10} old", span(age)),
        None => format!("{:>14}", "-"),
    };
    let wrong = wrong(standing, now);
    match wrong.as_slice() {
        [] => age,
        [only] => format!("{age}  {only}"),
        [first, more @ ..] => format!("{age}  {first}; and {} more", more.len()),
    }
}

/// All that is wrong, the weightiest first.
pub fn wrong(standing: &Standing, now: Timestamp) -> Vec<String> {
    let mut found = Vec::new();
    for run in &standing.unclean {
        let why = run.troubles.first().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
        let name = run.run.as_deref().unwrap_or("a run");
        found.push(format!(
            "{name} {}{why}",
            serde_json::to_value(run.end).ok().as_ref().and_then(|end| end.as_str()).unwrap_or("failed")
        ));
    }
    if let Some(overdue) = &standing.overdue {
        let late = span(now.as_second() - overdue.since.as_second());
        found.push(match overdue.level {
            Some(level) => format!("{} overdue for {late}", level_word(level)),
            None => format!("overdue for {late}"),
        });
    }
    let missed = standing.objectives.iter().filter(|promise| promise.met == Some(false));
    found.extend(missed.map(|promise| {
        let why = promise.why.first().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} {} missed{why}", promise.objective, promise.promised)
    }));
    let none = standing.sources.iter().filter(|source| source.newest.is_none());
    found.extend(none.map(|source| format!("`{}` has no backup", source.source)));
    let rehearsals = standing.rehearsals.iter().filter(|rehearsal| rehearsal.is_trouble());
    found.extend(rehearsals.map(|rehearsal| match rehearsal.overdue {
        true => format!("rehearsal of `{}` is overdue", rehearsal.source),
        false => format!("rehearsal of `{}` failed", rehearsal.source),
    }));
    found.extend(standing.problems.iter().cloned());
    let logs = standing.logs.iter();
    found.extend(
        logs.flat_map(|log| log.problems.iter().map(move |text| format!("log of `{}`: {text}", log.source))),
    );
    found.extend(standing.archives.iter().flat_map(|archive| archive.warnings.iter().cloned()));
    found
}

fn due_line(standing: &Standing, now: Timestamp) -> String {
    let each = due(standing);
    let each = each.iter().map(|due| {
        let of = due.source.as_ref().map(|source| format!(" of `{source}`")).unwrap_or_default();
        match due.since {
            Some(since) => {
                let late = span(now.as_second() - since.as_second());
                format!("a {}{of} was due at {}, {late} ago", due.what, shown(since))
            }
            None => format!("no {}{of} was ever made", due.what),
        }
    });
    each.collect::<Vec<_>>().join("; ")
}

/// For programs: a line each, and one of totals.
pub fn json(seen: &[Seen], only_due: bool) -> String {
    let mut out = String::new();
    for one in seen {
        let standing = one.standing.as_ref();
        let mut row = json!({
            "file": display(&one.file),
            "plan": one.plan,
            "status": one.status().code(),
            "error": standing.err().map(|failure| &failure.message),
        });
        row[if only_due { "due" } else { "answer" }] = match (standing, only_due) {
            (Ok(standing), true) => json!(due(standing)),
            (Ok(standing), false) => json!(standing),
            (Err(_), _) => serde_json::Value::Null,
        };
        let _ = writeln!(out, "{row}");
    }
    let well = seen.iter().filter(|one| one.status() == Status::Done).count();
    let _ = writeln!(out, "{}", json!({ "plans": seen.len(), "well": well }));
    out
}
