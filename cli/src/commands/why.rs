//! `plan why`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{Files, Model, Source, SourceId, SourceKind};
use backplan_compiler::sources::{Place, SourceSet};
use backplan_runtime::catalog::details::Root;
use backplan_runtime::load;
use backplan_runtime::moment::shown;
use backplan_runtime::recall::shelf::{Held, Piece, Shelf, Shelves};
use backplan_runtime::scan::why::{Answer, Rule, why};
use jiff::Timestamp;
use serde::Serialize;

use super::plan::{Ready, current_folder, ready};
use super::shelves::choice;
use crate::args::{Format, Global, PlanFile, WhyArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::human::plural;
use crate::render::text::harmless;
use crate::render::{json, position};

/// Backups that are looked into, the newest first: each index has to be read.
const MOST_RUNS: usize = 200;

#[derive(Debug, Serialize)]
struct Document {
    format: u32,
    path: String,
    exists: bool,
    backed_up: bool,
    sources: Vec<Reader>,
    backups: Vec<Backup>,
    /// What could not be told, and why.
    unknown: Vec<String>,
}

/// What one source does with the path.
#[derive(Debug, Serialize)]
struct Reader {
    source: String,
    taken: bool,
    /// In words, with the place of the rule.
    why: String,
    rule: &'static str,
    /// Its name inside the artefacts.
    inside: Option<String>,
    reaches: Vec<Reached>,
}

#[derive(Debug, Serialize)]
struct Reached {
    archive: String,
    stores: Vec<String>,
}

/// A backup that holds it.
#[derive(Debug, Serialize)]
struct Backup {
    run: String,
    started: String,
    #[serde(skip)]
    at: Timestamp,
    /// By the names they had then.
    sources: BTreeSet<String>,
    stores: BTreeSet<String>,
}

/// A path inside the artefacts: the source, and the path below its folder with that before it.
type Inside = (String, String);

/// Says whether a path is backed up, and why.
///
/// # Errors
/// When the plan does not compile.
pub fn execute(args: &WhyArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let Ready { model, sources, .. } = ready(&PlanFile { file: Some(args.file.clone()) }, global, console)?;
    let path = load::normalize(&current_folder()?.join(&args.path));
    let mut readers = Vec::new();
    for (index, source) in model.sources.iter().enumerate() {
        readers.extend(reader(&model, &sources, SourceId(index), source, &path));
    }
    let mut document = Document {
        format: 1,
        path: load::display(&path),
        exists: path.symlink_metadata().is_ok(),
        backed_up: readers.iter().any(|reader| reader.taken && !reader.reaches.is_empty()),
        sources: readers,
        backups: Vec::new(),
        unknown: Vec::new(),
    };
    backups(&model, &path, &mut document);
    match args.format {
        Format::Human => console.answer(&human(&document)),
        Format::Json => console.answer(&json::document(&document)),
    }
    let is_clear = document.backed_up && document.unknown.is_empty();
    Ok(if is_clear { Status::Done } else { Status::Warnings })
}

fn reader(model: &Model, set: &SourceSet, id: SourceId, source: &Source, path: &Path) -> Option<Reader> {
    let told = |taken: bool, rule: &'static str, why: String, inside: Option<PathBuf>| {
        let inside = inside.map(|inside| load::display(&Path::new(&source.name).join(inside)));
        let inside = inside.map(|inside| inside.trim_end_matches('/').to_owned());
        let reaches = reaches(model, id);
        Some(Reader { source: source.name.clone(), taken, why, rule, inside, reaches })
    };
    match &source.kind {
        SourceKind::Files(files) => {
            let below = below_root(files, path);
            let (answer, at) = match (why(files, path), below) {
                (None, Some(below)) => (why(files, &below), format!(", read at `{}`", below.display())),
                (answer, _) => (answer, String::new()),
            };
            answer.and_then(|answer| {
                let (rule, text) = of_files(set, files, &answer);
                told(answer.left_out.is_none(), rule, text + &at, Some(answer.inside))
            })
        }
        SourceKind::Sqlite { path: database } => {
            let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
            let side = |ending: &str| {
                name(database).zip(name(path)).is_some_and(|(main, own)| own == format!("{main}{ending}"))
                    && database.parent() == path.parent()
            };
            let at = place(set, source.place);
            if path == database {
                let inside = name(database).map(PathBuf::from);
                told(
                    true,
                    "database",
                    format!("it is the database ({at}), copied through its backup API"),
                    inside,
                )
            } else if side("-wal") || side("-shm") || side("-journal") {
                told(
                    true,
                    "database",
                    format!("it is a part of the database ({at}), whose copy holds it"),
                    None,
                )
            } else {
                None
            }
        }
        SourceKind::Postgres(postgres) => {
            let inside = postgres.data_dir.as_ref().is_some_and(|folder| path.starts_with(folder));
            let text =
                || format!("it belongs to the cluster ({}), which its tool reads", place(set, source.place));
            inside.then(|| told(true, "cluster", text(), None)).flatten()
        }
        SourceKind::Command(_) => None,
    }
}

/// The rule that decides, by its stable name and in words.
fn of_files(set: &SourceSet, files: &Files, answer: &Answer) -> (&'static str, String) {
    let pattern = |index: usize| {
        let pattern = &files.exclude[index];
        format!("the pattern `{}` ({})", pattern.text, place(set, pattern.place))
    };
    let entry = &files.paths[answer.root];
    let below = format!("the entry `{}` of `paths` ({})", entry.absolute.display(), place(set, entry.place));
    match &answer.left_out {
        None => match answer.again {
            Some(index) => ("pattern", format!("taken in again by {}, below {below}", pattern(index))),
            None => ("paths", format!("taken in by {below}")),
        },
        Some(Rule::Pattern(index, here)) => {
            ("pattern", format!("left out by {}, which matches `{}`", pattern(*index), here.display()))
        }
        Some(Rule::Cache(folder)) => (
            "exclude_caches",
            format!(
                "left out by `exclude_caches`: `{}` has a `CACHEDIR.TAG`, and with it goes all that is in it",
                folder.display()
            ),
        ),
        Some(Rule::FileSystem(folder)) => (
            "one_file_system",
            format!("left out by `one_file_system`: `{}` is on another file system", folder.display()),
        ),
        Some(Rule::Size(bytes)) => {
            ("max_file_size", format!("left out by `max_file_size`: it has {bytes} bytes"))
        }
        Some(Rule::Link(link)) => (
            "symbolic_link",
            format!("left out: `{}` is a symbolic link, which is recorded and not followed", link.display()),
        ),
        Some(Rule::Socket) => ("socket", "left out: sockets are not recorded".to_owned()),
    }
}

/// `site.plan:6:12`
fn place(set: &SourceSet, place: Place) -> String {
    let file = set.file(place.file);
    let at = position(&file.text, place.span.start);
    format!("{}:{}:{}", file.shown, at.line, at.column)
}

fn reaches(model: &Model, source: SourceId) -> Vec<Reached> {
    let names = |to: &[backplan_compiler::model::StoreId]| -> Vec<String> {
        let name = |id: &backplan_compiler::model::StoreId| {
            let store = model.store(*id);
            if store.offsite { format!("{} (offsite)", store.name) } else { store.name.clone() }
        };
        to.iter().map(name).collect()
    };
    let archives = model.archives.iter().filter(|archive| archive.from.contains(&source));
    let archives =
        archives.map(|archive| Reached { archive: archive.name.clone(), stores: names(&archive.to) });
    let separate = model.separate(source);
    let separate = separate.map(|one| Reached { archive: "separate".to_owned(), stores: names(&one.to) });
    archives.chain(separate).collect()
}

/// Where a source with a `root` reads what it records as this path.
fn below_root(files: &Files, path: &Path) -> Option<PathBuf> {
    let root = files.root.as_ref()?;
    Some(root.join(path.strip_prefix("/").unwrap_or(path)))
}

/// The backups that hold the path, whatever the plan says of it now, and whatever its sources were called then.
fn backups(model: &Model, path: &Path, document: &mut Document) {
    let shelves = match Shelves::of_plan(model, None) {
        Ok(shelves) => shelves,
        Err(error) => return document.unknown.push(format!("which backups hold it is not known: {error}")),
    };
    document.unknown.extend(shelves.warnings());
    let readers = document.sources.iter();
    let now: BTreeSet<Inside> =
        readers.filter_map(|reader| Some((reader.source.clone(), reader.inside.clone()?))).collect();
    let below = model.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Files(files) => below_root(files, path),
        _ => None,
    });
    let read_at: BTreeSet<PathBuf> = below.chain([path.to_path_buf()]).collect();
    let mut runs: Vec<_> =
        shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs()).map(|manifest| manifest.run).collect();
    runs.sort_unstable();
    runs.dedup();
    if runs.len() > MOST_RUNS {
        document.unknown.push(format!(
            "{} are older than the {MOST_RUNS} that were looked into",
            plural(runs.len() - MOST_RUNS, "backup")
        ));
    }
    for run in runs.into_iter().rev().take(MOST_RUNS) {
        match held(&shelves, &run.to_string(), &now, &read_at, &mut document.unknown) {
            Ok(found) => document.backups.extend(found),
            Err(why) => document.unknown.push(unknown(&run.to_string(), &why)),
        }
    }
}

fn unknown(run: &str, why: &str) -> String {
    format!("whether run `{run}` holds it is not known: {why}")
}

fn held(
    shelves: &Shelves,
    run: &str,
    now: &BTreeSet<Inside>,
    read_at: &BTreeSet<PathBuf>,
    doubts: &mut Vec<String>,
) -> Result<Option<Backup>, String> {
    let choice = choice(run, None).map_err(|failure| failure.message)?;
    let held = shelves.held(&choice, None).map_err(|error| error.to_string())?;
    // A manifest whose second part cannot be read tells of no other names.
    let roots = held.details().map(|details| details.roots).unwrap_or_default();
    let wanted: BTreeSet<Inside> =
        now.iter().cloned().chain(read_at.iter().flat_map(|path| recorded(&roots, path))).collect();
    let mut backup = Backup {
        run: held.manifest.run.to_string(),
        at: held.manifest.started,
        started: held.manifest.started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        sources: BTreeSet::new(),
        stores: BTreeSet::new(),
    };
    for (source, inside) in &wanted {
        for piece in &held.pieces {
            match is_in(piece, source, inside) {
                Ok(false) => {}
                Ok(true) => {
                    backup.sources.insert(source.clone());
                    backup.stores.extend(stores_of(shelves, &held, piece));
                }
                Err(why) => {
                    let doubt = unknown(run, &why);
                    doubts.extend((!doubts.contains(&doubt)).then_some(doubt));
                }
            }
        }
    }
    Ok((!backup.sources.is_empty()).then_some(backup))
}

/// What a run has recorded a path as, by where its sources were read: of each source by the nearest entry of its `paths`.
fn recorded(roots: &[Root], path: &Path) -> Vec<Inside> {
    let mut nearest: BTreeMap<&str, &Root> = BTreeMap::new();
    let depth = |root: &Root| root.original.components().count();
    for root in roots.iter().filter(|root| path.starts_with(&*root.original)) {
        let known = nearest.entry(&root.source).or_insert(root);
        if depth(root) > depth(known) {
            *known = root;
        }
    }
    let inside = |(source, root): (&str, &Root)| {
        let rest = path.strip_prefix(&*root.original).unwrap_or(Path::new(""));
        let inside = load::display(&Path::new(source).join(&*root.inside).join(rest));
        (source.to_owned(), inside.trim_end_matches('/').to_owned())
    };
    nearest.into_iter().map(inside).collect()
}

fn is_in(piece: &Piece<'_>, source: &str, inside: &str) -> Result<bool, String> {
    if !piece.archive.contents.iter().any(|content| content.source == source) {
        return Ok(false);
    }
    let chain = piece.chain(&|other| other == source).map_err(|error| error.to_string())?;
    let found = chain.view.find(inside.as_bytes()).map_err(|error| chain.error(error).to_string())?;
    Ok(found.is_some())
}

/// The stores that have an archive of a run.
fn stores_of<'a>(
    shelves: &'a Shelves,
    held: &'a Held<'_>,
    piece: &'a Piece<'_>,
) -> impl Iterator<Item = String> + use<'a> {
    let has = |shelf: &&Shelf| {
        let manifest = shelf.catalog.get(&held.manifest.run);
        manifest.is_some_and(|one| one.archives.iter().any(|archive| archive.name == piece.archive.name))
    };
    shelves.shelves.iter().filter(has).map(|shelf| shelf.store.label().to_owned())
}

fn human(document: &Document) -> String {
    let state = if document.exists { "" } else { " (not there now)" };
    let verdict = if document.backed_up { "is backed up" } else { "is NOT backed up" };
    let mut out = format!("{}{state} {verdict}\n", document.path);
    if document.sources.is_empty() {
        out.push_str("  no source of the plan reads it\n");
    }
    for reader in &document.sources {
        let sign = if reader.taken { "+" } else { "-" };
        let _ = writeln!(out, "  {sign} source `{}`: {}", reader.source, reader.why);
        if let Some(inside) = reader.inside.as_ref().filter(|_| reader.taken) {
            let _ = writeln!(out, "      recorded as {inside}");
        }
        for reached in reader.reaches.iter().filter(|_| reader.taken) {
            let _ = writeln!(out, "      archive `{}` -> {}", reached.archive, reached.stores.join(", "));
        }
        if reader.taken && reader.reaches.is_empty() {
            out.push_str("      it reaches no store\n");
        }
    }
    if !document.backups.is_empty() {
        let _ = writeln!(out, "held by {}, the newest first:", plural(document.backups.len(), "backup"));
    } else if document.unknown.is_empty() {
        out.push_str("no backup holds it\n");
    }
    let is_now = |name: &&String| document.sources.iter().any(|reader| reader.source == **name);
    for backup in &document.backups {
        let stores: Vec<&str> = backup.stores.iter().map(String::as_str).collect();
        let _ = write!(out, "  {}  {}  in {}", shown(backup.at), backup.run, stores.join(", "));
        let then: Vec<String> =
            backup.sources.iter().filter(|name| !is_now(name)).map(|name| format!("`{name}`")).collect();
        if !then.is_empty() {
            let _ = write!(out, ", by source {}", then.join(", "));
        }
        out.push('\n');
    }
    for text in &document.unknown {
        let _ = writeln!(out, "  ? {text}");
    }
    harmless(&out)
}
