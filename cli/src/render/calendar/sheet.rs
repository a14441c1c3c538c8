//! A calendar as the page that reports are: months with what is made on each day, and every run with its end.

use std::collections::BTreeMap;
use std::fmt::Write;

use backplan_compiler::count::plural;
use backplan_compiler::lower::level_word;
use backplan_compiler::page::{self, escaped};
use jiff::Timestamp;
use jiff::civil::Date;

use super::{Kept, Run, Shelf, counted, letter};
use crate::render::report::charts::month;
use crate::render::report::{STYLE, tables};

/// Runs of a store that are listed, the newest.
const RUNS: usize = 200;
/// Letters of a day that fit into its cell.
const LETTERS: usize = 3;

/// The whole page.
pub fn page(kept: &Kept) -> String {
    let title = format!("What plan {} keeps", kept.plan);
    let (first, last) = (kept.window.shown(kept.window.from), kept.window.shown(kept.window.until));
    let mut body = format!(
        "<header>\n<h1>{}</h1>\n<p class=\"soft\">from {} to {}, times in {}; {}</p>\n</header>\n<main>\n",
        escaped(&title),
        &first[..10],
        &last[..10],
        escaped(kept.window.zone_name()),
        escaped(&kept.basis.words(&kept.window))
    );
    for (name, shelf) in kept.groups() {
        section(&mut body, &name, shelf, kept);
    }
    body.push_str("</main>");
    page::page(&title, STYLE, &body, "")
}

fn section(out: &mut String, name: &str, shelf: &Shelf, kept: &Kept) {
    let window = &kept.window;
    let at = |moment: Timestamp| {
        let there = |run: &&Run| run.started <= moment && run.until.is_none_or(|until| until > moment);
        counted(shelf.runs.iter().filter(there).map(|run| run.level))
    };
    // Writing into a string does not fail.
    let _ = writeln!(
        out,
        "<section>\n<h2>{}</h2>\n<p>there at first: {}; at the end: {}</p>",
        escaped(name),
        at(window.from),
        at(window.until)
    );
    months(out, shelf, kept);
    runs(out, shelf, kept);
    out.push_str("</section>\n");
}

/// Whether a run is gone when the window ends.
fn is_gone(run: &Run, kept: &Kept) -> bool {
    run.until.is_some_and(|until| until <= kept.window.until)
}

fn months(out: &mut String, shelf: &Shelf, kept: &Kept) {
    let mut days: BTreeMap<Date, Vec<&Run>> = BTreeMap::new();
    for run in &shelf.runs {
        days.entry(run.started.to_zoned(kept.window.zone.clone()).date()).or_default().push(run);
    }
    if days.is_empty() {
        return;
    }
    out.push_str(
        "<p class=\"soft\">F a full, d a differential, i an incremental; crossed out: gone when the last of these days ends</p>\n\
         <div class=\"months\">\n",
    );
    let mut firsts: Vec<Date> = days.keys().map(|day| day.first_of_month()).collect();
    firsts.dedup();
    for first in firsts {
        month(out, first, |day| Some(made(days.get(&day)?, kept)));
    }
    out.push_str("</div>\n");
}

/// What was made on a day, as letters; of many the highest level and how many.
fn made(runs: &[&Run], kept: &Kept) -> String {
    let crossed = |gone: bool, text: String| if gone { format!("<s>{text}</s>") } else { text };
    if runs.len() <= LETTERS {
        return runs.iter().map(|run| crossed(is_gone(run, kept), letter(run.level).to_string())).collect();
    }
    let stays: Vec<&&Run> = runs.iter().filter(|run| !is_gone(run, kept)).collect();
    let (left, gone) = match stays.is_empty() {
        true => (runs.iter().collect(), true),
        false => (stays, false),
    };
    let highest = left.iter().map(|run| run.level).max().map(letter).unwrap_or_default();
    crossed(gone, format!("{highest}{}", left.len()))
}

fn runs(out: &mut String, shelf: &Shelf, kept: &Kept) {
    let window = &kept.window;
    let whole = (window.until.as_second() - window.from.as_second()).max(1);
    let place = |at: Timestamp| ((at.as_second() - window.from.as_second()) * 1000 / whole).clamp(0, 1000);
    let nowrap = |text: &str| format!("<span class=\"w\">{}</span>", escaped(text));
    let listed = || shelf.runs.iter().rev().take(RUNS);
    let has_reasons = listed().any(|run| !run.reasons.is_empty());
    let each = listed().map(|run| {
        let (left, right) = (place(run.started), place(run.until.unwrap_or(window.until)));
        let bar = format!(
            "<svg aria-hidden=\"true\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" style=\"width:12rem;height:.7rem;margin-top:.45rem\">\
             <rect x=\"{}\" width=\"{}\" height=\"10\" fill=\"currentColor\" opacity=\".55\"/></svg>",
            left.min(990),
            (right - left).max(10)
        );
        let until = run.until.map_or_else(|| kept.basis.never(window), |until| window.shown(until));
        let mut row = vec![
            nowrap(&window.shown(run.started)),
            level_word(run.level).to_owned(),
            nowrap(&until),
            bar,
        ];
        row.extend(has_reasons.then(|| escaped(&run.reasons.join(", "))));
        row
    });
    let headings = ["run", "level", "there until", "in these days", "because of, as they begin"];
    out.push_str("<h3>Runs</h3>\n");
    out.push_str(&tables::rows(&headings[..if has_reasons { 5 } else { 4 }], each));
    if let Some(more @ 1..) = shelf.runs.len().checked_sub(RUNS) {
        let _ = writeln!(out, "<p class=\"soft\">and {} before these</p>", plural(more, "run"));
    }
}
