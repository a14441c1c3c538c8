//! What a role that is no superuser does not get into a dump: it is told, beforehand too, and what is advised helps.

use super::{Cluster, plan, restore, run, world};
use crate::scenario::{Answer, Scenario, shell};

fn live(scenario: &Scenario) -> Answer {
    scenario.plan(["check", "--live", "p.plan"])
}

/// A cluster with the databases `shop` and `other`, a role `backup` that may read all data, and a plan that dumps as that.
fn begin(more: &str) -> (Scenario, Cluster) {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    cluster.query("create role backup login in role pg_read_all_data");
    for name in ["shop", "other"] {
        cluster.query(&format!("create database {name}"));
    }
    let source = format!(
        "source db: postgres {{\n  driver = dump\n  user = \"backup\"\n{more}{}}}\n",
        cluster.place()
    );
    scenario.write("p.plan", plan(&source, "archive main {\n  from = all\n  to   = [store]\n}\n", ""));
    (scenario, cluster)
}

impl Cluster {
    /// As [`Cluster::query`], in another database.
    #[track_caller]
    fn query_in(&self, database: &str, sql: &str) -> String {
        let (sockets, port) = (self.sockets.to_str().unwrap(), self.port.to_string());
        self.must("psql", &["-h", sockets, "-p", &port, "-d", database, "-XAtc", sql]).trim().to_owned()
    }
}

/// Says what of a dump is missing that `pg_dump` only warns of, or is silent about.
#[test]
fn what_pg_dump_leaves_out_is_a_warning_of_the_run() {
    let (scenario, cluster) = begin("");
    cluster.query_in(
        "shop",
        "create subscription feed connection 'host=/nowhere dbname=x' publication p with (connect = false, slot_name = none)",
    );
    // Of an extension or not: keys in a circle are in a dump as they are.
    cluster.query_in(
        "shop",
        "create table a (n int primary key, b int); create table b (n int primary key, a int references a); \
         alter table a add foreign key (b) references b",
    );
    cluster.query_in(
        "other",
        "create extension postgres_fdw; create server far foreign data wrapper postgres_fdw; \
         create user mapping for backup server far; create user mapping for public server far options (password 'sesame')",
    );
    let subscription = "database `shop`: its dump lacks the subscriptions `feed`";
    let mapping = "its dump has the user mappings `public` on `far` without their options";
    live(&scenario).status(0).says("dump_lacks").says(subscription).says(mapping);
    let answer = run(&scenario).status(3);
    let answer = answer.says("database `shop`: subscriptions not dumped because").says(mapping);
    assert!(!answer.said().contains("circular"), "{answer:?}");
    let dumped = |number: &str| {
        let back = restore(&scenario, number, "db");
        let read = |name: &str| format!("{}/pg_restore --file=- {name}.dump", cluster.programs.display());
        shell(&back, &format!("{} && {}", read("shop"), read("other")))
    };
    let first = dumped("1");
    assert!(
        first.contains("CREATE USER MAPPING") && !first.contains("sesame") && !first.contains("SUBSCRIPTION")
    );
    // What is advised.
    cluster.query("alter role backup superuser");
    live(&scenario).status(0).says("nothing to report");
    run(&scenario).status(0);
    let second = dumped("2");
    assert!(second.contains("CREATE SUBSCRIPTION") && second.contains("sesame"));
    // One without options lacks none.
    cluster.query("alter role backup nosuperuser");
    cluster.query_in("shop", "drop subscription feed");
    cluster.query_in(
        "other",
        "drop user mapping for public server far; create user mapping for public server far",
    );
    run(&scenario).status(0);
}

/// What is read of databases of which some cannot be, what is told of it, and that what is advised helps.
#[test]
fn a_database_that_cannot_be_dumped_costs_itself_alone() {
    let (scenario, cluster) = begin("");
    cluster.query("create role clerk login");
    cluster.query("alter database other connection limit -1");
    run(&scenario).status(0);
    let retried = scenario.read("p.plan").replace("attempts = 1", "attempts = 3\n  backoff = 1s..1s");
    scenario.write("p.plan", retried);
    let hidden = "create table r (n int, who text); insert into r values (1, 'clerk'); alter table r owner to clerk; \
                  alter table r enable row level security; create policy p on r using (who = current_user)";
    for (database, spoil, cause, mend, advised) in [
        (
            "shop",
            "select lo_from_bytea(4711, 'abc')",
            "permission denied for large object 4711",
            "`alter role NAME set lo_compat_privileges = on`",
            "alter role backup set lo_compat_privileges = on",
        ),
        (
            "shop",
            hidden,
            "row-level security policy for table",
            "`alter role NAME bypassrls`",
            "alter role backup bypassrls",
        ),
        (
            "other",
            "revoke connect on database other from public",
            "permission denied for database",
            "`grant connect on database DATABASE to NAME`",
            "grant connect on database other to backup",
        ),
    ] {
        cluster.query_in(database, spoil);
        let said = live(&scenario)
            .status(1)
            .says("rights_missing")
            .says(&format!("database `{database}`: it cannot be"));
        said.says(mend);
        let answer = run(&scenario).status(1).says(cause).says(mend);
        let told = format!("database `{database}` cannot be dumped and is not in the backup");
        let answer = answer.says(&told);
        assert!(!answer.said().contains("attempt") && !answer.said().contains("did not come"), "{answer:?}");
        let to = format!("part-{database}-{}", cause.len());
        let answer = scenario.plan(["restore", "p.plan", "--source", "db", "--to", &to]);
        answer.says("has only a part of source `db`").says(&told).says("is the last before it that has all");
        let there = shell(&scenario.path(&to), "ls");
        assert!(there.contains("globals.sql") && there.contains("postgres.dump"), "{there}");
        assert_eq!(there.matches(&format!("{database}.dump")).count(), 0, "{there}");
        cluster.query(advised);
        live(&scenario).status(0).says("nothing to report");
        let answer = run(&scenario).status(0);
        assert!(!answer.said().contains(database), "{answer:?}");
    }
    // What is dropped after a run that lacked another is told as well.
    cluster.query("revoke connect on database other from backup");
    run(&scenario).status(1);
    cluster.query("drop database other");
    run(&scenario).status(3).says("database `other` of run").says("did not come with this run");
}

/// One that is named is all that there is to be read, and `strict` takes all or nothing.
#[test]
fn a_source_without_any_database_is_no_backup() {
    let (scenario, cluster) = begin("  database = \"shop\"\n  jobs = 2\n");
    cluster.query_in("shop", "select lo_from_bytea(4711, 'abc')");
    let one = scenario.read("p.plan");
    run(&scenario).status(1).says("lo_compat_privileges").says("no backup was made");
    scenario.write("p.plan", one.replace("  database = \"shop\"\n", ""));
    run(&scenario).status(1).says("database `shop` cannot be dumped");
    let there = shell(&restore_in_part(&scenario), "ls");
    assert!(there.contains("other") && !there.contains("shop"), "{there}");
    scenario.write("p.plan", one.replace("  database = \"shop\"\n", "  strict = true\n"));
    run(&scenario).status(1).says("no backup was made");
}

fn restore_in_part(scenario: &Scenario) -> std::path::PathBuf {
    scenario.plan(["restore", "p.plan", "--source", "db", "--to", "part"]).says("has only a part");
    scenario.path("part")
}
