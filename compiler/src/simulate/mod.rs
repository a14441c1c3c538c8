//! Schedule, cycle and retention played forward for years, every run succeeding: what each store holds at every instant.
//!
//! | module | does |
//! |---|---|
//! | `horizon` | which part of the future a question needs |
//! | `chains` | which runs there are, at which level, and what rests on what |
//! | `shelf` | what one store holds |
//! | `rows` | the rules of `keep`, run by run |
//! | `onward` | what stores really hold, played on |
//!
//! Levels come from [`crate::cycle`], moments from [`crate::due`], policies from [`crate::retention`]. The rules are evaluated
//! at a cost that does not grow with what is held, as ten years of half-hourly runs are 175,000 decisions; property tests
//! hold the outcome against [`crate::cycle::next`] and [`crate::retention::retain`] run by run.

mod chains;
mod horizon;
mod onward;
mod rows;
mod shelf;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::due::Tick;
use crate::model::{Level, Model, SourceId, StoreId};
use crate::retention::{self, Decision, Lack, Part, Policy, Run};
use chains::{Line, Play, Stream};

pub use horizon::Horizon;
pub use onward::{Fate, Onward, Question, Stock, onward};
pub use shelf::Burden;

/// The moment at which a run goes that does not go while the simulation lasts.
const NEVER: i64 = i64::MAX;

/// A run in a store, from its coming to its going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// When it began, in seconds since 1970.
    started: i64,
    /// The highest level of what it brought.
    level: Level,
    /// When retention let it go; [`NEVER`] if it did not.
    gone: i64,
    /// What it rests on at once: where that stands in the store's list.
    bases: (u32, u32),
}

impl Life {
    /// When it began.
    pub fn started(&self) -> Timestamp {
        moment(self.started)
    }

    /// Its level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// When it goes: at the run that gives it up. `None`: not while the simulation lasts.
    pub fn gone(&self) -> Option<Timestamp> {
        (self.gone != NEVER).then(|| moment(self.gone))
    }

    fn base_range(&self) -> std::ops::Range<usize> {
        self.bases.0 as usize..self.bases.1 as usize
    }

    /// Whether it is there at a moment, after the run of that moment.
    pub fn is_there(&self, at: Timestamp) -> bool {
        self.started <= at.as_second() && self.gone > at.as_second()
    }
}

/// Two runs that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The start of the first.
    pub from: Timestamp,
    /// The start of the next.
    pub until: Timestamp,
}

impl Gap {
    /// How long it is, in seconds.
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.until.as_second() - self.from.as_second()).unwrap_or(0)
    }
}

/// Runs of which each rests on the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The start of the first, in seconds since 1970.
    pub from: i64,
    /// The start of the last.
    pub until: i64,
    /// How many the last rests on.
    pub links: usize,
    /// The schedule gives each level times of its own.
    pub by_levels: bool,
}

/// A full that came before its cycle was complete, as the one before it was gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The archive; for a separate source, what stands for its archive.
    pub archive: usize,
    /// When the run began that had nothing to rest on.
    pub at: Timestamp,
    /// How many runs had followed the full that was gone.
    pub followers: usize,
}

/// The outcome.
#[derive(Debug)]
pub struct Simulation<'m> {
    model: &'m Model,
    horizon: Horizon,
    streams: Vec<Stream>,
    lines: Vec<Line>,
    /// By source: its lines, and whether it follows their levels.
    of_source: Vec<Vec<(usize, bool)>>,
    /// What became of stores; those that are alike share one.
    kept: Vec<StoreLife>,
    /// By store: which of them it is.
    of_store: Vec<usize>,
    cuts: Vec<Cut>,
}

/// What became of stores that are alike.
#[derive(Debug)]
struct StoreLife {
    lives: Vec<Life>,
    bases: Vec<u32>,
    /// By run: the stream that made it.
    streams: Vec<u16>,
    worst: Burden,
}

impl StoreLife {
    /// All that a run rests on.
    fn all_bases(&self, index: usize) -> BTreeSet<usize> {
        let mut bases = BTreeSet::new();
        let mut open: Vec<usize> = vec![index];
        while let Some(next) = open.pop() {
            for base in &self.bases[self.lives[next].base_range()] {
                if bases.insert(*base as usize) {
                    open.push(*base as usize);
                }
            }
        }
        bases
    }
}

/// Plays a plan forward. Where it has no schedule, nothing happens.
pub fn simulate(model: &Model, horizon: Horizon) -> Simulation<'_> {
    Play::new(model, horizon).run()
}

impl<'m> Simulation<'m> {
    /// The part of the future that was played; it ends early where the schedule has more runs than were wanted.
    pub fn horizon(&self) -> Horizon {
        let cut = self.streams.iter().filter(|stream| stream.ticks.len() >= self.horizon.runs);
        let last = cut.filter_map(|stream| stream.ticks.last()).map(|tick| moment(tick.at)).min();
        Horizon {
            until: last.map_or(self.horizon.until, |last| last.min(self.horizon.until)),
            ..self.horizon
        }
    }

    fn kept(&self, store: StoreId) -> Option<&StoreLife> {
        self.kept.get(*self.of_store.get(store.0)?)
    }

    /// Every run that came to a store, oldest first.
    pub fn lives(&self, store: StoreId) -> &[Life] {
        self.kept(store).map_or(&[], |kept| &kept.lives)
    }

    /// The moment at which a store held most runs for the sake of others alone.
    pub fn burden(&self, store: StoreId) -> Burden {
        self.kept(store).map_or_else(Burden::default, |kept| kept.worst)
    }

    /// Cycles that were cut short because their full was gone: the first of each archive.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// The starts of a source's runs, oldest first, in seconds since 1970.
    pub fn starts(&self, source: SourceId) -> Vec<i64> {
        self.ticks(source).iter().map(|tick| tick.at).collect()
    }

    /// The starts of all runs, oldest first, in seconds since 1970.
    pub fn all_starts(&self) -> Vec<i64> {
        let mut starts: Vec<i64> =
            self.streams.iter().flat_map(|stream| stream.ticks.iter().map(|tick| tick.at)).collect();
        if self.streams.len() > 1 {
            starts.sort_unstable();
            starts.dedup();
        }
        starts
    }

    /// The longest row of runs that rest on one another, of each schedule whose runs follow.
    pub fn longest_chains(&self) -> Vec<Chain> {
        let follows = |stream: usize| {
            let mut lines = self.lines.iter().filter(move |line| line.stream == stream);
            lines.any(Line::is_chained)
        };
        let streams = self.streams.iter().enumerate().filter(|(at, _)| follows(*at));
        streams.filter_map(|(_, stream)| stream.longest_chain(self.model.cycle.as_ref())).collect()
    }

    /// Each run that brought a source to one of these stores, oldest first, and until when as many of them hold it: both in
    /// seconds since 1970.
    pub fn held_until(&self, source: SourceId, stores: &[StoreId], count: usize) -> Vec<(i64, i64)> {
        let mut gone: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for life in stores.iter().flat_map(|store| self.lives_of(source, *store)) {
            gone.entry(life.started).or_default().push(life.gone);
        }
        let until = |(started, mut gone): (i64, Vec<i64>)| {
            gone.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
            Some((started, *gone.get(count.checked_sub(1)?)?))
        };
        gone.into_iter().filter_map(until).collect()
    }

    fn ticks(&self, source: SourceId) -> Cow<'_, [Tick]> {
        let streams: BTreeSet<usize> = self.streams_of(source).collect();
        if let [stream] = Vec::from_iter(&streams)[..] {
            return Cow::Borrowed(&self.streams[*stream].ticks);
        }
        let mut ticks: Vec<Tick> =
            streams.iter().flat_map(|stream| self.streams[*stream].ticks.iter().copied()).collect();
        ticks.sort_unstable();
        ticks.dedup_by_key(|tick| tick.at);
        Cow::Owned(ticks)
    }

    /// The longest time between two runs of a source, the first if there are several. `None`: there are no two runs.
    pub fn worst_gap(&self, source: SourceId) -> Option<Gap> {
        match self.ticks(source) {
            Cow::Borrowed(_) => self.streams[self.streams_of(source).next()?].worst,
            Cow::Owned(ticks) => chains::worst_gap(&ticks),
        }
    }

    /// The longest time between two runs of a source in seconds, where an hour that comes twice counts once: what would
    /// pass between them if clocks were never moved back.
    pub fn steady_gap(&self, source: SourceId) -> Option<u64> {
        match self.ticks(source) {
            Cow::Borrowed(_) => self.streams[self.streams_of(source).next()?].steady,
            Cow::Owned(ticks) => chains::steady_gap(&ticks),
        }
    }

    fn streams_of(&self, source: SourceId) -> impl Iterator<Item = usize> {
        let lines = self.of_source.get(source.0).into_iter().flatten();
        lines.map(|(line, _)| self.lines[*line].stream)
    }

    /// Every run that brought a source to a store, oldest first.
    pub fn lives_of(&self, source: SourceId, store: StoreId) -> Vec<&Life> {
        let Some(kept) = self.kept(store).filter(|_| self.holds(source, store)) else { return Vec::new() };
        let streams: BTreeSet<usize> = self.streams_of(source).collect();
        let all = kept.lives.iter().zip(&kept.streams);
        all.filter(|(_, stream)| streams.contains(&usize::from(**stream))).map(|(life, _)| life).collect()
    }

    /// The runs from which a source can be restored at a moment, after the run of that moment: their starts, oldest first,
    /// over these stores.
    pub fn points(&self, source: SourceId, stores: &[StoreId], at: Timestamp) -> Vec<Timestamp> {
        let lives = stores.iter().flat_map(|store| self.lives_of(source, *store));
        let mut points: Vec<Timestamp> = lives.filter(|life| life.is_there(at)).map(Life::started).collect();
        points.sort_unstable();
        points.dedup();
        points
    }

    /// Whether a source comes to a store.
    pub fn holds(&self, source: SourceId, store: StoreId) -> bool {
        let lines = self.of_source.get(source.0).into_iter().flatten();
        lines.into_iter().any(|(line, _)| self.lines[*line].stores.contains(&store))
    }

    /// What a store holds at a moment, before the run of that moment lets anything go, as retention sees it: runs by their
    /// place among the store's lives.
    pub fn runs(&self, store: StoreId, at: Timestamp) -> Vec<Run<usize>> {
        let Some(life) = self.kept(store) else { return Vec::new() };
        let at = at.as_second();
        let there = life.lives.iter().enumerate().filter(|(_, life)| life.started <= at && life.gone >= at);
        there.map(|(index, _)| self.run(store, life, index)).collect()
    }

    fn run(&self, store: StoreId, life: &StoreLife, index: usize) -> Run<usize> {
        let own = &life.lives[index];
        let mut parts = Vec::new();
        for (source, lines) in self.model.sources.iter().zip(&self.of_source) {
            for (line, follows) in lines {
                let line = &self.lines[*line];
                if line.stream != usize::from(life.streams[index]) || !line.stores.contains(&store) {
                    continue;
                }
                let rests = *follows && !line.self_contained;
                parts.push(Part {
                    archive: line.name.clone(),
                    source: source.name.clone(),
                    level: if *follows { own.level } else { Level::Full },
                    place: 0,
                    rests_on: if rests { life.all_bases(index) } else { BTreeSet::new() },
                    lacks: Lack::Nothing,
                    lost: Default::default(),
                });
            }
        }
        Run { id: index, started: own.started(), level: own.level, parts, size: 0, is_torn: false }
    }

    /// Why each run that a store holds at a moment stays, decided by retention itself; no reason: it goes at that moment's run.
    pub fn decision(&self, store: StoreId, at: Timestamp) -> Decision<usize> {
        let policy = Policy::of(self.model, self.model.store(store), at);
        retention::retain(&self.runs(store, at), &BTreeSet::new(), &policy)
    }
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
