//! What goes wrong around pgBackRest while a run is at it, and what the run, or the next one, makes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cluster, open_above, restore, run, world};
use crate::scenario::{Scenario, shell};

const PATIENT: &str = "retry {\n  attempts = 6\n  backoff  = 1s..2s\n}\n";
const IMPATIENT: &str = "retry {\n  attempts = 1\n}\n";

/// A cluster that pushes its WAL into the repository of the plan, as long as there is no file `hold` beside its data. The
/// stanza has a name of its own: pgBackRest's locks are the machine's.
fn archiving(scenario: &Scenario, stanza: &str) -> Cluster {
    let config = scenario.path("pg/repository/pgbackrest.conf");
    let hold = scenario.path("pg/hold");
    let push = format!(
        "test ! -e {} && pgbackrest --config={} --stanza={stanza} archive-push %p",
        hold.display(),
        config.display()
    );
    let cluster = Cluster::start(scenario, "pg", &push);
    write_plan(scenario, &cluster, stanza, IMPATIENT);
    cluster
}

fn write_plan(scenario: &Scenario, cluster: &Cluster, stanza: &str, retry: &str) {
    let text = format!(
        "plan p\nstore store: dir {{\n  path = \"store\"\n}}\nstaging {{\n  path = \"staging\"\n}}\n\
         source db: postgres {{\n  driver  = pgbackrest\n  stanza  = \"{stanza}\"\n  staging = \"pg/repository\"\n{}}}\n\
         archive main {{\n  from = [db]\n  to   = [store]\n}}\ncycle {{\n  incrementals = 4\n}}\n{retry}",
        cluster.place()
    );
    scenario.write("p.plan", text);
}

/// The rows that pgBackRest itself gives back from the repository of a run.
fn rows_of(scenario: &Scenario, cluster: &Cluster, stanza: &str, number: &str) -> String {
    let repository = restore(scenario, number, "db");
    rows_in(scenario, cluster, stanza, &repository)
}

/// The rows that pgBackRest gives back from a repository that was restored.
pub(super) fn rows_in(scenario: &Scenario, cluster: &Cluster, stanza: &str, repository: &Path) -> String {
    open_above(&repository.join("x"));
    let data = scenario.path("data");
    shell(&scenario.path("."), "rm -rf data; install -d -o postgres -g postgres -m 700 data");
    let options = format!(
        "--stanza={stanza} --config=/dev/null --repo1-path={} --pg1-path={} --type=immediate --target-action=promote \
         --archive-mode=off --log-level-file=off",
        repository.display(),
        data.display()
    );
    shell(Path::new("/"), &format!("runuser -u postgres -- pgbackrest {options} restore"));
    let other = cluster.restored(&data);
    until("the end of the recovery", || other.query("select pg_is_in_recovery()") == "f");
    other.rows()
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Artefacts in the store.
fn artefacts(scenario: &Scenario) -> String {
    shell(&scenario.path("store"), "ls | grep -c 'tar.gz$' || true").trim().to_owned()
}

#[test]
fn a_server_that_comes_up_late_is_waited_for_as_retry_says() {
    let scenario = world();
    let cluster = archiving(&scenario, "backplan_late");
    cluster.fill(1000);
    let rows = cluster.rows();
    cluster.must("pg_ctl", &["-D", cluster.data.to_str().unwrap(), "-m", "fast", "-w", "stop"]);
    run(&scenario).status(1).says("start the server, or mend `host` and `port`");
    assert_eq!(artefacts(&scenario), "0");
    write_plan(&scenario, &cluster, "backplan_late", PATIENT);
    let running = scenario.next_day().start(["run", "p.plan"]);
    thread::sleep(Duration::from_millis(1500));
    cluster.up();
    // The first attempt met no server.
    running.answer().status(0).says("Is the server running");
    assert_eq!(rows_of(&scenario, &cluster, "backplan_late", "latest"), rows);
}

/// Holds pgBackRest's own lock of a stanza, as a backup that was started by hand does.
struct Other(Child);

impl Other {
    fn start(stanza: &str) -> Other {
        let lock = PathBuf::from(format!("/tmp/pgbackrest/{stanza}-backup.lock"));
        let held = Command::new("runuser")
            .args(["-u", "postgres", "--", "flock", "-n"])
            .arg(&lock)
            .args(["sh", "-c", "echo held; exec sleep 6"])
            .current_dir("/")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        until("the lock", || lock.exists());
        thread::sleep(Duration::from_millis(200));
        Other(held)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

#[test]
fn another_backup_of_the_stanza_is_told_and_waited_for() {
    let scenario = world();
    let cluster = archiving(&scenario, "backplan_busy");
    cluster.fill(1000);
    run(&scenario).status(0);
    let other = Other::start("backplan_busy");
    run(&scenario).status(1).says("another backup, expire or push of the log of this stanza runs");
    drop(other);
    assert_eq!(artefacts(&scenario), "1");
    cluster.fill(1000);
    write_plan(&scenario, &cluster, "backplan_busy", PATIENT);
    let other = Other::start("backplan_busy");
    run(&scenario).status(0).says("another backup, expire or push of the log of this stanza runs");
    drop(other);
    assert_eq!(rows_of(&scenario, &cluster, "backplan_busy", "latest"), cluster.rows());
}

/// pgBackRest may outlive the run that is killed, at work in the repository; what the next run makes is whole all the same,
/// and so is what was there before.
#[test]
fn a_run_that_is_killed_while_pgbackrest_is_at_work_costs_the_next_one_nothing() {
    let scenario = world();
    let cluster = archiving(&scenario, "backplan_killed");
    cluster.fill(2000);
    let first = cluster.rows();
    run(&scenario).status(0);
    cluster.fill(2000);
    // A backup waits for the WAL that it needs: it is held there.
    fs::write(scenario.path("pg/hold"), "").unwrap();
    let running = scenario.next_day().start(["run", "p.plan"]);
    let at_work = "select count(*) from pg_stat_activity where application_name like 'pgBackRest%backup%'";
    until("the differential", || cluster.query(at_work) != "0");
    running.signal("KILL");
    assert_eq!(running.answer().code, -9);
    fs::remove_file(scenario.path("pg/hold")).unwrap();
    assert_eq!(artefacts(&scenario), "1");
    write_plan(&scenario, &cluster, "backplan_killed", PATIENT);
    cluster.fill(2000);
    let second = cluster.rows();
    let answer = run(&scenario);
    assert!(matches!(answer.code, 0 | 3), "{answer:?}");
    assert_eq!(artefacts(&scenario), "2");
    assert_eq!(rows_of(&scenario, &cluster, "backplan_killed", "latest"), second);
    assert_eq!(rows_of(&scenario, &cluster, "backplan_killed", "1"), first);
}
