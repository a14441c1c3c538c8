//! The planner: goes through the sources and gives out work, one member at a time.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::again::Before;
use super::base::BaseIndex;
use super::batch::{Batch, looks_packed};
use super::deletions::{Deletions, OWN};
use super::fate::{Fate, Fates};
use super::feed::{Came, Feed};
use super::grains;
use super::job::{Item, Job, Planned, Work};
use super::keep::Keep;
use super::listing::Listing;
use super::open::{LeftOut, Opened, Roots};
use super::window::Window;
use super::{Content, Input, PackError};
use crate::artefact::gzip::ALIGNMENT;
use crate::artefact::index::Member;
use crate::artefact::tarhead::{BLOCK, padding};
use crate::artefact::{Codec, Kind, PIECE, ReadError};
use crate::scan::{Doubts, LIMITS, LinkGroup, Scanned, Warning, WarningKind, is_of_process};
use backplan_host::control::Control;

/// An entry's header, if its name is not too long for it.
const SHORT_NAME: usize = 100;
/// Number of a stream in its source: the folder is the first.
const STREAM_ENTRY: u64 = 1;

/// What all threads of a packing see.
pub struct Shared<'a> {
    /// What to go through, by source number.
    pub listings: &'a [Listing],
    /// The sources' trees.
    pub roots: &'a [Roots],
    /// How much may be under way.
    pub window: &'a Window,
    /// Files that did not fit into their member.
    pub deferred: &'a Mutex<Vec<Planned>>,
    /// Progress, and the wish to stop.
    pub control: &'a Control,
    /// What becomes of entries, by source number.
    pub fates: &'a [Fates],
    /// What is copied.
    pub keep: Option<&'a Keep>,
    /// What is to be removed from the base.
    pub deletions: Option<&'a Deletions>,
    /// Entries that are not there any more, by number over all sources.
    pub left_out: &'a Mutex<Doubts>,
    /// What is known of large files, by source number.
    pub grains: &'a [Option<grains::Source>],
    /// What a difference rests on.
    pub base: Option<&'a dyn BaseIndex>,
    /// A folder for temporary files.
    pub scratch: &'a Path,
    /// Whether members are padded.
    pub share_blocks: bool,
    /// Bytes of tar that small files share a member up to.
    pub batch: usize,
    /// How members are compressed.
    pub codec: Codec,
    /// How hard.
    pub level: u8,
}

impl Shared<'_> {
    /// Why nothing more can be packed, where it is this process that could not open an entry.
    pub fn lacking(&self, entry: &Planned, left_out: &LeftOut) -> Option<PackError> {
        let cause = left_out.cause.filter(|cause| is_of_process(*cause))?;
        let source = usize::from(entry.source);
        let path = self.listings[source].host_path(&self.roots[source], &entry.seen);
        let text = format!("`{}` cannot be opened: {cause}; {LIMITS}", path.display());
        let source_name = self.listings[source].source.clone();
        Some(PackError::Input {
            source_name,
            cause: std::io::Error::new(std::io::Error::from(cause).kind(), text),
        })
    }

    /// Keeps in mind what is gone: the base may have it still.
    pub fn leave_out(&self, entry: &Planned, left_out: &LeftOut) {
        if matches!(left_out.kind, WarningKind::Vanished | WarningKind::Changed) {
            self.left_out.lock().unwrap_or_else(PoisonError::into_inner).add(entry.number);
        }
    }
}

/// The folders above an entry, as the scan saw them, from the outermost.
struct Way<'a> {
    roots: &'a Roots,
    folders: Vec<(Scanned, Option<bool>)>,
}

impl Way<'_> {
    /// Follows a listing; of an entry that is asked for, whether the way to it is still the one that the scan went. Where a
    /// folder above is on another file system by now, or cannot be asked, nobody knows what became of it.
    fn leads_to(&mut self, seen: &Scanned, is_asked: bool) -> bool {
        while self.folders.last().is_some_and(|(folder, _)| !is_below(&seen.path, &folder.path)) {
            self.folders.pop();
        }
        let roots = self.roots;
        let is_same = |(folder, known): &mut (Scanned, Option<bool>)| {
            *known.get_or_insert_with(|| match roots.file_system(folder.root, &folder.path) {
                Ok(now) => now == folder.file_system,
                Err(cause) => matches!(cause, Errno::NOENT | Errno::NOTDIR | Errno::LOOP),
            })
        };
        let leads =
            !is_asked || self.folders.iter_mut().filter(|(folder, _)| folder.root.is_some()).all(is_same);
        if seen.kind == Kind::Directory {
            self.folders.push((seen.clone(), None));
        }
        leads
    }
}

/// What can be read once.
enum Once {
    Stream(Box<dyn Read + Send>),
    Feed(Box<dyn Feed>),
}

/// Targets of further names, by entry number.
pub type Links = HashMap<u64, Arc<[u8]>>;
/// Digests of the whole contents of files of which only what changed is packed, by entry number.
pub type Wholes = HashMap<u64, [u8; 32]>;

/// What the planner alone knows.
#[derive(Default)]
pub struct PlannerOutcome {
    /// Targets of further names.
    pub links: Links,
    /// What was left out, by source.
    pub warnings: Vec<(u16, Warning)>,
    /// Digests of the contents of files that were reduced.
    pub wholes: Wholes,
    /// What came of each source that was fed, by its number.
    pub came: HashMap<usize, Came>,
}

/// Why the planner ended early.
pub enum Ended {
    /// Because another thread did: that one says why.
    Elsewhere,
    /// Because of this.
    Here(PackError),
}

impl From<PackError> for Ended {
    fn from(error: PackError) -> Ended {
        Ended::Here(error)
    }
}

/// The planner.
pub struct Planner<'a> {
    shared: &'a Shared<'a>,
    jobs: SyncSender<Job>,
    turn: u64,
    /// Number of the next entry that comes unexpected: behind all that are known.
    next: u64,
    plain: Batch,
    packed: Batch,
    outcome: PlannerOutcome,
}

impl<'a> Planner<'a> {
    /// A planner that gives its work to `jobs`.
    pub fn new(shared: &'a Shared<'a>, jobs: SyncSender<Job>) -> Planner<'a> {
        Planner {
            shared,
            jobs,
            turn: 0,
            next: shared.listings.iter().map(|listing| listing.entries).sum(),
            plain: Batch::default(),
            packed: Batch::default(),
            outcome: PlannerOutcome::default(),
        }
    }

    /// Goes through everything: what is copied, files that stay, files that change, folders last.
    pub fn run(mut self, inputs: Vec<Input>) -> Result<PlannerOutcome, Ended> {
        let reader = |input: Input| match input.content {
            Content::Stream { reader, .. } => Some(Once::Stream(reader)),
            Content::Feed(feed) => Some(Once::Feed(feed)),
            Content::Scan { .. } | Content::File { .. } => None,
        };
        let mut readers: Vec<_> = inputs.into_iter().map(reader).collect();
        self.copy(false)?;
        self.carry_grains()?;
        for fate in [Fate::Cold, Fate::Hot] {
            for (source, reader) in readers.iter_mut().enumerate() {
                if reader.is_some() && self.shared.fates[source].of(STREAM_ENTRY) == fate {
                    match reader.take() {
                        Some(Once::Stream(reader)) => self.stream(source, reader)?,
                        Some(Once::Feed(feed)) => self.feed(source, feed)?,
                        None => {}
                    }
                } else if reader.is_none() && self.shared.fates[source].have(fate) {
                    self.files(source, fate)?;
                }
            }
            self.flush()?;
        }
        self.deferred()?;
        let has_deletions = self.deletions()?;
        self.copy(true)?;
        for source in 0..self.shared.listings.len() {
            if self.shared.listings[source].source != OWN || has_deletions {
                self.folders(source)?;
            }
        }
        self.flush()?;
        Ok(self.outcome)
    }

    fn fate(&self, source: usize, number: u64) -> Fate {
        self.shared.fates[source].of(number)
    }

    /// Gives out what is copied.
    fn copy(&mut self, folders: bool) -> Result<(), Ended> {
        let Some(keep) = self.shared.keep else { return Ok(()) };
        let can_share = self.shared.share_blocks && keep.base.file.is_some();
        keep.stretches(folders, can_share, &mut |stretch| {
            let are_even = |(_, member): &(u64, Member)| {
                member.offset.is_multiple_of(ALIGNMENT as u64)
                    && (member.len as usize).is_multiple_of(ALIGNMENT)
            };
            let is_shared = can_share && stretch.iter().all(are_even);
            self.send(if is_shared { Work::Share(stretch) } else { Work::Copy(stretch) })
        })
    }

    /// The list of what is to be removed from the base, once it is known what could not be read. Whether there is one.
    fn deletions(&mut self) -> Result<bool, Ended> {
        let Some(list) = self.shared.deletions else { return Ok(false) };
        if !self.shared.window.wait_empty() {
            return Err(Ended::Elsewhere);
        }
        let left_out =
            std::mem::take(&mut *self.shared.left_out.lock().unwrap_or_else(PoisonError::into_inner));
        if !left_out.is_empty() {
            let merged = list.with(self.paths_of(&left_out))?;
            list.replace_with(&merged)?;
        }
        let own = self.shared.listings.iter().position(|listing| listing.source == OWN);
        let Some(source) = own else { return Ok(false) };
        let listing = &self.shared.listings[source];
        let entries = listing.entries().map_err(|cause| self.failed(source, cause))?;
        let files =
            (0..).zip(entries).filter(|(_, seen)| seen.as_ref().is_ok_and(|seen| seen.kind == Kind::File));
        for (at, seen) in files {
            let seen = seen.map_err(|cause| self.failed(source, cause))?;
            let entry = self.planned(source, listing.first + at, seen);
            self.open(entry)?;
        }
        self.flush()?;
        Ok(true)
    }

    /// The paths, in order, of entries by their numbers over all sources: those that are gone, not those that were on a file
    /// system which is.
    fn paths_of<'p>(&'p self, numbers: &'p Doubts) -> impl Iterator<Item = Result<Vec<u8>, PackError>> + 'p {
        self.shared.listings.iter().zip(self.shared.roots).flat_map(move |(listing, roots)| {
            let failed = |cause| PackError::Input { source_name: listing.source.clone(), cause };
            let (entries, error) = match listing.entries() {
                Ok(entries) => (Some(entries), None),
                Err(cause) => (None, Some(Err(failed(cause)))),
            };
            let entries = (listing.first..).zip(entries.into_iter().flatten());
            let mut way = Way { roots, folders: Vec::new() };
            let wanted = entries.filter(move |(number, seen)| {
                let is_gone = seen.as_ref().map_or(true, |seen| way.leads_to(seen, numbers.has(*number)));
                is_gone && (numbers.has(*number) || seen.is_err())
            });
            error.into_iter().chain(
                wanted.map(move |(_, seen)| seen.map(|seen| listing.path_of(&seen.path)).map_err(failed)),
            )
        })
    }

    pub(super) fn failed(&self, source: usize, cause: std::io::Error) -> Ended {
        let source_name = self.shared.listings[source].source.clone();
        Ended::Here(PackError::Input { source_name, cause })
    }

    fn planned(&self, source: usize, number: u64, seen: Scanned) -> Planned {
        let path = self.shared.listings[source].path_of(&seen.path);
        Planned { number, source: source as u16, path, seen, link: None, has_links: false }
    }

    /// An entry that was not known of.
    pub(super) fn came(&mut self, source: usize, seen: Scanned) -> Planned {
        let entry = self.planned(source, self.next, seen);
        self.next += 1;
        self.outcome.came.entry(source).or_default().push(&entry);
        entry
    }

    pub(super) fn send(&mut self, work: Work) -> Result<(), Ended> {
        self.shared.control.check().map_err(|stopped| Ended::Here(stopped.into()))?;
        if !self.shared.window.enter() {
            return Err(Ended::Elsewhere);
        }
        let turn = self.turn;
        self.turn += 1;
        self.jobs.send(Job { turn, work }).map_err(|_| Ended::Elsewhere)
    }

    fn flush(&mut self) -> Result<(), Ended> {
        self.flush_one(false)?;
        self.flush_one(true)
    }

    fn flush_one(&mut self, packed: bool) -> Result<(), Ended> {
        let items = std::mem::take(self.batch(packed)).items;
        if items.is_empty() { Ok(()) } else { self.send(Work::Entries(items, packed)) }
    }

    fn batch(&mut self, packed: bool) -> &mut Batch {
        if packed { &mut self.packed } else { &mut self.plain }
    }

    pub(super) fn add(&mut self, item: Item, payload: u64) -> Result<(), Ended> {
        let (Item::Entry(entry) | Item::Opened(entry, _) | Item::Fed(entry, _)) = &item;
        let link = entry.link.as_ref().map_or(entry.seen.link.len(), |link| link.len());
        let mut bytes = BLOCK + payload as usize + padding(payload);
        if entry.path.len() > SHORT_NAME || link > SHORT_NAME {
            bytes += 2 * BLOCK + entry.path.len() + link;
        }
        let packed = looks_packed(&item, self.shared.level);
        let before = self.batch(packed).bytes;
        if before + bytes > self.shared.batch && before > 0 {
            self.flush_one(packed)?;
        }
        let batch = self.batch(packed);
        batch.bytes += bytes;
        batch.items.push(item);
        Ok(())
    }

    fn files(&mut self, source: usize, fate: Fate) -> Result<(), Ended> {
        let listing = &self.shared.listings[source];
        if listing.source == OWN {
            return Ok(());
        }
        let groups: HashMap<u64, &LinkGroup> =
            listing.groups.iter().map(|group| (group.first, group)).collect();
        let entries = listing.entries().map_err(|cause| self.failed(source, cause))?;
        for (at, seen) in (0..).zip(entries) {
            let seen = seen.map_err(|cause| self.failed(source, cause))?;
            if seen.kind == Kind::Directory || seen.further_name {
                continue;
            }
            match groups.get(&at) {
                Some(group) => self.group(self.planned(source, listing.first + at, seen), group, fate)?,
                None if self.fate(source, at) == fate => {
                    self.entry(self.planned(source, listing.first + at, seen))?;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: Planned) -> Result<(), Ended> {
        let seen = &entry.seen;
        let is_file = seen.kind == Kind::File;
        if is_file && (seen.size > PIECE as u64 || Opened::may_be_sparse(seen.size, seen.blocks)) {
            return self.open(entry);
        }
        let payload = if is_file { seen.size } else { 0 };
        self.add(Item::Entry(entry), payload)
    }

    fn open(&mut self, entry: Planned) -> Result<(), Ended> {
        match Opened::open(&self.shared.roots[usize::from(entry.source)], &entry) {
            Ok(opened) => self.opened(entry, opened),
            Err(left_out) => self.left_out(&entry, &left_out),
        }
    }

    fn left_out(&mut self, entry: &Planned, left_out: &LeftOut) -> Result<(), Ended> {
        if let Some(error) = self.shared.lacking(entry, left_out) {
            return Err(error.into());
        }
        self.shared.leave_out(entry, left_out);
        let source = usize::from(entry.source);
        let path = self.shared.listings[source].host_path(&self.shared.roots[source], &entry.seen);
        let cause = left_out.cause.map(|cause| cause.to_string());
        self.outcome.warnings.push((entry.source, Warning { kind: left_out.kind, path, cause }));
        self.shared.control.advance(1, 0);
        Ok(())
    }

    fn opened(&mut self, entry: Planned, mut opened: Opened) -> Result<(), Ended> {
        opened.find_holes();
        self.reduce(&entry, &mut opened)?;
        let payload = opened.payload();
        let opened = Arc::new(opened);
        if payload <= PIECE as u64 {
            return self.add(Item::Opened(entry, opened), payload);
        }
        let before = self.before(&entry)?;
        self.send(Work::Head(entry.clone(), Arc::clone(&opened)))?;
        for index in 1..payload.div_ceil(PIECE as u64) {
            self.send(Work::Piece(entry.clone(), Arc::clone(&opened), index, before.clone()))?;
        }
        Ok(())
    }

    /// Keeps what is known of large files that are as the base has them.
    fn carry_grains(&mut self) -> Result<(), Ended> {
        for (source, listing) in self.shared.listings.iter().enumerate() {
            let Some(grains) = self.shared.grains[source].as_ref().filter(|grains| grains.has_base()) else {
                continue;
            };
            let failed = |cause| self.failed(source, cause);
            for (at, seen) in (0..).zip(listing.entries().map_err(failed)?) {
                let seen = seen.map_err(failed)?;
                let is_large = seen.kind == Kind::File && seen.size > PIECE as u64;
                if is_large && self.fate(source, at) == Fate::Skip {
                    let kept = grains.carry(&listing.path_of(&seen.path));
                    kept.map_err(|cause| self.scratch_failed(cause))?;
                }
            }
        }
        Ok(())
    }

    fn scratch_failed(&self, cause: std::io::Error) -> Ended {
        Ended::Here(PackError::Scratch { path: self.shared.scratch.to_path_buf(), cause })
    }

    /// Reduces a large file to what changed since the base, where that is known.
    fn reduce(&mut self, entry: &Planned, opened: &mut Opened) -> Result<(), Ended> {
        let shared = self.shared;
        let Some(grains) = &shared.grains[usize::from(entry.source)] else { return Ok(()) };
        if opened.is_sparse() || entry.has_links || opened.size <= PIECE as u64 {
            return Ok(());
        }
        let changed = grains.changed(entry, opened, shared.scratch, shared.control);
        let Some(changed) = changed.map_err(|cause| self.scratch_failed(cause))? else { return Ok(()) };
        // Where the base can be asked, it is; where it cannot, a single file is not told from what was there before.
        if shared.base.is_none() && !shared.listings[usize::from(entry.source)].is_scan() {
            return Ok(());
        }
        if let Some(base) = shared.base {
            let there = base.find(&entry.path).map_err(PackError::Base)?;
            if !there.is_some_and(|there| changed.is_to(&there)) {
                return Ok(());
            }
        }
        if opened.reduce_to(changed.found) {
            grains.keep(&entry.path, &changed.record).map_err(|cause| self.scratch_failed(cause))?;
            self.outcome.wholes.insert(entry.number, changed.whole);
        }
        Ok(())
    }

    /// Where the base has a file of this path.
    pub(super) fn before(&self, entry: &Planned) -> Result<Option<Arc<Before>>, PackError> {
        Before::find(self.shared.keep.map(|keep| &keep.base), &entry.path)
    }

    /// A file with several names: the contents once, under the first name that can be opened, then the other names.
    fn group(&mut self, first: Planned, group: &LinkGroup, fate: Fate) -> Result<(), Ended> {
        let source = usize::from(first.source);
        let listing = &self.shared.listings[source];
        let mut names = vec![first.clone()];
        for (number, inside) in &group.further {
            let mut name = Planned { number: listing.first + number, ..first.clone() };
            name.seen.path.clone_from(inside);
            name.path = listing.path_of(inside);
            names.push(name);
        }
        let all = names.len();
        names.retain(|name| self.fate(source, name.number - listing.first) == fate);
        if names.len() < all {
            return self.further_names(names);
        }
        let mut names = names.into_iter();
        let (mut leader, opened) = loop {
            let Some(name) = names.next() else { return Ok(()) };
            match Opened::open(&self.shared.roots[source], &name) {
                Ok(opened) => break (name, opened),
                Err(left_out) => self.left_out(&name, &left_out)?,
            }
        };
        let target: Arc<[u8]> = Arc::from(leader.path.as_slice());
        let inode = leader.seen.inode;
        leader.has_links = names.len() > 0;
        self.opened(leader, opened)?;
        for mut name in names {
            debug_assert_eq!(name.seen.inode, inode);
            name.link = Some(Arc::clone(&target));
            self.outcome.links.insert(name.number, Arc::clone(&target));
            self.add(Item::Entry(name), 0)?;
        }
        Ok(())
    }

    /// Names of a file that is copied, whose own members are not.
    fn further_names(&mut self, names: Vec<Planned>) -> Result<(), Ended> {
        for mut name in names {
            let target = self.shared.keep.and_then(|keep| keep.links.get(&name.number));
            let Some(target) = target else {
                let what = format!("it has no file for `{}`", name.path.escape_ascii());
                return Err(PackError::Base(ReadError::damaged(0, what)).into());
            };
            name.link = Some(Arc::clone(target));
            self.outcome.links.insert(name.number, Arc::clone(target));
            self.add(Item::Entry(name), 0)?;
        }
        Ok(())
    }

    /// Files that had grown too large for their member get members of their own, once all others are done.
    fn deferred(&mut self) -> Result<(), Ended> {
        if !self.shared.window.wait_empty() {
            return Err(Ended::Elsewhere);
        }
        let mut deferred =
            std::mem::take(&mut *self.shared.deferred.lock().unwrap_or_else(PoisonError::into_inner));
        deferred.sort_by_key(|entry| entry.number);
        for entry in deferred {
            self.open(entry)?;
        }
        self.flush()
    }

    /// Folders, each after all that is below it.
    fn folders(&mut self, source: usize) -> Result<(), Ended> {
        let listing = &self.shared.listings[source];
        let entries = listing.entries().map_err(|cause| self.failed(source, cause))?;
        let mut above: Vec<Planned> = Vec::new();
        for (at, seen) in (0..).zip(entries) {
            let seen = seen.map_err(|cause| self.failed(source, cause))?;
            if seen.kind != Kind::Directory || self.fate(source, at) == Fate::Skip {
                continue;
            }
            while above.last().is_some_and(|folder| !is_below(&seen.path, &folder.seen.path)) {
                if let Some(folder) = above.pop() {
                    self.add(Item::Entry(folder), 0)?;
                }
            }
            let folder = self.planned(source, listing.first + at, seen);
            above.push(folder);
        }
        while let Some(folder) = above.pop() {
            self.add(Item::Entry(folder), 0)?;
        }
        Ok(())
    }

    fn stream(&mut self, source: usize, mut reader: Box<dyn Read + Send>) -> Result<(), Ended> {
        let listing = &self.shared.listings[source];
        let entries = listing.entries().map_err(|cause| self.failed(source, cause))?;
        let mut before = None;
        for (at, seen) in (0..).zip(entries.flatten()) {
            if seen.kind == Kind::File {
                let entry = self.planned(source, listing.first + at, seen);
                before = self.before(&entry)?;
                self.send(Work::StreamHead(entry))?;
            }
        }
        let mut read = |into: &mut Vec<u8>| {
            into.clear();
            (&mut reader).take(PIECE as u64).read_to_end(into)
        };
        let source_number = source as u16;
        let mut bytes = Vec::with_capacity(PIECE);
        read(&mut bytes).map_err(|cause| self.failed(source, cause))?;
        for index in 0.. {
            let mut next = Vec::with_capacity(if bytes.len() == PIECE { PIECE } else { 0 });
            if bytes.len() == PIECE {
                read(&mut next).map_err(|cause| self.failed(source, cause))?;
            }
            let last = next.is_empty();
            self.send(Work::StreamPiece {
                bytes,
                index,
                last,
                source: source_number,
                before: before.clone(),
            })?;
            if last {
                break;
            }
            bytes = next;
        }
        Ok(())
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/'))
}
