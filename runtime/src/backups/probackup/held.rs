//! What the catalogue in an artefact holds, as the artefact's index tells it. Names in it are input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::BackupsError;
use super::super::chain::Chain;
use super::super::cluster::ClusterError;
use super::super::shelf::Shelves;
use crate::artefact::Kind;
use crate::catalog::ids::RunId;
use crate::catalog::names::ToolName;
use crate::catalog::runs::Choice;
use crate::control::Control;
use crate::wal::name::{Segment, WalName};

/// Bytes that the list of a cluster's tablespaces may have.
const MAP_BYTES: u64 = 1 << 20;

/// The catalogue in an artefact.
pub(super) struct Catalogue<'a> {
    chain: Chain<'a>,
    source: String,
    run: RunId,
}

impl<'a> Catalogue<'a> {
    /// That of a run.
    pub(super) fn open(
        shelves: &'a Shelves,
        run: RunId,
        source: &str,
    ) -> Result<Catalogue<'a>, ClusterError> {
        let held = shelves.held(&Choice::Id(run.to_string()), Some(source))?;
        let chain = held.chains(&|name| name == source)?.pop();
        let chain = chain
            .ok_or_else(|| ClusterError::NotHeld { run: run.to_string(), source_name: source.to_owned() })?;
        Ok(Catalogue { chain, source: source.to_owned(), run })
    }

    /// The instance that has the backup of this name.
    pub(super) fn instance_of(&self, label: &str) -> Result<String, ClusterError> {
        let backups = format!("{}/backups", self.source);
        for live in self.chain.view.below(backups.as_bytes()) {
            let entry = live.map_err(|error| self.chain.error(error))?.entry;
            let path = String::from_utf8_lossy(&entry.path);
            let below = path.strip_prefix(&backups).and_then(|below| below.strip_prefix('/'));
            let Some((instance, backup)) = below.and_then(|below| below.split_once('/')) else { continue };
            if entry.kind == Kind::Directory && backup == label {
                let name = ToolName::try_from(instance.to_owned());
                return name.map(String::from).map_err(|error| ClusterError::Tool(error.to_string()));
            }
        }
        Err(ClusterError::Tool(format!(
            "the catalogue of run {} has no backup `{label}`, which its manifest names",
            self.run
        )))
    }

    /// Whether segments of the log lie beside the backups.
    pub(super) fn has_log(&self, instance: &str) -> Result<bool, BackupsError> {
        let log = format!("{}/wal/{instance}", self.source);
        for live in self.chain.view.below(log.as_bytes()) {
            let entry = live.map_err(|error| self.chain.error(error))?.entry;
            let path = String::from_utf8_lossy(&entry.path);
            let name = path.strip_prefix(&log).and_then(|below| below.strip_prefix('/'));
            if entry.kind == Kind::File && name.and_then(segment).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The tablespaces of a backup: their numbers, and where they were.
    pub(super) fn tablespaces(
        &self,
        instance: &str,
        label: &str,
    ) -> Result<BTreeMap<String, PathBuf>, ClusterError> {
        let path = format!("{}/backups/{instance}/{label}/database/tablespace_map", self.source);
        let found = self.chain.view.find(path.as_bytes()).map_err(|error| self.chain.error(error))?;
        let Some(live) = found else { return Ok(BTreeMap::new()) };
        let mut text = Vec::new();
        if live.entry.kind != Kind::File || live.entry.size > MAP_BYTES {
            return Err(ClusterError::Tool(format!(
                "`{path}` of run {} is no list of tablespaces",
                self.run
            )));
        }
        let read = self.chain.view.cat(&live, &mut text, &Control::default());
        read.map_err(|error| self.chain.error(error))?;
        map(&text)
            .ok_or_else(|| ClusterError::Tool(format!("`{path}` of run {} cannot be understood", self.run)))
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
