//! Comparing by content: a file is hashed, and the digest held against the base's index.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::PackError;
use super::base::BaseIndex;
use super::job::Planned;
use super::listing::Listing;
use super::open::{Opened, Reading, Roots};
use crate::artefact::{Entry, Flags, Kind, PIECE};
use crate::scan::{Change, Comparison, Scanned};
use backplan_host::control::{Control, Stopped};
use backplan_host::threads;
use backplan_host::tree::path_order;

/// Files that wait for a thread to hash them.
const QUEUE: usize = 64;

/// A file, and what the base says of it.
type Question = (u64, Scanned, Entry);

/// Whether an entry of an index is of the kind that a scan saw.
pub fn is_kind(old: &Entry, seen: &Scanned) -> bool {
    old.kind == seen.kind || (old.kind == Kind::HardLink && seen.kind == Kind::File)
}

/// Whether the only file of a source is what the base holds.
pub fn is_single_same(old: &Entry, seen: &Scanned, roots: &Roots) -> bool {
    if seen.kind != Kind::File {
        return true;
    }
    // What was listed of a single file is no more than that it is one.
    let Ok(opened) = Opened::open(roots, &Planned::of(seen.clone())) else { return false };
    (old.mode, old.uid, old.gid) == (opened.mode, opened.uid, opened.gid) && is_same(old, seen, roots)
}

/// Whether a file has the contents that the base holds. What cannot be read has not.
fn is_same(old: &Entry, seen: &Scanned, roots: &Roots) -> bool {
    let spoilt = [Flags::GREW, Flags::SHRANK, Flags::DAMAGED].iter().any(|flag| old.flags.has(*flag));
    if spoilt || old.kind != Kind::File || old.size != seen.size {
        return false;
    }
    let entry = Planned::of(seen.clone());
    let Ok(mut opened) = Opened::open(roots, &entry) else { return false };
    let is_patch = old.flags.has(Flags::PATCH);
    if !is_patch {
        opened.find_holes();
    }
    let payload = opened.payload();
    let is_alike = payload == old.payload && opened.is_sparse() == old.flags.has(Flags::SPARSE);
    if !is_patch && !is_alike {
        return false;
    }
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < payload {
        let now = (payload - at).min(PIECE as u64);
        bytes.clear();
        if opened.read_payload(at, now as usize, &mut bytes) != Reading::Whole {
            return false;
        }
        hasher.update(&bytes);
        at += now;
    }
    let known = if is_patch { old.whole } else { old.hash };
    *hasher.finalize().as_bytes() == known && !opened.has_grown()
}

/// Reads all regular files that look unchanged, and marks those whose contents are not the base's.
///
/// # Errors
/// When the index or the scan cannot be read, or it is asked to stop.
pub fn compare(
    listing: &Listing,
    index: Option<&dyn BaseIndex>,
    found: &mut Comparison,
    control: &Control,
) -> Result<(), PackError> {
    let different = match index {
        Some(index) => read_all(listing, index, found, control)?,
        None => all_files(listing, found)?,
    };
    let groups: HashMap<u64, _> = listing.groups.iter().map(|group| (group.first, group)).collect();
    for (number, bytes) in different {
        found.mark(number, Change::Contents, bytes);
        let further = groups.get(&number).map_or(&[][..], |group| &group.further);
        further.iter().for_each(|(name, _)| found.mark(*name, Change::Links, 0));
    }
    Ok(())
}

fn of_input(listing: &Listing) -> impl Fn(std::io::Error) -> PackError + '_ {
    |cause| PackError::Input { source_name: listing.source.clone(), cause }
}

fn is_asked(found: &Comparison, number: u64, seen: &Scanned) -> bool {
    seen.kind == Kind::File && !seen.further_name && found.change(number) == Change::Unchanged
}

fn all_files(listing: &Listing, found: &Comparison) -> Result<Vec<(u64, u64)>, PackError> {
    let mut files = Vec::new();
    for (number, seen) in (0..).zip(listing.entries().map_err(of_input(listing))?) {
        let seen = seen.map_err(of_input(listing))?;
        if is_asked(found, number, &seen) {
            files.push((number, seen.bytes_to_read()));
        }
    }
    Ok(files)
}

fn read_all(
    listing: &Listing,
    index: &dyn BaseIndex,
    found: &Comparison,
    control: &Control,
) -> Result<Vec<(u64, u64)>, PackError> {
    let roots = Roots::open(&listing.roots);
    let different = Mutex::new(Vec::new());
    let wanted = std::thread::available_parallelism().map_or(1, NonZero::get).min(super::WORKERS_MAX);
    std::thread::scope(|scope| {
        let (questions, queue) = sync_channel::<Question>(QUEUE);
        let queue = std::sync::Arc::new(Mutex::new(queue));
        for number in 0..wanted {
            let (queue, roots, different) = (std::sync::Arc::clone(&queue), &roots, &different);
            let started = threads::start(scope, move || answer(&queue, roots, different, control));
            // With fewer it takes longer.
            if let (Err(refused), 0) = (started, number) {
                return Err(PackError::Thread(refused));
            }
        }
        drop(queue);
        let mut rows = index.below(listing.source.as_bytes()).peekable();
        for (number, seen) in (0..).zip(listing.entries().map_err(of_input(listing))?) {
            control.check()?;
            let seen = seen.map_err(of_input(listing))?;
            if !is_asked(found, number, &seen) {
                continue;
            }
            let path = listing.path_of(&seen.path);
            let before = |row: &Result<Entry, _>| {
                row.as_ref().is_ok_and(|row: &Entry| path_order(&row.path, &path).is_lt())
            };
            while rows.next_if(before).is_some() {}
            let here = |row: &Result<Entry, _>| row.as_ref().map_or(true, |row: &Entry| row.path == path);
            let mut row = rows.next_if(here).transpose().map_err(PackError::Base)?;
            if let Some(link) = row.as_ref().filter(|row| row.kind == Kind::HardLink) {
                row = index.find(&link.link).map_err(PackError::Base)?;
            }
            match row {
                Some(row) => questions.send((number, seen, row)).map_err(|_| PackError::Stopped(Stopped))?,
                None => lock(&different).push((number, seen.bytes_to_read())),
            }
        }
        Ok::<(), PackError>(())
    })?;
    control.check()?;
    Ok(different.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn answer(
    queue: &Mutex<Receiver<Question>>,
    roots: &Roots,
    different: &Mutex<Vec<(u64, u64)>>,
    control: &Control,
) {
    loop {
        let question = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, seen, old)) = question else { return };
        if control.check().is_ok() && !is_same(&old, &seen, roots) {
            lock(different).push((number, seen.bytes_to_read()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
