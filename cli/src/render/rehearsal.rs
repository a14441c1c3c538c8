//! Rehearsals, for people.

use std::fmt::Write;

use backplan_runtime::backups::rehearsed::{CheckVerdict, Rehearsal};
use backplan_runtime::status::span;

use super::paint::Paint;
use super::text::harmless;
use crate::console::Style;

/// Rehearsals, one after the other.
pub fn rehearsals(done: &[Rehearsal], style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    for record in done {
        let word = if record.passed { paint.green("passed") } else { paint.red("FAILED") };
        let name = paint.bold(&format!("rehearsal of `{}`", record.source));
        let _ = writeln!(out, "{name} from run {}: {word}", record.run);
        for check in &record.checks {
            let word = match check.verdict {
                CheckVerdict::Passed => paint.green("passed "),
                CheckVerdict::Failed => paint.red("FAILED "),
                CheckVerdict::Skipped => paint.yellow("skipped"),
            };
            let detail = check.detail.as_deref().map(|detail| format!("  {detail}")).unwrap_or_default();
            let time = short(check.took_ms);
            let _ = writeln!(out, "  {word}  {:<15}  {time:>8}{}", check.what, harmless(&detail));
        }
        let _ = writeln!(out, "  {}", time(record, paint));
    }
    out
}

/// How long it took, held against what was promised.
fn time(record: &Rehearsal, paint: Paint) -> String {
    let Some(usable) = record.usable_ms else { return "it could not be used again".to_owned() };
    let held = match (record.rto, record.is_in_time()) {
        (Some(rto), Some(false)) => {
            format!(", {}: {} was promised", paint.red("too late"), seconds(rto))
        }
        (Some(rto), _) => format!(", within the {} that were promised", seconds(rto)),
        (None, _) => String::new(),
    };
    format!("it could be used again after {}{held}", short(usable))
}

fn seconds(seconds: u64) -> String {
    span(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Milliseconds as a person says them.
pub fn short(millis: u64) -> String {
    match millis {
        0..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => seconds(millis / 1000),
    }
}
