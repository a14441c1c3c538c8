//! Every command line that a message, a page or the documentation gives is one that the program takes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::Args;

/// The sources and the documentation.
fn texts() -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut open: Vec<PathBuf> = [
        "cli/src",
        "runtime/src",
        "archive/src",
        "host/src",
        "compiler/src",
        "lsp/src",
        "docs",
        "README.md",
        "plans",
        "editors",
    ]
    .map(|below| top.join(below))
    .into();
    let mut texts = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| ["rs", "md", "plan"].iter().any(|known| end == *known)) {
            texts.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
    texts
}

/// A text with lines that were broken for their length in one piece.
fn joined(path: &Path, text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).unwrap_or(line).trim_start();
        match (line.strip_suffix('\\'), path.extension().is_some_and(|end| end == "md")) {
            (Some(open), _) => out.push_str(open),
            (None, true) if !line.is_empty() && !line.starts_with("```") => {
                out.push_str(line);
                out.push(' ');
            }
            (None, _) => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

fn is_command(word: &str) -> bool {
    Args::command().get_subcommands().any(|command| command.get_name() == word)
}

/// Command lines in backticks, and those that stand on a line of their own as examples.
fn advised(path: &Path, text: &str) -> BTreeSet<String> {
    let ours =
        |line: &&str| line.strip_prefix("plan ").is_some_and(|rest| rest.starts_with(char::is_lowercase));
    let joined = joined(path, text);
    let mut all: BTreeSet<String> = BTreeSet::new();
    for paragraph in joined.split('\n') {
        all.extend(paragraph.split('`').skip(1).step_by(2).filter(ours).map(str::to_owned));
    }
    for line in text.lines() {
        let line = line.trim().trim_start_matches("$ ").trim_start_matches("# ");
        let line = line.split("  ").next().unwrap_or(line).split("\")]").next().unwrap_or(line);
        let example =
            Some(line).filter(ours).filter(|line| line[5..].split(' ').next().is_some_and(is_command));
        all.extend(example.map(str::to_owned));
    }
    all
}

fn takes_a_value(command: &str, option: &str) -> bool {
    let (all, long) = (Args::command(), option.trim_start_matches("--"));
    let command = all.get_subcommands().find(|known| known.get_name() == command);
    let mut found = command.into_iter().flat_map(clap::Command::get_arguments);
    found.any(|arg| arg.get_long() == Some(long) && arg.get_action().takes_values())
}

/// The words of a command line, with something in the places that are left open. `None`: it is no command line.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.split(" | ").next()?.split(" > ").next()?.split(" && ").next()?.split(" #").next()?;
    let line = line.replace(['\u{2026}', '[', ']'], "").replace("...", "").replace("\\\"", "\"");
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    let mut word = String::new();
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    if words.get(1).is_some_and(|word| word == "help") {
        return None;
    }
    // An option that is named, and takes something.
    if words.len() > 2 && words.last().is_some_and(|word| takes_a_value(&words[1], word)) {
        words.push("x".to_owned());
    }
    let number = |word: String| if word == "N" { "3".to_owned() } else { word };
    Some(words.into_iter().map(number).collect())
}

#[test]
fn every_command_line_that_is_given_is_taken() {
    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (path, text) in texts().iter().filter(|(path, _)| !path.ends_with("advice_tests.rs")) {
        for line in advised(path, text) {
            for line in either(&line) {
                let Some(words) = words(&line) else { continue };
                seen.insert(line.clone());
                let Err(error) = Args::try_parse_from(&words) else { continue };
                // A name of a command or an option alone is no line to be typed.
                let is_a_part = [
                    ErrorKind::MissingRequiredArgument,
                    ErrorKind::MissingSubcommand,
                    ErrorKind::DisplayHelp,
                    ErrorKind::DisplayVersion,
                    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                ];
                if !is_a_part.contains(&error.kind()) {
                    let why = error.to_string().lines().next().unwrap_or_default().to_owned();
                    wrong.insert(format!("{}: `{line}`: {why}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    assert!(seen.len() > 60, "{seen:#?}");
}

/// `wal push|fetch` is two lines.
fn either(line: &str) -> Vec<String> {
    let Some(word) = line.split(' ').find(|word| word.len() > 1 && word.contains('|')) else {
        return vec![line.to_owned()];
    };
    word.trim_matches(['[', ']']).split('|').map(|one| line.replacen(word, one, 1)).collect()
}

/// Options of other programs that are spoken of.
const OF_OTHERS: &[&str] = &[
    "--",
    "--binary-mode",
    "--dbname",
    "--host",
    "--no-defaults",
    "--note",
    "--numeric-owner",
    "--sandbox",
    "--single-transaction",
    "--username",
    "--wal-method",
];

#[test]
fn every_option_that_is_spoken_of_is_one() {
    let mut ours: BTreeSet<String> = BTreeSet::new();
    let mut open = vec![Args::command()];
    while let Some(mut command) = open.pop() {
        command.build();
        ours.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")));
        open.extend(command.get_subcommands().cloned());
    }
    let mut unknown = BTreeSet::new();
    for (path, text) in texts().iter().filter(|(path, _)| !path.ends_with("advice_tests.rs")) {
        for paragraph in joined(path, text).split('\n') {
            for code in paragraph.split('`').skip(1).step_by(2).filter(|code| code.starts_with("--")) {
                let option = code.split([' ', '=', '[', ',']).next().unwrap_or_default();
                if !ours.contains(option) && !OF_OTHERS.contains(&option) {
                    unknown.insert(format!("{}: `{code}`", path.display()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.into_iter().collect::<Vec<_>>().join("\n"));
}

/// Words that are counted, and written behind a number.
const COUNTED: &str = "attempts artefacts backups bytes clusters copies databases days entries errors files findings folders holes hours \
    keys lines links members minutes moments months names objects objectives plans points problems references rows runs segments \
    seconds sources stages steps stores tables times warnings weeks windows years";

/// A number that is one has a noun that is one: where text has a number and a plural behind it, `plural` makes both. A constant is
/// what it is.
#[test]
fn no_message_says_one_things() {
    let words: BTreeSet<&str> = COUNTED.split_whitespace().collect();
    let is_number = |text: &str| !text.contains('"') && text.chars().any(|c| c.is_ascii_lowercase());
    let mut found = Vec::new();
    for (path, text) in texts() {
        let is_test = path.to_string_lossy().contains("test");
        if is_test
            || path.extension().is_none_or(|end| end != "rs")
            || path.ends_with("grammar/src/literal.rs")
        {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let behind = line.match_indices("} ").filter_map(|(at, _)| {
                let (before, rest) = (&line[..at], &line[at + 2..]);
                let placed = &before[before.rfind('{')? + 1..];
                let word = rest.split(|c: char| !c.is_ascii_alphabetic()).next()?;
                // An empty place may hold a constant, and a name: what stands there is looked for by hand.
                let is_it = words.contains(word) && (placed.is_empty() || is_number(placed));
                is_it.then(|| format!("{}: {}", path.display(), line.trim()))
            });
            found.extend(behind);
        }
    }
    // A limit, a second and further attempt, and words that are no numbers.
    let known = ["{most} bytes", "{made} attempts were made", "{level} runs", "\"on {} backups of"];
    found.retain(|line| !known.iter().any(|known| line.contains(known)));
    assert!(found.is_empty(), "use `plural`:\n{}", found.join("\n"));
}
