//! Undoing what dead runs left in a store.
//!
//! A recovery is planned from what is readable, shown or consumed, and can be cut anywhere: the next one plans anew. Only names
//! that an intent or a tombstone lists are ever touched, and of those in the root only artefacts that prove to be the
//! run's own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ids::{Nonce, RunId};
use super::layout::{Layout, artefact_name};
use super::lock::{Lease, LockError};
use super::manifest::{FORMAT, Manifest};
use super::runs::{Catalog, Problem, read_manifest};
use crate::store::append_only::is_backup;
use crate::store::fs::Kind;
use crate::store::{Entry, Name, Object, ReadStore, Store, StoreError, StoreErrorKind};

/// How many first bytes of an artefact carry its mark.
pub const HEAD_BYTES: usize = 4096;
/// Bytes of an intent or tombstone at the most.
const MAX_BYTES: usize = 4 << 20;

/// Reads an artefact's mark, the run that made it, from its first [`HEAD_BYTES`].
pub type Mark = dyn Fn(&[u8]) -> Option<RunId> + Send + Sync;

/// The contents of `intents/RUN`: exactly what is about to be written in the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Of the record.
    pub format: u32,
    /// Which run.
    pub run: RunId,
    /// Which attempt at it.
    pub nonce: Nonce,
    /// The artefacts.
    pub artefacts: Vec<Intended>,
}

impl Intent {
    /// Whether these bytes are an intent of the same attempt that names all that this one does: of one that was cut short in a
    /// store in which nothing can be deleted, some artefacts may be there already.
    pub fn is_told_by(&self, bytes: &[u8]) -> bool {
        let text = std::str::from_utf8(bytes).ok();
        let there: Option<Intent> = text.and_then(|text| crate::yaml::from_str(text).ok());
        there.is_some_and(|there| {
            (there.run, there.nonce) == (self.run, self.nonce)
                && self.artefacts.iter().all(|artefact| there.artefacts.contains(artefact))
        })
    }
}

/// An artefact that is about to be written, or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intended {
    /// Its file name at the store's root.
    pub artefact: String,
    /// The run that its mark names: not this one where an earlier artefact gets a second name.
    pub mark: RunId,
    /// Its size, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// The contents of `tombstones/RUN`: exactly what is about to be deleted in the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Of the record.
    pub format: u32,
    /// Which run.
    pub run: RunId,
    /// The artefacts it names, also those that other runs name.
    pub artefacts: Vec<Intended>,
}

impl Intent {
    /// The intent of a run to write these artefacts, its own.
    pub fn new(run: RunId, nonce: Nonce, artefacts: impl IntoIterator<Item = String>) -> Intent {
        let artefacts = artefacts.into_iter().map(|artefact| Intended { artefact, mark: run, size: None });
        Intent { format: FORMAT, run, nonce, artefacts: artefacts.collect() }
    }
}

/// What a recovery will do, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryPlan {
    /// Each can be cut anywhere.
    pub steps: Vec<RecoveryStep>,
    /// What is left alone, and a person should look at.
    pub left: Vec<Leftover>,
}

/// Deletions that belong together, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryStep {
    /// Why.
    pub reason: Reason,
    /// Artefacts of which uploads may have been begun.
    pub uploads: Vec<Name>,
    /// What; the last is the record that says so.
    pub deletes: Vec<Name>,
}

impl RecoveryStep {
    fn new(reason: Reason, deletes: Vec<Name>) -> RecoveryStep {
        RecoveryStep { reason, uploads: Vec::new(), deletes }
    }
}

/// Why something is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// This run was being deleted.
    FinishDelete(RunId),
    /// This run was going to be deleted and is there.
    StandingRun(RunId),
    /// This run never committed.
    UndoRun(RunId),
    /// This run committed, and died before it had tidied up.
    TidyRun(RunId),
    /// On its way in when its run died.
    Temporary,
    /// An earlier lease.
    OldLease,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::FinishDelete(run) => write!(f, "run `{run}` was being deleted"),
            Reason::StandingRun(run) => {
                write!(
                    f,
                    "run `{run}` was going to be deleted and is there: `keep` says anew whether it goes"
                )
            }
            Reason::UndoRun(run) => write!(f, "run `{run}` died before it committed"),
            Reason::TidyRun(run) => write!(f, "run `{run}` committed and died before it had tidied up"),
            Reason::Temporary => f.write_str("a dead run was writing it"),
            Reason::OldLease => f.write_str("it is an earlier lease"),
        }
    }
}

/// Something that is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What.
    pub name: Name,
    /// Why it is not deleted.
    pub why: String,
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is left alone: {}", self.name, self.why)
    }
}

/// What a recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// What was deleted, and why.
    pub deleted: Vec<(Reason, Name)>,
    /// What was left alone.
    pub left: Vec<Leftover>,
    /// Uploads that dead runs had begun, and that were given up.
    pub given_up: u64,
    /// Nameless remains of interrupted writes that were removed.
    pub swept: u64,
}

/// Why a recovery did not come to its end. The next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lease.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A manifest appeared while its run was being undone.
    #[error("run `{0}` committed after all: start again")]
    Committed(RunId),
}

impl RecoverError {
    /// Whether it is no more than that the store is away.
    pub fn is_away(&self) -> bool {
        match self {
            RecoverError::Store(error) => error.kind.is_away(),
            RecoverError::Lock(error) => error.is_away(),
            RecoverError::Committed(_) => false,
        }
    }
}

/// What this host remembers of a run in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing: it may be another plan's.
    Unknown,
    /// It is of the plan; no more is known of it there.
    Own,
    /// It was committed there.
    Committed,
    /// A prune was going to delete it there.
    GivenUp,
    /// The same, and it was brought there again since.
    Back,
}

/// What this host remembers of a plan's runs in a store. What stands in a store is anybody's word: nothing is deleted by that alone.
pub trait Memory {
    /// What became of a run there.
    fn past(&self, run: &RunId) -> Past;

    /// Whether this host made a run, as its manifest is there by its digest.
    fn has_made(&self, run: &RunId, digest: &str) -> bool;

    /// Whether nothing is said against a run as its manifest is there: this host made it, somebody accepted it, or it may be from
    /// before this host had the plan.
    fn trusts(&self, run: &RunId, digest: &str) -> bool;
}

/// The same of every run.
#[cfg(test)]
impl Memory for Past {
    fn past(&self, _: &RunId) -> Past {
        *self
    }

    fn has_made(&self, _: &RunId, _: &str) -> bool {
        *self != Past::Unknown
    }

    fn trusts(&self, _: &RunId, _: &str) -> bool {
        true
    }
}

/// What a recovery can see.
pub(super) struct Scene<'a> {
    pub store: &'a dyn ReadStore,
    pub layout: &'a Layout,
    pub mark: &'a Mark,
    pub memory: &'a dyn Memory,
    pub catalog: &'a Catalog,
}

impl Scene<'_> {
    /// Whether a run is one of this plan's: this host remembers it, or the store has it and nothing is said against it.
    fn is_of_plan(&self, run: &RunId) -> bool {
        let is_trusted = |digest: &str| self.memory.trusts(run, digest);
        self.memory.past(run) != Past::Unknown || self.catalog.digest(run).is_some_and(is_trusted)
    }
}

impl RecoveryPlan {
    /// Plans a recovery, reading only: the dry run shows it. `current` is a run that lives and is left alone; of deletions only those
    /// are finished that this host has begun by what it remembers, and what it has committed is not undone, nor what it knows nothing of.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn make(
        store: &dyn ReadStore,
        layout: &Layout,
        current: Option<&RunId>,
        (mark, memory): (&Mark, &dyn Memory),
    ) -> Result<RecoveryPlan, StoreError> {
        let mut plan = RecoveryPlan::default();
        let tombstones = store.entries(&layout.tombstones())?;
        let mut intents = store.entries(&layout.intents())?;
        intents.retain(|entry| layout.run_of_intent(&entry.name).as_ref() != current);
        let temporaries = store.list(Some(&layout.temporaries()))?;
        if !tombstones.is_empty() || !intents.is_empty() {
            let catalog = Catalog::load(store, layout)?;
            let scene = Scene { store, layout, mark, memory, catalog: &catalog };
            for entry in &tombstones {
                plan.finish_delete(&scene, &entry.name)?;
            }
            for entry in &intents {
                plan.settle_intent(&scene, &entry.name, &temporaries)?;
            }
        }
        plan.drop_temporaries(layout, current, &temporaries);
        plan.drop_leases(layout, &store.entries(&layout.locks())?);
        Ok(plan)
    }

    fn finish_delete(&mut self, scene: &Scene<'_>, name: &Name) -> Result<(), StoreError> {
        let Some(tombstone) = read_record::<Tombstone>(scene.store, name)? else {
            self.leave(name, "it is no tombstone, or damaged");
            return Ok(());
        };
        let stands = scene.catalog.get(&tombstone.run).is_some();
        let is_begun = match scene.memory.past(&tombstone.run) {
            Past::GivenUp => true,
            Past::Back => stands,
            Past::Unknown | Past::Own | Past::Committed => false,
        };
        if !is_begun {
            self.leave(
                name,
                "it says that its run is being deleted, which this machine has not begun: whoever may put something into the store can say \
                 so. Move it away; where the run is there and `keep` gives it up, it is deleted all the same",
            );
            return Ok(());
        }
        if stands {
            // Cut before its manifest went, or put back since: it is a backup, and nothing but `keep` may take one away.
            self.steps.push(RecoveryStep::new(Reason::StandingRun(tombstone.run), vec![name.clone()]));
            return Ok(());
        }
        if scene.catalog.unreadable().contains(&tombstone.run) {
            self.leave(name, "its run's manifest is there and cannot be used");
            return Ok(());
        }
        if let Some(by) = scene.catalog.may_be_needed_by(&tombstone.run) {
            self.leave(
                name,
                &format!("what it deletes may be needed by run `{by}`, whose manifest cannot be read"),
            );
            return Ok(());
        }
        let (deletes, left) = deletions(scene, &tombstone, false)?;
        self.left.extend(left);
        self.steps.push(RecoveryStep::new(Reason::FinishDelete(tombstone.run), deletes));
        Ok(())
    }

    fn settle_intent(
        &mut self,
        scene: &Scene<'_>,
        name: &Name,
        temporaries: &[Object],
    ) -> Result<(), StoreError> {
        if let Some(committed) = scene.layout.run_of_intent(name).and_then(|run| scene.catalog.get(&run)) {
            self.tidy(scene, name, committed, temporaries);
            return Ok(());
        }
        let Some(intent) = read_record::<Intent>(scene.store, name)? else {
            self.leave(name, "it is no intent, or damaged");
            return Ok(());
        };
        let run = intent.run;
        let mut deletes = temporaries_of(scene, run, temporaries);
        if scene.catalog.unreadable().contains(&run) {
            // It is there, whatever is in it and whatever it is called: nothing of it is deleted.
            self.leave(name, "its run's manifest is there and cannot be used");
            return Ok(());
        }
        let reason = match read_manifest(scene.store, scene.layout, &run) {
            Ok(Some(_)) => Reason::TidyRun(run),
            Ok(None) if matches!(scene.memory.past(&run), Past::Committed | Past::Back) => {
                self.leave(
                    name,
                    "it says that its run never came to an end, and this machine has committed it there: whoever may put something into the \
                     store can say so. Put the run's manifest back, or bring it by `plan sync`; if the run is given up, move this away",
                );
                return Ok(());
            }
            Ok(None) => {
                let unproven = self.undo(scene, &intent, &mut deletes)?;
                if let Some(artefact) = unproven {
                    self.leave(
                        name,
                        &format!(
                            "it says that run `{run}` died, which this machine does not know of; `{artefact}` bears the mark of that run: it goes \
                             with this where it is this plan's (of a machine that had it before, or whose state is lost), and stays \
                             where it is another's"
                        ),
                    );
                    return Ok(());
                }
                Reason::UndoRun(run)
            }
            Err(Problem::Store(error)) => return Err(error),
            // It came to be since the catalog was read.
            Err(Problem::Manifest(_)) => return Ok(()),
        };
        deletes.push(name.clone());
        let begun = intent.artefacts.iter().filter(|intended| intended.mark == run);
        let uploads = begun.filter_map(|intended| artefact_name(&intended.artefact).ok()).collect();
        self.steps.push(RecoveryStep { reason, uploads, deletes });
        Ok(())
    }

    /// What a run left that has committed: its manifest says what its intent did.
    fn tidy(&mut self, scene: &Scene<'_>, intent: &Name, committed: &Manifest, temporaries: &[Object]) {
        let run = committed.run;
        let mut deletes = temporaries_of(scene, run, temporaries);
        deletes.push(intent.clone());
        let own = committed.archives.iter().filter(|archive| archive.holder == run);
        let uploads = own.map(|archive| archive.artefact.object()).collect();
        self.steps.push(RecoveryStep { reason: Reason::TidyRun(run), uploads, deletes });
    }

    /// What a run wrote that never committed; instead, an artefact of it, where nothing but the intent says that it is this plan's.
    fn undo(
        &mut self,
        scene: &Scene<'_>,
        intent: &Intent,
        deletes: &mut Vec<Name>,
    ) -> Result<Option<Name>, StoreError> {
        let is_known = scene.memory.past(&intent.run) != Past::Unknown;
        for intended in &intent.artefacts {
            // A run writes what bears its own mark, and nothing else: an intent is anybody's word.
            let intended = &Intended { mark: intent.run, size: None, ..intended.clone() };
            if let Some(by) = scene.catalog.may_be_needed_by(&intent.run)
                && let Ok(name) = artefact_name(&intended.artefact)
            {
                self.leave(&name, &format!("run `{by}`, whose manifest cannot be read, may point to it"));
                continue;
            }
            match verdict(scene, intended, &intent.run, true)? {
                Verdict::Ours(name) if !is_known => return Ok(Some(name)),
                Verdict::Ours(name) => deletes.push(name),
                Verdict::Absent => {}
                Verdict::Leave(left) => self.left.push(left),
            }
        }
        let sums = scene.layout.sums(&intent.run);
        match scene.store.size(&sums) {
            Ok(None) => {}
            Err(error) if error.kind == StoreErrorKind::Foreign => {
                self.leave(&sums, "it is not a regular file");
            }
            _ => deletes.push(sums),
        }
        Ok(None)
    }

    fn drop_temporaries(&mut self, layout: &Layout, current: Option<&RunId>, temporaries: &[Object]) {
        let listed: BTreeSet<Name> =
            self.steps.iter().flat_map(|step| step.deletes.iter().cloned()).collect();
        let stale = |object: &&Object| {
            let run = layout.run_of_temporary(&object.name);
            !listed.contains(&object.name) && (run.is_none() || run.as_ref() != current)
        };
        let deletes: Vec<Name> = temporaries.iter().filter(stale).map(|object| object.name.clone()).collect();
        if !deletes.is_empty() {
            self.steps.push(RecoveryStep::new(Reason::Temporary, deletes));
        }
    }

    fn drop_leases(&mut self, layout: &Layout, locks: &[Entry]) {
        let (leases, others): (Vec<&Entry>, Vec<&Entry>) = locks.iter().partition(|entry| {
            matches!(entry.kind, Kind::File(_)) && layout.number_of_lock(&entry.name).is_some()
        });
        others.iter().for_each(|entry| self.leave(&entry.name, "it is no lease"));
        let numbers: BTreeSet<u64> =
            leases.iter().filter_map(|entry| layout.number_of_lock(&entry.name)).collect();
        let highest = numbers.last().copied();
        let earlier = numbers.into_iter().filter(|number| Some(*number) != highest);
        let deletes: Vec<Name> = earlier.map(|number| layout.lock(number)).collect();
        if !deletes.is_empty() {
            self.steps.push(RecoveryStep::new(Reason::OldLease, deletes));
        }
    }

    fn leave(&mut self, name: &Name, why: &str) {
        self.left.push(Leftover { name: name.clone(), why: why.to_owned() });
    }

    /// The same recovery on a store from which this host deletes no backup: only Backplan's own books (intents of runs that
    /// left nothing else, tombstones of runs that are there, temporaries, leases) are tidied; all else is left, with the record that tells of it.
    #[must_use]
    pub fn append_only(self) -> RecoveryPlan {
        let mut spared = RecoveryPlan { steps: Vec::new(), left: self.left };
        for step in self.steps {
            let why = format!("{}, and the store is `append_only`", step.reason);
            let backups = step.deletes.iter().filter(|name| is_backup(name));
            let backups: Vec<Leftover> =
                backups.map(|name| Leftover { name: name.clone(), why: why.clone() }).collect();
            if backups.is_empty() {
                spared.steps.push(step);
            }
            spared.left.extend(backups);
        }
        // Where the books may not be deleted either there is one for each run: what they tell of is over, and asked of no server.
        for step in spared.steps.iter_mut().filter(|step| matches!(step.reason, Reason::TidyRun(_))) {
            step.uploads.clear();
        }
        spared
    }

    /// What of it this host may do in the store.
    #[must_use]
    pub fn permitted_by(self, store: &dyn Store) -> RecoveryPlan {
        if store.capabilities().delete { self } else { self.append_only() }
    }

    /// Does what was planned, under the lease.
    ///
    /// # Errors
    /// When the lease is lost, or the store fails; what is not done then, the next recovery does.
    pub fn execute(
        self,
        store: &dyn Store,
        layout: &Layout,
        lease: &Lease,
    ) -> Result<Recovered, RecoverError> {
        let planned = self.permitted_by(store);
        let mut recovered = Recovered { left: planned.left, ..Recovered::default() };
        let mut refused = false;
        for step in planned.steps {
            lease.confirm()?;
            if let Reason::UndoRun(run) = step.reason
                && store.size(&layout.manifest(&run))?.is_some()
            {
                return Err(RecoverError::Committed(run));
            }
            for name in step.uploads {
                match store.give_up(&name) {
                    Ok(count) => recovered.given_up += count,
                    // They are in nobody's way: the server's own rules see to them.
                    Err(error) => recovered.left.push(Leftover { name, why: error.to_string() }),
                }
            }
            if !refused {
                refused = recovered.delete(store, step.reason, step.deletes)?;
            }
        }
        recovered.swept = store.sweep(&layout.temporaries())? + store.sweep(layout.home())?;
        Ok(recovered)
    }
}

impl Recovered {
    /// Deletes in this order; whether the server permits no deletion. Then the rest stays as it is, with the record that tells of
    /// it: it is in nobody's way, and no reason to have no backup. Of a store that is `append_only` nothing else is expected.
    fn delete(&mut self, store: &dyn Store, reason: Reason, names: Vec<Name>) -> Result<bool, StoreError> {
        for name in names {
            match store.delete(&name) {
                Ok(()) => self.deleted.push((reason, name)),
                Err(error) if error.kind.is_refusal() => {
                    if store.capabilities().delete {
                        let why = format!("{error}; {}", StoreError::NO_DELETION);
                        self.left.push(Leftover { name, why });
                    }
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Plans and does a recovery under the lease, as every run begins.
///
/// # Errors
/// As [`RecoveryPlan::execute`].
pub fn recover(
    store: &dyn Store,
    layout: &Layout,
    lease: &Lease,
    known: (&Mark, &dyn Memory),
) -> Result<Recovered, RecoverError> {
    RecoveryPlan::make(store, layout, None, known)?.execute(store, layout, lease)
}

/// What a run was about to give its name.
fn temporaries_of(scene: &Scene<'_>, run: RunId, temporaries: &[Object]) -> Vec<Name> {
    let own = temporaries.iter().filter(|object| scene.layout.run_of_temporary(&object.name) == Some(run));
    own.map(|object| object.name.clone()).collect()
}

/// A record of this folder; `None` if it is gone, damaged, newer, or no file.
pub(super) fn read_record<T: for<'de> Deserialize<'de> + Record>(
    store: &dyn ReadStore,
    name: &Name,
) -> Result<Option<T>, StoreError> {
    let bytes = match store.read_range(name, 0, MAX_BYTES) {
        Err(error) if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Foreign) => {
            return Ok(None);
        }
        bytes => bytes?,
    };
    let record: Option<T> = crate::yaml::from_slice(&bytes).ok();
    Ok(record.filter(|record| record.format() == FORMAT && name.last() == record.run().to_string()))
}

/// What intents and tombstones have in common.
pub(super) trait Record {
    fn format(&self) -> u32;
    fn run(&self) -> RunId;
}

impl Record for Intent {
    fn format(&self) -> u32 {
        self.format
    }

    fn run(&self) -> RunId {
        self.run
    }
}

impl Record for Tombstone {
    fn format(&self) -> u32 {
        self.format
    }

    fn run(&self) -> RunId {
        self.run
    }
}

/// What a deletion of a run deletes, in order, and what of its artefacts it leaves. What it says of artefacts is believed where it
/// `is_made` by this host; else it must be seen that they are this plan's.
pub(super) fn deletions(
    scene: &Scene<'_>,
    tombstone: &Tombstone,
    is_made: bool,
) -> Result<(Vec<Name>, Vec<Leftover>), StoreError> {
    let (layout, run) = (scene.layout, tombstone.run);
    let mut deletes = vec![layout.manifest(&run)];
    let mut left = Vec::new();
    for intended in &tombstone.artefacts {
        // An artefact of an earlier run, which others may point to as this one does.
        if let Some(by) = scene.catalog.may_be_needed_by(&intended.mark)
            && let Ok(name) = artefact_name(&intended.artefact)
        {
            let why = format!("run `{by}`, whose manifest cannot be read, may point to it");
            left.push(Leftover { name, why });
            continue;
        }
        match verdict(scene, intended, &run, is_made)? {
            Verdict::Ours(name) => deletes.push(name),
            Verdict::Absent => {}
            Verdict::Leave(leftover) => left.push(leftover),
        }
    }
    let sums = layout.sums(&run);
    match scene.store.size(&sums) {
        Err(error) if error.kind == StoreErrorKind::Foreign => {
            left.push(Leftover { name: sums, why: "it is not a regular file".to_owned() });
        }
        Ok(None) => {}
        _ => deletes.push(sums),
    }
    deletes.push(layout.tombstone(&run));
    Ok((deletes, left))
}

enum Verdict {
    /// It proves to be the run's.
    Ours(Name),
    /// There is nothing, or another run needs it: nothing to say.
    Absent,
    /// It does not prove to be the run's.
    Leave(Leftover),
}

/// Whether an artefact in the root may be deleted for a run. Which run made it is what anybody may have written down but where
/// it `is_made` by this host.
fn verdict(
    scene: &Scene<'_>,
    intended: &Intended,
    run: &RunId,
    is_made: bool,
) -> Result<Verdict, StoreError> {
    let Ok(name) = artefact_name(&intended.artefact) else { return Ok(Verdict::Absent) };
    if scene.catalog.references(&intended.artefact, run) {
        return Ok(Verdict::Absent);
    }
    let leave = |why: String| Ok(Verdict::Leave(Leftover { name: name.clone(), why }));
    let size = match scene.store.size(&name) {
        Ok(None) => return Ok(Verdict::Absent),
        Ok(Some(size)) => size,
        // A folder or a symlink: certainly none of ours.
        Err(error) if error.kind == StoreErrorKind::Foreign => {
            return leave("it is not a regular file".to_owned());
        }
        Err(error) => return Err(error),
    };
    let head = match scene.store.read_range(&name, 0, HEAD_BYTES) {
        Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(Verdict::Absent),
        head => head?,
    };
    match (scene.mark)(&head) {
        Some(marked) if marked == intended.mark && (is_made || scene.is_of_plan(&marked)) => {
            Ok(Verdict::Ours(name))
        }
        Some(marked) if marked == intended.mark => leave(format!(
            "it is of run `{marked}`, of which neither this machine nor the store knows that it was one of this plan"
        )),
        Some(other) => leave(format!("it is of run `{other}`")),
        // Its head is damaged, but it has the very size that the manifest gave it.
        None if is_made && intended.size == Some(size) => Ok(Verdict::Ours(name)),
        None => leave(format!("it does not prove to be of run `{}`", intended.mark)),
    }
}
