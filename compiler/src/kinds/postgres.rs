//! A Postgres cluster, by one of four tools.

use std::path::Path;

use super::{Facts, KeptApart, Kind, PLAIN, Reading, Use, shown};
use crate::diff::settings::Filling;
use crate::model::{Level, Postgres, PostgresDriver, Worded};
use crate::value::Secret;

/// What all drivers have in common.
const CLUSTER: Facts = Facts {
    word: "postgres",
    shown: "Postgres",
    reading: Reading::Folder,
    no_place: "a Postgres cluster, and none is put back in place",
    elsewhere: "cluster or database",
    no_log: None,
    ..PLAIN
};

pub(super) static PGBACKREST: Facts = Facts {
    driver: Some("pgbackrest"),
    shown: "Postgres, pgBackRest",
    has_repository: true,
    apart: Some(KeptApart {
        tool: "pgBackRest",
        program: "pgbackrest",
        cluster: "stanza",
        goes_far: true,
        encrypts: true,
        wants_log: true,
    }),
    under_way: Some("*.pgbackrest.tmp"),
    no_log: Some("pgBackRest keeps the WAL in its own repository"),
    useless: &["database", "backup_mode"],
    needed: &[("stanza", "\"main\"")],
    ..CLUSTER
};

pub(super) static BASEBACKUP: Facts = Facts {
    driver: Some("basebackup"),
    shown: "Postgres, pg_basebackup",
    is_data_directory: true,
    may_follow: true,
    unleveled: &[
        (Level::Differential, "pg_basebackup needs a server of PostgreSQL 17 or newer for it"),
        (Level::Incremental, "pg_basebackup needs a server of PostgreSQL 17 or newer for it"),
    ],
    useless: &["database", "stanza", "config", "jobs", "backup_mode"],
    ..CLUSTER
};

pub(super) static PROBACKUP: Facts = Facts {
    driver: Some("probackup"),
    shown: "Postgres, pg_probackup",
    has_repository: true,
    clears_repository: true,
    apart: Some(KeptApart {
        tool: "pg_probackup",
        program: "pg_probackup",
        cluster: "instance",
        goes_far: false,
        encrypts: false,
        wants_log: false,
    }),
    under_way: Some("/wal/*/*.part"),
    no_log: Some("pg_probackup keeps the WAL in its own catalogue"),
    unleveled: &[(Level::Differential, "pg_probackup rests each backup on the one before it")],
    useless: &["stanza", "config"],
    ..CLUSTER
};

pub(super) static DUMP: Facts = Facts {
    driver: Some("dump"),
    shown: "Postgres, pg_dump",
    no_log: Some("WAL cannot be replayed onto a dump"),
    unleveled: &[
        (Level::Differential, "a dump is whole each time"),
        (Level::Incremental, "a dump is whole each time"),
    ],
    useless: &["stanza", "config", "data_dir", "backup_mode"],
    ..CLUSTER
};

impl PostgresDriver {
    /// What is the same for all clusters that it backs up.
    pub fn facts(self) -> &'static Facts {
        match self {
            PostgresDriver::Pgbackrest => &PGBACKREST,
            PostgresDriver::Basebackup => &BASEBACKUP,
            PostgresDriver::Probackup => &PROBACKUP,
            PostgresDriver::Dump => &DUMP,
        }
    }
}

impl Kind for Postgres {
    fn facts(&self) -> &'static Facts {
        self.driver.facts()
    }

    fn paths(&self) -> Vec<(Use, &'static str, &Path)> {
        let all = [
            (Use::Database, "data_dir", &self.data_dir),
            (Use::Staging, "staging", &self.staging),
            (Use::Config, "config", &self.config),
        ];
        all.into_iter().filter_map(|(what, attr, path)| Some((what, attr, path.as_deref()?))).collect()
    }

    fn repository(&self) -> Option<&Path> {
        self.staging.as_deref().filter(|_| self.facts().has_repository)
    }

    fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    fn run_as(&self) -> Option<&str> {
        self.run_as.as_deref()
    }

    fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    fn identity(&self) -> String {
        format!("{:?}", (&self.host, self.port, &self.data_dir, &self.database, &self.stanza))
    }

    fn what(&self) -> String {
        "a Postgres cluster".to_owned()
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
        out.maybe("user", self.user.as_ref());
        out.secret("password", self.password.as_ref());
        out.maybe("database", self.database.as_ref());
        out.path("data_dir", self.data_dir.as_ref());
        out.maybe("stanza", self.stanza.as_ref());
        out.path("staging", self.staging.as_ref());
        out.path("config", self.config.as_ref());
        out.maybe("run_as", self.run_as.as_ref());
        if self.driver == PostgresDriver::Probackup {
            out.one("backup_mode", self.backup_mode.word());
        }
        out.maybe("jobs", self.jobs);
    }
}
