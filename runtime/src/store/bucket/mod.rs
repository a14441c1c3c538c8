//! The store that is a bucket of an object store: S3, Azure Blob Storage, Google Cloud Storage, and what speaks as they do.
//!
//! An object appears when its upload is finished, or not at all. Creating is a conditional request of the server's; one that
//! ignores the condition is found out by the first creation, and not used: two runs could both believe that they hold its
//! lock.

mod client;
mod copy;
mod keys;
mod listing;
mod lost;
mod pages;
mod parts;
mod patient;
mod retention;
mod trouble;
mod upload;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use backplan_compiler::model::Store as Declared;
use jiff::Timestamp;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use self::copy::Copier;
use self::keys::{Keys, signed};
use self::lost::LostUploads;
use self::retention::Retention;
use self::trouble::BucketTrouble;
use self::upload::BucketUpload;
use super::engine;
use super::fs::Kind;
use super::send::send;
use super::{
    Capabilities, Creation, Entry, Name, Object, Patience, ReadStore, Store, StoreError, StoreErrorKind,
    Upload,
};
use crate::control::Control;
use crate::programs::secrets::Secrets;

/// What a server of objects can do.
trait Service: ObjectStore + MultipartStore + PaginatedListStore {}

impl<T: ObjectStore + MultipartStore + PaginatedListStore> Service for T {}

/// A store in a bucket, below its prefix. Clones share it.
#[derive(Clone)]
pub struct BucketStore {
    inner: Arc<Inner>,
}

struct Inner {
    service: Arc<dyn Service>,
    /// What requests are signed with; `None`: that is for the library alone.
    keys: Option<Arc<Keys>>,
    /// `None`: the server forgets lost uploads by itself.
    lost: Option<Arc<LostUploads>>,
    /// `None`: the server makes no copies of parts that anybody could ask for.
    copier: Option<Arc<Copier>>,
    /// `None`: no retention of the server's is asked for.
    retention: Option<Arc<Retention>>,
    /// It was asked for a copy, and did not make it.
    copies_nothing: AtomicBool,
    label: String,
    /// Where it is, for messages.
    place: String,
    /// What stands before every name, with a slash at its end; empty: nothing.
    prefix: String,
    attributes: Attributes,
    /// The server was seen to keep the condition of a creation.
    keeps_conditions: AtomicBool,
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStore")
            .field("label", &self.inner.label)
            .field("place", &self.inner.place)
            .finish()
    }
}

impl BucketStore {
    /// The bucket of a declared store. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// When a secret cannot be had, or what is declared makes no client.
    pub fn open(
        declared: &Declared,
        secrets: &Secrets,
        patience: Patience,
    ) -> Result<BucketStore, StoreError> {
        let place = declared.location().to_string();
        let opened = client::build(declared, secrets, patience).map_err(|cause| StoreError {
            store: declared.name.clone(),
            doing: format!("open `{place}`"),
            kind: StoreErrorKind::Other,
            cause: io::Error::other(cause),
        })?;
        let mut attributes = Attributes::new();
        if let Some(class) = opened.storage_class {
            attributes.insert(Attribute::StorageClass, class.into());
        }
        let prefix = match opened.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let (label, keeps_conditions) = (declared.name.clone(), AtomicBool::new(patience == Patience::Short));
        let (service, keys, lost) = (opened.service, opened.keys, opened.lost);
        let (copier, retention) = (opened.copier, opened.retention);
        let copies_nothing = AtomicBool::new(false);
        let inner = Inner {
            service,
            keys,
            lost,
            copier,
            retention,
            copies_nothing,
            label,
            place,
            prefix,
            attributes,
            keeps_conditions,
        };
        Ok(BucketStore { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn error(&self, verb: &str, name: &str, trouble: BucketTrouble) -> StoreError {
        let doing = match name {
            "" => format!("{verb} `{}`", self.place),
            name => format!("{verb} `{name}` in `{}`", self.place),
        };
        StoreError {
            store: self.label.clone(),
            doing,
            kind: trouble.kind,
            cause: io::Error::other(trouble.words),
        }
    }

    /// As [`Inner::error`], where a missing object would be no answer: then it is the bucket that is gone.
    fn write_error(&self, verb: &str, name: &str, trouble: BucketTrouble) -> StoreError {
        let mut error = self.error(verb, name, trouble);
        if error.kind == StoreErrorKind::NotFound {
            error.kind = StoreErrorKind::Unreachable;
        }
        error
    }

    fn key(&self, name: &str) -> Result<Key, BucketTrouble> {
        Key::parse(format!("{}{name}", self.prefix)).map_err(|error| BucketTrouble::of(&Error::from(error)))
    }

    /// The name of a key below the prefix.
    fn name(&self, key: &Key) -> Option<Name> {
        Name::new(key.as_ref().strip_prefix(&self.prefix)?).ok()
    }

    /// Does something with the object of a key, on the engine's threads.
    fn with<T, F>(
        &self,
        name: &str,
        work: impl Fn(Arc<dyn Service>, Key) -> F + Send + Sync + 'static,
    ) -> Result<T, BucketTrouble>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (key, began) = (self.key(name)?, Instant::now());
        let service = Arc::clone(&self.service);
        let request = signed(self.keys.clone(), move || work(Arc::clone(&service), key.clone()));
        let done = engine::run(request).map_err(|error| BucketTrouble::of(&error));
        let (store, took) = (&self.label, began.elapsed());
        match &done {
            Ok(_) => tracing::debug!("request to store `{store}` for `{name}`: {took:.1?}"),
            Err(trouble) => tracing::debug!(
                "request to store `{store}` for `{name}`: {:?} after {took:.1?}",
                trouble.kind
            ),
        }
        done
    }

    fn size(&self, name: &str) -> Result<Option<u64>, BucketTrouble> {
        match self.with(name, |service, key| async move { service.head(&key).await }) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(trouble) if trouble.kind == StoreErrorKind::NotFound => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Writes an object in one request; `false`: it was to be created, and there is one already.
    fn put(&self, name: &str, bytes: PutPayload, mode: PutMode) -> Result<bool, BucketTrouble> {
        let attributes = self.attributes.clone();
        let is_creation = mode == PutMode::Create;
        let put = self.with(name, move |service, key| {
            let (bytes, attributes, mode) = (bytes.clone(), attributes.clone(), mode.clone());
            async move {
                let options = PutOptions { mode, attributes, ..PutOptions::default() };
                match service.put_opts(&key, bytes, options).await {
                    Ok(_) => Ok(true),
                    Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if is_creation => Ok(false),
                    Err(error) => Err(error),
                }
            }
        })?;
        Ok(put)
    }

    fn create(&self, name: &str, bytes: PutPayload) -> Result<Creation, BucketTrouble> {
        if !self.put(name, bytes.clone(), PutMode::Create)? {
            return Ok(Creation::Exists);
        }
        // Once again, the same bytes: a server that lets this pass lets anything pass.
        if !self.keeps_conditions.load(Ordering::Relaxed) {
            if self.put(name, bytes, PutMode::Create)? {
                let _ = self.with(name, |service, key| async move { service.delete(&key).await });
                return Err(BucketTrouble::unconditional());
            }
            self.keeps_conditions.store(true, Ordering::Relaxed);
        }
        Ok(Creation::Created)
    }

    fn range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BucketTrouble> {
        let end = offset.saturating_add(len as u64);
        let read = self.with(name, move |service, key| async move {
            let range = (offset > 0 || end < u64::MAX).then(|| (offset..end).into());
            let got = service.get_opts(&key, GetOptions { range, ..GetOptions::default() }).await?;
            got.bytes().await
        });
        match read {
            Ok(bytes) => Ok(bytes.into()),
            Err(trouble) if trouble.kind == StoreErrorKind::Other => match self.size(name) {
                // A range that begins behind the end is an error of the server's.
                Ok(Some(size)) if offset >= size => Ok(Vec::new()),
                // Asked for no more than the size, a server says nothing of what is wrong.
                _ => Err(trouble),
            },
            Err(trouble) => Err(trouble),
        }
    }
}

impl ReadStore for BucketStore {
    fn label(&self) -> &str {
        &self.inner.label
    }

    fn read(&self, name: &Name) -> Result<Vec<u8>, StoreError> {
        self.read_range(name, 0, usize::MAX)
    }

    fn read_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let read = match len {
            0 => self.inner.size(name.as_str()).and_then(|size| match size {
                Some(_) => Ok(Vec::new()),
                None => Err(BucketTrouble::absent()),
            }),
            _ => self.inner.range(name.as_str(), offset, len),
        };
        read.map_err(|trouble| self.inner.error("read", name.as_str(), trouble))
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.inner.size(name.as_str()).map_err(|trouble| self.inner.error("look at", name.as_str(), trouble))
    }

    fn each(&self, folder: Option<&Name>, take: &mut dyn FnMut(Object)) -> Result<(), StoreError> {
        let folder = folder.map_or("", Name::as_str);
        let failed = |trouble| self.inner.write_error("list", folder, trouble);
        let pages = self.inner.pages(folder, None, &mut |page| {
            for meta in page.objects {
                if let Some(name) = self.inner.name(&meta.location) {
                    take(Object { name, size: meta.size });
                }
            }
            Ok(())
        });
        pages.map_err(failed)
    }

    fn entries(&self, folder: &Name) -> Result<Vec<Entry>, StoreError> {
        self.entries_in(folder.as_str())
    }

    fn root(&self) -> Result<Vec<Entry>, StoreError> {
        self.entries_in("")
    }
}

impl BucketStore {
    /// What stands directly in a folder; the empty one is the root.
    fn entries_in(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        let pages = self.inner.pages(folder, Some("/"), &mut |page| {
            let objects = page.objects.iter().map(|meta| (&meta.location, Kind::File(meta.size)));
            let folders = page.common_prefixes.iter().map(|key| (key, Kind::Folder));
            let entry = |(key, kind): (&Key, Kind)| Some(Entry { name: self.inner.name(key)?, kind });
            entries.extend(objects.chain(folders).filter_map(entry));
            pages::see_few(entries.len())
        });
        pages.map_err(|trouble| self.inner.write_error("list", folder, trouble))?;
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        entries.dedup();
        Ok(entries)
    }
}

impl Store for BucketStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities { atomic_create: true, delete: true, fills_up: false, durable: true }
    }

    fn in_place(&self) -> Result<(), StoreError> {
        // Its address is asked anew each time.
        Ok(())
    }

    fn create(&self, name: &Name, bytes: &[u8]) -> Result<Creation, StoreError> {
        let created = self.inner.create(name.as_str(), bytes.to_vec().into());
        created.map_err(|trouble| self.inner.write_error("create", name.as_str(), trouble))
    }

    fn replace(&self, name: &Name, bytes: &[u8]) -> Result<(), StoreError> {
        // Nothing is asked of what is there: a server that refuses all the same, as one that keeps what it has does, is told of.
        let replaced = self.inner.put(name.as_str(), bytes.to_vec().into(), PutMode::Overwrite);
        replaced.map(drop).map_err(|trouble| self.inner.write_error("write", name.as_str(), trouble))
    }

    fn upload(
        &self,
        name: &Name,
        _temporary: &Name,
        about: Option<u64>,
    ) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(BucketUpload::new(Arc::clone(&self.inner), name, about)))
    }

    fn put_file(
        &self,
        file: &Path,
        _temporary: &Name,
        name: &Name,
        control: &Control,
    ) -> Result<Creation, StoreError> {
        let verb = format!("bring `{}` as", file.display());
        let failed = |kind, cause| StoreError {
            kind,
            cause,
            ..self.inner.error(&verb, name.as_str(), BucketTrouble::other(String::new()))
        };
        let about = file.metadata().ok().map(|meta| meta.len());
        let mut upload = BucketUpload::new(Arc::clone(&self.inner), name, about);
        send(file, &mut upload, control, &failed)?;
        Box::new(upload).finish()
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        match self.inner.with(name.as_str(), |service, key| async move { service.delete(&key).await }) {
            Err(trouble) if trouble.kind == StoreErrorKind::NotFound => Ok(()),
            deleted => deleted.map_err(|trouble| self.inner.error("delete", name.as_str(), trouble)),
        }
    }

    fn give_up(&self, name: &Name) -> Result<u64, StoreError> {
        let Some(lost) = self.inner.lost.clone() else { return Ok(0) };
        let given_up = self.inner.with(name.as_str(), move |service, key| {
            let lost = Arc::clone(&lost);
            async move {
                let uploads = lost.of(&key).await?;
                for id in &uploads {
                    match service.abort_multipart(&key, id).await {
                        // Whoever began it has come to its end meanwhile.
                        Ok(()) | Err(Error::NotFound { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(uploads.len() as u64)
            }
        });
        given_up.map_err(|trouble| self.inner.error("give up uploads of", name.as_str(), trouble))
    }

    fn hold(&self, name: &Name, until: Timestamp) -> Result<bool, StoreError> {
        let Some(retention) = self.inner.retention.clone() else { return Ok(false) };
        let held = self.inner.with(name.as_str(), move |_, key| {
            let retention = Arc::clone(&retention);
            async move { retention.hold(&key, until).await }
        });
        held.map_err(|trouble| self.inner.error("have the server hold", name.as_str(), trouble))
    }

    fn sweep(&self, _folder: &Name) -> Result<u64, StoreError> {
        // What an interrupted upload left is no object, and has no name here.
        Ok(0)
    }
}
