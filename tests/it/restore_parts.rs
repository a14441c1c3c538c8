//! Parts of a backup, by names with every odd character and by patterns; and what a restore says that it left.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::scenario::{Answer, SITE, Scenario, plan, shell};

/// Names that patterns, shells or terminals take for something else.
const ODD: &[&[u8]] = &[
    b"[abc].txt",
    b"*",
    b"?",
    b"**",
    b"!not",
    b"#no comment",
    b"-x",
    b" spaces ",
    b"trailing\\",
    b"a\\*b",
    b"{a,b}",
    b"tab\there",
    b"line\nend",
    b"\x1b[2Jclears",
    b"\xff\xfe",
    b"\xc3\xa4",
    b"dir[1]",
];

fn odd_world() -> Scenario {
    let scenario = Scenario::new().file("p.plan", plan(SITE));
    for name in [b"a.txt".as_slice(), b"b", b"x", b"plain"].iter().chain(ODD) {
        let path = scenario.path("site").join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if *name == b"dir[1]" {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("in [it]"), "deep").unwrap();
        } else {
            fs::write(path, name).unwrap();
        }
    }
    fs::create_dir(scenario.path("site/dir1")).unwrap();
    fs::write(scenario.path("site/dir1/other"), "other").unwrap();
    scenario.plan(["run"]).status(0);
    scenario
}

/// A path in the backup: the source, the entry of `paths`, a name.
fn inside(name: &[u8]) -> OsString {
    OsString::from_vec([b"site/site/", name].concat())
}

fn restored(scenario: &Scenario, paths: &[OsString], more: &[&str]) -> Answer {
    let _ = fs::remove_dir_all(scenario.path("out"));
    let mut args: Vec<OsString> = ["restore", "--to", "out"].map(OsString::from).into();
    for path in paths {
        args.extend(["--path".into(), path.clone()]);
    }
    args.extend(more.iter().map(OsString::from));
    scenario.plan(args)
}

/// What lies in a folder, all of it but folders, by names below it.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_exact_name_is_that_name_and_no_pattern() {
    let scenario = odd_world();
    let out = scenario.path("out");
    for name in ODD {
        let expected = if *name == b"dir[1]" {
            b"site/site/dir[1]/in [it]".to_vec()
        } else {
            [b"site/site/", *name].concat()
        };
        restored(&scenario, &[inside(name)], &[]).status(0);
        assert_eq!(files(&out), std::slice::from_ref(&expected), "{}", name.escape_ascii());
        // Below the entry of `paths`, and as it is on the host.
        restored(&scenario, &[OsString::from_vec([b"site/", *name].concat())], &[]).status(0);
        assert_eq!(files(&out), std::slice::from_ref(&expected));
        let host = scenario.path("site").join(OsStr::from_bytes(name));
        restored(&scenario, &[host.into_os_string()], &[]).status(0);
        assert_eq!(files(&out), [expected]);
    }
    // A pattern is one where nothing is called so.
    restored(&scenario, &[inside(b"[ax]*")], &[]).status(0);
    assert_eq!(
        files(&out),
        [b"site/site/a.txt".to_vec(), b"site/site/a\\*b".to_vec(), b"site/site/x".to_vec()]
    );
    restored(&scenario, &[inside(b"dir[1]"), inside(b"plain")], &[]).status(0);
    assert_eq!(files(&out).len(), 2);
}

#[test]
fn what_is_listed_can_be_asked_for_by_every_command() {
    let scenario = odd_world();
    for name in ODD.iter().filter(|name| **name != b"dir[1]") {
        let path = inside(name);
        let listed = scenario.plan([OsStr::new("ls"), OsStr::new("latest"), &path]).status(0).stdout;
        assert_eq!(listed.lines().count(), 1, "{listed}");
        let answer = scenario.plan([OsStr::new("cat"), OsStr::new("latest"), &path]).status(0);
        assert_eq!(answer.stdout, String::from_utf8_lossy(name));
        // As it is shown.
        let shown = &listed.trim_end_matches('\n')[listed.find("site/site/").unwrap()..];
        let answer = scenario.plan(["cat", "latest", shown]).status(0);
        assert_eq!(answer.stdout, String::from_utf8_lossy(name), "{shown}");
        restored(&scenario, &[shown.into()], &[]).status(0);
        assert_eq!(files(&scenario.path("out")), [[b"site/site/", *name].concat()]);
    }
    scenario
        .plan(["ls", "latest", "site/site/[ax]*"])
        .status(0)
        .stdout_has("a.txt")
        .stdout_has("site/site/x");
    scenario.next_day();
    scenario.write("site/[abc].txt", "another");
    scenario.write("site/a.txt", "another");
    scenario.plan(["run"]).status(0);
    let changed = |path: &[u8]| {
        let path = inside(path);
        let args = [OsStr::new("diff-run"), OsStr::new("1"), OsStr::new("2"), OsStr::new("--path"), &path];
        let answer = scenario.plan(args);
        answer.stdout.lines().filter(|line| line.starts_with('~')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(changed(b"[abc].txt"), ["~ site/site/[abc].txt (content, time)"]);
    assert_eq!(changed(b"[!b].txt"), ["~ site/site/a.txt (content, time)"]);
    assert_eq!(changed(b"\xff\xfe"), [""; 0]);
}

#[test]
fn what_is_not_there_leaves_nothing_and_says_what_is_near() {
    let scenario = odd_world();
    for (asked, said) in [
        ("site/site/plian", "did you mean `site/site/plain`?"),
        ("site/plian", "did you mean `site/site/plain`?"),
        ("sita/site/plain", "did you mean `site`?"),
        ("site/site/dir1/nothing", "`site/site/dir1` is there, and that is not in it"),
        ("zebra*", "`plan ls "),
    ] {
        restored(&scenario, &[asked.into()], &[])
            .status(1)
            .stderr_has(&format!("has no `{asked}`"))
            .stderr_has(said);
        assert!(!scenario.path("out").exists(), "{asked}");
        scenario.plan(["ls", "latest", asked]).status(1).stderr_has(said);
        scenario.plan(["cat", "latest", asked]).status(1).stderr_has(said);
    }
    // One of several that is not there keeps the others from being taken for all.
    restored(&scenario, &["plain".into(), "plane".into()], &[]).status(1).stderr_has("has no `plane`");
    assert!(!scenario.path("out").exists());
    let odd = OsString::from_vec(b"site/\xf0nothing".to_vec());
    restored(&scenario, &[odd], &[]).status(1).stderr_has("\\xf0nothing");
    // A script whose variable is empty gets nothing, not everything.
    restored(&scenario, &["".into()], &[]).status(2).stderr_has("to mean everything, leave it out");
    assert!(!scenario.path("out").exists());
}

/// Mode, owner, group, size, time and attributes, by path.
type Seen = BTreeMap<PathBuf, (u32, u32, u32, u64, i64, i64, String)>;

fn seen(top: &Path) -> (Seen, BTreeMap<u64, Vec<PathBuf>>) {
    let (mut all, mut linked) = (BTreeMap::new(), BTreeMap::<u64, Vec<PathBuf>>::new());
    for line in shell(top, "find . -mindepth 1 | sort").lines() {
        let path = top.join(line);
        let meta = path.symlink_metadata().unwrap();
        let attributes = shell(top, &format!("getfattr -h -d -m user '{line}' | grep -v '^#' || true"));
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let facts = (meta.mode(), meta.uid(), meta.gid(), size, meta.mtime(), meta.mtime_nsec(), attributes);
        all.insert(PathBuf::from(line), facts);
        if !meta.is_dir() {
            linked.entry(meta.ino()).or_default().push(PathBuf::from(line));
        }
    }
    linked.retain(|_, names| names.len() > 1);
    (all, linked)
}

#[test]
fn a_part_is_what_it_is_in_the_whole() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a/b/c/file", "file");
    shell(
        &scenario.path("site"),
        "mkdir -p a/links other; echo linked > other/first; ln other/first a/links/second; ln other/first a/links/third; \
         ln -s nowhere a/b/link; mkfifo a/b/pipe; setfattr -n user.mark -v folder a/b; setfattr -n user.mark -v file a/b/c/file; \
         chmod 4711 a/b/c/file; chown 33:44 a/b/c/file a/b; chmod 1750 a/b; chmod 500 a/b/c; chown -h 7:8 a/b/link; \
         find . -depth -exec touch -h -d '2001-02-03 04:05:06.789' {} +",
    );
    scenario.plan(["run"]).status(0);
    restored(&scenario, &[], &[]).status(0);
    fs::rename(scenario.path("out"), scenario.path("whole")).unwrap();
    let (whole, _) = seen(&scenario.path("whole"));
    for part in ["a/b/c/file", "a/b/link", "a/b/pipe", "a/b", "a/links/second", "a/links", "other/first", "a"]
    {
        for more in [&[][..], &["--source", "site"]] {
            restored(&scenario, &[format!("site/site/{part}").into()], more).status(0);
            let (found, _) = seen(&scenario.path("out"));
            let below = if more.is_empty() { "./site/site" } else { "./site" };
            assert!(found.contains_key(&Path::new(below).join(part)), "{part}: {found:?}");
            for (path, facts) in &found {
                let path = path.strip_prefix(below).map(|rest| Path::new("./site/site").join(rest));
                if let Ok(path) = path {
                    assert_eq!(facts, &whole[&path], "{part}: {}", path.display());
                }
            }
        }
    }
    // Names of one file stay names of one file, with or without the first of them.
    let (_, linked) = seen(&scenario.path("whole"));
    assert_eq!(linked.values().next().unwrap().len(), 3);
    let one = "site/site/a/links/second";
    scenario.plan(["restore", "--to", "none", "--path", one, "--dry-run"]).status(0).stdout_has("7 B");
    restored(&scenario, &[one.into()], &[]).status(0).stdout_has("7 B");
    restored(&scenario, &["site/site/a/links".into()], &[]).status(0).stdout_has("7 B");
    let (_, linked) = seen(&scenario.path("out"));
    assert_eq!(linked.values().next().unwrap().len(), 2, "{linked:?}");
}

#[test]
fn what_is_in_the_way_is_replaced_or_told_of_with_what_helps() {
    let scenario =
        Scenario::new().file("p.plan", plan(SITE)).file("site/file", "file").file("site/dir/in", "in");
    scenario.plan(["run"]).status(0);
    restored(&scenario, &[], &[]).status(0);
    let again = |args: &[&str]| {
        let mut all = vec!["restore", "--to", "out"];
        all.extend(args);
        scenario.plan(all)
    };
    shell(&scenario.path("out/site/site"), "rm file; mkdir -p file/full; rm -r dir; echo file > dir");
    let answer = again(&["--overwrite"]).status(1).stdout_has("`site/site/file`: a folder is in the way");
    assert!(answer.stdout.contains("move it away") && !answer.stdout.contains("--overwrite"), "{answer:?}");
    assert_eq!(scenario.read("out/site/site/dir/in"), "in");
    assert!(scenario.path("out/site/site/file/full").is_dir());
    // As it was told.
    shell(&scenario.path("out/site/site"), "mv file away; mkdir file");
    again(&["--overwrite"]).status(0);
    assert_eq!(scenario.read("out/site/site/file"), "file");
    // In place, without being told to replace: each that stays is told of, with what replaces it.
    scenario.write("site/file", "mine");
    fs::remove_file(scenario.path("site/dir/in")).unwrap();
    let before = fs::metadata(scenario.path("site")).unwrap().mode();
    shell(&scenario.path("."), "chmod 711 site");
    scenario.plan(["restore", "--in-place"]).status(1).stdout_has(
        "`site/site/file`: something is there already; it stays as it is: `--overwrite` replaces it",
    );
    assert_eq!((scenario.read("site/file"), scenario.read("site/dir/in")), ("mine".into(), "in".into()));
    assert_ne!(fs::metadata(scenario.path("site")).unwrap().mode(), before, "what is there stays as it is");
    scenario.plan(["restore", "--in-place", "--overwrite"]).status(0);
    assert_eq!(scenario.read("site/file"), "file");
    assert_eq!(fs::metadata(scenario.path("site")).unwrap().mode(), before);
}

#[test]
fn a_restore_in_place_says_what_it_leaves() {
    let with_program = "source told: command {\n  run = [\"echo\", \"told\"]\n  as  = \"told.txt\"\n}\n\n"
        .to_owned()
        + &SITE.replace("from = [site]", "from = all");
    let scenario = Scenario::new().file("p.plan", plan(&with_program)).file("site/a", "a");
    scenario.plan(["run"]).status(0);
    fs::remove_file(scenario.path("site/a")).unwrap();
    let said = "not restored: source `told` is what a program wrote";
    scenario.plan(["restore", "--in-place", "--dry-run"]).status(3).stderr_has(said);
    let answer = scenario.plan(["restore", "--in-place", "--format", "json"]).status(3).stderr_has(said);
    assert_eq!(answer.json()["not_restored"].as_array().unwrap().len(), 1);
    assert_eq!(scenario.read("site/a"), "a");
    // The mend that is told, followed.
    scenario.plan(["restore", "--source", "told", "--to", "out"]).status(0);
    assert_eq!(scenario.read("out/told.txt"), "told\n");
    scenario.plan(["restore", "--in-place", "--source", "told"]).status(1).stderr_has(said);
    scenario
        .plan(["restore", "--quiet", "--in-place", "--source", "site", "--overwrite"])
        .status(0)
        .stderr("");
    scenario.plan(["restore", "--in-place", "--path", "told/told.txt"]).status(1).stderr_has(said);
    // Only what a part makes is told, as it is only that which is made.
    let part = ["restore", "--to", "part", "--path", "site/site/a"];
    let answer = scenario.plan(part).status(0).stdout_has("site -> ");
    assert!(!answer.stdout.contains("told -> "), "{}", answer.stdout);
    assert!(scenario.path("part/site/site/a").exists() && !scenario.path("part/told").exists());
}

#[test]
fn another_account_is_told_what_it_cannot_give_back() {
    let scenario =
        Scenario::new().file("p.plan", plan(SITE)).file("site/tool", "tool").file("site/own", "own");
    shell(&scenario.path("site"), "chmod 4755 tool; chown nobody:nogroup own");
    scenario.plan(["run"]).status(0);
    shell(&scenario.path(".."), "chmod -R a+rwX . && chmod a+rx ..");
    let by = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"];
    let answer = scenario
        .plan_by(&by, ["restore", "--store", "./store", "--to", "out"])
        .status(3)
        .stderr_has("3 entries belonged to others (0:0)")
        .stderr_has("only root gives them back");
    assert!(!answer.said().contains("problem"), "{answer:?}");
    let tool = fs::metadata(scenario.path("out/site/site/tool")).unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.uid()), (0o755, 65534), "nobody's program runs as nobody else");
    let answer = scenario.plan_by(&by, ["restore", "--store", "./store", "--to", "own", "--path", "own"]);
    assert!(answer.stderr.contains("2 entries belonged to others"), "the folders above: {answer:?}");
    // Root gives each to whom it belongs, and says nothing.
    scenario.plan(["restore", "--quiet", "--to", "all"]).status(0).stderr("");
    assert_eq!(fs::metadata(scenario.path("all/site/site/tool")).unwrap().mode() & 0o7777, 0o4755);
}
