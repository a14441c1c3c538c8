//! A cluster put back by pgBackRest: from the repository that its source is kept in, or from one that an artefact holds.

pub mod packed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use backplan_compiler::value::Hidden;
use jiff::Timestamp;

use super::cluster::{ClusterError, Outcome, beside, must_be_new, record, unbound};
use super::launch::{Laid, Then};
use super::log::commits::Tail;
use super::log::repository::{self, RepositoryLog};
use super::log::{self, Lead};
use super::outside;
use super::repositories::based;
use super::restore::{self, must_be_empty};
use super::shelf::{Shelf, Shelves};
use super::window::{self, Base, Log, WindowError};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::{Manifest, RepositoryRecord, SourceRecord};
use crate::catalog::runs::Choice;
use crate::confine::Bounds;
use crate::control::Control;
use crate::extract::Existing;
use crate::postgres::recovery::{END_COMMAND, Lsn, Point, Recovery, Timeline, silence, timestamp};
use crate::postgres::repository::{KEY_FILE, Repository as Remote, RepositoryError};
use crate::postgres::server::{ServerError, running};
use crate::postgres::tools;
use crate::programs::process::{self, Program, Tell};
use crate::wal::cluster::ClusterId;
use crate::wal::expiry;
use crate::wal::name::{Segment, WalName};
use crate::wal::records::Created;

/// A segment that is looked into before it is replayed, in the data directory.
const AHEAD: &str = ".backplan-segment";

/// The first version of Postgres whose `archive_mode` pgBackRest can set itself.
const ARCHIVE_MODE: u32 = 12;

/// What is wanted back, and how.
#[derive(Clone)]
pub struct Wish {
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
struct Sight<'a> {
    shelves: &'a Shelves,
    /// That store; `None`: no run has a backup in one.
    from: Option<&'a str>,
}

impl<'a> Sight<'a> {
    fn runs(self, source: &str) -> impl Iterator<Item = (&'a Shelf, &'a Manifest)> {
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
    wish: Wish,
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

/// Whether the newest backup of a source is in a repository of its own.
pub fn is_kept_apart(shelves: &Shelves, source: &str) -> bool {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    let newest = runs.filter(|run| record(run, source).is_some()).max_by_key(|run| run.run);
    newest.is_some_and(|run| run.repositories.iter().any(|own| own.source == source))
}

/// Makes a restore: chooses the backup, looks at the target, writes nothing.
///
/// # Errors
/// When no backup leads to the target, or a folder is in use.
pub fn plan(shelves: &Shelves, wish: Wish, now: Timestamp) -> Result<ToolRestore<'_>, ClusterError> {
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
fn stores_of<'a>(shelves: &'a Shelves, source: &str) -> Vec<&'a str> {
    let has = |shelf: &&Shelf| {
        shelf.catalog.runs().any(|run| run.repositories.iter().any(|own| own.source == source))
    };
    shelves.shelves.iter().filter(has).map(|shelf| shelf.store.label()).collect()
}

/// The same from the repository of one store.
fn plan_from(sight: Sight<'_>, mut wish: Wish, now: Timestamp) -> Result<ToolRestore<'_>, ClusterError> {
    let shelves = sight.shelves;
    let (mut found, mut elsewhere) = (BTreeMap::new(), None);
    for (shelf, run) in sight.runs(&wish.source) {
        let Some(record) = record(run, &wish.source).filter(|record| is_tools(record)) else { continue };
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
        found.insert(run.run, (Base::of(run.run, &record.labels, run.finished), record, repository));
    }
    let logs = packed::Logs::read(shelves, &wish.source, &packed(sight, &wish.source, &found));
    let timeline = wish.recovery.timeline;
    let known = leads(sight, &wish, &found)?.into_iter().chain(logs.leads(|base| wanted(timeline, base))?);
    for (run, lead) in known {
        if let Some((base, ..)) = found.get_mut(&run) {
            base.reach = Some(lead);
        }
    }
    if let (true, Some(own)) = (found.is_empty(), elsewhere) {
        return Err(ClusterError::Tool(not_named(own)));
    }
    if let Some(run) = &wish.run {
        let (_, manifest) = shelves.choose(&Choice::Id(run.clone()), None)?;
        let asked = found
            .get(&manifest.run)
            .map(|(_, record, repository)| (cycle_of(record).to_owned(), repository.clone()));
        // A packed repository holds every backup of its cycle until then.
        found.retain(|id, (_, record, _)| match &asked {
            Some((cycle, Repository::Packed)) => *id <= manifest.run && cycle_of(record) == cycle,
            _ => *id == manifest.run,
        });
    }
    let bases: Vec<Base> = found.values().map(|(base, ..)| base.clone()).collect();
    let outside = |cause| ClusterError::Window { source_name: wish.source.clone(), cause: Box::new(cause) };
    let window = window::window(&bases, Log::Archive).map_err(outside)?;
    let chosen = match window::choose(&bases, Log::Archive, &wish.recovery.point, now) {
        Ok(chosen) => chosen.clone(),
        // It may be in what could not be looked at.
        Err(WindowError::After { .. }) if !logs.unread.is_empty() || !logs.shut.is_empty() => {
            let why = [logs.unread.clone(), logs.shut.clone()].concat();
            return Err(ClusterError::Tool(why.join("\n")));
        }
        Err(cause) => return Err(outside(cause)),
    };
    let Some((_, record, repository)) = found.remove(&chosen.run) else {
        return Err(outside(WindowError::None));
    };
    // The last artefact that has the backup has the most of its cycle's log behind it.
    let later =
        found.iter().filter(|(run, (_, other, _))| **run > chosen.run && cycle_of(other) == cycle_of(record));
    let (run, behind) = match &repository {
        Repository::Packed => {
            let run = later.map(|(run, _)| *run).max().unwrap_or(chosen.run);
            let followed = chosen.reach.map(|reach| reach.timeline);
            (run, logs.enough(chosen.run, run, &wish.recovery.point, followed)?)
        }
        Repository::Kept(..) | Repository::Remote(..) => (chosen.run, Vec::new()),
    };
    let tail = match wish.recovery.point.is_moment() {
        true => tail(sight, &wish, &chosen, (record, &repository), &logs)?,
        false => Tail::Unknown,
    };
    let apart = apart(sight, &wish, &chosen, (record, &repository))?;
    let target = wish.recovery.settle(&chosen, tail);
    let window = window.to_string();
    let end = chosen.reach.map(|reach| reach.end);
    if let Then::Start(starting) = &mut wish.then {
        // The log of one that is far away comes over the network.
        starting.alone = !matches!(repository, Repository::Remote(..));
    }
    let stores = sight.from.map(|from| {
        let others = stores_of(shelves, &wish.source).into_iter().filter(|other| *other != from);
        (from.to_owned(), others.map(str::to_owned).collect())
    });
    let restore =
        ToolRestore { wish, shelves, stores, end, run, record, repository, behind, window, target, apart };
    match &restore.repository {
        Repository::Kept(path, _) if !path.join("backup").is_dir() => {
            let cause = io::Error::new(io::ErrorKind::NotFound, "the repository is not there");
            Err(file(path)(cause))
        }
        Repository::Packed => {
            must_be_empty(&restore.beside("repository")).map(|()| restore).map_err(Into::into)
        }
        Repository::Kept(..) | Repository::Remote(..) => Ok(restore),
    }
}

/// A backup as its log sees it, and the folder of that.
type Based = (expiry::Base, Option<String>);

/// Backups by their runs: as the window sees them, what their runs say, and where they are.
type Found<'a> = BTreeMap<RunId, (Base, &'a SourceRecord, Repository)>;

/// How far the log in repositories that are kept apart leads from each backup in them.
fn leads(sight: Sight<'_>, wish: &Wish, found: &Found<'_>) -> Result<BTreeMap<RunId, Lead>, ClusterError> {
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
    wish: &Wish,
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
    wish: &Wish,
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
    wish: &Wish,
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
    wish: &Wish,
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
fn wanted(timeline: Timeline, base: &expiry::Base) -> Option<u32> {
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
    record.labels.get("stanza").map(String::as_str).filter(|stanza| !stanza.is_empty()).unwrap_or(source)
}

/// The label of the full that a backup rests on, or is.
fn cycle_of(record: &SourceRecord) -> &str {
    let label = record.labels.get("label").map_or("", String::as_str);
    label.split_once('_').map_or(label, |(full, _)| full)
}

fn is_tools(record: &SourceRecord) -> bool {
    record.labels.get("driver").is_some_and(|driver| driver == "pgbackrest")
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> ClusterError + use<> {
    let path = path.to_path_buf();
    move |cause| ClusterError::File { path, cause }
}

fn write_private(path: &Path, text: &str) -> Result<(), ClusterError> {
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    made.and_then(|mut made| made.write_all(text.as_bytes())).map_err(file(path))
}

impl ToolRestore<'_> {
    /// What it would do; touches nothing.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn preview(&self) -> Result<Outcome, ClusterError> {
        Ok(self.outline())
    }

    /// Puts the cluster back, and starts it where that is wanted.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn carry_out(&self, control: &Control) -> Result<Outcome, ClusterError> {
        let programs = match &self.wish.then {
            Then::Start(_) => Some(self.programs()?),
            Then::ByHand | Then::Rehearse => None,
        };
        let program = tools::find("pgbackrest").map_err(|error| ClusterError::Tool(error.to_string()))?;
        let mut outcome = self.outline();
        if matches!(self.repository, Repository::Packed) {
            let to = self.beside("repository");
            self.unpack(self.run, Vec::new(), &to, control)?;
            let log = format!("{}/archive/{}", self.wish.source, stanza_of(self.record, &self.wish.source));
            self.behind
                .iter()
                .try_for_each(|run| self.unpack(*run, vec![log.clone().into()], &to, control))?;
        }
        let config = self.settings()?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.wish.to).map_err(file(&self.wish.to))?;
        let (bounds, made) = self.bounds(control)?;
        outcome.unbound = bounds.refusal().map(str::to_owned);
        let restored = held(self.arguments(&program, config.as_deref())?, &bounds, control, &silently());
        let restored = restored.map_err(|error| self.elsewhere(error));
        for space in made {
            // One that something came to stays.
            let _ = fs::remove_dir(&space);
        }
        restored?;
        if !self.wish.recovery.archives {
            let silenced = fs::File::open(&self.wish.to).and_then(|data| silence(&data));
            silenced.map_err(file(&self.wish.to))?;
        }
        self.give(config.as_deref())?;
        let own = self.own_folders();
        let data = [std::path::absolute(&self.wish.to).map_err(file(&self.wish.to))?];
        let bounds = Arc::new(Bounds::find(&data, data[0].parent(), control).map_err(unbound)?);
        let far = Far { base: self.base(&program, config.as_deref())?, below: &self.wish.to, bounds };
        let mapped = |created: &Created| self.mapped(created);
        let (to, point) = (&self.wish.to, &self.wish.recovery.point);
        let outside = outside::find(to, &own, &far, point, &mapped, control)?;
        let laid = Laid { data: to, own, outside, action: self.wish.recovery.action, programs };
        laid.go_on(&self.wish.then, &mut outcome, control)?;
        Ok(outcome)
    }

    /// What to do where one repository fails, and another has the source too.
    fn elsewhere(&self, error: ClusterError) -> ClusterError {
        match (error, &self.stores) {
            (ClusterError::Tool(why), Some((from, others))) if !others.is_empty() => {
                let other = &others[0];
                ClusterError::Tool(format!(
                    "{why}\n  that was the repository in store `{from}`; store `{other}` has one too: empty `{}` and say `--store {other}`",
                    self.wish.to.display()
                ))
            }
            (error, _) => error,
        }
    }

    /// What the tool is held to, and the folders that were made for that: beside the data directory, and where it is told to
    /// put tablespaces by name.
    fn bounds(&self, control: &Control) -> Result<(Arc<Bounds>, Vec<PathBuf>), ClusterError> {
        let (mut own, mut made) = (vec![self.wish.to.clone()], Vec::new());
        let named = self.wish.tablespaces.iter().filter(|(name, _)| !name.is_absolute());
        for space in std::iter::once(beside(&self.wish.to)).chain(named.map(|(_, to)| to.clone())) {
            if !space.is_dir() {
                // Where it cannot be made, and is needed, the tool says so.
                let above = space.parent().unwrap_or(&space);
                let done = DirBuilder::new().recursive(true).mode(0o755).create(above);
                let done = done.and_then(|()| DirBuilder::new().mode(0o700).create(&space));
                if done.is_err() {
                    continue;
                }
                made.push(space.clone());
            }
            own.push(space);
        }
        let own = own.iter().map(|own| std::path::absolute(own).map_err(file(own)));
        let own = own.collect::<Result<Vec<_>, _>>()?;
        let near = own[0].parent();
        Ok((Arc::new(Bounds::find(&own, near, control).map_err(unbound)?), made))
    }

    /// The data directory itself belongs to whom its files do, and so does what its server reads.
    fn give(&self, config: Option<&Path>) -> Result<(), ClusterError> {
        let first = self.wish.to.join("PG_VERSION");
        let owner = fs::metadata(&first).map_err(file(&first))?;
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let key = self.remote().and_then(Remote::key).map(|_| self.beside(KEY_FILE));
        let all = [Some(self.wish.to.as_path()), config, key.as_deref()];
        all.into_iter()
            .flatten()
            .map(Path::to_path_buf)
            .chain(self.spaces()?)
            .try_for_each(|path| lchown(&path, Some(owner.uid()), Some(owner.gid())).map_err(file(&path)))
    }

    /// The folders of its tablespaces, as the tool makes them: nobody's but root's. The one that they lie in stays so, where
    /// nobody puts something else in their place, and others may pass through.
    fn spaces(&self) -> Result<Vec<PathBuf>, ClusterError> {
        let above = beside(&self.wish.to);
        let (beside, mapped): (Vec<_>, Vec<_>) =
            self.own_folders().into_iter().partition(|folder| *folder == above);
        let mut spaces = mapped;
        for folder in beside {
            let open = fs::Permissions::from_mode(0o711);
            fs::set_permissions(&folder, open).map_err(file(&folder))?;
            for entry in fs::read_dir(&folder).map_err(file(&folder))? {
                spaces.push(entry.map_err(file(&folder))?.path());
            }
        }
        Ok(spaces)
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

    fn outline(&self) -> Outcome {
        let place = match self.remote() {
            Some(remote) => remote.location(),
            None => self.from().unwrap_or_default().display().to_string(),
        };
        Outcome {
            run: self.run.to_string(),
            artefacts: Vec::new(),
            data: self.wish.to.clone(),
            warnings: self.apart.clone(),
            target: self.target.clone(),
            window: self.window.clone(),
            settings: vec![
                ("repository".to_owned(), place),
                ("backup".to_owned(), self.label("label").to_owned()),
            ]
            .into_iter()
            .chain(self.behind.iter().map(|run| ("log".to_owned(), format!("of run {run} too"))))
            .collect(),
            archives: self.wish.recovery.archives,
            bytes: self.label("database_bytes").parse().unwrap_or_default(),
            ..Outcome::default()
        }
    }

    fn label(&self, name: &str) -> &str {
        self.record.labels.get(name).map_or("", String::as_str)
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

    /// Lays down what a run's artefact has of the repository: all of it, or these parts, over what is there.
    fn unpack(
        &self,
        run: RunId,
        paths: Vec<OsString>,
        to: &Path,
        control: &Control,
    ) -> Result<(), ClusterError> {
        let held = self.shelves.held(&Choice::Id(run.to_string()), Some(&self.wish.source))?;
        let mut wish = restore::Wish::of(&self.wish.source, to);
        if !paths.is_empty() {
            (wish.paths, wish.existing) = (paths, Existing::Replace);
        }
        let done = restore::plan(&held, &wish)?.carry_out(control)?;
        match done.problem_count {
            0 => Ok(()),
            count => {
                Err(ClusterError::Incomplete { count, first: done.problems.into_iter().take(3).collect() })
            }
        }
    }

    /// Where a tablespace goes that the log makes.
    fn mapped(&self, created: &Created) -> PathBuf {
        let asked = self.wish.tablespaces.iter().find(|(old, _)| *old == created.at);
        asked.map_or_else(|| beside(&self.wish.to).join(created.oid.to_string()), |(_, new)| new.clone())
    }

    /// Where its tablespaces are, as far as there are any.
    fn own_folders(&self) -> Vec<PathBuf> {
        let mapped = self.wish.tablespaces.iter().map(|(_, to)| to.clone());
        std::iter::once(beside(&self.wish.to)).chain(mapped).filter(|path| path.is_dir()).collect()
    }

    /// The settings that may stand on no command line: the cluster needs them as long as it recovers.
    fn settings(&self) -> Result<Option<PathBuf>, ClusterError> {
        let refused = |error: RepositoryError| ClusterError::Tool(error.to_string());
        let (bare, own) = match &self.repository {
            Repository::Kept(_, own) => (Remote::folder(&self.from().unwrap_or_default()), own),
            Repository::Remote(remote, own) => (remote.clone(), own),
            Repository::Packed => return Ok(None),
        };
        let whole = match (own.settings.contains_key("cipher"), &self.wish.passphrase) {
            (false, _) if !bare.is_remote() => return Ok(None),
            (false, _) => bare,
            (true, Some(passphrase)) => bare.encrypted(passphrase.clone()).map_err(refused)?,
            (true, None) => {
                return Err(ClusterError::Tool(
                    "the repository is encrypted: name the plan, which has its `passphrase`".to_owned(),
                ));
            }
        };
        let absolute = |path: PathBuf| std::path::absolute(&path).map_err(file(&path));
        let (path, key_file) = (absolute(self.beside("pgbackrest.conf"))?, absolute(self.beside(KEY_FILE))?);
        if let Some(key) = whole.key() {
            write_private(&key_file, key.expose())?;
        }
        write_private(&path, &format!("[global]\n{}\n", whole.lines(1, &key_file).join("\n")))?;
        Ok(Some(path))
    }

    /// What every call of the tool begins with: where the repository is, and the cluster.
    fn base(&self, program: &str, config: Option<&Path>) -> Result<Vec<String>, ClusterError> {
        let to = std::path::absolute(&self.wish.to).map_err(file(&self.wish.to))?;
        let stanza = stanza_of(self.record, &self.wish.source);
        let mut argv = vec![program.to_owned()];
        argv.push(match config {
            Some(config) => format!("--config={}", config.display()),
            None => "--no-config".to_owned(),
        });
        argv.extend([format!("--stanza={stanza}"), format!("--pg1-path={}", to.display())]);
        argv.extend(self.from().map(|from| format!("--repo1-path={}", from.display())));
        argv.extend(
            ["--log-level-file=off", "--log-level-console=off", "--log-level-stderr=warn"].map(str::to_owned),
        );
        Ok(argv)
    }

    fn arguments(&self, program: &str, config: Option<&Path>) -> Result<Vec<String>, ClusterError> {
        let to = std::path::absolute(&self.wish.to).map_err(file(&self.wish.to))?;
        let recovery = &self.wish.recovery;
        let mut argv = self.base(program, config)?;
        argv.extend([
            format!("--set={}", self.label("label")),
            format!("--tablespace-map-all={}.tablespaces", to.display()),
        ]);
        // By path they are called that the log makes.
        let maps = self.wish.tablespaces.iter().filter(|(name, _)| !name.is_absolute());
        argv.extend(maps.map(|(name, to)| format!("--tablespace-map={}={}", name.display(), to.display())));
        let target = match &recovery.point {
            Point::Latest => None,
            Point::Immediate => Some(("immediate", None)),
            Point::Time(time) | Point::Before(time) => Some(("time", Some(timestamp(*time)))),
            Point::Lsn(lsn) => Some(("lsn", Some(lsn.to_string()))),
            Point::Name(name) => Some(("name", Some(name.clone()))),
            Point::Xid(xid) => Some(("xid", Some(xid.to_string()))),
        };
        if let Some((kind, target)) = target {
            argv.push(format!("--type={kind}"));
            argv.extend(target.map(|target| format!("--target={target}")));
            argv.push(format!("--target-action={}", recovery.action.word()));
            argv.extend((!recovery.point.is_inclusive()).then(|| "--target-exclusive".to_owned()));
        }
        if recovery.point != Point::Immediate {
            argv.push(format!("--target-timeline={}", recovery.timeline));
        }
        argv.push(format!("--recovery-option=recovery_end_command={END_COMMAND}"));
        if !recovery.archives
            && tools::major(self.label("server_version")).is_none_or(|major| major >= ARCHIVE_MODE)
        {
            argv.push("--archive-mode=off".to_owned());
        }
        argv.push("restore".to_owned());
        Ok(argv)
    }

    /// The folder of the programs of the cluster's server.
    ///
    /// # Errors
    /// [`ClusterError::NoServer`].
    pub fn programs(&self) -> Result<PathBuf, ClusterError> {
        let version = self.label("server_version");
        tools::major(version)
            .and_then(tools::server)
            .ok_or_else(|| ClusterError::NoServer(version.to_owned()))
    }
}

/// The log in the repository, by the tool.
struct Far<'a> {
    /// What every call begins with.
    base: Vec<String>,
    /// The data directory: a segment lies there while it is looked into.
    below: &'a Path,
    bounds: Arc<Bounds>,
}

/// Runs the tool within bounds, its lock in them too.
fn held(argv: Vec<String>, bounds: &Arc<Bounds>, control: &Control, tell: &Tell) -> Result<(), ClusterError> {
    let lock = bounds.scratch().join("lock").display().to_string();
    let env = vec![("LC_ALL".to_owned(), "C".to_owned()), ("PGBACKREST_LOCK_PATH".to_owned(), lock)];
    let bounds = Some(Arc::clone(bounds));
    let program = Program { env, folder: Some("/".into()), bounds, ..Program::new(argv) };
    process::run(&program, control, tell).map(drop).map_err(|error| match error {
        process::ProcessError::Stopped(stopped) => ClusterError::Stopped(stopped),
        error => ClusterError::Tool(error.to_string()),
    })
}

fn silently() -> Tell {
    Arc::new(|_| {})
}

impl Far<'_> {
    fn run(&self, words: &[&str], tell: &Tell, control: &Control) -> Result<(), ClusterError> {
        let mut argv = self.base.clone();
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        held(argv, &self.bounds, control, tell)
    }
}

impl outside::Far for Far<'_> {
    fn segments(&self, _: &ClusterId, control: &Control) -> Result<Vec<Segment>, ClusterError> {
        let found: Arc<Mutex<Vec<Segment>>> = Arc::default();
        let ear = Arc::clone(&found);
        let tell: Tell = Arc::new(move |line: &str| {
            // ID/FOLDER/SEGMENT-SUM.gz
            let name = line.rsplit('/').next().and_then(|name| name.get(..24));
            if let Some(Ok(WalName::Segment(segment))) = name.map(str::parse) {
                ear.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
            }
        });
        let stanza = self.base.iter().find_map(|word| word.strip_prefix("--stanza=")).unwrap_or_default();
        let base: Vec<String> =
            self.base.iter().filter(|word| !word.starts_with("--pg1-path=")).cloned().collect();
        let lister = Far { base, below: self.below, bounds: Arc::clone(&self.bounds) };
        lister.run(&["--recurse", "repo-ls", &format!("archive/{stanza}")], &tell, control)?;
        Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn read(
        &self,
        _: &ClusterId,
        segment: Segment,
        take: &mut dyn FnMut(&[u8]),
        control: &Control,
    ) -> Result<(), ClusterError> {
        let path = std::path::absolute(self.below.join(AHEAD)).map_err(file(self.below))?;
        let silent = silently();
        let words = ["archive-get", &segment.to_string(), &path.display().to_string()];
        let read = match self.run(&words, &silent, control) {
            Ok(()) => outside::read_file(&path, take).map_err(file(&path)),
            // Where one cannot be had, recovery ends, or the server says why it does not.
            Err(ClusterError::Tool(_)) => Ok(()),
            Err(error) => Err(error),
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(&path)(error)),
            _ => read,
        }
    }
}
