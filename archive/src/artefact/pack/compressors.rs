//! Compressors, shared by more workers than there are cores: whoever reads waits for the disk most of the time where nothing is
//! cached, and needs none meanwhile.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::artefact::Codec;
use crate::artefact::member::Writer;

/// As many as may compress at once.
pub struct Compressors {
    writers: Vec<Mutex<Writer>>,
    free: Mutex<usize>,
    given_back: Condvar,
}

/// The right to use one of them, given back also where its worker panics.
struct Turn<'a>(&'a Compressors);

impl Compressors {
    /// So many of them, at this level.
    pub fn new(count: usize, codec: Codec, level: u8) -> Compressors {
        let writers: Vec<_> = (0..count.max(1)).map(|_| Mutex::new(Writer::new(codec, level))).collect();
        Compressors { free: Mutex::new(writers.len()), writers, given_back: Condvar::new() }
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> Turn<'_> {
        let none = |free: &mut usize| *free == 0;
        let mut free = self.given_back.wait_while(self.free(), none).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn(self)
    }

    /// Does something with one of them, when its turn has come.
    pub fn with<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> T {
        let _turn = self.turn();
        loop {
            // Whoever has a turn finds one, if not at once: others change places meanwhile.
            for writer in &self.writers {
                match writer.try_lock() {
                    Ok(mut writer) => return work(&mut writer),
                    Err(TryLockError::Poisoned(writer)) => return work(&mut writer.into_inner()),
                    Err(TryLockError::WouldBlock) => {}
                }
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.given_back.notify_one();
    }
}
