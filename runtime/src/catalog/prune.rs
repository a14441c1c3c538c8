//! A prune as a value: made from what is readable, shown or carried out.
//!
//! Which runs go is decided by [`backplan_compiler::retention`]. Here it is held against what nobody should believe (a clock,
//! sources that shrank), and carried out run by run, each by the protocol of [`super::delete`], what rests on a run before the
//! run itself: wherever a prune is cut, no run that stays has lost its base, and the next one goes on.

use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::model::{Level, Schedule};
use backplan_compiler::retention::{Beside, Decision, Part, Policy, Run, retain_beside};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::delete::{DeleteError, Deleted, delete_run, doom, is_made};
use super::guard::empties;
pub use super::guard::{Before, Refusal, refusals, shrunk};
use super::ids::RunId;
use super::layout::Layout;
use super::lock::Lease;
pub use super::losses::{HeldRun, newest_look};
use super::losses::{Lost, held, losses};
use super::manifest::{Content, Manifest, SourceRecord};
use super::recover::{Mark, Memory, Scene, deletions};
use super::runs::Catalog;
use crate::control::{Control, Stopped};
use crate::store::{ReadStore, Store};

/// What a prune of one store is made from.
#[derive(Debug, Clone)]
pub struct Occasion<'a> {
    /// What decides.
    pub policy: Policy<'a>,
    /// The plan's schedule: how far the clock may be past the newest run.
    pub schedule: Option<&'a Schedule>,
    /// A run that was just made, or will be: the clock and its sources are held against the run before it. One that the
    /// catalog does not have yet is counted in.
    pub current: Option<Current>,
    /// The newest run that this host or another store of the plan knows of: the clock is held against it too.
    pub remembered: Option<RunId>,
    /// Which losses are no longer waited for.
    pub accepted: Accepted,
    /// Runs of the store that this host has not made as they are there: nothing is deleted on their account.
    pub strange: Vec<RunId>,
}

/// By source, the run up to which somebody has said that what it lost is right so.
pub type Accepted = BTreeMap<String, RunId>;

/// A run that is being made.
#[derive(Debug, Clone)]
pub struct Current {
    /// What it holds.
    pub run: Run<RunId>,
    /// How large its sources are. One that is not here cannot be measured yet.
    pub sources: Vec<SourceRecord>,
}

impl Current {
    /// One that is in the store by now.
    pub fn of(made: &Manifest) -> Current {
        Current { run: fact(made), sources: made.sources.clone() }
    }
}

/// What a prune of one store would do, run by run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunePlan {
    /// Every run that the store has, oldest first.
    pub runs: Vec<PrunedRun>,
    /// Why nothing is deleted all the same.
    pub refused: Vec<Refusal>,
    /// Runs that stay longer than `keep` says, as a source has lost most of what it had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldRun>,
    /// What a person should look at: runs that cannot be read or restored.
    pub warnings: Vec<String>,
    /// The runs that go, in the order in which they do.
    #[serde(skip)]
    order: Vec<RunId>,
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedRun {
    /// Its id.
    pub run: RunId,
    /// When it began.
    pub started: Timestamp,
    /// Its level.
    pub level: Level,
    /// Bytes of its artefacts.
    pub size: u64,
    /// Whether it stays.
    pub stays: bool,
    /// Every reason to stay.
    pub reasons: Vec<String>,
    /// Bytes that its deletion gives back: artefacts that no run points to that stays.
    pub frees: u64,
}

/// Where a prune is carried out.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The plan's names in it.
    pub layout: &'a Layout,
    /// The lease that is held.
    pub lease: &'a Lease,
    /// What an artefact says of itself.
    pub mark: &'a Mark,
    /// What this host remembers of the store's runs.
    pub memory: &'a dyn Memory,
}

/// Why a prune did not come to its end. The next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// A run could not be deleted.
    #[error(transparent)]
    Delete(#[from] DeleteError),
    /// It was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A run as retention and the cycle see it.
pub fn fact(manifest: &Manifest) -> Run<RunId> {
    let archived = manifest.archives.iter().flat_map(|archive| {
        let held = |content| part(&archive.name, content, manifest.source(&content.source));
        archive.contents.iter().map(held)
    });
    let separate = manifest.repositories.iter().map(|repository| Part {
        archive: format!("separate {}", repository.source),
        source: repository.source.to_string(),
        level: repository.level,
        place: repository.place,
        rests_on: repository.rests_on.iter().copied().collect(),
        lacks: manifest.lacks(&repository.source),
        lost: BTreeSet::new(),
    });
    Run {
        id: manifest.run,
        started: manifest.started,
        level: manifest.level,
        parts: archived.chain(separate).collect(),
        size: manifest.archives.iter().map(|archive| archive.size).sum(),
        is_torn: false,
    }
}

/// What an archive holds of a source, as retention sees it, by what is known of the source.
pub fn part(archive: &str, content: &Content, source: Option<&SourceRecord>) -> Part<RunId> {
    Part {
        archive: archive.to_owned(),
        source: content.source.to_string(),
        level: content.level,
        place: content.place,
        rests_on: content.rests_on.iter().copied().collect(),
        lacks: source.map(SourceRecord::lacks).unwrap_or_default(),
        lost: source.into_iter().flat_map(|record| record.lost.iter().cloned()).collect(),
    }
}

/// The runs of a store as retention sees them.
pub fn facts(catalog: &Catalog) -> Vec<Run<RunId>> {
    catalog.runs().map(|manifest| fact_in(catalog, manifest)).collect()
}

/// What is known of the runs of a store beside what they hold.
pub fn known_beside(catalog: &Catalog, accepted: &Accepted) -> Beside<RunId> {
    beside(catalog, None, &losses(catalog, None, accepted))
}

/// The runs of a store that stay, whatever `keep` says, as a source has lost most of what it had.
pub fn held_runs(catalog: &Catalog, accepted: &Accepted, now: Timestamp) -> Vec<HeldRun> {
    let losses = losses(catalog, None, accepted);
    if losses.is_empty() {
        return Vec::new();
    }
    let policy = Policy {
        keep: None,
        immutable: None,
        append_only: false,
        zone: TimeZone::UTC,
        now,
        sources: BTreeSet::new(),
        own: BTreeMap::new(),
        wal: BTreeMap::new(),
    };
    let known = beside(catalog, None, &losses);
    held(&losses, &retain_beside(&facts(catalog), catalog.unreadable(), &policy, &known))
}

fn beside(catalog: &Catalog, coming: Option<&Current>, losses: &[Lost]) -> Beside<RunId> {
    Beside { empty: empties(catalog, coming), losses: losses.iter().map(|lost| lost.loss.clone()).collect() }
}

/// A run as retention sees it in a store: what was in an artefact that is gone rests on nothing that could be had, so that
/// the run takes no whole one's place.
fn fact_in(catalog: &Catalog, manifest: &Manifest) -> Run<RunId> {
    let mut run = fact(manifest);
    run.is_torn = catalog.torn(&manifest.run).is_some();
    for archive in manifest.archives.iter().filter(|archive| catalog.loss_of(archive).is_some()) {
        for part in run.parts.iter_mut().filter(|part| archive.name == part.archive.as_str()) {
            part.rests_on.insert(manifest.run);
        }
    }
    run
}

impl PrunePlan {
    /// Plans a prune of the runs of a catalog. Touches nothing.
    pub fn make(catalog: &Catalog, occasion: &Occasion<'_>) -> PrunePlan {
        PrunePlan::sparing(catalog, occasion, &BTreeSet::new())
    }

    /// The same, but that these runs stay, whatever `keep` says, as other stores would bring them back. What they rest on must be
    /// among them where it would go.
    pub fn sparing(catalog: &Catalog, occasion: &Occasion<'_>, spared: &BTreeSet<RunId>) -> PrunePlan {
        let mut facts = facts(catalog);
        if let Some(current) = &occasion.current
            && catalog.get(&current.run.id).is_none()
        {
            facts.push(current.run.clone());
        }
        let coming = occasion.current.as_ref();
        let losses = losses(catalog, coming, &occasion.accepted);
        let known = beside(catalog, coming, &losses);
        let decision = retain_beside(&facts, catalog.unreadable(), &occasion.policy, &known);
        let order = order(catalog, &decision, spared);
        let prunes = occasion.policy.prunes();
        PrunePlan {
            refused: if prunes { refused(catalog, occasion, order.is_empty()) } else { Vec::new() },
            held: if prunes { held(&losses, &decision) } else { Vec::new() },
            warnings: warnings(catalog, &decision),
            order,
            runs: rows(catalog, &facts, &decision, spared),
        }
    }

    /// Takes the time for what it is said to be, however far it is from the runs that are there.
    pub fn suppose_clock(&mut self) {
        self.refused.retain(|why| !why.is_about_distance());
    }

    /// Whether anything is deleted.
    pub fn deletes(&self) -> bool {
        self.refused.is_empty() && !self.order.is_empty()
    }

    /// The runs that are deleted, in the order in which they are; none where the prune is refused.
    pub fn order(&self) -> &[RunId] {
        if self.refused.is_empty() { &self.order } else { &[] }
    }

    /// Exactly what would be deleted, in order, and what would be left alone. Reads only; the catalog forgets the runs.
    ///
    /// # Errors
    /// When the store cannot tell what there is.
    pub fn preview(
        &self,
        store: &dyn ReadStore,
        layout: &Layout,
        catalog: &mut Catalog,
        (mark, memory): (&Mark, &dyn Memory),
    ) -> Result<Deleted, PruneError> {
        let mut names = Deleted::default();
        for run in self.order() {
            let tombstone = doom(catalog, run)?;
            let scene = Scene { store, layout, mark, memory, catalog };
            let (deletes, left) =
                deletions(&scene, &tombstone, is_made(&scene, run)).map_err(DeleteError::from)?;
            let there = deletes.into_iter().filter(|name| *name != layout.tombstone(run));
            names.deleted.extend(there);
            names.left.extend(left);
            catalog.remove(run);
        }
        Ok(names)
    }

    /// Deletes what goes, under the lease. The catalog must be the one the plan was made from, read under the same lease; it
    /// forgets what is gone. `told` hears of every run.
    ///
    /// # Errors
    /// When the lease is lost, the store fails or it is asked to stop: what is gone by then is gone wholly or is finished by the
    /// next recovery.
    pub fn execute(
        &self,
        on: Ground<'_>,
        catalog: &mut Catalog,
        control: &Control,
        told: &mut dyn FnMut(&RunId, &Deleted),
    ) -> Result<(), PruneError> {
        for run in self.order() {
            control.check()?;
            let deleted = delete_run(on.store, on.layout, on.lease, catalog, run, (on.mark, on.memory))?;
            told(run, &deleted);
        }
        Ok(())
    }
}

/// Why a run stays that `keep` gives up and other stores would bring back.
const SPARED: &str = "another store has more of it: it would be brought back";

fn rows(
    catalog: &Catalog,
    facts: &[Run<RunId>],
    decision: &Decision<RunId>,
    spared: &BTreeSet<RunId>,
) -> Vec<PrunedRun> {
    let name = |run: &RunId| format!("{:08}", run.sequence());
    let staying = decision.kept().chain(spared).filter_map(|run| catalog.get(run));
    let pointed: BTreeSet<&str> =
        staying.flat_map(|manifest| &manifest.archives).map(|archive| archive.artefact.as_str()).collect();
    // Of runs that go and share an artefact, the newest gives it back.
    let mut last: BTreeMap<&str, &RunId> = BTreeMap::new();
    for manifest in catalog.runs() {
        last.extend(manifest.archives.iter().map(|archive| (archive.artefact.as_str(), &manifest.run)));
    }
    let by_id: BTreeMap<&RunId, &Run<RunId>> = facts.iter().map(|run| (&run.id, run)).collect();
    let rows = decision.iter().filter_map(|(id, reasons)| {
        let fact = by_id.get(id)?;
        let archives = catalog.get(id).map(|manifest| manifest.archives.as_slice()).unwrap_or_default();
        let own = archives.iter().filter(|archive| {
            let artefact = archive.artefact.as_str();
            !pointed.contains(artefact) && last.get(artefact) == Some(&id)
        });
        let is_spared = reasons.is_empty() && spared.contains(id);
        let stays = is_spared || !reasons.is_empty();
        let spared = is_spared.then(|| SPARED.to_owned());
        Some(PrunedRun {
            run: *id,
            started: fact.started,
            level: fact.level,
            size: fact.size,
            stays,
            reasons: reasons.iter().map(|reason| reason.words(name)).chain(spared).collect(),
            frees: if stays { 0 } else { own.map(|archive| archive.size).sum() },
        })
    });
    rows.collect()
}

/// The runs that go, the oldest first of those that no other of them rests on.
fn order(catalog: &Catalog, decision: &Decision<RunId>, spared: &BTreeSet<RunId>) -> Vec<RunId> {
    let gone: BTreeSet<RunId> = decision.gone().filter(|run| !spared.contains(run)).copied().collect();
    let mut needed: BTreeMap<RunId, usize> = BTreeMap::new();
    for run in &gone {
        needed.insert(*run, catalog.resting_on(run).filter(|other| gone.contains(other)).count());
    }
    let mut free: BTreeSet<RunId> =
        needed.iter().filter(|(_, count)| **count == 0).map(|(run, _)| *run).collect();
    let mut order = Vec::with_capacity(gone.len());
    while let Some(run) = free.pop_first() {
        order.push(run);
        for base in catalog.get(&run).map(Manifest::rests_on).unwrap_or_default() {
            if let Some(count) = needed.get_mut(&base) {
                *count -= 1;
                if *count == 0 {
                    free.insert(base);
                }
            }
        }
    }
    order
}

fn warnings(catalog: &Catalog, decision: &Decision<RunId>) -> Vec<String> {
    let problems =
        catalog.problems().iter().map(|problem| format!("{problem}: it stays, with every run before it"));
    let broken = decision.broken.iter().map(|(run, missing)| {
        let lost = catalog.get(missing).map(|base| {
            catalog.torn(missing).or_else(|| base.archives.iter().find_map(|own| catalog.loss_of(own)))
        });
        let why = match lost {
            Some(Some(why)) if run == missing => why.to_owned(),
            Some(_) => format!("it rests on run `{missing}`, which cannot be restored either"),
            None => format!("it rests on run `{missing}`, which is not there"),
        };
        format!("run `{run}` cannot be restored: {why}")
    });
    problems.chain(broken).collect()
}

fn refused(catalog: &Catalog, occasion: &Occasion<'_>, nothing_goes: bool) -> Vec<Refusal> {
    let mut refused = refusals(catalog, occasion);
    refused.retain(|why| !(nothing_goes && why.is_idle()));
    refused
}
