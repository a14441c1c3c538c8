//! Room that a store keeps for the day on which it has none left.
//!
//! To delete something safely, something is written first: a lease, and what is about to go. Where the disk is full to the last
//! byte that could not be done, and nothing would ever be freed again. So a few files of no meaning lie there, and one is
//! given up for such a write. Whoever finds none missing, or cannot make it anew, has lost nothing else.

use super::layout::Layout;
use crate::machine::random_bytes;
use crate::store::{Name, Store, StoreError, StoreErrorKind};

/// How many files: each gives back an inode, too.
pub const PIECES: u32 = 2;
/// Bytes of each, which nothing can make smaller.
const BYTES: usize = 64 << 10;

/// Makes what is missing, where the store's room can come to an end. Without it everything goes on until the disk is full:
/// that it cannot be made is no trouble of the caller's. Gives what was made.
pub fn keep(store: &dyn Store, layout: &Layout) -> Vec<Name> {
    let make = |name: &Name| store.create(name, &random_bytes::<BYTES>()).is_ok();
    missing(store, layout).into_iter().take_while(make).collect()
}

/// What of it is to be made. Reads only.
pub fn missing(store: &dyn Store, layout: &Layout) -> Vec<Name> {
    let pieces = if store.capabilities().fills_up { all(layout) } else { Vec::new() };
    pieces.into_iter().filter(|name| matches!(store.size(name), Ok(None))).collect()
}

/// All of it, as a store has it whose room can come to an end.
pub fn all(layout: &Layout) -> Vec<Name> {
    (0..PIECES).map(|piece| layout.reserve(piece)).collect()
}

/// Writes something small that a deletion rests on; where there is no room, in that of the reserve.
pub(super) fn within<T>(
    store: &dyn Store,
    layout: &Layout,
    mut work: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut pieces = all(layout).into_iter();
    loop {
        let error = match work() {
            Err(error) if is_about_room(&error) => error,
            done => return done,
        };
        let is_given = |name| matches!(store.size(&name), Ok(Some(_))) && store.delete(&name).is_ok();
        if !pieces.by_ref().any(is_given) {
            return Err(error);
        }
    }
}

/// What may not become as large ([`StoreErrorKind::TooLarge`]) gets no room by what others give up.
fn is_about_room(error: &StoreError) -> bool {
    error.kind == StoreErrorKind::Full
}
