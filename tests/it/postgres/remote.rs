//! A cluster whose repository is in a bucket: a real server of S3's protocol, with TLS, in memory.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::separate::{archiving, back, marks, own, stop};
use super::{Cluster, open_above};
use crate::scenario::{Answer, Scenario, shell, wait_for};

/// A server with an empty bucket, and TLS before it. They go with this.
pub(super) struct Bucket {
    children: [Child; 2],
    port: u16,
}

/// Signed, as objects are nobody's to read.
const CURL: &str =
    "curl -sf --cacert cert.pem --aws-sigv4 aws:amz:us-east-1:s3 --user 'an id of a key:a key of that id'";

impl Bucket {
    pub(super) fn start(scenario: &Scenario) -> Bucket {
        let folder = scenario.path(".");
        shell(
            &folder,
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=localhost \
             -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost 2>/dev/null && chmod 644 cert.pem",
        );
        open_above(&scenario.path("cert.pem"));
        let (port, plain) = (free_port(), free_port());
        let tls = format!(
            "foreground = yes\npid =\n[s3]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{plain}\ncert = {0}/cert.pem\n\
             key = {0}/key.pem\nTIMEOUTclose = 0\n",
            folder.display()
        );
        scenario.write("stunnel.conf", tls);
        let child = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(&folder).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let server = child("moto_server", &["-H", "127.0.0.1", "-p", &plain.to_string()]);
        let bucket = Bucket { children: [server, child("stunnel4", &["stunnel.conf"])], port };
        let make = format!("curl -sf --cacert cert.pem -X PUT https://localhost:{port}/buck; echo $?");
        wait_for("a bucket", || shell(&folder, &make).trim().ends_with('0'));
        bucket
    }

    /// The program without a plan at hand: the bucket's keys and its server come from the environment.
    pub(super) fn plan(&self, scenario: &Scenario, args: &[&str]) -> Answer {
        let server = format!("AWS_ENDPOINT_URL=https://localhost:{}", self.port);
        let ca = format!("AWS_CA_BUNDLE={}", scenario.path("cert.pem").display());
        let way = [
            "env",
            &server,
            &ca,
            "AWS_ACCESS_KEY_ID=an id of a key",
            "AWS_SECRET_ACCESS_KEY=a key of that id",
        ];
        scenario.plan_by(&way, args)
    }

    /// The names of objects that begin so, in their order.
    fn keys(&self, scenario: &Scenario, prefix: &str) -> Vec<String> {
        let ask = format!(
            "{CURL} 'https://localhost:{}/buck?list-type=2&prefix={prefix}' | grep -o '<Key>[^<]*' | cut -c6-",
            self.port
        );
        shell(&scenario.path("."), &ask).lines().map(str::to_owned).collect()
    }

    fn ask(&self, scenario: &Scenario, method: &str, key: &str) -> String {
        let ask = format!("{CURL} -X {method} https://localhost:{}/buck/{key}", self.port);
        shell(&scenario.path("."), &ask)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn world() -> Scenario {
    let scenario = super::world().file("etc/conf", "day 0\n").env("KEY_ID", "an id of a key");
    scenario.env("KEY", "a key of that id").env("REPO_PASS", "a phrase to pass by")
}

pub(super) fn plan(cluster: &Cluster, bucket: &Bucket, stanza: &str, store: &str, more: &str) -> String {
    format!(
        "plan p\nstore here: dir {{\n  path = \"{store}\"\n}}\nstore far: s3 {{\n  bucket = \"buck\"\n  prefix = \"pg\"\n  \
         endpoint = \"https://localhost:{}\"\n  access_key = env(\"KEY_ID\")\n  secret_key = env(\"KEY\")\n  \
         ca_file = \"cert.pem\"\n}}\nsource etc: files {{\n  paths = [\"etc\"]\n}}\n\
         source db: postgres {{\n  driver = pgbackrest\n  stanza = \"{stanza}\"\n  staging = \"pg/settings\"\n{}}}\n\
         separate db {{\n  to = [far]\n  passphrase = env(\"REPO_PASS\")\n}}\n\
         archive main {{\n  from = [etc]\n  to = [here]\n}}\ncycle {{\n  incrementals = 1\n}}\n{more}",
        bucket.port,
        cluster.place()
    )
}

/// The labels that the repository has, oldest first.
fn backups(scenario: &Scenario, stanza: &str) -> Vec<String> {
    backups_by(scenario, "pgbackrest.conf", stanza)
}

fn backups_by(scenario: &Scenario, settings: &str, stanza: &str) -> Vec<String> {
    let config = scenario.path("pg/settings").join(settings);
    let info = format!(
        "runuser -u postgres -- pgbackrest --config={} --stanza={stanza} info | sed -n 's/.* backup: //p'",
        config.display()
    );
    shell(Path::new("/"), &info).lines().map(str::to_owned).collect()
}

#[test]
fn a_repository_in_a_bucket_follows_the_cycle_and_gives_the_cluster_back() {
    let stanza = "backplan_bucket";
    let scenario = world();
    let bucket = Bucket::start(&scenario);
    let settings = scenario.path("pg/settings");
    let cluster = archiving(&scenario, &settings, stanza);
    let keep = "keep {\n  full = 2\n}\n";
    scenario.write("p.plan", plan(&cluster, &bucket, stanza, "store", keep));
    cluster.fill(1000);
    scenario.plan(["run", "p.plan", "--dry-run"]).status(0);
    assert!(!settings.join("pgbackrest.conf").exists());
    for number in 1..=4 {
        scenario.next_day().plan(["run", "p.plan"]).status(0);
        let found = backups(&scenario, stanza);
        assert_eq!(found.last().unwrap().ends_with('F'), number % 2 == 1, "{found:?}");
        assert_eq!(found.len(), number);
    }
    let marks = marks(&cluster);
    let first = backups(&scenario, stanza)[0].clone();
    scenario.next_day().plan(["run", "p.plan", "--dry-run"]).status(0).says(&format!("backup {first}"));
    scenario.plan(["run", "p.plan"]).status(0);
    let left = backups(&scenario, stanza);
    assert!(left.len() == 3 && !left.contains(&first), "{left:?}");

    // What nobody may see is in the settings alone, which are the server's.
    let seen =
        shell(&scenario.path("."), "grep -rlE 'an id of|a key of|a phrase to' store ../state pg || true");
    assert_eq!(seen.trim(), "pg/settings/pgbackrest.conf");
    let config = fs::metadata(settings.join("pgbackrest.conf")).unwrap();
    assert_eq!(config.mode() & 0o777, 0o600);
    assert_eq!(config.uid(), fs::metadata(&cluster.data).unwrap().uid());
    let told = bucket.keys(&scenario, "pg/.backplan/p/manifests/00000005-");
    let manifest = bucket.ask(&scenario, "GET", &told[0]);
    for part in ["s3-bucket: buck", "path: /pg/.backplan-repo/p/db", "cipher: aes-256-cbc", "type: s3"] {
        assert!(manifest.contains(part), "{part}: {manifest}");
    }

    scenario.plan(["list", "p.plan"]).status(0).says("00000005-");
    scenario.plan(["status", "p.plan"]).status(0).says("db");
    let alone = ["restore", "--store", "s3://buck/pg", "--source", "db", "--to", "back"];
    bucket.plan(&scenario, &alone).status(1).says("s3:buck/pg/.backplan-repo/p/db").says("give its file");
    // Where a restore point is, is not known beforehand: the newest backup is behind it.
    for ([option, _], target, rows) in marks.iter().take(2) {
        let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
        scenario.plan(way).status(0).says("running");
        assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows, "{option} {target}");
        stop(&scenario, &cluster);
    }
}

/// What kind of backup each of them is.
fn kinds(labels: &[String]) -> String {
    labels.iter().filter_map(|label| label.chars().next_back()).collect()
}

#[test]
fn repositories_in_a_folder_and_a_bucket_have_backups_cycles_and_keep_of_their_own() {
    let stanza = "backplan_two_places";
    let scenario = world();
    let bucket = Bucket::start(&scenario);
    let cluster = archiving(&scenario, &scenario.path("pg/settings"), stanza);
    let text = plan(&cluster, &bucket, stanza, "store", "keep {\n  full = 2\n}\n");
    let text = text.replace("to = [far]", "to = [here, far]").replace("to = [here]\n", "to = [here, far]\n");
    let text = text.replace("\"store\"\n}", "\"store\"\n  keep {\n    full = 1\n  }\n}");
    scenario.write("p.plan", text);
    let folder = own(&scenario, "store", "p", "db");
    let here = || kinds(&super::separate::backups(&folder, stanza));
    let far = || kinds(&backups_by(&scenario, "pgbackrest.far.conf", stanza));
    cluster.fill(1000);
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    assert_eq!((here(), far()), ("F".to_owned(), "F".to_owned()));
    let settings = scenario.read("pg/settings/pgbackrest.conf");
    for part in ["repo1-s3-bucket=buck", "repo2-path=", "archive-async=y"] {
        assert!(settings.contains(part), "{part}: {settings}");
    }
    let marks = marks(&cluster);
    let ([option, _], target, rows) = &marks[0];
    for (more, place) in [(&["--store", "here"][..], "/db"), (&["--store", "far"], "s3:buck"), (&[], "/db")] {
        let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
        let way: Vec<&str> = way.iter().chain(more).copied().collect();
        scenario.plan(&way).status(0).says("running").says(place);
        assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows, "{more:?}");
        stop(&scenario, &cluster);
    }
    scenario.plan(["verify", "p.plan"]).status(0).says("s3:buck").says("store/.backplan-repo/p/db");

    // The nearest has lost the backup that it lists: the next gives it, to a restore and to a rehearsal alike.
    let label = super::separate::backups(&folder, stanza).remove(0);
    let lost = folder.join("backup").join(stanza).join(&label).join("pg_data");
    shell(&scenario.path("."), &format!("mv {} lost", lost.display()));
    let ([option, _], target, rows) = &marks[0];
    let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
    // Another restore is at work there, and has laid down nothing yet, or something.
    for laid in ["mkdir -m 700 back", "touch back/PG_VERSION"] {
        shell(&scenario.path("."), laid);
        let other = scenario.plan_by(&["flock", "back"], way);
        other.status(4).stderr_has("another restore is at work in `back`");
    }
    assert_eq!(shell(&scenario.path("."), "ls -d back* back/*"), "back\nback/PG_VERSION\n");
    shell(&scenario.path("."), "rm -r back");
    let answer = scenario.plan(way).status(3).says("the repository in store `here` cannot be used for it");
    answer.says("was taken from the repository in store `far` instead");
    assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows);
    stop(&scenario, &cluster);
    let rehearsed = scenario.plan(["verify", "p.plan", "--rehearse", "--source", "db"]);
    rehearsed.says("was taken from the repository in store `far` instead").says("passed");
    shell(&scenario.path("."), &format!("mv lost {}", lost.display()));

    // The nearest has a segment of the log that cannot be read: Postgres alone would take that for the log's end, and say nothing.
    let segments = shell(&folder, "find archive -name '0000*-*' | sort");
    let damaged = folder.join(segments.lines().nth_back(1).unwrap());
    shell(&scenario.path("."), &format!("cp -a {0} kept.segment && : > {0}", damaged.display()));
    let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", "--at", "latest"];
    let answer = scenario.plan(way).status(3).says("of its log is there and cannot be read");
    answer.says("was taken from the repository in store `far` instead");
    assert_eq!(back(&scenario, &cluster, "select count(*) from t"), cluster.query("select count(*) from t"));
    stop(&scenario, &cluster);
    let alone = ["restore", "p.plan", "--source", "db", "--to", "alone", "--store", "here", "--at", "latest"];
    scenario.plan(alone).status(1).says("an earlier target (`--at`) needs none from there on");
    let rehearsed = scenario.plan(["verify", "p.plan", "--rehearse", "--source", "db"]);
    rehearsed.says("was taken from the repository in store `far` instead").says("passed");
    shell(&scenario.path("."), &format!("rm -rf alone* && cp -a kept.segment {}", damaged.display()));

    // One is away: the other has its backup, and the log that this needs, all the same.
    shell(&scenario.path("."), "mv store away");
    let away = scenario.next_day().plan(["run", "p.plan", "--level", "full"]);
    away.status(3).says("earlier runs wrote to it").says("the run goes on without it");
    assert_eq!(far(), "FF");
    // It is back, and gets what it lacks: its own backup is of the run that comes to it by that.
    shell(&scenario.path("."), "mv away store");
    scenario.next_day().plan(["run", "p.plan"]).status(0).says("it lacks what this run rests on");
    assert_eq!((here(), far()), ("FD".to_owned(), "FFD".to_owned()));
    scenario.plan(["status", "p.plan"]).status(0);
    // The same by a file of one's own that names both.
    let own = scenario.path("pg/own.conf");
    shell(&scenario.path("pg"), "cp -a settings/pgbackrest.conf own.conf && rm settings/pgbackrest.*.conf");
    let text = scenario.read("p.plan");
    let with_own = format!("  driver = pgbackrest\n  config = \"{}\"\n", own.display());
    scenario.write("p.plan", text.replace("  driver = pgbackrest\n", &with_own));
    // What is given up in one goes once the other has its backup: the tool does one thing at a time.
    let last = scenario.next_day().plan(["run", "p.plan", "--level", "full"]).status(0);
    assert!(!last.said().contains("never committed"), "{last:?}");
    assert_eq!((here(), far()), ("F".to_owned(), "FDF".to_owned()));
}
