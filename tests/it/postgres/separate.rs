//! A cluster kept out of every archive: its backups live in a repository of their own, which the run looks after.

use std::fs;
use std::path::{Path, PathBuf};

use super::faults::rows_in;
use super::{Cluster, open_above};
use crate::scenario::{Scenario, repository, shell};

const NAME: &str = "alation_v2_2023_1_excluded";

/// The plan as it stands in `plans/`, its folders below the scenario and its server where the test has it.
fn product(scenario: &Scenario, cluster: &Cluster, stanza: &str, more: &str) -> String {
    let text = fs::read_to_string(repository(&format!("plans/{NAME}.plan"))).unwrap();
    let below = format!("\"{}/", scenario.path("").to_str().unwrap().trim_end_matches('/'));
    let text = text.replace("\"/", &below).replace("\"alation\"", &format!("\"{stanza}\""));
    let with_place = text.replace("  run_as = \"postgres\"\n", &cluster.place());
    assert!(with_place != text);
    with_place + more
}

fn world() -> Scenario {
    let scenario = Scenario::new()
        .file("opt/alation/build", "5-17-0-116556\n")
        .file("opt/alation/site_config/site.conf", "day 0\n")
        .file("data1/site_data/file", "site\n")
        .file("data2/kafka/events", "events\n");
    for folder in ["data2/backup", "data2/tmp", "data3/pgbackrest"] {
        fs::create_dir_all(scenario.path(folder)).unwrap();
    }
    open_above(&scenario.path("data3/pgbackrest/x"));
    scenario
}

fn archiving(scenario: &Scenario, own: &Path, stanza: &str) -> Cluster {
    let config = own.join("pgbackrest.conf");
    let push = format!("pgbackrest --config={} --stanza={stanza} archive-push %p", config.display());
    Cluster::start(scenario, "pg", &push)
}

/// The labels that the repository has, oldest first.
fn backups(own: &Path, stanza: &str) -> Vec<String> {
    let found = shell(&own.join("backup").join(stanza), "ls -d 2* | sort");
    found.lines().map(str::to_owned).collect()
}

fn own(scenario: &Scenario, store: &str, plan: &str, source: &str) -> PathBuf {
    scenario.path(&format!("{store}/.backplan-repo/{plan}/{source}"))
}

#[test]
fn a_product_s_plan_with_postgres_excluded_keeps_its_backups_apart() {
    let stanza = "backplan_excluded";
    let scenario = world();
    let repository = own(&scenario, "data3/pgbackrest", NAME, "rosemeta");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", product(&scenario, &cluster, stanza, "\ncycle {\n  incrementals = 4\n}\n"));
    let mut days = Vec::new();
    for number in 1..=11 {
        cluster.fill(500);
        days.push(cluster.rows());
        scenario.write("opt/alation/site_config/site.conf", format!("day {number}\n"));
        fs::write(scenario.path("data2/tmp/rest"), "of a run that died").unwrap();
        let dry = scenario.next_day().plan(["run", "p.plan", "--dry-run"]);
        dry.status(0);
        scenario.plan(["run", "p.plan"]).status(0);
        assert!(shell(&scenario.path("data2/tmp"), "ls -A").is_empty(), "day {number}: the staging is clear");
        let found = backups(&repository, stanza);
        let newest = found.last().unwrap();
        assert_eq!(newest.ends_with('F'), number % 5 == 1, "day {number}: {found:?}");
        // `full = 2` keeps the newest two and what rests on them, `wal = 45d` the first, as none is so old yet: at the third
        // full the differentials of the first go.
        let wanted = if number == 11 { 7 } else { number };
        assert_eq!(found.len(), wanted, "day {number}: {found:?}");
    }
    // Nothing of the database is in an archive.
    let artefacts = shell(&scenario.path("data2/backup"), "for f in *.tar.gz; do tar tzf $f; done");
    assert!(artefacts.contains("site.conf") && !artefacts.contains("rosemeta"), "{artefacts}");
    // What the repository has is what the manifests beside it say.
    scenario.plan(["list", "p.plan"]).status(0).says("00000006-").says("00000011-");
    scenario.plan(["status", "p.plan"]).status(0).says("rosemeta");
    assert_eq!(rows_in(&scenario, &cluster, stanza, &repository), days[10]);
}
