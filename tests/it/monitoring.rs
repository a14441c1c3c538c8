//! Numbers for monitors, the rules and the dashboard that read them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use backplan_runtime::metrics::FAMILIES;

use crate::scenario::{Scenario, repository, shell};

const SITE: &str = "\
plan site

store near: dir {
  path = \"near\"
}

store far: dir {
  path    = \"far\"
  offsite = true
}

source site: files {
  paths = [\"site\", \"more\"]
}

archive main {
  from = all
  to   = [near, far]
}

schedule {
  run = daily at 02:30
}

objective {
  rpo    = 26h
  copies = 2
}

verify {
  every   = 7d
  restore = site
}
";

fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let words = text.split(|c: char| !word(c));
    words.filter(|word| word.starts_with("backplan_")).map(str::to_owned).collect()
}

fn value(numbers: &str, sample: &str) -> f64 {
    let line = numbers.lines().find_map(|line| line.strip_prefix(&format!("{sample} ")));
    line.unwrap_or_else(|| panic!("no {sample} in\n{numbers}")).parse().unwrap()
}

#[test]
fn numbers_say_how_plans_stand_and_prometheus_reads_them() {
    let scenario = Scenario::new().file("site.plan", SITE).file("site/a", "abcdef").file("more/b", "b");
    fs::create_dir(scenario.path("prom")).unwrap();
    scenario.next_day().plan(["run", "--metrics", "prom/site.prom"]).status(0);
    let numbers = scenario.read("prom/site.prom");
    let began = value(&numbers, "backplan_last_run_timestamp_seconds{plan=\"site\"}");
    assert_eq!(
        value(&numbers, "backplan_newest_backup_timestamp_seconds{plan=\"site\",source=\"site\"}"),
        began
    );
    assert_eq!(value(&numbers, "backplan_next_due_timestamp_seconds{plan=\"site\"}"), began + 86_400.0);
    for (sample, expected) in [
        ("backplan_up{plan=\"site\"}", 1.0),
        ("backplan_status_code{plan=\"site\"}", 0.0),
        ("backplan_last_run_outcome{plan=\"site\",outcome=\"done\"}", 1.0),
        ("backplan_last_run_outcome{plan=\"site\",outcome=\"failed\"}", 0.0),
        ("backplan_last_run_source_bytes{plan=\"site\"}", 7.0),
        ("backplan_newest_backup_copies{plan=\"site\",source=\"site\"}", 2.0),
        ("backplan_newest_backup_offsite_copies{plan=\"site\",source=\"site\"}", 1.0),
        ("backplan_objective_rpo_seconds{plan=\"site\",source=\"site\"}", 93_600.0),
        ("backplan_objective_met{plan=\"site\",objective=\"copies\",promised=\"2\",sources=\"site\"}", 1.0),
        ("backplan_rehearsal_passed{plan=\"site\",source=\"site\"}", 1.0),
        ("backplan_rehearsal_interval_seconds{plan=\"site\",source=\"site\"}", 604_800.0),
        ("backplan_store_runs{plan=\"site\",store=\"far\"}", 1.0),
    ] {
        assert_eq!(value(&numbers, sample), expected, "{sample}");
    }
    assert_eq!(fs::metadata(scenario.path("prom/site.prom")).unwrap().permissions().mode() & 0o777, 0o644);
    shell(&scenario.path("prom"), "promtool check metrics < site.prom");
    // A run that lacks something: written all the same, and the newest backup is the one before.
    fs::rename(scenario.path("more"), scenario.path("away")).unwrap();
    scenario.next_day().plan(["run", "--metrics", "prom/site.prom"]).status(1);
    let numbers = scenario.read("prom/site.prom");
    assert_eq!(value(&numbers, "backplan_last_run_outcome{plan=\"site\",outcome=\"failed\"}"), 1.0);
    assert_eq!(
        value(&numbers, "backplan_newest_backup_timestamp_seconds{plan=\"site\",source=\"site\"}"),
        began
    );
    // What cannot be written leaves the old file, and changes nothing of the run.
    fs::rename(scenario.path("away"), scenario.path("more")).unwrap();
    let told = scenario.next_day().plan(["run", "--metrics", "none/site.prom"]).status(3);
    told.stderr_has("none/site.prom` could not be written");
    let full = "mount -t tmpfs -o size=4k,mode=777 none \"$1\" && cp \"$2\" \"$1/site.prom\" && exec \"$3\" status --format prometheus --out \"$1/site.prom\"";
    let target = scenario.path("full");
    fs::create_dir(&target).unwrap();
    let (short, program) = (scenario.path("short"), env!("CARGO_BIN_EXE_plan"));
    fs::write(&short, "backplan_up{plan=\"site\"} 1\n").unwrap();
    let script = format!("{full}; true");
    let words = [
        "unshare",
        "-m",
        "sh",
        "-c",
        &script,
        "sh",
        target.to_str().unwrap(),
        short.to_str().unwrap(),
        program,
    ];
    let answer = scenario.other(&words);
    assert_eq!(answer.code, 1, "{answer:?}");
    answer.stderr_has("what stood there is as it was");
    let open = scenario.plan(["status", "site.plan", "--format", "openmetrics"]).status(0);
    open.stdout_has("# UNIT backplan_store_bytes bytes").stdout_has("# EOF");
    scenario.write("broken.plan", "plan broken\nstore");
    let both = scenario.plan(["status", "site.plan", "broken.plan", "--format", "prometheus"]).status(3);
    both.stdout_has("backplan_up{plan=\"broken\"} 0").stdout_has("backplan_up{plan=\"site\"} 1");
}

#[test]
fn rules_and_dashboard_read_what_is_printed_and_do_what_they_say() {
    let printed: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    for file in ["monitoring/alerts.yaml", "monitoring/alerts_test.yaml", "monitoring/dashboard.json"] {
        let text = fs::read_to_string(repository(file)).unwrap();
        let unknown: Vec<String> = named(&text).difference(&printed).cloned().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(repository("monitoring/dashboard.json")).unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    let tested = Command::new("promtool")
        .args(["test", "rules", "alerts_test.yaml"])
        .current_dir(repository("monitoring"))
        .output()
        .unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
}

#[test]
fn the_page_has_every_number() {
    let page = repository("docs/monitoring.md");
    let text = fs::read_to_string(&page).unwrap();
    let (head, table) = text.split_once(" -->\n\n").unwrap();
    let mut expected = "| number | says |\n|---|---|\n".to_owned();
    for family in FAMILIES {
        writeln!(expected, "| `{}` | {} |", family.name, family.help).unwrap();
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, format!("{head} -->\n\n{expected}")).unwrap();
        return;
    }
    assert!(table == expected, "docs/monitoring.md is old: UPDATE_DOCS=1 tests/run writes it anew");
}
