//! Whose store it is.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use backplan_compiler::model::{Absent, Store as Declared, StoreKind};
use backplan_compiler::sources::{FileId, Place};

use super::stage::{Job, claim, layout, machine, plan_id, run, store};
use crate::catalog::identity::{self, Claim, IdentityError, Standing, inspect};
use crate::catalog::ids::Uuid;
use crate::catalog::manifest::HostRef;
use crate::programs::secrets::Secrets;
use crate::store::StoreErrorKind;
use crate::store::simulated::SimulatedFolder;

fn declared(path: &Path) -> Declared {
    Declared {
        name: "local".to_owned(),
        place: Place { file: FileId(0), span: Default::default() },
        kind: StoreKind::Dir { path: path.to_path_buf() },
        offsite: false,
        bandwidth: None,
        immutable: None,
        append_only: false,
        absent: Absent::Warn,
        keep: None,
    }
}

fn claimed() -> SimulatedFolder {
    let folder = SimulatedFolder::default();
    identity::claim(&*store(&folder), &layout(), &claim(None)).unwrap();
    folder
}

#[test]
fn a_new_store_becomes_ours_and_stays_so() {
    let folder = SimulatedFolder::default();
    let store = store(&folder);
    assert_eq!(inspect(&*store, &layout(), &claim(None)).unwrap(), Standing::New);
    let format = identity::claim(&*store, &layout(), &claim(None)).unwrap();
    assert_eq!(format.id, plan_id());
    assert_eq!(inspect(&*store, &layout(), &claim(Some(plan_id()))).unwrap(), Standing::Ours(format.clone()));
    // The host's state is lost: it is still ours.
    let other = Claim { id: Uuid::random(), ..claim(None) };
    assert_eq!(identity::claim(&*store, &layout(), &other).unwrap(), format);
}

#[test]
fn another_machine_another_file_and_another_identity_are_refused_until_adopted() {
    let stranger = HostRef { machine: Uuid::from_bytes([2; 16]), name: "there".to_owned() };
    let other_machine = Claim { machine: stranger, ..claim(None) };
    let other_file = Claim { file: Path::new("/home/p.plan"), ..claim(None) };
    let other_store = claim(Some(Uuid::from_bytes([3; 16])));
    for (claim, name) in [(other_machine, "machine"), (other_file, "file"), (other_store, "store")] {
        let folder = claimed();
        let store = store(&folder);
        let error = inspect(&*store, &layout(), &claim).unwrap_err();
        let right = match name {
            "machine" => matches!(error, IdentityError::OtherMachine { .. }),
            "file" => matches!(error, IdentityError::OtherPlan { .. }),
            _ => matches!(error, IdentityError::OtherStore { .. }),
        };
        assert!(right && error.to_string().contains("--adopt"), "{error}");
        assert!(identity::claim(&*store, &layout(), &claim).is_err());
        let adopting = Claim { adopt: true, ..claim.clone() };
        let format = identity::claim(&*store, &layout(), &adopting).unwrap();
        assert_eq!(format.id, plan_id());
        let after = Claim { known: Some(format.id), ..claim };
        assert!(matches!(inspect(&*store, &layout(), &after).unwrap(), Standing::Ours(_)));
    }
}

#[test]
fn a_store_that_was_seen_and_is_empty_is_the_wrong_disk() {
    let folder = SimulatedFolder::default();
    let error = inspect(&*store(&folder), &layout(), &claim(Some(plan_id()))).unwrap_err();
    assert!(matches!(error, IdentityError::WrongDisk { .. }), "{error}");
    let adopting = Claim { adopt: true, ..claim(Some(plan_id())) };
    assert_eq!(inspect(&*store(&folder), &layout(), &adopting).unwrap(), Standing::New);
    assert!(folder.files().is_empty(), "a look writes nothing");
}

#[test]
fn backups_without_a_format_are_not_taken_for_a_new_store() {
    let folder = SimulatedFolder::default();
    run(&folder, &Job::new(1, 1), None);
    store(&folder).delete(&layout().format()).unwrap();
    let error = inspect(&*store(&folder), &layout(), &claim(None)).unwrap_err();
    assert!(matches!(error, IdentityError::FormatMissing { .. }), "{error}");
}

#[test]
fn damage_and_newer_formats_are_told_apart() {
    let folder = claimed();
    let store = store(&folder);
    store.replace(&layout().format(), b"}{").unwrap();
    assert!(matches!(inspect(&*store, &layout(), &claim(None)), Err(IdentityError::Damaged { .. })));
    store.replace(&layout().format(), b"format: 3\nmin_reader: 2\n").unwrap();
    let error = inspect(&*store, &layout(), &claim(None)).unwrap_err();
    assert!(matches!(error, IdentityError::Newer { min_reader: 2, .. }), "{error}");
}

#[test]
fn a_missing_folder_is_made_only_where_it_was_never_seen() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("backups");
    let secrets = Secrets::default();
    let made = |path: &Path, known, adopt| {
        let declared = declared(path);
        identity::open(&declared, &secrets, known, adopt)?
            .made(&declared, &secrets)
            .map_err(IdentityError::from)
    };
    let error = made(&path, Some(plan_id()), false).map(drop).unwrap_err();
    assert!(matches!(error, IdentityError::FolderMissing { .. }), "{error}");
    assert!(!path.exists());
    let looked = identity::open(&declared(&path), &secrets, None, false).unwrap();
    assert!(looked.store().is_err() && !path.exists());
    let _ = made(&path, None, false).unwrap();
    std::fs::remove_dir(&path).unwrap();
    let _ = made(&path, Some(plan_id()), true).unwrap();
    let orphan = made(&path.join("a/b"), None, false);
    assert!(matches!(orphan, Err(IdentityError::Store(error)) if error.kind == StoreErrorKind::Absent));
    assert_eq!(machine().name, "here");
}
