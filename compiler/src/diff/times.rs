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

/// The longest time between two runs of a source, in seconds, with the delay that the second may have; `None`: there is no
/// schedule, or it is due once.
pub fn gap(future: &Simulation<'_>, model: &Model, source: SourceId) -> Option<u64> {
    let own = model.separate(source).and_then(|separate| separate.schedule.as_ref());
    let jitter = own.or(model.schedule.as_ref()).and_then(|schedule| schedule.jitter).unwrap_or(0);
    future.worst_gap(source).map(|gap| gap.seconds().saturating_add(jitter))
}

/// The last day, week, month and year, in seconds: how many backups there are in each.
const SPANS: [u64; 4] = [86_400, 7 * 86_400, 31 * 86_400, 366 * 86_400];

/// So many moments of the last year are looked at.
const MOMENTS: usize = 400;

/// What there always is to restore from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// The fewest runs that there ever are.
    pub runs: usize,
    /// The least that the oldest is behind the newest, in seconds.
    pub reach: i64,
    /// The fewest of the last of each of [`SPANS`].
    young: [usize; SPANS.len()],
}

impl Reserve {
    /// The shortest time of which there are fewer than in `before`: that time in seconds, how many there are, how many there
    /// were.
    pub fn thinner_than(&self, before: &Reserve) -> Option<(u64, usize, usize)> {
        let all = SPANS.into_iter().zip(self.young).zip(before.young);
        all.map(|((span, is), was)| (span, is, was)).find(|(_, is, was)| is < was)
    }
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
    let last_year = lives.len() - lives.partition_point(|life| start(life) < since);
    // Odd, so that it is not always the same hour.
    let stride = (last_year / MOMENTS) | 1;
    let mut young = [usize::MAX; SPANS.len()];
    let mut moment = 0;
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
        if moment % stride == 0 {
            for (least, span) in young.iter_mut().zip(SPANS) {
                let edge = now.saturating_sub(i64::try_from(span).unwrap_or(i64::MAX));
                *least = (*least).min(there.range(edge + 1..).count());
            }
        }
        moment += 1;
        let so_far = least.get_or_insert(Reserve { runs, reach, young });
        *so_far = Reserve { runs: so_far.runs.min(runs), reach: so_far.reach.min(reach), young };
    }
    least
}
