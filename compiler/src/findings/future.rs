//! What the plan played forward shows: what `keep`, `immutable`, the cycle and the log do to one another.

use crate::count::plural;
use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Check;
use super::levels::{always_outranked, schedules};
use super::moments::span;
use crate::codes;
use crate::due;
use crate::finding::Finding;
use crate::model::{Keep, Level, Model, Schedule, SourceId, Store, StoreId};
use crate::retention::{Policy, Reason};
use crate::simulate::{Burden, Life, Simulation, simulate};

/// Runs that are kept for the sake of others alone, from which on it is worth telling.
const MANY: usize = 10;

impl Check<'_> {
    pub(super) fn day(&self, at: Timestamp) -> String {
        day(at, &shown_zone(self.model))
    }

    pub(super) fn future(&mut self, simulation: &Simulation<'_>) {
        self.rules_can_hold(simulation);
        self.keeps_apply();
        self.immutable_and_keep(simulation);
        for store in 0..self.model.stores.len() {
            self.findings.extend(self.pinned(simulation, StoreId(store)));
        }
        self.cut_cycles(simulation);
        self.log_holes(simulation);
        self.moments_lost(simulation);
    }

    fn keeps(&self) -> impl Iterator<Item = &Keep> {
        let model = self.model;
        let nested = model.stores.iter().filter_map(|store| store.keep.as_ref());
        let own = model.separates.iter().filter_map(|separate| separate.keep.as_ref());
        model.keep.iter().chain(nested).chain(own)
    }

    /// Rules that can never keep anything.
    fn rules_can_hold(&mut self, simulation: &Simulation<'_>) {
        let shortest = || {
            let starts = simulation.all_starts();
            starts.windows(2).filter_map(|pair| u64::try_from(pair[1] - pair[0]).ok()).min()
        };
        let has_log = (0..self.model.sources.len()).any(|source| has_log(self.model, SourceId(source)));
        let mut found = Vec::new();
        for keep in self.keeps() {
            if keep.differential.is_some() && !has_differentials(self.model) {
                let message = "`differential` keeps nothing: no run of this plan is a differential";
                found.push(
                    Finding::new(&codes::USELESS_RULE, keep.place, message)
                        .help("delete it, or give the cycle `base = full`"),
                );
            }
            if let Some((within, gap)) = keep.within.and_then(|within| Some((within, shortest()?)))
                && within <= gap
            {
                let message = format!(
                    "`within` keeps the newest run alone, which always stays: it is {}, and {} pass between two runs",
                    span(within),
                    span(gap)
                );
                found.push(
                    Finding::new(&codes::USELESS_RULE, keep.place, message)
                        .help("write a longer time, such as `within = 7d`, or how many runs: `last = 7`"),
                );
            }
            if keep.wal.is_some() && !has_log {
                let message = "`wal` promises recovery to any moment, but no source has a log";
                found.push(
                    Finding::new(&codes::USELESS_RULE, keep.place, message)
                        .help("write `within` if runs are meant, or add a `wal` block for the cluster"),
                );
            }
        }
        self.findings.extend(found);
    }

    fn keeps_apply(&mut self) {
        for store in self.model.stores.iter().filter(|store| store.append_only) {
            if let Some(keep) = &store.keep {
                let message = format!("this `keep` does nothing: store `{}` is `append_only`", store.name);
                self.findings.push(
                    Finding::new(&codes::KEEP_WITHOUT_EFFECT, keep.place, message)
                        .with(store.place, "nothing is ever deleted here")
                        .help("delete one of them; whoever may delete there prunes with a plan of their own"),
                );
            }
        }
        self.findings.extend(self.general_keep_applies());
    }

    /// The plan's own `keep`, where no store that it is for ever deletes.
    fn general_keep_applies(&self) -> Option<Finding> {
        let model = self.model;
        // That of a library is for other plans too, and one that is required cannot be left out.
        let keep = model.keep.as_ref().filter(|keep| keep.place.file == self.facts.root)?;
        if model.policies.iter().any(|policy| policy.require.iter().any(|(what, _)| *what == "keep")) {
            return None;
        }
        let apart = model.separates.iter().filter(|separate| separate.keep.is_none());
        let used: BTreeSet<StoreId> = (model.archives.iter().flat_map(|archive| &archive.to))
            .chain(model.wals.iter().flat_map(|wal| &wal.to))
            .chain(apart.flat_map(|separate| &separate.to))
            .copied()
            .collect();
        let mut meant = used.into_iter().map(|id| model.store(id)).filter(|store| store.keep.is_none());
        let first = meant.next().filter(|first| first.append_only && meant.all(|store| store.append_only))?;
        let message = "this `keep` does nothing: every store that it is for is `append_only`";
        Some(
            Finding::new(&codes::KEEP_WITHOUT_EFFECT, keep.place, message)
                .with(first.place, "nothing is ever deleted here")
                .help("delete it; whoever may delete there prunes with a plan of their own"),
        )
    }

    fn immutable_and_keep(&mut self, simulation: &Simulation<'_>) {
        let model = self.model;
        let binds = |store: &Store| {
            let keep = Policy::of(model, store, simulation.horizon().from).keep;
            Some((store.immutable.filter(|_| !store.append_only)?, keep?.place))
        };
        if model.stores.iter().all(|store| binds(store).is_none()) {
            return;
        }
        let mut free = model.clone();
        free.stores.iter_mut().for_each(|store| store.immutable = None);
        let without = simulate(&free, simulation.horizon());
        for (index, store) in model.stores.iter().enumerate() {
            let Some((span_held, keep)) = binds(store) else { continue };
            let id = StoreId(index);
            let held = Held {
                zone: shown_zone(model),
                store,
                seconds: i64::try_from(span_held).unwrap_or(i64::MAX),
                keep,
            };
            self.findings.extend(held.longer(simulation.lives(id), without.lives(id)));
            self.findings.extend(held.shorter(simulation.lives(id)));
        }
    }

    fn pinned(&self, simulation: &Simulation<'_>, id: StoreId) -> Option<Finding> {
        let Burden { at, there, pinned } = simulation.burden(id);
        if pinned < MANY || 3 * pinned <= there {
            return None;
        }
        let store = self.model.store(id);
        let keep = store.keep.as_ref().or(self.model.keep.as_ref())?;
        let at = Timestamp::from_second(at).ok()?;
        let decision = simulation.decision(id, at);
        let lives = simulation.lives(id);
        let (base, by) = decision.iter().find_map(|(id, reasons)| match reasons {
            [Reason::BaseOf { run, .. }] => Some((*id, *run)),
            _ => None,
        })?;
        let why = decision.iter().find(|(id, _)| **id == by).and_then(|(_, reasons)| reasons.first());
        let why = why.map_or(String::new(), |why| format!(" (`{}`)", why.words(|_| String::new())));
        let message = format!(
            "on {} store `{}` holds {}, {pinned} of them, beyond one chain, only because others rest on them",
            self.day(at),
            store.name,
            plural(there, "run")
        );
        let finding = Finding::new(&codes::PINNED_CHAIN, keep.place, message).help(self.shorter_chains(keep));
        let chain = format!(
            "the run of {} rests on that of {}{why}",
            self.day(lives[by].started()),
            self.day(lives[base].started())
        );
        let place = self.model.cycle.as_ref().map(|cycle| cycle.place);
        let place = place.or(self.model.schedule.as_ref().map(|schedule| schedule.place));
        Some(match place {
            Some(place) => finding.with(place, chain),
            None => finding,
        })
    }

    /// What makes a store hold fewer runs for the sake of others, of what the plan does not have yet.
    fn shorter_chains(&self, keep: &Keep) -> String {
        let has_periods =
            [keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly].iter().any(Option::is_some);
        let cycle = self
            .model
            .cycle
            .as_ref()
            .filter(|_| !self.model.schedule.as_ref().is_some_and(Schedule::is_by_levels));
        let prefers = "`prefer = full` keeps the full of a period, which rests on nothing";
        let shorter = match cycle.map(|cycle| cycle.follow) {
            Some(Level::Incremental) => "`base = full` makes short chains",
            Some(_) => "shorter cycles hold fewer runs together",
            None => "more fulls make shorter chains",
        };
        match has_periods && !keep.prefer_full {
            true => format!("{prefers}; {shorter}"),
            false => format!("it costs room and no safety; {shorter}"),
        }
    }

    fn cut_cycles(&mut self, simulation: &Simulation<'_>) {
        for cut in simulation.cuts() {
            let Some(archive) = self.model.archives.get(cut.archive) else { continue };
            let keeps: Vec<&Keep> = archive
                .to
                .iter()
                .filter_map(|store| self.model.store(*store).keep.as_ref().or(self.model.keep.as_ref()))
                .collect();
            let message = format!(
                "cycles of archive `{}` are cut short, first on {}: their full is gone after {}",
                archive.name,
                self.day(cut.at),
                plural(cut.followers + 1, "run")
            );
            let mut finding = Finding::new(&codes::CUT_CYCLE, archive.place, message)
                .help("add `cycles = 1` to `keep`: what is self-contained does not hold its full");
            if let Some(keep) = keeps.first() {
                finding = finding.with(keep.place, "no rule keeps the full of the cycle");
            }
            self.findings.push(finding);
        }
    }

    /// Backups that are older than the log: they can be restored, but no moment behind them.
    fn log_holes(&mut self, simulation: &Simulation<'_>) {
        for wal in &self.model.wals {
            let Some(keep) = self.model.wal_keep(wal) else { continue };
            let stores: Vec<StoreId> = self.reached[wal.source.0].iter().copied().collect();
            let Some(last) = simulation.starts(wal.source).last().copied() else { continue };
            let Ok(now) = Timestamp::from_second(last) else { continue };
            let points = simulation.points(wal.source, &stores, now);
            let edge = last.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX));
            let Some(base) =
                points.iter().rposition(|point| point.as_second() <= edge).filter(|base| *base > 0)
            else {
                continue;
            };
            let source = &self.model.source(wal.source).name;
            let message = format!(
                "on {} backups of `{source}` reach back to {}, but its log only to {}: between them no moment can be \
                 recovered but those of the backups",
                self.day(now),
                self.day(points[0]),
                self.day(points[base])
            );
            self.findings.push(
                Finding::new(&codes::LOG_HOLE, wal.place, message)
                    .help("where that is meant, say so with `# allow: log_hole …`; else keep more log, or fewer backups"),
            );
        }
    }

    /// Recovery to any moment of the last while, promised and not held: by no log that is as long, or by no backup that is
    /// as old.
    fn moments_lost(&mut self, simulation: &Simulation<'_>) {
        let Some((keep, span_kept)) = self.model.keep.as_ref().and_then(|keep| Some((keep, keep.wal?)))
        else {
            return;
        };
        self.logs_are_as_long(keep, span_kept);
        for source in
            (0..self.model.sources.len()).map(SourceId).filter(|source| has_log(self.model, *source))
        {
            let losses: Option<Vec<(Timestamp, StoreId)>> = self.reached[source.0]
                .iter()
                .map(|store| Some((loss(&simulation.lives_of(source, *store), span_kept)?, *store)))
                .collect();
            let Some((at, store)) = losses.and_then(|losses| losses.into_iter().max()) else { continue };
            let store = self.model.store(store);
            let own = self.model.separate(source).and_then(|separate| separate.keep.as_ref());
            let source = &self.model.source(source).name;
            let message = format!(
                "recovery to any moment of the last {} is promised, but on {} no store holds a backup of `{source}` \
                 that is old enough",
                span(span_kept),
                self.day(at)
            );
            let finding = Finding::new(&codes::MOMENT_LOST, keep.place, message);
            self.findings.push(match (own, &store.keep) {
                (_, Some(own)) => finding
                    .with(own.place, format!("in store `{}` this holds in its place", store.name))
                    .help("give the store's own `keep` the rule `wal` too"),
                (Some(own), None) => finding
                    .with(own.place, format!("for `{source}` this holds in its place"))
                    .help("give the `keep` of its `separate` the rule `wal` too"),
                (None, None) => finding.help("keep more, or promise less"),
            });
        }
    }

    /// A log's own `keep` goes before the plan's promise. Where another log keeps that, a shorter one is an exception that was
    /// made; where none does, nothing keeps the promise.
    fn logs_are_as_long(&mut self, keep: &Keep, promised: u64) {
        let model = self.model;
        let is_short = |seconds: Option<u64>| seconds.is_some_and(|seconds| seconds < promised);
        let by_tools = (0..model.sources.len()).map(SourceId).filter(|source| has_log(model, *source));
        let all_short = by_tools
            .into_iter()
            .all(|source| model.wals.iter().any(|wal| wal.source == source && is_short(model.wal_keep(wal))));
        for wal in model.wals.iter().filter(|wal| all_short && is_short(wal.keep)) {
            let source = &model.source(wal.source).name;
            let message = format!(
                "recovery to any moment of the last {} is promised, but the log of `{source}` is kept for {} alone",
                span(promised),
                span(wal.keep.unwrap_or_default())
            );
            let place = self.facts.place("wal", source, "keep").unwrap_or(wal.place);
            self.findings.push(
                Finding::new(&codes::MOMENT_LOST, keep.place, message)
                    .with(place, "this goes before the promise")
                    .help("take the `keep` out of the `wal`, or promise as much as it keeps"),
            );
        }
    }
}

/// A store that holds what is young.
struct Held<'a> {
    store: &'a Store,
    seconds: i64,
    keep: crate::sources::Place,
    zone: TimeZone,
}

impl Held<'_> {
    fn day(&self, at: Timestamp) -> String {
        day(at, &self.zone)
    }

    fn until(&self, life: &Life) -> Timestamp {
        let end = life.started().as_second().saturating_add(self.seconds);
        Timestamp::from_second(end).unwrap_or(Timestamp::MAX)
    }

    /// How old a run is at a moment, in seconds by the clocks of the schedule's zone: an hour that clocks take away or give
    /// between two days is nobody's plan.
    fn by_the_clock(&self, life: &Life, at: Timestamp) -> i64 {
        let shown = |at: Timestamp| at.as_second() + i64::from(self.zone.to_offset(at).seconds());
        shown(at).saturating_sub(shown(life.started()))
    }

    /// `keep` gives up what is not old enough to go.
    fn longer(&self, lives: &[Life], without: &[Life]) -> Option<Finding> {
        let given_up = |(life, other): &(&Life, &Life)| {
            life.started() == other.started()
                && other.gone().is_some_and(|gone| self.by_the_clock(life, gone) < self.seconds)
        };
        let (life, other) = lives.iter().zip(without).find(given_up)?;
        let message = format!(
            "`keep` gives up the run of {} on {}, but store `{}` holds it until {}",
            self.day(life.started()),
            self.day(other.gone()?),
            self.store.name,
            self.day(self.until(life))
        );
        Some(
            Finding::new(&codes::IMMUTABLE_OUTLASTS_KEEP, self.store.place, message)
                .label("`immutable` here")
                .with(self.keep, "gives it up")
                .help("keep runs for as long, or hold them for less"),
        )
    }

    /// `keep` wants what nothing protects any more.
    fn shorter(&self, lives: &[Life]) -> Option<Finding> {
        let open = |life: &Life| Some(self.by_the_clock(life, life.gone()?).saturating_sub(self.seconds));
        let most =
            lives.iter().filter_map(|life| Some((open(life)?, life))).rev().max_by_key(|(open, _)| *open);
        let (_, life) = most.filter(|(open, _)| *open > 86_400)?;
        let message = format!(
            "`keep` wants the run of {} until {}, but store `{}` protects it until {} only",
            self.day(life.started()),
            self.day(life.gone()?),
            self.store.name,
            self.day(self.until(life))
        );
        Some(
            Finding::new(&codes::KEEP_OUTLASTS_IMMUTABLE, self.store.place, message)
                .label("`immutable` here")
                .with(self.keep, "keeps it longer")
                .help("where all of it must be safe from whoever has the keys, hold it for as long"),
        )
    }
}

/// The first run at which nothing is old enough to recover a moment so long ago from.
fn loss(lives: &[&Life], seconds: u64) -> Option<Timestamp> {
    let span = i64::try_from(seconds).unwrap_or(i64::MAX);
    let first = lives.first()?.started().as_second();
    let mut longest: Option<Timestamp> = None;
    let mut old = lives.iter().peekable();
    for life in lives {
        let edge = life.started().as_second().saturating_sub(span);
        while let Some(base) = old.next_if(|base| base.started().as_second() <= edge) {
            longest = longest.max(Some(base.gone().unwrap_or(Timestamp::MAX)));
        }
        if edge >= first && longest.is_none_or(|gone| gone <= life.started()) {
            return Some(life.started());
        }
    }
    None
}

fn has_log(model: &Model, source: SourceId) -> bool {
    model.source(source).kind.facts().has_repository || model.wals.iter().any(|wal| wal.source == source)
}

fn has_differentials(model: &Model) -> bool {
    let in_cycle = model.cycle.iter().any(|it| it.incrementals > 0 && it.follow == Level::Differential);
    let comes = |schedule: &Schedule| {
        let mut own = schedule.levels().into_iter().filter(|(level, _)| *level == Level::Differential);
        own.any(|(level, when)| always_outranked(schedule, level, when).is_none())
    };
    in_cycle || schedules(model).any(comes)
}

/// The zone that days are told in, as in `plan keep`: the schedule's.
fn shown_zone(model: &Model) -> TimeZone {
    let own = || model.separates.iter().find_map(|separate| separate.schedule.as_ref());
    let schedule = model.schedule.as_ref().or_else(own);
    schedule.and_then(|schedule| due::zone(&schedule.zone)).unwrap_or(TimeZone::UTC)
}

fn day(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string()
}
