//! Whether the repositories of pgBackRest and the catalogues of pg_probackup are as a plan needs them.

use std::path::Path;

use backplan_compiler::codes;
use backplan_compiler::finding::{Finding, Severity};
use backplan_compiler::kinds::Kind;
use backplan_compiler::lower;
use backplan_compiler::model::{Postgres, PostgresDriver, Source, SourceId};

use crate::machine::host_name;
use crate::postgres::inspect::{Standing, standing};
use crate::postgres::pgbackrest::{mend_of_another, settings};
use crate::postgres::probackup;
use crate::postgres::probackup::inspect::Inspection;
use crate::postgres::probe::Facts;
use crate::postgres::repository::Repository;
use crate::programs::secrets::Secrets;
use crate::source::look::Look;

impl Look<'_> {
    /// Settings files of the operator's that contradict the plan.
    pub(crate) fn settings(&mut self) {
        for (id, text) in settings::conflicts(self.model, &|_| true, &host_name()) {
            let place = self.model.source(id).place;
            let help = "a run is refused as long as they contradict one another";
            self.find(&codes::CONFIG_CONFLICT, place, text, help);
        }
    }

    /// The stanza that a source's backups go to, or its instance in catalogues; the clusters that it says the server took the place
    /// of.
    pub(super) fn stanza(
        &mut self,
        id: SourceId,
        source: &Source,
        postgres: &Postgres,
        facts: &Facts,
    ) -> Vec<String> {
        let secrets = Secrets::default().under(self.control);
        let mut earlier = Vec::new();
        let found = match postgres.driver {
            PostgresDriver::Pgbackrest => self.repositories(id, source, postgres, &secrets),
            PostgresDriver::Probackup => self.catalogues(id, source),
            PostgresDriver::Basebackup | PostgresDriver::Dump => Vec::new(),
        };
        for repository in found {
            match repository {
                Ok(repository) => {
                    earlier.extend(self.stanza_in(&repository, source, postgres, facts, &secrets));
                }
                Err(why) => self.unreadable(source, &secrets.redact(&why)),
            }
        }
        earlier
    }

    /// The same of one repository.
    fn stanza_in(
        &mut self,
        repository: &Repository,
        source: &Source,
        postgres: &Postgres,
        facts: &Facts,
        secrets: &Secrets,
    ) -> Vec<String> {
        let stanza = postgres.stanza.as_deref().unwrap_or(&source.name);
        let folder = repository.settings().get("path").map(Path::new).filter(|_| !repository.is_remote());
        let is_there = folder.is_none_or(Path::is_dir);
        let (word, found) = match (postgres.driver, folder) {
            (PostgresDriver::Probackup, Some(folder)) => {
                ("instance", Inspection { folder, instance: stanza }.standing(self.control))
            }
            _ if is_there => ("stanza", standing(repository, stanza, self.control)),
            _ => ("stanza", Ok(Standing::Missing)),
        };
        let (name, location) = (&source.name, repository.location());
        match found {
            Ok(Standing::Missing) => self.no_stanza(source, (word, stanza), &location),
            Ok(Standing::Of { system_id, earlier }) if system_id == facts.system_id => return earlier,
            Ok(Standing::Of { system_id, .. }) => {
                let message = format!(
                    "source `{name}`: {word} `{stanza}` in `{location}` is of the cluster with system identifier {system_id}, and \
                     this cluster has {}",
                    facts.system_id
                );
                let is_apart =
                    self.model.separates.iter().any(|own| self.model.source(own.source).name == *name);
                let help = match postgres.driver {
                    PostgresDriver::Probackup => probackup::mend_of_another().to_owned(),
                    _ => mend_of_another(name, is_apart),
                };
                self.find(&codes::STANZA_OTHER, source.place, message, help);
                // That is told.
                return vec![system_id];
            }
            Ok(Standing::Unreadable(why)) => self.unreadable(source, &format!("`{location}`: {why}")),
            Err(error) => self.unreadable(source, &secrets.redact(&error.to_string())),
        }
        Vec::new()
    }

    fn no_stanza(&mut self, source: &Source, (word, stanza): (&str, &str), location: &str) {
        let name = &source.name;
        let had = self.newest.is_some_and(|run| {
            let record = run.source(name);
            record.is_some_and(|record| record.labels().stanza.as_deref() == Some(stanza))
        });
        let (help, severity) = match (had, word) {
            (true, _) => (
                "bring the repository back; without it the next run makes a new one, with a full",
                Severity::Warning,
            ),
            (false, "instance") => ("the first run makes it", Severity::Note),
            (false, _) => ("the first run makes it; until then the server keeps its log", Severity::Note),
        };
        let message = format!("source `{name}`: there is no {word} `{stanza}` in `{location}`");
        let mut finding = Finding::new(&codes::STANZA_MISSING, source.place, message).help(help);
        finding.severity = severity;
        self.findings.push(finding);
    }

    /// The catalogues of a source that is kept apart; one that is packed is new, or was looked at by the runs before.
    fn catalogues(&self, id: SourceId, source: &Source) -> Vec<Result<Repository, String>> {
        let below = lower::repository(&self.model.name, &source.name);
        let stores = self.model.separate(id).into_iter().flat_map(|own| &own.to);
        let folders = stores.filter_map(|store| self.model.store(*store).folder());
        folders.map(|root| Ok(Repository::folder(&root.join(&below)))).collect()
    }

    fn unreadable(&mut self, source: &Source, why: &str) {
        let message = format!("source `{}`: its repository cannot be read: {why}", source.name);
        let help = "`plan verify` says what of it is whole; see that its `passphrase` and its store's keys are right";
        self.find(&codes::REPOSITORY_UNREADABLE, source.place, message, help);
    }

    /// Those that can be looked into without writing a file, and have a place.
    fn repositories(
        &self,
        id: SourceId,
        source: &Source,
        postgres: &Postgres,
        secrets: &Secrets,
    ) -> Vec<Result<Repository, String>> {
        let Some(own) = self.model.separate(id) else {
            return postgres.repository().map(Repository::folder).map(Ok).into_iter().collect();
        };
        let below = lower::repository(&self.model.name, &source.name);
        let each = own.to.iter().map(|store| {
            let made = Repository::of(self.model.store(*store), &below, &host_name(), secrets);
            let made = made.map_err(|error| error.to_string())?;
            let passphrase = own.passphrase.as_ref().map(|secret| secrets.fetch(secret)).transpose();
            match passphrase.map_err(|error| format!("its `passphrase`: {error}"))? {
                Some(passphrase) => made.encrypted(passphrase).map_err(|error| error.to_string()),
                None => Ok(made),
            }
        });
        each.filter(|made| made.as_ref().map_or(true, |made| made.key().is_none())).collect()
    }
}
