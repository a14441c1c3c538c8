//! A run as it was meant when it began: what is asked, its steps, and what they work with. A run and a dry run have the very same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backplan_compiler::graph::{Occasion, StepGraph};
use backplan_compiler::model::{ArchiveId, Command, Model, SourceId, StoreId};
use backplan_compiler::value::{Env, Text};
use jiff::Timestamp;

use super::coordinator::Failure;
use super::entry::Entry;
use super::facts::{Facts, Imprint};
use super::files::RunFiles;
use super::levels::Levels;
use super::prepare::{highest_in, most_believed};
use super::request::Request;
use super::steps::{fill_all, fill_one};
use super::watch::Watch;
use crate::catalog::host::{HostState, Note, PlanState};
use crate::catalog::identity::{Claim, IdentityError};
use crate::catalog::ids::Uuid;
use crate::catalog::layout::Layout;
use crate::catalog::mounted::{self, Expected};
use crate::catalog::owner::Owner;
use crate::control::Control;
use crate::past::cache::Cache;
use crate::past::state::Folders;
use crate::programs::environment;
use crate::programs::process::{ProcessError, Program};
use crate::programs::secrets::{SecretError, Secrets};
use crate::scan::Trees;
use crate::store::ReadStore;
use crate::store::limit::Limit;

/// A run. Nothing of it changes while it goes on, but for what this machine remembers of the plan.
pub(crate) struct Context {
    /// What was asked.
    pub request: Request,
    /// Its steps.
    pub graph: Arc<StepGraph>,
    /// When this process prepared it: how long it has gone on no clock that is set can tell otherwise.
    pub begun: Instant,
    /// What they were filled in with.
    pub occasion: Occasion,
    /// Who and when.
    pub imprint: Imprint,
    /// What its archives were to rest on.
    pub(super) levels: Arc<Levels>,
    /// Names in its stores.
    pub layout: Layout,
    /// Stores that were away when it was prepared, and why.
    pub away: BTreeMap<StoreId, String>,
    /// An earlier process has begun it.
    pub is_resumed: bool,
    /// The file systems that sources are expected to be on.
    pub mounts: Expected,
    /// What is wrong with what the stores have of earlier runs, and what its own look at sources is held against.
    pub watch: Watch,
    /// What links and mounts make of its paths, and is worth knowing.
    pub told: Vec<String>,
    /// This machine.
    pub host: HostState,
    /// What this machine remembers of the plan.
    pub(super) plan: Mutex<PlanState>,
    /// The plan's folders on this host.
    pub folders: Folders,
    /// The files of the run.
    pub files: RunFiles,
    /// Fetches secrets.
    pub secrets: Secrets,
    /// What is sent to all stores together.
    pub limit: Option<Arc<Limit>>,
}

impl Context {
    /// The plan.
    pub fn model(&self) -> &Model {
        &self.request.model
    }

    /// What this machine remembers of the plan.
    pub fn plan(&self) -> MutexGuard<'_, PlanState> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the artefact of an archive is called.
    pub fn artefact(&self, archive: ArchiveId) -> &str {
        self.graph.artefact_names.get(&archive).map_or("", String::as_str)
    }

    /// What the locks of this host say of it.
    pub fn note(&self) -> Note {
        let (plan, run) = (self.model().name.clone(), self.imprint.run.to_string());
        Note { plan, run, pid: std::process::id(), since: self.imprint.started }
    }

    /// The scans of earlier runs.
    pub fn cache(&self) -> Cache {
        Cache::new(self.plan().folder())
    }

    /// What the archives rest on, now that so much is known.
    pub fn levels(&self, facts: &Facts) -> Arc<Levels> {
        if facts.whole.is_empty() && facts.baseless.is_empty() {
            return Arc::clone(&self.levels);
        }
        let mut levels = Levels::clone(&self.levels);
        for (archive, but) in &facts.baseless {
            levels = levels.without_base(*archive, but);
        }
        for source in &facts.whole {
            levels = levels.without_base_of(source);
        }
        Arc::new(levels)
    }

    /// The time; not before the run began.
    pub fn now(&self) -> Timestamp {
        self.request.clock.now().max(self.imprint.started)
    }

    /// The identity of the plan that this host remembers of a store.
    pub fn known(&self, store: StoreId) -> Option<Uuid> {
        let declared = self.model().store(store);
        self.plan().known(&declared.name, &declared.location())
    }

    /// The plan's identity in a store, as its manifests there have it: its name alone may be another machine's too.
    pub fn identity(&self, store: StoreId) -> Uuid {
        self.known(store).unwrap_or(self.imprint.plan)
    }

    /// What the run says of itself to a store of which so much is known.
    pub fn claim(&self, known: Option<Uuid>) -> Claim<'_> {
        Claim {
            file: &self.model().file,
            machine: self.imprint.host.clone(),
            id: self.imprint.plan,
            known,
            adopt: self.request.adopt,
        }
    }

    /// How the run takes a store into use of which so much is known.
    pub(super) fn entry(&self, store: StoreId, known: Option<Uuid>) -> Entry<'_> {
        Entry {
            declared: self.model().store(store),
            layout: &self.layout,
            claim: self.claim(known),
            owner: self.owner(),
            run: Some(&self.imprint.run),
            folder: self.plan().folder().to_path_buf(),
        }
    }

    /// This process, as a lease names it.
    pub fn owner(&self) -> Owner {
        let host = &self.imprint.host;
        Owner::this_process(host.machine, &host.name, &self.imprint.run).noting(self.host.leases())
    }

    /// The highest sequence of a run that a store knows.
    ///
    /// # Errors
    /// When it cannot be read, or none can be higher.
    pub fn highest(&self, store: &dyn ReadStore) -> Result<u32, IdentityError> {
        let most = most_believed(self.plan().sequence(), self.request.adopt);
        // What an earlier process of this run has begun there is no other run's.
        let own = self.is_resumed.then_some(&self.imprint.run);
        highest_in(store, &self.layout, most, own)
    }

    /// What the walk of a source is told, where that is one of files.
    pub fn trees(&self, id: SourceId) -> Option<Trees> {
        mounted::trees(self.model(), &self.mounts, id)
    }

    /// What a program of the plan is given: texts filled in, secrets fetched.
    ///
    /// # Errors
    /// When a text cannot be filled in, or a secret not be had.
    pub fn given(&self, of: &str, env: &Env, secrets: &Secrets) -> Result<Vec<(String, String)>, Failure> {
        let fill = |text: &Text| fill_one(text, self.model(), &self.occasion);
        environment::given(env, secrets, fill, |error| no_secret(of, &error))
    }

    /// The program of a `command` source, its secrets fetched.
    ///
    /// # Errors
    /// As [`Context::given`].
    pub fn source_program(
        &self,
        id: SourceId,
        command: &Command,
        control: &Control,
    ) -> Result<Program, Failure> {
        let source = self.model().source(id);
        let timeout = source.timeout.map(Duration::from_secs);
        let secrets = self.secrets.under(control).within(timeout);
        let env = self.given(&format!("source `{}`", source.name), &command.env, &secrets)?;
        Ok(Program {
            argv: fill_all(&command.run, self.model(), &self.occasion)?,
            env,
            run_as: command.run_as.clone(),
            timeout,
            ..Program::default()
        })
    }
}

/// A secret that could not be had.
pub(super) fn no_secret(of: &str, error: &SecretError) -> Failure {
    if error.is_stopped() { Failure::stopped() } else { Failure::lasting(format!("{of}: {error}")) }
}

/// A program that a step ran, and that failed.
pub(super) fn program_failure(error: &ProcessError) -> Failure {
    match error {
        ProcessError::Stopped(_) => Failure::stopped(),
        ProcessError::Start { .. } => Failure::lasting(error),
        _ => Failure::of(error, error),
    }
}
