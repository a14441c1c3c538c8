//! The plans that come with the project hold what they promise.

use crate::scenario::{Scenario, repository};

fn plans() -> String {
    repository("plans").to_str().unwrap().to_owned()
}

#[test]
fn all_pass_the_check_without_a_warning() {
    Scenario::new().plan(["check", "--deny", "warnings", &plans()]).status(0).stdout_has(" plans checked: ");
}

#[test]
fn all_are_in_the_house_style() {
    Scenario::new().plan(["fmt", "--check", &plans()]).status(0).stdout("");
}

#[test]
fn all_have_steps_and_drawings() {
    let scenario = Scenario::new();
    for entry in std::fs::read_dir(plans()).unwrap() {
        let path = entry.unwrap().path();
        let is_plan = path.extension().is_some_and(|ending| ending == "plan");
        if !is_plan || !std::fs::read_to_string(&path).unwrap().contains("\nplan ") {
            continue;
        }
        let path = path.to_str().unwrap();
        scenario.plan(["compile", path]).status(0).stdout_has("steps:");
        scenario.plan(["graph", path]).status(0).stdout_has("digraph");
        scenario.plan(["graph", path, "--format", "mermaid"]).status(0).stdout_has("flowchart");
    }
}

#[test]
fn all_can_be_run() {
    let scenario = Scenario::new();
    let list = std::fs::read_to_string(repository("plans/README.md")).unwrap();
    let mut refused = Vec::new();
    for entry in std::fs::read_dir(plans()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "plan") {
            continue;
        }
        // What else a run wants of this machine is not asked here.
        let answer = scenario.plan(["run", "--dry-run", path.to_str().unwrap()]);
        if answer.stderr.contains("does not compile") {
            refused.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert_eq!(refused, Vec::<String>::new());
    assert!(list.contains("This version runs all of them."), "{list}");
}

#[test]
fn steps_do_not_depend_on_the_order_in_which_a_plan_is_written() {
    let text = std::fs::read_to_string(repository("plans/quickstart/quickstart.plan")).unwrap();
    let mut items: Vec<&str> = text.split("\n\n").collect();
    let straight = Scenario::new().file("q.plan", &text).plan(["compile"]).status(0).stdout;
    // The header stays first.
    items[1..].reverse();
    let reversed = Scenario::new().file("q.plan", items.join("\n\n")).plan(["compile"]).status(0).stdout;
    assert_eq!(straight, reversed);
}
