//! `pg_dump`: a logical copy of one database, or of all of them with the roles. It loads into any newer server.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Abilities, Backup, Driver, DriverError, Job, text, tools};
use crate::run::process::{ProcessError, Running};

/// The driver.
pub struct Dump;

/// Roles, tablespaces and what else belongs to no database, as SQL.
const GLOBALS: &str = "globals.sql";

impl Driver for Dump {
    fn abilities(&self) -> Abilities {
        Abilities { levels: false, repository: false }
    }

    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError> {
        let failed = |cause| DriverError::File { path: job.folder.to_path_buf(), cause };
        match fs::remove_dir_all(job.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => crate::run::make_private(job.folder).map_err(failed)?,
        }
        let databases = match &job.postgres.database {
            Some(database) => vec![database.clone()],
            None => {
                let mut argv = vec![tools::find("pg_dumpall")?];
                argv.extend(job.connection());
                argv.push("--globals-only".to_owned());
                into_file(job, argv, &job.folder.join(GLOBALS))?;
                job.query(
                    "postgres",
                    "select datname from pg_database where datallowconn and not datistemplate order by 1",
                )?
            }
        };
        for database in &databases {
            dump(job, database)?;
        }
        let mut labels = job.server().or_else(|error| match error {
            // An ordinary role may not ask for the system identifier, and a dump needs no such right.
            DriverError::Tool(ProcessError::Status { .. }) => Ok(super::Labels::new()),
            error => Err(error),
        })?;
        labels.insert("databases".to_owned(), databases.join(" "));
        Ok(Backup { labels, ..Backup::default() })
    }
}

/// One file in `pg_dump`'s custom format; with `jobs`, its directory format, by so many connections.
fn dump(job: &Job<'_>, database: &str) -> Result<(), DriverError> {
    let mut argv = vec![tools::find("pg_dump")?];
    argv.extend(job.connection());
    // The artefact compresses better, and what was compressed cannot be compared.
    argv.extend([format!("--dbname={database}"), "--compress=0".to_owned()]);
    let name = file_name(database);
    match job.postgres.jobs {
        Some(jobs) if jobs > 1 => {
            let folder = job.folder.join(&name);
            job.hand_over(job.folder)?;
            argv.extend(["--format=directory".to_owned(), format!("--jobs={jobs}"), "--no-sync".to_owned()]);
            argv.push(format!("--file={}", text(&folder)));
            job.run(argv).map(drop)
        }
        _ => {
            argv.push("--format=custom".to_owned());
            into_file(job, argv, &job.folder.join(format!("{name}.dump")))
        }
    }
}

/// A database may have any name; a file's has no slash and does not begin with a dot.
fn file_name(database: &str) -> String {
    let name = database.replace('%', "%25").replace('/', "%2F");
    match name.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => name,
    }
}

/// Has a program write into a new file, for this account alone. It gets the file itself: no byte passes through here, and
/// `pg_dump` notes where in the file each table begins, which a pipe would not let it.
fn into_file(job: &Job<'_>, argv: Vec<String>, path: &Path) -> Result<(), DriverError> {
    let failed = |cause| DriverError::File { path: path.to_path_buf(), cause };
    let file = private(path).map_err(failed)?;
    let output = file.try_clone().map_err(failed)?;
    Running::start_into(output.into(), &job.program(argv), job.control, job.tell)?.finish()?;
    job.control.advance(0, file.metadata().map_err(failed)?.len());
    Ok(())
}

fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_database_of_any_name_has_a_file() {
        assert_eq!(file_name("shop"), "shop");
        assert_eq!(file_name("../a%b/c"), "%2E.%2Fa%25b%2Fc");
    }
}
