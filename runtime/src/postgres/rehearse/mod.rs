//! Clusters rehearsed: put back into a scratch folder, started, and asked.
//!
//! | module | holds |
//! |---|---|
//! | this one | how a driver's backups are rehearsed, and what that takes of a plan |
//! | `cluster` | data directories, by whichever tool |
//! | `dump` | dumps, loaded into a new cluster |
//! | `server` | what is asked of a cluster that runs again |

pub(super) mod cluster;
pub(super) mod dump;
mod server;

use std::path::Path;
use std::time::Duration;

use backplan_compiler::model::{PostgresDriver, Worded};
use backplan_compiler::value::Hidden;

use super::driver;
use super::recovery::command_word;
use super::repository::Repository;
use super::restore::cluster::ClusterError;
use super::restore::{log, repositories};
use super::wal::archive::{Access, Archive};
use crate::rehearse::{Planned, Play, RehearsalWish, RehearseError, Way};

/// How long a restored cluster may recover.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

impl Way for PostgresDriver {
    fn word(&self) -> &'static str {
        Worded::word(*self)
    }

    fn prepared(&self, wish: &RehearsalWish<'_>) -> Result<Play, RehearseError> {
        let needs = wish.planned.as_ref().map(Needs::of).transpose()?.unwrap_or_default();
        let driver = driver(*self);
        Ok(Box::new(move |stage| driver.rehearse(stage, needs)))
    }
}

/// What the rehearsal of a cluster takes of the plan.
#[derive(Debug, Default)]
pub struct Needs {
    /// A role that the restored cluster knows; `None`: `postgres`.
    role: Option<String>,
    /// The archives of its log.
    log: Vec<Archive>,
    /// Whether it is encrypted, as the plan has it.
    is_log_sealed: bool,
    /// The command by which a restored server gets its log back, where it is archived in a folder in clear.
    fetch: Option<String>,
    /// What the repository of its tool is encrypted with.
    passphrase: Option<Hidden>,
    /// The repositories of its tool that are in no folder.
    remotes: Vec<Repository>,
}

impl Needs {
    /// What a plan has of it.
    ///
    /// # Errors
    /// When a secret of its repository cannot be had.
    fn of(planned: &Planned<'_>) -> Result<Needs, RehearseError> {
        let Planned { model, source, host, secrets } = planned;
        let declared = model.source(*source);
        let repository = |what: &str, error: &dyn std::fmt::Display| {
            RehearseError::Plan(format!("{what} of `{}`: {error}", declared.name))
        };
        let passphrase = model.separate(*source).and_then(|own| own.passphrase.as_ref());
        let passphrase = passphrase.map(|secret| secrets.fetch(secret)).transpose();
        let mut needs = Needs {
            role: declared.postgres().and_then(|cluster| cluster.user.clone()),
            passphrase: passphrase.map_err(|error| repository("the passphrase of the repository", &error))?,
            remotes: repositories::reachable(model, (*source, &declared.name), host, secrets)
                .map_err(|error| repository("the repository", &error))?,
            ..Needs::default()
        };
        if let Some(wal) = model.wals.iter().find(|wal| wal.source == *source) {
            let access = Access { secrets: secrets.clone(), ..Access::default() };
            (needs.log, _) = log::archives(model, wal, &access);
            needs.is_log_sealed = !wal.encrypt.is_empty();
            let folders: Vec<&Path> = wal.to.iter().filter_map(|id| model.store(*id).folder()).collect();
            needs.fetch = fetch(&folders, &model.name, &declared.name);
        }
        Ok(needs)
    }
}

/// The command by which a server gets its log back out of stores, whichever has it whole: this program, with no plan file, which the
/// server's account may not be able to read. `None`: there is no store.
fn fetch(roots: &[&Path], plan: &str, source: &str) -> Option<String> {
    let own = std::env::current_exe().ok()?;
    let mut words = vec![own.display().to_string(), "wal".to_owned(), "fetch".to_owned()];
    for root in roots {
        words.extend(["--store".to_owned(), std::path::absolute(root).ok()?.display().to_string()]);
    }
    words.extend(["--plan-name", plan, source].map(str::to_owned));
    let words: Vec<String> = words.iter().map(|word| command_word(word)).collect();
    (!roots.is_empty()).then(|| format!("{} %f %p", words.join(" ")))
}

/// What a restore's error means: trouble of this machine, or of the backup.
fn of_restore(error: ClusterError) -> Result<String, RehearseError> {
    match error {
        ClusterError::Stopped(stopped) => Err(stopped.into()),
        ClusterError::NoServer(version) => Err(RehearseError::NoServer(version)),
        ClusterError::File { path, cause } => Err(RehearseError::File { path, cause }),
        other => Ok(other.to_string()),
    }
}
