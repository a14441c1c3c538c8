//! Locking a store.

use backplan_compiler::model::{Absent, Store};

use crate::catalog::identity::IdentityError;
use crate::run::coordinator::Failure;

/// A store that is away: the run goes on without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Why.
    pub reason: String,
    /// Whether a person should read of it.
    pub is_told: bool,
}

/// What a store that cannot be used means for the run.
///
/// # Errors
/// Where the run, or this store's part of it, fails.
pub(crate) fn absent(declared: &Store, error: &IdentityError) -> Result<Dropped, Failure> {
    let dropped = |is_told| Ok(Dropped { reason: error.to_string(), is_told });
    match declared.absent {
        _ if !is_away(error) => Err(Failure::lasting(error)),
        Absent::Fail => Err(Failure::fatal(error)),
        Absent::Skip => dropped(false),
        Absent::Warn => dropped(true),
    }
}

/// Whether a store is not there, or does not answer.
pub(crate) fn is_away(error: &IdentityError) -> bool {
    match error {
        IdentityError::FolderMissing { .. } => true,
        IdentityError::Store(error) => error.kind.is_away(),
        _ => false,
    }
}
