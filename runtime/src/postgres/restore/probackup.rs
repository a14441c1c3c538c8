//! A cluster put back by pg_probackup from its catalogue: from the one in a store that its source is kept in, or from one that an
//! artefact holds.
//!
//! The tool lays the backup down, whole for its own end. How far to recover from there is told the server as for base backups,
//! to the microsecond and on any history; what of the log is behind the backup it gets from the catalogue, by the tool.

mod behind;
mod held;
mod lay;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::PutBack;
use super::cluster::{ClusterError, ClusterOutcome, Space, beside, file, must_be_new, no_tablespace};
use super::tool::{Sight, ToolWish, stores_of};
use super::window::{self, Base, Log, WindowError};
use crate::backups::restore::must_be_empty;
use crate::backups::shelf::Shelves;
use crate::catalog::ids::RunId;
use crate::catalog::manifest::{Manifest, SourceRecord};
use crate::catalog::runs::Choice;
use crate::control::Control;
use crate::postgres::recovery::{Point, command_word};
use crate::postgres::server::ServerError;
use crate::postgres::tools;
use crate::postgres::wal::lsn::Lsn;
use crate::programs::postmaster::running;
use behind::Behind;
use held::{Catalogue, Packed};

/// A restore that can be shown and carried out.
pub struct CatalogueRestore<'a> {
    wish: ToolWish,
    shelves: &'a Shelves,
    /// The run whose backup is taken; of a catalogue in artefacts, the one whose artefact it is taken from.
    pub run: RunId,
    record: &'a SourceRecord,
    /// The catalogue in a store's folder; `None`: it is unpacked.
    kept: Option<PathBuf>,
    /// What the tool calls the cluster.
    instance: String,
    spaces: Vec<Space>,
    /// Whether the catalogue has log beside its backups.
    has_log: bool,
    /// Where that ends, where it is known and followed to there.
    end: Option<Lsn>,
    window: String,
    target: String,
    program: String,
    /// Timelines that go on beside the one that is followed, where none was asked for, and catalogues that could not be used.
    pub apart: Vec<String>,
}

/// A backup of a source, by its run.
struct Made<'a> {
    base: Base,
    record: &'a SourceRecord,
    manifest: &'a Manifest,
    /// The run that made the full which it rests on.
    cycle: RunId,
    /// The catalogue that it is in, where that is kept apart.
    kept: Option<PathBuf>,
}

type Found<'a> = BTreeMap<RunId, Made<'a>>;

/// Makes a restore: chooses the backup, looks at the target, writes nothing.
///
/// # Errors
/// When no backup leads to the target, a folder is in use, or the tool is not here.
pub fn plan(shelves: &Shelves, wish: ToolWish, now: Timestamp) -> Result<CatalogueRestore<'_>, ClusterError> {
    wish.recovery.check()?;
    has_room_of_its_own(&wish)?;
    let places = stores_of(shelves, &wish.source);
    if places.is_empty() {
        return plan_from(Sight { shelves, from: None }, wish, now);
    }
    let (mut best, mut unused): (Option<CatalogueRestore<'_>>, Vec<String>) = (None, Vec::new());
    let mut first = None;
    for from in places {
        // The first that leads to what is wanted is taken; where that is the end, the one that leads further.
        if best.is_some() && wish.recovery.point != Point::Latest {
            break;
        }
        match plan_from(Sight { shelves, from: Some(from) }, wish.clone(), now) {
            Ok(other) if best.as_ref().is_none_or(|best| other.leads_to() > best.leads_to()) => {
                best = Some(other);
            }
            Ok(_) => {}
            Err(why) => {
                // One that never had what is asked for is in order.
                if !matches!(why, ClusterError::Window { .. }) {
                    unused.push(format!("the catalogue in store `{from}` cannot be used for it: {why}"));
                }
                first = first.or(Some(why));
            }
        }
    }
    match (best, first) {
        (Some(mut best), _) => {
            best.apart.extend(unused);
            Ok(best)
        }
        (None, Some(why)) => Err(why),
        (None, None) => Err(ClusterError::Tool("no store has it".to_owned())),
    }
}

/// The same from what one store has.
fn plan_from(
    sight: Sight<'_>,
    mut wish: ToolWish,
    now: Timestamp,
) -> Result<CatalogueRestore<'_>, ClusterError> {
    let shelves = sight.shelves;
    let mut found = backups(sight, &wish)?;
    let log = Behind::read(&wish, &mut found)?;
    let bases: Vec<Base> = found.values().map(|made| made.base.clone()).collect();
    let outside = |cause| ClusterError::Window { source_name: wish.source.clone(), cause: Box::new(cause) };
    let chosen = window::choose(&bases, Log::Archive, &wish.recovery.point, now).map_err(outside)?.clone();
    let made = found.get(&chosen.run).ok_or_else(|| outside(WindowError::None))?;
    let (run, catalogue) = match &made.kept {
        Some(kept) => (chosen.run, Catalogue::Kept(kept.clone())),
        None => {
            let run = last_of_cycle(&found, chosen.run, made.cycle);
            (run, Catalogue::Packed(Packed::open(shelves, run, &wish.source)?))
        }
    };
    let instance = catalogue.instance_of(made.record.labels())?;
    let has_log = catalogue.has_log(&instance)?;
    let window = window::window(&bases, if has_log { Log::Archive } else { Log::Own });
    let window = window.map_err(outside)?.to_string();
    if !has_log && !matches!(wish.recovery.point, Point::Latest | Point::Immediate) {
        return Err(ClusterError::Tool(format!(
            "source `{}`: {} cannot be reached, as the catalogue of run {run} holds no write-ahead log beside its backups: {window}",
            wish.source, wish.recovery.point
        )));
    }
    let spaces = spaces(&wish, &catalogue.tablespaces(&instance, label(made.record))?, has_log)?;
    let program = tools::find("pg_probackup").map_err(|error| ClusterError::Tool(error.to_string()))?;
    let target = wish.recovery.settle(&chosen, log.tail(&wish, &chosen, made));
    let apart = log.apart(&wish, &chosen)?;
    let (record, kept) = (made.record, made.kept.as_deref().map(absolute).transpose()?);
    if kept.is_none() {
        has_room_for_catalogue(&wish)?;
    }
    let end = chosen.reach.map(|reach| reach.end);
    let mut restore = CatalogueRestore {
        wish,
        shelves,
        run,
        record,
        kept,
        instance,
        spaces,
        has_log,
        end,
        window,
        target,
        program,
        apart,
    };
    restore.wish.recovery.restore_command = restore.fetch()?;
    Ok(restore)
}

/// The last artefact that has a backup has the most of the log behind it.
fn last_of_cycle(found: &Found<'_>, chosen: RunId, cycle: RunId) -> RunId {
    let later =
        found.iter().filter(|(run, other)| **run >= chosen && other.cycle == cycle && other.kept.is_none());
    later.map(|(run, _)| *run).max().unwrap_or(chosen)
}

/// Nothing is where the cluster or its server's files are to be.
fn has_room_of_its_own(wish: &ToolWish) -> Result<(), ClusterError> {
    if let Some(pid) = running(&wish.to).map_err(file(&wish.to))? {
        return Err(ClusterError::InUse(ServerError::Runs { data: wish.to.clone(), pid }));
    }
    must_be_empty(&wish.to)?;
    must_be_new(&wish.to, &wish.then)
}

/// The same of the catalogue, where it is unpacked.
fn has_room_for_catalogue(wish: &ToolWish) -> Result<(), ClusterError> {
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

/// Where a catalogue of an artefact is unpacked.
fn catalogue_beside(wish: &ToolWish) -> PathBuf {
    let mut path = wish.to.clone().into_os_string();
    path.push(".catalogue");
    path.into()
}

fn absolute(path: &Path) -> Result<PathBuf, ClusterError> {
    std::path::absolute(path).map_err(file(path))
}

/// The backups of a source that recovery may begin from. Of a run that is named: its own where its catalogue is kept apart, else those
/// that its artefact holds.
fn backups<'a>(sight: Sight<'a>, wish: &ToolWish) -> Result<Found<'a>, ClusterError> {
    let runs: BTreeMap<RunId, _> =
        sight.runs(&wish.source).map(|(shelf, run)| (run.run, (shelf, run))).collect();
    let (mut found, mut cycle) = (BTreeMap::new(), None);
    for (id, (shelf, run)) in runs {
        let record = run.cluster(&wish.source);
        let Some(record) = record.filter(|record| record.labels().driver.as_deref() == Some("probackup"))
        else {
            continue;
        };
        let own = run.repositories.iter().find(|own| own.source == wish.source);
        let kept = own.and_then(|own| {
            let root = wish.roots.get(shelf.store.label())?;
            Some(root.join(own.settings.get("path").filter(|_| !own.settings.contains_key("type"))?))
        });
        if own.is_some() && kept.is_none() {
            continue;
        }
        if record.labels().kind.as_deref() == Some("FULL") {
            cycle = Some(id);
        }
        let base = Base::of(id, record.labels(), run.finished);
        let cycle = *cycle.get_or_insert(id);
        found.insert(id, Made { base, record, manifest: run, cycle, kept });
    }
    if let Some(run) = &wish.run {
        let wanted = sight.shelves.choose(&Choice::Id(run.clone()), None)?.1.run;
        let asked = found.get(&wanted).map(|made| (made.cycle, made.kept.is_some()));
        found.retain(|id, made| match asked {
            Some((cycle, false)) => *id <= wanted && made.cycle == cycle && made.kept.is_none(),
            Some((_, true)) => *id == wanted,
            None => false,
        });
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

impl PutBack for CatalogueRestore<'_> {
    fn run(&self) -> RunId {
        self.run
    }

    fn apart(&self) -> &[String] {
        &self.apart
    }

    fn server_version(&self) -> &str {
        self.record.labels().server_version.as_deref().unwrap_or_default()
    }

    fn preview(&self) -> Result<ClusterOutcome, ClusterError> {
        Ok(self.outline())
    }

    /// The catalogue, and the cluster.
    fn room(&self) -> Result<u64, ClusterError> {
        if self.kept.is_some() {
            return Ok(self.outline().bytes);
        }
        let held = self.shelves.held(&Choice::Id(self.run.to_string()), Some(&self.wish.source))?;
        let wish = crate::backups::restore::RestoreWish::of(&self.wish.source, &self.catalogue());
        let packed = crate::backups::restore::plan(&held, &wish)?.preview()?.bytes;
        Ok(packed.saturating_add(self.outline().bytes))
    }

    fn carry_out(&self, control: &Control) -> Result<ClusterOutcome, ClusterError> {
        self.lay_down(control)
    }
}

impl CatalogueRestore<'_> {
    fn catalogue(&self) -> PathBuf {
        self.kept.clone().unwrap_or_else(|| catalogue_beside(&self.wish))
    }

    /// How far it leads, as against another: to the end of the log where that is known, and by which run.
    fn leads_to(&self) -> (Option<Lsn>, RunId) {
        (self.end, self.run)
    }

    fn outline(&self) -> ClusterOutcome {
        let mut settings = vec![("backup".to_owned(), label(self.record).to_owned())];
        if let Some(kept) = &self.kept {
            settings.insert(0, ("repository".to_owned(), kept.display().to_string()));
        } else if self.has_log {
            settings.push(("log".to_owned(), self.catalogue().display().to_string()));
        }
        ClusterOutcome {
            run: self.run.to_string(),
            data: self.wish.to.clone(),
            tablespaces: self.spaces.iter().map(|space| (space.was.clone(), space.to.clone())).collect(),
            target: self.target.clone(),
            window: self.window.clone(),
            warnings: self.apart.clone(),
            log_end: self.end.filter(|_| self.wish.recovery.point == Point::Latest),
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
        let words = [
            absolute(Path::new(&self.program))?.display().to_string(),
            "archive-get".to_owned(),
            format!("--backup-path={}", absolute(&self.catalogue())?.display()),
            format!("--instance={}", self.instance),
        ];
        let words: Vec<String> = words.iter().map(|word| command_word(word)).collect();
        let log = absolute(&self.catalogue())?.join("wal").join(&self.instance);
        let log = command_word(&log.display().to_string());
        // The tool has one status for what is not there and for what it cannot read. The first is the end of the log to Postgres, and
        // the second is not to be.
        Ok(Some(format!(
            "{} --wal-file-path=%p --wal-file-name=%f && exit 0; [ -e {log}/%f ] || [ -e {log}/%f.gz ] && exit 126; exit 1",
            words.join(" ")
        )))
    }
}
