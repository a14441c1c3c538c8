//! Leases that this process holds no more and could not give back, as their store was away just then. They name a process that
//! lives, this one; that nobody has them it alone knows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ids::Nonce;

/// Each by its nonce, with its last heartbeats: a copy of this process, made while it held one, goes on with others.
static LEFT: Mutex<Option<HashMap<Nonce, VecDeque<Nonce>>>> = Mutex::new(None);

fn left() -> MutexGuard<'static, Option<HashMap<Nonce, VecDeque<Nonce>>>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers one, by the heartbeats that were sent.
pub(super) fn add(lease: Nonce, sent: VecDeque<Nonce>) {
    left().get_or_insert_default().insert(lease, sent);
}

/// Whether a lease with this heartbeat is one of them.
pub(super) fn have(lease: Nonce, beat: Option<Nonce>) -> bool {
    let (left, Some(beat)) = (left(), beat) else { return false };
    left.as_ref().and_then(|left| left.get(&lease)).is_some_and(|sent| sent.contains(&beat))
}
