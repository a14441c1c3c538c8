//! The reference page says what the program knows.

use std::fmt::Write;
use std::fs;

use backplan_compiler::schema::{Attr, FUNCTIONS, KINDS, Kind, Naming, PARAM_TYPES, Presence};

use crate::scenario::repository;

const MARK: &str = " -->\n\n";

#[test]
fn declarations_are_those_of_the_program() {
    let page = repository("docs/language.md");
    let text = fs::read_to_string(&page).unwrap();
    let (head, tables) = text.split_once(MARK).unwrap();
    let expected = KINDS.iter().map(kind).collect::<Vec<_>>().join("\n");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, format!("{head}{MARK}{expected}")).unwrap();
        return;
    }
    assert!(tables == expected, "docs/language.md is old: UPDATE_DOCS=1 tests/run writes it anew");
}

#[test]
fn functions_and_types_are_those_of_the_program() {
    let text = fs::read_to_string(repository("docs/language.md")).unwrap();
    for (name, ..) in FUNCTIONS {
        assert!(text.contains(&format!("`{name}(")), "{name}");
    }
    for name in PARAM_TYPES {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

/// A page that leads into the sources is worth what its paths are.
#[test]
fn the_way_through_the_program_names_what_is_there() {
    let text = fs::read_to_string(repository("docs/architecture.md")).unwrap();
    let tops = ["grammar/", "compiler/", "host/", "archive/", "runtime/", "cli/", "lsp/", "tests/", "docs/"];
    let is_inside = |byte: char| byte.is_ascii_alphanumeric() || "/._-".contains(byte);
    let words =
        text.split(|byte| !is_inside(byte)).filter(|word| tops.iter().any(|top| word.starts_with(top)));
    let paths: Vec<&str> = words.map(|word| word.trim_end_matches('.')).collect();
    assert!(paths.len() > 60, "{paths:?}");
    let missing: Vec<&&str> = paths.iter().filter(|path| !repository(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn kind(kind: &'static Kind) -> String {
    let naming = match kind.naming {
        Naming::Unnamed => "",
        Naming::New => " NAME",
        Naming::OfSource => " SOURCE",
    };
    let mut text = format!(
        "### `{}{naming}`\n\n{}\n\n| attribute | takes | says |\n|---|---|---|\n",
        kind.name, kind.doc
    );
    for ty in kind.types {
        writeln!(text, "| **`: {}`** | | {} |", ty.name, ty.doc).unwrap();
        ty.attrs.iter().for_each(|attr| row(attr, &mut text));
    }
    if !kind.types.is_empty() && !kind.attrs.is_empty() {
        writeln!(text, "| **every {}** | | |", kind.name).unwrap();
    }
    kind.attrs.iter().for_each(|attr| row(attr, &mut text));
    if !kind.blocks.is_empty() {
        let blocks: Vec<String> = kind.blocks.iter().map(|block| format!("`{block}`")).collect();
        writeln!(text, "\nMay hold {}.", blocks.join(" and ")).unwrap();
    }
    text
}

fn row(attr: &Attr, text: &mut String) {
    let presence = match attr.presence {
        Presence::Required => ", **required**".to_owned(),
        Presence::Optional => String::new(),
        Presence::Default(value) => format!(" [{value}]"),
    };
    writeln!(text, "| `{}` | {}{presence} | {} |", attr.name, attr.ty.describe(), attr.doc).unwrap();
}
