//! What changed since the base, found before anything is packed.

use std::collections::HashMap;
use std::io;

use backplan_compiler::model::Compare;

use super::base::{BaseIndex, BaseScan};
use super::contents;
use super::deletions::{Deletions, OWN};
use super::listing::Listing;
use super::open::Roots;
use super::{Content, Input, PackError, PackOptions, check};
use crate::artefact::ReadError;
use crate::scan::{Change, Comparison, Counts, ScanReader, compare};
use backplan_host::control::{Control, Stopped};

/// What changed since the base: made by [`plan_changes`], looked at, and consumed by [`super::pack_changes`].
#[derive(Debug)]
pub struct Changes {
    sources: Vec<SourceChanges>,
    pub(super) deletions: Option<Deletions>,
    is_stream: bool,
}

/// What changed in a source.
#[derive(Debug)]
pub struct SourceChanges {
    /// Its name.
    pub name: String,
    /// How much changed. Without a base, all of it was added.
    pub counts: Counts,
    pub(super) found: Option<Comparison>,
}

impl Changes {
    /// Per source, sorted by name.
    pub fn sources(&self) -> &[SourceChanges] {
        &self.sources
    }

    /// Whether nothing at all changed in these sources: then there is no need to pack. (Whether the base is of the same
    /// sources, the caller knows.) Never so with a stream, or with a source that has no base.
    pub fn is_unchanged(&self) -> bool {
        !self.is_stream && self.sources.iter().all(|source| source.counts.is_unchanged())
    }

    /// Of all sources together.
    pub fn counts(&self) -> Counts {
        self.sources.iter().fold(Counts::default(), |all, one| all.plus(&one.counts))
    }

    pub(super) fn of(&self, source: &str) -> Option<&SourceChanges> {
        let found = self.sources.binary_search_by(|known| known.name.as_str().cmp(source));
        found.ok().map(|at| &self.sources[at])
    }
}

/// Finds out what changed, without packing anything: compares scans, and reads single files, and with
/// [`Compare::Checksum`] all files that look unchanged.
///
/// # Errors
/// [`PackError::BaseScan`] and [`PackError::Base`] where the base cannot be used: pack without it then. Others as
/// [`super::pack`].
pub fn plan_changes(
    inputs: &[Input],
    options: &PackOptions,
    control: &Control,
) -> Result<Changes, PackError> {
    check(inputs, options)?;
    let mut inputs: Vec<&Input> = inputs.iter().collect();
    inputs.sort_by(|a, b| a.source.cmp(&b.source));
    let list = |_| Deletions::create(&options.scratch, &options.run);
    let mut deletions = options.shape.is_difference().then_some(()).map(list).transpose()?;
    let mut sources = Vec::with_capacity(inputs.len());
    for input in &inputs {
        let mut plan = Plan { input, index: options.shape.index(), deletions: &mut deletions, control };
        let (counts, found) = plan.source()?;
        sources.push(SourceChanges { name: input.source.clone(), counts, found });
    }
    if let Some(list) = &mut deletions {
        list.finish()?;
    }
    let is_stream =
        inputs.iter().any(|input| matches!(input.content, Content::Stream { .. } | Content::Feed(_)));
    Ok(Changes { sources, deletions, is_stream })
}

/// One source's comparison.
struct Plan<'a> {
    input: &'a Input,
    index: Option<&'a dyn BaseIndex>,
    deletions: &'a mut Option<Deletions>,
    control: &'a Control,
}

impl Plan<'_> {
    fn source(&mut self) -> Result<(Counts, Option<Comparison>), PackError> {
        match &self.input.content {
            Content::Scan { scan, base: Some(base) } => {
                let found = self.scans(scan, base)?;
                Ok((found.counts, Some(found)))
            }
            Content::Scan { base: None, .. } => {
                // What the base may hold of it is not this source's any more.
                if let Some(list) = self.deletions {
                    list.push(self.input.source.as_bytes())?;
                }
                Ok((all_new(&self.listing()?), None))
            }
            Content::Feed(_) => {
                if let Some(list) = self.deletions {
                    list.push(self.input.source.as_bytes())?;
                }
                Ok((Counts { added: 1, ..Counts::default() }, None))
            }
            Content::File { .. } | Content::Stream { .. } => {
                let found = self.single()?;
                Ok((found.counts, Some(found)))
            }
        }
    }

    fn failed(&self, cause: io::Error) -> PackError {
        match cause.kind() {
            io::ErrorKind::Interrupted => PackError::Stopped(Stopped),
            _ => PackError::Input { source_name: self.input.source.clone(), cause },
        }
    }

    fn listing(&self) -> Result<Listing, PackError> {
        Listing::of(self.input, 0).map_err(|cause| self.failed(cause))
    }

    fn scans(&mut self, scan: &std::path::Path, base: &BaseScan) -> Result<Comparison, PackError> {
        let source = self.input.source.clone();
        let of_base =
            |cause| PackError::BaseScan { source_name: source.clone(), path: base.scan.clone(), cause };
        let old = ScanReader::open(&base.scan).map_err(of_base)?;
        if old.header().source != source {
            let text = format!("it is of source `{}`", old.header().source);
            return Err(of_base(io::Error::other(text)));
        }
        let new = ScanReader::open(scan).map_err(|cause| self.failed(cause))?;
        let mut trouble = None;
        let list = &mut *self.deletions;
        let mut gone = |path: &[u8]| {
            let Some(list) = list else { return Ok(()) };
            list.push(&inside(&source, path)).map_err(|error| {
                trouble = Some(error);
                io::Error::other("a path could not be listed")
            })
        };
        let found = compare(old, new, &base.doubts, &mut gone, self.control);
        if let Some(error) = trouble {
            return Err(error);
        }
        let mut found = found.map_err(|cause| self.failed(cause))?;
        if base.compare == Compare::Checksum {
            contents::compare(&self.listing()?, self.index, &mut found, self.control)?;
        }
        Ok(found)
    }

    /// A source of one file: its contents are compared, as its times say nothing (it may be a copy).
    fn single(&mut self) -> Result<Comparison, PackError> {
        let listing = self.listing()?;
        let roots = Roots::open(&listing.roots);
        let mut found = Comparison::default();
        let mut paths = HashMap::new();
        for seen in listing.entries().map_err(|cause| self.failed(cause))? {
            let seen = seen.map_err(|cause| self.failed(cause))?;
            let path = listing.path_of(&seen.path);
            let old = self.index.map_or(Ok(None), |index| index.find(&path)).map_err(PackError::Base)?;
            let change = match (&self.input.content, old) {
                (_, None) => Change::Added,
                (_, Some(old)) if !contents::is_kind(&old, &seen) => Change::Kind,
                (Content::File { .. }, Some(old)) if contents::is_single_same(&old, &seen, &roots) => {
                    Change::Unchanged
                }
                (_, Some(_)) => Change::Contents,
            };
            found.push(change, seen.bytes_to_read());
            paths.insert(path, change);
        }
        self.others(&paths, &mut found)?;
        Ok(found)
    }

    /// What else the base has of a source of one file is gone.
    fn others(&mut self, paths: &HashMap<Vec<u8>, Change>, found: &mut Comparison) -> Result<(), PackError> {
        let Some(index) = self.index else {
            return self.deletions.as_mut().map_or(Ok(()), |list| list.push(self.input.source.as_bytes()));
        };
        for entry in index.below(self.input.source.as_bytes()) {
            self.control.check()?;
            let entry = entry.map_err(|error: ReadError| PackError::Base(error))?;
            match paths.get(&entry.path) {
                Some(Change::Kind) => {}
                Some(_) => continue,
                None => found.counts.deleted += 1,
            }
            if let Some(list) = self.deletions {
                list.push(&entry.path)?;
            }
        }
        Ok(())
    }
}

fn all_new(listing: &Listing) -> Counts {
    Counts { added: listing.entries, bytes: listing.expected.1, ..Counts::default() }
}

fn inside(source: &str, path: &[u8]) -> Vec<u8> {
    debug_assert_ne!(source, OWN);
    let mut whole = source.as_bytes().to_vec();
    if !path.is_empty() {
        whole.push(b'/');
        whole.extend_from_slice(path);
    }
    whole
}
