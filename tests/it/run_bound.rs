//! What a run started ends with it, even where it is killed.

use std::thread;
use std::time::{Duration, Instant};

use crate::pg_base::Cluster;
use crate::scenario::{Running, Scenario, plan, shell, wait_for};

/// Processes whose command line has this in it, but for those that are over.
fn living(mark: &str) -> String {
    let script = format!(
        "for p in /proc/[0-9]*; do grep -q '^State:.Z' $p/status 2>/dev/null && continue; \
         tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -F -- '{mark}' | grep -v grep; done; true"
    );
    // The script itself has it in its own command line.
    let found = shell(std::path::Path::new("/"), &script);
    found.lines().filter(|line| !line.contains("for p in")).map(|line| format!("{line}\n")).collect()
}

/// Kills the program once what it started is there; that is gone then, within seconds.
fn killed(running: Running, marks: &[&str]) {
    for mark in marks {
        wait_for(mark, || !living(mark).is_empty());
    }
    running.signal("KILL");
    drop(running.answer());
    let since = Instant::now();
    for mark in marks {
        while !living(mark).is_empty() {
            assert!(since.elapsed() < Duration::from_secs(9), "still there: {}", living(mark));
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A program, and what that starts in turn, one of them in the background.
fn tree(mark: &str) -> String {
    format!("[\"sh\", \"-c\", \"sleep {mark}.1 & sh -c 'sleep {mark}.2; true'; true\"]")
}

#[test]
fn a_command_and_all_that_it_started_ends_with_the_run() {
    for (run_as, mark) in [("", "77131"), ("run_as = \"nobody\"", "77132")] {
        let source = format!(
            "source out: command {{\n  run = {}\n  as = \"out\"\n  {run_as}\n}}\n\narchive a {{\n  from = [out]\n  to = [store]\n}}",
            tree(mark)
        );
        let scenario = Scenario::new().file("p.plan", plan(&source)).file("store/x", "");
        let (one, two) = (format!("sleep {mark}.1"), format!("sleep {mark}.2"));
        killed(scenario.start(["run"]), &[&one, &two]);
    }
}

#[test]
fn a_program_of_a_window_ends_with_the_run_and_what_it_left_to_go_on_does_not() {
    let text = format!(
        "source site: files {{\n  paths = [\"site\"]\n}}\n\narchive a {{\n  from = [site]\n  to = [store]\n}}\n\n\
         window quiet {{\n  around = all\n  enter = [\"sh\", \"-c\", \"sleep 77143.1 & setsid sleep 77143.2 & {}\"]\n  \
         leave = [\"true\"]\n}}\n",
        "exec sleep 77143.3"
    );
    let scenario = Scenario::new().file("p.plan", plan(&text)).file("site/a", "a").file("store/x", "");
    killed(scenario.start(["run"]), &["sleep 77143.1", "sleep 77143.3"]);
    assert!(!living("sleep 77143.2").is_empty(), "what left the group was to go on");
    shell(&scenario.path("."), "pkill -f -x 'sleep 77143.2'");
}

#[test]
fn what_a_program_leaves_running_stays_when_the_run_that_went_on_is_killed() {
    let text = "source site: files {\n  paths = [\"site\"]\n}\n\nsource slow: command {\n  run = [\"sleep\", \"77151.1\"]\n  \
                as = \"out\"\n}\n\narchive a {\n  from = [site, slow]\n  to = [store]\n}\n\nwindow quiet {\n  around = all\n  \
                enter = [\"sh\", \"-c\", \"sleep 77151.2 & true\"]\n  leave = [\"true\"]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(text)).file("site/a", "a").file("store/x", "");
    // A service that a window's program started runs on: the program itself is over.
    let running = scenario.start(["run"]);
    wait_for("the service", || !living("sleep 77151.2").is_empty());
    killed(running, &["sleep 77151.1"]);
    assert!(!living("sleep 77151.2").is_empty());
    shell(&scenario.path("."), "pkill -f -x 'sleep 77151.2'");
}

#[test]
fn what_reads_a_cluster_ends_with_the_run() {
    let cluster = Cluster::new();
    let socket = cluster.scenario.path("sock").display().to_string();
    let source = |driver: &str| {
        format!(
            "staging {{\n  path = \"staging\"\n}}\n\nsource main: postgres {{\n  driver = {driver}\n  host = \"{socket}\"\n  \
             user = \"postgres\"\n  run_as = \"postgres\"\n}}\n\narchive a {{\n  from = [main]\n  to = [store]\n}}\n"
        )
    };
    cluster.scenario.write("p.plan", plan(&source("dump")));
    // It waits for a lock.
    cluster.sh(
        "(psql -X -q -h $PWD/sock -U postgres -d postgres -c 'BEGIN; LOCK TABLE far; SELECT pg_sleep(60)' >/dev/null 2>&1 &)",
    );
    wait_for("a lock", || {
        cluster.sql("SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted") == "t"
    });
    killed(cluster.scenario.start(["run"]), &["/pg_dump "]);
}
