//! A calendar as lines.

use backplan_compiler::count::plural;
use std::fmt::Write;

use backplan_compiler::lower::level_word;
use jiff::Timestamp;

use super::{Basis, Kept, Run, Shelf, Window, counted, days_later, letter};

/// Reasons shown of a run.
const MOST: usize = 3;

/// What each store holds at the moment, or day by day.
pub fn calendar(kept: &Kept) -> String {
    let mut out = format!("{}\n", kept.basis.words(&kept.window));
    for shelf in &kept.stores {
        match kept.window.is_moment() {
            true => moment(shelf, &kept.basis, &kept.window, &mut out),
            false => days(shelf, &kept.window, &mut out),
        }
    }
    out
}

fn moment(shelf: &Shelf, basis: &Basis, window: &Window, out: &mut String) {
    let levels = counted(shelf.runs.iter().map(|run| run.level));
    let (at, zone) = (window.shown(window.from), window.zone_name());
    let _ = writeln!(out, "store `{}` on {at} (times in {zone}): {levels}", shelf.store);
    for run in shelf.runs.iter().rev() {
        let until = run.until.map_or_else(|| basis.never(window), |until| window.shown(until));
        let mut why = run.reasons.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
        if run.reasons.len() > MOST {
            let _ = write!(why, " and {} more", run.reasons.len() - MOST);
        }
        if why.is_empty() {
            why.push_str("nothing keeps it any more");
        }
        let started = window.shown(run.started);
        let _ = writeln!(out, "  {started}  {:<12}  until {until:<23}  {why}", level_word(run.level));
    }
}

fn days(shelf: &Shelf, window: &Window, out: &mut String) {
    let zone = window.zone_name();
    let _ = writeln!(out, "store `{}`   F full, d differential, i incremental; days in {zone}", shelf.store);
    let _ = writeln!(out, "  {:<10}  {:<12}  {:<40}  there", "day", "made", "goes");
    let mut begin = window.from.to_zoned(window.zone.clone());
    while begin.timestamp() < window.until {
        let Ok(end) = days_later(&begin, 1) else { return };
        let is_in = |at: Timestamp| begin.timestamp() <= at && at < end.timestamp();
        let made = shelf.runs.iter().filter(|run| is_in(run.started));
        let made: String = made.map(|run| letter(run.level)).collect();
        let goes: Vec<&Run> = shelf.runs.iter().filter(|run| run.until.is_some_and(is_in)).collect();
        let is_there = |run: &&Run| {
            run.started < end.timestamp() && run.until.is_none_or(|until| until >= end.timestamp())
        };
        let there = counted(shelf.runs.iter().filter(is_there).map(|run| run.level));
        let line = format!(
            "  {:<10}  {:<12}  {:<40}  {there}",
            begin.strftime("%Y-%m-%d").to_string(),
            shortened(&made),
            gone(&goes, window)
        );
        let _ = writeln!(out, "{}", line.trim_end());
        begin = end;
    }
}

/// The letters of a day's runs; of many, how many.
fn shortened(made: &str) -> String {
    if made.len() <= 12 { made.to_owned() } else { plural(made.len(), "run") }
}

fn gone(runs: &[&Run], window: &Window) -> String {
    let show = |run: &&&Run| format!("{} {}", letter(run.level), &window.shown(run.started)[..10]);
    let mut text = runs.iter().take(2).map(|run| show(&run)).collect::<Vec<_>>().join(", ");
    if runs.len() > 2 {
        let _ = write!(text, " and {} more", runs.len() - 2);
    }
    text
}
