//! Model to graph of steps.
//!
//! The order that is laid down here is the design's: locks · recovery · clear staging · enter windows · scan and dump ·
//! pack · leave windows · publish · commit · prune · clear staging · unlock. A step needs only what it must wait for, so
//! that independent sources, archives and stores go on side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::graph::{Action, Occasion, Resource, Step, StepGraph, StepId, Undo, When};
use crate::kinds::Reading;
use crate::model::{ArchiveId, Compress, Event, Level, Model, Separate, SourceId, StoreId};
use crate::value::{EnvValue, Text, TextPart};

/// Why a model has no graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LowerError {
    /// `--only` names a source that the plan does not have.
    UnknownSource(String),
    /// Steps that wait for one another: `after` and the archives' contents contradict.
    Loop(Vec<StepId>),
    /// A part of a text that only a run can fill in could not be filled.
    Unfilled(String),
}

/// The steps of one run of `model`.
///
/// # Errors
/// See [`LowerError`].
pub fn lower(model: &Model, occasion: &Occasion) -> Result<StepGraph, LowerError> {
    for name in &occasion.only {
        if !model.sources.iter().any(|source| source.name == *name) {
            return Err(LowerError::UnknownSource(name.clone()));
        }
    }
    let mut names = BTreeMap::new();
    for (index, _) in model.archives.iter().enumerate() {
        names.insert(ArchiveId(index), artefact_name(model, ArchiveId(index), occasion)?);
    }
    let mut lowering = Lowering::new(model, occasion, names);
    lowering.locks();
    lowering.notify_start();
    lowering.windows_enter();
    lowering.sources();
    lowering.archives();
    lowering.windows_leave();
    lowering.stores();
    lowering.catch_up();
    lowering.expire();
    lowering.wals();
    lowering.end();
    let wanted: BTreeMap<ArchiveId, String> = lowering
        .names
        .iter()
        .filter(|(id, _)| lowering.archives.contains(id))
        .map(|(id, name)| (*id, name.clone()))
        .collect();
    StepGraph::new(lowering.steps, wanted).map_err(LowerError::Loop)
}

/// The file name of an archive's artefact.
///
/// # Errors
/// [`LowerError::Unfilled`].
pub fn artefact_name(model: &Model, id: ArchiveId, occasion: &Occasion) -> Result<String, LowerError> {
    let archive = model.archive(id);
    let ending = match (archive.compress, archive.encrypt.is_empty()) {
        (Compress::Gzip, true) => "tar.gz",
        (Compress::Gzip, false) => "tar.gz.age",
        (Compress::Zstd, true) => "tar.zst",
        (Compress::Zstd, false) => "tar.zst.age",
    };
    match &archive.file_name {
        Some(text) => fill(text, occasion, &zone(model)),
        None => {
            let time = match occasion.now {
                Some(now) => now.strftime("%Y%m%dT%H%M%SZ").to_string(),
                None => "${time}".to_owned(),
            };
            Ok(format!("{}_{}_{time}.{ending}", model.name, archive.name))
        }
    }
}

/// The zone that the plan's times are in; UTC where the plan does not say or the name is not known.
pub fn zone(model: &Model) -> TimeZone {
    let name = model.schedule.as_ref().map_or("UTC", |schedule| schedule.zone.as_str());
    jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap_or(TimeZone::UTC)
}

/// The files whose first line a run must read before it can be lowered.
pub fn needed_reads(model: &Model) -> BTreeSet<PathBuf> {
    let mut texts: Vec<&Text> =
        model.archives.iter().filter_map(|archive| archive.file_name.as_ref()).collect();
    for window in &model.windows {
        texts.extend(window.enter.iter().flatten().chain(window.leave.iter().flatten()));
    }
    for source in &model.sources {
        texts.extend(source.kind.own().texts());
    }
    texts.extend(model.environments().flatten().filter_map(|(_, value)| match value {
        EnvValue::Text(text) => Some(text),
        EnvValue::Secret(_) => None,
    }));
    for verify in &model.verifies {
        texts.extend(verify.command.iter().flatten());
    }
    for notify in &model.notifies {
        if let crate::model::NotifyKind::Command { run, .. } = &notify.kind {
            texts.extend(run);
        }
    }
    texts
        .iter()
        .flat_map(|text| &text.0)
        .filter_map(|part| match part {
            TextPart::Read(path) => Some(path.clone()),
            _ => None,
        })
        .collect()
}

/// `text` with the parts of the run filled in; what the occasion does not know stays as written in the plan.
///
/// # Errors
/// [`LowerError::Unfilled`] where a format of `time` cannot be used.
pub fn fill(text: &Text, occasion: &Occasion, zone: &TimeZone) -> Result<String, LowerError> {
    let mut out = String::new();
    for part in &text.0 {
        let shown = || Text(vec![part.clone()]).to_string();
        match part {
            TextPart::Literal(text) => out.push_str(text),
            TextPart::Time(format) => match occasion.now {
                Some(now) => {
                    let zoned = now.to_zoned(zone.clone());
                    let time = jiff::fmt::strtime::format(format, &zoned)
                        .map_err(|error| LowerError::Unfilled(format!("{}: {error}", shown())))?;
                    out.push_str(&time);
                }
                None => out.push_str(&shown()),
            },
            TextPart::Host => out.push_str(&occasion.host.clone().unwrap_or_else(shown)),
            TextPart::Level => match occasion.level {
                Some(level) => out.push_str(level_word(level)),
                None => out.push_str(&shown()),
            },
            TextPart::Read(path) => out.push_str(&occasion.reads.get(path).cloned().unwrap_or_else(shown)),
        }
    }
    Ok(out)
}

/// `full`, `differential` or `incremental`.
pub fn level_word(level: Level) -> &'static str {
    match level {
        Level::Full => "full",
        Level::Differential => "differential",
        Level::Incremental => "incremental",
    }
}

/// The sources of an archive in the order they are read: each behind those it is declared `after`, ties by name.
pub fn reading_order(model: &Model, sources: &[SourceId]) -> Vec<SourceId> {
    let mut left: Vec<SourceId> = sources.to_vec();
    left.sort();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let next = left
            .iter()
            .position(|id| {
                !model.source(*id).after.iter().any(|before| before != id && left.contains(before))
            })
            .unwrap_or(0);
        order.push(left.remove(next));
    }
    order
}

/// The folder of Backplan's own objects in a store.
fn own(plan: &str, rest: &str) -> String {
    format!(".backplan/{plan}/{rest}")
}

/// The folder of a separate source's repository in a folder store.
pub fn repository(plan: &str, source: &str) -> String {
    format!(".backplan-repo/{plan}/{source}")
}

/// The folder in the staging that a run builds in; `None`: the plan has no staging.
pub fn staged(model: &Model, run: &str) -> Option<PathBuf> {
    model.staging.as_ref().map(|staging| staging.path.join(run))
}

/// The name of the scan of a source among the scratch files of a run.
pub fn scan_name(source: &str) -> String {
    format!("{source}.scan")
}

struct Lowering<'a> {
    model: &'a Model,
    run: String,
    names: BTreeMap<ArchiveId, String>,
    /// Archives of this run.
    archives: BTreeSet<ArchiveId>,
    /// Sources of this run.
    sources: BTreeSet<SourceId>,
    /// Stores of this run.
    stores: BTreeSet<StoreId>,
    /// Sources that this run rehearses.
    rehearse: BTreeSet<SourceId>,
    steps: Vec<Step>,
}

impl<'a> Lowering<'a> {
    fn new(model: &'a Model, occasion: &Occasion, names: BTreeMap<ArchiveId, String>) -> Self {
        let wanted = |id: &SourceId| match occasion.only.is_empty() {
            true => !occasion.not_due.contains(id),
            false => occasion.only.contains(&model.source(*id).name),
        };
        let archives: BTreeSet<ArchiveId> = (0..model.archives.len())
            .map(ArchiveId)
            .filter(|id| model.archive(*id).from.iter().any(wanted))
            .collect();
        let separates = || model.separates.iter().filter(|separate| wanted(&separate.source));
        let archived = archives.iter().flat_map(|id| model.archive(*id).from.iter().copied()).filter(wanted);
        let sources = archived.chain(separates().map(|separate| separate.source)).collect();
        let stores = archives
            .iter()
            .flat_map(|id| model.archive(*id).to.iter().copied())
            .chain(separates().flat_map(|separate| separate.to.iter().copied()))
            .collect();
        let run = occasion.run.clone().unwrap_or_else(|| "RUN".to_owned());
        let sources: BTreeSet<SourceId> = sources;
        let is_due = |id: &SourceId| occasion.rehearse.as_ref().is_none_or(|due| due.contains(id));
        let verified = model.verifies.iter().filter(|verify| verify.every.is_some());
        let rehearse = verified.map(|verify| verify.restore);
        let rehearse = rehearse.filter(|id| sources.contains(id) && is_due(id)).collect();
        Lowering { model, run, names, archives, sources, stores, rehearse, steps: Vec::new() }
    }

    fn push(&mut self, id: &str, action: Action, needs: impl IntoIterator<Item = String>) -> &mut Step {
        let index = self.steps.len();
        self.steps.push(Step {
            id: StepId(id.to_owned()),
            action,
            needs: needs.into_iter().map(StepId).collect(),
            parts: Vec::new(),
            reads: BTreeSet::new(),
            writes: BTreeSet::new(),
            deletes: BTreeSet::new(),
            retry: None,
            timeout: None,
            undo: Undo::None,
        });
        &mut self.steps[index]
    }

    /// The step that does this, where one does so far.
    fn doing(&self, action: &Action) -> Option<&Step> {
        self.steps.iter().find(|step| step.action == *action)
    }

    fn object(&self, store: StoreId, name: impl Into<String>) -> Resource {
        Resource::Object { store: self.model.store(store).name.clone(), name: name.into() }
    }

    /// Host lock, store locks in name order, recovery, the first clearing.
    fn locks(&mut self) {
        let staging = self.model.staging.clone();
        let plan = self.model.name.clone();
        let step = self.push("lock", Action::LockHost, []);
        step.undo = Undo::Release;
        step.writes.insert(Resource::State(format!("{plan}/lock")));
        if let Some(staging) = &staging {
            step.writes.insert(Resource::State(format!("lock of {}", staging.path.display())));
        }
        let mut before = "lock".to_owned();
        for store in self.stores.clone() {
            let id = format!("lock/{}", self.model.store(store).name);
            let lease = self.object(store, own(&plan, "lock/N"));
            let retry = self.model.retry.clone();
            let step = self.push(&id, Action::LockStore(store), [before]);
            step.undo = Undo::Release;
            step.retry = Some(retry);
            step.writes.insert(lease);
            before = id;
        }
        let step = self.push("recover", Action::Recover, [before]);
        step.deletes.insert(Resource::State(format!("{plan}/work")));
        if let Some(staging) = staging.filter(|staging| staging.clear_before) {
            let step = self.push("clear/before", Action::ClearStaging(When::Before), ["recover".to_owned()]);
            step.deletes.insert(Resource::Contents(staging.path));
        }
    }

    /// What a step waits for that begins the reading of a source.
    fn gate(&self, source: SourceId) -> Vec<String> {
        let windows: Vec<String> = self
            .model
            .windows
            .iter()
            .filter(|window| window.around.contains(&source))
            .map(|window| format!("enter/{}", window.name))
            .collect();
        if windows.is_empty() { vec![self.ready()] } else { windows }
    }

    /// The last step of the beginning.
    fn ready(&self) -> String {
        let clears = self.model.staging.as_ref().is_some_and(|staging| staging.clear_before);
        if clears { "clear/before".to_owned() } else { "recover".to_owned() }
    }

    fn windows_enter(&mut self) {
        let ready = self.ready();
        for (index, window) in self.model.windows.iter().enumerate() {
            if !window.around.iter().any(|source| self.sources.contains(source)) {
                continue;
            }
            let step = self.push(&format!("enter/{}", window.name), Action::Enter(index), [ready.clone()]);
            step.writes.insert(Resource::World(window.name.clone()));
            step.undo = Undo::LeaveWindow;
            step.timeout = window.timeout;
        }
    }

    /// The first step of a source in an archive: its scan or dump; a `command` has none, its pack runs it.
    fn first_step(&self, source: SourceId) -> Option<String> {
        let source = self.model.source(source);
        match source.kind.facts().reading {
            Reading::Scan => Some(format!("scan/{}", source.name)),
            Reading::File | Reading::Folder => Some(format!("dump/{}", source.name)),
            Reading::Stream => None,
        }
    }

    /// A step on the repository of a separate source in a store: the store is named where there is more than one.
    fn apart(&self, verb: &str, separate: &Separate, store: StoreId) -> String {
        let source = &self.model.source(separate.source).name;
        match separate.to.len() {
            1 => format!("{verb}/{source}"),
            _ => format!("{verb}/{source}/{}", self.model.store(store).name),
        }
    }

    /// The steps after which a source has been read: its dump, or the packs that read it.
    fn last_steps(&self, source: SourceId) -> Vec<String> {
        if let Some(separate) = self.model.separate(source) {
            return separate.to.iter().map(|store| self.apart("dump", separate, *store)).collect();
        }
        match self.model.source(source).kind.facts().reading {
            Reading::File | Reading::Folder => self.first_step(source).into_iter().collect(),
            Reading::Scan | Reading::Stream => self
                .archives
                .iter()
                .filter(|id| self.model.archive(**id).from.contains(&source))
                .map(|id| format!("pack/{}", self.model.archive(*id).name))
                .collect(),
        }
    }

    /// What the reading of `source`, in `archive` if it is read there, waits for because of `after`.
    fn after(&self, source: SourceId, archive: Option<ArchiveId>) -> Vec<String> {
        let own: Vec<String> = match archive {
            Some(id) => vec![format!("pack/{}", self.model.archive(id).name)],
            None => self.last_steps(source),
        };
        let before = self.model.source(source).after.iter().filter(|before| self.sources.contains(before));
        before
            .flat_map(|before| {
                // Packed side by side, the archive's own order serves.
                let mut steps = self.last_steps(*before);
                steps.retain(|step| !own.contains(step));
                if steps.is_empty() { self.first_step(*before).into_iter().collect() } else { steps }
            })
            .collect()
    }

    fn sources(&mut self) {
        for id in self.sources.clone() {
            let mut needs = self.gate(id);
            needs.extend(self.after(id, None));
            let source = self.model.source(id);
            if let Some(separate) = self.model.separate(id) {
                let mut before = None;
                for store in &separate.to {
                    let mut needs = needs.clone();
                    // A tool makes one backup of a cluster at a time.
                    needs.extend(before);
                    needs.extend(
                        (separate.to.len() > 1).then(|| format!("lock/{}", self.model.store(*store).name)),
                    );
                    let writes = self.object(*store, repository(&self.model.name, &source.name));
                    let step = self.apart("dump", separate, *store);
                    self.read(&step, Action::DumpApart(id, *store), needs, writes);
                    before = Some(step);
                }
                continue;
            }
            let Some(step) = self.first_step(id) else { continue };
            let (action, writes) = match (source.kind.facts().reading, source.repository()) {
                (Reading::Scan, _) => {
                    let (plan, run) = (&self.model.name, &self.run);
                    (
                        Action::Scan(id),
                        Resource::State(format!("{plan}/work/{run}/{}", scan_name(&source.name))),
                    )
                }
                (_, Some(path)) => (Action::Dump(id), Resource::Contents(path.to_path_buf())),
                (_, None) => (Action::Dump(id), self.staged(&source.name)),
            };
            self.read(&step, action, needs, writes);
        }
    }

    /// A step that reads a source.
    fn read(&mut self, step: &str, action: Action, needs: Vec<String>, writes: Resource) {
        let (Action::Scan(id) | Action::Dump(id) | Action::DumpApart(id, _)) = action else { return };
        let source = self.model.source(id);
        let (reads, timeout) = (source.kind.own().reads(&source.name), source.timeout);
        let is_own = source.repository().is_none() && !matches!(action, Action::DumpApart(..));
        let retry = self.model.retry.clone();
        let step = self.push(step, action, needs);
        step.reads = reads;
        step.writes.insert(writes);
        step.retry = Some(retry);
        step.timeout = timeout;
        step.undo = if is_own { Undo::DeleteFiles } else { Undo::None };
    }

    /// Where a dump of this source is built.
    fn staged(&self, source: &str) -> Resource {
        match staged(self.model, &self.run) {
            Some(folder) => Resource::Contents(folder.join(source)),
            None => Resource::State(format!("{}/work/{}/{source}", self.model.name, self.run)),
        }
    }

    fn archives(&mut self) {
        for id in self.archives.clone() {
            let archive = self.model.archive(id);
            let read: Vec<SourceId> =
                archive.from.iter().copied().filter(|s| self.sources.contains(s)).collect();
            let mut parts = Vec::new();
            let mut reads = BTreeSet::new();
            for source in &read {
                let mut needs = BTreeSet::from_iter(self.first_step(*source));
                needs.extend(self.gate(*source));
                needs.extend(self.after(*source, Some(id)));
                parts.push((*source, needs.into_iter().map(StepId).collect::<BTreeSet<_>>()));
                reads.extend(self.packed_from(*source));
            }
            let needs: BTreeSet<String> =
                parts.iter().flat_map(|(_, needs)| needs.iter().map(|need| need.0.clone())).collect();
            let name = self.names[&id].clone();
            let staging = staged(self.model, &self.run).map(|folder| folder.join(&name));
            let writes: BTreeSet<Resource> = match &staging {
                Some(path) => BTreeSet::from([Resource::Path(path.clone())]),
                None => archive.to.iter().map(|store| self.object(*store, name.clone())).collect(),
            };
            let retry = self.model.retry.clone();
            let step = self.push(&format!("pack/{}", archive.name), Action::Pack(id), needs);
            step.parts = parts;
            step.reads = reads;
            step.writes = writes;
            step.retry = Some(retry);
            step.undo = if staging.is_some() { Undo::DeleteFiles } else { Undo::DeleteObjects };
            if let Some(path) = staging {
                self.publish(id, &path, &name);
            }
        }
    }

    fn publish(&mut self, id: ArchiveId, staged: &Path, name: &str) {
        let archive = self.model.archive(id);
        for store in archive.to.clone() {
            let object = self.object(store, name);
            let retry = self.model.retry.clone();
            let step_id = format!("publish/{}/{}", archive.name, self.model.store(store).name);
            let lock = format!("lock/{}", self.model.store(store).name);
            let needs = [format!("pack/{}", archive.name), lock];
            let step = self.push(&step_id, Action::Publish(id, store), needs);
            step.reads.insert(Resource::Path(staged.to_path_buf()));
            step.writes.insert(object);
            step.retry = Some(retry);
            step.undo = Undo::DeleteObjects;
        }
    }

    /// What a pack reads of a source.
    fn packed_from(&self, id: SourceId) -> BTreeSet<Resource> {
        let source = self.model.source(id);
        match (source.kind.facts().reading, source.repository()) {
            (Reading::Scan | Reading::Stream, _) => source.kind.own().reads(&source.name),
            (_, Some(path)) => BTreeSet::from([Resource::Contents(path.to_path_buf())]),
            (_, None) => BTreeSet::from([self.staged(&source.name)]),
        }
    }

    fn windows_leave(&mut self) {
        for (index, window) in self.model.windows.iter().enumerate() {
            let inside: Vec<SourceId> =
                window.around.iter().copied().filter(|source| self.sources.contains(source)).collect();
            if inside.is_empty() {
                continue;
            }
            let mut needs: BTreeSet<String> =
                inside.iter().flat_map(|source| self.last_steps(*source)).collect();
            needs.insert(format!("enter/{}", window.name));
            let step = self.push(&format!("leave/{}", window.name), Action::Leave(index), needs);
            step.writes.insert(Resource::World(window.name.clone()));
        }
    }

    fn stores(&mut self) {
        for store in self.stores.clone() {
            let name = self.model.store(store).name.clone();
            let direct = self.model.staging.is_none();
            let mut needs: Vec<String> = self
                .archives
                .iter()
                .filter(|id| self.model.archive(**id).to.contains(&store))
                .map(|id| match (direct, &self.model.archive(*id).name) {
                    (true, archive) => format!("pack/{archive}"),
                    (false, archive) => format!("publish/{archive}/{name}"),
                })
                .collect();
            let separates =
                self.model.separates.iter().filter(|separate| {
                    separate.to.contains(&store) && self.sources.contains(&separate.source)
                });
            needs.extend(separates.map(|separate| self.apart("dump", separate, store)));
            needs.push(format!("lock/{name}"));
            let (run, plan) = (self.run.clone(), self.model.name.clone());
            let manifest = self.object(store, own(&plan, &format!("manifests/{run}.yaml")));
            let sums = self.object(store, own(&plan, &format!("sums/{run}.sha256")));
            let retry = self.model.retry.clone();
            let step = self.push(&format!("commit/{name}"), Action::Commit(store), needs);
            step.writes.extend([manifest, sums]);
            step.retry = Some(retry);
            let declared = self.model.store(store);
            let is_own = |own: &Separate| own.keep.is_some() && own.to.contains(&store);
            let own = self.model.separates.iter().any(is_own);
            let keeps = declared.keep.is_some() || self.model.keep.is_some() || own;
            if keeps && !declared.append_only {
                self.push(&format!("prune/{name}"), Action::Prune(store), [format!("commit/{name}")]);
            }
        }
    }

    /// A store that was away gets what others have since, once the backup of this run is wherever it can be.
    fn catch_up(&mut self) {
        let shares = |store: &StoreId| {
            let mut held = self.model.archives.iter().filter(|archive| archive.to.contains(store));
            held.any(|archive| archive.to.iter().any(|other| other != store && self.stores.contains(other)))
        };
        let behind: Vec<StoreId> = self.stores.iter().copied().filter(shares).collect();
        let is_end = |step: &&Step| matches!(step.action, Action::Commit(_) | Action::Prune(_));
        let ends: Vec<String> = self.steps.iter().filter(is_end).map(|step| step.id.0.clone()).collect();
        for store in behind {
            let name = self.model.store(store).name.clone();
            let step = self.push(&format!("sync/{name}"), Action::Sync(store), ends.clone());
            step.reads.insert(Resource::World(format!("runs that `{name}` lacks")));
        }
    }

    /// A repository that is packed holds one cycle: what is older goes once the next full is committed everywhere.
    fn expire(&mut self) {
        for id in self.sources.clone() {
            let source = self.model.source(id);
            let (name, timeout) = (source.name.clone(), source.timeout);
            if let Some(separate) = self.model.separate(id) {
                separate.to.iter().for_each(|store| self.expire_apart(separate, *store));
                continue;
            }
            let Some(repository) = source.repository().map(Path::to_path_buf) else { continue };
            let holders =
                self.archives.iter().filter(|archive| self.model.archive(**archive).from.contains(&id));
            let stores: BTreeSet<StoreId> =
                holders.flat_map(|archive| self.model.archive(*archive).to.iter().copied()).collect();
            let needs: Vec<String> =
                stores.iter().map(|store| format!("commit/{}", self.model.store(*store).name)).collect();
            let step = self.push(&format!("expire/{name}"), Action::Expire(id), needs);
            step.deletes
                .insert(Resource::World(format!("backups of earlier cycles in {}", repository.display())));
            step.timeout = timeout;
        }
    }

    /// A repository of its own holds what the manifests beside it say, and nothing that a prune gave up. Where this host never
    /// deletes, nothing is pruned.
    fn expire_apart(&mut self, separate: &Separate, store: StoreId) {
        let (source, label) = (self.model.source(separate.source), &self.model.store(store).name);
        let pruned = format!("prune/{label}");
        if !self.steps.iter().any(|step| step.id.0 == pruned) {
            return;
        }
        let deletes = match separate.to.len() {
            1 => format!("backups in the repository of `{}` whose runs are gone", source.name),
            _ => format!("backups in the repository of `{}` in `{label}` whose runs are gone", source.name),
        };
        let id = self.apart("expire", separate, store);
        // The tool works at one thing of a cluster at a time, whatever repository it is in.
        let others = separate.to.iter().filter(|other| **other != store);
        let others = others.flat_map(|other| {
            [Action::DumpApart(separate.source, *other), Action::ExpireApart(separate.source, *other)]
        });
        let others = others.filter_map(|action| self.doing(&action).map(|step| step.id.0.clone()));
        let needs: Vec<String> = others.chain([pruned]).collect();
        let step = self.push(&id, Action::ExpireApart(separate.source, store), needs);
        step.deletes.insert(Resource::World(deletes));
        step.timeout = source.timeout;
    }

    /// The archives of logs: there from the first run on, and rid of what no kept backup needs once the run is committed.
    fn wals(&mut self) {
        for (at, wal) in self.model.wals.clone().into_iter().enumerate() {
            if !self.sources.contains(&wal.source) {
                continue;
            }
            let source = self.model.source(wal.source).name.clone();
            let kept = self.model.wal_keep(&wal).is_some();
            let mut ends: Vec<String> = Vec::new();
            for store in &self.stores {
                let end = self.doing(&Action::Prune(*store)).or_else(|| self.doing(&Action::Commit(*store)));
                ends.extend(end.map(|step| step.id.0.clone()));
            }
            for store in &wal.to {
                let declared = self.model.store(*store).clone();
                let folder = format!(".backplan-wal/{}/{source}", self.model.name);
                let mut needs = vec!["recover".to_owned()];
                needs.extend(self.stores.contains(store).then(|| format!("lock/{}", declared.name)));
                let object = self.object(*store, folder.clone());
                let open = format!("wal/{source}/{}", declared.name);
                let step = self.push(&open, Action::OpenWal(at, *store), needs);
                step.writes.insert(object);
                if kept && !declared.append_only {
                    let needs = ends.iter().cloned().chain([open]);
                    let id = format!("expire/{source}/{}", declared.name);
                    let step = self.push(&id, Action::ExpireWal(at, *store), needs);
                    let what =
                        format!("log of `{source}` that no kept backup needs, in {}:{folder}", declared.name);
                    step.deletes.insert(Resource::World(what));
                }
            }
        }
    }

    fn end(&mut self) {
        // What nothing else waits for: behind these, everything has ended.
        let needed: BTreeSet<&StepId> = self.steps.iter().flat_map(|step| &step.needs).collect();
        let ends = self.steps.iter().filter(|step| !needed.contains(&step.id));
        let mut last: Vec<String> = ends.map(|step| step.id.0.clone()).collect();
        if let Some(staging) = self.model.staging.clone().filter(|staging| staging.clear_after) {
            let step = self.push("clear/after", Action::ClearStaging(When::After), last.clone());
            step.deletes.insert(Resource::Contents(staging.path));
            last = vec!["clear/after".to_owned()];
        }
        let rehearsals = self.rehearsals(&last);
        last.extend(rehearsals);
        let plan = self.model.name.clone();
        let never =
            self.model.staging.as_ref().filter(|staging| !staging.clear_before && !staging.clear_after);
        let own = never.and_then(|_| staged(self.model, &self.run)).map(Resource::Path);
        let step = self.push("unlock", Action::Unlock, last);
        // What is never cleared would fill up with one artefact a run.
        step.deletes.extend(own);
        step.writes.insert(Resource::State(format!("{plan}/lock")));
        for (index, notify) in self.model.notifies.iter().enumerate() {
            if notify.on.iter().any(|event| *event != Event::Start) {
                let id = format!("notify/{}", notify.name);
                let step = self.push(&id, Action::Notify(index, When::After), ["unlock".to_owned()]);
                step.writes.insert(Resource::World(notify.name.clone()));
            }
        }
    }

    /// Rehearsals, one after the other, behind the commits and once the staging is free again: each needs room of its own.
    fn rehearsals(&mut self, behind: &[String]) -> Vec<String> {
        let commits = self.stores.iter().map(|store| format!("commit/{}", self.model.store(*store).name));
        let mut needs: Vec<String> = commits.chain(behind.iter().cloned()).collect();
        let (mut ids, stores) = (Vec::new(), self.stores.clone());
        for source in self.rehearse.clone() {
            let name = self.model.source(source).name.clone();
            let records = own(&self.model.name, &format!("rehearsals/TIME-{name}-NONCE.yaml"));
            let records: Vec<Resource> =
                stores.iter().map(|store| self.object(*store, records.clone())).collect();
            let id = format!("rehearse/{name}");
            let step = self.push(&id, Action::Rehearse(source), needs.clone());
            step.reads.insert(Resource::World(format!("the newest backup of `{name}`")));
            step.writes.extend(records);
            needs.push(id.clone());
            ids.push(id);
        }
        ids
    }

    fn notify_start(&mut self) {
        for (index, notify) in self.model.notifies.iter().enumerate() {
            if notify.on.contains(&Event::Start) {
                let id = format!("notify/{}/start", notify.name);
                let step = self.push(&id, Action::Notify(index, When::Before), ["recover".to_owned()]);
                step.writes.insert(Resource::World(notify.name.clone()));
            }
        }
    }
}
