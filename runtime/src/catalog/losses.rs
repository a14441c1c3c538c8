//! Sources that lost most of what they had, as the manifests of a store tell it: until people had time to see that, the last run
//! from before stays. Nothing else is remembered of it, so that it holds wherever the store is read.

use std::collections::BTreeSet;
use std::fmt;

use backplan_compiler::retention::{Decision, Lack, Loss, Reason};
use jiff::Timestamp;
use serde::Serialize;

use super::guard::{Found, MEASURES, counted, look_of};
use super::ids::RunId;
use super::manifest::SourceStatus;
use super::prune::{Accepted, Current};
use super::runs::Catalog;
use crate::moment::shown;

/// A loss, and how much it is.
pub(super) struct Lost {
    pub loss: Loss<RunId>,
    what: &'static str,
    before: u64,
    after: u64,
}

/// A run that stays for a source that lost most of what it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldRun {
    /// The source.
    pub source: String,
    /// The run that stays.
    pub run: RunId,
    /// The first run that found less.
    pub first: RunId,
    /// A run lets it go that begins no sooner than this.
    pub until: Timestamp,
    /// What was counted: `entries`, `leaves` or `bytes`.
    pub what: &'static str,
    /// How many there were.
    pub before: u64,
    /// How many there were since, at the most.
    pub after: u64,
}

impl HeldRun {
    /// What was lost.
    fn lost(&self) -> String {
        let HeldRun { source, run, first, before, after, .. } = self;
        let what = counted(self.what);
        format!(
            "source `{source}` had {before} {what} in run `{run}`, and since run `{first}` no more than {after}"
        )
    }

    /// The same for a store in which nothing is ever deleted.
    pub fn told_where_all_stays(&self) -> String {
        let (lost, source) = (self.lost(), &self.source);
        format!(
            "{lost}: see that nothing is missing, and if it is right so, say `plan prune FILE --accept {source}`"
        )
    }
}

impl fmt::Display for HeldRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeldRun { source, run, .. } = self;
        let (lost, until) = (self.lost(), shown(self.until));
        write!(
            f,
            "{lost}: run `{run}` stays until {until}, whatever `keep` says; see that nothing is missing, and if it is right so, say \
             `plan prune FILE --accept {source}`"
        )
    }
}

/// The losses of every source that was looked at, but for those that somebody has accepted.
pub(super) fn losses(catalog: &Catalog, coming: Option<&Current>, accepted: &Accepted) -> Vec<Lost> {
    let current = coming.iter().flat_map(|coming| &coming.sources);
    let records = catalog.runs().flat_map(|manifest| &manifest.sources).chain(current);
    let names: BTreeSet<&str> = records.map(|record| record.name.as_str()).collect();
    names
        .into_iter()
        .flat_map(|name| {
            let ways = by_way(looks(catalog, coming, name));
            ways.into_iter().flat_map(move |looks| of_source(&looks, accepted.get(name), name))
        })
        .collect()
}

/// Looks at a source, parted by how it was read: nothing is lost where another driver counts otherwise.
fn by_way(looks: Vec<Found<'_>>) -> Vec<Vec<Found<'_>>> {
    let mut ways: Vec<Vec<Found<'_>>> = Vec::new();
    for look in looks {
        match ways.iter_mut().find(|way| way[0].record.is_read_like(look.record)) {
            Some(way) => way.push(look),
            None => ways.push(vec![look]),
        }
    }
    ways
}

fn of_source(looks: &[Found<'_>], accepted: Option<&RunId>, name: &str) -> Vec<Lost> {
    let mut found: Vec<Lost> = Vec::new();
    for (what, count) in MEASURES {
        let counts: Vec<(RunId, u64)> =
            looks.iter().filter_map(|look| Some((look.run, count(look.record)?))).collect();
        // The most of all later runs, from the newest on.
        let mut most = None;
        for (at, (run, before)) in counts.iter().enumerate().rev() {
            let is_loss = |most: u64| most.saturating_mul(2) < *before;
            let is_new = accepted.is_none_or(|accepted| run >= accepted);
            if let Some(after) = most.filter(|most| is_loss(*most) && is_new) {
                let had = counts[..=at].iter().filter(|(_, had)| after.saturating_mul(2) < *had);
                let first = counts[at + 1].0;
                let loss =
                    Loss { source: name.to_owned(), before: had.map(|(run, _)| *run).collect(), first };
                if !found.iter().any(|known| known.loss == loss) {
                    found.push(Lost { loss, what, before: *before, after });
                }
            }
            most = most.max(Some(*before));
        }
    }
    found
}

/// Every look at a source, the oldest first. One that did not find all its paths is missed by itself, and says nothing of how much
/// there is, unless none found them all.
fn looks<'a>(catalog: &'a Catalog, coming: Option<&'a Current>, name: &str) -> Vec<Found<'a>> {
    let is_coming = |run: RunId| coming.is_some_and(|coming| coming.run.id == run);
    let there = catalog.runs().filter(|manifest| !is_coming(manifest.run));
    let mut looks: Vec<Found<'a>> = there
        .filter_map(|manifest| Some(Found { run: manifest.run, record: look_of(manifest, name)? }))
        .collect();
    if let Some(coming) = coming
        && coming.run.parts.iter().any(|part| part.source == name)
        && let Some(record) = coming.sources.iter().find(|record| record.name == name)
        && record.status == SourceStatus::Ok
    {
        looks.push(Found { run: coming.run.id, record });
    }
    looks.sort_by_key(|look| look.run);
    let has_paths = |look: &Found<'_>| look.record.lacks() != Lack::Paths;
    if looks.iter().any(has_paths) {
        looks.retain(has_paths);
    }
    looks
}

/// The newest run that looked at a source and is in a store.
pub fn newest_look(catalog: &Catalog, name: &str) -> Option<RunId> {
    catalog.runs().rev().find(|manifest| look_of(manifest, name).is_some()).map(|manifest| manifest.run)
}

/// The runs that stay for nothing but a loss, or for that too.
pub(super) fn held(losses: &[Lost], decision: &Decision<RunId>) -> Vec<HeldRun> {
    let mut held: Vec<HeldRun> = Vec::new();
    for (run, reason) in decision.iter().flat_map(|(run, all)| all.iter().map(move |reason| (run, reason))) {
        let Reason::BeforeLoss(sources, until) = reason else { continue };
        for source in sources {
            let of_it = |lost: &&Lost| lost.loss.source == *source && lost.loss.before.contains(run);
            if let Some(Lost { loss, what, before, after }) = losses.iter().find(of_it) {
                let (source, first, until) = (source.clone(), loss.first, *until);
                let (run, what, before, after) = (*run, *what, *before, *after);
                held.push(HeldRun { source, run, first, until, what, before, after });
            }
        }
    }
    held
}
