//! The archive of a real cluster's log: pushed by its server while others write, and recovered from to a point.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::pg_base::{Cluster, is_root};
use crate::scenario::{Answer, plan, shell, wait_for};

/// A cluster whose server archives its log by the plan `p.plan`.
pub struct Archived {
    pub cluster: Cluster,
}

impl Archived {
    /// `stores`: names of folders; `more`: of the `wal` block; `rest`: of the plan.
    pub fn new(stores: &[&str], more: &str, rest: &str) -> Archived {
        let cluster = Cluster::new();
        let here = cluster.scenario.path(".");
        // Where the server's account can start it.
        let program = cluster.scenario.path("plan");
        fs::copy(env!("CARGO_BIN_EXE_plan"), &program).unwrap();
        let run_as = if is_root() { "run_as = \"postgres\"" } else { "" };
        let others: String = stores
            .iter()
            .filter(|name| **name != "store")
            .map(|name| format!("store {name}: dir {{\n  path = \"{name}\"\n}}\n\n"))
            .collect();
        let text = format!(
            "{others}staging {{\n  path = \"staging\"\n}}\n\nsource main: postgres {{\n  driver = basebackup\n  host = \"{}\"\n  \
             user = \"postgres\"\n  data_dir = \"pg\"\n  {run_as}\n}}\n\narchive a {{\n  from = [main]\n  to = [store]\n}}\n\n\
             wal main {{\n  to = [{}]\n  {more}\n}}\n\n{rest}",
            cluster.scenario.path("sock").display(),
            stores.join(", ")
        );
        cluster.scenario.write("p.plan", plan(&text));
        for store in stores {
            cluster.sh(&format!("mkdir -m 755 {store}"));
        }
        cluster.scenario.plan(["wal", "init", "p.plan", "main"]).status(0).says("made");
        let archived = Archived { cluster };
        let here = here.canonicalize().unwrap();
        archived.configure(&format!(
            "archive_mode = on\nwal_level = replica\narchive_command = '{0}/plan wal push {0}/p.plan main %p'\n",
            here.display()
        ));
        archived
    }

    pub fn configure(&self, lines: &str) {
        self.cluster.sh(&format!(
            "cat >> pg/postgresql.conf <<'EOF'\n{lines}EOF\npg_ctl -w -s -D pg -l log restart -m fast"
        ));
    }

    pub fn sql(&self, sql: &str) -> String {
        self.cluster.sql(sql)
    }

    /// Ends the current segment and waits until it is archived.
    pub fn switch(&self) -> String {
        let segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())");
        let archived =
            || self.sql(&format!("SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver")) == "t";
        wait_for("an archived segment", archived);
        segment
    }

    pub fn push(&self, file: &str) -> Answer {
        // As the server does: in the data directory.
        self.run(&format!("cd pg && ../plan wal push ../p.plan main {file}"))
    }

    pub fn run(&self, script: &str) -> Answer {
        let script = format!("export PATH=/usr/lib/postgresql/15/bin:$PATH\n{script}");
        self.cluster.scenario.write("script2", script);
        let way: &[&str] = if is_root() {
            &["runuser", "-u", "postgres", "--", "sh", "script2"]
        } else {
            &["sh", "script2"]
        };
        self.cluster.scenario.other(way)
    }

    pub fn archive(&self, store: &str) -> std::path::PathBuf {
        self.cluster.scenario.path(&format!("{store}/.backplan-wal/p/main"))
    }

    /// The object of a segment.
    pub fn object(&self, store: &str, segment: &str) -> std::path::PathBuf {
        let mut found = fs::read_dir(self.archive(store)).unwrap().map(|entry| entry.unwrap().path());
        let cluster = found.find(|path| path.to_str().unwrap().ends_with("-15")).unwrap();
        cluster.join(&segment[..16]).join(format!("{segment}.gz"))
    }

    /// The object of a segment of a timeline that no server made.
    pub fn object_of(&self, segment: &str) -> std::path::PathBuf {
        self.object("store", segment)
    }

    pub fn stop_back(&self) {
        self.cluster.sh("pg_ctl -s -D back -m immediate stop");
        for folder in ["back", "back.server", "back.tablespaces"] {
            let _ = fs::remove_dir_all(self.cluster.scenario.path(folder));
        }
    }
}

#[test]
fn any_moment_of_the_archived_log_can_be_recovered() {
    let archived = Archived::new(&["store"], "", "");
    let cluster = &archived.cluster;
    cluster.scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks (n int)");
    let mark = |n: u32| {
        archived.sql(&format!("INSERT INTO marks SELECT generate_series(1, {n})"));
        // A transaction behind it: recovery to a time ends at the first one after it.
        let clock = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";
        let moment = archived.sql(clock).replace(' ', "T") + "Z";
        archived.sql("CREATE TABLE IF NOT EXISTS tick (n int); INSERT INTO tick VALUES (1)");
        moment
    };
    let time = mark(10);
    let lsn = {
        mark(20);
        archived.sql("SELECT pg_current_wal_lsn()")
    };
    archived.sql("INSERT INTO marks SELECT generate_series(1, 40)");
    archived.sql("SELECT pg_create_restore_point('before')");
    let xid = archived
        .sql("BEGIN; INSERT INTO marks SELECT generate_series(1, 80); SELECT txid_current(); COMMIT")
        .replace("BEGIN", "");
    let xid: String = xid.lines().find(|line| line.trim().parse::<u64>().is_ok()).unwrap().trim().to_owned();
    archived.sql("INSERT INTO marks SELECT generate_series(1, 160)");
    archived.switch();
    cluster.scenario.plan(["status", "p.plan"]).status(0).says("log of `main`: any moment from");
    let marks = "SELECT count(*) FROM marks";
    for (target, rows) in [
        (["--at", time.as_str()], "10"),
        (["--lsn", lsn.as_str()], "30"),
        (["--restore-point", "before"], "70"),
        (["--xid", xid.as_str()], "150"),
        (["--at", "latest"], "310"),
    ] {
        cluster.restore(&["--start", target[0], target[1]]).status(0).says("running");
        assert_eq!(cluster.back(marks), rows, "{target:?}");
        assert_eq!(cluster.back("SHOW archive_mode"), "off");
        assert!(!cluster.scenario.path("back/.backplan-wal-ahead").exists());
        archived.stop_back();
    }
    // Into a folder behind a link; and what is in it now is in the way.
    shell(&cluster.scenario.path("."), "mkdir -m 755 disk && ln -s disk back");
    cluster.restore(&["--start", "--at", "latest"]).status(0).says("running");
    assert_eq!(cluster.back(marks), "310");
    cluster.sh("pg_ctl -s -D back -m immediate stop");
    cluster.restore(&["--at", "latest"]).status(1).says("a cluster comes back whole");
    shell(&cluster.scenario.path("."), "rm -r disk back back.*");
    // From the store alone, with no plan at hand.
    let store = cluster.scenario.path("store");
    let store = store.to_str().unwrap();
    let way =
        ["restore", "--store", store, "--source", "main", "--to", "back", "--start", "--at", time.as_str()];
    cluster.scenario.plan(way).status(0);
    assert_eq!(cluster.back(marks), "10");
    archived.stop_back();
    // Outside the window nothing is written.
    for target in [["--at", "2020-01-01T00:00:00Z"], ["--lsn", "7F/0"], ["--at", "2099-01-01T00:00:00Z"]] {
        cluster.restore(&target).status(1).says("it can be recovered to any moment from");
        assert!(!cluster.scenario.path("back").exists());
    }
}

#[test]
fn an_accident_is_left_out_by_its_time_and_a_moment_behind_the_last_commit_is_that_commit() {
    let archived = Archived::new(&["store"], "", "");
    let cluster = &archived.cluster;
    // It commits when it likes.
    archived.configure("autovacuum = off\n");
    cluster.scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks AS SELECT generate_series(1, 10)");
    archived.sql("DELETE FROM marks WHERE true");
    // As the log has it: the last transaction.
    let segment = archived.sql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    let dump = format!(
        "TZ=UTC pg_waldump -p pg/pg_wal --rmgr=Transaction {segment} 2>/dev/null | grep COMMIT | tail -1"
    );
    let told = archived.run(&dump).status(0).stdout;
    let accident =
        told.split_once("COMMIT ").unwrap().1.trim().split(" UTC").next().unwrap().replace(' ', "T") + "Z";
    archived.switch();
    // As it is shown, so it can be given.
    let standing = cluster.scenario.plan(["status", "p.plan"]).status(0).said();
    let shown = standing.split_once("the last commit at ").unwrap().1.lines().next().unwrap();
    let seconds = accident.trim_end_matches('Z').replace('T', " ");
    assert!(shown.starts_with(seconds.trim_end_matches('0')) && shown.ends_with(":00"), "{shown} {seconds}");
    let standing = cluster.scenario.plan(["status", "p.plan", "--format", "json"]).status(0).json();
    let end = standing["logs"][0]["windows"][0]["until"].as_str().unwrap().to_owned();
    let marks = "SELECT count(*) FROM marks";
    let behind = "behind the last commit in the log, which was at";
    cluster.restore(&["--start", "--before", shown]).status(0).says("recovers to what was before");
    assert_eq!(cluster.back(marks), "10");
    archived.stop_back();
    // There is nothing behind these that Postgres could stop at.
    for way in [["--at", accident.as_str()], ["--at", &end], ["--before", &end]] {
        cluster.restore(&["--start", way[0], way[1]]).status(0).says(behind);
        assert_eq!(cluster.back(marks), "0", "{way:?}");
        archived.stop_back();
    }
    cluster.restore(&["--start", "--at", &end, "--target-action", "pause"]).status(0).says(behind);
    assert_eq!(cluster.back("SELECT count(*), pg_is_in_recovery() FROM marks"), "0|t");
    archived.stop_back();
    // What a backup has already is its own end.
    cluster.scenario.plan(["run"]).status(0);
    let clock = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";
    let now = archived.sql(clock).replace(' ', "T") + "Z";
    archived.sql("SELECT pg_create_restore_point('no commit')");
    archived.switch();
    let words = "nothing is committed in the log since the backup";
    cluster.restore(&["--start", "--at", &now]).status(0).says(words).says("run 00000002-");
    assert_eq!(cluster.back(marks), "0");
    archived.stop_back();
}

#[test]
fn a_segment_is_archived_once_and_never_replaced() {
    let archived = Archived::new(&["store", "second"], "", "");
    let segment = archived.switch();
    let object = archived.object("store", &segment);
    let before = fs::read(&object).unwrap();
    let mode = fs::metadata(archived.archive("store")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // Stock tools read it, and it is what the server has.
    let scenario = &archived.cluster.scenario;
    archived.cluster.sh(&format!(
        "gzip -dc {} > copy; cp pg/pg_wal/{segment} own || cp copy own; cmp copy own",
        object.display()
    ));
    // The same again is a success; in a store that lost it, it is written again.
    fs::remove_file(archived.object("second", &segment)).unwrap();
    archived.cluster.sh(&format!("mkdir -p again && cp copy again/{segment}"));
    archived.push(&format!("../again/{segment}")).status(0);
    assert!(archived.object("second", &segment).exists());
    // Other content is refused, and nothing is touched.
    let mut other = fs::read(scenario.path("copy")).unwrap();
    *other.last_mut().unwrap() ^= 1;
    scenario.write(&format!("again/{segment}"), &other);
    archived.push(&format!("../again/{segment}")).status(1).says("with other content");
    assert_eq!(fs::read(&object).unwrap(), before);
    // A segment of another cluster: its first page says so.
    other[24] ^= 1;
    scenario.write("again/0000000100000000000000EE", &other);
    archived.push("../again/0000000100000000000000EE").status(1).says("is of cluster");
    // And of another place in the log, as it would be taken for the log's end when it is fetched.
    archived.cluster.sh(&format!("cp again/{segment} again/0000000100000000000000EF"));
    archived.push("../again/0000000100000000000000EF").status(1).says("is another segment than it is called");
    archived.push("PG_VERSION").status(1).says("is not the name of a file of the write-ahead log");
    // Histories and labels are archived as well.
    scenario.write("again/00000002.history", "1\t0/5000000\tno recovery target specified\n");
    archived.push("../again/00000002.history").status(0);
    scenario
        .plan(["wal", "push", "p.plan", "other", "pg/pg_wal/x"])
        .status(2)
        .says("has no `wal other` block");
    // A store that is not there: the server keeps the segment.
    fs::rename(scenario.path("second"), scenario.path("away")).unwrap();
    scenario.write(&format!("again/{segment}"), fs::read(scenario.path("copy")).unwrap());
    archived.push(&format!("../again/{segment}")).status(1).says("the wrong disk may be mounted");
    assert!(!scenario.path("second").exists());
    scenario
        .plan(["wal", "init", "p.plan", "main"])
        .status(1)
        .says("is not there")
        .says("mount it, or make the folder");
    assert!(!scenario.path("second").exists());
}

#[test]
fn one_store_is_enough_where_the_plan_says_so() {
    let archived = Archived::new(&["store", "second"], "ack = any", "");
    let scenario = &archived.cluster.scenario;
    fs::rename(scenario.path("second"), scenario.path("away")).unwrap();
    let segment = archived.switch();
    assert!(archived.object("store", &segment).exists());
    fs::rename(scenario.path("store"), scenario.path("gone")).unwrap();
    archived.cluster.sh("mkdir -p again && cp pg/PG_VERSION again/00000002.history");
    archived.push("../again/00000002.history").status(1).says("has no archive");
}

#[test]
fn a_rehearsal_takes_a_segment_from_whichever_store_has_it_whole() {
    let archived = Archived::new(&["store", "second"], "", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks (n int)");
    let damaged = archived.switch();
    archived.sql("INSERT INTO marks VALUES (1)");
    archived.switch();
    for store in ["store", "second"] {
        let object = archived.object(store, &damaged);
        let whole = fs::read(&object).unwrap();
        let mut other = whole.clone();
        other[whole.len() / 3] ^= 4;
        fs::write(&object, &other).unwrap();
        scenario.plan(["verify", "--rehearse", "p.plan"]).status(0).says("passed   recover");
        fs::write(&object, &whole).unwrap();
    }
}

#[test]
fn recovery_stops_where_the_log_has_a_hole_or_is_damaged() {
    let archived = Archived::new(&["store"], "", "");
    let cluster = &archived.cluster;
    cluster.scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE early (n int)");
    let moment = archived.sql(CLOCK);
    archived.sql("CREATE TABLE late (n int)");
    let first = archived.switch();
    archived.sql("CREATE TABLE marks (n int)");
    let second = archived.switch();
    archived.sql("INSERT INTO marks VALUES (1)");
    let third = archived.switch();
    let fetch =
        |name: &str| archived.run(&format!("cd pg && ../plan wal fetch ../p.plan main {name} ../got"));
    fetch(&first).status(0);
    // Past the end: to Postgres, the log ends here.
    fetch("0000000100000000000000F0").status(1).says("is not in the archive");
    fetch("00000009.history").status(1);
    let object = archived.object("store", &second);
    let whole = fs::read(&object).unwrap();
    // A bit.
    let mut damaged = whole.clone();
    damaged[whole.len() / 3] ^= 4;
    fs::write(&object, &damaged).unwrap();
    fetch(&second).status(126).says("damaged");
    // Its end.
    fs::write(&object, &whole[..whole.len() - 7]).unwrap();
    fetch(&second).status(126).says("damaged");
    // All of it, with the next one there.
    fs::remove_file(&object).unwrap();
    fetch(&second).status(126).says(&format!("goes on with `{third}`"));
    cluster.scenario.plan(["status", "p.plan"]).status(3).says(&format!("segment `{second}` is missing"));
    // A server that recovers does not open with what came before the hole.
    let answer = cluster.restore(&["--start", "--at", "latest"]);
    answer.status(1).says("does not start");
    let _ = fs::remove_dir_all(cluster.scenario.path("back"));
    let _ = fs::remove_dir_all(cluster.scenario.path("back.server"));
    let _ = fs::remove_dir_all(cluster.scenario.path("back.tablespaces"));
    // A moment before it, however near, is had all the same: the server asks for no more than that.
    cluster.restore(&["--start", "--at", &moment]).status(0).says("running");
    let tables = "SELECT to_regclass('early') IS NOT NULL, to_regclass('late') IS NULL";
    assert_eq!(cluster.back(tables), "t|t");
    archived.stop_back();
    // The store is away: not the end of the log either. A standby asks again.
    fs::rename(cluster.scenario.path("store"), cluster.scenario.path("away")).unwrap();
    fetch(&first).status(126).says("the wrong disk may be mounted");
    archived.cluster.sh("touch pg/standby.signal");
    fetch(&first).status(1);
    archived.cluster.sh("rm pg/standby.signal");
}

/// A moment as `--at` takes it.
const CLOCK: &str =
    "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\\\"T\\\"HH24:MI:SS.US\\\"Z\\\"')";

/// The plan of a source is changed, and what was backed up before is restored as it was backed up.
#[test]
fn a_moment_before_the_driver_was_changed_is_recovered_to_by_the_driver_of_then() {
    let archived = Archived::new(&["store"], "", "");
    let (cluster, scenario) = (&archived.cluster, &archived.cluster.scenario);
    scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks AS SELECT generate_series(1, 10) AS n");
    let moment = archived.sql(CLOCK);
    archived.sql("INSERT INTO marks VALUES (11)");
    archived.switch();
    let before = scenario.read("p.plan");
    scenario.write("old.plan", &before);
    let (head, rest) = before.split_once("wal main {").unwrap();
    let dumped = head.replace("driver = basebackup", "driver = dump").replace("data_dir = \"pg\"\n", "");
    scenario.write("p.plan", dumped + rest.split_once("}\n").unwrap().1);
    archived.sql("ALTER SYSTEM SET archive_command = 'true'");
    archived.sql("SELECT pg_reload_conf()");
    // A dump has fewer files than a cluster, and nothing is lost by that.
    let dumped = scenario.plan(["run", "p.plan"]);
    assert!(!dumped.said().contains("is missing"), "{dumped:?}");
    let shown = scenario.plan(["diff", "old.plan", "p.plan"]);
    assert!(!shown.said().contains("than before"), "{shown:?}");
    let back = |from: &[&str], more: &[&str]| {
        let way = ["--source", "main", "--to", "back", "--at", &moment];
        scenario.plan([&["restore"], from, &way, more].concat())
    };
    // With the plan of now nothing leads there, and where the log is is told.
    back(&["p.plan"], &["--start"])
        .status(1)
        .says("the log of `main` is in store `store`")
        .says("--plan-name p");
    assert!(!scenario.path("back").exists());
    for from in [&["old.plan"][..], &["old.plan", "--run", "1"], &["--store", "store"]] {
        back(from, &["--start"]).status(0).says("running");
        assert_eq!(cluster.back("SELECT count(*) FROM marks"), "10", "{from:?}");
        archived.stop_back();
    }
    // Of the newest backup it is still a dump that comes back.
    scenario.plan(["restore", "p.plan", "--source", "main", "--to", "dumps"]).status(0);
    assert!(!scenario.path("dumps/PG_VERSION").exists());
    scenario
        .plan(["restore", "p.plan", "--source", "main", "--to", "back", "--start", "--at", "latest"])
        .status(2)
        .says("was backed up by driver `dump`");
}

/// Rows of a table in a cluster that was recovered from here.
fn recovered(archived: &Archived, args: &[&str]) -> String {
    archived.cluster.restore(&[&["--start", "--at", "latest"], args].concat()).says("running");
    let rows = archived.cluster.back("SELECT count(*) FROM marks");
    archived.stop_back();
    rows
}

#[test]
fn a_store_that_is_away_ends_no_recovery_that_another_one_can_finish() {
    let archived = Archived::new(&["store", "second"], "ack = all", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks AS SELECT 1");
    archived.switch();
    // A link hides nothing but itself.
    let own = shell(&scenario.path("second/.backplan-wal/p/main"), "ls -d *-15").trim().to_owned();
    let inside = |name: &str| format!("cd second/.backplan-wal/p/main; ln -s /nowhere {own}/{name}");
    let links = [
        ("kept-from", inside("kept-from")),
        ("0000000100000000/x", inside("0000000100000000/x")),
        ("00000009.history.gz", inside("00000009.history.gz")),
        (
            &own[..],
            format!(
                "cd second/.backplan-wal/p/main; mv {own} ../../../elsewhere; ln -s ../../../elsewhere {own}"
            ),
        ),
    ];
    for (name, make) in links {
        shell(&scenario.path("."), &format!("cp -a second whole; {make}"));
        let status = scenario.plan(["status"]).status(3);
        status.says(&format!("{name}` is a link")).says("any moment from").says("3 segments");
        scenario.plan(["verify", "--all"]).status(1).says(&format!("{name}` is a link"));
        let shown = archived.cluster.restore(&["--at", "latest", "--dry-run"]).status(3);
        shown.says(&format!("{name}` is a link"));
        shell(&scenario.path("."), "rm -rf second elsewhere; mv whole second");
    }
    // An archive that no run makes, as none writes anything else there.
    fs::rename(scenario.path("second/.backplan-wal"), scenario.path("kept")).unwrap();
    for args in [&["check", "--live"][..], &["run", "--dry-run"], &["run"]] {
        scenario.plan(args).status(1).says("make the archive with `plan wal init");
    }
    fs::rename(scenario.path("kept"), scenario.path("second/.backplan-wal")).unwrap();
    // With `ack = all` what counts is in each of them.
    fs::rename(scenario.path("second"), scenario.path("away")).unwrap();
    let shown = archived.cluster.restore(&["--at", "latest", "--dry-run"]);
    shown.says("store `second`").says("recovery ends where the log in the others does");
    assert_eq!(recovered(&archived, &[]), "1");
    // One that has nothing of the log knows of no end.
    shell(&scenario.path("."), &format!("cp -a store kept; rm -r store/.backplan-wal/p/main/{own}"));
    let fetch = |more: &str, name: &str| {
        archived.run(&format!("cd pg && ../plan wal fetch {more} ../p.plan main {name} ../got"))
    };
    fetch("", "00000002.history").status(126).says("which the others have not").says("--store NAME");
    shell(&scenario.path("."), "rm -r store; mv kept store");
    fetch("", "00000002.history").status(1);
    // With `ack = any` the other may have more: it is had back, or given up.
    scenario.write("p.plan", scenario.read("p.plan").replace("ack = all", "ack = any"));
    fetch("", "00000002.history").status(126).says("second").says("--store NAME");
    fetch("--store store", "00000002.history").status(1);
    fetch("--store other", "00000002.history").status(126).says("goes to `second`, `store`");
    archived
        .cluster
        .restore(&["--start", "--at", "latest"])
        .status(1)
        .says("`--store NAME` takes what one store has");
    shell(&scenario.path("."), "rm -rf back back.server back.tablespaces");
    assert_eq!(recovered(&archived, &["--store", "store"]), "1");
    assert_eq!(recovered(&archived, &["p.plan", "--store", "store"]), "1");
}
