//! How far apart runs are, and what a schedule leaves to restore from once it has run for long: asked of the simulation.

use crate::model::{Model, SourceId, StoreId};
use crate::simulate::{Horizon, Simulation, simulate};

/// Two plans played forward over the same years, so that a difference comes from the plans.
pub fn futures<'m>(old: &'m Model, new: &'m Model) -> (Simulation<'m>, Simulation<'m>) {
    let (one, two) = (Horizon::of(old), Horizon::of(new));
    let horizon = if one.until > two.until { one } else { two };
    (simulate(old, horizon), simulate(new, horizon))
}

/// The longest time between two runs of a source, in seconds; `None`: there is no schedule, or it is due once.
pub fn gap(future: &Simulation<'_>, source: SourceId) -> Option<u64> {
    future.worst_gap(source).map(|gap| gap.seconds())
}

/// What there is to restore from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// How many runs.
    pub runs: usize,
    /// How far back the oldest is, in seconds.
    pub reach: i64,
}

/// What `keep` leaves in the store of this name after the newest run; `None`: there is no schedule, or all stays.
pub fn reserve(future: &Simulation<'_>, model: &Model, store: &str) -> Option<Reserve> {
    let store = StoreId(model.stores.iter().position(|one| one.name == store)?);
    let of = model.store(store);
    of.keep.as_ref().or(model.keep.as_ref()).filter(|_| !of.append_only)?;
    let lives = future.lives(store);
    let newest = lives.last()?.started();
    let mut kept = lives.iter().filter(|life| life.is_there(newest)).map(|life| life.started());
    let oldest = kept.next()?;
    Some(Reserve { runs: 1 + kept.count(), reach: newest.as_second() - oldest.as_second() })
}
