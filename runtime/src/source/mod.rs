//! Sources: how each kind is read in a run, what is looked at beforehand, and how its backups are rehearsed.
//!
//! | module | holds |
//! |---|---|
//! | this one | [`Reader`], which every kind is, and [`reader`], the one place that tells them apart |
//! | `files` | trees, scanned and read where they are |
//! | `look` | what the world is asked before a run needs it |
//! | [`command`] | a program's standard output |
//! | [`sqlite`] | a live SQLite file, copied through its backup API |
//!
//! Postgres and MariaDB have folders of their own, [`crate::postgres`] and [`crate::mariadb`]. How a backup comes back, its manifest says, and
//! no plan is needed for it: that half of a source is [`Way`], and its table [`way`]. What comes back as files does so by
//! [`crate::backups::restore`]; what is more than files is put back in its kind's own folder, as [`crate::postgres::restore`] does.

pub mod command;
mod files;
pub(crate) mod look;
pub mod sqlite;

use std::path::Path;

use backplan_compiler::model::{
    ArchiveId, MariadbDriver, PostgresDriver, Source, SourceId, SourceKind, Worded,
};

use crate::artefact::Content;
use crate::catalog::details::Root;
use crate::catalog::names::{HostPath, InnerPath, PlanName};
use crate::rehearse::Way;
use crate::run::coordinator::Failure;
use crate::run::output::Output;
use crate::run::reading::Reading;
use look::Look;

/// What a run does with a source.
pub(crate) trait Reader {
    /// Where its trees are: what puts them back in place.
    fn roots(&self, source: &str) -> Vec<Root> {
        let _ = source;
        Vec::new()
    }

    /// What a dump of it would be. Looks, and asks no server.
    ///
    /// # Errors
    /// Why a run would fail.
    fn foresee(&self, source: &Source) -> Result<Foreseen, String> {
        let _ = source;
        Ok(Foreseen::Nothing)
    }

    /// Where on this host its database is, if that is known without asking.
    fn lies_at(&self) -> Option<&Path> {
        None
    }

    /// Copies it, or begins to: the step before it is packed, where there is one. Gives what became of it.
    ///
    /// # Errors
    /// When it cannot be read, or is to stop.
    fn dump(&self, reading: &Reading<'_>) -> Result<Output, Failure> {
        let _ = reading;
        Ok(Output::Nothing)
    }

    /// What it gives to an archive; `None`: it is optional and not there.
    ///
    /// # Errors
    /// When it cannot be read, or is to stop.
    fn content(&self, reading: &Reading<'_>, archive: ArchiveId) -> Result<Option<Content>, Failure>;

    /// Whether its server and tools are as a run needs them; bytes that a run would copy into the staging.
    fn probe(&self, look: &mut Look<'_>, id: SourceId, state: &Path) -> u64 {
        let _ = (look, id, state);
        0
    }
}

/// What a dump would be.
#[derive(Debug)]
pub(crate) enum Foreseen {
    /// There is no such step.
    Nothing,
    /// A file of about so many bytes.
    File(u64),
    /// What its tool makes of it: this is known, and its size when it is made.
    Made(String),
    /// It is optional and not there.
    Absent(String),
}

/// The one place that tells kinds apart.
pub(crate) fn reader(kind: &SourceKind) -> &dyn Reader {
    match kind {
        SourceKind::Files(files) => files,
        SourceKind::Sqlite(sqlite) => sqlite,
        SourceKind::Command(command) => command,
        SourceKind::Postgres(postgres) => postgres.as_ref(),
        SourceKind::Mariadb(mariadb) => mariadb.as_ref(),
    }
}

/// How a backup is rehearsed, by the words that its manifest has for kind and driver; `None`: there is no such driver. The one place
/// that tells apart what manifests name.
pub fn way(kind: &str, driver: Option<&str>) -> Option<&'static dyn Way> {
    match (kind, driver) {
        ("postgres", Some(word)) => of_driver::<PostgresDriver>(word),
        ("mariadb", Some(word)) => of_driver::<MariadbDriver>(word),
        ("sqlite", None) => Some(&sqlite::Database),
        (_, None) => Some(&files::Trees),
        (_, Some(_)) => None,
    }
}

fn of_driver<D: Worded + Way>(word: &str) -> Option<&'static dyn Way> {
    D::TABLE.iter().find(|(name, _)| *name == word).map(|(_, driver)| driver as &dyn Way)
}

/// A tree of a source, and where it is read.
fn root(source: &str, inside: &Path, original: &Path) -> Root {
    Root {
        source: PlanName::known(source),
        inside: InnerPath::known(inside),
        original: HostPath::known(original),
    }
}
