//! What `keep` gives up in a store and others would bring back: it stays.
//!
//! A store that got an archive only lately has earlier runs without it, and other stores have them with it. By what is in the store
//! `keep` may give such a run up, and by what it would be there once it was brought anew it may not: deleted, it would be sent again, and
//! with it all that was there already. So a prune and what a store is brought are decided together.

use std::collections::BTreeSet;
use std::path::Path;

use backplan_compiler::model::{Model, StoreId};

use super::steps::catch_up::own_alone;
use super::sync::{Giver, lacking};
use crate::catalog::ids::RunId;
use crate::catalog::layout::Layout;
use crate::catalog::manifest::Manifest;
use crate::catalog::prune::{Occasion, PrunePlan};
use crate::catalog::runs::Catalog;

/// A store that is pruned.
#[derive(Clone, Copy)]
pub(super) struct Pruned<'a> {
    pub model: &'a Model,
    pub id: StoreId,
    /// What is in it.
    pub own: &'a Catalog,
    pub occasion: &'a Occasion<'a>,
}

impl Pruned<'_> {
    /// Whether another store could have more of what `keep` gives up here: who knows that it cannot need not look into the others.
    pub fn may_come_back(&self, plan: &PrunePlan) -> bool {
        let Pruned { model, id, own, .. } = self;
        let mut meant = model.archives.iter().filter(|archive| archive.to.contains(id));
        let is_short = |run: &Manifest| {
            let has = |name: &str| {
                run.archives.iter().any(|held| held.name == *name && own.loss_of(held).is_none())
            };
            meant.any(|archive| !has(&archive.name))
        };
        model.stores.len() > 1 && plan.order().iter().filter_map(|run| own.get(run)).any(is_short)
    }

    /// Of what `keep` gives up here what these stores would bring back, with what that rests on.
    ///
    /// # Errors
    /// When what they have cannot be read.
    pub fn brought_back(
        &self,
        plan: &PrunePlan,
        mut givers: Vec<Giver>,
        (layout, folder): (&Layout, &Path),
    ) -> Result<BTreeSet<RunId>, String> {
        let mut going: BTreeSet<RunId> = plan.order().iter().copied().collect();
        let mut spared = BTreeSet::new();
        // What stays is no longer brought: each turn takes out more, until nothing of what goes would come back.
        loop {
            let back = |givers: &[Giver]| self.back(&going, givers);
            let (back, _) = own_alone(&mut givers, layout, folder, &back)?;
            if back.is_empty() {
                return Ok(spared);
            }
            let founded = back.iter().map(|run| run.run).chain(self.bases(&back));
            let stays: BTreeSet<RunId> = founded.filter(|run| going.contains(run)).collect();
            going.retain(|run| !stays.contains(run));
            spared.extend(stays);
        }
    }

    /// What would be brought of these runs, were they gone.
    fn back(&self, going: &BTreeSet<RunId>, givers: &[Giver]) -> Vec<Manifest> {
        let mut left = Catalog::default();
        let staying = self.own.runs().filter(|run| !going.contains(&run.run));
        staying.for_each(|run| left.add(run.clone()));
        let (wanted, _) = lacking(self.model, self.id, &left, givers, self.occasion);
        wanted.into_iter().filter(|run| going.contains(&run.run)).collect()
    }

    /// What these runs rest on as they are in the store.
    fn bases(&self, runs: &[Manifest]) -> Vec<RunId> {
        runs.iter().filter_map(|run| self.own.get(&run.run)).flat_map(Manifest::rests_on).collect()
    }
}

impl Giver {
    /// Without what `keep` gives up in it too: where that is pruned first, it has nothing to give of it.
    pub(super) fn pruned(mut self, occasion: &Occasion<'_>) -> Giver {
        for run in PrunePlan::make(&self.catalog, occasion).order() {
            self.catalog.remove(run);
        }
        self
    }
}
