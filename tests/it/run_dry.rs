//! The dry run: it touches nothing, and what it shows is what the run then does.

use std::collections::BTreeSet;
use std::fs;

use crate::scenario::{Scenario, everything, plan, shell, wait_for};

/// Everything a run can do.
const MUCH: &str = r#"source site: files {
  paths   = ["site"]
  exclude = ["*.tmp"]
}

source db: sqlite {
  path = "app.db"
}

source dump: command {
  run = ["sh", "-c", "echo $TOKEN | wc -c; touch ran"]
  as  = "dump.txt"
  env = ["TOKEN=${exec(["sh", "-c", "touch fetched; echo x"])}"]
}

store other: dir {
  path = "other"
}

archive main {
  from = [site, db]
  to   = [store, other]
}

archive dumps {
  from = [dump]
  to   = [other]
  name = "${host()}_${level()}_${read("version")}_${time("%Y%m%d%H%M%S")}.tar.gz"
}

window quiet {
  around = all
  enter  = ["touch", "entered"]
  leave  = ["touch", "left"]
}

notify log: command {
  run = ["touch", "told"]
  on  = [start, success, warning, failure]
}
"#;

const STAGING: &str = "\nstaging {\n  path = \"staging\"\n}\n";

fn world(staging: &str) -> Scenario {
    let scenario = Scenario::new()
        .file("p.plan", plan(&format!("{MUCH}{staging}")))
        .file("site/a", "a")
        .file("site/x.tmp", "a")
        .file("version", "3.1")
        .file("staging/old", "x")
        .file("staging/deep/older", "x");
    shell(
        &scenario.path("."),
        "sqlite3 app.db 'PRAGMA journal_mode=wal; create table t (n); insert into t values (42)'",
    );
    scenario
}

/// Calls that change something, or could, as strace shows them.
fn changes(trace: &str) -> Vec<&str> {
    let changing = [
        "O_WRONLY",
        "O_RDWR",
        "O_CREAT",
        "O_TRUNC",
        "O_APPEND",
        "mkdir",
        "rename",
        "unlink",
        "rmdir",
        "link(",
        "linkat",
        "chmod",
        "chown",
        "truncate",
        "utime",
        "setxattr",
        "mknod",
        "flock",
        "socket(",
        "connect(",
        "mount",
        "fork(",
        "execve(",
        "kill(",
        "F_SETLK",
        "F_OFD_SETLK",
        "fsync",
        "fdatasync",
        "sync_file",
    ];
    let readlink = |line: &&str| line.contains("readlink");
    let harmless = |line: &&str| {
        // Its own start, and the terminal.
        line.contains("/dev/null")
            || line.contains("/dev/tty")
            || readlink(line)
            || line.contains("ENOENT (No such file")
    };
    let mut found: Vec<&str> = trace
        .lines()
        .filter(|line| changing.iter().any(|word| line.contains(word)))
        .filter(|line| !harmless(line))
        .collect();
    // The first execve is the program itself.
    if found.first().is_some_and(|line| line.contains("execve(")) {
        found.remove(0);
    }
    found
}

#[track_caller]
pub fn touches_nothing(scenario: &Scenario) {
    let before = everything(&scenario.path(".."));
    let log = tempfile::NamedTempFile::new().unwrap();
    let trace = log.path().to_str().unwrap();
    let way = ["strace", "-f", "-s", "200", "-o", trace, "-e", "trace=file,network,process,desc,signal"];
    let answer = scenario.plan_by(&way, ["run", "--dry-run"]);
    assert!([0, 3].contains(&answer.code), "{answer:?}");
    let text = fs::read_to_string(log.path()).unwrap();
    assert!(text.contains("execve(") && text.contains("openat("), "strace saw nothing");
    assert_eq!(changes(&text), [] as [&str; 0]);
    assert_eq!(everything(&scenario.path("..")), before);
}

#[test]
fn the_eye_that_watches_dry_runs_sees_what_runs_do() {
    let scenario = world("");
    let log = tempfile::NamedTempFile::new().unwrap();
    let trace = log.path().to_str().unwrap();
    let way = ["strace", "-f", "-s", "200", "-o", trace, "-e", "trace=file,network,process,desc,signal"];
    scenario.plan_by(&way, ["run"]).status(0);
    let text = fs::read_to_string(log.path()).unwrap();
    let seen = changes(&text);
    for call in ["mkdir", "rename", "O_CREAT", "unlink", "flock", "execve(", "fsync"] {
        assert!(seen.iter().any(|line| line.contains(call)), "{call}");
    }
}

#[test]
fn no_call_of_a_dry_run_changes_anything() {
    for staging in ["", STAGING] {
        let scenario = world(staging);
        touches_nothing(&scenario);
        scenario.next_day().plan(["run"]).status(0);
        scenario.next_day();
        touches_nothing(&scenario);
    }
}

/// Steps with their effects, names of artefacts, and the run's id without its chance.
#[derive(Debug, PartialEq)]
struct Shown {
    run: String,
    steps: Vec<String>,
    archives: Vec<(String, String)>,
}

fn shown(scenario: &Scenario, args: &[&str]) -> (Shown, serde_json::Value) {
    let answer = scenario.plan(args);
    assert!([0, 3].contains(&answer.code), "{answer:?}");
    let json = answer.json();
    let run = json["run"].as_str().unwrap();
    let known = run.rsplit_once('-').unwrap().0.to_owned();
    let steps = json["steps"].as_array().unwrap().iter();
    let steps = steps
        .map(|step| format!("{} {} {} {}", step["step"], step["reads"], step["writes"], step["deletes"]))
        .map(|step| step.replace(run, &known))
        .collect();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let archives = json["archives"].as_array().unwrap().iter();
    let archives = archives.map(|one| (text(&one["archive"]), text(&one["artefact"]))).collect();
    (Shown { run: known, steps, archives }, json)
}

/// What the dry run says would be deleted, as paths.
fn would_delete(json: &serde_json::Value, step: &str) -> BTreeSet<String> {
    let steps = json["steps"].as_array().unwrap();
    let found = steps.iter().find(|one| one["step"] == step).unwrap();
    found["would_delete"].as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_run_does_what_the_dry_run_showed() {
    for staging in ["", STAGING] {
        let scenario = world(staging);
        for _ in 0..2 {
            scenario.next_day();
            let (before, json) = shown(&scenario, &["run", "--dry-run", "--format", "json"]);
            let (after, done) = shown(&scenario, &["run", "--format", "json"]);
            assert_eq!(before, after);
            assert_eq!(done["verdict"], "done");
            // Every step that was shown was done, none else.
            assert!(done["steps"].as_array().unwrap().iter().all(|step| step["outcome"] == "done"));
            for (archive, expected) in [("main", 4), ("dumps", 0)] {
                let find = |json: &serde_json::Value| {
                    json["archives"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .find(|one| one["archive"] == archive)
                        .unwrap()
                        .clone()
                };
                assert_eq!(find(&json)["entries"], expected, "{archive}");
            }
            for object in ["store", "other"] {
                for (_, name) in &after.archives {
                    let there = scenario.path(object).join(name).exists();
                    assert_eq!(there, object == "other" || name.contains("_main_"), "{object} {name}");
                }
            }
        }
    }
}

#[test]
fn what_a_dry_run_would_delete_is_what_is_deleted() {
    let scenario = world(STAGING);
    scenario.next_day();
    let (_, json) = shown(&scenario, &["run", "--dry-run", "--format", "json"]);
    let expected: BTreeSet<String> =
        ["deep", "old"].iter().map(|name| format!("$W/work/staging/{name}")).collect();
    assert_eq!(would_delete(&json, "clear/before"), expected);
    scenario.plan(["run"]).status(0);
    assert_eq!(fs::read_dir(scenario.path("staging")).unwrap().count(), 0);
}

#[test]
fn what_a_dead_run_left_is_shown_and_then_deleted() {
    let slow = plan(
        "source slow: command {\n  run = [\"sh\", \"-c\", \"head -c 3000000 /dev/urandom; touch reading; sleep 300\"]\n  as  = \"x\"\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n",
    );
    let scenario = Scenario::new().file("p.plan", &slow);
    let running = scenario.next_day().start(["run"]);
    wait_for("the reading", || scenario.path("reading").exists());
    running.kill_group();
    running.answer().status(-9);
    let (_, json) = shown(&scenario, &["run", "--dry-run", "--format", "json"]);
    let left = would_delete(&json, "recover");
    assert!(left.iter().any(|name| name.contains("/intents/")), "{left:?}");
    assert!(left.iter().any(|name| name.contains("/tmp/")), "{left:?}");
    let before = everything(&scenario.path("store"));
    let there = |name: &String| scenario.path("store").join(name.trim_start_matches("store:")).exists();
    let real: Vec<&String> = left.iter().filter(|name| there(name)).collect();
    assert!(real.len() >= 2, "{left:?}");
    scenario.write("p.plan", slow.replace("sleep 300", "true"));
    scenario.next_day().plan(["run"]).status(0);
    assert!(!real.into_iter().any(there), "{left:?}");
    let gone = before.keys().filter(|path| !path.exists() && before[*path].1 & 0o170_000 == 0o100_000);
    for path in gone {
        let name = format!("store:{}", path.strip_prefix(scenario.path("store")).unwrap().display());
        assert!(
            left.contains(&name) || name.contains("/lock/"),
            "{name} was deleted and not shown: {left:?}"
        );
    }
}

#[test]
fn what_would_make_the_run_fail_is_shown_beforehand() {
    let scenario = world("");
    fs::remove_file(scenario.path("app.db")).unwrap();
    fs::remove_dir_all(scenario.path("site")).unwrap();
    scenario
        .plan(["run", "--dry-run"])
        .status(1)
        .stdout_has("the run would fail")
        .stdout_has("app.db")
        .stdout_has("site` is not there");
    let scenario = world("");
    scenario.next_day();
    fs::create_dir_all(scenario.path("other")).unwrap();
    scenario.write("other/p_main_20260102T023000Z.tar.gz", "foreign");
    scenario.plan(["run", "--dry-run"]).status(1).stdout_has("is there already");
}
