//! What becomes of the paths of a `files` source: each is followed to whoever reads it in the new plan.

use std::path::Path;

use super::super::{Change, listed};
use super::patterns::{LeftOut, Shift, rules, seen, shifts};
use crate::diff::Consequence;
use crate::diff::Weight;
use crate::diff::describe::size;
use crate::diff::reach;
use crate::model::{Files, Model, Source, SourceId, SourceKind};

/// What becomes of a folder that a source read.
enum Fate<'a> {
    /// The same source reads it.
    Kept,
    /// Other sources read it.
    Moved(Vec<SourceId>),
    /// A source that could read it leaves it out.
    LeftOut(&'a str, LeftOut),
    /// Only parts of it are read.
    Narrowed(Vec<&'a Path>),
    /// Nobody reads it.
    Gone,
}

impl<'a> Change<'a> {
    pub(super) fn files(&mut self, old: SourceId, new: SourceId) {
        let (Some(before), Some(after)) = (files_of(self.old, old), files_of(self.new, new)) else { return };
        let name = &self.new.source(new).name;
        let told = self.found.len();
        self.paths(old, Some(new), true);
        for path in after.paths.iter().map(|path| path.absolute.as_path()) {
            if seen(before, path).is_none_or(|seen| seen.left_out.is_some()) {
                self.better("path_added", format!("source `{name}` reads `{}` as well", path.display()));
            }
        }
        for (weight, what) in limits(before, after) {
            self.once(reading(weight, format!("source `{name}` {what}")));
        }
        if self.found[told..].iter().any(is_less) {
            let text = format!(
                "where less than half of what `{name}` had is left by that, the next run tells of a loss, and its last run from before \
                 stays for 30 days: what is right so is said behind it by `plan prune FILE --accept {name}`"
            );
            self.change("told_as_lost", text);
        }
        if before.compare != after.compare {
            self.change(
                "compare_changed",
                format!("source `{name}` notices changes in another way: all of it is read once more"),
            );
        }
    }

    /// Whether a source that no other replaces is read by others all the same, in whole or in part: then that is told.
    pub(super) fn files_merged(&mut self, old: SourceId) -> bool {
        let Some(files) = files_of(self.old, old) else { return false };
        let fates: Vec<Fate<'a>> = files.paths.iter().map(|path| self.fate(None, &path.absolute)).collect();
        if fates.iter().all(|fate| matches!(fate, Fate::Gone)) {
            return false;
        }
        let is_merged = fates.iter().all(|fate| matches!(fate, Fate::Moved(_)));
        if is_merged {
            let mut readers: Vec<&str> = fates
                .iter()
                .filter_map(|fate| match fate {
                    Fate::Moved(readers) => readers.first().map(|id| self.new.source(*id).name.as_str()),
                    _ => None,
                })
                .collect();
            readers.sort_unstable();
            readers.dedup();
            let text = format!(
                "source `{}` is gone, and its paths are read by {}: they are taken whole by the next run, and earlier \
                 backups hold them under the old name",
                self.old.source(old).name,
                listed(&readers)
            );
            self.change("source_merged", text);
        }
        self.paths(old, None, !is_merged);
        true
    }

    /// Tells of every path of a source, and of the parts of it at which patterns are anchored anew.
    fn paths(&mut self, old: SourceId, heir: Option<SourceId>, tells_moves: bool) {
        let Some(files) = files_of(self.old, old) else { return };
        for path in files.paths.iter().map(|path| path.absolute.as_path()) {
            let fate = self.fate(heir, path);
            self.path(old, path, &fate, tells_moves);
            let tells_moves = !matches!(fate, Fate::Kept | Fate::Moved(_));
            for inner in self.inner(old, heir, path, &fate) {
                let fate = self.fate(heir, inner);
                self.path(old, inner, &fate, tells_moves);
            }
        }
    }

    /// The entries of new sources below a path, as far as they read what the old source read there.
    fn inner(&self, old: SourceId, heir: Option<SourceId>, path: &Path, fate: &Fate<'a>) -> Vec<&'a Path> {
        let Some(before) = files_of(self.old, old) else { return Vec::new() };
        let readers = match (fate, heir.and_then(|id| files_of(self.new, id))) {
            (Fate::Kept, Some(files)) => vec![files],
            _ => self.readers(path).map(|(_, files)| files).collect(),
        };
        let entries =
            readers.into_iter().flat_map(|files| &files.paths).map(|entry| entry.absolute.as_path());
        let was_read = |inner: &Path| {
            seen(before, inner).is_some_and(|seen| seen.anchor == path && seen.left_out.is_none())
        };
        let mut inner: Vec<&'a Path> = entries.filter(|entry| *entry != path && was_read(entry)).collect();
        inner.sort_unstable();
        inner.dedup();
        inner
    }

    fn fate(&self, heir: Option<SourceId>, path: &Path) -> Fate<'a> {
        let by_heir = heir.and_then(|id| Some((id, seen(files_of(self.new, id)?, path)?.left_out)));
        // Who read it before is named before others.
        let mut left_out = match by_heir {
            Some((_, None)) => return Fate::Kept,
            Some((id, Some(by))) => Some((id, by)),
            None => None,
        };
        let (mut moved, mut parts) = (Vec::new(), Vec::new());
        for (id, files) in self.readers(path) {
            let entries = files.paths.iter().map(|entry| entry.absolute.as_path());
            parts.extend(entries.filter(|entry| entry.starts_with(path)));
            match seen(files, path).map(|seen| seen.left_out) {
                Some(None) => moved.push(id),
                Some(Some(by)) if left_out.is_none() => left_out = Some((id, by)),
                _ => {}
            }
        }
        parts.sort_unstable();
        parts.dedup();
        match left_out {
            _ if !moved.is_empty() => Fate::Moved(moved),
            Some((id, by)) => Fate::LeftOut(&self.new.source(id).name, by),
            None if parts.is_empty() => Fate::Gone,
            None => Fate::Narrowed(parts),
        }
    }

    /// The sources of the new plan that may read something of a path.
    fn readers(&self, path: &Path) -> impl Iterator<Item = (SourceId, &'a Files)> {
        let new = self.new;
        (0..new.sources.len()).map(SourceId).filter_map(move |id| {
            let files = files_of(new, id)?;
            let mut entries = files.paths.iter().map(|entry| &entry.absolute);
            let is_near = entries.any(|entry| path.starts_with(entry) || entry.starts_with(path));
            is_near.then_some((id, files))
        })
    }

    fn path(&mut self, old: SourceId, path: &Path, fate: &Fate<'a>, tells_move: bool) {
        let (name, shown) = (&self.old.source(old).name, path.display());
        match fate {
            Fate::Kept => {
                if let Some(heir) = self.heir(old) {
                    let subject = format!("source `{}`", self.new.source(heir).name);
                    for one in self.filtered(old, heir, path, &subject) {
                        self.once(one);
                    }
                }
            }
            Fate::Moved(readers) => self.moved(old, readers, path, tells_move),
            Fate::LeftOut(reader, by) => {
                let verb = if by.certain { "is" } else { "may be" };
                let text =
                    format!("`{shown}` of source `{name}` {verb} left out by `{}` of `{reader}`", by.pattern);
                self.danger("left_out", text);
            }
            Fate::Narrowed(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| part.display().to_string()).collect();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let text = format!("of `{shown}` of source `{name}` only {} is backed up", listed(&parts));
                self.danger("path_removed", text);
            }
            Fate::Gone => {
                self.danger("path_removed", format!("`{shown}` of source `{name}` is no longer backed up"));
            }
        }
    }

    /// A path that other sources read now: what they leave out of it, and where they bring it.
    fn moved(&mut self, old: SourceId, readers: &[SourceId], path: &Path, tells: bool) {
        let (name, shown) = (&self.old.source(old).name, path.display());
        let Some(before) = files_of(self.old, old) else { return };
        let losses = |reader: SourceId| {
            let subject = format!(
                "source `{}`, which reads `{shown}` instead of `{name}`,",
                self.new.source(reader).name
            );
            let limits = files_of(self.new, reader).map(|after| limits(before, after)).unwrap_or_default();
            let limits =
                limits.into_iter().map(|(weight, what)| reading(weight, format!("{subject} {what}")));
            let all = self.filtered(old, reader, path, &subject).into_iter().chain(limits);
            all.filter(|one| one.weight == Weight::Danger).collect::<Vec<_>>()
        };
        let all: Vec<(SourceId, Vec<Consequence>)> = readers.iter().map(|id| (*id, losses(*id))).collect();
        let Some(fewest) = all.iter().map(|(_, losses)| losses.len()).min() else { return };
        let best: Vec<_> = all.into_iter().filter(|(_, losses)| losses.len() == fewest).collect();
        if tells {
            let names: Vec<&str> = best.iter().map(|(id, _)| self.new.source(*id).name.as_str()).collect();
            let text = format!("`{shown}` is now read by {} and no longer by `{name}`", listed(&names));
            self.change("path_moved", text);
        }
        let mut after = std::collections::BTreeMap::new();
        for (store, held) in best.iter().flat_map(|(id, _)| reach::of(self.new, *id)) {
            after.entry(store).or_insert(held).encrypted &= held.encrypted;
        }
        self.copies(&format!("`{shown}` of source `{name}`"), &self.held_before(old), &after);
        for one in best.into_iter().take(1).flat_map(|(_, losses)| losses) {
            self.once(one);
        }
    }

    /// What `reader` leaves out or takes in of a path, compared with the source that read it before.
    fn filtered(&self, old: SourceId, reader: SourceId, path: &Path, subject: &str) -> Vec<Consequence> {
        let (Some(before), Some(after)) = (files_of(self.old, old), files_of(self.new, reader)) else {
            return Vec::new();
        };
        let (Some(then), Some(now)) = (seen(before, path), seen(after, path)) else { return Vec::new() };
        let all = shifts(&rules(before, then.anchor, path), &rules(after, now.anchor, path));
        let mut told: Vec<Consequence> = all
            .iter()
            .map(|shift| match shift {
                Shift::LeftOut(text) => match self.left_to(old, reader, now.anchor, text) {
                    Some(left) => Consequence::change("path_moved", format!("{subject} leaves {left}")),
                    None => shown(shift, subject, then.anchor, now.anchor),
                },
                _ => shown(shift, subject, then.anchor, now.anchor),
            })
            .collect();
        if before.one_file_system && after.one_file_system && then.anchor == path && now.anchor != path {
            let text = format!(
                "{subject} leaves out `{}` if it is another file system than `{}`",
                path.display(),
                now.anchor.display()
            );
            told.push(Consequence::danger("left_out", text));
        }
        told
    }

    /// What a pattern leaves out though another source reads all of it, and brings it to the same stores, in words; `None`: that is
    /// not so, as far as the pattern tells.
    fn left_to(&self, old: SourceId, reader: SourceId, anchor: &Path, pattern: &str) -> Option<String> {
        let path = anchor.join(literal(pattern)?);
        let before = files_of(self.old, old)?;
        let held = self.held_before(old);
        let reaches = |other: SourceId| {
            let now = reach::of(self.new, other);
            held.iter().all(|(store, was)| now.get(store).is_some_and(|is| is.encrypted || !was.encrypted))
        };
        let reads_all = |(other, files): &(SourceId, &Files)| {
            let is_seen = seen(files, &path).is_some_and(|seen| seen.left_out.is_none());
            let loses = limits(before, files).iter().any(|(weight, _)| *weight == Weight::Danger);
            let lacks =
                || self.filtered(old, *other, &path, "").iter().any(|one| one.weight == Weight::Danger);
            *other != reader && is_seen && !loses && reaches(*other) && !lacks()
        };
        let (other, _) = self.readers(&path).find(reads_all)?;
        Some(format!("`{}` to `{}`", path.display(), self.new.source(other).name))
    }

    /// What several paths have in common is told once.
    fn once(&mut self, consequence: Consequence) {
        if !self.found.contains(&consequence) {
            self.found.push(consequence);
        }
    }
}

/// What other patterns do to what `subject` reads, whose patterns were anchored at one folder and are at another.
fn shown(shift: &Shift<'_>, subject: &str, then: &Path, now: &Path) -> Consequence {
    let below = |anchor: &Path| match then == now {
        true => String::new(),
        false => format!(" below `{}`", anchor.display()),
    };
    let (weight, what) = match shift {
        Shift::LeftOut(text) => (Weight::Danger, format!("leaves out what matches `{text}`{}", below(now))),
        Shift::NotTakenIn(text) => {
            (Weight::Danger, format!("no longer takes in again what matches `{text}`{}", below(then)))
        }
        Shift::Overruled(text, by) => (
            Weight::Danger,
            format!("no longer takes in again what matches `{text}`: `{by}` stands behind it"),
        ),
        Shift::TakenIn(text) => (Weight::Better, format!("takes in what matches `{text}`{}", below(then))),
    };
    reading(weight, format!("{subject} {what}"))
}

/// Whether a source holds less by it.
fn is_less(consequence: &Consequence) -> bool {
    matches!(consequence.name, "left_out" | "path_removed" | "path_moved")
}

/// The one path that a pattern can match, from where it is anchored; `None`: it may match several.
fn literal(pattern: &str) -> Option<&str> {
    let body = pattern.strip_suffix('/').unwrap_or(pattern);
    let is_one = body.contains('/') && !body.contains(['*', '?', '[', '\\']) && body.trim_end() == body;
    let path = body.trim_start_matches('/');
    let is_plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (is_one && is_plain).then_some(path)
}

/// What a source leaves out or takes in, whatever its path: with the words that go behind its name.
fn limits(old: &Files, new: &Files) -> Vec<(Weight, String)> {
    let mut found = Vec::new();
    let limit = |files: &Files| files.max_file_size.unwrap_or(u64::MAX);
    if limit(new) < limit(old) {
        found.push((Weight::Danger, format!("leaves out files larger than {}", size(limit(new)))));
    } else if limit(new) > limit(old) {
        found.push((Weight::Better, "takes in larger files than before".to_owned()));
    }
    let mut flag = |before: bool, after: bool, what: &str| match (before, after) {
        (false, true) => found.push((Weight::Danger, format!("leaves out {what}"))),
        (true, false) => found.push((Weight::Better, format!("takes in {what}"))),
        _ => {}
    };
    flag(old.exclude_caches, new.exclude_caches, "folders with a `CACHEDIR.TAG`");
    flag(old.one_file_system, new.one_file_system, "other file systems mounted below");
    found
}

fn reading(weight: Weight, text: String) -> Consequence {
    let name = if weight == Weight::Danger { "left_out" } else { "taken_in" };
    Consequence { weight, name, text }
}

fn files_of(model: &Model, id: SourceId) -> Option<&Files> {
    match model.source(id) {
        Source { kind: SourceKind::Files(files), .. } => Some(files),
        _ => None,
    }
}
