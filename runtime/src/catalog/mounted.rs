//! The file systems that sources were read from, as they are known before a source is read once more.
//!
//! This host remembers them in its state, and the details of each manifest tell of them; the newer of both is believed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{Model, SourceId};
use serde::{Deserialize, Serialize};

use super::host::{HostState, PlanState};
use super::ids::RunId;
use super::names::PlanName;
use super::runs::Catalog;
use crate::control::Control;
use crate::scan::{self, Trees};

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

/// The file systems that sources are expected to be on.
pub type Expected = BTreeMap<SourceId, Vec<Mounted>>;

/// What the walk of a `files` source is told.
pub fn trees(model: &Model, mounts: &Expected, id: SourceId) -> Option<Trees> {
    let source = model.source(id);
    let files = source.files()?.clone();
    let (optional, strict) = (source.optional, source.strict);
    let mounts = mounts.get(&id).cloned().unwrap_or_default();
    Some(Trees { source: source.name.clone(), files, optional, strict, mounts })
}

/// What a run would miss now of a source, by where that begins, in words.
///
/// # Errors
/// Why that cannot be told.
pub fn missed<'a>(
    model: &Model,
    id: SourceId,
    state: &Path,
    catalogs: &(impl Iterator<Item = &'a Catalog> + Clone),
    control: &Control,
) -> Result<Vec<(PathBuf, String)>, String> {
    let host = HostState::look(state).and_then(|host| host.plan(&model.name, &model.file)).ok();
    let known = expected(host.as_ref(), catalogs.clone(), &model.source(id).name);
    let Some(trees) = trees(model, &Expected::from([(id, known)]), id) else { return Ok(Vec::new()) };
    // Below a `root` only a window makes them appear.
    if trees.files.root.is_some() {
        return Ok(Vec::new());
    }
    scan::unmounted(&trees, control).map_err(|error| error.to_string())
}
