//! Whose store this is. `format.yaml` says which plan of which machine writes here; this host remembers which stores it has
//! written to. Together they tell a new store from the wrong disk.

use backplan_compiler::count::plural;
use std::path::Path;
use std::sync::Arc;

use backplan_compiler::model::Store as Declared;
use serde::{Deserialize, Serialize};

use super::details::RawPath;
use super::ids::Uuid;
use super::layout::Layout;
use super::manifest::{FORMAT, HostRef, MIN_READER};
use crate::machine::host_name;
use crate::programs::secrets::Secrets;
use crate::store::{self, Creation, ReadStore, Store, StoreError, StoreErrorKind};

/// Bytes of a `format.yaml` at the most.
const MAX_BYTES: usize = 64 << 10;

/// The contents of `format.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Of the plan's folder in this store: [`FORMAT`].
    pub format: u32,
    /// The oldest format number a reader must know.
    pub min_reader: u32,
    /// Features beyond the format that a writer must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The plan's identity.
    pub id: Uuid,
    /// The plan's name.
    pub plan: String,
    /// The machine that owns the plan here.
    pub machine: HostRef,
    /// The plan's file on that machine.
    pub file: RawPath,
}

/// What a run says of itself to a store.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// The plan's file, absolute.
    pub file: &'a Path,
    /// This machine.
    pub machine: HostRef,
    /// The identity that a new store is given.
    pub id: Uuid,
    /// The identity that this host remembers of this store; `None`: never seen.
    pub known: Option<Uuid>,
    /// Somebody said that this plan and machine are to take it over.
    pub adopt: bool,
}

/// What a store is to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing of this plan is there yet.
    New,
    /// It is this plan's, on this machine.
    Ours(Format),
    /// It is another's, and to be taken over. Its identity stays.
    Adopted(Format),
}

/// Why a store is not for this run.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its folder is not there, and was.
    #[error(
        "store `{store}`: the folder `{folder}` is not there, and earlier runs wrote to it: is a disk not mounted? \
         mount it; if the backups in it are given up, say `plan run --adopt`"
    )]
    FolderMissing {
        /// The store.
        store: String,
        /// Its folder.
        folder: String,
    },
    /// `format.yaml` is not there, and was.
    #[error(
        "store `{store}`: nothing of plan `{plan}` is in it, and earlier runs wrote to it: is the wrong disk mounted? \
         mount the right one (a bucket was emptied, or is another one: see its name in the plan); if the earlier backups are given up, say `plan run --adopt`"
    )]
    WrongDisk {
        /// The store.
        store: String,
        /// The plan.
        plan: String,
    },
    /// There are manifests, but no `format.yaml`.
    #[error(
        "store `{store}`: `{object}` is gone, and {} of plan `{plan}` are there: they stay, and can be restored. If they are this plan's, \
         `plan run --adopt` makes it anew, and deletes nothing", plural(*runs, "run")
    )]
    FormatMissing {
        /// The store.
        store: String,
        /// The object.
        object: String,
        /// The plan.
        plan: String,
        /// How many runs are there.
        runs: usize,
    },
    /// `format.yaml` is not what it should be.
    #[error("store `{store}`: `{object}` is damaged: {cause}; remove it and say `plan run --adopt`")]
    Damaged {
        /// The store.
        store: String,
        /// The object.
        object: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A newer program writes here.
    #[error(
        "store `{store}`: `{object}` has format {format} and needs a program that reads format {min_reader}; this one \
         reads {FORMAT}: install a newer one"
    )]
    Newer {
        /// The store.
        store: String,
        /// The object.
        object: String,
        /// Its format.
        format: u32,
        /// The format number a reader must know.
        min_reader: u32,
    },
    /// Another machine owns the plan here.
    #[error(
        "store `{store}`: plan `{plan}` belongs to machine `{host}` ({machine}) there; {}rename this plan, or say \
         `plan run --adopt` if this machine takes it over, or is that one and has lost its own state",
        if *host == host_name() { "that is this machine's name: see first that HOME and XDG_STATE_HOME are those of its other runs. Else " } else { "" }
    )]
    OtherMachine {
        /// The store.
        store: String,
        /// The plan.
        plan: String,
        /// Its machine's name.
        host: String,
        /// Its machine's id.
        machine: Uuid,
    },
    /// Another plan of this name owns it.
    #[error(
        "store `{store}`: plan `{plan}` there is the one of `{file}`; rename this plan, or say `plan run --adopt` if this file \
         takes its place"
    )]
    OtherPlan {
        /// The store.
        store: String,
        /// The plan's name.
        plan: String,
        /// Its file.
        file: String,
    },
    /// A number in it ends all numbers.
    #[error(
        "store `{store}`: `{object}` has a number that no run of this plan can have come to: move it away; if runs of \
         another machine have come so far, say `plan run --adopt`"
    )]
    Beyond {
        /// The store.
        store: String,
        /// The object.
        object: String,
    },
    /// It is not the store that earlier runs wrote to.
    #[error(
        "store `{store}`: plan `{plan}` there has the identity {found}, not {known} as in earlier runs: is another disk \
         mounted? mount the right one, or say `plan run --adopt` to go on with this one"
    )]
    OtherStore {
        /// The store.
        store: String,
        /// The plan.
        plan: String,
        /// What earlier runs saw.
        known: Uuid,
        /// What is there.
        found: Uuid,
    },
}

/// A store that was opened; an error: its place is not there, and may be made.
#[derive(Debug)]
pub struct Opened(Result<Arc<dyn Store>, StoreError>);

/// Opens a store. Where its place is not there, it may be made if this host has never seen it, or somebody says `--adopt`.
///
/// # Errors
/// [`IdentityError::FolderMissing`] where it was seen and is gone.
pub fn open(
    declared: &Declared,
    secrets: &Secrets,
    known: Option<Uuid>,
    adopt: bool,
) -> Result<Opened, IdentityError> {
    match store::open(declared, secrets) {
        Err(error) if error.kind != StoreErrorKind::Absent => Err(error.into()),
        Err(error) => may_be_made(declared, known, adopt).map(|()| Opened(Err(error))),
        opened => Ok(Opened(opened)),
    }
}

/// Whether a store whose place is not there may be made.
///
/// # Errors
/// [`IdentityError::FolderMissing`] where it was seen and is gone.
pub fn may_be_made(declared: &Declared, known: Option<Uuid>, adopt: bool) -> Result<(), IdentityError> {
    if known.is_none() || adopt {
        return Ok(());
    }
    let (store, folder) = (declared.name.clone(), declared.location().to_string());
    Err(IdentityError::FolderMissing { store, folder })
}

impl Opened {
    /// The store, where it is there.
    ///
    /// # Errors
    /// Where it is not.
    pub fn store(&self) -> Result<&Arc<dyn Store>, &StoreError> {
        self.0.as_ref()
    }

    /// The same as a value.
    ///
    /// # Errors
    /// Where it is not.
    pub fn into_store(self) -> Result<Arc<dyn Store>, StoreError> {
        self.0
    }

    /// The store, which is made where it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn made(self, declared: &Declared, secrets: &Secrets) -> Result<Arc<dyn Store>, StoreError> {
        self.0.or_else(|_| store::make(declared, secrets))
    }
}

/// Reads `format.yaml`; `None` if it is not there.
///
/// # Errors
/// When it cannot be read, is damaged, or newer.
pub fn read_format(store: &dyn ReadStore, layout: &Layout) -> Result<Option<Format>, IdentityError> {
    let name = layout.format();
    let damaged = |cause: String| IdentityError::Damaged {
        store: store.label().to_owned(),
        object: name.to_string(),
        cause,
    };
    let bytes = match store.read_range(&name, 0, MAX_BYTES) {
        Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind == StoreErrorKind::Foreign => {
            return Err(damaged("it is not a regular file".to_owned()));
        }
        bytes => bytes?,
    };
    #[derive(Deserialize)]
    struct Header {
        format: u32,
        min_reader: u32,
        #[serde(default)]
        requires: Vec<String>,
    }
    let header: Header = crate::yaml::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if header.min_reader > FORMAT || !header.requires.is_empty() {
        let (store, object) = (store.label().to_owned(), name.to_string());
        return Err(IdentityError::Newer {
            store,
            object,
            format: header.format,
            min_reader: header.min_reader,
        });
    }
    let format: Format = crate::yaml::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if format.plan != layout.plan() {
        return Err(damaged(format!("it is of plan `{}`", format.plan)));
    }
    Ok(Some(format))
}

impl Standing {
    /// Whether claiming the store writes its `format.yaml`.
    pub fn writes_format(&self) -> bool {
        !matches!(self, Standing::Ours(_))
    }
}

/// Says what the store is to this claim. Reads only.
///
/// # Errors
/// When it is not for this run; each kind says what can be done.
pub fn inspect(store: &dyn ReadStore, layout: &Layout, claim: &Claim<'_>) -> Result<Standing, IdentityError> {
    let Some(format) = read_format(store, layout)? else {
        return inspect_without(store, layout, claim);
    };
    let error = if claim.known.is_some_and(|known| known != format.id) {
        IdentityError::OtherStore {
            store: store.label().to_owned(),
            plan: format.plan.clone(),
            known: claim.known.unwrap_or(format.id),
            found: format.id,
        }
    } else if format.machine.machine != claim.machine.machine {
        IdentityError::OtherMachine {
            store: store.label().to_owned(),
            plan: format.plan.clone(),
            host: format.machine.name.clone(),
            machine: format.machine.machine,
        }
    } else if format.file.0 != claim.file {
        IdentityError::OtherPlan {
            store: store.label().to_owned(),
            plan: format.plan.clone(),
            file: format.file.0.display().to_string(),
        }
    } else {
        return Ok(Standing::Ours(format));
    };
    if claim.adopt { Ok(Standing::Adopted(format)) } else { Err(error) }
}

fn inspect_without(
    store: &dyn ReadStore,
    layout: &Layout,
    claim: &Claim<'_>,
) -> Result<Standing, IdentityError> {
    if claim.adopt {
        return Ok(Standing::New);
    }
    let manifests = store.entries(&layout.manifests())?;
    if !manifests.is_empty() {
        let runs = manifests.iter().filter(|entry| layout.run_of_manifest(&entry.name).is_some()).count();
        return Err(IdentityError::format_missing(store, layout, runs));
    }
    match claim.known {
        Some(_) => {
            Err(IdentityError::WrongDisk { store: store.label().to_owned(), plan: layout.plan().to_owned() })
        }
        None => Ok(Standing::New),
    }
}

impl IdentityError {
    /// Of a store that has so many runs.
    pub fn format_missing(store: &dyn ReadStore, layout: &Layout, runs: usize) -> IdentityError {
        IdentityError::FormatMissing {
            store: store.label().to_owned(),
            object: layout.format().to_string(),
            plan: layout.plan().to_owned(),
            runs,
        }
    }
}

/// Makes the store this claim's, if [`inspect`] still allows it. Only under the store's lease. What it returns is to be
/// remembered by the host afterwards, not before: a memory of what is not there yet would look like a wrong disk.
///
/// # Errors
/// As [`inspect`], and when `format.yaml` cannot be written.
pub fn claim(store: &dyn Store, layout: &Layout, claim: &Claim<'_>) -> Result<Format, IdentityError> {
    let format = |id| Format {
        format: FORMAT,
        min_reader: MIN_READER,
        requires: Vec::new(),
        id,
        plan: layout.plan().to_owned(),
        machine: claim.machine.clone(),
        file: RawPath::from(claim.file),
    };
    match inspect(store, layout, claim)? {
        Standing::Ours(format) => Ok(format),
        Standing::Adopted(found) => {
            let format = format(found.id);
            store.replace(&layout.format(), &to_bytes(store, layout, &format)?)?;
            Ok(format)
        }
        Standing::New => {
            let format = format(claim.id);
            match store.create(&layout.format(), &to_bytes(store, layout, &format)?)? {
                Creation::Created => Ok(format),
                // Somebody else's, or our own from an attempt that was not told of its success.
                Creation::Exists => match inspect(store, layout, claim)? {
                    Standing::Ours(format) | Standing::Adopted(format) => Ok(format),
                    Standing::New => Err(IdentityError::WrongDisk {
                        store: store.label().to_owned(),
                        plan: layout.plan().to_owned(),
                    }),
                },
            }
        }
    }
}

fn to_bytes(store: &dyn ReadStore, layout: &Layout, format: &Format) -> Result<Vec<u8>, IdentityError> {
    yaml_serde::to_string(format).map(String::into_bytes).map_err(|error| IdentityError::Damaged {
        store: store.label().to_owned(),
        object: layout.format().to_string(),
        cause: error.to_string(),
    })
}
