//! The one door to stores: nothing else asks of what kind a store is to read or write it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use backplan_compiler::model::{Store as Declared, StoreKind};

use super::append_only::AppendOnly;
use super::bucket::BucketStore;
use super::dir::DirStore;
use super::{Store, StoreError, StoreErrorKind};
use crate::run::secrets::Secrets;

/// Opens a store that is there, as this host may use it.
///
/// # Errors
/// [`StoreErrorKind::Absent`] where its place is not there and [`make`] might make it.
pub fn open(declared: &Declared, secrets: &Secrets) -> Result<Arc<dyn Store>, StoreError> {
    guarded(declared, secrets, &|label, folder| DirStore::open(label, folder))
}

/// Opens a store, and makes its place first if need be. Whether it may be made is for the identity to decide: a missing
/// place can mean that a disk is not mounted.
///
/// # Errors
/// [`StoreErrorKind::Absent`] where what it is to be in is not there.
pub fn make(declared: &Declared, secrets: &Secrets) -> Result<Arc<dyn Store>, StoreError> {
    guarded(declared, secrets, &|label, folder| DirStore::create(label, folder))
}

/// What [`make`] would do, in words; `None`: it could not.
pub fn would_make(declared: &Declared) -> Option<String> {
    let folder = declared.folder()?;
    folder.parent()?.is_dir().then(|| format!("the folder `{}` would be made", folder.display()))
}

fn guarded(
    declared: &Declared,
    secrets: &Secrets,
    folder: &dyn Fn(&str, &Path) -> Result<DirStore, StoreError>,
) -> Result<Arc<dyn Store>, StoreError> {
    let store: Arc<dyn Store> = match &declared.kind {
        StoreKind::Dir { path } => Arc::new(folder(&declared.name, path)?),
        StoreKind::S3 { .. } | StoreKind::Azblob { .. } | StoreKind::Gcs { .. } => {
            Arc::new(BucketStore::open(declared, secrets)?)
        }
        StoreKind::Sftp { .. } => {
            return Err(StoreError {
                store: declared.name.clone(),
                doing: format!("open `{}`", declared.location()),
                kind: StoreErrorKind::Other,
                cause: io::Error::new(
                    io::ErrorKind::Unsupported,
                    "this version opens folders and buckets only",
                ),
            });
        }
    };
    Ok(if declared.append_only { Arc::new(AppendOnly(store)) } else { store })
}
