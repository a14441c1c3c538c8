//! Dumps: loaded into a new and private cluster, and asked there.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::record::Verdict;
use super::server::{detail, examine};
use super::{PATIENCE, RehearseError, Stage, failed, files, private, silent};
use crate::catalog::ids::Nonce;
use crate::postgres::names::{self, GLOBALS};
use crate::postgres::server::{Expect, Server, Start};
use crate::postgres::tools;
use crate::programs::process::{self, ProcessError, Program};

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
        let roles = stage.folder.join("roles.sql");
        let script = harmless(&fs::read(&globals).map_err(failed(&globals))?, &Nonce::random().to_string());
        fs::write(&roles, script).map_err(failed(&roles))?;
        // Folders of tablespaces are not here, and need not be: whether the roles are, the databases tell.
        let words = ["-X", "-q", "-d", "postgres", "-f"].map(str::to_owned);
        let words = words.into_iter().chain([roles.display().to_string()]).collect();
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
