//! Whether a source takes a path in, and the rule that decides: the same rules that a walk goes by, asked for one path.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use backplan_compiler::model::Files;
use backplan_compiler::pattern::{Patterns, Verdict};

pub use super::link::Link;
use super::link::look;
use super::walk::CACHE_TAG;

/// What a source of files does with a path that is at or below one of its `paths`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The entry of `paths` that it is below, by its place there.
    pub root: usize,
    /// Its path inside the source's folder.
    pub inside: PathBuf,
    /// Why it is left out; `None`: it is taken in.
    pub left_out: Option<Rule>,
    /// The pattern with `!` that takes it in again, by its place in `exclude`.
    pub again: Option<usize>,
    /// What it leads to, where it is an entry of `paths` that is a symbolic link.
    pub link: Option<Link>,
    /// Whether there is something at the path now.
    pub exists: bool,
}

/// A rule that leaves a path out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A pattern of `exclude`, by its place there, and what it matches: the path, or a folder above it.
    Pattern(usize, PathBuf),
    /// `exclude_caches`: this folder is marked, which leaves out the folder itself and all that is in it.
    Cache(PathBuf),
    /// `one_file_system`: this folder is on another one.
    FileSystem(PathBuf),
    /// `max_file_size`: it has this many bytes.
    Size(u64),
    /// A folder above it is a symbolic link, which is recorded and not followed.
    Link(PathBuf),
    /// It is an entry of `paths` that is a symbolic link to nothing: its source fails.
    Dangling(PathBuf),
    /// Sockets are not recorded.
    Socket,
}

/// What a source does with an absolute path without `.` and `..`; `None`: it is not below its `paths`.
pub fn why(files: &Files, path: &Path) -> Option<Answer> {
    let roots = files.paths.iter().map(|entry| entry.absolute.as_path()).enumerate();
    let below = roots.filter(|(_, root)| path.starts_with(root));
    // An entry of `paths` within another has its own beginning.
    let (root, top) = below.max_by_key(|(_, root)| root.components().count())?;
    let rest = path.strip_prefix(top).unwrap_or(Path::new("")).to_path_buf();
    let seen = fs::symlink_metadata(path).ok();
    let mut answer = Answer {
        root,
        inside: files.paths[root].inside.join(&rest),
        left_out: None,
        again: None,
        link: None,
        exists: seen.is_some(),
    };
    if fs::symlink_metadata(top).is_ok_and(|seen| seen.is_symlink()) {
        match rest.as_os_str().is_empty() {
            true => answer.link = look(files, top),
            false => answer.left_out = Some(Rule::Link(top.to_path_buf())),
        }
        if answer.link == Some(Link::Dangling) {
            answer.left_out = Some(Rule::Dangling(top.to_path_buf()));
        }
        return Some(answer);
    }
    let patterns = Patterns::new(files.exclude.iter().map(|pattern| pattern.text.as_str()));
    let mut place = PathBuf::new();
    for part in rest.components() {
        place.push(part);
        answer.left_out = step(files, &patterns, root, &place, place == rest, &mut answer.again);
        if answer.left_out.is_some() {
            return Some(answer);
        }
    }
    if let Some(seen) = seen {
        answer.left_out = at_the_end(files, &seen);
    }
    Some(answer)
}

/// What keeps a walk from going on at `place`, a path below the entry `root` of `paths`.
fn step(
    files: &Files,
    patterns: &Patterns,
    root: usize,
    place: &Path,
    is_last: bool,
    again: &mut Option<usize>,
) -> Option<Rule> {
    let top = files.paths[root].absolute.as_path();
    let here = top.join(place);
    let seen = fs::symlink_metadata(&here).ok();
    let is_folder = seen.as_ref().map_or(!is_last, fs::Metadata::is_dir);
    match patterns.verdict(place.as_os_str().as_bytes(), is_folder) {
        Verdict::LeftOut(index) => return Some(Rule::Pattern(index, here)),
        Verdict::TakenIn(index) => *again = Some(index),
        Verdict::Open => {}
    }
    let seen = seen?;
    if !is_last && seen.is_symlink() {
        return Some(Rule::Link(here));
    }
    // A folder on the way to an entry of `paths` is entered whatever it is.
    if !is_folder || leads_on(files, &files.paths[root].inside.join(place)) {
        return None;
    }
    // A mark keeps the folder itself out as well; a mount point is recorded and not entered.
    if files.exclude_caches && is_cache(&here) {
        return Some(Rule::Cache(here));
    }
    let other_device = |top: fs::Metadata| top.dev() != seen.dev();
    let is_mounted = !is_last && files.one_file_system && fs::metadata(top).is_ok_and(other_device);
    is_mounted.then_some(Rule::FileSystem(here))
}

/// Whether an entry of `paths` is below a folder of the source.
fn leads_on(files: &Files, folder: &Path) -> bool {
    files.paths.iter().any(|entry| entry.inside.starts_with(folder))
}

fn at_the_end(files: &Files, seen: &fs::Metadata) -> Option<Rule> {
    if seen.file_type().is_socket() {
        return Some(Rule::Socket);
    }
    let too_large = seen.is_file() && files.max_file_size.is_some_and(|most| seen.len() > most);
    too_large.then_some(Rule::Size(seen.len()))
}

fn is_cache(folder: &Path) -> bool {
    let mut start = [0; CACHE_TAG.len()];
    let tag = folder.join("CACHEDIR.TAG");
    let is_file = fs::symlink_metadata(&tag).is_ok_and(|seen| seen.is_file());
    is_file
        && backplan_host::regular::open(&tag).and_then(|mut tag| tag.read_exact(&mut start)).is_ok()
        && start == *CACHE_TAG
}
