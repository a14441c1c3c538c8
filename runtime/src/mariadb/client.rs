//! The client programs of MariaDB: how they connect, what they are asked.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backplan_compiler::model::Mariadb;
use backplan_compiler::value::Hidden;

use super::errors;
use super::views::View;
use crate::control::Control;
use crate::programs::process::{self, ProcessError, Program, Running, Tell};

/// Seconds that a server may take to let a program in: one that hangs does so for ever.
const CONNECT: &str = "--connect-timeout=30";
/// Rows may be as long as a server takes them.
const PACKET: &str = "--max-allowed-packet=1G";
/// How tables are dumped.
const ROWS: [&str; 5] = [
    "--single-transaction",
    "--quick",
    "--hex-blob",
    // Under its locks a server refuses what it has written itself of a column whose default is a sequence.
    "--skip-add-locks",
    // A comment has the names of hosts and the time: what is the same twice would not look so.
    "--skip-comments",
];
/// Where servers' programs are that are not on every path.
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
/// What the server has for itself: none of it can be loaded into another.
const OWN: &str = "('information_schema', 'performance_schema', 'mysql', 'sys')";

/// The path of a program.
///
/// # Errors
/// What is to be installed.
pub(crate) fn find(program: &str) -> Result<String, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    let found = folders.map(|folder| folder.join(program)).find(|file| file.is_file());
    found.map(|file| file.display().to_string()).ok_or_else(|| {
        let package =
            if program == "mariadbd" || program == "mariadb-install-db" { "server" } else { "client" };
        format!("`{program}` is not on this machine: install the package `mariadb-{package}`")
    })
}

/// Whether a server of this version is one of MariaDB.
pub(crate) fn is_mariadb(version: &str) -> bool {
    version.contains("MariaDB")
}

/// What is said of a server of another maker.
pub(super) fn another(version: &str) -> String {
    format!(
        "its server is of version `{version}` and no MariaDB: `mariadb-dump` does not bring its accounts, and what it makes of \
         the rest was never tried; back it up by a `command` with its own `mysqldump`"
    )
}

/// A way to a server.
pub(super) struct Client<'a> {
    pub mariadb: &'a Mariadb,
    pub password: Option<Hidden>,
    pub timeout: Option<Duration>,
    pub control: &'a Control,
    pub tell: Tell,
}

impl Client<'_> {
    /// A program as it is to be started: with the password in its environment, where no listing of processes shows it.
    pub fn program(&self, argv: Vec<String>) -> Program {
        let mut env = vec![("LC_ALL".to_owned(), "C.UTF-8".to_owned())];
        env.extend(self.password.as_ref().map(|it| ("MYSQL_PWD".to_owned(), it.expose().to_owned())));
        let (run_as, timeout) = (self.mariadb.run_as.clone(), self.timeout);
        Program { argv, env, run_as, timeout, folder: Some(PathBuf::from("/")), ..Program::default() }
    }

    /// A program and how it connects: by what the plan says, and nothing that lies on this machine unless the plan names it.
    fn argv(&self, program: &str) -> Result<Vec<String>, ProcessError> {
        let mariadb = self.mariadb;
        let found = find(program).map_err(|why| ProcessError::Start {
            program: program.to_owned(),
            cause: std::io::Error::new(std::io::ErrorKind::NotFound, why),
        })?;
        let mut argv = vec![found];
        argv.push(match &mariadb.config {
            Some(path) => format!("--defaults-file={}", path.display()),
            None => "--no-defaults".to_owned(),
        });
        argv.extend(mariadb.host.as_ref().map(|host| format!("--host={host}")));
        argv.extend(mariadb.port.map(|port| format!("--port={port}")));
        argv.extend(mariadb.socket.as_ref().map(|path| format!("--socket={}", path.display())));
        if mariadb.host.is_some() || mariadb.port.is_some() {
            // `localhost` would be a socket.
            argv.push("--protocol=tcp".to_owned());
        }
        argv.extend(mariadb.user.as_ref().map(|user| format!("--user={user}")));
        argv.extend(["--default-character-set=utf8mb4".to_owned(), PACKET.to_owned()]);
        Ok(argv)
    }

    /// The answer to a query: its rows, and their fields.
    fn query(&self, sql: &str) -> Result<Vec<Vec<String>>, ProcessError> {
        let mut argv = self.argv("mariadb")?;
        argv.extend([CONNECT, "--batch", "--raw", "--skip-column-names"].map(str::to_owned));
        argv.push(format!("--execute={sql}"));
        // Its answer is for this program, not for the log.
        let silent: Tell = std::sync::Arc::new(|_| {});
        let out = process::run(&self.program(argv), self.control, &silent)?;
        let text = String::from_utf8_lossy(&out);
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// Names, of which the server is asked for the bytes: they may hold what parts rows and fields.
    fn names(&self, sql: &str) -> Result<Vec<Vec<String>>, ProcessError> {
        let rows = self.query(sql)?;
        Ok(rows.into_iter().map(|row| row.iter().map(|field| plain(field)).collect()).collect())
    }

    /// The server's version: `10.11.6-MariaDB`.
    pub fn version(&self) -> Result<String, ProcessError> {
        Ok(self.query("select version()")?.into_iter().flatten().next().unwrap_or_default())
    }

    /// The libraries of plugins that it has loaded.
    pub fn plugins(&self) -> Result<Vec<String>, ProcessError> {
        let sql = "select distinct plugin_library from information_schema.plugins \
                   where plugin_library is not null and plugin_status = 'ACTIVE' order by 1";
        Ok(self.query(sql)?.into_iter().flatten().collect())
    }

    /// The folder of its data on this machine; `None`: it may be on another, or does not say.
    pub fn data_folder(&self) -> Result<Option<PathBuf>, ProcessError> {
        if self.mariadb.host.is_some() || self.mariadb.port.is_some() {
            return Ok(None);
        }
        let said = self.names("select hex(@@datadir)")?.into_iter().flatten().next().unwrap_or_default();
        let folder: PathBuf = PathBuf::from(said).components().collect();
        Ok(Some(folder).filter(|folder| folder.is_absolute()))
    }

    /// The databases that it shows, but for its own.
    pub fn databases(&self) -> Result<Vec<String>, ProcessError> {
        let sql = format!(
            "select hex(convert(schema_name using utf8mb4)) from information_schema.schemata \
             where schema_name not in {OWN} order by 1"
        );
        Ok(self.names(&sql)?.into_iter().flatten().collect())
    }

    /// Tables of engines without transactions: database and name.
    pub fn plain_tables(&self) -> Result<Vec<(String, String)>, ProcessError> {
        let sql = format!(
            "select hex(convert(table_schema using utf8mb4)), hex(convert(table_name using utf8mb4)) \
             from information_schema.tables where table_type in ('BASE TABLE', 'SYSTEM VERSIONED') and engine is not null \
             and table_schema not in {OWN} and engine not in \
             (select engine from information_schema.engines where transactions = 'YES') order by 1, 2"
        );
        self.pairs(&sql)
    }

    /// As [`Client::names`], of rows of two.
    fn pairs(&self, sql: &str) -> Result<Vec<(String, String)>, ProcessError> {
        let rows = self.names(sql)?.into_iter();
        Ok(rows.filter_map(|row| <[String; 2]>::try_from(row).ok()).map(Into::into).collect())
    }

    /// Whether some table keeps its history, of which a dump has only what it is asked for.
    pub fn has_history(&self) -> Result<bool, ProcessError> {
        let rows = self
            .query("select 1 from information_schema.tables where table_type = 'SYSTEM VERSIONED' limit 1")?;
        Ok(!rows.is_empty())
    }

    /// Tables of these databases that keep their history by the numbers of transactions, which are of their server alone.
    pub fn tables_of_transactions(
        &self,
        databases: &[String],
    ) -> Result<Vec<(String, String)>, ProcessError> {
        let of = match databases {
            [one] => format!("table_schema = {}", literal(one)),
            _ => format!("table_schema not in {OWN}"),
        };
        let mut found = self.pairs(&format!(
            "select hex(convert(table_schema using utf8mb4)), hex(convert(table_name using utf8mb4)) \
             from information_schema.columns where {of} and generation_expression = 'ROW START' and data_type = 'bigint' \
             order by 1, 2"
        ))?;
        found.retain(|(database, _)| databases.contains(database));
        Ok(found)
    }

    /// Columns of the type FLOAT without digits of their own, whose numbers the server writes with six digits: database, table, name.
    pub fn short_numbers(&self, databases: &[String]) -> Result<Vec<[String; 3]>, ProcessError> {
        let rows = self.names(&format!(
            "select hex(convert(table_schema using utf8mb4)), hex(convert(table_name using utf8mb4)), \
             hex(convert(column_name using utf8mb4)) from information_schema.columns where table_schema not in {OWN} \
             and data_type = 'float' and numeric_scale is null and is_generated = 'NEVER' order by 1, 2, ordinal_position"
        ))?;
        let mut found: Vec<[String; 3]> =
            rows.into_iter().filter_map(|row| <[String; 3]>::try_from(row).ok()).collect();
        found.retain(|[database, _, _]| databases.contains(database));
        if !found.is_empty() {
            let views: BTreeSet<(String, String)> = self.views(databases)?.into_iter().collect();
            found.retain(|[database, table, _]| !views.contains(&(database.clone(), table.clone())));
        }
        Ok(found)
    }

    /// Events that run on another server of these databases, of which this one is a replica.
    pub fn events_of_others(&self, databases: &[String]) -> Result<Vec<(String, String)>, ProcessError> {
        let mut found = self.pairs(
            "select hex(convert(event_schema using utf8mb4)), hex(convert(event_name using utf8mb4)) \
             from information_schema.events where status = 'SLAVESIDE_DISABLED' order by 1, 2",
        )?;
        found.retain(|(database, _)| databases.contains(database));
        Ok(found)
    }

    /// Bytes that its tables take.
    pub fn bytes(&self) -> Result<u64, ProcessError> {
        let sql = "select cast(coalesce(sum(data_length), 0) as unsigned) from information_schema.tables";
        let said = self.query(sql)?.into_iter().flatten().next();
        Ok(said.and_then(|bytes| bytes.parse().ok()).unwrap_or_default())
    }

    /// The tables of a database, and its sequences.
    pub fn tables(&self, database: &str) -> Result<Vec<String>, ProcessError> {
        let sql = format!(
            "select hex(convert(table_schema using utf8mb4)), hex(convert(table_name using utf8mb4)) \
             from information_schema.tables where table_type <> 'VIEW' and table_schema = {} order by 2",
            literal(database)
        );
        let pairs = self.pairs(&sql)?.into_iter();
        // The server compares names as people do.
        Ok(pairs.filter(|(schema, _)| schema == database).map(|(_, table)| table).collect())
    }

    /// The views of these databases, and of others too if they are many.
    pub fn views(&self, databases: &[String]) -> Result<Vec<(String, String)>, ProcessError> {
        let of = match databases {
            [] => return Ok(Vec::new()),
            [one] => format!("table_schema = {}", literal(one)),
            _ => format!("table_schema not in {OWN}"),
        };
        self.pairs(&format!(
            "select hex(convert(table_schema using utf8mb4)), hex(convert(table_name using utf8mb4)) \
             from information_schema.tables where table_type = 'VIEW' and {of} order by 1, 2"
        ))
    }

    /// Of views, which may be broken, by their places in the list: all of them are asked of one client, in the way of a dump.
    pub fn suspects(&self, views: &[(String, String)]) -> Result<Vec<usize>, ProcessError> {
        if views.is_empty() {
            return Ok(Vec::new());
        }
        let mut argv = self.argv("mariadb")?;
        argv.extend([CONNECT, "--batch", "--force"].map(str::to_owned));
        let asked = views.iter().map(|(database, name)| format!("{};\n", fields_of(database, name)));
        let program = Program { input: asked.collect::<String>().into_bytes(), ..self.program(argv) };
        let found = Arc::new(Mutex::new(BTreeSet::new()));
        let kept = Arc::clone(&found);
        let note: Tell = Arc::new(move |line| {
            let rest = line.strip_prefix("ERROR ").and_then(|line| line.split_once(" at line "));
            let number = rest.and_then(|(_, rest)| rest.split(':').next()?.parse::<usize>().ok());
            let at = number.and_then(|number| number.checked_sub(1));
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend(at);
        });
        // What the fields are is of no interest.
        Running::start_into(Stdio::null(), &program, self.control, &note)?.finish()?;
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(found.iter().copied().collect())
    }

    /// What a dump would fail at in a view; `None`: at nothing. What is denied counts if the account is granted all that a dump needs.
    pub fn trouble_of_view(
        &self,
        database: &str,
        name: &str,
        sees_all: bool,
    ) -> Result<Option<String>, ProcessError> {
        match self.query(&fields_of(database, name)) {
            Ok(_) => Ok(None),
            Err(error) if errors::is_of_view(&error) => Ok(Some(errors::first_words(&error))),
            Err(error) if errors::is_denied(&error) => Ok(sees_all.then(|| errors::first_words(&error))),
            Err(error) => Err(error),
        }
    }

    /// What the server shows of a view.
    pub fn view(&self, database: &str, name: &str) -> Result<Option<View>, ProcessError> {
        let fields = ["table_schema", "table_name", "algorithm", "definer", "security_type", "check_option"];
        let fields = fields.into_iter().chain(["collation_connection", "view_definition"]);
        let asked: Vec<String> = fields.map(|field| format!("hex(convert({field} using utf8mb4))")).collect();
        let sql = format!(
            "set sql_mode = ''; select {} from information_schema.views where table_schema = {} and table_name = {}",
            asked.join(", "),
            literal(database),
            literal(name)
        );
        let rows = self.names(&sql)?.into_iter().filter_map(|row| <[String; 8]>::try_from(row).ok());
        let mut found = rows.filter(|[of, called, ..]| of == database && called == name).map(
            |[_, _, algorithm, definer, security, check, collation, definition]| View {
                algorithm,
                definer,
                security,
                check,
                collation,
                definition,
            },
        );
        Ok(found.find(|view| !view.definition.is_empty()))
    }

    /// What the account is granted, each as the server says it.
    pub fn grants(&self) -> Result<Vec<String>, ProcessError> {
        Ok(self.query("show grants")?.into_iter().map(|row| row.join("\t")).collect())
    }

    /// The command that dumps a database of any name, without some of its tables and views.
    pub fn dump(
        &self,
        database: &str,
        keeps_history: bool,
        without: &[&str],
    ) -> Result<Vec<String>, ProcessError> {
        let mut argv = self.argv("mariadb-dump")?;
        argv.extend(ROWS.into_iter().chain(["--routines", "--triggers", "--events"]).map(str::to_owned));
        argv.extend(keeps_history.then(|| "--dump-history".to_owned()));
        argv.extend(without.iter().map(|name| format!("--ignore-table={database}.{name}")));
        argv.extend(["--databases", "--", database].map(str::to_owned));
        Ok(argv)
    }

    /// The command that makes a database and uses it, with nothing in it.
    pub fn dump_frame(&self, database: &str) -> Result<Vec<String>, ProcessError> {
        let mut argv = self.argv("mariadb-dump")?;
        let fixed = ["--no-data", "--no-create-info", "--skip-triggers", "--databases", "--", database];
        argv.extend(ROWS.into_iter().chain(fixed).map(str::to_owned));
        Ok(argv)
    }

    /// The command that dumps these tables of a database, as they are now, into whichever is used.
    pub fn dump_tables(&self, database: &str, tables: &[&str]) -> Result<Vec<String>, ProcessError> {
        let mut argv = self.argv("mariadb-dump")?;
        argv.extend(ROWS.into_iter().chain(["--triggers", "--", database]).map(str::to_owned));
        argv.extend(tables.iter().map(|table| (*table).to_owned()));
        Ok(argv)
    }

    /// The command that dumps accounts, roles and grants.
    pub fn dump_users(&self) -> Result<Vec<String>, ProcessError> {
        let mut argv = self.argv("mariadb-dump")?;
        // A new server has some of them already.
        argv.extend(["--system=users", "--insert-ignore", "--skip-comments"].map(str::to_owned));
        Ok(argv)
    }
}

/// A question that the server answers of a view as it does to a dump. It is on one line, whatever the names are.
fn fields_of(database: &str, name: &str) -> String {
    let quoted = |name: &str| format!("'`', replace({}, '`', '``'), '`'", literal(name));
    format!("execute immediate concat('show fields from ', {}, '.', {})", quoted(database), quoted(name))
}

/// A name as statements have it, whatever is in it.
fn literal(name: &str) -> String {
    let digits = name.bytes().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
    format!("convert(x'{digits}' using utf8mb4)")
}

/// What hexadecimal digits stand for.
fn plain(hex: &str) -> String {
    let digits: Vec<u8> =
        hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_come_as_digits_and_programs_are_found_or_told_of() {
        assert_eq!(plain("6E65770AC3BC09"), "new\nü\t");
        assert!(find("mariadb-nothing").unwrap_err().contains("`mariadb-client`"));
        assert!(is_mariadb("10.11.6-MariaDB-0+deb12u1") && !is_mariadb("8.0.36"));
    }
}
