//! Sources that the plan calls otherwise by now, as far as their own repositories are concerned.

use std::collections::BTreeSet;

use backplan_compiler::model::{Model, SourceId};

use crate::backups::shelf::Shelves;
use crate::catalog::labels::Labels;

/// The sources, of backups in repositories of their own, that the plan has no more.
pub fn gone<'s>(model: &Model, shelves: &'s Shelves) -> BTreeSet<&'s str> {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    let names = runs.flat_map(|run| run.repositories.iter().map(|own| own.source.as_str()));
    names.filter(|name| model.sources.iter().all(|source| source.name != **name)).collect()
}

/// The source kept apart that goes on with one which the plan has no more: the only one whose backups are of the same cluster, by the
/// number that PostgreSQL gave it, or, where it has none yet, whose stanza is the same. What opens its repository opens that of before.
pub fn heir(model: &Model, shelves: &Shelves, gone: &str) -> Option<SourceId> {
    let is_there = model.sources.iter().any(|source| source.name == gone);
    let before = newest(shelves, gone).filter(|_| !is_there)?;
    let mut heirs = model.separates.iter().map(|own| own.source).filter(|id| {
        let source = model.source(*id);
        match newest(shelves, &source.name) {
            Some(now) => now.system_id.is_some() && now.system_id == before.system_id,
            None => {
                let declared = source.postgres().and_then(|own| own.stanza.as_deref());
                declared.is_some() && declared == before.stanza.as_deref()
            }
        }
    });
    heirs.next().filter(|_| heirs.next().is_none())
}

/// What is said of the newest backup of a source's cluster.
fn newest<'s>(shelves: &'s Shelves, source: &str) -> Option<&'s Labels> {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    let told = runs.filter_map(|run| Some((run.run, run.cluster(source)?.labels())));
    told.max_by_key(|(run, _)| *run).map(|(_, labels)| labels)
}
