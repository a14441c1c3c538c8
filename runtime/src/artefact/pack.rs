//! Packing.

use std::error::Error;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::SystemTime;

use super::{IndexPlace, Root};
use crate::control::{Control, Stopped};
use crate::scan::Warnings;

/// What a sink says when it cannot go on.
pub type SinkError = Box<dyn Error + Send + Sync>;

/// Where an artefact's bytes go.
pub trait Sink {
    /// Appends.
    ///
    /// # Errors
    /// When the bytes could not be taken: packing ends.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// Replaces bytes that were written before. Called only for inputs that hold a [`Content::Stream`], once for each.
    ///
    /// # Errors
    /// When the bytes could not be taken: packing ends.
    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError>;
}

/// One source of an artefact.
pub struct Input {
    /// Its name: the folder it has in the artefact. One path component.
    pub source: String,
    /// What is in it.
    pub content: Content,
}

/// What a source gives.
pub enum Content {
    /// Trees, by the scan file that [`crate::scan::scan`] wrote.
    Scan(PathBuf),
    /// One regular file of this host, under a name of its own.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its name inside the source's folder: one component.
        name: String,
    },
    /// Bytes of unknown number, under a name. An error of the reader ends the packing.
    Stream {
        /// Where they come from; read on a thread of its own.
        reader: Box<dyn Read + Send>,
        /// The file's name inside the source's folder: one component.
        name: String,
        /// The time recorded for it.
        mtime: SystemTime,
        /// The permission bits recorded for it.
        mode: u32,
    },
}

/// How to pack.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// Compression: 0 (stored) to 9; 6 is gzip's usual.
    pub level: u8,
    /// The run's id, recorded in the artefact: 1 to 64 bytes.
    pub run: String,
    /// A folder for unnamed temporary files: about 150 bytes an entry.
    pub scratch: PathBuf,
    /// Compressing threads; as many as there are cores where `None`.
    pub workers: Option<usize>,
}

/// What was packed.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Bytes of the artefact.
    pub size: u64,
    /// SHA-256 of the artefact; `None` if bytes were patched: it has to be read again for that.
    pub sha256: Option<[u8; 32]>,
    /// The digest that stands for all of it.
    pub root: Root,
    /// Where the index is.
    pub index: IndexPlace,
    /// Members that hold entries.
    pub members: u64,
    /// Per source, sorted by name.
    pub sources: Vec<PackedSource>,
}

/// What was packed of a source.
#[derive(Debug, Clone)]
pub struct PackedSource {
    /// Its name.
    pub name: String,
    /// Entries of every kind, the source's own folder counted.
    pub entries: u64,
    /// Bytes read of files.
    pub bytes: u64,
    /// What went differently.
    pub warnings: Warnings,
}

/// Why packing ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The place it is written to failed.
    #[error("cannot write the artefact: {0}")]
    Sink(#[source] SinkError),
    /// A source failed.
    #[error("source `{source_name}`: {cause}")]
    Input {
        /// The source.
        source_name: String,
        /// What is wrong.
        #[source]
        cause: io::Error,
    },
    /// Temporary files could not be written.
    #[error("temporary file in `{path}`: {cause}")]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// What was asked for cannot be.
    #[error("cannot pack: {0}")]
    Request(String),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Packs sources into one artefact and gives its bytes to `sink`. The order of `inputs` does not matter.
///
/// # Errors
/// See [`PackError`]. Single files that cannot be read are warnings.
pub fn pack(
    inputs: Vec<Input>,
    options: &PackOptions,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Packed, PackError> {
    let _ = (inputs, options, sink, control);
    unimplemented!()
}
