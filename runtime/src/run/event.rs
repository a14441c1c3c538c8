//! What a run tells whoever watches it.

use std::time::Duration;

use backplan_compiler::graph::StepId;
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::past::journal::How;

/// Watches a run. Called from many threads; must not block for long.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step began; its counters can be watched through the control.
    Started {
        /// Which.
        step: StepId,
        /// Its counters.
        control: Control,
    },
    /// A step failed and will be tried again.
    Retrying {
        /// Which.
        step: StepId,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// Until the next one.
        wait: Duration,
        /// Why it failed.
        error: String,
    },
    /// A step ended.
    Finished {
        /// Which.
        step: StepId,
        /// How.
        outcome: Outcome,
        /// How long it took, all attempts together.
        took: Duration,
    },
    /// A line that a program wrote, secrets taken out.
    Output {
        /// The step that runs the program.
        step: StepId,
        /// The line, without its end.
        line: String,
    },
    /// Something that a person should read.
    Warning {
        /// The step that noticed.
        step: StepId,
        /// What.
        text: String,
    },
    /// Something worth knowing.
    Note {
        /// What.
        text: String,
    },
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Done,
    /// Not at all, for this reason.
    Failed(String),
    /// It was not run, because of what other steps came to.
    NotRun(String),
    /// Its store is absent and the plan says that the run goes on without it.
    Dropped(String),
}

impl Outcome {
    /// Its kind, and the reason where it is not done.
    pub fn told(&self) -> (How, Option<&str>) {
        match self {
            Outcome::Done => (How::Done, None),
            Outcome::Failed(reason) => (How::Failed, Some(reason)),
            Outcome::NotRun(reason) => (How::NotRun, Some(reason)),
            Outcome::Dropped(reason) => (How::Dropped, Some(reason)),
        }
    }
}

/// An observer for whom nobody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn event(&self, _: Event) {}
}
