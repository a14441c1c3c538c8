//! A real cluster, read with `pg_basebackup` and `pg_dump` while others write to it, and given back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::fresh;
use crate::scenario::{Scenario, plan, shell, wait_for};

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A cluster in `pg`, with its socket in `sock`; stopped at the end.
pub struct Cluster {
    pub scenario: Scenario,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for data in ["pg", "back"] {
            if self.scenario.path(data).join("postmaster.pid").exists() {
                self.sh(&format!("pg_ctl -s -D {data} -m immediate stop || true"));
            }
        }
    }
}

pub fn is_root() -> bool {
    shell(Path::new("/"), "id -u").trim() == "0"
}

impl Cluster {
    pub fn new() -> Cluster {
        let scenario = Scenario::new();
        for folder in ["..", "."] {
            fs::set_permissions(scenario.path(folder), fs::Permissions::from_mode(0o1777)).unwrap();
        }
        let cluster = Cluster { scenario };
        cluster.sh("mkdir sock ts");
        fresh::data_directory(Path::new(PROGRAMS), &cluster.scenario.path("pg"), || {
            cluster.sh("initdb -D pg -A trust -N -U postgres --data-checksums >/dev/null");
        });
        let conf = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\n",
            cluster.scenario.path("sock").display()
        );
        fs::write(cluster.scenario.path("pg/postgresql.conf"), conf).unwrap();
        cluster.sh("pg_ctl -w -s -D pg -l log start");
        cluster.sql(&format!("CREATE TABLESPACE fast LOCATION '{}'", cluster.scenario.path("ts").display()));
        cluster.sql("CREATE TABLE far (n int) TABLESPACE fast");
        cluster.sql("INSERT INTO far SELECT generate_series(1, 77)");
        cluster.sh("pgbench -q -i -s 1 -h $PWD/sock -U postgres postgres 2>/dev/null");
        fs::create_dir(cluster.scenario.path("staging")).unwrap();
        fs::set_permissions(cluster.scenario.path("staging"), fs::Permissions::from_mode(0o711)).unwrap();
        cluster
    }

    /// Runs a script as the cluster's account.
    pub fn sh(&self, script: &str) -> String {
        let script = format!("export PATH={PROGRAMS}:$PATH\n{script}");
        fs::write(self.scenario.path("script"), script).unwrap();
        let account = if is_root() { "runuser -u postgres -- " } else { "" };
        shell(&self.scenario.path("."), &format!("{account}sh -e script"))
    }

    pub fn sql(&self, sql: &str) -> String {
        self.sh(&format!("psql -X -At -h $PWD/sock -U postgres -d postgres -c \"{sql}\"")).trim().to_owned()
    }

    /// Asks the restored one.
    pub fn back(&self, sql: &str) -> String {
        let command = format!("psql -X -At -h $PWD/back.server -U postgres -d postgres -c \"{sql}\"");
        self.sh(&command).trim().to_owned()
    }

    fn plan(&self, driver: &str, more: &str) {
        let run_as = if is_root() { "run_as = \"postgres\"" } else { "" };
        let text = format!(
            "staging {{\n  path = \"staging\"\n}}\n\nsource main: postgres {{\n  driver = {driver}\n  host = \"{}\"\n  \
             {run_as}\n  {more}\n}}\n\narchive a {{\n  from = [main]\n  to = [store]\n}}",
            self.scenario.path("sock").display()
        );
        self.scenario.write("p.plan", plan(&text));
    }

    pub fn restore(&self, more: &[&str]) -> crate::scenario::Answer {
        let fixed = ["restore", "--source", "main", "--to", "back"];
        self.scenario.plan(fixed.iter().chain(more))
    }
}

#[test]
fn a_cluster_that_is_written_to_is_copied_and_comes_back_whole() {
    let cluster = Cluster::new();
    cluster.plan("basebackup", "user = \"postgres\"");
    cluster.sh("(pgbench -n -T 60 -h $PWD/sock -U postgres postgres >/dev/null 2>&1 & echo $! > writer)");
    wait_for("rows", || cluster.sql("SELECT count(*) > 100 FROM pgbench_history") == "t");
    let before: u32 = cluster.sql("SELECT count(*) FROM pgbench_history").parse().unwrap();
    cluster.scenario.plan(["run"]).status(0);
    let after: u32 = cluster.sql("SELECT count(*) FROM pgbench_history").parse().unwrap();
    cluster.sh("kill $(cat writer)");
    // The copy in the staging is gone, and the run's labels tell where it can begin.
    assert_eq!(fs::read_dir(cluster.scenario.path("staging")).unwrap().count(), 0);
    cluster.restore(&["--dry-run"]).status(0).says("nothing was written").says("the end of its backup alone");
    assert!(!cluster.scenario.path("back").exists());
    cluster.restore(&["--start"]).status(0).says("running");
    let rows: u32 = cluster.back("SELECT count(*) FROM pgbench_history").parse().unwrap();
    assert!((before..=after).contains(&rows), "{before} <= {rows} <= {after}");
    let sums =
        "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)";
    assert_eq!(cluster.back(sums), "t");
    assert_eq!(cluster.back("SELECT count(*) FROM far"), "77");
    assert_eq!(cluster.back("SHOW archive_mode"), "off");
    let places = cluster.back("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'");
    assert!(places.contains("back.tablespaces"), "{places}");
    cluster.sh("pg_amcheck --install-missing -h $PWD/back.server -U postgres --all");
    // Neither a running server nor what it leaves is written over.
    cluster.restore(&[]).status(1).says("runs in `back`");
    cluster.sh("pg_ctl -s -D back -m fast stop; pg_checksums -D back --check >/dev/null");
    cluster.restore(&[]).status(1).says("not empty");
    goes_on_where_it_was(&cluster, &rows.to_string());
}

/// A cluster is asked by the superusers that it had then, whatever a plan calls them today, or none does.
#[test]
fn a_cluster_is_started_whose_superuser_is_called_otherwise() {
    let cluster = Cluster::new();
    cluster.sql("CREATE ROLE app SUPERUSER LOGIN");
    let by_app = |sql: &str| {
        cluster.sh(&format!("psql -X -At -h $PWD/sock -U app -d postgres -c \"{sql}\""));
    };
    by_app("ALTER ROLE postgres RENAME TO \\\"the owner\\\"");
    by_app("REVOKE CONNECT ON DATABASE template1 FROM public");
    cluster.plan("basebackup", "user = \"app\"");
    cluster.scenario.plan(["run"]).status(0);
    let restore = |how: &[&str]| {
        let words = ["restore", "--source", "main", "--to", "back", "--start", "--patience", "90"];
        cluster.scenario.plan(words.iter().chain(how)).status(0).says("running");
        let rows = "psql -X -At -h $PWD/back.server -U app -d postgres -c 'SELECT count(*) FROM far'";
        assert_eq!(cluster.sh(rows).trim(), "77");
        cluster.sh("pg_ctl -s -D back -m fast stop");
        shell(&cluster.scenario.path("."), "rm -r back back.*");
    };
    restore(&["--store", "store"]);
    // One that was made later.
    cluster.plan("basebackup", "user = \"made_later\"");
    restore(&[]);
}

/// A restore that was cut short keeps a server from starting, and goes on with what is there, its tablespaces too.
fn goes_on_where_it_was(cluster: &Cluster, rows: &str) {
    let root = cluster.scenario.path(".");
    shell(&root, "rm -r back back.*");
    cluster.restore(&[]).status(0);
    let resume =
        |more: &[&str]| cluster.scenario.plan(["restore", "--to", "back", "--resume"].iter().chain(more));
    resume(&[]).status(1).says("is not what a restore left");
    let run = shell(&root, "ls store/.backplan/p/manifests").trim().replace(".yaml", "");
    fs::write(
        cluster.scenario.path("back/.backplan-restore-unfinished"),
        format!("{{\"run\":\"{run}\",\"sources\":[\"main\"],\"paths\":[]}}"),
    )
    .unwrap();
    shell(
        &root,
        "echo 'not complete: plan restore was still at work' > back/postmaster.pid; rm -r back/pg_wal back/base/1 back/backup_label; \
         truncate -s 8192 $(find back/base -size +1000k | head -1); find back.tablespaces -type f -size +0 -delete",
    );
    cluster.restore(&[]).status(1).says("`--resume` goes on with it");
    resume(&["--start"]).status(0).says("running");
    assert_eq!(cluster.back("SELECT count(*) FROM pgbench_history"), rows);
    assert_eq!(cluster.back("SELECT count(*) FROM far"), "77");
    assert!(!cluster.scenario.path("back/.backplan-restore-unfinished").exists());
    cluster.sh("pg_ctl -s -D back -m fast stop; pg_checksums -D back --check >/dev/null");
}

#[test]
fn what_cannot_be_had_is_refused_before_anything_is_written() {
    let cluster = Cluster::new();
    cluster.plan("basebackup", "user = \"postgres\"");
    for way in [&["--start"][..], &["--at", "latest"], &["--before", "2026-01-01"]] {
        cluster.restore(way).status(1).says("none of the plan's stores can be read");
    }
    cluster.scenario.plan(["run"]).status(0);
    // Another restore has begun there, and has laid down nothing yet.
    let root = cluster.scenario.path(".");
    shell(&root, "mkdir back");
    let other = cluster
        .scenario
        .plan_by(&["flock", "back"], ["restore", "--source", "main", "--to", "back", "--start"]);
    other.status(4).stderr_has("another restore is at work in `back`");
    shell(&root, "rmdir back");
    let other = ["restore", "--source", "maim", "--to", "back", "--start"];
    cluster.scenario.plan(other).status(1).says("there is no run that holds source `maim`");
    cluster.restore(&["--at", "2001-01-01"]).status(1).says("no `wal` block").says("it can be recovered to");
    cluster.restore(&["--lsn", "0/zz"]).status(2).says("is not an LSN");
    cluster.restore(&["--target-action", "pause"]).status(2).says("needs a target");
    cluster.restore(&["--tablespace", "/nowhere=x"]).status(1).says("has no tablespace at `/nowhere`");
    cluster.restore(&["--path", "main/data"]).status(2).says("comes back whole");
    assert!(!cluster.scenario.path("back").exists());
    // A tablespace goes where it is told to; nothing is started, and nothing goes on recovering.
    let mapping = format!("{}=spaces/fast", cluster.scenario.path("ts").display());
    cluster.restore(&["--tablespace", &mapping]).status(0);
    assert!(cluster.scenario.path("spaces/fast").read_dir().unwrap().count() > 0);
    assert!(!cluster.scenario.path("back/postmaster.pid").exists());
    let mode = fs::metadata(cluster.scenario.path("back")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_role_without_rights_and_a_server_that_is_down_are_told_in_words() {
    let cluster = Cluster::new();
    cluster.sql("CREATE ROLE poor LOGIN");
    cluster.plan("basebackup", "user = \"poor\"");
    let answer = cluster.scenario.plan(["run"]).status(1);
    answer.says("with replication");
    assert_eq!(fs::read_dir(cluster.scenario.path("staging")).unwrap().count(), 0);
    cluster.plan("dump", "user = \"poor\"");
    cluster.scenario.next_day().plan(["run"]).status(1).says("permission denied");
    cluster.sh("pg_ctl -s -D pg -m fast stop");
    for driver in ["basebackup", "dump"] {
        cluster.plan(driver, "user = \"postgres\"");
        cluster.scenario.next_day().plan(["run"]).status(1).says("Is the server running");
    }
    assert_eq!(fs::read_dir(cluster.scenario.path("staging")).unwrap().count(), 0);
}
