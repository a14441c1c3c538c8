//! Packing an archive: which sources, what it rests on, and where it is built. What only reading the sources tells is said to be
//! unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use backplan_compiler::count::plural;
use backplan_compiler::lower::{level_word, reading_order};
use backplan_compiler::model::{ArchiveId, Compare, Level, SourceId, StoreId};

use super::deliver::in_the_way;
use super::{Ahead, Doing, Failure, Performed, Scene, Sight, StepPlan, measured, packing};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::ArchiveRecord;
use crate::run::facts::SourceFact;
use crate::run::output::ArchiveOutput;

/// Where an artefact is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// In this file of the staging.
    Staging(PathBuf),
    /// In these stores at once, those that can be used; one is enough.
    Stores(Vec<StoreId>),
}

/// What an archive that holds only what changed goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Since {
    level: Level,
    bases: BTreeSet<RunId>,
    why: String,
}

/// An archive that is going to be packed.
#[derive(Debug, Clone)]
pub(crate) struct PackPlan {
    /// Which.
    pub archive: ArchiveId,
    /// What its artefact is called, if one is written.
    pub name: String,
    /// The sources that it is made of, in the order in which they are read.
    pub sources: Vec<SourceId>,
    /// Where it is built.
    pub to: Destination,
    /// The public keys that it is encrypted for.
    pub recipients: Vec<String>,
    /// The earlier artefact that its backup is where nothing has changed. Whether that is so, reading the sources tells.
    pub unless_changed: Option<ArchiveRecord>,
    /// Stores that cannot take it, as they lack what it rests on, and why.
    pub untaken: BTreeMap<StoreId, String>,
    since: Option<Since>,
    /// Sources whose tools may rest on a run, if their servers can.
    following: Vec<(SourceId, RunId)>,
}

/// What an archive would hold before compression, as far as a look tells.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    /// Entries, at the most.
    pub entries: u64,
    /// Bytes that are read, at the most.
    pub bytes: u64,
    /// How many of the entries may be as they were: only their contents tell.
    pub open: u64,
    /// Sources whose size nobody knows before they are read.
    pub unmeasured: Vec<SourceId>,
    /// Nothing changed: there will be no artefact of this run.
    pub is_same: bool,
}

impl PackPlan {
    /// Plans it by what the steps before came to.
    ///
    /// # Errors
    /// When none of its sources is there.
    pub fn make(scene: Scene<'_>, id: ArchiveId) -> Result<PackPlan, Failure> {
        let (model, archive, levels) = (scene.model(), scene.model().archive(id), scene.levels());
        let named = |source: SourceId| model.source(source).name.as_str();
        let sources = reading_order(model, &archive.from);
        let sources: Vec<SourceId> =
            sources.into_iter().filter(|source| scene.is_packed(id, *source)).collect();
        if sources.is_empty() {
            return Err(Failure::lasting(format!(
                "archive `{}`: none of its sources is there",
                archive.name
            )));
        }
        let names: Vec<&str> = sources.iter().map(|source| named(*source)).collect();
        let name = scene.context.artefact(id).to_owned();
        let next = levels.of.get(&id).filter(|next| next.level != Level::Full);
        let untakable = |to: &StoreId| Some((*to, levels.untakable(model, *to)?));
        // One that is not there has been told of as its plan says.
        let there = archive.to.iter().filter(|to| scene.has(**to));
        let untaken: BTreeMap<StoreId, String> = there.filter_map(untakable).collect();
        let follow = sources.iter().filter(|source| model.source(**source).may_follow());
        Ok(PackPlan {
            archive: id,
            to: match model.staging {
                Some(_) => Destination::Staging(scene.context.files.artefact(&name)),
                None => {
                    let takes = |to: &StoreId| scene.has(*to) && !untaken.contains_key(to);
                    Destination::Stores(archive.to.iter().copied().filter(takes).collect())
                }
            },
            recipients: archive.encrypt.clone(),
            unless_changed: levels.sole_ground(id, &names).cloned(),
            since: next.map(|next| Since {
                level: next.level,
                bases: next.bases.values().flatten().map(|base| base.run).collect(),
                why: next.why.to_string(),
            }),
            following: follow
                .filter_map(|source| Some((*source, levels.base(id, named(*source))?)))
                .collect(),
            untaken,
            name,
            sources,
        })
    }

    /// Whether a store has what it rests on.
    pub fn is_taken_by(&self, store: StoreId) -> bool {
        !self.untaken.contains_key(&store)
    }

    /// What it would hold, by the scans of its sources and what they differ in from what it goes by.
    fn estimate(&self, scene: Scene<'_>) -> Estimate {
        let difference = |source: SourceId| scene.facts.ahead.differences.get(&(self.archive, source));
        let is_same = |source: &SourceId| difference(*source).is_some_and(|difference| difference.is_none());
        let mut estimate = Estimate {
            is_same: self.unless_changed.is_some() && self.sources.iter().all(is_same),
            ..Estimate::default()
        };
        for source in &self.sources {
            let Some(measure) = scene.facts.sources.get(source).and_then(SourceFact::measure) else {
                estimate.unmeasured.push(*source);
                continue;
            };
            let (entries, bytes) = match difference(*source).filter(|_| self.since.is_some()) {
                _ if estimate.is_same => (0, 0),
                Some(found) => {
                    estimate.open += found.open;
                    (found.entries + found.open, found.bytes + found.open_bytes)
                }
                None => measure,
            };
            estimate.entries += entries;
            estimate.bytes += bytes;
        }
        estimate
    }

    /// The bytes that are read for it at the most, where somebody knows: its artefact has hardly more. What a difference will have,
    /// a scan that was not held against the one before does not tell.
    pub fn bytes_at_most(&self, scene: Scene<'_>) -> Option<u64> {
        let is_told = |source: &SourceId| {
            self.since.is_none() || scene.facts.ahead.differences.contains_key(&(self.archive, *source))
        };
        let estimate = self.estimate(scene);
        let is_known = estimate.unmeasured.is_empty() && self.sources.iter().all(is_told);
        is_known.then_some(estimate.bytes)
    }

    /// What a dry run shows of it.
    fn sight(&self, scene: Scene<'_>, estimate: &Estimate) -> Sight {
        let mut found = Vec::new();
        if let Some(record) = self.unless_changed.as_ref().filter(|_| estimate.is_same) {
            let (artefact, holder) = (&record.artefact, record.holder);
            let text =
                format!("nothing changed: the backup would be `{artefact}` of run {holder}, which is there");
            return Sight { found: vec![text], ..Sight::default() };
        }
        match self.recipients.len() {
            0 => {}
            keys => found.push(format!("encrypted for {}", plural(keys, "key"))),
        }
        if let Some(Since { level, bases, why }) = &self.since {
            let bases: Vec<String> = bases.iter().map(ToString::to_string).collect();
            let level = level_word(*level);
            found.push(format!("{level}, by what changed since run {}: {why}", bases.join(", ")));
        }
        for (source, run) in &self.following {
            let name = &scene.model().source(*source).name;
            found.push(format!(
                "source `{name}` rests on run {run} if its server is of PostgreSQL 17 or newer and summarizes its log; else \
                 all of it is taken"
            ));
        }
        let Estimate { entries, bytes, open, .. } = *estimate;
        let most = if open > 0 { "at the most " } else { "" };
        let size = measured(entries, bytes);
        found.push(format!("{most}{size} before compression, as `{}`", self.name));
        if open > 0 {
            found.push(format!(
                "whether {open} of them changed is known when they are read; where nothing did, nothing is written"
            ));
        }
        found.extend(self.by_contents(scene));
        Sight { found, ..Sight::default() }
    }

    /// Trees of which only the contents tell what changed: all of them is counted.
    fn by_contents(&self, scene: Scene<'_>) -> Vec<String> {
        let is_compared = |source: &&SourceId| {
            scene.model().source(**source).files().is_some_and(|files| files.compare == Compare::Checksum)
        };
        let compared = self.sources.iter().filter(is_compared).filter(|_| self.since.is_some());
        let told = compared.map(|source| {
            format!(
                "source `{}` is compared by its contents (`compare = checksum`): what changed is known when they are read, and \
                 it is counted whole here",
                scene.model().source(*source).name
            )
        });
        told.collect()
    }
}

impl StepPlan for PackPlan {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let scene = ahead.scene;
        let estimate = self.estimate(scene);
        let mut sight = self.sight(scene, &estimate);
        let delivered = match (&self.unless_changed, &self.to) {
            (Some(record), _) if estimate.is_same => {
                let to = scene.model().archive(self.archive).to.iter().copied();
                let reached = to.filter(|at| scene.has(*at) && self.is_taken_by(*at)).collect();
                Ok(ArchiveOutput { unchanged: Some(record.clone()), reached, ..ArchiveOutput::default() })
            }
            (_, Destination::Staging(_)) => Ok(ArchiveOutput::default()),
            (_, Destination::Stores(stores)) => {
                sight = self.untaken.values().fold(sight, |sight, why| sight.warned_once(scene, why));
                self.reaching(scene, stores)
            }
        };
        // What is known of it stays known where it reaches no store.
        let estimate = Some(estimate);
        let performed = match delivered {
            Ok(output) => Ok(Performed::Done(ArchiveOutput { estimate, ..output }.into())),
            Err(failure) => {
                let output = ArchiveOutput { estimate, ..ArchiveOutput::default() };
                Ok(Performed::InPart(output.into(), failure))
            }
        };
        (sight, performed)
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        packing::pack(doing, *self).map(|made| Performed::Done(made.into()))
    }
}

impl PackPlan {
    /// The stores that would take it straight from its packing; one is enough.
    fn reaching(&self, scene: Scene<'_>, stores: &[StoreId]) -> Result<ArchiveOutput, Failure> {
        let (mut lost, mut reached) = (Vec::new(), Vec::new());
        for store in stores.iter().copied() {
            match in_the_way(scene, store, &self.name) {
                Some(text) => lost.push((store, text)),
                None => reached.push(store),
            }
        }
        if !reached.is_empty() {
            return Ok(ArchiveOutput { reached, lost, ..ArchiveOutput::default() });
        }
        if lost.is_empty() {
            return Err(nowhere(scene, self.archive));
        }
        let reasons: Vec<String> = lost.into_iter().map(|(_, text)| text).collect();
        Err(Failure::lasting(reasons.join("; ")))
    }
}

/// What is said where an archive has no store to go to: all have dropped out.
pub(super) fn nowhere(scene: Scene<'_>, archive: ArchiveId) -> Failure {
    let to = scene.model().archive(archive).to.iter();
    let names: Vec<String> = to.map(|store| format!("`{}`", scene.model().store(*store).name)).collect();
    let names = names.join(", ");
    Failure::lasting(format!("there is nowhere to put it: no use of {names} in this run"))
}

impl Scene<'_> {
    /// Whether a source is to be in an archive of this run: asked for, there, and not left out as it could not be read.
    fn is_packed(&self, archive: ArchiveId, source: SourceId) -> bool {
        let only = &self.context.request.only;
        let is_wanted = only.is_empty() || only.contains(&self.model().source(source).name);
        let is_absent = matches!(self.facts.sources.get(&source), Some(SourceFact::Absent(_)));
        is_wanted && !is_absent && !self.facts.left_out.contains_key(&(archive, source))
    }
}
