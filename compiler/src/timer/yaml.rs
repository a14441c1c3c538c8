//! YAML that every reader takes for the same: readers of YAML 1.1, as those of Kubernetes are, take `on` and `yes` for truths and
//! some words for numbers and days, where readers of 1.2 have strings. What might be taken for something else is quoted.

use std::fmt::Write;

use serde::Serialize;
use yaml_serde::Value;

/// Words that are no strings where they stand bare.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A document.
pub(super) fn document(object: &impl Serialize) -> String {
    let value = yaml_serde::to_value(object).unwrap_or(Value::Null);
    let mut out = String::new();
    put(&mut out, &value, 0);
    out
}

/// A value on lines of its own.
fn put(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Mapping(pairs) => {
            for (key, value) in pairs {
                let _ = write!(out, "{:depth$}{}:", "", string(key.as_str().unwrap_or_default()));
                behind(out, value, depth);
            }
        }
        Value::Sequence(values) => {
            for value in values {
                let mut text = String::new();
                if has_lines(value) {
                    put(&mut text, value, depth + 2);
                    // The first line's indent holds the dash.
                    let _ = write!(out, "{:depth$}- {}", "", text.trim_start_matches(' '));
                } else {
                    let _ = write!(out, "{:depth$}-", "");
                    behind(out, value, depth);
                }
            }
        }
        value => {
            let _ = writeln!(out, "{}", scalar(value));
        }
    }
}

/// A value behind its key or dash.
fn behind(out: &mut String, value: &Value, depth: usize) {
    match value {
        value if has_lines(value) => {
            out.push('\n');
            put(out, value, depth + 2);
        }
        Value::String(text) if is_block(text) => {
            out.push_str(" |\n");
            for line in text.lines() {
                let depth = if line.is_empty() { 0 } else { depth + 2 };
                let _ = writeln!(out, "{:depth$}{line}", "");
            }
        }
        value => {
            let _ = writeln!(out, " {}", scalar(value));
        }
    }
}

fn has_lines(value: &Value) -> bool {
    match value {
        Value::Mapping(pairs) => !pairs.is_empty(),
        Value::Sequence(values) => !values.is_empty(),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => string(text),
        Value::Mapping(_) => "{}".to_owned(),
        Value::Sequence(_) => "[]".to_owned(),
        _ => "null".to_owned(),
    }
}

/// Text whose lines can stand as they are: one end of line at its end, and nothing that a reader would take for another.
fn is_block(text: &str) -> bool {
    let is_shown = |letter: char| {
        letter == '\n' || matches!(letter, ' '..='~' | '\u{a1}'..='\u{1fff}' | '\u{3000}'..='\u{d7ff}')
    };
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n'])
        && text.chars().all(is_shown)
}

fn string(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { literal(text) }
}

/// A string in quotes, of plain letters alone: both YAML and Python read it.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        let code = u32::from(letter);
        let _ = match letter {
            '"' | '\\' => write!(out, "\\{letter}"),
            '\n' => write!(out, "\\n"),
            ' '..='~' => write!(out, "{letter}"),
            _ if code < 0x100 => write!(out, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_other_readers_would_take_for_something_else_is_quoted() {
        for text in [
            "on",
            "No",
            "y",
            "1e3",
            "0x1f",
            "1_000",
            "2027-01-01",
            "1:30",
            "~",
            "=",
            "",
            " a",
            "a: b",
            "- a",
            "#",
            "é",
        ] {
            assert!(document(&text).starts_with('"'), "{text}: {}", document(&text));
        }
        assert_eq!(document(&BTreeMap::from([("on", "a\nb\n")])), "\"on\": |\n  a\n  b\n");
        assert_eq!(document(&vec![BTreeMap::from([("a", 1), ("b", 2)])]), "- a: 1\n  b: 2\n");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_again(
            all in prop::collection::btree_map("(?s).{0,6}", prop::collection::vec("(?s)(.|[ \n:#|'\"\\\\-]){0,12}\n?", 0..4), 0..4)
        ) {
            let text = document(&all);
            let read: BTreeMap<String, Vec<String>> = yaml_serde::from_str(&text).unwrap();
            prop_assert_eq!(read, all, "{}", text);
        }
    }
}
