//! What a catalogue holds: one in an artefact as the artefact's index tells it, one in a store's folder as it lies there. Names in
//! it are input.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::cluster::{ClusterError, file};
use crate::artefact::Kind;
use crate::backups::BackupsError;
use crate::backups::chain::Chain;
use crate::backups::shelf::Shelves;
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::catalog::names::ToolName;
use crate::catalog::runs::Choice;
use crate::control::Control;
use crate::postgres::wal::name::{Segment, WalName};
use crate::regular;

/// Bytes that the list of a cluster's tablespaces may have.
const MAP_BYTES: u64 = 1 << 20;

/// A catalogue that is looked into before its tool is.
pub(super) enum Catalogue<'a> {
    /// In an artefact.
    Packed(Packed<'a>),
    /// In the folder of a store.
    Kept(PathBuf),
}

/// The catalogue in an artefact.
pub(super) struct Packed<'a> {
    chain: Chain<'a>,
    source: String,
    run: RunId,
}

impl<'a> Packed<'a> {
    /// That of a run.
    pub(super) fn open(shelves: &'a Shelves, run: RunId, source: &str) -> Result<Packed<'a>, ClusterError> {
        let held = shelves.held(&Choice::Id(run.to_string()), Some(source))?;
        let chain = held.chains(&|name| name == source)?.pop();
        let chain = chain
            .ok_or_else(|| ClusterError::NotHeld { run: run.to_string(), source_name: source.to_owned() })?;
        Ok(Packed { chain, source: source.to_owned(), run })
    }

    /// The names below a folder of it, with the path that leads there.
    fn below(&self, folder: &str) -> Result<Vec<(String, Kind)>, BackupsError> {
        let folder = format!("{}/{folder}", self.source);
        let mut found = Vec::new();
        for live in self.chain.view.below(folder.as_bytes()) {
            let entry = live.map_err(|error| self.chain.error(error))?.entry;
            let path = String::from_utf8_lossy(&entry.path);
            let name = path.strip_prefix(&folder).and_then(|below| below.strip_prefix('/'));
            found.extend(name.map(|name| (name.to_owned(), entry.kind)));
        }
        Ok(found)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, ClusterError> {
        let path = format!("{}/{path}", self.source);
        let found = self.chain.view.find(path.as_bytes()).map_err(|error| self.chain.error(error))?;
        let Some(live) = found else { return Ok(None) };
        let mut text = Vec::new();
        if live.entry.kind != Kind::File || live.entry.size > MAP_BYTES {
            return Err(ClusterError::Tool(format!(
                "`{path}` of run {} is no list of tablespaces",
                self.run
            )));
        }
        let read = self.chain.view.cat(&live, &mut text, &Control::default());
        read.map_err(|error| self.chain.error(error))?;
        Ok(Some(text))
    }

    /// The instance that has the backup of this name.
    fn instance_of(&self, label: &str) -> Result<String, ClusterError> {
        for (path, kind) in self.below("backups")? {
            let Some((instance, backup)) = path.split_once('/') else { continue };
            if kind == Kind::Directory && backup == label {
                let name = ToolName::try_from(instance.to_owned());
                return name.map(String::from).map_err(|error| ClusterError::Tool(error.to_string()));
            }
        }
        Err(ClusterError::Tool(format!(
            "the catalogue of run {} has no backup `{label}`, which its manifest names",
            self.run
        )))
    }
}

impl Catalogue<'_> {
    /// The instance that has the backup of a record.
    pub(super) fn instance_of(&self, labels: &Labels) -> Result<String, ClusterError> {
        let label = labels.label.as_deref().unwrap_or_default();
        let folder = match self {
            Catalogue::Packed(packed) => return packed.instance_of(label),
            Catalogue::Kept(folder) => folder,
        };
        let instance = labels.stanza.clone().unwrap_or_default();
        match folder.join("backups").join(&instance).join(label).is_dir() {
            true if !label.is_empty() && !instance.is_empty() => Ok(instance),
            _ if !folder.is_dir() => {
                let cause = io::Error::new(io::ErrorKind::NotFound, "the repository is not there");
                Err(file(folder)(cause))
            }
            _ => Err(ClusterError::Tool(format!(
                "the catalogue `{}` has no backup `{label}`, which its manifest names",
                folder.display()
            ))),
        }
    }

    /// Whether segments of the log lie beside the backups.
    pub(super) fn has_log(&self, instance: &str) -> Result<bool, ClusterError> {
        let log = format!("wal/{instance}");
        let folder = match self {
            Catalogue::Packed(packed) => {
                let names = packed.below(&log)?;
                return Ok(names.iter().any(|(name, kind)| *kind == Kind::File && segment(name).is_some()));
            }
            Catalogue::Kept(folder) => folder.join(log),
        };
        let names = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            names => names.map_err(file(&folder))?,
        };
        Ok(names.flatten().any(|entry| entry.file_name().to_str().and_then(segment).is_some()))
    }

    /// The tablespaces of a backup: their numbers, and where they were.
    pub(super) fn tablespaces(
        &self,
        instance: &str,
        label: &str,
    ) -> Result<BTreeMap<String, PathBuf>, ClusterError> {
        let path = format!("backups/{instance}/{label}/database/tablespace_map");
        let text = match self {
            Catalogue::Packed(packed) => packed.read(&path)?,
            Catalogue::Kept(folder) => match regular::read_text(&folder.join(&path)) {
                Ok(text) => Some(text.into_bytes()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(cause) => return Err(file(&folder.join(&path))(cause)),
            },
        };
        let Some(text) = text else { return Ok(BTreeMap::new()) };
        map(&text)
            .ok_or_else(|| ClusterError::Tool(format!("`{path}` of the catalogue cannot be understood")))
    }
}

/// A line for each: its number, a space, and its path.
fn map(text: &[u8]) -> Option<BTreeMap<String, PathBuf>> {
    let lines = std::str::from_utf8(text).ok()?.lines().filter(|line| !line.is_empty());
    let pair = |line: &str| {
        let (oid, path) = line.split_once(' ')?;
        let is_number = !oid.is_empty() && oid.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && Path::new(path).is_absolute()).then(|| (oid.to_owned(), PathBuf::from(path)))
    };
    lines.map(pair).collect()
}

/// The segment that a file of the log is: pg_probackup may have compressed it.
pub(super) fn segment(name: &str) -> Option<Segment> {
    match name.strip_suffix(".gz").unwrap_or(name).parse() {
        Ok(WalName::Segment(segment)) => Some(segment),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{map, segment};

    #[test]
    fn tablespaces_have_numbers_and_absolute_places() {
        let found = map(b"16385 /srv/a b\n16386 /srv/c\n").unwrap();
        assert_eq!(found["16385"].to_str(), Some("/srv/a b"));
        assert_eq!(found.len(), 2);
        for bad in ["16385 srv/a\n", "../x /srv/a\n", "16385\n"] {
            assert!(map(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn segments_may_be_compressed() {
        assert!(segment("000000010000000000000003.gz").is_some());
        assert!(segment("000000010000000000000003").is_some());
        assert!(segment("000000010000000000000003.gz.part").is_none());
        assert!(segment("00000002.history").is_none());
    }
}
