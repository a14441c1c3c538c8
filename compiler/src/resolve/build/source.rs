//! Sources.

use std::path::{Path, PathBuf};

use super::super::Resolver;
use super::super::block::{Block, sorted};
use super::super::declare::Declared;
use super::source_ids;
use crate::codes;
use crate::finding::Finding;
use crate::model::{Command, Files, Pattern, Postgres, Source, SourceKind, Worded};
use crate::schema::Make;

/// Attributes that a driver has no use for.
const USELESS: &[(&str, &[&str])] = &[
    ("pgbackrest", &["database", "backup_mode"]),
    ("basebackup", &["database", "stanza", "config", "jobs", "backup_mode"]),
    ("probackup", &["stanza", "config"]),
    ("dump", &["stanza", "config", "data_dir", "backup_mode"]),
];

impl<'a> Resolver<'a> {
    pub(super) fn source(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Source> {
        let Make::Source(make) = declared.ty?.make else { return None };
        let kind = make(block);
        if let Some(SourceKind::Postgres(postgres)) = &kind {
            self.check_driver(postgres.driver.word(), block);
        }
        Some(Source {
            name: declared.name().to_owned(),
            place: block.head,
            kind: kind?,
            after: source_ids(sorted(block.refs("after").unwrap_or_default())),
            optional: block.bool("optional").unwrap_or(false),
            timeout: block.amount("timeout"),
        })
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

pub(crate) fn sqlite(block: &mut Block<'_>) -> Option<SourceKind> {
    Some(SourceKind::Sqlite { path: block.path("path")? })
}

pub(crate) fn postgres(block: &mut Block<'_>) -> Option<SourceKind> {
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

pub(crate) fn files(block: &mut Block<'_>) -> Option<SourceKind> {
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

pub(crate) fn command(block: &mut Block<'_>) -> Option<SourceKind> {
    Some(SourceKind::Command(Command {
        run: block.texts("run")?,
        as_name: block.str("as")?,
        env: block.env("env").unwrap_or_default(),
        run_as: block.str("run_as"),
    }))
}
