//! No more than so many bytes a second.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::send::send_range;
use super::{Creation, Name, StoreError, StoreErrorKind, Upload};
use crate::control::Control;

/// Bytes that are sent between two looks at the limit.
const CHUNK: usize = 64 << 10;
/// What was not sent in this time may be sent at once.
const SAVED: Duration = Duration::from_millis(250);
/// Between two looks at the control while waiting.
const NAP: Duration = Duration::from_millis(50);

/// A limit, kept by all together that share it.
#[derive(Debug)]
pub struct Limit {
    /// Bytes a second; not 0.
    rate: u64,
    /// When all that was sent until now may have been sent.
    free: Mutex<Instant>,
}

impl Limit {
    /// So many bytes a second; at least one.
    pub fn new(rate: u64) -> Limit {
        Limit { rate: rate.max(1), free: Mutex::new(Instant::now()) }
    }

    /// How long is to be waited before so many bytes more are sent. They count as sent.
    fn book(&self, bytes: usize, now: Instant) -> Duration {
        let takes = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = (*free).max(now.checked_sub(SAVED).unwrap_or(now));
        *free = begins + takes;
        free.saturating_duration_since(now)
    }
}

/// The upload to a store behind these limits, whose waits end when `control` says stop; the upload itself where there are none.
pub fn limited(
    upload: Box<dyn Upload>,
    store: &str,
    limits: Vec<Arc<Limit>>,
    control: &Control,
) -> Box<dyn Upload> {
    match limits.is_empty() {
        true => upload,
        false => Box::new(Limited { upload, store: store.to_owned(), limits, control: control.clone() }),
    }
}

/// Waits until all limits let so many bytes pass; `false`: it was told to stop.
fn wait(limits: &[Arc<Limit>], bytes: usize, control: &Control) -> bool {
    let now = Instant::now();
    let until = now + limits.iter().map(|limit| limit.book(bytes, now)).max().unwrap_or_default();
    loop {
        if control.check().is_err() {
            return false;
        }
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return true,
            left => std::thread::sleep(left.min(NAP)),
        }
    }
}

#[derive(Debug)]
struct Limited {
    upload: Box<dyn Upload>,
    /// The store's name.
    store: String,
    limits: Vec<Arc<Limit>>,
    control: Control,
}

fn failed(store: &str, kind: StoreErrorKind, cause: io::Error) -> StoreError {
    StoreError { store: store.to_owned(), doing: "write".to_owned(), kind, cause }
}

impl Upload for Limited {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        for piece in bytes.chunks(CHUNK) {
            if !wait(&self.limits, piece.len(), &self.control) {
                return Err(failed(&self.store, StoreErrorKind::Stopped, io::Error::other("stopped")));
            }
            self.upload.write(piece)?;
        }
        Ok(())
    }

    fn copies(&self) -> bool {
        self.upload.copies()
    }

    fn again(&mut self, from: &Name, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        // What the store copies is not sent.
        if self.upload.copies() { self.upload.again(from, offset, bytes) } else { self.write(bytes) }
    }

    fn hold(&mut self, len: u64) {
        self.upload.hold(len);
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.upload.patch(offset, bytes)
    }

    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), StoreError> {
        let store = self.store.clone();
        let failed = |cause| failed(&store, StoreErrorKind::Other, cause);
        send_range(from, offset, len, self, &failed)
    }

    fn finish(self: Box<Self>) -> Result<Creation, StoreError> {
        self.upload.finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_sent_takes_as_long_as_the_limit_says_whoever_sends_it() {
        let limit = Limit::new(1000);
        let begin = Instant::now() + Duration::from_secs(10);
        // A quarter of a second may be made up for.
        assert_eq!(limit.book(250, begin).as_millis(), 0);
        assert_eq!(limit.book(1000, begin).as_millis(), 1000);
        assert_eq!(limit.book(500, begin).as_millis(), 1500);
        assert_eq!(limit.book(1250, begin + Duration::from_secs(100)).as_millis(), 1000);
    }

    #[test]
    fn a_wait_ends_when_it_is_told_to() {
        let control = Control::default();
        control.stop();
        assert!(!wait(&[Arc::new(Limit::new(1))], 1 << 20, &control));
    }
}
