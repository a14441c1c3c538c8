//! Tablespaces that the log of a restored cluster makes at paths of its own, outside what was restored.
//!
//! Replaying `CREATE TABLESPACE` makes, empties and fills the folder that it once named: on the machine of the original, the
//! original's. So the log is read ahead. A server that is started from here finds folders of its own in the place of those;
//! one that is started by hand does not, and is held back where something lies there.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::cluster::{ClusterError, file};
use crate::backups::restore::must_be_empty;
use crate::confine::Cover;
use crate::control::Control;
use crate::postgres::recovery::{Point, without_target};
use crate::postgres::wal::archive::Archive;
use crate::postgres::wal::cluster::ClusterId;
use crate::postgres::wal::name::{Segment, WalName};
use crate::postgres::wal::records::{Created, Records, Until};

/// Settings that a server reads though it is told others.
const SETTINGS: &str = "postgresql.auto.conf";
/// The same as they are to be, while the cluster is held back.
const KEPT: &str = ".backplan-held.conf";
/// What no server takes for a setting.
const HELD: &str = "held by plan restore";

/// A tablespace that the log makes, and where it is to lie instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Its number.
    pub oid: u32,
    /// Where the log makes it.
    pub at: PathBuf,
    /// Where it lies instead.
    pub with: PathBuf,
}

impl Outside {
    /// What a server finds in its place.
    pub fn cover(&self) -> Cover {
        Cover { at: self.at.clone(), with: self.with.clone() }
    }

    /// Whether anything lies where the log makes it.
    fn is_in_use(&self) -> bool {
        match fs::read_dir(&self.at) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Where the log lies that is not in the data directory.
pub(super) trait Far {
    /// Segments that there are.
    fn segments(&self, cluster: &ClusterId, control: &Control) -> Result<Vec<Segment>, ClusterError>;
    /// Reads one of them. One that is there and cannot be read is [`ClusterError::Tool`] where another place may have it.
    fn read(
        &self,
        cluster: &ClusterId,
        segment: Segment,
        all: &mut Records,
        control: &Control,
    ) -> Result<(), ClusterError>;
}

impl Far for Vec<Archive> {
    fn segments(&self, cluster: &ClusterId, _: &Control) -> Result<Vec<Segment>, ClusterError> {
        let mut found = Vec::new();
        for archive in self {
            let names = archive.list(cluster)?.into_keys();
            found.extend(names.filter_map(|name| match name {
                WalName::Segment(segment) => Some(segment),
                _ => None,
            }));
        }
        Ok(found)
    }

    fn read(
        &self,
        cluster: &ClusterId,
        segment: Segment,
        all: &mut Records,
        _: &Control,
    ) -> Result<(), ClusterError> {
        let (name, before) = (WalName::Segment(segment), all.clone());
        for archive in self {
            let give = |bytes: &[u8]| {
                all.take(segment, bytes);
                Ok(())
            };
            if matches!(archive.fetch(cluster, name, give), Ok(Some(_))) {
                break;
            }
            // One that is damaged ends recovery, unless another has it.
            *all = before.clone();
        }
        Ok(())
    }
}

/// What is said of a segment that there is, and that recovery could not go on from.
pub(super) fn unusable(segment: Segment, why: impl std::fmt::Display) -> ClusterError {
    ClusterError::Tool(format!(
        "segment {segment} of its log is there and cannot be read; an earlier target (`--at`) needs none from there on: {why}"
    ))
}

/// Reads the log of a cluster that is laid down as far as it is to recover: what it makes, and where that is to lie.
///
/// # Errors
/// When the log cannot be listed, or the caller is asked to stop.
pub(super) fn find(
    data: &Path,
    own: &[PathBuf],
    far: &dyn Far,
    point: &Point,
    mapped: &dyn Fn(&Created) -> PathBuf,
    control: &Control,
) -> Result<Vec<Outside>, ClusterError> {
    let data = std::path::absolute(data).map_err(file(data))?;
    let (cluster, until) = (ClusterId::of_data(&data)?, until(point));
    let begin = begin(&data)?;
    let is_needed = |segment: &Segment| begin.is_none_or(|begin| segment.place() >= begin.place());
    let mut all = Records::new(until);
    let near = near(&data)?;
    for (segment, path) in near.iter().filter(|(segment, _)| is_needed(segment)) {
        control.check()?;
        if all.begin(*segment) {
            read_file(path, &mut |bytes| all.take(*segment, bytes)).map_err(file(path))?;
        }
    }
    let mut made = all.found().to_vec();
    let mut all = Records::new(until);
    let mut segments = far.segments(&cluster, control)?;
    segments.retain(is_needed);
    segments.sort();
    segments.dedup();
    let is_forked = segments.iter().any(|segment| segment.timeline != segments[0].timeline);
    for segment in segments {
        control.check()?;
        if all.begin(segment) {
            let read = far.read(&cluster, segment, &mut all, control);
            let read = match read {
                Ok(()) if all.is_other() => Err(unusable(segment, "it is not the segment that it is called")),
                read => read,
            };
            match read {
                // It may be of a past that was left: the server says whether it needs it.
                Err(ClusterError::Tool(_)) if is_forked => {}
                read => read?,
            }
        }
    }
    made.extend(all.found().iter().cloned());
    places(&data, own, made, mapped)
}

/// Where each of them is to lie: what was restored of it already, or a folder of its own.
fn places(
    data: &Path,
    own: &[PathBuf],
    made: Vec<Created>,
    mapped: &dyn Fn(&Created) -> PathBuf,
) -> Result<Vec<Outside>, ClusterError> {
    let mut places: BTreeMap<PathBuf, Outside> = BTreeMap::new();
    let is_own = |at: &Path| at.starts_with(data) || own.iter().any(|own| at.starts_with(own));
    for created in made.into_iter().filter(|created| created.at.is_absolute() && !is_own(&created.at)) {
        let link = data.join("pg_tblspc").join(created.oid.to_string());
        let restored = fs::read_link(&link).ok();
        let known = places.get(&created.at);
        // A path has one folder, however often a tablespace was made there. The last is the one that it may be called by.
        let with = match (restored, known) {
            (Some(to), _) => to,
            (None, Some(known)) if is_own(&known.with) => known.with.clone(),
            (None, _) => std::path::absolute(mapped(&created)).map_err(file(&created.at))?,
        };
        places.insert(created.at.clone(), Outside { oid: created.oid, at: created.at, with });
    }
    Ok(places.into_values().collect())
}

/// Makes the folders that are to lie in the place of others, the account's whose cluster it is.
///
/// # Errors
/// When one cannot be made, or holds something.
pub fn make(data: &Path, all: &[Outside]) -> Result<(), ClusterError> {
    let owner = fs::metadata(data).map_err(file(data))?;
    for one in all {
        let is_restored = data.join("pg_tblspc").join(one.oid.to_string()).is_symlink();
        if !is_restored {
            must_be_empty(&one.with)?;
            // The account passes through what it lies in.
            let above = one.with.parent().unwrap_or(&one.with);
            DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(file(above))?;
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&one.with);
            made.and_then(|()| give(&one.with, &owner)).map_err(file(&one.with))?;
        }
    }
    Ok(())
}

fn give(path: &Path, owner: &fs::Metadata) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let folder = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = File::from(rustix::fs::open(path, folder, Mode::empty())?);
    fchown(&open, Some(owner.uid()), Some(owner.gid()))
}

fn until(point: &Point) -> Until {
    match point {
        Point::Lsn(lsn) => Until { lsn: Some(*lsn), time: None },
        Point::Time(time) | Point::Before(time) => Until { time: Some(time.as_microsecond()), lsn: None },
        Point::Latest | Point::Immediate | Point::Name(_) | Point::Xid(_) => Until::default(),
    }
}

/// The segment that recovery begins with.
fn begin(data: &Path) -> Result<Option<Segment>, ClusterError> {
    let path = data.join("backup_label");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file(&path)(error)),
    };
    let line = text.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "));
    let name = line.and_then(|line| line.split_once("(file ")?.1.strip_suffix(')'));
    Ok(name.and_then(|name| match name.parse() {
        Ok(WalName::Segment(segment)) => Some(segment),
        _ => None,
    }))
}

/// The segments in the data directory.
fn near(data: &Path) -> Result<BTreeMap<Segment, PathBuf>, ClusterError> {
    let folder = data.join("pg_wal");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(file(&folder)(error)),
    };
    let segment = |name: &str| match name.parse() {
        Ok(WalName::Segment(segment)) => Some(segment),
        _ => None,
    };
    let named =
        entries.flatten().filter_map(|entry| Some((segment(entry.file_name().to_str()?)?, entry.path())));
    Ok(named.collect())
}

/// Gives a file, piece by piece.
pub(super) fn read_file(path: &Path, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    read_all(&mut File::open(path)?, take)
}

/// The same of what is open.
pub(super) fn read_all(file: &mut dyn Read, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Keeps every server from starting in a data directory that does not find other settings there; those of which something
/// would be overwritten are named in it.
pub(super) struct Hold {
    data: PathBuf,
}

impl Hold {
    /// Lays it; what is found to be settings stays beside it.
    pub(super) fn lay(data: &Path, all: &[Outside]) -> Result<Hold, ClusterError> {
        let (at, kept) = (data.join(SETTINGS), data.join(KEPT));
        let owner = fs::metadata(data).map_err(file(data))?;
        if fs::symlink_metadata(&at).is_err() {
            write(&at, "", &owner).map_err(file(&at))?;
        }
        // A second name first: at no moment is there neither.
        fs::hard_link(&at, &kept).map_err(file(&kept))?;
        let new = data.join(format!("{KEPT}.new"));
        write(&new, &text(all), &owner).map_err(file(&new))?;
        fs::rename(&new, &at).map_err(file(&at))?;
        synced(data)?;
        Ok(Hold { data: std::path::absolute(data).map_err(file(data))? })
    }

    /// What a server must find in its place.
    pub(super) fn cover(&self) -> Cover {
        Cover { at: self.data.join(SETTINGS), with: self.data.join(KEPT) }
    }

    /// Takes it away again, once the cluster has recovered: what it was recovered to goes, as where nothing is held. A
    /// server does that by another file of the same name, which cannot take the place of one that is covered.
    pub(super) fn lift(self) -> Result<(), ClusterError> {
        let (at, kept) = (self.data.join(SETTINGS), self.data.join(KEPT));
        let owner = fs::metadata(&kept).map_err(file(&kept))?;
        let text = crate::regular::read_text(&kept).map_err(file(&kept))?;
        let new = self.data.join(format!("{KEPT}.new"));
        write(&new, &without_target(&text), &owner).map_err(file(&new))?;
        fs::rename(&new, &at).map_err(file(&new))?;
        fs::remove_file(&kept).map_err(file(&kept))?;
        synced(&self.data)
    }
}

/// Holds a cluster that is started by hand back from writing into what lies on this machine; what that is.
pub(super) fn hold_back(data: &Path, all: &[Outside]) -> Result<Vec<PathBuf>, ClusterError> {
    let used: Vec<Outside> = all.iter().filter(|one| one.is_in_use()).cloned().collect();
    if !used.is_empty() {
        Hold::lay(data, &used)?;
    }
    Ok(used.into_iter().map(|one| one.at).collect())
}

fn text(all: &[Outside]) -> String {
    let mut text = String::from(
        "# The log that this cluster recovers from makes tablespaces at paths of this machine. A server that is started by\n\
         # hand would write into what lies there:\n",
    );
    for one in all {
        let at = one.at.display().to_string();
        text += &format!("#   {} {}\n", one.oid, at.replace(['\n', '\r'], "?"));
    }
    text + &format!(
        "# `plan restore --start` keeps them apart. Where they are to be written, put `{KEPT}` in the place of this file.\n\
         {HELD}\n"
    )
}

fn write(path: &Path, text: &str, owner: &fs::Metadata) -> io::Result<()> {
    let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    made.write_all(text.as_bytes())?;
    if made.metadata()?.uid() != owner.uid() {
        fchown(&made, Some(owner.uid()), Some(owner.gid()))?;
    }
    made.sync_all()
}

fn synced(folder: &Path) -> Result<(), ClusterError> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(file(folder))
}

/// Points the links of a cluster that has recovered, and is stopped, to where its tablespaces really lie; which those are.
pub fn settle(data: &Path, all: &[Outside]) -> Result<Vec<(PathBuf, PathBuf)>, ClusterError> {
    let places = data.join("pg_tblspc");
    let owner = fs::metadata(data).map_err(file(data))?;
    let mut settled = Vec::new();
    for entry in fs::read_dir(&places).map_err(file(&places))? {
        let link = entry.map_err(file(&places))?.path();
        let Ok(at) = fs::read_link(&link) else { continue };
        let Some(one) = all.iter().find(|one| one.at == at) else { continue };
        let mut new = link.clone().into_os_string();
        new.push(".new");
        symlink(&one.with, &new).map_err(file(&link))?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(&new, Some(owner.uid()), Some(owner.gid())).map_err(file(&link))?;
        }
        fs::rename(&new, &link).map_err(file(&link))?;
        settled.push((at, one.with.clone()));
    }
    synced(&places)?;
    Ok(settled)
}
