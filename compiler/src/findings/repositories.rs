//! Can the tools that keep repositories of their own keep them where the plan says.

use super::Check;
use crate::codes;
use crate::finding::Finding;
use crate::kinds::KeptApart;
use crate::model::{Fault, Model, Separate, Source, Store};

/// What to do where a repository's tool encrypts nothing.
pub(super) const IN_CLEAR: &str = "pg_probackup encrypts nothing: put the source into an archive with `encrypt`, or choose `driver = pgbackrest`";

/// Whether the tool of a separate source could encrypt its repository. Of one that has no repository another finding tells.
pub(super) fn encrypts(model: &Model, separate: &Separate) -> bool {
    model.source(separate.source).kind.facts().apart.is_none_or(|apart| apart.encrypts)
}

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
            let Some(apart) = self.can_be_separate(separate) else { continue };
            self.settings_have_a_home(separate, apart);
            self.nothing_is_in_vain(separate, apart);
            for id in &separate.to {
                self.tool_gets_there(separate, apart, model.store(*id));
                if apart.goes_far {
                    self.tool_keeps_the_rules(separate, model.store(*id));
                }
            }
        }
        for (at, source) in model.sources.iter().enumerate() {
            let is_apart = model.separates.iter().any(|separate| separate.source.0 == at);
            if source.kind.facts().has_repository && source.repository().is_none() && !is_apart {
                self.packed_has_a_home(source);
            }
        }
    }

    /// What its tool makes of it; `None`, and a finding: it has none that keeps a repository.
    fn can_be_separate(&mut self, separate: &Separate) -> Option<KeptApart> {
        let source = self.model.source(separate.source);
        let apart = source.kind.facts().apart;
        if apart.is_none() {
            let message = format!("source `{}` has no tool that keeps a repository of its own", source.name);
            self.find(
                Finding::new(&codes::SEPARATE_WITHOUT_REPOSITORY, separate.place, message)
                    .with(source.place, "the source")
                    .help("put it into an archive of its own; clusters by `pgbackrest` or `probackup` can be separate"),
            );
        }
        apart
    }

    /// What a tool without settings and without encryption has no use for.
    fn nothing_is_in_vain(&mut self, separate: &Separate, apart: KeptApart) {
        let source = self.model.source(separate.source);
        let (name, tool) = (&source.name, apart.tool);
        if let (false, Some(_)) = (apart.encrypts, &separate.passphrase) {
            let place = self.facts.place("separate", name, "passphrase").unwrap_or(separate.place);
            let message =
                format!("`passphrase` of `separate {name}` means nothing to {tool}, which encrypts nothing");
            self.find(
                Finding::new(&codes::DRIVER_ATTRIBUTE, place, message)
                    .with(source.place, "the source")
                    .help("leave `passphrase` out; or put the source into an archive with `encrypt`, or choose `driver = pgbackrest`"),
            );
        }
        if let (false, Some(_)) = (apart.wants_log, source.repository()) {
            let place = self.facts.place("source", name, "staging").unwrap_or(source.place);
            let message =
                format!("`staging` of source `{name}` means nothing: its catalogue is in its stores");
            self.find(
                Finding::new(&codes::DRIVER_ATTRIBUTE, place, message)
                    .with(separate.place, "kept apart here")
                    .help("leave `staging` out: what is in it stays, and goes by hand"),
            );
        }
    }

    /// The server's `archive_command` reads settings of this machine, also while a store is away. Of one repository in a bucket the
    /// run says so.
    fn settings_have_a_home(&mut self, separate: &Separate, apart: KeptApart) {
        let source = self.model.source(separate.source);
        if separate.to.len() == 1 || !apart.wants_log {
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

    fn tool_gets_there(&mut self, separate: &Separate, apart: KeptApart, store: &Store) {
        let why = match apart.goes_far {
            true => store.unreachable_by_tool(),
            false => store.folder().is_none().then_some((
                "it is no folder, and pg_probackup keeps its catalogue in one alone",
                "name a `dir` store; an archive of the source goes into every store",
            )),
        };
        let Some((why, help)) = why else { return };
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
