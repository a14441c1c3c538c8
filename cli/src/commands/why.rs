//! `plan why`

use std::fmt::Write;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{Files, Model, Source, SourceId, SourceKind};
use backplan_compiler::sources::{Place, SourceSet};
use backplan_runtime::load;
use backplan_runtime::recall::shelf::Shelves;
use backplan_runtime::scan::why::{Answer, Rule, why};
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
    source: String,
    stores: Vec<String>,
}

/// Says whether a path is backed up, and why.
///
/// # Errors
/// When the plan does not compile.
pub fn execute(args: &WhyArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let Ready { model, sources, .. } = ready(&PlanFile { file: Some(args.file.clone()) }, global, console)?;
    let path = load::normalize(&current_folder()?.join(&args.path));
    let mut readers = Vec::new();
    for (index, source) in model.sources.iter().enumerate() {
        readers.extend(reader(&model, &sources, SourceId(index), source, &path)?);
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
    backups(&model, &mut document);
    match args.format {
        Format::Human => console.answer(&human(&document)),
        Format::Json => console.answer(&json::document(&document)),
    }
    let is_clear = document.backed_up && document.unknown.is_empty();
    Ok(if is_clear { Status::Done } else { Status::Warnings })
}

fn reader(
    model: &Model,
    set: &SourceSet,
    id: SourceId,
    source: &Source,
    path: &Path,
) -> Result<Option<Reader>, Failure> {
    let told = |taken: bool, rule: &'static str, why: String, inside: Option<PathBuf>| {
        let inside = inside.map(|inside| load::display(&Path::new(&source.name).join(inside)));
        let inside = inside.map(|inside| inside.trim_end_matches('/').to_owned());
        let reaches = reaches(model, id);
        Some(Reader { source: source.name.clone(), taken, why, rule, inside, reaches })
    };
    Ok(match &source.kind {
        SourceKind::Files(files) => {
            let answer = why(&source.name, files, path).map_err(|error| Failure::new(error.to_string()))?;
            answer.and_then(|answer| {
                let (rule, text) = of_files(set, files, &answer);
                told(answer.left_out.is_none(), rule, text, Some(answer.inside))
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
    })
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

/// The backups that hold the path, whatever the plan says of it now.
fn backups(model: &Model, document: &mut Document) {
    let wanted: Vec<(String, String)> = document
        .sources
        .iter()
        .filter_map(|reader| Some((reader.source.clone(), reader.inside.clone()?)))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let shelves = match Shelves::of_plan(model, None) {
        Ok(shelves) => shelves,
        Err(error) => return document.unknown.push(format!("which backups hold it is not known: {error}")),
    };
    document.unknown.extend(shelves.warnings());
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
        for (source, inside) in &wanted {
            match held(&shelves, &run.to_string(), source, inside) {
                Ok(found) => document.backups.extend(found),
                Err(why) => {
                    document.unknown.push(format!("whether run `{run}` holds it is not known: {why}"))
                }
            }
        }
    }
}

fn held(shelves: &Shelves, run: &str, source: &str, inside: &str) -> Result<Option<Backup>, String> {
    let choice = choice(run, None).map_err(|failure| failure.message)?;
    let held = shelves.held(&choice, None).map_err(|error| error.to_string())?;
    for piece in &held.pieces {
        if !piece.archive.contents.iter().any(|content| content.source == source) {
            continue;
        }
        let chain = piece.chain(&|other| other == source).map_err(|error| error.to_string())?;
        let found = chain.view.find(inside.as_bytes()).map_err(|error| chain.error(error).to_string())?;
        if found.is_none() {
            continue;
        }
        let has = |shelf: &&backplan_runtime::recall::shelf::Shelf| {
            let manifest = shelf.catalog.get(&held.manifest.run);
            manifest.is_some_and(|one| one.archives.iter().any(|archive| archive.name == piece.archive.name))
        };
        return Ok(Some(Backup {
            run: held.manifest.run.to_string(),
            started: held.manifest.started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            source: source.to_owned(),
            stores: shelves.shelves.iter().filter(has).map(|shelf| shelf.store.label().to_owned()).collect(),
        }));
    }
    Ok(None)
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
    } else if document.unknown.is_empty() && !document.sources.is_empty() {
        out.push_str("no backup holds it\n");
    }
    for backup in &document.backups {
        let _ = writeln!(out, "  {}  {}  in {}", backup.started, backup.run, backup.stores.join(", "));
    }
    for text in &document.unknown {
        let _ = writeln!(out, "  ? {text}");
    }
    harmless(&out)
}
