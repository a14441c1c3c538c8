//! What a plan's stores have lost, or what they have that is not this machine's; and a run that nobody may go on with.

use backplan_compiler::model::Model;
use backplan_compiler::retention::Policy;
use jiff::Timestamp;

use super::span;
use crate::backups::shelf::{Shelf, Shelves};
use crate::catalog::guard::emptied;
use crate::past::history::Between;

/// Seconds between two steps of a run that `plan step` does, after which somebody should look.
const BETWEEN_STEPS: i64 = 3600;

/// Whether anything is ever deleted in a store.
fn deletes(model: &Model, shelf: &Shelf, now: Timestamp) -> bool {
    let declared = model.stores.iter().find(|store| store.name == shelf.store.label());
    declared.is_some_and(|store| Policy::of(model, store, now).prunes())
}

/// Sources whose newest backup has nothing in it, though an earlier one has.
pub(super) fn emptied_sources(model: &Model, shelves: &Shelves, now: Timestamp) -> Vec<String> {
    let names = || model.sources.iter().map(|source| source.name.as_str());
    let each = shelves.shelves.iter().flat_map(|shelf| names().map(move |name| (shelf, name)));
    each.filter_map(|(shelf, name)| {
        let (newest, filled) = emptied(&shelf.catalog, name, &shelves.accepted)?;
        let right = format!("right (`plan prune FILE --accept {name}`)");
        let until = match deletes(model, shelf, now) {
            true => format!("while it is so, and nobody has said that it is {right}, nothing is deleted"),
            false => format!("it is told until somebody says that it is {right}"),
        };
        Some(format!(
            "store `{}`: source `{name}` has nothing in it in run `{newest}`, and had something in run `{filled}`: see \
             that nothing of it is missing, as where a disk is not mounted; {until}",
            shelf.store.label()
        ))
    })
    .collect()
}

/// Sources that lost most of what they had, and the runs that stay for that where others go; of those that are empty more is told.
pub(super) fn shrunk_sources(model: &Model, shelves: &Shelves, now: Timestamp) -> Vec<String> {
    let is_told = |source: &str| {
        let mut all = shelves.shelves.iter();
        all.any(|shelf| emptied(&shelf.catalog, source, &shelves.accepted).is_some())
    };
    let told = |deleted: bool| {
        let held = shelves.held_back(now, |shelf| deletes(model, shelf, now) == deleted);
        held.into_iter().filter(|(_, held)| !is_told(&held.source)).map(move |(stores, held)| {
            let names: Vec<String> = stores.iter().map(|name| format!("`{name}`")).collect();
            let stores = if names.len() == 1 { "store" } else { "stores" };
            let told = if deleted { held.to_string() } else { held.told_where_all_stays() };
            format!("{stores} {}: {told}", names.join(", "))
        })
    };
    told(true).chain(told(false)).collect()
}

/// A run between two steps: one that goes on by itself soon, or one that nobody may go on with, in words.
pub(super) fn between_steps(shelves: &Shelves, now: Timestamp) -> (Option<Between>, Option<String>) {
    let Some(between) = &shelves.between else { return (None, None) };
    let waits = now.as_second() - between.last.as_second();
    if waits <= BETWEEN_STEPS {
        return (Some(between.clone()), None);
    }
    let text = format!(
        "run `{}` of `plan step` has waited for its next step for {}: nothing holds its locks meanwhile. Go on with it, or begin another \
         run, which leaves its windows and takes back what is not committed",
        between.run,
        span(waits)
    );
    (Some(between.clone()), Some(text))
}
