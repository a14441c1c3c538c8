//! `plan sync`: stores that lack what others have are filled, between a folder and a bucket and back.

use std::fs;

use crate::buckets::Server;
use crate::scenario::{Answer, SITE, Scenario, artefacts, plan, settle, shell, wait_for};

const REST: &str = "source site: files {\n  paths = [\"site\"]\n}\ncycle {\n  incrementals = 2\n}\nretry {\n  attempts = 1\n}\n";

struct World {
    scenario: Scenario,
    server: Server,
}

impl World {
    fn new() -> World {
        let (scenario, server) = (Scenario::new().file("site/sub/a", "day 0"), Server::start());
        shell(&scenario.path("site"), "head -c 20000000 /dev/urandom > big");
        World { scenario: scenario.env("KEY_ID", "id").env("KEY", "key"), server }
    }

    /// The plan with these stores; `more`: of the last one.
    fn stores(&self, stores: &[&str], more: &str) {
        let last = stores.last().unwrap();
        let declared: String = stores
            .iter()
            .map(|name| {
                let more = if name == last { more } else { "" };
                match *name {
                    "far" => format!(
                        "store far: s3 {{\n  bucket = \"buck\"\n  prefix = \"x\"\n  endpoint = \"http://127.0.0.1:{}\"\n  \
                         access_key = env(\"KEY_ID\")\n  secret_key = env(\"KEY\")\n{more}}}\n",
                        self.server.port
                    ),
                    name => format!("store {name}: dir {{\n  path = \"{name}\"\n{more}}}\n"),
                }
            })
            .collect();
        let to = stores.join(", ");
        self.scenario.write(
            "p.plan",
            format!("plan p\n{declared}archive main {{\n  from = [site]\n  to = [{to}]\n}}\n{REST}"),
        );
    }

    fn sync(&self, args: &[&str]) -> Answer {
        self.scenario.next_day().plan(["sync", "p.plan"].iter().chain(args))
    }

    fn restored(&self, store: &str) {
        let to = format!("from-{store}");
        let _ = fs::remove_dir_all(self.scenario.path(&to));
        self.scenario.plan(["restore", "p.plan", "--to", &to, "--store", store]).status(0);
        let site = shell(&self.scenario.path("."), &format!("find {to} -type d -name site | tail -1"));
        shell(&self.scenario.path("."), &format!("diff -r site {}", site.trim()));
    }

    fn runs(&self, folder: &str) -> usize {
        let manifests = self.scenario.path(folder).join(".backplan/p/manifests");
        fs::read_dir(manifests).map_or(0, Iterator::count)
    }
}

#[test]
fn a_store_is_filled_with_what_it_lacks_and_nothing_twice() {
    let world = World::new();
    world.stores(&["near"], "");
    world.sync(&["--dry-run"]).status(1).says("has made no run here yet: `plan run` makes the first");
    for day in 1..=4 {
        world.scenario.write("site/sub/a", format!("day {day}"));
        world.scenario.next_day().plan(["run", "p.plan"]).status(0);
    }
    // Into a bucket that is new to the plan; killed on the way, it goes on.
    world.stores(&["near", "far"], "");
    let shown = world.sync(&["--dry-run"]).status(0).says("nothing was written").says("nothing to copy");
    assert_eq!(shown.said().matches("would be copied").count(), 4, "{}", shown.said());
    assert_eq!(world.server.keys(), Vec::<String>::new());
    let running = world.scenario.next_day().start(["sync", "p.plan"]);
    wait_for("an upload", || world.server.unfinished() > 0 || world.server.artefacts() > 0);
    running.kill_group();
    drop(running);
    world.sync(&["--store", "far"]).status(0).says("copied");
    assert_eq!(world.server.artefacts(), 4);
    let again = world.sync(&[]).status(0);
    assert_eq!(again.said().matches("nothing to copy").count(), 2, "{}", again.said());
    world.scenario.plan(["verify", "p.plan", "--all", "--store", "far"]).status(0).says("whole");
    world.restored("far");
    // What is gone from a store comes back from another.
    let lost = artefacts(&world.scenario.path("near")).remove(1);
    fs::remove_file(&lost).unwrap();
    let name = lost.file_name().unwrap().to_str().unwrap();
    world.scenario.plan(["status", "p.plan"]).status(3).says("`plan sync` brings it from store `far`");
    world.sync(&["--dry-run"]).status(0).says("would be copied");
    assert!(!lost.exists());
    world.sync(&[]).status(0).says("copied");
    world.scenario.plan(["verify", "p.plan", "--all", "--store", "near"]).status(0).says(name);
    world.sync(&[]).status(0).says("nothing to copy");
    // Runs go on there: what they rest on is there.
    world.scenario.write("site/sub/a", "day 5");
    world.scenario.next_day().plan(["run", "p.plan"]).status(0);
    world.restored("far");

    // Back into a folder, with the first one away; what `keep` would delete at once is not copied.
    world.stores(&["near", "far", "third"], "  keep {\n    last = 1\n  }\n");
    fs::rename(world.scenario.path("near"), world.scenario.path("gone")).unwrap();
    world.sync(&["--store", "third"]).status(3).says("3 runs not copied, as `keep` gives it up here");
    assert_eq!((world.runs("third"), artefacts(&world.scenario.path("third")).len()), (2, 2));
    world.restored("third");

    // What is damaged is not spread, and comes from another store that has it whole.
    let first = artefacts(&world.scenario.path("third")).remove(0);
    shell(
        &world.scenario.path("."),
        &format!("printf xxxxxxxx | dd of={} bs=1 seek=100000 conv=notrunc 2>/dev/null", first.display()),
    );
    world.stores(&["third", "fourth"], "");
    world
        .sync(&["--store", "fourth"])
        .status(3)
        .says("is not what its manifest says")
        .says("on which it rests");
    assert_eq!((world.runs("fourth"), artefacts(&world.scenario.path("fourth")).len()), (0, 0));
    world.stores(&["third", "far", "fourth"], "");
    world.sync(&["--store", "fourth"]).status(0);
    assert_eq!(world.runs("fourth"), 5);
    world.scenario.plan(["verify", "p.plan", "--all", "--store", "fourth"]).status(0);
    world.restored("fourth");
    world.sync(&["--store", "nowhere"]).status(2).says("the plan's stores are");
}

/// Nothing can be taken away there again, so what was brought before the end came is gone on with.
#[test]
fn a_store_in_which_nothing_is_deleted_is_filled_after_a_cut_too() {
    let world = World::new();
    world.stores(&["one"], "");
    world.scenario.next_day().plan(["run", "p.plan"]).status(0);
    world.stores(&["one", "two"], "  append_only = true\n");
    world.sync(&[]).status(0);
    // As a kill leaves it behind the artefact and before the manifest.
    let script = "m=$(ls two/.backplan/p/manifests/*.yaml); r=$(basename $m .yaml); a=$(basename two/*.tar.gz); mkdir -p two/.backplan/p/intents; \
                  printf 'format: 1\\nrun: %s\\nnonce: %s\\nartefacts:\\n- artefact: %s\\n  mark: %s\\n' $r $(sed -n 's/^nonce: //p' $m) $a $r \
                  > two/.backplan/p/intents/$r; rm $m";
    shell(&world.scenario.path("."), script);
    world.sync(&[]).status(3).says("is left alone").says("copied");
    world.sync(&[]).status(0);
    world.restored("two");
    assert_eq!(world.runs("two"), 1);
}

#[test]
fn a_store_that_was_away_gets_what_it_lacks_from_the_next_run() {
    let world = World::new();
    world.stores(&["far", "near"], "  bandwidth = 4MiB/s\n");
    let day = |number: u32| {
        world.scenario.write("site/sub/a", format!("day {number}"));
        world.scenario.next_day();
    };
    let run = || world.scenario.plan(["run", "p.plan"]);
    for number in 1..=2 {
        day(number);
        let said = run().status(0).said();
        assert!(!said.contains("lacked"), "{said}");
    }
    let away = |from: &str, to: &str| fs::rename(world.scenario.path(from), world.scenario.path(to)).unwrap();
    away("near", "gone");
    for number in 3..=4 {
        day(number);
        run().status(3).says("near");
    }
    away("gone", "near");
    day(5);
    world.scenario.plan(["run", "p.plan", "--dry-run"]).says("2 runs that it lacks, from the other stores");
    // Killed while it brings the fourth, on which that of today rests: what was there is as it was.
    let manifests = world.scenario.path("near/.backplan/p/manifests");
    let has = |number: &str| {
        let names = fs::read_dir(&manifests).unwrap().flatten();
        names.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| name.starts_with(number))
    };
    let running = world.scenario.start(["run", "p.plan"]);
    wait_for("the third run", || has("00000003"));
    wait_for("a part of the fourth", || {
        shell(&world.scenario.path("near"), "ls .backplan/p/intents 2>/dev/null || true").contains("00000004")
    });
    running.kill_group();
    drop(running);
    assert!(has("00000003") && !has("00000004") && !has("00000005"));
    world.scenario.plan(["verify", "p.plan", "--all", "--store", "near"]).says("whole");
    // The next goes on, and sends nothing twice.
    day(6);
    let said = run().says("run `00000004-").says("which it lacked, is there now").said();
    assert_eq!(said.matches("which it lacked").count(), 3, "{said}");
    assert_eq!((world.runs("near"), artefacts(&world.scenario.path("near")).len()), (6, 6));
    world.scenario.plan(["verify", "p.plan", "--all", "--store", "near"]).status(0);
    world.restored("near");
    assert_eq!(world.server.artefacts(), 6);
    day(7);
    let said = run().status(0).said();
    assert!(!said.contains("lacked"), "{said}");
    // What was before a store came to the plan, and the newest does not rest on, is for a sync.
    world.stores(&["far", "near", "third"], "");
    day(8);
    run();
    day(9);
    run();
    assert_eq!(world.runs("third"), 3);
    world.sync(&["--store", "third"]).status(0);
    assert_eq!(world.runs("third"), 9);
    // A run that has little time begins with what it can end, and is no failure.
    day(10);
    run().status(0);
    away("near", "gone");
    day(11);
    shell(&world.scenario.path("site"), "head -c 2000000 /dev/urandom > big");
    run().status(3);
    away("gone", "near");
    world.stores(&["far", "third", "near"], "  bandwidth = 100KiB/s\n}\nlimits {\n  timeout = 20s\n");
    fs::remove_file(world.scenario.path("site/big")).unwrap();
    day(12);
    run().status(3).says("takes longer than a run has time for: `plan sync` brings it at once");
    assert!(has("00000012") && !has("00000011"));
}

/// What the dry run says that a store would be brought is what the run brings: behind its prunes, and with its own backup counted.
#[test]
fn a_dry_run_brings_to_a_store_what_the_run_does() {
    let text = |stores: &str, last: u32| {
        let folder = |name: &str| format!("store {name}: dir {{\n  path = \"{name}\"\n}}\n");
        let folders: String = stores.split(", ").map(folder).collect();
        format!(
            "plan p\n{folders}source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = all\n  to = [{stores}]\n}}\nkeep {{ last = {last} }}\n"
        )
    };
    let scenario = Scenario::new().file("site/a", "a").file("p.plan", text("one", 2));
    let brought = |document: &serde_json::Value| -> Vec<String> {
        let steps = document["steps"].as_array().unwrap().iter();
        let syncs = steps.filter(|step| step["step"].as_str().unwrap().starts_with("sync/"));
        let writes = syncs.flat_map(|step| step["writes"].as_array().unwrap());
        // How the run to come is told from others of its second is not known before.
        let shown = |name: &str| match name.split_once("Z-") {
            Some((run, rest)) => format!("{run}{}", &rest[6..]),
            None => name.to_owned(),
        };
        writes.map(|name| shown(name.as_str().unwrap())).collect()
    };
    let alike = |awaited: usize| {
        scenario.next_day();
        let foreseen = brought(&scenario.plan(["run", "--dry-run", "--format", "json"]).json());
        assert_eq!(brought(&scenario.plan(["run", "--format", "json"]).json()), foreseen);
        assert_eq!(foreseen.len(), awaited, "{foreseen:?}");
    };
    alike(0);
    alike(0);
    // It has a folder already, and no run.
    fs::create_dir(scenario.path("two")).unwrap();
    scenario.write("p.plan", text("one, two", 2));
    alike(0);
    alike(0);
    fs::rename(scenario.path("two"), scenario.path("away")).unwrap();
    alike(0);
    alike(0);
    // The older of the two that it lacks is given up by then.
    fs::rename(scenario.path("away"), scenario.path("two")).unwrap();
    // The artefact, and the books of its run.
    alike(3);
    // It lacks what the run rests on: `keep` is asked with this run counted in, and where nothing changed an earlier artefact is its.
    scenario.write("p.plan", text("one, two", 2) + "cycle {\n  incrementals = 1\n  base = previous\n}\n");
    alike(0);
    fs::rename(scenario.path("two"), scenario.path("away")).unwrap();
    for night in 1..=3 {
        scenario.write("site/a", format!("{night}"));
        settle();
        alike(0);
    }
    fs::rename(scenario.path("away"), scenario.path("two")).unwrap();
    alike(5);
}

#[test]
fn what_somebody_puts_into_one_store_is_not_brought_to_the_others_by_a_run() {
    let text = |to: &str, stores: &str| {
        plan(&format!("{stores}{}keep {{\n  last = 3\n}}\n", SITE.replace("[store]", to)))
    };
    let other = "store other: dir {\n  path = \"other\"\n}\n\n";
    let scenario = Scenario::new().file("p.plan", text("[store, other]", other)).file("site/a", "a");
    for night in 0..3 {
        scenario.write("site/a", format!("night {night}"));
        scenario.next_day().plan(["run"]).status(0);
    }
    // Somebody who has the second store makes runs of his own in it, as the plan would.
    shell(
        &scenario.path("."),
        "mkdir -p evil/site; cp -r other evil/store; cp other/.backplan/p/format.yaml format.yaml; echo theirs > evil/site/a",
    );
    scenario.write("evil/p.plan", text("[store]", ""));
    let program = env!("CARGO_BIN_EXE_plan");
    for hour in 12..15 {
        let run = format!(
            "XDG_STATE_HOME=$PWD/../evil-state BACKPLAN_NOW=2026-01-04T{hour}:00:00Z {program} run --adopt -q"
        );
        shell(&scenario.path("evil"), &run);
    }
    shell(
        &scenario.path("."),
        "rm -r other; cp -r evil/store other; cp format.yaml other/.backplan/p/; rm -f other/.backplan/p/lock/*",
    );
    let there = || shell(&scenario.path("store/.backplan/p/manifests"), "ls | cut -c1-8").replace('\n', " ");
    scenario.next_day();
    let told = "this machine does not know that it has made it";
    // It advises nothing that would bring them on.
    let status = scenario.plan(["status"]).status(3);
    status
        .stdout_has("store `store` lacks run")
        .stdout_has("this machine does not know that it has made that run");
    scenario.plan(["run", "--dry-run"]).status(3).stdout_has(told);
    scenario.plan(["run"]).status(3).stdout_has(told);
    scenario.plan(["status"]).status(3);
    assert_eq!(there(), "00000002 00000003 00000007 ");
    scenario.plan(["restore", "--to", "back", "--store", "store"]).status(0);
    assert_eq!(scenario.read("back/site/site/a"), "night 2");

    // Nor is a run of one's own that somebody changed meanwhile.
    shell(&scenario.path("."), "rm -r other; mv store gone");
    scenario.write("site/a", "night 4");
    scenario.next_day().plan(["run", "--adopt"]);
    let changed = shell(&scenario.path("other/.backplan/p/manifests"), "ls | tail -1").trim().to_owned();
    shell(
        &scenario.path("."),
        &format!(
            "rm -rf store; mv gone store; sed -i 's/^started: .*/started: 2026-01-06T02:30:01Z/' other/.backplan/p/manifests/{changed}"
        ),
    );
    scenario.next_day().plan(["run"]).status(3).stdout_has(told);
    assert!(!scenario.path(&format!("store/.backplan/p/manifests/{changed}")).exists());
    // A person may say that it is theirs.
    scenario.plan(["sync"]);
    assert!(scenario.path(&format!("store/.backplan/p/manifests/{changed}")).exists());
}

#[test]
fn what_a_store_would_not_keep_is_not_asked_after_when_nothing_is_known_of_who_made_it() {
    let kept = "store other: dir {\n  path = \"other\"\n  keep {\n    last = 9\n  }\n}\n\n";
    let text = plan(&format!("{kept}{}keep {{\n  last = 2\n}}\n", SITE.replace("[store]", "[store, other]")));
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a");
    for _ in 0..4 {
        scenario.next_day().plan(["run"]).status(0);
    }
    shell(&scenario.path("."), "rm -r ../state");
    scenario.next_day().plan(["run", "--adopt"]);
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["status"]).status(0);
}

#[test]
fn nothing_is_brought_to_a_store_that_rests_on_a_run_whose_manifest_there_is_damaged() {
    let two = ["a", "b"].map(|name| format!("store {name}: dir {{\n  path = \"{name}\"\n}}\n")).concat();
    let scenario = Scenario::new().file("site/a", "1").file(
        "p.plan",
        format!(
            "plan p\n{two}source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = [site]\n  to = [a, b]\n}}\n\
             cycle {{\n  incrementals = 4\n  base = previous\n}}\n"
        ),
    );
    for day in ["1", "2"] {
        scenario.write("site/a", day);
        scenario.next_day().plan(["run"]).status(0);
    }
    shell(&scenario.path("a/.backplan/p/manifests"), "for it in 00000002*; do echo '{[junk' > $it; done");
    scenario.write("site/a", "3");
    let third = scenario.next_day().plan(["run"]);
    assert!([1, 3].contains(&third.code), "{third:?}");
    let told =
        "is there with a manifest that cannot be used, so that neither it nor what rests on it is brought";
    scenario.next_day().plan(["sync", "--dry-run"]).status(3).says(told);
    scenario.plan(["sync"]).status(3).says(told);
    assert_eq!(shell(&scenario.path("a/.backplan/p/manifests"), "ls | grep -c 00000003 || true"), "0\n");
    // The mend that is told.
    shell(&scenario.path("a/.backplan/p/manifests"), "mv 00000002* ../../../..");
    scenario.plan(["sync"]).status(0);
    scenario.plan(["restore", "--store", "a", "--to", "back"]).status(0);
    assert_eq!(scenario.read("back/site/site/a"), "3");
    scenario.write("site/a", "4");
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["list"]).status(0).says("incremental on 1 to 3");
}

/// A plan of two stores, with an archive of `site` for both and, where it is told, one of `db` for these.
fn of_two_archives(db: Option<&str>) -> String {
    let folder = |name: &str| format!("store {name}: dir {{\n  path = \"{name}\"\n}}\n");
    let archive = |source: &str, to: &str| {
        format!(
            "source {source}: files {{\n  paths = [\"{source}\"]\n}}\narchive of_{source} {{\n  from = [{source}]\n  to = [{to}]\n}}\n"
        )
    };
    let db = db.map(|to| archive("db", to)).unwrap_or_default();
    format!(
        "plan p\n{}{}{}{db}cycle {{\n  incrementals = 1\n}}\n",
        folder("a"),
        folder("b"),
        archive("site", "a, b")
    )
}

/// Of archives in other phases of their cycles one rests on a run that a store lacks, and the other on nothing: the store gets
/// both or none, and not the one alone.
#[test]
fn a_store_that_was_away_gets_the_whole_run_where_one_archive_rests_on_what_it_lacks() {
    for (db, place) in [("a, b", "beside"), ("a", "alone")] {
        let scenario = Scenario::new().file("site/x", "").file("db/x", "");
        scenario.write("p.plan", of_two_archives(None));
        let night = |number: u32| {
            scenario.write("site/x", format!("night {number}"));
            scenario.write("db/x", format!("night {number}"));
            scenario.next_day();
        };
        let run = || scenario.plan(["run", "p.plan", "--format", "json"]);
        // The full of the third night is in one store alone, and that of `db` is due on the fourth.
        night(1);
        run().status(0);
        night(2);
        run().status(0);
        fs::rename(scenario.path("a"), scenario.path("away")).unwrap();
        night(3);
        run().status(3);
        fs::rename(scenario.path("away"), scenario.path("a")).unwrap();
        scenario.write("p.plan", of_two_archives(Some(db)));
        night(4);
        let foreseen = scenario.plan(["run", "p.plan", "--dry-run", "--format", "json"]).json();
        let came = run().status(3).json();
        assert_eq!(foreseen["verdict"], came["verdict"], "{place}");
        let listed = scenario.plan(["list", "p.plan", "--format", "json"]).status(0).json();
        let newest = listed["runs"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(newest["places"]["site"], serde_json::json!(["a", "b"]), "{place}: {newest}");
        let awaited = if place == "alone" { serde_json::json!(["a"]) } else { serde_json::json!(["a", "b"]) };
        assert_eq!(newest["places"]["db"], awaited, "{place}: {newest}");
        scenario.plan(["verify", "p.plan", "--all"]).status(0);
        fs::remove_dir_all(scenario.path("b")).unwrap();
        scenario.plan(["restore", "p.plan", "--to", "out", "--store", "a"]).status(0);
        for name in ["site", "db"] {
            shell(&scenario.path("."), &format!("diff -r {name} $(find out -type d -name {name} | tail -1)"));
        }
    }
}

/// An archive goes to a store only lately, and the store is away as its next difference is made: what that rests on the store has never
/// had, and so the difference is of no use there.
#[test]
fn a_store_is_brought_no_archive_whose_base_it_never_had() {
    // By a sync before the next run, or by that run.
    for is_synced in [true, false] {
        let scenario = Scenario::new().file("site/x", "1").file("db/x", "1");
        scenario.write("p.plan", of_two_archives(Some("a")).replace("incrementals = 1", "incrementals = 5"));
        scenario.plan(["run", "p.plan"]).status(0);
        scenario
            .write("p.plan", of_two_archives(Some("a, b")).replace("incrementals = 1", "incrementals = 5"));
        fs::rename(scenario.path("b"), scenario.path("away")).unwrap();
        for name in ["site/x", "db/x"] {
            scenario.write(name, "2");
        }
        scenario.next_day().plan(["run", "p.plan"]).status(3);
        fs::rename(scenario.path("away"), scenario.path("b")).unwrap();
        if is_synced {
            scenario.plan(["sync", "p.plan"]).status(0).says("copied");
        }
        scenario.write("db/x", "3");
        scenario
            .next_day()
            .plan(["run", "p.plan"])
            .status(3)
            .says("archive `of_db`: source `db` is taken whole: the base, run");
        let listed = scenario.plan(["list", "p.plan", "--format", "json"]).status(0).json();
        let runs = listed["runs"].as_array().unwrap();
        assert_eq!(runs[1]["places"]["site"], serde_json::json!(["a", "b"]), "{listed}");
        assert_eq!(runs[1]["places"]["db"], serde_json::json!(["a"]), "{listed}");
        scenario.plan(["verify", "p.plan", "--all"]).status(0);
        scenario.plan(["sync", "p.plan"]).status(0).says("nothing to copy");
        fs::remove_dir_all(scenario.path("a")).unwrap();
        scenario.plan(["restore", "p.plan", "--to", "out", "--store", "b"]).status(0);
        shell(&scenario.path("."), "diff -r db $(find out -type d -name db | tail -1)");
    }
}

/// A source is in two archives, and one of them gets a second store only lately: what the other has of the source there is no base of
/// it, though it is the only archive there that has it.
#[test]
fn an_archive_rests_on_no_other_one_of_the_same_source() {
    let text = |m: &str| {
        format!(
            "plan p\nstore a: dir {{\n  path = \"a\"\n}}\nstore b: dir {{\n  path = \"b\"\n}}\nsource site: files {{\n  paths = [\"site\"]\n}}\n\
             {m}archive n {{\n  from = [site]\n  to = [a, b]\n}}\ncycle {{\n  incrementals = 6\n  base = previous\n}}\n"
        )
    };
    let m = |to: &str| format!("archive m {{\n  from = [site]\n  to = {to}\n}}\n");
    let scenario = Scenario::new().file("site/x", "1").file("site/old", "old").file("p.plan", text(""));
    settle();
    for (night, plan) in [text(""), text(&m("[a]")), text(&m("[a, b]"))].iter().enumerate() {
        scenario.write("p.plan", plan);
        scenario.write("site/x", night.to_string());
        scenario.next_day().plan(["run", "p.plan"]);
    }
    scenario.plan(["verify", "p.plan", "--all", "--deep"]).status(0);
    for store in ["a", "b"] {
        scenario.plan(["restore", "p.plan", "--to", &format!("out-{store}"), "--store", store]).status(0);
        shell(&scenario.path("."), &format!("diff -r site $(find out-{store} -type d -name site | tail -1)"));
    }
}

/// A base's other archives, and what is wrong beside its artefacts, keep nothing from being put back that rests on it.
#[test]
fn what_rests_on_a_run_is_damaged_by_its_own_base_alone() {
    let scenario = Scenario::new().file("site/x", "1").file("db/x", "1");
    scenario.write(
        "p.plan",
        of_two_archives(Some("a")).replace("incrementals = 1", "incrementals = 5\n  base = previous"),
    );
    for night in ["1", "2", "3"] {
        scenario.write("site/x", night);
        scenario.write("db/x", night);
        settle();
        scenario.next_day().plan(["run", "p.plan"]).status(0);
    }
    shell(&scenario.path("a"), "truncate -s 100 p_of_db_20260102*");
    // The second part of the manifest says where files go: cut in its midst.
    let cut = "m=$(ls 00000002*); n=$(grep -n '^---' $m | cut -d: -f1); truncate -s $(($(head -n $((n + 3)) $m | wc -c) + 4)) $m";
    shell(&scenario.path("a/.backplan/p/manifests"), cut);
    let said = scenario.plan(["verify", "p.plan", "--all", "--store", "a"]).status(1).said().to_owned();
    let damaged = |run: &str, archive: &str| {
        let line = said.lines().find(|line| line.contains(run) && line.contains(archive));
        line.unwrap_or_else(|| panic!("{run} {archive}: {said}")).contains("DAMAGED")
    };
    let states =
        ["00000001", "00000002", "00000003"].map(|run| [damaged(run, "_of_site_"), damaged(run, "_of_db_")]);
    assert_eq!(states.map(|state| state[1]), [true; 3], "{said}");
    assert!(!states[0][0] && !states[2][0], "{said}");
    scenario.plan(["restore", "p.plan", "--store", "a", "--source", "site", "--to", "out"]);
    shell(&scenario.path("."), "diff -r site $(find out -type d -name site | tail -1)");
}
