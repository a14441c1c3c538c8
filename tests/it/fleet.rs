//! Many plans at once: one that fails stops none, the worst is told first, and the numbers are those of all.

use std::fs;

use serde_json::Value;

use crate::scenario::{Scenario, shell};

fn plan(name: &str, further: &str) -> String {
    format!(
        "plan {name}\n\nstore store: dir {{\n  path = \"../stores/{name}\"\n}}\n\nsource site: files {{\n  paths = [\"../{name}\"]\n}}\n\n\
         archive main {{\n  from = all\n  to   = [store]\n}}\n\nretry {{\n  attempts = 1\n}}\n{further}\n"
    )
}

fn fleet() -> Scenario {
    let late = "schedule {\n  run = daily at 02:30\n}\nobjective {\n  rpo = 2d\n}";
    let scenario = Scenario::new()
        .file("plans/good.plan", plan("good", late))
        .file("plans/deep/bad.plan", plan("bad", "").replace("\"../", "\"../../"))
        .file("plans/broken.plan", "plan broken\nstore")
        .file("plans/warned.plan", plan("warned", "").replace("paths =", "max_file_size = 3B\n  paths ="))
        .file("good/a", "a")
        .file("warned/a", "longer")
        .file("warned/b", "b");
    fs::create_dir(scenario.path("stores")).unwrap();
    scenario
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first two words of each line: how a plan ended, and its name.
fn names(text: &str) -> Vec<(String, String)> {
    let two = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap_or_default())
    };
    text.lines().map(two).collect()
}

fn pair(word: &str, name: &str) -> (String, String) {
    (word.to_owned(), name.to_owned())
}

#[test]
fn one_that_fails_stops_none_and_the_worst_is_first() {
    let scenario = fleet();
    let made = scenario.next_day().plan(["run", "plans", "--jobs", "2"]).status(1);
    let told = names(&made.stdout);
    let expected =
        [pair("FAILED", "bad"), pair("unusable", "broken"), pair("warnings", "warned"), pair("done", "good")];
    assert_eq!(told[..4], expected, "{}", made.stdout);
    let made =
        made.stdout_has("4 plans: 1 done, 1 warnings, 1 unusable, 1 FAILED").stdout_has("bad` is not there");
    assert!(made.stdout.contains("is larger than `max_file_size`"), "{}", made.stdout);
    for name in ["good", "warned"] {
        shell(&scenario.path("stores").join(name), "tar tzf *.tar.gz");
    }
    // Lines for programs, and as the last one what they come to.
    let answer = scenario.next_day().plan(["run", "plans", "--format", "json"]).status(1);
    let rows = lines(&answer.stdout);
    assert_eq!(rows.len(), 5);
    let good = rows.iter().find(|row| row["plan"] == "good").unwrap();
    assert_eq!((&good["status"], &good["answer"]["verdict"]), (&0.into(), &"done".into()));
    assert_eq!(rows[4]["by_status"], serde_json::json!({ "0": 1, "1": 1, "2": 1, "3": 1 }));
    scenario.plan(["run", "plans", "--only", "site"]).status(2).stderr_has("`--only` is for one plan");
    scenario.plan(["run", "stores"]).status(2).stderr_has("there is no plan below");
    let checked = scenario.plan(["verify", "plans/good.plan", "plans/warned.plan"]).status(0);
    checked.stdout_has("2 plans: 2 done");
    scenario.plan(["verify", "plans"]).status(1).stdout_has("FAILED").stdout_has("unusable");
}

#[test]
fn what_should_have_run_and_did_not_is_told_over_all_of_them() {
    let scenario = fleet();
    scenario.next_day().plan(["run", "plans/good.plan"]).status(0);
    fs::remove_file(scenario.path("plans/broken.plan")).unwrap();
    scenario.plan(["status", "plans", "--due"]).status(1).stdout_has("UNKNOWN");
    fs::remove_dir_all(scenario.path("plans/deep")).unwrap();
    scenario.plan(["run", "plans/warned.plan"]).status(3);
    scenario.plan(["status", "plans", "--due"]).status(0).stdout_has("0 of 2 plans");
    let standing = scenario.plan(["status", "plans"]).status(3);
    assert_eq!(
        names(&standing.stdout)[..2],
        [pair("look", "warned"), pair("well", "good")],
        "{}",
        standing.stdout
    );
    standing.stdout_has("2 plans: 1 well, 1 look");
    scenario.next_day().next_day().next_day();
    let late = scenario.plan(["status", "plans", "--due"]).status(3);
    late.stdout_has("a run was due at").stdout_has("1 of 2 plans");
    let rows = lines(&scenario.plan(["status", "plans", "--due", "--format", "json"]).status(3).stdout);
    let good = rows.iter().find(|row| row["plan"] == "good").unwrap();
    assert_eq!(good["due"][0]["what"], "run");
    assert!(good["due"][0]["since"].is_string());
    // One that never ran is due too.
    scenario.write("plans/new.plan", plan("good", "schedule {\n  run = hourly\n}").replace("good", "fresh"));
    fs::create_dir(scenario.path("fresh")).unwrap();
    fs::create_dir(scenario.path("stores/fresh")).unwrap();
    let told = scenario.plan(["status", "plans", "--due"]);
    assert!(told.stdout.contains("fresh"), "{}", told.stdout);
}

#[test]
fn a_signal_ends_all_that_runs_and_begins_no_more() {
    let slow = plan("slow", "").replace(
        "source site: files {\n  paths = [\"../slow\"]\n}",
        "source site: command {\n  run = [\"sh\", \"-c\", \"sleep 71.5\"]\n  as = \"x\"\n}",
    );
    let scenario = Scenario::new();
    fs::create_dir_all(scenario.path("plans")).unwrap();
    fs::create_dir(scenario.path("stores")).unwrap();
    for at in 0..3 {
        scenario.write(&format!("plans/{at}.plan"), slow.replace("slow", &format!("slow_{at}")));
    }
    let running = scenario.start(["run", "plans", "--jobs", "2"]);
    let slept =
        || shell(&scenario.path("."), "pgrep -fc '[s]leep 71.5' || true").trim().parse::<u32>().unwrap();
    crate::scenario::wait_for("two programs", || slept() >= 2);
    running.signal("TERM");
    let answer = running.answer();
    assert_eq!(answer.code, 143, "{answer:?}");
    answer.stdout_has("stopped").stdout_has("1 not begun");
    assert_eq!(slept(), 0);
}

#[test]
fn plans_of_one_name_are_told_apart_and_causes_are_not_cut() {
    let twin = |store: &str| {
        plan("twin", "").replace("../stores/twin", store).replace("\"../twin\"", "\"../../good\"")
    };
    let scenario = fleet()
        .file("twins/one/twin.plan", twin("../../stores/one"))
        // By a link into its own source, which takes a line of its own to say.
        .file("twins/two/twin.plan", twin("../../link/store"));
    std::os::unix::fs::symlink("good", scenario.path("link")).unwrap();
    let made = scenario.next_day().plan(["run", "twins"]);
    made.stdout_has("twin (twins/one/twin.plan)")
        .stdout_has("twin (twins/two/twin.plan)")
        .stdout_has("do not go together: store");
    scenario
        .plan(["status", "twins"])
        .stdout_has("twin (twins/one/twin.plan)")
        .stdout_has("twin (twins/two/twin.plan)");
    scenario.plan(["report", "twins", "-o", "page.html"]);
    assert!(scenario.read("page.html").contains(">twin (twins/two/twin.plan)</a>"));
    // Alone of its name, it has no more to say.
    assert!(!scenario.plan(["status", "twins/one/twin.plan", "plans/good.plan"]).stdout.contains("twin ("));
}
