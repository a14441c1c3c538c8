//! Rehearsals: how often, and what they ask. Several blocks of one source are one rehearsal.

use super::{Change, words};
use crate::diff::describe::span;
use crate::model::{Model, SourceId, Verify};

impl<'a> Change<'a> {
    pub(super) fn rehearsed(&mut self) {
        let (old, new) = (self.old, self.new);
        let of = |model: &'a Model, id: SourceId| -> Vec<&'a Verify> {
            model.verifies.iter().filter(|verify| verify.restore == id).collect()
        };
        for id in (0..old.sources.len()).map(SourceId) {
            let before = of(old, id);
            let Some(heir) = self.heir(id).filter(|_| !before.is_empty()) else { continue };
            let (name, after) = (&new.source(heir).name, of(new, heir));
            if after.is_empty() {
                self.danger("rehearsal_removed", format!("the restore of `{name}` is no longer rehearsed"));
                continue;
            }
            self.rehearsed_often(name, &before, &after);
            let queries = |all: &[&Verify]| all.iter().filter_map(|verify| verify.query.clone()).collect();
            self.asked(name, "query", queries(&before), &queries(&after));
            let commands = |all: &[&Verify]| {
                all.iter().filter_map(|verify| verify.command.as_deref().map(words)).collect()
            };
            self.asked(name, "command", commands(&before), &commands(&after));
        }
    }

    fn rehearsed_often(&mut self, name: &str, before: &[&Verify], after: &[&Verify]) {
        let every = |all: &[&Verify]| all.iter().filter_map(|verify| verify.every).min();
        let often = |every: Option<u64>| {
            every.map_or("on demand alone".to_owned(), |every| format!("every {}", span(every)))
        };
        let (was, is) = (every(before), every(after));
        if is.unwrap_or(u64::MAX) > was.unwrap_or(u64::MAX) {
            let text = format!("the restore of `{name}` is rehearsed {}, before: {}", often(is), often(was));
            self.danger("rehearsal_weaker", text);
        }
    }

    /// What was asked and is asked no longer. Whether something else asks as much, nobody can tell from a text.
    fn asked(&mut self, name: &str, what: &str, before: Vec<String>, after: &[String]) {
        let lost: Vec<&String> = before.iter().filter(|one| !after.contains(one)).collect();
        let Some(first) = lost.first() else { return };
        if after.is_empty() {
            let text = format!(
                "rehearsals of `{name}` no longer ask its `{what}`: what is restored need not be right"
            );
            self.danger("rehearsal_weaker", text);
        } else if after.len() < before.len() {
            let text = format!("rehearsals of `{name}` no longer ask the `{what}` `{first}`");
            self.danger("rehearsal_weaker", text);
        } else {
            let text = format!("rehearsals of `{name}` ask another `{what}` than `{first}`");
            self.change("rehearsal_changed", text);
        }
    }
}
