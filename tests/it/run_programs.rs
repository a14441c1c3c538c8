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

/// Each program with what its own declaration gives it, and with no secret of another's.
#[test]
fn a_program_is_given_what_is_declared_for_it_and_tells_nobody() {
    let declarations = r#"source one: command {
  run = ["sh", "-c", "[ -e go ] && echo $S || { echo $$ > pid; touch ready; exec sleep 60; }"]
  as  = "one"
  env = ["S=${exec(["sh", "-c", "env > exec; echo $KEY$KIND"], ["KEY=${file("key")}", "KIND=plain"])}"]
}

archive main {
  from = all
  to   = [store]
}

window w {
  around = all
  enter  = ["sh", "-c", "env > enter; echo in with $WINDOW"]
  leave  = ["sh", "-c", "env > leave; echo out with $WINDOW >&2"]
  env    = ["WINDOW=${env("WINDOW_PASS")}", "FOR=${host()}"]
  run_as = "root"
}

notify n: command {
  run = ["sh", "-c", "env > told; echo told with $HOOK"]
  env = ["HOOK=${env("HOOK_TOKEN")}", "BACKPLAN_EVENT=mine"]
  on  = [success, failure]
}

verify {
  restore = one
  every   = 1d
  command = ["sh", "-c", "env > verified; echo no $ASK >&2; [ -e good ]"]
  env     = ["ASK=${env("ASK_TOKEN")}", "BACKPLAN_SOURCE=mine"]
}
"#;
    let scenario = Scenario::new()
        .file("p.plan", plan(declarations))
        .file("key", "exec-sesame-4711\n")
        .env("WINDOW_PASS", "window-sesame-4712")
        .env("HOOK_TOKEN", "hook-sesame-4713")
        .env("ASK_TOKEN", "ask-sesame-4714");
    // A window that a killed run left open is closed with what it is given.
    let running = scenario.start(["run"]);
    wait_for("the program", || scenario.path("ready").exists());
    running.signal("KILL");
    running.answer();
    shell(&scenario.path("."), "kill $(cat pid); rm ready enter; touch go");
    assert!(!scenario.path("leave").exists());
    let mut said = scenario.next_day().plan(["run", "-vv"]).status(1).says("did not pass: command").said();
    assert!(scenario.read("leave").contains("WINDOW=window-sesame-4712\n"));
    for part in ["in with (secret)", "out with (secret)", "told with (secret)", "no (secret)"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    scenario.write("good", "");
    said += &scenario.next_day().plan(["run", "--format", "json"]).status(0).said();
    said += &scenario.plan(["verify", "--rehearse"]).status(0).said();
    let stored = shell(&scenario.path("store"), "cat .backplan/p/manifests/* .backplan/p/rehearsals/*");
    assert!(stored.contains("no (secret)"), "{stored}");
    let kept = shell(&scenario.path(".."), "grep -rl sesame . | sort");
    assert!(!said.contains("sesame") && !stored.contains("sesame"), "{said}\n{stored}");
    let own = ["enter", "exec", "key", "leave", "told", "verified"];
    let elsewhere: Vec<&str> =
        kept.lines().filter(|path| !own.iter().any(|own| path.ends_with(&format!("/{own}")))).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let lines = |name: &str| -> Vec<String> {
        let text = scenario.read(name);
        text.lines().filter(|line| line.contains("sesame")).map(str::to_owned).collect()
    };
    assert_eq!(lines("exec"), ["KEY=exec-sesame-4711"]);
    assert!(scenario.read("exec").contains("KIND=plain\n"));
    for name in ["enter", "leave"] {
        assert_eq!(lines(name), ["WINDOW=window-sesame-4712"]);
        assert!(!scenario.read(name).contains("FOR=\n") && scenario.read(name).contains("FOR="));
    }
    assert_eq!(lines("told"), ["HOOK=hook-sesame-4713"]);
    // What the run itself says goes before.
    assert!(scenario.read("told").contains("BACKPLAN_EVENT=success\n"));
    assert_eq!(lines("verified"), ["ASK=ask-sesame-4714"]);
    assert!(scenario.read("verified").contains("BACKPLAN_SOURCE=one\n"));
}
