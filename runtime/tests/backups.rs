//! What a store gives back of runs that rest on others, and what it says where one is missing.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../archive/tests/it/support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use backplan_compiler::model::Level;
use backplan_runtime::artefact::Depth;
use backplan_runtime::backups::BackupsError;
use backplan_runtime::backups::check::check;
use backplan_runtime::backups::compare::{Change, How, Side, compare};
use backplan_runtime::backups::shelf::Shelf;
use backplan_runtime::catalog::ids::{Nonce, RunId, Uuid};
use backplan_runtime::catalog::manifest::{
    ArchiveRecord, Content, FORMAT, HostRef, IndexPlace, MIN_READER, Manifest, PlanRef, Second,
};
use backplan_runtime::catalog::names::{ArtefactName, Digest, PlanName};
use backplan_runtime::control::Control;
use backplan_runtime::extract::extract;
use support::evolve::{copy, delta, pack_trees, whole};
use support::{assert_same, everything, open, snapshot};

/// A store with three runs of the archive `main`, of the sources `s` and `t`: the first whole; the second a difference of
/// `s`, and `t` whole again; the third finds nothing changed in the second's.
struct Store {
    scratch: tempfile::TempDir,
    runs: Vec<RunId>,
}

fn run_id(sequence: u32) -> RunId {
    format!("{sequence:08}-20261120T02300{sequence}Z-k7f3qa").parse().unwrap()
}

fn content(source: &str, level: Level, rests_on: &[RunId]) -> Content {
    Content { source: PlanName::known(source), level, place: 0, rests_on: rests_on.to_vec() }
}

impl Store {
    fn new() -> Store {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store { scratch, runs: (1..=3).map(run_id).collect() };
        fs::create_dir_all(store.folder().join(".backplan/site/manifests")).unwrap();
        for (name, contents) in [("s1", "s"), ("t1", "t")] {
            fs::create_dir_all(store.tree(name).join("folder")).unwrap();
            for file in ["same", "changes", "folder/goes", "folder/stays"] {
                fs::write(store.tree(name).join(file), format!("{contents} {file}")).unwrap();
            }
        }
        store.next("s1", "s2");
        store.next("t1", "t2");
        let scratch = store.scratch.path();
        let first = pack_trees(&[("s", &store.tree("s1")), ("t", &store.tree("t1"))], None, scratch);
        let s = delta("s", &store.tree("s1"), &store.tree("s2"), scratch);
        let second = pack_trees(&[("s", &s.tree), ("t", &store.tree("t2"))], Some(s.deleted), scratch);
        let runs = &store.runs;
        let (full, differs) = (Level::Full, Level::Incremental);
        store.add(0, "1.tar.gz", &first, runs[0], vec![content("s", full, &[]), content("t", full, &[])]);
        let contents = vec![content("s", differs, &runs[..1]), content("t", full, &[])];
        store.add(1, "2.tar.gz", &second, runs[1], contents);
        let contents = vec![content("s", differs, &runs[..2]), content("t", differs, &runs[1..2])];
        store.add(2, "2.tar.gz", &second, runs[1], contents);
        store
    }

    fn next(&self, before: &str, after: &str) {
        copy(&self.tree(before), &self.tree(after));
        fs::write(self.tree(after).join("changes"), "changed").unwrap();
        fs::remove_file(self.tree(after).join("folder/goes")).unwrap();
        fs::write(self.tree(after).join("folder/new"), "new").unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.scratch.path().join("store")
    }

    fn tree(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name).join("tree")
    }

    fn artefact(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn manifest_file(&self, run: usize) -> PathBuf {
        self.folder().join(format!(".backplan/site/manifests/{}.yaml", self.runs[run]))
    }

    fn add(&self, run: usize, name: &str, bytes: &[u8], holder: RunId, contents: Vec<Content>) {
        fs::write(self.artefact(name), bytes).unwrap();
        let (artefact, run) = (open(bytes), self.runs[run]);
        let (index, level) = (artefact.index(), contents[0].level);
        let record = ArchiveRecord {
            name: PlanName::known("main"),
            artefact: ArtefactName::known(name),
            holder,
            format: 1,
            size: bytes.len() as u64,
            sha256: None,
            root: Digest::known(&artefact.root().to_string()),
            index: IndexPlace { offset: index.offset, table: index.table, table_length: index.table_len },
            members: 3,
            recipients: Vec::new(),
            contents,
        };
        let manifest = Manifest {
            format: FORMAT,
            min_reader: MIN_READER,
            requires: Vec::new(),
            run,
            nonce: Nonce::random(),
            plan: PlanRef { name: "site".to_string(), id: Uuid::from_bytes([1; 16]) },
            level,
            started: run.started(),
            finished: run.started(),
            host: HostRef { machine: Uuid::from_bytes([2; 16]), name: "host".to_string() },
            program: "backplan test".to_string(),
            stores: Vec::new(),
            sources: Vec::new(),
            archives: vec![record],
            missing: Vec::new(),
            repositories: Vec::new(),
            warnings: None,
            sealed: None,
            second: Second::default(),
        };
        let file = self.manifest_file(self.runs.iter().position(|other| *other == run).unwrap());
        fs::write(file, manifest.to_bytes().unwrap()).unwrap();
    }

    fn shelf(&self) -> Shelf {
        Shelf::open(&self.folder(), None).unwrap()
    }

    /// Restores sources of a run; the artefacts that were read.
    fn restore(&self, run: usize, sources: &[&str], to: &Path) -> Result<Vec<String>, BackupsError> {
        let shelf = self.shelf();
        let manifest = shelf.catalog.get(&self.runs[run]).unwrap();
        let chain = shelf.view(manifest, &manifest.archives[0], &|source| sources.contains(&source))?;
        let done = extract(&chain.view, &everything("", to), &Control::default()).unwrap();
        assert_eq!(done.problems, []);
        Ok(chain.artefacts().map(str::to_owned).collect())
    }
}

#[test]
fn each_run_is_restored_with_what_it_rests_on() {
    let store = Store::new();
    let moments = [("s1", "t1"), ("s2", "t2"), ("s2", "t2")];
    let read = [&["1.tar.gz"][..], &["1.tar.gz", "2.tar.gz"], &["1.tar.gz", "2.tar.gz"]];
    for (run, (s, t)) in moments.into_iter().enumerate() {
        let to = store.scratch.path().join(format!("to {run}"));
        assert_eq!(store.restore(run, &["s", "t"], &to).unwrap(), read[run]);
        assert_same(&snapshot(&store.tree(s), false), &snapshot(&to.join("s/tree"), false));
        assert_same(&snapshot(&store.tree(t), false), &snapshot(&to.join("t/tree"), false));
    }
    // A source that rests on nothing needs nothing else.
    let alone = store.scratch.path().join("alone");
    assert_eq!(store.restore(1, &["t"], &alone).unwrap(), ["2.tar.gz"]);
    assert_same(&snapshot(&store.tree("t2"), false), &snapshot(&alone.join("t/tree"), false));
}

/// Runs 1 to 3 in the order of the store; the middle's base is harmed, and what is said of it returned.
fn harmed(harm: impl FnOnce(&Store)) -> (Store, String) {
    let store = Store::new();
    harm(&store);
    let to = store.scratch.path().join("to");
    let error = store.restore(1, &["s", "t"], &to).unwrap_err();
    assert!(!to.exists());
    let left = "without it `s` of this run cannot be restored; `t` can be (`--source`); every other run in this store \
                rests on it too";
    assert!(error.to_string().ends_with(left), "{error}");
    store.restore(1, &["t"], &to).unwrap();
    (store, error.to_string())
}

#[test]
fn a_base_that_is_gone_truncated_replaced_or_unknown_is_named() {
    let (store, gone) = harmed(|store| fs::remove_file(store.artefact("1.tar.gz")).unwrap());
    let runs: Vec<String> = store.runs.iter().map(ToString::to_string).collect();
    assert_eq!(
        gone.replace(&store.folder().display().to_string(), "STORE"),
        format!(
            "run {} rests on run {}, and in store `STORE` its artefact `1.tar.gz` cannot be read: cannot read the \
             artefact: it is not there, though its manifest is; without it `s` of this run cannot be restored; `t` can be \
             (`--source`); every other run in this store rests on it too",
            runs[1], runs[0]
        )
    );
    let (_, truncated) = harmed(|store| {
        let bytes = fs::read(store.artefact("1.tar.gz")).unwrap();
        fs::write(store.artefact("1.tar.gz"), &bytes[..bytes.len() - 100]).unwrap();
    });
    assert!(truncated.contains("truncated"), "{truncated}");
    let (_, replaced) = harmed(|store| {
        let mut bytes = whole("s", &store.tree("s1"), store.scratch.path());
        bytes.splice(0..0, whole("s", &store.tree("s1"), store.scratch.path()));
        fs::write(store.artefact("1.tar.gz"), bytes).unwrap();
    });
    assert!(replaced.contains("not the artefact that the manifest names"), "{replaced}");
    let (_, unknown) = harmed(|store| fs::remove_file(store.manifest_file(0)).unwrap());
    assert!(unknown.contains("that run cannot be read: its manifest is missing"), "{unknown}");
}

#[test]
fn a_base_that_is_damaged_inside_is_named_by_what_reads_it() {
    let store = Store::new();
    let bytes = fs::read(store.artefact("2.tar.gz")).unwrap();
    let place = open(&bytes).find(b".backplan/deleted").unwrap().unwrap().place as usize;
    let mut harmed = bytes.clone();
    harmed[place + 20..][..8].fill(0x55);
    fs::write(store.artefact("2.tar.gz"), harmed).unwrap();
    let shelf = store.shelf();
    let manifest = shelf.catalog.get(&store.runs[1]).unwrap();
    let chain = shelf.view(manifest, &manifest.archives[0], &|_| true).unwrap();
    let error = chain.error(chain.view.entries().find_map(Result::err).unwrap());
    assert!(matches!(&error, BackupsError::Artefact { artefact, .. } if artefact == "2.tar.gz"), "{error}");
}

#[test]
fn a_check_says_that_a_base_is_missing() {
    let store = Store::new();
    let checked = |store: &Store, run: usize| {
        let shelf = store.shelf();
        let manifest = shelf.catalog.get(&store.runs[run]).unwrap();
        check(&shelf, manifest, Some(Depth::Entries), &Control::default()).unwrap()
    };
    assert!((0..3).all(|run| checked(&store, run).is_whole()));
    fs::remove_file(store.artefact("1.tar.gz")).unwrap();
    for run in 1..3 {
        let checked = checked(&store, run);
        let [damage] = &checked.artefacts[0].damage[..] else { unreachable!("{checked:?}") };
        assert_eq!(damage.base, Some(store.runs[0].to_string()));
        assert!(damage.what.contains("whose artefact `1.tar.gz` cannot be read"), "{}", damage.what);
    }
    fs::remove_file(store.manifest_file(1)).unwrap();
    let bases: Vec<_> =
        checked(&store, 2).artefacts[0].damage.iter().map(|damage| damage.base.clone()).collect();
    assert_eq!(bases, [Some(store.runs[0].to_string()), Some(store.runs[1].to_string())]);
}

#[test]
fn two_runs_are_compared_file_by_file() {
    let store = Store::new();
    let shelf = store.shelf();
    let side = |run: usize| {
        let manifest = shelf.catalog.get(&store.runs[run]).unwrap();
        let chains =
            manifest.archives.iter().map(|archive| shelf.view(manifest, archive, &|_| true).unwrap());
        Side::new(chains.collect())
    };
    let changes = |before: usize, after: usize| {
        let (before, after, control) = (side(before), side(after), Control::default());
        let path = |entry: &backplan_runtime::artefact::Entry| String::from_utf8(entry.path.clone()).unwrap();
        compare(&before, &after, &control)
            .map(|change| match change.unwrap() {
                Change::Added(entry) => ('+', path(&entry), Vec::new()),
                Change::Removed(entry) => ('-', path(&entry), Vec::new()),
                Change::Changed { after, how, .. } => ('~', path(&after), how),
            })
            .filter(|(_, path, _)| path.starts_with("s/tree"))
            .collect::<Vec<_>>()
    };
    let expected = |marks: [char; 4]| {
        let [a, b, c, d] = marks;
        vec![
            (a, "s/tree/changes".to_string(), vec![How::Content, How::Time]),
            (b, "s/tree/folder".to_string(), vec![How::Time]),
            (c, "s/tree/folder/goes".to_string(), Vec::new()),
            (d, "s/tree/folder/new".to_string(), Vec::new()),
        ]
    };
    assert_eq!(changes(0, 1), expected(['~', '~', '-', '+']));
    assert_eq!(changes(1, 0), expected(['~', '~', '+', '-']));
    assert_eq!(changes(1, 2), []);
    assert_eq!(changes(0, 0), []);
}
