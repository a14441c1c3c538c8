//! What must survive: the attributes of each kind, and what they become in the model.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Attr, Kind, Make, Naming, Ty, Type, def, opt, req};
use crate::model::{
    BackupMode, Command, Compare, Files, Mariadb, MariadbDriver, Pattern, Postgres, PostgresDriver,
    SourceKind, Sqlite, Worded, words,
};
use crate::resolve::Block;

pub(super) const SOURCE: Kind = Kind {
    name: "source",
    doc: "Something that must survive.",
    naming: Naming::New,
    repeats: false,
    types: TYPES,
    attrs: EVERY,
    blocks: &[],
};

const TYPES: &[Type] = &[
    ty("files", "Trees of files.", FILES, files),
    ty("postgres", "A PostgreSQL cluster.", POSTGRES, postgres),
    ty("sqlite", "A live SQLite file, copied through its backup API.", SQLITE, sqlite),
    ty("mariadb", "The databases of a MariaDB server.", MARIADB, mariadb),
    ty("command", "The standard output of a program, streamed.", COMMAND, command),
];

const COMPARE: [&str; 2] = words(Compare::TABLE);
const DRIVERS: [&str; 4] = words(PostgresDriver::TABLE);
const MARIADB_DRIVERS: [&str; 1] = words(MariadbDriver::TABLE);
const BACKUP_MODES: [&str; 3] = words(BackupMode::TABLE);

const fn ty(
    name: &'static str,
    doc: &'static str,
    attrs: &'static [Attr],
    make: fn(&mut Block<'_>) -> Option<SourceKind>,
) -> Type {
    Type { name, doc, attrs, make: Make::Source(make) }
}

const EVERY: &[Attr] = &[
    opt("after", Ty::Refs("source"), "Sources that are read before this one."),
    def("optional", Ty::Bool, "false", "Whether a missing path is a warning and not a failure."),
    def(
        "strict",
        Ty::Bool,
        "false",
        "Whether a missing path costs the whole source, and a source that fails the archives it is in.",
    ),
    opt("timeout", Ty::Duration, "The longest that a step reading it may take."),
];

const FILES: &[Attr] = &[
    req("paths", Ty::Paths, "The files and folders to read."),
    opt("exclude", Ty::Patterns, "Patterns by gitignore's rules, anchored at each entry of `paths`."),
    def("exclude_caches", Ty::Bool, "false", "Whether folders marked by a `CACHEDIR.TAG` are left out."),
    def("one_file_system", Ty::Bool, "false", "Whether other file systems mounted below are left out."),
    opt("max_file_size", Ty::Size, "Larger files are left out."),
    def("compare", Ty::Keyword(&COMPARE), "mtime", "How a change of a file is noticed."),
    opt(
        "root",
        Ty::Path,
        "A folder below which everything is read and without which it is recorded, such as a snapshot's mount.",
    ),
];

fn files(block: &mut Block<'_>) -> Option<SourceKind> {
    let root = block.path("root");
    let mut paths = block.paths("paths")?;
    if let Some(root) = &root {
        for path in &mut paths {
            path.absolute = below(root, &path.absolute);
        }
    }
    let exclude = block.strings("exclude").unwrap_or_default();
    Some(SourceKind::Files(Files {
        paths,
        exclude: exclude.into_iter().map(|(text, place)| Pattern { place, text }).collect(),
        exclude_caches: block.bool("exclude_caches").unwrap_or(false),
        one_file_system: block.bool("one_file_system").unwrap_or(false),
        max_file_size: block.amount("max_file_size"),
        compare: block.choice("compare").unwrap_or_default(),
        root,
    }))
}

/// The place below `root` that stands for the absolute `path`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

const POSTGRES: &[Attr] = &[
    req("driver", Ty::Keyword(&DRIVERS), "The tool that reads the cluster."),
    opt("host", Ty::Str, "The server's name, or the folder of its socket."),
    opt("port", Ty::Int(1, 65_535), "The server's port."),
    opt("user", Ty::Str, "The role that connects."),
    opt("password", Ty::Secret, "The password of the role."),
    opt("database", Ty::Str, "One database; left out, all of them."),
    opt("data_dir", Ty::Path, "The data directory of the cluster."),
    opt("stanza", Ty::Stanza, "The stanza of pgBackRest."),
    opt("staging", Ty::Path, "The folder that the tool keeps its own repository or catalogue in."),
    opt("config", Ty::Path, "The configuration file of the tool."),
    opt("run_as", Ty::Account, "The account that the tool runs as."),
    def(
        "backup_mode",
        Ty::Keyword(&BACKUP_MODES),
        "delta",
        "How pg_probackup finds what changed: in the files, in the archived log, by the ptrack extension.",
    ),
    opt("jobs", Ty::Int(1, 1024), "How many workers the tool uses."),
];

fn postgres(block: &mut Block<'_>) -> Option<SourceKind> {
    Some(SourceKind::Postgres(Box::new(Postgres {
        driver: block.choice("driver")?,
        host: block.str("host"),
        port: block.int("port"),
        user: block.str("user"),
        password: block.secret("password"),
        database: block.str("database"),
        data_dir: block.path("data_dir"),
        stanza: block.str("stanza"),
        staging: block.path("staging"),
        config: block.path("config"),
        run_as: block.str("run_as"),
        backup_mode: block.choice("backup_mode").unwrap_or_default(),
        jobs: block.int("jobs"),
    })))
}

const SQLITE: &[Attr] = &[req("path", Ty::Path, "The database file.")];

fn sqlite(block: &mut Block<'_>) -> Option<SourceKind> {
    Some(SourceKind::Sqlite(Sqlite { path: block.path("path")? }))
}

const MARIADB: &[Attr] = &[
    req("driver", Ty::Keyword(&MARIADB_DRIVERS), "The tool that reads the server."),
    opt("host", Ty::Str, "The server's name or address, by TCP."),
    opt("port", Ty::Int(1, 65_535), "The server's port."),
    opt("socket", Ty::Path, "The server's socket."),
    opt("user", Ty::Str, "The account on the server."),
    opt("password", Ty::Secret, "Its password."),
    opt("config", Ty::Path, "An option file of the client, for what has no word here; no other is read."),
    opt("databases", Ty::Names, "These databases, without the accounts; left out, all of them."),
    opt("exclude", Ty::Names, "Databases that are left out."),
    opt("run_as", Ty::Account, "The account that the tool runs as."),
];

fn mariadb(block: &mut Block<'_>) -> Option<SourceKind> {
    let mut names = |attr| {
        let names = block.strings(attr).unwrap_or_default().into_iter().map(|(name, _)| name);
        names.collect::<BTreeSet<String>>().into_iter().collect()
    };
    let (databases, exclude) = (names("databases"), names("exclude"));
    Some(SourceKind::Mariadb(Box::new(Mariadb {
        driver: block.choice("driver")?,
        host: block.str("host"),
        port: block.int("port"),
        socket: block.path("socket"),
        user: block.str("user"),
        password: block.secret("password"),
        config: block.path("config"),
        databases,
        exclude,
        run_as: block.str("run_as"),
    })))
}

const COMMAND: &[Attr] = &[
    req("run", Ty::Args, "The program and its arguments."),
    req("as", Ty::Component, "The name of the file that its output becomes."),
    opt("env", Ty::Env, "Environment variables for the program; the place for its secrets."),
    opt("run_as", Ty::Account, "The account that the program runs as."),
];

fn command(block: &mut Block<'_>) -> Option<SourceKind> {
    Some(SourceKind::Command(Command {
        run: block.texts("run")?,
        as_name: block.str("as")?,
        env: block.env("env").unwrap_or_default(),
        run_as: block.str("run_as"),
    }))
}
