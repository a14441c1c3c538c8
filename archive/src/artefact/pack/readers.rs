//! How many read at once. Where contents are cached as many as there are cores are quickest; where each file has to be waited for,
//! a disk answers several questions in the time of one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// So many files more that were not cached than that were let the others begin.
const ENOUGH: u32 = 8;
/// So much is remembered: a tree whose end is cached is read by few again.
const MOST: u32 = 4 * ENOUGH;

/// Lets further workers go to work as long as files have to be waited for.
#[derive(Debug, Default)]
pub struct Readers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waits: u32,
    is_over: bool,
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has looked whether what is read next is cached.
    pub fn saw(&self, is_cached: bool) {
        let mut state = self.lock();
        match is_cached {
            true => state.waits = state.waits.saturating_sub(1),
            false => state.waits = (state.waits + 1).min(MOST),
        }
        if state.waits == ENOUGH {
            self.changed.notify_all();
        }
    }

    /// A further worker waits until it is of use.
    pub fn wait(&self) {
        let idle = |state: &mut State| state.waits < ENOUGH && !state.is_over;
        drop(self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner));
    }

    /// There is nothing more to do.
    pub fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{ENOUGH, Readers};

    #[test]
    fn further_ones_read_as_long_as_files_are_waited_for() {
        let (readers, begun) = (Readers::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                readers.wait();
                begun.fetch_add(1, Ordering::SeqCst);
                readers.wait();
                begun.fetch_add(1, Ordering::SeqCst);
            });
            for _ in 1..ENOUGH {
                readers.saw(false);
            }
            readers.saw(true);
            readers.saw(false);
            assert_eq!(begun.load(Ordering::SeqCst), 0);
            readers.saw(false);
            while begun.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
        });
        // What is over lets everybody go, to find that out.
        let readers = Readers::default();
        readers.end();
        readers.wait();
    }
}
