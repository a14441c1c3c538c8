//! One path or source that is missing costs itself, and never a good backup.

use std::fs;

use crate::scenario::{Scenario, artefacts, plan, shell};

const MIXED: &str = "\
source site: files {
  paths = [\"site\", \"more\"]
}

source db: sqlite {
  path = \"app.db\"
}

source dump: command {
  run = [\"sh\", \"-c\", \"echo half; test ! -e broken && echo whole\"]
  as  = \"dump.txt\"
}

archive main {
  from = all
  to   = [store]
}
";

fn mixed(further: &str) -> Scenario {
    let scenario = Scenario::new()
        .file("p.plan", plan(&format!("{MIXED}{further}")))
        .file("site/a", "a")
        .file("more/b", "b");
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n); insert into t values (42)'");
    scenario
}

fn listed(scenario: &Scenario, run: &str) -> String {
    shell(&scenario.path("store"), &format!("tar tzf *{run}*.tar.gz"))
}

fn runs(scenario: &Scenario) -> Vec<u64> {
    let all = scenario.plan(["list", "--format", "json"]).json();
    let id = |run: &serde_json::Value| run["run"].as_str().unwrap()[..8].parse().unwrap();
    let mut runs: Vec<u64> = all["runs"].as_array().unwrap().iter().map(id).collect();
    runs.sort_unstable();
    runs
}

#[test]
fn what_can_be_saved_is_saved_and_no_good_backup_goes_for_it() {
    for staging in ["", "staging {\n  path = \"staging\"\n}\n"] {
        let scenario = mixed(&format!("keep {{ last = 2 }}\n{staging}"));
        fs::create_dir(scenario.path("staging")).unwrap();
        for _ in 0..2 {
            scenario.next_day().plan(["run"]).status(0);
        }
        fs::rename(scenario.path("more"), scenario.path("away")).unwrap();
        fs::rename(scenario.path("app.db"), scenario.path("away.db")).unwrap();
        scenario.write("broken", "");
        let dry = scenario.next_day().plan(["run", "--dry-run"]).status(1);
        dry.stdout_has("more").stdout_has("without source `db`").stdout_has("what is there of the source");
        for night in 3..6 {
            let made = scenario.plan(["run", "--format", "json"]).status(1).json();
            assert_eq!(made["committed"], serde_json::json!(["store"]), "{made}");
            let left: Vec<&str> = made["left_out"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["source"].as_str().unwrap())
                .collect();
            assert_eq!(left, ["db", "dump"]);
            let day = listed(&scenario, &format!("_202601{:02}T", night + 1));
            assert!(day.contains("site/site/a") && !day.contains("more/b"), "{day}");
            assert!(!day.contains("app.db") && !day.contains("dump.txt"), "{day}");
            scenario.next_day();
        }
        // `last = 2` alone would have left the runs of two nights that lack something.
        assert_eq!(runs(&scenario), [1, 2, 4, 5]);
        let text = shell(&scenario.path("store"), "cat .backplan/p/manifests/00000005*");
        assert!(text.contains("missing: 1") && text.contains("more` is not there"), "{text}");
        let told = scenario.plan(["status", "--format", "json"]).status(3).json();
        for source in told["sources"].as_array().unwrap() {
            assert!(source["newest"].as_str().unwrap().starts_with("00000002"), "{source}");
        }
        assert_eq!(told["unclean"][0]["end"], "failed");
        let told = told.to_string();
        assert!(
            told.contains("more` is not there") && told.contains("app.db") && told.contains("dump"),
            "{told}"
        );
        // Another machine has the manifests alone.
        shell(&scenario.path(".."), "mv state mine && mkdir state");
        let told = scenario.plan(["status"]).status(3);
        told.stdout_has("backed up only a part of `site`").stdout_has("did not back up `dump`");
        let back = scenario.plan(["restore", "--to", "back"]).status(3);
        back.stderr_has("only a part of source `site`").stderr_has("run 00000002");
        assert_eq!(scenario.read("back/site/site/a"), "a");
        shell(&scenario.path(".."), "rm -r state && mv mine state");
        // All is there again: the next nights are good, and the old ones go.
        fs::rename(scenario.path("away"), scenario.path("more")).unwrap();
        fs::rename(scenario.path("away.db"), scenario.path("app.db")).unwrap();
        fs::remove_file(scenario.path("broken")).unwrap();
        for _ in 0..2 {
            scenario.next_day().plan(["run"]);
        }
        assert_eq!(runs(&scenario), [6, 7]);
        scenario.next_day().plan(["run"]).status(0);
        scenario.plan(["status"]).status(0);
        scenario.plan(["restore", "--to", "whole"]).status(0);
        assert_eq!(
            scenario.read("whole/site/more/b") + &scenario.read("whole/dump/dump.txt"),
            "bhalf\nwhole\n"
        );
    }
}

#[test]
fn a_difference_takes_no_missing_path_for_deleted_and_has_it_when_it_is_back() {
    let scenario = mixed("cycle {\n  incrementals = 6\n  base = previous\n}\n");
    scenario.next_day().plan(["run"]).status(0);
    fs::rename(scenario.path("more"), scenario.path("away")).unwrap();
    scenario.write("site/new", "new");
    scenario.next_day().plan(["run"]).status(1);
    // What the base has of it is as good as is known.
    scenario.plan(["restore", "--to", "one", "--source", "site"]).status(3).stderr_has("only a part");
    assert_eq!(scenario.read("one/site/new") + &scenario.read("one/more/b"), "newb");
    fs::rename(scenario.path("away"), scenario.path("more")).unwrap();
    scenario.write("more/b", "changed");
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["restore", "--to", "two", "--source", "site"]).status(0);
    assert_eq!(scenario.read("two/site/new") + &scenario.read("two/more/b"), "newchanged");
}

#[test]
fn strict_makes_nothing_of_halves() {
    let strict = MIXED.replace("\"more\"]", "\"more\"]\n  strict = true");
    let scenario = Scenario::new().file("p.plan", plan(&strict)).file("site/a", "a");
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n)'");
    scenario.plan(["run", "--dry-run"]).status(1).stdout_has("no artefact would be made");
    scenario.next_day().plan(["run"]).status(1).stdout_has("more").stdout_has("nowhere: no backup was made");
    assert_eq!(artefacts(&scenario.path("store")).len(), 0);
    // One that is not strict is left out beside it, and one alone leaves nothing.
    fs::create_dir(scenario.path("more")).unwrap();
    fs::remove_file(scenario.path("app.db")).unwrap();
    scenario.next_day().plan(["run"]).status(1).stdout_has("app.db").stdout_has("failed in part");
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
    fs::remove_dir_all(scenario.path("site")).unwrap();
    fs::remove_dir_all(scenario.path("more")).unwrap();
    scenario.write("broken", "");
    scenario.next_day().plan(["run"]).status(1).stdout_has("nowhere: no backup was made");
}

#[test]
fn a_window_that_does_not_open_costs_the_sources_inside_alone() {
    let window = "window gate {\n  around = [dump]\n  enter  = [\"sh\", \"-c\", \"test ! -e shut\"]\n}\n";
    let window = window.replace("-e shut", "-e SHUT");
    let scenario = mixed("");
    let shut = scenario.path("shut").display().to_string();
    scenario.write("p.plan", plan(&format!("{MIXED}{}", window.replace("SHUT", &shut))));
    scenario.next_day().plan(["run"]).status(0);
    scenario.write("shut", "");
    scenario
        .next_day()
        .plan(["run"])
        .status(1)
        .stdout_has("enter/gate")
        .stderr_has("made without source `dump`");
    let day = listed(&scenario, "_20260103T");
    assert!(day.contains("more/b") && day.contains("app.db") && !day.contains("dump.txt"), "{day}");
    shell(&scenario.path(".."), "rm -r state && mkdir state");
    scenario.plan(["status"]).status(3).stdout_has("did not back up `dump`: `enter/gate` failed");
}

/// Runs a plan at night after night, each with what is done before it, where what is mounted is seen by nobody else.
fn nights(scenario: &Scenario, steps: &[(&str, &str)]) {
    let program = env!("CARGO_BIN_EXE_plan");
    let mut script = String::from("plan() { \"$PROGRAM\" \"$@\" >said 2>&1 && got=0 || got=$?; }\n");
    for (day, (before, then)) in steps.iter().enumerate() {
        let now = format!("2026-02-{:02}T02:30:00Z", day + 1);
        script.push_str(&format!("{before}\nexport BACKPLAN_NOW={now}\n{then}\n"));
    }
    let script = format!(
        "PROGRAM={program}\nstatus() {{ [ $got = $1 ] || {{ echo \"$got, not $1\"; cat said; exit 9; }}; }}\n\
         says() {{ grep -qF -- \"$1\" said || {{ echo \"no '$1'\"; cat said; exit 9; }}; }}\n{script}"
    );
    scenario.other(&["unshare", "--mount", "sh", "-ec", &script]).status(0);
}

fn with_disk(further: &str, source: &str) -> Scenario {
    let text = format!(
        "source site: files {{\n  paths = [\"site\"]\n{source}}}\n\narchive main {{\n  from = all\n  to   = [store]\n}}\n{further}"
    );
    let scenario = Scenario::new().file("p.plan", plan(&text)).file("site/a", "a".repeat(1000));
    fs::create_dir_all(scenario.path("site/sub/mnt")).unwrap();
    scenario
}

const MOUNT: &str = "mount -t tmpfs disk site/sub/mnt; echo photo >site/sub/mnt/photo";

#[test]
fn a_disk_that_is_not_mounted_is_missed_until_it_is_back_and_costs_no_backup_of_it() {
    for cycle in ["", "cycle { incrementals = 9 }\n"] {
        let scenario = with_disk(&format!("{cycle}keep {{ last = 1 }}\n"), "");
        let gone = "umount site/sub/mnt; echo x >>site/a";
        let missed = "plan run; status 1; says 'sub/mnt` was a file system of its own (tmpfs) in run 00000001'; says 'is not mounted'";
        nights(
            &scenario,
            &[
                (MOUNT, "plan run; status 0"),
                (gone, "plan run --dry-run; status 1; says 'is not mounted'"),
                (
                    "plan check --live; status 1; says 'sub/mnt` was a file system'
                     plan why p.plan site/sub/mnt/photo; status 0; says 'is not mounted'",
                    missed,
                ),
                ("echo y >>site/a", missed),
                ("plan status; status 3; says 'is not mounted'; plan list; says 'site (in part)'", ""),
                // Without the folder, and without what this host remembers.
                ("rm -r site/sub ../state; mkdir ../state", &missed.replace("plan run", "plan run --adopt")),
                ("plan list; ls store/.backplan/p/manifests >before", ""),
                (
                    "mkdir -p site/sub/mnt; mount -t tmpfs disk site/sub/mnt; echo photo >site/sub/mnt/photo",
                    "plan run",
                ),
                ("", "plan run; status 0; plan status; status 0"),
            ],
        );
        assert_eq!(scenario.read("before").lines().count(), 2, "{}", scenario.read("before"));
        assert!(scenario.read("before").contains("00000001"), "{}", scenario.read("before"));
        scenario.plan(["restore", "--to", "back"]).status(0);
        assert_eq!(scenario.read("back/site/site/sub/mnt/photo"), "photo\n");
    }
}

#[test]
fn a_disk_that_is_given_up_is_said_once_or_left_out() {
    let scenario = with_disk("keep { last = 1 }\n", "");
    nights(
        &scenario,
        &[
            (MOUNT, "plan run; status 0"),
            ("umount site/sub/mnt", "plan run; status 1"),
            ("plan run --unmounted site/other; status 2; says 'was mounted at'", ""),
            ("", "plan run --unmounted site/sub/mnt; status 0"),
            ("", "plan run; status 0; plan status; status 0"),
            // All that it held lies there, as it was copied from there once: nobody knows that it is all.
            (
                "for it in 1 2 3 4 5 6 7 8 9; do echo $it >site/sub/mnt/photo$it; done; mount -t tmpfs disk site/sub/mnt
                 echo new >site/sub/mnt/new",
                "plan run; status 0",
            ),
            ("cp -a site/sub/mnt kept", "plan run; status 0"),
            ("umount site/sub/mnt", "plan run; status 1; says 'is not mounted'; plan status; status 3"),
            ("cp -a kept/new site/sub/mnt", "plan run --unmounted site/sub/mnt; status 0"),
            ("rm -r site/sub/mnt/*", "plan run; status 3"),
            ("", "plan run; status 0; plan status; status 3; says '--accept site'"),
            // Others in its place, as many and as large.
            (MOUNT, "plan run; status 0"),
            (
                "umount site/sub/mnt; rm -f site/sub/mnt/photo; for it in 1 2 3; do echo others >site/sub/mnt/log$it; done",
                "plan run; status 1; says 'is not mounted'; plan status; status 3",
            ),
            ("rm site/sub/mnt/*", ""),
            // Another one in its place.
            (MOUNT, "plan run; status 0"),
            (
                "umount site/sub/mnt; rm -f site/sub/mnt/photo; truncate -s 8M disk; mkfs.ext4 -q disk; mount -o loop disk site/sub/mnt",
                "plan run; status 1; says 'another one (ext4) is in its place'",
            ),
            (
                "for it in 1 2 3; do echo others >site/sub/mnt/other$it; done",
                "plan run; status 1; says 'another one (ext4) is in its place'",
            ),
            // And one after that.
            (
                "umount site/sub/mnt; mount -t tmpfs disk site/sub/mnt; echo 3 >site/sub/mnt/third",
                "plan run; status 1",
            ),
            ("umount site/sub/mnt", "plan run; status 1; says 'and 1 more'"),
            ("", "plan run --unmounted site/sub/mnt; status 0"),
            ("sed -i 's|paths = .*|&\\n exclude = [\"/sub/mnt/*\"]|' p.plan", "plan run; status 0"),
        ],
    );
}

#[test]
fn who_gives_a_disk_up_need_not_say_of_what_was_on_it_that_it_is_lost() {
    for keep in ["keep { last = 9 }\n", ""] {
        let scenario = with_disk(keep, "");
        nights(
            &scenario,
            &[
                (
                    "mount -t tmpfs disk site/sub/mnt; for it in 1 2 3 4 5 6 7 8 9; do echo $it >site/sub/mnt/photo$it; done",
                    "plan run; status 0",
                ),
                ("umount site/sub/mnt", "plan run; status 1"),
                (
                    "",
                    "plan run --dry-run --unmounted site/sub/mnt; status 0
                     plan run --unmounted site/sub/mnt; status 0; plan status; status 0",
                ),
                ("", "plan run; status 0; plan status; status 0"),
                // What is lost later was not meant.
                ("for it in 1 2 3 4 5 6; do echo $it >site/b$it; done", "plan run; status 0"),
                ("rm site/b*", "plan run; status 3; says '--accept site'; plan status; status 3"),
            ],
        );
    }
}

#[test]
fn what_was_on_a_disk_that_is_given_up_is_gone_from_the_next_difference_on() {
    let scenario = with_disk("cycle { incrementals = 9 }\n", "");
    fs::create_dir_all(scenario.path("site/other")).unwrap();
    let both = format!("{MOUNT}; mount -t tmpfs disk site/other; echo one >site/other/one");
    nights(
        &scenario,
        &[
            (&both, "plan run; status 0"),
            ("umount site/sub/mnt", "plan run; status 1; says 'sub/mnt'"),
            // While another one is missing, too.
            (
                "umount site/other",
                "plan run --unmounted site/sub/mnt; status 1; says 'site/other'; ! grep -F sub/mnt said",
            ),
            (
                "mount -t tmpfs disk site/other; echo one >site/other/one",
                "plan run; status 0; plan status; status 0",
            ),
            ("plan restore --to back; status 0", ""),
            // Given up on the night behind that on which it was told, as it comes.
            ("umount site/other; echo left >site/other/left", "plan run; status 1; says 'site/other'"),
            ("", "plan run --unmounted site/other; status 0"),
            ("", "plan run; status 0"),
            ("plan restore --to later; status 0", ""),
        ],
    );
    assert_eq!(scenario.read("later/site/site/other/left"), "left\n");
    assert!(!scenario.path("later/site/site/other/one").exists());
    assert_eq!(scenario.read("back/site/site/other/one"), "one\n");
    assert!(!scenario.path("back/site/site/sub/mnt/photo").exists());
}

#[test]
fn a_source_of_another_name_misses_what_the_old_one_did() {
    let scenario = with_disk("", "");
    let renamed = "sed -i 's/source site/source web/' p.plan";
    nights(
        &scenario,
        &[
            (MOUNT, "plan run; status 0"),
            ("umount site/sub/mnt", "plan run; status 1"),
            (
                renamed,
                "plan run --dry-run; status 1; plan run; status 1; says 'sub/mnt'; plan status; status 3",
            ),
            ("", "plan run; status 1; says 'sub/mnt'"),
            (MOUNT, "plan run; status 0; plan status; status 0"),
        ],
    );
}

#[test]
fn of_disks_that_are_optional_the_newest_run_that_has_each_stays() {
    let scenario = with_disk("keep { last = 2 }\n", "  optional = true\n");
    fs::create_dir_all(scenario.path("site/other")).unwrap();
    let both = format!("{MOUNT}; mount -t tmpfs disk site/other; echo one >site/other/one");
    let run = "plan run; status 3; says 'is not mounted'";
    nights(
        &scenario,
        &[
            (&both, "plan run; status 0"),
            ("umount site/sub/mnt", run),
            ("echo new >site/other/new", run),
            ("umount site/other", run),
            ("", run),
            ("", run),
            ("", "plan run --dry-run; status 3; plan run; status 3"),
            (
                "",
                "plan restore --to back; status 3; says 'lacks 2 paths of source `site`, which is optional'",
            ),
            ("", "plan restore --to photo --run 1; status 0; plan restore --to new --run 3; status 3"),
        ],
    );
    assert_eq!(scenario.read("photo/site/site/sub/mnt/photo"), "photo\n");
    assert_eq!(scenario.read("new/site/site/other/new"), "new\n");
}

#[test]
fn a_mount_above_a_path_and_one_in_another_are_missed_too() {
    // The folder is there without the disk, as where a container engine has made it.
    let scenario = with_disk("keep { last = 1 }\n", "");
    let text = scenario.read("p.plan").replace("[\"site\"]", "[\"site\", \"disk/photos\"]");
    scenario.write("p.plan", &text);
    scenario.write(
        "strict.plan",
        text.replace("paths", "strict = true\n  paths").replace("plan p", "plan strict"),
    );
    scenario.write(
        "optional.plan",
        text.replace("paths", "optional = true\n  paths").replace("plan p", "plan optional"),
    );
    fs::create_dir_all(scenario.path("disk/photos")).unwrap();
    let above = "mount -t tmpfs disk disk; mkdir disk/photos; echo one >disk/photos/one";
    let nested = "mkdir site/sub/mnt/in; mount -t tmpfs disk site/sub/mnt/in; echo two >site/sub/mnt/in/two";
    let all =
        |status: u8| format!("for it in p strict optional; do plan run $it.plan; status {status}; done");
    nights(
        &scenario,
        &[
            (&format!("{MOUNT}\n{nested}\n{above}"), &all(0)),
            (
                "umount disk site/sub/mnt/in",
                "plan run p.plan; status 1; says 'disk/photos` was on a file system (tmpfs) that was mounted at'; says 'and 1 more'\n\
                 plan run optional.plan; status 3; says 'sub/mnt/in'; plan run strict.plan; status 1; says 'no backup was made'",
            ),
            (
                "umount site/sub/mnt",
                "plan run optional.plan; status 3; plan restore optional.plan --to back; status 3",
            ),
        ],
    );
    assert_eq!(
        scenario.plan(["list", "optional.plan", "--format", "json"]).json()["runs"].as_array().unwrap().len(),
        3
    );
}

#[test]
fn a_disk_that_is_unmounted_between_the_walk_and_the_packing_is_missed() {
    let ahead = "source ahead: command {\n  run = [\"sh\", \"-c\", \"test ! -e armed || umount site/sub/mnt; echo done\"]\n  as  = \"said\"\n}\nkeep { last = 1 }\n";
    let scenario = with_disk(ahead, "");
    scenario.write("p.plan", scenario.read("p.plan").replace("from = all", "from = [ahead, site]"));
    let steps = [
        (MOUNT, "plan run; status 0"),
        (": >armed", "plan run; status 3; says 'sub/mnt` was unmounted while it was read'"),
        ("rm armed", "plan run; status 1; says 'in run 00000001'; says 'is not mounted'"),
    ];
    nights(&scenario, &steps);
    assert_eq!(runs(&scenario), [1, 3]);
}

#[test]
fn of_two_disks_that_are_never_there_at_once_each_stays_in_the_newest_backup_that_has_it() {
    let scenario = with_disk("keep { last = 1 }\n", "");
    fs::create_dir(scenario.path("site/two")).unwrap();
    let one = "mount -t tmpfs disk site/sub/mnt; echo photo >site/sub/mnt/photo";
    let two = "umount site/sub/mnt; mount -t tmpfs disk site/two; echo film >site/two/film";
    let run = "plan run; status 1";
    nights(
        &scenario,
        &[
            (one, "plan run; status 0"),
            (two, run),
            ("umount site/two", run),
            ("", "plan run --dry-run; status 1"),
            ("", run),
        ],
    );
    assert_eq!(runs(&scenario), [1, 2, 4]);
    scenario.plan(["restore", "--run", "2", "--to", "back"]).status(3);
    assert_eq!(scenario.read("back/site/site/two/film"), "film\n");
}

/// Snapshots of a source's tree, mounted at its `root` for each run: another file system, and nothing is missed for it.
#[test]
fn a_snapshot_at_its_root_is_another_each_night_and_missed_where_there_is_none() {
    let scenario = with_disk("keep { last = 2 }\n", "  root = \"mnt\"\n");
    let text = scenario.read("p.plan").replace("\"site\"", "\"/site\"");
    scenario.write("p.plan", text);
    fs::create_dir_all(scenario.path("mnt")).unwrap();
    let night = |number: u32| {
        format!(
            "umount mnt || true; mkdir -p snap{number}/site; echo {number} >snap{number}/site/a; mount --bind snap{number} mnt"
        )
    };
    let [one, two, three] = [1, 2, 3].map(night);
    let well = "plan run; status 0; plan status; status 0";
    nights(
        &scenario,
        &[
            (&one, well),
            (&two, well),
            (&three, well),
            ("umount mnt; mkdir mnt/site; echo 3 >mnt/site/a", "plan run; status 1; says 'is not mounted'"),
        ],
    );
}

/// Containers are given single files.
#[test]
fn a_file_that_was_mounted_by_itself_is_missed_and_a_disk_that_moved_inside_its_source_is_not() {
    for paths in ["\"site\"", "\"site/keys\", \"site/a\""] {
        let scenario = with_disk("keep { last = 1 }\n", "").file("site/keys", "").file("vol", "secret\n");
        scenario.write("p.plan", scenario.read("p.plan").replace("\"site\"", paths));
        let well = "plan run; status 0; plan status; status 0";
        let missed =
            "plan run; status 1; says 'site/keys` was'; says 'is not mounted'; plan status; status 3";
        nights(
            &scenario,
            &[
                ("mount --bind vol site/keys", well),
                ("umount site/keys", missed),
                ("echo new >site/keys", missed),
                (
                    "plan restore --run 1 --to back; grep secret back/site/site/keys",
                    "plan run --unmounted site/keys",
                ),
                ("", well),
            ],
        );
    }
    let scenario = with_disk("cycle { incrementals = 9 }\nkeep { last = 1 }\n", "");
    let disk = "truncate -s 8M disk; mkfs.ext4 -q disk; mkdir site/other; mount -o loop disk site/sub/mnt; echo photo >site/sub/mnt/photo";
    nights(
        &scenario,
        &[
            (disk, "plan run; status 0"),
            ("umount site/sub/mnt; mount -o loop disk site/other", "plan run"),
            ("", "plan run; status 0; plan status; status 0"),
            (
                "plan restore --to back; status 0; [ -f back/site/site/other/photo ]; [ ! -e back/site/site/sub/mnt/photo ]",
                "",
            ),
            ("umount site/other", "plan run; status 1; says 'site/other` was'; ! grep -F sub/mnt said"),
        ],
    );
}

/// A database on a disk: an application that does not find it makes it anew in the empty mount point.
#[test]
fn a_database_on_a_disk_that_is_not_mounted_is_missed_whatever_was_made_in_its_place() {
    for optional in ["", "  optional = true\n"] {
        let source = format!("source app: sqlite {{\n  path = \"data/app.db\"\n{optional}}}\n");
        let more = "staging {\n  path = \"staging\"\n}\nkeep {\n  last = 1\n}\n";
        let text = format!(
            "{source}source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = all\n  to   = [store]\n}}\n{more}"
        );
        let scenario = Scenario::new().file("p.plan", plan(&text)).file("site/a", "a");
        for folder in ["data", "staging"] {
            fs::create_dir(scenario.path(folder)).unwrap();
        }
        let (fails, away) = if optional.is_empty() { (1, "is not mounted") } else { (3, "is not mounted") };
        let missed = format!("plan run\nstatus {fails}; says \"{away}\"; says 'plan run FILE --unmounted'");
        let shown = format!("plan run --dry-run\nstatus {fails}; says \"{away}\"\n{missed}");
        let anew = "sqlite3 data/app.db 'create table t (n); insert into t values (1)'";
        nights(
            &scenario,
            &[
                (
                    "mount -t tmpfs disk data; sqlite3 data/app.db 'create table t (n); insert into t values (42)'",
                    "plan run; status 0",
                ),
                ("", "plan run; status 0"),
                (&format!("umount data; {anew}"), &shown),
                ("", &missed),
                ("", &missed),
                (
                    "",
                    "plan restore --to back --run 2; status 0; [ \"$(sqlite3 back/app/app.db 'select n from t')\" = 42 ]",
                ),
                ("", "plan run --unmounted data; status 0"),
                ("", "plan run; status 0"),
            ],
        );
    }
}
