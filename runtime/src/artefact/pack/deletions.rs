//! The list of deleted paths, as one more file to pack.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::{Content, Input, PackError};
use crate::artefact::deleted::Deleted;

/// The folder that holds what is the artefact's own.
pub const OWN: &str = ".backplan";
const NAME: &str = "deleted";
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A temporary file that goes when it is dropped.
pub struct Deletions(PathBuf);

impl Deletions {
    /// Writes a list to a file in `scratch`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(deleted: &Deleted, scratch: &Path, run: &str) -> Result<Deletions, PackError> {
        // Several archives may be packed at once, with one folder for temporary files.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = scratch.join(format!("deleted-{run}-{}-{number}", std::process::id()));
        let failed = |cause| PackError::Scratch { path: scratch.to_path_buf(), cause };
        let mut file = create(&path).map_err(failed)?;
        let deletions = Deletions(path);
        // The same list makes the same bytes, whenever it is packed.
        let written = file.write_all(deleted.as_bytes()).and_then(|()| file.set_modified(UNIX_EPOCH));
        written.map_err(failed)?;
        Ok(deletions)
    }

    /// What to pack.
    pub fn input(&self) -> Input {
        let content = Content::File { path: self.0.clone(), name: NAME.to_string() };
        Input { source: OWN.to_string(), content }
    }
}

impl Drop for Deletions {
    fn drop(&mut self) {
        // Best effort: the folder is one for temporary files, and is cleared.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn create(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
