//! Where a pack writes: a file in the staging, or every store at once.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backplan_compiler::model::StoreId;
use rustix::fs::OFlags;

use crate::artefact::{Sink, SinkError};
use crate::store::fs::copy_range;
use crate::store::{Name, StoreError, Upload};

/// A file in the staging.
pub struct StagedFile {
    file: BufWriter<File>,
    path: PathBuf,
}

impl StagedFile {
    /// Makes the file anew, for this account only.
    ///
    /// # Errors
    /// When it cannot be made, or a link has its name.
    pub fn create(path: &Path) -> io::Result<StagedFile> {
        let mut options = File::options();
        let through_no_link = OFlags::NOFOLLOW.bits().cast_signed();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(through_no_link);
        let file = options.open(path)?;
        Ok(StagedFile { file: BufWriter::with_capacity(1 << 20, file), path: path.to_path_buf() })
    }

    /// The system's words, with the place and what to do.
    fn failed(&self, cause: &io::Error) -> SinkError {
        let mend = match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "; free some room there, or give the plan a larger staging"
            }
            _ => "",
        };
        io::Error::new(cause.kind(), format!("staging `{}`: {cause}{mend}", self.path.display())).into()
    }

    /// Writes what is left. It is not synced: a power cut ends the run, and with it the staging.
    ///
    /// # Errors
    /// When not all of it could be written.
    pub fn finish(mut self) -> Result<(), SinkError> {
        self.file.flush().map_err(|cause| self.failed(&cause))
    }
}

impl Sink for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.file.write_all(bytes).map_err(|cause| self.failed(&cause))
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let flushed = self.file.flush();
        let patched = flushed.and_then(|()| self.file.get_ref().write_all_at(bytes, offset));
        patched.map_err(|cause| self.failed(&cause))
    }

    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), SinkError> {
        let copied = self.file.flush().and_then(|()| {
            let to = self.file.get_mut();
            let end = to.stream_position()?;
            copy_range(from, offset, to, end, len)?;
            to.seek(SeekFrom::Start(end + len)).map(drop)
        });
        copied.map_err(|cause| self.failed(&cause))
    }
}

/// An upload to each of some stores.
pub type Uploads = Vec<(StoreId, Box<dyn Upload>)>;

/// Every store at once. One that fails drops out, and the others go on.
pub struct FanOut {
    uploads: Uploads,
    /// The object that the base is, in the store that it is read from.
    base: Option<(StoreId, Name)>,
    lost: Vec<(StoreId, StoreError)>,
}

impl FanOut {
    /// Writes to these uploads.
    pub fn new(uploads: Uploads, base: Option<(StoreId, Name)>) -> FanOut {
        FanOut { uploads, base, lost: Vec::new() }
    }

    /// The uploads that took everything, and the stores that dropped out with the reason.
    pub fn into_uploads(self) -> (Uploads, Vec<(StoreId, StoreError)>) {
        (self.uploads, self.lost)
    }

    fn each(
        &mut self,
        mut act: impl FnMut(StoreId, &mut dyn Upload) -> Result<(), StoreError>,
    ) -> Result<(), SinkError> {
        let mut at = 0;
        while at < self.uploads.len() {
            let (store, upload) = &mut self.uploads[at];
            match act(*store, upload.as_mut()) {
                Ok(()) => at += 1,
                Err(error) => {
                    let (store, _aborted) = self.uploads.remove(at);
                    self.lost.push((store, error));
                }
            }
        }
        match (self.uploads.is_empty(), self.lost.last()) {
            (true, Some((_, error))) => Err(error.to_string().into()),
            (true, None) => Err("no store takes it".into()),
            (false, _) => Ok(()),
        }
    }
}

impl Sink for FanOut {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.each(|_, upload| upload.write(bytes))
    }

    fn again(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let base = self.base.clone();
        // What another store has under this name nobody has looked at.
        self.each(|store, upload| match &base {
            Some((held, name)) if *held == store => upload.again(name, offset, bytes),
            _ => upload.write(bytes),
        })
    }

    fn hold(&mut self, len: u64) {
        self.uploads.iter_mut().for_each(|(_, upload)| upload.hold(len));
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        self.each(|_, upload| upload.patch(offset, bytes))
    }

    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), SinkError> {
        self.each(|_, upload| upload.copy_from(from, offset, len))
    }
}
