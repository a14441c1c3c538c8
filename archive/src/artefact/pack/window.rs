//! How much work may be under way: what bounds the memory of a packing.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs that were given out and are not yet written.
#[derive(Debug)]
pub struct Window {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    closed: bool,
}

impl Window {
    /// At most so many.
    pub fn new(most: usize) -> Window {
        Window { state: Mutex::default(), changed: Condvar::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for one more; false once closed.
    pub fn enter(&self) -> bool {
        let waiting = |state: &mut State| state.under_way >= self.most && !state.closed;
        let mut state = self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        state.under_way += 1;
        !state.closed
    }

    /// One is written.
    pub fn leave(&self) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Waits until all are written; false once closed.
    pub fn wait_empty(&self) -> bool {
        let waiting = |state: &mut State| state.under_way > 0 && !state.closed;
        let state = self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    /// Nothing more is wanted.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}
