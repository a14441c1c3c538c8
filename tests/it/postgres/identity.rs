//! Another cluster at the address of the one that was backed up: refused until it is said to be meant, by every driver.

use std::fs;

use super::{Cluster, PROBACKUP, labels, open_above, plan, run, world};
use crate::scenario::{Answer, Scenario, shell};

const ARCHIVE: &str = "archive main {\n  from = [main]\n  to   = [store]\n}\n";
const LAST: &str = "keep {\n  last = 1\n}\n";

/// The cluster is lost, and a fresh one answers where it was.
fn replaced(scenario: &Scenario, old: Cluster, archive: &str) -> Cluster {
    drop(old);
    shell(&scenario.path("."), "mv pg lost");
    Cluster::start(scenario, "pg", archive)
}

fn kept(scenario: &Scenario) -> String {
    shell(&scenario.path("store"), "ls .backplan/p/manifests")
}

fn said_to_be_meant(scenario: &Scenario) -> Answer {
    scenario.next_day().plan(["run", "p.plan", "--new-cluster", "main"])
}

/// Refused by a run, again and again, and by a check; nothing is deleted. Once it was said, it is the source's cluster.
fn is_refused_until_it_is_said(scenario: &Scenario, system: &str, word: &str) {
    let before = kept(scenario);
    for _ in 0..3 {
        run(scenario).status(1).says(word).says("plan run --new-cluster main");
        assert_eq!(kept(scenario), before);
    }
    scenario.plan(["check", "--live", "p.plan"]).status(1).says("cluster_other").says(system);
    said_to_be_meant(scenario);
    assert_ne!(kept(scenario), before, "the first of the new one took its place");
    scenario.plan(["check", "--live", "p.plan"]);
    let now = run(scenario);
    assert!(now.code != 1, "{now:?}");
    assert!(!scenario.plan(["check", "--live", "p.plan"]).said().contains("cluster_other"));
}

fn system_of(cluster: &Cluster) -> String {
    cluster.query("select system_identifier from pg_control_system()")
}

#[test]
fn a_fresh_cluster_does_not_age_out_the_backups_of_the_lost_one() {
    for driver in ["basebackup", "dump"] {
        let scenario = world();
        let cluster = Cluster::start(&scenario, "pg", "/bin/true");
        cluster.fill(100);
        let source = format!("source main: postgres {{\n  driver = {driver}\n{}}}\n", cluster.place());
        scenario.write("p.plan", plan(&source, ARCHIVE, LAST));
        run(&scenario).status(0);
        let system = system_of(&cluster);
        assert!(labels(&scenario, 1).contains(&format!("system_id: '{system}'")), "{}", labels(&scenario, 1));
        let fresh = replaced(&scenario, cluster, "/bin/true");
        fresh.fill(100);
        assert_ne!(system_of(&fresh), system);
        is_refused_until_it_is_said(&scenario, &system, "the server is another cluster");
    }
}

#[test]
fn a_new_repository_does_not_make_another_cluster_the_old_one() {
    let scenario = world();
    let config = scenario.path("pg/repository/pgbackrest.conf");
    let push = format!("pgbackrest --config={} --stanza=fresh archive-push %p", config.display());
    let cluster = Cluster::start(&scenario, "pg", &push);
    let source = format!(
        "source main: postgres {{\n  driver  = pgbackrest\n  stanza  = \"fresh\"\n  staging = \"pg/repository\"\n{}}}\n",
        cluster.place()
    );
    scenario.write("p.plan", plan(&source, ARCHIVE, LAST));
    run(&scenario).status(0);
    let system = system_of(&cluster);
    let _fresh = replaced(&scenario, cluster, &push);
    // The repository was on the disk that is lost, too: there is no stanza that could refuse.
    is_refused_until_it_is_said(&scenario, &system, "the server is another cluster");
}

#[test]
fn a_repository_of_another_cluster_is_refused_with_what_to_do() {
    let scenario = world();
    // The tool's account passes through what the run makes above it.
    let config = scenario.path("made/on/the_way/repository/pgbackrest.conf");
    let push = format!("pgbackrest --config={} --stanza=other archive-push %p", config.display());
    let cluster = Cluster::start(&scenario, "pg", &push);
    let source = format!(
        "source main: postgres {{\n  driver  = pgbackrest\n  stanza  = \"other\"\n  staging = \"made/on/the_way/repository\"\n{}}}\n",
        cluster.place()
    );
    scenario.write("p.plan", plan(&source, ARCHIVE, LAST));
    run(&scenario).status(0);
    let before = kept(&scenario);
    let _fresh = replaced(&scenario, cluster, &push);
    let says = "move what is in the repository's folder away";
    let answer = run(&scenario).status(1).says(says).says("plan run --new-cluster main");
    assert!(!answer.said().contains("attempt"), "{answer:?}");
    scenario.plan(["check", "--live", "p.plan"]).status(1).says("stanza_other").says(says);
    assert_eq!(kept(&scenario), before);
    // As it is told.
    shell(&scenario.path(""), "mkdir lost/repository && mv made/on/the_way/repository/* lost/repository");
    said_to_be_meant(&scenario);
    assert_ne!(kept(&scenario), before);
    let now = run(&scenario);
    assert!(now.code != 1, "{now:?}");
}

#[test]
fn a_catalogue_that_is_new_in_each_run_does_not_either() {
    let scenario = world();
    let place = scenario.path("bin");
    let scenario = scenario
        .env("PATH", &format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", place.display()))
        .file("bin/pg_probackup", PROBACKUP);
    open_above(&place.join("x"));
    shell(&place, "chmod +x pg_probackup && chmod a+rwx . && : > log && chmod a+rw log");
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    let source = format!(
        "source main: postgres {{\n  driver   = probackup\n  staging  = \"pg/catalogue\"\n  data_dir = \"pg/data\"\n{}}}\n",
        cluster.place()
    );
    scenario.write("p.plan", plan(&source, ARCHIVE, LAST));
    run(&scenario).status(0);
    let system = system_of(&cluster);
    assert!(labels(&scenario, 1).contains(&format!("system_id: '{system}'")), "{}", labels(&scenario, 1));
    let _fresh = replaced(&scenario, cluster, "/bin/true");
    is_refused_until_it_is_said(&scenario, &system, "the server is another cluster");
}

#[test]
fn only_a_postgres_source_can_have_a_new_cluster() {
    let scenario = world().file("site/a", "a");
    let source = "source site: files {\n  paths = [\"site\"]\n}\n";
    scenario.write("p.plan", plan(source, "archive main {\n  from = [site]\n  to   = [store]\n}\n", ""));
    for name in ["site", "main"] {
        let answer = scenario.plan(["run", "p.plan", "--new-cluster", name]).status(2);
        answer.says(&format!("there is no Postgres source `{name}`"));
    }
    assert!(fs::read_dir(scenario.path("store")).unwrap().next().is_none());
}

/// What is printed can be pasted.
#[test]
fn the_line_for_the_server_is_printed_as_it_is_to_be() {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    let source = format!(
        "source main: postgres {{\n  driver  = pgbackrest\n  stanza  = \"pasted one\"\n  staging = \"pg/it's 100%\"\n{}}}\n",
        cluster.place()
    );
    scenario.write("p.plan", plan(&source, ARCHIVE, ""));
    let answer = run(&scenario).status(1);
    let paste = |said: &str| {
        let line = said.lines().map(str::trim).find(|line| line.starts_with("archive_command = '"));
        let line = line.unwrap_or_else(|| panic!("no line in {said}"));
        let conf = cluster.data.join("postgresql.auto.conf");
        let text = fs::read_to_string(&conf).unwrap();
        let others: Vec<&str> = text.lines().filter(|line| !line.starts_with("archive_command")).collect();
        let text = format!("{}\n{line}\n", others.join("\n"));
        // `$W` is what a test shows instead of its folder.
        let home = scenario.path("").parent().unwrap().display().to_string();
        fs::write(&conf, text.replace("$W", home.trim_end_matches('/'))).unwrap();
        cluster.query("select pg_reload_conf()");
    };
    paste(&answer.said());
    run(&scenario).status(0);
    // And the line of the check, in place of what leads nowhere.
    cluster.query("alter system set archive_command = '/bin/true'");
    cluster.query("select pg_reload_conf()");
    let answer = scenario.plan(["check", "--live", "p.plan"]).status(0).says("archive_command");
    paste(&answer.said());
    let answer = scenario.plan(["check", "--live", "p.plan"]);
    assert!(!answer.said().contains("archive_command"), "{answer:?}");
    run(&scenario).status(0);
}
