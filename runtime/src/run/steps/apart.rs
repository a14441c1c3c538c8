//! Sources kept apart from every archive in a run: a backup in each of their repositories, one repository a store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use backplan_compiler::lower::repository;
use backplan_compiler::model::{Level, Postgres, Separate, Source, SourceId, Store, StoreId, Worded};

use super::{Ahead, Doing, Failure, FailureKind, Output, Performed, Scene, Sight, StepPlan, done, dump};
use crate::catalog::identity::{self, IdentityError};
use crate::catalog::made::Made;
use crate::catalog::runs::Catalog;
use crate::machine::host_name;
use crate::postgres::apart::Apart;
use crate::postgres::driver;
use crate::postgres::repository::{Repository, RepositoryError};
use crate::programs::secrets::Secrets;
use crate::run::context::no_secret;
use crate::run::databases::Cluster;
use crate::run::facts::{ApartFact, SourceFact};
use crate::run::output::SourceOutput;
use crate::store::{StoreError, StoreErrorKind};

/// A source's own repository in a store.
#[derive(Clone, Copy)]
struct Own<'a> {
    id: SourceId,
    source: &'a Source,
    postgres: &'a Postgres,
    separate: &'a Separate,
    store: StoreId,
}

impl<'a> Own<'a> {
    fn of(scene: Scene<'a>, id: SourceId, store: StoreId) -> Option<Own<'a>> {
        let model = scene.model();
        let (source, separate) = (model.source(id), model.separate(id)?);
        Some(Own { id, source, postgres: source.postgres()?, separate, store })
    }
}

/// A backup in the repository of a store.
pub(crate) struct DumpApart<'a>(Own<'a>);

impl<'a> DumpApart<'a> {
    /// Names the repository.
    ///
    /// # Errors
    /// When it has none.
    pub fn make(scene: Scene<'a>, id: SourceId, store: StoreId) -> Result<DumpApart<'a>, Failure> {
        let own = Own::of(scene, id, store);
        own.map(DumpApart).ok_or_else(|| Failure::lasting("it is no cluster"))
    }
}

impl StepPlan for DumpApart<'_> {
    fn foreseen(self: Box<Self>, _: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let (sight, output) = dump::foreseen(self.0.source);
        (sight, output.map(|output| Performed::Done(output.kept_apart(None))))
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let own = self.0;
        let cluster = Cluster::of(doing, own.id, own.postgres);
        let folder = own.folder(doing).map_err(|failure| own.gone(doing, failure))?;
        let tell = doing.tell();
        let mut job = cluster.job(&folder, &tell)?;
        let apart = own.apart(doing, &folder)?;
        let context = doing.context;
        Made::keep_begun(context.plan().folder(), context.imprint.run).map_err(Failure::lasting)?;
        let next = doing.levels().separate.get(&(own.id, own.store)).map(|next| next.next.level);
        job.level = next.unwrap_or(Level::Full);
        let remote = Some(&apart.repository).filter(|repository| repository.is_remote());
        let remote = remote.map(|repository| repository.settings().clone());
        job.separate = Some(apart);
        let backup = driver(own.postgres.driver).back_up(&job);
        let backup = backup.map_err(|error| own.gone(doing, cluster.failure(&error)))?;
        backup.notes.iter().for_each(|note| doing.note(note));
        for warning in &backup.warnings {
            doing.warn(format!("source `{}`: {warning}", own.source.name));
        }
        let mut labels = backup.labels;
        labels.driver = Some(own.postgres.driver.word().to_owned());
        let bytes = labels.database_bytes.unwrap_or_default();
        // What a store without a repository of it says of the source: that of any.
        let made = SourceOutput { labels: labels.clone(), ..SourceFact::Dumped(folder, bytes).into() };
        let fact = ApartFact { labels, remote, bytes };
        Ok(Performed::Done(Output::from(made).kept_apart(Some(fact))))
    }
}

impl Own<'_> {
    /// A failure of what is done by a path, or by the tool, which says in its own way that it could not reach its repository: that of
    /// a store that is away, where that is so by now.
    fn gone(&self, doing: &Doing<'_>, failure: Failure) -> Failure {
        let Some(store) = doing.session(self.store).held().store.clone() else { return failure };
        let is_away = |error: &StoreError| error.kind.is_away() || error.kind == StoreErrorKind::Moved;
        let looked = match store.in_place().and_then(|()| store.may_write()) {
            Ok(()) => identity::read_format(store.as_ref(), &doing.context.layout),
            Err(error) => Err(error.into()),
        };
        match looked {
            Err(IdentityError::Store(error)) if is_away(&error) && failure.kind != FailureKind::Stopped => {
                Failure::away(format!("{error} ({})", failure.message))
            }
            _ => failure,
        }
    }

    /// The folder that its repository is in, only where the store is known to be the right one. That of a store which is no
    /// folder has its settings here.
    fn folder(&self, doing: &Doing<'_>) -> Result<PathBuf, Failure> {
        let model = doing.context.model();
        let declared = model.store(self.store);
        if doing.session(self.store).held().store.is_none() {
            return Err(Failure::lasting(format!(
                "store `{}`, which its repository is in, has dropped out",
                declared.name
            )));
        }
        let Some(root) = declared.folder() else {
            return self.postgres.staging.clone().ok_or_else(|| {
                Failure::lasting("it has no `staging`, where the settings of its repository would be")
            });
        };
        let folder = root.join(repository(&model.name, &self.source.name));
        crate::postgres::wal::archive::make_passages(root, &folder)
            .map_err(|cause| Failure::of(&cause, format!("`{}`: {cause}", folder.display())))?;
        Ok(folder)
    }

    /// What is a repository's own.
    fn apart(&self, doing: &Doing<'_>, folder: &Path) -> Result<Apart, Failure> {
        let secrets = doing.secrets();
        let (own, model, name) = (self, doing.context.model(), &self.source.name);
        let passphrase = own.separate.passphrase.as_ref().map(|secret| secrets.fetch(secret)).transpose();
        let passphrase = passphrase
            .map_err(|error| no_secret(&format!("passphrase of the repository of `{name}`"), &error))?;
        let place = |store: &Store| {
            let place = place(store, &repository(&model.name, name), &secrets)?;
            match &passphrase {
                Some(passphrase) => place.encrypted(passphrase.clone()),
                None => Ok(place),
            }
        };
        let here = place(model.store(own.store)).map_err(|error| match error {
            RepositoryError::Secret { cause, .. } if cause.is_stopped() => Failure::stopped(),
            error => Failure::lasting(format!("source `{name}`: {error}")),
        })?;
        let all: Result<Vec<Repository>, RepositoryError> =
            own.separate.to.iter().map(|store| place(model.store(*store))).collect();
        let before = own.separate.to.iter().take_while(|store| **store != own.store).count();
        let levels = doing.levels();
        let next = levels.separate.get(&(own.id, own.store));
        let declared = model.store(own.store);
        // A manifest that cannot be read may name any of them.
        let is_told = next.is_some_and(|next| next.is_whole) && !declared.append_only;
        let made = if is_told { Made::load(doing.context.plan().folder()) } else { Ok(Made::default()) };
        let known = next.map(|next| next.known.keys().cloned().collect());
        Ok(Apart {
            home: own.postgres.staging.clone().unwrap_or_else(|| folder.to_path_buf()),
            store: declared.name.clone(),
            repository: here,
            all: all.map_err(|error| error.to_string()),
            number: before + 1,
            count: own.separate.to.len(),
            mark: format!("{}/{}", doing.context.identity(own.store), doing.context.imprint.run),
            known: known.unwrap_or_default(),
            made: made.unwrap_or_default(),
            is_immutable: declared.immutable.is_some(),
        })
    }
}

/// Deleting from a repository what the manifests of its store name no more.
pub(crate) struct ExpireApart<'a> {
    own: Option<Own<'a>>,
    /// The labels that they name, and those that they name no more since a prune; else why that cannot be told.
    named: Result<(BTreeSet<String>, BTreeSet<String>), String>,
}

impl<'a> ExpireApart<'a> {
    /// Looks what the manifests name.
    pub fn make(scene: Scene<'a>, id: SourceId, store: StoreId) -> ExpireApart<'a> {
        let own = Own::of(scene, id, store);
        let named = own.map_or_else(|| Ok(Default::default()), |own| own.named(scene));
        ExpireApart { own, named }
    }
}

impl Own<'_> {
    /// The labels that manifests of the repository's store name now, and those that only runs named that are pruned.
    fn named(&self, scene: Scene<'_>) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
        let name = &scene.model().store(self.store).name;
        let Ok(held) = scene.store(self.store) else { return Err(format!("store `{name}` has dropped out")) };
        let Some(store) = held else { return Ok(Default::default()) };
        let mut catalog =
            Catalog::load(store.as_ref(), &scene.context.layout).map_err(|error| error.to_string())?;
        if let Some(run) = catalog.unreadable().first() {
            return Err(format!("the manifest of run `{run}` in store `{name}` cannot be read"));
        }
        let before = self.labels(&catalog);
        let pruned = scene.facts.pruned.get(&self.store);
        pruned.into_iter().flatten().for_each(|run| catalog.remove(run));
        let named = self.labels(&catalog);
        let gone = before.difference(&named).cloned().collect();
        Ok((named, gone))
    }

    fn labels(&self, catalog: &Catalog) -> BTreeSet<String> {
        let records = catalog.runs().flat_map(|run| &run.repositories);
        let records = records.filter(|record| record.source == *self.source.name);
        records.map(|record| record.label.to_string()).collect()
    }
}

impl StepPlan for ExpireApart<'_> {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let (model, mut sight) = (ahead.scene.model(), Sight::default());
        let Some(own) = self.own else { return (sight, done()) };
        match self.named {
            Ok((_, going)) => {
                let store = &model.store(own.store).name;
                let below = repository(&model.name, &own.source.name);
                let shown = going.into_iter().map(|backup| format!("{store}:{below}: backup {backup}"));
                sight.would_delete.extend(shown);
            }
            Err(why) => sight.warnings.push(not_expired(own, &why)),
        }
        (sight, done())
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let Some(own) = self.own else { return done() };
        if doing.facts().away.contains(&own.store) {
            return Ok(Performed::Idle("its store went away".to_owned()));
        }
        let known = match self.named {
            Ok((known, _)) => known,
            Err(why) => {
                doing.warn(not_expired(own, &why));
                return done();
            }
        };
        let cluster = Cluster::of(doing, own.id, own.postgres);
        let folder = own.folder(doing)?;
        let tell = doing.tell();
        let mut job = cluster.job(&folder, &tell)?;
        let apart = own.apart(doing, &folder)?;
        job.separate = Some(Apart { known, ..apart });
        let expired = driver(own.postgres.driver).expire(&job, &Default::default());
        let told = expired.map_err(|error| cluster.failure(&error))?;
        told.iter().for_each(|warning| doing.warn(format!("source `{}`: {warning}", own.source.name)));
        done()
    }
}

fn not_expired(own: Own<'_>, why: &str) -> String {
    format!("nothing of the repository of `{}` is deleted: {why}", own.source.name)
}

/// Where the repository of a store is, without its passphrase.
fn place(store: &Store, below: &str, secrets: &Secrets) -> Result<Repository, RepositoryError> {
    match store.folder() {
        Some(root) => Ok(Repository::folder(&root.join(below))),
        None => Repository::of(store, below, &host_name(), secrets),
    }
}
