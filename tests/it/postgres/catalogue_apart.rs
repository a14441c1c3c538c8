//! pg_probackup's catalogue kept apart from every archive, in the folder of a store. A script stands in for the tool; servers, rows
//! and logs are real.

use std::fs;
use std::path::{Path, PathBuf};

use super::catalogue::{push, tooled};
use super::separate::{CLOCK, back, own, stop};
use super::{Cluster, open_above};
use crate::scenario::{Scenario, shell, wait_for};

/// A plan `p` with a cluster whose catalogue is kept apart, with more in its block.
fn apart(cluster: &Cluster, stores: &[&str], separate: &str) -> String {
    let declared: String =
        stores.iter().map(|name| format!("store {name}: dir {{\n  path = \"{name}\"\n}}\n")).collect();
    format!(
        "plan p\n{declared}source db: postgres {{\n  driver = probackup\n{}}}\nseparate db {{\n  to = [{}]\n{separate}}}\n\
         cycle {{\n  incrementals = 2\n  base = previous\n}}\nretry {{\n  attempts = 1\n}}\n",
        cluster.place(),
        stores.join(", ")
    )
}

/// A cluster that archives into the catalogue in the first of these stores.
fn backed_up(stores: &[&str], separate: &str) -> (Scenario, Cluster, PathBuf) {
    let scenario = tooled();
    for store in stores {
        fs::create_dir_all(scenario.path(store)).unwrap();
    }
    let catalogue = own(&scenario, stores[0], "p", "db");
    let cluster = Cluster::start(&scenario, "pg", &push(&scenario, &catalogue));
    scenario.write("p.plan", apart(&cluster, stores, separate));
    (scenario, cluster, catalogue)
}

/// The backups that the catalogue has, each by the first letter of its mode and the last of its id.
fn backups(catalogue: &Path) -> String {
    let all = "for one in backups/db/S*; do sed -n 's/.*\"id\":\"SAAAA\\(.\\)\".*\"backup-mode\":\"\\(.\\).*/\\2\\1/p' $one/show.json; done";
    shell(catalogue, all).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn run(scenario: &Scenario) -> crate::scenario::Answer {
    scenario.next_day().plan(["run", "p.plan"])
}

/// A backup that a person makes.
fn by_hand(scenario: &Scenario, cluster: &Cluster, catalogue: &Path) {
    let tool = scenario.path("bin/pg_probackup");
    let sockets = cluster.sockets.display();
    let command = format!(
        "runuser -u postgres -- {} backup --backup-path={} --instance=db --backup-mode=DELTA --stream --pghost={sockets} --pgport=5432",
        tool.display(),
        catalogue.display()
    );
    shell(Path::new("/"), &command);
}

/// As where the newest run was killed between its backup and its commit: no manifest, and nobody who knows of one.
fn killed(scenario: &Scenario) {
    let manifests = scenario.path("store/.backplan/p/manifests");
    let run = shell(&manifests, "ls | tail -n 1");
    fs::remove_file(manifests.join(run.trim())).unwrap();
    let known = shell(&scenario.path("../state"), "find . -name committed");
    shell(&scenario.path("../state"), &format!("sed -i '/^{}.* done/d' {}", &run[..8], known.trim()));
}

#[test]
fn a_catalogue_kept_apart_holds_what_the_manifests_beside_it_name() {
    let (scenario, cluster, catalogue) = backed_up(&["store"], "  keep {\n    full = 1\n  }\n");
    cluster.fill(100);
    for (day, wanted) in ["F1", "F1 D2", "F1 D2 D3"].iter().enumerate() {
        run(&scenario).status(0);
        assert_eq!(backups(&catalogue), *wanted, "day {day}");
    }
    let manifests = scenario.path("store/.backplan/p/manifests");
    let third = shell(&manifests, "cat 00000003-*");
    for said in
        ["tool: pg_probackup", "label: SAAAA3", "level: incremental", "instance: db", "version: 2.5.0"]
    {
        assert!(third.contains(said), "{said}: {third}");
    }
    let rests = third.split_once("rests_on:").unwrap().1;
    assert!(rests.contains("00000001-") && rests.contains("00000002-"), "{third}");
    assert_eq!(fs::read_dir(scenario.path("store")).unwrap().count(), 2, "no archive came of it");
    let log =
        |catalogue: &Path| shell(&catalogue.join("wal/db"), "ls | wc -l").trim().parse::<u32>().unwrap();
    cluster.query("select pg_switch_wal()");
    wait_for("an archived segment", || log(&catalogue) > 3);
    let before = log(&catalogue);

    // The next full ends the cycle: what it was goes, with the log that only that needed.
    let dry = scenario.next_day().plan(["run", "p.plan", "--dry-run"]).status(0);
    assert_eq!(backups(&catalogue), "F1 D2 D3", "{dry:?}");
    scenario.plan(["run", "p.plan"]).status(0);
    assert_eq!(backups(&catalogue), "F4");
    assert!(log(&catalogue) < before);
    scenario.plan(["verify", "p.plan"]).status(0).says("1 backup");
    scenario.plan(["list", "p.plan"]).status(0).says("00000004-");

    // What a person made stays, and what that rests on, and the run that rests on it says what it needs.
    by_hand(&scenario, &cluster, &catalogue);
    run(&scenario).status(0);
    let fifth = shell(&manifests, "cat 00000005-*");
    assert!(fifth.split_once("rests_on:").unwrap().1.contains("00000004-"), "{fifth}");
    run(&scenario).status(0);
    assert_eq!(backups(&catalogue), "F4 D5 D6 D7");
    run(&scenario)
        .status(3)
        .says("`SAAAA4`, which no manifest names any more, stays")
        .says("`SAAAA5` rests on it");
    assert_eq!(backups(&catalogue), "F4 D5 F8");

    // Of an attempt that failed, of a run that was never committed, and not of others.
    scenario.write("bin/killed", "");
    run(&scenario).status(1).says("no space left on device");
    shell(&scenario.path("bin"), "rm killed");
    assert_eq!(backups(&catalogue), "F4 D5 F8 D9");
    run(&scenario)
        .status(3)
        .says("backup `SAAAA9` of a run that was given up, or never committed, is deleted");
    assert_eq!(backups(&catalogue), "F4 D5 F8 D9");
    killed(&scenario);
    run(&scenario)
        .status(3)
        .says("backup `SAAAA9` of a run that was given up, or never committed, is deleted");
    assert_eq!(backups(&catalogue), "F4 D5 F8 D9");
    // Where manifests are lost, those backups stay.
    shell(&manifests, "rm *");
    run(&scenario);
    assert_eq!(backups(&catalogue), "F4 D5 F8 D9 FA");
}

#[test]
fn a_catalogue_kept_apart_leads_back_to_moments_and_is_only_read() {
    let (scenario, cluster, catalogue) = backed_up(&["store"], "");
    let verify = "verify {\n  restore = db\n  query = \"select count(*) >= 650 from t\"\n}\n";
    scenario.write("p.plan", scenario.read("p.plan") + verify);
    let count = "select count(*) from t";
    cluster.fill(500);
    scenario.plan(["check", "--live", "p.plan"]).says("there is no instance `db`");
    run(&scenario).status(0);
    assert!(!scenario.plan(["check", "--live", "p.plan"]).said().contains("instance"));
    // What the tool tells of a backup's end is told in whole seconds.
    cluster.query("select pg_sleep(1.1)");
    cluster.fill(100);
    let moment = cluster.query(CLOCK);
    cluster.fill(50);
    let segment = cluster.query("select pg_walfile_name(pg_switch_wal())");
    let archived = catalogue.join(format!("wal/db/{segment}.gz"));
    wait_for("the segment to be archived", || archived.exists());
    let files = || shell(&catalogue, "find . -type f -printf '%p %u %s\\n' | sort");
    let before = files();

    let to = ["restore", "p.plan", "--to", "back", "--source", "db"];
    let with = |more: &[&str]| scenario.plan(to.iter().chain(more));
    with(&["--dry-run"]).status(0).says("backup = SAAAA1").says("nothing was written");
    with(&["--start", "--at", &moment]).status(0).says("work/store/.backplan-repo/p/db");
    assert_eq!(back(&scenario, &cluster, count), "600");
    stop(&scenario, &cluster);
    with(&["--start"]).status(0);
    assert_eq!(back(&scenario, &cluster, count), "650");
    stop(&scenario, &cluster);
    let early = with(&["--start", "--at", "2020-01-01T00:00:00Z"]);
    early.status(1).says("before the end of the first backup");
    let late = cluster.query(CLOCK);
    with(&["--start", "--at", &late]).status(1).says("is not in what was archived");
    assert!(!scenario.path("back").exists());
    scenario.plan(["status", "p.plan"]).says("log of `db`: any moment from");
    let rehearsed = scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
    rehearsed.says("by pg_probackup").says("passed   query").says("passed   pg_checksums");
    scenario.plan(["verify", "p.plan"]).status(0);
    assert_eq!(files(), before, "nothing of the catalogue was changed");

    // What the tool could not look into is not damaged for that.
    scenario.write("bin/locked", "");
    let unchecked = scenario.plan(["verify", "p.plan"]).says("Cannot lock backup SAAAA1");
    assert!(unchecked.code != 0 && !unchecked.said().contains("is damaged"), "{unchecked:?}");
    shell(&scenario.path("bin"), "rm locked");

    // Damage is told, and the next run rests on none of it.
    shell(&catalogue, "printf x >> backups/db/SAAAA1/database/PG_VERSION");
    scenario
        .plan(["verify", "p.plan"])
        .status(1)
        .says("backup `SAAAA1` is damaged")
        .says("data files are corrupted");
    assert!(files().contains("SAAAA1/show.json postgres "), "{}", files());
    with(&[]).status(1).says("SAAAA1");
    assert!(!scenario.path("back/PG_VERSION").exists());
    shell(&scenario.path("."), "rm -rf back");
    run(&scenario).status(3).says("made a FULL backup, not a DELTA");
    assert_eq!(backups(&catalogue), "F1 F3", "the attempt that was refused is gone");
    with(&["--start"]).status(0).says("backup = SAAAA3");
    stop(&scenario, &cluster);

    // Another cluster is not let in, and a catalogue that is away is told.
    shell(&catalogue, "echo 1 > wal/db.system");
    scenario.plan(["check", "--live", "p.plan"]).status(1).says("stanza_other").says("instance `db`");
    run(&scenario).status(1).says("belongs to another cluster");
    fs::rename(&catalogue, scenario.path("away")).unwrap();
    scenario.plan(["status", "p.plan"]).says("the repository of `db` in store `store` is not there");
    with(&[]).status(1).says("the repository is not there");
    scenario.plan(["verify", "p.plan"]).status(1).says("is not there");
    run(&scenario).status(3).says("has no longer 2 backups that earlier runs made");
}

#[test]
fn a_cluster_has_a_catalogue_in_each_of_several_stores() {
    let times =
        "  schedule {\n    full        = weekly on sun at 01:00\n    incremental = daily at 01:00\n  }\n";
    let (scenario, cluster, first) = backed_up(&["store", "other"], times);
    open_above(&scenario.path("other/x"));
    let second = own(&scenario, "other", "p", "db");
    cluster.fill(100);
    let at = |moment: &str| scenario.plan_by(&["env", &format!("BACKPLAN_NOW={moment}")], ["run", "p.plan"]);
    at("2026-11-02T01:00:01Z").status(0);
    fs::rename(scenario.path("other"), scenario.path("away")).unwrap();
    at("2026-11-03T01:00:01Z").status(3);
    fs::rename(scenario.path("away"), scenario.path("other")).unwrap();
    assert_eq!((backups(&first), backups(&second)), ("F1 D2".into(), "F1".into()));
    cluster.fill(50);
    at("2026-11-04T01:00:01Z").status(0);
    assert_eq!((backups(&first), backups(&second)), ("F1 D2 D3".into(), "F1 D2".into()));
    // The first has what is wanted until it is damaged.
    let to = ["restore", "p.plan", "--to", "back", "--source", "db", "--start"];
    scenario.plan(to).status(0).says("store/.backplan-repo").says("backup = SAAAA3");
    stop(&scenario, &cluster);
    shell(&first, "mv backups away");
    scenario
        .plan(to)
        .status(3)
        .says("the catalogue in store `store` cannot be used for it")
        .says("other/.backplan-repo")
        .says("backup = SAAAA2");
    assert_eq!(back(&scenario, &cluster, "select count(*) from t"), "150");
    stop(&scenario, &cluster);
}
