//! Deleting, from the repository of a source's tool, what was before the cycle that now has begun.

use backplan_compiler::model::SourceId;

use super::{Doing, Failure, Performed, StepPlan, done};
use crate::run::databases::Cluster;

/// A source whose tool gives up old backups. What they are, it knows itself, once its full is made.
pub(crate) struct ExpirePlan(pub SourceId);

impl StepPlan for ExpirePlan {
    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        if let Some(postgres) = doing.context.model().source(self.0).postgres() {
            Cluster::of(doing, self.0, postgres).expire()?;
        }
        done()
    }
}
