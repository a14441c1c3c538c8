//! A cluster kept out of every archive: its backups live in a repository of their own, which the run looks after.

use std::fs;
use std::path::{Path, PathBuf};

use super::faults::rows_in;
use super::{Cluster, open_above};
use crate::scenario::{Scenario, repository, shell};

const NAME: &str = "alation_v2_2023_1_excluded";

/// The plan as it stands in `plans/`, its folders below the scenario and its server where the test has it.
fn product(scenario: &Scenario, cluster: &Cluster, stanza: &str, more: &str) -> String {
    let text = fs::read_to_string(repository(&format!("plans/{NAME}.plan"))).unwrap();
    let below = format!("\"{}/", scenario.path("").to_str().unwrap().trim_end_matches('/'));
    let text = text.replace("\"/", &below).replace("\"alation\"", &format!("\"{stanza}\""));
    let with_place = text.replace("  run_as = \"postgres\"\n", &cluster.place());
    assert!(with_place != text);
    with_place + more
}

fn world() -> Scenario {
    let scenario = Scenario::new()
        .file("opt/alation/build", "5-17-0-116556\n")
        .file("opt/alation/site_config/site.conf", "day 0\n")
        .file("data1/site_data/file", "site\n")
        .file("data2/kafka/events", "events\n");
    for folder in ["data2/backup", "data2/tmp", "data3/pgbackrest"] {
        fs::create_dir_all(scenario.path(folder)).unwrap();
    }
    open_above(&scenario.path("data3/pgbackrest/x"));
    scenario
}

pub(super) fn archiving(scenario: &Scenario, own: &Path, stanza: &str) -> Cluster {
    let config = own.join("pgbackrest.conf");
    let push = format!("pgbackrest --config={} --stanza={stanza} archive-push %p", config.display());
    Cluster::start(scenario, "pg", &push)
}

/// The labels that the repository has, oldest first.
pub(super) fn backups(own: &Path, stanza: &str) -> Vec<String> {
    let found = shell(&own.join("backup").join(stanza), "ls -d 2* | sort");
    found.lines().map(str::to_owned).collect()
}

pub(super) fn own(scenario: &Scenario, store: &str, plan: &str, source: &str) -> PathBuf {
    scenario.path(&format!("{store}/.backplan-repo/{plan}/{source}"))
}

#[test]
fn a_product_s_plan_with_postgres_excluded_keeps_its_backups_apart() {
    let stanza = "backplan_excluded";
    let scenario = world();
    let repository = own(&scenario, "data3/pgbackrest", NAME, "rosemeta");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", product(&scenario, &cluster, stanza, "\ncycle {\n  incrementals = 4\n}\n"));
    let mut days = Vec::new();
    for number in 1..=11 {
        cluster.fill(500);
        days.push(cluster.rows());
        scenario.write("opt/alation/site_config/site.conf", format!("day {number}\n"));
        if number > 1 {
            // Before its first use it would be somebody else's.
            fs::write(scenario.path("data2/tmp/rest"), "of a run that died").unwrap();
        }
        let dry = scenario.next_day().plan(["run", "p.plan", "--dry-run"]);
        dry.status(0);
        scenario.plan(["run", "p.plan"]).status(0);
        assert!(shell(&scenario.path("data2/tmp"), "ls -A").is_empty(), "day {number}: the staging is clear");
        let found = backups(&repository, stanza);
        let newest = found.last().unwrap();
        assert_eq!(newest.ends_with('F'), number % 5 == 1, "day {number}: {found:?}");
        // `full = 2` keeps the newest two and what rests on them, `wal = 45d` the first, as none is so old yet: at the third
        // full the differentials of the first go.
        let wanted = if number == 11 { 7 } else { number };
        assert_eq!(found.len(), wanted, "day {number}: {found:?}");
    }
    // Nothing of the database is in an archive.
    let artefacts = shell(&scenario.path("data2/backup"), "for f in *.tar.gz; do tar tzf $f; done");
    assert!(artefacts.contains("site.conf") && !artefacts.contains("rosemeta"), "{artefacts}");
    // What the repository has is what the manifests beside it say.
    scenario.plan(["list", "p.plan"]).status(0).says("00000006-").says("00000011-");
    scenario.plan(["status", "p.plan"]).status(0).says("rosemeta");
    assert_eq!(rows_in(&scenario, &cluster, stanza, &repository), days[10]);
}

/// Runs a query in the cluster that `plan restore --start` left running in `back`.
pub(super) fn back(scenario: &Scenario, cluster: &Cluster, sql: &str) -> String {
    let sockets = scenario.path("back.server");
    let out = cluster.must("psql", &["-h", sockets.to_str().unwrap(), "-d", "postgres", "-XAtc", sql]);
    out.trim().to_owned()
}

pub(super) fn stop(scenario: &Scenario, cluster: &Cluster) {
    cluster.must("pg_ctl", &["-D", scenario.path("back").to_str().unwrap(), "-m", "immediate", "-w", "stop"]);
    shell(&scenario.path("."), "rm -rf back back.*");
}

/// Marks that lie in the log one after the other: a time, an LSN, a restore point, each with the rows that were there.
pub(super) fn marks(cluster: &Cluster) -> Vec<([&'static str; 2], String, String)> {
    let mut marks = Vec::new();
    let clock = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";
    // A tool tells of whole seconds when its backup ended: that one is to be over.
    std::thread::sleep(std::time::Duration::from_secs(1));
    for kind in ["--at", "--lsn", "--restore-point"] {
        cluster.fill(100);
        let rows = cluster.query("select count(*) from t");
        let target = match kind {
            "--at" => cluster.query(clock).replace(' ', "T") + "Z",
            "--lsn" => cluster.query("select pg_current_wal_lsn()"),
            _ => {
                cluster.query("select pg_create_restore_point('before')");
                "before".to_owned()
            }
        };
        if kind == "--at" {
            // A bucket knows by the second when what is behind it came.
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        marks.push(([kind, ""], target, rows));
    }
    cluster.fill(100);
    let segment = cluster.query("select pg_walfile_name(pg_switch_wal())");
    crate::scenario::wait_for("an archived segment", || {
        cluster
            .query(&format!("select coalesce(last_archived_wal >= '{segment}', false) from pg_stat_archiver"))
            == "t"
    });
    marks
}

/// A moment as `--at` takes it.
pub(super) const CLOCK: &str =
    "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

/// A plan `p` with a cluster that pgBackRest reads into a repository of its own, with more in each block.
pub(super) fn apart(cluster: &Cluster, stanza: &str, source: &str, separate: &str) -> String {
    format!(
        "plan p\nstore store: dir {{\n  path = \"store\"\n}}\nsource db: postgres {{\n  driver = pgbackrest\n  stanza = \"{stanza}\"\n\
         {source}{}}}\nseparate db {{\n  to = [store]\n{separate}}}\ncycle {{\n  incrementals = 9\n}}\n",
        cluster.place()
    )
}

#[test]
fn a_cluster_kept_apart_is_put_back_to_any_moment_of_its_log() {
    let stanza = "backplan_apart";
    let scenario = super::world();
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", apart(&cluster, stanza, "", "  passphrase = env(\"REPO_PASS\")\n"));
    let scenario = scenario.env("REPO_PASS", "not to be seen anywhere");
    cluster.fill(1000);
    // Nothing but the repository is backed up, and that is a run.
    scenario.plan(["run", "p.plan"]).status(0);
    let marks = marks(&cluster);
    scenario.plan(["list", "p.plan"]).status(0).says("00000001-");
    let store = shell(
        &scenario.path("."),
        "grep -rl 'not to be seen' --include=* store state | grep -v pgbackrest.conf || true",
    );
    assert_eq!(store, "", "the passphrase is nowhere but in the settings that the server reads");
    let dry = ["restore", "p.plan", "--source", "db", "--to", "back", "--dry-run"];
    scenario.plan(dry).status(0).says("nothing was written");
    assert!(!scenario.path("back").exists());
    for ([option, _], target, rows) in &marks {
        let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
        scenario.plan(way).status(0).says("running");
        assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows, "{option} {target}");
        assert_eq!(back(&scenario, &cluster, "show archive_mode"), "off");
        stop(&scenario, &cluster);
    }
    let early = ["restore", "p.plan", "--source", "db", "--to", "back", "--at", "2020-01-01T00:00:00Z"];
    scenario.plan(early).status(1).says("before the end of the first backup");
    assert!(!scenario.path("back").exists());
    // A passphrase that was changed opens nothing, and the server goes on with its own.
    let settings = || shell(&repository, "cat pgbackrest.conf");
    let before = settings();
    let scenario = scenario.env("REPO_PASS", "another one");
    scenario
        .plan(["run", "p.plan"])
        .status(1)
        .says("cannot be read")
        .says("see that the `passphrase` is that with which it was made");
    assert_eq!(settings(), before);
    let looked = scenario.plan(["check", "--live", "p.plan"]).status(1).says("repository_unreadable");
    assert!(!looked.said().contains("stanza_missing"), "{looked:?}");
    let scenario = scenario.env("REPO_PASS", "not to be seen anywhere");
    // The repository is gone: that is told, and nothing is made in its place.
    fs::rename(&repository, scenario.path("away")).unwrap();
    scenario
        .plan(["restore", "p.plan", "--source", "db", "--to", "back"])
        .status(1)
        .says("the repository is not there");
    fs::rename(scenario.path("away"), &repository).unwrap();
    // The source has another name by now: what opens its repository opens the one of before, also once there is a new one.
    let text = scenario.read("p.plan");
    scenario.write("old.plan", &text);
    scenario.write(
        "p.plan",
        text.replace("source db:", "source base:").replace("separate db ", "separate base "),
    );
    scenario.plan(["diff", "old.plan", "p.plan"]).says("that of `db` stays where it is");
    let ([option, _], target, rows) = &marks[0];
    let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
    scenario.plan(way).status(0).says("running");
    assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows);
    stop(&scenario, &cluster);
    scenario.plan(["verify", "p.plan", "--all"]).status(0);
    let settings = own(&scenario, "store", "p", "base").join("pgbackrest.conf");
    let push = format!("pgbackrest --config={} --stanza={stanza} archive-push %p", settings.display());
    cluster.query(&format!("alter system set archive_command = '{push}'"));
    cluster.query("select pg_reload_conf()");
    scenario.plan(["run", "p.plan"]).status(0);
    scenario.plan(["verify", "p.plan", "--all"]).status(0).says("/base").says("/db");
}

#[test]
fn a_backup_whose_run_was_never_committed_is_deleted_by_the_next() {
    let stanza = "backplan_orphan";
    let scenario = super::world();
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", apart(&cluster, stanza, "", ""));
    cluster.fill(100);
    let manifests = scenario.path("store/.backplan/p/manifests");
    // As where the newest run was killed between its backup and its commit: no manifest, and nobody who knows of one.
    let killed = || {
        let run = shell(&manifests, "ls | tail -n 1");
        fs::remove_file(manifests.join(run.trim())).unwrap();
        let known = shell(&scenario.path("../state"), "find . -name committed");
        let done = format!("sed -i '/^{}.* done/d' {}", &run[..8], known.trim());
        shell(&scenario.path("../state"), &done);
    };
    // The very first: the tool keeps the only full there is, until there is another.
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    killed();
    let first = backups(&repository, stanza);
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    let second = backups(&repository, stanza);
    assert!(second.len() == 2 && second[1].ends_with('F') && second[0] == first[0], "{first:?} {second:?}");
    scenario.next_day().plan(["run", "p.plan"]).status(3).says("was never committed is deleted");
    assert!(!backups(&repository, stanza).contains(&first[0]));
    scenario.next_day();
    // One of a person, who names no run: it stays.
    let config = repository.join("pgbackrest.conf");
    let by_hand = format!(
        "runuser -u postgres -- pgbackrest --config={} --stanza={stanza} --log-level-console=off --type=incr backup",
        config.display()
    );
    shell(Path::new("/"), &by_hand);
    scenario.plan(["run", "p.plan"]).status(0);
    assert_eq!(backups(&repository, stanza).len(), 4);
    let orphan = backups(&repository, stanza).pop().unwrap();
    killed();
    scenario.next_day().plan(["run", "p.plan"]).status(3).says("was never committed is deleted");
    let left = backups(&repository, stanza);
    assert!(!left.contains(&orphan) && left.len() == 4, "{orphan}: {left:?}");
    // Where manifests are lost, those backups stay.
    shell(&manifests, "rm *");
    scenario.next_day().plan(["run", "p.plan"]);
    let all = backups(&repository, stanza);
    assert!(left.iter().all(|label| all.contains(label)) && all.len() == 5, "{left:?}: {all:?}");
    let restored =
        scenario.plan(["restore", "p.plan", "--source", "db", "--to", "back", "--start"]).status(3);
    restored.says("is in none of the plan's stores any more");
    assert_eq!(back(&scenario, &cluster, "select count(*) from t"), "100");
    stop(&scenario, &cluster);
}

#[test]
fn a_packed_repository_leads_to_the_moments_that_its_log_reaches() {
    let stanza = "backplan_packed";
    let scenario = super::world();
    let repository = scenario.path("pg/repository");
    let cluster = archiving(&scenario, &repository, stanza);
    scenario.write("p.plan", super::included(&cluster, stanza));
    // It commits when it likes.
    cluster.query("alter system set autovacuum = off");
    cluster.query("select pg_reload_conf()");
    cluster.fill(1000);
    scenario.plan(["run", "p.plan"]).status(0);
    let marks = marks(&cluster);
    // The second artefact holds the log of the time between.
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    let ([option, _], target, rows) = &marks[1];
    let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
    scenario.plan(way).status(0).says("run 00000002-");
    assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows);
    stop(&scenario, &cluster);
    // The first artefact has the same backup, and not the log behind it: that comes from the second.
    let first = ["--run", "1"];
    scenario.plan(way.iter().chain(&first)).status(0).says("run 00000001-").says("of run 00000002-");
    assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows);
    stop(&scenario, &cluster);
    // Between a cycle's last backup and the next full: the one has the backup, the other the log.
    let between = self::marks(&cluster);
    let behind = cluster.query(CLOCK);
    scenario.next_day().plan(["run", "p.plan", "--level", "full"]).status(0);
    for ([option, _], target, rows) in &between[..2] {
        let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
        scenario.plan(way).status(0).says("run 00000002-").says("of run 00000003-");
        assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows);
        stop(&scenario, &cluster);
    }
    // What no artefact has is not promised, and found out before anything is written.
    let later = cluster.query(CLOCK);
    let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", "--at", later.as_str()];
    let refused = scenario.plan(way);
    let refused =
        refused.status(1).says("is not in what was archived: it can be recovered to any moment from");
    // The window is the one that `status` shows.
    let window = refused.stderr.split_once("any moment ").unwrap().1.lines().next().unwrap();
    scenario.plan(["status", "p.plan"]).says(&format!("log of `db`: any moment {window}\n"));
    let files = ["restore", "p.plan", "--source", "db", "--to", "back", "--at", later.as_str(), "--dry-run"];
    scenario.plan(files).status(0).says("the tool's repository as it was then, and no cluster");
    // Behind the last commit: that, or the backup's end.
    let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", "--at", behind.as_str()];
    scenario.plan(way).status(0).says("behind the last commit in the log");
    stop(&scenario, &cluster);
    // Without the full's artefact, neither is what is between.
    shell(&scenario.path("store"), "mkdir ../away; mv .backplan/p/manifests/00000003-* ../away");
    let ([option, _], target, _) = &between[0];
    let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
    scenario.plan(way).status(1).says("is not in what was archived: it can be recovered to any moment from");
    assert!(!scenario.path("back").exists() && !scenario.path("back.repository").exists());
    scenario
        .plan(["restore", "p.plan", "--source", "db", "--to", "back", "--start", "--immediate"])
        .status(3)
        .says("is in none of the plan's stores any more");
    assert!(
        back(&scenario, &cluster, "select count(*) from t").parse::<u32>().unwrap() >= rows.parse().unwrap()
    );
    stop(&scenario, &cluster);
}

#[test]
fn a_cluster_with_two_schedules_has_fulls_and_incrementals() {
    let (name, stanza) = ("pgbackrest_cluster", "backplan_two");
    let scenario = super::world();
    fs::create_dir_all(scenario.path("pgbackrest/repo1")).unwrap();
    open_above(&scenario.path("pgbackrest/repo1/x"));
    let repository = own(&scenario, "pgbackrest/repo1", name, "cluster");
    let cluster = archiving(&scenario, &repository, stanza);
    let text = fs::read_to_string(crate::scenario::repository(&format!("plans/{name}.plan"))).unwrap();
    let below = format!("\"{}/", scenario.path("").to_str().unwrap().trim_end_matches('/'));
    let text = text.replace("\"/", &below).replace("\"db\"", &format!("\"{stanza}\""));
    scenario.write("p.plan", text.replace("  run_as = \"postgres\"\n", &cluster.place()));
    cluster.fill(100);
    // At half past two the full is due, whatever else is.
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    scenario.plan(["run", "p.plan", "--level", "incremental"]).status(0);
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    let kinds: Vec<char> =
        backups(&repository, stanza).iter().map(|label| label.chars().next_back().unwrap()).collect();
    assert_eq!(kinds, ['F', 'I', 'F']);
    scenario.plan(["run", "p.plan", "--dry-run", "--level", "incremental"]).status(0).says("dump/cluster");
}

/// The run that a timer starts at this moment.
fn at(scenario: &Scenario, moment: &str, args: &[&str]) -> crate::scenario::Answer {
    scenario.plan_by(&["env", &format!("BACKPLAN_NOW={moment}")], args)
}

#[test]
fn a_cluster_with_a_schedule_of_its_own_is_backed_up_when_that_says() {
    let stanza = "backplan_own_times";
    let scenario = super::world().file("site/a", "1");
    let repository = own(&scenario, "store", "p", "db");
    let cluster = archiving(&scenario, &repository, stanza);
    let times =
        "  schedule {\n    full        = weekly on sun at 01:00\n    incremental = daily at 01:00\n  }\n";
    let site = "source site: files {\n  paths = [\"site\"]\n}\narchive main {\n  from = [site]\n  to = [store]\n}\n\
                schedule {\n  run = daily at 12:00\n}\n";
    scenario.write("p.plan", apart(&cluster, stanza, "", times) + site);
    cluster.fill(100);
    let kinds = || -> String {
        backups(&repository, stanza).iter().filter_map(|label| label.chars().next_back()).collect()
    };
    let timer = |moment: &str, level: &str| {
        at(&scenario, moment, &["run", "p.plan", "--scheduled", "--only", "db", "--level", level])
    };
    // What starts them.
    let units = scenario.plan(["schedule", "p.plan", "--for", "systemd"]).status(0);
    for name in ["backplan-p.timer", "backplan-p-db-full.timer", "backplan-p-db-incremental.service"] {
        assert!(units.stdout.contains(&format!("# {name}\n")), "{name}: {}", units.stdout);
    }
    let units = units.says("run --quiet --scheduled --only db --level full");
    assert_eq!(units.stdout.matches("OnCalendar=*-*-* 12:00:00 UTC").count(), 1);
    scenario
        .plan(["schedule", "p.plan", "--for", "cron"])
        .status(0)
        .says("0 1 * * 0 root ")
        .says("0 12 * * * root ");
    scenario.plan(["schedule", "p.plan", "--for", "airflow"]).status(1).says("a schedule of its own");
    // A Monday: there is none yet, so the plan's own run takes it along.
    at(&scenario, "2026-11-02T12:00:01Z", &["run", "p.plan"]).status(0);
    assert_eq!(kinds(), "F");
    cluster.fill(50);
    timer("2026-11-03T01:00:01Z", "incremental").status(0);
    assert_eq!(kinds(), "FI");
    assert_eq!(fs::read_dir(scenario.path("store")).unwrap().count(), 3, "no archive came of it");
    let noon = ["run", "p.plan"];
    at(&scenario, "2026-11-03T12:00:01Z", &noon).status(0).says("`plan run --only db` backs it up");
    assert_eq!(kinds(), "FI");
    // Its timer did not fire: the next run makes up for that.
    at(&scenario, "2026-11-04T11:00:00Z", &["status", "p.plan"]).status(3).says(
        "source `db` is overdue by its own schedule since 2026-11-04T01:00:00Z: see that something starts `plan run --only db`",
    );
    at(&scenario, "2026-11-04T12:00:01Z", &noon).status(0);
    assert_eq!(kinds(), "FII");
    at(&scenario, "2026-11-04T12:30:00Z", &["status", "p.plan"]).status(0);
    // A level for the others says nothing of it; and of two levels at one moment the higher is made.
    at(&scenario, "2026-11-05T00:30:00Z", &["run", "p.plan", "--level", "full"]).status(0);
    assert_eq!(kinds(), "FII");
    timer("2026-11-08T01:00:01Z", "incremental").status(0).says("a full is due at the same moment");
    timer("2026-11-08T01:00:01Z", "full").status(0);
    assert_eq!(kinds(), "FIIF");
    // Its own runs are no sign that the plan's are made.
    at(&scenario, "2026-11-08T02:00:00Z", &["status", "p.plan"]).status(3).says("overdue");
    scenario.plan(["restore", "p.plan", "--source", "db", "--to", "back", "--start"]).status(0);
    assert_eq!(back(&scenario, &cluster, "select count(*) from t"), "150");
    stop(&scenario, &cluster);
    // At one moment with the plan's own, that takes it along.
    let both = "  schedule {\n    run = daily at 12:00\n  }\n";
    scenario.write("p.plan", apart(&cluster, stanza, "", both) + site);
    let along = ["run", "p.plan", "--scheduled", "--only", "db"];
    at(&scenario, "2026-11-09T12:00:01Z", &along)
        .status(0)
        .says("the plan's own run, which takes the source");
    at(&scenario, "2026-11-09T12:00:02Z", &noon).status(0);
    assert_eq!(kinds(), "FIIFD");
}

#[test]
fn a_repository_that_goes_away_within_a_run_costs_nothing_where_another_has_the_backup() {
    let scenario = super::world();
    let cluster = archiving(&scenario, &scenario.path("pg/settings"), "backplan_leaves");
    let declared = |absent: &str| {
        apart(&cluster, "backplan_leaves", "  staging = \"pg/settings\"\n", "")
            .replace("to = [store]", "to = [store, far]")
            .replace("source db", &format!("store far: dir {{\n  path = \"far\"\n{absent}}}\nsource db"))
    };
    fs::create_dir_all(scenario.path("far")).unwrap();
    open_above(&scenario.path("far/x"));
    scenario.write("p.plan", declared(""));
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    // Behind the locks, and before the tool comes to it.
    let goes = "window leaving {\n  around = [db]\n  enter  = [\"mv\", \"far\", \"away\"]\n}\nretry {\n  attempts = 1\n}\n";
    let mut nights = 1;
    for (absent, code) in [("", 3), ("  absent = skip\n", 0), ("  absent = fail\n", 1)] {
        scenario.write("p.plan", declared(absent) + goes);
        let made = scenario.next_day().plan(["run", "p.plan", "--format", "json"]).status(code).json();
        nights += 1;
        assert_eq!(made["committed"], serde_json::json!(["store"]), "{made}");
        assert_eq!(backups(&own(&scenario, "store", "p", "db"), "backplan_leaves").len(), nights);
        // It is back by the next night.
        let _ = fs::remove_dir_all(scenario.path("far"));
        fs::rename(scenario.path("away"), scenario.path("far")).unwrap();
    }
    scenario.write("p.plan", declared(""));
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    assert_eq!(backups(&own(&scenario, "far", "p", "db"), "backplan_leaves").len(), 2);
}
