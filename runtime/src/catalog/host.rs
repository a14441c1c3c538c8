//! What this host remembers: which machine it is, which stores it has seen, and who runs here now. None of it is needed
//! to restore.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backplan_compiler::model::Location;
use jiff::Timestamp;
use rustix::fs::{Access, FlockOperation, access, statvfs};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::details::RawPath;
use super::ids::{RunId, Uuid};
use super::mounted::{Known, Mounted};
use super::notes::Notes;
use super::prune::Accepted;
use crate::places::trust::{self, Distrust};
use crate::store::dir::DirStore;
use crate::store::{Creation, Name, Store, StoreError};

/// In a plan's folder: the journals of its runs.
pub const JOURNALS: &str = "journal";
/// In a plan's folder: what runs build, each in a folder of its own.
pub const WORK: &str = "work";

/// Why local state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or folder could not be read or written.
    #[error("local state: {doing} `{}`: {cause}", path.display())]
    Io {
        /// What it was doing.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// Other accounts could write or exchange it.
    #[error("refusing to use the local state `{}`: {cause}; {}, or set XDG_STATE_HOME to a folder of this account's own", folder.display(), cause.mend())]
    Exchangeable {
        /// The folder.
        folder: PathBuf,
        /// How.
        #[source]
        cause: Distrust,
    },
    /// As the store that the state folder is underneath says it.
    #[error("local state: {0}")]
    Store(#[from] StoreError),
    /// A file is not what it should be.
    #[error("local state: `{}` is damaged: {cause}; remove it if its stores are the right ones", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

impl StateError {
    /// What to do about it, where the message does not say it.
    pub fn mend(&self) -> Option<&'static str> {
        match self {
            StateError::Io { cause, .. } => Some(match cause.kind() {
                io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => {
                    "something else is in its place: move that away"
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room there, or set XDG_STATE_HOME to a folder that has some"
                }
                _ if matches!(Errno::from_io_error(cause), Some(Errno::MFILE | Errno::NFILE)) => {
                    "raise the limits of this process (`ulimit -n`, `LimitNOFILE`)"
                }
                _ => "let this account write there, or set XDG_STATE_HOME to a folder where it may",
            }),
            StateError::Store(_) => {
                Some("let this account write there, or set XDG_STATE_HOME to a folder where it may")
            }
            StateError::Exchangeable { .. } | StateError::Damaged { .. } => None,
        }
    }

    /// The message, with that.
    pub fn with_mend(&self) -> String {
        let mend = self.mend().map(|mend| format!("; {mend}"));
        format!("{self}{}", mend.unwrap_or_default())
    }
}

/// The state folder of this host.
#[derive(Debug, Clone)]
pub struct HostState {
    folder: PathBuf,
    machine: Uuid,
}

impl HostState {
    /// As [`HostState::open`] would find it, but writes nothing: for a dry run.
    ///
    /// # Errors
    /// As [`HostState::open`].
    pub fn foresee(folder: &Path) -> Result<HostState, StateError> {
        let host = HostState::look(folder)?;
        host.see_usable()?;
        Ok(host)
    }

    /// Whether a run could keep here what it must, as far as looking tells.
    ///
    /// # Errors
    /// When it is not this account's alone, cannot be written, or has no room at all.
    pub fn see_usable(&self) -> Result<(), StateError> {
        see_own(&self.folder)?;
        for folder in [self.folder.clone(), self.folder.join(LOCKS), self.folder.join(PLANS)] {
            see_writable(&folder)?;
        }
        Ok(())
    }

    /// Reads what is there and writes nothing. A host that has no id yet gets one that is forgotten.
    ///
    /// # Errors
    /// When the state is there and cannot be read.
    pub fn look(folder: &Path) -> Result<HostState, StateError> {
        let machine = read_machine(folder)?.unwrap_or_else(Uuid::random);
        Ok(HostState { folder: folder.to_path_buf(), machine })
    }

    /// Opens the state folder, which is made if need be, and gives this host an id if it has none.
    ///
    /// # Errors
    /// When the state cannot be read or made.
    pub fn open(folder: &Path) -> Result<HostState, StateError> {
        see_own(folder)?;
        make_folder(folder)?;
        if let Some(machine) = read_machine(folder)? {
            return Ok(HostState { folder: folder.to_path_buf(), machine });
        }
        let store = DirStore::open("local state", folder)?;
        let text = format!("{}\n", Uuid::random());
        // Two first runs at once: one of them names the machine, both read it.
        let _: Creation = store.create(&Name::known("machine".to_owned()), text.as_bytes())?;
        HostState::look(folder)
    }

    /// This machine's id: random, made by its first run.
    pub fn machine(&self) -> Uuid {
        self.machine
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the leases are noted that are taken here.
    pub fn leases(&self) -> Notes {
        Notes::of(&self.folder)
    }

    /// What is remembered of a plan, by its name and file. Reads only.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn plan(&self, name: &str, file: &Path) -> Result<PlanState, StateError> {
        let folder = self.folder.join(PLANS).join(format!("{name}-{}", digest(file)));
        let path = folder.join(MEMORY);
        let memory = match std::fs::read_to_string(&path) {
            Ok(text) => crate::yaml::from_str(&text)
                .map_err(|error| StateError::Damaged { path, cause: error.to_string() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::default(),
            Err(cause) => return Err(StateError::Io { doing: "read", path, cause }),
        };
        Ok(PlanState { folder, memory })
    }
}

const MEMORY: &str = "stores.yaml";
const LOCKS: &str = "locks";
const PLANS: &str = "plans";

fn read_machine(folder: &Path) -> Result<Option<Uuid>, StateError> {
    let path = folder.join("machine");
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(machine) => Ok(Some(machine)),
            Err(error) => Err(StateError::Damaged { path, cause: error.to_string() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StateError::Io { doing: "read", path, cause }),
    }
}

fn make_folder(path: &Path) -> Result<(), StateError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| StateError::Io { doing: "make", path: path.to_path_buf(), cause })
}

/// What a run deletes, and obeys, by what is in here, nobody else may write or exchange; nor, before it is there, the folder that
/// it is to be made in.
fn see_own(folder: &Path) -> Result<(), StateError> {
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
    match trust::open_folder(there) {
        Ok(_) => Ok(()),
        Err(Distrust::Io { path, cause }) => Err(StateError::Io { doing: "open", path, cause }),
        Err(cause) => Err(StateError::Exchangeable { folder: folder.to_path_buf(), cause }),
    }
}

/// Whether something may be made in a folder, or in the one that it is to be made in.
fn see_writable(folder: &Path) -> Result<(), StateError> {
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
    let failed = |cause| StateError::Io { doing: "write into", path: there.to_path_buf(), cause };
    if !there.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| failed(error.into()))?;
    // A file system that does not count says nothing.
    let room = statvfs(there).map_err(|error| failed(error.into()))?;
    match room.f_blocks > 0 && room.f_bfree == 0 || room.f_files > 0 && room.f_ffree == 0 {
        true => Err(failed(rustix::io::Errno::NOSPC.into())),
        false => Ok(()),
    }
}

/// Enough of a path's hash to tell folders of state apart.
fn digest(path: &Path) -> String {
    blake3::hash(path.as_os_str().as_bytes()).to_hex()[..16].to_owned()
}

/// What this host remembers of a plan.
#[derive(Debug, Clone)]
pub struct PlanState {
    folder: PathBuf,
    memory: Memory,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    #[serde(default)]
    stores: Vec<KnownStore>,
    /// The highest sequence of a run that was begun here.
    #[serde(default)]
    sequence: u32,
    /// Stagings that held nothing of strangers when a run began to use them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stagings: Vec<KnownStaging>,
    /// The file systems that sources were read from, by the source's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    mounts: BTreeMap<String, Known>,
    /// By source, the run up to which somebody has said that what it lost is right so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    accepted: Accepted,
}

/// Without its device, whose number may be another after each start of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownStaging {
    path: RawPath,
    inode: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownStore {
    store: String,
    location: String,
    id: Uuid,
}

impl PlanState {
    /// The folder of this plan's journal and scan cache. It may not be there yet.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a run could keep here how it goes, as far as looking tells.
    ///
    /// # Errors
    /// When the plan's folder, or one in it that runs write to, cannot be written, or has no room at all.
    pub fn see_usable(&self) -> Result<(), StateError> {
        let within = [self.folder.clone(), self.folder.join(JOURNALS), self.folder.join(WORK)];
        within.iter().try_for_each(|folder| see_writable(folder))
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_folder(&self) -> Result<(), StateError> {
        make_folder(&self.folder)
    }

    /// The id that a store at this location had when a run last used it.
    pub fn known(&self, store: &str, location: &Location) -> Option<Uuid> {
        let location = location.to_string();
        let matches = |known: &&KnownStore| known.store == store && known.location == location;
        self.memory.stores.iter().find(matches).map(|known| known.id)
    }

    /// The plan's identity, as the stores seen so far have it; a new store is given the same.
    pub fn id(&self) -> Option<Uuid> {
        self.memory.stores.first().map(|known| known.id)
    }

    /// The highest sequence begun here: a store that is away may hold it.
    pub fn sequence(&self) -> u32 {
        self.memory.sequence
    }

    /// Remembers a store, durably; after its `format.yaml` is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&mut self, store: &str, location: &Location, id: Uuid) -> Result<(), StateError> {
        if self.known(store, location) == Some(id) {
            return Ok(());
        }
        let location = location.to_string();
        self.memory.stores.retain(|known| known.store != store || known.location != location);
        self.memory.stores.push(KnownStore { store: store.to_owned(), location, id });
        self.save()
    }

    /// Whether the staging at this place, with this inode, is one that a run has begun to use.
    pub fn has_staging(&self, path: &Path, inode: u64) -> bool {
        self.memory.stagings.iter().any(|known| known.path.0 == path && known.inode == inode)
    }

    /// Remembers a staging that a run begins to use, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember_staging(&mut self, path: &Path, inode: u64) -> Result<(), StateError> {
        self.memory.stagings.retain(|known| known.path.0 != path);
        self.memory.stagings.push(KnownStaging { path: RawPath::from(path), inode });
        self.save()
    }

    /// Remembers that a run of this sequence was begun, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember_sequence(&mut self, sequence: u32) -> Result<(), StateError> {
        self.memory.sequence = self.memory.sequence.max(sequence);
        self.save()
    }

    /// The file systems that a source was read from, as this host last saw it.
    pub fn mounts(&self, source: &str) -> Option<&Known> {
        self.memory.mounts.get(source)
    }

    /// Those of all sources, with the run that knew each last.
    pub fn all_mounts(&self) -> impl Iterator<Item = (RunId, &Mounted)> {
        self.memory.mounts.values().flat_map(|known| known.mounts.iter().map(|mounted| (known.run, mounted)))
    }

    /// Remembers what sources were read from, with the sequence of the run that did, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember_run(
        &mut self,
        run: RunId,
        mounts: BTreeMap<String, Vec<Mounted>>,
    ) -> Result<(), StateError> {
        self.memory.mounts.extend(mounts.into_iter().map(|(source, mounts)| (source, Known { run, mounts })));
        self.remember_sequence(run.sequence())
    }

    /// By source, the run up to which somebody has said that what it lost is right so.
    pub fn accepted(&self) -> &Accepted {
        &self.memory.accepted
    }

    /// Takes it for right what sources lost up to these runs; only this value knows it until it is kept.
    pub fn suppose_accepted(&mut self, accepted: Accepted) {
        self.memory.accepted.extend(accepted);
    }

    /// Keeps that, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn accept(&mut self, accepted: Accepted) -> Result<(), StateError> {
        self.suppose_accepted(accepted);
        self.save()
    }

    fn save(&self) -> Result<(), StateError> {
        self.make_folder()?;
        let text = yaml_serde::to_string(&self.memory).map_err(|error| StateError::Damaged {
            path: self.folder.join(MEMORY),
            cause: error.to_string(),
        })?;
        let store = DirStore::open("local state", &self.folder)?;
        Ok(store.replace(&Name::known(MEMORY.to_owned()), text.as_bytes())?)
    }
}

/// Who holds a lock of this host: for messages only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The plan's name.
    pub plan: String,
    /// The run, or what else holds it.
    pub run: String,
    /// The process.
    pub pid: u32,
    /// Since when, by this host's clock.
    pub since: Timestamp,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` of plan `{}`, process {}, since {}",
            self.run,
            self.plan,
            self.pid,
            crate::moment::shown(self.since)
        )
    }
}

/// Why a lock of this host was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HostLockError {
    /// Somebody has it.
    #[error("{what} is in use by {}", holder.as_ref().map_or("another run".to_owned(), Note::to_string))]
    Busy {
        /// What is locked.
        what: String,
        /// Who has it, where that could be read.
        holder: Option<Note>,
    },
    /// The lock could not be tried.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A lock among the processes of this host, held while the value lives; the kernel releases it when a process dies.
#[derive(Debug)]
pub struct HostLock {
    file: File,
}

impl HostLock {
    /// Takes the lock of a plan: one run of it at a time.
    ///
    /// # Errors
    /// [`HostLockError::Busy`] at once, if somebody has it.
    pub fn plan(state: &HostState, file: &Path, note: &Note) -> Result<HostLock, HostLockError> {
        let what = format!("plan `{}`", note.plan);
        HostLock::take(state, &format!("plan-{}-{}", note.plan, digest(file)), what, note)
    }

    /// Takes the lock of a staging folder, by whatever name it is called.
    ///
    /// # Errors
    /// [`HostLockError::Busy`] at once, if somebody has it.
    pub fn staging(state: &HostState, staging: &Path, note: &Note) -> Result<HostLock, HostLockError> {
        let what = format!("staging `{}`", staging.display());
        // The folder, not its name: it may have several, by links and by mounts.
        let key = match std::fs::metadata(staging) {
            Ok(meta) => format!("staging-{}-{}", meta.dev(), meta.ino()),
            Err(_) => format!("staging-{}", digest(staging)),
        };
        HostLock::take(state, &key, what, note)
    }

    fn take(state: &HostState, key: &str, what: String, note: &Note) -> Result<HostLock, HostLockError> {
        let folder = state.folder.join(LOCKS);
        make_folder(&folder)?;
        let path = folder.join(format!("{key}.lock"));
        let failed = |doing| {
            let path = path.clone();
            move |cause| HostLockError::State(StateError::Io { doing, path, cause })
        };
        let mut options = OpenOptions::new();
        // Not truncated: it may hold who has the lock. Never deleted: a lock on a deleted file excludes nobody.
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(HostLockError::Busy { what, holder: read_note(&mut file) });
            }
            Err(error) => return Err(failed("lock")(error.into())),
        }
        let text = yaml_serde::to_string(note).unwrap_or_default();
        let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        match written {
            // Who has it cannot be told then, and it is had all the same: a prune that is to make room is not kept from it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {}
            written => written.map_err(failed("write"))?,
        }
        Ok(HostLock { file })
    }
}

fn read_note(file: &mut File) -> Option<Note> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    crate::yaml::from_str(&text).ok()
}

impl Drop for HostLock {
    fn drop(&mut self) {
        // Only so that nobody reads an old note; closing the file is what releases.
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::{HostLock, HostLockError, HostState, Location, Note};
    use crate::catalog::ids::Uuid;

    fn note(run: &str) -> Note {
        let since = "2026-11-20T02:30:00Z".parse().unwrap();
        Note { plan: "p".to_owned(), run: run.to_owned(), pid: std::process::id(), since }
    }

    #[test]
    fn a_machine_keeps_its_id_and_a_look_writes_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("state");
        HostState::look(&folder).unwrap();
        assert!(!folder.exists());
        let machine = HostState::open(&folder).unwrap().machine();
        assert_eq!(HostState::open(&folder).unwrap().machine(), machine);
        assert_eq!(HostState::look(&folder).unwrap().machine(), machine);
    }

    #[test]
    fn two_plan_files_of_one_name_have_memories_of_their_own() {
        let scratch = tempfile::tempdir().unwrap();
        let host = HostState::open(scratch.path()).unwrap();
        let mut first = host.plan("p", Path::new("/a/p.plan")).unwrap();
        let id = Uuid::random();
        let at = |path: &str| Location::Folder(path.into());
        first.remember("local", &at("/backup"), id).unwrap();
        first.remember_sequence(7).unwrap();
        first.remember_sequence(3).unwrap();
        let again = host.plan("p", Path::new("/a/p.plan")).unwrap();
        assert_eq!(again.known("local", &at("/backup")), Some(id));
        assert_eq!(again.known("local", &at("/elsewhere")), None);
        assert_eq!((again.id(), again.sequence()), (Some(id), 7));
        let other = host.plan("p", Path::new("/b/p.plan")).unwrap();
        assert_eq!((other.known("local", &at("/backup")), other.sequence()), (None, 0));
    }

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let host = HostState::open(scratch.path()).unwrap();
        let plan = Path::new("/a/p.plan");
        let held = HostLock::plan(&host, plan, &note("first")).unwrap();
        match HostLock::plan(&host, plan, &note("second")) {
            Err(HostLockError::Busy { holder: Some(holder), .. }) => assert_eq!(holder, note("first")),
            other => panic!("{other:?}"),
        }
        drop(held);
        HostLock::plan(&host, plan, &note("third")).unwrap();
    }

    #[test]
    fn another_process_is_kept_out_and_its_death_frees_the_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let host = HostState::open(scratch.path()).unwrap();
        let plan = Path::new("/a/p.plan");
        let take = || HostLock::plan(&host, plan, &note("ours"));
        let held = take().unwrap();
        let file = std::fs::read_dir(scratch.path().join("locks")).unwrap().next().unwrap().unwrap().path();
        let flock = |command: &[&str]| {
            let mut flock = std::process::Command::new("flock");
            flock.args(["--nonblock", "--no-fork"]).arg(&file).args(command);
            flock
        };
        assert!(!flock(&["true"]).status().unwrap().success());
        drop(held);
        let mut other = flock(&["sleep", "600"]).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while take().is_ok() {
            assert!(std::time::Instant::now() < deadline, "the other process never took the lock");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        other.kill().unwrap();
        other.wait().unwrap();
        take().unwrap();
    }

    #[test]
    fn a_staging_is_one_by_whatever_path() {
        let scratch = tempfile::tempdir().unwrap();
        let host = HostState::open(&scratch.path().join("state")).unwrap();
        let real = scratch.path().join("staging");
        std::fs::create_dir(&real).unwrap();
        let other = scratch.path().join("other");
        std::os::unix::fs::symlink(&real, &other).unwrap();
        let _held = HostLock::staging(&host, &real, &note("first")).unwrap();
        assert!(matches!(HostLock::staging(&host, &other, &note("second")), Err(HostLockError::Busy { .. })));
    }
}
