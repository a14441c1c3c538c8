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
