//! `plan ls` and `plan cat`

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use backplan_runtime::artefact::{Entry, Kind, LayerError, Live, ReadError};
use backplan_runtime::backups::BackupsError;
use backplan_runtime::backups::chain::Chain;
use backplan_runtime::backups::paths::Paths;
use backplan_runtime::backups::shelf::{ShelvedRun, Shelves};
use backplan_runtime::control::Control;
use backplan_runtime::extract::{Pick, Picks, Taken};

use super::shelves::{choice, failure, open};
use crate::args::{CatArgs, Format, Global, LsArgs, PlanFile};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::backups::{EntryRow, entry_line, printable};

/// Lists what a backup holds.
///
/// # Errors
/// When the run, or its index, cannot be read.
pub fn list(args: &LsArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let plan = PlanFile { file: args.place.file.clone() };
    let shelves = open(&plan, &args.place.store, global, console)?;
    let asked = args.path.as_deref().filter(|path| !path.as_bytes().iter().all(|byte| *byte == b'/'));
    let held = run(&shelves, &args.run, asked)?;
    let chains = opened(&held, asked)?;
    let picks = match asked {
        None => None,
        Some(asked) => Some(found(&held, &chains, asked)?),
    };
    let mut rows = Rows { format: args.format, first: true };
    rows.begin(console);
    'all: for chain in &chains {
        let mut wanted = picks.as_deref().map(Picks::new);
        for live in entries(chain, picks.as_deref()) {
            let entry = live.map_err(|error| failure(&chain.error(error)))?.entry;
            if wanted.as_mut().is_none_or(|wanted| wanted.take(&entry.path, entry.kind) != Taken::No) {
                rows.row(&entry, console);
            }
            if console.is_deaf() {
                break 'all;
            }
        }
    }
    rows.end(console);
    Ok(told(&shelves, &args.run, &held, &chains, console))
}

/// Says that nobody here made the run, or that there is a newer one, and what was wrong with stores that others stood in for.
fn told(
    shelves: &Shelves,
    asked: &str,
    held: &ShelvedRun<'_>,
    chains: &[Chain<'_>],
    console: &mut Console,
) -> Status {
    let doubts = choice(asked, None).map(|choice| shelves.doubts(&choice, held.manifest.run));
    let copies = chains.iter().flat_map(Chain::told);
    let told: Vec<String> = doubts.unwrap_or_default().into_iter().chain(copies).collect();
    told.iter().for_each(|text| console.remark("warning", text));
    if told.is_empty() { Status::Done } else { Status::Warnings }
}

/// The entries among which those that are wanted are: not all where each has a name.
fn entries<'c>(
    chain: &'c Chain<'_>,
    picks: Option<&[Pick]>,
) -> Box<dyn Iterator<Item = Result<Live, LayerError>> + 'c> {
    match picks {
        Some([Pick::Path(path)]) => Box::new(chain.view.below(path)),
        _ => Box::new(chain.view.entries()),
    }
}

/// The answer of `ls`, entry by entry.
struct Rows {
    format: Format,
    first: bool,
}

impl Rows {
    fn begin(&self, console: &mut Console) {
        if self.format == Format::Json {
            console.answer("{\"format\":1,\"entries\":[");
        }
    }

    fn row(&mut self, entry: &Entry, console: &mut Console) {
        match self.format {
            Format::Human => console.answer(&entry_line(entry)),
            Format::Json => {
                console.answer(if self.first { "\n" } else { ",\n" });
                console.answer(&serde_json::to_string(&EntryRow::new(entry)).unwrap_or_default());
            }
        }
        self.first = false;
    }

    fn end(&self, console: &mut Console) {
        if self.format == Format::Json {
            console.answer("\n]}\n");
        }
    }
}

/// Prints one file of a backup.
///
/// # Errors
/// When there is no such file, or it cannot be read whole.
pub fn print(args: &CatArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let plan = PlanFile { file: args.place.file.clone() };
    let shelves = open(&plan, &args.place.store, global, console)?;
    let held = run(&shelves, &args.run, Some(&args.path))?;
    let chains = opened(&held, Some(&args.path))?;
    let all: Vec<&Chain<'_>> = chains.iter().collect();
    let paths = Paths::of(&held, &[]);
    let named = paths.named(&all, &args.path).map_err(|error| failure(&error))?;
    let path = match named.as_slice() {
        [path] => path,
        [] => return Err(absent(&paths, &all, &args.path)),
        several => return Err(ambiguous(&args.path, several)),
    };
    for chain in &chains {
        let live = chain.view.find(path).map_err(|error| failure(&chain.error(error)))?;
        let Some(live) = live else { continue };
        must_be_file(&live.entry)?;
        return match chain.view.cat(&live, &mut Out(console), &Control::default()) {
            Ok(_) => Ok(told(&shelves, &args.run, &held, &chains, console)),
            Err(LayerError { cause: ReadError::Output(error), .. })
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                Ok(Status::Done)
            }
            Err(error) => Err(failure(&chain.error(error))),
        };
    }
    Err(absent(&paths, &all, &args.path))
}

fn ambiguous(asked: &OsStr, several: &[Vec<u8>]) -> Failure {
    let names: Vec<String> = several.iter().map(|path| format!("`{}`", printable(path))).collect();
    Failure::usage(format!("`{}` names several files: {}", printable(asked.as_bytes()), names.join(", ")))
        .help("give the path with its source's name in front")
}

/// The run, with all that any store has of it. With a path whose source is known, the newest run is the newest that
/// holds this source.
fn run<'a>(shelves: &'a Shelves, run: &str, path: Option<&OsStr>) -> Result<ShelvedRun<'a>, Failure> {
    let choice = choice(run, None)?;
    let source = path.and_then(source_in);
    let held = shelves.held(&choice, source.as_deref()).or_else(|_| shelves.held(&choice, None));
    held.map_err(|error| failure(&error))
}

/// What would be the source's name in a path.
pub(super) fn source_in(path: &OsStr) -> Option<String> {
    let first = path.as_bytes().split(|byte| *byte == b'/').find(|part| !part.is_empty())?;
    String::from_utf8(first.to_vec()).ok()
}

/// What the run's archives rest on, as far as the path needs it.
fn opened<'a>(held: &ShelvedRun<'a>, path: Option<&OsStr>) -> Result<Vec<Chain<'a>>, Failure> {
    let named = path.and_then(source_in).filter(|source| held.sources().contains(source.as_str()));
    held.chains(&|other| named.as_deref().is_none_or(|named| named == other)).map_err(|error| failure(&error))
}

fn found(held: &ShelvedRun<'_>, chains: &[Chain<'_>], asked: &OsStr) -> Result<Vec<Pick>, Failure> {
    let all: Vec<&Chain<'_>> = chains.iter().collect();
    let paths = Paths::of(held, &[]);
    let picks = paths.found(&all, asked).map_err(|error| failure(&error))?;
    picks.ok_or_else(|| absent(&paths, &all, asked))
}

fn absent(paths: &Paths, chains: &[&Chain<'_>], asked: &OsStr) -> Failure {
    failure(&paths.absent(chains, asked).unwrap_or_else(|error| error))
}

fn must_be_file(entry: &Entry) -> Result<(), Failure> {
    let what = match entry.kind {
        Kind::File | Kind::HardLink => return Ok(()),
        Kind::Directory => "a folder",
        Kind::Symlink => "a symbolic link",
        Kind::Fifo => "a named pipe",
        Kind::CharDevice | Kind::BlockDevice => "a device",
    };
    Err(failure(&BackupsError::NotFile { path: printable(&entry.path), what }))
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
