//! What the schedule asked for and nobody made: told by `status`, and not where it is being made.

use crate::scenario::{Answer, SITE, Scenario, plan, wait_for};

/// Runs the program at a moment.
fn at(scenario: &Scenario, moment: &str, words: &[&str]) -> Answer {
    scenario.plan_by(&["env", &format!("BACKPLAN_NOW={moment}")], words)
}

fn scheduled(sources: &str, schedule: &str) -> Scenario {
    let text = plan(&format!("{sources}\nschedule {{\n{schedule}\n}}\n"));
    Scenario::new().file("p.plan", text).file("site/a", "a").file("other/b", "b")
}

#[test]
fn a_level_is_missing_until_a_run_of_it_or_a_higher_one_was_made() {
    let scenario = scheduled(SITE, "  full = weekly on sun at 02:30\n  incremental = daily at 02:30");
    let run = |moment: &str, level: &str| {
        at(&scenario, moment, &["run", "--scheduled", "--level", level]).status(0);
    };
    run("2027-01-03T02:30:00Z", "full");
    at(&scenario, "2027-01-03T12:00:00Z", &["status"]).status(0);
    run("2027-01-04T02:30:00Z", "incremental");
    at(&scenario, "2027-01-04T12:00:00Z", &["status"]).status(0);
    // On Sunday the machine was off.
    run("2027-01-09T02:30:00Z", "incremental");
    run("2027-01-11T02:30:00Z", "incremental");
    let missing = "overdue: a full was due at 2027-01-10 02:30:00 +00:00";
    at(&scenario, "2027-01-11T12:00:00Z", &["status"]).status(3).stdout_has(missing);
    at(&scenario, "2027-01-11T12:00:00Z", &["status", "--due"]).status(3);
    run("2027-01-11T13:00:00Z", "full");
    at(&scenario, "2027-01-11T14:00:00Z", &["status"]).status(0);
    // What is higher makes up for what is lower.
    at(&scenario, "2027-01-12T12:00:00Z", &["status"])
        .status(3)
        .stdout_has("overdue: an incremental was due");
    run("2027-01-12T13:00:00Z", "full");
    at(&scenario, "2027-01-12T14:00:00Z", &["status"]).status(0);
}

#[test]
fn a_run_of_some_sources_is_none_of_the_others() {
    let sources = format!("{SITE}\nsource other: files {{\n  paths = [\"other\"]\n}}\n");
    let scenario = scheduled(&sources, "  run = daily at 02:30");
    scenario.write("p.plan", scenario.read("p.plan").replace("from = [site]", "from = all"));
    at(&scenario, "2027-01-03T02:30:00Z", &["run"]).status(0);
    at(&scenario, "2027-01-04T02:30:00Z", &["run", "--only", "other"]).status(0);
    let missing = "overdue: a run of `site` was due at 2027-01-04 02:30:00 +00:00";
    at(&scenario, "2027-01-04T12:00:00Z", &["status"]).status(3).stdout_has(missing);
    at(&scenario, "2027-01-04T13:00:00Z", &["run", "--only", "site"]).status(0);
    at(&scenario, "2027-01-04T14:00:00Z", &["status"]).status(0);
}

#[test]
fn a_run_that_is_under_way_is_not_overdue_before_the_next_moment() {
    let slow = "source site: command {\n  run = [\"sh\", \"-c\", \"echo x; [ ! -e slow ] || { touch reading; sleep 300; }\"]\n  as = \"x\"\n}\n\
        archive main {\n  from = [site]\n  to = [store]\n}\n";
    let scenario = scheduled(slow, "  run = daily at 02:30");
    scenario.next_day().plan(["run"]).status(0);
    scenario.write("slow", "");
    let running = scenario.next_day().start(["run"]);
    wait_for("the reading", || scenario.path("reading").exists());
    let under_way = "under way: a run, since 2026-01-03 02:30:00 +00:00";
    at(&scenario, "2026-01-03T12:00:00Z", &["status"]).status(0).stdout_has(under_way);
    at(&scenario, "2026-01-03T12:00:00Z", &["status", "--due"]).status(0);
    let late = at(&scenario, "2026-01-04T03:45:00Z", &["status"]).status(3);
    late.stdout_has("overdue: a run was due at 2026-01-03 02:30:00 +00:00").stdout_has(under_way);
    running.signal("TERM");
    running.answer().status(143);
    let stopped = at(&scenario, "2026-01-03T12:00:00Z", &["status"]).status(3);
    assert!(!stopped.stdout.contains("under way"), "{stopped:?}");
}

/// What starts runs by the clock on the wall starts one of `every 6h` an hour before its moment on that day.
#[test]
fn a_run_that_a_change_of_clocks_moved_is_the_one_that_was_due() {
    let scenario = scheduled(SITE, "  run = every 6h\n  zone = \"Europe/Berlin\"");
    for moment in ["2027-03-27T23:00:00Z", "2027-03-28T04:00:00Z"] {
        at(&scenario, moment, &["run"]).status(0);
    }
    at(&scenario, "2027-03-28T09:59:00Z", &["status"]).status(0);
    let late = at(&scenario, "2027-03-28T12:30:00Z", &["status"]).status(3);
    late.stdout_has("overdue: a run was due at 2027-03-28 11:00:00 +00:00");
    at(&scenario, "2027-03-28T12:31:00Z", &["run"]).status(0);
    // On other days an hour is an hour.
    at(&scenario, "2027-04-02T21:00:00Z", &["run"]).status(0);
    at(&scenario, "2027-04-02T23:30:00Z", &["status"]).status(3);
}
