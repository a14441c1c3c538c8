//! Plain lines: one when a step ends, is tried again, or has something to say.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use backplan_compiler::graph::StepId;
use backplan_runtime::control::Control;
use backplan_runtime::run::event::{Event, Observer, Outcome};

use super::{amount, duration};
use crate::journal;
use crate::render::text::harmless;

/// Writes lines to `W`.
#[derive(Debug)]
pub struct Lines<W> {
    quiet: bool,
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    out: W,
    running: BTreeMap<StepId, Control>,
}

impl<W: Write> Lines<W> {
    /// `quiet` leaves nothing but warnings and failures.
    pub fn new(out: W, quiet: bool) -> Self {
        Lines { quiet, state: Mutex::new(State { out, running: BTreeMap::new() }) }
    }
}

impl<W: Write + Send> Observer for Lines<W> {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let line = match event {
            Event::Started { step, control } => {
                state.running.insert(step, control);
                None
            }
            Event::Finished { step, outcome, took } => {
                let control = state.running.remove(&step);
                finished(&step, &outcome, took, control.as_ref(), self.quiet)
            }
            event => said(&event, self.quiet),
        };
        if let Some(line) = line {
            // The standard error is the last resort: there is nowhere to tell of its own trouble.
            let _ = writeln!(state.out, "{}", journal::prefixed(&harmless(&line)));
        }
    }
}

/// The line for a step that ended.
pub(super) fn finished(
    step: &StepId,
    outcome: &Outcome,
    took: Duration,
    control: Option<&Control>,
    quiet: bool,
) -> Option<String> {
    match outcome {
        Outcome::Done if quiet => None,
        Outcome::Done => {
            let progress = control.map(Control::progress).unwrap_or_default();
            let amount = amount(progress.files, progress.bytes, took);
            let amount = if amount.is_empty() { amount } else { format!(" ({amount})") };
            Some(format!("{step}: done in {}{amount}", duration(took)))
        }
        Outcome::Failed(why) => Some(format!("{step}: failed after {}: {why}", duration(took))),
        // It only suffers from what was told before.
        Outcome::NotRun(_) if quiet => None,
        Outcome::NotRun(why) => Some(format!("{step}: not run: {why}")),
        Outcome::Dropped(_) if quiet => None,
        Outcome::Dropped(why) => Some(format!("{step}: left out: {why}")),
    }
}

/// The line for something said while steps run.
pub(super) fn said(event: &Event, quiet: bool) -> Option<String> {
    match event {
        Event::Warning { step, text } => Some(format!("{step}: warning: {text}")),
        _ if quiet => None,
        Event::Retrying { step, attempt, wait, error } => {
            Some(format!("{step}: attempt {attempt} failed, again in {}: {error}", duration(*wait)))
        }
        Event::Output { step, line } => Some(format!("{step}| {line}")),
        Event::Note { text } => Some(text.clone()),
        Event::Started { .. } | Event::Finished { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use backplan_compiler::graph::StepId;
    use backplan_runtime::control::Control;
    use backplan_runtime::run::event::{Event, Observer, Outcome};

    use super::Lines;

    fn told(quiet: bool) -> String {
        let lines = Lines::new(Vec::new(), quiet);
        let pack = StepId("pack/main".into());
        let control = Control::default();
        lines.event(Event::Started { step: pack.clone(), control: control.clone() });
        control.advance(3, 4096);
        lines.event(Event::Warning { step: pack.clone(), text: "`a` grew while it was read".into() });
        let took = Duration::from_secs(2);
        lines.event(Event::Finished { step: pack, outcome: Outcome::Done, took });
        let publish = StepId("publish/main/local".into());
        let outcome = Outcome::Failed("no room".into());
        lines.event(Event::Finished { step: publish, outcome, took });
        String::from_utf8(lines.state.into_inner().unwrap().out).unwrap()
    }

    #[test]
    fn a_log_has_a_line_for_each_thing_that_happened() {
        assert_eq!(
            told(false),
            "pack/main: warning: `a` grew while it was read\n\
             pack/main: done in 2.0 s (3 files, 4.0 KiB, 2.0 KiB/s)\n\
             publish/main/local: failed after 2.0 s: no room\n"
        );
    }

    #[test]
    fn quiet_leaves_what_a_person_must_read() {
        assert_eq!(
            told(true),
            "pack/main: warning: `a` grew while it was read\npublish/main/local: failed after 2.0 s: no room\n"
        );
    }
}
