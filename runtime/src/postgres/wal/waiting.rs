//! Segments that wait behind the one that the server wants archived: they go with it, several at once, and the server, which asks
//! for one after the other, is told that they are there once each archive has said so.
//!
//! What went is noted in the data directory, with what the file system knows of each file. A note counts for those files alone, and
//! for the places that the plan named then: without it, or where it is torn, a segment is archived once more, and found to be
//! the same.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::name::WalName;
use crate::threads::on_several;

/// The note, in the data directory.
const NOTE: &str = ".backplan-wal-pushed";
/// Segments that go with one at the most.
const MOST: usize = 64;
/// Of them at once, the server's own among them.
const AT_ONCE: usize = 4;
/// The server waits meanwhile, and does not ask for anything else: after so long no further one is begun.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a note at the most.
const NOTE_MAX: u64 = 1 << 20;

/// A file that waits to be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub name: WalName,
    /// Where it is.
    pub file: PathBuf,
    /// What the file system knew of it before it was read.
    seen: String,
}

/// The segments that wait behind this one on its timeline, oldest first. None where the data directory is another account's.
pub fn behind(name: WalName, file: &Path, data: &Path) -> Vec<Waiting> {
    let WalName::Segment(first) = name else { return Vec::new() };
    let is_own = fs::metadata(data).is_ok_and(|seen| seen.uid() == rustix::process::geteuid().as_raw());
    let Some(log) = file.parent().filter(|_| is_own) else { return Vec::new() };
    let mut found: Vec<Waiting> = ready(log)
        .filter(|found| matches!(found, WalName::Segment(it) if it.timeline == first.timeline && *it > first))
        .filter_map(|name| {
            let file = log.join(name.to_string());
            let seen = identity(&fs::symlink_metadata(&file).ok()?)?;
            Some(Waiting { name, file, seen })
        })
        .collect();
    found.sort_by_key(|waiting| waiting.name);
    found.truncate(MOST);
    found
}

/// The files that a server has marked to be archived.
pub fn ready(log: &Path) -> impl Iterator<Item = WalName> + use<> {
    let entries = fs::read_dir(log.join("archive_status")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".ready")?.parse().ok())
}

/// Does the server's own file and those that wait at once; of the latter, gives those that were done. None is begun once one
/// failed, or after a while.
pub(super) fn together<T: Send>(
    own: impl FnOnce() -> Result<T, super::WalError> + Send,
    waiting: &[Waiting],
    next: impl Fn(&Waiting) -> bool + Sync,
) -> (Result<T, super::WalError>, Vec<WalName>) {
    let begun = Instant::now();
    let (own, result) = (Mutex::new(Some(own)), Mutex::new(None));
    let (queue, done) = (Mutex::new(waiting.iter()), Mutex::new(Vec::new()));
    let is_over = AtomicBool::new(false);
    on_several(AT_ONCE.min(waiting.len() + 1), || {
        let first = own.lock().ok().and_then(|mut own| own.take());
        if let Some(own) = first {
            let came = own();
            is_over.fetch_or(came.is_err(), Ordering::Relaxed);
            *result.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(came);
        }
        while !is_over.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
            let Some(waiting) = queue.lock().ok().and_then(|mut queue| queue.next()) else { return };
            match next(waiting) {
                true => done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(waiting.name),
                false => is_over.store(true, Ordering::Relaxed),
            }
        }
    });
    let result = result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let missing = || {
        Err(io::Error::other("it was not begun"))
            .map_err(|cause| super::WalError::File { path: NOTE.into(), cause })
    };
    (result.unwrap_or_else(missing), done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Whether a file was archived with one before it, in the places that `key` stands for.
pub fn is_done(data: &Path, key: &str, name: WalName, file: &Path) -> bool {
    let line = fs::symlink_metadata(file).ok().and_then(|seen| Some(format!("{name} {}", identity(&seen)?)));
    let Some(line) = line else { return false };
    let text = note_of(data, key);
    let Some(lines) = text.as_deref() else { return false };
    let is_done = lines.lines().skip(1).any(|known| known == line);
    if is_done && lines.trim_end().ends_with(&line) {
        // The last of them: the note has done its work.
        let _ = fs::remove_file(data.join(NOTE));
    }
    is_done
}

/// The note, if it is of these places and whole.
fn note_of(data: &Path, key: &str) -> Option<String> {
    let bytes = crate::regular::read(&data.join(NOTE), NOTE_MAX).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    (text.lines().next() == Some(key) && text.ends_with('\n')).then_some(text)
}

/// Notes which files were archived with one before them. Without a note they are archived again.
pub fn note(data: &Path, key: &str, waiting: &[Waiting], done: &[WalName]) {
    let lines = waiting.iter().filter(|waiting| done.contains(&waiting.name));
    let lines: Vec<String> = lines.map(|waiting| format!("{} {}\n", waiting.name, waiting.seen)).collect();
    if lines.is_empty() {
        return;
    }
    let new = data.join(format!("{NOTE}-{}", std::process::id()));
    let _ = fs::remove_file(&new);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let written = made.and_then(|mut file| file.write_all(format!("{key}\n{}", lines.concat()).as_bytes()));
    if written.and_then(|()| fs::rename(&new, data.join(NOTE))).is_err() {
        let _ = fs::remove_file(&new);
    }
}

/// What tells a file from any other, and from itself after a change; `None`: it is no file.
fn identity(seen: &Metadata) -> Option<String> {
    seen.is_file().then(|| {
        format!(
            "{}:{} {} {}.{:09} {}.{:09}",
            seen.dev(),
            seen.ino(),
            seen.size(),
            seen.mtime(),
            seen.mtime_nsec(),
            seen.ctime(),
            seen.ctime_nsec()
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_note_counts_for_the_files_that_went_and_for_no_others() {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path();
        let log = data.join("pg_wal");
        fs::create_dir_all(log.join("archive_status")).unwrap();
        let name = |number: u32| format!("00000001000000000000000{number}");
        for number in 1..=5 {
            fs::write(log.join(name(number)), [number as u8; 100]).unwrap();
            if number != 4 {
                fs::write(log.join("archive_status").join(name(number) + ".ready"), "").unwrap();
            }
        }
        fs::write(log.join("archive_status/00000002.history.ready"), "").unwrap();
        let waiting = behind(name(2).parse().unwrap(), &log.join(name(2)), data);
        let names: Vec<String> = waiting.iter().map(|waiting| waiting.name.to_string()).collect();
        assert_eq!(names, [name(3), name(5)]);
        let done: Vec<WalName> = waiting.iter().map(|waiting| waiting.name).collect();
        note(data, "key", &waiting, &done);
        let is_known =
            |key: &str, number| is_done(data, key, name(number).parse().unwrap(), &log.join(name(number)));
        assert!(is_known("key", 3));
        assert!(!is_known("key", 4) && !is_known("other", 3));
        // Written to again: it is another file.
        fs::write(log.join(name(3)), [9; 100]).unwrap();
        assert!(!is_known("key", 3));
        // The last one takes the note with it.
        assert!(is_known("key", 5));
        assert!(!is_known("key", 5));
        // One that is torn says nothing.
        fs::write(data.join(NOTE), format!("key\n{} {}", names[1], waiting[1].seen)).unwrap();
        assert!(!is_known("key", 5));
    }
}
