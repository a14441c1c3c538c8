//! Sources.

use std::path::{Path, PathBuf};

use super::super::Resolver;
use super::super::block::{Block, sorted};
use super::super::declare::Declared;
use super::source_ids;
use crate::codes;
use crate::finding::Finding;
use crate::model::{
    BackupMode, Command, Compare, Files, Pattern, Postgres, PostgresDriver, Source, SourceKind,
};
use crate::sources::Place;

/// Attributes that a driver has no use for.
const USELESS: &[(&str, &[&str])] = &[
    ("pgbackrest", &["database", "backup_mode"]),
    ("basebackup", &["database", "stanza", "config", "jobs", "backup_mode"]),
    ("probackup", &["stanza", "config"]),
    ("dump", &["stanza", "config", "data_dir", "backup_mode"]),
];

impl<'a> Resolver<'a> {
    pub(super) fn source(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Source> {
        let kind = match declared.ty?.name {
            "files" => files(block).map(SourceKind::Files),
            "postgres" => self.postgres(block),
            "sqlite" => block.path("path").map(|path| SourceKind::Sqlite { path }),
            _ => command(block).map(SourceKind::Command),
        };
        Some(Source {
            name: declared.name().to_owned(),
            place: block.head,
            kind: kind?,
            after: source_ids(sorted(block.refs("after").unwrap_or_default())),
            optional: block.bool("optional").unwrap_or(false),
            timeout: block.amount("timeout"),
        })
    }

    fn postgres(&mut self, block: &mut Block<'a>) -> Option<SourceKind> {
        let word = block.keyword("driver")?;
        self.check_driver(word, block);
        let stanza = block.str("stanza");
        self.check_stanza(stanza.as_deref(), block.place("stanza"));
        let driver = match word {
            "pgbackrest" => PostgresDriver::Pgbackrest,
            "basebackup" => PostgresDriver::Basebackup,
            "probackup" => PostgresDriver::Probackup,
            _ => PostgresDriver::Dump,
        };
        Some(SourceKind::Postgres(Box::new(Postgres {
            driver,
            host: block.str("host"),
            port: block.int("port"),
            user: block.str("user"),
            password: block.secret("password"),
            database: block.str("database"),
            data_dir: block.path("data_dir"),
            stanza,
            staging: block.path("staging"),
            config: block.path("config"),
            run_as: block.str("run_as"),
            backup_mode: match block.keyword("backup_mode") {
                Some("page") => BackupMode::Page,
                Some("ptrack") => BackupMode::Ptrack,
                _ => BackupMode::Delta,
            },
            jobs: block.int("jobs"),
        })))
    }

    /// A stanza is a folder in a repository, and stands behind an option of its tool.
    fn check_stanza(&mut self, stanza: Option<&str>, place: Place) {
        let Some(stanza) = stanza else { return };
        let odd = |c: char| c == '/' || c.is_control();
        if !stanza.is_empty()
            && stanza.len() < 256
            && !stanza.starts_with(['-', '.'])
            && !stanza.contains(odd)
        {
            return;
        }
        let message = format!("`{}` cannot be a stanza", stanza.escape_debug());
        self.findings.push(
            Finding::new(&codes::BAD_VALUE, place, message)
                .help("use letters, digits, `-` and `_`, a letter first"),
        );
    }

    fn check_driver(&mut self, driver: &str, block: &Block<'_>) {
        let useless = USELESS.iter().find(|(name, _)| *name == driver).map_or(&[][..], |(_, attrs)| attrs);
        for attr in useless.iter().filter(|attr| block.wrote(attr)) {
            let message = format!("`{attr}` means nothing to the driver `{driver}`");
            self.findings.push(
                Finding::new(&codes::DRIVER_ATTRIBUTE, block.place(attr), message)
                    .with(block.place("driver"), "the driver")
                    .help(format!("leave `{attr}` out, or choose another driver")),
            );
        }
        let needed: &[(&str, &str)] = match driver {
            "pgbackrest" => &[("stanza", "\"main\"")],
            "probackup" => &[("staging", "\"/var/lib/pg_probackup\"")],
            _ => &[],
        };
        for (attr, example) in needed.iter().filter(|(attr, _)| !block.wrote(attr)) {
            let message = format!("the driver `{driver}` needs `{attr}`");
            self.findings.push(
                Finding::new(&codes::MISSING_ATTRIBUTE, block.head, message)
                    .with(block.place("driver"), "the driver")
                    .help(format!("add `{attr} = {example}`")),
            );
        }
    }
}

fn files(block: &mut Block<'_>) -> Option<Files> {
    let root = block.path("root");
    let mut paths = block.paths("paths")?;
    if let Some(root) = &root {
        for path in &mut paths {
            path.absolute = below(root, &path.absolute);
        }
    }
    let exclude = block.strings("exclude").unwrap_or_default();
    Some(Files {
        paths,
        exclude: exclude.into_iter().map(|(text, place)| Pattern { place, text }).collect(),
        exclude_caches: block.bool("exclude_caches").unwrap_or(false),
        one_file_system: block.bool("one_file_system").unwrap_or(false),
        max_file_size: block.amount("max_file_size"),
        compare: match block.keyword("compare") {
            Some("checksum") => Compare::Checksum,
            _ => Compare::Mtime,
        },
        root,
    })
}

/// The place below `root` that stands for the absolute `path`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn command(block: &mut Block<'_>) -> Option<Command> {
    Some(Command {
        run: block.texts("run")?,
        as_name: block.str("as")?,
        env: block.env("env").unwrap_or_default(),
        run_as: block.str("run_as"),
    })
}
