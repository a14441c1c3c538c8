//! How a plan stands: how old its backups are, what comes next, which promises hold. Read from its stores alone.
//!
//! | module | holds |
//! |---|---|
//! | [`last`] | what the last run came to, in numbers |
//! | `overdue` | runs that should have been made |
//! | `losses` | sources that shrank, runs that are gone, or not this machine's |

pub mod last;
mod losses;
mod overdue;

use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::cycle::Next;
use backplan_compiler::due;
use backplan_compiler::lower::level_word;
use backplan_compiler::model::{Absent, Archive, Model, Objective, Schedule, Separate, SourceId, StoreId};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use crate::backups::rehearsed::{self, Rehearsal};
use crate::backups::resting::coming;
use crate::backups::shelf::{Shelf, Shelves};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::{Manifest, SourceStatus};
use crate::control::Control;
use crate::past::history::{Between, Local, PastRun, UnderWay};
use crate::postgres::restore::log::{self, LogStanding};
use crate::postgres::restore::repositories::{self, Access};
use crate::postgres::restore::tool;
use last::{Compression, LastRun, compression, last_run};
use losses::{between_steps, emptied_sources, shrunk_sources};
pub use overdue::Overdue;
use overdue::overdue;

/// How a plan stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Of this file's format.
    pub format: u32,
    /// The plan.
    pub plan: String,
    /// When this was.
    pub now: Timestamp,
    /// Whether a person should look.
    pub verdict: Verdict,
    /// Each source.
    pub sources: Vec<SourceStanding>,
    /// What each archive's next run is.
    pub archives: Vec<ArchiveNext>,
    /// When the next run is due by the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
    /// Since when a run is missing that should have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue_since: Option<Timestamp>,
    /// Which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Overdue>,
    /// A run that goes on now on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
    /// Each promise.
    pub objectives: Vec<Promise>,
    /// Each archived log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogStanding>,
    /// Each source that is rehearsed, or was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rehearsals: Vec<RehearsalStanding>,
    /// The last run that anybody knows of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// A run that `plan step` does, between two of its steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_steps: Option<Between>,
    /// What packing saved where sources were last stored whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// The last runs on this host that did not end well, and that no later one has made up for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unclean: Vec<PastRun>,
    /// Each key that something is encrypted for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyStanding>,
    /// Each store that could be read.
    pub stores: Vec<StoreStanding>,
    /// What is wrong with stores and catalogs.
    pub problems: Vec<String>,
}

/// Whether a person should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All is well.
    Fine,
    /// Something is late, missing or damaged, or a promise is not kept.
    Attention,
    /// There is no backup at all.
    NoBackup,
}

/// A source.
#[derive(Debug, Clone, Serialize)]
pub struct SourceStanding {
    /// Its name.
    pub source: String,
    /// The newest run from which it can be restored.
    pub newest: Option<RunId>,
    /// When that began.
    pub started: Option<Timestamp>,
    /// Seconds since then.
    pub age: Option<i64>,
    /// The stores that have that run.
    pub stores: Vec<String>,
    /// Of those, the offsite ones.
    pub offsite: Vec<String>,
}

/// How long ago a source was rehearsed.
#[derive(Debug, Clone, Serialize)]
pub struct RehearsalStanding {
    /// The source.
    pub source: String,
    /// The last one that any store knows of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Rehearsal>,
    /// Seconds since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// Seconds between two, where the plan says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Whether one is missing that should have been.
    pub overdue: bool,
}

/// What an archive's next run is.
#[derive(Debug, Clone, Serialize)]
pub struct ArchiveNext {
    /// The archive.
    pub archive: String,
    /// The level of its next run.
    pub level: &'static str,
    /// Its place in the cycle, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// Runs of a cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<usize>,
    /// Why.
    pub why: String,
    /// What a person should read of its bases.
    pub warnings: Vec<String>,
}

/// A promise to the business.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    /// What was promised: `rpo`, `rto`, `copies`, `offsite`.
    pub objective: &'static str,
    /// How much, in words.
    pub promised: String,
    /// How much, in seconds, where it is a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// For which sources.
    pub of: Vec<String>,
    /// Whether it is kept now; `None`: nobody knows yet.
    pub met: Option<bool>,
    /// What keeps it from being kept, or from being known.
    pub why: Vec<String>,
}

/// A public key, and what opens with its private one.
#[derive(Debug, Clone, Serialize)]
pub struct KeyStanding {
    /// The key.
    pub key: String,
    /// Whether the plan names it for new backups.
    pub in_plan: bool,
    /// The runs that have something that is encrypted for it, oldest first.
    pub runs: BTreeSet<RunId>,
}

/// A store.
#[derive(Debug, Clone, Serialize)]
pub struct StoreStanding {
    /// Its name.
    pub store: String,
    /// Runs in it.
    pub runs: usize,
    /// Bytes of the artefacts of all runs, and of their backups in repositories.
    pub size: u64,
    /// Its newest run.
    pub newest: Option<RunId>,
}

/// How the plan stands at `now`; `unclean` is what this host knows of runs that did not end well, `access` what opens
/// repositories.
pub fn status(model: &Model, shelves: &Shelves, local: Local, access: &Access, now: Timestamp) -> Status {
    let Local { unclean, under_way } = local;
    let sources: Vec<SourceStanding> =
        (0..model.sources.len()).map(|id| source(model, shelves, SourceId(id), now)).collect();
    let newest =
        shelves.shelves.iter().filter_map(|shelf| shelf.catalog.runs().next_back()).max_by_key(|run| run.run);
    let archives = next_runs(model, shelves, now);
    let logs = logs(model, shelves, access);
    let ages = |source: &SourceStanding| age(source, &logs, now);
    let (known, unread) = rehearsed::newest(&shelves.shelves);
    let rehearsals = rehearsals(model, known, now);
    let facts = Facts { standings: &sources, ages: &ages, rehearsals: &rehearsals };
    let objectives: Vec<Promise> =
        model.objectives.iter().flat_map(|objective| promises(model, objective, &facts)).collect();
    let overdue = overdue(model, shelves, under_way.as_ref(), now);
    let (between, forsaken) = between_steps(shelves, now);
    let problems: Vec<String> = problems(shelves, newest, now)
        .into_iter()
        .chain(problems_of_runs(model, shelves, &unclean, under_way.as_ref(), now))
        .chain(unread)
        .chain(repositories_gone(shelves))
        .chain(shelves.strays.iter().cloned())
        .chain(forsaken)
        .collect();
    let found = Status {
        format: 1,
        plan: model.name.clone(),
        now,
        verdict: Verdict::Fine,
        sources,
        archives,
        next_due: model.schedules().filter_map(|(_, schedule)| next_due(schedule, now)).min(),
        overdue_since: overdue.as_ref().map(|overdue| overdue.since),
        overdue,
        under_way,
        objectives,
        logs,
        rehearsals,
        last_run: last_run(shelves, &unclean),
        between_steps: between,
        compression: compression(shelves),
        unclean,
        keys: keys(model, shelves),
        stores: shelves.shelves.iter().map(store).collect(),
        problems,
    };
    Status { verdict: verdict(&found, newest.is_some()), ..found }
}

/// What is to be said of all that was found.
fn verdict(found: &Status, is_backed_up: bool) -> Verdict {
    let is_trouble = found.overdue_since.is_some()
        || !found.problems.is_empty()
        || !found.unclean.is_empty()
        || found.objectives.iter().any(|promise| promise.met == Some(false))
        || found.sources.iter().any(|source| source.newest.is_none())
        || found.archives.iter().any(|archive| !archive.warnings.is_empty())
        || found.logs.iter().any(|log| !log.problems.is_empty())
        || found.rehearsals.iter().any(RehearsalStanding::is_trouble);
    match (is_backed_up, is_trouble) {
        (false, _) => Verdict::NoBackup,
        (true, true) => Verdict::Attention,
        (true, false) => Verdict::Fine,
    }
}

/// What runs did not do, lost, or were not this machine's.
fn problems_of_runs(
    model: &Model,
    shelves: &Shelves,
    unclean: &[PastRun],
    under_way: Option<&UnderWay>,
    now: Timestamp,
) -> Vec<String> {
    let late = |separate| late(model, shelves, separate, under_way, now);
    let mut problems: Vec<String> = model.separates.iter().filter_map(late).collect();
    problems.extend(last_attempts(model, shelves, unclean));
    problems.extend(shelves.gone());
    problems.extend(shelves.strange());
    problems.extend(behind(model, shelves));
    problems.extend(emptied_sources(model, shelves, now));
    problems.extend(shrunk_sources(model, shelves, now));
    problems
}

/// How the logs stand: those of `wal` blocks, those in repositories of their own, and those in artefacts.
pub(crate) fn logs(model: &Model, shelves: &Shelves, access: &Access) -> Vec<LogStanding> {
    let archived = model.wals.iter().map(|wal| log::standing(model, shelves, wal));
    let control = Control::default();
    let all = (0..model.sources.len()).map(SourceId);
    let by_tool = all.filter(|id| model.source(*id).kind.facts().has_repository);
    let kept = by_tool.filter_map(|id| {
        let name = &model.source(id).name;
        let apart = model.source(id).kind.facts().apart.filter(|_| model.separate(id).is_some());
        let mut standing = match apart {
            Some(apart) => repositories::standing(shelves, (name, apart.wants_log), access, &control)?,
            None => tool::packed::standing(shelves, name)?,
        };
        standing.waits(model.source(id).postgres());
        Some(standing)
    });
    archived.chain(kept).collect()
}

fn store(shelf: &Shelf) -> StoreStanding {
    let mut artefacts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut kept = BTreeMap::new();
    for manifest in shelf.catalog.runs() {
        for own in &manifest.repositories {
            let bytes = manifest.cluster(&own.source).and_then(|record| record.labels().repository_bytes);
            kept.extend(bytes.map(|bytes| (own.label.to_string(), bytes)));
        }
        artefacts.extend(manifest.archives.iter().map(|archive| (archive.artefact.as_str(), archive.size)));
    }
    StoreStanding {
        store: shelf.store.label().to_owned(),
        runs: shelf.catalog.runs().len(),
        size: artefacts.values().chain(kept.values()).fold(0, |sum: u64, size| sum.saturating_add(*size)),
        newest: shelf.catalog.runs().next_back().map(|manifest| manifest.run),
    }
}

fn source(model: &Model, shelves: &Shelves, id: SourceId, now: Timestamp) -> SourceStanding {
    let name = &model.source(id).name;
    let mut newest: Option<&Manifest> = None;
    let mut stores: Vec<String> = Vec::new();
    for (at, shelf) in shelves.shelves.iter().enumerate() {
        // Two names of one folder are no two copies.
        if shelves.shelves[..at].iter().any(|other| other.is_same_folder(shelf)) {
            continue;
        }
        let Some(found) = newest_in(shelf, name) else { continue };
        // One that lacks a path is no newer than one that has all.
        let rank = |run: &Manifest| (run.holds_all_of(name), run.run);
        if newest.is_none_or(|newest| rank(found) > rank(newest)) {
            newest = Some(found);
            stores.clear();
        }
        if newest.is_some_and(|newest| found.run == newest.run) {
            stores.push(shelf.store.label().to_owned());
        }
    }
    let is_offsite =
        |store: &&String| model.stores.iter().any(|other| other.name == **store && other.offsite);
    SourceStanding {
        source: name.clone(),
        newest: newest.map(|manifest| manifest.run),
        started: newest.map(|manifest| manifest.started),
        age: newest.map(|manifest| now.as_second() - manifest.started.as_second()),
        offsite: stores.iter().filter(is_offsite).cloned().collect(),
        stores,
    }
}

/// The newest run of a store from which a source can be restored with all its paths; where there is none, the newest of all.
fn newest_in<'a>(shelf: &'a Shelf, name: &str) -> Option<&'a Manifest> {
    let runs = || shelf.catalog.runs().rev().filter(|manifest| can_restore(shelf, manifest, name));
    runs().find(|manifest| manifest.holds_all_of(name)).or_else(|| runs().next())
}

/// Repositories in stores' folders that are not there, though the newest run has a backup in them.
fn repositories_gone(shelves: &Shelves) -> Vec<String> {
    let kept = shelves.shelves.iter().flat_map(|shelf| {
        let newest = shelf.catalog.runs().next_back();
        newest.into_iter().flat_map(|run| &run.repositories).map(move |own| (shelf, own))
    });
    let gone = kept.filter(|(shelf, own)| {
        let path = own.settings.get("path").filter(|_| !own.settings.contains_key("type"));
        let folder = shelf.root.as_ref().zip(path).map(|(root, path)| root.join(path));
        folder.is_some_and(|folder| !folder.join(repositories::heart(own)).is_dir())
    });
    gone.map(|(shelf, own)| {
        format!("the repository of `{}` in store `{}` is not there", own.source, shelf.store.label())
    })
    .collect()
}

/// Whether a store has all that a run of it needs to restore a source.
fn can_restore(shelf: &Shelf, manifest: &Manifest, source: &str) -> bool {
    let has = |run: &Manifest| {
        let own = run.archives.iter().filter(|own| own.contents.iter().any(|held| held.source == source));
        own.filter(|own| shelf.catalog.loss_of(own).is_some()).count() == 0
    };
    let there = manifest.archives.iter().filter(|archive| shelf.catalog.loss_of(archive).is_none());
    let contents = there.flat_map(|archive| &archive.contents);
    let archived = contents.filter(|content| content.source == source).map(|content| &content.rests_on);
    let separate = manifest.repositories.iter().filter(|repository| repository.source == source);
    let mut bases = archived.chain(separate.map(|repository| &repository.rests_on));
    let is_torn = shelf.catalog.torn(&manifest.run).is_some();
    !is_torn && bases.any(|bases| bases.iter().all(|base| shelf.catalog.get(base).is_some_and(has)))
}

/// What each archive's next run is.
fn next_runs(model: &Model, shelves: &Shelves, now: Timestamp) -> Vec<ArchiveNext> {
    let next = |(archive, next): (&Archive, Next<RunId>)| ArchiveNext {
        archive: archive.name.clone(),
        level: level_word(next.level),
        place: next.place.map(|place| place.number),
        of: next.place.map(|place| place.of),
        why: next.why,
        warnings: next.warnings,
    };
    model.archives.iter().zip(coming(model, shelves, now)).map(next).collect()
}

/// The next moment of a schedule after `now`.
pub fn next_due(schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let zone = due::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let from = now.to_zoned(zone).checked_add(1.second()).ok()?;
    let until = from.checked_add(10.years()).ok()?;
    due::runs(schedule, from..=until, 1).first().map(|(at, _)| at.timestamp())
}

/// That a source with a schedule of its own is overdue by it.
fn late(
    model: &Model,
    shelves: &Shelves,
    separate: &Separate,
    under_way: Option<&UnderWay>,
    now: Timestamp,
) -> Option<String> {
    let (schedule, name) = (separate.schedule.as_ref()?, &model.source(separate.source).name);
    let holds = |run: &&Manifest| run.repositories.iter().any(|own| own.source == *name);
    let newest = shelves.shelves.iter().filter_map(|shelf| shelf.catalog.runs().rev().find(holds));
    // One that was never made is told of with the sources.
    let covers = under_way.filter(|way| way.only.is_empty() || way.only.contains(name));
    let since = overdue::since(schedule, newest.map(|run| run.started).max()?, covers, now)?;
    Some(format!(
        "source `{name}` is overdue by its own schedule since {since}: see that something starts `plan run --only {name}`"
    ))
}

/// Seconds since the last moment that a source can be recovered to.
fn age(source: &SourceStanding, logs: &[LogStanding], now: Timestamp) -> Option<i64> {
    let log = logs.iter().find(|log| log.source == source.source);
    let until = log.and_then(|log| log.windows.iter().map(|span| span.until).max());
    let archived = until.map(|until| now.as_second() - until.as_second());
    source.age.map(|age| archived.map_or(age, |archived| archived.min(age)))
}

impl RehearsalStanding {
    /// Whether a person should look.
    pub fn is_trouble(&self) -> bool {
        self.overdue || self.last.as_ref().is_some_and(|last| !last.passed)
    }
}

/// The rehearsals that the plan asks for, and those that were made.
fn rehearsals(
    model: &Model,
    mut known: BTreeMap<String, Rehearsal>,
    now: Timestamp,
) -> Vec<RehearsalStanding> {
    let each = (0..model.sources.len()).map(SourceId).filter_map(|id| {
        let source = &model.source(id).name;
        let (last, every) = (known.remove(source), rehearsed::every(model, id));
        let is_wanted = last.is_some() || model.verifies.iter().any(|verify| verify.restore == id);
        is_wanted.then(|| RehearsalStanding {
            source: source.clone(),
            age: last.as_ref().map(|last| now.as_second() - last.started.as_second()),
            overdue: every.is_some_and(|every| match &last {
                Some(last) => rehearsed::overdue(every, last, now).is_some(),
                None => true,
            }),
            every,
            last,
        })
    });
    each.collect()
}

/// What a promise is held against.
struct Facts<'a> {
    standings: &'a [SourceStanding],
    ages: &'a dyn Fn(&SourceStanding) -> Option<i64>,
    rehearsals: &'a [RehearsalStanding],
}

/// The promise to have sources back in time: kept if the last rehearsal of each was.
fn in_time(
    of: &[&SourceStanding],
    rto: u64,
    rehearsals: &[RehearsalStanding],
) -> (Option<bool>, Vec<String>) {
    let (mut met, mut why) = (Some(true), Vec::new());
    for source in of {
        let standing = rehearsals.iter().find(|standing| standing.source == source.source);
        let name = &source.source;
        match standing.and_then(|standing| standing.last.as_ref()) {
            None => {
                met = met.filter(|met| !met);
                why.push(format!("`{name}` was not rehearsed yet"));
            }
            Some(last) => match last.usable_ms.filter(|_| last.passed) {
                Some(usable) if usable <= rto.saturating_mul(1000) => {}
                Some(usable) => {
                    met = Some(false);
                    let took = span(i64::try_from(usable.div_ceil(1000)).unwrap_or(i64::MAX));
                    why.push(format!("`{name}` took {took}"));
                }
                None => {
                    met = Some(false);
                    why.push(format!("`{name}` did not pass its last rehearsal"));
                }
            },
        }
    }
    (met, why)
}

fn promises(model: &Model, objective: &Objective, facts: &Facts<'_>) -> Vec<Promise> {
    let Facts { standings, ages, rehearsals } = *facts;
    let of: Vec<&SourceStanding> = objective.of.iter().map(|id| &standings[id.0]).collect();
    let names: Vec<String> = objective.of.iter().map(|id| model.source(*id).name.clone()).collect();
    let promise = |objective: &'static str, promised: String, why: Vec<String>| Promise {
        objective,
        promised,
        seconds: None,
        of: names.clone(),
        met: Some(why.is_empty()),
        why,
    };
    let mut found = Vec::new();
    if let Some(rpo) = objective.rpo {
        let late = of.iter().filter_map(|source| match ages(source) {
            None => Some(format!("`{}` has no backup", source.source)),
            Some(age) if age > i64::try_from(rpo).unwrap_or(i64::MAX) => {
                Some(format!("the newest that `{}` can be recovered to is {} old", source.source, span(age)))
            }
            Some(_) => None,
        });
        let promised = span(i64::try_from(rpo).unwrap_or(i64::MAX));
        found.push(Promise { seconds: Some(rpo), ..promise("rpo", promised, late.collect()) });
    }
    if let Some(rto) = objective.rto {
        let promised = span(i64::try_from(rto).unwrap_or(i64::MAX));
        let (met, why) = in_time(&of, rto, rehearsals);
        found.push(Promise { met, seconds: Some(rto), ..promise("rto", promised, why) });
    }
    let mut count =
        |objective: &'static str, wanted: Option<u32>, stores: fn(&SourceStanding) -> &[String]| {
            let Some(wanted) = wanted else { return };
            let few = of.iter().filter(|source| (stores(source).len() as u64) < u64::from(wanted));
            let few = few.map(|source| format!("`{}` has {}", source.source, stores(source).len()));
            found.push(promise(objective, wanted.to_string(), few.collect()));
        };
    count("copies", objective.copies, |source| &source.stores);
    count("offsite", objective.offsite, |source| &source.offsite);
    found
}

fn problems(shelves: &Shelves, newest: Option<&Manifest>, now: Timestamp) -> Vec<String> {
    let mut problems = shelves.warnings();
    problems.extend(shelves.unfit.iter().cloned());
    for shelf in &shelves.shelves {
        let label = shelf.store.label();
        for manifest in shelf.catalog.runs() {
            let run = manifest.run;
            let lost = manifest.archives.iter().filter_map(|archive| shelf.catalog.loss_of(archive));
            let lost = lost.chain(shelf.catalog.torn(&run));
            problems.extend(
                lost.map(|why| format!("store `{label}`: run `{run}` cannot be restored from here: {why}")),
            );
            let missing = manifest.rests_on().into_iter().find(|base| shelf.catalog.get(base).is_none());
            if let Some(base) = missing {
                problems.push(format!(
                    "store `{label}`: run `{run}` cannot be restored: it rests on run `{base}`, which is not there"
                ));
            }
        }
    }
    if let Some(newest) = newest.filter(|newest| newest.started > now) {
        problems.push(format!("run `{}` began later than now: a clock is wrong", newest.run));
    }
    problems
}

/// What the newest run that was to hold a source tells of it, where this host does not know the run better: that it failed,
/// and that the run had warnings. A machine that only looks has nothing but the manifests.
fn last_attempts(model: &Model, shelves: &Shelves, unclean: &[PastRun]) -> Vec<String> {
    let known = |run: RunId| unclean.iter().any(|past| past.run.as_deref() == Some(&run.to_string()));
    let mut found = BTreeMap::new();
    for source in &model.sources {
        let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
        let tried = runs.filter_map(|run| Some((run, run.sources.iter().find(|of| of.name == source.name)?)));
        let Some((run, record)) = tried.max_by_key(|(run, _)| run.run) else { continue };
        if known(run.run) {
            continue;
        }
        let did = match record.status {
            SourceStatus::Failed => Some("did not back up"),
            SourceStatus::Ok if record.missing > 0 => Some("backed up only a part of"),
            SourceStatus::Ok | SourceStatus::Skipped => None,
        };
        if let Some(did) = did {
            let unsaid = match run.warnings {
                Some(_) => "why is encrypted",
                None => "its manifest does not say why",
            };
            let why = record.reason.as_deref().unwrap_or(unsaid);
            found.insert(
                (run.run, source.name.as_str()),
                format!("run `{}` {did} `{}`: {why}", run.run, source.name),
            );
        }
        if let Some(count) = run.warnings.filter(|count| *count > 0) {
            let text = format!(
                "run `{}` ended with warnings: {count}, which are encrypted; the machine that made it has them in its journal",
                run.run
            );
            found.insert((run.run, ""), text);
        } else if let Ok(details) = run.details()
            && details.warnings.total > 0
        {
            let count = details.warnings.total;
            let first = details.warnings.first.first().map(|text| format!(": {text}")).unwrap_or_default();
            let more = if count > 1 { format!("; and {} more", count - 1) } else { String::new() };
            found.insert((run.run, ""), format!("run `{}` ended with warnings{first}{more}", run.run));
        }
    }
    found.into_values().collect()
}

/// Stores that lack the newest backup of an archive that is meant for them. One that is away now and then with the plan's
/// leave is told of only while it has none at all.
fn behind(model: &Model, shelves: &Shelves) -> Vec<String> {
    let mut found: BTreeMap<StoreId, String> = BTreeMap::new();
    for archive in &model.archives {
        let newest_in = |shelf: &Shelf| {
            let holds = |run: &&Manifest| run.archives.iter().any(|record| record.name == archive.name);
            shelf.catalog.runs().rev().find(holds).map(|run| run.run)
        };
        let Some(newest) = shelves.shelves.iter().filter_map(newest_in).max() else { continue };
        for id in &archive.to {
            let store = model.store(*id);
            let Some(shelf) = shelves.shelves.iter().find(|shelf| shelf.store.label() == store.name) else {
                continue;
            };
            let (store_name, name) = (&store.name, &archive.name);
            let text = match newest_in(shelf) {
                None => format!(
                    "store `{store_name}` has no backup of archive `{name}`; run `{newest}` is elsewhere"
                ),
                Some(own) if own < newest && store.absent != Absent::Skip => {
                    let mend = match shelves.is_own(newest) {
                        // What is there of a run stays as it is.
                        _ if shelf.catalog.get(&newest).is_some() => {
                            "the others of that run are there, and a run is not added to; the next run brings it one"
                        }
                        true => "`plan sync FILE` brings it what it lacks",
                        false => {
                            "this machine does not know that it has made that run, as it is there. Look at it, and where it is yours, \
                             `plan sync FILE` brings it"
                        }
                    };
                    format!(
                        "store `{store_name}` lacks run `{newest}` of archive `{name}`; its newest is `{own}`: {mend}"
                    )
                }
                Some(_) => continue,
            };
            found.entry(*id).or_insert(text);
        }
    }
    found
        .into_values()
        .chain(model.separates.iter().flat_map(|own| apart_behind(model, shelves, own)))
        .collect()
}

/// Repositories of a source that lack the newest backup which another has: nobody brings it there.
fn apart_behind(model: &Model, shelves: &Shelves, separate: &Separate) -> Vec<String> {
    let name = &model.source(separate.source).name;
    let newest_in = |shelf: &Shelf| {
        let holds = |run: &&Manifest| run.repositories.iter().any(|own| own.source == *name);
        shelf.catalog.runs().rev().find(holds).map(|run| run.run)
    };
    let Some(newest) = shelves.shelves.iter().filter_map(newest_in).max() else { return Vec::new() };
    let is_own = |shelf: &&Shelf| {
        separate
            .to
            .iter()
            .map(|id| model.store(*id))
            .any(|store| store.name == shelf.store.label() && store.absent != Absent::Skip)
    };
    let lacking = shelves.shelves.iter().filter(is_own).filter(|shelf| newest_in(shelf) != Some(newest));
    let told = lacking.map(|shelf| {
        let (store, own) = (shelf.store.label(), newest_in(shelf));
        let has = own.map_or("it has none".to_owned(), |own| format!("its newest is of run `{own}`"));
        format!("the repository of `{name}` in store `{store}` has no backup of run `{newest}`, {has}: the next run makes one there")
    });
    told.collect()
}

/// The keys that anything in the stores is encrypted for.
fn keys(model: &Model, shelves: &Shelves) -> Vec<KeyStanding> {
    let mut found: BTreeMap<&str, BTreeSet<RunId>> = BTreeMap::new();
    for run in shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs()) {
        for key in run.recipients() {
            found.entry(key).or_default().insert(run.run);
        }
    }
    let named = |key: &str| model.archives.iter().any(|archive| archive.encrypt.iter().any(|own| own == key));
    let each = found.into_iter();
    each.map(|(key, runs)| KeyStanding { key: key.to_owned(), in_plan: named(key), runs }).collect()
}

/// A length of time in its two largest units.
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}
