//! Every run of a cycle is restored exactly as its day was, with the program and with stock tools.

use std::collections::BTreeMap;
use std::fs;

use crate::cycle_worlds::{DAYS, five, level, levels, look, plan, restored, run, same, world};
use crate::scenario::{Scenario, settle, shell};

type Look = BTreeMap<std::path::PathBuf, String>;

/// Ten days, and how the tree looked on each.
#[track_caller]
fn ten_days(archive: &str, base: &str) -> (Scenario, Vec<Look>) {
    let scenario = world(&plan(archive, &five(base)));
    let mut looks = Vec::new();
    for day in 0..10 {
        if day > 0 {
            shell(&scenario.path("site"), DAYS[day - 1]);
        }
        run(&scenario).status(0);
        looks.push(look(&scenario.path("site")));
    }
    (scenario, looks)
}

#[track_caller]
fn all_exact(scenario: &Scenario, looks: &[Look]) {
    for (day, wanted) in looks.iter().enumerate() {
        let run = (day + 1).to_string();
        same(&restored(scenario, &run, "site", "site"), wanted, &format!("run {run}"));
    }
}

#[test]
fn ten_days_of_differentials_restore_exactly() {
    let (scenario, looks) = ten_days("", "full");
    assert_eq!(levels(&scenario, "store"), "fddddfdddd");
    all_exact(&scenario, &looks);
    scenario.plan(["verify", "--all", "--deep"]).status(0);
}

#[test]
fn ten_days_of_incrementals_restore_exactly() {
    let (scenario, looks) = ten_days("", "previous");
    assert_eq!(levels(&scenario, "store"), "fiiiifiiii");
    all_exact(&scenario, &looks);
    scenario.plan(["verify", "--all", "--deep"]).status(0);
}

/// The artefacts that a run rests on by its manifest, oldest first, its own last.
fn chain(scenario: &Scenario, sequence: u32) -> Vec<String> {
    let listed = scenario.plan(["list", "--format", "json"]).json();
    let runs = listed["runs"].as_array().unwrap();
    let find = |start: &str| runs.iter().find(|run| run["run"].as_str().unwrap().starts_with(start)).unwrap();
    let own = find(&format!("{sequence:08}-"));
    let rests: Vec<&str> = own["rests_on"]
        .as_array()
        .map_or(Vec::new(), |all| all.iter().map(|run| run.as_str().unwrap()).collect());
    let artefact = |run: &serde_json::Value| run["artefacts"][0].as_str().unwrap().to_owned();
    let mut names: Vec<String> = rests.into_iter().map(|run| artefact(find(run))).collect();
    names.push(artefact(own));
    names
}

/// What is laid down by GNU tar alone, as `docs/artefact.md` says.
fn by_tar(scenario: &Scenario, artefacts: &[String]) -> Look {
    let out = scenario.path("tar");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).unwrap();
    for (number, artefact) in artefacts.iter().enumerate() {
        let name = format!("../store/{artefact}");
        if number > 0 {
            shell(&out, &format!("tar -xzf {name} -O .backplan/deleted | xargs -0 rm -rf --"));
        }
        shell(
            &out,
            &format!(
                "tar -P --xattrs --xattrs-include='*' --acls --same-owner -xpzf {name} 2>/dev/null; [ $? -lt 2 ]"
            ),
        );
    }
    look(&out.join("site/site"))
}

/// GNU tar keeps whole seconds.
fn whole_seconds(look: Look) -> Look {
    let cut = |text: String| match (text.find(" time "), text.find(" same as ")) {
        (Some(time), Some(twin)) => {
            let dot = text[time..].find('.').unwrap() + time;
            format!("{}{}", &text[..dot], &text[twin..])
        }
        _ => text,
    };
    look.into_iter().map(|(path, text)| (path, cut(text))).collect()
}

#[test]
fn ten_days_are_had_back_with_stock_tools() {
    for (archive, base) in [("", "full"), ("", "previous"), ("  self_contained = true\n", "full")] {
        let (scenario, looks) = ten_days(archive, base);
        for (day, wanted) in looks.into_iter().enumerate() {
            let sequence = u32::try_from(day + 1).unwrap();
            let mut artefacts = chain(&scenario, sequence);
            if !archive.is_empty() {
                assert_eq!(artefacts.len(), 1, "{artefacts:?}");
                artefacts = vec![artefacts.pop().unwrap()];
            }
            let context = format!("{archive}{base} run {sequence}: {artefacts:?}");
            same(&whole_seconds(by_tar(&scenario, &artefacts)), &whole_seconds(wanted), &context);
        }
    }
}

#[test]
fn ten_days_of_whole_archives_restore_exactly() {
    for base in ["full", "previous"] {
        let (scenario, looks) = ten_days("  self_contained = true\n", base);
        assert_eq!(levels(&scenario, "store"), if base == "full" { "fddddfdddd" } else { "fiiiifiiii" });
        all_exact(&scenario, &looks);
        scenario.plan(["verify", "--all", "--deep"]).status(0);
        // None rests on another: all but the last may go.
        shell(&scenario.path("store"), "ls *.tar.gz | head -n 9 | xargs rm");
        same(&restored(&scenario, "10", "site", "site"), &looks[9], "the last alone");
    }
}

#[test]
fn runs_on_demand_take_the_next_place_and_failed_runs_take_none() {
    let scenario = world(&plan("", &five("full")));
    let mut looks = Vec::new();
    for day in 0..4 {
        shell(&scenario.path("site"), &format!("echo {day} > changes"));
        run(&scenario).status(0);
        looks.push(look(&scenario.path("site")));
        if day == 1 {
            // A failed run leaves no manifest.
            fs::rename(scenario.path("site"), scenario.path("away")).unwrap();
            run(&scenario).status(1);
            fs::rename(scenario.path("away"), scenario.path("site")).unwrap();
        }
        if day == 2 {
            shell(&scenario.path("site"), "echo demand > changes");
            settle();
            // On the same day, a second later.
            let mut command = scenario.command();
            command.env("BACKPLAN_NOW", "2026-01-05T14:00:00Z").arg("run");
            assert!(command.status().unwrap().success());
            looks.push(look(&scenario.path("site")));
        }
    }
    assert_eq!(levels(&scenario, "store"), "fdddd");
    run(&scenario).status(0);
    assert_eq!(levels(&scenario, "store"), "fddddf");
    let listed = scenario.plan(["list", "--format", "json"]).json();
    let mut runs: Vec<String> = listed["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["run"].as_str().unwrap().to_owned())
        .collect();
    runs.sort();
    for (run, wanted) in runs.iter().zip(&looks) {
        same(&restored(&scenario, run, "site", "site"), wanted, run);
    }
}

#[test]
fn a_level_can_be_asked_for() {
    let scenario = world(&plan("", &five("full")));
    let mut looks = Vec::new();
    let asked = ["auto", "incremental", "differential", "incremental", "incremental", "full", "auto"];
    for (day, asked) in asked.iter().enumerate() {
        shell(&scenario.path("site"), DAYS[day]);
        settle();
        scenario.next_day().plan(["run", "--level", asked]).status(0);
        looks.push(look(&scenario.path("site")));
    }
    assert_eq!(levels(&scenario, "store"), "fidiifd");
    for (day, wanted) in looks.iter().enumerate() {
        same(
            &restored(&scenario, &(day + 1).to_string(), "site", "site"),
            wanted,
            &format!("run {}", day + 1),
        );
    }
    // With nothing to rest on, it is a full, and told.
    let scenario = world(&plan("", ""));
    scenario.next_day().plan(["run", "--level", "incremental"]).status(3).says("could rest on");
    assert_eq!(level(&scenario, "store", 1), "full");
    // And without any cycle, a level may still be asked for.
    shell(&scenario.path("site"), "echo more > more");
    settle();
    scenario.next_day().plan(["run", "--level", "incremental"]).status(0);
    assert_eq!(level(&scenario, "store", 2), "incremental");
    same(&restored(&scenario, "2", "site", "site"), &look(&scenario.path("site")), "on demand");
}
