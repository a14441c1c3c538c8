//! What holds for every text, as functions that panic where it does not. The fuzz targets call them, and so does an
//! ordinary test of the compiler, with every text of the corpus.

#[path = "../../grammar/tests/grammar/outline.rs"]
#[allow(dead_code)]
mod outline;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use backplan_compiler::finding::Finding;
use backplan_compiler::graph::Occasion;
use backplan_compiler::lower::lower;
use backplan_compiler::model::{Level, Model};
use backplan_compiler::render::{to_dot, to_mermaid, to_yaml};
use backplan_compiler::sources::{Inputs, SourceFile, SourceSet};
use backplan_compiler::{compile, import_paths};

/// The line between the files of one text: the plan, and then libraries `a.plan`, `b.plan` and so on beside it.
const NEXT_FILE: &str = "#### next file\n";
const LIBRARIES: [&str; 3] = ["a.plan", "b.plan", "c.plan"];
/// Longer texts are cut: they find nothing that shorter ones do not, slowly.
const LONGEST: usize = 16 * 1024;

/// The text that bytes are taken for; `None` where they are none.
pub fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST)
}

/// The parser answers, and every place it names is a place in the text.
pub fn parse(text: &str) {
    let parsed = backplan_grammar::parse(text);
    for error in &parsed.errors {
        assert!(text.get(error.span.start..error.span.end).is_some(), "not a place in the text: {error:?}");
        assert!(!error.message.is_empty() && !error.name.is_empty(), "{error:?}");
    }
    for comment in &parsed.ast.comments {
        assert_eq!(text.get(comment.span.start..comment.span.end), Some(comment.node.as_str()));
    }
}

/// What has no error can be formatted, keeps its meaning and its comments, and is settled after once.
pub fn format(text: &str) {
    let parsed = backplan_grammar::parse(text);
    let formatted = backplan_grammar::format(text);
    assert_eq!(formatted.is_ok(), parsed.errors.is_empty());
    let Ok(once) = formatted else { return };
    let again = backplan_grammar::parse(&once);
    assert_eq!(again.errors, [], "formatted text has errors:\n{once}");
    assert_eq!(
        outline::items(&again.ast),
        outline::items(&parsed.ast),
        "formatting changed the meaning:\n{once}"
    );
    assert_eq!(comments(&again.ast), comments(&parsed.ast), "formatting changed the comments:\n{once}");
    assert_eq!(
        backplan_grammar::format(&once).as_ref(),
        Ok(&once),
        "formatting twice is not formatting once"
    );
}

fn comments(ast: &backplan_grammar::Ast) -> Vec<&str> {
    let mut comments: Vec<&str> = ast.comments.iter().map(|comment| comment.node.trim_end()).collect();
    comments.sort_unstable();
    comments
}

/// The compiler answers: findings have names and places, and a plan without errors becomes a graph of steps.
pub fn check(text: &str) {
    let set = set_of(text);
    let inputs = Inputs {
        params: BTreeMap::new(),
        env_params: BTreeMap::from([("site".into(), "web-01".into())]),
        home: Some("/home/user".into()),
    };
    let compiled = compile(&set, &inputs);
    for finding in &compiled.findings {
        sound(&set, finding);
    }
    if let Some(model) = compiled.model.as_ref().filter(|_| compiled.is_sound()) {
        steps(model);
    }
}

fn sound(set: &SourceSet, finding: &Finding) {
    assert!(!finding.message.is_empty(), "{finding:?}");
    assert!(backplan_compiler::codes::code(finding.name).is_some(), "{finding:?}");
    for label in std::iter::once(&finding.primary).chain(&finding.others) {
        let text = &set.file(label.place.file).text;
        assert!(text.get(label.place.span.start..label.place.span.end).is_some(), "{finding:?}");
    }
}

/// Every graph that the plan may be run by, and the pictures of it.
fn steps(model: &Model) {
    for level in [Level::Full, Level::Differential, Level::Incremental] {
        let occasion = Occasion {
            run: Some("00000042-20261120T023000Z-k7f3qa".into()),
            now: "2026-11-20T02:30:00Z".parse().ok(),
            host: Some("web-01".into()),
            reads: BTreeMap::new(),
            level: Some(level),
            only: BTreeSet::new(),
            not_due: BTreeSet::new(),
            rehearse: None,
        };
        if let Ok(graph) = lower(model, &occasion) {
            assert!(!to_yaml(&graph, model).is_empty());
            assert!(!to_dot(&graph, model).is_empty());
            assert!(!to_mermaid(&graph, model).is_empty());
        }
    }
}

/// The files that a text stands for; imports of any other are unreadable.
fn set_of(text: &str) -> SourceSet {
    let mut set = SourceSet::default();
    let mut wanted = Vec::new();
    for (name, text) in std::iter::once("site.plan").chain(LIBRARIES).zip(text.split(NEXT_FILE)) {
        let file = SourceFile {
            path: PathBuf::from("/etc/backplan").join(name),
            shown: name.to_owned(),
            text: text.to_owned(),
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
