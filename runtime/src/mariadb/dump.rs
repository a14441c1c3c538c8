//! Databases, dumped one after the other: one that cannot be costs itself, and one that is altered meanwhile is begun again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::client::Client;
use super::views::{self, Broken};
use super::{errors, failure, file_of, quoted};
use crate::places::folder;
use crate::postgres::names;
use crate::programs::process::{ProcessError, Running};
use crate::run::coordinator::{Failure, FailureKind};
use crate::text::printable;

/// How often a database is begun that is altered while it is dumped.
const BEGINNINGS: u32 = 3;

/// What a source's databases are dumped with.
pub(super) struct Dumper<'a> {
    pub client: &'a Client<'a>,
    /// The source's name.
    pub source: &'a str,
    pub keeps_history: bool,
    /// Whether its account is granted all that a dump needs.
    pub sees_all: bool,
}

/// What became of them.
#[derive(Default)]
pub(super) struct Dumped {
    /// Those with a file.
    pub made: Vec<String>,
    /// Those that were dropped since the server was asked which it has.
    pub dropped: Vec<String>,
    /// Views that are not in them.
    pub broken: Vec<Broken>,
    /// Tables that are in them without their history, with their databases.
    pub of_now: Vec<(String, String)>,
    /// What could not be read, in words.
    pub lost: Vec<String>,
    /// Whether another attempt may read it.
    pub may_pass: bool,
}

impl Dumped {
    /// What failed, where something did.
    pub fn failure(&self, source: &str) -> Option<Failure> {
        let text = format!("source `{source}`: {}", self.lost.join("\n  "));
        let kind = if self.may_pass { FailureKind::Passing } else { FailureKind::Final };
        (!self.lost.is_empty()).then_some(Failure { message: text, kind })
    }
}

/// What to do behind a dump that failed.
enum Then {
    Again,
    Dropped,
    Lost(String),
}

/// How far a database has come.
#[derive(Default)]
struct Attempts {
    begun: u32,
    /// Tables that are left out, as they cannot be read, and why.
    unread: Vec<(String, String)>,
    /// Views that are left out.
    broken: Vec<Broken>,
    /// Tables of which a dump can have no history.
    of_now: Vec<String>,
}

impl Dumper<'_> {
    /// Dumps databases, each into a file of `below`.
    ///
    /// # Errors
    /// When the server is away or refuses, the disk is full, or the run is to stop. What is wrong with one database is no error of all.
    pub fn all(&self, wanted: &[String], below: &Path) -> Result<Dumped, Failure> {
        let mut dumped = Dumped::default();
        for database in wanted {
            self.one(database, &below.join(file_of(database)), &mut dumped)?;
        }
        Ok(dumped)
    }

    fn one(&self, database: &str, path: &Path, dumped: &mut Dumped) -> Result<(), Failure> {
        let failed = |cause: io::Error| Failure::of(&cause, format!("`{}`: {cause}", path.display()));
        let mut file = create(path)?;
        let mut attempts = Attempts::default();
        loop {
            attempts.begun += 1;
            let Err(error) = self.write(database, &mut attempts, &file) else { break };
            match self.after(database, &error, &mut attempts, dumped)? {
                Then::Again => {
                    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
                }
                gone => {
                    // What is there of it is no dump.
                    folder::remove(path).map_err(|error| failed(error.into()))?;
                    match gone {
                        Then::Lost(why) => dumped.lost.push(why),
                        _ => dumped.dropped.push(database.to_owned()),
                    }
                    return Ok(());
                }
            }
        }
        self.client.control.advance(0, file.metadata().map_err(failed)?.len());
        let unread = attempts.unread.into_iter().map(|(table, why)| {
            format!("table {} cannot be read and is not in the dump: {why}", quoted(database, &table))
        });
        dumped.lost.extend(unread);
        dumped.broken.extend(attempts.broken);
        dumped.of_now.extend(attempts.of_now.into_iter().map(|table| (database.to_owned(), table)));
        dumped.made.push(database.to_owned());
        Ok(())
    }

    fn write(&self, database: &str, attempts: &mut Attempts, file: &File) -> Result<(), ProcessError> {
        attempts.broken = views::broken(self.client, &[database.to_owned()], self.sees_all)?;
        attempts.of_now = match self.keeps_history {
            true => self
                .client
                .tables_of_transactions(&[database.to_owned()])?
                .into_iter()
                .map(|(_, it)| it)
                .collect(),
            false => Vec::new(),
        };
        let unread: Vec<&str> = attempts.unread.iter().map(|(table, _)| table.as_str()).collect();
        attempts.of_now.retain(|table| !unread.contains(&table.as_str()));
        let of_now: Vec<&str> = attempts.of_now.iter().map(String::as_str).collect();
        if !of_now.is_empty() {
            // Before all else: views and triggers of the database may need them.
            run_into(self.client, self.client.dump_frame(database)?, file)?;
            run_into(self.client, self.client.dump_tables(database, &of_now)?, file)?;
        }
        let views = attempts.broken.iter().map(|view| view.name.as_str());
        let without: Vec<&str> = unread.into_iter().chain(of_now).chain(views).collect();
        run_into(self.client, self.client.dump(database, self.keeps_history, &without)?, file)
    }

    /// What a failure means: of the whole source, as an error, or of this database.
    fn after(
        &self,
        database: &str,
        error: &ProcessError,
        attempts: &mut Attempts,
        dumped: &mut Dumped,
    ) -> Result<Then, Failure> {
        let failed = |error: &ProcessError| failure(self.source, error);
        if !errors::is_of_object(error) {
            return Err(failed(error));
        }
        let why = printable(errors::first_words(error).as_bytes());
        if !self.client.databases().map_err(|error| failed(&error))?.iter().any(|name| name == database) {
            if self.client.mariadb.databases.is_empty() {
                return Ok(Then::Dropped);
            }
            return Err(Failure::passing(format!(
                "source `{}`: database `{}` was dropped while the run went: mend `databases` if it is to be gone",
                self.source,
                names::shown(database.as_bytes())
            )));
        }
        let is_altered = errors::is_altered(error);
        if is_altered && attempts.begun < BEGINNINGS {
            (self.client.tell)(&format!(
                "database `{}` was altered while it was dumped ({why}): it is begun again",
                names::shown(database.as_bytes())
            ));
            return Ok(Then::Again);
        }
        dumped.may_pass |= is_altered;
        let tables = self.client.tables(database).map_err(|error| failed(&error))?;
        let known: BTreeSet<&String> = attempts.unread.iter().map(|(table, _)| table).collect();
        let unread = tables.iter().find(|table| !known.contains(table) && errors::is_of_table(error, table));
        if let Some(table) = unread.cloned() {
            attempts.unread.push((table, why));
            return Ok(Then::Again);
        }
        let name = names::shown(database.as_bytes());
        Ok(Then::Lost(format!("database `{name}` cannot be dumped and is not in the backup: {why}")))
    }
}

/// A new file, for this account alone.
fn create(path: &Path) -> Result<File, Failure> {
    let made = File::options().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|cause| Failure::of(&cause, format!("`{}`: {cause}", path.display())))
}

/// Has a program write into a file: no byte passes through here.
fn run_into(client: &Client<'_>, argv: Vec<String>, file: &File) -> Result<(), ProcessError> {
    let program = client.program(argv);
    let output = file.try_clone().map_err(|cause| {
        let program = program.argv.first().cloned().unwrap_or_default();
        ProcessError::Output { program, cause }
    })?;
    Running::start_into(output.into(), &program, client.control, &client.tell)?.finish()
}

/// The same with a new file.
pub(super) fn into_file(
    client: &Client<'_>,
    argv: Vec<String>,
    path: &Path,
    source: &str,
) -> Result<(), Failure> {
    let failed = |cause: io::Error| Failure::of(&cause, format!("`{}`: {cause}", path.display()));
    let file = create(path)?;
    run_into(client, argv, &file).map_err(|error| failure(source, &error))?;
    client.control.advance(0, file.metadata().map_err(failed)?.len());
    Ok(())
}

/// Writes a new file.
pub(super) fn write_file(text: &str, path: &Path) -> Result<(), Failure> {
    let written = create(path)?.write_all(text.as_bytes());
    written.map_err(|cause| Failure::of(&cause, format!("`{}`: {cause}", path.display())))
}
