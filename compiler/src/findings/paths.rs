//! Paths that would eat data: one inside another where it must not be. Every path is looked up by the folders above it,
//! so that ten thousand sources cost ten thousand short walks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Check;
use super::patterns::{excludes, exclusion, patterns_of};
use crate::codes::{self, Code};
use crate::finding::Finding;
use crate::model::{ArchiveId, Files, FilesPath, Model, PostgresDriver, SourceId, SourceKind, StoreKind};
use crate::pattern::Patterns;
use crate::sources::{FileId, Place};

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
struct Named {
    path: PathBuf,
    /// As messages name it: "store `local`".
    what: String,
    place: Place,
}

/// An entry of `paths` that reads some path.
struct Reader<'a> {
    source: SourceId,
    /// Its place in `paths`.
    index: usize,
    entry: &'a FilesPath,
    /// The path read, below the entry.
    relative: PathBuf,
}

/// Entries of `paths` by where they are; those of a source with a `root` also by where they are without it, for a
/// snapshot holds what is in the folder it was taken of.
struct Trees<'a> {
    by_path: HashMap<PathBuf, Vec<(SourceId, usize)>>,
    patterns: HashMap<SourceId, Patterns>,
    model: &'a Model,
}

impl<'a> Trees<'a> {
    fn new(model: &'a Model) -> Self {
        let mut by_path: HashMap<PathBuf, Vec<(SourceId, usize)>> = HashMap::new();
        for (source, files) in files_sources(model) {
            for (index, entry) in files.paths.iter().enumerate() {
                by_path.entry(entry.absolute.clone()).or_default().push((source, index));
                let recorded = files.root.as_ref().and_then(|root| entry.absolute.strip_prefix(root).ok());
                if let Some(recorded) = recorded.map(|path| Path::new("/").join(path))
                    && recorded != entry.absolute
                {
                    by_path.entry(recorded).or_default().push((source, index));
                }
            }
        }
        Trees { by_path, patterns: HashMap::new(), model }
    }

    /// Entries that read `path`: it is they or lies in them, and no exclusion leaves it out.
    fn readers(&mut self, path: &Path) -> Vec<Reader<'a>> {
        let mut readers = Vec::new();
        for folder in path.ancestors() {
            for (source, index) in self.by_path.get(folder).into_iter().flatten() {
                let SourceKind::Files(files) = &self.model.source(*source).kind else { continue };
                let relative = path.strip_prefix(folder).unwrap_or(Path::new(""));
                let is_out = !files.exclude.is_empty() && {
                    let patterns = self.patterns.entry(*source).or_insert_with(|| patterns_of(files));
                    excludes(patterns, relative)
                };
                if !is_out {
                    let (source, index, relative) = (*source, *index, relative.to_path_buf());
                    readers.push(Reader { source, index, entry: &files.paths[index], relative });
                }
            }
        }
        readers
    }
}

fn files_sources(model: &Model) -> impl Iterator<Item = (SourceId, &Files)> {
    model.sources.iter().enumerate().filter_map(|(index, source)| match &source.kind {
        SourceKind::Files(files) => Some((SourceId(index), files)),
        _ => None,
    })
}

impl Check<'_> {
    pub(super) fn paths(&mut self) {
        let mut trees = Trees::new(self.model);
        let stores = self.dir_stores();
        let tools = self.tool_stagings();
        let staging = self.staging();
        self.inside_sources(
            &mut trees,
            &stores,
            &codes::STORE_IN_SOURCE,
            "would hold itself, and grow with each run",
        );
        let stagings: Vec<&Named> = staging.iter().chain(tools.iter().map(|(named, _)| named)).collect();
        self.inside_sources(
            &mut trees,
            stagings,
            &codes::STAGING_IN_SOURCE,
            "would hold half-built archives",
        );
        let databases = self.databases();
        self.inside_sources(
            &mut trees,
            &databases,
            &codes::LIVE_DATABASE,
            "would be copied torn, while it is written",
        );
        self.overlaps(&mut trees);
        self.stores_apart(&stores);
        self.stagings_apart(staging.as_ref(), &tools, &stores);
        self.cleared_folders(staging.as_ref(), &tools, &stores, databases);
    }

    fn dir_stores(&self) -> Vec<Named> {
        let dirs = self.model.stores.iter().filter_map(|store| match &store.kind {
            StoreKind::Dir { path } => Some(Named {
                path: path.clone(),
                what: format!("store `{}`", store.name),
                place: self.facts.place("store", &store.name, "path").unwrap_or(store.place),
            }),
            _ => None,
        });
        dirs.collect()
    }

    fn staging(&self) -> Option<Named> {
        let staging = self.model.staging.as_ref()?;
        Some(Named {
            path: staging.path.clone(),
            what: "the staging".into(),
            place: self.facts.place("staging", "", "path").unwrap_or(staging.place),
        })
    }

    /// The stagings of database tools, and whether the tool's is removed after a run.
    fn tool_stagings(&self) -> Vec<(Named, bool)> {
        let stagings = self.model.sources.iter().filter_map(|source| {
            let SourceKind::Postgres(postgres) = &source.kind else { return None };
            let named = Named {
                path: postgres.staging.clone()?,
                what: format!("the staging of source `{}`", source.name),
                place: self.facts.place("source", &source.name, "staging").unwrap_or(source.place),
            };
            Some((named, postgres.driver == PostgresDriver::Probackup))
        });
        stagings.collect()
    }

    /// Files and folders that a database server writes to.
    fn databases(&self) -> Vec<Named> {
        let databases = self.model.sources.iter().filter_map(|source| {
            let (path, attr) = match &source.kind {
                SourceKind::Postgres(postgres) => (postgres.data_dir.clone()?, "data_dir"),
                SourceKind::Sqlite { path } => (path.clone(), "path"),
                _ => return None,
            };
            let place = self.facts.place("source", &source.name, attr).unwrap_or(source.place);
            Some(Named { path, what: format!("the database of source `{}`", source.name), place })
        });
        databases.collect()
    }

    fn inside_sources<'n>(
        &mut self,
        trees: &mut Trees<'_>,
        things: impl IntoIterator<Item = &'n Named>,
        code: &Code,
        why: &str,
    ) {
        for named in things {
            for reader in trees.readers(&named.path) {
                let source = self.model.source(reader.source);
                let message = format!("{} is inside source `{}`: it {why}", named.what, source.name);
                let help = match reader.relative.as_os_str().is_empty() {
                    true => "choose another folder".to_owned(),
                    false => {
                        format!("exclude it: {}, or move it elsewhere", exclusion(&reader.relative))
                    }
                };
                let label = format!("source `{}` reads this", source.name);
                self.find(
                    Finding::new(code, named.place, message).with(reader.entry.place, label).help(help),
                );
            }
        }
    }

    fn overlaps(&mut self, trees: &mut Trees<'_>) {
        let model = self.model;
        let mut archives: Vec<Vec<ArchiveId>> = vec![Vec::new(); model.sources.len()];
        for (index, archive) in model.archives.iter().enumerate() {
            archive.from.iter().for_each(|source| archives[source.0].push(ArchiveId(index)));
        }
        for (source, files) in files_sources(model) {
            for (index, inner) in files.paths.iter().enumerate() {
                for outer in trees.readers(&inner.absolute) {
                    let (here, there) = ((source, index), (outer.source, outer.index));
                    let is_told = outer.entry.absolute == inner.absolute && there > here;
                    let together = outer.source == source
                        || archives[source.0]
                            .iter()
                            .any(|archive| archives[outer.source.0].contains(archive));
                    if here != there && !is_told && together {
                        self.overlap(inner, &outer);
                    }
                }
            }
        }
    }

    fn overlap(&mut self, inner: &FilesPath, outer: &Reader<'_>) {
        let help = match outer.relative.as_os_str().is_empty() {
            true => "keep one of them".to_owned(),
            false => format!("exclude it from the outer one: {}", exclusion(&outer.relative)),
        };
        let reader = &self.model.source(outer.source).name;
        let message = format!("`{}` is read twice: source `{reader}` reads it too", inner.absolute.display());
        self.find(
            Finding::new(&codes::OVERLAPPING_PATHS, inner.place, message)
                .with(outer.entry.place, "this holds it")
                .help(help),
        );
    }

    fn stores_apart(&mut self, dirs: &[Named]) {
        let mut by_path: HashMap<&Path, &Named> = HashMap::new();
        for store in dirs {
            if let Some(first) = by_path.insert(&store.path, store) {
                self.same_store(store, first);
            }
        }
        for store in dirs {
            for folder in store.path.ancestors().skip(1) {
                let Some(outer) = by_path.get(folder) else { continue };
                let message =
                    format!("{} is inside {}: what destroys one destroys both", store.what, outer.what);
                self.find(
                    Finding::new(&codes::NESTED_STORES, store.place, message)
                        .with(outer.place, "the outer one")
                        .help("put them side by side, best on different disks"),
                );
            }
        }
        let mut remote: HashMap<String, Named> = HashMap::new();
        for store in &self.model.stores {
            let Some(identity) = identity(&store.kind) else { continue };
            let named =
                Named { path: PathBuf::new(), what: format!("store `{}`", store.name), place: store.place };
            match remote.get(&identity) {
                Some(first) => self.same_store(&named, first),
                None => {
                    remote.insert(identity, named);
                }
            }
        }
    }

    fn same_store(&mut self, second: &Named, first: &Named) {
        let message = format!("{} and {} are one place: two copies there are one", second.what, first.what);
        self.findings.push(
            Finding::new(&codes::SAME_STORE, second.place, message)
                .with(first.place, "the same place")
                .help("delete one of them, or give it another folder"),
        );
    }

    /// No two programs build in one folder, or where finished artefacts are.
    fn stagings_apart(&mut self, staging: Option<&Named>, tools: &[(Named, bool)], stores: &[Named]) {
        let stagings: Vec<&Named> = staging.into_iter().chain(tools.iter().map(|(named, _)| named)).collect();
        let mut by_path: HashMap<&Path, &Named> =
            stores.iter().map(|store| (store.path.as_path(), store)).collect();
        for staging in &stagings {
            if let Some(first) = by_path.insert(&staging.path, staging) {
                let message = format!("{} and {} are one folder", staging.what, first.what);
                self.shared_staging(staging, first, message);
            }
        }
        let by_tool: HashMap<&Path, &Named> =
            tools.iter().map(|(tool, _)| (tool.path.as_path(), tool)).collect();
        for inner in &stagings {
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
    fn cleared_folders(
        &mut self,
        staging: Option<&Named>,
        tools: &[(Named, bool)],
        stores: &[Named],
        databases: Vec<Named>,
    ) {
        let is_cleared =
            self.model.staging.as_ref().is_some_and(|staging| staging.clear_before || staging.clear_after);
        let own = staging.filter(|_| is_cleared);
        let removed = tools.iter().filter(|(_, removed)| *removed).map(|(named, _)| named);
        let cleared: Vec<&Named> = own.into_iter().chain(removed).collect();
        if cleared.is_empty() {
            return;
        }
        let mut things = databases;
        things.extend(self.files_to_keep());
        cleared.iter().for_each(|folder| self.dangerous(folder));
        let by_path: HashMap<&Path, &Named> =
            cleared.into_iter().map(|folder| (folder.path.as_path(), folder)).collect();
        for thing in &things {
            for folder in thing.path.ancestors().filter_map(|folder| by_path.get(folder)) {
                self.cleared(folder, thing);
            }
        }
        // One folder for two programs is told by `stagings_apart`.
        for thing in stores.iter().chain(tools.iter().map(|(tool, _)| tool)) {
            for folder in thing.path.ancestors().skip(1).filter_map(|folder| by_path.get(folder)) {
                self.cleared(folder, thing);
            }
        }
    }

    fn cleared(&mut self, folder: &Named, thing: &Named) {
        let message = format!("{} is cleared, and holds {}", folder.what, thing.what);
        self.find(
            Finding::new(&codes::CLEARED_BY_STAGING, folder.place, message)
                .with(thing.place, format!("inside `{}`", folder.path.display()))
                .help("give the staging an empty folder of its own"),
        );
    }

    /// Trees of sources, plan files, keys.
    fn files_to_keep(&self) -> Vec<Named> {
        let mut things = Vec::new();
        for (source, files) in files_sources(self.model) {
            let what = format!("what source `{}` reads", self.model.source(source).name);
            things.extend(files.paths.iter().map(|entry| Named {
                path: entry.absolute.clone(),
                what: what.clone(),
                place: entry.place,
            }));
        }
        let start = |file: FileId| Place { file, span: backplan_grammar::Span::new(0, 0) };
        for path in &self.model.files {
            let file = self.set.find(path).unwrap_or(self.facts.root);
            let what = format!("the plan file `{}`", self.set.file(file).shown);
            things.push(Named { path: path.clone(), what, place: start(file) });
        }
        things.extend(self.facts.secret_files.iter().map(|(path, place)| Named {
            path: path.clone(),
            what: format!("`{}`, which runs read", path.display()),
            place: *place,
        }));
        things
    }

    fn dangerous(&mut self, folder: &Named) {
        let home = self.facts.home.as_deref();
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

/// What makes a remote store the place it is.
fn identity(kind: &StoreKind) -> Option<String> {
    let shown = |prefix: &Option<crate::value::Text>| {
        prefix.as_ref().map(|text| text.to_string().trim_matches('/').to_owned()).unwrap_or_default()
    };
    Some(match kind {
        StoreKind::Dir { .. } => return None,
        StoreKind::S3 { bucket, prefix, endpoint, .. } => {
            format!("s3 {endpoint:?} {bucket} {}", shown(prefix))
        }
        StoreKind::Azblob { container, prefix, account, endpoint, .. } => {
            format!("azblob {endpoint:?} {account:?} {container} {}", shown(prefix))
        }
        StoreKind::Gcs { bucket, prefix, endpoint, .. } => {
            format!("gcs {endpoint:?} {bucket} {}", shown(prefix))
        }
        StoreKind::Sftp { host, port, user, path, .. } => {
            format!("sftp {user:?} {host} {} {}", port.unwrap_or(22), path.trim_end_matches('/'))
        }
    })
}
