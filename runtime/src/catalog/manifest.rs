//! The manifest of a run: the backup exists when, and only when, this does.
//!
//! Two YAML documents in one file. The first is the clear part: all that listing, retention, verification and a restore
//! to a folder need. The second holds what may be private (plan text, parameters, paths, warnings); with encryption it is an
//! age body instead. Listing thousands of runs parses first documents only.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backplan_compiler::kinds::{self, Facts};
use backplan_compiler::model::Level;
use backplan_compiler::retention::Lack;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::details::{Details, DetailsError, Seal};
use super::ids::{Nonce, RunId, Uuid};
use super::labels::Labels;
use super::names::{ArtefactName, Digest, PlanName, ToolName, amount, settings};
use crate::cipher::Keyring;

/// The format this program writes.
pub const FORMAT: u32 = 1;
/// The oldest reader that understands what this program writes.
pub const MIN_READER: u32 = 1;
/// Bytes of a manifest at the most: a plan's text and a page, with room.
pub const MAX_BYTES: usize = 32 << 20;
/// Bytes of its first document at the most.
pub const MAX_FIRST: usize = crate::yaml::MAX_BYTES;
/// Bytes of a second document that stays in memory with the first; a larger one is read again when somebody asks.
pub(super) const KEPT: usize = 1 << 20;
/// Features beyond the format that this program understands in `requires`.
const FEATURES: &[&str] = &[];
pub(super) const NEXT_DOCUMENT: &str = "\n---\n";

/// A run, as a store keeps it. Unknown fields are ignored, an unknown `requires` is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the file: [`FORMAT`].
    pub format: u32,
    /// The oldest format number a reader must know to read this.
    pub min_reader: u32,
    /// Features beyond the format that a reader must know to restore this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Which run.
    pub run: RunId,
    /// Which attempt at it: tells whose manifest this is after a write that ended in doubt.
    pub nonce: Nonce,
    /// Of which plan.
    pub plan: PlanRef,
    /// The highest level any of its archives has.
    pub level: Level,
    /// When it began, by the clock of its host.
    pub started: Timestamp,
    /// When it was ready to commit.
    pub finished: Timestamp,
    /// Where it ran.
    pub host: HostRef,
    /// Program and version that wrote it: `backplan 0.1.0`.
    pub program: String,
    /// The stores it was meant for, by their names in the plan.
    #[serde(default)]
    pub stores: Vec<String>,
    /// Every source of the plan, also those that failed or were left out.
    #[serde(default)]
    pub sources: Vec<SourceRecord>,
    /// The archives that are whole.
    #[serde(default)]
    pub archives: Vec<ArchiveRecord>,
    /// The archives that are not there, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingArchive>,
    /// Backups in repositories of the sources' own tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryRecord>,
    /// Where the second document is encrypted: how many warnings there are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<u64>,
    /// Where the second document is encrypted: the SHA-256 of its text, so that damage shows without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Digest>,
    /// The second document.
    #[serde(skip)]
    pub second: Second,
}

/// Which plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRef {
    /// Its name.
    pub name: String,
    /// Its identity, as in `format.yaml`.
    pub id: Uuid,
}

/// Where a run ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRef {
    /// The machine's id.
    pub machine: Uuid,
    /// Its name.
    pub name: String,
}

/// What became of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its name.
    pub name: PlanName,
    /// Its kind, as the plan has a word for it: `files`, `postgres`.
    pub kind: String,
    /// What became of it.
    pub status: SourceStatus,
    /// Why it is not [`SourceStatus::Ok`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Entries it had.
    #[serde(default, deserialize_with = "amount")]
    pub entries: u64,
    /// Bytes of contents it had.
    #[serde(default, deserialize_with = "amount")]
    pub bytes: u64,
    /// Entries of a tree that are no folders; absent in manifests of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<u64>,
    /// Entries of its `paths` that were not there or could not be read, though others were; `reason` names them.
    #[serde(default, skip_serializing_if = "is_none", deserialize_with = "amount")]
    pub missing: u64,
    /// An id for each of them, and for each file system that was missing: the same in every run of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// Entries below its paths that could not be read, or not to their end; the warnings name them.
    #[serde(default, skip_serializing_if = "is_none", deserialize_with = "amount")]
    pub unread: u64,
    /// What its tool calls this backup: label, LSNs, system identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Box<Labels>>,
}

impl SourceRecord {
    /// Why one was left out that the run was not asked for (`--only`).
    pub const NOT_READ: &str = "not read by this run";

    /// What its tool says of this backup.
    pub fn labels(&self) -> &Labels {
        self.labels.as_deref().unwrap_or(Labels::NONE)
    }

    /// Whether there is anything in it: a tree of nothing but folders is as good as empty.
    pub fn has_something(&self) -> bool {
        // A server without a database has accounts all the same.
        if self.kind == "mariadb" && self.labels().databases.as_deref() == Some("") {
            return false;
        }
        // Of a tree without any entry there are its root and the source's own folder.
        let has_leaves = || self.leaves.map_or(self.kind == "files" && self.entries > 2, |leaves| leaves > 0);
        self.bytes > 0 || has_leaves()
    }

    /// Whether it was read in the same way as another backup: counts of a copied data directory and of a dump say nothing of each
    /// other.
    pub fn is_read_like(&self, other: &SourceRecord) -> bool {
        self.kind == other.kind && self.labels().driver == other.labels().driver
    }

    /// What a run did not find of it.
    pub fn lacks(&self) -> Lack {
        match (self.missing, self.unread) {
            (1.., _) => Lack::Paths,
            (0, 1..) => Lack::Entries,
            // What is optional and was not there.
            (0, 0) if !self.lost.is_empty() => Lack::Entries,
            (0, 0) => Lack::Nothing,
        }
    }

    /// Whether what its artefacts hold is the repository of a tool, with as many backups in it as a cycle has by then.
    pub fn is_repository(&self) -> bool {
        self.facts().is_some_and(|facts| facts.has_repository)
    }

    /// What there is to know of what made it; `None`: it is none that this program knows.
    pub fn facts(&self) -> Option<&'static Facts> {
        kinds::made_by(&self.kind, self.labels().driver.as_deref())
    }

    /// Bytes of what was backed up. Of a repository those of the cluster, as its tool tells them: what the repository weighs
    /// follows the backups in it, and where its tool tells nothing nobody knows.
    pub fn measured(&self) -> Option<u64> {
        match self.is_repository() && self.bytes > 0 {
            true => self.labels().database_bytes,
            false => Some(self.bytes),
        }
    }
}

/// What became of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceStatus {
    /// It was read.
    Ok,
    /// It could not be read.
    Failed,
    /// It was not asked for (`--only`), or optional and not there.
    Skipped,
}

/// An artefact of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// The archive's name in the plan.
    pub name: PlanName,
    /// The artefact's file name at the store's root.
    pub artefact: ArtefactName,
    /// The run that the artefact's own mark names: this one, or an earlier one where nothing changed since.
    pub holder: RunId,
    /// Version of the artefact's format.
    pub format: u32,
    /// Bytes.
    #[serde(deserialize_with = "amount")]
    pub size: u64,
    /// SHA-256 of the whole file, hex; absent where the bytes never passed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Digest made from the members', hex.
    pub root: Digest,
    /// Where its index lies.
    pub index: IndexPlace,
    /// How many gzip members it has.
    #[serde(deserialize_with = "amount")]
    pub members: u64,
    /// Whom it is encrypted to; empty: to nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// What is in it.
    pub contents: Vec<Content>,
}

impl ArchiveRecord {
    /// What is in it of a source.
    pub fn content(&self, source: &str) -> Option<&Content> {
        self.contents.iter().find(|content| content.source == source)
    }
}

/// A source in an artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The source's name.
    pub source: PlanName,
    /// How much of it is here.
    pub level: Level,
    /// How many runs of its cycle came before it: 0 for a full.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub place: u32,
    /// The runs that must be there to restore it, oldest first; empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<RunId>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where an artefact's index lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPlace {
    /// Of its first block, in bytes from the artefact's start: from here to the end is the whole index.
    #[serde(deserialize_with = "amount")]
    pub offset: u64,
    /// Of its table, in bytes from the artefact's start.
    #[serde(deserialize_with = "amount")]
    pub table: u64,
    /// Bytes of the table, compressed.
    pub table_length: u32,
}

/// An archive that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingArchive {
    /// Its name in the plan.
    pub name: PlanName,
    /// Why.
    pub reason: String,
}

/// A backup in a repository of a source's own tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRecord {
    /// The source's name.
    pub source: PlanName,
    /// The tool: `pgbackrest` or `pg_probackup`.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// What the tool calls the backup.
    pub label: ToolName,
    /// How much of it is there.
    pub level: Level,
    /// How many runs of its cycle came before it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub place: u32,
    /// The runs that must be there to restore it, oldest first; empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<RunId>,
    /// What the tool must be told to read the repository.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "settings")]
    pub settings: BTreeMap<String, String>,
}

/// The second document of a manifest, as read: parsed only when somebody asks.
#[derive(Debug, Clone)]
pub enum Second {
    /// Its text.
    Text(String),
    /// Text that begins as that of another run does: so many bytes of it, and what follows them.
    Alike {
        /// The other run's.
        like: Arc<str>,
        /// How many bytes are the same.
        same: usize,
        /// What follows them.
        rest: Box<str>,
    },
    /// Too large to be kept for every run: see [`read_details`](super::runs::read_details).
    Left,
}

/// Text is thinned out where it has so many bytes in common with another; less would not be worth it.
const ALIKE_LEAST: usize = 256;

impl Second {
    /// Its text, if it was kept.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Second::Text(text) => Some(Cow::Borrowed(text)),
            Second::Alike { like, same, rest } => Some(Cow::Owned([&like[..*same], rest].concat())),
            Second::Left => None,
        }
    }

    /// Keeps only what differs from `like`, or becomes what others are compared with: a plan's text is the same in nearly all of
    /// its runs, and there may be thousands.
    pub fn thin(&mut self, like: &mut Arc<str>) {
        let Second::Text(text) = self else { return };
        let same = same_length(text.as_bytes(), like.as_bytes());
        let same = text.floor_char_boundary(same).min(like.floor_char_boundary(same));
        if same >= ALIKE_LEAST && same >= text.len() / 2 {
            *self = Second::Alike { like: Arc::clone(like), same, rest: text[same..].into() };
        } else if text.len() >= ALIKE_LEAST {
            *like = Arc::from(text.as_str());
            *self = Second::Alike { like: Arc::clone(like), same: like.len(), rest: "".into() };
        }
    }
}

/// How many of the first bytes are the same.
fn same_length(one: &[u8], other: &[u8]) -> usize {
    // Most of thousands of texts is: pieces are compared, and bytes in the first that is not.
    let pieces = one.chunks(ALIKE_LEAST).zip(other.chunks(ALIKE_LEAST));
    let whole: usize = pieces.take_while(|(one, other)| one == other).map(|(one, _)| one.len()).sum();
    let rest = one[whole..].iter().zip(&other[whole..]);
    whole + rest.take_while(|(one, other)| one == other).count()
}

impl PartialEq for Second {
    fn eq(&self, other: &Second) -> bool {
        self.text() == other.text()
    }
}

impl Default for Second {
    fn default() -> Second {
        Second::Text(String::new())
    }
}

/// Why a manifest cannot be used. Damage and newer formats are no reason to stop reading others.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not a manifest, or damaged.
    #[error(
        "`{object}` is damaged: {cause}; move it out of the store if its run is given up: until then nothing is deleted that it may \
         rest on"
    )]
    Damaged {
        /// The object.
        object: String,
        /// What the parser says.
        cause: String,
    },
    /// It was written by a newer program.
    #[error(
        "`{object}` has format {format} and needs a program that reads format {min_reader}; this one reads {FORMAT}: \
         install a newer one"
    )]
    Newer {
        /// The object.
        object: String,
        /// Its format.
        format: u32,
        /// The format number a reader must know.
        min_reader: u32,
    },
    /// It needs features that this program does not have.
    #[error("`{object}` needs {}, which this program does not know: install a newer one", quoted(features))]
    Requires {
        /// The object.
        object: String,
        /// The features.
        features: Vec<String>,
    },
    /// It is larger than any manifest.
    #[error(
        "`{object}` is larger than any manifest: {MAX_FIRST} bytes before its details, {MAX_BYTES} with them"
    )]
    TooLarge {
        /// The object.
        object: String,
    },
    /// It names another run or plan than its place says.
    #[error("`{object}` is the manifest of {found}: it was moved or renamed")]
    Misplaced {
        /// The object.
        object: String,
        /// What it says it is.
        found: String,
        /// The run, if it is one of the same plan.
        run: Option<RunId>,
    },
    /// Something else took its place.
    #[error("`{object}` is no regular file, and so no manifest: look at it, and put the manifest back")]
    NoFile {
        /// The object.
        object: String,
    },
    /// It has another name than a manifest, and the manifest it is named after is not there.
    #[error(
        "`{object}` is named after run `{run}`, whose manifest is not there: rename it to that, or move it away"
    )]
    Misnamed {
        /// The object.
        object: String,
        /// The run.
        run: RunId,
    },
}

fn quoted(features: &[String]) -> String {
    features.iter().map(|feature| format!("`{feature}`")).collect::<Vec<_>>().join(", ")
}

/// What is read where the rest cannot be.
#[derive(Deserialize)]
struct Header {
    format: u32,
    min_reader: u32,
    #[serde(default)]
    requires: Vec<String>,
}

impl Manifest {
    /// Reads one. `object` is its name, for messages.
    ///
    /// # Errors
    /// See [`ManifestError`]; a newer one is told from a damaged one.
    pub fn parse(object: &str, bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge { object: object.to_owned() });
        }
        let damaged = |cause: String| ManifestError::Damaged { object: object.to_owned(), cause };
        let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
        let (first, second) = text.split_once(NEXT_DOCUMENT).unwrap_or((text, ""));
        if first.len() > MAX_FIRST {
            return Err(ManifestError::TooLarge { object: object.to_owned() });
        }
        match crate::yaml::from_str::<Manifest>(first) {
            Ok(mut manifest) => {
                admit(object, manifest.format, manifest.min_reader, &manifest.requires)?;
                manifest.second = Second::Text(second.to_owned());
                Ok(manifest)
            }
            Err(error) => {
                if let Ok(header) = crate::yaml::from_str::<Header>(first) {
                    admit(object, header.format, header.min_reader, &header.requires)?;
                }
                Err(damaged(error.to_string()))
            }
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When it would be larger than a reader takes, or cannot be written as YAML.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        let object = || format!("manifest of {}", self.run);
        let damaged =
            |error: yaml_serde::Error| ManifestError::Damaged { object: object(), cause: error.to_string() };
        let mut text = yaml_serde::to_string(self).map_err(damaged)?;
        if let Some(second) = self.second.text().filter(|second| !second.is_empty()) {
            // The first document ends with its line's end, which the separator begins with.
            text.truncate(text.trim_end_matches('\n').len());
            text.push_str(NEXT_DOCUMENT);
            text.push_str(&second);
        }
        if text.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge { object: object() });
        }
        // A backup whose manifest no reader takes is none.
        let read = Manifest::parse(&object(), text.as_bytes())?;
        match read.details() {
            Err(DetailsError::Damaged(cause)) => Err(ManifestError::Damaged { object: object(), cause }),
            Err(DetailsError::Left) => Err(ManifestError::TooLarge { object: object() }),
            Ok(_) | Err(DetailsError::Sealed) => Ok(text.into_bytes()),
        }
    }

    /// The second document, parsed, of a manifest that is not encrypted.
    ///
    /// # Errors
    /// When it is sealed, or damaged, or was not kept.
    pub fn details(&self) -> Result<Details, DetailsError> {
        self.details_with(&Keyring::default())
    }

    /// The second document, parsed; one that is sealed is opened with the first key that fits.
    ///
    /// # Errors
    /// When no key opens it, when it is damaged, or was not kept.
    pub fn details_with(&self, keys: &Keyring) -> Result<Details, DetailsError> {
        let seal = Seal { run: self.run, readers: self.recipients().len(), sha256: self.sealed.as_ref() };
        Details::parse(&self.second, &seal, keys)
    }

    /// Encrypts the details for these recipients alone, as the second document.
    ///
    /// # Errors
    /// When a recipient is none, or they cannot be written as YAML.
    pub fn seal(&mut self, details: Details, readers: &[String]) -> Result<(), DetailsError> {
        let (second, sha256) = details.into_sealed(readers, self.run)?;
        (self.second, self.sealed) = (second, Some(sha256));
        Ok(())
    }

    /// Whom anything of it is encrypted for.
    pub fn recipients(&self) -> BTreeSet<&str> {
        self.archives.iter().flat_map(|archive| &archive.recipients).map(String::as_str).collect()
    }

    /// What of this run an archive of this name rests on that has the source at the end of such a `chain`: the archive of that name,
    /// or, where it had another name then, the only one that has the source and rests on nothing but what that rests on too. Another
    /// archive of the same source has a cycle of its own.
    pub fn base_of(&self, archive: &str, source: &str, chain: &[RunId]) -> Option<&ArchiveRecord> {
        let mut holding = self.archives.iter().filter_map(|record| Some((record, record.content(source)?)));
        if let Some((own, _)) = holding.clone().find(|(record, _)| record.name == *archive) {
            return Some(own);
        }
        let (renamed, content) = holding.next()?;
        let is_alone = holding.next().is_none();
        (is_alone && content.rests_on.iter().all(|run| chain.contains(run))).then_some(renamed)
    }

    /// Every run that something of this one rests on.
    pub fn rests_on(&self) -> BTreeSet<RunId> {
        let contents = self.archives.iter().flat_map(|archive| &archive.contents);
        let archived = contents.flat_map(|content| &content.rests_on);
        archived
            .chain(self.repositories.iter().flat_map(|repository| &repository.rests_on))
            .copied()
            .collect()
    }

    /// What it says of a source.
    pub fn source(&self, source: &str) -> Option<&SourceRecord> {
        self.sources.iter().find(|record| record.name == source)
    }

    /// What it says of a cluster whose backup it holds.
    pub fn cluster(&self, source: &str) -> Option<&SourceRecord> {
        let is_it = |record: &&SourceRecord| record.kind == "postgres" && record.status == SourceStatus::Ok;
        self.source(source).filter(is_it).filter(|_| self.holds(source))
    }

    /// What this run did not find of a source.
    pub fn lacks(&self, source: &str) -> Lack {
        self.source(source).map(SourceRecord::lacks).unwrap_or_default()
    }

    /// Whether this run holds a source, with all of its paths.
    pub fn holds_all_of(&self, source: &str) -> bool {
        self.holds(source) && self.lacks(source) != Lack::Paths
    }

    /// Whether this run holds a source.
    pub fn holds(&self, source: &str) -> bool {
        self.archives.iter().any(|archive| archive.contents.iter().any(|content| content.source == source))
            || self.repositories.iter().any(|repository| repository.source == source)
    }
}

fn admit(object: &str, format: u32, min_reader: u32, requires: &[String]) -> Result<(), ManifestError> {
    if min_reader > FORMAT {
        return Err(ManifestError::Newer { object: object.to_owned(), format, min_reader });
    }
    let unknown = requires.iter().filter(|feature| !FEATURES.contains(&feature.as_str()));
    let features: Vec<String> = unknown.cloned().collect();
    if features.is_empty() {
        Ok(())
    } else {
        Err(ManifestError::Requires { object: object.to_owned(), features })
    }
}
