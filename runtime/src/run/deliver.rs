//! The steps that deal with stores: locking, packing, publishing, committing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::graph::{Action, Step, StepId};
use backplan_compiler::lower::reading_order;
use backplan_compiler::model::{Absent, ArchiveId, SourceId, SourceKind, StoreId};
use sha2::{Digest, Sha256};

use super::coordinator::{Failure, FailureKind, Performed};
use super::event::Outcome;
use super::facts::{self, ArchiveFact, SourceFact};
use super::journal::Record;
use super::mark::mark;
use super::prepare::highest_in;
use super::session;
use super::sinks::{FanOut, StagedFile, Uploads};
use super::state::make_private;
use super::worker::Worker;
use crate::artefact::{self, BaseScan, Changes, Content, Input, PackError, PackOptions, Packed, Shape};
use crate::catalog::commit::{CommitError, Transaction};
use crate::catalog::identity::{self, Claim, IdentityError};
use crate::catalog::layout::artefact_name;
use crate::catalog::lock::{Holder, Lease, LeaseTimes, LockError};
use crate::catalog::manifest::ArchiveRecord;
use crate::catalog::owner::Owner;
use crate::catalog::recover::Intent;
use crate::control::Control;
use crate::scan::Doubts;
use crate::source::command::Output;
use crate::store::{Store, StoreErrorKind, Upload};

/// A store that took no artefact, and why.
type Lost = (StoreId, Failure);

/// Bytes read at once where an artefact is read again for its SHA-256.
const CHUNK: usize = 1 << 20;

impl Worker {
    pub(super) fn lock_store(
        &self,
        step: &StepId,
        id: StoreId,
        control: &Control,
    ) -> Result<Performed, Failure> {
        let declared = self.request.model.store(id);
        let location = session::location(declared);
        let known = self.plan().known(&declared.name, &location);
        let Some(folder) = session::folder(declared) else {
            return Err(Failure::fatal(format!("store `{}` is not a folder", declared.name)));
        };
        let store: Arc<dyn Store> =
            match identity::open_folder(&declared.name, folder, known, self.request.adopt) {
                Ok(store) => session::guarded(declared, Arc::new(store)),
                Err(error) => return self.absent(step, id, &error),
            };
        let claim = Claim {
            file: &self.request.model.file,
            machine: self.imprint.host.clone(),
            id: self.imprint.plan,
            known,
            adopt: self.request.adopt,
        };
        let not_ours = |error: IdentityError| claim_failure(&error, &location);
        // Before the lease, so that nothing at all is written to a store that is not this run's.
        identity::inspect(store.as_ref(), &self.layout, &claim).map_err(not_ours)?;
        let lease = self.lease(&store, &location, control)?;
        let mut held = self.sessions[&id].held();
        let checked = identity::claim(store.as_ref(), &self.layout, &claim)
            .map_err(not_ours)
            .and_then(|format| {
                self.plan().remember(&declared.name, &location, format.id).map_err(Failure::lasting)
            })
            .and_then(|()| self.check_sequence(store.as_ref()));
        if let Err(failure) = checked {
            // The store is not this run's: it is given back at once, and untouched.
            let _ = lease.release();
            return Err(failure);
        }
        held.store = Some(store);
        held.lease = Some(Arc::new(lease));
        Ok(Performed::Done)
    }

    /// The lease on a store, unless it is one that this very run has locked by another path.
    fn lease(&self, store: &Arc<dyn Store>, location: &str, control: &Control) -> Result<Lease, Failure> {
        let (run, host) = (self.imprint.run, &self.imprint.host);
        let owner = Owner::this_process(host.machine, &host.name, &run);
        let times = LeaseTimes::default();
        Lease::acquire(Arc::clone(store), &self.layout, owner, times, control).map_err(|error| match &error {
            LockError::Busy { holder, .. }
                if matches!(&**holder, Holder::Known(owner) if owner.run == run.to_string()) =>
            {
                Failure::lasting(format!(
                    "store `{}`: its folder `{location}` is another store's of this plan too; give it one of its own",
                    store.label()
                ))
            }
            _ => lock_failure(error),
        })
    }

    fn check_sequence(&self, store: &dyn Store) -> Result<(), Failure> {
        let highest = highest_in(store, &self.layout).map_err(Failure::lasting)?;
        if highest < self.imprint.run.sequence() {
            return Ok(());
        }
        let text =
            format!("store `{}`: run {highest} was made while this one began; start it again", store.label());
        Err(Failure::fatal(text))
    }

    /// What a store that cannot be used means for the run.
    fn absent(&self, step: &StepId, id: StoreId, error: &IdentityError) -> Result<Performed, Failure> {
        let declared = self.request.model.store(id);
        let unreachable = matches!(error, IdentityError::FolderMissing { .. })
            || matches!(error, IdentityError::Store(error) if error.kind == StoreErrorKind::Unreachable);
        match declared.absent {
            _ if !unreachable => Err(Failure::lasting(error)),
            Absent::Fail => Err(Failure::fatal(error)),
            Absent::Skip => Ok(Performed::Dropped(error.to_string())),
            Absent::Warn => {
                self.warn(step, format!("{error}; the run goes on without it"));
                Ok(Performed::Dropped(error.to_string()))
            }
        }
    }

    pub(super) fn pack(&self, step: &StepId, id: ArchiveId, control: &Control) -> Result<(), Failure> {
        let inputs = self.inputs(step, id, control)?;
        let archive = self.request.model.archive(id);
        if inputs.is_empty() {
            return Err(Failure::lasting(format!(
                "archive `{}`: none of its sources is there",
                archive.name
            )));
        }
        let options = PackOptions {
            level: archive.level,
            run: self.imprint.run.to_string(),
            scratch: self.work_folder(),
            workers: None,
            shape: match self.levels.index(id) {
                Some(base) => Shape::Difference { base: Some(base) },
                None => Shape::Whole { copy_from: None },
            },
            share_blocks: archive.share_blocks,
            deleted: None,
        };
        let changes = artefact::plan_changes(&inputs, &options, control)
            .map_err(|error| self.pack_failure(&error, control))?;
        let unchanged = if changes.is_unchanged() { self.unchanged(id, &inputs) } else { None };
        let fact = match unchanged {
            Some(fact) => fact,
            None if self.request.model.staging.is_some() => {
                self.pack_staged(step, id, inputs, changes, &options, control)?
            }
            None => self.pack_direct(step, id, inputs, changes, &options, control)?,
        };
        for source in &fact.sources {
            for warning in source.warnings.kept() {
                self.warn(step, format!("source `{}`: {warning}", source.name));
            }
            let more = source.warnings.total() - source.warnings.kept().len() as u64;
            if more > 0 {
                self.warn(step, format!("source `{}`: and {more} more like these", source.name));
            }
        }
        self.facts().archives.insert(id, fact);
        Ok(())
    }

    fn inputs(&self, step: &StepId, id: ArchiveId, control: &Control) -> Result<Vec<Input>, Failure> {
        let wanted = |source: &SourceId| {
            self.occasion.only.is_empty()
                || self.occasion.only.contains(&self.request.model.source(*source).name)
        };
        let sources = reading_order(&self.request.model, &self.request.model.archive(id).from);
        let mut inputs = Vec::new();
        for source in sources.into_iter().filter(wanted) {
            let name = self.request.model.source(source).name.clone();
            if let Some(content) = self.content(step, id, source, control)? {
                inputs.push(Input { source: name, content });
            }
        }
        Ok(inputs)
    }

    /// What a source gives to a pack; `None`: it is optional and not there.
    fn content(
        &self,
        step: &StepId,
        archive: ArchiveId,
        id: SourceId,
        control: &Control,
    ) -> Result<Option<Content>, Failure> {
        let source = self.request.model.source(id);
        match &source.kind {
            SourceKind::Files(files) => {
                let scan = self.work_folder().join(format!("{}.scan", source.name));
                let grounds = self.levels.grounds(archive, &source.name);
                let base = grounds.and_then(|grounds| grounds.scan.clone()).map(|kept| BaseScan {
                    scan: kept.scan,
                    doubts: kept.doubts,
                    compare: files.compare,
                });
                Ok(Some(Content::Scan { scan, base }))
            }
            SourceKind::Sqlite { .. } => match self.facts().sources.get(&id) {
                Some(SourceFact::Dumped(path)) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    Ok(Some(Content::File { path: path.clone(), name }))
                }
                _ => Ok(None),
            },
            SourceKind::Command(command) => {
                let program = self.source_program(id, command)?;
                let output = Output::start(&program, control, &self.tell(step))
                    .map_err(|error| self.program_failure(&error))?;
                self.facts().sources.insert(id, SourceFact::Read);
                Ok(Some(Content::Stream {
                    reader: Box::new(output),
                    name: command.as_name.clone(),
                    mtime: std::time::SystemTime::from(self.imprint.started),
                    mode: 0o600,
                }))
            }
            SourceKind::Postgres(_) => Err(Failure::fatal("this version does not read Postgres")),
        }
    }

    fn pack_staged(
        &self,
        step: &StepId,
        id: ArchiveId,
        inputs: Vec<Input>,
        changes: Changes,
        options: &PackOptions,
        control: &Control,
    ) -> Result<ArchiveFact, Failure> {
        let folder = self.staged_folder();
        let path = folder.join(self.artefact(id));
        self.intend(&Record::Writing { step: step.0.clone(), paths: vec![folder.clone()] })?;
        make_private(&folder).map_err(Failure::passing)?;
        let place = |cause: io::Error| Failure::passing(format!("`{}`: {cause}", path.display()));
        let mut sink = StagedFile::create(&path).map_err(place)?;
        let packed = artefact::pack_changes(inputs, changes, options, &mut sink, control)
            .map_err(|error| self.pack_failure(&error, control))?;
        sink.finish().map_err(|error| Failure::passing(format!("cannot write the artefact: {error}")))?;
        let sha256 = match packed.sha256 {
            Some(sum) => hex(&sum),
            None => sum_of_file(&path, control)
                .map_err(|error| read_failure(&path.display().to_string(), &error))?,
        };
        Ok(self.packed_fact(id, packed, sha256, Vec::new()))
    }

    fn pack_direct(
        &self,
        step: &StepId,
        id: ArchiveId,
        inputs: Vec<Input>,
        changes: Changes,
        options: &PackOptions,
        control: &Control,
    ) -> Result<ArchiveFact, Failure> {
        let name = self.artefact(id);
        let (uploads, mut lost) = self.open_uploads(id, name);
        if uploads.is_empty() {
            return Err(self.nowhere(id, lost));
        }
        let mut sink = FanOut::new(uploads);
        let packed = artefact::pack_changes(inputs, changes, options, &mut sink, control)
            .map_err(|error| self.pack_failure(&error, control))?;
        let (uploads, failed) = sink.into_uploads();
        lost.extend(failed.into_iter().map(|(store, error)| (store, Failure::passing(error))));
        let mut direct = Vec::new();
        for (store, upload) in uploads {
            match self.finish_upload(store, upload, name) {
                Ok(()) => direct.push(store),
                Err(failure) => lost.push((store, failure)),
            }
        }
        let Some(first) = direct.first() else { return Err(self.nowhere(id, lost)) };
        let sha256 = match packed.sha256 {
            Some(sum) => hex(&sum),
            // Not again: the artefact has its name already, and another attempt would read other contents.
            None => {
                self.sum_of_object(*first, name, &packed, control).map_err(|failure| match failure.kind {
                    FailureKind::Passing => Failure::lasting(failure.message),
                    _ => failure,
                })?
            }
        };
        self.drop_out(step, id, &lost);
        Ok(self.packed_fact(id, packed, sha256, direct))
    }

    /// What the manifests say of an archive in which nothing changed: its base's artefact. `None`: its sources do not rest
    /// on one and the same, or it has other sources than that.
    fn unchanged(&self, id: ArchiveId, inputs: &[Input]) -> Option<ArchiveFact> {
        let record = self.levels.grounds(id, &inputs.first()?.source)?.record.clone();
        let same = |input: &Input| {
            self.levels
                .grounds(id, &input.source)
                .is_some_and(|grounds| grounds.record.artefact == record.artefact)
        };
        let held = |source: &str| inputs.iter().any(|input| input.source == source);
        if !inputs.iter().all(same) || !record.contents.iter().all(|content| held(&content.source)) {
            return None;
        }
        let contents = self.contents(id, inputs.iter().map(|input| input.source.as_str()));
        let record = ArchiveRecord { name: self.request.model.archive(id).name.clone(), contents, ..record };
        Some(ArchiveFact { record, sources: Vec::new(), direct: self.request.model.archive(id).to.clone() })
    }

    fn contents<'a>(&self, id: ArchiveId, sources: impl Iterator<Item = &'a str>) -> Vec<facts::Content> {
        let is_whole = self.request.model.archive(id).self_contained;
        let content = |source: &str| facts::Content {
            source: source.to_owned(),
            level: self.levels.level(id, source),
            rests_on: if is_whole { Vec::new() } else { self.levels.rests_on(id, source) },
        };
        sources.map(content).collect()
    }

    fn packed_fact(
        &self,
        id: ArchiveId,
        packed: Packed,
        sha256: String,
        direct: Vec<StoreId>,
    ) -> ArchiveFact {
        let contents = self.contents(id, packed.sources.iter().map(|source| source.name.as_str()));
        let (name, artefact) = (&self.request.model.archive(id).name, self.artefact(id));
        let record = facts::archive_record(name, artefact, self.imprint.run, &packed, sha256, contents);
        ArchiveFact { record, sources: packed.sources, direct }
    }

    /// An upload to each store that takes one. A store that does not is no reason to back up to none.
    fn open_uploads(&self, id: ArchiveId, name: &str) -> (Uploads, Vec<Lost>) {
        let (mut uploads, mut lost) = (Vec::new(), Vec::new());
        for store in &self.request.model.archive(id).to {
            let upload = match self.transaction(*store) {
                Ok(Some(transaction)) => transaction.upload(name).map_err(|error| commit_failure(&error)),
                Ok(None) => continue,
                Err(failure) => Err(failure),
            };
            match upload {
                Ok(upload) => uploads.push((*store, upload)),
                Err(failure) => lost.push((*store, failure)),
            }
        }
        (uploads, lost)
    }

    fn finish_upload(&self, store: StoreId, upload: Box<dyn Upload>, name: &str) -> Result<(), Failure> {
        match self.transaction(store)? {
            Some(transaction) => transaction.finish(upload, name).map_err(|error| commit_failure(&error)),
            None => Err(Failure::lasting("its lock is gone")),
        }
    }

    /// No store took the artefact. Another attempt may help where it may help one of them.
    fn nowhere(&self, id: ArchiveId, lost: Vec<Lost>) -> Failure {
        if lost.is_empty() {
            let archive = self.request.model.archive(id);
            let names: Vec<String> = archive
                .to
                .iter()
                .map(|store| format!("`{}`", self.request.model.store(*store).name))
                .collect();
            let names = names.join(", ");
            return Failure::lasting(format!("there is nowhere to put it: no use of {names} in this run"));
        }
        let kinds = [FailureKind::Stopped, FailureKind::Passing];
        let kind = kinds.into_iter().find(|kind| lost.iter().any(|(_, failure)| failure.kind == *kind));
        let reasons: Vec<String> = lost.into_iter().map(|(_, failure)| failure.message).collect();
        Failure { message: reasons.join("; "), kind: kind.unwrap_or(FailureKind::Final) }
    }

    /// Stores that took no artefact, though others did.
    fn drop_out(&self, step: &StepId, id: ArchiveId, lost: &[Lost]) {
        for (store, failure) in lost {
            let (archive, store_name) =
                (&self.request.model.archive(id).name, &self.request.model.store(*store).name);
            let text = &failure.message;
            self.warn(step, format!("archive `{archive}` did not reach store `{store_name}`: {text}"));
            self.facts().lost.insert((id, *store), text.clone());
        }
    }

    pub(super) fn publish(&self, id: ArchiveId, store: StoreId, control: &Control) -> Result<(), Failure> {
        if self.facts().archives.get(&id).is_some_and(|fact| fact.record.holder != self.imprint.run) {
            // Nothing changed: the artefact that the manifest will point to is there.
            return Ok(());
        }
        let Some(transaction) = self.transaction(store)? else {
            return Err(Failure::lasting("its store has dropped out"));
        };
        let staged = self.staged_folder().join(self.artefact(id));
        if let Some(fact) = self.facts().archives.get(&id) {
            control.expect(1, fact.record.size);
        }
        transaction.put_file(self.artefact(id), &staged, control).map_err(|error| commit_failure(&error))
    }

    pub(super) fn commit(&self, step: &StepId, store: StoreId) -> Result<(), Failure> {
        let whole: Vec<ArchiveId> =
            self.graph.artefact_names.keys().copied().filter(|id| self.reached(*id, store)).collect();
        let Some(transaction) = self.transaction(store)? else {
            return Err(Failure::lasting("its store has dropped out"));
        };
        if whole.is_empty() {
            return Err(Failure::lasting("no artefact reached the store: there is nothing to commit"));
        }
        let mut imprint = self.imprint.clone();
        imprint.finished = self.request.clock.now();
        if let Some(id) = self
            .plan()
            .known(&self.request.model.store(store).name, &session::location(self.request.model.store(store)))
        {
            imprint.plan = id;
        }
        let facts = self.facts();
        let mut manifest =
            facts::manifest(&self.request, &imprint, &self.graph.artefact_names, &facts, store, &whole);
        let mut details = facts::details(&self.request, &facts);
        drop(facts);
        for warning in &mut details.warnings.first {
            *warning = self.secrets.redact(warning);
        }
        manifest.second = details.to_second().map_err(Failure::lasting)?;
        let committed = transaction.commit(&manifest).map_err(|error| commit_failure(&error))?;
        self.sessions[&store].held().committed = true;
        if let Some(error) = committed.untidy {
            self.warn(step, format!("{error}; the next run tidies up"));
        }
        // Only so that a sequence is not used twice where every store is new.
        let _ = self.plan().remember_sequence(self.imprint.run.sequence());
        Ok(())
    }

    /// Whether an archive's artefact is in a store, under its own name.
    fn reached(&self, id: ArchiveId, store: StoreId) -> bool {
        let facts = self.facts();
        let direct = facts.archives.get(&id).is_some_and(|fact| fact.direct.contains(&store));
        direct || facts.published.contains(&(id, store))
    }

    /// The transaction with a store, begun with the first artefact; `None`: the store has dropped out.
    fn transaction(&self, id: StoreId) -> Result<Option<Arc<Transaction>>, Failure> {
        let mut held = self.sessions[&id].held();
        if let Some(transaction) = &held.transaction {
            return Ok(Some(Arc::clone(transaction)));
        }
        let (Some(store), Some(lease)) = (held.store.clone(), held.lease.clone()) else { return Ok(None) };
        let goes_there = |archive: &ArchiveId| self.request.model.archive(*archive).to.contains(&id);
        let names = self.graph.artefact_names.iter().filter(|(archive, _)| goes_there(archive));
        let intent = Intent::new(self.imprint.run, self.imprint.nonce, names.map(|(_, name)| name.clone()));
        let begun = Transaction::begin(store, self.layout.clone(), lease, Arc::new(mark), intent);
        let transaction = Arc::new(begun.map_err(|error| commit_failure(&error))?);
        held.transaction = Some(Arc::clone(&transaction));
        Ok(Some(transaction))
    }

    fn artefact(&self, id: ArchiveId) -> &str {
        self.graph.artefact_names.get(&id).map_or("", String::as_str)
    }

    /// Keeps the scans of what was committed for the next run. Trouble costs no backup: the next run of the archive is
    /// a full then.
    pub(super) fn keep_scans(&self) -> Vec<String> {
        let committed: Vec<StoreId> =
            self.sessions.iter().filter(|(_, session)| session.held().committed).map(|(id, _)| *id).collect();
        let cache = self.cache();
        let mut trouble = Vec::new();
        let facts = self.facts();
        for (id, fact) in &facts.archives {
            if !committed.iter().any(|store| self.request.model.archive(*id).to.contains(store)) {
                continue;
            }
            let (archive, run) = (&fact.record.name, self.imprint.run);
            let sources: Vec<_> =
                fact.record.contents.iter().filter_map(|content| self.scanned(fact, content)).collect();
            let oldest = fact.record.contents.iter().filter_map(|content| content.rests_on.first().copied());
            let keep = oldest.chain([run]).collect();
            let kept = cache
                .store(archive, run, &fact.record.root, &sources)
                .and_then(|()| cache.keep_only(archive, &keep));
            if let Err(error) = kept {
                trouble.push(format!(
                    "archive `{archive}`: its scans could not be kept: {error}; its next run is a full"
                ));
            }
        }
        trouble
    }

    /// The scan of a source, and what of it its artefact does not hold; `None`: it is no tree.
    fn scanned(&self, fact: &ArchiveFact, content: &facts::Content) -> Option<(String, PathBuf, Doubts)> {
        let scan = self.work_folder().join(format!("{}.scan", content.source));
        let packed = fact.sources.iter().find(|packed| packed.name == content.source);
        let doubts = packed.map(|packed| packed.doubts.clone()).unwrap_or_default();
        scan.exists().then(|| (content.source.clone(), scan, doubts))
    }

    /// Keeps what the manifest and the report need of a step that ended.
    pub(super) fn remember(&self, step: &Step, outcome: &Outcome) {
        let reason = match outcome {
            Outcome::Done => {
                if let Action::Publish(archive, store) = step.action {
                    self.facts().published.insert((archive, store));
                }
                return;
            }
            Outcome::Failed(reason) | Outcome::NotRun(reason) | Outcome::Dropped(reason) => {
                self.secrets.redact(reason)
            }
        };
        match step.action {
            Action::Scan(source) | Action::Dump(source) => {
                self.facts().sources.insert(source, SourceFact::Failed(reason));
            }
            Action::Pack(archive) => {
                let mut facts = self.facts();
                for source in &self.request.model.archive(archive).from {
                    // A program's source fails with the pack that reads it.
                    if facts.sources.get(source) == Some(&SourceFact::Read) {
                        facts.sources.insert(*source, SourceFact::Failed(reason.clone()));
                    }
                }
                facts.missing.insert(archive, reason);
            }
            // What was not run suffers from something that is told elsewhere, or from a store that may be left out.
            Action::Publish(archive, store) if matches!(outcome, Outcome::Failed(_)) => {
                self.facts().lost.insert((archive, store), reason);
            }
            _ => {}
        }
    }

    /// The named outputs of a step, for the journal.
    pub(super) fn output_of(&self, step: &Step) -> Option<serde_json::Value> {
        let facts = self.facts();
        match step.action {
            Action::Scan(source) => match facts.sources.get(&source)? {
                SourceFact::Scanned(summary) => {
                    Some(serde_json::json!({ "entries": summary.entries, "bytes": summary.bytes }))
                }
                _ => None,
            },
            Action::Pack(archive) => {
                let fact = facts.archives.get(&archive)?;
                Some(serde_json::json!({
                    "artefact": fact.record.artefact, "size": fact.record.size, "root": fact.record.root,
                }))
            }
            _ => None,
        }
    }

    fn pack_failure(&self, error: &PackError, control: &Control) -> Failure {
        match error {
            PackError::Stopped(_) => Failure::stopped(),
            // A program that was stopped says so in its own words.
            _ if control.check().is_err() => Failure::stopped(),
            PackError::Request(_) => Failure::lasting(error),
            _ => Failure::passing(self.secrets.redact(&error.to_string())),
        }
    }

    fn sum_of_object(
        &self,
        store: StoreId,
        name: &str,
        packed: &Packed,
        control: &Control,
    ) -> Result<String, Failure> {
        let Some(store) = self.sessions[&store].held().store.clone() else {
            return Err(Failure::lasting("its store has dropped out"));
        };
        let name = artefact_name(name).map_err(Failure::fatal)?;
        let mut sum = Sha256::new();
        let mut offset = 0;
        while offset < packed.size {
            control.check().map_err(|_| Failure::stopped())?;
            let bytes = store.read_range(&name, offset, CHUNK).map_err(Failure::passing)?;
            if bytes.is_empty() {
                return Err(Failure::passing(format!("`{name}` ended early when it was read again")));
            }
            offset += bytes.len() as u64;
            sum.update(&bytes);
        }
        Ok(hex(&sum.finalize()))
    }
}

/// Why a store is not for this run, with its place.
fn claim_failure(error: &IdentityError, location: &str) -> Failure {
    let text = error.to_string();
    match error {
        IdentityError::Store(_) => Failure::passing(text),
        _ if text.contains(location) => Failure::lasting(text),
        _ => Failure::lasting(format!("{text} (its folder is `{location}`)")),
    }
}

fn lock_failure(error: LockError) -> Failure {
    let message = error.to_string();
    match error {
        LockError::Busy { .. } => Failure { message, kind: FailureKind::Busy },
        LockError::Stopped(_) => Failure::stopped(),
        _ => Failure::passing(message),
    }
}

fn commit_failure(error: &CommitError) -> Failure {
    match error {
        CommitError::Store(_) | CommitError::Uncertain { .. } => Failure::passing(error),
        _ => Failure::lasting(error),
    }
}

fn read_failure(what: &str, error: &io::Error) -> Failure {
    Failure::passing(format!("cannot read `{what}` again: {error}"))
}

fn sum_of_file(path: &Path, control: &Control) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        control.check().map_err(io::Error::other)?;
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&sum.finalize())),
            count => sum.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
