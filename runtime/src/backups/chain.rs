//! What a run's archive rests on, opened: an artefact of its own, and those of earlier runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::copies::Copies;
use super::shelf::Shelf;
use super::{BackupsError, BaseTrouble};
use crate::artefact::{Layer, LayerError, View};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::{ArchiveRecord, Manifest};

/// The artefacts that an archive of a run rests on, open, as one tree.
pub struct Chain<'a> {
    /// The tree.
    pub view: View,
    shelf: &'a Shelf,
    manifest: &'a Manifest,
    /// The run and the artefact's file name of each layer.
    layers: Vec<(RunId, String)>,
    sources: BTreeSet<String>,
    /// The layers that other stores have as well.
    copies: Vec<Arc<Copies>>,
}

/// What of an archive is wanted: with fewer sources, fewer artefacts have to be there.
pub type Wanted<'w> = &'w dyn Fn(&str) -> bool;

/// An artefact that is one layer: whose record names it, and for which sources.
struct Sheet<'a> {
    run: RunId,
    record: &'a ArchiveRecord,
    sources: BTreeSet<String>,
}

/// A run that others rest on and that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenBase {
    /// The run.
    pub run: RunId,
    /// Its artefact, as far as it is known.
    pub artefact: Option<String>,
    /// What is wrong with it.
    pub what: String,
}

/// Another store of the plan.
pub struct Other<'a> {
    /// The store.
    pub shelf: &'a Shelf,
    /// Its runs that this machine has not made as they are there: what others lack is not taken from these.
    pub strange: BTreeSet<RunId>,
}

impl Shelf {
    /// Opens what an archive of a run rests on, as far as it is `wanted`; its own artefact last.
    ///
    /// # Errors
    /// [`BackupsError::Base`] where an earlier run's artefact is the trouble; else as [`Shelf::artefact`].
    pub fn view<'a>(
        &'a self,
        manifest: &'a Manifest,
        archive: &'a ArchiveRecord,
        wanted: Wanted<'_>,
    ) -> Result<Chain<'a>, BackupsError> {
        self.view_beside(&[], manifest, archive, wanted)
    }

    /// As [`Shelf::view`]; what is not here, or cannot be read, is read from those of the other stores that have the same.
    ///
    /// # Errors
    /// As [`Shelf::view`], where it does not open here.
    pub fn view_beside<'a>(
        &'a self,
        others: &[Other<'a>],
        manifest: &'a Manifest,
        archive: &'a ArchiveRecord,
        wanted: Wanted<'_>,
    ) -> Result<Chain<'a>, BackupsError> {
        let sheets = self.sheets(others, manifest, archive, wanted);
        let sheets = sheets.map_err(|base| self.base_error(manifest, base))?;
        let mut chain = Chain {
            view: View::new(Vec::new()),
            shelf: self,
            manifest,
            layers: Vec::new(),
            sources: BTreeSet::new(),
            copies: Vec::new(),
        };
        let mut layers = Vec::new();
        for Sheet { run, record, sources } in sheets {
            let copies = self.copies(run, record, others);
            let opened = match &copies {
                Some(copies) => copies.open(|object| self.artefact_in(object, record)),
                None => self.artefact(record),
            };
            chain.copies.extend(copies);
            let artefact = match opened {
                // Not the base is the trouble, but who wants to read it.
                Err(cause @ BackupsError::Locked { .. }) => return Err(cause),
                Err(cause) if run != manifest.run => {
                    let artefact = Some(record.artefact.to_string());
                    let base = BrokenBase { run, artefact, what: cause.of_artefact() };
                    return Err(self.base_error(manifest, base));
                }
                artefact => Arc::new(artefact?),
            };
            chain.sources.extend(sources.iter().cloned());
            layers.push(Layer { artefact, sources: Some(sources) });
            chain.layers.push((run, record.artefact.to_string()));
        }
        chain.view = View::new(layers);
        Ok(chain)
    }

    /// An artefact of a run, in this store and those of the others that have it; `None`: none of them has.
    fn copies(&self, run: RunId, record: &ArchiveRecord, others: &[Other<'_>]) -> Option<Arc<Copies>> {
        let is_same = |other: &&ArchiveRecord| {
            (&other.artefact, &other.root, other.size) == (&record.artefact, &record.root, record.size)
        };
        let has = |shelf: &&Shelf| {
            shelf.catalog.get(&run).is_some_and(|manifest| manifest.archives.iter().any(|own| is_same(&own)))
        };
        let others: Vec<&Shelf> = others.iter().map(|other| other.shelf).filter(has).collect();
        if others.is_empty() {
            return None;
        }
        let named = |shelf: &Shelf| (shelf.store.label().to_owned(), shelf.object(record));
        let all = Some(self).filter(has).into_iter().chain(others).map(named);
        Some(Arc::new(Copies::new(record.artefact.as_str(), all.collect())))
    }

    /// Looks whether what an archive of a run rests on, as far as it is `wanted`, is there and is what the manifests say, as far
    /// as that shows without a key.
    ///
    /// # Errors
    /// As [`Shelf::view`].
    pub fn look_at_all(
        &self,
        manifest: &Manifest,
        archive: &ArchiveRecord,
        wanted: Wanted<'_>,
    ) -> Result<(), BackupsError> {
        let sheets = self.sheets(&[], manifest, archive, wanted);
        let sheets = sheets.map_err(|base| self.base_error(manifest, base))?;
        sheets.iter().try_for_each(|sheet| self.look(sheet.record))
    }

    /// The layers of an archive, oldest first; one whose manifest is not here as another store has it.
    fn sheets<'a>(
        &'a self,
        others: &[Other<'a>],
        manifest: &'a Manifest,
        archive: &'a ArchiveRecord,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Sheet<'a>>, BrokenBase> {
        let mut sheets: Vec<Sheet<'a>> = Vec::new();
        let wanted = archive.contents.iter().filter(|content| wanted(&content.source));
        for content in wanted {
            for run in &content.rests_on {
                let base =
                    |shelf: &'a Shelf| shelf.base(run, &archive.name, &content.source, &content.rests_on);
                let mut known = others.iter().filter(|other| !other.strange.contains(run));
                let record = base(self)
                    .or_else(|broken| known.find_map(|other| base(other.shelf).ok()).ok_or(broken))?;
                add(&mut sheets, *run, record, &content.source);
            }
            add(&mut sheets, manifest.run, archive, &content.source);
        }
        sheets.sort_by_key(|sheet| sheet.run);
        Ok(sheets)
    }

    /// What a run holds that an archive of this name rests on, which has the source at the end of such a `chain`.
    pub(super) fn base(
        &self,
        run: &RunId,
        archive: &str,
        source: &str,
        chain: &[RunId],
    ) -> Result<&ArchiveRecord, BrokenBase> {
        let broken = |what: String| BrokenBase { run: *run, artefact: None, what };
        let manifest = self
            .catalog
            .get(run)
            .ok_or_else(|| broken("its manifest is missing, or cannot be used".to_owned()))?;
        manifest
            .base_of(archive, source, chain)
            .ok_or_else(|| broken(format!("it holds no archive `{archive}` with source `{source}`")))
    }

    /// Why an archive of this name could not rest on what a run holds of a source, at the end of such a `chain`; `None`: it can.
    pub fn lacks_base(&self, run: &RunId, archive: &str, source: &str, chain: &[RunId]) -> Option<String> {
        self.base(run, archive, source, chain)
            .err()
            .map(|base| format!("run {} is none to rest on: {}", base.run, base.what))
    }

    /// The earlier runs that an archive rests on and that are not as they should be.
    pub fn broken_bases(&self, manifest: &Manifest, archive: &ArchiveRecord) -> Vec<BrokenBase> {
        let mut broken: Vec<BrokenBase> = Vec::new();
        let mut seen = BTreeSet::new();
        for content in &archive.contents {
            for run in content.rests_on.iter().filter(|run| **run != manifest.run) {
                match self.base(run, &archive.name, &content.source, &content.rests_on) {
                    Ok(record) if !seen.insert(&record.artefact) => {}
                    Ok(record) => {
                        let artefact = Some(record.artefact.to_string());
                        let base = |cause: BackupsError| BrokenBase {
                            run: *run,
                            artefact,
                            what: cause.of_artefact(),
                        };
                        broken.extend(self.look(record).err().map(base));
                    }
                    Err(base) => broken.push(base),
                }
            }
        }
        broken.dedup();
        broken
    }

    /// The error that a broken base is to somebody who wants `manifest` back.
    fn base_error(&self, manifest: &Manifest, base: BrokenBase) -> BackupsError {
        let contents = || manifest.archives.iter().flat_map(|archive| &archive.contents);
        let quoted = |rests: bool| {
            let those = contents().filter(|content| content.rests_on.contains(&base.run) == rests);
            those.map(|content| format!("`{}`", content.source)).collect()
        };
        let (lost, kept) = (quoted(true), quoted(false));
        let is_free = |other: &&Manifest| other.run != base.run && !other.rests_on().contains(&base.run);
        BackupsError::Base(Box::new(BaseTrouble {
            store: self.store.label().to_owned(),
            run: manifest.run.to_string(),
            base: base.run.to_string(),
            artefact: base.artefact,
            what: base.what,
            lost,
            kept,
            other: self.catalog.runs().rev().find(is_free).map(|other| other.run.to_string()),
        }))
    }
}

/// An artefact that several runs name (nothing had changed) is one layer.
fn add<'a>(sheets: &mut Vec<Sheet<'a>>, run: RunId, record: &'a ArchiveRecord, source: &str) {
    let same = sheets.iter().position(|sheet| sheet.record.artefact == record.artefact);
    let at = same.unwrap_or_else(|| {
        sheets.push(Sheet { run, record, sources: BTreeSet::new() });
        sheets.len() - 1
    });
    // The oldest run that names it stands for it: that is where it belongs in the order.
    if run < sheets[at].run {
        (sheets[at].run, sheets[at].record) = (run, record);
    }
    sheets[at].sources.insert(source.to_owned());
}

impl Chain<'_> {
    /// The artefacts' file names, oldest first.
    pub fn artefacts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.layers.iter().map(|(_, artefact)| artefact.as_str())
    }

    /// What was wrong with copies of its artefacts while it was read, where another store had them: a sentence each.
    pub fn told(&self) -> Vec<String> {
        self.copies.iter().flat_map(|copies| copies.told()).collect()
    }

    /// The sources that are in it and were wanted.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(String::as_str)
    }

    /// The file name of a layer's artefact.
    pub fn artefact(&self, layer: usize) -> &str {
        self.layers.get(layer).map_or("", |(_, artefact)| artefact)
    }

    /// An error of the tree, with the names of run and artefact.
    pub fn error(&self, error: LayerError) -> BackupsError {
        match self.layers.get(error.layer) {
            Some((run, artefact)) if *run != self.manifest.run => {
                let (artefact, what) = (Some(artefact.clone()), error.cause.to_string());
                self.shelf.base_error(self.manifest, BrokenBase { run: *run, artefact, what })
            }
            _ => BackupsError::Artefact {
                store: self.shelf.store.label().to_owned(),
                artefact: self.artefact(error.layer).to_owned(),
                cause: error.cause,
            },
        }
    }
}
