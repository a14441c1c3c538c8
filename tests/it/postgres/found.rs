//! A first plan for a server that runs: found by its socket.

use std::fs;

use super::Cluster;
use crate::scenario::Scenario;

#[test]
fn a_first_plan_finds_a_server_and_leaves_its_files_out() {
    let scenario = Scenario::new();
    let host = scenario.path("pg/sock").display().to_string();
    let scenario = scenario.env("PGHOST", &host);
    let cluster = Cluster::start(&scenario, "pg", "true");
    fs::write(scenario.path("pg/notes"), "n").unwrap();
    let init =
        ["init", "site.plan", "--source", "pg/notes", "--source", "pg/data", "--store", "backups", "--yes"];
    let answer = scenario.plan(init).status(0);
    let answer = answer.says("found a Postgres server").says("port 5432").says("its files are left out");
    answer.stdout_has("wrote $W/work/site.plan");
    let text = scenario.read("site.plan");
    assert!(text.contains(&format!("\"{host}\"")) && text.contains("run_as = \"postgres\""), "{text}");
    assert!(!text.contains("pg/data"), "{text}");
    scenario.plan(["check", "--deny", "warnings", "site.plan"]).status(0);
    scenario.plan(["run", "site.plan"]).status(0);
    let listed = scenario.plan(["ls", "latest", "-f", "site.plan"]).status(0).stdout;
    assert!(listed.contains("postgres_5432/") && listed.contains("pg/notes"), "{listed}");
    assert!(!listed.contains("PG_VERSION"), "{listed}");
    // Nobody is asked for whom the server alone is enough; where it is not looked for, nothing is left.
    scenario.plan(["init", "alone.plan", "--store", "alone", "--yes"]).status(0);
    scenario.plan(["check", "--deny", "warnings", "alone.plan"]).status(0);
    let none = ["init", "none.plan", "--store", "none", "--yes", "--postgres", "none"];
    scenario.plan(none).status(1).stderr_has("is not said");
    // What a server leaves when it is killed answers nobody.
    cluster.must("pg_ctl", &["-D", cluster.data.to_str().unwrap(), "-m", "immediate", "stop"]);
    scenario.plan(["init", "none.plan", "--store", "none", "--yes"]).status(1).stderr_has("is not said");
}
