//! The walk itself.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::pattern::Patterns;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, Statx, StatxFlags, openat, readlinkat, statx,
};
use rustix::io::Errno;

use super::ledger::{Entered, Ledger};
use super::link::{self, Link};
use super::record::{LinkGroup, Scanned, Trailer, Unseen};
use super::roots::Node;
use super::scouts::{self, Pace, Scouts, Stretch};
use super::{ScanError, Summary, Trees, WarningKind};
use backplan_host::control::Control;
use backplan_host::tree::Kind;
use backplan_host::tree::path_order;

/// Folders kept open at once; those above are opened again through `..` on the way back.
const OPEN_FOLDERS: usize = 64;
/// Longer paths are left out: they would not fit into a member's header.
const PATH_LONGEST: usize = 128 << 10;
/// Paths kept in mind that could not be looked at.
const UNSEEN_MOST: usize = 100_000;
pub(super) const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// File system (major, minor) and inode.
pub(super) type Identity = ((u32, u32), u64);

/// Takes what a walk sees.
pub type Visitor<'a> = dyn FnMut(&Scanned) -> Result<(), ScanError> + 'a;

/// A walk under way.
pub struct Walk<'a> {
    trees: &'a Trees,
    excluded: Arc<Patterns>,
    control: &'a Control,
    visit: &'a mut Visitor<'a>,
    summary: Summary,
    /// By file system and inode: the record of the first name, and the group once there is a second.
    linked: HashMap<Identity, (u64, Option<usize>)>,
    groups: Vec<LinkGroup>,
    unseen: Vec<Unseen>,
    ledger: Ledger<'a>,
    /// Entries of `paths` that are there, and why the first was not.
    roots_seen: usize,
    first_lost: Option<ScanError>,
    buffer: Vec<MaybeUninit<u8>>,
    pace: Pace,
    scouts: Option<Scouts>,
}

/// Sorted names of one folder, in one piece of memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    spans: Vec<(u32, u16)>,
}

impl Names {
    fn push(&mut self, name: &[u8]) {
        self.spans.push((self.bytes.len() as u32, name.len() as u16));
        self.bytes.extend_from_slice(name);
    }

    /// Adds the names in a folder.
    pub(super) fn read(&mut self, folder: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> Result<(), Errno> {
        let mut listing = RawDir::new(folder, buffer);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                self.push(name);
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let (start, length) = *self.spans.get(index)?;
        Some(&self.bytes[start as usize..start as usize + usize::from(length)])
    }

    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        let name = |span: &(u32, u16)| &bytes[span.0 as usize..span.0 as usize + usize::from(span.1)];
        self.spans.sort_unstable_by(|a, b| name(a).cmp(name(b)));
    }

    fn has(&self, wanted: &[u8]) -> bool {
        let name = |span: &(u32, u16)| &self.bytes[span.0 as usize..span.0 as usize + usize::from(span.1)];
        self.spans.binary_search_by(|span| name(span).cmp(wanted)).is_ok()
    }
}

/// A folder on the way down.
struct Frame<'n> {
    folder: Option<OwnedFd>,
    identity: Identity,
    names: Names,
    next: usize,
    /// Length of the folder's path inside the source.
    path: usize,
    /// The entry of `paths` it is below, and where that one's path ends.
    root: usize,
    anchor: usize,
    file_system: (u32, u32),
    node: Option<&'n Node>,
    /// The part of a file system of its own that it is of.
    place: Option<usize>,
    /// Excluded, and entered only for an entry of `paths` below it.
    only_roots: bool,
}

impl Frame<'_> {
    /// What is still to be looked at in it, for scouts; `path` is that of something in it.
    fn shown(&self, path: &[u8]) -> Option<scouts::Folder> {
        if self.only_roots {
            return None;
        }
        let mut names = Names::default();
        (self.next..self.names.len()).filter_map(|at| self.names.get(at)).for_each(|name| names.push(name));
        Some(scouts::Folder {
            opened: self.folder.as_ref()?.try_clone().ok()?,
            names,
            path: below_anchor(&path[..self.path], self.anchor).to_vec(),
            device: self.identity.0,
        })
    }
}

/// An entry that the walk has come to.
struct Met<'m, 'n> {
    above: &'m Frame<'m>,
    name: &'m [u8],
    seen: &'m Statx,
    /// Inside the source.
    path: &'m [u8],
    node: Option<&'n Node>,
    root: usize,
    only_roots: bool,
}

impl Met<'_, '_> {
    /// Whether it is an entry of `paths` itself.
    fn is_root(&self) -> bool {
        self.node.is_some_and(|node| node.root.is_some())
    }

    fn anchor(&self) -> usize {
        if self.is_root() { self.path.len() } else { self.above.anchor }
    }

    fn host(&self, trees: &Trees) -> PathBuf {
        host_path(trees, self.root, self.anchor(), self.path)
    }

    fn entry(&self, kind: Kind) -> Scanned {
        let mut entry = scanned(self.path, kind, self.root, self.seen);
        entry.implied = self.only_roots;
        entry
    }

    fn entered<'e>(&'e self, opened: &'e OwnedFd) -> Entered<'e> {
        let is_other = identity(self.seen).0 != self.above.identity.0;
        Entered { folder: opened, seen: self.seen, is_other, is_root: self.is_root(), path: self.path }
    }
}

impl<'a> Walk<'a> {
    /// Prepares a walk that gives every entry to `visit`.
    pub fn new(trees: &'a Trees, control: &'a Control, visit: &'a mut Visitor<'a>) -> Walk<'a> {
        Walk {
            trees,
            excluded: Arc::new(Patterns::new(
                trees.files.exclude.iter().map(|pattern| pattern.text.as_str()),
            )),
            control,
            visit,
            summary: Summary::default(),
            linked: HashMap::new(),
            groups: Vec::new(),
            unseen: Vec::new(),
            ledger: Ledger::new(trees),
            roots_seen: 0,
            first_lost: None,
            buffer: vec![MaybeUninit::uninit(); 1 << 16],
            pace: Pace::default(),
            scouts: None,
        }
    }

    /// Walks everything below `top`.
    ///
    /// # Errors
    /// See [`ScanError`].
    pub fn run(mut self, top: &Node, started: (i64, u32)) -> Result<(Summary, Trailer), ScanError> {
        let mut path = Vec::new();
        if top.root.is_none() {
            self.emit(made_up_folder(&[], started))?;
            self.below_implied(top, &mut path, started)?;
        } else {
            self.node(top, &mut path, started)?;
        }
        if let Some(error) = self.first_lost.take().filter(|_| self.roots_seen == 0) {
            return Err(error);
        }
        self.settle_mounts()?;
        let Summary { entries, files, bytes, .. } = self.summary;
        self.groups.retain(|group| !group.further.is_empty());
        self.groups.sort_by_key(|group| group.first);
        self.unseen.sort_by(|a, b| path_order(&a.path, &b.path));
        Ok((self.summary, Trailer { groups: self.groups, entries, files, bytes, unseen: self.unseen }))
    }

    /// Goes on without what was on file systems that are not mounted, where that is permitted: as without an entry of `paths`.
    fn settle_mounts(&mut self) -> Result<(), ScanError> {
        let empty = Ledger::new(self.trees);
        let ledger = std::mem::replace(&mut self.ledger, empty);
        for lost in ledger.settle(&self.unseen, &mut self.summary) {
            self.unseen.push(Unseen { path: lost.inside, mounted: false });
            self.summary.unmounted.push((lost.path.clone(), lost.text.clone()));
            if self.trees.optional {
                self.summary.warnings.add(WarningKind::NotMounted, &lost.path, Some(&lost.text));
                self.summary.lost_at.push((lost.path, lost.which));
                continue;
            }
            let error = ScanError::NotMounted { source_name: self.trees.source.clone(), text: lost.text };
            if self.trees.strict {
                return Err(error);
            }
            self.summary.lost.push(error.to_string());
            self.summary.lost_at.push((lost.path, lost.which));
        }
        Ok(())
    }

    fn below_implied(
        &mut self,
        node: &Node,
        path: &mut Vec<u8>,
        started: (i64, u32),
    ) -> Result<(), ScanError> {
        for (name, child) in &node.children {
            let length = path.len();
            push_name(path, name);
            self.node(child, path, started)?;
            path.truncate(length);
        }
        Ok(())
    }

    /// A node that no walk has reached: an entry of `paths`, or a folder above some.
    fn node(&mut self, node: &Node, path: &mut Vec<u8>, started: (i64, u32)) -> Result<(), ScanError> {
        if let Some(root) = node.root {
            return self.root(node, root, path);
        }
        let seen = node
            .absolute
            .as_ref()
            .and_then(|absolute| stat(CWD, absolute.as_os_str(), AtFlags::empty()).ok());
        let folder = match seen {
            Some(seen) => Scanned { implied: true, root: None, ..scanned(path, Kind::Directory, 0, &seen) },
            None => made_up_folder(path, started),
        };
        self.emit(folder)?;
        self.below_implied(node, path, started)
    }

    fn root(&mut self, node: &Node, root: usize, path: &mut Vec<u8>) -> Result<(), ScanError> {
        let absolute = self.trees.files.paths[root].absolute.clone();
        let seen = match stat(CWD, absolute.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(seen) => seen,
            Err(Errno::NOENT | Errno::NOTDIR) => return self.missing(absolute, path),
            Err(cause) => return self.unreadable(absolute, path, cause),
        };
        let parent = absolute.parent().unwrap_or(Path::new("/"));
        let name = absolute.file_name().unwrap_or(OsStr::new("."));
        let folder = match open_folder(CWD, parent.as_os_str()) {
            Ok(folder) => folder,
            Err(cause) => return self.unreadable(parent.to_path_buf(), path, cause),
        };
        let frame = Frame {
            folder: Some(folder),
            identity: ((0, 0), 0),
            names: Names::default(),
            next: 0,
            path: path.len(),
            root,
            anchor: path.len(),
            file_system: (seen.stx_dev_major, seen.stx_dev_minor),
            node: None,
            place: None,
            only_roots: false,
        };
        let mut stack = Vec::new();
        if let Some(inner) = self.see(&Met {
            above: &frame,
            name: name.as_bytes(),
            seen: &seen,
            path,
            node: Some(node),
            root,
            only_roots: false,
        })? {
            stack.push(inner);
        }
        drop(frame);
        self.descend(&mut stack, path)
    }

    /// An entry of `paths` that cannot be read.
    fn unreadable(&mut self, host: PathBuf, path: &[u8], cause: Errno) -> Result<(), ScanError> {
        let source_name = self.trees.source.clone();
        if is_of_process(cause) {
            return Err(ScanError::Lacking { source_name, path: host, cause: cause.into() });
        }
        let error = ScanError::Unreadable { source_name, path: host.clone(), cause: cause.into() };
        self.lose(error, path, &host)
    }

    fn missing(&mut self, host: PathBuf, path: &[u8]) -> Result<(), ScanError> {
        if self.trees.optional {
            self.summary.warnings.add(WarningKind::Missing, &host, None);
            self.summary.lost_at.push((host, String::new()));
            return Ok(());
        }
        let error = ScanError::Missing { source_name: self.trees.source.clone(), path: host.clone() };
        self.lose(error, path, &host)
    }

    /// Goes on without an entry of `paths`, where that is permitted. What was in it counts neither as there nor as deleted.
    fn lose(&mut self, error: ScanError, path: &[u8], host: &Path) -> Result<(), ScanError> {
        if self.trees.strict {
            return Err(error);
        }
        self.summary.lost.push(error.to_string());
        self.summary.lost_at.push((host.to_path_buf(), String::new()));
        self.first_lost.get_or_insert(error);
        self.unseen.push(Unseen { path: path.to_vec(), mounted: false });
        Ok(())
    }

    /// An entry of `paths` that is a symbolic link: whether it is recorded.
    fn link(&mut self, host: &Path, path: &[u8]) -> Result<bool, ScanError> {
        match link::look(&self.trees.files, host) {
            Some(Link::Dangling) if self.trees.optional => {
                self.summary.warnings.add(WarningKind::Missing, host, None);
                self.summary.lost_at.push((host.to_path_buf(), String::new()));
                return Ok(false);
            }
            Some(Link::Dangling) => {
                let (source_name, target) =
                    (self.trees.source.clone(), fs::read_link(host).unwrap_or_default());
                let error = ScanError::Dangling { source_name, path: host.to_path_buf(), target };
                return self.lose(error, path, host).map(|()| false);
            }
            Some(Link::To(target)) => {
                let kind = if target.is_dir() { WarningKind::LinkToFolder } else { WarningKind::LinkToFile };
                self.summary.warnings.add(kind, host, Some(&format!("`{}`", target.display())));
            }
            None => {}
        }
        Ok(true)
    }

    fn descend<'n>(&mut self, stack: &mut Vec<Frame<'n>>, path: &mut Vec<u8>) -> Result<(), ScanError> {
        while let Some(frame) = stack.last_mut() {
            path.truncate(frame.path);
            let Some(name) = frame.names.get(frame.next).map(<[u8]>::to_vec) else {
                if let Some(done) = stack.pop() {
                    self.climb(stack, &done, path)?;
                }
                continue;
            };
            frame.next += 1;
            push_name(path, &name);
            if let Some(passed) = self.pace.stretch() {
                self.scout(stack, path, passed);
            }
            let Some(frame) = stack.last() else { break };
            let Some(inner) = self.child(frame, &name, path)? else { continue };
            stack.push(inner);
            if stack.len() > OPEN_FOLDERS {
                let above = stack.len() - 1 - OPEN_FOLDERS;
                stack[above].folder = None;
            }
        }
        Ok(())
    }

    /// Where the disk has to be waited for, scouts go ahead; those who are under way learn how far the walk is.
    fn scout(&mut self, stack: &[Frame<'_>], path: &[u8], passed: Stretch) {
        match &self.scouts {
            Some(scouts) => scouts.passed(passed.entries),
            None if passed.is_slow => {
                let near = stack.len().saturating_sub(scouts::SHOWN);
                let shown = stack[near..].iter().filter_map(|frame| frame.shown(path)).collect();
                self.scouts = Some(Scouts::send(Arc::clone(&self.excluded), shown));
            }
            None => {}
        }
    }

    /// Opens the folder above again, if it was closed, and makes sure that it is still the same.
    fn climb(&mut self, stack: &mut [Frame<'_>], done: &Frame<'_>, path: &[u8]) -> Result<(), ScanError> {
        let Some(above) = stack.last_mut() else { return Ok(()) };
        if above.folder.is_some() {
            return Ok(());
        }
        let opened = done.folder.as_ref().ok_or(Errno::BADF).and_then(|folder| {
            let opened = open_folder(folder, OsStr::new(".."))?;
            let seen = stat(&opened, OsStr::new(""), AtFlags::EMPTY_PATH)?;
            if identity(&seen) == above.identity { Ok(opened) } else { Err(Errno::NOENT) }
        });
        match opened {
            Ok(folder) => {
                above.folder = Some(folder);
                Ok(())
            }
            Err(cause) => {
                above.next = usize::MAX;
                let path = &path[..above.path];
                let host = self.host_path(done.root, done.anchor, path);
                self.pass_over(&host, path, cause)
            }
        }
    }

    fn child<'n>(
        &mut self,
        frame: &Frame<'n>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<Frame<'n>>, ScanError> {
        self.control.check()?;
        let node = frame.node.and_then(|node| node.children.get(name));
        if node.is_none() && frame.only_roots {
            return Ok(None);
        }
        let Some(folder) = &frame.folder else { return Ok(None) };
        let seen = match stat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(seen) => seen,
            Err(cause) => return self.unlooked(frame, node, path, cause).map(|()| None),
        };
        let root = node.and_then(|node| node.root).unwrap_or(frame.root);
        let is_root = node.is_some_and(|node| node.root.is_some());
        let excluded = !is_root
            && (frame.only_roots || self.is_excluded(frame, path, kind_of(&seen) == Some(Kind::Directory)));
        if excluded && node.is_none() {
            return Ok(None);
        }
        self.see(&Met { above: frame, name, seen: &seen, path, node, root, only_roots: excluded })
    }

    /// A name that its folder had and that cannot be looked at.
    fn unlooked(
        &mut self,
        frame: &Frame<'_>,
        node: Option<&Node>,
        path: &[u8],
        cause: Errno,
    ) -> Result<(), ScanError> {
        let host = self.host_path(frame.root, frame.anchor, path);
        if node.is_some_and(|node| node.root.is_some()) {
            return match cause {
                Errno::NOENT | Errno::NOTDIR => self.missing(host, path),
                cause => self.unreadable(host, path, cause),
            };
        }
        if cause != Errno::NOENT {
            return self.pass_over(&host, path, cause);
        }
        // What is left out comes and goes as it likes; what kind it was nobody knows any more.
        if ![false, true].into_iter().any(|folder| self.is_excluded(frame, path, folder)) {
            self.summary.warnings.add(WarningKind::Vanished, &host, Some(&cause));
        }
        Ok(())
    }

    fn is_excluded(&self, frame: &Frame<'_>, path: &[u8], folder: bool) -> bool {
        !self.excluded.is_empty()
            && self.excluded.verdict(below_anchor(path, frame.anchor), folder).is_left_out()
    }

    /// The place that a file is of, which may be mounted by itself.
    fn place_of_file(&mut self, met: &Met<'_, '_>, above: &OwnedFd) -> Option<usize> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = openat(above, OsStr::from_bytes(met.name), flags, Mode::empty()) else {
            return met.above.place;
        };
        let trees = self.trees;
        self.ledger.enter(&met.entered(&file), met.above.place, || met.host(trees))
    }

    /// Records an entry; for a folder that is to be entered, its frame.
    fn see<'n>(&mut self, met: &Met<'_, 'n>) -> Result<Option<Frame<'n>>, ScanError> {
        let Some(above) = &met.above.folder else { return Ok(None) };
        if met.path.len() > PATH_LONGEST {
            self.pass_over(&met.host(self.trees), met.path, Errno::NAMETOOLONG)?;
            return Ok(None);
        }
        match kind_of(met.seen) {
            None => {
                self.summary.warnings.add(WarningKind::Socket, &met.host(self.trees), None);
                Ok(None)
            }
            Some(Kind::Directory) => self.see_folder(met, above),
            Some(kind) => self.see_leaf(met, above, kind).map(|()| None),
        }
    }

    fn see_leaf(&mut self, met: &Met<'_, '_>, above: &OwnedFd, kind: Kind) -> Result<(), ScanError> {
        let (trees, is_root, path) = (self.trees, met.is_root(), met.path);
        let host = || met.host(trees);
        if kind == Kind::File && trees.files.max_file_size.is_some_and(|most| met.seen.stx_size > most) {
            self.summary.warnings.add(WarningKind::TooLarge, &host(), None);
            return Ok(());
        }
        let mut entry = met.entry(kind);
        if kind == Kind::Symlink {
            if is_root && !self.link(&host(), path)? {
                return Ok(());
            }
            match readlinkat(above, met.name, Vec::new()) {
                Ok(target) => entry.link = target.into_bytes(),
                Err(cause) => return self.pass_over(&host(), path, cause),
            }
        }
        self.roots_seen += usize::from(is_root);
        let place = match kind == Kind::File && self.ledger.asks_of_file(met.seen, is_root, path) {
            true => self.place_of_file(met, above),
            false => met.above.place,
        };
        self.ledger.count(place, &entry);
        self.emit(entry)
    }

    fn see_folder<'n>(&mut self, met: &Met<'_, 'n>, above: &OwnedFd) -> Result<Option<Frame<'n>>, ScanError> {
        let (trees, is_root, path) = (self.trees, met.is_root(), met.path);
        let host = || met.host(trees);
        let opened = match open_folder(above, OsStr::from_bytes(met.name)) {
            Ok(opened) => opened,
            Err(cause) if is_root => return self.unreadable(host(), path, cause).map(|()| None),
            Err(cause) => {
                self.pass_over(&host(), path, cause)?;
                self.emit(met.entry(Kind::Directory))?;
                return Ok(None);
            }
        };
        let is_wanted = is_root || met.only_roots || met.node.is_some();
        if trees.files.exclude_caches && !is_wanted && is_cache(&opened) {
            return Ok(None);
        }
        let identity = identity(met.seen);
        let file_system = if is_root { identity.0 } else { met.above.file_system };
        self.emit(met.entry(Kind::Directory))?;
        if trees.files.one_file_system && identity.0 != file_system && met.node.is_none() {
            self.unseen.push(Unseen { path: path.to_vec(), mounted: true });
            self.roots_seen += usize::from(is_root);
            return Ok(None);
        }
        let place = self.ledger.enter(&met.entered(&opened), met.above.place, host);
        let names = match self.read_names(&opened, met.node) {
            Ok(names) => names,
            Err(cause) if is_root => return self.unreadable(host(), path, cause).map(|()| None),
            Err(cause) => {
                self.pass_over(&host(), path, cause)?;
                return Ok(None);
            }
        };
        self.roots_seen += usize::from(is_root);
        let (root, anchor, node, only_roots) = (met.root, met.anchor(), met.node, met.only_roots);
        let (folder, path) = (Some(opened), path.len());
        Ok(Some(Frame {
            folder,
            identity,
            names,
            next: 0,
            path,
            root,
            anchor,
            file_system,
            node,
            place,
            only_roots,
        }))
    }

    /// Leaves something out that cannot be looked at, with all below it. Where it is this process that cannot, and not the
    /// thing that cannot be, the walk is worth nothing.
    fn pass_over(&mut self, host: &Path, path: &[u8], cause: Errno) -> Result<(), ScanError> {
        if is_of_process(cause) {
            let source_name = self.trees.source.clone();
            return Err(ScanError::Lacking { source_name, path: host.to_path_buf(), cause: cause.into() });
        }
        self.summary.warnings.add(WarningKind::Unreadable, host, Some(&cause));
        // Of so many nobody needs to know which: then all that is not there may be.
        let path = if self.unseen.len() < UNSEEN_MOST { path } else { &[] };
        self.unseen.push(Unseen { path: path.to_vec(), mounted: false });
        Ok(())
    }

    /// The folder's names and those of entries of `paths` in it, sorted.
    fn read_names(&mut self, folder: &OwnedFd, node: Option<&Node>) -> Result<Names, Errno> {
        let mut names = Names::default();
        names.read(folder, &mut self.buffer)?;
        names.sort();
        let wanted: Vec<_> = node.iter().flat_map(|node| node.children.keys()).collect();
        for name in wanted {
            if !names.has(name) {
                names.push(name);
                names.sort();
            }
        }
        Ok(names)
    }

    fn host_path(&self, root: usize, anchor: usize, path: &[u8]) -> PathBuf {
        host_path(self.trees, root, anchor, path)
    }

    /// Counts an entry, finds out whether it is a further name, and passes it on.
    fn emit(&mut self, mut entry: Scanned) -> Result<(), ScanError> {
        let number = self.summary.entries;
        if entry.kind == Kind::File && entry.names > 1 {
            let groups = &mut self.groups;
            match self.linked.entry((entry.file_system, entry.inode)) {
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert((number, None));
                }
                std::collections::hash_map::Entry::Occupied(mut taken) => {
                    let (first, group) = *taken.get();
                    let group = group.unwrap_or_else(|| {
                        groups.push(LinkGroup { first, further: Vec::new() });
                        groups.len() - 1
                    });
                    taken.get_mut().1 = Some(group);
                    groups[group].further.push((number, entry.path.clone()));
                    entry.further_name = true;
                }
            }
        }
        self.summary.entries += 1;
        self.summary.leaves += u64::from(entry.kind != Kind::Directory);
        let mut bytes = 0;
        if entry.kind == Kind::File && !entry.further_name {
            bytes = entry.bytes_to_read();
            self.summary.files += 1;
            self.summary.bytes += bytes;
        }
        self.control.advance(1, bytes);
        (self.visit)(&entry)
    }
}

/// Whether this process, or the system as a whole, lacks something: that says nothing of what was to be opened.
pub(crate) fn is_of_process(cause: Errno) -> bool {
    matches!(cause, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
}

fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The part of `path` below its entry of `paths`.
fn below_anchor(path: &[u8], anchor: usize) -> &[u8] {
    let below = path.get(anchor..).unwrap_or_default();
    below.strip_prefix(b"/").unwrap_or(below)
}

fn host_path(trees: &Trees, root: usize, anchor: usize, path: &[u8]) -> PathBuf {
    let below = below_anchor(path, anchor);
    let root = trees.files.paths[root].absolute.clone();
    if below.is_empty() { root } else { root.join(OsStr::from_bytes(below)) }
}

pub(super) fn identity(seen: &Statx) -> Identity {
    ((seen.stx_dev_major, seen.stx_dev_minor), seen.stx_ino)
}

pub(super) fn stat(folder: impl std::os::fd::AsFd, name: &OsStr, flags: AtFlags) -> Result<Statx, Errno> {
    statx(folder, name, flags | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)
}

/// Opens a folder without touching its access time, where that is permitted.
pub(super) fn open_folder(above: impl std::os::fd::AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let last = if name.as_bytes().contains(&b'/') { OFlags::empty() } else { OFlags::NOFOLLOW };
    match openat(&above, name, flags | last | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(&above, name, flags | last, Mode::empty()),
        other => other,
    }
}

/// Whether the folder is a cache by the rules of <https://bford.info/cachedir/>.
fn is_cache(folder: &OwnedFd) -> bool {
    let Ok(name) = CString::new("CACHEDIR.TAG") else { return false };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(tag) = openat(folder, name.as_c_str(), flags, Mode::empty()) else { return false };
    let mut start = [0; CACHE_TAG.len()];
    rustix::io::read(&tag, &mut start[..]).is_ok_and(|read| read == start.len()) && start == CACHE_TAG
}

/// The kind of a file; `None` for a socket.
fn kind_of(seen: &Statx) -> Option<Kind> {
    Some(match FileType::from_raw_mode(seen.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        _ => return None,
    })
}

fn scanned(path: &[u8], kind: Kind, root: usize, seen: &Statx) -> Scanned {
    Scanned {
        path: path.to_vec(),
        kind,
        implied: false,
        synthetic: false,
        further_name: false,
        root: Some(root),
        mode: u32::from(seen.stx_mode) & 0o7777,
        uid: seen.stx_uid,
        gid: seen.stx_gid,
        mtime: (seen.stx_mtime.tv_sec, seen.stx_mtime.tv_nsec),
        ctime: (seen.stx_ctime.tv_sec, seen.stx_ctime.tv_nsec),
        size: if kind == Kind::File { seen.stx_size } else { 0 },
        blocks: seen.stx_blocks,
        inode: seen.stx_ino,
        file_system: (seen.stx_dev_major, seen.stx_dev_minor),
        names: seen.stx_nlink,
        device: match kind {
            Kind::CharDevice | Kind::BlockDevice => (seen.stx_rdev_major, seen.stx_rdev_minor),
            _ => (0, 0),
        },
        link: Vec::new(),
    }
}

/// A folder that no folder of this host stands behind.
fn made_up_folder(path: &[u8], started: (i64, u32)) -> Scanned {
    Scanned {
        path: path.to_vec(),
        kind: Kind::Directory,
        implied: true,
        synthetic: true,
        further_name: false,
        root: None,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: (started.0, 0),
        ctime: (0, 0),
        size: 0,
        blocks: 0,
        inode: 0,
        file_system: (0, 0),
        names: 1,
        device: (0, 0),
        link: Vec::new(),
    }
}
