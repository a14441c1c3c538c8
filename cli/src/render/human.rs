//! Findings and failures for people.

use backplan_compiler::count::plural;
use backplan_compiler::finding::{Finding, Label, Severity};
use backplan_compiler::sources::{Place, SourceFile, SourceSet, position};
use backplan_runtime::load::LoadError;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};

use super::paint::Paint;
use super::text::{harmless, within_a_line};
use crate::console::Style;
use crate::exit::Failure;

/// Bytes of the longest line that is shown; what is longer was written by a program and is only named.
const LONGEST_LINE: usize = 400;

/// How many findings and of what weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Notes.
    pub notes: usize,
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, severity: Severity) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Note => self.notes += 1,
        }
    }

    /// In words: `2 errors, 1 warning`; nothing where there is nothing.
    pub fn words(&self) -> String {
        let counted = [(self.errors, "error"), (self.warnings, "warning"), (self.notes, "note")];
        let words = counted.iter().filter(|(count, _)| *count > 0).map(|(count, noun)| plural(*count, noun));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// A finding with the text around it.
pub fn finding(finding: &Finding, sources: &SourceSet, style: Style) -> String {
    let mut text = String::new();
    let handler = handler(style);
    // Writing into a string does not fail.
    let _ = handler.render_report(&mut text, &Report::new(finding, sources));
    for label in finding.others.iter().filter(|label| label.place.file != finding.primary.place.file) {
        let _ = handler.render_report(&mut text, &Report::elsewhere(label, sources));
    }
    let text = if style.unicode { text } else { in_ascii(&text) };
    let lines: Vec<&str> = text.trim_matches('\n').lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// Signs of the messages themselves, for those who see no more than ASCII. What a plan says stays as it is.
fn in_ascii(text: &str) -> String {
    text.replace('→', "->").replace('…', "...")
}

/// A file that could not be read, drawn like a finding.
pub fn unreadable(error: &LoadError, style: Style) -> String {
    let paint = Paint::new(style);
    let mark = if style.unicode { "×" } else { "x" };
    let name = error.trouble.name();
    let message = harmless(&error.to_string());
    format!(
        "{}\n\n  {} {message}\n{}",
        paint.red(&format!("error: {name}")),
        paint.red(mark),
        help(Some(error.trouble.help()), paint)
    )
}

/// Why a command could not do its work.
pub fn failure(failure: &Failure, style: Style) -> String {
    let paint = Paint::new(style);
    format!(
        "{} {}\n{}",
        paint.red("error:"),
        within_a_line(&failure.message),
        help(failure.help.as_deref(), paint)
    )
}

fn help(help: Option<&str>, paint: Paint) -> String {
    help.map_or_else(String::new, |help| format!("{}{}\n", paint.cyan("  help: "), harmless(help)))
}

fn handler(style: Style) -> GraphicalReportHandler {
    let characters = if style.unicode { ThemeCharacters::unicode() } else { ThemeCharacters::ascii() };
    let styles = if style.color { ThemeStyles::ansi() } else { ThemeStyles::none() };
    GraphicalReportHandler::new_themed(GraphicalTheme { characters, styles })
        .with_width(style.width)
        // Who reads a file searches it: a sentence stays on its line.
        .with_wrap_lines(style.terminal)
        .with_links(false)
        .with_context_lines(1)
        .without_syntax_highlighting()
}

/// What miette draws at once: a message and the labels of one file. What lies in other files is drawn behind it.
#[derive(Debug)]
struct Report {
    code: Option<String>,
    severity: miette::Severity,
    message: String,
    help: Option<String>,
    source: Option<Text>,
    labels: Vec<LabeledSpan>,
}

impl Report {
    fn new(finding: &Finding, sources: &SourceSet) -> Report {
        let home = finding.primary.place.file;
        let here = finding.others.iter().filter(|label| label.place.file == home);
        let labels: Vec<&Label> = std::iter::once(&finding.primary).chain(here).collect();
        let shown = labels.iter().all(|label| is_showable(label.place, sources));
        let file = sources.file(home);
        let mut message = harmless(&finding.message);
        if !shown {
            message = format!("{message} (at {})", sources.spelt(finding.primary.place));
        }
        let mut spans: Vec<LabeledSpan> = Vec::new();
        if shown {
            spans.push(span(&finding.primary, file, true));
            spans.extend(labels[1..].iter().map(|label| span(label, file, false)));
        }
        Report {
            code: Some(format!("{}: {}", weight(finding.severity), finding.name)),
            severity: severity(finding.severity),
            message,
            help: finding.help.as_deref().map(harmless),
            source: shown.then(|| source(file)),
            labels: spans,
        }
    }

    fn elsewhere(label: &Label, sources: &SourceSet) -> Report {
        let file = sources.file(label.place.file);
        let shown = is_showable(label.place, sources);
        let text = if label.text.is_empty() { "this belongs to it" } else { &label.text };
        let message = match shown {
            true => harmless(text),
            false => format!("{} (at {})", harmless(text), sources.spelt(label.place)),
        };
        Report {
            code: None,
            severity: miette::Severity::Advice,
            message,
            help: None,
            source: shown.then(|| source(file)),
            labels: if shown {
                vec![span(&Label { text: String::new(), ..label.clone() }, file, true)]
            } else {
                Vec::new()
            },
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.code.as_ref().map(|code| Box::new(code) as Box<dyn std::fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty())
            .then(|| Box::new(self.labels.iter().cloned()) as Box<dyn Iterator<Item = _>>)
    }
}

/// A file as it is shown.
#[derive(Debug)]
struct Text {
    name: String,
    text: String,
}

impl SourceCode for Text {
    /// What miette reads, but that its column counts bytes, and ours characters, as editors do.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, lines_before, lines_after)?;
        let start = read.span().offset();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            read.data(),
            *read.span(),
            read.line(),
            position(&self.text, start).column - 1,
            read.line_count(),
        )))
    }
}

fn source(file: &SourceFile) -> Text {
    Text { name: file.shown.clone(), text: harmless(&file.text) }
}

fn span(label: &Label, file: &SourceFile, primary: bool) -> LabeledSpan {
    let start = label.place.span.start.min(file.text.len());
    let length = label.place.span.end.clamp(start, file.text.len()) - start;
    let text = (!label.text.is_empty()).then(|| harmless(&label.text));
    match primary {
        true => LabeledSpan::new_primary_with_span(text, (start, length)),
        false => LabeledSpan::new_with_span(text, (start, length)),
    }
}

fn severity(severity: Severity) -> miette::Severity {
    match severity {
        Severity::Note => miette::Severity::Advice,
        Severity::Warning => miette::Severity::Warning,
        Severity::Error => miette::Severity::Error,
    }
}

/// The word for how much a finding weighs.
pub fn weight(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Whether the lines around a place are ones that a person could have written.
fn is_showable(place: Place, sources: &SourceSet) -> bool {
    let text = &sources.file(place.file).text;
    let bytes = text.as_bytes();
    let start = place.span.start.min(bytes.len());
    let end = place.span.end.clamp(start, bytes.len());
    // One line before and one behind are drawn as well.
    let first = nth_newline_before(bytes, start, 2);
    let last = nth_newline_after(bytes, end, 2);
    bytes[first..last].split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE)
}

fn nth_newline_before(bytes: &[u8], from: usize, count: usize) -> usize {
    let mut newlines = bytes[..from].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    newlines.nth(count - 1).map_or(0, |(index, _)| index + 1)
}

fn nth_newline_after(bytes: &[u8], from: usize, count: usize) -> usize {
    let mut newlines = bytes[from..].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    newlines.nth(count - 1).map_or(bytes.len(), |(index, _)| from + index)
}
