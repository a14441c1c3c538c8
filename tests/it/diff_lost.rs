//! `plan diff`: losses in stores, logs, rehearsals and windows.

use crate::diff::{diff, has};
use crate::scenario::{Scenario, plan};

/// The second plan is the first with these texts replaced.
fn changed(text: &str, changes: &[(&str, &str)]) -> crate::scenario::Answer {
    let mut new = text.to_owned();
    for (old, with) in changes {
        assert!(new.contains(old), "{old}");
        new = new.replace(old, with);
    }
    diff(text, &new)
}

const KEYS: [&str; 2] = [
    "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
    "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg",
];

fn database() -> String {
    format!(
        "plan p
store near: dir {{ path = \"near\" }}
store far: dir {{ path = \"far\", offsite = true }}
source db: postgres {{ driver = basebackup }}
archive main {{ from = [db], to = [near, far] }}
wal db {{
  to      = [near, far]
  encrypt = [\"{}\"]
}}
verify {{ restore = db, every = 7d, query = \"select 1\", identity = env(\"KEY\") }}
window quiet {{ around = [db], enter = [\"true\"], leave = [\"true\"] }}
",
        KEYS[0]
    )
}

#[test]
fn what_a_log_loses_is_a_danger() {
    let text = database();
    has(&changed(&text, &[("  encrypt", "  ack     = any\n  encrypt")]), "danger", "copies_lost");
    let near = changed(&text, &[("  to      = [near, far]", "  to      = [near]")]);
    has(&near, "danger", "copies_lost");
    has(&near, "danger", "offsite_lost");
    has(&changed(&text, &[(KEYS[0], KEYS[1])]), "danger", "recipients_replaced");
    // A source under another name keeps its log.
    let renamed = changed(
        &text,
        &[
            ("source db", "source data"),
            ("[db]", "[data]"),
            ("wal db", "wal data"),
            ("restore = db", "restore = data"),
        ],
    );
    assert!(!renamed.stdout.contains("no longer archived"), "{}", renamed.stdout);
}

#[test]
fn weaker_rehearsals_and_windows_are_dangers() {
    let text = database();
    has(&changed(&text, &[("every = 7d", "every = 90d")]), "danger", "rehearsal_weaker");
    has(&changed(&text, &[(", every = 7d", "")]), "danger", "rehearsal_weaker");
    has(&changed(&text, &[(", query = \"select 1\"", "")]), "danger", "rehearsal_weaker");
    has(&changed(&text, &[(", leave = [\"true\"]", "")]), "danger", "window_weaker");
    has(&changed(&text, &[("enter = [\"true\"]", "enter = [\"false\"]")]), "change", "window_changed");
    has(
        &changed(&text, &[("path = \"near\"", "path = \"near\", absent = skip")]),
        "danger",
        "absence_untold",
    );
}

#[test]
fn a_window_an_archive_or_a_notification_under_another_name_is_the_same() {
    let text =
        format!("{}notify admin: command {{ run = [\"true\"], on = [failure, warning] }}\n", database());
    for (old, new, name, words) in [
        ("window quiet", "window still", "window_renamed", "window `quiet` is called `still` from now on"),
        ("archive main", "archive all_of_it", "archive_renamed", "it goes on where that one ended"),
        (
            "notify admin",
            "notify boss",
            "notify_renamed",
            "notification `admin` is called `boss` from now on",
        ),
    ] {
        let answer = changed(&text, &[(old, new)]);
        has(&answer, "change", name);
        crate::diff::has_no_danger(&answer);
        answer.stdout_has(words);
    }
    // Under a new name it is still held against what it was.
    let quieter = changed(&text, &[("notify admin", "notify boss"), ("[failure, warning]", "[failure]")]);
    has(&quieter, "danger", "warnings_untold");
    let weaker = changed(&text, &[("window quiet", "window still"), (", leave = [\"true\"]", "")]);
    has(&weaker, "danger", "window_removed");
    let bare =
        changed(&text, &[("archive main", "archive other"), ("[db], to = [near, far]", "[db], to = [near]")]);
    has(&bare, "danger", "copies_lost");
}

#[test]
fn rules_without_a_schedule_are_compared_themselves() {
    let text = plan(
        "source site: files { paths = [\"site\"] }\narchive main { from = all, to = [store] }\nkeep { last = 60, daily = 9 }\n",
    );
    let fewer = changed(&text, &[("last = 60, daily = 9", "last = 2")]);
    has(&fewer, "danger", "fewer_points");
    fewer.stdout_has("`last` 2 instead of 60, `daily` nothing instead of 9");
    has(&changed(&text, &[("last = 60", "last = 61")]), "better", "more_points");
}

#[test]
fn levels_and_chains_that_change_are_told() {
    let text = plan(
        "source site: files { paths = [\"site\"] }\narchive main { from = all, to = [store] }\n\
         schedule { run = daily at 02:30 }\ncycle { incrementals = 6 }\n",
    );
    let chains = changed(&text, &[("incrementals = 6", "incrementals = 6, base = previous")]);
    has(&chains, "change", "cycle_changed");
    let levels = "full = weekly on sun at 02:30, differential = daily at 03:30 }";
    let by_level = changed(&text, &[("run = daily at 02:30 }", levels), ("cycle { incrementals = 6 }", "")]);
    has(&by_level, "change", "schedule_changed");
    let missed = changed(&text, &[("02:30 }", "02:30, catch_up = false }")]);
    has(&missed, "danger", "catch_up_ends");
}

#[test]
fn a_store_under_another_name_is_the_same_store() {
    let text = plan(
        "source site: files { paths = [\"site\"] }\narchive main { from = all, to = [store] }\nkeep { last = 60 }\n",
    );
    let scenario = Scenario::new().file("p.plan", &text).file("site/a", "a");
    for _ in 0..4 {
        scenario.next_day().plan(["run"]).status(0);
    }
    let new = text
        .replace("store store:", "store close:")
        .replace("[store]", "[close]")
        .replace("last = 60", "last = 1");
    scenario.write("new.plan", &new);
    let answer = scenario.plan(["diff", "p.plan", "new.plan", "--format", "json"]).status(2);
    has(&answer, "change", "store_renamed");
    has(&answer, "danger", "backups_deleted");
    let answer = answer.stdout_has("delete 3 of 4 backups from store `close`");
    assert!(!answer.stdout.contains("no longer counted"), "{}", answer.stdout);
    // What is said is what is done.
    scenario.write("p.plan", &new);
    let pruned = scenario.plan(["prune", "p.plan", "--dry-run", "--format", "json"]).json();
    let runs = pruned["stores"][0]["runs"].as_array().unwrap();
    assert_eq!(runs.iter().filter(|run| run["stays"] == false).count(), 3, "{pruned:#}");
}
