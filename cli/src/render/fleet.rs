//! Many plans at once, for people and programs: the worst first, a line each, and totals.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backplan_compiler::count::plural;
use backplan_runtime::load::display;
use serde_json::{Value, json};

use super::paint::Paint;
use super::text::harmless;
use crate::commands::fleet::name_of;
use crate::console::Style;
use crate::progress::duration;

/// Characters of a reason.
const LONGEST: usize = 160;

/// What became of a plan.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its file.
    pub file: PathBuf,
    /// Its name, or its file's.
    pub plan: String,
    /// The exit status.
    pub status: u8,
    /// How long it took.
    pub took: Duration,
    /// Why it is not 0, in one line.
    pub why: Option<String>,
    /// The whole answer.
    pub answer: Option<Value>,
}

impl Line {
    /// Of a plan that gave no answer.
    pub fn failed(file: &Path, status: u8, took: Duration, why: String) -> Line {
        Line { file: file.to_owned(), plan: name_of(file), status, took, why: Some(why), answer: None }
    }

    /// Of a plan's answer, and what was said beside it.
    pub fn of_answer(file: &Path, status: u8, took: Duration, answer: Option<Value>, said: &str) -> Line {
        let name = answer.as_ref().and_then(|answer| answer["plan"].as_str()).map(str::to_owned);
        let why =
            (status != 0).then(|| answer.as_ref().and_then(reason).or_else(|| complaint(said))).flatten();
        let (file, plan) = (file.to_owned(), name.unwrap_or_else(|| name_of(file)));
        Line { file, plan, status, took, why, answer }
    }
}

/// What an answer says is wrong: the first of it.
fn reason(answer: &Value) -> Option<String> {
    let list = |name: &str| answer[name].as_array().into_iter().flatten();
    let failed = list("steps").find(|step| step["outcome"] == "failed");
    let failed =
        failed.and_then(|step| Some(format!("{}: {}", step["step"].as_str()?, step["reason"].as_str()?)));
    let left = list("left_out").next();
    let left = left.and_then(|left| {
        Some(format!("without source `{}`: {}", left["source"].as_str()?, left["reason"].as_str()?))
    });
    let text = |name: &str| list(name).next().and_then(Value::as_str).map(str::to_owned);
    let damaged = || {
        let artefacts = list("runs").flat_map(|run| run["artefacts"].as_array().into_iter().flatten());
        let mut found = artefacts.flat_map(|artefact| artefact["damage"].as_array().into_iter().flatten());
        found.find_map(|damage| damage.as_str().or_else(|| damage["what"].as_str()).map(str::to_owned))
    };
    failed
        .or(left)
        .or_else(|| text("errors"))
        .or_else(|| text("warnings"))
        .or_else(|| text("unreadable"))
        .or_else(damaged)
}

/// The error among what a program said, with the causes that it counts up, else its last line.
fn complaint(said: &str) -> Option<String> {
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().rposition(|line| line.starts_with("error: "));
    let is_cause = |line: &&&str| !line.trim_start().starts_with("help: ");
    let error = |at: usize| {
        let all: Vec<&str> = lines[at..].iter().take_while(is_cause).copied().collect();
        all.join("\n").strip_prefix("error: ").map(str::to_owned)
    };
    let last = || lines.iter().rev().find(|line| !line.trim().is_empty()).map(|line| (*line).to_owned());
    at.and_then(error).or_else(last)
}

/// How bad a status is among several plans.
pub fn weight(status: u8) -> u8 {
    match status {
        0 => 0,
        3 => 1,
        4 => 2,
        2 => 3,
        130 | 143 => 5,
        _ => 4,
    }
}

fn word(status: u8) -> &'static str {
    match status {
        0 => "done",
        2 => "unusable",
        3 => "warnings",
        4 => "busy",
        130 | 143 => "stopped",
        _ => "FAILED",
    }
}

fn painted(status: u8, text: &str, paint: Paint) -> String {
    match weight(status) {
        0 => paint.green(text),
        1 | 2 => paint.yellow(text),
        _ => paint.red(text),
    }
}

/// The first line of a text, with what it announces, cut where it is too long for one.
pub fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut first = lines.next().unwrap_or_default().to_owned();
    while first.ends_with(':')
        && let Some(next) = lines.next()
    {
        first = format!("{first} {next}");
    }
    match first.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", &first[..at]),
        None => first,
    }
}

/// What a table calls plans: by their names, and with its file one that is not the only one of its name.
pub fn called(plans: &[(&str, &Path)]) -> Vec<String> {
    let is_alone = |name: &str| plans.iter().filter(|(other, _)| *other == name).count() == 1;
    let called = |(name, file): &(&str, &Path)| match is_alone(name) {
        true => (*name).to_owned(),
        false => format!("{name} ({})", display(file)),
    };
    plans.iter().map(called).collect()
}

/// A plan that is through, while others go on.
pub fn progress(line: &Line) -> String {
    let took = duration(line.took);
    let why = line.why.as_deref().map(|why| format!(": {}", harmless(&one_line(why)))).unwrap_or_default();
    format!(
        "plan `{}` of {}: {} in {took}{why}\n",
        harmless(&line.plan),
        harmless(&display(&line.file)),
        word(line.status)
    )
}

/// The worst first, then by name.
pub fn sorted<T>(lines: &mut [T], key: impl Fn(&T) -> (u8, String)) {
    lines.sort_by(|a, b| {
        let ((a, a_name), (b, b_name)) = (key(a), key(b));
        weight(b).cmp(&weight(a)).then(a_name.cmp(&b_name))
    });
}

/// All of them.
pub fn summary(command: &str, lines: &[Line], left: usize, took: Duration, style: Style) -> String {
    let paint = Paint::new(style);
    let mut lines: Vec<&Line> = lines.iter().collect();
    sorted(&mut lines, |line| (line.status, line.plan.clone()));
    let plans: Vec<_> = lines.iter().map(|line| (line.plan.as_str(), line.file.as_path())).collect();
    let names = called(&plans);
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(40);
    let mut out = String::new();
    for (line, name) in lines.iter().zip(&names) {
        // Writing into a string does not fail.
        let _ = write!(
            out,
            "{}  {:<width$}  {:>10}",
            painted(line.status, &format!("{:<8}", word(line.status)), paint),
            harmless(name),
            duration(line.took)
        );
        let _ = match (&line.why, line.status) {
            (_, 0) => writeln!(out),
            (Some(why), _) => {
                writeln!(out, "  {}: {}", harmless(&display(&line.file)), harmless(&one_line(why)))
            }
            (None, _) => writeln!(out, "  `plan {command} {}` says why", harmless(&display(&line.file))),
        };
    }
    let counts = [0, 3, 4, 2, 1, 130]
        .map(|of| (word(of), lines.iter().filter(|line| weight(line.status) == weight(of)).count()));
    let counts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let begun = if left > 0 { format!(", {left} not begun") } else { String::new() };
    let _ = writeln!(
        out,
        "{}: {}{begun}, in {}",
        plural(lines.len() + left, "plan"),
        counts.join(", "),
        duration(took)
    );
    out
}

/// A plan, for programs.
pub fn json_line(line: &Line) -> String {
    let answer = json!({
        "file": display(&line.file),
        "plan": line.plan,
        "status": line.status,
        "took_ms": u64::try_from(line.took.as_millis()).unwrap_or(u64::MAX),
        "why": line.why,
        "answer": line.answer,
    });
    format!("{answer}\n")
}

/// The last line for programs.
pub fn json_totals(lines: &[Line], left: usize) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for line in lines {
        *counts.entry(line.status.to_string()).or_insert(0_u64) += 1;
    }
    format!("{}\n", json!({ "plans": lines.len() + left, "by_status": counts, "not_begun": left }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_worst_is_first_and_none_is_more_than_a_line() {
        let line = |plan: &str, status, why: Option<&str>| Line {
            plan: plan.to_owned(),
            why: why.map(str::to_owned),
            ..Line::failed(Path::new("/etc/x.plan"), status, Duration::from_secs(2), String::new())
        };
        let long = "x".repeat(400);
        let lines = [
            line("fine", 0, None),
            line("late", 3, Some("a\nb")),
            line("broken", 1, Some(&long)),
            line("held", 4, Some("\u{1b}[2J")),
        ];
        let told = summary("run", &lines, 2, Duration::from_secs(9), Style::PLAIN);
        let first: Vec<&str> = told.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(first, ["FAILED", "busy", "warnings", "done", "6"]);
        assert!(
            told.ends_with("6 plans: 1 done, 1 warnings, 1 busy, 1 FAILED, 2 not begun, in 9.0 s\n"),
            "{told}"
        );
        assert!(!told.contains("fine (/etc/x.plan)"), "{told}");
        let twice = [
            line("same", 0, None),
            Line { file: "/srv/x.plan".into(), ..line("same", 1, Some("a and b:\n  c\n  d")) },
        ];
        let apart = summary("run", &twice, 0, Duration::from_secs(9), Style::PLAIN);
        assert!(apart.contains("same (/etc/x.plan)") && apart.contains("same (/srv/x.plan)"), "{apart}");
        assert!(apart.contains("/srv/x.plan: a and b: c\n"), "{apart}");
        assert!(!told.contains('\u{1b}') && told.lines().all(|line| line.len() < 260), "{told}");
    }
}
