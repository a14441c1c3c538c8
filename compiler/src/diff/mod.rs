//! What a change of a plan does: to data first, then to declarations, then to the steps of a run. A function of two
//! models; what only a store can tell is added by whoever can read it.

pub mod changes;
mod consequences;
pub mod describe;
mod reach;
pub(crate) mod settings;
mod times;

use serde::Serialize;

use crate::graph::Occasion;
use crate::lower::{LowerError, lower};
use crate::model::{Model, Store};
use changes::{DeclarationChange, StepChange};

/// How much a consequence matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Data, a copy, a point in time or a protection is lost.
    Danger,
    /// Something becomes different.
    Change,
    /// Something becomes safer.
    Better,
}

/// What a change does to data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Consequence {
    /// How much it matters.
    pub weight: Weight,
    /// Its stable name: `source_removed`.
    pub name: &'static str,
    /// In words, names in backticks.
    pub text: String,
}

impl Consequence {
    /// A loss.
    pub fn danger(name: &'static str, text: impl Into<String>) -> Consequence {
        Consequence { weight: Weight::Danger, name, text: text.into() }
    }

    /// A difference.
    pub fn change(name: &'static str, text: impl Into<String>) -> Consequence {
        Consequence { weight: Weight::Change, name, text: text.into() }
    }

    /// A gain.
    pub fn better(name: &'static str, text: impl Into<String>) -> Consequence {
        Consequence { weight: Weight::Better, name, text: text.into() }
    }
}

/// The difference of two plans.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Diff {
    /// What it does to data, the gravest first.
    pub consequences: Vec<Consequence>,
    /// What is written differently, by kind and name.
    pub declarations: Vec<DeclarationChange>,
    /// What a full run does differently, by step.
    pub steps: Vec<StepChange>,
}

impl Diff {
    /// Whether the plans mean the same.
    pub fn is_empty(&self) -> bool {
        self.consequences.is_empty() && self.declarations.is_empty() && self.steps.is_empty()
    }

    /// With more that was found out, in its place.
    pub fn add(&mut self, more: impl IntoIterator<Item = Consequence>) {
        self.consequences.extend(more);
        // What was found first stays first among its like.
        self.consequences.sort_by_key(|consequence| consequence.weight);
    }
}

/// The store of the new plan that a store of the old one is: of the same name, or at the same place under a new one.
pub fn counterpart<'m>(store: &Store, old: &Model, new: &'m Model) -> Option<&'m Store> {
    let is_known = |name: &str| old.stores.iter().any(|one| one.name == name);
    let renamed = |other: &&Store| !is_known(&other.name) && other.location() == store.location();
    let named = new.stores.iter().find(|other| other.name == store.name);
    named.or_else(|| new.stores.iter().find(renamed))
}

/// The difference of two plans.
///
/// # Errors
/// When one of them has no order of steps.
pub fn diff(old: &Model, new: &Model) -> Result<Diff, LowerError> {
    let declarations = changes::declarations(old, new);
    let graphs = (lower(old, &Occasion::default())?, lower(new, &Occasion::default())?);
    let steps = changes::steps(&graphs.0, &graphs.1);
    let mut diff = Diff { consequences: Vec::new(), declarations, steps };
    if !diff.declarations.is_empty() {
        diff.add(consequences::of(old, new));
    }
    Ok(diff)
}
