//! Which entries are wanted, and where each goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use backplan_compiler::pattern::Patterns;

use super::Extraction;
use crate::artefact::layout::Placement;
use crate::artefact::{Entry, Flags, Kind, LayerError, Live, View};
use backplan_host::tree::is_at_or_below;

/// What somebody wants of a tree; with it comes all that is below.
#[derive(Debug, Clone)]
pub enum Pick {
    /// The entry at this path of the tree, whatever characters it has.
    Path(Vec<u8>),
    /// The entries that a pattern matches.
    Pattern(Pattern),
}

/// A pattern by gitignore's rules.
#[derive(Debug, Clone)]
pub struct Pattern {
    matcher: Patterns,
    /// Paths of the tree at which it may begin.
    anchors: Arc<[Vec<u8>]>,
}

impl Pattern {
    /// Reads one; it is held against each entry's path below each of `anchors` that the entry is below.
    pub fn new(text: &str, anchors: Arc<[Vec<u8>]>) -> Pattern {
        // What is wanted has no exceptions and no comments: these are names that begin so.
        let escape = if text.starts_with(['!', '#']) { "\\" } else { "" };
        Pattern { matcher: Patterns::new([format!("{escape}{text}").as_str()]), anchors }
    }

    fn matches(&self, path: &[u8], kind: Kind) -> bool {
        self.anchors.iter().filter(|anchor| is_at_or_below(path, anchor)).any(|anchor| {
            let below = &path[anchor.len()..];
            let below = below.strip_prefix(b"/").unwrap_or(below);
            self.matcher.verdict(below, kind == Kind::Directory).is_left_out()
        })
    }
}

impl Pick {
    /// Whether it names an entry or a folder above it.
    pub fn covers(&self, path: &[u8], kind: Kind) -> bool {
        match self {
            Pick::Path(wanted) => is_at_or_below(path, wanted),
            Pick::Pattern(pattern) => {
                let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
                let mut above = slashes.map(|(at, _)| &path[..at]);
                pattern.matches(path, kind) || above.any(|folder| pattern.matches(folder, Kind::Directory))
            }
        }
    }

    /// Its path, if it is no pattern.
    fn path(&self) -> Option<&[u8]> {
        match self {
            Pick::Path(path) => Some(path),
            Pick::Pattern(_) => None,
        }
    }

    fn names(&self, path: &[u8], kind: Kind) -> bool {
        match self {
            Pick::Path(wanted) => path == wanted,
            Pick::Pattern(pattern) => pattern.matches(path, kind),
        }
    }
}

/// What is wanted, held against entries in path order. Nothing in particular is everything.
#[derive(Debug)]
pub struct Picks<'p> {
    picks: &'p [Pick],
    matched: Vec<bool>,
    whole: Option<Vec<u8>>,
}

/// How an entry is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Not.
    No,
    /// By itself.
    Named,
    /// As a part of a folder that is wanted.
    Inside,
}

impl<'p> Picks<'p> {
    /// Of these, any.
    pub fn new(picks: &'p [Pick]) -> Picks<'p> {
        Picks { picks, matched: vec![false; picks.len()], whole: None }
    }

    /// Whether the next entry in path order is wanted.
    pub fn take(&mut self, path: &[u8], kind: Kind) -> Taken {
        let inside = self.whole.as_ref().is_some_and(|folder| is_at_or_below(path, folder));
        if inside && self.matched.iter().all(|matched| *matched) {
            return Taken::Inside;
        }
        let mut named = self.picks.is_empty();
        for (pick, matched) in self.picks.iter().zip(&mut self.matched) {
            if pick.names(path, kind) {
                (named, *matched) = (true, true);
            }
        }
        match (inside, named) {
            (true, _) => Taken::Inside,
            (false, false) => Taken::No,
            (false, true) => {
                if kind == Kind::Directory {
                    self.whole = Some(path.to_vec());
                }
                Taken::Named
            }
        }
    }

    /// Which of the picks named something.
    pub fn matched(&self) -> &[bool] {
        &self.matched
    }
}

/// Where entries go.
pub struct Selector {
    prefixes: Vec<(usize, Vec<u8>)>,
}

impl Selector {
    /// For an extraction.
    pub fn new(extraction: &Extraction) -> Selector {
        let of = |(index, target): (usize, &super::Target)| (index, target.prefix.clone());
        let mut prefixes: Vec<_> = extraction.targets.iter().enumerate().map(of).collect();
        prefixes.sort_by_key(|(_, prefix)| std::cmp::Reverse(prefix.len()));
        Selector { prefixes }
    }

    /// The target that an entry goes to, and its path below that one.
    pub fn target<'p>(&self, path: &'p [u8]) -> Option<(usize, &'p [u8])> {
        let (target, prefix) = self.prefixes.iter().find(|(_, prefix)| is_at_or_below(path, prefix))?;
        let below = &path[prefix.len()..];
        Some((*target, below.strip_prefix(b"/").unwrap_or(below)))
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
    /// Which of the picks named something that has a target.
    pub matched: Vec<bool>,
    /// The targets, by their places, to which something goes.
    pub used: BTreeSet<usize>,
}

impl Selected {
    fn take(&mut self, layer: u32, mut placement: Placement) {
        placement.order = self.entries as u32;
        self.entries += 1;
        self.layers[layer as usize].push(placement);
    }
}

/// The entries among which there is all that is wanted, in path order.
fn candidates<'v>(view: &'v View, only: &[Pick]) -> Box<dyn Iterator<Item = Result<Live, LayerError>> + 'v> {
    match only.iter().map(Pick::path).collect::<Option<Vec<&[u8]>>>() {
        Some(paths) if !paths.is_empty() => Box::new(view.at(&paths)),
        _ => Box::new(view.entries()),
    }
}

/// Goes once through the tree, or what is wanted of it. A folder above a selected entry is selected too, so that it gets its own
/// metadata.
///
/// # Errors
/// When an index cannot be read.
pub fn select(view: &View, selector: &Selector, only: &[Pick]) -> Result<Selected, LayerError> {
    let mut selected = Selected::default();
    selected.layers.resize_with(view.artefacts().len(), Vec::new);
    let mut picks = Picks::new(only);
    let mut above: Vec<(Vec<u8>, u32, Placement)> = Vec::new();
    let mut further = FurtherNames { is_kept: !only.is_empty(), ..FurtherNames::default() };
    for live in candidates(view, only) {
        let Live { entry, spot } = live?;
        let Some((target, _)) = selector.target(&entry.path) else { continue };
        let (block, row) = (spot.block, spot.row);
        let placement = Placement { member: entry.member as u32, start: entry.start, block, row, order: 0 };
        while above.last().is_some_and(|(folder, ..)| !is_at_or_below(&entry.path, folder)) {
            above.pop();
        }
        if picks.take(&entry.path, entry.kind) == Taken::No {
            if entry.kind == Kind::Directory {
                above.push((entry.path, spot.layer, placement));
            }
            continue;
        }
        selected.used.insert(target);
        further.see(spot.layer, &entry);
        above.drain(..).for_each(|(_, layer, folder)| selected.take(layer, folder));
        selected.take(spot.layer, placement);
        // What an index says may be anything.
        selected.bytes = selected.bytes.saturating_add(bytes(&entry));
    }
    selected.layers.iter_mut().for_each(|placements| placements.sort_unstable());
    selected.matched = picks.matched().to_vec();
    selected.bytes = selected.bytes.saturating_add(further.bytes(view)?);
    Ok(selected)
}

/// Further names among what is wanted, which have the contents of their file where that is not wanted itself.
#[derive(Default)]
struct FurtherNames {
    /// Only where a part is wanted: else each file is there.
    is_kept: bool,
    files: BTreeSet<(u32, Vec<u8>)>,
    of: BTreeSet<(u32, Vec<u8>)>,
}

impl FurtherNames {
    fn see(&mut self, layer: u32, entry: &Entry) {
        match entry.kind {
            Kind::HardLink if self.is_kept => _ = self.of.insert((layer, entry.link.clone())),
            Kind::File if self.is_kept && entry.flags.has(Flags::LINKED) => {
                self.files.insert((layer, entry.path.clone()));
            }
            _ => {}
        }
    }

    /// Of the files that are not wanted.
    fn bytes(&self, view: &View) -> Result<u64, LayerError> {
        let mut sum: u64 = 0;
        for (layer, path) in self.of.difference(&self.files) {
            let file = view.artefact(*layer).find(path).map_err(view.of_layer(*layer as usize))?;
            sum = sum.saturating_add(file.as_ref().map_or(0, bytes));
        }
        Ok(sum)
    }
}

fn bytes(entry: &Entry) -> u64 {
    if entry.kind == Kind::File { entry.size } else { 0 }
}
