//! Bringing to one archive what it lacks and others have, or what the server never archived.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};

use super::WalError;
use super::archive::Archive;
use super::cluster::ClusterId;
use super::held::HeldFile;
use super::name::WalName;
use super::object;
use super::survey::forks;
use crate::control::{Control, Stopped};
use crate::openat;

/// What was brought to an archive.
#[derive(Debug, Default)]
pub struct Brought {
    /// The files.
    pub files: Vec<WalName>,
    /// Why others could not be.
    pub failed: Vec<String>,
}

/// A file that an archive lacks, and where it can be had.
struct Wanted<'a> {
    cluster: ClusterId,
    name: WalName,
    from: &'a Archive,
    held: HeldFile,
}

/// What an archive lacks of what others have, oldest first; but for what was given up.
fn lacking<'a>(archive: &Archive, others: &'a [Archive]) -> Result<Vec<Wanted<'a>>, WalError> {
    let mut wanted = BTreeMap::new();
    let clusters = others.iter().map(Archive::clusters).collect::<Result<Vec<_>, _>>()?;
    let clusters: BTreeSet<ClusterId> = clusters.into_iter().flatten().collect();
    for cluster in clusters {
        let own = archive.list(&cluster)?;
        let mut kept = archive.kept_from(&cluster)?.map(|segment| segment.place());
        for other in others {
            kept = kept.max(other.kept_from(&cluster)?.map(|segment| segment.place()));
        }
        let is_kept = |name: &WalName| match name {
            WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => {
                kept.is_none_or(|kept| segment.place() >= kept)
            }
            WalName::History(_) => true,
        };
        for from in others {
            for (name, held) in from.list(&cluster)? {
                if is_kept(&name) && !own.contains_key(&name) {
                    let cluster = cluster.clone();
                    wanted.entry((cluster.clone(), name)).or_insert(Wanted { cluster, name, from, held });
                }
            }
        }
    }
    Ok(wanted.into_values().collect())
}

/// How many files an archive lacks that others have.
///
/// # Errors
/// When one of them cannot be listed.
pub fn count(archive: &Archive, others: &[Archive]) -> Result<usize, WalError> {
    lacking(archive, others).map(|wanted| wanted.len())
}

/// How many files an archive would lack that is not there yet.
///
/// # Errors
/// When one of them cannot be listed.
pub fn all(others: &[Archive]) -> Result<usize, WalError> {
    let mut names = BTreeSet::new();
    for from in others {
        for cluster in from.clusters()? {
            names.extend(from.list(&cluster)?.into_keys().map(|name| (cluster.clone(), name)));
        }
    }
    Ok(names.len())
}

/// Brings what an archive lacks and others have. Each file is read to its last byte before.
///
/// # Errors
/// Only when asked to stop.
pub fn from_others(archive: &Archive, others: &[Archive], control: &Control) -> Result<Brought, Stopped> {
    let mut brought = Brought::default();
    let wanted = match lacking(archive, others) {
        Ok(wanted) => wanted,
        Err(error) => {
            brought.failed.push(error.to_string());
            return Ok(brought);
        }
    };
    for file in wanted {
        control.check()?;
        match copy(archive, &file) {
            Ok(()) => brought.files.push(file.name),
            Err(error) => {
                brought.failed.push(error.to_string());
                // A store without room has none for the next either.
                if !matches!(error, WalError::Object { .. }) {
                    break;
                }
            }
        }
    }
    Ok(brought)
}

/// Copies a file as it lies there: what is encrypted stays so, for whom it was.
fn copy(archive: &Archive, file: &Wanted<'_>) -> Result<(), WalError> {
    let Wanted { cluster, name, from, held } = file;
    from.check(cluster, *name, *held)?;
    let object = held.object(cluster, *name);
    let copied = archive
        .put(object.as_str(), false, |to| from.raw(cluster, *name, *held, &mut |bytes| to.write_all(bytes)));
    copied.map(drop)
}

/// Brings histories from a data directory that the archive has not: a server that did not archive when it was promoted never
/// archives its own.
///
/// # Errors
/// When they cannot be told apart or brought.
pub fn histories(archive: &Archive, data: &Path, now: Timestamp) -> Result<Vec<WalName>, WalError> {
    let cluster = ClusterId::of_data(data)?;
    let log = data.join("pg_wal");
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| WalError::File { path, cause }
    };
    let folder = File::open(&log).map_err(failed(&log))?;
    let entries = fs::read_dir(&log).map_err(failed(&log))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()?.parse().ok());
    let mut brought = Vec::new();
    for name in names.filter(|name| matches!(name, WalName::History(_))) {
        if archive.find(&cluster, name)?.is_some() {
            continue;
        }
        let Some(text) = history(&folder, name).map_err(failed(&log.join(name.to_string())))? else {
            continue;
        };
        let mut packed = Vec::new();
        object::write(&mut text.as_bytes(), now, |bytes| {
            packed.extend_from_slice(bytes);
            Ok::<(), WalError>(())
        })?;
        archive.put_packed(&cluster, name, packed)?;
        brought.push(name);
    }
    Ok(brought)
}

/// The text of a history in a folder of another account's; `None` where it is none.
fn history(folder: &File, name: WalName) -> io::Result<Option<String>> {
    const MOST: u64 = 1 << 20;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = File::from(openat::open(folder, name.to_string().as_bytes(), flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok((!forks(&text).is_empty()).then_some(text))
}
