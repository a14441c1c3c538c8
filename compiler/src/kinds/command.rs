//! The standard output of a program.

use std::collections::BTreeSet;

use super::{Facts, Kind, Reading, shown};
use crate::diff::settings::{Filling, words};
use crate::graph::Resource;
use crate::model::Command;
use crate::value::{Env, Text};

pub(super) static FACTS: Facts = Facts {
    word: "command",
    driver: None,
    shown: "output of a program",
    reading: Reading::Stream,
    no_database: Some("what a program prints"),
    no_place: "what a program wrote, which came from no place",
    elsewhere: "program",
    has_repository: false,
    clears_repository: false,
    may_follow: false,
    no_log: Some("it is no Postgres cluster"),
    unleveled: &[],
    useless: &[],
    needed: &[],
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
