//! The last runs by step: when each began, how long it took, and how long it usually takes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use backplan_compiler::page::escaped;
use backplan_runtime::moment::shown;
use backplan_runtime::past::journal::How;
use backplan_runtime::run::timeline::{TimedStep, Timeline};
use backplan_runtime::status::last::RunOutcome;

use super::span_of;
use super::tables::outcome;
use crate::progress::duration;

/// Runs that are shown.
pub const RUNS: usize = 10;
/// Steps of a run that are shown; the others took less.
const STEPS: usize = 24;

/// Rules for what is drawn here.
pub const STYLE: &str = "details{margin:.3rem 0}summary{cursor:pointer}.steps td{border:0;padding-top:.1rem;padding-bottom:.1rem}\
.steps td:first-child{width:16rem;overflow-wrap:anywhere}.steps svg{height:.75rem;margin-top:.35rem}\
@media(max-width:42rem){.steps thead{display:none}.steps,.steps tbody{display:block}.steps tr{display:grid;grid-template-columns:1fr auto;padding:.3rem 0}\
.steps td:first-child{width:auto}.steps td:nth-child(2){grid-row:2;grid-column:1/3}.steps td:nth-child(4){grid-row:3;grid-column:1/3;text-align:left;color:var(--soft)}\
.steps td:nth-child(4):empty{display:none}.steps td:nth-child(4)::before{content:'usually '}}\
@media print{details::details-content{content-visibility:visible;height:auto}}";

/// Times of steps in the other runs, in milliseconds.
type Usual<'a> = BTreeMap<&'a str, Vec<u64>>;

/// Every run as a row of bars for each of its steps; the newest is open.
pub fn timelines(out: &mut String, timelines: &[Timeline]) {
    if timelines.is_empty() {
        return;
    }
    out.push_str(
        "<h3>The last runs by step</h3>\n<p class=\"soft\">On this machine. Each bar begins when the step began, and is as \
         long as it took; steps run side by side.</p>\n",
    );
    let mut all: Usual<'_> = BTreeMap::new();
    for step in timelines.iter().flat_map(|run| &run.steps).filter(|step| step.outcome == How::Done) {
        all.entry(&step.step).or_default().push(step.took_ms);
    }
    all.values_mut().for_each(|times| times.sort_unstable());
    for (at, run) in timelines.iter().enumerate() {
        let open = if at == 0 { " open" } else { "" };
        let _ = writeln!(
            out,
            "<details{open}><summary>{} {} <small>{}</small></summary>",
            escaped(&shown(run.began)),
            end(run.status),
            escaped(&duration(Duration::from_millis(run.took_ms)))
        );
        steps(out, run, &all);
        out.push_str("</details>\n");
    }
}

fn end(status: Option<u8>) -> String {
    match status {
        Some(0) => outcome(RunOutcome::Done),
        Some(3) => outcome(RunOutcome::Warnings),
        Some(130 | 143) => outcome(RunOutcome::Stopped),
        Some(_) => outcome(RunOutcome::Failed),
        None => span_of("look", "! has not ended"),
    }
}

fn steps(out: &mut String, run: &Timeline, usual: &Usual<'_>) {
    let whole =
        run.steps.iter().map(|step| step.after_ms + step.took_ms).max().unwrap_or(0).max(run.took_ms).max(1);
    // The longest, and whatever failed.
    let mut order: Vec<&TimedStep> = run.steps.iter().collect();
    order.sort_by_key(|step| (step.outcome != How::Failed, std::cmp::Reverse(step.took_ms)));
    let (kept, rest) = order.split_at(order.len().min(STEPS));
    out.push_str("<table class=\"steps\"><thead><tr><th scope=\"col\">step</th><th scope=\"col\">when</th><th scope=\"col\" class=\"n\">took</th><th scope=\"col\" class=\"n\">usually</th></tr></thead><tbody>\n");
    for step in run.steps.iter().filter(|step| kept.iter().any(|one| std::ptr::eq(*one, *step))) {
        row(out, step, whole, usual);
    }
    out.push_str("</tbody></table>\n");
    if !rest.is_empty() {
        let longest = rest.iter().map(|step| step.took_ms).max().unwrap_or(0);
        let _ = writeln!(
            out,
            "<p class=\"soft\">and {} more, none of which took longer than {}</p>",
            rest.len(),
            escaped(&duration(Duration::from_millis(longest)))
        );
    }
}

fn row(out: &mut String, step: &TimedStep, whole: u64, usual: &Usual<'_>) {
    let share = |ms: u64| ms.saturating_mul(1000) / whole;
    // A thousandth is a line that can be seen.
    let (x, wide) = (share(step.after_ms).min(996), share(step.took_ms).max(4));
    let (name, opacity) = match step.outcome {
        How::Failed => (span_of("bad", &format!("\u{2717} {}", step.step)), "1"),
        _ => (escaped(&step.step), ".55"),
    };
    let took = |ms: u64| escaped(&duration(Duration::from_millis(ms)));
    let times = usual.get(step.step.as_str()).filter(|times| times.len() > 2);
    let usually = times.map(|times| took(times[times.len() / 2])).unwrap_or_default();
    // What is as ever is not said.
    let usually = if usually == took(step.took_ms) { String::new() } else { usually };
    let _ = writeln!(
        out,
        "<tr><td>{name}</td><td><svg viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"began after {}\">\
         <rect x=\"{x}\" width=\"{wide}\" height=\"10\" fill=\"currentColor\" opacity=\"{opacity}\"/></svg></td>\
         <td class=\"n\">{}</td><td class=\"n\">{usually}</td></tr>",
        took(step.after_ms),
        took(step.took_ms)
    );
}
