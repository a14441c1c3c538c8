//! What is packed comes back, by this program's own reader and by those that everybody has.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{assert_same, extract_all, is_root, nasty, open, pack_all, pack_tree, snapshot};
use backplan_archive::artefact::{Content, Depth, Flags, Input, Kind, verify};
use backplan_host::control::Control;
use sha2::Digest;

fn run(program: &str, arguments: &[&str], folder: &Path, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {words}");
    let harmless = ["in the future", "implausibly old", "keyword 'hdrcharset'"];
    let told =
        words.lines().find(|line| !line.is_empty() && !harmless.iter().any(|text| line.contains(text)));
    assert_eq!(told, None, "{program}");
    output.stdout
}

#[test]
fn a_nasty_tree_comes_back_exactly() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, true);
    let before = snapshot(&tree, false);
    let (bytes, packed) = pack_tree(&tree, scratch.path());
    assert_eq!(packed.sources[0].warnings.kept(), []);
    let artefact = open(&bytes);
    let entries: Vec<_> = artefact.entries().map(Result::unwrap).collect();
    assert_eq!(entries.len(), before.len() + 1);

    let report = verify(&artefact, Depth::Entries, &Control::default()).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(Some(report.sha256), packed.sha256);

    let to = scratch.path().join("to");
    let extracted = extract_all(&bytes, "s", &to);
    assert_eq!(extracted.problems, []);
    assert_eq!(extracted.entries, entries.len() as u64);
    assert_same(&before, &snapshot(&to.join("tree"), false));
}

#[test]
fn holes_stay_holes() {
    use std::os::unix::fs::MetadataExt;

    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    let to = scratch.path().join("to");
    extract_all(&bytes, "s", &to);
    for name in ["sparse", "hole", "sparse small"] {
        let blocks = |tree: &Path| tree.join(name).metadata().unwrap().blocks();
        assert!(blocks(&to.join("tree")) <= blocks(&tree), "{name}");
    }
}

#[test]
fn gnu_tar_restores_everything() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    let to = scratch.path().join("to");
    std::fs::create_dir(&to).unwrap();
    let owner = if is_root() { "--same-owner" } else { "--no-same-owner" };
    // Without -P, GNU tar makes links to `/…` or `..` last of all, after the time of their folder was set.
    let arguments = ["-P", "--xattrs", "--xattrs-include=*", "--acls", owner, "-p", "-xzf", "-"];
    run("tar", &arguments, &to, &bytes);
    assert_same(&snapshot(&tree, true), &snapshot(&to.join("s/tree"), true));
}

#[test]
fn bsdtar_restores_everything() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    let to = scratch.path().join("to");
    std::fs::create_dir(&to).unwrap();
    let owner = if is_root() { "--same-owner" } else { "--no-same-owner" };
    run("bsdtar", &[owner, "-p", "--xattrs", "--acls", "-xzf", "-"], &to, &bytes);
    assert_same(&snapshot(&tree, true), &snapshot(&to.join("s/tree"), true));
}

#[test]
fn python_reads_every_name_and_fails_loudly_where_it_would_stop() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, packed) = pack_tree(&tree, scratch.path());
    let file = scratch.path().join("a.tar.gz");
    std::fs::write(&file, &bytes).unwrap();
    let script = "import tarfile, sys, hashlib\n\
        t = tarfile.open('a.tar.gz')\n\
        n = 0\n\
        for m in t:\n    n += 1\n    m.isreg() and hashlib.sha1(t.extractfile(m).read())\n\
        try:\n    tarfile.open('a.tar.gz', 'r|gz').getnames()\n    loud = False\n\
        except Exception:\n    loud = True\n\
        print(n, loud)";
    let printed = run("python3", &["-c", script], scratch.path(), b"");
    let entries = packed.sources[0].entries + 1;
    assert_eq!(String::from_utf8(printed).unwrap().trim(), format!("{entries} True"));
}

#[test]
fn a_stranger_can_read_it_by_its_specification() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    let file = scratch.path().join("a.tar.gz");
    std::fs::write(&file, &bytes).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/read_artefact.py");
    let printed = run("python3", &[script.to_str().unwrap(), "a.tar.gz"], scratch.path(), b"");
    let printed = String::from_utf8(printed).unwrap();
    let artefact = open(&bytes);
    let mut lines = printed.lines();
    for entry in artefact.entries().map(Result::unwrap) {
        let path: String = entry.path.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!("{} 0o{:o} {} {path} ", entry.kind as u8, entry.mode, entry.size);
        let line = lines.next().unwrap();
        assert!(line.starts_with(&expected), "{line}\n{expected}");
        if entry.kind == Kind::File && !entry.flags.has(Flags::SPARSE) {
            let contents =
                std::fs::read(tree.join(OsStr::from_bytes(&entry.path[b"s/tree/".len()..]))).unwrap();
            let digest = sha2::Sha256::digest(&contents);
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(line.ends_with(&digest), "{line}");
        }
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn gzip_and_pigz_accept_it() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let (bytes, _) = pack_tree(&tree, scratch.path());
    run("gzip", &["-t"], scratch.path(), &bytes);
    run("pigz", &["-t"], scratch.path(), &bytes);
    let plain = run("gzip", &["-dc"], scratch.path(), &bytes);
    assert!(plain.ends_with(&[0; 1024]));
}

#[test]
fn the_same_scan_makes_the_same_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    nasty(&tree, false);
    let first = pack_tree(&tree, scratch.path());
    let again = Input {
        source: "s".to_string(),
        content: Content::Scan { scan: scratch.path().join("s.scan"), base: None },
    };
    let second = pack_all(vec![again], scratch.path()).unwrap();
    assert!(first.0 == second.0);
    assert_eq!(first.1.root, second.1.root);
}
