//! A restore as a value: made from a run and a wish, shown, carried out.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use super::RecallError;
use super::chain::Chain;
use super::shelf::Held;
use crate::beneath;
use crate::catalog::manifest::{ArchiveRecord, Manifest};
use crate::control::Control;
use crate::extract::{self, Existing, ExtractError, Extracted, Extraction, ProblemKind, Target};
use crate::postgres::basebackup::DATA;
use crate::postgres::recovery;

/// Where files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Below a folder: each source in a folder of its own name; a single one that was asked for by name right in it.
    Folder(PathBuf),
    /// Where they came from.
    InPlace,
}

/// What is wanted back.
#[derive(Debug, Clone)]
pub struct Wish {
    /// These sources; empty: all.
    pub sources: Vec<String>,
    /// These paths, the source's name in front, by gitignore's rules; empty: all.
    pub paths: Vec<String>,
    /// Where to.
    pub to: Destination,
    /// Replace what is there.
    pub overwrite: bool,
}

/// A restore that can be shown and carried out.
pub struct Restore<'a> {
    /// The run.
    pub run: String,
    parts: Vec<Part<'a>>,
    /// The data directories of base backups that are laid down with the rest.
    clusters: Vec<PathBuf>,
}

struct Part<'a> {
    chain: Chain<'a>,
    extraction: Extraction,
}

/// What a restore would do, or did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
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
    /// What could not be put back, or not wholly: the first ones.
    pub problems: Vec<String>,
    /// How many problems there were.
    pub problem_count: u64,
}

/// Makes a restore: reads the manifest and the indexes it needs, writes nothing.
///
/// # Errors
/// When the run does not have what is wanted, or the target may not be used.
pub fn plan<'a>(run: &Held<'a>, wish: &Wish) -> Result<Restore<'a>, RecallError> {
    let manifest = run.manifest;
    let held = run.sources();
    for source in &wish.sources {
        if !held.contains(source.as_str()) {
            return Err(RecallError::NoSource {
                run: manifest.run.to_string(),
                source_name: source.clone(),
                held: held.iter().map(|source| format!("`{source}`")).collect(),
            });
        }
    }
    if let Destination::Folder(folder) = &wish.to
        && !wish.overwrite
    {
        must_be_empty(folder)?;
    }
    no_side_files(manifest, wish, &held)?;
    let (mut parts, mut taken, mut failed) = (Vec::new(), BTreeSet::new(), Vec::new());
    for piece in &run.pieces {
        // A source that is in several archives is put back once, from the first that can be read.
        let wanted = |source: &&str| {
            let is_asked = wish.sources.is_empty() || wish.sources.iter().any(|wanted| wanted == source);
            is_asked && !taken.contains(source)
        };
        let sources: Vec<&str> = sources_of(piece.archive).into_iter().filter(wanted).collect();
        let targets = targets(manifest, wish, &sources)?;
        if targets.is_empty() {
            continue;
        }
        let extraction = Extraction {
            targets,
            only: wish.paths.clone(),
            existing: if wish.overwrite { Existing::Replace } else { Existing::Keep },
            owners: None,
            sync: true,
            workers: None,
        };
        match piece.chain(&|source| sources.contains(&source)) {
            Ok(chain) => {
                taken.extend(sources);
                parts.push(Part { chain, extraction });
            }
            Err(error) => failed.push((sources, error)),
        }
    }
    let is_lost =
        |(sources, _): &(Vec<&str>, RecallError)| sources.iter().any(|source| !taken.contains(source));
    if let Some((_, error)) = failed.into_iter().find(is_lost) {
        return Err(error);
    }
    if parts.is_empty() {
        return Err(RecallError::NoPlace(manifest.run.to_string()));
    }
    let clusters = parts.iter().flat_map(|part| clusters(manifest, &part.extraction.targets)).collect();
    Ok(Restore { run: manifest.run.to_string(), parts, clusters })
}

/// The data directories among these targets.
fn clusters(manifest: &Manifest, targets: &[Target]) -> Vec<PathBuf> {
    let is_cluster = |source: &str| {
        let record = super::cluster::record(manifest, source);
        record.and_then(|record| record.labels.get("driver")).is_some_and(|driver| driver == "basebackup")
    };
    let sources = targets.iter().filter(|target| is_cluster(&String::from_utf8_lossy(&target.prefix)));
    // With tablespaces it lies beside them.
    sources.flat_map(|target| [target.to.clone(), target.to.join(DATA)]).collect()
}

/// Keeps a cluster that came back as files from archiving to where its original does.
fn silence(data: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (data.parent(), data.file_name()) else { return Ok(()) };
    let folder = OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = File::open(above).and_then(|above| {
        let data = beneath::open(above, name.as_bytes(), folder, Mode::empty())?;
        beneath::open(&data, b"global/pg_control", OFlags::PATH, Mode::empty())?;
        Ok(File::from(data))
    });
    match opened {
        Ok(data) => recovery::silence(&data),
        // Not all of it was asked for: no server starts there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sources_of(archive: &ArchiveRecord) -> BTreeSet<&str> {
    archive.contents.iter().map(|content| content.source.as_str()).collect()
}

fn targets(manifest: &Manifest, wish: &Wish, sources: &[&str]) -> Result<Vec<Target>, RecallError> {
    match (&wish.to, wish.sources.as_slice()) {
        (Destination::Folder(folder), [_]) => {
            Ok(sources.iter().map(|source| target(source.as_bytes(), folder)).collect())
        }
        (Destination::Folder(folder), _) => {
            Ok(sources.iter().map(|source| target(source.as_bytes(), &folder.join(source))).collect())
        }
        (Destination::InPlace, _) => {
            let run = manifest.run.to_string();
            let details = manifest.details().map_err(|cause| RecallError::Details { run, cause })?;
            let roots = details.roots.iter().filter(|root| sources.contains(&root.source.as_str()));
            Ok(roots
                .map(|root| {
                    let inside = Path::new(&root.source).join(&root.inside.0);
                    let inside = inside.as_os_str().as_bytes();
                    target(inside.strip_suffix(b"/").unwrap_or(inside), &root.original.0)
                })
                .collect())
        }
    }
}

/// Refuses to put a SQLite database under the write-ahead log or journal of another: SQLite would apply that to it, and
/// ruin it.
fn no_side_files(manifest: &Manifest, wish: &Wish, held: &BTreeSet<&str>) -> Result<(), RecallError> {
    let is_sqlite =
        |source: &str| manifest.sources.iter().any(|record| record.name == source && record.kind == "sqlite");
    let wanted = |source: &str| wish.sources.is_empty() || wish.sources.iter().any(|wanted| wanted == source);
    let run = manifest.run.to_string();
    let details = manifest.details().map_err(|cause| RecallError::Details { run, cause })?;
    for root in details.roots {
        let source = root.source.as_str();
        if !held.contains(source) || !wanted(source) || !is_sqlite(source) {
            continue;
        }
        let database = match &wish.to {
            Destination::InPlace => root.original.0,
            Destination::Folder(folder) if wish.sources.len() == 1 => folder.join(root.inside.0),
            Destination::Folder(folder) => folder.join(source).join(root.inside.0),
        };
        for ending in ["-wal", "-journal"] {
            let mut side = database.clone().into_os_string();
            side.push(ending);
            let side = PathBuf::from(side);
            if side.symlink_metadata().is_ok_and(|meta| meta.len() > 0) {
                return Err(RecallError::SideFile { database, side });
            }
        }
    }
    Ok(())
}

fn target(prefix: &[u8], to: &Path) -> Target {
    Target { prefix: prefix.to_vec(), to: to.to_path_buf() }
}

pub(super) fn must_be_empty(folder: &Path) -> Result<(), RecallError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(RecallError::Target { path: folder.to_path_buf(), cause }),
    };
    match entries.take(1).count() {
        0 => Ok(()),
        _ => Err(RecallError::NotEmpty(folder.to_path_buf())),
    }
}

impl Restore<'_> {
    /// What it would do; touches nothing.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn preview(&self) -> Result<Outcome, RecallError> {
        let mut outcome = self.outline();
        for part in &self.parts {
            let preview = extract::preview(&part.chain.view, &part.extraction);
            let preview = preview.map_err(|error| part.error(error))?;
            outcome.entries += preview.entries;
            outcome.bytes += preview.bytes;
        }
        Ok(outcome)
    }

    /// Puts the files back.
    ///
    /// # Errors
    /// When it could not go on; trouble with single entries is in the outcome.
    pub fn carry_out(&self, control: &Control) -> Result<Outcome, RecallError> {
        let mut outcome = self.outline();
        for part in &self.parts {
            let done = extract::extract(&part.chain.view, &part.extraction, control);
            let done = done.map_err(|error| part.error(error))?;
            outcome.take(&part.chain, &done);
        }
        for data in &self.clusters {
            if let Err(error) = silence(data) {
                let what = format!("`{}` may archive to where its original does: {error}", data.display());
                (outcome.problem_count, _) = (outcome.problem_count + 1, outcome.problems.push(what));
            }
        }
        Ok(outcome)
    }

    fn outline(&self) -> Outcome {
        let targets = self.parts.iter().flat_map(|part| &part.extraction.targets);
        let artefacts = self.parts.iter().flat_map(|part| part.chain.artefacts());
        Outcome {
            run: self.run.clone(),
            artefacts: artefacts.map(str::to_owned).collect(),
            targets: targets
                .map(|target| (String::from_utf8_lossy(&target.prefix).into_owned(), target.to.clone()))
                .collect(),
            ..Outcome::default()
        }
    }
}

impl Part<'_> {
    fn error(&self, error: ExtractError) -> RecallError {
        match error {
            ExtractError::Artefact(error) => self.chain.error(error),
            cause @ ExtractError::Full(_) => {
                let targets = self.extraction.targets.iter().map(|target| target.to.display().to_string());
                RecallError::CutShort { to: targets.collect::<Vec<_>>().join("`, `"), cause: Box::new(cause) }
            }
            other => other.into(),
        }
    }
}

impl Outcome {
    fn take(&mut self, chain: &Chain<'_>, done: &Extracted) {
        self.entries += done.entries;
        self.bytes += done.bytes;
        self.problem_count += done.problem_count;
        let problems = done.problems.iter().map(|problem| {
            let mend = match problem.kind {
                ProblemKind::Exists => "; it stays as it is: `--overwrite` replaces it",
                ProblemKind::Damaged => "; another store or an earlier run may have it whole",
                _ => "",
            };
            format!("{}: {}{mend}", chain.artefact(problem.layer), problem.what)
        });
        self.problems.extend(problems);
    }
}
