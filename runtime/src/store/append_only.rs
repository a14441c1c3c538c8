//! A store from which this host deletes no backup, whatever the code above believes: the last line behind `append_only`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Capabilities, Creation, Entry, Name, Object, ReadStore, Store, StoreError, StoreErrorKind, Upload,
};
use crate::control::Control;

/// A store that keeps every backup. Only Backplan's own books (intents, temporaries, leases) can be deleted.
#[derive(Debug)]
pub struct AppendOnly(pub Arc<dyn Store>);

/// Whether this is (part of) a backup: a manifest, or anything outside Backplan's own folder.
pub fn is_backup(name: &Name) -> bool {
    let mut parts = name.as_str().split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(".backplan"), Some(_), Some(part)) => part == "manifests" || part == "format.yaml",
        _ => true,
    }
}

impl ReadStore for AppendOnly {
    fn label(&self) -> &str {
        self.0.label()
    }

    fn read(&self, name: &Name) -> Result<Vec<u8>, StoreError> {
        self.0.read(name)
    }

    fn read_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.0.read_range(name, offset, len)
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.0.size(name)
    }

    fn each(&self, folder: Option<&Name>, take: &mut dyn FnMut(Object)) -> Result<(), StoreError> {
        self.0.each(folder, take)
    }

    fn entries(&self, folder: &Name) -> Result<Vec<Entry>, StoreError> {
        self.0.entries(folder)
    }

    fn root(&self) -> Result<Vec<Entry>, StoreError> {
        self.0.root()
    }

    fn may_write(&self) -> Result<(), StoreError> {
        self.0.may_write()
    }

    fn strange(&self, folder: Option<&Name>) -> Result<Vec<Name>, StoreError> {
        self.0.strange(folder)
    }
}

impl Store for AppendOnly {
    fn capabilities(&self) -> Capabilities {
        Capabilities { delete: false, ..self.0.capabilities() }
    }

    fn in_place(&self) -> Result<(), StoreError> {
        self.0.in_place()
    }

    fn create(&self, name: &Name, bytes: &[u8]) -> Result<Creation, StoreError> {
        self.0.create(name, bytes)
    }

    fn replace(&self, name: &Name, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.replace(name, bytes)
    }

    fn upload(
        &self,
        name: &Name,
        temporary: &Name,
        about: Option<u64>,
    ) -> Result<Box<dyn Upload>, StoreError> {
        self.0.upload(name, temporary, about)
    }

    fn put_file(
        &self,
        file: &Path,
        temporary: &Name,
        name: &Name,
        control: &Control,
    ) -> Result<Creation, StoreError> {
        self.0.put_file(file, temporary, name, control)
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        if !is_backup(name) {
            return self.0.delete(name);
        }
        Err(StoreError {
            store: self.label().to_owned(),
            doing: format!("delete `{name}`"),
            kind: StoreErrorKind::Denied,
            cause: io::Error::new(io::ErrorKind::PermissionDenied, "the store is `append_only`"),
        })
    }

    fn give_up(&self, name: &Name) -> Result<u64, StoreError> {
        self.0.give_up(name)
    }

    fn hold(&self, name: &Name, until: Timestamp) -> Result<bool, StoreError> {
        self.0.hold(name, until)
    }

    fn sweep(&self, folder: &Name) -> Result<u64, StoreError> {
        self.0.sweep(folder)
    }
}
