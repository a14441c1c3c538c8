//! Files on their way into an archive: whole in one request where a store is far away, and encrypted where the plan says so.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::name::WalName;
use super::object::{self, Memory};
use super::sealed;
use super::survey::{Fork, forks};
use crate::store::send::send_range;
use crate::store::{Creation, Name, Store, StoreError, StoreErrorKind, Upload};

/// A file of more bytes is sent as an artefact is. A usual segment has a quarter of it at the most.
const WHOLE: usize = 64 << 20;

/// A file that is sent when it is whole, in one request that creates it if it is not there.
#[derive(Debug)]
pub(super) struct WholeUpload {
    store: Arc<dyn Store>,
    name: Name,
    bytes: Vec<u8>,
    /// How many will come at the most, where somebody knows.
    about: Option<u64>,
    /// Once there were too many bytes.
    large: Option<Box<dyn Upload>>,
}

impl WholeUpload {
    pub(super) fn new(store: Arc<dyn Store>, name: Name, about: Option<u64>) -> WholeUpload {
        WholeUpload { store, name, bytes: Vec::new(), about, large: None }
    }
}

fn failed(store: &str, name: &str, cause: io::Error) -> StoreError {
    let doing = format!("write `{name}`");
    StoreError { store: store.to_owned(), doing, kind: StoreErrorKind::Other, cause }
}

fn unpatched(store: &str, name: &str) -> StoreError {
    failed(store, name, io::Error::new(io::ErrorKind::InvalidInput, "a file of the log is never patched"))
}

impl Upload for WholeUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if let Some(large) = &mut self.large {
            return large.write(bytes);
        }
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > WHOLE {
            let mut large = self.store.upload(&self.name, &self.name, self.about)?;
            large.write(&std::mem::take(&mut self.bytes))?;
            self.large = Some(large);
        }
        Ok(())
    }

    fn patch(&mut self, _: u64, _: &[u8]) -> Result<(), StoreError> {
        Err(unpatched(self.store.label(), self.name.as_str()))
    }

    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), StoreError> {
        let (store, name) = (Arc::clone(&self.store), self.name.clone());
        send_range(from, offset, len, self, &|cause| failed(store.label(), name.as_str(), cause))
    }

    fn finish(self: Box<Self>) -> Result<Creation, StoreError> {
        match self.large {
            Some(large) => large.finish(),
            None => self.store.create(&self.name, &self.bytes),
        }
    }
}

/// A file that is encrypted when it is whole, as the digest of what is encrypted stands before it.
#[derive(Debug)]
pub(super) struct SealedUpload {
    upload: Box<dyn Upload>,
    recipients: Vec<String>,
    store: String,
    name: WalName,
    packed: Vec<u8>,
}

impl SealedUpload {
    pub(super) fn new(
        upload: Box<dyn Upload>,
        recipients: &[String],
        store: &str,
        name: WalName,
    ) -> SealedUpload {
        let (recipients, store) = (recipients.to_vec(), store.to_owned());
        SealedUpload { upload, recipients, store, name, packed: Vec::new() }
    }
}

/// A file that was compressed, encrypted.
pub(super) fn sealed(packed: Vec<u8>, name: WalName, recipients: &[String]) -> io::Result<Vec<u8>> {
    let packed = Memory(packed);
    let closing = object::closing(&packed).map_err(io::Error::other)?;
    let forks = match name {
        WalName::History(_) => forks_in(&packed)?,
        _ => Vec::new(),
    };
    sealed::seal(&packed.0, &closing, &forks, recipients)
}

fn forks_in(packed: &Memory) -> io::Result<Vec<Fork>> {
    let mut text = Vec::new();
    let read = object::read(packed, |bytes| {
        text.extend_from_slice(bytes);
        Ok(())
    });
    read.map_err(io::Error::other)?;
    Ok(forks(&String::from_utf8_lossy(&text)))
}

impl Upload for SealedUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.packed.extend_from_slice(bytes);
        Ok(())
    }

    fn patch(&mut self, _: u64, _: &[u8]) -> Result<(), StoreError> {
        Err(unpatched(&self.store, &self.name.to_string()))
    }

    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), StoreError> {
        let (store, name) = (self.store.clone(), self.name.to_string());
        send_range(from, offset, len, self, &|cause| failed(&store, &name, cause))
    }

    fn finish(mut self: Box<Self>) -> Result<Creation, StoreError> {
        let packed = std::mem::take(&mut self.packed);
        let sealed = sealed(packed, self.name, &self.recipients);
        let bytes = sealed.map_err(|cause| failed(&self.store, &self.name.to_string(), cause))?;
        self.upload.write(&bytes)?;
        self.upload.finish()
    }
}
