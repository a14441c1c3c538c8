//! The tables of the page. On a narrow screen each row becomes a card, its cells named by their columns.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use backplan_compiler::count::plural;
use backplan_compiler::page::escaped;
use backplan_runtime::moment::shown;
use backplan_runtime::past::history::End;
use backplan_runtime::status::last::RunOutcome;
use backplan_runtime::status::{Status as Standing, span};
use jiff::Timestamp;

use super::{Past, Run, span_of};
use crate::progress::{bytes, duration};
use crate::render::keeping::missing;
use crate::render::rehearsal::short;

/// Rows of a table; nobody reads more on a page.
pub const MOST: usize = 40;

/// Says how many are not shown.
pub fn more(out: &mut String, all: usize) {
    if let Some(more @ 1..) = all.checked_sub(MOST) {
        let _ = writeln!(out, "<li class=\"soft\">and {more} more</li>");
    }
}

/// A table of cells that are escaped already. A heading that ends in `#` is of numbers.
pub fn rows(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let class = |heading: &str| if heading.ends_with('#') { " class=\"n\"" } else { "" };
    let word = |heading: &str| escaped(heading.trim_end_matches('#'));
    let mut out = "<table class=\"rows\">\n<thead><tr>".to_owned();
    for heading in headings {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(heading), word(heading));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (heading, cell) in headings.iter().zip(row) {
            let _ = write!(out, "<td{} data-is=\"{}\">{cell}</td>", class(heading), word(heading));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
    out
}

/// What is protected, and what not.
pub fn sources(out: &mut String, standing: &Standing) {
    out.push_str("<h3>What is protected</h3>\n");
    let each = standing.sources.iter().map(|source| {
        let state = match (source.newest, source.stores.len()) {
            (None, _) => span_of("bad", "\u{2717} not protected"),
            (Some(_), 1) => span_of("good", "\u{2713} one copy"),
            (Some(_), copies) => span_of("good", &format!("\u{2713} {}", plural(copies, "copy"))),
        };
        let stores = source.stores.iter().map(|store| match source.offsite.contains(store) {
            true => format!("{} (offsite)", escaped(store)),
            false => escaped(store),
        });
        vec![
            escaped(&source.source),
            state,
            source.started.map(|at| escaped(&shown(at))).unwrap_or_default(),
            source.age.map(|age| escaped(&span(age))).unwrap_or_default(),
            stores.collect::<Vec<_>>().join(", "),
        ]
    });
    out.push_str(&rows(&["source", "state", "newest backup", "age#", "in"], each));
}

/// What was promised.
pub fn objectives(out: &mut String, standing: &Standing) {
    if standing.objectives.is_empty() {
        return;
    }
    out.push_str("<h3>Promises</h3>\n");
    let each = standing.objectives.iter().map(|promise| {
        let state = match promise.met {
            Some(true) => span_of("good", "\u{2713} kept"),
            Some(false) => span_of("bad", "\u{2717} not kept"),
            None => span_of("look", "? not known"),
        };
        let what = format!("{} {}", promise.objective, promise.promised);
        vec![escaped(&what), state, escaped(&promise.of.join(", ")), escaped(&promise.why.join("; "))]
    });
    out.push_str(&rows(&["promise", "state", "of", "why"], each));
}

/// What comes next.
pub fn next(out: &mut String, standing: &Standing, now: Timestamp) {
    let due = standing
        .next_due
        .map(|at| format!("next due {}, in {}", shown(at), span(at.as_second() - now.as_second())));
    let each =
        standing.archives.iter().map(|archive| format!("archive {}: {}", archive.archive, archive.level));
    let all: Vec<String> = due.into_iter().chain(each).map(|text| escaped(&text)).collect();
    if !all.is_empty() {
        let _ = writeln!(out, "<h3>Next run</h3>\n<p>{}</p>", all.join("; "));
    }
}

/// An end, and its sign.
pub fn outcome(of: RunOutcome) -> String {
    match of {
        RunOutcome::Done => span_of("good", "\u{2713} done"),
        RunOutcome::Warnings => span_of("look", "! warnings"),
        RunOutcome::Failed => span_of("bad", "\u{2717} failed in part"),
        RunOutcome::Stopped => span_of("bad", "\u{2717} stopped"),
        RunOutcome::Died => span_of("bad", "\u{2717} died"),
        RunOutcome::Refused => span_of("bad", "\u{2717} did not begin"),
    }
}

/// The last runs, newest first: those in the stores, and those that this machine knows of and that left nothing there.
pub fn runs(out: &mut String, standing: &Standing, past: &Past, now: Timestamp) {
    out.push_str("<h3>The last runs</h3>\n");
    let longest = past.runs.iter().rev().take(MOST).map(|run| run.made.took_ms).max().unwrap_or(0).max(1);
    let mut all: Vec<(Timestamp, Vec<String>)> =
        past.runs.iter().rev().take(MOST).map(|run| (run.started, row(run, longest))).collect();
    let lost = standing
        .unclean
        .iter()
        .filter(|one| one.run.as_ref().is_none_or(|id| !past.runs.iter().any(|run| run.run == *id)));
    all.extend(lost.map(|one| {
        let end = match one.end {
            End::Refused => RunOutcome::Refused,
            End::Failed => RunOutcome::Failed,
            End::Warnings => RunOutcome::Warnings,
            End::Stopped => RunOutcome::Stopped,
            End::Died => RunOutcome::Died,
        };
        let end = if end == RunOutcome::Failed {
            span_of("bad", "\u{2717} failed: no backup")
        } else {
            outcome(end)
        };
        let why = one.troubles.first().map(|text| escaped(text)).unwrap_or_default();
        (
            one.began,
            vec![
                escaped(&shown(one.began)),
                String::new(),
                end,
                String::new(),
                String::new(),
                String::new(),
                why,
            ],
        )
    }));
    all.sort_by_key(|(began, _)| std::cmp::Reverse(*began));
    let headings = ["began", "level", "end", "took", "stored#", "of#", "remarks"];
    out.push_str(&rows(&headings, all.into_iter().map(|(_, row)| row)));
    if let Some(more @ 1..) = past.runs.len().checked_sub(MOST) {
        let _ = writeln!(out, "<p class=\"soft\">and {} before these</p>", plural(more, "run"));
    }
    if let Some(overdue) = &standing.overdue {
        let late = span(now.as_second() - overdue.since.as_second());
        let text = format!("! {}, {late} ago", missing(overdue));
        let _ = writeln!(out, "<p>{}</p>", span_of("bad", &text));
    }
}

/// A run, with a bar as long as it took.
fn row(run: &Run, longest: u64) -> Vec<String> {
    let mut said = Vec::new();
    if !run.failed.is_empty() {
        said.push(format!("without {}", run.failed.join(", ")));
    }
    if !run.in_part.is_empty() {
        said.push(format!("only a part of {}", run.in_part.join(", ")));
    }
    if run.made.warnings > 0 {
        said.push(plural(run.made.warnings, "warning"));
    }
    said.push(format!("in {}", run.stores.join(", ")));
    let share = (run.made.took_ms.saturating_mul(60) / longest).clamp(1, 60);
    let bar = format!(
        "<span class=\"w\">{}</span> <svg aria-hidden=\"true\" viewBox=\"0 0 60 6\" style=\"width:60px\"><rect width=\"{share}\" height=\"6\" fill=\"currentColor\" opacity=\".5\"/></svg>",
        escaped(&duration(Duration::from_millis(run.made.took_ms)))
    );
    vec![
        escaped(&shown(run.started)),
        escaped(run.level),
        outcome(run.outcome),
        bar,
        escaped(&bytes(run.made.stored_bytes)),
        escaped(&bytes(run.made.source_bytes)),
        escaped(&said.join("; ")),
    ]
}

/// Fulls, with what rests on them.
pub fn chains(out: &mut String, runs: &[Run]) {
    let mut chains: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let first = run.rests_on.first().map_or(run.run.as_str(), String::as_str);
        chains.entry(first).or_default().push(run);
    }
    if chains.values().all(|chain| chain.len() < 2) {
        return;
    }
    out.push_str("<h3>Chains</h3>\n<p class=\"soft\">A full, and the runs that rest on it: it stays as long as one of them does.</p>\n");
    let each = chains.iter().rev().take(MOST / 2).map(|(first, chain)| {
        let head = chain.iter().find(|run| run.run == **first);
        let began = head.map_or_else(
            || span_of("bad", "\u{2717} its full is not there"),
            |run| escaped(&shown(run.started)),
        );
        let letters: String = chain.iter().map(|run| letter(run.level)).collect();
        let size = chain.iter().fold(0_u64, |sum, run| sum.saturating_add(run.made.stored_bytes));
        vec![began, format!("<code>{letters}</code>"), chain.len().to_string(), escaped(&bytes(size))]
    });
    out.push_str(&rows(&["full", "runs in order", "runs#", "bytes#"], each));
    out.push_str("<p class=\"soft\">F full, d differential, i incremental</p>\n");
}

fn letter(level: &str) -> char {
    match level {
        "full" => 'F',
        "differential" => 'd',
        _ => 'i',
    }
}

/// What was restored to see that it can be.
pub fn rehearsals(out: &mut String, standing: &Standing) {
    if standing.rehearsals.is_empty() {
        return;
    }
    out.push_str("<h3>Rehearsals</h3>\n");
    let each = standing.rehearsals.iter().map(|rehearsal| {
        let last = rehearsal.last.as_ref();
        let state = match (last, rehearsal.overdue) {
            (None, _) => span_of("look", "! none yet"),
            (Some(last), _) if !last.passed => span_of("bad", "\u{2717} failed"),
            (Some(_), true) => span_of("look", "! overdue"),
            (Some(_), false) => span_of("good", "\u{2713} passed"),
        };
        let every = rehearsal.every.and_then(|every| i64::try_from(every).ok()).map(span);
        vec![
            escaped(&rehearsal.source),
            state,
            last.map(|last| escaped(&shown(last.started))).unwrap_or_default(),
            last.and_then(|last| last.usable_ms).map(|usable| escaped(&short(usable))).unwrap_or_default(),
            every.map(|every| escaped(&every)).unwrap_or_default(),
            last.map(|last| escaped(&last.failures().join("; "))).unwrap_or_default(),
        ]
    });
    out.push_str(&rows(
        &["source", "state", "last", "usable after#", "promised every#", "what failed"],
        each,
    ));
}

/// To which moments sources with a log can be recovered.
pub fn logs(out: &mut String, standing: &Standing) {
    if standing.logs.is_empty() {
        return;
    }
    out.push_str("<h3>Recovery to any moment</h3>\n");
    let each = standing.logs.iter().map(|log| {
        let windows = log.windows.iter().map(|span| format!("{} to {}", shown(span.from), shown(span.until)));
        let windows: Vec<String> = windows.map(|text| escaped(&text)).collect();
        let windows = match windows.is_empty() {
            true => span_of("look", "! no base backup to begin from"),
            false => windows.join("<br>"),
        };
        vec![
            escaped(&log.source),
            windows,
            log.segments.to_string(),
            escaped(&bytes(log.size)),
            escaped(&log.problems.join("; ")),
        ]
    });
    out.push_str(&rows(&["source", "from, to", "segments#", "bytes#", "problems"], each));
}

/// What the stores hold.
pub fn stores(out: &mut String, standing: &Standing, past: &Past) {
    out.push_str("<h3>Stores</h3>\n");
    let each = standing.stores.iter().map(|store| {
        let shelf = past.shelves.iter().find(|shelf| shelf.store == store.store);
        let refused = shelf.map(|shelf| shelf.refused.join("; ")).filter(|refused| !refused.is_empty());
        let refused = refused.map(|refused| format!("nothing is deleted: {refused}")).unwrap_or_default();
        let newest = store.newest.map(|run| escaped(&shown(run.started()))).unwrap_or_default();
        vec![
            escaped(&store.store),
            store.runs.to_string(),
            escaped(&bytes(store.size)),
            newest,
            escaped(&refused),
        ]
    });
    out.push_str(&rows(&["store", "runs#", "bytes#", "newest run", "remarks"], each));
    for shelf in past.shelves.iter().filter(|shelf| !shelf.kept.is_empty()) {
        let _ = writeln!(out, "<h3>Why backups stay in {}</h3>", escaped(&shelf.store));
        let each = shelf.kept.iter().rev().take(MOST).map(|kept| {
            let state = if kept.stays { span_of("good", "stays") } else { span_of("look", "goes next") };
            vec![
                escaped(&shown(kept.started)),
                escaped(kept.level),
                state,
                escaped(&bytes(kept.size)),
                escaped(&kept.reasons.join(", ")),
            ]
        });
        out.push_str(&rows(&["run", "level", "fate", "bytes#", "because of"], each));
        if let Some(more @ 1..) = shelf.kept.len().checked_sub(MOST) {
            let _ = writeln!(out, "<p class=\"soft\">and {} before these</p>", plural(more, "run"));
        }
    }
}
