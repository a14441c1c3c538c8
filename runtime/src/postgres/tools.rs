//! Where the programs of Postgres and its tools are, and whose account is whose.

use std::fs;
use std::path::{Path, PathBuf};

use super::DriverError;

/// Where Debian and its kin, and the packages of the PostgreSQL project for RPM systems, keep what is not on the path.
const FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin")];

/// The path of a program: on the path, or that of the newest PostgreSQL that is installed.
///
/// # Errors
/// [`DriverError::Missing`].
pub fn find(program: &'static str) -> Result<String, DriverError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's `pg_wrapper` on the path chooses by its own settings, not by the server: the programs themselves first.
    let found = newest(program).or_else(|| {
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
pub fn server(major: &str) -> Option<PathBuf> {
    let folders = FOLDERS.iter().flat_map(|(root, below)| {
        ["", "pgsql-"].map(|before| Path::new(root).join(format!("{before}{major}")).join(below))
    });
    let is_number = !major.is_empty() && major.bytes().all(|byte| byte.is_ascii_digit());
    folders.filter(|_| is_number).find(|folder| folder.join("postgres").is_file())
}

fn newest(program: &str) -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (root, below) in FOLDERS {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(version) = name.trim_start_matches("pgsql-").parse() else { continue };
            let file = Path::new(root).join(&name).join(below).join(program);
            if file.is_file() {
                found.push((version, file));
            }
        }
    }
    found.into_iter().max().map(|(_, file)| file)
}

/// The account with this number.
pub fn name_of(user: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let is_its = |line: &&str| line.split(':').nth(2).is_some_and(|number| number == user.to_string());
    text.lines().find(is_its)?.split(':').next().map(str::to_owned)
}

/// User and group of an account.
///
/// # Errors
/// [`DriverError::Lasting`] where there is none of this name.
pub fn account(name: &str) -> Result<(u32, u32), DriverError> {
    let text = fs::read_to_string("/etc/passwd")
        .map_err(|cause| DriverError::File { path: PathBuf::from("/etc/passwd"), cause })?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let mut fields = line.unwrap_or_default().split(':').skip(2).map_while(|field| field.parse().ok());
    match (fields.next(), fields.next()) {
        (Some(user), Some(group)) => Ok((user, group)),
        _ => {
            Err(DriverError::Lasting(format!("there is no account `{name}` on this machine; mend `run_as`")))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn accounts_and_programs_are_found_or_told_of() {
        assert_eq!(account("root").unwrap(), (0, 0));
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert!(account("nobody_at_all").unwrap_err().to_string().contains("mend `run_as`"));
        assert!(find("pg_nothing").unwrap_err().to_string().contains("install"));
    }
}
