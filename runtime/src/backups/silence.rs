//! A server's data directory that came back as files is a copy, and must not archive its log to where its original does. Whoever lays files
//! down sees to it, whether or not anybody means to start a server there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::extract::Target;
use crate::openat;

/// Where settings are that a server is told.
pub(crate) const SETTINGS: &str = "postgresql.auto.conf";
/// The folder of the data directory beside the tablespaces, where there are such.
pub(crate) const DATA: &str = "data";

/// Keeps a cluster that came back as files from archiving to where its original does.
pub(super) fn in_place(place: &Target) -> io::Result<()> {
    let base = openat::folder(&place.base)?;
    // With tablespaces it lies beside them.
    for inner in ["", DATA] {
        let parts = [place.below.as_slice(), inner.as_bytes()];
        let path = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b'/');
        let path = if path.is_empty() { b".".as_slice() } else { &path };
        let opened = openat::open(&base, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        let opened = opened.and_then(|data| {
            openat::open(&data, b"global/pg_control", OFlags::PATH, Mode::empty()).map(|_| File::from(data))
        });
        match opened {
            Ok(data) => silence(&data)?,
            // Not all of it was asked for: no server starts there.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Tells the cluster in a data directory to archive nothing, whatever its other settings are.
///
/// # Errors
/// When that cannot be written.
pub(crate) fn silence(data: &File) -> io::Result<()> {
    let mut known = String::new();
    open(data, SETTINGS, OFlags::RDONLY)?.read_to_string(&mut known)?;
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "archive_mode").then(|| value.trim().trim_matches('\'').to_owned())
    };
    // The last line of a setting counts.
    if known.lines().filter_map(value).next_back().as_deref() == Some("off") {
        return Ok(());
    }
    let why = "# written by plan restore: this is a copy. Before it takes the original's place: ALTER SYSTEM RESET archive_mode";
    append(data, SETTINGS, &format!("\n{why}\narchive_mode = off\n"))
}

/// Opens a regular file of a data directory, and makes it where it is not there.
fn open(folder: &File, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CREATE | OFlags::NONBLOCK;
    let file = File::from(openat::open(folder, name.as_bytes(), flags, Mode::RUSR | Mode::WUSR)?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("`{name}` is no regular file"))),
    }
}

pub(crate) fn append(folder: &File, name: &str, text: &str) -> io::Result<()> {
    let mut file = open(folder, name, OFlags::WRONLY | OFlags::APPEND)?;
    file.write_all(text.as_bytes())?;
    let owner = folder.metadata()?;
    if file.metadata()?.uid() != owner.uid() {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.sync_all()
}
