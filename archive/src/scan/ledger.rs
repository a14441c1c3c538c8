//! What file systems a walk comes by, held against those that the source was read from before: one that is not mounted must not
//! pass for a folder that somebody emptied.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use backplan_compiler::model::Files;
use rustix::fs::{CWD, Mode, OFlags, Statx, openat};

use super::record::{Scanned, Unseen};
use super::why::{self, Rule};
use super::{Summary, Trees};
use crate::scan::Mounted;
use backplan_host::names::{HostPath, PlanName};
use backplan_host::places::mounts::{self, Mounts};
use backplan_host::text::printable;
use backplan_host::tree::Kind;
use backplan_host::tree::is_at_or_below;

/// A part of the source that is, or was, on a file system of its own.
struct Place {
    path: PathBuf,
    /// What it is on now; `None`: on the same as the folder above it.
    on: Option<On>,
    leaves: u64,
    bytes: u64,
}

struct On {
    mount: PathBuf,
    kind: String,
    identity: Option<String>,
}

/// A folder that a walk enters, or a file that may be mounted by itself.
pub(super) struct Entered<'a> {
    /// Itself.
    pub folder: &'a OwnedFd,
    /// What was seen of it.
    pub seen: &'a Statx,
    /// Whether its file system has another number than the one above it.
    pub is_other: bool,
    /// Whether it is an entry of `paths`.
    pub is_root: bool,
    /// Its path inside the source.
    pub path: &'a [u8],
}

/// A part of the source that is not there, as what it was on is not mounted.
pub(super) struct Lost {
    /// Where, on this host.
    pub path: PathBuf,
    /// Inside the source: the topmost folder that is not there.
    pub inside: Vec<u8>,
    /// What tells it from others that were there.
    pub which: String,
    /// In words.
    pub text: String,
}

/// The file systems of one walk.
pub(super) struct Ledger<'a> {
    trees: &'a Trees,
    /// What is expected, by its path inside the source: where one disk took another's place, both.
    expected: HashMap<Vec<u8>, Vec<&'a Mounted>>,
    places: Vec<Place>,
    mounts: Mounts,
}

impl<'a> Ledger<'a> {
    pub fn new(trees: &'a Trees) -> Ledger<'a> {
        let mut expected: HashMap<Vec<u8>, Vec<&Mounted>> = HashMap::new();
        for mounted in &trees.mounts {
            if let Some(inside) = inside(&trees.files, mounted) {
                expected.entry(inside).or_default().push(mounted);
            }
        }
        Ledger { trees, expected, places: Vec::new(), mounts: Mounts::now() }
    }

    /// Whether a file may be of another place than the folder that it is in: containers are given single files.
    pub fn asks_of_file(&self, seen: &Statx, is_root: bool, path: &[u8]) -> bool {
        is_root || mounts::is_mount(seen) == Some(true) || self.expected.contains_key(path)
    }

    /// The place that a folder is of, where the one above it is of `above`.
    pub fn enter(
        &mut self,
        entered: &Entered<'_>,
        above: Option<usize>,
        host: impl Fn() -> PathBuf,
    ) -> Option<usize> {
        let is_mount = mounts::is_mount(entered.seen).unwrap_or(entered.is_other);
        let is_looked_at = is_mount || entered.is_root;
        match is_looked_at.then(|| self.on(entered.folder)).flatten() {
            Some((on, true)) if !self.is_on(above, &on) => {
                return Some(self.begin(host(), Some(on)));
            }
            // What is in it is nobody's, and not what the folder above it holds.
            Some((_, false)) if is_mount => return None,
            _ => {}
        }
        match self.expected.contains_key(entered.path) {
            true => Some(self.begin(host(), None)),
            false => above,
        }
    }

    /// What a folder is on, and whether that may be missed one day; `None`: what everything is on.
    fn on(&mut self, folder: &OwnedFd) -> Option<(On, bool)> {
        // Looking may have mounted it.
        if self.mounts.of(folder).is_none() {
            self.mounts = Mounts::now();
        }
        let mount = self.mounts.of(folder).filter(|mount| mount.point != Path::new("/"))?;
        let identity = mount.identity(folder);
        let on = On { mount: mount.point.clone(), kind: mount.kind.clone(), identity };
        Some((on, mount.is_lasting()))
    }

    fn is_on(&self, place: Option<usize>, on: &On) -> bool {
        let place = place.and_then(|at| self.places[at].on.as_ref());
        place.is_some_and(|place| place.mount == on.mount)
    }

    fn begin(&mut self, path: PathBuf, on: Option<On>) -> usize {
        self.places.push(Place { path, on, leaves: 0, bytes: 0 });
        self.places.len() - 1
    }

    /// Counts what was found in a place.
    pub fn count(&mut self, place: Option<usize>, entry: &Scanned) {
        if let Some(place) = place.and_then(|at| self.places.get_mut(at))
            && entry.kind != Kind::Directory
        {
            place.leaves += 1;
            place.bytes += entry.bytes_to_read();
        }
    }

    /// Tells what is missing, and leaves in the summary what the next run is to expect. What is at or below something `unseen` is
    /// told of already.
    pub fn settle(self, unseen: &[Unseen], summary: &mut Summary) -> Vec<Lost> {
        let mut lost: Vec<Lost> = Vec::new();
        let mut expected: Vec<_> = self.expected.iter().collect();
        expected.sort_by_key(|(inside, _)| *inside);
        for (inside, wanted) in
            expected.into_iter().flat_map(|(inside, all)| all.iter().map(move |it| (inside, it)))
        {
            let place = self.places.iter().find(|place| *place.path == *wanted.path);
            let Some(cause) = missed(&self.trees.files, wanted, place) else { continue };
            let is_told = unseen.iter().any(|it| !it.mounted && is_at_or_below(inside, &it.path))
                || lost.iter().any(|it| wanted.path.starts_with(&it.path)) && place.is_none();
            // One that is mounted, and that the walk did not come to, is told of by what kept it away.
            let is_elsewhere = place.is_none() && mounts::is_mounted(&wanted.mount);
            // Its files are in the source, by other names.
            let has_moved = |place: &Place| {
                let on = place.on.as_ref();
                on.is_some_and(|on| {
                    on.kind == wanted.kind && on.identity.is_some() && on.identity == wanted.identity
                })
            };
            if self.places.iter().any(has_moved) {
                continue;
            }
            if !is_told && !is_elsewhere {
                let inside = topmost(&self.trees.files, &wanted.path, inside);
                let (path, which) = (wanted.path.to_path_buf(), wanted.which());
                lost.push(Lost { path, inside, which, text: told(wanted, &cause) });
            }
            summary.mounts.push((*wanted).clone());
        }
        // What has taken its place is missed no less, once it is away.
        let is_known =
            |found: &Mounted| summary.mounts.iter().any(|it| it.path == found.path && it.is_as(found));
        let found = self.places.iter().filter(|place| place.leaves > 0);
        let found = found.filter_map(|place| self.record(place)).filter(|found| !is_known(found));
        let found: Vec<Mounted> = found.collect();
        summary.mounts.extend(found);
        lost
    }

    fn record(&self, place: &Place) -> Option<Mounted> {
        let On { mount, kind, identity } = place.on.as_ref()?;
        Some(Mounted {
            source: PlanName::known(&self.trees.source),
            path: HostPath::known(&place.path),
            mount: HostPath::known(mount),
            kind: kind.clone(),
            identity: identity.clone(),
            leaves: place.leaves,
            bytes: place.bytes,
            run: None,
        })
    }
}

/// Whether all that is expected is mounted where it was.
pub(super) fn all_mounted(trees: &Trees) -> bool {
    let mounts = Mounts::now();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let is_there = |wanted: &&Mounted| {
        let Ok(folder) = openat(CWD, &*wanted.mount, flags, Mode::empty()) else { return false };
        let on = mounts.of(&folder).filter(|on| on.point == *wanted.mount);
        let on = on.map(|on| On {
            mount: on.point.clone(),
            kind: on.kind.clone(),
            identity: on.identity(&folder),
        });
        on.is_some_and(|on| is_it(&trees.files, wanted, &on))
    };
    let ledger = Ledger::new(trees);
    ledger.expected.into_values().flatten().all(|wanted| is_there(&wanted))
}

/// Where in the source a file system is expected that is of it still; `None`: the plan leaves it out by now.
fn inside(files: &Files, wanted: &Mounted) -> Option<Vec<u8>> {
    let answer = why::why(files, &wanted.path)?;
    let is_root = files.paths.iter().any(|entry| entry.absolute == *wanted.path);
    if files.one_file_system && !is_root {
        return None;
    }
    // Whoever leaves out all that is in a folder means it no less.
    let below = why::why(files, &wanted.path.join("\u{1}"))?;
    let is_left_out = |rule: Option<Rule>| matches!(rule, Some(Rule::Pattern(..) | Rule::Cache(_)));
    if is_left_out(answer.left_out) || is_left_out(below.left_out) {
        return None;
    }
    Some(answer.inside.into_os_string().into_encoded_bytes())
}

/// Why what was on a file system is not believed to be gone on purpose.
enum Cause {
    NotMounted,
    Other(String),
}

/// `None`: it is there. Whatever else is in its place is not what it held: a copy that is as good as whole lacks its newest files.
fn missed(files: &Files, wanted: &Mounted, place: Option<&Place>) -> Option<Cause> {
    match place.map(|place| &place.on) {
        Some(Some(on)) if is_it(files, wanted, on) => None,
        Some(Some(on)) if mounts::is_mounted(&wanted.mount) => Some(Cause::Other(on.kind.clone())),
        _ => Some(Cause::NotMounted),
    }
}

/// Whether a file system is the one that is wanted. Below a `root` that is a snapshot, which is another each night.
fn is_it(files: &Files, wanted: &Mounted, on: &On) -> bool {
    let is_in_root = files.root.as_ref().is_some_and(|root| wanted.mount.starts_with(root));
    is_in_root && on.mount == *wanted.mount || wanted.is_same(&on.kind, on.identity.as_deref(), &on.mount)
}

fn told(wanted: &Mounted, cause: &Cause) -> String {
    let shown = |path: &Path| printable(path.as_os_str().as_bytes());
    let (path, mount, kind) = (shown(&wanted.path), shown(&wanted.mount), printable(wanted.kind.as_bytes()));
    let run = wanted.run.map(|run| format!(" in run {run}")).unwrap_or_default();
    let what = match wanted.path == wanted.mount {
        true => format!("`{path}` was a file system of its own ({kind}){run}"),
        false => format!("`{path}` was on a file system ({kind}) that was mounted at `{mount}`{run}"),
    };
    let is = match cause {
        Cause::NotMounted => "is not mounted".to_owned(),
        Cause::Other(kind) => {
            format!("another one ({}) is in its place", printable(kind.as_bytes()))
        }
    };
    format!(
        "{what}, and {is}: mount it; one that is given up for good, or whose files have moved, is said once: \
         `plan run FILE --unmounted {mount}`, or left out by a pattern"
    )
}

/// The topmost folder on the way that is not there: nothing is known of what was in it.
fn topmost(files: &Files, path: &Path, inside: &[u8]) -> Vec<u8> {
    let is_gone = |path: &&Path| path.symlink_metadata().is_err();
    let Some(top) = path.ancestors().take_while(is_gone).last() else { return inside.to_vec() };
    let answer = why::why(files, top).map(|answer| answer.inside.into_os_string().into_encoded_bytes());
    answer.unwrap_or_else(|| inside.to_vec())
}
