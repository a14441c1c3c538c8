//! Commit, delete and recovery, told one case at a time.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;

use super::stage::{
    FOREIGN, Job, begin, contents, delete, hash, layout, lease, mark, publish, recovered, run, run_id, store,
    whole_runs,
};
use crate::catalog::commit::CommitError;
use crate::catalog::delete::{DeleteError, delete_run};
use crate::catalog::recover::{Past, Reason, RecoverError, RecoveryPlan};
use crate::catalog::runs::Catalog;
use crate::control::Control;
use crate::store::dir::DirStore;
use crate::store::simulated::SimulatedFolder;
use crate::store::{Creation, Name, Store};

fn planted() -> SimulatedFolder {
    let folder = SimulatedFolder::default();
    folder.plant(FOREIGN, b"not yours").unwrap();
    folder
}

#[test]
fn a_name_that_is_taken_is_an_error_before_anything_is_written() {
    let folder = planted();
    let store = store(&folder);
    let lease = lease(&store);
    let before = folder.files();
    let job = Job { own: vec![FOREIGN.to_owned()], ..Job::new(1, 0) };
    assert!(matches!(begin(&store, &lease, &job), Err(CommitError::ArtefactExists { .. })));
    let job = Job { own: vec!["x".to_owned(), "x".to_owned()], ..Job::new(1, 0) };
    assert!(matches!(begin(&store, &lease, &job), Err(CommitError::Twice(_))));
    for name in ["a/b", ".backplan", ".."] {
        let job = Job { own: vec![name.to_owned()], ..Job::new(1, 0) };
        assert!(matches!(begin(&store, &lease, &job), Err(CommitError::Name(_))), "{name}");
    }
    assert_eq!(folder.files(), before);
}

#[test]
fn what_appears_under_a_name_meanwhile_is_not_ours_and_stays() {
    let folder = planted();
    let store = store(&folder);
    let lease = lease(&store);
    let job = Job::new(1, 1);
    let transaction = begin(&store, &lease, &job).unwrap();
    folder.plant(&job.own[0], b"a stranger's").unwrap();
    assert!(matches!(publish(&transaction, &job, &job.own[0]), Err(CommitError::ArtefactExists { .. })));
    assert!(matches!(transaction.commit(&job.manifest()), Err(CommitError::NotWhole { .. })));
    let undone = transaction.undo().unwrap();
    assert_eq!(undone.left.len(), 1);
    assert_eq!(folder.files()[&job.own[0]], b"a stranger's");
    assert!(transaction.upload("another.tar.gz", None).is_err(), "no name that the intent does not list");
}

#[test]
fn an_incomplete_run_does_not_commit() {
    let folder = planted();
    let store = store(&folder);
    let lease = lease(&store);
    let job = Job { rests_on: vec![run_id(1)], ..Job::new(2, 1) };
    let transaction = begin(&store, &lease, &job).unwrap();
    assert!(matches!(transaction.commit(&job.manifest()), Err(CommitError::BaseMissing { .. })));
    let job = Job::new(2, 1);
    assert!(matches!(transaction.commit(&job.manifest()), Err(CommitError::NotWhole { .. })));
    publish(&transaction, &job, &job.own[0]).unwrap();
    // Once more, as after an error that came too late.
    publish(&transaction, &job, &job.own[0]).unwrap();
    let mut short = job.manifest();
    short.archives[0].size += 1;
    assert!(matches!(transaction.commit(&short), Err(CommitError::NotWhole { .. })));
    let _ = transaction.commit(&job.manifest()).unwrap();
    let _ = transaction.commit(&job.manifest()).unwrap();
    assert!(matches!(transaction.undo(), Err(CommitError::Recover(RecoverError::Committed(_)))));
    assert_eq!(whole_runs(&folder), [run_id(2)]);
    assert!(matches!(begin(&store, &lease, &job), Err(CommitError::RunExists { .. })));
}

#[test]
fn a_run_that_others_need_is_not_deleted_nor_any_while_one_cannot_be_read() {
    let folder = planted();
    run(&folder, &Job::new(1, 1), None);
    run(&folder, &Job { rests_on: vec![run_id(1)], ..Job::new(2, 1) }, None);
    let store = store(&folder);
    let lease = lease(&store);
    let try_delete = |run: u32| {
        let mut catalog = Catalog::load(&*store, &layout()).unwrap();
        delete_run(&*store, &layout(), &lease, &mut catalog, &run_id(run), (&*mark(), &Past::Committed))
            .unwrap_err()
    };
    assert!(matches!(try_delete(1), DeleteError::Needed { .. }));
    assert!(matches!(try_delete(9), DeleteError::Unknown(_)));
    store.replace(&layout().manifest(&run_id(5)), b"damaged").unwrap();
    assert!(matches!(try_delete(2), DeleteError::Unreadable(_)));
    assert!(!folder.files().keys().any(|path| path.contains("tombstones")));
}

#[test]
fn a_deletion_leaves_what_another_run_names_and_what_is_another_s() {
    let folder = planted();
    let second = Job::new(2, 2);
    run(&folder, &second, None);
    run(&folder, &Job { held: vec![(second.own[0].clone(), second.run)], ..Job::new(3, 0) }, None);
    let store = store(&folder);
    // Somebody put another run's artefact in place of the second.
    store.replace(&Name::new(second.own[1].as_str()).unwrap(), &contents(run_id(8), "x")).unwrap();
    let deleted = delete(&folder, run_id(2));
    assert_eq!(deleted.left.len(), 1, "{:?}", deleted.left);
    assert!(folder.files().contains_key(&second.own[0]) && folder.files().contains_key(&second.own[1]));
    assert_eq!(whole_runs(&folder), [run_id(3)]);
    delete(&folder, run_id(3));
    assert!(!folder.files().contains_key(&second.own[0]), "the last that named it is gone");
    assert!(whole_runs(&folder).is_empty());
}

#[test]
fn a_recovery_says_why_and_a_look_changes_nothing() {
    let folder = planted();
    run(&folder, &Job::new(1, 1), None);
    let job = Job::new(2, 1);
    {
        let store = store(&folder);
        let lease = lease(&store);
        let transaction = begin(&store, &lease, &job).unwrap();
        publish(&transaction, &job, &job.own[0]).unwrap();
    }
    let before = folder.files();
    let plan = RecoveryPlan::make(&*store(&folder), &layout(), None, (&*mark(), &Past::GivenUp)).unwrap();
    assert_eq!(plan.steps[0].reason, Reason::UndoRun(run_id(2)));
    let current =
        RecoveryPlan::make(&*store(&folder), &layout(), Some(&run_id(2)), (&*mark(), &Past::GivenUp))
            .unwrap();
    assert!(current.steps.iter().all(|step| step.reason == Reason::OldLease));
    assert_eq!(folder.files(), before);
    let recovered = recovered(&folder);
    assert!(recovered.deleted.iter().any(|(_, name)| name.as_str() == job.own[0]));
    assert_eq!(
        Reason::UndoRun(run_id(2)).to_string(),
        format!("run `{}` died before it committed", run_id(2))
    );
}

#[test]
fn damaged_records_are_left_alone_and_told_of() {
    let folder = planted();
    run(&folder, &Job::new(1, 1), None);
    let store = store(&folder);
    store.replace(&layout().intent(&run_id(4)), b"nonsense").unwrap();
    store.replace(&layout().tombstone(&run_id(1)), b"nonsense").unwrap();
    let recovered = recovered(&folder);
    assert_eq!(recovered.left.len(), 2, "{:?}", recovered.left);
    assert_eq!(whole_runs(&folder), [run_id(1)]);
}

#[test]
fn sums_are_what_sha256sum_checks() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("store");
    let store: Arc<dyn Store> = Arc::new(DirStore::create("local", &folder).unwrap());
    let lease = lease(&store);
    let odd = ["plain.tar.gz", "with space.tar.gz", "back\\slash.tar.gz", "new\nline.tar.gz"];
    let job = Job { own: odd.map(str::to_owned).to_vec(), ..Job::new(1, 0) };
    let transaction = begin(&store, &lease, &job).unwrap();
    for artefact in &job.own {
        let staged = scratch.path().join("staged");
        std::fs::write(&staged, contents(job.run, artefact)).unwrap();
        transaction.put_file(artefact, &staged, &Control::default()).unwrap();
        std::fs::remove_file(&staged).unwrap();
    }
    let _ = transaction.commit(&job.manifest()).unwrap();
    let sums = layout().sums(&job.run);
    let check = || {
        Command::new("sha256sum")
            .args(["-c", "--strict", sums.as_str()])
            .current_dir(&folder)
            .output()
            .unwrap()
    };
    assert!(check().status.success(), "{}", String::from_utf8_lossy(&check().stderr));
    std::fs::write(folder.join("plain.tar.gz"), "damaged").unwrap();
    assert!(!check().status.success());
    assert_eq!(hash(b"").len(), 64);
}

#[test]
fn nothing_is_committed_or_deleted_without_the_lease() {
    let folder = planted();
    let store = store(&folder);
    let lost = lease(&store);
    let job = Job::new(1, 1);
    let transaction = begin(&store, &lost, &job).unwrap();
    publish(&transaction, &job, &job.own[0]).unwrap();
    // Another run takes over.
    assert_eq!(store.create(&layout().lock(lost.number() + 1), b"another").unwrap(), Creation::Created);
    assert!(matches!(transaction.commit(&job.manifest()), Err(CommitError::Lock(_))));
    assert!(matches!(transaction.undo(), Err(CommitError::Lock(_))));
    assert!(folder.files().contains_key(&job.own[0]));
    assert!(whole_runs(&folder).is_empty());
}
