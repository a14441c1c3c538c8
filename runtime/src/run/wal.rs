//! The steps of a run that look after archives of logs. What is in them is written by the servers.

use std::collections::BTreeMap;

use backplan_compiler::graph::{Action, StepGraph, StepId};
use backplan_compiler::model::{Model, Source, SourceId, StoreId};
use jiff::Timestamp;

use super::coordinator::Failure;
use super::worker::Worker;
use crate::catalog::ids::RunId;
use crate::catalog::layout::Layout;
use crate::catalog::prune::refusals;
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::programs::secrets::Secrets;
use crate::store::{self, ReadStore};
use crate::wal::archive::{Access, Archive};
use crate::wal::expiry::{Base, Expired, expired};
use crate::wal::held::Held;
use crate::wal::name::WalName;
use crate::wal::survey::Survey;
use crate::wal::{self, WalError, bring};

impl Worker {
    /// Makes the archive where the store is known to be the right one; else sees that it is there.
    pub(super) fn open_wal(
        &self,
        step: &StepId,
        at: usize,
        store: StoreId,
        control: &Control,
    ) -> Result<(), Failure> {
        let model = &self.request.model;
        let source = model.source(model.wals[at].source);
        let (declared, access) = (model.store(store), access(model, at, &self.secrets.under(control)));
        let is_ours = self.sessions.get(&store).is_some_and(|session| session.held().store.is_some());
        let done = if is_ours {
            wal::init(model, source, declared, &access)
                .and_then(|_| Archive::open(declared, &model.name, &source.name, &access)?.sweep())
        } else {
            Archive::open(declared, &model.name, &source.name, &access).map(drop)
        };
        done.map_err(|error| match error {
            WalError::NoArchive { .. } => Failure::lasting(no_archive(&error, model, source)),
            error => Failure::passing(error),
        })?;
        self.complete_wal(step, at, store, control)
    }

    /// Brings to an archive what others have and it lacks, and histories that its server never archived.
    fn complete_wal(
        &self,
        step: &StepId,
        at: usize,
        store: StoreId,
        control: &Control,
    ) -> Result<(), Failure> {
        let model = &self.request.model;
        let secrets = self.secrets.under(control);
        let archive = opened(model, at, store, &secrets).map_err(Failure::passing)?;
        let source = model.source(model.wals[at].source);
        if let Some(postgres) = source.postgres()
            && let Some(data) = postgres.data_dir.as_ref().filter(|data| data.join("pg_wal").is_dir())
        {
            match bring::histories(&archive, data, self.request.clock.now()) {
                Ok(brought) => brought.iter().for_each(|name| {
                    self.note(format!("store `{}`: `{name}` was never archived, and is now", archive.label));
                }),
                Err(error) => {
                    self.warn(step, format!("histories of `{}` are not archived: {error}", source.name))
                }
            }
        }
        let brought = bring::from_others(&archive, &others(model, at, store, &secrets), control)
            .map_err(|_| Failure::stopped())?;
        if let (Some(first), Some(last)) = (brought.files.first(), brought.files.last()) {
            let (label, files) = (&archive.label, files(brought.files.len()));
            self.note(format!(
                "store `{label}`: {files} of the log that it lacked brought there, from {first} to {last}"
            ));
        }
        for why in brought.failed {
            self.warn(
                step,
                format!("store `{}` lacks some of the log that another has: {why}", archive.label),
            );
        }
        Ok(())
    }

    /// Deletes of the log what no kept backup needs.
    pub(super) fn expire_wal(
        &self,
        step: &StepId,
        at: usize,
        store: StoreId,
        control: &Control,
    ) -> Result<(), Failure> {
        let model = &self.request.model;
        let source = model.wals[at].source;
        let mut bases = BTreeMap::new();
        for holder in holders(model, source) {
            let store = self.sessions.get(&holder).and_then(|session| session.held().store.clone());
            let read = store.ok_or_else(|| "it has dropped out".to_owned());
            let read = read.and_then(|store| self.needing(store.as_ref(), holder, source, &mut bases));
            if let Err(why) = read {
                let name = &model.store(holder).name;
                self.warn(
                    step,
                    format!(
                        "nothing of the log is deleted, as store `{name}` cannot say what it needs: {why}"
                    ),
                );
                return Ok(());
            }
        }
        let bases: Vec<Base> = bases.into_values().collect();
        let archive = opened(model, at, store, &self.secrets.under(control)).map_err(Failure::passing)?;
        let gone =
            going(model, at, store, &archive, &bases, self.request.clock.now()).map_err(Failure::passing)?;
        let lasting = |error: WalError| Failure::lasting(format!("{error}; the next run goes on"));
        for Expired { cluster, kept_from, files } in &gone {
            // Before the first is gone: what was given up must not look like what was lost.
            archive.note_kept_from(cluster, *kept_from).map_err(lasting)?;
            for (name, held) in files {
                control.check().map_err(|_| Failure::stopped())?;
                archive.delete(cluster, *name, *held).map_err(lasting)?;
            }
        }
        let names: Vec<&WalName> =
            gone.iter().flat_map(|expired| &expired.files).map(|(name, _)| name).collect();
        if let (Some(first), Some(last)) = (names.first(), names.last()) {
            let (store, count) = (&model.store(store).name, files(names.len()));
            self.note(format!("store `{store}`: {count} of the log deleted, from {first} to {last}"));
        }
        Ok(())
    }
}

impl Worker {
    /// The backups of a source that a store has; none where a prune would not believe what it sees either.
    fn needing(
        &self,
        store: &dyn ReadStore,
        id: StoreId,
        source: SourceId,
        bases: &mut BTreeMap<RunId, Base>,
    ) -> Result<(), String> {
        let model = &self.request.model;
        let catalog = Catalog::load(store, &self.layout).map_err(|error| error.to_string())?;
        let occasion = self.occasion_of(id, self.current(&catalog));
        match refusals(&catalog, &occasion).first() {
            Some(why) => Err(why.to_string()),
            None => bases_of(&catalog, &model.source(source).name, bases),
        }
    }
}

/// The stores whose backups of a source may need its log.
fn holders(model: &Model, source: SourceId) -> Vec<StoreId> {
    let archives = model.archives.iter().filter(|archive| archive.from.contains(&source));
    let mut stores: Vec<StoreId> = archives.flat_map(|archive| archive.to.iter().copied()).collect();
    stores.sort();
    stores.dedup();
    stores
}

fn bases_of(catalog: &Catalog, name: &str, bases: &mut BTreeMap<RunId, Base>) -> Result<(), String> {
    if let Some(run) = catalog.unreadable().first() {
        return Err(format!("the manifest of run `{run}` cannot be read"));
    }
    bases.extend(catalog.runs().filter_map(|run| Some((run.run, Base::of(run, name)?))));
    Ok(())
}

/// How a run reaches the archives of a `wal` block.
fn access(model: &Model, at: usize, secrets: &Secrets) -> Access {
    Access { secrets: secrets.clone(), recipients: model.wals[at].encrypt.clone(), ..Access::default() }
}

fn opened(model: &Model, at: usize, store: StoreId, secrets: &Secrets) -> Result<Archive, WalError> {
    let (declared, source) = (model.store(store), model.source(model.wals[at].source));
    Archive::open(declared, &model.name, &source.name, &access(model, at, secrets))
}

fn going(
    model: &Model,
    at: usize,
    store: StoreId,
    archive: &Archive,
    bases: &[Base],
    now: Timestamp,
) -> Result<Vec<Expired>, WalError> {
    match model.wal_keep(&model.wals[at]) {
        Some(keep) => expired(archive, bases, keep, model.store(store).immutable, now),
        None => Ok(Vec::new()),
    }
}

fn files(count: usize) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}

/// The archives of the same log in other stores, as far as they can be opened.
fn others(model: &Model, at: usize, store: StoreId, secrets: &Secrets) -> Vec<Archive> {
    let others = model.wals[at].to.iter().filter(|other| **other != store);
    others.filter_map(|other| opened(model, at, *other, secrets).ok()).collect()
}

/// Files that the archives of logs in a store lack and others have, by source.
pub(super) fn lacking(model: &Model, store: StoreId) -> Vec<(String, usize)> {
    let secrets = Secrets::default();
    let goes_there = |at: &usize| model.wals[*at].to.contains(&store);
    let each = (0..model.wals.len()).filter(goes_there).filter_map(|at| {
        let others = others(model, at, store, &secrets);
        let files = match opened(model, at, store, &secrets) {
            Ok(archive) => bring::count(&archive, &others).ok()?,
            Err(WalError::NoArchive { .. }) => bring::all(&others).ok()?,
            Err(_) => return None,
        };
        Some((model.source(model.wals[at].source).name.clone(), files))
    });
    each.filter(|(_, files)| *files > 0).collect()
}

/// Brings to the archives of logs in a store what they lack and others have: by source how many files, and what could not be
/// brought.
///
/// # Errors
/// When an archive cannot be made or opened, or it is asked to stop.
pub(super) fn bring_to(
    model: &Model,
    store: StoreId,
    control: &Control,
) -> Result<Vec<(String, usize, Vec<String>)>, String> {
    let secrets = Secrets::default().under(control);
    let mut done = Vec::new();
    for at in (0..model.wals.len()).filter(|at| model.wals[*at].to.contains(&store)) {
        let source = model.source(model.wals[at].source);
        let access = access(model, at, &secrets);
        wal::init(model, source, model.store(store), &access).map_err(|error| error.to_string())?;
        let archive = opened(model, at, store, &secrets).map_err(|error| error.to_string())?;
        let brought = bring::from_others(&archive, &others(model, at, store, &secrets), control);
        let brought = brought.map_err(|stopped| stopped.to_string())?;
        done.push((source.name.clone(), brought.files.len(), brought.failed));
    }
    Ok(done)
}

fn no_archive(error: &WalError, model: &Model, source: &Source) -> String {
    format!(
        "{error}; no run writes anything else there, so none can tell: mount the right one, or make the archive with \
         `plan wal init {} {}`",
        model.file.display(),
        source.name
    )
}

/// Why a run could not use an archive of a log, in its own words.
pub(crate) fn unusable(model: &Model, at: usize, store: StoreId) -> Option<String> {
    let source = model.source(model.wals[at].source);
    let is_ours = model.archives.iter().any(|archive| archive.to.contains(&store));
    match opened(model, at, store, &Secrets::default()) {
        Ok(_) => None,
        Err(WalError::NoArchive { .. }) if is_ours => None,
        Err(error @ WalError::NoArchive { .. }) => Some(no_archive(&error, model, source)),
        Err(error) => Some(error.to_string()),
    }
}

/// What the run to come would find of an archive, and what would make it fail.
pub(super) fn look(
    model: &Model,
    graph: &StepGraph,
    at: usize,
    store: StoreId,
) -> (Option<String>, Option<String>) {
    let (declared, source) = (model.store(store), model.source(model.wals[at].source));
    let secrets = Secrets::default();
    let is_ours = graph.iter().any(|step| step.action == Action::LockStore(store));
    let own = wal::archive::place(declared, &model.name, &source.name);
    match opened(model, at, store, &secrets) {
        Ok(archive) => {
            let lacking = bring::count(&archive, &others(model, at, store, &secrets)).unwrap_or_default();
            let more = match lacking {
                0 => String::new(),
                count => format!("; would bring {} of the log there that it lacks", files(count)),
            };
            (Some(format!("its archive is `{own}`{more}")), None)
        }
        Err(WalError::NoArchive { .. }) if is_ours => (Some(format!("would make `{own}`")), None),
        Err(error @ WalError::NoArchive { .. }) => (None, Some(no_archive(&error, model, source))),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// The first base backup, which is still to come: it begins behind what is archived.
fn first_base(archive: &Archive, now: Timestamp) -> Result<Option<Base>, WalError> {
    let clusters = archive.clusters()?;
    let [cluster] = clusters.as_slice() else { return Ok(None) };
    let survey = Survey::of(archive, cluster)?;
    let Some(last) = survey.segments.last() else { return Ok(None) };
    let (first, stop) = (last.next(survey.bytes), last.end(survey.bytes));
    Ok(Some(Base {
        cluster: cluster.clone(),
        ended: now,
        timeline: last.timeline,
        first,
        start: None,
        stop,
        has_own: true,
    }))
}

/// What the run to come would delete of a log: by the backups that there are, and the one that it would make.
///
/// # Errors
/// Why it cannot be told.
pub(super) fn foresee(
    model: &Model,
    layout: &Layout,
    at: usize,
    store: StoreId,
    kept: &dyn Fn(StoreId, RunId) -> bool,
    now: Timestamp,
) -> Result<Vec<String>, String> {
    let source = model.wals[at].source;
    let mut bases = BTreeMap::new();
    for holder in holders(model, source) {
        let declared = model.store(holder);
        let opened = store::open(declared, &Secrets::default()).map_err(|error| error.to_string())?;
        let mut here = BTreeMap::new();
        let catalog = Catalog::load(opened.as_ref(), layout).map_err(|error| error.to_string())?;
        bases_of(&catalog, &model.source(source).name, &mut here)?;
        bases.extend(here.into_iter().filter(|(run, _)| kept(holder, *run)));
    }
    let mut bases: Vec<Base> = bases.into_values().collect();
    if let Some(newest) = bases.iter().max_by_key(|base| base.ended).cloned() {
        bases.push(Base { ended: now.max(newest.ended), ..newest });
    }
    let archive = match opened(model, at, store, &Secrets::default()) {
        Err(WalError::NoArchive { .. }) => return Ok(Vec::new()),
        archive => archive.map_err(|error| error.to_string())?,
    };
    if bases.is_empty() {
        bases.extend(first_base(&archive, now).map_err(|error| error.to_string())?);
    }
    let gone = going(model, at, store, &archive, &bases, now).map_err(|error| error.to_string())?;
    let label = &model.store(store).name;
    let named = |expired: Expired| {
        let (cluster, place) = (expired.cluster, archive.place());
        let files = expired.files.into_iter();
        let shown = |(name, held): (WalName, Held)| {
            format!("{label}:{place}/{cluster}/{}", name.object(held.is_sealed))
        };
        files.map(shown).collect::<Vec<_>>()
    };
    Ok(gone.into_iter().flat_map(named).collect())
}
