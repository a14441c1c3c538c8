//! Bringing artefacts into a store, and promising them.

use backplan_compiler::model::{ArchiveId, SourceId, StoreId};

use super::Scene;
use crate::run::coordinator::Failure;

/// What a store is brought of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishPlan {
    /// Nothing changed: the artefact that the manifest will point to is there.
    Nothing,
    /// A file of this name in the staging becomes an artefact of this name.
    Artefact(String),
}

impl PublishPlan {
    /// What is brought, by what the packing came to.
    pub fn make(scene: Scene<'_>, archive: ArchiveId) -> PublishPlan {
        match scene.facts.is_unchanged(archive) {
            true => PublishPlan::Nothing,
            false => {
                PublishPlan::Artefact(scene.graph.artefact_names.get(&archive).cloned().unwrap_or_default())
            }
        }
    }
}

/// What a store's manifest is going to promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitPlan {
    /// The archives whose artefacts are there, whole and under their own names.
    pub archives: Vec<ArchiveId>,
    /// Sources with a backup in their own repository there.
    pub repositories: Vec<SourceId>,
}

impl CommitPlan {
    /// Looks what has come so far; `None`: nothing has.
    pub fn make(scene: Scene<'_>, store: StoreId) -> Option<CommitPlan> {
        let archives = scene.graph.artefact_names.keys().copied();
        let archives = archives.filter(|archive| scene.facts.reached.contains(&(*archive, store)));
        let separates = scene.model.separates.iter();
        let made = separates.map(|own| own.source);
        let made = made.filter(|source| scene.facts.made_apart.contains(&(*source, store)));
        let plan = CommitPlan { archives: archives.collect(), repositories: made.collect() };
        (!plan.archives.is_empty() || !plan.repositories.is_empty()).then_some(plan)
    }
}

/// What is said where an archive has no store to go to: all have dropped out.
pub(crate) fn nowhere(scene: Scene<'_>, archive: ArchiveId) -> Failure {
    let to = scene.model.archive(archive).to.iter();
    let names: Vec<String> = to.map(|store| format!("`{}`", scene.model.store(*store).name)).collect();
    let names = names.join(", ");
    Failure::lasting(format!("there is nowhere to put it: no use of {names} in this run"))
}
