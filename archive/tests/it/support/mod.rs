//! What the tests of artefacts share: packing into memory, nasty trees, and comparing trees to the last attribute.

#![allow(clippy::unwrap_used, dead_code, missing_docs, reason = "tests of two crates each use a part")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use backplan_archive::artefact::{
    Artefact, Codec, Content, Input, PackError, PackOptions, Packed, ReadAt, Shape, Sink, SinkError, pack,
};
use backplan_archive::extract::{self, Existing, Extracted, Extraction, Pick, Target, extract};
use backplan_archive::scan::{Trees, scan};
use backplan_compiler::model::{Compare, Files, FilesPath, Pattern};
use backplan_compiler::sources::{FileId, Place};
use backplan_grammar::Span;
use backplan_host::control::Control;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, XattrFlags, openat, statx};

pub mod evolve;
pub mod moments;
pub mod reflink;

pub const RUN: &str = "00000042-20261120T023000Z-k7f3qa";

pub fn place() -> Place {
    Place { file: FileId(0), span: Span { start: 0, end: 0 } }
}

/// A declaration whose trees are recorded under their last name.
pub fn files(paths: &[&Path], exclude: &[&str]) -> Files {
    let path = |path: &&Path| FilesPath {
        place: place(),
        absolute: path.to_path_buf(),
        inside: PathBuf::from(path.file_name().unwrap()),
    };
    Files {
        paths: paths.iter().map(path).collect(),
        exclude: exclude.iter().map(|text| Pattern { place: place(), text: (*text).to_string() }).collect(),
        exclude_caches: false,
        one_file_system: false,
        max_file_size: None,
        compare: Compare::Mtime,
        root: None,
    }
}

pub fn trees(source: &str, files: Files) -> Trees {
    Trees { source: source.to_string(), files, optional: false, strict: true, mounts: Vec::new() }
}

#[derive(Clone, Default)]
pub struct Bytes(pub Arc<Mutex<Vec<u8>>>);

impl Bytes {
    pub fn of(bytes: Vec<u8>) -> Arc<Bytes> {
        Arc::new(Bytes(Arc::new(Mutex::new(bytes))))
    }
}

impl Sink for Bytes {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        self.0.lock().unwrap()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for Bytes {
    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        let bytes = self.0.lock().unwrap();
        let from = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        Ok(from[..len.min(from.len())].to_vec())
    }
}

pub fn options(scratch: &Path) -> PackOptions {
    PackOptions {
        level: 6,
        run: RUN.to_string(),
        scratch: scratch.to_path_buf(),
        workers: Some(2),
        shape: Shape::Whole { copy_from: None },
        share_blocks: false,
        grains: None,
        codec: Codec::Gzip,
        is_copied: false,
        deleted: None,
        recipients: Vec::new(),
    }
}

pub fn scanned(scratch: &Path, source: &str, files: Files) -> Input {
    let out = scratch.join(format!("{source}.scan"));
    scan(&trees(source, files), &out, &Control::default()).unwrap();
    Input { source: source.to_string(), content: Content::Scan { scan: out, base: None } }
}

pub fn pack_all(inputs: Vec<Input>, scratch: &Path) -> Result<(Vec<u8>, Packed), PackError> {
    let mut sink = Bytes::default();
    let packed = pack(inputs, &options(scratch), &mut sink, &Control::default())?;
    let bytes = std::mem::take(&mut *sink.0.lock().unwrap());
    Ok((bytes, packed))
}

/// Packs one tree as source `s`.
pub fn pack_tree(tree: &Path, scratch: &Path) -> (Vec<u8>, Packed) {
    pack_all(vec![scanned(scratch, "s", files(&[tree], &[]))], scratch).unwrap()
}

pub fn open(bytes: &[u8]) -> Artefact {
    Artefact::open(Bytes::of(bytes.to_vec()), None).unwrap()
}

pub fn everything(prefix: &str, to: &Path) -> Extraction {
    Extraction {
        targets: vec![Target::folder(prefix.as_bytes(), to)],
        only: Vec::new(),
        existing: Existing::Keep,
        owners: None,
        sync: false,
        workers: Some(2),
    }
}

/// A pattern, from the top, from a source, or from a path below it.
pub fn pattern(text: &str, below: &str) -> Pick {
    let anchors = [b"".to_vec(), b"s".to_vec(), below.as_bytes().to_vec()];
    Pick::Pattern(extract::Pattern::new(text, anchors.into()))
}

pub fn extract_all(bytes: &[u8], prefix: &str, to: &Path) -> Extracted {
    extract(&open(bytes).into(), &everything(prefix, to), &Control::default()).unwrap()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Bytes that neither compress nor repeat.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

pub fn text(length: usize) -> Vec<u8> {
    b"all work and no play makes jack a dull boy\n".iter().copied().cycle().take(length).collect()
}

fn set_time(path: &Path, seconds: i64, nanos: u32) {
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// All that makes a file a file. With `beyond_path_max`, also what GNU tar cannot reach.
pub fn nasty(top: &Path, beyond_path_max: bool) {
    std::fs::create_dir_all(top).unwrap();
    names(top);
    sizes(top);
    links(top);
    modes_and_times(top);
    attributes(top);
    if is_root() {
        special(top);
    }
    long(top, beyond_path_max);
    let sparse = File::create(top.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    sparse.write_all_at(&noise(70_000, 1), 1 << 20).unwrap();
    sparse.write_all_at(&text(2 << 20), 20 << 20).unwrap();
    File::create(top.join("hole")).unwrap().set_len(5 << 20).unwrap();
    let small = File::create(top.join("sparse small")).unwrap();
    small.set_len(300_000).unwrap();
    small.write_all_at(b"end", 299_997).unwrap();
    set_time(top, 1_500_000_000, 123_456_789);
}

fn names(top: &Path) {
    let folder = top.join("names");
    std::fs::create_dir(&folder).unwrap();
    let names: [&[u8]; 14] = [
        b"plain",
        b"with space",
        b"new\nline",
        b"tab\t\"quote'\\",
        b"\xff\xfe invalid",
        "gr\u{fc}\u{df}e".as_bytes(),
        b"-rf",
        b"*",
        b" ",
        b"trailing. ",
        b"a=b",
        b"\x01\x1b[31m",
        &[b'n'; 255],
        &[0xe9; 200],
    ];
    for name in names {
        std::fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
    }
    // Component-wise order differs from that of the bytes here.
    for name in ["a/x", "a.b/x", "a-b/x", "a0/x"] {
        let path = folder.join("order").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
}

fn sizes(top: &Path) {
    let folder = top.join("sizes");
    std::fs::create_dir_all(folder.join("empty folder")).unwrap();
    let piece = 512 << 10;
    for size in [0, 1, 511, 512, 513, piece - 1, piece, piece + 1, 2 * piece, 2 * piece + 1, 5 * piece + 77] {
        std::fs::write(folder.join(format!("text {size}")), text(size)).unwrap();
        std::fs::write(folder.join(format!("noise {size}")), noise(size, size as u64)).unwrap();
    }
    for number in 0..1500 {
        std::fs::write(folder.join(format!("tiny {number}")), format!("{number}")).unwrap();
    }
}

fn links(top: &Path) {
    let folder = top.join("links");
    std::fs::create_dir_all(folder.join("z")).unwrap();
    std::fs::write(folder.join("first"), "several names").unwrap();
    std::fs::hard_link(folder.join("first"), folder.join("second")).unwrap();
    std::fs::hard_link(folder.join("first"), folder.join("z/third")).unwrap();
    std::fs::write(folder.join("large"), noise(1_300_000, 9)).unwrap();
    std::fs::hard_link(folder.join("large"), folder.join("z/large too")).unwrap();
    for (name, target) in
        [("dangling", "nowhere"), ("up", "../.."), ("absolute", "/etc/passwd"), ("folder", "z")]
    {
        std::os::unix::fs::symlink(target, folder.join(name)).unwrap();
        set_time(&folder.join(name), 1_234_567_890, 5);
    }
    std::os::unix::fs::symlink("x/".repeat(600), folder.join("long")).unwrap();
    std::os::unix::fs::symlink(OsStr::from_bytes(b"\xff\xfe"), folder.join("odd")).unwrap();
    set_time(&folder, 1_400_000_000, 1);
}

fn modes_and_times(top: &Path) {
    let folder = top.join("modes");
    std::fs::create_dir(&folder).unwrap();
    // What only root can read, and what loses its meaning without an owner, is not for others.
    let for_root: &[u32] = if is_root() { &[0o000, 0o2755, 0o4755, 0o6711] } else { &[] };
    for mode in [0o444, 0o600, 0o755, 0o777, 0o1755].iter().chain(for_root) {
        let path = folder.join(format!("{mode:o}"));
        std::fs::write(&path, "x").unwrap();
        set_mode(&path, *mode);
    }
    let times = [
        ("old", -86_400, 1),
        ("nanos", 1_700_000_000, 999_999_999),
        ("far", 15_000_000_000, 0),
        ("zero", 0, 0),
    ];
    for (name, seconds, nanos) in times {
        std::fs::write(folder.join(name), name).unwrap();
        set_time(&folder.join(name), seconds, nanos);
    }
    let closed = folder.join("read only");
    std::fs::create_dir(&closed).unwrap();
    std::fs::write(closed.join("inside"), "x").unwrap();
    set_mode(&closed, 0o555);
    let sticky = folder.join("sticky");
    std::fs::create_dir(&sticky).unwrap();
    set_mode(&sticky, 0o3777);
    set_time(&sticky, 1_600_000_000, 7);
}

fn attributes(top: &Path) {
    let folder = top.join("attributes");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "x").unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
    };
    set(&folder.join("file"), "user.plain", b"value");
    set(&folder.join("file"), "user.odd", b"\0\n=\xff");
    set(&folder.join("file"), "user.empty", b"");
    set(&folder, "user.folder", b"too");
    let acl = |arguments: &[&str], path: &Path| {
        let status = Command::new("setfacl").args(arguments).arg(path).status().unwrap();
        assert!(status.success());
    };
    std::fs::write(folder.join("acl"), "x").unwrap();
    acl(&["-m", "u:1234:rwx,g:4321:r-x,m::rwx"], &folder.join("acl"));
    std::fs::create_dir(folder.join("default acl")).unwrap();
    acl(&["-d", "-m", "u:1234:rwx,g::r-x"], &folder.join("default acl"));
}

fn special(top: &Path) {
    let folder = top.join("special");
    std::fs::create_dir(&folder).unwrap();
    let node = |name: &str, kind, major, minor| {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, folder.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    node("pipe", FileType::Fifo, 0, 0);
    node("null", FileType::CharacterDevice, 1, 3);
    node("loop", FileType::BlockDevice, 7, 300);
    node("socket", FileType::Socket, 0, 0);
    for (name, uid, gid) in [("owned", 1234, 4321), ("largest", 4_000_000_000, 3_000_000)] {
        std::fs::write(folder.join(name), "x").unwrap();
        std::os::unix::fs::lchown(folder.join(name), Some(uid), Some(gid)).unwrap();
    }
    std::fs::write(folder.join("setuid owned"), "x").unwrap();
    std::os::unix::fs::lchown(folder.join("setuid owned"), Some(1234), Some(4321)).unwrap();
    set_mode(&folder.join("setuid owned"), 0o6755);
    std::os::unix::fs::symlink("x", folder.join("link owned")).unwrap();
    std::os::unix::fs::lchown(folder.join("link owned"), Some(1234), Some(4321)).unwrap();
    let trusted = |path: &Path, value: &[u8]| {
        rustix::fs::lsetxattr(path, "trusted.test", value, XattrFlags::empty()).unwrap();
    };
    trusted(&folder.join("owned"), b"1");
    trusted(&folder.join("link owned"), b"2");
    trusted(&folder.join("pipe"), b"3");
}

fn long(top: &Path, beyond_path_max: bool) {
    let levels = if beyond_path_max { 120 } else { 12 };
    let mut folder = openat(CWD, top, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for level in 0..levels {
        let name = format!("{level:0100}");
        rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = openat(&folder, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let file = openat(&folder, "at the end", flags, Mode::RUSR | Mode::WUSR).unwrap();
    File::from(file).write_all(b"deep").unwrap();
    rustix::fs::symlinkat("x", &folder, "link").unwrap();
}

/// What a tree is, by path.
pub type Snapshot = BTreeMap<OsString, String>;

/// Describes everything below `top`, itself included; times in whole seconds if `whole_seconds`.
pub fn snapshot(top: &Path, whole_seconds: bool) -> Snapshot {
    let mut tree = Snapshot::new();
    let folder = openat(CWD, top, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
    describe(&folder, Vec::new(), &mut tree, &mut HashMap::new(), whole_seconds);
    tree
}

fn describe(
    handle: &OwnedFd,
    path: Vec<u8>,
    tree: &mut Snapshot,
    inodes: &mut HashMap<u64, OsString>,
    whole_seconds: bool,
) {
    let seen = statx(handle, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).unwrap();
    let kind = FileType::from_raw_mode(seen.stx_mode.into());
    if kind == FileType::Socket {
        return;
    }
    let name = OsString::from_vec(path.clone());
    let proc_path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let mut text = format!("{kind:?} {:o} {}:{}", seen.stx_mode, seen.stx_uid, seen.stx_gid);
    text += &format!(" {}", seen.stx_mtime.tv_sec);
    if !whole_seconds {
        text += &format!(".{:09}", seen.stx_mtime.tv_nsec);
    }
    text += &format!(" rdev {}:{}", seen.stx_rdev_major, seen.stx_rdev_minor);
    let mut names = [0; 4096];
    let length = rustix::fs::listxattr(proc_path.as_str(), &mut names).unwrap_or(0);
    let mut names: Vec<&[u8]> =
        names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    for name in names {
        let mut value = [0; 4096];
        let length = rustix::fs::getxattr(proc_path.as_str(), name, &mut value).unwrap();
        text += &format!(" {}={}", name.escape_ascii(), value[..length].escape_ascii());
    }
    match kind {
        FileType::RegularFile => {
            let contents = std::fs::read(&proc_path).unwrap();
            text += &format!(" {} {}", contents.len(), blake3::hash(&contents));
            if seen.stx_nlink > 1 {
                let first = inodes.entry(seen.stx_ino).or_insert_with(|| name.clone());
                text += &format!(" same as {first:?}");
            }
        }
        FileType::Symlink => {
            text += &format!(" -> {:?}", rustix::fs::readlinkat(handle, c"", Vec::new()).unwrap());
        }
        FileType::Directory => {
            let mut children: Vec<OsString> =
                std::fs::read_dir(&proc_path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            children.sort();
            for child in children {
                let inner = openat(handle, &child, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
                let mut inner_path = path.clone();
                if !inner_path.is_empty() {
                    inner_path.push(b'/');
                }
                inner_path.extend_from_slice(child.as_bytes());
                describe(&inner, inner_path, tree, inodes, whole_seconds);
            }
        }
        _ => {}
    }
    tree.insert(name, text);
}

/// Fails with the differences between two trees.
pub fn assert_same(expected: &Snapshot, found: &Snapshot) {
    let mut differences = Vec::new();
    for (path, what) in expected {
        match found.get(path) {
            Some(other) if other == what => {}
            other => differences.push(format!("{path:?}\n  was {what}\n  is  {other:?}")),
        }
    }
    differences.extend(
        found.keys().filter(|path| !expected.contains_key(*path)).map(|path| format!("{path:?} is new")),
    );
    differences.truncate(10);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
