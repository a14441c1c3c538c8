//! Carrying out the packing of an archive: its inputs, what they rest on, and where the bytes go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use backplan_compiler::model::{Archive, ArchiveId, Compress, LargeFiles, Source, SourceId, StoreId};
use sha2::{Digest, Sha256};

use super::deliver::{commit_failure, store_failure};
use super::pack::{Destination, PackPlan, nowhere};
use super::{DROPPED_OUT, Doing, Failure, FailureKind};
use crate::artefact::{self, Changes, Codec, Grains, Input, PackError, PackOptions, Packed, PackedSource};
use crate::catalog::commit::Transaction;
use crate::catalog::labels::Labels;
use crate::catalog::layout::artefact_name;
use crate::catalog::manifest::ArchiveRecord;
use crate::catalog::names::PlanName;
use crate::control::Control;
use crate::past::cache::Scanned;
use crate::places::private::make_private;
use crate::postgres;
use crate::run::facts::{self, ArchiveFact, SourceFact};
use crate::run::output::ArchiveOutput;
use crate::run::reading::Reading;
use crate::run::sinks::{FanOut, StagedFile, Uploads};
use crate::source::reader;
use crate::store::Upload;
use crate::store::aside::aside;
use crate::store::limit::limited;

/// A store that took no artefact, and why.
type LostStore = (StoreId, Failure);

/// What was packed.
struct Made {
    fact: ArchiveFact,
    /// The stores that have it by that; with a staging only of what is there already.
    reached: Vec<StoreId>,
    /// Stores that took none, though others did, and why.
    lost: Vec<(StoreId, String)>,
}

/// Why an archive was not packed.
enum PackTrouble {
    /// Its base cannot be used.
    Base(PackError),
    /// This source cannot be had.
    Source(String, Failure),
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for PackTrouble {
    fn from(failure: Failure) -> PackTrouble {
        PackTrouble::Failure(failure)
    }
}

/// Bytes read at once where an artefact is read again for its SHA-256.
const CHUNK: usize = 1 << 20;

/// Packs an archive.
///
/// # Errors
/// When nothing was made of it.
pub(super) fn pack(doing: &Doing<'_>, plan: PackPlan) -> Result<ArchiveOutput, Failure> {
    let packing = Packing { doing, id: plan.archive };
    let Made { fact, reached, lost } = packing.what_can_be(plan)?;
    for source in &fact.sources {
        for warning in source.warnings.kept() {
            doing.warn(format!("source `{}`: {warning}", source.name));
        }
        let more = source.warnings.total() - source.warnings.kept().len() as u64;
        if more > 0 {
            doing.warn(format!("source `{}`: and {more} more like these", source.name));
        }
    }
    let (context, id) = (doing.context, packing.id);
    for text in doing.records.change(|facts| facts.lose_unmounted(context, id)) {
        doing.warn(text);
    }
    let labels = packing.streamed_are_told();
    packing.keep_scans(&fact);
    let unchanged = (fact.record.holder != context.imprint.run).then(|| fact.record.clone());
    Ok(ArchiveOutput { fact: Some(fact), unchanged, reached, lost, labels, estimate: None })
}

/// An archive that is being packed.
#[derive(Clone, Copy)]
struct Packing<'a> {
    doing: &'a Doing<'a>,
    id: ArchiveId,
}

impl<'a> Packing<'a> {
    fn archive(&self) -> &'a Archive {
        self.doing.context.model().archive(self.id)
    }

    /// Packs, whole where the base cannot be used, and without a source that cannot be had.
    fn what_can_be(&self, mut plan: PackPlan) -> Result<Made, Failure> {
        let (doing, archive) = (self.doing, &self.archive().name);
        let mut is_based = true;
        loop {
            match self.on_base(&plan) {
                Ok(fact) => return Ok(fact),
                Err(PackTrouble::Base(error)) if is_based => {
                    is_based = false;
                    doing.warn(format!("archive `{archive}` is packed whole: {error}"));
                    self.give_up_base();
                }
                Err(PackTrouble::Source(name, failure)) if self.may_go_without(&name, &failure) => {
                    let why = failure.message;
                    doing.note(format!("archive `{archive}` is made without source `{name}`: {why}"));
                }
                Err(PackTrouble::Base(error)) => return Err(Failure::lasting(error)),
                Err(PackTrouble::Source(_, failure) | PackTrouble::Failure(failure)) => return Err(failure),
            }
            plan = PackPlan::make(doing.scene(&doing.facts()), self.id)?;
        }
    }

    /// A source that cannot be packed, at the last of the attempts that it has: the archive is made without it, if the plan
    /// permits that and there are others.
    fn may_go_without(&self, source: &str, failure: &Failure) -> bool {
        let context = self.doing.context;
        let failure = Failure { message: context.secrets.redact(&failure.message), ..failure.clone() };
        self.doing.records.change(|facts| {
            facts.may_go_without(context.model(), &context.occasion, self.id, source, &failure)
        })
    }

    /// From here on the archive rests on nothing, but for sources whose tool rested a backup on an earlier one.
    fn give_up_base(&self) {
        let model = self.doing.context.model();
        self.doing.records.change(|facts| {
            let based = facts.labels.iter().filter(|(_, labels)| labels.prior.is_some());
            let based = based.map(|(id, _)| model.source(*id)).filter(|source| source.may_follow());
            let based = based.map(|source| source.name.clone()).collect();
            facts.baseless.insert(self.id, based);
        });
    }

    /// Packs in regard to what the archive rests on, or points to it where nothing changed.
    fn on_base(&self, plan: &PackPlan) -> Result<Made, PackTrouble> {
        let (doing, id, archive) = (self.doing, self.id, self.archive());
        let levels = doing.levels();
        let inputs = self.inputs(plan)?;
        let options = PackOptions {
            codec: match archive.compress {
                Compress::Gzip => Codec::Gzip,
                Compress::Zstd => Codec::Zstd,
            },
            level: archive.level,
            run: doing.context.imprint.run.to_string(),
            scratch: doing.context.files.work().to_path_buf(),
            workers: None,
            shape: levels.shape(id),
            share_blocks: archive.share_blocks && archive.encrypt.is_empty(),
            is_copied: archive.self_contained && archive.encrypt.is_empty(),
            grains: self.earlier_grains()?,
            deleted: None,
            recipients: plan.recipients.clone(),
        };
        let changes =
            artefact::plan_changes(&inputs, &options, doing.control).map_err(|error| self.trouble(error))?;
        if changes.is_unchanged()
            && let Some(record) = &plan.unless_changed
        {
            let fact = self.unchanged(record, &inputs);
            let reached = archive.to.iter().copied().filter(|store| plan.is_taken_by(*store)).collect();
            return Ok(Made { fact, reached, lost: Vec::new() });
        }
        match &plan.to {
            Destination::Staging(path) => self.staged(plan, &options, path, inputs, changes),
            Destination::Stores(stores) => self.direct(plan, &options, stores, inputs, changes),
        }
    }

    /// What is known of the large files of what the archive rests on, where its differences are to hold what changed.
    fn earlier_grains(&self) -> Result<Option<Grains>, Failure> {
        let archive = self.archive();
        if archive.large_files == LargeFiles::Whole || archive.self_contained {
            return Ok(None);
        }
        let folder = self.doing.context.files.grains(&archive.name);
        make_private(&folder).map_err(|cause| Failure::of(&cause, &cause))?;
        let levels = self.doing.levels();
        let of = |source: &SourceId| {
            let name = &self.doing.context.model().source(*source).name;
            Some((name.clone(), levels.grains(self.id, name)?))
        };
        Ok(Some(Grains { folder, earlier: archive.from.iter().filter_map(of).collect() }))
    }

    /// A base that cannot be used is told from everything else: packing goes on without it.
    fn trouble(&self, error: PackError) -> PackTrouble {
        match error {
            error @ (PackError::Base(_) | PackError::BaseScan { .. }) => PackTrouble::Base(error),
            PackError::Input { ref source_name, .. } => {
                PackTrouble::Source(source_name.clone(), self.failure(&error))
            }
            error => PackTrouble::Failure(self.failure(&error)),
        }
    }

    fn inputs(&self, plan: &PackPlan) -> Result<Vec<Input>, PackTrouble> {
        let mut inputs = Vec::new();
        for source in &plan.sources {
            let reading = Reading { doing: self.doing, id: *source };
            let name = reading.source().name.clone();
            let content = reader(&reading.source().kind).content(&reading, plan.archive);
            if let Some(content) = content.map_err(|failure| PackTrouble::Source(name.clone(), failure))? {
                inputs.push(Input { source: name, content });
            }
        }
        Ok(inputs)
    }

    fn staged(
        &self,
        plan: &PackPlan,
        options: &PackOptions,
        path: &Path,
        inputs: Vec<Input>,
        changes: Changes,
    ) -> Result<Made, PackTrouble> {
        self.doing.held.make_staged(self.doing.context)?;
        let place = |cause: io::Error| Failure::of(&cause, format!("`{}`: {cause}", path.display()));
        let mut sink = StagedFile::create(path).map_err(place)?;
        let packed = artefact::pack_changes(inputs, changes, options, &mut sink, self.doing.control)
            .map_err(|error| self.trouble(error))?;
        self.see_that_all_came(&packed)?;
        sink.finish().map_err(|error| Failure::of(&*error, format!("cannot write the artefact: {error}")))?;
        let sha256 = match packed.sha256 {
            Some(sum) => hex(&sum),
            None => sum_of_file(path, self.doing.control)
                .map_err(|error| read_failure(&path.display().to_string(), &error))?,
        };
        Ok(Made { fact: self.packed_fact(plan, packed, sha256), reached: Vec::new(), lost: Vec::new() })
    }

    fn direct(
        &self,
        plan: &PackPlan,
        options: &PackOptions,
        stores: &[StoreId],
        inputs: Vec<Input>,
        changes: Changes,
    ) -> Result<Made, PackTrouble> {
        let name = plan.name.as_str();
        for why in plan.untaken.values() {
            self.doing.warn_once(why);
        }
        let about = plan.bytes_at_most(self.doing.scene(&self.doing.facts()));
        let (uploads, mut lost) = self.open_uploads(stores, name, about);
        if uploads.is_empty() {
            return Err(self.nowhere(lost).into());
        }
        let base = self.doing.levels().copies(self.id).and_then(|copies| copies.held.clone());
        let mut sink = FanOut::new(uploads, base);
        let packed = artefact::pack_changes(inputs, changes, options, &mut sink, self.doing.control);
        let (uploads, failed) = sink.into_uploads();
        lost.extend(
            failed.into_iter().map(|(store, error)| (store, store_failure(&error, error.to_string()))),
        );
        let packed = packed.map_err(|error| match error {
            // All of them have dropped out, each for a reason of its own.
            PackError::Sink(_) if uploads.is_empty() && self.doing.control.check().is_ok() => {
                self.nowhere(std::mem::take(&mut lost)).into()
            }
            error => self.trouble(error),
        })?;
        // Before the artefact gets its name: what is no backup must not look like one.
        self.see_that_all_came(&packed)?;
        let mut direct = Vec::new();
        for (store, upload) in uploads {
            match self.finish_upload(store, upload, name) {
                Ok(()) => direct.push(store),
                Err(failure) => lost.push((store, failure)),
            }
        }
        let Some(first) = direct.first() else { return Err(self.nowhere(lost).into()) };
        let sha256 = match packed.sha256 {
            Some(sum) => hex(&sum),
            // Not again: the artefact has its name already, and another attempt would read other contents.
            None => self.sum_of_object(*first, name, &packed).map_err(|failure| match failure.kind {
                FailureKind::Passing | FailureKind::Away => Failure::lasting(failure.message),
                _ => failure,
            })?,
        };
        let lost = self.drop_out(lost);
        Ok(Made { fact: self.packed_fact(plan, packed, sha256), reached: direct, lost })
    }

    /// A source of which nothing came, or a copy that did not come whole, is not backed up, whatever its scan saw.
    fn see_that_all_came(&self, packed: &Packed) -> Result<(), PackTrouble> {
        for source in &packed.sources {
            let declared =
                self.doing.context.model().sources.iter().find(|declared| declared.name == source.name);
            if let Some(what) = lost(source, declared.is_some_and(Source::is_copied)) {
                let first = source.warnings.kept().first().map(|warning| format!(": {warning}"));
                let first = first.unwrap_or_default();
                let failure = Failure::passing(format!("source `{}`: {what}{first}", source.name));
                return Err(PackTrouble::Source(source.name.clone(), failure));
            }
        }
        Ok(())
    }

    /// What the manifests say of an archive in which nothing changed: its base's artefact.
    fn unchanged(&self, record: &ArchiveRecord, inputs: &[Input]) -> ArchiveFact {
        let contents = self.contents(inputs.iter().map(|input| input.source.as_str()));
        let name = PlanName::known(&self.archive().name);
        ArchiveFact { record: ArchiveRecord { name, contents, ..record.clone() }, sources: Vec::new() }
    }

    fn contents<'s>(&self, sources: impl Iterator<Item = &'s str>) -> Vec<facts::Content> {
        facts::contents(&self.doing.levels(), self.doing.context.model(), self.id, sources)
    }

    fn packed_fact(&self, plan: &PackPlan, packed: Packed, sha256: String) -> ArchiveFact {
        let sources = packed.sources.iter().map(|source| source.name.as_str());
        let contents = self.contents(sources);
        let (name, run) = (&self.archive().name, self.doing.context.imprint.run);
        let mut record = facts::archive_record(name, &plan.name, run, &packed, sha256, contents);
        record.recipients.clone_from(&plan.recipients);
        ArchiveFact { record, sources: packed.sources }
    }

    /// An upload of about so many bytes to each store that takes one. A store that does not is no reason to back up to none.
    fn open_uploads(&self, stores: &[StoreId], name: &str, about: Option<u64>) -> (Uploads, Vec<LostStore>) {
        let Doing { context, control, .. } = *self.doing;
        let (mut uploads, mut lost) = (Vec::new(), Vec::new());
        // What an earlier process of the run has packed is another artefact.
        let begin = |transaction: &Transaction| {
            let withdrawn = if context.is_resumed { transaction.withdraw(name) } else { Ok(()) };
            withdrawn.and_then(|()| transaction.upload(name, about)).map_err(|error| commit_failure(&error))
        };
        for store in stores {
            let session = self.doing.session(*store);
            let upload = match session.transaction(context, *store) {
                Ok(Some(transaction)) => begin(&transaction),
                Ok(None) => continue,
                Err(failure) => Err(failure),
            };
            match upload {
                Ok(upload) => uploads.push((
                    *store,
                    limited(upload, &context.model().store(*store).name, session.limits(context), control),
                )),
                Err(failure) => lost.push((*store, failure)),
            }
        }
        if uploads.len() > 1 {
            let name = |store: StoreId| &context.model().store(store).name;
            uploads =
                uploads.into_iter().map(|(store, upload)| (store, aside(upload, name(store)))).collect();
        }
        (uploads, lost)
    }

    fn finish_upload(&self, store: StoreId, upload: Box<dyn Upload>, name: &str) -> Result<(), Failure> {
        match self.doing.session(store).transaction(self.doing.context, store)? {
            Some(transaction) => transaction.finish(upload, name).map_err(|error| commit_failure(&error)),
            None => Err(Failure::lasting("its lock is gone")),
        }
    }

    /// No store took the artefact. Another attempt may help where it may help one of them.
    fn nowhere(&self, lost: Vec<LostStore>) -> Failure {
        if lost.is_empty() {
            return nowhere(self.doing.scene(&self.doing.facts()), self.id);
        }
        let kinds = [FailureKind::Stopped, FailureKind::Passing, FailureKind::Away];
        let kind = kinds.into_iter().find(|kind| lost.iter().any(|(_, failure)| failure.kind == *kind));
        let reasons: Vec<String> = lost.into_iter().map(|(_, failure)| failure.message).collect();
        Failure { message: reasons.join("; "), kind: kind.unwrap_or(FailureKind::Final) }
    }

    /// Stores that took no artefact, though others did; without what only says that they are away, where the run goes on without such.
    fn drop_out(&self, lost: Vec<LostStore>) -> Vec<(StoreId, String)> {
        let (archive, model) = (&self.archive().name, self.doing.context.model());
        for (store, failure) in &lost {
            if failure.kind == FailureKind::Away && self.doing.lets_go(*store, &failure.message) {
                continue;
            }
            let (store, text) = (&model.store(*store).name, &failure.message);
            self.doing.warn(format!("archive `{archive}` did not reach store `{store}`: {text}"));
        }
        lost.into_iter().map(|(store, failure)| (store, failure.message)).collect()
    }

    fn failure(&self, error: &PackError) -> Failure {
        match error {
            PackError::Stopped(_) => Failure::stopped(),
            // A program that was stopped says so in its own words.
            _ if self.doing.control.check().is_err() => Failure::stopped(),
            PackError::Request(_) => Failure::lasting(error),
            PackError::Input { source_name, cause } if self.is_postgres(source_name) => {
                let text = format!("{error}{}", postgres::mend_of_stream(cause));
                if postgres::stays_refused(cause) { Failure::lasting(text) } else { Failure::of(cause, text) }
            }
            _ => Failure::of(error, error),
        }
    }

    fn is_postgres(&self, name: &str) -> bool {
        let mut sources = self.doing.context.model().sources.iter();
        sources.any(|source| source.name == name && source.postgres().is_some())
    }

    fn sum_of_object(&self, store: StoreId, name: &str, packed: &Packed) -> Result<String, Failure> {
        let Some(store) = self.doing.session(store).held().store.clone() else {
            return Err(Failure::lasting(DROPPED_OUT));
        };
        let name = artefact_name(name).map_err(Failure::fatal)?;
        let mut sum = Sha256::new();
        let mut offset = 0;
        while offset < packed.size {
            self.doing.control.check().map_err(|_| Failure::stopped())?;
            let bytes = store.read_range(&name, offset, CHUNK).map_err(Failure::passing)?;
            if bytes.is_empty() {
                return Err(Failure::passing(format!("`{name}` ended early when it was read again")));
            }
            offset += bytes.len() as u64;
            sum.update(&bytes);
        }
        Ok(hex(&sum.finalize()))
    }

    /// What the labels of clusters say, once they are packed.
    fn streamed_are_told(&self) -> BTreeMap<SourceId, Labels> {
        let facts = self.doing.facts();
        let streamed = self.archive().from.iter().filter_map(|id| match facts.sources.get(id)? {
            SourceFact::Streamed(told) => {
                Some((*id, told.lock().unwrap_or_else(PoisonError::into_inner).clone()))
            }
            _ => None,
        });
        streamed.collect()
    }

    /// Keeps the scans that an artefact was packed from, for the next run. Before the commit: a run that is killed right
    /// behind it must cost the next one nothing, and scans of an artefact that is never committed are looked up by
    /// nobody. Trouble costs no backup: the next run of the archive is a full then.
    fn keep_scans(&self, fact: &ArchiveFact) {
        let contents = fact.record.contents.iter();
        let sources: Vec<_> = contents.filter_map(|content| self.scanned(fact, content)).collect();
        let (context, archive) = (self.doing.context, &fact.record.name);
        if let Err(error) = context.cache().store(archive, context.imprint.run, &fact.record.root, &sources) {
            let text =
                format!("archive `{archive}`: its scans could not be kept: {error}; its next run is a full");
            self.doing.warn(text);
        }
    }

    /// What is kept of a source; `None`: nothing.
    fn scanned(&self, fact: &ArchiveFact, content: &facts::Content) -> Option<Scanned> {
        let scan = self.doing.context.files.scan(&content.source);
        let packed = fact.sources.iter().find(|packed| packed.name == content.source.as_str());
        let doubts = packed.map(|packed| packed.doubts.clone()).unwrap_or_default();
        let grains = self.grains(fact, content);
        let scan = scan.exists().then_some((scan, doubts));
        let is_any = scan.is_some() || grains.is_some();
        is_any.then(|| Scanned { source: content.source.to_string(), scan, grains })
    }

    /// What is known of the large files of a source as the artefact has them: made with it, or, where that is the one before, as
    /// it was known of that.
    fn grains(&self, fact: &ArchiveFact, content: &facts::Content) -> Option<PathBuf> {
        let made = self.doing.context.files.grains_of(&fact.record.name, &content.source);
        if fact.record.holder == self.doing.context.imprint.run {
            return made.exists().then_some(made);
        }
        self.doing.levels().grains(self.id, &content.source)
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
