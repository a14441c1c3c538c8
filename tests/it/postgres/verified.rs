//! `plan verify` of what pgBackRest holds: its own `verify` ends with 0 whatever it finds.

use std::fs;
use std::path::{Path, PathBuf};

use super::remote::{Bucket, plan as remote_plan, world as remote_world};
use super::separate::{apart, archiving, own};
use crate::scenario::shell;

/// The largest of the files that a pattern of the shell means.
fn largest(folder: &Path, pattern: &str) -> PathBuf {
    let name = shell(folder, &format!("ls -S {pattern} | head -n 1"));
    folder.join(name.trim())
}

/// Spoils a file, and gives what undoes it.
fn spoil(path: &Path) -> Vec<u8> {
    let whole = fs::read(path).unwrap();
    let mut spoilt = whole.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0x5A);
    fs::write(path, spoilt).unwrap();
    whole
}

#[test]
fn every_file_of_a_repository_kept_apart_is_read() {
    let stanza = "backplan_verified";
    let scenario = super::world().env("REPO_PASS", "a phrase");
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", apart(&cluster, stanza, "", "  passphrase = env(\"REPO_PASS\")\n"));
    cluster.fill(1000);
    scenario.plan(["run", "p.plan"]).status(0);
    cluster.fill(1000);
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    let verify = || scenario.plan(["verify", "p.plan"]);
    verify().status(0).says("repository of `db`").says("whole, 2 backups");

    // A file of the full, which the newest backup rests on.
    let backups = repository.join("backup").join(stanza);
    let file = largest(&backups, "2*F/pg_data/base/*/*.gz");
    let whole = spoil(&file);
    let answer = verify().status(1).says("DAMAGED");
    answer.says(file.strip_prefix(&backups).unwrap().to_str().unwrap());
    let json = scenario.plan(["verify", "p.plan", "--format", "json"]).status(1).json();
    let damage = json["repositories"][0]["damage"][0].clone();
    assert_eq!(damage["file_count"], 1, "{json}");
    fs::remove_file(&file).unwrap();
    verify().status(1).says("files that are not there");
    fs::write(&file, whole).unwrap();
    verify().status(0);

    // A segment of the log that a backup needs, and one behind it.
    let archive = repository.join("archive").join(stanza);
    let segments = shell(&archive, "find . -name '0*.gz' | sort");
    let last = archive.join(segments.lines().last().unwrap());
    let kept = fs::read(&last).unwrap();
    fs::remove_file(&last).unwrap();
    verify().status(1).says("without which it does not start");
    fs::write(&last, kept).unwrap();
    cluster.fill(10);
    let end = cluster.query("select pg_walfile_name(pg_switch_wal())");
    for _ in 0..2 {
        cluster.fill(10);
        cluster.query("select pg_switch_wal()");
    }
    let behind = |archive: &Path| shell(archive, &format!("find . -name '0*.gz' -newer {}", last.display()));
    crate::scenario::wait_for("three segments", || behind(&archive).lines().count() >= 3);
    let hole = shell(&archive, &format!("find . -name '{end}-*.gz'"));
    let hole = archive.join(hole.trim());
    fs::rename(&hole, scenario.path("kept")).unwrap();
    verify().status(1).says(&end).says("recovery from a backup before it");
    fs::rename(scenario.path("kept"), &hole).unwrap();
    verify().status(0);
    spoil(&last);
    verify().status(1).says(last.file_name().unwrap().to_str().unwrap());

    // What the tool misses altogether, and what keeps it from looking.
    scenario.plan(["verify", "--store", "store"]).status(1).says("it is encrypted");
    shell(&backups, "rm -r 2*_*");
    verify().status(1).says("is not there, or its manifest is not");
    fs::rename(&repository, scenario.path("away")).unwrap();
    verify().status(1).says("is not there");
}

#[test]
fn a_repository_that_is_packed_is_unpacked_and_read() {
    let stanza = "backplan_verified_packed";
    let scenario = super::world();
    super::open_above(&scenario.path("../tmp/x"));
    let repository = scenario.path("pg/repository");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", super::included(&cluster, stanza));
    cluster.fill(1000);
    scenario.plan(["run", "p.plan"]).status(0);
    scenario
        .plan(["verify", "p.plan", "--deep"])
        .status(0)
        .says("artefact of run 00000001-")
        .says("1 backup,");
    // It is packed as it is: the artefact is whole, and what is in it is not.
    let file = largest(&repository.join("backup").join(stanza), "2*F/pg_data/base/*/*.gz");
    spoil(&file);
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    scenario.plan(["verify", "p.plan"]).status(0);
    let answer = scenario.plan(["verify", "p.plan", "--deep"]).status(1);
    answer.says("artefact of run 00000002-").says(file.file_name().unwrap().to_str().unwrap());
    let all = scenario.plan(["verify", "--store", "store", "--deep", "--all"]).status(1);
    all.says("artefact of run 00000001-20").says("whole, 1 backup");
    let left = fs::read_dir(scenario.path("../tmp")).unwrap().count();
    assert_eq!(left, 0);
    let full = scenario.path("full");
    fs::create_dir(&full).unwrap();
    shell(&full, "mount -t tmpfs -o size=1m none .");
    let answer = scenario.plan(["verify", "p.plan", "--deep", "--scratch", full.to_str().unwrap()]);
    shell(&scenario.path("."), "umount full");
    answer.status(1).says("NOT CHECKED").says("bytes free");
}

#[test]
fn a_repository_in_a_bucket_is_read_and_named_without_its_plan() {
    let stanza = "backplan_verified_bucket";
    let scenario = remote_world();
    let bucket = Bucket::start(&scenario);
    let cluster = archiving(&scenario, &scenario.path("pg/settings"), stanza);
    scenario.write("p.plan", remote_plan(&cluster, &bucket, stanza, "store", ""));
    cluster.fill(100);
    scenario.plan(["run", "p.plan"]).status(0);
    scenario.plan(["verify", "p.plan"]).status(0).says("whole, 1 backup");
    bucket
        .plan(&scenario, &["verify", "--store", "s3://buck/pg"])
        .status(1)
        .says("NOT CHECKED")
        .says("give its file");
    let config = scenario.path("pg/settings/pgbackrest.conf");
    let remove = |what: &str| {
        let tool = format!("pgbackrest --config={} --log-level-file=off", config.display());
        let found = shell(Path::new("/"), &format!("{tool} --recurse --filter='{what}' repo-ls"));
        let path = found.lines().find(|line| line.contains(stanza)).unwrap().to_owned();
        shell(Path::new("/"), &format!("{tool} repo-rm {path}"));
    };
    remove("bundle/1$");
    scenario.plan(["verify", "p.plan"]).status(1).says("files that are not there").says("and ");
}
