//! How far apart runs are, and what a schedule leaves to restore from once it has run for long: asked of the simulation.

use std::collections::BTreeSet;

use crate::model::{Model, SourceId, StoreId};
use crate::simulate::{Horizon, Life, Simulation, simulate};

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

/// What there always is to restore from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// The fewest runs that there ever are.
    pub runs: usize,
    /// The least that the oldest is behind the newest, in seconds.
    pub reach: i64,
}

/// What `keep` leaves in the store of this name at the worst, in the last year that is played: where the future ends says
/// nothing, as a cycle that was just given up takes most of what there is with it. `None`: there is no schedule, or all stays.
pub fn reserve(future: &Simulation<'_>, model: &Model, store: &str) -> Option<Reserve> {
    const YEAR: i64 = 366 * 86_400;
    let store = StoreId(model.stores.iter().position(|one| one.name == store)?);
    let of = model.store(store);
    of.keep.as_ref().or(model.keep.as_ref()).filter(|_| !of.append_only)?;
    let lives = future.lives(store);
    let start = |life: &Life| life.started().as_second();
    let since = start(lives.last()?) - YEAR;
    let (mut there, mut going) = (BTreeSet::new(), BTreeSet::new());
    let mut least: Option<Reserve> = None;
    // What began at one moment came together.
    for run in lives.chunk_by(|one, two| start(one) == start(two)) {
        let now = start(&run[0]);
        let gone = run.iter().map(|life| life.gone().map_or(i64::MAX, |at| at.as_second())).max()?;
        there.insert(now);
        going.insert((gone, now));
        while going.first().is_some_and(|(gone, _)| *gone <= now) {
            going.pop_first().map(|(_, began)| there.remove(&began));
        }
        let Some(oldest) = there.first().filter(|_| now >= since) else { continue };
        let (runs, reach) = (there.len(), now - oldest);
        let so_far = least.get_or_insert(Reserve { runs, reach });
        *so_far = Reserve { runs: so_far.runs.min(runs), reach: so_far.reach.min(reach) };
    }
    least
}
