//! A server of its own, for a rehearsal: new and empty, on a private socket, held to its own folders.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};

use super::{find, plugins};
use crate::confine::{self, ConfineError, Confined, Confinement, HeldBy};
use crate::control::{Control, Stopped};
use crate::keeper;
use crate::places::folder;
use crate::postgres::server::{give, last_lines, sockets, tail};
use crate::programs::process::{self, ProcessError, Program, Tell};

/// Between two looks at a server that starts.
const TICK: Duration = Duration::from_millis(100);
/// How long it may take to start, and to stop before it is killed.
const START: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(30);
/// The account that loads and asks: no dump makes one of this name anew, and so none changes its password.
const OWNER: &str = "backplan_rehearsal";
/// Tables name their keys by numbers, from 1: so many are there.
const KEYS: u32 = 1000;

/// Why it does not run.
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
    /// A program is not here.
    #[error("{0}")]
    Missing(String),
    /// It cannot be held to its own folders, or not be started.
    #[error("the server cannot be started: {0}")]
    Confine(#[source] ConfineError),
    /// It ended, or does not answer.
    #[error("the server {how}; its log says:\n  {}", words.join("\n  "))]
    Silent {
        /// How.
        how: &'static str,
        /// The log's last lines.
        words: Vec<String>,
    },
    /// It does not take what it is to load: its words.
    #[error("{0}")]
    Refused(String),
    /// A program.
    #[error(transparent)]
    Program(#[from] ProcessError),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A server that runs. It ends with this value, and with this process.
pub struct Server {
    scratch: PathBuf,
    sockets: PathBuf,
    child: Child,
    user: String,
    /// What holds it to its own folders.
    pub held: HeldBy,
    /// Whether it has its own network namespace.
    pub is_alone: bool,
}

impl Server {
    /// Makes an empty server in `data`, which is there and belongs to the account that it is to run as, and starts it.
    /// `scratch` is not there yet, nor is `spare`, where its socket is if the path of `scratch` is too long for one. It loads the libraries of
    /// `plugins` that are on this machine.
    ///
    /// # Errors
    /// See [`ServerError`]; then nothing runs.
    pub fn start(
        data: &Path,
        scratch: &Path,
        spare: &Path,
        account: Option<&str>,
        plugins: &[String],
        control: &Control,
    ) -> Result<Server, ServerError> {
        let file = |path: &Path| {
            let path = path.to_path_buf();
            move |cause| ServerError::File { path, cause }
        };
        let owner = fs::metadata(data).map_err(file(data))?;
        let made = prepare(scratch, &owner).and_then(|()| sockets(scratch, spare, &owner));
        let sockets = made.map_err(file(scratch))?;
        let mut program = Program::new(vec![find("mariadb-install-db").map_err(ServerError::Missing)?]);
        program.argv.extend(
            ["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]
                .map(str::to_owned),
        );
        program.argv.push(format!("--datadir={}", data.display()));
        // A server that starts deletes whatever temporary tables lie there: not those of one that lives.
        program.argv.push(format!("--tmpdir={}", scratch.join("tmp").display()));
        (program.run_as, program.folder) = (account.map(str::to_owned), Some(PathBuf::from("/")));
        process::run(&program, control, &silent())?;
        let Confined { child, held, is_alone } = spawn(data, scratch, &sockets, &owner, plugins, control)?;
        let (scratch, user) = (scratch.to_path_buf(), "root".to_owned());
        let mut server = Server { scratch, sockets, child, user, held, is_alone };
        server.wait(control)?;
        server.query(
            None,
            &format!(
                "create user {OWNER}@localhost; grant all privileges on *.* to {OWNER}@localhost with grant option; \
                 grant proxy on ''@'%' to {OWNER}@localhost with grant option"
            ),
            control,
        )?;
        OWNER.clone_into(&mut server.user);
        server.tell_where().map_err(file(&server.scratch))?;
        Ok(server)
    }

    /// Leads MariaDB's own programs here. The file is made, never found: the folder is the server's.
    fn tell_where(&self) -> io::Result<()> {
        let mut file =
            File::options().write(true).create_new(true).mode(0o600).open(self.scratch.join("my.cnf"))?;
        write!(file, "[client]\nuser = {}\nsocket = \"{}\"\n", self.user, self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.sockets.join("s")
    }

    fn wait(&mut self, control: &Control) -> Result<(), ServerError> {
        let begun = Instant::now();
        loop {
            control.check()?;
            let words = || last_lines(&tail(&self.scratch.join("log"), 1 << 16));
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(ServerError::Silent { how: "ended", words: words() });
            }
            match self.query(None, "select 1", control) {
                Ok(_) => return Ok(()),
                Err(ServerError::Program(ProcessError::Status { .. })) if begun.elapsed() < START => {
                    std::thread::sleep(TICK);
                }
                Err(ServerError::Program(ProcessError::Status { .. })) => {
                    return Err(ServerError::Silent { how: "does not answer", words: words() });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The client, which takes nothing of what it reads for a command to itself.
    fn client(&self) -> Result<Vec<String>, ServerError> {
        let mut argv = vec![find("mariadb").map_err(ServerError::Missing)?];
        let fixed = [
            "--no-defaults",
            "--batch",
            "--sandbox",
            "--binary-mode",
            "--local-infile=0",
            "--default-character-set=utf8mb4",
            "--max-allowed-packet=1G",
        ];
        argv.extend(fixed.map(str::to_owned));
        argv.extend([format!("--user={}", self.user), format!("--socket={}", self.socket().display())]);
        Ok(argv)
    }

    /// Asks a question; the rows, and their columns as text.
    ///
    /// # Errors
    /// When the server does not answer, or with an error.
    pub fn query(
        &self,
        database: Option<&str>,
        sql: &str,
        control: &Control,
    ) -> Result<Vec<Vec<String>>, ServerError> {
        let mut argv = self.client()?;
        argv.push("--skip-column-names".to_owned());
        argv.extend(database.map(|database| format!("--database={database}")));
        argv.push(format!("--execute={sql}"));
        let out = process::run(&Program::new(argv), control, &silent())?;
        let text = String::from_utf8_lossy(&out);
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// Those of some plugins' libraries that it has not loaded: they are not on this machine, or do not work here.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn lacking(&self, plugins: &[String], control: &Control) -> Result<Vec<String>, ServerError> {
        let sql =
            "select distinct plugin_library from information_schema.plugins where plugin_library is not null";
        let loaded: Vec<String> = self.query(None, sql, control)?.into_iter().flatten().collect();
        let is_loaded = |name: &String| loaded.iter().any(|other| plugins::library(other) == Some(name));
        Ok(plugins.iter().filter(|name| !is_loaded(name)).cloned().collect())
    }

    /// Has it carry out a file of SQL. With `goes_on` behind what fails as well; `tell` gets the words of that.
    ///
    /// # Errors
    /// When something of it fails.
    pub fn load(
        &self,
        file: &Path,
        goes_on: bool,
        control: &Control,
        tell: &Tell,
    ) -> Result<(), ServerError> {
        let mut argv = ["sh", "-c", "exec \"$@\" < \"$0\""].map(str::to_owned).to_vec();
        argv.push(file.display().to_string());
        argv.extend(self.client()?);
        argv.extend(goes_on.then(|| "--force".to_owned()));
        process::act(&Program::new(argv), control, tell).map_err(|error| match error {
            // The statement before it may be a row of a million bytes.
            ProcessError::Status { ref words, .. } => {
                let said = words.iter().find(|line| line.starts_with("ERROR")).cloned();
                said.map_or_else(|| error.into(), ServerError::Refused)
            }
            error => error.into(),
        })
    }

    /// The environment in which MariaDB's own programs find this server.
    pub fn environment(&self) -> Vec<(String, String)> {
        let (home, socket) = (self.scratch.display().to_string(), self.socket().display().to_string());
        [("MYSQL_HOME", home), ("MYSQL_UNIX_PORT", socket), ("MYSQL_PWD", String::new())]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }

    fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

/// Nothing of it is left.
impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        // One that is gone already is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
        let until = Instant::now() + STOP;
        while !self.is_over() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.is_over() {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.wait();
        }
        keeper::release(pid);
        // It holds no data, and is in a folder that goes as well.
        let _ = folder::remove(&self.scratch);
        if self.sockets != self.scratch {
            let _ = folder::remove(&self.sockets);
        }
    }
}

fn silent() -> Tell {
    Arc::new(|_| {})
}

/// The folder for log and temporary files: private to the server's account.
fn prepare(scratch: &Path, owner: &fs::Metadata) -> io::Result<()> {
    // Made, never found: what somebody else made there is not to be trusted.
    DirBuilder::new().mode(0o700).create(scratch)?;
    for below in ["tmp", "files", "world"] {
        let path = scratch.join(below);
        DirBuilder::new().mode(0o700).create(&path)?;
        // The place of its view of the world is this process's.
        if below != "world" {
            give(&path, owner)?;
        }
    }
    give(scratch, owner)
}

/// Keys for encrypted tables: they are of no use beyond this server, and gone with it.
fn made_up_keys(scratch: &Path, owner: &fs::Metadata) -> io::Result<PathBuf> {
    let path = scratch.join("keys");
    let mut text = String::new();
    for number in 1..=KEYS {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let digits = key.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
        text += &format!("{number};{digits}\n");
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    give(&path, owner)?;
    Ok(path)
}

fn spawn(
    data: &Path,
    scratch: &Path,
    sockets: &Path,
    owner: &fs::Metadata,
    plugins: &[String],
    control: &Control,
) -> Result<Confined, ServerError> {
    let file = |cause| ServerError::File { path: scratch.to_path_buf(), cause };
    let mut argv = vec!["setpriv".to_owned(), "--no-new-privs".to_owned()];
    if geteuid().is_root() {
        argv.extend([format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid())]);
        argv.push("--clear-groups".to_owned());
    }
    argv.extend(["--".to_owned(), find("mariadbd").map_err(ServerError::Missing)?]);
    let fixed = [
        "--no-defaults",
        "--skip-networking",
        "--skip-slave-start",
        "--skip-log-bin",
        // Off, and not disabled: then no event could be made.
        "--event-scheduler=OFF",
        "--local-infile=0",
        // As the documented way of loading sets them: else long rows, and tables that older servers made, end a dump where they stand.
        "--max-allowed-packet=1G",
        "--innodb-strict-mode=OFF",
        // All of it is thrown away.
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
    ];
    argv.extend(fixed.map(str::to_owned));
    // One that is not here is no failure of the server's: what needs it is told by what it loads.
    argv.extend(plugins.iter().map(|name| format!("--plugin-load-add={name}")));
    if plugins.iter().any(|name| name == plugins::KEYS) {
        let keys = made_up_keys(scratch, owner).map_err(file)?;
        argv.push(format!("--loose-file-key-management-filename={}", keys.display()));
    }
    for (option, path) in [
        ("datadir", data.to_path_buf()),
        ("socket", sockets.join("s")),
        ("pid-file", scratch.join("pid")),
        ("tmpdir", scratch.join("tmp")),
        ("secure-file-priv", scratch.join("files")),
    ] {
        argv.push(format!("--{option}={}", path.display()));
    }
    let log = File::options().append(true).create_new(true).open(scratch.join("log")).map_err(file)?;
    let mut own = vec![data.to_path_buf(), scratch.to_path_buf()];
    own.extend((sockets != scratch).then(|| sockets.to_path_buf()));
    let place = scratch.join("world");
    let wanted = Confinement { own, covers: Vec::new(), alone: true, place, stays: false, env: Vec::new() };
    let argv: Vec<OsString> = argv.into_iter().map(OsString::from).collect();
    confine::start(&wanted, &argv, data, &log, control).map_err(|error| match error {
        ConfineError::Stopped(stopped) => ServerError::Stopped(stopped),
        error => ServerError::Confine(error),
    })
}
