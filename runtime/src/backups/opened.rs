//! Artefacts of a store, opened and held against what manifests say of them.

use std::io;
use std::sync::Arc;

use backplan_compiler::count::plural;

use super::BackupsError;
use super::ahead::Ahead;
use super::shelf::Shelf;
use crate::artefact::{Artefact, Expected, IndexPlace, ReadAt, ReadError, run_of};
use crate::catalog::manifest::ArchiveRecord;
use crate::catalog::recover::HEAD_BYTES;
use crate::cipher::{UnsealError, Unsealed};
use crate::middle::Spoilt;
use crate::store::{Name, ReadStore, StoreError, StoreErrorKind};

impl Shelf {
    /// Opens an artefact of a run, held against what the manifest says of it.
    ///
    /// # Errors
    /// When it is not there, damaged, another one, or of a kind that cannot be read.
    pub fn artefact(&self, archive: &ArchiveRecord) -> Result<Artefact, BackupsError> {
        self.artefact_in(self.object(archive), archive)
    }

    /// The artefact as it lies in the store.
    pub(super) fn object(&self, archive: &ArchiveRecord) -> Arc<dyn ReadAt> {
        let (store, name) = (Arc::clone(&self.store), archive.artefact.object());
        match self.root {
            Some(_) => Arc::new(ObjectAt { store, name }),
            None => Arc::new(Ahead::new(store, name)),
        }
    }

    /// As [`Shelf::artefact`], read through what the caller has laid around the object.
    pub(super) fn artefact_in(
        &self,
        object: Arc<dyn ReadAt>,
        archive: &ArchiveRecord,
    ) -> Result<Artefact, BackupsError> {
        let unreadable = |why: &str| self.unreadable(archive, why.to_owned());
        if archive.format > crate::artefact::VERSION.into() {
            return Err(unreadable("it is of a newer format: use a newer version of this program"));
        }
        let root = archive.root.parse().map_err(|_| unreadable("its manifest has no digest of it"))?;
        let index = IndexPlace {
            offset: archive.index.offset,
            table: archive.index.table,
            table_len: archive.index.table_length,
        };
        let (object, size) = match archive.recipients.is_empty() {
            true => (object, archive.size),
            false => {
                let opened = Arc::new(self.unseal(object, archive)?);
                let size = opened.size().unwrap_or_default();
                (opened as Arc<dyn ReadAt>, size)
            }
        };
        let expected = Expected { size, root, index };
        Artefact::open(object, Some(&expected)).map_err(|cause| self.damaged(archive, cause))
    }

    fn unreadable(&self, archive: &ArchiveRecord, why: String) -> BackupsError {
        BackupsError::Unreadable { artefact: archive.artefact.to_string(), why }
    }

    fn damaged(&self, archive: &ArchiveRecord, cause: ReadError) -> BackupsError {
        let store = self.store.label().to_owned();
        BackupsError::Artefact { store, artefact: archive.artefact.to_string(), cause }
    }

    /// Opens what is encrypted, with what of it shows without a key held against the manifest first.
    fn unseal(&self, object: Arc<dyn ReadAt>, archive: &ArchiveRecord) -> Result<Unsealed, BackupsError> {
        if self.keys.is_empty() {
            return Err(self.locked(archive));
        }
        let size = object.size().map_err(|error| self.damaged(archive, error.into()))?;
        if size != archive.size {
            return Err(self.damaged(archive, other_size(size, archive)));
        }
        let opened = Unsealed::open(object, &self.keys).map_err(|error| match error {
            UnsealError::Io(error) => self.damaged(archive, error.into()),
            UnsealError::Damaged(what) => self.damaged(archive, ReadError::damaged(0, what)),
            UnsealError::NoKey => self.locked(archive),
        })?;
        match opened.run() {
            Some(run) if run == archive.holder.to_string() => Ok(opened),
            found => Err(self.damaged(archive, other_run(found, archive))),
        }
    }

    /// None of the keys opens it, or there is none.
    pub(super) fn locked(&self, archive: &ArchiveRecord) -> BackupsError {
        BackupsError::Locked {
            artefact: archive.artefact.to_string(),
            recipients: archive.recipients.clone(),
            tried: self.keys.publics().map(str::to_owned).collect(),
        }
    }

    /// Looks whether an artefact is there and is the one that the manifest names, as far as that shows: one that is encrypted
    /// shows, without a key, its size and which run made it.
    ///
    /// # Errors
    /// As [`Shelf::artefact`].
    pub fn look(&self, archive: &ArchiveRecord) -> Result<(), BackupsError> {
        match self.artefact(archive).map(drop) {
            Err(BackupsError::Locked { .. }) => {}
            other => return other,
        }
        let object = self.object(archive);
        let failed = |error: io::Error| self.damaged(archive, error.into());
        let size = object.size().map_err(failed)?;
        if size != archive.size {
            return Err(self.damaged(archive, other_size(size, archive)));
        }
        match run_of(&object.read_at(0, HEAD_BYTES).map_err(failed)?) {
            Some(run) if run == archive.holder.to_string() => Ok(()),
            found => Err(self.damaged(archive, other_run(found.as_deref(), archive))),
        }
    }
}

fn other_size(found: u64, archive: &ArchiveRecord) -> ReadError {
    let cut = if found < archive.size { " (it is truncated)" } else { "" };
    ReadError::Other {
        what: "size",
        found: format!("{}{cut}", plural(found, "byte")),
        expected: plural(archive.size, "byte"),
    }
}

fn other_run(found: Option<&str>, archive: &ArchiveRecord) -> ReadError {
    let found = found.map_or("none".to_owned(), |run| format!("`{run}`"));
    ReadError::Other { what: "run", found, expected: format!("`{}`", archive.holder) }
}

/// An object of a store, to be read from the middle.
struct ObjectAt {
    store: Arc<dyn ReadStore>,
    name: Name,
}

impl ReadAt for ObjectAt {
    fn size(&self) -> io::Result<u64> {
        let size = self.store.size(&self.name).map_err(io::Error::other)?;
        size.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not there, though its manifest is"))
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.store.read_range(&self.name, offset, len).map_err(|error| unread(offset, error))
    }
}

/// What a disk cannot read any more is damage to what lies there, and to nothing else.
fn unread(offset: u64, error: StoreError) -> io::Error {
    if error.kind == StoreErrorKind::Disk {
        let what = format!("the disk cannot read the bytes from {offset} on: {error}");
        return io::Error::other(Spoilt { offset, what });
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::{ReadError, StoreError, StoreErrorKind, io, unread};

    #[test]
    fn a_bad_sector_is_damage_and_a_store_that_is_away_is_not() {
        let read = |kind| {
            let (store, doing) = ("s".to_owned(), "read `x`".to_owned());
            let cause = io::Error::other("in the system's words");
            ReadError::from(unread(7, StoreError { store, doing, kind, cause }))
        };
        assert!(matches!(read(StoreErrorKind::Disk), ReadError::Damaged { offset: 7, .. }));
        assert!(matches!(read(StoreErrorKind::Unreachable), ReadError::Io(_)));
    }
}
