//! Packing: a planner goes through the sources and gives out members' worth of work, workers read, compress and hash, and
//! the calling thread writes the members in order. What is under way is bounded, and what is known of entries goes to
//! temporary files, so that memory does not grow with the tree.

mod again;
mod base;
mod batch;
mod blocks;
mod changes;
mod compressors;
mod contents;
mod deletions;
mod fate;
mod feed;
mod finish;
mod grains;
mod job;
mod keep;
mod listing;
mod names;
mod open;
mod output;
mod plan;
mod pool;
mod readers;
mod scratch;
mod shifts;
mod window;
mod work;
mod write;

use std::collections::HashSet;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::deleted::Deleted;
use super::{Codec, IndexPlace, Kind, PIECE, ReadError, Root};
use serde::{Deserialize, Serialize};

use crate::scan::{Counts, Doubts, Warnings};
use backplan_host::control::{Control, Stopped};
use backplan_host::lasting;
use backplan_host::threads;
pub use base::{BaseIndex, BaseScan, CopyBase, Shape};
pub use changes::{Changes, SourceChanges, plan_changes};
use compressors::Compressors;
use deletions::{Deletions, OWN};
use fate::{Fate, Fates};
pub use feed::{Fed, Feed};
pub(crate) use finish::{end_of_archive, index_header};
pub use grains::{Grains, file_name as grains_name};
use job::Done;
pub(crate) use job::Planned;
use keep::Keep;
use listing::Listing;
use names::Names;
use open::Roots;
use plan::{Ended, Planner, PlannerOutcome, Shared};
use pool::Pool;
use readers::Readers;
use window::Window;
use work::Worker;
use write::Writer;

/// More threads than this only cost memory.
const WORKERS_MAX: usize = 16;
/// So many read where files are not cached, however few compress.
const READERS_MAX: usize = 8;
/// Members under way, at least: while one that is hard to compress is waited for, the other workers go on with the next, of which
/// those that are only stored are done many times as fast.
const UNDER_WAY: usize = 32;

/// Bytes read at once where a sink cannot share.
const COPY_CHUNK: usize = 1 << 18;

/// What a sink says when it cannot go on.
pub type SinkError = Box<dyn Error + Send + Sync>;

/// Where an artefact's bytes go.
pub trait Sink {
    /// Appends.
    ///
    /// # Errors
    /// When the bytes could not be taken: packing ends.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// Appends bytes that the base has at `offset`: members that are copied from it.
    ///
    /// # Errors
    /// When the bytes could not be taken: packing ends.
    fn again(&mut self, _offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        self.write(bytes)
    }

    /// Says that the next `len` bytes are going to be patched.
    fn hold(&mut self, _len: u64) {}

    /// Replaces bytes that were held. Called only for inputs that hold a [`Content::Stream`], once for each.
    ///
    /// # Errors
    /// When the bytes could not be taken: packing ends.
    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError>;

    /// Appends `len` bytes of a file, from `offset`: with [`PackOptions::share_blocks`], and aligned to 4 KiB on both sides,
    /// so that a sink that is a file can share them. The file must not change meanwhile.
    ///
    /// # Errors
    /// When the bytes could not be taken: packing ends.
    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), SinkError> {
        let mut bytes = vec![0; COPY_CHUNK];
        let mut done = 0;
        while done < len {
            let now = (len - done).min(COPY_CHUNK as u64) as usize;
            from.read_exact_at(&mut bytes[..now], offset + done)?;
            self.write(&bytes[..now])?;
            done += now as u64;
        }
        Ok(())
    }
}

/// One source of an artefact.
pub struct Input {
    /// Its name: the folder it has in the artefact. One path component.
    pub source: String,
    /// What is in it.
    pub content: Content,
}

/// What a source gives.
pub enum Content {
    /// Trees.
    Scan {
        /// The scan file that [`crate::scan::scan`] wrote.
        scan: PathBuf,
        /// What the base was packed from; `None`: there is no base, or it does not hold this source.
        base: Option<BaseScan>,
    },
    /// One regular file of this host, under a name of its own.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its name inside the source's folder: one component.
        name: String,
    },
    /// Bytes of unknown number, under a name. An error of the reader ends the packing.
    Stream {
        /// Where they come from; read on a thread of its own.
        reader: Box<dyn Read + Send>,
        /// The file's name inside the source's folder: one component.
        name: String,
        /// The time recorded for it.
        mtime: SystemTime,
        /// The permission bits recorded for it.
        mode: u32,
    },
    /// Entries that come one after the other, each with its contents. An error of the feed ends the packing.
    Feed(Box<dyn Feed>),
}

/// How to pack.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// How members are compressed.
    pub codec: Codec,
    /// How hard: 0 (stored) to 9, 19 with zstd; 6 is gzip's usual, 3 zstd's.
    pub level: u8,
    /// The run's id, recorded in the artefact: 1 to 64 bytes.
    pub run: String,
    /// A folder for unnamed temporary files: about 150 bytes an entry.
    pub scratch: PathBuf,
    /// Compressing threads; as many as there are cores where `None`.
    pub workers: Option<usize>,
    /// What it is to hold.
    pub shape: Shape,
    /// Pads members to 4 KiB, so that a copy-on-write store can share them with the next artefact; and shares those
    /// that are copied, where [`CopyBase::file`] allows it. Costs 2 to 4 % of size.
    pub share_blocks: bool,
    /// Later artefacts copy members of this one: they hold fewer files each, so that a change makes less of them useless.
    /// Costs 0.3 % of size.
    pub is_copied: bool,
    /// What this artefact takes away from those it rests on: it is a difference then, even with an empty list. `None`
    /// for a whole one.
    pub deleted: Option<Deleted>,
    /// Of a large file that changed, a difference holds only what changed; what is known for that, and where it is kept.
    /// `None`: it holds the file.
    pub grains: Option<Grains>,
    /// The public keys that the artefact is encrypted for; empty: it is not.
    pub recipients: Vec<String>,
}

/// What was packed.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Bytes of the artefact, as they went to the sink.
    pub size: u64,
    /// SHA-256 of them; `None` if bytes were patched: it has to be read again for that.
    pub sha256: Option<[u8; 32]>,
    /// The digest that stands for all of it.
    pub root: Root,
    /// Where the index is, in what it decrypts to.
    pub index: IndexPlace,
    /// Members that hold entries.
    pub members: u64,
    /// Per source, sorted by name.
    pub sources: Vec<PackedSource>,
    /// Bytes that were copied from the base, compressed.
    pub copied: u64,
    /// Whether nothing changed since the base.
    pub unchanged: bool,
}

/// How much there is of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Entries of every kind, the source's own folder counted.
    pub entries: u64,
    /// Those that are no folders.
    pub leaves: u64,
    /// Those that are regular files, each group of hard links once.
    pub files: u64,
    /// Bytes of them, without holes.
    pub bytes: u64,
}

impl Tally {
    /// Counts an entry.
    fn add(&mut self, kind: Kind, bytes: u64) {
        self.entries += 1;
        self.leaves += u64::from(kind != Kind::Directory);
        self.files += u64::from(kind == Kind::File);
        self.bytes += bytes;
    }
}

/// What was packed of a source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackedSource {
    /// Its name.
    pub name: String,
    /// Entries of every kind, the source's own folder counted.
    pub entries: u64,
    /// Bytes read of files.
    pub bytes: u64,
    /// What was to be in the backup.
    pub seen: Tally,
    /// What is in the backup, here or in what this rests on.
    pub arrived: Tally,
    /// What went differently.
    pub warnings: Warnings,
    /// How much changed since the base; without one, all was added.
    #[serde(skip)]
    pub counts: Counts,
    /// What the artefact does not hold as the scan saw it: to be kept with the scan. Empty for what is no scan.
    #[serde(skip)]
    pub doubts: Doubts,
}

/// Why packing ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The place it is written to failed.
    #[error("cannot write the artefact: {0}")]
    Sink(#[source] SinkError),
    /// A source failed.
    #[error("source `{source_name}`: {cause}")]
    Input {
        /// The source.
        source_name: String,
        /// What is wrong.
        #[source]
        cause: io::Error,
    },
    /// Temporary files could not be written.
    #[error("temporary file in `{path}`: {cause}{}", lasting::mend(cause))]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// The base, or its index, cannot be read, or is not what the scans say: pack without it.
    #[error("the base cannot be used: {0}")]
    Base(#[source] ReadError),
    /// The scan that the base was packed from cannot be used: pack the source as a new one.
    #[error("source `{source_name}`: the scan of the base, `{path}`, cannot be used: {cause}")]
    BaseScan {
        /// The source.
        source_name: String,
        /// The scan file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: io::Error,
    },
    /// The system gave no thread to work on.
    #[error("cannot pack: {0}")]
    Thread(#[source] io::Error),
    /// What was asked for cannot be.
    #[error("cannot pack: {0}")]
    Request(String),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Packs sources into one artefact and gives its bytes to `sink`. The order of `inputs` does not matter.
///
/// # Errors
/// See [`PackError`]. Single files that cannot be read are warnings.
pub fn pack(
    inputs: Vec<Input>,
    options: &PackOptions,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Packed, PackError> {
    let changes = plan_changes(&inputs, options, control)?;
    pack_changes(inputs, changes, options, sink, control)
}

/// As [`pack`], with changes that [`plan_changes`] found for the same inputs and options.
///
/// # Errors
/// As [`pack`]'s.
pub fn pack_changes(
    mut inputs: Vec<Input>,
    changes: Changes,
    options: &PackOptions,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Packed, PackError> {
    check(&inputs, options)?;
    let unchanged = changes.is_unchanged();
    let given = options.deleted.as_ref();
    let given = given.map(|list| Deletions::write(list, &options.scratch, &options.run)).transpose()?;
    let deletions = given.as_ref().or(changes.deletions.as_ref());
    inputs.extend(deletions.map(Deletions::input));
    inputs.sort_by(|a, b| a.source.cmp(&b.source));
    let listings = listings(&inputs)?;
    let (keep, fates) = fates(&listings, &changes, options, control)?;
    expect(&listings, &changes, options, control);
    let names = Names::of_this_host();
    let entries = listings.iter().map(|listing| listing.entries).sum();
    let pool = Pool::default();
    let grains = grains_of(&inputs, options)?;
    let own = (&names, &*grains);
    let mut writer = Writer::start(sink, options, entries, inputs.len(), own, pool.clone())?;
    if let Some(keep) = &keep {
        writer.find_again(keep)?;
    }
    let material = Material {
        listings: &listings,
        fates: &fates,
        keep: keep.as_ref(),
        deletions,
        options,
        names: &names,
        grains: &grains,
        pool,
    };
    let PlannerOutcome { links, wholes, warnings, mut came } =
        members(inputs, &material, &mut writer, control)?;
    for (source, warning) in warnings {
        writer.written[usize::from(source)].warnings.push(warning);
    }
    let written = std::mem::take(&mut writer.written);
    let (members, copied) = (writer.member_count, writer.copied);
    let (end, indexed) = finish::finish(writer, &material, (&links, &wholes), &mut came)?;
    let scratch = |cause| PackError::Scratch { path: options.scratch.clone(), cause };
    grains.iter().flatten().try_for_each(grains::Source::finish).map_err(scratch)?;
    let all = listings.iter().zip(written).zip(indexed);
    let all = all.map(|((listing, written), indexed)| packed_source(listing, written, indexed, &changes));
    let (own, sources): (Vec<PackedSource>, _) = all.partition(|source| source.name == OWN);
    let is_lost = own.iter().any(|own| deletions.is_some() && own.arrived.files < own.seen.files);
    if is_lost {
        let cause = io::Error::other("the list of what was deleted could not be read again");
        return Err(PackError::Scratch { path: options.scratch.clone(), cause });
    }
    let finish::End { size, sha256, root, index } = end;
    Ok(Packed { size, sha256, root, index, members, sources, copied, unchanged })
}

/// What came of a source.
fn packed_source(
    listing: &Listing,
    written: write::Written,
    indexed: finish::Indexed,
    changes: &Changes,
) -> PackedSource {
    PackedSource {
        name: listing.source.clone(),
        entries: indexed.entries,
        bytes: written.bytes,
        seen: indexed.seen,
        arrived: indexed.arrived,
        warnings: written.warnings,
        counts: changes.of(&listing.source).map(|source| source.counts).unwrap_or_default(),
        doubts: indexed.doubts,
    }
}

/// What a packing is made of.
struct Material<'a> {
    listings: &'a [Listing],
    fates: &'a [Fates],
    keep: Option<&'a Keep>,
    deletions: Option<&'a Deletions>,
    options: &'a PackOptions,
    names: &'a Names,
    grains: &'a [Option<grains::Source>],
    pool: Pool,
}

/// What is known of large files, for each source that can be read again.
fn grains_of(inputs: &[Input], options: &PackOptions) -> Result<Vec<Option<grains::Source>>, PackError> {
    let failed = |cause| PackError::Scratch { path: options.scratch.clone(), cause };
    let of = |input: &Input| match (&options.grains, &input.content) {
        (Some(grains), Content::Scan { .. } | Content::File { .. }) if input.source != OWN => {
            grains::Source::start(grains, &input.source).map(Some)
        }
        _ => Ok(None),
    };
    inputs.iter().map(of).collect::<Result<_, _>>().map_err(failed)
}

fn listings(inputs: &[Input]) -> Result<Vec<Listing>, PackError> {
    let mut listings: Vec<Listing> = Vec::new();
    for input in inputs {
        let first = listings.last().map_or(0, |last| last.first + last.entries);
        let failed = |cause| PackError::Input { source_name: input.source.clone(), cause };
        listings.push(Listing::of(input, first).map_err(failed)?);
    }
    Ok(listings)
}

/// What is copied, and what becomes of each entry.
fn fates(
    listings: &[Listing],
    changes: &Changes,
    options: &PackOptions,
    control: &Control,
) -> Result<(Option<Keep>, Vec<Fates>), PackError> {
    match &options.shape {
        Shape::Whole { copy_from: None } => {
            Ok((None, listings.iter().map(|_| Fates::All(Fate::Cold)).collect()))
        }
        // Members of another kind are none of this file.
        Shape::Whole { copy_from: Some(base) } if base.artefact.codec() != options.codec => {
            Ok((None, listings.iter().map(|_| Fates::All(Fate::Cold)).collect()))
        }
        Shape::Whole { copy_from: Some(base) } => {
            let (keep, fates) = keep::decide(base, listings, changes, control)?;
            Ok((Some(keep), fates))
        }
        Shape::Difference { .. } => {
            let fates =
                listings.iter().map(|listing| fate::of_difference(listing, changes.of(&listing.source)));
            Ok((None, fates.collect::<Result<_, _>>()?))
        }
    }
}

/// Says how much there is to do.
fn expect(listings: &[Listing], changes: &Changes, options: &PackOptions, control: &Control) {
    let counts = changes.counts();
    match &options.shape {
        Shape::Whole { copy_from: Some(base) } => control.expect(0, counts.bytes + base.artefact.size()),
        Shape::Difference { .. } => control.expect(counts.added + counts.changed, counts.bytes),
        Shape::Whole { copy_from: None } => {
            let expected = listings.iter().map(|listing| listing.expected);
            let (files, bytes) = expected.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
            control.expect(files, bytes);
        }
    }
}

fn check(inputs: &[Input], options: &PackOptions) -> Result<(), PackError> {
    let is_component = |name: &str| !matches!(name, "" | "." | ".." | OWN) && !name.contains(['/', '\0']);
    let inner = |content: &Content| match content {
        Content::Scan { .. } | Content::Feed(_) => None,
        Content::File { name, .. } | Content::Stream { name, .. } => Some(name.clone()),
    };
    for input in inputs {
        let names = std::iter::once(input.source.clone()).chain(inner(&input.content));
        if let Some(bad) = names.into_iter().find(|name| !is_component(name)) {
            return Err(PackError::Request(format!("`{bad}` cannot be a name inside an artefact")));
        }
    }
    let mut seen = HashSet::new();
    if let Some(twice) = inputs.iter().find(|input| !seen.insert(&input.source)) {
        return Err(PackError::Request(format!("source `{}` is given twice", twice.source)));
    }
    if inputs.len() > usize::from(u16::MAX)
        || options.level > if options.codec == Codec::Zstd { 19 } else { 9 }
    {
        return Err(PackError::Request("more sources, or a higher level, than there can be".to_string()));
    }
    if options.run.is_empty() || options.run.len() > 64 {
        return Err(PackError::Request(format!("`{}` cannot be a run's id", options.run)));
    }
    Ok(())
}

/// How many compress, and how many read and compress in all.
fn threads_wanted(options: &PackOptions) -> (usize, usize) {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let compressing = options.workers.unwrap_or_else(cores).clamp(1, WORKERS_MAX);
    let workers =
        options.workers.map_or(READERS_MAX.max(compressing), |workers| workers.clamp(1, WORKERS_MAX));
    (compressing, workers)
}

/// Runs planner, workers and writer until all members are written.
fn members(
    inputs: Vec<Input>,
    material: &Material<'_>,
    writer: &mut Writer<'_>,
    control: &Control,
) -> Result<PlannerOutcome, PackError> {
    let Material { listings, fates, keep, deletions, options, names, grains, ref pool } = *material;
    let roots: Vec<Roots> = listings.iter().map(|listing| Roots::open(&listing.roots)).collect();
    let (compressing, workers) = threads_wanted(options);
    let compressors = Compressors::new(compressing, options.codec, options.level);
    let readers = Readers::default();
    let window = Window::new((3 * workers + 4).max(UNDER_WAY));
    let (deferred, left_out) = (Mutex::default(), Mutex::default());
    let shared = &Shared {
        listings,
        roots: &roots,
        window: &window,
        deferred: &deferred,
        control,
        fates,
        keep,
        deletions,
        left_out: &left_out,
        grains,
        base: options.shape.index().filter(|_| options.shape.is_difference()),
        scratch: &options.scratch,
        share_blocks: options.share_blocks,
        codec: options.codec,
        batch: if options.is_copied { PIECE / 2 } else { PIECE },
        level: options.level,
    };
    std::thread::scope(|scope| {
        let (jobs, queue) = sync_channel(2 * workers);
        let (results, finished) = channel();
        let queue = std::sync::Arc::new(Mutex::new(queue));
        for number in 0..workers {
            let tools = (&compressors, &readers);
            let worker = Worker::new(shared, names, pool, tools, number >= compressing);
            let (queue, results) = (std::sync::Arc::clone(&queue), results.clone());
            let started = threads::start(scope, move || worker.run(&queue, &results));
            // With fewer it takes longer.
            if let (Err(refused), 0) = (started, number) {
                return Err(PackError::Thread(refused));
            }
        }
        drop((results, queue));
        let planner = threads::start(scope, move || {
            Planner::new(shared, jobs).run(inputs).inspect_err(|_| shared.window.close())
        });
        let planner = planner.map_err(PackError::Thread)?;
        let failure = write_all(finished, writer, shared, pool);
        let planned = planner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (failure, planned) {
            (Some(error), _) | (None, Err(Ended::Here(error))) => Err(error),
            (None, Ok(outcome)) => Ok(outcome),
            (None, Err(Ended::Elsewhere)) => Err(PackError::Stopped(Stopped)),
        }
    })
}

/// Writes members as they come, to the last. What has failed is written no more, and no more of it is read.
fn write_all(
    finished: Receiver<Done>,
    writer: &mut Writer<'_>,
    shared: &Shared<'_>,
    pool: &Pool,
) -> Option<PackError> {
    let mut failure = None;
    for done in finished {
        if failure.is_some() {
            continue;
        }
        let written = writer.take(done, |mut done| {
            let bytes = done.bytes.iter().map(|(_, bytes)| bytes).sum::<u64>();
            shared.control.advance(done.entries, bytes);
            lock(shared.deferred).append(&mut done.deferred);
            pool.give(done.member);
            shared.window.leave();
        });
        if let Err(error) = written {
            shared.window.close();
            failure = Some(error);
        }
    }
    failure
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
