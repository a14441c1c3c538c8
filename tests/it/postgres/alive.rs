//! `plan check --live` of a server that archives: whether its own account can do what its `archive_command` says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::separate::archiving;
use super::{Cluster, open_above, world};
use crate::scenario::{Answer, Scenario, shell, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_plan");

fn live(scenario: &Scenario) -> Answer {
    scenario.plan(["check", "--live", "p.plan"])
}

fn archive_by(cluster: &Cluster, command: &str) {
    cluster.query(&format!("alter system set archive_command = '{command}'"));
    cluster.query("select pg_reload_conf()");
    wait_for("the new command", || cluster.query("show archive_command") == command);
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_server_s_own_account_must_reach_program_plan_and_archive() {
    let scenario = world();
    open_above(&scenario.path("x"));
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    let source = format!("source main: postgres {{\n  driver = basebackup\n{}}}\n", cluster.place());
    let more = "archive main {\n  from = [main]\n  to   = [store]\n}\nwal main {\n  to = [store]\n}\n";
    scenario.write("p.plan", super::plan(&source, more, ""));
    scenario.write("q.plan", "");
    scenario.plan(["wal", "init", "p.plan", "main"]).status(0);
    let file = scenario.path("p.plan");
    let push = |program: &str, file: &Path, source: &str| {
        archive_by(&cluster, &format!("{program} wal push {} {source} %p", file.display()));
    };
    push("/nowhere/plan", &file, "main");
    live(&scenario).status(0).says("archive_unreachable").says("cannot run `/nowhere/plan`");
    push(PROGRAM, &file, "other");
    live(&scenario).status(0).says("archive_command").says("pushes the log of `other`");
    push(PROGRAM, &scenario.path("q.plan"), "main");
    live(&scenario).status(0).says("pushes by another plan");
    push(PROGRAM, &file, "main");
    chmod(&file, 0o600);
    live(&scenario).status(0).says("cannot read the plan");
    chmod(&file, 0o644);
    let archive = scenario.path("store/.backplan-wal/p/main");
    assert!(archive.is_dir());
    shell(&archive, "chown root: . && chmod 755 .");
    live(&scenario).status(0).says("cannot write into the archive");
    shell(&archive, "chown postgres: .");
    cluster.fill(10);
    cluster.query("select pg_switch_wal()");
    wait_for("a segment", || cluster.query("select archived_count > 0 from pg_stat_archiver") == "t");
    cluster.query("select pg_stat_reset_shared('archiver')");
    cluster.fill(10);
    cluster.query("select pg_switch_wal()");
    wait_for("a segment", || cluster.query("select archived_count > 0 from pg_stat_archiver") == "t");
    live(&scenario).status(0).says("nothing to report");

    // It hangs: the server reports no failure, and its log grows.
    archive_by(&cluster, &format!("sleep 30 && {PROGRAM} wal push {} main %p", file.display()));
    for _ in 0..6 {
        cluster.fill(10);
        cluster.query("select pg_switch_wal()");
    }
    live(&scenario).status(0).says("archive_behind").says("its log waits to be archived");
}

#[test]
fn pgbackrest_must_push_to_the_plan_s_stanza_by_the_plan_s_settings() {
    let stanza = "backplan_alive";
    let scenario = world();
    let repository = scenario.path("pg/repository");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", super::included(&cluster, stanza));
    live(&scenario).status(0);
    cluster.fill(10);
    scenario.plan(["run", "p.plan"]).status(0);
    live(&scenario).status(0);
    let config = repository.join("pgbackrest.conf");
    let push = |config: &Path, stanza: &str| {
        archive_by(
            &cluster,
            &format!("pgbackrest --config={} --stanza={stanza} archive-push %p", config.display()),
        );
    };
    push(&config, "other");
    live(&scenario).status(0).says("pushes to stanza `other`");
    push(Path::new("/etc/pgbackrest.conf"), stanza);
    live(&scenario).status(0).says("has the settings `/etc/pgbackrest.conf`");
    push(&config, stanza);
    shell(&repository, "chown root: pgbackrest.conf && chmod 600 pgbackrest.conf");
    live(&scenario).status(0).says("cannot read the settings");
}
