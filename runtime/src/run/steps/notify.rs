//! What people and machines are told of a run: which message, and when.

use std::sync::Arc;

use backplan_compiler::graph::When;
use backplan_compiler::model::{Event, Worded};
use backplan_compiler::value::Text;

use super::{Doing, Failure, Performed, StepPlan, done};
use crate::catalog::manifest::Manifest;
use crate::catalog::runs::Catalog;
use crate::notify::message::{Message, Newest, Occurrence, Trouble};
use crate::notify::{self, Means};
use crate::run::notify::filled;
use crate::run::report::{Report, Verdict, failures};
use crate::store::Store;

/// A notification, by its place in the model. Whether there is something to tell, the end of the run tells.
pub(crate) struct NotifyPlan {
    pub notify: usize,
    pub when: When,
}

impl StepPlan for NotifyPlan {
    /// Tells of the run, where this is to be told.
    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let context = doing.context;
        let declared = &context.model().notifies[self.notify];
        let standing = doing.records.standing().clone();
        let report = doing.records.report(context, &standing);
        let event = match self.when {
            When::Before => Event::Start,
            When::After => came_to(report.verdict),
        };
        if !declared.on.contains(&event) {
            return Ok(Performed::Idle(format!("its `on` does not name `{}`", event.word())));
        }
        let message = message(doing, event, &report);
        let fill = |text: &Text| filled(context.model(), &context.occasion, text);
        let means =
            Means { secrets: &context.secrets, control: doing.control, fill: &fill, tell: &doing.tell() };
        notify::send(&declared.kind, &message, &means).map_err(|error| match error.is_stopped() {
            true => Failure::stopped(),
            // It was tried again where that could help.
            false => Failure::lasting(format!("notification `{}`: {error}", declared.name)),
        })?;
        done()
    }
}

fn message(doing: &Doing<'_>, event: Event, report: &Report) -> Message {
    let context = doing.context;
    let shown = |text: &str| context.secrets.redact(text);
    let mut message = Message::new(
        Occurrence::Of(event),
        &context.model().name,
        context.imprint.host.name.clone(),
        context.request.clock.now(),
    );
    message.run = Some(report.run.clone());
    message.started = Some(context.imprint.started);
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
        message.newest = newest(doing);
    }
    message
}

/// The newest backup of each source, in the stores that this run has open.
fn newest(doing: &Doing<'_>) -> Vec<Newest> {
    let layout = &doing.context.layout;
    let open = doing.held.sessions.values().filter_map(|session| session.held().store.clone());
    // Who reads this at night counts on it: a run whose artefact is gone is none.
    let looked = |store: Arc<dyn Store>| {
        let mut catalog = Catalog::load(&*store, layout).ok()?;
        catalog.look_for_artefacts(&*store, layout).ok()?;
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
    let sources = doing.context.model().sources.iter();
    sources.map(|source| Newest { source: source.name.clone(), backup: of(&source.name) }).collect()
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
