//! Does every source reach a store, is every name used.

use std::collections::BTreeSet;

use super::Check;
use crate::codes;
use crate::finding::{Finding, Severity};
use crate::graph::{Occasion, loops};
use crate::lower::{LowerError, lower};
use crate::model::{Source, SourceId, StoreId};

impl Check<'_> {
    pub(super) fn reach(&mut self) {
        self.sources_reach_a_store();
        self.archives_hold_something();
        self.excludes_exclude_something();
        self.names_are_used();
        self.stores_are_used();
        self.waiting_ends();
        self.windows_open_and_close();
    }

    fn sources_reach_a_store(&mut self) {
        let model = self.model;
        for (source, stores) in model.sources.iter().zip(&self.reached) {
            if stores.is_empty() {
                let message = format!("source `{}` reaches no store: it would not be backed up", source.name);
                let help = match model.archives.first() {
                    Some(archive) => {
                        format!(
                            "name it in an archive, such as `{}`: `from = [{}]`",
                            archive.name, source.name
                        )
                    }
                    None => format!("add `archive {} {{ from = [{}], to = […] }}`", source.name, source.name),
                };
                self.findings.push(Finding::new(&codes::UNREACHED_SOURCE, source.place, message).help(help));
            }
        }
        for separate in &model.separates {
            let name = &model.source(separate.source).name;
            for archive in model.archives.iter().filter(|archive| archive.from.contains(&separate.source)) {
                let place = self.facts.place("archive", &archive.name, "from").unwrap_or(archive.place);
                let message =
                    format!("source `{name}` is in archive `{}` and separate at once", archive.name);
                self.find(
                    Finding::new(&codes::ARCHIVED_AND_SEPARATE, place, message)
                        .with(separate.place, "declared separate here")
                        .help("take it out of the archive's `from`, or delete the `separate`"),
                );
            }
        }
    }

    fn archives_hold_something(&mut self) {
        for archive in self.model.archives.iter().filter(|archive| archive.from.is_empty()) {
            let message = format!("archive `{}` holds no source", archive.name);
            self.find(
                Finding::new(&codes::EMPTY_ARCHIVE, archive.place, message)
                    .help("name a source in its `from`, or delete the archive"),
            );
        }
    }

    fn excludes_exclude_something(&mut self) {
        for (archive, source, place) in &self.facts.excluded {
            let (Some(archive), Some(source)) =
                (self.model.archives.get(*archive), self.model.sources.get(*source))
            else {
                continue;
            };
            let message =
                format!("archive `{}` excludes `{}`, which it does not hold", archive.name, source.name);
            self.findings.push(
                Finding::new(&codes::USELESS_EXCLUDE, *place, message).help("take it out of `exclude`"),
            );
        }
    }

    fn names_are_used(&mut self) {
        for (word, name, place) in &self.facts.unused {
            let message = format!("`{word} {name}` is never used");
            self.findings
                .push(Finding::new(&codes::UNUSED_NAME, *place, message).help("delete it, or use it"));
        }
    }

    /// Stores of a library are an offer; those of the plan itself are meant to be used.
    fn stores_are_used(&mut self) {
        let model = self.model;
        let used: BTreeSet<StoreId> = (model.archives.iter().flat_map(|archive| archive.to.clone()))
            .chain(model.separates.iter().flat_map(|separate| separate.to.clone()))
            .chain(model.wals.iter().flat_map(|wal| wal.to.clone()))
            .collect();
        for (index, store) in model.stores.iter().enumerate() {
            if !used.contains(&StoreId(index)) && store.place.file == self.facts.root {
                let message = format!("nothing is brought to store `{}`", store.name);
                self.find(
                    Finding::new(&codes::UNUSED_NAME, store.place, message)
                        .help("name it in the `to` of an archive, or delete it"),
                );
            }
        }
    }

    /// `after` must have no loop, or no source of it could be read first.
    fn waiting_ends(&mut self) {
        let model = self.model;
        let waits = model.sources.iter().enumerate();
        for members in loops(waits.map(|(at, own)| (SourceId(at), own.after.to_vec()))) {
            let first = model.source(members[0]);
            let names: Vec<String> =
                members.iter().map(|member| format!("`{}`", model.source(*member).name)).collect();
            let message = match names.as_slice() {
                [one] => format!("source {one} waits for itself"),
                names => format!("sources {} wait for one another", names.join(", ")),
            };
            let place = self.facts.place("source", &first.name, "after").unwrap_or(first.place);
            let mut finding = Finding::new(&codes::AFTER_LOOP, place, message).help("take one `after` out");
            for member in &members[1..] {
                let source = model.source(*member);
                let place = self.facts.place("source", &source.name, "after").unwrap_or(source.place);
                finding = finding.with(place, "and waits in turn");
            }
            self.find(finding);
        }
    }

    /// Steps have an order: what `after` asks and what archives hold may contradict.
    pub(super) fn steps_have_an_order(&mut self) {
        let model = self.model;
        let waits = model.sources.iter().any(|source| !source.after.is_empty());
        if !waits || self.findings.iter().any(|finding| finding.severity == Severity::Error) {
            return;
        }
        let Err(LowerError::Loop(steps)) = lower(model, &Occasion::default()) else { return };
        let is_in = |source: &&Source| {
            steps.iter().any(|step| step.to_string().ends_with(&format!("/{}", source.name)))
        };
        let mut waiting = model.sources.iter().filter(|source| !source.after.is_empty());
        let Some(source) = waiting.clone().find(is_in).or_else(|| waiting.next()) else { return };
        let names: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
        let before: Vec<String> =
            source.after.iter().map(|before| format!("`{}`", model.source(*before).name)).collect();
        let message = format!(
            "source `{}` cannot be read after {}: the steps {} would wait for one another",
            source.name,
            before.join(", "),
            names.join(", ")
        );
        let place = self.facts.place("source", &source.name, "after").unwrap_or(source.place);
        self.find(
            Finding::new(&codes::AFTER_LOOP, place, message)
                .help("put the two into archives of their own, or take the `after` out"),
        );
    }

    fn windows_open_and_close(&mut self) {
        for window in &self.model.windows {
            let (done, missing) = match (&window.enter, &window.leave) {
                (Some(_), None) => ("entered", "leave"),
                (None, Some(_)) => ("left", "enter"),
                _ => continue,
            };
            let never = if done == "entered" { "left" } else { "entered" };
            let message = format!("window `{}` is {done} but never {never}", window.name);
            self.findings.push(
                Finding::new(&codes::ENDLESS_WINDOW, window.place, message)
                    .help(format!("add `{missing} = [\"program\", \"argument\"]`")),
            );
        }
    }
}
