//! A folder of a store, as if it were a store of its own.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Capabilities, Creation, Entry, Name, Object, ReadStore, Store, StoreError, Upload};
use crate::control::Control;

/// A folder of a store. Messages name objects as the store does.
#[derive(Debug)]
pub struct Below {
    store: Arc<dyn Store>,
    folder: Name,
}

impl Below {
    /// The folder of that name, which need not be there.
    pub fn new(store: Arc<dyn Store>, folder: Name) -> Below {
        Below { store, folder }
    }

    /// What stands directly in it, by the names that it has there.
    ///
    /// # Errors
    /// When the listing could not be made whole.
    pub fn top(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.own(self.store.entries(&self.folder)?, |entry| &mut entry.name))
    }

    fn at(&self, name: &Name) -> Name {
        self.folder.join(name)
    }

    /// What was found, under its names in this folder.
    fn own<T>(&self, found: Vec<T>, name: impl Fn(&mut T) -> &mut Name) -> Vec<T> {
        let prefix = format!("{}/", self.folder);
        let own = |mut found: T| {
            let place = name(&mut found);
            *place = Name::new(place.as_str().strip_prefix(&prefix)?).ok()?;
            Some(found)
        };
        found.into_iter().filter_map(own).collect()
    }
}

impl ReadStore for Below {
    fn label(&self) -> &str {
        self.store.label()
    }

    fn read(&self, name: &Name) -> Result<Vec<u8>, StoreError> {
        self.store.read(&self.at(name))
    }

    fn read_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.store.read_range(&self.at(name), offset, len)
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.store.size(&self.at(name))
    }

    fn each(&self, folder: Option<&Name>, take: &mut dyn FnMut(Object)) -> Result<(), StoreError> {
        let at = folder.map_or_else(|| self.folder.clone(), |folder| self.at(folder));
        self.store.each(Some(&at), &mut |found| {
            self.own(vec![found], |object| &mut object.name).into_iter().for_each(&mut *take);
        })
    }

    fn entries(&self, folder: &Name) -> Result<Vec<Entry>, StoreError> {
        Ok(self.own(self.store.entries(&self.at(folder))?, |entry| &mut entry.name))
    }

    fn root(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.own(self.store.entries(&self.folder)?, |entry| &mut entry.name))
    }

    fn may_write(&self) -> Result<(), StoreError> {
        self.store.may_write()
    }

    fn strange(&self, folder: Option<&Name>) -> Result<Vec<Name>, StoreError> {
        let at = folder.map_or_else(|| self.folder.clone(), |folder| self.at(folder));
        Ok(self.own(self.store.strange(Some(&at))?, |name| name))
    }
}

impl Store for Below {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn in_place(&self) -> Result<(), StoreError> {
        self.store.in_place()
    }

    fn create(&self, name: &Name, bytes: &[u8]) -> Result<Creation, StoreError> {
        self.store.create(&self.at(name), bytes)
    }

    fn replace(&self, name: &Name, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.replace(&self.at(name), bytes)
    }

    fn upload(
        &self,
        name: &Name,
        temporary: &Name,
        about: Option<u64>,
    ) -> Result<Box<dyn Upload>, StoreError> {
        self.store.upload(&self.at(name), &self.at(temporary), about)
    }

    fn put_file(
        &self,
        file: &Path,
        temporary: &Name,
        name: &Name,
        control: &Control,
    ) -> Result<Creation, StoreError> {
        self.store.put_file(file, &self.at(temporary), &self.at(name), control)
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        self.store.delete(&self.at(name))
    }

    fn give_up(&self, name: &Name) -> Result<u64, StoreError> {
        self.store.give_up(&self.at(name))
    }

    fn hold(&self, name: &Name, until: Timestamp) -> Result<bool, StoreError> {
        self.store.hold(&self.at(name), until)
    }

    fn sweep(&self, folder: &Name) -> Result<u64, StoreError> {
        self.store.sweep(&self.at(folder))
    }
}
