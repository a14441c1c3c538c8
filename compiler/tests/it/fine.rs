//! Plans that look fine and are not, and plans that look wrong and are fine.

use backplan_compiler::finding::Severity;

use crate::common::{compile_files, shown};

/// What is found in these items beside a store, a source of files and an archive of it; each as `severity name`.
fn found(items: &str) -> Vec<String> {
    let text = format!(
        "plan t\nstore local: dir {{ path = \"/b\" }}\nsource site: files {{ paths = [\"/s\"] }}\n\
         archive a {{ from = [site], to = [local] }}\n{items}\n"
    );
    found_in(&text)
}

/// The same beside a cluster, whose archive goes to two stores, one of them offsite.
fn found_with_log(items: &str) -> Vec<String> {
    let text = format!(
        "plan t\nstore local: dir {{ path = \"/b\" }}\nstore far: dir {{ path = \"/f\", offsite = true }}\n\
         source db: postgres {{ driver = basebackup }}\narchive a {{ from = [db], to = [local, far] }}\n{items}\n"
    );
    found_in(&text)
}

fn found_in(text: &str) -> Vec<String> {
    let (set, compiled) = compile_files(&[("t.plan", text)]);
    assert!(compiled.model.is_some(), "{text}\n{}", shown(&set, &compiled.findings));
    let told = |severity: Severity| format!("{severity:?}").to_lowercase();
    compiled.findings.iter().map(|finding| format!("{} {}", told(finding.severity), finding.name)).collect()
}

const NONE: [&str; 0] = [];
const DAILY: &str = "schedule { run = daily at 02:30 }\n";

#[test]
fn a_log_that_is_shorter_than_what_is_promised() {
    let log = |wal: &str, keep: &str| {
        let lost = |found: &String| found.contains("moment_lost");
        let items = format!("{DAILY}wal db {{ to = [local, far]{wal} }}\nkeep {{ {keep} }}");
        found_with_log(&items).iter().filter(|found| lost(found)).count()
    };
    assert_eq!(log(", keep = 7d", "last = 3, wal = 30d"), 1);
    assert_eq!(log(", keep = 30d", "last = 3, wal = 30d"), 0);
    assert_eq!(log(", keep = 40d", "last = 3, wal = 30d"), 0);
    assert_eq!(log("", "last = 3, wal = 30d"), 0);
    // Another log keeps what was promised: the short one is an exception.
    let two = "source other: postgres { driver = basebackup, port = 5433 }\narchive b { from = [other], to = [local] }\n\
               wal other { to = [local] }\nwal db { to = [local, far], keep = 7d }\nkeep { last = 3, wal = 30d }\n";
    assert!(!found_with_log(&format!("{DAILY}{two}")).contains(&"error moment_lost".to_owned()));
}

#[test]
fn a_repository_of_its_own_that_keeps_less_than_is_promised() {
    let apart = |keep: &str| {
        found_in(&format!(
            "plan t\nstore local: dir {{ path = \"/b\" }}\nsource db: postgres {{ driver = pgbackrest, stanza = \"m\" }}\n\
             separate db {{ to = [local], keep {{ {keep} }} }}\n{DAILY}keep {{ wal = 30d }}\n"
        ))
    };
    assert_eq!(apart("full = 1"), ["error moment_lost"]);
    assert_eq!(apart("full = 1, wal = 30d"), NONE);
}

#[test]
fn a_query_of_what_is_no_database() {
    let query = "verify { every = 7d, restore = site, query = \"select 1\" }";
    assert_eq!(found(&format!("{DAILY}{query}")), ["error query_of_no_database"]);
    let program = "source out: command { run = [\"date\"], as = \"date\" }\narchive o { from = [out], to = [local] }\n\
                   verify { every = 7d, restore = out, query = \"select 1\" }";
    assert_eq!(found(&format!("{DAILY}{program}")), ["error query_of_no_database"]);
    let database = "source lite: sqlite { path = \"/x.db\" }\narchive o { from = [lite], to = [local] }\n\
                    verify { every = 7d, restore = lite, query = \"select 1\" }";
    assert_eq!(found(&format!("{DAILY}{database}")), NONE);
}

#[test]
fn a_promise_that_leaves_a_run_no_time() {
    let rpo =
        |rpo: &str, schedule: &str| found(&format!("schedule {{ {schedule} }}\nobjective {{ rpo = {rpo} }}"));
    assert_eq!(rpo("24h", "run = daily at 02:30"), ["warning rpo_tight"]);
    assert_eq!(rpo("23h", "run = daily at 02:30"), ["error rpo_missed"]);
    assert_eq!(rpo("25h", "run = daily at 02:30"), NONE);
    assert_eq!(rpo("25h", "run = daily at 02:30, jitter = 1h"), ["warning rpo_tight"]);
    assert_eq!(rpo("24h", "run = daily at 04:30, zone = \"Europe/Berlin\""), ["warning rpo_tight"]);
    assert_eq!(rpo("25h", "run = daily at 04:30, zone = \"Europe/Berlin\""), ["note rpo_clock_change"]);
    assert_eq!(rpo("26h", "run = daily at 04:30, zone = \"Europe/Berlin\""), NONE);
}

#[test]
fn a_log_that_has_not_the_copies() {
    let with = |wal: &str, objective: &str| {
        found_with_log(&format!("wal db {{ {wal} }}\nobjective {{ {objective} }}"))
    };
    assert_eq!(with("to = [local]", "copies = 2"), ["warning log_copies"]);
    assert_eq!(with("to = [local]", "offsite = 1"), ["warning log_copies"]);
    assert_eq!(with("to = [far]", "offsite = 1"), NONE);
    assert_eq!(with("to = [local, far], ack = any", "copies = 2"), ["warning log_copies"]);
    assert_eq!(with("to = [local, far], ack = any", "offsite = 1"), ["warning log_copies"]);
    assert_eq!(with("to = [local, far], ack = any", "copies = 1"), NONE);
    assert_eq!(with("to = [local, far]", "copies = 2, offsite = 1"), NONE);
}

#[test]
fn a_copy_that_is_missing_without_a_word() {
    let with = |absent: &str, objective: &str| {
        found_in(&format!(
            "plan t\nstore local: dir {{ path = \"/b\" }}\nstore far: dir {{ path = \"/f\", offsite = true, absent = {absent} }}\n\
             source site: files {{ paths = [\"/s\"] }}\narchive a {{ from = [site], to = [local, far] }}\n\
             objective {{ {objective} }}\n"
        ))
    };
    assert_eq!(with("skip", "offsite = 1"), ["warning silent_copy"]);
    assert_eq!(with("skip", "copies = 2"), ["warning silent_copy"]);
    assert_eq!(with("skip", "copies = 1"), NONE);
    assert_eq!(with("warn", "copies = 2, offsite = 1"), NONE);
}

#[test]
fn a_store_that_cannot_be_left_out() {
    let with = |to: &str, wal: &str| {
        found_in(&format!(
            "plan t\nstore local: dir {{ path = \"/b\" }}\nstore usb: dir {{ path = \"/f\", absent = skip }}\n\
             store disk: dir {{ path = \"/g\", absent = skip }}\n\
             source db: postgres {{ driver = basebackup }}\nwal db {{ to = {wal} }}\n\
             archive a {{ from = [db], to = [{to}] }}\narchive b {{ from = [db], to = [usb, local, disk] }}\n"
        ))
    };
    const NOTE: &str = "note needed_store";
    assert_eq!(with("local, usb", "[local]"), NONE);
    assert_eq!(with("usb", "[local]"), [NOTE]);
    // Disks that take turns.
    assert_eq!(with("usb, disk", "[local]"), NONE);
    assert_eq!(with("local", "[usb]"), [NOTE]);
    assert_eq!(with("local", "[local, usb]"), [NOTE]);
    assert_eq!(with("local", "[usb, disk]"), [NOTE, NOTE]);
    assert_eq!(with("local", "[usb, disk], ack = any"), NONE);
    assert_eq!(with("local", "[usb], ack = any"), [NOTE]);
    assert_eq!(with("usb", "[usb]"), [NOTE, NOTE]);
    let separate = |to: &str| {
        found_in(&format!(
            "plan t\nstore local: dir {{ path = \"/b\" }}\nstore usb: dir {{ path = \"/f\", absent = skip }}\n\
             source db: postgres {{ driver = pgbackrest, stanza = \"x\", staging = \"/st\" }}\nseparate db {{ to = [{to}] }}\n\
             source site: files {{ paths = [\"/s\"] }}\narchive site {{ from = [site], to = [local] }}\n"
        ))
    };
    assert_eq!(separate("local, usb"), NONE);
    assert_eq!(separate("usb"), [NOTE]);
}

#[test]
fn copies_of_the_newest_run_alone() {
    let with = |keep: &str, promise: &str| {
        found_in(&format!(
            "plan t\nstore local: dir {{ path = \"/b\" }}\nstore far: dir {{ path = \"/f\", offsite = true, keep {{ {keep} }} }}\n\
             source site: files {{ paths = [\"/s\"] }}\narchive a {{ from = [site], to = [local, far] }}\n\
             objective {{ {promise} }}\nkeep {{ last = 7 }}\n{DAILY}"
        ))
    };
    assert_eq!(with("within = 1h", "copies = 2"), ["warning useless_rule", "warning copies_of_newest"]);
    assert_eq!(with("last = 1", "offsite = 1"), ["warning copies_of_newest"]);
    assert_eq!(with("last = 2", "copies = 2"), NONE);
    assert_eq!(with("last = 1", "copies = 1"), NONE);
}

#[test]
fn levels_that_never_come() {
    let at = |due: &str| found(&format!("schedule {{ {due} }}"));
    let both =
        "full = weekly on sun at 03:00, differential = weekly on sun at 03:00, incremental = daily at 01:00";
    assert_eq!(at(both), ["warning level_never_comes"]);
    assert_eq!(
        found(&format!("schedule {{ {both} }}\nkeep {{ full = 2, differential = 3 }}")),
        ["warning level_never_comes", "warning useless_rule"]
    );
    assert_eq!(
        at("full = daily at 03:00, incremental = weekly on mon at 03:00"),
        ["warning level_never_comes"]
    );
    assert_eq!(at("full = weekly on sun at 03:00, differential = daily at 03:00"), NONE);
}

#[test]
fn rehearsals_that_come_late_or_never() {
    let weekly = "schedule { run = weekly on sun at 03:00 }\n";
    let with = |every: &str| found(&format!("{weekly}verify {{ every = {every}, restore = site }}"));
    assert_eq!(with("24h"), ["warning rehearsal_late"]);
    assert_eq!(with("7d"), NONE);
    assert_eq!(with("28d"), NONE);
    // Made on the fifth Sunday: `plan status` calls it late four days before.
    assert_eq!(with("30d"), ["warning rehearsal_late"]);
    let rto = |verify: &str| found(&format!("{DAILY}objective {{ rto = 4h }}\n{verify}"));
    assert_eq!(rto("verify { restore = site }"), ["note rto_unrehearsed"]);
    assert_eq!(rto("verify { every = 7d, restore = site }"), NONE);
    assert_eq!(rto(""), ["note rto_unrehearsed"]);
}

#[test]
fn chains_without_an_end() {
    let with = |cycle: &str| found(&format!("{DAILY}cycle {{ {cycle} }}"));
    assert_eq!(with("incrementals = 4000, base = previous"), ["warning endless_chain"]);
    assert_eq!(with("incrementals = 1000000, base = previous"), ["warning endless_chain"]);
    assert_eq!(with("incrementals = 300, base = previous"), NONE);
    assert_eq!(with("incrementals = 4000"), NONE);
    let levels = |due: &str| found(&format!("schedule {{ {due} }}"));
    assert_eq!(levels("full = \"0 4 1 1 *\", incremental = daily at 01:00"), NONE);
    assert_eq!(
        levels("full = \"0 4 29 2 *\", incremental = daily at 01:00"),
        ["warning endless_chain", "warning short_months"]
    );
    assert!(
        !levels("full = \"0 4 29 2 *\", differential = weekly on sun at 03:00, incremental = daily at 01:00")
            .contains(&"warning endless_chain".to_owned())
    );
}

#[test]
fn rules_and_limits_that_do_nothing_or_too_much() {
    let keep = |rules: &str| found(&format!("{DAILY}keep {{ {rules} }}"));
    assert_eq!(keep("within = 12h"), ["warning useless_rule"]);
    assert_eq!(keep("within = 24h"), ["warning useless_rule"]);
    assert_eq!(keep("within = 25h"), NONE);
    let limits = |timeout: &str| found(&format!("{DAILY}limits {{ timeout = {timeout} }}"));
    assert_eq!(limits("25h"), ["note timeout_overlaps"]);
    assert_eq!(limits("24h"), NONE);
}

#[test]
fn days_that_months_do_not_have() {
    let cron = |text: &str| found(&format!("schedule {{ run = \"{text}\" }}"));
    for short in ["0 3 31 */2 *", "0 3 31 * *", "0 3 30,31 * *", "0 3 29 2 *", "0 3 29-31 1-3 *"] {
        assert_eq!(cron(short), ["warning short_months"], "{short}");
    }
    for whole in [
        "0 3 28 * *",
        "0 3 L * *",
        "0 3 31 1,3,5,7,8,10,12 *",
        "0 3 1,31 * *",
        "0 3 28-31 * *",
        "0 3 31 * mon",
    ] {
        assert_eq!(cron(whole), NONE, "{whole}");
    }
}

#[test]
fn clocks_that_harm_nobody_are_a_note() {
    let berlin = |run: &str| found(&format!("schedule {{ run = {run}, zone = \"Europe/Berlin\" }}"));
    assert_eq!(berlin("daily at 02:30"), ["note clock_change"]);
    assert_eq!(berlin("\"0,30 2 * * *\""), ["warning clock_change"]);
    assert_eq!(berlin("daily at 04:30"), NONE);
}

/// Never is a mend advised that is already there.
#[test]
fn long_chains_are_about_cost() {
    let help = |cycle: &str, keep: &str| {
        let text = format!(
            "plan t\nstore local: dir {{ path = \"/b\" }}\nsource site: files {{ paths = [\"/s\"] }}\n\
             archive a {{ from = [site], to = [local] }}\n{DAILY}cycle {{ {cycle} }}\nkeep {{ {keep} }}\n"
        );
        let (_, compiled) = compile_files(&[("t.plan", &text)]);
        let mut found = compiled.findings.into_iter().filter(|finding| finding.name == "pinned_chain");
        found.next().map(|finding| {
            assert_eq!(finding.severity, Severity::Note);
            finding.help.unwrap()
        })
    };
    let first = help("incrementals = 27, base = previous", "daily = 3, monthly = 6").unwrap();
    assert!(first.contains("`prefer = full`") && first.contains("`base = full`"), "{first}");
    // Followed, either of them, nothing is left to tell.
    assert_eq!(help("incrementals = 27, base = previous", "daily = 3, monthly = 6, prefer = full"), None);
    assert_eq!(help("incrementals = 27, base = full", "daily = 3, monthly = 6"), None);
    if let Some(help) = help("incrementals = 60, base = previous", "last = 3, yearly = 9, prefer = full") {
        assert!(!help.contains("prefer"), "{help}");
    }
}
