//! `plan diff`

use std::fs;

use crate::scenario::{Answer, SITE, Scenario, plan, shell};

/// What it does to data: weight and name of each consequence.
fn consequences(answer: &Answer) -> Vec<(String, String)> {
    let json = answer.json();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let all = json["consequences"].as_array().unwrap().iter();
    all.map(|one| (word(&one["weight"]), word(&one["name"]))).collect()
}

#[track_caller]
pub fn has(answer: &Answer, weight: &str, name: &str) {
    let wanted = (weight.to_owned(), name.to_owned());
    assert!(consequences(answer).contains(&wanted), "no {weight} {name}: {}", answer.stdout);
}

/// Both plans are compiled and compared.
pub fn diff(old: &str, new: &str) -> Answer {
    let scenario = Scenario::new().file("old.plan", old).file("new.plan", new);
    scenario.plan(["diff", "old.plan", "new.plan", "--format", "json"]).status(2)
}

const TWO: &str = "plan p
let home = \"store\"
store one: dir {
  path = home
}
store two: dir {
  path    = \"two\"
  offsite = true
}
source site: files {
  paths   = [\"site\", \"etc\"]
  exclude = [\"*.tmp\"]
}
source dump: command {
  run = [\"true\"]
  as  = \"dump\"
}
archive main {
  from    = all
  to      = [one, two]
  encrypt = [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]
}
cycle {
  incrementals = 3
}
keep {
  cycles = 4
}
schedule {
  run = every 6h
}
";

#[test]
fn what_means_the_same_is_no_change() {
    let other = "# Another hand.
schedule { run = every 6h }
keep { cycles = 4 }
plan p
let folder = \"store\"
let keys = [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]
archive main {
  to   = [two, one]
  from = [dump, site]
  encrypt = keys
}
source dump: command { run = [\"true\"] 
 as = \"dump\" }
source site: files {
  paths = [\"etc\", \"site\"]
  exclude = [\"*.tmp\"] }
store two: dir { offsite = true
 path = \"two\" }
store one: dir { path = folder }
cycle { incrementals = 3 }
";
    let scenario = Scenario::new().file("old.plan", TWO).file("elsewhere.plan", other);
    scenario.plan(["diff", "old.plan", "elsewhere.plan"]).status(0).stdout_has("no change").stderr("");
    let answer = scenario.plan(["diff", "old.plan", "elsewhere.plan", "--format", "json"]).status(0);
    assert_eq!(answer.json()["changed"], false);
    // The old plan's relative paths and imports are taken as if it lay beside the new one.
    let scenario = Scenario::new()
        .file("before/p.plan", "plan p\nimport \"lib/stores.plan\"\n\nsource site: files {\n  paths = [\"site\"]\n}\n\narchive main {\n  from = [site]\n  to   = [store]\n}\n")
        .file("before/lib/stores.plan", "store store: dir {\n  path = \"../store\"\n}\n")
        .file("after/p.plan", format!("plan p\n\nstore store: dir {{\n  path = \"store\"\n}}\n\n{SITE}"));
    scenario.plan(["diff", "before/p.plan", "after/p.plan"]).status(0).stdout_has("no change");
}

#[test]
fn every_loss_is_named_and_marked() {
    let cases = [
        ("source dump: command {\n  run = [\"true\"]\n  as  = \"dump\"\n}\n", "", "source_removed"),
        (", \"etc\"]", "]", "path_removed"),
        ("[\"*.tmp\"]", "[\"*.tmp\", \"*.log\"]", "left_out"),
        ("to      = [one, two]", "to      = [one]", "copies_lost"),
        ("to      = [one, two]", "to      = [one]", "offsite_lost"),
        (
            "  encrypt = [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]\n",
            "",
            "encryption_lost",
        ),
        ("cycles = 4", "cycles = 1", "fewer_points"),
        ("every 6h", "daily at 02:30", "rpo_worse"),
        ("schedule {\n  run = every 6h\n}\n", "", "schedule_removed"),
        ("plan p", "plan q", "plan_renamed"),
        ("path = home", "path = \"other\"", "store_moved"),
    ];
    for (from, to, name) in cases {
        assert!(TWO.contains(from), "{from}");
        let answer = diff(TWO, &TWO.replace(from, to));
        has(&answer, "danger", name);
    }
    let quiet = diff(&TWO.replace("[\"*.tmp\"]", "[\"*.tmp\", \"*.log\"]"), TWO);
    has(&quiet, "better", "taken_in");
    assert!(consequences(&quiet).iter().all(|(weight, _)| weight != "danger"), "{quiet:?}");
    // A promise that is given up, a folder that is cleared, a name that artefacts get.
    let more = format!("{TWO}objective {{\n  rpo = 6h\n}}\n");
    has(&diff(&more, &more.replace("rpo = 6h", "rpo = 1d")), "danger", "promise_weaker");
    let staged = "staging {\n  path  = \"build\"\n  clear = [before]\n}\n";
    has(&diff(TWO, &format!("{TWO}{staged}")), "danger", "staging_cleared");
    let named = TWO
        .replace("  from    = all", "  from    = all\n  name    = \"${time(\"%Y%m%d%H%M%S\")}.tar.gz.age\"");
    has(&diff(TWO, &named), "change", "artefacts_renamed");
    let renamed = TWO.replace("source site", "source web");
    has(&diff(TWO, &renamed), "change", "source_renamed");
}

#[test]
fn what_is_kept_is_told_at_its_fewest() {
    let plan = |cycle: u32, keep: u32| {
        let times = format!(
            "schedule {{\n  run = daily at 02:30\n}}\ncycle {{\n  incrementals = {cycle}\n}}\nkeep {{\n  cycles = {keep}\n}}\n"
        );
        format!("plan p\nstore store: dir {{\n  path = \"store\"\n}}\n{SITE}{times}")
    };
    // Right behind a full there is that full and the cycles before it, whatever day the future ends on.
    for (cycle, keep, fewest) in
        [(6, 3, "15 backups over 14d"), (7, 4, "25 backups over 24d"), (6, 1, "1 backup to")]
    {
        let answer = diff(&plan(6, 4), &plan(cycle, keep));
        let (weight, name) = if keep < 4 { ("danger", "fewer_points") } else { ("better", "more_points") };
        has(&answer, weight, name);
        answer.stdout_has(&format!("at the fewest {fewest}")).stdout_has("before it was 22 backups over 21d");
    }
}

#[test]
fn people_see_the_consequences_first_and_danger_without_colour() {
    let scenario = Scenario::new().file("old.plan", TWO).file("new.plan", TWO.replace(", \"etc\"]", "]"));
    let answer = scenario.plan(["diff", "old.plan", "new.plan"]).status(2).stderr("");
    let at = |part: &str| answer.stdout.find(part).unwrap_or_else(|| panic!("{part}: {}", answer.stdout));
    assert!(at("!! DANGER  `$W/work/etc` of source `site` is no longer backed up") < at("declarations"));
    assert!(
        at("declarations") < at("      paths: -$W/work/etc") && at("paths: -") < at("steps of a full run")
    );
    assert!(at("~ scan/site") > at("steps of a full run"));
    let page = scenario.plan(["diff", "old.plan", "new.plan", "--format", "markdown"]).status(2);
    page.stdout_has("| !! **DANGER** | `$W/work/etc`").stdout_has("```diff\n~ source `site`\n");
}

#[test]
fn secrets_are_shown_as_references_only() {
    let with = |value: &str, fallback: &str| {
        plan(&format!(
            "# allow: inline_secrets test\nnotify hook: webhook {{\n  # allow: inline_secrets test\n  url = {value}\n  on  = [failure]\n}}\n\nsource dump: command {{\n  run = [\"true\"]\n  as  = \"dump\"\n  # allow: inline_secrets test\n  env = [\"T=${{env(\"TOKEN\", \"{fallback}\")}}\"]\n}}\n\narchive main {{\n  from = all\n  to   = [store]\n}}\n"
        ))
    };
    let old = with("\"https://example.org/hunter2\"", "hunter3");
    let new = with("\"https://example.org/hunter4\"", "hunter5");
    let scenario = Scenario::new()
        .file("old.plan", old)
        .file("new.plan", new)
        .file("same.plan", with("exec([\"touch\", \"fetched\"])", "hunter5"));
    for format in ["human", "json", "markdown"] {
        let answer = scenario.plan(["diff", "old.plan", "new.plan", "--format", format]).status(2);
        assert!(!answer.said().contains("hunter"), "{answer:?}");
        answer.stdout_has("another value");
        let answer = scenario.plan(["diff", "new.plan", "same.plan", "--format", format]).status(2);
        assert!(!answer.said().contains("hunter"), "{answer:?}");
    }
    assert!(!scenario.path("fetched").exists());
    // Of several only the one that is another is said to be.
    let with = |value: &str, more: &str| {
        let part = |name: &str, value: &str| format!("\"{name}=${{env(\"{name}\", \"{value}\")}}\"");
        plan(&format!(
            "source dump: command {{\n  run = [\"true\"]\n  as  = \"dump\"\n  env = [{}, {}{more}]\n}}\narchive main {{ from = all, to = [store] }}\n",
            part("A", value),
            part("B", "hunter8")
        ))
    };
    for more in ["", ", \"C=1\""] {
        let scenario =
            Scenario::new().file("old.plan", with("hunter6", "")).file("new.plan", with("hunter7", more));
        let said = scenario.plan(["diff", "old.plan", "new.plan"]).status(2).said();
        let others: Vec<&str> = said.lines().filter(|line| line.contains("another value")).collect();
        assert!(others.len() == 1 && others[0].contains("A="), "{said}");
    }
}

#[test]
fn backups_that_would_go_are_counted_as_a_prune_would() {
    let keep = |keep: &str| plan(&format!("{SITE}\nkeep {{\n  last = {keep}\n}}\n"));
    let scenario = Scenario::new().file("p.plan", keep("6")).file("site/a", "a");
    for _ in 0..5 {
        scenario.next_day().plan(["run"]).status(0);
    }
    scenario.write("new.plan", keep("2"));
    let answer = scenario.plan(["diff", "p.plan", "new.plan", "--format", "json"]).status(2);
    has(&answer, "danger", "backups_deleted");
    answer.stdout_has("a prune would now delete 3 of 5 backups from store `store`");
    let human = scenario.plan(["diff", "p.plan", "new.plan"]).status(2);
    human.stdout_has("the oldest of 2026-01-02 02:30:00 +00:00, the newest of 2026-01-04 02:30:00 +00:00");
    // The prune itself agrees.
    let scenario = {
        scenario.write("p.plan", keep("2"));
        scenario
    };
    let pruned = scenario.plan(["prune", "p.plan", "--dry-run", "--format", "json"]).status(0).json();
    let runs = pruned["stores"][0]["runs"].as_array().unwrap();
    assert_eq!(runs.iter().filter(|run| run["stays"] == false).count(), 3);
    // Where the store cannot be read, that is said and nothing is made up.
    fs::rename(scenario.path("store"), scenario.path("gone")).unwrap();
    scenario.write("old.plan", keep("6"));
    let answer = scenario.plan(["diff", "old.plan", "p.plan", "--format", "json"]).status(2);
    assert!(consequences(&answer).iter().all(|(_, name)| name != "backups_deleted"), "{answer:?}");
    assert!(answer.json()["unknown"][0].as_str().unwrap().contains("is not known"), "{answer:?}");
}

fn repository() -> Scenario {
    let scenario = Scenario::new()
        .file("plans/p.plan", "plan p\nimport \"lib.plan\"\n\nsource site: files {\n  paths = [\"site\", \"etc\"]\n}\n\narchive main {\n  from = [site]\n  to   = [store]\n}\n")
        .file("plans/lib.plan", "store store: dir {\n  path = \"store\"\n}\n");
    shell(
        &scenario.path("."),
        "git init -q . && git add . && git -c user.name=x -c user.email=x@example.org commit -q -m one && git tag before",
    );
    scenario
}

#[test]
fn a_revision_is_read_with_its_imports() {
    let scenario = repository();
    scenario.plan(["diff", "--rev", "HEAD", "plans/p.plan"]).status(0).stdout_has("no change");
    scenario.write("plans/lib.plan", "store store: dir {\n  path = \"other\"\n}\n");
    let answer = scenario.plan(["diff", "--rev", "before", "plans/p.plan", "--format", "json"]).status(2);
    has(&answer, "danger", "store_moved");
    answer.stdout_has("plans/p.plan at before");
    // An import that was another file then.
    shell(&scenario.path("plans"), "mv lib.plan lib2.plan && sed -i s/lib.plan/lib2.plan/ p.plan");
    has(
        &scenario.plan(["diff", "--rev", "HEAD~0", "plans/p.plan", "--format", "json"]).status(2),
        "danger",
        "store_moved",
    );
}

#[test]
fn what_cannot_be_compared_says_why_and_ends_with_1() {
    let scenario = repository().file("plans/new.plan", plan(SITE)).file("broken.plan", "plan p\nstore {\n");
    let rev = |rev: &str, file: &str| scenario.plan(["diff", "--rev", rev, file]).status(1);
    rev("nowhere", "plans/p.plan").stderr_has("has no revision `nowhere`").stdout("");
    let option = scenario.plan(["diff", "--rev=--git-dir=x", "plans/p.plan"]).status(1);
    option.stderr_has("has no revision");
    rev("HEAD", "plans/new.plan").stderr_has("`plans/new.plan` is not in revision `HEAD`");
    rev("HEAD", "broken.plan").stderr_has("broken.plan");
    scenario.plan(["diff", "plans/new.plan"]).status(1).stderr_has("two plans are compared");
    scenario.plan(["diff", "plans/new.plan", "none.plan"]).status(1).stderr_has("`none.plan` does not exist");
    scenario.plan(["diff", "none.plan", "plans/new.plan"]).status(1).stderr_has("`none.plan` does not exist");
    scenario
        .plan(["diff", "broken.plan", "plans/new.plan"])
        .status(1)
        .stderr_has("`broken.plan` does not compile");
    scenario
        .plan(["diff", "-p", "x=1", "plans/p.plan", "plans/new.plan"])
        .status(1)
        .stderr_has("neither plan");
    let outside = Scenario::new().file("p.plan", plan(SITE));
    outside.plan(["diff", "--rev", "HEAD", "p.plan"]).status(1).stderr_has("lies in no git repository");
    outside.plan(["diff", "--deployed", "p.plan"]).status(1).stderr_has("store");
}

#[test]
fn the_deployed_plan_is_that_of_the_newest_backup() {
    let text = plan(&format!(
        "{SITE}\n# allow: inline_secrets test\nnotify hook: command {{\n  run = [\"true\"]\n  on  = [success]\n}}\n"
    ));
    let scenario = Scenario::new().file("p.plan", &text).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["diff", "--deployed", "p.plan"]).status(0).stdout_has("no change");
    scenario.write("p.plan", text.replace("[\"site\"]", "[\"other\"]"));
    let answer = scenario.plan(["diff", "--deployed", "--format", "json"]).status(2);
    has(&answer, "danger", "path_removed");
    answer.stdout_has("as of run 00000001-");
    // From another folder, as a checkout has it.
    fs::create_dir(scenario.path("checkout")).unwrap();
    scenario.write("checkout/p.plan", text.replace("\"store\"", "\"../store\""));
    let away = scenario.plan(["diff", "--deployed", "checkout/p.plan", "--format", "json"]).status(2);
    has(&away, "danger", "store_moved");
    // A manifest of a newer version hides what is deployed.
    let manifests = shell(&scenario.path("store"), "find . -path '*manifests*' -type f");
    let manifest = format!("store/{}", manifests.lines().next().unwrap());
    let newer = scenario.read(&manifest).replace("format: 1\nmin_reader: 1", "format: 3\nmin_reader: 3");
    assert!(newer.contains("min_reader: 3"), "{newer}");
    fs::remove_file(scenario.path(&manifest)).unwrap();
    scenario.write(&manifest, newer);
    scenario
        .plan(["diff", "--deployed", "p.plan"])
        .status(1)
        .stderr_has("its manifest cannot be used")
        .stderr_has("newer");
}

#[test]
fn what_cannot_be_read_in_a_store_or_a_repository_is_said() {
    let kept = format!("{SITE}\nschedule {{ run = daily at 02:30 }}\nkeep {{ last = 9 }}\n");
    let fewer = kept.replace("last = 9", "last = 1");
    let scenario = Scenario::new().file("p.plan", plan(&kept)).file("site/a", "a");
    scenario.next_day().plan(["run"]).status(0);
    scenario.write("new.plan", plan(&fewer));
    let damage = |what: &str, deployed: &str| {
        shell(&scenario.path("."), &format!("mv store whole && {what}"));
        // The comparison itself needs no store: it says what it could not count.
        let answer = scenario.plan(["diff", "p.plan", "new.plan"]).status(2);
        answer
            .stdout_has("?  unsure")
            .stdout_has("at the fewest 1 backup to restore from")
            .stdout_has("store `store`");
        let json = scenario.plan(["diff", "p.plan", "new.plan", "--format", "json"]).status(2).json();
        assert_eq!(json["unknown"].as_array().unwrap().len(), 1, "{json:#}");
        scenario.plan(["diff", "--deployed", "p.plan"]).status(1).stderr_has(deployed).stdout("");
        shell(&scenario.path("."), "rm -rf store && mv whole store");
    };
    damage("true", "store");
    damage("touch store", "store");
    damage("ln -s store store", "store");
    damage("cp -a whole store && rm -rf store/.backplan/p && touch store/.backplan/p", "store");
    let newer = "cp -a whole store && sed -i 's/^format: 1/format: 9/; s/^min_reader: 1/min_reader: 9/' \
                 store/.backplan/p/format.yaml";
    damage(newer, "newer");
    // No commit yet, an object that is gone, a revision of something else than a commit.
    let fresh = Scenario::new().file("p.plan", plan(SITE));
    shell(&fresh.path("."), "git init -q");
    fresh.plan(["diff", "--rev", "HEAD", "p.plan"]).status(1).stderr_has("has no revision `HEAD`").stdout("");
    let repository = repository();
    let rev = |rev: &str| repository.plan(["diff", "--rev", rev, "plans/p.plan"]).status(1).stdout("");
    rev("").stderr_has("revision");
    rev("HEAD:plans/p.plan").stderr_has("has no revision");
    shell(&repository.path("."), "rm -f .git/objects/??/*");
    rev("HEAD").stderr_has("error: ");
}

/// Three stores, one of them elsewhere, and what is given.
fn in_stores(rest: &str) -> String {
    let stores =
        "store nas: dir { path = \"nas\" }\nstore cloud: dir { path = \"cloud\"\n offsite = true }\n";
    format!("plan v\n{stores}{rest}")
}

/// All `from` into both stores.
fn in_both(rest: &str) -> String {
    in_stores(&format!("{rest}\narchive main {{ from = all\n to = [nas, cloud] }}\n"))
}

fn files(name: &str, paths: &str, exclude: &str) -> String {
    format!("source {name}: files {{ paths = [{paths}]\n exclude = [{exclude}] }}\n")
}

#[track_caller]
pub fn has_no_danger(answer: &Answer) {
    assert!(consequences(answer).iter().all(|(weight, _)| weight != "danger"), "{}", answer.stdout);
}

#[test]
fn a_path_is_with_another_source_only_if_that_one_reads_it() {
    let old = |exclude: &str| {
        in_both(&(files("etc", "\"etc\"", exclude) + &files("web", "\"srv\", \"etc/nginx\"", "")))
    };
    let new = |exclude: &str| in_both(&(files("etc", "\"etc\"", exclude) + &files("web", "\"srv\"", "")));
    let lost = diff(&old("\"/nginx/\""), &new("\"/nginx/\""));
    has(&lost, "danger", "left_out");
    has(&lost, "change", "told_as_lost");
    lost.stdout_has("etc/nginx` of source `web` may be left out by `/nginx/` of `etc`");
    diff(&old("\"nginx\""), &new("\"nginx\"")).stdout_has("is left out by `nginx` of `etc`");
    diff(&old("\"*\", \"!/nginx\""), &new("\"*\", \"!/nginx\"")).stdout_has("leaves out what matches `*`");
    let safe = diff(&old("\"/apache/\""), &new("\"/apache/\""));
    has(&safe, "change", "path_moved");
    has_no_danger(&safe);
    // The patterns of the reader, and its other limits.
    for exclude in ["\"*.log\"", "\"/nginx/*.log\"", "\"/ngi*/**/*.log\"", "\"**/*.log\""] {
        let part = diff(&old(exclude), &new(exclude));
        has(&part, "change", "path_moved");
        has(&part, "danger", "left_out");
        part.stdout_has(".log");
    }
    for limit in ["max_file_size = 1MiB", "exclude_caches = true", "one_file_system = true"] {
        let with = |plan: String| plan.replacen("exclude = []", &format!("exclude = []\n {limit}"), 1);
        has(&diff(&with(old("")), &with(new(""))), "danger", "left_out");
    }
}

#[test]
fn a_source_that_was_split_loses_only_what_no_part_of_it_brings_where_it_was() {
    let whole = in_both(&files("a", "\"srv\"", ""));
    let split = |path: &str, inner: &str, rest: &str| {
        files(rest, "\"srv\"", &format!("\"{path}\"")) + &files(inner, "\"srv/www\"", "")
    };
    for (inner, rest) in [("a", "c"), ("c", "a")] {
        for path in ["/www", "/www/"] {
            let safe = diff(&whole, &in_both(&split(path, inner, rest)));
            has_no_danger(&safe);
            has(&safe, "change", "path_moved");
        }
        // A pattern may match more than that folder, or only something below it.
        for path in ["www", "/ww*", "/other"] {
            has(&diff(&whole, &in_both(&split(path, inner, rest))), "danger", "left_out");
        }
        // It leaves out something itself, has another limit, or goes to one store of two.
        let parts = split("/www", inner, rest);
        let part = parts.replace("[\"srv/www\"]\n exclude = []", "[\"srv/www\"]\n exclude = [\"*.o\"]");
        has(&diff(&whole, &in_both(&part)), "danger", "left_out");
        let limited = parts.replace("[\"srv/www\"]", "[\"srv/www\"]\n max_file_size = 1MiB");
        has(&diff(&whole, &in_both(&limited)), "danger", "left_out");
        let archives = format!(
            "archive main {{ from = [{rest}]\n to = [nas, cloud] }}\narchive part {{ from = [{inner}]\n to = [nas] }}\n"
        );
        let answer = diff(&whole, &in_stores(&(parts + &archives)));
        assert!(consequences(&answer).iter().any(|(weight, _)| weight == "danger"), "{}", answer.stdout);
    }
}

#[test]
fn patterns_are_compared_where_they_are_anchored() {
    let site = |paths: &str, exclude: &str| in_both(&files("site", paths, exclude));
    let wide = diff(&site("\"srv/www\"", "\"/www/\""), &site("\"srv\"", "\"/www/\""));
    has(&wide, "danger", "left_out");
    wide.stdout_has("srv/www` of source `site` may be left out by `/www/` of `site`");
    let safe = diff(&site("\"srv/www\"", "\"/tmp/\", \"*.o\""), &site("\"srv\"", "\"/www/tmp/\", \"*.o\""));
    has(&safe, "better", "path_added");
    has_no_danger(&safe);
    let inner = diff(&site("\"srv\"", "\"/tmp/\""), &site("\"srv\", \"srv/www\"", "\"/tmp/\""));
    inner.stdout_has("leaves out what matches `/tmp/` below `$W/work/srv/www`");
    // What stands in a folder that another entry leaves out is read for itself.
    let kept =
        diff(&site("\"srv\", \"srv/www\"", "\"/www/\""), &site("\"srv/www\", \"srv\"", "\"/www/\", \"!a\""));
    has_no_danger(&kept);
    has(
        &diff(&site("\"srv\", \"srv/www\"", "\"/www/\""), &site("\"srv\"", "\"/www/\"")),
        "danger",
        "left_out",
    );
    let narrow = diff(&site("\"home\"", ""), &site("\"home/ann\"", ""));
    has(&narrow, "danger", "path_removed");
    narrow.stdout_has("of `$W/work/home` of source `site` only `$W/work/home/ann` is backed up");
}

#[test]
fn a_pattern_that_stands_elsewhere_takes_no_longer_in() {
    let site = |exclude: &str| in_both(&files("site", "\"srv\"", exclude));
    let taken = site("\"*.tmp\", \"!keep.tmp\"");
    for exclude in [
        "\"!keep.tmp\", \"*.tmp\"",
        "\"!keep.tmp\", \"*.tmp\", \"*.log\"",
        "\"*.tmp\", \"!keep.tmp\", \"*.tmp\"",
    ] {
        let answer = diff(&taken, &site(exclude));
        has(&answer, "danger", "left_out");
        answer.stdout_has("no longer takes in again what matches `keep.tmp`: `*.tmp` stands behind it");
        has(&diff(&site(exclude), &taken), "better", "taken_in");
    }
    has(&diff(&taken, &site("\"*.tmp\"")), "danger", "left_out");
    for (old, new) in [
        ("\"*.tmp\", \"*.log\"", "\"*.log\", \"*.tmp\""),
        ("\"*.tmp\", \"!keep\"", "\"!keep\", \"*.tmp\""),
        ("\"*.tmp\", \"!keep.tmp\"", ""),
    ] {
        has_no_danger(&diff(&site(old), &site(new)));
    }
}

#[test]
fn what_moves_or_is_renamed_loses_nothing_unsaid() {
    let archives =
        "archive far { from = [web]\n to = [nas, cloud] }\narchive near { from = [etc]\n to = [nas] }\n";
    let plan = |etc: &str, web: &str| in_stores(&(files("etc", etc, "") + &files("web", web, "") + archives));
    let old = plan("\"etc\"", "\"srv\", \"etc/nginx\"");
    let moved = diff(&old, &plan("\"etc\"", "\"srv\""));
    has(&moved, "danger", "copies_lost");
    has(&moved, "danger", "offsite_lost");
    moved.stdout_has("etc/nginx` of source `web` is in 1 store instead of 2: no longer in `cloud`");
    // Another name for the same source.
    let home = in_both(&files("home", "\"home\"", "")).replace(
        "to = [nas, cloud]",
        "to = [nas, cloud]\n encrypt = [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]",
    );
    let people = in_stores(
        &(files("people", "\"home\"", "\"Documents/\"") + "archive main { from = all\n to = [nas] }\n"),
    );
    let promised = |plan: &str, name: &str| format!("{plan}objective {{ of = [{name}]\n copies = 1 }}\n");
    let answer = diff(&promised(&home, "home"), &people);
    has(&answer, "change", "source_renamed");
    for name in ["left_out", "encryption_lost", "copies_lost", "offsite_lost", "promise_weaker"] {
        has(&answer, "danger", name);
    }
    has_no_danger(&diff(&home, &home.replace("source home", "source people")));
    // One source takes over the paths of another.
    let apart = in_both(&(files("etc", "\"etc\"", "") + &files("web", "\"srv\"", "")));
    let merged = diff(&apart, &in_both(&files("web", "\"srv\", \"etc\"", "")));
    has(&merged, "change", "source_merged");
    has_no_danger(&merged);
    let less = diff(&apart, &in_both(&files("web", "\"srv\", \"etc\"", "\"*.key\"")));
    less.stdout_has(
        "source `web`, which reads `$W/work/etc` instead of `etc`, leaves out what matches `*.key`",
    );
    has(&diff(&apart, &in_both(&files("web", "\"srv\"", ""))), "danger", "source_removed");
}

#[test]
fn keys_of_which_none_is_left_are_a_loss() {
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let other = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg";
    let both = TWO.replace(&format!("\"{key}\""), &format!("\"{key}\", \"{other}\""));
    has(&diff(TWO, &TWO.replace(key, other)), "danger", "recipients_replaced");
    has(&diff(&both, TWO), "change", "recipient_removed");
}
