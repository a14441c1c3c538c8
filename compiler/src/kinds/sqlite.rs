//! A live SQLite file.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Facts, Kind, Reading, Use};
use crate::diff::settings::Filling;
use crate::graph::Resource;
use crate::model::Sqlite;

pub(super) static FACTS: Facts = Facts {
    word: "sqlite",
    driver: None,
    shown: "SQLite",
    reading: Reading::File,
    no_database: None,
    no_place: "what a program wrote, which came from no place",
    elsewhere: "database",
    has_repository: false,
    clears_repository: false,
    may_follow: false,
    no_log: Some("it is no Postgres cluster"),
    unleveled: &[],
    useless: &[],
    needed: &[],
};

impl Kind for Sqlite {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn paths(&self) -> Vec<(Use, &'static str, &Path)> {
        vec![(Use::Database, "path", &self.path)]
    }

    fn reads(&self, _: &str) -> BTreeSet<Resource> {
        BTreeSet::from([Resource::Path(self.path.clone())])
    }

    fn identity(&self) -> String {
        format!("{:?}", self.path)
    }

    fn what(&self) -> String {
        format!("the SQLite database `{}`", self.path.display())
    }

    fn describe(&self, out: &mut Filling) {
        out.one("path", self.path.display());
    }
}
