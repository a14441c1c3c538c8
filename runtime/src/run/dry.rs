//! The dry run: the steps of the very graph that a run would take, each with what it would find, write and delete.
//!
//! The coordinator that decides in a run what a failure means for the steps behind it decides it here too, and each step is planned
//! as in a run: its plan is shown where a run would carry it out. Nothing here can write: stores are opened for reading only, no
//! lock is taken, and no state folder is made.

mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backplan_compiler::graph::{Step, StepId};
use backplan_compiler::model::{ArchiveId, StoreId};
use tokio::sync::mpsc;

use super::context::Context;
use super::coordinator::{Bounds, Execution, Failure, FailureKind, Performed, Work, execute};
use super::event::{Outcome, Unobserved};
use super::facts::Facts;
use super::output::Output;
use super::prepare::{PrepareError, prepare_forecast};
use super::report::{Report, StepReport, failures, report};
use super::request::Request;
use super::steps::pack::Estimate;
use super::steps::{Access, Scene, Sight, Stores, handed_on, planned};
use crate::control::Control;
use crate::past::journal::How;
pub use told::{ArchiveForecast, Forecast, StepForecast};

/// Describes the run that would happen now.
///
/// # Errors
/// What would keep a run from beginning.
pub fn forecast(request: Request) -> Result<Forecast, PrepareError> {
    let context = prepare_forecast(request)?;
    let graph = Arc::clone(&context.graph);
    let dry = Arc::new(DryRun {
        context,
        facts: Mutex::default(),
        stores: SeenStores::default(),
        seen: Mutex::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| PrepareError::Read(format!("cannot start: {error}")))?;
    let (work, bounds) = (Arc::clone(&dry) as Arc<dyn Work>, Bounds { jobs: 1, timeout: None });
    // Nobody sends: a dry run has nothing to close, and a signal ends it as it ends any program.
    let (_send, signals) = mpsc::channel(1);
    let execution = runtime.block_on(execute(graph, work, bounds, Arc::new(Unobserved), signals));
    Ok(dry.told(&execution))
}

/// What a plan is shown from.
pub(crate) struct Ahead<'a> {
    /// The run as far as it would have come.
    pub scene: Scene<'a>,
    /// The stores that it would have.
    pub stores: &'a SeenStores,
    /// Whether to stop.
    pub control: &'a Control,
}

/// The stores that a run would have by then, opened for reading.
#[derive(Default)]
pub(crate) struct SeenStores(Mutex<BTreeMap<StoreId, Access>>);

impl SeenStores {
    /// From here on the run would have it.
    pub fn take(&self, id: StoreId, access: Access) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, access);
    }

    /// From here on the run would go on without it.
    pub fn give_up(&self, id: StoreId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Stores for SeenStores {
    fn access(&self, id: StoreId) -> Access {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&id).cloned().unwrap_or(Access::None)
    }
}

/// A run that is only shown.
struct DryRun {
    context: Context,
    /// What the steps would come to, as the run itself keeps it.
    facts: Mutex<Arc<Facts>>,
    stores: SeenStores,
    seen: Mutex<BTreeMap<StepId, Sight>>,
}

impl DryRun {
    fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, work: impl FnOnce(&mut Facts) -> T) -> T {
        work(Arc::make_mut(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn show(&self, step: &Step, control: &Control) -> (Sight, Result<Performed, Failure>) {
        let facts = self.facts();
        let scene = Scene { context: &self.context, facts: &facts, stores: &self.stores };
        match planned(step, scene, control) {
            Ok(plan) => plan.foreseen(&Ahead { scene, stores: &self.stores, control }),
            Err(failure) => (Sight::default(), Err(failure)),
        }
    }
}

impl Work for DryRun {
    fn perform(&self, step: &Step, control: &Control) -> Result<Performed, Failure> {
        let left_out = self.change(|facts| facts.leave_out(self.context.model(), step));
        let (mut sight, result) = self.show(step, control);
        let left_out = left_out.into_iter();
        let left_out = left_out.map(|(_, source, why)| format!("without source `{source}`: {why}"));
        sight.found = left_out.chain(sight.found).collect();
        self.change(|facts| facts.warnings.append(&mut sight.warnings));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(step.id.clone(), sight);
        // Looking again would show the same.
        let last = |failure: Failure| match failure.kind {
            FailureKind::Passing | FailureKind::Away => Failure::lasting(failure.message),
            _ => failure,
        };
        match handed_on(step, result) {
            Ok(Performed::InPart(output, failure)) => Ok(Performed::InPart(output, last(failure))),
            result => result.map_err(last),
        }
    }

    fn time_of(&self, _: usize) -> Option<(String, u64)> {
        None
    }

    fn ended(&self, step: &Step, outcome: &Outcome, output: Output, _: Option<Duration>) {
        self.change(|facts| facts.take(self.context.model(), step, outcome, output));
    }

    fn is_behind(&self, store: StoreId) -> bool {
        let facts = self.facts();
        facts.is_behind(&self.context.levels(&facts), store)
    }

    fn is_partly_done(&self, step: &StepId) -> bool {
        self.facts().is_partly_done(step)
    }

    fn goes_on_without(&self, step: &Step) -> bool {
        self.facts().goes_on_without(self.context.model(), step)
    }
}

impl DryRun {
    /// What all of it comes to, as the report of the run would tell it.
    fn told(&self, execution: &Execution) -> Forecast {
        let (context, facts) = (&self.context, self.facts());
        let id = context.imprint.run.to_string();
        let report = report(context.model(), &id, &context.graph, execution, &facts);
        let mut errors: Vec<String> = Vec::new();
        for step in report.steps.iter().filter(|step| failures(&report).contains_key(step.step.as_str())) {
            errors.extend(step.reason.clone());
        }
        // A store that takes no artefact while others do fails no step.
        let lost = facts.lost.values().filter(|why| !errors.contains(why));
        errors.extend(lost.cloned().collect::<Vec<_>>());
        let archives = context.graph.artefact_names.iter().map(|(id, name)| self.archive(&facts, *id, name));
        let archives = archives.filter(|archive| !archive.stores.is_empty()).collect();
        let run = id.rsplit_once('-').map_or(id.clone(), |(known, _)| format!("{known}-??????"));
        let Report { plan, verdict, steps, warnings, .. } = report;
        let steps = steps.into_iter().map(|step| self.shown(step, &id, &run)).collect();
        Forecast { plan, run, verdict, steps, archives, warnings, errors }
    }

    /// A step as it is shown, without the part of the run's id that is chance.
    fn shown(&self, mut step: StepReport, id: &str, run: &str) -> StepForecast {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let sight = seen.remove(&StepId(step.step.clone())).unwrap_or_default();
        for text in [&mut step.reads, &mut step.writes, &mut step.deletes].into_iter().flatten() {
            *text = text.replace(id, run);
        }
        let outcome = if step.outcome == How::Done { How::WouldRun } else { step.outcome };
        StepForecast { step: StepReport { outcome, took_ms: 0, attempts: 0, ..step }, sight }
    }

    fn archive(&self, facts: &Facts, id: ArchiveId, name: &str) -> ArchiveForecast {
        let (model, archive) = (self.context.model(), self.context.model().archive(id));
        let estimate = facts.ahead.estimates.get(&id).cloned().unwrap_or_default();
        let Estimate { entries, bytes, unmeasured, .. } = estimate;
        let unchanged = facts.unchanged.get(&id);
        let comes =
            |store: &&StoreId| facts.committed.contains(store) && facts.reached.contains(&(id, **store));
        let stores = archive.to.iter().filter(comes);
        ArchiveForecast {
            archive: archive.name.clone(),
            artefact: unchanged.map_or_else(|| name.to_owned(), |record| record.artefact.to_string()),
            unchanged_since: unchanged.map(|record| record.holder.to_string()),
            stores: stores.map(|store| model.store(*store).name.clone()).collect(),
            entries,
            bytes,
            unmeasured: unmeasured.iter().map(|source| model.source(*source).name.clone()).collect(),
        }
    }
}
