//! `plan notify --test`

use backplan_runtime::control::Control;
use backplan_runtime::run::notify::test;

use super::plan::ready;
use super::run::clock;
use super::stop::until_signal;
use crate::args::{Global, NotifyArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// Sends a message to all whom the plan tells of its runs.
///
/// # Errors
/// When the plan tells nobody.
pub fn execute(args: &NotifyArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let model = ready(&args.plan, global, console)?.model;
    if model.notifies.is_empty() {
        return Err(Failure::new(format!("plan `{}` tells nobody how its runs went", model.name))
            .help("write a `notify` block into it: `plan explain notify` shows the ways"));
    }
    let now = clock()?.now();
    let control = Control::default();
    let (tried, stopped) = until_signal(&control, || test(&model, now, &control))?;
    for one in &tried {
        match &one.trouble {
            None => console.answer(&format!("`{}` ({}) took the message\n", one.name, one.kind)),
            Some(why) => {
                console.remark("error", &format!("`{}` ({}) was not told: {why}", one.name, one.kind))
            }
        }
    }
    Ok(match (stopped, tried.iter().any(|one| one.trouble.is_some())) {
        (Some(status), _) => status,
        (None, true) => Status::Failed,
        (None, false) => Status::Done,
    })
}
