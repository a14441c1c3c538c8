//! The file systems that sources were read from: known again when one of them is not mounted.

use std::path::Path;

use backplan_host::ids::RunId;
use backplan_host::names::{HostPath, PlanName, amount};
use serde::{Deserialize, Serialize};

/// A file system that a source was read from, other than the one that everything is mounted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// The source.
    pub source: PlanName,
    /// Where in the source it begins: a folder below an entry of `paths`, or such an entry.
    pub path: HostPath,
    /// Where it was mounted: there, or, for an entry of `paths`, above it.
    pub mount: HostPath,
    /// Its kind: `ext4`.
    pub kind: String,
    /// What tells it from others; `None`: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What was in it, but for folders.
    #[serde(deserialize_with = "amount")]
    pub leaves: u64,
    /// Bytes of contents.
    #[serde(deserialize_with = "amount")]
    pub bytes: u64,
    /// The last run that had it; `None`: the one under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

impl Mounted {
    /// Whether this record says the same of it as another.
    pub fn is_as(&self, other: &Mounted) -> bool {
        self.is_same(&other.kind, other.identity.as_deref(), &other.mount)
    }

    /// What tells it from others that were mounted there, as one word; empty: nothing does.
    pub fn which(&self) -> String {
        self.identity.clone().unwrap_or_default()
    }

    /// Whether it is the same file system, as far as can be told: where nothing tells it from others, by where it is mounted. Of
    /// btrfs the disk is enough there: a snapshot is another subvolume each night.
    pub fn is_same(&self, kind: &str, identity: Option<&str>, mount: &Path) -> bool {
        let is_there = *self.mount == *mount;
        let disk = |identity: &str| identity.split(':').next().map(str::to_owned);
        let is_it = match (self.identity.as_deref(), identity) {
            (Some(own), Some(other)) => {
                own == other || kind == "btrfs" && is_there && disk(own) == disk(other)
            }
            _ => is_there,
        };
        self.kind == kind && is_it
    }
}
