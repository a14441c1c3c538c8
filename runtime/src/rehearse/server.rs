//! What is asked of a cluster that runs again, and of its pages once it is stopped.

use std::path::Path;
use std::time::Instant;

use super::other_answer;
use super::{RehearseError, Stage, silent};
use crate::backups::rehearsed::CheckVerdict;
use crate::confine::HeldBy;
use crate::postgres::server::{Server, ServerError, control_data};
use crate::programs::process::{self, ProcessError, Program};

/// The database that is asked where the plan names none.
const DATABASE: &str = "postgres";

/// A superuser of the restored cluster, the oldest; the role that was used so far where that may not be told.
const SUPERUSER: &str = "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1";

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

/// What keeps a server from doing harm, where that is not the best that there is.
pub(super) fn held(server: &Server) -> &'static str {
    words_of(server.held)
}

pub(super) fn words_of(held: HeldBy) -> &'static str {
    match held {
        HeldBy::Mounts => "",
        HeldBy::Rules => "; held to its own folders by Landlock alone: no mount namespace could be had",
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
    let (verdict, why) = match process::run(&program, stage.control, &silent()) {
        Ok(_) => (CheckVerdict::Passed, None),
        Err(ProcessError::Stopped(stopped)) => return Err(stopped.into()),
        Err(ProcessError::Status { words, .. })
            if words.iter().any(|line| line.contains("extension control file")) =>
        {
            (CheckVerdict::Skipped, Some("the extension `amcheck` is not installed".to_owned()))
        }
        Err(error) => (CheckVerdict::Failed, Some(error.to_string())),
    };
    stage.note("pg_amcheck", begun, verdict, why);
    Ok(())
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
