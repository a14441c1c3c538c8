//! A restore as a value: made from a run and a wish, shown, carried out.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::RecallError;
use super::chain::Chain;
use super::shelf::Shelf;
use crate::catalog::manifest::{ArchiveRecord, Manifest};
use crate::control::Control;
use crate::extract::{self, Existing, ExtractError, Extracted, Extraction, ProblemKind, Target};

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
pub fn plan<'a>(shelf: &'a Shelf, manifest: &'a Manifest, wish: &Wish) -> Result<Restore<'a>, RecallError> {
    let held: BTreeSet<&str> = sources_of(&manifest.archives);
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
    let mut parts = Vec::new();
    for archive in &manifest.archives {
        let wanted =
            |source: &&str| wish.sources.is_empty() || wish.sources.iter().any(|wanted| wanted == source);
        let sources: Vec<&str> =
            sources_of(std::slice::from_ref(archive)).into_iter().filter(wanted).collect();
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
        let chain = shelf.view(manifest, archive, &|source| sources.contains(&source))?;
        parts.push(Part { chain, extraction });
    }
    if parts.is_empty() {
        return Err(RecallError::NoPlace(manifest.run.to_string()));
    }
    Ok(Restore { run: manifest.run.to_string(), parts })
}

fn sources_of(archives: &[ArchiveRecord]) -> BTreeSet<&str> {
    archives.iter().flat_map(|archive| &archive.contents).map(|content| content.source.as_str()).collect()
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

fn target(prefix: &[u8], to: &Path) -> Target {
    Target { prefix: prefix.to_vec(), to: to.to_path_buf() }
}

fn must_be_empty(folder: &Path) -> Result<(), RecallError> {
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
