//! A MariaDB server, by `mariadb-dump`.

use std::path::Path;

use super::{Facts, Kind, PLAIN, Reading, Use, shown};
use crate::diff::settings::Filling;
use crate::model::{Level, Mariadb, Worded};
use crate::value::Secret;

pub(super) static DUMP: Facts = Facts {
    word: "mariadb",
    driver: Some("dump"),
    shown: "MariaDB, mariadb-dump",
    reading: Reading::Folder,
    no_place: "dumps of a MariaDB server, and none is put back in place",
    elsewhere: "server or other databases",
    unleveled: &[
        (Level::Differential, "a dump is whole each time"),
        (Level::Incremental, "a dump is whole each time"),
    ],
    beside: &[("exclude", "databases"), ("host", "socket"), ("port", "socket")],
    ..PLAIN
};

impl Kind for Mariadb {
    fn facts(&self) -> &'static Facts {
        &DUMP
    }

    fn paths(&self) -> Vec<(Use, &'static str, &Path)> {
        self.config.iter().map(|path| (Use::Config, "config", path.as_path())).collect()
    }

    fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    fn run_as(&self) -> Option<&str> {
        self.run_as.as_deref()
    }

    fn database(&self) -> Option<&str> {
        match self.databases.as_slice() {
            [database] => Some(database),
            _ => None,
        }
    }

    fn identity(&self) -> String {
        format!("{:?}", (&self.host, self.port, &self.socket, &self.databases, &self.exclude))
    }

    fn what(&self) -> String {
        "a MariaDB server".to_owned()
    }

    fn asked_with(&self) -> Vec<(&'static str, String)> {
        let config = self.config.as_ref().map(|path| path.display());
        vec![
            ("user", shown(self.user.as_ref())),
            ("config", shown(config)),
            ("run_as", shown(self.run_as.as_ref())),
        ]
    }

    fn describe(&self, out: &mut Filling) {
        out.one("driver", self.driver.word());
        out.maybe("host", self.host.as_ref());
        out.maybe("port", self.port);
        out.path("socket", self.socket.as_ref());
        out.maybe("user", self.user.as_ref());
        out.secret("password", self.password.as_ref());
        out.path("config", self.config.as_ref());
        out.list("databases", self.databases.clone(), true);
        out.list("exclude", self.exclude.clone(), true);
        out.maybe("run_as", self.run_as.as_ref());
    }
}
