//! Exclusion patterns: can they be read, can they match, do they leave anything.

use std::path::{Component, Path};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Check;
use crate::codes;
use crate::finding::Finding;
use crate::model::{Files, FilesPath, Pattern, SourceKind};

/// Names as no one gives them: a pattern that takes all of them takes everything.
const STRANGE_NAMES: [&str; 8] =
    ["qzx7qzx7", ".qzx7qzx7", "qzx7.qzx7qzx7", "QZX7", "7qzx", "_qzx7", "~qzx7", "\u{fc}7 qzx"];

/// The exclusions of a source as a matcher of paths relative to an entry of `paths`. Patterns that cannot be read are
/// left out.
pub(super) fn matcher(patterns: &[Pattern]) -> Gitignore {
    let mut builder = GitignoreBuilder::new(".");
    for pattern in patterns {
        // A pattern that fails leaves the builder as it was; `check_pattern` tells of it.
        let _ = builder.add_line(None, &pattern.text);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

/// Whether `relative`, a folder, or a folder above it is left out.
pub(super) fn excludes(matcher: &Gitignore, relative: &Path) -> bool {
    let mut path = std::path::PathBuf::new();
    relative.components().any(|component| {
        path.push(component);
        matcher.matched(&path, true).is_ignore()
    })
}

impl Check<'_> {
    pub(super) fn patterns(&mut self) {
        for source in &self.model.sources {
            let SourceKind::Files(files) = &source.kind else { continue };
            for (index, pattern) in files.exclude.iter().enumerate() {
                self.findings.extend(check_pattern(files, index, pattern));
            }
            self.findings.extend(swallowed(files, &source.name));
        }
    }
}

fn check_pattern(files: &Files, index: usize, pattern: &Pattern) -> Option<Finding> {
    let mut builder = GitignoreBuilder::new(".");
    if let Err(error) = builder.add_line(None, &pattern.text) {
        let message = format!("the pattern `{}` cannot be read: {error}", pattern.text);
        let help = "a backslash takes the meaning from the character behind it: `\\[`";
        return Some(Finding::new(&codes::BAD_PATTERN, pattern.place, message).help(help));
    }
    let (why, help) = why_useless(files, index, &pattern.text)?;
    let message = format!("the pattern `{}` can never match: {why}", pattern.text);
    Some(Finding::new(&codes::USELESS_PATTERN, pattern.place, message).help(help))
}

/// Why a pattern cannot match, and how to mend it.
fn why_useless(files: &Files, index: usize, text: &str) -> Option<(String, String)> {
    let bare = text.strip_prefix('!').unwrap_or(text);
    let path = Path::new(bare);
    if bare.trim().is_empty() {
        return Some(("it is empty".into(), "delete it".into()));
    }
    if text.starts_with('#') {
        return Some(("with `#` in front it is a comment".into(), format!("write `\\{text}`")));
    }
    if bare.starts_with("./") {
        return Some(("paths do not begin with `.`".into(), format!("write `{}`", &bare[1..])));
    }
    if bare.starts_with("~/") {
        let why = "`~` is no home in a pattern".to_owned();
        return Some((why, "write it as it is below the entry of `paths`".into()));
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return Some(("a pattern cannot leave its path by `..`".into(), "write it without `..`".into()));
    }
    if let Some(entry) = files.paths.iter().find(|entry| repeats(bare, entry)) {
        let why = "patterns begin below each entry of `paths`, and this one repeats the entry";
        return Some((why.into(), format!("write `{}`", below(bare, entry))));
    }
    if text.starts_with('!') { why_not_taken_back(&files.exclude[..index], bare) } else { None }
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

/// Why `!bare` takes nothing back from the patterns before it.
fn why_not_taken_back(before: &[Pattern], bare: &str) -> Option<(String, String)> {
    if before.iter().all(|pattern| pattern.text.starts_with('!')) {
        return Some((
            "nothing before it is left out".into(),
            "put it behind the pattern it takes back from".into(),
        ));
    }
    let literal = bare.trim_start_matches('/').trim_end_matches('/');
    let anchored = bare.trim_end_matches('/').contains('/');
    if !anchored || literal.contains(['*', '?', '[', '\\']) {
        return None;
    }
    let folder = Path::new(literal).parent().filter(|folder| !folder.as_os_str().is_empty())?;
    let why = format!("its folder `{}` is left out, and what is in it is not looked at", folder.display());
    let help = format!("leave out `/{}/*` instead, then take back", folder.display());
    excludes(&matcher(before), folder).then_some((why, help))
}

/// Whether the exclusions leave nothing of any path.
fn swallowed(files: &Files, name: &str) -> Option<Finding> {
    if files.exclude.iter().any(|pattern| pattern.text.starts_with('!')) {
        return None;
    }
    let alone = files.exclude.iter().find(|pattern| swallows(std::slice::from_ref(pattern)));
    let (pattern, what) = match alone {
        Some(pattern) => (pattern, format!("the pattern `{}` leaves", pattern.text)),
        None if swallows(&files.exclude) => {
            (files.exclude.last()?, "these patterns together leave".to_owned())
        }
        None => return None,
    };
    let message = format!("{what} nothing of source `{name}`");
    let finding = Finding::new(&codes::SWALLOWED_PATH, pattern.place, message)
        .help("name what is to be left out, or take something back with `!`");
    Some(files.paths.iter().fold(finding, |finding, path| finding.with(path.place, "nothing of it is left")))
}

fn swallows(patterns: &[Pattern]) -> bool {
    let matcher = matcher(patterns);
    STRANGE_NAMES
        .iter()
        .all(|name| matcher.matched(name, false).is_ignore() && matcher.matched(name, true).is_ignore())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use backplan_grammar::Span;

    use super::{excludes, matcher, swallows};
    use crate::model::Pattern;
    use crate::sources::{FileId, Place};

    fn pattern(text: &str) -> Pattern {
        Pattern { place: Place { file: FileId(0), span: Span::new(0, 0) }, text: text.into() }
    }

    #[test]
    fn what_takes_everything_is_seen() {
        for text in ["*", "**", "/*", "/**", "**/*"] {
            assert!(swallows(&[pattern(text)]), "{text}");
        }
        for text in ["*.tmp", "/a", "*/", "a/**"] {
            assert!(!swallows(&[pattern(text)]), "{text}");
        }
        let together = |texts: &[&str]| swallows(&texts.iter().map(|text| pattern(text)).collect::<Vec<_>>());
        assert!(together(&[".*", "[!.]*"]));
        assert!(together(&["*.tmp", "/*"]));
        assert!(!together(&[".*", "*.*", "[a-z]*"]));
    }

    #[test]
    fn a_folder_is_out_with_the_folder_above_it() {
        let out = |text: &str, path: &str| excludes(&matcher(&[pattern(text)]), Path::new(path));
        assert!(out("backup/", "a/backup/daily"));
        assert!(out("/a", "a/backup"));
        assert!(!out("/backup", "a/backup"));
    }
}
