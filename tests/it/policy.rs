//! Policies that a team's file lays on every plan, and allowances: what each takes away, and what it cannot.

use crate::scenario::{Answer, Scenario};

const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// A plan without anything that a policy could want, importing `company.plan`.
const BARE: &str = "\
plan site

import \"company.plan\"

store local: dir {
  path = \"/backup\"
}

source web: files {
  paths = [\"/srv/web\"]
}

archive web {
  from = [web]
  to   = [local]
}
";

fn world(company: &str, plan: &str) -> Scenario {
    Scenario::new().file("company.plan", company).file("site.plan", plan)
}

/// The messages of all broken policies.
fn broken(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let findings = json["plans"][0]["findings"].as_array().unwrap();
    let broken = findings.iter().filter(|finding| finding["name"] == "policy_broken");
    broken.map(|finding| finding["message"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn is_broken(company: &str, plan: &str, message: &str) {
    let answer = world(company, plan).plan(["check", "--format", "json", "site.plan"]).status(1);
    assert_eq!(broken(&answer), [message], "{}", answer.stdout);
}

#[track_caller]
fn is_kept(company: &str, plan: &str) {
    let answer = world(company, plan).plan(["check", "--format", "json", "site.plan"]);
    assert!(broken(&answer).is_empty(), "{}", answer.stdout);
}

#[test]
fn each_rule_is_missed_and_met() {
    let rule = |rule: &str| format!("policy {{ require = [{rule}] }}\n");
    is_broken(&rule("encrypt"), BARE, "archive `web` is not encrypted");
    let encrypted = BARE.replace("  to   =", &format!("  encrypt = [\"{KEY}\"]\n  to   ="));
    is_kept(&rule("encrypt"), &encrypted);
    is_broken(&rule("offsite"), BARE, "source `web` reaches no offsite store");
    is_kept(&rule("offsite"), &BARE.replace("  path =", "  offsite = true\n  path ="));
    is_broken(&rule("schedule"), BARE, "plan `site` has no schedule");
    is_kept(&rule("schedule"), &format!("{BARE}\nschedule {{ run = hourly }}\n"));
    is_broken(&rule("objective"), BARE, "nothing is promised for source `web`");
    is_kept(&rule("objective"), &format!("{BARE}\nobjective {{ copies = 1 }}\n"));
    is_broken(&rule("keep"), BARE, "plan `site` has no retention");
    is_kept(&rule("keep"), &format!("{BARE}\nkeep {{ daily = 7 }}\n"));
    is_kept(&rule("keep"), &BARE.replace("  path =", "  keep { last = 3 }\n  path ="));
    is_broken(&rule("verify"), BARE, "plan `site` has no rehearsal");
    let by_hand = format!("{BARE}\nverify {{ restore = web }}\n");
    is_broken(&rule("verify"), &by_hand, "no run rehearses this: it says no `every`");
    is_kept(&rule("verify"), &format!("{BARE}\nverify {{ restore = web, every = 7d }}\n"));
    let hook = |url: &str| format!("{BARE}\nnotify ops: webhook {{ url = {url} }}\n");
    let forbid = "policy { forbid = [inline_secrets] }\n";
    is_broken(forbid, &hook("\"https://chat.example\""), "a secret is written into the plan");
    is_kept(forbid, &hook("env(\"HOOK\")"));
}

#[test]
fn what_lies_outside_archives_is_under_the_policy_too() {
    let apart = format!(
        "{}\nsource db: postgres {{\n  driver = pgbackrest\n  stanza = \"main\"\n  staging = \"/srv/pgbackrest\"\n}}\n\
         separate db {{ to = [local] }}\n",
        BARE.replace("  to   =", &format!("  encrypt = [\"{KEY}\"]\n  to   ="))
    );
    let require = "policy { require = [encrypt] }\n";
    is_broken(require, &apart, "the repository of `db`, which is kept apart, is not encrypted");
    is_kept(require, &apart.replace("to = [local] }", "to = [local], passphrase = file(\"/etc/p\") }"));
    let wal = BARE.replace("[web]", "[web, db]").replace("[local]", "[local, away]")
        + "store away: dir {\n  path = \"/mnt/away\"\n  offsite = true\n}\n\
           source db: postgres { driver = basebackup }\nwal db { to = [local], keep = 7d }\n";
    is_broken("policy { require = [offsite] }\n", &wal, "the log of `db` reaches no offsite store");
    is_kept("policy { require = [offsite] }\n", &wal.replace("to = [local], keep", "to = [away], keep"));
}

#[test]
fn a_policy_stands_beside_the_plans_own_and_is_told_once_a_rule() {
    // A plan's own policy replaces none, and a rule that two files lay is broken once.
    let plan = format!("{BARE}\nimport \"team.plan\"\npolicy {{ require = [keep] }}\n");
    let scenario = world("policy { require = [encrypt, schedule] }\n", &plan)
        .file("team.plan", "policy { require = [encrypt] }\npolicy { require = [offsite] }\n");
    let answer = scenario.plan(["check", "--format", "json", "site.plan"]).status(1);
    let mut found = broken(&answer);
    found.sort();
    let all = [
        "archive `web` is not encrypted",
        "plan `site` has no retention",
        "plan `site` has no schedule",
        "source `web` reaches no offsite store",
    ];
    assert_eq!(found, all);
    // It reaches through a library that imports it.
    let scenario =
        world("import \"team.plan\"\n", BARE).file("team.plan", "policy { require = [encrypt] }\n");
    let answer = scenario.plan(["check", "site.plan"]).status(1);
    answer.stdout_has("team.plan:1:").stdout_has("the policy requires it");
}

#[test]
fn no_allowance_silences_a_policy() {
    let allowed = BARE.replace("archive web", "# allow: policy_broken only a test machine\narchive web");
    let answer = world("policy { require = [encrypt] }\n", &allowed).plan(["check", "site.plan"]).status(1);
    answer.stdout_has("policy_broken").stdout_has("an error cannot be allowed: mend it");
    // The warning can be allowed, the rule against it cannot.
    let hook = format!(
        "{BARE}\n# allow: inline_secret the hook is public\nnotify ops: webhook {{ url = \"https://x\" }}\n"
    );
    world("let a = 1\n# allow: unused_name kept for the next release\nlet b = a\n", &hook)
        .plan(["check", "--deny", "warnings", "site.plan"])
        .status(0);
    world("policy { forbid = [inline_secrets] }\n", &hook)
        .plan(["check", "site.plan"])
        .status(1)
        .stdout_has("the policy forbids it");
}

#[test]
fn a_policy_that_rules_nothing_or_what_nobody_knows_is_an_error() {
    for (text, name) in [
        ("policy { }\n", "empty_block"),
        ("policy { require = [] }\n", "empty_block"),
        ("policy { require = [encryption] }\n", "unknown_keyword"),
        ("policy { forbid = [encrypt] }\n", "unknown_keyword"),
        ("policy strict { require = [encrypt] }\n", "unexpected_name"),
    ] {
        let answer = world(text, BARE).plan(["check", "site.plan"]).status(1);
        assert!(answer.stdout.contains(&format!("error: {name}")), "{text}: {}", answer.stdout);
        assert_eq!(answer.stdout.matches("error: ").count(), 1, "{text}: {}", answer.stdout);
    }
}

#[test]
fn a_run_is_refused_where_a_policy_is_broken() {
    let scenario = world("policy { require = [encrypt] }\n", BARE);
    scenario.plan(["run", "site.plan"]).status(2).stderr_has("policy_broken");
}

#[test]
fn a_policy_that_is_dropped_is_a_danger_in_a_diff() {
    let with = BARE.replace("  to   =", &format!("  encrypt = [\"{KEY}\"]\n  to   ="));
    let without = with.replace("import \"company.plan\"\n", "");
    let scenario = world("policy { require = [encrypt] }\n", &with).file("new.plan", &without);
    let answer = scenario.plan(["diff", "site.plan", "new.plan"]).status(2);
    answer.stdout_has("!! DANGER").stdout_has("no policy requires `encrypt` any more");
    let answer = scenario.plan(["diff", "new.plan", "site.plan", "--format", "json"]).status(2);
    assert_eq!(answer.json()["consequences"][0]["name"], "policy_added");
    // Which file lays a rule makes no difference.
    let own = without + "policy { require = [encrypt, encrypt] }\n";
    scenario.write("own.plan", own);
    scenario.plan(["diff", "site.plan", "own.plan"]).status(0);
}

/// A plan with an unused name, above which this is written.
fn allowing(comment: &str) -> String {
    format!("{}\n{comment}\nlet unused = 1\n", BARE.replace("import \"company.plan\"\n", ""))
}

#[test]
fn an_allowance_needs_a_reason_and_something_to_allow() {
    let check = |comment: &str| {
        Scenario::new().file("site.plan", allowing(comment)).plan(["check", "--deny", "warnings"])
    };
    check("# allow: unused_name the next release needs it")
        .status(0)
        .stdout("1 plan checked: nothing to report\n");
    check("#allow:unused_name the next release needs it").status(0);
    let answer = check("# allow: unused_name").status(1);
    answer.stdout_has("allow_without_reason").stdout_has("`# allow: unused_name the reason`");
    let answer = check("# allow: inline_secret of no use").status(1);
    answer.stdout_has("unused_allow").stdout_has("warning: unused_name");
    let answer = check("# allow: unused_nam of no use").status(1);
    answer.stdout_has("did you mean `unused_name`?");
    // Only in its place: not the line above, not the whole file.
    let above = format!("# allow: unused_name of no use\n{}", allowing(""));
    let answer = Scenario::new().file("site.plan", above).plan(["check"]).status(0);
    answer.stdout_has("warning: unused_name").stdout_has("warning: unused_allow");
    // What the world lacks is told by a look at it alone.
    let answer = check("# allow: path_missing it comes and goes\n# allow: unused_name so it is").status(1);
    answer.stdout_has("what the world lacks cannot be allowed");
}

#[test]
fn an_allowance_holds_while_the_rest_of_the_plan_is_broken() {
    let text = format!(
        "plan site\n\nimport \"company.plan\"\n\n# allow: replaced ours are fewer\nkeep {{ last = 3 }}\n\n{}\nkeep2 {{ }}\n",
        BARE.lines().skip(4).collect::<Vec<_>>().join("\n")
    );
    let answer = world("keep { last = 9 }\n", &text).plan(["check", "site.plan"]).status(1);
    let answer = answer.stdout_has("unknown_kind");
    assert!(!answer.stdout.contains("replaced"), "{}", answer.stdout);
    assert!(!answer.stdout.contains("unused_allow"), "{}", answer.stdout);
}

/// A library whose `keep` pins chains where a plan has long ones, and nowhere else.
const PINNING: &str = "\
# allow: pinned_chain the long chains are meant
keep {
  monthly = 12
}
";

fn chained(length: u32) -> String {
    format!(
        "{BARE}\nschedule {{ run = daily at 02:30 }}\ncycle {{ incrementals = {length}, base = previous }}\n"
    )
}

#[test]
fn an_allowance_of_a_library_is_idle_only_if_no_plan_needs_it() {
    let scenario = world(PINNING, &chained(27));
    scenario.plan(["check", "site.plan"]).status(0);
    scenario.write(
        "other.plan",
        chained(0)
            .replace("plan site", "plan other")
            .replace("cycle { incrementals = 0, base = previous }", ""),
    );
    // One plan of several cannot tell; all of them can.
    scenario.plan(["check", "other.plan"]).status(0).stdout("1 plan checked: nothing to report\n");
    scenario.plan(["check", "."]).status(0).stdout("2 plans checked: nothing to report\n");
    scenario.write("site.plan", scenario.read("other.plan").replace("plan other", "plan site"));
    let answer = scenario.plan(["check", "."]).status(0);
    answer.stdout_has("company.plan:1:1").stdout_has("2 plans checked: 1 warning\n");
    // What can never be allowed is told by each.
    scenario.write("company.plan", "# allow: syntax why not\nkeep { last = 3 }\n");
    scenario.plan(["check", "other.plan"]).status(0).stdout_has("an error cannot be allowed: mend it");
}
