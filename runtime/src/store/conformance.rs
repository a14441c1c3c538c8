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
    let tests: [(&str, Test); 17] = [
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
        ("entries", entries),
        ("own", own),
        ("again", again),
        ("give_up", give_up),
        ("held", held),
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
    // What is said to come may be too little, far too much, or nothing.
    for about in [None, Some(3), Some(1 << 40)] {
        upload_about(store, about);
        store.delete(&name("big")).unwrap();
    }
    let empty = store.upload(&name("empty"), &name("tmp/1/empty"), Some(20_000_000)).unwrap();
    assert_eq!(empty.finish().unwrap(), Creation::Created);
    assert_eq!(store.size(&name("empty")).unwrap(), Some(0));
}

fn upload_about(store: &Arc<dyn Store>, about: Option<u64>) {
    let block: Vec<u8> = (0..1_000_003_u32).map(|i| (i % 251) as u8).collect();
    let mut upload = store.upload(&name("big"), &name("tmp/1/big"), about).unwrap();
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
}

fn upload_aborts(store: &Arc<dyn Store>) {
    let mut upload = store.upload(&name("x"), &name("tmp/1/x"), None).unwrap();
    upload.write(b"half").unwrap();
    drop(upload);
    assert!(names(store, None).is_empty());
    // What a killed attempt left does not stand in the next one's way.
    let mut first = store.upload(&name("x"), &name("tmp/1/x"), None).unwrap();
    first.write(b"a longer first attempt").unwrap();
    std::mem::forget(first);
    let mut second = store.upload(&name("x"), &name("tmp/1/x"), None).unwrap();
    second.write(b"second").unwrap();
    assert_eq!(second.finish().unwrap(), Creation::Created);
    assert_eq!(store.read(&name("x")).unwrap(), b"second");
}

fn upload_exists(store: &Arc<dyn Store>) {
    assert_eq!(store.create(&name("x"), b"first").unwrap(), Creation::Created);
    let mut upload = store.upload(&name("x"), &name("tmp/1/x"), None).unwrap();
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

/// What stands directly in a folder, with its size.
fn entries(store: &Arc<dyn Store>) {
    for object in ["f/b", "f/a", "f/sub/x", "f/sub/deep/y", "f-", "g"] {
        assert_eq!(store.create(&name(object), object.as_bytes()).unwrap(), Creation::Created);
    }
    let seen = |folder: &str| {
        let entries = store.entries(&name(folder)).unwrap();
        entries.into_iter().map(|entry| (entry.name.to_string(), entry.kind)).collect::<Vec<_>>()
    };
    let (file, folder) =
        (|at: &str| (at.to_owned(), Kind::File(at.len() as u64)), |at: &str| (at.to_owned(), Kind::Folder));
    assert_eq!(seen("f"), [file("f/a"), file("f/b"), folder("f/sub")]);
    assert_eq!(seen("f/sub"), [folder("f/sub/deep"), file("f/sub/x")]);
    assert!(seen("none").is_empty() && seen("f/none").is_empty());
    let root: Vec<_> =
        store.root().unwrap().into_iter().map(|entry| (entry.name.to_string(), entry.kind)).collect();
    assert_eq!(root, [folder("f"), file("f-"), file("g")]);
    // A listing hands on each object once, whatever the order.
    let mut handed = Vec::new();
    store.each(None, &mut |object| handed.push((object.name.to_string(), object.size))).unwrap();
    handed.sort();
    let all = ["f-", "f/a", "f/b", "f/sub/deep/y", "f/sub/x", "g"];
    assert_eq!(handed, all.map(|at| (at.to_owned(), at.len() as u64)));
}

/// A store of objects alone says so, takes something, and is where it is; a sweep takes no object.
fn own(store: &Arc<dyn Store>) {
    store.may_write().unwrap();
    store.in_place().unwrap();
    assert!(store.root().unwrap().is_empty(), "asking whether it takes anything leaves nothing");
    for object in ["s/x", "s/sub/y", "z"] {
        assert_eq!(store.create(&name(object), b"x").unwrap(), Creation::Created);
    }
    assert!(store.strange(None).unwrap().is_empty());
    assert!(store.strange(Some(&name("s"))).unwrap().is_empty());
    assert!(store.strange(Some(&name("none"))).unwrap().is_empty());
    for folder in ["s", "s/sub", "none"] {
        assert_eq!(store.sweep(&name(folder)).unwrap(), 0);
    }
    assert_eq!(names(store, None), ["s/sub/y", "s/x", "z"]);
}

/// Bytes that another object has are in the new one, however they came there, and the other one stays as it is.
fn again(store: &Arc<dyn Store>) {
    let base: Vec<u8> = (0..12_000_017_u32).map(|i| (i % 249) as u8).collect();
    let mut upload = store.upload(&name("base"), &name("tmp/1/base"), None).unwrap();
    upload.write(&base).unwrap();
    assert_eq!(upload.finish().unwrap(), Creation::Created);
    // A run of its own at the beginning, one that is patched, and a long one that is handed on in pieces.
    let mut upload = store.upload(&name("next"), &name("tmp/2/next"), None).unwrap();
    let _ = upload.copies();
    upload.write(b"a new beginning").unwrap();
    upload.again(&name("base"), 100, &base[100..200]).unwrap();
    upload.write(&[7; 1000]).unwrap();
    for piece in (1_000_000..11_000_000).step_by(1_000_000) {
        upload.again(&name("base"), piece as u64, &base[piece..piece + 1_000_000]).unwrap();
    }
    upload.write(b"end").unwrap();
    let expected =
        [b"a new beginning", &base[100..200], &[7; 1000], &base[1_000_000..11_000_000], b"end"].concat();
    assert_eq!(upload.finish().unwrap(), Creation::Created);
    assert!(store.read(&name("next")).unwrap() == expected);
    assert!(store.read(&name("base")).unwrap() == base);
    // From a file of this host.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&base).unwrap();
    let mut upload = store.upload(&name("copied"), &name("tmp/3/copied"), None).unwrap();
    upload.write(b"head").unwrap();
    upload.copy_from(&file, 5, 9_000_000).unwrap();
    assert_eq!(upload.finish().unwrap(), Creation::Created);
    assert!(store.read(&name("copied")).unwrap() == [b"head", &base[5..9_000_005]].concat());
}

/// What a dead run began is given up, what another one is sending is not, and none of it is an object.
fn give_up(store: &Arc<dyn Store>) {
    let block = vec![5; 20_000_000];
    let begin = |object: &str| {
        let mut upload = store.upload(&name(object), &name(&format!("tmp/1/{object}")), None).unwrap();
        upload.write(&block).unwrap();
        upload
    };
    std::mem::forget(begin("dead"));
    let living = begin("living");
    let given_up = store.give_up(&name("dead")).unwrap();
    assert!(given_up <= 1, "{given_up}");
    assert_eq!(store.give_up(&name("dead")).unwrap(), 0);
    assert_eq!(store.give_up(&name("none")).unwrap(), 0);
    assert_eq!(store.size(&name("dead")).unwrap(), None);
    assert_eq!(living.finish().unwrap(), Creation::Created);
    assert_eq!(store.size(&name("living")).unwrap(), Some(block.len() as u64));
    assert_eq!(begin("dead").finish().unwrap(), Creation::Created);
}

/// A store that holds objects itself says so; one that does not leaves it as it is.
fn held(store: &Arc<dyn Store>) {
    let object = name("locked");
    assert_eq!(store.create(&object, b"x").unwrap(), Creation::Created);
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let is_held = store.hold(&object, until).unwrap();
    assert_eq!(store.hold(&object, until).unwrap(), is_held);
    assert_eq!(store.read(&object).unwrap(), b"x");
    if !is_held {
        store.delete(&object).unwrap();
        assert!(names(store, None).is_empty());
    }
}
