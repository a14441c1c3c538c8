//! Encrypting what is written, chunk by chunk. A chunk with bytes that are going to be replaced is kept as it is until they
//! have been: nothing of it leaves before that, so that no two texts are ever encrypted under one number.

use std::io;
use std::ops::Range;

use super::chunks::{CHUNK, Chunks, SEALED};
use super::head::new_head;

/// A file on its way to being encrypted.
#[derive(Debug)]
pub struct Seal {
    key: Chunks,
    /// Bytes of the header.
    head: u64,
    /// The chunk that is being filled.
    number: u64,
    chunk: Vec<u8>,
    held: Option<Held>,
    is_broken: bool,
}

/// Bytes that are going to be replaced.
#[derive(Debug)]
struct Held {
    bytes: Range<u64>,
    /// Chunks with some of them that have been passed over, as they are, from the first on.
    passed: Vec<(u64, Vec<u8>)>,
}

/// What is to be done with the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// Append.
    Write(Vec<u8>),
    /// The next bytes, so many, are going to be replaced.
    Hold(u64),
    /// Replace, from this offset.
    Patch(u64, Vec<u8>),
}

impl Seal {
    /// A new file for these recipients, which `run` makes, and what it begins with.
    ///
    /// # Errors
    /// When a recipient is none.
    pub fn start(recipients: &[String], run: &str) -> io::Result<(Seal, Act)> {
        let (head, key) = new_head(recipients, run)?;
        let seal = Seal {
            key,
            head: head.len() as u64,
            number: 0,
            chunk: Vec::with_capacity(SEALED),
            held: None,
            is_broken: false,
        };
        Ok((seal, Act::Write(head)))
    }

    /// Appends.
    ///
    /// # Errors
    /// When something could not be encrypted.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<Vec<Act>> {
        let mut acts = Vec::new();
        while !bytes.is_empty() {
            // Only what follows tells that a full chunk is not the last.
            if self.chunk.len() == CHUNK {
                self.close(&mut acts)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
        }
        Ok(acts)
    }

    /// Says that the next `len` bytes are going to be replaced, before any others are.
    pub fn hold(&mut self, len: u64) {
        let from = self.number * CHUNK as u64 + self.chunk.len() as u64;
        // What was to be replaced before and was not can never be.
        self.is_broken |= self.held.is_some();
        self.held = Some(Held { bytes: from..from + len, passed: Vec::new() });
    }

    /// Replaces bytes that were held.
    ///
    /// # Errors
    /// When they were not held, or could not be encrypted.
    pub fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<Option<Act>> {
        let wanted = offset..offset.saturating_add(bytes.len() as u64);
        let Some(Held { passed, .. }) = self.held.take_if(|held| held.bytes == wanted) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a patch of what was not held"));
        };
        overwrite(self.number, &mut self.chunk, offset, bytes);
        let from = passed.first().map(|(number, _)| self.head + number * SEALED as u64);
        let mut patched = Vec::new();
        for (number, mut chunk) in passed {
            overwrite(number, &mut chunk, offset, bytes);
            self.key.seal(number, false, &mut chunk)?;
            patched.append(&mut chunk);
        }
        Ok(from.map(|from| Act::Patch(from, patched)))
    }

    /// The last chunk, and the bytes of the whole file.
    ///
    /// # Errors
    /// When it could not be encrypted, or bytes that were held were not replaced.
    pub fn finish(mut self) -> io::Result<(Vec<u8>, u64)> {
        if self.held.is_some() || self.is_broken {
            return Err(io::Error::other("bytes that were to be replaced were not"));
        }
        self.key.seal(self.number, true, &mut self.chunk)?;
        let size = self.head + self.number * SEALED as u64 + self.chunk.len() as u64;
        Ok((self.chunk, size))
    }

    /// Ends a chunk that others follow.
    fn close(&mut self, acts: &mut Vec<Act>) -> io::Result<()> {
        let mut chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(SEALED));
        let (number, start) = (self.number, self.number * CHUNK as u64);
        self.number += 1;
        match &mut self.held {
            Some(held) if held.bytes.start < start + CHUNK as u64 && start < held.bytes.end => {
                if held.passed.is_empty() {
                    let last = held.bytes.end.saturating_sub(1) / CHUNK as u64;
                    acts.push(Act::Hold((last - number + 1) * SEALED as u64));
                }
                held.passed.push((number, chunk));
                acts.push(Act::Write(vec![0; SEALED]));
            }
            _ => {
                self.key.seal(number, false, &mut chunk)?;
                acts.push(Act::Write(chunk));
            }
        }
        Ok(())
    }
}

/// Lays what of `bytes`, from `offset` on, falls into a chunk over it.
fn overwrite(number: u64, chunk: &mut [u8], offset: u64, bytes: &[u8]) {
    let start = number * CHUNK as u64;
    let from = offset.max(start);
    let to = (offset + bytes.len() as u64).min(start + chunk.len() as u64);
    if from < to {
        chunk[(from - start) as usize..(to - start) as usize]
            .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
    }
}
