//! A restore as a value: made from a run and a wish, shown, carried out.

use backplan_compiler::count::plural;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use backplan_compiler::kinds;
use serde::Serialize;

use super::BackupsError;
use super::chain::Chain;
use super::paths::Paths;
use super::shelf::ShelvedRun;
use super::silence;
use super::unfinished::{self, Mark, Unfinished};
use crate::artefact::Kind;
use crate::catalog::details::{Details, DetailsError, Root};
use crate::catalog::manifest::{Manifest, SourceRecord};
use crate::control::Control;
use crate::extract::{self, Existing, ExtractError, Extracted, Extraction, Opened, ProblemKind, Target};

/// Where files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Below a folder: each source in a folder of its own name; a single one that was asked for by name right in it.
    Folder(PathBuf),
    /// Where they came from.
    InPlace {
        /// The trees that the plan reads, and where: only what is said here is believed.
        places: Vec<Root>,
        /// What the plan does not say goes where the backup says that it came from.
        as_recorded: bool,
    },
}

/// What is wanted back.
#[derive(Debug, Clone)]
pub struct RestoreWish {
    /// These sources; empty: all.
    pub sources: Vec<String>,
    /// These paths, each a name or else a pattern by gitignore's rules; empty: all.
    pub paths: Vec<OsString>,
    /// Where to.
    pub to: Destination,
    /// What happens to what is there. [`Existing::Keep`] wants a folder that is empty, or none.
    pub existing: Existing,
    /// Leave a mark in the folder until all is there, so that what is cut short can be resumed.
    pub is_marked: bool,
}

impl RestoreWish {
    /// One source, whole, right in an empty folder.
    pub fn of(source: &str, folder: &Path) -> RestoreWish {
        RestoreWish {
            sources: vec![source.to_owned()],
            paths: Vec::new(),
            to: Destination::Folder(folder.to_path_buf()),
            existing: Existing::Keep,
            is_marked: false,
        }
    }
}

/// A restore that can be shown and carried out.
pub struct Restore<'a> {
    /// The run.
    pub run: String,
    /// What of it is not put back though it is there, and what to do about that: a sentence each.
    pub left: Vec<String>,
    parts: Vec<Part<'a>>,
    /// Base backups that are laid down with the rest.
    clusters: Vec<Target>,
    /// The folder that is marked, and by what, as long as not all is there.
    mark: Option<(PathBuf, Unfinished)>,
}

struct Part<'a> {
    chain: Chain<'a>,
    extraction: Extraction,
}

/// What a restore would do, or did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoreOutcome {
    /// The run.
    pub run: String,
    /// The artefacts that are read; those of earlier runs before the run's own that rests on them.
    pub artefacts: Vec<String>,
    /// Where things go: path inside the backup, and path on this host.
    pub targets: Vec<(String, PathBuf)>,
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Files among them that an earlier restore had put back.
    #[serde(skip_serializing_if = "is_none")]
    pub there: u64,
    /// What is there and was left: a sentence each.
    pub not_restored: Vec<String>,
    /// What a person should know of what came back.
    pub warnings: Vec<String>,
    /// What could not be put back, or not wholly: the first ones.
    pub problems: Vec<String>,
    /// How many problems there were.
    pub problem_count: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Makes a restore: reads the manifest and the indexes it needs, writes nothing.
///
/// # Errors
/// When the run does not have what is wanted, or the target may not be used.
pub fn plan<'a>(run: &ShelvedRun<'a>, wish: &RestoreWish) -> Result<Restore<'a>, BackupsError> {
    let manifest = run.manifest;
    let held = run.sources();
    for source in &wish.sources {
        if !held.contains(source.as_str()) {
            return Err(BackupsError::NoSource {
                run: manifest.run.to_string(),
                source_name: source.clone(),
                held: held.iter().map(|source| format!("`{source}`")).collect(),
            });
        }
    }
    if let Destination::Folder(folder) = &wish.to
        && wish.existing == Existing::Keep
    {
        must_be_empty(folder)?;
    }
    // What they say is needed for some of what can be asked. Damaged ones may say anything.
    let are_sealed = match details(run) {
        Err(error) if !is_sealed(&error) => return Err(error),
        details => details.is_err(),
    };
    no_side_files(run, wish, &held)?;
    let mut parts = parts(run, wish)?;
    let mut left = left(run, wish);
    for part in parts.iter_mut().filter(|_| matches!(wish.to, Destination::InPlace { .. })) {
        if are_sealed {
            left.extend(part.elsewhere()?);
        }
        left.extend(part.without_the_absent()?);
    }
    parts.retain(|part| !part.extraction.targets.is_empty());
    if parts.is_empty() {
        return Err(BackupsError::NoPlace { run: manifest.run.to_string(), left });
    }
    if !wish.paths.is_empty() {
        pick(run, wish, &mut parts, &left)?;
    }
    let clusters = parts.iter().flat_map(|part| clusters(manifest, &part.extraction.targets)).collect();
    // Who names paths knows what is not among them.
    let left = if wish.paths.is_empty() { left } else { Vec::new() };
    let mark = match &wish.to {
        Destination::Folder(folder) if wish.is_marked => {
            Some((folder.clone(), Unfinished::of(manifest.run, wish)))
        }
        _ => None,
    };
    Ok(Restore { run: manifest.run.to_string(), left, parts, clusters, mark })
}

/// Each artefact that what is asked for comes from, and where what is in it goes.
fn parts<'a>(run: &ShelvedRun<'a>, wish: &RestoreWish) -> Result<Vec<Part<'a>>, BackupsError> {
    let is_asked =
        |source: &str| wish.sources.is_empty() || wish.sources.iter().any(|wanted| wanted == source);
    let mut parts = Vec::new();
    for chain in run.chains(&is_asked)? {
        let sources: Vec<&str> = chain.sources().collect();
        let extraction = Extraction {
            targets: targets(run, wish, &sources)?,
            only: Vec::new(),
            existing: wish.existing,
            owners: None,
            sync: true,
            workers: run.readers(),
        };
        parts.push(Part { chain, extraction });
    }
    Ok(parts)
}

/// Where base backups are among these targets.
fn clusters(manifest: &Manifest, targets: &[Target]) -> Vec<Target> {
    let is_cluster = |source: &str| {
        let record = manifest.cluster(source);
        record.and_then(SourceRecord::facts).is_some_and(|facts| facts.is_data_directory)
    };
    let sources = targets.iter().filter(|target| is_cluster(&String::from_utf8_lossy(&target.prefix)));
    sources.cloned().collect()
}

/// Finds out what is meant by the paths that are wanted. Each must name something, and that have a place.
fn pick(
    run: &ShelvedRun<'_>,
    wish: &RestoreWish,
    parts: &mut [Part<'_>],
    left: &[String],
) -> Result<(), BackupsError> {
    let paths = Paths::of(run, &wish.sources);
    let (mut only, mut of) = (Vec::new(), Vec::new());
    let chains: Vec<&Chain<'_>> = parts.iter().map(|part| &part.chain).collect();
    for (number, asked) in wish.paths.iter().enumerate() {
        let Some(picks) = paths.found(&chains, asked)? else { return Err(paths.absent(&chains, asked)?) };
        of.extend(picks.iter().map(|_| number));
        only.extend(picks);
    }
    let mut matched = BTreeSet::new();
    for part in parts {
        part.extraction.only = only.clone();
        let choice = extract::Choice::of(&part.chain.view, &part.extraction);
        let choice = choice.map_err(|error| part.error(error))?;
        let found = choice.matched().iter().zip(&of).filter(|(found, _)| **found);
        matched.extend(found.map(|(_, number)| *number));
        let used = choice.used();
        let mut number = 0..;
        part.extraction.targets.retain(|_| number.next().is_some_and(|number| used.contains(&number)));
    }
    match matched.len() < wish.paths.len() {
        true => Err(BackupsError::NoPlace { run: run.manifest.run.to_string(), left: left.to_vec() }),
        false => Ok(()),
    }
}

fn targets(run: &ShelvedRun<'_>, wish: &RestoreWish, sources: &[&str]) -> Result<Vec<Target>, BackupsError> {
    match (&wish.to, wish.sources.as_slice()) {
        (Destination::Folder(folder), [_]) => {
            Ok(sources.iter().map(|source| Target::folder(source.as_bytes(), folder)).collect())
        }
        (Destination::Folder(folder), _) => {
            let of = |source: &&str| Target::beneath(source.as_bytes(), folder, OsStr::new(source));
            Ok(sources.iter().map(of).collect())
        }
        (Destination::InPlace { places, as_recorded }, _) => {
            let recorded = if *as_recorded { strangers(run, places)? } else { Vec::new() };
            let all = places.iter().chain(&recorded);
            let wanted = all.filter(|root| sources.contains(&root.source.as_str()));
            Ok(wanted.map(|root| Target::at(&prefix(root), &root.original)).collect())
        }
    }
}

/// What a run holds and a restore in place leaves: what came from no place, or from one that only the backup names.
fn left(run: &ShelvedRun<'_>, wish: &RestoreWish) -> Vec<String> {
    let Destination::InPlace { places, as_recorded } = &wish.to else { return Vec::new() };
    let held = run.sources();
    let is_wanted = |source: &str| {
        held.contains(source)
            && (wish.sources.is_empty() || wish.sources.iter().any(|wanted| wanted == source))
    };
    let (strangers, mut left, are_sealed) = match strangers(run, places) {
        Ok(strangers) => (strangers, Vec::new(), false),
        // What of it matters shows in the artefacts that are read.
        Err(error) if is_sealed(&error) => (Vec::new(), Vec::new(), true),
        Err(error) => (Vec::new(), vec![error.to_string()], false),
    };
    if !*as_recorded {
        left.extend(strangers.iter().filter(|root| is_wanted(&root.source)).map(|root| {
            let (source, place) = (&root.source, root.original.display());
            format!(
                "not restored: `{source}` from `{place}`, as the backup says, which the plan does not name; \
                 `--as-recorded` puts it there"
            )
        }));
    }
    let records = run.manifest.sources.iter().filter(|record| is_wanted(&record.name));
    let is_placed = |source: &str| places.iter().chain(&strangers).any(|root| root.source == source);
    left.extend(records.filter(|record| !is_placed(&record.name)).map(|record| {
        let source = &record.name;
        if are_sealed && matches!(record.kind.as_str(), "files" | "sqlite") {
            return format!(
                "not restored: source `{source}`, for which the plan names no place, and where it was is for the key of the encrypted archives \
                 to tell; `--source {source} --to DIR` restores it"
            );
        }
        let what =
            kinds::facts(&record.kind, None).map_or("of a kind that is not known here", |row| row.no_place);
        format!("not restored: source `{source}` is {what}; `--source {source} --to DIR` restores it")
    }));
    left
}

/// The path of a tree inside the artefacts.
pub(super) fn prefix(root: &Root) -> Vec<u8> {
    let inside = Path::new(root.source.as_str()).join(&*root.inside);
    let inside = inside.as_os_str().as_bytes();
    inside.strip_suffix(b"/").unwrap_or(inside).to_vec()
}

fn details(run: &ShelvedRun<'_>) -> Result<Details, BackupsError> {
    run.details().map_err(|cause| match (&cause, run.locked()) {
        (DetailsError::Sealed, Some(locked)) => locked,
        _ => BackupsError::Details { run: run.manifest.run.to_string(), cause },
    })
}

/// Whether they are for a key alone to read that was not given.
fn is_sealed(error: &BackupsError) -> bool {
    matches!(error, BackupsError::Locked { .. } | BackupsError::Details { cause: DetailsError::Sealed, .. })
}

/// The trees that a run says it has, and the plan does not.
fn strangers(run: &ShelvedRun<'_>, places: &[Root]) -> Result<Vec<Root>, BackupsError> {
    let details = details(run)?;
    let is_known =
        |root: &Root| places.iter().any(|own| own.source == root.source && own.inside == root.inside);
    Ok(details.roots.into_iter().filter(|root| !is_known(root)).collect())
}

/// Refuses to put a SQLite database under the write-ahead log or journal of another: SQLite would apply that to it, and
/// ruin it.
fn no_side_files(
    run: &ShelvedRun<'_>,
    wish: &RestoreWish,
    held: &BTreeSet<&str>,
) -> Result<(), BackupsError> {
    for database in databases(run, wish, held)? {
        for ending in ["-wal", "-journal"] {
            let mut side = database.clone().into_os_string();
            side.push(ending);
            let side = PathBuf::from(side);
            if side.symlink_metadata().is_ok_and(|meta| meta.len() > 0) {
                return Err(BackupsError::SideFile { database, side });
            }
        }
    }
    Ok(())
}

/// Where SQLite databases would come to lie.
fn databases(
    run: &ShelvedRun<'_>,
    wish: &RestoreWish,
    held: &BTreeSet<&str>,
) -> Result<Vec<PathBuf>, BackupsError> {
    let records = run.manifest.sources.iter().filter(|record| record.kind == "sqlite");
    let wanted = |source: &str| wish.sources.is_empty() || wish.sources.iter().any(|wanted| wanted == source);
    let sources: BTreeSet<&str> = records.map(|record| record.name.as_str()).collect();
    let is_meant = |source: &str| sources.contains(source) && held.contains(source) && wanted(source);
    if !held.iter().any(|source| is_meant(source)) {
        return Ok(Vec::new());
    }
    let roots = details(run).map(|details| details.roots);
    let roots: Vec<Root> = match (&wish.to, roots) {
        // Where it was is for its key alone to tell, and where it goes is the plan's.
        (Destination::InPlace { places, .. }, Err(error)) if is_sealed(&error) => places.clone(),
        (Destination::InPlace { places, .. }, roots) => places.iter().cloned().chain(roots?).collect(),
        (Destination::Folder(folder), Err(error)) if is_sealed(&error) => {
            let inside = files_of(run, &is_meant)?;
            return Ok(inside
                .into_iter()
                .map(|(source, inside)| within(folder, wish, &source).join(inside))
                .collect());
        }
        (Destination::Folder(_), roots) => roots?,
    };
    let meant = roots.into_iter().filter(|root| is_meant(root.source.as_str()));
    let place = |root: Root| match &wish.to {
        Destination::InPlace { .. } => root.original.to_path_buf(),
        Destination::Folder(folder) => within(folder, wish, root.source.as_str()).join(&*root.inside),
    };
    Ok(meant.map(place).collect())
}

/// The folder of a source below the one that is restored into.
fn within(folder: &Path, wish: &RestoreWish, source: &str) -> PathBuf {
    if wish.sources.len() == 1 { folder.to_path_buf() } else { folder.join(source) }
}

/// The files of these sources, as the artefacts themselves have them, by source and path inside it.
fn files_of(
    run: &ShelvedRun<'_>,
    is_meant: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, PathBuf)>, BackupsError> {
    let mut found = Vec::new();
    for chain in run.chains(is_meant)? {
        for source in chain.sources() {
            for live in chain.view.below(source.as_bytes()) {
                let entry = live.map_err(|error| chain.error(error))?.entry;
                let inside =
                    entry.path.strip_prefix(source.as_bytes()).and_then(|path| path.strip_prefix(b"/"));
                if let Some(inside) = inside.filter(|_| entry.kind != Kind::Directory) {
                    found.push((source.to_owned(), PathBuf::from(OsStr::from_bytes(inside))));
                }
            }
        }
    }
    Ok(found)
}

pub(crate) fn must_be_empty(folder: &Path) -> Result<(), BackupsError> {
    let mut entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(BackupsError::Target { path: folder.to_path_buf(), cause }),
    };
    // What cannot be looked at is something.
    if entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == unfinished::UNFINISHED)) {
        return Ok(());
    }
    // Who is at work there may leave no mark.
    if let Err(at_work @ BackupsError::AtWork(_)) = unfinished::hold(folder) {
        return Err(at_work);
    }
    let folder = folder.to_path_buf();
    Err(match Unfinished::read(&folder) {
        Ok(Some(Unfinished { run, .. })) => BackupsError::Unfinished { folder, run: run.to_string() },
        Ok(None) | Err(_) => BackupsError::NotEmpty(folder),
    })
}

impl Restore<'_> {
    /// What it would do; touches nothing.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn preview(&self) -> Result<RestoreOutcome, BackupsError> {
        let mut outcome = self.outline();
        for part in &self.parts {
            let preview = extract::preview(&part.chain.view, &part.extraction);
            let preview = preview.map_err(|error| part.error(error))?;
            outcome.entries += preview.entries;
            outcome.bytes = outcome.bytes.saturating_add(preview.bytes);
        }
        Ok(outcome)
    }

    /// Puts the files back.
    ///
    /// # Errors
    /// When it could not go on; trouble with single entries is in the outcome.
    pub fn carry_out(&self, control: &Control) -> Result<RestoreOutcome, BackupsError> {
        let mut outcome = self.outline();
        let opened: Vec<_> = self.parts.iter().map(Part::open).collect::<Result<_, _>>()?;
        let mark = self.mark.as_ref().map(|(folder, mark)| mark.leave(folder));
        let mark = mark.transpose()?;
        for (part, opened) in self.parts.iter().zip(&opened) {
            let done = opened.run(control).map_err(|error| part.error(error))?;
            outcome.take(&part.chain, &done);
            outcome.warnings.extend(part.chain.told());
        }
        for place in &self.clusters {
            if let Err(error) = silence::in_place(place) {
                let what =
                    format!("`{}` may archive to where its original does: {error}", place.path().display());
                (outcome.problem_count, _) = (outcome.problem_count + 1, outcome.problems.push(what));
            }
        }
        if let (Some(Err(cause)), Some((folder, _))) = (mark.map(Mark::lift), &self.mark) {
            return Err(BackupsError::Target { path: folder.clone(), cause });
        }
        Ok(outcome)
    }

    fn outline(&self) -> RestoreOutcome {
        let targets = self.parts.iter().flat_map(|part| &part.extraction.targets);
        let artefacts = self.parts.iter().flat_map(|part| part.chain.artefacts());
        RestoreOutcome {
            run: self.run.clone(),
            not_restored: self.left.clone(),
            artefacts: artefacts.map(str::to_owned).collect(),
            targets: targets
                .map(|target| (String::from_utf8_lossy(&target.prefix).into_owned(), target.path()))
                .collect(),
            ..RestoreOutcome::default()
        }
    }
}

impl Part<'_> {
    /// Leaves out the places of the plan of which the run holds nothing; a sentence on each.
    fn without_the_absent(&mut self) -> Result<Vec<String>, BackupsError> {
        let (mut there, mut left) = (Vec::new(), Vec::new());
        for target in std::mem::take(&mut self.extraction.targets) {
            match self.chain.view.find(&target.prefix).map_err(|error| self.chain.error(error))? {
                Some(_) => there.push(target),
                None => left.push(format!(
                    "not restored: `{}`, of which the run holds nothing",
                    target.path().display()
                )),
            }
        }
        self.extraction.targets = there;
        Ok(left)
    }

    /// What is in none of the places that the plan names, where only a key tells what the backup says; a sentence for each source.
    fn elsewhere(&self) -> Result<Vec<String>, BackupsError> {
        let is_below = |path: &[u8], prefix: &[u8]| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let is_placed =
            |path: &[u8]| self.extraction.targets.iter().any(|target| is_below(path, &target.prefix));
        let mut left = Vec::new();
        for source in self.chain.sources().filter(|source| self.has_place(source)) {
            for live in self.chain.view.below(source.as_bytes()) {
                let entry = live.map_err(|error| self.chain.error(error))?.entry;
                if entry.kind != Kind::Directory && !is_placed(&entry.path) {
                    left.push(format!(
                        "not restored: of source `{source}` what came from elsewhere than the plan names, as `{}`; where that is tells \
                         the key of the encrypted archives, or `--to DIR` restores it",
                        crate::text::printable(&entry.path)
                    ));
                    break;
                }
            }
        }
        Ok(left)
    }

    /// Whether the plan names a place for something of a source.
    fn has_place(&self, source: &str) -> bool {
        let is_its =
            |target: &Target| target.prefix.split(|byte| *byte == b'/').next() == Some(source.as_bytes());
        self.extraction.targets.iter().any(is_its)
    }

    fn open(&self) -> Result<Opened<'_>, BackupsError> {
        let choice = extract::Choice::of(&self.chain.view, &self.extraction);
        choice.and_then(extract::Choice::open).map_err(|error| self.error(error))
    }

    fn error(&self, error: ExtractError) -> BackupsError {
        match error {
            ExtractError::Artefact(error) => self.chain.error(error),
            cause @ (ExtractError::Full(_) | ExtractError::TooMany(_)) => {
                let targets =
                    self.extraction.targets.iter().map(|target| target.path().display().to_string());
                BackupsError::CutShort {
                    to: targets.collect::<Vec<_>>().join("`, `"),
                    cause: Box::new(cause),
                }
            }
            other => other.into(),
        }
    }
}

impl RestoreOutcome {
    fn take(&mut self, chain: &Chain<'_>, done: &Extracted) {
        self.entries += done.entries;
        self.bytes = self.bytes.saturating_add(done.bytes);
        self.there += done.there;
        self.problem_count += done.problem_count;
        self.warnings.extend(foreign(done));
        self.warnings.extend(maimed(done));
        let problems = done.problems.iter().map(|problem| {
            let mend = match problem.kind {
                ProblemKind::Exists => "; it stays as it is: `--overwrite` replaces it",
                ProblemKind::Damaged => {
                    "; no store that was read has it whole: another store or an earlier run may"
                }
                _ => "",
            };
            format!("{}: {}{mend}", chain.artefact(problem.layer), problem.what)
        });
        self.problems.extend(problems);
    }
}

/// What changed its owner because this account may give nothing away.
fn foreign(done: &Extracted) -> Option<String> {
    let owners: Vec<String> = done.owners.iter().map(|(user, group)| format!("{user}:{group}")).collect();
    let own = format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    (done.foreign > 0).then(|| {
        format!(
            "{} belonged to others ({}) and are {own}'s now, without the bits that lend rights: only root gives \
             them back, by restoring them again",
            plural(done.foreign, "entry"),
            owners.join(", ")
        )
    })
}

/// What was not whole when it was packed.
fn maimed(done: &Extracted) -> Option<String> {
    let names: Vec<String> =
        done.maimed_first.iter().map(|path| format!("`{}`", crate::text::printable(path))).collect();
    (done.maimed > 0).then(|| {
        format!(
            "{} could not be read to the end when backed up, with zeros there: {}; an earlier run \
             may have them whole",
            plural(done.maimed, "file"),
            names.join(", ")
        )
    })
}
