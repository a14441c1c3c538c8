//! Texts: those open in the editor, and those on the disk that they import or are imported by.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use backplan_compiler::import_paths;
use backplan_compiler::sources::{SourceFile, SourceSet};
use backplan_host::load;
use lsp_types::{TextDocumentContentChangeEvent, Uri};

use crate::position::Lines;
use crate::uri;

/// Plan files below the folders of a workspace that are looked at; a larger workspace is hardly one of plans.
const MOST_FILES: usize = 2_000;
/// Files of one plan, as when it is loaded to be run.
const MOST_IMPORTED: usize = 500;

/// A text that was read and parsed.
#[derive(Debug)]
pub(crate) struct File {
    pub source: SourceFile,
    pub lines: Lines,
}

impl File {
    fn new(path: &Path, text: String) -> File {
        let lines = Lines::of(&text);
        let parsed = backplan_grammar::parse(&text);
        let shown = load::display(path);
        File { source: SourceFile { path: path.to_path_buf(), shown, text, parsed }, lines }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.source.path
    }
}

/// A text open in the editor.
#[derive(Debug)]
struct Document {
    uri: Uri,
    version: i32,
    text: String,
    lines: Lines,
    /// Parsed when first asked for: an editor sends more changes than questions.
    parsed: Option<Arc<File>>,
}

/// A text on the disk, as it was when it had this time and size.
#[derive(Debug)]
struct OnDisk {
    changed: Option<SystemTime>,
    size: u64,
    read: Result<Arc<File>, String>,
}

/// All texts.
#[derive(Debug, Default)]
pub(crate) struct Files {
    open: BTreeMap<PathBuf, Document>,
    disk: BTreeMap<PathBuf, OnDisk>,
    folders: Vec<PathBuf>,
    /// Plan files below the folders.
    below: BTreeSet<PathBuf>,
}

impl Files {
    /// Looks for plan files below these folders.
    pub fn look_below(&mut self, folders: Vec<PathBuf>) {
        self.folders = folders;
        self.look_again();
    }

    /// Looks again, after files came or went.
    pub fn look_again(&mut self) {
        let found = self.folders.iter().flat_map(|folder| load::plan_files(folder).0);
        self.below = found.take(MOST_FILES).collect();
    }

    /// A text was opened.
    pub fn open(&mut self, uri: Uri, version: i32, text: String) {
        let lines = Lines::of(&text);
        let path = uri::to_path(&uri);
        self.open.insert(path, Document { uri, version, text, lines, parsed: None });
    }

    /// A text was closed: what is on the disk counts again.
    pub fn close(&mut self, uri: &Uri) {
        self.open.remove(&uri::to_path(uri));
    }

    /// An open text changed.
    pub fn change(&mut self, uri: &Uri, version: i32, changes: Vec<TextDocumentContentChangeEvent>) {
        let Some(document) = self.open.get_mut(&uri::to_path(uri)) else { return };
        for change in changes {
            match change.range {
                None => document.text = change.text,
                Some(range) => {
                    let start = document.lines.offset(&document.text, range.start);
                    let end = document.lines.offset(&document.text, range.end).max(start);
                    document.text.replace_range(start..end, &change.text);
                }
            }
            document.lines = Lines::of(&document.text);
        }
        document.version = version;
        document.parsed = None;
    }

    /// The paths of the open texts.
    pub fn open_paths(&self) -> Vec<PathBuf> {
        self.open.keys().cloned().collect()
    }

    /// The version of an open text.
    pub fn version(&self, path: &Path) -> Option<i32> {
        self.open.get(path).map(|document| document.version)
    }

    /// The URI of a text: as the editor wrote it, where it is open.
    pub fn uri(&self, path: &Path) -> Option<Uri> {
        match self.open.get(path) {
            Some(document) => Some(document.uri.clone()),
            None => uri::of_path(path),
        }
    }

    /// A text, from the editor or from the disk; or why there is none.
    pub fn get(&mut self, path: &Path) -> Result<Arc<File>, String> {
        if let Some(document) = self.open.get_mut(path) {
            let text = &document.text;
            let parsed = document.parsed.get_or_insert_with(|| Arc::new(File::new(path, text.clone())));
            return Ok(Arc::clone(parsed));
        }
        if uri::is_of_no_file(path) {
            return Err("the text it is written in is not saved as a file, so no folder is known".into());
        }
        let (changed, size) = match fs::metadata(path) {
            Ok(metadata) => (metadata.modified().ok(), metadata.len()),
            Err(_) => (None, 0),
        };
        if let Some(known) = self.disk.get(path)
            && (known.changed, known.size) == (changed, size)
            && changed.is_some()
        {
            return known.read.clone();
        }
        let text = load::read_plan_text(path).map_err(|error| error.trouble.to_string());
        let read = text.map(|text| Arc::new(File::new(path, text)));
        self.disk.insert(path.to_path_buf(), OnDisk { changed, size, read: read.clone() });
        read
    }

    /// A plan and all that it imports, the plan first, and the imports that could not be read.
    pub fn set(&mut self, root: &Path) -> FileSet {
        let mut set = FileSet::default();
        let mut waiting = VecDeque::from([root.to_path_buf()]);
        let mut seen = BTreeSet::new();
        while let Some(path) = waiting.pop_front() {
            if !seen.insert(path.clone()) {
                continue;
            }
            if set.files.len() >= MOST_IMPORTED {
                let why = format!("is one too many: a plan has at most {MOST_IMPORTED} files");
                set.unreadable.insert(path, why);
                continue;
            }
            match self.get(&path) {
                Ok(file) => {
                    waiting.extend(import_paths(&file.source).into_iter().map(|(path, _)| path));
                    set.files.push(file);
                }
                Err(why) => {
                    set.unreadable.insert(path, why);
                }
            }
        }
        set
    }

    /// The files known: open, or below a folder of the workspace.
    pub fn known(&mut self) -> Vec<Arc<File>> {
        let paths: BTreeSet<PathBuf> = self.open.keys().chain(&self.below).cloned().collect();
        paths.iter().filter_map(|path| self.get(path).ok()).collect()
    }

    /// The plans that a file is a part of, itself first if it is one; a library that no known plan imports stands for
    /// itself.
    pub fn plans_of(&mut self, path: &Path) -> Vec<FileSet> {
        if self.get(path).is_ok_and(|file| load::has_header(&file.source)) {
            return vec![self.set(path)];
        }
        let importers = self.importers(path);
        let mut sets: Vec<FileSet> = importers.iter().map(|root| self.set(root)).collect();
        if sets.is_empty() {
            sets.push(self.set(path));
        }
        sets
    }

    /// The known plans that import a file, directly or not.
    fn importers(&mut self, path: &Path) -> Vec<PathBuf> {
        let known = self.known();
        let mut by_import: BTreeMap<PathBuf, Vec<&File>> = BTreeMap::new();
        for file in &known {
            for (imported, _) in import_paths(&file.source) {
                by_import.entry(imported).or_default().push(file);
            }
        }
        let mut plans = BTreeSet::new();
        let mut seen = BTreeSet::from([path.to_path_buf()]);
        let mut waiting = vec![path.to_path_buf()];
        while let Some(path) = waiting.pop() {
            for importer in by_import.get(&path).into_iter().flatten() {
                if load::has_header(&importer.source) {
                    plans.insert(importer.path().to_path_buf());
                } else if seen.insert(importer.path().to_path_buf()) {
                    waiting.push(importer.path().to_path_buf());
                }
            }
        }
        plans.into_iter().collect()
    }
}

/// A plan and all that it imports.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileSet {
    /// The plan first.
    pub files: Vec<Arc<File>>,
    /// Imports that could not be read, with the reason.
    pub unreadable: BTreeMap<PathBuf, String>,
}

impl FileSet {
    /// The path of the plan.
    pub fn root(&self) -> Option<&Path> {
        self.files.first().map(|file| file.path())
    }

    /// Whether the plan can be run: else it is a library that stands for itself.
    pub fn is_plan(&self) -> bool {
        self.files.first().is_some_and(|file| load::has_header(&file.source))
    }

    /// As the compiler wants it; `None` if nothing could be read.
    pub fn sources(&self) -> Option<SourceSet> {
        let mut set = SourceSet::default();
        for file in &self.files {
            set.add(file.source.clone());
        }
        set.unreadable.clone_from(&self.unreadable);
        (!self.files.is_empty()).then_some(set)
    }

    /// The file at a path.
    pub fn find(&self, path: &Path) -> Option<&Arc<File>> {
        self.files.iter().find(|file| file.path() == path)
    }
}
