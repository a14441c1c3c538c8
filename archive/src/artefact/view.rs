//! Several artefacts as one tree: a whole one, and differences laid over it.
//!
//! Entries of all layers are merged in path order; the newest of a path holds. What a layer's list of deleted paths covers is
//! gone from the layers below it. Nothing here holds the tree: a block of each layer's index, and the lists.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::iter::Peekable;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::deleted::{DELETED_MAX, DELETED_PATH, Deleted, is_own};
use super::member::Decoder;
use super::tarhead::Head;
use super::{Artefact, Entry, Kind, ReadError};
use backplan_host::control::Control;
use backplan_host::tree::{is_at_or_below, path_order};

/// One of the artefacts that a tree rests on.
#[derive(Debug)]
pub struct Layer {
    /// The artefact.
    pub artefact: Arc<Artefact>,
    /// The sources whose entries are taken from it; `None`: all.
    pub sources: Option<BTreeSet<String>>,
}

/// Trouble with one of a view's artefacts.
#[derive(Debug, thiserror::Error)]
#[error("the artefact of run {run}: {cause}")]
pub struct LayerError {
    /// Which layer, counted from the oldest.
    pub layer: usize,
    /// The run that made the artefact.
    pub run: String,
    /// What is wrong.
    #[source]
    pub cause: ReadError,
}

/// Which row of which layer's index an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spot {
    /// The layer, counted from the oldest.
    pub layer: u32,
    pub(crate) block: u32,
    pub(crate) row: u32,
}

/// An entry of a view, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The entry. What it says of places is meant in its own layer's artefact.
    pub entry: Entry,
    /// Where it is from.
    pub spot: Spot,
}

/// Layers as one tree.
#[derive(Debug)]
pub struct View {
    layers: Vec<Sheet>,
}

/// A layer, and what it takes away, once that was asked for.
#[derive(Debug)]
struct Sheet {
    artefact: Arc<Artefact>,
    sources: Option<BTreeSet<Vec<u8>>>,
    deleted: Mutex<Option<Arc<Deleted>>>,
}

impl From<Artefact> for View {
    /// One whole artefact.
    fn from(artefact: Artefact) -> View {
        View::new(vec![Layer { artefact: Arc::new(artefact), sources: None }])
    }
}

impl View {
    /// Of these layers, oldest first. Reads nothing yet.
    pub fn new(layers: Vec<Layer>) -> View {
        let bytes =
            |sources: BTreeSet<String>| sources.into_iter().map(String::into_bytes).collect::<BTreeSet<_>>();
        let sheet = |layer: Layer| Sheet {
            artefact: layer.artefact,
            sources: layer.sources.map(bytes),
            deleted: Mutex::default(),
        };
        View { layers: layers.into_iter().map(sheet).collect() }
    }

    /// The artefacts, oldest first.
    pub fn artefacts(&self) -> impl ExactSizeIterator<Item = &Artefact> {
        self.layers.iter().map(|sheet| &*sheet.artefact)
    }

    /// The artefact of a layer.
    pub(crate) fn artefact(&self, layer: u32) -> &Artefact {
        &self.layers[layer as usize].artefact
    }

    /// Says of which layer an error is.
    pub(crate) fn of_layer(&self, layer: usize) -> impl Fn(ReadError) -> LayerError + Copy + use<'_> {
        move |cause| LayerError { layer, run: self.layers[layer].artefact.run().to_owned(), cause }
    }

    /// All entries, in path order. Ends after the first error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Live, LayerError>> + '_ {
        self.below(b"")
    }

    /// The entry at `path` and all below it, in path order; everything for an empty path. Ends after the first error.
    pub fn below<'v>(&'v self, path: &[u8]) -> impl Iterator<Item = Result<Live, LayerError>> + use<'v> {
        Merge {
            view: self,
            path: path.to_vec(),
            heads: BinaryHeap::new(),
            feeds: Vec::new(),
            state: State::New,
        }
    }

    /// The entries at these paths and all below them, and the folders above them, in path order. Reads the blocks that they are in.
    /// Nothing more is to be asked for after the first error.
    pub fn at<'v>(&'v self, paths: &[&[u8]]) -> impl Iterator<Item = Result<Live, LayerError>> + use<'v> {
        let mut sorted = paths.to_vec();
        sorted.sort_by(|one, other| path_order(one, other));
        // What is at or below one that is wanted comes with it; what is above comes once.
        let mut steps: Vec<(Vec<u8>, bool)> = Vec::new();
        let mut last: Option<&[u8]> = None;
        for path in sorted {
            if last.is_some_and(|last| is_at_or_below(path, last)) {
                continue;
            }
            let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            let above = slashes.map(|(at, _)| &path[..at]);
            let new = above.filter(|above| last.is_none_or(|last| !is_at_or_below(last, above)));
            steps.extend(new.map(|above| (above.to_vec(), false)));
            steps.push((path.to_vec(), true));
            last = Some(path);
        }
        steps.into_iter().flat_map(move |(path, is_wanted)| {
            let alone = (!is_wanted).then(|| self.find(&path).transpose());
            alone.flatten().into_iter().chain(is_wanted.then(|| self.below(&path)).into_iter().flatten())
        })
    }

    /// How many entries there are, and bytes of files. Goes through all of them.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn counts(&self) -> Result<(u64, u64), LayerError> {
        self.entries().try_fold((0, 0), |(entries, bytes), live| {
            let entry = live?.entry;
            Ok((entries + 1, bytes + if entry.kind == Kind::File { entry.size } else { 0 }))
        })
    }

    /// The entry at `path` (source, slash, inner path). Reads the blocks that it would be in, newest layer first.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn find(&self, path: &[u8]) -> Result<Option<Live>, LayerError> {
        self.find_in(path, self.layers.len())
    }

    /// The same, in the layers below one.
    pub(crate) fn find_in(&self, path: &[u8], below: usize) -> Result<Option<Live>, LayerError> {
        if is_own(path) {
            return Ok(None);
        }
        let holding: Vec<usize> = self.holding(path).filter(|layer| *layer < below).collect();
        for (place, layer) in holding.iter().copied().enumerate().rev() {
            let artefact = &self.layers[layer].artefact;
            let found = artefact.locate(path).map_err(self.of_layer(layer))?;
            if let Some((block, row, entry)) = found {
                let spot = Spot { layer: layer as u32, block: block as u32, row: row as u32 };
                return Ok(Some(Live { entry, spot }));
            }
            // Nothing lies below the oldest: its list is of no consequence.
            if place > 0 && self.deleted(layer)?.covers(path) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The file whose contents an entry has: itself, or the one that a hard link names, which is in the same layer. `None`
    /// for what has no contents.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn file_of(&self, live: &Live) -> Result<Option<Entry>, LayerError> {
        let layer = live.spot.layer as usize;
        let file = match live.entry.kind {
            Kind::HardLink => self.artefact(live.spot.layer).find(&live.entry.link),
            _ => return Ok((live.entry.kind == Kind::File).then(|| live.entry.clone())),
        };
        Ok(file.map_err(self.of_layer(layer))?.filter(|file| file.kind == Kind::File))
    }

    /// How many copies there are of the artefact that has most.
    pub(crate) fn copies(&self) -> usize {
        self.layers.iter().map(|layer| layer.artefact.copies()).max().unwrap_or(1)
    }

    /// The tar header of an entry of a layer.
    ///
    /// # Errors
    /// When it cannot be read, or the index says something else.
    pub fn head(&self, spot: Spot, entry: &Entry) -> Result<Head, LayerError> {
        let artefact = self.artefact(spot.layer);
        let member = artefact.first_member(entry, &mut Decoder::default(), &mut Vec::new());
        member.map(|(head, ..)| head).map_err(self.of_layer(spot.layer as usize))
    }

    /// Whether two entries are one and the same row of one artefact.
    pub fn is_same(&self, live: &Live, other: &View, others: &Live) -> bool {
        let row = |spot: Spot| (spot.block, spot.row);
        row(live.spot) == row(others.spot)
            && self.artefact(live.spot.layer).root() == other.artefact(others.spot.layer).root()
    }

    /// The layers that a path can be in, oldest first.
    fn holding<'p>(&'p self, path: &'p [u8]) -> impl Iterator<Item = usize> + 'p {
        let source = path.split(|byte| *byte == b'/').next().unwrap_or_default();
        let holds = move |sheet: &Sheet| {
            source.is_empty() || sheet.sources.as_ref().is_none_or(|sources| sources.contains(source))
        };
        self.layers.iter().enumerate().filter(move |(_, sheet)| holds(sheet)).map(|(layer, _)| layer)
    }

    /// What a layer takes away from those below it; read once.
    pub(crate) fn deleted(&self, layer: usize) -> Result<Arc<Deleted>, LayerError> {
        let sheet = &self.layers[layer];
        let mut known = sheet.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(deleted) = &*known {
            return Ok(Arc::clone(deleted));
        }
        let deleted = sheet.artefact.deleted().map_err(self.of_layer(layer))?;
        let deleted = Arc::new(deleted.unwrap_or_default());
        *known = Some(Arc::clone(&deleted));
        Ok(deleted)
    }
}

impl Artefact {
    /// What it takes away from the artefacts it rests on: with a list, even an empty one, it is a difference; a whole one
    /// has none.
    ///
    /// # Errors
    /// When the list cannot be read, or is none.
    pub fn deleted(&self) -> Result<Option<Deleted>, ReadError> {
        let Some(entry) = self.find(DELETED_PATH)? else { return Ok(None) };
        if entry.kind != Kind::File || entry.size > DELETED_MAX {
            let what = "the list of deleted paths is no file, or too long";
            return Err(ReadError::damaged(entry.place, what));
        }
        let mut bytes = Vec::new();
        self.cat(&entry, &mut bytes, &Control::default())?;
        Deleted::parse(&bytes).map(Some).map_err(|bad| ReadError::damaged(entry.place, bad))
    }
}

/// The entries of a layer that are wanted, in path order, and what it takes away.
struct Feed<'v> {
    artefact: &'v Artefact,
    layer: u32,
    /// Paths still to be gone through, each with all below it, in order; an empty one stands for everything.
    wanted: Peekable<std::vec::IntoIter<Vec<u8>>>,
    blocks: Range<u32>,
    block: u32,
    row: u32,
    rows: Peekable<std::vec::IntoIter<Entry>>,
    sources: Option<&'v BTreeSet<Vec<u8>>>,
    /// `None` for the oldest layer.
    deleted: Option<Arc<Deleted>>,
    /// Deleted paths that the merge has gone past.
    passed: usize,
}

impl<'v> Feed<'v> {
    fn new(view: &'v View, layer: usize, path: &[u8], is_oldest: bool) -> Result<Feed<'v>, LayerError> {
        let sheet = &view.layers[layer];
        let wanted = match &sheet.sources {
            Some(sources) if path.is_empty() => sources.iter().cloned().collect(),
            _ => vec![path.to_vec()],
        };
        let mut feed = Feed {
            artefact: &sheet.artefact,
            layer: layer as u32,
            wanted: wanted.into_iter().peekable(),
            blocks: 0..sheet.artefact.entry_block_count() as u32,
            block: 0,
            row: 0,
            rows: Vec::new().into_iter().peekable(),
            sources: sheet.sources.as_ref(),
            deleted: if is_oldest { None } else { Some(view.deleted(layer)?) },
            passed: 0,
        };
        feed.skip_blocks();
        Ok(feed)
    }

    /// Whether this layer takes a path away from those below it; to be asked in path order.
    fn takes_away(&mut self, path: &[u8]) -> bool {
        let holds = |sources: &BTreeSet<Vec<u8>>| {
            path.split(|byte| *byte == b'/').next().is_some_and(|source| sources.contains(source))
        };
        let passed = &mut self.passed;
        self.deleted.as_ref().is_some_and(|deleted| deleted.covers_next(passed, path))
            && self.sources.is_none_or(holds)
    }

    fn next(&mut self) -> Result<Option<Live>, ReadError> {
        loop {
            let Some(wanted) = self.wanted.peek() else { return Ok(None) };
            let Some(entry) = self.rows.peek() else {
                if !self.fill()? {
                    return Ok(None);
                }
                continue;
            };
            if is_at_or_below(&entry.path, wanted) {
                let is_own = is_own(&entry.path);
                if let Some(live) = self.take().filter(|_| !is_own) {
                    return Ok(Some(live));
                }
            } else if path_order(&entry.path, wanted).is_lt() {
                self.take();
            } else {
                self.wanted.next();
                self.skip_blocks();
            }
        }
    }

    fn take(&mut self) -> Option<Live> {
        let spot = Spot { layer: self.layer, block: self.block, row: self.row };
        self.row += 1;
        self.rows.next().map(|entry| Live { entry, spot })
    }

    /// Jumps over the blocks before the one in which what is wanted next would be.
    fn skip_blocks(&mut self) {
        if let Some(wanted) = self.wanted.peek() {
            let block = self.artefact.block_of(wanted) as u32;
            self.blocks.start = self.blocks.start.max(block).min(self.blocks.end);
        }
    }

    fn fill(&mut self) -> Result<bool, ReadError> {
        let Some(block) = self.blocks.next() else { return Ok(false) };
        self.rows = self.artefact.entry_block(block as usize)?.into_iter().peekable();
        (self.block, self.row) = (block, 0);
        Ok(true)
    }
}

/// The next entry of a feed; the greatest is the first in path order, and of one path the newest.
struct Next(Live);

impl Ord for Next {
    fn cmp(&self, other: &Next) -> Ordering {
        let (ours, theirs) = (&self.0, &other.0);
        path_order(&theirs.entry.path, &ours.entry.path).then(ours.spot.layer.cmp(&theirs.spot.layer))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Next) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Next) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Next {}

enum State {
    New,
    Going,
    Over,
}

struct Merge<'v> {
    view: &'v View,
    path: Vec<u8>,
    heads: BinaryHeap<Next>,
    /// Oldest first.
    feeds: Vec<Feed<'v>>,
    state: State,
}

impl Merge<'_> {
    fn start(&mut self) -> Result<(), LayerError> {
        let layers: Vec<usize> = self.view.holding(&self.path).collect();
        for (place, layer) in layers.into_iter().enumerate() {
            let mut feed = Feed::new(self.view, layer, &self.path, place == 0)?;
            let head = feed.next().map_err(self.view.of_layer(layer))?;
            self.heads.extend(head.map(Next));
            self.feeds.push(feed);
        }
        Ok(())
    }

    /// The first head, its feed moved on.
    fn pop(&mut self) -> Result<Option<Live>, LayerError> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let layer = head.0.spot.layer;
        let place = self.feeds.partition_point(|feed| feed.layer < layer);
        let next = self.feeds[place].next().map_err(self.view.of_layer(layer as usize))?;
        Ok(Some(match next {
            Some(next) => std::mem::replace(&mut *head, Next(next)).0,
            None => std::collections::binary_heap::PeekMut::pop(head).0,
        }))
    }

    fn step(&mut self) -> Result<Option<Live>, LayerError> {
        if let State::New = self.state {
            self.state = State::Going;
            self.start()?;
        }
        loop {
            let Some(live) = self.pop()? else { return Ok(None) };
            // Of one path, the newest came first: the others are what it replaces.
            while self.heads.peek().is_some_and(|head| head.0.entry.path == live.entry.path) {
                self.pop()?;
            }
            let mut newer = self.feeds.iter_mut().rev().take_while(|feed| feed.layer > live.spot.layer);
            if !newer.any(|feed| feed.takes_away(&live.entry.path)) {
                return Ok(Some(live));
            }
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Live, LayerError>;

    fn next(&mut self) -> Option<Result<Live, LayerError>> {
        if let State::Over = self.state {
            return None;
        }
        let stepped = self.step().transpose();
        if !matches!(stepped, Some(Ok(_))) {
            self.state = State::Over;
        }
        stepped
    }
}
