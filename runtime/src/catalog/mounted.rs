//! The file systems that sources were read from, as they are known before a source is read once more.
//!
//! This host remembers them in its state, and the details of each manifest tell of them; the newer of both is believed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ids::RunId;
use super::names::PlanName;
use super::runs::Catalog;
use crate::catalog::host::PlanState;

pub use crate::scan::Mounted;

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
