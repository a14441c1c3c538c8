//! What each step is going to do, as a value that is made first. A run carries it out; a dry run shows the very same.
//!
//! | module | holds |
//! |---|---|
//! | [`clear`] | what is deleted from a staging, and whether a staging is the plan's own |
//! | [`window`] | the programs that open and close a window |
//! | [`lock`] | what a store that cannot be used means for the run |
//! | [`pack`] | which sources an archive is made of, what it rests on, and where it is built |
//! | [`deliver`] | what is brought into a store, and what its manifest is going to promise |

pub(super) mod clear;
pub(super) mod deliver;
pub(super) mod lock;
pub(super) mod pack;
pub(super) mod window;

use std::collections::BTreeSet;

use backplan_compiler::count::plural;
use backplan_compiler::graph::{Occasion, StepGraph};
use backplan_compiler::lower::{fill, zone};
use backplan_compiler::model::Model;
use backplan_compiler::value::Text;
use serde::Serialize;

use super::coordinator::Failure;
use super::facts::Facts;

/// What a step would see.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sight {
    /// What it would find, in words.
    pub found: Vec<String>,
    /// Exactly what it would delete now.
    pub would_delete: Vec<String>,
}

/// A run as far as it has come: what the next step is planned from.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub model: &'a Model,
    /// The sources that were asked for, by name; empty: all.
    pub only: &'a BTreeSet<String>,
    pub graph: &'a StepGraph,
    /// What the steps before it came to, or would.
    pub facts: &'a Facts,
}

/// `3 entries, 2 bytes`
pub(super) fn measured(entries: u64, bytes: u64) -> String {
    format!("{}, {}", plural(entries, "entry"), plural(bytes, "byte"))
}

/// Texts of the plan with the parts of the run filled in.
///
/// # Errors
/// When one cannot be.
pub(super) fn fill_all(texts: &[Text], model: &Model, occasion: &Occasion) -> Result<Vec<String>, Failure> {
    texts.iter().map(|text| fill_one(text, model, occasion)).collect()
}

/// One of them.
///
/// # Errors
/// When it cannot be.
pub(super) fn fill_one(text: &Text, model: &Model, occasion: &Occasion) -> Result<String, Failure> {
    fill(text, occasion, &zone(model))
        .map_err(|error| Failure::lasting(format!("cannot fill in `{text}`: {error:?}")))
}
