//! Clusters put back: from a base backup, or by the tool that keeps them in a repository of its own.
//!
//! | module | holds |
//! |---|---|
//! | [`cluster`] | a cluster laid down from a base backup |
//! | `combine` | incremental base backups made one cluster |
//! | [`tool`] | a cluster that pgBackRest puts back |
//! | [`probackup`] | a cluster that pg_probackup puts back |
//! | [`launch`] | what becomes of a cluster that lies there: started by hand, or here |
//! | [`outside`] | tablespaces that the log makes where they were |
//! | [`window`] | from which backup a cluster recovers to a point |
//! | [`log`] | the archived log of a source: how far it leads, and whether it is whole |
//! | [`repositories`] | the repositories that are kept apart from every archive |
//! | [`heirs`] | those of sources that have another name by now |

pub mod cluster;
mod combine;
pub mod heirs;
pub mod launch;
pub mod log;
pub mod outside;
pub mod probackup;
pub mod repositories;
pub mod tool;
pub mod window;

use std::path::PathBuf;

use crate::catalog::ids::RunId;
use crate::control::Control;
use crate::postgres::tools;
use cluster::{ClusterError, ClusterOutcome};

/// A cluster that is to be put back, by whichever driver made its backup: shown, or carried out.
pub trait PutBack: Sync {
    /// The run whose backup is taken.
    fn run(&self) -> RunId;

    /// What a person should know before anything is written.
    fn apart(&self) -> &[String];

    /// The version of the cluster's server.
    fn server_version(&self) -> &str;

    /// What it would do; touches nothing.
    ///
    /// # Errors
    /// When an index cannot be read.
    fn preview(&self) -> Result<ClusterOutcome, ClusterError>;

    /// Bytes that it takes at its height.
    ///
    /// # Errors
    /// When an index cannot be read.
    fn room(&self) -> Result<u64, ClusterError> {
        Ok(self.preview()?.bytes)
    }

    /// Lays the cluster down, tells it how far to recover, and starts it where that is wanted.
    ///
    /// # Errors
    /// See [`ClusterError`]. A cluster that is not all there cannot be started by accident.
    fn carry_out(&self, control: &Control) -> Result<ClusterOutcome, ClusterError>;

    /// The folder of the programs of the cluster's server.
    ///
    /// # Errors
    /// [`ClusterError::NoServer`].
    fn programs(&self) -> Result<PathBuf, ClusterError> {
        let version = self.server_version();
        let programs = tools::major(version).and_then(tools::server);
        programs.ok_or_else(|| ClusterError::NoServer(version.to_owned()))
    }
}
