//! Exclusion patterns: can they match, do they leave anything, do they take anything back.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Check;
use crate::codes;
use crate::finding::{Edit, Finding};
use crate::model::{Files, FilesPath, Pattern};
use crate::pattern::{Found, Patterns, literal};

/// The exclusions of a source, for paths relative to an entry of `paths`.
pub(super) fn patterns_of(exclude: &[Pattern]) -> Patterns {
    Patterns::new(exclude.iter().map(|pattern| pattern.text.as_str()))
}

/// Whether `relative`, a folder, or a folder above it is left out.
pub(super) fn excludes(patterns: &Patterns, relative: &Path) -> bool {
    !relative.as_os_str().is_empty() && patterns.left_out(relative.as_os_str().as_bytes(), true).is_some()
}

/// Why a pattern does nothing, and how to mend it.
struct Useless {
    why: String,
    help: String,
    /// Patterns to write in its place, if that is the mend.
    instead: Option<Vec<String>>,
}

impl Useless {
    fn new(why: impl Into<String>, help: impl Into<String>) -> Useless {
        Useless { why: why.into(), help: help.into(), instead: None }
    }

    /// One that other patterns mend.
    fn write(why: impl Into<String>, patterns: Vec<String>) -> Useless {
        let shown: Vec<String> = patterns.iter().map(|pattern| format!("`{pattern}`")).collect();
        let help = match shown.as_slice() {
            [] => "delete it".to_owned(),
            [one] => format!("write {one}"),
            all => format!("write in its place, in this order: {}", all.join(", ")),
        };
        Useless { why: why.into(), help, instead: Some(patterns) }
    }
}

impl Check<'_> {
    pub(super) fn patterns(&mut self) {
        for source in &self.model.sources {
            let Some(files) = source.files() else { continue };
            if files.exclude.is_empty() {
                continue;
            }
            let all = patterns_of(&files.exclude);
            for (index, pattern) in files.exclude.iter().enumerate() {
                if let Some(useless) = why_useless(files, &all, index) {
                    let finding = self.useless(pattern, useless);
                    self.findings.push(finding);
                }
            }
            self.findings.extend(swallowed(files, &all, &source.name));
        }
    }

    fn useless(&self, pattern: &Pattern, useless: Useless) -> Finding {
        let message = format!("the pattern `{}` does nothing: {}", pattern.text, useless.why);
        let finding = Finding::new(&codes::USELESS_PATTERN, pattern.place, message).help(&useless.help);
        let Some(patterns) = useless.instead.filter(|patterns| !patterns.is_empty()) else { return finding };
        // Only where the text itself stands there, and not a name for it.
        let span = pattern.place.span;
        let found = self.set.file(pattern.place.file).text.get(span.start..span.end).unwrap_or_default();
        if ![quoted('"', &pattern.text), quoted('\'', &pattern.text)].iter().any(|text| text == found) {
            return finding;
        }
        let new: Vec<String> = patterns.iter().map(|pattern| string(pattern)).collect();
        let edit = Edit { place: pattern.place, old: found.to_owned(), new: new.join(", ") };
        finding.mend(useless.help, edit)
    }
}

fn quoted(quote: char, text: &str) -> String {
    format!("{quote}{text}{quote}")
}

/// `exclude` with a path below an entry of `paths`, as it is to be written.
pub(super) fn exclusion(relative: &Path) -> String {
    format!("`exclude = [{}]`", string(&format!("/{}", literal(&relative.to_string_lossy()))))
}

/// A pattern as a string of the language.
fn string(pattern: &str) -> String {
    match pattern.contains(['\\', '"', '$']) {
        true if !pattern.contains('\'') => quoted('\'', pattern),
        true => quoted('"', &pattern.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$")),
        false => quoted('"', pattern),
    }
}

/// Why a pattern does nothing, and how to mend it.
fn why_useless(files: &Files, all: &Patterns, index: usize) -> Option<Useless> {
    let text = &files.exclude[index].text;
    let bare = text.strip_prefix('!').unwrap_or(text);
    if bare.trim_end_matches(' ').is_empty() {
        return Some(Useless::write("it is empty", Vec::new()));
    }
    if text.starts_with('#') {
        return Some(Useless::write("with `#` in front it is a comment", vec![format!("\\{text}")]));
    }
    if bare.starts_with("~/") {
        let why = "`~` is no home in a pattern";
        return Some(Useless::new(why, "write it as it is below the entry of `paths`"));
    }
    if let Some(entry) = files.paths.iter().find(|entry| repeats(bare, entry)) {
        let why = "patterns begin below each entry of `paths`, and this one repeats the entry";
        let sign = if bare.len() < text.len() { "!" } else { "" };
        return Some(Useless::write(why, vec![format!("{sign}{}", below(bare, entry))]));
    }
    if all.matched_by(index) == Found::Nothing {
        return Some(matches_nothing(text, bare));
    }
    if text.starts_with('!') { why_not_taken_back(files, all, index) } else { None }
}

fn matches_nothing(text: &str, bare: &str) -> Useless {
    if let Some(rest) = bare.strip_prefix("./") {
        let sign = if bare.len() < text.len() { "!" } else { "" };
        let rest = rest.trim_start_matches('/');
        return Useless::write("paths do not begin with `.`", vec![format!("{sign}/{rest}")]);
    }
    if bare.split('/').any(|name| name == "..") {
        return Useless::new("a pattern cannot leave its path by `..`", "write it without `..`");
    }
    if bare.contains('[') {
        return Useless::new(
            "no name is like it: a `[` begins a class of letters that ends with `]`",
            "where the `[` itself is meant, write `\\[`, in single quotes",
        );
    }
    if bare.ends_with('\\') {
        return Useless::new(
            "a backslash at its end makes it incomplete",
            "where it is meant, write it twice",
        );
    }
    Useless::new("no path is like it", "delete it, or write it as paths are below an entry of `paths`")
}

/// Whether a pattern begins with an entry's own path, as if it were not anchored there.
fn repeats(bare: &str, entry: &FilesPath) -> bool {
    let relative = Path::new(bare.trim_start_matches('/'));
    let depth = entry.inside.components().count();
    depth > 0 && relative.components().count() > depth && relative.starts_with(&entry.inside)
}

fn below(bare: &str, entry: &FilesPath) -> String {
    let relative = Path::new(bare.trim_start_matches('/'));
    let rest = relative.strip_prefix(&entry.inside).unwrap_or(relative);
    let slash = if bare.ends_with('/') { "/" } else { "" };
    format!("/{}{slash}", rest.display())
}

/// Why the pattern at this place, one with `!`, takes nothing back from those before it.
fn why_not_taken_back(files: &Files, all: &Patterns, index: usize) -> Option<Useless> {
    let before = &files.exclude[..index];
    if before.iter().all(|pattern| pattern.text.starts_with('!')) {
        return Some(Useless::new(
            "nothing before it is left out",
            "put it behind the pattern it takes back from",
        ));
    }
    if all.taken_back_by(index) != Found::Nothing {
        return None;
    }
    let text = &files.exclude[index].text;
    if let Some((folder, patterns)) = through_folders(before, text) {
        let why = format!("the folder `{folder}` is left out, and what is in it is not looked at");
        return Some(Useless::write(why, patterns));
    }
    Some(Useless::new(
        "nothing that it matches is left out by those before it, unless with the folder that it is in",
        "delete it, or take back the folder as well",
    ))
}

/// The folder with which what `text` is to take back is left out, and patterns that take it back one folder at a time:
/// each folder on the way is taken back, and all else that is in it left out.
fn through_folders(before: &[Pattern], text: &str) -> Option<(String, Vec<String>)> {
    let bare = text.strip_prefix('!')?;
    let body = bare.trim_start_matches('/');
    if !bare.trim_end_matches('/').contains('/') {
        return None;
    }
    let names: Vec<&str> = body.trim_end_matches('/').split('/').collect();
    let literal_names = names.iter().take_while(|name| !name.contains(['*', '?', '[', '\\'])).count();
    let folders = literal_names.min(names.len() - 1);
    let patterns = Patterns::new(before.iter().map(|pattern| pattern.text.as_str()));
    let first = (1..=folders).find(|depth| {
        let folder = names[..*depth].join("/");
        patterns.verdict(folder.as_bytes(), true).is_left_out()
    })?;
    let mut instead = Vec::new();
    for depth in first..=folders {
        let folder = names[..depth].join("/");
        instead.extend([format!("!/{folder}/"), format!("/{folder}/*")]);
    }
    instead.push(text.to_owned());
    // What is advised works, or it is not advised.
    let advised =
        before.iter().map(|pattern| pattern.text.as_str()).chain(instead.iter().map(String::as_str));
    let advised = Patterns::new(advised);
    let last = before.len() + instead.len() - 1;
    matches!(advised.taken_back_by(last), Found::Path(_)).then(|| (names[..first].join("/"), instead))
}

/// Whether the exclusions leave no file of any path.
fn swallowed(files: &Files, all: &Patterns, name: &str) -> Option<Finding> {
    if all.left() != Found::Nothing {
        return None;
    }
    let alone =
        files.exclude.iter().find(|pattern| Patterns::new([pattern.text.as_str()]).left() == Found::Nothing);
    let takes_in = files.exclude.iter().any(|pattern| pattern.text.starts_with('!'));
    let (pattern, what) = match alone {
        Some(pattern) if !takes_in => (pattern, format!("the pattern `{}` leaves", pattern.text)),
        _ => (files.exclude.last()?, "these patterns together leave".to_owned()),
    };
    let message = format!("{what} no file of source `{name}`");
    let finding = Finding::new(&codes::SWALLOWED_PATH, pattern.place, message)
        .help("name what is to be left out, or take files back with `!` behind it, each with the folders that it is in");
    Some(files.paths.iter().fold(finding, |finding, path| finding.with(path.place, "nothing of it is left")))
}
