//! The archive of one source's log in one store.
//!
//! It lies beside `.backplan`, as the server's account writes it and not the one that runs plans:
//! `.backplan-wal/PLAN/SOURCE/format.yaml` and `.backplan-wal/PLAN/SOURCE/CLUSTER/…`.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::WalError;
use super::cluster::ClusterId;
use super::name::{Segment, WalName};
use super::object::{self, Closing, ObjectError};
use super::rival::Origin;
use crate::catalog::ids::{hex, random_bytes};
use crate::places::account::acting_as;
use crate::store::dir::DirStore;
use crate::store::{Name, ReadStore, Store, StoreErrorKind, Upload};
use crate::yaml::MAX_BYTES;

/// The folder at a store's root that holds archives of logs.
pub const HOME: &str = ".backplan-wal";
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "format.yaml";
const TEMPORARY: &str = "tmp";
/// From which segment on the log is kept.
const KEPT_FROM: &str = "kept-from";
/// Who archived last.
const ORIGIN: &str = "origin.yaml";

/// What makes a folder an archive.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    format: u32,
    min_reader: u32,
    plan: String,
    source: String,
}

/// The archive of a source's log in a store.
#[derive(Debug)]
pub struct Archive {
    store: DirStore,
    /// The store's name, as messages call it.
    pub label: String,
    /// The archive's folder.
    pub folder: PathBuf,
}

/// Who is to own an archive: user and group.
pub type Owner = Option<(u32, u32)>;

/// Where the archive of a source is, below a store's root.
pub fn folder(root: &Path, plan: &str, source: &str) -> PathBuf {
    root.join(HOME).join(plan).join(source)
}

impl Archive {
    /// Opens the archive in a store's folder.
    ///
    /// # Errors
    /// When it is not there, another's, or written by a newer program.
    pub fn open(label: &str, root: &Path, plan: &str, source: &str) -> Result<Archive, WalError> {
        let folder = folder(root, plan, source);
        let absent = || WalError::NoArchive {
            store: label.to_owned(),
            source_name: source.to_owned(),
            folder: folder.clone(),
        };
        let store = match DirStore::open(label, &folder) {
            Err(error) if error.kind.is_away() => return Err(absent()),
            store => store?,
        };
        let bytes = match store.read_range(&Name::known(FORMAT_FILE.to_owned()), 0, MAX_BYTES) {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Err(absent()),
            bytes => bytes?,
        };
        let foreign = |what: String| WalError::Foreign { folder: folder.clone(), what };
        let text = String::from_utf8_lossy(&bytes);
        let format: Format = crate::yaml::from_str(&text).map_err(|error| foreign(error.to_string()))?;
        if format.min_reader > FORMAT {
            return Err(foreign(format!(
                "it has format {}, which this version does not know",
                format.format
            )));
        }
        if (format.plan.as_str(), format.source.as_str()) != (plan, source) {
            return Err(foreign(format!(
                "it is that of source `{}` of plan `{}`",
                format.source, format.plan
            )));
        }
        Ok(Archive { store, label: label.to_owned(), folder })
    }

    /// Makes the archive in a store's folder, or sees that it is there and its owner's. Says whether it made it. Nothing but
    /// its own folder is given away.
    ///
    /// # Errors
    /// When it could not be made, or another's is there.
    pub fn init(label: &str, root: &Path, plan: &str, source: &str, owner: Owner) -> Result<bool, WalError> {
        match Archive::open(label, root, plan, source) {
            Ok(_) => return Ok(false),
            Err(WalError::NoArchive { .. }) => {}
            Err(error) => return Err(error),
        }
        let own = folder(root, plan, source);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |cause| WalError::File { path, cause }
        };
        make_passages(root, &own).map_err(failed(&own))?;
        make(&own, 0o700).map_err(failed(&own))?;
        let format =
            Format { format: FORMAT, min_reader: 1, plan: plan.to_owned(), source: source.to_owned() };
        let text = yaml_serde::to_string(&format).map_err(io::Error::other).map_err(failed(&own))?;
        let store = DirStore::open(label, &own)?;
        if let Some((user, group)) = owner {
            chown(&own, Some(user), Some(group)).map_err(failed(&own))?;
        }
        // Last: what has it is whole. By the owner, who could put a link in its place by now.
        let create = || store.create(&Name::known(FORMAT_FILE.to_owned()), text.as_bytes());
        let _ = acting_as(owner, create).map_err(failed(&own))??;
        Ok(true)
    }

    /// The clusters that have something in it.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn clusters(&self) -> Result<Vec<ClusterId>, WalError> {
        let failed = |cause| WalError::File { path: self.folder.clone(), cause };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir()
                && let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            {
                found.push(id);
            }
        }
        found.sort();
        Ok(found)
    }

    /// The object of a file.
    fn object(cluster: &ClusterId, name: WalName) -> Name {
        Name::known(cluster.to_string()).join(&name.object())
    }

    /// The files of a cluster, by name, with the bytes that they take.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn list(&self, cluster: &ClusterId) -> Result<BTreeMap<WalName, u64>, WalError> {
        let objects = self.store.list(Some(&Name::known(cluster.to_string())))?;
        Ok(objects.iter().filter_map(|found| Some((WalName::of_object(&found.name)?, found.size))).collect())
    }

    /// The folders of segments of a cluster, by name: their timeline, and the log that they are of.
    fn folders(&self, cluster: &ClusterId) -> Result<Vec<String>, WalError> {
        let own = self.folder.join(cluster.to_string());
        let entries = match fs::read_dir(&own) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|cause| WalError::File { path: own, cause })?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let is_folder = |name: &String| name.len() == 16 && u64::from_str_radix(name, 16).is_ok();
        let mut folders: Vec<String> = names.filter(is_folder).collect();
        folders.sort();
        Ok(folders)
    }

    /// The newest timeline that has segments.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn newest_timeline(&self, cluster: &ClusterId) -> Result<Option<u32>, WalError> {
        let last = self.folders(cluster)?.pop();
        Ok(last.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok()))
    }

    /// The last segment of a timeline, and the bytes that it takes. Looks at the newest of the timeline's folders alone.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn newest(&self, cluster: &ClusterId, timeline: u32) -> Result<Option<(Segment, u64)>, WalError> {
        let begins = format!("{timeline:08X}");
        // One may have become empty just now.
        for folder in self.folders(cluster)?.iter().rev().filter(|name| name.starts_with(&begins)) {
            let objects = self.store.list(Some(&Name::known(format!("{cluster}/{folder}"))))?;
            let segments = objects.iter().filter_map(|found| match WalName::of_object(&found.name)? {
                WalName::Segment(segment) => Some((segment, found.size)),
                _ => None,
            });
            if let Some(last) = segments.max() {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// Bytes that a file takes; `None` if it is not there.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn size(&self, cluster: &ClusterId, name: WalName) -> Result<Option<u64>, WalError> {
        Ok(self.store.size(&Self::object(cluster, name))?)
    }

    /// What a file says of itself.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn closing(&self, cluster: &ClusterId, name: WalName, size: u64) -> Result<Closing, WalError> {
        let object = Self::object(cluster, name);
        object::closing(&self.store, &object, size).map_err(|cause| self.bad(name, cause))
    }

    /// Decodes a file, and checks it to its last byte.
    ///
    /// # Errors
    /// When it is not what was archived, or `take` fails.
    pub fn read(
        &self,
        cluster: &ClusterId,
        name: WalName,
        size: u64,
        take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Closing, WalError> {
        let object = Self::object(cluster, name);
        object::read(&self.store, &object, size, take).map_err(|cause| self.bad(name, cause))
    }

    /// The text of a history, and what it says of itself.
    ///
    /// # Errors
    /// When it is not what was archived.
    pub fn text(&self, cluster: &ClusterId, name: WalName, size: u64) -> Result<(String, Closing), WalError> {
        let mut text = Vec::new();
        let closing = self.read(cluster, name, size, |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok((String::from_utf8_lossy(&text).into_owned(), closing))
    }

    /// The place of a file below the archive's folder.
    pub(super) fn path(cluster: &ClusterId, name: WalName) -> String {
        Self::object(cluster, name).as_str().to_owned()
    }

    /// The place of what says from where on the log of a cluster is kept.
    pub(super) fn kept_from_path(cluster: &ClusterId) -> String {
        format!("{cluster}/{KEPT_FROM}")
    }

    /// The first segment that is kept: what is before it was deleted, as nobody was promised it. `None`: nothing was.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn kept_from(&self, cluster: &ClusterId) -> Result<Option<Segment>, WalError> {
        match self.store.read_range(&Name::known(Self::kept_from_path(cluster)), 0, MAX_BYTES) {
            Ok(bytes) => Ok(match String::from_utf8_lossy(&bytes).trim().parse() {
                Ok(WalName::Segment(segment)) => Some(segment),
                // What is no segment keeps nothing from being missed.
                _ => None,
            }),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file's bytes as they lie in the store.
    pub(super) fn raw(
        &self,
        cluster: &ClusterId,
        name: WalName,
        size: u64,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        const PIECE: u64 = 1 << 22;
        let (object, mut at) = (Self::object(cluster, name), 0);
        while at < size {
            let length = usize::try_from(PIECE.min(size - at)).unwrap_or(1);
            let bytes = self.store.read_range(&object, at, length).map_err(io::Error::other)?;
            if bytes.len() != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            take(&bytes)?;
            at += length as u64;
        }
        Ok(())
    }

    /// Who archived last of a cluster's log, as far as that is known.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn origin(&self, cluster: &ClusterId) -> Result<Option<Origin>, WalError> {
        match self.store.read_range(&Name::known(format!("{cluster}/{ORIGIN}")), 0, MAX_BYTES) {
            Ok(bytes) => Ok(crate::yaml::from_str(&String::from_utf8_lossy(&bytes)).ok()),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes who archived last.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn set_origin(&self, cluster: &ClusterId, origin: &Origin) -> Result<(), WalError> {
        let text = yaml_serde::to_string(origin)
            .map_err(|error| WalError::File { path: self.folder.clone(), cause: io::Error::other(error) })?;
        Ok(self.store.replace(&Name::known(format!("{cluster}/{ORIGIN}")), text.as_bytes())?)
    }

    /// Starts to write a file. What is left of it after a kill is swept away with the rest of `tmp`.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn upload(&self, cluster: &ClusterId, name: WalName) -> Result<Box<dyn Upload>, WalError> {
        let chance = hex(&random_bytes::<8>());
        let temporary = Name::known(format!("{TEMPORARY}/{name}-{}-{chance}", std::process::id()));
        Ok(self.store.upload(&Self::object(cluster, name), &temporary)?)
    }

    /// Makes the name of a file durable that is there: whoever gave it that name may have been killed before he did.
    ///
    /// # Errors
    /// When a folder on the way to it cannot be synced.
    pub fn settle(&self, cluster: &ClusterId, name: WalName) -> Result<(), WalError> {
        let object = self.folder.join(Self::object(cluster, name).as_str());
        // From the object's folder up to the archive's own, which was synced when it was made.
        for path in object.ancestors().skip(1).take_while(|path| path.starts_with(&self.folder)) {
            let synced = File::open(path).and_then(|folder| folder.sync_all());
            synced.map_err(|cause| WalError::File { path: path.to_path_buf(), cause })?;
        }
        Ok(())
    }

    /// Deletes a file, durably. One that is not there is a success.
    ///
    /// # Errors
    /// When it is not known to be gone.
    pub fn delete(&self, cluster: &ClusterId, name: WalName) -> Result<(), WalError> {
        Ok(self.store.delete(&Self::object(cluster, name))?)
    }

    /// Removes what killed pushes left. One that is under way would fail then, and be done again by the server: so only what
    /// has not been written to for an hour.
    ///
    /// # Errors
    /// When it cannot be told or removed.
    pub fn sweep(&self) -> Result<(), WalError> {
        const LEFT: std::time::Duration = std::time::Duration::from_secs(3600);
        for object in self.store.list(Some(&Name::known(TEMPORARY.to_owned())))? {
            let path = self.folder.join(object.name.as_str());
            let written = fs::symlink_metadata(&path).and_then(|seen| seen.modified());
            if written.is_ok_and(|at| at.elapsed().is_ok_and(|since| since > LEFT)) {
                self.store.delete(&object.name)?;
            }
        }
        Ok(())
    }

    fn bad(&self, name: WalName, cause: ObjectError) -> WalError {
        match cause {
            ObjectError::Store(error) => WalError::Store(error),
            cause => WalError::Object { store: self.label.clone(), name: name.to_string(), cause },
        }
    }
}

/// Makes the folders between a store's root and one of another account's. Others pass through them to their own; they see and
/// change nothing in them.
///
/// # Errors
/// When one cannot be made, or is a link.
pub fn make_passages(root: &Path, own: &Path) -> io::Result<()> {
    let mut between: Vec<&Path> =
        own.ancestors().skip(1).take_while(|above| *above != root && above.starts_with(root)).collect();
    between.reverse();
    between.into_iter().try_for_each(|path| make(path, 0o711))
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // Whatever the process's mask is.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
        }
        // A link would lead what root does here somewhere else.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path)?;
            if found.is_dir() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotADirectory)) }
        }
        Err(error) => Err(error),
    }
}

/// The account that the files in a folder of another's are to belong to.
///
/// # Errors
/// When the folder cannot be looked at.
pub fn owner_of(path: &Path) -> io::Result<(u32, u32)> {
    fs::metadata(path).map(|seen| (seen.uid(), seen.gid()))
}
