//! Verifying artefacts where they lie.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::BackupsError;
use super::chain::BrokenBase;
use super::sealed::{self, Tap};
use super::shelf::Shelf;
use crate::artefact::{self, Depth, ReadAt, ReadError};
use crate::catalog::details::DetailsError;
use crate::catalog::manifest::{ArchiveRecord, Manifest};
use crate::control::{Control, Stopped};

/// What a check of one run in one store found.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// The store.
    pub store: String,
    /// The run.
    pub run: String,
    /// Each artefact.
    pub artefacts: Vec<CheckedArtefact>,
}

impl Checked {
    /// Whether everything is whole.
    pub fn is_whole(&self) -> bool {
        self.artefacts.iter().all(|artefact| artefact.damage.is_empty())
    }
}

/// What a check of one artefact found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckedArtefact {
    /// Its file name.
    pub artefact: String,
    /// Its archive.
    pub archive: String,
    /// Members that were read.
    pub members: u64,
    /// Entries that were read, or are known.
    pub entries: u64,
    /// What is wrong; empty: it is whole.
    pub damage: Vec<Damage>,
    /// Why it was not opened, where it is encrypted: its bytes were compared with their SHA-256, and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unopened: Option<String>,
    /// Only its size and its ends were looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
}

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Damage {
    /// In words.
    pub what: String,
    /// The earlier run that this one rests on, where that is what is missing or cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// It keeps `plan restore` from putting back this run, and no later one: what is wrong is beside the artefact.
    #[serde(skip)]
    pub is_beside: bool,
    /// The damaged member, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<u64>,
    /// Offset of the damaged part, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Bytes of the damaged part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Files in it, the first hundred.
    pub files: Vec<String>,
    /// How many files are in it.
    pub file_count: u64,
}

/// Checks a run in a store: its own artefacts as deep as is said (`None`: whether they are there, with the size and the ends that they were
/// written with), and that those of earlier runs which it rests on are there and are the ones it rests on.
///
/// # Errors
/// Only when asked to stop: whatever is wrong with the run is in the answer.
pub fn check(
    shelf: &Shelf,
    manifest: &Manifest,
    depth: Option<Depth>,
    control: &Control,
) -> Result<Checked, Stopped> {
    let artefacts = manifest.archives.iter().map(|archive| one(shelf, manifest, archive, depth, control));
    let mut artefacts = artefacts.collect::<Result<Vec<_>, Stopped>>()?;
    if let Err(DetailsError::Damaged(cause)) = shelf.details(manifest)
        && let Some(first) = artefacts.first_mut()
    {
        let what = format!(
            "the details in the run's manifest are damaged ({cause}): `plan restore` cannot put it back, `plan cat` and tar can"
        );
        first.damage.push(Damage { is_beside: true, ..whole_damage(what) });
    }
    let (store, run) = (shelf.store.label().to_owned(), manifest.run.to_string());
    Ok(Checked { store, run, artefacts })
}

/// Says of artefacts that were found whole that they rest on one that is damaged in the same store, where that was looked at too.
pub fn tell_of_damaged_bases(checked: &mut [Checked], runs: &[(&Shelf, &Manifest)]) {
    let of = |one: &Checked| {
        let is_damaged = |found: &&CheckedArtefact| found.damage.iter().any(|damage| !damage.is_beside);
        let damaged = one.artefacts.iter().filter(is_damaged);
        damaged.map(|found| (one.store.clone(), found.artefact.clone())).collect::<Vec<_>>()
    };
    let damaged: BTreeSet<(String, String)> = checked.iter().flat_map(of).collect();
    for (one, (shelf, manifest)) in checked.iter_mut().zip(runs) {
        let is_damaged =
            |base: &ArchiveRecord| damaged.contains(&(one.store.clone(), base.artefact.to_string()));
        for (found, archive) in one.artefacts.iter_mut().zip(&manifest.archives) {
            let bases = archive.contents.iter().flat_map(|content| {
                let earlier = content.rests_on.iter().filter(|run| **run != manifest.run);
                earlier.map(move |run| (*run, content))
            });
            for (run, content) in bases {
                let base = run.to_string();
                let is_told = found.damage.iter().any(|damage| damage.base.as_ref() == Some(&base));
                if !is_told
                    && shelf
                        .base(&run, &archive.name, &content.source, &content.rests_on)
                        .is_ok_and(is_damaged)
                {
                    let what = format!("it rests on run {base}, which is damaged in this store");
                    found.damage.push(Damage { base: Some(base), ..whole_damage(what) });
                }
            }
        }
    }
}

fn one(
    shelf: &Shelf,
    manifest: &Manifest,
    archive: &ArchiveRecord,
    depth: Option<Depth>,
    control: &Control,
) -> Result<CheckedArtefact, Stopped> {
    let mut checked = CheckedArtefact {
        artefact: archive.artefact.to_string(),
        archive: archive.name.to_string(),
        members: 0,
        entries: 0,
        damage: shelf.broken_bases(manifest, archive).into_iter().map(base_damage).collect(),
        unopened: None,
        unread: depth.is_none(),
    };
    let Some(depth) = depth else {
        control.check()?;
        checked.damage.extend(shelf.look(archive).err().map(|error| whole_damage(error.to_string())));
        return Ok(checked);
    };
    let object = shelf.object(archive);
    // The sum is that of the bytes in the store.
    let tap = (!archive.recipients.is_empty()).then(|| Tap::new(Arc::clone(&object)));
    let object = tap.as_ref().map_or(object, |tap| Arc::clone(tap) as Arc<dyn ReadAt>);
    let artefact = match shelf.artefact_in(object, archive) {
        Ok(artefact) => artefact,
        Err(error @ BackupsError::Locked { .. }) => {
            checked.unopened = Some(error.to_string());
            let damage = sealed::check(shelf, archive, control)?;
            checked.damage.extend(damage.map(whole_damage));
            return Ok(checked);
        }
        Err(error) => {
            checked.damage.push(whole_damage(error.to_string()));
            return Ok(checked);
        }
    };
    match artefact::verify(&artefact, depth, control) {
        Ok(report) if report.damage.is_empty() => {
            (checked.members, checked.entries) = (report.members, report.entries);
            let sum = tap.as_ref().map_or(Ok(report.sha256), |tap| tap.sum(archive.size, control));
            checked.damage.extend(wrong_sum(archive, sum)?);
            // Bytes that are as they were written can still be no list.
            checked.damage.extend(artefact.deleted().err().map(|error| whole_damage(error.to_string())));
        }
        Ok(report) => {
            (checked.members, checked.entries) = (report.members, report.entries);
            checked.damage.extend(report.damage.into_iter().map(part_damage));
        }
        Err(ReadError::Stopped(stopped)) => return Err(stopped),
        Err(error) => checked.damage.push(whole_damage(error.to_string())),
    }
    Ok(checked)
}

/// What is wrong where a sum could not be taken, or is another than was recorded.
fn wrong_sum(archive: &ArchiveRecord, sum: Result<[u8; 32], ReadError>) -> Result<Option<Damage>, Stopped> {
    match sum {
        Ok(sum) => Ok(other_sum(archive, sum).map(whole_damage)),
        Err(ReadError::Stopped(stopped)) => Err(stopped),
        Err(error) => Ok(Some(whole_damage(error.to_string()))),
    }
}

/// What is wrong where an artefact's SHA-256 is not the recorded one.
pub(super) fn other_sum(archive: &ArchiveRecord, sum: [u8; 32]) -> Option<String> {
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    let is_other = archive.sha256.as_ref().is_some_and(|recorded| *recorded != sum);
    is_other.then(|| "its SHA-256 is not the recorded one".to_owned())
}

fn base_damage(base: BrokenBase) -> Damage {
    let (run, what) = (base.run.to_string(), &base.what);
    let what = match &base.artefact {
        Some(artefact) => {
            format!("it rests on run {run}, whose artefact `{artefact}` cannot be read: {what}")
        }
        None => format!("it rests on run {run}, which cannot be read: {what}"),
    };
    Damage { base: Some(run), ..whole_damage(what) }
}

/// Damage of no part in particular.
pub(crate) fn whole_damage(what: String) -> Damage {
    Damage {
        what,
        base: None,
        is_beside: false,
        member: None,
        offset: None,
        length: None,
        files: Vec::new(),
        file_count: 0,
    }
}

fn part_damage(damage: artefact::Damage) -> Damage {
    Damage {
        what: damage.what,
        base: None,
        is_beside: false,
        member: damage.member,
        offset: Some(damage.offset),
        length: Some(damage.len),
        files: damage.paths.iter().map(|path| crate::text::printable(path)).collect(),
        file_count: damage.entries,
    }
}
