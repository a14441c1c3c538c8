//! Reading from the middle.

use std::io;

/// Bytes that can be read from the middle.
pub trait ReadAt: Send + Sync {
    /// How many there are.
    ///
    /// # Errors
    /// When the place cannot tell.
    fn size(&self) -> io::Result<u64>;

    /// `len` bytes from `offset`; fewer only where they end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// The same bytes from elsewhere, for who found that what was read is not what was written. `tried` copies were: one, after
    /// [`ReadAt::read_at`]. `None`: there is no further one.
    fn read_copy(&self, tried: usize, offset: u64, len: usize) -> Option<io::Result<Vec<u8>>> {
        let _ = (tried, offset, len);
        None
    }

    /// How many copies there are.
    fn copies(&self) -> usize {
        1
    }
}

/// Bytes that are there, but not those that were written: what a [`ReadAt`] fails with that can tell.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Spoilt {
    /// Where they begin.
    pub offset: u64,
    /// What is wrong with them.
    pub what: String,
}
