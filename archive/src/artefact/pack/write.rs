//! The ordered writer: puts finished members into the artefact and keeps what the index will say of them.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::base::CopyBase;
use super::grains;
use super::job::{Copied, Done, Large, PieceHash, Planned};
use super::keep::{Keep, Runs};
use super::names::Names;
use super::output::Output;
use super::pool::Pool;
use super::scratch::{Members, Slot, Slots};
use super::work::stream_header;
use super::{PackError, PackOptions, Sink};
use crate::artefact::Flags;
use crate::artefact::index::Member;
use crate::artefact::member::{Codec, pad};
use crate::artefact::treehash::Joiner;
use crate::scan::Warnings;

/// Members of the base that are known by their digests: 16 MiB of memory.
const AGAIN_MOST: usize = 1 << 18;

/// What was written of a source.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Entries.
    pub entries: u64,
    /// Bytes of contents.
    pub bytes: u64,
    /// What went differently.
    pub warnings: Warnings,
}

/// A file of several members whose last has not come yet.
struct OpenFile {
    slot: Slot,
    joiner: Joiner,
    hash: Option<[u8; 32]>,
    stream: Option<Planned>,
    /// Its path, and what is known of it, where that is to be kept.
    grains: Option<(Vec<u8>, Vec<grains::Grain>)>,
}

/// The writer.
pub struct Writer<'a> {
    /// Where it writes to.
    pub output: Output<'a>,
    /// What is known of entries.
    pub slots: Slots,
    /// What is known of members.
    pub members: Members,
    /// How many members there are.
    pub member_count: u64,
    /// By source number.
    pub written: Vec<Written>,
    /// Where members of the base are now.
    pub runs: Runs,
    /// Bytes that were copied from the base.
    pub copied: u64,
    base: Option<&'a CopyBase>,
    /// Members of the base that may come out as they were, by their digests; only where blocks are shared.
    again: HashMap<[u8; 32], (u64, u32)>,
    share_blocks: bool,
    codec: Codec,
    grains: &'a [Option<grains::Source>],
    names: &'a Names,
    scratch: &'a Path,
    open: Option<OpenFile>,
    waiting: HashMap<u64, Done>,
    turn: u64,
}

impl<'a> Writer<'a> {
    /// Writes the opening member.
    ///
    /// # Errors
    /// When sink or scratch cannot be written.
    pub fn start(
        sink: &'a mut dyn Sink,
        options: &'a PackOptions,
        entries: u64,
        sources: usize,
        (names, grains): (&'a Names, &'a [Option<grains::Source>]),
        pool: Pool,
    ) -> Result<Writer<'a>, PackError> {
        let scratch = options.scratch.as_path();
        let failed = |cause| PackError::Scratch { path: scratch.to_path_buf(), cause };
        let mut writer = Writer {
            output: Output::start(sink, options, pool)?,
            slots: Slots::create(scratch, entries).map_err(failed)?,
            members: Members::create(scratch).map_err(failed)?,
            member_count: 0,
            written: vec![Written::default(); sources],
            runs: Runs::default(),
            copied: 0,
            base: options.shape.copy_from(),
            again: HashMap::new(),
            share_blocks: options.share_blocks,
            codec: options.codec,
            grains,
            names,
            scratch,
            open: None,
            waiting: HashMap::new(),
            turn: 0,
        };
        let opening = crate::artefact::framing::opening(options.codec, &options.run);
        let hash = *blake3::hash(&opening).as_bytes();
        let after = opening.len() as u64;
        writer.member(opening, 0, hash, false)?;
        if options.share_blocks {
            let filler = options.codec.filler(after);
            let hash = *blake3::hash(&filler).as_bytes();
            writer.member(filler, 0, hash, false)?;
        }
        Ok(writer)
    }

    fn scratch_failed(&self, cause: std::io::Error) -> PackError {
        PackError::Scratch { path: self.scratch.to_path_buf(), cause }
    }

    fn member(
        &mut self,
        bytes: Vec<u8>,
        decoded: u32,
        hash: [u8; 32],
        from_base: bool,
    ) -> Result<(), PackError> {
        let member = Member { offset: self.output.offset, len: bytes.len() as u32, decoded, hash };
        match self.found_again(&bytes, &hash) {
            Some((file, offset)) => {
                self.output.share(&file, offset, bytes.len() as u64)?;
                self.copied += bytes.len() as u64;
            }
            None => {
                self.copied += if from_base { bytes.len() as u64 } else { 0 };
                self.output.append(bytes)?;
            }
        }
        self.members.push(&member).map_err(|cause| self.scratch_failed(cause))?;
        self.member_count += 1;
        Ok(())
    }

    /// Lets members that come out as others of the base were share their blocks.
    ///
    /// # Errors
    /// When the base's index cannot be read.
    pub fn find_again(&mut self, keep: &Keep) -> Result<(), PackError> {
        if self.share_blocks && keep.base.file.is_some() {
            self.again = keep.others(AGAIN_MOST)?;
        }
        Ok(())
    }

    /// Where the base has these very bytes: it is looked at, for what is at hand is whole, and its disk may not be.
    fn found_again(&self, bytes: &[u8], hash: &[u8; 32]) -> Option<(Arc<File>, u64)> {
        let (offset, len) = *self.again.get(hash)?;
        let file = self.base?.file.as_ref().filter(|_| len as usize == bytes.len())?;
        let mut there = vec![0; bytes.len()];
        file.read_exact_at(&mut there, offset).ok()?;
        (there == bytes).then(|| (Arc::clone(file), offset))
    }

    /// Takes finished work, in any order; calls `written` for what has been written, in order.
    ///
    /// # Errors
    /// When sink or scratch cannot be written.
    pub fn take(&mut self, done: Done, mut written: impl FnMut(Done)) -> Result<(), PackError> {
        self.waiting.insert(done.turn, done);
        while let Some(mut done) = self.waiting.remove(&self.turn) {
            self.turn += 1;
            self.write(&mut done)?;
            written(done);
        }
        Ok(())
    }

    fn write(&mut self, done: &mut Done) -> Result<(), PackError> {
        if let Some(error) = done.failure.take() {
            return Err(error);
        }
        if let Some(copied) = done.copied.take() {
            return self.copied(&copied, std::mem::take(&mut done.member));
        }
        let (place, member, span) = (self.output.offset, self.member_count, done.member.len() as u64);
        if matches!(done.large, Some(Large::StreamStarts(_))) {
            self.output.hold(span);
        }
        if !done.member.is_empty() {
            self.member(std::mem::take(&mut done.member), done.decoded, done.hash, done.from_base)?;
        }
        for (source, warning) in done.warnings.drain(..) {
            self.written[usize::from(source)].warnings.push(warning);
        }
        for (source, bytes) in &done.bytes {
            self.written[usize::from(*source)].bytes += bytes;
        }
        for slot in &mut done.slots {
            (slot.place, slot.member, slot.span) = (place, member, span);
            self.written[usize::from(slot.source)].entries += 1;
        }
        match done.large.take() {
            None => self.slots.put(&done.slots).map_err(|cause| self.scratch_failed(cause)),
            Some(large) => self.large(large, done, span),
        }
    }

    fn copied(&mut self, copied: &Copied, bytes: Vec<u8>) -> Result<(), PackError> {
        let mut offset = self.output.offset;
        for (number, from, now) in &copied.members {
            let now = Member { offset, ..*now };
            self.runs.push(*number, from, self.member_count, &now);
            self.members.push(&now).map_err(|cause| self.scratch_failed(cause))?;
            self.member_count += 1;
            offset += u64::from(now.len);
        }
        let len = offset - self.output.offset;
        self.copied += len;
        let file = self.base.and_then(|base| base.file.as_ref()).filter(|_| copied.are_shared);
        match (file, copied.members.first()) {
            (Some(file), Some((_, first, _))) => self.output.share(file, first.offset, len),
            // Not where one was padded: they stand there as they are written.
            (None, Some((_, first, _)))
                if copied.members.iter().all(|(_, from, now)| from.len == now.len) =>
            {
                self.output.again(first.offset, bytes)
            }
            _ => self.output.append(bytes),
        }
    }

    fn large(&mut self, large: Large, done: &mut Done, span: u64) -> Result<(), PackError> {
        match large {
            Large::Starts(hash, named) => {
                let grains = named.map(|path| (path, std::mem::take(&mut done.grains)));
                self.open_file(done.slots.pop(), None, grains);
                self.join(hash);
                Ok(())
            }
            Large::StreamStarts(entry) => {
                self.open_file(done.slots.pop(), Some(entry), None);
                Ok(())
            }
            Large::Goes { hash, bytes, flags, last } => {
                self.join(hash);
                let Some(open) = &mut self.open else { return Ok(()) };
                open.slot.flags = open.slot.flags.with(flags);
                open.slot.span += span;
                if let Some((_, grains)) = &mut open.grains {
                    grains.append(&mut done.grains);
                }
                if open.stream.is_some() {
                    open.slot.size += bytes;
                    open.slot.payload += bytes;
                }
                if last { self.close() } else { Ok(()) }
            }
        }
    }

    fn open_file(
        &mut self,
        slot: Option<Slot>,
        stream: Option<Planned>,
        grains: Option<(Vec<u8>, Vec<grains::Grain>)>,
    ) {
        self.open = slot.map(|slot| OpenFile { slot, joiner: Joiner::default(), hash: None, stream, grains });
    }

    /// Keeps what is known of a file, if it is what was read.
    fn keep_grains(&self, slot: &Slot, path: &[u8], grains: Vec<grains::Grain>) -> Result<(), PackError> {
        let is_spoilt = [Flags::SHRANK, Flags::DAMAGED].iter().any(|flag| slot.flags.has(*flag));
        let Some(source) = self.grains[usize::from(slot.source)].as_ref().filter(|_| !is_spoilt) else {
            return Ok(());
        };
        let record = grains::Record { size: slot.size, grains };
        source.keep(path, &record).map_err(|cause| self.scratch_failed(cause))
    }

    fn join(&mut self, hash: Option<PieceHash>) {
        let Some(open) = &mut self.open else { return };
        match hash {
            Some(PieceHash::Whole(hash)) => open.hash = Some(hash),
            Some(PieceHash::Part(part)) => open.joiner.push(part),
            None => {}
        }
    }

    fn close(&mut self) -> Result<(), PackError> {
        let Some(OpenFile { mut slot, joiner, hash, stream, grains }) = self.open.take() else {
            return Ok(());
        };
        slot.hash = hash.or_else(|| joiner.finish()).unwrap_or_default();
        if let Some(entry) = stream {
            let mut member = Vec::new();
            self.codec.stored(&stream_header(&entry, self.names, slot.payload), &mut member);
            if self.share_blocks {
                pad(&mut member);
            }
            self.output.patch(slot.place, &member)?;
            let hash = *blake3::hash(&member).as_bytes();
            self.members.rehash(slot.member, &hash).map_err(|cause| self.scratch_failed(cause))?;
        }
        if let Some((path, grains)) = grains {
            self.keep_grains(&slot, &path, grains)?;
        }
        self.slots.put(&[slot]).map_err(|cause| self.scratch_failed(cause))
    }
}
