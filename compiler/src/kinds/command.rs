//! The standard output of a program.

use std::collections::BTreeSet;

use super::{Facts, Kind, PLAIN, Reading, shown};
use crate::diff::settings::{Filling, words};
use crate::graph::Resource;
use crate::model::Command;
use crate::value::{Env, Text};

pub(super) static FACTS: Facts = Facts {
    word: "command",
    shown: "output of a program",
    reading: Reading::Stream,
    no_database: Some("what a program prints"),
    ..PLAIN
};

impl Kind for Command {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn reads(&self, name: &str) -> BTreeSet<Resource> {
        BTreeSet::from([Resource::World(format!("output of {name}"))])
    }

    fn texts(&self) -> &[Text] {
        &self.run
    }

    fn env(&self) -> Option<&Env> {
        Some(&self.env)
    }

    fn identity(&self) -> String {
        words(&self.run)
    }

    fn what(&self) -> String {
        format!("what `{}` prints", words(&self.run))
    }

    fn asked_with(&self) -> Vec<(&'static str, String)> {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        vec![("env", names.join(" ")), ("run_as", shown(self.run_as.as_ref()))]
    }

    fn describe(&self, out: &mut Filling) {
        out.words("run", Some(&self.run));
        out.one("as", &self.as_name);
        out.env(&self.env);
        out.maybe("run_as", self.run_as.as_ref());
    }
}
