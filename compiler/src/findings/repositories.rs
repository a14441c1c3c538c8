//! Can the tools that keep repositories of their own keep them where the plan says.

use super::Check;
use crate::codes;
use crate::finding::Finding;
use crate::model::{Fault, PostgresDriver, Separate, Source, Store};

impl Check<'_> {
    /// Every run would be refused by what its client makes of such a declaration.
    fn stores_have_addresses(&mut self) {
        for store in &self.model.stores {
            for Fault { attribute, why } in store.kind.faults() {
                let place = self.facts.place("store", &store.name, attribute).unwrap_or(store.place);
                let message = format!("`{attribute}` of store `{}` {why}", store.name);
                self.findings.push(Finding::new(&codes::BAD_ADDRESS, place, message));
            }
        }
    }

    pub(super) fn repositories(&mut self) {
        let model = self.model;
        self.stores_have_addresses();
        for separate in &model.separates {
            if !self.can_be_separate(separate) {
                continue;
            }
            self.settings_have_a_home(separate);
            for id in &separate.to {
                self.tool_gets_there(separate, model.store(*id));
                self.tool_keeps_the_rules(separate, model.store(*id));
            }
        }
        for (at, source) in model.sources.iter().enumerate() {
            let is_apart = model.separates.iter().any(|separate| separate.source.0 == at);
            if source.kind.facts().has_repository && source.repository().is_none() && !is_apart {
                self.packed_has_a_home(source);
            }
        }
    }

    fn can_be_separate(&mut self, separate: &Separate) -> bool {
        let source = self.model.source(separate.source);
        let (message, help) = match source.postgres().map(|cluster| cluster.driver) {
            Some(PostgresDriver::Pgbackrest) => return true,
            Some(PostgresDriver::Probackup) => (
                format!(
                    "source `{}` cannot be separate: pg_probackup's catalogue is kept in its `staging`, and packed from there",
                    source.name
                ),
                "put it into an archive of its own, or choose `driver = pgbackrest`",
            ),
            _ => (
                format!("source `{}` has no tool that keeps a repository of its own", source.name),
                "put it into an archive of its own; `pgbackrest` can be separate",
            ),
        };
        self.find(
            Finding::new(&codes::SEPARATE_WITHOUT_REPOSITORY, separate.place, message)
                .with(source.place, "the source")
                .help(help),
        );
        false
    }

    /// The server's `archive_command` reads settings of this machine, also while a store is away. Of one repository in a bucket the
    /// run says so.
    fn settings_have_a_home(&mut self, separate: &Separate) {
        let source = self.model.source(separate.source);
        if separate.to.len() == 1 {
            return;
        }
        let why = "there are several repositories";
        if source.repository().is_some() {
            return;
        }
        let name = &source.name;
        let message = format!("the settings of the repositories of source `{name}` have no place: {why}");
        self.find(
            Finding::new(&codes::REPOSITORY_HOMELESS, source.place, message)
                .with(separate.place, "where they are")
                .help(format!("name a folder of this machine: `staging = \"/var/lib/backplan/{name}\"`")),
        );
    }

    fn packed_has_a_home(&mut self, source: &Source) {
        let name = &source.name;
        let message =
            format!("source `{name}` has no `staging` for its tool's own repository, which is packed");
        self.find(
            Finding::new(&codes::REPOSITORY_HOMELESS, source.place, message)
                .help(format!("name a folder of this machine: `staging = \"/var/lib/backplan/{name}\"`")),
        );
    }

    fn tool_gets_there(&mut self, separate: &Separate, store: &Store) {
        let Some((why, help)) = store.unreachable_by_tool() else { return };
        let source = &self.model.source(separate.source).name;
        let message =
            format!("the repository of source `{source}` cannot be in store `{}`: {why}", store.name);
        self.find(
            Finding::new(&codes::REPOSITORY_UNREACHABLE, separate.place, message)
                .with(store.place, "the store")
                .help(help),
        );
    }

    fn tool_keeps_the_rules(&mut self, separate: &Separate, store: &Store) {
        let source = &self.model.source(separate.source).name;
        for rule in store.rules_unknown_to_tool() {
            let message = format!(
                "store `{}` has `{rule}`, and pgBackRest, which keeps the repository of source `{source}` there, knows none",
                store.name
            );
            self.find(
                Finding::new(&codes::REPOSITORY_UNRULED, separate.place, message)
                    .with(store.place, "the store")
                    .help(format!(
                        "declare a second store for it without `{rule}`, of another `prefix`; the bucket itself may have such a rule"
                    )),
            );
        }
    }
}
