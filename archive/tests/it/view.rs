//! A run that rests on earlier ones restores exactly what was there.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::evolve::{copy, delta, difference, layer, pack_trees, view, whole};
use crate::support::{assert_same, everything, nasty, open, pattern, snapshot, text};
use backplan_archive::artefact::{Entry, View};
use backplan_archive::extract::{ProblemKind, Target, extract, preview};
use backplan_host::control::Control;
use rustix::fs::XattrFlags;

/// A tree at several moments, and the artefacts made of it: the first whole, the others differences.
struct History {
    scratch: tempfile::TempDir,
    trees: Vec<PathBuf>,
    layers: Vec<Vec<u8>>,
}

impl History {
    fn new(make: impl FnOnce(&Path)) -> History {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("0/tree");
        fs::create_dir_all(&tree).unwrap();
        make(&tree);
        let layers = vec![whole("s", &tree, scratch.path())];
        History { scratch, trees: vec![tree], layers }
    }

    /// The next moment; its difference from the one before.
    fn step(&mut self, change: impl FnOnce(&Path)) -> &mut History {
        let before = self.trees.last().unwrap();
        let tree = self.scratch.path().join(format!("{}/tree", self.trees.len()));
        copy(before, &tree);
        change(&tree);
        self.layers.push(difference("s", before, &tree, self.scratch.path()));
        self.trees.push(tree);
        self
    }

    /// Every moment is restored exactly, and is what the whole of its tree would be.
    fn check(&self) {
        for (moment, tree) in self.trees.iter().enumerate() {
            let view = view(&self.layers[..=moment]);
            let to = self.scratch.path().join(format!("restored {moment}"));
            let wanted = everything("s", &to);
            let shown = preview(&view, &wanted).unwrap();
            let done = extract(&view, &wanted, &Control::default()).unwrap();
            assert_eq!(done.problems, []);
            assert_eq!((shown.entries, shown.bytes), (done.entries, done.bytes));
            assert_same(&snapshot(tree, false), &snapshot(&to.join("tree"), false));
            self.check_reading(&view, tree, moment);
        }
    }

    /// The last moment rests on the first alone, and is restored exactly.
    fn check_differential(&self) {
        let (first, last) = (&self.trees[0], self.trees.last().unwrap());
        let differential = difference("s", first, last, self.scratch.path());
        let to = self.scratch.path().join("differential");
        let view = view(&[self.layers[0].clone(), differential]);
        let done = extract(&view, &everything("s", &to), &Control::default()).unwrap();
        assert_eq!(done.problems, []);
        assert_same(&snapshot(last, false), &snapshot(&to.join("tree"), false));
    }

    fn check_reading(&self, view: &View, tree: &Path, moment: usize) {
        let whole = open(&whole("s", tree, self.scratch.path()));
        let expected: Vec<Entry> = whole.entries().map(Result::unwrap).collect();
        let found: Vec<_> = view.entries().map(Result::unwrap).collect();
        let facts = |entry: &Entry| {
            (entry.path.clone(), entry.kind, entry.mode, entry.mtime, entry.nanos, entry.size, entry.hash)
        };
        // The source's own folder is made up by each run, and the tree's folders above it are of another place.
        let inner = |entry: &&Entry| entry.path.starts_with(b"s/tree");
        assert_eq!(
            expected.iter().filter(inner).map(facts).collect::<Vec<_>>(),
            found.iter().map(|live| &live.entry).filter(inner).map(facts).collect::<Vec<_>>()
        );
        // Each look-up decodes blocks: of large trees a sample.
        let stride = found.len() / 60 + 1;
        for live in found.iter().step_by(stride) {
            assert_eq!(view.find(&live.entry.path).unwrap().as_ref(), Some(live));
            let below: Vec<_> = view.below(&live.entry.path).map(Result::unwrap).collect();
            assert_eq!(below.first(), Some(live));
            if below.len() > 1 {
                let first = found.iter().position(|other| other == live).unwrap();
                assert_eq!(below[..], found[first..first + below.len()]);
            }
        }
        let paths: BTreeSet<&[u8]> = found.iter().map(|live| &live.entry.path[..]).collect();
        for earlier in &self.layers[..moment] {
            for entry in open(earlier).entries().step_by(stride).map(Result::unwrap) {
                assert_eq!(view.find(&entry.path).unwrap().is_some(), paths.contains(&entry.path[..]));
            }
        }
        // Several at once: those below each other among them, and one that is not there.
        for start in 0..3 {
            let mut wanted: Vec<&[u8]> = found
                .iter()
                .skip(start)
                .step_by(3 * stride + start)
                .map(|live| &live.entry.path[..])
                .collect();
            wanted.extend([&b"s/tree/no/such"[..], b"t"]);
            wanted.reverse();
            let is_below = |path: &[u8], folder: &[u8]| {
                path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            };
            let is_meant = |path: &[u8]| wanted.iter().any(|one| is_below(path, one) || is_below(one, path));
            let meant: Vec<_> = found.iter().filter(|live| is_meant(&live.entry.path)).cloned().collect();
            assert_eq!(view.at(&wanted).map(Result::unwrap).collect::<Vec<_>>(), meant);
        }
        assert_eq!(view.find(b".backplan/deleted").unwrap(), None);
        assert_eq!(view.below(b".backplan").count(), 0);
    }

    /// As the documentation says it is done without Backplan.
    fn check_stock(&self) {
        let to = self.scratch.path().join("stock");
        fs::create_dir(&to).unwrap();
        for (number, bytes) in self.layers.iter().enumerate() {
            fs::write(self.scratch.path().join("layer.tar.gz"), bytes).unwrap();
            let clear = "tar -xzf ../layer.tar.gz -O .backplan/deleted | xargs -0 rm -rf --";
            let lay = "tar -P --xattrs --xattrs-include='*' --acls --same-owner -xpzf ../layer.tar.gz";
            for script in [clear, lay].iter().skip(usize::from(number == 0)) {
                let status = Command::new("sh").args(["-ec", script]).current_dir(&to).status().unwrap();
                assert!(status.success(), "{script}");
            }
        }
        let tree = self.trees.last().unwrap();
        assert_same(&snapshot(tree, true), &snapshot(&to.join("s/tree"), true));
    }
}

fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn some_files(top: &Path) {
    for number in 0..30 {
        write(top.join(format!("folder {}/deep/er/file {number}", number % 3)), format!("{number}"));
    }
    write(top.join("large"), crate::support::noise(1_700_000, 3));
    write(top.join("names/a.b/x"), "1");
    write(top.join("names/a/x"), "2");
    write(top.join("names/a-b/x"), "3");
    write(top.join("file"), "file");
    write(top.join("other"), "other");
    symlink("file", top.join("link")).unwrap();
}

#[test]
fn changed_added_deleted_and_renamed() {
    let mut history = History::new(some_files);
    history
        .step(|top| write(top.join("folder 1/deep/er/file 4"), "changed"))
        .step(|top| {
            write(top.join("folder 0/new/file"), "new");
            fs::remove_file(top.join("folder 2/deep/er/file 2")).unwrap();
            fs::rename(top.join("large"), top.join("names/moved")).unwrap();
        })
        .step(|top| {
            fs::remove_dir_all(top.join("folder 1")).unwrap();
            fs::remove_dir_all(top.join("names/a")).unwrap();
            fs::rename(top.join("folder 0"), top.join("folder 3")).unwrap();
        })
        .step(|top| write(top.join("folder 1/deep/er/file 4"), "here again"))
        .step(|_| {});
    history.check();
    history.check_stock();
}

#[test]
fn one_kind_becomes_another_and_is_turned_back() {
    let mut history = History::new(some_files);
    history
        .step(|top| {
            fs::remove_file(top.join("file")).unwrap();
            write(top.join("file/inside/it"), "x");
            fs::remove_dir_all(top.join("folder 0")).unwrap();
            write(top.join("folder 0"), "a file now");
            fs::remove_dir_all(top.join("folder 1/deep")).unwrap();
            symlink("../folder 2", top.join("folder 1/deep")).unwrap();
            fs::remove_file(top.join("link")).unwrap();
            write(top.join("link/now/a folder"), "y");
        })
        .step(|top| {
            fs::remove_dir_all(top.join("file")).unwrap();
            write(top.join("file"), "file");
            fs::remove_file(top.join("folder 0")).unwrap();
            write(top.join("folder 0/deep/er/file 0"), "a folder again");
            fs::remove_file(top.join("folder 1/deep")).unwrap();
            fs::create_dir(top.join("folder 1/deep")).unwrap();
            fs::remove_dir_all(top.join("link")).unwrap();
            symlink("other", top.join("link")).unwrap();
        })
        .step(|top| {
            fs::remove_file(top.join("other")).unwrap();
            symlink("file", top.join("other")).unwrap();
            fs::remove_file(top.join("link")).unwrap();
            write(top.join("link"), "a file");
        });
    history.check();
    history.check_differential();
    history.check_stock();
}

#[test]
fn only_modes_attributes_and_times_change() {
    let mut history = History::new(some_files);
    history
        .step(|top| {
            mode(&top.join("file"), 0o600);
            mode(&top.join("folder 1"), 0o700);
        })
        .step(|top| {
            for path in ["file", "folder 2"] {
                rustix::fs::setxattr(top.join(path), "user.mark", b"1", XattrFlags::empty()).unwrap();
            }
            mode(&top.join("folder 1/deep"), 0o555);
        })
        .step(|top| {
            let status = Command::new("touch").args(["-d", "2001-02-03", "other"]).current_dir(top).status();
            assert!(status.unwrap().success());
            let owned = std::os::unix::fs::lchown(top.join("link"), Some(1234), Some(4321));
            assert!(owned.is_ok() || !crate::support::is_root());
        })
        .step(|top| rustix::fs::removexattr(top.join("file"), "user.mark").unwrap());
    history.check();
    history.check_stock();
}

#[test]
fn groups_of_hard_links_change() {
    let mut history = History::new(|top| {
        for group in ["g", "h", "i"] {
            write(top.join(format!("{group}1")), group);
            for number in 2..5 {
                fs::hard_link(top.join(format!("{group}1")), top.join(format!("{group}{number}"))).unwrap();
            }
        }
        write(top.join("large"), crate::support::noise(1_200_000, 4));
        fs::hard_link(top.join("large"), top.join("also large")).unwrap();
        write(top.join("alone"), "alone");
    });
    history
        // The name that has the data goes; a name goes; one comes; a name becomes a file of its own.
        .step(|top| fs::remove_file(top.join("g1")).unwrap())
        .step(|top| fs::remove_file(top.join("h3")).unwrap())
        .step(|top| fs::hard_link(top.join("alone"), top.join("a second")).unwrap())
        .step(|top| {
            fs::remove_file(top.join("i1")).unwrap();
            write(top.join("i1"), "another file");
        })
        .step(|top| {
            write(top.join("h1"), "all names have it");
            fs::remove_file(top.join("large")).unwrap();
        })
        .step(|top| {
            // From one group to another.
            fs::remove_file(top.join("i2")).unwrap();
            fs::hard_link(top.join("g2"), top.join("i2")).unwrap();
        });
    history.check();
    history.check_stock();
}

#[test]
fn all_that_makes_a_file_a_file_survives_a_chain() {
    let mut history = History::new(|top| nasty(top, false));
    history
        .step(|top| {
            fs::remove_dir_all(top.join("names")).unwrap();
            write(top.join("names"), "a file");
            write(top.join("sizes/text 511"), text(600_000));
            fs::remove_file(top.join("sparse")).unwrap();
        })
        .step(|top| {
            fs::remove_dir_all(top.join("links/z")).unwrap();
            fs::remove_dir_all(top.join("special")).unwrap();
            let sparse = fs::File::create(top.join("sparse")).unwrap();
            sparse.set_len(9 << 20).unwrap();
        });
    history.check();
}

#[test]
fn patterns_and_targets_choose_from_all_layers() {
    let mut history = History::new(some_files);
    history.step(|top| write(top.join("folder 1/deep/er/file 4"), "changed")).step(|top| {
        fs::remove_file(top.join("folder 1/deep/er/file 7")).unwrap();
        write(top.join("folder 1/deep/er/new"), "new");
    });
    let view = view(&history.layers);
    let to = history.scratch.path().join("to");
    let mut wanted = everything("s/tree/folder 1", &to);
    wanted.only =
        ["**/file 4", "new", "file 7", "file 1"].map(|text| pattern(text, "s/tree/folder 1")).into();
    let done = extract(&view, &wanted, &Control::default()).unwrap();
    assert_eq!(done.problems, []);
    let folder = to.join("deep/er");
    let names: BTreeSet<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file 1", "file 4", "new"].map(Into::into).into());
    assert_eq!(fs::read(folder.join("file 4")).unwrap(), b"changed");
    // One file, by its name.
    let mut single = everything("", &to);
    single.targets = vec![Target::at(b"s/tree/folder 1/deep/er/file 4", &to.join("single"))];
    extract(&view, &single, &Control::default()).unwrap();
    assert_eq!(fs::read(to.join("single")).unwrap(), b"changed");
    let mut out = Vec::new();
    let live = view.find(b"s/tree/folder 1/deep/er/file 4").unwrap().unwrap();
    view.cat(&live, &mut out, &Control::default()).unwrap();
    assert_eq!((out.as_slice(), live.spot.layer), (&b"changed"[..], 1));
}

#[test]
fn each_source_has_layers_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = |name: &str| scratch.path().join(name).join("tree");
    for (name, contents) in [("s0", "s as it was"), ("t1", "t as it was"), ("u0", "u")] {
        write(tree(name).join("file"), contents);
        write(tree(name).join("gone/later"), contents);
    }
    let next = |from: &str, to: &str| {
        copy(&tree(from), &tree(to));
        write(tree(to).join("file"), to);
        fs::remove_dir_all(tree(to).join("gone")).unwrap();
    };
    next("s0", "s1");
    next("t1", "t2");
    next("u0", "u2");
    let path = scratch.path();
    // `t` is new in the second run; in the third `s` is unchanged, `u` is whole again.
    let first = pack_trees(&[("s", &tree("s0")), ("u", &tree("u0"))], None, path);
    let s = delta("s", &tree("s0"), &tree("s1"), path);
    let second = pack_trees(&[("s", &s.tree), ("t", &tree("t1"))], Some(s.deleted), path);
    let t = delta("t", &tree("t1"), &tree("t2"), path);
    let third = pack_trees(&[("t", &t.tree), ("u", &tree("u2"))], Some(t.deleted), path);
    let view =
        View::new(vec![layer(&first, &["s"]), layer(&second, &["s", "t"]), layer(&third, &["t", "u"])]);
    let to = path.join("to");
    let done = extract(&view, &everything("", &to), &Control::default()).unwrap();
    assert_eq!(done.problems, []);
    for (source, moment) in [("s", "s1"), ("t", "t2"), ("u", "u2")] {
        assert_same(&snapshot(&tree(moment), false), &snapshot(&to.join(source).join("tree"), false));
    }
    assert_eq!(
        view.below(b"u").count(),
        view.entries().filter(|live| live.as_ref().unwrap().entry.path[0] == b'u').count()
    );
    assert!(view.find(b"u/tree/gone/later").unwrap().is_none());
    assert!(view.find(b"nobody/tree").unwrap().is_none());
    // What a layer deletes of a source that does not rest on others through it is none of its business.
    let list = vec![b"s/tree".to_vec(), b"u/tree/file".to_vec()];
    let stray = pack_trees(&[("t", &tree("t2"))], Some(list), path);
    let view = View::new(vec![layer(&first, &["s", "u"]), layer(&stray, &["t"])]);
    assert!(view.find(b"s/tree/file").unwrap().is_some());
    assert_eq!(view.below(b"u").count(), 5);
}

#[test]
fn a_list_of_deletions_that_is_damaged_is_an_error_of_its_layer() {
    let mut history = History::new(some_files);
    history.step(|top| fs::remove_file(top.join("file")).unwrap());
    let mut harmed = history.layers.clone();
    // The list is in the first member behind the opening one.
    let place = open(&harmed[1]).find(b".backplan/deleted").unwrap().unwrap();
    harmed[1][place.place as usize + 20..][..8].fill(0x55);
    let view = view(&harmed);
    let error = view.entries().find_map(Result::err).unwrap();
    assert_eq!(error.layer, 1);
    assert!(
        error.to_string().starts_with(&format!("the artefact of run {}: ", crate::support::RUN)),
        "{error}"
    );
    assert!(view.find(b"s/tree/other").is_err());
    // A whole artefact's list, were there one, is of no consequence.
    let alone = crate::support::evolve::view(&harmed[1..]);
    assert!(alone.entries().all(|live| live.is_ok()));
}

#[test]
fn a_link_leads_to_the_file_of_its_own_layer() {
    let scratch = tempfile::tempdir().unwrap();
    let (first, second) = (scratch.path().join("1/tree"), scratch.path().join("2/tree"));
    write(first.join("file"), "as it was");
    fs::hard_link(first.join("file"), first.join("name")).unwrap();
    // No writer should do this: a group is rewritten whole.
    write(second.join("file"), "another");
    let layers =
        [whole("s", &first, scratch.path()), pack_trees(&[("s", &second)], Some(Vec::new()), scratch.path())];
    let to = scratch.path().join("to");
    let done = extract(&view(&layers), &everything("s/tree", &to), &Control::default()).unwrap();
    assert_eq!(done.problems, []);
    assert_eq!(fs::read(to.join("file")).unwrap(), b"another");
    assert_eq!(fs::read(to.join("name")).unwrap(), b"as it was");
}

#[test]
fn a_kind_that_changed_and_is_not_listed_is_a_problem_and_not_a_loss() {
    let scratch = tempfile::tempdir().unwrap();
    let (first, second) = (scratch.path().join("1/tree"), scratch.path().join("2/tree"));
    write(first.join("is/a folder"), "inside");
    write(second.join("is"), "a file");
    let layers =
        [whole("s", &first, scratch.path()), pack_trees(&[("s", &second)], Some(Vec::new()), scratch.path())];
    let to = scratch.path().join("to");
    let done = extract(&view(&layers), &everything("s/tree", &to), &Control::default()).unwrap();
    assert_eq!(done.problems.len(), 1, "{:?}", done.problems);
    // Two workers may put them back at once: what comes first stays, what comes second is told of.
    let (kept, refused) = match fs::read(to.join("is")) {
        Ok(file) => (file == b"a file", ProblemKind::Exists),
        Err(_) => (fs::read(to.join("is/a folder")).unwrap() == b"inside", ProblemKind::InTheWay),
    };
    assert!(kept);
    assert_eq!(done.problems[0].kind, refused);
}

mod evolving {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
    use rustix::fs::XattrFlags;

    use super::{History, mode};

    #[derive(Debug, Clone)]
    enum Step {
        File(String, u16),
        Folder(String),
        Link(String, String),
        Name(String, String),
        Remove(String),
        Rename(String, String),
        Mode(String, bool),
        Mark(String, u8),
    }

    fn path() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["a", "b", "a[-.0 ]b", "c"], 1..4)
            .prop_map(|parts| parts.join("/"))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (path(), any::<u16>()).prop_map(|(path, seed)| Step::File(path, seed)),
            1 => path().prop_map(Step::Folder),
            1 => (path(), path()).prop_map(|(path, to)| Step::Link(path, to)),
            2 => (path(), path()).prop_map(|(path, to)| Step::Name(path, to)),
            2 => path().prop_map(Step::Remove),
            1 => (path(), path()).prop_map(|(path, to)| Step::Rename(path, to)),
            1 => (path(), any::<bool>()).prop_map(|(path, on)| Step::Mode(path, on)),
            1 => (path(), any::<u8>()).prop_map(|(path, value)| Step::Mark(path, value)),
        ]
    }

    fn remove(path: &Path) {
        if fs::remove_file(path).is_err() {
            let _ = fs::remove_dir_all(path);
        }
    }

    /// Makes room: what is in the way, also where a folder should be, goes.
    fn room(top: &Path, path: &str) {
        let mut at = top.to_path_buf();
        let parts: Vec<&str> = path.split('/').collect();
        for part in &parts[..parts.len() - 1] {
            at.push(part);
            if !at.symlink_metadata().is_ok_and(|seen| seen.is_dir()) {
                remove(&at);
                fs::create_dir(&at).unwrap();
            }
        }
        remove(&at.join(parts[parts.len() - 1]));
    }

    fn apply(top: &Path, step: &Step) {
        // Nothing is followed out of the tree: links lead nowhere but inside, and are never written through.
        let is_there = |path: &str| {
            let mut at = top.to_path_buf();
            path.split('/').all(|part| {
                let is_folder = at.symlink_metadata().is_ok_and(|seen| seen.is_dir());
                at.push(part);
                is_folder
            }) && at.symlink_metadata().is_ok()
        };
        let is = |path: &str, link: bool| {
            is_there(path) && top.join(path).symlink_metadata().unwrap().is_symlink() == link
        };
        match step {
            Step::File(path, seed) => {
                room(top, path);
                let size = if seed % 16 == 0 { 700_000 } else { usize::from(*seed) / 64 };
                fs::write(top.join(path), crate::support::noise(size, (*seed).into())).unwrap();
            }
            Step::Folder(path) if !is_there(path) => {
                room(top, path);
                fs::create_dir(top.join(path)).unwrap();
            }
            Step::Link(path, to) => {
                room(top, path);
                std::os::unix::fs::symlink(to, top.join(path)).unwrap();
            }
            Step::Name(path, to) if is(path, false) && top.join(path).is_file() && !to.starts_with(path) => {
                let kept = top.join(".kept");
                fs::hard_link(top.join(path), &kept).unwrap();
                room(top, to);
                fs::rename(kept, top.join(to)).unwrap();
            }
            Step::Remove(path) if is_there(path) => remove(&top.join(path)),
            Step::Rename(path, to) if is_there(path) => {
                let kept = top.join(".kept");
                fs::rename(top.join(path), &kept).unwrap();
                room(top, to);
                fs::rename(kept, top.join(to)).unwrap();
            }
            Step::Mode(path, on) if is(path, false) => {
                mode(&top.join(path), if *on { 0o751 } else { 0o740 });
            }
            // Of files only: stock tar leaves the attributes of a folder that is there already, as `docs/artefact.md` says.
            Step::Mark(path, value) if is(path, false) && top.join(path).is_file() => {
                let path = top.join(path);
                rustix::fs::setxattr(&path, "user.mark", &[*value], XattrFlags::empty()).unwrap();
            }
            _ => {}
        }
    }

    #[test]
    fn a_tree_that_changes_at_random_is_restored_as_it_was_at_each_moment() {
        let steps = || proptest::collection::vec(step(), 0..6);
        let config = ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() };
        let moments = (proptest::collection::vec(step(), 10..40), proptest::collection::vec(steps(), 6));
        proptest::proptest!(config, |((first, later) in moments)| {
            let mut history = History::new(|top| first.iter().for_each(|step| apply(top, step)));
            for steps in &later {
                history.step(|top| steps.iter().for_each(|step| apply(top, step)));
            }
            history.check();
            history.check_differential();
            history.check_stock();
        });
    }
}
