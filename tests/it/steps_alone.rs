//! Whole runs, each step in a process of its own: whole, and killed at every boundary.

use std::collections::BTreeSet;
use std::fs;

use crate::scenario::{Scenario, everything, plan, wait_for};

/// Two archives in two stores, a file that is copied, a program, a window, what is told; the staging is left open.
fn text(staging: &str) -> String {
    plan(&format!(
        "store other: dir {{\n  path = \"other\"\n}}\n\nsource site: files {{\n  paths = [\"site\"]\n}}\n\n\
         source db: sqlite {{\n  path = \"app.db\"\n}}\n\n\
         source said: command {{\n  run = [\"echo\", \"x\"]\n  as  = \"said\"\n}}\n\n\
         archive main {{\n  from = [site, db]\n  to   = [store, other]\n}}\n\n\
         archive words {{\n  from = [said]\n  to   = [other]\n}}\n\n\
         cycle {{\n  incrementals = 2\n}}\n\nkeep {{\n  last = 2\n}}\n\n\
         window quiet {{\n  around = [site]\n  enter  = [\"sh\", \"-c\", \"echo in >> world\"]\n  leave  = [\"sh\", \"-c\", \"echo out >> world\"]\n}}\n\n\
         notify log: command {{\n  run = [\"sh\", \"-c\", \"echo told >> world\"]\n  on  = [success, warning, failure]\n}}\n{staging}"
    ))
}

const STAGING: &str = "\nstaging {\n  path = \"staging\"\n}\n";

fn world(staging: &str) -> Scenario {
    let scenario = Scenario::new().file("p.plan", text(staging)).file("site/a", "a");
    fs::create_dir(scenario.path("staging")).unwrap();
    crate::scenario::shell(
        &scenario.path("."),
        "sqlite3 app.db 'create table t (n); insert into t values (42)'",
    );
    scenario
}

/// Does a step, and gives what it says.
#[track_caller]
fn step(scenario: &Scenario, id: &str, run: Option<&str>, status: i32) -> serde_json::Value {
    let mut args = vec!["step", "p.plan", id, "--format", "json"];
    args.extend(run.iter().flat_map(|run| ["--run", run]));
    scenario.plan(args).status(status).json()
}

fn next(said: &serde_json::Value) -> Vec<String> {
    said["next"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// Does steps until the run is over, or so many are done; the run, the steps in their order, and what the last said.
pub fn steps(scenario: &Scenario, most: usize) -> (String, Vec<String>, serde_json::Value) {
    let mut said = step(scenario, "lock", None, 0);
    let run = said["run"].as_str().unwrap().to_owned();
    let mut done = vec!["lock".to_owned()];
    while done.len() < most && said["report"].is_null() {
        // The last first: no order but that of the graph is needed.
        let id = next(&said).pop().unwrap();
        said = step(scenario, &id, Some(&run), 0);
        done.push(id);
    }
    (run, done, said)
}

/// What the newest backups hold.
fn restored(scenario: &Scenario) -> BTreeSet<(String, Vec<u8>)> {
    let to = scenario.path("back");
    let _ = fs::remove_dir_all(&to);
    // Where one store has the newest run and another has not, what only that one has is told to be missing.
    let answer = scenario.plan(["restore", "p.plan", "--to", "back"]);
    assert!([0, 3].contains(&answer.code), "{answer:?}");
    let files = everything(&to).into_keys().filter(|path| path.is_file());
    files
        .map(|path| (path.strip_prefix(&to).unwrap().display().to_string(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_run_step_by_step_is_the_run() {
    for staging in ["", STAGING] {
        let scenario = world(staging);
        for round in 0..4 {
            scenario.next_day().write("site/a", format!("round {round}"));
            let shown = scenario.plan(["run", "--dry-run", "--format", "json"]).status(0).json();
            let (run, done, said) = steps(&scenario, usize::MAX);
            let all: BTreeSet<&str> =
                shown["steps"].as_array().unwrap().iter().map(|one| one["step"].as_str().unwrap()).collect();
            assert_eq!(done.iter().map(String::as_str).collect::<BTreeSet<_>>(), all);
            assert_eq!(said["report"]["verdict"], "done", "{said}");
            // Each step did what a whole run would have done.
            let effects = |json: &serde_json::Value, run: &str| {
                let steps = json["steps"].as_array().unwrap().iter();
                let told = steps.map(|one| format!("{} {} {}", one["step"], one["writes"], one["deletes"]));
                told.map(|text| text.replace(run, "RUN")).collect::<Vec<_>>()
            };
            assert_eq!(effects(&said["report"], &run), effects(&shown, shown["run"].as_str().unwrap()));
            let held: BTreeSet<String> = restored(&scenario).into_iter().map(|(name, _)| name).collect();
            assert!(held.iter().any(|name| name.ends_with("app.db")), "{held:?}");
            assert!(
                restored(&scenario).iter().any(|(_, bytes)| *bytes == format!("round {round}").into_bytes())
            );
            assert_eq!(fs::read_to_string(scenario.path("world")).unwrap().lines().count(), 3 * (round + 1));
            // It is over: no step of it is done once more.
            let again = scenario.plan(["step", "p.plan", "unlock", "--run", &run]);
            again.status(1).stderr_has("or it is over");
        }
        for store in ["store", "other"] {
            scenario.plan(["verify", "p.plan", "--store", store, "--deep"]).status(0);
        }
    }
}

#[test]
fn a_run_between_two_steps_has_not_died() {
    let scenario = world("");
    scenario.next_day().plan(["run"]).status(0);
    let (run, done, _) = steps(&scenario, 4);
    assert_eq!(done.len(), 4);
    let told = format!("under way: run `{run}` of `plan step`");
    let answer = scenario.plan(["status"]).status(0).stdout_has(&told).said();
    assert!(!answer.contains("died"), "{answer}");
    let json = scenario.plan(["status", "--format", "json"]).status(0).json();
    assert_eq!(json["between_steps"]["run"], run.as_str());
    scenario.plan(["run", "--dry-run"]).says(&format!("run {run} is between two steps"));
    // One that nobody goes on with holds a window open, maybe.
    let answer = scenario.next_day().plan(["status"]).status(3);
    answer.stdout_has("of `plan step` has waited for its next step for 1 d");
    scenario.plan(["run"]).status(0);
    assert!(!scenario.plan(["status"]).status(0).said().contains("under way"));
}

#[test]
fn a_run_that_goes_no_further_at_any_step_is_taken_back_by_the_next() {
    for staging in ["", STAGING] {
        let scenario = world(staging);
        scenario.next_day().plan(["run"]).status(0);
        let count = {
            scenario.next_day().write("site/a", "all");
            steps(&scenario, usize::MAX).1.len()
        };
        for most in 1..count {
            scenario.next_day().write("site/a", format!("until {most}"));
            let (run, done, said) = steps(&scenario, most);
            let open =
                done.iter().any(|id| id == "enter/quiet") && !done.iter().any(|id| id == "leave/quiet");
            fs::write(scenario.path("world"), "").unwrap();
            // What was committed by then is a backup; of what was not, nothing stays.
            restored(&scenario);
            // Where one store has it and another has not, the other is told to be behind.
            let answer = scenario.next_day().plan(["run"]);
            assert!([0, 3].contains(&answer.code), "{done:?}: {answer:?}");
            let world = fs::read_to_string(scenario.path("world")).unwrap();
            assert_eq!(world.starts_with("out\n"), open, "{done:?}: {world}");
            assert!(
                restored(&scenario).iter().any(|(_, bytes)| *bytes == format!("until {most}").into_bytes())
            );
            let left: Vec<String> = ["store", "other"]
                .iter()
                .flat_map(|store| {
                    [".backplan/p/intents", ".backplan/p/tmp"].map(|name| format!("{store}/{name}"))
                })
                .filter(|name| scenario.path(name).is_dir())
                .flat_map(|name| everything(&scenario.path(&name)).into_keys())
                .map(|path| path.display().to_string())
                .collect();
            assert_eq!(left, Vec::<String>::new(), "{done:?}");
            // No step of it is done any more.
            if let Some(id) = next(&said).first() {
                scenario.plan(["step", "p.plan", id, "--run", &run]).status(1).stderr_has("is over");
            }
        }
    }
}

#[test]
fn a_step_that_was_killed_is_done_again() {
    let slow = text(STAGING).replace(
        "run = [\"echo\", \"x\"]",
        "run = [\"sh\", \"-c\", \"touch reading; test -e quick || sleep 300; echo x\"]",
    );
    let scenario = world(STAGING).file("p.plan", &slow);
    scenario.next_day();
    let mut said = step(&scenario, "lock", None, 0);
    let run = said["run"].as_str().unwrap().to_owned();
    while let Some(id) = next(&said).into_iter().find(|id| id != "pack/words") {
        said = step(&scenario, &id, Some(&run), 0);
    }
    let running = scenario.start(["step", "p.plan", "pack/words", "--run", &run]);
    wait_for("the reading", || scenario.path("reading").exists());
    // Nobody else does a step meanwhile, and nobody begins a run.
    scenario.plan(["step", "p.plan", "pack/words", "--run", &run]).status(4);
    scenario.plan(["run"]).status(4);
    running.kill_group();
    running.answer().status(-9);
    scenario.write("quick", "");
    let again = step(&scenario, "pack/words", Some(&run), 0);
    assert_eq!(again["verdict"], "done");
    // One that has ended says so once more, and does nothing.
    fs::remove_file(scenario.path("reading")).unwrap();
    assert_eq!(step(&scenario, "pack/words", Some(&run), 0)["verdict"], "done");
    assert!(!scenario.path("reading").exists());
    said = again;
    while said["report"].is_null() {
        said = step(&scenario, &next(&said)[0], Some(&run), 0);
    }
    assert_eq!(said["report"]["verdict"], "done");
    restored(&scenario);
}

#[test]
fn a_run_each_of_whose_steps_was_killed_first_is_whole() {
    for (staging, wait) in [("", 15), (STAGING, 40), (STAGING, 90)] {
        let scenario = world(staging);
        scenario.next_day().plan(["run"]).status(0);
        scenario.next_day().write("site/a", "killed");
        let mut said = step(&scenario, "lock", None, 0);
        let run = said["run"].as_str().unwrap().to_owned();
        while said["report"].is_null() {
            let id = next(&said).remove(0);
            let running = scenario.start(["step", "p.plan", &id, "--run", &run, "--format", "json"]);
            std::thread::sleep(std::time::Duration::from_millis(wait));
            running.kill_group();
            // It may have ended before.
            let first = running.answer();
            assert!([-9, 0].contains(&first.code), "{id}: {first:?}");
            let again = scenario.plan(["step", "p.plan", &id, "--run", &run, "--format", "json"]);
            said = match first.code {
                // The last: of a run that is over nothing is done any more.
                0 if again.code == 1 => first.json(),
                _ => again.status(0).json(),
            };
        }
        assert_eq!(said["report"]["verdict"], "done", "{said}");
        assert!(restored(&scenario).iter().any(|(_, bytes)| bytes == b"killed"));
        for store in ["store", "other"] {
            scenario.plan(["verify", "p.plan", "--store", store, "--deep"]).status(0);
        }
    }
}

#[test]
fn what_cannot_be_done_now_is_said_and_changes_nothing() {
    let scenario = world("");
    scenario.next_day();
    scenario.plan(["step", "p.plan", "scan/site"]).status(2).stderr_has("name the run");
    assert!(!scenario.path("store").exists());
    let run = step(&scenario, "lock", None, 0)["run"].as_str().unwrap().to_owned();
    let refused = |id: &str, run: &str, status: i32, why: &str| {
        scenario.plan(["step", "p.plan", id, "--run", run]).status(status).stderr_has(why);
    };
    refused("none", &run, 2, "has no step `none`");
    refused("lock", &run, 2, "leave `--run` out");
    refused("commit/store", &run, 1, "waits for");
    refused("recover", "x", 2, "--run x");
    refused("recover", "00000009-20260101T000000Z-aaaaaa", 1, "there is none");
    scenario.write("p.plan", text("").replace("last = 2", "last = 3"));
    refused("lock/other", &run, 1, "is another than when run");
    scenario.write("p.plan", text(""));
    step(&scenario, "lock/other", Some(&run), 0);
}

#[test]
fn a_step_that_fails_is_told_and_what_waits_for_it_is_not_run() {
    let scenario = world("");
    fs::remove_file(scenario.path("app.db")).unwrap();
    scenario.next_day();
    let mut said = step(&scenario, "lock", None, 0);
    let run = said["run"].as_str().unwrap().to_owned();
    let mut outcomes = Vec::new();
    while said["report"].is_null() {
        let id = next(&said).remove(0);
        let answer = scenario.plan(["step", "p.plan", &id, "--run", &run, "--format", "json"]);
        outcomes.push((id, answer.code));
        said = answer.json();
    }
    assert_eq!(said["report"]["verdict"], "failed", "{said}");
    assert!(outcomes.contains(&("dump/db".to_owned(), 1)), "{outcomes:?}");
    assert!(outcomes.iter().all(|(id, code)| *code == i32::from(id == "dump/db")), "{outcomes:?}");
    // The archive goes on without the source, as in a run.
    let committed = said["report"]["committed"].as_array().unwrap();
    assert_eq!(committed.len(), 2, "{said}");
}

#[test]
fn a_store_is_taken_over_where_it_is_locked_and_by_no_later_step() {
    let scenario = world("");
    scenario.plan(["run"]).status(0);
    fs::remove_dir_all(scenario.path("../state")).unwrap();
    let mut said = scenario.plan(["step", "p.plan", "lock", "--adopt", "--format", "json"]).status(0).json();
    let run = said["run"].as_str().unwrap().to_owned();
    // Its disk goes when it is locked, and an empty mount point is left.
    while !next(&said).iter().any(|id| id.starts_with("dump/")) {
        let id = next(&said).remove(0);
        // By the step that looks back it is told that all is taken whole, as the state is lost.
        said = step(&scenario, &id, Some(&run), if id == "recover" { 3 } else { 0 });
    }
    fs::rename(scenario.path("other"), scenario.path("other.away")).unwrap();
    fs::create_dir(scenario.path("other")).unwrap();
    for _ in 0..40 {
        let Some(id) = next(&said).into_iter().next() else { break };
        let args = ["step", "p.plan", &id, "--run", &run, "--format", "json"];
        let answer = scenario.plan(args);
        match serde_json::from_str(&answer.stdout) {
            Ok(told) => said = told,
            Err(_) => break,
        }
    }
    assert!(everything(&scenario.path("other")).is_empty(), "{said}");
    fs::remove_dir(scenario.path("other")).unwrap();
    fs::rename(scenario.path("other.away"), scenario.path("other")).unwrap();
    let again = scenario.plan(["run"]);
    assert!([0, 3].contains(&again.code), "{again:?}");
    scenario.plan(["verify", "--all"]).status(0);
}

/// Does what can be done next until the run is over: the report, and the steps that ended otherwise than done.
fn to_the_end(
    scenario: &Scenario,
    run: &str,
    mut said: serde_json::Value,
) -> (serde_json::Value, Vec<(String, i32)>) {
    let mut other = Vec::new();
    while said["report"].is_null() {
        let id = next(&said).remove(0);
        let answer = scenario.plan(["step", "p.plan", &id, "--run", run, "--format", "json"]);
        if answer.code != 0 {
            other.push((id, answer.code));
        }
        said = answer.json();
    }
    (said["report"].clone(), other)
}

#[test]
fn a_run_whose_time_is_over_between_two_steps_says_so() {
    let late = |text: String, until: &str, why: &str| {
        let scenario = world("").file("p.plan", text);
        scenario.next_day();
        let mut said = step(&scenario, "lock", None, 0);
        let run = said["run"].as_str().unwrap().to_owned();
        while !next(&said).iter().any(|id| id == until) {
            said = step(&scenario, &next(&said).remove(0), Some(&run), 0);
        }
        // Nobody comes for a day.
        scenario.next_day();
        let (report, other) = to_the_end(&scenario, &run, said);
        assert_eq!(report["verdict"], "failed", "{report}");
        assert_eq!(other.iter().filter(|(_, code)| *code == 1).count(), 1, "{other:?}: {report}");
        let reasons = report["steps"].as_array().unwrap().iter().filter(|one| one["outcome"] == "failed");
        assert_eq!(reasons.map(|one| one["reason"].as_str().unwrap()).collect::<Vec<_>>(), [why], "{report}");
        scenario.plan(["status"]).says(why);
    };
    let limited = format!("{}\nlimits {{\n  timeout = 1h\n}}\n", text(""));
    late(limited, "scan/site", "the run's time (`limits.timeout`) was over");
    let window = text("").replace("window quiet {\n", "window quiet {\n  timeout = 1h\n");
    late(window, "scan/site", "the `timeout` of window `quiet` was over");
}

#[test]
fn a_store_that_drops_out_between_two_steps_is_told_of_once() {
    for absent in [true, false] {
        let scenario = world("");
        scenario.next_day().plan(["run"]).status(0);
        scenario.next_day();
        let mut said = step(&scenario, "lock", None, 0);
        let run = said["run"].as_str().unwrap().to_owned();
        while !next(&said).iter().any(|id| id.starts_with("pack/")) {
            said = step(&scenario, &next(&said).remove(0), Some(&run), 0);
        }
        fs::rename(scenario.path("other"), scenario.path("away")).unwrap();
        if !absent {
            fs::create_dir(scenario.path("other")).unwrap();
        }
        let (report, other) = to_the_end(&scenario, &run, said);
        assert_eq!(report["committed"], serde_json::json!(["store"]), "{report}");
        let warnings = report["warnings"].as_array().unwrap();
        let told = |text: &str| warnings.iter().filter(|one| one.as_str().unwrap().contains(text)).count();
        assert_eq!(told(if absent { "is not there" } else { "wrong disk" }), 1, "{report}");
        assert_eq!(other.iter().filter(|(_, code)| *code == 3).count(), 1, "{other:?}: {report}");
        let listed = scenario.plan(["list", "--store", "store", "--format", "json"]).json();
        assert_eq!(listed["runs"][1]["warnings"], 1, "{listed}");
    }
}
