//! The last run from before a source lost most of what it had: it stays for thirty days, or until somebody says that it is right so.

use std::fs;

use crate::prune::{at, files, night, plan, runs, world};
use crate::scenario::{Scenario, shell};

/// A site that has lost three of its four files on the second night, and was so for two more.
fn weekend(more: &str) -> Scenario {
    let scenario = world(&plan(&["store"], more));
    at(&scenario, &night(0), &["run"]).status(0);
    shell(&scenario.path("site"), "rm 0 1 2");
    at(&scenario, &night(1), &["run"]).status(3).says("stays for 30 days").says("--accept site");
    for day in 2..4 {
        // Told on the first night; from then on where somebody looks.
        at(&scenario, &night(day), &["run"]).status(0);
    }
    scenario
}

#[test]
fn what_was_there_before_a_source_shrank_outlives_the_weekend() {
    let scenario = weekend("keep { last = 1 }");
    assert_eq!(runs(&scenario, "store"), [1, 2, 4]);
    let told = "source `site` had 4 files and links in run `00000001-";
    let status = at(&scenario, &night(3), &["status"]).status(3);
    status.stdout_has(told).stdout_has("until 2026-12-02").stdout_has("`plan prune FILE --accept site`");
    let list = at(&scenario, &night(3), &["list"]).status(0);
    list.stdout_has("held for site until 2026-12-02").stdout_has("plan prune FILE --accept site");
    at(&scenario, &night(3), &["list", "--store", "store"]).status(0).stdout_has("held for site until");
    let shown = at(&scenario, &night(3), &["prune", "--dry-run"]).status(0);
    shown.stdout_has("newest before site lost most of what was there").stdout_has(told);
    at(&scenario, &night(4), &["run", "--dry-run"]).status(0).stdout_has(told);
    at(&scenario, &night(3), &["restore", "--run", "1", "--to", "back"]).status(0);
    assert_eq!(fs::read_dir(scenario.path("back/site/site")).unwrap().count(), 4);
    // It is known from the store alone.
    shell(&scenario.path(".."), "rm -rf state/*");
    at(&scenario, &night(4), &["run", "--adopt"]);
    assert_eq!(runs(&scenario, "store"), [1, 2, 5]);
    // Without a run no time is long enough.
    at(&scenario, &night(300), &["prune"]).status(0);
    assert_eq!(runs(&scenario, "store"), [1, 2, 5]);
    at(&scenario, &night(30), &["run"]).status(0);
    assert_eq!(runs(&scenario, "store"), [1, 2, 6]);
    let before = files(&scenario, "store");
    let shown = at(&scenario, &night(31), &["run", "--dry-run", "--format", "json"]).status(0).json();
    at(&scenario, &night(31), &["run"]).status(0);
    assert_eq!(runs(&scenario, "store"), [7]);
    at(&scenario, &night(31), &["status"]).status(0);
    let steps = shown["steps"].as_array().unwrap();
    let prune = steps.iter().find(|step| step["step"] == "prune/store").unwrap();
    let wanted: Vec<String> = serde_json::from_value(prune["would_delete"].clone()).unwrap();
    let after = files(&scenario, "store");
    let gone = before.difference(&after).filter(|path| !path.contains("/lock/")).count();
    assert_eq!(gone, wanted.len(), "{wanted:?}");
}

#[test]
fn a_source_that_is_as_large_again_needs_no_earlier_run() {
    let scenario = weekend("keep { last = 1 }");
    for file in ["a", "b", "c"] {
        scenario.write(&format!("site/{file}"), "y".repeat(100));
    }
    at(&scenario, &night(4), &["run"]).status(0);
    assert_eq!(runs(&scenario, "store"), [5]);
    at(&scenario, &night(4), &["status"]).status(0);
}

#[test]
fn somebody_may_say_that_what_is_gone_is_gone_for_good() {
    let scenario = weekend("keep { last = 1 }");
    at(&scenario, &night(3), &["prune", "--accept", "other"]).status(2).says("`other` has lost nothing");
    let shown = at(&scenario, &night(3), &["prune", "--accept", "site", "--dry-run"]).status(0);
    shown.stdout_has("2 of 3 runs would go");
    at(&scenario, &night(3), &["prune"]).status(0);
    assert_eq!(runs(&scenario, "store"), [1, 2, 4]);
    at(&scenario, &night(3), &["prune", "--accept", "site"]).status(0);
    assert_eq!(runs(&scenario, "store"), [4]);
    at(&scenario, &night(3), &["status"]).status(0);
    at(&scenario, &night(3), &["prune", "--accept", "site"]).status(2);
    // What is lost afterwards is another matter, and so is nothing at all.
    for file in 0..4 {
        scenario.write(&format!("site/{file}"), "x".repeat(100));
    }
    at(&scenario, &night(4), &["run"]).status(0);
    shell(&scenario.path("site"), "rm *");
    for day in 5..8 {
        at(&scenario, &night(day), &["run"]).status(3).says("has nothing in it").says("--accept site");
    }
    assert_eq!(runs(&scenario, "store"), [5, 6, 7, 8]);
    at(&scenario, &night(7), &["prune", "--accept", "site"]).status(0);
    // The newest that has something of it stays for good.
    at(&scenario, &night(8), &["run"]).status(0);
    assert_eq!(runs(&scenario, "store"), [5, 9]);
    at(&scenario, &night(9), &["run"]).status(0);
}

#[test]
fn what_will_be_there_counts_on_a_run_that_is_held() {
    let scenario = weekend("keep { last = 2 }\nschedule { run = daily at 02:30 }");
    assert_eq!(runs(&scenario, "store"), [1, 2, 3, 4]);
    at(&scenario, &night(4), &["run"]).status(0);
    assert_eq!(runs(&scenario, "store"), [1, 2, 4, 5]);
    let kept = at(&scenario, &night(4), &["keep", "--on", "2026-12-01"]).status(0);
    kept.stdout_has("2026-11-01").stdout_has("newest before site lost most");
    let kept = at(&scenario, &night(4), &["keep", "--on", "2026-12-02"]).status(0).said();
    assert!(!kept.contains("2026-11-01"), "{kept}");
}

#[test]
fn a_database_and_what_a_program_writes_are_held_as_files_are() {
    let more = "source app: sqlite {\n  path = \"app.db\"\n}\nsource said: command {\n  run = [\"cat\", \"said\"]\n  as  = \"said\"\n}\n\
                staging {\n  path = \"staging\"\n}\nkeep { last = 1 }";
    let scenario = world(&plan(&["store"], more).replace("from = [site]", "from = all"));
    fs::create_dir(scenario.path("staging")).unwrap();
    let schema = "create table t (n); create table u (n);";
    let fill = "insert into t select hex(randomblob(400)) from generate_series(1, 200)";
    shell(&scenario.path("."), &format!("sqlite3 app.db '{schema} {fill}'; cat app.db > said"));
    at(&scenario, &night(0), &["run"]).status(0);
    // As an application makes it anew that does not find it.
    shell(&scenario.path("."), &format!("rm app.db; sqlite3 app.db '{schema}'; cat app.db > said"));
    at(&scenario, &night(1), &["run"]).status(3).says("source `app` has").says("source `said` has");
    for day in 2..4 {
        at(&scenario, &night(day), &["run"]).status(0);
    }
    assert_eq!(runs(&scenario, "store"), [1, 2, 4]);
    at(&scenario, &night(3), &["prune", "--accept", "app"]).status(0);
    assert_eq!(runs(&scenario, "store"), [1, 2, 4]);
    at(&scenario, &night(3), &["status"]).status(3).says("source `said` had").says("--accept said");
    at(&scenario, &night(3), &["restore", "--run", "1", "--to", "back"]).status(0);
    let rows = shell(&scenario.path("back"), "sqlite3 app/app.db 'select count(*) from t'");
    assert_eq!(rows.trim(), "200");
}
