//! Work that a signal stops in order.

use backplan_runtime::control::Control;
use backplan_runtime::run::coordinator::StopSignal;

use super::run::signals;
use crate::exit::{Failure, Status};

/// Does `work` on this thread. A signal tells `control`; then the signal's status comes back with what the work said.
///
/// # Errors
/// When signals cannot be listened for.
pub fn until_signal<T>(control: &Control, work: impl FnOnce() -> T) -> Result<(T, Option<Status>), Failure> {
    let cannot = |error: std::io::Error| Failure::new(format!("cannot listen for signals: {error}"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(cannot)?;
    let (heard, hears) = std::sync::mpsc::channel();
    let mut signals = runtime.block_on(async { signals() }).map_err(cannot)?;
    let told = control.clone();
    runtime.spawn(async move {
        while let Some(signal) = signals.recv().await {
            told.stop();
            if heard.send(signal).is_err() {
                return;
            }
        }
    });
    let result = work();
    runtime.shutdown_background();
    let status = hears.try_recv().ok().map(|signal| match signal {
        StopSignal::Interrupt => Status::Interrupted,
        StopSignal::Terminate => Status::Terminated,
    });
    Ok((result, status))
}
