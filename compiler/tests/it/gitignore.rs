//! Patterns against git itself: thousands of `.gitignore` files, each above a small tree, and what `git check-ignore` says of
//! every path in it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use backplan_compiler::pattern::{Found, Patterns, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// So many `.gitignore` files.
const CASES: usize = 4000;

/// Pieces of patterns: what git reads in its own way, and what it might be taken for.
const PIECES: &[&str] = &[
    "a",
    "b",
    "ab",
    "c",
    "x",
    ".",
    "-",
    "*",
    "*",
    "**",
    "?",
    "/",
    "/",
    "/",
    "\\",
    "[ab]",
    "[!a]",
    "[^a-b]",
    "[a-c]",
    "[]a]",
    "[!]a]",
    "[a-]",
    "[\\]]",
    "[",
    "]",
    "[a",
    "[[:alpha:]]",
    "[[:space:]]",
    "[![:digit:]_]",
    "[[:foo:]]",
    "[[:a]",
    "[:]",
    "[--a]",
    "[/]",
    "[b-a]",
    "[\\a-c]",
    "[[:alpha:]-z]",
    "{a,b}",
    "{",
    "}",
    ",",
    " ",
    " ",
    "\t",
    "\\ ",
    "\\*",
    "\\?",
    "\\/",
    "!",
    "\\!",
    "#",
    "\\#",
    "~",
    "ü",
    "[ü]",
    "1",
    "**/",
    "/**",
    "/**/",
    "../",
    "./",
    "A",
    "***",
    "a**",
    "**b",
    "?*",
    "*?",
];

/// Names of files and folders.
const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"ab",
    b"abc",
    b"x",
    b"a.b",
    b".a",
    b"..a",
    b"-",
    b"a-b",
    b"a b",
    b"a ",
    b" ",
    b"x ",
    b"\t",
    b"a\t",
    b"[",
    b"]",
    b"[a",
    b"[a]",
    b"{a,b}",
    b"{",
    b"a{b",
    b",",
    b"!",
    b"!a",
    b"#",
    b"#a",
    b"~",
    "ü".as_bytes(),
    b"\xff",
    b"a\xff",
    b"1",
    b"a1",
    b"\\",
    b"a\\",
    b"*",
    b"?",
    b"A",
    b"aXb",
    b":",
    b"_",
    b"a\nb",
];

/// A pattern, and a tree.
#[derive(Debug, Clone)]
struct Case {
    patterns: Vec<String>,
    /// Paths, and whether each is a folder.
    paths: Vec<(Vec<u8>, bool)>,
}

fn pattern() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 1..6).prop_map(|pieces| pieces.concat());
    (prop::bool::weighted(0.2), prop::bool::weighted(0.15), pieces, prop::bool::weighted(0.15)).prop_map(
        |(takes_in, anchored, body, folders)| {
            let body = format!("{}{body}{}", if anchored { "/" } else { "" }, if folders { "/" } else { "" });
            if takes_in { format!("!{body}") } else { body }
        },
    )
}

fn path() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let name = prop_oneof![
        3 => prop::sample::select(NAMES).prop_map(<[u8]>::to_vec),
        1 => prop::sample::select(&NAMES[..6]).prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(name, 1..5)
}

/// Names that a pattern is likely to match: itself with something for what it leaves open.
fn likely(pattern: &str) -> Vec<Vec<u8>> {
    let body = pattern.trim_start_matches(['!', '/']).trim_end_matches('/');
    let names = body.split('/').map(|part| part.replace("**", "ab").replace(['*', '?'], "a").into_bytes());
    names.filter(|name| !matches!(name.as_slice(), b"" | b"." | b".." | b".git" | b".gitignore")).collect()
}

fn case() -> impl Strategy<Value = Case> {
    (prop::collection::vec(pattern(), 1..4), prop::collection::vec(path(), 4..10), any::<bool>()).prop_map(
        |(patterns, mut paths, swap)| {
            for pattern in &patterns {
                let near = likely(pattern);
                if !near.is_empty() {
                    paths.push(near.clone());
                    paths.push([vec![b"c".to_vec()], near.clone()].concat());
                    paths.push([near, vec![b"x".to_vec()]].concat());
                }
            }
            // What is above something is a folder; of the rest every other one.
            let all: BTreeSet<Vec<u8>> = paths.iter().map(|path| path.join(&b'/')).collect();
            let is_above = |path: &[u8]| all.iter().any(|other| other.starts_with(&[path, b"/"].concat()));
            let mut listed = BTreeSet::new();
            for (at, path) in all.iter().enumerate() {
                let is_folder = is_above(path) || (at % 2 == 0) == swap;
                listed.insert((path.clone(), is_folder));
                let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
                listed.extend(ends.map(|end| (path[..end].to_vec(), true)));
            }
            Case { patterns, paths: listed.into_iter().collect() }
        },
    )
}

fn cases() -> Vec<Case> {
    let mut runner = TestRunner::deterministic();
    (0..CASES).map(|_| case().new_tree(&mut runner).unwrap().current()).collect()
}

/// What git says of each path: the line of the pattern that decides, and whether it takes in. In the order of the paths.
fn by_git(folder: &Path, cases: &[Case]) -> Vec<Option<(usize, bool)>> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(folder).args([
            "-c",
            "core.excludesFile=/dev/null",
            "-c",
            "core.ignoreCase=false",
        ]);
        command.args(arguments).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", folder);
        command
    };
    assert!(git(&["init", "-q", "."]).status().unwrap().success());
    let mut asked = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let root = folder.join(number.to_string());
        fs::create_dir(&root).unwrap();
        let lines: String = case.patterns.iter().map(|pattern| format!("{pattern}\n")).collect();
        fs::write(root.join(".gitignore"), lines).unwrap();
        for (path, is_folder) in &case.paths {
            // To git what is not there is no folder.
            if *is_folder {
                fs::create_dir_all(root.join(OsStr::from_bytes(path))).unwrap();
            }
            asked.extend([format!("{number}/").as_bytes(), path, b"\0"].concat());
        }
    }
    let mut child = git(&["check-ignore", "--no-index", "--stdin", "-z", "-v", "-n"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&asked).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let fields: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
    let answer = |fields: &[&[u8]]| {
        let line: usize = std::str::from_utf8(fields[1]).unwrap().parse().ok()?;
        Some((line - 1, fields[2].starts_with(b"!")))
    };
    fields.chunks_exact(4).map(answer).collect()
}

fn by_patterns(patterns: &Patterns, path: &[u8], is_folder: bool) -> Option<(usize, bool)> {
    if let Some((_, at)) = patterns.left_out(path, is_folder) {
        return Some((at, false));
    }
    match patterns.verdict(path, is_folder) {
        Verdict::TakenIn(at) => Some((at, true)),
        _ => None,
    }
}

#[test]
fn patterns_are_those_of_git() {
    // Thousands of folders: in memory where that is to be had.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let cases = cases();
    let expected = by_git(folder.path(), &cases);
    let asked = cases.iter().flat_map(|case| case.paths.iter().map(move |path| (case, path)));
    let mut wrong = Vec::new();
    let (mut left_out, mut taken_in, mut all) = (0, 0, 0);
    for ((case, (path, is_folder)), expected) in asked.zip(&expected) {
        let found = by_patterns(&Patterns::new(case.patterns.iter().map(String::as_str)), path, *is_folder);
        all += 1;
        match expected {
            Some((_, true)) => taken_in += 1,
            Some((_, false)) => left_out += 1,
            None => {}
        }
        if found != *expected {
            let path = path.escape_ascii();
            wrong.push(format!("{:?} on `{path}` ({is_folder}): {found:?}, git {expected:?}", case.patterns));
        }
    }
    assert_eq!(all, expected.len());
    assert!(wrong.is_empty(), "{} of {all} differ\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    // Where nothing matched, nothing would be shown.
    assert!(left_out > all / 8 && taken_in > all / 100, "{left_out} left out, {taken_in} taken in of {all}");
}

/// A search tells the truth: a path that it finds is what was looked for, and where it finds none no path of the trees is.
#[test]
fn searches_are_right() {
    let (mut nothing, mut found) = (0, 0);
    for Case { patterns: texts, paths } in cases() {
        let patterns = Patterns::new(texts.iter().map(String::as_str));
        let is_left = |path: &[u8]| patterns.left_out(path, false).is_none();
        match patterns.left() {
            Found::Path(path) => {
                found += 1;
                assert!(is_left(&path), "{texts:?} leave `{}`", path.escape_ascii());
            }
            Found::Nothing => {
                nothing += 1;
                let left = paths.iter().find(|(path, _)| is_left(path));
                assert!(left.is_none(), "{texts:?} leave nothing, but {left:?}");
            }
            Found::Unknown => {}
        }
        for (at, text) in texts.iter().enumerate() {
            let alone = Patterns::new([text.as_str()]);
            let is_hit =
                |path: &[u8]| [false, true].iter().any(|is| alone.verdict(path, *is) != Verdict::Open);
            match patterns.matched_by(at) {
                Found::Path(path) => assert!(is_hit(&path), "{text:?} matches `{}`", path.escape_ascii()),
                Found::Nothing => {
                    let hit = paths.iter().find(|(path, _)| is_hit(path));
                    assert!(hit.is_none(), "{text:?} matches nothing, but {hit:?}");
                }
                Found::Unknown => panic!("{text:?}"),
            }
            if text.starts_with('!') {
                let (before, with) = (Patterns::new(texts[..at].iter().map(String::as_str)), at + 1);
                let with = Patterns::new(texts[..with].iter().map(String::as_str));
                let is_back = |path: &[u8]| {
                    [false, true].iter().any(|is| {
                        before.verdict(path, *is).is_left_out()
                            && with.verdict(path, *is) == Verdict::TakenIn(at)
                    }) && with.left_out(path, true).is_none_or(|(end, _)| end == path.len())
                };
                match patterns.taken_back_by(at) {
                    Found::Path(path) => assert!(is_back(&path), "{texts:?} {at} `{}`", path.escape_ascii()),
                    Found::Nothing => {
                        let back = paths.iter().find(|(path, _)| is_back(path));
                        assert!(back.is_none(), "{texts:?} {at}: {back:?}");
                    }
                    Found::Unknown => {}
                }
            }
        }
    }
    assert!(nothing > 20 && found > 1000, "{nothing} leave nothing, {found} leave something");
}
