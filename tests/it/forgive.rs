//! One path or source that is missing costs itself, and never a good backup.

use std::fs;

use crate::scenario::{Scenario, artefacts, plan, shell};

const MIXED: &str = "\
source site: files {
  paths = [\"site\", \"more\"]
}

source db: sqlite {
  path = \"app.db\"
}

source dump: command {
  run = [\"sh\", \"-c\", \"echo half; test ! -e broken && echo whole\"]
  as  = \"dump.txt\"
}

archive main {
  from = all
  to   = [store]
}
";

fn mixed(further: &str) -> Scenario {
    let scenario = Scenario::new()
        .file("p.plan", plan(&format!("{MIXED}{further}")))
        .file("site/a", "a")
        .file("more/b", "b");
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n); insert into t values (42)'");
    scenario
}

fn listed(scenario: &Scenario, run: &str) -> String {
    shell(&scenario.path("store"), &format!("tar tzf *{run}*.tar.gz"))
}

fn runs(scenario: &Scenario) -> Vec<u64> {
    let all = scenario.plan(["list", "--format", "json"]).json();
    let id = |run: &serde_json::Value| run["run"].as_str().unwrap()[..8].parse().unwrap();
    let mut runs: Vec<u64> = all["runs"].as_array().unwrap().iter().map(id).collect();
    runs.sort_unstable();
    runs
}

#[test]
fn what_can_be_saved_is_saved_and_no_good_backup_goes_for_it() {
    for staging in ["", "staging {\n  path = \"staging\"\n}\n"] {
        let scenario = mixed(&format!("keep {{ last = 2 }}\n{staging}"));
        fs::create_dir(scenario.path("staging")).unwrap();
        for _ in 0..2 {
            scenario.next_day().plan(["run"]).status(0);
        }
        fs::rename(scenario.path("more"), scenario.path("away")).unwrap();
        fs::rename(scenario.path("app.db"), scenario.path("away.db")).unwrap();
        scenario.write("broken", "");
        let dry = scenario.next_day().plan(["run", "--dry-run"]).status(1);
        dry.stdout_has("more").stdout_has("without source `db`").stdout_has("what is there of the source");
        for night in 3..6 {
            let made = scenario.plan(["run", "--format", "json"]).status(1).json();
            assert_eq!(made["committed"], serde_json::json!(["store"]), "{made}");
            let left: Vec<&str> = made["left_out"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["source"].as_str().unwrap())
                .collect();
            assert_eq!(left, ["db", "dump"]);
            let day = listed(&scenario, &format!("_202601{:02}T", night + 1));
            assert!(day.contains("site/site/a") && !day.contains("more/b"), "{day}");
            assert!(!day.contains("app.db") && !day.contains("dump.txt"), "{day}");
            scenario.next_day();
        }
        // `last = 2` alone would have left the runs of two nights that lack something.
        assert_eq!(runs(&scenario), [1, 2, 4, 5]);
        let text = shell(&scenario.path("store"), "cat .backplan/p/manifests/00000005*");
        assert!(text.contains("missing: 1") && text.contains("more` is not there"), "{text}");
        let told = scenario.plan(["status", "--format", "json"]).status(3).json();
        for source in told["sources"].as_array().unwrap() {
            assert!(source["newest"].as_str().unwrap().starts_with("00000002"), "{source}");
        }
        assert_eq!(told["unclean"][0]["end"], "failed");
        let told = told.to_string();
        assert!(
            told.contains("more` is not there") && told.contains("app.db") && told.contains("dump"),
            "{told}"
        );
        // Another machine has the manifests alone.
        shell(&scenario.path(".."), "mv state mine && mkdir state");
        let told = scenario.plan(["status"]).status(3);
        told.stdout_has("backed up only a part of `site`").stdout_has("did not back up `dump`");
        let back = scenario.plan(["restore", "--to", "back"]).status(3);
        back.stderr_has("only a part of source `site`").stderr_has("run 00000002");
        assert_eq!(scenario.read("back/site/site/a"), "a");
        shell(&scenario.path(".."), "rm -r state && mv mine state");
        // All is there again: the next nights are good, and the old ones go.
        fs::rename(scenario.path("away"), scenario.path("more")).unwrap();
        fs::rename(scenario.path("away.db"), scenario.path("app.db")).unwrap();
        fs::remove_file(scenario.path("broken")).unwrap();
        for _ in 0..2 {
            scenario.next_day().plan(["run"]);
        }
        assert_eq!(runs(&scenario), [6, 7]);
        scenario.next_day().plan(["run"]).status(0);
        scenario.plan(["status"]).status(0);
        scenario.plan(["restore", "--to", "whole"]).status(0);
        assert_eq!(
            scenario.read("whole/site/more/b") + &scenario.read("whole/dump/dump.txt"),
            "bhalf\nwhole\n"
        );
    }
}

#[test]
fn a_difference_takes_no_missing_path_for_deleted_and_has_it_when_it_is_back() {
    let scenario = mixed("cycle {\n  incrementals = 6\n  base = previous\n}\n");
    scenario.next_day().plan(["run"]).status(0);
    fs::rename(scenario.path("more"), scenario.path("away")).unwrap();
    scenario.write("site/new", "new");
    scenario.next_day().plan(["run"]).status(1);
    // What the base has of it is as good as is known.
    scenario.plan(["restore", "--to", "one", "--source", "site"]).status(3).stderr_has("only a part");
    assert_eq!(scenario.read("one/site/new") + &scenario.read("one/more/b"), "newb");
    fs::rename(scenario.path("away"), scenario.path("more")).unwrap();
    scenario.write("more/b", "changed");
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["restore", "--to", "two", "--source", "site"]).status(0);
    assert_eq!(scenario.read("two/site/new") + &scenario.read("two/more/b"), "newchanged");
}

#[test]
fn strict_makes_nothing_of_halves() {
    let strict = MIXED.replace("\"more\"]", "\"more\"]\n  strict = true");
    let scenario = Scenario::new().file("p.plan", plan(&strict)).file("site/a", "a");
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n)'");
    scenario.plan(["run", "--dry-run"]).status(1).stdout_has("no artefact would be made");
    scenario.next_day().plan(["run"]).status(1).stdout_has("more").stdout_has("nowhere: no backup was made");
    assert_eq!(artefacts(&scenario.path("store")).len(), 0);
    // One that is not strict is left out beside it, and one alone leaves nothing.
    fs::create_dir(scenario.path("more")).unwrap();
    fs::remove_file(scenario.path("app.db")).unwrap();
    scenario.next_day().plan(["run"]).status(1).stdout_has("app.db").stdout_has("failed in part");
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
    fs::remove_dir_all(scenario.path("site")).unwrap();
    fs::remove_dir_all(scenario.path("more")).unwrap();
    scenario.write("broken", "");
    scenario.next_day().plan(["run"]).status(1).stdout_has("nowhere: no backup was made");
}

#[test]
fn a_window_that_does_not_open_costs_the_sources_inside_alone() {
    let window = "window gate {\n  around = [dump]\n  enter  = [\"sh\", \"-c\", \"test ! -e shut\"]\n}\n";
    let window = window.replace("-e shut", "-e SHUT");
    let scenario = mixed("");
    let shut = scenario.path("shut").display().to_string();
    scenario.write("p.plan", plan(&format!("{MIXED}{}", window.replace("SHUT", &shut))));
    scenario.next_day().plan(["run"]).status(0);
    scenario.write("shut", "");
    scenario
        .next_day()
        .plan(["run"])
        .status(1)
        .stdout_has("enter/gate")
        .stderr_has("made without source `dump`");
    let day = listed(&scenario, "_20260103T");
    assert!(day.contains("more/b") && day.contains("app.db") && !day.contains("dump.txt"), "{day}");
    shell(&scenario.path(".."), "rm -r state && mkdir state");
    scenario.plan(["status"]).status(3).stdout_has("did not back up `dump`: `enter/gate` failed");
}
