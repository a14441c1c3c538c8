//! A store that was away gets the runs that the others have since: behind the commits, as `plan sync` brings them. The
//! backup of this run is wherever it can be by then, and nothing that goes wrong here takes it away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use backplan_compiler::count::plural;
use backplan_compiler::graph::StepId;
use backplan_compiler::model::{ArchiveId, Model, StoreId};
use jiff::Timestamp;

use super::coordinator::Failure;
use super::output::Output;
use super::prepare::Prepared;
use super::prune;
use super::sync::{Brought, Giver, StoreSync, Taker, lacking, names_in};
use super::worker::Worker;
use crate::catalog::ids::RunId;
use crate::catalog::layout::Layout;
use crate::catalog::made::Made;
use crate::catalog::manifest::Manifest;
use crate::catalog::prune::{Current, Occasion};
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::programs::secrets::Secrets;
use crate::store::{self, ReadStore, StoreError};

/// How long a run goes on with it.
const LONGEST: Duration = Duration::from_secs(3600);
const OVER: &str = "what it lacks takes longer than a run has time for: `plan sync` brings it at once";

impl Worker {
    /// Brings to a store what it lacks.
    pub(super) fn catch_up(&self, step: &StepId, id: StoreId, control: &Control) -> Result<Output, Failure> {
        let (store, lease) = self.sessions[&id].opened()?;
        let model = &self.request.model;
        let others = self.sessions.iter().filter(|(other, _)| **other != id);
        let others = others.filter_map(|(other, session)| Some((*other, session.held().store.clone()?)));
        let others: Vec<_> = others.collect();
        let all = others.iter().map(|(_, other)| other.as_ref() as &dyn ReadStore);
        if !is_behind(store.as_ref(), all, &self.layout).map_err(|error| Failure::of(&error, &error))? {
            return Ok(Output::Nothing);
        }
        let of = |(id, store)| Giver::of(id, store, &self.layout);
        let mut givers: Vec<Giver> =
            others.into_iter().map(of).collect::<Result<_, _>>().map_err(Failure::lasting)?;
        let own = Catalog::load(store.as_ref(), &self.layout).map_err(Failure::lasting)?;
        let own_is_there = self.sessions[&id].held().committed;
        let folder = self.plan().folder().to_path_buf();
        let occasion = self.occasion_of(id, self.current(&own));
        let to = Behind { model, id, own: &own, occasion, is_behind: !own_is_there };
        let SyncPlan { wanted, told } =
            to.plan(&mut givers, &self.layout, &folder).map_err(Failure::lasting)?;
        for text in told {
            self.warn(step, format!("store `{}` {text}", store.label()));
        }
        let label = store.label().to_owned();
        let declared = model.store(id);
        let known = self.plan().known(&declared.name, &declared.location());
        let time = time(model, self.imprint.started, self.request.clock.now());
        // Where the backup of this run comes that way, it takes as long as it takes.
        let until = if own_is_there { Some((Instant::now() + time, OVER)) } else { None };
        let taker = Taker {
            model,
            layout: &self.layout,
            id,
            store,
            lease,
            limits: self.limits(id),
            control,
            until,
            spare: own.runs().map(|run| Brought::of(run, |_| true).bytes).max().unwrap_or(0),
            plan: known.unwrap_or(self.imprint.plan),
            state: &folder,
        };
        let mut shown = StoreSync::default();
        let taken = taker.take(wanted, &givers, &mut shown);
        for run in &shown.runs {
            self.note(format!("store `{label}`: run `{}`, which it lacked, is there now", run.run));
        }
        let brought = shown.runs.iter().flat_map(|run| objects(run, &self.layout, &label));
        let brought = Output::Wrote(brought.collect());
        if !own_is_there && !shown.runs.iter().any(|run| run.run == self.imprint.run) {
            self.did_not_reach(id);
        }
        control.check().map_err(|_| Failure::stopped())?;
        for text in shown.warnings.into_iter().chain(taken.err()) {
            let of = format!("store `{label}`: ");
            let text = if text.starts_with(&of) { text } else { of + &text };
            self.warn(step, text);
        }
        Ok(brought)
    }
}

impl Worker {
    /// Keeps that a store has not come to have what this run made for it.
    fn did_not_reach(&self, id: StoreId) {
        let (model, mut facts) = (&self.request.model, self.facts());
        let made: Vec<ArchiveId> = facts.archives.keys().copied().collect();
        for archive in made.into_iter().filter(|archive| model.archive(*archive).to.contains(&id)) {
            let why = "it could not be brought there behind what it rests on".to_owned();
            facts.lost.insert((archive, id), why);
        }
    }
}

/// What a store is brought.
struct SyncPlan {
    /// Runs, as it would have them, oldest first.
    wanted: Vec<Manifest>,
    /// In words, what is left to a person.
    told: Vec<String>,
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
    fn plan(&self, givers: &mut [Giver], layout: &Layout, folder: &Path) -> Result<SyncPlan, String> {
        let Behind { model, id, own, occasion, is_behind } = self;
        let wanted =
            |givers: &[Giver]| since_the_first(lacking(model, *id, own, givers, occasion).0, own, *is_behind);
        let (wanted, told) = own_alone(givers, layout, folder, &wanted)?;
        Ok(SyncPlan { wanted, told })
    }
}

/// What is `wanted` of these stores once they have only runs that this machine has committed there, as they are: whoever may write
/// into one store must not reach the others. Looks at no more than is wanted. In words, which of it is left to a person.
fn own_alone(
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

/// What a run would bring to a store.
pub(super) struct Coming {
    /// In words, if it is anything.
    pub words: Option<String>,
    /// The objects, each with its store in front.
    pub objects: Vec<String>,
    /// What it would warn of.
    pub warnings: Vec<String>,
}

/// What a run would bring to a store: behind the run to `come`, and the prunes before which some are `going`.
pub(super) fn foreseen(
    prepared: &Prepared,
    id: StoreId,
    come: Current,
    going: &BTreeSet<(StoreId, RunId)>,
    is_behind: bool,
) -> Option<Coming> {
    let model = &prepared.request.model;
    let open = |id: StoreId| {
        let store = store::open(model.store(id), &Secrets::default()).ok()?;
        let mut giver = Giver::of(id, store, &prepared.layout).ok()?;
        going.iter().filter(|(at, _)| *at == id).for_each(|(_, run)| giver.catalog.remove(run));
        Some(giver)
    };
    // What keeps a store from being read is told where it is locked.
    let own = open(id)?;
    let others = model.each_store().filter(|(other, _)| *other != id);
    let mut givers: Vec<Giver> = others.filter_map(|(other, _)| open(other)).collect();
    let remembered = prune::remembered(&prepared.plan);
    let occasion = prune::occasion(model, id, prepared.started, Some(come), remembered);
    let to = Behind { model, id, own: &own.catalog, occasion, is_behind };
    let planned = to.plan(&mut givers, &prepared.layout, prepared.plan.folder());
    let SyncPlan { wanted, told } =
        planned.unwrap_or_else(|error| SyncPlan { wanted: Vec::new(), told: vec![error] });
    let told = told.into_iter().map(|text| format!("store `{}` {text}", model.store(id).name)).collect();
    let mut there = names_in(&own.catalog);
    let new = wanted.iter().map(|run| Brought::of(run, |name| there.insert(name.to_owned())));
    let goes_there = |archive: &ArchiveId| is_behind && model.archive(*archive).to.contains(&id);
    let names = prepared.graph.artefact_names.iter().filter(|(archive, _)| goes_there(archive));
    let own: Vec<String> = names.map(|(_, name)| name.clone()).collect();
    let own = (!own.is_empty()).then_some(Brought { run: prepared.run, bytes: 0, artefacts: own });
    let new = new.collect::<Vec<_>>().into_iter().chain(own);
    let new = new.flat_map(|run| objects(&run, &prepared.layout, &model.store(id).name)).collect();
    let words = (!wanted.is_empty()).then(|| {
        let count = plural(wanted.len(), "run");
        match is_behind {
            true => format!(
                "{count} that it lacks, from the other stores, and then this one, as far as room allows"
            ),
            false => format!("{count} that it lacks, from the other stores, as far as room and time allow"),
        }
    });
    Some(Coming { words, objects: new, warnings: told })
}

/// What is in a store by a run that was brought there, with the store in front.
fn objects(brought: &Brought, layout: &Layout, store: &str) -> Vec<String> {
    let own = [layout.sums(&brought.run), layout.manifest(&brought.run)].map(|name| name.to_string());
    brought.artefacts.iter().cloned().chain(own).map(|name| format!("{store}:{name}")).collect()
}

/// Whether other stores have runs that this one lacks, by their names.
fn is_behind<'s>(
    own: &dyn ReadStore,
    others: impl Iterator<Item = &'s dyn ReadStore>,
    layout: &Layout,
) -> Result<bool, StoreError> {
    let runs = |store: &dyn ReadStore| -> Result<BTreeSet<RunId>, StoreError> {
        let entries = store.entries(&layout.manifests())?;
        Ok(entries.iter().filter_map(|entry| layout.run_of_manifest(&entry.name)).collect())
    };
    let there = runs(own)?;
    for other in others {
        if runs(other)?
            .iter()
            .any(|run| there.first().is_none_or(|first| run > first) && !there.contains(run))
        {
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

/// How long a run that began at `started` may go on with it: half of what its own time leaves.
fn time(model: &Model, started: Timestamp, now: Timestamp) -> Duration {
    let Some(timeout) = model.limits.timeout.map(Duration::from_secs) else { return LONGEST };
    let passed = Duration::try_from(now.duration_since(started)).unwrap_or_default();
    (timeout.saturating_sub(passed) / 2).min(LONGEST)
}
