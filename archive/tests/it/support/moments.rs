//! One tree at several moments, packed at each in every way there is: whole with members copied from the artefact before,
//! as the difference from the moment before, and as the difference from the first.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use backplan_archive::artefact::{
    BaseIndex, BaseScan, Codec, Content, CopyBase, Depth, Grains, Input, PackError, PackOptions, Packed,
    Shape, Sink, SinkError, View, pack, verify,
};
use backplan_archive::extract::extract;
use backplan_archive::scan::{Doubts, scan};
use backplan_compiler::model::{Compare, Files};
use backplan_host::control::Control;

use super::evolve::view;
use super::{Bytes, assert_same, everything, files, open, options, snapshot, trees};

/// How a source is compared, and what it is.
pub struct Moments {
    pub scratch: tempfile::TempDir,
    pub files: Files,
    pub compare: Compare,
    /// Files that changed this recently are racy; a test of those does not wait.
    pub wait: Duration,
    /// Also with GNU tar.
    pub with_tar: bool,
    pub share_blocks: bool,
    /// Of large files, differences hold what changed.
    pub blocks: bool,
    pub codec: Codec,
    scans: Vec<PathBuf>,
    /// Of each way, by moment: artefact, what was packed.
    pub whole: Vec<(Vec<u8>, Packed)>,
    pub previous: Vec<(Vec<u8>, Packed)>,
    pub full: Vec<(Vec<u8>, Packed)>,
}

/// A file that takes ranges of others as they are on disk.
struct SharingFile(File);

impl Sink for SharingFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        Ok(self.0.write_all(bytes)?)
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        Ok(self.0.write_all_at(bytes, offset)?)
    }

    fn copy_from(&mut self, from: &File, mut offset: u64, len: u64) -> Result<(), SinkError> {
        let mut end = self.0.stream_position()?;
        let mut left = len as usize;
        while left > 0 {
            left -= rustix::fs::copy_file_range(from, Some(&mut offset), &self.0, Some(&mut end), left)?;
        }
        self.0.seek(SeekFrom::Start(end))?;
        Ok(())
    }
}

pub fn doubts(packed: &Packed) -> Doubts {
    packed.sources[0].doubts.clone()
}

/// The script of the documentation.
fn apply_script() -> String {
    let docs = include_str!("../../../../docs/artefact.md");
    let (_, from) = docs.split_once("```python\n").unwrap();
    from.split_once("```").unwrap().0.to_owned()
}

impl Moments {
    pub fn new(make: impl FnOnce(&Path)) -> Moments {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        make(&tree);
        let files = files(&[&tree], &[]);
        Moments {
            scratch,
            files,
            compare: Compare::Mtime,
            wait: Duration::from_millis(130),
            with_tar: true,
            share_blocks: false,
            blocks: false,
            codec: Codec::Gzip,
            scans: Vec::new(),
            whole: Vec::new(),
            previous: Vec::new(),
            full: Vec::new(),
        }
    }

    pub fn tree(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }

    pub fn options(&self, shape: Shape) -> PackOptions {
        PackOptions {
            shape,
            share_blocks: self.share_blocks,
            codec: self.codec,
            ..options(self.scratch.path())
        }
    }

    /// Walks; the scan becomes the newest.
    pub fn scan(&mut self) {
        std::thread::sleep(self.wait);
        let out = self.scratch.path().join(format!("{}.scan", self.scans.len()));
        scan(&trees("s", self.files.clone()), &out, &Control::default()).unwrap();
        self.scans.push(out);
    }

    pub fn input(&self, base: Option<(usize, Doubts)>) -> Input {
        let base = base.map(|(moment, doubts)| BaseScan {
            scan: self.scans[moment].clone(),
            doubts,
            compare: self.compare,
        });
        Input {
            source: "s".to_string(),
            content: Content::Scan { scan: self.scans.last().unwrap().clone(), base },
        }
    }

    pub fn pack(&self, base: Option<(usize, Doubts)>, shape: Shape) -> Result<(Vec<u8>, Packed), PackError> {
        let mut sink = Bytes::default();
        let packed = pack(vec![self.input(base)], &self.options(shape), &mut sink, &Control::default())?;
        let bytes = std::mem::take(&mut *sink.0.lock().unwrap());
        Ok((bytes, packed))
    }

    pub fn copy_base(&self) -> CopyBase {
        self.copy_base_of(self.whole.len() - 1)
    }

    pub fn copy_base_of(&self, moment: usize) -> CopyBase {
        CopyBase { artefact: Arc::new(open(&self.whole[moment].0)), file: None }
    }

    /// Packs the newest scan into a file, which can share blocks with the base's.
    pub fn pack_to(&self, base: Option<(usize, Doubts)>, copy_from: CopyBase, to: &Path) -> Packed {
        let options = self.options(Shape::Whole { copy_from: Some(copy_from) });
        let mut sink = SharingFile(File::create(to).unwrap());
        pack(vec![self.input(base)], &options, &mut sink, &Control::default()).unwrap()
    }

    /// Where what is known of large files is kept; `base` is whose records of the source are the base's.
    fn grains(&self, way: &str, moment: usize, base: Option<(&str, usize)>) -> Option<Grains> {
        let folder = |way: &str, moment: usize| self.scratch.path().join(format!("grains-{way}-{moment}"));
        std::fs::create_dir_all(folder(way, moment)).unwrap();
        let file = |(way, moment)| ("s".to_owned(), folder(way, moment).join("s.grains"));
        let earlier = base.map(file).into_iter().collect();
        self.blocks.then(|| Grains { folder: folder(way, moment), earlier })
    }

    /// Packs the newest scan as a difference.
    fn difference(
        &self,
        base: Arc<dyn BaseIndex>,
        known: (usize, Doubts),
        grains: Option<Grains>,
    ) -> (Vec<u8>, Packed) {
        let options = PackOptions { grains, ..self.options(Shape::Difference { base: Some(base) }) };
        let mut sink = Bytes::default();
        let packed = pack(vec![self.input(Some(known))], &options, &mut sink, &Control::default()).unwrap();
        let bytes = std::mem::take(&mut *sink.0.lock().unwrap());
        (bytes, packed)
    }

    /// Packs the newest scan in every way.
    pub fn pack_all(&mut self) {
        let Some(last) = self.scans.len().checked_sub(2) else {
            let options = PackOptions {
                grains: self.grains("full", 0, None),
                ..self.options(Shape::Whole { copy_from: None })
            };
            let mut sink = Bytes::default();
            let packed = pack(vec![self.input(None)], &options, &mut sink, &Control::default()).unwrap();
            let first = (std::mem::take(&mut *sink.0.lock().unwrap()), packed);
            self.whole.push(first.clone());
            self.previous.push(first.clone());
            self.full.push(first);
            return;
        };
        let shape = Shape::Whole { copy_from: Some(self.copy_base()) };
        let whole = self.pack(Some((last, doubts(&self.whole[last].1))), shape).unwrap();
        let way = if last == 0 { "full" } else { "previous" };
        let grains = self.grains("previous", last + 1, Some((way, last)));
        let known = (last, doubts(&self.previous[last].1));
        let previous = self.difference(Arc::new(self.layers(last)), known, grains);
        let grains = self.grains("full", last + 1, Some(("full", 0)));
        let full = self.difference(Arc::new(open(&self.full[0].0)), (0, doubts(&self.full[0].1)), grains);
        self.whole.push(whole);
        self.previous.push(previous);
        self.full.push(full);
    }

    fn layers(&self, moment: usize) -> View {
        let layers: Vec<Vec<u8>> = self.previous[..=moment].iter().map(|(bytes, _)| bytes.clone()).collect();
        view(&layers)
    }

    /// The tree as it is, packed in every way, comes back from each.
    pub fn check(&mut self) -> &mut Moments {
        self.scan();
        self.pack_all();
        self.check_restored();
        self
    }

    pub fn check_restored(&self) {
        let now = self.whole.len() - 1;
        let (whole, packed) = &self.whole[now];
        let report = verify(&open(whole), Depth::Entries, &Control::default()).unwrap();
        assert_eq!(report.damage, []);
        assert!(packed.sha256.is_none_or(|sum| sum == report.sha256));
        assert_eq!(packed.sources[0].entries, report.entries);
        let full = vec![self.full[0].0.clone(), self.full[now].0.clone()];
        let views = [
            ("whole", View::from(open(whole))),
            ("previous", self.layers(now)),
            ("full", view(if now == 0 { &full[..1] } else { &full })),
        ];
        let expected = snapshot(&self.tree(), false);
        for (way, view) in views {
            let to = tempfile::tempdir_in(self.scratch.path()).unwrap();
            let done = extract(&view, &everything("s", to.path()), &Control::default()).unwrap();
            assert_eq!(done.problems, [], "{way}");
            eprintln!("{way} {now}");
            assert_same(&expected, &snapshot(&to.path().join("tree"), false));
        }
        if self.with_tar {
            let previous: Vec<&[u8]> = self.previous.iter().map(|(bytes, _)| &bytes[..]).collect();
            self.tar(&[whole]);
            self.tar(&previous);
            self.tar(&[&self.full[0].0[..], &self.full[now].0[..]][..=usize::from(now > 0)]);
        }
    }

    /// As the documentation says it is done without Backplan.
    fn tar(&self, layers: &[&[u8]]) {
        let to = tempfile::tempdir_in(self.scratch.path()).unwrap();
        for (number, bytes) in layers.iter().enumerate() {
            std::fs::write(self.scratch.path().join("layer"), bytes).unwrap();
            let clear = "tar -xf ../layer -O .backplan/deleted | xargs -0 rm -rf --";
            let lay = "tar -P --xattrs --xattrs-include='*' --acls --same-owner -xpf ../layer";
            std::fs::write(self.scratch.path().join("apply.py"), apply_script()).unwrap();
            // Python has no zstd of its own.
            let apply = match open(bytes).codec() {
                Codec::Gzip => "python3 ../apply.py ../layer && rm -rf .backplan/changed",
                Codec::Zstd => {
                    "zstd -dqfo ../layer.tar < ../layer && python3 ../apply.py ../layer.tar && rm -rf .backplan/changed"
                }
            };
            let is_last = number + 1 == layers.len();
            let test = match open(bytes).codec() {
                Codec::Zstd if is_last => "zstd -tq < ../layer",
                _ => "true",
            };
            let scripts = [(number > 0, clear), (true, lay), (self.blocks, apply), (is_last, test)];
            for (_, script) in scripts.iter().filter(|(is_wanted, _)| *is_wanted) {
                let output =
                    Command::new("sh").args(["-ec", script]).current_dir(to.path()).output().unwrap();
                assert!(output.status.success(), "{script}");
            }
        }
        eprintln!("tar, {} layers", layers.len());
        assert_same(&snapshot(&self.tree(), true), &snapshot(&to.path().join("s/tree"), true));
    }

    /// What the newest difference from the moment before holds, without what is the artefact's own.
    pub fn held(&self) -> Vec<String> {
        let artefact = open(&self.previous.last().unwrap().0);
        let paths = artefact.entries().map(|entry| String::from_utf8(entry.unwrap().path).unwrap());
        paths.filter(|path| !path.starts_with(".backplan")).collect()
    }

    /// What the newest difference from the moment before takes away.
    pub fn deleted(&self) -> Vec<String> {
        let artefact = open(&self.previous.last().unwrap().0);
        let list = artefact.deleted().unwrap().unwrap();
        list.paths().map(|path| String::from_utf8(path.to_vec()).unwrap()).collect()
    }
}
