//! What a change does to data, as far as two models tell.

mod log;
mod source;
mod store;

use std::collections::BTreeSet;

use super::Consequence;
use super::describe::{moments, span};
use super::times::futures;
use crate::lower::level_word;
use crate::model::{Archive, Cycle, Due, Event, Level, Model, Notify, Schedule, SourceId, Verify};
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
        for new in &self.new.archives {
            if let Some(old) = self.old.archives.iter().find(|old| old.name == new.name) {
                self.archive(old, new);
            }
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
    }

    fn windows(&mut self) {
        let held = |model: &'a Model, source: SourceId| -> BTreeSet<&'a str> {
            let around = model.windows.iter().filter(|window| window.around.contains(&source));
            around.map(|window| window.name.as_str()).collect()
        };
        let (old, new) = (self.old, self.new);
        for id in (0..old.sources.len()).map(SourceId) {
            let Some(heir) = self.heir(id) else { continue };
            let (before, after) = (held(old, id), held(new, heir));
            for window in before.difference(&after) {
                let text = format!(
                    "source `{}` is no longer read inside window `{window}`: it may be caught in the middle of a change",
                    new.source(heir).name
                );
                self.danger("window_removed", text);
            }
        }
        for before in &old.windows {
            let Some(after) = new.windows.iter().find(|after| after.name == before.name) else { continue };
            let parts = [("enter", &before.enter, &after.enter), ("leave", &before.leave, &after.leave)];
            for (what, was, is) in parts.into_iter().filter(|(_, was, is)| was != is) {
                let Some(was) = was else { continue };
                let (name, was) = (&before.name, words(was));
                match is {
                    None => self
                        .danger("window_weaker", format!("window `{name}` no longer runs `{was}` to {what}")),
                    Some(is) => self.change(
                        "window_changed",
                        format!("window `{name}` runs `{}` to {what} and no longer `{was}`", words(is)),
                    ),
                }
            }
        }
    }

    /// Promises, rehearsals and people who are told.
    fn promises(&mut self) {
        let (old, new) = (self.old, self.new);
        let tells =
            |model: &'a Model| model.notifies.iter().any(|one: &Notify| one.on.contains(&Event::Failure));
        if tells(old) && !tells(new) {
            self.danger("nobody_told", "nobody is told any more when a run fails");
        }
        for verify in &old.verifies {
            let Some(heir) = self.heir(verify.restore) else { continue };
            let name = &new.source(heir).name;
            match new.verifies.iter().find(|other| other.restore == heir) {
                Some(there) => self.rehearsed(name, verify, there),
                None => {
                    self.danger(
                        "rehearsal_removed",
                        format!("the restore of `{name}` is no longer rehearsed"),
                    );
                }
            }
        }
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

    /// How often a source is rehearsed, and by what.
    fn rehearsed(&mut self, name: &str, old: &Verify, new: &Verify) {
        let often = |every: Option<u64>| {
            every.map_or("on demand alone".to_owned(), |every| format!("every {}", span(every)))
        };
        if new.every.unwrap_or(u64::MAX) > old.every.unwrap_or(u64::MAX) {
            let text = format!(
                "the restore of `{name}` is rehearsed {}, before: {}",
                often(new.every),
                often(old.every)
            );
            self.danger("rehearsal_weaker", text);
        }
        let lost = [
            ("query", old.query.is_some() && new.query.is_none()),
            ("command", old.command.is_some() && new.command.is_none()),
        ];
        for (what, _) in lost.into_iter().filter(|(_, is_lost)| *is_lost) {
            let text = format!(
                "rehearsals of `{name}` no longer ask its `{what}`: what is restored need not be right"
            );
            self.danger("rehearsal_weaker", text);
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

fn words(run: &[Text]) -> String {
    run.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "no store".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn stores(count: usize) -> String {
    plural(count, "store")
}

fn copies(count: usize) -> String {
    if count == 1 { "1 copy".to_owned() } else { format!("{count} copies") }
}
