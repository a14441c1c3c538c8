//! Where artefacts go.
//!
//! A store keeps objects under names. It promises little, so that a folder, an object store and a file server can all
//! keep the promise: an object appears whole or not at all, what returned `Ok` survives a power cut, and creating never
//! replaces. Everything else (what a backup is, locks, recovery) is built above it, in the catalog.

pub mod address;
pub mod append_only;
pub mod aside;
pub mod below;
mod bucket;
#[cfg(test)]
mod conformance;
pub mod dir;
mod door;
pub(crate) mod engine;
pub mod fs;
pub mod limit;
pub(crate) mod send;
mod sftp;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use crate::control::Control;

pub use door::{Patience, make, open, open_with, would_make};
pub use engine::leave;
pub use send::send;

/// The folder at a store's root that is Backplan's.
pub const HOME: &str = ".backplan";

/// An object's name below the store's root: components joined by `/`, none of them empty, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name, if it is one.
    ///
    /// # Errors
    /// The text, where a component is empty, `.`, `..`, or holds a NUL.
    pub fn new(text: impl Into<String>) -> Result<Name, BadName> {
        let text = text.into();
        let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
        if text.split('/').any(bad) { Err(BadName(text)) } else { Ok(Name(text)) }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of something below this one.
    #[must_use]
    pub fn join(&self, below: &Name) -> Name {
        Name(format!("{}/{}", self.0, below.0))
    }

    /// The last component.
    pub fn last(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, last)| last)
    }

    /// All but the last component; `None` at the root.
    pub fn folder(&self) -> Option<Name> {
        self.0.rsplit_once('/').map(|(folder, _)| Name(folder.to_owned()))
    }

    /// A name that is one by construction: made of parsed ids and constants.
    pub(crate) fn known(text: String) -> Name {
        debug_assert!(Name::new(text.as_str()).is_ok(), "{text}");
        Name(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot name an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name that a store can hold")]
pub struct BadName(pub String);

/// Why a store could not do something.
#[derive(Debug, thiserror::Error)]
#[error("store `{store}`: {doing}: {cause}{}", kind.mend())]
pub struct StoreError {
    /// The store's name in the plan.
    pub store: String,
    /// What it was doing, with the object or path: ``write `x` ``.
    pub doing: String,
    /// What kind of trouble it is.
    pub kind: StoreErrorKind,
    /// The system's or server's own words.
    #[source]
    pub cause: io::Error,
}

/// Kinds of trouble, as far as somebody acts on them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The object is not there.
    NotFound,
    /// The place that it is to be in is not there.
    Absent,
    /// The store itself does not answer.
    Unreachable,
    /// Not allowed.
    Denied,
    /// The server does not know who asks, or gives them no right to it.
    Credentials,
    /// The server is not known to be the one that it should be, or does not let us in. The cause says what to do.
    Handshake,
    /// The server is asked more than it takes, and went on saying so (429, 503) for as long as it was asked again.
    Busy,
    /// Something of that name was created already, or is kept as it is.
    Exists,
    /// What is there is not what it was: somebody changed it meanwhile.
    Changed,
    /// No room.
    Full,
    /// A file may not become as large as that, by a limit of this process or of the file system there.
    TooLarge,
    /// The disk cannot read or write what lies there.
    Disk,
    /// Something of that name is there that is no object: a link, a pipe, a folder.
    Foreign,
    /// Its folder is no longer where the plan says: somebody moved it, or mounted something over it.
    Moved,
    /// Stopped, because somebody asked.
    Stopped,
    /// Anything else; another attempt may help.
    Other,
}

impl StoreError {
    /// What to do where a store's server permits no deletion.
    pub const NO_DELETION: &str =
        "give who writes there the right to delete, or say `append_only = true` in the store's block";
}

impl StoreErrorKind {
    /// Whether who asks may not do so, as servers tell it.
    pub fn is_refusal(self) -> bool {
        matches!(self, StoreErrorKind::Denied | StoreErrorKind::Credentials)
    }

    /// Whether another attempt meets the same.
    pub fn is_lasting(self) -> bool {
        matches!(
            self,
            StoreErrorKind::Credentials
                | StoreErrorKind::Handshake
                | StoreErrorKind::Foreign
                | StoreErrorKind::Moved
                | StoreErrorKind::Full
                | StoreErrorKind::TooLarge
        )
    }

    /// Whether the store as a whole cannot be had now: what a plan says of one that is absent holds then.
    pub fn is_away(self) -> bool {
        matches!(self, StoreErrorKind::Absent | StoreErrorKind::Unreachable)
    }

    /// What a person can do about it, to stand behind the cause; empty where nobody knows.
    fn mend(self) -> &'static str {
        match self {
            StoreErrorKind::Full => "; free some room there: what it holds is as whole as before",
            StoreErrorKind::TooLarge => {
                "; see what one file may have there, by its file system and the limits of this process (`ulimit -f`)"
            }
            StoreErrorKind::Denied => {
                "; see that it is not mounted read-only, and that the account that runs this may do so"
            }
            StoreErrorKind::Absent => "; mount it, or make the folder that it is to be in",
            StoreErrorKind::Unreachable => {
                "; see that it is there, and mounted, or that its server can be reached from here"
            }
            StoreErrorKind::Credentials => {
                "; see the keys that the plan gives (else the environment's), the region, the clock of this machine, and what these keys may do there"
            }
            StoreErrorKind::Busy => {
                "; the server asks for fewer requests: give the store a `bandwidth`, or the plan fewer `limits.jobs`, or try again later"
            }
            StoreErrorKind::Changed => "; try again: the next attempt goes by what is there then",
            StoreErrorKind::NotFound
            | StoreErrorKind::Exists
            | StoreErrorKind::Disk
            | StoreErrorKind::Handshake
            | StoreErrorKind::Foreign
            | StoreErrorKind::Moved
            | StoreErrorKind::Stopped
            | StoreErrorKind::Other => "",
        }
    }
}

/// How a creation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Creation {
    /// The object is there now, durably.
    Created,
    /// There was one already; it was not touched.
    Exists,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: Name,
    /// Bytes.
    pub size: u64,
}

/// What stands directly in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: fs::Kind,
}

/// What a store can do beyond the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Two creations of one name: exactly one wins.
    pub atomic_create: bool,
    /// This host may delete backups.
    pub delete: bool,
    /// Its room can be used up to the last byte.
    pub fills_up: bool,
    /// What returned `Ok` is known to survive a power cut.
    pub durable: bool,
}

/// The reading half. What can only read (dry run, listing, restore) is given only this.
pub trait ReadStore: Send + Sync + fmt::Debug {
    /// The store's name in the plan, for messages.
    fn label(&self) -> &str;

    /// A whole small object.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] and others.
    fn read(&self, name: &Name) -> Result<Vec<u8>, StoreError>;

    /// `len` bytes from `offset`; fewer only where the object ends.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] and others.
    fn read_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>, StoreError>;

    /// An object's size in bytes; `None` if it is not there.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError>;

    /// Hands on the objects whose names start with `folder` and a slash, at any depth, of the root where `None`: each once, as the
    /// listing comes, in no order. What is held of it meanwhile does not grow with how many there are. A folder that is not there is
    /// empty.
    ///
    /// # Errors
    /// When the listing could not be made whole, or has no end. What was handed on until then is not all.
    fn each(&self, folder: Option<&Name>, take: &mut dyn FnMut(Object)) -> Result<(), StoreError>;

    /// The same, all together, sorted by name.
    ///
    /// # Errors
    /// When the listing could not be made whole.
    fn list(&self, folder: Option<&Name>) -> Result<Vec<Object>, StoreError> {
        let mut objects = Vec::new();
        self.each(folder, &mut |object| objects.push(object))?;
        objects.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(objects)
    }

    /// Everything that stands directly in a folder, sorted by name, also what is no object: where an object is expected,
    /// what took its place must not pass for nothing. A folder that is not there is empty.
    ///
    /// # Errors
    /// When the listing could not be made whole.
    fn entries(&self, folder: &Name) -> Result<Vec<Entry>, StoreError>;

    /// The objects that stand directly in the root, sorted by name, as [`ReadStore::entries`] tells of a folder.
    ///
    /// # Errors
    /// When the listing could not be made whole.
    fn root(&self) -> Result<Vec<Entry>, StoreError>;

    /// Whether it takes anything at all, as far as that can be told without leaving something behind.
    ///
    /// # Errors
    /// Why it does not.
    fn may_write(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What stands in a folder, or anywhere (`None`), that is neither an object nor a folder: links and the like, which are never
    /// followed. What they stand for is missing. Only where files are stored as files.
    ///
    /// # Errors
    /// When the listing could not be made whole.
    fn strange(&self, folder: Option<&Name>) -> Result<Vec<Name>, StoreError> {
        let _ = folder;
        Ok(Vec::new())
    }
}

/// A store.
pub trait Store: ReadStore {
    /// What it can do beyond the least.
    fn capabilities(&self) -> Capabilities;

    /// Sees that what is written is where the plan says that the store is, and not in a folder that was moved away since it was
    /// opened.
    ///
    /// # Errors
    /// [`StoreErrorKind::Moved`].
    fn in_place(&self) -> Result<(), StoreError>;

    /// Creates a small object in one shot, if there is none of that name.
    ///
    /// # Errors
    /// When it is not known to be there, durably, with these bytes.
    fn create(&self, name: &Name, bytes: &[u8]) -> Result<Creation, StoreError>;

    /// Creates or replaces a small object, whole. Only a lease's holder does this, with its lease.
    ///
    /// # Errors
    /// When it is not known to be there, durably, with these bytes.
    fn replace(&self, name: &Name, bytes: &[u8]) -> Result<(), StoreError>;

    /// Starts an upload of `name`. Until it is finished, a store that needs a name for it takes `temporary`. `about` says how
    /// many bytes will come, as far as somebody knows; a store may prepare for that, and takes fewer or more all the same.
    ///
    /// # Errors
    /// When nothing can be written.
    fn upload(
        &self,
        name: &Name,
        temporary: &Name,
        about: Option<u64>,
    ) -> Result<Box<dyn Upload>, StoreError>;

    /// Brings a file of this host into the store as `name`, through `temporary`, by the cheapest safe way. The store may
    /// share the file itself (a hard link): nobody may write to it any more, removing it is fine.
    ///
    /// # Errors
    /// As an upload's; [`StoreErrorKind::Stopped`] once `control` says so.
    fn put_file(
        &self,
        file: &Path,
        temporary: &Name,
        name: &Name,
        control: &Control,
    ) -> Result<Creation, StoreError>;

    /// Deletes an object, durably. One that is not there is a success.
    ///
    /// # Errors
    /// When it is not known to be gone.
    fn delete(&self, name: &Name) -> Result<(), StoreError>;

    /// Gives up uploads of this name that were begun and not finished, which are no objects, and says how many. Only a lease's
    /// holder does this, for names that a dead run was to write.
    ///
    /// # Errors
    /// When the store cannot tell, or not give them up.
    fn give_up(&self, _name: &Name) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Has the store itself hold an object, in all its versions, until a moment at the least, whatever this host is told to do to
    /// it; `false` where it holds nothing of itself.
    ///
    /// # Errors
    /// When it holds others, and this one is not known to be held.
    fn hold(&self, _name: &Name, _until: Timestamp) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Removes what interrupted writes left below a folder under names of the store's own making, which no listing
    /// shows, and empty folders directly in it; says how many names there were. Only a lease's holder does this.
    ///
    /// # Errors
    /// When the store cannot tell, or not remove.
    fn sweep(&self, folder: &Name) -> Result<u64, StoreError>;
}

/// An object on its way into a store. Dropped, it is aborted.
pub trait Upload: Send + fmt::Debug {
    /// Appends.
    ///
    /// # Errors
    /// When the bytes could not be taken.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Whether [`Upload::again`] sends less than [`Upload::write`].
    fn copies(&self) -> bool {
        false
    }

    /// Appends bytes that another object of the store has at `offset`, where it may copy them itself.
    ///
    /// # Errors
    /// When the bytes could not be taken.
    fn again(&mut self, _from: &Name, _offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(bytes)
    }

    /// Says that the next `len` bytes, which are few, are going to be patched: a store that sends what it is given holds them
    /// back until then.
    fn hold(&mut self, _len: u64) {}

    /// Replaces bytes that were held.
    ///
    /// # Errors
    /// When the bytes could not be taken.
    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// Appends `len` bytes of a file of this host, from `offset`; a store that is on the same file system may share them.
    ///
    /// # Errors
    /// When the bytes could not be had, or not be taken.
    fn copy_from(&mut self, from: &File, offset: u64, len: u64) -> Result<(), StoreError>;

    /// Makes the object durable and gives it its name, if there is none of that name.
    ///
    /// # Errors
    /// When it is not known to be there, durably.
    fn finish(self: Box<Self>) -> Result<Creation, StoreError>;
}
