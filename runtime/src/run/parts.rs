//! What an archive is made of where not all of its sources could be read: one that fails costs itself, not the night.

use std::collections::BTreeMap;

use backplan_compiler::graph::{Action, Occasion, Step, StepId};
use backplan_compiler::model::{ArchiveId, Model, SourceId};

use super::coordinator::{Failure, FailureKind, Performed};
use super::event::Outcome;
use super::facts::{Facts, LeftOut, SourceFact};
use super::output::{Output, SourceOutput};
use crate::scan::{Difference, Summary};

/// What a scan came to. One that found some entries of `paths`, and others not, has failed, and what it found is packed.
pub(super) fn scanned(summary: Summary, differences: BTreeMap<ArchiveId, Difference>) -> Performed {
    let in_part = in_part(&summary);
    Output::from(SourceOutput { in_part, differences, ..SourceFact::Scanned(summary).into() }).into()
}

fn in_part(summary: &Summary) -> Option<Failure> {
    let first = summary.lost.first()?;
    let more = match summary.lost.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more of its paths"),
    };
    Some(Failure::passing(format!("{first}{more}; what is there of the source is backed up")))
}

impl Facts {
    /// Keeps that a step was not done, for those that read several sources.
    pub(super) fn not_done(&mut self, step: &Step, outcome: &Outcome) {
        if let Outcome::Failed(_) | Outcome::NotRun(_) | Outcome::Dropped(_) = outcome
            && !self.is_partly_done(&step.id)
        {
            let word = if matches!(outcome, Outcome::Failed(_)) { "failed" } else { "was not run" };
            self.undone.insert(step.id.clone(), format!("`{}` {word}", step.id));
        }
    }

    /// Whether a step failed, and did what those behind it need all the same: the scan of a source of which a part is there.
    pub(super) fn is_partly_done(&self, step: &StepId) -> bool {
        self.partly.contains(step)
    }

    /// Whether a pack makes sense without the sources that could not be read.
    pub(super) fn goes_on_without(&self, model: &Model, step: &Step) -> bool {
        let (lost, there): (Vec<_>, Vec<_>) =
            step.parts.iter().partition(|(_, needs)| needs.iter().any(|need| self.undone.contains_key(need)));
        !there.is_empty() && lost.iter().all(|(source, _)| !model.source(*source).strict)
    }

    /// Leaves the sources out of a pack whose steps were not done. Gives the archive, their names and why.
    pub(super) fn leave_out(&mut self, model: &Model, step: &Step) -> Vec<(String, String, String)> {
        let Action::Pack(archive) = step.action else { return Vec::new() };
        let mut told = Vec::new();
        for (source, needs) in &step.parts {
            let why = needs.iter().find_map(|need| self.undone.get(need)).cloned();
            let Some(why) = why.filter(|_| !self.left_out.contains_key(&(archive, *source))) else {
                continue;
            };
            // What failed has said why itself.
            let reason = match self.sources.get(source) {
                Some(SourceFact::Failed(reason)) => reason.clone(),
                _ => why.clone(),
            };
            self.left_out.insert((archive, *source), LeftOut { reason, is_told: true });
            told.push((model.archive(archive).name.clone(), model.source(*source).name.clone(), why));
        }
        told
    }

    /// Whether an archive may be made without a source that could not be packed, at the last of the attempts that it has: if the
    /// plan permits that and there are others. Keeps that it was tried.
    pub(super) fn may_go_without(
        &mut self,
        model: &Model,
        occasion: &Occasion,
        archive: ArchiveId,
        source: &str,
        failure: &Failure,
    ) -> bool {
        let Some(at) = model.sources.iter().position(|declared| declared.name == source) else {
            return false;
        };
        let id = SourceId(at);
        let strikes = self.strikes.entry((archive, id)).or_default();
        *strikes += 1;
        let is_last = match failure.kind {
            FailureKind::Passing | FailureKind::Away | FailureKind::Uncertain => {
                *strikes >= model.retry.attempts
            }
            FailureKind::Final => true,
            FailureKind::Fatal | FailureKind::Busy | FailureKind::Stopped => return false,
        };
        let only = &occasion.only;
        let others = model.archive(archive).from.iter().filter(|other| {
            let is_wanted = only.is_empty() || only.contains(&model.source(**other).name);
            is_wanted && **other != id && !self.left_out.contains_key(&(archive, **other))
        });
        let may = is_last && others.count() > 0 && !model.source(id).strict;
        if may {
            let reason = failure.message.clone();
            self.left_out.insert((archive, id), LeftOut { reason, is_told: false });
        }
        may
    }
}
