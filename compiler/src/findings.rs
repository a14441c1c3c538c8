//! What a plan that resolves may still get wrong. One small function for each finding; none needs more than the model
//! and the places it came from.
//!
//! | module | asks |
//! |---|---|
//! | [`reach`] | does every source reach a store, is every name used |
//! | [`names`] | do two runs or two archives write one name |
//! | [`paths`], [`patterns`] | would a path eat data, can a pattern match |
//! | [`secrets`] | is a secret seen, can what is encrypted be opened |
//! | [`promises`] | can what was promised be kept: drivers, copies, policies |

use crate::finding::Finding;
use crate::model::Model;
use crate::resolve::Facts;
use crate::sources::SourceSet;

mod names;
mod paths;
mod patterns;
mod promises;
mod reach;
mod secrets;

/// What every check is given, and where it writes.
struct Check<'a> {
    set: &'a SourceSet,
    model: &'a Model,
    facts: &'a Facts,
    findings: Vec<Finding>,
}

/// Everything that can be found without playing the schedule forward.
pub(crate) fn check(set: &SourceSet, model: &Model, facts: &Facts) -> Vec<Finding> {
    let mut check = Check { set, model, facts, findings: Vec::new() };
    check.reach();
    check.names();
    check.paths();
    check.patterns();
    check.secrets();
    check.promises();
    check.findings
}

impl Check<'_> {
    fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}
