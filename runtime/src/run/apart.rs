//! Sources kept apart from every archive in a run: a backup in each of their repositories, one repository a store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use backplan_compiler::graph::StepId;
use backplan_compiler::lower::repository;
use backplan_compiler::model::{Level, Postgres, Separate, SourceId, Store, StoreId, Worded};

use super::coordinator::Failure;
use super::facts::{ApartFact, SourceFact};
use super::levels::SeparateNext;
use super::output::{Output, SourceOutput};
use super::prepare::host_name;
use super::worker::{Worker, no_secret};
use crate::catalog::ids::Uuid;
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::postgres::repository::{Repository, RepositoryError};
use crate::postgres::{Apart, driver};
use crate::programs::secrets::Secrets;

/// A source's own repository in a store.
#[derive(Clone, Copy)]
struct Own<'a> {
    id: SourceId,
    name: &'a str,
    postgres: &'a Postgres,
    separate: &'a Separate,
    store: StoreId,
}

impl Worker {
    fn own(&self, id: SourceId, store: StoreId) -> Option<Own<'_>> {
        let model = &self.request.model;
        let (source, separate) = (model.source(id), model.separate(id)?);
        Some(Own { id, name: &source.name, postgres: source.postgres()?, separate, store })
    }

    /// Makes a backup in the repository of a store.
    pub(super) fn dump_apart(
        &self,
        step: &StepId,
        id: SourceId,
        store: StoreId,
        control: &Control,
    ) -> Result<Output, Failure> {
        let Some(own) = self.own(id, store) else { return Err(Failure::lasting("it is no cluster")) };
        let folder = self.repository_of(own)?;
        let tell = self.tell(step);
        let mut job = self.job(id, own.postgres, &folder, control, &tell)?;
        let apart = self.apart(own, &folder, control)?;
        job.level = self.levels().separate.get(&(id, store)).map_or(Level::Full, |next| next.next.level);
        let remote = Some(&apart.repository).filter(|repository| repository.is_remote());
        let remote = remote.map(|repository| repository.settings().clone());
        job.separate = Some(apart);
        let backup =
            driver(own.postgres.driver).back_up(&job).map_err(|error| self.driver_failure(id, &error))?;
        backup.notes.iter().for_each(|note| self.note(note.clone()));
        for warning in &backup.warnings {
            self.warn(step, format!("source `{}`: {warning}", own.name));
        }
        let mut labels = backup.labels;
        labels.insert("driver".to_owned(), own.postgres.driver.word().to_owned());
        let bytes = labels.get("database_bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
        // What a store without a repository of it says of the source: that of any.
        let made = SourceOutput { labels: labels.clone(), ..SourceFact::Dumped(folder, bytes).into() };
        Ok(Output::from(made).kept_apart(Some(ApartFact { labels, remote, bytes })))
    }

    /// The folder that its repository is in, only where the store is known to be the right one. That of a store which is no
    /// folder has its settings here.
    fn repository_of(&self, own: Own<'_>) -> Result<PathBuf, Failure> {
        let declared = self.request.model.store(own.store);
        let is_open = self.sessions.get(&own.store).is_some_and(|session| session.held().store.is_some());
        if !is_open {
            return Err(Failure::lasting(format!(
                "store `{}`, which its repository is in, has dropped out",
                declared.name
            )));
        }
        let Some(root) = declared.folder() else {
            return own.postgres.staging.clone().ok_or_else(|| {
                Failure::lasting("it has no `staging`, where the settings of its repository would be")
            });
        };
        let folder = root.join(repository(&self.request.model.name, own.name));
        crate::wal::archive::make_passages(root, &folder)
            .map_err(|cause| Failure::of(&cause, format!("`{}`: {cause}", folder.display())))?;
        Ok(folder)
    }

    /// What is a repository's own.
    fn apart(&self, own: Own<'_>, folder: &Path, control: &Control) -> Result<Apart, Failure> {
        let secrets = self.secrets.under(control);
        let (model, name) = (&self.request.model, own.name);
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
        let levels = self.levels();
        let next = levels.separate.get(&(own.id, own.store));
        let known = next.map(|next| next.known.keys().cloned().collect());
        Ok(Apart {
            home: own.postgres.staging.clone().unwrap_or_else(|| folder.to_path_buf()),
            store: model.store(own.store).name.clone(),
            repository: here,
            all: all.map_err(|error| error.to_string()),
            number: before + 1,
            count: own.separate.to.len(),
            mark: format!("{}/{}", self.identity(own.store), self.imprint.run),
            known: known.unwrap_or_default(),
            were_known: BTreeSet::new(),
            since: next.filter(|next| next.is_whole).and_then(|next| since(model.store(own.store), next)),
        })
    }

    /// The plan's identity, as the manifests will have it: its name alone may be another machine's too.
    fn identity(&self, store: StoreId) -> Uuid {
        let store = self.request.model.store(store);
        self.plan().known(&store.name, &store.location()).unwrap_or(self.imprint.plan)
    }

    /// Deletes from a repository what the manifests of its store name no more.
    pub(super) fn expire_apart(
        &self,
        step: &StepId,
        id: SourceId,
        store: StoreId,
        control: &Control,
    ) -> Result<(), Failure> {
        let Some(own) = self.own(id, store) else { return Ok(()) };
        let known = match self.named(own) {
            Ok(known) => known,
            Err(why) => {
                self.warn(step, format!("nothing of the repository of `{}` is deleted: {why}", own.name));
                return Ok(());
            }
        };
        let folder = self.repository_of(own)?;
        let tell = self.tell(step);
        let mut job = self.job(id, own.postgres, &folder, control, &tell)?;
        let apart = self.apart(own, &folder, control)?;
        // What was named before this run pruned was given up by that.
        job.separate = Some(Apart { were_known: apart.known.clone(), known, ..apart });
        driver(own.postgres.driver)
            .expire(&job, &Default::default())
            .map_err(|error| self.driver_failure(id, &error))
    }

    /// The labels that manifests of the repository's store name now.
    fn named(&self, own: Own<'_>) -> Result<BTreeSet<String>, String> {
        let store = &self.request.model.store(own.store).name;
        let held = self.sessions.get(&own.store).and_then(|session| session.held().store.clone());
        let held = held.ok_or_else(|| format!("store `{store}` has dropped out"))?;
        let catalog = Catalog::load(held.as_ref(), &self.layout).map_err(|error| error.to_string())?;
        if let Some(run) = catalog.unreadable().first() {
            return Err(format!("the manifest of run `{run}` in store `{store}` cannot be read"));
        }
        let records = catalog.runs().flat_map(|run| &run.repositories);
        let records = records.filter(|record| record.source == *own.name);
        Ok(records.map(|record| record.label.to_string()).collect())
    }
}

/// Where the repository of a store is, without its passphrase.
fn place(store: &Store, below: &str, secrets: &Secrets) -> Result<Repository, RepositoryError> {
    match store.folder() {
        Some(root) => Ok(Repository::folder(&root.join(below))),
        None => Repository::of(store, below, &host_name(), secrets),
    }
}

/// From which run on a backup that no manifest names was never committed. In a folder, repository and manifests live and
/// die together. Elsewhere manifests may have been lost, or be in another store, where this program once kept them, and the
/// repository not: a backup from before them is no orphan.
fn since(declared: &Store, next: &SeparateNext) -> Option<u32> {
    match (declared.append_only, declared.immutable) {
        (true, _) => None,
        // Only what a prune gave up, which knows the age.
        (false, Some(_)) => Some(u32::MAX),
        (false, None) if declared.folder().is_none() => {
            next.known.values().map(|(run, _)| run.sequence()).min()
        }
        (false, None) => Some(0),
    }
}
