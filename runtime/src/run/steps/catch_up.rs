//! A store that was away gets the runs that the others have since: behind the commits, as `plan sync` brings them. The
//! backup of this run is wherever it can be by then, and nothing that goes wrong here takes it away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use backplan_compiler::count::plural;
use backplan_compiler::model::{ArchiveId, Model, StoreId};

use super::deliver::CommitPlan;
use super::{Ahead, Doing, Failure, Output, Performed, Scene, Sight, StepPlan, done};
use crate::catalog::ids::RunId;
use crate::catalog::layout::Layout;
use crate::catalog::made::Made;
use crate::catalog::manifest::Manifest;
use crate::catalog::prune::{Current, Occasion};
use crate::catalog::runs::Catalog;
use crate::run::facts;
use crate::run::sync::{Brought, Giver, StoreSync, Taker, lacking, names_in};
use crate::store::{ReadStore, StoreError};

/// How long a run goes on with it.
const LONGEST: Duration = Duration::from_secs(3600);
const OVER: &str = "what it lacks takes longer than a run has time for: `plan sync` brings it at once";

/// What a store lacks, and is brought.
pub(crate) struct SyncPlan {
    id: StoreId,
    /// What is in the store.
    own: Catalog,
    /// The stores that may have what it lacks.
    givers: Vec<Giver>,
    /// Runs, as it would have them, oldest first.
    wanted: Vec<Manifest>,
    /// In words, what is left to a person.
    told: Vec<String>,
    /// Whether it took nothing of this run, as it lacks what that rests on.
    is_behind: bool,
}

impl SyncPlan {
    /// Looks what it lacks; `None`: nothing.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn make(scene: Scene<'_>, id: StoreId) -> Result<Option<SyncPlan>, Failure> {
        let (context, model) = (scene.context, scene.model());
        let store = scene.store(id)?;
        let others = model.each_store().filter(|(other, _)| *other != id);
        let others: Vec<_> =
            others.filter_map(|(other, _)| Some((other, scene.store(other).ok()??))).collect();
        if let Some(store) = &store {
            let others = others.iter().map(|(id, other)| (*id, other.as_ref() as &dyn ReadStore));
            if !is_behind((id, store.as_ref()), others, &context.layout, &scene.facts.pruned)
                .map_err(|error| Failure::of(&error, &error))?
            {
                return Ok(None);
            }
        }
        let given_up = || scene.facts.pruned.get(&id).into_iter().flatten();
        let of = |(id, store)| {
            let mut giver = Giver::of(id, store, &context.layout)?;
            scene.facts.pruned.get(&id).into_iter().flatten().for_each(|run| giver.catalog.remove(run));
            // What this run has deleted in a store it does not bring back there.
            given_up().for_each(|run| giver.catalog.remove(run));
            Ok(giver)
        };
        let givers: Result<Vec<Giver>, String> = others.into_iter().map(of).collect();
        let mut givers = givers.map_err(Failure::lasting)?;
        let own = scene.catalog(id, store.as_deref()).map_err(Failure::lasting)?;
        let is_behind = !scene.facts.committed.contains(&id);
        let mut occasion = scene.occasion(id, &own);
        if is_behind && occasion.current.is_none() {
            occasion.current = coming(scene, id);
        }
        let folder = context.plan().folder().to_path_buf();
        let to = Behind { model, id, own: &own, occasion, is_behind };
        let (mut wanted, told) = to.plan(&mut givers, &context.layout, &folder).map_err(Failure::lasting)?;
        if let Some(run) = wanted.iter_mut().find(|run| run.run == context.imprint.run) {
            add_apart(scene, id, run);
        }
        Ok(Some(SyncPlan { id, own, givers, wanted, told, is_behind }))
    }

    /// What is told of the store.
    fn told(&self, store: &str) -> Vec<String> {
        self.told.iter().map(|text| format!("store `{store}` {text}")).collect()
    }
}

impl StepPlan for Option<SyncPlan> {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let Some(plan) = *self else { return (Sight::default(), done()) };
        let (context, model) = (ahead.scene.context, ahead.scene.model());
        let (id, is_behind, name) = (plan.id, plan.is_behind, &model.store(plan.id).name);
        let mut sight = Sight { warnings: plan.told(name), ..Sight::default() };
        let mut there = names_in(&plan.own);
        let new = plan.wanted.iter().map(|run| Brought::of(run, |name| there.insert(name.to_owned())));
        let goes_there = |archive: &ArchiveId| {
            let is_made = !ahead.scene.facts.missing.contains_key(archive);
            is_behind && is_made && model.archive(*archive).to.contains(&id)
        };
        let new: Vec<Brought> = new.collect();
        let made = context.graph.artefact_names.iter().filter(|(archive, _)| goes_there(archive));
        // Where nothing changed it is the artefact of an earlier run, which may be there by then.
        let unchanged = |archive: &ArchiveId| ahead.scene.facts.unchanged.get(archive);
        let made =
            made.map(|(id, name)| unchanged(id).map_or_else(|| name.clone(), |it| it.artefact.to_string()));
        let made: Vec<String> = made.collect();
        let run = context.imprint.run;
        let own = (!made.is_empty()).then(|| Brought {
            run,
            bytes: 0,
            artefacts: made.into_iter().filter(|name| there.insert(name.clone())).collect(),
        });
        let objects =
            new.into_iter().chain(own).flat_map(|run| objects(&run, &context.layout, name)).collect();
        if !plan.wanted.is_empty() {
            let count = plural(plan.wanted.len(), "run");
            sight.found.push(match is_behind {
                true => format!(
                    "{count} that it lacks, from the other stores, and then this one, as far as room allows"
                ),
                false => {
                    format!("{count} that it lacks, from the other stores, as far as room and time allow")
                }
            });
        }
        (sight, Ok(Performed::Done(Output::Wrote(objects))))
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        (*self).map_or_else(done, |plan| plan.bring(doing))
    }
}

impl SyncPlan {
    fn bring(self, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let Doing { context, control, .. } = *doing;
        let model = context.model();
        let (store, lease) = doing.session(self.id).opened()?;
        let label = store.label().to_owned();
        self.told(&label).into_iter().for_each(|text| doing.warn(text));
        let by_clock = context.request.clock.now().duration_since(context.imprint.started);
        let passed = Duration::try_from(by_clock).unwrap_or_default().max(context.begun.elapsed());
        let time = time(model, passed);
        // Where the backup of this run comes that way, it takes as long as it takes.
        let until = if self.is_behind { None } else { Some((Instant::now() + time, OVER)) };
        let folder = context.plan().folder().to_path_buf();
        let taker = Taker {
            model,
            layout: &context.layout,
            id: self.id,
            store,
            lease,
            limits: doing.session(self.id).limits(context),
            control,
            until,
            spare: self.own.runs().map(|run| Brought::of(run, |_| true).bytes).max().unwrap_or(0),
            plan: context.identity(self.id),
            state: &folder,
        };
        let mut shown = StoreSync::default();
        let taken = taker.take(self.wanted, &self.givers, &mut shown);
        for run in &shown.runs {
            doing.note(format!("store `{label}`: run `{}`, which it lacked, is there now", run.run));
        }
        let has_come = shown.runs.iter().any(|run| run.run == context.imprint.run);
        if self.is_behind && !has_come {
            doing.records.change(|facts| facts.did_not_reach(model, self.id));
        }
        control.check().map_err(|_| Failure::stopped())?;
        for text in shown.warnings.into_iter().chain(taken.err()) {
            let of = format!("store `{label}`: ");
            doing.warn(if text.starts_with(&of) { text } else { of + &text });
        }
        let brought = shown.runs.iter().flat_map(|run| objects(run, &context.layout, &label));
        Ok(Performed::Done(Output::Wrote(brought.collect())))
    }
}

/// What of the run to come a store that lacks what it rests on will be brought, where no store has the run yet: what stays there is
/// told with that counted in.
fn coming(scene: Scene<'_>, id: StoreId) -> Option<Current> {
    let foreseen = scene.facts.ahead.coming.values().max_by_key(|come| come.run.parts.len())?;
    let mut come = foreseen.clone();
    let goes_there = |name: &str| {
        scene.model().archives.iter().any(|archive| archive.name == name && archive.to.contains(&id))
    };
    come.run.parts.retain(|part| goes_there(&part.archive));
    (!come.run.parts.is_empty()).then_some(come)
}

/// Names in what the others have of this run the backups that it made in the repositories of this store.
fn add_apart(scene: Scene<'_>, id: StoreId, run: &mut Manifest) {
    let context = scene.context;
    let Ok(plan) = CommitPlan::make(scene, id) else { return };
    let (imprint, names) = (&context.imprint, &context.graph.artefact_names);
    let own = facts::manifest(&context.request, imprint, names, scene.facts, &scene.levels(), id, &plan);
    for record in &own.repositories {
        let source = own.source(&record.source);
        let there = run.sources.iter_mut().find(|source| source.name == record.source);
        if let (Some(there), Some(source)) = (there, source) {
            there.clone_from(source);
        }
        run.repositories.push(record.clone());
    }
}

/// A store that may lack runs which others have.
struct Behind<'a> {
    model: &'a Model,
    id: StoreId,
    own: &'a Catalog,
    occasion: Occasion<'a>,
    /// Whether it took nothing of this run, as it lacks what that rests on.
    is_behind: bool,
}

impl Behind<'_> {
    /// What it is brought of these stores.
    fn plan(
        &self,
        givers: &mut [Giver],
        layout: &Layout,
        folder: &Path,
    ) -> Result<(Vec<Manifest>, Vec<String>), String> {
        let Behind { model, id, own, occasion, is_behind } = self;
        let wanted =
            |givers: &[Giver]| since_the_first(lacking(model, *id, own, givers, occasion).0, own, *is_behind);
        own_alone(givers, layout, folder, &wanted)
    }
}

/// What is `wanted` of these stores once they have only runs that this machine has committed there, as they are: whoever may write
/// into one store must not reach the others. Looks at no more than is wanted. In words, which of it is left to a person.
pub(in crate::run) fn own_alone(
    givers: &mut [Giver],
    layout: &Layout,
    folder: &Path,
    wanted: &dyn Fn(&[Giver]) -> Vec<Manifest>,
) -> Result<(Vec<Manifest>, Vec<String>), String> {
    let made = Made::load(folder)?;
    let (mut looked_at, mut strange) = (BTreeSet::new(), BTreeMap::<String, BTreeSet<RunId>>::new());
    loop {
        let found = wanted(givers);
        let new: BTreeSet<RunId> = found.iter().map(|run| run.run).collect();
        // Without a strange one, retention may want others.
        let new: BTreeSet<RunId> = new.difference(&looked_at).copied().collect();
        if new.is_empty() {
            let told = strange.iter().filter_map(|(store, runs)| left(store, runs));
            return Ok((found, told.collect()));
        }
        for giver in &mut *givers {
            let is_new = |run| new.contains(&run);
            let others = made.only_own(&mut giver.catalog, giver.store.as_ref(), layout, is_new);
            let label = giver.store.label().to_owned();
            strange.entry(label).or_default().extend(others.map_err(|error| error.to_string())?);
        }
        looked_at.extend(new);
    }
}

/// What is said of runs of another store that are not brought.
fn left(store: &str, runs: &BTreeSet<RunId>) -> Option<String> {
    let run = runs.first()?;
    let more = if runs.len() > 1 { format!(" and {} more", runs.len() - 1) } else { String::new() };
    Some(format!(
        "lacks run `{run}`{more} of store `{store}`, which is not brought: this machine does not know that it has made it, as it is \
         there. Look at it, and where it is yours, `plan sync` brings it"
    ))
}

/// What is in a store by a run that was brought there, with the store in front.
fn objects(brought: &Brought, layout: &Layout, store: &str) -> Vec<String> {
    let own = [layout.sums(&brought.run), layout.manifest(&brought.run)].map(|name| name.to_string());
    brought.artefacts.iter().cloned().chain(own).map(|name| format!("{store}:{name}")).collect()
}

/// Whether other stores have runs that this one lacks, by their names, and this run has not `pruned` them, or would.
fn is_behind<'s>(
    own: (StoreId, &dyn ReadStore),
    others: impl Iterator<Item = (StoreId, &'s dyn ReadStore)>,
    layout: &Layout,
    pruned: &BTreeMap<StoreId, BTreeSet<RunId>>,
) -> Result<bool, StoreError> {
    let is_pruned = |id: StoreId, run: &RunId| pruned.get(&id).is_some_and(|runs| runs.contains(run));
    let runs = |(id, store): (StoreId, &dyn ReadStore)| -> Result<BTreeSet<RunId>, StoreError> {
        let entries = store.entries(&layout.manifests())?;
        let runs = entries.iter().filter_map(|entry| layout.run_of_manifest(&entry.name));
        Ok(runs.filter(|run| !is_pruned(id, run)).collect())
    };
    let given_up = |run: &RunId| is_pruned(own.0, run);
    let there = runs(own)?;
    for other in others {
        if runs(other)?.iter().any(|run| {
            let is_since = there.first().is_none_or(|first| run > first);
            is_since && !there.contains(run) && !given_up(run)
        }) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of the runs that a store lacks those since its first: what was before it came to the plan, `plan sync` brings where it is
/// wanted. One whose base it never had is for that as well. One that has none begins with the run under way, or, where it lacks what
/// that rests on, with that.
fn since_the_first(wanted: Vec<Manifest>, own: &Catalog, is_behind: bool) -> Vec<Manifest> {
    let mut there: BTreeSet<RunId> = own.runs().map(|run| run.run).collect();
    let begins = |run: &Manifest| run.rests_on().first().map_or(run.run, |base| run.run.min(*base));
    let first = there.first().copied();
    let is_since = |run: &RunId| match first {
        Some(first) => *run > first,
        None => is_behind && wanted.last().is_some_and(|newest| *run >= begins(newest)),
    };
    let since: BTreeSet<RunId> = wanted.iter().map(|run| run.run).filter(is_since).collect();
    let mut kept = Vec::new();
    for run in wanted.into_iter().filter(|run| since.contains(&run.run)) {
        if run.rests_on().is_subset(&there) {
            there.insert(run.run);
            kept.push(run);
        }
    }
    kept
}

/// How long a run that has gone on for so long may go on with it: half of what its own time leaves.
fn time(model: &Model, passed: Duration) -> Duration {
    let Some(timeout) = model.limits.timeout.map(Duration::from_secs) else { return LONGEST };
    (timeout.saturating_sub(passed) / 2).min(LONGEST)
}
