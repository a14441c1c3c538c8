//! Prunes, cut behind every operation.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use backplan_compiler::model::{Due, Keep, Schedule, When};
use backplan_compiler::retention::Policy;
use backplan_compiler::sources::{FileId, Place};
use backplan_grammar::Span;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::stage::{
    FOREIGN, Job, assert_tidy, layout, lease, mark, plan_id, recovered, run, run_id, store, whole_runs,
};
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::catalog::manifest::{Manifest, SourceRecord, SourceStatus};
use crate::catalog::names::PlanName;
use crate::catalog::prune::{Ground, Occasion, PrunePlan, Refusal, fact};
use crate::catalog::recover::{Past, Reason, RecoveryPlan};
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::store::Store;
use crate::store::append_only::AppendOnly;
use crate::store::simulated::{SimulatedFolder, Survival};

fn place() -> Place {
    Place { file: FileId(0), span: Span { start: 0, end: 0 } }
}

fn last(count: u32) -> Keep {
    Keep {
        place: place(),
        cycles: None,
        last: Some(count),
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

fn occasion(keep: Option<&Keep>) -> Occasion<'_> {
    let policy = Policy {
        keep,
        immutable: None,
        append_only: false,
        zone: TimeZone::UTC,
        now: run_id(60).started(),
        sources: BTreeSet::from(["s".to_owned()]),
        own: Default::default(),
        wal: Default::default(),
    };
    Occasion {
        policy,
        schedule: None,
        current: None,
        remembered: None,
        accepted: Default::default(),
        strange: Vec::new(),
    }
}

/// Runs of two chains, one that points to an artefact of an earlier one, and fulls.
fn jobs() -> Vec<Job> {
    let rests = |sequence: u32, on: &[u32]| Job {
        rests_on: on.iter().map(|base| run_id(*base)).collect(),
        ..Job::new(sequence, 1)
    };
    let second = Job::new(4, 1);
    vec![
        Job::new(1, 2),
        rests(2, &[1]),
        rests(3, &[1, 2]),
        second.clone(),
        Job { held: vec![(second.own[0].clone(), second.run)], own: Vec::new(), ..Job::new(5, 0) },
        rests(6, &[4]),
        Job::new(7, 1),
    ]
}

fn filled() -> SimulatedFolder {
    let folder = SimulatedFolder::default();
    folder.plant(FOREIGN, b"not yours").unwrap();
    for (number, job) in jobs().iter().enumerate() {
        run(&folder, job, (number > 0).then(plan_id));
    }
    folder
}

fn catalog(folder: &SimulatedFolder) -> Catalog {
    Catalog::load(&folder.store("simulated"), &layout()).unwrap()
}

/// A whole prune, as a process that starts after a reboot does it; what the runs gave back, in order.
fn prune(folder: &SimulatedFolder, keep: &Keep) -> Vec<RunId> {
    let store = store(folder);
    let lease = lease(&store);
    RecoveryPlan::make(&*store, &layout(), None, (&*mark(), &Past::GivenUp))
        .unwrap()
        .execute(&*store, &layout(), &lease)
        .unwrap();
    let mut catalog = Catalog::load(&*store, &layout()).unwrap();
    let plan = PrunePlan::make(&catalog, &occasion(Some(keep)));
    let mut gone = Vec::new();
    let (layout, mark) = (layout(), mark());
    let on =
        Ground { store: &*store, layout: &layout, lease: &lease, mark: &*mark, memory: &Past::Committed };
    plan.execute(on, &mut catalog, &Control::default(), &mut |run, _| gone.push(*run)).unwrap();
    gone
}

fn assert_whole(folder: &SimulatedFolder, kept: &[RunId]) {
    assert_eq!(folder.files().get(FOREIGN).map(Vec::as_slice), Some(b"not yours".as_slice()));
    let runs = whole_runs(folder);
    assert!(kept.iter().all(|run| runs.contains(run)), "{runs:?}");
    for manifest in catalog(folder).runs() {
        for base in manifest.rests_on() {
            assert!(runs.contains(&base), "run {} has lost its base {base}", manifest.run);
        }
    }
}

#[test]
fn what_rests_on_a_run_goes_before_it() {
    let folder = filled();
    let plan = PrunePlan::make(&catalog(&folder), &occasion(Some(&last(1))));
    assert_eq!(plan.order(), [3, 2, 1, 5, 6, 4].map(run_id));
    assert_eq!(prune(&folder, &last(1)), [3, 2, 1, 5, 6, 4].map(run_id));
    assert_eq!(whole_runs(&folder), [run_id(7)]);
    assert_eq!(prune(&folder, &last(1)), []);
}

#[test]
fn a_preview_names_what_is_then_gone() {
    let folder = filled();
    let mut seen = catalog(&folder);
    let plan = PrunePlan::make(&seen, &occasion(Some(&last(2))));
    let names = plan
        .preview(&folder.store("simulated"), &layout(), &mut seen, (&*mark(), &Past::Committed))
        .unwrap()
        .deleted;
    let before: BTreeSet<String> = folder.files().into_keys().collect();
    prune(&folder, &last(2));
    let after: BTreeSet<String> = folder.files().into_keys().collect();
    let is_lock = |path: &&String| path.contains("/lock/");
    let gone: BTreeSet<&String> = before.difference(&after).filter(|path| !is_lock(path)).collect();
    assert_eq!(gone, names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().iter().collect());
    // Run 4 stays as a base of run 6, and with it the artefact that run 5 pointed to.
    assert_eq!(whole_runs(&folder), [4, 6, 7].map(run_id));
    let freed: u64 = plan.runs.iter().map(|row| row.frees).sum();
    let size = |run: u32| plan.runs.iter().find(|row| row.run == run_id(run)).unwrap().size;
    assert_eq!(freed, size(1) + size(2) + size(3));
}

#[test]
fn wherever_a_prune_is_cut_what_stays_is_whole_and_the_next_one_finishes() {
    for (count, kept) in [(1, vec![7]), (2, vec![4, 6, 7]), (3, vec![4, 5, 6, 7])] {
        let folder = filled();
        let kept: Vec<RunId> = kept.into_iter().map(run_id).collect();
        let begin = folder.operations();
        prune(&folder, &last(count));
        let mut seen = BTreeSet::new();
        for operations in begin..=folder.operations() {
            for survival in
                [Survival::Everything, Survival::Synced].into_iter().chain((0..6).map(Survival::Torn))
            {
                let cut = folder.crashed_after(operations, survival);
                if !seen.insert(cut.files()) {
                    continue;
                }
                assert_whole(&cut, &kept);
                let at_once = cut.crashed_after(cut.operations(), Survival::Everything);
                prune(&at_once, &last(count));
                assert_eq!(whole_runs(&at_once), kept);
                assert_tidy(&at_once);
                // Or a run comes first, with its recovery.
                recovered(&cut);
                assert_whole(&cut, &kept);
                assert_tidy(&cut);
                run(&cut, &Job::new(9, 1), Some(plan_id()));
                prune(&cut, &last(count));
                assert!(whole_runs(&cut).contains(&run_id(9)));
            }
        }
    }
}

#[test]
fn foreign_files_under_our_names_stay() {
    let folder = filled();
    // Somebody put a file of their own where run 1 had an artefact.
    let store = store(&folder);
    let name = crate::store::Name::new(Job::new(1, 2).own[0].as_str()).unwrap();
    store.delete(&name).unwrap();
    folder.plant(name.as_str(), b"somebody's own").unwrap();
    prune(&folder, &last(1));
    assert_eq!(folder.files().get(name.as_str()).map(Vec::as_slice), Some(b"somebody's own".as_slice()));
}

#[test]
fn what_an_unreadable_run_may_need_stays_with_the_artefacts_it_may_point_to() {
    let folder = filled();
    let store = store(&folder);
    let manifest = layout().manifest(&run_id(5));
    store.replace(&manifest, b"format: nonsense").unwrap();
    let catalog = catalog(&folder);
    assert_eq!(catalog.unreadable().iter().copied().collect::<Vec<_>>(), [run_id(5)]);
    let plan = PrunePlan::make(&catalog, &occasion(Some(&last(1))));
    // Run 6 rests on run 4, which stays; nothing newer than run 5 is in doubt.
    assert_eq!(plan.order(), [run_id(6)]);
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    assert_eq!(prune(&folder, &last(1)), [run_id(6)]);
    assert!(folder.files().contains_key(manifest.as_str()));
    assert!(folder.files().contains_key(Job::new(4, 1).own[0].as_str()));
}

#[test]
fn a_clock_that_cannot_be_believed_deletes_nothing() {
    let folder = filled();
    let catalog = catalog(&folder);
    let newest = run_id(7);
    let schedule = Schedule {
        place: place(),
        due: Due::Run(When::Every(3600)),
        zone: "UTC".to_owned(),
        jitter: None,
        catch_up: true,
    };
    let keep = last(1);
    let at = |now: Timestamp, scheduled: bool| {
        let mut occasion = occasion(Some(&keep));
        occasion.policy.now = now;
        occasion.schedule = scheduled.then_some(&schedule);
        let plan = PrunePlan::make(&catalog, &occasion);
        assert_eq!(plan.deletes(), plan.refused.is_empty());
        plan.refused
    };
    let start = newest.started();
    let back = start - SignedDuration::from_secs(1);
    assert_eq!(at(back, false), [Refusal::ClockBack { now: back, newest }]);
    assert_eq!(at(start, true), []);
    assert_eq!(at(start + SignedDuration::from_hours(3), true), []);
    // A machine may sleep for a night, or a weekend.
    assert_eq!(at(start + SignedDuration::from_hours(70), true), []);
    let ahead = start + SignedDuration::from_hours(73);
    assert_eq!(at(ahead, true), [Refusal::ClockAhead { now: ahead, newest }]);
    assert_eq!(at(ahead, false), []);
    let far = start + SignedDuration::from_hours(44 * 365 * 24);
    assert_eq!(at(far, false), [Refusal::ClockFar { now: far, newest }]);
}

#[test]
fn a_source_that_shrank_by_more_than_half_deletes_nothing() {
    let source = |entries, bytes, status| SourceRecord {
        name: PlanName::known("s"),
        kind: "files".to_owned(),
        status,
        reason: None,
        entries,
        bytes,
        leaves: None,
        missing: 0,
        lost: Vec::new(),
        unread: 0,
        labels: None,
    };
    let with = |sequence: u32, record: SourceRecord| Manifest {
        sources: vec![record],
        ..Job::new(sequence, 1).manifest()
    };
    let refused = |rows: Vec<SourceRecord>| {
        let mut catalog = Catalog::default();
        for (sequence, record) in (1..).zip(rows) {
            catalog.add(with(sequence, record));
        }
        PrunePlan::make(&catalog, &occasion(Some(&last(1)))).refused
    };
    let ok = |entries, bytes| source(entries, bytes, SourceStatus::Ok);
    assert_eq!(refused(vec![ok(10, 100), ok(5, 50)]), []);
    let shrank = |what, before, after| Refusal::Shrank {
        source: "s".to_owned(),
        what,
        before,
        after,
        since: run_id(1),
    };
    assert_eq!(refused(vec![ok(10, 100), ok(4, 100)]), [shrank("entries", 10, 4)]);
    assert_eq!(refused(vec![ok(10, 100), ok(10, 49)]), [shrank("bytes", 100, 49)]);
    // Another driver counts otherwise; one and the same, before and behind that, is held against itself.
    let by = |driver: &str, entries, bytes| {
        let labels = Labels { driver: Some(driver.to_owned()), ..Labels::default() };
        SourceRecord { labels: Some(Box::new(labels)), ..ok(entries, bytes) }
    };
    assert_eq!(refused(vec![by("basebackup", 1000, 9000), by("dump", 4, 90)]), []);
    let lost = vec![by("basebackup", 1000, 9000), by("dump", 4, 90), by("basebackup", 400, 9000)];
    assert_eq!(refused(lost), [shrank("entries", 1000, 400)]);
    let emptied = refused(vec![by("basebackup", 1000, 9000), by("dump", 1, 0)]);
    assert!(matches!(emptied[..], [Refusal::Emptied { .. }]), "{emptied:?}");
    // A run that did not read it says nothing of its size.
    let skipped = source(0, 0, SourceStatus::Skipped);
    assert_eq!(refused(vec![ok(10, 100), skipped.clone()]), []);
    let rows = vec![ok(10, 100), skipped, ok(1, 100)];
    assert_eq!(refused(rows), [shrank("entries", 10, 1)]);
    // The run after it is as small, and believed.
    assert_eq!(refused(vec![ok(10, 100), ok(1, 1), ok(1, 1)]), []);
    // Of a tool's repository neither files nor their weight are compared, but what the cluster holds. An older program wrote
    // down how much the repository weighs.
    let told = |driver: &str, entries, bytes, told: u64| SourceRecord {
        kind: "postgres".to_owned(),
        labels: Some(Box::new(Labels {
            driver: Some(driver.to_owned()),
            database_bytes: Some(told),
            ..Labels::default()
        })),
        ..ok(entries, bytes)
    };
    for driver in ["pgbackrest", "probackup"] {
        assert_eq!(refused(vec![told(driver, 2000, 900, 400), told(driver, 1, 390, 390)]), []);
        let emptied = vec![told(driver, 2000, 900, 400), told(driver, 1, 190, 190)];
        assert_eq!(refused(emptied), [shrank("bytes", 400, 190)]);
    }
    // A server without a database of anybody's has its accounts all the same.
    let server = |bytes, databases: &str| SourceRecord {
        kind: "mariadb".to_owned(),
        labels: Some(Box::new(Labels { databases: Some(databases.to_owned()), ..Labels::default() })),
        ..ok(4, bytes)
    };
    let emptied = vec![server(500, "shop"), server(400, ""), server(400, "")];
    let nothing = Refusal::Emptied { source: "s".to_owned(), entries: 4, bytes: 500, since: run_id(1) };
    assert_eq!(refused(emptied), [nothing]);
    assert_eq!(refused(vec![server(500, "shop"), server(400, "shop")]), []);
    let directory = vec![told("basebackup", 2000, 400, 400), told("basebackup", 900, 390, 390)];
    assert_eq!(refused(directory), [shrank("entries", 2000, 900)]);
}

#[test]
fn a_run_that_is_yet_to_come_is_counted_in() {
    let folder = filled();
    let catalog = catalog(&folder);
    let coming = fact(&Job::new(8, 1).manifest());
    let keep = last(1);
    let current = Some(crate::catalog::prune::Current { run: coming, sources: Vec::new() });
    let plan = PrunePlan::make(&catalog, &Occasion { current, ..occasion(Some(&keep)) });
    assert_eq!(plan.order(), [3, 2, 1, 5, 6, 4, 7].map(run_id));
    assert!(plan.runs.iter().any(|row| row.run == run_id(8) && row.stays));
}

#[test]
fn where_this_host_may_not_delete_a_recovery_leaves_backups_and_tells() {
    let folder = filled();
    let begin = folder.operations();
    prune(&folder, &last(1));
    let mut told = 0;
    for operations in begin..folder.operations() {
        let cut = folder.crashed_after(operations, Survival::Everything);
        let before = whole_runs(&cut);
        let store: Arc<dyn Store> = Arc::new(AppendOnly(store(&cut)));
        let lease = lease(&store);
        let plan = RecoveryPlan::make(&*store, &layout(), None, (&*mark(), &Past::GivenUp)).unwrap();
        let done = plan.execute(&*store, &layout(), &lease).unwrap();
        let is_book = |reason: &Reason| matches!(reason, Reason::OldLease | Reason::StandingRun(_));
        assert!(done.deleted.iter().all(|(reason, _)| is_book(reason)), "{:?}", done.deleted);
        told += done.left.len();
        assert_eq!(whole_runs(&cut), before);
    }
    assert!(told > 0);
}

#[test]
fn a_run_whose_artefact_is_gone_takes_no_whole_ones_place() {
    for left in [None, Some(b"cut".as_slice())] {
        let folder = filled();
        let newest = "0007 archive 0.tar.gz";
        store(&folder).delete(&crate::store::Name::new(newest).unwrap()).unwrap();
        if let Some(bytes) = left {
            folder.plant(newest, bytes).unwrap();
        }
        let mut seen = catalog(&folder);
        seen.look_for_artefacts(&folder.store("simulated"), &layout()).unwrap();
        let plan = PrunePlan::make(&seen, &occasion(Some(&last(1))));
        // The newest that is whole stays, with the run that it rests on.
        assert_eq!(plan.order(), [3, 2, 1, 5].map(run_id));
        let why = left.map_or("is not there".to_owned(), |bytes| {
            let size = super::stage::contents(run_id(7), newest).len();
            format!("has {} bytes, not {size}", bytes.len())
        });
        let told = format!("run `{}` cannot be restored: its artefact `{newest}` {why}", run_id(7));
        assert_eq!(plan.warnings, [told]);
    }
}
