//! Rehearsals: a backup is restored into a scratch folder, looked at, and thrown away.
//!
//! | module | holds |
//! |---|---|
//! | `files` | sources that come back as files, SQLite databases among them |
//! | [`wish`] | what a plan asks for |
//!
//! Servers are rehearsed in their own folders, `crate::postgres::rehearse` and [`crate::mariadb`].
//!
//! Only the stores are read, never the source: what is proven is what a disaster would leave.

pub(crate) mod files;
pub mod wish;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backplan_compiler::model::{Model, SourceId};
use jiff::Timestamp;

use crate::backups::BackupsError;
use crate::backups::rehearsed::{self, Check, CheckVerdict, Rehearsal};
use crate::backups::shelf::Shelves;
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::catalog::manifest::{Manifest, SourceRecord};
use crate::confine::HeldBy;
use crate::control::{Control, Stopped};
use crate::programs::process::{self, ProcessError, Program, Tell};
use crate::programs::secrets::Secrets;
use crate::scratch::{self, Scratch, ScratchError};

/// A program that is run on what was restored, filled in.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What it is given.
    pub env: Vec<(String, String)>,
}

/// What is to be rehearsed, and how it is judged.
#[derive(Debug, Default)]
pub struct RehearsalWish<'a> {
    /// The source.
    pub source: String,
    /// Its newest backup, or the one of this run.
    pub run: Option<String>,
    /// Queries that must answer with one true value.
    pub queries: Vec<String>,
    /// Programs that must end with 0.
    pub commands: Vec<Asked>,
    /// What is taken out of all that is told of them.
    pub secrets: Secrets,
    /// The database that is asked; `None`: `postgres`.
    pub database: Option<String>,
    /// The account that a restored cluster belongs to, where its files do not say.
    pub account: Option<String>,
    /// What its kind may take more of; `None`: a store is all that there is.
    pub planned: Option<Planned<'a>>,
    /// The folders of stores, by name: repositories are in them.
    pub roots: BTreeMap<String, PathBuf>,
    /// Seconds in which the business was promised it back.
    pub rto: Option<u64>,
    /// The folder that the scratch folder is made in.
    pub place: PathBuf,
    /// Backplan's folder on this host.
    pub state: PathBuf,
    /// This machine's name.
    pub host: Option<String>,
}

/// The plan that a rehearsal is of.
#[derive(Debug, Clone)]
pub struct Planned<'a> {
    /// The plan.
    pub model: &'a Model,
    /// The source.
    pub source: SourceId,
    /// This machine's name, as it stands in places of repositories.
    pub host: String,
    /// Fetches its secrets.
    pub secrets: Secrets,
}

/// How the backups of a kind and driver are rehearsed: the half of a source that goes by what a manifest says, as a store may be all
/// that is left of a plan. Its own folder says it; [`crate::source`] has the table.
pub trait Way: Sync {
    /// The word in the record of the rehearsal.
    fn word(&self) -> &'static str;

    /// What plays it, with all that it takes of the plan: before any clock runs.
    ///
    /// # Errors
    /// When that cannot be had.
    fn prepared(&self, wish: &RehearsalWish<'_>) -> Result<Play, RehearseError>;
}

/// Has a source come back on a stage, and looks at it.
pub type Play = Box<dyn FnOnce(&mut Stage<'_>) -> Result<(), RehearseError>>;

/// Finds the way by the words that a manifest has for kind and driver; `None`: it is none that this program knows.
pub type Ways = fn(kind: &str, driver: Option<&str>) -> Option<&'static dyn Way>;

/// Why nothing could be rehearsed: it says nothing of the backup.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// Nothing to rehearse.
    #[error("source `{0}` is in no backup that can be read: run the plan first")]
    NoBackup(String),
    /// Its tool's own restore is not at hand.
    #[error(
        "source `{source_name}` was backed up by `{driver}`, and such a backup cannot be rehearsed yet: restore it with \
         the tool itself into a scratch folder, as docs/postgres.md says"
    )]
    Driver {
        /// The source.
        source_name: String,
        /// The driver.
        driver: String,
    },
    /// A program is not here.
    #[error("{0}, or rehearse on a machine that has it")]
    Missing(String),
    /// No programs.
    #[error(
        "no server of PostgreSQL {0} is installed here: install it, or rehearse on a machine that has it"
    )]
    NoServer(String),
    /// The server could do harm here.
    #[error("the restored server was not started: {0}")]
    Harmful(String),
    /// Something of the plan.
    #[error("{0}")]
    Plan(String),
    /// There is no folder to work in.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A file of what is restored.
    #[error("`{}`: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// The stores cannot be read.
    #[error(transparent)]
    Backups(#[from] BackupsError),
    /// Asked to stop; nothing is left.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Restores a source into a scratch folder and looks at it. Whatever comes of it, the folder and the server are gone when
/// this returns.
///
/// # Errors
/// When it could not be rehearsed at all. A backup that does not come back, or does not pass, is a result.
pub fn rehearse(
    shelves: &Shelves,
    wish: RehearsalWish<'_>,
    ways: Ways,
    now: Timestamp,
    control: &Control,
    tell: &Tell,
) -> Result<Rehearsal, RehearseError> {
    let newest = newest(shelves, &wish)?;
    let way = way(newest, &wish.source, ways)?;
    let play = way.prepared(&wish);
    // A secret that could not be fetched by then is no trouble of the plan's.
    control.check()?;
    let play = play?;
    let scratch = Scratch::make(&wish.state, &wish.place)?;
    let mut stage = Stage {
        shelves,
        run: newest.run,
        folder: scratch.folder().to_path_buf(),
        spare: scratch.spare().to_path_buf(),
        is_far: false,
        checks: Vec::new(),
        begun: Instant::now(),
        usable: None,
        now,
        control,
        tell,
        wish,
    };
    let played = play(&mut stage);
    let rehearsal = stage.ended(way.word());
    let removed = scratch.remove();
    // Why the rehearsal ended comes before that its folder stays: the next run tries again to remove it.
    played?;
    removed?;
    Ok(rehearsal)
}

/// The newest run from which the source comes back, or the one that is meant.
fn newest<'a>(shelves: &'a Shelves, wish: &RehearsalWish<'_>) -> Result<&'a Manifest, RehearseError> {
    use crate::catalog::runs::Choice;
    let chosen = match &wish.run {
        Some(run) => Some(shelves.choose(&Choice::Id(run.clone()), None)?.1),
        None => {
            let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
            runs.filter(|run| run.holds(&wish.source)).max_by_key(|run| run.run)
        }
    };
    let chosen = chosen.filter(|run| run.holds(&wish.source));
    chosen.ok_or_else(|| RehearseError::NoBackup(wish.source.clone()))
}

fn way(manifest: &Manifest, source: &str, ways: Ways) -> Result<&'static dyn Way, RehearseError> {
    let record = manifest.source(source);
    let driver = record.and_then(|record| record.labels().driver.as_deref());
    let unknown = || RehearseError::Driver {
        source_name: source.to_owned(),
        driver: driver.unwrap_or_default().to_owned(),
    };
    ways(record.map_or("", |record| &record.kind), driver).ok_or_else(unknown)
}

/// A rehearsal at work.
pub struct Stage<'a> {
    pub(crate) shelves: &'a Shelves,
    pub(crate) run: RunId,
    pub(crate) folder: PathBuf,
    /// For a server's socket, where the path of one in the folder would be too long.
    pub(crate) spare: PathBuf,
    pub(crate) wish: RehearsalWish<'a>,
    /// Whether its log comes over a network.
    pub(crate) is_far: bool,
    pub(crate) checks: Vec<Check>,
    pub(crate) begun: Instant,
    /// From the beginning until the data could be used.
    pub(crate) usable: Option<Duration>,
    pub(crate) now: Timestamp,
    pub(crate) control: &'a Control,
    pub(crate) tell: &'a Tell,
}

impl Stage<'_> {
    /// What the stores say of the backup that is rehearsed.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &Labels> {
        let runs = self.shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
        let records = runs.filter(|run| run.run == self.run).flat_map(|run| &run.sources);
        records.filter(|record| record.name == self.wish.source).map(SourceRecord::labels)
    }

    /// Notes how a check ended.
    pub(crate) fn note(&mut self, what: &str, begun: Instant, verdict: CheckVerdict, detail: Option<String>) {
        let took_ms = millis(begun.elapsed());
        // It is written into the stores.
        let detail = detail.map(|text| self.wish.secrets.redact(&text));
        self.checks.push(Check { what: what.to_owned(), verdict, took_ms, detail });
    }

    /// From here on the restored data could be worked with.
    pub(crate) fn is_usable(&mut self) {
        self.usable = Some(self.begun.elapsed());
    }

    /// Refuses to fill the disk.
    pub(crate) fn has_room(&self, needed: u64) -> Result<(), RehearseError> {
        Ok(scratch::has_room(&self.folder, needed)?)
    }

    /// Runs the plan's own programs on what was restored.
    pub(crate) fn commands(&mut self, data: &Path, env: &[(String, String)]) -> Result<(), RehearseError> {
        let (tell, secrets) = (Arc::clone(self.tell), self.wish.secrets.clone());
        let tell: Tell = Arc::new(move |line| tell(&secrets.redact(line)));
        for Asked { argv, env: given } in self.wish.commands.clone() {
            let begun = Instant::now();
            let mut program = Program { env: given, ..Program::new(argv) };
            // These last: they lead to the copy, wherever others would lead.
            program.env.extend_from_slice(env);
            program.env.extend([
                ("BACKPLAN_RESTORED".to_owned(), data.display().to_string()),
                ("BACKPLAN_SOURCE".to_owned(), self.wish.source.clone()),
                ("BACKPLAN_RUN".to_owned(), self.run.to_string()),
            ]);
            match process::act(&program, self.control, &tell) {
                Ok(()) => self.note("command", begun, CheckVerdict::Passed, None),
                Err(ProcessError::Stopped(stopped)) => return Err(stopped.into()),
                Err(error) => self.note("command", begun, CheckVerdict::Failed, Some(error.to_string())),
            }
        }
        Ok(())
    }

    pub(crate) fn ended(&self, kind: &str) -> Rehearsal {
        let is_restored = self.usable.is_some();
        let passed = is_restored && self.checks.iter().all(|check| check.verdict != CheckVerdict::Failed);
        Rehearsal {
            format: rehearsed::FORMAT,
            source: self.wish.source.clone(),
            run: self.run,
            kind: kind.to_owned(),
            started: self.now,
            passed,
            usable_ms: self.usable.map(millis),
            took_ms: millis(self.begun.elapsed()),
            rto: self.wish.rto,
            host: self.wish.host.clone(),
            checks: self.checks.clone(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> RehearseError + use<> {
    let path = path.to_path_buf();
    move |cause| RehearseError::File { path, cause }
}

/// The words for an answer that is not one true value.
pub(crate) fn other_answer(columns: usize, rows: &[String]) -> String {
    match (columns, rows) {
        (_, []) => "it answered no row, and not one true value".to_owned(),
        (1, [value]) => format!("it answered `{value}`, not true"),
        (1, _) => "it answered several rows, not one true value".to_owned(),
        _ => format!("it answered {columns} columns, not one true value"),
    }
}

pub(crate) fn silent() -> Tell {
    Arc::new(|_| {})
}

/// Makes a folder for the restored data: nobody else looks into it.
pub(crate) fn private(path: &Path) -> Result<(), RehearseError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path).map_err(failed(path))
}

/// What keeps a server from doing harm, where that is not the best that there is.
pub(crate) fn words_of(held: HeldBy) -> &'static str {
    match held {
        HeldBy::Mounts => "",
        HeldBy::Rules => "; held to its own folders by Landlock alone: no mount namespace could be had",
    }
}
