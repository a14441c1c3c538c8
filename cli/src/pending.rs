//! Stands in for parts of the compiler until they are here.

use backplan_compiler::graph::StepGraph;
use backplan_compiler::model::Model;

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
