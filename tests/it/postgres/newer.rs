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

#[test]
fn what_changed_is_backed_up_and_each_run_of_the_cycle_comes_back() {
    for base in ["full", "previous"] {
        let (scenario, cluster) = begin("/bin/true");
        write_plan(&scenario, &cluster, &format!("cycle {{\n  incrementals = 3\n  base = {base}\n}}\n"));
        let _writer = Writer::start(&cluster);
        cluster.fill(20_000);
        let mut rows = Vec::new();
        for number in 1..=5 {
            cluster.fill(500);
            rows.push(cluster.rows());
            run(&scenario).status(0);
            let kind = label(&scenario, number, "type");
            let prior = label(&scenario, number, "prior").map(|prior| prior[..8].parse::<u32>().unwrap());
            let wanted = match (number, base) {
                (1 | 5, _) => None,
                (_, "full") => Some(1),
                _ => Some(number - 1),
            };
            assert_eq!(prior, wanted, "run {number}, base = {base}");
            assert_eq!(kind.as_deref(), wanted.map(|_| "incremental"));
        }
        let sizes = artefact_sizes(&scenario);
        assert!(sizes[1] < sizes[0] / 2, "{sizes:?}");
        assert!(shell(&scenario.path("staging"), "ls -A").is_empty(), "the staging was left clear");
        scenario.plan(["verify", "p.plan"]).status(0);
        for (number, rows) in (1..).zip(&rows) {
            comes_back(&scenario, &cluster, number, rows, &[]);
        }
    }
}
