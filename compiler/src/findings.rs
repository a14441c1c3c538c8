//! What a plan that resolves may still get wrong. One small function for each finding; none needs more than the model
//! and the places it came from.
//!
//! | module | asks |
//! |---|---|
//! | [`reach`] | does every source reach a store, is every name used |
//! | [`names`] | do two runs or two archives write one name |
//! | [`paths`], [`patterns`] | would a path eat data, can a pattern match |
//! | [`secrets`] | is a secret seen, can what is encrypted be opened |
//! | [`promises`] | can the drivers do what is asked of them |
//! | [`copies`] | are there as many copies as were promised |
//! | [`rehearsals`] | can restores be rehearsed, and are they as often as is wanted |
//! | [`policies`] | is every policy kept |
//! | [`clocks`] | are runs moved, left out or repeated on days on which clocks change |
//! | [`levels`] | do the levels come, and do chains end |
//! | [`moments`], [`future`] | what shows when schedule, cycle and retention are played forward |

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use crate::codes::{self, Code};
use crate::due;
use crate::finding::Finding;
use crate::model::{Model, StoreId};
use crate::resolve::Facts;
use crate::simulate::{Horizon, simulate};
use crate::sources::SourceSet;

mod clocks;
mod copies;
mod future;
mod levels;
mod moments;
pub(crate) mod names;
pub(crate) mod paths;
mod patterns;
mod policies;
mod promises;
mod reach;
mod rehearsals;
mod repositories;
mod secrets;

/// What every check is given, and where it writes.
struct Check<'a> {
    set: &'a SourceSet,
    model: &'a Model,
    facts: &'a Facts,
    /// The stores that each source reaches.
    reached: Vec<BTreeSet<StoreId>>,
    findings: Vec<Finding>,
}

/// Everything that can be found in a plan that resolves.
pub(crate) fn check(set: &SourceSet, model: &Model, facts: &Facts) -> Vec<Finding> {
    let mut check = Check { set, model, facts, reached: reached(model), findings: Vec::new() };
    check.reach();
    check.names();
    check.paths();
    check.patterns();
    check.secrets();
    check.promises();
    check.copies();
    check.policies();
    let simulation = simulate(model, Horizon::of(model));
    check.moments(&simulation);
    check.levels_come(&simulation);
    check.rehearsals(&simulation);
    check.copies_of_the_newest(&simulation);
    check.future(&simulation);
    check.steps_have_an_order();
    check.findings.iter_mut().for_each(say_where_days_begin);
    check.findings
}

/// Findings whose days depend on when the first run was: a cycle that begins on another day comes to the same on another.
const PLAYED: &[&Code] = &[
    &codes::CUT_CYCLE,
    &codes::ENDLESS_CHAIN,
    &codes::IMMUTABLE_OUTLASTS_KEEP,
    &codes::KEEP_OUTLASTS_IMMUTABLE,
    &codes::PINNED_CHAIN,
    &codes::LOG_HOLE,
    &codes::MOMENT_LOST,
];

/// `plan keep` begins with what the stores hold, and a check with a fixed day, so as to say the same every day: that it is one is
/// said.
fn say_where_days_begin(finding: &mut Finding) {
    if PLAYED.iter().all(|code| code.name != finding.name) {
        return;
    }
    let Some(first) = due::some_day(&TimeZone::UTC) else { return };
    let said = format!(
        "the days are those of a plan whose first run is on {}: `plan keep` has those of its stores",
        first.strftime("%Y-%m-%d")
    );
    finding.help = Some(match finding.help.take() {
        Some(help) => format!("{help}; {said}"),
        None => said,
    });
}

fn reached(model: &Model) -> Vec<BTreeSet<StoreId>> {
    let mut reached = vec![BTreeSet::new(); model.sources.len()];
    for archive in &model.archives {
        archive.from.iter().for_each(|source| reached[source.0].extend(&archive.to));
    }
    for separate in &model.separates {
        reached[separate.source.0].extend(&separate.to);
    }
    reached
}

impl Check<'_> {
    fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}
