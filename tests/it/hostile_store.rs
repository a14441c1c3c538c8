//! What somebody lays into a store who may only add to it: by it nothing that is good is deleted, by a run, a prune or a sync.

use std::fs;
use std::path::Path;

use crate::scenario::{Scenario, shell};

const PLAN: &str = "plan p\n\nstore a: dir {\n  path = \"a\"\nMORE}\n\nstore b: dir {\n  path = \"b\"\n}\n\n\
    source site: files {\n  paths = [\"site\"]\n}\n\narchive main {\n  from = [site]\n  to   = [a, b]\n}\n";

/// Four nights.
fn world(more: &str, keep: &str) -> Scenario {
    let text = PLAN.replace("MORE", more) + keep;
    let scenario =
        Scenario::new().file("p.plan", text).file("a/strangers.zip", "precious").file("site/file", "");
    for night in 1..=4 {
        scenario.write("site/file", format!("night {night}"));
        scenario.next_day().plan(["run"]).status(0);
    }
    scenario
}

fn runs(scenario: &Scenario, store: &str) -> String {
    shell(&scenario.path(store), "ls .backplan/p/manifests | cut -c8 | tr -d '\\n'")
}

/// A record of a folder of the plan's in a store, of these artefacts with their marks.
fn record(scenario: &Scenario, folder: &str, run: &str, artefacts: &[(&str, &str, u64)]) {
    let home = scenario.path("a/.backplan/p").join(folder);
    fs::create_dir_all(&home).unwrap();
    let nonce = if folder == "intents" { format!("nonce: {}1\n", "0".repeat(31)) } else { String::new() };
    let lines = artefacts
        .iter()
        .map(|(name, mark, size)| format!("- artefact: {name}\n  mark: {mark}\n  size: {size}\n"));
    let text = format!("format: 1\nrun: {run}\n{nonce}artefacts:\n{}", lines.collect::<String>());
    fs::write(home.join(run), text).unwrap();
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn a_deletion_that_this_machine_has_not_begun_is_finished_by_nobody() {
    for more in ["", "  immutable = 30d\n"] {
        let scenario = world(more, "");
        for run in shell(&scenario.path("a/.backplan/p/manifests"), "ls | sed 's/.yaml$//'").lines() {
            let artefact = shell(
                &scenario.path("a/.backplan/p/manifests"),
                &format!("sed -n 's/^- artefact: //p; s/^  artefact: //p' {run}.yaml | head -1"),
            );
            let name = artefact.trim();
            record(&scenario, "tombstones", run, &[(name, run, size(&scenario.path("a").join(name)))]);
        }
        let told = "it says that its run is being deleted, which this machine has not begun";
        scenario.plan(["prune"]).status(3).says(told);
        assert_eq!(runs(&scenario, "a"), "1234");
        scenario.write("site/file", "night 5");
        scenario.next_day().plan(["run"]).status(3).says(told);
        assert_eq!(runs(&scenario, "a"), "12345");
        scenario.plan(["verify", "--all"]).status(0);
    }
}

/// A prune gave runs up by a mistaken `keep`, and a sync brought them back: what this machine remembers of that deletion ends nothing.
#[test]
fn a_run_that_was_given_up_once_and_is_there_again_is_deleted_by_nobodys_word() {
    let scenario = world("", "");
    let plan = scenario.read("p.plan");
    scenario.write("p.plan", plan.replace("path = \"a\"\n", "path = \"a\"\n  keep {\n    last = 1\n  }\n"));
    scenario.plan(["prune"]).status(0);
    assert_eq!((runs(&scenario, "a").as_str(), runs(&scenario, "b").as_str()), ("4", "1234"));
    scenario.write("p.plan", &plan);
    scenario.plan(["sync"]).status(0);
    assert_eq!(runs(&scenario, "a"), "1234");
    for run in shell(&scenario.path("a/.backplan/p/manifests"), "ls | head -3 | sed 's/.yaml$//'").lines() {
        record(&scenario, "tombstones", run, &[]);
    }
    scenario.write("site/file", "night 5");
    scenario.next_day().plan(["run", "--dry-run"]).status(0).says("`keep` says anew whether it goes");
    scenario.plan(["run"]).status(0);
    assert_eq!(runs(&scenario, "a"), "12345");
    assert!(!scenario.path("a/.backplan/p/tombstones").exists());
    scenario.plan(["verify", "--all"]).status(0);
}

#[test]
fn an_intent_takes_nothing_that_does_not_bear_its_mark() {
    let scenario = world("", "");
    let first = shell(&scenario.path("a/.backplan/p/manifests"), "ls | head -1 | sed 's/.yaml$//'");
    let good = shell(&scenario.path("a"), "ls p_main_* | head -1");
    let (first, good) = (first.trim(), good.trim());
    let never = "00000099-20260101T000000Z-aaaaaa";
    let sizes = [size(&scenario.path("a/strangers.zip")), size(&scenario.path("a").join(good))];
    // Its manifest is not in this store: nothing names the artefact but the record.
    let lost = format!("a/.backplan/p/manifests/{first}.yaml");
    let kept = fs::read(scenario.path(&lost)).unwrap();
    for folder in ["intents", "tombstones"] {
        fs::remove_file(scenario.path(&lost)).unwrap();
        record(&scenario, folder, never, &[("strangers.zip", never, sizes[0]), (good, first, sizes[1])]);
        let answer = scenario.plan(["prune"]).status(3);
        answer.says("is left alone");
        assert!(scenario.path("a/strangers.zip").exists() && scenario.path("a").join(good).exists());
        fs::write(scenario.path(&lost), &kept).unwrap();
        shell(&scenario.path("a/.backplan/p"), "rm -rf intents/* tombstones/*");
    }
    scenario.plan(["verify", "--all"]).status(0);
}

/// While a manifest is out of the store (as it is advised for one that is damaged), somebody says of its run that it never came to an end.
#[test]
fn a_run_that_this_machine_committed_is_undone_by_nobodys_word() {
    let scenario = world("", "");
    let second = shell(&scenario.path("a/.backplan/p/manifests"), "ls | sed -n '2s/.yaml$//p'");
    let (second, manifest) = (second.trim(), format!("a/.backplan/p/manifests/{}.yaml", second.trim()));
    let artefact = shell(&scenario.path("a"), "ls p_main_* | sed -n 2p");
    let (artefact, kept) = (artefact.trim(), fs::read(scenario.path(&manifest)).unwrap());
    fs::remove_file(scenario.path(&manifest)).unwrap();
    record(&scenario, "intents", second, &[(artefact, second, size(&scenario.path("a").join(artefact)))]);
    let told = "this machine has committed it there";
    scenario.plan(["prune"]).status(3).says(told);
    scenario.next_day().plan(["run", "--dry-run"]).status(3).says(told);
    fs::write(scenario.path(&manifest), &kept).unwrap();
    scenario.plan(["run"]).status(0);
    assert_eq!(runs(&scenario, "a"), "12345");
    scenario.plan(["verify", "--all"]).status(0);
}

#[test]
fn runs_that_this_machine_has_not_made_push_none_of_its_own_out() {
    let scenario = world("", "\nkeep {\n  last = 4\n}\n");
    // Copies of an old manifest under newer numbers.
    shell(
        &scenario.path("a/.backplan/p/manifests"),
        "old=$(ls | head -1 | sed 's/.yaml$//'); for n in 5 6 7 8; do new=0000000$n-2026010${n}T120000Z-aaaaa$n; \
         sed \"s/$old$/$new/; s/2026-01-02T02:30:00Z/2026-01-0${n}T12:00:00Z/\" $old.yaml > $new.yaml; done",
    );
    let told = "is none that this machine has made, as it is there";
    scenario.plan(["prune", "--dry-run"]).says(told);
    scenario.write("site/file", "night 9");
    scenario.next_day().next_day().next_day().next_day().next_day();
    scenario.plan(["run"]).status(3).says(told).says("nothing is pruned");
    assert!(runs(&scenario, "a").starts_with("12345678"), "{}", runs(&scenario, "a"));
    // Brought elsewhere by somebody's word, they are no more this machine's there.
    scenario.plan(["sync"]).status(3).says(told);
    scenario.plan(["prune"]).status(3).says(told);
    let kept = runs(&scenario, "b");
    assert!(["2", "3", "4", "9"].iter().all(|run| kept.contains(run)), "{kept}");
    // Moved away, `keep` goes on.
    shell(&scenario.path("."), "rm */.backplan/p/manifests/*-aaaaa?.yaml");
    scenario.plan(["prune"]);
    assert_eq!(runs(&scenario, "a"), "2349");
}

/// The same under numbers before the first: there was none before it.
#[test]
fn runs_from_before_the_first_push_none_out_either() {
    let scenario = world("", "\nkeep {\n  daily = 4\n  prefer = full\n}\n");
    shell(
        &scenario.path("a/.backplan/p/manifests"),
        "old=$(ls | head -1 | sed 's/.yaml$//'); for n in 2 3 4; do new=00000000-2019010${n}T120000Z-aaaaa$n; \
         sed \"s/$old$/$new/; s/2026-01-02T02:30:00Z/2026-01-0${n}T12:00:00Z/\" $old.yaml > $new.yaml; done",
    );
    // However large: what of it is read at first does not say who made it.
    shell(
        &scenario.path("a/.backplan/p/manifests"),
        "for file in *-aaaaa[34].yaml; do head -c 5000000 /dev/zero | tr '\\0' '#' >> $file; done",
    );
    scenario.write("site/file", "night 5");
    let told = "is none that this machine has made, as it is there";
    scenario.next_day().plan(["run"]).status(3).says(told).says(", and 2 more before it");
    assert_eq!(runs(&scenario, "a"), "00012345");
}

/// A manifest of this plan, a tombstone of a run that was given up, an intent: none of them makes this plan's what another one made.
#[test]
fn what_another_plan_made_is_not_this_ones_to_delete() {
    let other = PLAN.replace("plan p", "plan q").replace("MORE", "");
    let scenario = world("", "\nkeep {\n  last = 3\n}\n").file("q.plan", other);
    scenario.plan(["run", "q.plan"]).status(0);
    let one = |command: &str| shell(&scenario.path("."), command).trim().to_owned();
    let (artefact, run) = (one("cd a; ls q_main*"), one("ls a/.backplan/q/manifests | sed 's/.yaml$//'"));
    let given_up = one("grep -h ' gone a$' $(find ../state -name committed) | cut -d' ' -f1");
    let is_there = || ["strangers.zip", &artefact].iter().all(|name| scenario.path("a").join(name).exists());
    let sizes = ["strangers.zip", &artefact].map(|name| size(&scenario.path("a").join(name)));
    let unknown = "of which neither this machine nor the store knows that it was one of this plan";

    let named = [("strangers.zip", given_up.as_str(), sizes[0]), (&artefact, &run, sizes[1])];
    record(&scenario, "tombstones", &given_up, &named);
    scenario.plan(["prune", "p.plan"]).status(3).says(unknown).says("does not prove to be of run");
    assert!(is_there());
    record(&scenario, "intents", &run, &[(&artefact, &run, sizes[1])]);
    for _ in 0..2 {
        scenario.plan(["prune", "p.plan"]).status(3).says("which this machine does not know of");
        assert!(is_there());
    }
    fs::remove_dir_all(scenario.path("a/.backplan/p/intents")).unwrap();

    // A machine that remembers nothing takes what it finds, but deletes none of another's.
    let lay = |name: &str| {
        one(&format!(
            "id=$(sed -n 's/^  id: //p' $(ls a/.backplan/p/manifests/*.yaml | tail -1) | head -1); \
             sed \"s/^run: .*/run: {name}/; s/^  name: q/  name: p/; s/^  id: .*/  id: $id/; \
             s/^started: .*/started: 2019-01-01T00:00:00Z/; s/^finished: .*/finished: 2019-01-01T00:00:00Z/\" \
             a/.backplan/q/manifests/{run}.yaml > a/.backplan/p/manifests/{name}.yaml"
        ))
    };
    lay("00000000-20190101T000000Z-aaaaaa");
    shell(&scenario.path(".."), "rm -r state/*");
    scenario.write("site/file", "night 5");
    scenario.next_day().plan(["run", "p.plan", "--adopt", "--dry-run"]).status(3).says(unknown);
    scenario.plan(["run", "p.plan", "--adopt"]).status(3).says(unknown);
    assert_eq!((runs(&scenario, "a").as_str(), is_there()), ("345", true));
    // What comes to be there once it has looked is nobody's that it knows.
    lay("00000000-20190101T000000Z-aaaaab");
    let told = "is none that this machine has made, as it is there";
    scenario.next_day().plan(["run", "p.plan"]).status(3).says(told).says("nothing is pruned");
    assert_eq!(runs(&scenario, "a"), "03456");
    scenario.plan(["list", "q.plan"]).status(0);
}
