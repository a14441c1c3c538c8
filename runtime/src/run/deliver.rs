//! The steps that deal with stores: locking, publishing, committing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use backplan_compiler::graph::StepId;
use backplan_compiler::model::{ArchiveId, Location, StoreId};

use super::cache::Scanned;
use super::coordinator::{Failure, FailureKind, Performed};
use super::facts::{self, ArchiveFact};
use super::mark::mark;
use super::output::Output;
use super::prepare::{highest_in, most_believed};
use super::steps::deliver::{CommitPlan, PublishPlan};
use super::steps::lock::{Dropped, absent, is_away};
use super::worker::Worker;
use crate::catalog::commit::{CommitError, Transaction};
use crate::catalog::hold::Hold;
use crate::catalog::identity::{self, Claim, IdentityError};
use crate::catalog::lock::{Holder, Lease, LeaseTimes, LockError};
use crate::catalog::made::Made;
use crate::catalog::manifest::Manifest;
use crate::catalog::owner::Owner;
use crate::catalog::recover::Intent;
use crate::control::Control;
use crate::store::limit::{Limit, limited};
use crate::store::{Store, StoreError};

impl Worker {
    pub(super) fn lock_store(
        &self,
        step: &StepId,
        id: StoreId,
        control: &Control,
    ) -> Result<Performed, Failure> {
        let declared = self.request.model.store(id);
        let location = declared.location();
        let known = self.plan().known(&declared.name, &location);
        let store = match identity::open(declared, &self.secrets.under(control), known, self.request.adopt) {
            Ok(store) => store,
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
        let standing = match identity::inspect(store.as_ref(), &self.layout, &claim) {
            // A server is asked for the first time here.
            Err(error @ IdentityError::Store(_)) if is_away(&error) => return self.absent(step, id, &error),
            looked => looked.map_err(not_ours)?,
        };
        self.highest(store.as_ref()).map_err(not_ours)?;
        let lease = self.lease(&store, &location, control)?;
        let mut held = self.sessions[&id].held();
        let checked = identity::claim(store.as_ref(), &self.layout, &claim)
            .map_err(not_ours)
            .and_then(|format| {
                self.plan().remember(&declared.name, &location, format.id).map_err(Failure::lasting)
            })
            .and_then(|()| self.highest(store.as_ref()).map_err(not_ours))
            .and_then(|highest| self.check_sequence(store.as_ref(), highest));
        if let Err(failure) = checked {
            // The store is not this run's: it is given back at once, and untouched.
            let _ = lease.release();
            return Err(failure);
        }
        held.limit = declared.bandwidth.map(Limit::new).map(Arc::new);
        held.store = Some(store);
        held.lease = Some(Arc::new(lease));
        let format = self.layout.format();
        let wrote = standing.writes_format().then(|| format!("{}:{format}", declared.name));
        Ok(Performed::Done(Output::Wrote(wrote.into_iter().collect())))
    }

    /// The lease on a store, unless it is one that this very run has locked by another path.
    fn lease(
        &self,
        store: &Arc<dyn Store>,
        location: &Location,
        control: &Control,
    ) -> Result<Lease, Failure> {
        let (run, host) = (self.imprint.run, &self.imprint.host);
        let owner = Owner::this_process(host.machine, &host.name, &run).noting(self.host.leases());
        let times = LeaseTimes::default();
        let tell = |text| self.note(text);
        let taken = Lease::acquire(Arc::clone(store), &self.layout, owner, times, control, &tell);
        taken.map_err(|error| match &error {
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

    fn highest(&self, store: &dyn Store) -> Result<u32, IdentityError> {
        let most = most_believed(self.plan().sequence(), self.request.adopt);
        // What an earlier process of this run has begun there is no other run's.
        let own = self.is_resumed.then_some(&self.imprint.run);
        highest_in(store, &self.layout, most, own)
    }

    fn check_sequence(&self, store: &dyn Store, highest: u32) -> Result<(), Failure> {
        if highest < self.imprint.run.sequence() {
            return Ok(());
        }
        let text =
            format!("store `{}`: run {highest} was made while this one began; start it again", store.label());
        Err(Failure::fatal(text))
    }

    /// What a store that cannot be used means for the run.
    fn absent(&self, step: &StepId, id: StoreId, error: &IdentityError) -> Result<Performed, Failure> {
        let Dropped { reason, is_told } = absent(self.request.model.store(id), error)?;
        if is_told {
            self.warn(step, format!("{reason}; the run goes on without it"));
        }
        Ok(Performed::Dropped(reason))
    }

    pub(super) fn publish(&self, id: ArchiveId, store: StoreId, control: &Control) -> Result<(), Failure> {
        let plan = PublishPlan::make(self.scene(&self.facts()), id);
        let PublishPlan::Artefact(name) = plan else { return Ok(()) };
        let Some(transaction) = self.transaction(store)? else {
            return Err(Failure::lasting("its store has dropped out"));
        };
        self.see_unmoved()?;
        let staged = self.files.artefact(&name);
        if let Some(fact) = self.facts().archives.get(&id) {
            control.expect(1, fact.record.size);
        }
        let limits = self.limits(store);
        let put = match limits.is_empty() {
            true => transaction.put_file(&name, &staged, control),
            false => transaction.send_file(&name, &staged, control, |upload| {
                let store = &self.request.model.store(store).name;
                limited(upload, store, limits, control)
            }),
        };
        put.map_err(|error| commit_failure(&error))
    }

    /// What limits the bytes that are sent to a store.
    pub(super) fn limits(&self, store: StoreId) -> Vec<Arc<Limit>> {
        let own = self.sessions[&store].held().limit.clone();
        own.into_iter().chain(self.limit.clone()).collect()
    }

    pub(super) fn commit(&self, step: &StepId, store: StoreId) -> Result<(), Failure> {
        let Some(transaction) = self.transaction(store)? else {
            return Err(Failure::lasting("its store has dropped out"));
        };
        if self.is_resumed && transaction.is_committed().map_err(|error| commit_failure(&error))? {
            // By a process that ended before it could say so.
            return self.committed(store);
        }
        let mut imprint = self.imprint.clone();
        imprint.finished = self.request.clock.now();
        if let Some(id) = self
            .plan()
            .known(&self.request.model.store(store).name, &self.request.model.store(store).location())
        {
            imprint.plan = id;
        }
        let facts = self.facts();
        let nothing = || Failure::lasting("nothing reached the store: there is nothing to commit");
        let plan = CommitPlan::make(self.scene(&facts), store).ok_or_else(nothing)?;
        let (names, levels) = (&self.graph.artefact_names, self.levels());
        let mut manifest = facts::manifest(&self.request, &imprint, names, &facts, &levels, store, &plan);
        if manifest.archives.is_empty() && manifest.repositories.is_empty() {
            return Err(nothing());
        }
        let mut details = facts::details(&self.request, &facts);
        details.mounts =
            facts.mounts(&self.request.model, self.imprint.run).into_values().flatten().collect();
        drop(facts);
        for warning in &mut details.warnings.first {
            *warning = self.secrets.redact(warning);
        }
        let readers = facts::readers(&self.request.model);
        if readers.is_empty() {
            manifest.second = details.to_second().map_err(Failure::lasting)?;
        } else {
            facts::hide(&mut manifest, &mut details);
            manifest.seal(details, &readers).map_err(Failure::lasting)?;
        }
        self.remember_made(step, &manifest);
        let hold = self.hold(store, &manifest)?;
        let held = hold.iter().try_for_each(Hold::before);
        let committed = transaction.commit(&manifest).map_err(|error| commit_failure(&error))?;
        let held = held.and_then(|()| hold.iter().try_for_each(Hold::after));
        if let Err(why) = held {
            self.warn(step, why);
        }
        if let Err(why) = Made::keep_done(self.plan().folder(), self.imprint.run) {
            self.warn(step, why);
        }
        if let Some(error) = committed.untidy {
            self.warn(step, format!("{error}; the next run tidies up"));
        }
        self.committed(store)
    }

    /// Remembers that the backup is in a store.
    fn committed(&self, store: StoreId) -> Result<(), Failure> {
        self.sessions[&store].held().committed = true;
        let mounts = self.facts().mounts(&self.request.model, self.imprint.run);
        // Only so that a sequence is not used twice where every store is new; and the manifest tells of mounts too.
        let _ = self.plan().remember_run(self.imprint.run, mounts);
        Ok(())
    }

    /// Keeps of a manifest that is going to be committed that it is this machine's own.
    fn remember_made(&self, step: &StepId, manifest: &Manifest) {
        // What makes no bytes is not committed either.
        let Ok(bytes) = manifest.to_bytes() else { return };
        let kept = Made::keep(self.plan().folder(), manifest.run, &bytes);
        if let Err(why) = kept {
            self.warn(step, why);
        }
    }

    /// What of a run the store is to hold itself.
    fn hold(&self, id: StoreId, manifest: &Manifest) -> Result<Option<Hold>, Failure> {
        let Some(immutable) = self.request.model.store(id).immutable else { return Ok(None) };
        let Some((store, _)) = self.sessions[&id].held().opened() else { return Ok(None) };
        let hold = Hold::of(store, &self.layout, manifest, immutable);
        hold.map(Some).map_err(|error| commit_failure(&error.into()))
    }

    /// The transaction with a store, begun with the first artefact; `None`: the store has dropped out.
    pub(super) fn transaction(&self, id: StoreId) -> Result<Option<Arc<Transaction>>, Failure> {
        let mut held = self.sessions[&id].held();
        if let Some(transaction) = &held.transaction {
            return Ok(Some(Arc::clone(transaction)));
        }
        let Some((store, lease)) = held.opened() else { return Ok(None) };
        if let Some(begun) = self.begun(id, &store, &lease)? {
            held.transaction = Some(Arc::clone(&begun));
            return Ok(Some(begun));
        }
        let begun = Transaction::begin(store, self.layout.clone(), lease, Arc::new(mark), self.intent(id));
        let transaction = Arc::new(begun.map_err(|error| commit_failure(&error))?);
        held.transaction = Some(Arc::clone(&transaction));
        Ok(Some(transaction))
    }

    /// What this run is about to write into a store.
    fn intent(&self, id: StoreId) -> Intent {
        let goes_there = |archive: &ArchiveId| self.request.model.archive(*archive).to.contains(&id);
        let names = self.graph.artefact_names.iter().filter(|(archive, _)| goes_there(archive));
        Intent::new(self.imprint.run, self.imprint.nonce, names.map(|(_, name)| name.clone()))
    }

    /// The transaction that an earlier process of this run has begun.
    fn begun(
        &self,
        id: StoreId,
        store: &Arc<dyn Store>,
        lease: &Arc<Lease>,
    ) -> Result<Option<Arc<Transaction>>, Failure> {
        if !self.is_resumed {
            return Ok(None);
        }
        let (store, layout, lease) = (Arc::clone(store), self.layout.clone(), Arc::clone(lease));
        let begun = Transaction::resume(store, layout, lease, Arc::new(mark), self.intent(id));
        begun.map(|begun| begun.map(Arc::new)).map_err(|error| commit_failure(&error))
    }

    /// Takes up the transaction with a store, where one was begun.
    pub(super) fn transaction_begun(&self, id: StoreId) -> Result<(), Failure> {
        let Some((store, lease)) = self.sessions[&id].held().opened() else { return Ok(()) };
        let begun = self.begun(id, &store, &lease)?;
        self.sessions[&id].held().transaction = begun;
        Ok(())
    }

    /// Keeps the scans that an artefact was packed from, for the next run. Before the commit: a run that is killed right
    /// behind it must cost the next one nothing, and scans of an artefact that is never committed are looked up by
    /// nobody. Trouble costs no backup: the next run of the archive is a full then.
    pub(super) fn keep_scans(&self, step: &StepId, fact: &ArchiveFact) {
        let contents = fact.record.contents.iter();
        let sources: Vec<_> = contents.filter_map(|content| self.scanned(fact, content)).collect();
        let archive = &fact.record.name;
        if let Err(error) = self.cache().store(archive, self.imprint.run, &fact.record.root, &sources) {
            let text =
                format!("archive `{archive}`: its scans could not be kept: {error}; its next run is a full");
            self.warn(step, text);
        }
    }

    /// Deletes the scans that no run after this one needs, where this one is committed.
    pub(super) fn forget_scans(&self) -> Vec<String> {
        let committed: Vec<StoreId> =
            self.sessions.iter().filter(|(_, session)| session.held().committed).map(|(id, _)| *id).collect();
        let (cache, levels, facts) = (self.cache(), self.levels(), self.facts());
        let mut trouble = Vec::new();
        for (id, fact) in &facts.archives {
            if !committed.iter().any(|store| self.request.model.archive(*id).to.contains(store)) {
                continue;
            }
            let contents = fact.record.contents.iter();
            let made = contents.map(|content| (content.source.as_str(), content.level)).collect();
            let mut keep = levels.needed(*id, &made);
            keep.insert(self.imprint.run);
            if let Err(error) = cache.keep_only(&fact.record.name, &keep) {
                trouble.push(format!("archive `{}`: old scans stay: {error}", fact.record.name));
            }
        }
        // Otherwise not all was looked at that may still be needed.
        let model = &self.request.model;
        if self.request.only.is_empty()
            && facts.archives.len() == model.archives.len()
            && !committed.is_empty()
        {
            // One that was renamed goes on from the scans it had under its old name, as long as it rests on them.
            let mut names: BTreeSet<String> = levels.archives_rested_on().map(str::to_owned).collect();
            names.extend(model.archives.iter().map(|archive| archive.name.clone()));
            if let Err(error) = cache.keep_archives(&names) {
                trouble.push(format!("scans of archives that the plan no longer has stay: {error}"));
            }
        }
        trouble
    }

    /// What is kept of a source; `None`: nothing.
    fn scanned(&self, fact: &ArchiveFact, content: &facts::Content) -> Option<Scanned> {
        let scan = self.files.scan(&content.source);
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
        let made = self.files.grains_of(&fact.record.name, &content.source);
        if fact.record.holder == self.imprint.run {
            return made.exists().then_some(made);
        }
        let model = &self.request.model;
        let id = model.archives.iter().position(|archive| archive.name == *fact.record.name)?;
        self.levels().grains(ArchiveId(id), &content.source)
    }
}

/// Why a store is not for this run, with its place.
fn claim_failure(error: &IdentityError, location: &Location) -> Failure {
    let text = error.to_string();
    match error {
        IdentityError::Store(error) => store_failure(error, text),
        _ if text.contains(&location.to_string()) => Failure::lasting(text),
        _ => Failure::lasting(format!("{text} (it is `{location}`)")),
    }
}

fn lock_failure(error: LockError) -> Failure {
    let message = error.to_string();
    match error {
        LockError::Busy { .. } => Failure { message, kind: FailureKind::Busy },
        LockError::Stopped(_) => Failure::stopped(),
        LockError::Store(error) => store_failure(&error, message),
        _ => Failure::passing(message),
    }
}

pub(super) fn commit_failure(error: &CommitError) -> Failure {
    match error {
        CommitError::Store(cause) => store_failure(cause, error.to_string()),
        CommitError::Uncertain { .. } => Failure::passing(error),
        _ => Failure::lasting(error),
    }
}

/// A store's error: what stays as it is is not tried again.
pub(super) fn store_failure(error: &StoreError, text: String) -> Failure {
    if error.kind.is_lasting() { Failure::lasting(text) } else { Failure::of(error, text) }
}
