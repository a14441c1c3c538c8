//! A cluster put back from a base backup: laid down, told how far to recover, and, where wanted, started until it has.

use backplan_compiler::count::plural;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::kinds::Facts;
use backplan_compiler::model::{PostgresDriver, Worded};
use backplan_compiler::value::Hidden;
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use super::PutBack;
use super::combine::{self, Layer};
use super::launch::{Laid, Then};
use super::log;
use super::log::commits::Tail;
use super::outside::{self, Outside};
use super::window::{self, Base, Log, WindowError};
use crate::backups::BackupsError;
use crate::backups::chain::Chain;
use crate::backups::restore::{self, must_be_empty};
use crate::backups::shelf::Shelves;
use crate::backups::unfinished::{self, Mark, Unfinished};
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::catalog::manifest::Manifest;
use crate::catalog::manifest::SourceRecord;
use crate::catalog::runs::Choice;
use crate::confine::ConfineError;
use crate::control::{Control, Stopped};
use crate::extract::{self, Existing, ExtractError, Extracted, Extraction};
use crate::places::account;
use crate::postgres::recovery::{END_COMMAND, Point, Recovery, TargetError, Timeline};
use crate::postgres::repository::Repository as Remote;
use crate::postgres::server::ServerError;
use crate::postgres::wal::WalError;
use crate::postgres::wal::archive::Archive;
use crate::postgres::wal::lsn::Lsn;
use crate::postgres::wal::records::Created;
use crate::programs::postmaster::running;
use crate::programs::process::{self, ProcessError, Program, Tell};

/// Keeps a server from being started on a cluster that is not all there: Postgres refuses to start where this says
/// anything but the number of a process.
const GUARD: &str = "postmaster.pid";
const GUARD_TEXT: &str = "not complete: plan restore was still at work\n";

/// Whom a cluster belongs to that root restores and that was root's.
const ACCOUNT: &str = "postgres";

/// What is wanted back, and how.
#[derive(Debug)]
pub struct ClusterWish {
    /// The source.
    pub source: String,
    /// The data directory to be.
    pub to: PathBuf,
    /// This run's backup, not the newest that leads to the target.
    pub run: Option<String>,
    /// How far to recover; with its `restore_command` where there is an archive of the write-ahead log.
    pub recovery: Recovery,
    /// The archives of its log; none: each backup has what makes it whole, and no more.
    pub log: Vec<Archive>,
    /// Where tablespaces go: from where they were. Others go beside the data directory.
    pub tablespaces: Vec<(PathBuf, PathBuf)>,
    /// The account it is to belong to, where the files do not say.
    pub account: Option<String>,
    /// Files that its `restore_command` reads.
    pub reads: Vec<PathBuf>,
    /// Whether it goes on with what a restore left that did not end.
    pub resume: bool,
    /// What becomes of it then.
    pub then: Then,
    /// What the repository of its tool is encrypted with.
    pub passphrase: Option<Hidden>,
    /// The repositories of its tool as the plan has them, of those that are in no folder.
    pub remotes: Vec<Remote>,
    /// The folders of stores, by name.
    pub roots: BTreeMap<String, PathBuf>,
}

/// Why a cluster is not back.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Reading backups.
    #[error(transparent)]
    Backups(#[from] BackupsError),
    /// Reading the archived log.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The target is none.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No backup leads there.
    #[error("source `{source_name}`: {cause}")]
    Window {
        /// The source.
        source_name: String,
        /// Why.
        #[source]
        cause: Box<WindowError>,
    },
    /// The run does not hold it.
    #[error("run {run} holds no base backup of source `{source_name}`")]
    NotHeld {
        /// The run.
        run: String,
        /// The source.
        source_name: String,
    },
    /// There is nothing to go on with.
    #[error(
        "the restore into `{}` cannot be gone on with: {why}; remove the folder, and restore again without `--resume`",
        folder.display()
    )]
    NotResumed {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// No such tablespace.
    #[error("the backup has no tablespace at `{}`; it has {}", asked.display(), had.join(", "))]
    NoTablespace {
        /// Asked for.
        asked: PathBuf,
        /// What it has.
        had: Vec<String>,
    },
    /// No programs of that version.
    #[error(
        "the cluster is of PostgreSQL {0}, and no server of that version is installed: install it, or leave `--start`"
    )]
    NoServer(String),
    /// Nothing that makes one cluster of several backups.
    #[error(
        "the backup is an incremental one of PostgreSQL {0}, and `pg_combinebackup` of that version is not installed: \
         install it, or restore the full that it rests on with `--run`"
    )]
    NoCombine(String),
    /// Not all of it came back.
    #[error("{} did not come back whole, and a cluster needs every one: {}", plural(*count, "file"), first.join("; "))]
    Incomplete {
        /// How many.
        count: u64,
        /// The first.
        first: Vec<String>,
    },
    /// A file.
    #[error("`{}`: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// Giving it to its account.
    #[error("the cluster cannot be given to its account: {0}")]
    Owner(#[source] ProcessError),
    /// Its server will lack what it needs to get its log.
    #[error(
        "{account}, as whom the server will run, cannot read `{}`, which its `restore_command` needs: {cause}", path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The account.
        account: String,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// A server runs where it is to go.
    #[error(transparent)]
    InUse(ServerError),
    /// Where its server's socket would be, something is.
    #[error("`{}` is there, as a server that was started by an earlier restore leaves it: remove it, or restore into another folder", .0.display())]
    Left(PathBuf),
    /// The log makes tablespaces, which takes a start of two steps.
    #[error(
        "the cluster lies in `{}`, and its log makes a tablespace at `{}`: it is started with `--target-action promote` \
         alone, or by hand where nothing lies there; remove it, and restore again", data.display(), at.display()
    )]
    OnlyPromoted {
        /// The data directory.
        data: PathBuf,
        /// Where the log makes it.
        at: PathBuf,
    },
    /// The server.
    #[error("the cluster lies in `{}`, and does not start: {cause}", data.display())]
    Server {
        /// Where.
        data: PathBuf,
        /// Why.
        #[source]
        cause: ServerError,
    },
    /// The tool that puts it back.
    #[error("{0}")]
    Tool(String),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What a restore would do, or did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClusterOutcome {
    /// The run.
    pub run: String,
    /// The artefacts that are read.
    pub artefacts: Vec<String>,
    /// The data directory.
    pub data: PathBuf,
    /// Tablespaces: where they were, and where they are.
    pub tablespaces: Vec<(PathBuf, PathBuf)>,
    /// Up to where it recovers, in words.
    pub target: String,
    /// The points that can be had, in words.
    pub window: String,
    /// The settings of its recovery.
    pub settings: Vec<(String, String)>,
    /// Whether it archives its log, where the original does.
    pub archives: bool,
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Folder of the socket, and port, of the server that was started.
    pub server: Option<(PathBuf, u16)>,
    /// Whether that server has a network namespace of its own.
    pub is_alone: bool,
    /// Where a server that is started by hand would write into what lies on this machine: it is held back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<PathBuf>,
    /// Why the tool that put it together was held to no folders, where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unbound: Option<String>,
    /// Timelines that go on beside the one that is followed, where none was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether its log comes over a network.
    #[serde(skip)]
    pub is_far: bool,
    /// Where the last segment of the log ends that is followed, where that is known.
    #[serde(skip)]
    pub log_end: Option<Lsn>,
    /// Tablespaces that the log makes elsewhere, for the caller that starts it.
    #[serde(skip)]
    pub outside: Vec<Outside>,
}

/// A tablespace of the backup.
#[derive(Debug, Clone)]
pub(super) struct Space {
    /// Its number.
    pub oid: String,
    /// Where it was.
    pub was: PathBuf,
    /// Where it goes.
    pub to: PathBuf,
}

/// A restore that can be shown and carried out.
pub struct ClusterRestore<'a> {
    pub(super) wish: ClusterWish,
    /// What the chosen backup rests on, the full first, and itself at the end.
    layers: Vec<Layer<'a>>,
    /// The run whose backup is taken.
    pub chosen: RunId,
    record: &'a SourceRecord,
    spaces: Vec<Space>,
    pub(super) log: Vec<Archive>,
    /// Where the last segment of the log ends that leads on from it, where one does and all of it is replayed.
    pub end: Option<Lsn>,
    window: String,
    target: String,
    /// Timelines that go on beside the one that is followed, where none was asked for.
    pub apart: Vec<String>,
}

/// Which backup of a source is meant: a plan may have had another driver for it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// The newest.
    Newest,
    /// That of a run.
    Run(RunId),
    /// The newest that had ended by then.
    EndedBy(Timestamp),
}

/// How a backup was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBy {
    /// The driver's word.
    pub word: String,
    /// It is in a repository that is kept apart.
    pub is_apart: bool,
}

impl MadeBy {
    /// The driver; `None`: it is none that this program knows.
    pub fn driver(&self) -> Option<PostgresDriver> {
        PostgresDriver::of(&self.word)
    }

    /// What there is to know of it.
    pub fn facts(&self) -> Option<&'static Facts> {
        self.driver().map(PostgresDriver::facts)
    }
}

/// How the backup of a source was made; `None` where it is none of a cluster. Before all that ended by a moment, the oldest.
pub fn made_by(shelves: &Shelves, source: &str, meant: Meant) -> Option<MadeBy> {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    let runs: Vec<&Manifest> = runs.filter(|run| run.cluster(source).is_some()).collect();
    let newest = |is_meant: &dyn Fn(&Manifest) -> bool| {
        runs.iter().filter(|run| is_meant(run)).max_by_key(|run| run.run).copied()
    };
    let run = match meant {
        Meant::Newest => newest(&|_| true)?,
        Meant::Run(id) => newest(&|run| run.run == id)?,
        Meant::EndedBy(at) => {
            let ended = |run: &Manifest| run.cluster(source)?.labels().ended().or(Some(run.finished));
            newest(&|run| ended(run).is_some_and(|ended| ended <= at))
                .or_else(|| runs.iter().min_by_key(|run| run.run).copied())?
        }
    };
    Some(MadeBy {
        word: run.cluster(source)?.labels().driver.clone()?,
        is_apart: run.repositories.iter().any(|own| own.source == source),
    })
}

/// Makes a restore: chooses the backup, looks at the targets, writes nothing.
///
/// # Errors
/// When no backup leads to the target, or a folder is in use.
pub fn plan(
    shelves: &Shelves,
    mut wish: ClusterWish,
    now: Timestamp,
) -> Result<ClusterRestore<'_>, ClusterError> {
    wish.recovery.check()?;
    let keys = shelves.keys();
    if !keys.is_empty() {
        wish.log.iter_mut().for_each(|archive| archive.open_with(&keys));
    }
    if let Some(pid) = running(&wish.to).map_err(file(&wish.to))? {
        return Err(ClusterError::InUse(ServerError::Runs { data: wish.to.clone(), pid }));
    }
    if !wish.resume {
        must_be_empty(&wish.to)?;
    }
    must_be_new(&wish.to, &wish.then)?;
    let (bases, archived) = bases(shelves, &mut wish)?;
    let log = if archived.is_some() { Log::Archive } else { Log::Own };
    let outside = |cause| ClusterError::Window { source_name: wish.source.clone(), cause: Box::new(cause) };
    let window = window::window(&bases, log).map_err(outside)?;
    let bases = match &wish.run {
        None => bases,
        Some(run) => {
            let (_, manifest) = shelves.choose(&Choice::Id(run.clone()), None)?;
            bases.into_iter().filter(|base| base.run == manifest.run).collect()
        }
    };
    let chosen = window::choose(&bases, log, &wish.recovery.point, now).map_err(outside)?.clone();
    let tail = archived.as_ref().filter(|_| wish.recovery.point.is_moment()).and_then(|archived| {
        let followed = chosen.reach.map(|reach| reach.timeline);
        Some(archived.tail(log::bases(shelves, &wish.source).get(&chosen.run)?, followed))
    });
    let mut apart = match (&archived, chosen.reach) {
        (Some(log), Some(reach)) if wish.recovery.timeline == Timeline::Latest => {
            log.apart(&log::bases(shelves, &wish.source), chosen.run, reach.timeline)?
        }
        _ => Vec::new(),
    };
    apart.extend(archived.iter().flat_map(|log| log.unread().iter().cloned()));
    let target = wish.recovery.settle(&chosen, tail.unwrap_or(Tail::Unknown));
    let followed = chosen.reach.filter(|reach| reach.is_way && reach.last.is_some());
    let end = followed.filter(|_| wish.recovery.point == Point::Latest).map(|reach| reach.end);
    let chosen = chosen.run;
    let layers = combine::layers(shelves, &wish.source, chosen)?;
    let not_held = || ClusterError::NotHeld { run: chosen.to_string(), source_name: wish.source.clone() };
    let record = layers.last().map(|layer| layer.record).ok_or_else(not_held)?;
    let spaces = spaces(record.labels(), &wish, archived.is_none())?;
    match wish.resume {
        true => must_be_cut_short(&wish, chosen, layers.len())?,
        false => spaces.iter().try_for_each(|space| must_be_empty(&space.to))?,
    }
    let log = archived.map(log::Log::into_holders).unwrap_or_default();
    let window = window.to_string();
    let restore = ClusterRestore { window, target, wish, layers, chosen, record, spaces, log, end, apart };
    restore.can_be_read()?;
    Ok(restore)
}

/// Only what this very restore left is gone on with, and only where it unpacks one backup and nothing else.
fn must_be_cut_short(wish: &ClusterWish, chosen: RunId, layers: usize) -> Result<(), ClusterError> {
    let mark = Unfinished::read(&wish.to).map_err(file(&wish.to))?;
    let is_it = mark.is_some_and(|mark| mark.run == chosen && mark.sources == [wish.source.clone()]);
    let why = match (is_it, layers) {
        (true, 1) => return Ok(()),
        (false, _) => "it is not what this restore left",
        (true, _) => "it is made of several backups",
    };
    Err(ClusterError::NotResumed { folder: wish.to.clone(), why })
}

/// The backups of a source that recovery may begin from, each with how far the archived log leads from it.
fn bases(shelves: &Shelves, wish: &mut ClusterWish) -> Result<(Vec<Base>, Option<log::Log>), ClusterError> {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    let mut bases: BTreeMap<_, _> = runs
        .filter_map(|run| {
            let labels = run.cluster(&wish.source)?.labels();
            // Another driver's is no data directory.
            let is_one = labels.driver.as_deref().is_none_or(|driver| driver == "basebackup");
            is_one.then(|| (run.run, Base::of(run.run, labels, run.finished)))
        })
        .collect();
    if wish.log.is_empty() {
        return Ok((bases.into_values().collect(), None));
    }
    let log = log::Log::read(std::mem::take(&mut wish.log))?;
    let wanted = match wish.recovery.timeline {
        Timeline::Number(number) => Some(number),
        Timeline::Latest | Timeline::Current => None,
    };
    for (run, found) in log::bases(shelves, &wish.source) {
        let current = (wish.recovery.timeline == Timeline::Current).then_some(found.timeline);
        let lead = log.lead(&found, wanted.or(current))?;
        if let Some(base) = bases.get_mut(&run) {
            base.reach = Some(lead);
        }
    }
    Ok((bases.into_values().collect(), Some(log)))
}

fn spaces(labels: &Labels, wish: &ClusterWish, is_all: bool) -> Result<Vec<Space>, ClusterError> {
    let beside = beside(&wish.to);
    let spaces: Vec<Space> = (labels.tablespaces.iter())
        .map(|(oid, was)| {
            let was = PathBuf::from(was);
            let asked = wish.tablespaces.iter().find(|(old, _)| *old == was);
            let to = asked.map_or_else(|| beside.join(oid), |(_, new)| new.clone());
            Space { oid: oid.clone(), was, to }
        })
        .collect();
    match wish.tablespaces.iter().find(|(old, _)| !spaces.iter().any(|space| space.was == *old)) {
        // What the backup lacks, the log may make.
        Some((asked, _)) if is_all => Err(no_tablespace(asked, &spaces)),
        _ => Ok(spaces),
    }
}

/// Where tablespaces go of which nothing else is said.
pub(super) fn beside(data: &Path) -> PathBuf {
    let mut beside = data.as_os_str().to_owned();
    beside.push(".tablespaces");
    beside.into()
}

/// Why a tool could not be held to its folders.
pub(super) fn unbound(error: ConfineError) -> ClusterError {
    match error {
        ConfineError::Stopped(stopped) => ClusterError::Stopped(stopped),
        error => ClusterError::Tool(error.to_string()),
    }
}

/// Where a tablespace goes that the log makes: where its place was asked to go, else beside the data directory.
pub(super) fn mapped<'a>(
    data: &'a Path,
    asked: &'a [(PathBuf, PathBuf)],
) -> impl Fn(&Created) -> PathBuf + use<'a> {
    |created| {
        let asked = asked.iter().find(|(old, _)| *old == created.at);
        asked.map_or_else(|| beside(data).join(created.oid.to_string()), |(_, new)| new.clone())
    }
}

/// Every tablespace that was asked for is one of the backup, or one of the log.
///
/// # Errors
/// [`ClusterError::NoTablespace`].
pub(super) fn all_mapped(
    asked: &[(PathBuf, PathBuf)],
    spaces: &[Space],
    outside: &[Outside],
) -> Result<(), ClusterError> {
    let is_known =
        |old: &Path| spaces.iter().any(|space| space.was == old) || outside.iter().any(|one| one.at == old);
    match asked.iter().find(|(old, _)| !is_known(old)) {
        Some((asked, _)) => Err(no_tablespace(asked, spaces)),
        None => Ok(()),
    }
}

pub(super) fn no_tablespace(asked: &Path, spaces: &[Space]) -> ClusterError {
    let had = spaces.iter().map(|space| format!("`{}`", space.was.display())).collect();
    ClusterError::NoTablespace { asked: asked.to_path_buf(), had }
}

pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> ClusterError + use<> {
    let path = path.to_path_buf();
    move |cause| ClusterError::File { path, cause }
}

impl PutBack for ClusterRestore<'_> {
    fn run(&self) -> RunId {
        self.chosen
    }

    fn apart(&self) -> &[String] {
        &self.apart
    }

    fn server_version(&self) -> &str {
        self.record.labels().server_version.as_deref().unwrap_or_default()
    }

    fn preview(&self) -> Result<ClusterOutcome, ClusterError> {
        let chain = self.chain()?;
        let mut outcome = self.outline(&chain)?;
        for layer in &self.layers {
            let (entries, bytes) = layer.size()?;
            (outcome.entries, outcome.bytes) = (outcome.entries + entries, outcome.bytes + bytes);
        }
        Ok(outcome)
    }

    fn room(&self) -> Result<u64, ClusterError> {
        combine::room(&self.layers)
    }

    fn carry_out(&self, control: &Control) -> Result<ClusterOutcome, ClusterError> {
        // Before anything is written: without the programs the wish cannot be granted.
        let programs = match &self.wish.then {
            Then::Start(_) => Some(self.programs()?),
            Then::ByHand | Then::Rehearse => None,
        };
        if self.layers.len() > 1 {
            combine::program(&self.layers)?;
        }
        let chain = self.chain()?;
        let mut outcome = self.outline(&chain)?;
        let mark = self.guard()?;
        (outcome.entries, outcome.bytes) = match self.layers.as_slice() {
            [_] => {
                let mut extraction = combine::extraction(&self.wish.source, &self.wish.to, &self.spaces);
                if self.wish.resume {
                    extraction.existing = Existing::Resume;
                }
                let done = laid(&chain, &extraction, control)?;
                outcome.warnings.extend(chain.told());
                (done.entries, done.bytes)
            }
            layers => {
                let done = combine::combine(layers, &self.wish.to, &self.spaces, control)?;
                outcome.unbound = done.refusal;
                outcome.warnings.extend(done.warnings);
                (done.entries, done.bytes)
            }
        };
        self.settle(control)?;
        self.wish.recovery.write(&self.wish.to).map_err(file(&self.wish.to))?;
        let guard = self.wish.to.join(GUARD);
        mark.lift().map_err(file(&guard))?;
        fs::remove_file(&guard).map_err(file(&guard))?;
        let own: Vec<PathBuf> = self.spaces.iter().map(|space| space.to.clone()).collect();
        let mapped = mapped(&self.wish.to, &self.wish.tablespaces);
        let (to, point) = (&self.wish.to, &self.wish.recovery.point);
        let outside = outside::find(to, &own, &self.log, point, &mapped, control)?;
        all_mapped(&self.wish.tablespaces, &self.spaces, &outside)?;
        let action = self.wish.recovery.action;
        let laid = Laid { data: to, own, outside, action, end: self.end, programs };
        laid.go_on(&self.wish.then, &mut outcome, control)?;
        Ok(outcome)
    }
}

impl ClusterRestore<'_> {
    fn chain(&self) -> Result<Chain<'_>, ClusterError> {
        let not_held =
            || ClusterError::NotHeld { run: self.chosen.to_string(), source_name: self.wish.source.clone() };
        self.layers.last().ok_or_else(not_held)?.chain()
    }

    fn outline(&self, chain: &Chain<'_>) -> Result<ClusterOutcome, ClusterError> {
        let settings = match self.wish.recovery.is_archive() {
            true => self.wish.recovery.settings()?,
            false => Vec::new(),
        };
        let told = settings.into_iter().filter(|(_, value)| value != "''" && !value.contains(END_COMMAND));
        Ok(ClusterOutcome {
            run: self.chosen.to_string(),
            artefacts: chain.artefacts().map(str::to_owned).collect(),
            data: self.wish.to.clone(),
            tablespaces: self.spaces.iter().map(|space| (space.was.clone(), space.to.clone())).collect(),
            warnings: self.apart.clone(),
            target: self.target.clone(),
            window: self.window.clone(),
            settings: told.map(|(name, value)| (name.to_owned(), value)).collect(),
            archives: self.wish.recovery.archives,
            ..ClusterOutcome::default()
        })
    }

    /// Makes the folder, holds it against other restores, and leaves in it what keeps a server from starting, and, where it could be gone
    /// on with, the mark for that.
    fn guard(&self) -> Result<Mark, ClusterError> {
        let (to, guard) = (&self.wish.to, self.wish.to.join(GUARD));
        DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(file(to))?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o700)).map_err(file(to))?;
        let held = unfinished::hold(to)?;
        if !self.wish.resume {
            // Another may have come to its end meanwhile.
            must_be_empty(to)?;
        }
        // That of the restore before keeps on guarding; a server's own is never touched.
        let is_there = self.wish.resume && fs::read(&guard).is_ok_and(|text| text == GUARD_TEXT.as_bytes());
        if !is_there {
            let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&guard);
            let written = made.and_then(|mut made| {
                made.write_all(GUARD_TEXT.as_bytes())?;
                made.sync_all()
            });
            written.map_err(file(&guard))?;
        }
        if self.layers.len() > 1 || matches!(self.wish.then, Then::Rehearse) {
            return Ok(held);
        }
        let wish = restore::RestoreWish::of(&self.wish.source, to);
        Ok(Unfinished::of(self.chosen, &wish).leave_in(held, to)?)
    }

    /// Modes, owners and the places of tablespaces, as Postgres wants them.
    fn settle(&self, control: &Control) -> Result<(), ClusterError> {
        let data = &self.wish.to;
        combine::link(data, &self.spaces)?;
        for folder in std::iter::once(data).chain(self.spaces.iter().map(|space| &space.to)) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(file(folder))?;
        }
        self.give(control)
    }

    /// Gives what root restored to the account that the files belong to, or that is named.
    fn give(&self, control: &Control) -> Result<(), ClusterError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let data = &self.wish.to;
        let first = data.join("PG_VERSION");
        let owner = fs::metadata(&first).map_err(file(&first))?;
        if let Some(account) = self.wish.account.as_deref().or((owner.uid() == 0).then_some(ACCOUNT)) {
            let mut argv = vec!["chown".to_owned(), "-hR".to_owned(), format!("{account}:"), "--".to_owned()];
            let folders = std::iter::once(data).chain(self.spaces.iter().map(|space| &space.to));
            argv.extend(folders.map(|folder| behind(folder)));
            let silent: Tell = Arc::new(|_| {});
            return process::run(&Program::new(argv), control, &silent)
                .map(drop)
                .map_err(ClusterError::Owner);
        }
        let links = self.spaces.iter().map(|space| data.join("pg_tblspc").join(&space.oid));
        for link in links {
            lchown(&link, Some(owner.uid()), Some(owner.gid())).map_err(file(&link))?;
        }
        for folder in std::iter::once(data).chain(self.spaces.iter().map(|space| &space.to)) {
            give_folder(folder, &owner).map_err(file(folder))?;
        }
        Ok(())
    }

    /// Whether its server will be able to read what its `restore_command` needs: it is not to show when all is laid down.
    fn can_be_read(&self) -> Result<(), ClusterError> {
        let chain = self.chain()?;
        let first = format!("{}/PG_VERSION", self.wish.source);
        let found = chain.view.find(first.as_bytes()).map_err(|error| chain.error(error))?;
        let numbers = found.map(|found| (found.entry.uid, found.entry.gid)).filter(|(user, _)| *user != 0);
        let named = self.wish.account.as_deref().or(numbers.is_none().then_some(ACCOUNT));
        let named = named.and_then(|name| account::find(name).ok().flatten());
        let Some(owner) = named.or(numbers) else { return Ok(()) };
        match account::first_unreadable(owner, &self.wish.reads).map_err(file(&self.wish.to))? {
            None => Ok(()),
            Some((path, cause)) => {
                Err(ClusterError::Unreadable { path: path.clone(), account: account::called(owner.0), cause })
            }
        }
    }
}

/// Gives a folder, which may be behind a link that its user has laid, to whom something else belongs.
pub(super) fn give_folder(folder: &Path, owner: &fs::Metadata) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = File::from(rustix::fs::open(folder, flags, Mode::empty())?);
    fchown(&open, Some(owner.uid()), Some(owner.gid()))
}

/// The same folder in words that a program which follows no link takes for it.
pub(super) fn behind(folder: &Path) -> String {
    folder.join(".").display().to_string()
}

/// The folder of a started server's log, configuration and socket.
pub(super) fn server_folder(data: &Path) -> PathBuf {
    let mut scratch = data.to_path_buf().into_os_string();
    scratch.push(".server");
    scratch.into()
}

/// Sees before anything is written that the server can be started.
pub(super) fn must_be_new(data: &Path, then: &Then) -> Result<(), ClusterError> {
    let folder = server_folder(data);
    match matches!(then, Then::Start(_)) && folder.symlink_metadata().is_ok() {
        true => Err(ClusterError::Left(folder)),
        false => Ok(()),
    }
}

/// Unpacks what has to come back whole.
pub(super) fn laid(
    chain: &Chain<'_>,
    extraction: &Extraction,
    control: &Control,
) -> Result<Extracted, ClusterError> {
    let done = extract::extract(&chain.view, extraction, control).map_err(|error| told(chain, error))?;
    if done.problem_count > 0 {
        let first = done.problems.iter().take(3).map(|problem| problem.what.clone()).collect();
        return Err(ClusterError::Incomplete { count: done.problem_count, first });
    }
    Ok(done)
}

pub(super) fn told(chain: &Chain<'_>, error: ExtractError) -> ClusterError {
    match error {
        ExtractError::Artefact(error) => chain.error(error).into(),
        ExtractError::Stopped(stopped) => stopped.into(),
        other => BackupsError::from(other).into(),
    }
}
