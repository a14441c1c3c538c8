//! A restored cluster, started where it can do no harm: on a private socket, with nothing archived, nobody followed and no
//! extension at work in the background.
//!
//! ```text
//! let server = Server::start(&Start::new(programs, data, scratch), &control)?;
//! server.wait(Expect::Open, timeout, &control)?;      // really recovered, or why not
//! server.query("postgres", "SELECT count(*) FROM t", &control)?;
//! server.stop()?;                                      // also on drop; the scratch folder goes with it
//! ```

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};

use super::harmless::{self, ControlData};
use super::names::connection_to;
use super::superusers::superusers;
use crate::confine::{self, ConfineError, Confined, Confinement, Cover, HeldBy};
use crate::control::{Control, Stopped};
use crate::keeper;
use crate::places::folder;
use crate::postgres::wal::lsn::Lsn;
use crate::programs::postmaster::running;
use crate::programs::process::{self, ProcessError, Program, Tell};

/// Between two looks at a server that recovers.
const TICK: Duration = Duration::from_millis(100);
/// How long a fast stop may take before an immediate one, and that before a kill.
const FAST: Duration = Duration::from_secs(30);
const IMMEDIATE: Duration = Duration::from_secs(5);
/// Lines of the log that an error carries.
/// How long it may know none of the roles that it is asked by.
const STRANGE: Duration = Duration::from_secs(60);
/// How a server says that, which lets others in.
const REFUSALS: [&str; 4] = [
    "does not exist",
    "permission denied for database",
    "is not permitted to log in",
    "no pg_hba.conf entry",
];
const LAST_WORDS: usize = 12;
/// The folder on which the server's view of the world is built.
const PLACE: &str = "world";
/// Bytes of a socket's path at the most.
const SOCKET_PATH: usize = 100;
const DEFAULT_PORT: u16 = 5432;

/// How a restored cluster is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// The folder of the server's programs, of the cluster's major version.
    pub programs: PathBuf,
    /// The data directory; its owner is the account the server runs as.
    pub data: PathBuf,
    /// A folder that is not there yet: log, configuration, socket. It goes when the server is stopped.
    pub scratch: PathBuf,
    /// The folder of its socket where the scratch folder's path is longer than a socket's may be. It is not there yet, and goes
    /// with the scratch folder.
    pub spare: PathBuf,
    /// The port, which is only a part of the socket's name: nothing listens on the network.
    pub port: u16,
    /// A superuser of the cluster.
    pub role: String,
    /// What it may write beside the data directory and the scratch folder: where its tablespaces are.
    pub own: Vec<PathBuf>,
    /// What it finds in the place of folders of this machine.
    pub covers: Vec<Cover>,
    /// A network namespace of its own, where the system permits it. Not for a restore command that needs the network.
    pub alone: bool,
    /// It goes on when this process ends. Otherwise it stops with it, even where this process is killed.
    pub stays: bool,
    /// What its restore command needs of the environment.
    pub env: Vec<(OsString, OsString)>,
}

impl Start {
    /// With the usual port and role, alone, for as long as the caller lives.
    pub fn new(programs: PathBuf, data: PathBuf, scratch: PathBuf) -> Start {
        Start {
            programs,
            data,
            scratch,
            spare: std::env::temp_dir().join(format!("backplan-{}", crate::catalog::ids::Nonce::random())),
            port: DEFAULT_PORT,
            role: "postgres".to_owned(),
            own: Vec::new(),
            covers: Vec::new(),
            alone: true,
            stays: false,
            env: Vec::new(),
        }
    }
}

/// What a recovery is to end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It is out of recovery, and can be written to.
    Open,
    /// It is paused at its target, and can be read.
    Paused,
    /// It stopped at its target.
    Gone,
}

/// Why a cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A file.
    #[error("`{}`: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// A server runs there already.
    #[error("a server (process {pid}) runs in `{}`: stop it, or restore into another folder", data.display())]
    Runs {
        /// The data directory.
        data: PathBuf,
        /// The process.
        pid: u32,
    },
    /// Postgres refuses root.
    #[error("`{}` belongs to root, and Postgres refuses to run as root: give it to another account", .0.display())]
    Root(PathBuf),
    /// It would write outside its own folders.
    #[error(
        "`{}` leads to `{}`, which was not restored: the server would write there", link.display(), to.display()
    )]
    Outside {
        /// The link.
        link: PathBuf,
        /// Where it leads.
        to: PathBuf,
    },
    /// It cannot be held to its own folders, or not be started.
    #[error("the server cannot be started: {0}")]
    Confine(#[source] ConfineError),
    /// It ended.
    #[error("the server ended ({status}) before it had recovered; its log says:\n  {}", words.join("\n  "))]
    Ended {
        /// How.
        status: ExitStatus,
        /// The log's last lines.
        words: Vec<String>,
    },
    /// It opened before the log ends.
    #[error(
        "the server opened at {at}, and the archived log leads to {end}: the log between them was not replayed; its log says:\n  {}",
        words.join("\n  ")
    )]
    Short {
        /// Where, as it says.
        at: String,
        /// Where the log ends.
        end: Lsn,
        /// The log's last lines.
        words: Vec<String>,
    },
    /// It has not got there.
    #[error("the server has not recovered within {} s; its log says:\n  {}", after.as_secs(), words.join("\n  "))]
    TooLong {
        /// How long was waited.
        after: Duration,
        /// The log's last lines.
        words: Vec<String>,
    },
    /// It answers, and to nobody that is known.
    #[error(
        "the server answers, and lets in none of the roles that are known ({}): name one by `user` in the plan; its log says:\n  {}",
        tried.join(", "), words.join("\n  ")
    )]
    Unknown {
        /// As whom it was asked.
        tried: Vec<String>,
        /// The log's last lines.
        words: Vec<String>,
    },
    /// It is out of recovery though it was to pause.
    #[error("the server opened for writing though it was to pause at its target")]
    NotPaused,
    /// A program.
    #[error(transparent)]
    Program(#[from] ProcessError),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What `pg_controldata` says of a data directory.
///
/// # Errors
/// When it cannot be run or understood the directory.
pub fn control_data(programs: &Path, data: &Path, control: &Control) -> Result<ControlData, ServerError> {
    let program = Program {
        env: vec![("LC_ALL".to_owned(), "C".to_owned())],
        ..Program::new(words(&[&programs.join("pg_controldata"), data]))
    };
    let out = process::run(&program, control, &silent())?;
    Ok(ControlData::parse(&String::from_utf8_lossy(&out)))
}

/// A restored cluster that runs.
pub struct Server {
    start: Start,
    sockets: PathBuf,
    child: Child,
    /// Whether it has its own network namespace.
    pub is_alone: bool,
    /// What holds it to its own folders.
    pub held: HeldBy,
    ended: bool,
}

impl Server {
    /// Starts it; it recovers from now on.
    ///
    /// # Errors
    /// See [`ServerError`]; then nothing is left of it.
    pub fn start(start: &Start, control: &Control) -> Result<Server, ServerError> {
        let file = |path: &Path| {
            let path = path.to_path_buf();
            move |cause| ServerError::File { path, cause }
        };
        if let Some(pid) = running(&start.data).map_err(file(&start.data))? {
            return Err(ServerError::Runs { data: start.data.clone(), pid });
        }
        let owner = fs::metadata(&start.data).map_err(file(&start.data))?;
        if owner.uid() == 0 {
            return Err(ServerError::Root(start.data.clone()));
        }
        let known = control_data(&start.programs, &start.data, control)?;
        let made =
            prepare(&start.scratch, &owner).and_then(|()| sockets(&start.scratch, &start.spare, &owner));
        let sockets = made.map_err(|cause| {
            let _ = folder::remove(&start.scratch);
            file(&start.scratch)(cause)
        })?;
        let settings = harmless::settings(&known, &start.data, &start.scratch, &sockets, start.port);
        let spawned =
            inside(&start.data, &start.own).and_then(|()| spawn(start, &owner, &settings, &sockets, control));
        match spawned {
            Ok(Confined { child, held, is_alone }) => {
                Ok(Server { start: start.clone(), sockets, child, is_alone, held, ended: false })
            }
            Err(error) => {
                remove(&start.scratch, &sockets);
                Err(error)
            }
        }
    }

    /// The folder of its socket, and its port: `psql -h FOLDER -p PORT`.
    pub fn address(&self) -> (&Path, u16) {
        (&self.sockets, self.start.port)
    }

    /// Waits until it has come to what is expected of it, at most `timeout`.
    ///
    /// # Errors
    /// When it ended, does not come to that, or the caller is asked to stop.
    pub fn wait(&mut self, expect: Expect, timeout: Duration, control: &Control) -> Result<(), ServerError> {
        let (begun, mut refused) = (Instant::now(), None);
        loop {
            control.check()?;
            if let Some(status) = self.child.try_wait().map_err(looking)? {
                self.ended = true;
                keeper::release(Pid::from_child(&self.child));
                return match expect {
                    // Postgres says of itself whether it is at its target: the status alone does not.
                    Expect::Gone if self.log().contains("shutdown at recovery target") => Ok(()),
                    _ => Err(ServerError::Ended { status, words: self.last_words() }),
                };
            }
            let Some(state) = self.state(control)? else {
                // A role may come with the log that is still replayed.
                if refused.get_or_insert_with(Instant::now).elapsed() >= STRANGE {
                    return Err(ServerError::Unknown { tried: self.known_roles(), words: self.last_words() });
                }
                std::thread::sleep(TICK);
                continue;
            };
            match (expect, state) {
                (Expect::Open, State::Open) | (Expect::Paused, State::Paused) => return Ok(()),
                (Expect::Paused | Expect::Gone, State::Open) => return Err(ServerError::NotPaused),
                _ if begun.elapsed() >= timeout => {
                    return Err(ServerError::TooLong { after: timeout, words: self.last_words() });
                }
                _ => std::thread::sleep(TICK),
            }
        }
    }

    /// Whether a server that is open has come into the last segment of its log, which ends at `end`: to it, a segment that it
    /// cannot read is the log's end.
    ///
    /// # Errors
    /// [`ServerError::Short`], or when it does not answer.
    pub fn has_reached(&self, end: Lsn, control: &Control) -> Result<(), ServerError> {
        // Before the last segment ends, less than a segment is left; at its very begin none of it was replayed.
        let sql = format!(
            "select lsn, pg_wal_lsn_diff('{end}', lsn) < pg_size_bytes(current_setting('wal_segment_size')) \
             from coalesce(pg_last_wal_replay_lsn(), pg_current_wal_lsn()) as at (lsn)"
        );
        let mut rows = self.query("template1", &sql, control);
        for role in self.known_roles() {
            match rows {
                Ok(_) => break,
                Err(_) => rows = self.query_by(&role, "template1", &sql, control),
            }
        }
        let at = match rows?.into_iter().next().as_deref() {
            Some([_, reached]) if reached == "t" => return Ok(()),
            Some([at, _]) => at.clone(),
            _ => "a place that it does not tell".to_owned(),
        };
        Err(ServerError::Short { at, end, words: self.last_words() })
    }

    /// How it stands, asked as a superuser: by the roles that its files name, which are those of then, and else as it was said.
    fn state(&self, control: &Control) -> Result<Option<State>, ServerError> {
        for role in self.known_roles() {
            match self.state_by(&role, control)? {
                Answered::Stands(state) => return Ok(Some(state)),
                Answered::NotYet => return Ok(Some(State::Recovering)),
                Answered::Unknown => {}
            }
        }
        Ok(None)
    }

    fn known_roles(&self) -> Vec<String> {
        let mut roles = superusers(&self.start.data);
        if !roles.contains(&self.start.role) {
            roles.push(self.start.role.clone());
        }
        roles
    }

    fn state_by(&self, role: &str, control: &Control) -> Result<Answered, ServerError> {
        const ASK: &str = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'open' \
                           WHEN pg_is_wal_replay_paused() THEN 'paused' ELSE 'recovering' END";
        // Every cluster has this database, and recovery with little applied may have no other.
        match self.query_by(role, "template1", ASK, control) {
            Ok(rows) => {
                Ok(Answered::Stands(match rows.first().and_then(|row| row.first()).map(String::as_str) {
                    Some("open") => State::Open,
                    Some("paused") => State::Paused,
                    _ => State::Recovering,
                }))
            }
            // Its words are English: it is started so.
            Err(ServerError::Program(ProcessError::Status { words, .. })) => {
                let refuses = |line: &String| REFUSALS.iter().any(|refusal| line.contains(refusal));
                Ok(if words.iter().any(refuses) { Answered::Unknown } else { Answered::NotYet })
            }
            Err(other) => Err(other),
        }
    }

    /// Asks a question in a database; the rows, and their columns as text.
    ///
    /// # Errors
    /// When the server does not answer, or with an error.
    pub fn query(
        &self,
        database: &str,
        sql: &str,
        control: &Control,
    ) -> Result<Vec<Vec<String>>, ServerError> {
        self.query_by(&self.start.role, database, sql, control)
    }

    fn query_by(
        &self,
        role: &str,
        database: &str,
        sql: &str,
        control: &Control,
    ) -> Result<Vec<Vec<String>>, ServerError> {
        let mut program = Program::new(words(&[&self.start.programs.join("psql")]));
        let fixed = ["-X", "-w", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1"];
        program.argv.extend(fixed.map(str::to_owned));
        program.argv.extend(["-d".to_owned(), connection_to(database), "-c".to_owned(), sql.to_owned()]);
        program.env = self.environment_of(role);
        let out = process::run(&program, control, &silent())?;
        let text = String::from_utf8_lossy(&out);
        Ok(text.lines().map(|line| line.split('\x1f').map(str::to_owned).collect()).collect())
    }

    /// From now on it is asked as this role.
    pub fn ask_as(&mut self, role: String) {
        self.start.role = role;
    }

    /// The environment in which Postgres' own programs find this server.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment_of(&self.start.role)
    }

    fn environment_of(&self, role: &str) -> Vec<(String, String)> {
        let sockets = self.sockets.display().to_string();
        let port = self.start.port.to_string();
        let pairs = [
            ("PGHOST", sockets.as_str()),
            ("PGHOSTADDR", ""),
            ("PGPORT", &port),
            ("PGUSER", role),
            ("PGPASSWORD", ""),
            // A database may be one that is only read: not where it is made, and not for who looks into it.
            ("PGOPTIONS", "-c default_transaction_read_only=off"),
            ("PGCONNECT_TIMEOUT", "10"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// All it has said.
    pub fn log(&self) -> String {
        tail(&self.start.scratch.join("log"), 1 << 16)
    }

    fn last_words(&self) -> Vec<String> {
        last_lines(&self.log())
    }

    /// Leaves it running, and what it needs in place.
    pub fn leave(mut self) {
        self.ended = true;
    }

    /// Stops it, and removes its scratch folder. A stop that takes too long becomes a kill.
    pub fn stop(mut self) {
        self.end(Signal::INT);
    }

    fn end(&mut self, first: Signal) {
        let pid = Pid::from_child(&self.child);
        for (signal, patience) in [(first, FAST), (Signal::QUIT, IMMEDIATE)] {
            if self.is_over() {
                break;
            }
            // One that is gone already is what is wanted.
            let _ = kill_process(pid, signal);
            let until = Instant::now() + patience;
            while !self.is_over() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if !self.is_over() {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.wait();
        }
        self.ended = true;
        keeper::release(pid);
        remove(&self.start.scratch, &self.sockets);
    }

    fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

/// Whatever it was for did not come to its end: nothing of it is left.
impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Signal::QUIT);
        } else if self.is_over() {
            remove(&self.start.scratch, &self.sockets);
        }
    }
}

/// What came of asking as one role.
enum Answered {
    Stands(State),
    /// It lets nobody in yet.
    NotYet,
    /// It does not know the role, or lets it in nowhere.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Recovering,
    Paused,
    Open,
}

fn looking(cause: io::Error) -> ProcessError {
    ProcessError::Output { program: "postgres".to_owned(), cause }
}

fn silent() -> Tell {
    Arc::new(|_| {})
}

fn words(paths: &[&Path]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// The folder with the configuration: private to the server's account, who trusts everybody that can enter it.
fn prepare(folder: &Path, owner: &fs::Metadata) -> io::Result<()> {
    private(folder)?;
    for (name, text) in [
        ("postgresql.conf", ""),
        ("pg_hba.conf", "local all all trust\n"),
        ("pg_ident.conf", ""),
        ("log", ""),
    ] {
        let path = folder.join(name);
        fs::write(&path, text)?;
        give(&path, owner)?;
    }
    // Last: in a folder of its own the account could put links in the place of these.
    give(folder, owner)
}

/// The folder of the socket: the scratch folder, unless its path is longer than a socket's may be; then the spare one.
pub(crate) fn sockets(scratch: &Path, spare: &Path, owner: &fs::Metadata) -> io::Result<PathBuf> {
    if scratch.as_os_str().len() + "/.s.PGSQL.65535.lock".len() < SOCKET_PATH {
        return Ok(scratch.to_path_buf());
    }
    private(spare)?;
    give(spare, owner)?;
    Ok(spare.to_path_buf())
}

fn private(folder: &Path) -> io::Result<()> {
    // Made, never found: what somebody else made there is not to be trusted.
    DirBuilder::new().mode(0o700).create(folder)
}

pub(crate) fn give(path: &Path, owner: &fs::Metadata) -> io::Result<()> {
    if geteuid().is_root() { chown(path, Some(owner.uid()), Some(owner.gid())) } else { Ok(()) }
}

/// Refuses a data directory whose links lead out of what was restored.
fn inside(data: &Path, own: &[PathBuf]) -> Result<(), ServerError> {
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| ServerError::File { path, cause }
    };
    let all = std::iter::once(data).chain(own.iter().map(PathBuf::as_path));
    let all: Vec<PathBuf> = all.filter_map(|path| path.canonicalize().ok()).collect();
    let places = data.join("pg_tblspc");
    let mut links = vec![data.join("pg_wal")];
    for entry in fs::read_dir(&places).map_err(file(&places))? {
        links.push(entry.map_err(file(&places))?.path());
    }
    for link in links.into_iter().filter(|link| link.is_symlink()) {
        if !link.canonicalize().is_ok_and(|found| all.iter().any(|own| found.starts_with(own))) {
            let to = fs::read_link(&link).map_err(file(&link))?;
            return Err(ServerError::Outside { link, to });
        }
    }
    Ok(())
}

fn spawn(
    start: &Start,
    owner: &fs::Metadata,
    settings: &[(&str, String)],
    sockets: &Path,
    control: &Control,
) -> Result<Confined, ServerError> {
    let mut argv = vec!["setpriv".to_owned(), "--no-new-privs".to_owned()];
    if geteuid().is_root() {
        argv.extend([format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid())]);
        argv.push("--clear-groups".to_owned());
    }
    argv.extend(["--".to_owned(), start.programs.join("postgres").display().to_string()]);
    argv.extend(["-D".to_owned(), start.data.display().to_string()]);
    for (name, value) in settings {
        argv.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    let place = start.scratch.join(PLACE);
    let log = DirBuilder::new().mode(0o700).create(&place);
    let log = log.and_then(|()| File::options().append(true).open(start.scratch.join("log")));
    let log = log.map_err(|cause| ServerError::File { path: start.scratch.clone(), cause })?;
    let mut own = vec![start.data.clone(), start.scratch.clone()];
    own.extend((sockets != start.scratch).then(|| sockets.to_path_buf()));
    own.extend(start.own.iter().cloned());
    let (covers, alone, stays) = (start.covers.clone(), start.alone, start.stays);
    let wanted = Confinement { own, covers, alone, place, stays, env: start.env.clone() };
    let argv: Vec<OsString> = argv.into_iter().map(OsString::from).collect();
    confine::start(&wanted, &argv, &start.data, &log, control).map_err(|error| match error {
        ConfineError::Stopped(stopped) => ServerError::Stopped(stopped),
        error => ServerError::Confine(error),
    })
}

fn remove(scratch: &Path, sockets: &Path) {
    // Nothing to be done about a folder that does not go; it holds no data.
    let _ = folder::remove(scratch);
    if sockets != scratch {
        let _ = folder::remove(sockets);
    }
}

/// The last bytes of a file, as text.
pub(crate) fn tail(path: &Path, bytes: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(bytes)))?;
        let mut text = Vec::new();
        file.take(bytes).read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// What of a log tells why: its last lines, without those of psql's attempts to connect.
pub(crate) fn last_lines(log: &str) -> Vec<String> {
    let told = |line: &&str| !line.contains("the database system is") && !line.trim().is_empty();
    let lines: Vec<&str> = log.lines().filter(told).collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].iter().map(|line| (*line).to_owned()).collect()
}
