//! What a change of a plan does to the backups that exist: retention by the old plan and by the new one, over what the stores
//! really hold, and the next run of each. Reads only.

use backplan_compiler::count::plural;
use std::collections::BTreeMap;
use std::path::Path;

use backplan_compiler::cycle::Next;
use backplan_compiler::diff::{Consequence, counterpart};
use backplan_compiler::lower::level_word;
use backplan_compiler::model::{Level, Model, Store};
use backplan_compiler::retention::Policy;
use jiff::Timestamp;

use super::resting::coming;
use super::shelf::{Shelf, Shelves};
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
pub fn outlook(old: &Model, new: &Model, memory: Memory<'_>, now: Timestamp) -> Outlook {
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
    next_runs(&mut outlook, old, new, memory, now);
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
                "a prune would now delete {} of {} from store `{name}` that would stay as the plan was, {}: \
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

/// Archives whose next run has another level than it would have had, and sources that it takes whole and would not have.
fn next_runs(outlook: &mut Outlook, old: &Model, new: &Model, memory: Memory<'_>, now: Timestamp) {
    let next = |model: &Model| -> Option<BTreeMap<String, Next<RunId>>> {
        let mut shelves = Shelves::of_plan(model, None).ok()?;
        memory.look(&mut shelves, model);
        let archives = model.archives.iter().map(|archive| archive.name.clone());
        Some(archives.zip(coming(model, &shelves, now)).collect())
    };
    let (Some(before), Some(after)) = (next(old), next(new)) else { return };
    for (name, next) in &after {
        let was = before.get(name).map(|was| was.level);
        let whole = turned_whole(next, &before);
        let is_full = next.level == Level::Full && !whole.is_empty();
        let (is, why) = (level_word(next.level), why(next));
        let mut tell = |text| outlook.consequences.push(Consequence::change("next_run", text));
        match was {
            Some(was) if was != next.level => {
                tell(format!("the next run of archive `{name}` is {is} and not {}: {why}", level_word(was)));
            }
            None if is_full => tell(format!("the next run of archive `{name}` is {is}: {why}")),
            _ => whole.iter().for_each(|source| tell(told_whole(name, source, next))),
        }
    }
}

/// The sources that the next run of an archive rests on nothing for, and that would have rested on something in one of these.
fn turned_whole<'n>(next: &'n Next<RunId>, before: &BTreeMap<String, Next<RunId>>) -> Vec<&'n str> {
    let had_base = |source: &str| before.values().any(|was| matches!(was.bases.get(source), Some(Some(_))));
    let whole = next.bases.iter().filter(|(_, base)| base.is_none()).map(|(source, _)| source.as_str());
    whole.filter(|source| had_base(source)).collect()
}

/// Why a run has its level: what it cannot rest on, where there is such.
fn why(next: &Next<RunId>) -> &str {
    next.warnings.first().filter(|_| next.level == Level::Full).unwrap_or(&next.why)
}

/// That an archive takes a source whole whose others go on.
fn told_whole(archive: &str, source: &str, next: &Next<RunId>) -> String {
    let of_it = format!("source `{source}` is taken whole");
    match next.warnings.iter().find(|warning| warning.starts_with(&of_it)) {
        Some(warning) => format!("in the next run of archive `{archive}`, {warning}"),
        None => {
            format!("in the next run of archive `{archive}`, {of_it}: the archive has no backup of it yet")
        }
    }
}

/// What this machine remembers of a plan's runs.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    /// Backplan's folder on this machine, where one can be told.
    pub state: Option<&'a Path>,
    /// The files that the two plans may be run from: one of them may be a copy that never ran.
    pub files: [&'a Path; 2],
}

impl Memory<'_> {
    /// Looks what is remembered of the first of the files that has run.
    fn look(&self, shelves: &mut Shelves, model: &Model) {
        let Some(state) = self.state else { return };
        for file in self.files {
            let from = Model { file: file.to_path_buf(), ..model.clone() };
            shelves.look_for_memory(&from, state);
            if shelves.made.as_ref().is_some_and(|made| !made.is_empty()) {
                return;
            }
        }
    }
}
