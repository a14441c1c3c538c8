//! `plan ls` and `plan cat`

use std::io::{self, Write};

use backplan_runtime::artefact::{Entry, Kind, LayerError, ReadError};
use backplan_runtime::catalog::manifest::{ArchiveRecord, Manifest};
use backplan_runtime::control::Control;
use backplan_runtime::recall::RecallError;
use backplan_runtime::recall::chain::Chain;
use backplan_runtime::recall::shelf::{Shelf, Shelves};

use super::shelves::{choice, failure, open};
use crate::args::{CatArgs, Format, Global, LsArgs, PlanFile};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::backups::{EntryRow, entry_line};

/// Lists what a backup holds.
///
/// # Errors
/// When the run, or its index, cannot be read.
pub fn list(args: &LsArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let plan = PlanFile { file: args.place.file.clone() };
    let shelves = open(&plan, &args.place.store, global, console)?;
    let path = args.path.as_deref().unwrap_or("").trim_matches('/');
    let (shelf, manifest) = run(&shelves, &args.run, path)?;
    let mut found = false;
    let mut first = true;
    if args.format == Format::Json {
        console.answer("{\"format\":1,\"entries\":[");
    }
    for archive in holding(manifest, path) {
        let chain = opened(shelf, manifest, archive, path)?;
        for live in chain.view.below(path.as_bytes()) {
            let entry = live.map_err(|error| failure(&chain.error(error)))?.entry;
            found = true;
            match args.format {
                Format::Human => console.answer(&entry_line(&entry)),
                Format::Json => {
                    let row = serde_json::to_string(&EntryRow::new(&entry)).unwrap_or_default();
                    console.answer(if first { "\n" } else { ",\n" });
                    console.answer(&row);
                }
            }
            first = false;
            if console.is_deaf() {
                return Ok(Status::Done);
            }
        }
    }
    if args.format == Format::Json {
        console.answer("\n]}\n");
    }
    if found || path.is_empty() { Ok(Status::Done) } else { Err(no_entry(manifest, path)) }
}

/// Prints one file of a backup.
///
/// # Errors
/// When there is no such file, or it cannot be read whole.
pub fn print(args: &CatArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let plan = PlanFile { file: args.place.file.clone() };
    let shelves = open(&plan, &args.place.store, global, console)?;
    let path = args.path.trim_matches('/');
    let (shelf, manifest) = run(&shelves, &args.run, path)?;
    for archive in holding(manifest, path) {
        let chain = opened(shelf, manifest, archive, path)?;
        let live = chain.view.find(path.as_bytes()).map_err(|error| failure(&chain.error(error)))?;
        let Some(live) = live else { continue };
        must_be_file(&live.entry, path)?;
        let done = chain.view.cat(&live, &mut Out(console), &Control::default());
        return match done {
            Ok(_) => Ok(Status::Done),
            Err(LayerError { cause: ReadError::Output(error), .. })
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                Ok(Status::Done)
            }
            Err(error) => Err(failure(&chain.error(error))),
        };
    }
    Err(no_entry(manifest, path))
}

/// The run, and the first store that holds it. With a path whose source is known, the newest run is the newest that
/// holds this source.
fn run<'a>(shelves: &'a Shelves, run: &str, path: &str) -> Result<(&'a Shelf, &'a Manifest), Failure> {
    let choice = choice(run, None)?;
    let source = path.split('/').next().filter(|source| !source.is_empty());
    let held = shelves.choose(&choice, source).or_else(|_| shelves.choose(&choice, None));
    held.map_err(|error| failure(&error))
}

/// The archives that may hold a path: all of them for an empty one.
fn holding<'a>(manifest: &'a Manifest, path: &str) -> impl Iterator<Item = &'a ArchiveRecord> + use<'a> {
    let source = path.split('/').next().unwrap_or_default().to_owned();
    manifest.archives.iter().filter(move |archive| {
        source.is_empty() || archive.contents.iter().any(|content| content.source == source)
    })
}

fn must_be_file(entry: &Entry, path: &str) -> Result<(), Failure> {
    let what = match entry.kind {
        Kind::File | Kind::HardLink => return Ok(()),
        Kind::Directory => "a folder",
        Kind::Symlink => "a symbolic link",
        Kind::Fifo => "a named pipe",
        Kind::CharDevice | Kind::BlockDevice => "a device",
    };
    Err(failure(&RecallError::NotFile { path: path.to_owned(), what }))
}

fn no_entry(manifest: &Manifest, path: &str) -> Failure {
    failure(&RecallError::NoEntry { run: manifest.run.to_string(), path: path.to_owned() })
}

/// What the archive rests on, as far as the path needs it.
fn opened<'a>(
    shelf: &'a Shelf,
    manifest: &'a Manifest,
    archive: &'a ArchiveRecord,
    path: &str,
) -> Result<Chain<'a>, Failure> {
    let source = path.split('/').next().unwrap_or_default();
    let wanted = |other: &str| source.is_empty() || other == source;
    shelf.view(manifest, archive, &wanted).map_err(|error| failure(&error))
}

/// The answer, as something to write to.
struct Out<'a>(&'a mut Console);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.answer_bytes(bytes);
        if self.0.is_deaf() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
