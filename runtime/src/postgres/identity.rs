//! Which cluster a source is. An address says nothing of that: a fresh `initdb` answers at it like the one that is lost.

use super::DriverError;
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::catalog::manifest::{Manifest, SourceRecord, SourceStatus};

/// The cluster that the backups of a source are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The newest run that says so.
    pub run: RunId,
    /// Its system identifier.
    pub system_id: String,
}

impl Known {
    /// What the newest of these runs says of a source that tells it; `None`: none does.
    pub fn of<'a>(runs: impl Iterator<Item = &'a Manifest>, source: &str) -> Option<Known> {
        let told = runs.filter_map(|manifest| {
            let is_own = |record: &&SourceRecord| record.name == source && record.status == SourceStatus::Ok;
            let system_id = manifest.sources.iter().find(is_own)?.labels().system_id.clone()?;
            Some(Known { run: manifest.run, system_id })
        });
        told.max_by_key(|known| known.run)
    }

    /// Why a cluster is not to be backed up as this one; `None`: it is this one, or does not say.
    pub fn another(&self, system_id: Option<&String>) -> Option<String> {
        let other = system_id.filter(|system_id| **system_id != self.system_id)?;
        Some(format!(
            "the server is another cluster: its system identifier is {other}, and run {} backed up {}",
            self.run, self.system_id
        ))
    }

    /// Refuses another cluster: its backups would push those of this one out.
    ///
    /// # Errors
    /// [`DriverError::Lasting`].
    pub fn hold_against(&self, server: &Labels, source: &str) -> Result<(), DriverError> {
        match self.another(server.system_id.as_ref()) {
            Some(why) => Err(DriverError::Lasting(format!("{why}\n  {}", mend(source)))),
            None => Ok(()),
        }
    }
}

/// What to do about another cluster.
pub fn mend(source: &str) -> String {
    format!(
        "mend `host`, `port` or the server; if this one is to take the place of the other, whose backups then age, say so once: \
         `plan run --new-cluster {source}`"
    )
}
