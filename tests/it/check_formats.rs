//! `plan check` for code hosts: SARIF and workflow commands, in whatever folder they are asked for.

use std::fs;

use serde_json::Value;

use crate::scenario::Scenario;

/// A folder whose name holds all that ends a property or a message.
const ODD: &str = "plans/a, b:c%/ü";

/// Two plans with errors, warnings and a note, a library between them, in folders of a git repository.
fn world() -> Scenario {
    let plan = "plan x\nimport \"../../lib.plan\"\n# é\nstore s: dir { path = \"/srv/x/s\" }\n\
                source x: files { paths = [\"/srv/x\"] }\narchive m { from = all, to = [s] }\nkeep { daily = 7 }\n\
                source ünused: files { }\n";
    let broken =
        "plan y\n\nlet 𝄞 = 1\nsource y: files {\n  paths = [\n    \"/srv/y\"\n  ]\n}\nlet unused = \"${";
    let scenario = Scenario::new()
        .file(&format!("{ODD}/x.plan"), plan.replace("source ünused: files { }\n", "let \"ü\" = 1\n"))
        .file("plans/good.plan", plan.lines().take(7).collect::<Vec<_>>().join("\n").replace("../../", ""))
        .file("plans/lib.plan", "keep { last = 3 }\nlet a = \"é\" # ü\nlet b = 2\n")
        .file("plans/y.plan", broken);
    fs::create_dir(scenario.path(".git")).unwrap();
    scenario
}

/// What SARIF 2.1.0 asks of each object that is used here: what must be there, and what else may be.
const OBJECTS: [(&str, &[&str], &[&str]); 12] = [
    ("log", &["version", "runs", "$schema"], &[]),
    ("run", &["tool", "results", "columnKind"], &[]),
    ("tool", &["driver"], &[]),
    ("driver", &["name", "rules", "version"], &[]),
    ("rule", &["id", "shortDescription", "help", "defaultConfiguration"], &[]),
    ("configuration", &["level"], &[]),
    ("result", &["ruleId", "ruleIndex", "level", "message", "locations", "relatedLocations"], &[]),
    ("message", &["text"], &[]),
    ("location", &["physicalLocation"], &["id", "message"]),
    ("physicalLocation", &["artifactLocation"], &["region"]),
    ("artifactLocation", &["uri"], &[]),
    ("region", &["startLine", "startColumn", "endLine", "endColumn", "byteOffset", "byteLength"], &[]),
];

/// Holds an object against the table and goes on into those below it.
#[track_caller]
fn hold(kind: &str, value: &Value) {
    let (_, required, allowed) = OBJECTS.iter().find(|(name, ..)| *name == kind).unwrap();
    let object = value.as_object().unwrap_or_else(|| panic!("{kind} is no object: {value}"));
    for name in *required {
        assert!(object.contains_key(*name), "{kind} has no {name}: {value:#}");
    }
    for (name, value) in object {
        assert!(required.contains(&name.as_str()) || allowed.contains(&name.as_str()), "{kind} has {name}");
        let inner = match name.as_str() {
            "runs" => "run",
            "tool" | "driver" | "message" | "physicalLocation" | "artifactLocation" | "region" => name,
            "rules" => "rule",
            "shortDescription" | "help" => "message",
            "defaultConfiguration" => "configuration",
            "results" => "result",
            "locations" | "relatedLocations" => "location",
            "startLine" | "startColumn" | "endLine" | "endColumn" => {
                assert!(value.as_u64().unwrap() >= 1, "{name}: {value}");
                continue;
            }
            "id" if kind == "location" => {
                assert!(value.is_u64(), "{value}");
                continue;
            }
            "ruleIndex" | "byteOffset" | "byteLength" => {
                assert!(value.is_u64(), "{value}");
                continue;
            }
            "level" => {
                assert!(["error", "warning", "note"].contains(&value.as_str().unwrap()));
                continue;
            }
            _ => {
                assert!(!value.as_str().unwrap().is_empty(), "{name} is empty");
                continue;
            }
        };
        match value.as_array() {
            Some(all) => all.iter().for_each(|one| hold(inner, one)),
            None => hold(inner, value),
        }
    }
}

#[test]
fn a_log_has_all_that_its_standard_asks_for() {
    let scenario = world();
    for args in [
        ["check", "--format", "sarif", "plans"].as_slice(),
        &["check", "--format", "sarif", "plans/good.plan"],
        &["check", "--format", "sarif", "plans", "none.plan"],
        &["check", "--format", "sarif", "--live", "plans/good.plan"],
    ] {
        let log = scenario.plan(args).json();
        hold("log", &log);
        assert_eq!((&log["version"], log["runs"].as_array().unwrap().len()), (&"2.1.0".into(), 1));
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let results = run["results"].as_array().unwrap();
        assert!(!results.is_empty(), "{args:?}");
        let mut named: Vec<&Value> = rules.iter().map(|rule| &rule["id"]).collect();
        named.dedup();
        assert_eq!(named.len(), rules.len(), "a rule stands twice");
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert_eq!(result["locations"].as_array().unwrap().len(), 1);
        }
    }
}

#[test]
fn files_are_named_from_the_top_of_the_repository() {
    let scenario = world();
    let uris = |folder: &str, args: &[&str]| -> Vec<String> {
        let log = scenario.plan_in(folder, args).json();
        let results = log["runs"][0]["results"].as_array().unwrap();
        let uri = |result: &Value| {
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap().to_owned()
        };
        results.iter().map(uri).collect()
    };
    let from_top = uris("", &["check", "--format", "sarif", "."]);
    assert!(from_top.contains(&"plans/y.plan".to_owned()), "{from_top:?}");
    assert!(from_top.contains(&"plans/a%2C%20b%3Ac%25/%C3%BC/x.plan".to_owned()), "{from_top:?}");
    assert!(from_top.contains(&"plans/lib.plan".to_owned()), "{from_top:?}");
    assert_eq!(uris("plans", &["check", "--format", "sarif", "."]), from_top);
    assert_eq!(uris(ODD, &["check", "--format", "sarif", "../.."]), from_top);
    // The same folder named by its files, by a longer way, and twice.
    let once = uris("plans", &["check", "--format", "sarif", "y.plan"]);
    assert_eq!(uris("plans", &["check", "--format", "sarif", "y.plan", "./y.plan", "../plans/y.plan"]), once);
}

#[test]
fn annotations_land_on_their_lines_and_break_out_of_nothing() {
    let scenario = world();
    let top = scenario.plan(["check", "--format", "github", "plans"]).status(1).stdout;
    let below = scenario.plan_in(ODD, ["check", "--format", "github", "../.."]).status(1).stdout;
    // Messages name files as a person in that folder would.
    let heads = |text: &str| {
        text.lines().map(|line| line.rsplit_once("::").unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(heads(&top), heads(&below));
    assert!(
        top.contains("title=unused_name") && top.contains("::notice ") && top.contains("::error "),
        "{top}"
    );
    for line in top.lines() {
        let (head, message) = line.strip_prefix("::").unwrap().split_once("::").unwrap();
        let (word, properties) = head.split_once(' ').unwrap();
        assert!(["error", "warning", "notice"].contains(&word), "{line}");
        assert!(!message.is_empty() && !message.contains('\r'), "{line}");
        let property = |name: &str| {
            let mut all = properties.split(',').map(|property| property.split_once('=').unwrap());
            all.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        let back = |text: String| text.replace("%2C", ",").replace("%3A", ":").replace("%25", "%");
        let text = scenario.read(&back(property("file").unwrap()));
        let number = |name: &str| property(name).unwrap().parse::<usize>().unwrap();
        let (first, last) = (number("line"), number("endLine"));
        assert!(1 <= first && first <= last && last <= text.lines().count().max(1), "{line}");
        // What a message quotes stands on its line, in the columns that are given.
        let quoted = message.split('`').nth(1).unwrap_or_default();
        if property("title").unwrap() == "unused_name" {
            let shown: String = text.lines().nth(first - 1).unwrap().chars().collect();
            let columns = number("col") - 1..number("endColumn") - 1;
            let part: String = shown.chars().skip(columns.start).take(columns.len()).collect();
            assert!(quoted.ends_with(&part) && !part.is_empty(), "{line}: {part}");
        }
    }
    assert!(top.contains("file=plans/a%2C b%3Ac%25/ü/x.plan,"), "{top}");
}

#[test]
fn people_are_told_columns_in_characters() {
    let scenario = Scenario::new().file("x.plan", "plan x\nlet two = \"üü\" let more = 1\n");
    scenario.plan(["check", "x.plan"]).status(1).stdout_has("[x.plan:2:16]");
}
