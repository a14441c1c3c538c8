//! Numbers of runs: how high they are in a store, and how high they can be.

use super::identity::IdentityError;
use super::ids::{MAX_SEQUENCE, RunId};
use super::layout::Layout;
use crate::store::{Entry, ReadStore};

/// How far the numbers of runs can have gone on in a store since this host last made one.
const LEAP: u32 = 1_000_000;

/// The highest sequence that a store can have seen, where this host remembers one: whoever may write to a store would else end
/// the plan's numbers for all.
pub fn most_believed(remembered: u32, adopt: bool) -> u32 {
    let most = if remembered == 0 || adopt { MAX_SEQUENCE / 2 } else { 0 };
    most.max(remembered.saturating_add(LEAP)).min(MAX_SEQUENCE - 1)
}

/// The highest sequence that a store has seen: in a manifest, an intent or a tombstone; but for this run's `own`.
///
/// # Errors
/// When it cannot be listed; when a number in it is higher than `most`.
pub fn highest_in(
    store: &dyn ReadStore,
    layout: &Layout,
    most: u32,
    own: Option<&RunId>,
) -> Result<u32, IdentityError> {
    let mut highest = 0;
    for folder in [layout.manifests(), layout.intents(), layout.tombstones()] {
        for Entry { name, .. } in store.entries(&folder)? {
            let run = layout.run_of_manifest(&name).or_else(|| layout.run_of_intent(&name));
            let Some(run) = run.or_else(|| layout.run_of_tombstone(&name)) else { continue };
            if Some(&run) == own {
                continue;
            }
            if run.sequence() > most {
                let (store, object) = (store.label().to_owned(), name.to_string());
                return Err(IdentityError::Beyond { store, object });
            }
            highest = highest.max(run.sequence());
        }
    }
    Ok(highest)
}
