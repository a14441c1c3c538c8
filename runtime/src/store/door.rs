//! The one door to stores: nothing else asks of what kind a store is to read or write it.

use std::sync::Arc;

use backplan_compiler::model::{Store as Declared, StoreKind};

use super::append_only::AppendOnly;
use super::bucket::BucketStore;
use super::dir::DirStore;
use super::sftp::SftpStore;
use super::{Store, StoreError};
use crate::programs::secrets::Secrets;

/// Opens a store that is there, as this host may use it.
///
/// # Errors
/// [`Absent`](super::StoreErrorKind::Absent) where its place is not there and [`make`] might make it.
pub fn open(declared: &Declared, secrets: &Secrets) -> Result<Arc<dyn Store>, StoreError> {
    guarded(declared, secrets, Patience::Long, false)
}

/// The same, for somebody who waits so long.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    declared: &Declared,
    secrets: &Secrets,
    patience: Patience,
) -> Result<Arc<dyn Store>, StoreError> {
    guarded(declared, secrets, patience, false)
}

/// How long one waits for a store that does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Patience {
    /// A run, which has hours.
    #[default]
    Long,
    /// A server that waits for one file of its log, and asks again by itself. That the store keeps the condition of a creation
    /// was seen when what it writes to was made.
    Short,
}

/// Opens a store, and makes its place first if need be. Whether it may be made is for the identity to decide: a missing
/// place can mean that a disk is not mounted.
///
/// # Errors
/// [`Absent`](super::StoreErrorKind::Absent) where what it is to be in is not there.
pub fn make(declared: &Declared, secrets: &Secrets) -> Result<Arc<dyn Store>, StoreError> {
    guarded(declared, secrets, Patience::Long, true)
}

/// What [`make`] would do, in words; `None`: it could not.
pub fn would_make(declared: &Declared) -> Option<String> {
    let may = match declared.folder() {
        // A link to nothing is in the way.
        Some(folder) => folder.symlink_metadata().is_err() && folder.parent()?.is_dir(),
        None => matches!(declared.kind, StoreKind::Sftp { .. }) && SftpStore::may_make(declared),
    };
    may.then(|| format!("the folder `{}` would be made", declared.location()))
}

fn guarded(
    declared: &Declared,
    secrets: &Secrets,
    patience: Patience,
    may_make: bool,
) -> Result<Arc<dyn Store>, StoreError> {
    let store: Arc<dyn Store> = match &declared.kind {
        StoreKind::Dir { path } if may_make => Arc::new(DirStore::create(&declared.name, path)?),
        StoreKind::Dir { path } => Arc::new(DirStore::open(&declared.name, path)?),
        StoreKind::S3 { .. } | StoreKind::Azblob { .. } | StoreKind::Gcs { .. } => {
            Arc::new(BucketStore::open(declared, secrets, patience)?)
        }
        StoreKind::Sftp { .. } if may_make => Arc::new(SftpStore::connect_or_make(declared)?),
        StoreKind::Sftp { .. } => Arc::new(SftpStore::connect(declared)?),
    };
    Ok(if declared.append_only { Arc::new(AppendOnly(store)) } else { store })
}
