//! A whole compilation: parse errors, resolution, checks, allowances; findings in the order of the text.

use std::collections::BTreeSet;

use backplan_grammar::TextMend;
use backplan_grammar::ast::Item;

use crate::allow::{self, Applied};
use crate::codes::{self, Code};
use crate::finding::{Edit, Finding, Severity};
use crate::findings::check;
use crate::findings::paths::Laid;
use crate::model::Model;
use crate::resolve::resolve;
use crate::sources::{FileId, Inputs, Place, SourceSet};

/// What a compilation gives.
#[derive(Debug)]
pub struct Compiled {
    /// The plan; `None` if an error keeps it from having a meaning. With [`Severity::Error`] among the findings it may
    /// be there all the same, but must not be run.
    pub model: Option<Model>,
    /// Everything found, by place.
    pub findings: Vec<Finding>,
    /// Allowances of libraries that this plan does not need: too many only if no other plan needs them either.
    pub idle: Vec<Finding>,
    /// Where secrets are written into the texts: to be taken out of any copy of them.
    pub inline_secrets: Vec<Place>,
    /// Parameters whose values from outside are secrets: to be written down nowhere.
    pub secret_params: BTreeSet<String>,
    /// The paths of this machine that the plan names: to be compared as they really are, where they can be looked at.
    pub laid: Laid,
}

impl Compiled {
    /// Whether nothing keeps the plan from being run.
    pub fn is_sound(&self) -> bool {
        self.model.is_some() && self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// Findings that say that something is not there: not sure while a part of the text could not be read.
static DOUBTFUL: &[&Code] = &[
    &codes::MISSING_PLAN,
    &codes::MISSING_ATTRIBUTE,
    &codes::EMPTY_BLOCK,
    &codes::UNKNOWN_NAME,
    &codes::UNKNOWN_REFERENCE,
    &codes::UNKNOWN_PARAM,
    &codes::UNBOUND_PARAM,
    &codes::IMPORTED_PLAN,
];

/// Compiles a plan.
pub fn compile(set: &SourceSet, inputs: &Inputs) -> Compiled {
    let mut findings = syntax_errors(set);
    let resolved = resolve(set, inputs);
    let torn = !findings.is_empty();
    let unread = resolved.findings.iter().any(|finding| finding.name == codes::UNREADABLE_IMPORT.name);
    let is_sure = |finding: &Finding| {
        let doubtful = DOUBTFUL.iter().any(|code| code.name == finding.name);
        !(torn && doubtful || unread && finding.name == codes::UNKNOWN_REFERENCE.name)
    };
    findings.extend(resolved.findings.into_iter().filter(is_sure));
    let model = resolved.model.filter(|_| !torn);
    if let Some(model) = &model {
        findings.extend(check(set, model, &resolved.facts));
    }
    let laid = model.as_ref().map(|model| Laid::new(set, model, &resolved.facts)).unwrap_or_default();
    let Applied { mut findings, idle } = allow::apply(set, findings, model.is_some());
    findings.sort_by_key(|finding| order(finding.primary.place, finding.name));
    let mut secret_params = BTreeSet::new();
    let mut inline_secrets = resolved.facts.inline_secrets;
    inline_secrets.retain(|place| match param_named(set, *place) {
        Some(name) => {
            secret_params.insert(name);
            false
        }
        None => true,
    });
    Compiled { model, findings, idle, inline_secrets, secret_params, laid }
}

/// The parameter whose name stands there: its value came from outside, and is not in the text.
fn param_named(set: &SourceSet, place: Place) -> Option<String> {
    let items = &set.file(place.file).parsed.ast.items;
    items.iter().find_map(|item| match item {
        Item::Param(param) if param.name.span == place.span => Some(param.name.node.clone()),
        _ => None,
    })
}

fn order(place: Place, name: &'static str) -> (Place, &'static str) {
    (place, name)
}

fn syntax_errors(set: &SourceSet) -> Vec<Finding> {
    let errors =
        set.iter().flat_map(|(file, source)| source.parsed.errors.iter().map(move |error| (file, error)));
    errors
        .map(|(file, error)| {
            let code = codes::code(error.name).unwrap_or(&codes::SYNTAX);
            let finding = Finding::new(code, Place { file, span: error.span }, &error.message);
            let finding = Finding { help: error.help.clone(), ..finding };
            let text = &set.file(file).text;
            error.mends.iter().fold(finding, |finding, mend| {
                let (title, edit) = mended(text, file, mend);
                finding.mend(title, edit)
            })
        })
        .collect()
}

/// The change of a text that mends a syntax error, and what it is called.
fn mended(text: &str, file: FileId, mend: &TextMend) -> (String, Edit) {
    let old = text.get(mend.span.start..mend.span.end).unwrap_or_default();
    let (new, shown) = (&mend.new, mend.new.trim());
    let title = match (old.trim(), shown) {
        (_, "") if new.contains('\n') => "begin a new line".to_owned(),
        ("", "") => "write a plain blank".to_owned(),
        (old, "") => format!("take out `{old}`"),
        ("", shown) => format!("put in `{shown}`"),
        (_, shown) => format!("write `{shown}`"),
    };
    let place = Place { file, span: mend.span };
    (title, Edit { place, old: old.to_owned(), new: new.clone() })
}
