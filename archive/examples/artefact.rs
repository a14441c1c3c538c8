//! Packs, lists, reads, checks and extracts artefacts from the command line: for measuring, and for trying the format out
//! against other programs.
//!
//! ```text
//! artefact pack LEVEL OUT PATH…      artefact ls ARTEFACT [PATH]        artefact cat ARTEFACT PATH
//! artefact verify ARTEFACT [deep]    artefact extract ARTEFACT DIR
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use backplan_archive::artefact::{
    Artefact, Codec, Content, Depth, Input, PackOptions, ReadAt, Shape, Sink, SinkError, View, pack, verify,
};
use backplan_archive::extract::{Existing, Extraction, Target, extract};
use backplan_archive::scan::{Trees, scan};
use backplan_compiler::model::{Compare, Files, FilesPath};
use backplan_compiler::sources::{FileId, Place};
use backplan_grammar::Span;
use backplan_host::control::Control;

struct ToFile(File);

impl Sink for ToFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        Ok(self.0.write_all(bytes)?)
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        Ok(self.0.write_all_at(bytes, offset)?)
    }
}

struct FromFile(File);

impl ReadAt for FromFile {
    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match self.0.read_at(&mut bytes[done..], offset + done as u64)? {
                0 => break,
                read => done += read,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }
}

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let began = Instant::now();
    match words.as_slice() {
        ["pack", level, out, paths @ ..] => pack_paths(level.parse()?, Path::new(out), paths)?,
        ["ls", artefact] => list(artefact, "")?,
        ["ls", artefact, path] => list(artefact, path)?,
        ["cat", artefact, path] => cat(artefact, path)?,
        ["verify", artefact, rest @ ..] => check(artefact, !rest.is_empty())?,
        ["extract", artefact, to] => put_back(artefact, to)?,
        _ => return Err("see the top of this example for its arguments".into()),
    }
    eprintln!("{:.3} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn pack_paths(level: u8, out: &Path, paths: &[&str]) -> Outcome {
    let scratch = out.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let scan_file = out.with_extension("scan");
    let place = Place { file: FileId(0), span: Span { start: 0, end: 0 } };
    let entry = |path: &&str| {
        let absolute = std::path::absolute(path)?;
        let inside = absolute.strip_prefix("/").unwrap_or(&absolute).to_path_buf();
        Ok(FilesPath { place, absolute, inside })
    };
    let files = Files {
        paths: paths.iter().map(entry).collect::<std::io::Result<_>>()?,
        exclude: Vec::new(),
        exclude_caches: false,
        one_file_system: false,
        max_file_size: None,
        compare: Compare::Mtime,
        root: None,
    };
    let control = Control::default();
    let began = Instant::now();
    let seen = scan(
        &Trees { source: "files".to_string(), files, optional: false, strict: true, mounts: Vec::new() },
        &scan_file,
        &control,
    )?;
    eprintln!("scan: {} entries in {:.3} s", seen.entries, began.elapsed().as_secs_f64());
    let run = "00000001-20260101T000000Z-abcdef".to_string();
    let options = PackOptions {
        level,
        run,
        scratch,
        workers: None,
        shape: Shape::Whole { copy_from: None },
        share_blocks: false,
        grains: None,
        codec: Codec::Gzip,
        is_copied: false,
        deleted: None,
        recipients: Vec::new(),
    };
    let inputs = vec![Input {
        source: "files".to_string(),
        content: Content::Scan { scan: scan_file.clone(), base: None },
    }];
    let packed = pack(inputs, &options, &mut ToFile(File::create(out)?), &control)?;
    for warning in packed.sources.iter().flat_map(|source| source.warnings.kept()) {
        eprintln!("warning: {warning}");
    }
    eprintln!("{} bytes, {} members, root {}", packed.size, packed.members, packed.root);
    std::fs::remove_file(scan_file)?;
    Ok(())
}

fn open(artefact: &str) -> Result<Artefact, Box<dyn Error>> {
    Ok(Artefact::open(Arc::new(FromFile(File::open(artefact)?)), None)?)
}

fn list(artefact: &str, path: &str) -> Outcome {
    let artefact = open(artefact)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in artefact.below(path.as_bytes()) {
        let entry = entry?;
        out.write_all(&entry.path)?;
        writeln!(out, "\t{:?}\t{:o}\t{}", entry.kind, entry.mode, entry.size)?;
    }
    Ok(())
}

fn cat(artefact: &str, path: &str) -> Outcome {
    let artefact = open(artefact)?;
    let entry = artefact.find(path.as_bytes())?.ok_or("no such entry")?;
    artefact.cat(&entry, &mut std::io::stdout().lock(), &Control::default())?;
    Ok(())
}

fn check(artefact: &str, deep: bool) -> Outcome {
    let depth = if deep { Depth::Entries } else { Depth::Hashes };
    let report = verify(&open(artefact)?, depth, &Control::default())?;
    eprintln!("{} members, {} entries", report.members, report.entries);
    for damage in &report.damage {
        eprintln!("{damage:?}");
    }
    if report.damage.is_empty() { Ok(()) } else { Err("damaged".into()) }
}

fn put_back(artefact: &str, to: &str) -> Outcome {
    let extraction = Extraction {
        targets: vec![Target::folder(b"", Path::new(to))],
        only: Vec::new(),
        existing: Existing::Keep,
        owners: None,
        sync: true,
        workers: None,
    };
    let extracted = extract(&View::from(open(artefact)?), &extraction, &Control::default())?;
    eprintln!(
        "{} entries, {} bytes, {} problems",
        extracted.entries, extracted.bytes, extracted.problem_count
    );
    for problem in &extracted.problems {
        eprintln!("{:?}: {}", problem.kind, problem.what);
    }
    Ok(())
}
