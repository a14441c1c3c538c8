//! The list of deleted paths, as one more file to pack.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::iter::Peekable;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::{Content, Input, PackError};
use crate::artefact::deleted::Deleted;
use backplan_host::tree::{is_at_or_below, path_order};

/// The folder that holds what is the artefact's own.
pub const OWN: &str = ".backplan";
const NAME: &str = "deleted";
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A list on its way into a temporary file that goes when this is dropped: paths with a NUL behind each, sorted, none of
/// them below another. It may be longer than what should be in memory.
#[derive(Debug)]
pub struct Deletions {
    path: PathBuf,
    scratch: PathBuf,
    file: Option<BufWriter<File>>,
    last: Option<Vec<u8>>,
}

impl Deletions {
    /// An empty list in `scratch`.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn create(scratch: &Path, run: &str) -> Result<Deletions, PackError> {
        // Several archives may be packed at once, with one folder for temporary files.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = scratch.join(format!("deleted-{run}-{}-{number}", std::process::id()));
        let mut list = Deletions { path, scratch: scratch.to_path_buf(), file: None, last: None };
        list.file = Some(BufWriter::new(create(&list.path).map_err(|cause| list.failed(cause))?));
        Ok(list)
    }

    /// A list that somebody else made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(deleted: &Deleted, scratch: &Path, run: &str) -> Result<Deletions, PackError> {
        let mut list = Deletions::create(scratch, run)?;
        deleted.paths().try_for_each(|path| list.push(path))?;
        list.finish()?;
        Ok(list)
    }

    fn failed(&self, cause: io::Error) -> PackError {
        PackError::Scratch { path: self.scratch.clone(), cause }
    }

    /// Appends a path; paths come in order, and one below the one before says nothing new.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, path: &[u8]) -> Result<(), PackError> {
        if self.last.as_ref().is_some_and(|last| is_at_or_below(path, last)) {
            return Ok(());
        }
        if let Some(file) = &mut self.file {
            let written = file.write_all(path).and_then(|()| file.write_all(&[0]));
            written.map_err(|cause| self.failed(cause))?;
        }
        self.last = Some(path.to_vec());
        Ok(())
    }

    /// Ends the file: the same list makes the same bytes, whenever it is packed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&mut self) -> Result<(), PackError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let done = file.flush().and_then(|()| file.get_ref().set_modified(UNIX_EPOCH));
        done.map_err(|cause| self.failed(cause))
    }

    /// The list with further paths, which come in order too, as another one; the file takes this one's place.
    ///
    /// # Errors
    /// When it cannot be written; what `further` says.
    pub fn with(
        &self,
        further: impl Iterator<Item = Result<Vec<u8>, PackError>>,
    ) -> Result<Deletions, PackError> {
        let mut merged = Deletions::create(&self.scratch, "all")?;
        let file = File::open(&self.path).map_err(|cause| self.failed(cause))?;
        let mut known = BufReader::new(file).split(0).peekable();
        for path in further {
            let path = path?;
            self.push_before(&mut known, Some(&path), &mut merged)?;
            merged.push(&path)?;
        }
        self.push_before(&mut known, None, &mut merged)?;
        merged.finish()?;
        Ok(merged)
    }

    fn push_before(
        &self,
        known: &mut Peekable<impl Iterator<Item = io::Result<Vec<u8>>>>,
        limit: Option<&[u8]>,
        merged: &mut Deletions,
    ) -> Result<(), PackError> {
        let before = |path: &io::Result<Vec<u8>>| match (path, limit) {
            (Ok(path), Some(limit)) => path_order(path, limit).is_le(),
            _ => true,
        };
        while let Some(path) = known.next_if(before) {
            merged.push(&path.map_err(|cause| self.failed(cause))?)?;
        }
        Ok(())
    }

    /// What to pack.
    pub fn input(&self) -> Input {
        let content = Content::File { path: self.path.clone(), name: NAME.to_string() };
        Input { source: OWN.to_string(), content }
    }

    /// Puts another list's file where this one's was.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn replace_with(&self, other: &Deletions) -> Result<(), PackError> {
        std::fs::rename(&other.path, &self.path).map_err(|cause| self.failed(cause))
    }
}

impl Drop for Deletions {
    fn drop(&mut self) {
        // Best effort: the folder is one for temporary files, and is cleared.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn create(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
