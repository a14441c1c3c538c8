//! What people are told of a run through programs of theirs.

use std::time::Duration;

use backplan_compiler::graph::Occasion;
use backplan_compiler::lower::{fill, zone};
use backplan_compiler::model::{Event, NotifyKind, Worded};
use backplan_compiler::value::Text;

use super::environment;
use super::prepare::PrepareError;
use super::process::{self, Program, Tell};
use super::request::Request;
use super::secrets::Secrets;
use crate::control::Control;

/// How long such a program may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The variables that it is given.
pub fn environment(request: &Request, event: Event, run: &str, warnings: usize) -> Vec<(String, String)> {
    let variables = [
        ("BACKPLAN_EVENT", event.word().to_owned()),
        ("BACKPLAN_PLAN", request.model.name.clone()),
        ("BACKPLAN_RUN", run.to_owned()),
        ("BACKPLAN_WARNINGS", warnings.to_string()),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Tells of a run that could not begin, by those notifications that tell of failures: nobody may be looking. What cannot be
/// told is a line for `tell`. Not of a run that another one keeps out, and not where the plan or the command line asks for
/// what cannot be: that is said to whoever wrote it.
pub fn not_begun(request: &Request, error: &PrepareError, tell: &mut dyn FnMut(String)) {
    if !matches!(error, PrepareError::Plan(_) | PrepareError::Read(_) | PrepareError::State(_)) {
        return;
    }
    let occasion = Occasion { now: Some(request.clock.now()), ..Occasion::default() };
    let zone = zone(&request.model);
    let secrets = Secrets::default().within(Some(LIMIT));
    for notify in request.model.notifies.iter().filter(|notify| notify.on.contains(&Event::Failure)) {
        let NotifyKind::Command { run, env: own } = &notify.kind else { continue };
        let filled = |text: &Text| fill(text, &occasion, &zone).map_err(|error| format!("{error:?}"));
        let argv: Result<Vec<String>, _> = run.iter().map(filled).collect();
        let told = argv.and_then(|argv| {
            let mut env = environment::given(own, &secrets, filled, |error| error.to_string())?;
            env.extend(environment(request, Event::Failure, "", 0));
            let program = Program { argv, env, timeout: Some(LIMIT), ..Program::default() };
            let silent: Tell = std::sync::Arc::new(|_| {});
            process::act(&program, &Control::default(), &silent).map_err(|error| error.to_string())
        });
        if let Err(cause) = told {
            tell(secrets.redact(&format!("notification `{}`: {cause}", notify.name)));
        }
    }
}
