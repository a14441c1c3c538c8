//! Verifying the repositories of tools: those that sources are kept in, and those of pgBackRest that artefacts hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use backplan_compiler::model::{Model, SourceId};
use backplan_compiler::value::Hidden;
use serde::Serialize;

use super::heirs;
use super::log::repository::{self, Based, Files, RepositoryLog};
use super::log::{self, LogStanding};
use crate::backups::BackupsError;
use crate::backups::check::{Damage, whole_damage};
use crate::backups::restore;
use crate::backups::shelf::{Shelf, Shelves};
use crate::catalog::manifest::{Manifest, RepositoryRecord, SourceRecord};
use crate::catalog::runs::Choice;
use crate::control::{Control, Stopped};
use crate::postgres::inspect::{Contents, Fault, Inspection};
use crate::postgres::probackup::inspect::Inspection as Catalogue;
use crate::postgres::repository::{KEY_FILE, Repository, RepositoryError};
use crate::postgres::wal::expiry::Base;
use crate::programs::secrets::Secrets;
use crate::scratch::{Places, Scratch};

/// Files that are shown of each damage.
const SHOWN: usize = 100;
const TOOL: &str = "pgbackrest";
/// The tool whose repository is a catalogue.
const OF_CATALOGUES: &str = "pg_probackup";

/// What must be known to look into repositories.
#[derive(Debug)]
pub struct Access {
    /// Repositories that are in no folder, by source; or why one cannot be reached.
    pub remotes: BTreeMap<String, Vec<Result<Repository, String>>>,
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

    /// As the plan says; of a source that has another name in these stores, as it says of that by now.
    pub fn of_plan(model: &Model, shelves: &Shelves, host: &str, places: Places) -> Access {
        let (mut access, secrets) = (Access::plain(places), Secrets::default());
        let own = model.separates.iter().map(|own| (model.source(own.source).name.clone(), own.source));
        let gone = heirs::gone(model, shelves).into_iter();
        let gone = gone.filter_map(|name| Some((name.to_owned(), heirs::heir(model, shelves, name)?)));
        for (name, id) in own.chain(gone) {
            let remotes = remotes(model, (id, &name), host, &secrets);
            let remotes = remotes.into_iter().map(|remote| remote.map_err(|error| error.to_string()));
            access.remotes.insert(name.clone(), remotes.collect());
            if let Some(secret) = model.separate(id).and_then(|own| own.passphrase.as_ref()) {
                let passphrase = secrets.fetch(secret).map_err(|error| format!("its passphrase: {error}"));
                access.passphrases.insert(name, passphrase);
            }
        }
        access
    }
}

/// The repositories of a separate source, under the name that it had then, that are in no folder, as the plan says how to get there;
/// or why one cannot be reached.
pub fn remotes(
    model: &Model,
    (source, name): (SourceId, &str),
    host: &str,
    secrets: &Secrets,
) -> Vec<Result<Repository, RepositoryError>> {
    let below = backplan_compiler::lower::repository(&model.name, name);
    let stores = model.separate(source).into_iter().flat_map(|own| &own.to).map(|id| model.store(*id));
    let far = stores.filter(|store| store.folder().is_none());
    far.map(|store| Repository::of(store, &below, host, secrets)).collect()
}

/// Those of them that can be reached.
///
/// # Errors
/// Where no repository of the source is left, in a folder or not: why the first cannot be.
pub fn reachable(
    model: &Model,
    (source, name): (SourceId, &str),
    host: &str,
    secrets: &Secrets,
) -> Result<Vec<Repository>, RepositoryError> {
    let (mut found, mut failed) = (Vec::new(), None);
    for remote in remotes(model, (source, name), host, secrets) {
        match remote {
            Ok(remote) => found.push(remote),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let mut stores = model.separate(source).into_iter().flat_map(|own| &own.to);
    let has_folder = stores.any(|id| model.store(*id).folder().is_some());
    match failed {
        Some(error) if found.is_empty() && !has_folder => Err(error),
        _ => Ok(found),
    }
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
    let each = grouped(runs, access).into_iter().map(|(location, kept)| {
        let looked = kept.opened.and_then(|repository| {
            let log = Behind { source: &kept.own.source, bases: &kept.bases };
            match is_catalogue(kept.own) {
                true => look_into_catalogue(&repository, &kept.stanza, &kept.labels, &log, control),
                false => look(&repository, &kept.stanza, &kept.labels, &log, access, control),
            }
        });
        Ok(checked(&kept.own.source, location, None, settled(looked)?))
    });
    each.collect()
}

/// Whether a repository is a catalogue of pg_probackup.
pub(super) fn is_catalogue(own: &RepositoryRecord) -> bool {
    own.tool == OF_CATALOGUES
}

/// The folder that a repository in a folder is known by.
pub(crate) fn heart(own: &RepositoryRecord) -> &'static str {
    if is_catalogue(own) { "backups" } else { "backup" }
}

/// A repository in which runs have backups.
struct Kept<'a> {
    own: &'a RepositoryRecord,
    stanza: String,
    /// Where it is, without what opens it.
    place: Result<Repository, RepositoryTrouble>,
    opened: Result<Repository, RepositoryTrouble>,
    labels: BTreeSet<String>,
    bases: Vec<(Base, Option<String>)>,
}

/// The repositories in which runs have backups, by where they are.
fn grouped<'a>(runs: &[(&'a Shelf, &'a Manifest)], access: &Access) -> BTreeMap<String, Kept<'a>> {
    let mut found: BTreeMap<String, Kept<'_>> = BTreeMap::new();
    for (shelf, manifest) in runs {
        for own in manifest.repositories.iter().filter(|own| own.tool == TOOL || is_catalogue(own)) {
            let place = place(shelf, own, access);
            let location = match &place {
                Ok(repository) => repository.location(),
                Err(_) => own.settings.get("path").cloned().unwrap_or_default(),
            };
            let kept = found.entry(location).or_insert_with(|| Kept {
                own,
                stanza: stanza(manifest, &own.source).to_owned(),
                opened: place.clone().and_then(|place| opened(place, own, access)),
                place,
                labels: BTreeSet::new(),
                bases: Vec::new(),
            });
            kept.labels.insert(own.label.to_string());
            kept.bases.extend(based(manifest, &own.source));
        }
    }
    found
}

/// The backup that a run has of a source, with the folder of its log.
pub(super) fn based(manifest: &Manifest, source: &str) -> Option<(Base, Option<String>)> {
    let labels = manifest.cluster(source)?.labels();
    Some((Base::of(manifest, source)?, labels.archive_id.clone()))
}

/// How the log of a separate source stands, in each repository that runs of these stores have backups in. `None`: none is kept there,
/// nor has to be.
pub fn standing(
    shelves: &Shelves,
    (source, wants_log): (&str, bool),
    access: &Access,
    control: &Control,
) -> Option<LogStanding> {
    let all = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs().map(move |run| (shelf, run)));
    let runs: Vec<(&Shelf, &Manifest)> =
        all.filter(|(_, run)| run.repositories.iter().any(|own| own.source == source)).collect();
    let (mut holders, mut unread, mut bases) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (_, run) in &runs {
        // In several stores a run has a backup each: the earliest says from when on.
        let Some((base, _)) = based(run, source) else { continue };
        let held = bases.entry(run.run).or_insert_with(|| base.clone());
        if base.ended < held.ended {
            *held = base;
        }
    }
    for (location, kept) in grouped(&runs, access).into_iter().filter(|(_, kept)| kept.own.source == source) {
        match kept.log(&location, access, control) {
            Ok((log, scratch)) => holders.push((log, scratch)),
            Err(error) => unread.push(error),
        }
    }
    let (logs, _scratches): (Vec<_>, Vec<_>) = holders.into_iter().unzip();
    let is_told = wants_log || !unread.is_empty();
    Some(LogStanding::of(source, logs, unread, &bases)).filter(|standing| is_told || standing.segments > 0)
}

impl Kept<'_> {
    /// Its log. What is given beside it must live as long.
    fn log(
        &self,
        location: &str,
        access: &Access,
        control: &Control,
    ) -> Result<(RepositoryLog<'static>, Option<Scratch>), String> {
        let words = |trouble: &RepositoryTrouble| match trouble {
            RepositoryTrouble::Gone(what) | RepositoryTrouble::Unchecked(what) => what.clone(),
            RepositoryTrouble::Stopped(stopped) => stopped.to_string(),
        };
        let place = self.place.as_ref().map_err(words)?;
        let opened = self.opened.clone().map_err(|trouble| words(&trouble));
        let (scratch, key_file) = match &opened {
            Ok(opened) => key(opened, access).map_err(|trouble| words(&trouble))?,
            Err(_) => (None, PathBuf::new()),
        };
        let files = match place.settings().get("path").filter(|_| is_catalogue(self.own)) {
            Some(folder) => repository::catalogue(Path::new(folder)),
            None => repository::files(place, opened, key_file, &self.stanza, control),
        };
        let bases: Vec<Based<'_>> = self.bases.iter().map(|(base, id)| (base, id.as_deref())).collect();
        let log = RepositoryLog::open(location, files, &bases).map_err(|error| error.to_string())?;
        Ok((log, scratch))
    }
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
            record.labels().driver.as_deref() == Some(TOOL)
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
#[derive(Clone)]
enum RepositoryTrouble {
    /// It is not there: that is damage.
    Gone(String),
    /// It says nothing of it.
    Unchecked(String),
    Stopped(Stopped),
}

impl From<Stopped> for RepositoryTrouble {
    fn from(stopped: Stopped) -> RepositoryTrouble {
        RepositoryTrouble::Stopped(stopped)
    }
}

fn unchecked(error: impl ToString) -> RepositoryTrouble {
    RepositoryTrouble::Unchecked(error.to_string())
}

/// Only who wants to stop ends the check.
fn settled(
    looked: Result<Contents, RepositoryTrouble>,
) -> Result<Result<Contents, RepositoryTrouble>, Stopped> {
    match looked {
        Err(RepositoryTrouble::Stopped(stopped)) => Err(stopped),
        other => Ok(other),
    }
}

fn checked(
    source: &str,
    repository: String,
    run: Option<String>,
    looked: Result<Contents, RepositoryTrouble>,
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
        Err(RepositoryTrouble::Gone(what)) => (Contents::default(), vec![whole_damage(what)], None),
        Err(RepositoryTrouble::Unchecked(why)) => (Contents::default(), Vec::new(), Some(why)),
        Err(RepositoryTrouble::Stopped(stopped)) => {
            (Contents::default(), Vec::new(), Some(stopped.to_string()))
        }
    };
    let Contents { backups, segments, .. } = contents;
    CheckedRepository { source: source.to_owned(), repository, run, backups, segments, damage, unchecked }
}

/// Where a repository is.
fn place(shelf: &Shelf, own: &RepositoryRecord, access: &Access) -> Result<Repository, RepositoryTrouble> {
    let bare = match own.settings.contains_key("type") {
        true => {
            let remotes = access.remotes.get(own.source.as_str()).into_iter().flatten();
            let at = remotes.clone().flatten().find(|remote| remote.is_at(&own.settings));
            match (at, remotes.into_iter().find_map(|remote| remote.as_ref().err())) {
                (Some(remote), _) => remote.clone(),
                (None, Some(why)) => return Err(RepositoryTrouble::Unchecked(why.clone())),
                (None, None) => return Err(RepositoryTrouble::Unchecked(super::tool::not_named(own))),
            }
        }
        false => {
            let root = shelf.root.as_deref().ok_or_else(|| unchecked("its store is no folder"))?;
            let below = own.settings.get("path").map_or("", String::as_str);
            let folder = std::path::absolute(root.join(below)).map_err(unchecked)?;
            if !folder.join(heart(own)).is_dir() {
                return Err(RepositoryTrouble::Gone(format!(
                    "the repository `{}` is not there",
                    folder.display()
                )));
            }
            Repository::folder(&folder)
        }
    };
    Ok(bare)
}

/// The same, with its passphrase where it is encrypted.
fn opened(
    bare: Repository,
    own: &RepositoryRecord,
    access: &Access,
) -> Result<Repository, RepositoryTrouble> {
    if !own.settings.contains_key("cipher") {
        return Ok(bare);
    }
    match access.passphrases.get(own.source.as_str()) {
        Some(Ok(passphrase)) => bare.encrypted(passphrase.clone()).map_err(unchecked),
        Some(Err(why)) => Err(RepositoryTrouble::Unchecked(why.clone())),
        None => Err(unchecked(
            "it is encrypted: name a plan that has its `passphrase` in the `separate` of this source (the one of then, where it has another name \
             by now)",
        )),
    }
}

/// The stanza that a run's backup is of.
fn stanza<'a>(manifest: &'a Manifest, source: &'a str) -> &'a str {
    let record = manifest.source(source);
    let stanza = record.and_then(|record| record.labels().stanza.as_deref());
    stanza.filter(|stanza| !stanza.is_empty()).unwrap_or(source)
}

/// The backups whose log is looked at.
struct Behind<'b> {
    source: &'b str,
    bases: &'b [(Base, Option<String>)],
}

impl Behind<'_> {
    /// The log that a repository has.
    fn log<'f>(&self, files: Box<dyn Files + 'f>) -> Result<log::Log<RepositoryLog<'f>>, RepositoryTrouble> {
        let bases: Vec<Based<'_>> = self.bases.iter().map(|(base, id)| (base, id.as_deref())).collect();
        let log = RepositoryLog::open(self.source, files, &bases).and_then(|log| log::Log::read(vec![log]));
        log.map_err(unchecked)
    }

    /// What of it the backups need and it lacks.
    fn faults(&self, log: &log::Log<RepositoryLog<'_>>) -> Vec<Fault> {
        let missing = log.missing(self.bases.iter().map(|(base, _)| base));
        missing.into_iter().map(|what| Fault { what, ..Fault::default() }).collect()
    }
}

fn look(
    repository: &Repository,
    stanza: &str,
    wanted: &BTreeSet<String>,
    behind: &Behind<'_>,
    access: &Access,
    control: &Control,
) -> Result<Contents, RepositoryTrouble> {
    let (_scratch, key_file) = key(repository, access)?;
    let inspection = Inspection { repository, key_file: &key_file, stanza, wanted };
    let mut contents = inspection.look(control).map_err(|error| not_looked(error, control))?;
    let files = repository::files(repository, Ok(repository.clone()), key_file, stanza, control);
    contents.faults.extend(behind.faults(&behind.log(files)?));
    Ok(contents)
}

/// Why a tool has not looked.
fn not_looked(error: impl ToString, control: &Control) -> RepositoryTrouble {
    control.check().err().map_or_else(|| unchecked(error), RepositoryTrouble::Stopped)
}

/// The same of a catalogue: every backup by its tool, and the log that the server archived beside them, where it archives there.
fn look_into_catalogue(
    place: &Repository,
    instance: &str,
    wanted: &BTreeSet<String>,
    behind: &Behind<'_>,
    control: &Control,
) -> Result<Contents, RepositoryTrouble> {
    let folder = Path::new(place.settings().get("path").map_or("", String::as_str));
    let looked = Catalogue { folder, instance }.look(wanted, control);
    let mut contents = looked.map_err(|error| not_looked(error, control))?;
    let log = behind.log(repository::catalogue(folder))?;
    contents.segments = log.size().0;
    if contents.segments > 0 {
        contents.faults.extend(behind.faults(&log));
    }
    Ok(contents)
}

/// The file of a repository's key, in a scratch folder that goes with what is given first.
fn key(repository: &Repository, access: &Access) -> Result<(Option<Scratch>, PathBuf), RepositoryTrouble> {
    let Some(key) = repository.key() else { return Ok((None, PathBuf::new())) };
    let scratch = Scratch::make(&access.places.state, &access.places.place).map_err(unchecked)?;
    let file = scratch.folder().join(KEY_FILE);
    private(&file, key.expose()).map_err(unchecked)?;
    Ok((Some(scratch), file))
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
) -> Result<Contents, RepositoryTrouble> {
    let stopped = |error: BackupsError| {
        control.check().err().map_or_else(|| unchecked(error), RepositoryTrouble::Stopped)
    };
    let held = shelves.held(&Choice::Id(manifest.run.to_string()), Some(&record.name)).map_err(stopped)?;
    let scratch = Scratch::make(&access.places.state, &access.places.place).map_err(unchecked)?;
    let folder: PathBuf = scratch.folder().join("repository");
    let wish = restore::RestoreWish::of(&record.name, &folder);
    let restore = restore::plan(&held, &wish).map_err(stopped)?;
    let needed = restore.preview().map_err(stopped)?.bytes;
    scratch.has_room(needed).map_err(unchecked)?;
    let done = restore.carry_out(control).map_err(stopped)?;
    if done.problem_count > 0 {
        let first = done.problems.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
        return Err(RepositoryTrouble::Gone(format!(
            "{} of its files did not come back: {first}",
            done.problem_count
        )));
    }
    let wanted = record.labels().label.clone().into_iter().collect();
    let bases: Vec<(Base, Option<String>)> = based(manifest, &record.name).into_iter().collect();
    let behind = Behind { source: &record.name, bases: &bases };
    let stanza = stanza(manifest, &record.name);
    let contents = look(&Repository::folder(&folder), stanza, &wanted, &behind, access, control)?;
    // What stays is removed by the next run or check: it is noted.
    let _ = scratch.remove();
    Ok(contents)
}
