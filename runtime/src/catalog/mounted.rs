//! The file systems that sources were read from: known again when one of them is not mounted.
//!
//! This host remembers them in its state, and the details of each manifest tell of them; the newer of both is believed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ids::RunId;
use super::names::{HostPath, PlanName, amount};
use super::runs::Catalog;
use crate::catalog::host::PlanState;

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

/// What a run came to know of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The run.
    pub run: RunId,
    /// The file systems that it read the source from, and those that it missed.
    pub mounts: Vec<Mounted>,
}

/// The file systems that a source is expected to be on: as the newest run knew them that read it.
pub fn expected<'a>(
    plan: Option<&PlanState>,
    catalogs: impl Iterator<Item = &'a Catalog>,
    source: &str,
) -> Vec<Mounted> {
    let own = plan.and_then(|plan| plan.mounts(source));
    let told = catalogs.filter_map(|catalog| {
        let newest = catalog.runs().rev().find(|run| run.holds(source))?;
        let is_newer = own.is_none_or(|own| own.run < newest.run);
        let details = is_newer.then(|| newest.details().ok())??;
        let of_it = |mounted: &Mounted| mounted.source == source;
        Some(Known { run: newest.run, mounts: details.mounts.into_iter().filter(of_it).collect() })
    });
    let known = told.max_by_key(|known| known.run).or_else(|| own.cloned());
    known.map_or_else(|| of_others(plan, source), |known| known.mounts)
}

/// What this host knows of file systems under other names of sources: one that is new may be another under a new name, or a part of
/// it, and misses no less.
fn of_others(plan: Option<&PlanState>, source: &str) -> Vec<Mounted> {
    let Some(plan) = plan else { return Vec::new() };
    let named = |mounted: &Mounted| Mounted { source: PlanName::known(source), ..mounted.clone() };
    let mut found: BTreeMap<(PathBuf, String), (RunId, Mounted)> = BTreeMap::new();
    for (run, mounted) in plan.all_mounts() {
        let key = (mounted.path.to_path_buf(), mounted.which());
        if found.get(&key).is_none_or(|(known, _)| *known < run) {
            found.insert(key, (run, named(mounted)));
        }
    }
    found.into_values().map(|(_, mounted)| mounted).collect()
}
