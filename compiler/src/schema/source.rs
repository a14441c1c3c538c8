//! What must survive.

use super::{Attr, Kind, Naming, Ty, Type, def, opt, req};

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
    Type { name: "files", doc: "Trees of files.", attrs: FILES },
    Type { name: "postgres", doc: "A PostgreSQL cluster.", attrs: POSTGRES },
    Type { name: "sqlite", doc: "A live SQLite file, copied through its backup API.", attrs: SQLITE },
    Type { name: "command", doc: "The standard output of a program, streamed.", attrs: COMMAND },
];

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
    def("compare", Ty::Keyword(&["mtime", "checksum"]), "mtime", "How a change of a file is noticed."),
    opt(
        "root",
        Ty::Path,
        "A folder below which everything is read and without which it is recorded, such as a snapshot's mount.",
    ),
];

const POSTGRES: &[Attr] = &[
    req(
        "driver",
        Ty::Keyword(&["pgbackrest", "basebackup", "probackup", "dump"]),
        "The tool that reads the cluster.",
    ),
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
        Ty::Keyword(&["delta", "page", "ptrack"]),
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
