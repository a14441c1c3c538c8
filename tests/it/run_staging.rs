//! The staging: cleared before and after, never anything else.

use std::fs;
use std::os::unix::fs::symlink;

use crate::scenario::{SITE, Scenario, artefacts, everything, plan, shell, wait_for};

fn staged(path: &str, clear: &str) -> String {
    plan(&format!("{SITE}\nstaging {{\n  path = \"{path}\"\n{clear}}}\n"))
}

fn count(scenario: &Scenario, folder: &str) -> usize {
    fs::read_dir(scenario.path(folder)).unwrap().count()
}

#[test]
fn what_the_plan_does_not_let_clear_is_not_cleared() {
    for (clear, left) in [("  clear = []\n", 1), ("  clear = [before]\n", 1), ("  clear = [after]\n", 0)] {
        let scenario = Scenario::new()
            .file("p.plan", staged("staging", clear))
            .file("site/a", "a")
            .file("staging/old", "");
        scenario.next_day().plan(["run"]).status(0);
        scenario.next_day().plan(["run"]).status(0);
        assert_eq!(artefacts(&scenario.path("store")).len(), 2);
        assert_eq!(count(&scenario, "staging"), left, "{clear}");
        assert_eq!(scenario.path("staging/old").exists(), clear.contains("[]"), "{clear}");
    }
}

/// Makes `staging` of `scenario` something to refuse; the run says `why`, and nothing changes.
#[track_caller]
fn refused(scenario: &Scenario, why: &str) {
    let before = everything(&scenario.path("."));
    let shown = scenario.plan(["run", "--dry-run"]);
    assert!(shown.code == 1 && shown.said().contains(why), "{shown:?}");
    let answer = scenario.plan(["run"]);
    assert!([1, 2].contains(&answer.code) && answer.said().contains(why), "{answer:?}");
    assert_eq!(everything(&scenario.path(".")), before);
}

#[test]
fn a_staging_that_would_eat_data_is_refused_before_anything_is_touched() {
    let world = |path: &str| Scenario::new().file("p.plan", staged(path, "")).file("site/a/b", "a");
    let scenario = world("staging");
    refused(&scenario, "make it, or mount what it is on");
    scenario.write("staging", "");
    refused(&scenario, "is not a folder");
    let scenario = world("staging").file("staging/deep/PG_VERSION", "15\n");
    refused(&scenario, "Postgres cluster");
    let scenario = world("staging");
    symlink("site", scenario.path("staging")).unwrap();
    refused(&scenario, "is inside it");
    let scenario = world("staging");
    symlink("site/a", scenario.path("staging")).unwrap();
    refused(&scenario, "symlinks bring it into");
    let scenario = world("staging");
    symlink("../home", scenario.path("staging")).unwrap();
    refused(&scenario, "home");
    let scenario = world("staging");
    symlink("/", scenario.path("staging")).unwrap();
    refused(&scenario, "root of all files");
}

#[test]
fn a_plan_or_a_state_in_a_staging_is_not_cleared_away() {
    let scenario = Scenario::new().file("staging/p.plan", "").file("site/a", "a");
    let elsewhere = scenario.path("link.plan");
    let text = staged("STAGING", "").replace("\"store\"", "\"../store\"").replace("\"site\"", "\"../site\"");
    let text = text.replace("STAGING", scenario.path("staging").to_str().unwrap());
    scenario.write("staging/p.plan", text);
    symlink("staging/p.plan", &elsewhere).unwrap();
    let answer = scenario.plan(["run", "link.plan"]);
    assert!([1, 2].contains(&answer.code), "{answer:?}");
    assert!(scenario.path("staging/p.plan").exists() && elsewhere.exists());
    // The state folder, by a symlink.
    let scenario = Scenario::new().file("p.plan", staged("staging", "")).file("site/a", "a");
    symlink("../state", scenario.path("staging")).unwrap();
    fs::create_dir_all(scenario.path("../state/backplan")).unwrap();
    refused(&scenario, "is inside it");
}

/// A file system of its own, gone with the value.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(folder: std::path::PathBuf) -> Mounted {
        fs::create_dir_all(&folder).unwrap();
        shell(&folder, "mount -t tmpfs -o size=8m tmpfs .");
        Mounted(folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn the_root_of_a_file_system_is_not_cleared_nor_one_mounted_inside() {
    let scenario = Scenario::new().file("p.plan", staged("staging", "")).file("site/a", "a");
    {
        let mounted = Mounted::new(scenario.path("staging"));
        fs::write(mounted.0.join("precious"), "x").unwrap();
        refused(&scenario, "root of a mounted file system");
    }
    let mounted = Mounted::new(scenario.path("staging/inside"));
    fs::write(mounted.0.join("precious"), "x").unwrap();
    let answer = scenario.next_day().plan(["run"]).status(1).stdout_has("another file system is mounted");
    assert!(mounted.0.join("precious").exists(), "{answer:?}");
}

#[test]
fn of_two_plans_with_one_staging_the_second_waits_for_the_first() {
    let slow = staged("staging", "").replace(
        "source site: files {\n  paths = [\"site\"]",
        "source site: command {\n  run = [\"sh\", \"-c\", \"touch reading; sleep 300\"]\n  as = \"x\"",
    );
    let other = staged("link", "").replace("plan p", "plan q");
    let scenario =
        Scenario::new().file("p.plan", slow).file("q.plan", other).file("site/a", "a").file("staging/x", "");
    symlink("staging", scenario.path("link")).unwrap();
    let running = scenario.next_day().start(["run", "p.plan"]);
    wait_for("the reading", || scenario.path("reading").exists());
    // A run that waits has its journal already.
    let has_begun = |runs: usize| {
        let journals =
            shell(&scenario.path("../state"), "ls */plans/q-*/journal/*.jsonl 2>/dev/null | wc -l");
        journals.trim() == runs.to_string()
    };
    let given_up = scenario.start(["run", "q.plan"]);
    wait_for("the waiting", || has_begun(1));
    given_up.signal("TERM");
    given_up.answer().status(143).says("staging").says("in use by").says("of plan `p`");
    let waiting = scenario.start(["run", "q.plan"]);
    wait_for("the waiting", || has_begun(2));
    assert_eq!(count(&scenario, "staging"), 1);
    running.signal("TERM");
    running.answer().status(143);
    waiting.answer().status(0);
}
