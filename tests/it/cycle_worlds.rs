//! What the tests of cycles share: plans with a cycle, trees that change from day to day, and the exact look of a tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::scenario::{Answer, Scenario, settle, shell};

/// A plan of one tree and a folder store, with these lines in its archive and these declarations behind it.
pub fn plan(archive: &str, more: &str) -> String {
    format!(
        "plan p\n\nstore store: dir {{\n  path = \"store\"\n}}\n\nretry {{\n  attempts = 1\n}}\n\n\
         source site: files {{\n  paths = [\"site\"]\n}}\n\n\
         archive main {{\n  from = [site]\n  to   = [store]\n{archive}}}\n\n{more}\n"
    )
}

/// A cycle of five with this base.
pub fn five(base: &str) -> String {
    format!("cycle {{ incrementals = 4, base = {base} }}")
}

/// A world with a plan and a small tree that has something of every kind.
pub fn world(plan: &str) -> Scenario {
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let scenario = Scenario::new()
        .file("p.plan", plan)
        .file("site/noise", noise)
        .file("site/same", "same")
        .file("site/changes", "0")
        .file("site/goes", "goes")
        .file("site/moves", "moves")
        .file("site/turns", "a file")
        .file("site/mode", "mode")
        .file("site/marked", "marked")
        .file("site/group_a", "one of three")
        .file("site/deep/er/leaf", "leaf")
        .file("site/folder/in", "in");
    shell(
        &scenario.path("site"),
        "ln group_a group_b; ln group_a deep/group_c; ln -s same link; mkdir empty; chmod 750 folder; \
         setfattr -n user.a -v 1 marked; printf x > \"$(printf 'odd \\377 name')\"",
    );
    settle();
    scenario
}

/// What happens to the tree on each of nine days after the first.
pub const DAYS: [&str; 9] = [
    "echo 1 > changes; echo new > added; mkdir -p new/folder; echo x > new/folder/x",
    "rm goes; mv moves moved; mv deep/er deep/down; rm -r new",
    "rm turns; mkdir turns; echo inside > turns/inside; rm -r folder; echo 'a file now' > folder",
    "chmod 600 mode; chmod 700 deep; chmod u+s same; touch -h -d 2001-02-03 link",
    "setfattr -n user.a -v 2 marked; setfattr -n user.b -v 1 deep; setfattr -x user.b deep; setfattr -n user.c -v 1 changes",
    "rm -r turns; echo 'a file again' > turns; rm folder; mkdir folder; echo back > folder/in; rm link; ln -s noise link",
    "echo more >> group_a; ln noise noise_too; setfattr -x user.a marked",
    "rm group_b; echo alone > group_b; rm noise; mv noise_too noise; touch -d 2020-02-02T02:02:02.123456789 empty",
    "rm -r deep empty; ln changes deep; printf 'x' | dd of=same bs=1 conv=notrunc 2>/dev/null",
];

/// All that a restore must give back of each path below a folder.
pub fn look(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        all.push(folder.clone());
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match fs::symlink_metadata(&path).unwrap().is_dir() {
                true => folders.push(path),
                false => all.push(path),
            }
        }
    }
    all.sort();
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for path in all {
        let seen = fs::symlink_metadata(&path).unwrap();
        let inner = path.strip_prefix(folder).unwrap().to_path_buf();
        let contents = match (seen.is_file(), seen.is_symlink()) {
            (true, _) => format!("{} {:?}", seen.len(), digest(&fs::read(&path).unwrap())),
            (_, true) => format!("{:?}", fs::read_link(&path).unwrap()),
            _ => String::new(),
        };
        let twin = match seen.is_file() {
            true => first.entry(seen.ino()).or_insert_with(|| inner.clone()).clone(),
            false => PathBuf::new(),
        };
        let text = format!(
            "mode {:o} owner {}:{} time {}.{:09} same as {twin:?} {} {contents}",
            seen.mode(),
            seen.uid(),
            seen.gid(),
            seen.mtime(),
            seen.mtime_nsec(),
            attributes(&path)
        );
        found.insert(inner, text);
    }
    found
}

fn attributes(path: &Path) -> String {
    let output = std::process::Command::new("getfattr")
        .args(["-h", "-d", "-m", "^user", "--absolute-names"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).lines().skip(1).collect::<Vec<_>>().join(" ")
}

fn digest(bytes: &[u8]) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Differences between two looks, for people.
#[track_caller]
pub fn same(found: &BTreeMap<PathBuf, String>, wanted: &BTreeMap<PathBuf, String>, context: &str) {
    let mut wrong = Vec::new();
    for path in found.keys().chain(wanted.keys()) {
        if found.get(path) != wanted.get(path) {
            wrong.push(format!("{path:?}\n  found  {:?}\n  wanted {:?}", found.get(path), wanted.get(path)));
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{context}:\n{}", wrong.join("\n"));
}

/// Restores a run's tree `source` and looks at it.
#[track_caller]
pub fn restored(scenario: &Scenario, run: &str, source: &str, folder: &str) -> BTreeMap<PathBuf, String> {
    restored_with(scenario, run, source, folder, &[])
}

/// As [`restored`], with more arguments.
#[track_caller]
pub fn restored_with(
    scenario: &Scenario,
    run: &str,
    source: &str,
    folder: &str,
    more: &[&str],
) -> BTreeMap<PathBuf, String> {
    let _ = fs::remove_dir_all(scenario.path("out"));
    let mut args = vec!["restore", "--run", run, "--source", source, "--to", "out"];
    args.extend(more);
    scenario.plan(args).status(0);
    look(&scenario.path(&format!("out/{folder}")))
}

/// The manifest of a run, as text.
pub fn manifest(scenario: &Scenario, store: &str, sequence: u32) -> String {
    shell(&scenario.path(store), &format!("cat .backplan/p/manifests/{sequence:08}-*.yaml"))
}

/// The level of a run.
pub fn level(scenario: &Scenario, store: &str, sequence: u32) -> String {
    let text = manifest(scenario, store, sequence);
    let line = text.lines().find(|line| line.starts_with("level: ")).unwrap();
    line.trim_start_matches("level: ").to_owned()
}

/// The levels of all runs of a store, as initials.
pub fn levels(scenario: &Scenario, store: &str) -> String {
    let text = shell(
        &scenario.path(store),
        "for m in .backplan/p/manifests/*.yaml; do grep '^level: ' $m | cut -c8; done | tr -d '\\n'",
    );
    text.trim().to_owned()
}

/// A run on the next day.
#[track_caller]
pub fn run(scenario: &Scenario) -> Answer {
    settle();
    scenario.next_day().plan(["run"])
}
