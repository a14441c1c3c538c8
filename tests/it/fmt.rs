//! `plan fmt`

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::scenario::Scenario;

const LOOSE: &str = "plan x\nstore   local : dir{ path=\"/b\" } # here\n";
const TIGHT: &str = "plan x\n\nstore local: dir {\n  path = \"/b\"\n} # here\n";

#[test]
fn rewrites_in_place_and_keeps_the_mode() {
    let scenario = Scenario::new().file("x.plan", LOOSE);
    fs::set_permissions(scenario.path("x.plan"), Permissions::from_mode(0o640)).unwrap();
    scenario.plan(["fmt"]).status(0).stdout("");
    let formatted = scenario.read("x.plan");
    assert_ne!(formatted, LOOSE);
    assert_eq!(fs::metadata(scenario.path("x.plan")).unwrap().permissions().mode() & 0o7777, 0o640);
    scenario.plan(["fmt", "--check"]).status(0).stdout("").stderr("");
    assert_eq!(fs::read_dir(scenario.path("")).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn check_shows_the_difference_and_writes_nothing() {
    let scenario = Scenario::new().file("x.plan", LOOSE);
    scenario.plan(["fmt", "--check"]).status(1).stdout_has("--- x.plan\n").stdout_has("-store   local");
    assert_eq!(scenario.read("x.plan"), LOOSE);
}

#[test]
fn a_stream_is_formatted_to_a_stream() {
    let scenario = Scenario::new();
    let once = scenario.plan_with(["fmt", "-"], LOOSE.as_bytes()).status(0).stdout;
    let twice = scenario.plan_with(["fmt", "-"], once.as_bytes()).status(0).stdout;
    assert_eq!(once, twice);
    assert!(once.contains("# here"), "{once}");
    scenario.plan_with(["fmt", "-"], b"\xff\xfe").status(1).stderr_has("cannot be read");
}

#[test]
fn what_cannot_be_read_is_left_alone_and_the_rest_goes_on() {
    let scenario = Scenario::new().file("a.plan", "plan x\nstore {{\n").file("b.plan", LOOSE);
    scenario.plan(["fmt", "a.plan", "b.plan"]).status(1).stderr_has("a.plan:2:");
    assert_eq!(scenario.read("a.plan"), "plan x\nstore {{\n");
    assert_ne!(scenario.read("b.plan"), LOOSE);
}

#[test]
fn folders_are_formatted_whole() {
    let scenario = Scenario::new().file("p/a.plan", LOOSE).file("p/q/b.plan", LOOSE);
    scenario.plan(["fmt", "p"]).status(0);
    scenario.plan(["fmt", "--check", "p"]).status(0);
}

#[test]
fn a_formatted_text_is_in_the_house_style() {
    let out = Scenario::new().plan_with(["fmt", "-"], LOOSE.as_bytes()).status(0).stdout;
    assert!(out == TIGHT || out.contains("store local: dir {"), "{out}");
}
