//! A plan that is edited between runs: chains go on where they can, and what is new is taken whole.

use std::fs;
use std::path::Path;

use crate::cycle_worlds::{DAYS, five, levels, look, manifest, plan, restored, run, same, world};
use crate::scenario::{Scenario, settle, shell};

/// A plan of these sources, each a tree of its own name, and these archives.
fn trees(sources: &[&str], archives: &[(&str, &str)], more: &str) -> String {
    let mut text = "plan p\n\nstore store: dir {\n  path = \"store\"\n}\n\n".to_owned();
    for source in sources {
        text += &format!("source {source}: files {{\n  paths = [\"{source}\"]\n}}\n\n");
    }
    for (archive, from) in archives {
        text += &format!("archive {archive} {{\n  from = [{from}]\n  to   = [store]\n}}\n\n");
    }
    text + more
}

/// Three trees.
fn three(plan: &str) -> Scenario {
    Scenario::new()
        .file("p.plan", plan)
        .file("one/a", "a")
        .file("one/b/c", "c")
        .file("two/a", "a")
        .file("two/b/c", "c")
        .file("three/a", "a")
}

fn change(scenario: &Scenario, round: u32) {
    shell(
        &scenario.path("."),
        &format!("for f in one two three; do echo {round} > $f/r{round}; rm -f $f/r$(({round}-2)); done"),
    );
}

#[track_caller]
fn exact(scenario: &Scenario, run: &str, sources: &[&str]) {
    for source in sources {
        let wanted = look(&scenario.path(source));
        same(&restored(scenario, run, source, source), &wanted, &format!("run {run}, source {source}"));
    }
}

/// The contents of a manifest: `archive source level` each.
fn contents(scenario: &Scenario, sequence: u32) -> Vec<String> {
    let listed = manifest(scenario, "store", sequence);
    let (mut archive, mut found) = (String::new(), Vec::new());
    let clear = listed.split("\n---\n").next().unwrap();
    let archives = clear.split_once("archives:\n").unwrap().1;
    for line in archives.lines() {
        let word = line.trim().trim_start_matches("- ");
        if let Some(name) = line.strip_prefix("- name: ") {
            name.clone_into(&mut archive);
        } else if let Some(source) = word.strip_prefix("source: ") {
            found.push(format!("{archive} {source} "));
        } else if let (Some(level), Some(last)) = (word.strip_prefix("level: "), found.last_mut()) {
            last.push_str(level);
        }
    }
    found
}

#[test]
fn a_source_that_is_added_removed_or_renamed() {
    for base in ["full", "previous"] {
        let follow = if base == "full" { "differential" } else { "incremental" };
        let scenario = three(&trees(&["one"], &[("main", "one")], &five(base)));
        run(&scenario).status(0);
        change(&scenario, 1);
        scenario.write("p.plan", trees(&["one", "two"], &[("main", "one, two")], &five(base)));
        run(&scenario).status(0);
        assert_eq!(contents(&scenario, 2), [format!("main one {follow}"), "main two full".to_owned()]);
        exact(&scenario, "2", &["one", "two"]);
        change(&scenario, 2);
        run(&scenario).status(0);
        assert_eq!(contents(&scenario, 3), [format!("main one {follow}"), format!("main two {follow}")]);
        exact(&scenario, "3", &["one", "two"]);
        // One goes, another comes under a new name for the same tree.
        change(&scenario, 3);
        let renamed = trees(&["one", "two"], &[("main", "one, zwei")], &five(base))
            .replace("source two", "source zwei");
        scenario.write("p.plan", &renamed);
        run(&scenario).status(0);
        assert_eq!(contents(&scenario, 4), [format!("main one {follow}"), "main zwei full".to_owned()]);
        exact(&scenario, "4", &["one"]);
        same(&restored(&scenario, "4", "zwei", "two"), &look(&scenario.path("two")), "renamed");
        change(&scenario, 4);
        scenario.write("p.plan", trees(&["two"], &[("main", "two")], &five(base)));
        let answer = run(&scenario);
        assert!([0, 3].contains(&answer.code), "{answer:?}");
        exact(&scenario, "5", &["two"]);
        same(
            &restored(&scenario, "4", "zwei", "two"),
            &restored(&scenario, "4", "zwei", "two"),
            "still there",
        );
        scenario.plan(["verify", "--all", "--deep"]).status(0);
    }
}

#[test]
fn a_source_of_another_kind_is_taken_whole_and_the_others_go_on() {
    let text = trees(&["one", "two"], &[("main", "one, two")], &five("previous"));
    let of_files = "source two: files {\n  paths = [\"two\"]\n}";
    let of_command = "source two: command {\n  run = [\"cat\", \"two/a\"]\n  as  = \"a\"\n}";
    let scenario = three(&text.replace(of_files, of_command));
    run(&scenario).status(0);
    for (day, (kind, then)) in [(of_files, "command"), (of_command, "files")].iter().enumerate() {
        change(&scenario, 1);
        scenario.write("p.plan", text.replace(of_files, kind));
        run(&scenario)
            .status(3)
            .says("source `two` is taken whole")
            .says(&format!("there it is of kind `{then}`, and no longer"));
        let sequence = u32::try_from(day + 2).unwrap();
        assert_eq!(contents(&scenario, sequence), ["main one incremental", "main two full"]);
        exact(&scenario, &sequence.to_string(), if day == 0 { &["one", "two"] } else { &["one"] });
    }
    assert!(restored(&scenario, "3", "two", "").contains_key(Path::new("a")));
    run(&scenario).status(0);
    assert_eq!(contents(&scenario, 4), ["main one incremental", "main two incremental"]);
}

/// What this machine has lost of one source costs that one alone a whole backup.
#[test]
fn a_record_that_is_damaged_costs_its_own_source_alone() {
    let scenario = three(&trees(&["one", "two"], &[("main", "one, two")], &five("previous")));
    run(&scenario).status(0);
    change(&scenario, 1);
    shell(&scenario.path("../state"), "for f in $(find . -name two.scan); do rm $f; echo x > $f; done");
    run(&scenario).status(3).says("source `two` is taken whole");
    assert_eq!(contents(&scenario, 2), ["main one incremental", "main two full"]);
    exact(&scenario, "2", &["one", "two"]);
}

#[test]
fn a_run_of_one_source_leaves_the_chain_of_the_others() {
    for base in ["full", "previous"] {
        let scenario = three(&trees(&["one", "two"], &[("main", "one, two")], &five(base)));
        for round in 1..=2 {
            run(&scenario).status(0);
            change(&scenario, round);
        }
        settle();
        scenario.next_day().plan(["run", "--only", "one"]).status(0);
        exact(&scenario, "3", &["one"]);
        change(&scenario, 3);
        run(&scenario).status(0);
        assert_eq!(levels(&scenario, "store").len(), 4);
        assert!(
            !contents(&scenario, 4).iter().any(|content| content.ends_with("full")),
            "{:?}",
            contents(&scenario, 4)
        );
        exact(&scenario, "4", &["one", "two"]);
    }
}

#[test]
fn exclude_takes_out_and_takes_back_in() {
    for archive in ["", "  self_contained = true\n"] {
        let text = plan(archive, &five("previous"));
        let scenario = world(&text);
        run(&scenario).status(0);
        scenario.write(
            "p.plan",
            text.replace("paths = [\"site\"]", "paths = [\"site\"]\n  exclude = [\"moves\", \"folder/\"]"),
        );
        run(&scenario).status(0);
        let found = restored(&scenario, "2", "site", "site");
        let gone = |path: &&std::path::PathBuf| path.starts_with("moves") || path.starts_with("folder");
        assert_eq!(found.keys().find(gone), None);
        let mut wanted = look(&scenario.path("site"));
        wanted.retain(|path, _| !gone(&path));
        same(&found, &wanted, "excluded");
        scenario.write("p.plan", &text);
        run(&scenario).status(0);
        same(&restored(&scenario, "3", "site", "site"), &look(&scenario.path("site")), "included again");
        assert_eq!(levels(&scenario, "store"), "fii");
    }
}

#[test]
fn a_cycle_that_is_shortened_lengthened_dropped_or_turned() {
    let scenario = world(&plan("", "cycle { incrementals = 6 }"));
    let cycles = [
        "cycle { incrementals = 6 }",
        "cycle { incrementals = 6 }",
        "cycle { incrementals = 6 }",
        "cycle { incrementals = 2 }",
        "cycle { incrementals = 2, base = previous }",
        "cycle { incrementals = 6 }",
        "cycle { incrementals = 6, base = previous }",
        "",
        "cycle { incrementals = 6, base = previous }",
    ];
    for (day, cycle) in cycles.iter().enumerate() {
        scenario.write("p.plan", plan("", cycle));
        run(&scenario).status(0);
        let run = (day + 1).to_string();
        same(&restored(&scenario, &run, "site", "site"), &look(&scenario.path("site")), &run);
        shell(&scenario.path("site"), DAYS[day]);
    }
    assert_eq!(levels(&scenario, "store"), "fddfidifi");
}

#[test]
fn an_archive_that_turns_whole_each_time_and_back() {
    for base in ["full", "previous"] {
        let scenario = world(&plan("", &five(base)));
        for (day, archive) in
            ["", "", "  self_contained = true\n", "  self_contained = true\n", ""].iter().enumerate()
        {
            scenario.write("p.plan", plan(archive, &five(base)));
            run(&scenario).status(0);
            let run = (day + 1).to_string();
            same(&restored(&scenario, &run, "site", "site"), &look(&scenario.path("site")), &run);
            shell(&scenario.path("site"), DAYS[day]);
        }
        assert_eq!(levels(&scenario, "store"), if base == "full" { "fdddd" } else { "fiiii" });
        scenario.plan(["verify", "--all", "--deep"]).status(0);
    }
}

#[test]
fn an_archive_that_is_renamed_goes_on_where_it_ended() {
    for base in ["full", "previous"] {
        let text = plan("", &five(base));
        let scenario = world(&text);
        let mut looks = Vec::new();
        for (day, change) in DAYS.iter().enumerate() {
            if day == 2 {
                scenario.write("p.plan", text.replace("archive main", "archive chief"));
            }
            run(&scenario).status(0);
            looks.push(look(&scenario.path("site")));
            shell(&scenario.path("site"), change);
        }
        assert_eq!(levels(&scenario, "store"), if base == "full" { "fddddfddd" } else { "fiiiifiii" });
        for (day, wanted) in looks.iter().enumerate() {
            let run = (day + 1).to_string();
            same(&restored(&scenario, &run, "site", "site"), wanted, &run);
        }
        scenario.plan(["verify", "--all", "--deep"]).status(0);
        // What the archive was like under its old name is not needed any more.
        let kept = shell(
            &scenario.path("../state"),
            "find . -path '*/cache/*' -maxdepth 5 -name 'main' -o -name chief",
        );
        assert!(kept.contains("/cache/chief") && !kept.contains("/cache/main"), "{kept}");
        scenario.plan(["diff-run", "1", "4"]).status(2);
    }
}

#[test]
fn two_archives_keep_their_own_chains() {
    let text = trees(
        &["one", "two", "three"],
        &[("first", "one, three"), ("second", "two, three")],
        &five("previous"),
    );
    let scenario = three(&text);
    run(&scenario).status(0);
    change(&scenario, 1);
    run(&scenario).status(0);
    // The base of one is lost: the other goes on.
    fs::remove_file(scenario.path("store/p_first_20260102T023000Z.tar.gz")).unwrap();
    change(&scenario, 2);
    run(&scenario).status(3).says("archive `first`");
    assert_eq!(
        contents(&scenario, 3),
        ["first one full", "first three full", "second three incremental", "second two incremental"]
    );
    exact(&scenario, "3", &["one", "two", "three"]);
    change(&scenario, 3);
    run(&scenario).status(0);
    exact(&scenario, "4", &["one", "two", "three"]);
    // One of them renamed, with a source that the other has too: whatever is done, it restores.
    for round in 4..7 {
        scenario.write("p.plan", text.replace("archive first", "archive third"));
        change(&scenario, round);
        let answer = run(&scenario);
        assert!([0, 3].contains(&answer.code), "{answer:?}");
        exact(&scenario, &(round + 1).to_string(), &["one", "two", "three"]);
    }
}

/// An archive that has another name now, while another one had the source as well, is found by nobody in the runs before: whatever
/// rests on those would be lost, be it two runs back or in the second store.
#[test]
fn a_chain_that_no_restore_could_follow_is_begun_anew() {
    let more = "cycle {\n  incrementals = 6\n  base         = previous\n}\n";
    let back = trees(&["one", "two"], &[("main", "one"), ("other", "one, two")], more);
    let scenario = three(&back);
    run(&scenario).status(0);
    change(&scenario, 1);
    scenario.write("p.plan", trees(&["one", "two"], &[("main", "one"), ("other", "two")], more));
    run(&scenario);
    change(&scenario, 2);
    scenario.write("p.plan", trees(&["one", "two"], &[("nightly", "one"), ("other", "two")], more));
    run(&scenario).status(3).says("is taken whole").says("it holds no archive `nightly` with source `one`");
    exact(&scenario, "latest", &["one", "two"]);
    scenario.plan(["verify", "--all"]).status(0);
    // In the second store alone.
    let stores = |archives: &str| {
        format!(
            "plan q\nstore store: dir {{\n  path = \"store\"\n}}\nstore zwei: dir {{\n  path = \"zwei\"\n}}\n\
             source one: files {{\n  paths = [\"one\"]\n}}\nsource two: files {{\n  paths = [\"two\"]\n}}\n{archives}{more}"
        )
    };
    let archive = |name: &str, from: &str, to: &str| {
        format!("archive {name} {{\n  from = [{from}]\n  to = [{to}]\n}}\n")
    };
    let scenario =
        three(&stores(&(archive("main", "one", "store, zwei") + &archive("other", "one, two", "zwei"))));
    run(&scenario).status(0);
    change(&scenario, 1);
    scenario.write(
        "p.plan",
        stores(&(archive("nightly", "one", "store, zwei") + &archive("other", "two", "zwei"))),
    );
    run(&scenario).status(3).says("is taken whole").says("in store `zwei`");
    for store in ["store", "zwei"] {
        scenario
            .plan(["restore", "--store", store, "--source", "one", "--to", &format!("from-{store}")])
            .status(0);
        shell(
            &scenario.path("."),
            &format!("diff -r one from-{store}/one/one 2>/dev/null || diff -r one from-{store}/one"),
        );
    }
}
