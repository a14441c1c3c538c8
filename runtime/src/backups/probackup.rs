//! A cluster put back by pg_probackup from its catalogue, which an artefact holds.
//!
//! The tool lays the backup down, whole for its own end. How far to recover from there is told the server as for base backups,
//! to the microsecond and on any history; what of the log is behind the backup it gets from the catalogue, by the tool.

mod held;
mod lay;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::cluster::{ClusterError, ClusterOutcome, Space, beside, file, must_be_new, no_tablespace};
use super::log::commits::Tail;
use super::restore::must_be_empty;
use super::shelf::Shelves;
use super::tool::ToolWish;
use super::window::{self, Base, Log, WindowError};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::SourceRecord;
use crate::catalog::runs::Choice;
use crate::postgres::recovery::{Point, command_word};
use crate::postgres::server::{ServerError, running};
use crate::postgres::tools;
use held::Catalogue;

/// A restore that can be shown and carried out.
pub struct CatalogueRestore<'a> {
    wish: ToolWish,
    shelves: &'a Shelves,
    /// The run whose artefact the catalogue is taken from.
    pub run: RunId,
    record: &'a SourceRecord,
    /// What the tool calls the cluster.
    instance: String,
    spaces: Vec<Space>,
    /// Whether the catalogue has log beside its backups.
    has_log: bool,
    window: String,
    target: String,
    program: String,
}

/// A backup of a source, by its run.
struct Made<'a> {
    base: Base,
    record: &'a SourceRecord,
    /// The run that made the full which it rests on.
    cycle: RunId,
}

type Found<'a> = BTreeMap<RunId, Made<'a>>;

/// Makes a restore: chooses the backup, looks at the target, writes nothing.
///
/// # Errors
/// When no backup leads to the target, a folder is in use, or the tool is not here.
pub fn plan(
    shelves: &Shelves,
    mut wish: ToolWish,
    now: Timestamp,
) -> Result<CatalogueRestore<'_>, ClusterError> {
    wish.recovery.check()?;
    has_room_of_its_own(&wish)?;
    let found = backups(shelves, &wish)?;
    let bases: Vec<Base> = found.values().map(|made| made.base.clone()).collect();
    let outside = |cause| ClusterError::Window { source_name: wish.source.clone(), cause: Box::new(cause) };
    let chosen = window::choose(&bases, Log::Archive, &wish.recovery.point, now).map_err(outside)?.clone();
    let made = found.get(&chosen.run).ok_or_else(|| outside(WindowError::None))?;
    // The last artefact that has the backup has the most of the log behind it.
    let run = found.iter().filter(|(run, other)| **run >= chosen.run && other.cycle == made.cycle);
    let run = run.map(|(run, _)| *run).max().unwrap_or(chosen.run);
    let catalogue = Catalogue::open(shelves, run, &wish.source)?;
    let instance = catalogue.instance_of(label(made.record))?;
    let has_log = catalogue.has_log(&instance)?;
    let log = if has_log { Log::Archive } else { Log::Own };
    let window = window::window(&bases, log).map_err(outside)?.to_string();
    if !has_log && !matches!(wish.recovery.point, Point::Latest | Point::Immediate) {
        return Err(ClusterError::Tool(format!(
            "source `{}`: {} cannot be reached, as the catalogue of run {run} holds no write-ahead log beside its backups: {window}",
            wish.source, wish.recovery.point
        )));
    }
    let spaces = spaces(&wish, &catalogue.tablespaces(&instance, label(made.record))?, has_log)?;
    let program = tools::find("pg_probackup").map_err(|error| ClusterError::Tool(error.to_string()))?;
    let target = wish.recovery.settle(&chosen, Tail::Unknown);
    let record = made.record;
    let mut restore =
        CatalogueRestore { wish, shelves, run, record, instance, spaces, has_log, window, target, program };
    restore.wish.recovery.restore_command = restore.fetch()?;
    Ok(restore)
}

/// Nothing is where the cluster, its catalogue or its server's files are to be.
fn has_room_of_its_own(wish: &ToolWish) -> Result<(), ClusterError> {
    if let Some(pid) = running(&wish.to).map_err(file(&wish.to))? {
        return Err(ClusterError::InUse(ServerError::Runs { data: wish.to.clone(), pid }));
    }
    must_be_empty(&wish.to)?;
    must_be_new(&wish.to, &wish.then)?;
    let catalogue = catalogue_beside(wish);
    match catalogue.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // It goes once the cluster is laid down, so that nothing else may be in it.
        Ok(_) => Err(ClusterError::Tool(format!(
            "`{}` is there, as an earlier restore leaves the catalogue that its server recovers from: remove it, or restore into another folder",
            catalogue.display()
        ))),
        Err(error) => Err(file(&catalogue)(error)),
    }
}

/// Where the catalogue is unpacked.
fn catalogue_beside(wish: &ToolWish) -> PathBuf {
    let mut path = wish.to.clone().into_os_string();
    path.push(".catalogue");
    path.into()
}

/// The backups of a source that recovery may begin from. Of a run that is named: those that its artefact holds.
fn backups<'a>(shelves: &'a Shelves, wish: &ToolWish) -> Result<Found<'a>, ClusterError> {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    let runs: BTreeMap<RunId, _> = runs.map(|run| (run.run, run)).collect();
    let (mut found, mut cycle) = (BTreeMap::new(), None);
    for (id, run) in runs {
        let record = run.cluster(&wish.source);
        let Some(record) = record.filter(|record| record.labels().driver.as_deref() == Some("probackup"))
        else {
            continue;
        };
        if record.labels().kind.as_deref() == Some("FULL") {
            cycle = Some(id);
        }
        let base = Base::of(id, record.labels(), run.finished);
        found.insert(id, Made { base, record, cycle: *cycle.get_or_insert(id) });
    }
    if let Some(run) = &wish.run {
        let wanted = shelves.choose(&Choice::Id(run.clone()), None)?.1.run;
        let cycle = found.get(&wanted).map(|made| made.cycle);
        found.retain(|id, made| *id <= wanted && Some(made.cycle) == cycle);
    }
    Ok(found)
}

/// Where its tablespaces go: as asked, else beside the data directory.
fn spaces(
    wish: &ToolWish,
    found: &BTreeMap<String, PathBuf>,
    has_log: bool,
) -> Result<Vec<Space>, ClusterError> {
    let beside = beside(&wish.to);
    let spaces: Vec<Space> = (found.iter())
        .map(|(oid, was)| {
            let asked = wish.tablespaces.iter().find(|(old, _)| old == was);
            let to = asked.map_or_else(|| beside.join(oid), |(_, new)| new.clone());
            Space { oid: oid.clone(), was: was.clone(), to }
        })
        .collect();
    spaces.iter().try_for_each(|space| must_be_empty(&space.to))?;
    match wish.tablespaces.iter().find(|(old, _)| !spaces.iter().any(|space| space.was == *old)) {
        // What the backup lacks, the log may make.
        Some((asked, _)) if !has_log => Err(no_tablespace(asked, &spaces)),
        _ => Ok(spaces),
    }
}

fn label(record: &SourceRecord) -> &str {
    record.labels().label.as_deref().unwrap_or_default()
}

impl CatalogueRestore<'_> {
    /// What it would do; touches nothing.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn preview(&self) -> Result<ClusterOutcome, ClusterError> {
        Ok(self.outline())
    }

    /// Bytes that it takes at its height: the catalogue, and the cluster.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn room(&self) -> Result<u64, ClusterError> {
        let held = self.shelves.held(&Choice::Id(self.run.to_string()), Some(&self.wish.source))?;
        let wish = super::restore::RestoreWish::of(&self.wish.source, &self.catalogue());
        let packed = super::restore::plan(&held, &wish)?.preview()?.bytes;
        Ok(packed.saturating_add(self.outline().bytes))
    }

    fn catalogue(&self) -> PathBuf {
        catalogue_beside(&self.wish)
    }

    fn outline(&self) -> ClusterOutcome {
        let mut settings = vec![("backup".to_owned(), label(self.record).to_owned())];
        if self.has_log {
            settings.push(("log".to_owned(), self.catalogue().display().to_string()));
        }
        ClusterOutcome {
            run: self.run.to_string(),
            data: self.wish.to.clone(),
            tablespaces: self.spaces.iter().map(|space| (space.was.clone(), space.to.clone())).collect(),
            target: self.target.clone(),
            window: self.window.clone(),
            settings,
            archives: self.wish.recovery.archives,
            bytes: self.record.labels().database_bytes.unwrap_or_default(),
            ..ClusterOutcome::default()
        }
    }

    /// The command by which the server gets what of the log is behind the backup.
    fn fetch(&self) -> Result<Option<String>, ClusterError> {
        let recovery = &self.wish.recovery;
        if !self.has_log {
            // A server that is to stop somewhere, or to archive on a history of its own, wants a command.
            let wants_one = recovery.archives || recovery.point == Point::Immediate;
            return Ok(wants_one.then(|| "false".to_owned()));
        }
        let absolute = |path: PathBuf| std::path::absolute(&path).map_err(file(&path));
        let words = [
            absolute(PathBuf::from(&self.program))?.display().to_string(),
            "archive-get".to_owned(),
            format!("--backup-path={}", absolute(self.catalogue())?.display()),
            format!("--instance={}", self.instance),
        ];
        let words: Vec<String> = words.iter().map(|word| command_word(word)).collect();
        let log = absolute(self.catalogue())?.join("wal").join(&self.instance);
        let log = command_word(&log.display().to_string());
        // The tool has one status for what is not there and for what it cannot read. The first is the end of the log to Postgres, and
        // the second is not to be.
        Ok(Some(format!(
            "{} --wal-file-path=%p --wal-file-name=%f && exit 0; [ -e {log}/%f ] || [ -e {log}/%f.gz ] && exit 126; exit 1",
            words.join(" ")
        )))
    }

    /// The folder of the programs of the cluster's server.
    ///
    /// # Errors
    /// [`ClusterError::NoServer`].
    pub fn programs(&self) -> Result<PathBuf, ClusterError> {
        let version = self.record.labels().server_version.as_deref().unwrap_or_default();
        tools::major(version)
            .and_then(tools::server)
            .ok_or_else(|| ClusterError::NoServer(version.to_owned()))
    }
}
