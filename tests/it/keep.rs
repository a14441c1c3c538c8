//! `plan keep`: the calendar of what a plan keeps.

use std::fs;

use crate::prune::at;
use crate::scenario::{Scenario, plan};

const PLAN: &str = "\
plan site

store local: dir { path = \"/backup\" }
source site: files { paths = [\"/srv/site\"] }
archive site { from = [site], to = [local] }
cycle { incrementals = 3 }
schedule { run = daily at 02:30 }
keep { daily = 3, weekly = 2 }
";

#[test]
fn a_day_is_shown_with_every_reason() {
    let scenario = Scenario::new().file("site.plan", PLAN);
    let answer = scenario.plan(["keep", "--on", "2027-03-03"]).status(0).stderr("");
    let lines: Vec<&str> = answer.stdout.lines().collect();
    assert!(
        lines[1].starts_with("store `local` on 2027-03-03 23:59 +00:00 (times in UTC): "),
        "{}",
        answer.stdout
    );
    assert!(lines[0].starts_with("as if the plan had been followed since 2024-01-01"), "{}", lines[0]);
    assert!(lines[0].contains("store `local`: open `/backup`: No such file"), "{}", lines[0]);
    assert!(lines[2].trim_start().starts_with("2027-03-03 02:30"), "{}", answer.stdout);
    assert!(answer.stdout.contains("weekly 2027-W08"), "{}", answer.stdout);
    assert!(answer.stdout.contains("base of 2027-0"), "{}", answer.stdout);
    // The same day by the clock, and as a document.
    let today = scenario.env("BACKPLAN_NOW", "2027-03-03T23:59:00Z");
    assert_eq!(today.plan(["keep"]).status(0).stdout.lines().skip(2).collect::<Vec<_>>(), lines[2..]);
    let json = today.plan(["keep", "--format", "json"]).status(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let runs = json["stores"][0]["runs"].as_array().unwrap();
    assert_eq!(runs.len(), lines.len() - 2);
    assert_eq!(json["basis"]["of"], "plan");
    assert_eq!(runs.last().unwrap()["started"], "2027-03-03T02:30:00Z");
    assert!(runs.iter().all(|run| !run["reasons"].as_array().unwrap().is_empty()));
}

#[test]
fn days_tell_what_comes_and_goes() {
    let scenario = Scenario::new().file("site.plan", PLAN);
    let answer = scenario.plan(["keep", "--from", "2027-03-01", "--days", "8"]).status(0);
    let days: Vec<&str> = answer.stdout.lines().skip(3).collect();
    assert_eq!(days.len(), 8, "{}", answer.stdout);
    assert!(days[0].trim_start().starts_with("2027-03-01  "), "{}", answer.stdout);
    assert_eq!(days.iter().filter(|day| day.contains("  F  ")).count(), 2, "{}", answer.stdout);
}

#[test]
fn a_drawing_tells_levels_apart_without_colour() {
    let scenario = Scenario::new().file("site.plan", PLAN);
    scenario.plan(["keep", "--from", "2027-03-01", "--format", "svg", "-o", "keep.svg"]).status(0).stdout("");
    let drawing = fs::read_to_string(scenario.path("keep.svg")).unwrap();
    assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
    assert!(drawing.contains(">F</text>") && drawing.contains(">d</text>") && drawing.contains("url(#d)"));
}

/// Four stores, two of which keep the same.
fn stores() -> String {
    let mut text =
        PLAN.replace("daily = 3, weekly = 2", "last = 100").replace("to = [local]", "to = [local, a, b, c]");
    for (name, own) in [("a", ""), ("b", "\n  keep { last = 120 }"), ("c", "\n  keep { last = 130 }")] {
        text += &format!("store {name}: dir {{\n  path = \"{name}\"{own}\n}}\n");
    }
    text
}

#[test]
fn a_drawing_of_many_runs_can_be_seen_as_a_whole() {
    let scenario = Scenario::new().file("site.plan", stores());
    let drawing =
        scenario.plan(["keep", "--from", "2027-03-01", "--days", "60", "--format", "svg"]).status(0).stdout;
    let height: f64 = drawing.split("height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    assert!(height < 1500.0, "{height}");
    assert_eq!(drawing.matches("<g><title>").count(), 161 + 181 + 191, "every run, those of two alike once");
    assert!(drawing.contains(">stores a, local</text>") && drawing.contains(">store b</text>"));
    // Words that are there do not lie upon one another.
    let lines = drawing.lines().filter(|line| line.starts_with("<g>"));
    let words: Vec<f64> = lines
        .filter_map(|line| line.split("<text x=\"10\" y=\"").nth(1)?.split('"').next()?.parse().ok())
        .collect();
    assert!(words.len() > 30 && words.windows(2).all(|two| two[1] - two[0] >= 12.9), "{words:?}");
}

#[test]
fn a_page_has_the_calendar_and_needs_nothing_else() {
    let scenario = Scenario::new().file("site.plan", PLAN);
    let page = ["keep", "--from", "2027-03-01", "--format", "html"];
    scenario.plan(page.into_iter().chain(["-o", "keep.html"])).status(0).stdout("");
    let page = scenario.read("keep.html");
    assert!(
        page.starts_with("<!doctype html>")
            && page.contains("prefers-color-scheme:dark")
            && page.contains("@media print")
    );
    assert!(!page.contains("<script") && !page.contains("http") && !page.contains("url("));
    for part in [
        "What plan site keeps",
        "from 2027-03-01 to 2027-04-01",
        "<caption>2027-03</caption>",
        // Of the first days differentials are gone by the end, of the last ones not.
        "<b><s>d</s></b>",
        "<td class=\"has\">31<b>",
        "there until",
        "as if the plan had been followed",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let four = Scenario::new().file("site.plan", stores());
    let page = four.plan(["keep", "--from", "2027-03-01", "--format", "html"]).status(0).stdout;
    assert_eq!((page.matches("<h2>").count(), page.matches("<h2>stores a, local</h2>").count()), (3, 1));
}

#[test]
fn days_begin_where_midnight_is_skipped() {
    let plan = PLAN
        .replace("daily at 02:30", "\"30 0 * * *\", zone = \"America/Havana\"")
        .replace("cycle { incrementals = 3 }\n", "")
        .replace("daily = 3, weekly = 2", "last = 5");
    let scenario = Scenario::new().file("site.plan", &plan);
    let days = |from: &str| -> Vec<String> {
        let answer = scenario.plan(["keep", "--from", from, "--days", "5"]).status(0);
        answer
            .stdout
            .lines()
            .skip(3)
            .map(|line| line.split_whitespace().take(5).collect::<Vec<_>>().join(" "))
            .collect()
    };
    let expected = [
        "2027-03-12 F F 2027-03-07 5",
        "2027-03-13 F F 2027-03-08 5",
        "2027-03-14 F F 2027-03-09 5",
        "2027-03-15 F F 2027-03-10 5",
        "2027-03-16 F F 2027-03-11 5",
    ];
    assert_eq!(days("2027-03-12"), expected);
    let on =
        |format: &str| scenario.plan(["keep", "--on", "2027-03-14", "--format", format]).status(0).stdout;
    assert!(
        on("text").contains("\nstore `local` on 2027-03-14 23:59 -04:00 (times in America/Havana): "),
        "{}",
        on("text")
    );
    assert!(on("svg").contains(">times in America/Havana</text>"));
    scenario.plan(["keep", "--days", "2"]).status(0).stdout_has("i incremental; days in America/Havana\n");
    assert_eq!(days("2027-03-14")[..3], expected[2..]);
}

#[test]
fn a_drawing_of_years_says_which() {
    let scenario = Scenario::new().file("site.plan", PLAN);
    let years = ["keep", "--from", "2027-12-01", "--days", "800", "--format", "svg"];
    let drawing = scenario.plan(years).status(0).stdout;
    for year in ["2027", "2028", "2029", "2030"] {
        assert_eq!(drawing.matches(&format!(")\">{year}-")).count(), 1, "{year}: {drawing}");
    }
}

#[test]
fn what_cannot_be_shown_is_told() {
    let unscheduled = PLAN.replace("schedule { run = daily at 02:30 }\n", "");
    let scenario = Scenario::new().file("site.plan", &unscheduled);
    scenario.plan(["keep"]).status(2).stdout("").stderr_has("has no schedule");
    let scenario = Scenario::new().file("site.plan", PLAN);
    scenario.plan(["keep", "--store", "nas"]).status(2).stderr_has("its stores are `local`");
    scenario.plan(["keep", "--on", "soon"]).status(2).stderr_has("`soon` is not a time");
    scenario.plan(["keep", "--days", "0"]).status(2);
    scenario
        .plan(["keep", "-o", "/none/here", "--format", "svg"])
        .status(1)
        .stderr_has("could not be written");
}

#[test]
fn what_is_kept_for_longer_than_the_days_that_are_shown_is_all_there() {
    let kept = [
        ("schedule { run = monthly on 1 at 04:00 }\nkeep { last = 60 }", "60 full", "until 2027-07-01 04:00"),
        ("schedule { run = weekly on sun at 03:00 }\nkeep { daily = 365 }", "365 full", "until 2027-06-20"),
        ("schedule { run = daily at 03:00 }\nkeep { yearly = 30 }", "30 full", "until 2028-01-01 03:00"),
        (
            "schedule { full = monthly on 1 at 04:00, differential = daily at 03:00 }\nkeep { cycles = 30 }",
            "30 full, ",
            "until 2027-07-01",
        ),
    ];
    for (rules, count, oldest) in kept {
        let head = PLAN.split("cycle").next().unwrap();
        let scenario = Scenario::new().file("site.plan", format!("{head}{rules}\n"));
        let answer = scenario.plan(["keep", "--on", "2027-06-15"]).stdout;
        assert!(answer.lines().nth(1).unwrap().contains(count), "{rules}: {answer}");
        assert!(answer.lines().last().unwrap().contains(oldest), "{rules}: {answer}");
    }
    // Days far from the first are played as well.
    let scenario = Scenario::new().file("site.plan", PLAN);
    let answer = scenario.plan(["keep", "--from", "2027-03-01", "--days", "3000"]).stdout;
    assert!(answer.lines().skip(3).all(|day| day.contains('F') || day.contains('d')), "{answer}");
}

#[test]
fn what_the_stores_hold_is_played_on_to_what_is_there_then() {
    let plan = PLAN
        .replace("/backup", "backup")
        .replace("\"/srv/site\"", "\"srv\"")
        .replace("incrementals = 3", "incrementals = 2");
    let scenario = Scenario::new().file("site.plan", &plan).file("srv/page", "page");
    fs::create_dir(scenario.path("backup")).unwrap();
    let run = |day: &str| {
        fs::write(scenario.path("srv/page"), day).unwrap();
        let time = format!("2027-{day}T02:30:00Z");
        at(&scenario, &time, &["run"]).status(0);
    };
    run("03-01");
    run("03-02");
    let starts = |time: &str, args: &[&str]| -> Vec<(String, String)> {
        let mut all = vec!["keep", "--format", "json"];
        all.extend(args);
        let answer: serde_json::Value =
            serde_json::from_str(&at(&scenario, time, &all).status(0).stdout).unwrap();
        assert_eq!(answer["basis"]["of"], "stores");
        let runs = answer["stores"][0]["runs"].as_array().unwrap();
        runs.iter()
            .map(|run| {
                (run["started"].as_str().unwrap().to_owned(), run["level"].as_str().unwrap().to_owned())
            })
            .collect()
    };
    let now = "2027-03-02T12:00:00Z";
    // What will be there on each of ten days, told beforehand.
    let days = ["03", "04", "05", "06", "07", "08", "09", "10", "11", "12"];
    let foretold: Vec<_> = days.map(|day| starts(now, &["--on", &format!("2027-03-{day}")])).into();
    assert_eq!(
        foretold[0].iter().map(|run| run.1.as_str()).collect::<Vec<_>>(),
        ["full", "differential", "differential"]
    );
    at(&scenario, now, &["keep"]).stdout_has("from what the stores hold now");
    at(&scenario, now, &["keep", "--settled"]).stdout_has("as `--settled` asks");
    at(&scenario, now, &["keep", "--on", "2027-02-20"]).stdout_has("do not tell what was deleted");
    for (day, foretold) in days.iter().zip(foretold) {
        run(&format!("03-{day}"));
        let there: serde_json::Value = serde_json::from_str(
            &at(&scenario, &format!("2027-03-{day}T12:00:00Z"), &["list", "--format", "json"]).stdout,
        )
        .unwrap();
        let mut there: Vec<(String, String)> = there["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| {
                (run["started"].as_str().unwrap().to_owned(), run["level"].as_str().unwrap().to_owned())
            })
            .collect();
        there.sort();
        assert_eq!(there, foretold, "2027-03-{day}");
    }
}

/// A run looks at the stores before it has their leases, to know what it is to do, and again under them, before it deletes
/// anything; what only looks does so once.
#[test]
fn manifests_are_opened_no_more_often_than_there_is_need() {
    let rest = "source f: files {\n  paths = [\"a\"]\n}\n\narchive main {\n  from = [f]\n  to   = [store]\n}\n\n\
                keep {\n  last = 5\n}\n\nverify {\n  every   = 7d\n  restore = f\n  command = [\"true\"]\n}\n";
    let scenario = Scenario::new().file("a", "1").file("p.plan", plan(rest));
    for _ in 0..2 {
        scenario.next_day().plan(["run"]).status(0);
    }
    scenario.next_day();
    let opened = |args: &[&str]| {
        let way = ["strace", "-f", "-qq", "-o", "trace", "-e", "trace=openat,openat2"];
        scenario.plan_by(&way, args.iter().copied()).status(0);
        let trace = scenario.read("trace");
        trace.lines().filter(|line| line.contains("\"00000001-") && line.contains(".yaml\"")).count()
    };
    assert_eq!(opened(&["status"]), 1);
    assert_eq!(opened(&["prune", "--dry-run"]), 1);
    assert_eq!(opened(&["run", "--dry-run"]), 2);
    assert_eq!(opened(&["run"]), 2);
}
