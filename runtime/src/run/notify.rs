//! What people and machines are told where there is no run: that one could not begin, or that they can be told.

use std::sync::Arc;

use backplan_compiler::graph::Occasion;
use backplan_compiler::lower::{fill, zone};
use backplan_compiler::model::{Event, Model};
use backplan_compiler::value::Text;
use jiff::Timestamp;

use super::prepare::PrepareError;
use super::request::Request;
use crate::control::Control;
use crate::machine::host_name;
use crate::notify::message::{Message, Occurrence, Trouble};
use crate::notify::{self, Means};
use crate::programs::process::Tell;
use crate::programs::secrets::Secrets;

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

/// A text of the plan, filled in.
///
/// # Errors
/// When it cannot be.
pub(super) fn filled(model: &Model, occasion: &Occasion, text: &Text) -> Result<String, String> {
    fill(text, occasion, &zone(model)).map_err(|error| format!("cannot fill in `{text}`: {error:?}"))
}
