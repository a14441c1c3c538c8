//! The planner: goes through the sources and gives out work, one member at a time.

use std::collections::HashMap;
use std::io::Read;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use super::job::{Item, Job, Planned, Work};
use super::listing::Listing;
use super::open::{LeftOut, Opened, Roots};
use super::window::Window;
use super::{Content, Input, PackError};
use crate::artefact::tarhead::{BLOCK, padding};
use crate::artefact::{Kind, PIECE};
use crate::control::Control;
use crate::scan::{LinkGroup, Scanned, Warning};

/// An entry's header, if its name is not too long for it.
const SHORT_NAME: usize = 100;

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
}

/// What the planner alone knows.
#[derive(Default)]
pub struct Outcome {
    /// Targets of further names, by entry number.
    pub links: HashMap<u64, Arc<[u8]>>,
    /// What was left out, by source.
    pub warnings: Vec<(u16, Warning)>,
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
    batch: Vec<Item>,
    batch_bytes: usize,
    outcome: Outcome,
}

impl<'a> Planner<'a> {
    /// A planner that gives its work to `jobs`.
    pub fn new(shared: &'a Shared<'a>, jobs: SyncSender<Job>) -> Planner<'a> {
        Planner { shared, jobs, turn: 0, batch: Vec::new(), batch_bytes: 0, outcome: Outcome::default() }
    }

    /// Goes through everything: files first, folders last.
    pub fn run(mut self, inputs: Vec<Input>) -> Result<Outcome, Ended> {
        for (source, input) in inputs.into_iter().enumerate() {
            match input.content {
                Content::Stream { reader, .. } => self.stream(source, reader)?,
                Content::Scan { .. } | Content::File { .. } => self.files(source)?,
            }
        }
        self.flush()?;
        self.deferred()?;
        for source in 0..self.shared.listings.len() {
            self.folders(source)?;
        }
        self.flush()?;
        Ok(self.outcome)
    }

    fn failed(&self, source: usize, cause: std::io::Error) -> Ended {
        let source_name = self.shared.listings[source].source.clone();
        Ended::Here(PackError::Input { source_name, cause })
    }

    fn planned(&self, source: usize, number: u64, seen: Scanned) -> Planned {
        let path = self.shared.listings[source].path_of(&seen.path);
        Planned { number, source: source as u16, path, seen, link: None, has_links: false }
    }

    fn send(&mut self, work: Work) -> Result<(), Ended> {
        self.shared.control.check().map_err(|stopped| Ended::Here(stopped.into()))?;
        if !self.shared.window.enter() {
            return Err(Ended::Elsewhere);
        }
        let turn = self.turn;
        self.turn += 1;
        self.jobs.send(Job { turn, work }).map_err(|_| Ended::Elsewhere)
    }

    fn flush(&mut self) -> Result<(), Ended> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.send(Work::Entries(batch)) }
    }

    fn add(&mut self, item: Item, payload: u64) -> Result<(), Ended> {
        let (Item::Entry(entry) | Item::Opened(entry, _)) = &item;
        let link = entry.link.as_ref().map_or(entry.seen.link.len(), |link| link.len());
        let mut bytes = BLOCK + payload as usize + padding(payload);
        if entry.path.len() > SHORT_NAME || link > SHORT_NAME {
            bytes += 2 * BLOCK + entry.path.len() + link;
        }
        if self.batch_bytes + bytes > PIECE && self.batch_bytes > 0 {
            self.flush()?;
        }
        self.batch_bytes += bytes;
        self.batch.push(item);
        Ok(())
    }

    fn files(&mut self, source: usize) -> Result<(), Ended> {
        let listing = &self.shared.listings[source];
        let groups: HashMap<u64, &LinkGroup> =
            listing.groups.iter().map(|group| (group.first, group)).collect();
        let entries = listing.entries().map_err(|cause| self.failed(source, cause))?;
        for (at, seen) in (0..).zip(entries) {
            let seen = seen.map_err(|cause| self.failed(source, cause))?;
            if seen.kind == Kind::Directory || seen.further_name {
                continue;
            }
            let entry = self.planned(source, listing.first + at, seen);
            match groups.get(&at) {
                Some(group) => self.group(entry, group)?,
                None => self.entry(entry)?,
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
            Err(left_out) => {
                self.left_out(&entry, &left_out);
                Ok(())
            }
        }
    }

    fn left_out(&mut self, entry: &Planned, left_out: &LeftOut) {
        let source = usize::from(entry.source);
        let path = self.shared.listings[source].host_path(&self.shared.roots[source], &entry.seen);
        let cause = left_out.cause.map(|cause| cause.to_string());
        self.outcome.warnings.push((entry.source, Warning { kind: left_out.kind, path, cause }));
        self.shared.control.advance(1, 0);
    }

    fn opened(&mut self, entry: Planned, mut opened: Opened) -> Result<(), Ended> {
        opened.find_holes();
        let payload = opened.payload();
        let opened = Arc::new(opened);
        if payload <= PIECE as u64 {
            return self.add(Item::Opened(entry, opened), payload);
        }
        self.send(Work::Head(entry.clone(), Arc::clone(&opened)))?;
        for index in 1..payload.div_ceil(PIECE as u64) {
            self.send(Work::Piece(entry.clone(), Arc::clone(&opened), index))?;
        }
        Ok(())
    }

    /// A file with several names: the contents once, under the first name that can be opened, then the other names.
    fn group(&mut self, first: Planned, group: &LinkGroup) -> Result<(), Ended> {
        let source = usize::from(first.source);
        let listing = &self.shared.listings[source];
        let mut names = vec![first.clone()];
        for (number, inside) in &group.further {
            let mut name = Planned { number: listing.first + number, ..first.clone() };
            name.seen.path.clone_from(inside);
            name.path = listing.path_of(inside);
            names.push(name);
        }
        let mut names = names.into_iter();
        let (mut leader, opened) = loop {
            let Some(name) = names.next() else { return Ok(()) };
            match Opened::open(&self.shared.roots[source], &name) {
                Ok(opened) => break (name, opened),
                Err(left_out) => self.left_out(&name, &left_out),
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
            if seen.kind != Kind::Directory {
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
        for (at, seen) in (0..).zip(entries.flatten()) {
            if seen.kind == Kind::File {
                let entry = self.planned(source, listing.first + at, seen);
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
            self.send(Work::StreamPiece { bytes, index, last, source: source_number })?;
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
