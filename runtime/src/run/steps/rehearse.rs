//! Rehearsals that are due, behind the commits of a run.

use std::collections::BTreeSet;
use std::sync::Arc;

use backplan_compiler::model::{Model, SourceId};
use jiff::Timestamp;

use super::{Ahead, Doing, Failure, Performed, Sight, StepPlan, done};
use crate::backups::rehearsed::{self, every, is_due};
use crate::backups::shelf::{Shelf, Shelves};
use crate::rehearse::wish;
use crate::rehearse::{RehearsalWish, RehearseError, rehearse};
use crate::scratch::{self, Places};
use crate::source;

/// The sources that a run at `now` is to rehearse, by the stores that it can use. Where none tells when the last rehearsal was, it
/// is due.
pub(crate) fn due<'a>(
    model: &Model,
    shelves: impl IntoIterator<Item = &'a Shelf>,
    now: Timestamp,
) -> BTreeSet<SourceId> {
    let wanted: BTreeSet<SourceId> = model.verifies.iter().map(|verify| verify.restore).collect();
    let asked = |id: &SourceId| every(model, *id).map(|every| (*id, every));
    let asked: Vec<(SourceId, u64)> = wanted.iter().filter_map(asked).collect();
    if asked.is_empty() {
        return BTreeSet::new();
    }
    let (known, _) = rehearsed::newest(shelves);
    let is_due = |(id, every): &(SourceId, u64)| is_due(*every, known.get(&model.source(*id).name), now);
    asked.into_iter().filter(is_due).map(|(id, _)| id).collect()
}

/// A rehearsal of a source. Which backup it takes is known once the run is in the stores.
pub(crate) struct RehearsePlan(pub SourceId);

impl StepPlan for RehearsePlan {
    /// What it would be, no dry run knows, but where it could not even begin.
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let name = &ahead.scene.model().source(self.0).name;
        match scratch::lacks(&scratch::usual_place(), 1) {
            Some(error) => (Sight::default(), Err(cannot(name, &error))),
            None => (Sight::default(), done()),
        }
    }

    /// Restores the newest backup of a source, looks at it, throws it away, and writes down what came of it.
    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let (context, control, id) = (doing.context, doing.control, self.0);
        let model = context.model();
        let name = &model.source(id).name;
        let places = Places { place: scratch::usual_place(), state: context.request.state.clone() };
        let wish = RehearsalWish::of_plan(model, id, &context.occasion, &places, &doing.secrets());
        let wish = wish.map_err(|error| match control.check() {
            Err(_) => Failure::stopped(),
            Ok(()) => Failure::lasting(format!("a `command` of `verify`: {error:?}")),
        })?;
        let keys = wish::keys(model, &[id], &doing.secrets()).map_err(Failure::lasting)?;
        // Read once more: the run that is to be restored came to the stores since it began.
        let shelves = Shelves::of_plan(model, None).map_err(Failure::lasting)?.with_keys(&Arc::new(keys));
        let rehearsed =
            rehearse(&shelves, wish, source::way, context.request.clock.now(), control, &doing.tell());
        let record = rehearsed.map_err(|error| match error {
            RehearseError::Stopped(_) => Failure::stopped(),
            error => cannot(name, &error),
        })?;
        for trouble in rehearsed::keep(model, &record) {
            doing.warn(format!("the rehearsal could not be recorded: {trouble}"));
        }
        if !record.passed {
            return Err(Failure::lasting(format!(
                "source `{name}` was restored from run {} and did not pass: {}; the backup stays, and the next run \
                 rehearses again",
                record.run,
                record.failures().join("; ")
            )));
        }
        if let (Some(usable), Some(rto), Some(false)) = (record.usable_ms, record.rto, record.is_in_time()) {
            doing.warn(format!(
                "source `{name}` could be used again {} s after its rehearsal began, and {rto} s were promised (`rto`)",
                usable / 1000
            ));
        }
        done()
    }
}

fn cannot(source: &str, why: &impl std::fmt::Display) -> Failure {
    Failure::lasting(format!("source `{source}` could not be rehearsed: {why}"))
}
