//! `plan wal`: what Postgres calls to archive its log and to get it back.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use backplan_compiler::model::{Model, Source, Store, Wal};
use backplan_runtime::postgres::wal::archive::{self, Access, Archive};
use backplan_runtime::postgres::wal::cluster::{ClusterId, NoSegment};
use backplan_runtime::postgres::wal::fetch::{Stock, fetch, fetch_ahead, wants_more};
use backplan_runtime::postgres::wal::name::WalName;
use backplan_runtime::postgres::wal::push::{PushRequest, has, push};
use backplan_runtime::postgres::wal::rival::{Pushing, refuse_copy};
use backplan_runtime::postgres::wal::{WalError, waiting};
use backplan_runtime::store::{Patience, address};
use backplan_runtime::threads::on_each;
use jiff::Timestamp;

use super::identities;
use super::plan::{current_folder, silently};
use crate::args::{FetchArgs, Global, InitArgs, PushArgs, WalArgs, WalCommand};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// Does what Postgres asks for.
///
/// # Errors
/// When a file is not where it was to go.
pub fn execute(args: &WalArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    match &args.command {
        WalCommand::Push(args) => archive_file(args, global, console),
        WalCommand::Fetch(args) => fetch_file(args, global),
        WalCommand::Init(args) => init(args, global, console),
    }
}

/// A plan's `wal` block, with what it names.
struct Declared<'m> {
    wal: &'m Wal,
    source: &'m Source,
    stores: Vec<&'m Store>,
}

fn declared<'m>(model: &'m Model, source: &str) -> Result<Declared<'m>, Failure> {
    let wal = model.wals.iter().find(|wal| model.source(wal.source).name == source).ok_or_else(|| {
        let known: Vec<&str> = model.wals.iter().map(|wal| model.source(wal.source).name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { format!("`{}`", known.join("`, `")) };
        Failure::usage(format!("plan `{}` has no `wal {source}` block; it has {known}", model.name))
            .help(format!("write `wal {source} {{ to = [STORE] }}` into the plan"))
    })?;
    let stores = wal.to.iter().map(|id| model.store(*id)).collect();
    Ok(Declared { wal, source: model.source(wal.source), stores })
}

/// Opens the archives, all at once: each may be far away.
fn open(model: &Model, declared: &Declared<'_>, access: &Access) -> Vec<Result<Archive, WalError>> {
    let source = &declared.source.name;
    on_each(&declared.stores, |store| Archive::open(store, &model.name, source, access))
}

/// What a note of files that went with another stands for: the places that they went to, and how.
fn key(model: &Model, declared: &Declared<'_>) -> String {
    let places =
        declared.stores.iter().map(|store| archive::place(store, &model.name, &declared.source.name));
    let mut words: Vec<String> = places.collect();
    words.extend(declared.wal.encrypt.iter().cloned());
    format!("1 {} {}", declared.wal.ack_any, words.join(" ")).replace('\n', " ")
}

fn archive_file(args: &PushArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let model = silently(&args.file, global)?;
    let declared = declared(&model, &args.source)?;
    let file = args.path.file_name().unwrap_or_default().to_string_lossy();
    let name: WalName = file.parse().map_err(|error| failure(&WalError::Name(error)))?;
    let (data, cluster) = cluster(&args.path, declared.source)?;
    let pushing = Pushing { cluster: &cluster, name, file: &args.path, data: &data };
    if let Some(postgres) = declared.source.postgres().filter(|_| !args.take_over) {
        refuse_copy(&pushing, postgres).map_err(|error| failure(&error))?;
    }
    let key = key(&model, &declared);
    let access =
        Access { patience: Patience::Short, recipients: declared.wal.encrypt.clone(), ..Access::default() };
    let (mut archives, mut away) = (Vec::new(), Vec::new());
    for opened in open(&model, &declared, &access) {
        match opened {
            Ok(archive) => archives.push(archive),
            Err(error) => away.push(error),
        }
    }
    let any = declared.wal.ack_any;
    // Each archive is asked all the same: meanwhile another may be in its place.
    if waiting::is_done(&data, &key, name, &args.path)
        && (any || away.is_empty())
        && has(&archives, pushing.cluster, name, any)
    {
        return Ok(Status::Done);
    }
    let request = PushRequest { pushing, any, take_over: args.take_over, now: Timestamp::now() };
    let behind = waiting::behind(name, &args.path, &data);
    let (pushed, done) = push(&archives, away, &request, &behind).map_err(|error| failure(&error))?;
    waiting::note(&data, &key, &behind, &done);
    for error in &pushed.failed {
        console.remark("warning", &format!("{name}: {error}"));
    }
    Ok(Status::Done)
}

/// The cluster that a file belongs to: that of the current folder, where the server starts its commands, else that of the
/// folder that the plan names, else that of the file's own.
fn cluster(file: &Path, source: &Source) -> Result<(PathBuf, ClusterId), Failure> {
    let named = source.postgres().and_then(|postgres| postgres.data_dir.clone());
    let own =
        file.is_absolute().then(|| file.parent().and_then(Path::parent).map(Path::to_path_buf)).flatten();
    let mut first = None;
    for data in [Some(PathBuf::from(".")), named, own].into_iter().flatten() {
        match ClusterId::of_data(&data) {
            Ok(found) => return Ok((data, found)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let error =
        first.map(|error| failure(&error)).unwrap_or_else(|| Failure::new("there is no data directory"));
    Err(error.help("start it in the data directory, as Postgres does"))
}

/// The words of a fetch, told apart.
struct Wanted<'a> {
    file: Option<&'a Path>,
    source: String,
    name: WalName,
    to: &'a Path,
}

fn wanted(args: &FetchArgs) -> Result<Wanted<'_>, Failure> {
    let (file, rest) = match (args.words.as_slice(), args.store.is_empty()) {
        ([file, rest @ ..], _) if rest.len() == 3 => (Some(file.as_path()), rest),
        (rest, false) if rest.len() == 3 => (None, rest),
        _ => {
            return Err(Failure::usage("it wants FILE SOURCE NAME PATH, or --store FOLDER SOURCE NAME PATH")
                .help("restore_command = 'plan wal fetch FILE SOURCE %f %p'"));
        }
    };
    let text = |at: usize| rest[at].to_string_lossy().into_owned();
    let name = text(1).parse().map_err(|error| failure(&WalError::Name(error)))?;
    Ok(Wanted { file, source: text(0), name, to: &rest[2] })
}

/// What Postgres takes for "the log ends here" is status 1. It must be that only where it is so: a recovery that ends
/// because a disk is not mounted opens a server without its last transactions.
fn fetch_file(args: &FetchArgs, global: &Global) -> Result<Status, Failure> {
    let is_standby = Path::new("standby.signal").exists();
    fetch_wanted(args, global).map_err(|(failure, is_end)| match (is_end, is_standby) {
        (true, _) => failure,
        // A standby asks again until it is told to stop.
        (false, true) => failure,
        (false, false) => Failure { status: Status::Unfit, ..failure },
    })
}

fn fetch_wanted(args: &FetchArgs, global: &Global) -> Result<Status, (Failure, bool)> {
    let lasting = |failure: Failure| (failure, false);
    let wanted = wanted(args).map_err(lasting)?;
    let data = current_folder().map_err(lasting)?;
    let cluster = ClusterId::of_data(Path::new(".")).map_err(|error| {
        lasting(failure(&error).help("start it in the data directory that recovers, as Postgres does"))
    })?;
    let stock = stock(args, &wanted, global).map_err(lasting)?;
    if args.ahead {
        if let WalName::Segment(segment) = wanted.name {
            let bytes = std::fs::metadata(wanted.to).map_or(0, |seen| seen.len());
            // Nobody waits for it, and nobody reads what it says.
            let _ = fetch_ahead(&stock, &cluster, segment, bytes.max(1 << 20), &data);
        }
        return Ok(Status::Done);
    }
    fetch(&stock, &cluster, wanted.name, &data, wanted.to)
        .map_err(|error| (failure(&error), matches!(error, WalError::Absent(_))))?;
    if wants_more(&data, wanted.name) {
        // The next segments are fetched meanwhile; without, recovery is slower and nothing else.
        let _ = start_ahead(args);
    }
    Ok(Status::Done)
}

fn stock(args: &FetchArgs, wanted: &Wanted<'_>, global: &Global) -> Result<Stock, Failure> {
    let keys = identities::keys(&args.identities, || true)?;
    let access = Access { keys: Arc::new(keys), patience: Patience::Short, ..Access::default() };
    if let Some(file) = wanted.file {
        let model = silently(file, global)?;
        let mut declared = declared(&model, &wanted.source)?;
        let is_named =
            |store: &&Store| args.store.iter().any(|named| named.as_os_str() == store.name.as_str());
        let named: Vec<&Store> = declared.stores.iter().copied().filter(is_named).collect();
        if named.len() < args.store.len() {
            let known: Vec<&str> = declared.stores.iter().map(|store| store.name.as_str()).collect();
            let known = known.join("`, `");
            return Err(Failure::usage(format!("the log of `{}` goes to `{known}`", wanted.source))
                .help("name one of these with `--store`, or a folder or an address, and no plan"));
        }
        if !named.is_empty() {
            declared.stores = named;
        }
        let access = Access { recipients: declared.wal.encrypt.clone(), ..access };
        let archives = open(&model, &declared, &access);
        return Ok(Stock { archives, is_each_whole: !declared.wal.ack_any });
    }
    let open = |root: &PathBuf| {
        let store = store_at(root)?;
        let plan = plan_in(&store, args.plan_name.as_deref())?;
        Ok(Archive::open(&store, &plan, &wanted.source, &access))
    };
    let archives = args.store.iter().map(open).collect::<Result<_, Failure>>()?;
    Ok(Stock { archives, is_each_whole: false })
}

/// The store at a folder or an address.
///
/// # Errors
/// [`Status::Usage`] where it is none.
pub fn store_at(root: &Path) -> Result<Store, Failure> {
    address::parse(root).map_err(|error| Failure::usage(error.to_string()))
}

/// The plan whose archive a store has.
///
/// # Errors
/// When it has none, or several and none is named.
pub fn plan_in(store: &Store, named: Option<&str>) -> Result<String, Failure> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let names = archive::names(store, None, &Access::default()).map_err(|error| failure(&error))?;
    match names.as_slice() {
        [] => Err(Failure::new(format!("`{}` has no archive of a log", store.name))),
        [only] => Ok(only.clone()),
        _ => Err(Failure::usage(format!(
            "`{}` has archives of several plans: `{}`",
            store.name,
            names.join("`, `")
        ))
        .help("say which: `--plan-name NAME`")),
    }
}

/// Starts this command once more, to fetch what follows; it goes on when this one has ended.
fn start_ahead(args: &FetchArgs) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1).take_while(|word| word != "fetch"));
    command.args(["fetch", "--ahead"]);
    for store in &args.store {
        command.arg("--store").arg(store);
    }
    for file in &args.identities.identity {
        command.arg("--identity").arg(file);
    }
    if let Some(plan) = &args.plan_name {
        command.args(["--plan-name", plan]);
    }
    command.args(&args.words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // In a group of its own: the server ends its commands with their groups.
    command.process_group(0).spawn().map(drop)
}

fn init(args: &InitArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let model = silently(&args.file, global)?;
    let declared = declared(&model, &args.source)?;
    for store in &declared.stores {
        // A folder that is made where a disk is to be mounted would take the log.
        if let Some(folder) = store.folder().filter(|folder| !folder.is_dir()) {
            let missing = format!("store `{}`: `{}` is not there", store.name, folder.display());
            return Err(Failure::new(missing).help("mount it, or make the folder that it is to be in"));
        }
        let made = backplan_runtime::postgres::wal::init(&model, declared.source, store, &Access::default())
            .map_err(|error| failure(&error))?;
        let place = archive::place(store, &model.name, &declared.source.name);
        let what = if made { "made" } else { "there already" };
        console.answer(&format!("store `{}`: `{place}` ({what})\n", store.name));
    }
    Ok(Status::Done)
}

/// A failure of an archive.
pub fn failure(error: &WalError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        WalError::NoArchive { .. } => {
            failure.help("mount the right one; for a new archive: `plan wal init FILE SOURCE`, as the account that runs the plan")
        }
        WalError::Differs { .. } => failure.help(
            "find out which of the two is the cluster that goes on; a copy of it must not archive (`archive_mode = off`), or as another source",
        ),
        WalError::Copy { .. } | WalError::Forked { .. } => failure.help(
            "turn archiving off in the copy (`archive_mode = off`); where this one is to take the other's place, stop that and write \
             `plan wal push --take-over` into this one's `archive_command`",
        ),
        WalError::Away { .. } => failure.help(
            "have it back; to recover from what one store has of the log, restore with `--store NAME`, a store of the plan, or without \
             one with `--store PATH`",
        ),
        WalError::Hole { .. } => failure.help(
            "copy the file into the archive of another store, or recover to a point before it: `plan restore --at TIME` or `--lsn LSN`",
        ),
        WalError::NoSegment { cause: NoSegment::Headless | NoSegment::Length { .. }, .. } => failure.help(
            "its server could not recover from it either: look after its disk, and make a full backup, which needs nothing of it; once \
             its `.ready` in `pg_wal/archive_status` is removed, the server archives what comes behind",
        ),
        WalError::OtherCluster { .. } | WalError::NoSegment { .. } => failure.help("see that `%p` is what Postgres gave"),
        _ => failure,
    }
}
