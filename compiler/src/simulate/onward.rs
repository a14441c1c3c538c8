//! From what stores hold on: each run that the schedule has is decided by the code that real runs ask, one by one. It costs more
//! than playing a plan from nothing, and tells what will really be there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cycle::{Asked, Past, next};
use crate::due;
use crate::model::{Archive, Level, Model, Schedule, StoreId};
use crate::retention::{Beside, Lack, Part, Policy, Reason, Run, retain_beside};

/// What a store holds now. Runs are numbered in the order in which they came, in all stores by the same numbers.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// Its runs.
    pub runs: Vec<Run<u32>>,
    /// Those that are there and cannot be read.
    pub unreadable: BTreeSet<u32>,
    /// What is known of the runs beside: those to come find of each source what the last of them found.
    pub beside: Beside<u32>,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Runs come from here on.
    pub now: Timestamp,
    /// Why runs are there is asked of this moment.
    pub first: Timestamp,
    /// What is there is asked until here.
    pub last: Timestamp,
    /// Nothing is played after it.
    pub until: Timestamp,
    /// So many runs are played at the most.
    pub most: usize,
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// When it began.
    pub started: Timestamp,
    /// Its level.
    pub level: Level,
    /// When it goes; `None`: not while this is played.
    pub gone: Option<Timestamp>,
    /// Why it is there at the first moment that is asked of; empty where it is not, or where nothing keeps it any longer.
    pub reasons: Vec<Reason<u32>>,
}

/// The outcome.
#[derive(Debug)]
pub struct Onward {
    /// By store, the runs that it holds or gets, by their numbers.
    pub stores: Vec<BTreeMap<u32, Fate>>,
    /// So far it was played.
    pub until: Timestamp,
}

/// Plays a plan on from what its stores hold, every run succeeding. Repositories apart are no part of it.
pub fn onward(model: &Model, schedule: &Schedule, stock: Vec<Stock>, question: &Question) -> Onward {
    let fates = |stock: &Stock| stock.runs.iter().map(|run| (run.id, fate(run))).collect();
    let mut play = Play { model, fates: stock.iter().map(fates).collect(), stock };
    let coming = coming(schedule, question);
    let mut number = 1 + play.highest();
    let (mut until, mut is_explained) = (question.until, false);
    for (index, at) in coming.iter().enumerate() {
        if *at > question.first && !is_explained {
            play.explain(question.first);
            is_explained = true;
        }
        if *at > question.last && play.is_settled(question.last) {
            break;
        }
        play.run(number, *at);
        number = number.saturating_add(1);
        if index + 1 == question.most {
            until = *at;
        }
    }
    if !is_explained {
        play.explain(question.first);
    }
    Onward { stores: play.fates, until }
}

fn coming(schedule: &Schedule, question: &Question) -> Vec<Timestamp> {
    let Some(zone) = due::zone(&schedule.zone) else { return Vec::new() };
    let span = question.now.to_zoned(zone.clone())..=question.until.to_zoned(zone);
    due::runs(schedule, span, question.most).into_iter().map(|(at, _)| at.timestamp()).collect()
}

fn fate(run: &Run<u32>) -> Fate {
    Fate { started: run.started, level: run.level, gone: None, reasons: Vec::new() }
}

struct Play<'m> {
    model: &'m Model,
    stock: Vec<Stock>,
    fates: Vec<BTreeMap<u32, Fate>>,
}

impl Play<'_> {
    fn highest(&self) -> u32 {
        let runs = self.stock.iter().flat_map(|stock| stock.runs.iter().map(|run| run.id));
        runs.chain(self.stock.iter().flat_map(|stock| stock.unreadable.iter().copied())).max().unwrap_or(0)
    }

    /// Whether all that was there by then is gone.
    fn is_settled(&self, last: Timestamp) -> bool {
        let mut all = self.fates.iter().flat_map(BTreeMap::values);
        all.all(|fate| fate.started > last || fate.gone.is_some())
    }

    /// One run, and what it lets go.
    fn run(&mut self, number: u32, now: Timestamp) {
        let made: Vec<(&Archive, Vec<Part<u32>>)> =
            self.model.archives.iter().map(|archive| (archive, self.parts(archive, now))).collect();
        for (index, store) in self.model.stores.iter().enumerate() {
            let here = || made.iter().filter(|(archive, _)| archive.to.contains(&StoreId(index)));
            if here().next().is_none() {
                continue;
            }
            let parts: Vec<Part<u32>> = here().flat_map(|(_, parts)| parts.clone()).collect();
            let follows = |part: &&Part<u32>| !self.is_whole_each_time(&part.source);
            let level = parts.iter().filter(follows).map(|part| part.level).max().unwrap_or(Level::Full);
            let run = Run { id: number, started: now, level, parts, size: 0, is_torn: false };
            self.fates[index].insert(number, fate(&run));
            let stock = &mut self.stock[index];
            stock.runs.push(run);
            let policy = Policy::of(self.model, store, now);
            if policy.append_only {
                continue;
            }
            let decision = retain_beside(&stock.runs, &stock.unreadable, &policy, &stock.beside);
            let gone: BTreeSet<u32> = decision.gone().copied().collect();
            stock.runs.retain(|run| !gone.contains(&run.id));
            for number in gone {
                if let Some(fate) = self.fates[index].get_mut(&number) {
                    fate.gone = Some(now);
                }
            }
        }
    }

    /// As a manifest says it: what is whole each time has no say in the level.
    fn is_whole_each_time(&self, source: &str) -> bool {
        self.model.sources.iter().any(|known| known.name == source && known.is_whole_each_time())
    }

    /// What the next run of an archive holds.
    fn parts(&self, archive: &Archive, now: Timestamp) -> Vec<Part<u32>> {
        let mut targets = archive.to.iter().map(|store| &self.stock[store.0].runs);
        let Some(first) = targets.next() else { return Vec::new() };
        let others: Vec<&Vec<Run<u32>>> = targets.collect();
        let everywhere =
            |run: &&Run<u32>| others.iter().all(|held| held.iter().any(|other| other.id == run.id));
        let runs: Vec<Run<u32>> = first.iter().filter(everywhere).cloned().collect();
        let sources = archive.from.iter().map(|id| self.model.source(*id).name.as_str()).collect();
        let asked = Asked { sources, level: None, now };
        let answer = next(self.model, archive, &asked, &Past { runs: &runs, lost: &BTreeMap::new() });
        let part = |id: &crate::model::SourceId| {
            let source = self.model.source(*id);
            let base = answer.bases.get(&source.name).and_then(Option::as_ref);
            let base = base.filter(|_| !source.is_whole_each_time());
            let rests_on = base.filter(|_| !archive.self_contained).map(|base| base.rests_on.clone());
            Part {
                archive: archive.name.clone(),
                source: source.name.clone(),
                level: if base.is_some() { answer.level } else { Level::Full },
                place: if base.is_some() { answer.before() } else { 0 },
                rests_on: rests_on.unwrap_or_default(),
                lacks: Lack::Nothing,
                lost: Default::default(),
            }
        };
        archive.from.iter().map(part).collect()
    }

    fn explain(&mut self, at: Timestamp) {
        for ((store, stock), fates) in self.model.stores.iter().zip(&self.stock).zip(&mut self.fates) {
            let policy = Policy::of(self.model, store, at);
            let decision = retain_beside(&stock.runs, &stock.unreadable, &policy, &stock.beside);
            for (number, reasons) in decision.iter() {
                if let Some(fate) = fates.get_mut(number) {
                    fate.reasons = reasons.to_vec();
                }
            }
        }
    }
}
