//! The bytes of the artefact, on their way to the sink and into a digest; encrypted before that, where somebody is named whom
//! they are for.

use std::fs::File;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use super::pool::Pool;
use super::{PackError, PackOptions, Sink};
use crate::cipher::seal::{Act, Seal};

/// Buffers that wait to be hashed.
const QUEUE: usize = 8;

/// The bytes of the artefact so far.
pub struct Output<'a> {
    sink: &'a mut dyn Sink,
    /// How many there are, before they are encrypted.
    pub offset: u64,
    seal: Option<Seal>,
    /// How many the sink was given.
    size: u64,
    sum: Option<Sum>,
    pool: Pool,
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
    /// Nothing yet but, where it is encrypted, the header. Buffers that are done with go to `pool`.
    ///
    /// # Errors
    /// The sink's, or when a recipient is none.
    pub fn start(sink: &'a mut dyn Sink, options: &PackOptions, pool: Pool) -> Result<Output<'a>, PackError> {
        let sum = Some(Sum::start(pool.clone()));
        let mut output = Output { sink, offset: 0, seal: None, size: 0, sum, pool };
        if !options.recipients.is_empty() {
            let (seal, head) = Seal::start(&options.recipients, &options.run).map_err(unsealable)?;
            output.act(head)?;
            output.seal = Some(seal);
        }
        Ok(output)
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
        self.offset += bytes.len() as u64;
        let Some(seal) = &mut self.seal else { return self.send(bytes) };
        let acts = seal.write(&bytes).map_err(unsealable)?;
        self.pool.give(bytes);
        acts.into_iter().try_for_each(|act| self.act(act))
    }

    /// Appends bytes that the base has at `from`.
    ///
    /// # Errors
    /// The sink's.
    pub fn again(&mut self, from: u64, bytes: Vec<u8>) -> Result<(), PackError> {
        if self.seal.is_some() {
            return self.append(bytes);
        }
        self.offset += bytes.len() as u64;
        self.sink.again(from, &bytes).map_err(PackError::Sink)?;
        self.count(bytes);
        Ok(())
    }

    /// Appends bytes of another file, without looking at them.
    ///
    /// # Errors
    /// The sink's.
    pub fn share(&mut self, from: &File, offset: u64, len: u64) -> Result<(), PackError> {
        if self.seal.is_some() {
            return Err(PackError::Request("what is encrypted shares nothing with what is not".to_owned()));
        }
        self.sum = None;
        self.sink.copy_from(from, offset, len).map_err(PackError::Sink)?;
        self.offset += len;
        self.size += len;
        Ok(())
    }

    /// Says that the next `len` bytes are going to be replaced.
    pub fn hold(&mut self, len: u64) {
        match &mut self.seal {
            Some(seal) => seal.hold(len),
            None => self.sink.hold(len),
        }
    }

    /// Replaces bytes that were held.
    ///
    /// # Errors
    /// The sink's.
    pub fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PackError> {
        match &mut self.seal {
            Some(seal) => match seal.patch(offset, bytes).map_err(unsealable)? {
                Some(act) => self.act(act),
                None => Ok(()),
            },
            None => self.replace(offset, bytes),
        }
    }

    /// Ends it: the bytes that the sink was given, and their SHA-256; `None` if some were replaced or not seen.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> Result<(u64, Option<[u8; 32]>), PackError> {
        if let Some(seal) = self.seal.take() {
            let (last, size) = seal.finish().map_err(unsealable)?;
            self.send(last)?;
            debug_assert_eq!(self.size, size);
        }
        Ok((self.size, self.sum.and_then(Sum::end)))
    }

    fn act(&mut self, act: Act) -> Result<(), PackError> {
        match act {
            Act::Write(bytes) => self.send(bytes),
            Act::Hold(len) => {
                self.sink.hold(len);
                Ok(())
            }
            Act::Patch(offset, bytes) => self.replace(offset, &bytes),
        }
    }

    fn send(&mut self, bytes: Vec<u8>) -> Result<(), PackError> {
        self.sink.write(&bytes).map_err(PackError::Sink)?;
        self.count(bytes);
        Ok(())
    }

    /// The sink was given these.
    fn count(&mut self, bytes: Vec<u8>) {
        self.size += bytes.len() as u64;
        if let Some(sum) = &mut self.sum
            && !sum.add(bytes)
        {
            self.sum = None;
        }
    }

    fn replace(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PackError> {
        self.sum = None;
        self.sink.patch(offset, bytes).map_err(PackError::Sink)
    }
}

fn unsealable(cause: std::io::Error) -> PackError {
    PackError::Request(format!("it cannot be encrypted: {cause}"))
}
