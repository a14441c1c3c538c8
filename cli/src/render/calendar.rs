//! What a plan keeps: on one day, day by day, or drawn.
//!
//! As JSON: `plan`, `basis` (`of` is `stores` or `plan`), `from` and `until` (equal for one day), and per store its `runs`, each with `started`, `level`, `until` (when it
//! goes; null where it does not while the plan is looked at) and `reasons` (why it stays as `from` begins; empty where it came
//! later).

use backplan_compiler::lower::level_word;
use backplan_compiler::model::Level;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde::{Serialize, Serializer};

pub mod drawing;
pub mod sheet;
pub mod text;

/// What is looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end; the beginning, where one moment is looked at.
    pub until: Timestamp,
    /// The schedule's zone.
    #[serde(skip)]
    pub zone: TimeZone,
}

impl Window {
    /// Whether it is one moment.
    pub fn is_moment(&self) -> bool {
        self.from == self.until
    }

    /// What its days and times are in: the zone's name.
    fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// Whether a run is there at some moment of it.
    pub fn sees(&self, started: Timestamp, gone: Option<Timestamp>) -> bool {
        // What goes as the first day begins is of that day.
        let is_there = |gone| gone > self.from || gone == self.from && !self.is_moment();
        started <= self.until && gone.is_none_or(is_there)
    }

    /// A moment by its clock.
    pub fn shown(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M %:z").to_string()
    }
}

/// From what the answer comes.
#[derive(Debug, Serialize)]
#[serde(tag = "of", rename_all = "lowercase")]
pub enum Basis {
    /// What the stores hold now, every later run succeeding.
    Stores {
        /// So far it was played.
        until: Timestamp,
    },
    /// The plan alone, followed from empty stores on.
    Plan {
        /// From here on.
        since: Timestamp,
        /// Why not what the stores hold.
        why: String,
    },
}

impl Basis {
    /// The same in a sentence.
    fn words(&self, window: &Window) -> String {
        match self {
            Basis::Stores { .. } => {
                "from what the stores hold now, if every run from now on succeeds".to_owned()
            }
            Basis::Plan { since, why } => format!(
                "as if the plan had been followed since {}, beginning with empty stores, not what they hold: {why}",
                &window.shown(*since)[..10]
            ),
        }
    }

    /// When a run goes that does not go while it is looked at.
    fn never(&self, window: &Window) -> String {
        match self {
            Basis::Stores { until } => format!("after {}", &window.shown(*until)[..10]),
            Basis::Plan { .. } => "for ever".to_owned(),
        }
    }
}

/// What a plan keeps.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// The plan.
    pub plan: String,
    /// From what this comes.
    pub basis: Basis,
    /// What is looked at.
    #[serde(flatten)]
    pub window: Window,
    /// Per store.
    pub stores: Vec<Shelf>,
}

/// What a store holds.
#[derive(Debug, Serialize)]
pub struct Shelf {
    /// Its name.
    pub store: String,
    /// Runs that are there at some moment of the window, oldest first.
    pub runs: Vec<Run>,
}

impl Kept {
    /// Stores with their names, those that hold the same taken together.
    fn groups(&self) -> Vec<(String, &Shelf)> {
        let mut groups: Vec<(Vec<&str>, &Shelf)> = Vec::new();
        for shelf in &self.stores {
            match groups.iter_mut().find(|(_, first)| first.runs == shelf.runs) {
                Some((names, _)) => names.push(&shelf.store),
                None => groups.push((vec![&shelf.store], shelf)),
            }
        }
        let words = |names: Vec<&str>| match names.len() {
            1 => format!("store {}", names[0]),
            _ => format!("stores {}", names.join(", ")),
        };
        groups.into_iter().map(|(names, shelf)| (words(names), shelf)).collect()
    }
}

/// A run.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// When it begins.
    pub started: Timestamp,
    /// Its level.
    #[serde(serialize_with = "in_a_word")]
    pub level: Level,
    /// When it goes.
    pub until: Option<Timestamp>,
    /// Why it stays.
    pub reasons: Vec<String>,
}

fn in_a_word<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level_word(*level))
}

/// The first moment of the day so many days later: where clocks change at midnight, not the moment so many times 24 hours later,
/// nor the same time of that day.
///
/// # Errors
/// There is no such day in the calendar.
pub fn days_later(day: &Zoned, count: i64) -> Result<Zoned, jiff::Error> {
    day.date().checked_add(count.days())?.to_zoned(day.time_zone().clone())?.start_of_day()
}

/// The letter of a level.
pub fn letter(level: Level) -> char {
    match level {
        Level::Full => 'F',
        Level::Differential => 'd',
        Level::Incremental => 'i',
    }
}

/// `4 full, 9 differential`
fn counted(levels: impl Iterator<Item = Level> + Clone) -> String {
    let of = |level: Level| (levels.clone().filter(|other| *other == level).count(), level_word(level));
    let counts = [Level::Full, Level::Differential, Level::Incremental].map(of);
    let words: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
