//! Calls that fail at any moment: a run may fail, what is there stays whole, and the next run is a good one.

use std::fs;
use std::path::Path;

use crate::scenario::{Chance, SITE, Scenario, artefacts, plan, rounds, shell};

const TWO: &str = r#"store other: dir {
  path = "other"
}

source site: files {
  paths = ["site"]
}

source dump: command {
  run = ["seq", "1", "30000"]
  as  = "dump.txt"
}

archive main {
  from = [site]
  to   = [store, other]
}

archive dump {
  from = [dump]
  to   = [other]
}

window quiet {
  around = all
  enter  = ["true"]
  leave  = ["true"]
}
"#;

const STAGING: &str = "\nstaging {\n  path = \"staging\"\n}\n";

/// The calls that fail, and as what.
const FAULTS: &[(&str, &str)] = &[
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("renameat2", "EIO"),
    ("write", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("openat", "EIO"),
    ("unlinkat", "EIO"),
    ("mkdirat", "ENOSPC"),
    ("getdents64", "EIO"),
    ("copy_file_range", "EIO"),
];

/// Every backup is whole, and every artefact is a backup's.
#[track_caller]
fn whole(store: &Path, settled: bool, context: &str) -> usize {
    let Ok(manifests) = fs::read_dir(store.join(".backplan/p/manifests")) else { return 0 };
    let runs: Vec<String> = manifests
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    let mut named = 0;
    for run in &runs {
        let sums = fs::read_to_string(store.join(format!(".backplan/p/sums/{run}.sha256"))).expect(context);
        named += sums.lines().count();
        shell(store, &format!("sha256sum -c --quiet .backplan/p/sums/{run}.sha256"));
    }
    if settled {
        let left = shell(
            store,
            "find .backplan/p/tmp .backplan/p/intents .backplan/p/tombstones -type f 2>/dev/null; find . -name '.new-*'",
        );
        assert_eq!(left, "", "{context}");
        assert_eq!(artefacts(store).len(), named, "{context}: {:?}", artefacts(store));
    }
    runs.len()
}

#[track_caller]
fn fail_again_and_again(staging: &str, seed: u64) {
    let mut chance = Chance::new(seed);
    let scenario = Scenario::new()
        .file("p.plan", plan(&format!("{TWO}{staging}")))
        .file("site/a", "a")
        .file("staging/x", "");
    shell(&scenario.path("site"), "head -c 300000 /dev/urandom > noise");
    scenario.next_day().plan(["run"]).status(0);
    for (call, error) in FAULTS {
        for _ in 0..rounds(2) {
            // Most calls come a few times a thread, openat and write much oftener.
            let when = 1 + chance.below(if ["openat", "write"].contains(call) { 60 } else { 12 });
            let inject = format!("inject={call}:error={error}:when={when}");
            let way = ["strace", "-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
            let hurt = scenario.next_day().plan_by(&way, ["run"]);
            let context = format!("{inject}{staging}: {hurt:?}");
            assert!([0, 1, 2, 3, 127].contains(&hurt.code), "{context}");
            assert!(!hurt.said().contains("panicked") && !hurt.said().contains("a defect"), "{context}");
            let before = (
                whole(&scenario.path("store"), false, &context),
                whole(&scenario.path("other"), false, &context),
            );
            let next = scenario.next_day().plan(["run"]);
            assert!(next.code == 0, "{context}\n{next:?}");
            let after = (
                whole(&scenario.path("store"), true, &context),
                whole(&scenario.path("other"), true, &context),
            );
            // What reached one of the two alone is in both now.
            let all = before.0.max(before.1) + 1;
            assert_eq!((all, all), after, "{context}");
        }
    }
}

#[test]
fn calls_fail_while_a_run_writes_into_its_stores() {
    fail_again_and_again("", 0x5eed_0011);
}

#[test]
fn calls_fail_while_a_run_has_a_staging() {
    fail_again_and_again(STAGING, 0x5eed_0012);
}

#[test]
fn what_has_no_room_is_tried_once() {
    for folder in ["store", "staging"] {
        let staging = "staging {\n  path = \"staging\"\n}\n";
        let text = plan(&format!("{SITE}\n{staging}")).replace("attempts = 1", "attempts = 3");
        let scenario = Scenario::new().file("p.plan", text).file("site/a", "");
        shell(&scenario.path("."), "head -c 3000000 /dev/urandom > site/large; mkdir store staging");
        shell(
            &scenario.path("."),
            &format!("mount -t tmpfs -o size=1m none {folder}; mkdir -p {folder}/below"),
        );
        // A staging that is the root of a mount is refused.
        let within = scenario.read("p.plan").replace("\"staging\"", "\"staging/below\"");
        scenario.write("p.plan", if folder == "staging" { within } else { scenario.read("p.plan") });
        let answer = scenario.plan(["run", "--format", "json"]);
        shell(&scenario.path("."), &format!("umount -l {folder}"));
        let report = answer.status(1).json();
        let failed =
            report["steps"].as_array().unwrap().iter().find(|step| step["outcome"] == "failed").unwrap();
        assert!(failed["reason"].as_str().unwrap().contains("No space left on device"), "{failed}");
        assert_eq!(failed["attempts"], 1, "{failed}");
    }
}
