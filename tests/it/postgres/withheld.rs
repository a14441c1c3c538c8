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
