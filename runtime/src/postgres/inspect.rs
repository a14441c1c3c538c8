//! Looks into a pgBackRest repository, file by file.
//!
//! `pgbackrest verify` reads every file and ends with 0 whatever it finds: what it says is read. It does not miss a segment of
//! the log that is not there, nor a backup of which nothing is left: what there is is held against what there must be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::pgbackrest::info;
use super::repository::Repository;
use super::{DriverError, tools};
use crate::confine::Bounds;
use crate::control::Control;
use crate::postgres::wal::lsn::Lsn;
use crate::postgres::wal::name::{Segment, WalName};
use crate::postgres::wal::survey::segment_bytes;
use crate::programs::process::{self, Program, Tell};

/// Names that are kept of the files that something is wrong with; the others are counted.
const KEPT: usize = 10_000;
/// How the lines begin that `verify` counts with.
const COUNTS: [&str; 6] =
    ["archiveId: ", "backup: ", "missing: ", "checksum invalid: ", "size invalid: ", "other: "];
/// What the lines of `verify` that name a file begin with, and what they mean.
const FILES: [(&str, &str); 4] = [
    ("invalid checksum ", "files whose content is not what was backed up"),
    ("file missing ", "files that are not there"),
    ("invalid size ", "files of another size than was backed up"),
    ("invalid result ", "files that cannot be read"),
];

/// A repository, and what must be in it.
pub struct Inspection<'a> {
    /// Where it is.
    pub repository: &'a Repository,
    /// The file of its key, where it has one.
    pub key_file: &'a Path,
    /// The stanza.
    pub stanza: &'a str,
    /// Labels of backups that must be there.
    pub wanted: &'a BTreeSet<String>,
}

/// Of which cluster a stanza is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Missing,
    /// Of a cluster.
    Of {
        /// Its system identifier.
        system_id: String,
        /// Those of the clusters whose place it took by an upgrade of the stanza.
        earlier: Vec<String>,
    },
    /// It cannot be told, in the tool's words.
    Unreadable(String),
}

/// Asks a repository, which needs no file of its key, for a stanza.
///
/// # Errors
/// When the tool is not here, or does not answer.
pub fn standing(repository: &Repository, stanza: &str, control: &Control) -> Result<Standing, DriverError> {
    let program = tools::find("pgbackrest")?;
    let asked = Inspection { repository, key_file: Path::new(""), stanza, wanted: &BTreeSet::new() };
    let silent: Tell = Arc::new(|_| {});
    let words = ["--log-level-stderr=error", "--output=json", "info"];
    let out = process::run(&asked.command(&program, &words), control, &silent)?;
    let found = info::parse(&out).unwrap_or_default();
    let Some(found) = found.into_iter().find(|found| found.name == stanza) else {
        return Ok(Standing::Missing);
    };
    Ok(match (found.is_missing(), found.trouble(), found.system_id()) {
        (true, ..) => Standing::Missing,
        (_, Some(why), _) => Standing::Unreadable(why),
        (_, None, Some(system_id)) => Standing::Of { system_id, earlier: found.earlier_system_ids() },
        (_, None, None) => Standing::Unreadable("`info` names no cluster".to_owned()),
    })
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Backups that are whole.
    pub backups: usize,
    /// Segments of the log that are there.
    pub segments: usize,
    /// What is wrong; empty: it is whole.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// In words.
    pub what: String,
    /// The files, as the tool names them below `backup/STANZA` or `archive/STANZA`.
    pub files: Vec<String>,
    /// How many there are.
    pub file_count: u64,
}

impl Inspection<'_> {
    /// Reads all of it.
    ///
    /// # Errors
    /// When the tool is not here, or does not answer: this says nothing of the repository.
    pub fn look(&self, control: &Control) -> Result<Contents, DriverError> {
        let program = tools::find("pgbackrest")?;
        let said: Arc<Mutex<Said>> = Arc::default();
        let ear = Arc::clone(&said);
        let tell: Tell = Arc::new(move |line| ear.lock().unwrap_or_else(PoisonError::into_inner).take(line));
        let words = ["--log-level-stderr=info", "--output=text", "--verbose", "verify"];
        // It has nothing to write, whatever the repository says.
        let bounds =
            Bounds::find(&[], None, control).map_err(|error| DriverError::Lasting(error.to_string()))?;
        let bounds = Some(Arc::new(bounds));
        let verify = Program { bounds, ..self.command(&program, &words) };
        let out = process::run(&verify, control, &tell)?;
        let verified = Verified::read(&String::from_utf8_lossy(&out)).ok_or_else(|| {
            DriverError::Lasting("`pgbackrest verify` does not say what it found".to_owned())
        })?;
        let silent: Tell = Arc::new(|_| {});
        let words = ["--log-level-stderr=error", "--output=json", "info"];
        let said_of = process::run(&self.command(&program, &words), control, &silent)?;
        let listed: Vec<Listed> = serde_json::from_str(&info::text(&said_of)).unwrap_or_default();
        let listed = listed.into_iter().find(|listed| listed.name == self.stanza).unwrap_or_default();
        let log = self.log(&program, control)?;
        let said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
        let mut faults = said.faults();
        faults.extend(verified.faults(self.wanted, &said));
        faults.extend(log.faults(&listed));
        if !verified.is_ok && faults.is_empty() {
            faults.push(Fault { what: verified.words.join("; "), ..Fault::default() });
        }
        let backups = verified.backups.values().filter(|state| *state == "valid").count();
        Ok(Contents { backups, segments: log.count(), faults })
    }

    /// The tool, asked for something.
    pub(crate) fn command(&self, program: &str, words: &[&str]) -> Program {
        let fixed = ["--no-config", "--log-level-file=off", "--log-level-console=off"].map(str::to_owned);
        let argv = std::iter::once(program.to_owned()).chain(fixed);
        let argv = argv.chain([format!("--stanza={}", self.stanza)]);
        let mut made = Program::new(argv.chain(words.iter().map(|word| (*word).to_owned())).collect());
        made.env = self.repository.environment(self.key_file);
        made.env.push(("LC_ALL".to_owned(), "C".to_owned()));
        made.folder = Some(PathBuf::from("/"));
        made
    }

    /// The segments that are there.
    fn log(&self, program: &str, control: &Control) -> Result<Log, DriverError> {
        let found: Arc<Mutex<Log>> = Arc::default();
        let ear = Arc::clone(&found);
        let tell: Tell = Arc::new(move |line| ear.lock().unwrap_or_else(PoisonError::into_inner).take(line));
        let below = format!("archive/{}", self.stanza);
        let words = ["--log-level-stderr=error", "--recurse", "repo-ls", &below];
        process::run(&self.command(program, &words), control, &tell)?;
        Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What `verify` says of single files while it works.
#[derive(Default)]
struct Said {
    files: BTreeMap<&'static str, BTreeSet<String>>,
    more: BTreeMap<&'static str, u64>,
}

impl Said {
    fn take(&mut self, line: &str) {
        let Some((_, line)) = line.split_once("INFO: ") else { return };
        let found = FILES.iter().find_map(|(start, what)| Some((*what, line.strip_prefix(start)?)));
        let Some((what, rest)) = found else { return };
        let name = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split('\'').next().unwrap_or_default().to_owned(),
            None => rest.to_owned(),
        };
        let files = self.files.entry(what).or_default();
        if files.len() < KEPT {
            files.insert(name);
        } else {
            *self.more.entry(what).or_default() += 1;
        }
    }

    fn faults(&self) -> Vec<Fault> {
        let each = self.files.iter().map(|(what, files)| Fault {
            what: (*what).to_owned(),
            files: files.iter().cloned().collect(),
            file_count: files.len() as u64 + self.more.get(what).copied().unwrap_or(0),
        });
        each.collect()
    }

    fn names_one_of(&self, backup: &str) -> bool {
        self.files.values().flatten().any(|file| file.starts_with(&format!("{backup}/")))
    }
}

/// What `verify` says at its end.
struct Verified {
    is_ok: bool,
    /// Each backup's label, and how it is.
    backups: BTreeMap<String, String>,
    words: Vec<String>,
}

impl Verified {
    /// `None`: it says neither that all is well nor that something is not.
    fn read(text: &str) -> Option<Verified> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with("stanza: "));
        let is_ok = match lines.next()?.strip_prefix("status: ")? {
            "ok" => true,
            "error" => false,
            _ => return None,
        };
        let words: Vec<String> = lines.map(str::to_owned).collect();
        let backup = |line: &String| {
            let (label, rest) = line.strip_prefix("backup: ")?.split_once(", status: ")?;
            Some((label.to_owned(), rest.split(',').next().unwrap_or_default().to_owned()))
        };
        Some(Verified { is_ok, backups: words.iter().filter_map(backup).collect(), words })
    }

    fn faults(&self, wanted: &BTreeSet<String>, said: &Said) -> Vec<Fault> {
        let fault = |what: String| Fault { what, ..Fault::default() };
        let gone = wanted.iter().filter(|label| !self.backups.contains_key(*label));
        let gone = gone.map(|label| fault(format!("backup `{label}` is not there, or its manifest is not")));
        let bad = self.backups.iter().filter(|(label, state)| {
            // One that is being made, or was cut short, is no backup yet.
            state.as_str() == "invalid" || (state.as_str() != "valid" && wanted.contains(*label))
        });
        let bad = bad.map(|(label, state)| {
            let why = match said.names_one_of(label) || !said.files.is_empty() {
                true => "of the files that are named here",
                false => "its manifest cannot be read",
            };
            fault(format!("backup `{label}` is {state}: {why}"))
        });
        // `No usable backup.info file`, and its like.
        let told = self
            .words
            .iter()
            .filter(|line| !self.is_ok && !COUNTS.iter().any(|start| line.starts_with(start)));
        told.map(|line| fault(line.clone())).chain(gone).chain(bad).collect()
    }
}

/// What `info` says of a stanza.
#[derive(Debug, Default, Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    backup: Vec<ListedBackup>,
    #[serde(default)]
    archive: Vec<ListedArchive>,
}

#[derive(Debug, Deserialize)]
struct ListedBackup {
    label: String,
    archive: Option<Range>,
    lsn: Option<Range>,
    database: Database,
}

#[derive(Debug, Deserialize)]
struct ListedArchive {
    id: String,
    database: Database,
}

#[derive(Debug, Deserialize)]
struct Database {
    id: u64,
}

#[derive(Debug, Deserialize)]
struct Range {
    start: Option<String>,
    stop: Option<String>,
}

impl Listed {
    /// How long a segment is: where backups began tells in bytes and in segments.
    fn bytes(&self) -> u64 {
        let places = self.backup.iter().filter_map(|backup| {
            let lsn: Lsn = backup.lsn.as_ref()?.start.as_ref()?.parse().ok()?;
            Some((backup.archive.as_ref()?.ends()?.0, lsn))
        });
        segment_bytes(places)
    }
}

/// Segments by the folder of their cluster (`15-1`) and their timeline.
#[derive(Default)]
struct Log(BTreeMap<(String, u32), BTreeSet<Segment>>);

impl Log {
    /// `15-1/0000000100000000/000000010000000000000005-cabcf0….gz`
    fn take(&mut self, line: &str) {
        let (Some((cluster, _)), Some((_, file))) = (line.split_once('/'), line.rsplit_once('/')) else {
            return;
        };
        let name = file.split_once('-').map(|(name, _)| name.parse());
        if let Some(Ok(WalName::Segment(segment))) = name {
            self.0.entry((cluster.to_owned(), segment.timeline)).or_default().insert(segment);
        }
    }

    fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Segments that backups need and that are not there.
    fn faults(&self, listed: &Listed) -> Vec<Fault> {
        let bytes = listed.bytes();
        let mut faults = Vec::new();
        for backup in &listed.backup {
            let archive = listed.archive.iter().find(|archive| archive.database.id == backup.database.id);
            let (Some(archive), Some((start, stop))) =
                (archive, backup.archive.as_ref().and_then(Range::ends))
            else {
                continue;
            };
            let key = (archive.id.clone(), start.timeline);
            let own = std::iter::successors(Some(start), |at| Some(at.next(bytes)));
            let own = own.take_while(|at| *at <= stop);
            let missing = own.filter(|at| self.0.get(&key).is_none_or(|there| !there.contains(at)));
            let missing: Vec<String> = missing.map(|segment| segment.to_string()).collect();
            if !missing.is_empty() {
                let what = format!(
                    "backup `{}` lacks segments of the log, without which it does not start",
                    backup.label
                );
                faults.push(Fault { what, file_count: missing.len() as u64, files: missing });
            }
        }
        faults
    }
}

impl Range {
    fn ends(&self) -> Option<(Segment, Segment)> {
        let segment = |name: &Option<String>| match name.as_ref()?.parse() {
            Ok(WalName::Segment(segment)) => Some(segment),
            _ => None,
        };
        Some((segment(&self.start)?, segment(&self.stop)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAMAGED: &str = "stanza: db\nstatus: error\n  archiveId: 15-1, total WAL checked: 5, total valid WAL: 4\n    \
        missing: 0, checksum invalid: 0, size invalid: 0, other: 1\n  \
        backup: 20261121-085032F, status: invalid, total files checked: 967, total valid files: 966\n    \
        missing: 0, checksum invalid: 1, size invalid: 0, other: 0\n";

    fn set(labels: &[&str]) -> BTreeSet<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn what_verify_says_is_read_and_not_its_status() {
        let mut said = Said::default();
        for line in [
            "INFO: invalid checksum '20261121-085032F/pg_data/base/5/16384.gz'",
            "INFO: invalid result 15-1/0000000100000000/000000010000000000000005-ab.gz: [29] raised from local-1",
            "INFO: stanza: db",
            "      status: error",
        ] {
            said.take(line);
        }
        let verified = Verified::read(DAMAGED).unwrap();
        assert!(!verified.is_ok);
        let found = said.faults();
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].files,
            ["15-1/0000000100000000/000000010000000000000005-ab.gz: [29] raised from local-1"]
        );
        assert_eq!(found[1].files, ["20261121-085032F/pg_data/base/5/16384.gz"]);
        let of_backups = verified.faults(&set(&["20261121-085032F", "20261122-085032F"]), &said);
        assert!(of_backups[0].what.contains("`20261122-085032F` is not there"), "{of_backups:?}");
        assert!(of_backups[1].what.contains("`20261121-085032F` is invalid"), "{of_backups:?}");
        assert!(Verified::read("").is_none() && Verified::read("stanza: db\nno idea\n").is_none());
        assert!(Verified::read("stanza: db\nstatus: ok\n").unwrap().is_ok);
    }

    fn listed(start: &str, stop: &str, lsn: &str) -> Listed {
        let json = format!(
            r#"{{"name":"db","archive":[{{"id":"15-1","database":{{"id":1}}}}],"backup":[{{"label":"F","database":{{"id":1}},
            "archive":{{"start":"{start}","stop":"{stop}"}},"lsn":{{"start":"{lsn}","stop":"{lsn}"}}}}]}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn log(segments: &[&str]) -> Log {
        let mut log = Log::default();
        for segment in segments {
            log.take(&format!("15-1/{}/{segment}-cabcf02fd34d5209.gz", &segment[..16]));
        }
        log.take("15-1/0000000100000000/000000010000000000000003.00000028.backup");
        log.take("archive.info");
        log
    }

    #[test]
    fn segments_that_a_backup_needs_are_missed() {
        let there = ["0000000100000000000000FE", "0000000100000000000000FF", "000000010000000100000000"];
        let whole = log(&there);
        assert_eq!(whole.count(), 3);
        let backup = listed(there[0], there[1], "0/FE000028");
        assert!(whole.faults(&backup).is_empty());
        let faults = log(&[there[0], there[2]]).faults(&backup);
        assert_eq!(faults[0].files, [there[1]]);
        assert!(faults[0].what.contains("does not start"), "{faults:?}");
    }

    #[test]
    fn segments_of_another_length_follow_one_another() {
        // 64 MiB: 64 of them in a log.
        let there = ["00000002000000000000003F", "000000020000000100000000"];
        let backup = listed(there[0], there[1], "0/FC000028");
        assert_eq!(backup.bytes(), 64 << 20);
        assert!(log(&there).faults(&backup).is_empty());
    }
}
