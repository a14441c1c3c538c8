//! What is packed in regard to an earlier artefact restores exactly what was there, whatever had changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::moments::{Moments, doubts};
use crate::support::{everything, is_root, nasty, noise, open};
use backplan_archive::artefact::{
    Codec, Content, CopyBase, Depth, Input, PackError, PackOptions, Shape, pack, plan_changes, verify,
};
use backplan_archive::extract::extract;
use backplan_archive::scan::{Doubts, Warnings};
use backplan_compiler::model::Compare;
use backplan_host::control::Control;
use rustix::fs::XattrFlags;

fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

pub fn mode(path: &Path, mode: u32) {
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
    moments.files = crate::support::files(&[&tree], &["a new name"]);
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
    let base = crate::support::pack_tree(&other.tree(), other.scratch.path()).0;
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
    let base = crate::support::pack_tree(&other.tree(), other.scratch.path()).0;
    let error = moments.pack(known(), with(&base)).unwrap_err();
    assert!(matches!(error, PackError::Base(_)), "{error}");
    fs::write(moments.scratch.path().join("0.scan"), "no scan").unwrap();
    let error = moments.pack(known(), with(&good)).unwrap_err();
    assert!(matches!(error, PackError::BaseScan { .. }), "{error}");
    moments.pack(None, with(&good)).unwrap();
}

#[test]
fn members_are_shared_with_the_base_where_blocks_can_be() {
    let Some(disk) = crate::support::reflink::Disk::new() else { return };
    let mut moments = Moments::new(some_files);
    moments.share_blocks = true;
    moments.with_tar = true;
    let tree = moments.tree();
    for number in 0..200 {
        write(tree.join(format!("more/{number}")), noise(100_000, 1000 + number));
    }
    let mut large = noise(8_000_000, 5);
    write(tree.join("large"), &large);
    moments.check();
    let first = disk.path().join("first.tar.gz");
    fs::write(&first, &moments.whole[0].0).unwrap();
    for number in [7, 77, 177] {
        write(tree.join(format!("more/{number}")), noise(100_000, 2000 + number));
    }
    // One of its members changes.
    large[3_000_000] ^= 1;
    write(tree.join("large"), &large);
    moments.check();
    disk.sync();
    let before = disk.used();
    let second = disk.path().join("second.tar.gz");
    let file = Arc::new(fs::File::open(&first).unwrap());
    let base = CopyBase { file: Some(file), ..moments.copy_base_of(0) };
    let packed = moments.pack_to(Some((0, doubts(&moments.whole[0].1))), base, &second);
    assert_eq!(packed.sha256, None);
    disk.sync();
    let added = disk.used() - before;
    let written = packed.size - packed.copied;
    assert!(packed.copied > 22_000_000, "{packed:?}");
    assert!(written < 3_000_000, "{packed:?}");
    assert!(added < written + written / 5 + 65_536, "{added} bytes more on disk for {written} written");
    assert_eq!(fs::read(&second).unwrap(), moments.whole[1].0);
}

#[test]
fn pieces_of_a_large_file_that_did_not_change_are_not_compressed_again() {
    // Text, so that levels differ; three pieces and a bit, one of which changes, and a bit more at the end.
    let mut text: Vec<u8> = (0..200_000_u64).flat_map(|at| format!("{:x} ", at * at).into_bytes()).collect();
    let mut moments = Moments::new(|top| write(top.join("large"), &text));
    moments.check();
    let before = open(&moments.whole[0].0);
    text[600_000] ^= 1;
    text.extend_from_slice(b"more");
    write(moments.tree().join("large"), &text);
    moments.scan();
    let first = moments.scratch.path().join("first.tar.gz");
    fs::write(&first, &moments.whole[0].0).unwrap();
    let base = CopyBase { file: Some(Arc::new(fs::File::open(&first).unwrap())), ..moments.copy_base_of(0) };
    let pack_from = |base: CopyBase| {
        let shape = Shape::Whole { copy_from: Some(base) };
        let options = PackOptions { level: 9, ..moments.options(shape) };
        let mut sink = crate::support::Bytes::default();
        let input = moments.input(Some((0, doubts(&moments.whole[0].1))));
        let packed = pack(vec![input], &options, &mut sink, &Control::default()).unwrap();
        let bytes = std::mem::take(&mut *sink.0.lock().unwrap());
        (packed, bytes)
    };
    let (packed, bytes) = pack_from(base.clone());
    let after = open(&bytes);
    // A third piece's compressed bytes are where they were, in what was made at another level.
    let place = before.find(b"s/tree/large").unwrap().unwrap();
    let middle = (place.place + place.span * 6 / 10) as usize;
    let window = &moments.whole[0].0[middle..middle + 4096];
    let holds = |bytes: &[u8]| bytes.windows(window.len()).any(|here| here == window);
    assert!(holds(&bytes));
    let (fresh, others) = pack_from(moments.copy_base_of(0));
    assert!(!holds(&others), "a base that is no file of this host is not read for it");
    assert!(fresh.copied < 1000, "{fresh:?}");
    assert!(packed.copied > 100_000, "{packed:?}");
    let mut contents = Vec::new();
    after.cat(&after.find(b"s/tree/large").unwrap().unwrap(), &mut contents, &Control::default()).unwrap();
    assert!(contents == text);
    // A base whose disk is not what its index says: nothing of it is taken over, and nothing is lost.
    let mut damaged = moments.whole[0].0.clone();
    for at in (place.place..place.place + place.span).step_by(1000) {
        damaged[at as usize] ^= 1;
    }
    fs::write(&first, damaged).unwrap();
    let (packed, bytes) = pack_from(base);
    assert!(packed.copied < 1000, "{packed:?}");
    let after = open(&bytes);
    let mut contents = Vec::new();
    after.cat(&after.find(b"s/tree/large").unwrap().unwrap(), &mut contents, &Control::default()).unwrap();
    assert!(contents == text);
}

#[test]
fn a_difference_holds_what_changed_of_a_large_file() {
    let mut data = noise(4_000_000, 1);
    let mut moments = Moments::new(|top| {
        write(top.join("data"), noise(4_000_000, 1));
        write(top.join("still"), noise(2_000_000, 2));
        write(top.join("small"), "a");
    });
    moments.blocks = true;
    moments.check();
    let size = |moments: &Moments| moments.previous.last().unwrap().0.len();
    // A few pages, then more at the end, then less, then nothing but its time.
    for at in [2_500_000, 2_560_000, 10] {
        data[at] ^= 1;
    }
    write(moments.tree().join("data"), &data);
    moments.check();
    assert!(size(&moments) < 4 * 65_536 + 20_000, "{}", size(&moments));
    assert!(moments.full[1].0.len() < 4 * 65_536 + 20_000);
    data.extend_from_slice(&noise(100_000, 3));
    write(moments.tree().join("data"), &data);
    moments.check();
    assert!(size(&moments) < 200_000, "{}", size(&moments));
    moments.with_tar = false;
    data.truncate(3_000_000);
    write(moments.tree().join("data"), &data);
    moments.check();
    assert!(size(&moments) < 100_000, "{}", size(&moments));
    write(moments.tree().join("data"), &data);
    moments.check();
    assert!(size(&moments) < 10_000, "{}", size(&moments));
    // Something is put in, then taken out, a stretch goes to another place, and one is there twice.
    data.splice(1_000_000..1_000_000, noise(1_000, 4));
    write(moments.tree().join("data"), &data);
    moments.with_tar = true;
    moments.check();
    // A block around it, and the last one, which is no whole one.
    assert!(size(&moments) < 140_000, "{}", size(&moments));
    data.drain(200_000..300_000);
    let stretch: Vec<u8> = data.drain(2_000_000..2_300_000).collect();
    data.splice(500_000..500_000, stretch.iter().chain(&stretch).copied());
    write(moments.tree().join("data"), &data);
    moments.check();
    assert!(size(&moments) < 6 * 65_536, "{}", size(&moments));
    // Little in many places, of odd lengths, and others behind it in the archive.
    for (at, count) in [(1_500_000, 3), (1_300_001, 700), (900_000, 1), (700_000, 511), (300_003, 77)] {
        data.splice(at..at, noise(count, 5));
    }
    write(moments.tree().join("data"), &data);
    write(moments.tree().join("small"), "b");
    write(moments.tree().join("tail"), noise(3_000, 6));
    moments.check();
    assert!(size(&moments) < 7 * 65_536, "{}", size(&moments));
    moments.with_tar = false;
    // What was not touched since the first is known still.
    let mut still = noise(2_000_000, 2);
    still[1_000_000] ^= 1;
    write(moments.tree().join("still"), &still);
    moments.check();
    assert!(size(&moments) < 100_000, "{}", size(&moments));
    // Another name, holes, a new file and one that changed all over are held whole.
    fs::hard_link(moments.tree().join("still"), moments.tree().join("other")).unwrap();
    write(moments.tree().join("data"), noise(3_000_000, 9));
    moments.check();
    assert!(size(&moments) > 4_500_000, "{}", size(&moments));
    fs::remove_file(moments.tree().join("other")).unwrap();
    fs::File::options().write(true).open(moments.tree().join("data")).unwrap().set_len(40_000_000).unwrap();
    moments.check();
    // By contents: its time goes back, its bytes do not.
    moments.compare = Compare::Checksum;
    still[500_000] ^= 1;
    write(moments.tree().join("still"), &still);
    moments.check();
    moments.check();
    assert_eq!(moments.held(), Vec::<String>::new());
}

#[test]
fn changes_are_to_one_file_and_no_other() {
    let mut moments = Moments::new(|top| write(top.join("data"), noise(1_200_000, 1)));
    moments.blocks = true;
    moments.with_tar = false;
    moments.check();
    let mut data = noise(1_200_000, 1);
    data[700_000] ^= 1;
    write(moments.tree().join("data"), &data);
    moments.check();
    // Laid over another full, in which the file is another one, or none, or a folder: refused, and nothing is left there.
    let over = |other: &Moments| {
        let view = crate::support::evolve::view(&[other.whole[0].0.clone(), moments.previous[1].0.clone()]);
        let to = tempfile::tempdir().unwrap();
        let done = extract(&view, &everything("s", to.path()), &Control::default()).unwrap();
        assert_eq!(done.problem_count, 1, "{done:?}");
        assert!(!to.path().join("tree/data").is_file());
        let live = view.find(b"s/tree/data").unwrap().unwrap();
        view.cat(&live, &mut Vec::new(), &Control::default()).unwrap_err().to_string()
    };
    let of = |make: fn(&Path)| {
        let mut other = Moments::new(make);
        other.with_tar = false;
        other.check();
        other
    };
    let error = over(&of(|top| write(top.join("data"), noise(1_200_000, 2))));
    assert!(error.contains("do not have their digest"), "{error}");
    let error = over(&of(|top| write(top.join("data"), noise(100_000, 1))));
    assert!(error.contains("do not fit what they are to"), "{error}");
    let error = over(&of(|top| write(top.join("else"), noise(100_000, 1))));
    assert!(error.contains("what it rests on has no such file"), "{error}");
    // Alone it is no file.
    let alone = open(&moments.previous[1].0);
    let entry = alone.find(b"s/tree/data").unwrap().unwrap();
    assert!(alone.cat(&entry, &mut Vec::new(), &Control::default()).is_err());
    // Records that are lost or of another file cost room, and no more.
    let known = moments.scratch.path().join("grains-full-0/s.grains");
    let mut bytes = fs::read(&known).unwrap();
    let end = bytes.len();
    bytes[end - 40..].fill(7);
    for harm in [bytes, b"nothing".to_vec(), Vec::new()] {
        fs::write(&known, harm).unwrap();
        moments.check();
        assert!(moments.full.last().unwrap().0.len() > 1_100_000);
    }
}

#[test]
fn padded_members_are_aligned_and_an_artefact_without_becomes_one_with() {
    let mut moments = Moments::new(some_files);
    moments.check();
    moments.share_blocks = true;
    write(moments.tree().join("file"), "changed");
    moments.check();
    write(moments.tree().join("file"), "again");
    moments.check();
    moments.check();
    for (bytes, _) in &moments.whole[1..4] {
        for entry in open(bytes).entries().map(Result::unwrap) {
            assert!(entry.place.is_multiple_of(4096) && entry.span.is_multiple_of(4096), "{entry:?}");
        }
    }
    assert!(moments.whole[1].1.copied > 2_000_000);
    // Another way to compress takes nothing over, and goes on by itself.
    moments.codec = Codec::Zstd;
    write(moments.tree().join("file"), "in frames");
    moments.check();
    assert_eq!(moments.whole.last().unwrap().1.copied, 0);
    write(moments.tree().join("file"), "in frames again");
    moments.check();
    assert!(moments.whole.last().unwrap().1.copied > 2_000_000);
    moments.codec = Codec::Gzip;
    moments.check();
    // And back: what was padded stays so, the rest is not.
    moments.share_blocks = false;
    write(moments.tree().join("file"), "once more");
    moments.check();
}

#[test]
fn sources_that_are_no_trees_are_compared_by_their_contents() {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("copy.db");
    let inputs = |stream: bool| {
        let content = Content::File { path: copy.clone(), name: "app.db".to_string() };
        let mut inputs = vec![Input { source: "app".to_string(), content }];
        if stream {
            let reader = Box::new(&b"a dump"[..]);
            let (name, mtime) = ("dump".to_string(), std::time::UNIX_EPOCH);
            let content = Content::Stream { reader, name, mtime, mode: 0o600 };
            inputs.push(Input { source: "db".to_string(), content });
        }
        inputs
    };
    fs::write(&copy, noise(2_000_000, 5)).unwrap();
    let (bytes, _) = crate::support::pack_all(inputs(true), scratch.path()).unwrap();
    let artefact = Arc::new(open(&bytes));
    let base = CopyBase { artefact: Arc::clone(&artefact), file: None };
    let whole = PackOptions {
        shape: Shape::Whole { copy_from: Some(base) },
        ..crate::support::options(scratch.path())
    };
    let difference = PackOptions {
        shape: Shape::Difference { base: Some(artefact) },
        ..crate::support::options(scratch.path())
    };
    let changes =
        |options: &PackOptions, stream| plan_changes(&inputs(stream), options, &Control::default()).unwrap();
    // A copy made anew has other times.
    fs::write(&copy, noise(2_000_000, 5)).unwrap();
    assert!(changes(&whole, false).is_unchanged() && changes(&difference, false).is_unchanged());
    assert!(!changes(&whole, true).is_unchanged(), "a stream is always new");
    let repack = |options: &PackOptions, stream| {
        let mut sink = crate::support::Bytes::default();
        let packed = pack(inputs(stream), options, &mut sink, &Control::default()).unwrap();
        let bytes = std::mem::take(&mut *sink.0.lock().unwrap());
        (bytes, packed)
    };
    let (again, packed) = repack(&whole, true);
    assert!(packed.copied > 2_000_000);
    let read = |bytes: &[u8], path: &[u8]| {
        let artefact = open(bytes);
        let mut out = Vec::new();
        artefact.cat(&artefact.find(path).unwrap().unwrap(), &mut out, &Control::default()).unwrap();
        out
    };
    assert_eq!(read(&again, b"app/app.db"), noise(2_000_000, 5));
    assert_eq!(read(&again, b"db/dump"), b"a dump");
    assert_eq!(verify(&open(&again), Depth::Entries, &Control::default()).unwrap().damage, []);
    let (small, _) = repack(&difference, true);
    assert_eq!(open(&small).find(b"app/app.db").unwrap(), None);
    assert_eq!(read(&small, b"db/dump"), b"a dump");
    fs::write(&copy, noise(2_000_000, 6)).unwrap();
    let (other, _) = repack(&difference, false);
    assert_eq!(read(&other, b"app/app.db"), noise(2_000_000, 6));
    let (other, packed) = repack(&whole, false);
    assert_eq!(read(&other, b"app/app.db"), noise(2_000_000, 6));
    assert_eq!(packed.copied, 0);
    assert_eq!(open(&other).find(b"db/dump").unwrap(), None, "a source that is gone");
}
