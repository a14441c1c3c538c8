//! Stands in for parts of the compiler until they are here.

use backplan_compiler::finding::{Finding, Label, Severity};
use backplan_compiler::graph::StepGraph;
use backplan_compiler::model::Model;
use backplan_compiler::sources::{Inputs, Place, SourceSet};

/// What a compilation gives.
#[derive(Debug)]
pub struct Compiled {
    /// The plan.
    pub model: Option<Model>,
    /// The findings.
    pub findings: Vec<Finding>,
}

/// Only the syntax.
pub fn compile(sources: &SourceSet, _inputs: &Inputs) -> Compiled {
    let mut findings = Vec::new();
    for (file, source) in sources.iter() {
        for error in &source.parsed.errors {
            findings.push(Finding {
                name: error.name,
                severity: Severity::Error,
                message: error.message.clone(),
                primary: Label { place: Place { file, span: error.span }, text: String::new() },
                others: Vec::new(),
                help: error.help.clone(),
            });
        }
    }
    Compiled { model: None, findings }
}

/// Nothing yet.
pub fn to_yaml(_graph: &StepGraph, _model: &Model) -> String {
    String::new()
}

/// Nothing yet.
pub fn to_dot(_graph: &StepGraph, _model: &Model) -> String {
    String::new()
}

/// Nothing yet.
pub fn to_mermaid(_graph: &StepGraph, _model: &Model) -> String {
    String::new()
}
