//! What people and machines are told of a run: which message, and when.

use std::sync::Arc;

use backplan_compiler::graph::{Occasion, StepId, When};
use backplan_compiler::lower::{fill, zone};
use backplan_compiler::model::{Event, Model, Worded};
use backplan_compiler::value::Text;
use jiff::Timestamp;

use super::coordinator::{Failure, Performed};
use super::output::Output;
use super::prepare::{PrepareError, host_name};
use super::report::{Report, Verdict, failures, report};
use super::request::Request;
use super::worker::Worker;
use crate::catalog::manifest::Manifest;
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::notify::message::{Message, Newest, Occurrence, Trouble};
use crate::notify::{self, Means};
use crate::programs::process::Tell;
use crate::programs::secrets::Secrets;
use crate::store::Store;

/// How a notification fared that was sent to see whether it arrives.
#[derive(Debug)]
pub struct Tried {
    /// Its name.
    pub name: String,
    /// The way it goes, in a word.
    pub kind: &'static str,
    /// Why it did not arrive.
    pub trouble: Option<String>,
}

/// Sends a message to all that the plan tells of runs, to see whether it arrives.
pub fn test(model: &Model, now: Timestamp, control: &Control) -> Vec<Tried> {
    let secrets = Secrets::default();
    let message = Message::new(Occurrence::Test, &model.name, host_name(), now);
    let occasion = Occasion { now: Some(now), host: Some(host_name()), ..Occasion::default() };
    let fill = |text: &Text| filled(model, &occasion, text);
    let silent: Tell = Arc::new(|_| {});
    let means = Means { secrets: &secrets, control, fill: &fill, tell: &silent };
    let tried = model.notifies.iter().map(|notify| Tried {
        name: notify.name.clone(),
        kind: notify::word(&notify.kind),
        trouble: notify::send(&notify.kind, &message, &means)
            .err()
            .map(|error| secrets.redact(&error.to_string())),
    });
    tried.collect()
}

/// Tells of a run that could not begin, by those notifications that tell of failures: nobody may be looking. What cannot be
/// told is a line for `tell`. Not of a run that another one keeps out, and not where the plan or the command line asks for
/// what cannot be: that is said to whoever wrote it.
pub fn not_begun(request: &Request, error: &PrepareError, tell: &mut dyn FnMut(String)) {
    if !matches!(error, PrepareError::Plan(_) | PrepareError::Read(_) | PrepareError::State(_)) {
        return;
    }
    let now = request.clock.now();
    let occasion = Occasion { now: Some(now), ..Occasion::default() };
    let secrets = Secrets::default();
    let mut message = Message::new(Occurrence::Of(Event::Failure), &request.model.name, host_name(), now);
    message.problems.push(Trouble { step: None, cause: secrets.redact(&error.to_string()) });
    let fill = |text: &Text| filled(&request.model, &occasion, text);
    let silent: Tell = Arc::new(|_| {});
    let control = Control::default();
    let means = Means { secrets: &secrets, control: &control, fill: &fill, tell: &silent };
    for notify in request.model.notifies.iter().filter(|notify| notify.on.contains(&Event::Failure)) {
        if let Err(cause) = notify::send(&notify.kind, &message, &means) {
            tell(secrets.redact(&format!("notification `{}`: {cause}", notify.name)));
        }
    }
}

fn filled(model: &Model, occasion: &Occasion, text: &Text) -> Result<String, String> {
    fill(text, occasion, &zone(model)).map_err(|error| format!("cannot fill in `{text}`: {error:?}"))
}

impl Worker {
    /// Tells of the run, where this is to be told.
    pub(super) fn notify(
        &self,
        step: &StepId,
        notify: usize,
        when: When,
        control: &Control,
    ) -> Result<Performed, Failure> {
        let declared = &self.request.model.notifies[notify];
        let report = self.report_so_far();
        let event = match when {
            When::Before => Event::Start,
            When::After => came_to(report.verdict),
        };
        if !declared.on.contains(&event) {
            return Ok(Performed::Idle(format!("its `on` does not name `{}`", event.word())));
        }
        let message = self.message(event, &report);
        let fill = |text: &Text| filled(&self.request.model, &self.occasion, text);
        let means = Means { secrets: &self.secrets, control, fill: &fill, tell: &self.tell(step) };
        notify::send(&declared.kind, &message, &means).map_err(|error| match error.is_stopped() {
            true => Failure::stopped(),
            // It was tried again where that could help.
            false => Failure::lasting(format!("notification `{}`: {error}", declared.name)),
        })?;
        Ok(Performed::Done(Output::Nothing))
    }

    fn report_so_far(&self) -> Report {
        let standing = self.standing().clone();
        report(&self.request.model, &self.imprint.run.to_string(), &self.graph, &standing, &self.facts())
    }

    fn message(&self, event: Event, report: &Report) -> Message {
        let shown = |text: &str| self.secrets.redact(text);
        let mut message = Message::new(
            Occurrence::Of(event),
            &self.request.model.name,
            self.imprint.host.name.clone(),
            self.request.clock.now(),
        );
        message.run = Some(report.run.clone());
        message.started = Some(self.imprint.started);
        if event == Event::Start {
            return message;
        }
        message.stores.clone_from(&report.committed);
        message.warnings = report.warnings.iter().map(|text| shown(text)).collect();
        message.problems = failures(report)
            .into_iter()
            .map(|(step, cause)| Trouble { step: Some(step), cause: shown(&cause) })
            .collect();
        if event == Event::Failure {
            if message.problems.is_empty() {
                message.problems.extend(without_a_step(report.verdict));
            }
            message.newest = self.newest();
        }
        message
    }

    /// The newest backup of each source, in the stores that this run has open.
    fn newest(&self) -> Vec<Newest> {
        let open = self.sessions.values().filter_map(|session| session.held().store.clone());
        // Who reads this at night counts on it: a run whose artefact is gone is none.
        let looked = |store: Arc<dyn Store>| {
            let mut catalog = Catalog::load(&*store, &self.layout).ok()?;
            catalog.look_for_artefacts(&*store, &self.layout).ok()?;
            Some(catalog)
        };
        let catalogs: Vec<Catalog> = open.filter_map(looked).collect();
        let of = |source: &str| {
            let whole = |catalog: &Catalog, run: &Manifest| {
                catalog.torn(&run.run).is_none()
                    && run.archives.iter().all(|archive| catalog.loss_of(archive).is_none())
            };
            let newest = |catalog: &'_ Catalog| {
                let mut runs = catalog.runs().rev().filter(|run| run.holds_all_of(source));
                runs.find(|run| whole(catalog, run)).map(|run| (run.run, run.started))
            };
            let found = catalogs.iter().filter_map(newest);
            found.max().map(|(run, started)| (run.to_string(), started))
        };
        let sources = self.request.model.sources.iter();
        sources.map(|source| Newest { source: source.name.clone(), backup: of(&source.name) }).collect()
    }
}

fn came_to(verdict: Verdict) -> Event {
    match verdict {
        Verdict::Done => Event::Success,
        Verdict::Warnings => Event::Warning,
        Verdict::Failed | Verdict::Busy | Verdict::Interrupted | Verdict::Terminated => Event::Failure,
    }
}

/// What is told where no step failed.
fn without_a_step(verdict: Verdict) -> Option<Trouble> {
    let cause = match verdict {
        Verdict::Interrupted => "it was interrupted (SIGINT); what was not committed was taken back",
        Verdict::Terminated => "it was told to end (SIGTERM); what was not committed was taken back",
        Verdict::Failed => "no backup was committed, or one lacks something; `plan status` says what",
        Verdict::Done | Verdict::Warnings | Verdict::Busy => return None,
    };
    Some(Trouble { step: None, cause: cause.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_an_event() {
        let events = [
            (Verdict::Done, "success"),
            (Verdict::Warnings, "warning"),
            (Verdict::Failed, "failure"),
            (Verdict::Interrupted, "failure"),
            (Verdict::Terminated, "failure"),
        ];
        for (verdict, word) in events {
            assert_eq!(came_to(verdict).word(), word);
            assert_eq!(without_a_step(verdict).is_some(), word == "failure");
        }
    }
}
