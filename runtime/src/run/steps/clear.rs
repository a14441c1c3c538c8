//! Clearing a staging, and taking one into use.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use backplan_compiler::graph::When;

use super::{Ahead, Doing, Failure, Performed, Scene, Sight, StepPlan, done};
use crate::catalog::host::PlanState;
use crate::run::staging::{Staging, StagingError};

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
struct ClearPlan {
    staging: Staging,
    going: BTreeSet<OsString>,
}

impl ClearPlan {
    /// Looks what is there; `None`: there is no staging. Where it is not the plan's own by then, only what runs have left goes.
    ///
    /// # Errors
    /// See [`StagingError`]: also where clearing it would eat data.
    fn make(scene: Scene<'_>) -> Result<Option<ClearPlan>, StagingError> {
        let request = &scene.context.request;
        let Some(declared) = &request.model.staging else { return Ok(None) };
        let staging = Staging::of(declared, request.around())?;
        let (path, inode) = staging.identity()?;
        let is_taken = scene.facts.ahead.staging.as_ref() == Some(&(path.clone(), inode));
        let is_own = is_taken || scene.context.plan().has_staging(&path, inode);
        let going = staging.contents(!is_own)?;
        Ok(Some(ClearPlan { staging, going }))
    }
}

/// Clearing a staging, before a run uses it or after.
pub(crate) struct ClearStep {
    when: When,
    plan: Result<Option<ClearPlan>, StagingError>,
}

impl ClearStep {
    /// Looks what is there.
    pub fn make(scene: Scene<'_>, when: When) -> ClearStep {
        ClearStep { when, plan: ClearPlan::make(scene) }
    }
}

impl StepPlan for ClearStep {
    fn foreseen(self: Box<Self>, _: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let mut sight = Sight::default();
        // What keeps it from being cleared is told where it is locked; what will be there after the run nobody knows.
        if let (When::Before, Ok(Some(plan))) = (self.when, &self.plan) {
            let paths = plan.going.iter().map(|name| plan.staging.shown().join(name));
            sight.would_delete.extend(paths.map(|path| path.display().to_string()));
        }
        (sight, done())
    }

    /// Deletes it, following no link and entering no mount. What came meanwhile stays for the next time.
    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let cleared = self.plan.and_then(|plan| match plan {
            Some(plan) => plan.staging.delete(&plan.going, doing.control).map(drop),
            None => Ok(()),
        });
        cleared.map_err(|error| match (error, self.when) {
            (StagingError::Stopped(_), _) => Failure::stopped(),
            (error, When::Before) => Failure::fatal(error),
            (error, When::After) => Failure::lasting(error),
        })?;
        done()
    }
}
