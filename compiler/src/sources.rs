//! The texts that one compilation works on.

mod position;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backplan_grammar::{Parsed, Span};

pub use position::{Position, position};

/// A file of a [`SourceSet`], by its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId(pub usize);

/// A range of text in one file of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which file.
    pub file: FileId,
    /// Which bytes of it.
    pub span: Span,
}

/// One text, read and parsed.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Absolute, normalised path; the folder that relative paths in the text start from is its parent.
    pub path: PathBuf,
    /// The path as messages show it.
    pub shown: String,
    /// The text.
    pub text: String,
    /// What the grammar made of it.
    pub parsed: Parsed,
}

/// A plan and every file it imports, directly or not, already read: the compiler follows imports by path and opens none.
#[derive(Debug, Clone, Default)]
pub struct SourceSet {
    files: Vec<SourceFile>,
    by_path: BTreeMap<PathBuf, FileId>,
    /// Imported paths that could not be read, with the reason.
    pub unreadable: BTreeMap<PathBuf, String>,
}

impl SourceSet {
    /// Adds a file; the first one added is the plan itself. A path already there is not added again.
    pub fn add(&mut self, file: SourceFile) -> FileId {
        if let Some(id) = self.by_path.get(&file.path) {
            return *id;
        }
        let id = FileId(self.files.len());
        self.by_path.insert(file.path.clone(), id);
        self.files.push(file);
        id
    }

    /// A place as people and editors read it: `site.plan:6:12`.
    pub fn spelt(&self, place: Place) -> String {
        let file = self.file(place.file);
        let at = position(&file.text, place.span.start);
        format!("{}:{}:{}", file.shown, at.line, at.column)
    }

    /// The file with this id.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0]
    }

    /// The file at this absolute path, if it is in the set.
    pub fn find(&self, path: &Path) -> Option<FileId> {
        self.by_path.get(path).copied()
    }

    /// The plan itself.
    ///
    /// # Panics
    /// If the set is empty.
    pub fn root(&self) -> FileId {
        assert!(!self.files.is_empty(), "a source set holds at least the plan");
        FileId(0)
    }

    /// Makes text at these places unreadable, byte for byte, so that a message may show the lines around it.
    pub fn hide(&mut self, places: &[Place]) {
        for place in places {
            let text = &mut self.files[place.file.0].text;
            if let Some(secret) = text.get(place.span.start..place.span.end) {
                let stars: String =
                    secret.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
                text.replace_range(place.span.start..place.span.end, &stars);
            }
        }
    }

    /// All files in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(index, file)| (FileId(index), file))
    }
}

/// What a compilation is told besides the texts.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// `-p NAME=VALUE`, as text.
    pub params: BTreeMap<String, String>,
    /// `PLAN_PARAM_NAME` of the environment, prefix taken off, names in lower case.
    pub env_params: BTreeMap<String, String>,
    /// The home folder that `~` stands for.
    pub home: Option<PathBuf>,
}
