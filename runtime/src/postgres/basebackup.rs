//! `pg_basebackup`: a copy of the whole data directory with the WAL that makes it consistent. It starts as it is. From
//! PostgreSQL 17 on also what changed since an earlier one, which the server finds by that one's manifest.

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::rehearse::{Needs, cluster};
use super::restore::cluster::{ClusterError, ClusterWish};
use super::restore::{self, PutBack};
use super::stream::{Streamed, Told};
use super::{Backup, Base, Driver, DriverError, Job, refusal, text, tools};
use crate::backups::shelf::Shelves;
pub(crate) use crate::backups::silence::DATA;
use crate::catalog::ids::Nonce;
use crate::catalog::labels::Labels;
use crate::places::folder;
use crate::programs::process::{self, ProcessError, Program, Running, Tell};
use crate::rehearse::{RehearseError, Stage};

/// The folder of the tablespaces, each by its number.
pub const TABLESPACES: &str = "tablespaces";

const COPY: &str = "pg_basebackup";
/// What the names of files begin with of which not all was copied.
const CHANGED: &[u8] = b"INCREMENTAL.";
/// Bytes of a block, as servers are built as a rule: the size that comes of it is for people, and for telling a great loss.
const BLOCK: u64 = 8192;
/// The first version with incremental base backups.
const INCREMENTAL_SINCE: u32 = 17;
/// The first version that lists the files of a backup.
const LISTED_SINCE: u32 = 13;
/// How long the server may take to keep its log for a backup.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the server calls its own list of a backup's files.
pub const MANIFEST: &str = "backup_manifest";

/// The driver.
pub struct Basebackup;

impl Driver for Basebackup {
    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError> {
        let mut copy = Copy::begin(job)?;
        let mut backup = Backup { labels: job.server()?, ..Backup::default() };
        job.same_cluster(&backup.labels)?;
        copy.major = backup.labels.server_version.as_deref().and_then(tools::major);
        let base = copy.base(&mut backup)?;
        if let Some(base) = base {
            match copy.rest_on(&base) {
                Ok(()) => backup.is_based = true,
                Err(error) => backup.warnings.push(refused(&base, error)?),
            }
        }
        match base.filter(|_| backup.is_based) {
            Some(base) => {
                let bytes =
                    size(job.folder).map_err(|cause| DriverError::File { path: job.folder.into(), cause })?;
                backup.labels.kind = Some("incremental".to_owned());
                backup.labels.prior = Some(base.run.to_string());
                backup.labels.database_bytes = Some(bytes);
            }
            None if copy.may_stream() => return Ok(Backup { is_streamed: true, ..backup }),
            None => copy.take(None)?,
        }
        copy.verify()?;
        backup.labels.extend(read_labels(&copy.data)?);
        backup.labels.extend(moment(job)?);
        backup.labels.tablespaces.extend(copy.spaces);
        Ok(backup)
    }

    fn put_back<'s>(
        &self,
        shelves: &'s Shelves,
        wish: ClusterWish,
        now: Timestamp,
    ) -> Result<Box<dyn PutBack + 's>, ClusterError> {
        Ok(Box::new(restore::cluster::plan(shelves, wish, now)?))
    }

    fn rehearse(&self, stage: &mut Stage<'_>, needs: Needs) -> Result<(), RehearseError> {
        cluster::play(stage, needs, cluster::lay_down)
    }
}

/// A copy under way.
struct Copy<'j, 'a> {
    job: &'j Job<'a>,
    /// Tablespaces beside the data directory: number, and where they are.
    spaces: Vec<(String, String)>,
    /// Where the data directory goes.
    data: PathBuf,
    /// The server's major version, if it says.
    major: Option<u32>,
}

impl<'j, 'a> Copy<'j, 'a> {
    fn begin(job: &'j Job<'a>) -> Result<Copy<'j, 'a>, DriverError> {
        let spaces = tablespaces(job)?;
        let data = if spaces.is_empty() { job.folder.to_path_buf() } else { job.folder.join(DATA) };
        Ok(Copy { job, spaces, data, major: None })
    }

    fn tool(&self, program: &'static str) -> Result<String, DriverError> {
        self.major.map_or_else(|| tools::find(program), |major| tools::of(major, program))
    }

    /// Whether it can come while it is packed: as one tar, with the server's list of files in it.
    fn may_stream(&self) -> bool {
        self.job.may_stream && self.spaces.is_empty() && self.major.is_some_and(|major| major >= LISTED_SINCE)
    }

    /// The base, if the server can make something that rests on it.
    fn base(&self, backup: &mut Backup) -> Result<Option<Base<'a>>, DriverError> {
        let Some(base) = self.job.base else { return Ok(None) };
        let version = |labels: &'a Labels| labels.server_version.as_deref().unwrap_or_default();
        let (now, then) = (backup.labels.server_version.clone().unwrap_or_default(), version(base.labels));
        let tool = base.labels.driver.as_deref().unwrap_or_default();
        let source = self.job.source;
        if tool != "basebackup" || tools::major(then) != self.major {
            let text = format!(
                "run {} was made by {tool} of PostgreSQL {then}, and the server is of {now}",
                base.run
            );
            backup.notes.push(format!("source `{source}` is taken whole: {text}"));
            return Ok(None);
        }
        if self.major.is_none_or(|major| major < INCREMENTAL_SINCE) {
            let text = format!("PostgreSQL {now} has no incremental base backup, {INCREMENTAL_SINCE} has");
            backup.notes.push(format!("source `{source}` is taken whole: {text}"));
            return Ok(None);
        }
        if backup.labels.system_id != base.labels.system_id {
            let other = base.labels.system_id.as_deref().unwrap_or_default();
            let text = format!("run {} is of another cluster (system identifier {other})", base.run);
            backup.warnings.push(format!("it is taken whole: {text}"));
            return Ok(None);
        }
        let rows = self.job.query(database(self.job), "show summarize_wal")?;
        if rows.first().is_none_or(|[value]| value != "on") {
            let text = "the server has `summarize_wal = off`: set it to `on` and reload the server";
            backup.warnings.push(format!("it is taken whole: {text}"));
            return Ok(None);
        }
        Ok(Some(base))
    }

    /// Copies what changed since the base.
    fn rest_on(&self, base: &Base<'_>) -> Result<(), Unbased> {
        let manifest = beside(self.job.folder);
        let written = match fs::remove_file(&manifest) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause.to_string()),
            _ => (base.manifest)(&manifest),
        };
        let done = written.map_err(Unbased::Manifest).and_then(|()| {
            if let Some(account) = &self.job.postgres.run_as {
                let (user, group) = tools::account(account)?;
                chown(&manifest, Some(user), Some(group))
                    .map_err(|cause| DriverError::File { path: manifest.clone(), cause })?;
            }
            self.take(Some(&manifest))?;
            self.is_of(base)
        });
        // What stays of it goes with the folder that it is in.
        let _ = fs::remove_file(&manifest);
        done
    }

    /// Looks whether the copy is the difference to the base that it is taken for: restored to another, it would be refused.
    fn is_of(&self, base: &Base<'_>) -> Result<(), Unbased> {
        let labels = read_labels(&self.data)?;
        let (from, begun) = (labels.lsn_from.as_ref(), base.labels.lsn_start.as_ref());
        if from.is_some() && from == begun {
            return Ok(());
        }
        let told = |lsn: Option<&String>| lsn.cloned().unwrap_or_else(|| "no place it tells".to_owned());
        Err(Unbased::Manifest(format!("it begins at {}, and the copy rests on {}", told(begun), told(from))))
    }

    /// Copies the cluster, or what changed since the backup with this manifest.
    fn take(&self, since: Option<&Path>) -> Result<(), DriverError> {
        let job = self.job;
        clear(job)?;
        job.hand_over(job.folder).map_err(|error| self.with_reason(error, since.is_some()))?;
        let mut argv = vec![self.tool(COPY)?];
        argv.extend(job.connection());
        argv.extend(
            ["--format=plain", "--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256"]
                .map(str::to_owned),
        );
        argv.extend(since.map(|manifest| format!("--incremental={}", text(manifest))));
        argv.extend([format!("--label=backplan {}", job.source), format!("--pgdata={}", text(&self.data))]);
        for (oid, place) in &self.spaces {
            let to = text(&job.folder.join(TABLESPACES).join(oid));
            argv.push(format!("--tablespace-mapping={}={}", escaped(place), escaped(&to)));
        }
        // The artefact is synced, not what it is packed from.
        argv.push("--no-sync".to_owned());
        // The tool makes a slot of its own where there is one. Without, a server that gives up its log meanwhile ends the copy.
        if !self.has_slot()? {
            argv.push("--no-slot".to_owned());
        }
        job.run(argv).map(drop)
    }

    /// Whether the server has a replication slot to give away.
    fn has_slot(&self) -> Result<bool, DriverError> {
        const ASK: &str =
            "select count(*) < current_setting('max_replication_slots')::int from pg_replication_slots";
        let rows = self.job.query(database(self.job), ASK)?;
        Ok(rows.first().is_none_or(|[is_free]| is_free == "t"))
    }

    /// Beside what keeps the account out of the folder, why it is to work there at all.
    fn with_reason(&self, error: DriverError, is_based: bool) -> DriverError {
        let DriverError::Lasting(words) = error else { return error };
        let why = match (self.spaces.first(), is_based) {
            (Some((_, at)), _) => format!("the cluster has a tablespace, at `{at}`"),
            (None, true) => "the backup rests on an earlier one".to_owned(),
            (None, false) => return DriverError::Lasting(words),
        };
        DriverError::Lasting(format!("{words}\n  it is copied there before it is packed, as {why}"))
    }

    fn verify(&self) -> Result<(), DriverError> {
        const VERIFY: &str = "pg_verifybackup";
        let mut argv = vec![self.tool(VERIFY)?, "--quiet".to_owned()];
        // The log of another version cannot be parsed.
        argv.extend(
            self.major.filter(|major| tools::is_other(*major, VERIFY)).map(|_| "--no-parse-wal".to_owned()),
        );
        argv.push(text(&self.data));
        self.job.run(argv).map(drop)
    }
}

/// Why a backup does not rest on its base.
enum Unbased {
    /// The base, or its manifest, is of no use.
    Manifest(String),
    /// The tool failed.
    Driver(DriverError),
}

impl From<DriverError> for Unbased {
    fn from(error: DriverError) -> Unbased {
        Unbased::Driver(error)
    }
}

/// What to say where the server does not take the base, and the next backup has to have all; anything else that went wrong
/// would go wrong with that too.
fn refused(base: &Base<'_>, error: Unbased) -> Result<String, DriverError> {
    let why = match error {
        Unbased::Manifest(why) => why,
        Unbased::Driver(DriverError::Tool(ProcessError::Status { words, .. }))
            if words.iter().any(|line| is_of_base(line)) =>
        {
            words.iter().filter(|line| is_of_base(line)).cloned().collect::<Vec<_>>().join("; ")
        }
        Unbased::Driver(error) => return Err(error),
    };
    Ok(format!("it is taken whole, as it cannot rest on run {}: {why}", base.run))
}

/// Whether the server speaks of the base's manifest, or of the summaries of its log since then.
fn is_of_base(line: &str) -> bool {
    ["manifest", "summar"].iter().any(|word| line.contains(word))
}

/// Where the base's manifest is laid down: where the tool's account comes, and not in the copy.
fn beside(folder: &Path) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(".manifest");
    path.into()
}

/// Bytes of the cluster of which a copy has what changed. Of a file of which it has some blocks, the copy tells the length.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += match (meta.is_dir(), meta.is_file()) {
            (true, _) => size(&entry.path())?,
            (false, true) if entry.file_name().as_bytes().starts_with(CHANGED) => {
                let mut head = [0; 12];
                crate::regular::open(&entry.path())?.read_exact(&mut head)?;
                // A mark, how many blocks it has, and how many the file has; in the byte order of the server's machine.
                u64::from(u32::from_ne_bytes([head[8], head[9], head[10], head[11]])) * BLOCK
            }
            (false, true) => meta.len(),
            (false, false) => 0,
        };
    }
    Ok(bytes)
}

/// An equals sign parts the two paths of a mapping.
pub fn escaped(path: &str) -> String {
    path.replace('=', "\\=")
}

/// `pg_basebackup` starts in an empty folder only.
fn clear(job: &Job<'_>) -> Result<(), DriverError> {
    folder::remove(job.folder)
        .map_err(|error| DriverError::File { path: job.folder.to_path_buf(), cause: error.into() })
}

/// The tablespaces of the cluster: number, and where it is.
fn tablespaces(job: &Job<'_>) -> Result<Vec<(String, String)>, DriverError> {
    const ASK: &str = "select oid, pg_tablespace_location(oid) from pg_tablespace \
                       where pg_tablespace_location(oid) <> '' order by 1";
    let pair = |[oid, place]: [Vec<u8>; 2]| {
        let (oid, place) = (String::from_utf8(oid), String::from_utf8(place));
        oid.ok().zip(place.ok()).ok_or_else(|| {
            DriverError::Lasting(
                "a tablespace is in a folder whose name is no text: move it to another".to_owned(),
            )
        })
    };
    job.query_bytes(database(job), ASK)?.into_iter().map(pair).collect()
}

/// The moment after the backup by the server's own clock, as its log is stamped with it, and the first transaction that had
/// not begun: no earlier target can be reached from this backup.
fn moment(job: &Job<'_>) -> Result<Labels, DriverError> {
    Ok(moment_of(job.query(database(job), MOMENT)?))
}

const MOMENT: &str = "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
                       pg_snapshot_xmax(pg_current_snapshot())";

fn moment_of(rows: Vec<[String; 2]>) -> Labels {
    let (time_stop, next_xid) = rows.into_iter().next().map(|[time, xid]| (time, xid)).unzip();
    Labels { time_stop, next_xid, ..Labels::default() }
}

/// A backup that comes while it is packed, or why the server cannot keep its log so long, and a copy has to be made.
pub enum Begun {
    /// It comes.
    Streamed(Box<Streamed>),
    /// In the server's words.
    Refused(String),
}

/// Begins a backup that comes while it is packed; what its labels are to say is in `told` when it is over.
///
/// # Errors
/// See [`DriverError`].
pub fn stream(job: &Job<'_>, told: &Told) -> Result<Begun, DriverError> {
    let labels = job.server()?;
    job.same_cluster(&labels)?;
    let major = labels.server_version.as_deref().and_then(tools::major);
    let slot = match keep_log(job)? {
        Ok(slot) => slot,
        Err(why) => return Ok(Begun::Refused(why)),
    };
    let mut argv = vec![major.map_or_else(|| tools::find(COPY), |major| tools::of(major, COPY))?];
    argv.extend(job.connection());
    argv.extend(
        ["--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--manifest-checksums=SHA256"]
            .map(str::to_owned),
    );
    argv.extend([format!("--label=backplan {}", job.source), "--pgdata=-".to_owned()]);
    let owner = match &job.postgres.run_as {
        Some(account) => tools::account(account)?,
        None => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
    };
    let (question, control) = (job.question(database(job).as_bytes(), &[MOMENT])?, job.control.clone());
    let last = move || {
        let said = process::run(&question, &control, &silent()).map_err(|error| error.to_string())?;
        let rows = super::rows(&said).unwrap_or_default();
        let text = |field: Vec<u8>| String::from_utf8_lossy(&field).into_owned();
        Ok(moment_of(rows.into_iter().map(|row| row.map(text)).collect()))
    };
    let running = Running::start(&job.program(argv), job.control, job.tell)?;
    Ok(Begun::Streamed(Box::new(Streamed::new(running, slot, owner, Arc::clone(told), Box::new(last)))))
}

/// Has the server keep its log from now on, until the program ends that is given back; else why it cannot.
fn keep_log(job: &Job<'_>) -> Result<Result<Running, String>, DriverError> {
    let name = format!("backplan_{}", Nonce::random());
    let make = format!("select pg_create_physical_replication_slot('{name}', true, true)");
    // Whoever is no longer listened to ends, and its slot with it. Nothing is held open meanwhile that vacuum waits for.
    let stay = "do $$ begin loop raise notice 'kept'; commit; perform pg_sleep(2); end loop; end $$";
    let mut program = Program {
        timeout: None,
        ..job.question(database(job).as_bytes(), &["set statement_timeout = 0", &make, stay])?
    };
    // With the state of an error, which is the same in every language.
    program.argv.extend(["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose"].map(str::to_owned));
    let mut running = Running::start(&program, job.control, &silent())?;
    let begun = Instant::now();
    let is_there = format!("select 1 from pg_replication_slots where slot_name = '{name}'");
    while !running.has_ended() && begun.elapsed() < PATIENCE {
        if !job.query::<1>(database(job), &is_there)?.is_empty() {
            return Ok(Ok(running));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if !running.has_ended() {
        return Ok(Err(format!("it made none within {} s", PATIENCE.as_secs())));
    }
    match running.finish() {
        // A role that may have no slot may make no backup.
        Err(error @ ProcessError::Status { .. }) if refusal::is_of_rights(&error) => Err(error.into()),
        Err(ProcessError::Status { words, .. }) => {
            let words: Vec<String> =
                words.into_iter().filter(|line| !line.starts_with("LOCATION:")).collect();
            Ok(Err(format!("{}{}", words.join("; "), refusal::mend(&words))))
        }
        Err(error) => Err(error.into()),
        Ok(()) => Ok(Err("it ended by itself".to_owned())),
    }
}

fn silent() -> Tell {
    Arc::new(|_| {})
}

fn database<'a>(job: &Job<'a>) -> &'a str {
    job.postgres.database.as_deref().unwrap_or("postgres")
}

/// Where the backup begins and ends, as `backup_label` and `backup_manifest` tell.
fn read_labels(data: &Path) -> Result<Labels, DriverError> {
    let read = |name: &str| {
        let path = data.join(name);
        crate::regular::read_text(&path).map_err(|cause| DriverError::File { path, cause })
    };
    let mut labels = from_backup_label(&read("backup_label")?);
    labels.extend(from_manifest(&read(MANIFEST)?));
    Ok(labels)
}

/// `START WAL LOCATION: 0/4000028 (file 000000010000000000000004)` and its like.
pub(super) fn from_backup_label(label: &str) -> Labels {
    let mut labels = Labels::default();
    for line in label.lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "START WAL LOCATION" => {
                let (lsn, file) = value.split_once(" (file ").unwrap_or((value, ""));
                labels.lsn_start = Some(lsn.to_owned());
                labels.wal_start = Some(file.trim_end_matches(')').to_owned());
            }
            "START TIME" => labels.started = Some(value.to_owned()),
            "INCREMENTAL FROM LSN" => labels.lsn_from = Some(value.to_owned()),
            "START TIMELINE" => labels.timeline = Some(value.to_owned()),
            _ => {}
        }
    }
    labels
}

/// The last WAL range of the manifest: on the newest timeline it ends where the backup is consistent.
pub(super) fn from_manifest(manifest: &str) -> Labels {
    let parsed: serde_json::Value = serde_json::from_str(manifest).unwrap_or_default();
    let end = parsed["WAL-Ranges"].as_array().and_then(|ranges| ranges.last()?["End-LSN"].as_str());
    Labels { lsn_stop: end.map(str::to_owned), ..Labels::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_what_the_server_wrote() {
        let label = "START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\n\
                     CHECKPOINT LOCATION: 0/4000060\nSTART TIME: 2026-11-20 02:30:00 UTC\nLABEL: x\n\
                     START TIMELINE: 1\nINCREMENTAL FROM LSN: 0/2000028\n";
        let labels = from_backup_label(label);
        assert_eq!(labels.lsn_start.as_deref(), Some("0/4000028"));
        assert_eq!(labels.wal_start.as_deref(), Some("000000010000000000000004"));
        assert_eq!(labels.timeline.as_deref(), Some("1"));
        assert_eq!(labels.lsn_from.as_deref(), Some("0/2000028"));
        let manifest =
            r#"{"WAL-Ranges": [{"Timeline": 1, "Start-LSN": "0/4000028", "End-LSN": "0/4000100"}]}"#;
        assert_eq!(from_manifest(manifest).lsn_stop.as_deref(), Some("0/4000100"));
        assert_eq!(from_manifest(""), Labels::default());
    }
}
