//! What stays, what goes, and how a plan stands, for people.

use std::fmt::Write;

use backplan_compiler::lower::level_word;
use backplan_runtime::catalog::prune::PrunedRun;
use backplan_runtime::moment::{exactly, shown};
use backplan_runtime::past::history::{End, PastRun};
use backplan_runtime::postgres::restore::log::LogStanding;
use backplan_runtime::run::prune::StorePrune;
use backplan_runtime::status::{
    ArchiveNext, KeyStanding, Overdue, Promise, RehearsalStanding, SourceStanding, Status, Verdict, span,
};
use jiff::Timestamp;

use super::paint::Paint;
use super::rehearsal::short;
use super::text::{harmless, within_a_line};
use crate::console::Style;
use crate::progress::bytes;
use backplan_compiler::count::plural;

/// Reasons shown of a run; the document for programs has them all.
const MOST: usize = 4;

/// A prune, or what it would be.
pub fn prune(stores: &[StorePrune], dry_run: bool, style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    for store in stores {
        let _ = writeln!(out, "{}", paint.bold(&format!("store `{}`", store.store)));
        if let Some(plan) = &store.plan {
            rows(&mut out, &plan.runs, paint);
            for held in &plan.held {
                let _ = writeln!(out, "  {} {}", paint.yellow("held:"), harmless(&held.to_string()));
            }
            for text in &plan.warnings {
                let _ = writeln!(out, "  {} {}", paint.yellow("warning:"), harmless(text));
            }
            for why in &plan.refused {
                let _ =
                    writeln!(out, "  {} {}", paint.yellow("nothing is deleted:"), harmless(&why.to_string()));
            }
        }
        for text in &store.left {
            let _ = writeln!(out, "  {} {}", paint.yellow("warning:"), harmless(text));
        }
        if let Some(error) = &store.error {
            let _ = writeln!(out, "  {} {}", paint.red("not pruned:"), harmless(error));
        }
        if let Some(plan) = store.plan.as_ref() {
            let gone: Vec<&PrunedRun> = plan.runs.iter().filter(|run| !run.stays && plan.deletes()).collect();
            let freed = bytes(gone.iter().map(|run| run.frees).sum());
            let verb = if dry_run { "would go" } else { "gone" };
            let stay = plan.runs.len() - gone.len();
            let _ = writeln!(
                out,
                "  {} of {} {verb}, {freed}; {stay} stay",
                gone.len(),
                plural(plan.runs.len(), "run")
            );
        }
    }
    if dry_run {
        out.push_str("nothing was deleted.\n");
    }
    out
}

fn rows(out: &mut String, runs: &[PrunedRun], paint: Paint) {
    for run in runs {
        let started = shown(run.started);
        let level = backplan_compiler::lower::level_word(run.level);
        let word = if run.stays { paint.green("stays") } else { paint.red("goes ") };
        let mut why = run.reasons.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
        if run.reasons.len() > MOST {
            let _ = write!(why, ", and {} more", run.reasons.len() - MOST);
        }
        let line = format!("{started}  {level:<12}  {:>10}  {}", bytes(run.size), harmless(&why));
        let _ = writeln!(out, "  {word}  {}  {}", run.run, line.trim_end());
    }
}

/// How a plan stands.
pub fn status(status: &Status, style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    let verdict = match status.verdict {
        Verdict::Fine => paint.green("all is well"),
        Verdict::Attention => paint.yellow("somebody should look"),
        // One may be where nobody could look.
        Verdict::NoBackup if !status.problems.is_empty() => paint.red("no backup is known"),
        Verdict::NoBackup => paint.red("there is no backup"),
    };
    let _ = writeln!(out, "{}: {verdict}", paint.bold(&format!("plan `{}`", status.plan)));
    out.push_str(&unclean(&status.unclean, status.now, style));
    if let Some(between) = &status.between_steps {
        let ago = span(status.now.as_second() - between.began.as_second());
        let _ = writeln!(
            out,
            "under way: run `{}` of `plan step`, begun {ago} ago, between two steps",
            between.run
        );
    }
    sources(&mut out, &status.sources, paint);
    next(&mut out, status, paint);
    for promise in &status.objectives {
        objective(&mut out, promise, paint);
    }
    for log in &status.logs {
        self::log(&mut out, log, paint);
    }
    for standing in &status.rehearsals {
        rehearsal(&mut out, standing, paint);
    }
    for key in &status.keys {
        self::key(&mut out, key);
    }
    for store in &status.stores {
        let size = bytes(store.size);
        let _ = writeln!(out, "store `{}`: {}, {size}", store.store, plural(store.runs, "run"));
    }
    for problem in &status.problems {
        let _ = writeln!(out, "{} {}", paint.yellow("problem:"), within_a_line(problem));
    }
    out
}

/// What opens with a key.
fn key(out: &mut String, standing: &KeyStanding) {
    let of = match (standing.runs.first(), standing.runs.last()) {
        (Some(first), Some(last)) if first != last => format!(", {first} to {last}"),
        (Some(only), _) => format!(", {only}"),
        (None, _) => String::new(),
    };
    let gone = if standing.in_plan { "" } else { "; new ones are no longer encrypted for it" };
    let count = plural(standing.runs.len(), "backup");
    let _ = writeln!(out, "key `{}` opens {count}{of}{gone}", harmless(&standing.key));
}

/// The last runs that did not end well.
pub fn unclean(runs: &[PastRun], now: Timestamp, style: Style) -> String {
    let mut out = String::new();
    for run in runs {
        past(&mut out, run, now, Paint::new(style));
    }
    out
}

/// A run that did not end well: which, when, how, and what it said.
fn past(out: &mut String, run: &PastRun, now: Timestamp, paint: Paint) {
    let (word, how) = match run.end {
        End::Refused => (paint.red("failed:"), "could not begin"),
        End::Failed if run.whole => {
            (paint.red("failed:"), "backed up everything, and failed in what goes with it")
        }
        End::Failed => (paint.red("failed:"), "did not back up everything"),
        End::Warnings => (paint.yellow("warnings:"), "ended with warnings"),
        End::Stopped => (paint.red("stopped:"), "was stopped by a signal"),
        End::Died => (paint.red("died:"), "did not come to its end; the next run takes back what it left"),
    };
    let which = run.run.as_ref().map_or_else(|| "a run".to_owned(), |id| format!("run `{id}`"));
    let of = match run.only.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") {
        all if all.is_empty() => all,
        only => format!(" of {only}"),
    };
    let ago = span(now.as_second() - run.began.as_second());
    let _ = writeln!(out, "{word} {which}{of}, {ago} ago, {how}");
    for trouble in run.troubles.iter().take(MOST) {
        let _ = writeln!(out, "  {}", harmless(trouble).replace('\n', "\n  "));
    }
    if let Some(more @ 1..) = run.troubles.len().checked_sub(MOST) {
        let _ = writeln!(out, "  and {more} more; `--format json` has them");
    }
}

fn sources(out: &mut String, sources: &[SourceStanding], paint: Paint) {
    let width = sources.iter().map(|source| source.source.len()).max().unwrap_or(0);
    for source in sources {
        let name = format!("{:<width$}", source.source);
        let _ = match (source.newest, source.age) {
            (Some(run), Some(age)) => {
                writeln!(out, "  {name}  {:>10} old  {run}  in {}", span(age), source.stores.join(", "))
            }
            _ => writeln!(out, "  {name}  {}", paint.red("no backup")),
        };
    }
}

fn next(out: &mut String, status: &Status, paint: Paint) {
    for archive in &status.archives {
        let ArchiveNext { archive, level, why, .. } = archive;
        let place = match (status.archives.len(), &archive) {
            (1, _) => "next run".to_owned(),
            (_, name) => format!("next run of `{name}`"),
        };
        let _ = writeln!(out, "{place}: {level} ({})", harmless(why));
    }
    for warning in status.archives.iter().flat_map(|archive| &archive.warnings) {
        let _ = writeln!(out, "{} {}", paint.yellow("warning:"), harmless(warning));
    }
    if let Some(at) = status.next_due {
        let wait = span(at.as_second() - status.now.as_second());
        let _ = writeln!(out, "next due: {}, in {wait}", shown(at));
    }
    if let Some(way) = &status.under_way {
        let of = listed(way.only.iter().map(|source| format!("`{source}`")), " of ");
        let took = span(status.now.as_second() - way.began.as_second());
        let _ = writeln!(out, "under way: a run{of}, since {}, {took} ago", shown(way.began));
    }
    if let Some(overdue) = &status.overdue {
        let late = span(status.now.as_second() - overdue.since.as_second());
        let _ = writeln!(out, "{} {}, {late} ago", paint.red("overdue:"), missing(overdue));
    }
}

/// The run that is missing, and when it was due.
pub fn missing(overdue: &Overdue) -> String {
    let what = overdue.level.map_or("run", level_word);
    let article = if what.starts_with('i') { "an" } else { "a" };
    let of = listed(overdue.sources.iter().map(|source| format!("`{source}`")), " of ");
    format!("{article} {what}{of} was due at {}", shown(overdue.since))
}

/// Words with commas between them, behind others; nothing where there are none.
fn listed(words: impl Iterator<Item = String>, before: &str) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { String::new() } else { format!("{before}{}", words.join(", ")) }
}

/// The window of a source, and what narrows it.
fn log(out: &mut String, log: &LogStanding, paint: Paint) {
    let windows =
        log.windows.iter().map(|span| format!("from {} to {}", shown(span.from), shown(span.until)));
    let windows = windows.collect::<Vec<_>>().join(", and ");
    let _ = match windows.is_empty() {
        true => writeln!(out, "log of `{}`: {}", log.source, paint.yellow("no base backup to begin from")),
        false => writeln!(out, "log of `{}`: any moment {windows}", log.source),
    };
    let last = log.last_commit.map(|at| format!(", the last commit at {}", exactly(at)));
    let size = bytes(log.size);
    let _ = writeln!(out, "  {}, {size}{}", plural(log.segments, "segment"), last.unwrap_or_default());
    if log.encrypted > 0 {
        let count = plural(log.encrypted, "backup");
        let _ = writeln!(out, "  and what the log in {count} leads to, which is encrypted");
    }
    for problem in &log.problems {
        let _ =
            writeln!(out, "{} log of `{}`: {}", paint.yellow("problem:"), log.source, within_a_line(problem));
    }
}

/// The last rehearsal of a source, and whether another is due.
fn rehearsal(out: &mut String, standing: &RehearsalStanding, paint: Paint) {
    let late = match (standing.overdue, standing.every) {
        (true, Some(every)) => {
            let every = span(i64::try_from(every).unwrap_or(i64::MAX));
            format!("; {}: one is promised every {every}", paint.red("overdue"))
        }
        _ => String::new(),
    };
    let name = &standing.source;
    let _ = match &standing.last {
        None => writeln!(out, "rehearsal of `{name}`: {}{late}", paint.yellow("none yet")),
        Some(last) => {
            let word = if last.passed { paint.green("passed") } else { paint.red("FAILED") };
            let age = span(standing.age.unwrap_or_default());
            let usable = last.usable_ms.map(|usable| format!(", usable after {}", short(usable)));
            let usable = usable.unwrap_or_default();
            writeln!(out, "rehearsal of `{name}`: {word} {age} ago, from run {}{usable}{late}", last.run)
        }
    };
    for failure in standing.last.iter().flat_map(|last| last.failures()) {
        let _ =
            writeln!(out, "{} rehearsal of `{name}`: {}", paint.yellow("problem:"), within_a_line(&failure));
    }
}

fn objective(out: &mut String, promise: &Promise, paint: Paint) {
    let word = match promise.met {
        Some(true) => paint.green("met"),
        Some(false) => paint.red("MISSED"),
        None => paint.yellow("not known"),
    };
    let why = if promise.why.is_empty() { String::new() } else { format!(": {}", promise.why.join("; ")) };
    let line = format!("objective {} {} of {}", promise.objective, promise.promised, promise.of.join(", "));
    let _ = writeln!(out, "{line}: {word}{}", harmless(&why));
}
