//! `plan prune`, and the prune at the end of a run.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::scenario::{Answer, Scenario};

/// A plan with these stores and rules.
pub(crate) fn plan(stores: &[&str], more: &str) -> String {
    let mut text = "plan p\n".to_owned();
    for store in stores {
        text.push_str(&format!("store {store}: dir {{\n  path = \"{store}\"\n}}\n"));
    }
    text.push_str(&format!(
        "source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = [site]\n  to   = [{}]\n}}\n{more}\n",
        stores.join(", ")
    ));
    text
}

/// A site of four files and this plan.
pub(crate) fn world(plan: &str) -> Scenario {
    (0..4).fold(Scenario::new().file("p.plan", plan), |scenario, file| {
        scenario.file(&format!("site/{file}"), "x".repeat(100))
    })
}

/// The program at a moment.
pub(crate) fn at(scenario: &Scenario, time: &str, args: &[&str]) -> Answer {
    let output =
        scenario.command().env("BACKPLAN_NOW", time).args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer { code: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The night of day number `day`, counted from 2026-11-01, a Sunday.
pub(crate) fn night(day: u32) -> String {
    let date = jiff::civil::date(2026, 11, 1).checked_add(jiff::Span::new().days(i64::from(day))).unwrap();
    format!("{date}T02:30:00Z")
}

pub(crate) fn runs(scenario: &Scenario, store: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(scenario.path(&format!("{store}/.backplan/p/manifests"))) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut runs: Vec<u32> = names.map(|name| name[..8].parse().unwrap()).collect();
    runs.sort_unstable();
    runs
}

pub(crate) fn files(scenario: &Scenario, store: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![scenario.path(store)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(scenario.path(store)).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.stdout).unwrap()
}

#[test]
fn forty_nights_leave_what_the_calendar_says() {
    let scenario = world(&plan(&["store"], ""));
    for day in 0..40 {
        at(&scenario, &night(day), &["run"]).status(0);
    }
    fs::write(scenario.path("store/p_main_20261101T023000Z.tar.gz.mine"), "mine").unwrap();
    fs::write(scenario.path("store/.backplan/p/manifests/notes.txt"), "mine").unwrap();
    fs::remove_file(scenario.path("store/.backplan/p/manifests/notes.txt")).unwrap();
    at(&scenario, &night(39), &["prune", "--dry-run"]).status(0).stdout_has("no keep: everything stays");
    let keep = "keep { daily = 3, weekly = 3, monthly = 2 }";
    let scenario = scenario.file("p.plan", plan(&["store"], keep));
    let before = files(&scenario, "store");
    let shown = at(&scenario, &night(39), &["prune", "--dry-run", "--format", "json"]).status(0);
    assert_eq!(files(&scenario, "store"), before);
    at(&scenario, &night(39), &["prune", "--dry-run"])
        .status(0)
        .stdout_has("weekly 2026-W49")
        .stdout_has("  2026-12-10 02:30:00 +00:00  ")
        .stdout_has("34 of 40 runs would go")
        .stdout_has("nothing was deleted");
    at(&scenario, &night(39), &["prune"]).status(0).stdout_has("34 of 40 runs gone").stdout_has("6 stay");
    // Sundays 2026-11-29 and 2026-12-06 end weeks, the 30th its month.
    assert_eq!(runs(&scenario, "store"), [29, 30, 36, 38, 39, 40]);
    let listed = json(&shown)["stores"][0]["deletes"].clone();
    let listed: BTreeSet<String> = serde_json::from_value(listed).unwrap();
    let is_lock = |path: &&String| path.contains("/lock/");
    let gone: BTreeSet<String> =
        before.difference(&files(&scenario, "store")).filter(|path| !is_lock(path)).cloned().collect();
    assert_eq!(gone, listed);
    assert!(scenario.path("store/p_main_20261101T023000Z.tar.gz.mine").exists());
    at(&scenario, &night(39), &["verify", "--all"]).status(0);
    at(&scenario, &night(39), &["prune"]).status(0).stdout_has("0 of 6 runs gone");
}

#[test]
fn every_run_prunes_at_its_end_what_its_dry_run_showed() {
    let scenario = world(&plan(&["store"], "keep { last = 3 }"));
    for day in 0..5 {
        let before = if day == 0 { BTreeSet::new() } else { files(&scenario, "store") };
        let shown = json(&at(&scenario, &night(day), &["run", "--dry-run", "--format", "json"]).status(0));
        let steps = shown["steps"].as_array().unwrap();
        let prune = steps.iter().find(|step| step["step"] == "prune/store").unwrap();
        let wanted: BTreeSet<String> = serde_json::from_value(prune["would_delete"].clone()).unwrap();
        at(&scenario, &night(day), &["run"]).status(0);
        let is_lock = |path: &&String| path.contains("/lock/");
        let after = files(&scenario, "store");
        let gone =
            before.difference(&after).filter(|path| !is_lock(path)).map(|path| format!("store:{path}"));
        assert_eq!(gone.collect::<BTreeSet<_>>(), wanted, "day {day}");
    }
    assert_eq!(runs(&scenario, "store"), [3, 4, 5]);
}

#[test]
fn two_stores_keep_what_each_was_told() {
    let text = plan(&["far", "near"], "keep { last = 4 }")
        .replace("  path = \"near\"\n", "  path = \"near\"\n  keep {\n    last = 2\n  }\n");
    let scenario = world(&text);
    for day in 0..6 {
        at(&scenario, &night(day), &["run"]).status(0);
    }
    assert_eq!(runs(&scenario, "near"), [5, 6]);
    assert_eq!(runs(&scenario, "far"), [3, 4, 5, 6]);
    let scenario =
        scenario.file("p.plan", text.replace("last = 4", "last = 1").replace("last = 2", "last = 1"));
    at(&scenario, &night(5), &["prune", "--store", "near"]).status(0);
    assert_eq!((runs(&scenario, "near").len(), runs(&scenario, "far").len()), (1, 4));
    at(&scenario, &night(5), &["prune", "--store", "there"]).status(2).stderr_has("no store `there`");
}

#[test]
fn nothing_goes_where_the_clock_cannot_be_believed() {
    let rules = "schedule { run = daily at 02:30 }\nkeep { within = 2d }";
    let scenario = world(&plan(&["store"], rules));
    for day in 0..2 {
        at(&scenario, &night(day), &["run"]).status(0);
    }
    let back = at(&scenario, "2025-11-20T02:30:00Z", &["prune"]);
    back.status(3).stdout_has("nothing is deleted: ").stdout_has("set the clock right");
    at(&scenario, "2026-11-01T01:00:00Z", &["prune", "--dry-run"]).status(3);
    at(&scenario, "2027-11-20T02:30:00Z", &["prune"]).status(3).stdout_has("more than 3 intervals");
    assert_eq!(runs(&scenario, "store"), [1, 2]);
    // A run a year ahead would count everything as old: it says so and deletes nothing.
    at(&scenario, "2027-11-20T02:30:00Z", &["run", "--dry-run"])
        .status(3)
        .stdout_has("nothing would be pruned");
    at(&scenario, "2027-11-20T02:30:00Z", &["run"]).status(3).stdout_has("more than 3 intervals");
    assert_eq!(runs(&scenario, "store"), [1, 2, 3]);
    // The clock is right again, and the newest run is of next year.
    at(&scenario, &night(2), &["run"]).status(3).stdout_has("began later than that");
    assert_eq!(runs(&scenario, "store"), [1, 2, 3, 4]);
}

#[test]
fn nothing_goes_where_a_source_lost_more_than_half() {
    let scenario = world(&plan(&["store"], "keep { last = 1 }"));
    at(&scenario, &night(0), &["run"]).status(0);
    for file in 0..3 {
        fs::remove_file(scenario.path(&format!("site/{file}"))).unwrap();
    }
    at(&scenario, &night(1), &["run", "--dry-run"]).status(3).stdout_has("source `site` has");
    at(&scenario, &night(1), &["run"]).status(3).stdout_has("source `site` has");
    assert_eq!(runs(&scenario, "store"), [1, 2]);
    at(&scenario, &night(1), &["prune"]).status(3).stdout_has("see that nothing of it is missing");
    // The run after it is believed, but for the last run from before and the first that found less.
    at(&scenario, &night(2), &["run"]).status(0);
    at(&scenario, &night(3), &["run"]).status(0);
    assert_eq!(runs(&scenario, "store"), [1, 2, 4]);
}

#[test]
fn a_store_that_is_append_only_loses_nothing() {
    let text = plan(&["store"], "keep { last = 1 }")
        .replace("  path = \"store\"\n", "  path = \"store\"\n  append_only = true\n");
    let scenario = world(&text);
    for day in 0..3 {
        at(&scenario, &night(day), &["run"]).status(0);
    }
    assert_eq!(runs(&scenario, "store"), [1, 2, 3]);
    at(&scenario, &night(2), &["prune"]).status(0).stdout_has("append_only");
    assert_eq!(runs(&scenario, "store"), [1, 2, 3]);
}

#[test]
fn the_young_stay_in_an_immutable_store() {
    let text = plan(&["store"], "keep { last = 1 }")
        .replace("  path = \"store\"\n", "  path = \"store\"\n  immutable = 3d\n");
    let scenario = world(&text);
    for day in 0..6 {
        at(&scenario, &night(day), &["run"]).status(0);
    }
    assert_eq!(runs(&scenario, "store"), [4, 5, 6]);
    at(&scenario, &night(5), &["prune", "--dry-run", "--at", "2026-11-20"])
        .status(0)
        .stdout_has("2 of 3 runs would go");
}

#[test]
fn a_damaged_manifest_stays_with_all_before_it_and_is_told_of() {
    let scenario = world(&plan(&["store"], ""));
    for day in 0..5 {
        at(&scenario, &night(day), &["run"]).status(0);
    }
    let folder = scenario.path("store/.backplan/p/manifests");
    let third = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let third = third
        .into_iter()
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("00000003"))
        .unwrap();
    fs::write(&third, "nonsense").unwrap();
    let scenario = scenario.file("p.plan", plan(&["store"], "keep { last = 1 }"));
    at(&scenario, &night(4), &["prune"])
        .status(3)
        .stdout_has("may be needed by 00000003")
        .stdout_has("is damaged");
    assert_eq!(runs(&scenario, "store"), [1, 2, 3, 5]);
}

#[test]
fn a_prune_waits_for_no_run() {
    let scenario = world(&plan(&["store"], "keep { last = 1 }"));
    at(&scenario, &night(0), &["run"]).status(0);
    let slow = plan(&["store"], "keep { last = 1 }\nsource slow: command {\n  run = [\"sh\", \"-c\", \"touch started; sleep 3\"]\n  as  = \"slow\"\n}")
        .replace("from = [site]", "from = [site, slow]");
    let scenario = scenario.file("p.plan", slow);
    let mut command = scenario.command();
    let mut run = command.arg("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let since = std::time::Instant::now();
    while !scenario.path("started").exists() {
        assert!(since.elapsed().as_secs() < 30);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    scenario.plan(["prune"]).status(4);
    run.wait().unwrap();
    assert_eq!(runs(&scenario, "store"), [2]);
}

#[test]
fn a_status_tells_ages_promises_and_what_is_next() {
    let rules =
        "schedule { run = daily at 02:30 }\nobjective { rpo = 24h, copies = 1 }\nobjective { rto = 4h }";
    let scenario = world(&plan(&["store"], rules));
    at(&scenario, &night(0), &["status"]).status(1);
    at(&scenario, &night(0), &["run"]).status(0);
    at(&scenario, "2026-11-01T12:30:00Z", &["status"])
        .status(0)
        .stdout_has("all is well")
        .stdout_has("10 h old")
        .stdout_has("next due: 2026-11-02 02:30:00 +00:00, in 14 h")
        .stdout_has("objective rto 4 h of site: not known: `site` was not rehearsed yet");
    let late = at(&scenario, "2026-11-03T02:30:00Z", &["status"]).status(3);
    late.stdout_has("overdue").stdout_has("objective rpo 1 d of site: MISSED");
    let answer = json(&at(&scenario, "2026-11-03T02:30:00Z", &["status", "--format", "json"]).status(3));
    assert_eq!(answer["verdict"], "attention");
    assert_eq!(answer["sources"][0]["age"], 172_800);
    assert_eq!(answer["archives"][0]["level"], "full");
    fs::remove_dir_all(scenario.path("store")).unwrap();
    at(&scenario, "2026-11-01T12:30:00Z", &["status"]).status(1);
}

#[test]
fn what_a_dead_run_left_where_nothing_may_be_deleted_stays_and_is_told_of() {
    let more = "source slow: command {\n  run = [\"sh\", \"-c\", \"test -e site/fast || sleep 20\"]\n  as  = \"slow\"\n}\n\
                archive slow {\n  from = [slow]\n  to   = [store]\n}\nkeep { last = 1 }";
    let text = plan(&["store"], more)
        .replace("  path = \"store\"\n", "  path = \"store\"\n  append_only = true\n")
        .replace("from = all", "from = [site]");
    let scenario = world(&text);
    let artefacts = || {
        let names = files(&scenario, "store");
        names.into_iter().filter(|name| name.starts_with("p_main_")).collect::<Vec<_>>()
    };
    let mut run = scenario.command();
    let mut run = run.arg("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let since = std::time::Instant::now();
    while !scenario.path("store").exists() || artefacts().is_empty() {
        assert!(since.elapsed().as_secs() < 30);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let left = artefacts();
    fs::write(scenario.path("site/fast"), "").unwrap();
    for _ in 0..2 {
        // Names hold the second, and none is ever overwritten.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        scenario.plan(["run", "--dry-run"]).status(3).stdout_has("`append_only`");
        scenario.plan(["run"]).status(3).stdout_has(&left[0]).stdout_has("`append_only`");
        assert!(artefacts().contains(&left[0]));
    }
    // Once this host may delete, the next run does.
    let scenario = scenario.file("p.plan", text.replace("  append_only = true\n", ""));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    scenario.plan(["run"]).status(0);
    assert!(!files(&scenario, "store").contains(&left[0]));
}

/// Runs that are usually a day apart, and then four, twice: what the clock is held against is the same before the run is in the store.
#[test]
fn a_dry_run_believes_the_clock_where_the_run_does() {
    let plan = "plan p\nstore a: dir {\n  path = \"a\"\n  immutable = 1d\n}\nsource site: files {\n  paths = [\"site\"]\n}\n\
        archive main {\n  from = [site]\n  to = [a]\n}\nkeep {\n  last = 5\n}\n";
    let scenario = Scenario::new().file("p.plan", plan).file("site/x", "x");
    let mut last = Vec::new();
    for days in [1, 1, 1, 1, 4, 1, 4] {
        for _ in 0..days {
            scenario.next_day();
        }
        let foreseen = scenario.plan(["run", "--dry-run", "--format", "json"]).json();
        let came = scenario.plan(["run", "--format", "json"]).json();
        assert_eq!(foreseen["verdict"], came["verdict"], "{foreseen} {came}");
        last = vec![came["verdict"].clone(), came["warnings"].clone()];
    }
    assert_eq!(last[0], "warnings", "{last:?}");
    assert!(last[1].to_string().contains("further from run"), "{last:?}");
}
