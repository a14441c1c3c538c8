//! Which run an artefact says it is of: what a cleanup asks before it deletes anything.

use crate::artefact::run_of;
use crate::catalog::ids::RunId;

/// The run that an artefact's first bytes name.
pub fn mark(head: &[u8]) -> Option<RunId> {
    run_of(head)?.parse().ok()
}
