//! Runs as traces, where the program is built with the feature `otlp`.

use std::env;
use std::sync::Arc;

use backplan_runtime::run::event::Observer;
use backplan_runtime::run::report::Report;
use backplan_runtime::run::request::Request;
use backplan_runtime::trace::Recorder;

use crate::console::Console;
use crate::exit::Failure;

/// Makes a run, and sends its trace where the environment names a collector. One that does not take it is told of, and changes
/// nothing of what the run came to.
///
/// # Errors
/// Where the run may not begin.
pub(super) fn traced(
    request: Request,
    observer: Arc<dyn Observer>,
    console: &mut Console,
    make: impl FnOnce(Request, Arc<dyn Observer>) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let mut untold = |why: &str| console.remark("warning", &format!("the trace was not sent: {why}"));
    let plan = request.model.name.clone();
    let recorder = match Recorder::begin(Arc::clone(&observer), &|name| env::var(name).ok()) {
        Ok(Some(recorder)) => Arc::new(recorder),
        Ok(None) => return make(request, observer),
        Err(why) => {
            untold(&why);
            return make(request, observer);
        }
    };
    let ended = make(request, Arc::clone(&recorder) as Arc<dyn Observer>);
    let told = ended.as_ref().map_err(|failure| failure.message.as_str());
    if let Err(why) = recorder.send(&plan, told) {
        untold(&why);
    }
    ended
}
