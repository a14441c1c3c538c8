//! How far the archived log leads beyond base backups: for `status`, and for whoever chooses a base to recover from.

use std::collections::BTreeMap;

use backplan_compiler::model::{Model, StoreKind, Wal};
use jiff::Timestamp;
use serde::Serialize;

use super::shelf::{Shelf, Shelves};
use super::window::{self, Span};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::Manifest;
use crate::control::{Control, Stopped};
use crate::postgres::recovery::Lsn;
use crate::wal::WalError;
use crate::wal::archive::{self, Archive};
use crate::wal::cluster::ClusterId;
use crate::wal::expiry::Base;
use crate::wal::name::{Segment, WalName};
use crate::wal::survey::{Reach, Survey};

/// The archives of one source's log, taken together: what one misses, another may have.
pub struct Log {
    archives: Vec<Archive>,
    surveys: BTreeMap<ClusterId, Survey>,
}

/// How far recovery from a base leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// The last moment: that of the archiving of the last segment, or the end of the base itself.
    pub until: Timestamp,
    /// The end of the last segment.
    pub end: Lsn,
    /// The first segment that is missing before others.
    pub hole: Option<Segment>,
}

impl Log {
    /// Reads what the archives have.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn read(archives: Vec<Archive>) -> Result<Log, WalError> {
        let mut surveys: BTreeMap<ClusterId, Survey> = BTreeMap::new();
        for archive in &archives {
            for cluster in archive.clusters()? {
                let found = Survey::of(archive, &cluster)?;
                match surveys.get_mut(&cluster) {
                    Some(survey) => survey.add(found),
                    None => drop(surveys.insert(cluster, found)),
                }
            }
        }
        Ok(Log { archives, surveys })
    }

    /// How far recovery from a base leads, to the newest timeline or the one that is wanted.
    ///
    /// # Errors
    /// When the last segment does not say when it was archived.
    pub fn lead(&self, base: &Base, timeline: Option<u32>) -> Result<Lead, WalError> {
        let own = Lead { until: base.ended, end: base.stop, hole: None };
        let Some(survey) = self.surveys.get(&base.cluster) else { return Ok(own) };
        let Reach { last, hole } = survey.reach(base.timeline, base.stop, timeline);
        let Some(last) = last else { return Ok(Lead { hole, ..own }) };
        let (name, mut archived) = (WalName::Segment(last), None);
        for archive in &self.archives {
            if let Some(size) = archive.size(&base.cluster, name)? {
                let closing = archive.closing(&base.cluster, name, size)?;
                archived = archived.max(Some(closing.archived));
            }
        }
        let until = archived.unwrap_or(base.ended).max(base.ended);
        Ok(Lead { until, end: last.end(survey.bytes), hole })
    }

    /// Segments of all clusters, and the bytes they take.
    pub fn size(&self) -> (usize, u64) {
        self.surveys.values().fold((0, 0), |all, one| (all.0 + one.segments.len(), all.1 + one.size))
    }
}

/// How a source's archived log stands.
#[derive(Debug, Clone, Serialize)]
pub struct LogStanding {
    /// The source.
    pub source: String,
    /// From when to when it can be recovered to any moment.
    pub windows: Vec<Span>,
    /// Segments in its archives, each counted once.
    pub segments: usize,
    /// Bytes that they take.
    pub size: u64,
    /// What keeps recovery from going further, or from being told.
    pub problems: Vec<String>,
}

/// The archives of a `wal` block, and why others cannot be opened.
pub fn archives(model: &Model, wal: &Wal) -> (Vec<Archive>, Vec<String>) {
    let source = &model.source(wal.source).name;
    let (mut open, mut unread) = (Vec::new(), Vec::new());
    for id in &wal.to {
        let store = model.store(*id);
        match &store.kind {
            StoreKind::Dir { path } => match Archive::open(&store.name, path, &model.name, source) {
                Ok(archive) => open.push(archive),
                Err(error) => unread.push(error.to_string()),
            },
            _ => unread.push(format!("store `{}` is not a folder", store.name)),
        }
    }
    (open, unread)
}

/// The archives of logs that a store has beside a plan's backups, by source; of one that cannot be opened, why.
pub fn archives_in(shelf: &Shelf) -> Vec<Result<(String, Archive), CheckedLog>> {
    let Some(root) = &shelf.root else { return Vec::new() };
    let plan = shelf.layout.plan();
    let sources = std::fs::read_dir(root.join(archive::HOME).join(plan)).into_iter().flatten().flatten();
    let mut names: Vec<String> = sources.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let open = |source: String| {
        let label = shelf.store.label();
        match Archive::open(label, root, plan, &source) {
            Ok(archive) => Ok((source, archive)),
            Err(error) => {
                Err(CheckedLog { store: label.to_owned(), source, files: 0, damage: vec![error.to_string()] })
            }
        }
    };
    names.into_iter().map(open).collect()
}

/// The base backups of a source, of all stores.
pub fn bases(shelves: &Shelves, source: &str) -> BTreeMap<RunId, Base> {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    runs.filter_map(|run: &Manifest| Some((run.run, Base::of(run, source)?))).collect()
}

/// How the log of a `wal` block stands.
pub fn standing(model: &Model, shelves: &Shelves, wal: &Wal) -> LogStanding {
    let source = model.source(wal.source).name.clone();
    let (open, problems) = archives(model, wal);
    let mut standing = LogStanding { windows: Vec::new(), segments: 0, size: 0, problems, source };
    let bases = bases(shelves, &standing.source);
    let read = Log::read(open).and_then(|log| {
        (standing.segments, standing.size) = log.size();
        bases
            .values()
            .map(|base| Ok((base.ended, log.lead(base, None)?)))
            .collect::<Result<Vec<_>, WalError>>()
    });
    match read {
        Ok(leads) => {
            let mut holes: Vec<Segment> = leads.iter().filter_map(|(_, lead)| lead.hole).collect();
            holes.sort();
            holes.dedup();
            let told =
                holes.iter().map(|hole| format!("segment `{hole}` is missing: recovery stops before it"));
            standing.problems.extend(told);
            standing.windows = window::spans(leads.into_iter().map(|(from, lead)| (from, lead.until)));
        }
        Err(error) => standing.problems.push(error.to_string()),
    }
    standing
}

/// What a check of the log in one store found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckedLog {
    /// The store.
    pub store: String,
    /// The source.
    pub source: String,
    /// Files that were read to their last byte.
    pub files: usize,
    /// What is wrong, by file.
    pub damage: Vec<String>,
}

/// Reads every file of an archived log, or those that a base backup's recovery needs, and sees that each decodes to what was
/// archived, and that none is missing between them.
///
/// # Errors
/// Only when asked to stop.
pub fn check(
    archive: &Archive,
    source: &str,
    from: Option<&Base>,
    control: &Control,
) -> Result<CheckedLog, Stopped> {
    let mut checked =
        CheckedLog { store: archive.label.clone(), source: source.to_owned(), files: 0, damage: Vec::new() };
    let clusters = match archive.clusters() {
        Ok(clusters) => clusters,
        Err(error) => {
            checked.damage.push(error.to_string());
            return Ok(checked);
        }
    };
    for cluster in clusters.iter().filter(|cluster| from.is_none_or(|base| base.cluster == **cluster)) {
        let files = match archive.list(cluster) {
            Ok(files) => files,
            Err(error) => {
                checked.damage.push(error.to_string());
                continue;
            }
        };
        let is_needed = |name: &WalName| match (name, from) {
            (WalName::Segment(segment), Some(base)) => segment.place() >= base.first.place(),
            _ => true,
        };
        for (name, size) in files.iter().filter(|(name, _)| is_needed(name)) {
            control.check()?;
            checked.files += 1;
            if let Err(error) = archive.read(cluster, *name, *size, |_| Ok(())) {
                checked.damage.push(error.to_string());
            }
        }
        let found = Survey::of(archive, cluster)
            .map(|survey| from.map(|base| survey.reach(base.timeline, base.stop, None)));
        match found {
            Ok(Some(Reach { hole: Some(hole), .. })) => {
                checked.damage.push(format!("segment `{hole}` is missing: recovery stops before it"));
            }
            Ok(_) => {}
            Err(error) => checked.damage.push(error.to_string()),
        }
    }
    checked.damage.dedup();
    Ok(checked)
}
