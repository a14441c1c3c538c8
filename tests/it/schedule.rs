//! What starts runs: held against systemd itself.

use std::process::Command;

use backplan_compiler::due;
use backplan_compiler::model::When;
use jiff::Timestamp;

use crate::scenario::{Scenario, plan};

const SITE: &str =
    "source site: files {\n  paths = [\"site\"]\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n\n";

fn world(schedule: &str) -> Scenario {
    Scenario::new()
        .file("site/a", "x")
        .file("p.plan", plan(&format!("{SITE}schedule {{\n  {schedule}\n}}\n")))
}

/// The lines behind `OnCalendar=`.
fn calendars(units: &str) -> Vec<String> {
    units.lines().filter_map(|line| line.strip_prefix("OnCalendar=")).map(str::to_owned).collect()
}

/// The next moments, as systemd finds them.
fn elapses(calendar: &str, base: &str, count: usize) -> Vec<Timestamp> {
    let mut command = Command::new("systemd-analyze");
    command.env("TZ", "UTC").args([
        "calendar",
        &format!("--iterations={count}"),
        &format!("--base-time={base}"),
        calendar,
    ]);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{calendar}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let moments = text.lines().filter_map(|line| {
        let (what, when) = line.trim().split_once(": ")?;
        let when = (what == "Next elapse" || what.starts_with("Iter.")).then_some(when)?;
        let (_, when) = when.split_once(' ')?;
        Some(when.strip_suffix(" UTC")?.replace(' ', "T") + "Z")
    });
    moments.map(|text| text.parse().unwrap()).collect()
}

#[test]
fn timers_fire_when_the_plan_says() {
    // Words of the plan, the same as it is understood, and whether changes of clocks make a difference that is told.
    let whens = [
        ("\"30 2 * * *\"", When::Cron("30 2 * * *".into()), true),
        ("\"0 5 * * *\"", When::Cron("0 5 * * *".into()), false),
        ("every 30m", When::Every(1800), true),
        ("every 90m", When::Every(5400), true),
        ("every 7h", When::Every(25_200), true),
        ("weekly on sun at 03:00", When::Cron("0 3 * * 0".into()), false),
        ("monthly on 31 at 12:00", When::Cron("0 12 31 * *".into()), false),
        ("\"30 6 1,15 * sun\"", When::Cron("30 6 1,15 * sun".into()), false),
        ("\"5-59/20 8-10 * feb-apr mon-fri\"", When::Cron("5-59/20 8-10 * feb-apr mon-fri".into()), false),
        ("\"15,45 0 12 * * *\"", When::Cron("15,45 0 12 * * *".into()), false),
    ];
    let (base, count) = ("2027-01-14 12:00:00", 40);
    let from: Timestamp = "2027-01-14T12:00:00Z".parse().unwrap();
    for (words, when, is_told) in whens {
        let scenario = world(&format!("run = {words}, zone = \"Europe/Berlin\""));
        let units = scenario.plan(["schedule", "--for", "systemd"]).status(0).said();
        let mut fires: Vec<Timestamp> =
            calendars(&units).iter().flat_map(|calendar| elapses(calendar, base, count)).collect();
        fires.sort();
        fires.dedup();
        fires.truncate(count);
        let from = from.to_zoned(due::zone("Europe/Berlin").unwrap());
        let due: Vec<Timestamp> = due::moments(&when, &from)
            .map(|at| at.timestamp())
            .filter(|at| *at > from.timestamp())
            .take(fires.len())
            .collect();
        // Up to the day on which clocks change: from there on what differs is told.
        let change: Timestamp = "2027-03-27T00:00:00Z".parse().unwrap();
        let before = |all: &[Timestamp]| all.iter().copied().filter(|at| *at < change).collect::<Vec<_>>();
        assert_eq!(before(&fires), before(&due), "{words}");
        assert!(!before(&due).is_empty(), "{words}");
        assert_eq!(units.contains("# Where clocks change"), is_told, "{words}: {units}");
        if !is_told {
            assert_eq!(fires, due, "{words}");
        }
    }
    // What it says is so: systemd does not start what the clock on the wall skips.
    let units = world("run = daily at 02:30, zone = \"Europe/Berlin\"")
        .plan(["schedule", "--for", "systemd"])
        .status(0);
    units.stdout_has("first on 2027-03-28 at 0");
    let fires = elapses("*-*-* 02:30:00 Europe/Berlin", "2027-03-27 12:00:00", 1);
    assert_eq!(fires, ["2027-03-29T00:30:00Z".parse::<Timestamp>().unwrap()]);
}

#[test]
fn units_are_good_ones_and_what_somebody_changed_stays() {
    let scenario = world("full = weekly on sun at 02:30, incremental = daily at 02:30, jitter = 5m");
    std::fs::create_dir(scenario.path("units")).unwrap();
    let write = || scenario.plan(["schedule", "p.plan", "--for", "systemd", "--out", "units"]);
    write().status(0).stderr_has("enable --now backplan-p-full.timer backplan-p-incremental.timer");
    let mut names: Vec<String> = std::fs::read_dir(scenario.path("units"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let of = |level: &str| [format!("backplan-p-{level}.service"), format!("backplan-p-{level}.timer")];
    assert_eq!(names, [of("full"), of("incremental")].concat());
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(names.iter().map(|name| scenario.path("units").join(name)));
    let verified = verify.output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(!said.contains("backplan-p"), "{said}");
    write().status(0).stderr_has("unchanged");
    // A change of the plan replaces what is as it was written.
    scenario.write("p.plan", scenario.read("p.plan").replace("jitter = 5m", "jitter = 9m"));
    write().status(0).stderr_has("replaced");
    assert!(scenario.read("units/backplan-p-full.timer").contains("RandomizedDelaySec=540s"));
    let mine = scenario.read("units/backplan-p-full.timer").replace("540s", "1s");
    scenario.write("units/backplan-p-full.timer", &mine);
    scenario.write("p.plan", scenario.read("p.plan").replace("jitter = 9m", "jitter = 5m"));
    write().status(1).stderr_has("was written, or changed, by somebody");
    assert_eq!(scenario.read("units/backplan-p-full.timer"), mine);
    assert!(scenario.read("units/backplan-p-incremental.timer").contains("540s"), "nothing was written");

    // What the sandbox lets be written: stores, and where a database's locks are.
    let database = "source app: sqlite {\n  path = \"data/app.db\"\n}\n\nschedule {\n  run = hourly\n}\n";
    let sandboxed = Scenario::new().file("site/a", "x").file("p.plan", plan(&format!("{SITE}{database}")));
    let unit = sandboxed.plan(["schedule", "--for", "systemd"]).status(0).stdout_has("ProtectSystem=strict");
    for path in ["store", "data"] {
        let is_it =
            |line: &str| line.starts_with("ReadWritePaths=-") && line.ends_with(&format!("/work/{path}"));
        assert!(unit.said().lines().any(is_it), "{path}: {}", unit.said());
    }

    // On Sunday the full alone is made, whichever is started.
    let scenario = scenario.env("BACKPLAN_NOW", "2027-01-10T02:33:00Z");
    let run = |level: &str| scenario.plan(["run", "--quiet", "--scheduled", "--level", level, "p.plan"]);
    run("incremental").status(0).stdout("").stderr("");
    run("full").status(0).stdout("").stderr("");
    let scenario = scenario.env("BACKPLAN_NOW", "2027-01-11T02:31:00Z");
    scenario.plan(["run", "--quiet", "--scheduled", "--level", "incremental", "p.plan"]).status(0).stdout("");
    let runs = scenario.plan(["list", "p.plan", "--format", "json"]).status(0).said();
    assert_eq!((runs.matches("\"full\"").count(), runs.matches("\"incremental\"").count()), (1, 1), "{runs}");
}

#[test]
fn what_cron_cannot_do_is_refused_with_what_it_can() {
    let lines = |schedule: &str| {
        let scenario = world(schedule).env("TZ", "Europe/Berlin");
        scenario.plan(["schedule", "--for", "cron"])
    };
    let berlin = lines("run = \"30 2 * * mon\", zone = \"Europe/Berlin\"").status(0);
    let line =
        berlin.said().lines().find(|line| line.starts_with("30 2 * * 1 root ")).map(str::to_owned).unwrap();
    assert!(line.contains(" run --quiet ") && line.ends_with("p.plan"), "{line}");
    lines("run = every 90m, zone = \"Europe/Berlin\"")
        .status(0)
        .stdout_has("30 1,4,7,10,13,16,19,22 * * * root");
    lines("run = daily at 02:30, zone = \"Asia/Tokyo\"")
        .status(1)
        .stderr_has("cron by the machine's")
        .stderr_has("`zone = \"Europe/Berlin\"`");
    lines("run = hourly, zone = \"Europe/Paris\"").status(0).stdout_has("0 * * * * root");
    lines("run = \"30 0 2 * * *\", zone = \"Europe/Berlin\"").status(1).stderr_has("full minutes");
    lines("run = \"0 0 L * *\", zone = \"Europe/Berlin\"")
        .status(1)
        .stderr_has("`L` is not understood by others");
    world("run = hourly")
        .file("bare.plan", plan(SITE))
        .plan(["schedule", "bare.plan", "--for", "cron"])
        .status(1)
        .stderr_has("has no schedule");
}
