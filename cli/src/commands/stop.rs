//! Work that a signal stops in order.

use std::io;

use backplan_runtime::control::Control;
use backplan_runtime::run::coordinator::StopSignal;
use backplan_runtime::store::leave as leave_servers;
use backplan_runtime::threads::refused;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::run::signals;

use crate::exit::{Failure, Status};

/// Does `work` on this thread. A signal tells `control`; then the signal's status comes back with what the work said.
///
/// # Errors
/// When signals cannot be listened for.
pub fn until_signal<T>(control: &Control, work: impl FnOnce() -> T) -> Result<(T, Option<Status>), Failure> {
    let cannot = |error: std::io::Error| Failure::new(format!("cannot listen for signals: {error}"));
    let runtime = listener().map_err(cannot)?;
    let (heard, hears) = std::sync::mpsc::channel();
    let mut signals = runtime.block_on(async { signals() }).map_err(cannot)?;
    let told = control.clone();
    let listen = async move {
        while let Some(signal) = signals.recv().await {
            told.stop();
            leave_servers();
            if heard.send(signal).is_err() {
                return;
            }
        }
    };
    // It ends with the program.
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(listen))
        .map_err(|error| cannot(refused(error)))?;
    let result = work();
    let status = hears.try_recv().ok().map(|signal| match signal {
        StopSignal::Interrupt => Status::Interrupted,
        StopSignal::Terminate => Status::Terminated,
    });
    Ok((result, status))
}

/// The signals that a run hears, also while its own thread waits for a store: from the first one on, none is waited for long.
///
/// # Errors
/// When they cannot be listened for, or the system has no thread for it.
pub fn signals_aside() -> io::Result<mpsc::Receiver<StopSignal>> {
    let runtime = listener()?;
    let mut signals = runtime.block_on(async { signals() })?;
    let (send, receive) = mpsc::channel(4);
    let listen = async move {
        while let Some(signal) = signals.recv().await {
            leave_servers();
            if send.send(signal).await.is_err() {
                return;
            }
        }
    };
    // It ends with the program.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(listen))?;
    Ok(receive)
}

/// What listens for signals, on the thread that it is given.
fn listener() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// From here on, a file that would become larger than it may (`ulimit -f`) is an error of its writer, as a full disk is, and
/// not the end of this program. Programs that it starts are not changed by it.
pub fn outlive_large_files() {
    if let Ok(runtime) = listener() {
        // Where there is nothing to listen with, there is nothing that could be written either.
        let _ = runtime.block_on(async { signal(SignalKind::from_raw(Signal::XFSZ.as_raw())) });
    }
}
