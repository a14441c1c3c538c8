//! The rules of `keep`, run by run: each says which runs it holds from now on and which it holds no longer. The same answers
//! as [`crate::retention::retain`] gives for what a store holds, at a cost that does not grow with it; a property test holds
//! the two against each other.

use std::collections::VecDeque;

use jiff::ToSpan;
use jiff::civil::Date;

use crate::due::Tick;
use crate::model::{Keep, Level};

/// A run in a row of runs that hold the same sources.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    /// Its place among the runs of its store, oldest first.
    pub at: usize,
    /// Its level in this row.
    pub level: Level,
    /// When it began, seconds since 1970.
    pub started: i64,
}

/// What changed about who is held.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Held once more.
    pub held: Vec<usize>,
    /// Held once less.
    pub released: Vec<usize>,
}

impl Holds {
    fn hold(&mut self, at: usize) {
        self.held.push(at);
    }

    fn release(&mut self, at: usize) {
        self.released.push(at);
    }
}

/// The rules of one `keep` over one row.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    rules: Vec<Rule>,
    /// Runs of the row that may still be there, oldest first: for rules that look for one.
    there: Vec<Entry>,
    /// How long `there` was when it was last rid of what is gone.
    swept: usize,
    /// Whether any rule looks.
    looks: bool,
}

#[derive(Debug, PartialEq)]
enum Rule {
    Last {
        count: usize,
        held: VecDeque<usize>,
    },
    Within {
        seconds: i64,
        held: VecDeque<(i64, usize)>,
    },
    /// From the Nth newest full on: `cycles` and `full`.
    Fulls {
        count: usize,
        fulls: usize,
        held: VecDeque<(usize, bool)>,
    },
    Differentials {
        count: usize,
        held: Vec<usize>,
    },
    Wal {
        seconds: i64,
        held: Vec<usize>,
    },
    Periods {
        period: Period,
        count: usize,
        prefer_full: bool,
        held: VecDeque<(Key, Entry)>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// A period, and the zone's offset where it tells two of them apart.
type Key = (i64, i32);

/// A moment in the words of a calendar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    hour: Key,
    day: i64,
    week: i64,
    month: i64,
    year: i64,
}

impl Calendar {
    /// The moment of a run; `before` is that of the run before it, which is mostly on the same day.
    pub(super) fn of(tick: Tick, before: Option<Calendar>) -> Calendar {
        let local = tick.at + i64::from(tick.offset);
        let day = local.div_euclid(86_400);
        let hour = (local.div_euclid(3600), tick.offset);
        if let Some(before) = before.filter(|before| before.day == day) {
            return Calendar { hour, ..before };
        }
        let date = Date::constant(1970, 1, 1).checked_add(day.days()).unwrap_or(Date::MAX);
        let year = i64::from(date.year());
        // The first of January 1970 was a Thursday.
        Calendar {
            hour,
            day,
            week: (day + 3).div_euclid(7),
            month: year * 12 + i64::from(date.month()),
            year,
        }
    }

    fn key(self, period: Period) -> Key {
        match period {
            Period::Hour => self.hour,
            Period::Day => (self.day, 0),
            Period::Week => (self.week, 0),
            Period::Month => (self.month, 0),
            Period::Year => (self.year, 0),
        }
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn seconds(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Row {
    /// The rules of a `keep`.
    pub(super) fn new(keep: &Keep) -> Row {
        let mut rules = Vec::new();
        let counted = |count: Option<u32>| count.map(size);
        rules.extend(counted(keep.last).map(|count| Rule::Last { count, held: VecDeque::new() }));
        rules.extend(keep.within.map(|span| Rule::Within { seconds: seconds(span), held: VecDeque::new() }));
        for count in [keep.cycles, keep.full].into_iter().flatten() {
            rules.push(Rule::Fulls { count: size(count), fulls: 0, held: VecDeque::new() });
        }
        rules.extend(counted(keep.differential).map(|count| Rule::Differentials { count, held: Vec::new() }));
        rules.extend(keep.wal.map(|span| Rule::Wal { seconds: seconds(span), held: Vec::new() }));
        for (period, count) in [
            (Period::Hour, keep.hourly),
            (Period::Day, keep.daily),
            (Period::Week, keep.weekly),
            (Period::Month, keep.monthly),
            (Period::Year, keep.yearly),
        ] {
            let rule =
                |count| Rule::Periods { period, count, prefer_full: keep.prefer_full, held: VecDeque::new() };
            rules.extend(counted(count).map(rule));
        }
        Row::of(rules)
    }

    /// The one rule that log asks for.
    pub(super) fn log(span: u64) -> Row {
        Row::of(vec![Rule::Wal { seconds: seconds(span), held: Vec::new() }])
    }

    fn of(rules: Vec<Rule>) -> Row {
        let looks = rules.iter().any(|rule| matches!(rule, Rule::Wal { .. } | Rule::Differentials { .. }));
        Row { rules, there: Vec::new(), swept: 0, looks }
    }

    /// A run came to the row. `is_there` tells of runs before it.
    pub(super) fn push(
        &mut self,
        entry: Entry,
        calendar: Calendar,
        is_there: &dyn Fn(usize) -> bool,
        holds: &mut Holds,
    ) {
        if self.looks {
            self.there.push(entry);
            if self.there.len() > 2 * self.swept + 16 {
                self.there.retain(|other| other.at == entry.at || is_there(other.at));
                self.swept = self.there.len();
            }
        }
        let view = View { there: &self.there, is_there };
        for rule in &mut self.rules {
            rule.push(entry, calendar, &view, holds);
        }
    }
}

/// What is there when a rule looks: before anything of this step goes.
struct View<'a> {
    there: &'a [Entry],
    is_there: &'a dyn Fn(usize) -> bool,
}

impl View<'_> {
    /// Newest first.
    fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        let newest = self.there.last().map(|entry| entry.at);
        self.there.iter().rev().filter(move |entry| Some(entry.at) == newest || (self.is_there)(entry.at))
    }

    /// The newest that began at `edge` or before it, and the oldest that began after it.
    fn around(&self, edge: i64) -> Vec<usize> {
        let newest = self.there.last().map(|entry| entry.at);
        let is_there = |entry: &&Entry| Some(entry.at) == newest || (self.is_there)(entry.at);
        let (old, young) = self.there.split_at(self.there.partition_point(|entry| entry.started <= edge));
        let base = old.iter().rev().find(is_there);
        base.into_iter().chain(young.iter().find(is_there)).map(|entry| entry.at).collect()
    }

    /// The newest differentials, with the incrementals that follow them.
    fn differentials(&self, count: usize) -> Vec<usize> {
        let (mut held, mut since, mut left) = (Vec::new(), Vec::new(), count);
        for entry in self.newest_first() {
            if left == 0 {
                break;
            }
            match entry.level {
                Level::Incremental => since.push(entry.at),
                Level::Full => since.clear(),
                Level::Differential => {
                    held.append(&mut since);
                    held.push(entry.at);
                    left -= 1;
                }
            }
        }
        held
    }
}

/// Holds these in place of those that were held.
fn exchange(held: &mut Vec<usize>, now: Vec<usize>, holds: &mut Holds) {
    now.iter().for_each(|at| holds.hold(*at));
    held.drain(..).for_each(|at| holds.release(at));
    *held = now;
}

impl Rule {
    fn push(&mut self, entry: Entry, calendar: Calendar, view: &View<'_>, holds: &mut Holds) {
        match self {
            Rule::Last { count, held } => {
                held.push_back(entry.at);
                holds.hold(entry.at);
                while held.len() > *count {
                    held.pop_front().into_iter().for_each(|at| holds.release(at));
                }
            }
            Rule::Within { seconds, held } => {
                held.push_back((entry.started, entry.at));
                holds.hold(entry.at);
                let edge = entry.started.saturating_sub(*seconds);
                while let Some((_, at)) = held.pop_front_if(|(started, _)| *started <= edge) {
                    holds.release(at);
                }
            }
            Rule::Fulls { count, fulls, held } => {
                let is_full = entry.level == Level::Full;
                held.push_back((entry.at, is_full));
                holds.hold(entry.at);
                *fulls += usize::from(is_full);
                while *fulls > *count || *fulls == *count && held.front().is_some_and(|(_, is_full)| !is_full)
                {
                    let Some((at, was_full)) = held.pop_front() else { break };
                    *fulls -= usize::from(was_full);
                    holds.release(at);
                }
            }
            Rule::Differentials { count, held } => {
                exchange(held, view.differentials(*count), holds);
            }
            Rule::Wal { seconds, held } => {
                let now = view.around(entry.started.saturating_sub(*seconds));
                if now != *held {
                    exchange(held, now, holds);
                }
            }
            Rule::Periods { period, count, prefer_full, held } => {
                let key = calendar.key(*period);
                if let Some((_, chosen)) = held.back_mut().filter(|(newest, _)| *newest == key) {
                    if !(*prefer_full && chosen.level == Level::Full && entry.level != Level::Full) {
                        holds.hold(entry.at);
                        holds.release(chosen.at);
                        *chosen = entry;
                    }
                    return;
                }
                held.push_back((key, entry));
                holds.hold(entry.at);
                while held.len() > *count {
                    held.pop_front().into_iter().for_each(|(_, chosen)| holds.release(chosen.at));
                }
            }
        }
    }
}
