//! Findings as diagnostics, and their mends as code actions. Done on a thread of its own, so that an answer never waits
//! for a proof.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::finding::{Edit, Finding, Label, Severity};
use backplan_compiler::sources::{Inputs, Place, SourceSet};
use backplan_compiler::{codes, compile};
use backplan_grammar::Span;
use backplan_grammar::ast::Item;
use lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, Location, NumberOrString,
    TextEdit, Uri,
};

use crate::files::{File, FileSet, Files};
use crate::uri;

/// Findings told for one file: nobody reads further before mending these.
const MOST_TOLD: usize = 200;

/// What a library lacks to be a plan is not its fault: its importers have it.
const OF_PLANS: [&str; 3] =
    [codes::MISSING_PLAN.name, codes::UNBOUND_PARAM.name, codes::UNKNOWN_REFERENCE.name];

/// A plan to examine, as its files were when it was asked for.
#[derive(Debug)]
pub(crate) struct Job {
    set: FileSet,
    uris: BTreeMap<PathBuf, Uri>,
    versions: BTreeMap<PathBuf, i32>,
}

impl Job {
    /// The job for a plan; `None` if it cannot be read.
    pub fn new(files: &Files, set: FileSet) -> Option<Job> {
        set.root()?;
        let paths = || set.files.iter().map(|file| file.path().to_path_buf());
        let uris = paths().filter_map(|path| Some((path.clone(), files.uri(&path)?))).collect();
        let versions = paths().filter_map(|path| Some((path.clone(), files.version(&path)?))).collect();
        Some(Job { set, uris, versions })
    }

    /// The plan's path.
    pub fn root(&self) -> PathBuf {
        self.set.root().map(Path::to_path_buf).unwrap_or_default()
    }

    /// What the plan is given of what an editor gives to all plans: the parameters that it has.
    fn inputs(&self, inputs: &Inputs) -> Inputs {
        let items = self.set.files.iter().flat_map(|file| &file.source.parsed.ast.items);
        let known: BTreeSet<&str> = items
            .filter_map(|item| match item {
                Item::Param(param) => Some(param.name.node.as_str()),
                _ => None,
            })
            .collect();
        let mut inputs = inputs.clone();
        inputs.params.retain(|name, _| known.contains(name.as_str()));
        inputs
    }
}

/// What is told of a place, and what mends it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub diagnostic: Diagnostic,
    pub fixes: Vec<Fix>,
}

/// A mend, as changes of texts.
#[derive(Debug, Clone)]
pub(crate) struct Fix {
    pub title: String,
    pub edits: Vec<(Uri, Option<i32>, TextEdit)>,
}

/// What was found in a plan, by file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub told: BTreeMap<PathBuf, Vec<Told>>,
    /// The versions of the open texts that it speaks of.
    pub versions: BTreeMap<PathBuf, i32>,
    pub uris: BTreeMap<PathBuf, Uri>,
}

/// Examines a plan. No text makes it panic; should one, that is logged and nothing is told of the plan.
pub(crate) fn examine(job: &Job, inputs: &Inputs) -> Report {
    let mut report = Report { versions: job.versions.clone(), uris: job.uris.clone(), ..Report::default() };
    for file in &job.set.files {
        report.told.insert(file.path().to_path_buf(), Vec::new());
    }
    let Some(sources) = job.set.sources() else { return report };
    let inputs = job.inputs(inputs);
    let compiled = catch_unwind(AssertUnwindSafe(|| compile(&sources, &inputs)));
    let Ok(compiled) = compiled else {
        tracing::error!("the check of `{}` panicked", job.root().display());
        return report;
    };
    let is_plan = job.set.is_plan();
    let examined = Examined { job, sources: &sources };
    for mut finding in compiled.findings {
        if !is_plan && OF_PLANS.contains(&finding.name) {
            continue;
        }
        if finding.name == codes::UNREADABLE_IMPORT.name && uri::is_of_no_file(&job.root()) {
            finding.help = Some("save the text in the folder that its imports start from".to_owned());
        }
        let Some((path, told)) = examined.tell(&finding) else { continue };
        let of_file = report.told.entry(path).or_default();
        if of_file.len() < MOST_TOLD {
            of_file.push(told);
        }
    }
    report
}

struct Examined<'a> {
    job: &'a Job,
    sources: &'a SourceSet,
}

impl Examined<'_> {
    fn file(&self, place: Place) -> Option<&Arc<File>> {
        self.job.set.find(&self.sources.file(place.file).path)
    }

    fn location(&self, place: Place) -> Option<Location> {
        let file = self.file(place)?;
        let uri = self.job.uris.get(file.path())?.clone();
        Some(Location { uri, range: file.lines.range(file.text(), place.span) })
    }

    fn tell(&self, finding: &Finding) -> Option<(PathBuf, Told)> {
        let file = self.file(finding.primary.place)?;
        let related = finding.others.iter().filter_map(|label| self.related(label)).collect();
        let diagnostic = Diagnostic {
            range: file.lines.range(file.text(), finding.primary.place.span),
            severity: Some(match finding.severity {
                Severity::Error => DiagnosticSeverity::ERROR,
                Severity::Warning => DiagnosticSeverity::WARNING,
                Severity::Note => DiagnosticSeverity::INFORMATION,
            }),
            code: Some(NumberOrString::String(finding.name.to_owned())),
            source: Some("plan".to_owned()),
            message: message(finding),
            related_information: Some(related),
            tags: (finding.name == codes::UNUSED_NAME.name).then(|| vec![DiagnosticTag::UNNECESSARY]),
            ..Diagnostic::default()
        };
        let fixes = finding.mends.iter().filter_map(|mend| {
            let edits = mend.edits.iter().map(|edit| self.edit(edit)).collect::<Option<_>>()?;
            Some(Fix { title: mend.title.clone(), edits })
        });
        let fixes = fixes.collect();
        Some((file.path().to_path_buf(), Told { diagnostic, fixes }))
    }

    fn related(&self, label: &Label) -> Option<DiagnosticRelatedInformation> {
        let message = if label.text.is_empty() { "see here".to_owned() } else { label.text.clone() };
        Some(DiagnosticRelatedInformation { location: self.location(label.place)?, message })
    }

    /// The change of a text; `None` where something else stands there than the mend is for.
    fn edit(&self, edit: &Edit) -> Option<(Uri, Option<i32>, TextEdit)> {
        let file = self.file(edit.place)?;
        let span = edit.place.span;
        let found = file.text().get(span.start..span.end)?;
        let inside = |quote: char| found.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let span = if found == edit.old {
            span
        } else if inside('"').or(inside('\'')) == Some(edit.old.as_str()) {
            Span::new(span.start + 1, span.end - 1)
        } else {
            return None;
        };
        let range = file.lines.range(file.text(), span);
        let uri = self.job.uris.get(file.path())?.clone();
        let version = self.job.versions.get(file.path()).copied();
        Some((uri, version, TextEdit { range, new_text: edit.new.clone() }))
    }
}

fn message(finding: &Finding) -> String {
    let mut text = finding.message.clone();
    if !finding.primary.text.is_empty() {
        text.push_str(&format!(" ({})", finding.primary.text));
    }
    if let Some(help) = &finding.help {
        text.push_str(&format!("\n{help}"));
    }
    text
}
