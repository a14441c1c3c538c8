//! Runs each of whose steps has a process of its own, into a bucket, encrypted, of databases and of a cluster with its log.

use std::fs;

use crate::buckets::{Server, store};
use crate::pg_wal::Archived;
use crate::scenario::{Scenario, shell};
use crate::steps_alone::steps;

#[test]
fn a_run_step_by_step_goes_into_a_bucket_and_is_encrypted() {
    let server = Server::start();
    let scenario = Scenario::new().env("KEY_ID", "the-id-of-a-key").env("KEY", "the-key-of-that-id");
    let key = shell(&scenario.path("."), "age-keygen -o id 2>/dev/null && age-keygen -y id");
    let text = format!(
        "plan p\n\n{}\nstore near: dir {{\n  path = \"near\"\n}}\n\nsource site: files {{\n  paths = [\"site\"]\n}}\n\n\
         source said: command {{\n  run = [\"seq\", \"200000\"]\n  as  = \"said\"\n}}\n\n\
         archive main {{\n  from    = [site, said]\n  to      = [far, near]\n  encrypt = [\"{}\"]\n}}\n\n\
         cycle {{\n  incrementals = 1\n}}\n\nkeep {{\n  last = 1\n}}\n",
        store("far", server.port, ""),
        key.trim()
    );
    scenario.write("p.plan", text);
    fs::create_dir(scenario.path("site")).unwrap();
    shell(&scenario.path("site"), "head -c 9000000 /dev/urandom > big");
    for night in 1..=4 {
        scenario.write("site/a", format!("night {night}"));
        let (_, done, said) = steps(scenario.next_day(), usize::MAX);
        assert_eq!(said["report"]["verdict"], "done", "{said}");
        assert!(done.contains(&"prune/far".to_owned()), "{done:?}");
    }
    // Two cycles: the first is gone from both.
    assert_eq!(
        (server.unfinished(), server.keys().iter().filter(|key| key.ends_with(".age")).count()),
        (0, 2)
    );
    for place in ["far", "near"] {
        let to = format!("from-{place}");
        scenario.plan(["restore", "--store", place, "--identity", "id", "--to", &to]).status(0);
        shell(
            &scenario.path("."),
            &format!("diff -r site {to}/site/site && seq 200000 | cmp - {to}/said/said"),
        );
    }
}

#[test]
fn a_run_step_by_step_backs_a_cluster_up_and_gives_its_log_up() {
    let archived = Archived::new(&["store"], "keep = 1s", "keep {\n  last = 1\n}");
    let scenario = &archived.cluster.scenario;
    archived.sql("CREATE TABLE marks (n int)");
    let mut first = None;
    for night in 1..=3 {
        archived.sql(&format!("INSERT INTO marks VALUES ({night})"));
        let segment = archived.switch();
        first.get_or_insert(segment);
        // Longer than the log is promised.
        std::thread::sleep(std::time::Duration::from_millis(1200));
        let (_, done, said) = steps(scenario.next_day(), usize::MAX);
        assert_eq!(said["report"]["verdict"], "done", "{said}");
        assert!(done.contains(&"expire/main/store".to_owned()), "{done:?}");
    }
    assert!(!archived.object("store", &first.unwrap()).exists());
    archived.sql("INSERT INTO marks VALUES (4)");
    archived.switch();
    archived.cluster.restore(&["--start", "--at", "latest"]).status(0);
    assert_eq!(archived.cluster.back("SELECT count(*) FROM marks"), "4");
    archived.stop_back();
}
