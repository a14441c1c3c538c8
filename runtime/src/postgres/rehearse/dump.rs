//! Dumps: loaded into a new and private cluster, and asked there.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::PATIENCE;
use super::server::{detail, examine};
use crate::backups::rehearsed::CheckVerdict;
use crate::catalog::ids::Nonce;
use crate::postgres::names::{self, GLOBALS};
use crate::postgres::server::{Expect, Server, Start};
use crate::postgres::tools;
use crate::programs::process::{self, ProcessError, Program};
use crate::regular;
use crate::rehearse::{RehearseError, Stage, failed, files, private, silent};

/// The superuser of the new cluster: of a name that no dump makes anew.
const OWNER: &str = "backplan_rehearsal";
/// Makes a database of the same name to make others from: in one that knows an encoding, names of another are refused.
const MAKER: &str = "CREATE DATABASE backplan_rehearsal ENCODING 'SQL_ASCII' TEMPLATE template0";

/// What to do about what [`is_of_search_path`].
const MEND_OF_SEARCH_PATH: &str = "\n  a dump is loaded without a `search_path`: what an index, a check, a column or a view calls must name its tables with their schemas, \
     or have a path of its own (`alter function NAME set search_path = public`)";

/// Loads the dump and looks at it.
pub(crate) fn play(stage: &mut Stage<'_>) -> Result<(), RehearseError> {
    let dumped = stage.folder.join("dump");
    private(&dumped)?;
    if !files::restore(stage, &dumped)? {
        return Ok(());
    }
    let programs = programs(stage, &dumped)?;
    let (data, begun) = (stage.folder.join("data"), Instant::now());
    private(&data)?;
    let made = make(stage, &programs, &data);
    let mut server = match made? {
        Ok(server) => server,
        Err(why) => {
            stage.note("initdb", begun, CheckVerdict::Failed, Some(why));
            return Ok(());
        }
    };
    let begun = Instant::now();
    if let Some(why) = load(stage, &server, &programs, &dumped, &data)? {
        stage.note("load", begun, CheckVerdict::Failed, Some(why));
        return Ok(());
    }
    stage.note("load", begun, CheckVerdict::Passed, None);
    stage.is_usable();
    examine(stage, &mut server, &programs, &data)?;
    server.stop();
    Ok(())
}

/// The programs of a server that takes the dump: of its own version, where those read what the program wrote that made it; else the
/// newest that are here.
fn programs(stage: &Stage<'_>, dumped: &Path) -> Result<PathBuf, RehearseError> {
    let version = stage.labels().find_map(|labels| labels.server_version.as_deref()).unwrap_or_default();
    let newest = || {
        let program = PathBuf::from(tools::find("initdb").ok()?);
        let folder = program.parent()?.to_path_buf();
        folder.join("postgres").is_file().then_some(folder)
    };
    let needed = dumps(dumped)?.iter().map(|dump| reader_of(dump)).max().unwrap_or_default();
    let own = tools::major(version).filter(|major| *major >= needed).and_then(tools::server);
    own.or_else(newest).ok_or_else(|| RehearseError::NoServer(version.to_owned()))
}

/// The files and folders of a dump, but for that of the roles.
fn dumps(dumped: &Path) -> Result<Vec<PathBuf>, RehearseError> {
    let entries = fs::read_dir(dumped).map_err(failed(dumped))?;
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.retain(|path| *path != dumped.join(GLOBALS));
    entries.sort();
    Ok(entries)
}

/// The oldest major version whose `pg_restore` reads a dump, by the format that its header names (in PostgreSQL's
/// `pg_backup_archiver.h`): the program that made it may have been newer than its server.
fn reader_of(dump: &Path) -> u32 {
    let header = if dump.is_dir() { dump.join("toc.dat") } else { dump.to_path_buf() };
    let mut start = [0; 7];
    let read = regular::open(&header).and_then(|mut file| file.read_exact(&mut start));
    match (read, start) {
        (Ok(()), [b'P', b'G', b'D', b'M', b'P', 1, minor]) => match minor {
            ..15 => 0,
            15 => 16,
            16.. => 17,
        },
        _ => 0,
    }
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
        spare: stage.spare.clone(),
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

/// A script of SQL as one that gives `psql` no orders: each statement is a value, which the server is sent as it is. In a file
/// that a store gave, `\\! rm` would be an order to this machine.
///
/// Where a statement ends is guessed as `pg_dumpall` writes them; one that is torn apart fails.
fn harmless(script: &[u8], tag: &str) -> Vec<u8> {
    let quote = format!("$b{tag}$");
    let mut made = Vec::with_capacity(script.len() + script.len() / 2);
    let mut statement: Vec<u8> = Vec::new();
    // Newer programs begin and end with one of these, for `psql` alone.
    let is_order = |line: &&[u8]| line.starts_with(b"\\restrict ") || line.starts_with(b"\\unrestrict ");
    let lines = script.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_order(line));
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        statement.extend_from_slice(line);
        if line.trim_ascii_end().ends_with(b";") || lines.peek().is_none() {
            let parts: [&[u8]; 5] =
                [b"SELECT ", quote.as_bytes(), &statement, quote.as_bytes(), b" \\gexec\n"];
            made.extend(parts.concat());
            statement.clear();
        }
    }
    made
}

/// Loads roles, then each database; why some do not load, each with its name.
fn load(
    stage: &Stage<'_>,
    server: &Server,
    programs: &Path,
    dumped: &Path,
    data: &Path,
) -> Result<Option<String>, RehearseError> {
    let globals = dumped.join(GLOBALS);
    let mut loading =
        Loading { stage, server, programs, data, has_roles: globals.is_file(), tablespaces: BTreeSet::new() };
    if loading.has_roles
        && let Some(why) = loading.roles(&globals)?
    {
        return Ok(Some(why));
    }
    let mut failed = Vec::new();
    for dump in dumps(dumped)? {
        let name = dump.file_name().unwrap_or_default().to_string_lossy();
        let database = names::dumped(&name, dump.is_dir());
        if let Some(why) = loading.database(&dump, &database)? {
            let mend = if is_of_search_path(&why) { MEND_OF_SEARCH_PATH } else { "" };
            failed.push(format!("database `{}`: {why}{mend}", names::shown(&database)));
        }
    }
    Ok((!failed.is_empty()).then(|| failed.join("\n")))
}

/// Whether something was not found by a function, which looks where it is called.
fn is_of_search_path(why: &str) -> bool {
    why.contains("does not exist") && why.contains("CONTEXT:") && why.contains("function")
}

/// Dumps that are being loaded.
struct Loading<'a> {
    stage: &'a Stage<'a>,
    server: &'a Server,
    programs: &'a Path,
    data: &'a Path,
    /// One database alone comes without its roles.
    has_roles: bool,
    /// Those that were made.
    tablespaces: BTreeSet<String>,
}

impl Loading<'_> {
    /// Runs a program; why it failed.
    fn run(&self, name: &str, words: Vec<String>) -> Result<Option<String>, RehearseError> {
        let mut program = Program::new(vec![self.programs.join(name).display().to_string()]);
        program.argv.extend(words);
        program.env = self.server.environment();
        match process::run(&program, self.stage.control, &silent()) {
            Ok(_) => Ok(None),
            Err(ProcessError::Stopped(stopped)) => Err(RehearseError::from(stopped)),
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    fn roles(&self, globals: &Path) -> Result<Option<String>, RehearseError> {
        let roles = self.stage.folder.join("roles.sql");
        let script = harmless(&fs::read(globals).map_err(failed(globals))?, &Nonce::random().to_string());
        fs::write(&roles, script).map_err(failed(&roles))?;
        // Folders of tablespaces are not here, and need not be: whether the roles are, the databases tell.
        let words = ["-X", "-q", "-d", "postgres", "-f"].map(str::to_owned);
        self.run("psql", words.into_iter().chain([roles.display().to_string()]).collect())
    }

    fn database(&mut self, dump: &Path, database: &[u8]) -> Result<Option<String>, RehearseError> {
        let mut words = vec!["--exit-on-error".to_owned(), "--no-tablespaces".to_owned()];
        if !self.has_roles {
            words.extend(["--no-owner".to_owned(), "--no-privileges".to_owned()]);
        }
        // The new cluster has these already.
        let own = ["postgres", "template1"].into_iter().find(|own| own.as_bytes() == database);
        if own.is_none() {
            words.push("--create".to_owned());
        }
        words.extend([format!("--dbname={}", own.unwrap_or(OWNER)), dump.display().to_string()]);
        while let Some(why) = self.run("pg_restore", words.clone())? {
            // What a database was made in by default is named where it is made, whatever the options say.
            let Some(name) = lacking(&why).filter(|name| self.tablespaces.insert(name.clone())) else {
                return Ok(Some(why));
            };
            let folder = self.data.join(format!("tablespace-{}", self.tablespaces.len()));
            if let Err(why) = tablespace(self.stage, self.server, &name, &folder)? {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }
}

/// The tablespace that a program says is not there.
fn lacking(why: &str) -> Option<String> {
    let (_, rest) = why.split_once("tablespace \"")?;
    Some(rest.split_once("\" does not exist")?.0.to_owned())
}

/// Makes a tablespace of a name, in the scratch cluster's own folder.
fn tablespace(
    stage: &Stage<'_>,
    server: &Server,
    name: &str,
    folder: &Path,
) -> Result<Result<(), String>, RehearseError> {
    private(folder)?;
    let of = fs::metadata(folder.parent().unwrap_or(folder)).map_err(failed(folder))?;
    chown(folder, Some(of.uid()), Some(of.gid())).map_err(failed(folder))?;
    let (name, place) = (name.replace('"', "\"\""), folder.display().to_string().replace('\'', "''"));
    let sql = format!("CREATE TABLESPACE \"{name}\" LOCATION '{place}'");
    match server.query("postgres", &sql, stage.control) {
        Ok(_) => Ok(Ok(())),
        Err(error) => Ok(Err(detail(error)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_a_dump_are_values_for_the_server_and_no_orders() {
        let script = b"\\restrict x\n-- Roles\nCREATE ROLE a;\r\n\\! touch harm\nCOMMENT ON ROLE a IS 'two\nlines';\nEND\n";
        let made = harmless(script, "5");
        let shown = String::from_utf8_lossy(&made);
        let expected = "SELECT $b5$-- Roles\nCREATE ROLE a;\r\n$b5$ \\gexec\n\
                        SELECT $b5$\\! touch harm\nCOMMENT ON ROLE a IS 'two\nlines';\n$b5$ \\gexec\n\
                        SELECT $b5$END\n$b5$ \\gexec\n";
        assert_eq!(shown, expected);
    }
}
