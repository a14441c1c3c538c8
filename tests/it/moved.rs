//! Folders that somebody moves away, or mounts something over, while a run is at work.

use std::fs;

use crate::scenario::{Scenario, artefacts, plan, shell};

/// A plan whose source does something to the world once the run has begun.
fn world(act: &str, rest: &str) -> Scenario {
    let source = format!(
        "source act: command {{\n  run      = [\"sh\", \"-c\", \"{act}; echo data\"]\n  as  = \"data\"\n}}\n\narchive main {{\n  from = [act]\n  to   = [store]\n}}\n\n{rest}\n"
    );
    let scenario = Scenario::new().file("p.plan", plan(&source)).file("staging/.keep", "");
    fs::remove_file(scenario.path("staging/.keep")).unwrap();
    scenario
}

#[test]
fn a_store_that_is_moved_away_in_mid_run_has_no_backup_and_takes_one_once_it_is_back() {
    let scenario = world("if [ -e now ]; then mv store moved; fi", "");
    scenario.next_day().plan(["run"]).status(0);
    scenario.write("now", "");
    let answer = scenario.next_day().plan(["run"]).status(1);
    let answer = answer.says("`$W/work/store` was moved away meanwhile").says("is in `$W/work/moved` now");
    answer.says("move it back, or name its new place");
    let manifests = fs::read_dir(scenario.path("moved/.backplan/p/manifests")).unwrap().count();
    assert_eq!(manifests, 1, "only the run before it");
    assert!(!scenario.path("store").exists());
    scenario.plan(["status"]).status(1);
    // As it is told: moved back, the next run clears what is left and is whole.
    shell(&scenario.path(""), "mv moved store; rm now");
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(artefacts(&scenario.path("store")).len(), 2);
    scenario.plan(["verify", "--all"]).status(0);
    // Or under its new name.
    shell(&scenario.path(""), "mv store elsewhere; sed -i 's/\"store\"/\"elsewhere\"/' p.plan");
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(artefacts(&scenario.path("elsewhere")).len(), 3);
}

#[test]
fn a_store_that_is_moved_away_behind_the_commit_is_told_of() {
    let scenario = world(
        "true",
        "verify {\n  every   = 1d\n  restore = act\n  command = [\"sh\", \"-c\", \"mv $OLDPWD/store $OLDPWD/moved\"]\n}\n",
    );
    let text = scenario.read("p.plan").replace("$OLDPWD", scenario.path("").to_str().unwrap());
    scenario.write("p.plan", text);
    let answer = scenario.next_day().plan(["run"]).status(3);
    answer
        .says("the backup is whole, but not where the plan has its store")
        .says("is in `$W/work/moved` now");
}

#[test]
fn what_is_mounted_over_a_store_or_a_staging_in_mid_run_is_told_of() {
    for folder in ["store", "staging"] {
        let staging = "staging {\n  path = \"staging\"\n}\n";
        let scenario = world(&format!("mount -t tmpfs none {folder}"), staging);
        fs::create_dir(scenario.path("store")).unwrap();
        let answer = scenario.next_day().plan(["run"]);
        shell(&scenario.path(""), &format!("umount -l {folder}"));
        answer.status(1).says(&format!("something was mounted over `$W/work/{folder}` meanwhile"));
        let text = scenario.read("p.plan").replace("mount -t", "true -t");
        scenario.write("p.plan", text);
        scenario.next_day().plan(["run"]).status(0);
        assert_eq!(artefacts(&scenario.path("store")).len(), 1);
        assert_eq!(fs::read_dir(scenario.path("staging")).unwrap().count(), 0);
    }
}

#[test]
fn a_staging_or_the_local_state_that_is_moved_away_in_mid_run_is_told_of() {
    let staging = "staging {\n  path = \"staging\"\n}\n";
    let scenario = world("mv staging moved", staging);
    let answer = scenario.next_day().plan(["run"]).status(1);
    answer.says("the staging: `$W/work/staging` was moved away meanwhile").says("is in `$W/work/moved` now");
    assert!(!scenario.path("staging").exists(), "it is not made anew");
    let scenario = world("mv ../state/backplan ../state/moved", "");
    let answer = scenario.next_day().plan(["run"]);
    assert!([1, 3].contains(&answer.code), "{answer:?}");
    answer.says("the local state: `$W/state/backplan` was moved away meanwhile").says("`$W/state/moved` now");
}
