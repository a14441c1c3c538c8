//! Archives of logs: there, complete, and rid of what no kept backup needs.

use std::collections::BTreeMap;

use backplan_compiler::model::{Model, Source, SourceId, StoreId};
use jiff::Timestamp;

use super::{Ahead, Doing, Failure, Performed, Scene, Sight, StepPlan, done};
use crate::catalog::ids::RunId;
use crate::catalog::prune::refusals;
use crate::control::Control;
use crate::postgres::wal::archive::{Archive, place};
use crate::postgres::wal::expiry::{Base, Expired, expired};
use crate::postgres::wal::held::HeldFile;
use crate::postgres::wal::name::WalName;
use crate::postgres::wal::survey::Survey;
use crate::postgres::wal::{self, WalError, bring};
use crate::run::wal::{access, no_archive, opened, others};

/// An archive of a log that the run sees to, by the place of its `wal` in the model.
pub(crate) struct OpenPlan<'a> {
    at: usize,
    store: StoreId,
    source: &'a Source,
    /// `None`: it is made.
    archive: Option<Archive>,
    /// The store is known to be the right one: the archive is made there.
    is_ours: bool,
}

impl<'a> OpenPlan<'a> {
    /// Sees whether it is there.
    ///
    /// # Errors
    /// When it is not, and no run makes it; or it cannot be opened.
    pub fn make(
        scene: Scene<'a>,
        (at, store): (usize, StoreId),
        control: &Control,
    ) -> Result<OpenPlan<'a>, Failure> {
        let model = scene.model();
        let (source, is_ours) = (model.source(model.wals[at].source), scene.has(store));
        let secrets = scene.context.secrets.under(control);
        let archive = match opened(model, at, store, &secrets) {
            Ok(archive) => Some(archive),
            Err(WalError::NoArchive { .. }) if is_ours => None,
            Err(error @ WalError::NoArchive { .. }) => {
                return Err(Failure::lasting(no_archive(&error, model, source)));
            }
            Err(error) => return Err(Failure::passing(error)),
        };
        Ok(OpenPlan { at, store, source, archive, is_ours })
    }
}

impl StepPlan for OpenPlan<'_> {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let context = ahead.scene.context;
        let (model, declared) = (context.model(), context.model().store(self.store));
        let own = place(declared, &model.name, &self.source.name);
        let found = match &self.archive {
            None => format!("would make `{own}`"),
            Some(archive) => {
                let others = others(model, self.at, self.store, &context.secrets);
                let more = match bring::count(archive, &others).unwrap_or_default() {
                    0 => String::new(),
                    count => format!("; would bring {} of the log there that it lacks", files(count)),
                };
                format!("its archive is `{own}`{more}")
            }
        };
        (Sight::found(found), done())
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let model = doing.context.model();
        let (declared, access) = (model.store(self.store), access(model, self.at, &doing.secrets()));
        let archive = match self.archive {
            Some(archive) if !self.is_ours => Ok(archive),
            _ => wal::init(model, self.source, declared, &access).and_then(|_| {
                let archive = Archive::open(declared, &model.name, &self.source.name, &access)?;
                archive.sweep()?;
                Ok(archive)
            }),
        };
        let archive = archive.map_err(|error| match error {
            WalError::NoArchive { .. } => Failure::lasting(no_archive(&error, model, self.source)),
            error => Failure::passing(error),
        })?;
        bring_histories(doing, self.source, &archive);
        let others = others(model, self.at, self.store, &doing.secrets());
        bring_files(doing, &archive, &others)?;
        done()
    }
}

/// Brings to an archive the histories that its server never archived.
fn bring_histories(doing: &Doing<'_>, source: &Source, archive: &Archive) {
    let Some(postgres) = source.postgres() else { return };
    let Some(data) = postgres.data_dir.as_ref().filter(|data| data.join("pg_wal").is_dir()) else { return };
    match bring::histories(archive, data, doing.context.request.clock.now()) {
        Ok(brought) => brought.iter().for_each(|name| {
            doing.note(format!("store `{}`: `{name}` was never archived, and is now", archive.label));
        }),
        Err(error) => doing.warn(format!("histories of `{}` are not archived: {error}", source.name)),
    }
}

/// Brings to an archive what others have and it lacks.
fn bring_files(doing: &Doing<'_>, archive: &Archive, others: &[Archive]) -> Result<(), Failure> {
    let brought = bring::from_others(archive, others, doing.control).map_err(|_| Failure::stopped())?;
    let label = &archive.label;
    if let (Some(first), Some(last)) = (brought.files.first(), brought.files.last()) {
        let files = files(brought.files.len());
        doing.note(format!(
            "store `{label}`: {files} of the log that it lacked brought there, from {first} to {last}"
        ));
    }
    for why in brought.failed {
        doing.warn(format!("store `{label}` lacks some of the log that another has: {why}"));
    }
    Ok(())
}

/// What of a log no kept backup needs.
pub(crate) enum ExpirePlan {
    /// Nothing of it goes, for this reason: a store does not say what it needs.
    Kept(String),
    /// These go, of this archive.
    Going(Archive, Vec<Expired>, StoreId),
    /// In a dry run: the archive would be made.
    ToBeMade(WalError),
}

impl ExpirePlan {
    /// Looks what is needed.
    ///
    /// # Errors
    /// When the archive does not tell what is in it.
    pub fn make(
        scene: Scene<'_>,
        (at, store): (usize, StoreId),
        control: &Control,
    ) -> Result<ExpirePlan, Failure> {
        let (model, now) = (scene.model(), scene.context.now());
        let source = model.wals[at].source;
        let mut bases = BTreeMap::new();
        for holder in holders(model, source) {
            if let Err(why) = needing(scene, holder, source, &mut bases) {
                let name = &model.store(holder).name;
                return Ok(ExpirePlan::Kept(format!(
                    "nothing of the log is deleted, as store `{name}` cannot say what it needs: {why}"
                )));
            }
        }
        let archive = match opened(model, at, store, &scene.context.secrets.under(control)) {
            Err(error @ WalError::NoArchive { .. }) => return Ok(ExpirePlan::ToBeMade(error)),
            archive => archive.map_err(Failure::passing)?,
        };
        let mut bases: Vec<Base> = bases.into_values().collect();
        if !scene.facts.ahead.coming.is_empty() {
            bases.extend(to_come(&archive, &bases, now).map_err(Failure::passing)?);
        }
        let going = match model.wal_keep(&model.wals[at]) {
            Some(keep) => expired(&archive, &bases, keep, model.store(store).immutable, now),
            None => Ok(Vec::new()),
        };
        Ok(ExpirePlan::Going(archive, going.map_err(Failure::passing)?, store))
    }
}

impl StepPlan for ExpirePlan {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let mut sight = Sight::default();
        match *self {
            ExpirePlan::Kept(why) => sight.warnings.push(why),
            ExpirePlan::ToBeMade(_) => {}
            ExpirePlan::Going(archive, going, store) => {
                let label = &ahead.scene.model().store(store).name;
                for Expired { cluster, files, .. } in going {
                    let place = archive.place();
                    let shown = |(name, held): (WalName, HeldFile)| {
                        format!("{label}:{place}/{cluster}/{}", name.object(held.is_sealed))
                    };
                    sight.would_delete.extend(files.into_iter().map(shown));
                }
            }
        }
        (sight, done())
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let (archive, gone, store) = match *self {
            ExpirePlan::Kept(why) => {
                doing.warn(why);
                return done();
            }
            ExpirePlan::ToBeMade(error) => return Err(Failure::passing(error)),
            ExpirePlan::Going(archive, gone, store) => (archive, gone, store),
        };
        let lasting = |error: WalError| Failure::lasting(format!("{error}; the next run goes on"));
        for Expired { cluster, kept_from, files } in &gone {
            // Before the first is gone: what was given up must not look like what was lost.
            archive.note_kept_from(cluster, *kept_from).map_err(lasting)?;
            for (name, held) in files {
                doing.control.check().map_err(|_| Failure::stopped())?;
                archive.delete(cluster, *name, *held).map_err(lasting)?;
            }
        }
        let names: Vec<&WalName> =
            gone.iter().flat_map(|expired| &expired.files).map(|(name, _)| name).collect();
        if let (Some(first), Some(last)) = (names.first(), names.last()) {
            let (store, count) = (&doing.context.model().store(store).name, files(names.len()));
            doing.note(format!("store `{store}`: {count} of the log deleted, from {first} to {last}"));
        }
        done()
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

/// The backups of a source that a store has; none where a prune would not believe what it sees either.
fn needing(
    scene: Scene<'_>,
    id: StoreId,
    source: SourceId,
    bases: &mut BTreeMap<RunId, Base>,
) -> Result<(), String> {
    let store = scene.store(id).map_err(|_| "it has dropped out".to_owned())?;
    let catalog = scene.catalog(id, store.as_deref()).map_err(|error| error.to_string())?;
    if let Some(why) = refusals(&catalog, &scene.occasion(id, &catalog)).first() {
        return Err(why.to_string());
    }
    if let Some(run) = catalog.unreadable().first() {
        return Err(format!("the manifest of run `{run}` cannot be read"));
    }
    let name = &scene.model().source(source).name;
    bases.extend(catalog.runs().filter_map(|run| Some((run.run, Base::of(run, name)?))));
    Ok(())
}

/// In a dry run, the base backup that is still to come: as the one before it, or, where it is the first, behind what is archived.
fn to_come(archive: &Archive, bases: &[Base], now: Timestamp) -> Result<Option<Base>, WalError> {
    if let Some(newest) = bases.iter().max_by_key(|base| base.ended) {
        return Ok(Some(Base { ended: now.max(newest.ended), ..newest.clone() }));
    }
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

fn files(count: usize) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}
