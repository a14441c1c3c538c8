//! Which level the next run of an archive has, and what each of its sources rests on. A pure function of the runs that
//! exist: a run on demand takes the next place, a failed run takes none, because it left no manifest.
//!
//! Each archive has a chain of its own, and in it each source: one that is new to the archive, or whose base is lost, is
//! taken whole while the others go on. The place in the cycle is that of the source that is furthest in it, so that a full
//! brings all of them together again. An archive that was renamed goes on where the one that is no longer in the plan
//! ended.
//!
//! Where the schedule gives each level its own times, a run is of the highest level that came due and has not been run
//! since (with `catch_up = false`: of the level that came due last, unless it has been run since). A run by hand at another
//! time is of the lowest level the schedule has; `--level` says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use jiff::{Timestamp, Zoned};

use crate::due;
use crate::lower::level_word;
use crate::model::{Archive, Cycle, Due, Level, Model, Schedule, When};
use crate::retention::{Part, Run};

/// What the next run of an archive is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next<Id> {
    /// Its level. Sources without a base are whole all the same.
    pub level: Level,
    /// Its place in the cycle; `None`: there is no cycle.
    pub place: Option<Place>,
    /// Why this level, in words.
    pub why: String,
    /// What each source rests on, by name; `None`: on nothing, it is taken whole.
    pub bases: BTreeMap<String, Option<Base<Id>>>,
    /// What a person should read: bases that are lost.
    pub warnings: Vec<String>,
}

impl<Id> Next<Id> {
    /// How many runs of its cycle come before it, for what it does not take whole.
    pub fn before(&self) -> u32 {
        self.place.map_or(0, |place| u32::try_from(place.number - 1).unwrap_or(u32::MAX))
    }
}

/// A place in a cycle: `number` of `of`, the full being 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1; higher than `of` only where a level was asked for.
    pub number: usize,
    /// Runs of a cycle, its full among them.
    pub of: usize,
}

/// What a source rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base<Id> {
    /// The run.
    pub run: Id,
    /// The name its archive had then.
    pub archive: String,
    /// All runs that must be there to restore it, `run` among them.
    pub rests_on: BTreeSet<Id>,
}

/// What is asked of the next run.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The sources of the archive that the run reads, by name.
    pub sources: BTreeSet<&'a str>,
    /// `--level`; `None`: by cycle or schedule.
    pub level: Option<Level>,
    /// When the run begins.
    pub now: Timestamp,
}

/// The runs of the past, as far as the next run can rest on them: those that every store has that it goes to.
#[derive(Debug, Clone)]
pub struct Past<'a, Id> {
    /// In any order.
    pub runs: &'a [Run<Id>],
    /// What cannot serve as a base.
    pub lost: &'a Lost<Id>,
}

/// What cannot serve as a base, by run and archive, and why: of one source, or of all that is in the artefact.
pub type Lost<Id> = BTreeMap<(Id, String, Option<String>), String>;

/// What the next run of `archive` is to be.
pub fn next<Id: Ord + Clone + Display>(
    model: &Model,
    archive: &Archive,
    asked: &Asked<'_>,
    past: &Past<'_, Id>,
) -> Next<Id> {
    let chains = Chains::new(model, archive, asked, past);
    let (level, why) = chains.level(model, archive, asked);
    let mut next = Next { level, place: None, why, bases: BTreeMap::new(), warnings: Vec::new() };
    for (source, links) in &chains.of {
        let base = match level {
            Level::Full => None,
            Level::Differential => links.iter().find(|link| link.part.level == Level::Full),
            Level::Incremental => links.first(),
        };
        // Where the newest run has lost its base, so would the next: an earlier full that is still there is no answer.
        let gap = links.first().and_then(|newest| chains.gap(newest));
        let base = base.and_then(|link| match chains.trouble(link, past).or(gap) {
            None => Some(link.base()),
            Some(trouble) => {
                next.warnings.push(format!("source `{source}` is taken whole: {trouble}"));
                None
            }
        });
        next.bases.insert((*source).to_owned(), base);
    }
    if chains.furthest().is_none() && asked.level.is_none() {
        let gaps = chains.of.values().filter_map(|links| chains.gap(links.first()?));
        next.warnings.extend(gaps.collect::<BTreeSet<_>>());
    }
    let on_nothing = level != Level::Full && next.bases.values().all(Option::is_none);
    if on_nothing {
        if asked.level.is_some() && next.warnings.is_empty() {
            next.warnings
                .push(format!("there is nothing that a run of level `{}` could rest on", level_word(level)));
        }
        next.level = Level::Full;
        "there is nothing that it could rest on".clone_into(&mut next.why);
    }
    next.place = cycle(model).map(|cycle| Place {
        number: if next.level == Level::Full { 1 } else { chains.furthest().unwrap_or(0) + 2 },
        of: length(cycle),
    });
    next
}

/// The plan's cycle, if it is one of more than fulls.
fn cycle(model: &Model) -> Option<&Cycle> {
    model.cycle.as_ref().filter(|cycle| cycle.incrementals > 0)
}

/// The level of the run after a full and so many runs behind it.
pub(crate) fn coming(cycle: &Cycle, followers: usize) -> Level {
    if followers.saturating_add(1) >= length(cycle) { Level::Full } else { cycle.follow }
}

fn length(cycle: &Cycle) -> usize {
    usize::try_from(cycle.incrementals).unwrap_or(usize::MAX).saturating_add(1)
}

/// A source in a run of the archive.
struct Link<'a, Id> {
    run: &'a Run<Id>,
    part: &'a Part<Id>,
}

impl<Id: Ord + Clone> Link<'_, Id> {
    fn base(&self) -> Base<Id> {
        let run = self.run.id.clone();
        let rests_on = self.part.rests_on.iter().cloned().chain([run.clone()]).collect();
        Base { archive: self.part.archive.clone(), run, rests_on }
    }
}

/// The runs of an archive, source by source, newest first.
struct Chains<'a, Id> {
    of: BTreeMap<&'a str, Vec<Link<'a, Id>>>,
    /// Sources that are whole in each run, beside others that are not.
    whole: BTreeSet<&'a str>,
    /// Every run there is.
    there: BTreeMap<&'a Id, &'a Run<Id>>,
}

impl<'a, Id: Ord + Clone + Display> Chains<'a, Id> {
    fn new(model: &Model, archive: &Archive, asked: &Asked<'a>, past: &Past<'a, Id>) -> Self {
        let there: BTreeMap<&Id, &Run<Id>> = past.runs.iter().map(|run| (&run.id, run)).collect();
        let is_declared = |name: &str| model.archives.iter().any(|archive| archive.name == name);
        let mut of: BTreeMap<&str, Vec<Link<'_, Id>>> =
            asked.sources.iter().map(|source| (*source, Vec::new())).collect();
        for run in there.values().rev() {
            for (source, links) in &mut of {
                let mut parts = run.parts.iter().filter(|part| part.source == **source);
                let own = parts.clone().find(|part| part.archive == archive.name);
                if let Some(part) = own.or_else(|| parts.find(|part| !is_declared(&part.archive))) {
                    links.push(Link { run, part });
                }
            }
        }
        let is_whole = |name: &str| {
            model.sources.iter().any(|source| source.name == name && source.is_whole_each_time())
        };
        let mut whole: BTreeSet<&str> = of.keys().copied().filter(|name| is_whole(name)).collect();
        if whole.len() == of.len() {
            whole.clear();
        }
        Chains { of, whole, there }
    }

    /// How many runs follow the full of the source that has most; `None`: no source has a full. Those that are there are
    /// counted, and where retention has taken some of them, the newest knows its place.
    ///
    /// What is whole in each run says nothing of the others: where retention took their full, they would never have one again.
    fn furthest(&self) -> Option<usize> {
        let followers = |links: &Vec<Link<'_, Id>>| {
            let there = links.iter().position(|link| link.part.level == Level::Full)?;
            let known = links.first().map_or(0, |newest| newest.part.place);
            Some(there.max(usize::try_from(known).unwrap_or(usize::MAX)))
        };
        let counted = self.of.iter().filter(|(name, _)| !self.whole.contains(*name));
        counted.filter_map(|(_, links)| followers(links)).max()
    }

    /// Whether any of what has levels was in a run before.
    fn has_runs(&self) -> bool {
        self.of.iter().any(|(name, links)| !self.whole.contains(name) && !links.is_empty())
    }

    fn level(&self, model: &Model, archive: &Archive, asked: &Asked<'_>) -> (Level, String) {
        if let Some(level) = asked.level {
            return (level, "it was asked for".to_owned());
        }
        if let Some(schedule) = model.schedule_of(archive).filter(|schedule| schedule.is_by_levels()) {
            return match self.furthest() {
                None => (Level::Full, "there is no full yet".to_owned()),
                Some(_) => self.due_level(schedule, asked.now),
            };
        }
        let Some(cycle) = cycle(model) else {
            return (Level::Full, "every run is a full: the plan has no cycle".to_owned());
        };
        let length = length(cycle);
        match self.furthest() {
            None if self.has_runs() => (Level::Full, "no full is left".to_owned()),
            None => (Level::Full, "there is no full yet".to_owned()),
            Some(followers) => match coming(cycle, followers) {
                Level::Full => (Level::Full, format!("the cycle of {length} is complete")),
                level => (level, format!("it is run {} of a cycle of {length}", followers + 2)),
            },
        }
    }

    /// When the archive was last run at this level or a higher one. A run is of the lowest level of its parts: a source
    /// that was new to a differential made it no full.
    fn last_at(&self, level: Level) -> Option<Timestamp> {
        let mut runs: BTreeMap<&Id, (Timestamp, Level)> = BTreeMap::new();
        for link in self.of.values().flatten() {
            let entry = runs.entry(&link.run.id).or_insert((link.run.started, link.part.level));
            entry.1 = entry.1.min(link.part.level);
        }
        runs.into_values().rev().find(|(_, lowest)| *lowest >= level).map(|(started, _)| started)
    }

    fn due_level(&self, schedule: &Schedule, now: Timestamp) -> (Level, String) {
        let now = now.to_zoned(due::zone(&schedule.zone).unwrap_or(jiff::tz::TimeZone::UTC));
        let mut came: Vec<(Zoned, Level)> = schedule
            .levels()
            .into_iter()
            .filter_map(|(level, when)| Some((due::latest(when, &now)?, level)))
            .collect();
        // Highest level first; of what came due last alone where nothing is caught up on.
        came.sort_by_key(|(_, level)| std::cmp::Reverse(*level));
        if !schedule.catch_up {
            let last = came.iter().map(|(at, _)| at.timestamp()).max();
            came.retain(|(at, _)| Some(at.timestamp()) == last);
        }
        let is_open = |(at, level): &&(Zoned, Level)| {
            self.last_at(*level).is_none_or(|started| started < at.timestamp())
        };
        match came.iter().find(is_open) {
            Some((at, level)) => (*level, format!("it was due at {}", at.strftime("%Y-%m-%d %H:%M %:z"))),
            None => {
                let lowest = schedule.levels().into_iter().map(|(level, _)| level).min();
                let level = lowest.unwrap_or(Level::Full);
                (
                    level,
                    format!(
                        "nothing is due, and `{}` is the lowest level of the schedule",
                        level_word(level)
                    ),
                )
            }
        }
    }

    /// Why this link cannot be rested on.
    fn trouble(&self, link: &Link<'_, Id>, past: &Past<'_, Id>) -> Option<String> {
        let lost = |run: &Run<Id>, archive: &str| {
            let of = |source: Option<String>| past.lost.get(&(run.id.clone(), archive.to_owned(), source));
            let why = of(None).or_else(|| of(Some(link.part.source.clone())))?;
            Some(format!("the base, run {}, cannot be used: {why}", run.id))
        };
        let needed = link.part.rests_on.iter().find_map(|base| {
            let run = self.there.get(base)?;
            let mut parts = run.parts.iter().filter(|part| part.source == link.part.source);
            let same = parts.clone().find(|part| part.archive == link.part.archive);
            match same.or_else(|| parts.next()) {
                None => Some(format!("run {base} does not hold it")),
                Some(part) => lost(run, &part.archive),
            }
        });
        lost(link.run, &link.part.archive).or_else(|| self.gap(link)).or(needed)
    }

    /// The run that this link rests on and that is not there.
    fn gap(&self, link: &Link<'_, Id>) -> Option<String> {
        let missing = link.part.rests_on.iter().find(|base| !self.there.contains_key(base))?;
        Some(format!("run {missing}, which run {} rests on, is not there", link.run.id))
    }
}

impl Schedule {
    /// Whether each level has times of its own.
    pub fn is_by_levels(&self) -> bool {
        matches!(self.due, Due::Levels { .. })
    }

    /// The times of runs of whatever level the cycle gives; `None`: each level has its own.
    pub fn all_levels(&self) -> Option<&When> {
        match &self.due {
            Due::Run(when) => Some(when),
            Due::Levels { .. } => None,
        }
    }

    /// The levels that have times of their own, highest first.
    pub fn levels(&self) -> Vec<(Level, &When)> {
        let Due::Levels { full, differential, incremental } = &self.due else { return Vec::new() };
        let all =
            [(Level::Full, full), (Level::Differential, differential), (Level::Incremental, incremental)];
        all.into_iter().filter_map(|(level, when)| Some((level, when.as_ref()?))).collect()
    }
}
