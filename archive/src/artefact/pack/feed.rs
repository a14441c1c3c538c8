//! Sources that come one entry after the other and cannot be gone through twice: each entry is packed as it comes, and what
//! there was is known once the last has come.

use std::io;

use super::job::{Item, Planned, Work};
use super::plan::{Ended, Planner};
use crate::artefact::{Kind, PIECE};
use crate::scan::Scanned;
use backplan_host::tree::path_order;

/// An entry of a feed: a folder, or a file whose contents come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fed {
    /// Its path inside the source; empty for the source's own folder.
    pub path: Vec<u8>,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Bytes of contents.
    pub size: u64,
}

/// What gives a source's entries, on a thread of its own.
pub trait Feed: Send {
    /// The next entry; `None` once all have come, and are what they should be. Contents that were not read are passed over.
    ///
    /// # Errors
    /// They end the packing.
    fn next(&mut self) -> io::Result<Option<Fed>>;

    /// Fills the buffer with contents of the entry that came last; less only at their end.
    ///
    /// # Errors
    /// They end the packing.
    fn read(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<()>;
}

/// What came of a source: paths in the artefact, and the numbers that they were given.
#[derive(Debug, Default)]
pub struct Came(Vec<(Vec<u8>, u64)>);

impl Came {
    /// Keeps one more in mind.
    pub fn push(&mut self, entry: &Planned) {
        self.0.push((entry.path.clone(), entry.number));
    }

    /// In path order.
    ///
    /// # Errors
    /// What came twice.
    pub fn sorted(&mut self) -> io::Result<&[(Vec<u8>, u64)]> {
        self.0.sort_unstable_by(|(a, _), (b, _)| path_order(a, b));
        match self.0.windows(2).find(|two| two[0].0 == two[1].0) {
            Some(two) => Err(io::Error::other(format!("`{}` came twice", two[0].0.escape_ascii()))),
            None => Ok(&self.0),
        }
    }
}

impl Planner<'_> {
    /// Packs what comes; folders when all else has come, each after what is in it.
    pub(super) fn feed(&mut self, source: usize, mut feed: Box<dyn Feed>) -> Result<(), Ended> {
        let mut folders: Vec<Planned> = Vec::new();
        loop {
            let fed = feed.next().map_err(|cause| self.failed(source, cause))?;
            let Some(fed) = fed else { break };
            let (is_folder, size) = (fed.is_folder, fed.size);
            let entry = self.fed(source, fed);
            if is_folder {
                folders.push(entry);
                continue;
            }
            let mut bytes = Vec::with_capacity(usize::try_from(size).map_or(PIECE, |size| size.min(PIECE)));
            feed.read(&mut bytes, PIECE).map_err(|cause| self.failed(source, cause))?;
            if size <= PIECE as u64 {
                self.add(Item::Fed(entry, bytes), size)?;
                continue;
            }
            let before = self.before(&entry)?;
            self.send(Work::FedHead(entry, bytes))?;
            let pieces = size.div_ceil(PIECE as u64);
            for index in 1..pieces {
                let mut bytes = Vec::with_capacity(PIECE);
                feed.read(&mut bytes, PIECE).map_err(|cause| self.failed(source, cause))?;
                let last = index + 1 == pieces;
                let (source, before) = (source as u16, before.clone());
                self.send(Work::StreamPiece { bytes, index, last, source, before })?;
            }
        }
        folders.sort_unstable_by(|a, b| path_order(&b.path, &a.path));
        folders.into_iter().try_for_each(|folder| self.add(Item::Entry(folder), 0))
    }

    /// An entry with the next number.
    fn fed(&mut self, source: usize, fed: Fed) -> Planned {
        let seen = Scanned {
            kind: if fed.is_folder { Kind::Directory } else { Kind::File },
            mode: fed.mode & 0o7777,
            uid: fed.uid,
            gid: fed.gid,
            mtime: (fed.mtime, 0),
            size: fed.size,
            path: fed.path,
            ..Scanned::default()
        };
        self.came(source, seen)
    }
}
