//! A live SQLite file, copied through SQLite's own backup API while others write.

mod rehearse;

pub(super) use rehearse::Database;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backplan_compiler::model::{ArchiveId, Source, Sqlite};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::{Foreseen, Reader, root};
use crate::artefact::Content;
use crate::catalog::details::Root;
use crate::control::{Control, Stopped};
use crate::lasting;
use crate::run::coordinator::Failure;
use crate::run::facts::SourceFact;
use crate::run::output::Output;
use crate::run::reading::Reading;

/// Pages copied between two looks at the control.
const PAGES: i32 = 512;
/// How long a lock of a writer is waited for before the step is given up (and retried by its policy).
const BUSY: Duration = Duration::from_secs(30);
/// Between two attempts to get past a lock: SQLite's own wait for it cannot be ended.
const PAUSE: Duration = Duration::from_millis(20);
/// What SQLite keeps beside a database, and opens without being asked.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Why a database could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// There is no file.
    #[error("the SQLite file `{0}` is not there")]
    Missing(PathBuf),
    /// It is something else than a file.
    #[error("`{0}` is not a file, and so no SQLite database")]
    NotFile(PathBuf),
    /// SQLite would wait for whoever writes into it.
    #[error("`{0}` is not a file, and SQLite keeps a part of the database there: remove it")]
    Beside(PathBuf),
    /// SQLite's own words.
    #[error("SQLite cannot copy `{path}`: {cause}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        cause: rusqlite::Error,
    },
    /// The copy could not be written.
    #[error("cannot write the copy `{path}`: {cause}{}", lasting::mend(cause))]
    Copy {
        /// The copy.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Reader for Sqlite {
    fn roots(&self, source: &str) -> Vec<Root> {
        vec![root(source, Path::new(self.path.file_name().unwrap_or_default()), &self.path)]
    }

    fn foresee(&self, source: &Source) -> Result<Foreseen, String> {
        let file = self.path.display();
        match fs::metadata(&self.path) {
            Ok(meta) => Ok(Foreseen::File(meta.len())),
            Err(_) if source.optional => {
                Ok(Foreseen::Absent(format!("the SQLite file `{file}` is not there; it would be left out")))
            }
            Err(error) => Err(format!("the SQLite file `{file}`: {error}")),
        }
    }

    fn lies_at(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn dump(&self, reading: &Reading<'_>) -> Result<Output, Failure> {
        let to = reading.folder()?.join(self.path.file_name().unwrap_or_default());
        let source = reading.source();
        match copy(&self.path, &to, reading.control()) {
            Ok(bytes) => Ok(SourceFact::Dumped(to, bytes).into()),
            Err(SqliteError::Stopped(_)) => Err(Failure::stopped()),
            Err(error @ SqliteError::Missing(_)) if source.optional => {
                reading.warn(format!("source `{}`: {error}; it is left out", source.name));
                Ok(SourceFact::Absent(error.to_string()).into())
            }
            Err(error @ (SqliteError::NotFile(_) | SqliteError::Beside(_))) => {
                Err(Failure::lasting(format!("source `{}`: {error}", source.name)))
            }
            Err(error) => Err(Failure::of(&error, format!("source `{}`: {error}", source.name))),
        }
    }

    fn content(&self, reading: &Reading<'_>, _: ArchiveId) -> Result<Option<Content>, Failure> {
        Ok(reading.copied().map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Content::File { path, name }
        }))
    }
}

/// Copies the database at `from` to the new file `to`, as it stands at one moment, with the original's mode, owner and
/// time. Gives its size in bytes, which is 0 where there is no table, nor anything else, in it.
///
/// A read transaction is held on the source for the whole copy. In WAL mode writers go on, and the copy does not start
/// over when they commit; in rollback mode their commits wait.
///
/// # Errors
/// See [`SqliteError`]; then `to` may exist in part.
pub fn copy(from: &Path, to: &Path, control: &Control) -> Result<u64, SqliteError> {
    let meta = fs::metadata(from).map_err(|_| SqliteError::Missing(from.to_path_buf()))?;
    if !meta.is_file() {
        return Err(SqliteError::NotFile(from.to_path_buf()));
    }
    let other = BESIDE.into_iter().map(|ending| beside(from, ending));
    if let Some(other) = other.into_iter().find(|path| fs::metadata(path).is_ok_and(|meta| !meta.is_file())) {
        return Err(SqliteError::Beside(other));
    }
    let sqlite = |cause| failed(from, to, cause);
    let copy = |cause| SqliteError::Copy { path: to.to_path_buf(), cause };
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(copy(error)),
        _ => {}
    }
    let holds_something;
    {
        let source = open(from).map_err(sqlite)?;
        let mut target = Connection::open(to).map_err(sqlite)?;
        // The copy is packed at once; a copy that a power cut loses is made again by the next run.
        target.pragma_update(None, "synchronous", "OFF").map_err(sqlite)?;
        source.execute_batch("BEGIN").map_err(sqlite)?;
        let count = || source.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        holds_something = patiently(from, control, count)? > 0;
        let backup = Backup::new(&source, &mut target).map_err(sqlite)?;
        run(&backup, (from, to), meta.len(), control)?;
    }
    for ending in BESIDE {
        // Left only where SQLite could not tidy up; the copy is complete without.
        let _ = fs::remove_file(beside(to, ending));
    }
    like(&meta, to).map_err(copy)?;
    // Its one page tells nothing: such a file is what a program makes that does not find its database.
    if holds_something { Ok(fs::metadata(to).map_err(copy)?.len()) } else { Ok(0) }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Does something until no lock is in its way, or nobody wants to wait any longer.
fn patiently<T>(
    from: &Path,
    control: &Control,
    mut work: impl FnMut() -> rusqlite::Result<T>,
) -> Result<T, SqliteError> {
    let begun = Instant::now();
    loop {
        control.check()?;
        match work() {
            Err(cause) if is_busy(&cause) && begun.elapsed() < BUSY => std::thread::sleep(PAUSE),
            Err(cause) if is_busy(&cause) => return Err(locked(from)),
            done => return done.map_err(|cause| SqliteError::Sqlite { path: from.to_path_buf(), cause }),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

fn locked(from: &Path) -> SqliteError {
    let cause = rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
        Some(format!("a writer held its lock for {} s", BUSY.as_secs())),
    );
    SqliteError::Sqlite { path: from.to_path_buf(), cause }
}

/// What SQLite's words mean: it says of one that is only read that its disk is full, where that is the copy's.
fn failed(from: &Path, to: &Path, cause: rusqlite::Error) -> SqliteError {
    match cause.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            SqliteError::Copy { path: to.to_path_buf(), cause: rustix::io::Errno::NOSPC.into() }
        }
        _ => SqliteError::Sqlite { path: from.to_path_buf(), cause },
    }
}

fn run(
    backup: &Backup<'_, '_>,
    (from, to): (&Path, &Path),
    size: u64,
    control: &Control,
) -> Result<(), SqliteError> {
    control.expect(1, size);
    let mut waited = Duration::ZERO;
    let mut left = None;
    loop {
        control.check()?;
        match backup.step(PAGES).map_err(|cause| failed(from, to, cause))? {
            StepResult::Done => {
                control.advance(1, 0);
                return Ok(());
            }
            StepResult::More => {
                let progress = backup.progress();
                let page = size / u64::try_from(progress.pagecount.max(1)).unwrap_or(1);
                let done = left.unwrap_or(progress.pagecount) - progress.remaining;
                left = Some(progress.remaining);
                control.advance(0, page * u64::try_from(done).unwrap_or(0));
                waited = Duration::ZERO;
            }
            _ if waited >= BUSY => return Err(locked(from)),
            _ => {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
        }
    }
}

/// Opens for reading. A database in WAL mode that nobody has open needs its side files made, which a read-only
/// connection to a folder that is writable does too; where that is not permitted, SQLite says so.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::ZERO)?;
    Ok(connection)
}

/// Gives the copy the original's mode, owner and modification time.
fn like(meta: &fs::Metadata, to: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(to, Some(meta.uid()), Some(meta.gid()))?;
    }
    fs::set_permissions(to, meta.permissions())?;
    fs::File::options().read(true).open(to)?.set_modified(meta.modified()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn count(path: &Path) -> (i64, i64) {
        let connection = Connection::open(path).unwrap();
        let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        connection
            .query_row("SELECT count(*), coalesce(sum(n), 0) FROM t", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap()
    }

    /// Every commit of the writer keeps the sum at zero; a copy torn between two commits would not.
    #[test]
    fn a_copy_made_while_a_writer_writes_is_whole() {
        for mode in ["wal", "delete"] {
            let dir = tempfile::tempdir().unwrap();
            let (live, copy_to) = (dir.path().join("live.db"), dir.path().join("copy.db"));
            let writer = Connection::open(&live).unwrap();
            writer.busy_timeout(BUSY).unwrap();
            writer.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
            writer.execute_batch("CREATE TABLE t (n INTEGER, filler BLOB)").unwrap();
            let pair = "BEGIN; INSERT INTO t VALUES (1, zeroblob(3000)); INSERT INTO t VALUES (-1, zeroblob(3000)); COMMIT";
            for _ in 0..300 {
                writer.execute_batch(pair).unwrap();
            }
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        writer.execute_batch(pair).unwrap();
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
                for _ in 0..5 {
                    copy(&live, &copy_to, &Control::default()).unwrap();
                    let (rows, sum) = count(&copy_to);
                    assert!(rows >= 600 && sum == 0, "{mode}: {rows} rows, sum {sum}");
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    }

    #[test]
    fn what_is_no_database_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let (text, to) = (dir.path().join("text.db"), dir.path().join("copy"));
        fs::write(&text, "not a database at all, but long enough to look at it ".repeat(40)).unwrap();
        let error = copy(&text, &to, &Control::default()).unwrap_err();
        assert!(error.to_string().contains("file is not a database"), "{error}");
        assert!(matches!(
            copy(&dir.path().join("none"), &to, &Control::default()),
            Err(SqliteError::Missing(_))
        ));
        assert!(matches!(copy(dir.path(), &to, &Control::default()), Err(SqliteError::NotFile(_))));
    }

    #[test]
    fn a_lock_is_waited_for_until_somebody_says_stop_and_a_pipe_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (live, to) = (dir.path().join("live.db"), dir.path().join("copy.db"));
        let writer = Connection::open(&live).unwrap();
        writer.execute_batch("CREATE TABLE t (n INTEGER); BEGIN EXCLUSIVE").unwrap();
        let control = Control::default();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                control.stop();
            });
            assert!(matches!(copy(&live, &to, &control), Err(SqliteError::Stopped(_))));
        });
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        // Let go in time, it is copied.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                writer.execute_batch("INSERT INTO t VALUES (4); COMMIT").unwrap();
            });
            copy(&live, &to, &Control::default()).unwrap();
        });
        let sum: i64 =
            Connection::open(&to).unwrap().query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(sum, 4);
        for ending in BESIDE {
            let pipe = beside(&live, ending);
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert!(
                matches!(copy(&live, &to, &Control::default()), Err(SqliteError::Beside(found)) if found == pipe)
            );
            fs::remove_file(pipe).unwrap();
        }
    }

    #[test]
    fn the_copy_has_the_mode_and_time_of_the_original() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (live, to) = (dir.path().join("live.db"), dir.path().join("copy.db"));
        Connection::open(&live).unwrap().execute_batch("CREATE TABLE t (n)").unwrap();
        fs::set_permissions(&live, fs::Permissions::from_mode(0o640)).unwrap();
        copy(&live, &to, &Control::default()).unwrap();
        let (a, b) = (fs::metadata(&live).unwrap(), fs::metadata(&to).unwrap());
        assert_eq!((a.mode(), a.mtime(), a.mtime_nsec()), (b.mode(), b.mtime(), b.mtime_nsec()));
    }
}
