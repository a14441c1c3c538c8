//! What is in the artefact of a full whose tool's repository lives on: that full, and no cycle before it, unless a store has not
//! all of that.

use std::fs;

use super::{Cluster, included, labels, run, world};
use crate::scenario::{Scenario, artefacts, shell};

fn archiving(scenario: &Scenario, stanza: &str) -> Cluster {
    let config = scenario.path("pg/repository/pgbackrest.conf");
    Cluster::start(
        scenario,
        "pg",
        &format!("pgbackrest --config={} --stanza={stanza} archive-push %p", config.display()),
    )
}

/// Labels of the backups in the newest artefact of a store, and the segments of the log.
fn packed(scenario: &Scenario, store: &str, stanza: &str) -> (Vec<String>, Vec<String>) {
    let newest = artefacts(&scenario.path(store)).pop().unwrap();
    let names = shell(&scenario.path("."), &format!("tar tzf '{}'", newest.display()));
    let below = |what: &str, depth: usize| {
        let start = format!("db/{what}/{stanza}/");
        let mut found: Vec<String> = names
            .lines()
            .filter_map(|name| name.strip_prefix(&start)?.split('/').nth(depth).map(str::to_owned))
            .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
            .collect();
        found.sort();
        found.dedup();
        found
    };
    (below("backup", 0), below("archive", 2))
}

fn label(scenario: &Scenario, number: u32, name: &str) -> String {
    let text = labels(scenario, number);
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim_matches('\'').to_owned()
}

#[test]
fn a_full_holds_no_cycle_before_it_and_is_no_loss_to_be_told_of() {
    let scenario = world();
    let cluster = archiving(&scenario, "cycled");
    let text = included(&cluster, "cycled").replace("incrementals = 9", "incrementals = 1");
    scenario.write("p.plan", format!("{text}\nkeep {{\n  cycles = 1\n}}\n"));
    let mut before = String::new();
    for number in 1..=5 {
        cluster.fill(3000);
        cluster.query("select pg_switch_wal()");
        let answer = run(&scenario).status(0);
        assert!(!answer.said().contains("nothing is pruned"), "run {number}: {answer:?}");
        let bytes = label(&scenario, number, "database_bytes");
        assert!(labels(&scenario, number).contains(&format!("bytes: {bytes}\n")), "what the cluster holds");
        if number == 3 || number == 5 {
            let (backups, segments) = packed(&scenario, "store", "cycled");
            assert_eq!(backups, [label(&scenario, number, "label")], "its own alone");
            // The log goes on from the last backup of the cycle before: any moment between the two has its log in a store.
            let place = |name: &str| u64::from_str_radix(&name[8..24], 16).unwrap();
            let there: Vec<u64> =
                segments.iter().filter(|name| !name.contains(".backup")).map(|name| place(name)).collect();
            let (from, until) = (place(&before), place(&label(&scenario, number, "wal_stop")));
            assert!((from..=until).all(|at| there.contains(&at)), "{before}: {segments:?}");
            // Before that there is what made the single backups whole, and no more.
            let first = *there.iter().min().unwrap();
            assert!((first..from).any(|at| !there.contains(&at)), "{before}: {segments:?}");
        }
        before = label(&scenario, number, "wal_start");
    }
    // The runs of the newest cycle alone, and their fulls hold what they need.
    let rows = cluster.rows();
    let back = scenario.path("back");
    let to = back.to_str().unwrap().to_owned();
    super::open_above(&back);
    scenario
        .plan(["restore", "p.plan", "--run", "5", "--source", "db", "--immediate", "--start", "--to", &to])
        .status(0);
    let mut other = Cluster::at(&back, cluster.port);
    (other.data, other.sockets) = (back, scenario.path("back.server"));
    assert_eq!(other.rows(), rows);
    let data = to.as_str();
    other.must("pg_ctl", &["-D", data, "-m", "immediate", "-w", "stop"]);
}

#[test]
fn what_one_store_does_not_have_whole_stays_in_the_next_full() {
    let scenario = world();
    fs::create_dir(scenario.path("second")).unwrap();
    let cluster = archiving(&scenario, "unsettled");
    let text = included(&cluster, "unsettled").replace("incrementals = 9", "incrementals = 1");
    let text = text.replace("to   = [store]", "to   = [store, second]");
    scenario.write("p.plan", format!("{text}\nstore second: dir {{\n  path = \"second\"\n}}\n"));
    for _ in 0..2 {
        cluster.fill(500);
        run(&scenario).status(0);
    }
    let lost = artefacts(&scenario.path("second")).pop().unwrap();
    fs::remove_file(lost).unwrap();
    cluster.fill(500);
    run(&scenario).status(0);
    for store in ["store", "second"] {
        let wanted: Vec<String> = (1..=3).map(|number| label(&scenario, number, "label")).collect();
        assert_eq!(packed(&scenario, store, "unsettled").0, wanted, "nothing went that a store lacks");
    }
    // It is whole everywhere now, and goes from the repository.
    let left = shell(&scenario.path("pg/repository/backup/unsettled"), "ls -d 2*");
    assert_eq!(left.trim(), label(&scenario, 3, "label"));
}

/// A list that pgBackRest cannot read itself makes a backup of which nothing comes back; it ends with 0.
#[test]
fn a_name_that_pgbackrest_cannot_take_down_is_refused_before_the_backup() {
    let scenario = world();
    let cluster = archiving(&scenario, "lines");
    scenario.write("p.plan", included(&cluster, "lines"));
    cluster.query("create database \"two\nlines\"");
    let words = "database `two\\nlines` has a line break in its name";
    run(&scenario).status(1).says(words).says("rename it");
    scenario.plan(["check", "--live", "p.plan"]).status(1).says("name_spoils").says(words);
    assert!(artefacts(&scenario.path("store")).is_empty());
    cluster.query("alter database \"two\nlines\" rename to \"x=y [z]\"");
    run(&scenario).status(0);
    // A file with such a name is found out behind the backup, on which nothing then rests.
    let odd = cluster.data.join("base/1/x\ny");
    shell(&scenario.path("."), &format!("runuser -u postgres -- touch '{}'", odd.display()));
    run(&scenario).status(1).says("cannot read it, nothing could be restored of it; it is removed");
    fs::remove_file(odd).unwrap();
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
    let live = scenario.plan(["check", "--live", "p.plan"]);
    assert!(!live.said().contains("name_spoils"), "{live:?}");
    run(&scenario).status(0);
    scenario.plan(["verify", "p.plan", "--deep", "--all"]).status(0);
}
