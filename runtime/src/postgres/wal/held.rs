//! The files of an archive: what they say of themselves, and what they hold.

use std::io;
use std::sync::Arc;

use super::WalError;
use super::archive::Archive;
use super::cluster::{ClusterId, PageHead};
use super::name::WalName;
use super::object::{self, Closing, ObjectError};
use super::sealed;
use super::survey::{Fork, forks};
use crate::artefact::ReadAt;
use crate::cipher::{UnsealError, Unsealed};
use crate::store::{Name, Object, Store, StoreError, StoreErrorKind};

/// A file that would take more bytes is read a window at a time.
const WHOLE: u64 = 64 << 20;

/// A file that an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldFile {
    /// Bytes that it takes.
    pub size: u64,
    /// Whether it is encrypted.
    pub is_sealed: bool,
}

impl HeldFile {
    /// The file that an object is.
    pub(super) fn of_object(found: &Object) -> Option<(WalName, HeldFile)> {
        let (name, is_sealed) = WalName::of_object(&found.name)?;
        Some((name, HeldFile { size: found.size, is_sealed }))
    }

    /// Its object.
    pub(super) fn object(self, cluster: &ClusterId, name: WalName) -> Name {
        object_of(cluster, name, self.is_sealed)
    }
}

fn object_of(cluster: &ClusterId, name: WalName, is_sealed: bool) -> Name {
    Name::known(cluster.to_string()).join(&name.object(is_sealed))
}

impl Archive {
    /// A file that it has; `None`: it has it not.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn find(&self, cluster: &ClusterId, name: WalName) -> Result<Option<HeldFile>, WalError> {
        for is_sealed in self.forms() {
            if let Some(size) = self.store.size(&object_of(cluster, name, is_sealed))? {
                return Ok(Some(HeldFile { size, is_sealed }));
            }
        }
        Ok(None)
    }

    /// How a file may lie there, the likelier way first.
    fn forms(&self) -> [bool; 2] {
        let is_sealed = self.is_sealing() || !self.keys.is_empty();
        [is_sealed, !is_sealed]
    }

    /// What a file says of itself. Nothing is decrypted for that.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn closing(&self, cluster: &ClusterId, name: WalName, held: HeldFile) -> Result<Closing, WalError> {
        let file = self.bytes_of(cluster, name, held, false);
        let closing = match held.is_sealed {
            true => sealed::read(&file).map(|label| label.closing),
            false => object::closing(&file),
        };
        closing.map_err(|cause| self.bad(name, cause))
    }

    /// Decodes a file, and checks it to its last byte; a segment is to be the one that it is called.
    ///
    /// # Errors
    /// When it is not what was archived, or `take` fails.
    pub fn read(
        &self,
        cluster: &ClusterId,
        name: WalName,
        held: HeldFile,
        take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Closing, WalError> {
        let file = self.bytes_of(cluster, name, held, self.is_far());
        self.decode((cluster, name), file, held.is_sealed, take).map_err(|cause| self.bad(name, cause))
    }

    /// Finds a file and reads it, with one request where it is far away; `None`: it is not there.
    ///
    /// # Errors
    /// As [`Archive::read`].
    pub fn fetch(
        &self,
        cluster: &ClusterId,
        name: WalName,
        take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Option<Closing>, WalError> {
        if !self.is_far() {
            let Some(held) = self.find(cluster, name)? else { return Ok(None) };
            return self.read(cluster, name, held, take).map(Some);
        }
        for is_sealed in self.forms() {
            let object = object_of(cluster, name, is_sealed);
            let bytes = match self.store.read_range(&object, 0, WHOLE as usize) {
                Err(error) if error.kind == StoreErrorKind::NotFound => continue,
                bytes => bytes?,
            };
            if bytes.len() as u64 == WHOLE {
                let size = self.store.size(&object)?.unwrap_or(WHOLE);
                return self.read(cluster, name, HeldFile { size, is_sealed }, take).map(Some);
            }
            let read = self.decode((cluster, name), object::Memory(bytes), is_sealed, take);
            return read.map(Some).map_err(|cause| self.bad(name, cause));
        }
        Ok(None)
    }

    /// Reads a file to its last byte, and sees that it is what was archived; one that is encrypted and does not open with the
    /// keys that there are, that it is what was brought there. Whether it was opened.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, cluster: &ClusterId, name: WalName, held: HeldFile) -> Result<bool, WalError> {
        if !held.is_sealed || !self.keys.is_empty() {
            match self.read(cluster, name, held, |_| Ok(())) {
                // Another key opens it, as where the plan has changed its own.
                Err(WalError::Object { cause: ObjectError::NoKey, .. }) => {}
                read => return read.map(|_| true),
            }
        }
        let file = self.bytes_of(cluster, name, held, self.is_far());
        sealed::check(&file).map(|()| false).map_err(|cause| self.bad(name, cause))
    }

    /// The forks that a history tells of, and what it says of itself.
    ///
    /// # Errors
    /// When it is not what was archived.
    pub fn forks(
        &self,
        cluster: &ClusterId,
        name: WalName,
        held: HeldFile,
    ) -> Result<(Vec<Fork>, Closing), WalError> {
        if held.is_sealed {
            let label = sealed::read(&self.bytes_of(cluster, name, held, false));
            let label = label.map_err(|cause| self.bad(name, cause))?;
            return Ok((label.forks, label.closing));
        }
        let mut text = Vec::new();
        let closing = self.read(cluster, name, held, |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok((forks(&String::from_utf8_lossy(&text)), closing))
    }

    /// Gives a file's bytes as they lie in the store.
    pub(super) fn raw(
        &self,
        cluster: &ClusterId,
        name: WalName,
        held: HeldFile,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        const PIECE: u64 = 1 << 24;
        let (object, mut at) = (held.object(cluster, name), 0);
        while at < held.size {
            let length = usize::try_from(PIECE.min(held.size - at)).unwrap_or(1);
            let bytes = self.store.read_range(&object, at, length).map_err(io::Error::other)?;
            if bytes.len() != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            take(&bytes)?;
            at += length as u64;
        }
        Ok(())
    }

    fn decode(
        &self,
        (cluster, name): (&ClusterId, WalName),
        file: impl ReadAt + 'static,
        is_sealed: bool,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Closing, ObjectError> {
        let (mut head, mut length) = (Vec::new(), 0);
        let seen = |bytes: &[u8]| {
            let missing = PageHead::BYTES - head.len();
            head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
            length += bytes.len() as u64;
            take(bytes)
        };
        let closing = match is_sealed {
            false => object::read(&file, seen),
            true => {
                let opened = Unsealed::open(Arc::new(file), &self.keys).map_err(|error| match error {
                    UnsealError::Io(error) => object::of_read(error),
                    UnsealError::NoKey => ObjectError::NoKey,
                    UnsealError::Damaged(what) => ObjectError::Seal(what),
                })?;
                object::read(&opened, seen)
            }
        }?;
        if let WalName::Segment(segment) = name {
            PageHead::see(head.first_chunk().and_then(PageHead::of), length, cluster, segment)?;
        }
        Ok(closing)
    }

    fn bytes_of(&self, cluster: &ClusterId, name: WalName, held: HeldFile, is_whole: bool) -> Bytes {
        let (store, object) = (Arc::clone(&self.store), held.object(cluster, name));
        Bytes { store, object, size: held.size, window: is_whole.then(Default::default) }
    }
}

/// An object's bytes, wherever they are.
struct Bytes {
    store: Arc<dyn Store>,
    object: Name,
    size: u64,
    /// What was read last, and where it begins; `None`: each read is for itself.
    window: Option<std::sync::Mutex<(u64, Vec<u8>)>>,
}

impl Bytes {
    fn straight(&self, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.store.read_range(&self.object, offset, len)
    }
}

impl ReadAt for Bytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let Some(window) = &self.window else { return self.straight(offset, len).map_err(io::Error::other) };
        let mut window = window.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let end = offset.saturating_add(len as u64).min(self.size);
        let is_in = |(from, bytes): &(u64, Vec<u8>)| *from <= offset && end <= from + bytes.len() as u64;
        if !is_in(&window) {
            let from = if self.size <= WHOLE { 0 } else { offset };
            let most = (self.size.saturating_sub(from)).min(WHOLE).max(len as u64) as usize;
            *window = (from, self.straight(from, most).map_err(io::Error::other)?);
        }
        let (from, bytes) = &*window;
        let start = usize::try_from(offset.saturating_sub(*from)).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..bytes.len().min(start.saturating_add(len))].to_vec())
    }
}
