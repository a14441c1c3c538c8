//! An upload on a thread of its own: where several stores take what is packed, none waits until the others have it.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::{Creation, Name, StoreError, StoreErrorKind, Upload};

/// Bytes that go over at once.
const CHUNK: usize = 1 << 20;
/// So many times that may wait.
const WAITING: usize = 3;

/// What the upload is to do. Its own thread does it later, and says so with the next thing that is asked for.
enum Order {
    Write(Vec<u8>),
    Again(Name, u64, Vec<u8>),
    Hold(u64),
    Patch(u64, Vec<u8>),
    /// The file may change once the sender is dropped.
    Copy(File, u64, u64, Sender<()>),
}

type Ended = Result<Box<dyn Upload>, StoreError>;

#[derive(Debug)]
struct Aside {
    /// The store's name.
    store: String,
    /// Bytes that have not gone over.
    open: Vec<u8>,
    copies: bool,
    /// What nobody has been told of yet.
    trouble: Option<StoreError>,
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<Ended>>,
}

/// The upload to a store on a thread of its own; the upload itself where the system gives none.
pub fn aside(upload: Box<dyn Upload>, store: &str) -> Box<dyn Upload> {
    let copies = upload.copies();
    let (orders, received) = sync_channel(WAITING);
    // Given over behind the start: where there is none, it is still here.
    let (give, given) = channel();
    let spawned = Builder::new().name("upload".to_owned()).spawn(move || match given.recv() {
        Ok(upload) => carry_out(upload, &received),
        Err(_) => Err(failed("", io::Error::other("nothing to do"))),
    });
    let Ok(thread) = spawned else { return upload };
    if let Err(unsent) = give.send(upload) {
        return unsent.0;
    }
    let store = store.to_owned();
    let (orders, thread) = (Some(orders), Some(thread));
    Box::new(Aside { store, open: Vec::new(), copies, trouble: None, orders, thread })
}

fn carry_out(mut upload: Box<dyn Upload>, orders: &Receiver<Order>) -> Ended {
    for order in orders {
        match order {
            Order::Write(bytes) => upload.write(&bytes)?,
            Order::Again(from, offset, bytes) => upload.again(&from, offset, &bytes)?,
            Order::Hold(len) => upload.hold(len),
            Order::Patch(offset, bytes) => upload.patch(offset, &bytes)?,
            Order::Copy(from, offset, len, _done) => upload.copy_from(&from, offset, len)?,
        }
    }
    Ok(upload)
}

fn failed(store: &str, cause: io::Error) -> StoreError {
    StoreError { store: store.to_owned(), doing: "write".to_owned(), kind: StoreErrorKind::Other, cause }
}

impl Aside {
    fn order(&mut self, order: Order) -> Result<(), StoreError> {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if sent { Ok(()) } else { Err(self.ended().err().unwrap_or_else(|| self.is_over())) }
    }

    fn is_over(&self) -> StoreError {
        failed(&self.store, io::Error::other("it has failed before"))
    }

    /// Has everything done that was asked for, and gives the upload.
    fn ended(&mut self) -> Ended {
        self.orders = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(self.is_over()),
        }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        if self.open.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.open);
        self.order(Order::Write(bytes))
    }
}

impl Upload for Aside {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        for piece in bytes.chunks(CHUNK) {
            if self.open.len() + piece.len() > CHUNK {
                self.flush()?;
            }
            self.open.extend_from_slice(piece);
        }
        Ok(())
    }

    fn copies(&self) -> bool {
        self.copies
    }

    fn again(&mut self, from: &Name, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if !self.copies {
            return self.write(bytes);
        }
        self.flush()?;
        self.order(Order::Again(from.clone(), offset, bytes.to_vec()))
    }

    fn hold(&mut self, len: u64) {
        self.trouble = self.flush().and_then(|()| self.order(Order::Hold(len))).err();
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.flush()?;
        self.order(Order::Patch(offset, bytes.to_vec()))
    }

    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), StoreError> {
        self.flush()?;
        let from = from.try_clone().map_err(|cause| failed(&self.store, cause))?;
        let (done, is_done) = channel();
        self.order(Order::Copy(from, offset, len, done))?;
        // The end of the sender is the answer: how it went is told with what comes next.
        let _ = is_done.recv();
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Creation, StoreError> {
        self.flush()?;
        self.ended()?.finish()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.orders = None;
        // What is on its way is aborted by then, and not later.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::store::ReadStore;
    use crate::store::Store;
    use crate::store::dir::DirStore;

    /// An upload that takes so many orders.
    #[derive(Debug)]
    struct Short(usize, Arc<AtomicBool>);

    impl Upload for Short {
        fn write(&mut self, _: &[u8]) -> Result<(), StoreError> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| failed("s", io::Error::other("no room")))?;
            Ok(())
        }

        fn patch(&mut self, _: u64, bytes: &[u8]) -> Result<(), StoreError> {
            self.write(bytes)
        }

        fn copy_from(&mut self, _: &File, _: u64, _: u64) -> Result<(), StoreError> {
            self.write(&[])
        }

        fn finish(self: Box<Self>) -> Result<Creation, StoreError> {
            Ok(Creation::Created)
        }
    }

    impl Drop for Short {
        fn drop(&mut self) {
            self.1.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_asked_for_is_done_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = DirStore::open("s", folder.path()).unwrap();
        let name = |name: &str| Name::new(name).unwrap();
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let from = folder.path().join("from");
        std::fs::write(&from, &bytes).unwrap();
        let mut upload = aside(store.upload(&name("x"), &name("tmp/x"), None).unwrap(), "s");
        upload.hold(4);
        for piece in bytes.chunks(77_777) {
            upload.write(piece).unwrap();
        }
        upload.patch(0, b"head").unwrap();
        upload.again(&name("from"), 5, &bytes[5..9]).unwrap();
        upload.copy_from(&File::open(&from).unwrap(), 1_000_000, 2_000_000).unwrap();
        upload.write(b"end").unwrap();
        assert_eq!(upload.finish().unwrap(), Creation::Created);
        let wanted = [b"head", &bytes[4..], &bytes[5..9], &bytes[1_000_000..], b"end"].concat();
        assert!(store.read(&name("x")).unwrap() == wanted);
        // One that is given up leaves nothing.
        let mut given_up = aside(store.upload(&name("y"), &name("tmp/y"), None).unwrap(), "s");
        given_up.write(&bytes).unwrap();
        drop(given_up);
        assert!(store.read(&name("y")).is_err());
        assert!(!folder.path().join("tmp/y").exists());
    }

    #[test]
    fn what_failed_is_told_whatever_is_asked_for_next() {
        type Act = fn(&mut dyn Upload) -> Result<(), StoreError>;
        let act: [Act; 4] = [
            |upload| upload.write(&[0; CHUNK]),
            |upload| upload.patch(0, b"x"),
            |upload| upload.copy_from(&File::open("/dev/null").unwrap(), 0, 0),
            |upload| {
                upload.hold(1);
                upload.write(&[0; CHUNK + 1])
            },
        ];
        for act in act {
            let is_gone = Arc::new(AtomicBool::new(false));
            let mut upload = aside(Box::new(Short(2, Arc::clone(&is_gone))), "s");
            let told = (0..20).find_map(|_| act(upload.as_mut()).err()).unwrap();
            assert!(told.to_string().contains("no room"), "{told}");
            assert!(is_gone.load(Ordering::Relaxed));
            assert!(upload.write(&[0; 3 * CHUNK]).is_err() && upload.finish().is_err());
        }
        // At the end at the latest.
        let mut upload = aside(Box::new(Short(0, Arc::default())), "s");
        upload.write(b"few").unwrap();
        assert!(upload.finish().unwrap_err().to_string().contains("no room"));
    }
}
