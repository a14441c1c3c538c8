//! Every single operation of a run fails, or succeeds and says that it failed.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rustix::io::Errno;

use super::stage::{
    FOREIGN, Job, alone, assert_tidy, begin, layout, mark, publish, rebooted, recovered, run, run_id, store,
    whole_runs,
};
use crate::catalog::commit::CommitError;
use crate::catalog::delete::delete_run;
use crate::catalog::lock::Lease;
use crate::catalog::recover::{Past, recover};
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::store::simulated::{Fault, SimulatedFolder, Survival};

const FAULTS: [Fault; 4] = [
    Fault::Fails(Errno::IO),
    Fault::Fails(Errno::NOSPC),
    Fault::DoneButFails(Errno::TIMEDOUT),
    Fault::PowerCut,
];

/// How a run ended, as its caller was told.
#[derive(Debug, PartialEq)]
enum Told {
    Committed,
    Failed,
    Uncertain,
}

fn try_run(folder: &SimulatedFolder, job: &Job, retry: bool) -> Told {
    let store = store(folder);
    let lease =
        Lease::acquire(Arc::clone(&store), &layout(), rebooted(), alone(), &Control::default(), &|_| ());
    let Ok(lease) = lease.map(Arc::new) else { return Told::Failed };
    if recover(&*store, &layout(), &lease, (&*mark(), &Past::GivenUp)).is_err() {
        return Told::Failed;
    }
    let attempts = if retry { 2 } else { 1 };
    let Some(transaction) = (0..attempts).find_map(|_| begin(&store, &lease, job).ok()) else {
        return Told::Failed;
    };
    let published =
        job.own.iter().all(|artefact| (0..attempts).any(|_| publish(&transaction, job, artefact).is_ok()));
    let mut told = Told::Failed;
    for _ in 0..attempts {
        if published && told != Told::Committed {
            told = match transaction.commit(&job.manifest()) {
                Ok(_) => Told::Committed,
                Err(CommitError::Uncertain { .. }) => Told::Uncertain,
                Err(_) => Told::Failed,
            };
        }
    }
    if told != Told::Committed {
        let _ = transaction.undo();
    }
    told
}

fn stage() -> SimulatedFolder {
    let folder = SimulatedFolder::default();
    folder.plant(FOREIGN, b"not yours").unwrap();
    run(&folder, &Job::new(1, 2), None);
    folder
}

fn break_everywhere(retry: bool) {
    let rehearsal = stage();
    let before = rehearsal.tried();
    assert_eq!(try_run(&rehearsal, &Job::new(2, 2), retry), Told::Committed);
    let mut saved_by_retry = 0;
    for operation in before..rehearsal.tried() {
        for fault in FAULTS {
            let folder = stage();
            folder.inject(operation, fault);
            let told = try_run(&folder, &Job::new(2, 2), retry);
            let context = format!("operation {operation}, {fault:?}, told {told:?}");
            saved_by_retry += usize::from(told == Told::Committed);
            for survival in [Survival::Everything, Survival::Synced] {
                let after = folder.crashed_after(folder.operations(), survival);
                let runs = whole_runs(&after);
                assert!(runs.contains(&run_id(1)), "{context}");
                match told {
                    Told::Committed => assert!(runs.contains(&run_id(2)), "{context}"),
                    Told::Failed => assert!(!runs.contains(&run_id(2)), "{context}"),
                    Told::Uncertain => {}
                }
                recovered(&after);
                assert_tidy(&after);
                assert_eq!(whole_runs(&after), runs, "{context}");
                run(&after, &Job::new(3, 1), None);
            }
        }
    }
    assert!(saved_by_retry > 0);
}

#[test]
fn what_a_run_is_told_is_true_whatever_fails() {
    break_everywhere(false);
}

#[test]
fn what_is_tried_again_is_told_truly_too() {
    break_everywhere(true);
}

#[test]
fn a_failing_deletion_is_finished_by_the_next_recovery() {
    let rehearsal = stage();
    run(&rehearsal, &Job::new(2, 2), None);
    let before = rehearsal.tried();
    super::stage::delete(&rehearsal, run_id(1));
    for operation in before..rehearsal.tried() {
        for fault in FAULTS {
            let folder = stage();
            run(&folder, &Job::new(2, 2), None);
            folder.inject(operation, fault);
            let store = store(&folder);
            let told = Lease::acquire(
                Arc::clone(&store),
                &layout(),
                rebooted(),
                alone(),
                &Control::default(),
                &|_| (),
            );
            let told = told.ok().and_then(|lease| {
                let mut catalog = Catalog::load(&*store, &layout()).ok()?;
                delete_run(&*store, &layout(), &lease, &mut catalog, &run_id(1), (&*mark(), &Past::Committed))
                    .ok()
            });
            for survival in [Survival::Everything, Survival::Synced] {
                let after = folder.crashed_after(folder.operations(), survival);
                recovered(&after);
                assert_tidy(&after);
                let runs = whole_runs(&after);
                assert!(runs.contains(&run_id(2)));
                assert!(told.is_none() || !runs.contains(&run_id(1)), "operation {operation}, {fault:?}");
            }
        }
    }
}
