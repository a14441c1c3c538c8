//! What is done with each entry of a source.

use super::listing::Listing;
use super::{PackError, SourceChanges};
use crate::artefact::Kind;
use crate::scan::Change;
use backplan_host::tree::is_at_or_below;

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is not packed: the base has it, or its member is copied.
    Skip,
    /// It is packed, and is expected to stay as it is.
    Cold,
    /// It is packed, and is expected to change again: it goes to the end, with its like.
    Hot,
}

/// The fates of a source's entries.
#[derive(Debug)]
pub enum Fates {
    /// All the same.
    All(Fate),
    /// By number.
    Each(Vec<Fate>),
}

impl Fates {
    /// Of the entry with this number, counted in its source.
    pub fn of(&self, number: u64) -> Fate {
        match self {
            Fates::All(fate) => *fate,
            Fates::Each(fates) => {
                let at = usize::try_from(number).unwrap_or(usize::MAX);
                fates.get(at).copied().unwrap_or(Fate::Hot)
            }
        }
    }

    /// Whether an entry has this fate.
    pub fn have(&self, fate: Fate) -> bool {
        match self {
            Fates::All(all) => *all == fate,
            Fates::Each(fates) => fates.contains(&fate),
        }
    }
}

/// For a difference: what changed, and the folders right above that. Putting something into a folder, or taking it away,
/// gives the folder a new time: where stock tools lay the difference down, its header sets it right again.
///
/// # Errors
/// When the listing cannot be read.
pub fn of_difference(listing: &Listing, changes: Option<&SourceChanges>) -> Result<Fates, PackError> {
    let Some(found) = changes.and_then(|changes| changes.found.as_ref()) else {
        return Ok(Fates::All(Fate::Hot));
    };
    let of_input = |cause| PackError::Input { source_name: listing.source.clone(), cause };
    let fate = |change: &Change| if *change == Change::Unchanged { Fate::Skip } else { Fate::Hot };
    let mut fates: Vec<Fate> = found.changes().iter().map(fate).collect();
    let touched = &found.touched;
    let mut above: Vec<(usize, Vec<u8>)> = Vec::new();
    if fates.iter().all(|fate| *fate == Fate::Skip) && touched.is_empty() {
        return Ok(Fates::Each(fates));
    }
    for (number, seen) in listing.entries().map_err(of_input)?.enumerate() {
        let seen = seen.map_err(of_input)?;
        while above.last().is_some_and(|(_, folder)| !is_at_or_below(&seen.path, folder)) {
            above.pop();
        }
        // A folder that is there already only gets its own header again.
        let touches = match found.change(number as u64) {
            Change::Unchanged => false,
            Change::Added | Change::Kind => true,
            _ => seen.kind != Kind::Directory,
        };
        if let (true, Some((folder, _))) = (touches, above.last())
            && let Some(fate) = fates.get_mut(*folder)
        {
            *fate = Fate::Hot;
        }
        if seen.kind == Kind::Directory {
            above.push((number, seen.path));
        }
    }
    for folder in touched.numbers() {
        if let Some(fate) = usize::try_from(folder).ok().and_then(|at| fates.get_mut(at)) {
            *fate = Fate::Hot;
        }
    }
    Ok(Fates::Each(fates))
}
