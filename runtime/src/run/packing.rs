//! Packing an archive: its inputs, what they rest on, and where the bytes go.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use backplan_compiler::graph::StepId;
use backplan_compiler::model::{ArchiveId, Compress, LargeFiles, Source, SourceId, StoreId};
use sha2::{Digest, Sha256};

use super::coordinator::{Failure, FailureKind};
use super::deliver::{commit_failure, store_failure};
use super::facts::{self, ArchiveFact};
use super::journal::Record;
use super::output::ArchiveOutput;
use super::sinks::{FanOut, StagedFile, Uploads};
use super::state::make_private;
use super::steps::deliver::nowhere;
use super::steps::pack::{Destination, PackPlan};
use super::worker::Worker;
use crate::artefact::{self, Changes, Codec, Grains, Input, PackError, PackOptions, Packed, PackedSource};
use crate::catalog::commit::Transaction;
use crate::catalog::layout::artefact_name;
use crate::catalog::manifest::ArchiveRecord;
use crate::catalog::names::PlanName;
use crate::control::Control;
use crate::postgres;
use crate::source::reader;
use crate::store::Upload;
use crate::store::limit::limited;

/// A store that took no artefact, and why.
type Lost = (StoreId, Failure);

/// What was packed.
struct Made {
    fact: ArchiveFact,
    /// The stores that have it by that; with a staging only of what is there already.
    reached: Vec<StoreId>,
    /// Stores that took none, though others did, and why.
    lost: Vec<(StoreId, String)>,
}

/// An archive that is being packed.
#[derive(Clone, Copy)]
struct Job<'a> {
    step: &'a StepId,
    plan: &'a PackPlan,
    options: &'a PackOptions,
    control: &'a Control,
}

/// Why an archive was not packed.
enum Trouble {
    /// Its base cannot be used.
    Base(PackError),
    /// This source cannot be had.
    Source(String, Failure),
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failure(failure)
    }
}

/// Bytes read at once where an artefact is read again for its SHA-256.
const CHUNK: usize = 1 << 20;

impl Worker {
    pub(super) fn pack(
        &self,
        step: &StepId,
        id: ArchiveId,
        control: &Control,
    ) -> Result<ArchiveOutput, Failure> {
        self.leave_out_unread(step, id);
        let Made { fact, reached, lost } = self.pack_what_can_be(step, id, control)?;
        for source in &fact.sources {
            for warning in source.warnings.kept() {
                self.warn(step, format!("source `{}`: {warning}", source.name));
            }
            let more = source.warnings.total() - source.warnings.kept().len() as u64;
            if more > 0 {
                self.warn(step, format!("source `{}`: and {more} more like these", source.name));
            }
        }
        self.tell_of_unmounted(step, id);
        let labels = self.streamed_are_told(id);
        self.keep_scans(step, &fact);
        let unchanged = (fact.record.holder != self.imprint.run).then(|| fact.record.clone());
        Ok(ArchiveOutput { fact: Some(fact), unchanged, reached, lost, labels })
    }

    /// Tells of the sources that the archive is made without, as they could not be read.
    fn leave_out_unread(&self, step: &StepId, id: ArchiveId) {
        let Some(step) = self.graph.get(step) else { return };
        let (model, archive) = (&self.request.model, &self.request.model.archive(id).name);
        let told = self.facts().leave_out(model, step, id);
        for (source, why) in told {
            self.note(format!("archive `{archive}` is made without source `{source}`: {why}"));
        }
    }

    /// Packs, whole where the base cannot be used, and without a source that cannot be had.
    fn pack_what_can_be(&self, step: &StepId, id: ArchiveId, control: &Control) -> Result<Made, Failure> {
        let archive = &self.request.model.archive(id).name;
        let mut is_based = true;
        loop {
            match self.pack_on_base(step, id, control) {
                Ok(fact) => return Ok(fact),
                Err(Trouble::Base(error)) if is_based => {
                    is_based = false;
                    self.warn(step, format!("archive `{archive}` is packed whole: {error}"));
                    self.give_up_base(id);
                }
                Err(Trouble::Source(name, failure)) if self.may_go_without(id, &name, &failure) => {
                    let why = failure.message;
                    self.note(format!("archive `{archive}` is made without source `{name}`: {why}"));
                }
                Err(Trouble::Base(error)) => return Err(Failure::lasting(error)),
                Err(Trouble::Source(_, failure) | Trouble::Failure(failure)) => return Err(failure),
            }
        }
    }

    /// Packs in regard to what the archive rests on, or points to it where nothing changed.
    fn pack_on_base(&self, step: &StepId, id: ArchiveId, control: &Control) -> Result<Made, Trouble> {
        let archive = self.request.model.archive(id);
        let levels = self.levels();
        let is_open = |store| self.sessions[&store].held().opened().is_some();
        let plan = PackPlan::make(self.scene(&self.facts()), &levels, &self.files, id, is_open)?;
        let inputs = self.inputs(step, &plan, control)?;
        let options = PackOptions {
            codec: match archive.compress {
                Compress::Gzip => Codec::Gzip,
                Compress::Zstd => Codec::Zstd,
            },
            level: archive.level,
            run: self.imprint.run.to_string(),
            scratch: self.files.work().to_path_buf(),
            workers: None,
            shape: levels.shape(id),
            share_blocks: archive.share_blocks && archive.encrypt.is_empty(),
            is_copied: archive.self_contained && archive.encrypt.is_empty(),
            grains: self.earlier_grains(id)?,
            deleted: None,
            recipients: plan.recipients.clone(),
        };
        let changes = artefact::plan_changes(&inputs, &options, control)
            .map_err(|error| self.pack_trouble(error, control))?;
        if changes.is_unchanged()
            && let Some(record) = &plan.unless_changed
        {
            let fact = self.unchanged(id, record, &inputs);
            let reached = archive.to.iter().copied().filter(|store| plan.is_taken_by(*store)).collect();
            return Ok(Made { fact, reached, lost: Vec::new() });
        }
        let job = Job { step, plan: &plan, options: &options, control };
        match &plan.to {
            Destination::Staging(path) => self.pack_staged(job, path, inputs, changes),
            Destination::Stores(stores) => self.pack_direct(job, stores, inputs, changes),
        }
    }

    /// What is known of the large files of what the archive rests on, where its differences are to hold what changed.
    fn earlier_grains(&self, id: ArchiveId) -> Result<Option<Grains>, Failure> {
        let archive = self.request.model.archive(id);
        if archive.large_files == LargeFiles::Whole || archive.self_contained {
            return Ok(None);
        }
        let folder = self.files.grains(&archive.name);
        make_private(&folder).map_err(|cause| Failure::of(&cause, &cause))?;
        let levels = self.levels();
        let of = |source: &SourceId| {
            let name = &self.request.model.source(*source).name;
            Some((name.clone(), levels.grains(id, name)?))
        };
        Ok(Some(Grains { folder, earlier: archive.from.iter().filter_map(of).collect() }))
    }

    /// A base that cannot be used is told from everything else: packing goes on without it.
    fn pack_trouble(&self, error: PackError, control: &Control) -> Trouble {
        match error {
            error @ (PackError::Base(_) | PackError::BaseScan { .. }) => Trouble::Base(error),
            PackError::Input { ref source_name, .. } => {
                Trouble::Source(source_name.clone(), self.pack_failure(&error, control))
            }
            error => Trouble::Failure(self.pack_failure(&error, control)),
        }
    }

    fn inputs(&self, step: &StepId, plan: &PackPlan, control: &Control) -> Result<Vec<Input>, Trouble> {
        let mut inputs = Vec::new();
        for source in &plan.sources {
            let name = self.request.model.source(*source).name.clone();
            let reading = self.reading(step, *source, control);
            let content = reader(&reading.source().kind).content(&reading, plan.archive);
            if let Some(content) = content.map_err(|failure| Trouble::Source(name.clone(), failure))? {
                inputs.push(Input { source: name, content });
            }
        }
        Ok(inputs)
    }

    fn pack_staged(
        &self,
        Job { step, plan, options, control }: Job<'_>,
        path: &Path,
        inputs: Vec<Input>,
        changes: Changes,
    ) -> Result<Made, Trouble> {
        let paths = vec![self.files.staged().to_path_buf()];
        self.intend(&Record::Writing { step: step.0.clone(), paths })?;
        self.make_staged()?;
        let place = |cause: io::Error| Failure::of(&cause, format!("`{}`: {cause}", path.display()));
        let mut sink = StagedFile::create(path).map_err(place)?;
        let packed = artefact::pack_changes(inputs, changes, options, &mut sink, control)
            .map_err(|error| self.pack_trouble(error, control))?;
        self.see_that_all_came(&packed)?;
        sink.finish().map_err(|error| Failure::of(&*error, format!("cannot write the artefact: {error}")))?;
        let sha256 = match packed.sha256 {
            Some(sum) => hex(&sum),
            None => sum_of_file(path, control)
                .map_err(|error| read_failure(&path.display().to_string(), &error))?,
        };
        Ok(Made { fact: self.packed_fact(plan, packed, sha256), reached: Vec::new(), lost: Vec::new() })
    }

    fn pack_direct(
        &self,
        Job { step, plan, options, control }: Job<'_>,
        stores: &[StoreId],
        inputs: Vec<Input>,
        changes: Changes,
    ) -> Result<Made, Trouble> {
        let (id, name) = (plan.archive, plan.name.as_str());
        for why in plan.untaken.values() {
            self.warn(step, why.clone());
        }
        let (uploads, mut lost) = self.open_uploads(stores, name, control);
        if uploads.is_empty() {
            return Err(self.nowhere(id, lost).into());
        }
        let base = self.levels().copies(id).and_then(|copies| copies.held.clone());
        let mut sink = FanOut::new(uploads, base);
        let packed = artefact::pack_changes(inputs, changes, options, &mut sink, control)
            .map_err(|error| self.pack_trouble(error, control))?;
        // Before the artefact gets its name: what is no backup must not look like one.
        self.see_that_all_came(&packed)?;
        let (uploads, failed) = sink.into_uploads();
        lost.extend(
            failed.into_iter().map(|(store, error)| (store, store_failure(&error, error.to_string()))),
        );
        let mut direct = Vec::new();
        for (store, upload) in uploads {
            match self.finish_upload(store, upload, name) {
                Ok(()) => direct.push(store),
                Err(failure) => lost.push((store, failure)),
            }
        }
        let Some(first) = direct.first() else { return Err(self.nowhere(id, lost).into()) };
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
        let lost = self.drop_out(step, id, lost);
        Ok(Made { fact: self.packed_fact(plan, packed, sha256), reached: direct, lost })
    }

    /// A source of which nothing came, or a copy that did not come whole, is not backed up, whatever its scan saw.
    fn see_that_all_came(&self, packed: &Packed) -> Result<(), Trouble> {
        for source in &packed.sources {
            let declared = self.request.model.sources.iter().find(|declared| declared.name == source.name);
            if let Some(what) = lost(source, declared.is_some_and(Source::is_copied)) {
                let first = source.warnings.kept().first().map(|warning| format!(": {warning}"));
                let first = first.unwrap_or_default();
                let failure = Failure::passing(format!("source `{}`: {what}{first}", source.name));
                return Err(Trouble::Source(source.name.clone(), failure));
            }
        }
        Ok(())
    }

    /// What the manifests say of an archive in which nothing changed: its base's artefact.
    fn unchanged(&self, id: ArchiveId, record: &ArchiveRecord, inputs: &[Input]) -> ArchiveFact {
        let contents = self.contents(id, inputs.iter().map(|input| input.source.as_str()));
        let name = PlanName::known(&self.request.model.archive(id).name);
        ArchiveFact { record: ArchiveRecord { name, contents, ..record.clone() }, sources: Vec::new() }
    }

    fn contents<'a>(&self, id: ArchiveId, sources: impl Iterator<Item = &'a str>) -> Vec<facts::Content> {
        let (levels, is_whole) = (self.levels(), self.request.model.archive(id).self_contained);
        let content = |source: &str| facts::Content {
            source: PlanName::known(source),
            level: levels.level(id, source),
            place: levels.place(id, source),
            rests_on: if is_whole { Vec::new() } else { levels.rests_on(id, source) },
        };
        sources.map(content).collect()
    }

    fn packed_fact(&self, plan: &PackPlan, packed: Packed, sha256: String) -> ArchiveFact {
        let sources = packed.sources.iter().map(|source| source.name.as_str());
        let contents = self.contents(plan.archive, sources);
        let (name, run) = (&self.request.model.archive(plan.archive).name, self.imprint.run);
        let mut record = facts::archive_record(name, &plan.name, run, &packed, sha256, contents);
        record.recipients.clone_from(&plan.recipients);
        ArchiveFact { record, sources: packed.sources }
    }

    /// An upload to each store that takes one. A store that does not is no reason to back up to none.
    fn open_uploads(&self, stores: &[StoreId], name: &str, control: &Control) -> (Uploads, Vec<Lost>) {
        let (mut uploads, mut lost) = (Vec::new(), Vec::new());
        // What an earlier process of the run has packed is another artefact.
        let begin = |transaction: &Transaction| {
            let withdrawn = if self.is_resumed { transaction.withdraw(name) } else { Ok(()) };
            withdrawn.and_then(|()| transaction.upload(name)).map_err(|error| commit_failure(&error))
        };
        for store in stores {
            let upload = match self.transaction(*store) {
                Ok(Some(transaction)) => begin(&transaction),
                Ok(None) => continue,
                Err(failure) => Err(failure),
            };
            match upload {
                Ok(upload) => uploads.push((
                    *store,
                    limited(upload, &self.request.model.store(*store).name, self.limits(*store), control),
                )),
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
            return nowhere(self.scene(&self.facts()), id);
        }
        let kinds = [FailureKind::Stopped, FailureKind::Passing];
        let kind = kinds.into_iter().find(|kind| lost.iter().any(|(_, failure)| failure.kind == *kind));
        let reasons: Vec<String> = lost.into_iter().map(|(_, failure)| failure.message).collect();
        Failure { message: reasons.join("; "), kind: kind.unwrap_or(FailureKind::Final) }
    }

    /// Stores that took no artefact, though others did.
    fn drop_out(&self, step: &StepId, id: ArchiveId, lost: Vec<Lost>) -> Vec<(StoreId, String)> {
        let archive = &self.request.model.archive(id).name;
        for (store, failure) in &lost {
            let (store, text) = (&self.request.model.store(*store).name, &failure.message);
            self.warn(step, format!("archive `{archive}` did not reach store `{store}`: {text}"));
        }
        lost.into_iter().map(|(store, failure)| (store, failure.message)).collect()
    }

    fn pack_failure(&self, error: &PackError, control: &Control) -> Failure {
        match error {
            PackError::Stopped(_) => Failure::stopped(),
            // A program that was stopped says so in its own words.
            _ if control.check().is_err() => Failure::stopped(),
            PackError::Request(_) => Failure::lasting(error),
            PackError::Input { source_name, cause } if self.is_postgres(source_name) => {
                let text = format!("{error}{}", postgres::mend_of_stream(cause));
                if postgres::stays_refused(cause) { Failure::lasting(text) } else { Failure::of(cause, text) }
            }
            _ => Failure::of(error, error),
        }
    }

    fn is_postgres(&self, name: &str) -> bool {
        let mut sources = self.request.model.sources.iter();
        sources.any(|source| source.name == name && source.postgres().is_some())
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

/// What is lost of a source between its scan, or its copy, and the artefact.
fn lost(source: &PackedSource, is_copy: bool) -> Option<&'static str> {
    let (seen, arrived) = (source.seen, source.arrived);
    if is_copy && (arrived.files, arrived.bytes) < (seen.files, seen.bytes) {
        Some("its copy did not come into the artefact whole")
    } else if seen.leaves > 0 && arrived.leaves == 0 {
        Some("nothing of what was in it could be read")
    } else if seen.files > 0 && arrived.files == 0 {
        Some("none of its files could be read")
    } else {
        None
    }
}

fn read_failure(what: &str, error: &io::Error) -> Failure {
    Failure::of(error, format!("cannot read `{what}` again: {error}"))
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
