//! Artefacts in a store that no manifest names: what is left of a run whose manifest was moved away, or deleted by hand. No run takes
//! them back, as no record lists them, and no prune deletes what it does not know.

use std::collections::BTreeSet;

use super::BackupsError;
use super::shelf::Shelf;
use crate::artefact::run_of;
use crate::catalog::ids::RunId;
use crate::catalog::layout::Layout;
use crate::catalog::manifest::Manifest;
use crate::catalog::recover::{HEAD_BYTES, Intended, Intent, Tombstone};
use crate::catalog::runs::{Catalog, plans, read_manifest};
use crate::store::fs::Kind;
use crate::store::{Name, ReadStore, StoreError, StoreErrorKind};
use crate::text::printable;

/// Artefacts that are told one by one.
const MOST: usize = 5;
/// Files that are looked into at the most.
const LOOKED_INTO: usize = 256;

/// An artefact that no manifest names.
struct Stray {
    name: Name,
    run: RunId,
}

impl Shelf {
    /// What is said of artefacts of this plan that no manifest names. The catalog must have been read before.
    ///
    /// # Errors
    /// When the store cannot tell what there is.
    pub fn strays(&self) -> Result<Vec<String>, StoreError> {
        let found = self.strangers()?;
        let (label, all) = (self.store.label(), found.len());
        let mut told: Vec<String> = found.into_iter().take(MOST).map(|stray| self.told(&stray)).collect();
        if let Some(more @ 1..) = all.checked_sub(MOST) {
            told.push(format!("store `{label}`: and {more} more artefacts that no manifest names"));
        }
        Ok(told)
    }

    fn told(&self, Stray { name, run }: &Stray) -> String {
        let (store, plan, object) = (self.store.label(), self.layout.plan(), self.layout.manifest(run));
        format!(
            "store `{store}`: no manifest names artefact `{name}`, which run `{run}` of plan `{plan}` made: that run's was moved away, or \
             deleted. Put it back as `{object}`; where another store has the run, `plan sync FILE` brings it back; if the run is given \
             up, delete the artefact"
        )
    }

    fn strangers(&self) -> Result<Vec<Stray>, StoreError> {
        let there = self.store.root()?;
        let files =
            there.iter().filter(|entry| matches!(entry.kind, Kind::File(1..))).map(|entry| &entry.name);
        let known = names(self.catalog.runs());
        let shapes: BTreeSet<String> = known.iter().map(|name| shape(name)).collect();
        let default = format!("{}_", self.layout.plan());
        let is_like_own = |name: &str| shapes.contains(&shape(name)) || name.starts_with(&default);
        let doubtful: Vec<&Name> =
            files.filter(|name| !known.contains(name.as_str()) && is_like_own(name.as_str())).collect();
        if doubtful.is_empty() {
            return Ok(Vec::new());
        }
        let claimed = self.claimed()?;
        let doubtful = doubtful.into_iter().filter(|name| !claimed.contains(name.as_str()));
        let looked = doubtful.take(LOOKED_INTO).map(|name| self.look_into(name));
        looked.filter_map(Result::transpose).collect()
    }

    /// Names that a run is writing or deleting, and those of other plans.
    fn claimed(&self) -> Result<BTreeSet<String>, StoreError> {
        let store = self.store.as_ref();
        let mut claimed = BTreeSet::new();
        for plan in plans(store)? {
            let Ok(layout) = Layout::new(&plan) else { continue };
            claimed.extend(listed(store, &layout)?);
            if layout.plan() != self.layout.plan() {
                claimed.extend(names(Catalog::load(store, &layout)?.runs()));
            }
        }
        Ok(claimed)
    }

    /// Whether a file is an artefact of a run that does not name it.
    fn look_into(&self, name: &Name) -> Result<Option<Stray>, StoreError> {
        let head = match self.store.read_range(name, 0, HEAD_BYTES) {
            Err(error) if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Foreign) => {
                return Ok(None);
            }
            head => head?,
        };
        let Some(run) = run_of(&head).and_then(|run| run.parse::<RunId>().ok()) else { return Ok(None) };
        // A manifest that cannot be read may name it, and is told of by itself.
        if self.catalog.may_be_needed_by(&run).is_some() {
            return Ok(None);
        }
        // It may have been committed since the catalog was read.
        let is_named = match read_manifest(self.store.as_ref(), &self.layout, &run) {
            Ok(Some(manifest)) => manifest.archives.iter().any(|archive| archive.artefact == *name.as_str()),
            Ok(None) => false,
            Err(_) => true,
        };
        Ok((!is_named).then(|| Stray { name: name.clone(), run }))
    }
}

/// What is said of a store with no plan in it: whether there are artefacts all the same, by the mark that each begins with.
///
/// # Errors
/// When the store cannot tell what there is.
pub fn headless(store: &dyn ReadStore) -> Result<BackupsError, StoreError> {
    let (mut runs, mut names) = (BTreeSet::new(), Vec::new());
    let there = store.root()?;
    let files = there.iter().filter(|entry| matches!(entry.kind, Kind::File(1..))).take(LOOKED_INTO);
    for entry in files {
        // What cannot be read is no reason to say nothing of the rest.
        let Ok(head) = store.read_range(&entry.name, 0, HEAD_BYTES) else { continue };
        if let Some(run) = run_of(&head).and_then(|run| run.parse::<RunId>().ok()) {
            runs.insert(run);
            names.push(format!("`{}`", printable(entry.name.as_str().as_bytes())));
        }
    }
    let (label, count) = (store.label().to_owned(), names.len());
    if let Some(more @ 1..) = count.checked_sub(MOST) {
        names.truncate(MOST);
        names.push(format!("and {more} more"));
    }
    Ok(match count {
        0 => BackupsError::NoPlan(label),
        _ => BackupsError::Headless { store: label, runs: runs.len(), names },
    })
}

fn names<'a>(runs: impl Iterator<Item = &'a Manifest>) -> BTreeSet<String> {
    runs.flat_map(|run| &run.archives).map(|archive| archive.artefact.to_string()).collect()
}

/// What a name has but for its numbers: artefacts of one archive differ in the times in their names.
fn shape(name: &str) -> String {
    let mut shape = String::new();
    for letter in name.chars() {
        match letter {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            letter => shape.push(letter),
        }
    }
    shape
}

/// The artefacts that intents and tombstones of a plan list.
fn listed(store: &dyn ReadStore, layout: &Layout) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<Intended> = Vec::new();
    for folder in [layout.intents(), layout.tombstones()] {
        for entry in store.entries(&folder)? {
            let bytes = match store.read(&entry.name) {
                Err(error) if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Foreign) => {
                    continue;
                }
                bytes => bytes?,
            };
            let intent = crate::yaml::from_slice::<Intent>(&bytes).map(|intent| intent.artefacts);
            let record =
                intent.or_else(|_| crate::yaml::from_slice::<Tombstone>(&bytes).map(|stone| stone.artefacts));
            // One that is damaged is told of by the next run.
            found.extend(record.unwrap_or_default());
        }
    }
    Ok(found.into_iter().map(|intended| intended.artefact).collect())
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn names_of_one_archive_have_one_shape() {
        assert_eq!(shape("p_main_20261101T023000Z.tar.gz"), "p_main_#T#Z.tar.gz");
        assert_eq!(shape("site-1-2026.tar.zst.age"), shape("site-22-7.tar.zst.age"));
        assert_ne!(shape("site-1.tar"), shape("site.tar"));
    }
}
