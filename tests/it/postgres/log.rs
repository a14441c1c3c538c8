//! The log in repositories of pgBackRest: what is told of it, and what becomes of a copy that takes over.

use std::fs;
use std::path::{Path, PathBuf};

use super::Cluster;
use super::separate::{apart, archiving, back, own, stop};
use crate::scenario::{Scenario, shell, wait_for};

/// Fills the current segment with something, ends it, and waits until it is archived.
fn segment(cluster: &Cluster) -> String {
    cluster.fill(10);
    let segment = cluster.query("select pg_walfile_name(pg_switch_wal())");
    let archived = format!("select coalesce(last_archived_wal >= '{segment}', false) from pg_stat_archiver");
    wait_for("an archived segment", || cluster.query(&archived) == "t");
    segment
}

/// The file of a segment in a repository.
fn stored(repository: &Path, stanza: &str, segment: &str) -> PathBuf {
    let archive = repository.join("archive").join(stanza);
    shell(&archive, &format!("ls $PWD/15-1/*/{segment}-*")).trim().into()
}

fn world(stanza: &str, more: &str, separate: &str) -> (Scenario, PathBuf, Cluster) {
    let scenario = super::world();
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", apart(&cluster, stanza, "", separate) + more);
    // It commits when it likes.
    cluster.query("alter system set autovacuum = off");
    cluster.query("select pg_reload_conf()");
    cluster.fill(100);
    (scenario, repository, cluster)
}

#[test]
fn the_log_of_a_separate_repository_is_told_and_counts_for_what_was_promised() {
    let stanza = "backplan_log_told";
    let (scenario, repository, cluster) = world(stanza, "objective {\n  rpo = 1h\n}\n", "");
    // The run was two hours ago by its own clock, and segments have come since.
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
    scenario.plan_by(&["env", &format!("BACKPLAN_NOW={then}")], ["run", "p.plan"]).status(0);
    let segments: Vec<String> = (0..4).map(|_| segment(&cluster)).collect();
    let told = scenario.plan(["status", "p.plan", "--format", "json"]).status(0).json();
    let log = &told["logs"][0];
    assert_eq!((log["source"].as_str(), log["problems"].as_array().unwrap().len()), (Some("db"), 0));
    let there = shell(&repository, &format!("ls archive/{stanza}/15-1/*/*.gz | wc -l"))
        .trim()
        .parse::<u64>()
        .unwrap();
    assert_eq!(log["segments"].as_u64(), Some(there));
    let bytes = shell(&repository, &format!("cat archive/{stanza}/15-1/*/*.gz | wc -c"))
        .trim()
        .parse::<u64>()
        .unwrap();
    assert_eq!(log["size"].as_u64(), Some(bytes));
    assert!(told["stores"][0]["size"].as_u64().unwrap() > 1_000_000, "{told}");
    assert_eq!(told["objectives"][0]["met"], true);
    scenario.plan(["status", "p.plan"]).status(0).says("log of `db`: any moment from");
    // A moment behind the last commit, and before it.
    let until = log["windows"][0]["until"].as_str().unwrap();
    let last = log["last_commit"].as_str().unwrap();
    for (option, target, words, rows) in [
        ("--at", until, "behind the last commit in the log", "140"),
        ("--before", last, "recovers to what was before", "130"),
    ] {
        let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target];
        scenario.plan(way).status(0).says(words);
        assert_eq!(back(&scenario, &cluster, "select count(*) from t"), rows);
        stop(&scenario, &cluster);
    }
    // A segment that is lost.
    let lost = &segments[1];
    let file = stored(&repository, stanza, lost);
    let kept = scenario.path("kept");
    fs::rename(&file, &kept).unwrap();
    let told = format!("segment `{lost}` is missing");
    scenario.plan(["status", "p.plan"]).status(3).says(&told).says("segments arrive that no backup leads to");
    scenario.plan(["verify", "p.plan"]).status(1).says(&told);
    scenario.plan(["verify", "p.plan", "--all"]).status(1).says(&told);
    scenario.plan(["verify", "p.plan", "--rehearse"]).status(1).says(&told);
    // All of it is not to be had, and nothing is written; what is before it is.
    let restore = ["restore", "p.plan", "--source", "db", "--to", "back"];
    scenario.plan(restore.iter().chain(&["--start"])).status(1).says(&told);
    scenario.plan(restore.iter().chain(&["--at", "latest", "--dry-run"])).status(1).says(&told);
    assert!(!scenario.path("back").exists());
    scenario.plan(restore.iter().chain(&["--start", "--immediate"])).status(0);
    assert_eq!(back(&scenario, &cluster, "select count(*) from t"), "100");
    stop(&scenario, &cluster);
    // A backup behind it leads on.
    scenario.plan(["run", "p.plan"]).status(0);
    scenario.plan(restore.iter().chain(&["--start"])).status(0);
    assert_eq!(back(&scenario, &cluster, "select count(*) from t"), "140");
    stop(&scenario, &cluster);
    fs::rename(&kept, &file).unwrap();
    scenario.plan(["verify", "p.plan", "--rehearse"]).status(0);
    scenario.plan(["status", "p.plan"]).status(0).says("all is well");
}

#[test]
fn the_log_of_an_encrypted_repository_is_told_too() {
    let stanza = "backplan_log_sealed";
    let (scenario, _, cluster) = world(stanza, "", "  passphrase = env(\"REPO_PASS\")\n");
    let scenario = scenario.env("REPO_PASS", "not to be seen anywhere");
    scenario.plan(["run", "p.plan"]).status(0);
    segment(&cluster);
    scenario.plan(["status", "p.plan"]).status(0).says("log of `db`: any moment from").says("segments");
    let dry = ["restore", "p.plan", "--source", "db", "--to", "back", "--dry-run"];
    scenario.plan(dry).status(0).says("it can be recovered to any moment from");
}

#[test]
fn a_copy_of_a_separate_cluster_archives_nothing_and_its_timeline_can_be_followed_once_it_has_taken_over() {
    let stanza = "backplan_log_copy";
    let (scenario, repository, cluster) = world(stanza, "", "");
    scenario.plan(["run", "p.plan"]).status(0);
    segment(&cluster);
    let archive = format!("find archive/{stanza} -type f -name '0*' | sort");
    let before = shell(&repository, &archive);
    let restore = ["restore", "p.plan", "--source", "db", "--to", "back"];
    for way in [["--start"].as_slice(), &[]] {
        scenario.plan(restore.iter().chain(way)).status(0).says("it archives nothing");
        let copy = match way {
            [] => Some(cluster.restored(&scenario.path("back"))),
            _ => None,
        };
        let ask = |sql: &str| match &copy {
            Some(copy) => copy.query(sql),
            None => back(&scenario, &cluster, sql),
        };
        wait_for("the copy", || ask("select pg_is_in_recovery()") == "f");
        assert_eq!(ask("show archive_mode"), "off");
        ask("create table of_copy (n int)");
        ask("select pg_switch_wal()");
        let settings = scenario.read("back/postgresql.auto.conf");
        let is_set = |name: &str| settings.lines().any(|line| line.starts_with(name));
        assert!(!is_set("recovery_target") && !is_set("recovery_end_command"), "{settings}");
        assert!(scenario.path("back/pg_wal/archive_status/00000002.history.ready").exists());
        assert_eq!(shell(&repository, &archive), before);
        drop(copy);
        if !way.is_empty() {
            stop(&scenario, &cluster);
        } else {
            shell(&scenario.path("."), "rm -rf back back.*");
        }
    }
    // The one that is to take over.
    scenario.plan(restore.iter().chain(&["--start", "--archive"])).status(0);
    let data = scenario.path("back");
    cluster.must("pg_ctl", &["-D", data.to_str().unwrap(), "-m", "fast", "-w", "stop"]);
    cluster.must("pg_ctl", &["-D", cluster.data.to_str().unwrap(), "-m", "fast", "-w", "stop"]);
    fs::rename(&cluster.data, scenario.path("old")).unwrap();
    fs::rename(&data, &cluster.data).unwrap();
    shell(&scenario.path("."), "rm -rf back.*");
    cluster.up();
    cluster.fill(10);
    segment(&cluster);
    let history = repository.join(format!("archive/{stanza}/15-1/00000002.history"));
    assert!(history.exists());
    scenario.plan(["status", "p.plan"]).status(0).says("all is well");
    // Without its history nobody follows the timeline: that is told, and the next run has it archived.
    fs::remove_file(&history).unwrap();
    scenario.plan(["status", "p.plan"]).status(3).says("its `00000002.history` was not");
    scenario.plan(["verify", "p.plan"]).status(1).says("its `00000002.history` was not");
    scenario.plan(["run", "p.plan"]).status(0).says("`00000002.history` was never archived, and is now");
    assert!(history.exists());
    scenario.plan(restore.iter().chain(&["--start", "--at", "latest"])).status(0);
    assert_eq!(back(&scenario, &cluster, "select count(*) from t"), "130");
    stop(&scenario, &cluster);
}
