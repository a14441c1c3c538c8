//! The scratch folder of a rehearsal, and who removes it when a rehearsal is killed.
//!
//! ```text
//! STATE/rehearsing/lock      held for the moment in which one is noted or looked for
//! STATE/rehearsing/NONCE     the paths of both folders; held by the rehearsal for as long as it lives
//! PLACE/backplan-rehearsal-NONCE/
//! TEMPORARY/backplan-socket-NONCE/   only where PLACE is too long for the path of a socket
//! ```
//!
//! The note is synced before the folder is made. A note that nobody holds is a dead rehearsal's: the next run or rehearsal
//! of any plan stops the server that may still run there, removes the folder, then the note.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, access};
use rustix::process::{Pid, Signal, kill_process};

use crate::catalog::ids::Nonce;
use crate::places::private::make_private;
use crate::places::{folder, trust};
use crate::programs::postmaster::running;
use backplan_compiler::count::plural;

const NAME: &str = "backplan-rehearsal-";
const SPARE: &str = "backplan-socket-";
/// How long a server whose rehearsal was killed may take to end by itself, and then by a signal.
const LEAVES: Duration = Duration::from_secs(10);
const STOPS: Duration = Duration::from_secs(5);

/// What to do about a place that will not do: a run has no option for it.
const ELSEWHERE: &str = "name another folder in `TMPDIR`, for runs of a timer in its unit or crontab; `plan verify --rehearse` takes `--scratch` too";

/// Why there is no scratch folder to work in.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// No room.
    #[error(
        "`{}` has {} free, and the restored source takes {needed}: {ELSEWHERE}", place.display(), plural(*free, "byte")
    )]
    NoRoom {
        /// Where.
        place: PathBuf,
        /// What is free.
        free: u64,
        /// What it takes.
        needed: u64,
    },
    /// Nothing can be made there.
    #[error("`{}` cannot be written to: {cause}; {ELSEWHERE}", place.display())]
    Unusable {
        /// Where.
        place: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// A file of it, or of the local state.
    #[error("`{}`: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ScratchError + use<> {
    let path = path.to_path_buf();
    move |cause| ScratchError::File { path, cause }
}

/// Where a rehearsal works: the folder for its scratch folder, and Backplan's own.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder that the scratch folder is made in.
    pub place: PathBuf,
    /// Backplan's folder on this host.
    pub state: PathBuf,
}

/// A scratch folder; gone when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    spare: PathBuf,
    note: PathBuf,
    _held: File,
}

/// Where scratch folders are made if nobody says: `$TMPDIR`, else `/var/tmp`, which is a disk more often than `/tmp` is.
pub fn usual_place() -> PathBuf {
    let set = std::env::var_os("TMPDIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    set.filter(|path| path.is_absolute()).unwrap_or_else(|| PathBuf::from("/var/tmp"))
}

/// What keeps a rehearsal of a source that takes so many bytes from working in `place`, as far as looking tells.
pub fn lacks(place: &Path, needed: u64) -> Option<ScratchError> {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let unusable = access(place, wanted).err().map(|cause| unusable(place)(cause.into()));
    unusable.or_else(|| room(place, place, needed).err())
}

fn unusable(place: &Path) -> impl FnOnce(io::Error) -> ScratchError + use<> {
    let place = place.to_path_buf();
    move |cause| ScratchError::Unusable { place, cause }
}

impl Scratch {
    /// Makes one in `place`, noted in `state`.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn make(state: &Path, place: &Path) -> Result<Scratch, ScratchError> {
        let place = std::path::absolute(place).map_err(failed(place))?;
        // Where others can put a link in its place, root would lay data down and delete wherever they like.
        trust::open_folder(&place).map_err(|cause| failed(&place)(cause.into()))?;
        let nonce = Nonce::random().to_string();
        let folder = place.join(format!("{NAME}{nonce}"));
        let notes = state.join("rehearsing");
        let note = notes.join(&nonce);
        let spare = std::env::temp_dir().join(format!("{SPARE}{nonce}"));
        let text = [folder.as_os_str().as_bytes(), b"\0", spare.as_os_str().as_bytes()].concat();
        let held = take_note(&notes, &note, &text).map_err(failed(&note))?;
        let scratch = Scratch { folder, spare, note, _held: held };
        // The server's account goes through it; what lies in it is closed by modes of its own.
        let made = DirBuilder::new().mode(0o711).create(&scratch.folder);
        let made =
            made.and_then(|()| fs::set_permissions(&scratch.folder, fs::Permissions::from_mode(0o711)));
        made.map_err(unusable(&place))?;
        Ok(scratch)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a server's socket may be if the path of one in the folder would be too long. It is not there yet, and goes with
    /// the folder.
    pub fn spare(&self) -> &Path {
        &self.spare
    }

    /// Refuses to fill the disk that it is on.
    ///
    /// # Errors
    /// [`ScratchError::NoRoom`].
    pub fn has_room(&self, needed: u64) -> Result<(), ScratchError> {
        has_room(&self.folder, needed)
    }

    /// Removes it.
    ///
    /// # Errors
    /// When something of it stays; the next rehearsal or run tries again.
    pub fn remove(self) -> Result<(), ScratchError> {
        clear(&self.folder, Some(&self.spare), &self.note).map_err(failed(&self.folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next rehearsal or run tries again.
        let _ = clear(&self.folder, Some(&self.spare), &self.note);
    }
}

/// Refuses to fill the disk that a scratch folder is on.
pub(crate) fn has_room(folder: &Path, needed: u64) -> Result<(), ScratchError> {
    room(folder, folder.parent().unwrap_or(folder), needed)
}

/// The same, of a folder in `place`.
fn room(folder: &Path, place: &Path, needed: u64) -> Result<(), ScratchError> {
    let file = |cause: rustix::io::Errno| failed(folder)(cause.into());
    let there = rustix::fs::statvfs(folder).map_err(file)?;
    let free = there.f_bavail.saturating_mul(there.f_frsize);
    match free < needed {
        true => Err(ScratchError::NoRoom { place: place.to_path_buf(), free, needed }),
        false => Ok(()),
    }
}

fn take_note(notes: &Path, note: &Path, text: &[u8]) -> io::Result<File> {
    make_private(notes)?;
    let _lock = lock(notes)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(note)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all(text)?;
    file.sync_all()?;
    File::open(notes)?.sync_all()?;
    Ok(file)
}

fn lock(notes: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(notes.join("lock"))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Removes the folders, then their note: so that a kill in between leaves a note of what is gone, never the reverse.
fn clear(folder: &Path, spare: Option<&Path>, note: &Path) -> io::Result<()> {
    folder::remove_safely(folder)?;
    if let Some(spare) = spare.filter(|spare| spare.symlink_metadata().is_ok()) {
        folder::remove_safely(spare)?;
    }
    gone(fs::remove_file(note))
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Clears away what dead rehearsals left on this host; says what.
///
/// # Errors
/// When it cannot be told what there is, or something of it stays.
pub fn clear_dead(state: &Path) -> Result<Vec<String>, ScratchError> {
    let notes = state.join("rehearsing");
    if !notes.is_dir() {
        return Ok(Vec::new());
    }
    let _lock = lock(&notes).map_err(failed(&notes))?;
    let mut told = Vec::new();
    for entry in fs::read_dir(&notes).map_err(failed(&notes))? {
        let note = entry.map_err(failed(&notes))?.path();
        if note.file_name().is_some_and(|name| name != "lock")
            && let Some(text) = clear_note(&note)?
        {
            told.push(text);
        }
    }
    Ok(told)
}

fn clear_note(note: &Path) -> Result<Option<String>, ScratchError> {
    let file = match File::open(note) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(note)(cause)),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(failed(note)(errno.into())),
        Ok(()) => {}
    }
    let text = fs::read(note).map_err(failed(note))?;
    let nonce = note.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut paths = text.split(|byte| *byte == 0).map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)));
    // Half a note was written before its folders were made: there is nothing but the note.
    let mut own = |begins: &str| {
        let is_own = |path: &PathBuf| {
            path.is_absolute() && path.file_name().is_some_and(|name| *name == *format!("{begins}{nonce}"))
        };
        paths.next().filter(is_own)
    };
    let (folder, spare) = (own(NAME), own(SPARE));
    let Some(folder) = folder else {
        gone(fs::remove_file(note)).map_err(failed(note))?;
        return Ok(None);
    };
    let was_there = folder.symlink_metadata().is_ok();
    end_server(&folder.join("data"))?;
    clear(&folder, spare.as_deref(), note).map_err(failed(&folder))?;
    Ok(was_there.then(|| format!("removed `{}`, which a killed rehearsal left", folder.display())))
}

/// Ends the server of a killed rehearsal. It was told to when its rehearsal died, and writes its last pages.
fn end_server(data: &Path) -> Result<(), ScratchError> {
    for (signal, patience) in
        [(None, LEAVES), (Some(Signal::QUIT), STOPS), (Some(Signal::KILL), Duration::from_secs(1))]
    {
        let until = Instant::now() + patience;
        let Some(pid) = server_in(data)? else { return Ok(()) };
        if let Some(signal) = signal {
            // One that is gone by now is what is wanted.
            let _ = kill_process(pid, signal);
        }
        while server_in(data)?.is_some() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// The server that works in this data directory. A process that only has the number of one is somebody else's.
fn server_in(data: &Path) -> Result<Option<Pid>, ScratchError> {
    let Some(number) = running(data).map_err(failed(data))? else { return Ok(None) };
    let folder = fs::read_link(format!("/proc/{number}/cwd"));
    let is_own = folder.is_ok_and(|folder| data.canonicalize().is_ok_and(|data| data == folder));
    Ok(i32::try_from(number).ok().filter(|_| is_own).and_then(Pid::from_raw))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_living_rehearsal_keeps_its_folder_and_a_dead_ones_goes() {
        let world = tempfile::tempdir().unwrap();
        let (state, place) = (world.path().join("state"), world.path().join("place"));
        fs::create_dir(&place).unwrap();
        assert!(clear_dead(&state).unwrap().is_empty());
        let living = Scratch::make(&state, &place).unwrap();
        let dead = Scratch::make(&state, &place).unwrap();
        fs::write(dead.folder().join("data"), "x").unwrap();
        let (folder, spare) = (dead.folder().to_path_buf(), dead.spare().to_path_buf());
        let note = dead.note.clone();
        let text = fs::read(&note).unwrap();
        dead.remove().unwrap();
        assert!(!folder.exists() && !note.exists());
        // As a kill leaves it: folders and note, and nobody who holds the note.
        fs::create_dir(&folder).unwrap();
        fs::create_dir(&spare).unwrap();
        fs::write(spare.join(".s.PGSQL.5432"), "").unwrap();
        fs::write(&note, &text).unwrap();
        let told = clear_dead(&state).unwrap();
        assert!(told.len() == 1 && told[0].contains("killed rehearsal"), "{told:?}");
        assert!(!folder.exists() && !spare.exists() && !note.exists() && living.folder().exists());
        // As an earlier version noted it, and as nobody did: what is another's stays.
        let other = world.path().join("backplan-socket-other");
        fs::create_dir(&other).unwrap();
        for behind in ["", "\0", &format!("\0{}", other.display())] {
            fs::create_dir(&folder).unwrap();
            fs::write(&note, format!("{}{behind}", folder.display())).unwrap();
            assert_eq!(clear_dead(&state).unwrap().len(), 1);
            assert!(!folder.exists() && !note.exists() && other.exists());
        }
    }

    /// Cut at every byte, a note never leads to a folder that is not a rehearsal's own.
    #[test]
    fn half_a_note_removes_nothing_but_itself() {
        let world = tempfile::tempdir().unwrap();
        let (state, place) = (world.path().join("state"), world.path().join("place"));
        fs::create_dir(&place).unwrap();
        let scratch = Scratch::make(&state, &place).unwrap();
        let (note, text) = (scratch.note.clone(), fs::read(&scratch.note).unwrap());
        scratch.remove().unwrap();
        // Behind the first of its paths it leads to that one alone.
        let first = text.iter().position(|byte| *byte == 0).unwrap();
        for cut in 0..first {
            fs::write(&note, &text[..cut]).unwrap();
            assert!(clear_dead(&state).unwrap().is_empty());
            assert!(place.exists() && !note.exists(), "cut at {cut}");
        }
    }
}
