//! Rehearsals of files and databases that need no server: asked for, and due in a run.

use std::fs;

use crate::scenario::{Scenario, plan, shell};

/// A SQLite database and a folder, rehearsed as `verify` blocks say.
fn world(verify: &str) -> Scenario {
    let scenario = Scenario::new().file("notes/a.txt", "one").file("notes/b/c.txt", "two");
    sql(&scenario, "create table accounts (n); insert into accounts values (1), (2)");
    let text = format!(
        "source app: sqlite {{\n  path = \"app.db\"\n}}\n\nsource notes: files {{\n  paths = [\"notes\"]\n}}\n\n\
         archive a {{\n  from = all\n  to = [store]\n}}\n\n{verify}"
    );
    scenario.write("p.plan", plan(&text));
    scenario
}

fn sql(scenario: &Scenario, statements: &str) {
    shell(&scenario.path("."), &format!("sqlite3 app.db '{statements}'"));
}

fn nothing_is_left(scenario: &Scenario) {
    assert_eq!(fs::read_dir(scenario.path("../tmp")).unwrap().count(), 0);
}

#[test]
fn a_run_rehearses_what_is_due_and_status_tells_everywhere() {
    let scenario = world(
        "verify {\n  every = 7d\n  restore = app\n  query = \"select count(*) = 2 from accounts\"\n}\n\n\
         objective {\n  of = [app]\n  rto = 1h\n}\n",
    );
    // Where it has no place, all say so beforehand; the backup itself is made.
    let nowhere = ["env", "TMPDIR=/nowhere"];
    let lacks = "`/nowhere` cannot be written to: No such file or directory (os error 2); name another folder in `TMPDIR`";
    scenario.plan_by(&nowhere, ["check", "--live"]).status(0).says("scratch_short").says(lacks);
    scenario.plan_by(&nowhere, ["run", "--dry-run"]).status(1).says(lacks);
    scenario.plan_by(&nowhere, ["run"]).status(1).says("/nowhere").says("is in `store`");
    scenario.next_day().plan(["run", "--dry-run"]).status(0).says("rehearse/app");
    assert!(!scenario.path("store/.backplan/p/rehearsals").exists());
    scenario.plan(["run"]).status(0).says("rehearse/app");
    nothing_is_left(&scenario);
    scenario.plan(["status"]).status(0).says("rehearsal of `app`: passed").says("rto 1 h of app: met");
    // Not again before it is due.
    for _ in 0..6 {
        let said = scenario.next_day().plan(["run"]).status(0).said();
        assert!(!said.contains("rehearse/app"), "{said}");
    }
    scenario.next_day().plan(["run"]).status(0).says("rehearse/app");
    // Nobody runs the plan any more.
    for _ in 0..10 {
        scenario.next_day();
    }
    scenario.plan(["status"]).status(3).says("overdue: one is promised every 7 d");
}

#[test]
fn a_backup_that_does_not_pass_stays_and_the_run_fails_and_tells() {
    let scenario = world(
        "verify {\n  every = 7d\n  restore = app\n  query = \"select count(*) > 5 from accounts\"\n}\n\n\
         notify told: command {\n  run = [\"sh\", \"-c\", \"env > told\"]\n  on = [failure]\n}\n",
    );
    scenario.next_day().plan(["run"]).status(1).says("did not pass: query: it answered `0`, not true");
    assert!(scenario.path("told").exists());
    nothing_is_left(&scenario);
    scenario.plan(["list"]).status(0).says("00000001");
    scenario.plan(["status"]).status(3).says("rehearsal of `app`: FAILED").says("it answered `0`");
    // The next run tries again, and passes once the data are as they should be.
    sql(&scenario, "insert into accounts values (3), (4), (5), (6)");
    scenario.next_day().plan(["run"]).status(0).says("rehearse/app");
    scenario.plan(["status"]).status(0).says("rehearsal of `app`: passed");
}

#[test]
fn a_command_sees_what_was_restored_and_its_status_counts() {
    let scenario = world(
        "verify {\n  restore = notes\n  command = [\"sh\", \"-c\", \"cat $BACKPLAN_RESTORED/notes/b/c.txt > seen; \
         test $BACKPLAN_SOURCE = notes\"]\n}\n\n\
         verify {\n  restore = app\n  command = [\"sh\", \"-c\", \"echo no accounts >&2; exit 7\"]\n}\n",
    );
    scenario.plan(["run"]).status(0);
    let answer = scenario.plan(["verify", "--rehearse"]).status(1);
    answer.says("rehearsal of `notes`").says("status 7").says("no accounts").says("integrity_check");
    assert_eq!(scenario.read("seen"), "two");
    nothing_is_left(&scenario);
    scenario.plan(["verify", "--rehearse", "--source", "notes"]).status(0);
    scenario.plan(["verify", "--rehearse", "--source", "nots"]).status(2).says("no source `nots`");
}

#[test]
fn a_damaged_backup_and_a_full_disk_are_told_apart() {
    let scenario = world("");
    shell(&scenario.path("notes"), "head -c 200000 /dev/urandom > noise");
    scenario.plan(["run"]).status(0);
    let artefacts = fs::read_dir(scenario.path("store")).unwrap().flatten();
    let artefact = artefacts.map(|entry| entry.path()).find(|path| path.is_file()).unwrap();
    let whole = fs::read(&artefact).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0x55);
    fs::write(&artefact, &bytes).unwrap();
    scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says("FAILED   restore");
    nothing_is_left(&scenario);
    fs::write(&artefact, whole).unwrap();
    let answer = scenario.plan(["verify", "--rehearse", "--scratch", "/proc", "p.plan"]).status(1);
    answer.says("`/proc` cannot be written to").says("--scratch");
    scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
    let notes = fs::read_dir(scenario.path("../state/backplan/rehearsing")).unwrap();
    assert_eq!(notes.count(), 1, "the lock alone");
}
