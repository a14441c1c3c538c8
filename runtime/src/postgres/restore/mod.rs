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
