//! Where the programs of Postgres and its tools are, and whose account is whose.

use std::fs;
use std::path::PathBuf;

use super::DriverError;
use crate::places::account;

/// Where Debian and its kin, and the packages of the PostgreSQL project for RPM systems, keep what is not on the path.
const FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin")];
/// Names a folder that has more of them, as `15/bin` and `17/bin`; they go before.
const OWN_FOLDER: &str = "BACKPLAN_POSTGRES";

/// The path of a program: that of the newest PostgreSQL that is installed, else on the path.
///
/// # Errors
/// [`DriverError::Missing`].
pub fn find(program: &'static str) -> Result<String, DriverError> {
    found(program, newest(program))
}

/// The path of a program that should be of the server's version: that one, where it is installed, else as [`find`].
///
/// # Errors
/// [`DriverError::Missing`].
pub fn of(major: u32, program: &'static str) -> Result<String, DriverError> {
    found(program, own(major, program).or_else(|| newest(program)))
}

/// Whether what [`of`] gives is known to be of another version.
pub fn is_other(major: u32, program: &str) -> bool {
    own(major, program).is_none() && newest(program).is_some()
}

fn own(major: u32, program: &str) -> Option<PathBuf> {
    let own = installed().into_iter().filter(|(version, _)| *version == major);
    own.map(|(_, folder)| folder.join(program)).find(|file| file.is_file())
}

/// The major version in words such as `17.5 (Debian 17.5-1)`.
pub fn major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn found(program: &'static str, found: Option<PathBuf>) -> Result<String, DriverError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's `pg_wrapper` on the path chooses by its own settings, not by the server: the programs themselves first.
    let found = found.or_else(|| {
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
    });
    found.map(|file| super::text(&file)).ok_or(DriverError::Missing {
        program,
        hint: match program {
            "pgbackrest" => "install the package `pgbackrest`",
            "pg_probackup" => "install pg_probackup of the server's version, under this name on the path",
            _ => "install the client programs of PostgreSQL, of the server's version or newer",
        },
    })
}

/// The folder with the programs of a server of this major version.
pub fn server(major: u32) -> Option<PathBuf> {
    let own = installed().into_iter().filter(|(version, _)| *version == major);
    own.map(|(_, folder)| folder).find(|folder| folder.join("postgres").is_file())
}

fn newest(program: &str) -> Option<PathBuf> {
    // The first of equals: `max_by_key` gives the last.
    let all = installed().into_iter().rev().filter(|(_, folder)| folder.join(program).is_file());
    all.max_by_key(|(version, _)| *version).map(|(_, folder)| folder.join(program))
}

/// The versions that are there, each with the folder of its programs.
fn installed() -> Vec<(u32, PathBuf)> {
    let own = std::env::var_os(OWN_FOLDER).filter(|value| !value.is_empty()).map(PathBuf::from);
    let roots = own.into_iter().map(|root| (root, "bin"));
    let roots = roots.chain(FOLDERS.map(|(root, below)| (PathBuf::from(root), below)));
    let mut versions = Vec::new();
    for (root, below) in roots {
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(version) = name.trim_start_matches("pgsql-").parse() else { continue };
            versions.push((version, root.join(&name).join(below)));
        }
    }
    versions
}

/// User and group of an account.
///
/// # Errors
/// [`DriverError::Lasting`] where there is none of this name.
pub fn account(name: &str) -> Result<(u32, u32), DriverError> {
    let found = account::find(name);
    found
        .map_err(|cause| DriverError::File { path: PathBuf::from("/etc/passwd"), cause })?
        .ok_or_else(|| DriverError::Lasting(account::missing(name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn accounts_and_programs_are_found_or_told_of() {
        assert_eq!(account("root").unwrap(), (0, 0));
        assert!(account("nobody_at_all").unwrap_err().to_string().contains("mend `run_as`"));
        assert!(find("pg_nothing").unwrap_err().to_string().contains("install"));
        assert!(of(15, "pg_nothing").is_err());
        assert_eq!(major("17.5 (Debian 17.5-1)"), Some(17));
        assert_eq!(major("17beta1"), Some(17));
        assert_eq!(major("devel"), None);
    }
}
