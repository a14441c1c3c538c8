//! `plan diff-run`

use std::fs;

use crate::scenario::{Scenario, plan, shell};

/// Three runs: one, another in which much is different, and one in which nothing is.
fn three_runs() -> Scenario {
    let scenario = Scenario::new().file(
        "site.plan",
        plan("source notes: files {\n  paths = [\"notes\"]\n}\n\narchive main {\n  from = all\n  to   = [store]\n}"),
    );
    fs::create_dir_all(scenario.path("notes/folder")).unwrap();
    for name in ["changes", "goes", "mode", "becomes", "owned", "same"] {
        scenario.write(&format!("notes/{name}"), name);
    }
    shell(&scenario.path("notes"), "ln -s same link && touch -d 2001-01-01 .");
    scenario.plan(["run"]).status(0);
    shell(
        &scenario.path("notes"),
        "echo more >> changes; rm goes; chmod 600 mode; rm becomes; mkdir becomes; echo x > new; \
         ln -sfn changes link; touch -h -d 2002-02-02 link; setfattr -n user.mark -v 1 same; touch -d 2001-01-01 .",
    );
    scenario.next_day();
    scenario.plan(["run"]).status(0);
    scenario.next_day();
    scenario.plan(["run"]).status(0);
    scenario
}

#[test]
fn changes_between_two_runs_are_shown_and_counted() {
    let scenario = three_runs();
    let answer = scenario.plan(["diff-run", "1", "2"]).status(2).stderr("");
    let lines: Vec<&str> = answer.stdout.lines().collect();
    assert_eq!(
        lines[..lines.len() - 1],
        [
            "~ notes/notes/becomes (kind)",
            "~ notes/notes/changes (content, time)",
            "- notes/notes/goes",
            "~ notes/notes/link (link, time)",
            "~ notes/notes/mode (mode)",
            "+ notes/notes/new",
            "~ notes/notes/same (xattr)",
        ]
    );
    assert!(lines[lines.len() - 1].starts_with("1 added, 1 removed, 5 changed from run 00000001-"));
    scenario.plan(["diff-run", "2", "latest"]).status(0).stdout_has("nothing changed from run 00000002-");
    scenario.plan(["diff-run", "1", "9"]).status(1).stderr_has("no run is named `9`");
    scenario.plan(["diff-run", "1"]).status(2);
}

#[test]
fn changes_between_two_runs_are_one_document_for_programs() {
    let scenario = three_runs();
    let answer = scenario.plan(["diff-run", "1", "2", "--format", "json"]).status(2).json();
    assert_eq!((&answer["added"], &answer["removed"], &answer["changed"]), (&1.into(), &1.into(), &5.into()));
    let change = &answer["changes"][1];
    assert_eq!(change["how"], serde_json::json!(["content", "time"]));
    assert_eq!(change["before"]["path"], "notes/notes/changes");
    assert_eq!((&change["before"]["size"], &change["after"]["size"]), (&7.into(), &12.into()));
    let answer = scenario.plan(["diff-run", "2", "3", "--format", "json"]).status(0).json();
    assert_eq!(answer["changes"], serde_json::json!([]));
}

#[test]
fn one_entry_is_not_said_to_be_several() {
    let scenario = three_runs();
    let args = ["restore", "--to", "back", "--source", "notes", "--path", "notes/new", "--dry-run"];
    scenario.plan(args).status(0).stdout_has(" entries, ");
    let answer = scenario.plan(["restore", "--to", "back", "--run", "2"]).status(0);
    assert!(!answer.stdout.contains("entrys"), "{}", answer.stdout);
}
