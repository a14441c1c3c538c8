//! What a change does to data, as far as two models tell.

mod limits;
mod log;
mod rehearsed;
mod source;
mod store;
mod told;
mod windows;

use crate::count::plural;
use std::collections::{BTreeMap, BTreeSet};

use super::Consequence;
use super::describe::{moments, span};
use super::settings::{listed, words};
use super::times::futures;
use super::{counterpart, reach};
use crate::lower::level_word;
use crate::model::{Archive, Cycle, Due, LargeFiles, Level, Model, Schedule, SourceId, Worded};
use crate::simulate::Simulation;
use crate::value::Text;

/// Everything that can be told without a store.
pub fn of(old: &Model, new: &Model) -> Vec<Consequence> {
    let heirs = source::heirs(old, new);
    let mut change = Change { old, new, heirs, futures: futures(old, new), found: Vec::new() };
    change.plan();
    change.sources();
    change.stores();
    change.staging();
    change.archives();
    change.windows();
    change.wals();
    change.tools_logs();
    change.repositories();
    change.limits();
    change.told();
    change.rehearsed();
    change.promises();
    change.policies();
    change.found
}

struct Change<'a> {
    old: &'a Model,
    new: &'a Model,
    /// By source of the old plan.
    heirs: Vec<Option<SourceId>>,
    /// Both played forward.
    futures: (Simulation<'a>, Simulation<'a>),
    found: Vec<Consequence>,
}

impl<'a> Change<'a> {
    fn danger(&mut self, name: &'static str, text: impl Into<String>) {
        self.found.push(Consequence::danger(name, text));
    }

    fn change(&mut self, name: &'static str, text: impl Into<String>) {
        self.found.push(Consequence::change(name, text));
    }

    fn better(&mut self, name: &'static str, text: impl Into<String>) {
        self.found.push(Consequence::better(name, text));
    }

    /// The stores that held a source of the old plan, by the names they have now.
    fn held_before(&self, source: SourceId) -> BTreeMap<&'a str, reach::Held> {
        let now = |name: &'a str| {
            let store = self.old.stores.iter().find(|store| store.name == name);
            store
                .and_then(|store| counterpart(store, self.old, self.new))
                .map_or(name, |store| store.name.as_str())
        };
        reach::of(self.old, source).into_iter().map(|(name, held)| (now(name), held)).collect()
    }

    fn plan(&mut self) {
        let (old, new) = (&self.old.name, &self.new.name);
        if old != new {
            self.danger(
                "plan_renamed",
                format!(
                    "the plan is called `{new}` and no longer `{old}`: to the stores it is another plan, the next run is a \
                     full, and the backups of `{old}` are no longer seen, counted or deleted"
                ),
            );
        }
    }

    fn archives(&mut self) {
        let before = self.old;
        for old in &before.archives {
            let Some(new) = self.same_archive(old) else { continue };
            if old.name != new.name {
                let text = format!(
                    "archive `{}` is called `{}` from now on: it goes on where that one ended",
                    old.name, new.name
                );
                self.change("archive_renamed", text);
            }
            self.archive(old, new);
        }
        let (old, new) = (self.old.cycle.as_ref(), self.new.cycle.as_ref());
        let words = |cycle: Option<&Cycle>| {
            cycle.map_or("no cycle".to_owned(), |cycle| {
                let follow = match cycle.follow {
                    Level::Incremental => "each on the one before it",
                    _ => "on the full",
                };
                format!("{} behind each full, {follow}", plural(cycle.incrementals as usize, "run"))
            })
        };
        if words(old) != words(new) {
            self.change("cycle_changed", format!("{}, before: {}", words(new), words(old)));
        }
    }

    /// The archive of the new plan that is this one of the old: of its name, or one of the same sources under a new one.
    fn same_archive(&self, old: &Archive) -> Option<&'a Archive> {
        let is_known = |name: &str| self.old.archives.iter().any(|one| one.name == name);
        let from: BTreeSet<SourceId> = old.from.iter().filter_map(|id| self.heir(*id)).collect();
        let renamed = |other: &&Archive| {
            !is_known(&other.name)
                && !from.is_empty()
                && other.from.iter().copied().collect::<BTreeSet<_>>() == from
        };
        let named = self.new.archives.iter().find(|other| other.name == old.name);
        named.or_else(|| self.new.archives.iter().find(renamed))
    }

    fn archive(&mut self, old: &Archive, new: &Archive) {
        let name = &new.name;
        if old.file_name != new.file_name {
            let shown = |text: &Option<Text>| {
                text.as_ref().map_or("the usual name".to_owned(), |text| format!("`{text}`"))
            };
            let text = format!(
                "artefacts of `{name}` are named {} and no longer {}",
                shown(&new.file_name),
                shown(&old.file_name)
            );
            self.change("artefacts_renamed", text);
        }
        let gone: Vec<&str> =
            old.encrypt.iter().filter(|key| !new.encrypt.contains(key)).map(String::as_str).collect();
        let stays = new.encrypt.iter().any(|key| old.encrypt.contains(key));
        if !gone.is_empty() && !new.encrypt.is_empty() && !stays {
            let text = format!(
                "new artefacts of `{name}` can be read with none of the keys that read the old, but with other ones: that of {} \
                 opens earlier backups only",
                listed(&gone)
            );
            self.danger("recipients_replaced", text);
        } else if !gone.is_empty() && !new.encrypt.is_empty() {
            let text =
                format!("new artefacts of `{name}` can no longer be read with the key of {}", listed(&gone));
            self.change("recipient_removed", text);
        }
        if old.self_contained != new.self_contained {
            let what = if new.self_contained { "whole each time" } else { "differences between fulls" };
            self.change("artefacts_form", format!("artefacts of `{name}` are {what} from now on"));
        }
        if old.compress != new.compress {
            let (now, then) = (new.compress.word(), old.compress.word());
            let text = format!("new artefacts of `{name}` are compressed by {now} and no longer by {then}");
            self.change("artefacts_form", text);
        }
        if old.large_files != new.large_files && !new.self_contained {
            let text = match new.large_files {
                LargeFiles::Blocks => format!(
                    "differences of `{name}` hold only what changed of large files from now on: `tar` alone can no longer lay \
                     them over what they rest on, `plan restore` can"
                ),
                LargeFiles::Whole => format!("differences of `{name}` hold changed files whole from now on"),
            };
            self.change("artefacts_form", text);
        }
    }

    /// What was promised, and when runs are due.
    fn promises(&mut self) {
        let (old, new) = (self.old, self.new);
        for id in (0..old.sources.len()).map(SourceId) {
            if let Some(heir) = self.heir(id) {
                self.promised(&new.source(heir).name, id, heir);
            }
        }
        if let (Some(before), Some(after)) = (&old.schedule, &new.schedule) {
            let zones = (&before.zone, &after.zone);
            if zones.0 != zones.1 {
                let text =
                    format!("the schedule's times are those of `{}` and no longer of `{}`", zones.1, zones.0);
                self.change("timezone_changed", text);
            }
            let (one, two) = (due(before), due(after));
            if one != two {
                self.change("schedule_changed", format!("runs are due {two}, before: {one}"));
            }
            if before.catch_up && !after.catch_up {
                self.danger(
                    "catch_up_ends",
                    "a run that was due while the machine was off is no longer made up for",
                );
            }
        }
    }

    /// Rules that a library lays on the plan: one that is gone may be broken by the next change.
    fn policies(&mut self) {
        let rules = |model: &'a Model| -> BTreeSet<(&'static str, &'static str)> {
            let require = model.policies.iter().flat_map(|policy| &policy.require);
            let forbid = model.policies.iter().flat_map(|policy| &policy.forbid);
            let require = require.map(|(rule, _)| ("requires", *rule));
            require.chain(forbid.map(|(rule, _)| ("forbids", *rule))).collect()
        };
        let (old, new) = (rules(self.old), rules(self.new));
        for (verb, rule) in old.difference(&new) {
            self.danger("policy_removed", format!("no policy {verb} `{rule}` any more"));
        }
        for (verb, rule) in new.difference(&old) {
            self.better("policy_added", format!("a policy {verb} `{rule}` from now on"));
        }
    }

    fn promised(&mut self, name: &str, old: SourceId, new: SourceId) {
        let of = |model: &'a Model, id: SourceId| {
            let own = move || model.objectives.iter().filter(move |objective| objective.of.contains(&id));
            let least = |values: &mut dyn Iterator<Item = Option<u64>>| values.flatten().min();
            let most = |values: &mut dyn Iterator<Item = Option<u32>>| values.flatten().max().map(u64::from);
            [
                ("rpo", least(&mut own().map(|objective| objective.rpo))),
                ("rto", least(&mut own().map(|objective| objective.rto))),
                ("copies", most(&mut own().map(|objective| objective.copies))),
                ("offsite", most(&mut own().map(|objective| objective.offsite))),
            ]
        };
        for ((promise, before), (_, after)) in of(self.old, old).into_iter().zip(of(self.new, new)) {
            let time = promise.starts_with('r');
            let words = |value: u64| if time { span(value) } else { value.to_string() };
            match (before, after) {
                (Some(before), None) => {
                    let text =
                        format!("objective {promise} {} of `{name}` is no longer promised", words(before));
                    self.danger("promise_weaker", text);
                }
                (Some(before), Some(after)) if (after > before) == time && after != before => {
                    let text = format!(
                        "objective {promise} of `{name}` is {} instead of {}",
                        words(after),
                        words(before)
                    );
                    self.danger("promise_weaker", text);
                }
                _ => {}
            }
        }
    }
}

/// When runs are due, in words.
fn due(schedule: &Schedule) -> String {
    match &schedule.due {
        Due::Run(when) => moments(when),
        Due::Levels { .. } => {
            let levels = schedule.levels().into_iter();
            let each = levels.map(|(level, when)| format!("{} {}", level_word(level), moments(when)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

fn find<T>(all: &[T], name: &str, of: impl Fn(&T) -> &String) -> Option<usize> {
    all.iter().position(|one| of(one) == name)
}

fn stores(count: usize) -> String {
    plural(count, "store")
}

fn copies(count: usize) -> String {
    plural(count, "copy")
}
