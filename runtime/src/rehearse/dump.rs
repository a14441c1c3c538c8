//! Dumps: loaded into a new and private cluster, and asked there.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::record::Verdict;
use super::server::{detail, examine};
use super::{PATIENCE, RehearseError, Stage, failed, files, private, silent};
use crate::postgres::names::{self, GLOBALS};
use crate::postgres::server::{Expect, Server, Start};
use crate::postgres::tools;
use crate::run::process::{self, ProcessError, Program};

/// The superuser of the new cluster: of a name that no dump makes anew.
const OWNER: &str = "backplan_rehearsal";
/// Makes a database of the same name to make others from: in one that knows an encoding, names of another are refused.
const MAKER: &str = "CREATE DATABASE backplan_rehearsal ENCODING 'SQL_ASCII' TEMPLATE template0";

/// Loads the dump and looks at it.
pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), RehearseError> {
    let programs = programs(stage)?;
    let dumped = stage.folder.join("dump");
    private(&dumped)?;
    if !files::restore(stage, &dumped)? {
        return Ok(());
    }
    let (data, begun) = (stage.folder.join("data"), Instant::now());
    private(&data)?;
    let made = make(stage, &programs, &data);
    let mut server = match made? {
        Ok(server) => server,
        Err(why) => {
            stage.note("initdb", begun, Verdict::Failed, Some(why));
            return Ok(());
        }
    };
    let begun = Instant::now();
    if let Some(why) = load(stage, &server, &programs, &dumped)? {
        stage.note("load", begun, Verdict::Failed, Some(why));
        return Ok(());
    }
    stage.note("load", begun, Verdict::Passed, None);
    stage.is_usable();
    examine(stage, &mut server, &programs, &data)?;
    server.stop();
    Ok(())
}

/// The programs of a server that takes the dump: of its own version, else the newest that is here.
fn programs(stage: &Stage<'_>) -> Result<PathBuf, RehearseError> {
    let runs = stage.shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    let labels = runs.filter(|run| run.run == stage.run).flat_map(|run| &run.sources);
    let labels = labels.filter(|record| record.name == stage.wish.source).map(|record| &record.labels);
    let version = labels.filter_map(|labels| labels.get("server_version")).next().map_or("", String::as_str);
    let newest = || {
        let program = PathBuf::from(tools::find("initdb").ok()?);
        let folder = program.parent()?.to_path_buf();
        folder.join("postgres").is_file().then_some(folder)
    };
    let own = tools::major(version).and_then(tools::server);
    own.or_else(newest).ok_or_else(|| RehearseError::NoServer(version.to_owned()))
}

/// Makes a cluster and starts it; the inner error is why there is none.
fn make(stage: &Stage<'_>, programs: &Path, data: &Path) -> Result<Result<Server, String>, RehearseError> {
    let account = rustix::process::geteuid().is_root().then(|| {
        stage
            .wish
            .account
            .clone()
            .filter(|account| account != "root")
            .unwrap_or_else(|| "postgres".to_owned())
    });
    if let Some(account) = &account {
        let (user, group) = match tools::account(account) {
            Ok(ids) => ids,
            Err(error) => return Ok(Err(error.to_string())),
        };
        chown(data, Some(user), Some(group)).map_err(failed(data))?;
    }
    let mut program = Program::new(vec![programs.join("initdb").display().to_string()]);
    program.argv.extend(["-D".to_owned(), data.display().to_string(), format!("--username={OWNER}")]);
    let fixed = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"];
    program.argv.extend(fixed.map(str::to_owned));
    (program.run_as, program.folder) = (account, Some(PathBuf::from("/")));
    match process::run(&program, stage.control, &silent()) {
        Ok(_) => {}
        Err(ProcessError::Stopped(stopped)) => return Err(stopped.into()),
        Err(error) => return Ok(Err(error.to_string())),
    }
    let start = Start {
        role: OWNER.to_owned(),
        ..Start::new(programs.to_path_buf(), data.to_path_buf(), stage.folder.join("server"))
    };
    let started = Server::start(&start, stage.control).and_then(|mut server| {
        server.wait(Expect::Open, PATIENCE, stage.control)?;
        server.query("postgres", MAKER, stage.control)?;
        Ok(server)
    });
    match started {
        Ok(server) => Ok(Ok(server)),
        Err(error) => Ok(Err(detail(error)?)),
    }
}

/// Loads roles, then each database; why one does not load.
fn load(
    stage: &Stage<'_>,
    server: &Server,
    programs: &Path,
    dumped: &Path,
) -> Result<Option<String>, RehearseError> {
    let globals = dumped.join(GLOBALS);
    let has_globals = globals.is_file();
    let run = |name: &str, words: Vec<String>| {
        let mut program = Program::new(vec![programs.join(name).display().to_string()]);
        program.argv.extend(words);
        program.env = server.environment();
        match process::run(&program, stage.control, &silent()) {
            Ok(_) => Ok(None),
            Err(ProcessError::Stopped(stopped)) => Err(RehearseError::from(stopped)),
            Err(error) => Ok(Some(error.to_string())),
        }
    };
    if has_globals {
        // Folders of tablespaces are not here, and need not be: whether the roles are, the databases tell.
        let words = ["-X", "-q", "-d", "postgres", "-f"].map(str::to_owned);
        let words = words.into_iter().chain([globals.display().to_string()]).collect();
        if let Some(why) = run("psql", words)? {
            return Ok(Some(why));
        }
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dumped).map_err(failed(dumped))?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for dump in entries.into_iter().filter(|path| *path != globals) {
        let mut words = vec!["--exit-on-error".to_owned(), "--no-tablespaces".to_owned()];
        if !has_globals {
            // One database alone comes without its roles.
            words.extend(["--no-owner".to_owned(), "--no-privileges".to_owned()]);
        }
        let name = dump.file_name().unwrap_or_default().to_string_lossy();
        let database = names::dumped(&name, dump.is_dir());
        // The new cluster has these already.
        let own = ["postgres", "template1"].into_iter().find(|own| own.as_bytes() == database);
        if own.is_none() {
            words.push("--create".to_owned());
        }
        words.extend([format!("--dbname={}", own.unwrap_or(OWNER)), dump.display().to_string()]);
        if let Some(why) = run("pg_restore", words)? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}
