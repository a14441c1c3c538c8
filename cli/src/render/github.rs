//! The answer of `plan check --format github`: workflow commands, which GitHub shows beside the lines of a pull request.

use std::fmt::Write;

use backplan_compiler::finding::Severity;

use super::json::{Answer, JsonFinding};

/// A command for each finding.
pub fn commands(answer: &Answer) -> String {
    let mut text = String::new();
    for finding in answer.findings() {
        command(finding, &mut text);
    }
    text
}

fn command(finding: &JsonFinding, text: &mut String) {
    let word = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let mut properties = vec![("file", finding.place.file.clone())];
    if let Some(range) = &finding.place.range {
        properties.push(("line", range.line.to_string()));
        properties.push(("endLine", range.end_line.to_string()));
        // GitHub takes columns within one line only.
        if range.line == range.end_line {
            properties.push(("col", range.column.to_string()));
            properties.push(("endColumn", range.end_column.to_string()));
        }
    }
    properties.push(("title", finding.name.to_owned()));
    let properties: Vec<String> =
        properties.into_iter().map(|(name, value)| format!("{name}={}", property(&value))).collect();
    let mut message = finding.message.clone();
    if let Some(help) = &finding.help {
        let _ = write!(message, "\nhelp: {help}");
    }
    let _ = writeln!(text, "::{word} {}::{}", properties.join(","), data(&message));
}

/// What stands behind the second pair of colons.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What stands behind an equals sign.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{data, property};

    #[test]
    fn nothing_of_a_text_ends_its_command() {
        assert_eq!(data("50%:\na,b\r"), "50%25:%0Aa,b%0D");
        assert_eq!(property("a:b,c%\n::error"), "a%3Ab%2Cc%25%0A%3A%3Aerror");
    }
}
