//! What becomes of sources.

mod files;
mod patterns;

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, copies, find, listed, stores, words};
use crate::diff::describe::span;
use crate::diff::reach;
use crate::diff::times::gap;
use crate::model::{Model, Postgres, Source, SourceId, SourceKind};

impl<'a> Change<'a> {
    pub(super) fn sources(&mut self) {
        let (old, new) = (self.old, self.new);
        for at in (0..old.sources.len()).map(SourceId) {
            if self.heir(at).is_none() {
                self.source_gone(at);
            }
        }
        for at in (0..old.sources.len()).map(SourceId) {
            if let Some(heir) = self.heir(at) {
                self.source(at, heir);
            }
        }
        for (at, source) in new.sources.iter().enumerate() {
            if !self.heirs.contains(&Some(SourceId(at))) {
                let stores: Vec<&str> = reach::of(new, SourceId(at)).into_keys().collect();
                let text = format!("source `{}` is new, and goes to {}", source.name, listed(&stores));
                self.better("source_added", text);
            }
        }
    }

    fn source_gone(&mut self, id: SourceId) {
        let source = self.old.source(id);
        if !self.files_merged(id) {
            let text =
                format!("source `{}` ({}) is no longer backed up", source.name, source.kind.own().what());
            self.danger("source_removed", text);
        }
    }

    /// The source of the new plan that stands for this one of the old: that of its name, else one that reads the same.
    pub(super) fn heir(&self, old: SourceId) -> Option<SourceId> {
        self.heirs.get(old.0).copied().flatten()
    }

    fn source(&mut self, old: SourceId, new: SourceId) {
        let (before, after) = (self.old.source(old), self.new.source(new));
        let name = &after.name;
        if *name != before.name {
            let text = format!(
                "source `{}` is now called `{name}`: it is taken whole by the next run, and earlier backups hold it under \
                 its old name",
                before.name
            );
            self.change("source_renamed", text);
            self.left_under_its_name(old, name);
        }
        self.copies(&format!("source `{name}`"), &self.held_before(old), &reach::of(self.new, new));
        self.times(old, new);
        self.order(old, new);
        match (&before.kind, &after.kind) {
            (SourceKind::Files(_), SourceKind::Files(_)) => self.files(old, new),
            (SourceKind::Sqlite(one), SourceKind::Sqlite(two)) if one.path != two.path => {
                let (one, two) = (one.path.display(), two.path.display());
                self.danger(
                    "source_reads_other",
                    format!("source `{name}` reads `{two}` and no longer `{one}`"),
                );
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
            (one, two) => self.read_otherwise(name, one, two),
        }
        if let (SourceKind::Postgres(one), SourceKind::Postgres(two)) = (&before.kind, &after.kind) {
            self.postgres(name, one, two);
        }
        self.asked_otherwise(name, &before.kind, &after.kind);
        self.missed(before, after);
    }

    /// What of a source that is renamed stays under its old name, and goes on nowhere: its log, and a repository of its own.
    fn left_under_its_name(&mut self, id: SourceId, now: &str) {
        let (model, was) = (self.old, &self.old.source(id).name);
        if model.wals.iter().any(|wal| wal.source == id) {
            let text = format!(
                "the log of `{now}` begins anew: that of `{was}` stays where it is, no run deletes of it any more, and moments of before are \
                 recovered to without the plan: `plan restore --store STORE --plan-name {} --source {was}`",
                model.name
            );
            self.change("log_left", text);
        }
        if model.separate(id).is_some() {
            let text = format!(
                "`{now}` begins a repository of its own: that of `{was}` stays where it is, no run deletes of it any more, and `plan restore \
                 --source {was}` restores from it; where it is encrypted, as long as `{now}` has its `passphrase`"
            );
            self.change("repository_left", text);
        }
    }

    /// What a run does where the source, or a part of it, is missing.
    fn missed(&mut self, before: &Source, after: &Source) {
        let name = &after.name;
        if before.strict && !after.strict {
            self.change(
                "source_not_strict",
                format!("where a part of `{name}` is missing, what is there is backed up, and the run fails in part"),
            );
        }
        if after.strict && !before.strict {
            self.change(
                "source_strict",
                format!("where a part of `{name}` is missing, or it fails, no archive is made that it is in"),
            );
        }
        if after.optional && !before.optional {
            self.danger(
                "source_optional",
                format!("a run no longer fails when `{name}` is missing: it ends with a warning, without it"),
            );
        }
    }

    /// Stores and encryption of what both plans have: of a source, or of a path that another source reads.
    fn copies(
        &mut self,
        subject: &str,
        before: &BTreeMap<&'a str, reach::Held>,
        after: &BTreeMap<&'a str, reach::Held>,
    ) {
        let lost: Vec<&str> = before.keys().filter(|store| !after.contains_key(*store)).copied().collect();
        let won: Vec<&str> = after.keys().filter(|store| !before.contains_key(*store)).copied().collect();
        let offsite = |held: &BTreeMap<&str, reach::Held>| held.values().filter(|held| held.offsite).count();
        if after.is_empty() && !before.is_empty() {
            let text = format!("{subject} reaches no store any more: it is no longer backed up");
            return self.danger("source_unreached", text);
        }
        if after.len() < before.len() {
            let text = format!(
                "{subject} is in {} instead of {}: no longer in {}",
                stores(after.len()),
                before.len(),
                listed(&lost)
            );
            self.danger("copies_lost", text);
        } else if !lost.is_empty() {
            let text = format!(
                "{subject} goes to {} and no longer to {}: what is there stays, and nothing new comes",
                listed(&won),
                listed(&lost)
            );
            self.danger("store_left", text);
        } else if !won.is_empty() {
            self.better("copies_added", format!("{subject} goes to {} as well", listed(&won)));
        }
        if offsite(after) < offsite(before) {
            let text =
                format!("{subject} has {} offsite instead of {}", copies(offsite(after)), offsite(before));
            self.danger("offsite_lost", text);
        }
        let plain = |held: &BTreeMap<&'a str, reach::Held>| {
            held.iter().filter(|(_, held)| !held.encrypted).map(|(name, _)| *name).collect::<BTreeSet<&str>>()
        };
        let (was, is) = (plain(before), plain(after));
        let bare: Vec<&str> = is.difference(&was).copied().collect();
        if !bare.is_empty() && before.values().any(|held| held.encrypted) {
            let text = format!("{subject} is no longer encrypted in {}", listed(&bare));
            self.danger("encryption_lost", text);
        }
        let sealed: Vec<&str> =
            was.difference(&is).filter(|store| after.contains_key(*store)).copied().collect();
        if !sealed.is_empty() {
            let text = format!("{subject} is encrypted from now on in {}", listed(&sealed));
            self.better("encryption_added", text);
        }
    }

    /// What a source waited for before it was read: what it refers to may from now on be newer than it is.
    fn order(&mut self, old: SourceId, new: SourceId) {
        let (before, after) = (self.old.source(old), self.new.source(new));
        let waited = before.after.iter().filter_map(|id| self.heir(*id));
        let lost: Vec<&str> = waited
            .filter(|id| !after.after.contains(id))
            .map(|id| self.new.source(id).name.as_str())
            .collect();
        if !lost.is_empty() {
            let text = format!(
                "source `{}` no longer waits until {} is read (`after`): the two may not fit together",
                after.name,
                listed(&lost)
            );
            self.danger("order_lost", text);
        }
    }

    /// How often a source that both plans have is read.
    fn times(&mut self, old: SourceId, new: SourceId) {
        let name = self.new.source(new).name.clone();
        let words = span;
        let (before, after) = (gap(&self.futures.0, self.old, old), gap(&self.futures.1, self.new, new));
        match (before, after) {
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

    /// Who asks, and with which settings: another role or account may see less.
    fn asked_otherwise(&mut self, name: &str, one: &SourceKind, two: &SourceKind) {
        let (one, two) = (one.own(), two.own());
        let pairs = one.asked_with().into_iter().zip(two.asked_with());
        let what: Vec<&str> = pairs.filter(|(one, two)| one != two).map(|((what, _), _)| what).collect();
        if !what.is_empty() && one.facts().word == two.facts().word {
            let text =
                format!("source `{name}` is read with another {}: what it can see may differ", listed(&what));
            self.change("source_asked_otherwise", text);
        }
    }

    /// Of a kind of which nothing else is told: whether it still reads the same.
    fn read_otherwise(&mut self, name: &str, one: &SourceKind, two: &SourceKind) {
        if let (SourceKind::Postgres(one), SourceKind::Postgres(two)) = (one, two)
            && one.driver != two.driver
            && may_be_one_cluster(one, two)
        {
            // The driver is told of by itself.
            return;
        }
        let (one, two) = (one.own(), two.own());
        let text = match one.facts().word == two.facts().word {
            true if one.identity() == two.identity() => return,
            true => format!("source `{name}` reads another {} than before", two.facts().elsewhere),
            false => format!("source `{name}` is {} and no longer {}", two.what(), one.what()),
        };
        self.danger("source_reads_other", text);
    }

    fn postgres(&mut self, name: &str, old: &Postgres, new: &Postgres) {
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

/// For each source of the old plan that which stands for it in the new: a renamed one is the same source.
pub(super) fn heirs(old: &Model, new: &Model) -> Vec<Option<SourceId>> {
    let of_name = |source: &Source| find(&new.sources, &source.name, |source| &source.name).map(SourceId);
    let mut heirs: Vec<Option<SourceId>> = old.sources.iter().map(of_name).collect();
    for (at, source) in old.sources.iter().enumerate() {
        if heirs[at].is_none() {
            let mut free = (0..new.sources.len()).map(SourceId).filter(|id| !heirs.contains(&Some(*id)));
            heirs[at] = free.find(|id| same_data(source, new.source(*id)));
        }
    }
    heirs
}

/// Whether two drivers read the same cluster, as far as both say what they read: each needs to be told other things.
fn may_be_one_cluster(one: &Postgres, two: &Postgres) -> bool {
    let is_same_folder = one.data_dir.is_none() || two.data_dir.is_none() || one.data_dir == two.data_dir;
    is_same_folder && (&one.host, one.port, &one.database) == (&two.host, two.port, &two.database)
}

/// Whether two sources of different names read the same.
fn same_data(one: &Source, two: &Source) -> bool {
    let (one, two) = (one.kind.own(), two.kind.own());
    one.facts().word == two.facts().word && one.identity() == two.identity()
}
