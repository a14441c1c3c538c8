//! Declarations and steps of two plans, held against each other.

use crate::count::plural;
use std::collections::BTreeSet;

use serde::Serialize;

use super::describe::{Key, Setting, Value, describe};
use crate::graph::{Step, StepGraph, StepId};
use crate::model::Model;

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Only the new plan has it.
    Added,
    /// Only the old plan has it.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

/// A declaration that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeclarationChange {
    /// Which.
    #[serde(flatten)]
    pub key: Key,
    /// What became of it.
    pub change: Fate,
    /// Its attributes that differ; all of them where only one plan has it.
    pub attributes: Vec<AttributeChange>,
}

/// An attribute that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttributeChange {
    /// Its name.
    pub attribute: &'static str,
    /// What it was, one value or those of a list; `None`: it was not set.
    pub old: Option<Vec<String>>,
    /// What it is.
    pub new: Option<Vec<String>>,
    /// Whether it is a list.
    pub list: bool,
}

/// Every declaration that differs, by kind and name.
pub fn declarations(old: &Model, new: &Model) -> Vec<DeclarationChange> {
    let (old, new) = (describe(old), describe(new));
    let keys: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    let changes = keys.into_iter().filter_map(|key| {
        let (before, after) = (old.get(key), new.get(key));
        let change = match (before, after) {
            (None, _) => Fate::Added,
            (_, None) => Fate::Removed,
            _ => Fate::Changed,
        };
        let names: BTreeSet<&'static str> =
            before.into_iter().chain(after).flat_map(|attributes| attributes.keys().copied()).collect();
        let attributes: Vec<AttributeChange> = names
            .into_iter()
            .filter_map(|name| {
                attribute(name, before.and_then(|a| a.get(name)), after.and_then(|a| a.get(name)))
            })
            .collect();
        let differs = change != Fate::Changed || !attributes.is_empty();
        differs.then(|| DeclarationChange { key: key.clone(), change, attributes })
    });
    changes.collect()
}

fn attribute(name: &'static str, old: Option<&Setting>, new: Option<&Setting>) -> Option<AttributeChange> {
    if old == new {
        return None;
    }
    let values =
        |setting: Option<&Setting>| setting.map(|setting| setting.values.clone()).unwrap_or_default();
    let (before, after) = (values(old), values(new));
    // What looks like an old value and is none holds a secret: it says so, and shows none.
    let is_other =
        |value: &Value| before.iter().any(|old| old.shown == value.shown) && !before.contains(value);
    let told = |value: &Value| match is_other(value) {
        true => format!("{}, another value", value.shown),
        false => value.shown.clone(),
    };
    let shown = old.map(|_| before.iter().map(|value| value.shown.clone()).collect());
    let (before, after) = (shown, new.map(|_| after.iter().map(told).collect()));
    let list = old.or(new).is_some_and(|setting| setting.is_list);
    Some(AttributeChange { attribute: name, old: before, new: after, list })
}

/// A step that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepChange {
    /// Which.
    pub step: StepId,
    /// What became of it.
    pub change: Fate,
    /// In what it differs, where both plans have it: `needs`, `reads`, `writes`, `deletes`, each with what came and went.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub how: Vec<EffectChange>,
}

/// An effect of a step that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectChange {
    /// Which.
    pub effect: &'static str,
    /// What is no longer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// What is new.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub new: Vec<String>,
}

/// Every step that differs, by id.
pub fn steps(old: &StepGraph, new: &StepGraph) -> Vec<StepChange> {
    let ids: BTreeSet<&StepId> = old.iter().chain(new.iter()).map(|step| &step.id).collect();
    let changes = ids.into_iter().filter_map(|id| {
        let change = |change, how| Some(StepChange { step: id.clone(), change, how });
        match (old.get(id), new.get(id)) {
            (None, _) => change(Fate::Added, Vec::new()),
            (_, None) => change(Fate::Removed, Vec::new()),
            (Some(before), Some(after)) => {
                let how = effects(before, after);
                (!how.is_empty()).then(|| change(Fate::Changed, how)).flatten()
            }
        }
    });
    changes.collect()
}

fn effects(old: &Step, new: &Step) -> Vec<EffectChange> {
    let mut found = vec![
        effect("needs", &old.needs, &new.needs),
        effect("reads", &old.reads, &new.reads),
        effect("writes", &old.writes, &new.writes),
        effect("deletes", &old.deletes, &new.deletes),
    ];
    let retry = |step: &Step| {
        let retry = step.retry.as_ref();
        retry
            .map(|retry| {
                format!(
                    "{}, {}s..{}s",
                    plural(retry.attempts, "attempt"),
                    retry.backoff_first,
                    retry.backoff_most
                )
            })
            .into_iter()
            .collect::<BTreeSet<String>>()
    };
    found.push(effect("retry", &retry(old), &retry(new)));
    let timeout =
        |step: &Step| step.timeout.map(super::describe::span).into_iter().collect::<BTreeSet<String>>();
    found.push(effect("timeout", &timeout(old), &timeout(new)));
    found.into_iter().flatten().collect()
}

fn effect<T: Ord + ToString>(
    effect: &'static str,
    old: &BTreeSet<T>,
    new: &BTreeSet<T>,
) -> Option<EffectChange> {
    let gone: Vec<String> = old.difference(new).map(ToString::to_string).collect();
    let new: Vec<String> = new.difference(old).map(ToString::to_string).collect();
    (!gone.is_empty() || !new.is_empty()).then_some(EffectChange { effect, gone, new })
}
