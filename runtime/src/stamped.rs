//! Files that this program writes for others, such as units of systemd, and that people may change afterwards. A stamp in the
//! first line says what was written, a second one for which plan: what differs from it is somebody's work, and is neither
//! overwritten nor deleted.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawMode, fchmod, fstat, fsync, openat, readlinkat, renameat, unlinkat,
};
use rustix::io::Errno;

use crate::openat;

/// Bytes of the largest file that is looked at.
const LARGEST: u64 = 4 << 20;
const MARK: &str = "# Written by `plan schedule`, sum ";
const OWNER: &str = "# Of the plan ";

/// What stands where a file is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// That file.
    Same,
    /// Another one, as this program wrote it.
    Ours(String),
    /// Another one, which somebody wrote or changed.
    Foreign(String),
}

impl Standing {
    /// The text that stands there, but for [`Standing::Same`].
    pub fn text(&self) -> &str {
        match self {
            Standing::Ours(text) | Standing::Foreign(text) => text,
            Standing::Nothing | Standing::Same => "",
        }
    }
}

/// The text for a plan with its stamp before it.
pub fn stamped(plan: &Path, text: &str) -> String {
    let text = format!("{}{text}", owner_line(plan));
    format!("{MARK}{}; changed by hand, it is not overwritten.\n{text}", sum(&text))
}

/// Quoted, so that no name ends the line or goes on in the next.
fn owner_line(plan: &Path) -> String {
    format!("{OWNER}{plan:?}\n")
}

/// Whether a stamped text is that of this plan, changed since or not. Another plan may have the same name.
pub fn is_of(text: &str, plan: &Path) -> bool {
    owner(text).is_some_and(|line| format!("{line}\n") == owner_line(plan))
}

/// The plan that a stamped text names, as it is shown; `None` where it names none.
pub fn plan_of(text: &str) -> Option<&str> {
    owner(text)?.strip_prefix(OWNER)
}

fn owner(text: &str) -> Option<&str> {
    let mut lines = text.lines();
    lines.next().filter(|line| line.starts_with(MARK))?;
    lines.next().filter(|line| line.starts_with(OWNER))
}

/// What is said of these bytes for a text.
pub(crate) fn sum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

fn is_unchanged(found: &str) -> bool {
    found
        .strip_prefix(MARK)
        .and_then(|rest| rest.split_once('\n'))
        .is_some_and(|(stamp, rest)| stamp.split(';').next() == Some(sum(rest).as_str()))
}

/// A folder that such files are in. It is held: what is put in its place meanwhile is not touched.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// `None`: it is not there.
    held: Option<OwnedFd>,
}

impl Folder {
    /// Opens a folder that is there.
    ///
    /// # Errors
    /// When it is no folder, or this account may not look into it.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let held = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
        Ok(Folder { path: path.to_path_buf(), held: Some(held) })
    }

    /// One that is not there: nothing stands in it.
    pub fn absent(path: &Path) -> Folder {
        Folder { path: path.to_path_buf(), held: None }
    }

    fn held(&self) -> io::Result<&OwnedFd> {
        self.held.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where a file of it is.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What stands under `name`, where the stamped `text` is to be. A link is followed to no file: it is foreign.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn standing(&self, name: &str, text: &str) -> io::Result<Standing> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Some(held) = &self.held else { return Ok(Standing::Nothing) };
        let open = match openat(held, one(name)?, flags, Mode::empty()) {
            Ok(open) => open,
            Err(Errno::NOENT) => return Ok(Standing::Nothing),
            Err(Errno::LOOP) => return Ok(Standing::Foreign("(a symbolic link)\n".to_owned())),
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(fstat(&open)?.st_mode as RawMode) != FileType::RegularFile {
            return Ok(Standing::Foreign("(no file)\n".to_owned()));
        }
        let mut bytes = Vec::new();
        File::from(open).take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let found = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match found {
            found if found == text => Standing::Same,
            found if is_unchanged(&found) => Standing::Ours(found),
            found => Standing::Foreign(found),
        })
    }

    /// Writes all of these files or none: only once each is on the disk under a name of its own they take their places. What
    /// stands there was looked at before.
    ///
    /// # Errors
    /// Where one cannot be written; with its place.
    pub fn put(&self, files: &[(&str, &str)]) -> Result<(), (PathBuf, io::Error)> {
        let mut nonce = [0; 6];
        let of = |name: &str| self.path.join(name);
        let held = self.held().map_err(|error| (self.path.clone(), error))?;
        getrandom::fill(&mut nonce).map_err(|error| (self.path.clone(), io::Error::other(error)))?;
        let suffix: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        // What starts programs reads no file whose name begins with a dot.
        let names: Vec<String> = (0..files.len()).map(|at| format!(".backplan-{suffix}-{at}.tmp")).collect();
        let written = files.iter().zip(&names).try_for_each(|((name, text), temporary)| {
            self.write(temporary, text).and_then(|()| one(name).map(drop)).map_err(|error| (of(name), error))
        });
        let placed = written.and_then(|()| {
            files.iter().zip(&names).try_for_each(|((name, _), temporary)| {
                renameat(held, temporary, held, *name).map_err(|error| (of(name), error.into()))
            })
        });
        if placed.is_err() {
            // The first error is the one to tell; a name of our own left behind is only untidy.
            for name in &names {
                let _ = unlinkat(held, name, AtFlags::empty());
            }
        }
        placed?;
        fsync(held).map_err(|error| (self.path.clone(), error.into()))
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = openat(self.held()?, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(open);
        file.write_all(text.as_bytes())?;
        // Whatever the umask: others read it, and only its owner writes it, or cron does not read it.
        fchmod(&file, Mode::from_raw_mode(0o644))?;
        file.sync_all()
    }

    /// Deletes a file that was looked at before.
    ///
    /// # Errors
    /// The system's; that it is gone already is none.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        match unlinkat(held, one(name)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(fsync(held)?),
            Err(error) => Err(error.into()),
        }
    }
}

impl Folder {
    /// Deletes a symbolic link, and nothing else.
    ///
    /// # Errors
    /// The system's; that there is none is no error.
    pub fn remove_link(&self, name: &str) -> io::Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        match readlinkat(held, one(name)?, Vec::new()) {
            Ok(_) => self.remove(name),
            Err(Errno::NOENT | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A name in a folder, and no way out of it.
fn one(name: &str) -> io::Result<&str> {
    let (folder, last) = openat::split(name.as_bytes());
    if folder.is_empty() && !last.is_empty() && !name.starts_with(['.', '/']) && !name.contains('\0') {
        Ok(name)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_somebody_changed_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::open(scratch.path()).unwrap();
        let plan = Path::new("/etc/a\n.plan");
        let (old, new) = (stamped(plan, "[Timer]\nold\n"), stamped(plan, "[Timer]\nnew\n"));
        assert_eq!(folder.standing("a.timer", &old).unwrap(), Standing::Nothing);
        folder.put(&[("a.timer", &old)]).unwrap();
        assert_eq!(folder.standing("a.timer", &old).unwrap(), Standing::Same);
        let ours = folder.standing("a.timer", &new).unwrap();
        assert_eq!(ours, Standing::Ours(old.clone()));
        assert!(is_of(ours.text(), plan) && !is_of(ours.text(), Path::new("/etc/b.plan")));
        assert_eq!(plan_of(&old), Some(r#""/etc/a\n.plan""#));
        // All or none: the second name leads out of the folder.
        assert!(folder.put(&[("a.timer", &new), ("../out", &new)]).is_err());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(scratch.path().join("a.timer")).unwrap(), old);
        let changed = new.replace("new", "mine");
        std::fs::write(scratch.path().join("a.timer"), &changed).unwrap();
        let foreign = folder.standing("a.timer", &old).unwrap();
        assert_eq!(foreign, Standing::Foreign(changed));
        assert!(is_of(foreign.text(), plan));
        // What is ours behind a link is whoever's who made the link.
        std::fs::write(scratch.path().join("a.timer"), &old).unwrap();
        std::os::unix::fs::symlink(scratch.path().join("a.timer"), scratch.path().join("link")).unwrap();
        assert!(matches!(folder.standing("link", &old).unwrap(), Standing::Foreign(_)));
        folder.remove("a.timer").unwrap();
        folder.remove("a.timer").unwrap();
        assert_eq!(folder.standing("a.timer", &old).unwrap(), Standing::Nothing);
    }
}
