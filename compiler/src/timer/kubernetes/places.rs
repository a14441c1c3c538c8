//! What a plan names of a machine, and from where a pod has it: volumes, secrets, texts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::super::Inexpressible;
use super::objects::{KeyRef, Mount, ValueFrom, Variable, Volume, VolumeKind};
use super::{Cluster, STATE};
use crate::count::plural;
use crate::kinds::Use;
use crate::model::{Model, SourceKind, Store, StoreKind};
use crate::value::Secret;

/// Folders that the program in the image needs as they are.
const OF_THE_IMAGE: [&str; 14] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc", "/tmp", "/run", "/var",
    "/var/lib", "/var/run",
];

/// Everything that is mounted or set.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub volumes: Vec<Volume>,
    pub mounts: Vec<Mount>,
    pub variables: Vec<Variable>,
    /// What must be there before the first job: claims, keys of the secret.
    pub claims: BTreeSet<String>,
    pub keys: BTreeSet<String>,
    /// A folder of the node is written.
    pub writes_node: bool,
}

impl Places {
    pub(super) fn add(&mut self, name: &str, what: VolumeKind) {
        self.volumes.push(Volume { name: name.to_owned(), what });
    }

    pub(super) fn mount(&mut self, name: &str, path: &str, sub_path: Option<&str>, read_only: bool) {
        let sub_path = sub_path.map(str::to_owned);
        self.mounts.push(Mount { name: name.to_owned(), mount_path: path.to_owned(), sub_path, read_only });
    }
}

/// Every path, and whether it is written.
fn paths(model: &Model) -> Result<BTreeMap<PathBuf, bool>, Inexpressible> {
    let mut all: BTreeMap<PathBuf, bool> = BTreeMap::new();
    let mut add = |path: &Path, writes: bool| *all.entry(path.to_owned()).or_default() |= writes;
    for store in &model.stores {
        match &store.kind {
            StoreKind::Dir { path } => add(path, true),
            StoreKind::S3 { ca_file: Some(file), .. } => add(file, false),
            StoreKind::Sftp { key, known_hosts, .. } => {
                key.iter().chain(known_hosts).for_each(|file| add(file, false));
            }
            _ => {}
        }
    }
    model.staging.iter().for_each(|staging| add(&staging.path, true));
    for source in &model.sources {
        match &source.kind {
            SourceKind::Files(files) => files.paths.iter().for_each(|path| add(&path.absolute, false)),
            // Whoever reads it takes part in its locks, in files beside it.
            SourceKind::Sqlite(sqlite) => add(sqlite.path.parent().unwrap_or(&sqlite.path), true),
            SourceKind::Postgres(postgres) => {
                let tool = source.kind.facts().has_repository;
                let host = postgres.host.as_deref().filter(|_| !tool).ok_or_else(|| beside(&source.name))?;
                if host.starts_with('/') {
                    add(Path::new(host), false);
                }
            }
            SourceKind::Mariadb(mariadb) => match (&mariadb.socket, &mariadb.host) {
                (Some(socket), _) => add(socket.parent().unwrap_or(socket), false),
                (None, Some(_)) => {}
                (None, None) => return Err(beside(&source.name)),
            },
            SourceKind::Command(_) => {}
        }
        let uses = source.kind.own().paths().into_iter();
        uses.filter(|(what, ..)| *what == Use::Config).for_each(|(_, _, path)| add(path, false));
    }
    let secrets: BTreeSet<&Path> = file_secrets(model).collect();
    let read = model.secret_files.iter().filter(|file| !secrets.contains(file.as_path()));
    read.for_each(|file| add(file, false));
    Ok(all)
}

/// What the plan's sources of files name.
fn entries(model: &Model) -> impl Iterator<Item = &Path> {
    let files = model.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Files(files) => Some(&files.paths),
        _ => None,
    });
    files.flatten().map(|path| path.absolute.as_path())
}

fn beside(source: &str) -> Inexpressible {
    Inexpressible::new(
        format!("source `{source}` is read beside its server, which a pod is not"),
        "name the server with `host`, and read it with `basebackup` or `dump`; or run the plan on the server itself: `--for systemd`",
    )
}

/// Volumes for the plan's paths: the claims that are named for them, else folders of the node.
pub(super) fn volumes(model: &Model, cluster: &Cluster, places: &mut Places) -> Result<(), Inexpressible> {
    let (mut of_claims, mut of_node) = (BTreeMap::new(), BTreeMap::new());
    for (path, writes) in paths(model)? {
        let claims = cluster.claims.iter().filter(|(at, _)| path.starts_with(at));
        match claims.max_by_key(|(at, _)| at.components().count()) {
            Some((at, claim)) => *of_claims.entry((at, claim)).or_insert(false) |= writes,
            None if cluster.node.is_some() => {
                of_node.insert(path, writes);
            }
            None => {
                return Err(Inexpressible::new(
                    format!("`{}` is a path of a machine, and a pod runs anywhere", path.display()),
                    "say which volume it is with `--claim PATH=CLAIM`, or on which machine with `--node NAME`",
                ));
            }
        }
    }
    for (number, ((at, claim), writes)) in of_claims.into_iter().enumerate() {
        let name = format!("claim-{number}");
        places.add(&name, VolumeKind::PersistentVolumeClaim { claim_name: claim.clone() });
        places.mount(&name, &fit(at)?, None, !writes);
        places.claims.insert(claim.clone());
    }
    // A source without a type that is not there is made by the cluster, and saved: an empty folder.
    let of_sources: BTreeSet<&Path> = entries(model).collect();
    // A folder in one that is mounted the same way is there already.
    let is_within = |path: &Path, writes: bool| {
        of_node.iter().any(|(above, above_writes)| {
            above != path && path.starts_with(above) && (*above_writes || !writes)
        })
    };
    for (number, (path, writes)) in
        of_node.iter().filter(|(path, writes)| !is_within(path, **writes)).enumerate()
    {
        let (name, path) = (format!("node-{number}"), fit(path)?);
        places.writes_node |= writes;
        let at = Path::new(&path);
        let kind = match () {
            () if of_sources.contains(at) && cluster.is_file.is_some_and(|is_file| is_file(at)) => "File",
            () if of_sources.contains(at) => "Directory",
            () if is_made(model, at) => "DirectoryOrCreate",
            // Of a database that is written to, as its readers take part in its locks.
            () if *writes => "Directory",
            () => "",
        };
        places.mount(&name, &path, None, !writes);
        places.add(&name, VolumeKind::HostPath { path, kind });
    }
    Ok(())
}

/// Whether runs make this folder, where it is not there.
fn is_made(model: &Model, path: &Path) -> bool {
    let is_of = |store: &Store| matches!(&store.kind, StoreKind::Dir { path: at } if at == path);
    model.stores.iter().any(is_of) || model.staging.iter().any(|staging| staging.path == path)
}

/// A path as a mount has it, one that hides nothing of what the program needs.
fn fit(path: &Path) -> Result<String, Inexpressible> {
    let cannot = |what: &str| {
        Inexpressible::new(
            format!("`{}` cannot be a volume of a pod: {what}", path.display()),
            "name folders below it that can; or run the plan on the machine itself: `--for systemd`",
        )
    };
    let text = path
        .to_str()
        .filter(|text| !text.contains(char::is_control))
        .ok_or_else(|| cannot("it is no plain text"))?;
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    match () {
        () if !path.is_absolute() || !is_plain => Err(cannot("it is not absolute")),
        // Kubernetes reads it as the end of a path.
        () if text.contains(':') => Err(cannot("it has a `:`")),
        () if text == "/" || OF_THE_IMAGE.contains(&text) || Path::new(STATE).starts_with(path) => {
            Err(cannot("it would hide what the program there needs"))
        }
        () => Ok(text.to_owned()),
    }
}

fn file_secrets(model: &Model) -> impl Iterator<Item = &Path> {
    model.secrets().into_iter().filter_map(|secret| match secret {
        Secret::File(path) => Some(path.as_path()),
        _ => None,
    })
}

/// Secrets by reference, all keys of one Secret: its values are nowhere here.
pub(super) fn secrets(
    model: &Model,
    name: &str,
    is_root: bool,
    places: &mut Places,
) -> Result<(), Inexpressible> {
    super::super::variables(model)?;
    let mut variables: BTreeMap<&str, bool> = BTreeMap::new();
    for secret in model.secrets() {
        if let Secret::Env { name, default } = secret {
            // One with a default that no Secret can hold keeps its default.
            let is_key = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if is_key && !name.is_empty() {
                *variables.entry(name).or_insert(true) &= default.is_some();
            }
        }
    }
    for (variable, optional) in variables {
        let from = KeyRef { name: name.to_owned(), key: variable.to_owned(), optional };
        let value_from = Some(ValueFrom { secret_key_ref: from });
        places.variables.push(Variable { name: variable.to_owned(), value: None, value_from });
        places.keys.insert(variable.to_owned());
    }
    let files: BTreeSet<&Path> = file_secrets(model).collect();
    for file in &files {
        let key = key(file, &places.keys);
        places.mount("secrets", &fit(file)?, Some(&key), true);
        places.keys.insert(key);
    }
    if !files.is_empty() {
        let default_mode = if is_root { 0o400 } else { 0o440 };
        places.add("secrets", VolumeKind::Secret { secret_name: name.to_owned(), default_mode });
    }
    Ok(())
}

/// The plan's files, each where it was when it was compiled: its relative paths begin there.
pub(super) fn texts(
    files: &[(PathBuf, String)],
    name: &str,
    places: &mut Places,
) -> Result<BTreeMap<String, String>, Inexpressible> {
    let (mut data, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (path, text) in files {
        let key = key(path, &taken);
        places.mount("plan", &fit(path)?, Some(&key), true);
        taken.insert(key.clone());
        data.insert(key, text.clone());
    }
    places.add("plan", VolumeKind::ConfigMap { name: name.to_owned() });
    let size: usize = data.iter().map(|(key, text)| key.len() + text.len()).sum();
    if size > 1 << 20 {
        return Err(Inexpressible::new(
            format!("the plan's files have {}, a ConfigMap takes 1 MiB", plural(size, "byte")),
            "build the plan into an image of your own, or take out of it what is not needed",
        ));
    }
    Ok(data)
}

/// A file's name as a key, another than those that are taken.
fn key(path: &Path, taken: &BTreeSet<String>) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_key = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let plain: String =
        name.chars().take(200).map(|letter| if is_key(letter) { letter } else { '_' }).collect();
    let plain = if plain.starts_with("..") { format!("x{plain}") } else { plain };
    let mut names = (1..).map(|number| if number == 1 { plain.clone() } else { format!("{plain}-{number}") });
    names.find(|name| !taken.contains(name)).unwrap_or(plain.clone())
}
