//! Reading.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use super::{Entry, IndexPlace, Root};
use crate::control::{Control, Stopped};

/// Bytes that can be read from the middle.
pub trait ReadAt: Send + Sync {
    /// How many there are.
    ///
    /// # Errors
    /// When the place cannot tell.
    fn size(&self) -> io::Result<u64>;

    /// `len` bytes from `offset`; fewer only where they end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;
}

/// What a manifest says an artefact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub root: Root,
    /// Where its index is.
    pub index: IndexPlace,
}

/// Why an artefact cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes cannot be had.
    #[error("cannot read the artefact: {0}")]
    Io(#[from] io::Error),
    /// It is not an artefact, or not the expected one, or damaged.
    #[error("{0}")]
    Format(String),
    /// Where the contents go to failed.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// An artefact that is open for reading.
pub struct Artefact {
    source: Arc<dyn ReadAt>,
}

impl fmt::Debug for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artefact").finish_non_exhaustive()
    }
}

impl Artefact {
    /// Opens: reads the end (or, with `expected`, what the manifest points to) and the table of the index.
    ///
    /// # Errors
    /// When it is no artefact, not the expected one, of a newer format, truncated or damaged.
    pub fn open(source: Arc<dyn ReadAt>, expected: Option<&Expected>) -> Result<Artefact, ReadError> {
        let _ = expected;
        Ok(Artefact { source })
    }

    /// The id of the run that made it.
    pub fn run(&self) -> &str {
        let _ = &self.source;
        unimplemented!()
    }

    /// The number of entries.
    pub fn entry_count(&self) -> u64 {
        unimplemented!()
    }

    /// All entries in path order (component-wise), read block by block.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, ReadError>> + '_ {
        std::iter::empty()
    }

    /// The entry at `path` (source, slash, inner path).
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn find(&self, path: &[u8]) -> Result<Option<Entry>, ReadError> {
        let _ = path;
        unimplemented!()
    }

    /// The entry at `path` and all below it, in path order; everything for an empty path.
    pub fn below(&self, path: &[u8]) -> impl Iterator<Item = Result<Entry, ReadError>> + '_ {
        let _ = path;
        std::iter::empty()
    }

    /// Writes a file's contents, holes as zeros, and returns the number of bytes. A hard link gives its file's contents.
    ///
    /// # Errors
    /// When it is no file, or its bytes do not have the recorded digest (some bytes may have been written by then).
    pub fn cat(&self, entry: &Entry, out: &mut dyn Write, control: &Control) -> Result<u64, ReadError> {
        let _ = (entry, out, control);
        unimplemented!()
    }
}
