//! Real PostgreSQL clusters, backed up by each driver and given back.

mod alive;
mod base_faults;
mod catalogue;
mod catalogue_apart;
mod cycles;
mod faults;
mod found;
mod identity;
mod log;
mod mishaps;
mod names;
mod newer;
mod reference;
mod rehearsal;
mod remote;
mod separate;
mod verified;
mod withheld;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::fresh;
use crate::scenario::{Answer, Scenario, shell};

/// A cluster of the account `postgres`, on a socket of its own. Stopped when it goes.
struct Cluster {
    programs: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    port: u16,
}

impl Cluster {
    /// A new cluster below the scenario's folder that archives its WAL with this command; it runs.
    fn start(scenario: &Scenario, name: &str, archive_command: &str) -> Cluster {
        Cluster::start_of(installed(), scenario, name, archive_command)
    }

    /// The same of another version, by the folder of its programs.
    fn start_of(programs: PathBuf, scenario: &Scenario, name: &str, archive_command: &str) -> Cluster {
        let home = scenario.path(name);
        fs::create_dir(&home).unwrap();
        open_above(&home);
        shell(&home, "mkdir sock && chown -R postgres: .");
        let mut cluster = Cluster::at(&home, 5432);
        cluster.programs = programs;
        fresh::data_directory(&cluster.programs, &cluster.data, || {
            let data = cluster.data.to_str().unwrap();
            cluster.must("initdb", &["-D", data, "-A", "trust", "--data-checksums", "-N"]);
        });
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\narchive_mode = on\n\
             archive_command = '{archive_command}'\nmax_wal_size = 128MB\n",
            cluster.sockets.display()
        );
        fs::write(cluster.data.join("postgresql.auto.conf"), settings).unwrap();
        cluster.up();
        cluster
    }

    /// The cluster that may be in a folder's `data`, not started.
    fn at(home: &Path, port: u16) -> Cluster {
        Cluster { programs: installed(), data: home.join("data"), sockets: home.join("sock"), port }
    }

    /// A cluster in a restored data directory, started beside its original.
    fn restored(&self, data: &Path) -> Cluster {
        self.restored_of(self.programs.clone(), data)
    }

    /// The same with programs of another version.
    fn restored_of(&self, programs: PathBuf, data: &Path) -> Cluster {
        let cluster = Cluster {
            programs,
            data: data.to_path_buf(),
            sockets: self.sockets.clone(),
            port: self.port + 1,
        };
        open_above(data);
        cluster.up();
        cluster
    }

    fn up(&self) {
        let options = format!("-p {} -c unix_socket_directories={}", self.port, self.sockets.display());
        let log = self.sockets.join(format!("log.{}", self.port));
        let (data, log) = (self.data.to_str().unwrap(), log.to_str().unwrap());
        self.must("pg_ctl", &["-D", data, "-w", "-t", "60", "-l", log, "-o", &options, "start"]);
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new("runuser")
            .args(["-u", "postgres", "--"])
            .arg(self.programs.join(program))
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn must(&self, program: &str, arguments: &[&str]) -> String {
        // A server that goes on must not hold a pipe of this test open: only what says something is listened to.
        let out = match program {
            "pg_ctl" => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(self.programs.join(program)).args(arguments);
                command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                Output { status: command.status().unwrap(), stdout: Vec::new(), stderr: Vec::new() }
            }
            _ => self.run(program, arguments),
        };
        let log = fs::read_to_string(self.sockets.join(format!("log.{}", self.port))).unwrap_or_default();
        assert!(out.status.success(), "{program}: {}\n{log}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    #[track_caller]
    fn query(&self, sql: &str) -> String {
        let (sockets, port) = (self.sockets.to_str().unwrap(), self.port.to_string());
        self.must("psql", &["-h", sockets, "-p", &port, "-d", "postgres", "-XAtc", sql]).trim().to_owned()
    }

    /// Rows of pgbench's tables, and more of them with each call.
    fn fill(&self, rows: u32) {
        self.query(&format!(
            "create table if not exists t (n int primary key, filler text); \
             insert into t select (select count(*) from t) + g, repeat(md5(g::text), 8) from generate_series(1, {rows}) g"
        ));
    }

    /// What makes the table what it is.
    fn rows(&self) -> String {
        self.query("select count(*), coalesce(md5(string_agg(n || filler, ',' order by n)), '') from t")
    }

    /// The attributes that lead a source here.
    fn place(&self) -> String {
        format!(
            "  host   = \"{}\"\n  port   = {}\n  run_as = \"postgres\"\n",
            self.sockets.display(),
            self.port
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.run("pg_ctl", &["-D", self.data.to_str().unwrap(), "-m", "immediate", "-w", "stop"]);
    }
}

/// The programs of the newest server that is installed.
fn installed() -> PathBuf {
    let newest = shell(Path::new("/usr/lib/postgresql"), "ls | sort -n | tail -n 1");
    Path::new("/usr/lib/postgresql").join(newest.trim()).join("bin")
}

/// The server's account must be able to come here: temporary folders are private.
fn open_above(path: &Path) {
    for above in path.ancestors().skip(1).take_while(|above| *above != Path::new("/tmp")) {
        shell(Path::new("/"), &format!("chmod a+x '{}'", above.display()));
    }
}

fn plan(sources: &str, archives: &str, more: &str) -> String {
    format!(
        "plan p\nstore store: dir {{\n  path = \"store\"\n}}\nstaging {{\n  path = \"staging\"\n}}\n{sources}\n{archives}\n{more}\n\
         retry {{\n  attempts = 1\n}}\n"
    )
}

fn world() -> Scenario {
    // How hard pgBackRest compresses is its own matter, and by default most of its time.
    let scenario = Scenario::new().env("PGBACKREST_COMPRESS_LEVEL", "1");
    fs::create_dir(scenario.path("store")).unwrap();
    fs::create_dir(scenario.path("staging")).unwrap();
    open_above(&scenario.path("staging/x"));
    scenario
}

/// A plan `p` with a cluster that pgBackRest reads, its repository packed.
fn included(cluster: &Cluster, stanza: &str) -> String {
    let source = format!(
        "source db: postgres {{\n  driver = pgbackrest\n  stanza = \"{stanza}\"\n  staging = \"pg/repository\"\n{}}}",
        cluster.place()
    );
    let archive = "archive main {\n  from = [db]\n  to   = [store]\n}";
    plan(&source, archive, "cycle {\n  incrementals = 9\n}")
}

fn run(scenario: &Scenario) -> Answer {
    scenario.next_day().plan(["run", "p.plan"])
}

fn restore(scenario: &Scenario, number: &str, source: &str) -> PathBuf {
    let to = format!("restored-{source}-{number}");
    scenario.plan(["restore", "p.plan", "--run", number, "--source", source, "--to", &to]).status(0);
    scenario.path(&to)
}

fn labels(scenario: &Scenario, number: u32) -> String {
    shell(
        &scenario.path("store"),
        &format!("sed -n '/^sources:/,/^archives:/p' .backplan/p/manifests/{number:08}-*"),
    )
}

#[test]
fn a_base_backup_that_was_made_while_others_wrote_starts_with_its_rows() {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    cluster.fill(20_000);
    let source = format!("source main: postgres {{\n  driver = basebackup\n{}}}\n", cluster.place());
    let archive = "archive main {\n  from = [main]\n  to   = [store]\n}\n";
    scenario.write("p.plan", plan(&source, archive, "cycle {\n  incrementals = 3\n}\n"));
    let (sockets, port) = (cluster.sockets.to_str().unwrap(), cluster.port.to_string());
    cluster.must("pgbench", &["-i", "-q", "-s", "1", "-h", sockets, "-p", &port, "postgres"]);
    let mut writer = Command::new("runuser")
        .args(["-u", "postgres", "--"])
        .arg(cluster.programs.join("pgbench"))
        .args(["-n", "-T", "60", "-c", "2", "-h", sockets, "-p", &port, "postgres"])
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    run(&scenario).status(0);
    let before = cluster.rows();
    cluster.fill(1000);
    run(&scenario).status(0);
    writer.kill().unwrap();
    writer.wait().unwrap();
    let now = cluster.rows();
    assert!(shell(&scenario.path("staging"), "ls -A").is_empty(), "the staging was left clear");
    let manifest = labels(&scenario, 2);
    for label in ["lsn_start: ", "lsn_stop: ", "wal_start: ", "system_id: ", "timeline: '1'"] {
        assert!(manifest.contains(label), "{label}: {manifest}");
    }
    for (number, rows) in [("1", before), ("2", now)] {
        let data = restore(&scenario, number, "main");
        let other = cluster.restored(&data);
        assert_eq!(other.rows(), rows);
        // What pgbench wrote is whole: its books agree.
        let sums = "select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)";
        assert_eq!(other.query(sums), "t");
        other.query("create extension amcheck; select bt_index_check('t_pkey', true)");
    }
}

#[test]
fn dumps_of_one_database_and_of_all_load_again() {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    cluster.fill(500);
    cluster.query("create role clerk");
    cluster.query("create database \"a/b\"");
    let place = cluster.place();
    let sources = format!(
        "source all: postgres {{\n  driver = dump\n{place}}}\nsource one: postgres {{\n  driver = dump\n  \
         database = \"postgres\"\n  jobs = 2\n{place}}}\n"
    );
    let archive = "archive main {\n  from = all\n  to   = [store]\n}\n";
    scenario.write("p.plan", plan(&sources, archive, ""));
    run(&scenario).status(0);
    let (all, one) = (restore(&scenario, "latest", "all"), restore(&scenario, "latest", "one"));
    assert!(fs::read_to_string(all.join("globals.sql")).unwrap().contains("CREATE ROLE clerk"));
    assert!(all.join("a%2Fb.dump").is_file());
    open_above(&all.join("x"));
    shell(&scenario.path("."), "chown -R postgres: restored-*");
    let rows = cluster.rows();
    let (sockets, port) = (cluster.sockets.to_str().unwrap(), cluster.port.to_string());
    for dump in [all.join("postgres.dump"), one.join("postgres")] {
        cluster.query("drop table t");
        let dump = dump.to_str().unwrap();
        cluster.must("pg_restore", &["-h", sockets, "-p", &port, "-d", "postgres", dump]);
        assert_eq!(cluster.rows(), rows);
    }
}

/// A cycle of five with the repository included: the fulls and differentials of pgBackRest follow those of the plan, the
/// repository goes on between runs, and what is older than the cycle goes after the next full.
#[test]
fn a_repository_that_is_packed_restores_each_run_of_its_cycle() {
    let scenario = world();
    let repository = scenario.path("pg/repository");
    let config = repository.join("pgbackrest.conf");
    let archive = format!("pgbackrest --config={} --stanza=db archive-push %p", config.display());
    let cluster = Cluster::start(&scenario, "pg", &archive);
    let source = format!(
        "source db: postgres {{\n  driver  = pgbackrest\n  stanza  = \"db\"\n  staging = \"pg/repository\"\n{}}}\n",
        cluster.place()
    );
    let archive = "archive main {\n  from = [db]\n  to   = [store]\n}\n";
    scenario.write("p.plan", plan(&source, archive, "cycle {\n  incrementals = 2\n}\n"));
    let mut rows = Vec::new();
    for number in 1..=4 {
        cluster.fill(2000);
        rows.push(cluster.rows());
        run(&scenario).status(0);
        let wanted = if number % 3 == 1 { "full" } else { "diff" };
        let manifest = labels(&scenario, number);
        assert!(manifest.contains(&format!("type: {wanted}\n")), "run {number}: {manifest}");
        assert!(repository.join("backup/db").is_dir(), "the repository stays");
    }
    // The second full has ended the first cycle.
    let left = shell(&repository.join("backup/db"), "ls -d 2*");
    assert_eq!(left.lines().count(), 1, "{left}");
    for (number, rows) in ["1", "2", "3", "4"].into_iter().zip(rows) {
        let restored = restore(&scenario, number, "db");
        open_above(&restored.join("x"));
        let data = scenario.path(&format!("data-{number}"));
        shell(&scenario.path("."), &format!("install -d -o postgres -g postgres -m 700 data-{number}"));
        let from = format!("--repo1-path={}", restored.display());
        let to = format!("--pg1-path={}", data.display());
        let out = Command::new("runuser")
            .args(["-u", "postgres", "--", "pgbackrest", "--stanza=db", "--config=/dev/null", &from, &to])
            .args([
                "--type=immediate",
                "--target-action=promote",
                "--archive-mode=off",
                "--log-level-file=off",
                "restore",
            ])
            .current_dir("/")
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        let other = cluster.restored(&data);
        let recovered = || other.query("select pg_is_in_recovery()") == "f";
        assert!((0..100).any(|_| recovered() || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            false
        }));
        assert_eq!(other.rows(), rows, "run {number}");
    }
}

#[test]
fn what_keeps_a_database_from_being_read_is_told_with_its_mend() {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    cluster.fill(10);
    cluster.query("create role plain login");
    let place = cluster.place();
    let archive = "archive main {\n  from = all\n  to   = [store]\n}\n";
    let attempt = |driver: &str, place: &str| {
        let source = format!("source main: postgres {{\n  driver = {driver}\n{place}}}\n");
        scenario.write("p.plan", plan(&source, archive, ""));
        let answer = run(&scenario);
        assert!(shell(&scenario.path("store"), "ls").is_empty(), "nothing was kept");
        assert!(shell(&scenario.path("staging"), "ls -A").is_empty(), "the staging was left clear");
        answer
    };
    let nowhere = place.replace("port   = 5432", "port   = 5999");
    for driver in ["basebackup", "dump"] {
        attempt(driver, &nowhere).status(1).says("start the server, or mend `host` and `port`");
    }
    let plain = format!("{place}  user   = \"plain\"\n");
    attempt("basebackup", &plain).status(1).says("with replication");
    attempt("dump", &plain).status(1).says("permission denied");
    let nobody = place.replace("\"postgres\"", "\"nobody_at_all\"");
    attempt("basebackup", &nobody).status(1);
}

/// A repository of another cluster is not written to.
#[test]
fn a_stanza_of_another_cluster_is_refused() {
    let scenario = world();
    let config = scenario.path("pg/repository/pgbackrest.conf");
    let push = format!("pgbackrest --config={} --stanza=foreign archive-push %p", config.display());
    let archive = "archive main {\n  from = [db]\n  to   = [store]\n}\n";
    let source = |cluster: &Cluster| {
        format!(
            "source db: postgres {{\n  driver  = pgbackrest\n  stanza  = \"foreign\"\n  staging = \"pg/repository\"\n{}}}\n",
            cluster.place()
        )
    };
    let cluster = Cluster::start(&scenario, "pg", &push);
    scenario.write("p.plan", plan(&source(&cluster), archive, ""));
    run(&scenario).status(0);
    let other = Cluster::start(&scenario, "other", "/bin/true");
    scenario.write("p.plan", plan(&source(&other), archive, ""));
    run(&scenario).status(1).says("belongs to another cluster");
    assert_eq!(shell(&scenario.path("store"), "ls *.tar.gz | wc -l").trim(), "1");
}

/// pg_probackup is in no registry. What is held here is every command line that it is given, in their order, and what becomes of
/// its catalogue; a script that keeps a catalogue of its own answers in its place.
const PROBACKUP: &str = r#"#!/bin/sh
echo "$@" >> "$(dirname "$0")/log"
command=$1; shift
for word in "$@"; do case $word in
  --backup-path=*) path=${word#*=} ;; --instance=*) instance=${word#*=} ;;
  --backup-mode=*) mode=${word#*=} ;; --backup-id=*) id=${word#*=} ;;
esac; done
list() { for f in "$path/backups/$instance"/*; do [ -f "$f" ] && cat "$f"; done; }
case $command in
  init) mkdir "$path/backups" "$path/wal" ;;
  add-instance) mkdir "$path/backups/$instance" "$path/wal/$instance" ;;
  backup)
    [ -e "$(dirname "$0")/fail" ] && { echo "{\"id\":\"SAAAA0\",\"backup-mode\":\"$mode\",\"status\":\"RUNNING\"}" > "$path/backups/$instance/SAAAA0"; echo 'ERROR: no space left' >&2; exit 1; }
    n=$(ls "$path/backups/$instance" | wc -l)
    echo "{\"id\":\"SAAAA$((n + 1))\",\"backup-mode\":\"$mode\",\"status\":\"OK\",\"start-lsn\":\"0/2000028\"}" > "$path/backups/$instance/SAAAA$((n + 1))" ;;
  show) printf '[{"instance":"%s","backups":[%s]}]' "$(ls "$path/backups")" "$(instance=$(ls "$path/backups") ; list | paste -sd,)" ;;
  delete)
    [ -z "$id" ] || { rm "$path/backups/$instance/$id"; exit; }
    for f in $(ls "$path/backups/$instance" | sed '$d'); do rm "$path/backups/$instance/$f"; done ;;
esac
"#;

fn probackup(cycle: &str) -> Scenario {
    let scenario = world();
    let place = scenario.path("bin");
    let scenario = scenario
        .env("PATH", &format!("{}:/usr/bin:/bin", place.display()))
        .file("bin/pg_probackup", PROBACKUP);
    shell(&place, "chmod +x pg_probackup");
    let source = "source rosemeta: postgres {\n  driver   = probackup\n  data_dir = \"data\"\n  staging  = \"pgbackup\"\n  \
                  host     = \"/run\"\n  jobs     = 2\n  database = \"x=y\"\n}\n";
    let archive = "archive main {\n  from = [rosemeta]\n  to   = [store]\n}\n";
    scenario.write("p.plan", plan(source, archive, cycle));
    scenario
}

#[test]
fn probackup_is_given_these_commands_and_its_catalogue_stays_while_there_are_incrementals() {
    let scenario = probackup("cycle {\n  incrementals = 2\n  base         = previous\n}\n");
    for _ in 0..2 {
        run(&scenario).status(0);
        assert!(scenario.path("pgbackup/backups/rosemeta").is_dir());
    }
    // An attempt that fails leaves a backup behind, and the next run takes it away by its id.
    scenario.write("bin/fail", "");
    run(&scenario).status(1).says("no space left");
    shell(&scenario.path("bin"), "rm fail; : > log");
    run(&scenario).status(3).says("`SAAAA0` (RUNNING) was removed");
    let said = scenario.read("bin/log").replace(scenario.path("").to_str().unwrap(), "");
    let wanted = [
        "show --backup-path=pgbackup --format=json",
        "delete --backup-path=pgbackup --instance=rosemeta --backup-id=SAAAA0",
        "backup --backup-path=pgbackup --instance=rosemeta --backup-mode=DELTA --stream --temp-slot \
         --compress-algorithm=zlib --no-password --threads=2 --pghost=/run --pgdatabase=dbname='x=y'",
        "show --backup-path=pgbackup --format=json",
        "validate --backup-path=pgbackup --instance=rosemeta --backup-id=SAAAA3",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
    assert!(labels(&scenario, 3).contains("type: DELTA"));
    // What changed is looked for as the plan says.
    let text = scenario.read("p.plan");
    for mode in ["page", "ptrack"] {
        let set = format!("driver = probackup\n  backup_mode = {mode}\n");
        scenario.write("p.plan", text.replace("driver   = probackup\n", &set));
        shell(&scenario.path("bin"), ": > log");
        scenario.next_day().plan(["run", "p.plan", "--level", "incremental"]).status(0);
        assert!(scenario.read("bin/log").contains(&format!("--backup-mode={} ", mode.to_uppercase())));
    }
    // The next full ends the cycle before it.
    shell(&scenario.path("bin"), ": > log");
    scenario.next_day().plan(["run", "p.plan", "--level", "full"]).status(0);
    assert!(
        scenario
            .read("bin/log")
            .lines()
            .last()
            .unwrap()
            .contains("--delete-expired --delete-wal --retention-redundancy=1")
    );
    // And its artefact holds none of it.
    let newest = crate::scenario::artefacts(&scenario.path("store")).pop().unwrap();
    let held =
        shell(&scenario.path("."), &format!("tar tzf '{}' | grep -c backups/rosemeta/S", newest.display()));
    assert_eq!(held.trim(), "1");
}

#[test]
fn a_catalogue_without_incrementals_goes_after_each_run_unless_something_else_is_in_it() {
    let scenario = probackup("");
    run(&scenario).status(0);
    assert!(!scenario.path("pgbackup").exists());
    let log = scenario.read("bin/log").replace(scenario.path("").to_str().unwrap(), "");
    assert!(log.starts_with("init --backup-path=pgbackup\nadd-instance --backup-path=pgbackup --instance=rosemeta --pgdata=data\n"), "{log}");
    let back = restore(&scenario, "latest", "rosemeta");
    assert!(back.join("backups/rosemeta/SAAAA1").is_file());
    shell(&scenario.path(""), "mkdir pgbackup && echo precious > pgbackup/notes");
    run(&scenario).status(3).says("`notes`, which is not pg_probackup's");
    assert_eq!(scenario.read("pgbackup/notes"), "precious\n");
}
