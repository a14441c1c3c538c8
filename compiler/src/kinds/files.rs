//! Trees of files.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Facts, Kind, PLAIN, Reading, Use};
use crate::diff::settings::{Filling, listed, size};
use crate::graph::Resource;
use crate::model::{Compare, Files, Worded};

pub(super) static FACTS: Facts =
    Facts { word: "files", shown: "files", reading: Reading::Scan, no_database: Some("files"), ..PLAIN };

impl Kind for Files {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn paths(&self) -> Vec<(Use, &'static str, &Path)> {
        self.paths.iter().map(|path| (Use::Tree, "paths", path.absolute.as_path())).collect()
    }

    fn reads(&self, _: &str) -> BTreeSet<Resource> {
        self.paths.iter().map(|path| Resource::Path(path.absolute.clone())).collect()
    }

    fn identity(&self) -> String {
        format!("{:?}", self.paths.iter().map(|path| &path.absolute).collect::<BTreeSet<_>>())
    }

    fn what(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| path.absolute.display().to_string()).collect();
        format!("files of {}", listed(&paths.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    fn describe(&self, out: &mut Filling) {
        out.list("paths", self.paths.iter().map(|path| path.absolute.display().to_string()).collect(), true);
        // A later pattern goes before an earlier one: their order means something.
        out.list("exclude", self.exclude.iter().map(|pattern| pattern.text.clone()).collect(), false);
        out.flag("exclude_caches", self.exclude_caches);
        out.flag("one_file_system", self.one_file_system);
        out.maybe("max_file_size", self.max_file_size.map(size));
        if self.compare != Compare::default() {
            out.one("compare", self.compare.word());
        }
        out.path("root", self.root.as_ref());
    }
}
