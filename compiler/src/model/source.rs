//! Sources: what must survive. What else is known of a kind of source stands in [`crate::kinds`].

use std::path::PathBuf;

use serde::Serialize;

use super::SourceId;
use crate::sources::Place;
use crate::value::{Env, Secret, Text};

/// A source.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name: the folder it has inside an artefact.
    pub name: String,
    /// Where it was declared.
    pub place: Place,
    /// What it is.
    pub kind: SourceKind,
    /// Sources that are read before it.
    pub after: Vec<SourceId>,
    /// A missing path is a warning, not a failure.
    pub optional: bool,
    /// One path less is all of it lost, and without it no archive is made that it is in.
    pub strict: bool,
    /// Seconds for each step that reads it.
    pub timeout: Option<u64>,
}

/// The kinds of sources and their own attributes.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// Trees of files.
    Files(Files),
    /// A Postgres cluster.
    Postgres(Box<Postgres>),
    /// A live SQLite file.
    Sqlite(Sqlite),
    /// A program's standard output.
    Command(Command),
    /// A MariaDB server.
    Mariadb(Box<Mariadb>),
}

/// Trees of files.
#[derive(Debug, Clone)]
pub struct Files {
    /// At least one.
    pub paths: Vec<FilesPath>,
    /// Patterns by gitignore's rules, anchored at each path.
    pub exclude: Vec<Pattern>,
    /// Leave out folders with a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Do not descend into other file systems.
    pub one_file_system: bool,
    /// Bytes; larger files are left out.
    pub max_file_size: Option<u64>,
    /// How a change is noticed.
    pub compare: Compare,
    /// `paths` are read below this folder, and recorded without it.
    pub root: Option<PathBuf>,
}

/// An entry of `paths`.
#[derive(Debug, Clone)]
pub struct FilesPath {
    /// Where it was written.
    pub place: Place,
    /// Where the tree is read, below `root` where that is given: absolute, normalised.
    pub absolute: PathBuf,
    /// Its name inside the source's folder: relative, without `..`; empty for the folder of the plan itself or `/`.
    pub inside: PathBuf,
}

/// An exclusion.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Where it was written.
    pub place: Place,
    /// As written.
    pub text: String,
}

/// How a change is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// By size, times and inode.
    #[default]
    Mtime,
    /// By contents.
    Checksum,
}

/// A live SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    /// Absolute.
    pub path: PathBuf,
}

/// A program's standard output.
#[derive(Debug, Clone)]
pub struct Command {
    /// Program and arguments.
    pub run: Vec<Text>,
    /// The file's name inside the source's folder: one component.
    pub as_name: String,
    /// What it is given.
    pub env: Env,
    /// The account it runs as.
    pub run_as: Option<String>,
}

/// A Postgres cluster.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// The tool that reads it.
    pub driver: PostgresDriver,
    /// Host name or socket folder.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Role.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// One database; all of them where it is left out.
    pub database: Option<String>,
    /// The data directory.
    pub data_dir: Option<PathBuf>,
    /// pgBackRest's stanza.
    pub stanza: Option<String>,
    /// The tool's own staging.
    pub staging: Option<PathBuf>,
    /// The tool's configuration file.
    pub config: Option<PathBuf>,
    /// The account the tool runs as.
    pub run_as: Option<String>,
    /// How pg_probackup finds what changed.
    pub backup_mode: BackupMode,
    /// Parallel workers of the tool.
    pub jobs: Option<u32>,
}

/// How pg_probackup finds what changed since the backup before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackupMode {
    /// It reads all files.
    #[default]
    Delta,
    /// It reads the archived log.
    Page,
    /// It asks the extension of this name.
    Ptrack,
}

/// The tools that read a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PostgresDriver {
    /// pgBackRest
    Pgbackrest,
    /// pg_basebackup
    Basebackup,
    /// pg_probackup
    Probackup,
    /// pg_dump, pg_dumpall
    Dump,
}

/// A MariaDB server.
#[derive(Debug, Clone)]
pub struct Mariadb {
    /// The tool that reads it.
    pub driver: MariadbDriver,
    /// Host name or address, by TCP.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// The server's socket.
    pub socket: Option<PathBuf>,
    /// The account on the server.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// An option file of the client.
    pub config: Option<PathBuf>,
    /// These databases alone, sorted; empty: all of them.
    pub databases: Vec<String>,
    /// Databases that are left out, sorted.
    pub exclude: Vec<String>,
    /// The account that the tool runs as.
    pub run_as: Option<String>,
}

/// The tools that read a MariaDB server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MariadbDriver {
    /// mariadb-dump
    Dump,
}
