//! An upload: one request if it is small, else parts, several on their way at once.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use object_store::multipart::PartId;
use object_store::path::Path as Key;
use object_store::{Error, MultipartId, ObjectStoreExt, PutMultipartOptions, PutPayload};
use tokio::sync::Semaphore;

use super::Inner;
use super::keys::signed;
use super::parts::Sizes;
use super::trouble::BucketTrouble;
use crate::store::engine::{self, GivenUp, Pending};
use crate::store::send::send_range;
use crate::store::{Creation, Name, StoreError, Upload};

/// Bytes of a part that is copied, or sent before one that is: a server takes no smaller ones.
const LEAST: usize = 5 << 20;
/// So many parts may be as small as that: a server takes 10,000.
const SMALL: usize = 1000;
/// Bytes of a part that is copied at the most, as long as it may be as small as [`LEAST`]: as many are held where it has to be
/// sent after all.
const COPIED: u64 = 32 << 20;
/// Parts on their way at once.
const AT_ONCE: usize = 4;
/// Parts that are ready when one of those has come, whichever it is: the way is not empty while the next is packed.
const READY: usize = 2;

/// A part that is not sent yet.
#[derive(Debug)]
struct Part {
    index: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl Part {
    fn range(&self) -> Range<u64> {
        self.start..self.start + self.bytes.len() as u64
    }

    /// Replaces what of `bytes` falls into this part; says how much that was.
    fn patch(&mut self, offset: u64, bytes: &[u8]) -> usize {
        let range = self.range();
        let (from, to) = (range.start.max(offset), range.end.min(offset + bytes.len() as u64));
        if from >= to {
            return 0;
        }
        let (there, here) = ((from - self.start) as usize, (from - offset) as usize);
        let len = (to - from) as usize;
        self.bytes[there..there + len].copy_from_slice(&bytes[here..here + len]);
        len
    }
}

/// Bytes that stand next to each other in another object of the bucket, and are not sent yet.
#[derive(Debug, Default)]
struct Run {
    from: Option<Name>,
    /// Where they are there.
    offset: u64,
    len: u64,
    /// The bytes; none once it is known that the server copies them.
    bytes: Vec<u8>,
    is_copied: bool,
}

impl Run {
    fn goes_on(&self, from: &Name, offset: u64) -> bool {
        self.from.as_ref() == Some(from) && self.offset + self.len == offset
    }

    /// Leaves out what it begins with.
    fn skip(&mut self, len: u64) {
        self.offset += len;
        self.len -= len;
    }
}

/// An upload that the server knows of.
struct Begun {
    key: Key,
    id: MultipartId,
    sent: Vec<Option<PartId>>,
    on_the_way: VecDeque<(usize, Pending<PartId, Error>)>,
    /// Lets [`AT_ONCE`] of them go at a time.
    lane: Arc<Semaphore>,
}

/// An object on its way into the bucket.
pub struct BucketUpload {
    inner: Arc<Inner>,
    name: Name,
    open: Part,
    sizes: Sizes,
    /// Bytes that will be patched.
    held: Option<Range<u64>>,
    /// Parts that wait for that.
    back: Vec<Part>,
    /// What comes behind the open part.
    run: Run,
    /// Parts were copied: they are not all of one length.
    is_mixed: bool,
    begun: Option<Begun>,
}

impl std::fmt::Debug for BucketUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketUpload").field("name", &self.name).field("parts", &self.open.index).finish()
    }
}

impl BucketUpload {
    pub(super) fn new(inner: Arc<Inner>, name: &Name, about: Option<u64>) -> BucketUpload {
        let open = Part { index: 0, start: 0, bytes: Vec::new() };
        BucketUpload {
            inner,
            name: name.clone(),
            open,
            sizes: Sizes::new(about),
            held: None,
            back: Vec::new(),
            run: Run::default(),
            is_mixed: false,
            begun: None,
        }
    }

    fn failed(&self, trouble: BucketTrouble) -> StoreError {
        self.inner.write_error("write", self.name.as_str(), trouble)
    }

    /// How small a part may be: as the parts of a large upload grow, so that their number suffices.
    fn least(&self) -> usize {
        if self.open.index < SMALL { LEAST } else { self.sizes.now() }
    }

    /// Opens the part behind so many bytes; gives the one that was open.
    fn open_next(&mut self, start: u64) -> Part {
        let index = self.open.index + 1;
        self.sizes.go_on(index, start);
        std::mem::replace(&mut self.open, Part { index, start, bytes: Vec::new() })
    }

    /// Takes bytes of a run; has them copied once there are enough, with what is open topped up to a part before.
    fn follow(&mut self, from: &Name, offset: u64, bytes: &[u8]) -> Result<(), BucketTrouble> {
        if !self.run.goes_on(from, offset) {
            self.end_run()?;
            self.run = Run { from: Some(from.clone()), offset, ..Run::default() };
        }
        self.run.len += bytes.len() as u64;
        let least = self.least();
        if !self.run.is_copied {
            self.run.bytes.extend_from_slice(bytes);
            let lacks = match self.open.bytes.len() {
                0 => 0,
                there => least.saturating_sub(there),
            };
            if self.run.bytes.len() < lacks + least {
                return Ok(());
            }
            let held = std::mem::take(&mut self.run.bytes);
            self.open.bytes.extend_from_slice(&held[..lacks]);
            self.run.skip(lacks as u64);
            self.run.is_copied = true;
            if !self.open.bytes.is_empty() {
                self.close_part()?;
            }
        }
        let most = COPIED.max(least as u64);
        while self.run.len >= most + least as u64 {
            self.copy(most)?;
        }
        Ok(())
    }

    /// Nothing more of a run comes.
    fn end_run(&mut self) -> Result<(), BucketTrouble> {
        if self.run.is_copied && self.run.len > 0 {
            self.copy(self.run.len)?;
        }
        let bytes = std::mem::take(&mut self.run).bytes;
        self.append(&bytes)
    }

    /// Has the server copy what the run begins with. One that does not is told nothing any more: the bytes are fetched and sent.
    fn copy(&mut self, len: u64) -> Result<(), BucketTrouble> {
        let (Some(from), Some(copier)) = (self.run.from.clone(), self.inner.copier.clone()) else {
            return Err(BucketTrouble::other("nothing can be copied".to_owned()));
        };
        let from = self.inner.key(from.as_str())?;
        self.is_mixed = true;
        let (range, index) = (self.run.offset..self.run.offset + len, self.open.index);
        self.run.skip(len);
        self.open_next(self.open.start + len);
        let inner = Arc::clone(&self.inner);
        let begun = self.begin()?;
        let lane = begun.turn()?;
        let (key, id) = (begun.key.clone(), begun.id.clone());
        let request = engine::start(async move {
            let _turn = lane.acquire().await.map_err(|_| over())?;
            if !inner.copies_nothing.load(Ordering::Relaxed) {
                let copied =
                    signed(inner.keys.clone(), || copier.part(&from, range.clone(), &key, &id, index));
                match copied.await {
                    Ok(part) => return Ok(part),
                    Err(error) => tracing::warn!("store `{}` copies no parts: {error}", inner.label),
                }
                inner.copies_nothing.store(true, Ordering::Relaxed);
            }
            let service = &inner.service;
            let bytes = signed(inner.keys.clone(), || service.get_range(&from, range.clone())).await?;
            signed(inner.keys.clone(), || service.put_part(&key, &id, index, bytes.clone().into())).await
        });
        begun.on_the_way.push_back((index, request));
        Ok(())
    }

    /// Appends to the open part.
    fn append(&mut self, bytes: &[u8]) -> Result<(), BucketTrouble> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.sizes.now() - self.open.bytes.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            self.open.bytes.extend_from_slice(now);
            rest = later;
            if self.open.bytes.len() == self.sizes.now() {
                self.close_part()?;
            }
        }
        Ok(())
    }

    fn is_held(&self, range: &Range<u64>) -> bool {
        self.held.as_ref().is_some_and(|held| held.start < range.end && range.start < held.end)
    }

    /// Sends the open part, or lays it back, and opens the next.
    fn close_part(&mut self) -> Result<(), BucketTrouble> {
        let range = self.open.range();
        let part = self.open_next(range.end);
        if self.is_held(&range) {
            self.back.push(part);
            return Ok(());
        }
        self.send(part)
    }

    fn begin(&mut self) -> Result<&mut Begun, BucketTrouble> {
        if self.begun.is_none() {
            let options = PutMultipartOptions {
                attributes: self.inner.attributes.clone(),
                ..PutMultipartOptions::default()
            };
            let key = self.inner.key(self.name.as_str())?;
            let of = key.clone();
            let inner = Arc::clone(&self.inner);
            let id = engine::run(async move {
                let begin = || inner.service.create_multipart_opts(&of, options.clone());
                signed(inner.keys.clone(), begin).await
            });
            let id = id.map_err(|error| BucketTrouble::of(&error))?;
            let lane = Arc::new(Semaphore::new(AT_ONCE));
            self.begun = Some(Begun { key, id, sent: Vec::new(), on_the_way: VecDeque::new(), lane });
        }
        self.begun.as_mut().ok_or_else(|| BucketTrouble::other("it was not begun".to_owned()))
    }

    fn send(&mut self, part: Part) -> Result<(), BucketTrouble> {
        let inner = Arc::clone(&self.inner);
        let begun = self.begin()?;
        let lane = begun.turn()?;
        let (key, id, index) = (begun.key.clone(), begun.id.clone(), part.index);
        let request = engine::start(async move {
            let _turn = lane.acquire().await.map_err(|_| over())?;
            let bytes = PutPayload::from(part.bytes);
            let put = || inner.service.put_part(&key, &id, index, bytes.clone());
            signed(inner.keys.clone(), put).await
        });
        begun.on_the_way.push_back((index, request));
        Ok(())
    }

    /// Nothing will be patched any more: what waited for that goes on its way.
    fn release(&mut self) -> Result<(), BucketTrouble> {
        self.held = None;
        std::mem::take(&mut self.back).into_iter().try_for_each(|part| self.send(part))
    }

    fn complete(&mut self) -> Result<Creation, BucketTrouble> {
        self.end_run()?;
        self.release()?;
        if self.begun.is_none() {
            let bytes = std::mem::take(&mut self.open.bytes);
            return self.inner.create(self.name.as_str(), bytes.into());
        }
        if !self.open.bytes.is_empty() {
            self.close_part()?;
        }
        let begun = self.begin()?;
        while !begun.on_the_way.is_empty() {
            begun.settle_one()?;
        }
        // Nothing but a run that holds the lock writes here, so nobody comes between this look and the next request.
        if self.inner.size(self.name.as_str())?.is_some() {
            return Ok(Creation::Exists);
        }
        let inner = Arc::clone(&self.inner);
        let Some(begun) = &mut self.begun else { return Err(BucketTrouble::absent()) };
        let parts: Vec<PartId> = begun.sent.iter().flatten().cloned().collect();
        let (key, id, count, asked) = (begun.key.clone(), begun.id.clone(), parts.len(), Instant::now());
        let done = engine::run(async move {
            let complete = || inner.service.complete_multipart(&key, &id, parts.clone());
            signed(inner.keys.clone(), complete).await
        });
        done.map_err(|error| {
            // Some servers want all parts but the last alike: from now on they are sent.
            self.inner.copies_nothing.fetch_or(self.is_mixed, Ordering::Relaxed);
            BucketTrouble::of(&error)
        })?;
        // Most servers only note it; one that writes the object anew takes as long as that takes.
        let (store, took) = (&self.inner.label, asked.elapsed());
        tracing::debug!("store `{store}` put {count} parts of `{}` together: {took:.1?}", self.name);
        self.begun = None;
        Ok(Creation::Created)
    }
}

/// The upload was given up before a part of it went on its way.
fn over() -> Error {
    GivenUp::because("its upload was given up").into()
}

impl Begun {
    /// Makes room for one more part.
    fn turn(&mut self) -> Result<Arc<Semaphore>, BucketTrouble> {
        if self.on_the_way.len() >= AT_ONCE + READY {
            self.settle_one()?;
        }
        Ok(Arc::clone(&self.lane))
    }

    /// Waits for the part that has been on its way for longest.
    fn settle_one(&mut self) -> Result<(), BucketTrouble> {
        let Some((index, request)) = self.on_the_way.pop_front() else { return Ok(()) };
        let part = request.wait().map_err(|error: Error| BucketTrouble::of(&error))?;
        if self.sent.len() <= index {
            self.sent.resize_with(index + 1, || None);
        }
        self.sent[index] = Some(part);
        Ok(())
    }
}

impl Upload for BucketUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let done = self.end_run().and_then(|()| self.append(bytes));
        done.map_err(|trouble| self.failed(trouble))
    }

    fn copies(&self) -> bool {
        self.inner.copier.is_some() && !self.inner.copies_nothing.load(Ordering::Relaxed)
    }

    fn again(&mut self, from: &Name, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        match self.copies() {
            true => self.follow(from, offset, bytes).map_err(|trouble| self.failed(trouble)),
            false => self.write(bytes),
        }
    }

    fn hold(&mut self, len: u64) {
        let from = self.open.range().end + self.run.len;
        self.held = Some(from..from + len);
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let wanted = offset..offset.saturating_add(bytes.len() as u64);
        let is_held =
            self.held.as_ref().is_some_and(|held| held.start <= wanted.start && wanted.end <= held.end);
        let mut patched = 0;
        if is_held {
            patched += self.open.patch(offset, bytes);
            patched += self.back.iter_mut().map(|part| part.patch(offset, bytes)).sum::<usize>();
        }
        if patched != bytes.len() {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "a patch of what was not held");
            return Err(StoreError { cause, ..self.failed(BucketTrouble::other(String::new())) });
        }
        self.release().map_err(|trouble| self.failed(trouble))
    }

    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), StoreError> {
        let (inner, name) = (Arc::clone(&self.inner), self.name.clone());
        let failed = |cause| StoreError {
            cause,
            ..inner.write_error("write", name.as_str(), BucketTrouble::other(String::new()))
        };
        send_range(from, offset, len, self, &failed)
    }

    fn finish(mut self: Box<Self>) -> Result<Creation, StoreError> {
        self.complete().map_err(|trouble| self.inner.write_error("create", self.name.as_str(), trouble))
    }
}

impl Drop for BucketUpload {
    fn drop(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        begun.lane.close();
        for (_, request) in begun.on_the_way {
            // A part that comes in after the end would stay for ever.
            let _ = request.wait();
        }
        let service = Arc::clone(&self.inner.service);
        let _ = engine::run(async move { service.abort_multipart(&begun.key, &begun.id).await });
    }
}
