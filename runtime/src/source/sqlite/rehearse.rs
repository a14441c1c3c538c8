//! SQLite databases rehearsed: put back, checked, and asked.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use backplan_compiler::count::plural;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::backups::rehearsed::CheckVerdict;
use crate::rehearse::{Play, RehearsalWish, RehearseError, Stage, Way, files, other_answer};
use crate::text::printable;

/// Backups of databases.
pub struct Database;

impl Way for Database {
    fn word(&self) -> &'static str {
        "sqlite"
    }

    fn prepared(&self, _: &RehearsalWish<'_>) -> Result<Play, RehearseError> {
        Ok(Box::new(|stage| files::play(stage, examine)))
    }
}

fn examine(stage: &mut Stage<'_>, data: &Path) -> Result<(), RehearseError> {
    let file = match database(data) {
        Ok(file) => file,
        Err(why) => {
            stage.note("integrity_check", Instant::now(), CheckVerdict::Failed, Some(why));
            return Ok(());
        }
    };
    integrity(stage, &file)?;
    for query in stage.wish.queries.clone() {
        stage.control.check()?;
        let begun = Instant::now();
        let (verdict, detail) = asked(&file, &query);
        stage.note("query", begun, verdict, detail);
    }
    Ok(())
}

/// The one file that a `sqlite` source consists of. A link would lead to a database that is none of the backup, and a
/// journal beside it has SQLite write, and delete, what it names.
fn database(data: &Path) -> Result<PathBuf, String> {
    let entries: io::Result<Vec<_>> = std::fs::read_dir(data).and_then(Iterator::collect);
    match entries.map_err(|error| error.to_string())?.as_slice() {
        [only] if only.file_type().is_ok_and(|kind| kind.is_file()) => Ok(only.path()),
        entries => {
            let mut names: Vec<_> = entries
                .iter()
                .map(|entry| format!("`{}`", printable(entry.file_name().as_bytes())))
                .collect();
            names.sort();
            Err(format!("it is not one database file alone, but {}", names.join(", ")))
        }
    }
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(file, flags)
}

/// SQLite's own check of every page, index and constraint.
fn integrity(stage: &mut Stage<'_>, file: &Path) -> Result<(), RehearseError> {
    stage.control.check()?;
    let begun = Instant::now();
    let found = open(file).and_then(|connection| {
        let mut statement = connection.prepare("PRAGMA integrity_check(3)")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        rows.collect::<rusqlite::Result<Vec<String>>>()
    });
    let (verdict, detail) = match found {
        Ok(rows) if rows == ["ok"] => (CheckVerdict::Passed, None),
        Ok(rows) => (CheckVerdict::Failed, Some(rows.join("; "))),
        Err(error) => (CheckVerdict::Failed, Some(error.to_string())),
    };
    stage.note("integrity_check", begun, verdict, detail);
    Ok(())
}

/// Asks the database; one row with one value, and that not 0, passes.
fn asked(file: &Path, query: &str) -> (CheckVerdict, Option<String>) {
    let answer = open(file).and_then(|connection| {
        let mut statement = connection.prepare(query)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            if found.len() == 2 {
                break;
            }
            found.push(row.get_ref(0).map(shown)?);
        }
        Ok((columns, found))
    });
    match answer {
        Ok((1, rows)) if rows == ["1"] => (CheckVerdict::Passed, None),
        Ok((columns, rows)) => (CheckVerdict::Failed, Some(other_answer(columns, &rows))),
        Err(error) => (CheckVerdict::Failed, Some(error.to_string())),
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => plural(bytes.len(), "byte"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_true_value_passes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.db");
        Connection::open(&file)
            .unwrap()
            .execute_batch("create table t (n); insert into t values (7)")
            .unwrap();
        let passes = |query| asked(&file, query).0 == CheckVerdict::Passed;
        assert!(passes("select count(*) > 0 from t"));
        for query in [
            "select count(*) > 1 from t",
            "select null",
            "select 'true'",
            "select 7",
            "select 1, 1",
            "select 1 union all select 1",
            "select 1 where 1 = 0",
            "select 1 from nowhere",
        ] {
            assert!(!passes(query), "{query}");
            assert!(asked(&file, query).1.is_some(), "{query}");
        }
    }
}
