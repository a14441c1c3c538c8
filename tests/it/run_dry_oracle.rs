//! Dry runs held against what the system sees of them, and against the runs that follow.

use std::collections::BTreeSet;
use std::fs;

use crate::run_dry::touches_nothing;
use crate::scenario::{Scenario, everything, plan, settle};

/// Sources of every kind and driver, separate and log.
const EVERY_KIND: &str = r#"source rest: postgres {
  driver  = pgbackrest
  stanza  = "main"
  staging = "rest"
}
source apart: postgres {
  driver = pgbackrest
  stanza = "apart"
}
source base: postgres {
  driver   = basebackup
  host     = "sock"
  password = exec(["touch", "fetched"])
}
source pro: postgres {
  driver   = probackup
  data_dir = "pg"
  staging  = "pro"
}
source dumped: postgres {
  driver   = dump
  host     = "localhost"
  database = "app"
}
source db: sqlite {
  path = "app.db"
}
source site: files {
  paths = ["site"]
}
source said: command {
  run = ["touch", "ran"]
  as  = "said"
}
staging {
  path = "staging"
}
archive main {
  from = [rest, base, pro, dumped, db, site, said]
  to   = [store]
}
separate apart {
  to = [store]
}
wal base {
  to = [store]
}
cycle {
  incrementals = 2
}
keep {
  cycles = 1
}
window still {
  around = [site]
  enter  = ["touch", "entered"]
  leave  = ["touch", "left"]
}
notify log: command {
  run = ["touch", "told"]
  on  = [start, success, warning, failure]
}
"#;

#[test]
fn no_call_of_a_dry_run_of_any_kind_of_source_changes_anything() {
    let scenario = Scenario::new().file("p.plan", plan(EVERY_KIND)).file("site/a", "a").file("app.db", "");
    for folder in ["rest", "pro", "pg", "sock", "staging"] {
        fs::create_dir(scenario.path(folder)).unwrap();
    }
    let answer = scenario.plan(["run", "--dry-run", "--format", "json"]);
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 0, "{answer:?}");
    let shown = answer.json();
    let names: BTreeSet<&str> =
        shown["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    for wanted in ["dump/rest", "dump/base", "dump/pro", "dump/dumped", "dump/apart", "enter/still"] {
        assert!(names.contains(wanted), "{wanted}: {names:?}");
    }
    touches_nothing(&scenario);
}

/// The deletions that a document tells of, of steps of this kind.
fn would_delete(json: &serde_json::Value, kind: &str) -> BTreeSet<String> {
    let steps = json["steps"].as_array().unwrap().iter();
    let steps = steps.filter(|step| step["step"].as_str().unwrap().starts_with(kind));
    let names = steps.flat_map(|step| step["would_delete"].as_array().unwrap());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// What is in the store but for locks and what a run leaves there while it works.
fn stored(scenario: &Scenario) -> BTreeSet<String> {
    let folder = scenario.path("store");
    let all = if folder.exists() { everything(&folder) } else { Default::default() };
    let files = all.into_iter().filter(|(_, (_, mode, _))| mode & 0o170_000 == 0o100_000);
    let names = files.map(|(path, _)| format!("store:{}", path.strip_prefix(&folder).unwrap().display()));
    names.filter(|name| !name.contains("/lock/")).collect()
}

/// Ten days of a plan: each day is shown first and then done.
fn ten_days(more: &str) {
    let text = plan(&format!(
        "source site: files {{\n  paths = [\"site\"]\n}}\n\nsource said: command {{\n  run = [\"echo\", \"x\"]\n  as  = \"said\"\n}}\n\n\
         archive main {{\n  from = [site]\n  to   = [store]\n}}\n\narchive words {{\n  from = [said]\n  to   = [store]\n}}\n\n{more}"
    ));
    let scenario = Scenario::new().file("p.plan", text).file("site/0", "0");
    let (mut gone_in_all, mut levels) = (0, BTreeSet::new());
    for day in 0..10_u64 {
        scenario.next_day();
        scenario.write(&format!("site/{day}"), format!("{day}"));
        let before = stored(&scenario);
        let shown = scenario.plan(["run", "--dry-run", "--format", "json"]).status(0).json();
        assert_eq!(stored(&scenario), before);
        let done = scenario.plan(["run", "--format", "json"]).status(0).json();
        let names = |json: &serde_json::Value| {
            let steps = json["steps"].as_array().unwrap().iter();
            steps.map(|step| step["step"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&shown), names(&done), "day {day}");
        for (before, after) in
            shown["archives"].as_array().unwrap().iter().zip(done["archives"].as_array().unwrap())
        {
            assert_eq!(before["artefact"], after["artefact"], "day {day}");
            if before["archive"] == "main" {
                // What changed so shortly before the last run that only its contents tell is counted, too.
                let (shown, packed) =
                    (before["entries"].as_u64().unwrap(), after["entries"].as_u64().unwrap());
                assert!(packed <= shown && shown <= day + 3, "day {day}: {packed} {shown}");
                assert!(packed < day + 3 || shown == packed, "day {day}: {packed} {shown}");
            }
        }
        let found = shown["steps"].as_array().unwrap().iter();
        let words: Vec<String> = found.map(|step| step["found"].to_string()).collect();
        let level = ["incremental", "differential"]
            .into_iter()
            .find(|level| words.iter().any(|text| text.contains(&format!("\"{level}, by what changed"))));
        levels.insert(level.unwrap_or("full"));
        let after = stored(&scenario);
        let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
        assert_eq!(would_delete(&shown, "prune/"), gone, "day {day}");
        gone_in_all += gone.len();
    }
    assert!(gone_in_all > 0, "nothing was ever pruned");
    let follows = if more.contains("base         = full") { "differential" } else { "incremental" };
    assert_eq!(levels.contains(follows), more.contains("cycle {"), "{levels:?}");
    assert!(levels.contains("full"), "{levels:?}");
}

#[test]
fn fulls_and_their_deletions_are_those_that_were_shown() {
    ten_days("keep {\n  last = 3\n}\n");
}

#[test]
fn incrementals_and_their_deletions_are_those_that_were_shown() {
    ten_days("cycle {\n  incrementals = 2\n  base         = previous\n}\n\nkeep {\n  cycles = 1\n}\n");
}

#[test]
fn differentials_and_their_deletions_are_those_that_were_shown() {
    ten_days("cycle {\n  incrementals = 2\n  base         = full\n}\n\nkeep {\n  last = 2\n}\n");
}

/// The files of both stores, but for locks.
fn disk(scenario: &Scenario) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for store in ["store", "other"] {
        let folder = scenario.path(store);
        let all = if folder.exists() { everything(&folder) } else { Default::default() };
        let files = all.into_iter().filter(|(_, (_, mode, _))| mode & 0o170_000 == 0o100_000);
        found.extend(
            files.map(|(path, _)| format!("{store}:{}", path.strip_prefix(&folder).unwrap().display())),
        );
    }
    found.retain(|name| !name.contains("/lock/"));
    found
}

/// Objects in stores that steps say they write, but for leases, whose numbers are known when they are taken.
fn written(json: &serde_json::Value) -> BTreeSet<String> {
    written_by(json, "")
}

/// The same of steps of this kind.
fn written_by(json: &serde_json::Value, kind: &str) -> BTreeSet<String> {
    let steps = json["steps"].as_array().unwrap().iter();
    let steps = steps.filter(|step| step["step"].as_str().unwrap().starts_with(kind));
    let names = steps.flat_map(|step| step["writes"].as_array().unwrap()).map(|name| name.as_str().unwrap());
    names.filter(|name| is_object(name)).map(str::to_owned).collect()
}

fn is_object(name: &str) -> bool {
    ["store:", "other:"].iter().any(|store| name.starts_with(store)) && !name.ends_with("/lock/N")
}

fn is_artefact(name: &str) -> bool {
    is_object(name) && !name.contains('/')
}

/// Objects in stores that steps say they would delete, but for leases.
fn deleted(json: &serde_json::Value) -> BTreeSet<String> {
    would_delete(json, "").into_iter().filter(|name| is_object(name) && !name.contains("/lock/")).collect()
}

/// Shows a run, makes it, and holds what was shown and what was reported against the disk.
#[track_caller]
fn shown_is_done(scenario: &Scenario, what: &str, status: Option<i32>) -> serde_json::Value {
    // What changed just before a run is read to be sure.
    settle();
    let before = disk(scenario);
    let shown = scenario.next_day().plan(["run", "--dry-run", "--format", "json"]);
    assert_eq!(disk(scenario), before, "{what}");
    let done = scenario.plan(["run", "--format", "json"]);
    assert_eq!(shown.code, done.code, "{what}: {shown:?} {done:?}");
    assert!(status.is_none_or(|status| status == done.code), "{what}: {done:?}");
    let (shown, done) = (shown.json(), done.json());
    let after = disk(scenario);
    let came: BTreeSet<String> = after.difference(&before).cloned().collect();
    assert_eq!(written(&done), came, "{what}: the run's own report");
    // Chance has a part in the run's id.
    let (chance, known) = (done["run"].as_str().unwrap(), shown["run"].as_str().unwrap());
    let foreseen: BTreeSet<String> = came.iter().map(|name| name.replace(chance, known)).collect();
    assert_eq!(written(&shown), foreseen, "{what}: the dry run");
    let fresh =
        shown["archives"].as_array().unwrap().iter().filter(|archive| archive["unchanged_since"].is_null());
    let named: BTreeSet<String> = fresh
        .flat_map(|archive| {
            let stores = archive["stores"].as_array().unwrap().iter();
            stores
                .map(|store| format!("{}:{}", store.as_str().unwrap(), archive["artefact"].as_str().unwrap()))
        })
        .collect();
    // What a store lacked is of earlier runs.
    let brought = written_by(&shown, "sync/").into_iter().filter(|name| is_artefact(name)).collect();
    let artefacts: BTreeSet<String> = came.into_iter().filter(|name| is_artefact(name)).collect();
    let named: BTreeSet<String> = named.union(&brought).cloned().collect();
    assert_eq!(named, artefacts, "{what}: the dry run's artefacts");
    let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
    assert_eq!(deleted(&shown), gone, "{what}");
    shown
}

#[test]
fn names_and_deletions_that_are_shown_and_reported_are_those_on_the_disk() {
    for (jobs, staging) in [(1, ""), (4, "staging {\n  path = \"staging\"\n}\n")] {
        let text = |absent: &str, keep: u32| {
            plan(&format!(
                "store other: dir {{\n  path = \"other\"\n{absent}}}\n\nsource site: files {{\n  paths = [\"site\"]\n}}\n\n\
                 source more: files {{\n  paths = [\"more\"]\n}}\n\narchive one {{\n  from = [site]\n  to   = [store]\n}}\n\n\
                 archive two {{\n  from = [more]\n  to   = [store, other]\n}}\n\n\
                 cycle {{\n  incrementals = 3\n}}\n\nlimits {{\n  jobs = {jobs}\n}}\n\nkeep {{\n  last = {keep}\n}}\n\n{staging}"
            ))
        };
        let scenario = Scenario::new().file("p.plan", text("", 9)).file("site/a", "a").file("more/b", "b");
        fs::create_dir(scenario.path("staging")).unwrap();
        for n in 0..20 {
            scenario.write(&format!("site/{n}"), "x".repeat(1000));
        }
        let shown = shown_is_done(&scenario, "the first run", Some(0));
        assert!(shown["archives"][0]["bytes"].as_u64().unwrap() > 20_000);
        let shown = shown_is_done(&scenario, "nothing changed", Some(0));
        assert!(shown["archives"][0]["unchanged_since"].is_string(), "{shown}");
        scenario.write("site/new", "new");
        let shown = shown_is_done(&scenario, "a second level", Some(0));
        assert!(shown["archives"][0]["bytes"].as_u64().unwrap() < 1000, "{shown}");
        assert!(shown["archives"][1]["unchanged_since"].is_string(), "{shown}");
        for (absent, status) in [("absent = skip", 0), ("", 3), ("absent = fail", 1)] {
            fs::rename(scenario.path("other"), scenario.path("away")).unwrap();
            scenario.write("p.plan", text(&format!("  {absent}\n"), 9));
            scenario.write("site/new", format!("new {absent}"));
            scenario.write("more/b", format!("more {absent:20}"));
            shown_is_done(&scenario, &format!("a store is away: `{absent}`"), Some(status));
            fs::rename(scenario.path("away"), scenario.path("other")).unwrap();
            scenario.write("p.plan", text("", 9));
            shown_is_done(&scenario, "it is there again", None);
        }
        // One of the sources shrinks, which both stores hold only one of.
        fs::write(scenario.path("p.plan"), text("", 1).replace("to   = [store, other]", "to   = [other]"))
            .unwrap();
        scenario.plan(["run", "--level", "full"]);
        for n in 0..19 {
            fs::remove_file(scenario.path(&format!("site/{n}"))).unwrap();
        }
        scenario.write("more/b", "more than before, and more than ever");
        let before = disk(&scenario);
        shown_is_done(&scenario, "a source shrank", Some(3));
        let after = disk(&scenario);
        let gone: Vec<&String> = before.difference(&after).collect();
        assert!(!gone.is_empty() && gone.iter().all(|name| name.starts_with("other:")), "{gone:?}");
    }
}
