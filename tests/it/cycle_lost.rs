//! A base that is lost, damaged or another's makes the next run a full, and the run says so.

use std::fs;
use std::path::PathBuf;

use crate::cycle_worlds::{
    DAYS, five, level, levels, look, manifest, plan, restored, restored_with, run, same, world,
};
use crate::scenario::{Scenario, settle, shell};

/// Two runs of a cycle, and changes since.
fn two_runs(base: &str) -> Scenario {
    let scenario = world(&plan("", &five(base)));
    for change in &DAYS[..2] {
        run(&scenario).status(0);
        shell(&scenario.path("site"), change);
    }
    scenario
}

fn cache(scenario: &Scenario) -> PathBuf {
    let found = shell(&scenario.path("../state"), "find . -type d -path '*/cache/main'");
    scenario.path("../state").join(found.trim())
}

/// The next run is a full that says `part`, is restored exactly, and is followed by one that rests on it.
#[track_caller]
fn full_follows(scenario: &Scenario, part: &str) {
    run(scenario).status(3).says("taken whole").says(part);
    assert_eq!(level(scenario, "store", 3), "full");
    let text = manifest(scenario, "store", 3);
    // What the run warns of is in the second part.
    let text = text.split("\n---\n").next().unwrap();
    assert!(!text.contains("00000001-"), "{text}");
    same(&restored(scenario, "3", "site", "site"), &look(&scenario.path("site")), "after a loss");
    shell(&scenario.path("site"), "echo later > later");
    run(scenario).status(0);
    assert_ne!(level(scenario, "store", 4), "full");
    same(&restored(scenario, "4", "site", "site"), &look(&scenario.path("site")), "the run after");
}

#[test]
fn a_lost_or_damaged_artefact_of_the_base() {
    for base in ["full", "previous"] {
        for (hurt, part) in [
            ("rm *_20260102*.tar.gz", "is not there"),
            ("truncate -s 100000 *_20260102*.tar.gz", "bytes"),
            ("cp *_20260103*.tar.gz other && mv other *_20260102*.tar.gz", "not the artefact that"),
        ] {
            let scenario = two_runs(base);
            shell(&scenario.path("store"), hurt);
            full_follows(&scenario, part);
        }
    }
}

#[test]
fn another_artefact_of_the_same_length_is_no_base() {
    let scenario = two_runs("full");
    let name = "p_main_20260102T023000Z.tar.gz";
    let path = scenario.path("store").join(name);
    let length = fs::metadata(&path).unwrap().len();
    shell(&scenario.path("store"), "cp *_20260103*.tar.gz other && rm -f *_20260102*.tar.gz");
    fs::rename(scenario.path("store/other"), &path).unwrap();
    shell(&scenario.path("store"), &format!("truncate -s {length} {name}"));
    full_follows(&scenario, name);
}

#[test]
fn a_manifest_of_the_base_that_is_gone_or_damaged() {
    for (base, hurt) in [
        ("full", "rm .backplan/p/manifests/00000001-*"),
        ("previous", "rm .backplan/p/manifests/00000001-*"),
        ("full", "truncate -s 100 .backplan/p/manifests/00000001-*"),
    ] {
        let scenario = two_runs(base);
        shell(&scenario.path("store"), hurt);
        let answer = run(&scenario).status(3).says("00000001-");
        assert_eq!(level(&scenario, "store", 3), "full", "{base} {hurt} {answer:?}");
        same(&restored_any(&scenario, "3"), &look(&scenario.path("site")), hurt);
    }
}

/// As `restored`, where a damaged manifest may be told of.
#[track_caller]
fn restored_any(scenario: &Scenario, run: &str) -> std::collections::BTreeMap<PathBuf, String> {
    let _ = fs::remove_dir_all(scenario.path("out"));
    let answer = scenario.plan(["restore", "--run", run, "--source", "site", "--to", "out"]);
    assert!([0, 3].contains(&answer.code), "{answer:?}");
    look(&scenario.path("out/site"))
}

#[test]
fn a_scan_cache_that_is_gone_foreign_or_damaged() {
    for base in ["full", "previous"] {
        for hurt in [
            "rm -r *",
            "for f in */*.scan; do printf xxxxxxxx | dd of=$f bs=1 seek=40 conv=notrunc 2>/dev/null; done",
            "for f in */*.scan; do : > $f; done",
            "for f in */*.doubts; do printf garbage > $f; done",
            "for f in */bound.yaml; do echo '{' > $f; done",
            "first=$(ls | head -n 1); for f in *; do [ $f = $first ] || cp $first/bound.yaml $f/; sed -i s/run:.0000000[12]/run:\\ 00000009/ $f/bound.yaml; done",
        ] {
            let scenario = two_runs(base);
            shell(&cache(&scenario), hurt);
            full_follows(&scenario, "this machine");
        }
    }
}

#[test]
fn a_state_that_is_lost_altogether() {
    let scenario = two_runs("full");
    shell(&scenario.path("../state"), "rm -r backplan");
    let answer = scenario.next_day().plan(["run", "--adopt"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert_eq!(level(&scenario, "store", 3), "full");
    same(&restored(&scenario, "3", "site", "site"), &look(&scenario.path("site")), "a new machine");
}

#[test]
fn whole_archives_are_packed_anew_where_their_copy_is_lost() {
    for hurt in [
        "rm *_20260103*.tar.gz",
        "truncate -s 100000 *_20260103*.tar.gz",
        "for f in *_20260103*; do printf xxxxxxxx | dd of=$f bs=1 seek=150000 conv=notrunc 2>/dev/null; done",
    ] {
        let scenario = world(&plan("  self_contained = true\n", &five("full")));
        for change in &DAYS[..2] {
            run(&scenario).status(0);
            shell(&scenario.path("site"), change);
        }
        shell(&scenario.path("store"), hurt);
        let answer = run(&scenario);
        assert!([0, 3].contains(&answer.code), "{hurt}: {answer:?}");
        same(&restored(&scenario, "3", "site", "site"), &look(&scenario.path("site")), hurt);
        scenario.plan(["verify", "--run", "3", "--deep"]).status(0);
    }
}

const TWO_STORES: &str = "plan p\n\nstore far: dir {\n  path = \"far\"\n}\n\nstore near: dir {\n  path = \"near\"\n}\n\n\
    source site: files {\n  paths = [\"site\"]\n}\n\narchive main {\n  from = [site]\n  to   = [far, near]\n}\n\n";

/// Both stores, each alone, give back this run as it was.
#[track_caller]
fn both_have(scenario: &Scenario, run: &str) {
    let wanted = look(&scenario.path("site"));
    for store in ["far", "near"] {
        let found = restored_with(scenario, run, "site", "site", &["--store", store]);
        same(&found, &wanted, &format!("run {run} from {store}"));
    }
}

#[test]
fn a_store_that_was_away_gets_nothing_that_it_could_not_restore() {
    for base in ["full", "previous"] {
        let scenario = world(&format!("{TWO_STORES}{}", five(base)));
        run(&scenario).status(0);
        shell(&scenario.path("site"), DAYS[0]);
        fs::rename(scenario.path("far"), scenario.path("away")).unwrap();
        run(&scenario).status(3);
        same(&restored(&scenario, "2", "site", "site"), &look(&scenario.path("site")), "near alone");
        fs::rename(scenario.path("away"), scenario.path("far")).unwrap();
        for change in &DAYS[1..4] {
            shell(&scenario.path("site"), change);
            let answer = run(&scenario);
            assert!([0, 3].contains(&answer.code), "{answer:?}");
            let newest = shell(&scenario.path("far"), "ls .backplan/p/manifests | tail -n 1 | cut -c1-8");
            both_have(&scenario, newest.trim().trim_start_matches('0'));
        }
    }
}

#[test]
fn a_store_that_missed_the_full_is_brought_it_and_ends_no_cycle() {
    let scenario = world(&format!("{TWO_STORES}cycle {{ incrementals = 1 }}"));
    run(&scenario).status(0);
    run(&scenario).status(0);
    fs::rename(scenario.path("far"), scenario.path("away")).unwrap();
    shell(&scenario.path("site"), DAYS[0]);
    run(&scenario).status(3);
    assert_eq!(level(&scenario, "near", 3), "full");
    fs::rename(scenario.path("away"), scenario.path("far")).unwrap();
    shell(&scenario.path("site"), DAYS[1]);
    run(&scenario).status(3).says("run `00000003-").says("run `00000004-");
    assert_eq!(level(&scenario, "near", 4), "differential");
    both_have(&scenario, "4");
    shell(&scenario.path("site"), DAYS[2]);
    run(&scenario).status(0);
    assert_eq!(level(&scenario, "near", 5), "full");
}

#[test]
fn a_new_store_begins_with_what_the_newest_run_rests_on() {
    for prepare in ["true", "mkdir far", "mkdir far; cp p.plan far/foreign"] {
        let one = TWO_STORES
            .replace("[far, near]", "[near]")
            .replace("store far: dir {\n  path = \"far\"\n}\n\n", "");
        let scenario = world(&format!("{one}{}", five("full")));
        run(&scenario).status(0);
        run(&scenario).status(0);
        shell(&scenario.path("site"), DAYS[0]);
        scenario.write("p.plan", format!("{TWO_STORES}{}", five("full")));
        shell(&scenario.path("."), prepare);
        if prepare == "mkdir far" {
            // Where this machine no longer knows what it has made, nothing is brought.
            shell(&scenario.path("../state"), "rm backplan/plans/*/committed");
            run(&scenario).status(3).says("store `far` does not hold run");
            assert_eq!(level(&scenario, "near", 3), "full");
            continue;
        }
        run(&scenario).status(3).says("store `far` does not have run");
        assert_eq!(level(&scenario, "near", 3), "differential");
        both_have(&scenario, "3");
        shell(&scenario.path("site"), DAYS[1]);
        run(&scenario).status(0);
        assert_eq!(levels(&scenario, "far"), "fddd");
        both_have(&scenario, "4");
    }
}

#[test]
fn files_that_change_while_they_are_packed_are_read_again() {
    let scenario = world(&plan("", &five("previous")));
    run(&scenario).status(0);
    for round in 0..6 {
        shell(&scenario.path("site"), "head -c 40000000 /dev/urandom > large");
        settle();
        let running = scenario.next_day().start(["run"]);
        // Without a rest, so that changes fall into the same tick as the walk.
        for step in 0..150 {
            fs::write(scenario.path("site/changes"), format!("{round} {step:03}")).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let answer = running.answer();
        assert!([0, 3].contains(&answer.code), "{answer:?}");
        // Nothing changes any more: what the first saw halfway, the next has whole.
        let next = scenario.next_day().plan(["run"]);
        assert!([0, 3].contains(&next.code), "{next:?}");
        let newest = shell(&scenario.path("store"), "ls .backplan/p/manifests | tail -n 1 | cut -c1-8");
        let newest = newest.trim().trim_start_matches('0');
        same(&restored(&scenario, newest, "site", "site"), &look(&scenario.path("site")), "after the storm");
    }
}

/// Killed where it takes its intent away, and where it takes away what it worked with: from the commit on, the cycle goes on
/// from the run that was killed.
#[test]
fn a_run_that_is_killed_behind_its_commit_is_a_base_all_the_same() {
    for place in ["store/.backplan/p/intents", "../state/backplan/plans/p-*/work"] {
        let scenario = two_runs("previous");
        let folder = shell(&scenario.path("."), &format!("echo $PWD/{place}"));
        let inject = "inject=unlink,unlinkat,rmdir:signal=KILL";
        let folder = folder.trim().replace("/work/../state", "/state");
        let way = [
            "strace",
            "-f",
            "-o",
            "/dev/null",
            "-P",
            &folder,
            "-e",
            "trace=unlink,unlinkat,rmdir",
            "-e",
            inject,
        ];
        let killed = scenario.next_day().plan_by(&way, ["run"]);
        assert_ne!(killed.code, 0, "{folder}: {killed:?}");
        let manifests = shell(&scenario.path("store"), "ls .backplan/p/manifests");
        assert!(manifests.contains("00000003-"), "{folder}: {manifests}");
        // Everything may be overtaken by what the killed run left locked; levels are what counts.
        let next = scenario.next_day().plan(["run"]);
        assert!(next.code == 0, "{folder}: {next:?}");
        assert_eq!(level(&scenario, "store", 4), "incremental", "{folder}");
    }
}
