//! What the patterns of two sources leave out of one folder: a text alone tells nothing, as it is anchored at an entry of
//! `paths` and a later pattern overrules an earlier one.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::model::Files;
use crate::pattern::{Patterns, Verdict};

/// How a source sees a path.
pub(super) struct Seen<'a> {
    /// The entry of `paths` at which patterns are anchored there.
    pub anchor: &'a Path,
    /// The pattern that keeps it from being read.
    pub left_out: Option<LeftOut>,
}

/// A pattern that leaves out a path.
pub(super) struct LeftOut {
    /// As written.
    pub pattern: String,
    /// Whether it does so whether the path is a folder or a file.
    pub certain: bool,
}

/// How a source sees a path; `None`: no entry of `paths` holds it.
pub(super) fn seen<'a>(files: &'a Files, path: &Path) -> Option<Seen<'a>> {
    let above = files.paths.iter().map(|entry| entry.absolute.as_path());
    let anchor =
        above.filter(|entry| path.starts_with(entry)).max_by_key(|entry| entry.components().count())?;
    let relative = path.strip_prefix(anchor).ok()?;
    let patterns = Patterns::new(files.exclude.iter().map(|pattern| pattern.text.as_str()));
    // A folder that is left out takes with it all that is below.
    let mut folders: Vec<&Path> =
        relative.ancestors().filter(|folder| !folder.as_os_str().is_empty()).collect();
    folders.reverse();
    let left_out = folders.iter().find_map(|folder| {
        let by = |is_folder: bool| match patterns.verdict(folder.as_os_str().as_bytes(), is_folder) {
            Verdict::LeftOut(at) => Some(files.exclude[at].text.clone()),
            _ => None,
        };
        let (as_folder, as_file) = (by(true), by(false));
        let certain = as_folder.is_some() && (as_file.is_some() || *folder != relative);
        let pattern = if *folder == relative { as_folder.or(as_file) } else { as_folder };
        pattern.map(|pattern| LeftOut { pattern, certain })
    });
    Some(Seen { anchor, left_out })
}

/// A pattern as it works below a folder.
pub(super) struct Rule<'a> {
    /// Whether it begins with `!`.
    takes_in: bool,
    /// What it matches below that folder: equal texts match the same.
    works: String,
    /// As written, without `!`.
    written: &'a str,
}

/// The patterns of a source, anchored at `anchor`, that can match something below `folder`.
pub(super) fn rules<'a>(files: &'a Files, anchor: &Path, folder: &Path) -> Vec<Rule<'a>> {
    let relative = folder.strip_prefix(anchor).unwrap_or(Path::new(""));
    let texts = files.exclude.iter().map(|pattern| pattern.text.as_str());
    let rules = texts.filter_map(|text| {
        let written = text.strip_prefix('!').unwrap_or(text);
        let works = below(written, anchor, relative)?;
        Some(Rule { takes_in: text.starts_with('!'), works, written })
    });
    rules.collect()
}

/// What is left of a pattern below a folder; `None`: it matches nothing there.
fn below(written: &str, anchor: &Path, relative: &Path) -> Option<String> {
    if written.trim().is_empty() || written.starts_with('#') {
        return None;
    }
    let (body, slash) = written.strip_suffix('/').map_or((written, ""), |body| (body, "/"));
    if !body.contains('/') {
        return Some(written.to_owned());
    }
    let mut parts = body.trim_start_matches('/').split('/');
    for name in relative {
        let part = parts.next()?;
        if part == "**" {
            // It is like no pattern that is anchored elsewhere.
            return Some(format!("{}: {written}", anchor.display()));
        }
        if !matches(&format!("/{part}"), Path::new(name)) {
            return None;
        }
    }
    let rest: Vec<&str> = parts.collect();
    (!rest.is_empty()).then(|| format!("/{}{slash}", rest.join("/")))
}

/// What other patterns do to what is read.
pub(super) enum Shift<'a> {
    /// What matches is no longer read.
    LeftOut(&'a str),
    /// What matches is no longer taken in again.
    NotTakenIn(&'a str),
    /// What matches the first is no longer taken in again, as the second stands behind it.
    Overruled(&'a str, &'a str),
    /// What matches is read from now on.
    TakenIn(&'a str),
}

/// What becomes of a folder when the rules below it become others.
pub(super) fn shifts<'a>(old: &[Rule<'a>], new: &[Rule<'a>]) -> Vec<Shift<'a>> {
    // The last of two equal ones decides.
    let at = |rules: &[Rule<'a>], rule: &Rule<'a>| {
        rules.iter().rposition(|other| other.takes_in == rule.takes_in && other.works == rule.works)
    };
    let meets = |rule: &Rule<'a>, others: &[Rule<'a>]| {
        others.iter().any(|other| other.takes_in != rule.takes_in && may_meet(other, rule))
    };
    let mut shifts = Vec::new();
    for (place, rule) in new.iter().enumerate().filter(|(_, rule)| at(old, rule).is_none()) {
        match rule.takes_in {
            false => shifts.push(Shift::LeftOut(rule.written)),
            true if meets(rule, &new[..place]) => shifts.push(Shift::TakenIn(rule.written)),
            true => {}
        }
    }
    for rule in old.iter().filter(|rule| at(new, rule).is_none()) {
        match rule.takes_in {
            false => shifts.push(Shift::TakenIn(rule.written)),
            true if meets(rule, new) => shifts.push(Shift::NotTakenIn(rule.written)),
            true => {}
        }
    }
    for takes in old.iter().filter(|rule| rule.takes_in) {
        for leaves in old.iter().filter(|rule| !rule.takes_in && may_meet(rule, takes)) {
            let (Some(then), Some(now)) =
                (at(old, takes).zip(at(old, leaves)), at(new, takes).zip(at(new, leaves)))
            else {
                continue;
            };
            match (then.0 > then.1, now.0 > now.1) {
                (true, false) => shifts.push(Shift::Overruled(takes.written, leaves.written)),
                (false, true) => shifts.push(Shift::TakenIn(takes.written)),
                _ => {}
            }
        }
    }
    shifts
}

/// Whether two patterns may match one file or folder: its name must suit the last part of both.
fn may_meet(one: &Rule<'_>, two: &Rule<'_>) -> bool {
    let last = |rule: &Rule<'_>| {
        let body = rule.works.trim_end_matches('/');
        body.rsplit('/').next().unwrap_or(body).to_owned()
    };
    let literal = |name: &str| !name.contains(['*', '?', '[', '\\']);
    let (one, two) = (last(one), last(two));
    if literal(&two) {
        return matches(&one, Path::new(&two));
    }
    !literal(&one) || matches(&two, Path::new(&one))
}

fn matches(pattern: &str, path: &Path) -> bool {
    Patterns::new([pattern]).verdict(path.as_os_str().as_bytes(), true).is_left_out()
}
