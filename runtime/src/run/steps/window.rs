//! Opening and closing a window.

use backplan_compiler::graph::Occasion;
use backplan_compiler::model::{Model, Window};

use super::{Sight, fill_all};
use crate::run::coordinator::Failure;
use crate::run::journal::{Leave, Record};

/// A window that is opened or closed.
#[derive(Debug, Clone)]
pub(crate) struct WindowPlan<'a> {
    /// The window.
    pub window: &'a Window,
    /// The program that does it, filled in; `None`: nothing is run.
    pub program: Option<Vec<String>>,
    /// How it is closed again, where it is opened now.
    leave: Option<Leave>,
}

impl<'a> WindowPlan<'a> {
    /// Opening a window.
    ///
    /// # Errors
    /// When a text cannot be filled in: also one of `leave`, as what cannot be closed must not be opened.
    pub fn enter(window: &'a Window, model: &Model, occasion: &Occasion) -> Result<WindowPlan<'a>, Failure> {
        Ok(WindowPlan {
            leave: leave(window, model, occasion)?,
            ..of(window, &window.enter, model, occasion)?
        })
    }

    /// Closing a window.
    ///
    /// # Errors
    /// When a text cannot be filled in.
    pub fn leave(window: &'a Window, model: &Model, occasion: &Occasion) -> Result<WindowPlan<'a>, Failure> {
        of(window, &window.leave, model, occasion)
    }

    /// What must be in the journal before the window is opened.
    pub fn intent(&self) -> Record {
        Record::Entering { window: self.window.name.clone(), leave: self.leave.clone() }
    }

    /// What a dry run shows of it.
    pub fn sight(&self) -> Sight {
        let found = self.program.iter().map(|argv| format!("runs: {}", argv.join(" ")));
        Sight { found: found.collect(), ..Sight::default() }
    }
}

/// How a window is closed as the plan has it, filled in; `None`: by no program.
///
/// # Errors
/// When a text cannot be filled in.
pub(crate) fn leave(window: &Window, model: &Model, occasion: &Occasion) -> Result<Option<Leave>, Failure> {
    let argv = window.leave.as_ref().map(|argv| fill_all(argv, model, occasion)).transpose()?;
    Ok(argv.map(|argv| Leave { argv, run_as: window.run_as.clone() }))
}

fn of<'a>(
    window: &'a Window,
    argv: &Option<Vec<backplan_compiler::value::Text>>,
    model: &Model,
    occasion: &Occasion,
) -> Result<WindowPlan<'a>, Failure> {
    let program = argv.as_ref().map(|argv| fill_all(argv, model, occasion)).transpose()?;
    Ok(WindowPlan { window, program, leave: None })
}
