//! Filling a store with what it lacks and others have: runs, the oldest first, each as a run brings it, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use backplan_compiler::model::{Model, StoreId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::mark::mark;
use super::prepare::PrepareError;
use super::prune::{Site, StoresRequest, locked};
use super::wal;
use crate::catalog::commit::{CommitError, Transaction};
use crate::catalog::hold::Hold;
use crate::catalog::host::HostState;
use crate::catalog::ids::{RunId, Uuid};
use crate::catalog::layout::Layout;
use crate::catalog::lock::Lease;
use crate::catalog::made::{self, Made};
use crate::catalog::manifest::{ArchiveRecord, Content, MAX_BYTES, Manifest, Second};
use crate::catalog::prune::{Occasion, PrunePlan};
use crate::catalog::recover::Intent;
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::programs::secrets::Secrets;
use crate::store::limit::{Limit, limited};
use crate::store::{Name, ReadStore, Store};

/// Whose name is in the lease.
const COMMAND: &str = "plan sync";

/// Bytes that are read at a time.
const PIECE: usize = 8 << 20;
/// Bytes that are sent between two looks at whether to go on: a slow store must not hold a run for long.
const CHUNK: usize = 256 << 10;

/// What became of a store, or would.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StoreSync {
    /// The store.
    pub store: String,
    /// The runs that were brought, or would be, oldest first.
    pub runs: Vec<Brought>,
    /// Files of logs that were brought, or how many would be, by source.
    pub log: Vec<BroughtLog>,
    /// Runs that `keep` would delete at once.
    pub given_up: usize,
    /// What could not be brought, and what a person should look at.
    pub warnings: Vec<String>,
    /// Why the store could not be filled, or not to the end.
    pub error: Option<String>,
    /// Another run holds its lock.
    pub busy: bool,
}

/// A run that was brought to a store.
#[derive(Debug, Clone, Serialize)]
pub struct Brought {
    /// The run.
    pub run: RunId,
    /// Bytes of its artefacts that were sent.
    pub bytes: u64,
    /// Those artefacts.
    pub artefacts: Vec<String>,
}

/// Files of a log that were brought to a store.
#[derive(Debug, Clone, Serialize)]
pub struct BroughtLog {
    /// The source.
    pub source: String,
    /// How many.
    pub files: usize,
}

/// A store that may have what others lack.
pub(super) struct Giver {
    pub id: StoreId,
    pub store: Arc<dyn Store>,
    pub catalog: Catalog,
}

impl Giver {
    /// A store, with what is in it now.
    pub fn of(id: StoreId, store: Arc<dyn Store>, layout: &Layout) -> Result<Giver, String> {
        let mut catalog = Catalog::load(store.as_ref(), layout).map_err(text)?;
        catalog.look_for_artefacts(store.as_ref(), layout).map_err(text)?;
        Ok(Giver { id, store, catalog })
    }
}

/// What a sync would do now. Writes nothing and takes no lock.
///
/// # Errors
/// When the state of this host cannot be read.
pub fn preview(request: &StoresRequest) -> Result<Vec<StoreSync>, PrepareError> {
    let site = Site::new(request, HostState::foresee(&request.state)?)?;
    let (givers, away) = givers(&site);
    Ok(site.meant().map(|id| look(&site, id, &givers, &away)).collect())
}

/// Fills stores, one after the other, under the locks a run takes. What a dead run left in one is undone first.
///
/// # Errors
/// [`PrepareError::Busy`] when a run of the plan goes on here; then nothing was touched.
pub fn carry_out(request: &StoresRequest, control: &Control) -> Result<Vec<StoreSync>, PrepareError> {
    let (host, _lock) = locked(request, "a sync")?;
    let mut site = Site::new(request, host)?;
    let mut done = Vec::new();
    for id in site.meant().collect::<Vec<_>>() {
        // Anew for each: one that was filled just now may be the nearest for the next.
        let (givers, away) = givers(&site);
        let mut shown = told_away(&site, id, &away);
        shown.warnings.extend(look_first(&site, &givers));
        shown.error = fill(&mut site, id, &givers, &mut shown, control).err();
        done.push(shown);
    }
    Ok(done)
}

/// Writes down what was in stores before this machine had the plan, where it looks at them first: by what is brought now it would
/// seem to have had it then. Why that cannot be kept.
fn look_first(site: &Site<'_>, givers: &[Giver]) -> Vec<String> {
    let made = Made::load(site.plan.folder()).unwrap_or_default();
    let kept = givers.iter().filter_map(|giver| {
        let (store, newest) = (giver.store.label(), giver.catalog.runs().next_back()?.run);
        let found = made.found(&giver.catalog, store)?;
        Some(Made::keep_look(site.plan.folder(), newest, store, &found))
    });
    kept.filter_map(Result::err).collect()
}

/// The stores of the plan that can be read, and why others cannot.
pub(super) fn givers(site: &Site<'_>) -> (Vec<Giver>, Vec<(StoreId, String)>) {
    let (mut found, mut away) = (Vec::new(), Vec::new());
    for (id, _) in site.request.model.each_store() {
        let opened = site.open(id).and_then(|store| Giver::of(id, store, &site.layout));
        match opened {
            Ok(giver) => found.push(giver),
            Err(why) => away.push((id, why)),
        }
    }
    (found, away)
}

/// The beginning of what is told of a store: what others might have that cannot be read.
fn told_away(site: &Site<'_>, id: StoreId, away: &[(StoreId, String)]) -> StoreSync {
    let store = site.request.model.store(id).name.clone();
    // One that holds nothing yet has nothing to give.
    let others = away.iter().filter(|(other, _)| *other != id && site.is_known(*other));
    StoreSync { store, warnings: others.map(|(_, why)| why.clone()).collect(), ..StoreSync::default() }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// What would be brought to a store.
fn look(site: &Site<'_>, id: StoreId, givers: &[Giver], away: &[(StoreId, String)]) -> StoreSync {
    let mut shown = told_away(site, id, away);
    if let Err(error) = began_here(site, id) {
        shown.error = Some(error);
        return shown;
    }
    let own = givers.iter().find(|giver| giver.id == id);
    if own.is_none() {
        let entry = site.entry(id, COMMAND);
        if let Err(error) = entry.open(&Secrets::default()).and_then(|opened| entry.look(&opened)) {
            shown.error = Some(error.to_string());
            return shown;
        }
    }
    let empty = Catalog::default();
    let catalog = own.map_or(&empty, |own| &own.catalog);
    let (wanted, given_up) = lacking(&site.request.model, id, catalog, givers, &site.occasion(id, catalog));
    shown.warnings.extend(unusable(site, id, catalog, givers));
    shown.given_up = given_up;
    let mut there: BTreeSet<String> = names_in(catalog);
    if let Some(own) = own {
        match gone(own.store.as_ref(), catalog, givers, id) {
            Ok(gone) => shown.runs.extend(gone.iter().map(|(run, lost)| Brought::again(run.run, lost))),
            Err(why) => shown.error = Some(why),
        }
    }
    for manifest in wanted {
        shown.runs.push(Brought::of(&manifest, |name| there.insert(name.to_owned())));
    }
    for (source, files) in wal::lacking(&site.request.model, id) {
        shown.log.push(BroughtLog { source, files });
    }
    shown
}

impl Brought {
    /// A run, and those of its artefacts that are new.
    pub fn of(run: &Manifest, mut is_new: impl FnMut(&str) -> bool) -> Brought {
        let new: Vec<&ArchiveRecord> =
            run.archives.iter().filter(|archive| is_new(archive.artefact.as_str())).collect();
        Brought::again(run.run, &new)
    }

    /// These artefacts of a run.
    fn again(run: RunId, new: &[&ArchiveRecord]) -> Brought {
        Brought {
            run,
            bytes: new.iter().map(|archive| archive.size).sum(),
            artefacts: new.iter().map(|archive| archive.artefact.to_string()).collect(),
        }
    }
}

/// Artefacts, each with one of the runs that name it.
type Gone<'c> = Vec<(&'c Manifest, Vec<&'c ArchiveRecord>)>;

/// The artefacts that a store's manifests name and that are gone from it, as another store has them whole.
fn gone<'c>(
    store: &dyn ReadStore,
    own: &'c Catalog,
    givers: &[Giver],
    id: StoreId,
) -> Result<Gone<'c>, String> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let is_elsewhere = |archive: &ArchiveRecord| {
        givers.iter().any(|giver| giver.id != id && giver.catalog.has_whole(archive))
    };
    for run in own.runs() {
        let mut lost = Vec::new();
        for archive in run.archives.iter().filter(|archive| own.loss_of(archive).is_some()) {
            // What is there and is another is a person's to take away.
            let is_gone = store.size(&archive.artefact.object()).map_err(text)?.is_none();
            if is_gone && is_elsewhere(archive) && seen.insert(archive.artefact.as_str()) {
                lost.push(archive);
            }
        }
        found.extend((!lost.is_empty()).then_some((run, lost)));
    }
    Ok(found)
}

pub(super) fn names_in(catalog: &Catalog) -> BTreeSet<String> {
    catalog.runs().flat_map(|run| &run.archives).map(|archive| archive.artefact.to_string()).collect()
}

/// The runs that a store lacks, as it would have them, oldest first; and how many more it would give up at once.
pub(super) fn lacking(
    model: &Model,
    id: StoreId,
    own: &Catalog,
    givers: &[Giver],
    occasion: &Occasion<'_>,
) -> (Vec<Manifest>, usize) {
    let mut with = Catalog::default();
    own.runs().for_each(|run| with.add(run.clone()));
    let mut new: BTreeMap<RunId, Manifest> = BTreeMap::new();
    for run in givers.iter().filter(|giver| giver.id != id).flat_map(|giver| giver.catalog.runs()) {
        let is_there = own.get(&run.run).is_some() || own.unreadable().contains(&run.run);
        let share = if is_there { None } else { share(model, id, run) };
        // One store may have more of it than another: once the run is there it is not added to.
        let has_most = |share: &Manifest| {
            new.get(&share.run).is_none_or(|other| other.archives.len() < share.archives.len())
        };
        new.extend(share.filter(has_most).map(|share| (share.run, share)));
    }
    let mut wanted: Vec<RunId> = new.keys().copied().collect();
    new.into_values().for_each(|run| with.add(run));
    let plan = PrunePlan::make(&with, occasion);
    let stays: BTreeSet<RunId> = match model.store(id).append_only {
        true => with.runs().map(|run| run.run).collect(),
        false => plan.runs.iter().filter(|run| run.stays).map(|run| run.run).collect(),
    };
    let all = wanted.len();
    wanted.retain(|run| stays.contains(run));
    let given_up = all - wanted.len();
    let mut brought: BTreeMap<RunId, Manifest> = BTreeMap::new();
    for run in wanted.iter().filter_map(|run| with.get(run)) {
        let founded = founded(run, &|base| own.get(base).or_else(|| brought.get(base)));
        brought.extend(founded.map(|run| (run.run, run)));
    }
    (brought.into_values().collect(), given_up)
}

/// What of a run is of use in a store that has these runs. What rests on a run that is not there as a run would end a cycle, and an
/// archive whose base there is without its sources could not be restored from there.
fn founded<'c>(run: &Manifest, there: &impl Fn(&RunId) -> Option<&'c Manifest>) -> Option<Manifest> {
    if run.rests_on().iter().any(|base| there(base).is_none()) {
        return None;
    }
    let is_founded = |name: &str, content: &Content| {
        let mut bases = content.rests_on.iter().filter_map(there);
        bases.all(|base| base.base_of(name, &content.source, &content.rests_on).is_some())
    };
    let mut founded = run.clone();
    founded
        .archives
        .retain(|archive| archive.contents.iter().all(|content| is_founded(&archive.name, content)));
    (!founded.archives.is_empty()).then_some(founded)
}

/// What is said of runs that a store has with manifests that cannot be used, and others have whole.
fn unusable(site: &Site<'_>, id: StoreId, own: &Catalog, givers: &[Giver]) -> Vec<String> {
    let others = || givers.iter().filter(|giver| giver.id != id);
    let is_elsewhere = |run: &&RunId| others().any(|giver| giver.catalog.get(run).is_some());
    let told = own.unreadable().iter().filter(is_elsewhere).map(|run| {
        format!(
            "run `{run}` is there with a manifest that cannot be used, so that neither it nor what rests on it is brought: move `{}` out \
             of the store, and `plan sync` brings it",
            site.layout.manifest(run)
        )
    });
    told.chain(strangers(site, others())).collect()
}

/// What is told of runs in these stores that this machine has not made: they are brought all the same, as somebody asks for it.
fn strangers<'g>(site: &Site<'_>, givers: impl Iterator<Item = &'g Giver>) -> Vec<String> {
    let made = Made::load(site.plan.folder()).unwrap_or_default();
    let told = |giver: &Giver| {
        let strange = made.strange(&giver.catalog, giver.store.label());
        made::told_strange(giver.store.label(), &site.layout, &giver.catalog, &strange)
    };
    givers.filter_map(told).collect()
}

/// What of a run goes to a store, as the plan has it; `None`: nothing.
fn share(model: &Model, id: StoreId, run: &Manifest) -> Option<Manifest> {
    let mut share = run.clone();
    let goes =
        |name: &str| model.archives.iter().any(|archive| archive.name == name && archive.to.contains(&id));
    share.archives.retain(|archive| goes(archive.name.as_str()));
    // A tool's backup is in one repository, and no other gets it by being told of it.
    share.repositories.clear();
    share.missing.retain(|missing| goes(missing.name.as_str()));
    (!share.archives.is_empty()).then_some(share)
}

/// A store that is being filled.
pub(super) struct Taker<'a> {
    pub model: &'a Model,
    pub layout: &'a Layout,
    pub id: StoreId,
    pub store: Arc<dyn Store>,
    pub lease: Arc<Lease>,
    pub limits: Vec<Arc<Limit>>,
    pub control: &'a Control,
    /// When it has to end, and what it says then; `None`: once all is there.
    pub until: Option<(Instant, &'static str)>,
    /// Bytes that are to be left free there, where that is known.
    pub spare: u64,
    /// The plan's identity in it.
    pub plan: Uuid,
    /// The plan's folder in this machine's state.
    pub state: &'a Path,
}

/// Whose plan a store is of, this machine says once it has made a run.
fn began_here(site: &Site<'_>, id: StoreId) -> Result<(), String> {
    let declared = site.request.model.store(id);
    match site.plan.known(&declared.name, &declared.location()) {
        None if site.plan.id().is_none() => {
            let name = &site.request.model.name;
            Err(format!("plan `{name}` has made no run here yet: `plan run` makes the first"))
        }
        _ => Ok(()),
    }
}

/// Fills a store.
fn fill(
    site: &mut Site<'_>,
    id: StoreId,
    givers: &[Giver],
    shown: &mut StoreSync,
    control: &Control,
) -> Result<(), String> {
    let model = &site.request.model;
    let declared = model.store(id);
    began_here(site, id)?;
    let (entry, secrets) = (site.entry(id, COMMAND), Secrets::default());
    let opened = entry.open(&secrets).map_err(text)?;
    entry.look(&opened).map_err(text)?;
    let store = entry.made(opened, &secrets).map_err(text)?;
    let lease = site.lease(&entry, &store, (&mut shown.warnings, &mut shown.busy), control)?;
    let format = entry.claimed(store.as_ref()).map_err(text)?;
    site.plan.remember(&declared.name, &declared.location(), format.id).map_err(text)?;
    shown.warnings.extend(site.recover(&site.entry(id, COMMAND), store.as_ref(), &lease)?);
    let lease = Arc::new(lease);
    let own = Giver::of(id, Arc::clone(&store), &site.layout)?.catalog;
    let (wanted, given_up) = lacking(model, id, &own, givers, &site.occasion(id, &own));
    shown.warnings.extend(unusable(site, id, &own, givers));
    shown.given_up = given_up;
    let limits =
        [declared.bandwidth, model.limits.bandwidth].into_iter().flatten().map(Limit::new).map(Arc::new);
    let (limits, layout) = (limits.collect(), &site.layout);
    let (plan, state) = (format.id, site.plan.folder());
    let taker =
        Taker { model, layout, id, store, lease, limits, control, until: None, spare: 0, plan, state };
    let done = taker.put_back(&own, givers, shown).and_then(|()| taker.take(wanted, givers, shown));
    let logs = done.and_then(|()| wal::bring_to(&site.request.model, id, control).map_err(text));
    for (source, files, failed) in logs.as_deref().unwrap_or_default() {
        shown.warnings.extend(failed.iter().cloned());
        if *files > 0 {
            shown.log.push(BroughtLog { source: source.clone(), files: *files });
        }
    }
    let Taker { lease, .. } = taker;
    if let Some(lease) = Arc::into_inner(lease) {
        lease.keep_room();
        lease.release().map_err(text)?;
    }
    logs.map(drop)
}

impl Taker<'_> {
    /// Whether it may go on.
    fn check(&self) -> Result<(), String> {
        self.control.check().map_err(text)?;
        match self.until {
            Some((until, why)) if Instant::now() >= until => Err(why.to_owned()),
            _ => Ok(()),
        }
    }

    /// Brings runs, oldest first. One that cannot be had keeps those away that rest on it, and no others.
    pub fn take(&self, wanted: Vec<Manifest>, givers: &[Giver], shown: &mut StoreSync) -> Result<(), String> {
        let mut failed: BTreeSet<RunId> = BTreeSet::new();
        for run in wanted {
            self.check().map_err(|why| format!("{why}; the next sync goes on"))?;
            if let Some(base) = run.rests_on().into_iter().find(|base| failed.contains(base)) {
                shown.warnings.push(format!(
                    "run `{}` was not brought, as `{base}` was not, on which it rests",
                    run.run
                ));
                failed.insert(run.run);
                continue;
            }
            match self.bring(&run, givers, &mut shown.warnings) {
                Ok(brought) => shown.runs.push(brought),
                Err(SyncTrouble::Here(why)) => return Err(format!("{why}; the next sync goes on")),
                Err(SyncTrouble::There(why)) => {
                    shown.warnings.push(format!("run `{}` was not brought: {why}", run.run));
                    failed.insert(run.run);
                }
            }
        }
        Ok(())
    }

    /// Brings artefacts that the store's own manifests name and that are gone from it: those runs are committed, and whole again with
    /// that.
    fn put_back(&self, own: &Catalog, givers: &[Giver], shown: &mut StoreSync) -> Result<(), String> {
        for (run, lost) in gone(self.store.as_ref(), own, givers, self.id)? {
            self.check().map_err(|why| format!("{why}; the next sync goes on"))?;
            match self.put_back_of(run, &lost, givers, &mut shown.warnings) {
                Ok(()) => shown.runs.push(Brought::again(run.run, &lost)),
                Err(SyncTrouble::Here(why)) => return Err(format!("{why}; the next sync goes on")),
                Err(SyncTrouble::There(why)) => {
                    let run = run.run;
                    shown.warnings.push(format!("what run `{run}` lacks was not brought: {why}"));
                }
            }
        }
        Ok(())
    }

    fn put_back_of(
        &self,
        run: &Manifest,
        lost: &[&ArchiveRecord],
        givers: &[Giver],
        warnings: &mut Vec<String>,
    ) -> Result<(), SyncTrouble> {
        self.has_room(lost.iter().map(|archive| archive.size).sum())?;
        let names = lost.iter().map(|archive| archive.artefact.to_string());
        let intent = Intent::new(run.run, run.nonce, names);
        let (store, layout) = (Arc::clone(&self.store), self.layout.clone());
        let lease = Arc::clone(&self.lease);
        let transaction = Transaction::resume(store, layout, lease, Arc::new(mark), intent);
        let Some(transaction) = transaction.map_err(SyncTrouble::here)? else {
            return Err(SyncTrouble::There("its manifest has gone".to_owned()));
        };
        for archive in lost {
            self.copy(&transaction, archive, givers)?;
        }
        warnings.extend(self.hold(run)?.iter().try_for_each(Hold::before).err());
        Ok(())
    }

    /// What of a run the store is to hold itself.
    fn hold(&self, run: &Manifest) -> Result<Option<Hold>, SyncTrouble> {
        let immutable = self.model.store(self.id).immutable;
        let hold = immutable.map(|immutable| Hold::of(Arc::clone(&self.store), self.layout, run, immutable));
        hold.transpose().map_err(SyncTrouble::here)
    }

    /// Whether a run is none that this machine has made, as a store has it: by being brought it becomes none.
    fn is_strange(&self, run: RunId, givers: &[Giver]) -> bool {
        let made = Made::load(self.state).unwrap_or_default();
        let is_strange = |giver: &Giver| {
            made.strange(&giver.catalog, giver.store.label()).iter().any(|(other, _)| *other == run)
        };
        givers.iter().any(is_strange)
    }

    /// Brings one run, with the protocol of a run that is made: its manifest is last.
    fn bring(
        &self,
        run: &Manifest,
        givers: &[Giver],
        warnings: &mut Vec<String>,
    ) -> Result<Brought, SyncTrouble> {
        let mut manifest = self.manifest(run, givers)?;
        manifest.plan.id = self.plan;
        let mut wanted = Vec::new();
        for archive in &run.archives {
            if !self.has(archive)? {
                wanted.push(archive);
            }
        }
        self.has_room(wanted.iter().map(|archive| archive.size).sum())?;
        let names = wanted.iter().map(|archive| archive.artefact.to_string());
        let intent = Intent::new(run.run, run.nonce, names);
        let (store, layout) = (Arc::clone(&self.store), self.layout.clone());
        let lease = Arc::clone(&self.lease);
        let is_own = !self.is_strange(run.run, givers);
        if is_own {
            warnings.extend(Made::keep_intended(self.state, run.run).err());
        }
        let begun = Transaction::begin(store, layout, lease, Arc::new(mark), intent);
        let transaction = begun.map_err(|error| match error {
            CommitError::ArtefactExists { .. } => SyncTrouble::There(error.to_string()),
            error => SyncTrouble::here(error),
        })?;
        for archive in &wanted {
            if let Err(trouble) = self.copy(&transaction, archive, givers) {
                // What was sent of the run is of no use without the rest.
                transaction.undo().map_err(SyncTrouble::here)?;
                return Err(trouble);
            }
        }
        let bytes = manifest.to_bytes().map_err(SyncTrouble::here)?;
        if is_own {
            warnings.extend(Made::keep(self.state, run.run, &bytes).err());
        }
        let hold = self.hold(&manifest)?;
        let held = hold.iter().try_for_each(Hold::before);
        let _ = transaction.commit(&manifest).map_err(SyncTrouble::here)?;
        if is_own {
            warnings.extend(Made::keep_done(self.state, run.run, self.store.label()).err());
        }
        let held = held.and_then(|()| hold.iter().try_for_each(Hold::after));
        warnings.extend(held.err());
        Ok(Brought::of(run, |name| wanted.iter().any(|archive| archive.artefact.as_str() == name)))
    }

    /// Sees that a run fits into a folder, and leaves as much as is wanted.
    fn has_room(&self, bytes: u64) -> Result<(), SyncTrouble> {
        let Some(folder) = self.model.store(self.id).folder() else { return Ok(()) };
        let Ok(there) = rustix::fs::statvfs(folder) else { return Ok(()) };
        let free = there.f_bavail.saturating_mul(there.f_frsize);
        if bytes == 0 || bytes.saturating_add(self.spare) <= free {
            return Ok(());
        }
        let spare = match self.spare {
            0 => String::new(),
            spare => format!(", of which {spare} are left for the next backup"),
        };
        let label = self.store.label();
        Err(SyncTrouble::Here(format!(
            "a run of {bytes} B is lacking, and store `{label}` has {free} B free{spare}: make room there, or keep less"
        )))
    }

    /// Whether an artefact is there already, whole: of an earlier run that this one points to, or of one that was cut short.
    fn has(&self, archive: &ArchiveRecord) -> Result<bool, SyncTrouble> {
        let name = archive.artefact.object();
        if self.store.size(&name).map_err(SyncTrouble::here)? != Some(archive.size) {
            return Ok(false);
        }
        let digest = digest(self.store.as_ref(), &name, archive.size, &|| self.check(), |_| Ok(()))
            .map_err(SyncTrouble::Here)?;
        Ok(archive.sha256.as_ref().is_some_and(|wanted| **wanted == *digest))
    }

    /// The manifest with its details, from the first store that has them.
    fn manifest(&self, run: &Manifest, givers: &[Giver]) -> Result<Manifest, SyncTrouble> {
        if run.second != Second::Left {
            return Ok(run.clone());
        }
        let name = self.layout.manifest(&run.run);
        let mut why = "no store has it any more".to_owned();
        for giver in self.others(givers).filter(|giver| giver.catalog.get(&run.run).is_some()) {
            let read = giver.store.read_range(&name, 0, MAX_BYTES + 1).map_err(text);
            match read.and_then(|bytes| Manifest::parse(name.as_str(), &bytes).map_err(text)) {
                Ok(whole) => return Ok(Manifest { second: whole.second, ..run.clone() }),
                Err(error) => why = error,
            }
        }
        Err(SyncTrouble::There(why))
    }

    fn others<'g>(&self, givers: &'g [Giver]) -> impl Iterator<Item = &'g Giver> + use<'g, '_> {
        givers.iter().filter(|giver| giver.id != self.id)
    }

    /// Copies an artefact from the first store that has it as its manifest says. Its digest is checked on the way, so that
    /// damage is not spread.
    fn copy(
        &self,
        transaction: &Transaction,
        archive: &ArchiveRecord,
        givers: &[Giver],
    ) -> Result<(), SyncTrouble> {
        let Some(wanted) = &archive.sha256 else {
            return Err(SyncTrouble::There(format!("its manifest has no digest of `{}`", archive.artefact)));
        };
        let name = archive.artefact.object();
        let mut why = Vec::new();
        for giver in self.others(givers) {
            if !matches!(giver.store.size(&name), Ok(Some(size)) if size == archive.size) {
                continue;
            }
            let upload =
                transaction.upload(&archive.artefact, Some(archive.size)).map_err(SyncTrouble::here)?;
            let label = &self.model.store(self.id).name;
            let mut upload = limited(upload, label, self.limits.clone(), self.control);
            let mut trouble = None;
            let read = digest(giver.store.as_ref(), &name, archive.size, &|| self.check(), |bytes| {
                let mut pieces = bytes.chunks(CHUNK);
                let sent = pieces.try_for_each(|piece| {
                    self.check()?;
                    upload.write(piece).map_err(text)
                });
                sent.inspect_err(|error| trouble = Some(error.clone()))
            });
            match (read, trouble) {
                (_, Some(error)) => return Err(SyncTrouble::Here(error)),
                (Ok(found), None) if **wanted == *found => {
                    return transaction.finish(upload, &archive.artefact).map_err(SyncTrouble::here);
                }
                (Ok(_), None) => why.push(format!(
                    "`{}` in store `{}` is not what its manifest says: `plan verify` tells more",
                    archive.artefact,
                    giver.store.label()
                )),
                (Err(error), None) => why.push(error),
            }
            self.check().map_err(SyncTrouble::Here)?;
        }
        if why.is_empty() {
            why.push(format!("no store has `{}` as its manifest says", archive.artefact));
        }
        Err(SyncTrouble::There(why.join("; ")))
    }
}

/// Whose trouble it is: that of the store that is filled, and so of all that follows, or of what is brought.
enum SyncTrouble {
    Here(String),
    There(String),
}

impl SyncTrouble {
    fn here(error: impl ToString) -> SyncTrouble {
        SyncTrouble::Here(error.to_string())
    }
}

/// The digest of an object, whose bytes are handed on.
fn digest(
    store: &dyn ReadStore,
    name: &Name,
    size: u64,
    check: &dyn Fn() -> Result<(), String>,
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<String, String> {
    let (mut sum, mut at) = (Sha256::new(), 0);
    while at < size {
        check()?;
        let length = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        let bytes = store.read_range(name, at, length).map_err(text)?;
        if bytes.len() != length {
            return Err(format!("store `{}`: `{name}` ends early", store.label()));
        }
        sum.update(&bytes);
        take(&bytes)?;
        at += length as u64;
    }
    Ok(crate::text::hex(&sum.finalize()))
}
