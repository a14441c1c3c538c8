//! The extraction itself: members in parallel, then links, then folders.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use super::place::{Attributes, Dressed, New, Obstacle, Place};
use super::select::{Selected, Selector};
use super::way::Way;
use super::{ExtractError, Extracted, Extraction, Problem, ProblemKind};
use crate::artefact::agree::difference;
use crate::artefact::layout::{Blocks, Placement, by_member};
use crate::artefact::member::Decoder;
use crate::artefact::sparse::Expander;
use crate::artefact::tarhead::{self, Head};
use crate::artefact::{Artefact, Entry, Flags, Kind, LayerError, ReadError, View};
use backplan_host::control::Control;
use backplan_host::threads::on_several;

/// Problems that are kept word for word.
const PROBLEMS_KEPT: usize = 200;
/// Owners that are told of where they could not be kept.
const OWNERS_KEPT: usize = 5;
/// Files that are named of those that were not whole when they were packed.
const MAIMED_KEPT: usize = 10;

/// An entry that is believed, and waits for its turn.
struct Waiting {
    layer: usize,
    placement: Placement,
    attributes: Attributes,
}

/// One of the artefacts that entries are read from.
struct Layer<'a> {
    number: usize,
    artefact: &'a Artefact,
    blocks: Blocks<'a>,
}

/// Paths that contents were put back under, by layer and path of the file.
type Linked = HashMap<(usize, Vec<u8>), Vec<Vec<u8>>>;

/// What the threads share.
pub struct Run<'a> {
    view: &'a View,
    layers: Vec<Layer<'a>>,
    selector: &'a Selector,
    places: &'a [Place],
    control: &'a Control,
    report: Mutex<Extracted>,
    links: Mutex<Vec<Waiting>>,
    folders: Mutex<Vec<Waiting>>,
    /// Files with further names that were put back, by layer and path, and the paths that their contents were put back
    /// under: their own, or the first of their names that was wanted; one on each file system.
    linked: Mutex<Linked>,
    /// It ends when all is on the disk.
    is_synced: bool,
}

/// Why one entry is not put back.
enum Refusal {
    /// This entry only.
    Problem(ProblemKind, String),
    /// Everything: the artefact cannot be read.
    Unreadable(ReadError),
    /// Everything.
    End(ExtractError),
}

impl From<Errno> for Refusal {
    fn from(cause: Errno) -> Refusal {
        match cause {
            // Nothing more will fit: going on would only make a long list of the same.
            Errno::NOSPC | Errno::DQUOT | Errno::ROFS => Refusal::End(ExtractError::Full(cause.into())),
            Errno::MFILE | Errno::NFILE => Refusal::End(ExtractError::TooMany(cause.into())),
            other => Refusal::Problem(ProblemKind::System, other.to_string()),
        }
    }
}

impl From<Obstacle> for Refusal {
    fn from(obstacle: Obstacle) -> Refusal {
        match obstacle {
            Obstacle::Exists(what) => Refusal::Problem(ProblemKind::Exists, what.to_owned()),
            Obstacle::InTheWay(what) => Refusal::Problem(ProblemKind::InTheWay, what.to_owned()),
            Obstacle::System(cause) => cause.into(),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Refusal {
        match error {
            ReadError::Damaged { what, .. } => Refusal::Problem(ProblemKind::Damaged, what),
            ReadError::Stopped(stopped) => Refusal::End(stopped.into()),
            ReadError::Output(cause) => match Errno::from_io_error(&cause) {
                Some(errno) => errno.into(),
                None => Refusal::Problem(ProblemKind::System, cause.to_string()),
            },
            other => Refusal::Unreadable(other),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Run<'a> {
    /// An extraction of `view` into `places`.
    pub fn new(view: &'a View, selector: &'a Selector, places: &'a [Place], control: &'a Control) -> Run<'a> {
        let layer = |(number, artefact)| Layer { number, artefact, blocks: Blocks::new(artefact) };
        Run {
            view,
            layers: view.artefacts().enumerate().map(layer).collect(),
            selector,
            places,
            control,
            report: Mutex::default(),
            links: Mutex::default(),
            folders: Mutex::default(),
            linked: Mutex::default(),
            is_synced: false,
        }
    }

    /// Puts back what was selected.
    ///
    /// # Errors
    /// When the index cannot be read, or on a stop.
    pub fn run(mut self, selected: &Selected, extraction: &Extraction) -> Result<Extracted, ExtractError> {
        self.is_synced = extraction.sync;
        let laid = self.lay(selected, extraction);
        let mut report = self.report.into_inner().unwrap_or_else(PoisonError::into_inner);
        // However it ended: a folder of somebody's own is not left open to writing.
        for (path, cause) in self.places.iter().flat_map(Place::tighten) {
            let what = format!("`{}`: its mode cannot be set: {cause}", path.escape_ascii());
            report.problem_count += 1;
            report.problems.push(Problem { path, layer: 0, kind: ProblemKind::Attributes, what });
        }
        laid.map(|()| report)
    }

    fn lay<'s>(&self, selected: &'s Selected, extraction: &Extraction) -> Result<(), ExtractError> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = extraction.workers.unwrap_or_else(cores).clamp(1, 16);
        let of_layer = |(layer, placements): (_, &'s Vec<Placement>)| {
            by_member(placements).map(move |member| (layer, member))
        };
        let members = Mutex::new(self.layers.iter().zip(&selected.layers).flat_map(of_layer));
        let failed: Mutex<Option<ExtractError>> = Mutex::default();
        on_several(threads, || {
            let mut worker =
                Worker { run: self, decoder: Decoder::default(), bytes: Vec::new(), way: Way::default() };
            loop {
                let member = lock(&members).next();
                let Some((layer, placements)) = member else { return };
                if lock(&failed).is_some() {
                    return;
                }
                if let Err(error) = worker.member(layer, placements) {
                    *lock(&failed) = Some(error);
                }
            }
        });
        drop(members);
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        self.links()?;
        self.folders()
    }

    fn problem(&self, layer: &Layer<'_>, entry: &Entry, kind: ProblemKind, what: &str) {
        let mut report = lock(&self.report);
        report.problem_count += 1;
        if report.problems.len() < PROBLEMS_KEPT {
            let what = format!("`{}`: {what}", entry.path.escape_ascii());
            report.problems.push(Problem { path: entry.path.clone(), layer: layer.number, kind, what });
        }
    }

    fn unreadable(&self, layer: &Layer<'_>, cause: ReadError) -> ExtractError {
        match cause {
            ReadError::Stopped(stopped) => stopped.into(),
            cause => self.view.of_layer(layer.number)(cause).into(),
        }
    }

    fn entry(&self, layer: &Layer<'_>, placement: Placement) -> Result<Entry, ExtractError> {
        layer.blocks.entry(placement).map_err(|cause| self.unreadable(layer, cause))
    }

    fn settle(
        &self,
        layer: &Layer<'_>,
        entry: &Entry,
        outcome: Result<Dressed, Refusal>,
    ) -> Result<bool, ExtractError> {
        match outcome {
            Ok(dressed) => {
                for trouble in dressed.troubles {
                    self.problem(layer, entry, ProblemKind::Attributes, &trouble);
                }
                let mut report = lock(&self.report);
                report.entries += 1;
                report.foreign += u64::from(dressed.foreign.is_some());
                if entry.flags.has(Flags::DAMAGED) || entry.flags.has(Flags::SHRANK) {
                    report.maimed += 1;
                    if report.maimed_first.len() < MAIMED_KEPT {
                        report.maimed_first.push(entry.path.clone());
                    }
                }
                if let Some(owner) = dressed.foreign.filter(|_| report.owners.len() < OWNERS_KEPT) {
                    report.owners.insert(owner);
                }
                let bytes = if entry.kind == Kind::File { entry.size } else { 0 };
                report.bytes = report.bytes.saturating_add(bytes);
                self.control.advance(1, bytes);
                Ok(true)
            }
            Err(Refusal::Problem(kind, what)) => {
                self.problem(layer, entry, kind, &what);
                Ok(false)
            }
            Err(Refusal::Unreadable(cause)) => Err(self.unreadable(layer, cause)),
            Err(Refusal::End(error)) => Err(error),
        }
    }

    /// The place and the path in it of an entry.
    fn place(&self, entry: &Entry) -> Result<(usize, &Place, Vec<u8>), Refusal> {
        let hostile = |what: &str| Refusal::Problem(ProblemKind::Hostile, what.to_string());
        let (number, below) =
            self.selector.target(&entry.path).ok_or_else(|| hostile("it points to what is not extracted"))?;
        let place = &self.places[number];
        let path = place.path(below);
        if path.is_empty() && entry.kind != Kind::Directory {
            return Err(hostile(
                "it is no folder, and would take the place of the one that is restored into",
            ));
        }
        Ok((number, place, path))
    }

    /// Links come after all files, so that no file is made through one.
    fn links(&self) -> Result<(), ExtractError> {
        let mut waiting = std::mem::take(&mut *lock(&self.links));
        waiting.sort_unstable_by_key(|waiting| (waiting.layer, waiting.placement));
        let (mut way, mut there) = (Way::default(), Way::default());
        for Waiting { layer, placement, attributes } in waiting {
            self.control.check()?;
            let layer = &self.layers[layer];
            let entry = self.entry(layer, placement)?;
            let outcome = match entry.kind {
                Kind::HardLink => self.hard_link(layer, &entry, (&mut way, &mut there)),
                _ => self.special(&entry, &attributes, &mut way),
            };
            self.settle(layer, &entry, outcome)?;
        }
        Ok(())
    }

    fn special(&self, entry: &Entry, attributes: &Attributes, way: &mut Way) -> Result<Dressed, Refusal> {
        let (number, place, path) = self.place(entry)?;
        let new = place.special(number, &path, entry, way)?;
        match place.dress_special(&new, entry, attributes) {
            Ok(dressed) => {
                new.keep()?;
                Ok(dressed)
            }
            Err(cause) => {
                new.discard();
                Err(cause.into())
            }
        }
    }

    /// A further name; where no name of its file is extracted yet, the contents under this one.
    fn hard_link(
        &self,
        layer: &Layer<'_>,
        entry: &Entry,
        (way, there): (&mut Way, &mut Way),
    ) -> Result<Dressed, Refusal> {
        let (number, place, path) = self.place(entry)?;
        let target = layer.artefact.find(&entry.link)?.filter(|target| target.kind == Kind::File);
        let Some(file) = target else {
            let what = "it is another name of something that is no file of this artefact";
            return Err(Refusal::Problem(ProblemKind::Hostile, what.to_string()));
        };
        // A file of the same path that another layer holds is another file.
        let key = (layer.number, file.path.clone());
        let puts = lock(&self.linked).get(&key).cloned().unwrap_or_default();
        for (other, below) in puts.iter().filter_map(|put| self.selector.target(put)) {
            let other = (other, &self.places[other], self.places[other].path(below));
            match place.hard_link(number, &path, way, other, there) {
                Ok(new) => {
                    new.keep()?;
                    return Ok(Dressed::default());
                }
                // Another file system is mounted there, or the file has too many names: a copy then.
                Err(Obstacle::System(Errno::XDEV | Errno::MLINK | Errno::PERM)) => {}
                Err(obstacle) => return Err(obstacle.into()),
            }
        }
        let (new, open) = place.file(number, &path, way)?;
        let dressed = self.stream(layer, &file, new, &open, place)?;
        let mut report = lock(&self.report);
        report.bytes = report.bytes.saturating_add(file.size);
        drop(report);
        self.control.advance(0, file.size);
        lock(&self.linked).entry(key).or_default().push(entry.path.clone());
        Ok(dressed)
    }

    /// Writes a file member by member.
    fn stream(
        &self,
        layer: &Layer<'_>,
        entry: &Entry,
        new: New,
        file: &OwnedFd,
        place: &Place,
    ) -> Result<Dressed, Refusal> {
        let attributes = match self.write_payload(layer, entry, file) {
            Ok(attributes) => attributes,
            Err(refusal) => {
                new.discard();
                return Err(refusal);
            }
        };
        let dressed = place.dress(file, entry, &attributes);
        new.keep()?;
        Ok(dressed)
    }

    /// Writes a file; where it has not its digest, as each of the other copies of its artefact has it.
    fn write_payload(&self, layer: &Layer<'_>, entry: &Entry, file: &OwnedFd) -> Result<Attributes, Refusal> {
        let copies = self.layers.iter().map(|layer| layer.artefact.copies()).max().unwrap_or(1);
        let mut written = self.write_copy(0, layer, entry, file);
        for tried in 1..copies {
            if !matches!(written, Err(Refusal::Problem(ProblemKind::Damaged, _))) {
                break;
            }
            rustix::fs::ftruncate(file, 0)?;
            let other = self.write_copy(tried, layer, entry, file);
            // Where none is whole, what was wrong with the first.
            written = if other.is_ok() { other } else { written };
        }
        written
    }

    /// Writes a file as the copy of its artefact has it that is behind `tried` others.
    fn write_copy(
        &self,
        tried: usize,
        layer: &Layer<'_>,
        entry: &Entry,
        file: &OwnedFd,
    ) -> Result<Attributes, Refusal> {
        let mut on_its_way = 0;
        let mut write = |offset: u64, bytes: &[u8]| {
            write_at(file, offset, bytes).map_err(|cause| ReadError::Output(cause.into()))?;
            if self.is_synced {
                push(file, &mut on_its_way, offset + bytes.len() as u64);
            }
            Ok(())
        };
        if entry.flags.has(Flags::PATCH) {
            let head = self.view.patched_in(tried, (layer.number, entry), self.control, &mut write);
            return head.map(|head| head.attributes).map_err(|error| match error.layer == layer.number {
                true => error.cause.into(),
                false => of_another(error),
            });
        }
        let mut sparse = entry.flags.has(Flags::SPARSE).then(|| Expander::new(entry.size));
        let mut at = 0;
        let head = layer.artefact.payload_in(tried, entry, self.control, &mut |bytes| match &mut sparse {
            Some(expander) => expander.push(bytes, &mut write),
            None => {
                write(at, bytes)?;
                at += bytes.len() as u64;
                Ok(())
            }
        });
        let head = head?;
        finish_size(file, entry, sparse.as_ref())?;
        Ok(head.attributes)
    }

    /// Folders come last, the deepest first: what is made in one changes its time, and some may not be written to.
    fn folders(&self) -> Result<(), ExtractError> {
        let mut waiting = std::mem::take(&mut *lock(&self.folders));
        waiting.sort_unstable_by_key(|waiting| Reverse(waiting.placement.order));
        let mut way = Way::default();
        for Waiting { layer, placement, attributes } in waiting {
            self.control.check()?;
            let layer = &self.layers[layer];
            let entry = self.entry(layer, placement)?;
            let outcome = self.place(&entry).and_then(|(number, place, path)| {
                place.directory(number, &path, &entry, &attributes, &mut way).map_err(Refusal::from)
            });
            self.settle(layer, &entry, outcome)?;
        }
        Ok(())
    }
}

/// A file that rests on what another artefact has of it.
fn of_another(error: LayerError) -> Refusal {
    match error.cause {
        ReadError::Damaged { .. } => Refusal::Problem(ProblemKind::Damaged, error.to_string()),
        ReadError::Stopped(stopped) => Refusal::End(stopped.into()),
        _ => Refusal::End(error.into()),
    }
}

/// Bytes after which the system is asked to begin bringing them to the disk.
const PUSH: u64 = 8 << 20;

/// Has the disk write what there is up to `end`, while more comes: else nearly all of a large file is still to be written when the end waits for
/// it. That its pages may then be forgotten harms nobody who restores more than fits into memory.
fn push(file: &OwnedFd, on_its_way: &mut u64, end: u64) {
    let Some(len) = end.checked_sub(*on_its_way).filter(|len| *len >= PUSH) else { return };
    let _ = fadvise(file, *on_its_way, NonZeroU64::new(len), Advice::DontNeed);
    *on_its_way = end;
}

fn write_at(file: &OwnedFd, mut offset: u64, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

fn finish_size(file: &OwnedFd, entry: &Entry, sparse: Option<&Expander>) -> Result<(), Refusal> {
    let Some(expander) = sparse else { return Ok(()) };
    if !expander.is_complete() {
        let what = "its map of holes makes no sense".to_string();
        return Err(Refusal::Problem(ProblemKind::Damaged, what));
    }
    Ok(rustix::fs::ftruncate(file, entry.size)?)
}

struct Worker<'r, 'a> {
    run: &'r Run<'a>,
    decoder: Decoder,
    bytes: Vec<u8>,
    way: Way,
}

impl Worker<'_, '_> {
    fn member(&mut self, layer: &Layer<'_>, placements: &[Placement]) -> Result<(), ExtractError> {
        self.run.control.check()?;
        let mut decoded: Option<Result<(), String>> = None;
        for placement in placements {
            let entry = self.run.entry(layer, *placement)?;
            if let Some(dressed) = self.there(&entry) {
                self.done(layer, &entry, Ok(dressed))?;
                lock(&self.run.report).there += 1;
                continue;
            }
            if !Artefact::is_single(&entry) || entry.flags.has(Flags::PATCH) {
                let outcome = self.large(layer, &entry);
                self.done(layer, &entry, outcome)?;
                continue;
            }
            if decoded.is_none() {
                let result =
                    layer.artefact.decode(&mut self.decoder, entry.place, entry.span, &mut self.bytes);
                decoded = Some(match result {
                    Ok(()) => Ok(()),
                    Err(ReadError::Damaged { what, .. }) => Err(what),
                    Err(other) => return Err(self.run.unreadable(layer, other)),
                });
            }
            let outcome = match &decoded {
                Some(Err(what)) => Err(Refusal::Problem(ProblemKind::Damaged, what.clone())),
                _ => match self.single(layer, *placement, &entry) {
                    Ok(None) => continue,
                    Ok(Some(dressed)) => Ok(dressed),
                    Err(refusal) => Err(refusal),
                },
            };
            self.done(layer, &entry, outcome)?;
        }
        Ok(())
    }

    /// A file that an extraction before this one put back.
    fn there(&self, entry: &Entry) -> Option<Dressed> {
        let (_, place, path) = self.run.place(entry).ok().filter(|_| entry.kind == Kind::File)?;
        place.holds(&path, entry)
    }

    fn done(
        &self,
        layer: &Layer<'_>,
        entry: &Entry,
        outcome: Result<Dressed, Refusal>,
    ) -> Result<(), ExtractError> {
        if self.run.settle(layer, entry, outcome)? && entry.flags.has(Flags::LINKED) {
            let key = (layer.number, entry.path.clone());
            lock(&self.run.linked).entry(key).or_default().push(entry.path.clone());
        }
        Ok(())
    }

    fn large(&mut self, layer: &Layer<'_>, entry: &Entry) -> Result<Dressed, Refusal> {
        let (number, place, path) = self.run.place(entry)?;
        let (new, file) = place.file(number, &path, &mut self.way)?;
        self.run.stream(layer, entry, new, &file, place)
    }

    /// An entry whose member is decoded; `None` if it has to wait.
    fn single(
        &mut self,
        layer: &Layer<'_>,
        placement: Placement,
        entry: &Entry,
    ) -> Result<Option<Dressed>, Refusal> {
        let wait = |attributes| Waiting { layer: layer.number, placement, attributes };
        let from = self.bytes.get(entry.start as usize..).unwrap_or_default();
        let Some((head, length)) = tarhead::read(from) else {
            let what = "no tar header where the index says one is";
            return Err(Refusal::Problem(ProblemKind::Hostile, what.to_string()));
        };
        believe(entry, &head)?;
        match entry.kind {
            Kind::File => self.small(layer, entry, &head.attributes, entry.start as usize + length).map(Some),
            Kind::Directory => {
                lock(&self.run.folders).push(wait(head.attributes));
                Ok(None)
            }
            Kind::Symlink | Kind::HardLink => {
                lock(&self.run.links).push(wait(head.attributes));
                Ok(None)
            }
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => {
                self.run.special(entry, &head.attributes, &mut self.way).map(Some)
            }
        }
    }

    /// The contents of a file within one member as another copy of the artefact has them; `None`: none has them whole.
    fn of_another_copy(&mut self, layer: &Layer<'_>, entry: &Entry) -> Option<Vec<u8>> {
        let mut member = Vec::new();
        (1..layer.artefact.copies()).find_map(|tried| {
            let read = layer.artefact.first_member_in(tried, entry, &mut self.decoder, &mut member);
            let (_, data, _) = read.ok()?;
            whole(entry, &member, data).ok().map(<[u8]>::to_vec)
        })
    }

    /// A file within one member: its digest is checked before anything is made.
    fn small(
        &mut self,
        layer: &Layer<'_>,
        entry: &Entry,
        attributes: &Attributes,
        data: usize,
    ) -> Result<Dressed, Refusal> {
        let damaged = |what: &str| Refusal::Problem(ProblemKind::Damaged, what.to_string());
        let other;
        let bytes = match whole(entry, &self.bytes, data) {
            Ok(bytes) => bytes,
            Err(why) => {
                other = self.of_another_copy(layer, entry).ok_or_else(|| damaged(why))?;
                other.as_slice()
            }
        };
        let (number, place, path) = self.run.place(entry)?;
        let (new, file) = place.file(number, &path, &mut self.way)?;
        let written = if entry.flags.has(Flags::SPARSE) {
            let mut expander = Expander::new(entry.size);
            let mut write = |offset: u64, bytes: &[u8]| {
                write_at(&file, offset, bytes).map_err(|cause| ReadError::Output(cause.into()))
            };
            let expanded = expander.push(bytes, &mut write).map_err(Refusal::from);
            expanded.and_then(|()| finish_size(&file, entry, Some(&expander)))
        } else {
            write_at(&file, 0, bytes).map_err(Refusal::from)
        };
        if let Err(refusal) = written {
            new.discard();
            return Err(refusal);
        }
        let dressed = place.dress(&file, entry, attributes);
        new.keep()?;
        Ok(dressed)
    }
}

/// The contents of a file within a decoded member, where they are what the index says.
fn whole<'b>(entry: &Entry, member: &'b [u8], data: usize) -> Result<&'b [u8], &'static str> {
    let payload = usize::try_from(entry.payload).unwrap_or(usize::MAX);
    let bytes = member.get(data..data.saturating_add(payload)).ok_or("its contents are cut")?;
    match *blake3::hash(bytes).as_bytes() == entry.hash {
        true => Ok(bytes),
        false => Err("its contents do not have their digest"),
    }
}

fn believe(entry: &Entry, head: &Head) -> Result<(), Refusal> {
    match difference(entry, head) {
        Some(what) => {
            let what = format!("index and tar header differ in the {what}; not extracted");
            Err(Refusal::Problem(ProblemKind::Hostile, what))
        }
        None => Ok(()),
    }
}
