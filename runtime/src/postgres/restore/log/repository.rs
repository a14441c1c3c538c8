//! The log in a repository of pgBackRest: in a folder, in a bucket, or in an artefact; and in a catalogue of pg_probackup.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use serde::Deserialize;

use super::Holder;
use crate::artefact::Kind;
use crate::backups::chain::Chain;
use crate::control::Control;
use crate::postgres::inspect::Inspection;
use crate::postgres::repository::Repository;
use crate::postgres::tools;
use crate::postgres::wal::WalError;
use crate::postgres::wal::cluster::ClusterId;
use crate::postgres::wal::expiry::Base;
use crate::postgres::wal::name::{Segment, WalName};
use crate::postgres::wal::survey::{Survey, forks, segment_bytes};
use crate::programs::process::{Program, Running, Tell};

/// A file below a stanza's folder of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path there: `15-1/0000000100000000/000000010000000000000005-cabcf0….gz`.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// When it was written.
    pub at: Timestamp,
}

/// Where the files of a stanza's log are.
pub trait Files {
    /// All of them.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn list(&self) -> Result<Vec<Listed>, WalError>;

    /// One of them, as the tool wrote it but for encryption.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, WalError>;
}

/// A backup, and the folder of the log that it goes on with, where its run knew that.
pub type Based<'b> = (&'b Base, Option<&'b str>);

/// The log of a stanza.
pub struct RepositoryLog<'a> {
    label: String,
    files: Box<dyn Files + 'a>,
    logs: BTreeMap<ClusterId, Stored>,
    bytes: u64,
}

/// What there is of a cluster.
#[derive(Default)]
struct Stored {
    segments: BTreeMap<Segment, Listed>,
    histories: BTreeMap<u32, String>,
    size: u64,
}

impl<'a> RepositoryLog<'a> {
    /// Looks at what there is. Which folder is which cluster's, its backups tell.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn open(
        label: &str,
        files: Box<dyn Files + 'a>,
        bases: &[Based<'_>],
    ) -> Result<RepositoryLog<'a>, WalError> {
        let mut folders: BTreeMap<String, Stored> = BTreeMap::new();
        for listed in files.list()? {
            let (Some((folder, _)), Some(last)) =
                (listed.path.split_once('/'), listed.path.rsplit('/').next())
            else {
                continue;
            };
            let stored = folders.entry(folder.to_owned()).or_default();
            // pgBackRest writes a segment's sum behind its name; pg_probackup nothing but how it is compressed.
            let name = last.split_once('-').map_or(last, |(name, _)| name);
            match name.strip_suffix(".gz").unwrap_or(name).parse() {
                Ok(WalName::Segment(segment)) => {
                    stored.size += listed.size;
                    stored.segments.insert(segment, listed);
                }
                Ok(WalName::History(timeline)) => drop(stored.histories.insert(timeline, listed.path)),
                Ok(WalName::Partial(_) | WalName::Backup(..)) | Err(_) => {}
            }
        }
        let bytes = segment_bytes(bases.iter().filter_map(|(base, _)| Some((base.first, base.start?))));
        let mut logs: BTreeMap<ClusterId, Stored> = BTreeMap::new();
        for (folder, stored) in folders {
            let cluster = cluster_of(&folder, &stored, bases);
            let log = logs.entry(cluster).or_default();
            log.segments.extend(stored.segments);
            log.histories.extend(stored.histories);
            log.size += stored.size;
        }
        Ok(RepositoryLog { label: label.to_owned(), files, logs, bytes })
    }
}

/// The cluster whose log a folder has: that of a backup which names it, or which it has what it needs of. One of which there
/// is no backup is called by the folder's name.
fn cluster_of(folder: &str, stored: &Stored, bases: &[Based<'_>]) -> ClusterId {
    let major = folder.split('-').next().unwrap_or_default();
    let is_named = |(_, id): &&Based<'_>| *id == Some(folder);
    let is_held = |(base, id): &&Based<'_>| {
        id.is_none() && base.cluster.major == major && stored.segments.contains_key(&base.first)
    };
    let found = bases.iter().find(is_named).or_else(|| bases.iter().rev().find(is_held));
    found.map_or(ClusterId { system: 0, major: folder.to_owned() }, |(base, _)| base.cluster.clone())
}

impl Holder for RepositoryLog<'_> {
    fn label(&self) -> &str {
        &self.label
    }

    fn clusters(&self) -> Result<Vec<ClusterId>, WalError> {
        Ok(self.logs.keys().cloned().collect())
    }

    fn survey(&self, cluster: &ClusterId) -> Result<(Survey, Vec<WalError>), WalError> {
        let mut survey = Survey::new(self.bytes);
        let Some(stored) = self.logs.get(cluster) else { return Ok((survey, Vec::new())) };
        survey.segments = stored.segments.keys().copied().collect();
        survey.size = stored.size;
        for (timeline, path) in &stored.histories {
            let text = self.files.read(path)?;
            survey.histories.insert(*timeline, forks(&String::from_utf8_lossy(&text)));
        }
        Ok((survey, Vec::new()))
    }

    fn is_copy(&self) -> bool {
        false
    }

    fn archived(&self, cluster: &ClusterId, segment: Segment) -> Result<Option<Timestamp>, WalError> {
        let stored = self.logs.get(cluster).and_then(|stored| stored.segments.get(&segment));
        Ok(stored.map(|listed| listed.at))
    }

    fn bytes(&self, cluster: &ClusterId, segment: Segment) -> Option<Vec<u8>> {
        let path = &self.logs.get(cluster)?.segments.get(&segment)?.path;
        let stored = self.files.read(path).ok()?;
        let name = path.rsplit('/').next().unwrap_or_default();
        match name.split_once('.') {
            None => return Some(stored),
            Some((_, "gz")) => {}
            // In another compression, which only the tool reads.
            Some(_) => return None,
        }
        let mut whole = Vec::new();
        let read = MultiGzDecoder::new(&stored[..]).take(self.bytes).read_to_end(&mut whole);
        read.ok().map(|_| whole)
    }
}

/// Where a stanza's log is, in a folder or a bucket, encrypted or not. `opened` is the repository with its passphrase, or why
/// that cannot be had: what is encrypted is then listed, and not read.
pub fn files(
    place: &Repository,
    opened: Result<Repository, String>,
    key_file: PathBuf,
    stanza: &str,
    control: &Control,
) -> Box<dyn Files> {
    let is_plain = opened.as_ref().is_ok_and(|opened| opened == place);
    let tool = opened.map(|opened| Tool {
        repository: opened,
        key_file,
        stanza: stanza.to_owned(),
        control: control.clone(),
    });
    match (place.settings().get("path").filter(|_| !place.is_remote()), tool) {
        (Some(path), tool) => {
            let tool = if is_plain { None } else { Some(tool) };
            Box::new(Folder { root: Path::new(path).join("archive").join(stanza), tool })
        }
        (None, Ok(tool)) => Box::new(tool),
        (None, Err(why)) => Box::new(Unreachable { place: place.location(), why }),
    }
}

/// The log in a catalogue of pg_probackup: a folder for each instance, which the archive id of a backup names.
pub fn catalogue(folder: &Path) -> Box<dyn Files> {
    Box::new(Folder { root: folder.join("wal"), tool: None })
}

/// A place that cannot be asked.
struct Unreachable {
    place: String,
    why: String,
}

impl Unreachable {
    fn error(&self) -> WalError {
        WalError::Repository { place: self.place.clone(), what: self.why.clone() }
    }
}

impl Files for Unreachable {
    fn list(&self) -> Result<Vec<Listed>, WalError> {
        Err(self.error())
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, WalError> {
        Err(self.error())
    }
}

/// A stanza's log in a folder.
struct Folder {
    root: PathBuf,
    /// Reads it where it is encrypted; or why it cannot.
    tool: Option<Result<Tool, String>>,
}

impl Folder {
    fn walk(&self, below: &str, found: &mut Vec<Listed>) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(below))? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(&path, found)?;
            } else if kind.is_file() {
                // One may be gone by now.
                let Ok(seen) = entry.metadata() else { continue };
                let at = Timestamp::try_from(seen.modified()?).map_err(io::Error::other)?;
                found.push(Listed { path, size: seen.len(), at });
            }
        }
        Ok(())
    }
}

impl Files for Folder {
    fn list(&self) -> Result<Vec<Listed>, WalError> {
        let mut found = Vec::new();
        match self.walk("", &mut found) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(WalError::File { path: self.root.clone(), cause })
            }
            _ => Ok(found),
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, WalError> {
        match &self.tool {
            Some(Ok(tool)) => tool.read(path),
            Some(Err(why)) => {
                Err(WalError::Repository { place: self.root.display().to_string(), what: why.clone() })
            }
            None => {
                let path = self.root.join(path);
                fs::read(&path).map_err(|cause| WalError::File { path, cause })
            }
        }
    }
}

/// A stanza's log by its tool: in a bucket, or encrypted.
struct Tool {
    repository: Repository,
    key_file: PathBuf,
    stanza: String,
    control: Control,
}

impl Tool {
    fn failed(&self, what: impl ToString) -> WalError {
        WalError::Repository { place: self.repository.location(), what: what.to_string() }
    }

    fn output(&self, words: &[&str]) -> Result<Vec<u8>, WalError> {
        let program = tools::find("pgbackrest").map_err(|error| self.failed(error))?;
        let wanted = BTreeSet::new();
        let asked = Inspection {
            repository: &self.repository,
            key_file: &self.key_file,
            stanza: &self.stanza,
            wanted: &wanted,
        };
        let program: Program = asked.command(&program, words);
        let silent: Tell = Arc::new(|_| {});
        let mut running =
            Running::start(&program, &self.control, &silent).map_err(|error| self.failed(error))?;
        let mut out = Vec::new();
        if let Err(cause) = running.read_to_end(&mut out) {
            return Err(self.failed(running.failed_read(cause)));
        }
        running.finish().map_err(|error| self.failed(error))?;
        Ok(out)
    }
}

/// What `repo-ls` says of a file.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    time: i64,
}

impl Files for Tool {
    fn list(&self) -> Result<Vec<Listed>, WalError> {
        let below = format!("archive/{}", self.stanza);
        let words = ["--log-level-stderr=error", "--output=json", "--recurse", "repo-ls", &below];
        let said = self.output(&words)?;
        let said: BTreeMap<String, Said> =
            serde_json::from_slice(&said).map_err(|error| self.failed(format!("`repo-ls`: {error}")))?;
        let files = said.into_iter().filter(|(_, said)| said.kind == "file");
        let listed = files.map(|(path, said)| Listed {
            path,
            size: said.size,
            at: Timestamp::from_second(said.time).unwrap_or(Timestamp::MIN),
        });
        Ok(listed.collect())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, WalError> {
        let path = format!("archive/{}/{path}", self.stanza);
        self.output(&["--log-level-stderr=error", "repo-get", &path])
    }
}

/// A stanza's log in an artefact, with those that it rests on.
pub struct Packed<'a> {
    chain: Chain<'a>,
    below: String,
}

impl<'a> Packed<'a> {
    /// Of a source.
    pub fn new(chain: Chain<'a>, source: &str, stanza: &str) -> Packed<'a> {
        Packed { chain, below: format!("{source}/archive/{stanza}") }
    }

    fn failed(&self, what: impl ToString) -> WalError {
        WalError::Repository { place: self.below.clone(), what: what.to_string() }
    }
}

impl Files for Packed<'_> {
    fn list(&self) -> Result<Vec<Listed>, WalError> {
        let mut found = Vec::new();
        for live in self.chain.view.below(self.below.as_bytes()) {
            let entry = live.map_err(|error| self.failed(self.chain.error(error)))?.entry;
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            if let (Kind::File, Some(path)) = (entry.kind, path.strip_prefix(&format!("{}/", self.below))) {
                let at = Timestamp::from_second(entry.mtime).unwrap_or(Timestamp::MIN);
                found.push(Listed { path: path.to_owned(), size: entry.size, at });
            }
        }
        Ok(found)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, WalError> {
        let path = format!("{}/{path}", self.below);
        let found =
            self.chain.view.find(path.as_bytes()).map_err(|error| self.failed(self.chain.error(error)))?;
        let live = found.ok_or_else(|| self.failed(format!("`{path}` is not in it")))?;
        let mut out = Vec::new();
        let read = self.chain.view.cat(&live, &mut out, &Control::default());
        read.map_err(|error| self.failed(self.chain.error(error)))?;
        Ok(out)
    }
}
