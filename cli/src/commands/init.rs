//! `plan init`
//!
//! | module | does |
//! |---|---|
//! | `ask` | questions at a terminal |
//! | `text` | the plan's text |

mod ask;
mod text;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backplan_compiler::compile;
use backplan_compiler::finding::Severity;
use backplan_runtime::discover::servers::{Server, servers};
use backplan_runtime::discover::{Found, Large, discover};
use backplan_runtime::load::{self, display};

use self::ask::{agreed, asked, paths};
use self::text::text;
use super::plan::{current_folder, inputs, of_load};
use crate::args::{Global, InitPlanArgs, WantedClusters};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::progress::bytes;

/// The longest that is looked around.
const LOOKING: Duration = Duration::from_secs(10);

/// What the plan is made from.
struct Wanted {
    /// Files and folders that are read as such.
    files: Vec<PathBuf>,
    store: PathBuf,
    found: Found,
    servers: Vec<Server>,
    /// Folders below the files that are not to be backed up.
    left_out: Vec<PathBuf>,
}

/// Writes a first plan.
///
/// # Errors
/// When there is something at its path, or no good plan comes of the answers: then nothing is written.
pub fn execute(args: &InitPlanArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let current = current_folder()?;
    let target = target(args, &current);
    if target.symlink_metadata().is_ok() {
        return Err(there(&target));
    }
    let asks = !args.yes && io::stdin().is_terminal();
    let servers = if args.postgres == WantedClusters::Auto { servers() } else { Vec::new() };
    for server in &servers {
        let shown = display(&server.socket);
        console.say(&format!("found a Postgres server: {shown}, port {}; pg_dump copies it\n", server.port));
    }
    let mut wanted = wanted(args, global, &current, servers, asks.then_some(&mut *console))?;
    let large = std::mem::take(&mut wanted.found.large);
    for folder in &large {
        if is_below_any(&folder.path, &wanted.left_out) {
            continue;
        }
        let words = costs(folder, wanted.found.size);
        if asks && agreed(console, &format!("{words}: leave it out?"), false)? {
            wanted.left_out.push(folder.path.clone());
        } else if !asks {
            console.say(&format!("{words}; `--exclude` leaves it out\n"));
        }
    }
    wanted.leave_out();
    let text = text(&wanted, &target)?;
    sound(&text, &target, global)?;
    told(&wanted, console);
    if asks {
        console.complain(&format!("{text}\n"));
        if !agreed(console, &format!("write this to `{}`?", display(&target)), true)? {
            return Err(Failure::new("nothing was written"));
        }
    }
    write(&target, &text)?;
    console.answer(&format!("wrote {}\n", display(&target)));
    console.answer(&format!("next: plan run --dry-run {}\n", display(&target)));
    Ok(Status::Done)
}

/// What is given, found and, with a console, asked for.
fn wanted(
    args: &InitPlanArgs,
    global: &Global,
    current: &Path,
    servers: Vec<Server>,
    mut console: Option<&mut Console>,
) -> Result<Wanted, Failure> {
    let absolute = |path: &PathBuf| load::normalize(&current.join(path));
    let mut sources: Vec<PathBuf> = args.sources.iter().map(absolute).collect();
    let home = inputs(global)?.home;
    if let (true, Some(console)) = (sources.is_empty(), console.as_deref_mut()) {
        let none = if servers.is_empty() { "" } else { "; nothing: the Postgres servers alone" };
        let question = format!("what is to be backed up? files and folders, with spaces between them{none}");
        sources = asked(console, &question, |answer| {
            let paths: Vec<PathBuf> = paths(answer, home.as_deref())?.iter().map(absolute).collect();
            match missing(&paths) {
                Some(missing) => Err(format!("`{}` is not there", display(missing))),
                None if paths.is_empty() && servers.is_empty() => Err("name a file or a folder".to_owned()),
                None => Ok(paths),
            }
        })?;
    }
    if let Some(missing) = missing(&sources) {
        return Err(Failure::new(format!("`{}` is not there", display(missing)))
            .help("name files and folders that exist"));
    }
    let mut store =
        args.store.as_ref().map(|path| if is_address(path) { path.clone() } else { absolute(path) });
    if let (true, Some(console)) = (store.is_none(), console) {
        store = Some(asked(console, "which folder do backups go to?", |answer| {
            folder_for_backups(&paths(answer, home.as_deref())?, &absolute, &sources)
        })?);
    }
    let Some(store) = store.filter(|_| !sources.is_empty() || !servers.is_empty()) else {
        return Err(Failure::new("what is to be backed up, and where to, is not said")
            .help("give `--source PATH` and `--store PATH`; at a terminal both are asked for"));
    };
    let left_out: Vec<PathBuf> = args.exclude.iter().map(absolute).collect();
    let is_below = |path: &PathBuf| sources.iter().any(|source| path != source && path.starts_with(source));
    if let Some(odd) = left_out.iter().find(|path| !is_below(path)) {
        return Err(Failure::new(format!("`{}` is not below a source", display(odd)))
            .help("what is in no source is left out anyway"));
    }
    let found = discover(&sources, Instant::now() + LOOKING);
    Ok(Wanted { files: sources, store, found, servers, left_out })
}

/// Whether it says where a store is that is no folder of this machine.
fn is_address(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains("://"))
}

fn missing(paths: &[PathBuf]) -> Option<&PathBuf> {
    paths.iter().find(|path| path.symlink_metadata().is_err())
}

/// The one folder that an answer names, if backups can go to it.
fn folder_for_backups(
    paths: &[PathBuf],
    absolute: &dyn Fn(&PathBuf) -> PathBuf,
    sources: &[PathBuf],
) -> Result<PathBuf, String> {
    let [path] = paths else { return Err("name one folder; it need not be there yet".to_owned()) };
    let path = absolute(path);
    if path.metadata().is_ok_and(|meta| !meta.is_dir()) {
        return Err(format!("`{}` is no folder", display(&path)));
    }
    match sources.iter().find(|source| path.starts_with(source)) {
        Some(source) => Err(format!("that is inside `{}`: backups would hold themselves", display(source))),
        None => Ok(path),
    }
}

fn is_below_any(path: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn costs(folder: &Large, of: u64) -> String {
    format!("`{}` holds {} of {}", display(&folder.path), bytes(folder.size), bytes(of))
}

impl Wanted {
    /// Takes out what is left out, what is no plain file, and what another path holds already.
    fn leave_out(&mut self) {
        let Wanted { files, found, left_out, .. } = self;
        found.databases.retain(|path| !is_below_any(path, left_out));
        found.clusters.retain(|path| !is_below_any(path, left_out));
        files.retain(|path| !found.databases.contains(path) && !found.clusters.contains(path));
        files.sort();
        files.dedup();
        let all = files.clone();
        files.retain(|path| !all.iter().any(|other| other != path && path.starts_with(other)));
    }
}

fn target(args: &InitPlanArgs, current: &Path) -> PathBuf {
    let target = args.target.as_ref().map_or(current.to_path_buf(), |target| current.join(target));
    let target = if target.is_dir() { target.join("backup.plan") } else { target };
    load::normalize(&target)
}

fn there(target: &Path) -> Failure {
    Failure::new(format!("`{}` is there already, and nothing is written over", display(target)))
        .help("name another file: `plan init other.plan`")
}

/// What was found and what became of it.
fn told(wanted: &Wanted, console: &mut Console) {
    for database in &wanted.found.databases {
        console.say(&format!("found the SQLite database {}: it is copied by itself\n", display(database)));
    }
    for data in &wanted.found.clusters {
        let runs = wanted.servers.iter().any(|server| server.data.as_ref() == Some(data));
        let what =
            if runs { "its files are left out" } else { "left out: no running server was found for it" };
        console.say(&format!("found the Postgres cluster {}: {what}\n", display(data)));
    }
    for name in &wanted.found.useless {
        console.say(&format!("folders `{name}` are left out: they can be made anew\n"));
    }
    if wanted.found.cut_short {
        console.say("there is more than could be looked at: see that no database is among the files\n");
    }
}

/// The plan must pass the check: nothing else is written.
fn sound(text: &str, target: &Path, global: &Global) -> Result<(), Failure> {
    let current = current_folder()?;
    let read = |path: &Path| if path == target { Ok(text.to_owned()) } else { load::read_text(path) };
    let set = load::load_by(target, display(target), &current, &read).map_err(|error| of_load(&error))?;
    let compiled = compile(&set, &inputs(global)?);
    let bad = compiled.findings.iter().find(|finding| finding.severity != Severity::Note);
    match bad {
        None => Ok(()),
        Some(finding) => {
            let failure =
                Failure::new(format!("no good plan comes of this: {}: {}", finding.name, finding.message));
            Err(match &finding.help {
                Some(help) => failure.help(help.clone()),
                None => failure,
            })
        }
    }
}

fn write(target: &Path, text: &str) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).open(target);
    let mut file = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => there(target),
        _ => Failure::new(format!("`{}` cannot be written: {error}", display(target))),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // The file is this program's own, made a moment ago; half a plan would look like one.
        let _ = std::fs::remove_file(target);
        Failure::new(format!("`{}` cannot be written: {error}", display(target)))
    })
}
