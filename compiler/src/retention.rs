//! Retention: which runs of a store stay, and every reason why. A pure function of what is there.
//!
//! Rules count runs by their order, never by their clocks. Each rule is applied to all runs; once more to those that can be
//! restored from this store, so that a run whose base is gone takes no whole one's place; and once more for each source of
//! the plan, so that a run of some sources alone pushes out no other source's backup. The last two do not count a run that
//! lacks paths of a source. What any rule keeps stays, with all
//! that it rests on.

mod beside;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::{Keep, Level, Model, Store};
pub use beside::{Beside, HELD, Loss};
use rules::{Entry, Kept, View};

/// A run as a catalog knows it. `Id` orders runs, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<Id> {
    /// Which.
    pub id: Id,
    /// When it began, by the clock of its host.
    pub started: Timestamp,
    /// The highest level any of its parts has.
    pub level: Level,
    /// What it holds.
    pub parts: Vec<Part<Id>>,
    /// Bytes of its artefacts.
    pub size: u64,
    /// It cannot be put back itself, though what rests on it can: what says where its files go is damaged.
    pub is_torn: bool,
}

/// A source in an archive of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<Id> {
    /// The archive's name.
    pub archive: String,
    /// The source's name.
    pub source: String,
    /// How much of it is here.
    pub level: Level,
    /// How many runs of its cycle came before it: 0 for a full.
    pub place: u32,
    /// The runs that must be there to restore it.
    pub rests_on: BTreeSet<Id>,
    /// What of it was not there, or could not be read.
    pub lacks: Lack,
    /// Which of its paths, and of the file systems that were mounted there, were not there: one id each.
    pub lost: BTreeSet<String>,
}

/// What a run did not find of a source that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Lack {
    /// Nothing: all that could be there is in it.
    #[default]
    Nothing,
    /// Files or folders below its paths that could not be read.
    Entries,
    /// Paths that the plan names.
    Paths,
}

impl<Id: Ord> Run<Id> {
    /// The runs that something of this one rests on.
    pub fn rests_on(&self) -> BTreeSet<&Id> {
        self.parts.iter().flat_map(|part| &part.rests_on).collect()
    }
}

/// What decides, beside the runs.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// The rules; `None`: everything stays.
    pub keep: Option<&'a Keep>,
    /// Seconds; nothing younger goes.
    pub immutable: Option<u64>,
    /// Nothing ever goes.
    pub append_only: bool,
    /// The zone that hours, days, weeks, months and years are those of.
    pub zone: TimeZone,
    /// What the time is: only `immutable` asks.
    pub now: Timestamp,
    /// The sources that the plan has now.
    pub sources: BTreeSet<String>,
    /// Rules of separate sources' own, beside those of the store.
    pub own: BTreeMap<String, &'a Keep>,
    /// For sources whose log is archived: the seconds for which recovery to any moment is promised.
    pub wal: BTreeMap<String, u64>,
}

impl<'a> Policy<'a> {
    /// Whether anything is ever deleted by it.
    pub fn prunes(&self) -> bool {
        self.keep.is_some() && !self.append_only
    }

    /// The policy of a store of a plan: its own `keep` goes before the plan's.
    pub fn of(model: &'a Model, store: &'a Store, now: Timestamp) -> Policy<'a> {
        let id = model.stores.iter().position(|other| other.name == store.name).map(crate::model::StoreId);
        let here = |to: &[crate::model::StoreId]| id.is_some_and(|id| to.contains(&id));
        let own: BTreeMap<String, &Keep> = model
            .separates
            .iter()
            .filter(|separate| here(&separate.to))
            .filter_map(|separate| {
                Some((model.source(separate.source).name.clone(), separate.keep.as_ref()?))
            })
            .collect();
        // A store of separate sources alone has no other rules than theirs.
        let alone = !own.is_empty() && !model.archives.iter().any(|archive| here(&archive.to));
        let general = if alone { own.values().next().copied() } else { model.keep.as_ref() };
        Policy {
            keep: store.keep.as_ref().or(general),
            own: if store.keep.is_some() { BTreeMap::new() } else { own },
            immutable: store.immutable,
            append_only: store.append_only,
            zone: crate::lower::zone(model),
            now,
            sources: model.sources.iter().map(|source| source.name.clone()).collect(),
            wal: model
                .wals
                .iter()
                .filter_map(|wal| Some((model.source(wal.source).name.clone(), model.wal_keep(wal)?)))
                .collect(),
        }
    }
}

/// Why a run stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason<Id> {
    /// A rule of `keep` names it.
    Rule {
        /// The rule, with its number or period: `last 3`, `daily 2026-11-20`.
        rule: String,
        /// The runs it was applied to.
        of: Among,
    },
    /// It is the newest run from which these sources can be restored.
    NewestOf(Vec<String>),
    /// It is the newest run in which something of these sources was found.
    NewestWith(Vec<String>),
    /// It is the newest run that lacks nothing of these sources.
    NewestWhole(Vec<String>),
    /// It is the newest run from before these sources lost most of what they had. It stays until a run that begins no sooner
    /// than this.
    BeforeLoss(Vec<String>, Timestamp),
    /// It is the first run that found less of these sources: it tells since when, until the same moment.
    FirstLess(Vec<String>, Timestamp),
    /// It is the newest run there is.
    Newest,
    /// A run that stays rests on it.
    BaseOf {
        /// The newest of them.
        run: Id,
        /// How many there are.
        count: usize,
    },
    /// It is younger than the store's `immutable`.
    Immutable(Timestamp),
    /// This later run's manifest cannot be read: it may rest on any before it.
    MayBeNeeded(Id),
    /// There is no `keep`.
    NoKeep,
    /// The store is `append_only`.
    AppendOnly,
}

/// The runs that a rule was applied to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Among {
    /// All runs.
    All,
    /// Those that can be restored.
    Whole,
    /// Those from which these sources can be restored.
    Holding(Vec<String>),
}

impl<Id> Reason<Id> {
    /// The reason in words; `name` is how a run is called.
    pub fn words(&self, name: impl Fn(&Id) -> String) -> String {
        match self {
            Reason::Rule { rule, of: Among::All } => rule.clone(),
            Reason::Rule { rule, of: Among::Whole } => format!("{rule} of those that can be restored"),
            Reason::Rule { rule, of: Among::Holding(sources) } => format!("{rule} of {}", sources.join(", ")),
            Reason::NewestOf(sources) => format!("newest of {}", sources.join(", ")),
            Reason::NewestWith(sources) => format!("newest with something of {}", sources.join(", ")),
            Reason::NewestWhole(sources) => format!("newest that lacks nothing of {}", sources.join(", ")),
            Reason::BeforeLoss(sources, until) => {
                format!("newest before {} lost most of what was there, until {until}", sources.join(", "))
            }
            Reason::FirstLess(sources, until) => {
                format!("first with less of {}, until {until}", sources.join(", "))
            }
            Reason::Newest => "newest".to_owned(),
            Reason::BaseOf { run, count: 1 } => format!("base of {}", name(run)),
            Reason::BaseOf { run, count } => format!("base of {} and {} more", name(run), count - 1),
            Reason::Immutable(until) => format!("immutable until {until}"),
            Reason::MayBeNeeded(run) => format!("may be needed by {}, which cannot be read", name(run)),
            Reason::NoKeep => "no keep: everything stays".to_owned(),
            Reason::AppendOnly => "append_only: nothing is deleted from here".to_owned(),
        }
    }
}

impl<Id: fmt::Display> fmt::Display for Reason<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words(ToString::to_string))
    }
}

/// What becomes of each run: its reasons to stay; with none it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<Id> {
    reasons: BTreeMap<Id, Vec<Reason<Id>>>,
    /// Runs that cannot be restored whole, each with the first run it misses: gone, or not readable.
    pub broken: BTreeMap<Id, Id>,
}

impl<Id: Ord> Decision<Id> {
    /// Every run, oldest first, with why it stays; no reason: it goes.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Id, &[Reason<Id>])> {
        self.reasons.iter().map(|(id, reasons)| (id, reasons.as_slice()))
    }

    /// The runs that stay, oldest first.
    pub fn kept(&self) -> impl DoubleEndedIterator<Item = &Id> {
        self.reasons.iter().filter(|(_, reasons)| !reasons.is_empty()).map(|(id, _)| id)
    }

    /// The runs that go, oldest first.
    pub fn gone(&self) -> impl DoubleEndedIterator<Item = &Id> {
        self.reasons.iter().filter(|(_, reasons)| reasons.is_empty()).map(|(id, _)| id)
    }
}

/// Which of these runs of one store stay, and why. `unreadable` are runs whose manifests are there and cannot be used: they
/// stay, and so does every run before them, as they may rest on any of those. The order of `runs` does not matter.
pub fn retain<Id: Ord + Clone>(
    runs: &[Run<Id>],
    unreadable: &BTreeSet<Id>,
    policy: &Policy<'_>,
) -> Decision<Id> {
    retain_beside(runs, unreadable, policy, &Beside::default())
}

/// As [`retain`], where more is known of the runs. Beside the newest run of a source the newest stays that has something of it;
/// and of one that lost most of what it had, for [`HELD`] by the runs' own times, the newest from before that.
pub fn retain_beside<Id: Ord + Clone>(
    runs: &[Run<Id>],
    unreadable: &BTreeSet<Id>,
    policy: &Policy<'_>,
    beside: &Beside<Id>,
) -> Decision<Id> {
    let deciding = Deciding::new(runs, policy);
    let mut reasons: Vec<Vec<Reason<Id>>> = vec![Vec::new(); deciding.runs.len()];
    deciding.by_rules(&mut reasons);
    deciding.newest_of_each(&mut reasons, &beside.empty);
    deciding.before_losses(&mut reasons, &beside.losses);
    deciding.young(&mut reasons);
    if let Some(newest) = unreadable.last() {
        for (at, run) in deciding.runs.iter().enumerate() {
            if run.id < *newest {
                reasons[at].push(Reason::MayBeNeeded(newest.clone()));
            }
        }
    }
    deciding.close(&mut reasons);
    let ids = || deciding.runs.iter().map(|run| run.id.clone());
    let broken = ids().zip(&deciding.missing).filter_map(|(id, missing)| Some((id, (*missing)?.clone())));
    Decision { broken: broken.collect(), reasons: ids().zip(reasons).collect() }
}

/// Between two runs that follow one another there are never so many hours, five years: where there are, a clock was wrong, and
/// stayed so perhaps.
const JUMP: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);

/// The starts of runs, each moved up by all the time behind it that no run saw pass, until `now`: a clock that jumps from one
/// night to the next makes no backup older than it is.
fn lived<Id>(runs: &[&Run<Id>], now: Timestamp) -> Vec<Timestamp> {
    let mut times: Vec<Timestamp> = runs.iter().map(|run| run.started).chain([now]).collect();
    times.sort_unstable();
    let jumps: Vec<(Timestamp, SignedDuration)> = times
        .windows(2)
        .map(|two| (two[0], two[1], two[1].duration_since(two[0])))
        .filter(|(_, after, gap)| *gap > JUMP && *after <= now)
        .map(|(before, _, gap)| (before, gap))
        .collect();
    let moved = |run: &&Run<Id>| {
        let unseen = jumps.iter().filter(|(before, _)| run.started <= *before).map(|(_, gap)| *gap);
        let unseen = unseen.fold(SignedDuration::ZERO, SignedDuration::saturating_add);
        run.started.checked_add(unseen).unwrap_or(Timestamp::MAX)
    };
    runs.iter().map(moved).collect()
}

struct Deciding<'a, Id> {
    /// Newest first.
    runs: Vec<&'a Run<Id>>,
    /// When each began, as if no time had passed that nobody saw pass.
    lived: Vec<Timestamp>,
    at: BTreeMap<&'a Id, usize>,
    /// For each run the first run that it misses to be restored whole.
    missing: Vec<Option<&'a Id>>,
    /// For each source, newest first, the runs from which it can be restored.
    sources: BTreeMap<&'a str, Vec<Entry>>,
    /// Of these, where there are any, the ones that lack none of its paths: what rules count.
    counted: BTreeMap<&'a str, Vec<Entry>>,
    policy: &'a Policy<'a>,
}

impl<'a, Id: Ord + Clone> Deciding<'a, Id> {
    fn new(runs: &'a [Run<Id>], policy: &'a Policy<'a>) -> Self {
        let mut sorted: Vec<&Run<Id>> = runs.iter().collect();
        sorted.sort_by(|a, b| b.id.cmp(&a.id));
        sorted.dedup_by(|a, b| a.id == b.id);
        let at = sorted.iter().enumerate().map(|(at, run)| (&run.id, at)).collect();
        let missing = vec![None; sorted.len()];
        let lived = lived(&sorted, policy.now);
        let mut deciding = Deciding {
            runs: sorted,
            lived,
            at,
            missing,
            sources: BTreeMap::new(),
            counted: BTreeMap::new(),
            policy,
        };
        deciding.find_whole();
        deciding.count();
        deciding
    }

    /// Finds out what can be restored, oldest first, as a run can only rest on earlier ones.
    fn find_whole(&mut self) {
        let mut sources: BTreeMap<&'a str, Vec<Entry>> = BTreeMap::new();
        let mut torn = BTreeSet::new();
        for at in (0..self.runs.len()).rev() {
            let run = self.runs[at];
            torn.extend(run.is_torn.then_some(at));
            let mut held: BTreeMap<&'a str, (Level, bool)> = BTreeMap::new();
            for part in &run.parts {
                let missing = self.missing_of(at, part, &sources);
                let entry = held.entry(&part.source).or_insert((part.level, true));
                entry.0 = entry.0.max(part.level);
                entry.1 &= missing.is_none();
                self.missing[at] = self.missing[at].or(missing);
            }
            for (source, (level, _)) in held.into_iter().filter(|(_, (_, whole))| *whole) {
                sources.entry(source).or_default().push(Entry { at, level });
            }
        }
        for entries in sources.values_mut() {
            entries.retain(|entry| !torn.contains(&entry.at));
            entries.reverse();
        }
        for at in torn {
            self.missing[at] = self.missing[at].or(Some(&self.runs[at].id));
        }
        self.sources = sources;
    }

    fn count(&mut self) {
        for (source, entries) in &self.sources {
            let has_paths = |entry: &&Entry| self.lacks(entry.at, source) != Lack::Paths;
            let mut counted: Vec<Entry> = entries.iter().filter(has_paths).copied().collect();
            if counted.is_empty() {
                counted.clone_from(entries);
            }
            self.counted.insert(source, counted);
        }
    }

    /// The most that a run lacks of a source.
    fn lacks(&self, at: usize, source: &str) -> Lack {
        let own = self.runs[at].parts.iter().filter(|part| part.source == source);
        own.map(|part| part.lacks).max().unwrap_or_default()
    }

    /// What of a source was not there in a run.
    fn lost(&self, at: usize, source: &str) -> BTreeSet<&'a String> {
        let own = self.runs[at].parts.iter().filter(|part| part.source == source);
        own.flat_map(|part| &part.lost).collect()
    }

    /// The first run that a part misses. `whole` has the runs before it, oldest first, by source.
    fn missing_of(
        &self,
        at: usize,
        part: &'a Part<Id>,
        whole: &BTreeMap<&'a str, Vec<Entry>>,
    ) -> Option<&'a Id> {
        part.rests_on.iter().find(|base| match self.at.get(base) {
            None => true,
            Some(base) if *base <= at => true,
            Some(&base) => {
                let holds = self.runs[base].parts.iter().any(|other| other.source == part.source);
                let whole = whole.get(part.source.as_str());
                // Oldest first is highest place first.
                let is_whole =
                    whole.is_some_and(|runs| runs.binary_search_by(|entry| base.cmp(&entry.at)).is_ok());
                holds && !is_whole
            }
        })
    }

    fn by_rules(&self, reasons: &mut [Vec<Reason<Id>>]) {
        if self.policy.append_only {
            reasons.iter_mut().for_each(|reasons| reasons.push(Reason::AppendOnly));
            return;
        }
        let Some(keep) = self.policy.keep else {
            reasons.iter_mut().for_each(|reasons| reasons.push(Reason::NoKeep));
            return;
        };
        let local: Vec<_> =
            self.runs.iter().map(|run| run.started.to_zoned(self.policy.zone.clone()).datetime()).collect();
        let offsets: Vec<_> =
            self.runs.iter().map(|run| self.policy.zone.to_offset(run.started).seconds()).collect();
        let started = |at: usize| self.lived[at];
        let over = View { entries: &[], started: &started, local: &local, offsets: &offsets };
        let view = |entries: &[Entry]| View { entries, ..over }.apply(keep);
        let all: Vec<Entry> =
            self.runs.iter().enumerate().map(|(at, run)| Entry { at, level: run.level }).collect();
        let is_whole = |at: usize| {
            self.missing[at].is_none() && self.runs[at].parts.iter().all(|part| part.lacks != Lack::Paths)
        };
        let whole: Vec<Entry> = all.iter().copied().filter(|entry| is_whole(entry.at)).collect();
        // Mostly all runs are whole and hold every source: what is said of all is not said again of some.
        let mut said = view(&all);
        said.sort();
        let mut say = |found: Kept, of: &Among| {
            for (at, rule) in found {
                reasons[at].push(Reason::Rule { rule, of: of.clone() });
            }
        };
        say(said.clone(), &Among::All);
        let unsaid = |mut found: Kept, said: &Kept| {
            found.retain(|kept| said.binary_search(kept).is_err());
            found
        };
        if whole != all {
            let found = unsaid(view(&whole), &said);
            said.extend(found.iter().cloned());
            said.sort();
            say(found, &Among::Whole);
        }
        let mut alike: BTreeMap<&[Entry], Vec<String>> = BTreeMap::new();
        for (source, entries) in &self.counted {
            if self.policy.sources.contains(*source) && *entries != all && *entries != whole {
                alike.entry(entries).or_default().push((*source).to_owned());
            }
        }
        for (entries, sources) in alike {
            say(unsaid(view(entries), &said), &Among::Holding(sources));
        }
        for (source, entries) in &self.counted {
            let own = self.policy.own.get(*source).map(|own| View { entries, ..over }.apply(own));
            let log =
                self.policy.wal.get(*source).map(|seconds| View { entries, ..over }.base_of_log(*seconds));
            for found in own.into_iter().chain(log) {
                say(unsaid(found, &said), &Among::Holding(vec![(*source).to_owned()]));
            }
        }
    }

    fn newest_of_each(&self, reasons: &mut [Vec<Reason<Id>>], empty: &BTreeSet<(Id, String)>) {
        let mut newest: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let mut filled: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let mut whole: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (source, entries) in &self.sources {
            let is_filled =
                |entry: &&Entry| !empty.contains(&(self.runs[entry.at].id.clone(), (*source).to_owned()));
            let Some(first) = entries.first() else { continue };
            newest.entry(first.at).or_default().push((*source).to_owned());
            let lacks_nothing = |entry: &&Entry| self.lacks(entry.at, source) == Lack::Nothing;
            if let Some(entry) = entries.iter().find(lacks_nothing).filter(|entry| entry.at != first.at) {
                whole.entry(entry.at).or_default().push((*source).to_owned());
            }
            // Two that are never there at once are in no run together: each stays in the newest that has it.
            for lost in self.lost(first.at, source) {
                let has_it = |entry: &&Entry| !self.lost(entry.at, source).contains(&lost);
                if let Some(entry) = entries.iter().find(has_it) {
                    let named = filled.entry(entry.at).or_default();
                    if named.last().map(String::as_str) != Some(*source) {
                        named.push((*source).to_owned());
                    }
                }
            }
            if let Some(entry) = entries.iter().find(is_filled).filter(|entry| entry.at != first.at) {
                let named = filled.entry(entry.at).or_default();
                if named.last().map(String::as_str) != Some(*source) {
                    named.push((*source).to_owned());
                }
            }
        }
        for (at, sources) in newest {
            reasons[at].push(Reason::NewestOf(sources));
        }
        for (at, sources) in filled {
            reasons[at].push(Reason::NewestWith(sources));
        }
        for (at, sources) in whole {
            reasons[at].push(Reason::NewestWhole(sources));
        }
        if let Some(first) = reasons.first_mut().filter(|reasons| reasons.is_empty()) {
            first.push(Reason::Newest);
        }
    }

    /// The newest run from before a source lost most of what it had, and the first that found less, without which nobody could tell
    /// how long ago that was. It takes a run to let them go, that is as much later: no clock does it alone.
    fn before_losses(&self, reasons: &mut [Vec<Reason<Id>>], losses: &[Loss<Id>]) {
        let Some(newest) = self.lived.first() else { return };
        let mut held: BTreeMap<(usize, bool), (Vec<String>, Timestamp)> = BTreeMap::new();
        for loss in losses {
            let Some(first) = self.at.get(&loss.first) else { continue };
            let until = beside::held_until(self.lived[*first]);
            let entries = || {
                let all = self.sources.get(loss.source.as_str()).into_iter().flatten();
                all.filter(|entry| loss.before.contains(&self.runs[entry.at].id))
            };
            let has_paths = |entry: &&Entry| self.lacks(entry.at, &loss.source) != Lack::Paths;
            let Some(before) = entries().find(has_paths).or_else(|| entries().next()) else { continue };
            if newest.duration_since(self.lived[*first]) >= HELD {
                continue;
            }
            for key in [(before.at, true), (*first, false)] {
                let (sources, latest) = held.entry(key).or_insert((Vec::new(), until));
                *latest = until.max(*latest);
                if !sources.contains(&loss.source) {
                    sources.push(loss.source.clone());
                }
            }
        }
        for ((at, is_before), (sources, until)) in held {
            reasons[at].push(match is_before {
                true => Reason::BeforeLoss(sources, until),
                false => Reason::FirstLess(sources, until),
            });
        }
    }

    fn young(&self, reasons: &mut [Vec<Reason<Id>>]) {
        let Some(seconds) = self.policy.immutable else { return };
        let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        for (at, began) in self.lived.iter().enumerate() {
            let until = began.checked_add(span).unwrap_or(Timestamp::MAX);
            if until > self.policy.now {
                reasons[at].push(Reason::Immutable(until));
            }
        }
    }

    /// What a run that stays rests on stays. Newest first, so that one pass reaches every base.
    fn close(&self, reasons: &mut [Vec<Reason<Id>>]) {
        let mut needed: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (at, run) in self.runs.iter().enumerate() {
            if let Some((by, count)) = needed.get(&at) {
                reasons[at].push(Reason::BaseOf { run: self.runs[*by].id.clone(), count: *count });
            }
            if reasons[at].is_empty() {
                continue;
            }
            for base in run.rests_on() {
                if let Some(base) = self.at.get(base).filter(|base| **base > at) {
                    needed.entry(*base).or_insert((at, 0)).1 += 1;
                }
            }
        }
    }
}
