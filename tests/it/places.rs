//! Places as they really are: by links, by mounts, and by what other accounts may do to them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::scenario::{Answer, SITE, Scenario, artefacts, everything, plan, shell};

const NOBODY: u32 = 65534;

/// One folder under another's name, until the value goes.
struct Bound(PathBuf);

impl Bound {
    fn new(from: &Path, to: &Path) -> Bound {
        let done = Command::new("mount").arg("--bind").args([from, to]).status().unwrap();
        assert!(done.success());
        Bound(to.to_path_buf())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn staged(path: &str) -> String {
    plan(&format!("{SITE}\nstaging {{\n  path = \"{path}\"\n}}\n"))
}

fn world() -> Scenario {
    let scenario = Scenario::new().file("p.plan", staged("staging")).file("site/a/b", "a");
    fs::create_dir(scenario.path("staging")).unwrap();
    scenario
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The check, the dry run and the run say `why` and `finding`, and nothing of the world changes.
#[track_caller]
fn refused(scenario: &Scenario, finding: &str, why: &str) {
    let before = everything(&scenario.path("."));
    let told = |answer: Answer, words: &str| {
        assert!(answer.code == 1 && answer.said().contains(words), "{answer:?}")
    };
    told(scenario.plan(["check", "--live", "p.plan"]), finding);
    told(scenario.plan(["run", "p.plan", "--dry-run"]), why);
    told(scenario.next_day().plan(["run", "p.plan"]), why);
    assert_eq!(everything(&scenario.path(".")), before);
}

#[test]
fn what_is_mounted_as_the_staging_is_not_emptied() {
    let scenario = world().file("keys/key", "secret");
    scenario.plan(["run"]).status(0);
    for precious in ["site", "site/a", "store", "keys"] {
        let _bound = Bound::new(&scenario.path(precious), &scenario.path("staging"));
        refused(&scenario, "staging_unsafe", "mounted");
    }
    scenario.next_day().plan(["run"]).status(0);
}

#[test]
fn what_is_mounted_in_the_staging_is_seen_before_anything_is_deleted() {
    let scenario = world();
    scenario.plan(["run"]).status(0);
    fs::create_dir_all(scenario.path("staging/z/inside")).unwrap();
    scenario.write("staging/a", "goes");
    {
        let _bound = Bound::new(&scenario.path("site"), &scenario.path("staging/z/inside"));
        refused(&scenario, "staging_unsafe", "mounted at");
        assert!(scenario.path("staging/a").exists() && scenario.path("site/a/b").exists());
    }
    {
        // A single file may be mounted, too.
        let _bound = Bound::new(&scenario.path("site/a/b"), &scenario.path("staging/a"));
        refused(&scenario, "staging_unsafe", "mounted at");
    }
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(fs::read_dir(scenario.path("staging")).unwrap().count(), 0);
}

/// As two volumes of a container are.
#[test]
fn two_mounts_of_one_folder_are_one_place() {
    let scenario = Scenario::new().file("host/data/site/a", "a");
    for folder in ["host/data/site/scratch", "one", "two"] {
        fs::create_dir_all(scenario.path(folder)).unwrap();
    }
    let plan = |source: &str, staging: &str| {
        let text = SITE.replace("\"site\"", &format!("\"{source}\""));
        scenario.write("p.plan", plan(&format!("{text}\nstaging {{\n  path = \"{staging}\"\n}}\n")));
    };
    let _one = Bound::new(&scenario.path("host"), &scenario.path("one"));
    let two = Bound::new(&scenario.path("host/data"), &scenario.path("two"));
    plan("one/data/site/a", "two/site");
    refused(&scenario, "cleared_by_staging", "is cleared, and holds what source `site` reads");
    plan("one/data", "two/site/scratch");
    refused(&scenario, "staging_in_source", "is inside source `site`");
    plan("two/site/a", "one/data/site/scratch");
    scenario.next_day().plan(["run"]).status(0);
    drop(two);
    let _two = Bound::new(&scenario.path("host/data/site"), &scenario.path("two"));
    scenario
        .write("p.plan", plan_of_store("one/data", "two/backups").replace("path = \"two", "path = \"./two"));
    refused(&scenario, "store_in_source", "would hold itself");
}

fn plan_of_store(source: &str, store: &str) -> String {
    plan(SITE).replace("\"site\"", &format!("\"{source}\"")).replace("\"store\"", &format!("\"{store}\""))
}

#[test]
fn a_staging_that_others_can_exchange_is_not_used() {
    let scenario = Scenario::new().file("p.plan", staged("shared/staging")).file("site/a", "a");
    let (shared, staging) = (scenario.path("shared"), scenario.path("shared/staging"));
    fs::create_dir_all(&staging).unwrap();
    scenario.next_day().plan(["run"]).status(0);
    for (owner, mode) in [(0, 0o777), (0, 0o775), (NOBODY, 0o755), (NOBODY, 0o1755)] {
        lchown(&shared, Some(owner), Some(NOBODY)).unwrap();
        chmod(&shared, mode);
        // What another account does: a link to what root alone may delete.
        shell(
            &scenario.path("."),
            "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'test -w shared'",
        );
        fs::rename(&staging, shared.join("away")).unwrap();
        symlink(scenario.path("site"), &staging).unwrap();
        refused(&scenario, "staging_unsafe", "shared");
        fs::remove_file(&staging).unwrap();
        fs::rename(shared.join("away"), &staging).unwrap();
        // Nor before it is exchanged.
        refused(&scenario, "staging_unsafe", "could put something else in the place of what is in it");
    }
    // As `/var/tmp` is: nobody exchanges what is another's.
    lchown(&shared, Some(0), Some(0)).unwrap();
    chmod(&shared, 0o1777);
    scenario.next_day().plan(["run"]).status(0);
    // The mend that was advised.
    chmod(&shared, 0o777);
    shell(&scenario.path("."), "chmod o-w shared");
    scenario.next_day().plan(["run"]).status(0);
    let link = scenario.path("link");
    symlink("shared/staging", &link).unwrap();
    scenario.write("p.plan", staged("link"));
    scenario.next_day().plan(["run"]).status(0);
    lchown(&link, Some(NOBODY), None).unwrap();
    refused(&scenario, "staging_unsafe", "is a link that belongs to `nobody`");
    scenario.write("p.plan", staged("shared/staging"));
    lchown(&staging, Some(NOBODY), None).unwrap();
    refused(&scenario, "staging_unsafe", "belongs to `nobody`, who may change it");
}

/// Another account exchanges the staging for a link, and back, as fast as it can, while root runs the plan.
#[test]
fn a_race_for_the_staging_empties_nothing() {
    let scenario = Scenario::new().file("p.plan", staged("shared/staging")).file("site/a", "a");
    let (shared, victim) = (scenario.path("shared"), scenario.path("victim"));
    fs::create_dir_all(shared.join("staging")).unwrap();
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("precious"), "x").unwrap();
    symlink(&victim, shared.join("link")).unwrap();
    lchown(&shared, Some(NOBODY), Some(NOBODY)).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (from, to) in
                    [("staging", "folder"), ("link", "staging"), ("staging", "link"), ("folder", "staging")]
                {
                    fs::rename(shared.join(from), shared.join(to)).unwrap();
                }
            }
        });
        for _ in 0..20 {
            scenario.next_day().plan(["run", "p.plan"]).status(1);
            assert!(victim.join("precious").exists());
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_was_in_a_staging_before_its_first_run_is_told_and_stays() {
    let scenario = world().file("staging/precious", "mine").file("staging/more/x", "mine");
    scenario.plan(["check", "--live"]).status(0).says("staging_strangers").says("`more`, `precious`");
    let shown = scenario.plan(["run", "--dry-run", "--format", "json"]).status(3).json();
    assert!(shown["warnings"].to_string().contains("which no run of this plan put there"), "{shown}");
    assert!(!shown.to_string().contains("staging/precious"), "{shown}");
    for _ in 0..2 {
        let answer = scenario.next_day().plan(["run"]).status(3);
        answer
            .says("holds `more`, `precious`, which no run of this plan put there")
            .says("move it elsewhere");
    }
    assert_eq!(artefacts(&scenario.path("store")).len(), 2);
    assert_eq!(scenario.read("staging/precious"), "mine");
    assert_eq!(fs::read_dir(scenario.path("staging")).unwrap().count(), 2);
    // The advice, followed.
    shell(&scenario.path("."), "mkdir elsewhere && mv staging/precious staging/more elsewhere");
    scenario.next_day().plan(["run"]).status(0);
    // From here on it is the plan's own.
    scenario.write("staging/left", "by a window");
    scenario.plan(["check", "--live"]).status(0).says("nothing to report");
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(fs::read_dir(scenario.path("staging")).unwrap().count(), 0);
    // Another folder of that name is not.
    shell(
        &scenario.path("."),
        "mv staging old && mkdir staging && ln -s ../site staging/theirs && touch staging/.keep",
    );
    scenario.next_day().plan(["run"]).status(3).says("`theirs`");
    assert!(scenario.path("staging/theirs").exists());
}

#[test]
fn the_staging_of_another_plan_inside_is_not_cleared_away() {
    let scenario = world();
    scenario.plan(["run"]).status(0);
    let theirs = "staging/q/00000042-20261120T023000Z-k7f3qa";
    fs::create_dir_all(scenario.path(theirs)).unwrap();
    refused(&scenario, "staging_unsafe", "the staging of another plan");
    assert!(scenario.path(theirs).exists());
}

#[test]
fn a_store_in_its_own_source_by_a_link_or_a_mount_is_found() {
    let scenario = Scenario::new().file("site/a", "a").file("p.plan", plan_of_store("site", "backups"));
    fs::create_dir(scenario.path("site/backups")).unwrap();
    symlink("site/backups", scenario.path("backups")).unwrap();
    scenario.plan(["check", "p.plan"]).status(0).says("nothing to report");
    refused(&scenario, "store_in_source", "would hold itself, and grow with each run");
    // The mend, followed.
    scenario.plan(["check", "--live"]).says("`exclude = [\"/backups\"]`");
    let text = scenario
        .read("p.plan")
        .replace("paths = [\"site\"]", "paths = [\"site\"]\n  exclude = [\"/backups\"]");
    scenario.write("p.plan", text);
    scenario.plan(["check", "--live"]).status(0).says("nothing to report");
    scenario.next_day().plan(["run"]).status(0);
    scenario.write("p.plan", plan_of_store("site", "backups"));
    fs::remove_file(scenario.path("backups")).unwrap();
    fs::create_dir(scenario.path("backups")).unwrap();
    let _bound = Bound::new(&scenario.path("site/backups"), &scenario.path("backups"));
    refused(&scenario, "store_in_source", "would hold itself, and grow with each run");
}

/// Every pair of places that the check compares by name, brought together by links.
#[test]
fn every_pair_of_places_is_compared_by_what_it_leads_to() {
    let text = "\
plan p

store one: dir {
  path = \"one\"
}

store two: dir {
  path = \"TWO\"
}

source site: files {
  paths = [\"site\"]
}

source more: files {
  paths = [\"MORE\"]
}

source app: sqlite {
  path = \"DATABASE\"
}

archive main {
  from = all
  to   = [one, two]
}

staging {
  path = \"STAGING\"
}
";
    let usual = [("TWO", "two"), ("MORE", "more"), ("DATABASE", "db/app.db"), ("STAGING", "staging")];
    let scenario = Scenario::new().file("site/a", "a").file("more/b", "b");
    for folder in ["one/in", "two", "staging", "db", "site/in"] {
        fs::create_dir_all(scenario.path(folder)).unwrap();
    }
    rusqlite(&scenario.path("db/app.db"));
    fs::copy(scenario.path("db/app.db"), scenario.path("site/app.db")).unwrap();
    fs::copy(scenario.path("more/b"), scenario.path("site/in/b")).unwrap();
    for (link, to) in [
        ("to-one", "one"),
        ("into-one", "one/in"),
        ("to-site", "site"),
        ("into-site", "site/in"),
        ("db-link", "site/app.db"),
    ] {
        symlink(to, scenario.path(link)).unwrap();
    }
    let with = |name: &str, value: &str| {
        let text = usual.iter().fold(text.to_owned(), |text, (word, path)| {
            text.replace(word, if *word == name { value } else { path })
        });
        scenario.write("p.plan", text);
        scenario.plan(["check", "p.plan"]).status(0).says("nothing to report");
    };
    with("", "");
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    for (word, value, finding, why) in [
        ("TWO", "to-one", "same_store", "are one place"),
        ("TWO", "into-site", "store_in_source", "would hold itself"),
        ("STAGING", "to-one", "shared_staging", "are one folder"),
        ("STAGING", "into-site", "staging_in_source", "would hold half-built archives"),
        ("STAGING", "to-site/in", "staging_in_source", "would hold half-built archives"),
        ("STAGING", "to-site", "cleared_by_staging", "is cleared, and holds what source `site` reads"),
    ] {
        with(word, value);
        refused(&scenario, finding, why);
    }
    // What does not keep a plan from running does not here either: it is told.
    for (word, value, finding, why) in [
        ("TWO", "into-one", "nested_stores", "what destroys one destroys both"),
        ("MORE", "to-site/in", "overlapping_paths", "is read twice"),
        ("DATABASE", "db-link", "live_database", "would be copied torn"),
    ] {
        with(word, value);
        scenario.plan(["check", "--live", "p.plan"]).status(0).says(finding).says(why);
        scenario.next_day().plan(["run", "p.plan", "--dry-run"]).status(0).says(why);
        scenario.next_day().plan(["run", "p.plan"]).status(0).says(why);
    }
}

/// A database with a table.
fn rusqlite(path: &Path) {
    shell(Path::new("/"), &format!("sqlite3 {} 'create table t(x)'", path.display()));
}

#[test]
fn what_others_may_write_to_is_neither_state_nor_scratch() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    fs::create_dir(scenario.path("open")).unwrap();
    chmod(&scenario.path("open"), 0o777);
    let open = scenario.path("open").display().to_string();
    let scratch = ["verify", "--rehearse", "p.plan", "--scratch", open.as_str()];
    scenario
        .plan(scratch)
        .status(1)
        .says("could put something else in the place")
        .says("`chmod o-w $W/work/open`");
    let program = env!("CARGO_BIN_EXE_plan");
    let elsewhere = format!("XDG_STATE_HOME={open}");
    let before = everything(&scenario.path("."));
    for more in [&["--dry-run"][..], &[]] {
        let argv =
            ["env", &elsewhere, program, "run"].into_iter().chain(more.iter().copied()).collect::<Vec<_>>();
        scenario.other(&argv).status(1).says("refusing to use the local state").says("XDG_STATE_HOME");
    }
    assert_eq!(everything(&scenario.path(".")), before);
    chmod(&scenario.path("open"), 0o755);
    scenario.plan(scratch).status(0);
    assert_eq!(fs::read_dir(scenario.path("open")).unwrap().count(), 0);
}

#[test]
fn root_is_told_who_else_may_change_what_it_obeys() {
    let scenario = Scenario::new().file("conf/p.plan", format!("{}\nimport \"lib/l.plan\"\n", plan(SITE)));
    let scenario = scenario.file("conf/lib/l.plan", "let unneeded = 1\n").file("conf/site/a", "a");
    let text = scenario.read("conf/p.plan").replace("import \"lib/l.plan\"\n", "").replacen(
        "plan p\n",
        "plan p\n\nimport \"lib/l.plan\"\n",
        1,
    );
    scenario.write("conf/p.plan", text);
    let run = || scenario.next_day().plan(["run", "conf/p.plan"]);
    run().status(0);
    for path in ["conf/p.plan", "conf/lib/l.plan", "conf/lib", "conf"] {
        let file = if path.ends_with("l.plan") || path == "conf/lib" { "l.plan" } else { "p.plan" };
        let was = fs::metadata(scenario.path(path)).unwrap().permissions();
        for owner in [0, NOBODY] {
            match owner {
                0 => chmod(&scenario.path(path), was.mode() | 0o002),
                _ => lchown(scenario.path(path), Some(NOBODY), None).unwrap(),
            }
            let answer = scenario.plan(["check", "--live", "conf/p.plan"]).status(0).says("plan_writable");
            assert!(answer.said().contains(file), "{answer:?}");
            scenario.next_day().plan(["run", "conf/p.plan", "--dry-run"]).status(3).says("root does what");
            run().status(3).says("root does what");
            fs::set_permissions(scenario.path(path), was.clone()).unwrap();
            lchown(scenario.path(path), Some(0), None).unwrap();
        }
    }
    run().status(0);
}

/// Two stores that a link or a mount makes one: whoever is asked says the same, and nobody counts two copies.
#[test]
fn two_stores_that_are_one_folder_are_told_before_the_first_run_and_behind_it() {
    let text = plan(SITE).replace("[store]", "[store, twin]").replace(
        "retry {",
        "store twin: dir {\n  path = \"twin\"\n}\n\nobjective {\n  of     = all\n  copies = 2\n}\n\nretry {",
    );
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["status"]).status(0);
    crate::scenario::shell(&scenario.path("."), "rm -r twin && ln -s store twin");
    let says = "are one place: two copies there are one";
    let answers = [
        scenario.plan(["status"]).status(3),
        scenario.plan(["check", "--live"]).status(1),
        scenario.plan(["run", "--dry-run"]),
        scenario.next_day().plan(["run"]),
    ];
    for answer in answers {
        assert!(answer.said().contains(says), "{answer:?}");
    }
    let json = scenario.plan(["status", "--format", "json"]).json();
    assert_eq!(json["objectives"][0]["met"], false, "{json}");
    assert_eq!(json["sources"][0]["stores"].as_array().unwrap().len(), 1, "{json}");
    crate::scenario::shell(&scenario.path("."), "rm twin && cp -a store twin");
    scenario.plan(["status"]).says("in store, twin");
}
