//! `plan init`

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backplan_compiler::compile;
use backplan_compiler::finding::Severity;
use backplan_runtime::discover::{Found, discover};
use backplan_runtime::load::{self, display};

use super::plan::{current_folder, inputs, of_load};
use crate::args::{Global, InitPlanArgs, WantedClusters};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// The longest that is looked around.
const LOOKING: Duration = Duration::from_secs(10);
/// Where Debian's servers listen.
const SOCKETS: &str = "/var/run/postgresql";

/// What the plan is made from.
struct Wanted {
    sources: Vec<PathBuf>,
    store: PathBuf,
    found: Found,
    clusters: Vec<Cluster>,
}

/// A server that runs here.
struct Cluster {
    name: String,
    port: u16,
    owner: String,
    data: PathBuf,
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
    let absolute = |path: &PathBuf| load::normalize(&current.join(path));
    let mut sources: Vec<PathBuf> = args.sources.iter().map(absolute).collect();
    if sources.is_empty() && asks {
        let text = asked(console, "what is to be backed up? paths, with spaces between them")?;
        sources.extend(text.split_whitespace().map(|path| absolute(&PathBuf::from(path))));
    }
    let mut store = args.store.as_ref().map(absolute);
    if store.is_none() && asks {
        store = Some(absolute(&PathBuf::from(asked(console, "which folder do backups go to?")?)));
    }
    let clusters = if args.postgres == WantedClusters::Auto { running() } else { Vec::new() };
    let Some(store) = store.filter(|_| !sources.is_empty() || !clusters.is_empty()) else {
        return Err(Failure::new("what is to be backed up, and where to, is not said")
            .help("give `--source PATH` and `--store PATH`; at a terminal both are asked for"));
    };
    if let Some(missing) = sources.iter().find(|source| source.symlink_metadata().is_err()) {
        return Err(Failure::new(format!("`{}` is not there", display(missing)))
            .help("name files and folders that exist"));
    }
    let found = discover(&sources, Instant::now() + LOOKING);
    let wanted = Wanted { sources, store, found, clusters };
    let text = text(&wanted, &target)?;
    sound(&text, &target, global)?;
    told(&wanted, console);
    if asks {
        console.say(&format!("{text}\n"));
        let answer = asked(console, &format!("write this to `{}`? (y/n)", display(&target)))?;
        if !answer.starts_with('y') {
            return Err(Failure::new("nothing was written"));
        }
    }
    write(&target, &text)?;
    console.answer(&format!("wrote {}\n", display(&target)));
    console.answer(&format!("next: plan run --dry-run {}\n", display(&target)));
    Ok(Status::Done)
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

fn asked(console: &mut Console, question: &str) -> Result<String, Failure> {
    console.say(&format!("{question}\n"));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| Failure::new(format!("no answer: {error}")))?;
    Ok(line.trim().to_owned())
}

/// The servers that run here, as Debian's tool lists them.
fn running() -> Vec<Cluster> {
    let listed = Command::new("pg_lsclusters").arg("-h").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let Ok(listed) = listed else { return Vec::new() };
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.lines().filter_map(cluster).collect()
}

/// `15  main    5432 online postgres /var/lib/postgresql/15/main /var/log/...`
fn cluster(line: &str) -> Option<Cluster> {
    let [version, name, port, "online", owner, data, ..] = line.split_whitespace().collect::<Vec<_>>()[..]
    else {
        return None;
    };
    let name: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    Some(Cluster {
        name: format!("postgres_{version}_{name}"),
        port: port.parse().ok()?,
        owner: owner.to_owned(),
        data: data.into(),
    })
}

/// What was found and what became of it.
fn told(wanted: &Wanted, console: &mut Console) {
    for database in &wanted.found.databases {
        console.say(&format!("found the SQLite database {}: it is copied by itself\n", display(database)));
    }
    for cluster in &wanted.clusters {
        console
            .say(&format!("found the Postgres server on port {}: it is dumped by pg_dump\n", cluster.port));
    }
    for data in &wanted.found.clusters {
        let runs = wanted.clusters.iter().any(|cluster| cluster.data == *data);
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

/// The plan's text, in the house style.
fn text(wanted: &Wanted, target: &Path) -> Result<String, Failure> {
    let stem = target.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut out =
        format!("plan {}\n\nstore backups: dir {{\n  path = {}\n}}\n\n", name(&stem), quoted(&wanted.store)?);
    if !wanted.sources.is_empty() {
        files(&mut out, wanted)?;
    }
    for (index, database) in wanted.found.databases.iter().enumerate() {
        let stem = database.file_stem().unwrap_or_default().to_string_lossy();
        let _ = write!(
            out,
            "source db_{}_{}: sqlite {{\n  path = {}\n}}\n\n",
            index + 1,
            name(&stem),
            quoted(database)?
        );
    }
    for cluster in &wanted.clusters {
        let Cluster { name, port, owner, .. } = cluster;
        let _ = write!(
            out,
            "source {name}: postgres {{\n  driver = dump\n  host = \"{SOCKETS}\"\n  port = {port}\n  run_as = \"{owner}\"\n}}\n\n"
        );
    }
    out.push_str("archive main {\n  from = all\n  to = [backups]\n}\n\ncycle {\n  incrementals = 6\n}\n\nkeep {\n  cycles = 4\n}\n\n");
    out.push_str("schedule {\n  run = daily at 02:30\n}\n");
    backplan_grammar::format(&out).map_err(|errors| {
        let why = errors.first().map(|error| error.message.clone()).unwrap_or_default();
        Failure::new(format!("no plan came of it: {why}"))
    })
}

fn files(out: &mut String, wanted: &Wanted) -> Result<(), Failure> {
    let paths = wanted.sources.iter().map(|path| quoted(path)).collect::<Result<Vec<_>, _>>()?;
    let mut exclude: Vec<String> = wanted.found.useless.iter().map(|name| format!("\"{name}/\"")).collect();
    let apart = wanted.found.databases.iter().flat_map(|path| {
        ["", "-wal", "-shm", "-journal"].map(|ending| PathBuf::from(format!("{}{ending}", path.display())))
    });
    for path in apart.chain(wanted.found.clusters.iter().cloned()) {
        let below = wanted.sources.iter().find_map(|source| path.strip_prefix(source).ok());
        if let Some(below) = below.filter(|below| !below.as_os_str().is_empty()) {
            // A pattern's own signs stand for themselves behind a backslash.
            let text = below.to_string_lossy().replace('\\', "\\\\");
            let text: String = text
                .chars()
                .flat_map(|c| if "*?[]!#".contains(c) { vec!['\\', c] } else { vec![c] })
                .collect();
            exclude.push(quoted(Path::new(&format!("/{text}")))?);
        }
    }
    // Only what is there can be left out: a pattern that never matches is a mistake elsewhere, not here.
    let _ = writeln!(out, "source files: files {{\n  paths = [{}]", paths.join(", "));
    if !exclude.is_empty() {
        let _ = writeln!(out, "  exclude = [{}]", exclude.join(", "));
    }
    out.push_str("  exclude_caches = true\n}\n\n");
    Ok(())
}

/// A name as the language wants it.
fn name(text: &str) -> String {
    let text: String =
        text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_lowercase()) { text } else { format!("p{text}") }
}

fn quoted(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| {
        Failure::new(format!("the name of `{}` cannot be written into a plan", display(path)))
            .help("rename it, or name the folder above")
    })?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$")))
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
