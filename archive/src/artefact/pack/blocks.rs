//! Blocks of the index on their way, compressed beside what makes them, in a temporary file: the index's length must be known
//! before it is written.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::scratch::unnamed;
use crate::artefact::columns::BlockKind;
use crate::artefact::gzip::Likely;
use crate::artefact::index::BlockPlace;
use crate::artefact::member::{self, Codec};

/// Index blocks are compressed at this level whatever the artefact's: they are small.
pub const LEVEL: u8 = 6;
/// Threads that compress; what makes the blocks is no quicker than so many.
const THREADS_MAX: usize = 4;
/// Blocks that a thread has before it.
const AHEAD: usize = 2;

/// A block as it was made.
pub struct Block {
    /// What it holds.
    pub kind: BlockKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How many rows.
    pub count: usize,
    /// Of its first row.
    pub path: Vec<u8>,
}

/// Blocks, in their order.
pub struct Blocks {
    file: BufWriter<File>,
    written: u64,
    /// Bytes of them, before they were compressed.
    pub decoded: u64,
    /// Where each is, from the first on.
    pub places: Vec<BlockPlace>,
    /// What each thread is given it gives back in the same order: the blocks go round.
    threads: Vec<Compressing>,
    given: usize,
    taken: usize,
    /// Where the system gave no thread.
    here: member::Writer,
}

impl Blocks {
    /// None yet.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(folder: &Path, codec: Codec) -> io::Result<Blocks> {
        let wanted = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        Ok(Blocks {
            file: BufWriter::new(unnamed(folder)?),
            written: 0,
            decoded: 0,
            places: Vec::new(),
            threads: (0..wanted).map_while(|_| Compressing::start(codec).ok()).collect(),
            given: 0,
            taken: 0,
            here: member::Writer::new(codec, LEVEL),
        })
    }

    /// Appends a block.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub fn push(&mut self, block: Block) -> io::Result<()> {
        if self.threads.is_empty() {
            let compressed = compress(&mut self.here, &block);
            return self.write(&block, &compressed);
        }
        if self.given - self.taken == AHEAD * self.threads.len() {
            self.take()?;
        }
        let next = self.given % self.threads.len();
        self.given += 1;
        self.threads[next].blocks.send(block).map_err(|_| ended())
    }

    /// Writes the next block that is compressed.
    fn take(&mut self) -> io::Result<()> {
        let next = self.taken % self.threads.len();
        self.taken += 1;
        let (block, compressed) = self.threads[next].compressed.recv().map_err(|_| ended())?;
        self.write(&block, &compressed)
    }

    fn write(&mut self, block: &Block, compressed: &[u8]) -> io::Result<()> {
        self.file.write_all(compressed)?;
        let kind = block.kind as u8;
        let earlier = self.places.last().filter(|last| last.kind == kind);
        self.places.push(BlockPlace {
            kind,
            offset: self.written,
            len: compressed.len() as u32,
            decoded: block.bytes.len() as u32,
            hash: *blake3::hash(compressed).as_bytes(),
            count: block.count as u32,
            first: earlier.map_or(0, |last| last.first + u64::from(last.count)),
            path: block.path.clone(),
        });
        self.written += compressed.len() as u64;
        self.decoded += block.bytes.len() as u64;
        Ok(())
    }

    /// Waits for all of them; the file, from its start, and how many bytes it has.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub fn finish(mut self) -> io::Result<(File, u64, Vec<BlockPlace>, u64)> {
        while self.taken < self.given {
            self.take()?;
        }
        for Compressing { blocks, thread, .. } in self.threads.drain(..) {
            drop(blocks);
            thread.join().map_err(|_| ended())?;
        }
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok((file, self.written, self.places, self.decoded))
    }
}

fn ended() -> io::Error {
    io::Error::other("a defect in this program, told above")
}

fn compress(writer: &mut member::Writer, block: &Block) -> Vec<u8> {
    let mut out = Vec::new();
    writer.write(&block.bytes, Likely::Plain, &mut out);
    out
}

/// A thread that compresses blocks.
struct Compressing {
    blocks: SyncSender<Block>,
    compressed: Receiver<(Block, Vec<u8>)>,
    thread: JoinHandle<()>,
}

impl Compressing {
    fn start(codec: Codec) -> io::Result<Compressing> {
        let (blocks, queue) = sync_channel::<Block>(AHEAD);
        let (results, compressed) = channel();
        let thread = std::thread::Builder::new().spawn(move || {
            let mut writer = member::Writer::new(codec, LEVEL);
            for block in queue {
                let bytes = compress(&mut writer, &block);
                if results.send((block, bytes)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Compressing { blocks, compressed, thread })
    }
}
