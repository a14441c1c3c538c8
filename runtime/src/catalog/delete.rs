//! Deleting a run. Tombstone, manifest, artefacts that no other manifest names, sums, tombstone away: the backup is gone from
//! the manifest on, and whoever finds the tombstone finishes.

use super::ids::RunId;
use super::layout::Layout;
use super::lock::{Lease, LockError};
use super::manifest::FORMAT;
use super::recover::{Intended, Leftover, Mark, Memory, Scene, Tombstone, deletions, read_record};
use super::reserve;
use super::runs::Catalog;
use crate::store::{Creation, Name, Store, StoreError};

/// Why a run was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lease.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no such run.
    #[error("run `{0}` is not there")]
    Unknown(RunId),
    /// Other runs need it.
    #[error("run `{run}` is needed by run `{by}`")]
    Needed {
        /// The run.
        run: RunId,
        /// One that rests on it.
        by: RunId,
    },
    /// This later run may need it.
    #[error("nothing is deleted that run `{0}` may need, whose manifest cannot be read")]
    Unreadable(RunId),
    /// The tombstone cannot be written.
    #[error("the tombstone of run `{run}` cannot be written: {cause}")]
    Tombstone {
        /// The run.
        run: RunId,
        /// Why.
        cause: String,
    },
}

/// What a deletion did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleted {
    /// What is gone, in order.
    pub deleted: Vec<Name>,
    /// What the run named and is left alone.
    pub left: Vec<Leftover>,
}

/// Deletes a run, under the lease. The catalog must have been read under the same lease, and forgets the run.
///
/// # Errors
/// [`DeleteError::Needed`] and [`DeleteError::Unreadable`] before anything is touched; what a failing store leaves, the next
/// recovery deletes.
pub fn delete_run(
    store: &dyn Store,
    layout: &Layout,
    lease: &Lease,
    catalog: &mut Catalog,
    run: &RunId,
    (mark, memory): (&Mark, &dyn Memory),
) -> Result<Deleted, DeleteError> {
    let tombstone = doom(catalog, run)?;
    lease.confirm()?;
    let text = yaml_serde::to_string(&tombstone)
        .map_err(|error| DeleteError::Tombstone { run: *run, cause: error.to_string() })?;
    let name = layout.tombstone(run);
    // One may be there from a deletion that was cut: it lists what the same manifest has.
    if reserve::within(store, layout, || store.create(&name, text.as_bytes()))? == Creation::Exists
        && read_record::<Tombstone>(store, &name)?.as_ref() != Some(&tombstone)
    {
        let cause = format!("something else is there as `{name}`: look at it, and move it away");
        return Err(DeleteError::Tombstone { run: *run, cause });
    }
    let scene = Scene { store, layout, mark, memory, catalog };
    let (deletes, left) = deletions(&scene, &tombstone, is_made(&scene, run))?;
    lease.confirm()?;
    let mut deleted = Vec::new();
    for name in deletes {
        store.delete(&name)?;
        deleted.push(name);
    }
    catalog.remove(run);
    Ok(Deleted { deleted, left })
}

/// Whether this host made a run as its manifest is there.
pub(super) fn is_made(scene: &Scene<'_>, run: &RunId) -> bool {
    scene.catalog.digest(run).is_some_and(|digest| scene.memory.has_made(run, digest))
}

/// The tombstone of a run that may be deleted.
pub(super) fn doom(catalog: &Catalog, run: &RunId) -> Result<Tombstone, DeleteError> {
    if let Some(by) = catalog.may_be_needed_by(run) {
        return Err(DeleteError::Unreadable(*by));
    }
    let manifest = catalog.get(run).ok_or(DeleteError::Unknown(*run))?;
    if let Some(by) = catalog.resting_on(run).next() {
        return Err(DeleteError::Needed { run: *run, by: *by });
    }
    let artefacts = manifest.archives.iter().map(|archive| Intended {
        artefact: archive.artefact.to_string(),
        mark: archive.holder,
        size: Some(archive.size),
    });
    Ok(Tombstone { format: FORMAT, run: *run, artefacts: artefacts.collect() })
}
