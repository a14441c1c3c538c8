//! What is asked of a cluster that runs again, and of its pages once it is stopped.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::backups::rehearsed::CheckVerdict;
use crate::postgres::server::{Server, ServerError, control_data};
use crate::programs::process::{self, ProcessError, Program, Tell};
use crate::rehearse::other_answer;
use crate::rehearse::{RehearseError, Stage, silent};
use crate::text::printable;

/// The database that is asked where the plan names none.
const DATABASE: &str = "postgres";

/// A superuser of the restored cluster, the oldest; the role that was used so far where that may not be told.
const SUPERUSER: &str = "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1";

/// What databases and roles may be set to, and what a look at all of their tables is to be free of.
const FREE: &str = "-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";
/// The same of servers that know these as well.
const FREE_SINCE_17: &str = "-c transaction_timeout=0 -c event_triggers=off";
/// Keeps a database from refusing the extension by which its tables are looked at. Such triggers are not fired for this themselves.
const NO_EVENT_TRIGGERS: &str = "set statement_timeout = 0; do $$declare name text; begin \
     for name in select evtname from pg_event_trigger where evtenabled <> 'D' loop \
     execute format('alter event trigger %I disable', name); end loop; end$$";
/// Lines of a program's output that are shown.
const SHOWN: usize = 10;

/// An error of a server as a detail, unless it is somebody who wants to stop.
pub(super) fn detail(error: ServerError) -> Result<String, RehearseError> {
    match error {
        ServerError::Stopped(stopped) | ServerError::Program(ProcessError::Stopped(stopped)) => {
            Err(stopped.into())
        }
        ServerError::Confine(error) => Err(RehearseError::Harmful(error.to_string())),
        other => Ok(other.to_string()),
    }
}

/// Asks the plan's queries, runs its programs, and has the structure of tables and indexes checked.
pub(super) fn examine(
    stage: &mut Stage<'_>,
    server: &mut Server,
    programs: &Path,
    data: &Path,
) -> Result<(), RehearseError> {
    if let Ok(rows) = server.query("template1", SUPERUSER, stage.control)
        && let Some(role) = rows.into_iter().flatten().next()
    {
        server.ask_as(role);
    }
    let database = stage.wish.database.clone().unwrap_or_else(|| DATABASE.to_owned());
    for query in stage.wish.queries.clone() {
        let begun = Instant::now();
        let (verdict, why) = match server.query(&database, &query, stage.control) {
            Ok(rows) if rows == [["t"]] => (CheckVerdict::Passed, None),
            Ok(rows) => {
                let columns = rows.first().map_or(1, Vec::len);
                let shown: Vec<String> = rows.into_iter().take(2).map(|row| row.join(", ")).collect();
                (CheckVerdict::Failed, Some(other_answer(columns, &shown)))
            }
            Err(error) => (CheckVerdict::Failed, Some(detail(error)?)),
        };
        stage.note("query", begun, verdict, why);
    }
    let mut env = server.environment();
    env.push(("PGDATABASE".to_owned(), database));
    stage.commands(data, &env)?;
    amcheck(stage, server, programs)
}

/// `pg_amcheck`: each table and index holds together. Its extension is made in the copy, which is thrown away.
fn amcheck(stage: &mut Stage<'_>, server: &Server, programs: &Path) -> Result<(), RehearseError> {
    let (begun, program) = (Instant::now(), programs.join("pg_amcheck"));
    if !program.is_file() {
        let why = "`pg_amcheck` is not installed (it came with PostgreSQL 14)".to_owned();
        stage.note("pg_amcheck", begun, CheckVerdict::Skipped, Some(why));
        return Ok(());
    }
    let mut program = Program::new(vec![program.display().to_string()]);
    program.argv.extend(["--all", "--install-missing"].map(str::to_owned));
    program.env = server.environment();
    program.env.push(("PGOPTIONS".to_owned(), undisturbed(stage, server)));
    let (tell, heard) = listening();
    let (verdict, why) = match process::run(&program, stage.control, &tell) {
        Ok(_) => (CheckVerdict::Passed, None),
        Err(ProcessError::Stopped(stopped)) => return Err(stopped.into()),
        Err(ProcessError::Status { words, .. })
            if words.iter().any(|line| line.contains("extension control file")) =>
        {
            (CheckVerdict::Skipped, Some("the extension `amcheck` is not installed".to_owned()))
        }
        Err(error) => (CheckVerdict::Failed, Some(with_findings(&error, &heard))),
    };
    stage.note("pg_amcheck", begun, verdict, why);
    Ok(())
}

/// Sees that what databases are set to does not disturb a look at them, as far as it can: the options for who looks.
fn undisturbed(stage: &Stage<'_>, server: &Server) -> String {
    let asked = |database: &str, sql: &str| server.query(database, sql, stage.control);
    let major = asked("template1", "select current_setting('server_version_num')::int / 10000");
    let major = major.ok().and_then(|rows| rows.first()?.first()?.parse::<u32>().ok()).unwrap_or_default();
    if major >= 17 {
        return format!("{FREE} {FREE_SINCE_17}");
    }
    let databases = asked("template1", "select datname from pg_database where datallowconn");
    for database in databases.unwrap_or_default().into_iter().flatten() {
        // Where it cannot be had, the look itself says why.
        let _ = asked(&database, NO_EVENT_TRIGGERS);
    }
    FREE.to_owned()
}

/// What takes down the first lines of a program's output.
fn listening() -> (Tell, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    let tell: Tell = Arc::new(move |line| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < 2 * SHOWN {
            kept.push(printable(line.as_bytes()));
        }
    });
    (tell, heard)
}

/// An error, and what the program found before: `pg_amcheck` writes that to its output.
fn with_findings(error: &ProcessError, heard: &Mutex<Vec<String>>) -> String {
    let text = error.to_string();
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let found: Vec<&str> =
        heard.iter().map(String::as_str).filter(|line| !text.contains(line)).take(SHOWN).collect();
    match found.is_empty() {
        true => text,
        false => format!("{text}; it found:\n  {}", found.join("\n  ")),
    }
}

/// `pg_checksums`: each page is as it was written. Of a cluster that was stopped in order.
pub(super) fn checksums(stage: &mut Stage<'_>, programs: &Path, data: &Path) -> Result<(), RehearseError> {
    let begun = Instant::now();
    let known = match control_data(programs, data, stage.control) {
        Ok(known) => known,
        Err(error) => {
            let why = detail(error)?;
            stage.note("pg_checksums", begun, CheckVerdict::Failed, Some(why));
            return Ok(());
        }
    };
    if !known.has_checksums() {
        let why =
            "the cluster has none: `pg_checksums --enable` on the original, while it is stopped, adds them";
        stage.note("pg_checksums", begun, CheckVerdict::Skipped, Some(why.to_owned()));
        return Ok(());
    }
    let mut program = Program::new(vec![programs.join("pg_checksums").display().to_string()]);
    program.argv.extend(["--check".to_owned(), "-D".to_owned(), data.display().to_string()]);
    let (verdict, why) = match process::run(&program, stage.control, &silent()) {
        Ok(_) => (CheckVerdict::Passed, None),
        Err(ProcessError::Stopped(stopped)) => return Err(stopped.into()),
        Err(error) => (CheckVerdict::Failed, Some(error.to_string())),
    };
    stage.note("pg_checksums", begun, verdict, why);
    Ok(())
}
