//! Bringing one file back for recovery, and the next ones ahead of need.
//!
//! What is fetched ahead lies in a folder of the data directory, as whole files that were checked. It counts for the boot
//! that wrote it alone: nothing of it is synced, and recovery takes a torn segment for the end of the log.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::iter;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::WalError;
use super::archive::Archive;
use super::cluster::ClusterId;
use super::name::{Segment, WalName};
use crate::places::folder;
use crate::threads::on_several;

/// The folder of what was fetched ahead, in the data directory.
pub const AHEAD: &str = ".backplan-wal-ahead";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const BOOT: &str = "boot";
const LOCK: &str = "lock";
/// Behind the names of files that are not whole yet.
const UNFINISHED: &str = ".new";
/// Segments fetched ahead.
const COUNT: usize = 8;
/// Of them at once: a replay keeps one core busy, and others have their own work on the rest.
const AT_ONCE: usize = 2;

/// Where a file is looked for.
pub struct Stock {
    /// The archives, and why others cannot be opened.
    pub archives: Vec<Result<Archive, WalError>>,
    /// Whether each of them has all that was ever said to be archived: then one that is away has nothing that another lacks.
    pub is_each_whole: bool,
}

impl Stock {
    fn open(&self) -> impl Iterator<Item = &Archive> {
        self.archives.iter().flatten()
    }

    /// Why an archive cannot be opened that may have a file which the others have not.
    fn away(&self, cluster: &ClusterId, name: WalName) -> Option<WalError> {
        let error = self.archives.iter().find_map(|archive| archive.as_ref().err())?;
        let is_known = self.is_each_whole && self.open().any(|archive| leads_to(archive, cluster, name));
        (!is_known).then(|| WalError::Away { name: name.to_string(), cause: error.to_string() })
    }
}

/// Whether an archive has this cluster's log up to a file: one that is new or was emptied knows nothing of where that ends.
fn leads_to(archive: &Archive, cluster: &ClusterId, name: WalName) -> bool {
    let newest = || {
        let timeline = archive.newest_timeline(cluster)?;
        timeline.map_or(Ok(None), |timeline| archive.newest(cluster, timeline))
    };
    let Ok(Some((newest, _))) = newest() else { return false };
    match name {
        WalName::Segment(wanted) => newest.place() < wanted.place(),
        WalName::History(_) | WalName::Partial(_) | WalName::Backup(..) => true,
    }
}

/// Brings a file to `to`: from the folder of those fetched ahead, else from the first archive that has it whole.
///
/// # Errors
/// [`WalError::Absent`] where no archive has it and nothing behind it, nor can one that is away; every other error means that recovery must not go on
/// as if the log ended here.
pub fn fetch(
    stock: &Stock,
    cluster: &ClusterId,
    name: WalName,
    data: &Path,
    to: &Path,
) -> Result<(), WalError> {
    let ahead = data.join(AHEAD);
    await_ahead(&ahead, name);
    if is_of_this_boot(&ahead) && take(&ahead.join(name.to_string()), to).is_ok() {
        return Ok(());
    }
    match bring(stock, cluster, name, to, data) {
        // What recovery asks for last: a timeline that nobody has begun.
        Err(WalError::Absent(text)) if matches!(name, WalName::History(_)) => {
            forget(&ahead);
            Err(WalError::Absent(text))
        }
        result => result,
    }
}

/// Waits while another process is about to have fetched this file: to do it as well would take as long, and slow that down.
fn await_ahead(ahead: &Path, name: WalName) {
    /// One that does not come so far is stopped, or waits for its store, and this one may have another.
    const PATIENCE: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    while is_begun(ahead, name) && is_at_work(ahead) && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process has begun to fetch this file ahead.
fn is_begun(ahead: &Path, name: WalName) -> bool {
    let begins = format!("{name}.");
    names(ahead).any(|found| found.starts_with(&begins) && found.ends_with(UNFINISHED))
}

/// The names in the folder of what was fetched ahead.
fn names(ahead: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(ahead).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Whether a process fetches ahead.
fn is_at_work(ahead: &Path) -> bool {
    let Ok(lock) = File::open(ahead.join(LOCK)) else { return false };
    flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

/// Moves a file that was fetched ahead. The log's folder is on another file system often enough.
fn take(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(from, to)?;
            fs::remove_file(from)
        }
        renamed => renamed,
    }
}

fn bring(stock: &Stock, cluster: &ClusterId, name: WalName, to: &Path, data: &Path) -> Result<(), WalError> {
    let mut trouble = None;
    for archive in stock.open() {
        match write(archive, cluster, name, to) {
            Ok(false) => {}
            Ok(true) => return Ok(()),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    if let Some(error) = trouble {
        return Err(error);
    }
    if let Some(away) = stock.away(cluster, name) {
        return Err(away);
    }
    // What a base backup brought along need not be archived.
    let recovers = ["recovery.signal", "standby.signal"].iter().any(|signal| data.join(signal).exists());
    if recovers && data.join("pg_wal").join(name.to_string()).exists() {
        return Err(WalError::Absent(name.to_string()));
    }
    match next_behind(stock, cluster, name)? {
        Some(next) => Err(WalError::Hole { name: name.to_string(), next: next.to_string() }),
        None => Err(WalError::Absent(name.to_string())),
    }
}

/// The next segment of the timeline that is there: then the log does not end here.
fn next_behind(stock: &Stock, cluster: &ClusterId, name: WalName) -> Result<Option<Segment>, WalError> {
    let WalName::Segment(wanted) = name else { return Ok(None) };
    let mut behind: Option<Segment> = None;
    for archive in stock.open() {
        behind = behind.into_iter().chain(archive.next_behind(cluster, wanted)?).min();
    }
    Ok(behind)
}

/// Writes a file whole, or leaves none; whether the archive has it.
fn write(archive: &Archive, cluster: &ClusterId, name: WalName, to: &Path) -> Result<bool, WalError> {
    let at = |cause| WalError::File { path: to.to_path_buf(), cause };
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
    let mut file = made.map_err(at)?;
    let done = archive.fetch(cluster, name, |bytes| file.write_all(bytes)).map(|found| found.is_some());
    if !matches!(done, Ok(true)) {
        let _ = fs::remove_file(to);
    }
    done
}

fn is_of_this_boot(ahead: &Path) -> bool {
    match (fs::read(ahead.join(BOOT)), fs::read(BOOT_ID)) {
        (Ok(then), Ok(now)) => then == now && !now.is_empty(),
        _ => false,
    }
}

/// Removes what was fetched ahead. It is never needed.
pub fn forget(ahead: &Path) {
    let _ = folder::remove(ahead);
}

/// Whether more should be fetched ahead of this file: in the middle of a recovery, when few are left and nobody does so.
pub fn wants_more(data: &Path, name: WalName) -> bool {
    let WalName::Segment(segment) = name else { return false };
    let ahead = data.join(AHEAD);
    left(&ahead, segment) <= COUNT / 2 && !is_at_work(&ahead)
}

/// How many segments behind this one are there, fetched ahead.
fn left(ahead: &Path, from: Segment) -> usize {
    names(ahead).filter(|name| is_behind(name, from) == Some(true)).count()
}

/// Whether a segment follows another on its timeline; `None` for other names.
fn is_behind(name: &str, from: Segment) -> Option<bool> {
    match name.parse() {
        Ok(WalName::Segment(found)) => Some(found.timeline == from.timeline && found > from),
        _ => None,
    }
}

/// Fetches the segments behind `from` ahead of need, until there are enough or no more. One process does so at a time.
///
/// # Errors
/// When the folder cannot be written. What is missing or damaged is left to who needs it.
pub fn fetch_ahead(
    stock: &Stock,
    cluster: &ClusterId,
    from: Segment,
    bytes: u64,
    data: &Path,
) -> Result<(), WalError> {
    let ahead = data.join(AHEAD);
    let at = |cause| WalError::File { path: ahead.clone(), cause };
    if !is_of_this_boot(&ahead) {
        // What is left of another boot must not pass for this one's.
        folder::remove(&ahead).map_err(|error| at(error.into()))?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&ahead).map_err(at)?;
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(ahead.join(LOCK));
    let lock: File = lock.map_err(at)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let boot = fs::read(BOOT_ID).map_err(at)?;
    fs::write(ahead.join(BOOT), boot).map_err(at)?;
    // What killed ones left, and what recovery did not want.
    let is_left = |name: &String| name.ends_with(UNFINISHED) || is_behind(name, from) == Some(false);
    for name in names(&ahead).filter(is_left) {
        let _ = fs::remove_file(ahead.join(name));
    }
    let following = iter::successors(Some(from.next(bytes)), |segment| Some(segment.next(bytes)));
    let wanted = Mutex::new(following.take(COUNT));
    let next = || wanted.lock().ok().and_then(|mut wanted| wanted.next());
    on_several(AT_ONCE, || {
        while let Some(segment) = next() {
            if !fetch_one(stock, cluster, segment, data) {
                // Where one is missing, those behind it are of no use.
                while next().is_some() {}
            }
        }
    });
    // At the end of the log there may be nobody who removes it later.
    if left(&ahead, from) == 0 {
        forget(&ahead);
    }
    Ok(())
}

/// Fetches a segment into the folder of those fetched ahead, unless it is there; whether it is now.
fn fetch_one(stock: &Stock, cluster: &ClusterId, segment: Segment, data: &Path) -> bool {
    let ahead = data.join(AHEAD);
    let to = ahead.join(segment.to_string());
    if to.exists() {
        return true;
    }
    // A name of its own: the folder can be removed, and with it the lock, while this goes on and another one begins. Of
    // two that wrote to one file, the first to be done would show what the second had not written yet.
    let unfinished = ahead.join(format!("{segment}.{}{UNFINISHED}", process::id()));
    let is_there = bring(stock, cluster, WalName::Segment(segment), &unfinished, data).is_ok()
        && fs::rename(&unfinished, &to).is_ok();
    if !is_there {
        let _ = fs::remove_file(&unfinished);
    }
    is_there
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_was_fetched_ahead_is_taken_to_another_file_system_too() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let device = |folder: &Path| fs::metadata(folder).unwrap().dev();
        assert_ne!(device(here.path()), device(there.path()));
        let data = here.path();
        let ahead = data.join(AHEAD);
        fs::create_dir(&ahead).unwrap();
        fs::copy(BOOT_ID, ahead.join(BOOT)).unwrap();
        let name = "000000010000000000000003";
        let cluster: ClusterId = "7-15".parse().unwrap();
        let none = Stock { archives: Vec::new(), is_each_whole: true };
        for to in [data.join("RECOVERYXLOG"), there.path().join("RECOVERYXLOG")] {
            fs::write(ahead.join(name), "content").unwrap();
            fetch(&none, &cluster, name.parse().unwrap(), data, &to).unwrap();
            assert_eq!(fs::read(&to).unwrap(), b"content");
            assert!(!ahead.join(name).exists());
        }
        // Of an earlier boot nothing is believed.
        fs::write(ahead.join(name), "content").unwrap();
        fs::write(ahead.join(BOOT), "another").unwrap();
        let to = data.join("RECOVERYXLOG.2");
        let missing = fetch(&none, &cluster, name.parse().unwrap(), data, &to);
        assert!(matches!(missing, Err(WalError::Absent(_))));
        assert!(!to.exists());
    }
}
