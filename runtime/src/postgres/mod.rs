//! Reading a Postgres cluster, by the tool that the plan names. Every driver leaves a folder, which is packed as a
//! tree; but a whole base backup comes while it is packed ([`stream`]), where it can.
//!
//! | module | tool | levels | leaves |
//! |---|---|---|---|
//! | [`basebackup`] | `pg_basebackup` | full; from PostgreSQL 17 on all | a data directory that starts, or what changed in it |
//! | [`dump`] | `pg_dump`, `pg_dumpall` | full | a dump of each database, and the roles |
//! | [`pgbackrest`] | `pgbackrest` | all | its repository, which lives on between runs |
//! | [`probackup`] | `pg_probackup` | full, incremental | its catalogue, which lives on while there are incrementals |
//!
//! The way back is in [`restore`]: a cluster that was put back is told how far to recover by [`recovery`], and started by [`server`]
//! with the settings of [`harmless`]. It is tried out in `rehearse`. The archive of the write-ahead log is [`wal`].
//!
//! A tool is started as the account of `run_as`, as the leader of a process group of its own; what it says goes to the
//! run's output, and its last words into the error.

pub mod apart;
pub mod basebackup;
pub mod dump;
pub mod harmless;
pub mod identity;
pub mod inspect;
mod look;
pub mod names;
pub mod pgbackrest;
pub mod probackup;
pub mod probe;
mod reader;
pub mod recovery;
mod refusal;
mod rehearse;
pub mod repository;
pub mod restore;
pub mod server;
pub mod stream;
mod superusers;
pub mod tools;
pub mod unread;
pub mod wal;
mod warned;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apart::Apart;
use backplan_compiler::model::{Level, Postgres, PostgresDriver};
use backplan_compiler::value::Hidden;
use identity::Known;
use jiff::Timestamp;
use rehearse::Needs;
use restore::PutBack;
use restore::cluster::{ClusterError, ClusterWish};
use rustix::fs::{Gid, Uid, fchown};

use crate::backups::shelf::Shelves;
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::control::{Control, Stopped};
use crate::lasting;
use crate::places::folder::Folder;
use crate::places::{account, trust};
use crate::programs::environment;
use crate::programs::process::{self, ProcessError, Program, Tell};
use crate::rehearse::{RehearseError, Stage};

/// Seconds that a server may take to let a program in, unless the environment says otherwise: one that hangs does so for ever.
const CONNECT: &str = "30";

/// What is to be backed up, and with what.
pub struct Job<'a> {
    /// The source's name.
    pub source: &'a str,
    /// Its attributes.
    pub postgres: &'a Postgres,
    /// The role's password.
    pub password: Option<Hidden>,
    /// The level of the run.
    pub level: Level,
    /// Whether the plan has differentials or incrementals at all.
    pub has_cycle: bool,
    /// What the backup may rest on, where the driver keeps no repository that knows; `None`: it has all.
    pub base: Option<Base<'a>>,
    /// Whether the backup with this label, and with it all that its repository held by then, is whole in every store that the
    /// source goes to: only then may it go before the next artefact is made. Where it is left out, none is.
    pub is_settled: Option<&'a dyn Fn(&str) -> bool>,
    /// Whether it may come while it is packed, without a copy here.
    pub may_stream: bool,
    /// Where the driver builds: the source's `staging`, or a new and empty folder of this run.
    pub folder: &'a Path,
    /// The cluster that earlier backups are of, where it must be the same.
    pub known: Option<Known>,
    /// The repository's own, where it is kept apart from every archive.
    pub separate: Option<Apart>,
    /// Seconds that one program may take.
    pub timeout: Option<Duration>,
    /// Whether to stop.
    pub control: &'a Control,
    /// Where the lines of its programs go.
    pub tell: &'a Tell,
}

/// An earlier backup that the next may rest on.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// The run that made it.
    pub run: RunId,
    /// What its manifest says of it.
    pub labels: &'a Labels,
    /// Writes the tool's own manifest of it into a new file.
    pub manifest: &'a dyn Fn(&Path) -> Result<(), String>,
}

/// A backup that was made.
#[derive(Debug, Clone, Default)]
pub struct Backup {
    /// What the manifest says of it.
    pub labels: Labels,
    /// What a person should read.
    pub warnings: Vec<String>,
    /// Databases that cannot be dumped and are not in it, in words; the others are.
    pub lost: Vec<String>,
    /// Whether another attempt may have those.
    pub may_pass: bool,
    /// What is worth knowing, and no trouble.
    pub notes: Vec<String>,
    /// Nothing was copied: it comes while it is packed.
    pub is_streamed: bool,
    /// It rests on the job's base, without which it is nothing.
    pub is_based: bool,
}

/// A tool that backs up a cluster.
pub trait Driver: Sync {
    /// Makes a backup in the job's folder. What an earlier attempt left there is of no harm.
    ///
    /// # Errors
    /// See [`DriverError`].
    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError>;

    /// Removes from the repository what no later backup of the new cycle needs, now that the full with `labels` is
    /// committed; of one that is kept apart, what is nobody's any more. Without a repository there is nothing to remove. Gives what a
    /// person should read.
    ///
    /// # Errors
    /// See [`DriverError`]; what stays is removed after the next full.
    fn expire(&self, job: &Job<'_>, labels: &Labels) -> Result<Vec<String>, DriverError> {
        let _ = (job, labels);
        Ok(Vec::new())
    }

    /// Makes the restore of a cluster out of its backups: chooses one, looks at the target, writes nothing.
    ///
    /// # Errors
    /// When no backup leads to the target, a folder is in use, or what it makes is no cluster.
    fn put_back<'s>(
        &self,
        shelves: &'s Shelves,
        wish: ClusterWish,
        now: Timestamp,
    ) -> Result<Box<dyn PutBack + 's>, ClusterError> {
        let _ = (shelves, now);
        Err(ClusterError::Tool(format!("source `{}`: its backup is no data directory", wish.source)))
    }

    /// Has a backup come back on a stage, and looks at it.
    ///
    /// # Errors
    /// When it could not be rehearsed at all.
    fn rehearse(&self, stage: &mut Stage<'_>, needs: Needs) -> Result<(), RehearseError>;
}

/// The driver of a source.
pub fn driver(driver: PostgresDriver) -> &'static dyn Driver {
    match driver {
        PostgresDriver::Basebackup => &basebackup::Basebackup,
        PostgresDriver::Dump => &dump::Dump,
        PostgresDriver::Pgbackrest => &pgbackrest::Pgbackrest,
        PostgresDriver::Probackup => &probackup::Probackup,
    }
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A program of the tool failed.
    #[error("{0}{hint}", hint = mend(.0))]
    Tool(#[from] ProcessError),
    /// A program is not on this machine.
    #[error("`{program}` is not on this machine: {hint}")]
    Missing {
        /// The program.
        program: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Another attempt would fail alike.
    #[error("{0}")]
    Lasting(String),
    /// Another attempt may succeed.
    #[error("{0}")]
    Passing(String),
    /// A file could not be written.
    #[error("`{path}`: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl DriverError {
    /// Whether another attempt is of use.
    pub fn is_passing(&self) -> bool {
        match self {
            DriverError::Tool(ProcessError::Status { words, .. }) => !refusal::is_lasting(words),
            DriverError::File { cause, .. } => {
                !lasting::is_lasting(cause) && cause.kind() != io::ErrorKind::PermissionDenied
            }
            DriverError::Tool(_) | DriverError::Passing(_) => true,
            DriverError::Missing { .. } | DriverError::Lasting(_) | DriverError::Stopped(_) => false,
        }
    }

    /// Whether it may be of one database alone, in a server that is well.
    pub fn may_be_of_one(&self) -> bool {
        matches!(self, DriverError::Tool(ProcessError::Status { words, .. }) if !refusal::is_of_room(words))
    }

    /// In one line, and what to do about it, where that is known.
    pub fn in_short(&self) -> (String, Option<&'static str>) {
        match self {
            DriverError::Tool(ProcessError::Status { words, .. }) => {
                (refusal::in_short(words).unwrap_or_else(|| self.to_string()), refusal::advice(words))
            }
            other => (other.to_string(), None),
        }
    }

    /// Whether the server is there, and refused who came.
    pub fn is_refusal(&self) -> bool {
        matches!(self, DriverError::Tool(ProcessError::Status { words, .. }) if refusal::is_refusal(words))
    }

    /// Whether the run was asked to stop.
    pub fn is_stopped(&self) -> bool {
        matches!(self, DriverError::Stopped(_) | DriverError::Tool(ProcessError::Stopped(_)))
    }
}

/// What the tool behind a stream said, where that ended it.
fn behind(cause: &io::Error) -> Option<&ProcessError> {
    cause.get_ref()?.downcast_ref()
}

/// Whether a server's tool whose stream failed would fail alike another time.
pub fn stays_refused(cause: &io::Error) -> bool {
    matches!(behind(cause), Some(ProcessError::Status { words, .. }) if refusal::is_lasting(words))
}

/// What to do about it, to stand behind its words.
pub fn mend_of_stream(cause: &io::Error) -> String {
    behind(cause).map(mend).unwrap_or_default()
}

/// What to do about what the program said.
fn mend(error: &ProcessError) -> String {
    match error {
        ProcessError::Status { words, .. } => refusal::mend(words),
        _ => String::new(),
    }
}

impl Job<'_> {
    /// A program of the tool as it is to be started: account, password, a folder that the account can be in.
    fn program(&self, argv: Vec<String>) -> Program {
        let mut env = vec![("PGCONNECT_TIMEOUT".to_owned(), CONNECT.to_owned())];
        env.extend(environment::of_postgres());
        env.push(("LC_ALL".to_owned(), "C".to_owned()));
        if let Some(password) = &self.password {
            env.push(("PGPASSWORD".to_owned(), password.expose().to_owned()));
        }
        Program {
            argv,
            env,
            run_as: self.postgres.run_as.clone(),
            timeout: self.timeout,
            folder: Some(PathBuf::from("/")),
            ..Program::default()
        }
    }

    /// Runs a program to its end, and gives what it wrote.
    fn run(&self, argv: Vec<String>) -> Result<Vec<u8>, DriverError> {
        Ok(process::run(&self.program(argv), self.control, self.tell)?)
    }

    /// `--host`, `--port`, `--username` and never a question for a password.
    fn connection(&self) -> Vec<String> {
        let postgres = self.postgres;
        let mut options = vec!["--no-password".to_owned()];
        options.extend(postgres.host.as_ref().map(|host| format!("--host={host}")));
        options.extend(postgres.port.map(|port| format!("--port={port}")));
        options.extend(postgres.user.as_ref().map(|user| format!("--username={user}")));
        options
    }

    /// The answer to a query: its rows, each of so many fields. What is no text is shown as well as it can be.
    fn query<const N: usize>(&self, database: &str, sql: &str) -> Result<Vec<[String; N]>, DriverError> {
        let rows = self.query_bytes::<N>(database, sql)?;
        Ok(rows
            .into_iter()
            .map(|row| row.map(|field| String::from_utf8_lossy(&field).into_owned()))
            .collect())
    }

    /// The same as the server has it: names and paths may hold anything but a zero byte.
    fn query_bytes<const N: usize>(
        &self,
        database: &str,
        sql: &str,
    ) -> Result<Vec<[Vec<u8>; N]>, DriverError> {
        self.query_of(database.as_bytes(), sql)
    }

    /// The same of a database of any name.
    fn query_of<const N: usize>(&self, database: &[u8], sql: &str) -> Result<Vec<[Vec<u8>; N]>, DriverError> {
        // Its answer is for this program, not for the log.
        let silent: Tell = std::sync::Arc::new(|_| {});
        let out = process::run(&self.question(database, &[sql])?, self.control, &silent)?;
        rows(&out).ok_or_else(|| {
            DriverError::Passing(format!(
                "the server answered `{}`",
                String::from_utf8_lossy(&out).escape_debug()
            ))
        })
    }

    /// The program that asks, one question after the other.
    fn question(&self, database: &[u8], sql: &[&str]) -> Result<Program, DriverError> {
        let mut argv = vec![tools::find("psql")?];
        argv.extend(self.connection());
        argv.extend(
            [
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--field-separator-zero",
                "--record-separator-zero",
            ]
            .map(str::to_owned),
        );
        argv.extend(sql.iter().map(|sql| format!("--command={sql}")));
        let mut program = self.program(names::lead(argv, database));
        // As it is in the server, and not refused where it is no text there.
        program.env.push(("PGCLIENTENCODING".to_owned(), "SQL_ASCII".to_owned()));
        Ok(program)
    }

    /// Asks the server for nothing but an answer.
    fn answers(&self) -> Result<(), DriverError> {
        let database = self.postgres.database.as_deref().unwrap_or("postgres");
        self.query::<1>(database, "select 1").map(drop)
    }

    /// What the server says of itself.
    fn server(&self) -> Result<Labels, DriverError> {
        let sql = "select (select setting from pg_settings where name = 'server_version'), \
                   (select system_identifier from pg_control_system()), \
                   (select timeline_id from pg_control_checkpoint())";
        let database = self.postgres.database.as_deref().unwrap_or("postgres");
        let rows = self.query::<3>(database, sql)?;
        Ok(match rows.into_iter().next() {
            Some([version, system_id, timeline]) => Labels {
                server_version: Some(version),
                system_id: Some(system_id),
                timeline: Some(timeline),
                ..Labels::default()
            },
            None => Labels::default(),
        })
    }

    /// The same of a role that may not ask for all of it: then nothing.
    fn server_if_told(&self) -> Result<Labels, DriverError> {
        self.server().or_else(|error| match error {
            DriverError::Tool(ProcessError::Status { .. }) => Ok(Labels::default()),
            error => Err(error),
        })
    }

    /// Refuses another cluster than the one that earlier backups are of.
    fn same_cluster(&self, server: &Labels) -> Result<(), DriverError> {
        self.known.as_ref().map_or(Ok(()), |known| known.hold_against(server, self.source))
    }

    /// Where the cluster's data directory is: as the plan says, else as the server does.
    fn data_directory(&self) -> Result<String, DriverError> {
        match &self.postgres.data_dir {
            Some(data) => Ok(text(data)),
            None => {
                let database = self.postgres.database.as_deref().unwrap_or("postgres");
                let said = self.query(database, "show data_directory")?.into_iter().next();
                said.map(|[folder]| folder).ok_or_else(|| {
                    DriverError::Passing("the server does not say where its data directory is".into())
                })
            }
        }
    }

    /// Does something to files of the tool as the account that it runs as: in folders of that account it could have put a link in the
    /// place of anything.
    fn as_account<T: Send>(
        &self,
        path: &Path,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T, DriverError> {
        let account = self.postgres.run_as.as_deref().map(tools::account).transpose()?;
        let done = account::acting_as(account, work).and_then(|done| done);
        done.map_err(|cause| DriverError::File { path: path.to_path_buf(), cause })
    }

    /// Gives a folder to the account that the tool runs as, and sees that the account can work there.
    fn hand_over(&self, folder: &Path) -> Result<(), DriverError> {
        let failed = |cause| DriverError::File { path: folder.to_path_buf(), cause };
        let Some(account) = &self.postgres.run_as else {
            // A data directory that others may look into does not start.
            return crate::places::private::make_private(folder).map_err(failed);
        };
        let owner = tools::account(account)?;
        let there = folder.ancestors().skip(1).find(|above| above.is_dir()).unwrap_or(Path::new("/"));
        match trust::open_folder(there) {
            Ok(_) => give_folder(folder, owner).map_err(failed)?,
            // Where somebody else could put a link in its place, nothing is given away: the account makes what it may.
            Err(_) => self.as_account(folder, || crate::places::private::make_private(folder))?,
        }
        let looks = self.program(vec!["test".to_owned(), "-w".to_owned(), text(folder)]);
        process::run(&looks, self.control, self.tell).map(drop).map_err(|error| match error {
            ProcessError::Stopped(stopped) => DriverError::Stopped(stopped),
            _ => DriverError::Lasting(format!(
                "`{account}` cannot work in `{}`: let it through the folders above, or name a `staging` where it can",
                folder.display()
            )),
        })
    }

    /// Looks whether the account that the tool runs as comes into a folder.
    fn may_enter(&self, folder: &Path) -> bool {
        let looks = self.program(vec!["test".to_owned(), "-x".to_owned(), text(folder)]);
        process::run(&looks, self.control, self.tell).is_ok()
    }
}

/// Makes a folder, and gives it to an account: the folder that was opened, and no other.
fn give_folder(folder: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    // On its way to it the account passes through what is made here.
    folder.parent().map_or(Ok(()), crate::places::private::make_passable)?;
    crate::places::private::make_private(folder)?;
    let opened = Folder::open(folder)?;
    Ok(fchown(opened.fd(), Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?)
}

/// The rows of an answer, each of so many fields that end with a zero byte; `None`: it is no such answer.
fn rows<const N: usize>(out: &[u8]) -> Option<Vec<[Vec<u8>; N]>> {
    let Some(fields) = out.strip_suffix(b"\0") else { return out.is_empty().then(Vec::new) };
    let fields: Vec<Vec<u8>> = fields.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let (rows, rest) = fields.as_chunks::<N>();
    rest.is_empty().then(|| rows.to_vec())
}

/// A path as an argument. Paths of plans are text.
fn text(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
