//! What becomes of sources.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Change, copies, find, listed, stores, words};
use crate::diff::describe::{size, span};
use crate::diff::reach;
use crate::diff::times::gap;
use crate::model::{Files, Postgres, Source, SourceId, SourceKind};

impl<'a> Change<'a> {
    pub(super) fn sources(&mut self) {
        let (old, new) = (self.old, self.new);
        let there = |source: &Source| find(&new.sources, &source.name, |source| &source.name);
        for (at, _) in old.sources.iter().enumerate().filter(|(_, source)| there(source).is_none()) {
            self.source_gone(SourceId(at));
        }
        for (at, source) in old.sources.iter().enumerate() {
            if let Some(there) = there(source) {
                self.source(SourceId(at), SourceId(there));
            }
        }
        for (at, source) in new.sources.iter().enumerate() {
            let renamed = old.sources.iter().any(|one| {
                let is_gone = find(&new.sources, &one.name, |source| &source.name).is_none();
                is_gone && same_data(one, source)
            });
            if !renamed && find(&old.sources, &source.name, |source| &source.name).is_none() {
                let stores: Vec<&str> = reach::of(new, SourceId(at)).into_keys().collect();
                let text = format!("source `{}` is new, and goes to {}", source.name, listed(&stores));
                self.better("source_added", text);
            }
        }
    }

    fn source_gone(&mut self, id: SourceId) {
        let (source, name) = (self.old.source(id), &self.old.source(id).name);
        let renamed = self.new.sources.iter().find(|other| {
            let is_new = find(&self.old.sources, &other.name, |source| &source.name).is_none();
            is_new && same_data(source, other)
        });
        match renamed {
            Some(other) => self.change(
                "source_renamed",
                format!(
                    "source `{name}` is now called `{}`: it is taken whole by the next run, and earlier backups hold it \
                     under its old name",
                    other.name
                ),
            ),
            None => self.danger(
                "source_removed",
                format!("source `{name}` ({}) is no longer backed up", what(source)),
            ),
        }
    }

    fn source(&mut self, old: SourceId, new: SourceId) {
        self.copies(old, new);
        self.times(old, new);
        let (before, after) = (self.old.source(old), self.new.source(new));
        let name = &after.name;
        match (&before.kind, &after.kind) {
            (SourceKind::Files(one), SourceKind::Files(two)) => self.files(name, one, two),
            (SourceKind::Sqlite { path: one }, SourceKind::Sqlite { path: two }) if one != two => {
                let text =
                    format!("source `{name}` reads `{}` and no longer `{}`", two.display(), one.display());
                self.danger("source_reads_other", text);
            }
            (SourceKind::Command(one), SourceKind::Command(two)) => {
                if one.run != two.run {
                    let text = format!(
                        "source `{name}` runs `{}` instead of `{}`",
                        words(&two.run),
                        words(&one.run)
                    );
                    self.change("command_changed", text);
                }
                if one.as_name != two.as_name {
                    let text = format!(
                        "source `{name}` is stored as `{}` instead of `{}`",
                        two.as_name, one.as_name
                    );
                    self.change("source_stored_as", text);
                }
            }
            (SourceKind::Postgres(one), SourceKind::Postgres(two)) => self.postgres(name, one, two),
            (one, two) if std::mem::discriminant(one) != std::mem::discriminant(two) => {
                let text = format!("source `{name}` is {} and no longer {}", what(after), what(before));
                self.danger("source_reads_other", text);
            }
            _ => {}
        }
        if after.optional && !before.optional {
            self.danger(
                "source_optional",
                format!("a run no longer fails when `{name}` is missing: it ends with a warning, without it"),
            );
        }
    }

    /// Stores and encryption of a source that both plans have.
    fn copies(&mut self, old: SourceId, new: SourceId) {
        let name = &self.new.source(new).name;
        let (before, after) = (reach::of(self.old, old), reach::of(self.new, new));
        let lost: Vec<&str> = before.keys().filter(|store| !after.contains_key(*store)).copied().collect();
        let won: Vec<&str> = after.keys().filter(|store| !before.contains_key(*store)).copied().collect();
        let offsite = |held: &std::collections::BTreeMap<&str, reach::Held>| {
            held.values().filter(|held| held.offsite).count()
        };
        if after.is_empty() && !before.is_empty() {
            let text = format!("source `{name}` reaches no store any more: it is no longer backed up");
            return self.danger("source_unreached", text);
        }
        if after.len() < before.len() {
            let text = format!(
                "source `{name}` is in {} instead of {}: no longer in {}",
                stores(after.len()),
                before.len(),
                listed(&lost)
            );
            self.danger("copies_lost", text);
        } else if !lost.is_empty() {
            let text = format!(
                "source `{name}` goes to {} and no longer to {}: what is there stays, and nothing new comes",
                listed(&won),
                listed(&lost)
            );
            self.danger("store_left", text);
        } else if !won.is_empty() {
            self.better("copies_added", format!("source `{name}` goes to {} as well", listed(&won)));
        }
        if offsite(&after) < offsite(&before) {
            let text = format!(
                "source `{name}` has {} offsite instead of {}",
                copies(offsite(&after)),
                offsite(&before)
            );
            self.danger("offsite_lost", text);
        }
        let plain = |held: &std::collections::BTreeMap<&'a str, reach::Held>| {
            held.iter().filter(|(_, held)| !held.encrypted).map(|(name, _)| *name).collect::<BTreeSet<&str>>()
        };
        let (was, is) = (plain(&before), plain(&after));
        let bare: Vec<&str> = is.difference(&was).copied().collect();
        if !bare.is_empty() && before.values().any(|held| held.encrypted) {
            let text = format!("source `{name}` is no longer encrypted in {}", listed(&bare));
            self.danger("encryption_lost", text);
        }
        let sealed: Vec<&str> =
            was.difference(&is).filter(|store| after.contains_key(*store)).copied().collect();
        if !sealed.is_empty() {
            let text = format!("source `{name}` is encrypted from now on in {}", listed(&sealed));
            self.better("encryption_added", text);
        }
    }

    /// How often a source that both plans have is read.
    fn times(&mut self, old: SourceId, new: SourceId) {
        let name = self.new.source(new).name.clone();
        let words = span;
        match (gap(&self.futures.0, old), gap(&self.futures.1, new)) {
            (Some(before), Some(after)) if before < after => self.danger(
                "rpo_worse",
                format!(
                    "at the worst {} of work on `{name}` are between two runs, before it was {}",
                    words(after),
                    words(before)
                ),
            ),
            (Some(before), Some(after)) if before > after => self.better(
                "rpo_better",
                format!(
                    "at the worst {} of work on `{name}` are between two runs, before it was {}",
                    words(after),
                    words(before)
                ),
            ),
            (Some(before), None) => self.danger(
                "schedule_removed",
                format!(
                    "`{name}` is no longer read by a schedule (every {} at the worst before): only runs by hand are left",
                    words(before)
                ),
            ),
            (None, Some(after)) => self.better(
                "schedule_added",
                format!("`{name}` is read by a schedule, every {} at the worst", words(after)),
            ),
            _ => {}
        }
    }

    fn files(&mut self, name: &str, old: &Files, new: &Files) {
        let covered = |path: &PathBuf| {
            let all = self.new.sources.iter().filter_map(|source| match &source.kind {
                SourceKind::Files(files) => Some(&files.paths),
                _ => None,
            });
            all.flatten().any(|other| path.starts_with(&other.absolute))
        };
        let (gone, moved): (Vec<&PathBuf>, Vec<&PathBuf>) = old
            .paths
            .iter()
            .map(|path| &path.absolute)
            .filter(|path| !new.paths.iter().any(|other| path.starts_with(&other.absolute)))
            .partition(|path| !covered(path));
        for path in gone {
            self.danger(
                "path_removed",
                format!("`{}` of source `{name}` is no longer backed up", path.display()),
            );
        }
        for path in moved {
            let text = format!("`{}` is now read by another source than `{name}`", path.display());
            self.change("path_moved", text);
        }
        for path in new.paths.iter().map(|path| &path.absolute) {
            if !old.paths.iter().any(|other| path.starts_with(&other.absolute)) {
                self.better("path_added", format!("source `{name}` reads `{}` as well", path.display()));
            }
        }
        self.exclusions(name, old, new);
        if old.compare != new.compare {
            self.change(
                "compare_changed",
                format!("source `{name}` notices changes in another way: all of it is read once more"),
            );
        }
    }

    fn exclusions(&mut self, name: &str, old: &Files, new: &Files) {
        let texts = |files: &Files| files.exclude.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
        let (before, after) = (texts(old), texts(new));
        let without = |some: &[String], others: &[String]| -> Vec<String> {
            some.iter().filter(|text| !others.contains(text)).cloned().collect()
        };
        let (more, less) = (without(&after, &before), without(&before, &after));
        // A pattern with `!` takes in again what others leave out.
        let (takes_in, leaves_out): (Vec<_>, Vec<_>) = more.iter().partition(|text| text.starts_with('!'));
        let (no_longer_in, no_longer_out): (Vec<_>, Vec<_>) =
            less.iter().partition(|text| text.starts_with('!'));
        for text in leaves_out {
            self.danger("left_out", format!("source `{name}` leaves out what matches `{text}`"));
        }
        for text in no_longer_in {
            self.danger(
                "left_out",
                format!("source `{name}` no longer takes in again what matches `{text}`"),
            );
        }
        for text in takes_in.into_iter().chain(no_longer_out) {
            let pattern = text.trim_start_matches('!');
            self.better("taken_in", format!("source `{name}` takes in what matches `{pattern}`"));
        }
        if more.is_empty() && less.is_empty() && before != after {
            let text = format!(
                "the patterns of source `{name}` stand in another order: a later one goes before an earlier"
            );
            self.change("patterns_reordered", text);
        }
        let limit = |files: &Files| files.max_file_size.unwrap_or(u64::MAX);
        if limit(new) < limit(old) {
            let most = size(limit(new));
            self.danger("left_out", format!("source `{name}` leaves out files larger than {most}"));
        } else if limit(new) > limit(old) {
            self.better("taken_in", format!("source `{name}` takes in larger files than before"));
        }
        let mut flag = |before: bool, after: bool, what: &str| match (before, after) {
            (false, true) => self.danger("left_out", format!("source `{name}` leaves out {what}")),
            (true, false) => self.better("taken_in", format!("source `{name}` takes in {what}")),
            _ => {}
        };
        flag(old.exclude_caches, new.exclude_caches, "folders with a `CACHEDIR.TAG`");
        flag(old.one_file_system, new.one_file_system, "other file systems mounted below");
    }

    fn postgres(&mut self, name: &str, old: &Postgres, new: &Postgres) {
        let place = |one: &Postgres| {
            (one.host.clone(), one.port, one.data_dir.clone(), one.stanza.clone(), one.database.clone())
        };
        if place(old) != place(new) {
            let text = format!("source `{name}` reads another cluster or database than before");
            self.danger("source_reads_other", text);
        }
        if old.driver != new.driver {
            let text = format!(
                "source `{name}` is read by another driver: it is taken whole by the next run, and earlier backups are \
                 restored the old way"
            );
            self.change("driver_changed", text);
        }
        if old.staging != new.staging {
            let text = format!(
                "the tool of source `{name}` keeps its repository elsewhere: its next backup is a full"
            );
            self.change("repository_moved", text);
        }
    }
}

/// Whether two sources of different names read the same.
fn same_data(one: &Source, two: &Source) -> bool {
    match (&one.kind, &two.kind) {
        (SourceKind::Files(one), SourceKind::Files(two)) => {
            let paths =
                |files: &Files| files.paths.iter().map(|path| path.absolute.clone()).collect::<BTreeSet<_>>();
            paths(one) == paths(two)
        }
        (SourceKind::Sqlite { path: one }, SourceKind::Sqlite { path: two }) => one == two,
        (SourceKind::Command(one), SourceKind::Command(two)) => one.run == two.run,
        (SourceKind::Postgres(one), SourceKind::Postgres(two)) => {
            (&one.host, one.port, &one.data_dir, &one.database, &one.stanza)
                == (&two.host, two.port, &two.data_dir, &two.database, &two.stanza)
        }
        _ => false,
    }
}

/// What a source reads, in words.
fn what(source: &Source) -> String {
    match &source.kind {
        SourceKind::Files(files) => {
            let paths: Vec<String> =
                files.paths.iter().map(|path| path.absolute.display().to_string()).collect();
            format!("files of {}", listed(&paths.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        SourceKind::Sqlite { path } => format!("the SQLite database `{}`", path.display()),
        SourceKind::Command(command) => format!("what `{}` prints", words(&command.run)),
        SourceKind::Postgres(_) => "a Postgres cluster".to_owned(),
    }
}
