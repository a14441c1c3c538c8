//! What befalls a repository of pgBackRest: cut short, full, gone, spoilt, of another cluster, of one that moved on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::separate::{archiving, back, backups, own, stop};
use super::{Cluster, included, open_above, run, world};
use crate::scenario::{Answer, Scenario, shell, wait_for};

/// What fails is not tried again.
fn apart(cluster: &Cluster, stanza: &str, source: &str, separate: &str) -> String {
    super::separate::apart(cluster, stanza, source, separate) + "retry {\n  attempts = 1\n}\n"
}

fn live(scenario: &Scenario) -> Answer {
    scenario.plan(["check", "--live", "p.plan"])
}

/// All programs of the machine but pgBackRest, in whose place a script may stand.
fn without_tool(scenario: Scenario) -> Scenario {
    let bin = scenario.path("bin");
    fs::create_dir(&bin).unwrap();
    open_above(&bin.join("x"));
    shell(&bin, "for f in /usr/sbin/* /usr/bin/*; do ln -sf $f .; done; rm pgbackrest");
    scenario.env("PATH", bin.to_str().unwrap())
}

fn script(scenario: &Scenario, text: &str) {
    scenario.write("bin/pgbackrest", format!("#!/bin/sh\n{text}\n"));
    shell(&scenario.path("bin"), "chmod 755 pgbackrest");
}

/// What the restored cluster answers.
fn restored(scenario: &Scenario, cluster: &Cluster, more: &[&str]) -> String {
    let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start"];
    scenario.plan(way.iter().chain(more)).status(0);
    let rows = back(scenario, cluster, "select count(*) from t");
    stop(scenario, cluster);
    rows
}

/// `stanza-create` puts four files in their places, one after the other. Killed before any of them it is finished by the next run,
/// and the log that was pushed meanwhile stays.
#[test]
fn a_stanza_whose_making_was_cut_short_is_finished_by_the_next_run() {
    let stanza = "backplan_cut";
    let scenario = without_tool(world()).env("REPO_PASS", "a phrase");
    let cut = scenario.path("cut");
    script(
        &scenario,
        &format!(
            "case \"$*\" in *stanza-create*) [ -e {0} ] && exec strace -f -o /dev/null -e trace=rename \
             -e inject=rename:signal=KILL:when=$(cat {0}) /usr/bin/pgbackrest \"$@\";; esac\nexec /usr/bin/pgbackrest \"$@\"",
            cut.display()
        ),
    );
    let repository = scenario.path("pg/repository");
    let cluster = archiving(&scenario, &repository, stanza);
    cluster.fill(100);
    scenario.write("p.plan", included(&cluster, stanza));
    for number in ["1", "2"] {
        shell(&scenario.path("."), "rm -rf pg/repository");
        fs::write(&cut, number).unwrap();
        run(&scenario).status(1);
        fs::remove_file(&cut).unwrap();
        let answer = run(&scenario);
        assert!(matches!(answer.code, 0 | 3), "{number}: {answer:?}");
        assert_eq!(backups(&repository, stanza).len(), 1, "{number}");
    }
    // The same apart and encrypted. What the server reads its settings from stays where it was.
    fs::remove_dir_all(&repository).unwrap();
    let own = own(&scenario, "store", "p", "db");
    scenario.write(
        "p.plan",
        apart(&cluster, stanza, "  staging = \"pg/repository\"\n", "  passphrase = env(\"REPO_PASS\")\n"),
    );
    fs::write(&cut, "3").unwrap();
    run(&scenario).status(1);
    fs::remove_file(&cut).unwrap();
    cluster.fill(100);
    let segment = cluster.query("select pg_walfile_name(pg_switch_wal())");
    let pushed = || shell(&own, &format!("find archive -name '{segment}-*.gz'"));
    wait_for("a segment in half a stanza", || !pushed().is_empty());
    let pushed = pushed();
    run(&scenario).status(3).says("made only in part");
    assert_eq!(backups(&own, stanza).len(), 1);
    assert!(own.join(pushed.trim()).is_file(), "the log that was pushed stays");
    assert!(!own.join("backplan-stanza").exists() && !repository.join("backplan-stanza").exists());
    scenario.plan(["verify", "p.plan"]).status(0);
    assert_eq!(restored(&scenario, &cluster, &[]), "200");
    // Half a stanza of another cluster is nobody's to finish.
    shell(&own, "rm -r backup");
    let other = Cluster::start(&scenario, "other", "/bin/true");
    scenario.write(
        "p.plan",
        apart(&other, stanza, "  staging = \"pg/repository\"\n", "  passphrase = env(\"REPO_PASS\")\n"),
    );
    run(&scenario).status(1).says("the server is another cluster");
    scenario
        .next_day()
        .plan(["run", "--new-cluster", "db", "p.plan"])
        .status(1)
        .says("belongs to another cluster");
    assert!(!own.join("backup").join(stanza).join("backup.info").exists());
}

#[test]
fn a_repository_without_room_costs_nothing_that_it_had() {
    let stanza = "backplan_room";
    let scenario = world();
    let store = scenario.path("store");
    shell(&store, "mount -t tmpfs -o size=16m none .");
    open_above(&store.join("x"));
    let repository = own(&scenario, "store", "p", "db");
    let config = scenario.path("own.conf");
    let push = format!("pgbackrest --config={} --stanza={stanza} archive-push %p", config.display());
    let cluster = Cluster::start(&scenario, "pg", &push);
    let settings = format!(
        "[global]\nrepo1-path={}\nlog-level-file=off\narchive-timeout=5\n[{stanza}]\npg1-path={}\npg1-socket-path={}\n",
        repository.display(),
        cluster.data.display(),
        cluster.sockets.display()
    );
    scenario.write("own.conf", settings);
    scenario.write("p.plan", apart(&cluster, stanza, "  config = \"own.conf\"\n", ""));
    cluster.fill(100);
    run(&scenario).status(0);
    cluster.query("create table noise as select md5(random()::text) || md5(random()::text) v from generate_series(1, 150000)");
    cluster.fill(100);
    let answer = run(&scenario).status(1);
    assert!(answer.stderr.contains("is full") || answer.stderr.contains("no WAL arrived"), "{answer:?}");
    assert_eq!(restored(&scenario, &cluster, &["--immediate"]), "100");
    shell(&scenario.path("."), "mount -o remount,size=128m none store");
    // The server tries again every minute, and at once when there is something new.
    cluster.query("select pg_switch_wal()");
    wait_for_long("the log that was held up", || {
        cluster.query(
            "select last_failed_time is null or last_archived_time > last_failed_time from pg_stat_archiver",
        ) == "t"
    });
    let answer = run(&scenario);
    assert!(matches!(answer.code, 0 | 3), "{answer:?}");
    scenario.plan(["verify", "p.plan"]).status(0);
    assert_eq!(restored(&scenario, &cluster, &[]), "200");
    drop(cluster);
    shell(&scenario.path("."), "umount store");
}

fn wait_for_long(what: &str, is_so: impl Fn() -> bool) {
    let is_there = (0..900).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        is_so()
    });
    assert!(is_there, "{what}");
}

/// What a machine that goes down leaves: neither the run nor its tool is there any more.
#[test]
fn a_backup_that_died_with_its_tool_is_made_anew_or_gone_on_with() {
    let stanza = "backplan_died";
    let scenario = world();
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", apart(&cluster, stanza, "", ""));
    cluster.fill(100);
    run(&scenario).status(0);
    cluster.query("create table noise as select md5(random()::text) v from generate_series(1, 300000)");
    let running = scenario.next_day().start(["run", "p.plan", "--level", "full"]);
    let begun = || shell(&repository.join("backup").join(stanza), "ls | grep -c 'F$' || true").trim() == "2";
    wait_for("files of the second full", begun);
    running.kill_group();
    let mine = format!("pgrep -f -- '[-]-stanza={stanza} .*backup' | xargs -r kill -KILL");
    shell(Path::new("/"), &mine);
    assert_eq!(running.answer().code, -9);
    let alone = scenario.plan(["list", "p.plan"]).status(0);
    assert!(!alone.stdout.contains("00000002-"), "{alone:?}");
    scenario.plan(["verify", "p.plan"]).status(0);
    cluster.fill(100);
    let answer = scenario.next_day().plan(["run", "p.plan", "--level", "full"]);
    assert!(matches!(answer.code, 0 | 3), "{answer:?}");
    scenario.plan(["verify", "p.plan"]).status(0);
    assert_eq!(backups(&repository, stanza).len(), 2);
    assert_eq!(restored(&scenario, &cluster, &[]), "200");
}

#[test]
fn a_repository_that_is_gone_spoilt_or_foreign_is_told_before_anything_is_written() {
    let stanza = "backplan_spoilt";
    let scenario = world();
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", apart(&cluster, stanza, "", ""));
    cluster.fill(100);
    live(&scenario).status(0).says("stanza_missing").says("the first run makes it");
    run(&scenario).status(0);
    live(&scenario).status(0);

    // Of another cluster.
    let other = Cluster::start(&scenario, "other", "/bin/true");
    scenario.write("p.plan", apart(&other, stanza, "", ""));
    run(&scenario).status(1).says("belongs to another cluster");
    live(&scenario).status(1).says("stanza_other").says("stanza-upgrade");
    drop(other);
    scenario.write("p.plan", apart(&cluster, stanza, "", ""));

    // What lists its backups is spoilt, twice.
    let folder = repository.join("backup").join(stanza);
    shell(&folder, "cp -a backup.info kept; for f in backup.info backup.info.copy; do echo x >> $f; done");
    run(&scenario).status(1).says("cannot be read").says("plan verify");
    live(&scenario).status(1).says("repository_unreadable");
    scenario.plan(["verify", "p.plan"]).status(1).says("No usable backup.info file");
    shell(&folder, "for f in backup.info backup.info.copy; do cp -a kept $f; done; rm kept");
    run(&scenario).status(0);

    // The server is down, and comes back.
    cluster.must("pg_ctl", &["-D", cluster.data.to_str().unwrap(), "-m", "fast", "-w", "stop"]);
    run(&scenario).status(1).says("start the server, or mend `host` and `port`");
    cluster.up();

    // Gone: its backups are no more, and that is told with each run until they are given up.
    shell(&scenario.path("."), "mv store/.backplan-repo away");
    live(&scenario).status(0).says("stanza_missing").says("bring the repository back");
    scenario
        .plan(["status", "p.plan"])
        .status(3)
        .says("the repository of `db` in store `store` is not there");
    let answer = run(&scenario).status(3);
    answer.says("has no longer 2 backups").says("not a diff");
    let newest = "cat .backplan/p/manifests/$(ls .backplan/p/manifests | tail -n 1)";
    let manifest = shell(&scenario.path("store"), newest);
    assert!(manifest.contains("type: full"), "{manifest}");
    assert_eq!(restored(&scenario, &cluster, &[]), "100");
}

#[test]
fn a_password_and_the_tool_itself_are_looked_at_first() {
    let stanza = "backplan_password";
    let scenario = without_tool(world());
    script(&scenario, "exec /usr/bin/pgbackrest \"$@\"");
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    cluster.fill(100);
    cluster.query("create role clerk superuser login password 'right'");
    shell(&cluster.data, "sed -i '1i local all clerk scram-sha-256' pg_hba.conf");
    cluster.query("select pg_reload_conf()");
    let with = |password: &str| {
        scenario.write("password", password);
        let source = "  user = \"clerk\"\n  password = file(\"password\")\n";
        scenario.write("p.plan", apart(&cluster, stanza, source, ""));
    };
    with("mistaken");
    let answer = run(&scenario).status(1);
    let answer = answer
        .says("password authentication failed")
        .says("the password is wrong")
        .says("set `password` of the source");
    assert!(!answer.stderr.contains("mistaken"), "{answer:?}");
    assert!(!repository.join("backup").exists());
    live(&scenario).status(1).says("server_refuses").says("the password is wrong");
    with("right");
    run(&scenario).status(0);
    script(&scenario, "[ \"$1\" = version ] && echo 'pgBackRest 2.30'");
    run(&scenario).status(1).says("pgBackRest 2.30 is older than 2.45");
    live(&scenario).status(1).says("tool_old");
    fs::remove_file(scenario.path("bin/pgbackrest")).unwrap();
    run(&scenario).status(1).says("`pgbackrest` is not on this machine").says("install");
    live(&scenario).status(1).says("tool_missing");
    scenario.plan(["verify", "p.plan"]).status(1).says("NOT CHECKED").says("is not on this machine");
}

/// A cluster that was upgraded has a new system identifier, and so has one that was made anew in its place.
#[test]
fn after_a_major_upgrade_a_stanza_goes_on_once_somebody_has_said_so() {
    let stanza = "backplan_upgraded";
    let scenario = world();
    let repository = own(&scenario, "store", "p", "db");
    let mut cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", apart(&cluster, stanza, "", ""));
    cluster.fill(100);
    run(&scenario).status(0);
    let data = cluster.data.to_str().unwrap().to_owned();
    cluster.must("pg_ctl", &["-D", &data, "-m", "fast", "-w", "stop"]);
    shell(&scenario.path("pg"), "mv data old");
    cluster.must("initdb", &["-D", &data, "-A", "trust", "--data-checksums", "-N"]);
    shell(&scenario.path("pg"), "cp -a old/postgresql.auto.conf data/");
    cluster.up();
    cluster.fill(300);
    run(&scenario).status(1).says("another cluster").says("pgbackrest stanza-upgrade");
    let config = repository.join("pgbackrest.conf");
    let upgrade = format!(
        "runuser -u postgres -- pgbackrest --config={} --stanza={stanza} stanza-upgrade",
        config.display()
    );
    shell(Path::new("/"), &upgrade);
    // The old backups are no base of the new cluster's.
    run(&scenario).status(3).says("not a diff");
    scenario.plan(["verify", "p.plan", "--all"]).status(0);
    assert_eq!(restored(&scenario, &cluster, &[]), "300");
    assert_eq!(restored(&scenario, &cluster, &["--run", "1"]), "100");
    run(&scenario).status(0);
    cluster.port = 5432;
}

/// The cluster is put back to an earlier moment and promoted: it goes on, on a timeline of its own, and so do its backups.
#[test]
fn backups_go_on_behind_a_switch_of_the_timeline() {
    let stanza = "backplan_timeline";
    let scenario = world();
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", apart(&cluster, stanza, "", ""));
    cluster.fill(100);
    run(&scenario).status(0);
    cluster.query("select pg_create_restore_point('fork')");
    cluster.fill(100);
    cluster.query("select pg_switch_wal()");
    run(&scenario).status(0);
    let data: PathBuf = cluster.data.clone();
    cluster.must("pg_ctl", &["-D", data.to_str().unwrap(), "-m", "fast", "-w", "stop"]);
    shell(&scenario.path("pg"), "mv data old");
    let to =
        ["restore", "p.plan", "--source", "db", "--to", "pg/data", "--restore-point", "fork", "--run", "1"];
    scenario.plan(to).status(0);
    cluster.up();
    wait_for("the promotion", || cluster.query("select pg_is_in_recovery()") == "f");
    assert_eq!(cluster.query("select count(*) from t"), "100");
    cluster.query("alter system set archive_mode = on");
    cluster.must("pg_ctl", &["-D", data.to_str().unwrap(), "-m", "fast", "-w", "stop"]);
    cluster.up();
    cluster.fill(7);
    run(&scenario).status(0);
    let manifest = super::labels(&scenario, 3);
    assert!(manifest.contains("timeline: '2'") && manifest.contains("type: diff"), "{manifest}");
    scenario.plan(["verify", "p.plan", "--all"]).status(0);
    assert_eq!(restored(&scenario, &cluster, &[]), "107");
    open_above(&scenario.path("../tmp/x"));
    for more in [&["--run", "latest"], &["--run", "2"]] {
        let rehearse = ["verify", "--rehearse", "p.plan", "--source", "db"];
        scenario.plan(rehearse.iter().chain(more)).status(0).says("passed   recover");
    }
    // What was before the fork is there as well.
    assert_eq!(restored(&scenario, &cluster, &["--run", "2", "--target-timeline", "current"]), "200");
}

/// The file says the rest; what it says otherwise than the plan is refused before the first step.
#[test]
fn a_settings_file_that_contradicts_the_plan_is_refused_before_the_first_step() {
    let stanza = "backplan_contradicts";
    let scenario = world();
    let config = scenario.path("own.conf");
    let push = format!("pgbackrest --config={} --stanza={stanza} archive-push %p", config.display());
    let cluster = Cluster::start(&scenario, "pg", &push);
    shell(&scenario.path("pg"), "install -d -o postgres -m 700 repository");
    let source = format!(
        "source db: postgres {{\n  driver = pgbackrest\n  stanza = \"{stanza}\"\n  staging = \"pg/repository\"\n  config = \"own.conf\"\n{}}}",
        cluster.place()
    );
    scenario.write("p.plan", super::plan(&source, "archive main {\n  from = [db]\n  to   = [store]\n}", ""));
    let write = |repository: &str, more: &str| {
        let text = format!(
            "[global]\nrepo1-path={}\nlog-level-file=off\n{more}\n[{stanza}]\npg1-path={}\npg1-socket-path={}\n",
            scenario.path(repository).display(),
            cluster.data.display(),
            cluster.sockets.display()
        );
        scenario.write("own.conf", text);
    };
    cluster.fill(10);
    write("pg/elsewhere", "repo1-retention-full=1\n");
    for answer in [run(&scenario), scenario.plan(["run", "p.plan", "--dry-run"])] {
        answer.status(1).says("`repo1-path=").says("make them the same").says("`repo1-retention-full=1`");
    }
    live(&scenario).status(1).says("config_conflict");
    assert!(shell(&scenario.path("pg/repository"), "ls -A").is_empty(), "nothing was begun");
    fs::remove_file(&config).unwrap();
    run(&scenario).status(1).says("own.conf` cannot be read");
    write("pg/repository", "compress-type=lz4\n");
    let answer = run(&scenario);
    assert!(matches!(answer.code, 0 | 3), "{answer:?}");
    assert!(
        !shell(&scenario.path("pg/repository"), "find . -name '*.lz4'").is_empty(),
        "the file says the rest"
    );
    live(&scenario).status(0);
}

/// The repository of a packed source gets lost between two runs, and its disk is full: each artefact gives back what it had.
#[test]
fn a_packed_repository_that_is_lost_or_full_costs_no_run_that_was_made() {
    let stanza = "backplan_lost";
    let scenario = world();
    let repository = scenario.path("pg/repository");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", included(&cluster, stanza));
    cluster.fill(100);
    run(&scenario).status(0);
    fs::remove_dir_all(&repository).unwrap();
    cluster.fill(100);
    run(&scenario).status(3).says("not a diff");
    cluster.fill(100);
    run(&scenario).status(0);
    for (number, rows) in [("1", "100"), ("2", "200"), ("3", "300")] {
        assert_eq!(restored(&scenario, &cluster, &["--run", number, "--immediate"]), rows);
    }
    // It moves to a disk that is too small.
    shell(&scenario.path("pg"), "mv repository kept && install -d -o postgres -m 700 repository");
    shell(
        &repository,
        "mount -t tmpfs -o size=20m,uid=$(id -u postgres),mode=700 none . && cp -a ../kept/. .",
    );
    cluster.query("create table noise as select md5(random()::text) || md5(random()::text) v from generate_series(1, 200000)");
    let text = scenario
        .read("p.plan")
        .replace("  driver = pgbackrest\n", "  driver = pgbackrest\n  timeout = 20s\n");
    scenario.write("p.plan", text);
    run(&scenario).status(1);
    assert!(shell(&scenario.path("staging"), "ls -A").is_empty(), "the staging was left clear");
    assert_eq!(shell(&scenario.path("store"), "ls *.tar.gz | wc -l").trim(), "3");
    shell(&scenario.path("pg"), "mount -o remount,size=256m none repository");
    let up = "select last_failed_time is null or last_archived_time > last_failed_time from pg_stat_archiver";
    cluster.query("select pg_switch_wal()");
    wait_for_long("the log that was held up", || cluster.query(up) == "t");
    let answer = run(&scenario);
    assert!(matches!(answer.code, 0 | 3), "{answer:?}");
    scenario.plan(["verify", "p.plan", "--deep"]).status(0);
    assert_eq!(restored(&scenario, &cluster, &["--immediate"]), "300");
    drop(cluster);
    shell(&scenario.path("pg"), "umount repository");
}
