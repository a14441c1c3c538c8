//! What is given up earlier than before, and what a repository of its own keeps.

use super::{Change, plural};
use crate::diff::describe::span;
use crate::model::{Keep, SourceId};

impl Change<'_> {
    pub(super) fn limits(&mut self) {
        let (old, new) = (self.old, self.new);
        self.limited("a run", old.limits.timeout, new.limits.timeout);
        for id in (0..old.sources.len()).map(SourceId) {
            let Some(heir) = self.heir(id) else { continue };
            let source = new.source(heir);
            self.limited(
                &format!("a step that reads `{}`", source.name),
                old.source(id).timeout,
                source.timeout,
            );
        }
        let (before, after) = (old.retry.attempts, new.retry.attempts);
        if after < before {
            let times = |count: u32| plural(count as usize, "time");
            let text =
                format!("a step that fails is tried {} in all, before: {}", times(after), times(before));
            self.change("fewer_attempts", text);
        }
    }

    /// A `timeout` that ends sooner what may have needed its time.
    pub(super) fn limited(&mut self, what: &str, before: Option<u64>, after: Option<u64>) {
        let Some(now) = after.filter(|now| *now < before.unwrap_or(u64::MAX)) else { return };
        let before = before.map_or("never".to_owned(), |before| format!("after {}", span(before)));
        self.change("time_limited", format!("{what} is given up after {}, before: {before}", span(now)));
    }

    /// What repositories that have a `keep` of their own keep.
    pub(super) fn repositories(&mut self) {
        let (old, new) = (self.old, self.new);
        for before in &old.separates {
            let Some(heir) = self.heir(before.source) else { continue };
            let Some(after) = new.separate(heir) else { continue };
            if before.keep.is_none() && after.keep.is_none() {
                continue;
            }
            let subject = format!("the repository of `{}`", new.source(heir).name);
            let was = before.keep.as_ref().or(old.keep.as_ref());
            match (was, after.keep.as_ref().or(new.keep.as_ref())) {
                (Some(was), Some(is)) => self.rules(&subject, was, is),
                (None, Some(_)) => self.danger(
                    "retention_begins",
                    format!("backups in {subject} are deleted from now on by `keep`; before, all stayed"),
                ),
                (Some(_), None) => {
                    self.change(
                        "retention_ends",
                        format!("nothing is deleted from {subject} any more: it grows"),
                    );
                }
                (None, None) => {}
            }
        }
    }

    /// The log that a tool keeps with its backups: no `wal` block tells of it.
    pub(super) fn tools_logs(&mut self) {
        let (old, new) = (self.old, self.new);
        for id in (0..old.sources.len()).map(SourceId) {
            let source = old.source(id);
            let keeps_log = source.repository().is_some();
            let Some(heir) = self.heir(id).filter(|_| keeps_log && old.separate(id).is_none()) else {
                continue;
            };
            let wal = |keep: Option<&Keep>| keep.and_then(|keep| keep.wal);
            let (before, after) = (wal(old.keep.as_ref()), wal(new.keep.as_ref()));
            let name = &new.source(heir).name;
            match (before, after) {
                (Some(before), Some(after)) if after < before => self.danger(
                    "points_lost",
                    format!(
                        "any moment of the last {} of `{name}` can be restored, before it was the last {}",
                        span(after),
                        span(before)
                    ),
                ),
                (Some(before), None) => self.danger(
                    "points_lost",
                    format!(
                        "recovery of `{name}` to any moment of the last {} is no longer promised",
                        span(before)
                    ),
                ),
                _ => {}
            }
        }
    }
}
