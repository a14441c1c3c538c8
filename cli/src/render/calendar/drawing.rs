//! A calendar as a drawing: a row for each run, from its coming to its going. Levels differ by letter and by pattern, not by
//! colour alone.

use backplan_compiler::count::plural;
use std::fmt::Write;

use backplan_compiler::model::Level;
use jiff::Timestamp;

use super::{Kept, Run, Shelf, Window, days_later, letter};

/// Rows of one store that are drawn; nobody reads more.
const ROWS: usize = 400;
/// A row with its words.
const ROW: f64 = 16.0;
/// The narrowest row.
const THIN: f64 = 2.0;
/// All rows together where they need not be wider than they can be seen: a drawing that is looked at as a whole.
const TALL: f64 = 1100.0;
const LEFT: f64 = 190.0;
const WIDTH: f64 = 900.0;
/// From words to the next ones.
const WORDS: f64 = 13.0;
/// Room for the dates above the rows of a store.
const HEAD: f64 = 56.0;

/// The whole drawing.
pub fn calendar(kept: &Kept) -> String {
    let mut body = String::new();
    let mut top = 54.0;
    let groups = kept.groups();
    let rows: usize = groups.iter().map(|(_, shelf)| shelf.runs.len().min(ROWS)).sum();
    let row = (TALL / number(rows.max(1))).clamp(THIN, ROW);
    for (title, shelf) in &groups {
        top = draw_shelf(title, shelf, &kept.window, (top, row), &mut body);
    }
    let (width, height) = (LEFT + WIDTH + 130.0, top + 10.0);
    let plan = escaped(&kept.plan);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<title>What plan {plan} keeps</title>\n{PATTERNS}\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\" font-weight=\"bold\">plan {plan}</text>\n{}\
         <text x=\"{}\" y=\"22\" fill=\"#555555\">times in {}</text>\n\
         <text x=\"10\" y=\"38\" fill=\"#555555\">{}</text>\n{body}</svg>\n",
        legend(),
        LEFT + WIDTH - 150.0,
        escaped(kept.window.zone_name()),
        escaped(&kept.basis.words(&kept.window))
    )
}

const PATTERNS: &str = "<defs>\n\
<pattern id=\"d\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect width=\"6\" height=\"6\" fill=\"#cfe3f7\"/><rect width=\"2\" height=\"6\" fill=\"#3b7cb8\"/></pattern>\n\
<pattern id=\"i\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">\
<rect width=\"5\" height=\"5\" fill=\"#fdf3dc\"/><circle cx=\"2.5\" cy=\"2.5\" r=\"1\" fill=\"#a86a00\"/></pattern>\n\
</defs>\n";

fn fill(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::Full => ("#1d4f80", "#1d4f80"),
        Level::Differential => ("url(#d)", "#3b7cb8"),
        Level::Incremental => ("url(#i)", "#a86a00"),
    }
}

fn legend() -> String {
    let mut text = String::new();
    for (index, (level, word)) in [
        (Level::Full, "F full"),
        (Level::Differential, "d differential"),
        (Level::Incremental, "i incremental"),
    ]
    .into_iter()
    .enumerate()
    {
        let x = 400.0 + 130.0 * f64::from(u8::try_from(index).unwrap_or(0));
        let (fill, stroke) = fill(level);
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"12\" width=\"22\" height=\"11\" fill=\"{fill}\" stroke=\"{stroke}\"/>\
             <text x=\"{}\" y=\"22\">{word}</text>",
            x + 28.0
        );
    }
    text
}

/// Draws a store and answers where the next one begins.
fn draw_shelf(title: &str, shelf: &Shelf, window: &Window, (top, row): (f64, f64), out: &mut String) -> f64 {
    let shown = shelf.runs.len().min(ROWS);
    let skipped = shelf.runs.len() - shown;
    let _ = writeln!(
        out,
        "<text x=\"10\" y=\"{}\" font-size=\"13\" font-weight=\"bold\">{}</text>",
        top + 18.0,
        escaped(title)
    );
    let bottom = top + HEAD + number(shown) * row;
    grid(window, top + HEAD, bottom, out);
    let mut worded = f64::MIN;
    for (index, run) in shelf.runs.iter().skip(skipped).enumerate() {
        let y = top + HEAD + number(index) * row;
        // Where rows are narrow, as many have words as have room for them.
        let has_words = y + 0.01 >= worded + WORDS;
        if has_words {
            worded = y;
        }
        bar(run, window, (y, row, has_words), out);
    }
    if skipped > 0 {
        let _ = writeln!(
            out,
            "<text x=\"10\" y=\"{}\" fill=\"#555555\">the newest {shown} of {} are drawn</text>",
            top + 32.0,
            plural(shown + skipped, "run")
        );
    }
    bottom + 24.0
}

/// A count as a place on the drawing.
fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A line and a date every so many days, about fifteen of them; the year where it is another one.
fn grid(window: &Window, top: f64, bottom: f64, out: &mut String) {
    let days = (window.until.as_second() - window.from.as_second()) / 86_400;
    let step = (days / 15).max(1);
    let mut day = window.from.to_zoned(window.zone.clone());
    let mut year = None;
    while day.timestamp() <= window.until {
        let date = if year == Some(day.year()) { "%m-%d" } else { "%Y-%m-%d" };
        let x = place(window, day.timestamp());
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" transform=\"rotate(-30 {x:.1} {})\">{}</text>",
            top - 4.0,
            top - 8.0,
            top - 8.0,
            day.strftime(date)
        );
        let Ok(next) = days_later(&day, step) else { return };
        year = Some(day.year());
        day = next;
    }
}

fn place(window: &Window, at: Timestamp) -> f64 {
    let whole = (window.until.duration_since(window.from).as_secs_f64()).max(1.0);
    let share = at.duration_since(window.from).as_secs_f64() / whole;
    LEFT + share.clamp(0.0, 1.0) * WIDTH
}

fn bar(run: &Run, window: &Window, (y, row, has_words): (f64, f64, bool), out: &mut String) {
    let (left, right) = (place(window, run.started), place(window, run.until.unwrap_or(window.until)));
    let (fill, stroke) = fill(run.level);
    let text = y + row / 2.0 + 3.5;
    let started = window.shown(run.started);
    let until = run.until.map_or("for ever".to_owned(), |until| window.shown(until));
    let why = escaped(&run.reasons.join(", "));
    let _ = write!(out, "<g><title>{started} until {until}: {why}</title>");
    if has_words {
        let _ = writeln!(
            out,
            "<text x=\"10\" y=\"{text:.1}\">{started}</text>\
             <text x=\"{:.1}\" y=\"{text:.1}\" font-weight=\"bold\">{}</text>",
            LEFT - 26.0,
            letter(run.level)
        );
    }
    let gap = (row * 0.3).min(5.0);
    let _ = write!(
        out,
        "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{:.1}\"/>",
        y + gap / 2.0,
        (right - left).max(2.0),
        row - gap,
        (row / ROW).max(0.3)
    );
    // What goes on beyond the picture says until when.
    if has_words && run.until.is_none_or(|until| until > window.until) {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{text:.1}\" fill=\"#555555\">→ {}</text>",
            LEFT + WIDTH + 6.0,
            if run.until.is_some() { &until[..10] } else { "for ever" }
        );
    }
    out.push_str("</g>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
