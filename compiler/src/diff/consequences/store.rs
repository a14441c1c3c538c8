//! What becomes of stores, of what is in them, and of the staging.

use super::Change;
use crate::count::plural;
use crate::diff::counterpart;
use crate::diff::describe::span;
use crate::diff::times::{Reserve, reserve};
use crate::model::{Absent, Keep, Model, Staging, Store};

impl<'a> Change<'a> {
    pub(super) fn stores(&mut self) {
        for store in &self.old.stores {
            match counterpart(store, self.old, self.new) {
                None => {
                    let text = format!(
                        "store `{}` ({}) is no longer used: the backups in it stay, and are no longer counted, verified or \
                         deleted",
                        store.name,
                        store.location()
                    );
                    self.danger("store_removed", text);
                }
                Some(other) => self.store(store, other),
            }
        }
        for store in &self.new.stores {
            let is_it = |old: &Store| {
                counterpart(old, self.old, self.new).is_some_and(|other| other.name == store.name)
            };
            if !self.old.stores.iter().any(is_it) {
                let text = format!(
                    "store `{}` ({}) is new: the first run into it is a full, or brings it what it rests on from another",
                    store.name,
                    store.location()
                );
                self.better("store_added", text);
            }
        }
    }

    fn store(&mut self, old: &'a Store, new: &'a Store) {
        let name = &new.name;
        let (before, after) = (old.location(), new.location());
        if before != after {
            let text = format!(
                "store `{name}` is at `{after}` and no longer at `{before}`: unless they are moved with it, the backups \
                 there are no longer counted, verified or deleted, and the next run is a full, unless another \
                 store has what it would rest on"
            );
            self.danger("store_moved", text);
        }
        if old.name != *name {
            let text = format!(
                "store `{}` is called `{name}` from now on: the backups in it stay its own",
                old.name
            );
            self.change("store_renamed", text);
        }
        self.absence(old, new);
        let days = |seconds: Option<u64>| {
            seconds.map_or("nothing".to_owned(), |seconds| format!("what is younger than {}", span(seconds)))
        };
        if new.immutable.unwrap_or(0) < old.immutable.unwrap_or(0) {
            let text = format!(
                "store `{name}` protects {} from deletion, before it was {}",
                days(new.immutable),
                days(old.immutable)
            );
            self.danger("protection_lost", text);
        } else if new.immutable > old.immutable {
            let text = format!("store `{name}` protects {} from deletion", days(new.immutable));
            self.better("protection_added", text);
        }
        if old.append_only && !new.append_only {
            self.danger("protection_lost", format!("this host deletes in store `{name}` from now on"));
        }
        if new.append_only && !old.append_only {
            self.better(
                "protection_added",
                format!("this host no longer deletes anything in store `{name}`"),
            );
        }
        self.kept(old, new);
    }

    /// What a run does where the store is not there.
    fn absence(&mut self, old: &Store, new: &Store) {
        let name = &new.name;
        match (old.absent, new.absent) {
            (Absent::Warn | Absent::Fail, Absent::Skip) => {
                let text = format!("a run leaves store `{name}` out without a word where it is not there");
                self.danger("absence_untold", text);
            }
            (Absent::Fail, Absent::Warn) => {
                let text = format!(
                    "a run no longer fails where store `{name}` is not there: it goes on without it, and ends with a warning"
                );
                self.danger("absence_allowed", text);
            }
            (Absent::Skip, Absent::Warn | Absent::Fail) | (Absent::Warn, Absent::Fail) => {
                self.better(
                    "absence_told",
                    format!("a run tells more loudly where store `{name}` is not there"),
                );
            }
            _ => {}
        }
    }

    /// What there is to restore from when the schedule has run for long, at the worst.
    fn kept(&mut self, old: &'a Store, new: &'a Store) {
        let name = &new.name;
        let before = reserve(&self.futures.0, self.old, &old.name);
        let after = reserve(&self.futures.1, self.new, name);
        let words = |reserve: Reserve| {
            let reach = span(u64::try_from(reserve.reach - reserve.reach % 3600).unwrap_or(0));
            match reserve.runs {
                1 => plural(reserve.runs, "backup"),
                runs => format!("{} over {reach}", plural(runs, "backup")),
            }
        };
        match (before, after) {
            (Some(before), Some(after)) if before != after => {
                let text = format!(
                    "once the schedule has run for long, store `{name}` has at the fewest {} to restore from, before it was {}",
                    words(after),
                    words(before)
                );
                let thinner = after.thinner_than(&before);
                let text = match thinner {
                    Some((span_of, is, was)) => format!("{text}; of the last {} it has {is} instead of {was}", span(span_of)),
                    None => text,
                };
                if after.runs < before.runs || after.reach < before.reach || thinner.is_some() {
                    self.danger("fewer_points", text);
                } else {
                    self.better("more_points", text);
                }
            }
            (None, Some(after)) if !self.keeps(self.old, old) => self.danger(
                "retention_begins",
                format!(
                    "backups in store `{name}` are deleted from now on: once the schedule has run for long, at the fewest {} \
                     stay; before, all did",
                    words(after)
                ),
            ),
            (None, None) if !self.keeps(self.old, old) && self.keeps(self.new, new) => self.danger(
                "retention_begins",
                format!("backups in store `{name}` are deleted from now on by `keep`; before, all stayed"),
            ),
            (None, None) if self.keeps(self.old, old) && self.keeps(self.new, new) => {
                let of = |model: &'a Model, store: &'a Store| store.keep.as_ref().or(model.keep.as_ref());
                if let (Some(before), Some(after)) = (of(self.old, old), of(self.new, new)) {
                    self.rules(&format!("store `{name}`"), before, after);
                }
            }
            _ if self.keeps(self.old, old) && !self.keeps(self.new, new) => {
                self.change("retention_ends", format!("nothing is deleted from store `{name}` any more: it grows"));
            }
            _ => {}
        }
    }

    /// The rules themselves, where no schedule says when runs come.
    pub(super) fn rules(&mut self, subject: &str, before: &Keep, after: &Keep) {
        if before.prefer_full != after.prefer_full {
            let which = if after.prefer_full { "a full where there is one" } else { "the newest run" };
            let text = format!("of each period {subject} keeps {which} from now on");
            self.change("kept_otherwise", text);
        }
        let (before, after) = (rules(before), rules(after));
        let pairs: Vec<_> = before.into_iter().zip(after).filter(|((_, was), (_, is))| was != is).collect();
        let show = |value: Option<u64>, name: &str| match (value, name) {
            (None, _) => "nothing".to_owned(),
            (Some(value), "within" | "wal") => span(value),
            (Some(value), _) => value.to_string(),
        };
        let words: Vec<String> = pairs
            .iter()
            .map(|((name, was), (_, is))| {
                format!("`{name}` {} instead of {}", show(*is, name), show(*was, name))
            })
            .collect();
        if words.is_empty() {
            return;
        }
        let text = format!("{subject} keeps {}", words.join(", "));
        match pairs.iter().any(|((_, was), (_, is))| is < was) {
            true => self.danger("fewer_points", text),
            false => self.better("more_points", text),
        }
    }

    fn keeps(&self, model: &Model, store: &Store) -> bool {
        !store.append_only && (store.keep.is_some() || model.keep.is_some())
    }

    pub(super) fn staging(&mut self) {
        let (old, new) = (self.old.staging.as_ref(), self.new.staging.as_ref());
        let clears = |staging: &Staging| staging.clear_before || staging.clear_after;
        if let Some(staging) = new.filter(|staging| clears(staging)) {
            let before = old.filter(|old| clears(old) && old.path == staging.path);
            if before.is_none() {
                let when = match (staging.clear_before, staging.clear_after) {
                    (true, true) => "before and after",
                    (true, false) => "before",
                    _ => "after",
                };
                let text = format!("everything in `{}` is deleted {when} each run", staging.path.display());
                self.danger("staging_cleared", text);
            }
        }
        match (old, new) {
            (Some(old), Some(new)) if old.path != new.path => {
                let text = format!(
                    "artefacts are built in `{}` and no longer in `{}`",
                    new.path.display(),
                    old.path.display()
                );
                self.change("staging_moved", text);
            }
            (Some(old), None) => {
                let text = format!(
                    "artefacts are no longer built in `{}`: they go straight into the stores",
                    old.path.display()
                );
                self.change("staging_removed", text);
            }
            (None, Some(new)) => {
                let text =
                    format!("artefacts are built in `{}` before they go to the stores", new.path.display());
                self.change("staging_added", text);
            }
            _ => {}
        }
    }
}

/// Rules by name: how many, or how many seconds.
fn rules(keep: &Keep) -> [(&'static str, Option<u64>); 11] {
    let counted = |count: Option<u32>| count.map(u64::from);
    [
        ("cycles", counted(keep.cycles)),
        ("last", counted(keep.last)),
        ("within", keep.within),
        ("hourly", counted(keep.hourly)),
        ("daily", counted(keep.daily)),
        ("weekly", counted(keep.weekly)),
        ("monthly", counted(keep.monthly)),
        ("yearly", counted(keep.yearly)),
        ("full", counted(keep.full)),
        ("differential", counted(keep.differential)),
        ("wal", keep.wal),
    ]
}
