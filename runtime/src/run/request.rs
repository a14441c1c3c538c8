//! What a run is asked to do, and what of it no run could.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use backplan_compiler::Laid;
use backplan_compiler::model::{Level, Model};
use jiff::Timestamp;

use super::staging::Surroundings;

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
    /// What this machine's clock says.
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

/// The keys of a plan that nothing can be encrypted for, in words for a person. `plan check` looks at their form; this asks the
/// cipher itself.
pub fn unusable_keys(model: &Model) -> Vec<String> {
    let bad = |keys: &[String]| -> Vec<String> {
        keys.iter()
            .filter_map(|text| crate::cipher::recipient(text).err().map(|bad| bad.to_string()))
            .collect()
    };
    let archives = model.archives.iter().flat_map(|archive| {
        let name = &archive.name;
        bad(&archive.encrypt)
            .into_iter()
            .map(move |bad| format!("archive `{name}` is to be encrypted for what {bad}"))
    });
    let logs = model.wals.iter().flat_map(|wal| {
        let name = &model.source(wal.source).name;
        bad(&wal.encrypt)
            .into_iter()
            .map(move |bad| format!("the log of `{name}` is to be encrypted for what {bad}"))
    });
    archives.chain(logs).collect()
}
