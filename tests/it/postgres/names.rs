//! Names that anybody may give to a database: none of them leads elsewhere, and none is left out without a word.

use std::fs;
use std::process::{Command, Output};

use super::{Cluster, open_above, plan, restore, run, world};
use crate::scenario::shell;

/// What could be an option, a connection string, a path, several lines or no text at all.
const NAMES: &[&str] = &[
    "dbname=postgres",
    "host=192.0.2.1 port=1",
    "postgresql://192.0.2.1/x",
    "x=y",
    "-x",
    "--help",
    "a/b",
    "..",
    "/etc",
    "it's \"so\"",
    "back\\slash\\",
    "new\nline",
    " ",
    "globals.sql",
    "postgres.dump",
    "%2F",
    "ümläut",
    "template",
];

/// Runs `psql` with a database of any name, which is in the environment: no argument of this test's can mean something else.
fn psql(cluster: &Cluster, database: &[u8], sql: &[u8]) -> Output {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(database);
    let out = Command::new(cluster.programs.join("psql"))
        .env("PGDATABASE", name)
        .env("PGCLIENTENCODING", "SQL_ASCII")
        .arg("-h")
        .arg(&cluster.sockets)
        .args(["-p", &cluster.port.to_string(), "-U", "postgres", "-XAtqc"])
        .arg(std::ffi::OsStr::from_bytes(sql))
        .current_dir("/")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out
}

fn quoted(name: &[u8]) -> Vec<u8> {
    let mut all = b"\"".to_vec();
    for byte in name {
        all.extend(if *byte == b'"' { &b"\"\""[..] } else { std::slice::from_ref(byte) });
    }
    all.push(b'"');
    all
}

/// Databases of all these names, each with its own name in a table.
fn make(cluster: &Cluster) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = NAMES.iter().map(|name| name.as_bytes().to_vec()).collect();
    names.push(b"\xFF\xFEno text\n".to_vec());
    let plain = b"create database plain encoding 'SQL_ASCII' template template0";
    psql(cluster, b"postgres", plain);
    for name in &names {
        let encoding: &[u8] =
            if name.starts_with(b"\xFF") { b"encoding 'SQL_ASCII' template template0" } else { b"" };
        psql(cluster, b"plain", &[b"create database ", quoted(name).as_slice(), b" ", encoding].concat());
        psql(
            cluster,
            name,
            b"create table own as select 'I am ' || encode(textsend(current_database()::text), 'hex') who",
        );
    }
    psql(cluster, b"postgres", b"alter database template is_template true");
    names
}

fn mark(name: &[u8]) -> String {
    format!("I am {}", name.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[test]
fn databases_of_all_names_are_dumped_as_themselves_and_load_again() {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    let names = make(&cluster);
    let place = cluster.place();
    let source = format!(
        "source all: postgres {{\n  driver = dump\n{place}}}\nsource wide: postgres {{\n  driver = dump\n  jobs = 2\n{place}}}\n\
         source one: postgres {{\n  driver = dump\n  database = \"host=192.0.2.1 port=1\"\n{place}}}\n"
    );
    let verify = "verify {\n  restore = one\n  query = \"select who = '@' from own\"\n}\n";
    let verify = verify.replace('@', &mark(NAMES[1].as_bytes()));
    scenario.write("p.plan", plan(&source, "archive main {\n  from = all\n  to   = [store]\n}\n", &verify));
    run(&scenario).status(0);
    for (source, ending) in [("all", ".dump"), ("wide", "")] {
        let back = restore(&scenario, "latest", source);
        let there: Vec<String> = fs::read_dir(&back)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "globals.sql")
            .collect();
        // `postgres`, `template1` and `plain` too.
        assert_eq!(there.len(), names.len() + 3, "{there:?}");
        assert!(there.iter().all(|name| name.ends_with(ending)), "{there:?}");
        let mut held = Vec::new();
        for name in &there {
            let out = Command::new(cluster.programs.join("pg_restore"))
                .args(["--data-only", "-f", "-"])
                .arg(back.join(name))
                .output();
            let text = String::from_utf8_lossy(&out.unwrap().stdout).into_owned();
            held.extend(text.lines().filter(|line| line.starts_with("I am ")).map(str::to_owned));
        }
        held.sort();
        let mut wanted: Vec<String> = names.iter().map(|name| mark(name)).collect();
        wanted.sort();
        assert_eq!(held, wanted);
    }
    let one = restore(&scenario, "latest", "one");
    assert!(one.join("host=192.0.2.1 port=1.dump").is_file());
    for source in ["all", "one"] {
        let answer = scenario.plan(["verify", "--rehearse", "--source", source, "p.plan"]).status(0);
        if source == "one" {
            answer.says("passed   query");
        }
    }
}

/// What the manual says of getting a dump back.
#[test]
fn a_dump_is_loaded_by_what_the_manual_says() {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    for name in ["a/b", "dbname=postgres"] {
        psql(&cluster, b"postgres", &[b"create database ", quoted(name.as_bytes()).as_slice()].concat());
        psql(&cluster, name.as_bytes(), b"create table own as select current_database()::text as who");
    }
    let source = format!("source db: postgres {{\n  driver = dump\n{}}}\n", cluster.place());
    scenario.write("p.plan", plan(&source, "archive main {\n  from = all\n  to   = [store]\n}\n", ""));
    run(&scenario).status(0);
    let back = restore(&scenario, "latest", "db");
    open_above(&back.join("x"));
    shell(&back, "chown -R postgres: .");
    for (name, file) in [("a/b", "a%2Fb.dump"), ("dbname=postgres", "dbname=postgres.dump")] {
        psql(&cluster, b"postgres", &[b"drop database ", quoted(name.as_bytes()).as_slice()].concat());
        let out = Command::new("runuser")
            .args(["-u", "postgres", "--"])
            .arg(cluster.programs.join("pg_restore"))
            .arg("-h")
            .arg(&cluster.sockets)
            .args(["-p", &cluster.port.to_string(), "--create", "--dbname=postgres"])
            .arg(back.join(file))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let who = psql(&cluster, name.as_bytes(), b"select who from own").stdout;
        assert_eq!(String::from_utf8(who).unwrap().trim(), name);
    }
}

#[test]
fn a_database_that_is_not_dumped_is_told() {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    cluster.query("create database closed allow_connections false");
    cluster.query("create database halfway");
    cluster.query("update pg_database set datconnlimit = -2 where datname = 'halfway'");
    let source = format!("source db: postgres {{\n  driver = dump\n{}}}\n", cluster.place());
    scenario.write("p.plan", plan(&source, "archive main {\n  from = all\n  to   = [store]\n}\n", ""));
    let answer = run(&scenario).status(3);
    answer
        .says("database `closed` is not dumped: it allows no connections")
        .says("database `halfway` is not dumped");
    cluster.query("alter database closed allow_connections true");
    cluster.query("drop database halfway");
    run(&scenario).status(0);
    assert!(restore(&scenario, "latest", "db").join("closed.dump").is_file());
}

/// Roles, too, are only names.
#[test]
fn a_role_of_an_odd_name_and_an_odd_database_are_asked_by_each_driver() {
    let scenario = world();
    let cluster = Cluster::start(&scenario, "pg", "/bin/true");
    cluster.query("create role \"-x host='y'\" superuser login");
    cluster.fill(50);
    let place = cluster.place();
    let user = "  user   = \"-x host='y'\"\n";
    let source = format!(
        "source base: postgres {{\n  driver = basebackup\n{place}{user}}}\nsource all: postgres {{\n  driver = dump\n{place}{user}}}\n"
    );
    scenario.write("p.plan", plan(&source, "archive main {\n  from = all\n  to   = [store]\n}\n", ""));
    run(&scenario).status(0);
    let other = cluster.restored(&restore(&scenario, "latest", "base"));
    assert_eq!(other.rows(), cluster.rows());
}

/// It is a section of a settings file, a folder of the repository and a word of the server's `archive_command`.
#[test]
fn what_cannot_be_a_stanza_is_no_stanza() {
    let scenario = world();
    for (name, status) in [
        ("db", 0),
        ("15-main.a b", 0),
        ("../x", 1),
        ("a]\\n[b", 1),
        ("-x", 1),
        ("global", 1),
        ("a:b", 1),
        ("a'b", 1),
        ("", 1),
    ] {
        let source = format!(
            "source db: postgres {{\n  driver = pgbackrest\n  stanza = \"{name}\"\n  staging = \"repository\"\n  run_as = \
             \"postgres\"\n}}\n"
        );
        scenario.write("p.plan", plan(&source, "archive main {\n  from = [db]\n  to   = [store]\n}\n", ""));
        let answer = scenario.plan(["check", "p.plan"]).status(status);
        assert_eq!(
            answer.said().contains("cannot be the name of a stanza"),
            status == 1,
            "{name}: {answer:?}"
        );
    }
}
