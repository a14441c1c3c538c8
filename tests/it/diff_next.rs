//! What `plan diff` and `plan status` say of the next run, held against that run; and what a store gives up and is brought behind an edit.

use std::collections::{BTreeMap, BTreeSet};

use crate::cycle_worlds::run;
use crate::scenario::{Answer, Scenario, shell};

const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// Three stores, one of which has no backup, three trees, one of which is in no archive, and two archives.
const PLAN: &str = r#"plan p
store store: dir { path = "store" }
store zwei: dir { path = "zwei" }
store drei: dir { path = "drei" }
source one: files { paths = ["one"] }
source two: files { paths = ["two"] }
source three: files { paths = ["three"] }
archive first {
  from = [one, two]
  to = [store, zwei]
}
archive second {
  from = [three]
  to = [store]
}
cycle {
  incrementals = 4
  base = previous
}
"#;

fn world(plan: &str) -> Scenario {
    Scenario::new().file("p.plan", plan).file("one/a", "a").file("two/a", "a").file("three/a", "a")
}

fn change(scenario: &Scenario, round: usize) {
    shell(&scenario.path("."), &format!("for f in one two three; do echo {round} > $f/r{round}; done"));
}

/// What a run holds, in whatever store: each source of each archive, and whether it is whole.
fn held(scenario: &Scenario, sequence: u32) -> BTreeMap<(String, String), bool> {
    let listed = shell(
        &scenario.path("."),
        &format!("cat $(find . -path './*/.backplan/p/manifests/{sequence:08}-*.yaml') | sed 's/^---$//'"),
    );
    let (mut archive, mut source, mut found) = (String::new(), String::new(), BTreeMap::new());
    for line in listed.lines() {
        let word = line.trim().trim_start_matches("- ");
        if let Some(name) = line.strip_prefix("- name: ") {
            name.clone_into(&mut archive);
        } else if let Some(name) = word.strip_prefix("source: ") {
            name.clone_into(&mut source);
        } else if let Some(level) = word.strip_prefix("level: ").filter(|_| line.starts_with(' ')) {
            found.insert((archive.clone(), source.clone()), level == "full");
        }
    }
    found
}

/// What is said of the next run: archives that are to be fulls, and sources that are to be whole in an archive.
fn told(answer: &Answer) -> (BTreeSet<String>, BTreeSet<(String, String)>) {
    let json = answer.json();
    let texts = json["consequences"].as_array().unwrap().iter().filter(|one| one["name"] == "next_run");
    let (mut full, mut whole) = (BTreeSet::new(), BTreeSet::new());
    for text in texts.map(|one| one["text"].as_str().unwrap()) {
        let mut quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let archive = quoted.next().unwrap();
        match text.starts_with("in the next run") {
            true => drop(whole.insert((archive, quoted.next().unwrap()))),
            false if text.contains(" is full") => drop(full.insert(archive)),
            false => {}
        }
    }
    (full, whole)
}

/// Edits of a plan: what each is called, and what it replaces.
fn edits() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let encrypted = |to: &str| format!("to = {to}\n  encrypt = [\"{KEY}\"]\n");
    let second = "from = [three]\n  to = [store]\n";
    let to = |to: &str| vec![(second, format!("from = [three]\n  to = {to}\n"))];
    let three = "source three: files { paths = [\"three\"] }";
    vec![
        ("nothing of it", vec![("incrementals = 4", "incrementals = 5".to_owned())]),
        ("other patterns", vec![(three, three.replace(" }", ", exclude = [\"*.tmp\"] }"))]),
        ("encrypted", vec![("to = [store]\n", encrypted("[store]"))]),
        ("the other encrypted", vec![("to = [store, zwei]\n", encrypted("[store, zwei]"))]),
        ("a store that has others", to("[store, zwei]")),
        ("a store that has none", to("[store, drei]")),
        ("another store", to("[zwei]")),
        ("another store that has none", to("[drei]")),
        ("fewer stores", vec![("to = [store, zwei]", "to = [zwei]".to_owned())]),
        (
            "moved, the archive gone",
            vec![
                ("[one, two]", "[one, two, three]".to_owned()),
                (second, String::new()),
                ("archive second {\n  }\n", String::new()),
            ],
        ),
        (
            "moved, the archive there",
            vec![("[one, two]", "[one]".to_owned()), ("[three]\n  to", "[two, three]\n  to".to_owned())],
        ),
        (
            "another kind",
            vec![(
                three,
                "source three: command {\n  run = [\"cat\", \"three/a\"]\n  as = \"a\"\n}".to_owned(),
            )],
        ),
        (
            "another kind of one of two",
            vec![(
                "source two: files { paths = [\"two\"] }",
                "source two: command {\n  run = [\"cat\", \"two/a\"]\n  as = \"a\"\n}".to_owned(),
            )],
        ),
        ("another name", vec![("archive second", "archive last".to_owned())]),
        ("a shorter cycle", vec![("incrementals = 4", "incrementals = 1".to_owned())]),
        (
            "a new source",
            vec![
                ("[three]\n", "[three, four]\n".to_owned()),
                (three, format!("{three}\nsource four: files {{ paths = [\"one\"] }}")),
            ],
        ),
    ]
}

#[test]
fn what_is_said_of_the_next_run_is_what_it_does() {
    let scenario = world(PLAN);
    for round in 1..=2 {
        run(&scenario).status(0);
        change(&scenario, round);
    }
    shell(&scenario.path(".."), "mkdir kept && cp -a work state kept/");
    let before = held(&scenario, 2);
    assert!(before.len() == 3 && before.values().all(|whole| !whole), "{before:?}");
    for (called, edit) in edits() {
        shell(&scenario.path(".."), "rm -rf work/store work/zwei work/drei state && cp -a kept/. .");
        let plan = edit.iter().fold(PLAN.to_owned(), |plan, (from, to)| {
            assert!(plan.contains(from), "{called}: {from}");
            plan.replace(from, to)
        });
        scenario.write("old.txt", PLAN);
        scenario.write("p.plan", &plan);
        let answer = scenario.plan(["diff", "old.txt", "p.plan", "--format", "json"]).status(2);
        let (full, whole) = told(&answer);
        let next = scenario.plan(["status", "p.plan", "--format", "json"]).json();
        let done = run(&scenario);
        assert!([0, 3].contains(&done.code), "{called}: {done:?}");
        let made = held(&scenario, 3);
        // What was not whole the last time, wherever it was.
        let followed = |source: &str| before.iter().any(|((_, other), whole)| other == source && !whole);
        let turned: BTreeSet<&(String, String)> = made
            .iter()
            .filter(|((_, source), whole)| **whole && followed(source))
            .map(|(key, _)| key)
            .collect();
        let said: BTreeSet<&(String, String)> =
            made.keys().filter(|key| whole.contains(key) || full.contains(&key.0)).collect();
        assert_eq!(said, turned, "{called}: {}", answer.stdout);
        for archive in next["archives"].as_array().unwrap() {
            let mut own = made.iter().filter(|((name, _), _)| archive["archive"] == name.as_str());
            let is_full = own.all(|(_, whole)| *whole);
            assert_eq!(archive["level"] == "full", is_full, "{called}: {next:#}");
        }
    }
}

#[test]
fn what_this_machine_knows_no_more_of_is_nothing_to_rest_on_beforehand_either() {
    let scenario = world(PLAN);
    for round in 1..=2 {
        run(&scenario).status(0);
        change(&scenario, round);
    }
    shell(&scenario.path("../state"), "rm -r $(find . -path '*/cache/first')");
    let unknown = "this machine has no record of what its files were like";
    let json = scenario.plan(["status", "--format", "json"]).json();
    let archives = json["archives"].as_array().unwrap();
    assert!(
        archives[0]["level"] == "full" && archives[0]["warnings"].to_string().contains(unknown),
        "{json:#}"
    );
    assert!(
        archives[1]["level"] == "incremental" && archives[1]["warnings"] == serde_json::json!([]),
        "{json:#}"
    );
    scenario.next_day().plan(["run", "--dry-run"]).status(3).says(unknown);
    scenario.plan(["run"]).status(3).says(unknown);
    let json = scenario.plan(["status", "--format", "json"]).json();
    assert!(json["archives"][0]["level"] == "incremental", "{json:#}");
}

/// A store that an archive goes to since lately has earlier runs without it, which its rules give up, and which they would keep with what
/// another store has of them: they stay, and are not deleted and sent again.
#[test]
fn what_keep_gives_up_and_another_store_has_more_of_is_not_sent_again() {
    let plan = PLAN.replace(
        "source three: files { paths = [\"three\"] }",
        "source three: files { paths = [\"three\"] }\nkeep { last = 3 }",
    );
    let plan = plan.replace(
        "store: dir { path = \"store\" }",
        "store: dir {\n  path = \"store\"\n  keep { last = 9 }\n}",
    );
    let plan = plan.replace("base = previous", "base = full").replace("incrementals = 4", "incrementals = 9");
    let plan = plan.replace("from = [three]\n", "from = [three]\n  self_contained = true\n");
    let scenario = world(&plan);
    for round in 1..=4 {
        run(&scenario).status(0);
        change(&scenario, round);
    }
    scenario.write("p.plan", plan.replace("to = [store]", "to = [store, zwei]"));
    let runs = || {
        let listed = shell(&scenario.path("zwei/.backplan/p/manifests"), "ls | cut -c8");
        listed.split_whitespace().collect::<String>()
    };
    assert_eq!(runs(), "1234");
    let mut there = Vec::new();
    for round in 5..=8 {
        let held: BTreeSet<char> = runs().chars().collect();
        crate::scenario::settle();
        scenario.next_day();
        let dry = scenario.plan(["run", "--dry-run", "--format", "json"]).json();
        let steps = dry["steps"].as_array().unwrap().iter();
        let deletes: Vec<String> = steps
            .flat_map(|step| step["would_delete"].as_array().cloned().unwrap_or_default())
            .filter_map(|name| name.as_str().map(str::to_owned))
            .filter(|name| name.starts_with("zwei:") && name.contains("/manifests/"))
            .collect();
        let said = scenario.plan(["run"]).said();
        assert!(!said.contains("which it lacked"), "{said}");
        let now: BTreeSet<char> = runs().chars().collect();
        assert_eq!(held.difference(&now).count(), deletes.len(), "{round}: {deletes:?} {said}");
        // By itself a prune decides as a run does.
        scenario.plan(["sync", "p.plan"]).status(0);
        scenario.plan(["prune", "p.plan"]).status(0);
        assert_eq!(runs(), now.iter().collect::<String>());
        there.push(runs());
        change(&scenario, round);
    }
    assert_eq!(there, ["12345", "123456", "1567", "1678"].map(str::to_owned));
}
