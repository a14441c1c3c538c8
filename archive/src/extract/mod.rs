//! Putting files back.
//!
//! Nothing outside the targets is touched, whatever an artefact says: every path is resolved beneath its target without
//! following a symbolic link, and an entry is believed only where the index and its tar header agree.

#[cfg(test)]
mod hostile_tests;
mod place;
mod run;
mod select;
mod way;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::artefact::{LayerError, View};
use crate::scan::LIMITS;
use backplan_host::control::{Control, Stopped};
use backplan_host::places::anchor::Moved;
use place::Place;
use run::Run;
pub use select::{Pattern, Pick, Picks, Taken};
use select::{Selected, Selector, select};

/// What to put where.
#[derive(Debug, Clone)]
pub struct Extraction {
    /// Which folder of the artefact goes to which folder of this host. An entry follows the longest prefix it is below;
    /// one that is below none is not extracted. `--to DIR` is the empty prefix; `--source S` is `S`; in place, each
    /// `paths` entry's inner path with its absolute one.
    pub targets: Vec<Target>,
    /// What is wanted; nothing in particular: everything.
    pub only: Vec<Pick>,
    /// What happens to files that are there already.
    pub existing: Existing,
    /// Whether owners are restored; `None`: as far as the account may.
    pub owners: Option<bool>,
    /// Make it durable before returning.
    pub sync: bool,
    /// Threads; as many as there are cores where `None`.
    pub workers: Option<usize>,
}

/// Where a folder of the artefact goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Path inside the artefact; empty for all of it.
    pub prefix: Vec<u8>,
    /// A folder of this host, as somebody who may say so named it. Made, with the folders above it, where it is not there;
    /// links on the way to it are followed, but for those of other accounts.
    pub base: PathBuf,
    /// The path beneath that folder that stands for the prefix; empty: the folder itself. No link on this way is followed.
    pub below: Vec<u8>,
}

impl Target {
    /// To a folder itself.
    pub fn folder(prefix: &[u8], base: &Path) -> Target {
        Target { prefix: prefix.to_vec(), base: base.to_path_buf(), below: Vec::new() }
    }

    /// To a name in a folder.
    pub fn beneath(prefix: &[u8], base: &Path, below: &OsStr) -> Target {
        Target { below: below.as_bytes().to_vec(), ..Target::folder(prefix, base) }
    }

    /// To an absolute path, in whose folder it is made.
    pub fn at(prefix: &[u8], path: &Path) -> Target {
        match (path.parent(), path.file_name()) {
            (Some(above), Some(name)) => Target::beneath(prefix, above, name),
            _ => Target::folder(prefix, path),
        }
    }

    /// The path on this host that stands for the prefix.
    pub fn path(&self) -> PathBuf {
        match self.below.is_empty() {
            true => self.base.clone(),
            false => self.base.join(OsStr::from_bytes(&self.below)),
        }
    }
}

/// What happens to files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They stay, and each is a problem in the report.
    Keep,
    /// They are replaced, each by a rename once the new one is whole.
    Replace,
    /// They are what an extraction that was cut short left: files that are as they should be, byte by byte, stay, and are
    /// not read from the artefact; all else is made again.
    Resume,
}

/// What was put back.
#[derive(Debug, Clone, Default)]
pub struct Extracted {
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Files among them that were there already.
    pub there: u64,
    /// Entries that are this account's now, which may not give them back to whom they belonged.
    pub foreign: u64,
    /// The first of those owners and groups.
    pub owners: BTreeSet<(u32, u32)>,
    /// Files that were not whole when they were packed: they shrank, or could not be read to the end, and zeros stand for
    /// the rest.
    pub maimed: u64,
    /// The first of them.
    pub maimed_first: Vec<Vec<u8>>,
    /// What could not be put back, or not wholly: the first ones word for word.
    pub problems: Vec<Problem>,
    /// How many problems there were.
    pub problem_count: u64,
}

/// One entry's trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path inside the artefact.
    pub path: Vec<u8>,
    /// The layer of the view that it is from, counted from the oldest.
    pub layer: usize,
    /// Kind of trouble.
    pub kind: ProblemKind,
    /// In words.
    pub what: String,
}

/// Kinds of trouble with one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Its bytes are damaged: nothing of it was left.
    Damaged,
    /// Its index entry and its tar header differ, or it points outside: not extracted.
    Hostile,
    /// Something is there already, which would be replaced by who is told to.
    Exists,
    /// Something is there that nobody replaces.
    InTheWay,
    /// The system refused.
    System,
    /// It is there, but an owner, mode, time or attribute could not be set.
    Attributes,
}

/// Why nothing (more) could be extracted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// An artefact's index cannot be read.
    #[error(transparent)]
    Artefact(#[from] LayerError),
    /// A target cannot be used.
    #[error("cannot restore into `{path}`: {cause}")]
    Target {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// The target was moved away meanwhile.
    #[error("restoring went elsewhere: {0}")]
    Moved(#[from] Moved),
    /// There is no room left, or nothing may be written any more: what was put back so far stays.
    #[error("restoring ended early: {0}")]
    Full(#[source] io::Error),
    /// Nothing more may be opened: what was put back so far stays.
    #[error("restoring ended early: {0}; {LIMITS}")]
    TooMany(#[source] io::Error),
    /// Asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What an extraction would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// What [`extract`] would put back; touches nothing.
///
/// # Errors
/// When the index cannot be read.
pub fn preview(view: &View, extraction: &Extraction) -> Result<Preview, ExtractError> {
    Ok(Choice::of(view, extraction)?.preview())
}

/// Puts files back: what the layers of `view` are together, each entry once.
///
/// # Errors
/// See [`ExtractError`]; trouble with single entries is reported in [`Extracted::problems`], and the others are extracted.
pub fn extract(view: &View, extraction: &Extraction, control: &Control) -> Result<Extracted, ExtractError> {
    Choice::of(view, extraction)?.open()?.run(control)
}

/// The entries that are wanted.
pub struct Choice<'a> {
    view: &'a View,
    extraction: &'a Extraction,
    selector: Selector,
    selected: Selected,
}

impl<'a> Choice<'a> {
    /// Those of an extraction; touches nothing.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn of(view: &'a View, extraction: &'a Extraction) -> Result<Choice<'a>, ExtractError> {
        let selector = Selector::new(extraction);
        let selected = select(view, &selector, &extraction.only)?;
        Ok(Choice { view, extraction, selector, selected })
    }

    /// Which of what is wanted there is.
    pub fn matched(&self) -> &[bool] {
        &self.selected.matched
    }

    /// The targets, by their places, to which something of it goes.
    pub fn used(&self) -> BTreeSet<usize> {
        self.selected.used.clone()
    }

    /// How much it is.
    pub fn preview(&self) -> Preview {
        Preview { entries: self.selected.entries, bytes: self.selected.bytes }
    }

    /// Opens the targets, and makes those that are not there. Who extracts several artefacts opens the targets of all
    /// before the first: what one lays down must not be on the way to where another one goes.
    ///
    /// # Errors
    /// [`ExtractError::Target`].
    pub fn open(self) -> Result<Opened<'a>, ExtractError> {
        let targets = &self.extraction.targets;
        let places = targets
            .iter()
            .map(|target| Place::open(target, self.extraction))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Opened { choice: self, places })
    }
}

/// Entries that are wanted, and open folders for them.
pub struct Opened<'a> {
    choice: Choice<'a>,
    places: Vec<Place>,
}

impl Opened<'_> {
    /// Puts them back.
    ///
    /// # Errors
    /// See [`ExtractError`].
    pub fn run(&self, control: &Control) -> Result<Extracted, ExtractError> {
        let Choice { view, extraction, selector, selected } = &self.choice;
        control.expect(selected.entries, selected.bytes);
        let extracted = Run::new(view, selector, &self.places, control).run(selected, extraction)?;
        if extraction.sync {
            for (place, target) in self.places.iter().zip(&extraction.targets) {
                place
                    .sync()
                    .map_err(|cause| ExtractError::Target { path: target.path(), cause: cause.into() })?;
            }
        }
        for (place, target) in self.places.iter().zip(&extraction.targets) {
            place.in_place(&target.base)?;
        }
        Ok(extracted)
    }
}
