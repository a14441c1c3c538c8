//! Which stores of an archive say what its next run may rest on.

use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::model::{Archive, StoreId};

use super::shelf::Shelf;
use crate::catalog::ids::RunId;
use crate::catalog::made::Made;
use crate::catalog::manifest::{Content, Manifest};

/// The stores of a plan that have a say in what its archives rest on.
///
/// One that lacks the newest run of an archive has none: a whole archive for its sake would end a cycle in the others, and again
/// each night while it takes none. It takes nothing of the run then, and is brought what it lacks and the run behind that, whole, by
/// a store that lacks nothing and takes all that it takes. Where there is no such store, or what it lacks is in runs that it has, what the run makes for it alone has to go there
/// at once, with a manifest that promises no more than is there by then: the others go by what it has.
pub struct Deciding<'s> {
    shelves: BTreeMap<StoreId, &'s Shelf>,
    /// Stores that lack the newest run of an archive and that no other could bring all of the next one.
    alone: BTreeSet<StoreId>,
    made: &'s Made,
}

impl<'s> Deciding<'s> {
    /// Of the stores that can be read, and those in which `new` says that nothing is yet, in a run that makes the archives that
    /// are `meant`. Only runs that this machine has `made` count: whoever may write into one store must not put the others behind.
    pub fn new(
        shelves: BTreeMap<StoreId, &'s Shelf>,
        new: &BTreeSet<StoreId>,
        meant: &[&Archive],
        made: &'s Made,
    ) -> Deciding<'s> {
        let mut deciding = Deciding { shelves, alone: BTreeSet::new(), made };
        let all = || deciding.shelves.keys().chain(new).copied();
        let (behind, current): (BTreeSet<StoreId>, BTreeSet<StoreId>) =
            all().partition(|id| meant.iter().any(|archive| deciding.is_behind(*id, archive)));
        let goes = |id: StoreId| meant.iter().filter(move |archive| archive.to.contains(&id));
        let brings = |other: &StoreId, id: StoreId| goes(id).all(|archive| archive.to.contains(other));
        let is_helped = |id: &StoreId| {
            current.iter().any(|other| brings(other, *id))
                && !goes(*id).any(|archive| deciding.is_short(*id, archive))
        };
        deciding.alone = behind.into_iter().filter(|id| !is_helped(id)).collect();
        deciding
    }

    /// The stores that an archive may rest on what they have in common; empty: it rests on nothing.
    pub fn of(&self, archive: &Archive) -> Vec<&'s Shelf> {
        let is_new = |id: &StoreId| self.alone.contains(id) && !self.shelves.contains_key(id);
        if !archive.self_contained && archive.to.iter().any(is_new) {
            return Vec::new();
        }
        let newest = self.newest(archive);
        let has = |shelf: &Shelf| newest.is_none_or(|run| shelf.catalog.get(&run).is_some());
        let own = archive.to.iter().filter_map(|id| Some((id, *self.shelves.get(id)?)));
        let deciding = own.filter(|(id, shelf)| has(shelf) || self.alone.contains(id));
        deciding.map(|(_, shelf)| shelf).collect()
    }

    /// Whether a store lacks the newest run of an archive that goes there.
    fn is_behind(&self, id: StoreId, archive: &Archive) -> bool {
        // What is whole each time rests on nothing.
        if archive.self_contained || !archive.to.contains(&id) {
            return false;
        }
        match (self.newest(archive), self.shelves.get(&id)) {
            (Some(newest), Some(shelf)) => shelf.catalog.get(&newest).is_none(),
            (newest, _) => newest.is_some(),
        }
    }

    /// Whether a store has a run of those that the newest of an archive rests on without what it rests on there: it got the archive
    /// only later, and a run that is there is not added to.
    fn is_short(&self, id: StoreId, archive: &Archive) -> bool {
        let (Some(newest), Some(shelf)) = (self.newest(archive), self.shelves.get(&id)) else { return false };
        let others = archive.to.iter().filter_map(|id| self.shelves.get(id));
        let held = others.filter_map(|other| other.catalog.get(&newest)).flat_map(|run| &run.archives);
        let mut contents =
            held.filter(|record| record.name == *archive.name).flat_map(|record| &record.contents);
        let lacks = |content: &Content, run: &RunId| {
            let base =
                |there: &Manifest| there.base_of(&archive.name, &content.source, &content.rests_on).is_some();
            shelf.catalog.get(run).is_some_and(|there| !base(there))
        };
        contents.any(|content| content.rests_on.iter().any(|run| lacks(content, run)))
    }

    /// The newest run that has an archive, in any of its stores.
    fn newest(&self, archive: &Archive) -> Option<RunId> {
        let is_its = |run: &&Manifest| {
            self.made.knows(&run.run) && run.archives.iter().any(|record| record.name == *archive.name)
        };
        let shelves = archive.to.iter().filter_map(|id| self.shelves.get(id));
        shelves.filter_map(|shelf| shelf.catalog.runs().rev().find(is_its)).map(|run| run.run).max()
    }
}
