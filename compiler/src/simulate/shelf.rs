//! What one store holds while the schedule goes on.

use std::collections::VecDeque;

use super::rows::{Calendar, Entry, Holds, Row};
use super::{Life, NEVER};
use crate::due::Tick;
use crate::model::Level;

/// A run as a store takes it.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    /// Its number among all runs of the plan.
    pub number: u32,
    /// When it began.
    pub tick: Tick,
    /// The highest level of what it brings.
    pub level: Level,
    /// The runs of this store that something of it rests on at once; what those rest on they hold themselves.
    pub bases: &'a [usize],
    /// Its level in each row of the store; `None`: the row's sources are not in it.
    pub rows: &'a [Option<Level>],
}

/// A moment at which a store held much that only others rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Burden {
    /// Seconds since 1970.
    pub at: i64,
    /// Runs that were there.
    pub there: usize,
    /// Of those, runs that no rule keeps, as others rest on them: beyond the longest chain, which any `keep` holds at times.
    pub pinned: usize,
}

/// A store while runs arrive.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Every run that ever came, oldest first.
    pub lives: Vec<Life>,
    /// What they rest on at once, one behind the other.
    pub bases: Vec<u32>,
    /// The rules over each row of sources; the first row is all of them. Empty: nothing ever goes.
    rows: Vec<(usize, Row)>,
    /// How many rows there are, with rules or without: the newest run of each stays.
    newest: Vec<Option<usize>>,
    held: Vec<Held>,
    /// How many runs each rests on.
    depths: Vec<u32>,
    longest: usize,
    /// The number of each run among all of the plan.
    numbers: Vec<u32>,
    /// Runs that may still be there, oldest first, and how many these were when they were last looked through.
    recent: Vec<usize>,
    swept: usize,
    /// Runs that are younger than `immutable`.
    young: VecDeque<(i64, usize)>,
    immutable: Option<i64>,
    before: Option<Calendar>,
    there: usize,
    pinned: usize,
    worst: Burden,
    holds: Holds,
}

/// Who holds a run.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    by_rules: u32,
    by_runs: u32,
}

impl Shelf {
    /// An empty store with so many rows of sources; `rows` are the rules, each with the row it looks at. `None`: nothing
    /// ever goes.
    pub(super) fn new(count: usize, rows: Option<Vec<(usize, Row)>>, immutable: Option<u64>) -> Shelf {
        Shelf {
            lives: Vec::new(),
            bases: Vec::new(),
            newest: if rows.is_some() { vec![None; count] } else { Vec::new() },
            immutable: immutable.map(|span| i64::try_from(span).unwrap_or(i64::MAX)),
            rows: rows.unwrap_or_default(),
            held: Vec::new(),
            depths: Vec::new(),
            longest: 0,
            numbers: Vec::new(),
            recent: Vec::new(),
            swept: 0,
            young: VecDeque::new(),
            before: None,
            there: 0,
            pinned: 0,
            worst: Burden::default(),
            holds: Holds::default(),
        }
    }

    /// Whether a run is still there.
    pub(super) fn is_there(&self, at: usize) -> bool {
        self.lives[at].gone == NEVER
    }

    /// The runs that are there, newest first.
    pub(super) fn there(&self) -> impl Iterator<Item = usize> {
        self.recent.iter().rev().copied().filter(|at| self.is_there(*at))
    }

    /// A run's number among all of the plan.
    pub(super) fn number(&self, at: usize) -> u32 {
        self.numbers[at]
    }

    /// Whether the run of this number is there.
    pub(super) fn holds(&self, number: u32) -> bool {
        self.numbers.binary_search(&number).is_ok_and(|at| self.is_there(at))
    }

    /// The moment at which most runs were there for others' sake alone.
    pub(super) fn worst(&self) -> Burden {
        self.worst
    }

    /// Takes a run and then lets go of what retention gives up, as a run does. Returns its place in `lives`.
    pub(super) fn take(&mut self, arrival: &Arrival<'_>) -> usize {
        let at = self.lives.len();
        let Tick { at: started, .. } = arrival.tick;
        let before = u32::try_from(self.bases.len()).unwrap_or(u32::MAX);
        self.bases.extend(arrival.bases.iter().filter_map(|base| u32::try_from(*base).ok()));
        self.lives.push(Life {
            started,
            level: arrival.level,
            gone: NEVER,
            bases: (before, u32::try_from(self.bases.len()).unwrap_or(u32::MAX)),
        });
        self.there += 1;
        self.numbers.push(arrival.number);
        self.recent.push(at);
        if self.recent.len() > 2 * self.swept + 16 {
            let lives = &self.lives;
            self.recent.retain(|at| lives[*at].gone == NEVER);
            self.swept = self.recent.len();
        }
        if self.newest.is_empty() {
            return at;
        }
        self.held.push(Held::default());
        for base in arrival.bases {
            self.change(*base, |held| held.by_runs += 1);
        }
        self.ask_rules(at, arrival);
        self.keep_newest(at, arrival.rows);
        self.keep_young(at, started);
        self.let_go(started);
        // One chain is there for any `keep`: that of the newest run, or as a new one begins that of the run before.
        let depth = arrival.bases.iter().map(|base| self.depths[*base] + 1).max().unwrap_or(0);
        self.depths.push(depth);
        self.longest = self.longest.max(depth as usize);
        let pinned = self.pinned.saturating_sub(self.longest);
        if pinned > self.worst.pinned {
            self.worst = Burden { at: started, there: self.there, pinned };
        }
        at
    }

    fn ask_rules(&mut self, at: usize, arrival: &Arrival<'_>) {
        let calendar = Calendar::of(arrival.tick, self.before);
        self.before = Some(calendar);
        let lives = &self.lives;
        let is_there = |at: usize| lives[at].gone == NEVER;
        for (of, row) in &mut self.rows {
            if let Some(level) = arrival.rows[*of] {
                let entry = Entry { at, level, started: arrival.tick.at };
                row.push(entry, calendar, &is_there, &mut self.holds);
            }
        }
    }

    /// The newest run of each source is never deleted.
    fn keep_newest(&mut self, at: usize, rows: &[Option<Level>]) {
        for (newest, level) in self.newest.iter_mut().zip(rows) {
            if level.is_some() {
                self.holds.held.push(at);
                self.holds.released.extend(newest.replace(at));
            }
        }
    }

    fn keep_young(&mut self, at: usize, now: i64) {
        let Some(span) = self.immutable else { return };
        self.young.push_back((now.saturating_add(span), at));
        self.holds.held.push(at);
        while let Some((_, at)) = self.young.pop_front_if(|(until, _)| *until <= now) {
            self.holds.released.push(at);
        }
    }

    /// Counts who is held by what, and lets go of what nothing holds.
    fn let_go(&mut self, now: i64) {
        let mut holds = std::mem::take(&mut self.holds);
        for at in holds.held.drain(..) {
            self.change(at, |held| held.by_rules += 1);
        }
        let mut doubtful = std::mem::take(&mut holds.released);
        for at in &doubtful {
            self.change(*at, |held| held.by_rules = held.by_rules.saturating_sub(1));
        }
        while let Some(at) = doubtful.pop() {
            if !self.held[at].is_free() || self.lives[at].gone != NEVER {
                continue;
            }
            self.lives[at].gone = now;
            self.there -= 1;
            for index in self.lives[at].base_range() {
                let base = self.bases[index] as usize;
                self.change(base, |held| held.by_runs = held.by_runs.saturating_sub(1));
                doubtful.push(base);
            }
        }
        holds.released = doubtful;
        self.holds = holds;
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Held)) {
        let held = &mut self.held[at];
        let before = held.is_pinned();
        change(held);
        match (before, held.is_pinned()) {
            (false, true) => self.pinned += 1,
            (true, false) => self.pinned -= 1,
            _ => {}
        }
    }
}

impl Held {
    fn is_free(self) -> bool {
        self.by_rules == 0 && self.by_runs == 0
    }

    fn is_pinned(self) -> bool {
        self.by_rules == 0 && self.by_runs > 0
    }
}
