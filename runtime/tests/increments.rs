//! What is packed in regard to an earlier artefact restores exactly what was there, whatever had changed.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backplan_compiler::model::Compare;
use backplan_runtime::artefact::{CopyBase, PackError, Shape, plan_changes};
use backplan_runtime::control::Control;
use backplan_runtime::scan::{Doubts, Warnings};
use rustix::fs::XattrFlags;
use support::moments::{Moments, doubts};
use support::{is_root, nasty, noise, open};

fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn some_files(top: &Path) {
    for number in 0..60 {
        write(top.join(format!("folder {}/deep/er/file {number}", number % 3)), noise(20_000, number));
    }
    write(top.join("large"), noise(1_700_000, 3));
    write(top.join("names/a.b/x"), "1");
    write(top.join("names/a/x"), "2");
    write(top.join("names/a-b/x"), "3");
    write(top.join("file"), "file");
    symlink("file", top.join("link")).unwrap();
}

#[test]
fn changed_added_deleted_renamed() {
    let mut moments = Moments::new(some_files);
    let tree = moments.tree();
    moments.check();
    write(tree.join("folder 1/deep/er/file 1"), "changed");
    write(tree.join("folder 0/new"), "new");
    moments.check();
    assert_eq!(
        moments.held(),
        [
            "s/tree/folder 0",
            "s/tree/folder 0/new",
            "s/tree/folder 1/deep/er",
            "s/tree/folder 1/deep/er/file 1"
        ]
    );
    assert_eq!(moments.deleted(), [""; 0]);
    let packed = &moments.whole[1].1;
    assert!(packed.copied > 1_000_000, "{packed:?}");
    let counts = packed.sources[0].counts;
    assert_eq!((counts.added, counts.changed, counts.deleted), (1, 2, 0), "{counts:?}");
    fs::remove_file(tree.join("folder 2/deep/er/file 2")).unwrap();
    fs::remove_dir_all(tree.join("names/a")).unwrap();
    fs::rename(tree.join("large"), tree.join("names/larger")).unwrap();
    moments.check();
    assert_eq!(moments.deleted(), ["s/tree/folder 2/deep/er/file 2", "s/tree/large", "s/tree/names/a"]);
    fs::rename(tree.join("folder 1"), tree.join("folder 9")).unwrap();
    write(tree.join("names/larger"), noise(1_200_000, 4));
    moments.check();
    moments.check();
    assert!(moments.whole.last().unwrap().1.unchanged);
    fs::remove_dir_all(tree.join("folder 9")).unwrap();
    fs::remove_dir_all(tree.join("folder 0")).unwrap();
    moments.check();
    fs::remove_dir_all(tree.join("folder 2")).unwrap();
    fs::remove_dir_all(tree.join("names")).unwrap();
    fs::remove_file(tree.join("file")).unwrap();
    fs::remove_file(tree.join("link")).unwrap();
    moments.check();
}

#[test]
fn one_kind_becomes_another_and_is_turned_back() {
    let mut moments = Moments::new(some_files);
    let tree = moments.tree();
    moments.check();
    fs::remove_file(tree.join("file")).unwrap();
    write(tree.join("file/inside/it"), "was a file");
    fs::remove_dir_all(tree.join("names/a")).unwrap();
    write(tree.join("names/a"), "was a folder");
    fs::remove_file(tree.join("link")).unwrap();
    fs::create_dir(tree.join("link")).unwrap();
    fs::remove_dir_all(tree.join("folder 1")).unwrap();
    symlink("file/inside", tree.join("folder 1")).unwrap();
    moments.check();
    assert_eq!(moments.deleted(), ["s/tree/file", "s/tree/folder 1", "s/tree/link", "s/tree/names/a"]);
    fs::remove_dir_all(tree.join("file")).unwrap();
    write(tree.join("file"), "a file again");
    fs::remove_file(tree.join("names/a")).unwrap();
    write(tree.join("names/a/x"), "2");
    fs::remove_dir(tree.join("link")).unwrap();
    symlink("elsewhere", tree.join("link")).unwrap();
    moments.check();
}

#[test]
fn only_modes_owners_attributes_and_times_change() {
    let mut moments = Moments::new(some_files);
    let tree = moments.tree();
    moments.check();
    let one = |moments: &mut Moments, path: &str, change: &dyn Fn(&Path)| {
        change(&tree.join(path));
        moments.check();
        let held = moments.held();
        assert!(held.contains(&format!("s/tree/{path}")) && held.len() <= 2, "{held:?}");
        assert_eq!(moments.whole.last().unwrap().1.sources[0].counts.changed, 1);
    };
    one(&mut moments, "names/a/x", &|path| mode(path, 0o4751));
    one(&mut moments, "names/a", &|path| mode(path, 0o700));
    let attribute = |path: &Path| rustix::fs::setxattr(path, "user.a", b"1", XattrFlags::empty()).unwrap();
    one(&mut moments, "names/a.b/x", &attribute);
    one(&mut moments, "folder 0/deep", &attribute);
    one(&mut moments, "large", &attribute);
    one(&mut moments, "names/a.b/x", &|path| rustix::fs::removexattr(path, "user.a").unwrap());
    let old = std::time::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    one(&mut moments, "folder 0/deep/er/file 3", &|path| {
        fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    });
    if is_root() {
        let own = |path: &Path| std::os::unix::fs::lchown(path, Some(1234), Some(4321)).unwrap();
        one(&mut moments, "folder 2/deep/er/file 2", &own);
        one(&mut moments, "folder 2/deep", &own);
        one(&mut moments, "link", &own);
    }
}

#[test]
fn groups_of_hard_links_change_in_every_way() {
    let mut moments = Moments::new(|top| {
        some_files(top);
        for name in ["small", "big", "calm"] {
            let size = if name == "big" { 1_300_000 } else { 100 };
            write(top.join(format!("links/{name}")), noise(size, 7));
            fs::hard_link(top.join(format!("links/{name}")), top.join(format!("links/{name} 2"))).unwrap();
            fs::hard_link(top.join(format!("links/{name}")), top.join(format!("folder 0/{name} 3"))).unwrap();
        }
    });
    let tree = moments.tree();
    let at = |name: &str| tree.join(name);
    moments.check();
    let calm = |moments: &Moments| {
        let held = moments.held();
        assert!(!held.iter().any(|path| path.contains("calm")), "{held:?}");
    };
    fs::hard_link(at("links/big"), at("links/a new name")).unwrap();
    moments.check();
    calm(&moments);
    assert!(moments.held().iter().filter(|path| path.contains("big")).count() == 3);
    fs::remove_file(at("links/big")).unwrap();
    write(at("links/small 2"), "all of them change");
    moments.check();
    calm(&moments);
    fs::remove_file(at("folder 0/small 3")).unwrap();
    write(at("folder 0/small 3"), "on its own now");
    moments.check();
    fs::remove_file(at("links/small 2")).unwrap();
    moments.check();
    fs::hard_link(at("folder 0/small 3"), at("links/small 2")).unwrap();
    fs::rename(at("links/big 2"), at("links/renamed")).unwrap();
    moments.check();
    // Two groups change places without changing their sizes.
    fs::remove_file(at("links/calm 2")).unwrap();
    fs::remove_file(at("links/small 2")).unwrap();
    fs::hard_link(at("links/calm"), at("links/small 2")).unwrap();
    fs::hard_link(at("folder 0/small 3"), at("links/calm 2")).unwrap();
    moments.check();
    // A neighbour in the members of names changes, the names do not.
    write(at("links/zz"), "x");
    moments.check();
    write(at("links/zz"), "y");
    moments.check();
    // A name that is excluded is gone, though nothing about its file changed.
    moments.files = support::files(&[&tree], &["a new name"]);
    moments.scan();
    moments.pack_all();
    assert!(moments.deleted().contains(&"s/tree/links/a new name".to_string()));
    fs::remove_file(at("links/a new name")).unwrap();
    moments.check();
}

#[test]
fn all_that_makes_a_file_a_file_survives_a_chain() {
    let mut moments = Moments::new(|top| nasty(top, false));
    moments.with_tar = false;
    let tree = moments.tree();
    moments.check();
    write(tree.join("sizes/tiny 77"), "seventy-seven");
    fs::remove_file(tree.join("sizes/tiny 78")).unwrap();
    let sparse = fs::File::options().write(true).open(tree.join("sparse")).unwrap();
    sparse.write_all_at(b"in a hole", 30 << 20).unwrap();
    moments.check();
    mode(&tree.join("modes/sticky"), 0o700);
    moments.with_tar = true;
    moments.check();
    let (bytes, packed) = moments.whole.last().unwrap();
    assert!(packed.copied as usize > bytes.len() / 2, "{} of {}", packed.copied, bytes.len());
}

#[test]
fn what_changed_again_right_after_the_walk_is_read_again() {
    let mut moments = Moments::new(some_files);
    moments.check();
    moments.wait = Duration::ZERO;
    let path = moments.tree().join("file");
    let racy = fs::File::options().write(true).open(&path).unwrap();
    for round in 0..20_u32 {
        racy.write_all_at(format!("{round:04}").as_bytes(), 0).unwrap();
        let modified = racy.metadata().unwrap().modified().unwrap();
        moments.scan();
        moments.pack_all();
        // The same size and, by its own word, the same time: and if the clock's tick is coarse, the same ctime.
        racy.write_all_at(format!("{:04}", round + 5000).as_bytes(), 0).unwrap();
        racy.set_modified(modified).unwrap();
        moments.scan();
        moments.pack_all();
    }
    moments.wait = Duration::from_millis(130);
    moments.check();
    moments.check();
    moments.check();
    assert!(moments.whole.last().unwrap().1.unchanged);
}

#[test]
fn what_was_not_packed_as_it_was_seen_is_packed_next_time() {
    let mut moments = Moments::new(some_files);
    moments.with_tar = false;
    let tree = moments.tree();
    moments.check();
    // Between the walk and the packing: gone, grown, another kind, another time, and one of a group gone.
    write(tree.join("group"), "group");
    fs::hard_link(tree.join("group"), tree.join("group 2")).unwrap();
    write(tree.join("will go"), "x");
    for number in [0, 3, 6, 9] {
        write(tree.join(format!("folder 0/deep/er/file {number}")), "changed");
    }
    moments.scan();
    fs::remove_file(tree.join("will go")).unwrap();
    fs::remove_file(tree.join("group")).unwrap();
    fs::remove_file(tree.join("folder 0/deep/er/file 0")).unwrap();
    write(tree.join("folder 0/deep/er/file 3"), noise(900_000, 1));
    fs::remove_file(tree.join("folder 0/deep/er/file 6")).unwrap();
    fs::create_dir(tree.join("folder 0/deep/er/file 6")).unwrap();
    mode(&tree.join("folder 0/deep/er/file 9"), 0o777);
    moments.pack_all();
    for packed in [&moments.whole[1].1, &moments.previous[1].1, &moments.full[1].1] {
        let source = &packed.sources[0];
        assert_eq!(source.warnings.total(), 4, "{:?}", source.warnings);
        assert_eq!(source.doubts.len(), 6, "{:?}", source.doubts);
    }
    let gone = [
        "s/tree/folder 0/deep/er/file 0",
        "s/tree/folder 0/deep/er/file 6",
        "s/tree/group",
        "s/tree/will go",
    ];
    assert_eq!(moments.deleted(), gone);
    moments.check();
    moments.check();
    assert!(moments.whole.last().unwrap().1.unchanged);
    assert_eq!(moments.whole.last().unwrap().1.sources[0].warnings, Warnings::default());
}

#[test]
fn doubts_make_an_entry_changed() {
    let mut moments = Moments::new(some_files);
    moments.check();
    moments.scan();
    let whole = Shape::Whole { copy_from: Some(moments.copy_base()) };
    let (_, packed) = moments.pack(Some((0, [3, 5].into_iter().collect::<Doubts>())), whole).unwrap();
    assert_eq!(packed.sources[0].counts.changed, 2);
    assert!(!packed.unchanged);
}

#[test]
fn contents_are_compared_where_that_is_asked_for() {
    let mut moments = Moments::new(|top| {
        some_files(top);
        write(top.join("group"), "group");
        fs::hard_link(top.join("group"), top.join("group 2")).unwrap();
    });
    moments.check();
    moments.scan();
    moments.compare = Compare::Checksum;
    let options = |moments: &Moments| {
        moments.options(Shape::Difference { base: Some(Arc::new(open(&moments.whole[0].0))) })
    };
    let known = doubts(&moments.whole[0].1);
    let same =
        plan_changes(&[moments.input(Some((0, known.clone())))], &options(&moments), &Control::default());
    assert!(same.unwrap().is_unchanged());
    // A base that holds something else under the same names and times.
    let other = Moments::new(some_files);
    fs::write(other.tree().join("file"), "FILE").unwrap();
    let base = support::pack_tree(&other.tree(), other.scratch.path()).0;
    let options = moments.options(Shape::Difference { base: Some(Arc::new(open(&base))) });
    let changes =
        plan_changes(&[moments.input(Some((0, known.clone())))], &options, &Control::default()).unwrap();
    assert_eq!(changes.counts().changed, 3, "{changes:?}");
    let blind = moments.options(Shape::Difference { base: None });
    let changes = plan_changes(&[moments.input(Some((0, known)))], &blind, &Control::default()).unwrap();
    assert_eq!(changes.counts().changed, 67, "every file, if there is nothing to compare with");
}

#[test]
fn a_base_that_is_damaged_or_another_is_a_typed_error() {
    let mut moments = Moments::new(some_files);
    moments.check();
    let tree = moments.tree();
    write(tree.join("folder 1/deep/er/file 1"), "changed");
    moments.scan();
    let known = || Some((0, doubts(&moments.whole[0].1)));
    let good = moments.whole[0].0.clone();
    let artefact = open(&good);
    let large = artefact.find(b"s/tree/large").unwrap().unwrap();
    let mut damaged = good.clone();
    damaged[large.place as usize + 1000] ^= 1;
    let with = |bytes: &[u8]| Shape::Whole {
        copy_from: Some(CopyBase { artefact: Arc::new(open(bytes)), file: None }),
    };
    let error = moments.pack(known(), with(&damaged)).unwrap_err();
    assert!(matches!(error, PackError::Base(_)), "{error}");
    let other = Moments::new(|top| write(top.join("other"), "x"));
    let base = support::pack_tree(&other.tree(), other.scratch.path()).0;
    let error = moments.pack(known(), with(&base)).unwrap_err();
    assert!(matches!(error, PackError::Base(_)), "{error}");
    fs::write(moments.scratch.path().join("0.scan"), "no scan").unwrap();
    let error = moments.pack(known(), with(&good)).unwrap_err();
    assert!(matches!(error, PackError::BaseScan { .. }), "{error}");
    moments.pack(None, with(&good)).unwrap();
}
