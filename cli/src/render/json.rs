//! The answer of `plan check --format json`. The shape is part of the program's surface: fields are added, never
//! renamed; `format` grows when that cannot be kept.
//!
//! ```json
//! {
//!   "format": 1,
//!   "plans": [
//!     {
//!       "file": "site.plan",
//!       "plan": "site",
//!       "findings": [
//!         {
//!           "name": "unused_name",
//!           "severity": "warning",
//!           "message": "…",
//!           "help": "…",
//!           "place": { "file": "site.plan", "line": 3, "column": 5, "end_line": 3, "end_column": 9,
//!                      "start": 21, "end": 25 },
//!           "label": "…",
//!           "others": [ { "place": { … }, "label": "…" } ]
//!         }
//!       ]
//!     }
//!   ],
//!   "errors": 0,
//!   "warnings": 1,
//!   "notes": 0
//! }
//! ```
//!
//! `plan` is null where the file has no readable header; a finding without lines (a file that cannot be read) has a
//! `place` of `file` alone. Lines and columns count from 1, columns in characters; `start` and `end` are bytes.

use std::path::Path;

use backplan_compiler::finding::{Finding, Label, Severity};
use backplan_compiler::sources::{Place, SourceSet, position};
use backplan_runtime::load::{self, LoadError};
use serde::Serialize;

use super::human::Tally;

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    format: u32,
    plans: Vec<Plan>,
    errors: usize,
    warnings: usize,
    notes: usize,
}

impl Answer {
    /// What was found in these plans.
    pub fn new(plans: Vec<Plan>, tally: Tally) -> Self {
        Answer { format: 1, plans, errors: tally.errors, warnings: tally.warnings, notes: tally.notes }
    }

    /// With paths as a code host knows them: from `root`, the top of what it holds, whatever folder (`current`) the check
    /// was made in. What lies elsewhere is absolute.
    #[must_use]
    pub fn below(mut self, root: &Path, current: &Path) -> Self {
        let moved = |place: &mut JsonPlace| {
            let path = load::normalize(&current.join(&place.file));
            place.file = load::display(path.strip_prefix(root).unwrap_or(&path));
        };
        for finding in self.plans.iter_mut().flat_map(|plan| &mut plan.findings) {
            moved(&mut finding.place);
            finding.others.iter_mut().for_each(|other| moved(&mut other.place));
        }
        self
    }

    /// All findings, plan by plan.
    pub(super) fn findings(&self) -> impl Iterator<Item = &JsonFinding> {
        self.plans.iter().flat_map(|plan| &plan.findings)
    }
}

/// A plan, or a file that should be one.
#[derive(Debug, Serialize)]
pub struct Plan {
    file: String,
    plan: Option<String>,
    findings: Vec<JsonFinding>,
}

impl Plan {
    /// The findings of a plan that was read.
    pub fn read(file: &str, plan: Option<String>, findings: &[&Finding], sources: &SourceSet) -> Self {
        let findings = findings.iter().map(|finding| JsonFinding::new(finding, sources)).collect();
        Plan { file: file.to_owned(), plan, findings }
    }

    /// A file or folder that could not be read.
    pub fn unreadable(error: &LoadError) -> Self {
        let finding = JsonFinding {
            name: error.trouble.name(),
            severity: Severity::Error,
            message: error.to_string(),
            help: Some(error.trouble.help().to_owned()),
            place: JsonPlace { file: error.shown.clone(), range: None },
            label: String::new(),
            others: Vec::new(),
        };
        Plan { file: error.shown.clone(), plan: None, findings: vec![finding] }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct JsonFinding {
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) place: JsonPlace,
    pub(super) label: String,
    pub(super) others: Vec<JsonLabel>,
}

#[derive(Debug, Serialize)]
pub(super) struct JsonLabel {
    pub(super) place: JsonPlace,
    pub(super) label: String,
}

#[derive(Debug, Serialize)]
pub(super) struct JsonPlace {
    pub(super) file: String,
    #[serde(flatten)]
    pub(super) range: Option<Range>,
}

#[derive(Debug, Serialize)]
pub(super) struct Range {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) end_line: usize,
    pub(super) end_column: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl JsonFinding {
    fn new(finding: &Finding, sources: &SourceSet) -> Self {
        JsonFinding {
            name: finding.name,
            severity: finding.severity,
            message: finding.message.clone(),
            help: finding.help.clone(),
            place: JsonPlace::new(finding.primary.place, sources),
            label: finding.primary.text.clone(),
            others: finding.others.iter().map(|label| JsonLabel::new(label, sources)).collect(),
        }
    }
}

impl JsonLabel {
    fn new(label: &Label, sources: &SourceSet) -> Self {
        JsonLabel { place: JsonPlace::new(label.place, sources), label: label.text.clone() }
    }
}

impl JsonPlace {
    fn new(place: Place, sources: &SourceSet) -> Self {
        let file = sources.file(place.file);
        let (start, end) = (position(&file.text, place.span.start), position(&file.text, place.span.end));
        let range = Range {
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            start: place.span.start,
            end: place.span.end,
        };
        JsonPlace { file: file.shown.clone(), range: Some(range) }
    }
}

/// A value as one JSON document, with its end of line.
pub fn document(value: &impl Serialize) -> String {
    // Types of this program, whose keys are text: they can be written.
    serde_json::to_string_pretty(value).map(|text| text + "\n").unwrap_or_default()
}
