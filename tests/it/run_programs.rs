//! Programs that a run starts: read to the end, given what is theirs, and ended when they are told to.

use std::fs;
use std::time::{Duration, Instant};

use crate::scenario::{Scenario, artefacts, plan, shell, wait_for};

/// A source `x` whose program is this script.
fn source(script: &str, more: &str) -> String {
    let (head, tail) = ("source x: command {\n  run = [\"sh\", \"-c\", \"", "\"]\n  as  = \"x\"\n");
    let archive = "}\n\narchive main {\n  from = all\n  to   = [store]\n}\n";
    plan(&format!("{head}{script}{tail}  {more}\n{archive}"))
}

/// The file that the source became.
fn stored(scenario: &Scenario) -> String {
    shell(&scenario.path("store"), "tar xzOf *.tar.gz x/x")
}

#[test]
fn what_a_program_left_in_the_background_writes_is_part_of_the_source() {
    let scenario = Scenario::new().file("p.plan", source("seq 200000 | (sleep 1; gzip) &", ""));
    scenario.plan(["run"]).status(0);
    let lines =
        shell(&scenario.path("store"), "tar xzOf *.tar.gz x/x | gunzip | md5sum; seq 200000 | md5sum");
    let sums: Vec<&str> = lines.lines().collect();
    assert_eq!(sums[0], sums[1]);
    // A secret too.
    let secret = "env = [\"S=${exec([\"sh\", \"-c\", \"(sleep 1; echo late-word) &\"])}\"]";
    let scenario = Scenario::new().file("p.plan", source("echo $S | tr a-z A-Z", secret));
    scenario.plan(["run"]).status(0);
    assert_eq!(stored(&scenario), "LATE-WORD\n");
}

#[test]
fn an_output_that_never_ends_ends_with_its_timeout_and_with_a_signal() {
    let script = "setsid sleep 45.75 & echo whole";
    let scenario = Scenario::new().file("p.plan", source(script, "timeout = 1s"));
    let since = Instant::now();
    scenario.plan(["run"]).status(1).stdout_has("still held its output");
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert_eq!(artefacts(&scenario.path("store")).len(), 0);
    let scenario = Scenario::new().file("p.plan", source(&format!("echo $$ > begun; {script}"), ""));
    let running = scenario.start(["run"]);
    wait_for("the program", || {
        fs::read_to_string(scenario.path("begun")).is_ok_and(|text| text.ends_with('\n'))
    });
    let since = Instant::now();
    running.signal("TERM");
    running.answer().status(143);
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

#[test]
fn a_window_and_a_notification_do_not_wait_for_the_service_that_they_started() {
    let more = "}\n\nwindow w {\n  around = all\n  enter  = [\"sh\", \"-c\", \"setsid sleep 45.5 & echo in >> log\"]\n  leave  = [\"sh\", \"-c\", \"(while sleep 0.01; do echo still here; done) & echo out >> log\"]\n}\n\nnotify n: command {\n  run = [\"sh\", \"-c\", \"setsid sleep 45.5 & echo told >> log\"]\n  on  = [success]\n";
    let scenario = Scenario::new().file("p.plan", source("echo x", more));
    let since = Instant::now();
    scenario.plan(["run"]).status(0);
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    assert_eq!(scenario.read("log"), "in\nout\ntold\n");
}

#[test]
fn a_program_has_no_secret_that_it_was_not_given() {
    let declarations = r#"param token: secret

source one: command {
  run = ["sh", "-c", "env > one"]
  as  = "one"
  env = ["GIVEN=${env("DBPASS")}", "TOKEN=${token}", "KEY=${exec(["sh", "-c", "env > exec; echo key"])}"]
}

source two: command {
  run    = ["sh", "-c", "env"]
  as     = "two"
  run_as = "nobody"
}

archive main {
  from = all
  to   = [store]
}

window w {
  around = all
  enter  = ["sh", "-c", "env > enter"]
  leave  = ["sh", "-c", "env > leave"]
}

notify n: command {
  run = ["sh", "-c", "env > told"]
  on  = [success]
}

verify {
  restore = one
  every   = 1d
  command = ["sh", "-c", "env > verified"]
}
"#;
    let scenario = Scenario::new()
        .file("p.plan", plan(declarations))
        .env("DBPASS", "env-sesame-4711")
        .env("PLAN_PARAM_TOKEN", "param-sesame-4712")
        .env("AWS_SECRET_ACCESS_KEY", "other-sesame-4713")
        .env("PGPASSWORD", "pg-sesame-4714")
        .env("LC_TIME", "C.UTF-8");
    scenario.next_day().plan(["run"]).status(0);
    let two = shell(&scenario.path("store"), "tar xzOf *.tar.gz two/two");
    let others = ["exec", "enter", "leave", "told", "verified"].map(|name| scenario.read(name));
    for env in others.iter().chain([&two]) {
        assert!(!env.contains("sesame") && env.contains("PATH=") && env.contains("LC_TIME=C.UTF-8"), "{env}");
    }
    assert!(two.contains("USER=nobody") && !two.contains("TMPDIR="), "{two}");
    assert!(others[3].contains("BACKPLAN_EVENT=success"), "{}", others[3]);
    assert!(others[4].contains("BACKPLAN_RESTORED="), "{}", others[4]);
    let one = scenario.read("one");
    assert!(one.contains("GIVEN=env-sesame-4711\n") && one.contains("TOKEN=param-sesame-4712\n"), "{one}");
    assert!(!one.contains("4713") && !one.contains("4714") && !one.contains("DBPASS"), "{one}");
}
