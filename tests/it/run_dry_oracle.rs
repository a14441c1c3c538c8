//! Dry runs held against what the system sees of them, and against the runs that follow.

use std::collections::BTreeSet;
use std::fs;

use crate::run_dry::touches_nothing;
use crate::scenario::{Scenario, everything, plan};

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
    for day in 0..10 {
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
                assert_eq!(before["entries"], day + 3, "day {day}");
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
