//! Packs trees in regard to an earlier artefact, from the command line: for measuring.
//!
//! ```text
//! increment full LEVEL OUT PATH…                  a whole artefact; leaves OUT.scan and OUT.doubts beside it
//! increment whole LEVEL BASE OUT PATH…            a whole one, with members copied from BASE
//! increment difference LEVEL BASE OUT PATH…       what changed since BASE
//! increment changes BASE OUT PATH…                only finds out what changed; leaves OUT.scan
//! increment walk PATH…                            only walks
//! ```
//!
//! With `SHARE` in the environment, members are padded and shared.

use std::error::Error;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use backplan_archive::artefact::{
    Artefact, BaseScan, Codec, Content, CopyBase, Input, PackOptions, ReadAt, Shape, Sink, SinkError,
    pack_changes, plan_changes,
};
use backplan_archive::scan::{Doubts, Trees, measure, scan};
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

    fn copy_from(&mut self, from: &File, mut offset: u64, len: u64) -> Result<(), SinkError> {
        let end = self.0.stream_position()?;
        let (mut to, mut left) = (end, len);
        while left > 0 {
            match rustix::fs::copy_file_range(from, Some(&mut offset), &self.0, Some(&mut to), left as usize)?
            {
                0 => return Err("the base ended early".into()),
                copied => left -= copied as u64,
            }
        }
        self.0.seek(SeekFrom::Start(to))?;
        Ok(())
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
        ["full", level, out, paths @ ..] => run(level.parse()?, None, out, paths, false)?,
        ["whole", level, base, out, paths @ ..] => run(level.parse()?, Some(base), out, paths, false)?,
        ["difference", level, base, out, paths @ ..] => run(level.parse()?, Some(base), out, paths, true)?,
        ["changes", base, out, paths @ ..] => changes(base, out, paths)?,
        ["walk", paths @ ..] => {
            measure(&trees(paths)?, &Control::default())?;
        }
        _ => return Err("see the top of this example for its arguments".into()),
    }
    eprintln!("{:.3} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn trees(paths: &[&str]) -> Result<Trees, Box<dyn Error>> {
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
    Ok(Trees { source: "files".to_string(), files, optional: false, strict: true, mounts: Vec::new() })
}

fn with(path: &str, ending: &str) -> PathBuf {
    PathBuf::from(format!("{path}.{ending}"))
}

/// Walks, and gives what there is to pack.
fn input(base: Option<&str>, out: &str, paths: &[&str]) -> Result<Input, Box<dyn Error>> {
    let scan_file = with(out, "scan");
    let began = Instant::now();
    let seen = scan(&trees(paths)?, &scan_file, &Control::default())?;
    eprintln!("scan: {} entries in {:.3} s", seen.entries, began.elapsed().as_secs_f64());
    let of_base = |base: &str| -> Result<BaseScan, Box<dyn Error>> {
        let doubts = Doubts::read(&with(base, "doubts"))?;
        Ok(BaseScan { scan: with(base, "scan"), doubts, compare: Compare::Mtime })
    };
    let base = base.map(of_base).transpose()?;
    Ok(Input { source: "files".to_string(), content: Content::Scan { scan: scan_file, base } })
}

fn options(level: u8, out: &str, shape: Shape) -> PackOptions {
    let scratch = Path::new(out).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let run = "00000001-20260101T000000Z-abcdef".to_string();
    let share_blocks = std::env::var_os("SHARE").is_some();
    PackOptions {
        level,
        run,
        scratch,
        workers: None,
        shape,
        share_blocks,
        grains: None,
        codec: Codec::Gzip,
        is_copied: true,
        deleted: None,
        recipients: Vec::new(),
    }
}

fn changes(base: &str, out: &str, paths: &[&str]) -> Outcome {
    let input = input(Some(base), out, paths)?;
    let began = Instant::now();
    let options = options(6, out, Shape::Difference { base: None });
    let found = plan_changes(&[input], &options, &Control::default())?;
    eprintln!("compare: {:.3} s; {:?}", began.elapsed().as_secs_f64(), found.counts());
    Ok(())
}

fn run(level: u8, base: Option<&str>, out: &str, paths: &[&str], is_difference: bool) -> Outcome {
    let control = Control::default();
    let input = input(base, out, paths)?;
    let open = |base: &str| -> Result<CopyBase, Box<dyn Error>> {
        let artefact = Arc::new(Artefact::open(Arc::new(FromFile(File::open(base)?)), None)?);
        Ok(CopyBase { artefact, file: Some(Arc::new(File::open(base)?)) })
    };
    let shape = match base {
        Some(_) if is_difference => Shape::Difference { base: None },
        Some(base) => Shape::Whole { copy_from: Some(open(base)?) },
        None => Shape::Whole { copy_from: None },
    };
    let options = options(level, out, shape);
    let began = Instant::now();
    let inputs = vec![input];
    let found = plan_changes(&inputs, &options, &control)?;
    eprintln!("compare: {:.3} s; {:?}", began.elapsed().as_secs_f64(), found.counts());
    let packed = pack_changes(inputs, found, &options, &mut ToFile(File::create(out)?), &control)?;
    for warning in packed.sources.iter().flat_map(|source| source.warnings.kept()) {
        eprintln!("warning: {warning}");
    }
    eprintln!(
        "{} bytes, {} of them copied; read {}; {} doubts; {} members",
        packed.size,
        packed.copied,
        packed.sources[0].bytes,
        packed.sources[0].doubts.len(),
        packed.members
    );
    packed.sources[0].doubts.write(&with(out, "doubts"))?;
    Ok(())
}
