//! What must survive.

use super::{Attr, Kind, Make, Naming, Ty, Type, def, opt, req};
use crate::model::{BackupMode, Compare, PostgresDriver, SourceKind, Worded, words};
use crate::resolve::Block;
use crate::resolve::build::source;

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
    ty("files", "Trees of files.", FILES, source::files),
    ty("postgres", "A PostgreSQL cluster.", POSTGRES, source::postgres),
    ty("sqlite", "A live SQLite file, copied through its backup API.", SQLITE, source::sqlite),
    ty("command", "The standard output of a program, streamed.", COMMAND, source::command),
];

const COMPARE: [&str; 2] = words(Compare::TABLE);
const DRIVERS: [&str; 4] = words(PostgresDriver::TABLE);
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

const SQLITE: &[Attr] = &[req("path", Ty::Path, "The database file.")];

const COMMAND: &[Attr] = &[
    req("run", Ty::Args, "The program and its arguments."),
    req("as", Ty::Component, "The name of the file that its output becomes."),
    opt("env", Ty::Env, "Environment variables for the program; the place for its secrets."),
    opt("run_as", Ty::Account, "The account that the program runs as."),
];
