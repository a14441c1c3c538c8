//! The workers: read files, build tar bytes, compress, hash.

use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, PoisonError};

use super::PackError;
use super::again::{Before, Scratch};
use super::base::CopyBase;
use super::compressors::Compressors;
use super::grains;
use super::job::{Copied, Done, Item, Job, Large, PieceHash, Planned, Work};
use super::keep::Stretch;
use super::names::Names;
use super::open::{Attributes, LeftOut, Opened, Reading, attributes_of};
use super::plan::Shared;
use super::pool::Pool;
use super::readers::Readers;
use super::scratch::Slot;
use super::window::Window;
use crate::artefact::gzip::{ALIGNMENT, Likely};
use crate::artefact::member::pad;
use crate::artefact::patched::path_in_tar;
use crate::artefact::tarhead::{self, Head, padding};
use crate::artefact::{Flags, Kind, PIECE, ReadError, treehash};
use crate::scan::{Warning, WarningKind, is_recent};

/// A file that grew may make its member larger than planned by this much.
const SLACK: usize = 64 << 10;
/// Its extended attributes are not all recorded: not for the index, but for the doubts.
pub const TROUBLE: Flags = Flags(1 << 31);

/// Of small files one of so many is looked at, whether it is cached.
const LOOKED_AT: u32 = 4;

/// A worker that panics must not leave the others waiting for its result.
struct Alarm<'a>(&'a Window, &'a Readers);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
            self.1.end();
        }
    }
}

/// One worker.
pub struct Worker<'a> {
    shared: &'a Shared<'a>,
    names: &'a Names,
    pool: &'a Pool,
    compressors: &'a Compressors,
    readers: &'a Readers,
    /// It works only where more than compress are of use.
    is_further: bool,
    /// Files that it has opened.
    opened: u32,
    tar: Vec<u8>,
    /// What is in `tar`.
    likely: Likely,
    scratch: Scratch,
}

impl<'a> Worker<'a> {
    /// A worker; a `further` one works only where files have to be waited for.
    pub fn new(
        shared: &'a Shared<'a>,
        names: &'a Names,
        pool: &'a Pool,
        (compressors, readers): (&'a Compressors, &'a Readers),
        is_further: bool,
    ) -> Worker<'a> {
        Worker {
            shared,
            names,
            pool,
            compressors,
            readers,
            is_further,
            opened: 0,
            tar: Vec::new(),
            likely: Likely::Plain,
            scratch: Scratch::default(),
        }
    }

    /// Works until there is no more.
    pub fn run(mut self, jobs: &Mutex<Receiver<Job>>, results: &Sender<Done>) {
        let _alarm = Alarm(self.shared.window, self.readers);
        loop {
            if self.is_further {
                self.readers.wait();
            }
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else {
                self.readers.end();
                return;
            };
            if self.shared.control.check().is_err() {
                self.shared.window.close();
                continue;
            }
            let done = self.work(job);
            if results.send(done).is_err() {
                return;
            }
        }
    }

    fn work(&mut self, job: Job) -> Done {
        let mut done = Done { turn: job.turn, ..Done::default() };
        self.tar.clear();
        self.likely = Likely::Plain;
        match job.work {
            Work::Copy(stretch) => {
                match self.copy(stretch, &mut done.member) {
                    Ok(copied) => done.copied = Some(copied),
                    Err(error) => done.failure = Some(PackError::Base(error)),
                }
                return done;
            }
            Work::Share(stretch) => {
                let members = stretch.into_iter().map(|(number, member)| (number, member, member)).collect();
                done.copied = Some(Copied { members, are_shared: true });
                return done;
            }
            Work::Entries(items, packed) => {
                self.likely = if packed { Likely::Packed } else { Likely::Plain };
                done.entries = items.len() as u64;
                for item in items {
                    match item {
                        Item::Entry(entry) if entry.seen.kind == Kind::File && entry.link.is_none() => {
                            self.file(entry, &mut done);
                        }
                        Item::Entry(entry) => self.header_only(&entry, &mut done),
                        Item::Opened(entry, opened) => self.whole(&entry, &opened, &mut done, true),
                        Item::Fed(entry, bytes) => self.fed(&entry, &bytes, &mut done),
                    }
                }
            }
            Work::Head(entry, opened) => self.head(&entry, &opened, &mut done),
            Work::Piece(entry, opened, index, before) => {
                self.piece(&entry, &opened, index, &mut done);
                self.again(before.as_deref(), index, &mut done);
            }
            Work::FedHead(entry, bytes) => self.fed_head(&entry, &bytes, &mut done),
            Work::StreamHead(entry) => {
                self.stream_head(entry, &mut done);
                return done;
            }
            Work::StreamPiece { bytes, index, last, source, before } => {
                self.stream_piece(bytes, index, last, source, &mut done);
                self.again(before.as_deref(), index, &mut done);
            }
        }
        self.finish(&mut done);
        done
    }

    /// Takes over the base's member where the piece is as it was.
    fn again(&mut self, before: Option<&Before>, index: u64, done: &mut Done) {
        let base = self.shared.keep.map(|keep| &keep.base);
        let (Some(before), Some(base), false) = (before, base, self.tar.is_empty()) else { return };
        if let Some((member, hash)) = before.member(base, index, &self.tar, &mut self.scratch) {
            (done.member, done.hash, done.from_base) = (member, hash, true);
        }
    }

    fn finish(&mut self, done: &mut Done) {
        if self.tar.is_empty() {
            return;
        }
        done.decoded = self.tar.len() as u32;
        if done.from_base && (!self.shared.share_blocks || done.member.len().is_multiple_of(ALIGNMENT)) {
            return;
        }
        let mut member = std::mem::take(&mut done.member);
        if !done.from_base {
            member = self.pool.take();
            member.clear();
            self.compressors.with(|writer| writer.write(&self.tar, self.likely, &mut member));
        }
        if self.shared.share_blocks {
            pad(&mut member);
        }
        done.hash = *blake3::hash(&member).as_bytes();
        done.member = member;
    }

    /// Reads members of the base, and sees that they are what they should be.
    fn copy(&self, stretch: Stretch, out: &mut Vec<u8>) -> Result<Copied, ReadError> {
        let mut members = Vec::with_capacity(stretch.len());
        let (Some(base), Some((_, first)), Some((_, last))) =
            (self.shared.keep.map(|keep| &keep.base), stretch.first(), stretch.last())
        else {
            return Ok(Copied { members, are_shared: false });
        };
        let start = first.offset;
        let bytes = self.read_base(base, start, last.offset + u64::from(last.len) - start)?;
        for (number, member) in stretch {
            let from = (member.offset - start) as usize;
            let part = bytes.get(from..from + member.len as usize).unwrap_or_default();
            if *blake3::hash(part).as_bytes() != member.hash {
                return Err(ReadError::damaged(member.offset, "a member does not have its digest"));
            }
            let mut now = member;
            if self.shared.share_blocks && !part.len().is_multiple_of(ALIGNMENT) {
                let mut padded = part.to_vec();
                pad(&mut padded);
                (now.len, now.hash) = (padded.len() as u32, *blake3::hash(&padded).as_bytes());
                out.extend_from_slice(&padded);
            }
            members.push((number, member, now));
        }
        if out.is_empty() {
            *out = bytes;
        } else {
            self.pool.give(bytes);
        }
        Ok(Copied { members, are_shared: false })
    }

    fn read_base(&self, base: &CopyBase, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
        let Some(file) = &base.file else { return base.artefact.read(offset, len) };
        let mut bytes = self.pool.take();
        bytes.resize(len as usize, 0);
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn warn(&self, entry: &Planned, kind: WarningKind, cause: Option<String>, done: &mut Done) {
        let source = usize::from(entry.source);
        let path = self.shared.listings[source].host_path(&self.shared.roots[source], &entry.seen);
        done.warnings.push((entry.source, Warning { kind, path, cause }));
    }

    fn leave_out(&self, entry: &Planned, left_out: &LeftOut, done: &mut Done) {
        if let Some(error) = self.shared.lacking(entry, left_out) {
            done.failure.get_or_insert(error);
            return;
        }
        self.shared.leave_out(entry, left_out);
        self.warn(entry, left_out.kind, left_out.cause.map(|cause| cause.to_string()), done);
    }

    fn file(&mut self, entry: Planned, done: &mut Done) {
        let opened = match Opened::open(&self.shared.roots[usize::from(entry.source)], &entry) {
            Ok(opened) => opened,
            Err(left_out) => return self.leave_out(&entry, &left_out, done),
        };
        self.opened = self.opened.wrapping_add(1);
        if self.opened.is_multiple_of(LOOKED_AT) {
            self.readers.saw(opened.is_cached(0));
        }
        let has_grown = opened.size > entry.seen.size;
        let would_be = self.tar.len() as u64 + opened.size;
        if has_grown && (opened.size > PIECE as u64 || would_be > (PIECE + SLACK) as u64) {
            done.deferred.push(entry);
            done.entries -= 1;
            return;
        }
        self.whole(&entry, &opened, done, false);
    }

    /// Header and contents. A file that other names depend on is recorded, whatever reading it comes to.
    fn whole(&mut self, entry: &Planned, opened: &Opened, done: &mut Done, keep: bool) {
        let start = self.tar.len();
        self.file_header(entry, opened, done);
        let data = self.tar.len();
        self.headed(start, data);
        let (reading, grew) = opened.read_small(&mut self.tar);
        if let (Reading::Failed(cause), false) = (reading, keep) {
            self.tar.truncate(start);
            return self.leave_out(entry, &LeftOut::from(cause), done);
        }
        let hash = *blake3::hash(&self.tar[data..]).as_bytes();
        self.pad((self.tar.len() - data) as u64);
        let mut flags = self.judge(entry, reading, done);
        if grew {
            self.warn(entry, WarningKind::Grew, None, done);
            flags = flags.with(Flags::GREW);
        }
        let slot = self.file_slot(entry, opened, start, flags);
        done.slots.push(Slot { hash, ..slot });
        done.bytes.push((entry.source, opened.payload()));
    }

    /// A file is what a member holds, or one of several.
    fn headed(&mut self, start: usize, data: usize) {
        self.likely = match (self.likely, start) {
            (Likely::Packed, _) => Likely::Packed,
            (_, 0) => Likely::OneFile(data),
            _ => Likely::Plain,
        };
    }

    fn judge(&self, entry: &Planned, reading: Reading, done: &mut Done) -> Flags {
        match reading {
            Reading::Whole => Flags::default(),
            Reading::Short => {
                self.warn(entry, WarningKind::Shrank, None, done);
                Flags::SHRANK
            }
            Reading::Failed(cause) => {
                self.warn(entry, WarningKind::Damaged, Some(cause.to_string()), done);
                Flags::DAMAGED
            }
        }
    }

    fn pad(&mut self, payload: u64) {
        self.tar.resize(self.tar.len() + padding(payload), 0);
    }

    fn file_header(&mut self, entry: &Planned, opened: &Opened, done: &mut Done) {
        self.warn_of_attributes(entry, &opened.attributes, done);
        let head = Head {
            path: path_in_tar(&entry.path, opened.is_patch()),
            kind: Kind::File,
            mode: opened.mode,
            uid: opened.uid,
            gid: opened.gid,
            mtime: opened.mtime.0,
            payload: opened.payload(),
            sparse: opened.is_sparse().then_some(opened.size),
            link: Vec::new(),
            device: (0, 0),
            attributes: opened.attributes.list.clone(),
            moved: opened.moves.clone(),
        };
        tarhead::write(&head, self.names.of(head.uid, head.gid), false, &mut self.tar);
    }

    fn warn_of_attributes(&self, entry: &Planned, attributes: &Attributes, done: &mut Done) {
        if let Some(trouble) = &attributes.trouble {
            self.warn(entry, WarningKind::Attributes, Some(trouble.clone()), done);
        }
    }

    fn file_slot(&self, entry: &Planned, opened: &Opened, start: usize, mut flags: Flags) -> Slot {
        let conditions = [
            (entry.has_links, Flags::LINKED),
            (opened.is_sparse(), Flags::SPARSE),
            (opened.is_patch(), Flags::PATCH),
            (!opened.moves.is_empty(), Flags::MOVED),
            (!opened.attributes.list.is_empty(), Flags::XATTRS),
            (self.is_racy(entry, opened.ctime), Flags::RACY),
            (opened.attributes.trouble.is_some(), TROUBLE),
        ];
        for (condition, flag) in conditions {
            if condition {
                flags = flags.with(flag);
            }
        }
        Slot {
            number: entry.number,
            source: entry.source,
            kind: Kind::File,
            mode: opened.mode,
            uid: opened.uid,
            gid: opened.gid,
            mtime: opened.mtime,
            size: opened.size,
            payload: opened.payload(),
            place: 0,
            span: 0,
            member: 0,
            start: start as u32,
            hash: [0; 32],
            flags,
        }
    }

    fn is_racy(&self, entry: &Planned, ctime: (i64, u32)) -> bool {
        let started = self.shared.listings[usize::from(entry.source)].started;
        entry.seen.root.is_some() && is_recent(ctime, started)
    }

    /// Folders, links, pipes, devices, further names.
    fn header_only(&mut self, entry: &Planned, done: &mut Done) {
        let seen = &entry.seen;
        let kind = if entry.link.is_some() { Kind::HardLink } else { seen.kind };
        let attributes = match kind {
            Kind::HardLink => Attributes::default(),
            _ => attributes_of(&self.shared.roots[usize::from(entry.source)], entry),
        };
        self.warn_of_attributes(entry, &attributes, done);
        let mut flags = Flags::default();
        let conditions = [
            (seen.implied, Flags::IMPLIED),
            (seen.synthetic, Flags::SYNTHETIC),
            (!attributes.list.is_empty(), Flags::XATTRS),
            (attributes.trouble.is_some(), TROUBLE),
        ];
        for (condition, flag) in conditions {
            if condition {
                flags = flags.with(flag);
            }
        }
        let start = self.tar.len() as u32;
        let head = Head {
            path: entry.path.clone(),
            kind,
            mode: seen.mode,
            uid: seen.uid,
            gid: seen.gid,
            mtime: seen.mtime.0,
            payload: 0,
            sparse: None,
            link: entry.link.as_ref().map_or_else(|| seen.link.clone(), |link| link.to_vec()),
            device: seen.device,
            attributes: attributes.list,
            moved: Vec::new(),
        };
        tarhead::write(&head, self.names.of(head.uid, head.gid), false, &mut self.tar);
        done.slots.push(Slot {
            number: entry.number,
            source: entry.source,
            kind,
            mode: seen.mode,
            uid: seen.uid,
            gid: seen.gid,
            mtime: seen.mtime,
            size: 0,
            payload: 0,
            place: 0,
            span: 0,
            member: 0,
            start,
            hash: [0; 32],
            flags,
        });
    }

    fn head(&mut self, entry: &Planned, opened: &Arc<Opened>, done: &mut Done) {
        self.file_header(entry, opened, done);
        let data = self.tar.len();
        self.headed(0, data);
        let reading = opened.read_payload(0, PIECE, &mut self.tar);
        let flags = self.judge(entry, reading, done);
        let hash = PieceHash::Part(treehash::piece(0, &self.tar[data..]));
        done.slots.push(self.file_slot(entry, opened, 0, flags));
        let named = self.keeps_grains(entry, opened).then(|| entry.path.clone());
        if named.is_some() {
            done.grains = grains::of_piece(0, &self.tar[data..], opened.size);
        }
        done.large = Some(Large::Starts(Some(hash), named));
        done.bytes.push((entry.source, PIECE as u64));
    }

    /// Whether what changes of a file later can be told by grains: its payload is its contents, and it has one name.
    fn keeps_grains(&self, entry: &Planned, opened: &Opened) -> bool {
        let source = usize::from(entry.source);
        let is_kept = self.shared.grains.get(source).is_some_and(Option::is_some);
        is_kept && !opened.is_sparse() && !entry.has_links
    }

    fn piece(&mut self, entry: &Planned, opened: &Arc<Opened>, index: u64, done: &mut Done) {
        let offset = index * PIECE as u64;
        let bytes = (opened.payload() - offset).min(PIECE as u64);
        let last = offset + bytes == opened.payload();
        if !opened.is_sparse() {
            self.readers.saw(opened.is_cached(offset));
        }
        let reading = opened.read_payload(offset, bytes as usize, &mut self.tar);
        let hash = Some(PieceHash::Part(treehash::piece(index, &self.tar)));
        if self.keeps_grains(entry, opened) {
            done.grains = grains::of_piece(index, &self.tar, opened.size);
        }
        let mut flags = match reading {
            Reading::Whole => Flags::default(),
            Reading::Short => Flags::SHRANK,
            Reading::Failed(_) => Flags::DAMAGED,
        };
        if last {
            self.pad(opened.payload());
            // Told of once, however many pieces are missing.
            flags = flags.with(self.judge(entry, reading, done));
            if opened.has_grown() {
                self.warn(entry, WarningKind::Grew, None, done);
                flags = flags.with(Flags::GREW);
            }
        } else if let Reading::Failed(_) = reading {
            self.judge(entry, reading, done);
        }
        done.entries = last.into();
        done.large = Some(Large::Goes { hash, bytes, flags, last });
        done.bytes.push((entry.source, bytes));
    }

    /// A member of the length that the header will have, as only its number of bytes is known later.
    fn stream_head(&mut self, entry: Planned, done: &mut Done) {
        let mut member = Vec::new();
        self.shared.codec.stored(&stream_header(&entry, self.names, 0), &mut member);
        if self.shared.share_blocks {
            pad(&mut member);
        }
        done.decoded = stream_header(&entry, self.names, 0).len() as u32;
        done.hash = *blake3::hash(&member).as_bytes();
        done.member = member;
        let slot = fed_slot(&entry, 0, [0; 32]);
        done.slots.push(Slot { size: 0, payload: 0, flags: Flags::STREAM, ..slot });
        done.large = Some(Large::StreamStarts(entry));
    }

    /// Header and contents of a small file that was read already.
    fn fed(&mut self, entry: &Planned, bytes: &[u8], done: &mut Done) {
        let start = self.fed_start(entry, bytes, done);
        self.pad(bytes.len() as u64);
        let hash = *blake3::hash(bytes).as_bytes();
        done.slots.push(fed_slot(entry, start, hash));
    }

    /// Header and first piece of a large one.
    fn fed_head(&mut self, entry: &Planned, bytes: &[u8], done: &mut Done) {
        let start = self.fed_start(entry, bytes, done);
        done.slots.push(fed_slot(entry, start, [0; 32]));
        done.large = Some(Large::Starts(Some(PieceHash::Part(treehash::piece(0, bytes))), None));
    }

    fn fed_start(&mut self, entry: &Planned, bytes: &[u8], done: &mut Done) -> u32 {
        let start = self.tar.len() as u32;
        self.tar.extend_from_slice(&entry_header(entry, self.names, entry.seen.size, false));
        self.headed(start as usize, self.tar.len());
        self.tar.extend_from_slice(bytes);
        done.bytes.push((entry.source, bytes.len() as u64));
        start
    }

    fn stream_piece(&mut self, bytes: Vec<u8>, index: u64, last: bool, source: u16, done: &mut Done) {
        let hash = match (bytes.is_empty(), index == 0 && last) {
            (_, true) => Some(PieceHash::Whole(*blake3::hash(&bytes).as_bytes())),
            (true, false) => None,
            (false, false) => Some(PieceHash::Part(treehash::piece(index, &bytes))),
        };
        self.tar.extend_from_slice(&bytes);
        if last {
            self.pad(index * PIECE as u64 + bytes.len() as u64);
        }
        let bytes = bytes.len() as u64;
        done.entries = last.into();
        done.large = Some(Large::Goes { hash, bytes, flags: Flags::default(), last });
        done.bytes.push((source, bytes));
    }
}

/// The header of a stream: its length does not depend on `payload`.
pub fn stream_header(entry: &Planned, names: &Names, payload: u64) -> Vec<u8> {
    entry_header(entry, names, payload, true)
}

/// The slot of a file whose contents come from elsewhere than a folder.
fn fed_slot(entry: &Planned, start: u32, hash: [u8; 32]) -> Slot {
    let seen = &entry.seen;
    Slot {
        number: entry.number,
        source: entry.source,
        kind: Kind::File,
        mode: seen.mode,
        uid: seen.uid,
        gid: seen.gid,
        mtime: seen.mtime,
        size: seen.size,
        payload: seen.size,
        place: 0,
        span: 0,
        member: 0,
        start,
        hash,
        flags: Flags::default(),
    }
}

fn entry_header(entry: &Planned, names: &Names, payload: u64, is_patched: bool) -> Vec<u8> {
    let seen = &entry.seen;
    let head = Head {
        path: entry.path.clone(),
        kind: Kind::File,
        mode: seen.mode,
        uid: seen.uid,
        gid: seen.gid,
        mtime: seen.mtime.0,
        payload,
        sparse: None,
        link: Vec::new(),
        device: (0, 0),
        attributes: Vec::new(),
        moved: Vec::new(),
    };
    let mut header = Vec::new();
    tarhead::write(&head, names.of(seen.uid, seen.gid), is_patched, &mut header);
    header
}
