//! What every command shares: help, statuses, streams.

use std::fs::OpenOptions;
use std::io::Read;
use std::process::Stdio;

use crate::scenario::Scenario;

#[test]
fn help_and_version_are_answers() {
    let scenario = Scenario::new();
    scenario.plan(["--version"]).status(0).stdout_has("plan 0.");
    scenario.plan(["--help"]).status(0).stdout_has("Exit statuses:").stderr("");
    scenario.plan(["help", "check"]).status(0).stdout_has("Examples:");
}

#[test]
fn wrong_usage_ends_with_2() {
    let scenario = Scenario::new();
    scenario.plan(["chekc"]).status(2).stdout("").stderr_has("check");
    scenario.plan(["check", "--formt", "json"]).status(2);
    scenario.plan([] as [&str; 0]).status(2);
    scenario.plan(["-q", "-v", "check"]).status(2);
}

#[test]
fn every_command_has_examples() {
    let scenario = Scenario::new();
    for command in ["check", "fmt", "explain", "compile", "graph", "completions"] {
        scenario.plan([command, "--help"]).status(0).stdout_has("Examples:");
    }
}

#[test]
fn pages_are_found_by_name() {
    let scenario = Scenario::new();
    scenario.plan(["explain"]).status(0).stdout_has("unreached_source").stdout_has("archive");
    scenario.plan(["explain", "archive"]).status(0).stdout_has("self_contained");
    scenario
        .plan(["explain", "unreached"])
        .status(2)
        .stdout("")
        .stderr_has("did you mean `unreached_source`");
    for name in ["file_missing", "file_is_folder", "file_not_regular", "file_unreadable"] {
        let answer = scenario.plan(["explain", name]).status(0);
        assert!(answer.stdout.len() > 200, "{}", answer.stdout);
    }
    let page = scenario.plan(["explain", "not_text"]).status(0).stdout_has("iconv");
    assert!(!page.stdout.contains("plan site"), "{}", page.stdout);
    let page = scenario.plan(["explain", "bad_param"]).status(0);
    page.stdout_has("A plan that has it, with `-p days=many`").stdout_has("Mended, with `-p days=60d`");
}

#[test]
fn completions_are_made_for_each_shell() {
    let scenario = Scenario::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        scenario.plan(["completions", shell]).status(0).stdout_has("plan").stderr("");
    }
}

#[test]
fn a_closed_pipe_is_no_trouble() {
    let scenario = Scenario::new();
    let mut command = scenario.command();
    let mut child = command.args(["explain"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn an_answer_that_does_not_get_out_is_a_failure() {
    let scenario = Scenario::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = scenario.command().arg("explain").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the answer could not be written"));
}

#[test]
fn colour_is_for_those_who_want_it() {
    let colored = |scenario: &Scenario, args: &[&str]| scenario.plan(args).stdout.contains('\u{1b}');
    let scenario = Scenario::new().file("a.plan", "plan a\nlet =\n");
    assert!(!colored(&scenario, &["check"]), "a pipe is plain");
    assert!(colored(&scenario, &["check", "--color", "always"]));
    let scenario = scenario.env("NO_COLOR", "1");
    assert!(!colored(&scenario, &["check", "--color", "auto"]));
}

#[test]
fn a_pipe_gets_no_boxes() {
    let answer = Scenario::new().file("a.plan", "plan a\nlet =\n").env("LC_ALL", "C.UTF-8").plan(["check"]);
    assert!(answer.stdout.is_ascii(), "{}", answer.stdout);
}
