//! Texts to compilations, and findings to text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use backplan_compiler::finding::{Edit, Finding, Label, Mend};
use backplan_compiler::model::Model;
use backplan_compiler::sources::{Inputs, SourceFile, SourceSet};
use backplan_compiler::{Compiled, compile, import_paths};
use backplan_grammar::Span;

/// The folder that test plans are said to be in.
pub const FOLDER: &str = "/etc/backplan";

/// A source set of these files by name, the plan first; what they import and is not there is unreadable.
pub fn set_of(files: &[(&str, &str)]) -> SourceSet {
    let mut set = SourceSet::default();
    let mut wanted = Vec::new();
    for (name, text) in files {
        let file = SourceFile {
            path: PathBuf::from(FOLDER).join(name),
            shown: (*name).to_owned(),
            text: (*text).to_owned(),
            parsed: backplan_grammar::parse(text),
        };
        wanted.extend(import_paths(&file).into_iter().map(|(path, _)| path));
        set.add(file);
    }
    for path in wanted {
        if set.find(&path).is_none() {
            set.unreadable.insert(path, "no such file".into());
        }
    }
    set
}

/// Inputs of a user with a home and these `-p`.
pub fn inputs(params: &[(&str, &str)]) -> Inputs {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Inputs { params, env_params: BTreeMap::new(), home: Some("/home/user".into()) }
}

/// Compiles these files.
pub fn compile_files(files: &[(&str, &str)]) -> (SourceSet, Compiled) {
    let set = set_of(files);
    let compiled = compile(&set, &inputs(&[]));
    (set, compiled)
}

/// The plan's text after a mend was made, as an editor makes it: in a string without its quotes.
pub fn applied(set: &SourceSet, mend: &Mend) -> String {
    let root = set.root();
    let mut text = set.file(root).text.clone();
    let mut edits: Vec<&Edit> = mend.edits.iter().collect();
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.place.span.start));
    for edit in edits {
        assert_eq!(edit.place.file, root, "a mend of another file");
        let Span { start, end } = edit.place.span;
        let found = &text[start..end];
        let inside = |quote: char| found.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let range = if found == edit.old {
            start..end
        } else {
            assert_eq!(inside('"').or(inside('\'')), Some(edit.old.as_str()), "{mend:?} in\n{text}");
            start + 1..end - 1
        };
        text.replace_range(range, &edit.new);
    }
    text
}

/// Findings as text, one below the other.
pub fn shown(set: &SourceSet, findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        let _ = writeln!(out, "{severity}[{}] {}", finding.name, finding.message);
        let _ = writeln!(out, "  at {}", label(set, &finding.primary));
        for other in &finding.others {
            let _ = writeln!(out, "  vs {}", label(set, other));
        }
        if let Some(help) = &finding.help {
            let _ = writeln!(out, "  mend: {help}");
        }
    }
    out
}

fn label(set: &SourceSet, label: &Label) -> String {
    let file = set.file(label.place.file);
    let before = &file.text[..label.place.span.start];
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1;
    let text = file.text[label.place.span.start..label.place.span.end].replace('\n', "⏎");
    let words = if label.text.is_empty() { String::new() } else { format!(" ({})", label.text) };
    format!("{}:{line}:{column} `{text}`{words}", file.shown)
}

/// A model as text, without the places things were written at.
pub fn placeless(model: &Model) -> String {
    let mut out = String::new();
    let mut depth: Option<usize> = None;
    for line in format!("{model:#?}").lines() {
        let indent = line.len() - line.trim_start().len();
        match depth {
            Some(outer) if indent > outer => continue,
            // The closing brace of the place.
            Some(_) => depth = None,
            None if line.trim_start().starts_with("place: Place") => depth = Some(indent),
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}
