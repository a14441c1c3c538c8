//! `plan init`

use std::fs;

use crate::scenario::{Scenario, shell};

#[test]
fn the_plan_passes_the_check_and_backs_up_what_was_found() {
    let scenario = Scenario::new();
    shell(
        &scenario.path("."),
        "mkdir -p www/node_modules/x www/deep && echo a > www/a && echo j > www/node_modules/x/j && \
         sqlite3 www/deep/shop.data 'create table t (n); insert into t values (7)'",
    );
    let args = ["init", "site.plan", "--source", "www", "--store", "backups", "--postgres", "none", "--yes"];
    let answer = scenario.plan(args).status(0);
    answer.stdout_has("wrote $W/work/site.plan").says("found the SQLite database");
    scenario.plan(["check", "--deny", "warnings", "site.plan"]).status(0);
    scenario.plan(["fmt", "--check", "site.plan"]).status(0);
    scenario.plan(["run", "site.plan"]).status(0);
    let listed = scenario.plan(["ls", "latest", "-f", "site.plan"]).status(0).stdout;
    assert!(listed.contains("work/www/a") && listed.contains("shop.data"), "{listed}");
    assert!(!listed.contains("node_modules") && !listed.contains("www/deep/shop.data"), "{listed}");
    // A second time nothing is written over.
    let before = scenario.read("site.plan");
    scenario.plan(args).status(1).stderr_has("is there already");
    assert_eq!(scenario.read("site.plan"), before);
}

#[test]
fn nothing_is_written_where_no_good_plan_comes_of_it() {
    let scenario = Scenario::new().file("www/a", "a");
    let init = |args: &[&str]| {
        let fixed = ["init", "--postgres", "none"];
        let answer = scenario.plan(fixed.iter().chain(args)).status(1);
        assert!(!scenario.path("backup.plan").exists());
        answer
    };
    init(&[]).stderr_has("is not said");
    init(&["--source", "www"]).stderr_has("is not said");
    init(&["--source", "none", "--store", "backups"]).stderr_has("`$W/work/none` is not there");
    init(&["--source", "www", "--store", "www/backups"]).stderr_has("no good plan comes of this");
    // Names that a plan's strings and patterns have signs for.
    fs::create_dir(scenario.path("o \"d${d}")).unwrap();
    scenario.write("o \"d${d}/x", "x");
    let answer =
        scenario.plan(["init", "odd.plan", "--source", "o \"d${d}", "--store", "b", "--postgres", "none"]);
    answer.status(0);
    scenario.plan(["run", "odd.plan"]).status(0);
}

#[test]
fn a_store_elsewhere_is_declared_as_what_it_is() {
    let scenario = Scenario::new().file("www/a", "a");
    let wanted = [
        ("s3://b/of/site", "s3 {\n  bucket = \"b\"\n  prefix = \"of/site\"\n}"),
        ("azblob://c", "azblob {\n  container = \"c\"\n}"),
        ("gs://b/p", "gcs {\n  bucket = \"b\"\n  prefix = \"p\"\n}"),
        (
            "sftp://me@nas:2222//srv",
            "sftp {\n  host = \"nas\"\n  user = \"me\"\n  port = 2222\n  path = \"/srv\"\n}",
        ),
    ];
    for (at, (address, declared)) in wanted.into_iter().enumerate() {
        let file = format!("p{at}.plan");
        let words = ["init", &file, "--source", "www", "--store", address, "--postgres", "none", "--yes"];
        scenario.plan(words).status(0);
        let text = scenario.read(&file);
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain(&text).contains(&format!("store backups: {}", plain(declared))), "{text}");
        scenario.plan(["check", &file]).status(0);
    }
    let words = ["init", "no.plan", "--source", "www", "--store", "ftp://h/p", "--postgres", "none", "--yes"];
    scenario.plan(words).status(1).stderr_has("is no address of a store");
    // Nor is a folder of this machine meant where a plan says so.
    let folder = scenario.read("p0.plan").replacen("s3 {", "dir {", 1).replacen("bucket", "path", 1);
    let folder = folder.replacen("\"b\"", "\"s3://b\"", 1).replacen("  prefix = \"of/site\"\n", "", 1);
    scenario.write("p0.plan", folder);
    scenario.plan(["check", "p0.plan"]).status(1).says("bad_address").says("has a folder `s3:`");
    // Whoever starts this reads no file that it names.
    for command in [["status", "--out"], ["report", "-o"]] {
        let [command, out] = command;
        scenario.plan([command, "p0.plan", out, "told"]).status(2).stderr_has("p0.plan: ");
    }
}
