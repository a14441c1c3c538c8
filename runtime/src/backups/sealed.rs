//! What of an encrypted artefact can be checked as it lies in the store.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::check::other_sum;
use super::shelf::Shelf;
use crate::artefact::{ReadAt, ReadError};
use crate::catalog::manifest::ArchiveRecord;
use crate::control::{Control, Stopped};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// An object that is summed up while it is read from its beginning to its end, whatever else is read of it between.
pub struct Tap {
    object: Arc<dyn ReadAt>,
    sum: Mutex<(u64, Sha256)>,
}

impl Tap {
    /// Nothing was read yet.
    pub fn new(object: Arc<dyn ReadAt>) -> Arc<Tap> {
        Arc::new(Tap { object, sum: Mutex::new((0, Sha256::new())) })
    }

    /// SHA-256 of the whole object; what of it has not passed by is read now.
    ///
    /// # Errors
    /// When it cannot be read, ends early, or somebody asked to stop.
    pub fn sum(&self, size: u64, control: &Control) -> Result<[u8; 32], ReadError> {
        loop {
            control.check()?;
            let at = self.sum.lock().unwrap_or_else(PoisonError::into_inner).0;
            if at >= size {
                break;
            }
            if self.read_at(at, CHUNK)?.is_empty() {
                return Err(ReadError::damaged(at, "it ends early"));
            }
        }
        let sum = &self.sum.lock().unwrap_or_else(PoisonError::into_inner).1;
        Ok(sum.clone().finalize().into())
    }
}

impl ReadAt for Tap {
    fn size(&self) -> io::Result<u64> {
        self.object.size()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.object.read_at(offset, len)?;
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = sum.0.checked_sub(offset).and_then(|passed| bytes.get(usize::try_from(passed).ok()?..));
        if let Some(fresh) = fresh {
            sum.1.update(fresh);
            sum.0 += fresh.len() as u64;
        }
        Ok(bytes)
    }
}

/// Compares an encrypted artefact with what the manifest says of its bytes: size, which run made it, SHA-256. What is wrong, if
/// anything is.
///
/// # Errors
/// Only when asked to stop.
pub fn check(shelf: &Shelf, archive: &ArchiveRecord, control: &Control) -> Result<Option<String>, Stopped> {
    if let Err(error) = shelf.look(archive) {
        return Ok(Some(error.to_string()));
    }
    control.expect(0, archive.size);
    match Tap::new(shelf.object(archive)).sum(archive.size, control) {
        Ok(sum) => Ok(other_sum(archive, sum)),
        Err(ReadError::Stopped(stopped)) => Err(stopped),
        Err(error) => Ok(Some(error.to_string())),
    }
}
