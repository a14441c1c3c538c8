//! Deleting from a store what retention gives up, now that this run is in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use backplan_compiler::count::plural;
use backplan_compiler::model::StoreId;

use super::{Ahead, Doing, Failure, Output, Performed, Scene, Sight, StepPlan};
use crate::catalog::ids::RunId;
use crate::catalog::prune::{Occasion, PrunePlan};
use crate::catalog::runs::Catalog;
use crate::past::history;
use crate::run::prune::{self, Pruning, occasion, strange};
use crate::run::spared::Pruned;
use crate::run::sync::Giver;
use crate::store::{ReadStore, Store};

/// The prune of a store.
pub(crate) struct PruneStep {
    id: StoreId,
    /// The store as the plan calls it.
    label: String,
    /// `None`: in a dry run, as it would be made.
    store: Option<Arc<dyn Store>>,
    pruning: Pruning,
}

impl PruneStep {
    /// Looks at the runs that are in the store.
    ///
    /// # Errors
    /// When it cannot tell what is there.
    pub fn make(scene: Scene<'_>, id: StoreId) -> Result<PruneStep, Failure> {
        let store = scene.store(id)?;
        let catalog = scene.catalog(id, store.as_deref()).map_err(Failure::passing)?;
        let there = store.as_deref().map(|store| store as &dyn ReadStore);
        let occasion = |catalog: &mut Catalog| {
            if catalog.has_losses() {
                name_mends(scene, id, catalog);
            }
            scene.occasion(id, catalog)
        };
        let spared = |own: &Catalog, occasion: &Occasion<'_>, plan: &PrunePlan| {
            spared(scene, Pruned { model: scene.model(), id, own, occasion }, plan)
        };
        let pruning = Pruning::make(there, &scene.context.layout, catalog, occasion, spared);
        let label = scene.model().store(id).name.clone();
        Ok(PruneStep { id, label, store, pruning: pruning.map_err(Failure::passing)? })
    }
}

/// Of what `keep` gives up in a store what the catch-up behind it would bring back. A store that cannot be read brings nothing.
fn spared(scene: Scene<'_>, pruned: Pruned<'_>, plan: &PrunePlan) -> Result<BTreeSet<RunId>, String> {
    if !pruned.may_come_back(plan) {
        return Ok(BTreeSet::new());
    }
    let others = scene.model().each_store().filter(|(other, _)| *other != pruned.id);
    let others = others.filter_map(|(other, _)| {
        let giver = Giver::of(other, scene.store(other).ok()??, &scene.context.layout).ok()?;
        let occasion = scene.occasion(other, &giver.catalog);
        Some(giver.pruned(&occasion))
    });
    let others = others.collect();
    let folder = scene.context.plan().folder().to_path_buf();
    pruned.brought_back(plan, others, (&scene.context.layout, &folder))
}

/// Says of what a store has lost how it comes back from the others.
fn name_mends(scene: Scene<'_>, id: StoreId, catalog: &mut Catalog) {
    let model = scene.model();
    let others = model.each_store().filter(|(other, _)| *other != id).filter_map(|(other, declared)| {
        let store = scene.store(other).ok()??;
        let mut held = scene.catalog(other, Some(store.as_ref())).ok()?;
        held.look_for_artefacts(store.as_ref(), &scene.context.layout).ok()?;
        Some((declared.name.as_str(), held))
    });
    let others: Vec<(&str, Catalog)> = others.collect();
    catalog.name_mends(&others.iter().map(|(label, held)| (*label, held)).collect::<Vec<_>>());
}

impl<'a> Scene<'a> {
    /// What a prune of a store is made from now.
    pub(super) fn occasion(&self, id: StoreId, catalog: &Catalog) -> Occasion<'a> {
        let current = self.current(id, catalog);
        let remembered = {
            let plan = self.context.plan();
            let accepted = match &current {
                Some(current) => self.context.watch.foreseen_accepted(&plan, current),
                None => plan.accepted().clone(),
            };
            let strange = strange(plan.folder(), (catalog, &self.model().store(id).name), &[]);
            (history::newest(&plan, Some(&self.context.imprint.run)), accepted, strange)
        };
        occasion(self.model(), id, self.context.now(), current, remembered)
    }
}

impl StepPlan for PruneStep {
    fn foreseen(mut self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let (plan, label) = (&self.pruning.plan, &self.label);
        let going = plan.order().len();
        let mut sight = Sight::found(staying(plan.runs.len() - going, going));
        if plan.refused.is_empty() {
            sight.found.extend(plan.held.iter().map(ToString::to_string));
        }
        let refused =
            plan.refused.iter().map(|why| format!("store `{label}`: nothing would be pruned: {why}"));
        let warned = plan.warnings.iter().map(|text| format!("store `{label}`: {text}"));
        sight.warnings.extend(refused.chain(warned));
        if let Some(store) = &self.store {
            let folder = ahead.scene.context.plan().folder().to_path_buf();
            match self.pruning.preview(store.as_ref(), &ahead.scene.context.layout, &folder) {
                Ok((names, left)) => {
                    sight.warnings.extend(left.into_iter().map(|text| format!("store `{label}`: {text}")));
                    sight.would_delete.extend(names.into_iter().map(|name| format!("{label}:{name}")));
                }
                Err(error) => return (sight, Err(Failure::lasting(error))),
            }
        }
        let pruned = self.pruning.plan.order().iter().copied().collect();
        (sight, Ok(Performed::Done(Output::Pruned(pruned))))
    }

    fn carry_out(mut self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let (store, lease) = doing.session(self.id).opened()?;
        let (plan, label) = (&self.pruning.plan, &self.label);
        let refused = plan.refused.iter().map(|why| format!("nothing is pruned: {why}"));
        for text in plan.warnings.iter().cloned().chain(refused) {
            doing.warn(format!("store `{label}`: {text}"));
        }
        if plan.refused.is_empty() {
            plan.held.iter().for_each(|held| doing.note(format!("store `{label}`: {held}")));
        }
        let going = plan.order().iter().copied().collect();
        let folder = doing.context.plan().folder().to_path_buf();
        let (ground, mut pruned) =
            ((store.as_ref(), &doing.context.layout, &*lease), prune::Pruned::default());
        let mut told = |run: &RunId| {
            doing.note(format!("store `{label}`: run `{run}` is deleted, as `keep` gives it up"));
        };
        let done = self.pruning.carry_out(ground, &folder, (&mut pruned, &mut told), doing.control);
        pruned.unkept.into_iter().for_each(|why| doing.warn(why));
        pruned.left.into_iter().for_each(|text| doing.warn(format!("store `{label}`: {text}")));
        done.map_err(Failure::lasting)?;
        Ok(Performed::Done(Output::Pruned(going)))
    }
}

/// `1 run stays, 0 go`
fn staying(stay: usize, go: usize) -> String {
    let (stays, goes) = (if stay == 1 { "stays" } else { "stay" }, if go == 1 { "goes" } else { "go" });
    format!("{} {stays}, {go} {goes}", plural(stay, "run"))
}
