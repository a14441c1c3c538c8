//! The answer of `plan check --format sarif`: SARIF 2.1.0, which code hosts and editors read.

use std::collections::BTreeSet;
use std::fmt::Write;

use backplan_compiler::codes::code;
use backplan_compiler::finding::Severity;
use serde_json::{Value, json};

use super::json::{Answer, JsonFinding, JsonPlace};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The whole log.
pub fn log(answer: &Answer) -> Value {
    let names: BTreeSet<&str> = answer.findings().map(|finding| finding.name).collect();
    let rules: Vec<Value> = names.iter().map(|name| rule(name)).collect();
    let index = |name: &str| names.iter().position(|other| *other == name);
    let results: Vec<Value> = answer.findings().map(|finding| result(finding, index(finding.name))).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "plan",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(name: &str) -> Value {
    let meaning = code(name).map_or("a file cannot be read", |code| code.meaning);
    let weight = code(name).map_or(Severity::Error, |code| code.severity);
    json!({
        "id": name,
        "shortDescription": { "text": meaning },
        "help": { "text": format!("`plan explain {name}` tells what it means, with an example and the mend.") },
        "defaultConfiguration": { "level": level(weight) },
    })
}

fn result(finding: &JsonFinding, rule: Option<usize>) -> Value {
    let mut message = finding.message.clone();
    if let Some(help) = &finding.help {
        let _ = write!(message, "\nhelp: {help}");
    }
    let others: Vec<Value> = finding
        .others
        .iter()
        .enumerate()
        .map(|(id, other)| {
            let text = if other.label.is_empty() { "this belongs to it" } else { &other.label };
            json!({ "id": id, "physicalLocation": location(&other.place), "message": { "text": text } })
        })
        .collect();
    json!({
        "ruleId": finding.name,
        "ruleIndex": rule,
        "level": level(finding.severity),
        "message": { "text": message },
        "locations": [{ "physicalLocation": location(&finding.place) }],
        "relatedLocations": others,
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn location(place: &JsonPlace) -> Value {
    let artifact = json!({ "uri": uri(&place.file) });
    match &place.range {
        None => json!({ "artifactLocation": artifact }),
        Some(range) => json!({
            "artifactLocation": artifact,
            "region": {
                "startLine": range.line,
                "startColumn": range.column,
                "endLine": range.end_line,
                "endColumn": range.end_column,
                "byteOffset": range.start,
                "byteLength": range.end - range.start,
            },
        }),
    }
}

/// A path as a reference: relative as it is shown, absolute with its scheme.
fn uri(path: &str) -> String {
    let mut text = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_are_references() {
        assert_eq!(uri("plans/a b:c.plan"), "plans/a%20b%3Ac.plan");
        assert_eq!(uri("/etc/ü.plan"), "file:///etc/%C3%BC.plan");
    }
}
