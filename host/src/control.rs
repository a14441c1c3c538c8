//! What long work is watched and stopped by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The work was asked to stop. It left nothing that its undo does not know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// Shared between a piece of work and whoever watches it. Clones share the same counters and flag.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stop: AtomicBool,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    files: AtomicU64,
    files_total: AtomicU64,
}

/// A reading of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of contents done.
    pub bytes: u64,
    /// Bytes in all; 0 while unknown.
    pub bytes_total: u64,
    /// Entries done.
    pub files: u64,
    /// Entries in all; 0 while unknown.
    pub files_total: u64,
}

impl Control {
    /// Asks the work to stop at its next chunk.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }

    /// To be called once per chunk (at most 1 MiB or a thousand entries of work).
    ///
    /// # Errors
    /// [`Stopped`], once somebody asked.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.0.stop.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(()) }
    }

    /// Says how much there is to do.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.0.files_total.store(files, Ordering::Relaxed);
        self.0.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// Says what was just done.
    pub fn advance(&self, files: u64, bytes: u64) {
        self.0.files.fetch_add(files, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The counters now.
    pub fn progress(&self) -> Progress {
        Progress {
            bytes: self.0.bytes.load(Ordering::Relaxed),
            bytes_total: self.0.bytes_total.load(Ordering::Relaxed),
            files: self.0.files.load(Ordering::Relaxed),
            files_total: self.0.files_total.load(Ordering::Relaxed),
        }
    }
}
