//! Getting back what runs made: from whichever stores there are, whole or hurt.

use std::fs;
use std::path::Path;

use crate::scenario::{Answer, SITE, Scenario, artefacts, plan, shell};

/// Files go to both stores, the database to the second alone.
const TWO: &str = r#"store other: dir {
  path = "other"
}

source site: files {
  paths = ["site"]
}

source db: sqlite {
  path = "app.db"
}

archive main {
  from = [site]
  to   = [store, other]
}

archive db {
  from = [db]
  to   = [other]
}
"#;

/// Three runs: `a` says which.
fn world() -> Scenario {
    let scenario =
        Scenario::new().file("p.plan", plan(TWO)).file("site/a", "1").file("site/deep/b", "b").file(
            "site/noise",
            (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>(),
        );
    shell(
        &scenario.path("."),
        "sqlite3 app.db 'create table t (n); insert into t values (42)'; ln -s a site/link",
    );
    for day in 1..=3 {
        scenario.write("site/a", day.to_string());
        scenario.next_day().plan(["run"]).status(0);
    }
    scenario
}

fn restored(scenario: &Scenario, args: &[&str]) -> Answer {
    let _ = fs::remove_dir_all(scenario.path("out"));
    let mut all = vec!["restore", "--to", "out"];
    all.extend(args);
    scenario.plan(all)
}

#[test]
fn a_run_is_restored_from_all_stores_that_have_a_part_of_it() {
    let scenario = world();
    restored(&scenario, &[]).status(0);
    shell(
        &scenario.path("out"),
        "diff -r site/site ../site && sqlite3 db/app.db 'select n from t' | grep -q 42",
    );
    scenario.plan(["ls", "latest"]).status(0).stdout_has("site/site/a").stdout_has("db/app.db");
    let listed = scenario.plan(["list", "--format", "json"]).status(0).json();
    for run in listed["runs"].as_array().unwrap() {
        assert_eq!(run["sources"], serde_json::json!(["db", "site"]));
        assert_eq!(run["stores"], serde_json::json!(["other", "store"]));
        assert_eq!(run["artefacts"].as_array().unwrap().len(), 2);
    }
    // What is not there is told of, and what is there comes all the same.
    restored(&scenario, &["--store", "store"]).status(3).stderr_has("does not hold source `db`");
    shell(&scenario.path("out"), "diff -r site/site ../site && [ ! -e db ]");
    fs::rename(scenario.path("other"), scenario.path("away")).unwrap();
    restored(&scenario, &[]).status(3).stderr_has("other").stderr_has("does not hold source `db`");
    restored(&scenario, &["--source", "db"]).status(1).stderr_has("db");
    restored(&scenario, &["--source", "site"]).status(0);
}

#[test]
fn a_run_is_chosen_by_number_by_time_and_by_what_it_holds() {
    let scenario = world();
    let a = |args: &[&str]| {
        restored(&scenario, args).status(0);
        scenario.read("out/site/a")
    };
    assert_eq!(a(&["--source", "site"]), "3");
    assert_eq!(a(&["--source", "site", "--run", "2"]), "2");
    assert_eq!(a(&["--source", "site", "--at", "2026-01-03"]), "2");
    assert_eq!(a(&["--source", "site", "--at", "2026-01-02 02:30"]), "1");
    restored(&scenario, &["--at", "2020-01-01"]).status(1).stderr_has("the oldest is");
    restored(&scenario, &["--at", "noon"]).status(2).stderr_has("is not a time");
    restored(&scenario, &["--run", "7"]).status(1).stderr_has("no run is named `7`").stderr_has("plan list");
    restored(&scenario, &["--source", "nope"]).status(1).stderr_has("nope");
    // A run of one source alone is the newest: whoever wants all is told.
    scenario.next_day().plan(["run", "--only", "db"]).status(0);
    let answer = restored(&scenario, &[]).status(3);
    assert!(answer.stderr.contains("does not hold source `site`: not read by this run"), "{answer:?}");
    assert!(answer.stderr.contains("run 00000003-"), "{answer:?}");
    assert_eq!(a(&["--source", "site"]), "3");
    scenario.plan(["cat", "latest", "site/site/a"]).status(0).stdout("3");
}

#[test]
fn a_store_alone_is_enough() {
    let scenario = world();
    let bare = Scenario::new();
    let store = scenario.path("other");
    let store = store.to_str().unwrap();
    bare.plan(["list", "--store", store]).status(0).stdout_has("00000003-");
    bare.plan(["ls", "latest", "site/site/deep", "--store", store]).status(0).stdout_has("site/site/deep/b");
    bare.plan(["cat", "1", "site/site/a", "--store", store]).status(0).stdout("1");
    bare.plan(["verify", "--store", store, "--all", "--deep"]).status(0);
    bare.plan(["restore", "--store", store, "--to", "out"]).status(0);
    assert_eq!(bare.read("out/site/site/a"), "3");
    // With a plan that does not compile, nobody is left without a word.
    let broken = Scenario::new().file("p.plan", "plan p\nsource {\n");
    broken.plan(["restore", "--to", "out"]).status(2).stderr_has("--store FOLDER");
    for (folder, said) in
        [("/nowhere/at/all", "No such file"), (bare.path("out").to_str().unwrap(), "holds no backups")]
    {
        bare.plan(["list", "--store", folder])
            .status(1)
            .stderr_has(said)
            .stderr_has(folder.rsplit('/').next().unwrap());
    }
    // A copy without what begins with a dot says which artefacts are there, and what of the store is not.
    shell(&bare.path("."), &format!("mkdir usb; cp {store}/* usb"));
    for command in [&["list"][..], &["restore", "--to", "back"]] {
        let answer = bare.plan([command, &["--store", "./usb"]].concat()).status(1);
        answer.stderr_has("artefacts of 3 runs are there: `").stderr_has("copy `.backplan` along");
    }
    shell(&bare.path("."), &format!("cp -r {store}/.backplan usb"));
    bare.plan(["restore", "--to", "back", "--store", "./usb"]).status(0);
}

#[test]
fn paths_begin_with_their_source_wherever_they_go() {
    let scenario = world();
    restored(&scenario, &["--path", "site/site/deep"]).status(0);
    assert_eq!(scenario.read("out/site/site/deep/b"), "b");
    assert!(!scenario.path("out/site/site/a").exists() && !scenario.path("out/db/app.db").exists());
    scenario.write("site/a", "spoiled");
    scenario.write("site/deep/b", "kept");
    let args = ["restore", "--in-place", "--run", "2", "--path", "site/site/a"];
    scenario.plan(args).status(1).stdout_has("--overwrite");
    assert_eq!(scenario.read("site/a"), "spoiled");
    scenario.plan(args.iter().chain(&["--overwrite"])).status(0);
    assert_eq!((scenario.read("site/a"), scenario.read("site/deep/b")), ("2".into(), "kept".into()));
    restored(&scenario, &["--path", "nothing"]).status(1).stderr_has("has no `nothing`");
}

#[test]
fn what_is_there_is_not_replaced_unless_told() {
    let scenario = world();
    restored(&scenario, &[]).status(0);
    scenario.write("out/site/site/a", "mine");
    scenario.plan(["restore", "--to", "out"]).status(1).stderr_has("is not empty").stderr_has("--overwrite");
    assert_eq!(scenario.read("out/site/site/a"), "mine");
    scenario.plan(["restore", "--to", "out", "--overwrite"]).status(0);
    assert_eq!(scenario.read("out/site/site/a"), "3");
    scenario.plan(["restore", "--to", "p.plan"]).status(1).stderr_has("p.plan");
    fs::remove_dir_all(scenario.path("out")).unwrap();
    scenario.plan(["restore", "--to", "out", "--dry-run"]).status(0).stdout_has("nothing was written");
    assert!(!scenario.path("out").exists());
}

#[test]
fn a_database_is_not_put_under_the_log_of_another() {
    let scenario = world();
    for side in ["app.db-wal", "app.db-journal"] {
        scenario.write(side, "pages of today");
        scenario.write("app.db", "spoiled");
        scenario
            .plan(["restore", "--in-place", "--overwrite"])
            .status(1)
            .stderr_has(side)
            .stderr_has("stop what uses");
        assert_eq!(scenario.read("app.db"), "spoiled");
        fs::remove_file(scenario.path(side)).unwrap();
        scenario.plan(["restore", "--in-place", "--overwrite"]).status(0);
        assert_eq!(shell(&scenario.path("."), "sqlite3 app.db 'select n from t'"), "42\n");
    }
}

/// The artefact of a run in a store that holds the files.
fn artefact(store: &Path, day: u32) -> std::path::PathBuf {
    let ending = format!("p_main_202601{:02}T023000Z.tar.gz", day + 1);
    artefacts(store).into_iter().find(|path| path.to_str().unwrap().ends_with(&ending)).unwrap()
}

#[test]
fn damage_is_named_and_another_store_helps() {
    let scenario = world();
    let hurt = artefact(&scenario.path("store"), 3);
    shell(
        &scenario.path("."),
        &format!("printf XXXXXXXX | dd of={} bs=1 seek=300000 conv=notrunc 2>&1", hurt.display()),
    );
    let answer = scenario.plan(["verify"]).status(1).stdout_has("DAMAGED").stdout_has("site/site/noise");
    assert!(answer.stdout.contains("in `other`: p_main_20260104T023000Z.tar.gz: whole"), "{answer:?}");
    let answer = restored(&scenario, &["--store", "store", "--source", "site"]).status(1);
    assert!(
        answer.stdout.contains("site/site/noise") && answer.stdout.contains("another store"),
        "{answer:?}"
    );
    assert!(!scenario.path("out/site/noise").exists());
    assert_eq!(scenario.read("out/site/a"), "3");
    restored(&scenario, &["--store", "other"]).status(0);
    scenario.plan(["cat", "latest", "site/site/a"]).status(0).stdout("3");
    // Cut short, and gone: the other store is taken.
    fs::File::options().write(true).open(&hurt).unwrap().set_len(100_000).unwrap();
    scenario.plan(["verify"]).status(1).stdout_has("truncated");
    restored(&scenario, &[]).status(0);
    fs::remove_file(&hurt).unwrap();
    scenario.plan(["verify"]).status(1).stdout_has("not there");
    restored(&scenario, &[]).status(0);
    assert_eq!(scenario.read("out/site/site/a"), "3");
    restored(&scenario, &["--store", "store", "--source", "site"]).status(1).stderr_has("not there");
    restored(&scenario, &["--store", "store", "--source", "site", "--run", "2"]).status(0);
}

#[test]
fn a_manifest_that_is_gone_or_damaged_hides_one_run_in_one_store() {
    let scenario = world();
    let manifests = artefacts(&scenario.path("other/.backplan/p/manifests"));
    fs::remove_file(&manifests[2]).unwrap();
    fs::write(&manifests[1], "format: [").unwrap();
    let answer = scenario.plan(["list"]).status(3).stderr_has("is damaged").stderr_has("00000002-");
    assert_eq!(answer.stdout.matches("other, store").count(), 1, "{answer:?}");
    let answer = restored(&scenario, &[]).status(3).stderr_has("does not hold source `db`");
    assert!(answer.stderr.contains("run 00000001-"), "{answer:?}");
    restored(&scenario, &["--source", "db"]).status(0);
    restored(&scenario, &["--source", "db", "--run", "3"]).status(1).stderr_has("db");
    // The next run takes no number again.
    scenario.next_day().plan(["run", "--format", "json"]).status(0).stdout_has("\"run\": \"00000004-");
}

#[test]
fn a_disk_that_is_too_small_is_named() {
    let scenario = world();
    let small = scenario.path("small");
    fs::create_dir(&small).unwrap();
    shell(&small, "mount -t tmpfs -o size=512k tmpfs .");
    let answer = scenario.plan(["restore", "--to", "small/out"]);
    shell(&scenario.path("."), "umount -l small");
    answer.status(1).stderr_has("No space left").stderr_has("small/out").stderr_has("restore again");
}

#[test]
fn whoever_names_a_run_whose_manifest_is_damaged_hears_of_that() {
    let harms = [
        ("sed -i 's/^level: .*/level: none/' $M", "is damaged: "),
        ("sed -i 's/^min_reader: 1/min_reader: 9/' $M", "install a newer one"),
        ("rm $M; mkdir $M", "is no regular file, and so no manifest"),
        ("mv $M $M.bak", "whose manifest is not there: rename it to that, or move it away"),
    ];
    for (harm, says) in harms {
        let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
        for text in ["a", "b"] {
            scenario.write("site/a", text);
            scenario.next_day().plan(["run"]).status(0);
        }
        shell(&scenario.path("store/.backplan/p/manifests"), &format!("M=$(ls | tail -1); {harm}"));
        let id = "00000002-20260103T023000Z";
        for args in [
            &["restore", "--run", "2", "--to", "back"][..],
            &["ls", "2"],
            &["cat", "2", "site/site/a"],
            &["diff-run", "1", "2"],
            &["verify", "--run", "2"],
            &["verify", "--rehearse", "--run", "2"],
        ] {
            let answer = scenario.plan(args).status(1).says(&format!("run `{id}-"));
            answer.says("is there, and cannot be used: store `store`: ").says(says);
        }
        // The one before is as whole as it was, and `latest` says why it is not the last.
        scenario.plan(["cat", "1", "site/site/a"]).status(0).says("a");
        scenario.plan(["restore", "--to", "latest"]).says(says).says("00000001-");
        assert_eq!(scenario.read("latest/site/site/a"), "a");
    }
}
