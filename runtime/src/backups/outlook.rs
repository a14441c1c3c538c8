//! What a change of a plan does to the backups that exist: retention by the old plan and by the new one, over what the stores
//! really hold, and the next run of each. Reads only.

use backplan_compiler::count::plural;
use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::diff::{Consequence, counterpart};
use backplan_compiler::model::{Model, Store};
use backplan_compiler::retention::Policy;
use jiff::Timestamp;

use super::shelf::{Shelf, Shelves};
use super::status::next_runs as coming;
use crate::catalog::ids::RunId;
use crate::catalog::prune::{Occasion, PrunePlan, PrunedRun};

/// What stores tell of a change.
#[derive(Debug, Default)]
pub struct Outlook {
    /// What becomes of the backups that exist.
    pub consequences: Vec<Consequence>,
    /// What is not known, and why.
    pub unknown: Vec<String>,
}

/// What the change does to the backups in every store that both plans have.
pub fn outlook(old: &Model, new: &Model, now: Timestamp) -> Outlook {
    let mut outlook = Outlook::default();
    if old.name != new.name {
        outlook
            .unknown
            .push("backups of one plan are none of the other: what is there is not compared".to_owned());
        return outlook;
    }
    for before in &old.stores {
        if let Some(after) = counterpart(before, old, new) {
            match Shelf::declared(after, &new.name) {
                Ok(shelf) => store(&mut outlook, (old, before), (new, after), &shelf, now),
                Err(error) => outlook.unknown.push(format!(
                    "what becomes of the backups in store `{}` is not known: {error}",
                    after.name
                )),
            }
        }
    }
    next_runs(&mut outlook, old, new, now);
    outlook
}

fn store(outlook: &mut Outlook, old: (&Model, &Store), new: (&Model, &Store), shelf: &Shelf, now: Timestamp) {
    let plan = |(model, store): (&Model, &Store)| {
        let policy = Policy::of(model, store, now);
        let schedule = model.schedules().next().map(|(_, schedule)| schedule);
        // What somebody has accepted is for the machine that prunes to know: here nothing is made of it.
        let accepted = BTreeMap::new();
        let occasion =
            Occasion { policy, schedule, current: None, remembered: None, accepted, strange: Vec::new() };
        PrunePlan::make(&shelf.catalog, &occasion)
    };
    let (before, after) = (plan(old), plan(new));
    let goes = |plan: &PrunePlan| -> BTreeMap<RunId, PrunedRun> {
        plan.runs.iter().filter(|run| !run.stays).map(|run| (run.run, run.clone())).collect()
    };
    let (went, goes) = (goes(&before), goes(&after));
    let name = &new.1.name;
    let more: Vec<&PrunedRun> = goes.values().filter(|run| !went.contains_key(&run.run)).collect();
    if let (Some(oldest), Some(newest)) = (more.first(), more.last()) {
        let freed: u64 = goes
            .values()
            .map(|run| run.frees)
            .sum::<u64>()
            .saturating_sub(went.values().map(|run| run.frees).sum());
        outlook.consequences.push(Consequence::danger(
            "backups_deleted",
            format!(
                "the next prune deletes {} of {} from store `{name}` that would stay as the plan was, {}: \
                 the oldest of {}, the newest of {}",
                more.len(),
                plural(after.runs.len(), "backup"),
                about(freed),
                day(oldest.started),
                day(newest.started),
            ),
        ));
        for why in &after.refused {
            let text = format!("a prune of store `{name}` now would still be refused: {why}");
            outlook.consequences.push(Consequence::change("prune_refused", text));
        }
    }
    let fewer = went.keys().filter(|run| !goes.contains_key(run)).count();
    if fewer > 0 {
        let text =
            format!("{} in store `{name}` would have been deleted, and no longer", plural(fewer, "backup"));
        outlook.consequences.push(Consequence::better("backups_kept", text));
    }
    for problem in shelf.catalog.problems() {
        outlook.unknown.push(format!("store `{name}`: {problem}"));
    }
}

/// Bytes, as roughly as a person wants them.
fn about(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, (bytes % unit) * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// The moment as the reader of a diff wants it.
fn day(at: Timestamp) -> String {
    crate::moment::shown(at)
}

/// Archives whose next run has another level than it would have had.
fn next_runs(outlook: &mut Outlook, old: &Model, new: &Model, now: Timestamp) {
    let next = |model: &Model| -> Option<BTreeMap<String, (&'static str, String)>> {
        let shelves = Shelves::of_plan(model, None).ok()?;
        let archives = coming(model, &shelves, now).into_iter();
        Some(archives.map(|archive| (archive.archive, (archive.level, archive.why))).collect())
    };
    let (Some(before), Some(after)) = (next(old), next(new)) else { return };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        if let (Some((was, _)), Some((is, why))) = (before.get(name), after.get(name))
            && was != is
        {
            let text = format!("the next run of archive `{name}` is {is} and not {was}: {why}");
            outlook.consequences.push(Consequence::change("next_run", text));
        }
    }
}
