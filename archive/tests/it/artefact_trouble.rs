//! Files that change while they are read, damaged artefacts, and hostile ones.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{
    Bytes, RUN, everything, extract_all, files, nasty, noise, open, options, pack_all, pack_tree, scanned,
    snapshot, text, trees,
};
use backplan_archive::artefact::{
    Artefact, Content, Damage, Depth, Expected, Flags, Input, Kind, PackError, ReadError, Sink, SinkError,
    View, identify, pack, verify,
};
use backplan_archive::extract::{Existing, ExtractError, ProblemKind, Target, extract, preview};
use backplan_archive::scan::{ScanError, WarningKind, measure, scan};
use backplan_host::control::Control;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};

fn kinds(packed: &backplan_archive::artefact::Packed) -> Vec<(WarningKind, String)> {
    let warnings = packed.sources[0].warnings.kept();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut kinds: Vec<_> = warnings.iter().map(|warning| (warning.kind, name(&warning.path))).collect();
    kinds.sort_by_key(|(_, name)| name.clone());
    kinds
}

#[test]
fn what_changed_since_the_walk_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for name in ["a stays", "b vanishes", "c becomes a folder", "d becomes a link", "e grows", "f grows much"]
    {
        std::fs::write(tree.join(name), text(1000)).unwrap();
    }
    std::fs::hard_link(tree.join("b vanishes"), tree.join("g other name")).unwrap();
    let input = scanned(scratch.path(), "s", files(&[&tree], &[]));
    for name in ["b vanishes", "c becomes a folder", "d becomes a link"] {
        std::fs::remove_file(tree.join(name)).unwrap();
    }
    std::fs::create_dir(tree.join("c becomes a folder")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("d becomes a link")).unwrap();
    std::fs::write(tree.join("e grows"), text(2000)).unwrap();
    std::fs::write(tree.join("f grows much"), text(3_000_000)).unwrap();

    let (bytes, packed) = pack_all(vec![input], scratch.path()).unwrap();
    let expected = [
        (WarningKind::Vanished, "b vanishes"),
        (WarningKind::Changed, "c becomes a folder"),
        (WarningKind::Changed, "d becomes a link"),
    ];
    assert_eq!(kinds(&packed), expected.map(|(kind, name)| (kind, name.to_string())));
    let artefact = open(&bytes);
    assert_eq!(artefact.find(b"s/tree/b vanishes").unwrap(), None);
    assert_eq!(artefact.find(b"s/tree/e grows").unwrap().unwrap().size, 2000);
    assert_eq!(artefact.find(b"s/tree/f grows much").unwrap().unwrap().size, 3_000_000);
    // The other name of what vanished carries the contents now.
    assert_eq!(artefact.find(b"s/tree/g other name").unwrap().unwrap().kind, Kind::File);
    assert_eq!(verify(&artefact, Depth::Entries, &Control::default()).unwrap().damage, []);
    assert_eq!(packed.sources[0].entries, artefact.entry_count());
}

/// Changes a file in the middle of its own packing: the sink is called between its pieces.
struct Meddler {
    bytes: Bytes,
    file: File,
    to: u64,
}

impl Sink for Meddler {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.file.set_len(self.to)?;
        self.bytes.write(bytes)
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        self.bytes.patch(offset, bytes)
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_leaves_the_archive_whole() {
    for (to, kind, flag) in
        [(1 << 20, WarningKind::Shrank, Flags::SHRANK), (90 << 20, WarningKind::Grew, Flags::GREW)]
    {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("a"), noise(30 << 20, 3)).unwrap();
        std::fs::write(tree.join("b"), "behind it").unwrap();
        let input = scanned(scratch.path(), "s", files(&[&tree], &[]));
        let file = File::options().write(true).open(tree.join("a")).unwrap();
        let mut sink = Meddler { bytes: Bytes::default(), file, to };
        // The opening member is written first, and would have the file changed before it is opened.
        sink.to = 30 << 20;
        let mut sink = Late { inner: sink, to, writes: 0 };
        let packed = pack(vec![input], &options(scratch.path()), &mut sink, &Control::default()).unwrap();
        assert!(kinds(&packed).contains(&(kind, "a".to_string())), "{:?}", kinds(&packed));
        let bytes = sink.inner.bytes.0.lock().unwrap().clone();
        let artefact = open(&bytes);
        let entry = artefact.find(b"s/tree/a").unwrap().unwrap();
        assert!(entry.flags.has(flag));
        assert_eq!(entry.size, 30 << 20);
        assert_eq!(verify(&artefact, Depth::Entries, &Control::default()).unwrap().damage, []);
    }
}

struct Late {
    inner: Meddler,
    to: u64,
    writes: usize,
}

impl Sink for Late {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.writes += 1;
        if self.writes == 3 {
            self.inner.to = self.to;
        }
        self.inner.write(bytes)
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        self.inner.patch(offset, bytes)
    }
}

#[test]
fn streams_and_single_files_have_their_place() {
    for length in [0, 1, 512 << 10, (512 << 10) + 1, 3_000_000] {
        let scratch = tempfile::tempdir().unwrap();
        let database = scratch.path().join("copy");
        std::fs::write(&database, noise(2_000_000, 5)).unwrap();
        let stream = Content::Stream {
            reader: Box::new(std::io::Cursor::new(text(length))),
            name: "dump.sql".to_string(),
            mtime: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            mode: 0o640,
        };
        let inputs = vec![
            Input { source: "out".to_string(), content: stream },
            Input {
                source: "db".to_string(),
                content: Content::File { path: database, name: "app.db".to_string() },
            },
        ];
        let (bytes, packed) = pack_all(inputs, scratch.path()).unwrap();
        assert_eq!(packed.sha256, None);
        let artefact = open(&bytes);
        let entry = artefact.find(b"out/dump.sql").unwrap().unwrap();
        assert_eq!(
            (entry.size, entry.mode, entry.hash),
            (length as u64, 0o640, *blake3::hash(&text(length)).as_bytes())
        );
        let mut out = Vec::new();
        artefact.cat(&entry, &mut out, &Control::default()).unwrap();
        assert!(out == text(length));
        assert_eq!(verify(&artefact, Depth::Entries, &Control::default()).unwrap().damage, []);
        let to = scratch.path().join("to");
        assert_eq!(extract_all(&bytes, "", &to).problems, []);
        assert!(std::fs::read(to.join("out/dump.sql")).unwrap() == text(length));
        assert!(std::fs::read(to.join("db/app.db")).unwrap() == noise(2_000_000, 5));
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("exit status 1"))
    }
}

struct Full(u32);

impl Sink for Full {
    fn write(&mut self, _: &[u8]) -> Result<(), SinkError> {
        self.0 -= 1;
        if self.0 == 0 { Err("no space".into()) } else { Ok(()) }
    }

    fn patch(&mut self, _: u64, _: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn failures_name_their_side() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let stream = Content::Stream {
        reader: Box::new(Broken),
        name: "x".to_string(),
        mtime: SystemTime::UNIX_EPOCH,
        mode: 0o600,
    };
    let failed = pack_all(vec![Input { source: "c".to_string(), content: stream }], scratch.path());
    assert!(matches!(failed, Err(PackError::Input { source_name, .. }) if source_name == "c"));
    for writes in [1, 2, 5, 20] {
        let input = scanned(scratch.path(), "s", files(&[&tree], &[]));
        let failed = pack(vec![input], &options(scratch.path()), &mut Full(writes), &Control::default());
        assert!(matches!(failed, Err(PackError::Sink(_))), "{writes}");
    }
    let control = Control::default();
    control.stop();
    let input = scanned(scratch.path(), "s", files(&[&tree], &[]));
    let stopped = pack(vec![input], &options(scratch.path()), &mut Bytes::default(), &control);
    assert!(matches!(stopped, Err(PackError::Stopped(_))));
}

#[test]
fn a_walk_obeys_its_declaration() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    for path in
        ["a.pyc", "keep.pyc", "cache/x", "deep/cache/x", "deep/a.pyc", "src/main", "only/in", "tagged/x"]
    {
        std::fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        std::fs::write(tree.join(path), path).unwrap();
    }
    std::fs::write(tree.join("tagged/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n")
        .unwrap();
    let mut declared = files(&[&tree], &["*.pyc", "!keep.pyc", "cache/", "/only"]);
    declared.exclude_caches = true;
    // An entry of `paths` below another one is taken, whatever excludes what is above it.
    let inner = crate::support::files(&[&tree.join("cache/x")], &[]).paths.remove(0);
    declared.paths.push(backplan_compiler::model::FilesPath { inside: "tree/cache/x".into(), ..inner });
    let found = pack_all(vec![scanned(scratch.path(), "s", declared.clone())], scratch.path()).unwrap();
    let paths: Vec<String> =
        open(&found.0).entries().map(|entry| String::from_utf8(entry.unwrap().path).unwrap()).collect();
    let expected =
        ["s", "s/tree", "s/tree/cache", "s/tree/cache/x", "s/tree/deep", "s/tree/keep.pyc", "s/tree/src"];
    assert_eq!(paths[..7], expected);
    assert_eq!(paths[7..], ["s/tree/src/main"]);
    let measured = measure(&trees("s", declared.clone()), &Control::default()).unwrap();
    assert_eq!(measured.entries, paths.len() as u64);

    declared.paths.push(crate::support::files(&[&scratch.path().join("absent")], &[]).paths.remove(0));
    let missing = measure(&trees("s", declared.clone()), &Control::default());
    assert!(matches!(missing, Err(ScanError::Missing { path, .. }) if path.ends_with("absent")));
    let optional = backplan_archive::scan::Trees { optional: true, ..trees("s", declared) };
    let warned = scan(&optional, &scratch.path().join("x.scan"), &Control::default()).unwrap();
    assert_eq!(warned.warnings.kept()[0].kind, WarningKind::Missing);
}

#[test]
fn entries_of_paths_may_be_files_links_and_below_another_root() {
    let scratch = tempfile::tempdir().unwrap();
    let snapshot_mount = scratch.path().join("mnt");
    std::fs::create_dir_all(snapshot_mount.join("data/app")).unwrap();
    std::fs::create_dir_all(snapshot_mount.join("etc")).unwrap();
    std::fs::write(snapshot_mount.join("data/app/file"), "x").unwrap();
    std::fs::write(snapshot_mount.join("etc/hosts"), "y").unwrap();
    std::os::unix::fs::symlink("app", snapshot_mount.join("data/link")).unwrap();
    let path = |inside: &str| backplan_compiler::model::FilesPath {
        place: crate::support::place(),
        absolute: snapshot_mount.join(inside),
        inside: inside.into(),
    };
    let mut declared = files(&[], &["*"]);
    declared.exclude.clear();
    declared.paths = vec![path("etc/hosts"), path("data/link"), path("data/app"), path("data/app/file")];
    declared.root = Some(snapshot_mount.clone());
    let (bytes, packed) = pack_all(vec![scanned(scratch.path(), "s", declared)], scratch.path()).unwrap();
    let found: Vec<_> = open(&bytes).entries().map(Result::unwrap).collect();
    let paths: Vec<_> = found.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect();
    let expected = ["s", "s/data", "s/data/app", "s/data/app/file", "s/data/link", "s/etc", "s/etc/hosts"];
    assert_eq!(paths, expected);
    assert!(found[0].flags.has(Flags::SYNTHETIC) && found[1].flags.has(Flags::IMPLIED));
    assert!(!found[1].flags.has(Flags::SYNTHETIC) && !found[2].flags.has(Flags::IMPLIED));
    assert_eq!(found[4].kind, Kind::Symlink);
    assert_eq!(packed.sources[0].warnings.total(), 0);
    let measured = |path: &Path| measure(&trees("s", files(&[path], &[])), &Control::default()).unwrap();
    let link = measured(&scratch.path().join("mnt/data/link"));
    assert_eq!(link.warnings.kept()[0].kind, WarningKind::LinkToFolder);
    assert_eq!(link.entries, 2);
}

fn damage_of(bytes: &[u8], depth: Depth) -> Result<Vec<Damage>, ReadError> {
    let artefact = Artefact::open(Bytes::of(bytes.to_vec()), None)?;
    verify(&artefact, depth, &Control::default()).map(|report| report.damage)
}

#[test]
fn a_damaged_member_is_named_with_its_files_and_costs_no_other() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (mut bytes, _) = pack_tree(&tree, scratch.path());
    let artefact = open(&bytes);
    let large = artefact.find(b"s/tree/sizes/noise 2621517").unwrap().unwrap();
    let at = (large.place + large.span / 2) as usize;
    bytes[at] ^= 1;
    let damage = damage_of(&bytes, Depth::Hashes).unwrap();
    assert_eq!(damage.len(), 1);
    assert_eq!(damage[0].paths, [b"s/tree/sizes/noise 2621517".to_vec()]);
    assert!(damage[0].offset <= at as u64 && (at as u64) < damage[0].offset + damage[0].len);

    let to = scratch.path().join("to");
    let extracted = extract_all(&bytes, "s", &to);
    assert_eq!(extracted.problems.len(), 1, "{:?}", extracted.problems);
    assert_eq!(extracted.problems[0].kind, ProblemKind::Damaged);
    let (mut before, mut after) = (snapshot(&tree, false), snapshot(&to.join("tree"), false));
    assert!(before.remove("sizes/noise 2621517".as_ref() as &std::ffi::OsStr).is_some());
    before.remove(std::ffi::OsStr::new("sizes"));
    after.remove(std::ffi::OsStr::new("sizes"));
    crate::support::assert_same(&before, &after);
}

#[test]
fn what_is_no_whole_artefact_is_said_to_be_what_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, packed) = pack_tree(&tree, scratch.path());
    assert_eq!(identify(&bytes), Some(RUN.to_string()));
    let try_open =
        |bytes: &[u8], expected: Option<&Expected>| Artefact::open(Bytes::of(bytes.to_vec()), expected);
    let cut = try_open(&bytes[..bytes.len() - 1], None).unwrap_err();
    assert!(matches!(&cut, ReadError::Truncated { run, .. } if run == RUN));
    assert!(matches!(try_open(b"hello", None), Err(ReadError::Foreign)));
    assert!(matches!(try_open(b"", None), Err(ReadError::Foreign)));
    let mut newer = bytes.clone();
    let version = newer.len() - 70 + 8;
    newer[version] = 9;
    assert!(matches!(try_open(&newer, None), Err(ReadError::Newer(9))));

    let mut expected = Expected { size: packed.size, root: packed.root, index: packed.index };
    assert!(try_open(&bytes, Some(&expected)).is_ok());
    assert!(matches!(try_open(&bytes[..1000], Some(&expected)), Err(ReadError::Other { what: "size", .. })));
    expected.root.0[0] ^= 1;
    assert!(matches!(try_open(&bytes, Some(&expected)), Err(ReadError::Other { what: "digest", .. })));
}

#[test]
fn selections_take_folders_above_and_mappings_choose_the_place() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    let artefact = View::from(open(&bytes));
    let to = scratch.path().join("to");
    let mut wanted = everything("", &to);
    wanted.only = ["tree/links/second", "modes/"].map(|text| crate::support::pattern(text, "s")).into();
    let shown = preview(&artefact, &wanted).unwrap();
    let extracted = extract(&artefact, &wanted, &Control::default()).unwrap();
    assert_eq!(extracted.problems, []);
    assert_eq!(shown.entries, extracted.entries);
    // A further name without its file is a file of its own.
    assert_eq!(std::fs::read(to.join("s/tree/links/second")).unwrap(), b"several names");
    assert!(!to.join("s/tree/links/first").exists());
    let before = snapshot(&tree.join("modes"), false);
    crate::support::assert_same(&before, &snapshot(&to.join("s/tree/modes"), false));

    // In place, one file: refused, then replaced.
    let place = scratch.path().join("elsewhere/file");
    let mut single = everything("", &to);
    single.targets = vec![Target::at(b"s/tree/links/first", &place)];
    extract(&artefact, &single, &Control::default()).unwrap();
    std::fs::write(&place, "changed").unwrap();
    let kept = extract(&artefact, &single, &Control::default()).unwrap();
    assert_eq!(kept.problems[0].kind, ProblemKind::Exists);
    assert_eq!(std::fs::read(&place).unwrap(), b"changed");
    single.existing = Existing::Replace;
    assert_eq!(extract(&artefact, &single, &Control::default()).unwrap().problem_count, 0);
    assert_eq!(std::fs::read(&place).unwrap(), b"several names");
    assert_eq!(std::fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);

    // The same again, over all of it.
    let mut again = everything("s", &to.join("again"));
    extract(&artefact, &again, &Control::default()).unwrap();
    again.existing = Existing::Replace;
    assert_eq!(extract(&artefact, &again, &Control::default()).unwrap().problems, []);
    crate::support::assert_same(&snapshot(&tree, false), &snapshot(&to.join("again/tree"), false));
}

#[test]
fn a_symbolic_link_that_is_there_leads_nowhere() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    let (to, outside) = (scratch.path().join("to"), scratch.path().join("outside"));
    std::fs::create_dir_all(to.join("tree")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, to.join("tree/links")).unwrap();
    let mut wanted = everything("s", &to);
    let extracted = extract(&open(&bytes).into(), &wanted, &Control::default()).unwrap();
    assert!(extracted.problem_count > 0);
    assert!(extracted.problems.iter().all(|problem| problem.kind == ProblemKind::Exists));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    // Who is told to replaces the link, and not what it leads to.
    wanted.existing = Existing::Replace;
    let extracted = extract(&open(&bytes).into(), &wanted, &Control::default()).unwrap();
    assert_eq!(extracted.problems, []);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    crate::support::assert_same(&snapshot(&tree, false), &snapshot(&to.join("tree"), false));
}

#[test]
fn a_full_disk_ends_a_restore() {
    if !crate::support::is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    let small = scratch.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mount = |arguments: &[&str]| std::process::Command::new("mount").args(arguments).arg(&small).status();
    if !mount(&["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).is_ok_and(|status| status.success()) {
        return;
    }
    let ended = extract(&open(&bytes).into(), &everything("s", &small), &Control::default());
    std::process::Command::new("umount").arg("-l").arg(&small).status().unwrap();
    assert!(matches!(ended, Err(ExtractError::Full(_))));
}

/// Something done to the bytes of an artefact.
#[derive(Debug, Clone)]
enum Harm {
    Flip(usize, u8),
    Cut(usize),
    Drop(usize, usize),
    Repeat(usize, usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let place = any::<prop::sample::Index>();
    let short = 1..5000_usize;
    prop_oneof![
        4 => (0..1_000_000_usize, 1..=255_u8).prop_map(|(at, with)| Harm::Flip(at, with)),
        4 => (0..4000_usize, 1..=255_u8).prop_map(|(at, with)| Harm::Flip(usize::MAX - at, with)),
        1 => place.prop_map(|at| Harm::Cut(at.index(1_000_000))),
        1 => (0..1_000_000_usize, short.clone()).prop_map(|(at, length)| Harm::Drop(at, length)),
        1 => (0..1_000_000_usize, short).prop_map(|(at, length)| Harm::Repeat(at, length)),
    ]
}

use prop_prelude::prop;
use proptest::prelude as prop_prelude;

impl Harm {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let within =
            |at: usize| if at > length { length - 1 - (usize::MAX - at) % length } else { at % length };
        match *self {
            Harm::Flip(at, with) => bytes[within(at)] ^= with,
            Harm::Cut(at) => bytes.truncate(within(at)),
            Harm::Drop(at, count) => drop(bytes.drain(within(at)..(within(at) + count).min(length))),
            Harm::Repeat(at, count) => {
                let part = bytes[within(at)..(within(at) + count).min(length)].to_vec();
                bytes.splice(within(at)..within(at), part);
            }
        }
    }
}

fn small_tree(top: &Path) {
    std::fs::create_dir_all(top.join("folder")).unwrap();
    std::fs::write(top.join("folder/text"), text(70_000)).unwrap();
    std::fs::write(top.join("folder/large"), noise(700_000, 1)).unwrap();
    std::fs::hard_link(top.join("folder/text"), top.join("name")).unwrap();
    std::os::unix::fs::symlink("/etc", top.join("link")).unwrap();
    let sparse = File::create(top.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    sparse.write_all_at(b"x", 500_000).unwrap();
    File::create(top.join("empty")).unwrap().write_all(b"").unwrap();
}

#[test]
fn no_harm_to_an_artefact_makes_it_lie() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    small_tree(&tree);
    let (whole, _) = pack_tree(&tree, scratch.path());
    let original = snapshot(&tree, false);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest::proptest!(config, |(harms in proptest::collection::vec(harm(), 1..3))| {
        let mut bytes = whole.clone();
        harms.iter().for_each(|harm| harm.apply(&mut bytes));
        if bytes == whole || bytes.is_empty() {
            return Ok(());
        }
        let Ok(artefact) = Artefact::open(Bytes::of(bytes), None) else { return Ok(()) };
        let report = verify(&artefact, Depth::Entries, &Control::default());
        proptest::prop_assert!(report.is_err() || !report.unwrap().damage.is_empty());
        let around = tempfile::tempdir().unwrap();
        let to = around.path().join("to");
        if extract(&artefact.into(), &everything("s/tree", &to), &Control::default()).is_ok() {
            for (path, what) in snapshot(&to, false) {
                // Folders have other times where something in them is missing.
                if !what.starts_with("Directory") && !what.contains("same as") {
                    let was = &original[&path];
                    proptest::prop_assert!(was.starts_with(&what), "{:?} {} {}", path, was, what);
                }
            }
        }
        proptest::prop_assert_eq!(std::fs::read_dir(around.path()).unwrap().count() <= 1, true);
    });
}

#[test]
fn targets_do_not_mix() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    small_tree(&tree);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    let artefact = View::from(open(&bytes));
    let mut wanted = everything("s/tree/folder", &scratch.path().join("one"));
    wanted.targets.push(Target::folder(b"s/tree", &scratch.path().join("two")));
    let extracted = extract(&artefact, &wanted, &Control::default()).unwrap();
    assert_eq!(extracted.problems, []);
    assert!(scratch.path().join("one/large").exists());
    assert!(!scratch.path().join("two/folder").exists());
    // Its file went to another target: the contents, not a link.
    assert_eq!(std::fs::read(scratch.path().join("two/name")).unwrap(), text(70_000));
}
