//! `plan run`: what is there afterwards, however it ends.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::scenario::{SITE, Scenario, artefacts, everything, plan, repository, shell, wait_for};

/// A world with the quickstart in it.
fn quickstart() -> Scenario {
    let folder = repository("plans/quickstart");
    ["quickstart.plan", "app.db", "notes/todo.txt", "notes/recipes/bread.txt", "notes/draft.tmp"]
        .into_iter()
        .fold(Scenario::new(), |scenario, file| scenario.copy(&folder.join(file), file))
}

fn start(scenario: &Scenario, file: &str) -> Child {
    scenario.command().args(["run", file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn the_quickstart_can_be_restored_with_the_tools_of_any_machine() {
    let scenario = quickstart();
    scenario.plan(["run"]).status(0).stdout_has("is in `local`");
    let store = scenario.path("backups");
    assert_eq!(artefacts(&store).len(), 1);
    shell(&store, "gzip -t *.tar.gz && pigz -t *.tar.gz && sha256sum -c .backplan/quickstart/sums/*");
    let listed = shell(&store, "tar tzf *.tar.gz");
    assert_eq!(listed, shell(&store, "bsdtar tzf *.tar.gz"));
    assert_eq!(
        listed,
        shell(
            &store,
            "python3 -c \"import tarfile,glob
for member in tarfile.open(glob.glob('*.tar.gz')[0]):
  print(member.name + ('/' if member.isdir() else ''))\""
        )
    );
    assert!(!listed.contains("draft.tmp"), "{listed}");
    fs::create_dir(scenario.path("back")).unwrap();
    let back = scenario.path("back");
    shell(&back, "tar xzf ../backups/*.tar.gz && diff -r notes/notes ../notes -x draft.tmp");
    assert_eq!(shell(&back, "sqlite3 app/app.db 'select sum(balance) from accounts'"), "5160\n");
}

#[test]
fn a_dry_run_writes_nothing_anywhere() {
    let scenario = quickstart();
    let world = scenario.path("..");
    let before = everything(&world);
    scenario.plan(["run", "--dry-run"]).status(0).stdout_has("pack/main").stderr("");
    assert_eq!(everything(&world), before);
    let scenario = scenario.env("BACKPLAN_NOW", "2042-11-19T02:30:00Z");
    scenario.plan(["run"]).status(0);
    // Another day: names of artefacts hold the second, and none is ever overwritten.
    let scenario = scenario.env("BACKPLAN_NOW", "2042-11-20T02:30:00Z");
    let before = everything(&world);
    scenario.plan(["run", "--dry-run"]).status(0);
    assert_eq!(everything(&world), before);
}

#[test]
fn a_dry_run_shows_what_the_run_then_does() {
    let declarations = format!(
        "{SITE}\nstaging {{\n  path = \"staging\"\n}}\n\nwindow quiet {{\n  around = all\n  enter  = [\"true\"]\n  leave  = [\"true\"]\n}}\n"
    );
    let scenario = Scenario::new()
        .file("p.plan", plan(&declarations))
        .file("site/a", "a")
        .env("BACKPLAN_NOW", "2026-11-20T02:30:00Z");
    fs::create_dir(scenario.path("staging")).unwrap();
    let effects = |args: &[&str]| {
        let answer = scenario.plan(args).status(0);
        let json: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        let run = json["run"].as_str().unwrap();
        let known = run.rsplit_once('-').unwrap().0;
        let steps: Vec<String> = json["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| format!("{} {} {} {}", step["step"], step["reads"], step["writes"], step["deletes"]))
            .map(|step| step.replace(run, known))
            .collect();
        let names: Vec<String> = json["archives"]
            .as_array()
            .unwrap()
            .iter()
            .map(|archive| archive["artefact"].to_string())
            .collect();
        (known.to_owned(), steps, names)
    };
    let shown = effects(&["run", "--dry-run", "--format", "json"]);
    let done = effects(&["run", "--format", "json"]);
    assert_eq!(shown, done);
}

#[test]
fn plans_that_no_tool_could_run_are_refused_by_their_text() {
    let text = "source db: postgres {\n  driver = pgbackrest\n  stanza = \"main\"\n}\n\narchive main {\n  from = [db]\n  to   = [store]\n}";
    let scenario = Scenario::new().file("p.plan", plan(text));
    let path = scenario.path("p.plan");
    let before = everything(&scenario.path(".."));
    scenario.plan(["run", path.to_str().unwrap()]).status(2).stdout("").stderr_has("repository_homeless");
    assert_eq!(everything(&scenario.path("..")), before);
}

#[test]
fn a_plan_that_does_not_compile_is_not_run() {
    let scenario = Scenario::new().file("p.plan", plan("archive x {\n  to = [store]\n}\n"));
    scenario.plan(["run"]).status(2).stderr_has("missing_attribute").stderr_has("does not compile");
    assert!(!scenario.path("store").exists());
}

#[test]
fn a_source_that_fails_takes_only_its_own_archive_with_it() {
    let declarations = format!(
        "{SITE}\nsource bad: command {{\n  run = [\"sh\", \"-c\", \"echo half; exit 3\"]\n  as  = \"bad.txt\"\n}}\n\narchive bad {{\n  from = [bad]\n  to   = [store]\n}}\n"
    );
    let scenario = Scenario::new().file("p.plan", plan(&declarations)).file("site/a", "a");
    scenario.plan(["run"]).status(1).stdout_has("source `bad`").stdout_has("status 3");
    let left = artefacts(&scenario.path("store"));
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].file_name().unwrap().to_str().unwrap().starts_with("p_main_"), "{left:?}");
    assert_eq!(fs::read_dir(scenario.path("store/.backplan/p/manifests")).unwrap().count(), 1);
}

#[test]
fn a_missing_path_fails_and_an_optional_one_warns() {
    let scenario = Scenario::new().file("p.plan", plan(SITE));
    scenario.plan(["run"]).status(1).stdout_has("site` is not there");
    assert_eq!(artefacts(&scenario.path("store")), [] as [PathBuf; 0]);
    let optional = SITE.replace("  paths = [\"site\"]\n", "  paths    = [\"site\"]\n  optional = true\n");
    let scenario = Scenario::new().file("p.plan", plan(&optional));
    scenario.plan(["run"]).status(3);
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
}

#[test]
fn a_secret_is_seen_nowhere() {
    let declarations = "\
source dump: command {
  run = [\"sh\", \"-c\", \"echo connecting with $TOKEN >&2; echo data\"]
  as  = \"dump.txt\"
  env = [\"TOKEN=${env(\"DUMP_TOKEN\")}\"]
}

archive main {
  from = all
  to   = [store]
}
";
    let scenario = Scenario::new().file("p.plan", plan(declarations)).env("DUMP_TOKEN", "open-sesame-4711");
    let answer = scenario.plan(["run", "-vv"]).status(0);
    assert!(
        !answer.stdout.contains("open-sesame") && !answer.stderr.contains("open-sesame"),
        "{}",
        answer.stderr
    );
    for (path, (size, ..)) in everything(&scenario.path("..")) {
        if path.is_file() && size > 0 {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(11).any(|part| part == b"open-sesame"), "{}", path.display());
        }
    }
}

#[test]
fn a_staging_is_cleared_before_and_after_and_stays() {
    let declarations = format!("staging {{\n  path = \"staging\"\n}}\n\n{SITE}");
    let scenario = Scenario::new().file("p.plan", plan(&declarations)).file("site/a", "a");
    fs::create_dir(scenario.path("staging")).unwrap();
    // What is there before its first use is somebody else's.
    scenario.next_day().plan(["run"]).status(0);
    fs::create_dir(scenario.path("staging/left")).unwrap();
    scenario.write("staging/left/over", "from another day");
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(fs::read_dir(scenario.path("staging")).unwrap().count(), 0);
    assert_eq!(artefacts(&scenario.path("store")).len(), 2);
}

#[test]
fn a_window_is_left_also_after_a_failure() {
    let declarations = format!(
        "{}\nwindow quiet {{\n  around = all\n  enter  = [\"sh\", \"-c\", \"echo enter >> log\"]\n  leave  = [\"sh\", \"-c\", \"echo leave >> log\"]\n}}\n",
        SITE.replace("\"site\"", "\"gone\"")
    );
    let scenario = Scenario::new().file("p.plan", plan(&declarations));
    scenario.plan(["run"]).status(1);
    assert_eq!(scenario.read("log"), "enter\nleave\n");
}

/// A source that says that it is being read and then takes very long.
const SLOW: &str = "\
source slow: command {
  run = [\"sh\", \"-c\", \"touch reading; sleep 300\"]
  as  = \"slow.txt\"
}

archive main {
  from = all
  to   = [store]
}

window quiet {
  around = all
  enter  = [\"sh\", \"-c\", \"echo enter >> log\"]
  leave  = [\"sh\", \"-c\", \"echo leave >> log\"]
}
";

/// The same plan, the source quick this time.
fn quick() -> String {
    plan(&SLOW.replace("touch reading; sleep 300", "echo done"))
}

fn slow_run() -> (Scenario, Child) {
    let scenario = Scenario::new().file("p.plan", plan(SLOW));
    let child = start(&scenario, "p.plan");
    wait_for("the source to be read", || scenario.path("reading").exists());
    (scenario, child)
}

#[test]
fn a_signal_ends_a_run_cleanly() {
    for (name, status) in [("-INT", 130), ("-TERM", 143)] {
        let (scenario, mut child) = slow_run();
        let since = Instant::now();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert!(since.elapsed() < Duration::from_secs(20));
        assert_eq!(scenario.read("log"), "enter\nleave\n");
        assert_eq!(artefacts(&scenario.path("store")), [] as [PathBuf; 0]);
        let scenario = scenario.file("p.plan", quick());
        scenario.plan(["run"]).status(0);
    }
}

#[test]
fn the_same_plan_is_not_run_twice_at_once() {
    let (scenario, mut child) = slow_run();
    scenario.plan(["run"]).status(4).stdout("").stderr_has("help:");
    signal(&child, "-TERM");
    child.wait().unwrap();
}

#[test]
fn what_a_killed_run_left_is_undone_by_the_next() {
    let (scenario, mut child) = slow_run();
    signal(&child, "-KILL");
    child.wait().unwrap();
    assert_eq!(scenario.read("log"), "enter\n");
    let scenario = scenario.file("p.plan", quick());
    let mut said = scenario.plan(["run"]);
    wait_for("the next run to be let in", || {
        if said.code == 4 {
            said = scenario.plan(["run"]);
        }
        said.code != 4
    });
    assert_eq!(scenario.read("log"), "enter\nleave\nenter\nleave\n");
    assert_eq!(artefacts(&scenario.path("store")).len(), 1);
    let left = shell(&scenario.path("store/.backplan/p"), "test ! -d tmp || find tmp -mindepth 1");
    assert_eq!(left, "", "{said:?}");
}

#[test]
fn a_store_that_cannot_be_made_fails_the_run_in_words() {
    let text = plan(SITE).replace("path = \"store\"", "path = \"file/store\"");
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a").file("file", "");
    let answer = scenario.plan(["run"]).status(1);
    assert!(format!("{}{}", answer.stdout, answer.stderr).contains("file/store"), "{answer:?}");
}

/// As on FAT and some network mounts.
#[test]
fn a_file_system_without_links_and_careful_renames_gets_its_backups() {
    let text = "source f: files {\n  paths = [\"a\"]\n}\n\narchive main {\n  from = [f]\n  to   = [store]\n}\n\nkeep {\n  last = 2\n}\n";
    let scenario = Scenario::new().file("a", "1").file("p.plan", plan(text));
    let no = ["renameat2:error=EINVAL", "linkat:error=EPERM", "fchmod:error=EPERM"]
        .map(|it| format!("inject={it}"));
    let mut way = vec!["strace", "-f", "-qq", "-o", "trace", "-e", "trace=renameat2,linkat,fchmod"];
    no.iter().for_each(|inject| way.extend(["-e", inject]));
    for contents in ["1", "22", "333"] {
        scenario.write("a", contents);
        scenario.next_day().plan_by(&way, ["run"]).status(0);
    }
    assert!(scenario.read("trace").contains("linkat("));
    assert_eq!(artefacts(&scenario.path("store")).len(), 2);
    scenario.plan_by(&way, ["verify", "--deep", "--all"]).status(0);
    scenario.plan(["restore", "--to", "back"]).status(0);
    assert_eq!(scenario.read("back/f/a"), "333");
    // What is there is never written over.
    let taken =
        shell(&scenario.path("."), "ls store/*.gz | tail -n 1; rm -r store/.backplan ../state/backplan");
    let before = fs::read(scenario.path(taken.trim())).unwrap();
    scenario.plan_by(&way, ["run"]).status(1).says("is there already");
    assert_eq!(fs::read(scenario.path(taken.trim())).unwrap(), before);
}

/// Names of artefacts tell runs apart by their seconds.
#[test]
fn runs_right_behind_one_another_all_make_a_backup() {
    let scenario = Scenario::new().file("a", "1").file(
        "p.plan",
        plan(
            "source f: files {\n  paths = [\"a\"]\n}\n\narchive main {\n  from = [f]\n  to   = [store]\n}\n",
        ),
    );
    for contents in ["1", "22", "333", "4444"] {
        scenario.write("a", contents);
        scenario.plan(["run"]).status(0);
    }
    assert_eq!(artefacts(&scenario.path("store")).len(), 4);
}

#[test]
fn who_asks_for_more_hears_what_is_done_and_no_secret() {
    let declarations = "source x: command {\n  run = [\"sh\", \"-c\", \"echo $KEY\"]\n  as  = \"x\"\n  env = [\"KEY=${env(\"KEY\")}\"]\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(declarations)).env("KEY", "hush-hush");
    let quiet = scenario.next_day().plan(["run"]).status(0);
    assert!(!quiet.stderr.contains("pack/main begins"), "{quiet:?}");
    let some = scenario.next_day().plan(["run", "-v"]).status(0);
    let some = some
        .stderr_has("pack/main begins")
        .stderr_has("starts `sh` `-c` `echo $KEY`")
        .stderr_has("run{id=00000002");
    assert!(!some.stderr.contains("pack/main ends") && !some.stderr.contains("hush-hush"), "{some:?}");
    let all = scenario.next_day().plan(["run", "-vv"]).status(0).stderr_has("pack/main ends after");
    assert!(!all.stderr.contains("hush-hush"), "{all:?}");
    // As a service of systemd, each line has its weight.
    let script =
        "exec 2> said; JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$0\" run --only nothing";
    let answer = scenario.other(&["sh", "-c", script, env!("CARGO_BIN_EXE_plan")]);
    assert_eq!(answer.code, 2, "{answer:?}");
    let said = scenario.read("said");
    assert!(said.starts_with("<3>error: there is no source `nothing`"), "{said}");
}
