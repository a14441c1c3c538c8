//! One clock: what any command shows as a time can be typed back, wherever.

use crate::scenario::{Answer, SITE, Scenario, plan};

fn world() -> Scenario {
    let keep = format!("{SITE}\nkeep {{\n  last = 9\n}}\n\nschedule {{\n  run = daily at 02:30\n}}\n");
    let scenario = Scenario::new().file("p.plan", plan(&keep)).file("site/a", "0");
    for day in 1..=3 {
        scenario.write("site/a", day.to_string());
        scenario.next_day().plan(["run"]).status(0);
    }
    scenario
}

fn in_zone(scenario: &Scenario, zone: &str, args: &[&str]) -> Answer {
    scenario.plan_by(&["env", &format!("TZ={zone}")], args)
}

/// What `list` shows of each run: its number, and when it began.
fn listed(scenario: &Scenario, zone: &str) -> Vec<String> {
    let answer = in_zone(scenario, zone, &["list"]).status(0);
    let times = answer.stdout.lines().skip(1).map(|line| {
        let mut words = line.split_whitespace();
        words.next();
        words.by_ref().take(3).collect::<Vec<_>>().join(" ")
    });
    times.collect()
}

#[test]
fn a_time_that_is_listed_chooses_its_run_in_every_zone() {
    let scenario = world();
    let zones = ["UTC", "America/New_York", "Asia/Kolkata"];
    for zone in zones {
        let times = listed(&scenario, zone);
        assert_eq!(times.len(), 3, "{times:?}");
        for reader in zones {
            for (at, time) in times.iter().enumerate() {
                let answer =
                    in_zone(&scenario, reader, &["restore", "--dry-run", "--to", "out", "--at", time])
                        .status(0);
                let expected = format!("from run {:08}-", at + 1);
                assert!(answer.stderr.starts_with(&expected), "{zone} {reader} {time}: {answer:?}");
                // It is told with its time before anything is written, as the reader's clock shows it.
                let own = &listed(&scenario, reader)[at];
                assert!(answer.stderr.contains(&format!("which began at {own}\n")), "{answer:?}");
            }
        }
    }
    assert_eq!(listed(&scenario, "America/New_York")[0], "2026-01-01 21:30:00 -05:00");
    // Without its offset a time is one of the reader's clock, as the list of the same clock shows it.
    let run = |zone: &str, at: &str| {
        let answer = in_zone(&scenario, zone, &["restore", "--dry-run", "--to", "out", "--at", at]);
        answer.stderr.split('-').next().unwrap_or_default().to_owned()
    };
    assert_eq!(run("America/New_York", "2026-01-02 21:30"), "from run 00000002");
    assert_eq!(run("America/New_York", "2026-01-02 21:30 UTC"), "from run 00000001");
    assert_eq!(run("UTC", "2026-01-03 03:30 Europe/Berlin"), "from run 00000002");
    assert_eq!(run("UTC", "2026-01-03 03:29 Europe/Berlin"), "from run 00000001");
    assert_eq!(run("UTC", "2026-01-03T02:30:00Z"), "from run 00000002");
}

#[test]
fn every_command_shows_the_same_clock() {
    let scenario = world();
    let zone = "America/New_York";
    let began = "2026-01-03 21:30:00 -05:00";
    let said = |args: &[&str]| in_zone(&scenario, zone, args).said();
    for args in [
        &["list"][..],
        &["prune", "--dry-run"],
        &["restore", "--dry-run", "--to", "out"],
        &["why", "p.plan", "site/a"],
    ] {
        let said = said(args);
        assert!(said.contains(began), "{args:?}: {said}");
        assert!(!said.contains("UTC"), "{args:?}: {said}");
    }
    let status = said(&["status"]);
    assert!(status.contains("next due: 2026-01-04 21:30:00 -05:00"), "{status}");
    let ls = said(&["ls", "latest", "site/site/a"]);
    assert!(ls.contains(" -05:00 site/site/a") || ls.contains(" -04:00 site/site/a"), "{ls}");
    let early = said(&["restore", "--to", "out", "--at", "2026-01-01 00:00"]);
    assert!(
        early.contains("before 2026-01-01 00:00:00 -05:00")
            && early.contains("of 2026-01-01 21:30:00 -05:00"),
        "{early}"
    );
    // Programs get UTC.
    let listed = in_zone(&scenario, zone, &["list", "--format", "json"]).json();
    assert_eq!(listed["runs"][2]["started"], "2026-01-04T02:30:00Z");
    let why = in_zone(&scenario, zone, &["why", "p.plan", "site/a", "--format", "json"]).json();
    assert_eq!(why["backups"][0]["started"], "2026-01-04T02:30:00Z");
}

#[test]
fn a_time_that_is_none_or_two_is_refused() {
    let scenario = world();
    let at =
        |zone: &str, at: &str| in_zone(&scenario, zone, &["restore", "--to", "out", "--at", at]).status(2);
    at("Europe/Berlin", "2026-10-25 02:30")
        .stderr_has("both `2026-10-25 02:30:00 +02:00` and `2026-10-25 02:30:00 +01:00`");
    at("UTC", "2026-03-29 02:30 Europe/Berlin").stderr_has("clocks were set forward");
    at("UTC", "2026-03-29 02:30 Europe/Berln").stderr_has("no time zone `Europe/Berln`");
    at("UTC", "noon").stderr_has("`noon` is not a time").stderr_has("Europe/Berlin");
    assert!(!scenario.path("out").exists());
}
