//! The archive of a cluster's write-ahead log: what `archive_command` and `restore_command` call, what is there, and what
//! may go.

pub mod adopt;
pub mod archive;
pub mod bring;
pub mod cluster;
pub mod expiry;
pub mod fetch;
pub mod held;
pub mod lsn;
pub mod name;
pub mod object;
pub mod push;
pub mod records;
pub mod rival;
mod sealed;
mod send;
pub mod survey;
pub mod waiting;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::model::{Model, Source, Store};
use jiff::Timestamp;

use crate::control::Control;
use crate::places::account;
use crate::programs::process::{self, Program, Tell};
use crate::store::StoreError;
use archive::{Access, Archive, Owner};
use cluster::NoSegment;
use lsn::Lsn;
use name::BadWalName;
use object::ObjectError;

/// Why a file of the log was not archived, or not brought back.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The store has no archive for the source.
    #[error(
        "store `{store}` has no archive for the write-ahead log of `{source_name}` (`{place}`): the wrong disk \
         may be mounted, or it was not made yet"
    )]
    NoArchive {
        /// The store.
        store: String,
        /// The source.
        source_name: String,
        /// Where it would be.
        place: String,
    },
    /// Something else is where the archive would be.
    #[error("`{place}` is not the archive that is meant: {what}")]
    Foreign {
        /// Where.
        place: String,
        /// What it is.
        what: String,
    },
    /// No file of the log is called so.
    #[error(transparent)]
    Name(#[from] BadWalName),
    /// There is no cluster to tell whose log it is.
    #[error("`{}`: {cause}: the data directory of the cluster is not here", path.display())]
    NoCluster {
        /// What was looked for.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// A segment of another cluster.
    #[error("`{name}` is of cluster {found}, and the data directory holds cluster {wanted}")]
    OtherCluster {
        /// The file.
        name: String,
        /// Its system identifier.
        found: u64,
        /// The data directory's.
        wanted: u64,
    },
    /// A file that is not the segment that it is called.
    #[error("`{name}`: {cause}")]
    NoSegment {
        /// The file.
        name: String,
        /// Why.
        #[source]
        cause: NoSegment,
    },
    /// A file of that name with other content is there.
    #[error(
        "store `{store}` has `{name}` already, with other content: a copy of the cluster archives to the same place"
    )]
    Differs {
        /// The store.
        store: String,
        /// The file.
        name: String,
    },
    /// The server of the plan is another one, and runs.
    #[error(
        "`{}` is a copy of the cluster in `{}`, whose server runs and archives to the same place", copy.display(),
        original.display()
    )]
    Copy {
        /// The copy's data directory.
        copy: PathBuf,
        /// The original's.
        original: PathBuf,
    },
    /// A timeline goes on beside the one that left it.
    #[error(
        "timeline {timeline} left timeline {parent} at {at}, and store `{store}` has got timeline {parent} further since, to \
         `{last}` at {}: one of the two clusters is a copy",
        crate::moment::shown(*archived)
    )]
    Forked {
        /// The store.
        store: String,
        /// The timeline that is refused.
        timeline: u32,
        /// The one that goes on.
        parent: u32,
        /// Where they part.
        at: Lsn,
        /// Its last segment.
        last: String,
        /// When that was archived.
        archived: Timestamp,
    },
    /// No store has the file.
    #[error("`{0}` is not in the archive")]
    Absent(String),
    /// A store is away that may have the file.
    #[error("{cause}; it may have `{name}`, which the others have not")]
    Away {
        /// The file.
        name: String,
        /// Why the store cannot be read.
        cause: String,
    },
    /// No store has the file, and what comes after it is there.
    #[error("`{name}` is missing from the archive, which goes on with `{next}`: recovery ends before it")]
    Hole {
        /// The file.
        name: String,
        /// The next one that is there.
        next: String,
    },
    /// The log in a tool's own repository.
    #[error("the repository `{place}`: {what}")]
    Repository {
        /// Where it is.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A file in the archive is no good.
    #[error("store `{store}`: `{name}`: {cause}")]
    Object {
        /// The store.
        store: String,
        /// The file.
        name: String,
        /// What is wrong with it.
        #[source]
        cause: ObjectError,
    },
    /// The server's account cannot write to its archive.
    #[error(
        "`{account}` cannot write to `{}`: {}", folder.display(),
        if *is_own { "let it pass through the folders above (`chmod o+x`)" } else { "give it that folder with all in it (`chown -R`)" }
    )]
    OutOfReach {
        /// The account.
        account: String,
        /// Whether the archive is its own.
        is_own: bool,
        /// The archive.
        folder: PathBuf,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of this machine.
    #[error("`{}`: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
}

impl WalError {
    /// Whether it says that two clusters archive to one place.
    pub fn is_of_a_copy(&self) -> bool {
        matches!(self, WalError::Differs { .. } | WalError::Copy { .. } | WalError::Forked { .. })
    }
}

impl From<ObjectError> for WalError {
    /// For trouble with the file that is archived: the archive's own is told with its name.
    fn from(cause: ObjectError) -> WalError {
        match cause {
            ObjectError::Store(error) => WalError::Store(error),
            cause => {
                WalError::Object { store: "this machine".to_owned(), name: "the file".to_owned(), cause }
            }
        }
    }
}

/// Makes the archive of a source in a store; in a folder, for the account that its server runs as. Says whether it made it.
///
/// # Errors
/// When it could not be made, or something else is there.
pub fn init(model: &Model, source: &Source, store: &Store, access: &Access) -> Result<bool, WalError> {
    let is_given = store.folder().is_some() && rustix::process::geteuid().is_root();
    let owner = if is_given { server_account(source)? } else { None };
    let made = Archive::init(store, &model.name, &source.name, owner, access)?;
    if let (Some(_), Some(root), Some(postgres)) = (owner, store.folder(), source.postgres())
        && let Some(account) = &postgres.run_as
    {
        let folder = archive::folder(root, &model.name, &source.name);
        let argv = ["test", "-w", &folder.to_string_lossy()].map(str::to_owned).to_vec();
        let look = Program { run_as: Some(account.clone()), folder: Some("/".into()), ..Program::new(argv) };
        let silent: Tell = Arc::new(|_| {});
        if process::run(&look, &Control::default(), &silent).is_err() {
            let number = account::find(account).ok().flatten().map(|(user, _)| user);
            let is_own = std::fs::metadata(&folder).is_ok_and(|seen| Some(seen.uid()) == number);
            return Err(WalError::OutOfReach { account: account.clone(), is_own, folder });
        }
    }
    Ok(made)
}

/// The account that a source's server runs as, as far as the plan tells: its `run_as`, or the owner of its `data_dir`.
fn server_account(source: &Source) -> Result<Owner, WalError> {
    let Some(postgres) = source.postgres() else { return Ok(None) };
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| WalError::File { path, cause }
    };
    match (&postgres.run_as, &postgres.data_dir) {
        (Some(name), _) => {
            let found = account::find(name).and_then(|found| match found {
                Some(found) => Ok(found),
                None => Err(io::Error::other(account::missing(name))),
            });
            found.map(Some).map_err(failed(Path::new(name)))
        }
        (None, Some(data)) => archive::owner_of(data).map(Some).map_err(failed(data)),
        (None, None) => Ok(None),
    }
}
