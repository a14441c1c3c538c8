//! The file systems that a run reads its sources from: which it expects, which it came by, and which are gone before it is done.

use std::collections::BTreeMap;
use std::path::PathBuf;

use backplan_compiler::model::{ArchiveId, Model, SourceId, SourceKind};

use super::context::Context;
use super::facts::{Facts, SourceFact};
use super::prepare::PrepareError;
use crate::catalog::host::PlanState;
use crate::catalog::ids::RunId;
use crate::catalog::mounted::{self, Expected, Mounted};
use crate::catalog::runs::Catalog;
use crate::places::mounts;
use crate::scan::Summary;
use crate::text::printable;

/// What a run is to expect, as this host and the stores remember it, but for what is `given_up`.
///
/// # Errors
/// Where nothing is known of what is given up.
pub fn expected<'a>(
    model: &Model,
    plan: Option<&PlanState>,
    catalogs: &(impl Iterator<Item = &'a Catalog> + Clone),
    given_up: &[PathBuf],
) -> Result<Expected, PrepareError> {
    let may_lie_apart = |id: &SourceId| {
        matches!(
            model.source(*id).kind,
            SourceKind::Files(_) | SourceKind::Sqlite(_) | SourceKind::Mariadb(_)
        )
    };
    let files = (0..model.sources.len()).map(SourceId).filter(may_lie_apart);
    let known = |id: SourceId| mounted::expected(plan, catalogs.clone(), &model.source(id).name);
    let mut found: Expected = files.map(|id| (id, known(id))).collect();
    for path in given_up {
        let is_meant = |it: &Mounted| *it.mount == *path || *it.path == *path;
        if !found.values().flatten().any(is_meant) {
            return Err(PrepareError::NotMissed(path.clone()));
        }
        found.values_mut().for_each(|mounts| mounts.retain(|it| !is_meant(it)));
    }
    Ok(found)
}

/// An id for each path, and each file system, that was missing of a source: without its name, as a manifest's clear part has it.
pub fn ids(plan: &str, source: &str, summary: &Summary) -> Vec<String> {
    let id = |(path, which): &(PathBuf, String)| {
        let mut hasher = blake3::Hasher::new();
        let path = path.as_os_str().as_encoded_bytes();
        for part in [plan.as_bytes(), source.as_bytes(), path, which.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.finalize().to_hex()[..16].to_owned()
    };
    summary.lost_at.iter().map(id).collect()
}

impl Facts {
    /// What the next run is to expect of the sources that this one has read.
    pub(super) fn mounts(&self, model: &Model, run: RunId) -> BTreeMap<String, Vec<Mounted>> {
        let scanned = self.sources.iter().filter_map(|(id, fact)| match fact {
            SourceFact::Scanned(summary) => Some((model.source(*id), &summary.mounts)),
            _ => None,
        });
        let dated = |mounted: &Mounted| Mounted { run: mounted.run.or(Some(run)), ..mounted.clone() };
        let files = scanned.filter(|(source, _)| source.files().is_some());
        let trees =
            files.map(|(source, mounts)| (source.name.clone(), mounts.iter().map(dated).collect::<Vec<_>>()));
        let footings = self.footings.iter();
        let footings = footings
            .map(|(id, mounted)| (model.source(*id).name.clone(), mounted.iter().map(dated).collect()));
        trees.chain(footings).collect()
    }

    /// Takes for lost what was on file systems that were there when a source of the archive was walked, and are not now that it is
    /// packed. Tells of it.
    pub(super) fn lose_unmounted(&mut self, context: &Context, id: ArchiveId) -> Vec<String> {
        let mut told = Vec::new();
        for source in &context.model().archive(id).from {
            let Some(SourceFact::Scanned(summary)) = self.sources.get_mut(source) else { continue };
            let is_gone = |it: &Mounted| it.run.is_none() && !mounts::is_mounted(&it.mount);
            let gone: Vec<Mounted> = summary.mounts.extract_if(.., |it| is_gone(it)).collect();
            for mounted in gone {
                let name = &context.model().source(*source).name;
                let mount = printable(mounted.mount.as_os_str().as_encoded_bytes());
                let text = format!(
                    "source `{name}`: `{mount}` was unmounted while it was read: what is in this backup of it may be a part"
                );
                told.push(text.clone());
                summary.lost.push(text);
                summary.lost_at.push((mounted.path.to_path_buf(), mounted.which()));
                let mut before = context.mounts.get(source).into_iter().flatten();
                let before = before.find(|it| it.path == mounted.path).cloned();
                summary.mounts.push(before.unwrap_or(mounted));
            }
        }
        told
    }
}
