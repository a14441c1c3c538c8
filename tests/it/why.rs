//! `plan why`

use std::fs;

use crate::scenario::{Scenario, plan, shell};

const SOURCES: &str = "\
source site: files {
  paths          = [\"site\", \"site/cache/keep\"]
  exclude        = [\"cache/\", \"*.tmp\", \"!good.tmp\"]
  exclude_caches = true
  max_file_size  = 1KiB
}

source db: sqlite {
  path = \"app.db\"
}

archive main {
  from = all
  to   = [store]
}
";

fn world() -> Scenario {
    let scenario = Scenario::new().file("p.plan", plan(SOURCES));
    let script = "mkdir -p site/cache/keep site/marked site/deep && cd site && touch a a.tmp good.tmp deep/x cache/c \
                  cache/keep/k marked/m && head -c 2000 /dev/zero > big && ln -s deep link && \
                  printf 'Signature: 8a477f597d28d172789f06886806bc55' > marked/CACHEDIR.TAG";
    shell(&scenario.path("."), script);
    shell(&scenario.path("."), "mkdir -p site && sqlite3 app.db 'create table t (n)'");
    scenario
}

#[test]
fn what_it_says_is_what_the_run_does() {
    let scenario = world();
    // A file is larger than `max_file_size`, which a run tells of.
    scenario.next_day().plan(["run"]).status(3);
    let listed = scenario.plan(["ls", "latest"]).status(0).stdout;
    let paths = [
        "a",
        "a.tmp",
        "good.tmp",
        "deep",
        "deep/x",
        "cache",
        "cache/c",
        "cache/keep",
        "cache/keep/k",
        "marked/m",
        "big",
        "link",
        "link/x",
    ];
    for path in paths {
        let answer = scenario.plan(["why", "p.plan", &format!("site/{path}"), "--format", "json"]);
        let json = answer.json();
        let is_there = listed.lines().any(|line| {
            line.ends_with(&format!("site/site/{path}")) || line.contains(&format!("site/site/{path} "))
        });
        let says = json["backed_up"].as_bool().unwrap();
        // A folder that leads to an entry of `paths` is recorded on the way, though nothing else in it is.
        if path != "cache" {
            assert_eq!(says, is_there, "{path}: {answer:?}\n{listed}");
        }
        assert_eq!(json["backups"].as_array().unwrap().len(), usize::from(is_there), "{path}: {answer:?}");
        assert_eq!(answer.code, if says { 0 } else { 3 }, "{path}");
    }
}

#[test]
fn the_rule_is_named_with_its_place() {
    let scenario = world();
    // A file is larger than `max_file_size`, which a run tells of.
    scenario.next_day().plan(["run"]).status(3);
    let why = |path: &str, code: i32| scenario.plan(["why", "p.plan", path]).status(code);
    why("site/cache/c", 3)
        .stdout_has("is NOT backed up")
        .stdout_has("left out by the pattern `cache/` (p.plan:13:21), which matches `$W/work/site/cache`");
    why("site/good.tmp", 0).stdout_has("taken in again by the pattern `!good.tmp` (p.plan:13:40)");
    why("site/marked/m", 3).stdout_has("`exclude_caches`");
    why("site/big", 3).stdout_has("`max_file_size`: it has 2000 bytes");
    why("site/link/x", 3).stdout_has("symbolic link");
    why("site/a", 0)
        .stdout_has("taken in by the entry `$W/work/site` of `paths` (p.plan:12:21)")
        .stdout_has("recorded as site/site/a")
        .stdout_has("archive `main` -> store")
        .stdout_has("held by 1 backup");
    why("app.db", 0).stdout_has("it is the database");
    why("app.db-wal", 0).stdout_has("part of the database");
    why("elsewhere", 3).stdout_has("(not there now)").stdout_has("no source of the plan reads it");
    // What was deleted since is still held, and a store that is away is said to be.
    fs::remove_file(scenario.path("site/a")).unwrap();
    why("site/a", 0).stdout_has("not there now").stdout_has("held by 1 backup");
    fs::rename(scenario.path("store"), scenario.path("away")).unwrap();
    why("site/good.tmp", 3).stdout_has("which backups hold it is not known");
    scenario.plan(["why", "none.plan", "x"]).status(2);
}

#[test]
fn a_marked_folder_is_left_out_itself_unless_an_entry_of_paths_is_in_it() {
    let scenario = world();
    let text =
        scenario.read("p.plan").replace("\"site/cache/keep\"", "\"site/cache/keep\", \"site/led/on/to\"");
    scenario.write("p.plan", text);
    let script = "mkdir -p led/on/to led/mark && touch led/x led/on/to/y led/mark/z && \
                  cp marked/CACHEDIR.TAG led && cp marked/CACHEDIR.TAG led/mark && cp marked/CACHEDIR.TAG led/on/to";
    shell(&scenario.path("site"), script);
    scenario.next_day().plan(["run"]).status(3);
    let listed = scenario.plan(["ls", "latest"]).status(0).stdout;
    let all = ["marked", "marked/CACHEDIR.TAG", "led", "led/x", "led/mark", "led/mark/z", "led/on/to/y"];
    for path in all {
        let is_there = listed.lines().any(|line| line.ends_with(&format!("site/site/{path}")));
        let answer = scenario.plan(["why", "p.plan", &format!("site/{path}"), "--format", "json"]);
        assert_eq!(answer.json()["backed_up"], is_there, "{path}: {answer:?}\n{listed}");
        assert_eq!(is_there, !path.contains("mark"), "{path}\n{listed}");
    }
    scenario
        .plan(["why", "p.plan", "site/marked"])
        .status(3)
        .stdout_has("is NOT backed up")
        .stdout_has("`$W/work/site/marked` has a `CACHEDIR.TAG`");
}

/// How many backups hold a path, and what is said of it.
fn held(scenario: &Scenario, path: &str) -> (usize, serde_json::Value) {
    let json = scenario.plan(["why", "p.plan", path, "--format", "json"]).json();
    (json["backups"].as_array().unwrap().len(), json)
}

#[test]
fn a_backup_is_one_however_many_sources_have_read_the_path() {
    let twice = "source db: sqlite {\n  path = \"app.db\"\n}\n\nsource again: sqlite {\n  path = \"app.db\"\n}\n\n\
                 store other: dir {\n  path = \"other\"\n}\n\n\
                 archive main {\n  from = [db]\n  to   = [store]\n}\n\narchive second {\n  from = [again]\n  to   = [other]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(twice));
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n)'");
    for count in 1..3 {
        scenario.next_day().plan(["run"]).status(0);
        let (backups, json) = held(&scenario, "app.db");
        assert_eq!(backups, count, "{json}");
        assert_eq!(json["backups"][0]["sources"], serde_json::json!(["again", "db"]));
        assert_eq!(json["backups"][0]["stores"], serde_json::json!(["other", "store"]));
    }
    scenario.plan(["why", "p.plan", "app.db"]).status(0).stdout_has("held by 2 backups");
}

#[test]
fn a_backup_made_under_another_name_of_the_source_holds_it_too() {
    let text = plan(SOURCES);
    let scenario = world();
    for _ in 0..2 {
        scenario.next_day().plan(["run"]).status(3);
    }
    scenario
        .write("p.plan", text.replace("source site:", "source web:").replace("source db:", "source data:"));
    for path in ["site/a", "site/deep/x", "site/cache/keep/k", "app.db"] {
        let (backups, json) = held(&scenario, path);
        assert_eq!((backups, &json["backed_up"]), (2, &true.into()), "{path}: {json}");
    }
    for path in ["site/cache/c", "site/marked/m", "site/nothing", "elsewhere"] {
        assert_eq!(held(&scenario, path).0, 0, "{path}");
    }
    scenario.next_day().plan(["run"]).status(3);
    assert_eq!(held(&scenario, "site/a").0, 3);
    scenario
        .plan(["why", "p.plan", "site/a"])
        .status(0)
        .stdout_has("held by 3 backups")
        .stdout_has("in store, by source `site`\n")
        .stdout_has("in store\n");
    // Of a source that the plan no longer has, the backups stay.
    let at = text.find("source db:").unwrap();
    let end = text.find("archive main").unwrap();
    scenario.write("p.plan", text.replace(&text[at..end], ""));
    scenario
        .plan(["why", "p.plan", "app.db"])
        .status(3)
        .stdout_has("is NOT backed up")
        .stdout_has("no source of the plan reads it")
        .stdout_has("held by 3 backups");
}

#[test]
fn with_a_root_both_the_path_that_is_read_and_the_one_recorded_are_known() {
    let scenario = Scenario::new().file("mnt/snap/srv/site/a", "a").file("mnt/snap/srv/site/x.tmp", "x");
    let root = scenario.path("mnt/snap").display().to_string();
    let text = format!(
        "source site: files {{\n  root    = \"{root}\"\n  paths   = [\"/srv/site\"]\n  exclude = [\"*.tmp\"]\n}}\n\n\
         archive main {{\n  from = all\n  to   = [store]\n}}\n"
    );
    scenario.write("p.plan", plan(&text));
    scenario.next_day().plan(["run"]).status(0);
    let renamed = plan(&text).replace("source site:", "source web:");
    for text in [plan(&text), renamed] {
        scenario.write("p.plan", text);
        for path in ["/srv/site/a", "mnt/snap/srv/site/a"] {
            let (backups, json) = held(&scenario, path);
            assert_eq!((backups, &json["backed_up"]), (1, &true.into()), "{path}: {json}");
        }
        scenario
            .plan(["why", "p.plan", "/srv/site/x.tmp"])
            .status(3)
            .stdout_has("left out by the pattern `*.tmp`");
        scenario.plan(["why", "p.plan", "/srv/other"]).status(3).stdout_has("no source of the plan reads it");
        scenario.plan(["why", "p.plan", "/srv/site/a"]).stdout_has("read at `$W/work/mnt/snap/srv/site/a`");
    }
}

/// The plan with what it needs for one source of files.
fn of_files(source: &str) -> String {
    plan(&format!(
        "source site: files {{\n{source}\n}}\n\narchive main {{\n  from = all\n  to   = [store]\n}}\n"
    ))
}

#[test]
fn what_the_plan_would_do_is_told_apart_from_what_backups_hold() {
    let two = "source site: files {\n  paths = [\"site\"]\n}\n\nstore other: dir {\n  path   = \"other\"\n  absent = warn\n}\n\n\
               archive main {\n  from = all\n  to   = [store, other]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(two)).file("site/a", "a").file("site/gone", "a");
    let why = |path: &str, code: i32| scenario.plan(["why", "p.plan", path]).status(code);
    let says = |path: &str| {
        let json = scenario.plan(["why", "p.plan", path, "--format", "json"]).json();
        let holds = json["newest"].as_array().unwrap().iter().map(|one| one["holds"].as_bool().unwrap());
        (json["backed_up"].as_bool().unwrap(), json["planned"].as_bool().unwrap(), holds.collect::<Vec<_>>())
    };
    // Nothing was run yet.
    assert!(!why("site/a", 3).stdout.contains("is backed up"));
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(says("site/a"), (true, true, vec![true, true]));
    why("site/a", 0).stdout_has("is backed up\n").stdout_has("newest run in store `other`");
    // What came since.
    scenario.write("site/new", "n");
    assert_eq!(says("site/new"), (false, true, vec![false, false]));
    why("site/new", 3)
        .stdout_has("is NOT backed up: the next run takes it in, and no run has it yet")
        .stdout_has("no backup holds it");
    // One store is away while a run is made.
    fs::rename(scenario.path("other"), scenario.path("away")).unwrap();
    scenario.next_day().plan(["run"]).status(3);
    fs::rename(scenario.path("away"), scenario.path("other")).unwrap();
    assert_eq!(says("site/new"), (false, true, vec![false, true]));
    why("site/new", 3).stdout_has("held by 1 backup").stdout_has("does not hold it");
    // What went, and what never was.
    fs::remove_file(scenario.path("site/gone")).unwrap();
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(says("site/gone"), (false, false, vec![false, false]));
    why("site/gone", 3)
        .stdout_has("(not there now) is NOT backed up any more")
        .stdout_has("held by 2 backups");
    why("site/never", 3).stdout_has("(not there now) is NOT backed up\n").stdout_has("no backup holds it");
}

#[test]
fn names_with_every_odd_character_are_known_and_may_be_given_back_as_they_are_shown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let scenario = Scenario::new().file("p.plan", of_files("  paths = [\"site\"]"));
    let long = [b'n'; 255];
    let names: [&[u8]; 10] = [
        b"tab\there",
        b"new\nline",
        b"esc\x1b[31m",
        b"not\xffutf",
        b"-leading",
        b"100%s",
        b"it's \"q\"",
        b"\\x41",
        b"{a}[b]*",
        &long,
    ];
    let site = scenario.path("site");
    fs::create_dir(&site).unwrap();
    let path = |name: &[u8]| site.join(OsStr::from_bytes(name));
    for name in names {
        fs::write(path(name), name).unwrap();
    }
    scenario.next_day().plan(["run"]).status(0);
    let ask = |name: &OsStr| {
        let answer = scenario.plan([OsStr::new("why"), OsStr::new("p.plan"), name]).status(0);
        assert!(
            answer.stdout.contains("is backed up") && answer.stdout.contains("held by 1 backup"),
            "{answer:?}"
        );
        assert!(!answer.stdout.contains(['\u{1b}', '\t', '\u{fffd}']), "{answer:?}");
        answer.stdout
    };
    for name in names {
        let said = ask(path(name).as_os_str());
        // Both lines that name it may be typed again.
        let first = said.lines().next().unwrap().strip_suffix(" is backed up").unwrap();
        let work = site.parent().unwrap().display().to_string();
        ask(OsStr::new(&first.replace("$W/work", &work)));
        let recorded = said.lines().find_map(|line| line.trim().strip_prefix("recorded as ")).unwrap();
        assert_eq!(
            scenario.plan(["cat", "latest", recorded]).status(0).stdout,
            String::from_utf8_lossy(name)
        );
    }
    let listed = scenario.plan(["ls", "latest"]).status(0).stdout;
    assert!(!listed.contains(['\u{1b}', '\t', '\u{fffd}']), "{listed:?}");
    let shown: Vec<&str> =
        listed.lines().filter_map(|line| Some(&line[line.find("site/site/")?..])).collect();
    assert_eq!(shown.len(), names.len(), "{listed}");
    for shown in shown {
        scenario.plan(["restore", "--to", "back", "--overwrite", "--path", shown]).status(0);
    }
    for name in names {
        let back = scenario.path("back/site/site").join(OsStr::from_bytes(name));
        assert_eq!(fs::read(back).unwrap(), name);
    }
}

#[test]
fn a_source_that_is_a_link_is_said_to_be_one_by_all() {
    let scenario = Scenario::new().file("p.plan", of_files("  paths = [\"site\"]")).file("real/a", "a");
    fs::create_dir(scenario.path("staging")).unwrap();
    std::os::unix::fs::symlink("real", scenario.path("site")).unwrap();
    let told = "is a symbolic link to a folder: the link is recorded, not the folder; name the folder itself";
    scenario.plan(["run", "--dry-run"]).status(3).says(told);
    scenario.next_day().plan(["run"]).status(3).says(told).says("`$W/work/real`");
    scenario.plan(["check", "--live", "p.plan"]).status(0).says("path_is_link").says("$W/work/real");
    scenario.plan(["explain", "path_is_link"]).status(0).says("link");
    scenario
        .plan(["why", "p.plan", "site"])
        .status(0)
        .stdout_has("it is a symbolic link, and the link is recorded, not `$W/work/real`");
    scenario
        .plan(["why", "p.plan", "site/a"])
        .status(3)
        .stdout_has("is NOT backed up\n")
        .stdout_has("left out: `$W/work/site` is a symbolic link, which is recorded and not followed")
        .stdout_has("no backup holds it");
    scenario.plan(["restore", "--to", "back"]).status(0);
    assert_eq!(fs::read_link(scenario.path("back/site/site")).unwrap().to_str(), Some("real"));
    // The mend that is advised: then nothing is said, also where the link is kept beside it.
    scenario.write("p.plan", of_files("  paths = [\"site\", \"real\"]"));
    scenario.plan(["check", "--live", "p.plan"]).status(0).says("nothing to report");
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["why", "p.plan", "real/a"]).status(0);
    // A link to nothing is a source that is missing.
    scenario.write("p.plan", of_files("  paths = [\"site\"]"));
    fs::rename(scenario.path("real"), scenario.path("moved")).unwrap();
    scenario.plan(["check", "--live", "p.plan"]).status(1).says("path_missing");
    scenario.plan(["why", "p.plan", "site"]).status(3).stdout_has("is a symbolic link to nothing");
    scenario
        .next_day()
        .plan(["run"])
        .status(1)
        .says("`$W/work/site` is a symbolic link to `real`, which is not there");
    scenario.plan(["run", "--dry-run"]).status(1).says("symbolic link to `real`");
    scenario.write("p.plan", of_files("  paths    = [\"site\"]\n  optional = true"));
    scenario.next_day().plan(["run"]).status(3).says("is not there");
}
