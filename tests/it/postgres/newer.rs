//! A server that is newer than the installed one, and can back up what changed.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Cluster, labels, open_above, world};
use crate::scenario::{Answer, Scenario, shell};

const VERSION: &str = "17";

/// PostgreSQL of that version, in a folder of the scenario: `VERSION/bin` and what it needs. The account `postgres` must
/// get there, which is not so where the tests are built.
fn newer(scenario: &Scenario) -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools/newer-postgres");
    let hint = "run `tests/newer-postgres TARGET/tools/newer-postgres` first, as `tests/run` does";
    assert!(built.is_dir(), "`{}` is not there: {hint}", built.display());
    let own = scenario.path("newer");
    shell(Path::new("/"), &format!("cp -a --reflink=auto '{}' '{}'", built.display(), own.display()));
    // Its programs look for their libraries, and the loader of these, where they are now.
    let script = "lib=$PWD/usr/lib/$(uname -m)-linux-gnu; loader=$(ls $lib/ld-linux*.so*); for file in \
                  usr/lib/postgresql/*/bin/*; do head -c 4 $file | grep -q ELF || continue; patchelf --set-interpreter \
                  $loader --force-rpath --set-rpath $lib $file; done; chmod -R a+rX .";
    shell(&own, script);
    open_above(&own.join("x"));
    own.join("usr/lib/postgresql")
}

/// A world with a cluster of that version whose log is summarized, and the plan's program where it can be started.
fn begin(archive_command: &str) -> (Scenario, Cluster) {
    let scenario = world();
    let versions = newer(&scenario);
    let scenario = scenario.env("BACKPLAN_POSTGRES", versions.to_str().unwrap());
    let programs = versions.join(VERSION).join("bin");
    let cluster = Cluster::start_of(programs, &scenario, "pg", archive_command);
    set(&cluster, "summarize_wal", "on");
    (scenario, cluster)
}

fn set(cluster: &Cluster, name: &str, value: &str) {
    cluster.query(&format!("alter system set {name} = {value}"));
    cluster.query("select pg_reload_conf()");
}

fn write_plan(scenario: &Scenario, cluster: &Cluster, more: &str) {
    let source = format!(
        "source main: postgres {{\n  driver = basebackup\n  data_dir = \"pg/data\"\n{}}}\n",
        cluster.place()
    );
    scenario.write(
        "p.plan",
        super::plan(&source, "archive main {\n  from = [main]\n  to   = [store]\n}\n", more),
    );
}

/// By the real clock, as the log is stamped with it. Artefacts are named by the second.
fn run(scenario: &Scenario) -> Answer {
    std::thread::sleep(std::time::Duration::from_millis(1100));
    scenario.plan(["run", "p.plan"])
}

/// What writes to the cluster all the while.
struct Writer(Child);

impl Writer {
    fn start(cluster: &Cluster) -> Writer {
        let (sockets, port) = (cluster.sockets.to_str().unwrap(), cluster.port.to_string());
        let place = ["-h", sockets, "-p", &port];
        cluster.must("pgbench", &[&["-i", "-q", "-s", "2"], &place[..], &["postgres"]].concat());
        let writer = Command::new("runuser")
            .args(["-u", "postgres", "--"])
            .arg(cluster.programs.join("pgbench"))
            .args(["-n", "-T", "600", "-R", "200", "-c", "2"])
            .args(place)
            .arg("postgres")
            .current_dir("/")
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Writer(writer.unwrap())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

/// Restores a run, starts what came back, and looks into it.
fn comes_back(scenario: &Scenario, cluster: &Cluster, number: usize, rows: &str, more: &[&str]) -> Cluster {
    let (to, run) = (format!("back-{number}"), number.to_string());
    let way = ["restore", "p.plan", "--run", &run, "--source", "main", "--to", &to];
    scenario.plan(way.iter().chain(more)).status(0);
    let data = scenario.path(&to);
    assert!(!data.join(".backplan-layers").exists() && !data.join("postmaster.pid").exists());
    assert!(shell(&data, "find . -name 'INCREMENTAL.*'").is_empty());
    cluster.must("pg_verifybackup", &["--quiet", "--no-parse-wal", data.to_str().unwrap()]);
    let other = cluster.restored(&data);
    assert_eq!(other.rows(), rows, "run {number}");
    let books =
        "select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)";
    assert_eq!(other.query(books), "t");
    let (sockets, port) = (other.sockets.to_str().unwrap(), other.port.to_string());
    let check = ["--install-missing", "-h", sockets, "-p", &port, "--all"];
    other.must("pg_amcheck", &check);
    other
}

/// Label of a run, as its manifest has it.
fn label(scenario: &Scenario, number: u32, name: &str) -> Option<String> {
    let all = labels(scenario, number);
    let line = all.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")).map(str::to_owned));
    line.map(|value| value.trim_matches('\'').to_owned())
}

fn artefact_sizes(scenario: &Scenario) -> Vec<u64> {
    let sizes = shell(&scenario.path("store"), "ls -1 *.tar.gz | sort | xargs stat -c %s");
    sizes.lines().map(|size| size.parse().unwrap()).collect()
}

/// The run that a run rests on.
fn prior(scenario: &Scenario, number: u32) -> Option<u32> {
    label(scenario, number, "prior").map(|prior| prior[..8].parse().unwrap())
}

fn cycle(base: &str) -> String {
    format!("cycle {{\n  incrementals = 3\n  base = {base}\n}}\n")
}

#[test]
fn what_changed_since_the_full_comes_back_for_each_run() {
    a_cycle_comes_back("full", |_| 1, &[1, 3, 4]);
}

#[test]
fn what_changed_since_the_run_before_comes_back_for_each_run() {
    a_cycle_comes_back("previous", |number| number - 1, &[2, 4, 5]);
}

fn a_cycle_comes_back(base: &str, rests_on: fn(u32) -> u32, restored: &[usize]) {
    let (scenario, cluster) = begin("/bin/true");
    write_plan(&scenario, &cluster, &cycle(base));
    let _writer = Writer::start(&cluster);
    cluster.fill(20_000);
    let mut rows = Vec::new();
    for number in 1..=5 {
        cluster.fill(500);
        rows.push(cluster.rows());
        run(&scenario).status(0);
        let wanted = (2..=4).contains(&number).then(|| rests_on(number));
        assert_eq!(prior(&scenario, number), wanted, "run {number}");
        assert_eq!(label(&scenario, number, "type").as_deref(), wanted.map(|_| "incremental"));
    }
    let sizes = artefact_sizes(&scenario);
    assert!(sizes[1] < sizes[0] / 2, "{sizes:?}");
    assert!(shell(&scenario.path("staging"), "ls -A").is_empty(), "the staging was left clear");
    scenario.plan(["verify", "p.plan"]).status(0);
    for number in restored {
        comes_back(&scenario, &cluster, *number, &rows[number - 1], &[]);
    }
}

/// Tablespaces come and go within a cycle, retention takes what is before it, a rehearsal starts what is left.
#[test]
fn a_chain_is_kept_and_rehearsed_with_the_tablespaces_that_came_since() {
    let (scenario, cluster) = begin("/bin/true");
    write_plan(&scenario, &cluster, &format!("{}keep {{\n  last = 1\n}}\n", cycle("previous")));
    let _writer = Writer::start(&cluster);
    shell(&scenario.path("."), "install -d -o postgres -g postgres early 'la=te'");
    let space = |name: &str, folder: &str| {
        let place = scenario.path(folder);
        cluster.query(&format!("create tablespace {name} location '{}'", place.display()));
        cluster.query(&format!("create table in_{name} (n int) tablespace {name}"));
    };
    let add = |name: &str| cluster.query(&format!("insert into in_{name} select generate_series(1, 1000)"));
    space("early", "early");
    cluster.fill(5000);
    add("early");
    run(&scenario).status(0);
    space("late", "la=te");
    add("late");
    run(&scenario).status(0);
    add("early");
    add("late");
    cluster.fill(500);
    let rows = cluster.rows();
    run(&scenario).status(0);
    // All three are needed for the one that is kept.
    assert_eq!((prior(&scenario, 3), artefact_sizes(&scenario).len()), (Some(2), 3));
    let place = scenario.path("early");
    let mapping = format!("{}=spaces/ear=ly", place.display());
    let other = comes_back(&scenario, &cluster, 3, &rows, &["--tablespace", &mapping]);
    assert_eq!(
        other.query("select (select count(*) from in_early), (select count(*) from in_late)"),
        "2000|2000"
    );
    let places = other.query("select pg_tablespace_location(oid) from pg_tablespace where spcname = 'early'");
    assert!(places.ends_with("spaces/ear=ly"), "{places}");
    drop(other);
    let rehearse = ["verify", "--rehearse", "p.plan"];
    scenario.plan(rehearse).status(0).says("recover");
    assert!(shell(&scenario.path("../tmp"), "ls -A").is_empty(), "nothing is left of it");
    // Who wants all sources as files is told what one of them is.
    scenario.plan(["restore", "p.plan", "--to", "all"]).status(3).says("with `--source main`");
    // A full ends it.
    run(&scenario).status(0);
    assert_eq!(prior(&scenario, 4), Some(3));
    run(&scenario).status(0);
    assert_eq!(prior(&scenario, 5), None);
    assert_eq!(artefact_sizes(&scenario).len(), 1);
    // One artefact of a chain that is lost is told, and the next run is whole.
    run(&scenario).status(0);
    shell(&scenario.path("store"), "rm $(ls -1 *.tar.gz | head -n 1)");
    let lost = scenario.plan(["restore", "p.plan", "--source", "main", "--to", "lost"]).status(1);
    lost.says("rests on");
    assert!(!scenario.path("lost").exists());
    run(&scenario).status(3).says("taken whole");
    assert_eq!(prior(&scenario, 7), None);
}

#[test]
fn recovery_to_a_point_goes_on_from_what_changed() {
    let (scenario, cluster) = begin("/bin/true");
    // Where the server's account can start it.
    let program = scenario.path("plan");
    std::fs::copy(env!("CARGO_BIN_EXE_plan"), &program).unwrap();
    let more = format!("{}wal main {{\n  to = [store]\n}}\n", cycle("previous"));
    write_plan(&scenario, &cluster, &more);
    shell(&scenario.path("."), "chmod 755 store");
    scenario.plan(["wal", "init", "p.plan", "main"]).status(0);
    let push = format!("'{} wal push {} main %p'", program.display(), scenario.path("p.plan").display());
    set(&cluster, "archive_command", &push);
    let _writer = Writer::start(&cluster);
    cluster.fill(5000);
    run(&scenario).status(0);
    let mut marks = Vec::new();
    for _ in 0..2 {
        cluster.fill(500);
        run(&scenario).status(0);
        cluster.fill(70);
        marks.push((cluster.query("select pg_current_wal_insert_lsn()"), cluster.rows()));
        cluster.fill(7);
    }
    assert_eq!((prior(&scenario, 2), prior(&scenario, 3)), (Some(1), Some(2)));
    let segment = cluster.query("select pg_walfile_name(pg_switch_wal())");
    crate::scenario::wait_for("the log", || {
        cluster.query(&format!("select last_archived_wal >= '{segment}' from pg_stat_archiver")) == "t"
    });
    for (number, (lsn, rows)) in (2..).zip(&marks) {
        let to = format!("back-{number}");
        let way = ["restore", "p.plan", "--source", "main", "--to", &to, "--lsn", lsn, "--start"];
        let run = format!("run {number:08}");
        scenario.plan(way).status(0).says("running").says(&run);
        let (sockets, data) = (scenario.path(&format!("{to}.server")), scenario.path(&to));
        let back = Cluster { programs: cluster.programs.clone(), data, sockets, port: 5432 };
        assert_eq!(&back.rows(), rows);
    }
}

/// Whatever keeps a backup from resting on the run before, it is made all the same, and has all.
#[test]
fn what_the_server_cannot_rest_on_becomes_a_full() {
    let (scenario, cluster) = begin("/bin/true");
    write_plan(&scenario, &cluster, &cycle("previous"));
    let _writer = Writer::start(&cluster);
    cluster.fill(2000);
    run(&scenario).status(0);
    set(&cluster, "summarize_wal", "off");
    scenario.plan(["check", "--live", "p.plan"]).status(0).says("summarize_off");
    run(&scenario).status(3).says("`summarize_wal = off`");
    assert_eq!((prior(&scenario, 2), artefact_sizes(&scenario).len()), (None, 2));
    // On again, and what changed meanwhile is in no summary.
    cluster.query("select pg_switch_wal()");
    cluster.fill(500);
    cluster.query("checkpoint");
    set(&cluster, "summarize_wal", "on");
    // What is not made yet cannot be taken away.
    let summaries = cluster.data.join("pg_wal/summaries");
    crate::scenario::wait_for("a summary", || {
        std::fs::read_dir(&summaries).is_ok_and(|found| found.count() > 0)
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    shell(&summaries, "rm -f *");
    let rows = cluster.rows();
    let answer = run(&scenario);
    let whole = answer.status(3).says("is taken whole, as it cannot rest on run 00000002");
    whole.says("summar");
    assert_eq!(prior(&scenario, 3), None);
    comes_back(&scenario, &cluster, 3, &rows, &[]);
    // With what there is now, the next one can.
    run(&scenario).status(0);
    assert_eq!(prior(&scenario, 4), Some(3));
    scenario.plan(["status", "p.plan"]).status(0);
    // Another cluster in its place, as after a major upgrade by dump and load.
    drop(cluster);
    shell(&scenario.path("."), "rm -rf pg");
    let other =
        Cluster::start_of(scenario.path("newer/usr/lib/postgresql/17/bin"), &scenario, "pg", "/bin/true");
    set(&other, "summarize_wal", "on");
    other.fill(10);
    run(&scenario).status(1).says("the server is another cluster");
    let meant = scenario.plan(["run", "p.plan", "--new-cluster", "main"]);
    meant.status(3).says("is of another cluster");
    assert_eq!(prior(&scenario, 5), None);
    drop(other);
    // An older server makes none, and that is no trouble.
    shell(&scenario.path("."), "rm -rf pg");
    let older = Cluster::start(&scenario, "pg", "/bin/true");
    older.fill(10);
    let rows = older.rows();
    let meant = scenario.plan(["run", "p.plan", "--new-cluster", "main"]);
    meant.status(0).says("is taken whole: run 00000005");
    run(&scenario).status(0).says("has no incremental base backup");
    assert_eq!((prior(&scenario, 6), prior(&scenario, 7)), (None, None));
    let data = super::restore(&scenario, "7", "main");
    assert_eq!(older.restored(&data).rows(), rows);
}

/// Neither a kill while it is copied, nor one while it is put together, leaves anything that could be taken for whole.
#[test]
fn a_kill_leaves_nothing_that_starts() {
    let (scenario, cluster) = begin("/bin/true");
    write_plan(&scenario, &cluster, &cycle("previous"));
    let _writer = Writer::start(&cluster);
    cluster.fill(20_000);
    run(&scenario).status(0);
    for only_parent in [true, false] {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let running = scenario.start(["run", "p.plan"]);
        let copying =
            || !shell(&scenario.path("staging"), "find . -name 'INCREMENTAL.*' | head -n 1").is_empty();
        crate::scenario::wait_for("a copy", copying);
        if only_parent {
            running.signal("KILL")
        } else {
            running.kill_group()
        }
        assert_ne!(running.answer().code, 0);
        assert_eq!(artefact_sizes(&scenario).len(), 1);
    }
    let rows = cluster.rows();
    run(&scenario).status(0);
    assert!(shell(&scenario.path("staging"), "ls -A").is_empty(), "nothing is left of either");
    assert_eq!(artefact_sizes(&scenario).len(), 2);
    let number = shell(&scenario.path("store/.backplan/p/manifests"), "ls | tail -n 1")[..8].to_owned();
    let restoring = scenario.start(["restore", "p.plan", "--source", "main", "--to", "half"]);
    let layers = scenario.path("half/.backplan-layers");
    crate::scenario::wait_for("a layer", || layers.join("whole").exists());
    restoring.kill_group();
    restoring.answer();
    let half = scenario.path("half");
    if layers.exists() {
        assert!(std::fs::read_to_string(half.join("postmaster.pid")).unwrap().contains("not complete"));
        let started = Cluster {
            programs: cluster.programs.clone(),
            data: half,
            sockets: cluster.sockets.clone(),
            port: 6000,
        };
        shell(&scenario.path("half"), "chown -R postgres: .");
        let out = started.run("postgres", &["-D", started.data.to_str().unwrap(), "-p", "6000"]);
        assert!(!out.status.success(), "it does not start");
    }
    scenario.plan(["restore", "p.plan", "--source", "main", "--to", "half"]).status(1).says("not empty");
    comes_back(&scenario, &cluster, number.parse().unwrap(), &rows, &[]);
}

/// A backup rests on none of another version, and those of the old one come back with its programs.
#[test]
fn a_major_upgrade_begins_with_a_full_and_leaves_the_old_ones_usable() {
    let scenario = world();
    let versions = newer(&scenario);
    let scenario = scenario.env("BACKPLAN_POSTGRES", versions.to_str().unwrap());
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    write_plan(&scenario, &cluster, &cycle("previous"));
    cluster.fill(3000);
    let old_rows = cluster.rows();
    run(&scenario).status(0);
    // By dump and load: the newer one takes the old one's place.
    let data = cluster.data.to_str().unwrap().to_owned();
    cluster.must("pg_ctl", &["-D", &data, "-m", "fast", "-w", "stop"]);
    shell(&scenario.path("."), "mv pg old");
    let programs = versions.join(VERSION).join("bin");
    let upgraded = Cluster::start_of(programs, &scenario, "pg", "/bin/true");
    upgraded.fill(3000);
    set(&upgraded, "summarize_wal", "on");
    run(&scenario).status(1).says("another cluster").says("plan run --new-cluster main");
    let meant = scenario.plan(["run", "p.plan", "--new-cluster", "main"]);
    meant.status(0).says("is taken whole: run 00000001");
    upgraded.fill(300);
    let rows = upgraded.rows();
    run(&scenario).status(0);
    assert_eq!((prior(&scenario, 2), prior(&scenario, 3)), (None, Some(2)));
    let version = |number| label(&scenario, number, "server_version").unwrap();
    assert!(!version(1).starts_with("17") && version(2).starts_with("17"));
    let newest = super::restore(&scenario, "3", "main");
    assert_eq!(upgraded.restored(&newest).rows(), rows);
    let oldest = super::restore(&scenario, "1", "main");
    assert_eq!(upgraded.restored_of(cluster.programs.clone(), &oldest).rows(), old_rows);
}

#[test]
fn tools_that_are_older_than_the_server_are_told_of() {
    let (scenario, cluster) = begin("/bin/true");
    write_plan(&scenario, &cluster, &cycle("full"));
    run(&scenario).status(0);
    cluster.fill(10);
    run(&scenario).status(0);
    // As on a machine without the server's version.
    let scenario = scenario.env("BACKPLAN_POSTGRES", "/nonexistent");
    run(&scenario).status(1).says("incompatible server version");
    scenario.plan(["check", "--live", "p.plan"]).says("tool_old");
    let way = ["restore", "p.plan", "--source", "main", "--to", "back"];
    scenario.plan(way).status(1).says("`pg_combinebackup` of that version is not installed");
    assert!(!scenario.path("back").exists());
}
