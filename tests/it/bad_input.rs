//! What lies at a plan's path need not be a plan.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run_sources::{AS_NOBODY, nobody};
use crate::scenario::Scenario;

#[test]
fn each_path_that_is_no_plan_is_told_apart() {
    let scenario = Scenario::new()
        .file("folder/x", "")
        .file("binary.plan", b"\x7fELF\0\0\0")
        .file("latin.plan", b"# caf\xe9\nplan x\n")
        .file("brackets.plan", "[".repeat(10 << 20));
    for (path, name) in [
        ("none.plan", "file_missing"),
        ("binary.plan", "not_text"),
        ("latin.plan", "not_text"),
        ("brackets.plan", "file_too_large"),
        ("/dev/null", "file_not_regular"),
    ] {
        scenario.plan(["check", path]).status(1).stdout_has(&format!("error: {name}\n")).stdout_has(path);
        scenario.plan(["compile", path]).status(2).stdout("").stderr_has(path);
        scenario.plan(["fmt", path]).status(1).stdout("").stderr_has(path);
        scenario.plan(["explain", name]).status(0).stdout_has(name);
    }
    scenario.plan(["compile", "folder"]).status(2).stderr_has("`folder` is a folder");
}

#[test]
fn a_plan_that_may_not_be_read_says_so() {
    let scenario = Scenario::new().file("a.plan", "plan a\n");
    nobody(&scenario);
    fs::set_permissions(scenario.path("a.plan"), Permissions::from_mode(0o000)).unwrap();
    // Root reads everything.
    scenario.plan_by(AS_NOBODY, ["check", "a.plan"]).status(1).stdout_has("file_unreadable");
}

#[test]
fn a_pipe_does_not_hang() {
    let scenario = Scenario::new();
    let made = Command::new("mkfifo").arg(scenario.path("a.plan")).status().unwrap();
    assert!(made.success());
    scenario.plan(["check", "a.plan"]).status(1).stdout_has("file_not_regular");
}

#[test]
fn brackets_below_the_size_cap_neither_crash_nor_take_long() {
    for text in ["[".repeat(1 << 20), "{".repeat(1 << 20), format!("let x = {}", "[".repeat(500_000))] {
        let since = Instant::now();
        let answer = Scenario::new().file("a.plan", text).plan(["check", "a.plan"]).status(1);
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
        assert!(answer.stdout.len() < 100_000, "a wall of text: {} bytes", answer.stdout.len());
    }
}

#[test]
fn a_finding_in_a_line_of_a_machine_is_named_and_not_shown() {
    let text = format!("plan a\nlet x = [{} oops oops ]\n", "1, ".repeat(20_000));
    let answer = Scenario::new().file("a.plan", text).plan(["check", "a.plan"]).status(1);
    assert!(answer.stdout.contains("a.plan:2:"), "{}", &answer.stdout[..500.min(answer.stdout.len())]);
    assert!(answer.stdout.len() < 20_000);
}

#[test]
fn a_plan_cannot_steer_the_terminal() {
    let answer = Scenario::new()
        .file("a.plan", "plan a\nlet \u{1b}]0;owned\u{7} =\n")
        .plan(["check", "--color", "never", "a.plan"])
        .status(1);
    assert!(!answer.stdout.contains(['\u{1b}', '\u{7}']), "{:?}", answer.stdout);
}

#[test]
fn an_import_that_cannot_be_read_is_told_at_the_import() {
    let scenario =
        Scenario::new().file("a.plan", "plan a\nimport \"lib.plan\"\nimport \"sub\"\n").file("sub/x", "");
    scenario
        .plan(["check", "a.plan"])
        .status(1)
        .stdout_has("a.plan:2:")
        .stdout_has("does not exist")
        .stdout_has("is a folder");
}
