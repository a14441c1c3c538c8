//! What is told of an archived log: what it lacks, where it leads, and what was given up.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use crate::pg_copies::{archived, copy, names, start_by_hand, take_over};
use crate::pg_wal::Archived;
use crate::scenario::shell;

/// A segment with something in it.
fn segment(archived: &Archived) -> String {
    archived.sql("CREATE TABLE IF NOT EXISTS marks (n int); INSERT INTO marks VALUES (1)");
    archived.switch()
}

/// The folder of the cluster in a store's archive.
fn folder(archived: &Archived, store: &str) -> std::path::PathBuf {
    archived.object(store, "0000000100000000").parent().unwrap().parent().unwrap().to_path_buf()
}

#[test]
fn a_hole_is_told_by_all_alike_and_what_was_given_up_is_none() {
    let archived = archived(&["store"], "keep = 1s", "keep {\n  last = 4\n}");
    let scenario = &archived.cluster.scenario;
    for _ in 0..3 {
        segment(&archived);
        std::thread::sleep(Duration::from_millis(1200));
        scenario.plan(["run"]).status(0);
    }
    let last = segment(&archived);
    // The log of the first is gone, as nobody was promised it: that is no damage.
    let kept = fs::read_to_string(folder(&archived, "store").join("kept-from")).unwrap();
    assert!(names(&archived, "store").contains(kept.trim()), "{kept}");
    let owner = |path: &std::path::Path| fs::metadata(path).unwrap().uid();
    assert_eq!(owner(&folder(&archived, "store").join("kept-from")), owner(&archived.archive("store")));
    scenario.plan(["status", "p.plan"]).status(0).says("all is well");
    scenario.plan(["verify", "--all"]).status(0).says("was given up by `keep`: 1 of the backups");
    scenario.plan(["verify", "--run", "1"]).status(0).says("was given up by `keep`");
    scenario.plan(["verify", "--store", "store"]).status(0).says("whole");
    // A segment that is lost is damage, to all that are asked.
    let lost = segment(&archived);
    assert!(lost > last);
    segment(&archived);
    fs::remove_file(archived.object("store", &lost)).unwrap();
    let told = format!("segment `{lost}` is missing: recovery from a backup before it stops there");
    for way in [
        &["status", "p.plan"][..],
        &["verify"],
        &["verify", "--all"],
        &["verify", "--run", "2"],
        &["verify", "--all", "--store", "store"],
    ] {
        let status = if way[0] == "status" { 3 } else { 1 };
        scenario.plan(way).status(status).says(&told);
    }
    // A backup behind it heals nothing of what is before, and the next one still leads from there.
    scenario.plan(["run"]).status(0);
    scenario.plan(["verify", "--all"]).status(1).says(&told);
    archived.cluster.restore(&["--start"]).status(0);
    archived.stop_back();
}

#[test]
fn a_timeline_without_its_history_is_told_and_the_next_run_archives_it() {
    let archived = archived(&["store"], "", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    segment(&archived);
    archived.cluster.restore(&["--at", "latest"]).status(0);
    start_by_hand(&archived);
    copy(&archived, "INSERT INTO marks VALUES (2)");
    take_over(&archived);
    segment(&archived);
    scenario.plan(["status", "p.plan"]).status(0).says("all is well");
    fs::remove_file(folder(&archived, "store").join("00000002.history.gz")).unwrap();
    scenario
        .plan(["status", "p.plan"])
        .status(3)
        .says("timeline 2 was archived, and its `00000002.history` was not")
        .says("segments arrive that no backup leads to");
    scenario.plan(["verify", "--all"]).status(1).says("its `00000002.history` was not");
    scenario.plan(["run"]).status(0).says("`00000002.history` was never archived, and is now");
    scenario.plan(["status", "p.plan"]).status(0).says("all is well");
    scenario.plan(["verify", "--all"]).status(0);
    // From before the fork, over it.
    archived.cluster.restore(&["--start", "--at", "latest", "--run", "1"]).status(0);
    assert_eq!(archived.cluster.back("SELECT count(*) FROM marks"), "3");
    archived.stop_back();
}

#[test]
fn the_beginning_of_a_timeline_that_was_written_without_archiving_is_a_hole_until_the_next_run() {
    let archived = archived(&["store"], "", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    segment(&archived);
    archived.cluster.restore(&["--at", "latest"]).status(0);
    start_by_hand(&archived);
    copy(&archived, "INSERT INTO marks VALUES (2)");
    let lost = copy(&archived, "SELECT pg_walfile_name(pg_switch_wal())");
    copy(&archived, "CHECKPOINT");
    take_over(&archived);
    let next = segment(&archived);
    assert!(next > lost && !names(&archived, "store").contains(&lost));
    scenario.plan(["status", "p.plan"]).status(3).says(&format!("segment `{lost}` is missing"));
    // What is not all there is not opened as if it were.
    let answer = archived.cluster.restore(&["--start", "--at", "latest"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    shell(&scenario.path("."), "rm -rf back back.*");
    scenario.plan(["run"]).status(0);
    archived.cluster.restore(&["--start", "--at", "latest"]).status(0);
    assert_eq!(archived.cluster.back("SELECT count(*) FROM marks"), "3");
    archived.stop_back();
}

#[test]
fn two_timelines_that_both_grow_are_told_until_one_is_backed_up() {
    let archived = archived(&["store"], "", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    segment(&archived);
    archived.cluster.restore(&["--at", "latest"]).status(0);
    start_by_hand(&archived);
    copy(&archived, "INSERT INTO marks VALUES (2)");
    let first = copy(&archived, "SELECT pg_walfile_name(pg_switch_wal())");
    archived.run(&format!("cd back && ../plan wal push --take-over ../p.plan main pg_wal/{first}")).status(0);
    scenario.plan(["status", "p.plan"]).status(0);
    segment(&archived);
    scenario
        .plan(["status", "p.plan"])
        .status(3)
        .says("timelines 1 and 2 both grow: two clusters archive to one place")
        .says("segments arrive that no backup leads to");
    scenario.plan(["check", "--live", "p.plan"]).says("timelines_apart").says("timelines 1 and 2 both grow");
    archived.cluster.sh("pg_ctl -s -D back -m immediate stop");
    // Whoever follows one is told of the other, and how to have it; and what is told works.
    let told = "timeline 2 is followed, and timeline 1 goes on beside it, archived until ";
    shell(&scenario.path("."), "rm -rf back back.*");
    let answer = archived.cluster.restore(&["--start", "--at", "latest"]).status(3).says(told);
    answer.says("`--target-timeline 1` recovers to that");
    assert_eq!(archived.cluster.back("SELECT max(n) FROM marks"), "2");
    archived.stop_back();
    scenario.plan(["verify", "--rehearse", "p.plan"]).says(told);
    shell(&scenario.path("."), "rm -rf back back.*");
    archived.cluster.restore(&["--start", "--at", "latest", "--target-timeline", "1"]).status(0);
    assert_eq!(archived.cluster.back("SELECT count(*) FROM marks WHERE n = 2"), "0");
    archived.stop_back();
    // As it is advised: the other archives nothing any more, and of this one there is a backup.
    scenario.plan(["run"]).status(0);
    for _ in 0..2 {
        scenario.plan(["status", "p.plan"]).status(0).says("all is well");
        assert!(!scenario.plan(["check", "--live", "p.plan"]).said().contains("timelines_apart"));
        archived.sql("INSERT INTO marks VALUES (3)");
        archived.switch();
    }
    archived.cluster.restore(&["--start", "--at", "latest"]).status(0);
    assert_eq!(archived.cluster.back("SELECT max(n) FROM marks"), "3");
    archived.stop_back();
}

#[test]
fn what_one_store_lacks_is_told_and_brought_there_by_the_next_run() {
    let archived = archived(&["store", "second"], "ack = any", "");
    let scenario = &archived.cluster.scenario;
    scenario.plan(["run"]).status(0);
    segment(&archived);
    fs::rename(scenario.path("second"), scenario.path("away")).unwrap();
    let missed = [segment(&archived), segment(&archived)];
    scenario.plan(["status", "p.plan"]).status(3).says("the wrong disk may be mounted");
    fs::rename(scenario.path("away"), scenario.path("second")).unwrap();
    let later = segment(&archived);
    scenario
        .plan(["status", "p.plan"])
        .status(3)
        .says(&format!("store `second` lacks 2 of the segments that another has, the first `{}`", missed[0]));
    scenario.plan(["verify", "--all"]).status(1).says(&format!("segment `{}` is missing", missed[0]));
    scenario.plan(["run", "--dry-run"]).status(0).says("would bring 2 files of the log there that it lacks");
    // One that is spoilt is not passed on.
    let object = archived.object("store", &missed[1]);
    let whole = fs::read(&object).unwrap();
    let mut spoilt = whole.clone();
    spoilt[whole.len() / 2] ^= 8;
    fs::write(&object, &spoilt).unwrap();
    scenario.plan(["run"]).status(3).says("lacks some of the log that another has").says(&missed[1]);
    assert!(!archived.object("second", &missed[1]).exists());
    fs::write(&object, whole).unwrap();
    // Artefacts are named by the second.
    thread::sleep(Duration::from_secs(1));
    scenario.plan(["run"]).status(0).says("1 file of the log that it lacked brought there");
    for segment in missed.iter().chain([&later]) {
        let (one, other) = (archived.object("store", segment), archived.object("second", segment));
        assert_eq!(fs::read(one).unwrap(), fs::read(&other).unwrap());
        let owner = fs::metadata(archived.archive("second")).unwrap().uid();
        assert_eq!(fs::metadata(&other).unwrap().uid(), owner);
        assert_eq!(fs::metadata(other.parent().unwrap()).unwrap().uid(), owner);
    }
    // What the last backup needs is archived by now in both.
    segment(&archived);
    scenario.plan(["status", "p.plan"]).status(0).says("all is well");
    scenario.plan(["verify", "--all"]).status(0);
}
