//! What goes wrong around `pg_basebackup`, and what the run, or the next one, makes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Cluster, restore, run, world};
use crate::scenario::{Scenario, shell, wait_for};

const ONCE: &str = "retry {\n  attempts = 1\n}\n";
const PATIENT: &str = "retry {\n  attempts = 6\n  backoff  = 1s..2s\n}\n";

fn write_plan(scenario: &Scenario, place: &str, retry: &str) {
    let text = format!(
        "plan p\nstore store: dir {{\n  path = \"store\"\n}}\nstaging {{\n  path = \"staging/in\"\n}}\n\
         source main: postgres {{\n  driver = basebackup\n{place}}}\narchive main {{\n  from = [main]\n  to   = [store]\n}}\n{retry}"
    );
    scenario.write("p.plan", text);
    let folder = scenario.path("staging/in");
    fs::create_dir_all(&folder).unwrap();
}

fn begin() -> (Scenario, Cluster) {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    cluster.fill(20_000);
    write_plan(&scenario, &cluster.place(), ONCE);
    (scenario, cluster)
}

fn artefacts(scenario: &Scenario) -> usize {
    shell(&scenario.path("store"), "ls").lines().count()
}

#[track_caller]
fn nothing_is_left(scenario: &Scenario) {
    assert_eq!(shell(&scenario.path("staging/in"), "find . -mindepth 1"), "", "the staging was left clear");
    assert_eq!(shell(&scenario.path("../state"), "find . -path '*/work/*'"), "");
}

/// A small file system, gone with the value.
struct Small(PathBuf);

impl Small {
    fn mount(folder: &Path, size: &str) -> Small {
        shell(folder, &format!("mount -t tmpfs -o size={size},mode=711 tmpfs ."));
        Small(folder.to_path_buf())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_password_is_needed_and_never_told() {
    let (scenario, cluster) = begin();
    cluster.query("create role keeper login replication password 'right-one'");
    cluster.query("grant pg_read_all_settings to keeper; grant pg_monitor to keeper");
    let hba = cluster.data.join("pg_hba.conf");
    let rules =
        "local all keeper scram-sha-256\nlocal replication keeper scram-sha-256\nlocal all all trust\n";
    fs::write(&hba, rules).unwrap();
    cluster.query("select pg_reload_conf()");
    let place = format!("{}  user = \"keeper\"\n  password = env(\"KEEPER\")\n", cluster.place());
    write_plan(&scenario, &place, ONCE);
    let scenario = scenario.env("KEEPER", "wrong-one");
    let answer = run(&scenario).status(1);
    assert!(!answer.said().contains("wrong-one"));
    answer.says("password authentication failed").says("set `password` of the source");
    assert_eq!(artefacts(&scenario), 0);
    nothing_is_left(&scenario);
    let scenario = scenario.env("KEEPER", "right-one");
    let answer = run(&scenario).status(0);
    assert!(!answer.said().contains("right-one"));
    assert!(!super::labels(&scenario, 1).contains("right-one"));
    // Without the right to copy, and with one that no rule lets in.
    cluster.query("alter role keeper noreplication");
    run(&scenario).status(1).says("`alter role NAME with replication`");
    cluster.query("alter role keeper replication");
    fs::write(&hba, "local replication keeper reject\nlocal all all trust\n").unwrap();
    cluster.query("select pg_reload_conf()");
    run(&scenario).status(1).says("pg_hba.conf");
    assert_eq!(artefacts(&scenario), 1);
    nothing_is_left(&scenario);
}

#[test]
fn a_server_that_comes_up_late_or_dies_meanwhile_is_tried_again() {
    let (scenario, cluster) = begin();
    let rows = cluster.rows();
    cluster.must("pg_ctl", &["-D", cluster.data.to_str().unwrap(), "-m", "fast", "-w", "stop"]);
    run(&scenario).status(1).says("start the server, or mend `host` and `port`");
    write_plan(&scenario, &cluster.place(), PATIENT);
    let running = scenario.next_day().start(["run", "p.plan"]);
    thread::sleep(Duration::from_millis(1500));
    cluster.up();
    running.answer().status(0).says("Is the server running");
    // It goes down in the midst of a copy, and is up again.
    let running = scenario.next_day().start(["run", "p.plan"]);
    wait_for("a copy", || has_copy(&scenario));
    cluster.must("pg_ctl", &["-D", cluster.data.to_str().unwrap(), "-m", "immediate", "-w", "stop"]);
    thread::sleep(Duration::from_millis(500));
    cluster.up();
    running.answer().status(0);
    nothing_is_left(&scenario);
    for number in ["1", "2"] {
        let data = restore(&scenario, number, "main");
        assert_eq!(cluster.restored(&data).rows(), rows);
    }
}

fn has_copy(scenario: &Scenario) -> bool {
    !shell(&scenario.path("staging/in"), "find . -name PG_VERSION -o -name backup_label | head -n 1")
        .is_empty()
}

#[test]
fn a_full_staging_or_store_costs_the_run_and_nothing_else() {
    let (scenario, cluster) = begin();
    let _store = Small::mount(&scenario.path("store"), "1m");
    run(&scenario).status(1).says("No space left on device");
    assert_eq!(artefacts(&scenario), 0);
    nothing_is_left(&scenario);
    shell(&scenario.path("store"), "mount -o remount,size=100m .");
    {
        let _small = Small::mount(&scenario.path("staging"), "12m");
        write_plan(&scenario, &cluster.place(), ONCE);
        run(&scenario).status(1).says("No space left on device");
        assert_eq!(artefacts(&scenario), 0);
        nothing_is_left(&scenario);
    }
    run(&scenario).status(0);
    let data = restore(&scenario, "latest", "main");
    assert_eq!(cluster.restored(&data).rows(), cluster.rows());
}

/// Whether the server is giving a copy of itself.
fn copies(cluster: &Cluster) -> bool {
    cluster.query("select count(*) from pg_stat_activity where backend_type = 'walsender'") != "0"
}

#[test]
fn a_run_that_is_killed_while_it_copies_leaves_nothing_for_long() {
    let (scenario, cluster) = begin();
    for only_parent in [true, false] {
        let running = scenario.next_day().start(["run", "p.plan"]);
        wait_for("a copy", || has_copy(&scenario));
        if only_parent {
            running.signal("KILL")
        } else {
            running.kill_group()
        }
        assert_eq!(running.answer().code, -9);
        assert_eq!(artefacts(&scenario), 0);
        // The tool may go on until it is through, in a folder that no other run looks at.
        wait_for("the end of the tool", || !copies(&cluster));
    }
    // Stopped in order, it takes its tool with it.
    let running = scenario.next_day().start(["run", "p.plan"]);
    wait_for("a copy", || has_copy(&scenario) && copies(&cluster));
    running.signal("TERM");
    assert_ne!(running.answer().code, 0);
    wait_for("the end of the tool", || !copies(&cluster));
    nothing_is_left(&scenario);
    run(&scenario).status(0);
    nothing_is_left(&scenario);
    assert_eq!(artefacts(&scenario), 1);
    let data = restore(&scenario, "latest", "main");
    assert_eq!(cluster.restored(&data).rows(), cluster.rows());
}
