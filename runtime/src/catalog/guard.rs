//! What nobody should believe, so that nothing is deleted on its account: a clock, and sources that shrank.

use backplan_compiler::count::plural;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use backplan_compiler::due;
use backplan_compiler::model::{Keep, Schedule};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::Serialize;

use super::ids::RunId;
use super::manifest::{Manifest, SourceRecord, SourceStatus};
use super::prune::{Accepted, Current, Occasion};
use super::runs::Catalog;
use crate::moment::shown;

/// Moments of the schedule that may have passed since the newest run.
const INTERVALS: usize = 3;
/// Machines that sleep over a weekend, and come back with the right clock, sleep no longer than this.
const SLEEP: SignedDuration = SignedDuration::from_hours(3 * 24);
/// And this long over a night: as much as may pass unseen where backups are immutable for less than [`SLEEP`].
const NIGHT: SignedDuration = SignedDuration::from_hours(16);
/// What may lie between two runs that nothing says when to make: where rules ask the clock, and where none does.
const MONTH: SignedDuration = SignedDuration::from_hours(31 * 24);
const YEAR: SignedDuration = SignedDuration::from_hours(400 * 24);

/// Why nothing is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It is earlier than the newest run.
    ClockBack {
        /// What the time is said to be.
        now: Timestamp,
        /// The run.
        newest: RunId,
    },
    /// More moments of the schedule have passed since the newest run than a clock that can be believed would say.
    ClockAhead {
        /// What the time is said to be.
        now: Timestamp,
        /// The run.
        newest: RunId,
    },
    /// It is further from the newest run than runs are from one another, and no schedule says how far that may be.
    ClockFar {
        /// What the time is said to be.
        now: Timestamp,
        /// The run.
        newest: RunId,
    },
    /// A source lost more than half of what it had.
    Shrank {
        /// The source.
        source: String,
        /// What was counted: `entries`, `leaves` or `bytes`.
        what: &'static str,
        /// How many there were.
        before: u64,
        /// How many there are.
        after: u64,
        /// The run that still had them.
        since: RunId,
    },
    /// A source has nothing in it any more.
    Emptied {
        /// The source.
        source: String,
        /// The entries it had.
        entries: u64,
        /// The bytes it had.
        bytes: u64,
        /// The run that still had them.
        since: RunId,
    },
    /// There are runs that this host has not made: who may put something into a store must not have others deleted by it.
    Strange {
        /// The newest of them.
        run: RunId,
        /// How many more there are.
        more: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let never = |source: &str| {
            format!(
                "see that nothing of it is missing, as where a disk is not mounted; while it is so, nothing is deleted: one \
                 that is empty for good is to leave the plan, or to be said so: `plan prune FILE --accept {source}`"
            )
        };
        match self {
            Refusal::ClockBack { now, newest } => write!(
                f,
                "it is {} by the clock, and run `{newest}` began later than that: set the clock right",
                shown(*now)
            ),
            Refusal::ClockAhead { now, newest } => write!(
                f,
                "it is {} by the clock, more than {INTERVALS} intervals of the schedule after run `{newest}`: if the \
                 clock is right, the prune after the next run deletes",
                shown(*now)
            ),
            Refusal::ClockFar { now, newest } => write!(
                f,
                "it is {} by the clock, further from run `{newest}` than runs are from one another here: if the clock \
                 is right, the prune after the next run deletes",
                shown(*now)
            ),
            Refusal::Shrank { source, what, before, after: 0, since } => {
                let what = counted(what);
                write!(
                    f,
                    "source `{source}` has no {what} left, and had {before} in run `{since}`: {}",
                    never(source)
                )
            }
            Refusal::Shrank { source, what, before, after, since } => write!(
                f,
                "source `{source}` has {after} {}, and had {before} in run `{since}`: see that nothing of it is \
                 missing; that run stays for 30 days, unless it is right so and somebody says it: `plan prune FILE --accept {source}`",
                counted(what)
            ),
            Refusal::Strange { run, more } => write!(
                f,
                "run `{run}`{} is none that this machine has made, as it is there: see whose it is, and move its manifest away, or say that it \
                 is right: `plan prune FILE --accept {run}`",
                if *more > 0 { format!(", as {more} more before it,") } else { String::new() }
            ),
            Refusal::Emptied { source, entries, bytes, since } => write!(
                f,
                "source `{source}` has nothing in it, and had {} with {} in run `{since}`: {}",
                plural(*entries, "entry"),
                plural(*bytes, "byte"),
                never(source)
            ),
        }
    }
}

pub(super) fn counted(what: &str) -> &str {
    if what == "leaves" { "files and links" } else { what }
}

impl Refusal {
    /// The source that is not believed, where it is about one.
    pub fn source(&self) -> Option<&String> {
        match self {
            Refusal::Shrank { source, .. } | Refusal::Emptied { source, .. } => Some(source),
            Refusal::ClockBack { .. }
            | Refusal::ClockAhead { .. }
            | Refusal::ClockFar { .. }
            | Refusal::Strange { .. } => None,
        }
    }

    /// What a source lost, where nothing is deleted on account of it or not; `None`: it is about a clock.
    pub fn loss(&self) -> Option<String> {
        let (has, had, since) = match self {
            Refusal::Shrank { what, before, after, since, .. } => {
                let has = if *after == 0 { "no".to_owned() } else { after.to_string() };
                (format!("{has} {}", counted(what)), before.to_string(), since)
            }
            Refusal::Emptied { entries, bytes, since, .. } => {
                let had = format!("{} with {}", plural(*entries, "entry"), plural(*bytes, "byte"));
                ("nothing in it".to_owned(), had, since)
            }
            Refusal::ClockBack { .. }
            | Refusal::ClockAhead { .. }
            | Refusal::ClockFar { .. }
            | Refusal::Strange { .. } => return None,
        };
        let source = self.source()?;
        Some(format!(
            "source `{source}` has {has}, and had {had} in run `{since}`: see that nothing of it is missing, as where a disk is not \
             mounted; if it is right so, say `plan prune FILE --accept {source}`"
        ))
    }

    /// Whether it says no more than that runs are far apart.
    pub(super) fn is_about_distance(&self) -> bool {
        matches!(self, Refusal::ClockFar { .. })
    }

    /// Whether nobody needs to hear of it where nothing would go: no machine sleeps for years, but where nothing says when runs
    /// are made they may be months apart.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Refusal::ClockFar { now, newest } => now.duration_since(newest.started()) < YEAR,
            // It is told of by itself.
            Refusal::Strange { .. } => true,
            _ => false,
        }
    }
}

/// Why what the clock and the sources say is not believed, and nothing is to be deleted.
pub fn refusals(catalog: &Catalog, occasion: &Occasion<'_>) -> Vec<Refusal> {
    let strange = occasion.strange.last();
    let strange = strange.map(|run| Refusal::Strange { run: *run, more: occasion.strange.len() - 1 });
    strange.into_iter().chain(clock(catalog, occasion)).chain(shrunk(catalog, occasion)).collect()
}

/// The sources of which a store's newest look found less than half of what the one before did, whether anything is deleted there
/// or not.
pub fn shrunk(catalog: &Catalog, occasion: &Occasion<'_>) -> Vec<Refusal> {
    let names = occasion.policy.sources.iter().map(String::as_str);
    names.filter_map(|name| shrank(catalog, occasion, name)).collect()
}

/// The clock is held against the last run that anybody remembers: this store, another one of the plan, or this host.
fn clock(catalog: &Catalog, occasion: &Occasion<'_>) -> Option<Refusal> {
    let now = occasion.policy.now;
    let current = occasion.current.as_ref().map(|current| current.run.id);
    let held = catalog.runs().rev().map(|manifest| (manifest.run, manifest.started));
    let remembered = occasion.remembered.iter().map(|run| (*run, run.started()));
    let (newest, since) =
        held.chain(remembered).filter(|(run, _)| Some(*run) != current).max_by_key(|(run, _)| *run)?;
    if now < since {
        return Some(Refusal::ClockBack { now, newest });
    }
    let usual = usual_distance(catalog, current.as_ref());
    let distance = now.duration_since(since);
    match occasion.schedule {
        Some(schedule) => {
            let far = distance > asleep(occasion).max(usual) && is_overdue(schedule, since, now);
            far.then_some(Refusal::ClockAhead { now, newest })
        }
        None => (distance > apart(occasion, usual)).then_some(Refusal::ClockFar { now, newest }),
    }
}

/// How long a machine may sleep through its schedule.
fn asleep(occasion: &Occasion<'_>) -> SignedDuration {
    immutable(occasion).map_or(SLEEP, |young| young.clamp(NIGHT, SLEEP))
}

/// How far runs may be apart where there is no schedule.
fn apart(occasion: &Occasion<'_>, usual: SignedDuration) -> SignedDuration {
    let is_known = !usual.is_zero();
    let rules = occasion.policy.keep.into_iter().chain(occasion.policy.own.values().copied());
    let allowed = match immutable(occasion) {
        Some(young) if is_known => (young / 4).clamp(SLEEP, MONTH),
        None if !rules.into_iter().any(asks_the_clock) && occasion.policy.wal.is_empty() => YEAR,
        _ => MONTH,
    };
    allowed.max(usual)
}

fn immutable(occasion: &Occasion<'_>) -> Option<SignedDuration> {
    let seconds = occasion.policy.immutable?;
    Some(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

/// Whether a rule goes by the times of runs, and not by their order alone.
fn asks_the_clock(keep: &Keep) -> bool {
    let counts = [keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly];
    keep.within.is_some() || keep.wal.is_some() || counts.iter().any(Option::is_some)
}

/// Half as much again as lies between runs that follow one another, but for the two that are furthest apart: one clock that
/// was wrong once is no measure. The run under way counts for nothing: how far it is from the one before is asked. Nothing where
/// there are not so many.
fn usual_distance(catalog: &Catalog, current: Option<&RunId>) -> SignedDuration {
    let is_before = |manifest: &&Manifest| Some(&manifest.run) != current;
    let starts: Vec<Timestamp> = catalog.runs().filter(is_before).map(|manifest| manifest.started).collect();
    let mut gaps: Vec<SignedDuration> = starts.windows(2).map(|two| two[1].duration_since(two[0])).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    let usual = gaps.get(1).copied().unwrap_or_default().max(SignedDuration::ZERO);
    usual.saturating_add(usual / 2)
}

/// Whether more than [`INTERVALS`] moments of the schedule have passed between two moments.
fn is_overdue(schedule: &Schedule, since: Timestamp, now: Timestamp) -> bool {
    let zone = due::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let (from, until) = (since.to_zoned(zone.clone()), now.to_zoned(zone));
    let from = from.checked_add(1.second()).unwrap_or(from);
    from <= until && due::runs(schedule, from..=until, INTERVALS + 1).len() > INTERVALS
}

/// What is counted of a source, and how.
type Measure = (&'static str, fn(&SourceRecord) -> Option<u64>);

pub(super) const MEASURES: [Measure; 3] = [
    // How many files a repository has tells of the backups in it.
    ("entries", |it| (!it.is_repository()).then_some(it.entries)),
    ("leaves", |it| it.leaves),
    ("bytes", SourceRecord::measured),
];

/// A source as a run left it, which this store holds of it.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub run: RunId,
    pub record: &'a SourceRecord,
}

/// The newest look at a source that this store has, or is to have; `None`: there is none, or nobody can know yet.
fn newest_look<'a>(catalog: &'a Catalog, occasion: &'a Occasion<'_>, name: &str) -> Option<Found<'a>> {
    if let Some(current) = &occasion.current
        && current.run.parts.iter().any(|part| part.source == name)
    {
        let record = current.sources.iter().find(|record| record.name == name)?;
        return (record.status == SourceStatus::Ok).then_some(Found { run: current.run.id, record });
    }
    looks(catalog, name).next()
}

/// Every look at a source that this store has, the newest first. What a store does not hold of a run says nothing of what
/// is deleted from there.
fn looks<'a>(catalog: &'a Catalog, name: &str) -> impl Iterator<Item = Found<'a>> {
    let name = name.to_owned();
    catalog.runs().rev().filter_map(move |manifest| {
        let record = look_of(manifest, &name)?;
        Some(Found { run: manifest.run, record })
    })
}

pub(super) fn look_of<'a>(manifest: &'a Manifest, name: &str) -> Option<&'a SourceRecord> {
    let record = manifest.source(name)?;
    (record.status == SourceStatus::Ok && manifest.holds(name)).then_some(record)
}

/// Whether a source has less than half of what it had in the last run that found something.
fn shrank(catalog: &Catalog, occasion: &Occasion<'_>, name: &str) -> Option<Refusal> {
    let now = newest_look(catalog, occasion, name)?;
    let earlier: Vec<Found<'_>> = looks(catalog, name).filter(|look| look.run < now.run).collect();
    less(name, now, &earlier, occasion.accepted.get(name))
}

/// Whether a look at a source found less than half of what the last one `earlier`, the newest first, did that found something: what
/// was empty then, as where a disk is not mounted, is no measure. What another driver counted is none either; but where it found
/// something, and this one nothing, that is lost.
fn less(name: &str, now: Found<'_>, earlier: &[Found<'_>], accepted: Option<&RunId>) -> Option<Refusal> {
    let record = now.record;
    let source = name.to_owned();
    let is_filled = |look: &&Found<'_>| {
        look.record.has_something() && (is_known(look.record) || look.record.entries > record.entries)
    };
    // What somebody has looked at since is right as it is.
    let is_accepted = |run: RunId| accepted.is_some_and(|accepted| run < *accepted);
    let filled = earlier.iter().find(is_filled).filter(|look| !is_accepted(look.run))?;
    if !record.has_something() {
        let SourceRecord { entries, bytes, .. } = *filled.record;
        return Some(Refusal::Emptied { source, entries, bytes, since: filled.run });
    }
    MEASURES.into_iter().find_map(|(what, count)| {
        let after = count(record)?;
        let mut alike = earlier.iter().filter(|look| look.record.is_read_like(record));
        let last = alike.find(|look| measures(look.record, count));
        let last = last.filter(|look| !is_accepted(look.run))?;
        let before = count(last.record)?;
        let is_less = after.saturating_mul(2) < before;
        is_less.then(|| Refusal::Shrank { source: source.clone(), what, before, after, since: last.run })
    })
}

/// Whether it is known how many of the entries were folders: an older program did not say it.
fn is_known(record: &SourceRecord) -> bool {
    record.leaves.is_some() || record.bytes > 0
}

/// Whether a later count can be held against this one: of nothing there is no half.
fn measures(record: &SourceRecord, count: fn(&SourceRecord) -> Option<u64>) -> bool {
    record.has_something() && count(record).is_some_and(|it| it > 0)
}

/// What a store had of each source before a run, as far as what that finds is held against it: for where no prune looks.
#[derive(Debug, Clone, Default)]
pub struct Before(BTreeMap<String, Vec<(RunId, SourceRecord)>>);

impl Before {
    /// Of these sources.
    pub fn of(catalog: &Catalog, names: &BTreeSet<String>) -> Before {
        let known = names.iter().map(|name| (name.clone(), telling(looks(catalog, name))));
        Before(known.filter(|(_, looks)| !looks.is_empty()).collect())
    }

    /// The sources of which less than half was found of what there was: by a run that has come to hold these, else by the last that
    /// looked.
    pub fn shrunk(&self, run: RunId, held: &[&SourceRecord], accepted: &Accepted) -> Vec<Refusal> {
        let found = self.0.iter().filter_map(|(name, looks)| {
            let looks: Vec<Found<'_>> =
                looks.iter().map(|(run, record)| Found { run: *run, record }).collect();
            let record = held.iter().find(|record| record.name == name.as_str());
            let (now, earlier) = match record {
                Some(record) => (Found { run, record }, looks.as_slice()),
                None => looks.split_first().map(|(newest, earlier)| (*newest, earlier))?,
            };
            less(name, now, earlier, accepted.get(name))
        });
        found.collect()
    }
}

/// Of looks at a source, the newest first, those that [`less`] asks: the newest, and the newest that each question takes, of each way
/// in which the source was read.
fn telling<'a>(looks: impl Iterator<Item = Found<'a>>) -> Vec<(RunId, SourceRecord)> {
    let mut kept: Vec<(RunId, SourceRecord)> = Vec::new();
    let mut ways: Vec<(&SourceRecord, [bool; MEASURES.len()])> = Vec::new();
    let mut is_filled_met = false;
    for (at, look) in looks.enumerate() {
        // The newest may be the one that is asked about: it answers no question about itself.
        let mut is_telling = at == 0;
        if at > 0 && !is_filled_met && look.record.has_something() {
            (is_filled_met, is_telling) = (is_known(look.record), true);
        }
        let way = ways.iter().position(|(record, _)| record.is_read_like(look.record));
        let way = way.unwrap_or_else(|| {
            ways.push((look.record, [false; MEASURES.len()]));
            ways.len() - 1
        });
        for (met, (_, count)) in ways[way].1.iter_mut().zip(MEASURES) {
            if at > 0 && !*met && measures(look.record, count) {
                (*met, is_telling) = (true, true);
            }
        }
        if is_telling {
            kept.push((look.run, look.record.clone()));
        }
    }
    kept
}

/// What a run holds of sources in which it found nothing: no such backup makes up for an earlier one that has something.
pub(super) fn empties(catalog: &Catalog, coming: Option<&Current>) -> BTreeSet<(RunId, String)> {
    let held =
        catalog.runs().flat_map(|manifest| manifest.sources.iter().map(|record| (manifest.run, record)));
    let coming = coming.iter().flat_map(|coming| coming.sources.iter().map(|record| (coming.run.id, record)));
    let empty =
        held.chain(coming).filter(|(_, record)| record.status == SourceStatus::Ok && !record.has_something());
    empty.map(|(run, record)| (run, record.name.to_string())).collect()
}

/// Sources whose newest backup in a store has nothing in it, though an earlier one has, and nobody has said that it is right so: that,
/// and the earlier one.
pub fn emptied(catalog: &Catalog, name: &str, accepted: &Accepted) -> Option<(RunId, RunId)> {
    let newest = looks(catalog, name).next().filter(|look| !look.record.has_something())?;
    let is_filled = |look: &Found<'_>| {
        let has_leaves = look.record.leaves.is_some_and(|leaves| leaves > 0);
        look.record.has_something() && (look.record.bytes > 0 || has_leaves)
    };
    let filled = looks(catalog, name).find(is_filled)?;
    let is_accepted = accepted.get(name).is_some_and(|accepted| filled.run < *accepted);
    (!is_accepted).then_some((newest.run, filled.run))
}
