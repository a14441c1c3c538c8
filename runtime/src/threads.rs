//! Threads that the system may refuse: where there are fewer, the work takes longer.

use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Does `work` on this thread, and on as many more as the system gives until there are `count`.
pub fn on_several(count: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        let work = &work;
        for _ in 1..count {
            if start(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

/// Starts a thread that there must be.
///
/// # Errors
/// Where the system gives none, with where it may be told to.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().spawn_scoped(scope, work).map_err(refused)
}

/// What to say where the system gives no thread.
pub fn refused(cause: io::Error) -> io::Error {
    let text = format!(
        "the system lets this program start no more threads: {cause}; see `ulimit -u`, `ulimit -v`, and `TasksMax` of its service"
    );
    io::Error::new(cause.kind(), text)
}
