//! Where the sources of a plan end up.

use std::collections::BTreeMap;

use crate::model::{Model, SourceId};

/// How a store holds a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Whether all that it has of it is encrypted.
    pub encrypted: bool,
    /// Whether it counts as standing elsewhere.
    pub offsite: bool,
}

/// The stores that hold a source, by name.
pub fn of(model: &Model, source: SourceId) -> BTreeMap<&str, Held> {
    let archives = model.archives.iter().filter(|archive| archive.from.contains(&source));
    let archived =
        archives.flat_map(|archive| archive.to.iter().map(|to| (*to, !archive.encrypt.is_empty())));
    let separates = model.separates.iter().filter(|separate| separate.source == source);
    let separate = separates.flat_map(|one| one.to.iter().map(|to| (*to, one.passphrase.is_some())));
    let mut held: BTreeMap<&str, Held> = BTreeMap::new();
    for (id, encrypted) in archived.chain(separate) {
        let store = model.store(id);
        let entry = held.entry(&store.name).or_insert(Held { encrypted, offsite: store.offsite });
        entry.encrypted &= encrypted;
    }
    held
}
