//! `plan check`: what it looks at, and how it ends.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::scenario::Scenario;

const GOOD: &str = "\
plan good

store local: dir {
  path = \"/backup\"
}

source site: files {
  paths = [\"/srv/site\"]
}

archive main {
  from = all
  to   = [local]
}
";

fn warned() -> String {
    format!("{GOOD}\nlet unused = 1\n")
}

#[test]
fn a_good_plan_has_nothing_to_report() {
    Scenario::new()
        .file("good.plan", GOOD)
        .plan(["check", "good.plan"])
        .status(0)
        .stdout("1 plan checked: nothing to report\n")
        .stderr("");
}

#[test]
fn the_one_plan_in_the_folder_is_meant() {
    let scenario = Scenario::new().file("good.plan", GOOD).file("lib.plan", "let x = 1\n");
    scenario.plan(["check"]).status(0).stdout("1 plan checked: nothing to report\n");
}

#[test]
fn without_a_plan_there_is_nothing_to_mean() {
    Scenario::new()
        .file("lib.plan", "let x = 1\n")
        .plan(["check"])
        .status(2)
        .stdout("")
        .stderr_has("the current folder has no `*.plan` file that begins with `plan NAME`");
}

#[test]
fn several_plans_are_not_guessed_between() {
    Scenario::new()
        .file("a.plan", GOOD)
        .file("b.plan", GOOD)
        .plan(["check"])
        .status(2)
        .stderr_has("the current folder has several: `a.plan`, `b.plan`");
}

#[test]
fn warnings_end_with_0_and_denied_with_1() {
    let scenario = Scenario::new().file("a.plan", warned());
    scenario.plan(["check"]).status(0).stdout_has("warning: unused_name");
    scenario.plan(["check", "--deny", "warnings"]).status(1);
}

#[test]
fn a_folder_is_checked_whole_and_in_order() {
    let scenario = Scenario::new()
        .file("plans/b.plan", GOOD)
        .file("plans/deep/a.plan", warned().replace("plan good", "plan warned"))
        .file("plans/lib.plan", "let unused_by_nobody = 1\n")
        .file("plans/.hidden/c.plan", "nonsense");
    let first = scenario.plan(["check", "plans"]).status(0).stdout_has("2 plans checked: 1 warning\n");
    for _ in 0..5 {
        assert_eq!(scenario.plan(["check", "plans"]).stdout, first.stdout);
    }
}

#[test]
fn two_plans_that_would_be_one_in_a_store_are_told_of_with_both_places() {
    let importing = |name: &str, archive: &str| {
        format!(
            "plan {name}\nimport \"../stores.plan\"\nsource s: files {{ paths = [\"/srv/{name}\"] }}\n{archive}\n"
        )
    };
    let usual = "archive s { from = [s], to = [local] }";
    let named = "archive s { from = [s], to = [local], name = \"${time(\"%Y%m%d%H%M%S\")}.tar.gz\" }";
    let hosted = named.replace("\"${time", "\"${host()}_${time");
    let stores = "store local: dir {\n  path = \"/backup\"\n}\nstore other: dir {\n  path = \"/other\"\n}\n";
    let scenario = Scenario::new()
        .file("stores.plan", stores)
        .file("name/a.plan", importing("one", usual))
        .file("name/b.plan", importing("one", usual))
        .file("apart/a.plan", importing("one", usual))
        .file("apart/b.plan", importing("one", &usual.replace("local", "other")))
        .file("artefact/a.plan", importing("one", named))
        .file("artefact/b.plan", importing("two", named))
        .file("hosts/a.plan", importing("one", &hosted))
        .file("hosts/b.plan", importing("two", &hosted));
    let answer = scenario.plan(["check", "name"]).status(1).stdout_has("2 plans checked: 1 error\n");
    for words in [
        "shared_plan_name",
        "`name/a.plan` is a plan `one` too, and both write to /backup",
        "[name/b.plan:1:6]",
        "[name/a.plan:1:6]",
    ] {
        assert!(answer.stdout.contains(words), "{words}: {}", answer.stdout);
    }
    let answer = scenario.plan(["check", "artefact"]).status(1).stdout_has("2 plans checked: 1 error\n");
    for words in ["shared_artefact_name", "[artefact/b.plan:4:1]", "[artefact/a.plan:4:1]", "\"two_"] {
        assert!(answer.stdout.contains(words), "{words}: {}", answer.stdout);
    }
    for alone in ["name/a.plan", "name/b.plan", "artefact/b.plan"] {
        scenario.plan(["check", alone]).status(0);
    }
    for apart in ["apart", "hosts"] {
        scenario.plan(["check", apart]).status(0).stdout_has("2 plans checked: nothing to report\n");
    }
    let answer = scenario.plan(["check", "--format", "json", "name"]).status(1);
    let json: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let others = json["plans"][1]["findings"][0]["others"].as_array().unwrap();
    let files: Vec<&str> = others.iter().map(|other| other["place"]["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["stores.plan", "name/a.plan", "stores.plan"]);
    scenario.plan(["explain", "shared_plan_name"]).status(0).stdout_has("rename the newer one");
    scenario.plan(["explain"]).status(0).stdout_has("shared_artefact_name");
}

#[test]
fn a_folder_without_a_plan_is_no_success() {
    let scenario = Scenario::new().file("empty/lib.plan", "let x = 1\n");
    scenario.plan(["check", "empty"]).status(2).stdout("").stderr_has("there is no plan below");
}

#[test]
fn a_library_that_cannot_be_read_is_told_of_without_its_importer() {
    Scenario::new()
        .file("good.plan", GOOD)
        .file("lib.plan", "let x =\n")
        .plan(["check", "."])
        .status(1)
        .stdout_has("lib.plan:1:");
}

#[test]
fn a_library_is_blamed_once() {
    let importing = format!("{GOOD}\nimport \"lib.plan\"\n");
    let answer = Scenario::new()
        .file("a.plan", &importing)
        .file("b.plan", importing.replace("plan good", "plan other"))
        .file("lib.plan", "keep {\n  lst = 3\n}\n")
        .plan(["check", "."])
        .status(1);
    assert_eq!(answer.stdout.matches("unknown_attribute").count(), 1, "{}", answer.stdout);
}

#[test]
fn parameters_come_from_the_command_line_and_the_environment() {
    let text = format!("param days: int\n\n{GOOD}\nkeep {{\n  daily = days\n}}\n");
    let scenario = Scenario::new().file("a.plan", &text);
    scenario.plan(["check"]).status(1).stdout_has("unbound_param");
    scenario.plan(["check", "-p", "days=7"]).status(0);
    scenario.plan(["check", "-p", "days=seven"]).status(1).stdout_has("bad_param");
    scenario.plan(["check", "-p", "days=1", "-p", "days=2"]).status(2).stderr_has("`days` is given twice");
    scenario.plan(["check", "-p", "days"]).status(2).stderr_has("NAME=VALUE");
    Scenario::new().file("a.plan", &text).env("PLAN_PARAM_DAYS", "7").plan(["check"]).status(0);
}

#[test]
fn programs_get_one_document_for_all_plans() {
    let scenario =
        Scenario::new().file("a.plan", GOOD).file("b.plan", warned().replace("plan good", "plan warned"));
    let answer =
        scenario.plan(["check", "--format", "json", "a.plan", "b.plan", "none.plan"]).status(1).stderr("");
    let json: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&json["errors"], &json["warnings"]), (&1.into(), &1.into()));
    let files: Vec<&str> =
        json["plans"].as_array().unwrap().iter().map(|p| p["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["a.plan", "b.plan", "none.plan"]);
    assert_eq!(json["plans"][2]["findings"][0]["name"], "file_missing");
}

#[test]
fn a_check_touches_nothing() {
    let scenario = Scenario::new().file("a.plan", GOOD);
    let folder = scenario.path("");
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    scenario.plan(["check"]).status(0);
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.plan"]);
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_code_host_gets_findings_on_their_lines() {
    let scenario = Scenario::new().file("a b.plan", warned());
    let answer = scenario.plan(["check", "--format", "github", "a b.plan", "none.plan"]).status(1);
    let line = warned().lines().position(|line| line.starts_with("let unused")).unwrap() + 1;
    let begin =
        format!("::warning file=a b.plan,line={line},endLine={line},col=5,endColumn=11,title=unused_name::");
    assert!(answer.stdout.lines().next().unwrap().starts_with(&begin), "{}", answer.stdout);
    assert!(answer.stdout.lines().nth(1).unwrap().starts_with("::error file=none.plan,title=file_missing::"));
    assert_eq!(answer.stdout.lines().count(), 2);

    let answer = scenario.plan(["check", "--format", "sarif", "a b.plan", "none.plan"]).status(1);
    let log: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let run = &log["runs"][0];
    assert_eq!(log["version"], "2.1.0");
    let result = &run["results"][0];
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b.plan");
    assert_eq!((&place["region"]["startLine"], &place["region"]["endColumn"]), (&line.into(), &11.into()));
    let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], "unused_name");
}
