//! `plan check --live`: the world is looked at, and stays as it is.

use std::fs;

use crate::pg_base::{Cluster, is_root};
use crate::scenario::{Answer, Scenario, everything, plan, shell};

const SITE: &str = "source site: files {\n  paths = [\"site\"]\n}\n\nstaging {\n  path = \"staging\"\n}\n\n\
                    archive a {\n  from = [site]\n  to = [store]\n}\n";

fn live(scenario: &Scenario) -> Answer {
    scenario.plan(["check", "--live", "p.plan"])
}

#[test]
fn paths_and_stores_are_looked_at_and_nothing_is_written() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    live(&scenario).status(1).says("staging_away").says("make it");
    fs::create_dir(scenario.path("staging")).unwrap();
    let before = everything(&scenario.path(".."));
    live(&scenario).status(0).says("nothing to report");
    assert_eq!(everything(&scenario.path("..")), before);
    scenario.plan(["run"]).status(0);
    let before = everything(&scenario.path(".."));
    live(&scenario).status(0);
    assert_eq!(everything(&scenario.path("..")), before);
    // A store that was used and is gone is not mounted; one that was never used is made by the first run.
    fs::rename(scenario.path("store"), scenario.path("elsewhere")).unwrap();
    live(&scenario).status(0).says("store_away").says("mount it");
    fs::rename(scenario.path("elsewhere"), scenario.path("store")).unwrap();
    fs::remove_dir_all(scenario.path("site")).unwrap();
    live(&scenario).status(1).says("path_missing").says("`site`");
    let json = scenario.plan(["check", "--live", "--format", "json", "p.plan"]).status(1).json();
    assert_eq!(json["plans"][0]["findings"][0]["name"], "path_missing");
    assert_eq!(json["plans"][0]["findings"][0]["place"]["file"], "p.plan");
    scenario.plan(["explain", "path_missing"]).status(0).says("not there");
}

#[test]
fn programs_and_accounts_of_sources_are_looked_at() {
    let text = |program: &str, account: &str| {
        plan(&format!(
            "source app: command {{\n  run = [\"{program}\"]\n  as = \"x\"\n  run_as = \"{account}\"\n}}\n\n\
             archive a {{\n  from = [app]\n  to = [store]\n}}\n"
        ))
    };
    let own = shell(std::path::Path::new("/"), "id -un");
    let scenario = Scenario::new().file("p.plan", text("id", own.trim()));
    live(&scenario).status(0);
    scenario.plan(["run"]).status(0);
    for (program, account, told) in [
        ("nowhere-to-be-found", own.trim(), "there is no program `nowhere-to-be-found`"),
        ("/nowhere/id", own.trim(), "there is no program `/nowhere/id`"),
        ("id", "nobody-of-that-name", "there is no account `nobody-of-that-name`"),
    ] {
        scenario.write("p.plan", text(program, account));
        live(&scenario).status(1).says(told);
        scenario.plan(["run"]).status(1);
    }
    // Who is not root can start programs as nobody else, and as himself.
    if is_root() {
        for (account, status) in [("nobody", 0), ("postgres", 1)] {
            scenario.write("p.plan", text("id", account));
            shell(&scenario.path("."), "chmod a+rx ..; chmod -R a+rX .; chmod 777 store");
            let way = ["setpriv", "--reuid=nobody", "--clear-groups", "env", "XDG_STATE_HOME=/tmp/nowhere"];
            let found = scenario.plan_by(&way, ["check", "--live", "p.plan"]).said();
            assert_eq!(found.contains("only root can start a program as"), status == 1, "{found}");
        }
    }
}

#[test]
fn too_little_room_and_a_clock_that_is_behind_are_told() {
    let scenario = Scenario::new().file("p.plan", plan(SITE)).file("site/a", "a");
    shell(&scenario.path("site"), "head -c 3000000 /dev/urandom > noise");
    fs::create_dir(scenario.path("staging")).unwrap();
    for _ in 0..9 {
        scenario.next_day();
    }
    scenario.plan(["run"]).status(0);
    let behind = scenario.other(&[
        "env",
        "BACKPLAN_NOW=2025-01-01T00:00:00Z",
        env!("CARGO_BIN_EXE_plan"),
        "check",
        "--live",
        "p.plan",
    ]);
    behind.status(0).says("clock_wrong");
    let text = scenario.read("p.plan").replace("path = \"staging\"", "path = \"staging/below\"");
    scenario.write("p.plan", text);
    let staging = scenario.path("staging").display().to_string();
    shell(&scenario.path("."), &format!("mount -t tmpfs -o size=1m none {staging} && mkdir {staging}/below"));
    let answer = live(&scenario);
    shell(&scenario.path("."), &format!("umount {staging}"));
    answer.status(0).says("staging_short").says("bytes free");
}

#[test]
fn a_server_is_asked_for_all_that_its_driver_needs() {
    let cluster = Cluster::new();
    let run_as = if is_root() { "run_as = \"postgres\"" } else { "" };
    let write = |driver: &str, user: &str, more: &str| {
        let text = format!(
            "staging {{\n  path = \"staging\"\n}}\n\nsource main: postgres {{\n  driver = {driver}\n  host = \"{}\"\n  \
             user = \"{user}\"\n  {run_as}\n}}\n\narchive a {{\n  from = [main]\n  to = [store]\n}}\n\n{more}",
            cluster.scenario.path("sock").display()
        );
        cluster.scenario.write("p.plan", plan(&text));
    };
    cluster.sql("CREATE ROLE poor LOGIN");
    cluster.sql("CREATE ROLE streams LOGIN REPLICATION");
    write("basebackup", "poor", "");
    live(&cluster.scenario).status(1).says("rights_missing").says("`alter role NAME with replication`");
    cluster.sql("ALTER ROLE poor WITH REPLICATION");
    live(&cluster.scenario).status(0);
    cluster.sql("ALTER ROLE poor WITH NOREPLICATION");
    write("basebackup", "streams", "");
    live(&cluster.scenario).status(0);
    // It is asked as a backup would ask; and what cannot succeed is tried once.
    cluster.sh("cp pg/pg_hba.conf hba; sed -i /replication/d pg/pg_hba.conf; pg_ctl -s -D pg reload");
    let mend = "a line `local replication NAME peer`";
    let refused = "no pg_hba.conf entry for replication connection";
    crate::scenario::wait_for("settings", || live(&cluster.scenario).code == 1);
    live(&cluster.scenario).status(1).says("rights_missing").says(refused).says(mend);
    // The line that is advised, and what is advised of a role of another name than the account's.
    let hba = |lines: &str| cluster.sh(&format!("printf '{lines}' > pg/pg_hba.conf; pg_ctl -s -D pg reload"));
    let until = |words: &str| {
        crate::scenario::wait_for(words, || live(&cluster.scenario).said().contains(words));
    };
    if is_root() {
        hba("local all all trust\nlocal replication streams peer\n");
        until("set `run_as` to that account, or `user` to the role of this one");
        write("basebackup", "postgres", "");
        hba("local all all trust\nlocal replication postgres peer\n");
        until("nothing to report");
        let with_password = "streams\"\n  password = env(\"STREAMS\") # ";
        write("basebackup", with_password, "");
        cluster.sql("ALTER ROLE streams PASSWORD 'sesame'");
        hba("local all all trust\nlocal replication streams scram-sha-256\n");
        let way = ["env", "STREAMS=sesame"];
        crate::scenario::wait_for("a password", || {
            cluster.scenario.plan_by(&way, ["check", "--live", "p.plan"]).said().contains("nothing to report")
        });
        write("basebackup", "streams", "");
    }
    cluster.sh("echo 'local other all trust' > pg/pg_hba.conf; pg_ctl -s -D pg reload");
    let mend = "let the role in: a line in pg_hba.conf";
    crate::scenario::wait_for("settings", || live(&cluster.scenario).said().contains("server_refuses"));
    live(&cluster.scenario).says("no line of pg_hba.conf lets it in like this");
    let run = cluster.scenario.plan(["run", "p.plan"]).status(1).says("no pg_hba.conf entry").says(mend);
    assert!(!run.said().contains("attempt"), "{}", run.said());
    cluster.sh("cp hba pg/pg_hba.conf; pg_ctl -s -D pg reload");
    // What refuses is named.
    write("dump", "absent", "");
    live(&cluster.scenario).status(1).says("server_refuses").says("there is no such role");
    write("dump", "poor\"\n  database = \"nowhere", "");
    live(&cluster.scenario).status(1).says("server_refuses").says("there is no such database");
    write("dump", "poor", "");
    live(&cluster.scenario).status(0).says("`grant pg_read_all_data to NAME`");
    cluster.sql("GRANT pg_read_all_data TO poor");
    live(&cluster.scenario).status(0).says("nothing to report");
    cluster.scenario.plan(["run", "p.plan"]).status(0);
    write("basebackup", "streams", "wal main {\n  to = [store]\n}\n");
    live(&cluster.scenario).status(1).says("archive_off");
    let set = |lines: &str| {
        cluster.sh(&format!(
            "cat >> pg/postgresql.conf <<'EOF'\n{lines}EOF\npg_ctl -w -s -D pg -l log restart -m fast"
        ))
    };
    set("archive_mode = on\narchive_command = 'false'\n");
    let objective = "wal main {\n  to = [store]\n}\n\nobjective {\n  rpo = 5m\n}\n\nschedule {\n  run = daily at 02:30\n}\n";
    write("basebackup", "streams", objective);
    cluster.sql("SELECT pg_switch_wal()");
    crate::scenario::wait_for("a failed attempt", || {
        cluster.sql("SELECT failed_count > 0 FROM pg_stat_archiver") == "t"
    });
    let answer = live(&cluster.scenario).status(0);
    let answer = answer.says("archive_command").says("archive_timeout").says("archive_fails");
    assert!(!answer.said().contains("archive_standby"), "{answer:?}");
    // A server that follows another archives what it receives only where that is said.
    cluster.sh("touch pg/standby.signal");
    set("");
    live(&cluster.scenario).status(0).says("archive_standby");
    set("archive_mode = always\n");
    let answer = live(&cluster.scenario).status(0);
    assert!(!answer.said().contains("archive_standby"), "{answer:?}");
    cluster.sh("rm pg/standby.signal");
    set(
        "archive_command = 'plan wal push x main %p'\narchive_timeout = 60\nwal_level = minimal\nmax_wal_senders = 0\narchive_mode = off\n",
    );
    live(&cluster.scenario).status(1).says("wal_level").says("archive_off");
    cluster.sh("pg_ctl -s -D pg -m fast stop");
    live(&cluster.scenario).status(1).says("server_away").says("Is the server running");
}

#[test]
fn what_stands_in_a_stores_place_is_told_as_a_run_tells_it() {
    let text = plan(crate::scenario::SITE);
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a");
    let agree = |make: &str, code: &str, status: i32| {
        shell(&scenario.path("."), make);
        scenario.plan(["check", "--live", "p.plan"]).status(status).says(code);
        scenario.next_day().plan(["run", "--dry-run"]).status(1).says("no store can be used");
        scenario.plan(["run"]).status(1).says("nowhere: no backup was made");
    };
    agree(": >store", "store_away", 1);
    agree("rm store; ln -s nowhere store", "store_away", 0);
    shell(&scenario.path("."), "rm store");
    scenario.next_day().plan(["run"]).status(0);
    for folder in ["tmp", "sums", "lock", "manifests"] {
        let own = format!("store/.backplan/p/{folder}");
        agree(&format!("mv {own} {own}.aside; ln -s {folder}.aside {own}"), "store_unusable", 1);
        scenario.plan(["check", "--live", "p.plan"]).says(&format!("`{folder}` is a file or a link"));
        shell(&scenario.path("."), &format!("rm {own}; mv {own}.aside {own}"));
    }
    scenario.next_day().plan(["run"]);
    scenario.plan(["check", "--live", "p.plan"]).status(0).says("nothing to report");
}
