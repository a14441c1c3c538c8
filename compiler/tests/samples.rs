//! The plans that the language was designed on, and those of real processes, have no error and no warning.

#![allow(clippy::unwrap_used)]

mod common;

use backplan_compiler::finding::Severity;

use common::{compile_files, shown};

const COMPANY: (&str, &str) = ("company.plan", include_str!("samples/company.plan"));

#[test]
fn sample_plans_are_clean() {
    let samples = [
        ("quickstart.plan", include_str!("samples/quickstart.plan")),
        ("alation.plan", include_str!("samples/alation.plan")),
        ("alation_excluded.plan", include_str!("samples/alation_excluded.plan")),
        ("node1.plan", include_str!("samples/node1.plan")),
        ("nextcloud.plan", include_str!("samples/nextcloud.plan")),
        ("v1.plan", include_str!("samples/v1.plan")),
        ("cluster.plan", include_str!("samples/cluster.plan")),
    ];
    for sample in samples {
        let (set, compiled) = compile_files(&[sample, COMPANY]);
        let loud: Vec<_> =
            compiled.findings.iter().filter(|finding| finding.severity > Severity::Note).cloned().collect();
        assert!(compiled.is_sound() && loud.is_empty(), "{}:\n{}", sample.0, shown(&set, &loud));
    }
}
