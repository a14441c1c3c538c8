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

/// How a cluster is read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// It comes while it is packed.
    Streamed,
    /// It is copied first: it has a tablespace.
    Copied,
}

fn begin(way: Way) -> (Scenario, Cluster) {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    if way == Way::Copied {
        shell(&scenario.path("."), "install -d -o postgres -g postgres far");
        let place = scenario.path("far");
        cluster.query(&format!("create tablespace far location '{}'", place.display()));
    }
    cluster.fill(20_000);
    write_plan(&scenario, &cluster.place(), ONCE);
    (scenario, cluster)
}

/// Waits until a run is at it.
fn wait_for_copy(scenario: &Scenario, cluster: &Cluster, way: Way) {
    wait_for("a copy", || copies(cluster) && (way == Way::Streamed || has_copy(scenario)));
}

/// Nothing makes the server keep its log any more.
fn no_slot_is_left(cluster: &Cluster) {
    wait_for("the end of the slot", || cluster.query("select count(*) from pg_replication_slots") == "0");
}

/// The run's backup starts, and has these rows.
fn comes_back(scenario: &Scenario, cluster: &Cluster, number: &str, rows: &str) {
    let data = restore(scenario, number, "main");
    assert_eq!(cluster.restored(&data).rows(), rows, "run {number}");
    for gone in ["", ".tablespaces"] {
        let _ = fs::remove_dir_all(format!("{}{gone}", data.display()));
    }
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
    let (scenario, cluster) = begin(Way::Streamed);
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
    answer
        .says("password authentication failed")
        .says("the password is wrong")
        .says("set `password` of the source");
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
    for way in [Way::Streamed, Way::Copied] {
        let (scenario, cluster) = begin(way);
        let rows = cluster.rows();
        let down = |mode: &str| {
            cluster.must("pg_ctl", &["-D", cluster.data.to_str().unwrap(), "-m", mode, "-w", "stop"]);
        };
        down("fast");
        run(&scenario).status(1).says("start the server, or mend `host` and `port`");
        write_plan(&scenario, &cluster.place(), PATIENT);
        let running = scenario.next_day().start(["run", "p.plan"]);
        thread::sleep(Duration::from_millis(1500));
        cluster.up();
        running.answer().status(0).says("Is the server running");
        // It goes down in the midst of a copy, and is up again.
        let running = scenario.next_day().start(["run", "p.plan"]);
        wait_for_copy(&scenario, &cluster, way);
        down("immediate");
        thread::sleep(Duration::from_millis(500));
        cluster.up();
        running.answer().status(0);
        nothing_is_left(&scenario);
        no_slot_is_left(&cluster);
        assert_eq!(artefacts(&scenario), 2);
        for number in ["1", "2"] {
            comes_back(&scenario, &cluster, number, &rows);
        }
    }
}

fn has_copy(scenario: &Scenario) -> bool {
    !shell(&scenario.path("staging/in"), "find . -name PG_VERSION -o -name backup_label | head -n 1")
        .is_empty()
}

#[test]
fn a_full_staging_or_store_costs_the_run_and_nothing_else() {
    for way in [Way::Streamed, Way::Copied] {
        let (scenario, cluster) = begin(way);
        let rows = cluster.rows();
        let _store = Small::mount(&scenario.path("store"), "1m");
        run(&scenario).status(1).says("No space left on device");
        assert_eq!(artefacts(&scenario), 0);
        nothing_is_left(&scenario);
        shell(&scenario.path("store"), "mount -o remount,size=100m .");
        // A copy does not fit, and neither does the artefact of a fifth of the room.
        let small = if way == Way::Streamed { "1m" } else { "12m" };
        {
            let _small = Small::mount(&scenario.path("staging"), small);
            write_plan(&scenario, &cluster.place(), ONCE);
            run(&scenario).status(1).says("No space left on device");
            assert_eq!(artefacts(&scenario), 0);
            nothing_is_left(&scenario);
        }
        if way == Way::Streamed {
            // The cluster has more than three times that.
            let _small = Small::mount(&scenario.path("staging"), "12m");
            write_plan(&scenario, &cluster.place(), ONCE);
            run(&scenario).status(0);
        } else {
            run(&scenario).status(0);
        }
        no_slot_is_left(&cluster);
        comes_back(&scenario, &cluster, "latest", &rows);
    }
}

/// Without a staging of the plan's nothing is built on this machine; without a slot to be had, or with what waits for the
/// source, it is copied first.
#[test]
fn a_cluster_comes_right_into_the_store_and_is_copied_only_where_it_must() {
    let (scenario, cluster) = begin(Way::Streamed);
    let rows = cluster.rows();
    let direct = |more: &str| {
        let text = format!(
            "plan p\nstore store: dir {{\n  path = \"store\"\n}}\nsource main: postgres {{\n  driver = basebackup\n{}}}\n\
             source note: files {{\n  paths = [\"note\"]\n  {more}}}\narchive main {{\n  from = all\n  to   = [store]\n}}\n{ONCE}",
            cluster.place()
        );
        scenario.write("p.plan", text);
    };
    scenario.write("note", "a note");
    direct("");
    let _small = Small::mount(&scenario.path("../state"), "5m");
    run(&scenario).status(0);
    comes_back(&scenario, &cluster, "latest", &rows);
    scenario.plan(["verify", "p.plan"]).status(0);
    for label in [
        "lsn_start: ",
        "lsn_stop: ",
        "wal_start: ",
        "system_id: ",
        "timeline: '1'",
        "time_stop: ",
        "next_xid: ",
    ] {
        assert!(super::labels(&scenario, 1).contains(label), "{label}");
    }
    // A single file of it, and what it was owned by.
    scenario
        .plan([
            "restore",
            "p.plan",
            "--source",
            "main",
            "--source",
            "note",
            "--path",
            "main/PG_VERSION",
            "--to",
            "one",
        ])
        .status(0);
    assert_eq!(shell(&scenario.path("one"), "stat -c '%U %a' main/PG_VERSION"), "postgres 600\n");
    // What waits for the source waits for a copy, and here the server's account has no place for one.
    direct("after = [main]\n");
    run(&scenario).status(1).says("cannot work in");
    let live = || scenario.plan(["check", "p.plan", "--live"]);
    live().status(1).says("staging_away").says("cannot enter").says("another source waits for it");
    direct("");
    live().status(0);
    // A dump comes to a folder by several connections only.
    let text = scenario.read("p.plan");
    let dump = text.replace("driver = basebackup", "driver = dump");
    scenario.write("p.plan", &dump);
    live().status(0);
    scenario.write("p.plan", dump.replace("driver = dump", "driver = dump\n  jobs = 2"));
    live().status(1).says("staging_away").says("its dump has `jobs`");
    scenario.write("p.plan", text);
    // A tablespace: the cause is told, beside what keeps the account out.
    let space = scenario.path("space");
    shell(&scenario.path("."), "install -d -o postgres space");
    cluster.query(&format!("create tablespace side location '{}'", space.display()));
    live().status(1).says("staging_away").says("cannot enter").says("its cluster has tablespaces");
    run(&scenario).status(1).says("cannot work in").says("the cluster has a tablespace, at `$W/work/space`");
    cluster.query("drop tablespace side");
    cluster.query("alter system set max_replication_slots = 0");
    let data = cluster.data.to_str().unwrap();
    cluster.must("pg_ctl", &["-D", data, "-m", "fast", "-w", "stop"]);
    cluster.up();
    live().status(1).says("slots_full").says("cannot enter").says("its server has no replication slot left");
    let run = run(&scenario).status(1).says("is copied before it is packed").says("cannot work in");
    run.says("55000: replication slots can only be used if max_replication_slots > 0")
        .says("set `max_replication_slots`");
    // The first, and what was backed up of the note without the cluster, where it does not wait for it.
    assert_eq!(artefacts(&scenario), 3);
    // The second advice: where the account comes to a staging, the copy goes without a slot, as is said.
    write_plan(&scenario, &cluster.place(), ONCE);
    live().status(0).says("slots_full");
    scenario.next_day().plan(["run", "p.plan"]).status(0).says("is copied before it is packed");
    comes_back(&scenario, &cluster, "latest", &cluster.rows());
    // The first one.
    cluster.query("alter system reset max_replication_slots");
    cluster.must("pg_ctl", &["-D", data, "-m", "fast", "-w", "stop"]);
    cluster.up();
    assert!(!live().status(0).said().contains("slots_full"));
}

/// Whether the server is giving a copy of itself.
fn copies(cluster: &Cluster) -> bool {
    cluster.query("select count(*) from pg_stat_activity where backend_type = 'walsender'") != "0"
}

#[test]
fn a_run_that_is_killed_while_it_copies_leaves_nothing_for_long() {
    for way in [Way::Streamed, Way::Copied] {
        let (scenario, cluster) = begin(way);
        for only_parent in [true, false] {
            let running = scenario.next_day().start(["run", "p.plan"]);
            wait_for_copy(&scenario, &cluster, way);
            if only_parent {
                running.signal("KILL")
            } else {
                running.kill_group()
            }
            assert_eq!(running.answer().code, -9);
            assert_eq!(artefacts(&scenario), 0);
            // The tool may go on until it is through, in a folder that no other run looks at.
            wait_for("the end of the tool", || !copies(&cluster));
            no_slot_is_left(&cluster);
        }
        // Stopped in order, it takes its tool with it.
        let running = scenario.next_day().start(["run", "p.plan"]);
        wait_for_copy(&scenario, &cluster, way);
        running.signal("TERM");
        assert_ne!(running.answer().code, 0);
        wait_for("the end of the tool", || !copies(&cluster));
        nothing_is_left(&scenario);
        no_slot_is_left(&cluster);
        run(&scenario).status(0);
        nothing_is_left(&scenario);
        assert_eq!(artefacts(&scenario), 1);
        comes_back(&scenario, &cluster, "latest", &cluster.rows());
    }
}
