//! Bringing one file back for recovery, and the next ones ahead of need.
//!
//! What is fetched ahead lies in a folder of the data directory, as whole files that were checked. It counts for the boot
//! that wrote it alone: nothing of it is synced, and recovery takes a torn segment for the end of the log.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::WalError;
use super::archive::Archive;
use super::cluster::ClusterId;
use super::name::{Segment, WalName};

/// The folder of what was fetched ahead, in the data directory.
pub const AHEAD: &str = ".backplan-wal-ahead";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const BOOT: &str = "boot";
const LOCK: &str = "lock";
/// Segments fetched ahead.
const COUNT: usize = 8;

/// Brings a file to `to`: from the folder of those fetched ahead, else from the first archive that has it whole.
///
/// # Errors
/// [`WalError::Absent`] where no archive has it and nothing behind it; every other error means that recovery must not go on
/// as if the log ended here.
pub fn fetch(
    archives: &[Result<Archive, WalError>],
    cluster: &ClusterId,
    name: WalName,
    data: &Path,
    to: &Path,
) -> Result<(), WalError> {
    let ahead = data.join(AHEAD);
    if is_of_this_boot(&ahead) && fs::rename(ahead.join(name.to_string()), to).is_ok() {
        return Ok(());
    }
    match bring(archives, cluster, name, to) {
        // What recovery asks for last: a timeline that nobody has begun.
        Err(WalError::Absent(text)) if matches!(name, WalName::History(_)) => {
            forget(&ahead);
            Err(WalError::Absent(text))
        }
        result => result,
    }
}

fn bring(
    archives: &[Result<Archive, WalError>],
    cluster: &ClusterId,
    name: WalName,
    to: &Path,
) -> Result<(), WalError> {
    let mut trouble = None;
    for archive in archives.iter().flatten() {
        match archive.size(cluster, name) {
            Ok(None) => {}
            Ok(Some(size)) => match write(archive, cluster, name, size, to) {
                Ok(()) => return Ok(()),
                Err(error) => trouble = trouble.or(Some(error)),
            },
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    if let Some(error) = trouble {
        return Err(error);
    }
    // A store that is away may be the one that has it.
    for archive in archives {
        if let Err(error) = archive {
            return Err(again(error));
        }
    }
    match next_behind(archives, cluster, name)? {
        Some(next) => Err(WalError::Hole { name: name.to_string(), next: next.to_string() }),
        None => Err(WalError::Absent(name.to_string())),
    }
}

/// The same error, as its owner keeps it.
fn again(error: &WalError) -> WalError {
    let cause = io::Error::other(error.to_string());
    WalError::File { path: PathBuf::from("the archive"), cause }
}

/// The next segment of the timeline that is there, where there are earlier ones too: then the log does not end here.
fn next_behind(
    archives: &[Result<Archive, WalError>],
    cluster: &ClusterId,
    name: WalName,
) -> Result<Option<Segment>, WalError> {
    let WalName::Segment(wanted) = name else { return Ok(None) };
    let (mut before, mut behind) = (false, None);
    for archive in archives.iter().flatten() {
        for found in archive.list(cluster)?.into_keys() {
            match found {
                WalName::Segment(found) if found.timeline == wanted.timeline => {
                    before |= found < wanted;
                    if found > wanted {
                        behind = Some(behind.map_or(found, |other: Segment| other.min(found)));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(behind.filter(|_| before))
}

/// Writes a file whole, or leaves none.
fn write(
    archive: &Archive,
    cluster: &ClusterId,
    name: WalName,
    size: u64,
    to: &Path,
) -> Result<(), WalError> {
    let at = |cause| WalError::File { path: to.to_path_buf(), cause };
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
    let mut file = made.map_err(at)?;
    let done = archive.read(cluster, name, size, |bytes| file.write_all(bytes)).map(drop);
    if done.is_err() {
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
    let _ = fs::remove_dir_all(ahead);
}

/// Whether more should be fetched ahead of `behind`: true in the middle of a recovery, when few are left.
pub fn wants_more(data: &Path, name: WalName) -> bool {
    let WalName::Segment(_) = name else { return false };
    let ahead = data.join(AHEAD);
    let left = fs::read_dir(&ahead).map_or(0, |entries| entries.flatten().filter(is_segment).count());
    left <= COUNT / 2
}

fn is_segment(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| matches!(name.parse(), Ok(WalName::Segment(_))))
}

/// Fetches the segments behind `from` ahead of need, until there are enough or no more. One process does so at a time.
///
/// # Errors
/// When the folder cannot be written. What is missing or damaged is left to who needs it.
pub fn fetch_ahead(
    archives: &[Result<Archive, WalError>],
    cluster: &ClusterId,
    from: Segment,
    bytes: u64,
    data: &Path,
) -> Result<(), WalError> {
    let ahead = data.join(AHEAD);
    let at = |cause| WalError::File { path: ahead.clone(), cause };
    if !is_of_this_boot(&ahead) {
        forget(&ahead);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&ahead).map_err(at)?;
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(ahead.join(LOCK));
    let lock: File = lock.map_err(at)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let boot = fs::read(BOOT_ID).map_err(at)?;
    fs::write(ahead.join(BOOT), boot).map_err(at)?;
    let mut segment = from;
    for _ in 0..COUNT {
        segment = segment.next(bytes);
        let (name, to) = (WalName::Segment(segment), ahead.join(segment.to_string()));
        if to.exists() {
            continue;
        }
        let unfinished = ahead.join(format!("{segment}.new"));
        if bring(archives, cluster, name, &unfinished).is_err() || fs::rename(&unfinished, &to).is_err() {
            let _ = fs::remove_file(&unfinished);
            break;
        }
    }
    Ok(())
}
