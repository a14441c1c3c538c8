//! What is immutable in a store, held by the store itself where it can: whoever gets hold of this host's keys deletes nothing of
//! it for good then. A run is held until it is as old as its store says; what it rests on is held as long.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::layout::Layout;
use super::manifest::Manifest;
use super::runs::{Problem, read_manifest};
use crate::store::{Name, Store, StoreError};

/// What a run has the store hold, until when.
pub struct Hold {
    store: Arc<dyn Store>,
    until: Timestamp,
    /// Before its manifest is there: artefacts, and all of what it rests on.
    before: BTreeSet<Name>,
    manifest: Name,
}

impl Hold {
    /// What is held of a run in a store that is immutable for so many seconds. Reads the manifests of what it rests on.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn of(
        store: Arc<dyn Store>,
        layout: &Layout,
        manifest: &Manifest,
        immutable: u64,
    ) -> Result<Hold, StoreError> {
        let young = SignedDuration::from_secs(i64::try_from(immutable).unwrap_or(i64::MAX));
        let until = manifest.started.checked_add(young).unwrap_or(Timestamp::MAX);
        let artefacts = |of: &Manifest| of.archives.iter().map(|it| it.artefact.object()).collect::<Vec<_>>();
        let mut before = BTreeSet::from_iter(artefacts(manifest));
        for base in manifest.rests_on() {
            match read_manifest(&*store, layout, &base) {
                Ok(Some(of)) => before.extend(artefacts(&of)),
                // The commit that follows looks for it, and says so.
                Ok(None) | Err(Problem::Manifest(_)) => {}
                Err(Problem::Store(error)) => return Err(error),
            }
            before.insert(layout.manifest(&base));
        }
        Ok(Hold { store, until, before, manifest: layout.manifest(&manifest.run) })
    }

    /// Has all but the run's own manifest held, before that is there: a run that exists is held.
    ///
    /// # Errors
    /// In words, why something is not known to be held. The run is no worse than in a store that holds nothing.
    pub fn before(&self) -> Result<(), String> {
        for name in &self.before {
            // A store that holds nothing holds none of the others either.
            if !self.store.hold(name, self.until).map_err(told)? {
                break;
            }
        }
        Ok(())
    }

    /// Has the run's manifest held.
    ///
    /// # Errors
    /// As [`Hold::before`].
    pub fn after(&self) -> Result<(), String> {
        self.store.hold(&self.manifest, self.until).map(drop).map_err(told)
    }
}

fn told(error: StoreError) -> String {
    format!(
        "{error}; the keys need the rights `s3:PutObjectRetention` and `s3:GetObjectRetention`: until then nothing but `plan` \
         itself keeps this run from being deleted there"
    )
}
