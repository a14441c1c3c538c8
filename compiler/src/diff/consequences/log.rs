//! What becomes of logs that are archived.

use super::{Change, listed, stores};
use crate::diff::counterpart;
use crate::diff::describe::span;
use crate::model::{Model, Wal};

impl<'a> Change<'a> {
    pub(super) fn wals(&mut self) {
        for old in &self.old.wals {
            let name = &self.old.source(old.source).name;
            let Some(new) = self.same_log(old) else {
                let text = format!(
                    "the log of `{name}` is no longer archived: it can be restored to its backups alone, not to any moment"
                );
                self.danger("points_lost", text);
                continue;
            };
            let (before, after) = (self.old.wal_keep(old), self.new.wal_keep(new));
            if after.unwrap_or(u64::MAX) < before.unwrap_or(u64::MAX) {
                let text = format!(
                    "any moment of the last {} of `{name}` can be restored, before it was {}",
                    after.map_or("ever".to_owned(), span),
                    before.map_or("all that was archived".to_owned(), |before| format!(
                        "the last {}",
                        span(before)
                    ))
                );
                self.danger("points_lost", text);
            }
            self.log_keys(name, old, new);
            self.log_copies(name, old, new);
        }
    }

    /// The log of the same source, whatever it is called now.
    fn same_log(&self, old: &Wal) -> Option<&'a Wal> {
        let heir = self.heir(old.source)?;
        self.new.wals.iter().find(|wal| wal.source == heir)
    }

    fn log_keys(&mut self, name: &str, old: &Wal, new: &Wal) {
        if old.encrypt.is_empty() {
            return;
        }
        if new.encrypt.is_empty() {
            self.danger("encryption_lost", format!("the archived log of `{name}` is no longer encrypted"));
            return;
        }
        let gone: Vec<&str> =
            old.encrypt.iter().filter(|key| !new.encrypt.contains(key)).map(String::as_str).collect();
        if !gone.is_empty() {
            let text =
                format!("the log of `{name}` can from now on not be read with the key of {}", listed(&gone));
            match gone.len() == old.encrypt.len() {
                true => self.danger("recipients_replaced", text),
                false => self.change("recipient_removed", text),
            }
        }
    }

    fn log_copies(&mut self, name: &str, old: &Wal, new: &Wal) {
        if new.to.len() < old.to.len() {
            let text = format!(
                "the log of `{name}` is archived in {} instead of {}",
                stores(new.to.len()),
                old.to.len()
            );
            self.danger("copies_lost", text);
        }
        let is_left = |store: &&str| {
            let here = |id: &crate::model::StoreId| {
                let before = self.old.stores.iter().find(|one| one.name == **store);
                before.and_then(|before| counterpart(before, self.old, self.new)).map(|one| &one.name)
                    == Some(&self.new.store(*id).name)
            };
            new.to.iter().any(here)
        };
        let gone: Vec<&str> = (old.to.iter().map(|id| self.old.store(*id).name.as_str()))
            .filter(|store| !is_left(store))
            .collect();
        if !gone.is_empty() && new.to.len() >= old.to.len() {
            self.change(
                "log_moved",
                format!("the log of `{name}` is no longer archived in {}", listed(&gone)),
            );
        }
        let offsite = |model: &Model, wal: &Wal| wal.to.iter().any(|id| model.store(*id).offsite);
        if offsite(self.old, old) && !offsite(self.new, new) {
            self.danger("offsite_lost", format!("no archived log of `{name}` is offsite any more"));
        }
        if new.ack_any && !old.ack_any && new.to.len() > 1 {
            let text = format!(
                "a segment of the log of `{name}` counts as archived once one store has it, no longer all"
            );
            self.danger("copies_lost", text);
        }
    }
}
