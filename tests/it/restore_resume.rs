//! A restore that is cut short, and goes on.

use std::fs;

use serde_json::Value;

use crate::buckets;
use crate::scenario::{SITE, Scenario, plan, rounds, shell, wait_for};

/// Many small files, large ones, one with holes, further names, links, a pipe, folders that may not be written to.
fn world(text: &str) -> Scenario {
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a");
    let script = "for f in $(seq 40); do mkdir $f; for i in $(seq 50); do head -c 2000 /dev/urandom > $f/$i; done; done; \
                  for i in $(seq 12); do head -c 3000000 /dev/urandom > 7/large$i; done; \
                  truncate -s 9000000 holes; printf end >> holes; ln 7/large1 zz; ln 7/large1 3/also; ln -s 7/large1 link; \
                  mkfifo pipe; mkdir empty; chmod 500 40; touch -d '2020-01-02 03:04:05.678' 4/5";
    shell(&scenario.path("site"), script);
    scenario
}

fn files_in(scenario: &Scenario, folder: &str) -> usize {
    let found = shell(&scenario.path("."), &format!("find {folder} -type f 2>/dev/null | wc -l; true"));
    found.trim().parse().unwrap()
}

#[test]
fn a_restore_that_is_killed_goes_on_where_it_was() {
    let scenario = world(&plan(&format!("{SITE}cycle {{\n  incrementals = 6\n}}\n")));
    scenario.plan(["run"]).status(0);
    // An incremental on top, so that two artefacts are read.
    shell(&scenario.path("site"), "echo changed > 1/1; rm 2/2; head -c 3000000 /dev/urandom > 7/large3");
    scenario.next_day().plan(["run"]).status(0);
    // Kind, mode, time, names and size of each; the time of `a` is that of the test's own writing.
    let seen = |tree: &str| {
        let each = "find . ! -name a \\( -type f -printf '%P %m %T@ %n %s\\n' -o -printf '%P %y %m %T@ %l\\n' \\) | sort";
        shell(&scenario.path(tree), each)
    };
    let wanted = seen("site");
    let mut were_there = 0;
    for round in 0..rounds(4) {
        let running = scenario.start(["restore", "--to", "out"]);
        let count = (round as usize + 1) * 250;
        wait_for("files", || files_in(&scenario, "out") > count);
        running.kill_group();
        drop(running);
        if !scenario.path("out/.backplan-restore-unfinished").exists() {
            // It was quicker than the signal.
            fs::remove_dir_all(scenario.path("out")).unwrap();
            continue;
        }
        scenario.plan(["restore", "--to", "out"]).status(1).stderr_has("`--resume` goes on with it");
        // Two at once into one folder: one goes on, and the other changes nothing.
        for way in ["--resume", "--overwrite"] {
            let other = scenario.plan_by(&["flock", "out"], ["restore", "--to", "out", way]);
            other.status(4).stderr_has("another restore is at work in `out`");
        }
        // A half of a file, another's bytes under its time, a link in a file's place, a file that went away.
        shell(
            &scenario.path("out/site/site"),
            "f=$(find . -size 2000c | head -1); truncate -s 1000 $f; g=$(find . -size 2000c | sed -n 2p); t=$(stat -c %y $g); \
             head -c 2000 /dev/zero > $g; touch -d \"$t\" $g; h=$(find . -size 2000c | sed -n 3p); rm $h; ln -s /etc/passwd $h; \
             rm $(find . -size 2000c | sed -n 4p)",
        );
        // What came meanwhile is not what is gone on with.
        let newer = (round == 0).then(|| {
            fs::write(scenario.path("site/a"), "newer").unwrap();
            scenario.next_day().plan(["run"]).status(0);
            fs::write(scenario.path("site/a"), "a").unwrap();
        });
        let answer = scenario.plan(["restore", "--to", "out", "--resume", "--format", "json"]).status(0);
        were_there += answer.json()["there"].as_u64().unwrap_or(0);
        let _ = newer;
        shell(
            &scenario.path("."),
            "diff -r --no-dereference site/7 out/site/site/7; cmp site/holes out/site/site/holes",
        );
        let a = if round == 0 { "a" } else { "newer" };
        assert_eq!(scenario.read("out/site/site/a"), a);
        let same = |path: &str| shell(&scenario.path("out/site/site"), &format!("stat -c %i {path}"));
        assert_eq!(same("zz"), same("7/large1"));
        assert_eq!(same("3/also"), same("zz"));
        assert!(seen("out/site/site") == wanted, "round {round}");
        scenario.plan(["restore", "--to", "out", "--resume"]).status(1).stderr_has("not what a restore left");
        shell(&scenario.path("."), "chmod -R u+w out; rm -r out");
    }
    assert!(were_there > 0);
}

#[test]
fn what_is_there_already_is_not_fetched_from_a_bucket_again() {
    let server = buckets::Server::start();
    let text = |port: u16| format!("plan p\n{}{SITE}", buckets::store("store", port, ""));
    let scenario = world(&text(server.port)).env("KEY_ID", "an-id").env("KEY", "a-key");
    scenario.next_day().plan(["run"]).status(0);
    let (all, seen) = buckets::Way::open(server.port, usize::MAX, false).parts();
    scenario.write("p.plan", text(all));
    let asked = || seen.swap(0, std::sync::atomic::Ordering::SeqCst);
    scenario.plan(["restore", "--to", "whole"]).status(0);
    let whole = asked();
    // Its connections end after two thirds of the requests, and nobody answers any more.
    let (cut, _) = buckets::Way::open(server.port, whole * 2 / 3, false).parts();
    scenario.write("p.plan", text(cut));
    scenario.plan(["restore", "--to", "out"]).status(1).stderr_has("--resume");
    assert!(files_in(&scenario, "out") > 200);
    scenario.write("p.plan", text(all));
    asked();
    let answer = scenario.plan(["restore", "--to", "out", "--resume", "--format", "json"]).status(0);
    let there = answer.json().get("there").and_then(Value::as_u64).unwrap_or(0);
    let again = asked();
    assert!(there > 200 && again < whole * 2 / 3, "{there} there; {again} of {whole} requests");
    shell(&scenario.path("."), "diff -r --no-dereference --exclude pipe site out/site/site");
}

/// An account's own folders that it may not write to, with what `chmod -w` leaves of archives and caches of modules.
fn closed() -> (Scenario, [&'static str; 5]) {
    let scenario = Scenario::new().file("p.plan", plan(SITE));
    let script = "mkdir -p site/ro/sub/in; cd site/ro/sub; echo one > one; echo two > in/two; echo three > in/three; \
                  truncate -s 300000 in/holes; echo end >> in/holes; ln in/two in/name; cd ../..; chmod 555 ro/sub/in ro/sub ro; \
                  chown -hR nobody:nogroup ../site";
    shell(&scenario.path("."), script);
    scenario.plan(["run"]).status(0);
    shell(&scenario.path(".."), "chmod -R a+rwX work/store; chmod a+rwx . work; chmod a+rx ..");
    (scenario, ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
}

#[test]
fn folders_of_ones_own_that_may_not_be_written_to_take_what_they_are_to_hold() {
    let (scenario, by) = closed();
    let restore = |more: &[&str]| {
        let answer =
            scenario.plan_by(&by, [&["restore", "--store", "./store", "--to", "out"], more].concat());
        // Only that the folder above is root's, in the backup, is told.
        assert!(matches!(answer.code, 0 | 3) && !answer.said().contains("problem"), "{answer:?}");
    };
    let is_whole = || {
        let script = "diff -r --no-dereference site out/site/site; cd out/site/site; stat -c %a . ro ro/sub ro/sub/in | paste -sd' '; \
                      stat -c %h ro/sub/in/two";
        shell(&scenario.path("."), script)
    };
    restore(&[]);
    let whole = is_whole();
    assert!(whole.contains(" 555 555 555"), "{whole}");
    // Changed, lost, and a folder that not even its owner may enter.
    let harm = "cd out/site/site/ro; chmod -R u+w .; echo other > sub/one; rm sub/in/three; chmod 555 sub; chmod 0 sub/in; chmod 555 . ../../..";
    shell(&scenario.path("."), harm);
    restore(&["--overwrite"]);
    assert_eq!(is_whole(), whole);
    assert_eq!(shell(&scenario.path("."), "stat -c %a out").trim(), "555", "it is none of the backup's");
    // One part of it: the folders above are as the backup has them.
    shell(
        &scenario.path("."),
        "chmod u+w out/site/site/ro/sub/in; rm out/site/site/ro/sub/in/three; chmod 511 out/site/site/ro/sub/in",
    );
    restore(&["--overwrite", "--path", "site/ro/sub/in/three"]);
    assert_eq!(shell(&scenario.path("out/site/site/ro/sub"), "cat in/three; stat -c %a in"), "three\n555\n");
    // One that was cut short as it set the modes.
    let run = shell(&scenario.path("store/.backplan/p/manifests"), "ls")
        .trim()
        .trim_end_matches(".yaml")
        .to_owned();
    scenario.write(
        "out/.backplan-restore-unfinished",
        serde_json::json!({ "run": run, "sources": [], "paths": [] }).to_string(),
    );
    restore(&["--resume"]);
    assert_eq!(is_whole(), whole);
    assert!(!scenario.path("out/.backplan-restore-unfinished").exists());
}

#[test]
fn a_restore_that_may_open_too_little_can_be_gone_on_with() {
    let deep = (1..25).map(|depth| depth.to_string()).collect::<Vec<_>>().join("/");
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file(&format!("site/{deep}/a"), "a");
    scenario.plan(["run"]).status(0);
    let few = ["sh", "-c", "ulimit -n 24; exec \"$@\"", "sh"];
    let answer = scenario.plan_by(&few, ["restore", "--to", "out"]).status(1);
    answer.stderr_has("ulimit -n").stderr_has("`--resume` goes on with it");
    scenario.plan(["restore", "--to", "out", "--resume"]).status(0);
    assert_eq!(scenario.read(&format!("out/site/site/{deep}/a")), "a");
}
