//! Whether a path is backed up, and why: what the plan would do with it, and which backups hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use backplan_compiler::count::plural;
use backplan_compiler::kinds::Use;
use backplan_compiler::model::{Files, Model, Source, SourceId, SourceKind, Sqlite, StoreId};
use backplan_compiler::sources::SourceSet;
use jiff::Timestamp;
use rustix::fs::{Access, access};
use serde::Serialize;

use super::shelf::{Piece, Shelf, ShelvedRun, Shelves};
use crate::catalog::details::Root;
use crate::catalog::ids::RunId;
use crate::catalog::mounted;
use crate::catalog::runs::Choice;
use crate::control::Control;
use crate::past::state;
use crate::scan::why::{Answer, Link, Rule, why};
use crate::text::printable;

/// Backups that are looked into, the newest first: each index has to be read.
const MOST_RUNS: usize = 200;

/// What is known of a path.
#[derive(Debug, Serialize)]
pub struct Known {
    /// Of this document.
    format: u32,
    /// The path, absolute, as it may be typed again.
    pub path: String,
    /// Whether it is there now.
    pub exists: bool,
    /// Whether the newest run holds it, in every store that it is to reach.
    pub backed_up: bool,
    /// Whether a run that began now would take it into a store.
    pub planned: bool,
    /// Why it cannot be read, or not be looked at; then it counts as there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// The sources that meet it.
    pub sources: Vec<Reader>,
    /// Of each store that it is to reach and that can be read.
    pub newest: Vec<Newest>,
    /// Those that hold it, the newest first.
    pub backups: Vec<Backup>,
    /// What could not be told, and why.
    pub unknown: Vec<String>,
    /// The runs of which it is not known whether they hold it.
    #[serde(skip)]
    doubtful: BTreeSet<RunId>,
}

/// What one source does with the path.
#[derive(Debug, Serialize)]
pub struct Reader {
    /// Its name.
    pub source: String,
    /// Whether it takes it in.
    pub taken: bool,
    /// In words, with the place of the rule.
    pub why: String,
    /// The rule that decides, by a name that stays.
    pub rule: &'static str,
    /// Its name inside the artefacts.
    #[serde(serialize_with = "shown_path")]
    pub inside: Option<Vec<u8>>,
    /// Where it goes.
    pub reaches: Vec<Reached>,
}

impl Reader {
    /// Adds that what the path is on is not mounted.
    fn misses(&mut self, model: &Model, stores: &Stores, path: &Path) {
        let at = model.sources.iter().position(|source| source.name == self.source);
        let (Some(at), Ok(state)) = (at, state::root()) else { return };
        let shelves = stores.iter().flat_map(|shelves| &shelves.shelves).map(|shelf| &shelf.catalog);
        let missed = mounted::missed(model, SourceId(at), &state, &shelves, &Control::default());
        if let Some((_, text)) = missed.unwrap_or_default().into_iter().find(|(top, _)| path.starts_with(top))
        {
            let _ = write!(self.why, "; {text}");
        }
    }

    fn is_kept(&self) -> bool {
        self.taken && !self.reaches.is_empty()
    }
}

/// The newest run of a store.
#[derive(Debug, Serialize)]
pub struct Newest {
    /// The store's name.
    pub store: String,
    /// Where there is one.
    pub run: Option<String>,
    /// When it began.
    #[serde(skip)]
    pub at: Option<Timestamp>,
    /// Whether it holds the path; `None`: it cannot be looked into.
    pub holds: Option<bool>,
}

/// An archive that a source goes into, and where that goes.
#[derive(Debug, Serialize)]
pub struct Reached {
    /// The archive's name, or `separate`.
    pub archive: String,
    /// Its stores.
    #[serde(serialize_with = "shown_stores")]
    pub stores: Vec<To>,
}

/// A store of an archive.
#[derive(Debug)]
pub struct To {
    /// Its name.
    pub name: String,
    /// Whether it is said to be elsewhere.
    pub offsite: bool,
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.offsite { " (offsite)" } else { "" })
    }
}

fn shown_stores<S: serde::Serializer>(stores: &[To], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(stores.iter().map(ToString::to_string))
}

/// A backup that holds it.
#[derive(Debug, Serialize)]
pub struct Backup {
    /// Its run.
    pub run: String,
    started: String,
    /// When it began.
    #[serde(skip)]
    pub at: Timestamp,
    /// By the names they had then.
    pub sources: BTreeSet<String>,
    /// Those that have it.
    pub stores: BTreeSet<String>,
}

/// A path inside the artefacts: the source, and the path below its folder with that before it.
type Inside = (String, Vec<u8>);

fn shown_path<S: serde::Serializer>(path: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(printable).serialize(to)
}

/// The plan's stores, or why none can be read.
pub type Stores = Result<Shelves, String>;

/// What is known of an absolute path.
pub fn of_path(model: &Model, set: &SourceSet, stores: &Stores, path: &Path) -> Known {
    let mut readers = Vec::new();
    for (index, source) in model.sources.iter().enumerate() {
        readers.extend(reader(model, set, SourceId(index), source, path));
    }
    readers.iter_mut().for_each(|reader: &mut Reader| reader.misses(model, stores, path));
    let below = model.sources.iter().filter_map(|source| below_root(source.files()?, path));
    let looked: Vec<_> = below.chain([path.to_path_buf()]).filter_map(|path| look(&path)).collect();
    let exists = !looked.is_empty();
    let unreadable = looked.into_iter().reduce(|first, other| first.or(other)).and_then(Result::err);
    let mut known = Known {
        format: 1,
        path: printable(path.as_os_str().as_bytes()),
        exists,
        backed_up: false,
        planned: exists && unreadable.is_none() && readers.iter().any(Reader::is_kept),
        unreadable,
        sources: readers,
        newest: Vec::new(),
        backups: Vec::new(),
        unknown: Vec::new(),
        doubtful: BTreeSet::new(),
    };
    backups(model, stores, path, &mut known);
    let newest = &known.newest;
    known.backed_up = !newest.is_empty() && newest.iter().all(|newest| newest.holds == Some(true));
    known
}

fn reader(model: &Model, set: &SourceSet, id: SourceId, source: &Source, path: &Path) -> Option<Reader> {
    let told = |taken: bool, rule: &'static str, why: String, inside: Option<PathBuf>| {
        let inside = inside.map(|inside| spelt(&Path::new(&source.name).join(inside)));
        let reaches = reaches(model, id);
        Some(Reader { source: source.name.clone(), taken, why, rule, inside, reaches })
    };
    match &source.kind {
        SourceKind::Files(files) => {
            let below = below_root(files, path);
            let (answer, at) = match (why(files, path), below) {
                (None, Some(below)) => (why(files, &below), format!(", read at {}", quoted(&below))),
                (answer, _) => (answer, String::new()),
            };
            answer.and_then(|answer| {
                let (rule, text) = of_files(set, files, &answer);
                told(answer.left_out.is_none(), rule, text + &at, Some(answer.inside))
            })
        }
        SourceKind::Sqlite(Sqlite { path: database }) => {
            let name = |path: &Path| path.file_name().map(OsStr::to_os_string);
            let side = |ending: &str| {
                let main = name(database).map(|main| [main.as_bytes(), ending.as_bytes()].concat());
                main.zip(name(path)).is_some_and(|(main, own)| own.as_bytes() == main)
                    && database.parent() == path.parent()
            };
            let at = set.spelt(source.place);
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
                    name(database).map(PathBuf::from),
                )
            } else {
                None
            }
        }
        kind => {
            let paths = kind.own().paths();
            let mut folders = paths.iter().filter(|(what, _, _)| *what == Use::Database);
            let inside = folders.any(|(_, _, folder)| path.starts_with(folder));
            let text =
                || format!("it belongs to the cluster ({}), which its tool reads", set.spelt(source.place));
            inside.then(|| told(true, "cluster", text(), None)).flatten()
        }
    }
}

/// The rule that decides, by its stable name and in words.
fn of_files(set: &SourceSet, files: &Files, answer: &Answer) -> (&'static str, String) {
    let pattern = |index: usize| {
        let pattern = &files.exclude[index];
        format!("the pattern `{}` ({})", pattern.text, set.spelt(pattern.place))
    };
    let entry = &files.paths[answer.root];
    let below = format!("the entry {} of `paths` ({})", quoted(&entry.absolute), set.spelt(entry.place));
    match &answer.left_out {
        None => match answer.again {
            Some(index) => ("pattern", format!("taken in again by {}, below {below}", pattern(index))),
            None => ("paths", format!("taken in by {below}{}", of_link(answer.link.as_ref()))),
        },
        Some(Rule::Pattern(index, here)) => {
            ("pattern", format!("left out by {}, which matches {}", pattern(*index), quoted(here)))
        }
        Some(Rule::Cache(folder)) => (
            "exclude_caches",
            format!(
                "left out by `exclude_caches`: {} has a `CACHEDIR.TAG`, and with it goes all that is in it",
                quoted(folder)
            ),
        ),
        Some(Rule::FileSystem(folder)) => (
            "one_file_system",
            format!("left out by `one_file_system`: {} is on another file system", quoted(folder)),
        ),
        Some(Rule::Size(bytes)) => {
            ("max_file_size", format!("left out by `max_file_size`: it has {}", plural(*bytes, "byte")))
        }
        Some(Rule::Link(link)) => (
            "symbolic_link",
            format!("left out: {} is a symbolic link, which is recorded and not followed", quoted(link)),
        ),
        Some(Rule::Dangling(link)) => (
            "symbolic_link",
            format!(
                "left out: {} is a symbolic link to nothing, and the run of the source fails",
                quoted(link)
            ),
        ),
        Some(Rule::Socket) => ("socket", "left out: sockets are not recorded".to_owned()),
    }
}

/// What is recorded of an entry of `paths` that is a symbolic link.
fn of_link(link: Option<&Link>) -> String {
    match link {
        None => String::new(),
        Some(Link::To(target)) => {
            format!("; it is a symbolic link, and the link is recorded, not {}", quoted(target))
        }
        Some(Link::Dangling) => String::new(),
    }
}

/// Whether there is something at a path, and whether this account can read it; `None`: there is nothing.
fn look(path: &Path) -> Option<Result<(), String>> {
    let said = |error: io::Error| Err(error.to_string());
    let seen = match path.symlink_metadata() {
        Ok(seen) => seen,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return None,
        Err(error) => return Some(said(error)),
    };
    let wanted = if seen.is_dir() { Access::READ_OK | Access::EXEC_OK } else { Access::READ_OK };
    let is_read = seen.is_dir() || seen.is_file();
    Some(if is_read { access(path, wanted).map_err(io::Error::from).or_else(said) } else { Ok(()) })
}

/// A path inside an artefact.
fn spelt(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_suffix(b"/").unwrap_or(bytes).to_vec()
}

/// `` `path` ``, as it may be typed again.
fn quoted(path: &Path) -> String {
    format!("`{}`", printable(path.as_os_str().as_bytes()))
}

fn reaches(model: &Model, source: SourceId) -> Vec<Reached> {
    let names = |to: &[StoreId]| -> Vec<To> {
        let stores = to.iter().map(|id| model.store(*id));
        stores.map(|store| To { name: store.name.clone(), offsite: store.offsite }).collect()
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
fn backups(model: &Model, stores: &Stores, path: &Path, known: &mut Known) {
    let shelves = match stores {
        Ok(shelves) => shelves,
        Err(error) => return known.unknown.push(format!("which backups hold it is not known: {error}")),
    };
    known.unknown.extend(shelves.warnings());
    let readers = known.sources.iter();
    let now: BTreeSet<Inside> =
        readers.filter_map(|reader| Some((reader.source.clone(), reader.inside.clone()?))).collect();
    let below = model.sources.iter().filter_map(|source| below_root(source.files()?, path));
    let read_at: BTreeSet<PathBuf> = below.chain([path.to_path_buf()]).collect();
    let mut runs: Vec<_> =
        shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs()).map(|manifest| manifest.run).collect();
    runs.sort_unstable();
    runs.dedup();
    if runs.len() > MOST_RUNS {
        known.unknown.push(format!(
            "{} are older than the {MOST_RUNS} that were looked into",
            plural(runs.len() - MOST_RUNS, "backup")
        ));
    }
    let newest: BTreeSet<_> =
        shelves.shelves.iter().filter_map(|shelf| Some(shelf.catalog.runs().next_back()?.run)).collect();
    let is_looked_into = |(at, run): &(usize, RunId)| *at < MOST_RUNS || newest.contains(run);
    for (_, run) in runs.into_iter().rev().enumerate().filter(is_looked_into) {
        let doubts = known.unknown.len();
        match held(shelves, &run.to_string(), &now, &read_at, &mut known.unknown) {
            Ok(found) => known.backups.extend(found),
            Err(why) => known.unknown.push(unknown(&run.to_string(), &why)),
        }
        if known.unknown.len() > doubts {
            known.doubtful.insert(run);
        }
    }
    known.newest = shelves.shelves.iter().filter_map(|shelf| self::newest(shelf, known)).collect();
}

/// Whether the newest run of a store holds it; `None` where it is not to reach that store.
fn newest(shelf: &Shelf, known: &Known) -> Option<Newest> {
    let store = shelf.store.label();
    let reaches =
        |reader: &&Reader| reader.reaches.iter().any(|one| one.stores.iter().any(|to| to.name == store));
    let readers: Vec<&Reader> = known.sources.iter().filter(|one| one.is_kept()).filter(reaches).collect();
    if readers.is_empty() {
        return None;
    }
    let manifest = shelf.catalog.runs().next_back();
    let run = manifest.map(|manifest| manifest.run.to_string());
    let holds = |backup: &Backup| Some(&backup.run) == run.as_ref() && backup.stores.contains(store);
    // A cluster's files have no names of their own in what its tool makes.
    let is_whole = |reader: &&&Reader| reader.inside.is_none();
    let has = |reader: &Reader| manifest.is_some_and(|manifest| manifest.holds(&reader.source));
    let whole = readers.iter().filter(is_whole).any(|reader| has(reader));
    let is_doubtful = manifest.is_some_and(|manifest| known.doubtful.contains(&manifest.run));
    let holds = match whole || known.backups.iter().any(holds) {
        true => Some(true),
        false if is_doubtful => None,
        false => Some(false),
    };
    Some(Newest { store: store.to_owned(), run, at: manifest.map(|manifest| manifest.started), holds })
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
    let held = shelves.held(&Choice::Id(run.to_owned()), None).map_err(|error| error.to_string())?;
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
        (source.to_owned(), spelt(&Path::new(source).join(&*root.inside).join(rest)))
    };
    nearest.into_iter().map(inside).collect()
}

fn is_in(piece: &Piece<'_>, source: &str, inside: &[u8]) -> Result<bool, String> {
    if !piece.archive.contents.iter().any(|content| content.source == source) {
        return Ok(false);
    }
    let chain = piece.chain(&|other| other == source).map_err(|error| error.to_string())?;
    let found = chain.view.find(inside).map_err(|error| chain.error(error).to_string())?;
    Ok(found.is_some())
}

/// The stores that have an archive of a run.
fn stores_of<'a>(
    shelves: &'a Shelves,
    held: &'a ShelvedRun<'_>,
    piece: &'a Piece<'_>,
) -> impl Iterator<Item = String> + use<'a> {
    let has = |shelf: &&Shelf| {
        let manifest = shelf.catalog.get(&held.manifest.run);
        manifest.is_some_and(|one| one.archives.iter().any(|archive| archive.name == piece.archive.name))
    };
    shelves.shelves.iter().filter(has).map(|shelf| shelf.store.label().to_owned())
}
