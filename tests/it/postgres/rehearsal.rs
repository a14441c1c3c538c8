//! Backups by pgBackRest, rehearsed: from the repository in an artefact, and from one of its own.

use std::fs;

use super::remote::{Bucket, plan as remote_plan, world as remote_world};
use super::separate::archiving;
use super::{Cluster, open_above, world};
use crate::scenario::{Scenario, shell, wait_for};

fn write_plan(scenario: &Scenario, cluster: &Cluster, stanza: &str, is_apart: bool, rows: u32) {
    let (staging, way) = match is_apart {
        true => (String::new(), "separate db {\n  to = [store]\n}"),
        false => (
            "  staging = \"pg/repository\"\n".to_owned(),
            "archive main {\n  from = [db]\n  to   = [store]\n}",
        ),
    };
    let text = format!(
        "plan p\nstore store: dir {{\n  path = \"store\"\n}}\nstaging {{\n  path = \"staging\"\n}}\n\
         source db: postgres {{\n  driver  = pgbackrest\n  stanza  = \"{stanza}\"\n{staging}{}}}\n\
         source notes: files {{\n  paths = [\"notes\"]\n}}\narchive notes {{\n  from = [notes]\n  to = [store]\n}}\n{way}\n\
         verify {{\n  restore = db\n  query = \"select count(*) = {rows} from t\"\n}}\nobjective {{\n  rto = 1h\n}}\n",
        cluster.place()
    );
    scenario.write("p.plan", text);
}

fn nothing_is_left(scenario: &Scenario) {
    assert_eq!(fs::read_dir(scenario.path("../tmp")).unwrap().count(), 0);
}

#[test]
fn repositories_are_restored_from_and_asked() {
    for (is_apart, stanza) in [(false, "backplan_rehearsed"), (true, "backplan_rehearsed_apart")] {
        let scenario = world().file("notes/a", "a");
        open_above(&scenario.path("../tmp/x"));
        let own = match is_apart {
            true => scenario.path("store/.backplan-repo/p/db"),
            false => scenario.path("pg/repository"),
        };
        let config = own.join("pgbackrest.conf");
        let push = format!("pgbackrest --config={} --stanza={stanza} archive-push %p", config.display());
        fs::create_dir_all(scenario.path("store")).unwrap();
        open_above(&scenario.path("store/x"));
        let cluster = Cluster::start(&scenario, "pg", &push);
        cluster.fill(500);
        write_plan(&scenario, &cluster, stanza, is_apart, 500);
        scenario.plan(["run", "p.plan"]).status(0);
        let answer = scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
        answer.says("by pgbackrest").says("passed   query").says("passed   pg_checksums");
        nothing_is_left(&scenario);
        write_plan(&scenario, &cluster, stanza, is_apart, 501);
        scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says("it answered `f`");
        nothing_is_left(&scenario);
    }
}

#[test]
fn a_repository_in_a_bucket_is_rehearsed_over_the_network() {
    let stanza = "backplan_rehearsed_far";
    let scenario = remote_world();
    open_above(&scenario.path("../tmp/x"));
    let bucket = Bucket::start(&scenario);
    let cluster = archiving(&scenario, &scenario.path("pg/settings"), stanza);
    let more = "verify {\n  restore = db\n  query = \"select count(*) = 500 from t\"\n}\n\
                objective {\n  of = [db]\n  copies = 1\n}\n";
    scenario.write("p.plan", remote_plan(&cluster, &bucket, stanza, "store", more));
    cluster.fill(500);
    scenario.plan(["run", "p.plan"]).status(0);
    let answer = scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
    answer.says("over the network, from its repository").says("passed   query");
    nothing_is_left(&scenario);
    // What is in the other store is no copy of it.
    let status = scenario.plan(["status", "--format", "json", "p.plan"]).status(0).json();
    let sources = status["sources"].as_array().unwrap();
    let own = sources.iter().find(|source| source["source"] == "db").unwrap();
    assert_eq!(own["stores"], serde_json::json!(["far"]), "{status}");
}

/// A wrong passphrase, no room, a kill while files are copied: nothing stays, and the backup is none the worse.
#[test]
fn a_rehearsal_that_cannot_end_leaves_nothing() {
    let stanza = "backplan_rehearsed_cut";
    let scenario = world().file("pass", "a phrase").file("notes/a", "a");
    open_above(&scenario.path("../tmp/x"));
    let cluster = archiving(&scenario, &scenario.path("store/.backplan-repo/p/db"), stanza);
    cluster.fill(500);
    write_plan(&scenario, &cluster, stanza, true, 500);
    let text = scenario.read("p.plan");
    scenario.write(
        "p.plan",
        text.replace("to = [store]\n}\nverify", "to = [store]\n  passphrase = file(\"pass\")\n}\nverify"),
    );
    assert!(scenario.read("p.plan").contains("passphrase"));
    cluster.query("create table noise as select md5(random()::text) v from generate_series(1, 400000)");
    scenario.plan(["run", "p.plan"]).status(0);

    scenario.write("pass", "another phrase");
    scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says("FAILED   restore");
    nothing_is_left(&scenario);
    scenario.write("pass", "a phrase");

    // Too little for the cluster, and enough for it but not for its log.
    let small = scenario.path("small");
    fs::create_dir(&small).unwrap();
    for (megabytes, words) in [(16, "bytes free"), (62, "FAILED")] {
        shell(&small, &format!("mount -t tmpfs -o size={megabytes}m none ."));
        let answer = scenario.plan(["verify", "--rehearse", "p.plan", "--scratch", small.to_str().unwrap()]);
        let left = shell(&small, "ls -A");
        shell(&scenario.path("."), "umount small");
        answer.status(1).says(words);
        assert_eq!(left, "", "{megabytes}");
    }

    let running = scenario.start(["verify", "--rehearse", "p.plan"]);
    let tmp = scenario.path("../tmp");
    wait_for("the copy", || !shell(&tmp, "ls -d */data/base 2>/dev/null || true").is_empty());
    running.signal("KILL");
    assert_eq!(running.answer().code, -9);
    // The tool goes with it, so that the next run has only to remove what is there.
    let mine = format!("pgrep -f -- '[-]-stanza={stanza} .*restore' || true");
    wait_for("the tool's end", || shell(&tmp, &mine).is_empty());
    assert_ne!(fs::read_dir(&tmp).unwrap().count(), 0);
    scenario.next_day().plan(["run", "p.plan"]).status(0).says("which a killed rehearsal left");
    nothing_is_left(&scenario);
    scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
    nothing_is_left(&scenario);
}
