//! A cluster put back by pgBackRest: from the repository that its source is kept in, or from one that an artefact holds.

pub(super) mod far;
pub(super) mod lay;
mod next;
pub mod packed;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use backplan_compiler::value::Hidden;
use jiff::Timestamp;

use super::PutBack;
use super::cluster::{ClusterError, ClusterOutcome, ClusterWish, must_be_new};
use super::launch::Then;
use super::log::commits::Tail;
use super::log::repository::{self, RepositoryLog};
use super::log::{self, Lead};
use super::repositories::based;
use super::window::{self, Base, Log, WindowError};
use crate::backups::restore::must_be_empty;
use crate::backups::shelf::{Shelf, Shelves};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::{Manifest, RepositoryRecord, SourceRecord};
use crate::catalog::runs::Choice;
use crate::control::Control;
use crate::postgres::recovery::{Point, Recovery, Timeline};
use crate::postgres::repository::Repository as Remote;
use crate::postgres::server::ServerError;
use crate::postgres::wal::expiry;
use crate::postgres::wal::lsn::Lsn;
use crate::programs::postmaster::running;

/// What is wanted back, and how.
#[derive(Clone)]
pub struct ToolWish {
    /// The source.
    pub source: String,
    /// The data directory to be.
    pub to: PathBuf,
    /// This run's backup, not the newest that leads to the target.
    pub run: Option<String>,
    /// How far to recover; its `restore_command` is the tool's affair.
    pub recovery: Recovery,
    /// Where tablespaces go, by name or number. Others go beside the data directory.
    pub tablespaces: Vec<(PathBuf, PathBuf)>,
    /// What becomes of it then.
    pub then: Then,
    /// What the repository is encrypted with.
    pub passphrase: Option<Hidden>,
    /// The repositories as the plan has them, of those that are in no folder.
    pub remotes: Vec<Remote>,
    /// The folders of stores, by name.
    pub roots: BTreeMap<String, PathBuf>,
}

/// Where the repository is.
#[derive(Debug, Clone)]
enum Repository {
    /// In a store.
    Kept(PathBuf, RepositoryRecord),
    /// In a store that is no folder.
    Remote(Remote, RepositoryRecord),
    /// In an artefact: it is restored beside the data directory first.
    Packed,
}

/// The runs that a restore looks at: of repositories that are kept apart, those in one store.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) shelves: &'a Shelves,
    /// That store; `None`: no run has a backup in one.
    pub(super) from: Option<&'a str>,
}

impl<'a> Sight<'a> {
    /// That store, and the others that have the source.
    fn stores(self, source: &str) -> Option<(String, Vec<String>)> {
        let from = self.from?;
        let others = stores_of(self.shelves, source).into_iter().filter(|other| *other != from);
        Some((from.to_owned(), others.map(str::to_owned).collect()))
    }

    pub(super) fn runs(self, source: &str) -> impl Iterator<Item = (&'a Shelf, &'a Manifest)> {
        let all = self.shelves.shelves.iter();
        let all = all.flat_map(|shelf| shelf.catalog.runs().map(move |run| (shelf, run)));
        all.filter(move |(shelf, run)| {
            let is_apart = run.repositories.iter().any(|own| own.source == source);
            !is_apart || self.from.is_none_or(|from| from == shelf.store.label())
        })
    }
}

/// A restore that can be shown and carried out.
pub struct ToolRestore<'a> {
    wish: ToolWish,
    /// What was asked for, before it was settled by what one repository has; and when.
    asked: ToolWish,
    now: Timestamp,
    shelves: &'a Shelves,
    /// The store whose repository it is from, and others that have one.
    stores: Option<(String, Vec<String>)>,
    /// Where the log ends that is followed, where that is known.
    end: Option<Lsn>,
    /// The run whose backup is taken.
    pub run: RunId,
    record: &'a SourceRecord,
    repository: Repository,
    /// Runs whose artefacts have the log between a packed repository's own and the target.
    behind: Vec<RunId>,
    window: String,
    target: String,
    /// Timelines that go on beside the one that is followed, where none was asked for, and repositories that could not be used.
    pub apart: Vec<String>,
}

/// Makes a restore: chooses the backup, looks at the target, writes nothing.
///
/// # Errors
/// When no backup leads to the target, or a folder is in use.
pub fn plan(shelves: &Shelves, wish: ToolWish, now: Timestamp) -> Result<ToolRestore<'_>, ClusterError> {
    wish.recovery.check()?;
    if let Some(pid) = running(&wish.to).map_err(file(&wish.to))? {
        return Err(ClusterError::InUse(ServerError::Runs { data: wish.to.clone(), pid }));
    }
    must_be_empty(&wish.to)?;
    must_be_new(&wish.to, &wish.then)?;
    let mut places = stores_of(shelves, &wish.source);
    // A folder is nearer than what is reached over a network.
    places.sort_by_key(|store| !wish.roots.contains_key(*store));
    if places.is_empty() {
        return plan_from(Sight { shelves, from: None }, wish, now);
    }
    let (mut best, mut unused): (Option<ToolRestore<'_>>, Vec<(&str, ClusterError)>) = (None, Vec::new());
    for from in &places {
        // The nearest that has what is wanted is taken; where the end of the log is, the one that leads further.
        if best.is_some() && wish.recovery.point != Point::Latest {
            break;
        }
        match plan_from(Sight { shelves, from: Some(from) }, wish.clone(), now) {
            Ok(other) if best.as_ref().is_none_or(|best| other.end > best.end) => best = Some(other),
            Ok(_) => {}
            Err(why) => unused.push((from, why)),
        }
    }
    let Some(mut best) = best else {
        // Where none can be used, what the nearest says.
        return Err(unused
            .into_iter()
            .next()
            .map_or_else(|| ClusterError::Tool("no store has it".to_owned()), |(_, why)| why));
    };
    let words = |(from, why): (&str, ClusterError)| {
        format!("the repository in store `{from}` cannot be used for it: {why}")
    };
    // One that never had what is asked for is in order.
    let troubles = unused.into_iter().filter(|(_, why)| !matches!(why, ClusterError::Window { .. }));
    best.apart.extend(troubles.map(words));
    Ok(best)
}

/// The stores that have a source in a repository of its own, as they are named in the plan.
pub(super) fn stores_of<'a>(shelves: &'a Shelves, source: &str) -> Vec<&'a str> {
    let has = |shelf: &&Shelf| {
        shelf.catalog.runs().any(|run| run.repositories.iter().any(|own| own.source == source))
    };
    shelves.shelves.iter().filter(has).map(|shelf| shelf.store.label()).collect()
}

/// The backups of a source that recovery may begin from, each with what its manifest says of it and the repository it is in; and one in
/// a repository that the plan does not name.
fn backups<'s>(sight: Sight<'s>, wish: &ToolWish) -> (Found<'s>, Option<&'s RepositoryRecord>) {
    let (mut found, mut elsewhere) = (BTreeMap::new(), None);
    for (shelf, run) in sight.runs(&wish.source) {
        let Some(record) = run.cluster(&wish.source).filter(|record| is_tools(record)) else { continue };
        let own = run.repositories.iter().find(|own| own.source == wish.source);
        let root = wish.roots.get(shelf.store.label());
        let repository = match (own, root) {
            (Some(own), _) if own.settings.contains_key("type") => {
                match wish.remotes.iter().find(|remote| remote.is_at(&own.settings)) {
                    Some(remote) => Repository::Remote(remote.clone(), own.clone()),
                    None => {
                        elsewhere = elsewhere.or(Some(own));
                        continue;
                    }
                }
            }
            (Some(own), Some(root)) => {
                let below = own.settings.get("path").map_or("", String::as_str);
                Repository::Kept(root.join(below), own.clone())
            }
            _ => Repository::Packed,
        };
        found.insert(run.run, (Base::of(run.run, record.labels(), run.finished), record, repository));
    }
    (found, elsewhere)
}

/// Leaves the backup of a run. A packed repository holds every backup of its cycle until then.
fn keep_run(wanted: RunId, found: &mut Found<'_>) {
    let asked =
        found.get(&wanted).map(|(_, record, repository)| (cycle_of(record).to_owned(), repository.clone()));
    found.retain(|id, (_, record, _)| match &asked {
        Some((cycle, Repository::Packed)) => *id <= wanted && cycle_of(record) == cycle,
        _ => *id == wanted,
    });
}

/// The same from the repository of one store.
fn plan_from(sight: Sight<'_>, mut wish: ToolWish, now: Timestamp) -> Result<ToolRestore<'_>, ClusterError> {
    let (shelves, asked) = (sight.shelves, wish.clone());
    let (mut found, elsewhere) = backups(sight, &wish);
    let logs = packed::Logs::read(shelves, &wish.source, &packed(sight, &wish.source, &found));
    lead_on(sight, &wish, &logs, &mut found)?;
    if let (true, Some(own)) = (found.is_empty(), elsewhere) {
        return Err(ClusterError::Tool(not_named(own)));
    }
    if let Some(run) = &wish.run {
        keep_run(shelves.choose(&Choice::Id(run.clone()), None)?.1.run, &mut found);
    }
    let (chosen, window) = choose(&found, &wish, &logs, now)?;
    let Some((_, record, repository)) = found.remove(&chosen.run) else {
        return Err(outside(&wish, WindowError::None));
    };
    let (run, behind) = match &repository {
        Repository::Packed => taken(&found, &chosen, record, &logs, &wish.recovery.point)?,
        Repository::Kept(..) | Repository::Remote(..) => (chosen.run, Vec::new()),
    };
    let tail = match wish.recovery.point.is_moment() {
        true => tail(sight, &wish, &chosen, (record, &repository), &logs)?,
        false => Tail::Unknown,
    };
    let apart = apart(sight, &wish, &chosen, (record, &repository))?;
    let target = wish.recovery.settle(&chosen, tail);
    let end = chosen.reach.map(|reach| reach.end);
    if let Then::Start(starting) = &mut wish.then {
        // The log of one that is far away comes over the network.
        starting.alone = !matches!(repository, Repository::Remote(..));
    }
    let stores = sight.stores(&wish.source);
    let restore = ToolRestore {
        wish,
        asked,
        now,
        shelves,
        stores,
        end,
        run,
        record,
        repository,
        behind,
        window,
        target,
        apart,
    };
    restore.checked()
}

/// Notes of each backup how far its log leads, in a repository or in an artefact.
fn lead_on(
    sight: Sight<'_>,
    wish: &ToolWish,
    logs: &packed::Logs<'_>,
    found: &mut Found<'_>,
) -> Result<(), ClusterError> {
    let timeline = wish.recovery.timeline;
    let known = leads(sight, wish, found)?.into_iter().chain(logs.leads(|base| wanted(timeline, base))?);
    for (run, lead) in known {
        if let Some((base, ..)) = found.get_mut(&run) {
            base.reach = Some(lead);
        }
    }
    Ok(())
}

/// The backup to begin with, and in words which points can be had at all.
fn choose(
    found: &Found<'_>,
    wish: &ToolWish,
    logs: &packed::Logs<'_>,
    now: Timestamp,
) -> Result<(Base, String), ClusterError> {
    let bases: Vec<Base> = found.values().map(|(base, ..)| base.clone()).collect();
    let window = window::window(&bases, Log::Archive).map_err(|cause| outside(wish, cause))?;
    match window::choose(&bases, Log::Archive, &wish.recovery.point, now) {
        Ok(chosen) => Ok((chosen.clone(), window.to_string())),
        // It may be in what could not be looked at.
        Err(WindowError::After { .. }) if !logs.unread.is_empty() || !logs.shut.is_empty() => {
            let why = [logs.unread.clone(), logs.shut.clone()].concat();
            Err(ClusterError::Tool(why.join("\n")))
        }
        Err(cause) => Err(outside(wish, cause)),
    }
}

fn outside(wish: &ToolWish, cause: WindowError) -> ClusterError {
    ClusterError::Window { source_name: wish.source.clone(), cause: Box::new(cause) }
}

/// The run whose artefact a backup is taken from, and those whose artefacts hold the log behind it. The last artefact that has
/// the backup has the most of its cycle's log.
fn taken(
    found: &Found<'_>,
    chosen: &Base,
    record: &SourceRecord,
    logs: &packed::Logs<'_>,
    point: &Point,
) -> Result<(RunId, Vec<RunId>), ClusterError> {
    let is_later = |run: RunId, other| run > chosen.run && cycle_of(other) == cycle_of(record);
    let later = found.iter().filter(|(run, (_, other, _))| is_later(**run, other));
    let run = later.map(|(run, _)| *run).max().unwrap_or(chosen.run);
    let followed = chosen.reach.map(|reach| reach.timeline);
    Ok((run, logs.enough(chosen.run, run, point, followed)?))
}

/// A backup as its log sees it, and the folder of that.
type Based = (expiry::Base, Option<String>);

/// Backups by their runs: as the window sees them, what their runs say, and where they are.
type Found<'a> = BTreeMap<RunId, (Base, &'a SourceRecord, Repository)>;

/// How far the log in repositories that are kept apart leads from each backup in them.
fn leads(
    sight: Sight<'_>,
    wish: &ToolWish,
    found: &Found<'_>,
) -> Result<BTreeMap<RunId, Lead>, ClusterError> {
    let mut logs: BTreeMap<String, Vec<(RunId, Based)>> = BTreeMap::new();
    let mut places: BTreeMap<String, (&Repository, &SourceRecord)> = BTreeMap::new();
    for (_, run) in sight.runs(&wish.source) {
        let Some((_, record, repository)) = found.get(&run.run) else { continue };
        let location = match repository {
            Repository::Kept(path, _) => path.display().to_string(),
            Repository::Remote(remote, _) => remote.location(),
            Repository::Packed => continue,
        };
        let based = based(run, &wish.source).map(|based| (run.run, based));
        logs.entry(location.clone()).or_default().extend(based);
        places.insert(location, (repository, record));
    }
    let mut leads = BTreeMap::new();
    for (location, based) in logs {
        let Some((repository, record)) = places.get(&location) else { continue };
        leads.extend(lead(wish, &location, repository, record, &based)?);
    }
    Ok(leads)
}

/// The same of one repository. One that cannot be looked into says nothing here: its tool will say why.
fn lead(
    wish: &ToolWish,
    location: &str,
    repository: &Repository,
    record: &SourceRecord,
    based: &[(RunId, Based)],
) -> Result<BTreeMap<RunId, Lead>, ClusterError> {
    let Some(log) = opened(wish, location, repository, record, based) else { return Ok(BTreeMap::new()) };
    let lead = |base| log.lead(base, wanted(wish.recovery.timeline, base));
    based.iter().map(|(run, (base, _))| Ok((*run, lead(base)?))).collect()
}

/// The log of one repository that is kept apart.
fn opened(
    wish: &ToolWish,
    location: &str,
    repository: &Repository,
    record: &SourceRecord,
    based: &[(RunId, Based)],
) -> Option<log::Log<RepositoryLog<'static>>> {
    let (place, own) = match repository {
        Repository::Kept(path, own) => (Remote::folder(path), own),
        Repository::Remote(remote, own) => (remote.clone(), own),
        Repository::Packed => return None,
    };
    let opened = match (own.settings.contains_key("cipher"), &wish.passphrase) {
        (false, _) => Ok(place.clone()),
        (true, Some(passphrase)) => {
            place.clone().encrypted(passphrase.clone()).map_err(|error| error.to_string())
        }
        (true, None) => Err("it is encrypted".to_owned()),
    };
    let stanza = stanza_of(record, &wish.source);
    // Where it needs the file of a key, that is not there yet, and the log not known.
    let files = repository::files(&place, opened, PathBuf::new(), stanza, &Control::default());
    let bases: Vec<repository::Based<'_>> =
        based.iter().map(|(_, (base, id))| (base, id.as_deref())).collect();
    let log = RepositoryLog::open(location, files, &bases).and_then(|log| log::Log::read(vec![log]));
    log.ok()
}

/// The end of the log that recovery from a backup comes to.
fn tail(
    sight: Sight<'_>,
    wish: &ToolWish,
    chosen: &Base,
    (record, repository): (&SourceRecord, &Repository),
    logs: &packed::Logs<'_>,
) -> Result<Tail, ClusterError> {
    let followed = chosen.reach.map(|reach| reach.timeline);
    let location = match repository {
        Repository::Packed => return Ok(logs.tail(chosen.run, followed)),
        Repository::Kept(path, _) => path.display().to_string(),
        Repository::Remote(remote, _) => remote.location(),
    };
    let run = sight.runs(&wish.source).find(|(_, run)| run.run == chosen.run);
    let based = run.and_then(|(_, run)| based(run, &wish.source));
    let Some(based) = based.map(|based| (chosen.run, based)) else { return Ok(Tail::Unknown) };
    let bases = [based];
    let log = opened(wish, &location, repository, record, &bases);
    Ok(log.map_or(Tail::Unknown, |log| log.tail(&bases[0].1.0, followed)))
}

/// Timelines that go on beside the one that is followed, where none was asked for; of repositories that are kept apart.
fn apart(
    sight: Sight<'_>,
    wish: &ToolWish,
    chosen: &Base,
    (record, repository): (&SourceRecord, &Repository),
) -> Result<Vec<String>, ClusterError> {
    let location = match repository {
        Repository::Packed => return Ok(Vec::new()),
        Repository::Kept(path, _) => path.display().to_string(),
        Repository::Remote(remote, _) => remote.location(),
    };
    let Some(reach) = chosen.reach.filter(|_| wish.recovery.timeline == Timeline::Latest) else {
        return Ok(Vec::new());
    };
    let runs = sight.runs(&wish.source);
    let based: Vec<_> = runs.filter_map(|(_, run)| Some((run.run, based(run, &wish.source)?))).collect();
    let Some(log) = opened(wish, &location, repository, record, &based) else { return Ok(Vec::new()) };
    let bases = based.into_iter().map(|(run, (base, _))| (run, base)).collect();
    Ok(log.apart(&bases, chosen.run, reach.timeline)?)
}

/// The timeline that is to be followed from a backup; `None`: the newest.
pub(super) fn wanted(timeline: Timeline, base: &expiry::Base) -> Option<u32> {
    match timeline {
        Timeline::Number(number) => Some(number),
        Timeline::Current => Some(base.timeline),
        Timeline::Latest => None,
    }
}

/// Backups whose repositories are in artefacts.
fn packed<'a>(
    sight: Sight<'_>,
    source: &str,
    found: &Found<'a>,
) -> BTreeMap<RunId, (Based, &'a SourceRecord)> {
    let of_run = sight.runs(source).filter_map(|(_, run)| match found.get(&run.run)? {
        (_, record, Repository::Packed) => Some((run.run, (based(run, source)?, *record))),
        _ => None,
    });
    of_run.collect()
}

/// Why a repository that is reached over a network cannot be.
pub(super) fn not_named(own: &RepositoryRecord) -> String {
    let get = |name: &str| own.settings.get(name).map_or("", String::as_str);
    let holder = ["s3-bucket", "azure-container", "gcs-bucket"].map(get).concat();
    format!(
        "the repository of `{}` is in `{}:{holder}{}`, which needs a plan whose `separate` says how to get there: give its file",
        own.source,
        get("type"),
        get("path")
    )
}

/// The stanza of a backup.
fn stanza_of<'a>(record: &'a SourceRecord, source: &'a str) -> &'a str {
    record.labels().stanza.as_deref().filter(|stanza| !stanza.is_empty()).unwrap_or(source)
}

/// The label of the full that a backup rests on, or is.
fn cycle_of(record: &SourceRecord) -> &str {
    let label = record.labels().label.as_deref().unwrap_or_default();
    label.split_once('_').map_or(label, |(full, _)| full)
}

fn is_tools(record: &SourceRecord) -> bool {
    record.labels().driver.as_deref() == Some("pgbackrest")
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> ClusterError + use<> {
    let path = path.to_path_buf();
    move |cause| ClusterError::File { path, cause }
}

impl PutBack for ToolRestore<'_> {
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

    fn carry_out(&self, control: &Control) -> Result<ClusterOutcome, ClusterError> {
        self.put_back_by_any(control)
    }
}

impl From<ClusterWish> for ToolWish {
    fn from(wish: ClusterWish) -> ToolWish {
        let ClusterWish { source, to, run, recovery, tablespaces, then, passphrase, remotes, roots, .. } =
            wish;
        ToolWish { source, to, run, recovery, tablespaces, then, passphrase, remotes, roots }
    }
}

impl ToolRestore<'_> {
    /// Sees that its repository is there, or that there is room for it.
    fn checked(self) -> Result<Self, ClusterError> {
        match &self.repository {
            Repository::Kept(path, _) if !path.join("backup").is_dir() => {
                let cause = io::Error::new(io::ErrorKind::NotFound, "the repository is not there");
                Err(file(path)(cause))
            }
            Repository::Packed => {
                must_be_empty(&self.beside("repository")).map(|()| self).map_err(Into::into)
            }
            Repository::Kept(..) | Repository::Remote(..) => Ok(self),
        }
    }

    /// Whether its log comes over a network.
    pub fn is_far(&self) -> bool {
        self.remote().is_some()
    }

    fn remote(&self) -> Option<&Remote> {
        match &self.repository {
            Repository::Remote(remote, _) => Some(remote),
            Repository::Kept(..) | Repository::Packed => None,
        }
    }

    fn outline(&self) -> ClusterOutcome {
        let place = match self.remote() {
            Some(remote) => remote.location(),
            None => self.from().unwrap_or_default().display().to_string(),
        };
        ClusterOutcome {
            run: self.run.to_string(),
            artefacts: Vec::new(),
            data: self.wish.to.clone(),
            warnings: self.apart.clone(),
            target: self.target.clone(),
            window: self.window.clone(),
            settings: vec![("repository".to_owned(), place), ("backup".to_owned(), self.label().to_owned())]
                .into_iter()
                .chain(self.behind.iter().map(|run| ("log".to_owned(), format!("of run {run} too"))))
                .collect(),
            archives: self.wish.recovery.archives,
            is_far: self.is_far(),
            log_end: self.end,
            bytes: self.record.labels().database_bytes.unwrap_or_default(),
            ..ClusterOutcome::default()
        }
    }

    fn label(&self) -> &str {
        self.record.labels().label.as_deref().unwrap_or_default()
    }

    /// A path whose name is the data directory's with something behind it.
    fn beside(&self, what: &str) -> PathBuf {
        let mut path = self.wish.to.clone().into_os_string();
        path.push(format!(".{what}"));
        path.into()
    }

    /// The repository's folder, absolute: it ends up in the cluster's `restore_command`.
    fn from(&self) -> Option<PathBuf> {
        let path = match &self.repository {
            Repository::Kept(path, _) => path.clone(),
            Repository::Packed => self.beside("repository"),
            Repository::Remote(..) => return None,
        };
        Some(std::path::absolute(&path).unwrap_or(path))
    }
}
