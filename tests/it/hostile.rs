//! Stores that were made to do harm: real artefacts, with manifests that say of them what is not so.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::scenario::{Answer, Scenario, artefacts, everything, plan, shell};

/// Two archives: the first lays the link `site/site/l`, which leads out to `victim`; the second has files below `l`.
const TWO: &str = r#"
source site: files {
  paths = ["site"]
}

source more: files {
  paths = ["more"]
}

archive one {
  from = [site]
  to   = [store]
}

archive two {
  from = [more]
  to   = [store]
}
"#;

/// A world with a run, and what lies beside where it is restored.
fn world() -> Scenario {
    let scenario = Scenario::new()
        .file("p.plan", plan(TWO))
        .file("site/a", "a")
        .file("more/l/evil", "evil")
        .file("victim/kept", "kept");
    symlink("../../../victim", scenario.path("site/l")).unwrap();
    shell(&scenario.path("."), "chmod 700 victim; chmod 777 more/l");
    scenario.plan(["run"]).status(0);
    scenario
}

fn manifest(scenario: &Scenario) -> PathBuf {
    artefacts(&scenario.path("store/.backplan/p/manifests")).remove(0)
}

/// Changes what the manifest says.
fn forge(scenario: &Scenario, from: &str, to: &str) {
    let file = manifest(scenario);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "no `{from}` in {text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

/// Everything around the place that is restored into.
fn around(scenario: &Scenario) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut all = everything(&scenario.path("."));
    all.retain(|path, _| {
        !path.starts_with(scenario.path("out")) && !path.starts_with(scenario.path("store"))
    });
    (all, fs::metadata(scenario.path("victim")).unwrap().mode())
}

/// Restores, and holds that nothing but `out` changed.
fn restored(scenario: &Scenario, args: &[&str]) -> Answer {
    let before = around(scenario);
    let mut all = vec!["restore", "--to", "out"];
    all.extend(args);
    let answer = scenario.plan(all);
    assert_eq!(around(scenario), before, "{answer:?}");
    answer
}

#[test]
fn a_source_that_no_plan_can_name_makes_no_backup() {
    for name in ["site/site/l", "../victim", "/etc", "..", ".", "", "a\\nb", "-x", "l/../../victim"] {
        let scenario = world();
        forge(&scenario, "source: more", &format!("source: \"{name}\""));
        let answer = restored(&scenario, &[]).status(1).stderr_has("a name that a plan can give");
        assert!(!answer.said().contains("panicked"), "{answer:?}");
        assert!(!scenario.path("out").exists(), "{name}");
        scenario.plan(["list"]).status(3).stderr_has("is damaged");
    }
}

#[test]
fn what_an_artefact_holds_is_no_source_because_a_manifest_says_so() {
    let scenario = world();
    // The artefact's own tree is called `more`, and a source of another name has nothing in it.
    forge(&scenario, "source: more", "source: site");
    restored(&scenario, &[]).status(3).stderr_has("does not hold source `more`");
    assert!(!scenario.path("out/more").exists());
    let scenario = world();
    forge(&scenario, "source: more", "source: other");
    restored(&scenario, &[]).status(3);
    assert!(!scenario.path("out/more").exists() && !scenario.path("victim/evil").exists());
}

#[test]
fn a_link_is_no_way_to_what_another_source_lays_down() {
    let scenario = world();
    restored(&scenario, &[]).status(0);
    // Somebody puts links where the folders of the restore are to be.
    for (link, args) in [("more", &["--overwrite"][..]), ("more/more/l", &["--overwrite"][..])] {
        shell(&scenario.path("out"), &format!("rm -rf {link} && ln -s $PWD/../victim {link}"));
        restored(&scenario, args).status(0);
        let seen = scenario.path("out").join(link).symlink_metadata().unwrap();
        assert!(seen.is_dir(), "{link} is replaced, and not what it leads to");
        assert_eq!(scenario.read("out/more/more/l/evil"), "evil");
    }
    assert_eq!(scenario.read("victim/kept"), "kept");
}

#[test]
fn places_of_artefacts_and_roots_are_places_in_their_store_and_on_their_host() {
    for (from, to, said) in [
        ("artefact: p_one", "artefact: ../p_one", "the file name of an artefact"),
        ("artefact: p_one", "artefact: /etc/p_one", "the file name of an artefact"),
        ("artefact: p_one", "artefact: .backplan/p_one", "the file name of an artefact"),
        ("holder: 0", "holder: ../0", "the id of a run"),
        ("level: full", "level: full\n    rests_on: [../../x]", "damaged"),
        ("inside: more", "inside: ../../victim", "a path below a source's folder"),
        ("inside: more", "inside: /victim", "a path below a source's folder"),
        ("original: /", "original: ../", "an absolute path"),
        ("original: /", "original: /../", "an absolute path"),
    ] {
        let scenario = world();
        forge(&scenario, from, to);
        restored(&scenario, &[]).status(1).stderr_has(said);
        assert!(!scenario.path("out").exists(), "{to}");
        let before = around(&scenario);
        scenario.plan(["restore", "--in-place", "--as-recorded", "--overwrite"]).status(1);
        assert_eq!(around(&scenario), before);
    }
}

#[test]
fn a_restore_in_place_goes_where_the_plan_says() {
    let scenario = world();
    let elsewhere = scenario.path("elsewhere");
    let (here, there) = (scenario.path("more"), elsewhere.join("more"));
    forge(&scenario, &format!("original: {}", here.display()), &format!("original: {}", there.display()));
    fs::remove_file(scenario.path("more/l/evil")).unwrap();
    let told = "is none that this machine has made, as it is there";
    scenario.plan(["restore", "--in-place", "--overwrite"]).status(3).says(told);
    assert_eq!(scenario.read("more/l/evil"), "evil");
    assert!(!elsewhere.exists(), "what the manifest says is nobody's word");

    // What the plan does not name is left, and told of, until somebody says so.
    forge(&scenario, "inside: more", "inside: more/l");
    scenario.write("p.plan", plan(TWO).replace("paths = [\"more\"]", "paths = [\"most\"]"));
    let said = format!("not restored: `more` from `{}`", there.display());
    let said = said.replace(scenario.path("..").canonicalize().unwrap().to_str().unwrap(), "$W");
    scenario
        .plan(["restore", "--in-place", "--overwrite"])
        .status(3)
        .stderr_has(&said)
        .stderr_has("`--as-recorded` puts it there");
    assert!(!elsewhere.exists());
    scenario.plan(["restore", "--in-place", "--source", "more"]).status(1).stderr_has(&said);
    assert!(!elsewhere.exists() && !scenario.path("most").exists());
    scenario
        .plan(["restore", "--in-place", "--source", "more", "--as-recorded"])
        .status(3)
        .stderr_has("most`, of which the run holds nothing");
    assert_eq!(fs::read_to_string(there.join("evil")).unwrap(), "evil");

    // Nor does a store alone say where files go.
    fs::remove_dir_all(&elsewhere).unwrap();
    scenario
        .plan(["restore", "--in-place", "--store", "./store"])
        .status(1)
        .stderr_has("`--as-recorded` puts it there");
    assert!(!elsewhere.exists());
}

#[test]
fn a_restore_in_place_follows_no_link_of_another_account() {
    let scenario = world();
    let away = scenario.path("away");
    fs::create_dir(&away).unwrap();
    // `more` is in a folder of somebody, who puts a link in its place.
    scenario.write("p.plan", plan(TWO).replace("[\"more\"]", "[\"home/more\"]"));
    shell(&scenario.path("."), "mkdir home && mv more home && chown -R nobody home");
    scenario.next_day().plan(["run"]).status(0);
    shell(&scenario.path("."), "mv home old && ln -s away home && chown -h nobody home");
    let place = away.join("more");
    scenario
        .plan(["restore", "--in-place", "--overwrite", "--source", "more"])
        .status(1)
        .stderr_has("is a symbolic link of another account");
    assert!(!place.exists());
    // A link of root's own is followed, as a run follows it.
    shell(&scenario.path("."), "chown -h root home");
    scenario.plan(["restore", "--in-place", "--overwrite", "--source", "more"]).status(0);
    assert_eq!(fs::read_to_string(place.join("l/evil")).unwrap(), "evil");
}

/// What becomes an argument, a setting or a path of a tool is one name.
#[test]
fn settings_of_tools_hold_no_options_and_no_paths() {
    let scenario = world();
    let text = fs::read_to_string(manifest(&scenario)).unwrap();
    let kind = "- name: more\n  kind: files\n  status: ok\n";
    let labels = |labels: &str| {
        text.replace(kind, &format!("- name: more\n  kind: postgres\n  status: ok\n  labels:\n{labels}"))
    };
    for bad in [
        "    stanza: ../../x\n",
        "    stanza: --config=/tmp/x\n",
        "    stanza: \"a\\nb\"\n",
        "    label: ../20260101-000000F\n",
        "    label: -x\n",
        "    prior: ../x\n",
        "    tablespace.../../../etc: /srv/space\n",
        "    tablespace./etc: /srv/space\n",
    ] {
        fs::write(manifest(&scenario), labels(bad)).unwrap();
        scenario.plan(["restore", "--source", "more", "--to", "out"]).status(1).stderr_has("is damaged");
        assert!(!scenario.path("out").exists(), "{bad}");
    }
    let repository = |settings: &str| {
        let own = "repositories:\n- source: more\n  tool: pgbackrest\n  version: '2.45'\n  label: 20260101-000000F\n  level: full\n  settings:\n";
        text.replace("\n---\n", &format!("\n{own}{settings}\n---\n"))
    };
    for bad in [
        "    path: /etc\n",
        "    path: ../..\n",
        "    path: .backplan-repo/../../x\n",
        "    path: \".backplan-repo/p/more\\nrepo1-host-cmd=touch /tmp/x\"\n",
        "    stanza: ../x\n",
        "    s3-bucket: \"a\\nrepo1-path=/\"\n",
    ] {
        fs::write(manifest(&scenario), repository(bad)).unwrap();
        scenario.plan(["list"]).status(3).stderr_has("is damaged");
        scenario.plan(["restore", "--source", "more", "--to", "out"]).status(1);
        assert!(!scenario.path("out").exists(), "{bad}");
    }
}

#[test]
fn a_rehearsal_opens_no_database_but_the_restored_one() {
    let declared = "source app: files {\n  paths = [\"app.db\", \"app.db-journal\"]\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n";
    for (lay, said) in [
        ("ln -s $PWD/live.db app.db; echo x > app.db-journal", "`app.db-journal`, `app.db`"),
        ("cp live.db app.db; echo x > app.db-journal", "`app.db-journal`"),
    ] {
        let scenario = Scenario::new().file("p.plan", plan(declared));
        shell(&scenario.path("."), &format!("sqlite3 live.db 'create table t (n)'; {lay}"));
        let before = fs::read(scenario.path("live.db")).unwrap();
        scenario.plan(["run"]);
        forge(&scenario, "kind: files", "kind: sqlite");
        scenario
            .plan(["verify", "--rehearse", "--source", "app"])
            .status(1)
            .stdout_has("it is not one database file alone")
            .stdout_has(said);
        assert_eq!(fs::read(scenario.path("live.db")).unwrap(), before);
    }
}

#[test]
fn what_nests_in_a_store_costs_no_time() {
    let deep = "[".repeat(1 << 20);
    let home = "store/.backplan/p";
    for place in ["manifests", "intents", "tombstones", "format.yaml", "lock"] {
        println!("{place}");
        let scenario = world();
        let run = manifest(&scenario).file_stem().unwrap().to_str().unwrap().to_owned();
        let (path, status) = match place {
            "manifests" => (format!("{home}/manifests/{run}.yaml"), 0),
            "format.yaml" => (format!("{home}/format.yaml"), 1),
            // Below the lease that is held: nobody asks what is in it.
            "lock" => (format!("{home}/lock/0"), 0),
            // What a committed run intended goes unread.
            "intents" => (format!("{home}/intents/{}", run.replacen("00000001", "00000009", 1)), 3),
            folder => (format!("{home}/{folder}/{run}"), 3),
        };
        fs::create_dir_all(scenario.path(&path).parent().unwrap()).unwrap();
        let earlier = fs::read_to_string(scenario.path(&path)).unwrap_or_default();
        scenario.write(&path, format!("{deep}\n{earlier}"));
        let since = Instant::now();
        scenario.plan(["list"]);
        scenario.plan(["prune", "--dry-run"]);
        scenario.next_day().plan(["run"]).status(status);
        assert!(since.elapsed() < Duration::from_secs(10), "{place}: {:?}", since.elapsed());
    }
}
