//! A MariaDB server, read by `mariadb-dump`: a file of SQL for each database, with its routines, triggers and events, and one
//! with the accounts, roles and grants.
//!
//! | module | holds |
//! |---|---|
//! | this one | the source as a run reads it |
//! | `client` | the client programs: how they connect, what they ask |
//! | `errors` | what their errors mean, and what to do about them |
//! | `dump` | one database after the other, and what becomes of one that fails |
//! | `plugins` | what of its plugins a dump needs where it is loaded |
//! | `rights` | what an account may not see, and so does not get into a dump |
//! | `views` | views that are broken |
//! | `probe` | what is looked at before a run |
//! | [`server`] | a server of its own for a rehearsal |
//!
//! Each database is dumped in a transaction of its own, which sees it as it was at one moment. Names may hold anything that the server
//! lets be a name: to programs they go behind `--`, to disk as [`crate::postgres::names`] writes them.

mod client;
mod dump;
mod errors;
pub(crate) mod plugins;
mod probe;
mod rehearse;
mod rights;
pub mod server;
mod views;

use std::io;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{ArchiveId, Compare, Mariadb, Source, SourceId};

pub(crate) use client::{find, is_mariadb};

use crate::artefact::Content;
use crate::catalog::labels::Labels;
use crate::places::folder;
use crate::places::private::make_private;
use crate::postgres::names;
use crate::programs::process::ProcessError;
use crate::run::coordinator::Failure;
use crate::run::output::Output;
use crate::run::reading::Reading;
use crate::source::look::Look;
use crate::source::{Foreseen, Reader};
use client::Client;
use dump::{Dumped, Dumper};

/// The file with accounts, roles and grants.
pub(crate) const USERS: &str = "users.sql";
/// The file with the definitions of views that are broken; it is there if there are some.
pub(crate) const VIEWS: &str = "views.sql";
/// The folder with a file for each database.
pub(crate) const DATABASES: &str = "databases";
/// What these files end with.
const ENDING: &str = ".sql";
/// Names that a message lists.
const LISTED: usize = 3;

/// The file of a database's dump: no two databases have the same, and it leads nowhere.
fn file_of(database: &str) -> String {
    format!("{}{ENDING}", names::of_dump(database.as_bytes(), true))
}

impl Reader for Mariadb {
    fn foresee(&self, _: &Source) -> Result<Foreseen, String> {
        // The server would have to be asked, and asking is an action already.
        Ok(Foreseen::Made("a dump by mariadb-dump".to_owned()))
    }

    fn dump(&self, reading: &Reading<'_>) -> Result<Output, Failure> {
        let name = &reading.source().name;
        let tell = reading.tell();
        let password = reading.secret(self.password.as_ref())?;
        let client =
            Client { mariadb: self, password, timeout: reading.timeout(), control: reading.control(), tell };
        let failed = |error: ProcessError| failure(name, &error);
        let server = client.version().map_err(failed)?;
        if !is_mariadb(&server) {
            return Err(Failure::lasting(format!("source `{name}`: {}", client::another(&server))));
        }
        if let Some(folder) = client.data_folder().map_err(failed)?
            && let Some(absent) = reading.lost_with_its_disk(&folder)?
        {
            return Ok(absent);
        }
        let wanted = self.asked_for(client.databases().map_err(failed)?, name)?;
        let lacking = rights::lacking(&client.grants().map_err(failed)?, &self.databases);
        let told = lacking.iter().map(rights::Lacking::told);
        let shortened = shortened(&client, &wanted).map_err(failed)?;
        for warning in told.chain(self.torn(&client, &wanted).map_err(failed)?).chain(shortened) {
            reading.warn(format!("source `{name}`: {warning}"));
        }
        if let Some(asleep) = asleep(&client, &wanted).map_err(failed)? {
            reading.doing.note(format!("source `{name}`: {asleep}"));
        }
        let folder = reading.folder()?;
        let below = emptied(&folder)?;
        let keeps_history = client.has_history().map_err(failed)?;
        let dumper = Dumper { client: &client, source: name, keeps_history, sees_all: lacking.is_empty() };
        let dumped = dumper.all(&wanted, &below)?;
        tell_of(reading, &dumped);
        let failure = dumped.failure(name);
        if let Some(failure) = failure.clone().filter(|_| dumped.made.is_empty() || reading.source().strict) {
            return Err(failure);
        }
        if let Some(text) = views::script(&dumped.broken) {
            dump::write_file(&text, &folder.join(VIEWS))?;
        }
        if self.databases.is_empty() {
            dump::into_file(&client, client.dump_users().map_err(failed)?, &folder.join(USERS), name)?;
        }
        let labels = Labels {
            driver: Some("dump".to_owned()),
            server_version: Some(server),
            databases: Some(names::listed(dumped.made.iter().map(String::as_bytes))),
            plugins: plugins::of_server(&client).map_err(failed)?,
            ..Labels::default()
        };
        match failure {
            None => reading.filled(folder, labels),
            Some(failure) => reading.filled_in_part(folder, labels, dumped.lost, failure),
        }
    }

    fn content(&self, reading: &Reading<'_>, archive: ArchiveId) -> Result<Option<Content>, Failure> {
        Ok(Some(reading.scanned(archive, Compare::Mtime)))
    }

    fn probe(&self, look: &mut Look<'_>, id: SourceId, _: &Path) -> u64 {
        probe::probe(self, look, id)
    }
}

/// What is meant of the databases that the server shows; and what of them may not be whole.
trait Meant {
    fn asked_for(&self, found: Vec<String>, source: &str) -> Result<Vec<String>, Failure>;
    fn wanted(&self, found: Vec<String>) -> Vec<String>;
    fn torn(&self, client: &Client<'_>, wanted: &[String]) -> Result<Option<String>, ProcessError>;
}

impl Meant for Mariadb {
    fn asked_for(&self, found: Vec<String>, source: &str) -> Result<Vec<String>, Failure> {
        match self.databases.iter().find(|wanted| !found.contains(wanted)) {
            None => Ok(self.wanted(found)),
            Some(missing) => {
                let missing = names::shown(missing.as_bytes());
                Err(Failure::lasting(format!(
                    "source `{source}`: its server shows no database `{missing}` to this account: mend `databases`, or let it \
                     see that one"
                )))
            }
        }
    }

    fn wanted(&self, found: Vec<String>) -> Vec<String> {
        let is_meant = |name: &String| {
            (self.databases.is_empty() || self.databases.contains(name)) && !self.exclude.contains(name)
        };
        found.into_iter().filter(is_meant).collect()
    }

    fn torn(&self, client: &Client<'_>, wanted: &[String]) -> Result<Option<String>, ProcessError> {
        let torn: Vec<String> = client
            .plain_tables()?
            .into_iter()
            .filter(|(database, _)| wanted.contains(database))
            .map(|(database, table)| quoted(&database, &table))
            .collect();
        Ok((!torn.is_empty()).then(|| {
            format!(
                "{} {} no transactions: what is written to it while it is dumped may be torn (`alter table … engine = InnoDB`, or \
                 a `window` that stops its writers)",
                listed(&torn),
                if torn.len() == 1 { "knows" } else { "know" },
            )
        }))
    }
}

/// Makes the folder anew, whatever an attempt before left in it; the one for the databases in it.
fn emptied(folder: &Path) -> Result<PathBuf, Failure> {
    let place = |cause: io::Error| Failure::of(&cause, format!("`{}`: {cause}", folder.display()));
    let below = folder.join(DATABASES);
    let cleared = folder::remove(folder).map_err(io::Error::from);
    cleared.and_then(|()| make_private(folder)).and_then(|()| make_private(&below)).map_err(place)?;
    Ok(below)
}

/// Tells what is not in the dump as one would think.
fn tell_of(reading: &Reading<'_>, dumped: &Dumped) {
    let name = &reading.source().name;
    for view in &dumped.broken {
        reading.warn(format!("source `{name}`: {}", view.told()));
    }
    for (database, table) in &dumped.of_now {
        reading.warn(format!("source `{name}`: {}", without_history(database, table)));
    }
    for database in &dumped.dropped {
        reading.doing.note(format!(
            "source `{name}`: database `{}` was dropped on the server before it could be read: it is not in the backup",
            names::shown(database.as_bytes())
        ));
    }
}

/// What is told of columns whose numbers come into a dump with fewer digits than they have. `mariadb-dump` takes the text that the server
/// makes of a FLOAT, and there is no option that would have it ask for more.
fn shortened(client: &Client<'_>, databases: &[String]) -> Result<Option<String>, ProcessError> {
    let found = client.short_numbers(databases)?;
    let found: Vec<String> = found
        .iter()
        .map(|[database, table, column]| {
            let [database, table, column] =
                [database, table, column].map(|name| names::shown(name.as_bytes()));
            format!("`{database}.{table}.{column}`")
        })
        .collect();
    Ok((!found.is_empty()).then(|| {
        format!(
            "{} {} FLOAT: the dump has six digits of each number, and the rest is lost (16777215 comes back as 16777200); make it a \
             DOUBLE, which keeps what is there and is dumped whole (`alter table … modify … double`)",
            listed(&found),
            if found.len() == 1 { "is a" } else { "are" },
        )
    }))
}

/// What is told of the events of a replica. They come as they are, and nothing tells which of them the primary has switched on.
fn asleep(client: &Client<'_>, databases: &[String]) -> Result<Option<String>, ProcessError> {
    let found = client.events_of_others(databases)?;
    let found: Vec<String> = found.iter().map(|(database, event)| quoted(database, event)).collect();
    Ok((!found.is_empty()).then(|| {
        format!(
            "{} {} of the server that this one is a replica of, and so switched off here and in the dump",
            listed(&found),
            if found.len() == 1 { "is an event" } else { "are events" },
        )
    }))
}

/// What is told of a table that keeps its history by transactions.
fn without_history(database: &str, table: &str) -> String {
    format!(
        "table {} keeps its history by transactions, which no dump can hold: the dump has its rows of now alone, read in a \
         transaction of their own",
        quoted(database, table)
    )
}

/// The first few of many.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Something of a database, as messages name it.
fn quoted(database: &str, name: &str) -> String {
    format!("`{}.{}`", names::shown(database.as_bytes()), names::shown(name.as_bytes()))
}

/// What a program's failure means for the run.
fn failure(source: &str, error: &ProcessError) -> Failure {
    let text = format!("source `{source}`: {error}{}", errors::mend(error));
    match error {
        ProcessError::Stopped(_) => Failure::stopped(),
        ProcessError::Start { .. } => Failure::lasting(text),
        error if errors::is_lasting(error) => Failure::lasting(text),
        _ => Failure::passing(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_database_has_the_file_of_another_or_leads_out_of_the_folder() {
        for (name, file) in [
            ("shop", "shop.sql"),
            ("users", "users.sql"),
            (".hidden", "%2Ehidden.sql"),
            ("a/../b", "a%2F..%2Fb.sql"),
            ("a%2Fb", "a%252Fb.sql"),
            ("--all-databases", "--all-databases.sql"),
            ("two\nlines", "two%0Alines.sql"),
        ] {
            assert_eq!(file_of(name), file);
        }
    }
}
