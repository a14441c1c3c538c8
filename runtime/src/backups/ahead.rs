//! Reading ahead in what is far away: a reader that goes on where it ended will go on again, and need not wait each time.
//!
//! Nothing is read ahead for who reads here and there: it begins with the third read in a row, and never goes further ahead than
//! was read. The end of an object, where an artefact has its index, is fetched at once: what is small is then one request.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::artefact::ReadAt;
use crate::store::engine::{self, Pending};
use crate::store::{Name, ReadStore};

/// Bytes that are fetched with one request.
const PIECE: u64 = 1 << 20;
/// Bytes that are there or on their way for one reader.
const COMING: u64 = 12 * PIECE;
/// Readers that are remembered.
const READERS: usize = 8;
/// Bytes of an object's end: the index of some 20,000 files.
const TAIL: u64 = 1 << 20;
/// Reads in a row before anything is read ahead.
const IN_A_ROW: u64 = 2;

/// An object of a store that is far away, to be read from the middle.
pub struct Ahead {
    store: Arc<dyn ReadStore>,
    name: Name,
    size: OnceLock<u64>,
    /// Its last bytes, once somebody wanted some of them.
    tail: Mutex<Option<Arc<Vec<u8>>>>,
    /// Where readers will go on, the one that read last at the end.
    readers: Mutex<VecDeque<Reader>>,
}

/// Somebody who reads one thing after another.
struct Reader {
    next: u64,
    in_a_row: u64,
    /// What was fetched, of which what is behind `read` was not read yet: from `next`.
    rest: Vec<u8>,
    read: usize,
    /// What is on its way, behind that.
    coming: VecDeque<(u64, Pending<Vec<u8>, io::Error>)>,
}

impl Ahead {
    /// An object.
    pub fn new(store: Arc<dyn ReadStore>, name: Name) -> Ahead {
        Ahead { store, name, size: OnceLock::new(), tail: Mutex::default(), readers: Mutex::default() }
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, VecDeque<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, offset: u64) -> Reader {
        let mut readers = self.readers();
        let known = readers.iter().position(|reader| reader.next == offset);
        known.and_then(|at| readers.remove(at)).unwrap_or(Reader {
            next: offset,
            in_a_row: 0,
            rest: Vec::new(),
            read: 0,
            coming: VecDeque::new(),
        })
    }

    fn put(&self, reader: Reader) {
        let mut readers = self.readers();
        if readers.len() == READERS {
            readers.pop_front();
        }
        readers.push_back(reader);
    }

    fn fetch(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.store.read_range(&self.name, offset, len).map_err(io::Error::other)
    }

    /// Some of an object's end; `None`: it is not of there.
    fn of_tail(&self, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(size) = self.size.get() else { return Ok(None) };
        let from = size.saturating_sub(TAIL);
        let Some(skipped) = offset.checked_sub(from) else { return Ok(None) };
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match &*tail {
            Some(bytes) => Arc::clone(bytes),
            None => Arc::clone(tail.insert(Arc::new(self.fetch(from, TAIL as usize)?))),
        };
        let start = usize::try_from(skipped).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(len).min(bytes.len());
        Ok(Some(bytes[start..end].to_vec()))
    }

    /// What was fetched ahead of the next `len` bytes; fewer where that is all.
    fn ready(reader: &mut Reader, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len.min(COMING as usize));
        loop {
            let now = reader.left().len().min(len - bytes.len());
            bytes.extend_from_slice(&reader.left()[..now]);
            reader.read += now;
            if bytes.len() == len {
                return bytes;
            }
            let Some((wanted, piece)) = reader.coming.pop_front() else { return bytes };
            // Nobody has asked for it yet: who does, asks once more.
            let piece = piece.wait().unwrap_or_default();
            if (piece.len() as u64) < wanted {
                reader.coming.clear();
            }
            (reader.rest, reader.read) = (piece, 0);
        }
    }

    /// Lets more come.
    fn send_for(&self, reader: &mut Reader) {
        let ahead = (reader.in_a_row.saturating_sub(IN_A_ROW) * PIECE).min(COMING);
        let coming: u64 = reader.coming.iter().map(|(len, _)| len).sum();
        let mut there = reader.left().len() as u64 + coming;
        while there + PIECE <= ahead {
            let (store, name, at) = (Arc::clone(&self.store), self.name.clone(), reader.next + there);
            let fetch = move || store.read_range(&name, at, PIECE as usize).map_err(io::Error::other);
            reader.coming.push_back((PIECE, engine::aside(fetch)));
            there += PIECE;
        }
    }
}

impl Reader {
    fn left(&self) -> &[u8] {
        &self.rest[self.read..]
    }
}

impl ReadAt for Ahead {
    fn size(&self) -> io::Result<u64> {
        let size = self.store.size(&self.name).map_err(io::Error::other)?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, "it is not there, though its manifest is");
        let size = size.ok_or_else(gone)?;
        Ok(*self.size.get_or_init(|| size))
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if let Some(bytes) = self.of_tail(offset, len)? {
            return Ok(bytes);
        }
        let mut reader = self.take(offset);
        let mut bytes = Ahead::ready(&mut reader, len);
        if bytes.len() < len {
            bytes.extend(self.fetch(offset + bytes.len() as u64, len - bytes.len())?);
        }
        reader.next = offset + bytes.len() as u64;
        reader.in_a_row += 1;
        // At its end there is nothing to be had.
        if bytes.len() == len {
            self.send_for(&mut reader);
            self.put(reader);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::ops::Range;
    use std::time::Duration;

    use super::*;
    use crate::store::dir::DirStore;
    use crate::store::{Creation, Entry, Object, Store, StoreError};

    /// What was read, in this order.
    type Reads = Arc<Mutex<Vec<Range<u64>>>>;

    /// A store that notes what is read from it.
    #[derive(Debug)]
    struct Noting {
        store: DirStore,
        reads: Reads,
    }

    impl ReadStore for Noting {
        fn label(&self) -> &str {
            self.store.label()
        }

        fn read(&self, name: &Name) -> Result<Vec<u8>, StoreError> {
            self.store.read(name)
        }

        fn read_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
            self.reads.lock().unwrap().push(offset..offset + len as u64);
            std::thread::sleep(Duration::from_millis(3));
            self.store.read_range(name, offset, len)
        }

        fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
            self.store.size(name)
        }

        fn each(&self, folder: Option<&Name>, take: &mut dyn FnMut(Object)) -> Result<(), StoreError> {
            self.store.each(folder, take)
        }

        fn entries(&self, folder: &Name) -> Result<Vec<Entry>, StoreError> {
            self.store.entries(folder)
        }

        fn root(&self) -> Result<Vec<Entry>, StoreError> {
            self.store.root()
        }
    }

    fn object(len: usize) -> (tempfile::TempDir, Vec<u8>, Ahead, Reads) {
        let folder = tempfile::tempdir().unwrap();
        let store = DirStore::open("far", folder.path()).unwrap();
        let (bytes, name) =
            ((0..len).map(|at| (at * 31 % 253) as u8).collect::<Vec<u8>>(), Name::new("x").unwrap());
        assert_eq!(store.create(&name, &bytes).unwrap(), Creation::Created);
        let reads = Arc::new(Mutex::default());
        let noting = Noting { store, reads: Arc::clone(&reads) };
        (folder, bytes, Ahead::new(Arc::new(noting), name), reads)
    }

    #[test]
    fn who_reads_on_gets_what_is_there_in_whatever_pieces() {
        let (_folder, bytes, ahead, reads) = object(30_000_000);
        let (mut at, mut step) = (1000, 1);
        while at < bytes.len() {
            let len = step % 1_700_000;
            step += 611_953;
            let read = ahead.read_at(at as u64, len).unwrap();
            assert!(read == bytes[at..(at + len).min(bytes.len())], "{at} {len}");
            // Somebody else, here and there.
            let other = (at * 7) % (bytes.len() - 10);
            assert_eq!(ahead.read_at(other as u64, 10).unwrap(), bytes[other..other + 10]);
            at += len;
        }
        let fetched: u64 = reads.lock().unwrap().iter().map(|range| range.end - range.start).sum();
        assert!(fetched < 2 * bytes.len() as u64, "{fetched}");
    }

    #[test]
    fn who_reads_here_and_there_gets_no_more_than_is_asked_for() {
        let (_folder, bytes, ahead, reads) = object(3_000_000);
        for at in [2_000_000, 0, 1000, 500_000, 501_000] {
            assert_eq!(ahead.read_at(at, 1000).unwrap(), bytes[at as usize..at as usize + 1000]);
        }
        assert_eq!(reads.lock().unwrap().len(), 5);
        // At the end it does not matter how often.
        assert_eq!(ahead.size().unwrap(), 3_000_000);
        for at in [2_999_000, 2_000_000, 2_500_000, 2_999_999, 3_000_000] {
            let end = (at + 1000).min(bytes.len());
            assert_eq!(ahead.read_at(at as u64, 1000).unwrap(), bytes[at..end]);
        }
        assert_eq!(reads.lock().unwrap().len(), 6);
    }
}
