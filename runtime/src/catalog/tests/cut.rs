//! The power is cut behind every single operation of a life of a store, and of every recovery from that.

#![allow(clippy::unwrap_used)]

use super::stage::{FOREIGN, Job, assert_tidy, delete, plan_id, recovered, run, run_id, whole_runs};
use crate::catalog::ids::RunId;
use crate::store::simulated::{SimulatedFolder, Survival};

/// From which operation on a run must be there, and until which.
struct Promise {
    run: RunId,
    from: usize,
    until: usize,
}

struct Life {
    folder: SimulatedFolder,
    promises: Vec<Promise>,
    /// From here on the store is known to this host.
    claimed: usize,
}

/// First run, second run, a third that points to the second's artefact, deletion of the second and of the first.
fn life(folder: SimulatedFolder) -> Life {
    folder.plant(FOREIGN, b"not yours").unwrap();
    let mut promises = Vec::new();
    let mut done = |folder: &SimulatedFolder, job: &Job, known| {
        run(folder, job, known);
        promises.push(Promise { run: job.run, from: folder.operations(), until: usize::MAX });
    };
    done(&folder, &Job::new(1, 2), None);
    let claimed = folder.operations();
    done(&folder, &Job::new(2, 1), Some(plan_id()));
    let second = Job::new(2, 1);
    let third = Job { held: vec![(second.own[0].clone(), second.run)], ..Job::new(3, 1) };
    done(&folder, &third, Some(plan_id()));
    for sequence in [2, 1] {
        let until = folder.operations();
        delete(&folder, run_id(sequence));
        for promise in promises.iter_mut().filter(|promise| promise.run == run_id(sequence)) {
            promise.until = until;
        }
    }
    assert_eq!(whole_runs(&folder), [run_id(3)]);
    Life { folder, promises, claimed }
}

fn survivals() -> impl Iterator<Item = Survival> {
    [Survival::Everything, Survival::Synced].into_iter().chain((0..6).map(Survival::Torn))
}

impl Life {
    fn assert_kept(&self, folder: &SimulatedFolder, operations: usize) {
        assert_eq!(folder.files().get(FOREIGN).map(Vec::as_slice), Some(b"not yours".as_slice()));
        let runs = whole_runs(folder);
        for promise in &self.promises {
            if (promise.from..=promise.until).contains(&operations) {
                assert!(runs.contains(&promise.run), "run {} is lost", promise.run);
            }
        }
    }

    fn assert_goes_on(&self, folder: &SimulatedFolder, operations: usize) {
        recovered(folder);
        self.assert_kept(folder, operations);
        assert_tidy(folder);
        assert!(recovered(folder).deleted.iter().all(|(_, name)| name.as_str().contains("/lock/")));
        let known = (operations >= self.claimed).then(plan_id);
        run(folder, &Job::new(9, 2), known);
        assert!(whole_runs(folder).contains(&run_id(9)));
        self.assert_kept(folder, operations);
    }

    fn cut_everywhere(&self) {
        // Nothing but the planted file is before the first operations.
        for operations in 2..=self.folder.operations() {
            for survival in survivals() {
                let cut = self.folder.crashed_after(operations, survival);
                self.assert_kept(&cut, operations);
                self.assert_goes_on(&cut, operations);
            }
        }
    }

    /// Recoveries that are cut themselves.
    fn cut_twice(&self) {
        for operations in 2..=self.folder.operations() {
            for first in [Survival::Everything, Survival::Synced] {
                let cut = self.folder.crashed_after(operations, first);
                recovered(&cut);
                for again in 0..=cut.operations() {
                    for second in [Survival::Everything, Survival::Synced, Survival::Torn(again as u64)] {
                        let cut = cut.crashed_after(again, second);
                        self.assert_kept(&cut, operations);
                        recovered(&cut);
                        self.assert_kept(&cut, operations);
                        assert_tidy(&cut);
                    }
                }
            }
        }
    }
}

#[test]
fn wherever_the_power_is_cut_earlier_backups_stay_and_the_next_run_succeeds() {
    life(SimulatedFolder::default()).cut_everywhere();
}

#[test]
fn also_where_a_rename_without_replacing_is_a_link_and_an_unlink() {
    life(SimulatedFolder::default().without_rename_new()).cut_everywhere();
}

#[test]
fn a_recovery_may_be_cut_anywhere_too() {
    life(SimulatedFolder::default()).cut_twice();
}
