//! Trees as they were at several moments, and artefacts that hold the differences between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use backplan_archive::artefact::{Artefact, Deleted, Layer, PackOptions, View, pack};
use backplan_archive::scan::scan;
use backplan_host::control::Control;

use super::{Bytes, Snapshot, files, open, options, snapshot, trees};
use backplan_archive::artefact::{Content, Input};

/// What a difference holds of a source.
pub struct Delta {
    pub source: String,
    /// A tree with what changed, and the folders above it.
    pub tree: PathBuf,
    /// Paths in the artefact.
    pub deleted: Vec<Vec<u8>>,
}

/// A copy of a tree, to the last attribute.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

fn parent(path: &OsString) -> Option<OsString> {
    let path = Path::new(path);
    (!path.as_os_str().is_empty()).then(|| path.parent().unwrap_or(Path::new("")).as_os_str().to_owned())
}

/// Names of each file, by one of its names.
fn groups(top: &Path, tree: &Snapshot) -> BTreeMap<OsString, BTreeSet<OsString>> {
    let mut inodes: BTreeMap<u64, BTreeSet<OsString>> = BTreeMap::new();
    for path in tree.keys() {
        let seen = top.join(path).symlink_metadata().unwrap();
        if seen.is_file() && seen.nlink() > 1 {
            inodes.entry(seen.ino()).or_default().insert(path.clone());
        }
    }
    let each = inodes.into_values().filter(|names| names.len() > 1);
    each.flat_map(|names| names.clone().into_iter().map(move |name| (name, names.clone()))).collect()
}

fn kind(description: &str) -> &str {
    description.split(' ').next().unwrap()
}

/// The paths of `new` that a difference has to hold, without folders above them.
fn changed(old: &Path, new: &Path, before: &Snapshot, after: &Snapshot) -> BTreeSet<OsString> {
    let (old_groups, new_groups) = (groups(old, before), groups(new, after));
    let differs =
        |path: &OsString| before.get(path) != after.get(path) || old_groups.get(path) != new_groups.get(path);
    let mut changed: BTreeSet<OsString> = after.keys().filter(|path| differs(path)).cloned().collect();
    for (path, names) in &new_groups {
        // A group is one unit.
        if changed.contains(path) {
            changed.extend(names.iter().cloned());
        }
    }
    changed
}

/// What became of `old` in `new`.
pub fn delta(source: &str, old: &Path, new: &Path, scratch: &Path) -> Delta {
    let name = new.file_name().unwrap();
    let (before, after) = (snapshot(old, false), snapshot(new, false));
    let mut wanted = changed(old, new, &before, &after);
    for path in wanted.clone() {
        let mut above = parent(&path);
        while let Some(folder) = above {
            above = parent(&folder);
            wanted.insert(folder);
        }
    }
    wanted.insert(OsString::new());
    let tree = scratch.join(format!("delta-{source}")).join(name);
    let _ = std::fs::remove_dir_all(tree.parent().unwrap());
    take(new, &tree, &wanted);
    let taken = snapshot(&tree, false);
    let same = |path: &&OsString| taken.get(*path) == after.get(*path);
    assert_eq!(wanted.iter().find(|path| !same(path)), None, "tar did not copy it well");
    let gone =
        before.iter().filter(|(path, what)| after.get(*path).is_none_or(|now| kind(now) != kind(what)));
    let deleted = gone.map(|(path, _)| {
        let inside = Path::new(source).join(name).join(path);
        let mut bytes = inside.into_os_string().into_vec();
        if bytes.ends_with(b"/") {
            bytes.pop();
        }
        bytes
    });
    Delta { source: source.to_string(), deleted: deleted.collect(), tree }
}

/// Copies these paths of a tree.
fn take(from: &Path, to: &Path, paths: &BTreeSet<OsString>) {
    std::fs::create_dir_all(to).unwrap();
    let mut list = Vec::new();
    // By components: tar sets a folder's time as soon as something comes that is not below it.
    let paths: BTreeSet<&Path> = paths.iter().map(Path::new).collect();
    for path in paths {
        list.extend_from_slice(b"./");
        list.extend_from_slice(path.as_os_str().as_bytes());
        list.push(0);
    }
    let options = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"];
    let mut create = Command::new("tar");
    create.arg("-C").arg(from).args(options).args(["--format=posix", "--no-recursion", "--null", "-T", "-"]);
    create.args(["--sparse", "-cf", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut create = create.spawn().unwrap();
    let mut extract = Command::new("tar");
    extract.arg("-C").arg(to).args(options).args(["--same-owner", "-p", "-xf", "-"]);
    extract.stdin(create.stdout.take().unwrap());
    let mut extract = extract.spawn().unwrap();
    create.stdin.take().unwrap().write_all(&list).unwrap();
    assert!(create.wait().unwrap().success());
    assert!(extract.wait().unwrap().success());
}

/// Packs trees, each as a source; with deletions, as a difference.
pub fn pack_trees(sources: &[(&str, &Path)], deleted: Option<Vec<Vec<u8>>>, scratch: &Path) -> Vec<u8> {
    let input = |(source, tree): &(&str, &Path)| {
        let out = scratch.join(format!("{source}.scan"));
        scan(&trees(source, files(&[tree], &[])), &out, &Control::default()).unwrap();
        Input { source: (*source).to_string(), content: Content::Scan { scan: out, base: None } }
    };
    let options =
        PackOptions { deleted: deleted.map(|paths| Deleted::new(paths).unwrap()), ..options(scratch) };
    let mut sink = Bytes::default();
    pack(sources.iter().map(input).collect(), &options, &mut sink, &Control::default()).unwrap();
    std::mem::take(&mut *sink.0.lock().unwrap())
}

/// The whole of a tree.
pub fn whole(source: &str, tree: &Path, scratch: &Path) -> Vec<u8> {
    pack_trees(&[(source, tree)], None, scratch)
}

/// The difference between two trees.
pub fn difference(source: &str, old: &Path, new: &Path, scratch: &Path) -> Vec<u8> {
    let delta = delta(source, old, new, scratch);
    pack_trees(&[(source, &delta.tree)], Some(delta.deleted), scratch)
}

/// Artefacts as layers, all sources of each.
pub fn view(layers: &[Vec<u8>]) -> View {
    View::new(layers.iter().map(|bytes| Layer { artefact: Arc::new(open(bytes)), sources: None }).collect())
}

/// An artefact as a layer for these sources.
pub fn layer(bytes: &[u8], sources: &[&str]) -> Layer {
    let artefact: Arc<Artefact> = Arc::new(open(bytes));
    Layer { artefact, sources: Some(sources.iter().map(|source| (*source).to_string()).collect()) }
}
