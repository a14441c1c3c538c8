//! A live SQLite file.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Facts, Kind, PLAIN, Reading, Use};
use crate::diff::settings::Filling;
use crate::graph::Resource;
use crate::model::Sqlite;

pub(super) static FACTS: Facts = Facts { word: "sqlite", shown: "SQLite", reading: Reading::File, ..PLAIN };

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
