//! What `plan status` says is so: of the last run, whatever became of it, until a later one is clean.

use std::fs;

use crate::run_sources::AS_NOBODY;
use crate::scenario::{Answer, SITE, Scenario, artefacts, plan, shell, wait_for};

/// A source whose program ends as the file `how` says.
const MOODY: &str =
    "\nsource moody: command {\n  run = [\"sh\", \"-c\", \"cat how && . ./how\"]\n  as  = \"said\"\n}\n";

/// A plan of a folder and a program, each in an archive of its own.
fn world() -> Scenario {
    let archive = "\narchive told {\n  from = [moody]\n  to   = [store]\n}\n";
    let text = plan(&format!("{SITE}{MOODY}{archive}"));
    Scenario::new().file("p.plan", text).file("site/a", "a").file("how", "exit 0")
}

fn status(scenario: &Scenario) -> Answer {
    scenario.plan(["status"])
}

#[track_caller]
fn ends(scenario: &Scenario) -> Vec<String> {
    let json = scenario.plan(["status", "--format", "json"]).json();
    let unclean = json["unclean"].as_array().cloned().unwrap_or_default();
    unclean.iter().map(|run| run["end"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_run_that_failed_is_told_until_a_later_one_is_clean() {
    let scenario = world();
    status(&scenario).status(1).stderr_has("mount it");
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0).stdout_has("all is well");
    fs::write(scenario.path("how"), "echo out of paper >&2; exit 7").unwrap();
    scenario.next_day().plan(["run"]).status(1);
    let answer = status(&scenario)
        .status(3)
        .stdout_has("somebody should look")
        .stdout_has("did not back up everything");
    answer.stdout_has("moody").stdout_has("status 7").stdout_has("out of paper");
    assert_eq!(ends(&scenario), ["failed"]);
    // A run of another source makes up for nothing.
    scenario.next_day().plan(["run", "--only", "site"]).status(0);
    assert_eq!(ends(&scenario), ["failed"]);
    fs::write(scenario.path("how"), "exit 0").unwrap();
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0).stdout_has("all is well");
}

#[test]
fn a_machine_that_only_looks_hears_of_it_from_the_manifests() {
    let scenario = world();
    fs::write(scenario.path("how"), "exit 7").unwrap();
    scenario.next_day().plan(["run"]).status(1);
    fs::remove_dir_all(scenario.path("../state")).unwrap();
    status(&scenario).status(3).stdout_has("did not back up `moody`").stdout_has("status 7");
}

#[test]
fn files_that_were_left_out_are_told() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a").file("site/b", "b");
    shell(&scenario.path(".."), "chown -R nobody . && chmod 755 .");
    shell(&scenario.path("site"), "chmod 000 b && chown root b");
    let as_nobody = |args: &[&str]| scenario.plan_by(AS_NOBODY, args);
    scenario.next_day();
    as_nobody(&["run"]).status(3);
    as_nobody(&["status"]).status(3).stdout_has("ended with warnings").stdout_has("site/b");
    fs::remove_dir_all(scenario.path("../state")).unwrap();
    as_nobody(&["status"]).status(3).stdout_has("ended with warnings").stdout_has("site/b");
    shell(&scenario.path(".."), "mkdir -p state && chown nobody state && chown nobody work/site/b");
    shell(&scenario.path("site"), "chmod 644 b");
    scenario.next_day();
    as_nobody(&["run", "--adopt"]).status(0);
    as_nobody(&["status"]).status(0).stdout_has("all is well");
}

#[test]
fn a_run_that_could_not_begin_or_was_stopped_or_killed_is_told() {
    let scenario = world();
    scenario.next_day().plan(["run"]).status(0);
    // What the plan reads for a name is not there: no step is made.
    let named = scenario.path("p.plan");
    let text = fs::read_to_string(&named).unwrap();
    let with_name = text.replacen(
        "from = [site]",
        "name = \"${read(\\\"ver\\\")}-${time(\\\"%s\\\")}.tar.gz\"\n  from = [site]",
        1,
    );
    let with_name = with_name
        .replace("\\\"", "'")
        .replace("read('ver')", "read(\"ver\")")
        .replace("time('%s')", "time(\"%s\")");
    fs::write(&named, with_name).unwrap();
    scenario.next_day().plan(["run"]).status(1);
    status(&scenario).status(3).stdout_has("could not begin").stdout_has("`read(");
    assert_eq!(ends(&scenario), ["refused"]);
    fs::write(&named, text).unwrap();

    fs::write(scenario.path("how"), "touch begun; sleep 600").unwrap();
    for (signal, end) in [("TERM", "stopped"), ("KILL", "died")] {
        let running = scenario.next_day().start(["run"]);
        wait_for("the program", || scenario.path("begun").exists());
        // While it lives it is no trouble of its own; what was before it still is.
        assert!(!ends(&scenario).contains(&end.to_owned()));
        if signal == "KILL" {
            running.kill_group();
        } else {
            running.signal(signal);
        }
        running.answer();
        fs::remove_file(scenario.path("begun")).unwrap();
        assert_eq!(ends(&scenario)[0], end);
        status(&scenario).status(3);
    }
    fs::write(scenario.path("how"), "exit 0").unwrap();
    // What the killed run left is told of by the one that takes it back, and no longer by the next.
    scenario.next_day().plan(["run"]);
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0);
}

#[test]
fn a_run_that_fails_at_its_very_first_step_is_told() {
    let text = plan(&format!("staging {{\n  path = \"staging\"\n}}\n\n{SITE}"));
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a");
    fs::create_dir(scenario.path("staging")).unwrap();
    scenario.next_day().plan(["run"]).status(0);
    fs::remove_dir(scenario.path("staging")).unwrap();
    scenario.next_day().plan(["run"]).status(1).stdout_has("is not there");
    status(&scenario).status(3).stdout_has("failed").stdout_has("is not there");
    fs::create_dir(scenario.path("staging")).unwrap();
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0);
}

#[test]
fn a_store_that_lacks_what_another_has_is_told() {
    for (absent, behind) in [("", 3), ("  absent = skip\n", 0)] {
        let site = SITE.replace("[store]", "[store, other]");
        let other = format!("store other: dir {{\n  path = \"other\"\n{absent}}}\n\n");
        let scenario = Scenario::new().file("p.plan", plan(&format!("{other}{site}"))).file("site/a", "a");
        fs::create_dir(scenario.path("other")).unwrap();
        scenario.next_day().plan(["run"]).status(0);
        status(&scenario).status(0);
        shell(&scenario.path("."), "mv other away");
        fs::write(scenario.path("site/a"), "b").unwrap();
        scenario.next_day().plan(["run"]);
        shell(&scenario.path("."), "mv away other");
        let answer = status(&scenario).status(behind);
        if behind == 3 {
            answer.stdout_has("store `other` lacks run `00000002-");
        }
        shell(&scenario.path("."), "rm -r other; mkdir other");
        status(&scenario).status(3).stdout_has("store `other` has no backup of archive `main`");
    }
}

#[test]
fn an_artefact_that_is_gone_is_told_and_the_run_before_it_is_kept() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    for text in ["a", "b"] {
        fs::write(scenario.path("site/a"), text).unwrap();
        scenario.next_day().plan(["run"]).status(0);
    }
    let newest = artefacts(&scenario.path("store")).pop().unwrap();
    fs::remove_file(&newest).unwrap();
    status(&scenario)
        .status(3)
        .stdout_has("cannot be restored from here: its artefact")
        .stdout_has("is not there");
    let text = fs::read_to_string(scenario.path("p.plan")).unwrap();
    fs::write(scenario.path("p.plan"), format!("{text}\nkeep {{\n  last = 1\n}}\n")).unwrap();
    scenario.plan(["prune"]).status(3).stdout_has("0 of 2 runs gone");
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
    scenario.plan(["restore", "--to", "back", "--run", "1"]).status(0);
    assert_eq!(fs::read_to_string(scenario.path("back/site/site/a")).unwrap(), "a");
}

#[test]
fn a_manifest_that_no_longer_says_what_goes_where_is_told_and_the_run_before_it_is_kept() {
    let keep = "\nkeep {\n  last = 1\n}\n";
    // Details of more than a megabyte are not kept with the rest.
    let large = format!("---\ndetails: 5\n# {}\n", "x".repeat(3 << 20));
    for harm in ["---\ndetails: 5\n", "---\nnothing: here\n", &large] {
        let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
        for text in ["a", "b"] {
            fs::write(scenario.path("site/a"), text).unwrap();
            scenario.next_day().plan(["run"]).status(0);
        }
        let folder = scenario.path("store/.backplan/p/manifests");
        let mut manifests: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        manifests.sort();
        let newest = manifests.pop().unwrap();
        let text = fs::read_to_string(&newest).unwrap();
        let (first, _) = text.split_once("\n---\n").unwrap();
        fs::write(&newest, format!("{first}\n{harm}")).unwrap();
        // Whoever is asked says the same.
        scenario.plan(["restore", "--to", "back"]).status(1).stderr_has("details are damaged");
        status(&scenario).status(3).stdout_has("the details in its manifest are damaged");
        scenario.plan(["verify"]).status(1).says("the details in the run's manifest are damaged");
        scenario.write("p.plan", scenario.read("p.plan") + keep);
        scenario.plan(["prune"]).status(3).stdout_has("0 of 2 runs gone");
        // What is advised works, and so does the run before.
        let cat = scenario.plan(["cat", "latest", "site/site/a"]).status(3);
        cat.says("is none that this machine has made, as it is there").stdout("b");
        scenario.plan(["restore", "--to", "back", "--run", "1"]).status(0);
        assert_eq!(scenario.read("back/site/site/a"), "a");
    }
}

#[test]
fn what_no_backup_can_have_is_no_manifest_s() {
    let zeros = "0".repeat(64);
    let forged = [
        ("size", "18446744073709551615", "is more than any backup has"),
        ("root", zeros.as_str(), "is not a digest"),
        ("root", "abcd", "is not a digest"),
        ("sha256", zeros.as_str(), "is not a digest"),
        ("sha256", "../../up", "is not a digest"),
    ];
    for (field, value, says) in forged {
        let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
        for text in ["a", "b"] {
            scenario.write("site/a", text);
            scenario.next_day().plan(["run"]).status(0);
        }
        let manifest = newest_manifest(&scenario);
        let text = fs::read_to_string(&manifest).unwrap();
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{field}: ")))
            .unwrap()
            .to_owned();
        let forged = format!("{}{field}: '{value}'", &line[..line.len() - line.trim_start().len()])
            .replace("'1844", "1844");
        let forged = forged.trim_end_matches(|c| c == '\'' && field == "size");
        fs::write(&manifest, text.replacen(&line, forged, 1)).unwrap();
        // Whoever is asked says the same, and nothing of the run before is deleted.
        status(&scenario).status(3).says(says);
        scenario.plan(["list"]).status(3).says(says);
        scenario.plan(["verify", "--all"]).says(says);
        scenario.write("p.plan", scenario.read("p.plan") + "\nkeep {\n  last = 1\n}\n");
        scenario.plan(["prune"]).status(3).says(says);
        assert_eq!(artefacts(&scenario.path("store")).len(), 2);
    }
}

/// Spoils what this machine remembers, by a script in its folder; what is then said, and a script that does what is advised.
const FORGETFUL: [(&str, &str, &str); 6] = [
    ("echo 'x: [' | tee plans/*/stores.yaml", "stores.yaml` is damaged", "rm plans/*/stores.yaml"),
    ("chmod o+w ..", "`chmod o-w $W/state`", "chmod o-w .."),
    ("rm -r locks; : > locks", "something else is in its place: move that away", "rm locks"),
    ("mount -t tmpfs none locks; mount -o remount,ro locks", "may", "umount locks"),
    (
        "mount -t tmpfs -o size=4k,nr_inodes=3 none locks; : > locks/1; : > locks/2",
        "make room there",
        "umount locks",
    ),
    ("echo x > machine", "machine` is damaged", "rm machine"),
];

#[test]
fn what_keeps_every_run_of_this_machine_from_beginning_is_told_before_one_does() {
    for (harm, says, mend) in FORGETFUL {
        let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
        scenario.next_day().plan(["run"]).status(0);
        status(&scenario).status(0);
        scenario.plan(["check", "--live"]).status(0).says("nothing to report");
        let state = scenario.path("../state/backplan");
        shell(&state, harm);
        let said = [
            status(&scenario),
            scenario.plan(["check", "--live"]),
            scenario.next_day().plan(["run", "--dry-run"]),
            scenario.plan(["run"]),
        ];
        shell(&state, mend);
        let codes = said.each_ref().map(|answer| answer.code);
        assert_eq!(codes, [3, 1, 1, 1], "{harm}: {said:?}");
        assert!(said.iter().all(|answer| answer.said().contains(says)), "{harm}: {said:?}");
        assert!(said[1].said().contains("state_unusable"), "{harm}: {said:?}");
        // As it is advised.
        let took_over: &[&str] = if mend == "rm machine" { &["run", "--adopt"] } else { &["run"] };
        scenario.plan(took_over).status(0);
        status(&scenario).status(0);
    }
}

fn newest_manifest(scenario: &Scenario) -> std::path::PathBuf {
    let folder = fs::read_dir(scenario.path("store/.backplan/p/manifests")).unwrap();
    folder.map(|entry| entry.unwrap().path()).max().unwrap()
}

#[test]
fn a_store_that_no_run_could_use_is_told_of_before_one_fails() {
    let harms = [
        ("echo : > format.yaml", "format.yaml` is damaged"),
        ("sed -i 's/^plan: p/plan: q/' format.yaml", "it is of plan `q`"),
        ("rm format.yaml", "format.yaml` is gone, and 1 run of plan `p` are there"),
        ("sed -i 's/^id: ....../id: 000000/' format.yaml", "has the identity 000000"),
        ("sed -i 's/p.plan/q.plan/' format.yaml", "rename this plan, or say `plan run --adopt`"),
        (": > lock/18446744073709551615", "no run can have come so far: move it away"),
        ("rm -r lock; : > lock", "where a folder should be: move it away"),
        (": > manifests/99999998-20261120T023000Z-k7f3qa.yaml", "no run of this plan can have come to"),
    ];
    for (harm, says) in harms {
        let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
        scenario.next_day().plan(["run"]).status(0);
        status(&scenario).status(0);
        scenario.plan(["check", "--live"]).status(0);
        shell(&scenario.path("store/.backplan/p"), harm);
        status(&scenario).status(3).says("store `store`").says(says);
        scenario.plan(["check", "--live"]).status(1).says("store_unusable").says(says);
        // As the run itself says it.
        scenario.next_day().plan(["run"]).status(1).says("store `store`").says(says);
    }
    // What no run can use can be read, and is told of; the mend that is named works.
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    for (harm, mend) in [("rm format.yaml", ":"), ("echo : > format.yaml", "rm format.yaml")] {
        shell(&scenario.path("store/.backplan/p"), harm);
        for command in [&["list"][..], &["verify"], &["verify", "--all", "--quick"]] {
            scenario.plan(command).status(3).says("format.yaml` is").says("`plan run --adopt`");
        }
        shell(&scenario.path("store/.backplan/p"), mend);
        scenario.next_day().plan(["run", "--adopt"]).status(0);
        scenario.plan(["verify", "--all"]).status(0);
        scenario.next_day().plan(["run"]).status(0);
        status(&scenario).status(0);
    }
    // A lease that cannot be read costs a minute, and is told of by its name.
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    shell(&scenario.path("store/.backplan/p"), "echo nothing > lock/99");
    let says = "the lease `.backplan/p/lock/99` cannot be read: a run waits a minute";
    status(&scenario).status(3).says(says);
    scenario.plan(["check", "--live"]).status(1).says(says);
    let running = scenario.next_day().start(["run"]);
    std::thread::sleep(std::time::Duration::from_millis(700));
    running.signal("TERM");
    running.answer().status(143).says(says);
    shell(&scenario.path("store/.backplan/p"), "rm lock/99");
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0);
    // Where a run could not keep how it goes, all say so, and the run itself where that is.
    let plans = scenario.path("../state/backplan/plans");
    shell(&plans, "cd *; mv journal away; touch journal");
    let all: [&[&str]; 4] = [&["status"], &["check", "--live"], &["run", "--dry-run"], &["run"]];
    for (args, expected) in all.into_iter().zip([3, 1, 1, 1]) {
        let answer = scenario.plan(args).status(expected);
        answer.says("/journal`").says("something else is in its place: move that away");
    }
    shell(&plans, "cd *; rm journal; mv away journal");
    // A machine that forgot is to take it over; another one, that only looks, is not.
    shell(&scenario.path(".."), "rm -r state");
    status(&scenario).status(3).says("has lost its own state");
    let look = format!("hostname elsewhere; exec {} status", env!("CARGO_BIN_EXE_plan"));
    scenario.other(&["unshare", "--uts", "sh", "-c", &look]).status(0);
}

#[test]
fn what_cannot_be_read_is_not_said_to_hold_nothing() {
    let text = plan(SITE).replace("retry {", "store far: dir {\n  path = \"far\"\n}\n\nretry {");
    let scenario =
        Scenario::new().file("p.plan", text.replace("[store]", "[store, far]")).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    shell(&scenario.path("."), "mv far away; rm -r store; mkdir store");
    for args in [
        &["list"][..],
        &["restore", "--to", "back"],
        &["restore", "--run", "1", "--to", "back"],
        &["ls", "1"],
        &["verify"],
    ] {
        scenario.plan(args).status(1).says("is the wrong disk mounted?").says("store `far`");
    }
    scenario.plan(["why", "p.plan", "site/a"]).status(3).says("is the wrong disk mounted?");
    scenario.plan(["diff", "--deployed", "p.plan"]).status(1).says("is the wrong disk mounted?");
    shell(&scenario.path("."), "rm -r store");
    scenario.plan(["status"]).status(1).says("`plan list --store PATH`");
    shell(&scenario.path("."), "mv away far; mkdir store");
    let why = scenario.plan(["why", "p.plan", &format!("site/{}", "x".repeat(300))]).status(3);
    why.says("(cannot be read now: File name too long");
    // The option that mends it is of another command.
    shell(&scenario.path("far/.backplan/p"), "sed -i 's/p.plan/q.plan/' format.yaml");
    scenario.plan(["sync"]).says("say `plan run --adopt`");
}

#[test]
fn a_recovery_says_nothing_of_what_was_never_written() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    let home = scenario.path("store/.backplan/p");
    let nonce = shell(&home, "sed -n 's/^nonce: //p' manifests/*.yaml");
    let run = "00000002-20260103T023000Z-k7f3qa";
    let intent = format!("format: 1\nrun: {run}\nnonce: {}\nartefacts: []\n", nonce.trim());
    shell(&home, "mkdir -p intents");
    fs::write(home.join(format!("intents/{run}")), intent).unwrap();
    let shown = scenario.next_day().plan(["run", "--dry-run"]);
    assert!(
        shown.said().contains(&format!("intents/{run}")) && !shown.said().contains("sums/00000002"),
        "{}",
        shown.said()
    );
    let made = scenario.plan(["run"]);
    assert!(!made.said().contains("sums/00000002"), "{}", made.said());
    assert!(!home.join(format!("intents/{run}")).exists());
}

/// Everything is backed up, and something beside it failed; or the run came to nothing before it had a journal.
#[test]
fn what_failed_beside_a_backup_and_what_failed_before_it_are_told_as_they_are() {
    let rehearsed = "verify {\n  every   = 1h\n  restore = site\n  command = [\"false\"]\n}\n";
    let told = "notify team: command {\n  run = [\"false\"]\n  on  = [success]\n}\n";
    let text = plan(&format!("{SITE}\n{told}staging {{\n  path = \"staging\"\n}}\n"));
    let scenario = Scenario::new().file("p.plan", &text).file("site/a", "a");
    fs::create_dir(scenario.path("staging")).unwrap();
    scenario.next_day().plan(["run"]).status(3);
    let json = status(&scenario).status(3).said();
    assert_eq!(json.matches("`notify/team`").count(), 1, "told twice: {json}");
    scenario.write("p.plan", format!("{}{rehearsed}", text.replace(told, "")));
    scenario.next_day().plan(["run"]).status(1).stdout_has("rehearse/site");
    let answer =
        status(&scenario).status(3).stdout_has("backed up everything, and failed in what goes with it");
    assert!(!answer.stdout.contains("did not back up"), "{answer:?}");
    let json = scenario.plan(["status", "--format", "json"]).json();
    assert_eq!(json["unclean"][0]["whole"], true, "{json}");

    scenario.write("p.plan", format!("{}{}", text.replace(told, ""), rehearsed.replace("false", "true")));
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0);
    fs::remove_dir(scenario.path("staging")).unwrap();
    for _ in 0..2 {
        scenario.next_day().plan(["run"]).status(1).stdout_has("the staging folder");
        status(&scenario).status(3).stdout_has("did not back up").stdout_has("the staging folder");
        assert!(ends(&scenario).iter().all(|end| end == "failed"));
    }
    let numbers = scenario.plan(["status", "--format", "prometheus"]);
    numbers.stdout_has("backplan_last_run_outcome{plan=\"p\",outcome=\"failed\"} 1");
    fs::create_dir(scenario.path("staging")).unwrap();
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0).stdout_has("all is well");
}

/// A database that a program made anew where it did not find its own is no backup of that one; nor is it restored without a word.
#[test]
fn a_database_without_any_table_costs_no_backup_of_one_that_had_some() {
    let app = "source app: sqlite {\n  path = \"app.db\"\n}\n\narchive main {\n  from = [app]\n  to   = [store]\n}\n";
    let text = plan(&format!("{app}\nkeep {{\n  last = 1\n}}\n"));
    for made in ["", "pragma journal_mode = wal; create table t (n); drop table t; vacuum"] {
        let scenario = Scenario::new().file("p.plan", &text);
        let sql =
            |text: &str| shell(&scenario.path("."), &format!("touch app.db; sqlite3 app.db '{text}' >&2"));
        sql("create table t (n); insert into t values (7)");
        scenario.next_day().plan(["run"]).status(0);
        fs::remove_file(scenario.path("app.db")).unwrap();
        sql(made);
        for _ in 0..3 {
            scenario.next_day().plan(["run"]).status(3).stdout_has("source `app` has nothing in it");
            status(&scenario).status(3).stdout_has("source `app` has nothing in it");
        }
        let answer = scenario.plan(["restore", "p.plan", "--to", "back"]).status(3);
        answer
            .says("has nothing in source `app`; run 00000001-")
            .says("is the last before it that has something");
        scenario.plan(["restore", "p.plan", "--run", "1", "--to", "old"]).status(0);
        assert_eq!(shell(&scenario.path("old/app"), "sqlite3 app.db 'select n from t'"), "7\n");
    }
}

#[test]
fn a_store_that_was_put_back_to_an_earlier_state_is_told_of() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    for _ in 0..2 {
        scenario.next_day().plan(["run"]).status(0);
    }
    shell(&scenario.path("."), "cp -a store earlier");
    for _ in 0..2 {
        scenario.next_day().plan(["run"]).status(0);
    }
    shell(&scenario.path("."), "mv store later; cp -a earlier store");
    let told = "and 1 more before it, which this machine committed, is in none of the plan's stores any more";
    status(&scenario).status(3).stdout_has("run `00000004-").stdout_has(told);
    for how in
        [&["verify"][..], &["verify", "--all"], &["verify", "--quick"], &["verify", "--format", "json"]]
    {
        scenario.plan(how).status(3).says(told);
    }
    // Who names a run gets that one.
    scenario.plan(["verify", "--run", "2"]).status(0);
    scenario.next_day().plan(["run", "--dry-run"]).status(3).says(told);
    scenario.plan(["run"]).status(3).says(told);
    // As long as it is so.
    scenario.next_day().plan(["run"]).status(3).says(told);
    status(&scenario).status(3).stdout_has("run `00000004-").stdout_has(told);
    // Put back, what `keep` gives up of it is not lost.
    shell(&scenario.path("."), "cp -an later/. store");
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0);
    let text = scenario.read("p.plan");
    scenario.write("p.plan", format!("{text}keep {{\n  last = 2\n}}\n"));
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0);
    // Or it is right so.
    scenario.write("p.plan", text);
    shell(&scenario.path("."), "rm -r store; mv earlier store");
    let said = scenario.next_day().plan(["run"]).status(3).said();
    let run = said.split("plan prune FILE --accept ").nth(1).unwrap();
    let run = run.split('`').next().unwrap();
    scenario
        .plan(["prune", "--accept", "00000002-20260103T023000Z-aaaaaa"])
        .status(2)
        .says("is none of which");
    scenario.plan(["prune", "--accept", run, "--dry-run"]).status(0);
    scenario.plan(["prune", "--accept", run]).status(0);
    scenario.next_day().plan(["run"]).status(0);
    status(&scenario).status(0);
}

#[test]
fn a_run_that_this_machine_did_not_make_is_told_until_somebody_has_looked_at_it() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    // Another machine's third run, laid into the only store; and then one of its own, changed.
    shell(&scenario.path("."), "mkdir ../other; cp -r p.plan site ../other");
    let state = scenario.path("../others").display().to_string();
    for day in 2..5 {
        let time = format!("2026-01-{day:02}T04:00:00Z");
        let mut other = scenario.command();
        other.args(["run"]).current_dir(scenario.path("../other"));
        other.env("XDG_STATE_HOME", &state).env("BACKPLAN_NOW", time);
        assert!(other.output().unwrap().status.success());
    }
    let lay = "cp ../other/store/*20260104T* store; cp ../other/store/.backplan/p/manifests/00000003* store/.backplan/p/manifests";
    for lie in [
        lay,
        "sed -i 's/^nonce: .*/nonce: abababababababababababababababab/' store/.backplan/p/manifests/00000004*",
    ] {
        shell(&scenario.path("."), lie);
        let told = "is none that this machine has made, as it is there";
        let said = status(&scenario).status(3).stdout_has(told).said();
        scenario.plan(["list"]).status(3).says(told);
        if lie == lay {
            scenario.plan(["restore", "--to", "back"]).status(3).says(told);
            scenario.plan(["cat", "latest", "site/site/a"]).status(3).says(told);
        }
        scenario.next_day().plan(["run", "--dry-run"]).status(3).says(told);
        for _ in 0..2 {
            scenario.next_day().plan(["run"]).status(3).says(told);
        }
        let run = said.split("plan prune FILE --accept ").nth(1).unwrap().split('`').next().unwrap();
        scenario.plan(["prune", "--accept", run]).status(0);
        scenario.next_day().plan(["run"]).status(0);
        status(&scenario).status(0);
    }
}

#[test]
fn an_artefact_whose_manifest_was_moved_away_is_told_until_that_is_back_or_it_is_gone() {
    let site = SITE.replace("[store]", "[store, other]");
    let scenario = Scenario::new()
        .file("p.plan", plan(&format!("store other: dir {{\n  path = \"other\"\n}}\n\n{site}")))
        .file("site/a", "a");
    for _ in 0..3 {
        scenario.next_day().plan(["run"]).status(0);
    }
    let spoil = "for it in store/.backplan/p/manifests/00000002*; do echo damaged >$it; done";
    shell(&scenario.path("."), spoil);
    status(&scenario).status(3).stdout_has("move it out of the store if its run is given up");
    let told = "no manifest names artefact `p_main_20260103T023000Z.tar.gz`, which run `00000002-";
    let is_told = || {
        status(&scenario).status(3).stdout_has(told);
        scenario.plan(["list"]).status(3).stderr_has(told);
        scenario.plan(["verify", "--store", "store"]).status(3).stderr_has(told);
    };
    shell(&scenario.path("."), "mv store/.backplan/p/manifests/00000002* .");
    is_told();
    // As it is advised: from another store.
    scenario.plan(["sync", "--store", "store"]).status(0);
    status(&scenario).status(0);
    scenario.plan(["verify", "--all"]).status(0);
    // Put back.
    shell(&scenario.path("."), "mkdir aside; mv store/.backplan/p/manifests/00000002* aside");
    is_told();
    shell(&scenario.path("."), "mv aside/* store/.backplan/p/manifests");
    status(&scenario).status(0);
    // Given up.
    shell(&scenario.path("."), "rm */.backplan/p/manifests/00000002*; rm other/*20260103T*");
    is_told();
    shell(&scenario.path("."), "rm store/*20260103T*");
    status(&scenario).status(0);
    scenario.next_day().plan(["run"]).status(0);
}

#[test]
fn a_copy_of_a_plan_and_a_machine_that_forgot_hear_from_status_what_their_run_would_say() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    shell(&scenario.path("."), "mkdir copy; cp -a p.plan site store copy");
    for (folder, forget, told) in [
        ("copy", ":", "there is the one of"),
        (".", "rm -r ../state; mkdir ../state", "and has lost its own state"),
    ] {
        shell(&scenario.path("."), forget);
        scenario.plan_in(folder, ["status"]).status(3).stdout_has(told);
        scenario.plan_in(folder, ["run"]).status(1).says(told);
        scenario.next_day().plan_in(folder, ["run", "--adopt"]).status(0);
        scenario.plan_in(folder, ["status"]).status(0);
    }
}

#[test]
fn a_run_whose_artefact_is_gone_is_not_listed_as_a_good_one_and_a_store_is_known_by_its_folder() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a").file("other/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    for store in ["store", "./store", "store/", "site/../store"] {
        scenario.plan(["list", "p.plan", "--store", store]).status(0).stdout_has("00000001-");
    }
    let other = scenario.plan(["list", "p.plan", "--store", "./other"]).status(2);
    other.says("is a folder, and none of plan `p`'s stores").says("leave the plan's file away");
    scenario.plan(["list", "p.plan", "--store", "nowhere"]).status(2).says("neither a folder nor a store");
    for command in [&["list"][..], &["verify"], &["restore", "--to", "back"]] {
        let said = Scenario::new().plan(command.iter().chain(&["--store", "nas"])).status(2);
        said.says("no folder `nas` is here").says("`plan COMMAND FILE --store nas`");
    }
    for spoil in ["for it in store/*.tar.gz; do echo >> $it; done", "rm store/*.tar.gz"] {
        shell(&scenario.path("."), spoil);
        for args in [&["list"][..], &["list", "--store", "./store"]] {
            let told = scenario.plan(args).status(3).stdout_has("(LOST in ");
            told.stdout_has("cannot be restored from here: its artefact `");
        }
        let rows = scenario.plan(["list", "--format", "json"]).status(3).json();
        assert_eq!(rows["runs"][0]["lost"][0]["store"], "store");
    }
}

/// What a run tells of an artefact that is gone from one store of two mends it, and is what the status says.
#[test]
fn what_is_gone_from_one_store_is_told_with_its_mend_by_status_and_run_alike() {
    let text = plan(SITE).replace("[store]", "[store, other]").replace(
        "retry {",
        "store other: dir {\n  path = \"other\"\n}\n\ncycle {\n  incrementals = 2\n}\n\nkeep {\n  last = 9\n}\n\nretry {",
    );
    for (harm, first) in [("rm", ""), ("truncate -s 9", "take away what is there, and ")] {
        let scenario = Scenario::new().file("p.plan", &text).file("site/a", "a");
        scenario.next_day().plan(["run"]).status(0);
        let artefact = artefacts(&scenario.path("store")).remove(0);
        shell(&scenario.path("."), &format!("{harm} {}", artefact.display()));
        let mend = format!("{first}`plan sync` brings it from store `other`");
        status(&scenario).status(3).says(&mend);
        scenario.write("site/a", "b");
        scenario.next_day();
        let foreseen = scenario.plan(["run", "--dry-run"]);
        let made = scenario.plan(["run"]).status(3);
        for answer in [foreseen, made] {
            // Of what the run would rest on, and of what the store's prune finds.
            assert_eq!(answer.stdout.matches(&mend).count(), 2, "{answer:?}");
        }
        let _ = fs::remove_file(&artefact);
        scenario.plan(["sync"]).status(0);
        let said = scenario.next_day().plan(["run"]).status(0).said();
        assert!(!said.contains("plan sync"), "{said}");
        status(&scenario).status(0);
        scenario.plan(["verify", "--all"]).status(0);
    }
}

/// A store that another machine had in between, and that is handed back.
#[test]
fn what_another_machine_made_of_one_s_own_plan_is_accepted_by_what_is_advised() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    let state = scenario.path("../state");
    let (one, two) = (scenario.path("../one"), scenario.path("../two"));
    scenario.next_day().plan(["run"]).status(0);
    fs::rename(&state, &one).unwrap();
    scenario.next_day().plan(["run", "--adopt"]).status(0);
    fs::rename(&state, &two).unwrap();
    fs::rename(&one, &state).unwrap();
    let made = scenario.next_day().plan(["run", "--adopt"]).status(3);
    let (_, advised) = made.stdout.split_once("say once `plan prune FILE --accept ").unwrap();
    let (run, _) = advised.split_once('`').unwrap();
    assert!(run.starts_with("00000002-"), "{made:?}");
    status(&scenario).status(3).says(&format!("say once `plan prune FILE --accept {run}`"));
    scenario.plan(["prune", "p.plan", "--accept", run]).status(0);
    let said = scenario.next_day().plan(["run"]).status(0).said();
    assert!(!said.contains("--accept"), "{said}");
    status(&scenario).status(0).stdout_has("all is well");
}
