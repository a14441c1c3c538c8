//! Is a secret seen, can what is encrypted be opened.

use super::Check;
use super::repositories::{IN_CLEAR, encrypts};
use crate::codes;
use crate::finding::Finding;
use crate::model::Archive;
use crate::sources::Place;

impl Check<'_> {
    pub(super) fn secrets(&mut self) {
        for place in &self.facts.inline_secrets {
            let message = "a secret is written into the plan, or given in the open: whoever reads it has it";
            self.findings.push(Finding::new(&codes::INLINE_SECRET, *place, message).help(
                "write `env(\"NAME\")`, `file(\"/run/secrets/x\")` or `exec([\"pass\", \"show\", \"x\"])`",
            ));
        }
        self.rehearsals_open();
        self.logs_are_as_closed();
        self.repositories_are_as_closed();
    }

    /// Whoever reads a store in which archives are encrypted reads the log beside them, and what the log is of has all in it.
    fn logs_are_as_closed(&mut self) {
        for wal in self.model.wals.iter().filter(|wal| wal.encrypt.is_empty()) {
            let is_meant = |archive: &Archive| {
                archive.from.contains(&wal.source) || archive.to.iter().any(|store| wal.to.contains(store))
            };
            let Some(archive) = self.encrypted(is_meant) else { continue };
            let name = &self.model.source(wal.source).name;
            let message = format!("the log of `{name}` is not encrypted, and archive `{}` is", archive.name);
            let (place, keys) = (self.encryption_of(archive), archive.encrypt.join("\", \""));
            self.findings.push(
                Finding::new(&codes::LEFT_IN_CLEAR, wal.place, message).with(place, "encrypted here").help(
                    format!("add `encrypt = [\"{keys}\"]`: pushing needs no private key, recovery does"),
                ),
            );
        }
    }

    fn repositories_are_as_closed(&mut self) {
        for separate in self.model.separates.iter().filter(|separate| separate.passphrase.is_none()) {
            let is_meant = |archive: &Archive| archive.to.iter().any(|store| separate.to.contains(store));
            let Some(archive) = self.encrypted(is_meant) else { continue };
            let name = &self.model.source(separate.source).name;
            let message =
                format!("the repository of `{name}` is not encrypted, and archive `{}` is", archive.name);
            let place = self.encryption_of(archive);
            let help = match encrypts(self.model, separate) {
                true => {
                    "add `passphrase = file(\"/etc/backplan/repository\")`: one that exists stays in clear: give the source another name, and with it a new one"
                }
                false => IN_CLEAR,
            };
            self.findings.push(
                Finding::new(&codes::LEFT_IN_CLEAR, separate.place, message)
                    .with(place, "encrypted here")
                    .help(help),
            );
        }
    }

    /// The first archive that is encrypted and meant.
    fn encrypted(&self, is_meant: impl Fn(&Archive) -> bool) -> Option<&'_ Archive> {
        let model = self.model;
        model.archives.iter().find(|archive| !archive.encrypt.is_empty() && is_meant(archive))
    }

    fn encryption_of(&self, archive: &Archive) -> Place {
        self.facts.place("archive", &archive.name, "encrypt").unwrap_or(archive.place)
    }

    /// A run holds public keys only, so a rehearsal needs the private one.
    fn rehearsals_open(&mut self) {
        for verify in self.model.verifies.iter().filter(|verify| verify.identity.is_none()) {
            let mut holders = self
                .model
                .archives
                .iter()
                .filter(|archive| archive.from.contains(&verify.restore))
                .peekable();
            let name = &self.model.source(verify.restore).name;
            let mut logs = self.model.wals.iter();
            let log = logs.find(|wal| wal.source == verify.restore && !wal.encrypt.is_empty());
            if let Some(wal) = log {
                let place = self.facts.place("wal", name, "encrypt").unwrap_or(wal.place);
                let message = format!("this rehearsal cannot open the log of `{name}`, which is encrypted");
                self.findings.push(
                    Finding::new(&codes::MISSING_IDENTITY, verify.place, message)
                        .with(place, "encrypted here")
                        .help("add `identity = file(\"/etc/backplan/id\")`, the private key"),
                );
                continue;
            }
            let Some(first) = holders.peek().copied() else { continue };
            if holders.all(|archive| !archive.encrypt.is_empty()) {
                let place = self.facts.place("archive", &first.name, "encrypt").unwrap_or(first.place);
                let message = format!("this rehearsal cannot open `{name}`: its archive is encrypted");
                self.findings.push(
                    Finding::new(&codes::MISSING_IDENTITY, verify.place, message)
                        .with(place, "encrypted here")
                        .help("add `identity = file(\"/etc/backplan/id\")`, the private key"),
                );
            }
        }
    }
}
