//! The bytes of the artefact, on their way to the sink and into a digest.

use std::fs::File;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use super::pool::Pool;
use super::{PackError, Sink};

/// Buffers that wait to be hashed.
const QUEUE: usize = 8;

/// The bytes of the artefact so far.
pub struct Output<'a> {
    sink: &'a mut dyn Sink,
    /// How many there are.
    pub offset: u64,
    sum: Option<Sum>,
}

/// SHA-256 on a thread of its own: it is slower than what the writer does beside it.
enum Sum {
    Beside {
        buffers: SyncSender<Vec<u8>>,
        thread: JoinHandle<[u8; 32]>,
    },
    /// The system gave no thread.
    Here(Sha256, Pool),
}

impl Sum {
    fn start(pool: Pool) -> Sum {
        let (buffers, queue) = sync_channel::<Vec<u8>>(QUEUE);
        let own = pool.clone();
        let started = std::thread::Builder::new().spawn(move || {
            let mut sha256 = Sha256::new();
            for buffer in queue {
                sha256.update(&buffer);
                pool.give(buffer);
            }
            sha256.finalize().into()
        });
        match started {
            Ok(thread) => Sum::Beside { buffers, thread },
            Err(_) => Sum::Here(Sha256::new(), own),
        }
    }

    /// Whether it took the bytes.
    fn add(&mut self, bytes: Vec<u8>) -> bool {
        match self {
            Sum::Beside { buffers, .. } => buffers.send(bytes).is_ok(),
            Sum::Here(sha256, pool) => {
                sha256.update(&bytes);
                pool.give(bytes);
                true
            }
        }
    }

    fn end(self) -> Option<[u8; 32]> {
        match self {
            Sum::Beside { buffers, thread } => {
                drop(buffers);
                thread.join().ok()
            }
            Sum::Here(sha256, _) => Some(sha256.finalize().into()),
        }
    }
}

impl<'a> Output<'a> {
    /// Nothing yet. Buffers that are done with go to `pool`.
    pub fn new(sink: &'a mut dyn Sink, pool: Pool) -> Output<'a> {
        Output { sink, offset: 0, sum: Some(Sum::start(pool)) }
    }

    /// Appends.
    ///
    /// # Errors
    /// The sink's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.append(bytes.to_vec())
    }

    /// Appends, without a copy.
    ///
    /// # Errors
    /// The sink's.
    pub fn append(&mut self, bytes: Vec<u8>) -> Result<(), PackError> {
        self.sink.write(&bytes).map_err(PackError::Sink)?;
        self.offset += bytes.len() as u64;
        if let Some(sum) = &mut self.sum
            && !sum.add(bytes)
        {
            self.sum = None;
        }
        Ok(())
    }

    /// Appends bytes of another file, without looking at them.
    ///
    /// # Errors
    /// The sink's.
    pub fn share(&mut self, from: &File, offset: u64, len: u64) -> Result<(), PackError> {
        self.sum = None;
        self.sink.copy_from(from, offset, len).map_err(PackError::Sink)?;
        self.offset += len;
        Ok(())
    }

    /// Says that the next `len` bytes are going to be replaced.
    pub fn hold(&mut self, len: u64) {
        self.sink.hold(len);
    }

    /// Replaces bytes that were held.
    ///
    /// # Errors
    /// The sink's.
    pub fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PackError> {
        self.sum = None;
        self.sink.patch(offset, bytes).map_err(PackError::Sink)
    }

    /// SHA-256 of all bytes; `None` if some were replaced or not seen.
    pub fn sha256(self) -> Option<[u8; 32]> {
        self.sum?.end()
    }
}
