//! Verifying repositories of pgBackRest: those that sources are kept in, and those that artefacts hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{Model, SourceId};
use backplan_compiler::value::Hidden;
use serde::Serialize;

use super::RecallError;
use super::check::{Damage, whole_damage};
use super::restore::{self, Destination};
use super::shelf::{Shelf, Shelves};
use crate::catalog::manifest::{Manifest, RepositoryRecord, SourceRecord};
use crate::catalog::runs::Choice;
use crate::control::{Control, Stopped};
use crate::postgres::inspect::{Contents, Inspection};
use crate::postgres::repository::{KEY_FILE, Repository, RepositoryError};
use crate::rehearse::scratch::Scratch;
use crate::rehearse::wish::Places;
use crate::run::secrets::Secrets;

/// Files that are shown of each damage.
const SHOWN: usize = 100;
const TOOL: &str = "pgbackrest";

/// What must be known to look into repositories.
#[derive(Debug)]
pub struct Access {
    /// Repositories that are in no folder, by source; or why one cannot be reached.
    pub remotes: BTreeMap<String, Result<Repository, String>>,
    /// What repositories are encrypted with, by source; or why it cannot be had.
    pub passphrases: BTreeMap<String, Result<Hidden, String>>,
    /// Where those that artefacts hold are unpacked.
    pub places: Places,
}

impl Access {
    /// With no plan at hand.
    pub fn plain(places: Places) -> Access {
        Access { remotes: BTreeMap::new(), passphrases: BTreeMap::new(), places }
    }

    /// As the plan says.
    pub fn of_plan(model: &Model, host: &str, places: Places) -> Access {
        let (mut access, secrets) = (Access::plain(places), Secrets::default());
        for own in &model.separates {
            let name = model.source(own.source).name.clone();
            let repository = remote(model, own.source, host, &secrets).map_err(|error| error.to_string());
            if let Some(repository) = repository.transpose() {
                access.remotes.insert(name.clone(), repository);
            }
            if let Some(secret) = &own.passphrase {
                let passphrase = secrets.fetch(secret).map_err(|error| format!("its passphrase: {error}"));
                access.passphrases.insert(name, passphrase);
            }
        }
        access
    }
}

/// The repository of a separate source whose store is no folder, as the plan says how to get there.
///
/// # Errors
/// See [`RepositoryError`].
pub fn remote(
    model: &Model,
    source: SourceId,
    host: &str,
    secrets: &Secrets,
) -> Result<Option<Repository>, RepositoryError> {
    let store = model.separate(source).and_then(|own| own.to.first());
    let Some(store) = store.filter(|store| model.is_of_tools(**store)) else { return Ok(None) };
    let below = backplan_compiler::lower::repository(&model.name, &model.source(source).name);
    Repository::of(model.store(*store), &below, host, secrets).map(Some)
}

/// What a check of one repository found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckedRepository {
    /// The source.
    pub source: String,
    /// Where it is.
    pub repository: String,
    /// The run whose artefact it was unpacked from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Backups that are whole.
    pub backups: usize,
    /// Segments of the log.
    pub segments: usize,
    /// What is wrong; empty: it is whole, where it could be checked.
    pub damage: Vec<Damage>,
    /// Why it could not be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<String>,
}

impl CheckedRepository {
    /// Whether it was looked into, and is whole.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.unchecked.is_none()
    }
}

/// Checks the repositories in which runs have backups; each wholly, however few of its backups are asked for.
///
/// # Errors
/// Only when asked to stop.
pub fn kept(
    runs: &[(&Shelf, &Manifest)],
    access: &Access,
    control: &Control,
) -> Result<Vec<CheckedRepository>, Stopped> {
    let mut found: BTreeMap<String, Kept<'_>> = BTreeMap::new();
    for (shelf, manifest) in runs {
        for own in manifest.repositories.iter().filter(|own| own.tool == TOOL) {
            let place = place(shelf, own, access);
            let location = match &place {
                Ok(repository) => repository.location(),
                Err(_) => own.settings.get("path").cloned().unwrap_or_default(),
            };
            let stanza = stanza(manifest, &own.source).to_owned();
            let kept = found.entry(location).or_insert(Kept { own, stanza, place, labels: BTreeSet::new() });
            kept.labels.insert(own.label.to_string());
        }
    }
    let each = found.into_iter().map(|(location, kept)| {
        let looked =
            kept.place.and_then(|repository| look(&repository, &kept.stanza, &kept.labels, access, control));
        Ok(checked(&kept.own.source, location, None, settled(looked)?))
    });
    each.collect()
}

struct Kept<'a> {
    own: &'a RepositoryRecord,
    stanza: String,
    place: Result<Repository, Trouble>,
    labels: BTreeSet<String>,
}

/// Checks the repositories that the artefacts of runs hold, each unpacked into a scratch folder.
///
/// # Errors
/// Only when asked to stop.
pub fn packed(
    shelves: &Shelves,
    runs: &[(&Shelf, &Manifest)],
    access: &Access,
    control: &Control,
) -> Result<Vec<CheckedRepository>, Stopped> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (_, manifest) in runs {
        let sources = manifest.sources.iter().filter(|record| {
            record.labels.get("driver").is_some_and(|driver| driver == TOOL)
                && manifest.holds(&record.name)
                && manifest.repositories.iter().all(|own| own.source != record.name)
        });
        for record in sources.filter(|record| seen.insert((manifest.run, record.name.clone()))) {
            let looked = settled(unpacked(shelves, manifest, record, access, control))?;
            let run = manifest.run.to_string();
            found.push(checked(&record.name, format!("artefact of run {run}"), Some(run), looked));
        }
    }
    Ok(found)
}

/// Why a repository was not looked into.
enum Trouble {
    /// It is not there: that is damage.
    Gone(String),
    /// It says nothing of it.
    Unchecked(String),
    Stopped(Stopped),
}

impl From<Stopped> for Trouble {
    fn from(stopped: Stopped) -> Trouble {
        Trouble::Stopped(stopped)
    }
}

fn unchecked(error: impl ToString) -> Trouble {
    Trouble::Unchecked(error.to_string())
}

/// Only who wants to stop ends the check.
fn settled(looked: Result<Contents, Trouble>) -> Result<Result<Contents, Trouble>, Stopped> {
    match looked {
        Err(Trouble::Stopped(stopped)) => Err(stopped),
        other => Ok(other),
    }
}

fn checked(
    source: &str,
    repository: String,
    run: Option<String>,
    looked: Result<Contents, Trouble>,
) -> CheckedRepository {
    let (contents, damage, unchecked) = match looked {
        Ok(mut contents) => {
            let faults = std::mem::take(&mut contents.faults);
            let damage = faults.into_iter().map(|fault| Damage {
                files: fault.files.into_iter().take(SHOWN).collect(),
                file_count: fault.file_count,
                ..whole_damage(fault.what)
            });
            (contents, damage.collect(), None)
        }
        Err(Trouble::Gone(what)) => (Contents::default(), vec![whole_damage(what)], None),
        Err(Trouble::Unchecked(why)) => (Contents::default(), Vec::new(), Some(why)),
        Err(Trouble::Stopped(stopped)) => (Contents::default(), Vec::new(), Some(stopped.to_string())),
    };
    let Contents { backups, segments, .. } = contents;
    CheckedRepository { source: source.to_owned(), repository, run, backups, segments, damage, unchecked }
}

/// Where a repository is, with all that opens it.
fn place(shelf: &Shelf, own: &RepositoryRecord, access: &Access) -> Result<Repository, Trouble> {
    let bare = match own.settings.contains_key("type") {
        true => match access.remotes.get(own.source.as_str()) {
            Some(Ok(remote)) if remote.is_at(&own.settings) => remote.clone(),
            Some(Err(why)) => return Err(Trouble::Unchecked(why.clone())),
            _ => return Err(Trouble::Unchecked(super::tool::not_named(own))),
        },
        false => {
            let root = shelf.root.as_deref().ok_or_else(|| unchecked("its store is no folder"))?;
            let below = own.settings.get("path").map_or("", String::as_str);
            let folder = std::path::absolute(root.join(below)).map_err(unchecked)?;
            if !folder.join("backup").is_dir() {
                return Err(Trouble::Gone(format!("the repository `{}` is not there", folder.display())));
            }
            Repository::folder(&folder)
        }
    };
    if !own.settings.contains_key("cipher") {
        return Ok(bare);
    }
    match access.passphrases.get(own.source.as_str()) {
        Some(Ok(passphrase)) => bare.encrypted(passphrase.clone()).map_err(unchecked),
        Some(Err(why)) => Err(Trouble::Unchecked(why.clone())),
        None => Err(unchecked("it is encrypted: name the plan, which has its `passphrase`")),
    }
}

/// The stanza that a run's backup is of.
fn stanza<'a>(manifest: &'a Manifest, source: &'a str) -> &'a str {
    let record = manifest.sources.iter().find(|record| record.name == source);
    let stanza = record.and_then(|record| record.labels.get("stanza"));
    stanza.map(String::as_str).filter(|stanza| !stanza.is_empty()).unwrap_or(source)
}

fn look(
    repository: &Repository,
    stanza: &str,
    wanted: &BTreeSet<String>,
    access: &Access,
    control: &Control,
) -> Result<Contents, Trouble> {
    let scratch = match repository.key() {
        Some(key) => {
            let scratch = Scratch::make(&access.places.state, &access.places.place).map_err(unchecked)?;
            private(&scratch.folder().join(KEY_FILE), key.expose()).map_err(unchecked)?;
            Some(scratch)
        }
        None => None,
    };
    let key_file = scratch.as_ref().map(|scratch| scratch.folder().join(KEY_FILE)).unwrap_or_default();
    let inspection = Inspection { repository, key_file: &key_file, stanza, wanted };
    inspection
        .look(control)
        .map_err(|error| control.check().err().map_or_else(|| unchecked(error), Trouble::Stopped))
}

fn private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Unpacks the repository of a run's artefact, and looks into it. What was unpacked is gone afterwards.
fn unpacked(
    shelves: &Shelves,
    manifest: &Manifest,
    record: &SourceRecord,
    access: &Access,
    control: &Control,
) -> Result<Contents, Trouble> {
    let stopped =
        |error: RecallError| control.check().err().map_or_else(|| unchecked(error), Trouble::Stopped);
    let held = shelves.held(&Choice::Id(manifest.run.to_string()), Some(&record.name)).map_err(stopped)?;
    let scratch = Scratch::make(&access.places.state, &access.places.place).map_err(unchecked)?;
    let folder: PathBuf = scratch.folder().join("repository");
    let wish = restore::Wish {
        sources: vec![record.name.to_string()],
        paths: Vec::new(),
        to: Destination::Folder(folder.clone()),
        overwrite: false,
    };
    let restore = restore::plan(&held, &wish).map_err(stopped)?;
    let needed = restore.preview().map_err(stopped)?.bytes;
    scratch.has_room(needed).map_err(unchecked)?;
    let done = restore.carry_out(control).map_err(stopped)?;
    if done.problem_count > 0 {
        let first = done.problems.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
        return Err(Trouble::Gone(format!("{} of its files did not come back: {first}", done.problem_count)));
    }
    let wanted = record.labels.get("label").cloned().into_iter().collect();
    let contents =
        look(&Repository::folder(&folder), stanza(manifest, &record.name), &wanted, access, control)?;
    // What stays is removed by the next run or check: it is noted.
    let _ = scratch.remove();
    Ok(contents)
}
