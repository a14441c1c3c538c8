//! Which entries are extracted, and where each goes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{ExtractError, Extraction};
use crate::artefact::agree::is_at_or_below;
use crate::artefact::layout::Placement;
use crate::artefact::{Entry, Kind, Live, View};

/// Decides entry by entry.
pub struct Selector {
    prefixes: Vec<(usize, Vec<u8>)>,
    patterns: Option<Gitignore>,
}

impl Selector {
    /// For an extraction.
    ///
    /// # Errors
    /// [`ExtractError::Pattern`].
    pub fn new(extraction: &Extraction) -> Result<Selector, ExtractError> {
        let of = |(index, target): (usize, &super::Target)| (index, target.prefix.clone());
        let mut prefixes: Vec<_> = extraction.targets.iter().enumerate().map(of).collect();
        prefixes.sort_by_key(|(_, prefix)| std::cmp::Reverse(prefix.len()));
        let mut builder = GitignoreBuilder::new(".");
        let bad = |pattern: &str, cause: ignore::Error| ExtractError::Pattern {
            pattern: pattern.to_string(),
            cause: cause.to_string(),
        };
        for pattern in &extraction.only {
            builder.add_line(None, pattern).map_err(|cause| bad(pattern, cause))?;
        }
        let patterns = builder.build().map_err(|cause| bad("", cause))?;
        Ok(Selector { prefixes, patterns: (!extraction.only.is_empty()).then_some(patterns) })
    }

    /// The target that an entry goes to, and its path below that one.
    pub fn target<'p>(&self, path: &'p [u8]) -> Option<(usize, &'p [u8])> {
        let (target, prefix) = self.prefixes.iter().find(|(_, prefix)| is_at_or_below(path, prefix))?;
        let below = &path[prefix.len()..];
        Some((*target, below.strip_prefix(b"/").unwrap_or(below)))
    }

    /// Whether a pattern names the entry itself. Below the artefact's own root, patterns may start at a source's folder, or
    /// in it.
    fn is_named(&self, entry: &Entry, below: &[u8]) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        let is_folder = entry.kind == Kind::Directory;
        let matches = |path: &[u8]| {
            !path.is_empty() && patterns.matched(Path::new(OsStr::from_bytes(path)), is_folder).is_ignore()
        };
        let in_source = (below.len() == entry.path.len())
            .then(|| below.iter().position(|byte| *byte == b'/').map(|at| &below[at + 1..]))
            .flatten();
        matches(below) || in_source.is_some_and(matches)
    }
}

/// What is to be extracted.
#[derive(Default)]
pub struct Selected {
    /// Per layer, in the order of its artefact.
    pub layers: Vec<Vec<Placement>>,
    /// Entries of all layers.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
}

impl Selected {
    fn take(&mut self, layer: u32, mut placement: Placement) {
        placement.order = self.entries as u32;
        self.entries += 1;
        self.layers[layer as usize].push(placement);
    }
}

/// Goes through the tree once. A folder above a selected entry is selected too, so that it gets its own metadata.
///
/// # Errors
/// When an index cannot be read.
pub fn select(view: &View, selector: &Selector) -> Result<Selected, ExtractError> {
    let mut selected = Selected::default();
    selected.layers.resize_with(view.artefacts().len(), Vec::new);
    let mut whole: Option<Vec<u8>> = None;
    let mut above: Vec<(Vec<u8>, u32, Placement)> = Vec::new();
    for live in view.entries() {
        let Live { entry, spot } = live?;
        let Some((_, below)) = selector.target(&entry.path) else { continue };
        let (block, row) = (spot.block, spot.row);
        let placement = Placement { member: entry.member as u32, start: entry.start, block, row, order: 0 };
        above.retain(|(folder, ..)| is_at_or_below(&entry.path, folder));
        let inside = whole.as_ref().is_some_and(|folder| is_at_or_below(&entry.path, folder));
        if inside || selector.is_named(&entry, below) {
            above.drain(..).for_each(|(_, layer, folder)| selected.take(layer, folder));
            selected.take(spot.layer, placement);
            if entry.kind == Kind::File {
                selected.bytes += entry.size;
            }
            if !inside && entry.kind == Kind::Directory {
                whole = Some(entry.path);
            }
        } else if entry.kind == Kind::Directory {
            above.push((entry.path, spot.layer, placement));
        }
    }
    selected.layers.iter_mut().for_each(|placements| placements.sort_unstable());
    Ok(selected)
}
