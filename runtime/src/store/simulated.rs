//! The recording store: a folder in memory that records every primitive operation and can lose its power after any of
//! them, with or without what was not synced. Faults can be injected at every operation. For tests of whatever is built
//! on stores; nothing else uses it.
//!
//! The model is harsher than file systems are: a rename is an entry that appears and one that goes, each durable only
//! with its own folder; a file's bytes are durable only by its own sync; a new folder's only with the folder above.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::dir::FolderStore;
use super::fs::{FileSystem, Kind, OpenFile, not_a_file};
use crate::places::anchor::Moved;

/// The folder store over a simulated folder.
pub type RecordingStore = FolderStore<SimulatedFolder>;

/// What outlives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Everything that was done.
    Everything,
    /// Only what was synced.
    Synced,
    /// Of what was not synced, some; which is drawn from this seed.
    Torn(u64),
}

/// What goes wrong at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and says so.
    Fails(Errno),
    /// It is done, and says that it failed: a timeout.
    DoneButFails(Errno),
    /// From here on nothing is done any more, neither reads nor writes.
    PowerCut,
}

/// A folder in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimulatedFolder(Arc<Mutex<Simulation>>);

#[derive(Debug, Default)]
struct Simulation {
    /// As it was before the first operation of the log.
    base: Tree,
    tree: Tree,
    log: Vec<Operation>,
    /// Operations tried, done or not: what faults are counted by.
    tried: usize,
    faults: BTreeMap<usize, Fault>,
    dark: bool,
    /// Cannot rename without replacing, as some network file systems.
    plain_renames: bool,
    /// Has no second names for a file either, as FAT.
    no_links: bool,
}

/// Inodes; the first is the root.
#[derive(Debug, Clone)]
struct Tree(Vec<Inode>);

impl Default for Tree {
    fn default() -> Tree {
        Tree(vec![Inode::Folder(Two::default())])
    }
}

/// A state as seen now, and as it would be after a power cut.
#[derive(Debug, Clone, Default)]
struct Two<T> {
    now: T,
    durable: T,
}

#[derive(Debug, Clone)]
enum Inode {
    File(Two<Vec<u8>>),
    Folder(Two<BTreeMap<String, usize>>),
}

/// A primitive operation that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Make a folder.
    MakeFolder(String),
    /// Make an empty file.
    CreateFile(String),
    /// Make a host's file appear.
    LinkHost(String, Vec<u8>),
    /// Write to a file, known by its inode.
    Write(usize, u64, Vec<u8>),
    /// Make a file's bytes durable.
    SyncFile(usize),
    /// A second name.
    Link(String, String),
    /// Rename without replacing.
    RenameNew(String, String),
    /// Rename with replacing.
    RenameOver(String, String),
    /// Remove a file.
    Unlink(String),
    /// Remove an empty folder.
    RemoveFolder(String),
    /// Make a folder's entries durable.
    SyncFolder(String),
}

fn errno(errno: Errno) -> io::Error {
    io::Error::from(errno)
}

impl Tree {
    fn at(&self, path: &str) -> io::Result<usize> {
        let mut inode = 0;
        for component in path.split('/').filter(|component| !component.is_empty()) {
            inode = *self.folder(inode)?.now.get(component).ok_or_else(|| errno(Errno::NOENT))?;
        }
        Ok(inode)
    }

    fn parent<'p>(&self, path: &'p str) -> io::Result<(usize, &'p str)> {
        let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
        let inode = self.at(folder)?;
        self.folder(inode)?;
        Ok((inode, last))
    }

    fn folder(&self, inode: usize) -> io::Result<&Two<BTreeMap<String, usize>>> {
        match &self.0[inode] {
            Inode::Folder(entries) => Ok(entries),
            Inode::File(_) => Err(errno(Errno::NOTDIR)),
        }
    }

    fn file(&self, inode: usize) -> io::Result<&Two<Vec<u8>>> {
        match &self.0[inode] {
            Inode::File(bytes) => Ok(bytes),
            Inode::Folder(_) => Err(not_a_file()),
        }
    }

    fn folder_mut(&mut self, inode: usize) -> io::Result<&mut Two<BTreeMap<String, usize>>> {
        match &mut self.0[inode] {
            Inode::Folder(entries) => Ok(entries),
            Inode::File(_) => Err(errno(Errno::NOTDIR)),
        }
    }

    fn file_mut(&mut self, inode: usize) -> io::Result<&mut Two<Vec<u8>>> {
        match &mut self.0[inode] {
            Inode::File(bytes) => Ok(bytes),
            Inode::Folder(_) => Err(not_a_file()),
        }
    }

    fn add(&mut self, path: &str, inode: Inode) -> io::Result<()> {
        let number = self.0.len();
        self.enter(path, number)?;
        self.0.push(inode);
        Ok(())
    }

    fn enter(&mut self, path: &str, inode: usize) -> io::Result<()> {
        let (parent, last) = self.parent(path)?;
        let entries = &mut self.folder_mut(parent)?.now;
        if entries.contains_key(last) {
            return Err(errno(Errno::EXIST));
        }
        entries.insert(last.to_owned(), inode);
        Ok(())
    }

    fn leave(&mut self, path: &str) -> io::Result<()> {
        let (parent, last) = self.parent(path)?;
        self.folder_mut(parent)?.now.remove(last).map(|_| ()).ok_or_else(|| errno(Errno::NOENT))
    }

    fn apply(&mut self, operation: &Operation) -> io::Result<()> {
        match operation {
            Operation::MakeFolder(path) => self.add(path, Inode::Folder(Two::default())),
            Operation::CreateFile(path) => self.add(path, Inode::File(Two::default())),
            Operation::LinkHost(path, bytes) => {
                self.add(path, Inode::File(Two { now: bytes.clone(), durable: bytes.clone() }))
            }
            Operation::Write(inode, offset, bytes) => write(&mut self.file_mut(*inode)?.now, *offset, bytes),
            Operation::SyncFile(inode) => {
                let file = self.file_mut(*inode)?;
                file.durable.clone_from(&file.now);
                Ok(())
            }
            Operation::Link(from, to) => {
                let inode = self.at(from)?;
                self.enter(to, inode)
            }
            Operation::RenameNew(from, to) => {
                let inode = self.at(from)?;
                self.enter(to, inode)?;
                self.leave(from)
            }
            Operation::RenameOver(from, to) => {
                let inode = self.at(from)?;
                let (parent, last) = self.parent(to)?;
                self.folder_mut(parent)?.now.insert(last.to_owned(), inode);
                self.leave(from)
            }
            Operation::Unlink(path) => {
                let inode = self.at(path)?;
                self.file(inode)?;
                self.leave(path)
            }
            Operation::RemoveFolder(path) => {
                let inode = self.at(path)?;
                if !self.folder(inode)?.now.is_empty() {
                    return Err(errno(Errno::NOTEMPTY));
                }
                self.leave(path)
            }
            Operation::SyncFolder(path) => {
                let inode = self.at(path)?;
                let folder = self.folder_mut(inode)?;
                folder.durable.clone_from(&folder.now);
                Ok(())
            }
        }
    }

    /// What is there after a power cut: durable and visible at once.
    fn after(&self, survival: Survival) -> Tree {
        let mut chance = match survival {
            Survival::Torn(seed) => Chance(seed.wrapping_mul(2).wrapping_add(1)),
            _ => Chance(1),
        };
        let inodes = self.0.iter().map(|inode| match inode {
            Inode::File(bytes) => Inode::File(both(match survival {
                Survival::Everything => bytes.now.clone(),
                Survival::Synced => bytes.durable.clone(),
                Survival::Torn(_) => torn_bytes(bytes, &mut chance),
            })),
            Inode::Folder(entries) => Inode::Folder(both(match survival {
                Survival::Everything => entries.now.clone(),
                Survival::Synced => entries.durable.clone(),
                Survival::Torn(_) => torn_entries(entries, &mut chance),
            })),
        });
        Tree(inodes.collect())
    }

    fn files(&self, inode: usize, path: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        match &self.0[inode] {
            Inode::File(bytes) => {
                files.insert(path.to_owned(), bytes.now.clone());
            }
            Inode::Folder(entries) => {
                for (name, child) in &entries.now {
                    let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                    self.files(*child, &below, files);
                }
            }
        }
    }
}

fn both<T: Clone>(state: T) -> Two<T> {
    Two { now: state.clone(), durable: state }
}

fn write(contents: &mut Vec<u8>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let start = usize::try_from(offset).map_err(|_| errno(Errno::FBIG))?;
    let end = start + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[start..end].copy_from_slice(bytes);
    Ok(())
}

fn torn_bytes(bytes: &Two<Vec<u8>>, chance: &mut Chance) -> Vec<u8> {
    if bytes.now == bytes.durable {
        return bytes.now.clone();
    }
    match chance.below(4) {
        0 => bytes.now.clone(),
        1 => bytes.durable.clone(),
        2 => bytes.now[..chance.below(bytes.now.len() + 1)].to_vec(),
        // The size came through, the bytes did not.
        _ => vec![0; bytes.now.len()],
    }
}

fn torn_entries(entries: &Two<BTreeMap<String, usize>>, chance: &mut Chance) -> BTreeMap<String, usize> {
    let names = entries.now.keys().chain(entries.durable.keys());
    let mut torn = BTreeMap::new();
    for name in names.collect::<std::collections::BTreeSet<_>>() {
        let survivor = if chance.below(2) == 0 { entries.now.get(name) } else { entries.durable.get(name) };
        if let Some(inode) = survivor {
            torn.insert(name.clone(), *inode);
        }
    }
    torn
}

/// Repeatable chance (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        for _ in 0..4 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
        }
        usize::try_from(self.0 % (bound.max(1) as u64)).unwrap_or(0)
    }
}

impl Simulation {
    fn lit(&self) -> io::Result<()> {
        if self.dark { Err(errno(Errno::IO)) } else { Ok(()) }
    }

    fn change(&mut self, operation: Operation) -> io::Result<()> {
        let fault = self.faults.get(&self.tried).copied();
        self.tried += 1;
        if fault == Some(Fault::PowerCut) {
            self.dark = true;
        }
        self.lit()?;
        if let Some(Fault::Fails(error)) = fault {
            return Err(errno(error));
        }
        self.tree.apply(&operation)?;
        self.log.push(operation);
        match fault {
            Some(Fault::DoneButFails(error)) => Err(errno(error)),
            _ => Ok(()),
        }
    }
}

impl SimulatedFolder {
    /// The folder store over it.
    pub fn store(&self, label: &str) -> RecordingStore {
        FolderStore::over(label, Path::new("/simulated"), self.clone())
    }

    /// How many operations were done since it was made.
    pub fn operations(&self) -> usize {
        self.lock().log.len()
    }

    /// How many operations were tried: faults are counted by this.
    pub fn tried(&self) -> usize {
        self.lock().tried
    }

    /// Another folder: this one's after the power was cut behind its first `operations` operations.
    pub fn crashed_after(&self, operations: usize, survival: Survival) -> SimulatedFolder {
        let simulation = self.lock();
        let mut tree = simulation.base.clone();
        for operation in &simulation.log[..operations] {
            // Logged operations succeeded once, and do again.
            let _ = tree.apply(operation);
        }
        let tree = tree.after(survival);
        let Simulation { plain_renames, no_links, .. } = *simulation;
        let crashed =
            Simulation { base: tree.clone(), tree, plain_renames, no_links, ..Simulation::default() };
        SimulatedFolder(Arc::new(Mutex::new(crashed)))
    }

    /// Lets the operation with this number (from 0, of those tried) go wrong.
    pub fn inject(&self, operation: usize, fault: Fault) {
        self.lock().faults.insert(operation, fault);
    }

    /// Makes it a file system that cannot rename without replacing.
    pub fn without_rename_new(self) -> SimulatedFolder {
        self.lock().plain_renames = true;
        self
    }

    /// Nor has it second names for a file.
    pub fn without_links(self) -> SimulatedFolder {
        self.lock().no_links = true;
        self.without_rename_new()
    }

    /// Puts a durable file there, as somebody else would; unlogged. Folders above it are not made.
    ///
    /// # Errors
    /// When there is something of that name.
    pub fn plant(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut simulation = self.lock();
        let planted = Operation::LinkHost(path.to_owned(), bytes.to_vec());
        let folder = Operation::SyncFolder(path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned());
        for operation in [planted, folder] {
            simulation.tree.apply(&operation)?;
            simulation.log.push(operation);
        }
        Ok(())
    }

    /// Every file, as seen now.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        self.lock().tree.files(0, "", &mut files);
        files
    }

    fn lock(&self) -> MutexGuard<'_, Simulation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, operation: Operation) -> io::Result<()> {
        self.lock().change(operation)
    }
}

impl FileSystem for SimulatedFolder {
    type File = SimulatedFile;

    fn in_place(&self, _root: &Path) -> Result<(), Moved> {
        Ok(())
    }

    fn read(&self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let simulation = self.lock();
        simulation.lit()?;
        let bytes = &simulation.tree.file(simulation.tree.at(path)?)?.now;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..start.saturating_add(len).min(bytes.len())].to_vec())
    }

    fn stat(&self, path: &str) -> io::Result<Option<Kind>> {
        let simulation = self.lock();
        simulation.lit()?;
        match simulation.tree.at(path) {
            Ok(inode) => Ok(Some(kind(&simulation.tree.0[inode]))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn each(&self, folder: &str, take: &mut dyn FnMut(String, Kind)) -> io::Result<()> {
        let entries: Vec<(String, Kind)> = {
            let simulation = self.lock();
            simulation.lit()?;
            let tree = &simulation.tree;
            let entries = &tree.folder(tree.at(folder)?)?.now;
            entries.iter().map(|(name, inode)| (name.clone(), kind(&tree.0[*inode]))).collect()
        };
        entries.into_iter().for_each(|(name, kind)| take(name, kind));
        Ok(())
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        self.change(Operation::MakeFolder(path.to_owned()))
    }

    fn create_file(&self, path: &str, _mode: u32) -> io::Result<SimulatedFile> {
        let mut simulation = self.lock();
        simulation.change(Operation::CreateFile(path.to_owned()))?;
        let inode = simulation.tree.at(path)?;
        Ok(SimulatedFile { folder: self.clone(), inode, end: 0 })
    }

    fn link_host(&self, _file: &Path, _path: &str, _mode: u32) -> io::Result<()> {
        Err(errno(Errno::XDEV))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        if self.lock().no_links {
            return Err(errno(Errno::PERM));
        }
        self.change(Operation::Link(from.to_owned(), to.to_owned()))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        if self.lock().plain_renames {
            return Err(errno(Errno::INVAL));
        }
        self.change(Operation::RenameNew(from.to_owned(), to.to_owned()))
    }

    fn rename_over(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Operation::RenameOver(from.to_owned(), to.to_owned()))
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.change(Operation::Unlink(path.to_owned()))
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.change(Operation::RemoveFolder(path.to_owned()))
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.change(Operation::SyncFolder(path.to_owned()))
    }
}

fn kind(inode: &Inode) -> Kind {
    match inode {
        Inode::File(bytes) => Kind::File(bytes.now.len() as u64),
        Inode::Folder(_) => Kind::Folder,
    }
}

/// A file of a simulated folder.
#[derive(Debug)]
pub struct SimulatedFile {
    folder: SimulatedFolder,
    inode: usize,
    end: u64,
}

impl OpenFile for SimulatedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.folder.change(Operation::Write(self.inode, offset, bytes.to_vec()))?;
        self.end = self.end.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn append_from(&mut self, host: &mut File, len: u64) -> io::Result<u64> {
        let mut bytes = Vec::new();
        let count = host.take(len).read_to_end(&mut bytes)?;
        if count > 0 {
            self.write_at(self.end, &bytes)?;
        }
        Ok(count as u64)
    }

    fn set_mode(&mut self, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.folder.change(Operation::SyncFile(self.inode))
    }
}
