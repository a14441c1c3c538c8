//! Whether a cluster that archives is the one whose archive it is, and not a copy of it.
//!
//! Copies have the same system identifier. What gives one away is that the original lives: its server runs where the plan
//! has it, or its timeline has been archived further since the copy left it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backplan_compiler::model::Postgres;
use jiff::Timestamp;
use rustix::system::uname;
use serde::{Deserialize, Serialize};

use super::WalError;
use super::archive::Archive;
use super::cluster::ClusterId;
use super::name::{Segment, WalName};
use super::survey::{Fork, USUAL_BYTES, forks};

/// The folder of sockets where a plan names none.
const SOCKETS: &str = "/var/run/postgresql";
const PORT: u16 = 5432;
const MACHINE: &str = "/etc/machine-id";

/// A file that is to be archived, and the data directory that it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Pushing<'a> {
    /// The cluster.
    pub cluster: &'a ClusterId,
    /// The file's name.
    pub name: WalName,
    /// Where it is.
    pub file: &'a Path,
    /// The data directory.
    pub data: &'a Path,
}

/// A standby archives nothing, or what it receives, which is the same: neither it nor the server that it follows is a copy beside
/// the other.
fn is_standby(data: &Path) -> bool {
    data.join("standby.signal").exists()
}

/// Sees that the cluster whose server the plan names is the one that archives: no other one may while that runs.
///
/// # Errors
/// [`WalError::Copy`].
pub fn refuse_copy(pushing: &Pushing<'_>, declared: &Postgres) -> Result<(), WalError> {
    let named = declared.data_dir.clone().filter(|data| is_alive(data));
    named.or_else(|| behind_socket(declared)).map_or(Ok(()), |original| beside(pushing, original))
}

/// Refuses a cluster beside another whose server runs, if both are one.
fn beside(pushing: &Pushing<'_>, original: PathBuf) -> Result<(), WalError> {
    let is_same = match (place(&original), place(pushing.data)) {
        (Some(original), Some(own)) => original == own,
        // What cannot be looked at says nothing.
        _ => true,
    };
    let is_its_cluster = ClusterId::of_data(&original).is_ok_and(|cluster| cluster == *pushing.cluster);
    match is_same || !is_its_cluster || is_standby(pushing.data) || is_standby(&original) {
        true => Ok(()),
        false => Err(WalError::Copy { copy: absolute(pushing.data), original }),
    }
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Who archived last: a machine, and a data directory on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    machine: String,
    data: PathBuf,
}

impl Origin {
    /// The cluster that is pushed from; `None` where the machine has no id.
    fn of(pushing: &Pushing<'_>) -> Option<Origin> {
        let id = fs::read_to_string(MACHINE).ok()?;
        // Containers of one image have one id.
        let machine = format!("{} {}", id.trim(), uname().nodename().to_string_lossy());
        (!id.trim().is_empty()).then(|| Origin { machine, data: absolute(pushing.data) })
    }
}

/// Sees that a file is none of a copy's: the cluster that archived last must not run beside it on this machine; and where
/// another one did, here or elsewhere, no timeline that this one left may go on. A server that is down may be down for a
/// moment. Gives who archived last.
///
/// # Errors
/// [`WalError::Copy`], [`WalError::Forked`], or the archive's.
pub fn refuse(archive: &Archive, pushing: &Pushing<'_>) -> Result<Option<Origin>, WalError> {
    let own = Origin::of(pushing);
    let last = archive.origin(pushing.cluster)?;
    match &last {
        Some(last) if own.as_ref().is_some_and(|own| own == last) => {}
        Some(last)
            if own.as_ref().is_some_and(|own| own.machine == last.machine)
                && is_alive(&last.data)
                && !is_left(archive, pushing)? =>
        {
            beside(pushing, last.data.clone())?;
        }
        _ => refuse_fork(archive, pushing)?,
    }
    Ok(last)
}

/// Whether a newer timeline has been archived than the file's: one that was left is in nobody's way.
fn is_left(archive: &Archive, pushing: &Pushing<'_>) -> Result<bool, WalError> {
    Ok(archive.newest_timeline(pushing.cluster)?.is_some_and(|newest| newest > pushing.name.timeline()))
}

/// Notes who archives, where it was not the last one who did.
///
/// # Errors
/// The archive's.
pub fn note(archive: &Archive, pushing: &Pushing<'_>, last: Option<Origin>) -> Result<(), WalError> {
    match Origin::of(pushing).filter(|_| !is_standby(pushing.data)) {
        Some(own) if last.as_ref() != Some(&own) => archive.set_origin(pushing.cluster, &own),
        _ => Ok(()),
    }
}

/// The data directory of the server at the socket that a plan names.
fn behind_socket(declared: &Postgres) -> Option<PathBuf> {
    let folder = match declared.host.as_deref() {
        None => SOCKETS,
        Some(host) if host.starts_with('/') => host,
        Some(_) => return None,
    };
    let lock = format!("{folder}/.s.PGSQL.{}.lock", declared.port.unwrap_or(PORT));
    let data = fs::read_to_string(lock).ok()?.lines().nth(1).map(PathBuf::from)?;
    Some(data).filter(|data| is_alive(data))
}

/// Whether a server runs in a data directory: the number of its process may be another's by now.
fn is_alive(data: &Path) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let pid = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
    let folder = pid.and_then(|pid| place(Path::new(&format!("/proc/{pid}/cwd"))));
    folder.is_some() && folder == place(data)
}

fn place(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|seen| (seen.dev(), seen.ino()))
}

/// Sees that no timeline from which this one comes has been archived further, beyond where this one left it, since this one
/// began or was last archived.
///
/// # Errors
/// [`WalError::Forked`], or the archive's.
fn refuse_fork(archive: &Archive, pushing: &Pushing<'_>) -> Result<(), WalError> {
    let timeline = pushing.name.timeline();
    if timeline == 1 {
        return Ok(());
    }
    let Some((forks, mut since)) = history(archive, pushing, timeline)? else { return Ok(()) };
    if let Some((_, archived)) = newest(archive, pushing.cluster, timeline)? {
        since = since.max(archived);
    }
    for Fork { parent, at } in forks {
        let Some((last, archived)) = newest(archive, pushing.cluster, parent)? else { continue };
        let bytes = segment_bytes(archive, pushing.cluster, last)?;
        if last.place() >= Segment::of(parent, at, bytes).place() && archived > since {
            return Err(WalError::Forked {
                store: archive.label.clone(),
                timeline,
                parent,
                at,
                last: last.to_string(),
                archived,
            });
        }
    }
    Ok(())
}

/// Where a timeline comes from, and when it began.
fn history(
    archive: &Archive,
    pushing: &Pushing<'_>,
    timeline: u32,
) -> Result<Option<(Vec<Fork>, Timestamp)>, WalError> {
    let name = WalName::History(timeline);
    // Beside the segment, where it is.
    let own = pushing.file.with_file_name(name.to_string());
    if let Ok(text) = fs::read_to_string(&own) {
        let begun = fs::metadata(&own).and_then(|seen| seen.modified()).ok();
        let begun = begun.and_then(|begun| Timestamp::try_from(begun).ok()).unwrap_or(Timestamp::MIN);
        return Ok(Some((forks(&text), begun)));
    }
    let Some(held) = archive.find(pushing.cluster, name)? else { return Ok(None) };
    let (forks, closing) = archive.forks(pushing.cluster, name, held)?;
    Ok(Some((forks, closing.archived)))
}

/// The last segment of a timeline, and when it was archived.
fn newest(
    archive: &Archive,
    cluster: &ClusterId,
    timeline: u32,
) -> Result<Option<(Segment, Timestamp)>, WalError> {
    let Some((segment, held)) = archive.newest(cluster, timeline)? else { return Ok(None) };
    let closing = archive.closing(cluster, WalName::Segment(segment), held)?;
    Ok(Some((segment, closing.archived)))
}

fn segment_bytes(archive: &Archive, cluster: &ClusterId, segment: Segment) -> Result<u64, WalError> {
    let name = WalName::Segment(segment);
    match archive.find(cluster, name)? {
        Some(held) => Ok(archive.closing(cluster, name, held)?.length),
        None => Ok(USUAL_BYTES),
    }
}

/// Histories that a data directory has, and an archive has not: of this file's timeline and of those it comes from. A server
/// that did not archive when it was promoted never archives its own, and recovery asks for one after the other.
///
/// # Errors
/// The archive's.
pub fn lacking(archive: &Archive, pushing: &Pushing<'_>) -> Result<Vec<(WalName, PathBuf)>, WalError> {
    let timeline = pushing.name.timeline();
    let beside = |timeline: u32| pushing.file.with_file_name(WalName::History(timeline).to_string());
    let text = fs::read_to_string(beside(timeline)).unwrap_or_default();
    let ancestors = forks(&text).into_iter().map(|fork| fork.parent);
    let mut found = Vec::new();
    for timeline in ancestors.chain([timeline]).filter(|timeline| *timeline > 1) {
        let (name, own) = (WalName::History(timeline), beside(timeline));
        if name != pushing.name && own.is_file() && archive.find(pushing.cluster, name)?.is_none() {
            found.push((name, own));
        }
    }
    Ok(found)
}
