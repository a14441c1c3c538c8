//! Every finding has a plan that makes it, and people and programs are told of it in these words.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backplan_compiler::codes::CODES;

use crate::scenario::{Scenario, repository};

/// A broken plan: its name, which is the finding's, and its files; the plan is the first.
struct Broken {
    name: String,
    files: Vec<PathBuf>,
}

/// Of `NAME.plan`, or of `NAME/main.plan` and the libraries beside it.
fn broken_plans() -> Vec<Broken> {
    let mut plans: Vec<Broken> = children(&repository("tests/broken"))
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut files = if path.is_dir() { children(&path) } else { vec![path] };
            files.sort_by_key(|file| (!file.ends_with("main.plan"), file.clone()));
            Broken { name, files }
        })
        .collect();
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    plans
}

fn children(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

impl Broken {
    /// A world with its files, and the arguments to check it with: a plan may begin with the command it is meant for.
    fn scenario(&self) -> (Scenario, Vec<String>) {
        let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
        let scenario = self.files.iter().fold(Scenario::new(), |all, file| all.copy(file, &name(file)));
        let mut args = vec!["check".to_owned(), name(&self.files[0])];
        let text = fs::read_to_string(&self.files[0]).unwrap();
        if let Some(wanted) = text.lines().next().and_then(|line| line.strip_prefix("# plan check ")) {
            args.extend(wanted.split(' ').map(str::to_owned));
        }
        (scenario, args)
    }
}

#[test]
fn people_are_told() {
    for broken in broken_plans() {
        let (scenario, args) = broken.scenario();
        let answer = scenario.plan(&args);
        assert!(
            answer.stdout.contains(&format!(": {}\n", broken.name)),
            "{}:\n{}",
            broken.name,
            answer.stdout
        );
        let text = format!("status {}\n\n{}{}", answer.code, answer.stdout, answer.stderr);
        insta::with_settings!({prepend_module_to_snapshot => false, snapshot_path => "../golden/people", omit_expression => true}, {
            insta::assert_snapshot!(broken.name.as_str(), text);
        });
    }
}

#[test]
fn programs_are_told() {
    for broken in broken_plans() {
        let (scenario, mut args) = broken.scenario();
        args.extend(["--format".to_owned(), "json".to_owned()]);
        let answer = scenario.plan(&args);
        let json: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        let findings = json["plans"][0]["findings"].as_array().unwrap();
        assert!(findings.iter().any(|finding| finding["name"] == broken.name.as_str()), "{}", broken.name);
        insta::with_settings!({prepend_module_to_snapshot => false, snapshot_path => "../golden/programs", omit_expression => true}, {
            insta::assert_snapshot!(broken.name.as_str(), answer.stdout);
        });
    }
}

#[test]
fn every_finding_has_a_plan() {
    let mut plans: BTreeSet<String> = broken_plans().into_iter().map(|broken| broken.name).collect();
    // More than anybody wants to read; made in `bad_input`.
    plans.insert("file_too_large".into());
    let missing: Vec<&str> =
        CODES.iter().map(|code| code.name).filter(|name| !plans.contains(*name)).collect();
    assert!(missing.is_empty(), "no broken plan for {missing:?}");
}

#[test]
fn every_finding_has_a_page() {
    let scenario = Scenario::new();
    for code in CODES {
        scenario.plan(["explain", code.name]).status(0).stdout_has(code.name);
    }
}
