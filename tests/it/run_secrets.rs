//! Secrets: known to the program that needs them, and to nobody else.

use std::fs;

use crate::scenario::{Scenario, everything, plan, shell};

const SECRETS: [&str; 4] = ["env-sesame-4711", "file-sesame-4712", "exec-sesame-4713", "inline-sesame-4714"];

fn declarations(script: &str) -> String {
    format!(
        r#"source dump: command {{
  run = ["sh", "-c", "{script}"]
  as  = "dump.txt"
  env = ["A=${{env("DUMP_TOKEN")}}", "B=${{file("key")}}", "C=${{exec(["sh", "-c", "cat ../hidden"])}}"]
}}

archive main {{
  from = all
  to   = [store]
}}

notify hook: webhook {{
  url = "https://example.org/inline-sesame-4714"
  on  = [failure]
}}
"#
    )
}

fn world(script: &str) -> Scenario {
    // The hidden file is beside the work folder, the key is removed by the test: nothing else may hold them.
    Scenario::new()
        .file("p.plan", plan(&declarations(script)))
        .file("key", "file-sesame-4712\n")
        .file("../hidden", "exec-sesame-4713\n")
        .env("DUMP_TOKEN", "env-sesame-4711")
}

#[track_caller]
fn nowhere(scenario: &Scenario, said: &str) {
    fs::remove_file(scenario.path("key")).unwrap();
    fs::remove_file(scenario.path("../hidden")).unwrap();
    fs::remove_file(scenario.path("p.plan")).unwrap();
    for secret in SECRETS {
        assert!(!said.contains(secret), "{secret}: {said}");
        for (path, (size, ..)) in everything(&scenario.path("..")) {
            if path.is_file() && size > 0 {
                let bytes = fs::read(&path).unwrap();
                let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "{secret} in {}", path.display());
            }
        }
    }
}

#[test]
fn a_secret_reaches_its_program_alone() {
    let script = "echo with $A and $B and $C >&2; [ $A$B$C = env-sesame-4711file-sesame-4712exec-sesame-4713 ] && echo ok";
    let script = script.replace("-sesame-", "-'ses'ame-");
    let scenario = world(&script);
    let text = scenario.read("p.plan");
    let (plain, _) = text.split_once("notify").unwrap();
    scenario.write("p.plan", plain);
    let mut said = String::new();
    for args in [&["run", "--dry-run", "-vv"][..], &["run", "-vv", "--format", "json"]] {
        let answer = scenario.next_day().plan(args).status(0);
        said += &answer.said();
    }
    assert!(said.contains("with (secret) and (secret) and (secret)"), "{said}");
    nowhere(&scenario, &said);
}

#[test]
fn a_program_that_fails_with_a_secret_on_its_lips_does_not_tell_it() {
    let scenario = world("echo cannot log in with $A >&2; echo $B$C >&2; exit 1");
    let text = scenario.read("p.plan");
    let (plain, _) = text.split_once("notify").unwrap();
    let window = "window w {\n  around = all\n  enter  = [\"true\"]\n  leave  = [\"true\"]\n}\n";
    let notify =
        "notify n: command {\n  run = [\"sh\", \"-c\", \"echo $DUMP_TOKEN; exit 1\"]\n  on  = [failure]\n}\n";
    let good = "source good: files {\n  paths = [\"key.pub\"]\n}\n\narchive good {\n  from = [good]\n  to   = [store]\n}\n";
    let plain = plain.replace("from = all", "from = [dump]");
    scenario.write("p.plan", format!("{plain}\n{good}\n{window}\n{notify}"));
    scenario.write("key.pub", "public");
    let mut said =
        scenario.next_day().plan(["run"]).status(1).stdout_has("cannot log in with (secret)").said();
    said += &scenario.next_day().plan(["run", "--format", "json"]).status(1).said();
    let manifests = fs::read_dir(scenario.path("store/.backplan/p/manifests")).unwrap().count();
    assert_eq!(manifests, 2);
    nowhere(&scenario, &said);
}

#[test]
fn a_secret_that_cannot_be_had_is_named_and_its_source_too() {
    let scenario = world("true");
    let text = scenario.read("p.plan");
    let (plain, _) = text.split_once("notify").unwrap();
    scenario.write("p.plan", plain);
    fs::remove_file(scenario.path("key")).unwrap();
    scenario.next_day().plan(["run"]).status(1).stdout_has("key").stdout_has("source `dump`");
    let scenario = scenario
        .env("DUMP_TOKEN", "")
        .file("key", "x")
        .file("p.plan", plain.replace("cat ../hidden", "exit 3"));
    scenario.next_day().plan(["run"]).status(1).stdout_has("source `dump`").stdout_has("status 3");
}

#[test]
fn a_secret_that_came_as_a_parameter_is_written_down_nowhere() {
    let declarations = "param token: secret\n\nparam label: string = \"x\"\n\nsource dump: command {\n  run = [\"sh\", \"-c\", \"echo $T $L | wc -c; echo $T >&2\"]\n  as  = \"dump.txt\"\n  env = [\"T=${token}\", \"L=${label}\"]\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(declarations)).file("key", "").file("../hidden", "");
    let args = ["run", "-p", "token=inline-sesame-4714", "-p", "label=harmless-label"];
    let said = scenario.next_day().plan(args).status(0).stderr_has("(secret)").said();
    let manifest = shell(&scenario.path("store"), "cat .backplan/p/manifests/*");
    assert!(manifest.contains("harmless-label") && manifest.contains("token: (secret)"), "{manifest}");
    assert!(manifest.contains("param token: secret"), "{manifest}");
    nowhere(&scenario, &said);
    // By the environment it is not even told of as given in the open.
    let scenario = Scenario::new()
        .file("p.plan", plan(declarations))
        .file("key", "")
        .file("../hidden", "")
        .env("PLAN_PARAM_TOKEN", "env-sesame-4711");
    let said = scenario.next_day().plan(["run"]).status(0).stderr_has("(secret)").said();
    nowhere(&scenario, &said);
    // What is written into the plan in its place is hidden too, though nothing uses it.
    let written = declarations.replace("param token: secret", "param token: secret = \"inline-sesame-4714\"");
    for given in ["-p=token=env-sesame-4711", "-p=label=harmless-label"] {
        let scenario = Scenario::new()
            .file("p.plan", "")
            .file("key", "")
            .file("../hidden", "")
            .file("q.plan", plan(&written));
        let said = scenario.next_day().plan(["run", given, "q.plan"]).stderr_has("(secret)").said();
        let manifest = shell(&scenario.path("store"), "cat .backplan/p/manifests/*");
        assert!(manifest.contains("param token: secret"), "{manifest}");
        fs::remove_file(scenario.path("q.plan")).unwrap();
        nowhere(&scenario, &said);
    }
}
