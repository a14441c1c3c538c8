//! What a run did, or would do, for people.

use std::fmt::Write;

use backplan_runtime::past::journal::How;
use backplan_runtime::run::alone::StepEnd;
use backplan_runtime::run::dry::{Forecast, StepForecast};
use backplan_runtime::run::report::{Report, Verdict, failures};

use super::paint::Paint;
use super::text::harmless;
use crate::console::Style;
use crate::progress::bytes;
use backplan_compiler::count::plural;

/// Deletions and warnings that are listed one by one; what is more is counted.
const MOST: usize = 40;

/// A dry run.
pub fn forecast(forecast: &Forecast, style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(
        out,
        "{}\n",
        paint.bold(&format!("run {} of plan `{}` would:", forecast.run, forecast.plan))
    );
    for (number, step) in forecast.steps.iter().enumerate() {
        forecast_step(&mut out, number + 1, step, &paint);
    }
    let title = if forecast.archives.is_empty() { "no artefact would be made" } else { "artefacts:" };
    let _ = writeln!(out, "\n{}", paint.bold(title));
    for archive in &forecast.archives {
        let stores = archive.stores.join(", ");
        let measured = format!("{}, {}", plural(archive.entries, "entry"), bytes(archive.bytes));
        let open = match archive.unmeasured.as_slice() {
            [] => String::new(),
            names => format!(", and what {} gives", names.join(", ")),
        };
        let _ = writeln!(out, "  {} -> {stores}", harmless(&archive.artefact));
        let _ = match &archive.unchanged_since {
            Some(earlier) => {
                writeln!(out, "    nothing changed since run {earlier}: nothing of it would be written")
            }
            None => writeln!(out, "    {measured} before compression{open}"),
        };
    }
    list(&mut out, &paint.yellow("warnings:"), &forecast.warnings);
    let failing = match forecast.verdict {
        Verdict::Busy => "the run would not begin:",
        _ if forecast.archives.is_empty() => "the run would fail:",
        _ => "the run would fail in part:",
    };
    list(&mut out, &paint.red(failing), &forecast.errors);
    out.push_str("\nnothing was written, locked or sent.\n");
    out
}

fn forecast_step(out: &mut String, number: usize, step: &StepForecast, paint: &Paint) {
    let _ = writeln!(out, "{number:>3}  {}", paint.bold(&step.step.step));
    for found in &step.sight.found {
        let _ = writeln!(out, "       {}", harmless(found));
    }
    if let Some(reason) = &step.step.reason {
        let word = match step.step.outcome {
            How::Failed => paint.red("would fail:"),
            How::Dropped => paint.yellow("would be left out:"),
            _ => "would not run:".to_owned(),
        };
        let _ = writeln!(out, "       {word} {}", harmless(reason));
    }
    // Of a step that is not done only what it has deleted until then is sure.
    let is_done = step.step.reason.is_none();
    let effects =
        [("reads", &step.step.reads), ("writes", &step.step.writes), ("deletes", &step.step.deletes)];
    for (word, effects) in effects.into_iter().filter(|_| is_done) {
        for effect in effects {
            let _ = writeln!(out, "       {word:<8} {}", harmless(effect));
        }
    }
    for gone in step.sight.would_delete.iter().take(MOST) {
        let _ = writeln!(out, "       {} {}", paint.red("would delete"), harmless(gone));
    }
    if step.sight.would_delete.len() > MOST {
        let _ = writeln!(out, "       and {} more", step.sight.would_delete.len() - MOST);
    }
}

/// A step that was done alone.
pub fn step(ended: &StepEnd, style: Style) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(out, "run {}", ended.run);
    let reason = ended.reason.as_deref().map_or("done".into(), harmless);
    let _ = writeln!(out, "{}: {reason}", ended.step);
    match &ended.report {
        Some(over) => out.push_str(&report(over, style)),
        None => {
            let _ = writeln!(out, "next: {}", ended.next.join(", "));
        }
    }
    out
}

/// A run that has ended.
pub fn report(report: &Report, style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    for archive in &report.archives {
        if let Some(earlier) = &archive.unchanged_since {
            let _ = writeln!(out, "{}: nothing changed since run {earlier}", harmless(&archive.artefact));
            continue;
        }
        let _ = match archive.size {
            Some(size) => writeln!(
                out,
                "{}: {} from {} ({})",
                harmless(&archive.artefact),
                bytes(size),
                bytes(archive.bytes),
                plural(archive.entries, "entry"),
            ),
            None => writeln!(out, "{}: {}", harmless(&archive.artefact), paint.red("not made")),
        };
    }
    list(&mut out, &paint.yellow("warnings:"), &report.warnings);
    let failed: Vec<String> =
        failures(report).into_iter().map(|(step, why)| format!("{step}: {why}")).collect();
    list(&mut out, &paint.red("failed:"), &failed);
    let stores = whereabouts(report);
    let verdict = match report.verdict {
        Verdict::Done => paint.green("done"),
        Verdict::Warnings => paint.yellow("done, with warnings"),
        Verdict::Failed if report.committed.is_empty() => paint.red("failed"),
        Verdict::Failed => paint.red("failed in part"),
        Verdict::Busy => paint.yellow("not run: another run holds the lock"),
        Verdict::Interrupted | Verdict::Terminated => paint.red("stopped"),
    };
    let _ = writeln!(out, "{verdict}: run {} {stores}", report.run);
    out
}

/// In which stores a run's backup is, and in which it may be.
fn whereabouts(report: &Report) -> String {
    let named =
        |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let doubt = format!("may be in {}: `plan list` tells once the store answers", named(&report.uncertain));
    match (report.committed.as_slice(), report.uncertain.as_slice()) {
        ([], []) => "is nowhere: no backup was made".to_owned(),
        ([], _) => doubt,
        (names, []) => format!("is in {}", named(names)),
        (names, _) => format!("is in {}, and {doubt}", named(names)),
    }
}

fn list(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "{title}");
    for line in lines.iter().take(MOST) {
        let _ = writeln!(out, "  {}", harmless(line));
    }
    if lines.len() > MOST {
        let _ = writeln!(out, "  and {} more", lines.len() - MOST);
    }
}
