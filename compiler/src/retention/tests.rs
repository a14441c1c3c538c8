#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Instant;

use backplan_grammar::Span;
use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{Decision, Lack, Part, Policy, Reason, Run, retain};
use crate::model::{Keep, Level};
use crate::sources::{FileId, Place};

fn keep() -> Keep {
    Keep {
        place: Place { file: FileId(0), span: Span { start: 0, end: 0 } },
        cycles: None,
        last: None,
        within: None,
        hourly: None,
        daily: None,
        weekly: None,
        monthly: None,
        yearly: None,
        full: None,
        differential: None,
        wal: None,
        prefer_full: false,
    }
}

fn policy(keep: Option<&Keep>) -> Policy<'_> {
    Policy {
        keep,
        immutable: None,
        append_only: false,
        zone: TimeZone::UTC,
        now: Timestamp::MAX,
        sources: BTreeSet::from(["a".to_owned(), "b".to_owned()]),
        own: Default::default(),
        wal: Default::default(),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn part(source: &str, level: Level, rests_on: &[u32]) -> Part<u32> {
    Part {
        archive: "main".into(),
        source: source.into(),
        level,
        place: 0,
        rests_on: rests_on.iter().copied().collect(),
        lacks: Lack::Nothing,
        lost: Default::default(),
    }
}

fn run(id: u32, started: Timestamp, level: Level, rests_on: &[u32]) -> Run<u32> {
    let parts = vec![part("a", level, rests_on), part("b", level, rests_on)];
    Run { id, started, level, parts, size: 1, is_torn: false }
}

/// A run at 02:30 of each of so many days from 2026-11-01 on: a full, then `follow` more, a full again.
fn nightly(days: u32, follow: u32, level: Level) -> Vec<Run<u32>> {
    let first = at("2026-11-01T02:30:00Z");
    let mut runs = Vec::new();
    for day in 0..days {
        let (id, place) = (day + 1, day % (follow + 1));
        let started = first + SignedDuration::from_hours(24 * i64::from(day));
        let bases: Vec<u32> = match level {
            _ if place == 0 => Vec::new(),
            Level::Incremental => (id - place..id).collect(),
            _ => vec![id - place],
        };
        runs.push(run(id, started, if place == 0 { Level::Full } else { level }, &bases));
    }
    runs
}

fn kept(runs: &[Run<u32>], keep: &Keep) -> Vec<u32> {
    retain(runs, &BTreeSet::new(), &policy(Some(keep))).kept().copied().collect()
}

fn why(decision: &Decision<u32>, id: u32) -> Vec<String> {
    let reasons = decision.iter().find(|(run, _)| **run == id).unwrap().1;
    reasons.iter().map(ToString::to_string).collect()
}

#[test]
fn what_rests_on_a_run_that_cannot_be_put_back_itself_is_whole() {
    let mut runs = nightly(3, 2, Level::Incremental);
    runs[1].is_torn = true;
    let rules = Keep { last: Some(1), ..keep() };
    let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rules)));
    assert_eq!(decision.broken.iter().collect::<Vec<_>>(), [(&2, &2)]);
    // A torn newest takes the place of no whole one.
    runs[1].is_torn = false;
    runs[2].is_torn = true;
    let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rules)));
    assert_eq!(decision.broken.iter().collect::<Vec<_>>(), [(&3, &3)]);
    assert!(!decision.reasons[&2].is_empty());
}

#[test]
fn without_keep_everything_stays() {
    let runs = nightly(5, 0, Level::Full);
    let decision = retain(&runs, &BTreeSet::new(), &policy(None));
    assert_eq!(decision.kept().count(), 5);
    assert_eq!(why(&decision, 1), ["no keep: everything stays"]);
}

#[test]
fn days_weeks_months_and_years_keep_their_newest() {
    let runs = nightly(40, 0, Level::Full);
    // 2026-11-01 was a Sunday, and run 40 is of Thursday 2026-12-10: weeks end with 29, 36 and, so far, 40.
    let rules = Keep { daily: Some(3), weekly: Some(3), monthly: Some(2), yearly: Some(1), ..keep() };
    assert_eq!(kept(&runs, &rules), [29, 30, 36, 38, 39, 40]);
    let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rules)));
    assert_eq!(why(&decision, 36), ["weekly 2026-W49"]);
    assert_eq!(why(&decision, 30), ["monthly 2026-11"]);
}

#[test]
fn a_period_prefers_its_full_where_that_is_wished() {
    let runs = nightly(14, 6, Level::Differential);
    let rules = Keep { monthly: Some(1), prefer_full: true, ..keep() };
    let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rules)));
    assert_eq!(decision.kept().copied().collect::<Vec<_>>(), [8, 14]);
    assert_eq!(why(&decision, 8), ["monthly 2026-11", "base of 14"]);
    // No full in the period: the newest.
    let days = Keep { daily: Some(2), prefer_full: true, ..keep() };
    assert_eq!(kept(&runs, &days), [8, 13, 14]);
}

#[test]
fn what_a_kept_run_rests_on_is_kept() {
    let runs = nightly(10, 6, Level::Incremental);
    let rules = Keep { last: Some(1), ..keep() };
    let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rules)));
    assert_eq!(decision.kept().copied().collect::<Vec<_>>(), [8, 9, 10]);
    assert_eq!(why(&decision, 8), ["base of 10 and 1 more"]);
    assert_eq!(why(&decision, 10), ["last 1", "newest of a, b"]);
}

#[test]
fn cycles_and_levels_stay_whole() {
    let runs = nightly(17, 4, Level::Differential);
    assert_eq!(kept(&runs, &Keep { cycles: Some(2), ..keep() }), (11..=17).collect::<Vec<_>>());
    assert_eq!(kept(&runs, &Keep { full: Some(1), ..keep() }), [16, 17]);
    assert_eq!(kept(&runs, &Keep { differential: Some(2), ..keep() }), [11, 15, 16, 17]);
    assert_eq!(kept(&runs, &Keep { cycles: Some(99), ..keep() }), (1..=17).collect::<Vec<_>>());
}

#[test]
fn a_cycle_of_whole_archives_is_one_by_its_levels() {
    let mut runs = nightly(10, 4, Level::Differential);
    runs.iter_mut().flat_map(|run| &mut run.parts).for_each(|part| part.rests_on.clear());
    assert_eq!(kept(&runs, &Keep { cycles: Some(1), ..keep() }), [6, 7, 8, 9, 10]);
    assert_eq!(kept(&runs, &Keep { last: Some(1), ..keep() }), [10]);
}

#[test]
fn within_counts_from_the_newest_run() {
    let runs = nightly(40, 0, Level::Full);
    assert_eq!(kept(&runs, &Keep { within: Some(3 * 86_400), ..keep() }), [38, 39, 40]);
    let decision =
        retain(&runs, &BTreeSet::new(), &policy(Some(&Keep { within: Some(36 * 3600), ..keep() })));
    assert_eq!(why(&decision, 39), ["within 36h"]);
}

#[test]
fn days_are_those_of_the_zone_and_an_hour_that_comes_twice_is_two() {
    let zone = crate::due::zone("Europe/Berlin").unwrap();
    let start = date(2026, 10, 25).to_zoned(zone.clone()).unwrap().timestamp();
    let runs: Vec<Run<u32>> = (0..6)
        .map(|hour| run(hour + 1, start + SignedDuration::from_hours(i64::from(hour)), Level::Full, &[]))
        .collect();
    let rules = Keep { hourly: Some(6), ..keep() };
    let decision = retain(&runs, &BTreeSet::new(), &Policy { zone: zone.clone(), ..policy(Some(&rules)) });
    assert_eq!(decision.kept().count(), 6);
    let runs = [
        run(1, at("2026-11-20T22:30:00Z"), Level::Full, &[]),
        run(2, at("2026-11-20T23:30:00Z"), Level::Full, &[]),
    ];
    let rules = Keep { daily: Some(2), ..keep() };
    let decision = retain(&runs, &BTreeSet::new(), &Policy { zone, ..policy(Some(&rules)) });
    assert_eq!(why(&decision, 2), ["daily 2026-11-21", "newest of a, b"]);
    assert_eq!(kept(&runs, &rules), [2]);
}

#[test]
fn runs_of_one_source_push_out_no_backup_of_another() {
    let mut runs = nightly(3, 0, Level::Full);
    for (id, time) in [(4, "2026-11-03T10:00:00Z"), (5, "2026-11-03T11:00:00Z")] {
        let parts = vec![part("a", Level::Full, &[])];
        runs.push(Run { id, started: at(time), level: Level::Full, parts, size: 1, is_torn: false });
    }
    let rules = Keep { last: Some(2), ..keep() };
    let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rules)));
    assert_eq!(decision.kept().copied().collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert_eq!(why(&decision, 3), ["last 2 of b", "newest of b"]);
}

#[test]
fn the_last_run_of_a_source_that_left_the_plan_stays() {
    let mut runs = nightly(9, 0, Level::Full);
    for run in runs.iter_mut().take(2) {
        run.parts.push(part("gone", Level::Full, &[]));
    }
    let rules = Keep { last: Some(1), ..keep() };
    let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rules)));
    assert_eq!(decision.kept().copied().collect::<Vec<_>>(), [2, 9]);
    assert_eq!(why(&decision, 2), ["newest of gone"]);
}

#[test]
fn a_run_without_its_base_takes_no_place_and_goes_with_its_time() {
    let mut runs = nightly(9, 2, Level::Differential);
    runs.retain(|run| run.id != 7);
    let rules = Keep { last: Some(2), ..keep() };
    let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rules)));
    assert_eq!(decision.kept().copied().collect::<Vec<_>>(), [4, 5, 6, 8, 9]);
    assert_eq!(why(&decision, 8), ["last 2"]);
    assert_eq!(why(&decision, 5), ["last 2 of those that can be restored"]);
    assert_eq!(decision.broken.into_iter().collect::<Vec<_>>(), [(8, 7), (9, 7)]);
    runs.extend([10, 11, 12].map(|id| run(id, at("2026-12-01T00:00:00Z"), Level::Full, &[])));
    assert_eq!(kept(&runs, &rules), [11, 12]);
}

#[test]
fn before_a_manifest_that_cannot_be_read_nothing_goes() {
    let runs = nightly(9, 0, Level::Full);
    let rules = Keep { last: Some(1), ..keep() };
    let decision = retain(&runs, &BTreeSet::from([2, 4]), &policy(Some(&rules)));
    assert_eq!(decision.kept().copied().collect::<Vec<_>>(), [1, 2, 3, 9]);
    assert_eq!(why(&decision, 3), ["may be needed by 4, which cannot be read"]);
}

#[test]
fn the_young_stay_where_a_store_is_immutable_and_all_where_it_is_append_only() {
    let runs = nightly(9, 0, Level::Full);
    let rules = Keep { last: Some(1), ..keep() };
    let now = at("2026-11-09T12:00:00Z");
    let immutable = Policy { immutable: Some(2 * 86_400), now, ..policy(Some(&rules)) };
    let decision = retain(&runs, &BTreeSet::new(), &immutable);
    assert_eq!(decision.kept().copied().collect::<Vec<_>>(), [8, 9]);
    assert_eq!(why(&decision, 8), ["immutable until 2026-11-10T02:30:00Z"]);
    let append_only = Policy { append_only: true, ..immutable };
    assert_eq!(retain(&runs, &BTreeSet::new(), &append_only).gone().count(), 0);
}

#[test]
fn log_needs_the_newest_base_that_is_old_enough() {
    let runs = nightly(9, 0, Level::Full);
    let rules = Keep { wal: Some(3 * 86_400), last: Some(1), ..keep() };
    assert_eq!(kept(&runs, &rules), [6, 7, 9]);
    assert_eq!(kept(&runs, &Keep { wal: Some(90 * 86_400), last: Some(1), ..keep() }), [1, 9]);
}

#[test]
fn the_base_of_a_log_moves_on_where_no_other_rule_keeps_a_run_for_so_long() {
    let rules = Keep { wal: Some(14 * 86_400), last: Some(3), ..keep() };
    let mut there: Vec<Run<u32>> = Vec::new();
    for run in nightly(90, 0, Level::Full) {
        let now = run.started;
        there.push(run);
        let stay = kept(&there, &rules);
        there.retain(|run| stay.contains(&run.id));
        let age = |run: &Run<u32>| now.duration_since(run.started).as_hours() / 24;
        let oldest = there.iter().map(age).max().unwrap();
        assert!(there.len() <= 5 && oldest <= 14 + 14, "{} runs, the oldest of {oldest} days", there.len());
        let reaches = there.iter().any(|run| age(run) >= 14);
        assert!(reaches || there[0].id == 1, "no moment of 14 days ago at {now}");
    }
}

#[test]
fn a_wrong_clock_counts_for_nothing_in_the_order_of_runs() {
    let mut runs = nightly(5, 0, Level::Full);
    runs[2].started = at("2038-01-01T00:00:00Z");
    assert_eq!(kept(&runs, &Keep { daily: Some(2), ..keep() }), [4, 5]);
    assert_eq!(kept(&runs, &Keep { last: Some(2), ..keep() }), [4, 5]);
}

#[test]
fn ten_thousand_runs_take_no_time() {
    let runs = nightly(10_000, 6, Level::Incremental);
    let rules = Keep {
        daily: Some(7),
        weekly: Some(4),
        monthly: Some(12),
        yearly: Some(5),
        cycles: Some(2),
        ..keep()
    };
    let began = Instant::now();
    assert!(retain(&runs, &BTreeSet::new(), &policy(Some(&rules))).gone().count() > 9_000);
    // Milliseconds in a release build; this is only against quadratic growth.
    assert!(began.elapsed().as_secs() < 5);
}

/// What happens in a life of a store.
#[derive(Debug, Clone)]
struct Happening {
    hours: i64,
    level: Level,
    sources: u8,
    /// The run is lost afterwards.
    lost: bool,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let level = prop_oneof![Just(Level::Full), Just(Level::Differential), Just(Level::Incremental)];
    let one = (0_i64..60, level, 1_u8..4, prop::bool::weighted(0.05));
    prop::collection::vec(
        one.prop_map(|(hours, level, sources, lost)| Happening { hours, level, sources, lost }),
        1..40,
    )
}

/// The store after it: every source of a run rests on what its level says, of that source.
fn life(happenings: &[Happening]) -> Vec<Run<u32>> {
    let mut now = at("2026-11-01T00:00:00Z");
    let mut runs: Vec<Run<u32>> = Vec::new();
    for (number, happening) in happenings.iter().enumerate() {
        now += SignedDuration::from_hours(happening.hours);
        let mut parts = Vec::new();
        for (bit, source) in [(1, "a"), (2, "b")] {
            if happening.sources & bit != 0 {
                parts.push(next_part(&runs, source, happening.level));
            }
        }
        let level = parts.iter().map(|part| part.level).max().unwrap();
        runs.push(Run {
            id: u32::try_from(number).unwrap() + 1,
            started: now,
            level,
            parts,
            size: 1,
            is_torn: false,
        });
    }
    let lost: Vec<bool> = happenings.iter().map(|happening| happening.lost).collect();
    runs.retain(|run| !lost[usize::try_from(run.id).unwrap() - 1]);
    runs
}

fn next_part(runs: &[Run<u32>], source: &str, level: Level) -> Part<u32> {
    let held = |run: &Run<u32>| run.parts.iter().find(|part| part.source == source).cloned();
    let mut before = runs.iter().rev().filter_map(|run| Some((run.id, held(run)?)));
    let base = match level {
        Level::Full => None,
        Level::Differential => before.find(|(_, part)| part.level == Level::Full),
        Level::Incremental => before.next(),
    };
    match base {
        None => part(source, Level::Full, &[]),
        Some((id, base)) => {
            let rests_on: Vec<u32> = base.rests_on.into_iter().chain([id]).collect();
            part(source, level, &rests_on)
        }
    }
}

fn rule() -> impl Strategy<Value = Keep> {
    (0_usize..9, 0_u32..9).prop_map(|(which, count)| with(keep(), which, count))
}

fn with(mut keep: Keep, which: usize, count: u32) -> Keep {
    match which {
        0 => keep.cycles = Some(count),
        1 => keep.last = Some(count),
        2 => keep.within = Some(u64::from(count) * 86_400),
        3 => keep.hourly = Some(count),
        4 => keep.daily = Some(count),
        5 => keep.weekly = Some(count),
        6 => keep.monthly = Some(count),
        7 => keep.full = Some(count),
        _ => keep.differential = Some(count),
    }
    keep
}

fn kept_set(runs: &[Run<u32>], keep: &Keep) -> BTreeSet<u32> {
    kept(runs, keep).into_iter().collect()
}

fn after(runs: &[Run<u32>], keep: &Keep) -> Vec<Run<u32>> {
    let kept = kept_set(runs, keep);
    runs.iter().filter(|run| kept.contains(&run.id)).cloned().collect()
}

proptest! {
    #[test]
    fn neither_the_newest_nor_a_base_goes(happenings in happenings(), rule in rule(), full in any::<bool>()) {
        let runs = life(&happenings);
        let rule = Keep { prefer_full: full, ..rule };
        let kept = kept_set(&runs, &rule);
        let there: BTreeSet<u32> = runs.iter().map(|run| run.id).collect();
        prop_assert!(runs.last().is_none_or(|run| kept.contains(&run.id)));
        for run in runs.iter().filter(|run| kept.contains(&run.id)) {
            for base in run.rests_on().into_iter().filter(|base| there.contains(base)) {
                prop_assert!(kept.contains(base), "{} rests on {}", run.id, base);
            }
        }
        for source in ["a", "b"] {
            let whole = |part: &Part<u32>| part.source == source && part.rests_on.is_subset(&there);
            let newest = runs.iter().rev().find(|run| run.parts.iter().any(whole));
            prop_assert!(newest.is_none_or(|run| kept.contains(&run.id)), "newest of {}", source);
        }
    }

    #[test]
    fn rules_together_keep_what_they_keep_alone(
        happenings in happenings(), one in (0_usize..9, 0_u32..9), other in (0_usize..9, 0_u32..9),
    ) {
        prop_assume!(one.0 != other.0);
        let runs = life(&happenings);
        let (first, second) = (with(keep(), one.0, one.1), with(keep(), other.0, other.1));
        let both = with(first.clone(), other.0, other.1);
        let union: BTreeSet<u32> = kept_set(&runs, &first).union(&kept_set(&runs, &second)).copied().collect();
        prop_assert_eq!(kept_set(&runs, &both), union);
    }

    #[test]
    fn a_second_prune_finds_nothing(happenings in happenings(), rule in rule(), full in any::<bool>()) {
        let rule = Keep { prefer_full: full, ..rule };
        let left = after(&life(&happenings), &rule);
        prop_assert_eq!(after(&left, &rule), left);
    }

    #[test]
    fn more_keeps_more(happenings in happenings(), which in 0_usize..9, count in 0_u32..9, more in 1_u32..5) {
        let runs = life(&happenings);
        let (less, more) = (with(keep(), which, count), with(keep(), which, count + more));
        prop_assert!(kept_set(&runs, &less).is_subset(&kept_set(&runs, &more)));
    }

    /// What a prune gave up, no later run makes it want back: pruning at once and pruning later end the same.
    #[test]
    fn a_newer_run_brings_nothing_back(happenings in happenings(), rule in rule()) {
        let runs = life(&happenings);
        let kept = kept_set(&runs, &rule);
        let newest = runs.last().map_or(at("2026-11-01T00:00:00Z"), |run| run.started);
        let mut later = runs.clone();
        later.push(run(99, newest + SignedDuration::from_hours(5), Level::Full, &[]));
        let still = kept_set(&later, &rule);
        let wanted: BTreeSet<u32> = kept.iter().copied().chain([99]).collect();
        prop_assert!(still.is_subset(&wanted), "{:?} of {:?}", still, wanted);
    }

    #[test]
    fn the_order_in_which_runs_are_given_does_not_matter(
        shuffled in happenings().prop_flat_map(|happenings| {
            let runs = life(&happenings);
            (Just(runs.clone()), Just(runs).prop_shuffle())
        }),
        rule in rule(),
    ) {
        let decide = |runs: &[Run<u32>]| retain(runs, &BTreeSet::new(), &policy(Some(&rule)));
        prop_assert_eq!(decide(&shuffled.0), decide(&shuffled.1));
    }

    #[test]
    fn whoever_stays_has_a_reason_of_its_own_or_a_run_that_needs_it(happenings in happenings(), rule in rule()) {
        let runs = life(&happenings);
        let decision = retain(&runs, &BTreeSet::new(), &policy(Some(&rule)));
        let kept: BTreeSet<u32> = decision.kept().copied().collect();
        for (_, reasons) in decision.iter() {
            for reason in reasons {
                if let Reason::BaseOf { run, .. } = reason {
                    prop_assert!(kept.contains(run));
                }
            }
        }
    }
}

#[test]
fn years_that_nobody_saw_pass_make_no_run_old() {
    let mut runs = nightly(3, 0, Level::Incremental);
    let began = at("2070-01-01T02:30:00Z");
    runs.push(run(4, began, Level::Full, &[]));
    let kept = |runs: &[Run<u32>], now: Timestamp, keep: &Keep, immutable: Option<u64>| {
        let policy = Policy { now, immutable, ..policy(Some(keep)) };
        retain(runs, &BTreeSet::new(), &policy).kept().copied().collect::<Vec<u32>>()
    };
    let day = SignedDuration::from_hours(24);
    let (last, within) = (Keep { last: Some(1), ..keep() }, Keep { within: Some(3 * 86_400), ..keep() });
    assert_eq!(kept(&runs, began, &last, Some(3 * 86_400)), [1, 2, 3, 4]);
    assert_eq!(kept(&runs, began, &within, None), [1, 2, 3, 4]);
    // Days that are seen to pass count.
    assert_eq!(kept(&runs, began + day, &last, Some(3 * 86_400)), [2, 3, 4]);
    runs.push(run(5, began + day, Level::Full, &[]));
    assert_eq!(kept(&runs, began + day, &within, None), [2, 3, 4, 5]);
    // A clock that was wrong once, ahead or behind, and is right again, ages nobody.
    let mut once = nightly(6, 0, Level::Incremental);
    for wrong in ["2070-01-01T02:30:00Z", "1970-01-01T02:30:00Z"] {
        once[2].started = at(wrong);
        let now = once[5].started;
        let young = kept(&once, now, &last, Some(2 * 86_400));
        assert!(young.contains(&5) && !young.contains(&1) && !young.contains(&2), "{wrong}: {young:?}");
    }
}

#[test]
fn the_newest_run_that_found_something_stays_beside_the_newest() {
    let keep = Keep { last: Some(1), ..keep() };
    let runs = nightly(4, 0, Level::Incremental);
    let empty = BTreeSet::from([(3, "b".to_owned()), (4, "b".to_owned())]);
    let beside = super::Beside { empty, losses: Vec::new() };
    let decision = super::retain_beside(&runs, &BTreeSet::new(), &policy(Some(&keep)), &beside);
    assert_eq!(decision.kept().copied().collect::<Vec<_>>(), [2, 4]);
    let reasons: Vec<_> =
        decision.iter().filter(|(id, _)| **id == 2).flat_map(|(_, why)| why.to_vec()).collect();
    assert_eq!(reasons, [Reason::NewestWith(vec!["b".to_owned()])]);
}

#[test]
fn the_newest_run_from_before_a_loss_stays_for_thirty_days_of_runs() {
    let keep = Keep { last: Some(2), ..keep() };
    let loss = |before: &[u32], first| super::Loss {
        source: "b".to_owned(),
        before: before.iter().copied().collect(),
        first,
    };
    let kept = |runs: &[Run<u32>], policy: &Policy<'_>, losses: &[super::Loss<u32>]| {
        let beside = super::Beside { empty: BTreeSet::new(), losses: losses.to_vec() };
        let decision = super::retain_beside(runs, &BTreeSet::new(), policy, &beside);
        decision.kept().copied().collect::<Vec<_>>()
    };
    let mut runs = nightly(33, 0, Level::Incremental);
    let policy = Policy { now: at("2027-01-01T00:00:00Z"), ..policy(Some(&keep)) };
    let lost = [loss(&[1, 2], 3)];
    // Run 3 is of 2026-11-03: run 32 is 29 days later.
    assert_eq!(kept(&runs[..32], &policy, &lost), [2, 3, 31, 32]);
    assert_eq!(kept(&runs, &policy, &lost), [32, 33]);
    // No clock lets it go while no run comes.
    let late = Policy { now: at("2030-01-01T00:00:00Z"), ..policy.clone() };
    assert_eq!(kept(&runs[..32], &late, &lost), [2, 3, 31, 32]);
    // One that lacks a path is not what was there before, as long as there is another.
    runs[1].parts[1].lacks = Lack::Paths;
    assert_eq!(kept(&runs[..20], &policy, &lost), [1, 3, 19, 20]);
    assert_eq!(kept(&runs[..20], &policy, &[loss(&[2], 3)]), [2, 3, 19, 20]);
    // Nor one that cannot be restored.
    runs[1].parts[1].lacks = Lack::Nothing;
    runs[1].parts[1].rests_on.insert(99);
    assert_eq!(kept(&runs[..20], &policy, &lost), [1, 3, 19, 20]);
    // What it rests on stays with it; and several losses have a run each.
    let mut runs = nightly(20, 4, Level::Incremental);
    assert_eq!(
        kept(&runs, &policy, &[loss(&[6, 7], 8), loss(&[11], 12)]),
        [6, 7, 8, 11, 12, 16, 17, 18, 19, 20]
    );
    runs.truncate(12);
    let decision = super::retain_beside(
        &runs,
        &BTreeSet::new(),
        &policy,
        &super::Beside { empty: BTreeSet::new(), losses: vec![loss(&[1], 2)] },
    );
    assert_eq!(
        why(&decision, 1)[0],
        "newest before b lost most of what was there, until 2026-12-02T02:30:00Z"
    );
    assert_eq!(why(&decision, 2), ["first with less of b, until 2026-12-02T02:30:00Z"]);
}
