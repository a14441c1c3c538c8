//! What there is to know of each kind of source, in one file a kind: a row of [`Facts`] for what is the same for all sources
//! of a kind (and driver), and an implementation of [`Kind`] for what its attributes say. No other module asks which kind a source
//! is, unless for what only that kind has: trees and patterns, stanzas, logs.
//!
//! A kind is added by its file here, its variant of [`SourceKind`] with an arm of [`SourceKind::own`] and a row of [`ALL`], and its
//! entry in the schema.

mod command;
mod files;
mod mariadb;
mod postgres;
mod sqlite;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use crate::diff::settings::Filling;
use crate::graph::Resource;
use crate::model::{Files, Level, Postgres, Source, SourceKind};
use crate::value::{Env, Secret, Text};

/// What is the same for all sources of a kind, or of a driver of it.
#[derive(Debug)]
pub struct Facts {
    /// The word that plans and manifests have for the kind.
    pub word: &'static str,
    /// The driver's word, where the kind has drivers.
    pub driver: Option<&'static str>,
    /// What stands in pictures.
    pub shown: &'static str,
    /// How it comes into an artefact.
    pub reading: Reading,
    /// What it is, where no query can be asked of it: `None` for databases.
    pub no_database: Option<&'static str>,
    /// What it is, where a restore in place leaves it because it came from no place.
    pub no_place: &'static str,
    /// What another source of the kind reads, in a word.
    pub elsewhere: &'static str,
    /// What is packed of it is a data directory, on which a server would start.
    pub is_data_directory: bool,
    /// Its tool keeps a repository of its own, with the log of changes in it.
    pub has_repository: bool,
    /// That repository is cleared.
    pub clears_repository: bool,
    /// That repository can be kept apart from every archive; `None`: there is none, or it cannot.
    pub apart: Option<KeptApart>,
    /// Files in it that are still being written, as a pattern of `exclude`: the server brings its log while it is packed.
    pub under_way: Option<&'static str>,
    /// Its tool may rest a backup on an earlier one. Whether it can, the server says when it is asked: a plan does not know
    /// its version.
    pub may_follow: bool,
    /// Why no write-ahead log can be archived for it; `None`: it can.
    pub no_log: Option<&'static str>,
    /// Levels that its backups may not have, and why. What is compared as files are has all.
    pub unleveled: &'static [(Level, &'static str)],
    /// Attributes of the kind that the driver has no use for.
    pub useless: &'static [&'static str],
    /// Attributes that it needs, with an example.
    pub needed: &'static [(&'static str, &'static str)],
    /// Attributes of which the first means nothing beside the second.
    pub beside: &'static [(&'static str, &'static str)],
}

/// What the tool of a `separate` source makes of its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptApart {
    /// What it is called.
    pub tool: &'static str,
    /// Its program, and what that calls a cluster.
    pub program: &'static str,
    /// See [`KeptApart::program`].
    pub cluster: &'static str,
    /// It reaches buckets and containers by itself; else folders alone.
    pub goes_far: bool,
    /// It encrypts what is in it.
    pub encrypts: bool,
    /// The server has to archive its log into it, by settings that lie on this machine. Else a backup has the log that it needs itself.
    pub wants_log: bool,
}

/// What most kinds have in common.
const PLAIN: Facts = Facts {
    word: "",
    driver: None,
    shown: "",
    reading: Reading::Scan,
    no_database: None,
    no_place: "what a program wrote, which came from no place",
    elsewhere: "",
    is_data_directory: false,
    has_repository: false,
    clears_repository: false,
    apart: None,
    under_way: None,
    may_follow: false,
    no_log: Some("it is no Postgres cluster"),
    unleveled: &[],
    useless: &[],
    needed: &[],
    beside: &[],
};

/// How a source comes into an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Its trees are scanned, and read where they are.
    Scan,
    /// It is copied into one file, which is packed.
    File,
    /// Its tool fills a folder, which is packed.
    Folder,
    /// It comes from a program while it is packed.
    Stream,
}

/// What a path that a source names is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is backed up.
    Tree,
    /// A database server writes to it.
    Database,
    /// The tool keeps its repository in it.
    Staging,
    /// The tool reads it, and secrets may be in it.
    Config,
}

/// What the attributes of a source say.
pub trait Kind: Debug {
    /// What is the same for all that are like it.
    fn facts(&self) -> &'static Facts;

    /// Paths of this machine that it names, each with its attribute.
    fn paths(&self) -> Vec<(Use, &'static str, &Path)> {
        Vec::new()
    }

    /// Where its tool keeps a repository that lives on between runs; `None`: it keeps none, and each run has all.
    fn repository(&self) -> Option<&Path> {
        None
    }

    /// What its first step reads.
    fn reads(&self, name: &str) -> BTreeSet<Resource> {
        BTreeSet::from([Resource::World(format!("{} {name}", self.facts().word))])
    }

    /// Texts that a run fills in, but for those of its environment.
    fn texts(&self) -> &[Text] {
        &[]
    }

    /// What its program is given.
    fn env(&self) -> Option<&Env> {
        None
    }

    /// The password that it gives to a server.
    fn password(&self) -> Option<&Secret> {
        None
    }

    /// The account that its program runs as.
    fn run_as(&self) -> Option<&str> {
        None
    }

    /// The one database that it reads, where it is one.
    fn database(&self) -> Option<&str> {
        None
    }

    /// What it reads: the same for two sources that have the same data, and no other.
    fn identity(&self) -> String;

    /// What it reads, in words.
    fn what(&self) -> String;

    /// Who asks, and with which settings: with others it may see less.
    fn asked_with(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Its attributes, for a comparison.
    fn describe(&self, out: &mut Filling);
}

/// Every row. Whoever knows no more than what a manifest says looks here.
pub static ALL: &[&Facts] = &[
    &files::FACTS,
    &sqlite::FACTS,
    &command::FACTS,
    &mariadb::DUMP,
    &postgres::PGBACKREST,
    &postgres::BASEBACKUP,
    &postgres::PROBACKUP,
    &postgres::DUMP,
];

/// What is known of what a manifest says was made by this kind and driver; `None`: no program of this version makes such.
pub fn made_by(word: &str, driver: Option<&str>) -> Option<&'static Facts> {
    ALL.iter().find(|row| row.word == word && row.driver == driver).copied()
}

/// What is known of a kind by its word, and by its driver's where one is named.
pub fn facts(word: &str, driver: Option<&str>) -> Option<&'static Facts> {
    let mut rows = ALL.iter().filter(|row| row.word == word);
    rows.find(|row| driver.is_none() || row.driver == driver).copied()
}

impl SourceKind {
    /// What its kind says of it.
    pub fn own(&self) -> &dyn Kind {
        match self {
            SourceKind::Files(files) => files,
            SourceKind::Postgres(postgres) => postgres.as_ref(),
            SourceKind::Sqlite(sqlite) => sqlite,
            SourceKind::Command(command) => command,
            SourceKind::Mariadb(mariadb) => mariadb.as_ref(),
        }
    }

    /// What is the same for all that are like it.
    pub fn facts(&self) -> &'static Facts {
        self.own().facts()
    }
}

impl Source {
    /// Its trees, where it has such.
    pub fn files(&self) -> Option<&Files> {
        match &self.kind {
            SourceKind::Files(files) => Some(files),
            _ => None,
        }
    }

    /// Its cluster, where it is one.
    pub fn postgres(&self) -> Option<&Postgres> {
        match &self.kind {
            SourceKind::Postgres(postgres) => Some(postgres),
            _ => None,
        }
    }

    /// See [`Kind::repository`].
    pub fn repository(&self) -> Option<&Path> {
        self.kind.own().repository()
    }

    /// Whether it has all in each run, whatever the run's level, as far as a plan can tell: its tool leaves something new
    /// each time, and what was not copied again is no longer there.
    pub fn is_whole_each_time(&self) -> bool {
        self.kind.facts().reading == Reading::Folder && self.repository().is_none()
    }

    /// Whether what is packed of it is a copy that a tool made for this run alone.
    pub fn is_copied(&self) -> bool {
        self.kind.facts().reading == Reading::File || self.is_whole_each_time()
    }

    /// Whether what is packed of it is compared with what an earlier run saw, file by file.
    pub fn is_compared(&self) -> bool {
        self.kind.facts().reading == Reading::Scan || self.repository().is_some()
    }

    /// Whether its tool may rest a backup on an earlier one, though it keeps no repository.
    pub fn may_follow(&self) -> bool {
        self.kind.facts().may_follow
    }
}

/// Values in words, as a comparison has them.
fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::{ALL, facts};
    use crate::schema::kind;

    /// A manifest that names a kind or driver finds its row, and every type of the schema has one.
    #[test]
    fn every_type_of_source_has_a_row_and_each_row_is_found_by_its_words() {
        let types: BTreeSet<&str> = kind("source").unwrap().types.iter().map(|ty| ty.name).collect();
        assert_eq!(types, ALL.iter().map(|row| row.word).collect());
        for row in ALL {
            assert!(
                std::ptr::eq(facts(row.word, row.driver).unwrap(), *row),
                "{} {:?}",
                row.word,
                row.driver
            );
        }
        assert!(facts("tape", None).is_none() && facts("postgres", Some("tape")).is_none());
    }
}
