//! A run as a trace of OpenTelemetry: a span for the run and one below it for each step, sent to a collector behind the run's end by
//! OTLP over HTTP. Only where the program is built with the feature `otlp`.
//!
//! What is told was told to whoever watches the run, so no secret is in it any more. A collector that does not take it changes nothing
//! of what the run came to.

mod proto;
mod target;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use backplan_compiler::graph::StepId;
use prost::Message;

use self::proto::{Export, ResourceSpans, Scope, ScopeSpans, Span, Status, number, text};
use self::target::Target;
use crate::control::Control;
use crate::notify::web;
use crate::past::journal::How;
use crate::run::event::{Event, Observer};
use crate::run::report::{Report, Verdict};

/// Events of a step that are told one by one.
const EVENTS: usize = 100;

/// Watches a run for its trace, and hands all on to another.
pub struct Recorder {
    inner: Arc<dyn Observer>,
    target: Target,
    began: u64,
    spans: Mutex<BTreeMap<StepId, Span>>,
}

/// Nanoseconds since 1970 of the system's clock, by which collectors order what they are told.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn id<const LENGTH: usize>() -> Result<[u8; LENGTH], String> {
    let mut id = [0; LENGTH];
    getrandom::fill(&mut id).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(id)
}

impl Observer for Recorder {
    fn event(&self, event: Event) {
        self.note(&event, now());
        self.inner.event(event);
    }
}

impl Recorder {
    /// Begins a trace, where the variables of OpenTelemetry name a collector; `get` reads a variable.
    ///
    /// # Errors
    /// In words, where what they say cannot be done.
    pub fn begin(
        inner: Arc<dyn Observer>,
        get: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Recorder>, String> {
        let target = Target::of(&|name| get(name).filter(|value| !value.trim().is_empty()))?;
        Ok(target.map(|target| Recorder { inner, target, began: now(), spans: Mutex::default() }))
    }

    fn note(&self, event: &Event, at: u64) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut add = |step: &StepId, name: &str, attributes| {
            if let Some(span) = spans.get_mut(step).filter(|span| span.events.len() < EVENTS) {
                span.events.push(proto::Event { time_unix_nano: at, name: name.to_owned(), attributes });
            }
        };
        match event {
            Event::Started { step, .. } => {
                let span =
                    Span { name: step.0.clone(), kind: 1, start_time_unix_nano: at, ..Span::default() };
                spans.insert(step.clone(), span);
            }
            Event::Retrying { step, attempt, wait, error } => {
                let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                let attributes = vec![
                    number("backplan.attempt", i64::from(*attempt)),
                    number("backplan.wait_ms", wait),
                    text("exception.message", error.clone()),
                ];
                add(step, "retry", attributes);
            }
            Event::Warning { step, text: told } => add(step, "warning", vec![text("message", told.clone())]),
            Event::Finished { step, outcome, took } => {
                let (how, reason) = outcome.told();
                let Some(span) = spans.get_mut(step) else { return };
                let took = u64::try_from(took.as_nanos()).unwrap_or(0);
                span.end_time_unix_nano = span.start_time_unix_nano.saturating_add(took);
                span.attributes = vec![text("backplan.outcome", word(how))];
                span.attributes.extend(reason.map(|reason| text("backplan.reason", reason)));
                let message = reason.unwrap_or_default().to_owned();
                span.status = (how == How::Failed).then_some(Status { message, code: 2 });
            }
            Event::Output { .. } | Event::Note { .. } => {}
        }
    }

    /// Sends the trace of the run: what it came to, or why it could not begin.
    ///
    /// # Errors
    /// In words, where the collector did not take it.
    pub fn send(&self, plan: &str, ended: Result<&Report, &str>) -> Result<(), String> {
        let body = self.trace(plan, ended, now())?.encode_to_vec();
        let mut headers = self.target.headers.clone();
        headers.insert(
            reqwest::header::CONTENT_TYPE,
            reqwest::header::HeaderValue::from_static("application/x-protobuf"),
        );
        let request = web::Request::post(self.target.url.clone(), headers, body);
        let bounds =
            web::Bounds { attempt: self.target.timeout, limit: self.target.timeout, reads: 64 << 10 };
        let answer =
            web::send_within(&request, bounds, &Control::default()).map_err(|error| error.to_string())?;
        let rejected =
            proto::Answer::decode(answer.as_slice()).ok().and_then(|answer| answer.partial_success);
        match rejected.filter(|rejected| rejected.rejected_spans > 0) {
            Some(rejected) => Err(format!(
                "{} spans were rejected: {}",
                rejected.rejected_spans,
                rejected.error_message.escape_debug()
            )),
            None => Ok(()),
        }
    }

    fn trace(&self, plan: &str, ended: Result<&Report, &str>, at: u64) -> Result<Export, String> {
        let (trace_id, parent) = match self.target.parent {
            Some((trace, span)) => (trace, span.to_vec()),
            None => (id()?, Vec::new()),
        };
        let root_id: [u8; 8] = id()?;
        let mut spans = vec![Span {
            span_id: root_id.to_vec(),
            parent_span_id: parent,
            name: "run".to_owned(),
            kind: 1,
            start_time_unix_nano: self.began,
            end_time_unix_nano: at,
            attributes: vec![text("backplan.plan", plan)],
            ..Span::default()
        }];
        match ended {
            Ok(report) => {
                let failed = report.verdict == Verdict::Failed;
                spans[0].attributes.push(text("backplan.run", report.run.clone()));
                spans[0].attributes.push(number("backplan.status", i64::from(report.verdict.status())));
                spans[0].attributes.push(text("backplan.stores", report.committed.join(",")));
                spans[0].status =
                    failed.then(|| Status { message: "a source or a store failed".to_owned(), code: 2 });
            }
            Err(why) => spans[0].status = Some(Status { message: why.to_owned(), code: 2 }),
        }
        let steps = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        for step in steps.values() {
            let mut span =
                Span { span_id: id::<8>()?.to_vec(), parent_span_id: root_id.to_vec(), ..step.clone() };
            if span.end_time_unix_nano == 0 {
                span.end_time_unix_nano = at.max(span.start_time_unix_nano);
            }
            spans.push(span);
        }
        spans.iter_mut().for_each(|span| span.trace_id = trace_id.to_vec());
        let scope = Scope { name: "backplan".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let resource = proto::Resource { attributes: self.target.resource.clone() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        Ok(Export { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] })
    }
}

fn word(how: How) -> &'static str {
    match how {
        How::Done | How::WouldRun => "done",
        How::Failed => "failed",
        How::NotRun => "not_run",
        How::Dropped => "dropped",
    }
}

#[cfg(test)]
mod tests;
