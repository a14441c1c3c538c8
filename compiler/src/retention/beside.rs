//! What is known of runs beside what they hold: in which nothing was found of a source, and behind which one lost most of what
//! it had.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

/// How long the last run stays from before a source lost most of what it had, counted from the first run that found it so:
/// as long as anybody is away.
pub const HELD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A source that has less than half of what it had, and never had as much again since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss<Id> {
    /// The source.
    pub source: String,
    /// The runs that have more than twice as much of it as any that came later.
    pub before: BTreeSet<Id>,
    /// The first run that found less.
    pub first: Id,
}

/// What is known of the runs of a store beside what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside<Id> {
    /// Runs, and sources in which they found nothing.
    pub empty: BTreeSet<(Id, String)>,
    /// Sources that lost most of what they had.
    pub losses: Vec<Loss<Id>>,
}

impl<Id> Default for Beside<Id> {
    fn default() -> Beside<Id> {
        Beside { empty: BTreeSet::new(), losses: Vec::new() }
    }
}

impl<Id: Ord> Beside<Id> {
    /// The same of runs by other names.
    pub fn named<Other: Ord>(&self, name: impl Fn(&Id) -> Other) -> Beside<Other> {
        let loss = |loss: &Loss<Id>| Loss {
            source: loss.source.clone(),
            before: loss.before.iter().map(&name).collect(),
            first: name(&loss.first),
        };
        Beside {
            empty: self.empty.iter().map(|(run, source)| (name(run), source.clone())).collect(),
            losses: self.losses.iter().map(loss).collect(),
        }
    }
}

/// Until when a run from before a loss stays that a run of this moment was the first to find.
pub(super) fn held_until(first: Timestamp) -> Timestamp {
    first.checked_add(HELD).unwrap_or(Timestamp::MAX)
}
