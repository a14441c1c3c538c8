//! Differences that hold only what changed of large files: small, and each of them comes back as it was, in clear and
//! encrypted.

use std::fs;
use std::path::PathBuf;

use crate::scenario::{Scenario, artefacts, plan, settle, shell};

const SITE: &str = "\
source site: files {
  paths = [\"site\"]
}

source app: sqlite {
  path = \"app.db\"
}

store vault: dir {
  path = \"vault\"
}

cycle {
  incrementals = 7
  base         = previous
}
";

/// What the day before each run brings: pages, an end, less of it, nothing, another time, something put in, something taken
/// out near the start and what was at the end put there, and another name.
const DAYS: [&str; 8] = [
    "printf xxxxxxxx | dd of=site/data bs=1 seek=1500000 conv=notrunc status=none",
    "head -c 50000 /dev/zero | tr '\\0' y >> site/data; printf xxxxxxxx | dd of=site/data bs=1 seek=70000 conv=notrunc status=none",
    "truncate -s 2000000 site/data",
    "true",
    "touch site/data; printf zzzzzzzz | dd of=site/still bs=1 seek=900000 conv=notrunc status=none",
    "{ head -c 1000001 site/data; seq 500; tail -c +1000002 site/data; } > new; cat new > site/data; rm new",
    "{ head -c 200000 site/data; tail -c 300000 site/data; tail -c +220000 site/data; } > new; cat new > site/data; rm new",
    "mv site/data site/moved",
];

fn world() -> Scenario {
    let scenario = Scenario::new();
    fs::create_dir(scenario.path("site")).unwrap();
    shell(
        &scenario.path("."),
        "head -c 3000000 /dev/urandom > site/data; head -c 1000000 /dev/urandom > site/still; \
         sqlite3 app.db 'create table t (n integer primary key, b); insert into t select value, randomblob(2000) from generate_series(1, 600)'; \
         age-keygen -o ../id 2>/dev/null; age-keygen -y ../id > ../public",
    );
    let public = scenario.read("../public");
    let archive = |name: &str, store: &str, more: &str| {
        format!("archive {name} {{\n  from = all\n  to   = [{store}]\n  large_files = blocks\n{more}}}\n\n")
    };
    let sealed = archive("sealed", "vault", &format!("  encrypt = [\"{}\"]\n", public.trim()));
    scenario.write("p.plan", plan(&format!("{SITE}\n{}{sealed}", archive("open", "store", ""))));
    settle();
    scenario
}

fn sizes(scenario: &Scenario, store: &str) -> Vec<u64> {
    let made: Vec<PathBuf> = artefacts(&scenario.path(store));
    made.iter().map(|path| fs::metadata(path).unwrap().len()).collect()
}

#[test]
fn what_changed_of_large_files_is_held_and_every_run_comes_back() {
    let scenario = world();
    scenario.plan(["check", "p.plan"]).status(0).says("cannot lay differences of archive `open`");
    scenario.next_day().plan(["run"]).status(0);
    shell(&scenario.path("."), "mkdir ../days; cp -a site ../days/1; sqlite3 app.db .dump > ../days/1/db");
    for (day, script) in DAYS.iter().enumerate() {
        // The database is not what it was but on the day on which nothing changes.
        let change = match day {
            3 => "true".to_owned(),
            day => format!("sqlite3 app.db 'update t set b = randomblob(2000) where n = {}'", 100 * day + 1),
        };
        shell(
            &scenario.path("."),
            &format!(
                "{script}; sleep 0.3; cp -a site ../days/{0}; {change}; sqlite3 app.db .dump > ../days/{0}/db",
                day + 2
            ),
        );
        scenario.next_day().plan(["run"]).status(0);
    }
    // The fourth changed nothing, and has no artefact of its own; but with public keys alone nobody can tell that of a database.
    for (store, artefacts, most) in [("store", 8, 250_000), ("vault", 9, 1_600_000)] {
        let made = sizes(&scenario, store);
        assert_eq!(made.len(), artefacts, "{store}: {made:?}");
        let differences = &made[1..artefacts - 1];
        assert!(made[0] > 5_000_000 && differences.iter().all(|size| *size < most), "{store}: {made:?}");
    }
    let id = scenario.path("../id").display().to_string();
    let scenario = scenario.env("BACKPLAN_IDENTITY", &id);
    for store in ["store", "vault"] {
        for run in 1..=9 {
            let to = format!("back-{store}-{run}");
            let args = ["restore", "--run", &run.to_string(), "--store", store, "--to", &to];
            scenario.plan(args).status(0);
            shell(
                &scenario.path("."),
                &format!(
                    "sqlite3 {to}/app/app.db .dump > {to}/site/site/db && diff -r {to}/site/site ../days/{run} && rm -r {to}"
                ),
            );
        }
    }
    let day = |number: u32| fs::read(scenario.path(&format!("../days/{number}/data"))).unwrap();
    fs::write(scenario.path("part"), day(3)).unwrap();
    scenario.plan(["restore", "--run", "3", "--path", "site/site/data", "--to", "one"]).status(0);
    shell(&scenario.path("."), "cmp part one/site/site/data");
    scenario.plan(["diff-run", "3", "4"]).status(2).says("site/site/data");
    scenario.plan(["diff-run", "4", "5"]).status(0);
    scenario.plan(["verify", "--all", "--deep"]).status(0);
    // A base that is not what it was: nothing that is not the file is given for it.
    let full = artefacts(&scenario.path("store")).remove(0);
    shell(
        &scenario.path("."),
        &format!("printf XXXXXXXX | dd of={} bs=1 seek=2000000 conv=notrunc status=none", full.display()),
    );
    scenario.plan(["restore", "--run", "3", "--to", "spoilt", "--store", "store"]).status(1).says("damaged");
    assert!(!scenario.path("spoilt/site/site/data").exists());
}
