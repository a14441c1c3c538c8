//! Stores that are away before a run begins, and without which it would fail: they are asked for again, as `retry` says.
//!
//! What a run rests on, and which of its sources have lost something, follows from what its stores have. So a store that comes
//! late is waited for before any of that is looked up, and not by the step that locks it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backplan_compiler::graph::{Action, StepGraph};
use backplan_compiler::model::{Absent, Model, StoreId};
use tokio::sync::mpsc;

use super::context::Context;
use super::coordinator::{StopSignal, backoff};
use super::event::{Event, Observer};
use super::prepare::{PrepareError, Prepared, prepare_run};
use super::request::Request;
use crate::catalog::host::HostLock;
use crate::programs::secrets;

/// Prepares a run, again while stores are away that it cannot do without. What it has met at the last attempt holds, and so it does
/// where a signal comes meanwhile, which is handed on to the run.
///
/// # Errors
/// See [`PrepareError`].
pub(super) async fn prepare(
    request: &Request,
    observer: &Arc<dyn Observer>,
    mut signals: mpsc::Receiver<StopSignal>,
) -> Result<(Context, HostLock, mpsc::Receiver<StopSignal>), PrepareError> {
    let retry = &request.model.retry;
    let (mut attempt, mut patient) = (1, true);
    loop {
        let (context, lock) = match prepare_run(request.clone(), patient)? {
            Prepared::Ready(context, lock) => (*context, lock),
            Prepared::Soon(wait) => {
                observer.event(Event::Note { text: soon(wait) });
                // As below.
                tokio::select! {
                    Some(signal) = signals.recv() => (signals, patient) = (with(signal), false),
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
        };
        let Some(why) = missed(context.model(), &context.graph, &context.away) else {
            return Ok((context, lock, signals));
        };
        if attempt >= retry.attempts {
            return Ok((context, lock, signals));
        }
        let wait = backoff(retry, attempt);
        let text = format!(
            "{}; the run waits for it: asked again in {:.1} s (attempt {attempt} of {})",
            context.secrets.redact(why),
            wait.as_secs_f64(),
            retry.attempts
        );
        observer.event(Event::Note { text });
        secrets::forget();
        // Cancelling either loses nothing: the channel keeps what was sent. Meanwhile the plan is locked: nobody else begins what this
        // run is about to do.
        tokio::select! {
            Some(signal) = signals.recv() => return Ok((context, lock, with(signal))),
            () = tokio::time::sleep(wait) => {}
        }
        drop((context, lock));
        attempt += 1;
    }
}

/// What is said while a run waits for a minute in which no other one began.
pub(super) fn soon(wait: Duration) -> String {
    format!(
        "a run of this minute is there, and names of artefacts have no seconds: waits for the next minute, {} s",
        wait.as_secs() + 1
    )
}

/// A channel in which there is this signal.
fn with(signal: StopSignal) -> mpsc::Receiver<StopSignal> {
    let (send, receive) = mpsc::channel(1);
    // It has room for one.
    let _ = send.try_send(signal);
    receive
}

/// Why a store is away without which the run fails: nothing takes what goes to it, or the plan says so.
pub(super) fn missed<'a>(
    model: &Model,
    graph: &StepGraph,
    away: &'a BTreeMap<StoreId, String>,
) -> Option<&'a str> {
    let locked = |id: &StoreId| graph.doing(&Action::LockStore(*id)).is_some();
    let off: BTreeSet<StoreId> = away.keys().copied().collect();
    let mut used = away.iter().filter(|(id, _)| locked(id));
    used.find(|(id, _)| model.store(**id).absent == Absent::Fail || is_needed(model, graph, **id, &off))
        .map(|(_, why)| why.as_str())
}

/// Whether all stores are away that take an archive, or a repository, which goes to this one.
pub(crate) fn is_needed(model: &Model, graph: &StepGraph, store: StoreId, away: &BTreeSet<StoreId>) -> bool {
    let none_takes = |to: &[StoreId]| {
        to.contains(&store) && to.iter().all(|other| *other == store || away.contains(other))
    };
    let mut archives = graph.artefact_names.keys().map(|id| &model.archive(*id).to);
    let is_made = |source| graph.doing(&Action::DumpApart(source, store)).is_some();
    let mut separates = model.separates.iter().filter(|own| is_made(own.source));
    archives.any(|to| none_takes(to)) || separates.any(|own| none_takes(&own.to))
}
