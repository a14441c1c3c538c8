//! What a change of a plan does, for people, for programs and for a pull request.

use std::fmt::Write;

use backplan_compiler::diff::changes::{AttributeChange, DeclarationChange, Fate, StepChange};
use backplan_compiler::diff::{Consequence, Diff, Weight};
use serde::Serialize;

use super::paint::Paint;
use super::text::harmless;
use crate::console::Style;
use backplan_compiler::count::plural;

/// The whole answer; also the document for programs.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Of this document.
    pub format: u32,
    /// The new plan's name.
    pub plan: String,
    /// Where the old plan comes from.
    pub old: String,
    /// Where the new plan comes from.
    pub new: String,
    /// Whether anything differs.
    pub changed: bool,
    /// What differs.
    #[serde(flatten)]
    pub diff: Diff,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
}

/// For people: what matters first. Danger is a word and a sign; the colour comes on top.
pub fn human(answer: &Answer, style: Style) -> String {
    let paint = Paint::new(style);
    let title = format!("plan `{}`: {} -> {}", answer.plan, answer.old, answer.new);
    let mut out = format!("{}\n", paint.bold(&harmless(&title)));
    if !answer.changed {
        out.push_str("no change: both mean the same\n");
        return out;
    }
    let _ = writeln!(out, "\n{}", paint.bold("what it does to data"));
    for consequence in &answer.diff.consequences {
        let text = harmless(&consequence.text);
        let (sign, word) = signs(consequence.weight);
        let mark = format!("{sign:<2} {word:<6}");
        let mark = match consequence.weight {
            Weight::Danger => paint.red(&mark),
            Weight::Change => paint.yellow(&mark),
            Weight::Better => paint.green(&mark),
        };
        let _ = writeln!(out, "  {mark}  {text}");
    }
    for text in &answer.unknown {
        let _ = writeln!(out, "  {}  {}", paint.yellow("?  unsure"), harmless(text));
    }
    if answer.diff.consequences.is_empty() && answer.unknown.is_empty() {
        out.push_str("  nothing that is known\n");
    }
    if !answer.diff.declarations.is_empty() {
        let _ = writeln!(out, "\n{}", paint.bold("declarations"));
        answer.diff.declarations.iter().for_each(|change| declaration(&mut out, change, paint));
    }
    if !answer.diff.steps.is_empty() {
        let _ = writeln!(out, "\n{}", paint.bold("steps of a full run"));
        answer.diff.steps.iter().for_each(|change| step(&mut out, change, paint));
    }
    let _ = writeln!(out, "\n{}", harmless(&summary(answer)));
    out
}

fn signs(weight: Weight) -> (&'static str, &'static str) {
    match weight {
        Weight::Danger => ("!!", "DANGER"),
        Weight::Change => ("~", "change"),
        Weight::Better => ("+", "better"),
    }
}

fn fate(fate: Fate, paint: Paint) -> String {
    match fate {
        Fate::Added => paint.green("+"),
        Fate::Removed => paint.red("-"),
        Fate::Changed => paint.yellow("~"),
    }
}

fn declaration(out: &mut String, change: &DeclarationChange, paint: Paint) {
    let _ = writeln!(out, "  {} {}", fate(change.change, paint), harmless(&change.key.to_string()));
    for attribute in &change.attributes {
        let text = match (change.change, &attribute.old) {
            (Fate::Removed, Some(old)) => {
                format!("{}: {}", attribute.attribute, written(attribute.list, old))
            }
            _ => one_attribute(attribute),
        };
        let _ = writeln!(out, "      {}", harmless(&text).replace('\n', " "));
    }
}

fn written(list: bool, values: &[String]) -> String {
    if list { format!("[{}]", values.join(", ")) } else { values.join(", ") }
}

/// `level: 6 -> 9`, `to: -nas +mirror`
fn one_attribute(change: &AttributeChange) -> String {
    let name = change.attribute;
    let words = |values: &[String]| written(change.list, values);
    match (&change.old, &change.new) {
        (None, Some(new)) => format!("{name}: {}", words(new)),
        (Some(old), None) => format!("{name}: {} -> (not set)", words(old)),
        (Some(old), Some(new)) if change.list => {
            let gone = old.iter().filter(|value| !new.contains(value)).map(|value| format!("-{value}"));
            let came = new.iter().filter(|value| !old.contains(value)).map(|value| format!("+{value}"));
            let parts: Vec<String> = gone.chain(came).collect();
            match parts.is_empty() {
                true => format!("{name}: {} -> {}", words(old), words(new)),
                false => format!("{name}: {}", parts.join("  ")),
            }
        }
        (Some(old), Some(new)) => format!("{name}: {} -> {}", words(old), words(new)),
        (None, None) => name.to_owned(),
    }
}

fn step(out: &mut String, change: &StepChange, paint: Paint) {
    let _ = writeln!(out, "  {} {}", fate(change.change, paint), harmless(&change.step.to_string()));
    for how in &change.how {
        let gone = how.gone.iter().map(|what| format!("-{what}"));
        let parts: Vec<String> = gone.chain(how.new.iter().map(|what| format!("+{what}"))).collect();
        let _ = writeln!(out, "      {}: {}", how.effect, harmless(&parts.join("  ")));
    }
}

fn summary(answer: &Answer) -> String {
    let dangers = count(&answer.diff.consequences, Weight::Danger);
    let danger = match dangers {
        0 if answer.unknown.is_empty() => "no danger".to_owned(),
        0 => "no danger that is known".to_owned(),
        _ => plural(dangers, "danger"),
    };
    let parts = [
        danger,
        plural(answer.diff.declarations.len(), "declaration"),
        plural(answer.diff.steps.len(), "step"),
    ];
    format!("{} changed", parts.join(", ")).replacen(", ", "; ", 1)
}

fn count(consequences: &[Consequence], weight: Weight) -> usize {
    consequences.iter().filter(|consequence| consequence.weight == weight).count()
}

/// For a pull request.
pub fn markdown(answer: &Answer) -> String {
    let mut out = format!("### Plan `{}`: {} → {}\n\n", answer.plan, cell(&answer.old), cell(&answer.new));
    if !answer.changed {
        out.push_str("No change: both mean the same.\n");
        return out;
    }
    let _ = writeln!(out, "{}\n", cell(&summary(answer)));
    out.push_str("| | what it does to data |\n|---|---|\n");
    for consequence in &answer.diff.consequences {
        let (sign, word) = signs(consequence.weight);
        let word = if consequence.weight == Weight::Danger { format!("**{word}**") } else { word.to_owned() };
        let _ = writeln!(out, "| {sign} {word} | {} |", cell(&consequence.text));
    }
    for text in &answer.unknown {
        let _ = writeln!(out, "| ? not known | {} |", cell(text));
    }
    let plain = Paint::new(Style::PLAIN);
    let mut declarations = String::new();
    answer.diff.declarations.iter().for_each(|change| declaration(&mut declarations, change, plain));
    folded(&mut out, "declarations", answer.diff.declarations.len(), &declarations);
    let mut steps = String::new();
    answer.diff.steps.iter().for_each(|change| step(&mut steps, change, plain));
    folded(&mut out, "steps of a full run", answer.diff.steps.len(), &steps);
    out
}

/// A part that a reader opens. A fence longer than any inside cannot be closed from inside.
fn folded(out: &mut String, title: &str, count: usize, text: &str) {
    if count == 0 {
        return;
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let text: String =
        text.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect();
    let _ = write!(
        out,
        "\n<details><summary>{title} ({count})</summary>\n\n{fence}diff\n{text}{fence}\n\n</details>\n"
    );
}

/// Text that cannot end a cell or begin a tag: between backticks a `<` is what it is.
fn cell(text: &str) -> String {
    let text = harmless(text).replace(['\n', '\r'], " ").replace('|', "\\|");
    let parts: Vec<&str> = text.split('`').collect();
    let last = parts.len() - 1;
    let part = |(at, part): (usize, &&str)| match at % 2 == 1 && at < last {
        true => (*part).to_owned(),
        false => part.replace('<', "&lt;"),
    };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_stays_one_and_shows_what_is_quoted() {
        assert_eq!(cell("`a<b|c` < `d"), "`a<b\\|c` &lt; `d");
        assert_eq!(cell("<b>\n`<i>"), "&lt;b> `&lt;i>");
    }
}
