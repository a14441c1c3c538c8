//! Opening and closing a window.

use std::time::Duration;

use backplan_compiler::graph::Occasion;
use backplan_compiler::model::{Model, Window};
use backplan_compiler::value::Text;

use super::{
    Ahead, Context, Doing, Failure, FailureKind, Leave, Performed, Record, Sight, StepPlan, done, fill_all,
};
use crate::programs::process::{self, Program};
use crate::run::context::program_failure;

/// How long leaving a window may take where its plan does not give the window longer: a program that hangs must not keep the
/// run, and every run after it, from ending.
const LEAVE_LIMIT: Duration = Duration::from_secs(600);

/// How long leaving a window with this `timeout` may take.
fn leave_limit(timeout: Option<u64>) -> Duration {
    LEAVE_LIMIT.max(Duration::from_secs(timeout.unwrap_or_default()))
}

/// A window that is opened.
pub(crate) struct EnterStep<'a> {
    window: &'a Window,
    /// The program that does it, filled in; `None`: nothing is run.
    program: Option<Vec<String>>,
    /// How it is closed again.
    leave: Option<Leave>,
}

impl<'a> EnterStep<'a> {
    /// Fills in the programs: also that of `leave`, as what cannot be closed must not be opened.
    ///
    /// # Errors
    /// When a text cannot be.
    pub fn make(context: &'a Context, window: usize) -> Result<EnterStep<'a>, Failure> {
        let (model, occasion) = (context.model(), &context.occasion);
        let window = &model.windows[window];
        let leave = leave(window, model, occasion)?;
        Ok(EnterStep { window, leave, program: filled(&window.enter, model, occasion)? })
    }
}

impl StepPlan for EnterStep<'_> {
    fn leave(&self) -> Option<Leave> {
        self.leave.clone()
    }

    fn foreseen(self: Box<Self>, _: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        (runs(self.program.as_deref()), done())
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let Some(program) = program(doing, self.window, self.program, None)? else { return done() };
        process::act(&program, doing.control, &doing.tell()).map_err(|error| program_failure(&error))?;
        done()
    }
}

/// A window that is closed.
pub(crate) struct LeaveStep<'a> {
    window: &'a Window,
    program: Result<Option<Vec<String>>, Failure>,
}

impl<'a> LeaveStep<'a> {
    /// Fills in its program.
    pub fn make(context: &'a Context, window: usize) -> LeaveStep<'a> {
        let (model, occasion) = (context.model(), &context.occasion);
        let window = &model.windows[window];
        LeaveStep { window, program: filled(&window.leave, model, occasion) }
    }
}

impl StepPlan for LeaveStep<'_> {
    fn foreseen(self: Box<Self>, _: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        match self.program {
            Ok(program) => (runs(program.as_deref()), done()),
            Err(failure) => (Sight::default(), Err(failure)),
        }
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let window = self.window;
        let left = self.program.and_then(|argv| {
            let limit = Some(leave_limit(window.timeout));
            let Some(program) = program(doing, window, argv, limit)? else { return Ok(()) };
            // The world waits for it: a shortage that passes must not keep it waiting until the next run.
            process::act_surely(&program, doing.control, &doing.tell())
                .map_err(|error| program_failure(&error))
        });
        left.map_err(|failure| Failure {
            message: format!(
                "{}; the window may still be open: leave it by hand, or the next run tries again",
                failure.message
            ),
            ..failure
        })?;
        doing.note_down(&Record::Left { window: window.name.clone() })?;
        done()
    }
}

fn runs(program: Option<&[String]>) -> Sight {
    let found = program.map(|argv| format!("runs: {}", argv.join(" ")));
    Sight { found: found.into_iter().collect(), ..Sight::default() }
}

fn filled(
    argv: &Option<Vec<Text>>,
    model: &Model,
    occasion: &Occasion,
) -> Result<Option<Vec<String>>, Failure> {
    argv.as_ref().map(|argv| fill_all(argv, model, occasion)).transpose()
}

/// How a window is closed as the plan has it, filled in; `None`: by no program.
fn leave(window: &Window, model: &Model, occasion: &Occasion) -> Result<Option<Leave>, Failure> {
    let argv = filled(&window.leave, model, occasion)?;
    Ok(argv.map(|argv| Leave { argv, run_as: window.run_as.clone() }))
}

/// The program that opens or closes a window, with what it is given.
fn program(
    doing: &Doing<'_>,
    window: &Window,
    argv: Option<Vec<String>>,
    timeout: Option<Duration>,
) -> Result<Option<Program>, Failure> {
    let Some(argv) = argv else { return Ok(None) };
    let (env, run_as) = (given(doing, window)?, window.run_as.clone());
    Ok(Some(Program { argv, env, run_as, timeout, ..Program::default() }))
}

fn given(doing: &Doing<'_>, window: &Window) -> Result<Vec<(String, String)>, Failure> {
    let secrets = doing.secrets().within(Some(leave_limit(window.timeout)));
    doing.context.given(&format!("window `{}`", window.name), &window.env, &secrets)
}

/// Leaves a window that an earlier run left open: as that run meant to, and where that fails as the plan has it by now.
pub(super) fn leave_late(doing: &Doing<'_>, window: &str, meant: &Leave) -> Result<(), Failure> {
    let (model, occasion) = (doing.context.model(), &doing.context.occasion);
    let declared = model.windows.iter().find(|declared| declared.name == *window);
    // Not from the journal: that holds no secrets.
    let env = declared.map_or(Ok(Vec::new()), |declared| given(doing, declared))?;
    let act = |leave: &Leave| {
        let (argv, run_as, env) = (leave.argv.clone(), leave.run_as.clone(), env.clone());
        let program = Program { argv, env, run_as, timeout: Some(LEAVE_LIMIT), ..Program::default() };
        process::act_surely(&program, doing.control, &doing.tell()).map_err(|error| program_failure(&error))
    };
    let Err(failure) = act(meant) else { return Ok(()) };
    let mended = declared.and_then(|declared| {
        let mended = leave(declared, model, occasion).ok()??;
        Some(mended).filter(|mended| mended != meant)
    });
    match mended.filter(|_| failure.kind != FailureKind::Stopped) {
        Some(mended) => act(&mended),
        None => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_left_in_ten_minutes_or_in_the_time_it_may_be_open() {
        assert_eq!(leave_limit(None), Duration::from_secs(600));
        assert_eq!(leave_limit(Some(5)), Duration::from_secs(600));
        assert_eq!(leave_limit(Some(3600)), Duration::from_secs(3600));
    }
}
