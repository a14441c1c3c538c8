//! What every store must do, whatever it is made of: one suite for all of them.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fs::Kind;
use super::{Creation, Name, Store, StoreErrorKind};
use crate::control::Control;

type Test = fn(&Arc<dyn Store>);

/// Runs the suite; `make` makes a new, empty store each time.
pub(crate) fn conforms(make: &dyn Fn() -> Arc<dyn Store>) {
    let tests: [(&str, Test); 12] = [
        ("absent", absent),
        ("create", create),
        ("one_winner", one_winner),
        ("replace", replace),
        ("ranges", ranges),
        ("listing", listing),
        ("odd_names", odd_names),
        ("upload", upload),
        ("upload_aborts", upload_aborts),
        ("upload_exists", upload_exists),
        ("put_file", put_file),
        ("delete", delete),
    ];
    for (name, test) in tests {
        eprintln!("conformance: {name}");
        test(&make());
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn names(store: &Arc<dyn Store>, folder: Option<&str>) -> Vec<String> {
    let listed = store.list(folder.map(name).as_ref()).unwrap();
    listed.into_iter().map(|object| object.name.to_string()).collect()
}

fn absent(store: &Arc<dyn Store>) {
    let nothing = name("a/b/nothing");
    assert_eq!(store.size(&nothing).unwrap(), None);
    assert_eq!(store.read(&nothing).unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(store.read_range(&nothing, 0, 1).unwrap_err().kind, StoreErrorKind::NotFound);
    assert!(names(store, None).is_empty());
    assert!(names(store, Some("a")).is_empty());
    store.delete(&nothing).unwrap();
    assert_eq!(store.sweep(&name("a")).unwrap(), 0);
}

fn create(store: &Arc<dyn Store>) {
    let object = name("deep/er/object");
    assert_eq!(store.create(&object, b"first").unwrap(), Creation::Created);
    assert_eq!(store.create(&object, b"second").unwrap(), Creation::Exists);
    assert_eq!(store.read(&object).unwrap(), b"first");
    assert_eq!(store.create(&name("empty"), b"").unwrap(), Creation::Created);
    assert_eq!(store.read(&name("empty")).unwrap(), b"");
    assert_eq!(store.size(&name("empty")).unwrap(), Some(0));
    assert_eq!(names(store, None), ["deep/er/object", "empty"]);
}

fn one_winner(store: &Arc<dyn Store>) {
    for round in 0..20 {
        let object = name(&format!("race/{round}"));
        let won = AtomicUsize::new(0);
        let winner = AtomicUsize::new(usize::MAX);
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (object, won, winner) = (&object, &won, &winner);
                scope.spawn(move || {
                    let bytes = format!("{thread:04}").repeat(1000);
                    if store.create(object, bytes.as_bytes()).unwrap() == Creation::Created {
                        won.fetch_add(1, Ordering::SeqCst);
                        winner.store(thread, Ordering::SeqCst);
                    }
                });
            }
        });
        if store.capabilities().atomic_create {
            assert_eq!(won.load(Ordering::SeqCst), 1);
            let bytes = format!("{:04}", winner.load(Ordering::SeqCst)).repeat(1000);
            assert_eq!(store.read(&object).unwrap(), bytes.as_bytes());
        }
    }
    assert_eq!(names(store, Some("race")).len(), 20);
}

fn replace(store: &Arc<dyn Store>) {
    let object = name("x/lease");
    store.replace(&object, b"a longer first text").unwrap();
    store.replace(&object, b"second").unwrap();
    assert_eq!(store.read(&object).unwrap(), b"second");
    assert_eq!(names(store, None), ["x/lease"]);
}

fn ranges(store: &Arc<dyn Store>) {
    let object = name("ranges");
    assert_eq!(store.create(&object, b"0123456789").unwrap(), Creation::Created);
    let read = |offset, len| store.read_range(&object, offset, len).unwrap();
    assert_eq!(read(0, 3), b"012");
    assert_eq!(read(7, 3), b"789");
    assert_eq!(read(7, 100), b"789");
    assert_eq!(read(3, 0), b"");
    assert_eq!(read(10, 1), b"");
    assert_eq!(read(u64::MAX, 5), b"");
}

fn listing(store: &Arc<dyn Store>) {
    for object in ["b", "a/2", "a/1", "a/c/d/e", "a.b", "ab/x", "a-"] {
        assert_eq!(store.create(&name(object), b"x").unwrap(), Creation::Created);
    }
    assert_eq!(names(store, None), ["a-", "a.b", "a/1", "a/2", "a/c/d/e", "ab/x", "b"]);
    assert_eq!(names(store, Some("a")), ["a/1", "a/2", "a/c/d/e"]);
    assert_eq!(names(store, Some("a/c")), ["a/c/d/e"]);
    assert!(names(store, Some("none")).is_empty());
    assert!(store.list(None).unwrap().iter().all(|object| object.size == 1));
    let root = store.root().unwrap();
    let files = root.iter().filter(|entry| entry.kind == Kind::File(1)).map(|entry| entry.name.as_str());
    assert_eq!(files.collect::<Vec<_>>(), ["a-", "a.b", "b"]);
    let folders = root.iter().filter(|entry| entry.kind == Kind::Folder).map(|entry| entry.name.as_str());
    assert_eq!(folders.collect::<Vec<_>>(), ["a", "ab"]);
}

fn odd_names(store: &Arc<dyn Store>) {
    let long = "l".repeat(200);
    let odd = ["with space", "ünïcödé/日本", "-dash", "a%2Fb", "q?x=1#f", "*[x]*", "it's\"", "~", &long];
    for object in odd {
        assert_eq!(store.create(&name(object), object.as_bytes()).unwrap(), Creation::Created);
    }
    for object in odd {
        assert_eq!(store.read(&name(object)).unwrap(), object.as_bytes());
    }
    assert_eq!(names(store, None).len(), odd.len());
    // Not every server takes a control character; what is refused is refused in words, and what is taken is kept.
    let tab = name("tab\there");
    if store.create(&tab, b"x").is_ok() {
        assert_eq!(store.read(&tab).unwrap(), b"x");
    }
}

fn upload(store: &Arc<dyn Store>) {
    let block: Vec<u8> = (0..1_000_003_u32).map(|i| (i % 251) as u8).collect();
    let mut upload = store.upload(&name("big"), &name("tmp/1/big")).unwrap();
    let half = 10 * block.len() as u64;
    for turn in 0..20 {
        if turn == 10 {
            upload.hold(12);
        }
        upload.write(&block).unwrap();
    }
    let mut expected = block.repeat(20);
    upload.patch(half + 5, b"patched").unwrap();
    expected[half as usize + 5..half as usize + 12].copy_from_slice(b"patched");
    assert!(upload.patch(expected.len() as u64 - 1, b"xx").is_err());
    upload.write(b"tail").unwrap();
    expected.extend(b"tail");
    assert_eq!(store.size(&name("big")).unwrap(), None);
    assert_eq!(upload.finish().unwrap(), Creation::Created);
    assert_eq!(store.size(&name("big")).unwrap(), Some(expected.len() as u64));
    assert!(store.read(&name("big")).unwrap() == expected);
    assert_eq!(names(store, None), ["big"]);
    let empty = store.upload(&name("empty"), &name("tmp/1/empty")).unwrap();
    assert_eq!(empty.finish().unwrap(), Creation::Created);
    assert_eq!(store.size(&name("empty")).unwrap(), Some(0));
}

fn upload_aborts(store: &Arc<dyn Store>) {
    let mut upload = store.upload(&name("x"), &name("tmp/1/x")).unwrap();
    upload.write(b"half").unwrap();
    drop(upload);
    assert!(names(store, None).is_empty());
    // What a killed attempt left does not stand in the next one's way.
    let mut first = store.upload(&name("x"), &name("tmp/1/x")).unwrap();
    first.write(b"a longer first attempt").unwrap();
    std::mem::forget(first);
    let mut second = store.upload(&name("x"), &name("tmp/1/x")).unwrap();
    second.write(b"second").unwrap();
    assert_eq!(second.finish().unwrap(), Creation::Created);
    assert_eq!(store.read(&name("x")).unwrap(), b"second");
}

fn upload_exists(store: &Arc<dyn Store>) {
    assert_eq!(store.create(&name("x"), b"first").unwrap(), Creation::Created);
    let mut upload = store.upload(&name("x"), &name("tmp/1/x")).unwrap();
    upload.write(b"second").unwrap();
    assert_eq!(upload.finish().unwrap(), Creation::Exists);
    assert_eq!(store.read(&name("x")).unwrap(), b"first");
    assert_eq!(names(store, None), ["x"]);
}

fn put_file(store: &Arc<dyn Store>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes = b"0123456789abcdef".repeat(200_000);
    file.write_all(&bytes).unwrap();
    let (temporary, object) = (name("tmp/1/x"), name("x"));
    let control = Control::default();
    assert_eq!(store.put_file(file.path(), &temporary, &object, &control).unwrap(), Creation::Created);
    assert_eq!(control.progress().bytes, bytes.len() as u64);
    assert!(store.read(&object).unwrap() == bytes);
    assert_eq!(store.put_file(file.path(), &temporary, &object, &control).unwrap(), Creation::Exists);
    let stopped = Control::default();
    stopped.stop();
    // A second link would be no copy: this one has to be made, and is stopped.
    let error = store.put_file(file.path(), &temporary, &name("y"), &stopped).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Stopped);
    let path = file.path().to_path_buf();
    drop(file);
    assert!(store.read(&object).unwrap() == bytes);
    assert!(store.put_file(&path, &temporary, &name("z"), &control).is_err());
    assert_eq!(names(store, None), ["x"]);
}

fn delete(store: &Arc<dyn Store>) {
    let object = name("a/b/c");
    assert_eq!(store.create(&object, b"x").unwrap(), Creation::Created);
    store.delete(&object).unwrap();
    store.delete(&object).unwrap();
    assert_eq!(store.size(&object).unwrap(), None);
    assert!(names(store, None).is_empty());
    assert_eq!(store.create(&object, b"again").unwrap(), Creation::Created);
    assert_eq!(store.read(&object).unwrap(), b"again");
    // Creations where the folder goes away at the same time, being empty.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..50 {
                    let object = name(&format!("busy/{thread}-{round}"));
                    assert_eq!(store.create(&object, b"x").unwrap(), Creation::Created);
                    store.delete(&object).unwrap();
                }
            });
        }
    });
    assert!(names(store, Some("busy")).is_empty());
}
