//! A run that is killed at any moment takes no earlier backup with it, and leaves nothing that the next one does not
//! clear away.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::scenario::{Chance, SITE, Scenario, artefacts, everything, plan, rounds, shell};

/// Rounds of each shape.
const ROUNDS: u32 = 6;

const SOURCES: &str = r#"
source site: files {
  paths = ["site"]
}

source db: sqlite {
  path = "app.db"
}

source dump: command {
  run = ["seq", "1", "100000"]
  as  = "dump.txt"
}

window quiet {
  around = all
  enter  = ["sh", "-c", "echo enter >> log"]
  leave  = ["sh", "-c", "echo leave >> log"]
}

retry {
  attempts = 1
}
"#;

const STORES: &str = r#"
store one: dir {
  path = "one"
}

store two: dir {
  path = "two"
}
"#;

const ONE_ARCHIVE: &str = "\narchive main {\n  from = all\n  to   = [one, two]\n}\n";
const TWO_ARCHIVES: &str = "\narchive main {\n  from = [site, dump]\n  to   = [one, two]\n}\n\narchive db {\n  from = [db]\n  to   = [two]\n}\n";
const STAGING: &str = "\nstaging {\n  path = \"staging\"\n}\n";

fn world(archives: &str, staging: &str) -> Scenario {
    let scenario = Scenario::new()
        .file("p.plan", format!("plan p\n{STORES}{SOURCES}{archives}{staging}"))
        .file("site/a", "a")
        .file("staging/x", "");
    shell(
        &scenario.path("."),
        "sqlite3 app.db 'create table t (n); insert into t values (42)'; head -c 3000000 /dev/urandom > site/noise",
    );
    scenario
}

/// What may lie in a store beside backups.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    /// Whatever a kill left.
    Anything,
    /// The leases of this run and earlier ones.
    Leases,
    /// The lease of this run.
    Lease,
}

/// The backups of a store: every one is whole, and nothing is beside them but what is said.
#[track_caller]
fn whole(store: &Path, beside: Beside) -> usize {
    if !store.join(".backplan/p/manifests").exists() {
        return 0;
    }
    let manifests = shell(store, "ls .backplan/p/manifests | sed 's/.yaml//'");
    for run in manifests.lines() {
        shell(store, &format!("sha256sum -c --quiet .backplan/p/sums/{run}.sha256"));
    }
    if beside != Beside::Anything {
        let left = shell(
            store,
            "find .backplan/p/tmp .backplan/p/intents .backplan/p/tombstones -type f 2>/dev/null; find . -name '.new-*'",
        );
        assert_eq!(left, "", "left in {}", store.display());
        let named = shell(store, "cat .backplan/p/sums/* | wc -l");
        assert_eq!(named.trim(), artefacts(store).len().to_string());
    }
    if beside == Beside::Lease {
        assert_eq!(shell(store, "ls .backplan/p/lock | wc -l").trim(), "1");
    }
    manifests.lines().count()
}

/// The window was left as often as it was entered, or oftener.
#[track_caller]
fn closed(scenario: &Scenario) {
    let log = scenario.read("log");
    assert!(log.ends_with("leave\n"), "{log}");
}

#[track_caller]
fn kill_again_and_again(archives: &str, staging: &str, seed: u64) {
    let mut chance = Chance::new(seed);
    let scenario = world(archives, staging);
    let since = Instant::now();
    scenario.next_day().plan(["run"]).status(0);
    let usual = u64::try_from(since.elapsed().as_micros()).unwrap();
    for round in 0..rounds(ROUNDS) {
        let running = scenario.next_day().start(["run"]);
        let pause = chance.below(usual * 11 / 10);
        thread::sleep(Duration::from_micros(pause));
        running.kill_group();
        let killed = running.answer();
        let before =
            (whole(&scenario.path("one"), Beside::Anything), whole(&scenario.path("two"), Beside::Anything));
        let context =
            format!("round {round}, killed after {pause} us with {}:\n{}", killed.code, killed.stderr);
        let next = scenario.next_day().plan(["run"]);
        assert_eq!(next.code, 0, "{context}\n{next:?}");
        let after =
            (whole(&scenario.path("one"), Beside::Lease), whole(&scenario.path("two"), Beside::Lease));
        // What one store alone has is brought to the other.
        let most = before.0.max(before.1) + 1;
        assert_eq!((most, most), after, "{context}");
        closed(&scenario);
        assert_eq!(
            fs::read_dir(scenario.path("staging")).map_or(0, Iterator::count),
            usize::from(staging.is_empty())
        );
        let work = shell(&scenario.path("../state"), "find . -path '*/work/*'");
        assert_eq!(work, "", "{context}");
    }
    shell(&scenario.path("one"), "for f in *.tar.gz; do gzip -t $f || exit 1; done");
    scenario.plan(["verify", "--all"]).status(0);
}

#[test]
fn killed_while_it_writes_straight_into_two_stores() {
    kill_again_and_again(ONE_ARCHIVE, "", 0x5eed_0001);
}

#[test]
fn killed_with_a_staging() {
    kill_again_and_again(ONE_ARCHIVE, STAGING, 0x5eed_0002);
}

#[test]
fn killed_with_two_archives() {
    kill_again_and_again(TWO_ARCHIVES, "", 0x5eed_0003);
}

#[test]
fn killed_by_a_signal_that_it_hears_it_clears_away_itself() {
    let mut chance = Chance::new(0x5eed_0004);
    for staging in ["", STAGING] {
        let scenario = world(ONE_ARCHIVE, staging);
        let since = Instant::now();
        scenario.next_day().plan(["run"]).status(0);
        let usual = u64::try_from(since.elapsed().as_micros()).unwrap();
        for round in 0..rounds(ROUNDS) {
            let running = scenario.next_day().start(["run"]);
            thread::sleep(Duration::from_micros(chance.below(usual)));
            running.signal("TERM");
            let answer = running.answer();
            // Before it listens it dies of the signal: nothing was begun then.
            assert!([143, -15, 0].contains(&answer.code), "round {round}: {answer:?}");
            let before =
                (whole(&scenario.path("one"), Beside::Leases), whole(&scenario.path("two"), Beside::Leases));
            closed(&scenario);
            scenario.next_day().plan(["run"]).status(0);
            let after =
                (whole(&scenario.path("one"), Beside::Lease), whole(&scenario.path("two"), Beside::Lease));
            let most = before.0.max(before.1) + 1;
            assert_eq!((most, most), after, "round {round}: {answer:?}");
        }
    }
}

/// Scratch is what fills a small disk, so its folder may be a link to a larger one: of what lies there only what runs of the plan left goes.
#[test]
fn what_lies_where_a_folder_of_the_state_leads_stays() {
    let scenario = Scenario::new()
        .file("p.plan", plan(SITE))
        .file("site/a", "a")
        .file("big/mine/sub/f", "precious")
        .file("big/00000001-20260101T000000Z-aaaaaa/f", "another plan's");
    scenario.plan(["run"]).status(0);
    let before = everything(&scenario.path("big"));
    for folder in ["work", "cache", "alone"] {
        let (state, big) = (scenario.path("../state"), scenario.path("big"));
        shell(&state, &format!("cd backplan/plans/p-*; rm -rf {folder}; ln -s {} {folder}", big.display()));
    }
    for _ in 0..2 {
        scenario.next_day().write("site/a", "b");
        scenario.plan(["run"]).status(0);
    }
    // What this machine knows of the tree lies there by now.
    let after = everything(&scenario.path("big"));
    assert!(before.iter().all(|(path, was)| after.get(path) == Some(was)), "{after:?}");
}
