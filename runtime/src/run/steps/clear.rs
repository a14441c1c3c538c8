//! Clearing a staging, and taking one into use.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use backplan_compiler::model::Staging as Declared;

use super::Sight;
use crate::catalog::host::PlanState;
use crate::control::Control;
use crate::run::staging::{Staging, StagingError, Surroundings};

/// Whose a staging is when a run comes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tenancy {
    /// Runs of the plan use it.
    Own,
    /// Nobody's: this run takes it, with what tells it from another folder that is later put under its name.
    Taken(PathBuf, u64),
    /// Before its first run it holds what somebody may need: of that nothing is deleted until it is gone.
    Strange(Vec<OsString>),
}

impl Tenancy {
    /// Looks whose it is.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn of(staging: &Staging, plan: &PlanState) -> Result<Tenancy, StagingError> {
        let (path, inode) = staging.identity()?;
        if plan.has_staging(&path, inode) {
            return Ok(Tenancy::Own);
        }
        let strangers = staging.strangers()?;
        Ok(if strangers.is_empty() { Tenancy::Taken(path, inode) } else { Tenancy::Strange(strangers) })
    }
}

/// What is deleted from a staging: these entries directly in it, and what is below them.
#[derive(Debug)]
pub(crate) struct ClearPlan {
    staging: Staging,
    going: BTreeSet<OsString>,
}

impl ClearPlan {
    /// Looks what is there. Where the staging is not the plan's own by then, only what runs have left goes.
    ///
    /// # Errors
    /// See [`StagingError`]: also where clearing it would eat data.
    pub fn make(
        declared: &Declared,
        around: Surroundings<'_>,
        is_own: impl FnOnce(&Staging) -> Result<bool, StagingError>,
    ) -> Result<ClearPlan, StagingError> {
        let staging = Staging::of(declared, around)?;
        let is_own = is_own(&staging)?;
        let going = staging.contents(!is_own)?;
        Ok(ClearPlan { staging, going })
    }

    /// Deletes it, following no link and entering no mount. What came meanwhile stays for the next time.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn carry_out(&self, control: &Control) -> Result<(), StagingError> {
        self.staging.delete(&self.going, control).map(drop)
    }

    /// What a dry run shows of it.
    pub fn sight(&self) -> Sight {
        let paths = self.going.iter().map(|name| self.staging.shown().join(name));
        Sight { would_delete: paths.map(|path| path.display().to_string()).collect(), ..Sight::default() }
    }
}
