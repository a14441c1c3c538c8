//! Backups of a real cluster, restored into a scratch folder, asked, and thrown away.

use std::fs;
use std::path::PathBuf;

use crate::pg_base::{Cluster, is_root};
use crate::scenario::{Answer, Running, plan, shell, wait_for};

/// A plan for the cluster; `more`: of the rest of the plan.
fn write_plan(cluster: &Cluster, driver: &str, more: &str) {
    let run_as = if is_root() { "run_as = \"postgres\"" } else { "" };
    let text = format!(
        "staging {{\n  path = \"staging\"\n}}\n\nsource main: postgres {{\n  driver = {driver}\n  host = \"{}\"\n  \
         user = \"postgres\"\n  {run_as}\n}}\n\narchive a {{\n  from = [main]\n  to = [store]\n}}\n\n{more}",
        cluster.scenario.path("sock").display()
    );
    cluster.scenario.write("p.plan", plan(&text));
}

fn verify(query: &str) -> String {
    format!("verify {{\n  restore = main\n  query = \"{query}\"\n}}\n\nobjective {{\n  rto = 1h\n}}\n")
}

/// What a rehearsal may leave: nothing in the folder for temporary files, no note in the state, no server.
fn nothing_is_left(cluster: &Cluster) {
    let scratch = cluster.scenario.path("../tmp");
    let left: Vec<PathBuf> = fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    let notes = fs::read_dir(cluster.scenario.path("../state/backplan/rehearsing")).unwrap();
    let notes: Vec<_> = notes.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(notes, ["lock"]);
    assert_eq!(servers(cluster), "");
}

/// Servers that work on something in the folder for temporary files.
fn servers(cluster: &Cluster) -> String {
    let tmp = cluster.scenario.path("../tmp").canonicalize().unwrap();
    let script = format!(
        "for p in /proc/[0-9]*; do case \"$(readlink $p/cwd)\" in {}/*) \
         grep -q '^State:.Z' $p/status || cat $p/comm;; esac; done",
        tmp.display()
    );
    shell(&cluster.scenario.path("."), &script)
}

fn rehearse(cluster: &Cluster, more: &[&str]) -> Answer {
    cluster.scenario.plan(["verify", "--rehearse"].iter().chain(more))
}

fn sum_matches() -> &'static str {
    "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"
}

#[test]
fn a_base_backup_is_started_asked_and_checked_and_nothing_stays() {
    let cluster = Cluster::new();
    write_plan(&cluster, "basebackup", &verify(sum_matches()));
    cluster.scenario.plan(["run"]).status(0);
    let mut answer = rehearse(&cluster, &["p.plan"]).status(0);
    for word in ["restore", "recover", "query", "pg_amcheck", "pg_checksums"] {
        answer = answer.says(&format!("passed   {word}"));
    }
    answer.says("`main`").says("within the 1 h that were promised");
    nothing_is_left(&cluster);
    // The store tells others.
    let records = fs::read_dir(cluster.scenario.path("store/.backplan/p/rehearsals")).unwrap().count();
    assert_eq!(records, 1);
    // With nothing but the store there is no query, and nothing is recorded.
    rehearse(&cluster, &["--store", "store", "--format", "json"]).status(0).says("\"passed\": true");
    assert_eq!(fs::read_dir(cluster.scenario.path("store/.backplan/p/rehearsals")).unwrap().count(), 1);
    nothing_is_left(&cluster);
}

#[test]
fn a_query_that_is_not_true_fails_and_says_what_came() {
    let cluster = Cluster::new();
    for (query, words) in [
        ("SELECT count(*) > 1000000 FROM far", "it answered `f`"),
        ("SELECT count(*) FROM far", "it answered `77`"),
        ("SELECT true WHERE false", "no row"),
        ("SELECT 1 FROM nowhere", "does not exist"),
    ] {
        write_plan(&cluster, "basebackup", &verify(query));
        if !cluster.scenario.path("store").join(".backplan").exists() {
            cluster.scenario.plan(["run"]).status(0);
        }
        rehearse(&cluster, &["p.plan"]).status(1).says("FAILED").says(words);
        nothing_is_left(&cluster);
    }
}

/// Starts a rehearsal whose query takes its time, and waits until it is asked.
fn slow_rehearsal(cluster: &Cluster, more: &[&str]) -> Running {
    let running = cluster.scenario.start([&["verify", "--rehearse", "p.plan"], more].concat());
    wait_for("a server that is asked", || {
        shell(&cluster.scenario.path("."), "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
            .contains("pg_sleep(600)")
            && servers(cluster).contains("postgres")
    });
    running
}

#[test]
fn one_that_is_stopped_or_killed_leaves_nothing() {
    let cluster = Cluster::new();
    write_plan(&cluster, "basebackup", &verify("SELECT pg_sleep(600) IS NULL"));
    cluster.scenario.plan(["run"]).status(0);
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let running = slow_rehearsal(&cluster, &[]);
        running.signal(signal);
        running.answer().status(status).says("nothing of the rehearsal is left");
        nothing_is_left(&cluster);
    }
    // A kill is cleared away by the next run, of whatever plan; its server ends with it. The path of a socket has its limit:
    // there it lies among temporary files.
    let place = cluster
        .scenario
        .path("../tmp/a-place-so-deep-that-the-path-of-a-socket-in-it-would-be-longer-than-it-may-be");
    fs::create_dir(&place).unwrap();
    let running = slow_rehearsal(&cluster, &["--scratch", place.to_str().unwrap()]);
    running.signal("KILL");
    drop(running.answer());
    assert_eq!(shell(&place, "ls -A").lines().count(), 1);
    assert_eq!(shell(&cluster.scenario.path("../tmp"), "ls -A").lines().count(), 2);
    write_plan(&cluster, "basebackup", "");
    cluster.scenario.next_day().plan(["run"]).status(0).says("which a killed rehearsal left");
    fs::remove_dir(&place).unwrap();
    nothing_is_left(&cluster);
}

/// While files are copied, and with no room for them.
#[test]
fn one_that_does_not_get_as_far_as_a_server_leaves_nothing() {
    let cluster = Cluster::new();
    write_plan(&cluster, "basebackup", &verify("SELECT true"));
    cluster.scenario.plan(["run"]).status(0);
    let running = cluster.scenario.start(["verify", "--rehearse", "p.plan"]);
    let tmp = cluster.scenario.path("../tmp");
    wait_for("the copy", || !shell(&tmp, "ls -d */data/* 2>/dev/null || true").is_empty());
    running.signal("KILL");
    assert_eq!(running.answer().code, -9);
    rehearse(&cluster, &["p.plan"]).status(0).says("which a killed rehearsal left").says("passed   query");
    nothing_is_left(&cluster);
    let small = cluster.scenario.path("small");
    fs::create_dir(&small).unwrap();
    shell(&small, "mount -t tmpfs -o size=8m none .");
    let answer = rehearse(&cluster, &["p.plan", "--scratch", "small"]);
    let left = shell(&small, "ls -A");
    shell(&cluster.scenario.path("."), "umount small");
    answer.status(1).says("bytes free").says("--scratch");
    assert_eq!(left, "");
    nothing_is_left(&cluster);
}

#[test]
fn a_dump_is_loaded_into_a_cluster_of_its_own() {
    let cluster = Cluster::new();
    cluster.sql("CREATE ROLE owner");
    cluster.sql("CREATE DATABASE \\\"My shop\\\" OWNER owner");
    // One that stands in a tablespace, and one that is only read.
    let space = cluster.scenario.path("space").display().to_string();
    shell(&cluster.scenario.path("."), "mkdir space; [ $(id -u) != 0 ] || chown postgres space");
    cluster.sql(&format!("CREATE TABLESPACE \\\"my \\\"\\\"space\\\" LOCATION '{space}'"));
    cluster.sql("CREATE DATABASE spaced TABLESPACE \\\"my \\\"\\\"space\\\"");
    cluster.sql("ALTER DATABASE \\\"My shop\\\" SET default_transaction_read_only = on");
    // And what would keep its tables from being looked at.
    cluster.sql("ALTER DATABASE spaced SET statement_timeout = '80ms'");
    cluster.scenario.write(
        "refuse.sql",
        "set statement_timeout = 0;\n\
         create function slow(int, int) returns int language plpgsql immutable\n\
         as $$begin perform pg_sleep(0.012); return btint4cmp($1, $2); end$$;\n\
         create operator class slow for type int using btree as operator 1 <, operator 2 <=, operator 3 =,\n\
         operator 4 >=, operator 5 >, function 1 slow(int, int);\n\
         create table big as select n from generate_series(1, 20) n; create index on big (n slow);\n\
         create function no() returns event_trigger language plpgsql as $$begin raise exception 'no ddl here'; end$$;\n\
         create event trigger \"it's\" on ddl_command_start execute function no();\n\
         alter event trigger \"it's\" enable always;\n",
    );
    cluster.sh("psql -X -q -v ON_ERROR_STOP=1 -h $PWD/sock -U postgres -d spaced -f refuse.sql");
    write_plan(&cluster, "dump", &verify("SELECT count(*) = 77 FROM far"));
    cluster.scenario.plan(["run"]).status(0);
    rehearse(&cluster, &["p.plan"]).status(0).says("passed   load").says("passed   query");
    nothing_is_left(&cluster);
    write_plan(&cluster, "dump", &verify("SELECT count(*) = 78 FROM far"));
    rehearse(&cluster, &["p.plan"]).status(1).says("it answered `f`");
    nothing_is_left(&cluster);
    // Each that does not load is named, with what to do about it.
    cluster.scenario.write(
        "lame.sql",
        "create table t as select 1 as i; create table u as select i from t;\n\
         create function f(int) returns int immutable language sql as 'select count(*)::int + $1 from t';\n\
         create index on u (f(i));\n",
    );
    for name in ["lame", "lamer"] {
        cluster.sql(&format!("create database {name}"));
        cluster.sh(&format!("psql -X -q -v ON_ERROR_STOP=1 -h $PWD/sock -U postgres -d {name} -f lame.sql"));
    }
    cluster.scenario.next_day().plan(["run"]).status(0);
    let answer = rehearse(&cluster, &["p.plan"]).status(1).says("FAILED   load").says("database `lame`: ");
    answer
        .says("database `lamer`: ")
        .says("relation \"t\" does not exist")
        .says("alter function NAME set search_path");
    for name in ["lame", "lamer"] {
        cluster.sh(&format!(
            "psql -X -q -h $PWD/sock -U postgres -d {name} -c 'alter function f set search_path = public'"
        ));
    }
    write_plan(&cluster, "dump", &verify("SELECT count(*) = 77 FROM far"));
    cluster.scenario.next_day().plan(["run"]).status(0);
    rehearse(&cluster, &["p.plan"]).status(0);
    // An index in which something is wrong is named: its order is another than it was when it was made.
    let order = |way: &str| {
        format!(
            "create or replace function way(int, int) returns int language sql immutable as 'select btint4cmp({way})';\n"
        )
    };
    cluster.scenario.write(
        "index.sql",
        order("$1, $2")
            + "create operator class way for type int using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, \
               operator 5 >, function 1 way(int, int);\n\
               create table turned as select n from generate_series(1, 100) n; create index turned_n on turned (n way);\n"
            + &order("$2, $1"),
    );
    cluster.sh("psql -X -q -v ON_ERROR_STOP=1 -h $PWD/sock -U postgres -d postgres -f index.sql");
    write_plan(&cluster, "basebackup", &verify("SELECT count(*) = 77 FROM far"));
    cluster.scenario.next_day().plan(["run"]).status(0);
    rehearse(&cluster, &["p.plan"]).status(1).says("FAILED   pg_amcheck").says("turned_n").says("item order");
}
