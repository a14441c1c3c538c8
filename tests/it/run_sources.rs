//! What a run reads, in every combination, and what it says of what it could not read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::scenario::{SITE, Scenario, artefacts, plan, shell};

/// Two stores, every kind of source, two archives; `{staging}` stands for a staging or nothing.
const ALL_KINDS: &str = r#"plan site

store one: dir {
  path = "one"
}

store two: dir {
  path = "two"
}
{staging}
source files: files {
  paths   = ["site"]
  exclude = ["*.tmp"]
}

source db: sqlite {
  path = "app.db"
}

source dump: command {
  run = ["sh", "-c", "seq 1 200000; echo progress >&2"]
  as  = "dump.txt"
}

archive main {
  from = [files, db]
  to   = [one, two]
}

archive dumps {
  from  = [dump]
  to    = [two]
  level = 1
  name  = "${time("%Y%m%d%H%M%S")}_${level()}_${read("version")}_dump.tar.gz"
}
"#;

const STAGING: &str = "\nstaging {\n  path = \"staging\"\n}\n";

fn all_kinds(staging: &str) -> Scenario {
    let scenario = Scenario::new()
        .file("site.plan", ALL_KINDS.replace("{staging}", staging))
        .file("site/a", "a")
        .file("site/deep/b", "b")
        .file("site/left.tmp", "x")
        .file("version", "7.2  \nmore\n");
    fs::create_dir(scenario.path("staging")).unwrap();
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n); insert into t values (42)'");
    scenario
}

#[test]
fn every_kind_of_source_reaches_every_store_whole() {
    for staging in ["", STAGING] {
        let scenario = all_kinds(staging);
        let report = scenario.next_day().plan(["run", "--format", "json"]).status(0).json();
        assert_eq!(report["verdict"], "done");
        assert_eq!(report["committed"], serde_json::json!(["one", "two"]));
        assert_eq!(report["archives"][0]["artefact"], "20260102023000_full_7.2_dump.tar.gz");
        assert_eq!(report["archives"][1]["artefact"], "site_main_20260102T023000Z.tar.gz");
        assert!(report["archives"][0]["sha256"].as_str().is_some_and(|sum| sum.len() == 64));
        for (store, count) in [("one", 1), ("two", 2)] {
            let store = scenario.path(store);
            assert_eq!(artefacts(&store).len(), count);
            shell(
                &store,
                "sha256sum -c .backplan/site/sums/*.sha256 && for f in *.tar.gz; do tar tzf $f; done",
            );
            let left =
                shell(&store, "ls .backplan/site/tmp .backplan/site/intents 2>/dev/null | grep -v : || true");
            assert_eq!(left.trim(), "");
        }
        let back = scenario.path("back");
        fs::create_dir(&back).unwrap();
        shell(&back, "for f in ../two/*.tar.gz; do tar xzf $f; done; seq 1 200000 | cmp - dump/dump.txt");
        assert_eq!(shell(&back, "cat files/site/a files/site/deep/b; ls files/site"), "aba\ndeep\n");
        assert_eq!(shell(&back, "sqlite3 db/app.db 'select n from t'"), "42\n");
        assert_eq!(fs::read_dir(scenario.path("staging")).unwrap().count(), 0);
    }
}

#[test]
fn a_manifest_tells_what_is_in_its_store_and_why_something_is_not() {
    let scenario = all_kinds("");
    scenario.next_day().plan(["run"]).status(0);
    let manifest = shell(&scenario.path("one"), "cat .backplan/site/manifests/*.yaml");
    for part in
        ["level: full", "status: ok", "kind: sqlite", "name: dumps", "reason: the plan sends it to `two`"]
    {
        assert!(manifest.contains(part), "{part}: {manifest}");
    }
    let manifest = shell(&scenario.path("two"), "cat .backplan/site/manifests/*.yaml");
    assert!(!manifest.contains("missing:"), "{manifest}");
}

#[test]
fn only_some_sources_are_read_when_asked() {
    let scenario = all_kinds("");
    scenario.next_day().plan(["run", "--only", "files"]).status(0);
    let listed = shell(&scenario.path("one"), "tar tzf *.tar.gz");
    assert!(listed.contains("files/site/a") && !listed.contains("db/"), "{listed}");
    assert!(
        !scenario
            .path("two/.backplan/site/manifests")
            .read_dir()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path()
            .is_dir()
    );
    let manifest = shell(&scenario.path("one"), "cat .backplan/site/manifests/*.yaml");
    assert!(manifest.contains("reason: not read by this run"), "{manifest}");
    scenario
        .next_day()
        .plan(["run", "--only", "none"])
        .status(2)
        .stderr_has("there is no source `none`")
        .stderr_has("`dump`");
}

#[test]
fn a_file_whose_first_line_names_an_artefact_must_be_there() {
    let scenario = all_kinds("");
    fs::remove_file(scenario.path("version")).unwrap();
    scenario.plan(["run"]).status(1).stderr_has("version").stderr_has("No such file");
    scenario.write("version", "\n");
    scenario.plan(["run"]).status(1).stderr_has("its first line is empty");
    scenario.write("version", "../evil\n");
    scenario.plan(["run"]).status(2).stderr_has("evil");
    assert!(!scenario.path("one").exists() && !scenario.path("two").exists());
}

#[test]
fn a_failed_source_is_named_in_the_manifest_of_what_was_whole() {
    for staging in ["", STAGING] {
        let scenario = all_kinds(staging);
        fs::remove_file(scenario.path("app.db")).unwrap();
        let text = scenario.read("site.plan") + "\nretry {\n  attempts = 1\n}\n";
        let text = text.replace("path = \"app.db\"", "path = \"app.db\"\n  strict = true");
        scenario.write("site.plan", text);
        scenario.next_day().plan(["run"]).status(1).stdout_has("app.db").stdout_has("failed in part");
        assert_eq!(artefacts(&scenario.path("one")), [] as [std::path::PathBuf; 0]);
        assert_eq!(fs::read_dir(scenario.path("one/.backplan/site/manifests")).map_or(0, Iterator::count), 0);
        let manifest = shell(&scenario.path("two"), "cat .backplan/site/manifests/*.yaml");
        assert!(manifest.contains("status: failed") && manifest.contains("name: main"), "{manifest}");
        assert!(manifest.contains("app.db"), "{manifest}");
        assert_eq!(fs::read_dir(scenario.path("staging")).unwrap().count(), 0);
    }
}

#[test]
fn a_tree_below_a_root_is_recorded_without_it() {
    let scenario =
        Scenario::new().file("mnt/snap/srv/site/a", "of the snapshot").file("mnt/snap/etc/app", "x");
    let root = scenario.path("mnt/snap").display().to_string();
    let files = format!(
        "source site: files {{\n  root = \"{root}\"\n  paths = [\"/srv/site\", \"/etc/app\"]\n}}\n\
         archive site {{ from = [site], to = [store] }}\n"
    );
    let scenario = scenario.file("p.plan", plan(&files));
    scenario.plan(["run"]).status(0);
    assert_eq!(shell(&scenario.path("store"), "tar xzOf *.tar.gz site/srv/site/a"), "of the snapshot");
    scenario.plan(["restore", "--to", "back"]).status(0);
    assert_eq!(scenario.read("back/site/srv/site/a"), "of the snapshot");
    assert_eq!(scenario.read("back/site/etc/app"), "x");
    // What is new below the root is in the next run.
    scenario.write("mnt/snap/srv/site/b", "later");
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["restore", "--to", "again"]).status(0);
    assert_eq!(scenario.read("again/site/srv/site/b"), "later");
    let told = scenario.plan(["why", "p.plan", &format!("{root}/srv/site/b")]).status(0);
    assert!(told.stdout.contains("site/srv/site/b"), "{}", told.stdout);
}

#[test]
fn a_source_that_is_a_single_file_is_taken() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site", "just a file");
    scenario.plan(["run"]).status(0);
    assert_eq!(shell(&scenario.path("store"), "tar xzOf *.tar.gz site/site"), "just a file");
}

#[test]
fn a_file_that_grows_or_vanishes_while_it_is_read_is_told_of() {
    let declarations =
        format!("{SITE}\nwindow w {{\n  around = [site]\n  enter  = [\"true\"]\n  leave  = [\"true\"]\n}}\n");
    let scenario = Scenario::new().file("p.plan", plan(&declarations)).file("site/a", "a");
    // One that changes all the time, and one that is there for the scan alone: the packing finds it gone.
    fs::write(scenario.path("site/big"), vec![7; 40 << 20]).unwrap();
    let stop = scenario.path("stop");
    let script = format!(
        "while [ ! -e {0} ]; do head -c 100000 /dev/zero >> big; echo x > gone; rm gone; done",
        stop.display()
    );
    let mut writer = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(scenario.path("site"))
        .spawn()
        .unwrap();
    let answer = scenario.plan(["run"]);
    fs::write(&stop, "").unwrap();
    writer.wait().unwrap();
    let answer = answer.status(3).stdout_has("site/big");
    assert!(answer.stdout.contains("done, with warnings"), "{answer:?}");
    shell(
        &scenario.path("store"),
        "tar tzf *.tar.gz > /dev/null && grep -q site/big .backplan/p/manifests/*",
    );
}

/// Lets another account than root into the scenario.
pub fn nobody(scenario: &Scenario) {
    shell(&scenario.path(".."), "chmod 755 . && chown -R nobody work home state tmp");
}

/// The program as that account.
pub const AS_NOBODY: &[&str] = &["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];

#[test]
fn an_unreadable_file_is_a_warning_for_an_account_that_is_not_root() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a").file("site/secret", "x");
    nobody(&scenario);
    fs::set_permissions(scenario.path("site/secret"), Permissions::from_mode(0o000)).unwrap();
    let answer = scenario.plan_by(AS_NOBODY, ["run"]).status(3).stdout_has("site/secret");
    assert!(answer.stdout.contains("ermission denied"), "{answer:?}");
    assert_eq!(shell(&scenario.path("store"), "tar xzOf *.tar.gz site/site/a"), "a");
}

#[test]
fn an_unreadable_tree_fails_its_source() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    nobody(&scenario);
    fs::set_permissions(scenario.path("site"), Permissions::from_mode(0o000)).unwrap();
    let answer = scenario.plan_by(AS_NOBODY, ["run"]);
    assert!(answer.code == 1 && answer.stdout.contains("site"), "{answer:?}");
    assert_eq!(artefacts(Path::new(&scenario.path("store"))).len(), 0);
}

#[test]
fn a_file_that_the_disk_cannot_read_is_a_warning() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    fs::write(scenario.path("site/broken"), vec![1; 2 << 20]).unwrap();
    let broken = scenario.path("site/broken");
    let way = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-P",
        broken.to_str().unwrap(),
        "-e",
        "inject=read,pread64,preadv:error=EIO",
    ];
    let answer = scenario.plan_by(&way, ["run"]).status(3).stdout_has("site/broken");
    assert!(answer.stdout.contains("nput/output error"), "{answer:?}");
    shell(&scenario.path("store"), "tar tzf *.tar.gz | grep -q site/site/a");
}

#[test]
fn a_program_that_is_not_there_says_so_once() {
    let declarations = "source x: command {\n  run = [\"no-such-program\"]\n  as  = \"x\"\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(declarations).replace("attempts = 1", "attempts = 5"));
    let answer = scenario.plan(["run"]).status(1).stdout_has("cannot start `no-such-program`");
    assert!(!answer.stderr.contains("attempt 1"), "{answer:?}");
}

#[test]
fn a_program_that_succeeds_at_the_third_attempt_is_a_success() {
    let declarations = "source x: command {\n  run = [\"sh\", \"-c\", \"echo half; echo . >> tries; [ $(wc -l < tries) -ge 3 ] && echo whole\"]\n  as  = \"x\"\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n";
    for staging in ["", STAGING] {
        let text = plan(&format!("{declarations}{staging}"))
            .replace("attempts = 1", "attempts = 3\n  backoff  = 1s..1s");
        let scenario = Scenario::new().file("p.plan", text).file("staging/x", "");
        let report = scenario.plan(["run", "--format", "json"]).status(0).json();
        let pack =
            report["steps"].as_array().unwrap().iter().find(|step| step["step"] == "pack/main").unwrap();
        assert_eq!(pack["attempts"], 3);
        assert_eq!(shell(&scenario.path("store"), "tar xzOf *.tar.gz x/x"), "half\nwhole\n");
        shell(&scenario.path("store"), "sha256sum -c .backplan/p/sums/*; [ $(ls | wc -l) = 1 ]");
    }
}

#[test]
fn a_program_that_takes_too_long_is_stopped_with_all_it_started() {
    let declarations = "source x: command {\n  run     = [\"sh\", \"-c\", \"sleep 87.125 & sleep 87.125\"]\n  as      = \"x\"\n  timeout = 1s\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(declarations));
    scenario.plan(["run"]).status(1).stdout_has("after 1 s, its timeout");
    let left = shell(Path::new("/"), "ps -eo stat,args | grep '[s]leep 87.125' | grep -vc '^Z' || true");
    assert_eq!(left.trim(), "0");
}

#[test]
fn a_run_that_takes_too_long_is_stopped() {
    let declarations = "source x: command {\n  run = [\"sh\", \"-c\", \"sleep 100\"]\n  as  = \"x\"\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n\nlimits {\n  timeout = 1s\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(declarations));
    scenario.plan(["run"]).status(1).stdout_has("`limits.timeout`");
    assert_eq!(artefacts(&scenario.path("store")).len(), 0);
}

#[test]
fn one_job_at_a_time_comes_to_the_same() {
    let scenario = all_kinds(STAGING);
    let text = scenario.read("site.plan") + "\nlimits {\n  jobs = 1\n}\n";
    scenario.write("site.plan", text);
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!((artefacts(&scenario.path("one")).len(), artefacts(&scenario.path("two")).len()), (1, 2));
}

#[test]
fn neither_a_program_nor_a_name_steers_the_terminal() {
    let declarations = format!(
        "{}\nsource x: command {{\n  run = [\"sh\", \"-c\", \"printf '\\\\033[2J\\\\033]0;owned\\\\007' >&2; exit 1\"]\n  as  = \"x\"\n}}\n\narchive x {{\n  from = [x]\n  to   = [store]\n}}\n",
        SITE.replace("paths = [\"site\"]", "paths         = [\"site\"]\n  max_file_size = 10B")
    );
    let scenario =
        Scenario::new().file("p.plan", plan(&declarations)).file("site/\u{1b}[31mred", "more than ten bytes");
    let said = scenario.plan(["run"]).status(1).stdout_has("owned").said();
    assert!(said.contains("[31mred"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{7}']), "{said:?}");
}

#[test]
fn an_optional_database_that_is_not_there_is_a_warning() {
    let declarations = format!(
        "{}\nsource db: sqlite {{\n  path     = \"app.db\"\n  optional = true\n}}\n",
        SITE.replace("[site]", "all")
    );
    for staging in ["", STAGING] {
        let scenario = Scenario::new()
            .file("p.plan", plan(&format!("{declarations}{staging}")))
            .file("site/a", "a")
            .file("staging/x", "");
        scenario.plan(["run", "--dry-run"]).status(3).stdout_has("app.db");
        scenario.plan(["run"]).status(3).stdout_has("app.db").stdout_has("is left out");
        let manifest = shell(&scenario.path("store"), "cat .backplan/p/manifests/*");
        assert!(manifest.contains("status: skipped"), "{manifest}");
        // No file, but something else: that is no matter of being optional.
        fs::create_dir(scenario.path("app.db")).unwrap();
        scenario.next_day().plan(["run"]).status(1).stdout_has("no SQLite database");
    }
}

/// The plan's own folder has no name of its own inside an artefact: its entries stand directly below the source.
#[test]
fn the_folder_of_the_plan_is_a_source_like_any_other() {
    let plan = "plan p\nstore store: dir {\n  path = \"../store\"\n}\nsource here: files {\n  paths = [\".\"]\n}\n\
                archive main {\n  from = all\n  to   = [store]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan).file("deep/note", "remember").file("top", "level");
    std::fs::create_dir(scenario.path("../store")).unwrap();
    scenario.plan(["run"]).status(0);
    scenario.plan(["restore", "--source", "here", "--to", "../back"]).status(0);
    assert_eq!(scenario.read("../back/deep/note"), "remember");
    assert_eq!(scenario.read("../back/top"), "level");
}
