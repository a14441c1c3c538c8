//! The journal of a run: JSON lines, synced, an intent before each effect that must be taken back if the run dies.
//!
//! A journal without an `end` belongs to a run that died (or still runs: the plan's lock tells). The next run reads it,
//! takes back what is open, and marks it as recovered; so it does with one that ended and could not leave a window. Effects in a store are not in here: a store holds its own intents,
//! so that any machine can take them back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalog::ids::RunId;
use crate::catalog::owner::Owner;

/// How a step ended, in a word: for reports and journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// As it should.
    Done,
    /// Not at all.
    Failed,
    /// It was not run. Older journals say it in two words.
    #[serde(alias = "not run")]
    NotRun,
    /// Its store is absent.
    Dropped,
    /// In a dry run: as it should.
    WouldRun,
}

/// A program that closes a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Program and arguments, filled in.
    pub argv: Vec<String>,
    /// The account it runs as.
    pub run_as: Option<String>,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The run began.
    Begin {
        /// Its id.
        run: String,
        /// The process.
        pid: u32,
        /// The sources it was asked for; empty: all.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        only: BTreeSet<String>,
        /// The process, precisely enough to tell later whether it lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
    },
    /// A window is about to be opened.
    Entering {
        /// Its name.
        window: String,
        /// What closes it, if anything does.
        leave: Option<Leave>,
    },
    /// A window was closed.
    Left {
        /// Its name.
        window: String,
    },
    /// Files of this host are about to be written: in a staging, or in the run's work folder.
    Writing {
        /// The step.
        step: String,
        /// Exact paths; a folder stands for what is in it.
        paths: Vec<PathBuf>,
    },
    /// A step ended.
    Step {
        /// Its name.
        step: String,
        /// How.
        outcome: How,
        /// Milliseconds that it took, all attempts together; none where it was not run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ms: Option<u64>,
        /// The reason, where it is not `done`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Named outputs: a label, a file, a count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<serde_json::Value>,
    },
    /// The run ended by itself.
    End {
        /// Its exit status.
        status: u8,
        /// Whether everything was backed up, whatever failed beside that.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        whole: bool,
        /// What a person should read, the first of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// A later run took back what this one left.
    Recovered {
        /// That run.
        by: String,
    },
}

/// A record, and when it was written.
#[derive(Serialize, Deserialize)]
pub struct Line {
    /// By the run's clock.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
}

/// The journal of the run that writes it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Begins the journal of `run` in `folder` with a [`Record::Begin`].
    ///
    /// # Errors
    /// When there is one already, or it cannot be written durably: then the run must not begin.
    pub fn begin(folder: &Path, run: &str, begin: &Record, now: Timestamp) -> io::Result<Journal> {
        let path = folder.join(format!("{run}.jsonl"));
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path)?;
        File::open(folder)?.sync_all()?;
        let journal = Journal { path, file: Mutex::new(file) };
        journal.write(now, begin)?;
        Ok(journal)
    }

    /// Opens the journal of a run that an earlier process has begun.
    ///
    /// # Errors
    /// When it is not there, or cannot be written.
    pub fn resume(path: &Path) -> io::Result<Journal> {
        let mut file = OpenOptions::new().append(true).open(path)?;
        // A half-written last line must not swallow the next one.
        file.write_all(b"\n")?;
        Ok(Journal { path: path.to_path_buf(), file: Mutex::new(file) })
    }

    /// Adds a record; when this returns, it survives a power cut.
    ///
    /// # Errors
    /// The system's: then the effect must not happen.
    pub fn write(&self, now: Timestamp, record: &Record) -> io::Result<()> {
        append(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner), now, record).map_err(|cause| {
            io::Error::new(cause.kind(), format!("journal `{}`: {cause}", self.path.display()))
        })
    }
}

fn append(file: &mut File, now: Timestamp, record: &Record) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Line { at: now, record: record.clone() })?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()
}

/// What a run left on this host that died, or that could not leave a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its journal.
    pub journal: PathBuf,
    /// Its id.
    pub run: String,
    /// Windows that it opened, or began to, and did not close; the last opened first.
    pub windows: Vec<(String, Option<Leave>)>,
    /// Files that it was about to write.
    pub paths: Vec<PathBuf>,
}

/// The runs in `folder` that left something and were not recovered, oldest first. To be read under the plan's lock.
///
/// # Errors
/// When one cannot be read: what it tells of must not be passed over.
pub fn dead(folder: &Path) -> io::Result<Vec<Left>> {
    let mut found = Vec::new();
    for path in newest_first(folder)?.iter().rev() {
        found.extend(left_by(path)?);
    }
    Ok(found)
}

/// The journals in `folder`, the newest run first; none where there is no such folder.
///
/// # Errors
/// When the folder cannot be listed.
pub fn newest_first(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    paths.sort_by(|a, b| b.cmp(a));
    Ok(paths)
}

/// Whether the run of this journal has begun, and neither ended nor been taken back.
///
/// # Errors
/// When it cannot be read.
pub fn is_open(path: &Path) -> io::Result<bool> {
    let mut records = records(path)?.into_iter().map(|line| line.record);
    let has_begun = records.next().is_some_and(|first| matches!(first, Record::Begin { .. }));
    Ok(has_begun && !records.any(|record| matches!(record, Record::End { .. } | Record::Recovered { .. })))
}

/// The windows that are open by this journal, and when they began to be.
///
/// # Errors
/// When it cannot be read.
pub fn entered(path: &Path) -> io::Result<BTreeMap<String, Timestamp>> {
    let mut open = BTreeMap::new();
    for Line { at, record } in records(path)? {
        match record {
            Record::Entering { window, .. } => drop(open.insert(window, at)),
            Record::Left { window } => drop(open.remove(&window)),
            _ => {}
        }
    }
    Ok(open)
}

fn records(path: &Path) -> io::Result<Vec<Line>> {
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn left_by(path: &Path) -> io::Result<Option<Left>> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut left = Left { journal: path.to_path_buf(), run: name, windows: Vec::new(), paths: Vec::new() };
    let mut has_ended = false;
    // The last line of a run that died may be half written: its effect has not begun, as the sync came first.
    for Line { record, .. } in records(path)? {
        match record {
            Record::Recovered { .. } => return Ok(None),
            Record::End { .. } => has_ended = true,
            Record::Entering { window, leave } => left.windows.insert(0, (window, leave)),
            Record::Left { window } => left.windows.retain(|(open, _)| *open != window),
            Record::Writing { paths, .. } => left.paths.extend(paths),
            Record::Begin { .. } | Record::Step { .. } => {}
        }
    }
    if has_ended {
        // Of what it wrote it has tidied up itself.
        left.paths.clear();
    }
    Ok(Some(left).filter(|left| !has_ended || !left.windows.is_empty()))
}

/// Adds a record to the journal of a run that is dead.
///
/// # Errors
/// When it cannot be written durably.
pub fn add_to(path: &Path, now: Timestamp, record: &Record) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    // A half-written last line must not swallow this one.
    file.write_all(b"\n")?;
    append(&mut file, now, record)
}

/// Deletes the oldest journals of runs that are over, but for the newest `keep`; nothing that is not called as a run's.
///
/// # Errors
/// When one cannot be read or deleted.
pub fn tidy(folder: &Path, keep: usize) -> io::Result<()> {
    let open: Vec<PathBuf> = dead(folder)?.into_iter().map(|left| left.journal).collect();
    let is_a_runs = |path: &PathBuf| {
        path.file_stem().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<RunId>().is_ok())
    };
    let over = newest_first(folder)?.into_iter().filter(|path| is_a_runs(path) && !open.contains(path));
    for path in over.skip(keep) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RUN: &str = "00000001-20260102T023000Z-aaaaaa";

    fn begin(folder: &Path, now: Timestamp) -> Journal {
        let begin = Record::Begin { run: RUN.to_owned(), pid: 1, only: BTreeSet::new(), owner: None };
        Journal::begin(folder, RUN, &begin, now).unwrap()
    }

    fn entering(window: &str) -> Record {
        let leave = Some(Leave { argv: vec!["leave".to_owned(), window.to_owned()], run_as: None });
        Record::Entering { window: window.to_owned(), leave }
    }

    /// Cut at every byte, a journal tells of every effect whose intent was whole, and of no other.
    #[test]
    fn a_journal_cut_anywhere_tells_what_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let journal = begin(folder.path(), now);
        let path = folder.path().join(format!("{RUN}.jsonl"));
        let mut sizes = Vec::new();
        for record in [
            entering("a"),
            entering("b"),
            Record::Left { window: "b".to_owned() },
            Record::End { status: 0, whole: true, warnings: Vec::new() },
        ] {
            journal.write(now, &record).unwrap();
            sizes.push(std::fs::metadata(&path).unwrap().len() as usize);
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let open: Vec<String> = dead(folder.path())
                .unwrap()
                .into_iter()
                .flat_map(|left| left.windows.into_iter().map(|(name, _)| name))
                .collect();
            // A record counts from its last brace on; its end of line is not needed.
            let expected: &[&str] = match cut + 1 {
                // The end closes no window.
                size if size >= sizes[2] => &["a"],
                size if size >= sizes[1] => &["b", "a"],
                size if size >= sizes[0] => &["a"],
                _ => &[],
            };
            assert_eq!(open, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_recovered_journal_is_dead_no_more_even_behind_half_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        begin(folder.path(), now).write(now, &entering("a")).unwrap();
        let path = folder.path().join(format!("{RUN}.jsonl"));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"at\":\"1970");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(dead(folder.path()).unwrap().len(), 1);
        add_to(&path, now, &Record::Recovered { by: "next".to_owned() }).unwrap();
        assert!(dead(folder.path()).unwrap().is_empty());
        let others = folder.path().join("orders.jsonl");
        std::fs::write(&others, "somebody's").unwrap();
        tidy(folder.path(), 0).unwrap();
        assert!(!path.exists() && others.exists());
    }
}
