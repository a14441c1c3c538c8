//! Paths that would eat data: one inside another where it must not be. Every path is looked up by the folders above it,
//! so that ten thousand sources cost ten thousand short walks.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::Check;
use super::patterns::{excludes, exclusion, patterns_of};
use crate::codes::{self, Code};
use crate::finding::Finding;
use crate::kinds::Use;
use crate::model::{Files, Location, Model, Pattern, Source, StoreKind};
use crate::pattern::Patterns;
use crate::resolve::Facts;
use crate::sources::{FileId, Place, SourceSet};

/// Folders that many programs live in.
const SHARED_FOLDERS: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/tmp",
];

/// A path of this machine that a plan names.
#[derive(Debug, Clone)]
struct Named {
    /// Where it is compared: as the plan has it, or as the world does.
    path: PathBuf,
    /// As the plan has it.
    shown: PathBuf,
    /// As messages name it: "store `local`".
    what: String,
    place: Place,
}

impl Named {
    fn new(path: &Path, what: String, place: Place) -> Named {
        Named { path: path.to_path_buf(), shown: path.to_path_buf(), what, place }
    }
}

/// A `files` source.
#[derive(Debug, Clone)]
struct Tree {
    name: String,
    entries: Vec<Entry>,
    exclude: Vec<Pattern>,
    /// The archives that it is in.
    archives: BTreeSet<usize>,
}

/// An entry of `paths`.
#[derive(Debug, Clone)]
struct Entry {
    /// As the plan has it.
    shown: PathBuf,
    /// Where it is compared.
    path: PathBuf,
    /// Where it is without its source's `root`: a snapshot holds what is in the folder it was taken of.
    recorded: Option<PathBuf>,
    place: Place,
}

/// A folder that a run builds in.
#[derive(Debug, Clone)]
struct Scratch {
    named: Named,
    /// Its contents are deleted.
    is_cleared: bool,
    /// It is a database tool's.
    is_tools: bool,
}

/// What a path of a plan stands for, where somebody asks where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An entry of `paths`: if it is a link, the link is what is read.
    Read,
    /// Anything else: what it leads to is used.
    Used,
}

/// Where a path is, and what is to be said of that, if anything.
pub type To<'a> = dyn Fn(&Path, Role) -> Option<(PathBuf, Option<String>)> + 'a;

/// Every path of this machine that a plan names, with what it is for. [`Laid::findings`] says which of them would eat one
/// another; of paths as they are written, or, after [`Laid::moved`], as they really are.
#[derive(Debug, Clone, Default)]
pub struct Laid {
    stores: Vec<Named>,
    /// The plan's first, then those of tools.
    scratches: Vec<Scratch>,
    databases: Vec<Named>,
    trees: Vec<Tree>,
    /// The files of the plan, its own first.
    plans: Vec<Named>,
    keys: Vec<Named>,
    home: Option<PathBuf>,
}

impl Laid {
    pub(crate) fn new(set: &SourceSet, model: &Model, facts: &Facts) -> Laid {
        let gather = Gather { set, model, facts };
        Laid {
            stores: gather.stores(),
            scratches: gather.scratches(),
            databases: gather.databases(),
            trees: gather.trees(),
            plans: gather.plans(),
            keys: gather.keys(),
            home: facts.home.clone(),
        }
    }

    /// The same plan with its paths elsewhere: `to` says where each of them is, and what is to be said of that, if anything. One
    /// of which it does not know is left out.
    #[must_use]
    pub fn moved(&self, to: &To<'_>) -> Laid {
        let one = |named: &Named| {
            let (path, words) = to(&named.path, Role::Used)?;
            let what = match words {
                Some(words) => format!("{} ({words})", named.what),
                None => named.what.clone(),
            };
            Some(Named { path, what, ..named.clone() })
        };
        let all = |named: &[Named]| named.iter().filter_map(one).collect();
        let read = |path: &Path| to(path, Role::Read).map(|(path, _)| path);
        let entry = |entry: &Entry| {
            let recorded = entry.recorded.as_deref().and_then(read);
            Some(Entry { path: read(&entry.path)?, recorded, ..entry.clone() })
        };
        let tree =
            |tree: &Tree| Tree { entries: tree.entries.iter().filter_map(entry).collect(), ..tree.clone() };
        let scratches = self.scratches.iter();
        let scratches = scratches.filter_map(|it| Some(Scratch { named: one(&it.named)?, ..it.clone() }));
        Laid {
            stores: all(&self.stores),
            scratches: scratches.collect(),
            databases: all(&self.databases),
            trees: self.trees.iter().map(tree).collect(),
            plans: all(&self.plans),
            keys: all(&self.keys),
            home: self.home.as_deref().and_then(|home| to(home, Role::Used)).map(|(home, _)| home),
        }
    }

    /// The files of the plan, its own first, and where their texts begin.
    pub fn plan_files(&self) -> impl Iterator<Item = (&Path, Place)> {
        self.plans.iter().map(|named| (named.path.as_path(), named.place))
    }

    /// What of this would eat something else of it.
    pub fn findings(&self) -> Vec<Finding> {
        let mut compare = Compare { laid: self, reading: Reading::new(&self.trees), findings: Vec::new() };
        compare.all();
        compare.findings
    }
}

/// Takes the paths out of a model.
struct Gather<'a> {
    set: &'a SourceSet,
    model: &'a Model,
    facts: &'a Facts,
}

impl Gather<'_> {
    fn stores(&self) -> Vec<Named> {
        let dirs = self.model.stores.iter().filter_map(|store| match &store.kind {
            StoreKind::Dir { path } => {
                let place = self.facts.place("store", &store.name, "path").unwrap_or(store.place);
                Some(Named::new(path, format!("store `{}`", store.name), place))
            }
            _ => None,
        });
        dirs.collect()
    }

    fn scratches(&self) -> Vec<Scratch> {
        let own = self.model.staging.iter().map(|staging| Scratch {
            named: Named::new(
                &staging.path,
                "the staging".into(),
                self.facts.place("staging", "", "path").unwrap_or(staging.place),
            ),
            is_cleared: staging.clear_before || staging.clear_after,
            is_tools: false,
        });
        let tools = self.used(Use::Staging).map(|(source, path, place)| Scratch {
            named: Named::new(path, format!("the staging of source `{}`", source.name), place),
            is_cleared: source.kind.facts().clears_repository,
            is_tools: true,
        });
        own.chain(tools).collect()
    }

    /// Files and folders that a database server writes to.
    fn databases(&self) -> Vec<Named> {
        let named = |(source, path, place): (&Source, _, _)| {
            Named::new(path, format!("the database of source `{}`", source.name), place)
        };
        self.used(Use::Database).map(named).collect()
    }

    /// What sources name for a use, and where.
    fn used(&self, wanted: Use) -> impl Iterator<Item = (&Source, &Path, Place)> {
        self.model.sources.iter().flat_map(move |source| {
            let paths = source.kind.own().paths().into_iter().filter(move |(what, _, _)| *what == wanted);
            paths.map(move |(_, attr, path)| {
                (source, path, self.facts.place("source", &source.name, attr).unwrap_or(source.place))
            })
        })
    }

    fn trees(&self) -> Vec<Tree> {
        let mut archives: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.model.sources.len()];
        for (index, archive) in self.model.archives.iter().enumerate() {
            archive.from.iter().for_each(|source| {
                archives[source.0].insert(index);
            });
        }
        let trees = self.model.sources.iter().zip(archives).filter_map(|(source, archives)| {
            let files = source.files()?;
            let entries = files.paths.iter().map(|entry| Entry {
                shown: entry.absolute.clone(),
                path: entry.absolute.clone(),
                recorded: recorded(files, &entry.absolute),
                place: entry.place,
            });
            Some(Tree {
                name: source.name.clone(),
                entries: entries.collect(),
                exclude: files.exclude.clone(),
                archives,
            })
        });
        trees.collect()
    }

    fn plans(&self) -> Vec<Named> {
        let start = |file: FileId| Place { file, span: backplan_grammar::Span::new(0, 0) };
        let plans = self.model.files.iter().map(|path| {
            let file = self.set.find(path).unwrap_or(self.facts.root);
            let what = format!("the plan file `{}`", self.set.file(file).shown);
            Named::new(path, what, start(file))
        });
        plans.collect()
    }

    fn keys(&self) -> Vec<Named> {
        let keys = self.facts.secret_files.iter();
        let keys = keys
            .map(|(path, place)| Named::new(path, format!("`{}`, which runs read", path.display()), *place));
        keys.collect()
    }
}

/// Where a path of a source with a `root` is without it, if that is elsewhere.
fn recorded(files: &Files, path: &Path) -> Option<PathBuf> {
    let below = files.root.as_ref().and_then(|root| path.strip_prefix(root).ok())?;
    Some(Path::new("/").join(below)).filter(|recorded| recorded != path)
}

/// An entry of `paths` that reads some path.
struct Reader<'a> {
    /// Its source's place among the trees.
    tree: usize,
    /// Its place in `paths`.
    index: usize,
    entry: &'a Entry,
    /// The path read, below the entry.
    relative: PathBuf,
}

/// Entries of `paths` by where they are; those of a source with a `root` also by where they are without it.
struct Reading<'a> {
    by_path: HashMap<PathBuf, Vec<(usize, usize)>>,
    patterns: HashMap<usize, Patterns>,
    trees: &'a [Tree],
}

impl<'a> Reading<'a> {
    fn new(trees: &'a [Tree]) -> Self {
        let mut by_path: HashMap<PathBuf, Vec<(usize, usize)>> = HashMap::new();
        for (number, tree) in trees.iter().enumerate() {
            for (index, entry) in tree.entries.iter().enumerate() {
                for path in entry.recorded.iter().chain([&entry.path]) {
                    by_path.entry(path.clone()).or_default().push((number, index));
                }
            }
        }
        Reading { by_path, patterns: HashMap::new(), trees }
    }

    /// Entries that read `path`: it is they or lies in them, and no exclusion leaves it out.
    fn readers(&mut self, path: &Path) -> Vec<Reader<'a>> {
        let mut readers = Vec::new();
        for folder in path.ancestors() {
            for (number, index) in self.by_path.get(folder).into_iter().flatten() {
                let tree = &self.trees[*number];
                let relative = path.strip_prefix(folder).unwrap_or(Path::new(""));
                let is_out = !tree.exclude.is_empty() && {
                    let patterns = self.patterns.entry(*number).or_insert_with(|| patterns_of(&tree.exclude));
                    excludes(patterns, relative)
                };
                if !is_out {
                    let (tree_number, entry) = (*number, &tree.entries[*index]);
                    let relative = relative.to_path_buf();
                    readers.push(Reader { tree: tree_number, index: *index, entry, relative });
                }
            }
        }
        readers
    }
}

/// Compares all with all.
struct Compare<'a> {
    laid: &'a Laid,
    reading: Reading<'a>,
    findings: Vec<Finding>,
}

impl<'a> Compare<'a> {
    fn all(&mut self) {
        let laid = self.laid;
        let why = "would hold itself, and grow with each run";
        self.inside_sources(&laid.stores, &codes::STORE_IN_SOURCE, why);
        let scratches = laid.scratches.iter().map(|scratch| &scratch.named);
        self.inside_sources(scratches, &codes::STAGING_IN_SOURCE, "would hold half-built archives");
        let why = "would be copied torn, while it is written";
        self.inside_sources(&laid.databases, &codes::LIVE_DATABASE, why);
        self.overlaps();
        self.stores_apart();
        self.stagings_apart();
        self.cleared_folders();
    }

    fn inside_sources(&mut self, things: impl IntoIterator<Item = &'a Named>, code: &Code, why: &str) {
        for named in things {
            for reader in self.reading.readers(&named.path) {
                let source = &self.laid.trees[reader.tree].name;
                let message = format!("{} is inside source `{source}`: it {why}", named.what);
                let help = match reader.relative.as_os_str().is_empty() {
                    true => "choose another folder".to_owned(),
                    false => {
                        format!("exclude it: {}, or move it elsewhere", exclusion(&reader.relative))
                    }
                };
                let label = format!("source `{source}` reads this");
                self.findings.push(
                    Finding::new(code, named.place, message).with(reader.entry.place, label).help(help),
                );
            }
        }
    }

    fn overlaps(&mut self) {
        let trees = &self.laid.trees;
        for (number, tree) in trees.iter().enumerate() {
            for (index, inner) in tree.entries.iter().enumerate() {
                for outer in self.reading.readers(&inner.path) {
                    let (here, there) = ((number, index), (outer.tree, outer.index));
                    let is_told = outer.entry.path == inner.path && there > here;
                    let other = &trees[outer.tree];
                    let together = outer.tree == number || !tree.archives.is_disjoint(&other.archives);
                    if here != there && !is_told && together {
                        self.overlap(inner, &outer);
                    }
                }
            }
        }
    }

    fn overlap(&mut self, inner: &Entry, outer: &Reader<'_>) {
        let help = match outer.relative.as_os_str().is_empty() {
            true => "keep one of them".to_owned(),
            false => format!("exclude it from the outer one: {}", exclusion(&outer.relative)),
        };
        let reader = &self.laid.trees[outer.tree].name;
        let message = format!("`{}` is read twice: source `{reader}` reads it too", inner.shown.display());
        self.findings.push(
            Finding::new(&codes::OVERLAPPING_PATHS, inner.place, message)
                .with(outer.entry.place, "this holds it")
                .help(help),
        );
    }

    fn stores_apart(&mut self) {
        let dirs = &self.laid.stores;
        let mut by_path: HashMap<&Path, &Named> = HashMap::new();
        for store in dirs {
            if let Some(first) = by_path.insert(&store.path, store) {
                self.findings.push(same_store(store, first));
            }
        }
        for store in dirs {
            for folder in store.path.ancestors().skip(1) {
                let Some(outer) = by_path.get(folder) else { continue };
                let message =
                    format!("{} is inside {}: what destroys one destroys both", store.what, outer.what);
                self.findings.push(
                    Finding::new(&codes::NESTED_STORES, store.place, message)
                        .with(outer.place, "the outer one")
                        .help("put them side by side, best on different disks"),
                );
            }
        }
    }

    /// No two programs build in one folder, or where finished artefacts are.
    fn stagings_apart(&mut self) {
        let laid = self.laid;
        let mut by_path: HashMap<&Path, &Named> =
            laid.stores.iter().map(|store| (store.path.as_path(), store)).collect();
        for Scratch { named, .. } in &laid.scratches {
            if let Some(first) = by_path.insert(&named.path, named) {
                let message = format!("{} and {} are one folder", named.what, first.what);
                self.shared_staging(named, first, message);
            }
        }
        let tools = laid.scratches.iter().filter(|scratch| scratch.is_tools);
        let by_tool: HashMap<&Path, &Named> =
            tools.map(|tool| (tool.named.path.as_path(), &tool.named)).collect();
        for Scratch { named: inner, .. } in &laid.scratches {
            let outer = inner.path.ancestors().skip(1).find_map(|folder| by_tool.get(folder));
            if let Some(outer) = outer {
                let message = format!("{} is inside {}", inner.what, outer.what);
                self.shared_staging(inner, outer, message);
            }
        }
    }

    fn shared_staging(&mut self, second: &Named, first: &Named, message: String) {
        self.findings.push(
            Finding::new(&codes::SHARED_STAGING, second.place, message)
                .with(first.place, "the other one")
                .help("give each a folder of its own"),
        );
    }

    /// A folder that is cleared holds nothing that must stay.
    fn cleared_folders(&mut self) {
        let laid = self.laid;
        let cleared = laid.scratches.iter().filter(|scratch| scratch.is_cleared);
        let cleared: Vec<&Named> = cleared.map(|scratch| &scratch.named).collect();
        if cleared.is_empty() {
            return;
        }
        cleared.iter().for_each(|folder| self.dangerous(folder));
        let by_path: HashMap<&Path, &Named> =
            cleared.into_iter().map(|folder| (folder.path.as_path(), folder)).collect();
        let read = laid.trees.iter().flat_map(|tree| {
            tree.entries.iter().map(|entry| Named {
                path: entry.path.clone(),
                shown: entry.shown.clone(),
                what: format!("what source `{}` reads", tree.name),
                place: entry.place,
            })
        });
        let files = laid.plans.iter().chain(&laid.keys);
        let things: Vec<Named> = laid.databases.iter().cloned().chain(read).chain(files.cloned()).collect();
        for thing in &things {
            for folder in thing.path.ancestors().filter_map(|folder| by_path.get(folder)) {
                self.cleared(folder, thing);
            }
        }
        // One folder for two programs is told by `stagings_apart`.
        let tools = laid.scratches.iter().filter(|scratch| scratch.is_tools).map(|scratch| &scratch.named);
        for thing in laid.stores.iter().chain(tools) {
            for folder in thing.path.ancestors().skip(1).filter_map(|folder| by_path.get(folder)) {
                self.cleared(folder, thing);
            }
        }
    }

    fn cleared(&mut self, folder: &Named, thing: &Named) {
        let message = format!("{} is cleared, and holds {}", folder.what, thing.what);
        self.findings.push(
            Finding::new(&codes::CLEARED_BY_STAGING, folder.place, message)
                .with(thing.place, format!("inside `{}`", folder.shown.display()))
                .help("give the staging an empty folder of its own"),
        );
    }

    fn dangerous(&mut self, folder: &Named) {
        let home = self.laid.home.as_deref();
        let is_home = home.is_some_and(|home| home.starts_with(&folder.path));
        let is_some_home = folder.path.parent() == Some(Path::new("/home"));
        let is_shared = SHARED_FOLDERS.iter().any(|shared| folder.path == Path::new(shared));
        if is_home || is_some_home || is_shared {
            let message = format!(
                "{} is `{}`, which others live in, and it is cleared",
                folder.what,
                folder.path.display()
            );
            self.findings.push(
                Finding::new(&codes::DANGEROUS_STAGING, folder.place, message)
                    .help("give the staging an empty folder of its own"),
            );
        }
    }
}

fn same_store(second: &Named, first: &Named) -> Finding {
    let message = format!("{} and {} are one place: two copies there are one", second.what, first.what);
    Finding::new(&codes::SAME_STORE, second.place, message)
        .with(first.place, "the same place")
        .help("delete one of them, or give it another folder")
}

impl Check<'_> {
    pub(super) fn paths(&mut self) {
        let laid = Laid::new(self.set, self.model, self.facts);
        self.findings.extend(laid.findings());
        self.remote_stores_apart();
    }

    fn remote_stores_apart(&mut self) {
        let mut remote: HashMap<Location, Named> = HashMap::new();
        for store in &self.model.stores {
            let location = store.location();
            if location.folder().is_some() {
                continue;
            }
            let named = Named::new(Path::new(""), format!("store `{}`", store.name), store.place);
            match remote.get(&location) {
                Some(first) => self.findings.push(same_store(&named, first)),
                None => {
                    remote.insert(location, named);
                }
            }
        }
    }
}
