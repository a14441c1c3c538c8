//! What an artefact is packed in regard to: the one before it.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use backplan_compiler::model::Compare;

use crate::artefact::{Artefact, Entry, ReadError, View};
use crate::scan::Doubts;

/// The scan that a source's part of the base was packed from.
#[derive(Debug, Clone)]
pub struct BaseScan {
    /// The scan file.
    pub scan: PathBuf,
    /// What the base does not hold as that scan saw it: [`super::PackedSource::doubts`] of that time.
    pub doubts: Doubts,
    /// How regular files that look unchanged are compared. [`Compare::Checksum`] reads each of them and needs the
    /// base's index; without one, every regular file counts as changed.
    pub compare: Compare,
}

/// What an artefact is to hold.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Everything: it rests on nothing.
    Whole {
        /// Where members in which nothing changed are copied from; `None` packs everything anew.
        copy_from: Option<CopyBase>,
    },
    /// What changed since the base, and the paths that are to be removed from it.
    Difference {
        /// The index of the base, with all that it rests on: for contents that are compared by digest. Without it, single
        /// files (of `sqlite` sources) always count as changed.
        base: Option<Arc<dyn BaseIndex>>,
    },
}

/// An artefact that members are copied from. The scans of [`super::Content::Scan`] must be those it was packed from:
/// where its index says something else, packing ends with [`super::PackError::Base`].
#[derive(Debug, Clone)]
pub struct CopyBase {
    /// The artefact; a whole one.
    pub artefact: Arc<Artefact>,
    /// Its file, if it is one of this host: lets [`super::PackOptions::share_blocks`] share blocks instead of
    /// copying.
    pub file: Option<Arc<File>>,
}

/// The index of what a run rests on, be it one artefact or several laid over one another.
pub trait BaseIndex: fmt::Debug + Send + Sync {
    /// The entry at a path (source, slash, inner path).
    ///
    /// # Errors
    /// When the index cannot be read.
    fn find(&self, path: &[u8]) -> Result<Option<Entry>, ReadError>;

    /// The entry at a path and all below it, sorted component by component. Ends after the first error.
    fn below<'a>(&'a self, path: &[u8]) -> Box<dyn Iterator<Item = Result<Entry, ReadError>> + 'a>;
}

impl BaseIndex for Artefact {
    fn find(&self, path: &[u8]) -> Result<Option<Entry>, ReadError> {
        Artefact::find(self, path)
    }

    fn below<'a>(&'a self, path: &[u8]) -> Box<dyn Iterator<Item = Result<Entry, ReadError>> + 'a> {
        Box::new(Artefact::below(self, path))
    }
}

/// A base that rests on others in its turn. (An error does not say which of them it is of.)
impl BaseIndex for View {
    fn find(&self, path: &[u8]) -> Result<Option<Entry>, ReadError> {
        View::find(self, path).map(|live| live.map(|live| live.entry)).map_err(|error| error.cause)
    }

    fn below<'a>(&'a self, path: &[u8]) -> Box<dyn Iterator<Item = Result<Entry, ReadError>> + 'a> {
        Box::new(View::below(self, path).map(|live| live.map(|live| live.entry).map_err(|error| error.cause)))
    }
}

impl Shape {
    /// The index to compare with.
    pub(super) fn index(&self) -> Option<&dyn BaseIndex> {
        match self {
            Shape::Whole { copy_from } => copy_from.as_ref().map(|base| &*base.artefact as &dyn BaseIndex),
            Shape::Difference { base } => base.as_deref(),
        }
    }

    pub(super) fn is_difference(&self) -> bool {
        matches!(self, Shape::Difference { .. })
    }

    pub(super) fn copy_from(&self) -> Option<&CopyBase> {
        match self {
            Shape::Whole { copy_from } => copy_from.as_ref(),
            Shape::Difference { .. } => None,
        }
    }
}
