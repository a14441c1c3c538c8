//! Windows: entered before the first look at their sources, left after the last, whatever happens in between.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::scenario::{Scenario, artefacts, plan, shell, wait_for};

/// A window that logs, around a source that logs; each script may be replaced.
fn windowed(read: &str, leave: &str, more: &str) -> String {
    plan(&format!(
        r#"source slow: command {{
  run = ["sh", "-c", "echo read >> log; {read}"]
  as  = "slow.txt"
}}

source after: command {{
  run   = ["sh", "-c", "echo after >> log"]
  as    = "after.txt"
}}

archive main {{
  from = [slow]
  to   = [store]
}}

archive other {{
  from = [after]
  to   = [store]
}}

window quiet {{
  around  = [slow]
  enter   = ["sh", "-c", "echo enter >> log"]
  leave   = ["sh", "-c", "echo leave >> log; {leave}"]
  {more}
}}

limits {{
  jobs = 1
}}
"#
    ))
}

/// The log without the source that is outside of the window.
fn log(scenario: &Scenario) -> String {
    scenario.read("log").replace("after\n", "").replace('\n', " ")
}

#[test]
fn a_window_holds_exactly_the_reading() {
    let scenario = Scenario::new().file("p.plan", windowed("echo x", "true", ""));
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(log(&scenario), "enter read leave ");
    let scenario = Scenario::new().file("p.plan", windowed("exit 3", "true", ""));
    scenario.next_day().plan(["run"]).status(1).stdout_has("status 3");
    assert_eq!(log(&scenario), "enter read leave ");
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
}

#[test]
fn windows_are_left_on_a_signal_and_the_next_run_is_let_in_at_once() {
    for (name, status, word) in [("INT", 130, "stopped"), ("TERM", 143, "stopped"), ("HUP", 143, "stopped")] {
        let staging = "}\n\nstaging {\n  path = \"staging\"";
        let scenario =
            Scenario::new().file("p.plan", windowed("sleep 300", "true", staging)).file("staging/x", "");
        let running = scenario.next_day().start(["run"]);
        wait_for("the reading", || {
            std::fs::read_to_string(scenario.path("log")).is_ok_and(|log| log.contains("read"))
        });
        let since = Instant::now();
        running.signal(name);
        running.answer().status(status).stdout_has(word);
        assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
        assert_eq!(log(&scenario), "enter read leave ");
        assert_eq!(std::fs::read_dir(scenario.path("staging")).unwrap().count(), 0);
        scenario.write("p.plan", windowed("echo x", "true", staging));
        let since = Instant::now();
        scenario.next_day().plan(["run"]).status(0);
        assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
        assert_eq!(log(&scenario), "enter read leave enter read leave ");
    }
}

#[test]
fn a_window_that_is_open_for_too_long_is_left_and_what_was_in_it_fails() {
    let scenario = Scenario::new().file("p.plan", windowed("sleep 300", "true", "timeout = 1s"));
    scenario.next_day().plan(["run"]).status(1).stdout_has("the `timeout` of window `quiet` was over");
    assert_eq!(log(&scenario), "enter read leave ");
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
}

#[test]
fn a_window_that_cannot_be_left_fails_the_run_and_is_left_by_the_next() {
    let scenario = Scenario::new().file("p.plan", windowed("echo x", "exit 5", ""));
    scenario
        .next_day()
        .plan(["run"])
        .status(1)
        .stdout_has("leave/quiet")
        .stdout_has("status 5")
        .stdout_has("leave it by hand")
        .stdout_has("is in `store`");
    assert_eq!(log(&scenario), "enter read leave ");
    // It came to its end, and all is backed up.
    let told = scenario.plan(["status"]).status(3).stdout_has("backed up everything, and failed in what");
    told.stdout_has("`leave/quiet`").stdout_has("leave it by hand");
    let last = scenario.plan(["status", "--format", "prometheus"]).status(0);
    last.stdout_has("backplan_last_run_outcome{plan=\"p\",outcome=\"failed\"} 1");
    // What is run is what that run meant to run: it still fails, and that is a warning, with a mend that helps.
    let again = windowed("echo x", "exit 5", "");
    scenario.write("p.plan", &again);
    let answer = scenario.next_day().plan(["run"]).status(1);
    let told = answer.stdout_has("window `quiet` may be open since run 00000001").said();
    let journals = told.split("leave it by hand and delete `").skip(1);
    let journals: Vec<&str> = journals.filter_map(|rest| rest.split('`').next()).collect();
    assert!(journals[0].ends_with(".jsonl"), "{told}");
    fs::remove_file(journals[0].replace("$W", scenario.path("..").to_str().unwrap())).unwrap();
    // Where the plan has it better by now, that is done instead, once.
    scenario.write("p.plan", windowed("echo x", "true", ""));
    fs::remove_file(scenario.path("log")).unwrap();
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(log(&scenario), "leave leave enter read leave ");
    scenario.plan(["status"]).status(0);
    fs::remove_file(scenario.path("log")).unwrap();
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(log(&scenario), "enter read leave ");
}

#[test]
fn a_window_that_cannot_be_entered_is_left_and_nothing_in_it_is_read() {
    let text = windowed("echo x", "true", "").replace("echo enter >> log", "echo enter >> log; exit 4");
    let scenario = Scenario::new().file("p.plan", text);
    scenario.next_day().plan(["run"]).status(1).stdout_has("enter/quiet").stdout_has("status 4");
    assert_eq!(log(&scenario), "enter leave ");
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
}

#[test]
fn a_window_that_a_kill_left_open_is_left_by_the_next_run() {
    let scenario = Scenario::new().file("p.plan", windowed("sleep 300", "true", ""));
    let running = scenario.next_day().start(["run"]);
    wait_for("the reading", || {
        std::fs::read_to_string(scenario.path("log")).is_ok_and(|log| log.contains("read"))
    });
    running.signal("KILL");
    running.answer().status(-9);
    assert_eq!(log(&scenario), "enter read ");
    // What the dry run says, the run does.
    scenario.write("p.plan", windowed("echo x", "true", ""));
    scenario.next_day().plan(["run", "--dry-run"]).stdout_has("window `quiet` would be left");
    assert_eq!(log(&scenario), "enter read ");
    scenario.plan(["run"]).status(0).stderr_has("leaving window `quiet`");
    assert_eq!(log(&scenario), "enter read leave enter read leave ");
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(log(&scenario), "enter read leave enter read leave enter read leave ");
}

#[test]
fn people_are_told_how_a_run_went() {
    let notify = r#"}

notify log: command {
  run = ["sh", "-c", "echo $BACKPLAN_EVENT $BACKPLAN_PLAN $BACKPLAN_RUN $BACKPLAN_WARNINGS >> notes"]
  on  = [start, success, warning, failure]
"#;
    let scenario = Scenario::new().file("p.plan", windowed("echo x", "true", notify));
    scenario.next_day().plan(["run"]).status(0);
    let notes = scenario.read("notes");
    let lines: Vec<&str> = notes.lines().collect();
    assert!(
        lines[0].starts_with("start p 00000001-") && lines[1].starts_with("success p 00000001-"),
        "{notes}"
    );
    scenario.write("p.plan", windowed("exit 1", "true", notify));
    scenario.next_day().plan(["run"]).status(1);
    assert!(
        scenario.read("notes").lines().last().unwrap().starts_with("failure p "),
        "{}",
        scenario.read("notes")
    );
    scenario.write("p.plan", windowed("echo x", "true", notify).replace("echo $BACK", "exit 9; echo $BACK"));
    scenario.next_day().plan(["run"]).status(3).stdout_has("notify/log").stdout_has("status 9");
}

#[test]
fn people_are_told_of_a_run_that_could_not_begin() {
    let notify = r#"}

notify log: command {
  run = ["sh", "-c", "echo $BACKPLAN_EVENT $BACKPLAN_PLAN >> notes"]
  on  = [failure]
"#;
    let text = windowed("echo x", "true", notify);
    let scenario = Scenario::new().file("p.plan", &text);
    scenario.next_day().plan(["run"]).status(0);
    assert!(!scenario.path("notes").exists());
    fs::rename(scenario.path("store"), scenario.path("away")).unwrap();
    assert_ne!(scenario.next_day().plan(["run"]).code, 0);
    assert_eq!(scenario.read("notes"), "failure p\n");
    fs::rename(scenario.path("away"), scenario.path("store")).unwrap();
    let reads = "to   = [store]\n  name = \"a-${read(\"version\")}-${time(\"%Y%m%d%H%M%S\")}.tar.gz\"";
    scenario.write("p.plan", text.replacen("to   = [store]", reads, 1));
    assert_ne!(scenario.next_day().plan(["run"]).code, 0);
    assert_eq!(scenario.read("notes"), "failure p\nfailure p\n");
    // A dry run tells nobody.
    scenario.next_day().plan(["run", "--dry-run"]);
    assert_eq!(scenario.read("notes"), "failure p\nfailure p\n");
}

#[test]
fn a_signal_does_not_wait_for_the_next_attempt() {
    let text = windowed("exit 1", "true", "").replace("attempts = 1", "attempts = 5\n  backoff  = 60s..60s");
    let scenario = Scenario::new().file("p.plan", text);
    let running = scenario.next_day().start(["run"]);
    wait_for("the reading", || {
        fs::read_to_string(scenario.path("log")).is_ok_and(|log| log.contains("read"))
    });
    // The next attempt is at least half a minute away.
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    running.signal("TERM");
    let answer = running.answer().status(143);
    assert!(since.elapsed() < Duration::from_secs(8), "{answer:?}");
    assert_eq!(log(&scenario), "enter read leave ");
}

#[test]
fn a_program_that_will_not_hear_of_it_is_stopped_all_the_same() {
    let scenario =
        Scenario::new().file("p.plan", windowed("trap : TERM; sleep 91.5; sleep 91.5", "true", ""));
    let running = scenario.next_day().start(["run"]);
    wait_for("the reading", || {
        fs::read_to_string(scenario.path("log")).is_ok_and(|log| log.contains("read"))
    });
    let since = Instant::now();
    running.signal("TERM");
    let answer = running.answer().status(143);
    assert!(since.elapsed() < Duration::from_secs(20), "{answer:?}");
    assert_eq!(log(&scenario), "enter read leave ");
    let left = shell(Path::new("/"), "ps -eo stat,args | grep '[s]leep 91.5' | grep -vc '^Z' || true");
    assert_eq!(left.trim(), "0");
}

#[test]
fn programs_run_as_the_account_that_the_plan_names() {
    let text = windowed("id -un", "id -un >> who", "run_as = \"nobody\"")
        .replace("  as  = \"slow.txt\"", "  as  = \"slow.txt\"\n  run_as = \"nobody\"");
    let scenario = Scenario::new().file("p.plan", text).file("who", "").file("log", "");
    shell(&scenario.path("."), "chmod 755 .. .; chmod 666 who log");
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(scenario.read("who"), "nobody\n");
    assert_eq!(shell(&scenario.path("store"), "tar xzOf p_main*.tar.gz slow/slow.txt"), "nobody\n");
    let text = scenario.read("p.plan").replace("\"nobody\"", "\"no-such-account\"");
    scenario.write("p.plan", text);
    scenario.next_day().plan(["run"]).status(1).stdout_has("no-such-account");
}
