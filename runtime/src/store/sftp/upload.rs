//! A file on its way to a server, with many requests on theirs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::session::Session;
use super::{close_later, no_room, trouble};
use crate::store::engine::{self, Pending};
use crate::store::fs::{OpenFile, mask};

/// Bytes on their way at once: what a link of 100 Mbit/s holds in a third of a second.
const WINDOW: usize = 4 << 20;
/// Bytes of a host's file read at once.
const CHUNK: usize = 1 << 20;

/// A file of a server, being written.
#[derive(Debug)]
pub struct ServerFile {
    session: Arc<Session>,
    root: String,
    /// `None`: it was closed.
    handle: Option<String>,
    end: u64,
    on_the_way: VecDeque<(usize, Pending<(), io::Error>)>,
    bytes_on_the_way: usize,
}

impl ServerFile {
    pub(super) fn new(session: Arc<Session>, root: String, handle: String) -> ServerFile {
        let (on_the_way, handle) = (VecDeque::new(), Some(handle));
        ServerFile { session, root, handle, end: 0, on_the_way, bytes_on_the_way: 0 }
    }

    fn handle(&self) -> io::Result<String> {
        self.handle.clone().ok_or_else(|| io::Error::other("the file was closed"))
    }

    /// Waits for the request that has been on its way for longest.
    fn settle_one(&mut self) -> io::Result<()> {
        let Some((len, request)) = self.on_the_way.pop_front() else { return Ok(()) };
        self.bytes_on_the_way -= len;
        request.wait().map_err(|error| self.explain(error))
    }

    fn settle(&mut self) -> io::Result<()> {
        while !self.on_the_way.is_empty() {
            self.settle_one()?;
        }
        Ok(())
    }

    fn explain(&self, error: io::Error) -> io::Error {
        if !trouble::is_vague(&error) {
            return error;
        }
        let (session, root) = (Arc::clone(&self.session), self.root.clone());
        let look = engine::run(async move { Ok::<_, io::Error>(no_room(&session, &root).await) });
        look.ok().flatten().unwrap_or(error)
    }

    fn ask(&self, request: impl Future<Output = io::Result<()>> + Send + 'static) -> io::Result<()> {
        engine::run(request).map_err(|error| self.explain(error))
    }
}

impl OpenFile for ServerFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.end {
            // A server may do what is on its way in any order.
            self.settle()?;
        }
        let handle = self.handle()?;
        let mut at = offset;
        for piece in bytes.chunks(self.session.can.write) {
            while self.bytes_on_the_way + piece.len() > WINDOW {
                self.settle_one()?;
            }
            let (session, handle, piece) = (Arc::clone(&self.session), handle.clone(), piece.to_vec());
            let (len, from) = (piece.len(), at);
            let request = engine::start(async move { session.write(handle, from, piece).await });
            self.on_the_way.push_back((len, request));
            self.bytes_on_the_way += len;
            at += len as u64;
        }
        if at < self.end {
            return self.settle();
        }
        self.end = at;
        Ok(())
    }

    fn append_from(&mut self, host: &mut File, len: u64) -> io::Result<u64> {
        let mut chunk = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
        let mut done = 0;
        while done < len {
            let now = chunk.len().min(usize::try_from(len - done).unwrap_or(CHUNK));
            match host.read(&mut chunk[..now])? {
                0 => break,
                count => {
                    self.write_at(self.end, &chunk[..count])?;
                    done += count as u64;
                }
            }
        }
        Ok(done)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        let (session, handle) = (Arc::clone(&self.session), self.handle()?);
        match self.ask(async move { session.set_mode(handle, mode & !mask()).await }) {
            // It is ours: only a server that has no permissions refuses.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || is_unsupported(&error) => Ok(()),
            set => set,
        }
    }

    /// Closes it too: a server that cannot sync tells no later that something went wrong.
    fn sync(&mut self) -> io::Result<()> {
        self.settle()?;
        let Some(handle) = self.handle.take() else { return Ok(()) };
        let session = Arc::clone(&self.session);
        self.ask(async move {
            let synced = session.sync(handle.clone()).await;
            synced.and(session.close(handle).await)
        })
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == trouble::unsupported().raw_os_error()
}

impl Drop for ServerFile {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            close_later(Arc::clone(&self.session), handle);
        }
    }
}
