//! Buffers that are used again: fresh memory for each member would cost more than what is done with it.

use std::sync::{Arc, Mutex, PoisonError};

/// No more are kept.
const KEPT: usize = 64;

/// Buffers, shared by all threads of a packing.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// A buffer, with whatever is in it still: to be cleared, or filled from its start.
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn give(&self, buffer: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() > 0 && kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}
