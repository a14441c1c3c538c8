//! The archive of one source's log in one store.
//!
//! It lies beside `.backplan`, as the server's account writes it and not the one that runs plans:
//! `.backplan-wal/PLAN/SOURCE/format.yaml` and `.backplan-wal/PLAN/SOURCE/CLUSTER/…`. In a folder it belongs to that account;
//! elsewhere to whoever has the plan's keys.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::model::Store as Declared;
use serde::{Deserialize, Serialize};

use super::WalError;
use super::adopt::Place;
use super::cluster::ClusterId;
use super::held::HeldFile;
use super::name::{Segment, WalName};
use super::object::ObjectError;
use super::rival::Origin;
use super::send::{SealedUpload, WholeUpload};
use crate::cipher::Keyring;
use crate::machine::random_bytes;
use crate::places::account::acting_as;
use crate::programs::secrets::Secrets;
use crate::store::below::Below;
use crate::store::dir::DirStore;
use crate::store::{self, Name, Object, Patience, Store, StoreErrorKind, Upload};
use crate::text::hex;
use crate::text::printable;
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

/// How an archive is reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What the store's own keys are fetched by.
    pub secrets: Secrets,
    /// How long one waits for a store that does not answer.
    pub patience: Patience,
    /// What opens what is encrypted.
    pub keys: Arc<Keyring>,
    /// Whom what is archived is encrypted for; empty: nobody, it lies there in clear.
    pub recipients: Vec<String>,
}

/// The archive of a source's log in a store.
#[derive(Debug)]
pub struct Archive {
    /// Its folder, as a store.
    pub(super) store: Arc<dyn Store>,
    seat: Seat,
    /// The store's name, as messages call it.
    pub label: String,
    pub(super) keys: Arc<Keyring>,
    recipients: Vec<String>,
}

/// Where an archive lies.
#[derive(Debug)]
enum Seat {
    /// In a folder of this machine, which belongs to the server's account.
    Folder(PathBuf),
    /// In a store that has no accounts, at this place in words.
    Below(Arc<Below>, String),
}

/// Who is to own an archive: user and group.
pub type Owner = Option<(u32, u32)>;

/// Where the archive of a source is, below a store's root.
pub fn folder(root: &Path, plan: &str, source: &str) -> PathBuf {
    root.join(HOME).join(plan).join(source)
}

/// Where the archive of a source is, in words.
pub fn place(declared: &Declared, plan: &str, source: &str) -> String {
    match declared.folder() {
        Some(root) => folder(root, plan, source).display().to_string(),
        None => format!("{}/{HOME}/{plan}/{source}", declared.location().to_string().trim_end_matches('/')),
    }
}

/// What stands in a folder of archives: plans, or the sources of a plan.
///
/// # Errors
/// When the store cannot tell.
pub fn names(declared: &Declared, plan: Option<&str>, access: &Access) -> Result<Vec<String>, WalError> {
    let below = plan.map_or_else(|| HOME.to_owned(), |plan| format!("{HOME}/{plan}"));
    let mut found: Vec<String> = match declared.folder() {
        // The server's account passes through the root, and does not look around there.
        Some(root) => {
            let path = root.join(&below);
            let entries = match fs::read_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                entries => entries.map_err(|cause| WalError::File { path, cause })?,
            };
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
        }
        None => {
            let store = store::open_with(declared, &access.secrets, access.patience)?;
            let entries = store.entries(&Name::known(below))?;
            entries.iter().map(|entry| entry.name.last().to_owned()).collect()
        }
    };
    found.sort();
    Ok(found)
}

impl Archive {
    /// Opens the archive in a store.
    ///
    /// # Errors
    /// When it is not there, another's, or written by a newer program.
    pub fn open(declared: &Declared, plan: &str, source: &str, access: &Access) -> Result<Archive, WalError> {
        let label = &declared.name;
        let place = place(declared, plan, source);
        let absent = || WalError::NoArchive {
            store: label.to_owned(),
            source_name: source.to_owned(),
            place: place.clone(),
        };
        let (store, seat): (Arc<dyn Store>, Seat) = match declared.folder() {
            Some(root) => {
                let own = folder(root, plan, source);
                let store = match DirStore::open(label, &own) {
                    Err(error) if error.kind.is_away() => return Err(absent()),
                    store => store?,
                };
                (Arc::new(store), Seat::Folder(own))
            }
            None => {
                let store = store::open_with(declared, &access.secrets, access.patience)?;
                let below = Arc::new(Below::new(store, below(plan, source)));
                (Arc::clone(&below) as _, Seat::Below(below, place.clone()))
            }
        };
        let bytes = match store.read_range(&Name::known(FORMAT_FILE.to_owned()), 0, MAX_BYTES) {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Err(absent()),
            bytes => bytes?,
        };
        see_format(&bytes, &place, plan, source)?;
        let (keys, recipients) = (Arc::clone(&access.keys), access.recipients.clone());
        Ok(Archive { store, seat, label: label.to_owned(), keys, recipients })
    }

    /// Makes the archive in a store, or sees that it is there. Says whether it made it. In a folder, nothing but its own
    /// is given away.
    ///
    /// # Errors
    /// When it could not be made, or another's is there.
    pub fn init(
        declared: &Declared,
        plan: &str,
        source: &str,
        owner: Owner,
        access: &Access,
    ) -> Result<bool, WalError> {
        match Archive::open(declared, plan, source, access) {
            Ok(_) => return Ok(false),
            Err(WalError::NoArchive { .. }) => {}
            Err(error) => return Err(error),
        }
        let place = place(declared, plan, source);
        let format =
            Format { format: FORMAT, min_reader: 1, plan: plan.to_owned(), source: source.to_owned() };
        let text = yaml_serde::to_string(&format).map_err(io::Error::other);
        let text = text.map_err(|cause| WalError::File { path: place.into(), cause })?;
        match declared.folder() {
            Some(root) => init_folder(declared, root, &folder(root, plan, source), owner, &text)?,
            None => {
                // Patiently: the first creation also shows whether the server keeps the condition that a segment's name is
                // not taken.
                let store = store::open(declared, &access.secrets)?;
                let _ = store.create(
                    &below(plan, source).join(&Name::known(FORMAT_FILE.to_owned())),
                    text.as_bytes(),
                )?;
            }
        }
        Ok(true)
    }

    /// Where it is, in words.
    pub fn place(&self) -> String {
        match &self.seat {
            Seat::Folder(path) => path.display().to_string(),
            Seat::Below(_, place) => place.clone(),
        }
    }

    /// Whether each request costs a way to a server: what is small is then read whole, and in few requests.
    pub fn is_far(&self) -> bool {
        matches!(self.seat, Seat::Below(..))
    }

    /// Gives it what opens what is encrypted.
    pub fn open_with(&mut self, keys: &Arc<Keyring>) {
        self.keys = Arc::clone(keys);
    }

    /// Whether new files in it are encrypted.
    pub fn is_sealing(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// The clusters that have something in it.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn clusters(&self) -> Result<Vec<ClusterId>, WalError> {
        let names: Vec<String> = match &self.seat {
            Seat::Folder(path) => {
                let failed = |cause| WalError::File { path: path.clone(), cause };
                let mut names = Vec::new();
                for entry in fs::read_dir(path).map_err(failed)? {
                    let entry = entry.map_err(failed)?;
                    if entry.file_type().map_err(failed)?.is_dir() {
                        names.extend(entry.file_name().into_string());
                    }
                }
                names
            }
            Seat::Below(below, _) => {
                let entries = below.top()?.into_iter().filter(|entry| entry.kind == store::fs::Kind::Folder);
                entries.map(|entry| entry.name.as_str().to_owned()).collect()
            }
        };
        let mut found: Vec<ClusterId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        found.sort();
        Ok(found)
    }

    /// Links and the like in it, in words: nothing follows them, and what they stand for is missing.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn strange(&self) -> Result<Vec<String>, WalError> {
        let found = self.store.strange(None)?;
        let told = |name: &Name| {
            format!(
                "store `{}`: `{}/{}` is a link or a device, which nothing follows: put what is meant in its place, or move it away",
                self.label,
                self.place(),
                printable(name.as_str().as_bytes())
            )
        };
        Ok(found.iter().map(told).collect())
    }

    /// The files of a cluster, by name.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn list(&self, cluster: &ClusterId) -> Result<BTreeMap<WalName, HeldFile>, WalError> {
        let mut files = BTreeMap::new();
        let mut take = |object: Object| files.extend(HeldFile::of_object(&object));
        self.store.each(Some(&Name::known(cluster.to_string())), &mut take)?;
        Ok(files)
    }

    /// The folders of segments of a cluster, by name: their timeline, and the log that they are of.
    fn folders(&self, cluster: &ClusterId) -> Result<Vec<String>, WalError> {
        let entries = self.store.entries(&Name::known(cluster.to_string()))?;
        let names = entries.iter().map(|entry| entry.name.last().to_owned());
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

    /// The first segment behind another on its timeline. Looks into the folders from its own on, up to the first that has one.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn next_behind(&self, cluster: &ClusterId, wanted: Segment) -> Result<Option<Segment>, WalError> {
        let own = wanted.folder();
        let is_behind = |name: &&String| name[..8] == own[..8] && **name >= own;
        for folder in self.folders(cluster)?.iter().filter(is_behind) {
            let found = self.segments_in(cluster, folder)?.into_iter().map(|(segment, _)| segment);
            if let Some(next) = found.filter(|found| *found > wanted).min() {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// The segments in one of the folders.
    fn segments_in(&self, cluster: &ClusterId, folder: &str) -> Result<Vec<(Segment, HeldFile)>, WalError> {
        let mut segments = Vec::new();
        let mut take = |object: Object| {
            if let Some((WalName::Segment(segment), held)) = HeldFile::of_object(&object) {
                segments.push((segment, held));
            }
        };
        self.store.each(Some(&Name::known(format!("{cluster}/{folder}"))), &mut take)?;
        Ok(segments)
    }

    /// The last segment of a timeline. Looks at the newest of the timeline's folders alone.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn newest(
        &self,
        cluster: &ClusterId,
        timeline: u32,
    ) -> Result<Option<(Segment, HeldFile)>, WalError> {
        let begins = format!("{timeline:08X}");
        // One may have become empty just now.
        for folder in self.folders(cluster)?.iter().rev().filter(|name| name.starts_with(&begins)) {
            let segments = self.segments_in(cluster, folder)?.into_iter();
            if let Some(last) = segments.max_by_key(|(segment, _)| *segment) {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// The text of a small object; `None` where there is none.
    fn small(&self, name: String) -> Result<Option<String>, WalError> {
        match self.store.read_range(&Name::known(name), 0, MAX_BYTES) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether its newest segment is encrypted.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn holds_sealed(&self) -> Result<bool, WalError> {
        for cluster in self.clusters()? {
            if let Some(timeline) = self.newest_timeline(&cluster)?
                && self.newest(&cluster, timeline)?.is_some_and(|(_, held)| held.is_sealed)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first segment that is kept: what is before it was deleted, as nobody was promised it. `None`: nothing was.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn kept_from(&self, cluster: &ClusterId) -> Result<Option<Segment>, WalError> {
        let text = self.small(format!("{cluster}/{KEPT_FROM}"))?;
        Ok(text.and_then(|text| match text.trim().parse() {
            Ok(WalName::Segment(segment)) => Some(segment),
            // What is no segment keeps nothing from being missed.
            _ => None,
        }))
    }

    /// Notes from which segment on it is kept; never an earlier one than before.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn note_kept_from(&self, cluster: &ClusterId, kept_from: Segment) -> Result<(), WalError> {
        if self.kept_from(cluster)?.is_some_and(|known| known.place() >= kept_from.place()) {
            return Ok(());
        }
        let name = format!("{cluster}/{KEPT_FROM}");
        self.put(&name, true, |to| writeln!(to, "{kept_from}")).map(drop)
    }

    /// Who archived last of a cluster's log, as far as that is known.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn origin(&self, cluster: &ClusterId) -> Result<Option<Origin>, WalError> {
        Ok(self.small(format!("{cluster}/{ORIGIN}"))?.and_then(|text| crate::yaml::from_str(&text).ok()))
    }

    /// Notes who archived last.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn set_origin(&self, cluster: &ClusterId, origin: &Origin) -> Result<(), WalError> {
        let text = yaml_serde::to_string(origin)
            .map_err(|error| WalError::File { path: self.place().into(), cause: io::Error::other(error) })?;
        Ok(self.store.replace(&Name::known(format!("{cluster}/{ORIGIN}")), text.as_bytes())?)
    }

    /// Starts to write a file that has about so many bytes before it is packed. What is left of it after a kill is swept away with the rest of `tmp`.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn upload(
        &self,
        cluster: &ClusterId,
        name: WalName,
        about: Option<u64>,
    ) -> Result<Box<dyn Upload>, WalError> {
        let object = self.new_object(cluster, name);
        let upload: Box<dyn Upload> = match &self.seat {
            Seat::Folder(_) => {
                let chance = hex(&random_bytes::<8>());
                let temporary = Name::known(format!("{TEMPORARY}/{name}-{}-{chance}", std::process::id()));
                self.store.upload(&object, &temporary, about)?
            }
            Seat::Below(..) => Box::new(WholeUpload::new(Arc::clone(&self.store), object, about)),
        };
        Ok(match self.recipients.as_slice() {
            [] => upload,
            recipients => Box::new(SealedUpload::new(upload, recipients, &self.label, name)),
        })
    }

    /// The object that a new file gets.
    fn new_object(&self, cluster: &ClusterId, name: WalName) -> Name {
        Name::known(cluster.to_string()).join(&name.object(self.is_sealing()))
    }

    /// Writes an object whole and durably, by `fill`, as the archive's owner; whether it did. One that is there is left
    /// alone, or replaced.
    ///
    /// # Errors
    /// When it is not known to be there.
    pub(super) fn put(
        &self,
        name: &str,
        is_replaced: bool,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<bool, WalError> {
        let failed = |cause| WalError::File { path: Path::new(&self.place()).join(name), cause };
        match &self.seat {
            Seat::Folder(path) => {
                let place = Place::open(path).map_err(failed)?;
                place.put(name, is_replaced, |file| fill(file)).map_err(failed)
            }
            Seat::Below(..) => {
                let mut bytes = Vec::new();
                fill(&mut bytes).map_err(failed)?;
                let name = Name::known(name.to_owned());
                match is_replaced {
                    true => self.store.replace(&name, &bytes).map(|()| true).map_err(WalError::from),
                    false => Ok(self.store.create(&name, &bytes)? == store::Creation::Created),
                }
            }
        }
    }

    /// Writes a file that was compressed, as the archive's owner.
    ///
    /// # Errors
    /// When it is not known to be there.
    pub(super) fn put_packed(
        &self,
        cluster: &ClusterId,
        name: WalName,
        packed: Vec<u8>,
    ) -> Result<bool, WalError> {
        let bytes = match self.recipients.as_slice() {
            [] => packed,
            recipients => super::send::sealed(packed, name, recipients).map_err(|cause| WalError::File {
                path: Path::new(&self.place()).join(name.to_string()),
                cause,
            })?,
        };
        self.put(self.new_object(cluster, name).as_str(), false, |to| to.write_all(&bytes))
    }

    /// Makes the name of a file durable that is there: whoever gave it that name may have been killed before he did.
    ///
    /// # Errors
    /// When a folder on the way to it cannot be synced.
    pub fn settle(&self, cluster: &ClusterId, name: WalName, held: HeldFile) -> Result<(), WalError> {
        let Seat::Folder(own) = &self.seat else { return Ok(()) };
        let object = own.join(held.object(cluster, name).as_str());
        // From the object's folder up to the archive's own, which was synced when it was made.
        for path in object.ancestors().skip(1).take_while(|path| path.starts_with(own)) {
            let synced = File::open(path).and_then(|folder| folder.sync_all());
            synced.map_err(|cause| WalError::File { path: path.to_path_buf(), cause })?;
        }
        Ok(())
    }

    /// Deletes a file, durably. One that is not there is a success.
    ///
    /// # Errors
    /// When it is not known to be gone.
    pub fn delete(&self, cluster: &ClusterId, name: WalName, held: HeldFile) -> Result<(), WalError> {
        Ok(self.store.delete(&held.object(cluster, name))?)
    }

    /// Removes what killed pushes left. One that is under way would fail then, and be done again by the server: so only what
    /// has not been written to for an hour. Where a store has unfinished files of its own, it looks after them itself.
    ///
    /// # Errors
    /// When it cannot be told or removed.
    pub fn sweep(&self) -> Result<(), WalError> {
        const LEFT: std::time::Duration = std::time::Duration::from_secs(3600);
        let Seat::Folder(own) = &self.seat else { return Ok(()) };
        for object in self.store.list(Some(&Name::known(TEMPORARY.to_owned())))? {
            let path = own.join(object.name.as_str());
            let written = fs::symlink_metadata(&path).and_then(|seen| seen.modified());
            if written.is_ok_and(|at| at.elapsed().is_ok_and(|since| since > LEFT)) {
                self.store.delete(&object.name)?;
            }
        }
        Ok(())
    }

    pub(super) fn bad(&self, name: WalName, cause: ObjectError) -> WalError {
        match cause {
            ObjectError::Store(error) => WalError::Store(error),
            cause => WalError::Object { store: self.label.clone(), name: name.to_string(), cause },
        }
    }
}

/// Where the archive of a source is, below a store's root.
fn below(plan: &str, source: &str) -> Name {
    Name::known(format!("{HOME}/{plan}/{source}"))
}

/// Sees that an archive is this source's, and of a format that is known.
fn see_format(bytes: &[u8], place: &str, plan: &str, source: &str) -> Result<(), WalError> {
    let foreign = |what: String| WalError::Foreign { place: place.to_owned(), what };
    let text = String::from_utf8_lossy(bytes);
    let format: Format = crate::yaml::from_str(&text).map_err(|error| foreign(error.to_string()))?;
    if format.min_reader > FORMAT {
        return Err(foreign(format!("it has format {}, which this version does not know", format.format)));
    }
    if (format.plan.as_str(), format.source.as_str()) != (plan, source) {
        return Err(foreign(format!("it is that of source `{}` of plan `{}`", format.source, format.plan)));
    }
    Ok(())
}

/// Makes the archive in a folder, for its owner.
fn init_folder(
    declared: &Declared,
    root: &Path,
    own: &Path,
    owner: Owner,
    text: &str,
) -> Result<(), WalError> {
    let failed = |cause| WalError::File { path: own.to_path_buf(), cause };
    make_passages(root, own).map_err(failed)?;
    make(own, 0o700).map_err(failed)?;
    let store = DirStore::open(&declared.name, own)?;
    if let Some((user, group)) = owner {
        chown(own, Some(user), Some(group)).map_err(failed)?;
    }
    // Last: what has it is whole. By the owner, who could put a link in its place by now.
    let create = || store.create(&Name::known(FORMAT_FILE.to_owned()), text.as_bytes());
    let _ = acting_as(owner, create).map_err(failed)??;
    Ok(())
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
