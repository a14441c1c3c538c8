//! Names over files: where one is given, where it is used, and what changes when it is called otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::compile;
use backplan_compiler::finding::{Finding, Severity};
use backplan_compiler::import_paths;
use backplan_compiler::model::Model;
use backplan_compiler::schema::{KINDS, Kind, Ty};
use backplan_compiler::sources::{Inputs, SourceFile, SourceSet};
use backplan_grammar::{Span, parse};

use crate::files::{File, FileSet, Files};
use crate::mentions::{self, Declared, Meaning, Mention, Name};

/// A place in a file.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub file: Arc<File>,
    pub span: Span,
    /// Whether the name is given here.
    pub defines: bool,
}

/// The mention at a place of a file, read as part of the first plan that the file belongs to.
pub(crate) fn mention_at(files: &mut Files, path: &Path, offset: usize) -> Option<Mention> {
    let file = files.get(path).ok()?;
    let sets = files.plans_of(path);
    let declared = declared(&sets);
    mentions::at(&mentions::mentions(&file.source, &declared), offset).cloned()
}

/// The names that the files of these plans declare.
pub(crate) fn declared(sets: &[FileSet]) -> Declared {
    Declared::of(sets.iter().flat_map(|set| &set.files).map(|file| &file.source))
}

/// Every place that a name is mentioned at, in the files of every plan that shares one of them.
pub(crate) fn all_of(files: &mut Files, path: &Path, name: &Name) -> Vec<Found> {
    let mut found = BTreeMap::new();
    match name {
        Name::Bound { file, .. } => {
            let mut sharing = files.known();
            sharing.retain(|other| import_paths(&other.source).iter().any(|(path, _)| path == file));
            sharing.extend(files.get(file));
            // What stands in a set may be neither open nor below the workspace's folders.
            sharing.extend(files.plans_of(path).into_iter().flat_map(|set| set.files));
            let none = Declared::of(sharing.iter().map(|file| &file.source));
            for file in &sharing {
                collect(file, &none, name, &mut found);
            }
        }
        Name::Declared { .. } => {
            let mut waiting = vec![path.to_path_buf()];
            let mut seen = BTreeSet::new();
            while let Some(path) = waiting.pop() {
                if !seen.insert(path.clone()) {
                    continue;
                }
                let sets = files.plans_of(&path);
                let declared = declared(&sets);
                for file in sets.iter().flat_map(|set| &set.files) {
                    if collect(file, &declared, name, &mut found) {
                        waiting.push(file.path().to_path_buf());
                    }
                }
            }
        }
    }
    found.into_values().collect()
}

type Places = BTreeMap<(PathBuf, Span), Found>;

/// Adds the mentions of `name` in a file; whether there are any.
fn collect(file: &Arc<File>, declared: &Declared, name: &Name, found: &mut Places) -> bool {
    let mut any = false;
    for mention in mentions::mentions(&file.source, declared) {
        if matches!(&mention.meaning, Meaning::Name(other) if other == name) {
            let place = Found { file: Arc::clone(file), span: mention.span, defines: mention.defines };
            found.insert((file.path().to_path_buf(), mention.span), place);
            any = true;
        }
    }
    any
}

/// Where a name is to be changed, or why it cannot be: lower case, names in backticks.
pub(crate) fn renamed(
    files: &mut Files,
    inputs: &Inputs,
    path: &Path,
    name: &Name,
    new: &str,
) -> Result<Vec<Found>, String> {
    check_name(new)?;
    let found = all_of(files, path, name);
    if let Some(torn) = found.iter().find(|place| !place.file.source.parsed.errors.is_empty()) {
        let file = &torn.file.source.shown;
        return Err(format!(
            "`{file}` has a syntax error: what stands behind it is not known; mend it first"
        ));
    }
    if !found.iter().any(|place| place.defines) {
        return Err("it is declared in no file that can be read".into());
    }
    let touched: BTreeSet<PathBuf> = found.iter().map(|place| place.file.path().to_path_buf()).collect();
    let mut checked = BTreeSet::new();
    for path in touched {
        for set in files.plans_of(&path) {
            if set.root().is_some_and(|root| checked.insert(root.to_path_buf())) {
                keeps_sound(&set, inputs, &found, new)?;
            }
        }
    }
    Ok(found)
}

/// Whether a word can be a name.
fn check_name(new: &str) -> Result<(), String> {
    let is_word = new.starts_with(|c: char| c.is_ascii_lowercase())
        && new.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    // Words that mean a value, or begin an item, are told by the grammar.
    match parse(&format!("let {new} = 1\n")).errors.first() {
        None if is_word => Ok(()),
        _ => Err(format!("`{new}` cannot be a name: a small letter, then small letters, digits and `_`")),
    }
}

/// A plan must not have more errors than before, nor another meaning: where the name has one of its own, it would take
/// the place of what is meant now.
fn keeps_sound(set: &FileSet, inputs: &Inputs, found: &[Found], new: &str) -> Result<(), String> {
    let Some(before) = set.sources() else { return Ok(()) };
    let after = compile(&with(set, found, new), inputs);
    if let Some(message) = new_error(&before, &after.findings, inputs) {
        return Err(format!("it would break the plan: {message}"));
    }
    let is_new = !is_word(new) && !set.files.iter().any(|file| file.text().contains(new));
    if is_new || means_the_same(set, inputs, found, new, after.model.as_ref()) {
        return Ok(());
    }
    Err(format!("`{new}` means something else in this plan: it would no longer say what it says now"))
}

fn with(set: &FileSet, found: &[Found], new: &str) -> SourceSet {
    let mut after = SourceSet::default();
    for file in &set.files {
        after.add(changed(file, found, new));
    }
    after.unreadable.clone_from(&set.unreadable);
    after
}

/// Whether a word may stand for a value of the language.
fn is_word(word: &str) -> bool {
    let types = |kind: &'static Kind| kind.types.iter().flat_map(|ty| ty.attrs);
    let all = KINDS.iter().flat_map(|kind| kind.attrs.iter().chain(types(kind)));
    word == "all"
        || all.into_iter().any(|attr| match attr.ty {
            Ty::Keyword(words) | Ty::Keywords(words) => words.contains(&word),
            _ => false,
        })
}

/// Whether the plan says the same as with a name that nothing else can have.
fn means_the_same(set: &FileSet, inputs: &Inputs, found: &[Found], new: &str, after: Option<&Model>) -> bool {
    let is_free = |name: &String| !set.files.iter().any(|file| file.text().contains(name.as_str()));
    let Some(free) = (0..).map(|number| format!("renamed_{number}")).find(is_free) else { return false };
    let apart = compile(&with(set, found, &free), inputs).model;
    let said = |model: Option<&Model>| model.map(|model| without_places(&format!("{model:?}")));
    said(apart.as_ref()).map(|text| text.replace(&free, new)) == said(after)
}

/// A model in words without where anything is written.
fn without_places(text: &str) -> String {
    let mut parts = text.split("Span {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// What is wrong behind a change, and was not before it.
fn new_error(before: &SourceSet, after: &[Finding], inputs: &Inputs) -> Option<String> {
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    let after: Vec<&Finding> = after.iter().filter(is_error).collect();
    if after.is_empty() {
        return None;
    }
    let before = compile(before, inputs).findings;
    let count = |name: &str| before.iter().filter(is_error).filter(|finding| finding.name == name).count();
    let more = after.iter().find(|finding| {
        after.iter().filter(|other| other.name == finding.name).count() > count(finding.name)
    });
    more.map(|finding| finding.message.clone())
}

/// A file with the name changed.
fn changed(file: &File, found: &[Found], new: &str) -> SourceFile {
    let mut text = file.text().to_owned();
    let mut spans: Vec<Span> =
        found.iter().filter(|place| place.file.path() == file.path()).map(|place| place.span).collect();
    spans.sort_unstable();
    for span in spans.into_iter().rev() {
        text.replace_range(span.start..span.end, new);
    }
    let parsed = parse(&text);
    SourceFile { path: file.source.path.clone(), shown: file.source.shown.clone(), text, parsed }
}
