//! `plan restore` of a Postgres cluster.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backplan_compiler::model::{Model, Postgres, PostgresDriver, Store, StoreId, Wal};
use backplan_runtime::backups::BackupsError;
use backplan_runtime::backups::shelf::Shelves;
use backplan_runtime::catalog::runs::Choice;
use backplan_runtime::control::Control;
use backplan_runtime::machine::host_name;
use backplan_runtime::postgres::driver;
use backplan_runtime::postgres::recovery::{Action, Point, Recovery, command_word};
use backplan_runtime::postgres::restore::cluster::{
    self, ClusterError, ClusterOutcome, ClusterWish, MadeBy, Meant,
};
use backplan_runtime::postgres::restore::heirs::heir;
use backplan_runtime::postgres::restore::launch::{Starting, Then};
use backplan_runtime::postgres::restore::log;
use backplan_runtime::postgres::restore::repositories::reachable;
use backplan_runtime::postgres::server::ServerError;
use backplan_runtime::postgres::wal::WalError;
use backplan_runtime::postgres::wal::archive::{self, Access, Archive};
use backplan_runtime::programs::environment;
use backplan_runtime::programs::secrets::Secrets;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::plan::{chosen as plan_file, current_folder, ready};
use super::restore::{chosen, cut_short, resumable};
use super::stop::until_signal;
use super::{identities, moment, shelves};
use crate::args::{Format, Global, RestoreArgs, TargetAction};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{backups, json};

/// The account's usual name for the first superuser.
const SUPERUSER: &str = "postgres";
const PORT: u16 = 5432;
/// A day: who starts a cluster of many terabytes by hand waits, and may end it.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// How the backup was made that is meant, where a single cluster is asked for.
///
/// # Errors
/// [`Status::Usage`] where what is asked for is meant for a cluster, and it is none.
pub fn made_by(args: &RestoreArgs, shelves: &Shelves) -> Result<Option<MadeBy>, Failure> {
    let found = match args.sources.as_slice() {
        [source] => cluster::made_by(shelves, source, meant(args, shelves)?),
        _ => None,
    };
    if let (None, [source]) = (&found, args.sources.as_slice()) {
        let is_asked = args.cluster.is_asked() || args.at.as_deref() == Some("latest");
        // Where there is no backup of it, or no store to look into, that is the cause.
        let held = is_asked.then(|| shelves.choose(&Choice::Latest, Some(source)));
        held.transpose().map_err(|error| super::shelves::failure(&error))?;
    }
    if found.is_none() && args.cluster.is_asked() {
        return Err(Failure::usage("a recovery target and `--start` are for a Postgres cluster alone")
            .help("name it: `--source NAME`; `plan ls latest` shows the sources"));
    }
    if found.is_none() && args.at.is_some() && args.run != "latest" {
        return Err(Failure::usage("`--at` and `--run` each name a run; give one of them"));
    }
    Ok(found)
}

/// Which backup that is.
fn meant(args: &RestoreArgs, shelves: &Shelves) -> Result<Meant, Failure> {
    if args.run != "latest" {
        let chosen = shelves.choose(&Choice::Id(args.run.clone()), None);
        // Who asks for none that is there is told of that where it is restored.
        return Ok(chosen.map_or(Meant::Newest, |(_, manifest)| Meant::Run(manifest.run)));
    }
    let at = args.cluster.before.as_ref().or(args.at.as_ref()).filter(|at| *at != "latest");
    let at = at.map(|at| moment::parse(at, &TimeZone::system())).transpose()?;
    Ok(at.map_or(Meant::Newest, Meant::EndedBy))
}

/// The driver that puts a cluster back; `None`: its files are put back as any others. Where its tool keeps a repository, and that is in an
/// artefact, a cluster has to be asked for.
pub fn driver_of(args: &RestoreArgs, made: &MadeBy) -> Option<PostgresDriver> {
    let facts = made.facts()?;
    let by_tool = facts.has_repository && (args.cluster.is_asked() || made.is_apart);
    made.driver().filter(|_| facts.is_data_directory || by_tool)
}

/// Where the stores are that are folders: those of a plan, or without one the store that was named.
fn folders(model: Option<&Model>, named: Option<&Path>) -> BTreeMap<String, PathBuf> {
    let Some(model) = model else {
        return named.map(|root| (root.display().to_string(), root.to_path_buf())).into_iter().collect();
    };
    let folder = |store: &Store| Some((store.name.clone(), store.folder()?.to_path_buf()));
    model.stores.iter().filter_map(folder).collect()
}

/// What a tool is to put back, and what of the plan it takes to get there.
fn tool_wish(
    args: &RestoreArgs,
    to: PathBuf,
    model: Option<&Model>,
    shelves: &Shelves,
) -> Result<ClusterWish, Failure> {
    let source = args.sources.first().cloned().unwrap_or_default();
    let declared = model.and_then(|model| declared(model, &source));
    let separate = model.and_then(|model| {
        let named = model.separates.iter().find(|own| model.source(own.source).name == source);
        named.or_else(|| model.separate(heir(model, shelves, &source)?))
    });
    let passphrase = separate.and_then(|own| own.passphrase.as_ref()).map(|secret| {
        Secrets::default()
            .fetch(secret)
            .map_err(|error| Failure::new(format!("the passphrase of the repository: {error}")))
    });
    let remotes = match (model, separate) {
        (Some(model), Some(own)) => {
            reachable(model, (own.source, &source), &host_name(), &Secrets::default())
                .map_err(|error| Failure::new(error.to_string()))?
        }
        _ => Vec::new(),
    };
    Ok(ClusterWish {
        log: Vec::new(),
        account: None,
        reads: Vec::new(),
        resume: false,
        run: (args.run != "latest").then(|| args.run.clone()),
        recovery: recovery(args, None)?,
        tablespaces: args.cluster.tablespace.iter().map(|text| mapping(text)).collect::<Result<_, _>>()?,
        then: then(args, declared, true, Vec::new()),
        passphrase: passphrase.transpose()?,
        remotes,
        roots: folders(model, args.place.store.store.as_deref()),
        source,
        to,
    })
}

/// Refuses a recovery of what is no data directory.
///
/// # Errors
/// [`Status::Usage`] where a recovery is asked for.
pub fn refuse_recovery(args: &RestoreArgs, driver: &str) -> Result<(), Failure> {
    if args.cluster.is_asked() {
        return Err(Failure::usage(format!(
            "source `{}` was backed up by driver `{driver}`: what is restored is no data directory that could recover or start",
            args.sources.join(", ")
        ))
        .help("restore its files with `--to` alone, and go on with the tool's own restore: docs/postgres.md"));
    }
    Ok(())
}

/// Puts a cluster back by the driver that backed it up, or shows what that would do.
///
/// # Errors
/// When it cannot begin, or cannot go on.
pub fn execute(
    args: &RestoreArgs,
    own: PostgresDriver,
    shelves: &Shelves,
    global: &Global,
    console: &mut Console,
) -> Result<Status, Failure> {
    let (to, is_repository) = (target(args)?, own.facts().has_repository);
    if args.resume && is_repository {
        return Err(Failure::usage("what a tool puts back begins anew, and is not gone on with")
            .help("remove the folder, and restore again without `--resume`"));
    }
    let model = match (&args.place.store.store, &args.place.plan.file) {
        (Some(_), None) => None,
        _ => Some(ready(&args.place.plan, global, console)?.model),
    };
    let (wish, away, needs) = match is_repository {
        true => (tool_wish(args, to, model.as_ref(), shelves)?, Vec::new(), None),
        false => wish(args, to, model.as_ref())?,
    };
    told(&away, console);
    let restore = driver(own).put_back(shelves, wish, Timestamp::now()).map_err(|error| failure(&error))?;
    chosen(restore.run(), shelves, console);
    told(restore.apart(), console);
    let control = Control::default();
    let (outcome, signal) = match args.dry_run {
        true => (restore.preview(), None),
        false => until_signal(&control, || restore.carry_out(&control))?,
    };
    if let Ok(outcome) = &outcome {
        // What went wrong while it was at work, and another store had.
        let new = outcome.warnings.iter().filter(|text| !restore.apart().contains(*text));
        told(&new.cloned().collect::<Vec<_>>(), console);
    }
    if let (Some(needs), Ok(_), None) = (needs, &outcome, signal) {
        console.remark("note", &needs);
    }
    finish(args, shelves, outcome, signal, console)
}

/// What whoever starts a server by hand must give it, so that its `restore_command` reaches the log; `None`: nothing.
fn needs(args: &RestoreArgs, env: &Environment) -> Option<String> {
    let names: Vec<String> = (env.iter().map(|(name, _)| name.to_string_lossy()))
        .filter(|name| !environment::is_way(name))
        .map(|name| format!("`{name}`"))
        .collect();
    (!args.cluster.start && !names.is_empty()).then(|| {
        format!(
            "its `restore_command` reaches the log by {}: have {} in the environment of its server, as `--start` does, or it does not open",
            names.join(", "),
            if names.len() == 1 { "this" } else { "these" },
        )
    })
}

/// Says what a person should know before anything is written.
fn told(apart: &[String], console: &mut Console) {
    for text in apart {
        console.remark("warning", text);
    }
}

/// The data directory to be.
fn target(args: &RestoreArgs) -> Result<PathBuf, Failure> {
    if !args.paths.is_empty() || args.overwrite {
        return Err(Failure::usage(
            "a cluster comes back whole, into a new folder: leave `--path` and `--overwrite`",
        ));
    }
    let to = args.to.as_ref().ok_or_else(|| {
        Failure::usage("a cluster is not put back in place").help("name a new folder with `--to`")
    })?;
    // With no slash at its end: what lies beside it is called like it, with something behind.
    Ok(to.components().collect())
}

/// Tells what came of it.
fn finish(
    args: &RestoreArgs,
    shelves: &Shelves,
    outcome: Result<ClusterOutcome, ClusterError>,
    signal: Option<Status>,
    console: &mut Console,
) -> Result<Status, Failure> {
    if let Some(signal) = signal {
        let next = resumable(args).map_or_else(String::new, |how| format!("{how}, or "));
        console.complain(&format!(
            "stopped: what is there is no whole cluster, and does not start; {next}remove the folder\n"
        ));
        return Ok(signal);
    }
    let mut outcome: ClusterOutcome = outcome.map_err(|error| cut_short(failure(&error), args))?;
    let choice = shelves::choice(&args.run, None)?;
    let doubts = outcome.run.parse().map(|run| shelves.doubts(&choice, run)).unwrap_or_default();
    doubts.iter().for_each(|text| console.remark("warning", text));
    outcome.warnings.extend(doubts);
    match args.format {
        Format::Human => console.answer(&backups::cluster(&outcome, args.dry_run, console.answers())),
        Format::Json => console.answer(&json::document(&outcome)),
    }
    let is_clean = outcome.held.is_empty() && outcome.unbound.is_none() && outcome.warnings.is_empty();
    Ok(if is_clean { Status::Done } else { Status::Warnings })
}

/// What is wanted, what a person should know of the archives that cannot be read, and what the server needs.
fn wish(
    args: &RestoreArgs,
    to: PathBuf,
    model: Option<&Model>,
) -> Result<(ClusterWish, Vec<String>, Option<String>), Failure> {
    let source = args.sources.first().cloned().unwrap_or_default();
    let declared = model.and_then(|model| declared(model, &source));
    let log_keys = log_keys(args, model, &source)?;
    let (log, unread) = archives(args, model, &source, &log_keys)?;
    let has_log = !log.is_empty() || !unread.is_empty();
    let (restore_command, reads) = match has_log {
        true => {
            fetch(args, model, &source, !log_keys.keys.is_empty()).map(|(text, reads)| (Some(text), reads))?
        }
        // Without a command it would go on in the original's own timeline, where nobody can tell their logs apart.
        false => (args.cluster.archive.then(|| "false".to_owned()), Vec::new()),
    };
    let is_alone = !log.iter().any(Archive::is_far) && unread.is_empty();
    let env = match (is_alone, model) {
        (true, _) => Vec::new(),
        (false, Some(model)) => environment::to_reach(&model.stores),
        (false, None) => environment::to_reach([]),
    };
    let wal = model.and_then(|model| wal_of(model, &source));
    let mut away = away(&unread, wal.is_some_and(|wal| wal.ack_any) || log.is_empty());
    if let (Some(model), None) = (model, wal) {
        away.extend(left_behind(model, &source));
    }
    let needs = needs(args, &env);
    let wish = ClusterWish {
        run: (args.run != "latest").then(|| args.run.clone()),
        recovery: recovery(args, restore_command)?,
        log,
        tablespaces: args.cluster.tablespace.iter().map(|text| mapping(text)).collect::<Result<_, _>>()?,
        account: declared.and_then(|declared| declared.run_as.clone()),
        reads,
        resume: args.resume,
        then: then(args, declared, is_alone, env),
        passphrase: None,
        remotes: Vec::new(),
        roots: BTreeMap::new(),
        source,
        to,
    };
    Ok((wish, away, needs))
}

/// Where a log lies that the plan says nothing of any more, as its `wal` block or the source's name was changed.
fn left_behind(model: &Model, source: &str) -> Vec<String> {
    let access = Access::default();
    let has = |store: &&Store| {
        let names = archive::names(store, Some(&model.name), &access);
        names.is_ok_and(|names| names.iter().any(|name| name == source))
    };
    let told = |store: &Store| {
        let place = command_word(&store.location().address());
        format!(
            "the log of `{source}` is in store `{}`, and the plan has no `wal` block for it: it is recovered with by `--store {place} \
             --plan-name {}` in place of the plan",
            store.name, model.name
        )
    };
    model.stores.iter().filter(has).map(told).collect()
}

/// What archives that cannot be read mean for a recovery that may need them.
fn away(unread: &[String], may_have_more: bool) -> Vec<String> {
    let means = match may_have_more {
        true => {
            "recovery stops where it may have more of the log than others; `--store NAME` takes what one store has, and no more"
        }
        false => "recovery ends where the log in the others does",
    };
    unread.iter().map(|error| format!("{error}; {means}")).collect()
}

/// How far it recovers.
fn recovery(args: &RestoreArgs, restore_command: Option<String>) -> Result<Recovery, Failure> {
    let asked = &args.cluster;
    let recovery = Recovery {
        point: point(args)?,
        timeline: match &asked.target_timeline {
            Some(text) => text.parse().map_err(|error| Failure::usage(format!("{error}")))?,
            None => Default::default(),
        },
        action: match asked.target_action {
            Some(TargetAction::Pause) => Action::Pause,
            Some(TargetAction::Shutdown) => Action::Shutdown,
            Some(TargetAction::Promote) | None => Action::Promote,
        },
        restore_command,
        archives: asked.archive,
    };
    recovery.check().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(recovery)
}

/// What becomes of it.
fn then(args: &RestoreArgs, declared: Option<&Postgres>, alone: bool, env: Environment) -> Then {
    if args.cluster.start { Then::Start(starting(args, declared, alone, env)) } else { Then::ByHand }
}

/// What of the environment a server's restore command needs.
type Environment = Vec<(OsString, OsString)>;

/// How it is started.
fn starting(args: &RestoreArgs, declared: Option<&Postgres>, alone: bool, env: Environment) -> Starting {
    Starting {
        port: args.cluster.port.unwrap_or(PORT),
        role: declared.and_then(|declared| declared.user.clone()).unwrap_or_else(|| SUPERUSER.to_owned()),
        patience: args.cluster.patience.map_or(PATIENCE, Duration::from_secs),
        alone,
        env,
    }
}

/// The archives of a source's log: those of the plan, or the one in the store that is named.
fn archives(
    args: &RestoreArgs,
    model: Option<&Model>,
    source: &str,
    access: &Access,
) -> Result<(Vec<Archive>, Vec<String>), Failure> {
    if let Some(model) = model {
        let wal = wal_of(model, source).map(|wal| Wal { to: read_of(args, model, wal), ..wal.clone() });
        return Ok(wal.map(|wal| log::archives(model, &wal, access)).unwrap_or_default());
    }
    let Some(root) = &args.place.store.store else { return Ok(Default::default()) };
    let store = super::wal::store_at(root)?;
    let failed = |error: WalError| super::wal::failure(&error);
    if archive::names(&store, None, access).map_err(failed)?.is_empty() {
        return Ok(Default::default());
    }
    let plan = super::wal::plan_in(&store, args.place.store.plan_name.as_deref())?;
    match archive::names(&store, Some(&plan), access).map_err(failed)?.iter().any(|name| name == source) {
        true => Ok((vec![Archive::open(&store, &plan, source, access).map_err(failed)?], Vec::new())),
        false => Ok(Default::default()),
    }
}

/// The stores that the log is read of: the one that is named, where it has the log, else all.
fn read_of(args: &RestoreArgs, model: &Model, wal: &Wal) -> Vec<StoreId> {
    let named = |id: &StoreId| {
        let own = args.place.store.store.as_deref().map(Path::as_os_str);
        own == Some(model.store(*id).name.as_ref())
    };
    let named: Vec<StoreId> = wal.to.iter().copied().filter(named).collect();
    if named.is_empty() { wal.to.clone() } else { named }
}

fn wal_of<'m>(model: &'m Model, source: &str) -> Option<&'m Wal> {
    model.wals.iter().find(|wal| model.source(wal.source).name == source)
}

/// How the log is read: with keys, where it is encrypted.
fn log_keys(args: &RestoreArgs, model: Option<&Model>, source: &str) -> Result<Access, Failure> {
    let is_sealed = || match model {
        Some(model) => wal_of(model, source).is_some_and(|wal| !wal.encrypt.is_empty()),
        None => {
            let found = archives(args, None, source, &Access::default());
            found.is_ok_and(|(found, _)| found.iter().any(|archive| archive.holds_sealed().unwrap_or(false)))
        }
    };
    let mut is_needed = false;
    let keys = identities::keys(&args.place.store.identities, || {
        is_needed = is_sealed();
        is_needed
    })?;
    if is_needed && keys.is_empty() {
        return Err(Failure::new(format!("the log of `{source}` is encrypted, and no key was given"))
            .help("name the file of one: `--identity FILE`, or in BACKPLAN_IDENTITY"));
    }
    Ok(Access { keys: Arc::new(keys), ..Access::default() })
}

fn declared<'m>(model: &'m Model, source: &str) -> Option<&'m Postgres> {
    model.sources.iter().find(|declared| declared.name == source).and_then(|declared| declared.postgres())
}

fn point(args: &RestoreArgs) -> Result<Point, Failure> {
    let asked = &args.cluster;
    if let Some(before) = &asked.before {
        return Ok(Point::Before(moment::parse(before, &TimeZone::system())?));
    }
    Ok(match (&args.at, &asked.lsn, &asked.restore_point, asked.xid, asked.immediate) {
        (Some(at), ..) if at == "latest" => Point::Latest,
        (Some(at), ..) => Point::Time(moment::parse(at, &TimeZone::system())?),
        (_, Some(lsn), ..) => Point::Lsn(lsn.parse().map_err(|error| Failure::usage(format!("{error}")))?),
        (_, _, Some(name), ..) => Point::Name(name.clone()),
        (_, _, _, Some(xid), _) => Point::Xid(xid),
        (.., true) => Point::Immediate,
        _ => Point::Latest,
    })
}

/// The command by which the server gets its write-ahead log back: this program, and this plan, wherever it is started; with the
/// files that it reads.
fn fetch(
    args: &RestoreArgs,
    model: Option<&Model>,
    source: &str,
    has_keys: bool,
) -> Result<(String, Vec<PathBuf>), Failure> {
    let mut reads = Vec::new();
    let here = |path: &Path| std::path::absolute(path).map(|path| path.display().to_string());
    let own = std::env::current_exe().and_then(|path| here(&path));
    let own =
        own.map_err(|error| Failure::new(format!("this program does not know where it is: {error}")))?;
    let mut words = vec![own, "wal".to_owned(), "fetch".to_owned()];
    for file in identities::files(&args.place.store.identities, || has_keys) {
        let failed = |error| Failure::new(format!("`{}`: {error}", file.display()));
        words.extend(["--identity".to_owned(), here(&file).map_err(failed)?]);
        reads.push(file);
    }
    match (&args.place.store.store, &args.place.plan.file) {
        (Some(store), None) => {
            let declared = super::wal::store_at(store)?;
            let place = match declared.folder() {
                Some(folder) => here(folder).unwrap_or_else(|_| folder.display().to_string()),
                None => declared.name.clone(),
            };
            words.extend(["--store".to_owned(), place]);
            // Always by name: the server's account may not look around there.
            let plan = super::wal::plan_in(&declared, args.place.store.plan_name.as_deref())?;
            words.extend(["--plan-name".to_owned(), plan]);
        }
        _ => {
            // Bound to it: what others have more is not asked for, and those that are away are not missed.
            if let Some((model, wal)) = model.and_then(|model| Some((model, wal_of(model, source)?))) {
                let read = read_of(args, model, wal);
                for id in read.iter().filter(|_| read.len() < wal.to.len()) {
                    words.extend(["--store".to_owned(), model.store(*id).name.clone()]);
                }
            }
            let file = current_folder()?.join(plan_file(&args.place.plan, &current_folder()?)?);
            words.push(file.display().to_string());
            reads.push(file);
        }
    }
    words.push(source.to_owned());
    let words: Vec<String> = words.iter().map(|word| command_word(word)).collect();
    Ok((format!("{} %f %p", words.join(" ")), reads))
}

fn mapping(text: &str) -> Result<(PathBuf, PathBuf), Failure> {
    let pair = text.split_once('=').filter(|(old, new)| !old.is_empty() && !new.is_empty());
    let (old, new) = pair.ok_or_else(|| {
        Failure::usage(format!("`{text}` does not say where a tablespace goes"))
            .help("write `--tablespace OLD=NEW`")
    })?;
    Ok((PathBuf::from(old), PathBuf::from(new)))
}

fn failure(error: &ClusterError) -> Failure {
    let help = match error {
        ClusterError::Backups(BackupsError::NotEmpty(at)) => {
            return Failure::new(format!("`{}` is not empty", at.display())).help(
                "a cluster comes back whole: move away what is there, or name another folder with `--to`",
            );
        }
        ClusterError::Backups(error) => return shelves::failure(error),
        ClusterError::Unreadable { .. } => {
            "nothing was written: let that account read it, or name a copy that it can read (`install -o ACCOUNT -m 400 FILE COPY`)"
        }
        ClusterError::Window { .. } => "give a target inside the window; `plan list` shows the backups",
        ClusterError::Incomplete { .. } => {
            "`plan verify` says what is damaged; remove the folder and restore another run (`--run`), or from another store"
        }
        ClusterError::Server { cause: ServerError::Short { .. }, .. } => {
            "nothing runs; what was replayed lies there, and a server started on it by hand has that. A target before that place (`--lsn`, `--at`) is restored whole"
        }
        ClusterError::Server { cause: ServerError::Unknown { .. }, .. } => {
            "nothing runs; what is there is whole, and `pg_ctl start` starts it as it is; or restore into another folder, with a plan whose `user` may log in"
        }
        ClusterError::Server { .. } => {
            "nothing runs; where the log ended before the target, name an earlier target, or an earlier base with `--run`"
        }
        _ => return Failure::new(error.to_string()),
    };
    Failure::new(error.to_string()).help(help)
}
