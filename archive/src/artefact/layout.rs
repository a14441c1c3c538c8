//! Entries in the order in which they stand in the artefact, while the index has them in path order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Artefact, Entry, ReadError};

/// Decoded blocks kept: about 300 KiB each.
const CACHED: usize = 48;

/// Where an entry stands, in 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placement {
    /// Number of its first member.
    pub member: u32,
    /// Offset of its header in it.
    pub start: u32,
    /// Block of the index.
    pub block: u32,
    /// Row in that block.
    pub row: u32,
    /// Its number, in path order, among all that is gone through.
    pub order: u32,
}

/// Blocks of entries, the most recent kept.
pub struct Blocks<'a> {
    artefact: &'a Artefact,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    blocks: HashMap<u32, Arc<Vec<Entry>>>,
    order: VecDeque<u32>,
}

impl<'a> Blocks<'a> {
    /// Of this artefact.
    pub fn new(artefact: &'a Artefact) -> Blocks<'a> {
        Blocks { artefact, cache: Mutex::default() }
    }

    /// A block's entries.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, block: u32) -> Result<Arc<Vec<Entry>>, ReadError> {
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entries) = lock().blocks.get(&block) {
            return Ok(Arc::clone(entries));
        }
        let entries = Arc::new(self.artefact.entry_block(block as usize)?);
        let mut cache = lock();
        if cache.blocks.insert(block, Arc::clone(&entries)).is_none() {
            cache.order.push_back(block);
        }
        if cache.order.len() > CACHED
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.blocks.remove(&oldest);
        }
        Ok(entries)
    }

    /// The entry that stands there.
    ///
    /// # Errors
    /// When its block cannot be read.
    pub fn entry(&self, placement: Placement) -> Result<Entry, ReadError> {
        let block = self.get(placement.block)?;
        block.get(placement.row as usize).cloned().ok_or_else(|| ReadError::damaged(0, "an entry is gone"))
    }
}

/// The placements of one member, in order.
pub fn by_member(placements: &[Placement]) -> impl Iterator<Item = &[Placement]> {
    placements.chunk_by(|a, b| a.member == b.member)
}
