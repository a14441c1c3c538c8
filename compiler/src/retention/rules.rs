//! The rules of `keep`, each applied to a row of runs, newest first.

use std::collections::BTreeMap;

use jiff::civil::{DateTime, Weekday};
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::model::{Keep, Level};

/// A run in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Its place among all runs of the store, newest first.
    pub at: usize,
    /// Its level in this row.
    pub level: Level,
}

/// A row of runs, newest first, with what the rules ask of them.
pub(super) struct View<'a> {
    pub entries: &'a [Entry],
    /// By the place among all runs.
    pub started: &'a dyn Fn(usize) -> Timestamp,
    /// The start in the schedule's zone, by the place among all runs.
    pub local: &'a [DateTime],
    /// Seconds of that zone's offset then: an hour that comes twice is two.
    pub offsets: &'a [i32],
}

/// The runs that a rule keeps, by their place among all runs, each with the rule in words.
pub(super) type Kept = Vec<(usize, String)>;

impl View<'_> {
    /// Every rule that is set.
    pub fn apply(&self, keep: &Keep) -> Kept {
        let mut kept = Vec::new();
        if let Some(count) = keep.last {
            self.keep(&mut kept, self.entries.iter().take(size(count)), &format!("last {count}"));
        }
        if let Some(seconds) = keep.within {
            self.within(&mut kept, seconds);
        }
        if let Some(count) = keep.cycles {
            self.cycles(&mut kept, count);
        }
        if let Some(count) = keep.full {
            self.fulls(&mut kept, count);
        }
        if let Some(count) = keep.differential {
            self.differentials(&mut kept, count);
        }
        if let Some(seconds) = keep.wal {
            self.wal(&mut kept, seconds);
        }
        for (period, count) in [
            (Period::Hour, keep.hourly),
            (Period::Day, keep.daily),
            (Period::Week, keep.weekly),
            (Period::Month, keep.monthly),
            (Period::Year, keep.yearly),
        ] {
            if let Some(count) = count {
                self.periods(&mut kept, period, count, keep.prefer_full);
            }
        }
        kept
    }

    /// What `wal` keeps.
    pub fn base_of_log(&self, seconds: u64) -> Kept {
        let mut kept = Vec::new();
        self.wal(&mut kept, seconds);
        kept
    }

    fn keep<'e>(&self, kept: &mut Kept, entries: impl IntoIterator<Item = &'e Entry>, rule: &str) {
        kept.extend(entries.into_iter().map(|entry| (entry.at, rule.to_owned())));
    }

    /// Where so many seconds before the newest run are.
    fn before_newest(&self, seconds: u64) -> Timestamp {
        let newest = self.entries.first().map_or(Timestamp::MIN, |entry| (self.started)(entry.at));
        let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        newest.checked_sub(span).unwrap_or(Timestamp::MIN)
    }

    fn within(&self, kept: &mut Kept, seconds: u64) {
        let edge = self.before_newest(seconds);
        let young = self.entries.iter().filter(|entry| (self.started)(entry.at) > edge);
        self.keep(kept, young, &format!("within {}", duration(seconds)));
    }

    /// A cycle is a full and all runs until the next full. Runs whose full is not there make one too.
    fn cycles(&self, kept: &mut Kept, count: u32) {
        let rule = format!("cycles {count}");
        let mut left = size(count);
        for entry in self.entries {
            if left == 0 {
                return;
            }
            kept.push((entry.at, rule.clone()));
            left -= usize::from(entry.level == Level::Full);
        }
    }

    fn fulls(&self, kept: &mut Kept, count: u32) {
        let mut left = size(count);
        let mut since: Vec<&Entry> = Vec::new();
        for entry in self.entries {
            if left == 0 {
                return;
            }
            since.push(entry);
            if entry.level == Level::Full {
                self.keep(kept, since.drain(..), &format!("full {count}"));
                left -= 1;
            }
        }
    }

    /// Differentials with the incrementals that follow them.
    fn differentials(&self, kept: &mut Kept, count: u32) {
        let mut left = size(count);
        let mut since: Vec<&Entry> = Vec::new();
        for entry in self.entries {
            if left == 0 {
                return;
            }
            match entry.level {
                Level::Incremental => since.push(entry),
                Level::Full => since.clear(),
                Level::Differential => {
                    since.push(entry);
                    self.keep(kept, since.drain(..), &format!("differential {count}"));
                    left -= 1;
                }
            }
        }
    }

    /// The newest run that is so much older than the newest of all: from it, log leads to every moment since. Where
    /// none is so old yet, the oldest. And the oldest that is younger, which takes its place: without it, where the other
    /// rules let every run go before it is so old, the first base would stay for ever, with all log since.
    fn wal(&self, kept: &mut Kept, seconds: u64) {
        let edge = self.before_newest(seconds);
        let rule = format!("wal {}", duration(seconds));
        let base = self.entries.iter().position(|entry| (self.started)(entry.at) <= edge);
        let (young, old) = self.entries.split_at(base.unwrap_or(self.entries.len()));
        match old.first() {
            Some(base) => {
                self.keep(kept, [base], &rule);
                self.keep(kept, young.last(), &format!("next for {rule}"));
            }
            None => self.keep(kept, young.last(), &rule),
        }
    }

    fn periods(&self, kept: &mut Kept, period: Period, count: u32, prefer_full: bool) {
        // By their newest runs, newest first: a clock that was wrong once takes a place for a while, not for ever.
        let mut order: Vec<Key> = Vec::new();
        let mut chosen: BTreeMap<Key, &Entry> = BTreeMap::new();
        for entry in self.entries {
            let key = period.key(self.local[entry.at], self.offsets[entry.at]);
            match chosen.get_mut(&key) {
                None if order.len() < size(count) => {
                    order.push(key);
                    chosen.insert(key, entry);
                }
                Some(best) if prefer_full && best.level != Level::Full && entry.level == Level::Full => {
                    *best = entry;
                }
                _ => {}
            }
        }
        for key in order {
            if let Some(entry) = chosen.get(&key) {
                kept.push((entry.at, period.label(self.local[entry.at])));
            }
        }
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The first moment of a period, and the zone's offset where it tells two of them apart.
type Key = (DateTime, i32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    fn key(self, at: DateTime, offset: i32) -> Key {
        let date = at.date();
        match self {
            Period::Hour => (date.at(at.hour(), 0, 0, 0), offset),
            Period::Day => (date.at(0, 0, 0, 0), 0),
            Period::Week => {
                let since = date.weekday().since(Weekday::Monday);
                (date.checked_sub(i64::from(since).days()).unwrap_or(date).at(0, 0, 0, 0), 0)
            }
            Period::Month => (date.first_of_month().at(0, 0, 0, 0), 0),
            Period::Year => (date.first_of_year().at(0, 0, 0, 0), 0),
        }
    }

    fn label(self, at: DateTime) -> String {
        match self {
            Period::Hour => format!("hourly {}", at.strftime("%Y-%m-%d %H:00")),
            Period::Day => format!("daily {}", at.date()),
            Period::Week => format!("weekly {}", at.strftime("%G-W%V")),
            Period::Month => format!("monthly {}", at.strftime("%Y-%m")),
            Period::Year => format!("yearly {}", at.strftime("%Y")),
        }
    }
}

/// Seconds in the largest unit, up to days, that has no remainder.
fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let whole = units.into_iter().find(|(_, length)| seconds >= *length && seconds.is_multiple_of(*length));
    whole.map_or(format!("{seconds}s"), |(unit, length)| format!("{}{unit}", seconds / length))
}
