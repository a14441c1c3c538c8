//! Is a secret seen, can what is encrypted be opened.

use super::Check;
use crate::codes;
use crate::finding::Finding;

impl Check<'_> {
    pub(super) fn secrets(&mut self) {
        for place in &self.facts.inline_secrets {
            let message = "a secret is written into the plan, or given in the open: whoever reads it has it";
            self.findings.push(Finding::new(&codes::INLINE_SECRET, *place, message).help(
                "write `env(\"NAME\")`, `file(\"/run/secrets/x\")` or `exec([\"pass\", \"show\", \"x\"])`",
            ));
        }
        self.rehearsals_open();
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
            let Some(first) = holders.peek().copied() else { continue };
            if holders.all(|archive| !archive.encrypt.is_empty()) {
                let name = &self.model.source(verify.restore).name;
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
