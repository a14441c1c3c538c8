//! What goes wrong around an archived log, and what becomes of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pg_base::is_root;
use crate::pg_wal::Archived;
use crate::scenario::shell;

/// The names of all segments in a store's archive.
fn segments(archived: &Archived, store: &str) -> Vec<String> {
    let found =
        shell(&archived.archive(store), "find . -name '????????????????????????.gz' -printf '%f\\n' | sort");
    found.lines().map(|name| name.trim_end_matches(".gz").to_owned()).collect()
}

fn folder_of_cluster(archived: &Archived) -> PathBuf {
    archived.object("store", "0000000100000000").parent().unwrap().parent().unwrap().to_path_buf()
}

/// Whether a process in this folder fetches segments ahead of need.
fn is_fetched_ahead(folder: &Path) -> bool {
    let folder = folder.canonicalize().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes.filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder)).any(
        |process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            // It is empty for the moment in which a process becomes another program.
            line.is_empty() || String::from_utf8_lossy(&line).contains("fetch\0--ahead")
        },
    )
}

/// A segment of this cluster, in `again`, that does not compress.
fn large_segment(archived: &Archived) {
    let real = archived.switch();
    let object = archived.object("store", &real);
    archived.cluster.sh(&format!(
        "mkdir again; {{ gzip -dc {} | head -c 8192; head -c 16769024 /dev/urandom; }} > again/0000000900000000000000AA; \
         printf '\\0\\0\\0\\252' | dd of=again/0000000900000000000000AA bs=1 seek=8 conv=notrunc status=none",
        object.display()
    ));
}

#[test]
fn recovery_follows_the_timeline_that_a_promotion_began() {
    let archived = Archived::new(&["store"], "", "");
    let scenario = &archived.cluster.scenario;
    // Its place would be that of the restored one's.
    archived.sql("DROP TABLE far");
    archived.sql("DROP TABLESPACE fast");
    scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks (n int)");
    archived.sql("INSERT INTO marks VALUES (1)");
    archived.switch();
    // A copy of it is promoted, takes its place, and archives to the same place.
    archived.cluster.restore(&["--at", "latest", "--archive"]).status(0);
    archived
        .cluster
        .sh("pg_ctl -s -D pg -m fast stop; mv pg old; mv back pg; pg_ctl -w -s -D pg -l log start");
    crate::scenario::wait_for("the promotion", || archived.sql("SELECT pg_is_in_recovery()") == "f");
    archived.sql("INSERT INTO marks VALUES (2), (3)");
    let second = archived.switch();
    assert!(second.starts_with("00000002"), "{second}");
    assert!(folder_of_cluster(&archived).join("00000002.history.gz").exists());
    scenario.plan(["status", "p.plan"]).status(0);
    archived.cluster.restore(&["--start", "--at", "latest"]).status(0);
    assert_eq!(archived.cluster.back("SELECT count(*) FROM marks"), "3");
    archived.stop_back();
    archived.cluster.restore(&["--start", "--at", "latest", "--target-timeline", "1"]).status(0);
    assert_eq!(archived.cluster.back("SELECT count(*) FROM marks"), "1");
    archived.stop_back();
}

#[test]
fn a_push_that_was_killed_is_done_again_and_leaves_nothing() {
    let archived = Archived::new(&["store"], "", "");
    let scenario = &archived.cluster.scenario;
    let tmp = archived.archive("store").join("tmp");
    large_segment(&archived);
    let killed = (0..40).any(|attempt| {
        let script = format!("cd pg && timeout -s KILL 0.{:02} ../plan wal push ../p.plan main ../again/0000000900000000000000AA", 1 + attempt);
        let _ = archived.run(&script);
        fs::read_dir(&tmp).is_ok_and(|mut left| left.next().is_some())
    });
    let name = "0000000900000000000000AA";
    if !archived.object_of(name).exists() {
        archived.push(&format!("../again/{name}")).status(0);
    }
    archived.cluster.sh(&format!("gzip -dc {} | cmp - again/{name}", archived.object_of(name).display()));
    if killed {
        // A run sweeps what has been lying there for longer than an hour.
        shell(&tmp, "touch -d '2 hours ago' *");
    }
    scenario.plan(["run"]).status(0);
    assert!(fs::read_dir(&tmp).map_or(true, |mut left| left.next().is_none()), "killed: {killed}");
}

#[test]
fn a_full_store_keeps_the_segment_with_the_server() {
    if !is_root() {
        // Mounting needs root, as CI has it.
        return;
    }
    let archived = Archived::new(&["store", "small"], "", "");
    let scenario = &archived.cluster.scenario;
    let small = scenario.path("small");
    large_segment(&archived);
    // The archive is there, and the disk under it is full.
    let kept = fs::read(archived.archive("small").join("format.yaml")).unwrap();
    shell(&scenario.path("."), "mount -t tmpfs -o size=300k,mode=755 tmpfs small");
    shell(
        &small,
        "install -d -o postgres -g postgres -m 711 .backplan-wal .backplan-wal/p && install -d -o postgres -g postgres -m 700 .backplan-wal/p/main",
    );
    fs::write(archived.archive("small").join("format.yaml"), kept).unwrap();
    shell(&small, "chown -R postgres: .backplan-wal");
    let answer = archived.push("../again/0000000900000000000000AA");
    let left = shell(&archived.archive("small"), "find . -type f | sort");
    shell(&scenario.path("."), "umount small");
    answer.status(1).says("No space left on device");
    assert_eq!(left, "./format.yaml\n", "nothing is half-written");
    // Where there was room it is, and with room in both it is a success.
    archived.push("../again/0000000900000000000000AA").status(0);
}

#[test]
fn what_was_spoilt_before_it_was_archived_is_no_end_of_the_log() {
    let archived = Archived::new(&["store"], "", "");
    let (scenario, cluster) = (&archived.cluster.scenario, &archived.cluster);
    scenario.plan(["run"]).status(0);
    archived.sql("CREATE TABLE marks (n int); INSERT INTO marks VALUES (1)");
    let spoilt = archived.switch();
    archived.sql("INSERT INTO marks VALUES (2)");
    archived.switch();
    let object = archived.object("store", &spoilt);
    let whole = object.display();
    cluster.sh(&format!("mkdir again; gzip -dc {whole} > whole; rm {whole}"));
    let push = |script: &str| {
        cluster.sh(&format!("{script} > again/{spoilt}"));
        archived.push(&format!("../again/{spoilt}"))
    };
    // No segment of a log at all: the server is told, and keeps it.
    push("head -c 16777216 /dev/zero")
        .status(1)
        .says("its first page is none of a log")
        .says("archive_status");
    push("head -c 8388608 whole").status(1).says("it has 8388608 bytes, and not the 16777216 of a segment");
    push(":").status(1).says("its first page is none of a log");
    assert!(!object.exists());
    // A record of it: only who replays it sees that.
    push("{ head -c 20000 whole; printf XXXXXXXX; tail -c +20009 whole; }").status(0);
    let told = "the log between them was not replayed";
    cluster.restore(&["--start", "--at", "latest"]).status(1).says(told).says("`--lsn`");
    assert!(scenario.path("back/PG_VERSION").exists() && !scenario.path("back/postmaster.pid").exists());
    scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says(told);
}

#[test]
fn the_log_that_no_kept_backup_needs_goes_and_no_more() {
    let archived = Archived::new(&["store"], "keep = 1s", "keep {\n  last = 1\n}");
    let scenario = &archived.cluster.scenario;
    let mut first = Vec::new();
    for number in 0..4 {
        archived.sql(&format!("CREATE TABLE t{number} AS SELECT g FROM generate_series(1, 100) g"));
        archived.switch();
        // Longer than the log is promised: what is dry and what is done then see the same.
        std::thread::sleep(std::time::Duration::from_millis(1200));
        let dry = scenario.plan(["run", "--dry-run", "--format", "json"]);
        let shown: serde_json::Value = serde_json::from_str(&dry.stdout).unwrap();
        let step = shown["steps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| step["step"] == "expire/main/store")
            .unwrap();
        let shown: Vec<String> = step["would_delete"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|name| name.as_str().unwrap().rsplit('/').next().unwrap().strip_suffix(".gz"))
            .filter(|name| name.len() == 24)
            .map(str::to_owned)
            .collect();
        let before = segments(&archived, "store");
        scenario.plan(["run"]).status(0);
        let after = segments(&archived, "store");
        let gone: Vec<String> = before.iter().filter(|name| !after.contains(name)).cloned().collect();
        assert_eq!(gone, shown, "run {number}");
        let start = shell(&scenario.path("store"), "ls .backplan/p/manifests | tail -n 1");
        let manifest = scenario.read(&format!("store/.backplan/p/manifests/{}", start.trim()));
        let wal = manifest
            .split("wal_start: ")
            .nth(1)
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .trim_matches('\'')
            .to_owned();
        first.push(wal);
        // The backup before the newest is the one that is older than promised: its log stays, what is before goes.
        if number > 0 {
            assert!(after.iter().all(|name| *name >= first[number - 1]), "{after:?} before {first:?}");
            assert!(after.contains(&first[number - 1]), "{after:?} without {first:?}");
        }
    }
    scenario.plan(["verify"]).status(0).says("log of `main`");
    scenario.plan(["verify", "--quick"]).status(0).says("; none was read");
    scenario.plan(["status"]).status(0);
    archived.cluster.restore(&["--start", "--at", "latest"]).status(0);
    assert_eq!(archived.cluster.back("SELECT count(*) FROM t3"), "100");
    archived.stop_back();
    // Verifying tells what is damaged, by its name.
    let last = segments(&archived, "store").pop().unwrap();
    let object = archived.object("store", &last);
    let mut bytes = fs::read(&object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0xA5);
    fs::write(&object, bytes).unwrap();
    scenario.plan(["verify", "--all"]).status(1).says(&last);
}

#[test]
fn segments_are_fetched_ahead_and_nothing_of_it_stays() {
    let archived = Archived::new(&["store"], "", "");
    let scenario = &archived.cluster.scenario;
    let names: Vec<String> = (0..4)
        .map(|number| {
            archived.sql(&format!("CREATE TABLE t{number} (n int)"));
            archived.switch()
        })
        .collect();
    let ahead = scenario.path("pg/.backplan-wal-ahead");
    let fetch =
        |name: &str| archived.run(&format!("cd pg && ../plan wal fetch ../p.plan main {name} ../got"));
    // Each fetch may leave a process behind that fetches ahead, and what this test writes must not be under its hands.
    let settled = |name: &str, status| {
        fetch(name).status(status);
        crate::scenario::wait_for("the process that fetches ahead", || {
            !is_fetched_ahead(&scenario.path("pg"))
        });
    };
    settled(&names[0], 0);
    let fetched = shell(&scenario.path("pg"), "ls .backplan-wal-ahead");
    assert!(names[1..].iter().all(|name| fetched.contains(name)), "{names:?}: {fetched}");
    // What lies there is taken; what another boot left is not.
    fs::write(ahead.join(&names[1]), "marked").unwrap();
    settled(&names[1], 0);
    assert_eq!(scenario.read("got"), "marked");
    fs::write(ahead.join("boot"), "another").unwrap();
    fs::write(ahead.join(&names[2]), "torn").unwrap();
    settled(&names[2], 0);
    assert_ne!(fs::read(scenario.path("got")).unwrap(), b"torn");
    // The question that ends a recovery.
    settled("00000002.history", 1);
    assert!(!ahead.exists());
}
