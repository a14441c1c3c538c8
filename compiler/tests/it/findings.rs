//! What findings say of schedules, names and stores, where the words must agree with what the plan does.

use crate::common::compile_files;

/// A plan of one source in one store, and these items.
fn plan(items: &str) -> String {
    format!(
        "plan t\nstore local: dir {{ path = \"/b\" }}\nsource site: files {{ paths = [\"/s\"] }}\n\
         archive a {{ from = [site], to = [local] }}\n{items}\n"
    )
}

/// Name, message and what other places are said to be, of each finding.
fn found(text: &str) -> Vec<String> {
    let (_, compiled) = compile_files(&[("t.plan", text)]);
    assert!(compiled.model.is_some(), "{:?}", compiled.findings);
    let told = |finding: &backplan_compiler::finding::Finding| {
        let others = finding.others.iter().map(|label| format!(" / {}", label.text));
        format!("{}: {}{}", finding.name, finding.message, others.collect::<String>())
    };
    compiled.findings.iter().map(told).collect()
}

#[test]
fn days_are_those_of_the_schedules_zone() {
    assert_eq!(
        found(&plan("schedule { run = monthly on 31 at 04:00, zone = \"Asia/Kolkata\" }")),
        ["short_months: not every month has a day 31: no run from 2027-03-31 to 2027-05-31"]
    );
    let cycle = "cycle { incrementals = 27, base = previous }\nkeep { daily = 3, monthly = 6 }\n";
    let pinned =
        found(&plan(&format!("{cycle}schedule {{ run = daily at 02:30, zone = \"Asia/Kolkata\" }}")));
    assert_eq!(pinned.len(), 1, "{pinned:?}");
    // Early in the morning there it is still the day before in UTC.
    assert!(
        pinned[0].contains("the run of 2029-07-31 rests on that of 2029-07-14 (`monthly 2029-07`)"),
        "{pinned:?}"
    );
}

#[test]
fn what_a_short_month_lacks_is_a_level() {
    let short = |due: &str| found(&plan(&format!("schedule {{ {due} }}")));
    assert_eq!(
        short("full = monthly on 31 at 04:00, incremental = daily at 04:00"),
        ["short_months: not every month has a day 31: no full from 2027-03-31 to 2027-05-31"]
    );
    assert_eq!(
        short("full = monthly on 1 at 04:00, incremental = monthly on 30 at 04:00"),
        ["short_months: not every month has a day 30: no incremental from 2028-01-30 to 2028-03-30"]
    );
}

#[test]
fn a_delay_may_bring_two_runs_to_one_name() {
    let named = |format: &str, schedule: &str| {
        let text = plan(&format!("schedule {{ {schedule} }}"));
        found(
            &text
                .replace("to = [local]", &format!("to = [local], name = \"${{time(\"{format}\")}}.tar.gz\"")),
        )
    };
    let late = named("%Y%m%d", "run = daily at 23:45, jitter = 30m");
    assert_eq!(late.len(), 1, "{late:?}");
    assert!(
        late[0].contains(
            "the run of 2027-01-01 23:45:00 +00:00, which `jitter` may delay to 2027-01-02 00:15:00 +00:00, and that of \
             2027-01-02 23:45:00 +00:00 both write `20270102.tar.gz`"
        ),
        "{late:?}"
    );
    assert_eq!(named("%Y%m%d%H", "run = \"30 * * * *\", jitter = 45m").len(), 1);
    assert_eq!(named("%G%V", "run = weekly on sun at 23:45, jitter = 30m").len(), 1);
    assert_eq!(named("%Y%m%d%H%M", "run = \"* * * * *\", jitter = 30s"), [""; 0]);
    for (format, schedule) in [
        ("%Y%m%d", "run = daily at 23:15, jitter = 44m"),
        ("%Y%m%d", "run = daily at 02:30, jitter = 30m"),
        ("%Y%m%d%H", "run = hourly, jitter = 59m"),
        ("%G%V", "run = weekly on sun at 23:15, jitter = 30m"),
        ("%Y%m%d%H%M", "run = every 30m, jitter = 20m"),
        ("%Y%m%d", "run = daily at 23:45"),
    ] {
        let repeated = |found: &&String| found.starts_with("repeated_name");
        assert_eq!(named(format, schedule).iter().filter(repeated).count(), 0, "{format} {schedule}");
    }
}

#[test]
fn a_name_by_the_day_leaves_no_room_for_a_run_by_hand() {
    let named = |format: &str, items: &str| {
        let name = format!("to = [local], name = \"${{time(\"{format}\")}}.tar.gz\"");
        found(&plan(items).replace("to = [local]", &name))
    };
    let daily = "schedule { run = daily at 02:30 }";
    assert_eq!(
        named("%Y%m%d", daily),
        [
            "coarse_name: artefacts of archive `a` are named by the day: a run on demand, or one that is made up for (`catch_up`), \
          may have the name of another, and then fails"
        ]
    );
    let no_catch_up = named("%Y%m%d", "schedule { run = daily at 02:30, catch_up = false }");
    assert!(
        no_catch_up.len() == 1 && no_catch_up[0].contains("by the day: a run on demand may"),
        "{no_catch_up:?}"
    );
    assert!(named("%Y%m%d%H", daily)[0].contains("named by the hour"));
    assert!(named("%G%V", "schedule { run = weekly on sun at 02:30 }")[0].contains("named by the week"));
    assert_eq!(named("%Y%m%d", "").len(), 1);
    for whole in ["%Y%m%d%H%M", "%F_%H-%M-%S", "%s"] {
        assert_eq!(named(whole, daily), [""; 0], "{whole}");
    }
}

#[test]
fn a_name_that_ends_as_what_it_is_not_is_told_of() {
    const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let named = |end: &str, more: &str| {
        let more = more.replace("KEY", &format!("\"{KEY}\""));
        let name = format!("to = [local], name = \"${{time(\"%Y%m%d%H%M%S\")}}{end}\"{more}");
        let told = found(&plan("").replace("to = [local]", &name));
        told.into_iter().find(|told| told.starts_with("misleading_name")).unwrap_or_default()
    };
    for (end, more, is) in [
        (".tar.gz", ", compress = zstd", "compressed by zstd"),
        (".tgz", ", compress = zstd", "compressed by zstd"),
        (".tar.gz.age", ", compress = zstd, encrypt = [KEY]", "compressed by zstd"),
        (".tar.zst", "", "compressed by gzip"),
        (".tzst.age", ", encrypt = [KEY]", "compressed by gzip"),
        (".tar.gz", ", encrypt = [KEY]", "encrypted"),
        (".tar.gz.age", "", "in clear"),
    ] {
        assert!(named(end, more).contains(&format!("are {is}, and")), "{end}{more}: {}", named(end, more));
    }
    for (end, more) in [
        (".tar.gz", ""),
        (".tgz", ""),
        (".tar", ""),
        ("_site", ", encrypt = [KEY]"),
        (".tar.zst", ", compress = zstd"),
        (".tar.gz.age", ", encrypt = [KEY]"),
        (".tar.zst.age", ", compress = zstd, encrypt = [KEY]"),
    ] {
        assert_eq!(named(end, more), "", "{end}{more}");
    }
}

#[test]
fn an_hour_that_clocks_take_away_is_no_quarrel_of_immutable_and_keep() {
    let found = |immutable: &str, keep: &str| {
        let items =
            format!("schedule {{ run = daily at 04:30, zone = \"Europe/Berlin\" }}\nkeep {{ {keep} }}");
        found(&plan(&items).replace("path = \"/b\"", &format!("path = \"/b\", immutable = {immutable}")))
    };
    assert_eq!(found("7d", "daily = 7"), [""; 0]);
    assert_eq!(found("14d", "daily = 14"), [""; 0]);
    // Nor is one that they give: the eighth run is wanted for a day longer, by the clock.
    assert_eq!(found("7d", "daily = 8"), [""; 0]);
    let longer = found("8d", "daily = 7");
    assert!(longer.len() == 1 && longer[0].starts_with("immutable_outlasts_keep: "), "{longer:?}");
    let shorter = found("7d", "daily = 9");
    assert!(shorter.len() == 1 && shorter[0].starts_with("keep_outlasts_immutable: "), "{shorter:?}");
}

#[test]
fn a_keep_for_stores_that_never_delete_does_nothing() {
    let found = |local: &str, items: &str| {
        let items = format!("schedule {{ run = daily at 02:30 }}\nkeep {{ daily = 7 }}\n{items}");
        found(&plan(&items).replace("path = \"/b\"", &format!("path = \"/b\"{local}")))
    };
    let nothing = "keep_without_effect: this `keep` does nothing: every store that it is for is `append_only` / nothing is \
                   ever deleted here";
    assert_eq!(found(", append_only = true", ""), [nothing]);
    assert_eq!(found("", ""), [""; 0]);
    let second = |store: &str| {
        format!("store other: dir {{ path = \"/o\"{store} }}\narchive b {{ from = [site], to = [other] }}")
    };
    assert_eq!(found(", append_only = true", &second(", append_only = true")), [nothing]);
    assert_eq!(found(", append_only = true", &second("")), [""; 0]);
    // One with a `keep` of its own has no need of the plan's.
    assert_eq!(found(", append_only = true", &second(", keep { last = 3 }")), [nothing]);
}

#[test]
fn levels_are_asked_by_a_schedule_of_its_own() {
    let found = |schedule: &str, own: &str| {
        let items = format!(
            "source db: postgres {{ driver = probackup, run_as = \"postgres\", staging = \"/var/x\" }}\n\
             store r: dir {{ path = \"/repo\" }}\nseparate db {{ to = [r], keep {{ full = 2, differential = 4 }}{own} }}\n\
             schedule {{ {schedule} }}"
        );
        let mut found = found(&plan(&items));
        found.retain(|told| told.starts_with("level_unsupported"));
        found
    };
    let daily = "run = daily at 04:30";
    let levels = "full = weekly on sun at 03:00, differential = daily at 03:00";
    let told = "level_unsupported: source `db` may have no differential runs: pg_probackup rests each backup on the one before \
                it / asked for here";
    assert_eq!(found(daily, &format!(", schedule {{ {levels} }}")), [told]);
    assert_eq!(found(levels, ""), [told]);
    assert_eq!(found(daily, ""), [""; 0]);
    // What other sources are asked is nothing to it.
    assert_eq!(found(levels, &format!(", schedule {{ {daily} }}")), [""; 0]);
}

#[test]
fn a_catalogue_is_kept_apart_in_folders_and_in_clear() {
    let of = |source: &str, separate: &str, more: &str| {
        let items = format!(
            "source db: postgres {{ driver = probackup, run_as = \"postgres\"{source} }}\nstore r: dir {{ path = \"/repo\" }}\n\
             store s: dir {{ path = \"/other\" }}\nstore b: s3 {{ bucket = \"b\" }}\nseparate db {{ to = [r, s]{separate} }}\n{more}"
        );
        found(&plan(&items))
    };
    let told = |found: Vec<String>, name: &str| {
        found.into_iter().filter(|told| told.starts_with(name)).collect::<Vec<_>>()
    };
    // In several folders, without a `staging`: its settings need no home.
    let none = of("", "", "");
    for name in ["separate_", "repository_", "driver_", "missing_"] {
        assert_eq!(told(none.clone(), name), [""; 0]);
    }
    assert_eq!(
        told(of(", staging = \"/var/x\"", "", ""), "driver_attribute"),
        [
            "driver_attribute: `staging` of source `db` means nothing: its catalogue is in its stores / kept apart here"
        ]
    );
    assert_eq!(
        told(of("", ", passphrase = env(\"P\")", ""), "driver_attribute"),
        [
            "driver_attribute: `passphrase` of `separate db` means nothing to pg_probackup, which encrypts nothing / the source"
        ]
    );
    // Its backups come when they come: no log that is pushed is promised.
    let promise = "objective { of = [db], rpo = 1h }\nschedule { run = daily at 04:30 }";
    assert_eq!(told(of("", "", promise), "rpo_").len(), 1);
}

#[test]
fn a_stanza_is_one_folder_and_no_option() {
    let found = |stanza: &str| {
        let source =
            format!("source db: postgres {{ driver = pgbackrest, stanza = \"{stanza}\", staging = \"/r\" }}");
        let text = plan(&source).replace("from = [site]", "from = all");
        let (_, compiled) = compile_files(&[("t.plan", text.as_str())]);
        let bad = compiled.findings.iter().filter(|finding| finding.name == "bad_value");
        bad.map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    for good in ["main", "db-1", "my stanza", "a.b"] {
        assert_eq!(found(good), Vec::<String>::new());
    }
    for (bad, shown) in [
        ("", ""),
        ("../x", "../x"),
        ("a/b", "a/b"),
        ("--config=/x", "--config=/x"),
        (".", "."),
        ("a\\nrepo1-path=/", "a\\nrepo1-path=/"),
    ] {
        assert_eq!(found(bad), [format!("`{shown}` cannot be the name of a stanza")]);
    }
}

#[test]
fn a_secret_goes_to_a_program_by_its_environment_and_by_nothing_else() {
    let told = |items: &str| -> Vec<String> {
        let (_, compiled) = compile_files(&[("t.plan", &plan(items))]);
        let helped = |finding: &backplan_compiler::finding::Finding| {
            format!("{}: {} / {}", finding.name, finding.message, finding.help.clone().unwrap_or_default())
        };
        compiled.findings.iter().map(helped).collect()
    };
    let declared = [
        "window w { around = all, enter = [\"x\"], leave = [\"y\"], env = [ENV] }",
        "notify n: command { run = [\"x\"], env = [ENV] }",
        "verify { restore = site, every = 7d, command = [\"x\"], env = [ENV] }",
        "notify n: webhook { url = exec([\"x\"], [ENV]) }",
    ];
    let good = "\"A=b\", \"T=${env(\"T\")}\", \"F=${file(\"/f\")}\", \"X=${exec([\"y\"])}\"";
    for items in declared {
        assert_eq!(told(&items.replace("ENV", good)), Vec::<String>::new(), "{items}");
        let partial = told(&items.replace("ENV", "\"T=Bearer ${env(\"T\")}\""));
        assert!(
            partial[0].starts_with("misplaced_secret: a secret cannot be part of a string"),
            "{partial:?}"
        );
        let nameless = told(&items.replace("ENV", "\"secret\""));
        assert!(nameless[0].contains("NAME=value"), "{nameless:?}");
    }
    for items in [
        "window w { around = all, leave = [\"x\", env(\"T\")] }",
        "notify n: command { run = [\"x\", env(\"T\")] }",
        "verify { restore = site, command = [\"x\", env(\"T\")] }",
    ] {
        let found = told(items);
        assert!(found.iter().any(|text| text.contains("give it by `env = [")), "{found:?}");
    }
    // One level alone, and nothing that only a run knows.
    for bad in ["\"T=${exec([\"y\"], [\"A=b\"])}\"", "\"T=${host()}\"", "env(\"T\")", "12"] {
        let found = told(&declared[3].replace("ENV", bad));
        assert!(found.len() == 1 && found[0].starts_with("wrong_arguments: `exec` takes other"), "{found:?}");
    }
    let idle = told("verify { restore = site, every = 7d, env = [\"A=b\"] }");
    assert!(idle.iter().any(|text| text.starts_with("empty_block: no program is given these")), "{idle:?}");
}
