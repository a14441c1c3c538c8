//! What lies ready for editors: the grammar that colours plans knows the words that the program knows.

use std::fs;
use std::process::Command;

use backplan_compiler::schema::{FUNCTIONS, KINDS, PARAM_TYPES};
use serde_json::Value;

use crate::scenario::repository;

fn grammar() -> Value {
    let text = fs::read_to_string(repository("editors/vscode/syntaxes/plan.tmLanguage.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The alternatives of the group that begins with this word.
fn group(pattern: &str, first: &str) -> Vec<String> {
    let start = pattern.find(&format!("({first}|")).unwrap() + 1;
    let end = start + pattern[start..].find(')').unwrap();
    pattern[start..end].split('|').map(str::to_owned).collect()
}

#[test]
fn the_grammar_knows_every_kind_type_and_function() {
    let grammar = grammar();
    let kinds = grammar["repository"]["declaration"]["match"].as_str().unwrap();
    let expected: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(group(kinds, "store"), expected);
    let items = grammar["repository"]["item"].to_string();
    assert_eq!(group(&items, "string"), PARAM_TYPES);
    let values = grammar["repository"]["value"].to_string();
    let expected: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(group(&values, "env"), expected);
}

#[test]
fn the_extension_is_packed_without_a_question() {
    // The packer asks, at a terminal, where there is no licence beside the extension or no address of its repository.
    let licence = |path| fs::read_to_string(repository(path)).unwrap();
    assert_eq!(licence("editors/vscode/LICENSE"), licence("LICENSE"));
    let package: Value = serde_json::from_str(&licence("editors/vscode/package.json")).unwrap();
    assert!(package["scripts"]["package"].as_str().unwrap().contains("--allow-missing-repository"));
}

#[test]
fn the_grammar_colours_plans_in_the_tokeniser_of_the_editor() {
    let folder = repository("editors/vscode");
    assert!(folder.join("node_modules/vscode-textmate").is_dir(), "tests/run brings what this needs");
    let tests = Command::new("node").args(["--test", "test/"]).current_dir(folder).output().unwrap();
    assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stdout));
}
