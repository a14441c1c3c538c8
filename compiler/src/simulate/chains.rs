//! Which runs there are, at which level, and what rests on what. Archives that behave alike are played once, so that a
//! plan of ten thousand sources costs no more than one of ten.

use std::collections::BTreeMap;

use super::rows::Row;
use super::shelf::{Arrival, Shelf};
use super::{Chain, Cut, Gap, Horizon, Simulation, StoreLife, moment};
use crate::cycle;
use crate::due::{self, Tick};
use crate::model::{Archive, Cycle, Level, Model, Schedule, SourceId, StoreId};
use crate::retention::Policy;

/// The runs of one schedule.
#[derive(Debug)]
pub(super) struct Stream {
    pub ticks: Vec<Tick>,
    /// Each level has times of its own.
    by_levels: bool,
    /// The longest time between two of them.
    pub worst: Option<Gap>,
    /// The same where an hour that comes twice counts once.
    pub steady: Option<u64>,
}

impl Stream {
    fn new(schedule: &Schedule, horizon: Horizon) -> Stream {
        let ticks = due::ticks(schedule, horizon.from, horizon.until, horizon.runs);
        Stream {
            by_levels: schedule.is_by_levels(),
            worst: worst_gap(&ticks),
            steady: steady_gap(&ticks),
            ticks,
        }
    }
}

impl Stream {
    /// The longest row of runs that rest on one another, in time.
    pub(super) fn longest_chain(&self, cycle: Option<&Cycle>) -> Option<Chain> {
        let cycle = cycle.filter(|cycle| cycle.incrementals > 0);
        let (mut from, mut links, mut followers) = (self.ticks.first()?.at, 0, 0);
        let mut longest: Option<Chain> = None;
        for (at, tick) in self.ticks.iter().enumerate() {
            let level = match (at, self.by_levels, cycle) {
                (0, ..) | (_, false, None) => Level::Full,
                (_, true, _) => tick.level.unwrap_or(Level::Full),
                (_, false, Some(cycle)) => cycle::coming(cycle, followers),
            };
            followers = if level == Level::Full { 0 } else { followers + 1 };
            match level {
                Level::Incremental => links += 1,
                // It rests on a full alone.
                Level::Full | Level::Differential => (from, links) = (tick.at, 0),
            }
            if longest.is_none_or(|longest| tick.at - from > longest.until - longest.from) {
                longest = Some(Chain { from, until: tick.at, links, by_levels: self.by_levels });
            }
        }
        longest
    }
}

/// The longest time between two of these moments, the first if there are several.
pub(super) fn worst_gap(ticks: &[Tick]) -> Option<Gap> {
    let gap = ticks.windows(2).rev().max_by_key(|pair| pair[1].at - pair[0].at)?;
    Some(Gap { from: moment(gap[0].at), until: moment(gap[1].at) })
}

/// The longest time between two of these moments in seconds, where an hour that comes twice counts once.
pub(super) fn steady_gap(ticks: &[Tick]) -> Option<u64> {
    let steady = |pair: &[Tick]| {
        let moved_back = i64::from(pair[0].offset) - i64::from(pair[1].offset);
        pair[1].at - pair[0].at - moved_back.max(0)
    };
    ticks.windows(2).map(steady).max().map(|gap| u64::try_from(gap).unwrap_or(0))
}

/// Archives that behave alike: of one schedule, in the same stores.
#[derive(Debug)]
pub(super) struct Line {
    /// The first archive's name.
    pub name: String,
    /// The first archive's place in the model; separate sources come behind the archives.
    archive: usize,
    pub stream: usize,
    pub stores: Vec<StoreId>,
    /// What stands for its stores.
    shelves: Vec<usize>,
    pub self_contained: bool,
    /// Something in it has levels.
    follows: bool,
}

/// What two lines have in common whose archives are always of one level: only what is self-contained can lose its full,
/// and that by what its stores keep.
type Gait = (usize, Option<Vec<StoreId>>);

impl Line {
    /// Whether its runs rest on one another.
    pub(super) fn is_chained(&self) -> bool {
        self.follows && !self.self_contained
    }

    fn gait(&self) -> Gait {
        (self.stream, self.self_contained.then(|| self.stores.clone()))
    }
}

/// How a line stands.
#[derive(Debug, Clone)]
struct Standing {
    /// Runs behind the newest full; `None`: there has been none.
    followers: Option<usize>,
    /// By its shelves: where the newest full is, and the newest run.
    full: Vec<Option<usize>>,
    newest: Vec<Option<usize>>,
    /// The numbers of its fulls, where it can lose one.
    fulls: Vec<u32>,
}

/// What becomes of a store depends on nothing else: stores that are alike in it share a shelf.
#[derive(Debug, PartialEq)]
struct Visits {
    /// The lines that come to it.
    lines: Vec<usize>,
    /// Rows of sources: in which lines, and whether they follow. The first is everything.
    rows: Vec<Vec<(usize, bool)>>,
    /// The rules, each with the row it looks at; `None`: nothing ever goes.
    rules: Option<Vec<(usize, Row)>>,
    /// Seconds.
    immutable: Option<u64>,
}

/// A shelf, and what comes to it.
struct Visited {
    shelf: Shelf,
    /// Line, and the shelf's place among the line's.
    lines: Vec<(usize, usize)>,
    rows: Vec<Vec<(usize, bool)>>,
    /// By run: its stream.
    made_by: Vec<u16>,
}

/// A simulation under way.
pub(super) struct Play<'m> {
    model: &'m Model,
    horizon: Horizon,
    streams: Vec<Stream>,
    lines: Vec<Line>,
    of_source: Vec<Vec<(usize, bool)>>,
    standings: Vec<Standing>,
    visited: Vec<Visited>,
    /// By store: which of them it is.
    of_store: Vec<usize>,
    /// How many runs there were.
    count: u32,
    cuts: Vec<Cut>,
}

impl<'m> Play<'m> {
    pub(super) fn new(model: &'m Model, horizon: Horizon) -> Play<'m> {
        let mut play = Play {
            model,
            horizon,
            streams: model.schedule.iter().map(|schedule| Stream::new(schedule, horizon)).collect(),
            lines: Vec::new(),
            of_source: vec![Vec::new(); model.sources.len()],
            standings: Vec::new(),
            visited: Vec::new(),
            of_store: Vec::new(),
            count: 0,
            cuts: Vec::new(),
        };
        play.draw_lines();
        play.open_stores();
        let blank = |line: &Line| Standing {
            followers: None,
            full: vec![None; line.shelves.len()],
            newest: vec![None; line.shelves.len()],
            fulls: Vec::new(),
        };
        play.standings = play.lines.iter().map(blank).collect();
        play
    }

    fn draw_lines(&mut self) {
        let model = self.model;
        let mut known: BTreeMap<(usize, Vec<StoreId>, [bool; 2]), usize> = BTreeMap::new();
        let whole = |id: &SourceId| model.source(*id).is_whole_each_time();
        let archives = model.archives.iter().filter(|_| model.schedule.is_some());
        let mut all: Vec<(Archive, usize, Vec<bool>)> =
            archives.map(|archive| (archive.clone(), 0, archive.from.iter().map(whole).collect())).collect();
        for separate in &model.separates {
            let stream = match &separate.schedule {
                Some(schedule) => {
                    self.streams.push(Stream::new(schedule, self.horizon));
                    self.streams.len() - 1
                }
                None if model.schedule.is_some() => 0,
                None => continue,
            };
            // Its repository lives on in its store, whether it has a staging or not.
            let chain = separate.chain(&model.source(separate.source).name);
            all.push((chain, stream, vec![false]));
        }
        for (index, (archive, stream, whole)) in all.into_iter().enumerate() {
            let follows = whole.contains(&false);
            let key = (stream, archive.to.clone(), [archive.self_contained, follows]);
            let lines = &mut self.lines;
            let line = *known.entry(key).or_insert_with(|| {
                lines.push(Line {
                    name: archive.name.clone(),
                    archive: index,
                    stream,
                    stores: archive.to.clone(),
                    shelves: Vec::new(),
                    self_contained: archive.self_contained,
                    follows,
                });
                lines.len() - 1
            });
            for (id, whole) in archive.from.iter().zip(whole) {
                let member = (line, follows && !whole);
                if !self.of_source[id.0].contains(&member) {
                    self.of_source[id.0].push(member);
                }
            }
        }
    }

    fn open_stores(&mut self) {
        let mut all: Vec<Visits> = Vec::new();
        for index in 0..self.model.stores.len() {
            let visits = self.visits(StoreId(index));
            let known = all.iter().position(|other| *other == visits);
            self.of_store.push(known.unwrap_or(all.len()));
            if known.is_none() {
                all.push(visits);
            }
        }
        for line in &mut self.lines {
            line.shelves = line.stores.iter().map(|store| self.of_store[store.0]).collect();
            line.shelves.sort_unstable();
            line.shelves.dedup();
        }
        for (index, Visits { lines, rows, rules, immutable }) in all.into_iter().enumerate() {
            let place = |line: usize| Some((line, self.lines[line].shelves.binary_search(&index).ok()?));
            self.visited.push(Visited {
                shelf: Shelf::new(rows.len(), rules, immutable),
                lines: lines.into_iter().filter_map(place).collect(),
                rows,
                made_by: Vec::new(),
            });
        }
    }

    fn visits(&self, id: StoreId) -> Visits {
        let comes = |line: &usize| self.lines[*line].stores.contains(&id);
        let lines: Vec<usize> = (0..self.lines.len()).filter(comes).collect();
        let store = self.model.store(id);
        let policy = Policy::of(self.model, store, self.horizon.from);
        let keep = policy.keep.filter(|_| !policy.append_only);
        let mut rows = vec![Vec::new()];
        let mut rules: Vec<(usize, Row)> = keep.map(|keep| (0, Row::new(keep))).into_iter().collect();
        let mut known: BTreeMap<Vec<(usize, bool)>, usize> = BTreeMap::new();
        for (source, in_lines) in self.model.sources.iter().zip(&self.of_source) {
            let here = |(line, _): &&(usize, bool)| lines.contains(line);
            let members: Vec<(usize, bool)> = in_lines.iter().filter(here).copied().collect();
            if members.is_empty() {
                continue;
            }
            let row = *known.entry(members).or_insert_with_key(|members| {
                rows.push(members.clone());
                let row = rows.len() - 1;
                let differs = !self.is_all(&lines, members);
                rules.extend(keep.filter(|_| differs).map(|keep| (row, Row::new(keep))));
                row
            });
            if keep.is_some() {
                rules.extend(policy.own.get(&source.name).map(|own| (row, Row::new(own))));
                rules.extend(policy.wal.get(&source.name).map(|span| (row, Row::log(*span))));
            }
        }
        Visits { lines, rows, rules: keep.map(|_| rules), immutable: store.immutable }
    }

    /// Whether sources that lie like this are in every run of the store, at the run's own level.
    fn is_all(&self, lines: &[usize], members: &[(usize, bool)]) -> bool {
        let lines = || lines.iter().map(|line| &self.lines[*line]);
        let mut following = lines().filter(|line| line.follows).map(Line::gait);
        let first = following.next();
        let one_stream = lines().all(|line| Some(line.stream) == lines().next().map(|first| first.stream));
        let one_gait = following.all(|gait| Some(&gait) == first.as_ref());
        one_stream && one_gait && members.iter().all(|(_, follows)| *follows == first.is_some())
    }

    pub(super) fn run(mut self) -> Simulation<'m> {
        let mut at: Vec<usize> = vec![0; self.streams.len()];
        loop {
            let next =
                |(stream, at): (usize, &usize)| Some((self.streams[stream].ticks.get(*at)?.at, stream));
            let Some((_, stream)) = at.iter().enumerate().filter_map(next).min() else { break };
            let tick = self.streams[stream].ticks[at[stream]];
            at[stream] += 1;
            self.step(stream, tick);
        }
        let kept: Vec<StoreLife> = (self.visited.into_iter())
            .map(|Visited { shelf, made_by, .. }| StoreLife {
                worst: shelf.worst(),
                lives: shelf.lives,
                bases: shelf.bases,
                streams: made_by,
            })
            .collect();
        Simulation {
            model: self.model,
            horizon: self.horizon,
            streams: self.streams,
            lines: self.lines,
            of_source: self.of_source,
            kept,
            of_store: self.of_store,
            cuts: self.cuts,
        }
    }

    fn step(&mut self, stream: usize, tick: Tick) {
        let levels: Vec<Option<Level>> =
            (0..self.lines.len()).map(|line| self.level(line, stream, tick)).collect();
        let mut rows: Vec<Option<Level>> = Vec::new();
        let mut bases: Vec<usize> = Vec::new();
        for index in 0..self.visited.len() {
            let visits = &self.visited[index];
            let of_line = |line: usize, follows: bool| {
                levels[line].map(|level| if follows { level } else { Level::Full })
            };
            let present = || visits.lines.iter().filter(|(line, _)| levels[*line].is_some());
            if present().next().is_none() {
                continue;
            }
            let following = present().filter(|(line, _)| self.lines[*line].follows);
            let level = following.filter_map(|(line, _)| levels[*line]).max().unwrap_or(Level::Full);
            rows.clear();
            rows.push(Some(level));
            rows.extend(
                visits.rows[1..].iter().map(|members| {
                    members.iter().filter_map(|(line, follows)| of_line(*line, *follows)).max()
                }),
            );
            bases.clear();
            bases.extend(present().filter_map(|(line, place)| self.base(*line, *place, levels[*line]?)));
            bases.sort_unstable();
            bases.dedup();
            let arrival = Arrival { number: self.count, tick, level, bases: &bases, rows: &rows };
            let visits = &mut self.visited[index];
            let made = visits.shelf.take(&arrival);
            visits.made_by.push(u16::try_from(stream).unwrap_or(u16::MAX));
            for (line, place) in visits.lines.iter().filter(|(line, _)| levels[*line].is_some()) {
                let standing = &mut self.standings[*line];
                standing.newest[*place] = Some(made);
                if levels[*line] == Some(Level::Full) {
                    standing.full[*place] = Some(made);
                }
            }
        }
        for ((standing, line), level) in self.standings.iter_mut().zip(&self.lines).zip(&levels) {
            match level {
                Some(Level::Full) => {
                    standing.followers = Some(0);
                    if line.self_contained {
                        standing.fulls.push(self.count);
                    }
                }
                Some(_) => standing.followers = standing.followers.map(|count| count + 1),
                None => {}
            }
        }
        self.count += 1;
    }

    /// The level of a line's next run; `None`: it is not of this schedule.
    fn level(&mut self, line: usize, stream: usize, tick: Tick) -> Option<Level> {
        let (standing, own) = (&self.standings[line], &self.lines[line]);
        if own.stream != stream {
            return None;
        }
        if !own.follows {
            return Some(Level::Full);
        }
        let Some(followers) = standing.followers else { return Some(Level::Full) };
        let is_there = |(full, shelf): (&Option<usize>, &usize)| {
            full.is_some_and(|full| self.visited[*shelf].shelf.is_there(full))
        };
        if standing.full.iter().zip(&own.shelves).all(is_there) {
            return Some(self.wanted(stream, tick, followers));
        }
        let known = self.behind_an_earlier_full(line).map(|there| followers.max(there));
        let level = known.map_or(Level::Full, |known| self.wanted(stream, tick, known));
        let is_cut = level == Level::Full && self.wanted(stream, tick, followers) != Level::Full;
        let archive = own.archive;
        if is_cut && !self.cuts.iter().any(|cut| cut.archive == archive) {
            self.cuts.push(Cut { archive, at: moment(tick.at), followers });
        }
        self.standings[line].followers = known;
        Some(level)
    }

    /// The level that the schedule or the cycle asks for, behind a full and so many runs.
    fn wanted(&self, stream: usize, tick: Tick, followers: usize) -> Level {
        let cycle = self.model.cycle.as_ref().filter(|cycle| cycle.incrementals > 0);
        match (self.streams[stream].by_levels, cycle) {
            (true, _) => tick.level.unwrap_or(Level::Full),
            (false, Some(cycle)) => cycle::coming(cycle, followers),
            (false, None) => Level::Full,
        }
    }

    /// Where retention took a line's newest full: how many runs that all its stores have follow the newest full that they
    /// still have. Only what is self-contained can come to that.
    fn behind_an_earlier_full(&self, line: usize) -> Option<usize> {
        let (standing, own) = (&self.standings[line], &self.lines[line]);
        let (first, others) = own.shelves.split_first()?;
        let Visited { shelf, made_by, .. } = &self.visited[*first];
        let is_own = |at: &usize| usize::from(made_by[*at]) == own.stream;
        let everywhere = |number: &u32| others.iter().all(|other| self.visited[*other].shelf.holds(*number));
        let numbers = shelf.there().filter(is_own).map(|at| shelf.number(at)).filter(everywhere);
        numbers
            .enumerate()
            .find(|(_, number)| standing.fulls.binary_search(number).is_ok())
            .map(|(there, _)| there)
    }

    /// What a line's run rests on in one of its shelves.
    fn base(&self, line: usize, place: usize, level: Level) -> Option<usize> {
        let standing = &self.standings[line];
        if self.lines[line].self_contained || !self.lines[line].follows {
            return None;
        }
        match level {
            Level::Full => None,
            Level::Differential => standing.full[place],
            Level::Incremental => standing.newest[place],
        }
    }
}
