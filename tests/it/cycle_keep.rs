//! Runs in which nothing changed, chains and `keep`, sources that are gone, kills.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::cycle_worlds::{DAYS, five, level, levels, look, manifest, plan, restored, run, same, world};
use crate::scenario::{Chance, Scenario, artefacts, rounds, settle, shell, wait_for};

fn sequences(scenario: &Scenario) -> Vec<u32> {
    let listed = shell(&scenario.path("store"), "ls .backplan/p/manifests | cut -c1-8");
    listed.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn a_run_in_which_nothing_changed_points_to_the_artefact_before() {
    for base in ["full", "previous"] {
        let scenario = world(&plan("", &format!("{}\n\nkeep {{ last = 2 }}", five(base))));
        let wanted = look(&scenario.path("site"));
        for _ in 0..4 {
            run(&scenario).status(0);
        }
        assert_eq!(artefacts(&scenario.path("store")).len(), 1);
        assert!(manifest(&scenario, "store", 4).contains("artefact: p_main_20260102T023000Z.tar.gz"));
        same(&restored(&scenario, "4", "site", "site"), &wanted, "nothing changed");
        shell(&scenario.path("store"), "sha256sum -c .backplan/p/sums/00000004*");
        shell(&scenario.path("site"), DAYS[0]);
        run(&scenario).status(0);
        same(&restored(&scenario, "5", "site", "site"), &look(&scenario.path("site")), "changed again");
        run(&scenario).status(0);
        run(&scenario).status(0);
        same(&restored(&scenario, "7", "site", "site"), &look(&scenario.path("site")), "and again not");
        // The artefacts that the last two rest on are still there, and everything there is whole.
        for left in sequences(&scenario) {
            restored(&scenario, &left.to_string(), "site", "site");
        }
        scenario.plan(["verify", "--all", "--deep"]).status(0);
    }
}

#[test]
fn a_whole_archive_has_its_name_though_nothing_changed() {
    let scenario = world(&plan("  self_contained = true\n", &five("full")));
    for day in 1..=3_usize {
        run(&scenario).status(0);
        assert_eq!(artefacts(&scenario.path("store")).len(), day);
    }
    let wanted = look(&scenario.path("site"));
    shell(&scenario.path("store"), "rm *_20260102* *_20260103*");
    same(&restored(&scenario, "3", "site", "site"), &wanted, "the last alone");
}

#[test]
fn a_base_is_never_deleted_before_what_rests_on_it() {
    for (archive, base) in [("", "full"), ("", "previous"), ("  self_contained = true\n", "full")] {
        for keep in ["keep { cycles = 1 }", "keep { last = 1 }"] {
            let scenario =
                world(&plan(archive, &format!("cycle {{ incrementals = 3, base = {base} }}\n\n{keep}")));
            for day in 0..10 {
                run(&scenario).status(0);
                let there = sequences(&scenario);
                let newest = day + 1;
                assert_eq!(there.last(), Some(&newest));
                let full = day / 4 * 4 + 1;
                if keep.contains("cycles") || (archive.is_empty() && base == "previous") {
                    assert_eq!(
                        there,
                        (full..=newest).collect::<Vec<_>>(),
                        "{archive} {base} {keep} run {newest}"
                    );
                }
                if keep.contains("last") && archive.is_empty() && base == "full" {
                    // The cycle comes to its next full, though retention takes the runs in the middle of it.
                    let mut wanted = vec![full, newest];
                    wanted.dedup();
                    assert_eq!(there, wanted, "{keep} run {newest}");
                }
                same(
                    &restored(&scenario, &newest.to_string(), "site", "site"),
                    &look(&scenario.path("site")),
                    &format!("{base} {keep} run {newest}"),
                );
                shell(&scenario.path("site"), DAYS.get(day as usize).copied().unwrap_or("true"));
            }
            scenario.plan(["verify", "--all", "--deep"]).status(0);
            assert_eq!(
                scenario.plan(["prune", "--format", "json"]).status(0).json()["stores"][0]["deletes"],
                serde_json::json!([])
            );
        }
    }
}

#[test]
fn a_keep_that_keeps_nothing_keeps_the_newest() {
    let scenario = world(&plan("", &format!("{}\n\nkeep {{ yearly = 1, prefer = full }}", five("previous"))));
    for change in &DAYS[..7] {
        run(&scenario);
        same(
            &restored(&scenario, "latest", "site", "site"),
            &look(&scenario.path("site")),
            "the newest can always be had",
        );
        shell(&scenario.path("site"), change);
    }
    scenario.plan(["verify", "--all", "--deep"]).status(0);
}

#[test]
fn a_source_emptied_by_a_disk_that_is_not_mounted_costs_nothing() {
    for archive in ["", "  self_contained = true\n"] {
        let scenario = world(&plan(archive, "cycle { incrementals = 1 }\n\nkeep { last = 1 }"));
        run(&scenario).status(0);
        let wanted = look(&scenario.path("site"));
        fs::rename(scenario.path("site"), scenario.path("mounted")).unwrap();
        fs::create_dir(scenario.path("site")).unwrap();
        for _ in 0..3 {
            let answer = run(&scenario);
            assert!([0, 3].contains(&answer.code), "{answer:?}");
        }
        // What was there before can still be had.
        same(&restored(&scenario, "1", "site", "site"), &wanted, archive);
        scenario.plan(["prune"]);
        same(&restored(&scenario, "1", "site", "site"), &wanted, archive);
        fs::remove_dir(scenario.path("site")).unwrap();
        fs::rename(scenario.path("mounted"), scenario.path("site")).unwrap();
        let answer = run(&scenario);
        assert!([0, 3].contains(&answer.code), "{answer:?}");
        same(&restored(&scenario, "5", "site", "site"), &wanted, "mounted again");
    }
}

#[track_caller]
fn kill_again_and_again(archive: &str, base: &str, seed: u64) {
    let mut chance = Chance::new(seed);
    let scenario = world(&plan(
        archive,
        &format!("cycle {{ incrementals = 4, base = {base} }}\n\nkeep {{ cycles = 2 }}"),
    ));
    let since = Instant::now();
    run(&scenario).status(0);
    let usual = u64::try_from(since.elapsed().as_micros()).unwrap();
    let mut looks = vec![(1, look(&scenario.path("site")))];
    for round in 0..rounds(6) {
        shell(
            &scenario.path("site"),
            &format!(
                "echo {round} > changes; echo {round} > r{round}; rm -f r$(({round}-3)); mv r$(({round}-1)) m{round} || true"
            ),
        );
        settle();
        let running = scenario.next_day().start(["run"]);
        thread::sleep(Duration::from_micros(chance.below(usual * 11 / 10)));
        running.kill_group();
        let killed = running.answer();
        let context = format!("round {round}, {}", killed.stderr);
        let last = *sequences(&scenario).last().unwrap();
        if last != looks.last().unwrap().0 {
            looks.push((last, look(&scenario.path("site"))));
        }
        shell(&scenario.path("site"), &format!("echo again {round} > changes; echo x >> group_a"));
        // A run that was killed in the moment between its commit and keeping its scans has lost them: a full, and told.
        let answer = run(&scenario);
        let told = answer.code == 3 && answer.said().contains("taken whole");
        assert!(answer.code == 0 || told, "{context}\n{answer:?}");
        looks.push((*sequences(&scenario).last().unwrap(), look(&scenario.path("site"))));
        for (sequence, wanted) in looks.iter().filter(|(sequence, _)| sequences(&scenario).contains(sequence))
        {
            same(&restored(&scenario, &sequence.to_string(), "site", "site"), wanted, &context);
        }
    }
    let all = levels(&scenario, "store");
    assert!(all.starts_with('f') && !all.contains("ddddd") && !all.contains("iiiii"), "{all}");
    scenario.plan(["verify", "--all", "--deep"]).status(0);
}

/// An archive that is done while another store's waits for its program, and a kill meanwhile.
#[test]
fn a_run_that_is_killed_after_a_commit_is_followed_by_the_next_of_the_cycle() {
    for base in ["full", "previous"] {
        let slow = "store other: dir {\n  path = \"other\"\n}\n\nsource slow: command {\n  \
             run = [\"sh\", \"-c\", \"test -e go || sleep 91; echo x\"]\n  as  = \"slow.txt\"\n}\n\n\
             archive slow {\n  from = [slow]\n  to   = [other]\n}\n\nlimits {\n  jobs = 4\n}\n\n";
        let scenario = world(&plan("", &format!("{slow}cycle {{ incrementals = 4, base = {base} }}")));
        shell(&scenario.path("site"), "mkdir ../other");
        let running = scenario.next_day().start(["run"]);
        wait_for("the commit", || {
            let manifests = fs::read_dir(scenario.path("store/.backplan/p/manifests"));
            manifests.is_ok_and(|found| {
                found.flatten().any(|file| file.path().extension().is_some_and(|e| e == "yaml"))
            })
        });
        // It keeps its scans at once, not at its end, which never comes.
        thread::sleep(Duration::from_millis(400));
        running.kill_group();
        running.answer();
        shell(&scenario.path("site"), "touch ../go; echo later > changes");
        let answer = run(&scenario);
        assert!(!answer.said().contains("taken whole"), "{answer:?}");
        answer.status(0);
        assert_ne!(level(&scenario, "store", 2), "full");
        same(&restored(&scenario, "2", "site", "site"), &look(&scenario.path("site")), base);
    }
}

#[test]
fn killed_in_a_cycle_of_differentials() {
    kill_again_and_again("", "full", 0xc1c1_0001);
}

#[test]
fn killed_in_a_cycle_of_incrementals() {
    kill_again_and_again("", "previous", 0xc1c1_0002);
}

#[test]
fn killed_in_a_cycle_of_whole_archives() {
    kill_again_and_again("  self_contained = true\n", "full", 0xc1c1_0003);
}

#[test]
fn a_dry_run_shows_what_each_run_of_a_cycle_then_does() {
    for staging in ["", "staging {\n  path = \"staging\"\n}\n"] {
        let more =
            format!("{}\n\nkeep {{ last = 2 }}\n\n{staging}", "cycle { incrementals = 2, base = previous }");
        let text = plan("  name = \"${level()}_${time(\"%Y%m%d%H%M%S\")}.tar.gz\"\n", &more);
        let scenario = world(&text).file("staging/x", "");
        for change in &DAYS {
            settle();
            scenario.next_day();
            let shown = scenario.plan(["run", "--dry-run", "--format", "json"]).status(0).json();
            let before: Vec<_> = artefacts(&scenario.path("store"));
            let done = scenario.plan(["run", "--format", "json"]).status(0).json();
            let known =
                |run: &serde_json::Value| run.as_str().unwrap().rsplit_once('-').unwrap().0.to_owned();
            assert_eq!(known(&shown["run"]), known(&done["run"]));
            let effects = |json: &serde_json::Value| -> Vec<String> {
                let run = json["run"].as_str().unwrap().to_owned();
                let steps = json["steps"].as_array().unwrap().iter();
                let text = steps.map(|step| {
                    format!("{} {} {} {}", step["step"], step["reads"], step["writes"], step["deletes"])
                });
                text.map(|step| step.replace(&run, &known(&json["run"]))).collect()
            };
            assert_eq!(effects(&shown), effects(&done));
            assert_eq!(shown["archives"][0]["artefact"], done["archives"][0]["artefact"]);
            // What the prune was to delete is gone, and nothing else.
            let steps = shown["steps"].as_array().unwrap();
            let prune = steps.iter().find(|step| step["step"] == "prune/store").unwrap();
            let named: Vec<String> = prune["would_delete"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap().trim_start_matches("store:").to_owned())
                .collect();
            for path in before {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                assert_eq!(!path.exists(), named.contains(&name), "{name}: {named:?}");
            }
            shell(&scenario.path("site"), change);
        }
    }
}

#[test]
fn levels_with_times_of_their_own() {
    let schedule = "schedule {\n  full        = weekly on sun at 02:30\n  incremental = daily at 02:30\n}";
    let scenario = world(&plan("", schedule));
    // The first of the days is Friday, 2026-01-02.
    let mut looks = Vec::new();
    for day in 0..10 {
        run(&scenario).status(0);
        looks.push(look(&scenario.path("site")));
        shell(&scenario.path("site"), DAYS.get(day).copied().unwrap_or("true"));
    }
    assert_eq!(levels(&scenario, "store"), "fifiiiiiif");
    for (day, wanted) in looks.iter().enumerate() {
        let run = (day + 1).to_string();
        same(&restored(&scenario, &run, "site", "site"), wanted, &run);
    }
    // By hand at another hour: the lowest level.
    let mut command = scenario.command();
    assert!(command.env("BACKPLAN_NOW", "2026-01-11T14:00:00Z").arg("run").status().unwrap().success());
    assert_eq!(level(&scenario, "store", 11), "incremental");
}
