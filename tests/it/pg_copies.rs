//! Copies of a cluster that archives: what they do to its archive, and what becomes of one that takes its place.

use std::fs;

use crate::pg_wal::Archived;
use crate::scenario::{shell, wait_for};

/// A cluster that archives, without the tablespace that a copy on this machine would share with it.
pub fn archived(stores: &[&str], more: &str, rest: &str) -> Archived {
    let archived = Archived::new(stores, more, rest);
    archived.sql("DROP TABLE far");
    archived.sql("DROP TABLESPACE fast");
    archived
}

/// The names of all that a store's archive has, sorted.
pub fn names(archived: &Archived, store: &str) -> String {
    shell(&archived.archive(store), "find . -name '0*.gz' -printf '%f\\n' | sort | tr '\\n' ' '")
}

/// Starts a restored cluster as a person would, beside its original, and waits until it is open.
pub fn start_by_hand(archived: &Archived) {
    archived.cluster.sh("pg_ctl -w -s -D back -l log.back -o '-p 5433' start");
    wait_for("the copy", || copy(archived, "SELECT pg_is_in_recovery()") == "f");
}

pub fn copy(archived: &Archived, sql: &str) -> String {
    let sql = format!("psql -X -At -h $PWD/sock -p 5433 -U postgres -d postgres -c \"{sql}\"");
    archived.cluster.sh(&sql).trim().to_owned()
}

/// The copy takes the place of the original.
pub fn take_over(archived: &Archived) {
    archived
        .cluster
        .sh("pg_ctl -s -D pg -m fast stop; pg_ctl -s -D back -m fast stop; mv pg old; mv back pg; \
         sed -i /^archive_mode/d pg/postgresql.auto.conf; pg_ctl -w -s -D pg -l log start");
    wait_for("the history", || names(archived, "store").contains("00000002.history"));
}

#[test]
fn a_copy_that_is_started_by_hand_archives_nothing_and_can_take_the_original_s_place() {
    let archived = archived(&["store"], "", "");
    archived.cluster.scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks (n int)");
    archived.switch();
    let before = names(&archived, "store");
    archived.cluster.restore(&["--at", "latest"]).status(0).says("it archives nothing");
    start_by_hand(&archived);
    assert_eq!(copy(&archived, "SHOW archive_mode"), "off");
    copy(&archived, "INSERT INTO marks VALUES (1)");
    assert_eq!(names(&archived, "store"), before);
    // What it was recovered to has gone with its recovery; what it must not do has not.
    let settings = archived.cluster.sh("cat back/postgresql.auto.conf");
    assert!(
        !settings.contains("recovery_target") && !settings.contains("recovery_end_command"),
        "{settings}"
    );
    assert!(settings.contains("archive_mode = off"), "{settings}");
    take_over(&archived);
    archived.sql("INSERT INTO marks VALUES (2)");
    assert!(archived.switch().starts_with("00000002"));
    wait_for("all of the new timeline", || {
        archived.sql("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%ready'") == "0"
    });
    archived.cluster.restore(&["--start", "--at", "latest"]).status(0);
    assert_eq!(archived.cluster.back("SELECT string_agg(n::text, ',' ORDER BY n) FROM marks"), "1,2");
    archived.stop_back();
}

#[test]
fn the_timeline_of_a_copy_that_was_started_can_be_recovered_once_it_has_taken_over() {
    let archived = archived(&["store"], "", "");
    archived.cluster.scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks (n int)");
    archived.switch();
    let before = ["--restore-point", "before", "--target-action", "pause", "--run", "1"];
    for way in [["--at", "latest"].as_slice(), &before] {
        if way.len() > 2 {
            // The accident, and a backup of what it left.
            archived.sql("SELECT pg_create_restore_point('before')");
            archived.sql("INSERT INTO marks VALUES (7)");
            archived.cluster.scenario.plan(["run"]).status(0);
            archived.switch();
        }
        archived.cluster.restore(&[&["--start", "--archive"], way].concat()).status(0);
        // Who asked for a pause promotes it himself.
        archived.cluster.sh("pg_ctl -s -w -D back promote || true");
        wait_for("promotion", || archived.cluster.back("SELECT pg_is_in_recovery()") == "f");
        assert_eq!(archived.cluster.back("SHOW archive_mode"), "off");
        wait_for("the mark", || {
            archived.cluster.scenario.path("back/pg_wal/archive_status/00000002.history.ready").exists()
        });
        let settings = archived.cluster.sh("cat back/postgresql.auto.conf");
        assert!(!settings.contains("recovery_target") && !settings.contains("archive_mode"), "{settings}");
        if way.len() == 2 {
            archived.stop_back();
        }
    }
    archived.cluster.back("INSERT INTO marks VALUES (1)");
    take_over(&archived);
    archived.cluster.restore(&["--start", "--at", "latest"]).status(1).says("remove it");
    assert!(!archived.cluster.scenario.path("back").exists());
    fs::remove_dir_all(archived.cluster.scenario.path("back.server")).unwrap();
    archived.sql("INSERT INTO marks VALUES (2)");
    archived.switch();
    // The newest backup is of the past that was left: what goes on is recovered from the one before it.
    let scenario = &archived.cluster.scenario;
    scenario
        .plan(["status", "p.plan"])
        .status(3)
        .says("the newest backup is of timeline 1, behind the place");
    let other = ["--at", "latest", "--run", "2", "--target-timeline", "2"];
    archived.cluster.restore(&other).status(1).says("no backup leads to timeline 2");
    archived.cluster.restore(&["--start", "--at", "latest"]).status(0);
    assert_eq!(archived.cluster.back("SELECT string_agg(n::text, ',' ORDER BY n) FROM marks"), "1,2");
    archived.stop_back();
    archived.cluster.restore(&["--start", "--at", "latest", "--target-timeline", "current"]).status(0);
    assert_eq!(archived.cluster.back("SELECT string_agg(n::text, ',' ORDER BY n) FROM marks"), "7");
    archived.stop_back();
    let rehearsed = scenario.plan(["verify", "--rehearse", "--source", "main", "p.plan"]);
    rehearsed.status(0).says("from run 00000001-").says("passed   recover");
    scenario.plan(["run"]).status(0);
    scenario.plan(["status", "p.plan"]).status(0).says("all is well");
}

#[test]
fn a_cluster_that_comes_back_as_files_archives_nothing() {
    let archived = archived(
        &["store"],
        "",
        "source more: files {\n  paths = [\"script\"]\n}\n\narchive b {\n  from = [more]\n  to = [store]\n}",
    );
    archived.cluster.scenario.plan(["run"]).status(0);
    archived.cluster.scenario.plan(["restore", "p.plan", "--to", "all"]).status(0);
    let settings = archived.cluster.scenario.read("all/main/postgresql.auto.conf");
    assert!(settings.ends_with("\narchive_mode = off\n"), "{settings}");
    // A part of it starts no server, and is as it was.
    let part = [
        "restore",
        "p.plan",
        "--to",
        "part",
        "--source",
        "more",
        "--source",
        "main",
        "--path",
        "main/base/1/PG_VERSION",
    ];
    archived.cluster.scenario.plan(part).status(0);
    assert!(!archived.cluster.scenario.path("part/main/postgresql.auto.conf").exists());
}

#[test]
fn a_copy_without_an_archived_log_has_a_timeline_of_its_own_where_it_archives() {
    let archived = archived(&["store"], "", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    let text = scenario.read("p.plan");
    let without = text.replace("wal main {\n  to = [store]\n  \n}", "");
    assert_ne!(text, without);
    scenario.write("q.plan", without);
    for (way, timeline) in [(["--dry-run"].as_slice(), "1"), (&["--archive"], "2"), (&[], "1")] {
        let fixed = ["restore", "q.plan", "--source", "main", "--to", "back"];
        scenario.plan(fixed.iter().chain(way)).status(0);
        if way != ["--dry-run"] {
            // It archives to nowhere: the test is about its timeline.
            archived
                .cluster
                .sh("pg_ctl -w -s -D back -l log.back -o '-p 5433 -c archive_command=false' start");
            wait_for("the copy", || copy(&archived, "SELECT pg_is_in_recovery()") == "f");
            assert_eq!(
                copy(&archived, "SELECT timeline_id FROM pg_control_checkpoint()"),
                timeline,
                "{way:?}"
            );
            archived.stop_back();
        }
        assert!(!fs::exists(scenario.path("back")).unwrap());
    }
}

#[test]
fn a_copy_does_not_archive_where_its_original_s_server_runs_unless_it_is_told_to() {
    let archived = archived(&["store", "second"], "ack = any", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks (n int)");
    archived.switch();
    // It keeps its command, as one does that was copied by hand, and promotes itself.
    archived.cluster.restore(&["--at", "latest", "--archive"]).status(0);
    start_by_hand(&archived);
    copy(&archived, "INSERT INTO marks VALUES (1)");
    wait_for("a refusal", || copy(&archived, "SELECT failed_count > 0 FROM pg_stat_archiver") == "t");
    assert!(scenario.read("log.back").contains("is a copy of the cluster in"));
    archived.sql("INSERT INTO marks VALUES (7)");
    archived.switch();
    for store in ["store", "second"] {
        assert!(!names(&archived, store).contains("history"), "{}", names(&archived, store));
    }
    // Nor in the moments in which that is down: it went on after the copy had left it.
    let failed = || copy(&archived, "SELECT failed_count FROM pg_stat_archiver").parse::<u64>().unwrap();
    archived.cluster.sh("pg_ctl -s -D pg -m fast stop");
    let before = failed();
    copy(&archived, "SELECT pg_switch_wal()");
    wait_for("another refusal", || failed() > before);
    for store in ["store", "second"] {
        assert!(!names(&archived, store).contains("history"), "{}", names(&archived, store));
    }
    assert!(scenario.read("log.back").contains("timeline 2 left timeline 1 at"));
    archived.cluster.sh("pg_ctl -w -s -D pg -l log start");
    // Nor one that has no timeline of its own yet, and would be the first with a segment.
    let fixed = ["--run", "latest", "--immediate", "--target-action", "pause"];
    shell(&scenario.path("."), "mv back other");
    archived.cluster.restore(&fixed).status(0);
    let next = "pg_wal/000000010000000000000033";
    archived.cluster.sh(&format!("cp pg/pg_wal/$(ls pg/pg_wal | grep ^0000 | head -n 1) back/{next}"));
    archived
        .run(&format!("cd back && ../plan wal push ../p.plan main {next}"))
        .status(1)
        .says("is a copy of the cluster in");
    shell(&scenario.path("."), "rm -rf back; mv other back");
    // The original is stopped, and no longer what the plan means.
    let told = scenario.read("back/postgresql.conf").replace("wal push", "wal push --take-over");
    scenario.write("back/postgresql.conf", told);
    archived.cluster.sh("pg_ctl -s -D back reload");
    wait_for("the history", || names(&archived, "store").contains("00000002.history"));
    archived.cluster.sh("pg_ctl -s -D back -m immediate stop");
}

#[test]
fn a_timeline_is_refused_while_the_one_that_it_left_goes_on() {
    let archived = archived(&["store"], "", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks (n int)");
    archived.switch();
    archived.cluster.restore(&["--at", "latest"]).status(0);
    start_by_hand(&archived);
    // As seen from another machine: no server is where this plan says.
    let text = scenario.read("p.plan").replace("data_dir = \"pg\"", "").replace("/sock\"", "/nowhere\"");
    scenario.write("q.plan", text);
    let push = |file: &str, more: &str| {
        shell(&archived.archive("store"), "sed -i 's/^machine:.*/machine: another/' */origin.yaml");
        archived.run(&format!("cd back && ../plan wal push {more} ../q.plan main pg_wal/{file}"))
    };
    let mut number = 0;
    let mut ended = || {
        number += 1;
        copy(&archived, &format!("CREATE TABLE copy{number} (n int)"));
        copy(&archived, "SELECT pg_walfile_name(pg_switch_wal())")
    };
    let goes_on = || {
        archived.sql("INSERT INTO marks VALUES (1)");
        archived.switch();
    };
    // Nothing says yet that the original lives. The history goes before the segment, though nobody pushed it.
    let first = ended();
    push(&first, "").status(0);
    assert!(names(&archived, "store").contains("00000002.history"));
    goes_on();
    let second = ended();
    push(&second, "").status(1).says("timeline 2 left timeline 1 at").says("--take-over");
    push(&first, "").status(0);
    push(&second, "--take-over").status(0);
    // Told once, and the other is quiet.
    push(&ended(), "").status(0);
    goes_on();
    push(&ended(), "").status(1);
    archived.cluster.sh("pg_ctl -s -D back -m immediate stop");
}
