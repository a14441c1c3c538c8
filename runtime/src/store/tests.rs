//! The folder store on real folders, and the simulation that stands for them.

#![allow(clippy::unwrap_used)]

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::io::Errno;

use super::below::Below;
use super::conformance::conforms;
use super::dir::DirStore;
use super::fs::FileSystem;
use super::simulated::{Fault, SimulatedFolder, Survival};
use super::{Creation, Name, ReadStore, Store, StoreErrorKind};
use crate::control::Control;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn open(path: &Path) -> DirStore {
    DirStore::open("local", path).unwrap()
}

#[test]
fn a_folder_conforms() {
    let scratch = tempfile::tempdir().unwrap();
    conforms(&|| Arc::new(open(&tempfile::tempdir_in(&scratch).unwrap().keep())));
}

#[test]
fn a_folder_on_another_file_system_conforms() {
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    conforms(&|| Arc::new(open(&tempfile::tempdir_in(&scratch).unwrap().keep())));
}

#[test]
fn a_simulated_folder_conforms() {
    conforms(&|| Arc::new(SimulatedFolder::default().store("simulated")));
}

#[test]
fn a_file_system_that_cannot_rename_without_replacing_conforms() {
    conforms(&|| Arc::new(SimulatedFolder::default().without_rename_new().store("simulated")));
}

#[test]
fn a_file_system_without_second_names_conforms() {
    conforms(&|| Arc::new(SimulatedFolder::default().without_links().store("simulated")));
}

#[test]
fn a_part_of_a_store_conforms_as_a_whole_one_does() {
    conforms(&|| {
        let whole = SimulatedFolder::default().store("simulated");
        assert_eq!(whole.create(&name("beside/it"), b"x").unwrap(), Creation::Created);
        Arc::new(Below::new(Arc::new(whole), name("below/it")))
    });
}

#[test]
fn a_missing_folder_is_absent_and_only_its_last_component_is_made() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a/b");
    let error = DirStore::open("local", &path).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Absent);
    let text = error.to_string();
    assert!(
        text.starts_with("store `local`: open `") && text.contains("No such file or directory"),
        "{text}"
    );
    assert_eq!(DirStore::create("local", &path).unwrap_err().kind, StoreErrorKind::Absent);
    std::fs::create_dir(scratch.path().join("a")).unwrap();
    DirStore::create("local", &path).unwrap();
    DirStore::create("local", &path).unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(DirStore::open("local", &file).unwrap_err().kind, StoreErrorKind::Other);
}

#[test]
fn a_folder_removed_under_the_store_is_unreachable() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("store");
    let store = DirStore::create("local", &path).unwrap();
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(store.create(&name("a/b"), b"x").unwrap_err().kind, StoreErrorKind::Unreachable);
    assert_eq!(store.upload(&name("x"), &name("t"), None).unwrap_err().kind, StoreErrorKind::Unreachable);
}

#[test]
fn no_symlink_leads_out() {
    let scratch = tempfile::tempdir().unwrap();
    let (inside, outside) = (scratch.path().join("store"), scratch.path().join("outside"));
    std::fs::create_dir(&inside).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, inside.join("folder")).unwrap();
    symlink(outside.join("secret"), inside.join("link")).unwrap();
    symlink(outside.join("nothing"), inside.join("dangling")).unwrap();
    let store = open(&inside);
    for object in ["folder/secret", "link", "dangling"] {
        assert!(store.read(&name(object)).is_err(), "{object}");
        assert!(store.size(&name(object)).is_err(), "{object}");
    }
    assert!(store.create(&name("folder/new"), b"x").is_err());
    assert!(store.delete(&name("folder/secret")).is_err());
    assert_eq!(store.create(&name("link"), b"x").unwrap(), Creation::Exists);
    assert_eq!(store.create(&name("dangling"), b"x").unwrap(), Creation::Exists);
    store.replace(&name("dangling"), b"x").unwrap();
    assert!(!outside.join("nothing").exists());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(store.list(None).unwrap().len(), 1);
    // The store's own path may be one.
    let alias = scratch.path().join("alias");
    symlink(&inside, &alias).unwrap();
    assert_eq!(open(&alias).read(&name("dangling")).unwrap(), b"x");
}

#[test]
fn what_is_no_file_does_not_hang_and_is_no_object() {
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::fs::create_dir(scratch.path().join("folder")).unwrap();
    let store = open(scratch.path());
    assert!(store.read(&name("fifo")).is_err());
    assert!(store.read(&name("folder")).is_err());
    assert!(store.size(&name("folder")).is_err());
    assert!(store.list(None).unwrap().is_empty());
    assert_eq!(store.create(&name("folder"), b"x").unwrap(), Creation::Exists);
}

#[test]
fn artefacts_are_for_the_group_and_the_rest_for_the_owner() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path());
    let object = name(".backplan/p/manifests/m");
    assert_eq!(store.create(&object, b"x").unwrap(), Creation::Created);
    let mut upload = store.upload(&name("streamed"), &name(".backplan/p/tmp/r/streamed"), None).unwrap();
    upload.write(b"x").unwrap();
    assert_eq!(upload.finish().unwrap(), Creation::Created);
    let staged = scratch.path().join("staged");
    std::fs::write(&staged, "x").unwrap();
    std::fs::set_permissions(&staged, Permissions::from_mode(0o777)).unwrap();
    let put = store.put_file(&staged, &name(".backplan/p/tmp/r/put"), &name("put"), &Control::default());
    assert_eq!(put.unwrap(), Creation::Created);
    let mode = |path: &str| std::fs::metadata(scratch.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode(object.as_str()), 0o600);
    assert_eq!(mode(".backplan/p/manifests"), 0o700);
    for artefact in ["streamed", "put"] {
        assert_eq!(mode(artefact) & !0o640, 0, "{artefact}");
        assert_eq!(mode(artefact) & 0o600, 0o600, "{artefact}");
    }
    assert!(!scratch.path().join(".backplan/p/tmp/r").exists());
}

#[test]
fn a_staged_file_is_linked_once_and_copied_then() {
    let scratch = tempfile::tempdir().unwrap();
    let staged = scratch.path().join("staged");
    std::fs::write(&staged, "contents").unwrap();
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    for store in ["one", "two"] {
        let folder = scratch.path().join(store);
        let store = DirStore::create(store, &folder).unwrap();
        let put = store.put_file(&staged, &name("t/x"), &name("x"), &Control::default());
        assert_eq!(put.unwrap(), Creation::Created);
        assert_eq!(std::fs::read(folder.join("x")).unwrap(), b"contents");
    }
    assert_eq!(inode(&scratch.path().join("one/x")), inode(&staged));
    assert_ne!(inode(&scratch.path().join("two/x")), inode(&staged));
}

#[test]
fn what_interrupted_writes_left_is_not_listed_and_is_swept() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path());
    assert_eq!(store.create(&name("a/b/x"), b"x").unwrap(), Creation::Created);
    std::fs::write(scratch.path().join("a/b/.new-0123456789abcdef"), "half").unwrap();
    std::fs::write(scratch.path().join("a/.new-of-somebody-else"), "").unwrap();
    let listed = store.list(None).unwrap();
    let listed: Vec<&str> = listed.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(listed, ["a/.new-of-somebody-else", "a/b/x"]);
    assert_eq!(store.sweep(&name("a")).unwrap(), 1);
    assert_eq!(store.sweep(&name("a")).unwrap(), 0);
}

/// A file system of its own, unmounted at the end.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn tmpfs(size: &str) -> Mounted {
        let mounted = Mounted(tempfile::tempdir().unwrap());
        let options = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        assert!(Command::new("mount").args(arguments).arg(mounted.0.path()).status().unwrap().success());
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_said_to_be_full_and_keeps_nothing_half() {
    let disk = Mounted::tmpfs("2m");
    let store = open(disk.0.path());
    assert_eq!(store.create(&name("kept"), b"kept").unwrap(), Creation::Created);
    let mut upload = store.upload(&name("x"), &name("tmp/x"), None).unwrap();
    let error =
        std::iter::repeat_with(|| upload.write(&[7; 100_000])).take(50).find_map(Result::err).unwrap();
    assert_eq!(error.kind, StoreErrorKind::Full);
    assert!(error.to_string().contains("No space left on device"), "{error}");
    drop(upload);
    let big = tempfile::NamedTempFile::new().unwrap();
    big.as_file().set_len(5 << 20).unwrap();
    let put = store.put_file(big.path(), &name("tmp/y"), &name("y"), &Control::default());
    assert_eq!(put.unwrap_err().kind, StoreErrorKind::Full);
    assert_eq!(store.create(&name("z"), &[7; 3 << 20]).unwrap_err().kind, StoreErrorKind::Full);
    let listed = store.list(None).unwrap();
    assert_eq!(listed.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["kept"]);
    assert_eq!(store.sweep(&name("tmp")).unwrap(), 0);
    assert_eq!(store.create(&name("after"), &[7; 1 << 20]).unwrap(), Creation::Created);
}

#[test]
fn a_read_only_disk_denies() {
    let disk = Mounted::tmpfs("2m");
    let store = open(disk.0.path());
    assert_eq!(store.create(&name("a/kept"), b"kept").unwrap(), Creation::Created);
    let remount = ["-o", "remount,ro"];
    assert!(Command::new("mount").args(remount).arg(disk.0.path()).status().unwrap().success());
    let store = open(disk.0.path());
    assert_eq!(store.create(&name("a/x"), b"x").unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(store.create(&name("b/x"), b"x").unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(store.replace(&name("a/kept"), b"x").unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(store.delete(&name("a/kept")).unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(store.upload(&name("x"), &name("t"), None).unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(store.read(&name("a/kept")).unwrap(), b"kept");
}

#[test]
fn every_single_failing_operation_is_told_and_leaves_all_or_nothing() {
    let rehearsal = SimulatedFolder::default();
    assert_eq!(rehearsal.store("s").create(&name("a/b/x"), b"contents").unwrap(), Creation::Created);
    for operation in 0..rehearsal.tried() {
        for fault in [Fault::Fails(Errno::IO), Fault::DoneButFails(Errno::TIMEDOUT)] {
            let folder = SimulatedFolder::default();
            folder.inject(operation, fault);
            let store = folder.store("s");
            assert!(store.create(&name("a/b/x"), b"contents").is_err(), "{operation} {fault:?}");
            let there = store.size(&name("a/b/x")).unwrap().is_some();
            let expected = if there { Creation::Exists } else { Creation::Created };
            assert_eq!(store.create(&name("a/b/x"), b"contents").unwrap(), expected, "{operation} {fault:?}");
            // Whatever went wrong before: what says it is there survives the power cut.
            let cut = folder.crashed_after(folder.operations(), Survival::Synced);
            assert_eq!(cut.store("s").read(&name("a/b/x")).unwrap(), b"contents", "{operation} {fault:?}");
        }
    }
}

#[test]
fn what_returned_survives_a_power_cut() {
    let folder = SimulatedFolder::default();
    let store = folder.store("s");
    assert_eq!(store.create(&name("a/created"), b"1").unwrap(), Creation::Created);
    store.replace(&name("a/replaced"), b"old").unwrap();
    store.replace(&name("a/replaced"), b"new").unwrap();
    let mut upload = store.upload(&name("uploaded"), &name("tmp/u"), None).unwrap();
    upload.write(b"uploaded").unwrap();
    assert_eq!(upload.finish().unwrap(), Creation::Created);
    assert_eq!(store.create(&name("b/deleted"), b"1").unwrap(), Creation::Created);
    store.delete(&name("b/deleted")).unwrap();
    for survival in (0..50).map(Survival::Torn).chain([Survival::Synced, Survival::Everything]) {
        let cut = folder.crashed_after(folder.operations(), survival).store("s");
        assert_eq!(cut.read(&name("a/created")).unwrap(), b"1");
        assert_eq!(cut.read(&name("a/replaced")).unwrap(), b"new");
        assert_eq!(cut.read(&name("uploaded")).unwrap(), b"uploaded");
        assert_eq!(cut.size(&name("b/deleted")).unwrap(), None);
    }
}

#[test]
fn the_simulation_loses_what_was_not_synced() {
    let folder = SimulatedFolder::default();
    folder.make_folder("a").unwrap();
    folder.plant("a/x", b"x").unwrap();
    assert!(folder.crashed_after(folder.operations(), Survival::Synced).files().is_empty());
    folder.sync_folder("").unwrap();
    assert_eq!(folder.crashed_after(folder.operations(), Survival::Synced).files().len(), 1);
    folder.inject(folder.tried(), Fault::PowerCut);
    assert!(folder.unlink("a/x").is_err());
    assert!(folder.read("a/x", 0, 1).is_err());
}
