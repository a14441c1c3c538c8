//! Names with every odd character, in every role: plan files, folders of sources, stores, stagings, and files in them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::scenario::{Scenario, shell};

/// Names of one component that a file system takes and somebody somewhere has.
const NAMES: &[&str] = &[
    "a b",
    " lead and trail ",
    "it's",
    "say \"so\"",
    "back\\slash",
    "-dash",
    "--option=x",
    "$(touch pwned)",
    "`touch pwned`",
    "$HOME",
    "star*?[a-z]!",
    "{brace} ${x} {date}",
    "#hash ; & | < >",
    "new\nline",
    "tab\tand\rreturn",
    "esc\u{1b}[31m",
    "ümläut 名前 \u{202e}rtl",
    "~",
    "a:b@c%d",
    "...",
    ".hidden",
    "con.plan",
];

/// As a plan writes it.
fn quoted(name: &str) -> String {
    let mut out = String::from("\"");
    for letter in name.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '$' => out.push_str("\\$"),
            letter if letter.is_control() || letter == '\u{202e}' => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(letter)))
            }
            letter => out.push(letter),
        }
    }
    out + "\""
}

#[test]
fn a_name_is_a_name_in_every_role() {
    for name in NAMES {
        println!("name {name:?}");
        let scenario = Scenario::new();
        let (site, store, staging) =
            (format!("{name}.site"), format!("{name}.store"), format!("{name}.staging"));
        for folder in [&site, &store, &staging] {
            fs::create_dir(scenario.path(folder)).unwrap();
        }
        let file = format!("{name}.plan");
        let text = format!(
            "plan p\n\nstore store: dir {{\n  path = {}\n}}\n\nstaging {{\n  path = {}\n}}\n\nsource site: files {{\n  paths = [{}]\n}}\n\n\
             archive main {{\n  from = [site]\n  to   = [store]\n}}\n",
            quoted(&store),
            quoted(&staging),
            quoted(&site)
        );
        scenario.write(&file, text);
        let odd = [name.as_bytes(), b"\xff\xfe raw"].concat();
        let inside = scenario.path(&site);
        fs::write(inside.join(name), name).unwrap();
        fs::write(inside.join(OsStr::from_bytes(&odd)), "raw").unwrap();
        // A name that begins with a dash is behind `--`, as everywhere.
        let plan = |args: &[&str]| {
            let (command, rest) = args.split_first().unwrap();
            let options = rest.iter().filter(|arg| **arg != file);
            scenario.plan([*command].iter().chain(options).chain([&"--"]).copied().chain([file.as_str()]))
        };
        plan(&["check"]).status(0);
        plan(&["check", "--live"]).status(0);
        plan(&["fmt", "--check"]).status(0);
        plan(&["run", "--dry-run"]).status(0);
        plan(&["run"]).status(0);
        assert!(plan(&["list"]).status(0).stdout.contains("00000001-"), "{name:?}");
        plan(&["status"]).status(0);
        plan(&["verify", "--deep"]).status(0);
        let path = inside.join(name);
        let why = scenario.plan([OsStr::new("why"), OsStr::new("--"), OsStr::new(&file), path.as_os_str()]);
        assert!(why.status(0).stdout.contains("00000001-"), "{name:?}");
        let why = scenario.plan([
            OsStr::new("why"),
            OsStr::new("--"),
            OsStr::new(&file),
            inside.join(OsStr::from_bytes(&odd)).as_os_str(),
        ]);
        assert!(why.status(0).stdout.contains("00000001-"), "{name:?}");
        // What a terminal shows of it does nothing to the terminal.
        let shown = scenario.plan(["ls".to_owned(), "latest".to_owned(), format!("--file={file}")]).status(0);
        assert!(!shown.stdout.contains('\u{1b}') && !shown.stdout.contains('\u{202e}'), "{shown:?}");
        // All of it comes back, and one of it by its exact name, whatever a pattern would make of that.
        plan(&["restore", "--to", "back"]).status(0);
        let same = format!("diff -r --no-dereference '{}' '{}'", "one", "other");
        std::os::unix::fs::symlink(&inside, scenario.path("one")).unwrap();
        std::os::unix::fs::symlink(scenario.path("back/site").join(&site), scenario.path("other")).unwrap();
        shell(&scenario.path("."), &same.replace("'one' 'other'", "one/ other/"));
        let exact = scenario.plan([
            "restore".to_owned(),
            "--to=part".to_owned(),
            format!("--path=site/{site}/{name}"),
            "--".to_owned(),
            file.clone(),
        ]);
        exact.status(0);
        let part = scenario.path("part/site").join(&site);
        let restored: Vec<_> = fs::read_dir(&part).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(restored, [OsStr::new(name)], "{name:?}");
        // In place of what was changed.
        fs::write(inside.join(name), "changed").unwrap();
        plan(&["restore", "--in-place", "--overwrite"]).status(0);
        assert_eq!(fs::read_to_string(inside.join(name)).unwrap(), *name);
        // The plan is lost, the store is not.
        let alone = format!("--store={}", scenario.path(&store).display());
        scenario.plan(["list", &alone]).status(0);
        scenario.plan(["restore", "--to", "alone", &alone]).status(0);
        assert_eq!(fs::read_to_string(scenario.path("alone/site").join(&site).join(name)).unwrap(), *name);
        // Nothing was made that nobody asked for.
        let mut there: Vec<String> = fs::read_dir(scenario.path("."))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|entry| !["alone", "back", "one", "other", "part"].contains(&entry.as_str()))
            .collect();
        let mut expected = vec![file, site, staging, store];
        there.sort();
        expected.sort();
        assert_eq!(there, expected);
    }
}

/// One path, another kind of thing in each run: each run gives back what was there then.
#[test]
fn a_path_that_is_something_else_in_each_run_is_restored_as_it_was_then() {
    let kinds: &[(&str, &str)] = &[
        ("echo one > x", "[ -f x ] && [ \"$(cat x)\" = one ]"),
        ("mkdir x; echo in > x/y", "[ -d x ] && [ ! -L x ] && [ \"$(cat x/y)\" = in ]"),
        ("ln -s other x", "[ -L x ] && [ \"$(readlink x)\" = other ]"),
        ("mkfifo x", "[ -p x ]"),
        ("ln other x", "[ -f x ] && [ x -ef other ]"),
        ("mknod x c 1 3", "[ -c x ]"),
        ("mkdir -p x/deep; ln -s .. x/deep/up", "[ -d x/deep ] && [ -L x/deep/up ]"),
        ("true", "[ ! -e x ] && [ ! -L x ]"),
        ("mkdir x; mount -t tmpfs none x; echo mounted > x/z", "[ \"$(cat x/z)\" = mounted ]"),
        ("ln -s gone x", "[ -L x ] && [ ! -e x ]"),
        ("printf '' > x", "[ -f x ] && [ ! -s x ]"),
        ("echo last > x", "[ \"$(cat x)\" = last ]"),
    ];
    for base in ["previous", "full"] {
        let text = crate::scenario::plan(&format!(
            "{}\ncycle {{\n  incrementals = 20\n  base = {base}\n}}\n",
            crate::scenario::SITE
        ));
        let scenario = Scenario::new().file("p.plan", text).file("site/other", "other");
        let site = scenario.path("site");
        for (make, _) in kinds {
            shell(&site, &format!("umount x 2>/dev/null; rm -rf x; {make}"));
            std::thread::sleep(std::time::Duration::from_millis(20));
            // What was mounted is missed until somebody says that it is gone for good.
            let was_mounted = make.starts_with("ln -s gone");
            let given_up: &[&str] = if was_mounted { &["--unmounted", "site/x"] } else { &[] };
            let answer = scenario.next_day().plan([&["run"], given_up].concat());
            assert_eq!(answer.code, 0, "{make}: {answer:?}");
        }
        for (number, (make, holds)) in kinds.iter().enumerate() {
            let to = format!("back{number}");
            let run = (number + 1).to_string();
            scenario.plan(["restore", "--to", &to, "--run", &run]).status(0);
            let back = scenario.path(&to).join("site/site");
            shell(
                &back,
                &format!(
                    "{{ {holds}; }} || {{ echo 'after {base} {number}: {make}' >&2; ls -la x >&2; false; }}"
                ),
            );
            shell(&back, "[ \"$(cat other)\" = other ]");
        }
        scenario.plan(["verify", "--all", "--deep"]).status(0);
    }
}
