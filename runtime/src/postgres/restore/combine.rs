//! Incremental base backups put together: each of a chain is laid down by itself, and `pg_combinebackup` makes one cluster
//! of them.
//!
//! All of it happens in the data directory to be, where nothing but the word that it is not complete lies beside it:
//!
//! ```text
//! DIR/postmaster.pid               keeps a server from being started
//! DIR/.backplan-layers/0/          the full: its data directory, or that and its tablespaces
//! DIR/.backplan-layers/1/          what was copied since, and so on
//! DIR/.backplan-layers/whole/      what they make together; its entries are then moved to DIR
//! ```

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, symlinkat, unlinkat};
use rustix::io::Errno;

use super::cluster::{ClusterError, Space, file, laid, told, unbound};
use crate::backups::chain::Chain;
use crate::backups::shelf::{ShelvedRun, Shelves};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::SourceRecord;
use crate::catalog::runs::Choice;
use crate::confine::Bounds;
use crate::control::Control;
use crate::extract::{self, Existing, Extraction, Target};
use crate::openat;
use crate::places::folder;
use crate::postgres::basebackup::{DATA, TABLESPACES, escaped};
use crate::postgres::tools;
use crate::programs::process::{self, ProcessError, Program, Tell};

const LAYERS: &str = ".backplan-layers";
const WHOLE: &str = "whole";
/// The folder of a data directory that leads to its tablespaces.
const LINKS: &str = "pg_tblspc";
const COMBINE: &str = "pg_combinebackup";

/// A backup of a chain.
pub(super) struct Layer<'a> {
    held: ShelvedRun<'a>,
    /// What the run says of it.
    pub record: &'a SourceRecord,
}

impl<'a> Layer<'a> {
    /// Opens its artefact.
    pub(super) fn chain(&self) -> Result<Chain<'a>, ClusterError> {
        let source = &self.record.name;
        let has = |content: &&crate::catalog::manifest::Content| content.source == *source;
        let piece = self.held.pieces.iter().find(|piece| piece.archive.contents.iter().any(|c| has(&c)));
        let piece = piece.ok_or_else(|| not_held(self.held.manifest.run, source))?;
        Ok(piece.chain(&|other| other == source.as_str())?)
    }

    /// The run.
    pub(super) fn run(&self) -> RunId {
        self.held.manifest.run
    }

    /// Entries, and bytes of files.
    pub(super) fn size(&self) -> Result<(u64, u64), ClusterError> {
        let (chain, nowhere) = (self.chain()?, Path::new(""));
        let preview = extraction(&self.record.name, nowhere, &self.spaces(nowhere));
        let preview = extract::preview(&chain.view, &preview).map_err(|error| told(&chain, error))?;
        Ok((preview.entries, preview.bytes))
    }

    fn spaces(&self, beside: &Path) -> Vec<Space> {
        let space = |(oid, was): (&String, &String)| Space {
            oid: oid.clone(),
            was: PathBuf::from(was),
            to: beside.join(TABLESPACES).join(oid),
        };
        self.record.labels().tablespaces.iter().map(space).collect()
    }
}

fn not_held(run: RunId, source: &str) -> ClusterError {
    ClusterError::NotHeld { run: run.to_string(), source_name: source.to_owned() }
}

/// A run's backup of a source, and before it those that it rests on, the full first.
pub(super) fn layers<'a>(
    shelves: &'a Shelves,
    source: &str,
    run: RunId,
) -> Result<Vec<Layer<'a>>, ClusterError> {
    let mut layers: Vec<Layer<'a>> = Vec::new();
    let mut next = Some(run.to_string());
    while let Some(id) = next {
        let held = shelves.held(&Choice::Id(id), None)?;
        let record = held.manifest.cluster(source).ok_or_else(|| not_held(held.manifest.run, source))?;
        // Each rests on an older one: a manifest that says otherwise must not make this go round for ever.
        if layers.last().is_some_and(|later| later.run() <= held.manifest.run) {
            return Err(not_held(held.manifest.run, source));
        }
        next = record.labels().prior.clone();
        layers.push(Layer { held, record });
    }
    layers.reverse();
    Ok(layers)
}

/// What is to be unpacked of a backup of `source`, and where.
pub(super) fn extraction(source: &str, data: &Path, spaces: &[Space]) -> Extraction {
    let inside = |below: &str| format!("{source}/{below}").into_bytes();
    let prefix = if spaces.is_empty() { source.as_bytes().to_vec() } else { inside(DATA) };
    let spaces = spaces
        .iter()
        .map(|space| Target::folder(&inside(&format!("{TABLESPACES}/{}", space.oid)), &space.to));
    Extraction {
        targets: std::iter::once(Target::folder(&prefix, data)).chain(spaces).collect(),
        only: Vec::new(),
        existing: Existing::Keep,
        owners: None,
        sync: true,
        workers: None,
    }
}

/// Points the data directory's links to where its tablespaces lie; the folder of the links must be one.
pub(super) fn link(data: &Path, spaces: &[Space]) -> Result<(), ClusterError> {
    if spaces.is_empty() {
        return Ok(());
    }
    let places = data.join(LINKS);
    let bad = |cause: Errno| file(&places)(cause.into());
    let opened = File::open(data).map_err(file(data))?;
    let folder = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = openat::open(&opened, LINKS.as_bytes(), folder, Mode::empty()).map_err(bad)?;
    for space in spaces {
        match unlinkat(&folder, &space.oid, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(cause) => return Err(bad(cause)),
        }
        let to = std::path::absolute(&space.to).map_err(file(&space.to))?;
        symlinkat(&to, &folder, &space.oid).map_err(bad)?;
    }
    Ok(())
}

/// What combines these backups: of their own version.
pub(super) fn program(layers: &[Layer<'_>]) -> Result<String, ClusterError> {
    let version = layers.last().and_then(|layer| layer.record.labels().server_version.as_deref());
    let version = version.unwrap_or_default();
    let major = tools::major(version).filter(|major| !tools::is_other(*major, COMBINE));
    let found = major.and_then(|major| tools::of(major, COMBINE).ok());
    found.ok_or_else(|| ClusterError::NoCombine(version.to_owned()))
}

/// Bytes that putting these together takes at its height: all of them, and a cluster as large as the largest.
pub(super) fn room(layers: &[Layer<'_>]) -> Result<u64, ClusterError> {
    let mut sizes =
        layers.iter().map(|layer| Ok(layer.size()?.1)).collect::<Result<Vec<u64>, ClusterError>>()?;
    // One alone is not put together.
    let largest = sizes.iter().max().copied().filter(|_| layers.len() > 1);
    sizes.extend(largest);
    Ok(sizes.into_iter().fold(0, u64::saturating_add))
}

/// What combining came to.
#[derive(Default)]
pub(super) struct Combined {
    /// Entries that were laid down.
    pub entries: u64,
    /// Bytes of files among them.
    pub bytes: u64,
    /// Why the tool was held to no folders, where it was not.
    pub refusal: Option<String>,
    /// What was wrong with copies of the artefacts.
    pub warnings: Vec<String>,
}

/// Lays the backups down in `to`, which is there and guarded, and leaves in it what they make together, its tablespaces in
/// `spaces`.
///
/// # Errors
/// See [`ClusterError`]; what is there then cannot be started.
pub(super) fn combine(
    layers: &[Layer<'_>],
    to: &Path,
    spaces: &[Space],
    control: &Control,
) -> Result<Combined, ClusterError> {
    let to = std::path::absolute(to).map_err(file(to))?;
    let scratch = to.join(LAYERS);
    DirBuilder::new().mode(0o700).create(&scratch).map_err(file(&scratch))?;
    let (mut combined, mut argv) = (Combined::default(), vec![program(layers)?]);
    let mut last = (PathBuf::new(), Vec::new());
    for (number, layer) in layers.iter().enumerate() {
        let folder = scratch.join(number.to_string());
        let own = layer.spaces(&folder);
        let data = if own.is_empty() { folder } else { folder.join(DATA) };
        let chain = layer.chain()?;
        let done = laid(&chain, &extraction(&layer.record.name, &data, &own), control)?;
        combined.entries += done.entries;
        combined.bytes = combined.bytes.saturating_add(done.bytes);
        combined.warnings.extend(chain.told());
        link(&data, &own)?;
        argv.push(data.display().to_string());
        last = (data, own);
    }
    let whole = scratch.join(WHOLE);
    argv.push(format!("--output={}", whole.display()));
    for space in &last.1 {
        let Some(place) = spaces.iter().find(|place| place.oid == space.oid) else { continue };
        let to = std::path::absolute(&place.to).map_err(file(&place.to))?;
        let (from, to) = (space.to.display().to_string(), to.display().to_string());
        argv.push(format!("--tablespace-mapping={}={}", escaped(&from), escaped(&to)));
    }
    let owner = fs::metadata(last.0.join("PG_VERSION")).map_err(file(&last.0))?;
    let mut own = vec![to.clone()];
    for space in spaces {
        let to = std::path::absolute(&space.to).map_err(file(&space.to))?;
        // The account passes through what it lies in.
        let above = to.parent().unwrap_or(&to);
        DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(file(above))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&to).map_err(file(&to))?;
        own.push(to);
    }
    let bounds = Bounds::find(&own, Some(&scratch), control).map_err(unbound)?;
    combined.refusal = bounds.refusal().map(str::to_owned);
    run(argv, Some(bounds), control)?;
    give(&whole, spaces, &owner, control)?;
    control.check()?;
    move_up(&whole, &to)?;
    folder::remove(&scratch).map_err(|error| file(&scratch)(error.into()))?;
    Ok(combined)
}

fn run(argv: Vec<String>, bounds: Option<Bounds>, control: &Control) -> Result<(), ClusterError> {
    let silent: Tell = Arc::new(|_| {});
    let env = vec![("LC_ALL".to_owned(), "C".to_owned())];
    let bounds = bounds.map(Arc::new);
    let program = Program { env, bounds, folder: Some("/".into()), ..Program::new(argv) };
    process::run(&program, control, &silent).map(drop).map_err(|error| match error {
        ProcessError::Stopped(stopped) => ClusterError::Stopped(stopped),
        error => ClusterError::Tool(error.to_string()),
    })
}

/// What root made belongs to the account that the backups belong to.
fn give(whole: &Path, spaces: &[Space], owner: &fs::Metadata, control: &Control) -> Result<(), ClusterError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let account = format!("{}:{}", owner.uid(), owner.gid());
    let mut argv = ["chown", "-hR", &account, "--"].map(str::to_owned).to_vec();
    argv.push(whole.display().to_string());
    for space in spaces {
        let to = std::path::absolute(&space.to).map_err(file(&space.to))?;
        argv.push(to.display().to_string());
    }
    run(argv, None, control)
}

/// Within one file system, so that nothing is copied.
fn move_up(whole: &Path, to: &Path) -> Result<(), ClusterError> {
    for entry in fs::read_dir(whole).map_err(file(whole))? {
        let entry = entry.map_err(file(whole))?;
        fs::rename(entry.path(), to.join(entry.file_name())).map_err(file(&entry.path()))?;
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(file(to))
}
