//! What the stores really hold, played on to the days that are asked for.

use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::model::{Model, Schedule, Store, StoreId};
use backplan_compiler::retention::{Beside, Part, Reason, Run};
use backplan_compiler::simulate::{Fate, Horizon, Onward, Question, Stock, onward};
use backplan_runtime::backups::BackupsError;
use backplan_runtime::backups::shelf::{self, Shelves};
use backplan_runtime::catalog::ids::RunId;
use backplan_runtime::catalog::prune::{facts, known_beside};
use jiff::{SignedDuration, Timestamp};

use crate::commands::shelves::remembered;
use crate::render::calendar::{self, Shelf, Window};

/// Runs that are played at the most.
const MOST: usize = 20_000;

/// What the stores will hold, and why that cannot be told.
pub fn play(
    model: &Model,
    schedule: &Schedule,
    window: &Window,
    now: Timestamp,
) -> Result<(Vec<Shelf>, Timestamp), String> {
    if !model.separates.is_empty() {
        return Err("repositories apart are not looked into".to_owned());
    }
    let today = now.to_zoned(window.zone.clone()).start_of_day().map_or(now, |day| day.timestamp());
    if window.from < today {
        return Err("the stores do not tell what was deleted before today".to_owned());
    }
    let shelves = remembered(model, None).map_err(|error| match error {
        BackupsError::NoStore { reasons } => reasons.join("; "),
        error => error.to_string(),
    })?;
    if let Some(unread) = shelves.unread.first() {
        return Err(unread.clone());
    }
    let stock = stock(model, &shelves)?;
    let newest = stock.iter().flat_map(|stock| &stock.runs).map(|run| run.started).max();
    let after = newest.and_then(|newest| newest.checked_add(SignedDuration::from_secs(1)).ok());
    let question = Question {
        now: after.map_or(now, |after| after.max(now)),
        first: window.from.max(now),
        last: window.until.max(now),
        until: Horizon::around(model, window.from, window.until).until,
        most: MOST,
    };
    let played = onward(model, schedule, stock, &question);
    if played.until < window.until {
        return Err(format!("more than {MOST} runs come until then"));
    }
    let Onward { stores, until } = played;
    let shelves = model.stores.iter().zip(&stores).map(|(store, fates)| shelf(store, fates, window));
    Ok((shelves.collect(), until))
}

/// What a store holds: its runs, those that cannot be read, and what is known beside.
type Known = (Vec<Run<RunId>>, BTreeSet<RunId>, Beside<RunId>);

/// What each store of the plan holds, by the numbers of the runs in all of them.
fn stock(model: &Model, shelves: &Shelves) -> Result<Vec<Stock>, String> {
    let of = |store: &Store| shelves.shelves.iter().find(|shelf| shelf.store.label() == store.name);
    let held: Vec<Option<&shelf::Shelf>> = model.stores.iter().map(of).collect();
    let is_written = |index: usize| model.archives.iter().any(|archive| archive.to.contains(&StoreId(index)));
    for (index, (store, shelf)) in model.stores.iter().zip(&held).enumerate() {
        if is_written(index) && shelf.is_none_or(|shelf| shelf.catalog.runs().len() == 0) {
            return Err(format!("store `{}` holds no run of it yet", store.name));
        }
    }
    let all: Vec<Known> = held
        .iter()
        .map(|shelf| {
            shelf.map_or_else(Default::default, |shelf| {
                let catalog = &shelf.catalog;
                (facts(catalog), catalog.unreadable().clone(), known_beside(catalog, &shelves.accepted))
            })
        })
        .collect();
    let named = all.iter().flat_map(|(runs, unreadable, _)| {
        let bases = runs.iter().flat_map(Run::rests_on).copied();
        runs.iter().map(|run| run.id).chain(bases).chain(unreadable.iter().copied())
    });
    let numbers: BTreeMap<RunId, u32> = named.collect::<BTreeSet<RunId>>().into_iter().zip(1..).collect();
    let number = |id: &RunId| numbers.get(id).copied().unwrap_or(0);
    let stocked = |(runs, unreadable, beside): Known| Stock {
        runs: runs.into_iter().map(|run| numbered(run, &number)).collect(),
        unreadable: unreadable.iter().map(number).collect(),
        beside: beside.named(number),
    };
    Ok(all.into_iter().map(stocked).collect())
}

fn numbered(run: Run<RunId>, number: &impl Fn(&RunId) -> u32) -> Run<u32> {
    let part = |part: Part<RunId>| Part {
        archive: part.archive,
        source: part.source,
        level: part.level,
        place: part.place,
        rests_on: part.rests_on.iter().map(number).collect(),
        lacks: part.lacks,
        lost: part.lost,
    };
    Run {
        id: number(&run.id),
        started: run.started,
        level: run.level,
        parts: run.parts.into_iter().map(part).collect(),
        size: run.size,
        is_torn: false,
    }
}

fn shelf(store: &Store, fates: &BTreeMap<u32, Fate>, window: &Window) -> Shelf {
    let name = |number: &u32| {
        fates.get(number).map_or_else(|| "a run".to_owned(), |fate| window.shown(fate.started))
    };
    let words = |reason: &Reason<u32>| reason.words(name);
    let seen = fates.values().filter(|fate| window.sees(fate.started, fate.gone));
    Shelf {
        store: store.name.clone(),
        runs: seen
            .map(|fate| calendar::Run {
                started: fate.started,
                level: fate.level,
                until: fate.gone,
                reasons: fate.reasons.iter().map(words).collect(),
            })
            .collect(),
    }
}
