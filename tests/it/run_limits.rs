//! What the system does not give: large files, threads, descriptors; and signals that nobody is to hear.

use std::fs;

use crate::scenario::{SITE, Scenario, artefacts, plan, shell};

/// An account that nobody else has: limits count what all of its processes have.
const ALONE: [&str; 4] = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];

const WINDOW: &str = "
window still {
  around = all
  enter  = [\"touch\", \"entered\"]
  leave  = [\"touch\", \"left\"]
}
";

fn world() -> Scenario {
    let scenario = Scenario::new().file("p.plan", plan(&format!("{SITE}{WINDOW}"))).file("site/a", "a");
    shell(&scenario.path("."), "head -c 3000000 /dev/urandom > site/large; mkdir store");
    scenario
}

/// The world is that account's, and so is the way to it.
fn give_away(scenario: &Scenario) {
    shell(&scenario.path(".."), "chown -R 54321:54321 .; chmod 755 .");
}

/// The window is closed where it was opened, or where that was tried, and no artefact is there that no manifest names.
#[track_caller]
fn nothing_is_left(scenario: &Scenario) {
    assert!(scenario.path("left").exists() || !scenario.path("entered").exists());
    let _ = fs::remove_file(scenario.path("entered"));
    let _ = fs::remove_file(scenario.path("left"));
    let manifests = fs::read_dir(scenario.path("store/.backplan/p/manifests")).map_or(0, Iterator::count);
    assert_eq!(artefacts(&scenario.path("store")).len(), manifests);
}

#[test]
fn a_file_that_may_not_grow_is_a_full_disk() {
    for staging in ["", "\nstaging {\n  path = \"staging\"\n}\n"] {
        let scenario = world();
        scenario.write("p.plan", plan(&format!("{SITE}{WINDOW}{staging}")));
        fs::create_dir(scenario.path("staging")).unwrap();
        let way = ["sh", "-c", "ulimit -f 512; exec \"$@\"", "sh"];
        let answer = scenario.next_day().plan_by(&way, ["run"]).status(1);
        assert!(answer.said().contains("too large"), "{answer:?}");
        assert!(scenario.path("left").exists());
        nothing_is_left(&scenario);
        scenario.next_day().plan(["run"]).status(0);
        nothing_is_left(&scenario);
        // What it starts may be ended by it, as ever.
        let dumps = SITE.replace(
            "files {\n  paths = [\"site\"]",
            "command {\n  run = [\"sh\", \"-c\", \"head -c 900000 /dev/zero > big\"]\n  as = \"x\"",
        );
        scenario.write("p.plan", plan(&dumps));
        let answer = scenario.next_day().plan_by(&way, ["run"]).status(1);
        assert!(answer.said().contains("source `site`"), "{answer:?}");
    }
}

#[test]
fn without_threads_or_descriptors_there_are_fewer_or_an_error() {
    let scenario = world();
    scenario.plan(["check"]).status(0);
    give_away(&scenario);
    let (mut done, mut failed) = (0, 0);
    let limits = (1..=8).map(|most| format!("--nproc={most}"));
    let limits = limits.chain([4, 6, 8, 10, 12, 14, 16, 20, 30].map(|most| format!("--nofile={most}")));
    for limit in limits {
        let mut way = ALONE.to_vec();
        way.extend(["prlimit", &limit]);
        scenario.next_day();
        for args in
            [&["run"][..], &["verify"], &["restore", "--to", "out"], &["list"], &["prune", "--dry-run"]]
        {
            let answer = scenario.plan_by(&way, args);
            let said = answer.said();
            assert!(!said.contains("panicked") && !said.contains("defect"), "{limit} {args:?}: {said}");
            match answer.code {
                0 | 3 => done += 1,
                1 | 2 => failed += 1,
                // The loader had no descriptor for what the program is linked to.
                127 => {}
                status => panic!("{limit} {args:?}: status {status}: {said}"),
            }
            nothing_is_left(&scenario);
        }
        shell(&scenario.path("."), "rm -rf out");
    }
    assert!(done > 10 && failed > 5, "{done} {failed}");
    scenario.next_day().plan_by(&ALONE, ["run"]).status(0);
}

#[test]
fn a_hangup_that_is_ignored_ends_nothing() {
    let text = SITE.replace(
        "files {\n  paths = [\"site\"]",
        "command {\n  run = [\"sh\", \"-c\", \"touch begun; sleep 2; echo x\"]\n  as  = \"x\"",
    );
    for (ignoring, status) in [("trap '' HUP", 0), (":", 143)] {
        let scenario = Scenario::new().file("p.plan", plan(&text));
        let script = format!(
            "{ignoring}; \"$@\" & p=$!; until [ -e begun ]; do sleep 0.05; done; kill -HUP $p; wait $p"
        );
        let answer = scenario.plan_by(&["sh", "-c", &script, "sh"], ["run"]).status(status);
        assert_eq!(answer.stdout.contains("done: run"), status == 0, "{answer:?}");
    }
}

#[test]
fn a_clock_at_the_end_of_all_years_is_told_of() {
    let scenario = world();
    for at in ["9999-12-31 23:00:00", "9999-06-01 00:00:00", "9000-01-02 00:00:00"] {
        for args in [&["run"][..], &["run", "--dry-run"], &["list"], &["status"], &["prune"], &["keep"]] {
            let answer = scenario.plan_by(&["faketime", at], args).status(1);
            assert!(answer.said().contains("set the clock right"), "{at} {args:?}: {answer:?}");
        }
    }
    assert!(!scenario.path("store/.backplan").exists());
}
