//! Threads that the system may refuse: where there are fewer, the work takes longer.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
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

/// Does something with each of a few, at once where the system gives threads for it; in their order.
pub fn on_each<T: Send, R: Send>(all: impl IntoIterator<Item = T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let waiting: Vec<Mutex<Option<T>>> = all.into_iter().map(|one| Mutex::new(Some(one))).collect();
    let done: Vec<Mutex<Option<R>>> = waiting.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    on_several(waiting.len(), || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = waiting.get(at) else { return };
            let one = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            *done[at].lock().unwrap_or_else(PoisonError::into_inner) = one.map(&work);
        }
    });
    done.into_iter().filter_map(|one| one.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
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
