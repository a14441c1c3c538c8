//! A plan's schedule as those take it that start programs: systemd and cron.
//!
//! What they cannot express is refused with the nearest that they can; a timer that fires at other moments than the plan
//! says is worse than none.

mod airflow;
mod cron;
mod kubernetes;
mod systemd;
mod times;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::due;
use crate::lower::level_word;
use crate::model::{Due, Level, Model, Schedule, When};

use jiff::{Timestamp, ToSpan, Zoned};
use times::Times;

pub use airflow::{Over, dag};
pub use cron::{crontab, same_clock};
pub use kubernetes::{Cluster, Manifests, kustomization, manifests};
pub use systemd::{Unit, confined_stores, units};

/// Why a schedule cannot be expressed, and what can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inexpressible {
    /// What cannot be expressed, and by whom.
    pub what: String,
    /// The nearest that can.
    pub help: String,
}

impl Inexpressible {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Inexpressible {
        Inexpressible { what: what.into(), help: help.into() }
    }
}

/// Who starts the program, and which.
#[derive(Debug, Clone)]
pub struct Starter {
    /// The program, absolute.
    pub program: String,
    /// The plan's file, absolute.
    pub file: String,
    /// `NAME=VALUE` of the plan's parameters.
    pub params: Vec<String>,
    /// The account's own timers rather than the system's.
    pub is_user: bool,
    /// What on this machine are links.
    pub links: Links,
}

/// Links on the machine that a sandbox has to look through: it opens real folders alone.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// The folder that [`STATE`] leads to, where it is a link: systemd makes, and takes, a folder there and nothing else.
    pub state: Option<PathBuf>,
    /// The real folders of databases that are elsewhere than the plan's path says, by that path.
    pub databases: BTreeMap<PathBuf, PathBuf>,
}

/// Where a run of the system's keeps its state.
pub const STATE: &str = "/var/lib/backplan";

impl Starter {
    /// The words of the command that makes this backup.
    fn words(&self, start: &Start<'_>) -> Vec<String> {
        let mut words = vec![self.program.clone(), "run".to_owned(), "--quiet".to_owned()];
        words.extend(start.options());
        for param in &self.params {
            words.extend(["--param".to_owned(), param.clone()]);
        }
        words.push(self.file.clone());
        words
    }
}

/// What starts: a level of its own, or the run whose level the cycle says.
struct Start<'m> {
    /// The source kept apart whose schedule it is; `None`: it is the plan's.
    source: Option<&'m str>,
    level: Option<Level>,
    schedule: &'m Schedule,
    when: &'m When,
}

impl Start<'_> {
    /// The options that tell it from the others of its plan.
    fn options(&self) -> Vec<String> {
        let mut words: Vec<&str> = Vec::new();
        if self.source.is_some() || self.level.is_some() {
            words.push("--scheduled");
        }
        words.extend(self.source.iter().flat_map(|source| ["--only", source]));
        words.extend(self.level.iter().flat_map(|level| ["--level", level_word(*level)]));
        words.into_iter().map(str::to_owned).collect()
    }

    /// What is started, in words.
    fn of(&self, model: &Model) -> String {
        let level = self.level.map(|level| format!("{} ", level_word(level))).unwrap_or_default();
        match self.source {
            Some(source) => format!("{level}backup of {source} in plan {}", model.name),
            None => format!("{level}backup of plan {}", model.name),
        }
    }

    /// What its name has behind the plan's.
    fn ending(&self) -> Vec<&str> {
        ending(self.source, self.level)
    }
}

/// What starts of a plan that is to have a schedule.
fn starts(model: &Model) -> Result<Vec<Start<'_>>, Inexpressible> {
    let of = |(source, schedule)| {
        let source = Option::map(source, |source| model.source(source).name.as_str());
        starts_of(source, schedule)
    };
    let all: Vec<Start<'_>> = model.schedules().flat_map(of).collect();
    if all.is_empty() {
        return Err(Inexpressible::new(
            format!("plan `{}` has no schedule", model.name),
            "write one into it: `schedule { run = daily at 02:30 }`",
        ));
    }
    Ok(all)
}

fn starts_of<'m>(source: Option<&'m str>, schedule: &'m Schedule) -> Vec<Start<'m>> {
    let start = |level, when| Start { source, level, schedule, when };
    match &schedule.due {
        Due::Run(when) => vec![start(None, when)],
        Due::Levels { .. } => {
            schedule.levels().into_iter().map(|(level, when)| start(Some(level), when)).collect()
        }
    }
}

/// How far ahead timers are held against the schedule: changes of clocks repeat within a year.
const DAYS: i64 = 800;

/// Said beside a timer that does not start all that the plan's schedule has: what starts programs looks at the clock on the wall,
/// which skips hours and repeats them.
fn strays(schedule: &Schedule, when: &When, times: &[Times], now: Timestamp) -> Option<String> {
    let zone = due::zone(&schedule.zone)?;
    let (now, until) = (now.to_zoned(zone.clone()), now.checked_add((DAYS * 24).hours()).ok()?);
    let near_a_change = |at: &Zoned| {
        let day = |hours: i64| at.checked_add(hours.hours()).map(|other| other.offset());
        !(day(-26).is_ok_and(|offset| offset == at.offset())
            && day(26).is_ok_and(|offset| offset == at.offset()))
    };
    let is_started = |at: &Zoned| {
        let first = zone.to_ambiguous_timestamp(at.datetime()).compatible();
        first.is_ok_and(|first| first == at.timestamp()) && times.iter().any(|times| times.has(at))
    };
    let mut moments = due::moments(when, &now).take_while(|at| at.timestamp() < until);
    let stray = moments.find(|at| near_a_change(at) && !is_started(at))?;
    Some(format!(
        "# Where clocks change this does not start what the plan's schedule has, first on {}.",
        stray.strftime("%Y-%m-%d at %H:%M")
    ))
}

/// The variables that the plan's secrets are taken from, which whoever starts it has to set.
fn variables(model: &Model) -> Result<Vec<&str>, Inexpressible> {
    let is_word = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
    };
    let names = model.needed_variables();
    match names.iter().find(|name| !is_word(name)) {
        None => Ok(names),
        Some(name) => Err(Inexpressible::new(
            format!("a secret comes from the variable {name:?}, a name that only some programs can set"),
            "give it a name of letters, digits and `_`, or take the secret from a file with `file(\"…\")`",
        )),
    }
}

/// Every file of systemd's that a plan of this name may have, whatever its schedule: those that it has no more are stale.
pub fn names(model: &Model) -> Vec<String> {
    let levels = [None, Some(Level::Full), Some(Level::Differential), Some(Level::Incremental)];
    let postgres = model.sources.iter().filter(|source| source.postgres().is_some());
    let sources = std::iter::once(None).chain(postgres.map(|source| Some(source.name.as_str())));
    let endings = sources.flat_map(|source| levels.map(|level| ending(source, level)));
    let of = |ending: Vec<&str>| {
        let name = unit_name(model, &ending);
        [format!("{name}.timer"), format!("{name}.service")]
    };
    endings.flat_map(of).collect()
}

/// What the name of a start has behind the plan's. Of a source there are two words: it may be called as a level is.
fn ending(source: Option<&str>, level: Option<Level>) -> Vec<&str> {
    match source {
        Some(source) => vec![source, level.map_or("run", level_word)],
        None => level.map(level_word).into_iter().collect(),
    }
}

/// A name that a unit may have.
fn unit_name(model: &Model, ending: &[&str]) -> String {
    [&["backplan", model.name.as_str()], ending].concat().join("-")
}
