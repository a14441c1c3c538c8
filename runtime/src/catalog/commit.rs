//! Bringing a run into a store. Intent, artefacts, sums, manifest, intent away: the backup exists from the manifest on.

use backplan_compiler::count::plural;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ids::RunId;
use super::layout::{Layout, artefact_name};
use super::lock::{Lease, LockError};
use super::manifest::{MAX_BYTES, Manifest, ManifestError};
use super::recover::{
    HEAD_BYTES, Intended, Intent, Mark, Memory, Past, RecoverError, Recovered, RecoveryPlan,
};
use super::runs::{Problem, read_manifest};
use crate::control::Control;
use crate::store::{BadName, Creation, Name, Store, StoreError, StoreErrorKind, Upload, send};

/// Why a run did not come into a store.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store. Another attempt at the same step may help.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lease.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An artefact's name is none.
    #[error(transparent)]
    Name(#[from] BadName),
    /// There is something of an artefact's name, and it is not this run's.
    #[error(
        "store `{store}`: `{artefact}` is there already, and nothing is ever overwritten: give the archive another name; only what no run of \
         `plan list` has may be moved away"
    )]
    ArtefactExists {
        /// The store.
        store: String,
        /// The artefact.
        artefact: String,
    },
    /// Two archives of the run have one name.
    #[error("`{0}` is the name of two artefacts of this run")]
    Twice(String),
    /// There is a run of this id already.
    #[error("store `{store}`: run `{run}` is there already")]
    RunExists {
        /// The store.
        store: String,
        /// The run.
        run: RunId,
    },
    /// An artefact is not there, or not as the manifest says.
    #[error("store `{store}`: `{artefact}` {what}, so the run is not committed")]
    NotWhole {
        /// The store.
        store: String,
        /// The artefact.
        artefact: String,
        /// What is wrong with it.
        what: String,
    },
    /// A run that this one rests on is not in the store.
    #[error(
        "store `{store}`: run `{base}`, on which this one rests, is not there; the next run takes whole what would rest on it"
    )]
    BaseMissing {
        /// The store.
        store: String,
        /// The run that is missing.
        base: RunId,
    },
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Whether the manifest is there cannot be told: the next run finds out.
    #[error("store `{store}`: whether run `{run}` was committed cannot be told: {cause}")]
    Uncertain {
        /// The store.
        store: String,
        /// The run.
        run: RunId,
        /// Why.
        #[source]
        cause: Box<CommitError>,
    },
    /// It cannot be undone.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// A run on its way into a store.
pub struct Transaction {
    store: Arc<dyn Store>,
    layout: Layout,
    lease: Arc<Lease>,
    mark: Arc<Mark>,
    intent: Intent,
    /// An attempt to commit ended in doubt, and none since has told.
    in_doubt: AtomicBool,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("store", &self.store)
            .field("intent", &self.intent)
            .finish_non_exhaustive()
    }
}

/// A run that is in a store.
#[derive(Debug)]
#[must_use]
pub struct Committed {
    /// What could not be tidied up: a warning, the next run does it.
    pub untidy: Option<StoreError>,
}

impl Transaction {
    /// Writes the intent. Nothing of its names may be there.
    ///
    /// # Errors
    /// [`CommitError::ArtefactExists`] before anything is written.
    pub fn begin(
        store: Arc<dyn Store>,
        layout: Layout,
        lease: Arc<Lease>,
        mark: Arc<Mark>,
        intent: Intent,
    ) -> Result<Transaction, CommitError> {
        lease.confirm()?;
        let run = intent.run;
        if store.size(&layout.manifest(&run))?.is_some() {
            return Err(CommitError::RunExists { store: store.label().to_owned(), run });
        }
        free(&*store, &intent.artefacts)?;
        let text = yaml_serde::to_string(&intent).map_err(|error| ManifestError::Damaged {
            object: layout.intent(&run).to_string(),
            cause: error.to_string(),
        })?;
        create_or_find(&*store, &layout.intent(&run), text.as_bytes(), &|found| intent.is_told_by(found))?
            .ok_or(CommitError::RunExists { store: store.label().to_owned(), run })?;
        Ok(Transaction { store, layout, lease, mark, intent, in_doubt: AtomicBool::new(false) })
    }

    /// Takes up what an earlier process of the same attempt has begun; `None`: it has not, or somebody has taken it back.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn resume(
        store: Arc<dyn Store>,
        layout: Layout,
        lease: Arc<Lease>,
        mark: Arc<Mark>,
        intent: Intent,
    ) -> Result<Option<Transaction>, CommitError> {
        lease.confirm()?;
        let is_told = match store.read_range(&layout.intent(&intent.run), 0, MAX_BYTES) {
            Ok(found) => intent.is_told_by(&found),
            Err(error) if error.kind == StoreErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        let resumed = Transaction { store, layout, lease, mark, intent, in_doubt: AtomicBool::new(false) };
        Ok(if is_told || resumed.is_committed()? { Some(resumed) } else { None })
    }

    /// Takes away what an earlier process of this attempt has brought under an artefact's name, where what is brought now is packed
    /// anew: the two would pass for one another.
    ///
    /// # Errors
    /// When it is there and cannot be taken away, or is not this run's, or the run is committed.
    pub fn withdraw(&self, artefact: &str) -> Result<(), CommitError> {
        let name = self.intended(artefact)?;
        match self.store.size(&name) {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            // A folder or a symlink has the name.
            Err(error) if error.kind == StoreErrorKind::Foreign => {}
            Err(error) => return Err(error.into()),
        }
        let (store, run) = (self.store.label().to_owned(), self.intent.run);
        if self.store.size(&self.layout.manifest(&run))?.is_some() {
            return Err(CommitError::RunExists { store, run });
        }
        let head = self.store.read_range(&name, 0, HEAD_BYTES)?;
        if (self.mark)(&head) != Some(run) {
            return Err(CommitError::ArtefactExists { store, artefact: artefact.to_owned() });
        }
        self.lease.confirm()?;
        Ok(self.store.delete(&name)?)
    }

    /// Whether the manifest of this very attempt is there.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_committed(&self) -> Result<bool, CommitError> {
        let Intent { run, nonce, .. } = &self.intent;
        match read_manifest(&*self.store, &self.layout, run) {
            Ok(found) => Ok(found.is_some_and(|found| found.nonce == *nonce)),
            Err(Problem::Store(error)) => Err(error.into()),
            Err(Problem::Manifest(error)) => Err(error.into()),
        }
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.intent.run
    }

    /// Publishes a file of this host as an artefact. May be called again after an error.
    ///
    /// # Errors
    /// When it is not known to be there; [`CommitError::ArtefactExists`] when somebody else put something there.
    pub fn put_file(&self, artefact: &str, file: &Path, control: &Control) -> Result<(), CommitError> {
        let name = self.intended(artefact)?;
        let creation = self.store.put_file(file, &self.temporary(&name), &name, control)?;
        self.settled(artefact, &name, creation)
    }

    /// As [`Transaction::put_file`], always by sending its bytes, through what is laid around the upload.
    ///
    /// # Errors
    /// As [`Transaction::put_file`].
    pub fn send_file(
        &self,
        artefact: &str,
        file: &Path,
        control: &Control,
        around: impl FnOnce(Box<dyn Upload>) -> Box<dyn Upload>,
    ) -> Result<(), CommitError> {
        let failed = |kind, cause| StoreError {
            store: self.store.label().to_owned(),
            doing: format!("bring `{}` as `{artefact}`", file.display()),
            kind,
            cause,
        };
        let about = file.metadata().ok().map(|meta| meta.len());
        let mut upload = around(self.upload(artefact, about)?);
        send(file, upload.as_mut(), control, &failed)?;
        self.finish(upload, artefact)
    }

    /// Starts to stream an artefact, of about so many bytes where somebody knows.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn upload(&self, artefact: &str, about: Option<u64>) -> Result<Box<dyn Upload>, CommitError> {
        let name = self.intended(artefact)?;
        Ok(self.store.upload(&name, &self.temporary(&name), about)?)
    }

    /// Publishes what was streamed.
    ///
    /// # Errors
    /// As [`Transaction::put_file`].
    pub fn finish(&self, upload: Box<dyn Upload>, artefact: &str) -> Result<(), CommitError> {
        let name = self.intended(artefact)?;
        let creation = upload.finish()?;
        self.settled(artefact, &name, creation)
    }

    fn intended(&self, artefact: &str) -> Result<Name, CommitError> {
        let name = artefact_name(artefact)?;
        if self.intent.artefacts.iter().any(|intended| intended.artefact == artefact) {
            Ok(name)
        } else {
            // Recovery would not know of it.
            Err(BadName(artefact.to_owned()).into())
        }
    }

    fn temporary(&self, artefact: &Name) -> Name {
        self.layout.temporary(&self.intent.run, artefact)
    }

    fn settled(&self, artefact: &str, name: &Name, creation: Creation) -> Result<(), CommitError> {
        if creation == Creation::Created {
            return Ok(());
        }
        // Free when the run began: it is this run's, from an attempt that was not told of its success, or somebody put
        // something there meanwhile.
        let head = self.store.read_range(name, 0, HEAD_BYTES)?;
        if (self.mark)(&head) == Some(self.intent.run) {
            return Ok(());
        }
        let store = self.store.label().to_owned();
        Err(CommitError::ArtefactExists { store, artefact: artefact.to_owned() })
    }

    /// Commits: from its success on the backup exists. May be called again after an error.
    ///
    /// # Errors
    /// [`CommitError::Uncertain`] when the store does not say whether it happened, now or in an earlier attempt. With any
    /// other error it has not.
    pub fn commit(&self, manifest: &Manifest) -> Result<Committed, CommitError> {
        match self.try_commit(manifest) {
            Err(cause) if self.in_doubt.load(Ordering::SeqCst) => Err(CommitError::Uncertain {
                store: self.store.label().to_owned(),
                run: manifest.run,
                cause: Box::new(cause),
            }),
            result => result,
        }
    }

    fn try_commit(&self, manifest: &Manifest) -> Result<Committed, CommitError> {
        self.lease.confirm()?;
        self.complete(manifest)?;
        let bytes = manifest.to_bytes()?;
        self.store.replace(&self.layout.sums(&manifest.run), sums(manifest).as_bytes())?;
        self.drop_unpromised(manifest)?;
        self.lease.confirm()?;
        self.create_manifest(manifest, &bytes)?;
        let untidy = self.store.delete(&self.layout.intent(&self.intent.run)).err();
        Ok(Committed { untidy })
    }

    /// Sees that what the manifest is going to promise is there.
    fn complete(&self, manifest: &Manifest) -> Result<(), CommitError> {
        let store = || self.store.label().to_owned();
        if manifest.run != self.intent.run || manifest.nonce != self.intent.nonce {
            return Err(CommitError::RunExists { store: store(), run: manifest.run });
        }
        for base in manifest.rests_on() {
            if self.store.size(&self.layout.manifest(&base))?.is_none() {
                return Err(CommitError::BaseMissing { store: store(), base });
            }
        }
        for archive in &manifest.archives {
            let what = match self.store.size(&archive.artefact.object())? {
                Some(size) if size == archive.size => continue,
                Some(size) => format!("has {} and should have {}", plural(size, "byte"), archive.size),
                None => "is not there".to_owned(),
            };
            return Err(CommitError::NotWhole {
                store: store(),
                artefact: archive.artefact.to_string(),
                what,
            });
        }
        Ok(())
    }

    /// Removes what came under its name though nobody was told so (a sync that failed behind the rename): without the
    /// intent, nobody would know whose it is.
    fn drop_unpromised(&self, manifest: &Manifest) -> Result<(), CommitError> {
        let promised = |artefact: &str| manifest.archives.iter().any(|archive| archive.artefact == artefact);
        for intended in self.intent.artefacts.iter().filter(|intended| !promised(&intended.artefact)) {
            let name = artefact_name(&intended.artefact)?;
            match self.store.size(&name) {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                // A folder or a symlink: none of ours.
                Err(error) if error.kind == StoreErrorKind::Foreign => continue,
                Err(error) => return Err(error.into()),
            }
            if (self.mark)(&self.store.read_range(&name, 0, HEAD_BYTES)?) == Some(self.intent.run) {
                self.lease.confirm()?;
                self.store.delete(&name)?;
            }
        }
        Ok(())
    }

    fn create_manifest(&self, manifest: &Manifest, bytes: &[u8]) -> Result<(), CommitError> {
        let run = manifest.run;
        let store = || self.store.label().to_owned();
        let ours = |found: &[u8]| {
            let found = Manifest::parse("", found);
            found.is_ok_and(|found| found.run == run && found.nonce == manifest.nonce)
        };
        match create_or_find(&*self.store, &self.layout.manifest(&run), bytes, &ours) {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(CommitError::RunExists { store: store(), run }),
            Err(cause) => {
                let absent = matches!(self.store.size(&self.layout.manifest(&run)), Ok(None));
                self.in_doubt.store(!absent, Ordering::SeqCst);
                Err(cause.into())
            }
        }
    }

    /// Takes back what the run wrote here, once its manifest is proven absent. May be called again after an error; what it
    /// cannot do, the next run's recovery does.
    ///
    /// # Errors
    /// [`RecoverError::Committed`] when the manifest is there: then the run is committed.
    pub fn undo(&self) -> Result<Recovered, CommitError> {
        self.lease.confirm()?;
        match read_manifest(&*self.store, &self.layout, &self.intent.run) {
            Ok(None) => {}
            Err(Problem::Store(error)) => return Err(error.into()),
            Ok(Some(_)) | Err(Problem::Manifest(_)) => {
                return Err(RecoverError::Committed(self.intent.run).into());
            }
        }
        // Deletions that were cut are for the next run's recovery to finish.
        let known = (&*self.mark, self as &dyn Memory);
        let mut plan = RecoveryPlan::make(&*self.store, &self.layout, None, known)?;
        plan.left.retain(|left| {
            let record = [self.layout.run_of_tombstone(&left.name), self.layout.run_of_intent(&left.name)];
            record.iter().flatten().next().is_none()
        });
        Ok(plan.execute(&*self.store, &self.layout, &self.lease)?)
    }
}

/// It knows of its own run: what others left is for the next run's recovery.
impl Memory for Transaction {
    fn past(&self, run: &RunId) -> Past {
        if *run == self.intent.run { Past::Own } else { Past::Unknown }
    }

    fn has_made(&self, _: &RunId, _: &str) -> bool {
        false
    }

    fn trusts(&self, _: &RunId, _: &str) -> bool {
        false
    }
}

fn free(store: &dyn Store, artefacts: &[Intended]) -> Result<(), CommitError> {
    let mut seen = std::collections::BTreeSet::new();
    for intended in artefacts {
        let artefact = &intended.artefact;
        let name = artefact_name(artefact)?;
        if !seen.insert(artefact) {
            return Err(CommitError::Twice(artefact.clone()));
        }
        let taken = match store.size(&name) {
            Ok(size) => size.is_some(),
            // A folder or a symlink has the name.
            Err(error) if error.kind == StoreErrorKind::Foreign => true,
            Err(error) => return Err(error.into()),
        };
        if taken {
            let store = store.label().to_owned();
            return Err(CommitError::ArtefactExists { store, artefact: artefact.clone() });
        }
    }
    Ok(())
}

/// Creates an object, or finds that this attempt did so before, durably; `None`: there is another.
fn create_or_find(
    store: &dyn Store,
    name: &Name,
    bytes: &[u8],
    ours: &dyn Fn(&[u8]) -> bool,
) -> Result<Option<()>, StoreError> {
    let creation = match store.create(name, bytes) {
        Err(error) => match store.read_range(name, 0, MAX_BYTES) {
            // It came through. Whether it would survive a power cut only another attempt tells.
            Ok(found) if ours(&found) => store.create(name, bytes)?,
            _ => return Err(error),
        },
        Ok(creation) => creation,
    };
    match creation {
        Creation::Created => Ok(Some(())),
        Creation::Exists => Ok(ours(&store.read_range(name, 0, MAX_BYTES)?).then_some(())),
    }
}

/// For `sha256sum -c .backplan/PLAN/sums/RUN.sha256` at the store's root.
fn sums(manifest: &Manifest) -> String {
    let mut text = String::new();
    for archive in &manifest.archives {
        if let Some(sha256) = &archive.sha256 {
            let plain = &archive.artefact;
            let escaped = plain.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
            // As coreutils has it: a backslash in front says that the name is escaped.
            let mark = if *plain == escaped { "" } else { "\\" };
            let _ = writeln!(text, "{mark}{sha256}  {escaped}");
        }
    }
    text
}
