//! What is drawn on the page: sizes over time, and a calendar of the days of which a backup is held.

use std::collections::BTreeMap;
use std::fmt::Write;

use backplan_compiler::model::Level;
use backplan_compiler::page::escaped;
use backplan_runtime::moment::shown;
use jiff::ToSpan;
use jiff::civil::{Date, date};

use super::{Past, Run, Shelf};
use crate::progress::bytes;
use crate::render::calendar::letter;

/// Runs that are drawn.
const RUNS: usize = 60;
/// Months that are drawn of a store.
const MONTHS: usize = 6;
const WIDTH: usize = 720;
const HEIGHT: u64 = 140;

/// Bytes that each of the last runs stored.
pub fn sizes(out: &mut String, runs: &[Run]) {
    let last = &runs[runs.len().saturating_sub(RUNS)..];
    let (Some(first), Some(newest)) = (last.first(), last.last()) else { return };
    if last.len() < 2 {
        return;
    }
    let most = last.iter().map(|run| run.made.stored_bytes).max().unwrap_or(0).max(1);
    let step = WIDTH / last.len();
    let mut bars = String::new();
    for (at, run) in last.iter().enumerate() {
        let share = u128::from(run.made.stored_bytes) * u128::from(HEIGHT - 10) / u128::from(most);
        let high = u64::try_from(share).unwrap_or(HEIGHT).max(1);
        let (x, wide) = (at * step, step.saturating_sub(2).clamp(1, 40));
        let full = if run.level == "full" { "1" } else { ".45" };
        let _ = write!(
            bars,
            "<rect x=\"{x}\" y=\"{}\" width=\"{wide}\" height=\"{high}\" fill=\"currentColor\" opacity=\"{full}\"><title>{}: {}, {}</title></rect>",
            HEIGHT - high,
            escaped(&shown(run.started)),
            escaped(run.level),
            escaped(&bytes(run.made.stored_bytes))
        );
    }
    let _ = writeln!(
        out,
        "<h3>Sizes</h3>\n<figure>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"bytes stored by each run\">{bars}\
         <line x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\" stroke=\"currentColor\"/></svg>\n\
         <figcaption>What each run stored, from {} to {}; the highest is {}. Fulls are darker. The sources had {} then, and have {} now.</figcaption>\n</figure>",
        HEIGHT + 2,
        escaped(&shown(first.started)),
        escaped(&shown(newest.started)),
        escaped(&bytes(most)),
        escaped(&bytes(first.made.source_bytes)),
        escaped(&bytes(newest.made.source_bytes))
    );
}

/// The days of which each store holds a backup.
pub fn calendars(out: &mut String, past: &Past) {
    if past.shelves.iter().all(|shelf| shelf.days.is_empty()) {
        return;
    }
    out.push_str("<h3>Days of which there are backups</h3>\n<p class=\"soft\">F a full, d a differential, i an incremental; with a number where there are several</p>\n");
    // Stores mostly hold the same: drawn once.
    let mut alike: Vec<(&Shelf, Vec<&str>)> = Vec::new();
    for shelf in past.shelves.iter().filter(|shelf| !shelf.days.is_empty()) {
        match alike.iter_mut().find(|(first, _)| first.days == shelf.days) {
            Some((_, names)) => names.push(&shelf.store),
            None => alike.push((shelf, vec![&shelf.store])),
        }
    }
    for (shelf, names) in alike {
        calendar(out, shelf, &names.join(", "), past);
    }
}

fn calendar(out: &mut String, shelf: &Shelf, names: &str, past: &Past) {
    let mut days: BTreeMap<Date, (Level, usize)> = BTreeMap::new();
    for (started, level) in &shelf.days {
        let day = days.entry(started.to_zoned(past.zone.clone()).date()).or_insert((*level, 0));
        *day = (day.0.max(*level), day.1 + 1);
    }
    let mut months: Vec<Date> = days.keys().map(|day| day.first_of_month()).collect();
    months.dedup();
    let drawn = months.len().saturating_sub(MONTHS);
    let _ = writeln!(out, "<p><b>{}</b></p>\n<div class=\"months\">", escaped(names));
    for first in &months[drawn..] {
        month(out, *first, |day| {
            let (level, count) = days.get(&day)?;
            let count = if *count > 1 { count.to_string() } else { String::new() };
            Some(format!("{}{count}", letter(*level)))
        });
    }
    out.push_str("</div>\n");
    if drawn > 0 {
        let older = months[..drawn].iter().map(|first| {
            let count: usize = days.range(*first..=first.last_of_month()).map(|(_, (_, count))| count).sum();
            format!("{} {count}", first.strftime("%Y-%m"))
        });
        let _ =
            writeln!(out, "<p class=\"soft\">before: {}</p>", escaped(&older.collect::<Vec<_>>().join(", ")));
    }
}

/// A month as a table; `held` says what stands below the number of a day of which there is something, as HTML.
pub fn month(out: &mut String, first: Date, held: impl Fn(Date) -> Option<String>) {
    let _ = write!(out, "<table><caption>{}</caption><thead><tr>", first.strftime("%Y-%m"));
    for day in ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"] {
        let _ = write!(out, "<th scope=\"col\">{day}</th>");
    }
    out.push_str("</tr></thead><tbody><tr>");
    let before = first.weekday().to_monday_zero_offset();
    for _ in 0..before {
        out.push_str("<td class=\"out\"></td>");
    }
    for number in 1..=first.days_in_month() {
        let day = date(first.year(), first.month(), number);
        if day.weekday().to_monday_zero_offset() == 0 && number > 1 {
            out.push_str("</tr><tr>");
        }
        let _ = match held(day) {
            None => write!(out, "<td>{number}</td>"),
            Some(what) => write!(out, "<td class=\"has\">{number}<b>{what}</b></td>"),
        };
    }
    let after =
        first.checked_add(1.month()).map_or(0, |next| (7 - next.weekday().to_monday_zero_offset()) % 7);
    for _ in 0..after {
        out.push_str("<td class=\"out\"></td>");
    }
    out.push_str("</tr></tbody></table>\n");
}
