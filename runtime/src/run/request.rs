//! What a run is asked to do, and what this version cannot do yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use backplan_compiler::Laid;
use backplan_compiler::model::{Level, Model, PostgresDriver, Separate, SourceKind, Worded};
use jiff::Timestamp;

use super::staging::Surroundings;
use crate::postgres::repository::refusals;

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// The plan.
    pub model: Model,
    /// The paths of this machine that it names.
    pub laid: Laid,
    /// Its texts, the plan first, with secret literals taken out.
    pub files: Vec<(PathBuf, String)>,
    /// The parameters it was given.
    pub parameters: BTreeMap<String, String>,
    /// `--level`; `None`: by the cycle.
    pub level: Option<Level>,
    /// `--only`: these sources; empty: all.
    pub only: BTreeSet<String>,
    /// `--new-cluster`: these Postgres sources may be other clusters than they were.
    pub new_clusters: BTreeSet<String>,
    /// `--unmounted`: where file systems were mounted that are given up for good.
    pub unmounted: Vec<PathBuf>,
    /// `--adopt`: take over stores that belong to another machine or plan file.
    pub adopt: bool,
    /// Backplan's folder on this host.
    pub state: PathBuf,
    /// The home of the account that runs: never cleared.
    pub home: Option<PathBuf>,
    /// What the time is.
    pub clock: Clock,
}

/// What the time is.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// Always this: for tests that compare two runs.
    Fixed(Timestamp),
}

impl Request {
    /// What its staging lies among.
    pub fn around(&self) -> Surroundings<'_> {
        Surroundings { model: &self.model, state: &self.state, home: self.home.as_deref() }
    }
}

impl Clock {
    /// Now.
    pub fn now(self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Fixed(at) => at,
        }
    }
}

/// What of a plan this version can check but not run, in words for a person; empty: it can run it.
pub fn unsupported(model: &Model) -> Vec<String> {
    let mut found = Vec::new();
    for source in &model.sources {
        let SourceKind::Postgres(cluster) = &source.kind else { continue };
        let name = &source.name;
        let is_separate = model.separates.iter().any(|separate| model.source(separate.source).name == *name);
        if matches!(cluster.driver, PostgresDriver::Pgbackrest | PostgresDriver::Probackup)
            && cluster.staging.is_none()
            && !is_separate
        {
            found.push(format!("source `{name}` has no `staging` for its tool's own repository"));
        }
    }
    for archive in &model.archives {
        let bad = archive.encrypt.iter().filter_map(|text| crate::cipher::recipient(text).err());
        found.extend(bad.map(|bad| format!("archive `{}` is to be encrypted for what {bad}", archive.name)));
    }
    for separate in &model.separates {
        unsupported_separate(model, separate, &mut found);
    }
    for wal in &model.wals {
        let name = &model.source(wal.source).name;
        let bad = wal.encrypt.iter().filter_map(|text| crate::cipher::recipient(text).err());
        found.extend(bad.map(|bad| format!("the log of `{name}` is to be encrypted for what {bad}")));
    }
    for verify in &model.verifies {
        let source = model.source(verify.restore);
        let SourceKind::Postgres(cluster) = &source.kind else { continue };
        if cluster.driver == PostgresDriver::Probackup {
            let driver = cluster.driver.word();
            found.push(format!(
                "it has a `verify` of `{}`, and a backup by `{driver}` cannot be rehearsed",
                source.name
            ));
        }
    }
    found
}

fn unsupported_separate(model: &Model, separate: &Separate, found: &mut Vec<String>) {
    let source = model.source(separate.source);
    let name = &source.name;
    let has_staging = source.repository().is_some();
    match &source.kind {
        SourceKind::Postgres(cluster) if cluster.driver == PostgresDriver::Pgbackrest => {}
        _ => found.push(format!("source `{name}` is `separate`, and its driver is not `pgbackrest`")),
    }
    if separate.to.len() > 1 {
        found.push(format!("source `{name}` is `separate` in more than one store"));
    }
    for id in &separate.to {
        let store = model.store(*id);
        if !model.is_of_tools(*id) {
            continue;
        }
        found.extend(refusals(store));
        if !has_staging {
            found.push(format!(
                "source `{name}` is `separate` in store `{}`, and has no `staging`, where the settings for it are to be",
                store.name
            ));
        }
        if model.told_in(separate).is_empty() {
            found.push(format!(
                "source `{name}` is `separate` in store `{}`, and no archive goes to a store that would know of its backups",
                store.name
            ));
        }
    }
}
