//! What a run's steps came to, as far as the manifest and the report tell of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use backplan_compiler::graph::StepId;
use backplan_compiler::kinds::KeptApart;
use backplan_compiler::lower::{level_word, repository};
use backplan_compiler::model::{ArchiveId, Level, Model, SourceId, StoreId};
use backplan_compiler::retention::Run;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::levels::Levels;
use super::request::Request;
use super::steps::Scene;
use super::steps::deliver::CommitPlan;
use super::steps::pack::Estimate;
use crate::artefact::{Packed, PackedSource, Tally};
use crate::catalog::details::{Details, PlanFile, RawPath, Root, Warnings};
use crate::catalog::ids::{Nonce, RunId, Uuid};
use crate::catalog::labels::Labels;
pub use crate::catalog::manifest::Content;
use crate::catalog::manifest::{
    ArchiveRecord, FORMAT, HostRef, IndexPlace, MIN_READER, Manifest, MissingArchive, PlanRef,
    RepositoryRecord, Second, SourceRecord, SourceStatus,
};
use crate::catalog::mounted::Mounted;
use crate::catalog::names::{ArtefactName, Digest, PlanName, ToolName};
use crate::catalog::prune::{Current, part};
use crate::postgres::stream::Told;
use crate::scan::{Difference, Summary};
use crate::source::reader;

/// Maps whose keys are pairs, as lists.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}

/// What is told of a source while it is packed.
mod told {
    use std::sync::{Arc, Mutex, PoisonError};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Told;

    pub fn serialize<S: Serializer>(told: &Told, to: S) -> Result<S::Ok, S::Error> {
        told.lock().unwrap_or_else(PoisonError::into_inner).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Told, D::Error> {
        Deserialize::deserialize(from).map(|told| Arc::new(Mutex::new(told)))
    }
}

/// What is known of a source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceFact {
    /// It was read: what for, in entries and bytes, follows from its archives.
    Read,
    /// It is read while it is packed, with labels that are known then.
    Streamed(#[serde(with = "told")] Told),
    /// Its scan.
    Scanned(Summary),
    /// Its copy, and the bytes of it.
    Dumped(#[serde(with = "backplan_host::names::raw")] PathBuf, u64),
    /// In a dry run: its copy would be made, of about so many bytes; `None`: that is known when it is made.
    Expected(Option<u64>),
    /// It is optional and was not there.
    Absent(String),
    /// It could not be read.
    Failed(String),
}

impl SourceFact {
    /// How large it is by what is known of it so far, in entries and bytes; `None`: nobody knows before it is read.
    pub fn measure(&self) -> Option<(u64, u64)> {
        match self {
            SourceFact::Scanned(summary) => Some((summary.entries, summary.bytes)),
            SourceFact::Expected(bytes) => bytes.map(|bytes| (1, bytes)),
            _ => None,
        }
    }
}

/// What is known of an artefact.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArchiveFact {
    /// As the manifests tell of it.
    pub record: ArchiveRecord,
    /// What was packed of each source.
    pub sources: Vec<PackedSource>,
}

/// What is known of a backup in a source's own repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApartFact {
    /// What its tool says of it.
    pub labels: Labels,
    /// Where the repository is, where that is no folder.
    pub remote: Option<BTreeMap<String, String>>,
    /// The bytes of the cluster.
    pub bytes: u64,
}

/// A source that an archive was made without.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why.
    pub reason: String,
    /// Whether a step of its own has failed that says so.
    pub is_told: bool,
}

/// Everything known so far. What passes from one step to another is in here, and can be written down between them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Per source.
    pub sources: BTreeMap<SourceId, SourceFact>,
    /// Per archive that was packed.
    pub archives: BTreeMap<ArchiveId, ArchiveFact>,
    /// Why an archive was not packed.
    pub missing: BTreeMap<ArchiveId, String>,
    /// Archives whose artefacts are in a store by now, under their own names: of this run, or of the one that they are unchanged
    /// since.
    pub reached: BTreeSet<(ArchiveId, StoreId)>,
    /// Archives in which nothing changed, with what their base says of them.
    pub unchanged: BTreeMap<ArchiveId, ArchiveRecord>,
    /// Artefacts that were packed and did not reach a store, and why.
    #[serde(with = "pairs")]
    pub lost: BTreeMap<(ArchiveId, StoreId), String>,
    /// Stores that went away while the run was on, and that it goes on without.
    #[serde(default)]
    pub away: BTreeSet<StoreId>,
    /// Sources that an archive was made without, though they are of it.
    #[serde(with = "pairs")]
    pub left_out: BTreeMap<(ArchiveId, SourceId), LeftOut>,
    /// Scans that failed for some entries of `paths` alone.
    pub partly: BTreeSet<StepId>,
    /// Every other step that was not done, and how it ended.
    pub undone: BTreeMap<StepId, String>,
    /// How often a source could not be packed into an archive.
    #[serde(with = "pairs")]
    pub strikes: BTreeMap<(ArchiveId, SourceId), u32>,
    /// Sources that rest on nothing in this run, whatever was meant: their tools took all.
    pub whole: BTreeSet<String>,
    /// What the tools of Postgres sources say of their backups.
    pub labels: BTreeMap<SourceId, Labels>,
    /// The file systems that sources lie on which are no trees.
    pub footings: BTreeMap<SourceId, Option<Mounted>>,
    /// The sources' own repositories in which a backup was made, or would be.
    pub made_apart: BTreeSet<(SourceId, StoreId)>,
    /// What is known of these backups.
    #[serde(with = "pairs")]
    pub apart: BTreeMap<(SourceId, StoreId), ApartFact>,
    /// Why one was not made.
    #[serde(with = "pairs")]
    pub not_apart: BTreeMap<(SourceId, StoreId), String>,
    /// Objects that a step wrote and only itself could name, each with its store in front.
    pub wrote: BTreeMap<StepId, Vec<String>>,
    /// Stores that the run goes on without, as what a dead run left there could not be taken back.
    pub given_up: BTreeSet<StoreId>,
    /// A store failed without which nothing of the run makes sense.
    pub is_hopeless: bool,
    /// Archives whose base turned out to be of no use, and the sources that rest on it all the same: their tool's backup is made
    /// already.
    pub baseless: BTreeMap<ArchiveId, BTreeSet<String>>,
    /// The stores in which the backup exists.
    pub committed: BTreeSet<StoreId>,
    /// The runs that stores do not have any more, as this one has pruned them.
    pub pruned: BTreeMap<StoreId, BTreeSet<RunId>>,
    /// What a person should read.
    pub warnings: Vec<String>,
    /// What only a dry run takes for a fact.
    #[serde(skip)]
    pub(crate) ahead: Foresight,
}

/// What a dry run sees ahead, where a run has made it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Foresight {
    /// A staging that the run would take into use, with what tells it from another.
    pub staging: Option<(PathBuf, u64)>,
    /// What changed of trees since what an archive would rest on.
    pub differences: BTreeMap<(ArchiveId, SourceId), Difference>,
    /// How much would be in the archives.
    pub estimates: BTreeMap<ArchiveId, Estimate>,
    /// The run, as stores would have it.
    pub coming: BTreeMap<StoreId, Current>,
}

impl Facts {
    /// Whether a store has taken nothing of the run so far, as it lacks what that rests on.
    pub(crate) fn is_behind(&self, levels: &Levels, store: StoreId) -> bool {
        levels.is_behind(store) && !self.reached.iter().any(|(_, to)| *to == store)
    }

    /// Whether a store went away before anything of the run came into it.
    pub(crate) fn has_gone(&self, store: StoreId) -> bool {
        self.away.contains(&store) && !self.reached.iter().any(|(_, to)| *to == store)
    }

    /// Keeps that a store has not come to have what the run made for it.
    pub(crate) fn did_not_reach(&mut self, model: &Model, store: StoreId) {
        let made = self.archives.keys().filter(|archive| model.archive(**archive).to.contains(&store));
        let why = "it could not be brought there behind what it rests on";
        self.lost.extend(made.map(|archive| ((*archive, store), why.to_owned())));
    }

    /// Whether a copy of a source was made by a step of its own, or would be.
    pub fn is_copied(&self, source: SourceId) -> bool {
        matches!(self.sources.get(&source), Some(SourceFact::Dumped(..) | SourceFact::Expected(_)))
    }

    /// Whether nothing changed in an archive, so that its backup is the earlier artefact.
    pub fn is_unchanged(&self, archive: ArchiveId) -> bool {
        self.unchanged.contains_key(&archive)
    }

    /// Entries of a source's `paths` that are missing or could not be read, in words.
    pub fn lost_of(&self, source: SourceId) -> &[String] {
        match self.sources.get(&source) {
            Some(SourceFact::Scanned(summary)) => &summary.lost,
            _ => &[],
        }
    }

    /// Entries of a source that could not be read, or not to their end: when it was scanned, and when it was packed.
    pub fn unread_of(&self, source: SourceId, name: &str) -> u64 {
        let scanned = match self.sources.get(&source) {
            Some(SourceFact::Scanned(summary)) => summary.warnings.unread(),
            _ => 0,
        };
        let packed = self.archives.values().flat_map(|archive| &archive.sources);
        let packed = packed.filter(|packed| packed.name == name).map(|packed| packed.warnings.unread()).max();
        scanned.saturating_add(packed.unwrap_or(0))
    }
}

/// Who and when, as every manifest of a run says it.
#[derive(Debug, Clone)]
pub struct Imprint {
    /// The run.
    pub run: RunId,
    /// This attempt at it.
    pub nonce: Nonce,
    /// The plan's identity in the store.
    pub plan: Uuid,
    /// This machine.
    pub host: HostRef,
    /// When the run began.
    pub started: Timestamp,
    /// When it was ready to commit.
    pub finished: Timestamp,
}

/// The manifest for one store, of what is there by the plan of its commit.
pub(crate) fn manifest(
    request: &Request,
    imprint: &Imprint,
    names: &BTreeMap<ArchiveId, String>,
    facts: &Facts,
    levels: &Levels,
    store: StoreId,
    plan: &CommitPlan,
) -> Manifest {
    let (model, whole) = (&request.model, plan.archives.as_slice());
    let here = Here { facts, names, store, whole, only: &request.only };
    let archives: Vec<ArchiveRecord> =
        whole.iter().filter_map(|id| Some(facts.archives.get(id)?.record.clone())).collect();
    let repositories = plan.repositories.iter();
    let repositories: Vec<RepositoryRecord> =
        repositories.filter_map(|source| repository_record(model, facts, levels, (*source, store))).collect();
    let missing = names.keys().filter(|id| !whole.contains(id)).map(|id| MissingArchive {
        name: PlanName::known(&model.archive(*id).name),
        reason: why_missing(model, facts, *id, store),
    });
    Manifest {
        format: FORMAT,
        min_reader: MIN_READER,
        requires: Vec::new(),
        run: imprint.run,
        nonce: imprint.nonce,
        plan: PlanRef { name: model.name.clone(), id: imprint.plan },
        level: highest(model, &archives, &repositories),
        started: imprint.started,
        finished: imprint.finished,
        host: imprint.host.clone(),
        program: format!("backplan {}", env!("CARGO_PKG_VERSION")),
        stores: model.stores.iter().map(|store| store.name.clone()).collect(),
        sources: (0..model.sources.len()).map(|index| source_record(model, SourceId(index), &here)).collect(),
        archives,
        missing: missing.collect(),
        repositories,
        warnings: None,
        sealed: None,
        second: Second::default(),
    }
}

/// The run to come, as a store will have it by the plan of its commit: of what its manifest is going to say, what is known before
/// the sources are read.
pub(crate) fn coming(scene: Scene<'_>, store: StoreId, plan: &CommitPlan) -> Current {
    let (context, model, facts, levels) = (scene.context, scene.model(), scene.facts, scene.levels());
    let (names, only) = (&context.graph.artefact_names, &context.request.only);
    let here = Here { facts, names, store, whole: &plan.archives, only };
    let is_measured = |id: &SourceId| facts.sources.get(id).is_some_and(|fact| fact.measure().is_some());
    let sources = (0..model.sources.len()).map(SourceId).filter(is_measured);
    let sources: Vec<SourceRecord> = sources.map(|id| source_record(model, id, &here)).collect();
    let known = |source: &PlanName| sources.iter().find(|record| record.name == *source);
    let archived = plan.archives.iter().flat_map(|id| {
        let archive = model.archive(*id);
        let held = here.would_hold(model, *id).map(|source| model.source(source).name.as_str());
        let held = contents(&levels, model, *id, held).into_iter();
        held.map(|content| part(&archive.name, &content, known(&content.source)))
    });
    let separates = model.separates.iter().filter(|own| plan.repositories.contains(&own.source));
    let apart = separates.filter_map(|separate| {
        let next = levels.separate.get(&(separate.source, store))?;
        let source = &model.source(separate.source).name;
        let base = next.next.bases.get(source).and_then(Option::as_ref).map(|base| base.run);
        let chain = next.known.values().find(|(run, _)| Some(*run) == base).map(|(_, chain)| chain.clone());
        let content = Content {
            source: PlanName::known(source),
            level: next.next.level,
            place: next.next.before(),
            rests_on: chain.unwrap_or_default(),
        };
        Some(part(&separate.chain(source).name, &content, None))
    });
    let run = Run {
        id: context.imprint.run,
        started: context.imprint.started,
        level: context.occasion.level.unwrap_or(Level::Full),
        parts: archived.chain(apart).collect(),
        size: 0,
        is_torn: false,
    };
    Current { run, sources }
}

/// What an archive holds of sources, and what that rests on.
pub(crate) fn contents<'s>(
    levels: &Levels,
    model: &Model,
    id: ArchiveId,
    sources: impl Iterator<Item = &'s str>,
) -> Vec<Content> {
    let content = |source: &str| Content {
        source: PlanName::known(source),
        level: levels.level(id, source),
        place: levels.place(id, source),
        rests_on: if model.archive(id).self_contained { Vec::new() } else { levels.rests_on(id, source) },
    };
    sources.map(content).collect()
}

/// Why an archive of the run is not in a store.
fn why_missing(model: &Model, facts: &Facts, id: ArchiveId, store: StoreId) -> String {
    let archive = model.archive(id);
    if !archive.to.contains(&store) {
        let names: Vec<String> =
            archive.to.iter().map(|other| format!("`{}`", model.store(*other).name)).collect();
        return format!("the plan sends it to {}", names.join(", "));
    }
    let told = facts.missing.get(&id).or_else(|| facts.lost.get(&(id, store)));
    told.cloned().unwrap_or_else(|| "it did not reach this store".to_owned())
}

/// What the manifests say of an artefact that this run packed.
pub fn archive_record(
    name: &str,
    artefact: &str,
    run: RunId,
    packed: &Packed,
    sha256: String,
    contents: Vec<Content>,
) -> ArchiveRecord {
    ArchiveRecord {
        name: PlanName::known(name),
        artefact: ArtefactName::known(artefact),
        holder: run,
        format: crate::artefact::VERSION.into(),
        size: packed.size,
        sha256: Some(Digest::known(&sha256)),
        root: Digest::known(&packed.root.to_string()),
        index: IndexPlace {
            offset: packed.index.offset,
            table: packed.index.table,
            table_length: packed.index.table_len,
        },
        members: packed.members,
        recipients: Vec::new(),
        contents,
    }
}

/// The highest level that anything in these archives has, but for what may be whole in every run, if there is more than that.
fn highest(model: &Model, archives: &[ArchiveRecord], repositories: &[RepositoryRecord]) -> Level {
    let is_cycled = |content: &&Content| {
        let declared = model.sources.iter().find(|source| content.source == source.name);
        !declared.is_some_and(backplan_compiler::model::Source::is_whole_each_time)
    };
    let contents = || archives.iter().flat_map(|archive| &archive.contents);
    let separate = repositories.iter().map(|repository| repository.level);
    let cycled = contents().filter(is_cycled).map(|content| content.level).chain(separate).max();
    cycled.or_else(|| contents().map(|content| content.level).max()).unwrap_or(Level::Full)
}

/// What the manifest says of the backup that this run made in a repository of its own; `None`: it made none.
fn repository_record(
    model: &Model,
    facts: &Facts,
    levels: &Levels,
    own: (SourceId, StoreId),
) -> Option<RepositoryRecord> {
    let ApartFact { labels, remote, .. } = facts.apart.get(&own)?;
    let (separate, id) = (levels.separate.get(&own)?, own.0);
    let level = match labels.kind.as_deref() {
        Some("diff") => Level::Differential,
        Some("incr" | "DELTA" | "PAGE" | "PTRACK") => Level::Incremental,
        _ => Level::Full,
    };
    // By what the tool says it rests on: that decides what can be restored, not what was wanted.
    let prior = labels.prior.as_ref().and_then(|prior| separate.known.get(prior));
    let KeptApart { program: tool, cluster, .. } = model.source(id).kind.facts().apart?;
    let stanza = labels.stanza.iter().map(|stanza| (cluster.to_owned(), stanza.clone()));
    let mut settings: BTreeMap<String, String> = stanza.collect();
    let source = &model.source(id).name;
    match remote {
        Some(remote) => settings.extend(remote.clone()),
        None => drop(settings.insert("path".to_owned(), repository(&model.name, source))),
    }
    if model.separate(id).is_some_and(|separate| separate.passphrase.is_some()) {
        settings.insert("cipher".to_owned(), "aes-256-cbc".to_owned());
    }
    Some(RepositoryRecord {
        source: PlanName::known(source),
        tool: tool.to_owned(),
        version: labels.tool_version.clone().unwrap_or_default(),
        label: ToolName::known(labels.label.as_ref()?),
        level,
        place: if level == Level::Full { 0 } else { separate.next.before() },
        rests_on: prior.map(|(_, chain)| chain.clone()).unwrap_or_default(),
        settings,
    })
}

/// What a run came to, as far as one store is concerned.
struct Here<'a> {
    facts: &'a Facts,
    names: &'a BTreeMap<ArchiveId, String>,
    store: StoreId,
    /// The archives that are whole there.
    whole: &'a [ArchiveId],
    /// The sources that were asked for; empty: all.
    only: &'a BTreeSet<String>,
}

impl Here<'_> {
    /// What came of a source into this store, the least of it where several archives have it; `None`: no artefact of this run.
    fn arrived(&self, name: &str) -> Option<Tally> {
        let archives = self.whole.iter().filter_map(|id| self.facts.archives.get(id));
        let packed = archives.flat_map(|archive| &archive.sources).filter(|packed| packed.name == name);
        packed.map(|packed| packed.arrived).min_by_key(|tally| (tally.leaves, tally.bytes))
    }

    /// Whether an archive that is whole here holds the source, be it by an earlier artefact.
    fn holds(&self, model: &Model, id: SourceId) -> bool {
        self.whole.iter().any(|archive| match self.facts.archives.get(archive) {
            Some(fact) => fact.record.contents.iter().any(|content| content.source == model.source(id).name),
            None => self.would_hold(model, *archive).any(|source| source == id),
        })
    }

    /// The sources that an archive would hold which is not packed yet.
    fn would_hold<'m>(
        &self,
        model: &'m Model,
        archive: ArchiveId,
    ) -> impl Iterator<Item = SourceId> + use<'m, '_> {
        let (facts, only) = (self.facts, self.only);
        let from = model.archive(archive).from.iter().copied();
        from.filter(move |source| {
            let is_wanted = only.is_empty() || only.contains(&model.source(*source).name);
            let is_absent = matches!(facts.sources.get(source), Some(SourceFact::Absent(_)));
            is_wanted && !is_absent && !facts.left_out.contains_key(&(archive, *source))
        })
    }

    /// Why the source is not here, though an archive was to bring it.
    fn missed(&self, model: &Model, id: SourceId) -> Option<String> {
        let brings = |archive: &&ArchiveId| {
            let archive = model.archive(**archive);
            archive.to.contains(&self.store) && archive.from.contains(&id)
        };
        let lacking = self.names.keys().filter(|archive| !self.whole.contains(archive)).find(brings)?;
        Some(why_missing(model, self.facts, *lacking, self.store))
    }

    /// Why the source is in no archive that comes here, though the archive does.
    fn left_out(&self, model: &Model, id: SourceId) -> Option<String> {
        let mut own = self.facts.left_out.iter().filter(|((_, source), _)| *source == id);
        own.find(|((archive, _), _)| model.archive(*archive).to.contains(&self.store))
            .map(|(_, left)| left.reason.clone())
    }

    fn status(&self, model: &Model, id: SourceId) -> (SourceStatus, Option<String>) {
        if self.facts.apart.contains_key(&(id, self.store)) {
            return (SourceStatus::Ok, None);
        }
        if let Some(reason) = self.facts.not_apart.get(&(id, self.store)) {
            return (SourceStatus::Failed, Some(reason.clone()));
        }
        if self.holds(model, id) {
            let lost = self.facts.lost_of(id).join("; ");
            return (SourceStatus::Ok, Some(lost).filter(|lost| !lost.is_empty()));
        }
        // Also one that no step of its own has read: a program's, in a window that did not open.
        if let Some(reason) = self.left_out(model, id) {
            return (SourceStatus::Failed, Some(reason));
        }
        match self.facts.sources.get(&id) {
            Some(SourceFact::Absent(reason)) => (SourceStatus::Skipped, Some(reason.clone())),
            Some(SourceFact::Failed(reason)) => (SourceStatus::Failed, Some(reason.clone())),
            None => (SourceStatus::Skipped, Some(SourceRecord::NOT_READ.to_owned())),
            Some(_) => match self.missed(model, id) {
                Some(reason) => (SourceStatus::Failed, Some(reason)),
                None => (SourceStatus::Ok, None),
            },
        }
    }
}

fn source_record(model: &Model, id: SourceId, here: &Here<'_>) -> SourceRecord {
    let source = model.source(id);
    let facts = here.facts;
    let (status, reason) = here.status(model, id);
    // The size of the whole source, however little of it had to be packed: what is in the backup, not what its scan saw.
    let tally = match (here.arrived(&source.name), facts.sources.get(&id)) {
        // A copy in which there is nothing may have some bytes all the same.
        (Some(tally), Some(SourceFact::Dumped(_, 0))) => Tally { entries: 1, bytes: 0, ..tally },
        (Some(tally), Some(SourceFact::Dumped(..))) => Tally { entries: 1, ..tally },
        (Some(tally), _) => tally,
        (None, Some(SourceFact::Scanned(Summary { entries, leaves, files, bytes, .. }))) => {
            Tally { entries: *entries, leaves: *leaves, files: *files, bytes: *bytes }
        }
        (None, Some(SourceFact::Dumped(_, bytes) | SourceFact::Expected(Some(bytes)))) => {
            Tally { entries: 1, leaves: 1, files: 1, bytes: *bytes }
        }
        (None, _) => Tally::default(),
    };
    let apart = facts.apart.get(&(id, here.store));
    let tally = match apart {
        Some(apart) => Tally { entries: 1, leaves: 1, files: 1, bytes: apart.bytes },
        None => tally,
    };
    let labels = apart.map(|apart| &apart.labels).or_else(|| facts.labels.get(&id));
    // What the tool says of the whole, where it copied what changed, or where its repository has more in it than one backup.
    let has_repository = source.repository().is_some();
    let told = labels.and_then(|labels| labels.database_bytes);
    let told = told.filter(|_| tally.bytes > 0 && (source.may_follow() || has_repository));
    SourceRecord {
        name: PlanName::known(&source.name),
        kind: source.kind.facts().word.to_owned(),
        status,
        reason,
        entries: if has_repository && told.is_some() { 1 } else { tally.entries },
        bytes: told.unwrap_or(tally.bytes),
        leaves: source.files().map(|_| tally.leaves),
        missing: facts.lost_of(id).len() as u64,
        lost: match facts.sources.get(&id) {
            Some(SourceFact::Scanned(summary)) => super::mounts::ids(&model.name, &source.name, summary),
            _ => Vec::new(),
        },
        unread: facts.unread_of(id, &source.name),
        labels: labels.cloned().map(Box::new),
    }
}

/// What may be private: texts, parameters, where trees came from, warnings.
pub fn details(request: &Request, facts: &Facts) -> Details {
    let mut warnings = Warnings::default();
    for warning in &facts.warnings {
        warnings.add(warning.clone());
    }
    let files =
        request.files.iter().map(|(path, text)| PlanFile { path: as_written(path), text: text.clone() });
    Details {
        files: files.collect(),
        parameters: request.parameters.clone(),
        roots: places(&request.model),
        warnings,
        ..Details::default()
    }
}

/// The public keys that what is private in a manifest is encrypted for: those of every archive, as it may tell of any of them;
/// empty: no archive is encrypted.
pub fn readers(model: &Model) -> Vec<String> {
    let keys: BTreeSet<&String> = model.archives.iter().flat_map(|archive| &archive.encrypt).collect();
    keys.into_iter().cloned().collect()
}

/// Takes what may name files out of the part of a manifest that stays in clear.
pub fn hide(manifest: &mut Manifest, details: &mut Details) {
    manifest.warnings = Some(details.warnings.total);
    for source in &mut manifest.sources {
        let reason = source.reason.take().map(|reason| (source.name.to_string(), reason));
        details.reasons.extend(reason);
    }
    for missing in &mut manifest.missing {
        let reason = std::mem::replace(&mut missing.reason, "said in the encrypted details".to_owned());
        details.reasons.insert(format!("archive {}", missing.name), reason);
    }
}

/// Where the trees of a plan's sources are read: what puts them back in place.
pub fn places(model: &Model) -> Vec<Root> {
    model.sources.iter().flat_map(|source| reader(&source.kind).roots(&source.name)).collect()
}

fn as_written(path: &Path) -> RawPath {
    RawPath(path.to_path_buf())
}

/// `level` as a manifest and a person say it.
pub fn level_of(level: Option<Level>) -> &'static str {
    level_word(level.unwrap_or(Level::Full))
}
