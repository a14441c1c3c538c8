//! Stores that are away, full, another's, read-only: what is there stays whole, and what is said mends it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::scenario::{Answer, SITE, Scenario, artefacts, everything, plan, shell, wait_for};

const STAGING: &str = "\nstaging {\n  path = \"staging\"\n}\n";

/// A plan of two stores; `more` is said of the second.
fn two(more: &str, staging: &str) -> String {
    let text = SITE.replace("[store]", "[store, other]");
    plan(&format!("store other: dir {{\n  path = \"mnt/other\"\n{more}}}\n\n{text}{staging}"))
}

fn world(text: String) -> Scenario {
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a").file("mnt/x", "");
    fs::create_dir(scenario.path("staging")).unwrap();
    scenario
}

/// Every backup in a store is whole, and nothing but backups is there.
#[track_caller]
fn whole(store: &Path, runs: usize) {
    assert_eq!(fs::read_dir(store.join(".backplan/p/manifests")).map_or(0, Iterator::count), runs);
    assert_eq!(artefacts(store).len(), runs);
    if runs > 0 {
        shell(store, "cat .backplan/p/sums/* | sha256sum -c --quiet");
    }
    let left = shell(
        store,
        "find .backplan/p/tmp .backplan/p/intents .backplan/p/tombstones -type f 2>/dev/null || true",
    );
    assert_eq!(left, "");
}

/// A small file system, gone with the value.
struct Small(PathBuf);

impl Small {
    fn mount(folder: PathBuf, size: &str) -> Small {
        fs::create_dir_all(&folder).unwrap();
        shell(&folder, &format!("mount -t tmpfs -o size={size} tmpfs ."));
        Small(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_store_that_is_gone_is_told_of_as_its_plan_says() {
    for staging in ["", STAGING] {
        for (absent, status) in [("", 3), ("  absent = skip\n", 0), ("  absent = fail\n", 1)] {
            let scenario = world(two(absent, staging));
            scenario.next_day().plan(["run"]).status(0);
            fs::rename(scenario.path("mnt/other"), scenario.path("mnt/away")).unwrap();
            let answer = scenario.next_day().plan(["run"]).status(status);
            if status != 0 {
                assert!(answer.stdout.contains("is a disk not mounted?"), "{answer:?}");
                assert!(answer.stdout.contains("mnt/other"), "{answer:?}");
            }
            assert!(!scenario.path("mnt/other").exists());
            let runs = if status == 1 { 1 } else { 2 };
            whole(&scenario.path("store"), runs);
            whole(&scenario.path("mnt/away"), 1);
            fs::rename(scenario.path("mnt/away"), scenario.path("mnt/other")).unwrap();
            scenario.next_day().plan(["run"]).status(0);
            // What it lacked came along.
            whole(&scenario.path("mnt/other"), runs + 1);
            whole(&scenario.path("store"), runs + 1);
        }
    }
}

#[test]
fn nothing_is_said_of_a_store_that_may_be_away_while_others_go_on_with_a_cycle() {
    for staging in ["", STAGING] {
        let scenario =
            world(format!("{}cycle {{\n  incrementals = 4\n}}\n", two("  absent = skip\n", staging)));
        scenario.next_day().plan(["run"]).status(0);
        fs::rename(scenario.path("mnt/other"), scenario.path("mnt/away")).unwrap();
        for night in 2..5 {
            scenario.write("site/changed", format!("{night}"));
            scenario.next_day().plan(["run", "--dry-run"]).status(0);
            scenario.plan(["run"]).status(0);
        }
        fs::rename(scenario.path("mnt/away"), scenario.path("mnt/other")).unwrap();
        scenario.write("site/changed", "5");
        scenario.next_day().plan(["run"]).status(0);
        whole(&scenario.path("mnt/other"), 5);
    }
}

#[test]
fn the_only_store_gone_is_a_failure_whatever_the_plan_says() {
    for absent in ["warn", "skip", "fail"] {
        let text =
            plan(SITE).replace("path = \"store\"", &format!("path   = \"store\"\n  absent = {absent}"));
        let scenario = world(patient(&text, 2));
        scenario.next_day().plan(["run"]).status(0);
        fs::rename(scenario.path("store"), scenario.path("away")).unwrap();
        let shown = scenario.next_day().plan(["run", "--dry-run"]).status(1);
        assert!(shown.stdout.contains("is a disk not mounted?"), "{shown:?}");
        let answer = scenario.plan(["run"]).status(1);
        assert!(answer.said().contains("is a disk not mounted?"), "{answer:?}");
        assert_eq!(answer.stderr.matches("the run waits for it").count(), 1, "{answer:?}");
        scenario.plan(["run", "--adopt"]).status(0);
        whole(&scenario.path("store"), 1);
        whole(&scenario.path("away"), 1);
    }
}

/// Starts a command, and does something once it has said this; how it ended, and what it said.
#[track_caller]
fn once_it_says(
    scenario: &Scenario,
    args: &[&str],
    said: &str,
    act: impl FnOnce(u32),
) -> (Option<i32>, String) {
    let mut command = scenario.command();
    let child = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut all = String::new();
    let mut act = Some(act);
    for line in &mut lines {
        if line.contains(said)
            && let Some(act) = act.take()
        {
            act(child.id());
        }
        all += &(line + "\n");
    }
    assert!(act.is_none(), "{all}");
    (child.wait().unwrap().code(), all)
}

/// The same plan, trying so often, with short pauses.
fn patient(text: &str, attempts: u32) -> String {
    let retry = format!("attempts = {attempts}\n  backoff  = 1s..1s");
    text.replacen("attempts = 1", &retry, 1)
}

#[test]
fn a_store_that_comes_late_is_waited_for_as_retry_says() {
    // It is not there, or it is the empty folder that it is to be mounted on.
    for make_empty in [false, true] {
        let scenario = world(patient(&plan(&format!("{SITE}cycle {{\n  incrementals = 4\n}}\n")), 60));
        scenario.next_day().plan(["run"]).status(0);
        scenario.write("site/changed", "2");
        let away = || {
            fs::rename(scenario.path("store"), scenario.path("away")).unwrap();
            if make_empty {
                fs::create_dir(scenario.path("store")).unwrap();
            }
        };
        let mount = || {
            if make_empty {
                fs::remove_dir(scenario.path("store")).unwrap();
            }
            fs::rename(scenario.path("away"), scenario.path("store")).unwrap();
        };
        away();
        scenario.next_day();
        let waits = "the run waits for it: asked again in ";
        let (code, said) = once_it_says(&scenario, &["run"], waits, |_| mount());
        assert_eq!(code, Some(0), "{said}");
        // What the store has was looked up when it was there.
        let listed = scenario.plan(["list", "--format", "json"]).json();
        assert!(listed["runs"].to_string().contains("differential"), "{listed}");
        whole(&scenario.path("store"), 2);
        // A signal ends the waiting.
        away();
        let stop = |id| drop(shell(Path::new("/"), &format!("kill -TERM {id}")));
        let (code, said) = once_it_says(&scenario, &["run"], waits, stop);
        assert_eq!(code, Some(143), "{said}");
        mount();
        whole(&scenario.path("store"), 2);
    }
}

#[test]
fn a_store_that_goes_away_as_a_run_begins_is_asked_for_again_by_the_step_that_locks_it() {
    for (absent, code) in [("warn", 0), ("fail", 0), ("skip", 0), ("fail", 1)] {
        let text =
            plan(SITE).replace("path = \"store\"", &format!("path   = \"store\"\n  absent = {absent}"));
        let scenario = world(patient(&text, if code == 0 { 60 } else { 2 }));
        scenario.next_day().plan(["run"]).status(0);
        let begun = scenario.next_day().plan(["step", "p.plan", "lock", "--format", "json"]).status(0).json();
        let run = begun["run"].as_str().unwrap();
        fs::rename(scenario.path("store"), scenario.path("away")).unwrap();
        let args = ["step", "p.plan", "lock/store", "--run", run];
        let mount = || fs::rename(scenario.path("away"), scenario.path("store")).unwrap();
        let (ended, said) = once_it_says(&scenario, &args, "attempt 1", |_| {
            if code == 0 {
                mount()
            }
        });
        assert_eq!(ended, Some(code), "{absent}: {said}");
    }
}

#[test]
fn names_by_the_minute_wait_for_another_minute() {
    let named =
        SITE.replace("archive main {", "archive main {\n  name = \"p_${time(\"%Y%m%d%H%M\")}.tar.gz\"");
    let scenario = world(plan(&named));
    // The machine's own clock. A minute may end between two of these.
    for _ in 0..3 {
        scenario.plan(["run"]).status(0);
        let made = artefacts(&scenario.path("store"));
        let shown = scenario.plan(["run", "--dry-run"]).status(0);
        let named = |path: &PathBuf| shown.stdout.contains(path.file_name().unwrap().to_str().unwrap());
        assert!(!made.iter().any(named), "{shown:?}");
        let mut command = scenario.command();
        let child = command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut first).unwrap();
        shell(Path::new("/"), &format!("kill -TERM {}", child.id()));
        let ended = child.wait().unwrap().code();
        if first.contains("waits for the next minute") {
            assert_eq!((ended, artefacts(&scenario.path("store"))), (Some(143), made));
            return;
        }
    }
    panic!("three minutes ended just then");
}

#[test]
fn the_wrong_disk_is_not_written_to() {
    for staging in ["", STAGING] {
        let scenario = world(two("", staging));
        scenario.next_day().plan(["run"]).status(0);
        fs::rename(scenario.path("mnt/other"), scenario.path("mnt/away")).unwrap();
        // An empty disk.
        fs::create_dir(scenario.path("mnt/other")).unwrap();
        let answer = scenario.next_day().plan(["run"]).status(1).stdout_has("is the wrong disk mounted?");
        assert!(answer.stdout.contains("mnt/other"), "{answer:?}");
        assert_eq!(everything(&scenario.path("mnt/other")).len(), 0);
        whole(&scenario.path("store"), 2);
        // A disk with another plan's backups, and one with this plan's of another machine.
        let other = world(plan(SITE).replace("plan p", "plan q"));
        other.next_day().plan(["run"]).status(0);
        let twin = world(two("", ""));
        twin.next_day().plan(["run"]).status(0);
        for (disk, said) in [(other.path("store"), "wrong disk"), (twin.path("mnt/other"), "not")] {
            shell(&scenario.path("mnt"), &format!("rm -rf other && cp -a {} other", disk.display()));
            let before = everything(&scenario.path("mnt/other"));
            let answer = scenario.next_day().plan(["run"]).status(1);
            assert!(answer.stdout.contains(said) && answer.stdout.contains("mnt/other"), "{answer:?}");
            assert_eq!(everything(&scenario.path("mnt/other")), before);
        }
        shell(&scenario.path("mnt"), "rm -rf other && mv away other");
        scenario.next_day().plan(["run"]).status(0);
        whole(&scenario.path("mnt/other"), 5);
    }
}

#[test]
fn another_machine_or_plan_file_takes_a_store_over_only_when_told() {
    let scenario = world(plan(SITE));
    scenario.next_day().plan(["run"]).status(0);
    // Another machine: another state.
    fs::rename(scenario.path("../state"), scenario.path("../state.old")).unwrap();
    scenario.next_day().plan(["run"]).status(1).stdout_has("belongs to machine").stdout_has("--adopt");
    whole(&scenario.path("store"), 1);
    // A machine that lost its state has its name all the same. Another one puts nothing in the place of its own.
    scenario.write("site/a", "b");
    let elsewhere = |command: &str| {
        let script = format!("hostname elsewhere; exec {} {command}", env!("CARGO_BIN_EXE_plan"));
        scenario.other(&["unshare", "--uts", "sh", "-c", &script])
    };
    let refused = elsewhere("restore --in-place --overwrite").status(1);
    refused.stderr_has("is of machine `").stderr_has("this is `elsewhere`").stderr_has("--adopt");
    assert_eq!(scenario.read("site/a"), "b");
    elsewhere("restore --to out").status(0).stderr_has(", of machine `");
    elsewhere("list").status(0).stdout_has("  HOST  ");
    let adopting = || elsewhere("restore --in-place --overwrite --adopt");
    let rebuilt = || scenario.plan(["restore", "--in-place", "--overwrite"]);
    for restored in [&adopting as &dyn Fn() -> Answer, &rebuilt] {
        restored().status(0);
        assert_eq!(scenario.read("site/a"), "a");
        scenario.write("site/a", "b");
    }
    assert!(!scenario.plan(["list"]).status(0).stdout.contains("HOST"));
    elsewhere("run --adopt").status(0);
    elsewhere("restore --in-place --overwrite --run 1").status(0);
    whole(&scenario.path("store"), 2);
    let listed = scenario.plan(["list"]).status(0);
    assert!(listed.stdout.contains("00000002-"), "{listed:?}");
    // The same plan in another file.
    shell(&scenario.path("."), "mkdir sub && sed 's/\"s/\"..\\/s/' p.plan > sub/p.plan");
    scenario
        .next_day()
        .plan(["run", "sub/p.plan"])
        .status(1)
        .stdout_has("is the one of")
        .stdout_has("--adopt");
    scenario.plan(["run", "sub/p.plan", "--adopt"]).status(0);
    whole(&scenario.path("store"), 3);
}

#[test]
fn a_newer_format_is_left_alone() {
    let scenario = world(plan(SITE));
    scenario.next_day().plan(["run"]).status(0);
    let format = scenario.path("store/.backplan/p/format.yaml");
    let text = fs::read_to_string(&format).unwrap();
    fs::write(&format, text.replace("format: 1", "format: 2").replace("min_reader: 1", "min_reader: 2"))
        .unwrap();
    let before = everything(&scenario.path("store"));
    scenario.next_day().plan(["run"]).status(1).stdout_has("install a newer one").stdout_has("store");
    scenario.plan(["run", "--dry-run"]).status(1).stdout_has("install a newer one");
    assert_eq!(everything(&scenario.path("store")), before);
    fs::write(&format, text).unwrap();
    // A newer manifest is another matter: this plan's runs go on beside it.
    let manifest = artefacts(&scenario.path("store/.backplan/p/manifests")).remove(0);
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("format: 1\nmin_reader: 1", "format: 3\nmin_reader: 3")).unwrap();
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["list"]).status(3).stderr_has("format 3").stdout_has("00000002-");
}

#[test]
fn a_full_disk_leaves_everything_as_it_was_and_takes_a_backup_once_there_is_room() {
    for staging in ["", STAGING] {
        let scenario = world(two("", staging));
        let small = Small::mount(scenario.path("mnt"), "2m");
        scenario.next_day().plan(["run"]).status(0);
        shell(&scenario.path("site"), "head -c 6000000 /dev/urandom > big");
        let answer = scenario
            .next_day()
            .plan(["run"])
            .status(1)
            .stdout_has("No space left")
            .stdout_has("free some room");
        assert!(
            answer.stdout.contains("failed in part") && answer.stdout.contains("mnt/other"),
            "{answer:?}"
        );
        whole(&small.0.join("other"), 1);
        whole(&scenario.path("store"), 2);
        // So full that not even a lease can be written.
        shell(&small.0, "head -c 9000000 /dev/zero > filler || true");
        scenario.next_day().plan(["run"]).status(1).stdout_has("No space left");
        whole(&small.0.join("other"), 1);
        whole(&scenario.path("store"), 3);
        shell(&small.0, "rm filler ../site/big");
        // What it lacks has no room there.
        scenario.next_day().plan(["run"]).status(3).stdout_has("B free, of which").stdout_has("is lacking");
        whole(&small.0.join("other"), 2);
        drop(small);
    }
}

#[test]
fn a_full_staging_or_state_says_which_disk_it_is() {
    let scenario = world(plan(&format!("{SITE}{STAGING}")));
    let small = Small::mount(scenario.path("small"), "1m");
    fs::create_dir(small.0.join("staging")).unwrap();
    scenario.write("p.plan", scenario.read("p.plan").replace("\"staging\"", "\"small/staging\""));
    shell(&scenario.path("site"), "head -c 6000000 /dev/urandom > big");
    scenario.next_day().plan(["run"]).status(1).stdout_has("No space left").stdout_has("small/staging");
    assert_eq!(fs::read_dir(small.0.join("staging")).unwrap().count(), 0);
    whole(&scenario.path("store"), 0);
    // The state folder.
    shell(&small.0, "head -c 9000000 /dev/zero > filler || true");
    scenario.write("p.plan", plan(SITE).replace("\"store\"", "\"fresh\""));
    let scenario = scenario.env("XDG_STATE_HOME", small.0.to_str().unwrap());
    scenario.next_day().plan(["run"]).status(1).says("No space left").says("small/backplan");
    assert!(!scenario.path("fresh").exists());
    shell(&small.0, "rm filler");
    scenario.next_day().plan(["run"]).status(0);
    whole(&scenario.path("fresh"), 1);
}

#[test]
fn a_read_only_disk_is_told_of() {
    for staging in ["", STAGING] {
        let scenario = world(two("", staging));
        scenario.next_day().plan(["run"]).status(0);
        let other = scenario.path("mnt/other");
        shell(&other, "mount --bind . . && mount -o remount,ro,bind .");
        let mounted = Small(other);
        let answer = scenario
            .next_day()
            .plan(["run"])
            .status(1)
            .stdout_has("Read-only")
            .stdout_has("mounted read-only");
        assert!(answer.stdout.contains("mnt/other"), "{answer:?}");
        drop(mounted);
        whole(&scenario.path("mnt/other"), 1);
        whole(&scenario.path("store"), 2);
        scenario.next_day().plan(["run"]).status(0);
    }
}

#[test]
fn a_store_that_may_not_be_written_is_told_of() {
    let scenario = world(two("", ""));
    shell(
        &scenario.path(".."),
        "chown -R nobody . && chmod 755 . work && mkdir -p work/mnt/other && chown root work/mnt/other && chmod 755 work/mnt/other",
    );
    let way = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
    let answer =
        scenario.plan_by(&way, ["run"]).status(1).stdout_has("ermission denied").stdout_has("mnt/other");
    assert!(
        answer.stdout.contains("let the account") || answer.stdout.contains("account that runs this"),
        "{answer:?}"
    );
    whole(&scenario.path("store"), 1);
    assert_eq!(everything(&scenario.path("mnt/other")).len(), 0);
    // Not even looked into.
    shell(&scenario.path("mnt"), "chmod 700 other");
    scenario.next_day();
    scenario.plan_by(&way, ["run"]).status(1).stdout_has("ermission denied").stdout_has("mnt/other");
    whole(&scenario.path("store"), 2);
}

#[test]
fn a_foreign_file_of_the_artefacts_name_is_never_replaced() {
    for staging in ["", STAGING] {
        for make in ["echo foreign > $F", "mkdir $F", "ln -s nowhere $F"] {
            let scenario = world(two("", staging));
            scenario.next_day().plan(["run"]).status(0);
            shell(
                &scenario.path("mnt/other"),
                &format!("F=p_main_20260103T023000Z.tar.gz; {make}; ls -l > ../before"),
            );
            let answer = scenario.next_day().plan(["run"]).status(1).stdout_has("is there already");
            assert!(answer.stdout.contains("`other`"), "{make}: {answer:?}");
            shell(&scenario.path("mnt/other"), "ls -l | cmp - ../before");
            whole(&scenario.path("store"), 2);
            // It goes on, and tells that it lacks that run.
            scenario.next_day().plan(["run"]).status(3).stdout_has("p_main_20260103T023000Z.tar.gz");
            shell(&scenario.path("mnt/other"), "rm -r p_main_20260103T023000Z.tar.gz");
            scenario.next_day().plan(["run"]).status(0);
            whole(&scenario.path("mnt/other"), 4);
        }
    }
}

#[test]
fn foreign_files_in_a_store_are_nobodys_business() {
    let scenario = world(plan(SITE)).file("store/README", "mine").file("store/p_main_x.tar.gz", "mine too");
    scenario.next_day().plan(["run"]).status(0);
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(
        (scenario.read("store/README"), scenario.read("store/p_main_x.tar.gz")),
        ("mine".into(), "mine too".into())
    );
}

#[test]
fn the_same_plan_twice_at_once_runs_once() {
    let text = plan(
        "source slow: command {\n  run = [\"sh\", \"-c\", \"touch reading; sleep 300\"]\n  as  = \"x\"\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n",
    );
    let scenario = world(text);
    let running = scenario.next_day().start(["run"]);
    wait_for("the reading", || scenario.path("reading").exists());
    let since = Instant::now();
    scenario.plan(["run"]).status(4).says("in use by").says("wait for it to end");
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    // A dry run may look all the same, and says so.
    let shown = scenario.plan(["run", "--dry-run"]).stdout_has("in use by");
    assert!(!shown.stdout.contains("died") && !shown.stdout.contains("would delete"), "{shown:?}");
    // From a container of the same machine id, with other host locks: the store's lease holds.
    shell(
        &scenario.path(".."),
        "mkdir -p state2/backplan && cp -a state/backplan/machine state/backplan/plans state2/backplan/",
    );
    let second = scenario
        .plan_by(&["env", &format!("XDG_STATE_HOME={}", scenario.path("../state2").display())], ["run"]);
    second.status(4).says("in use by");
    running.signal("TERM");
    running.answer().status(143);
}

#[test]
fn clocks_that_are_set_do_not_change_the_order_of_runs() {
    let scenario = world(plan(SITE));
    for (now, sequence) in [("2026-11-20", 1), ("2027-11-20", 2), ("2020-01-01", 3), ("2026-11-21", 4)] {
        let answer = scenario.plan_by(&["faketime", "-f", &format!("@{now} 02:30:00")], ["run"]).status(0);
        assert!(answer.stdout.contains(&format!("run {sequence:08}-")), "{answer:?}");
    }
    let listed = scenario.plan(["list", "--format", "json"]).status(0).json();
    let runs: Vec<&str> =
        listed["runs"].as_array().unwrap().iter().map(|run| &run["run"].as_str().unwrap()[..16]).collect();
    assert_eq!(runs, ["00000001-2026112", "00000002-2027112", "00000003-2020010", "00000004-2026112"]);
    whole(&scenario.path("store"), 4);
}

#[test]
fn a_state_folder_that_may_not_be_written_is_told_of() {
    let scenario = world(plan(SITE));
    let as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
    shell(&scenario.path(".."), "chmod 755 . work; chmod 777 work/site");
    scenario
        .plan_by(&as_nobody, ["run"])
        .status(1)
        .stderr_has("ermission denied")
        .stderr_has("set XDG_STATE_HOME");
    let nowhere =
        ["env", "-u", "HOME", "-u", "XDG_STATE_HOME", as_nobody[0], as_nobody[1], as_nobody[2], as_nobody[3]];
    scenario.plan_by(&nowhere, ["run"]).status(1).stderr_has("HOME");
    assert!(!scenario.path("store").exists());
}

#[test]
fn two_stores_in_one_folder_are_told_apart_from_another_run() {
    let scenario = world(two("", ""));
    fs::create_dir(scenario.path("store")).unwrap();
    std::os::unix::fs::symlink("../store", scenario.path("mnt/other")).unwrap();
    scenario.next_day().plan(["run", "--dry-run"]).status(1).says("are one place");
    scenario.plan(["run"]).status(1).says("are one place");
    whole(&scenario.path("store"), 0);
}

#[test]
fn a_window_is_left_for_a_dead_run_though_its_store_is_gone() {
    let declarations = "source slow: command {\n  run = [\"sh\", \"-c\", \"touch reading; sleep 300\"]\n  as  = \"x\"\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n\nwindow w {\n  around = all\n  enter  = [\"touch\", \"open\"]\n  leave  = [\"rm\", \"-f\", \"open\"]\n}\n";
    for absent in ["warn", "fail"] {
        let text = plan(declarations)
            .replace("path = \"store\"", &format!("path   = \"store\"\n  absent = {absent}"));
        let scenario = world(text);
        let running = scenario.next_day().start(["run"]);
        wait_for("the reading", || scenario.path("reading").exists());
        running.kill_group();
        running.answer().status(-9);
        fs::rename(scenario.path("store"), scenario.path("away")).unwrap();
        assert!(scenario.path("open").exists());
        scenario.next_day().plan(["run"]).status(1).says("is a disk not mounted?").says("leaving window `w`");
        assert!(!scenario.path("open").exists(), "{absent}");
    }
}

/// Spoils the second store, whose plan's folder is the working folder; `RUN` is its only run.
const SPOILT: [(&str, i32, &str); 13] = [
    (": > manifests/99999999-20260101T023000Z-000000.yaml", 1, "99999999-20260101T023000Z-000000.yaml"),
    (
        "mkdir -p intents; : > intents/99999998-20260101T023000Z-000000",
        1,
        "no run of this plan can have come to",
    ),
    (
        "sed 's/^run: 00000001/run: 01000002/' manifests/$RUN.yaml > manifests/01000002${RUN#00000001}.yaml",
        1,
        "`plan run --adopt`",
    ),
    (": > lock/18446744073709551615", 1, "no run can have come so far"),
    ("cp lock/* lock/9007199254740992", 1, "no run can have come so far"),
    (
        "mkdir lock/2 lock/3; ln -s /etc/passwd lock/4; mkfifo lock/5",
        3,
        "lock/2` is left alone: it is no lease",
    ),
    ("mkdir lock/9; : > 'lock/a b'; : > lock/99999999999999999999", 3, "it is no lease"),
    ("rm -r lock; : > lock", 1, "`lock` is a file or a link where a folder should be"),
    ("rm -r manifests; ln -s /tmp manifests", 1, "`manifests` is a file or a link"),
    ("rm manifests/*; mkfifo manifests/$RUN.yaml", 0, ""),
    ("rm -rf tmp; ln -s /nowhere tmp", 1, "`tmp` is a file or a link"),
    ("cd ..; rm -r p; : > p", 1, "`p` is a file or a link"),
    ("cd ../..; rm -r .backplan; ln -s . .backplan", 1, "`.backplan` is a file or a link"),
];

#[test]
fn a_store_that_is_spoilt_is_told_of_and_the_other_gets_its_backup() {
    for (spoil, status, said) in SPOILT {
        println!("{spoil}");
        let scenario = world(two("", ""));
        scenario.next_day().plan(["run"]).status(0);
        let home = scenario.path("mnt/other/.backplan/p");
        shell(&home, &format!("RUN=$(basename -s .yaml manifests/*); {spoil}"));
        let since = Instant::now();
        let shown = scenario.next_day().plan(["run", "--dry-run"]).status(status);
        let answer = scenario.plan(["run"]).status(status);
        assert!(since.elapsed() < Duration::from_secs(30), "{spoil}: {:?}", since.elapsed());
        for answer in [&shown, &answer] {
            let is_told = |line: &str| line.contains("`other`") && line.contains(said);
            assert!(status == 0 || answer.stdout.lines().any(is_told), "{spoil}: {answer:?}");
            assert!(!answer.said().contains("panicked"), "{spoil}: {answer:?}");
        }
        whole(&scenario.path("store"), 2);
        // What is advised mends it.
        if status == 1 && spoil.starts_with(": >") {
            let object = spoil.trim_start_matches(": > ");
            fs::remove_file(home.join(object)).unwrap();
            scenario.next_day().plan(["run"]).status(0);
            whole(&scenario.path("store"), 3);
            assert_eq!(fs::read_dir(home.join("manifests")).unwrap().count(), 3);
        }
    }
}

#[test]
fn no_more_is_sent_in_a_second_than_the_plan_lets() {
    // With a staging the artefact is published from there, without one it is sent as it is packed.
    for staging in ["", STAGING] {
        let limits = "limits {\n  bandwidth = 2MB/s\n}\n";
        let text = two("  bandwidth = 1MB/s\n", &format!("{staging}\n{limits}"));
        let scenario = world(text);
        shell(&scenario.path("site"), "head -c 3000000 /dev/urandom > big");
        let begin = Instant::now();
        scenario.next_day().plan(["run"]).status(0);
        // Three megabytes to the one at one a second, and six to both together at two; a quarter of a second may be made up for.
        assert!(begin.elapsed() > Duration::from_millis(2700), "{:?}", begin.elapsed());
        whole(&scenario.path("store"), 1);
        whole(&scenario.path("mnt/other"), 1);
        // A wait for the line ends when it is told to.
        shell(&scenario.path("."), "sed -i 's/1MB/1KB/; s/2MB/2KB/' p.plan; echo more >> site/big");
        let running = scenario.next_day().start(["run"]);
        std::thread::sleep(Duration::from_secs(1));
        running.signal("TERM");
        let since = Instant::now();
        assert_ne!(running.answer().code, 0);
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
        whole(&scenario.path("store"), 1);
    }
}

/// What one store is given and keeps does not depend on another that takes nothing.
#[test]
fn a_store_that_takes_no_run_ends_no_cycle_in_the_others() {
    let two = "store a: dir {\n  path = \"a\"\n}\nstore b: dir {\n  path = \"b\"\n}\nsource site: files {\n  paths = [\"site\"]\n}\n\
               archive m {\n  from = [site]\n  to = [a, b]\n}\ncycle {\n  incrementals = 3\n  base = BASE\n}\nkeep {\n  cycles = 2\n}\n\
               retry {\n  attempts = 1\n}\n";
    let levels = |said: &str| said.matches("taken whole").count();
    for base in ["full", "previous"] {
        let scenario = Scenario::new()
            .file("site/a", "day 0")
            .file("p.plan", format!("plan p\n{}", two.replace("BASE", base)));
        let day = |number: u32| {
            scenario.write("site/a", format!("day {number}"));
            scenario.next_day();
        };
        let run = || scenario.plan(["run"]);
        let held = |store: &str| artefacts(&scenario.path(store)).len();
        for number in 1..=6 {
            day(number);
            run().status(0);
        }
        // Another disk, or none, is at its place.
        shell(&scenario.path("."), "mv b away; mkdir b");
        for number in 7..=9 {
            day(number);
            assert_eq!(levels(&run().status(1).said()), 0);
        }
        assert_eq!(held("a"), 9 - 4, "{base}");
        // Back, it takes nothing.
        shell(&scenario.path("."), "rmdir b; mv away b; chattr +i b");
        for number in 10..=13 {
            day(number);
            assert_eq!(levels(&run().status(1).says("store `b`").said()), 0);
        }
        assert_eq!(held("a"), 13 - 8, "{base}");
        let said = scenario.plan(["status"]).status(3).said();
        assert!(!said.contains("there is no full yet"), "{said}");
        shell(&scenario.path("."), "chattr -i b");
        // It is brought what it lacks by the run that finds it well.
        day(14);
        scenario.plan(["run", "--dry-run"]).says("from the other stores, and then this one");
        run().says("run `00000014-").says("which it lacked, is there now");
        day(15);
        assert_eq!(levels(&run().status(0).said()), 0);
        scenario.plan(["status"]).status(0);
        for store in ["a", "b"] {
            let to = format!("from-{store}");
            scenario.plan(["restore", "--to", &to, "--store", store]).status(0);
            assert_eq!(scenario.read(&format!("{to}/site/site/a")), "day 15");
        }
        // A store that is made anew, as a mend says.
        shell(&scenario.path("."), "rm -r b from-*");
        day(16);
        run().status(3).says("plan run --adopt");
        day(17);
        let foreseen = scenario.plan(["run", "--adopt", "--dry-run"]);
        let code = scenario.plan(["run", "--adopt"]).code;
        assert!(code == foreseen.code && [0, 3].contains(&code), "{code} {foreseen:?}");
        scenario.plan(["restore", "--to", "from-b", "--store", "b"]).status(0);
    }
}
