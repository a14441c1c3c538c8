//! What holds back a deletion: manifests that are no manifests, sources that shrank, clocks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::prune::{at, files, night, plan, runs, world};
use crate::scenario::{Answer, Scenario, shell};

/// The manifest of a run in a store.
fn manifest(scenario: &Scenario, run: u32) -> PathBuf {
    let folder = fs::read_dir(scenario.path("store/.backplan/p/manifests")).unwrap();
    let mut paths = folder.map(|entry| entry.unwrap().path());
    let is_own =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{run:08}"));
    paths.find(is_own).unwrap()
}

/// A chain of three runs, and a plan that would keep the newest run alone.
fn chain() -> Scenario {
    let cycle = "cycle { incrementals = 5 }";
    let scenario = world(&plan(&["store"], cycle));
    for day in 0..3 {
        scenario.write(&format!("site/{day}"), format!("day {day} {}", "x".repeat(200)));
        at(&scenario, &night(day), &["run"]).status(0);
    }
    scenario.file("p.plan", plan(&["store"], &format!("{cycle}\nkeep {{ last = 1 }}")))
}

/// Puts something in the place of a file that stays elsewhere.
type Exchange = fn(&Path);

const EXCHANGES: [(&str, Exchange); 6] = [
    ("link", |path| {
        let aside = path.with_file_name("../aside.yaml");
        fs::rename(path, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, path).unwrap();
    }),
    ("dangling link", |path| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/nowhere", path).unwrap();
    }),
    ("pipe", |path| {
        fs::remove_file(path).unwrap();
        shell(Path::new("/"), &format!("mkfifo '{}'", path.display()));
    }),
    ("socket", |path| {
        fs::remove_file(path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    }),
    ("folder", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("another name", |path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".bak");
        fs::rename(path, name).unwrap();
    }),
];

#[test]
fn what_took_a_manifests_place_holds_back_what_it_may_rest_on() {
    for (what, exchange) in EXCHANGES {
        println!("{what}");
        let scenario = chain();
        exchange(&manifest(&scenario, 3));
        let before = files(&scenario, "store");
        let shown = at(&scenario, &night(3), &["prune", "--dry-run"]).status(3);
        shown.stdout_has("may be needed by 00000003").stdout_has("nothing was deleted");
        at(&scenario, &night(3), &["prune"]).status(3).stdout_has("00000003");
        at(&scenario, &night(3), &["run", "--level", "full"]).status(3).stdout_has("00000003");
        at(&scenario, &night(4), &["status"]).status(3).says("00000003");
        let after = files(&scenario, "store");
        let gone: Vec<_> = before.difference(&after).filter(|path| !path.contains("/lock/")).collect();
        assert!(gone.is_empty(), "{what}: {gone:?}");
        assert!(runs(&scenario, "store").starts_with(&[1, 2, 3]), "{what}");
    }
}

#[test]
fn a_dead_runs_artefacts_stay_while_something_stands_in_its_manifests_place() {
    for (what, exchange) in EXCHANGES {
        println!("{what}");
        let scenario = world(&plan(&["store"], ""));
        at(&scenario, &night(0), &["run"]).status(0);
        // As a run leaves it that is killed right behind its commit.
        let run = manifest(&scenario, 1).file_stem().unwrap().to_str().unwrap().to_owned();
        let nonce = shell(&scenario.path("."), "sed -n 's/^nonce: //p' store/.backplan/p/manifests/*.yaml");
        let artefact = shell(&scenario.path("store"), "ls | grep tar.gz");
        let intent = format!(
            "format: 1\nrun: {run}\nnonce: {}\nartefacts:\n- artefact: {}\n  mark: {run}\n",
            nonce.trim(),
            artefact.trim()
        );
        fs::create_dir(scenario.path("store/.backplan/p/intents")).unwrap();
        scenario.write(&format!("store/.backplan/p/intents/{run}"), intent);
        exchange(&manifest(&scenario, 1));
        at(&scenario, &night(1), &["run"]).status(3).says(&run);
        assert!(scenario.path("store").join(artefact.trim()).exists(), "{what}");
    }
}

#[test]
fn what_took_the_place_of_a_record_is_told_of_and_nothing_rests_on_it() {
    for (what, exchange) in EXCHANGES {
        if what == "another name" {
            continue;
        }
        // Of the plan's identity: no run writes there, and none takes the store for new.
        let scenario = chain();
        exchange(&scenario.path("store/.backplan/p/format.yaml"));
        let before = files(&scenario, "store");
        at(&scenario, &night(3), &["run"]).status(1).says("format.yaml");
        at(&scenario, &night(3), &["prune"]).status(1).says("format.yaml");
        assert_eq!(files(&scenario, "store"), before, "{what}");
        // Of a tombstone: without it, nobody would finish a deletion that is cut.
        let scenario = chain();
        at(&scenario, &night(3), &["run", "--level", "full", "--dry-run"]).status(0);
        let first = manifest(&scenario, 3).file_stem().unwrap().to_str().unwrap().to_owned();
        fs::create_dir(scenario.path("store/.backplan/p/tombstones")).unwrap();
        let tombstone = scenario.path(&format!("store/.backplan/p/tombstones/{first}"));
        fs::write(&tombstone, "").unwrap();
        exchange(&tombstone);
        let before = files(&scenario, "store");
        at(&scenario, &night(3), &["run", "--level", "full"]).status(3).says("tombstones");
        let gone: Vec<String> = before.difference(&files(&scenario, "store")).cloned().collect();
        let of_third = |path: &&String| path.contains("00000003") || path.contains("20261103");
        assert_eq!(gone.iter().find(of_third), None, "{what}");
    }
}

/// The status of a source in the newest manifest, its entries, files and links, and bytes.
fn counted(scenario: &Scenario, source: &str) -> (String, u64, u64, u64) {
    let newest = *runs(scenario, "store").last().unwrap();
    let text = fs::read_to_string(manifest(scenario, newest)).unwrap();
    let first: serde_json::Value = yaml_serde::from_str(text.split("\n---\n").next().unwrap()).unwrap();
    let record = first["sources"].as_array().unwrap().iter().find(|record| record["name"] == source).unwrap();
    let number = |name: &str| record[name].as_u64().unwrap_or_default();
    (record["status"].as_str().unwrap().to_owned(), number("entries"), number("leaves"), number("bytes"))
}

/// Makes ten entries without contents.
fn without_contents(scenario: &Scenario, make: &str) {
    shell(
        &scenario.path("."),
        &format!("rm -rf site; mkdir site; for i in 0 1 2 3 4 5 6 7 8 9; do {make}; done"),
    );
}

#[test]
fn what_has_no_bytes_is_missed_all_the_same() {
    for make in ["ln -s ../available/$i site/$i", ": > site/$i", "mkfifo site/$i"] {
        let scenario = world(&plan(&["store"], "keep { last = 1 }"));
        without_contents(&scenario, make);
        at(&scenario, &night(0), &["run"]).status(0);
        assert_eq!(counted(&scenario, "site"), ("ok".to_owned(), 12, 10, 0), "{make}");
        shell(&scenario.path("site"), "rm *");
        let shown = at(&scenario, &night(1), &["run", "--dry-run"]).status(3);
        shown.stdout_has("has nothing in it, and had 12 entries");
        // However often it is found empty: a disk that is not mounted is so night after night.
        for day in 1..4 {
            let answer = at(&scenario, &night(day), &["run"]).status(3);
            let said = answer.says("has nothing in it").says("is to leave the plan").said();
            assert!(!said.contains("the prune after the next run deletes"), "{said}");
        }
        at(&scenario, &night(4), &["prune"]).status(3).stdout_has("has nothing in it");
        at(&scenario, &night(4), &["status"]).status(3).says("has nothing in it").says("run `00000001");
        assert_eq!(runs(&scenario, "store"), [1, 2, 3, 4], "{make}");
        without_contents(&scenario, make);
        at(&scenario, &night(5), &["run"]).status(0);
        assert_eq!(runs(&scenario, "store"), [5], "{make}");
        at(&scenario, &night(5), &["status"]).status(0);
    }
}

/// Where nothing is ever deleted nobody waits for anything, and what is lost is lost all the same.
#[test]
fn what_a_source_lost_is_told_where_nothing_is_pruned() {
    let more = "source dump: command {\n  run = [\"cat\", \"dumped\"]\n  as  = \"dump.sql\"\n}\n";
    for keep in ["", "keep { last = 9 }\n"] {
        let text = plan(&["store", "other"], &format!("{more}{keep}")).replace("[site]\n", "[site, dump]\n");
        let text =
            if keep.is_empty() { text } else { text.replacen("dir {", "dir {\n  append_only = true", 2) };
        let scenario = world(&text).file("dumped", "insert ".repeat(1000));
        let lost = |day: u32, source: &str, first: i32| {
            let told = format!("plan prune FILE --accept {source}`");
            at(&scenario, &night(day), &["run", "--dry-run"]).status(first).says(&told);
            let answer = at(&scenario, &night(day), &["run"]).status(3);
            assert_eq!(answer.stderr.matches(&told).count(), 1, "once: {}", answer.stderr);
            at(&scenario, &night(day), &["status"]).status(3).stdout_has(&told);
        };
        at(&scenario, &night(0), &["run"]).status(0);
        at(&scenario, &night(0), &["prune", "--accept", "site"]).status(2).says("has lost nothing");
        shell(&scenario.path("site"), "rm *");
        // However often it is found empty, also by a run of another.
        lost(1, "site", 3);
        lost(2, "site", 3);
        at(&scenario, &night(3), &["run", "--only", "dump"])
            .status(3)
            .says("source `site` has nothing in it");
        at(&scenario, &night(3), &["prune", "--accept", "site"]).status(0);
        at(&scenario, &night(4), &["run"]).status(0);
        at(&scenario, &night(4), &["status"]).status(0);
        // A dump that shrank, by its size alone; not believed before it is so twice, and told for a month.
        scenario.write("dumped", "insert ".repeat(10));
        // What a program prints is known when it has run.
        let answer = at(&scenario, &night(5), &["run"]).status(3);
        answer.says("source `dump` has 70 bytes, and had 7000 in run `00000005-");
        at(&scenario, &night(6), &["run"]).status(0);
        let told = at(&scenario, &night(6), &["status"]).status(3);
        told.stdout_has("source `dump` had 7000 bytes").stdout_has("stores `other`, `store`");
        at(&scenario, &night(6), &["prune", "--accept", "dump"]).status(0);
        at(&scenario, &night(6), &["status"]).status(0);
    }
}

#[test]
fn an_emptied_source_that_leaves_the_plan_leaves_its_last_backup_that_has_something() {
    let text = plan(&["store"], "source other: files {\n  paths = [\"other\"]\n}\nkeep { last = 1 }");
    let scenario = world(&text.replace("from = [site]", "from = [site, other]")).file("other/a", "a");
    at(&scenario, &night(0), &["run"]).status(0);
    shell(&scenario.path("site"), "rm *");
    for day in 1..3 {
        at(&scenario, &night(day), &["run"]).status(3).says("is to leave the plan");
    }
    // As it is advised.
    scenario.write(
        "p.plan",
        text.replace("from = [site]", "from = [other]")
            .replace("source site: files {\n  paths = [\"site\"]\n}\n", ""),
    );
    at(&scenario, &night(3), &["run"]).status(0);
    assert_eq!(runs(&scenario, "store"), [1, 2, 3, 4]);
    at(&scenario, &night(3), &["prune", "--dry-run"]).status(0).stdout_has("newest with something of site");
    at(&scenario, &night(3), &["restore", "--run", "1", "--to", "back"]).status(0);
    assert_eq!(fs::read(scenario.path("back/site/site/0")).unwrap(), [b'x'; 100]);
}

#[test]
fn a_run_of_another_source_does_not_make_a_source_that_shrank_believed() {
    let text = plan(&["store"], "source other: files {\n  paths = [\"other\"]\n}\nkeep { last = 1 }");
    let scenario = world(&text.replace("from = [site]", "from = [site, other]")).file("other/a", "a");
    at(&scenario, &night(0), &["run"]).status(0);
    shell(&scenario.path("site"), "rm 0 1 2");
    at(&scenario, &night(1), &["run"]).status(3).says("source `site` has");
    at(&scenario, &night(2), &["run", "--only", "other"]).status(3).says("source `site` has");
    at(&scenario, &night(2), &["prune"]).status(3).says("source `site` has");
    assert_eq!(runs(&scenario, "store"), [1, 2, 3]);
    at(&scenario, &night(3), &["run"]).status(0);
    // The last one from before, and the first that found it so.
    assert_eq!(runs(&scenario, "store"), [1, 2, 4]);
}

/// A refusal is about what the store holds, whatever comes first.
#[test]
fn a_source_that_shrank_holds_back_the_stores_that_hold_it() {
    for jobs in ["limits {\n  jobs = 1\n}\n", ""] {
        let more = format!(
            "source other: files {{\n  paths = [\"other\"]\n}}\narchive rest {{\n  from = [other]\n  to   = [second]\n}}\nkeep {{ last = 1 }}\n{jobs}"
        );
        let text = plan(&["first", "second"], &more).replace("to   = [first, second]", "to   = [first]");
        for shrinks in ["site", "other"] {
            let scenario = world(&text);
            shell(&scenario.path("."), "cp -r site other");
            at(&scenario, &night(0), &["run"]).status(0);
            shell(&scenario.path(shrinks), "rm 0 1 2");
            let shown = at(&scenario, &night(1), &["run", "--dry-run", "--format", "json"]).status(3).json();
            let before = [files(&scenario, "first"), files(&scenario, "second")];
            at(&scenario, &night(1), &["run"]).status(3).says(&format!("source `{shrinks}` has"));
            for (at, (store, holds)) in [("first", "site"), ("second", "other")].into_iter().enumerate() {
                let kept: &[u32] = if holds == shrinks { &[1, 2] } else { &[2] };
                assert_eq!(runs(&scenario, store), kept, "{jobs} {shrinks} {store}");
                let steps = shown["steps"].as_array().unwrap().iter();
                let prune = steps.into_iter().find(|step| step["step"] == format!("prune/{store}")).unwrap();
                let wanted: Vec<String> = serde_json::from_value(prune["would_delete"].clone()).unwrap();
                let after = files(&scenario, store);
                let gone = before[at].difference(&after).filter(|path| !path.contains("/lock/"));
                let mut gone: Vec<String> = gone.map(|path| format!("{store}:{path}")).collect();
                let mut wanted = wanted;
                gone.sort();
                wanted.sort();
                assert_eq!(gone, wanted, "{jobs} {shrinks} {store}");
            }
        }
    }
}

#[test]
fn a_source_that_empties_behind_its_scan_has_failed() {
    for (script, made) in [
        ("rm site/*", false),
        ("mv site gone", false),
        // One is left: it is what was packed that counts.
        ("rm site/1 site/2 site/3", true),
    ] {
        let guarded = format!("test ! -e armed || {{ {script}; }}");
        let more = format!(
            "source ahead: command {{\n  run = [\"sh\", \"-c\", \"{guarded}; echo done\"]\n  as  = \"said\"\n}}\nretry {{\n  attempts = 1\n}}\nkeep {{ last = 1 }}"
        );
        let scenario = world(&plan(&["store"], &more).replace("from = [site]", "from = [ahead, site]"));
        at(&scenario, &night(0), &["run"]).status(0);
        assert_eq!(counted(&scenario, "site"), ("ok".to_owned(), 6, 4, 400));
        scenario.write("armed", "");
        let answer = at(&scenario, &night(1), &["run"]);
        if made {
            answer.status(3).says("vanished before it was read").says("source `site` has");
            assert_eq!(counted(&scenario, "site"), ("ok".to_owned(), 3, 1, 100));
            assert_eq!(runs(&scenario, "store"), [1, 2]);
        } else {
            answer.status(1).says("source `site`: nothing of what was in it could be read");
            // What is beside it is backed up, and its only good backup stays.
            assert_eq!(runs(&scenario, "store"), [1, 2], "{script}");
            assert_eq!(counted(&scenario, "site").0, "failed");
            at(&scenario, &night(1), &["verify", "--all"]).status(0);
        }
        at(&scenario, &night(1), &["restore", "--run", "1", "--to", "back"]).status(0);
        assert_eq!(fs::read_dir(scenario.path("back/site/site")).unwrap().count(), 4);
    }
}

#[test]
fn a_database_whose_copy_is_gone_before_it_is_packed_has_failed() {
    let more = "source app: sqlite {\n  path = \"app.db\"\n}\nsource ahead: command {\n  run = [\"sh\", \"-c\", \"test ! -e armed || rm -f staging/*/app/app.db; echo done\"]\n  as  = \"said\"\n}\n\
                archive db {\n  from = [ahead, app]\n  to   = [store]\n}\nstaging {\n  path = \"staging\"\n}\nretry {\n  attempts = 1\n}\nkeep { last = 1 }";
    let scenario = world(&plan(&["store"], more));
    fs::create_dir(scenario.path("staging")).unwrap();
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n); insert into t values (42)'");
    at(&scenario, &night(0), &["run"]).status(0);
    let (status, entries, _, bytes) = counted(&scenario, "app");
    assert_eq!((status.as_str(), entries, bytes), ("ok", 1, 8192));
    scenario.write("armed", "");
    at(&scenario, &night(1), &["run"]).status(1).says("app.db");
    let (status, ..) = counted(&scenario, "app");
    assert_eq!(status, "failed");
    // The site is whole, and its backup is made; the database's only one stays.
    assert_eq!(runs(&scenario, "store"), [1, 2]);
    at(&scenario, &night(1), &["restore", "--source", "app", "--to", "back"]).status(0);
    let rows = shell(&scenario.path("."), "sqlite3 back/app.db 'select n from t'");
    assert_eq!(rows, "42\n");
}

/// Runs the program where a system call on a folder fails.
fn failing(scenario: &Scenario, time: &str, below: &str, call: &str, error: &str, args: &[&str]) -> Answer {
    let folder = scenario.path(below);
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}"));
    let now = format!("BACKPLAN_NOW={time}");
    let log = scenario.path("../trace");
    let way = [
        "env",
        &now,
        "strace",
        "-f",
        "-qq",
        "-o",
        log.to_str().unwrap(),
        "-P",
        folder.to_str().unwrap(),
        "-e",
        &trace,
        "-e",
        &inject,
    ];
    scenario.plan_by(&way, args)
}

/// What a restore of the newest run lays down below a source. That something of it could not be read is told, and what it rests on
/// is there all the same.
fn restored(scenario: &Scenario, time: &str) -> Vec<String> {
    shell(&scenario.path("."), "rm -rf back");
    let answer = at(scenario, time, &["restore", "--to", "back"]);
    let said = answer.said();
    let lacks = said.contains("that could not be read") || said.contains("and is not mounted");
    answer.status(if lacks { 3 } else { 0 });
    shell(&scenario.path("back/site/site"), "find . -type f | sort").lines().map(str::to_owned).collect()
}

#[test]
fn what_cannot_be_looked_at_is_neither_there_nor_deleted() {
    let scenario = world(&plan(&["store"], "cycle { incrementals = 9 }\nretry {\n  attempts = 1\n}"));
    for path in ["site/deep/er/file", "site/deep/top", "site/gone"] {
        fs::create_dir_all(scenario.path(path).parent().unwrap()).unwrap();
        scenario.write(path, "kept");
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    at(&scenario, &night(0), &["run"]).status(0);
    fs::remove_file(scenario.path("site/gone")).unwrap();
    let all = ["./0", "./1", "./2", "./3", "./deep/er/file", "./deep/top"];
    for (day, error) in (1..).zip(["EIO", "ESTALE", "EACCES", "ENODEV"]) {
        scenario.write("site/0", error);
        let run = failing(&scenario, &night(day), "site/deep", "getdents64", error, &["run"]).status(3);
        run.says("site/deep` cannot be read; left out");
        assert_eq!(restored(&scenario, &night(day)), all, "{error}");
        assert_eq!(scenario.read("back/site/site/0"), error);
    }
    // Readable again, what was deleted from it meanwhile is.
    fs::remove_file(scenario.path("site/deep/top")).unwrap();
    at(&scenario, &night(6), &["run"]).status(0);
    scenario.write("site/0", "later");
    at(&scenario, &night(7), &["run"]).status(0);
    let left: Vec<String> = restored(&scenario, &night(7));
    assert!(!left.contains(&"./gone".to_owned()) && left.contains(&"./deep/er/file".to_owned()), "{left:?}");
    // What this process cannot open says nothing of what is there: that is no backup.
    for error in ["EMFILE", "ENFILE", "ENOMEM"] {
        let run = failing(&scenario, &night(8), "site/deep", "getdents64", error, &["run"]).status(1);
        run.says("ulimit -n");
    }
}

#[test]
fn an_entry_that_cannot_be_asked_about_is_not_deleted() {
    let scenario = world(&plan(&["store"], "cycle { incrementals = 9 }"));
    fs::create_dir(scenario.path("site/deep")).unwrap();
    scenario.write("site/deep/file", "kept");
    std::thread::sleep(std::time::Duration::from_millis(200));
    // A folder that may be listed and not entered, to an account that is not root.
    crate::run_sources::nobody(&scenario);
    let by = |day: u32| {
        let now = format!("BACKPLAN_NOW={}", night(day));
        let way: Vec<&str> =
            ["env", &now].into_iter().chain(crate::run_sources::AS_NOBODY.iter().copied()).collect();
        scenario.plan_by(&way, ["run"])
    };
    by(0).status(0);
    for (day, mode) in [(1, "744"), (2, "700")] {
        shell(&scenario.path("site"), &format!("chown root deep; chmod {mode} deep; echo {mode} > 0"));
        by(day).status(3).says("cannot be read; left out");
        assert_eq!(restored(&scenario, &night(day)), ["./0", "./1", "./2", "./3", "./deep/file"], "{mode}");
    }
}

#[test]
fn what_a_mount_hides_or_takes_away_is_not_deleted() {
    for one_file_system in [true, false] {
        let text = plan(&["store"], "cycle { incrementals = 9 }").replace(
            "paths = [\"site\"]",
            &format!("paths = [\"site\"]\n  one_file_system = {one_file_system}"),
        );
        let scenario = world(&text);
        let mount = scenario.path("site/mnt");
        fs::create_dir(&mount).unwrap();
        // In a namespace of its own: nothing stays mounted.
        let nights = |before: &str, between: &str| {
            let program = env!("CARGO_BIN_EXE_plan");
            let run = |day: u32| {
                format!(
                    "BACKPLAN_NOW={} {program} run >said{day} 2>&1 && echo 0 >status{day} || echo $? >status{day}",
                    night(day)
                )
            };
            let script = format!("{before}; sleep 0.2; {}; {between}; echo more >site/0; {}", run(0), run(1));
            scenario.other(&["unshare", "--mount", "sh", "-ec", &script]).status(0);
        };
        if one_file_system {
            nights("echo kept >site/mnt/file", "mount -t tmpfs none site/mnt");
            assert_eq!(scenario.read("status1"), "0\n");
        } else {
            nights("mount -t tmpfs none site/mnt; echo kept >site/mnt/file", "umount site/mnt");
            assert_eq!(scenario.read("status1"), "1\n");
            assert!(
                scenario.read("said1").contains("is not mounted: mount it"),
                "{}",
                scenario.read("said1")
            );
        }
        assert_eq!(scenario.read("status0"), "0\n");
        assert_eq!(restored(&scenario, &night(1)), ["./0", "./1", "./2", "./3", "./mnt/file"]);
        assert_eq!(scenario.read("back/site/site/0"), "more\n");
    }
}

/// Neither the lease nor the word of what is about to go could be written: nothing would ever be freed again.
#[test]
fn a_disk_that_is_full_to_the_last_byte_can_be_pruned() {
    let scenario = world(&plan(&["store"], "keep { last = 9 }"));
    scenario.write("pruned.plan", plan(&["store"], "keep { last = 1 }"));
    fs::create_dir(scenario.path("store")).unwrap();
    let script = format!(
        r#"
        plan() {{ BACKPLAN_NOW=$now {} "$@" >>said 2>&1 && echo 0 >>statuses || echo $? >>statuses; }}
        fill() {{ cat /dev/zero >>store/fill 2>/dev/null || :; [ "$(df --output=avail store | tail -n 1)" -eq 0 ]; }}
        count() {{ ls store/.backplan/p/$1 | wc -l >>counts; }}
        mount -t tmpfs -o size=2m none store
        head -c 300000 /dev/urandom >site/big
        for now in {} {} {}; do plan run p.plan; done
        count reserve
        fill
        now={}
        plan status p.plan
        plan run p.plan
        fill
        mv pruned.plan p.plan
        plan prune p.plan
        count manifests; count reserve; count lock
        plan verify p.plan
        rm store/fill
        plan run p.plan
        count reserve"#,
        env!("CARGO_BIN_EXE_plan"),
        night(0),
        night(1),
        night(2),
        night(3),
    );
    scenario.other(&["unshare", "--mount", "sh", "-ec", &script]).status(0);
    let said = scenario.read("said");
    assert_eq!(scenario.read("statuses").split_whitespace().collect::<String>(), "00001000", "{said}");
    assert_eq!(scenario.read("counts").split_whitespace().collect::<String>(), "21212", "{said}");
    assert!(said.contains("No space left on device (os error 28); free some room there"), "{said}");
    assert!(said.contains("2 of 3 runs gone"), "{said}");
}

#[test]
fn a_store_that_is_mounted_read_only_is_told_before_the_night() {
    let scenario = world(&plan(&["store"], ""));
    fs::create_dir(scenario.path("store")).unwrap();
    let script = format!(
        r#"
        plan() {{ BACKPLAN_NOW=$now {} "$@" >>said 2>&1 && echo 0 >>statuses || echo $? >>statuses; }}
        mount -t tmpfs none store
        for now in {} {}; do plan run p.plan; mount -o remount,ro store; done
        plan run --dry-run p.plan
        plan status p.plan
        plan check --live p.plan
        plan verify p.plan"#,
        env!("CARGO_BIN_EXE_plan"),
        night(0),
        night(1),
    );
    scenario.other(&["unshare", "--mount", "sh", "-ec", &script]).status(0);
    let said = scenario.read("said");
    assert_eq!(scenario.read("statuses").split_whitespace().collect::<String>(), "011310", "{said}");
    assert!(said.contains("store_unusable") && !said.contains("store_read_only"), "{said}");
}

#[test]
fn a_clock_that_is_decades_ahead_makes_no_backup_old() {
    let text = |rules: &str| {
        plan(&["store"], rules).replace("  path = \"store\"\n", "  path = \"store\"\n  immutable = 3d\n")
    };
    for rules in ["keep { last = 1 }", "keep { within = 3d }"] {
        let scenario = world(&text(rules));
        for day in 0..3 {
            at(&scenario, &night(day), &["run"]).status(0);
        }
        at(&scenario, "2070-01-01T02:30:00Z", &["prune"]).status(3).stdout_has("by the clock");
        let shown = at(&scenario, "2070-01-01T02:30:00Z", &["run", "--dry-run"]).status(3);
        shown.stdout_has("nothing would be pruned").stdout_has("further from run");
        at(&scenario, "2070-01-01T02:30:00Z", &["run"]).status(3).says("further from run");
        assert_eq!(runs(&scenario, "store"), [1, 2, 3, 4]);
        // It stays wrong: three days have to pass by it before what is three days old is.
        at(&scenario, "2070-01-02T02:30:00Z", &["run"]).status(0);
        at(&scenario, "2070-01-03T02:30:00Z", &["run"]).status(0);
        let left = runs(&scenario, "store");
        assert!(left.ends_with(&[3, 4, 5, 6]), "{rules}: {left:?}");
        at(&scenario, "2070-01-04T02:30:00Z", &["run"]).status(0);
        assert_eq!(runs(&scenario, "store"), [5, 6, 7], "{rules}");
    }
}

#[test]
fn a_clock_in_the_past_deletes_nothing_whatever_the_plan_has() {
    for more in ["keep { last = 1 }", "schedule { run = daily at 02:30 }\nkeep { last = 1 }"] {
        let scenario = world(&plan(&["store"], more));
        at(&scenario, &night(0), &["run"]).status(0);
        for time in ["1970-01-01T00:00:00Z", "2000-01-01T00:00:00Z"] {
            at(&scenario, time, &["run"]).status(3).says("by the clock");
        }
        assert_eq!(runs(&scenario, "store"), [1, 2, 3]);
    }
    // The store is another one, but this host was there before.
    let scenario = world(&plan(&["store"], "keep { last = 1 }"));
    for day in 0..2 {
        at(&scenario, &night(day), &["run"]).status(0);
    }
    scenario.write("p.plan", plan(&["other"], "keep { last = 1 }"));
    at(&scenario, "2000-01-01T00:00:00Z", &["run"]).status(3).says("set the clock right");
}

#[test]
fn a_machine_that_slept_prunes_when_it_wakes() {
    let rules = "schedule { run = hourly }\nkeep { last = 2 }";
    let scenario = world(&plan(&["store"], rules));
    let hours = ["2026-11-06T20:00:00Z", "2026-11-06T21:00:00Z", "2026-11-06T22:00:00Z"];
    // A night, and a weekend.
    for time in hours.into_iter().chain(["2026-11-07T08:00:00Z", "2026-11-09T08:30:00Z"]) {
        at(&scenario, time, &["run"]).status(0);
    }
    assert_eq!(runs(&scenario, "store"), [4, 5]);
    at(&scenario, "2026-12-09T08:30:00Z", &["run"]).status(3).says("more than 3 intervals");
}

#[test]
fn no_command_panics_at_the_ends_of_time() {
    let rules = "schedule { run = daily at 02:30 }\nkeep { within = 3d, daily = 2 }\ncycle { incrementals = 2 }\nobjective { rpo = 26h }";
    let text =
        plan(&["store"], rules).replace("  path = \"store\"\n", "  path = \"store\"\n  immutable = 3d\n");
    let scenario = world(&text);
    at(&scenario, &night(0), &["run"]).status(0);
    let commands: [&[&str]; 22] = [
        &["check"],
        &["check", "--live"],
        &["run", "--dry-run"],
        &["list"],
        &["ls", "latest"],
        &["status"],
        &["keep"],
        &["keep", "--from", "9999-12-01", "--days", "60"],
        &["keep", "--on", "9999-12-31"],
        &["prune", "--dry-run"],
        &["prune", "--dry-run", "--at", "9999-12-31"],
        &["prune", "--dry-run", "--at", "0000-01-01"],
        &["graph"],
        &["compile"],
        &["verify", "--all"],
        &["why", "p.plan", "site/0"],
        &["diff", "p.plan", "p.plan"],
        &["restore", "--to", "back", "--at", "9999-12-30"],
        &["verify", "--rehearse"],
        &["run"],
        &["prune"],
        &["status", "--format", "json"],
    ];
    for time in [
        "9999-12-30T22:00:00.999Z",
        "9999-12-30T21:59:59Z",
        "9998-12-31T23:59:59Z",
        "-009998-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
    ] {
        for command in commands {
            shell(&scenario.path("."), "rm -rf back");
            for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"] {
                let output = scenario
                    .command()
                    .env("BACKPLAN_NOW", time)
                    .env("TZ", zone)
                    .args(command)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                let code = output.status.code();
                assert!(
                    [0, 1, 2, 3].map(Some).contains(&code)
                        && !said.contains("panicked")
                        && !said.contains("defect"),
                    "{time} {zone} {command:?}: {code:?} {said}"
                );
            }
        }
    }
    assert!(runs(&scenario, "store").contains(&1));
}
