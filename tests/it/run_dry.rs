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
        .file("version", "3.1");
    fs::create_dir(scenario.path("staging")).unwrap();
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
        "mount(",
        "umount2(",
        "mount_setattr(",
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
    scenario.next_day().plan(["run"]).status(0);
    // What is there before its first use is somebody else's.
    fs::create_dir(scenario.path("staging/deep")).unwrap();
    scenario.write("staging/deep/older", "x");
    scenario.write("staging/old", "x");
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

/// Shows a run and then makes it: both end with this status, and with the same of every step. What was shown.
#[track_caller]
fn shown_and_done(scenario: &Scenario, status: i32) -> serde_json::Value {
    let shown = scenario.plan(["run", "--dry-run", "--format", "json"]).status(status).json();
    let done = scenario.plan(["run", "--format", "json"]).status(status).json();
    assert_eq!(shown["verdict"], done["verdict"]);
    let outcomes = |json: &serde_json::Value| {
        let steps = json["steps"].as_array().unwrap().iter();
        let steps =
            steps.map(|step| format!("{} {}", step["step"], step["outcome"]).replace("would_run", "done"));
        steps.collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&shown), outcomes(&done));
    for archive in shown["archives"].as_array().unwrap() {
        let name = archive["artefact"].as_str().unwrap();
        for store in ["far", "near"] {
            let says = archive["stores"].as_array().unwrap().iter().any(|one| one == store);
            assert_eq!(scenario.path(store).join(name).exists(), says, "{store} {archive}");
        }
    }
    let made = done["archives"].as_array().unwrap().iter().filter(|one| !one["size"].is_null()).count();
    assert_eq!(shown["archives"].as_array().unwrap().len(), made);
    for step in shown["steps"].as_array().unwrap().iter().filter(|step| step["outcome"] == "not_run") {
        assert_eq!(step["would_delete"].as_array().unwrap().len(), 0, "{step}");
        assert_eq!(step["found"].as_array().unwrap().len(), 0, "{step}");
    }
    shown
}

/// Two stores with a past of five runs, of which three are kept.
fn two_stores(absent: &str, more: &str) -> Scenario {
    let text = format!(
        "plan p\n\nstore far: dir {{\n  path   = \"far\"\n  absent = {absent}\n}}\n\nstore near: dir {{\n  path = \"near\"\n}}\n\n\
         source site: files {{\n  paths = [\"site\"]\n}}\n\nsource other: files {{\n  paths = [\"other\"]\n}}\n\n\
         archive main {{\n  from = [site]\n  to   = [far, near]\n}}\n\narchive rest {{\n  from = [other]\n  to   = [near]\n}}\n\n\
         keep {{\n  last = 3\n}}\n{more}"
    );
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a").file("other/b", "b");
    fs::create_dir(scenario.path("staging")).unwrap();
    for _ in 0..5 {
        let run = scenario.next_day().plan(["run"]);
        run.status(0);
    }
    scenario.next_day();
    scenario
}

fn step<'a>(json: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    json["steps"].as_array().unwrap().iter().find(|one| one["step"] == name).unwrap()
}

#[test]
fn a_finding_of_the_check_is_no_trouble_of_the_run() {
    let scenario = two_stores("warn", "\nlet unused = \"x\"\n");
    scenario.plan(["check", "p.plan"]).status(0);
    shown_and_done(&scenario, 0);
}

#[test]
fn what_would_not_be_made_is_not_shown() {
    for staging in ["", STAGING] {
        let scenario = two_stores("warn", staging);
        fs::remove_dir_all(scenario.path("site")).unwrap();
        fs::remove_dir_all(scenario.path("other")).unwrap();
        let human = scenario.plan(["run", "--dry-run"]).status(1);
        assert!(!human.stdout.contains("would delete") && !human.stdout.contains("runs stay"), "{human:?}");
        assert!(!human.stdout.contains(" -> "), "{human:?}");
        human.stdout_has("no artefact would be made").stdout_has("would not run: `scan/site` failed");
        let shown = shown_and_done(&scenario, 1);
        assert_eq!(step(&shown, "scan/site")["outcome"], "failed");
        assert_eq!(step(&shown, "pack/main")["outcome"], "not_run");
        assert_eq!(step(&shown, "commit/near")["outcome"], "not_run");
        assert_eq!(step(&shown, "prune/near")["outcome"], "not_run");
        assert_eq!(shown["archives"], serde_json::json!([]));
    }
}

#[test]
fn what_is_whole_is_shown_where_the_rest_would_fail() {
    for staging in ["", STAGING] {
        let scenario = two_stores("warn", staging);
        fs::remove_dir_all(scenario.path("site")).unwrap();
        let before = everything(&scenario.path("near"));
        let shown = shown_and_done(&scenario, 1);
        assert_eq!(step(&shown, "commit/far")["outcome"], "not_run");
        assert_eq!(step(&shown, "commit/near")["outcome"], "would_run");
        assert_eq!(shown["archives"][0]["archive"], "rest");
        assert_eq!(shown["archives"][0]["stores"], serde_json::json!(["near"]));
        // What is shown to go is what went: the backups of the source that failed stay.
        let after = everything(&scenario.path("near"));
        let gone = before.keys().filter(|path| !after.contains_key(*path) && !path.is_dir());
        let gone: BTreeSet<String> = gone
            .filter(|path| before[*path].1 & 0o170_000 == 0o100_000)
            .map(|path| format!("near:{}", path.strip_prefix(scenario.path("near")).unwrap().display()))
            .filter(|name| !name.contains("/lock/"))
            .collect();
        assert_eq!(would_delete(&shown, "prune/near"), gone);
    }
}

#[test]
fn a_store_that_is_gone_means_what_the_plan_says() {
    for staging in ["", STAGING] {
        for (absent, status) in [("warn", 3), ("skip", 0), ("fail", 1)] {
            let scenario = two_stores(absent, staging);
            fs::rename(scenario.path("far"), scenario.path("away")).unwrap();
            let shown = shown_and_done(&scenario, status);
            let goes_on = absent != "fail";
            let outcome = if goes_on { "dropped" } else { "failed" };
            assert_eq!(step(&shown, "lock/far")["outcome"], outcome, "{absent}");
            assert_eq!(shown["errors"].as_array().unwrap().is_empty(), goes_on, "{absent}");
            let artefacts = shown["archives"].as_array().unwrap();
            assert_eq!(artefacts.len(), if goes_on { 2 } else { 0 }, "{absent}");
            assert!(artefacts.iter().all(|one| one["stores"] == serde_json::json!(["near"])), "{shown}");
            assert!(!scenario.path("far").exists());
        }
    }
}

#[test]
fn a_name_that_is_taken_keeps_an_artefact_from_one_store() {
    for staging in ["", STAGING] {
        let scenario = two_stores("warn", staging);
        // Otherwise nothing changed, and nothing would be written.
        scenario.write("site/c", "c");
        let shown = scenario.plan(["run", "--dry-run", "--format", "json"]).status(0).json();
        let name = shown["archives"][0]["artefact"].as_str().unwrap();
        scenario.write(&format!("far/{name}"), "foreign");
        let text = scenario.plan(["run", "--dry-run"]).status(1).stdout;
        assert!(text.contains("is there already") && text.contains(&format!("{name} -> near\n")), "{text}");
        let answer = scenario.plan(["run", "--format", "json"]).status(1);
        assert_eq!(answer.json()["committed"], serde_json::json!(["near"]), "{answer:?}");
    }
}

#[test]
fn a_store_in_use_is_told_with_the_status_that_a_run_has() {
    let text = plan(
        "source slow: command {\n  run = [\"sh\", \"-c\", \"touch reading; sleep 300\"]\n  as  = \"x\"\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n",
    );
    let scenario = Scenario::new().file("p.plan", text);
    let running = scenario.next_day().start(["run"]);
    wait_for("the reading", || scenario.path("reading").exists());
    scenario
        .plan(["run", "--dry-run"])
        .status(4)
        .stdout_has("the run would not begin")
        .stdout_has("in use by");
    scenario.plan(["run"]).status(4);
    running.signal("TERM");
    running.answer().status(143);
}

#[test]
fn what_is_one_is_one_and_the_second_of_the_last_run_is_no_trouble() {
    let plan = "plan p\nstore local: dir { path = \"b\" }\nsource s: files { paths = [\"src\"], compare = checksum }\n\
                archive a { from = [s], to = [local] }\ncycle { incrementals = 3 }\n\
                schedule { run = daily at 02:30 }\nkeep { last = 3 }\n";
    let scenario = Scenario::new().file("p.plan", plan).file("src", "1").file("b/here", "");
    let answer = scenario.plan(["run", "--dry-run"]).status(0).stdout_has("1 run stays, 0 go");
    answer
        .stdout_has("2 entries, 1 byte before compression, as")
        .stdout_has("    2 entries, 1 B before compression");
    for _ in 0..3 {
        scenario.plan(["run"]).status(0);
        let next = scenario.plan(["run", "--dry-run"]).status(0);
        next.stdout_has("source `s` is compared by its contents");
    }
}
