//! Which entries are extracted, and where each goes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{ExtractError, Extraction};
use crate::artefact::agree::is_at_or_below;
use crate::artefact::layout::Placement;
use crate::artefact::{Artefact, Entry, Kind};

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

    /// Whether a pattern names the entry itself. Patterns may start at the artefact's own root, that is with a source's
    /// name, or below a target's prefix; where that is the artefact's root, also in a source's folder.
    fn is_named(&self, entry: &Entry, below: &[u8]) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        let is_folder = entry.kind == Kind::Directory;
        let matches = |path: &[u8]| {
            !path.is_empty() && patterns.matched(Path::new(OsStr::from_bytes(path)), is_folder).is_ignore()
        };
        let in_source = (below.len() == entry.path.len())
            .then(|| below.iter().position(|byte| *byte == b'/').map(|at| &below[at + 1..]))
            .flatten();
        matches(&entry.path) || matches(below) || in_source.is_some_and(matches)
    }
}

/// What is to be extracted.
#[derive(Default)]
pub struct Selected {
    /// In the order of the artefact.
    pub placements: Vec<Placement>,
    /// Bytes of files.
    pub bytes: u64,
}

/// Goes through the index once. A folder above a selected entry is selected too, so that it gets its own metadata.
///
/// # Errors
/// When the index cannot be read.
pub fn select(artefact: &Artefact, selector: &Selector) -> Result<Selected, ExtractError> {
    let mut selected = Selected::default();
    let mut whole: Option<Vec<u8>> = None;
    let mut above: Vec<(Vec<u8>, Placement)> = Vec::new();
    for block in 0..artefact.entry_block_count() {
        for (row, entry) in artefact.entry_block(block)?.into_iter().enumerate() {
            let Some((_, below)) = selector.target(&entry.path) else { continue };
            let placement = Placement {
                member: entry.member as u32,
                start: entry.start,
                block: block as u32,
                row: row as u32,
            };
            above.retain(|(folder, _)| is_at_or_below(&entry.path, folder));
            let inside = whole.as_ref().is_some_and(|folder| is_at_or_below(&entry.path, folder));
            if inside || selector.is_named(&entry, below) {
                selected.placements.extend(above.drain(..).map(|(_, placement)| placement));
                selected.placements.push(placement);
                if entry.kind == Kind::File {
                    selected.bytes += entry.size;
                }
                if !inside && entry.kind == Kind::Directory {
                    whole = Some(entry.path);
                }
            } else if entry.kind == Kind::Directory {
                above.push((entry.path, placement));
            }
        }
    }
    selected.placements.sort_unstable();
    Ok(selected)
}
