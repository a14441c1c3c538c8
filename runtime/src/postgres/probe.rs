//! What a server says of itself, for a check before anything is run. Asks, and changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backplan_compiler::model::{Level, Postgres, PostgresDriver};
use backplan_compiler::value::Hidden;

use super::unread::Unread;
use super::{DriverError, Job, dump, pgbackrest, tools};
use crate::control::Control;
use crate::programs::process::{self, Program, Tell};

/// How long one question may take: a server that does not answer must not hold up a check.
const LIMIT: Duration = Duration::from_secs(20);

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its major version.
    pub major: u32,
    /// `wal_level`.
    pub wal_level: String,
    /// `archive_mode`.
    pub archive_mode: String,
    /// `archive_command`.
    pub archive_command: String,
    /// `archive_timeout` in seconds; 0: a segment is archived when it is full.
    pub archive_timeout: u64,
    /// Whether its pages have checksums.
    pub has_checksums: bool,
    /// Whether the role is a superuser.
    pub is_superuser: bool,
    /// Whether the role may stream the log.
    pub may_replicate: bool,
    /// Whether the role may read every table.
    pub reads_all: bool,
    /// The segment that could not be archived, where that is the last that happened.
    pub failed_segment: Option<String>,
    /// The last segment, or other file of the log, that was archived.
    pub last_archived: Option<String>,
    /// The segment that it writes; `None`: it is in recovery, and writes none.
    pub current: Option<String>,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Its data directory, where the role may know.
    pub data_directory: Option<PathBuf>,
    /// What tells its cluster from all others.
    pub system_id: String,
    /// Whether it notes what changes, for incremental backups; `None`: its version cannot.
    pub summarizes: Option<bool>,
    /// Bytes of its databases; `None`: the role may not know.
    pub bytes: Option<u64>,
    /// The name of a database with which the driver's tool makes no backup that it can read.
    pub spoiling_name: Option<String>,
    /// Why it lets nobody copy it as a backup does, where a driver needs that.
    pub refused: Option<String>,
    /// What of its databases does not come into their dumps, each with the name of its database, where the driver makes some.
    pub unread: Vec<(String, Unread)>,
    /// Replication slots that are free.
    pub free_slots: i64,
    /// Whether it has tablespaces.
    pub has_tablespaces: bool,
}

impl Facts {
    /// Where relative paths of its commands begin.
    pub fn folder(&self) -> &Path {
        self.data_directory.as_deref().unwrap_or(Path::new("/"))
    }

    /// Whether it only follows another server's log, or replays an archived one.
    pub fn is_in_recovery(&self) -> bool {
        self.current.is_none()
    }
}

/// The questions, one row of fields.
const ASK: &str = "select current_setting('server_version_num')::int / 10000, current_setting('wal_level'), \
    current_setting('archive_mode'), current_setting('archive_command'), \
    (select setting from pg_settings where name = 'archive_timeout'), current_setting('data_checksums'), \
    (select rolsuper from pg_roles where rolname = current_user), \
    (select rolreplication from pg_roles where rolname = current_user), \
    exists(select from pg_roles where rolname = 'pg_read_all_data' and pg_has_role(oid, 'member')), \
    (select case when last_failed_time > coalesce(last_archived_time, '-infinity') then last_failed_wal end \
     from pg_stat_archiver), \
    (select last_archived_wal from pg_stat_archiver), \
    case when not pg_is_in_recovery() then pg_walfile_name(pg_current_wal_lsn()) end, \
    (select setting from pg_settings where name = 'wal_segment_size'), \
    (select setting from pg_settings where name = 'data_directory'), \
    (select system_identifier from pg_control_system()), \
     current_setting('summarize_wal', true), \
     current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots), \
     (select count(*) from pg_tablespace where pg_tablespace_location(oid) <> '')";
const FIELDS: usize = 18;
const SIZE: &str = "select sum(pg_database_size(oid)) from pg_database where datallowconn";

/// Asks the server of a source.
///
/// # Errors
/// When it cannot be asked, or its answer is no answer.
pub fn ask(
    postgres: &Postgres,
    source: &str,
    password: Option<Hidden>,
    control: &Control,
) -> Result<Facts, DriverError> {
    let tell: Tell = Arc::new(|_| {});
    let job = job(postgres, source, password, control, &tell);
    let database = postgres.database.as_deref().unwrap_or("postgres");
    let rows = job.query::<FIELDS>(database, ASK)?;
    let mut facts = rows.first().and_then(facts).ok_or_else(|| {
        let rows: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
        DriverError::Passing(format!("the server answered `{}`", rows.join(" ")))
    })?;
    // A database that the role may not connect to has no size for it.
    facts.bytes =
        job.query(database, SIZE).ok().and_then(|rows| rows.first().and_then(|[bytes]| bytes.parse().ok()));
    if postgres.driver == PostgresDriver::Pgbackrest {
        facts.spoiling_name = pgbackrest::spoiling_name(&job)?;
    }
    if matches!(postgres.driver, PostgresDriver::Basebackup | PostgresDriver::Probackup) {
        facts.refused = replicates(&job).err().map(|error| error.to_string());
    }
    if postgres.driver == PostgresDriver::Dump {
        facts.unread = dump::unread(&job)?;
    }
    Ok(facts)
}

/// Whether the account that a source's tools run as comes into a folder, as far as this account can find out.
pub fn may_enter(postgres: &Postgres, folder: &Path, control: &Control) -> bool {
    let tell: Tell = Arc::new(|_| {});
    !rustix::process::geteuid().is_root() || job(postgres, "", None, control, &tell).may_enter(folder)
}

/// Connects as a backup does: that takes a right, a line in `pg_hba.conf` and a free sender.
fn replicates(job: &Job<'_>) -> Result<(), DriverError> {
    let mut program = job.question(b"postgres", &["IDENTIFY_SYSTEM"])?;
    for word in program.argv.iter_mut().filter(|word| word.starts_with("--dbname=")) {
        word.push_str(" replication=true");
    }
    let silent: Tell = Arc::new(|_| {});
    Ok(process::run(&program, job.control, &silent).map(drop)?)
}

fn job<'a>(
    postgres: &'a Postgres,
    source: &'a str,
    password: Option<Hidden>,
    control: &'a Control,
    tell: &'a Tell,
) -> Job<'a> {
    Job {
        source,
        postgres,
        password,
        level: Level::Full,
        has_cycle: false,
        base: None,
        is_settled: None,
        may_stream: false,
        folder: Path::new("/"),
        known: None,
        separate: None,
        timeout: Some(LIMIT),
        control,
        tell,
    }
}

fn facts(fields: &[String; FIELDS]) -> Option<Facts> {
    let some = |at: usize| Some(&fields[at]).filter(|value| !value.is_empty()).cloned();
    Some(Facts {
        major: fields[0].parse().ok()?,
        wal_level: fields[1].clone(),
        archive_mode: fields[2].clone(),
        archive_command: fields[3].clone(),
        archive_timeout: fields[4].parse().ok()?,
        has_checksums: fields[5] == "on",
        is_superuser: fields[6] == "t",
        may_replicate: fields[7] == "t",
        reads_all: fields[8] == "t",
        failed_segment: some(9),
        last_archived: some(10),
        current: some(11),
        segment_bytes: fields[12].parse().ok()?,
        data_directory: some(13).map(PathBuf::from),
        system_id: fields[14].clone(),
        summarizes: some(15).map(|value| value == "on"),
        bytes: None,
        spoiling_name: None,
        refused: None,
        unread: Vec::new(),
        free_slots: fields[16].parse().ok()?,
        has_tablespaces: fields[17] != "0",
    })
}

/// The programs that a driver starts.
pub fn programs(driver: PostgresDriver) -> &'static [&'static str] {
    match driver {
        PostgresDriver::Basebackup => &["pg_basebackup", "pg_verifybackup", "psql"],
        PostgresDriver::Dump => &["pg_dump", "pg_dumpall", "psql"],
        PostgresDriver::Pgbackrest => &["pgbackrest", "psql"],
        PostgresDriver::Probackup => &["pg_probackup", "psql"],
    }
}

/// The major version of a program that belongs to PostgreSQL itself; `None` for others, and where it does not say.
pub fn major_of(program: &'static str, control: &Control) -> Option<u32> {
    let path = tools::find(program).ok()?;
    let mut asked = Program::new(vec![path, "--version".to_owned()]);
    asked.timeout = Some(LIMIT);
    let said = process::run(&asked, control, &(Arc::new(|_: &str| {}) as Tell)).ok()?;
    version(&String::from_utf8_lossy(&said))
}

/// The version of pgBackRest, where the driver starts it and it is too old.
pub fn old_pgbackrest(driver: PostgresDriver, control: &Control) -> Option<String> {
    (driver == PostgresDriver::Pgbackrest).then_some(())?;
    let mut asked = Program::new(vec![tools::find("pgbackrest").ok()?, "version".to_owned()]);
    asked.timeout = Some(LIMIT);
    let said = process::run(&asked, control, &(Arc::new(|_: &str| {}) as Tell)).ok()?;
    let said = String::from_utf8_lossy(&said);
    let version = said.trim().trim_start_matches("pgBackRest ");
    pgbackrest::is_old(version).then(|| version.to_owned())
}

/// `pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`
fn version(said: &str) -> Option<u32> {
    let (_, number) = said.split_once("(PostgreSQL) ")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_and_versions_are_read() {
        let mut fields = [
            "15",
            "replica",
            "on",
            "cp %p /a",
            "300",
            "on",
            "f",
            "t",
            "f",
            "00000001000000000000000A",
            "000000010000000000000009",
            "00000001000000000000000B",
            "16777216",
            "",
            "7710544459543030176",
            "",
            "9",
            "1",
        ]
        .map(str::to_owned);
        let read = facts(&fields).unwrap();
        assert!(read.major == 15 && read.may_replicate && !read.is_superuser && read.has_checksums);
        assert_eq!(read.archive_timeout, 300);
        assert!(read.failed_segment.is_some());
        assert_eq!((read.segment_bytes, read.data_directory), (16 << 20, None));
        assert_eq!(read.summarizes, None);
        assert_eq!((read.free_slots, read.has_tablespaces), (9, true));
        fields[15] = "off".to_owned();
        assert_eq!(facts(&fields).unwrap().summarizes, Some(false));
        fields[0] = String::new();
        assert!(facts(&fields).is_none());
        assert_eq!(version("pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(version("pg_dump (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(version("pgBackRest 2.45"), None);
    }
}
