//! The resolved plan. No node can hold an unresolved name; every list of named items is sorted by name, so that nothing
//! later depends on the order in which a plan is written.
//!
//! Guaranteed by resolution: references exist, required attributes are there, values have their types. Not guaranteed:
//! that the plan makes sense (see [`crate::finding`]).

mod address;
mod location;
mod repository;
mod secrets;
mod source;
mod words;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sources::Place;
use crate::template::Template;
use crate::value::{Env, Secret, Text};

pub use address::Fault;
pub use location::Location;
pub use source::{
    BackupMode, Command, Compare, Files, FilesPath, Mariadb, MariadbDriver, Pattern, Postgres,
    PostgresDriver, Source, SourceKind, Sqlite,
};
pub use words::Worded;
pub(crate) use words::words;

/// A store, by its place in [`Model::stores`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreId(pub usize);

/// A source, by its place in [`Model::sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceId(pub usize);

/// An archive, by its place in [`Model::archives`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArchiveId(pub usize);

/// A whole plan.
#[derive(Debug, Clone)]
pub struct Model {
    /// The plan's name.
    pub name: String,
    /// The plan file, absolute.
    pub file: PathBuf,
    /// Every file read for it: the plan and its imports.
    pub files: Vec<PathBuf>,
    /// Files that secrets and `read` come from: they must survive a cleared staging.
    pub secret_files: Vec<PathBuf>,
    /// Where artefacts go.
    pub stores: Vec<Store>,
    /// Where artefacts are built.
    pub staging: Option<Staging>,
    /// What must survive.
    pub sources: Vec<Source>,
    /// One artefact a run each.
    pub archives: Vec<Archive>,
    /// Sources in repositories of their own.
    pub separates: Vec<Separate>,
    /// Continuous WAL archives.
    pub wals: Vec<Wal>,
    /// Fulls and what follows them.
    pub cycle: Option<Cycle>,
    /// When runs are due.
    pub schedule: Option<Schedule>,
    /// Retention; `None` keeps everything.
    pub keep: Option<Keep>,
    /// For steps that may be repeated.
    pub retry: Retry,
    /// Resources.
    pub limits: Limits,
    /// States the world is held in.
    pub windows: Vec<Window>,
    /// Whom to tell.
    pub notifies: Vec<Notify>,
    /// What was promised.
    pub objectives: Vec<Objective>,
    /// Rehearsals.
    pub verifies: Vec<Verify>,
    /// Rules that files lay on the plan.
    pub policies: Vec<Policy>,
}

impl Model {
    /// What each program that the plan names is given, but for those of secrets.
    pub fn environments(&self) -> impl Iterator<Item = &Env> {
        let sources = self.sources.iter().filter_map(|source| source.kind.own().env());
        let notifies = self.notifies.iter().filter_map(|notify| match &notify.kind {
            NotifyKind::Command { env, .. } => Some(env),
            _ => None,
        });
        let windows = self.windows.iter().map(|window| &window.env);
        sources.chain(windows).chain(notifies).chain(self.verifies.iter().map(|verify| &verify.env))
    }

    /// Whether any run may be something else than a full.
    pub fn has_cycle(&self) -> bool {
        let by_level = |schedule: &Schedule| match &schedule.due {
            Due::Run(_) => false,
            Due::Levels { differential, incremental, .. } => differential.is_some() || incremental.is_some(),
        };
        self.cycle.as_ref().is_some_and(|cycle| cycle.incrementals > 0)
            || self.schedule.as_ref().is_some_and(by_level)
    }

    /// How a source is kept out of every archive; `None`: it is not.
    pub fn separate(&self, source: SourceId) -> Option<&Separate> {
        self.separates.iter().find(|separate| separate.source == source)
    }

    /// The schedule that a source kept apart has of its own.
    pub fn own_schedule(&self, source: SourceId) -> Option<&Schedule> {
        self.separate(source).and_then(|separate| separate.schedule.as_ref())
    }

    /// The schedule that the runs of an archive follow, or of what stands for a source kept apart.
    pub fn schedule_of(&self, archive: &Archive) -> Option<&Schedule> {
        let own = archive.from.iter().find_map(|source| self.own_schedule(*source));
        own.or(self.schedule.as_ref())
    }

    /// Every schedule: the plan's, then those of sources kept apart.
    pub fn schedules(&self) -> impl Iterator<Item = (Option<SourceId>, &Schedule)> {
        let own = self.separates.iter().filter_map(|own| Some((Some(own.source), own.schedule.as_ref()?)));
        self.schedule.iter().map(|schedule| (None, schedule)).chain(own)
    }

    /// Every store, with what the others call it by.
    pub fn each_store(&self) -> impl Iterator<Item = (StoreId, &Store)> {
        self.stores.iter().enumerate().map(|(at, store)| (StoreId(at), store))
    }

    /// Seconds of log that are promised beside a source's kept backups: its `wal` block's `keep`, else the plan's `keep.wal`.
    /// `None`: all of it stays.
    pub fn wal_keep(&self, wal: &Wal) -> Option<u64> {
        wal.keep.or_else(|| self.keep.as_ref().and_then(|keep| keep.wal))
    }

    /// The store with this id.
    pub fn store(&self, id: StoreId) -> &Store {
        &self.stores[id.0]
    }

    /// The source with this id.
    pub fn source(&self, id: SourceId) -> &Source {
        &self.sources[id.0]
    }

    /// The archive with this id.
    pub fn archive(&self, id: ArchiveId) -> &Archive {
        &self.archives[id.0]
    }
}

/// A store.
#[derive(Debug, Clone)]
pub struct Store {
    /// Its name.
    pub name: String,
    /// Where it was declared.
    pub place: Place,
    /// What it is.
    pub kind: StoreKind,
    /// Whether it counts for `objective.offsite`.
    pub offsite: bool,
    /// Bytes per second.
    pub bandwidth: Option<u64>,
    /// Seconds; nothing younger is ever deleted.
    pub immutable: Option<u64>,
    /// This host never deletes there.
    pub append_only: bool,
    /// What a run does when it cannot be reached.
    pub absent: Absent,
    /// Retention for this store alone.
    pub keep: Option<Keep>,
}

impl Store {
    /// Where it is.
    pub fn location(&self) -> Location {
        Location::from(&self.kind)
    }

    /// Its folder, if it is one of this machine.
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            StoreKind::Dir { path } => Some(path),
            StoreKind::S3 { .. }
            | StoreKind::Azblob { .. }
            | StoreKind::Gcs { .. }
            | StoreKind::Sftp { .. } => None,
        }
    }
}

/// What a run does when a store cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Absent {
    /// The run goes on and ends with a warning.
    #[default]
    Warn,
    /// The run goes on in silence.
    Skip,
    /// The run fails before its first step.
    Fail,
}

impl StoreKind {
    /// What stands before every name, where there may be something.
    pub fn prefix(&self) -> Option<&Text> {
        match self {
            StoreKind::S3 { prefix, .. }
            | StoreKind::Azblob { prefix, .. }
            | StoreKind::Gcs { prefix, .. } => prefix.as_ref(),
            StoreKind::Dir { .. } | StoreKind::Sftp { .. } => None,
        }
    }
}

impl Store {
    /// What opens it to this machine.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let (first, second) = match &self.kind {
            StoreKind::S3 { access_key, secret_key, .. } => (access_key.as_ref(), secret_key.as_ref()),
            StoreKind::Azblob { key, .. } => (key.as_ref(), None),
            StoreKind::Gcs { credential, .. } => (credential.as_ref(), None),
            StoreKind::Dir { .. } | StoreKind::Sftp { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }
}

/// The kinds of stores and their own attributes.
#[derive(Debug, Clone)]
pub enum StoreKind {
    /// A folder.
    Dir {
        /// Absolute.
        path: PathBuf,
    },
    /// S3 or compatible.
    S3 {
        /// The bucket.
        bucket: String,
        /// Before every name.
        prefix: Option<Text>,
        /// The region.
        region: Option<String>,
        /// Address of a compatible server.
        endpoint: Option<String>,
        /// Key id.
        access_key: Option<Secret>,
        /// Key.
        secret_key: Option<Secret>,
        /// Storage class of artefacts.
        storage_class: Option<String>,
        /// Bucket in the path, not in the host name.
        path_style: bool,
        /// Certificate authority.
        ca_file: Option<PathBuf>,
    },
    /// Azure Blob.
    Azblob {
        /// The container.
        container: String,
        /// Before every name.
        prefix: Option<Text>,
        /// The account.
        account: Option<String>,
        /// Its key.
        key: Option<Secret>,
        /// Address of a compatible server.
        endpoint: Option<String>,
    },
    /// Google Cloud Storage.
    Gcs {
        /// The bucket.
        bucket: String,
        /// Before every name.
        prefix: Option<Text>,
        /// Service account.
        credential: Option<Secret>,
        /// Address of a compatible server.
        endpoint: Option<String>,
    },
    /// An SSH file server.
    Sftp {
        /// Its name or address.
        host: String,
        /// Its port.
        port: Option<u16>,
        /// The account there.
        user: Option<String>,
        /// Private key file or agent.
        key: Option<PathBuf>,
        /// The folder there.
        path: String,
        /// File of known host keys.
        known_hosts: Option<PathBuf>,
    },
}

/// Where artefacts are built.
#[derive(Debug, Clone)]
pub struct Staging {
    /// Where it was declared.
    pub place: Place,
    /// Absolute.
    pub path: PathBuf,
    /// Contents are cleared before a run.
    pub clear_before: bool,
    /// Contents are cleared after a run.
    pub clear_after: bool,
}

impl Separate {
    /// What stands for it where archives have chains of their own: no archive can have its name.
    pub fn chain(&self, source: &str) -> Archive {
        Archive {
            name: format!("separate {source}"),
            place: self.place,
            from: vec![self.source],
            to: self.to.clone(),
            file_name: None,
            compress: Compress::Gzip,
            level: 0,
            encrypt: Vec::new(),
            self_contained: false,
            large_files: LargeFiles::Whole,
            share_blocks: false,
        }
    }
}

/// How an artefact is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compress {
    /// gzip's members.
    #[default]
    Gzip,
    /// zstd's frames.
    Zstd,
}

/// What a difference holds of a large file that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LargeFiles {
    /// The file.
    #[default]
    Whole,
    /// The blocks that changed.
    Blocks,
}

/// One artefact a run.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Its name.
    pub name: String,
    /// Where it was declared.
    pub place: Place,
    /// What is in it, sorted.
    pub from: Vec<SourceId>,
    /// Where it goes, sorted.
    pub to: Vec<StoreId>,
    /// The artefact's file name; `None` is `PLAN_ARCHIVE_UTCTIME.tar.gz`, or `.tar.zst`.
    pub file_name: Option<Text>,
    /// How it is compressed.
    pub compress: Compress,
    /// How hard: 0 to 9, to 19 with zstd.
    pub level: u8,
    /// age or SSH recipients; empty: not encrypted.
    pub encrypt: Vec<String>,
    /// A whole archive each time.
    pub self_contained: bool,
    /// What a difference holds of a large file that changed.
    pub large_files: LargeFiles,
    /// Pad members so that a copy-on-write store shares them.
    pub share_blocks: bool,
}

/// A source in a repository of its own.
#[derive(Debug, Clone)]
pub struct Separate {
    /// The source.
    pub source: SourceId,
    /// Where it was declared.
    pub place: Place,
    /// Where its repository is.
    pub to: Vec<StoreId>,
    /// Passphrase of the repository.
    pub passphrase: Option<Secret>,
    /// Its own retention.
    pub keep: Option<Keep>,
    /// Its own schedule.
    pub schedule: Option<Schedule>,
}

/// Continuous WAL archive of a source.
#[derive(Debug, Clone)]
pub struct Wal {
    /// The source.
    pub source: SourceId,
    /// Where it was declared.
    pub place: Place,
    /// Where the segments go.
    pub to: Vec<StoreId>,
    /// Seconds.
    pub keep: Option<u64>,
    /// age or SSH recipients.
    pub encrypt: Vec<String>,
    /// Whether one store's acknowledgement is enough.
    pub ack_any: bool,
}

/// Level of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Rests on the run before it.
    Incremental,
    /// Rests on the last full.
    Differential,
    /// Rests on nothing.
    Full,
}

/// Fulls and what follows them.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// Where it was declared.
    pub place: Place,
    /// How many runs follow a full.
    pub incrementals: u32,
    /// What they rest on: [`Level::Differential`] for `base = full`, [`Level::Incremental`] for `base = previous`.
    pub follow: Level,
}

/// When runs are due.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Where it was declared.
    pub place: Place,
    /// What is due when.
    pub due: Due,
    /// IANA name of the zone.
    pub zone: String,
    /// Seconds of random delay.
    pub jitter: Option<u64>,
    /// A run missed while the machine was off is made up for.
    pub catch_up: bool,
}

/// What is due when.
#[derive(Debug, Clone)]
pub enum Due {
    /// `run`: the level comes from the cycle.
    Run(When),
    /// A time for each level; excludes `cycle`.
    Levels {
        /// Fulls.
        full: Option<When>,
        /// Differentials.
        differential: Option<When>,
        /// Incrementals.
        incremental: Option<When>,
    },
}

/// Moments that repeat, in the schedule's zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Seconds, counted from midnight.
    Every(u64),
    /// At a cron expression; the phrases (`hourly`, `daily at …`) are turned into one of five fields.
    Cron(String),
}

/// Retention. Zero rules cannot be written: at least one field is set.
#[derive(Debug, Clone)]
pub struct Keep {
    /// Where it was declared.
    pub place: Place,
    /// The newest N cycles, each whole.
    pub cycles: Option<u32>,
    /// The newest N runs.
    pub last: Option<u32>,
    /// Seconds, counted from the newest run.
    pub within: Option<u64>,
    /// One of each of the last N hours that have one.
    pub hourly: Option<u32>,
    /// Days.
    pub daily: Option<u32>,
    /// Weeks, starting on Monday.
    pub weekly: Option<u32>,
    /// Months.
    pub monthly: Option<u32>,
    /// Years.
    pub yearly: Option<u32>,
    /// The newest N fulls and what rests on them.
    pub full: Option<u32>,
    /// The newest N differentials and what they rest on.
    pub differential: Option<u32>,
    /// Seconds of recovery to any moment.
    pub wal: Option<u64>,
    /// Prefer a full, not the newest, in each period.
    pub prefer_full: bool,
}

/// Repetition of steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retry {
    /// How often a step is tried in all, at least 1.
    pub attempts: u32,
    /// Seconds before the second attempt; doubled each time.
    pub backoff_first: u64,
    /// Seconds at the most.
    pub backoff_most: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 3, backoff_first: 1, backoff_most: 60 }
    }
}

/// Resources of a run.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Steps at once; the number of cores where it is left out.
    pub jobs: Option<u32>,
    /// Niceness.
    pub nice: Option<i32>,
    /// Bytes per second to all stores together.
    pub bandwidth: Option<u64>,
    /// Seconds for the whole run.
    pub timeout: Option<u64>,
}

/// A state the world is held in while sources are read.
#[derive(Debug, Clone)]
pub struct Window {
    /// Its name.
    pub name: String,
    /// Where it was declared.
    pub place: Place,
    /// The sources read inside it, sorted.
    pub around: Vec<SourceId>,
    /// Program and arguments that open it.
    pub enter: Option<Vec<Text>>,
    /// Program and arguments that close it.
    pub leave: Option<Vec<Text>>,
    /// What both are given.
    pub env: Env,
    /// The account both run as.
    pub run_as: Option<String>,
    /// Seconds; then the window is left and the run fails.
    pub timeout: Option<u64>,
}

/// Telling people and machines.
#[derive(Debug, Clone)]
pub struct Notify {
    /// Its name.
    pub name: String,
    /// Where it was declared.
    pub place: Place,
    /// How.
    pub kind: NotifyKind,
    /// On which events.
    pub on: Vec<Event>,
}

/// How to tell.
#[derive(Debug, Clone)]
pub enum NotifyKind {
    /// An HTTP request.
    Webhook {
        /// Where.
        url: Secret,
        /// What the request looks like.
        body: Body,
        /// Sent as a bearer's, or where the template says.
        token: Option<Secret>,
    },
    /// A monitor that expects to hear of each run.
    Healthcheck {
        /// Where.
        url: Secret,
        /// Which.
        monitor: Monitor,
    },
    /// A letter.
    Email(Box<Email>),
    /// A program.
    Command {
        /// Program and arguments.
        run: Vec<Text>,
        /// What it is given.
        env: Env,
    },
}

/// What is in the request of a webhook.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// What a service is known to read.
    Shape(Shape),
    /// What the plan says.
    Template(Template),
}

/// What the request of a webhook looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Everything that is known, as JSON.
    Json,
    /// A text, as Slack and those that speak like it take it.
    Slack,
    /// A card of Microsoft Teams.
    Teams,
    /// A text with headers, as ntfy takes it.
    Ntfy,
}

/// What listens for the signs of life of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monitor {
    /// Healthchecks.io, and what has its addresses.
    Healthchecks,
    /// A push monitor of Uptime Kuma.
    Kuma,
}

/// How letters are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// Whom to, at least one address.
    pub to: Vec<String>,
    /// Whom from.
    pub from: String,
    /// The server's name, with a port where it is not the usual one.
    pub server: String,
    /// How the connection is protected.
    pub tls: Tls,
    /// The account at the server.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// It begins in clear and must become protected: port 587.
    Starttls,
    /// It is protected from its beginning: port 465.
    Always,
    /// Not at all: port 25.
    Never,
}

/// What a notification may be sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The run begins.
    Start,
    /// It ended with 0.
    Success,
    /// It ended with 3.
    Warning,
    /// It ended with 1, or was stopped.
    Failure,
}

/// What the business was promised.
#[derive(Debug, Clone)]
pub struct Objective {
    /// Where it was declared.
    pub place: Place,
    /// For which sources, sorted.
    pub of: Vec<SourceId>,
    /// Seconds of work that may be lost.
    pub rpo: Option<u64>,
    /// Seconds until a source is back.
    pub rto: Option<u64>,
    /// Stores that hold a run.
    pub copies: Option<u32>,
    /// Of those, stores marked offsite.
    pub offsite: Option<u32>,
}

/// A rehearsal.
#[derive(Debug, Clone)]
pub struct Verify {
    /// Where it was declared.
    pub place: Place,
    /// Seconds between rehearsals.
    pub every: Option<u64>,
    /// The source that is restored.
    pub restore: SourceId,
    /// A query that must answer true.
    pub query: Option<String>,
    /// A program that must end with 0.
    pub command: Option<Vec<Text>>,
    /// What it is given.
    pub env: Env,
    /// age identity for encrypted sources.
    pub identity: Option<Secret>,
}

/// Rules that a file lays on every plan that imports it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Where it was declared.
    pub place: Place,
    /// What a plan must have, and where that is written.
    pub require: Vec<(&'static str, Place)>,
    /// What a plan must not have, and where that is written.
    pub forbid: Vec<(&'static str, Place)>,
}
