//! `pg_dump`: a logical copy of one database, or of all of them with the roles. It loads into any newer server.

use std::fs::File;
use std::io;
use std::path::Path;

use super::names::{self, GLOBALS};
use super::rehearse::{self, Needs};
use super::unread::Unread;
use super::warned::Warned;
use super::{Backup, Driver, DriverError, Job, text, tools, unread};
use crate::catalog::labels::Labels;
use crate::places::folder;
use crate::programs::process::{self, Running, Tell};
use crate::rehearse::{RehearseError, Stage};

/// The driver.
pub struct Dump;

/// All databases but `template0`, which is as it came; whether one can connect to it, and whether its deletion was cut short.
const DATABASES: &str = "select datname, datallowconn and datconnlimit <> -2, datconnlimit = -2 from pg_database \
                         where datname <> 'template0' order by datname";

impl Driver for Dump {
    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError> {
        // An ordinary role may be kept from asking for the system identifier, and a dump needs no such right.
        let labels = job.server_if_told()?;
        job.same_cluster(&labels)?;
        let failed = |cause| DriverError::File { path: job.folder.to_path_buf(), cause };
        let cleared = folder::remove(job.folder).map_err(io::Error::from);
        cleared.and_then(|()| crate::places::private::make_private(job.folder)).map_err(failed)?;
        let program = |name| program(&labels, name);
        let (globals, one) = (program("pg_dumpall")?, program("pg_dump")?);
        let mut backup = Backup { labels, ..Backup::default() };
        let warned = Warned::default();
        let tell = warned.listening(job.tell);
        let databases = match &job.postgres.database {
            Some(database) => vec![database.clone().into_bytes()],
            None => {
                let mut argv = vec![globals];
                argv.extend(job.connection());
                argv.push("--globals-only".to_owned());
                into_file(job, argv, &job.folder.join(GLOBALS), &tell)?;
                backup.warnings.extend(warned.take().into_iter().map(|said| format!("of the roles: {said}")));
                all(job, &mut backup.warnings)?
            }
        };
        let made = each(job, &one, &databases, &warned, &mut backup)?;
        backup.labels.databases = Some(names::listed(made));
        Ok(backup)
    }

    fn rehearse(&self, stage: &mut Stage<'_>, _: Needs) -> Result<(), RehearseError> {
        rehearse::dump::play(stage)
    }
}

/// Dumps databases one after the other; which were. One that cannot be costs itself, where the server is well and has others.
fn each<'d>(
    job: &Job<'_>,
    program: &str,
    databases: &'d [Vec<u8>],
    warned: &Warned,
    backup: &mut Backup,
) -> Result<Vec<&'d [u8]>, DriverError> {
    let tell = warned.listening(job.tell);
    let (mut made, mut first) = (Vec::new(), None);
    for database in databases {
        let dumped = dump(job, program, database, &tell);
        let told = warned.take();
        match dumped {
            Ok(()) => {
                let told = told.into_iter().chain(without_options(job, database));
                let shown = names::shown(database);
                backup.warnings.extend(told.map(|said| format!("database `{shown}`: {said}")));
                made.push(database.as_slice());
            }
            Err(error) => first = first.or(costs_itself(job, database, error, backup)?),
        }
    }
    match first {
        Some(error) if made.is_empty() => Err(error),
        _ => Ok(made),
    }
}

/// Goes on without a database that could not be dumped: the error of one that is there, which was told to the backup.
///
/// # Errors
/// The same one, where it is of the whole source: the server is away, or has no other database.
fn costs_itself(
    job: &Job<'_>,
    database: &[u8],
    error: DriverError,
    backup: &mut Backup,
) -> Result<Option<DriverError>, DriverError> {
    if job.postgres.database.is_some() || !error.may_be_of_one() {
        return Err(error);
    }
    let Ok(there) = all(job, &mut Vec::new()) else { return Err(error) };
    // What is there of it is no dump.
    let path = job.folder.join(names::of_dump(database, is_folder(job)));
    let removed = folder::remove(&path).map_err(io::Error::from);
    removed.map_err(|cause| DriverError::File { path, cause })?;
    let shown = names::shown(database);
    if !there.iter().any(|other| other == database) {
        backup.notes.push(format!(
            "database `{shown}` was dropped on the server before it could be read: it is not in the backup"
        ));
        return Ok(None);
    }
    let (why, mend) = error.in_short();
    let mend = mend.map(|mend| format!("; {mend}")).unwrap_or_default();
    backup.lost.push(format!("database `{shown}` cannot be dumped and is not in the backup: {why}{mend}"));
    backup.may_pass |= error.is_passing();
    Ok(Some(error))
}

/// A program of the server's own version, where that is here: what a newer one writes, the server's own programs do not read.
fn program(labels: &Labels, name: &'static str) -> Result<String, DriverError> {
    let major = labels.server_version.as_deref().and_then(tools::major);
    major.map_or_else(|| tools::find(name), |major| tools::of(major, name))
}

/// What of the databases that a source means does not come into their dumps, each with its database as it is shown.
///
/// # Errors
/// When the server does not answer.
pub(super) fn unread(job: &Job<'_>) -> Result<Vec<(String, Unread)>, DriverError> {
    let databases = match &job.postgres.database {
        Some(database) => vec![database.clone().into_bytes()],
        None => all(job, &mut Vec::new())?,
    };
    let mut found = Vec::new();
    for database in databases {
        let lacking = match unread::lacking(job, &database) {
            Ok(lacking) => lacking,
            // Which the others of the server may not share.
            Err(error) if error.is_refusal() => vec![Unread::refused(&error)],
            Err(error) => return Err(error),
        };
        found.extend(lacking.into_iter().map(|it| (names::shown(&database).into_owned(), it)));
    }
    Ok(found)
}

/// The databases that can be dumped; of the others it is told that they are not.
fn all(job: &Job<'_>, warnings: &mut Vec<String>) -> Result<Vec<Vec<u8>>, DriverError> {
    let mut found = Vec::new();
    for [name, is_open, is_broken] in job.query_bytes::<3>("postgres", DATABASES)? {
        let shown = names::shown(&name);
        if is_open == b"t" {
            found.push(name);
        } else if is_broken == b"t" {
            warnings.push(format!(
                "database `{shown}` is not dumped: a `drop database` of it was cut short, and all that can be done is to drop it"
            ));
        } else {
            warnings.push(format!(
                "database `{shown}` is not dumped: it allows no connections (`alter database NAME allow_connections true`, or \
                 drop it)"
            ));
        }
    }
    Ok(found)
}

/// What `pg_dump` left out and does not speak of. Who cannot be asked for it has made the dump all the same.
fn without_options(job: &Job<'_>, database: &[u8]) -> Option<String> {
    let lacking = unread::mappings(job, database).ok().flatten()?;
    Some(format!("{}; {}", lacking.what, lacking.mend))
}

/// Whether a dump is a folder, written by several connections.
fn is_folder(job: &Job<'_>) -> bool {
    job.postgres.jobs.is_some_and(|jobs| jobs > 1)
}

/// One file in `pg_dump`'s custom format; with `jobs`, its directory format, by so many connections.
fn dump(job: &Job<'_>, program: &str, database: &[u8], tell: &Tell) -> Result<(), DriverError> {
    let mut argv = vec![program.to_owned()];
    argv.extend(job.connection());
    // The artefact compresses better, and what was compressed cannot be compared.
    argv.push("--compress=0".to_owned());
    match job.postgres.jobs {
        Some(jobs) if is_folder(job) => {
            let folder = job.folder.join(names::of_dump(database, true));
            job.hand_over(job.folder)?;
            argv.extend(["--format=directory".to_owned(), format!("--jobs={jobs}"), "--no-sync".to_owned()]);
            argv.push(format!("--file={}", text(&folder)));
            Ok(process::run(&job.program(names::lead(argv, database)), job.control, tell).map(drop)?)
        }
        _ => {
            argv.push("--format=custom".to_owned());
            into_file(
                job,
                names::lead(argv, database),
                &job.folder.join(names::of_dump(database, false)),
                tell,
            )
        }
    }
}

/// Has a program write into a new file, for this account alone. It gets the file itself: no byte passes through here, and
/// `pg_dump` notes where in the file each table begins, which a pipe would not let it.
fn into_file(job: &Job<'_>, argv: Vec<String>, path: &Path, tell: &Tell) -> Result<(), DriverError> {
    let failed = |cause| DriverError::File { path: path.to_path_buf(), cause };
    let file = private(path).map_err(failed)?;
    let output = file.try_clone().map_err(failed)?;
    Running::start_into(output.into(), &job.program(argv), job.control, tell)?.finish()?;
    job.control.advance(0, file.metadata().map_err(failed)?.len());
    Ok(())
}

fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}
