//! pg_probackup's catalogue in an artefact: clusters put back from it, to its backups' ends and to moments, and rehearsed. A script
//! stands in for the tool; servers, rows, tablespaces and logs are real.

use std::fs;
use std::path::Path;

use super::separate::{CLOCK, back, stop};
use super::{Cluster, installed, world};
use crate::scenario::{Scenario, shell, wait_for};

const TOOL: &str = include_str!("pg_probackup.sh");

/// A world that has the tool.
pub(super) fn tooled() -> Scenario {
    let scenario = world();
    let place = scenario.path("bin");
    let tool = TOOL.replace("PROGRAMS", installed().to_str().unwrap());
    let scenario =
        scenario.env("PATH", &format!("{}:/usr/bin:/bin", place.display())).file("bin/pg_probackup", tool);
    shell(&place, "chmod +x pg_probackup");
    scenario
}

/// What archives into a catalogue.
pub(super) fn push(scenario: &Scenario, catalogue: &Path) -> String {
    format!(
        "{}/pg_probackup archive-push --backup-path={} --instance=db --wal-file-path=%p --wal-file-name=%f",
        scenario.path("bin").display(),
        catalogue.display()
    )
}

/// A cluster that archives into the catalogue of `db`. That of `plain` has no log beside its backups.
fn backed_up() -> (Scenario, Cluster) {
    let scenario = tooled();
    let push = push(&scenario, &scenario.path("pg/db"));
    let cluster = Cluster::start(&scenario, "pg", &push);
    let source = |name: &str| {
        format!(
            "source {name}: postgres {{\n  driver  = probackup\n  staging = \"pg/{name}\"\n{}}}\n",
            cluster.place()
        )
    };
    let archive = "archive main {\n  from = [db, plain]\n  to   = [store]\n}\n";
    let more = "cycle {\n  incrementals = 2\n  base         = previous\n}\n\
                verify {\n  restore = db\n  query = \"select count(*) = 650 from t\"\n}\n";
    scenario.write("p.plan", super::plan(&(source("db") + &source("plain")), archive, more));
    (scenario, cluster)
}

#[test]
fn a_catalogue_is_put_back_to_its_backups_and_to_moments_of_its_log_and_rehearsed() {
    let (scenario, cluster) = backed_up();
    let count = "select count(*) from t";
    let space = scenario.path("pg/space");
    shell(&scenario.path("pg"), "mkdir space && chown postgres: space");
    cluster.query(&format!("create tablespace s location '{}'", space.display()));
    cluster.query("create table t (n int primary key, filler text) tablespace s");
    cluster.fill(500);
    scenario.plan(["run", "p.plan"]).status(0);
    // What the tool tells of a backup's end is told in whole seconds.
    cluster.query("select pg_sleep(1.1)");
    cluster.fill(100);
    let moment = cluster.query(CLOCK);
    cluster.fill(50);
    let segment = cluster.query("select pg_walfile_name(pg_switch_wal())");
    let archived = scenario.path(&format!("pg/db/wal/db/{segment}.gz"));
    wait_for("the segment to be archived", || archived.exists());
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    let before = shell(&space, "find . | sort");
    // With a slash at its end: what lies beside it is called like it all the same.
    let to = ["restore", "p.plan", "--to", "back/", "--start", "--source"];
    let with = |more: &[&str]| scenario.plan(to.iter().chain(more));

    // The first backup leads there, and the second artefact has the log behind it.
    with(&["db", "--at", &moment])
        .status(0)
        .says("run 00000002-")
        .says("backup = SAAAA1")
        .says("tablespace ");
    assert_eq!(back(&scenario, &cluster, count), "600");
    assert!(scenario.path("back.catalogue").is_dir());
    stop(&scenario, &cluster);

    // Without a log: the backup's own end, and the catalogue goes again.
    let refused = with(&["plain", "--at", &moment]).status(1);
    refused.says(
        "holds no write-ahead log beside its backups: it can be recovered to the ends of its backups alone",
    );
    assert!(!scenario.path("back").exists() && !scenario.path("back.catalogue").exists());
    with(&["plain"]).status(0).says("backup = SAAAA2");
    assert_eq!(back(&scenario, &cluster, count), "650");
    assert!(!scenario.path("back.catalogue").exists());
    stop(&scenario, &cluster);
    with(&["plain", "--run", "1", "--immediate"]).status(0).says("backup = SAAAA1");
    assert_eq!(back(&scenario, &cluster, count), "500");
    stop(&scenario, &cluster);

    let rehearsed = scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
    rehearsed.says("by pg_probackup").says("passed   query").says("passed   pg_checksums");
    assert_eq!(fs::read_dir(scenario.path("../tmp")).unwrap().count(), 0);
    // No copy wrote into the original's tablespace.
    assert_eq!(shell(&space, "find . | sort"), before);
    cluster.query("insert into t values (0, '')");
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says("it answered `f`");

    // A segment that cannot be read, or is another one, is told, and not taken for the end of the log.
    let log = scenario.path("pg/db/wal/db");
    for script in
        [format!(": > {segment}.gz"), format!("cp $(ls *.gz | grep -v {segment} | tail -1) {segment}.gz")]
    {
        shell(&log, &script);
        scenario.next_day().plan(["run", "p.plan", "--level", "incremental"]).status(0);
        let refused = with(&["db", "--at", &moment]).status(1);
        refused.says(&format!("segment {segment} of its log is there and cannot be read"));
        shell(&scenario.path("."), "rm -rf back back.*");
    }

    // What the tool refuses is told in its words.
    scenario.write("bin/pg_probackup", "#!/bin/sh\necho 'ERROR: backup is corrupt' >&2\nexit 1\n");
    with(&["plain"]).status(1).says("backup is corrupt");
    scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says("backup is corrupt");
    assert_eq!(fs::read_dir(scenario.path("../tmp")).unwrap().count(), 0);
}
